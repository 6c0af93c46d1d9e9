"""Bins: which cell of a histogram a value falls into (numeric profile exact-1, rule 5).

The index of a value is its position among the recorded edges: 0 below the first edge (underflow), ``i`` from edge
``i - 1`` up to but without edge ``i``, ``n + 1`` from the last edge on and for NaN (overflow). That is
``np.searchsorted(edges, value, side="right")``. How the position is found can't change it. Values are float64 here;
integers are rounded to that first.

Several axes make one cell number, row-major with the flow bins included: ``(i * size_j + j) * size_k + k``. Cell -1
stands for what is not filled: not selected, or missing on some axis.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels import bins_source
from fasthep_archive.kernels import cache as kernel_cache

Cells: TypeAlias = NDArray[np.int64]
Edges: TypeAlias = NDArray[np.float64]

_FUNCTIONS = ("place_regular", "place_between", "find_categories", "place_positions")


def regular_edges(bins: int, lower: float, upper: float) -> Edges:
    """Return the ``bins + 1`` edges ``lower + i * (upper - lower) / bins``, each the double nearest to the real number.

    >>> regular_edges(3, 0.0, 1.0).tolist()
    [0.0, 0.3333333333333333, 0.6666666666666666, 1.0]

    :raises DataError: if there is no bin, the limits don't increase, or doubles are too coarse for so many bins.
    """
    lower, upper = float(lower), float(upper)
    if bins < 1:
        raise DataError(f"an axis needs at least one bin, not {bins}")
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise DataError(f"an axis goes from a number to a larger one, not from {lower} to {upper}")
    (low, low_unit), (up, up_unit) = lower.as_integer_ratio(), upper.as_integer_ratio()
    unit = max(low_unit, up_unit)  # both are powers of two
    low, up = low * (unit // low_unit), up * (unit // up_unit)
    # Python divides integers with one correct rounding (Objects/longobject.c, long_true_divide).
    edges = np.array([(low * (bins - i) + up * i) / (bins * unit) for i in range(bins + 1)])
    return _increasing(edges, f"{bins} bins from {lower} to {upper} are narrower than doubles can tell apart")


def variable_edges(edges: Sequence[float]) -> Edges:
    """Return the edges as an array.

    :raises DataError: if there are less than two, or they are not finite and increasing.
    """
    array = np.array(edges, np.float64)
    if len(array) < 2:
        raise DataError(f"an axis needs at least two edges, not {len(array)}")
    if not np.isfinite(array).all():
        raise DataError("the edges of an axis are finite; what lies beyond them has its own two bins")
    return _increasing(array + 0.0, "the edges of an axis increase")


def _increasing(edges: Edges, message: str) -> Edges:
    wrong = np.flatnonzero(edges[1:] <= edges[:-1])
    if len(wrong):
        first = int(wrong[0])
        raise DataError(f"{message}: {edges[first]!s} is followed by {edges[first + 1]!s}")
    return edges


class Axis(Protocol):
    """One axis of a histogram that is being filled."""

    @property
    def size(self) -> int:
        """Number of bins now, flow bins included."""

    def place(self, cells: Cells, column: Column) -> None:
        """Take ``cells`` one axis further, in place, for the content of ``column``; -1 stays -1."""


class EdgeAxis:
    """A continuous axis, with underflow and overflow."""

    def __init__(self, edges: Edges, *, cache: Path) -> None:
        self._kernels = _kernels(cache)
        self._edges = np.require(edges, np.float64, ["C", "A", "W"])
        self._scale = _scale(self._edges)

    @property
    def edges(self) -> Edges:
        """The edges."""
        return self._edges

    @property
    def scale(self) -> float | None:
        """What turns a value's distance from the first edge into its bin, or the one beside it; none: nothing does."""
        return self._scale

    @property
    def size(self) -> int:
        return len(self._edges) + 1

    def place(self, cells: Cells, column: Column) -> None:
        values = np.require(column.content, np.float64, ["C", "A", "W"])
        _same_length(cells, values)
        if self._scale is not None:
            self._kernels.place_regular(cells, values, self._edges, self._scale)
        else:
            self._kernels.place_between(cells, values, self._edges)


class IntAxis:
    """Integer categories. A fixed axis has an overflow bin for all others; a growing one takes them as they appear."""

    def __init__(self, categories: Sequence[int], *, growing: bool, cache: Path) -> None:
        self._kernels = _kernels(cache)
        self._growing = growing
        self._set(categories)

    @property
    def categories(self) -> tuple[int, ...]:
        """The categories in the order of their bins."""
        return self._categories

    @property
    def growing(self) -> bool:
        """Whether the axis takes categories that it has not met."""
        return self._growing

    @property
    def size(self) -> int:
        return len(self._categories) + (not self._growing)

    @property
    def missing(self) -> int:
        """The bin of what is no category; -1 where that would become one."""
        return -1 if self._growing else len(self._categories)

    @property
    def sorted(self) -> tuple[Cells, Cells]:
        """The categories in ascending order, and the bin of each."""
        return self._keys, self._places

    def meet(self, values: NDArray[np.int64]) -> None:
        """Take what are no categories yet, in order of appearance."""
        self._set((*self._categories, *_in_order_of_appearance(values)))

    def place(self, cells: Cells, column: Column) -> None:
        if column.content.dtype.kind not in "biu":
            raise DataError(f"an integer category axis can't bin {column.content.dtype} values")
        values = np.require(column.content, np.int64, ["C", "A", "W"])
        _same_length(cells, values)
        positions = self._positions(values)
        if self._growing:
            unknown = values[(positions < 0) & (cells >= 0)]
            if len(unknown):
                self.meet(unknown)
                positions = self._positions(values)
        self._kernels.place_positions(cells, positions, self.size)

    def _set(self, categories: Sequence[int]) -> None:
        self._categories = tuple(map(int, categories))
        keys = np.array(self._categories, np.int64)
        self._places = np.argsort(keys, kind="stable").astype(np.int64)
        self._keys = keys[self._places]

    def _positions(self, values: NDArray[np.int64]) -> Cells:
        positions = np.full(len(values), self.missing)
        if len(self._keys):
            self._kernels.find_categories(values, self._keys, self._places, self.missing, positions)
        return positions


