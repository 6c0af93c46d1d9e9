"""Histograms on a device: bins of entries, and exact sums that stay there until a pass is over.

What comes out are the sums of :mod:`fasthep_archive.kernels.sums`, bit for bit: a limb is a whole number, whoever adds
to it. Where a histogram is small its limbs hold any double from the start; otherwise a window of limbs, which is read
back and begun anew when values lie outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels import bins
from fasthep_archive.kernels.cuda.device import OutOfMemory, Span, constant, word
from fasthep_archive.kernels.cuda.tools import ITEM, Resident, Tools
from fasthep_archive.kernels.moments import COUNTED, WEIGHTED, Moments
from fasthep_archive.kernels.sums import State, WeightedSums

ALL_LIMBS = 67
"""Limbs for any finite double: the largest begins in limb 63, a term has three, and one more takes carries."""

SMALL = 1 << 16
"""Limbs, per sum, that a histogram may have to get all of them at once: half a mebibyte."""

TERMS = 1 << 30
"""Entries after which carries are settled: a limb takes 2**31 terms."""

_FAR = 1 << 62
_SUMS = (("sumw", False), ("sumw2", True))


# Axes


class ResidentAxis(Protocol):
    """One axis of a histogram that is being filled on a device."""

    def place(self, cells: Span, entries: int, column: Resident) -> None:
        """Take ``cells`` one axis further, in place, for the content of ``column``; -1 stays -1."""


def resident_axis(tools: Tools, axis: bins.Axis) -> ResidentAxis:
    """Return an axis as it is on the device; categories that are met are those of ``axis``."""
    return _AXES[type(axis)](tools, axis)


def place(tools: Tools, cells: Span, entries: int, axes: Sequence[ResidentAxis], columns: Sequence[Resident]) -> None:
    """Turn start cells into cells of all ``axes``, as :func:`fasthep_archive.kernels.bins.place` does."""
    for column in columns:
        if column.valid is not None:
            tools.launch("drop_missing", entries, cells, column.valid)
    for axis, column in zip(axes, columns, strict=True):
        axis.place(cells, entries, column)


class _Edges:
    def __init__(self, tools: Tools, axis: bins.EdgeAxis) -> None:
        self._tools = tools
        self._axis = axis
        self._edges = constant(tools.device, axis.edges)

    def place(self, cells: Span, entries: int, column: Resident) -> None:
        values, count = self._tools.numbers(column, "values"), len(self._axis.edges)
        if self._axis.scale is not None:
            scale = self._axis.scale
            self._tools.launch("place_regular", entries, cells, values, self._edges, count - 1, scale)
        else:
            self._tools.launch("place_between", entries, cells, values, self._edges, count)


class _Truth:
    def __init__(self, tools: Tools, axis: bins.BoolAxis) -> None:
        self._tools = tools
        self._axis = axis

    def place(self, cells: Span, entries: int, column: Resident) -> None:
        positions = self._tools.integers(column, "positions")
        self._tools.launch("place_positions", entries, cells, positions, self._axis.size)


class _Integers:
    def __init__(self, tools: Tools, axis: bins.IntAxis) -> None:
        self._tools = tools
        self._axis = axis
        self._refresh()

    def place(self, cells: Span, entries: int, column: Resident) -> None:
        values = self._tools.integers(column, "values")
        positions = self._find(values, entries)
        if self._axis.growing:
            first = _first_unknown(self._tools, positions, cells, entries)
            if first < entries:
                unknown = _unknown(self._tools, first, entries, positions, cells, values)
                self._axis.meet(unknown)
                self._refresh()
                positions = self._find(values, entries)
        self._tools.launch("place_positions", entries, cells, positions, self._axis.size)

    def _find(self, values: Span, entries: int) -> Span:
        positions = self._tools.words("positions", entries)
        if self._count:
            missing = self._axis.missing
            arguments = (positions, values, self._keys, self._places, self._count, missing)
            self._tools.launch("find_categories", entries, *arguments)
        else:
            self._tools.launch("fill_words", entries, positions, self._axis.missing)
        return positions

    def _refresh(self) -> None:
        keys, places = self._axis.sorted
        self._count = len(keys)
        self._keys, self._places = constant(self._tools.device, keys), constant(self._tools.device, places)


class _Texts:
    """The bins of texts, looked up in a table of the words that the texts of a block have."""

    def __init__(self, tools: Tools, axis: bins.TextAxis) -> None:
        self._tools = tools
        self._axis = axis
        self._known: tuple[tuple[str, ...], int] | None = None

    def place(self, cells: Span, entries: int, column: Resident) -> None:
        positions = self._find(column, entries)
        if self._axis.growing:
            first = _first_unknown(self._tools, positions, cells, entries)
            if first < entries:
                unknown = _unknown(self._tools, first, entries, positions, cells, column.content)
                self._axis.meet(unknown, column.words)
                positions = self._find(column, entries)
        self._tools.launch("place_positions", entries, cells, positions, self._axis.size)

    def _find(self, column: Resident, entries: int) -> Span:
        state = column.words, self._axis.size
        if self._known != state:
            self._table = constant(self._tools.device, self._axis.bins(column.words))
            self._known = state
        positions = self._tools.words("positions", entries)
        self._tools.launch("looked_up", entries, positions, self._table, column.content)
        return positions


_AXES: Mapping[type, Callable[..., ResidentAxis]] = MappingProxyType(
    {bins.EdgeAxis: _Edges, bins.BoolAxis: _Truth, bins.IntAxis: _Integers, bins.TextAxis: _Texts}
)


def _first_unknown(tools: Tools, positions: Span, cells: Span, entries: int) -> int:
    """Return the place of the first entry that is filled and has no bin yet; ``_FAR`` if there is none."""
    first = tools.words("first unknown", 1)
    tools.launch("fill_words", 1, first, _FAR)
    tools.launch("first_unknown", entries, first, positions, cells)
    return word(tools.device, first)


def _unknown(tools: Tools, first: int, entries: int, positions: Span, cells: Span, values: Span) -> Array:
    """Return the values, from the first on, that are filled and have no bin yet."""
    arrays = []
    for span in (positions, cells, values):
        array = np.empty(entries - first, np.int64)
        tools.device.download(span.part(ITEM * first, array.nbytes), array)
        arrays.append(array)
    found = arrays[2][(arrays[0] < 0) & (arrays[1] >= 0)]
    return np.asarray(found)


# Sums


class ResidentSums:
    """What :class:`~fasthep_archive.kernels.sums.WeightedSums` are, on a device."""

    def __init__(self, tools: Tools, cells: int, *, weighted: bool, cache: Path) -> None:
        self._tools = tools
        self._cells = cells
        self._cache = cache
        self._taken = WeightedSums(cells, cache=cache, weighted=weighted)
        self._counts = _zeros(tools, cells)
        self._limbs = tuple(_Window(tools, cells, squared=squared) for _, squared in _SUMS) if weighted else ()
        self._terms = 0

    def add(self, cells: Span, entries: int, weights: Span | None = None) -> None:
        """Fill cells, int64, with weights, float64; cells out of range, -1 among them, are skipped."""
        for limbs, (first, end) in zip(self._limbs, self._needed(cells, entries, weights), strict=True):
            if not limbs.covers(first, end):
                self._take()
                limbs.cover(first, end)
        self._tools.launch("count_cells", entries, cells, self._counts, self._cells)
        settle, self._terms = _settled(self._terms, entries)
        for limbs in self._limbs:
            assert weights is not None, "weights go with weighted sums"
            limbs.add(cells, entries, weights, settle=settle)

    def total(self) -> WeightedSums:
        """Return everything that was added since the last call; the device begins anew."""
        self._take()
        found, self._taken = self._taken, WeightedSums(self._cells, cache=self._cache, weighted=bool(self._limbs))
        return found

    def _needed(self, cells: Span, entries: int, weights: Span | None) -> Sequence[tuple[int, int]]:
        """Return, for each sum, the limbs that the values need; asks the device only where it may have too few."""
        if all(limbs.complete for limbs in self._limbs):
            return [(0, 0)] * len(self._limbs)
        assert weights is not None, "weights go with weighted sums"
        windows = self._tools.words("windows", 4)
        self._tools.launch("fill_words", 4, windows, _FAR)
        for number, (_, squared) in enumerate(_SUMS):
            window = windows.part(2 * ITEM * number, 2 * ITEM)
            self._tools.launch("extent", entries, cells, self._cells, weights, squared, window)
        found = np.empty((2, 2), np.int64)
        self._tools.device.download(windows, found.reshape(-1))
        return [(0, 0) if first == _FAR else (int(first), 3 - int(last)) for first, last in found]

    def _take(self) -> None:
        """Take what the device has, which begins anew."""
        counts = np.empty(self._cells, np.int64)
        self._tools.device.download(self._counts, counts)
        self._tools.device.clear(self._counts)
        used = np.flatnonzero(counts)
        state: State = {"cells": np.array([self._cells]), "used": used, "counts": counts[used]}
        for (name, _), limbs in zip(_SUMS, self._limbs, strict=False):
            state |= {f"{name}.{key}": array for key, array in limbs.taken(used).items()}
        self._taken.merge(WeightedSums.from_state(state, cache=self._cache))
        self._terms = 0


class ResidentMoments:
    """What :class:`~fasthep_archive.kernels.moments.Moments` are, on a device."""

    def __init__(self, tools: Tools, cells: int, *, weighted: bool, cache: Path) -> None:
        self._tools = tools
        self._cells = cells
        self._cache = cache
        self._taken = Moments(cells, cache=cache, weighted=weighted)
        self._counts = _zeros(tools, cells)
        self._limbs = {name: _Window(tools, cells, squared=False) for name in (WEIGHTED if weighted else COUNTED)}
        self._terms = 0

    def add(self, cells: Span, entries: int, samples: Span, weights: Span | None = None) -> None:
        """Fill cells, int64, with samples and weights, float64; cells out of range, -1 among them, are skipped."""
        added = self._added(entries, samples, weights)
        for name, (first, end) in self._needed(cells, entries, added).items():
            if not self._limbs[name].covers(first, end):
                self._take()
                self._limbs[name].cover(first, end)
        self._tools.launch("count_cells", entries, cells, self._counts, self._cells)
        terms = entries * max(map(len, added.values()))
        settle, self._terms = _settled(self._terms, terms)
        for name, spans in added.items():
            for number, span in enumerate(spans):
                self._limbs[name].add(cells, entries, span, settle=settle and number == 0)

    def total(self) -> Moments:
        """Return everything that was added since the last call; the device begins anew."""
        self._take()
        found = self._taken
        self._taken = Moments(self._cells, cache=self._cache, weighted=found.weighted)
        return found

    def _added(self, entries: int, samples: Span, weights: Span | None) -> Mapping[str, Sequence[Span]]:
        """Return what is added to each sum: doubles that add up to the product."""
        if weights is None:
            return {"x": [samples], "xx": self._products("xx", entries, samples, samples)}
        first = self._products("wx", entries, weights, samples)
        second = [
            part
            for number, factor in enumerate(first)
            for part in self._products(f"wxx {number}", entries, factor, samples)
        ]
        return {"w": [weights], "ww": self._products("ww", entries, weights, weights), "wx": first, "wxx": second}

    def _products(self, name: str, entries: int, one: Span, other: Span) -> Sequence[Span]:
        high, low = self._tools.words(f"{name}, high", entries), self._tools.words(f"{name}, low", entries)
        self._tools.launch("products", entries, one, other, high, low)
        return high, low

    def _needed(self, cells: Span, entries: int, added: Mapping[str, Sequence[Span]]) -> Mapping[str, tuple[int, int]]:
        """Return, for each sum, the limbs that the values need; asks the device only where it may have too few."""
        if all(limbs.complete for limbs in self._limbs.values()):
            return {}
        windows = self._tools.words("windows", 2 * len(added))
        self._tools.launch("fill_words", 2 * len(added), windows, _FAR)
        for number, spans in enumerate(added.values()):
            window = windows.part(2 * ITEM * number, 2 * ITEM)
            for values in spans:
                self._tools.launch("extent", entries, cells, self._cells, values, False, window)
        found = np.empty((len(added), 2), np.int64)
        self._tools.device.download(windows, found.reshape(-1))
        return {
            name: (0, 0) if first == _FAR else (int(first), 3 - int(last))
            for name, (first, last) in zip(added, found, strict=True)
        }

    def _take(self) -> None:
        """Take what the device has, which begins anew."""
        counts = np.empty(self._cells, np.int64)
        self._tools.device.download(self._counts, counts)
        self._tools.device.clear(self._counts)
        used = np.flatnonzero(counts)
        places: State = {"cells": np.array([self._cells]), "used": used}
        state = {**places, "counts": counts[used]}
        for name, limbs in self._limbs.items():
            state |= {f"{name}.{key}": array for key, array in (places | limbs.taken(used)).items()}
        self._taken.merge(Moments.from_state(state, cache=self._cache))
        self._terms = 0


def _settled(before: int, terms: int) -> tuple[bool, int]:
    """Return whether carries are settled before so many terms, and how many terms limbs have with them.

    :raises OutOfMemory: if that are more than limbs take: smaller blocks have fewer.
    """
    if terms > TERMS:
        raise OutOfMemory
    return (True, terms) if before + terms > TERMS else (False, before + terms)


class _Window:
    """The limbs of one sum per cell, from ``first`` on."""

    def __init__(self, tools: Tools, cells: int, *, squared: bool) -> None:
        self._tools = tools
        self._cells = cells
        self._squared = squared
        self._first = 0
        self.complete = cells * ALL_LIMBS <= SMALL
        self._width = ALL_LIMBS if self.complete else 0
        self._limbs = _zeros(tools, cells * self._width)
        self._nonfinite = _zeros(tools, cells * 3)

    def covers(self, first: int, end: int) -> bool:
        return first >= end or (self._first <= first and end <= self._first + self._width)

    def cover(self, first: int, end: int) -> None:
        """Make room for limbs ``first`` to ``end``, beside those that there are; all are zero."""
        if self._width:
            first, end = min(first, self._first), max(end, self._first + self._width)
        self._first, self._width = first, end - first
        self._limbs = _zeros(self._tools, self._cells * self._width)

    def add(self, cells: Span, entries: int, weights: Span, *, settle: bool) -> None:
        if settle:
            self._tools.launch("settle", self._cells if self._width else 0, self._limbs, self._width)
        arguments = (self._limbs, self._first, self._width, self._nonfinite)
        self._tools.launch("add_values", entries, cells, self._cells, weights, self._squared, *arguments)

    def taken(self, used: Array) -> State:
        """Return the limbs of the cells ``used``, those that are zero in all of them left out; begin anew."""
        limbs, nonfinite = np.empty(self._cells * self._width, np.int64), np.empty(self._cells * 3, np.int64)
        for span, found in ((self._limbs, limbs), (self._nonfinite, nonfinite)):
            if found.size:
                self._tools.device.download(span, found)
                self._tools.device.clear(span)
        rows = limbs.reshape(self._cells, self._width)[used]
        occupied = np.flatnonzero(rows.any(axis=0))
        start, stop = (int(occupied[0]), int(occupied[-1]) + 1) if len(occupied) else (0, 0)
        first = np.array([self._first + start if len(occupied) else 0])
        return {"first": first, "limbs": rows[:, start:stop], "nonfinite": nonfinite.reshape(-1, 3)[used]}


def _zeros(tools: Tools, count: int) -> Span:
    """Return new integers that are 0."""
    return constant(tools.device, np.zeros(count, np.int64))
