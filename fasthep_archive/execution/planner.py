"""Makes the plan of a workflow: opens the files, cuts partitions, lowers the stages, reports every fault.

Faults that only the files can show (a missing file, tree or branch, a formula of the wrong type) are collected and
located in the document like those of the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fasthep_archive.data.source import EventSource, open_source, partitions
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution.inputs import InputFile, digests, locate
from fasthep_archive.execution.lowering import applies, lower
from fasthep_archive.execution.plan import Merge, Partition, Pass, Plan, Variant, merge_key, part_key
from fasthep_archive.formula.columns import ColumnType
from fasthep_archive.operations.protocol import Operation
from fasthep_archive.workflow.model import Dataset, Source, Workflow

_UNREAD = Digest("")
"""Stands for the digest of a file where the plan is only looked at."""

CHUNK = 500_000
"""Events per partition, at most, where the file's clusters allow it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the plan depends on beside the document.

    :ivar chunk: events per partition.
    :ivar version: of this tool; part of every key.
    :ivar digests: where the digests of input files come from: ``none`` (the plan is only looked at), ``remembered``
        for files that look unchanged, or ``read`` from every byte.
    """

    chunk: int
    version: str
    cache: Path
    working_directory: Path
    digests: Literal["none", "remembered", "read"]
    workers: int


def make_plan(
    workflow: Workflow, operations: Mapping[str, Operation], settings: Settings
) -> tuple[Plan, tuple[Fault, ...]]:
    """Return the plan of ``workflow`` and all faults that the files show; with faults, the plan is incomplete.

    :param operations: the operation of each stage, by stage id; stages with faults of their own are absent.
    """
    planner = _Planner(workflow, operations, settings)
    passes = tuple(planner.passes())
    inputs = tuple(dict.fromkeys(step.partition.file for step in passes))
    plan = Plan(passes=passes, merges=planner.merges(passes), inputs=inputs, warnings=tuple(planner.warnings))
    return plan, tuple(dict.fromkeys(planner.faults))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """An input file of one dataset, opened with one source's tree."""

    source: Source
    dataset: Dataset
    file: InputFile
    events: EventSource


class _Planner:
    """Collects faults and warnings while the parts of the plan are made."""

    def __init__(self, workflow: Workflow, operations: Mapping[str, Operation], settings: Settings):
        self.workflow = workflow
        self.operations = operations
        self.settings = settings
        self.faults: list[Fault] = []
        self.warnings: list[str] = []
        self._variants: dict[tuple[str, str], list[tuple[Mapping[str, ColumnType], Variant]]] = {}

    def passes(self) -> Iterable[Pass]:
        """Yield the passes: source by source, dataset by dataset, file by file, in the order of the document."""
        located = self._located()
        known = self._digests(path for path, _ in located.values())
        for source in self.workflow.sources:
            for dataset in self.workflow.datasets:
                counted = 0
                for number, name in enumerate(dataset.files):
                    if name not in located:
                        continue
                    path, size = located[name]
                    file = InputFile(name=name, path=path, size=size, sha256=known.get(path, _UNREAD))
                    with ExitStack() as stack:
                        opened = self._opened(source, dataset, file, number, stack)
                        if opened is not None:
                            counted += opened.events.entries
                            yield from self._file_passes(opened)
                self._compare_entries(dataset, counted)

    def merges(self, passes: Sequence[Pass]) -> tuple[Merge, ...]:
        """Return the merges of all stages that leave something behind, in the order of the document."""
        found = []
        for stage in self.workflow.stages:
            if stage.id not in self.operations:
                continue
            parts = tuple((step.partition.dataset, step.parts[stage.id]) for step in passes if stage.id in step.parts)
            datasets = tuple(dataset.name for dataset in self.workflow.datasets if applies(stage, dataset))
            product = self.operations[stage.id].product(stage.id, datasets)
            if product is None:
                continue
            key = merge_key(product, parts, self.settings.version)
            found.append(Merge(stage=stage.id, op=stage.op, product=product, parts=parts, key=key))
        return tuple(found)

    def _located(self) -> dict[str, tuple[Path, int]]:
        """Return where each file of the datasets is; report the missing ones."""
        document = self.workflow.document.files[0]
        found: dict[str, tuple[Path, int]] = {}
        for dataset in self.workflow.datasets:
            for number, name in enumerate(dataset.files):
                path, places = locate(name, document=document, working_directory=self.settings.working_directory)
                if path is None:
                    looked = " and ".join(dict.fromkeys(str(place.parent) for place in places))
                    self._fault(f"no such file: {name}", (*dataset.path, "files", number), hint=f"looked in {looked}")
                elif not path.is_file():
                    self._fault(f"not a file: {name}", (*dataset.path, "files", number))
                else:
                    found[name] = (path, path.stat().st_size)
        return found

    def _digests(self, paths: Iterable[Path]) -> Mapping[Path, Digest]:
        if self.settings.digests == "none":
            return {}
        remembered = self.settings.digests == "remembered"
        return digests(paths, cache=self.settings.cache, remembered=remembered, workers=self.settings.workers)

    def _opened(
        self, source: Source, dataset: Dataset, file: InputFile, number: int, stack: ExitStack
    ) -> _Opened | None:
        try:
            events = stack.enter_context(open_source(source.kind, file.path, source.tree))
        except DataError as error:
            self._fault(f"{file.name}: {error.message}", (*dataset.path, "files", number), hint=error.hint)
            return None
        return _Opened(source=source, dataset=dataset, file=file, events=events)

    def _file_passes(self, opened: _Opened) -> Iterable[Pass]:
        variant = self._variant(opened)
        first = opened.source.start or 0
        last = opened.events.entries if opened.source.stop is None else min(opened.source.stop, opened.events.entries)
        ranges = partitions(opened.events.entries, opened.events.clusters(), self.settings.chunk)
        for start, stop in ((max(start, first), min(stop, last)) for start, stop in ranges):
            if start >= stop:
                continue
            partition = Partition(
                source=opened.source.id,
                dataset=opened.dataset.name,
                file=opened.file,
                tree=opened.source.tree,
                start=start,
                stop=stop,
            )
            parts = {fill.stage: part_key(fill, partition, self.settings.version) for fill in variant.fills}
            yield Pass(partition=partition, variant=variant, parts=parts)

    def _variant(self, opened: _Opened) -> Variant:
        """Return the lowered stages; those of an earlier file whose used branches have the same types, if any."""
        types = opened.events.types()
        earlier = self._variants.setdefault((opened.source.id, opened.dataset.name), [])
        for used, variant in earlier:
            if all(branch in types and types[branch] == kind for branch, kind in used.items()):
                return variant
        variant, used = lower(self.workflow, self.operations, opened.source, opened.dataset, types, self.faults.append)
        earlier.append((used, variant))
        return variant

    def _compare_entries(self, dataset: Dataset, counted: int) -> None:
        if dataset.nevents is not None and dataset.nevents != counted:
            self.warnings.append(
                f"dataset {dataset.name} declares nevents: {dataset.nevents}, its files have {counted}; all were used"
            )

    def _fault(self, message: str, path: tuple[str | int, ...], *, hint: str | None = None) -> None:
        self.faults.append(Fault(message, self.workflow.document.where(path), hint))