class TextAxis:
    """Categories of text. A fixed axis has an overflow bin for all others; a growing one takes them as they appear."""

    def __init__(self, categories: Sequence[str], *, growing: bool, cache: Path) -> None:
        self._kernels = _kernels(cache)
        self._growing = growing
        self._places = {category: place for place, category in enumerate(categories)}

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories in the order of their bins."""
        return tuple(self._places)

    @property
    def growing(self) -> bool:
        """Whether the axis takes categories that it has not met."""
        return self._growing

    @property
    def size(self) -> int:
        return len(self._places) + (not self._growing)

    def meet(self, codes: NDArray[np.int64], words: Sequence[str]) -> None:
        """Take texts that are no categories yet, in order of appearance."""
        for code in _in_order_of_appearance(codes):
            self._places[words[code]] = len(self._places)

    def bins(self, words: Sequence[str]) -> Cells:
        """Return the bin of each word; -1 where it would become a category."""
        missing = -1 if self._growing else len(self._places)
        return np.array([self._places.get(word, missing) for word in words], np.int64)

    def place(self, cells: Cells, column: Column) -> None:
        codes = column.content
        _same_length(cells, codes)
        positions = self.bins(column.words)[codes]
        if self._growing:
            unknown = codes[(positions < 0) & (cells >= 0)]
            if len(unknown):
                self.meet(unknown, column.words)
                positions = self.bins(column.words)[codes]
        self._kernels.place_positions(cells, positions, self.size)


class BoolAxis:
    """Two bins: false, true."""

    size = 2

    def __init__(self, *, cache: Path) -> None:
        self._kernels = _kernels(cache)

    def place(self, cells: Cells, column: Column) -> None:
        _same_length(cells, column.content)
        self._kernels.place_positions(cells, column.content.astype(np.bool_).astype(np.int64), self.size)


def place(cells: Cells, axes: Sequence[Axis], columns: Sequence[Column]) -> None:
    """Turn start cells, 0 or -1 for what is not selected, into cells of all ``axes``, in place.

    Takes one column per axis, as long as ``cells``. What is missing on some axis becomes -1. Axes that grow can be
    larger afterwards: the cells go with their present sizes, and sums of before are moved as :func:`moves` says.
    """
    for column in columns:
        if column.valid is not None:
            _same_length(cells, column.valid)
            np.putmask(cells, ~column.valid, -1)
    for axis, column in zip(axes, columns, strict=True):
        axis.place(cells, column)


def moves(old: Sequence[int], new: Sequence[int], indices: Sequence[Cells | None]) -> Cells:
    """Return where each cell of a histogram of sizes ``old`` lies in one of sizes ``new``, to move sums there.

    :param indices: for each axis the new index of each old one; none where every bin keeps its index.
    """
    places = np.zeros((), np.int64)
    for old_size, new_size, index in zip(old, new, indices, strict=True):
        kept = np.arange(old_size, dtype=np.int64) if index is None else index
        places = places[..., np.newaxis] * new_size + kept
    return places.reshape(-1)


def _scale(edges: Edges) -> float | None:
    """Return the scale with which a guess, ``(value - lower) * scale``, is never off by more than one bin; or none.

    The guess never decreases with the value. If edge ``i`` itself is guessed to be in bin ``i`` or the one before, a
    value from edge ``i`` up to edge ``i + 1`` is guessed from ``i - 1`` to ``i + 1``.
    """
    bins = len(edges) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        scale = bins / (edges[-1] - edges[0])
        guesses = np.floor((edges - edges[0]) * scale)
    expected = np.arange(bins + 1)
    proven = bool(((guesses == expected) | (guesses == expected - 1)).all())
    return float(scale) if proven else None


def _in_order_of_appearance(values: NDArray[np.int64]) -> list[int]:
    distinct, first = np.unique(values, return_index=True)
    return [int(value) for value in distinct[np.argsort(first)]]


def _same_length(cells: Cells, values: NDArray[np.generic]) -> None:
    if cells.shape != values.shape or cells.ndim != 1:
        raise ValueError(f"{cells.shape} cells need as many values, not {values.shape}")  # numba would read beyond


def _kernels(cache: Path) -> ModuleType:
    return kernel_cache.load(inspect.getsource(bins_source), _FUNCTIONS, cache=cache, name="bins", lowerable=True)
