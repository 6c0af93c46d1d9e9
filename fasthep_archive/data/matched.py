"""Events of several trees or files found by what they are called (run, lumi, event), whatever their order.

Each further input is matched with the first: an index says which of its entries belongs to each event. It is made once
for each open file, of the columns of the ids alone, which are read in pieces; it takes 8 bytes an event and input.
While it is made, the ids of all inputs are held: 8 bytes for each column of ids and event, and as many to sort them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.chained import Chained, one_after_the_other
from fasthep_archive.data.layouts import UnknownColumn, sharing_offsets
from fasthep_archive.data.source import EventSource, Read, partitions
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, starts

Index = NDArray[np.int64]
"""For each event of a stream the entry of an input that belongs to it, -1 where none does."""

_PIECE = 1_000_000
"""Entries of which ids are read at once."""
_NAMED = 3
"""How many events a message names."""
_NEAR = 4
"""How many times as many entries as are wanted may be read around them; else they lie too far apart."""
_FEW = 10_000
"""Entries that may be read in any case."""
_LARGEST = 2**62
"""Numbers below it stand for ids; in int64 there is room for the steps to them."""


class UnusableKey(DataError):
    """A column can't be what events are found by.

    :ivar column: its name in the input.
    """

    def __init__(self, message: str, column: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.column = column


@dataclass(frozen=True, kw_only=True, slots=True)
class Matching:
    """Which entries of the inputs belong together.

    :ivar rows: for each input an index of all events of the stream; none: its entries are the events.
    :ivar bounds: for each entry of the first input, and after the last, the number of events before; none: as many.
    :ivar remarks: how many events had no partner, where that is no error; they name no file.
    """

    rows: tuple[Index | None, ...]
    bounds: Index | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A source that stands beside others.

    :ivar called: how messages call it. :ivar paths: the files that it is in.
    :ivar read: how it is read, or the first of its files.
    """

    called: str
    paths: tuple[Path, ...]
    read: Read
    source: EventSource

    @property
    def where(self) -> str:
        """Return how messages call it, with its files."""
        others = len(self.paths) - 1
        return f"{self.called} of {self.paths[0]}" + (f" and {others} more files" if others else "")


def matching(joined: Sequence[Input]) -> Matching:
    """Return how the events of sources belong together, by the ids that all but the first are matched by.

    :raises UnusableKey: if one lacks a column of the ids, or has something else than integers there.
    :raises DataError: if an id is missing or there twice, or events have no partner where that is an error.
    """
    on, on_mismatch = joined[1].read.on, joined[1].read.on_mismatch
    inputs = [_Ids(each, on) for each in joined]
    rows: list[Index] = []
    remarks: list[str] = []
    for other in inputs[1:]:
        found, lonely = _entries(inputs[0], other)
        if lonely:
            told = f"{lonely}: {inputs[0].told(np.flatnonzero(found < 0))}"
            told += "" if other.spread else f", {other.told(_without(found, other))}"
            if on_mismatch == "error":
                hint = "on_mismatch: inner leaves such events out, left keeps those of the first"
                raise DataError(f"{_files(joined)}: {told}", hint=hint)
            remarks.append(f"{told}; {_DONE[on_mismatch]}")
        rows.append(found)
    if on_mismatch != "inner":
        return Matching(rows=(None, *rows), remarks=tuple(remarks))
    kept = np.logical_and.reduce([found >= 0 for found in rows])
    chosen = np.flatnonzero(kept).astype(np.int64)
    bounds = starts(kept.astype(np.int64))
    return Matching(rows=(chosen, *(found[kept] for found in rows)), bounds=bounds, remarks=tuple(remarks))


_DONE: Mapping[str, str] = {
    "inner": "only events with a partner are in the stream",
    "left": "the stream has all events of the first, without values where they have no partner",
}


def _files(joined: Sequence[Input]) -> str:
    """Return the names of all files, for messages."""
    return " and ".join(map(str, dict.fromkeys(each.paths[0] for each in joined)))


