"""Lowers all stages of one source for one kind of partition into one program."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, nearest
from fasthep_archive.execution.plan import StageFill, Variant
from fasthep_archive.formula.columns import ColumnType, DType
from fasthep_archive.kernels.program import Builder
from fasthep_archive.operations.protocol import Fill, Operation
from fasthep_archive.operations.stream import Lowering, Named, Stream, Uncertain
from fasthep_archive.workflow.model import Dataset, Source, Stage, Workflow


def lower(
    workflow: Workflow,
    operations: Mapping[str, Operation],
    source: Source,
    dataset: Dataset,
    types: Mapping[str, ColumnType],
    report: Callable[[Fault], None],
) -> tuple[Variant, Mapping[str, ColumnType]]:
    """Return the lowered stages of ``source`` for files of ``dataset`` and their branches, and the types used."""
    branches = _Branches(workflow, source, types, report)
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
    return Variant(builder=branches.builder, fills=fills, scalars=scalars), branches.used


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
    """The branches and aliases of a file as inputs of one program."""

    def __init__(
        self, workflow: Workflow, source: Source, types: Mapping[str, ColumnType], report: Callable[[Fault], None]
    ):
        self.used: dict[str, ColumnType] = {}
        self.builder = Builder(types)
        self._types = types
        aliases = {field.alias: field for field in workflow.fields if field.stream == source.id}
        self._branch = {alias: field.branch for alias, field in aliases.items()}
        for field in aliases.values():
            if field.branch not in types:
                where = workflow.document.where((*field.path, "branch"))
                report(
                    Fault(f"tree {source.tree!r} has no branch {field.branch!r}", where, nearest(field.branch, types))
                )
        if source.missing_branches == "error":
            for number, branch in enumerate(source.branches or ()):
                if branch not in types:
                    where = workflow.document.where((*source.path, "branches", number))
                    report(Fault(f"tree {source.tree!r} has no branch {branch!r}", where, nearest(branch, types)))
        self.names: Mapping[str, object] = ChainMap(self._branch, types)  # type: ignore[arg-type]  # read only

    def column(self, name: str) -> Named:
        """Return the input that a branch or an alias stands for."""
        branch = self._branch.get(name, name)
        if branch not in self._types:
            raise Uncertain(name)  # an alias whose branch is missing, which has been reported
        self.used[branch] = self._types[branch]
        return self.builder.column(branch)

    def text_column(self, name: str) -> str | None:
        """Return the branch behind ``name`` if it holds texts."""
        branch = self._branch.get(name, name)
        if branch in self._types and self._types[branch].dtype == "text":
            self.used[branch] = self._types[branch]
            return branch
        return None


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
