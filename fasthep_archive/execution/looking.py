"""Looks into the files of a workflow: counts and cuts their events, lowers the stages for each kind of file.

Faults that only the files can show (a missing tree or branch, a formula of the wrong type) are collected and located in
the document like those of the schema.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from fasthep_archive.data.matched import UnusableKey
from fasthep_archive.data.root import NoTree
from fasthep_archive.data.source import Read, partitions
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution.branches import offered
from fasthep_archive.execution.findings import Findings
from fasthep_archive.execution.lowering import Kind, Lowered, alike, lower, lowered_again
from fasthep_archive.execution.outline import Outline
from fasthep_archive.execution.plan import Variant
from fasthep_archive.execution.remembered import Look, Memory
from fasthep_archive.execution.roots import Root
from fasthep_archive.execution.swaps import in_place, left_out
from fasthep_archive.formula.columns import ColumnType
from fasthep_archive.workflow.model import Dataset, Variation, Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What the files of a dataset are used for.

    :ivar dataset: that the events count for, as formulas know it.
    :ivar varied: the variation in which the files stand in for those of ``dataset``; none: they are its own.
    :ivar variations: for which stages are lowered.
    """

    dataset: Dataset
    varied: str | None
    variations: tuple[Variation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What is known of a file after a look at it: its use, the lowered stages, how it is read, and its partitions."""

    root: Root
    use: Use
    name: str
    position: int
    variant: Variant
    reads: tuple[Read, ...]
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lowered:
    """Lowered stages, and the faults that they showed."""

    stages: Lowered
    faults: tuple[Fault, ...] = ()

    def fits(self, types: Mapping[str, ColumnType]) -> bool:
        """Say whether they are for files with branches of these types."""
        return all(offered(types, branch) == found for branch, found in self.stages.asked.items())


def _never_empty(opened: Sequence[Opened]) -> Iterator[Opened]:
    """Yield all of them; where no file of a dataset has an event, the first has one partition without events.

    It tells what columns there are, and of which types, to what writes them.
    """
    known = {item.use.varied for item in opened if item.ranges}
    for item in opened:
        yield item if item.use.varied in known else replace(item, ranges=((0, 0),))
        known.add(item.use.varied)


class Looking:
    """Looks at files one by one.

    :ivar findings: faults that files show. :ivar warnings: what is worth one.
    """

    def __init__(
        self,
        outline: Outline,
        paths: Mapping[str, Path],
        memory: Memory,
        chunk: int,
        report: Callable[[Fault], None],
    ) -> None:
        self.findings = Findings()
        self.warnings: list[str] = []
        self._outline = outline
        self._workflow: Workflow = outline.workflow
        self._paths = paths
        self._memory = memory
        self._chunk = chunk
        self._report = report
        self._known: dict[tuple[str, str, str | None], list[_Lowered]] = {}
        self._alike: dict[tuple[object, ...], list[_Lowered]] = {}

    def opened(self) -> Iterator[Opened]:
        """Yield what the files have: root by root, dataset by dataset, file by file, as the document has them."""
        roots = self._outline.roots
        counted = next((root for root in roots if root.id == self._workflow.primary_stream), next(iter(roots), None))
        for root in roots:
            for dataset in self._workflow.datasets:
                counts: list[int] = []
                uses = tuple(self._uses(dataset))
                places = [place for place, name in enumerate(dataset.files) if name in self._paths]
                files = (self._file(root, dataset, place, uses, counts) for place in places)
                yield from _never_empty(list(chain.from_iterable(files)))
                if root is counted and self._paths.keys() >= set(dataset.files):
                    self._warn(dataset, sum(counts))

    def _uses(self, dataset: Dataset) -> Iterator[Use]:
        """Yield what the files of ``dataset`` are used for: as they are, and in place of another dataset's."""
        variations = self._outline.plan_variations
        kept = (
            variation
            for variation in variations
            if variation.applies(dataset)
            and dataset.name not in in_place(variation, self._workflow)
            and dataset.name not in left_out(variation, self._workflow)
        )
        yield Use(dataset=dataset, varied=None, variations=tuple(kept))
        for variation in variations:
            for name, other in in_place(variation, self._workflow).items():
                if other.name == dataset.name:
                    facts = next(item for item in self._workflow.datasets if item.name == name)
                    stand_in = replace(dataset, name=name, group=facts.group)
                    yield Use(dataset=stand_in, varied=variation.name, variations=(variation,))

    def _file(
        self, root: Root, dataset: Dataset, position: int, uses: Sequence[Use], counts: list[int]
    ) -> Iterator[Opened]:
        name = dataset.files[position]
        try:
            with self._memory.look(self._paths[name], root.reads) as events:
                counts.append(events.entries)
                self.warnings += (f"{name}, stream {root.id}: {remark}" for remark in events.remarks())
                for use in uses:
                    yield self._looked_at(root, use, name, position, events)
        except NoTree as error:
            self._without_tree(error, root, dataset, name)
        except UnusableKey as error:
            self._without_key(error, root, dataset, name)
        except DataError as error:
            self._unreadable(error, dataset, position)

    def _looked_at(self, root: Root, use: Use, name: str, position: int, events: Look) -> Opened:
        """Return what matters of an open file; its faults go to the findings."""
        types = events.types()
        found = self._lowered(root, use, types)
        faults = list(found.faults)
        if use.varied is None:
            faults += root.lacking(types, self._workflow)
        stream = root.id if use.varied is None else f"{root.id}@{use.varied}"
        self.findings.add(stream, use.dataset.name, name, faults)
        last = events.entries if root.stop is None else min(root.stop, events.entries)
        ranges = partitions(events.entries, events.clusters(), self._chunk)
        kept = ((max(start, root.start), min(stop, last)) for start, stop in ranges)
        return Opened(
            root=root,
            use=use,
            name=name,
            position=position,
            variant=found.stages.variant,
            reads=events.settled(),
            ranges=tuple((start, stop) for start, stop in kept if start < stop),
        )

    def _lowered(self, root: Root, use: Use, types: Mapping[str, ColumnType]) -> _Lowered:
        """Return the lowered stages; those of an earlier file that offers the same, if any.

        They may be another dataset's: most differ in nothing but their numbers.
        """
        earlier = self._known.setdefault((root.id, use.dataset.name, use.varied), [])
        for lowered in earlier:
            if lowered.fits(types):
                return lowered
        faults: list[Fault] = []
        kind = Kind(root=root, dataset=use.dataset, nominal=use.varied is None, variations=use.variations)
        others = self._alike.setdefault(alike(self._outline, kind), [])
        other = next((lowered for lowered in others if lowered.fits(types)), None)
        if other is not None:
            earlier.append(_Lowered(stages=lowered_again(self._outline, kind, other.stages)))
            return earlier[-1]
        earlier.append(_Lowered(stages=lower(self._outline, kind, types, faults.append), faults=tuple(faults)))
        if earlier[-1].stages.general:
            others.append(earlier[-1])
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

    def _without_tree(self, error: DataError, root: Root, dataset: Dataset, name: str) -> None:
        """Report a tree that a file lacks, where the tree is named: most often all files lack it."""
        named = (path for read, path in zip(root.reads, root.paths, strict=True) if repr(read.tree) in error.message)
        where = self._workflow.document.where((*next(named, root.paths[0]), "tree"))
        fault = Fault(error.message.replace(f" in {self._paths[name]}", ""), where, error.hint)
        self.findings.add(root.id, dataset.name, name, [fault])

    def _without_key(self, error: UnusableKey, root: Root, dataset: Dataset, name: str) -> None:
        """Report a column that events can't be found by, where it is named: most often no file has another."""
        number = next(read.on.index(error.column) for read in root.reads if error.column in read.on)
        where = self._workflow.document.where((*root.path, "on", number))
        fault = Fault(error.message.replace(f" of {self._paths[name]}", ""), where, error.hint)
        self.findings.add(root.id, dataset.name, name, [fault])

    def _unreadable(self, error: DataError, dataset: Dataset, position: int) -> None:
        """Report a file that can't be used, by the name that the document gives it."""
        name = dataset.files[position]
        message = error.message.replace(str(self._paths[name]), name)
        where = self._workflow.document.where((*dataset.path, "files", position))
        self._report(Fault(message, where, error.hint))