class Entries:
    """The entries of one input that belong to the events of a stream, read by an index.

    Of each of its files, entries that lie near each other, and those in ascending order, are read as one range around
    them. Of a file in another order, columns are read whole when they are first asked for, and kept while it is open.
    """

    def __init__(self, source: EventSource, rows: Index, *, missing: bool) -> None:
        """:param missing: whether events can be without an entry, which columns of numbers then show by their type."""
        self._source = source
        self._rows = rows
        self._missing = missing
        self._bounds = np.array(source.bounds if isinstance(source, Chained) else (0, source.entries), np.int64)
        found, files = self._sorted(rows)
        steps = (found[1:] > found[:-1]) | (files[1:] != files[:-1])
        self._tangled = frozenset(files[1:][~steps].tolist())
        self._whole: dict[int, dict[str, Column]] = {}

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        """Return ``columns`` for events ``start`` to ``stop`` of the stream."""
        names = list(columns)
        rows = self._rows[start:stop]
        found, files = self._sorted(rows)
        pieces: list[Mapping[str, Column]] = []
        near, before = np.full(rows.size, -1, np.int64), 0
        for file in np.unique(files).tolist():
            first, last, read = self._around(file, found[files == file], names)
            here = (rows >= first) & (rows < last)
            near[here] = rows[here] - first + before
            before += last - first
            pieces.append(read)
        pieces = pieces or [self._source.read(names, 0, 0)]
        whole = {name: one_after_the_other([piece[name] for piece in pieces]) for name in names}
        taken_ones = {name: taken(whole[name], near, missing=self._missing) for name in names}
        return sharing_offsets(taken_ones, {name: self._source.types()[name] for name in names})

    def _sorted(self, rows: Index) -> tuple[Index, Index]:
        """Return the entries that there are, file by file, and the number of the file of each."""
        found = rows[rows >= 0]
        files = (np.searchsorted(self._bounds, found, side="right") - 1).astype(np.int64)
        order = np.argsort(files, kind="stable")
        return found[order], files[order]

    def _around(self, file: int, found: Index, names: Sequence[str]) -> tuple[int, int, Mapping[str, Column]]:
        """Return the columns of a file's entries around those that are wanted, and the range of entries."""
        first, last = int(found.min()), int(found.max()) + 1
        if file not in self._tangled or last - first <= _NEAR * found.size + _FEW:
            return first, last, self._source.read(names, first, last)
        first, last = map(int, self._bounds[file : file + 2])
        kept = self._whole.setdefault(file, {})
        wanted = [name for name in names if name not in kept]
        if wanted:
            kept |= self._source.read(wanted, first, last)
        return first, last, {name: kept[name] for name in names}


def taken(column: Column, rows: Index, *, missing: bool = False) -> Column:
    """Return the events ``rows`` of ``column``; a copy. Where that is -1, numbers are missing and lists empty.

    :param missing: whether values can be missing, though none of these may be.
    """
    there = rows >= 0
    if column.offsets is not None:
        counts = np.zeros(rows.size, np.int64)
        counts[there] = np.diff(column.offsets)[rows[there]]
        offsets = starts(counts)
        begins = np.zeros(rows.size, np.int64)
        begins[there] = column.offsets[:-1][rows[there]]
        places = np.repeat(begins - offsets[:-1], counts) + np.arange(offsets[-1])
        return Column(column.content[places], offsets, None if column.valid is None else column.valid[places])
    content = np.zeros(rows.size, column.content.dtype)
    content[there] = column.content[rows[there]]
    if column.words:
        return _in_order(content, column.words)
    valid = None
    if missing or column.valid is not None:
        valid = there.copy()
        if column.valid is not None:
            valid[there] = column.valid[rows[there]]
    return Column(content, None, valid)


def _in_order(codes: Index, words: Sequence[str]) -> Column:
    """Return a column of texts, which are in order of appearance."""
    distinct, firsts = np.unique(codes, return_index=True)
    order = distinct[np.argsort(firsts)]
    places = np.zeros(len(words), np.int64)
    places[order] = np.arange(order.size)
    return Column(places[codes], words=tuple(words[code] for code in order.tolist()))


