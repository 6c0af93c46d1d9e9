"""Several trees or files read side by side, entry by entry or by what events are called, as one stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from fasthep_archive.data.chained import Chained
from fasthep_archive.data.layouts import LazyTypes, lacks_texts
from fasthep_archive.data.matched import Entries, Input, Matching, matching
from fasthep_archive.data.source import EventSource, Partners, Read, open_source, settled
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, Structure


class Joined(AbstractContextManager["Joined"]):
    """The events of several open trees or files; see :class:`fasthep_archive.data.source.EventSource`.

    Column ``pt`` of what is read with the prefix ``l1`` is called ``l1.pt``. A counter of one tree is no counter of
    another: lists of two trees can be combined value by value where their lengths prove equal, event by event.

    What is matched with the first tree and may lack events of it (``left``) has optional columns of numbers there, and
    empty lists; of texts, only where none is missing.
    """

    def __init__(self, paths: Sequence[Path], reads: Sequence[Read]) -> None:
        """Open all of ``reads``, each in the file of ``paths`` that stands in its place.

        :raises DataError: if one can't be opened, two give a column the same name, or the numbers of entries differ;
            where they are matched, whatever :func:`fasthep_archive.data.matched.matching` raises.
        """
        self._groups = _sources(reads)
        self._firsts = [group[0] for group in self._groups]
        self._open = ExitStack()
        try:
            self._sources = [self._open.enter_context(_opened(paths, group)) for group in self._groups]
            pairs = zip(self._groups, self._sources, strict=True)
            self._inputs = [_input(paths, group, source) for group, source in pairs]
            self._columns = _columns(self._inputs)
            self._matching = _matching(self._inputs)
        except BaseException:
            self._open.close()
            raise
        self._prefixes = [read.prefix for read in self._firsts]
        self._left = [read.on_mismatch == "left" for read in self._firsts]
        self._entries = [
            None if rows is None else Entries(source, rows, missing=left)
            for source, rows, left in zip(self._sources, self._matching.rows, self._left, strict=True)
        ]
        self._types = LazyTypes(self._columns, self._type, _together(self._inputs))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def entries(self) -> int:
        bounds = self._matching.bounds
        return self._sources[0].entries if bounds is None else int(bounds[-1])

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return those of the first tree, in events of the stream."""
        bounds, clusters = self._matching.bounds, self._sources[0].clusters()
        return clusters if bounds is None else tuple(sorted({0, *(int(bounds[cluster]) for cluster in clusters)}))

    def settled(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return ``reads`` with what was found out about each; see :func:`fasthep_archive.data.source.settled`."""
        rest = iter(reads)
        grouped = [tuple(next(rest) for _ in group) for group in self._groups]
        pairs = zip(self._sources, grouped, strict=True)
        return tuple(read for source, group in pairs for read in settled(source, group))

    def remarks(self) -> tuple[str, ...]:
        """Return how many events had no partner, where that is no error."""
        return self._matching.remarks

    def partners(self) -> Mapping[str, Partners]:
        """Return how many events of each source that other files need too belong to events of this one, by prefix."""
        return {
            read.prefix: Partners(int((rows >= 0).sum()), source.entries)
            for read, rows, source in zip(self._firsts, self._matching.rows, self._sources, strict=True)
            if read.spread and rows is not None
        }

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        names = list(columns)
        wanted: dict[int, dict[str, str]] = {}
        for name in names:
            self._types[name]  # refuses what formulas can't take, and names that nothing has
            number, own = self._columns[name]
            wanted.setdefault(number, {})[own] = name
        found: dict[str, Column] = {}
        for number, called in wanted.items():
            read = (self._entries[number] or self._sources[number]).read(called, start, stop)
            found |= {called[own]: column for own, column in read.items()}
        return {name: found[name] for name in names}

    def _type(self, name: str) -> ColumnType:
        number, own = self._columns[name]
        found = self._sources[number].types()[own]
        if self._left[number]:
            found = self._lacking(name, found, number)
        structure, prefix = found.structure, self._prefixes[number]
        if structure is None or not prefix or structure.name.startswith("["):  # arrays of a fixed size are all alike
            return found
        return replace(found, structure=replace(structure, name=f"{prefix}.{structure.name}"))

    def _lacking(self, name: str, found: ColumnType, number: int) -> ColumnType:
        """Return the type of a column of which events can have no entry."""
        if found.structure is None and found.dtype != "text":
            return replace(found, optional=True)
        if found.structure is not None and found.structure.name.startswith("["):  # some are empty now
            return replace(found, structure=Structure(self._columns[name][1], counted=False))
        rows = self._matching.rows[number]
        if found.dtype == "text" and rows is not None and (rows < 0).any():
            raise lacks_texts(name, self._inputs[number].paths[0])
        return found


def _sources(reads: Sequence[Read]) -> list[tuple[Read, ...]]:
    """Return the reads of each source: one, but of a source that is spread over files one for each of these."""
    numbered = groupby(enumerate(reads), lambda pair: pair[1].prefix if pair[1].spread else pair[0])
    return [tuple(read for _, read in group) for _, group in numbered]


def _opened(paths: Sequence[Path], reads: Sequence[Read]) -> AbstractContextManager[EventSource]:
    """Return the events of one source: of a file, or of several one after the other."""
    if len(reads) == 1:
        return open_source(paths[reads[0].place], reads[0])
    return Chained([paths[read.place] for read in reads], reads)


def _input(paths: Sequence[Path], reads: Sequence[Read], source: EventSource) -> Input:
    """Return a source as messages know it: by its tree, or by its prefix where several files stand side by side."""
    read = reads[0]
    called = f"tree {read.tree!r}" if read.tree and len(paths) == 1 else f"input {read.prefix!r}"
    if not read.prefix:
        called = f"tree {read.tree!r}" if read.tree else "the table"
    return Input(called=called, paths=tuple(paths[each.place] for each in reads), read=read, source=source)


def _matching(inputs: Sequence[Input]) -> Matching:
    """Return which entries belong together: those found by their ids, or those of the same number."""
    if any(each.read.on for each in inputs):
        return matching(inputs)
    _same_entries(inputs)
    return Matching(rows=(None,) * len(inputs))


def _columns(inputs: Sequence[Input]) -> dict[str, tuple[int, str]]:
    """Return for each column which source has it, and its name there."""
    found: dict[str, tuple[int, str]] = {}
    for number, each in enumerate(inputs):
        for own in each.source.types():
            name = f"{each.read.prefix}.{own}" if each.read.prefix else own
            if name in found:
                both = f"{inputs[found[name][0]].called} and {each.called}"
                raise DataError(f"{both} both have a column {name!r}", hint="join them with different prefixes")
            found[name] = number, own
    return found


def _same_entries(inputs: Sequence[Input]) -> None:
    first = inputs[0]
    for other in inputs:
        if other.source.entries != first.source.entries:
            counted = f"{first.where} has {first.source.entries} entries and "
            counted += other.called if other.paths == first.paths else other.where
            message = f"{counted} has {other.source.entries}, so they can't be joined entry by entry"
            raise DataError(message, hint="join trees of the same events")


def _together(inputs: Sequence[Input]) -> str:
    """Return the names of all inputs with their files, each file once where all are of one."""
    if all(each.paths == inputs[0].paths for each in inputs):
        return f"{' and '.join(each.called for each in inputs)} of {inputs[0].paths[0]}"
    return " and ".join(each.where for each in inputs)
