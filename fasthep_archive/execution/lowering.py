"""Lowers all stages of one source for one kind of partition into one program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, Fault, nearest
from fasthep_archive.execution.plan import StageFill, Variant
from fasthep_archive.formula.columns import ColumnType, DType
from fasthep_archive.kernels.program import Builder
from fasthep_archive.operations.protocol import Fill, Operation
from fasthep_archive.operations.stream import Lowering, Named, Stream, Uncertain
from fasthep_archive.workflow.model import Dataset, Source, Stage, Workflow

Offered: TypeAlias = ColumnType | Literal["absent", "unusable"]
"""What a file has under a branch's name."""


def lower(
    workflow: Workflow,
    operations: Mapping[str, Operation],
    source: Source,
    dataset: Dataset,
    types: Mapping[str, ColumnType],
    report: Callable[[Fault], None],
) -> tuple[Variant, Mapping[str, Offered]]:
    """Return the lowered stages of ``source`` for files of ``dataset`` with branches like ``types``.

    The other result is what was looked up in ``types``: for files that offer the same, the stages are the same.
    """
    branches = _Branches(workflow, source, types)
    scalars: dict[str, bool | int | float] = {}
    constants = _constants(workflow, dataset, branches.builder, scalars)
    lowering = Lowering(
        builder=branches.builder,
        constants=constants,
        columns=branches.names,
        column=branches.column,
        where=workflow.document.where,
        report=report,
        text_column=branches.text_column,
    )
    fills = tuple(_stage_fills(workflow, operations, source, dataset, lowering, scalars))
    return Variant(builder=branches.builder, fills=fills, scalars=scalars), branches.asked


def offered(types: Mapping[str, ColumnType], branch: str) -> Offered:
    """Return the type of ``branch`` in a file, or why formulas can't have it."""
    if branch not in types:
        return "absent"
    try:
        return types[branch]
    except DataError:
        return "unusable"


def declared(
    workflow: Workflow, source: Source, types: Mapping[str, ColumnType], report: Callable[[Fault], None]
) -> None:
    """Report the branches that the document says a file of ``source`` has and that it lacks, used or not."""
    places = [((*field.path, "branch"), field.branch) for field in workflow.fields if field.stream == source.id]
    if source.missing_branches == "error":
        listed = enumerate(source.branches or ())
        places += [((*source.path, "branches", number), branch) for number, branch in listed]
    for path, branch in places:
        if branch not in types:
            message = f"tree {source.tree!r} has no branch {branch!r}"
            report(Fault(message, workflow.document.where(path), nearest(branch, types)))


def applies(stage: Stage, dataset: Dataset) -> bool:
    """Say whether ``stage`` takes part for ``dataset`` (``applies_to``)."""
    return stage.applies_to is None or stage.applies_to == dataset.eventtype


def _stage_fills(
    workflow: Workflow,
    operations: Mapping[str, Operation],
    source: Source,
    dataset: Dataset,
    lowering: Lowering,
    scalars: Mapping[str, bool | int | float],
) -> Iterator[StageFill]:
    streams: dict[str, Stream] = {source.id: Stream()}
    for stage in workflow.stages:
        before = streams.get(stage.streams_from[0].node) if stage.streams_from else None
        if before is None:  # the stage belongs to another source's stream
            continue
        if not applies(stage, dataset):  # its consumers take what it would have taken
            streams[stage.id] = before
            continue
        if stage.id not in operations:
            streams[stage.id] = replace(before, uncertain=True)
            continue
        streams[stage.id], fill = operations[stage.id].lower(lowering, before, stage.id, (*stage.path, "params"))
        if fill is not None:
            yield StageFill(stage=stage.id, fill=fill, text=_text(lowering.builder, fill, scalars))


def _text(builder: Builder, fill: Fill, scalars: Mapping[str, bool | int | float]) -> JSON:
    program = builder.program(fill.values)
    numbers: JSON = {name: scalars[name] for name, _ in program.scalars}
    return {
        "program": program.canonical(),
        "numbers": numbers,
        "accumulation": fill.accumulation.canonical(),
        "texts": list(fill.accumulation.texts),
    }


class _Branches:
    """The branches and aliases of a file as inputs of one program.

    :ivar asked: what was found under each name that was looked up: what another file must offer to be of one kind.
    """

    def __init__(self, workflow: Workflow, source: Source, types: Mapping[str, ColumnType]):
        self.asked: dict[str, Offered] = {}
        self.builder = Builder(types)
        self._types = types
        self._aliases = {field.alias: field.branch for field in workflow.fields if field.stream == source.id}
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
        yield from dict.fromkeys([*self._aliases, *self._types])

    def column(self, name: str) -> Named:
        """Return the input that a branch or an alias stands for."""
        branch = self._aliases.get(name, name)
        if self._offered(branch) == "absent":
            raise Uncertain(name)  # an alias whose branch is missing, which declared() reports
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

    def __init__(self, branches: _Branches):
        self._branches = branches

    def __getitem__(self, name: str) -> object:
        if not self._branches.knows(name):
            raise KeyError(name)
        return name

    def __iter__(self) -> Iterator[str]:
        return iter(self._branches)

    def __len__(self) -> int:
        return sum(1 for _ in self._branches)


def _constants(
    workflow: Workflow, dataset: Dataset, builder: Builder, scalars: dict[str, bool | int | float]
) -> Mapping[str, Named]:
    """Return the names that do not depend on the event: globals, and what is known of the dataset.

    Globals are the same for all datasets and become part of the program; a dataset's numbers are its arguments,
    so that all datasets share the compiled kernels.
    """

    def named(value: JSON, path: str) -> Named | None:
        if isinstance(value, Mapping):
            members = {key: named(item, f"{path}.{key}") for key, item in value.items()}
            return {key: member for key, member in members.items() if member is not None}
        if isinstance(value, (bool, int, float)):
            scalars[path] = value
            return builder.scalar(path, _dtype(value))
        return value if isinstance(value, str) else None

    known: JSON = {
        "name": dataset.name,
        "eventtype": dataset.eventtype,
        "group": dataset.group,
        "nevents": dataset.nevents,
        "meta": dataset.meta,
    }
    described = cast("Mapping[str, Named]", named(known, "dataset"))
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
    return {name: value for name, value in context.items() if value is not None}


def _dtype(value: bool | float) -> DType:
    return "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float64"
