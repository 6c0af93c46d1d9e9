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
from fasthep_archive.data.source import Partners, Read, partitions
from fasthep_archive.errors import DataError, Fault, Location
from fasthep_archive.execution.branches import offered
from fasthep_archive.execution.findings import Findings
from fasthep_archive.execution.lowering import Kind, Lowered, alike, lower, lowered_again
from fasthep_archive.execution.outline import Outline
from fasthep_archive.execution.plan import Variant
from fasthep_archive.execution.remembered import Look, Memory
from fasthep_archive.execution.roots import Beside, Root
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
    """What is known of a file after a look at it: its use, the lowered stages, how it is read, and its partitions.

    :ivar names: of the file, and of those beside it.
    """

    root: Root
    use: Use
    names: tuple[str, ...]
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What a file was found to have: events, and how many of those of other sources belong to them, by prefix."""

    name: str
    entries: int
    partners: Mapping[str, Partners]


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
                seen: list[_Seen] = []
                uses = tuple(self._uses(dataset))
                groups = [root.beside(dataset, number) for number in range(len(root.files(dataset).names))]
                whole = [
                    (number, group) for number, group in enumerate(groups) if self._paths.keys() >= set(group.names)
                ]
                files = (self._file(root, dataset, number, group, uses, seen) for number, group in whole)
                yield from _never_empty(list(chain.from_iterable(files)))
                if len(seen) == len(groups):
                    self._without_partner(root, dataset, seen)
                if root is counted and len(whole) == len(groups):
                    self._warn(dataset, sum(each.entries for each in seen))

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
        self, root: Root, dataset: Dataset, position: int, group: Beside, uses: Sequence[Use], seen: list[_Seen]
    ) -> Iterator[Opened]:
        path, *beside = (self._paths[name] for name in group.names)
        try:
            with self._memory.look(path, group.reads, beside) as events:
                seen.append(_Seen(name=group.names[0], entries=events.entries, partners=events.partners()))
                told = (
                    group.names[0] if len(group.names) == 1 else f"{group.names[0]} beside {_listed(group.names[1:])}"
                )
                self.warnings += (f"{told}, stream {root.id}: {remark}" for remark in events.remarks())
                for use in uses:
                    yield self._looked_at(root, use, group.names, position, events)
        except NoTree as error:
            self._without_tree(error, root, dataset, group)
        except UnusableKey as error:
            self._without_key(error, root, dataset, group)
        except DataError as error:
            self._unreadable(error, group)

    def _looked_at(self, root: Root, use: Use, names: tuple[str, ...], position: int, events: Look) -> Opened:
        """Return what matters of an open file; its faults go to the findings."""
        types = events.types()
        found = self._lowered(root, use, types, names)
        faults = list(found.faults)
        if use.varied is None:
            faults += root.lacking(types, self._workflow)
        stream = root.id if use.varied is None else f"{root.id}@{use.varied}"
        self.findings.add(stream, use.dataset.name, names[0], faults, types)
        last = events.entries if root.stop is None else min(root.stop, events.entries)
        ranges = partitions(events.entries, events.clusters(), self._chunk)
        kept = ((max(start, root.start), min(stop, last)) for start, stop in ranges)
        return Opened(
            root=root,
            use=use,
            names=names,
            position=position,
            variant=found.stages.variant,
            reads=events.settled(),
            ranges=tuple((start, stop) for start, stop in kept if start < stop),
        )

    def _lowered(self, root: Root, use: Use, types: Mapping[str, ColumnType], names: tuple[str, ...]) -> _Lowered:
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
            again = lowered_again(self._outline, kind, other.stages)
            earlier.append(_Lowered(stages=again, faults=other.faults))
            return earlier[-1]
        stages = lower(self._outline, kind, types, faults.append)
        told = tuple(replace(fault, message=self._without(fault.message, names)) for fault in faults)
        earlier.append(_Lowered(stages=stages, faults=told))
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

    def _without_partner(self, root: Root, dataset: Dataset, seen: Sequence[_Seen]) -> None:
        """Report events of sources that are spread over the files and that none of these has a partner for."""
        files = {each.name: each for each in seen}.values()  # the same file again finds the same
        for read, source in zip(root.reads, root.sources, strict=True):
            found = [each.partners[read.prefix] for each in files if read.prefix in each.partners]
            lonely = found[0].entries - sum(each.matched for each in found) if read.spread and found else 0
            if lonely > 0:
                message = (
                    f"dataset {dataset.name}: {lonely} events of input {read.prefix!r} belong to none of its files"
                )
                self._lonely(message, read, self._workflow.document.where(source.listed(dataset).path), root)

    def _lonely(self, message: str, read: Read, where: Location, root: Root) -> None:
        if read.on_mismatch == "error":
            hint = "on_mismatch: inner leaves such events out, left keeps those of the first"
            self._report(Fault(message, where, hint))
        else:
            self.warnings.append(f"{message}; stream {root.id} is without them")

    def _without_tree(self, error: DataError, root: Root, dataset: Dataset, group: Beside) -> None:
        """Report a tree that a file lacks, where the tree is named: most often all files lack it."""
        named = (path for read, path in zip(root.reads, root.paths, strict=True) if repr(read.tree) in error.message)
        where = self._workflow.document.where((*next(named, root.paths[0]), "tree"))
        self._found(error, where, root, dataset, group)

    def _without_key(self, error: UnusableKey, root: Root, dataset: Dataset, group: Beside) -> None:
        """Report a column that events can't be found by, where it is named: most often no file has another."""
        number = next(read.on.index(error.column) for read in root.reads if error.column in read.on)
        where = self._workflow.document.where((*root.path, "on", number))
        self._found(error, where, root, dataset, group)

    def _found(self, error: DataError, where: Location | None, root: Root, dataset: Dataset, group: Beside) -> None:
        """Report what most often no file has: once, without a name; of one that stands beside others with its name."""
        others = (str(self._paths[name]) for name in group.names[1:])
        if any(path in error.message for path in others):
            self._report(Fault(self._renamed(error.message, group.names), where, error.hint))
        else:
            message = self._without(error.message, group.names)
            self.findings.add(root.id, dataset.name, group.names[0], [Fault(message, where, error.hint)])

    def _unreadable(self, error: DataError, group: Beside) -> None:
        """Report a file that can't be used, by the name that the document gives it; where that is, if it is one."""
        named = [number for number, name in enumerate(group.names) if str(self._paths[name]) in error.message]
        where = self._workflow.document.where(group.paths[named[0] if len(named) == 1 else 0])
        self._report(Fault(self._renamed(error.message, group.names), where, error.hint))

    def _without(self, message: str, names: Sequence[str]) -> str:
        """Return a message without the file, which the findings name; others beside by the names in the document."""
        own = self._paths[names[0]]
        return self._renamed(message.replace(f" in {own}", "").replace(f" of {own}", ""), names[1:])

    def _renamed(self, message: str, names: Sequence[str]) -> str:
        """Return a message with the names of files as the document has them."""
        paths = {str(self._paths[name]): name for name in names}
        for path in sorted(paths, key=len, reverse=True):  # one can be the beginning of another
            message = message.replace(path, paths[path])
        return message


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
