"""``data`` as functions of the analysis see it: the products of the stages that their stage needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fasthep_archive.data.view import Results, Shown, of_directory
from fasthep_archive.errors import DataError
from fasthep_archive.operations import called


class NotDeclared(DataError, KeyError):
    """A function asks for something that its stage does not need."""


class Seen(Mapping[str, Shown]):
    """A read-only mapping from stage to product, read when it is asked for: as ``data`` of a finished run.

    A stage is there by the name of the need, too, where what it leaves is called otherwise, as a file of columns is.
    """

    def __init__(self, needs: Mapping[str, Sequence[Path]]) -> None:
        """Show what lies in directories.

        :param needs: by the name of a need, the directories of what it leaves.
        """
        self._results = {need: tuple(map(of_directory, folders)) for need, folders in needs.items()}
        self._found: dict[str, tuple[Results, str]] = {}
        for every in self._results.values():
            for results in every:
                self._found.update((name, (results, name)) for name in results)
        for need, every in self._results.items():
            named = {name: results for results in every for name in results}
            own = min(named, key=len, default="")
            if all(name == own or name.startswith((f"{own}.", f"{own}/")) for name in named) and named:
                self._found.setdefault(need, (named[own], own))

    @classmethod
    def of(cls, needs: Mapping[str, Sequence[str]]) -> Seen:
        """Return what the process finds: by the name of a need, the names of the directories."""
        return cls({need: [called.DATA.resolve() / name for name in names] for need, names in needs.items()})

    def __getitem__(self, name: str) -> Shown:
        """Return a product, read now.

        :raises NotDeclared: if no stage that is needed left it; also a KeyError.
        """
        if name in self._found:
            results, own = self._found[name]
            return results[own]
        if name in self._results:
            left = [other for results in self._results[name] for other in results]
            raise NotDeclared(f"stage {name!r} leaves {', '.join(left) or 'nothing'}: ask for these by name")
        declared = ", ".join(self._results) or "nothing"
        hint = f"add it to the needs of the stage, if it is a stage: they are {declared}"
        raise NotDeclared(f"data[{name!r}] is not among what the stage needs", hint=hint)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<products of {', '.join(self._found) or 'no stage'}>"
