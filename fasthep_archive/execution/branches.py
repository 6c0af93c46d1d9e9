"""What formulas can name besides definitions: branches and aliases of a file, globals, and facts of the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import ColumnType, DType
from fasthep_archive.kernels.external import Call
from fasthep_archive.kernels.program import Builder
from fasthep_archive.operations.stream import Named, Uncertain
from fasthep_archive.workflow.model import Dataset, Workflow

Offered: TypeAlias = ColumnType | Literal["absent", "unusable"]
"""What a file has under a branch's name."""


def offered(types: Mapping[str, ColumnType], branch: str) -> Offered:
    """Return the type of ``branch`` in a file, or why formulas can't have it."""
    if branch not in types:
        return "absent"
    try:
        return types[branch]
    except DataError:
        return "unusable"


class Branches:
    """The branches and aliases of a file as inputs of one program.

    :ivar asked: what was found under each name that was looked up: what another file must offer to be of one kind.
    """

    def __init__(
        self, aliases: Mapping[str, str], types: Mapping[str, ColumnType], functions: Mapping[str, Call] | None = None
    ):
        self.asked: dict[str, Offered] = {}
        self.builder = Builder(types, functions)
        self._types = types
        self._aliases = aliases
        self.names: Mapping[str, object] = _Names(self)

    def knows(self, name: str) -> bool:
        """Say whether there is a branch or an alias called ``name``."""
        if name in self._aliases:
            return True
        if name not in self._types:
            self.asked[name] = "absent"
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names, for hints."""
        yield from dict.fromkeys([*self._aliases, *self._types])

    def column(self, name: str) -> Named:
        """Return the input that a branch or an alias stands for."""
        branch = self._aliases.get(name, name)
        if self._offered(branch) == "absent":
            raise Uncertain(name)  # an alias whose branch is missing, which is reported as a branch that is promised
        return self.builder.column(branch)

    def text_column(self, name: str) -> str | None:
        """Return the branch behind ``name`` if it holds texts."""
        branch = self._aliases.get(name, name)
        found = self._offered(branch)
        return branch if isinstance(found, ColumnType) and found.dtype == "text" else None

    def _offered(self, branch: str) -> Offered:
        self.asked[branch] = offered(self._types, branch)
        return self.asked[branch]


class _Names(Mapping[str, object]):
    """The names of branches and aliases."""

    def __init__(self, branches: Branches):
        self._branches = branches

    def __getitem__(self, name: str) -> object:
        if not self._branches.knows(name):
            raise KeyError(name)
        return name

    def __iter__(self) -> Iterator[str]:
        return iter(self._branches)

    def __len__(self) -> int:
        return sum(1 for _ in self._branches)


class Facts(Mapping[str, Named]):
    """The names that do not depend on the event; notes whether anybody looked at what is one dataset's own.

    :ivar noted: the texts that were looked up, but for those that ``general`` names: programs depend on them. A number
        is an argument of the program, so that its name and type are all that programs depend on.
    """

    def __init__(
        self, named: Mapping[str, Named], general: frozenset[str] = frozenset(), noted: set[str] | None = None
    ):
        self.noted: set[str] = set() if noted is None else noted
        self._general = general
        self._named = {
            name: Facts(value, noted=self.noted) if isinstance(value, Mapping) and name not in general else value
            for name, value in named.items()
        }

    def __getitem__(self, name: str) -> Named:
        """Return what ``name`` stands for."""
        found = self._named[name]
        if isinstance(found, str) and name not in self._general:
            self.noted.add(name)
        return found

    def __contains__(self, name: object) -> bool:
        """Say whether ``name`` stands for anything."""
        return name in self._named

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names."""
        return iter(self._named)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._named)

    @property
    def shape(self) -> str:
        """Return the names and their types as text: what programs depend on where nothing was noted."""
        inner = (
            f"{name!r}: {value.shape if isinstance(value, Facts) else getattr(value, 'dtype', 'text')}"
            for name, value in sorted(self._named.items())
            if name not in self._general
        )
        return f"{{{', '.join(inner)}}}"


def constants(workflow: Workflow, dataset: Dataset, builder: Builder, scalars: dict[str, bool | int | float]) -> Facts:
    """Return the names that do not depend on the event: globals, and what is known of the dataset.

    Globals are the same for all datasets and become part of the program; a dataset's numbers are its arguments,
    so that all datasets share the compiled kernels. These numbers are added to ``scalars``.
    """

    def named(value: JSON, path: str) -> Named | None:
        if isinstance(value, Mapping):
            members = {key: named(item, f"{path}.{key}") for key, item in value.items()}
            return {key: member for key, member in members.items() if member is not None}
        if isinstance(value, (bool, int, float)):
            scalars[path] = value
            return builder.scalar(path, _dtype(value))
        return value if isinstance(value, str) else None

    described = cast("Mapping[str, Named]", named(known_of(dataset), "dataset"))
    context: dict[str, Named | None] = {
        "dataset": described,
        "dataset_name": dataset.name,
        "dataset_eventtype": dataset.eventtype,
        "dataset_group": dataset.group,
        "dataset_is_data": dataset.eventtype == "data",
        "dataset_nevents": described.get("nevents"),
        "dataset_xs": cast("Mapping[str, Named]", described["meta"]).get("xs"),
        "globals": cast("Named", workflow.constants),
        **cast("Mapping[str, Named]", workflow.constants),
    }
    general = frozenset({"dataset_eventtype", "dataset_is_data", "globals", *workflow.constants})
    return Facts({name: value for name, value in context.items() if value is not None}, general)


def known_of(dataset: Dataset) -> Mapping[str, JSON]:
    """Return what is known of a dataset."""
    return {
        "name": dataset.name,
        "eventtype": dataset.eventtype,
        "group": dataset.group,
        "nevents": dataset.nevents,
        "meta": dataset.meta,
    }


def _dtype(value: bool | float) -> DType:
    return "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float64"
