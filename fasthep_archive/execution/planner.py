"""Makes the plan of a workflow: opens the files, cuts partitions, lowers the stages, reports every fault.

Faults that only the files can show (a missing file, tree or branch, a formula of the wrong type) are collected and
located in the document like those of the schema.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from fasthep_archive.context import Progress
from fasthep_archive.data.root import NoTree
from fasthep_archive.data.source import EventSource, open_source, partitions
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution.copies import fetched_copies, present_copies
from fasthep_archive.execution.findings import Findings
from fasthep_archive.execution.inputs import InputFile, disagreement, hashed, locate
from fasthep_archive.execution.lowering import Offered, applies, declared, lower, offered
from fasthep_archive.execution.plan import Merge, Partition, Pass, Plan, Variant, merge_key, part_key
from fasthep_archive.formula.columns import ColumnType
from fasthep_archive.operations.protocol import Operation
from fasthep_archive.workflow.addresses import is_remote
from fasthep_archive.workflow.model import Dataset, Source, Workflow

Digests: TypeAlias = Literal["none", "remembered", "read"]

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
    :ivar fetching: where the fetching of remote files is shown. None: nothing is fetched; of a file of which there is
        no copy yet, nothing is known, which is a warning, and a fault if digests are wanted.
    """

    chunk: int
    version: str
    cache: Path
    working_directory: Path
    digests: Digests
    workers: int
    fetching: Progress | None = None


def make_plan(
    workflow: Workflow, operations: Mapping[str, Operation], settings: Settings
) -> tuple[Plan, tuple[Fault, ...]]:
    """Return the plan of ``workflow`` and all faults that the files show; with faults, the plan is incomplete.

    :param operations: the operation of each stage, by stage id; stages with faults of their own are absent.
    """
    planner = _Planner(workflow, operations, settings)
    opened = tuple(planner.opened())
    digests = "none" if planner.found() else settings.digests  # nothing is hashed for a plan that can't be carried out
    inputs = planner.inputs(digests)
    passes = tuple(planner.passes(opened, inputs))
    plan = Plan(
        passes=passes,
        merges=planner.merges(passes),
        inputs=tuple(inputs.values()),
        warnings=tuple(planner.warnings),
    )
    return plan, planner.found()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """What is known of an input file of one dataset, after a look at one source's tree."""

    source: Source
    dataset: Dataset
    name: str
    variant: Variant
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """The lowered stages, the faults that they showed, and which files they are for."""

    asked: Mapping[str, Offered]
    variant: Variant
    faults: tuple[Fault, ...]

    def fits(self, types: Mapping[str, ColumnType]) -> bool:
        """Say whether a file with branches of these types is of this kind."""
        return all(offered(types, branch) == found for branch, found in self.asked.items())


