"""What part of a document a run is asked for, in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is asked for; by default the products of all stages that need no asking (``when: manual`` does).

    :ivar workflows: of the document's workflows these, with everything that they need.
    :ivar only: of all products those of these stages, and of ``also``.
    :ivar also: stages that are carried out too, with everything that they need: for those with ``when: manual``.
    """

    workflows: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def part(self) -> bool:
        """Say whether products are left out that would be there if nothing was asked for."""
        return bool(self.workflows or self.only)

    def to_json(self) -> Mapping[str, JSON]:
        """Return the names by option; options that were not given are left out."""
        return {option: list(names) for option, names in self._options().items() if names}

    @classmethod
    def from_json(cls, value: JSON) -> Asked:
        """Return what :meth:`to_json` gave.

        :raises DataError: naming the place, if it gave nothing like that.
        """
        reader = Reader.of(value, "asked")
        found = {option: reader.texts(option) for option in ("workflow", "only", "with") if option in reader.value}
        return cls(workflows=found.get("workflow", ()), only=found.get("only", ()), also=found.get("with", ()))

    def __str__(self) -> str:
        return " ".join(f"--{option} {name}" for option, names in self._options().items() for name in names)

    def _options(self) -> Mapping[str, tuple[str, ...]]:
        return {"workflow": self.workflows, "only": self.only, "with": self.also}
