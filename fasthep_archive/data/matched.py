"""Events of several trees of one file found by what they are called (run, lumi, event), whatever their order.

Each further input is matched with the first: an index says which of its entries belongs to each event. It is made once
for each open file, of the columns of the ids alone, which are read in pieces; it takes 8 bytes an event and input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.layouts import UnknownColumn, sharing_offsets
from fasthep_archive.data.source import EventSource, Read, partitions
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, concatenated, starts

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


def matching(path: Path, reads: Sequence[Read], sources: Sequence[EventSource]) -> Matching:
    """Return how the events of ``sources`` belong together, by the ids that all reads but the first say.

    :raises UnusableKey: if one lacks a column of the ids, or has something else than integers there.
    :raises DataError: if an id is missing or there twice, or events have no partner where that is an error.
    """
    on, on_mismatch = reads[1].on, reads[1].on_mismatch
    inputs = [_Input(path, read, source, on) for read, source in zip(reads, sources, strict=True)]
    rows: list[Index] = []
    remarks: list[str] = []
    for other in inputs[1:]:
        found, lonely = _entries(inputs[0], other)
        if lonely:
            told = f"{lonely}: {inputs[0].told(np.flatnonzero(found < 0))}, {other.told(_without(found, other))}"
            if on_mismatch == "error":
                hint = "on_mismatch: inner leaves such events out, left keeps those of the first"
                raise DataError(f"{path}: {told}", hint=hint)
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


class Entries:
    """The entries of one input that belong to the events of a stream, read by an index.

    Entries that lie near each other, and those in ascending order, are read as one range around them. Of an input in
    another order, columns are read whole when they are first asked for, and kept while the file is open.
    """

    def __init__(self, source: EventSource, rows: Index, *, missing: bool) -> None:
        """:param missing: whether events can be without an entry, which columns of numbers then show by their type."""
        self._source = source
        self._rows = rows
        self._missing = missing
        found = rows[rows >= 0]
        self._ascending = bool((found[1:] > found[:-1]).all())
        self._whole: dict[str, Column] = {}

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        """Return ``columns`` for events ``start`` to ``stop`` of the stream."""
        names = list(columns)
        rows = self._rows[start:stop]
        found = rows[rows >= 0]
        first, last = (int(found.min()), int(found.max()) + 1) if found.size else (0, 0)
        if self._ascending or last - first <= _NEAR * found.size + _FEW:
            read: Mapping[str, Column] = self._source.read(names, first, last)
        else:
            read, first = self._all(names), 0
        near = np.where(rows >= 0, rows - first, -1)
        taken_ones = {name: taken(read[name], near, missing=self._missing) for name in names}
        return sharing_offsets(taken_ones, {name: self._source.types()[name] for name in names})

    def _all(self, names: Sequence[str]) -> Mapping[str, Column]:
        wanted = [name for name in names if name not in self._whole]
        if wanted:
            self._whole |= self._source.read(wanted, 0, self._source.entries)
        return self._whole


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


class _Input:
    """An input of a match: the ids of its entries."""

    def __init__(self, path: Path, read: Read, source: EventSource, on: Sequence[str]) -> None:
        self.called = f"tree {read.tree!r}" if read.tree else f"input {read.prefix!r}"
        self._where = f"{self.called} of {path}"
        self._on = on
        for name in on:
            self._check(source, name)
        ranges = partitions(source.entries, source.clusters(), _PIECE) or ((0, 0),)
        pieces = [source.read(on, start, stop) for start, stop in ranges]
        self.ids = [self._numbers(name, concatenated([piece[name] for piece in pieces])) for name in on]

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


def _entries(first: _Input, other: _Input) -> tuple[Index, str]:
    """Return the entry of ``other`` for each of ``first``, and what to say if any is without partner."""
    codes = _codes([np.concatenate(pair) for pair in zip(first.ids, other.ids, strict=True)])
    ours, theirs = np.split(codes, [first.ids[0].size])
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
    if matched == ours.size == theirs.size:
        return found, ""
    return found, f"{first.called} and {other.called} don't have the same events"


def _codes(columns: Sequence[Index]) -> Index:
    """Return one number for each row of the columns: equal where all their values are, whatever these are."""
    codes = np.zeros(columns[0].size, np.int64)
    if not codes.size:
        return codes
    lowest = [int(column.min()) for column in columns]
    spans = [int(column.max()) - low + 1 for column, low in zip(columns, lowest, strict=True)]
    if prod(spans) < _LARGEST:
        for column, low, span in zip(columns, lowest, spans, strict=True):
            codes *= span
            codes += column - low
        return codes
    for column in columns:
        values, places = np.unique(column, return_inverse=True)
        _, codes = np.unique(codes * values.size + places, return_inverse=True)
    return codes


def _without(found: Index, other: _Input) -> Index:
    """Return the entries of ``other`` that belong to no event."""
    lonely = np.ones(other.ids[0].size, np.bool_)
    lonely[found[found >= 0]] = False
    return np.flatnonzero(lonely)