class _Planner:
    """Collects faults and warnings while the parts of the plan are made."""

    def __init__(self, workflow: Workflow, operations: Mapping[str, Operation], settings: Settings):
        self.workflow = workflow
        self.operations = operations
        self.settings = settings
        self.faults: list[Fault] = []
        self.findings = Findings()
        self.warnings: list[str] = []
        self._kinds: dict[tuple[str, str], list[_Kind]] = {}
        self._references = workflow.references
        self._paths = self._located()

    def found(self) -> tuple[Fault, ...]:
        """Return all faults that were found so far."""
        return tuple(dict.fromkeys([*self.faults, *self.findings.faults()]))

    def opened(self) -> Iterable[_Opened]:
        """Yield what the files have: source by source, dataset by dataset, file by file, as the document has them."""
        for source in self.workflow.sources:
            for dataset in self.workflow.datasets:
                counts = []
                for number, name in enumerate(dataset.files):
                    if name in self._paths:
                        try:
                            with open_source(source.kind, self._paths[name], source.tree) as events:
                                counts.append(events.entries)
                                yield self._looked_at(source, dataset, name, events)
                        except NoTree as error:
                            self._without_tree(error, source, dataset, name)
                        except DataError as error:
                            self._unreadable(error, dataset, number)
                if source.id == self.workflow.primary_stream and self._paths.keys() >= set(dataset.files):
                    self._warn(dataset, sum(counts))

    def inputs(self, digests: Digests) -> Mapping[str, InputFile]:
        """Return all files of the datasets by name, in the order of the document, with or without events."""
        known: Mapping[Path, Digest] = {}
        if digests != "none":
            remembered = digests == "remembered"
            cache, workers = self.settings.cache, self.settings.workers
            known = hashed(self._paths.values(), cache=cache, remembered=remembered, workers=workers)
        found = {}
        for name, path in self._paths.items():
            stated = self._references.get(name)
            urls, sha256 = stated.urls if stated else (), known.get(path, _UNREAD)
            found[name] = InputFile(name=name, path=path, size=path.stat().st_size, sha256=sha256, urls=urls)
            wrong = disagreement(found[name], stated) if stated else None
            if wrong and stated:
                hint = "the bundle would refer to another file than the one that was analysed"
                self._fault(wrong[1], (*stated.path, wrong[0]), hint=hint)
        return found

    def passes(self, opened: Iterable[_Opened], inputs: Mapping[str, InputFile]) -> Iterable[Pass]:
        """Yield the passes over what was opened, in the same order."""
        for found in opened:
            for start, stop in found.ranges:
                partition = Partition(
                    source=found.source.id,
                    dataset=found.dataset.name,
                    file=inputs[found.name],
                    tree=found.source.tree,
                    start=start,
                    stop=stop,
                )
                parts = {fill.stage: part_key(fill, partition, self.settings.version) for fill in found.variant.fills}
                yield Pass(partition=partition, variant=found.variant, parts=parts)

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

    def _located(self) -> dict[str, Path]:
        """Return where each file of the datasets is, or its copy; report the missing ones."""
        copies = self._copies()
        found: dict[str, Path] = {}
        for dataset in self.workflow.datasets:
            for number, name in enumerate(dataset.files):
                try:
                    path = self._place(name, copies)
                except DataError as error:
                    self._fault(error.message, (*dataset.path, "files", number), hint=error.hint)
                else:
                    if path is not None:
                        found[name] = path
        return found

    def _copies(self) -> Mapping[str, Path | DataError]:
        """Return the copies of remote files that are there, after fetching where that is wanted."""
        remote = [item for name, item in self._references.items() if is_remote(name)]
        if not remote:
            return {}
        if self.settings.fetching is None:
            return present_copies(remote, self.settings.cache)
        return fetched_copies(remote, self.settings.cache, self.settings.fetching)

    def _place(self, name: str, copies: Mapping[str, Path | DataError]) -> Path | None:
        """Return where a file or its copy is; none for a remote file that has not to be here."""
        if not is_remote(name):
            document = self.workflow.document.files[0]
            return locate(name, document=document, working_directory=self.settings.working_directory)
        copy = copies.get(name)
        if isinstance(copy, DataError):
            raise copy
        if copy is None and self.settings.digests != "none":
            raise DataError(f"{name} is not here, and was not to be fetched")
        warning = f"{name} was not looked at: it is checked when a run has fetched it"
        if copy is None and warning not in self.warnings:
            self.warnings.append(warning)
        return copy

    def _looked_at(self, source: Source, dataset: Dataset, name: str, events: EventSource) -> _Opened:
        """Return what matters of an open file; its faults go to the findings."""
        types = events.types()
        kind = self._kind(source, dataset, types)
        faults = list(kind.faults)
        declared(self.workflow, source, types, faults.append)
        self.findings.add(source.id, dataset.name, name, faults)
        first = source.start or 0
        last = events.entries if source.stop is None else min(source.stop, events.entries)
        ranges = partitions(events.entries, events.clusters(), self.settings.chunk)
        kept = ((max(start, first), min(stop, last)) for start, stop in ranges)
        return _Opened(
            source=source,
            dataset=dataset,
            name=name,
            variant=kind.variant,
            ranges=tuple((start, stop) for start, stop in kept if start < stop),
        )

    def _kind(self, source: Source, dataset: Dataset, types: Mapping[str, ColumnType]) -> _Kind:
        """Return the lowered stages; those of an earlier file that offers the same, if any."""
        earlier = self._kinds.setdefault((source.id, dataset.name), [])
        for kind in earlier:
            if kind.fits(types):
                return kind
        faults: list[Fault] = []
        variant, asked = lower(self.workflow, self.operations, source, dataset, types, faults.append)
        earlier.append(_Kind(asked=asked, variant=variant, faults=tuple(faults)))
        return earlier[-1]

    def _warn(self, dataset: Dataset, counted: int) -> None:
        repeated = [name for name, times in Counter(dataset.files).items() if times > 1]
        if repeated:
            self.warnings.append(
                f"dataset {dataset.name} lists {', '.join(repeated)} more than once; the events count as often"
            )
        if dataset.nevents is not None and dataset.nevents != counted:
            self.warnings.append(
                f"dataset {dataset.name} declares nevents: {dataset.nevents}, its files have {counted}; all were used"
            )

    def _without_tree(self, error: DataError, source: Source, dataset: Dataset, name: str) -> None:
        """Report a tree that a file lacks, where the tree is named: most often all files lack it."""
        where = self.workflow.document.where((*source.path, "tree"))
        fault = Fault(error.message.replace(f" in {self._paths[name]}", ""), where, error.hint)
        self.findings.add(source.id, dataset.name, name, [fault])

    def _unreadable(self, error: DataError, dataset: Dataset, number: int) -> None:
        """Report a file that can't be used, by the name that the document gives it."""
        name = dataset.files[number]
        message = error.message.replace(str(self._paths[name]), name)
        self._fault(message, (*dataset.path, "files", number), hint=error.hint)

    def _fault(self, message: str, path: tuple[str | int, ...], *, hint: str | None = None) -> None:
        self.faults.append(Fault(message, self.workflow.document.where(path), hint))