class _Ids:
    """The ids of an input's entries."""

    def __init__(self, joined: Input, on: Sequence[str]) -> None:
        self.called = joined.called
        self.spread = joined.read.spread
        self._where = joined.where
        self._on = on
        source = joined.source
        for name in on:
            self._check(source, name)
        ranges = partitions(source.entries, source.clusters(), _PIECE) or ((0, 0),)
        pieces = [source.read(on, start, stop) for start, stop in ranges]
        self.ids = [self._numbers(name, one_after_the_other([piece[name] for piece in pieces])) for name in on]

    def _check(self, source: EventSource, name: str) -> None:
        try:
            found = source.types()[name]
        except UnknownColumn as error:
            raise UnusableKey(error.message, name, hint=error.hint) from error
        if found.structure is not None or found.dtype != "int64":
            what = "lists" if found.structure is not None else {"float64": "floating-point numbers"}.get(found.dtype)
            message = f"branch {name!r} in {self._where} has {what or found.dtype + ' values'}"
            raise UnusableKey(f"{message}, and events are found by integers", name, hint="name columns of integers")

    def _numbers(self, name: str, column: Column) -> Index:
        if column.valid is not None and not column.valid.all():
            lacking = int((~column.valid).sum())
            message = f"branch {name!r} in {self._where} has no value in {lacking} of its events"
            raise DataError(f"{message}, so they can't be matched", hint="match by columns that all events have")
        return column.content.astype(np.int64)

    def name(self, entry: int) -> str:
        """Return the id of an entry as messages write it."""
        return " ".join(f"{name}={ids[entry]}" for name, ids in zip(self._on, self.ids, strict=True))

    def told(self, entries: Index) -> str:
        """Return how many events only this input has, and the first of them."""
        named = "; ".join(self.name(entry) for entry in entries[:_NAMED].tolist())
        more = "; ..." if entries.size > _NAMED else ""
        return f"{entries.size} only in {self.called}" + (f" ({named}{more})" if named else "")

    def unique(self, codes: Index) -> None:
        """Raise if two entries have the same id."""
        ascending = np.sort(codes)
        if not (ascending[1:] == ascending[:-1]).any():
            return
        _, firsts, counts = np.unique(codes, return_index=True, return_counts=True)
        first = int(firsts[counts > 1].min())
        times = int(counts[firsts == first][0])
        message = f"{self._where} has event {self.name(first)} {times} times"
        others = int((counts > 1).sum()) - 1
        message += f", and {others} more like it" if others else ""
        raise DataError(f"{message}, so events can't be matched", hint="match by columns that tell events apart")


def _entries(first: _Ids, other: _Ids) -> tuple[Index, str]:
    """Return the entry of ``other`` for each of ``first``, and what to say if any is without partner."""
    ours, theirs = _codes((first.ids, other.ids))
    first.unique(ours)
    if np.array_equal(ours, theirs):
        return np.arange(ours.size, dtype=np.int64), ""
    other.unique(theirs)
    order = np.argsort(theirs).astype(np.int64)
    places = np.searchsorted(theirs, ours, sorter=order)
    found = np.full(ours.size, -1, np.int64)
    inside = np.flatnonzero(places < theirs.size)
    candidates = order[places[inside]]
    same = theirs[candidates] == ours[inside]
    found[inside[same]] = candidates[same]
    matched = int(same.sum())
    if matched == ours.size and (other.spread or matched == theirs.size):
        return found, ""
    if other.spread:
        return found, f"{other.called} lacks events of {first.called}"
    return found, f"{first.called} and {other.called} don't have the same events"


def _codes(inputs: Sequence[Sequence[Index]]) -> tuple[Index, ...]:
    """Return a number for each row of each input's columns: equal where all their values are, whatever these are."""
    columns = tuple(zip(*inputs, strict=True))
    filled = [[part for part in parts if part.size] for parts in columns]
    if not filled[0]:
        return tuple(np.zeros(0, np.int64) for _ in inputs)
    lowest = [min(int(part.min()) for part in parts) for parts in filled]
    spans = [max(int(part.max()) for part in parts) - low + 1 for parts, low in zip(filled, lowest, strict=True)]
    if prod(spans) < _LARGEST:
        return tuple(_combined(each, lowest, spans) for each in inputs)
    codes = np.zeros(sum(each[0].size for each in inputs), np.int64)
    for parts in columns:
        values, places = np.unique(np.concatenate(parts), return_inverse=True)
        _, codes = np.unique(codes * values.size + places, return_inverse=True)
    bounds = np.cumsum([each[0].size for each in inputs])[:-1]
    return tuple(np.split(codes, bounds))


def _combined(columns: Sequence[Index], lowest: Sequence[int], spans: Sequence[int]) -> Index:
    """Return the rows as numbers whose digits are the columns' values."""
    codes = np.zeros(columns[0].size, np.int64)
    for column, low, span in zip(columns, lowest, spans, strict=True):
        codes *= span
        codes += column
        codes -= low
    return codes


def _without(found: Index, other: _Ids) -> Index:
    """Return the entries of ``other`` that belong to no event."""
    lonely = np.ones(other.ids[0].size, np.bool_)
    lonely[found[found >= 0]] = False
    return np.flatnonzero(lonely)
