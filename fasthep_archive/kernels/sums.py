"""Exact sums per cell: the real sum of doubles, rounded once, whatever the order (numeric profile exact-1, rule 4).

Every finite double is a whole multiple of 2**-1074, so a sum of doubles is an integer. It is kept as limbs of int64,
limb ``k`` counting multiples of ``2**(32 * k - 1074)``: a superaccumulator (Kulisch; Neal, arXiv:1505.05571). Adding is
integer addition, which is associative: order, partition, workers and the tree of merges can't appear in the result.
70 limbs hold any finite double; we keep the window of limbs that the values need, five or so for event
weights, and widen it when a value lies outside. NaN and the infinities are counted beside the limbs.

Rounding to double, to nearest with ties to even, happens in :meth:`ExactSums.rounded` and nowhere else. Python's
``math.fsum`` gives the same number.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels import cache as kernel_cache
from fasthep_archive.kernels import sums_source

Cells: TypeAlias = NDArray[np.int64]
State: TypeAlias = dict[str, Array]
Combine: TypeAlias = Callable[[Cells], Cells]

MEMORY_LIMIT = 2 * 1024**3
"""Largest accumulator in bytes. What needs more has more bins than anybody can look at."""

_FUNCTIONS = (
    "count_cells",
    "gather",
    "take_apart",
    "covered",
    "add_parts",
    "add_each",
    "settle",
    "add_values",
    "add_weights",
)
_LOW = (1 << 32) - 1
_SUMS = ("sumw", "sumw2")


class ExactSums:
    """One exact sum of doubles per cell."""

    def __init__(self, cells: int, *, cache: Path) -> None:
        self._kernels = _kernels(cache)
        self._limbs = _Limbs(cells)
        self._adds = np.zeros(cells, np.int64)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self._adds)

    def add(self, cells: Cells, values: NDArray[np.float64]) -> None:
        """Add ``values[i]`` to the cell ``cells[i]``; cells out of range, -1 among them, are skipped."""
        cells, values = plain(cells, np.int64), plain(values, np.float64)
        same_length(cells, values)
        done, add = 0, self._kernels.add_values
        while (done := add(done, cells, values, self._adds, self._limbs.window())) < len(cells):
            self._limbs.widen(_inside(cells[done:], values[done:], self.cells))

    def merge(self, other: ExactSums) -> None:
        """Add the other's sums to these, cell by cell."""
        if self.cells != other.cells:
            raise ValueError("only sums with the same cells can be merged")
        self._limbs.merge(other._limbs)

    def rounded(self) -> NDArray[np.float64]:
        """Return the sums, each rounded once: to nearest, ties to even, to infinity beyond the largest double.

        An exact zero is +0.0. A sum with a NaN or with both infinities is NaN, one with one infinity is that one.
        """
        return self._limbs.rounded()

    def whole(self, cells: Cells) -> tuple[int, list[int]]:
        """Return an exponent *e* and, for each of ``cells``, the *n* of its sum *n* 2**e, which is exact.

        NaN and infinities are left out: :meth:`unbounded` has them.
        """
        return self._limbs.whole(cells)

    def unbounded(self) -> NDArray[np.float64]:
        """Return 0.0 where all that was added was finite; else what :meth:`rounded` returns there."""
        return self._limbs.unbounded()

    def moved(self, cells: int, places: Cells) -> ExactSums:
        """Return the same sums in ``cells`` cells, cell ``i`` at ``places[i]``; cells that meet are added."""
        new = ExactSums.__new__(ExactSums)
        new._kernels = self._kernels
        new._limbs = self._limbs.combined(lambda entries: _moved(entries, cells, places))
        new._adds = np.zeros(cells, np.int64)
        return new

    def state(self) -> State:
        """Return the content as arrays. Equal sums give equal arrays, in any order, partition and tree of merges."""
        used = np.flatnonzero(self._limbs.used())
        return {"cells": np.array([self.cells]), "used": used, **self._limbs.state(used)}

    @classmethod
    def from_state(cls, state: Mapping[str, Array], *, cache: Path) -> ExactSums:
        """Return what :meth:`state` described."""
        sums = cls(int(state["cells"][0]), cache=cache)
        sums._limbs = _Limbs.from_state(sums.cells, state["used"], state)
        return sums


class WeightedSums:
    """Number of fills, exact sum of weights and exact sum of squared weights per cell, filled in one pass.

    The square of a weight is rounded to double before it is added, as a user would write ``w * w``. Without weights
    every fill weighs one, only counts are kept, and the sums are the counts.

    :ivar counts: int64, number of fills per cell.
    """

    def __init__(self, cells: int, *, cache: Path, weighted: bool = True) -> None:
        self._kernels = _kernels(cache)
        self._sums = (_Limbs(cells), _Limbs(cells)) if weighted else None
        self.counts = np.zeros(cells, np.int64)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.counts)

    @property
    def weighted(self) -> bool:
        """Whether fills have weights."""
        return self._sums is not None

    def add(self, cells: Cells, weights: NDArray[np.float64] | None = None) -> None:
        """Fill ``cells[i]`` with ``weights[i]``; cells out of range, -1 among them, are skipped with their weights."""
        cells = plain(cells, np.int64)
        if self._sums is None or weights is None:
            if self.weighted or weights is not None:
                raise ValueError("weights go with weighted sums, and only with those")
            self._kernels.count_cells(cells, self.counts)
            return
        weights = plain(weights, np.float64)
        same_length(cells, weights)
        sumw, sumw2 = self._sums
        done, add = 0, self._kernels.add_weights
        while (done := add(done, cells, weights, self.counts, sumw.window(), sumw2.window())) < len(cells):
            inside = _inside(cells[done:], weights[done:], self.cells)
            sumw.widen(inside)
            with np.errstate(over="ignore", under="ignore"):
                sumw2.widen(inside * inside)

    def merge(self, other: WeightedSums) -> None:
        """Add the other's fills to these."""
        if (self.cells, self.weighted) != (other.cells, other.weighted):
            raise ValueError("only sums with the same cells, both with or both without weights, can be merged")
        self.counts += other.counts
        for mine, theirs in zip(self._sums or (), other._sums or (), strict=True):
            mine.merge(theirs)

    def moved(self, cells: int, places: Cells) -> WeightedSums:
        """Return the same fills in ``cells`` cells, cell ``i`` at ``places[i]``; cells that meet are added."""
        return self._combined(lambda entries: _moved(entries, cells, places))

    def cumulative_from_last(self) -> WeightedSums:
        """Return for each cell the fills of this cell and of all after it: of depths, what passes at least so many."""
        return self._combined(_cumulative_from_last)

    def sumw(self) -> NDArray[np.float64]:
        """Return the sums of weights, each rounded once, as :meth:`ExactSums.rounded` says."""
        return self.counts.astype(np.float64) if self._sums is None else self._sums[0].rounded()

    def sumw2(self) -> NDArray[np.float64]:
        """Return the sums of squared weights, each rounded once, as :meth:`ExactSums.rounded` says."""
        return self.counts.astype(np.float64) if self._sums is None else self._sums[1].rounded()

    def state(self) -> State:
        """Return the content as arrays. Equal fills give equal arrays, in any order, partition and tree of merges."""
        used = np.flatnonzero(self.counts)
        state: State = {"cells": np.array([self.cells]), "used": used, "counts": self.counts[used]}
        for name, limbs in zip(_SUMS, self._sums or (), strict=False):
            state |= {f"{name}.{key}": array for key, array in limbs.state(used).items()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Array], *, cache: Path) -> WeightedSums:
        """Return what :meth:`state` described."""
        cells, used = int(state["cells"][0]), state["used"]
        weighted = f"{_SUMS[0]}.first" in state
        new = cls(cells, cache=cache, weighted=weighted)
        new.counts[used] = state["counts"]
        if weighted:
            sumw, sumw2 = (_Limbs.from_state(cells, used, below(state, name)) for name in _SUMS)
            new._sums = (sumw, sumw2)
        return new

    def _combined(self, combine: Combine) -> WeightedSums:
        new = WeightedSums.__new__(WeightedSums)
        new._kernels = self._kernels
        new.counts = combine(self.counts)
        new._sums = None if self._sums is None else (self._sums[0].combined(combine), self._sums[1].combined(combine))
        return new


class _Limbs:
    """The window of limbs of one sum per cell.

    Between fills any int64 will do in a limb, the value being the sum over ``k`` of
    ``limbs[cell, k] * 2**(32 * (first + k) - 1074)``. The last limb takes 2**43 terms: it gets 2**20 of each at most.
    """

    def __init__(self, cells: int, first: int = 0, width: int = 0) -> None:
        _guard(cells, width + 3)
        self._first = first
        self._limbs = np.zeros((cells, width), np.int64)
        self._nonfinite = np.zeros((cells, 3), np.int64)

    @property
    def cells(self) -> int:
        return len(self._limbs)

    def window(self) -> tuple[Cells, int, int, Cells]:
        """Return what the kernels add to: flat limbs, number of the first, how many per cell, non-finite counts."""
        return self._limbs.reshape(-1), self._first, self._limbs.shape[1], self._nonfinite.reshape(-1)

    def widen(self, values: NDArray[np.float64]) -> None:
        """Make room for ``values``."""
        magnitudes = values[np.isfinite(values) & (values != 0.0)].view(np.int64) & sums_source.MAGNITUDE
        if len(magnitudes):
            limb = (np.maximum(magnitudes >> 52, 1) - 1) >> 5
            self._cover(int(limb.min()), int(limb.max()) + 3)

    def _cover(self, first: int, end: int) -> None:
        width = self._limbs.shape[1]
        if width:
            first, end = min(first, self._first), max(end, self._first + width)
        if (first, end) == (self._first, self._first + width):
            return
        wider = _Limbs(self.cells, first, end - first)
        wider._limbs[:, self._first - first : self._first - first + width] = self._limbs
        self._first, self._limbs = first, wider._limbs
        _settle(self._limbs)

    def merge(self, other: _Limbs) -> None:
        """Add the other's sums to these, exactly."""
        self._nonfinite += other._nonfinite
        width = other._limbs.shape[1]
        if width:
            _settle(self._limbs)
            self._cover(other._first, other._first + width + 1)
            start = other._first - self._first
            self._limbs[:, start : start + width] += _settle(other._limbs.copy())

    def combined(self, combine: Combine) -> _Limbs:
        """Return sums of these sums; ``combine`` adds along the first dimension."""
        new = _Limbs(0)
        new._first = self._first
        new._limbs = combine(_settle(self._limbs))
        new._nonfinite = combine(self._nonfinite)
        return new

    def used(self) -> NDArray[np.bool_]:
        """Return which cells are not an exact zero."""
        _, limbs = self._signed()
        return np.asarray(limbs.any(axis=1) | self._nonfinite.any(axis=1))

    def rounded(self) -> NDArray[np.float64]:
        used = np.flatnonzero(self.used())
        exponent, numbers = self.whole(used)
        sums, special = np.zeros(self.cells), self.unbounded()
        sums[used] = [_nearest(number, exponent) for number in numbers]
        return np.where(special == 0.0, sums, special)

    def whole(self, cells: Cells) -> tuple[int, list[int]]:
        """Return the sums of ``cells`` as whole numbers, times 2 to the power that comes first."""
        first, limbs = self._signed()
        rows = limbs[cells]
        signs = np.where((rows < 0).any(axis=1), -1, 1).tolist()
        magnitudes = (int.from_bytes(row.tobytes(), "little") for row in np.abs(rows).astype("<u4"))
        numbers = [sign * magnitude for sign, magnitude in zip(signs, magnitudes, strict=True)]
        return 32 * first - 1074 if limbs.shape[1] else 0, numbers

    def unbounded(self) -> NDArray[np.float64]:
        """Return NaN or an infinity where such were added, and 0.0 elsewhere."""
        nan, positive, negative = self._nonfinite.T > 0
        special = np.zeros(self.cells)
        special[positive] = np.inf
        special[negative] = -np.inf
        special[nan | (positive & negative)] = np.nan
        return special

    def state(self, used: Cells) -> State:
        """Return the canonical arrays of the cells ``used``, which are all that are not zero."""
        first, limbs = self._signed()
        return {"first": np.array([first]), "limbs": limbs[used], "nonfinite": self._nonfinite[used]}

    @classmethod
    def from_state(cls, cells: int, used: Cells, state: Mapping[str, Array]) -> _Limbs:
        limbs = cls(cells, int(state["first"][0]), state["limbs"].shape[1])
        limbs._limbs[used] = state["limbs"]
        limbs._nonfinite[used] = state["nonfinite"]
        if state["limbs"].shape[1]:  # a place for carries, above the highest limb that is not zero
            limbs._cover(limbs._first, limbs._first + state["limbs"].shape[1] + 2)
        return limbs

    def _signed(self) -> tuple[int, Cells]:
        """Return the first limb's number and the limbs in the one form that a sum has.

        All limbs of a cell have its sign and magnitudes below 2**32; limbs that are zero in all cells are trimmed.
        """
        limbs = np.concatenate([self._limbs, np.zeros((self.cells, 2), np.int64)], axis=1)
        _settle(limbs)
        negative = limbs[:, -1] < 0
        limbs[negative] = -_settle(-limbs[negative])
        occupied = np.flatnonzero(limbs.any(axis=0))
        if not len(occupied):
            return 0, limbs[:, :0]
        return self._first + int(occupied[0]), limbs[:, occupied[0] : occupied[-1] + 1]


def _settle(limbs: Cells) -> Cells:
    """Carry in place: every limb in [0, 2**32), except the last, which has the sign. Return the same array."""
    for k in range(limbs.shape[1] - 1):
        limbs[:, k + 1] += limbs[:, k] >> 32
        limbs[:, k] &= _LOW
    return limbs


def _nearest(number: int, exponent: int) -> float:
    """Return the double nearest to ``number * 2**exponent``, ties to even, infinity when beyond the largest.

    CPython rounds both int / int and int to float correctly (Objects/longobject.c), also where results are subnormal.
    """
    try:
        return number / (1 << -exponent) if exponent < 0 else float(number << exponent)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _moved(entries: Cells, cells: int, places: Cells) -> Cells:
    _guard(cells, entries[:1].size)
    moved = np.zeros((cells, *entries.shape[1:]), np.int64)
    np.add.at(moved, places, entries)
    return moved


def _cumulative_from_last(entries: Cells) -> Cells:
    return np.cumsum(entries[::-1], axis=0)[::-1].copy()


def below(state: Mapping[str, Array], name: str) -> Mapping[str, Array]:
    """Return the part of a state that is called ``name``: the arrays ``name.*``, without that."""
    return {key.removeprefix(f"{name}."): array for key, array in state.items() if key.startswith(f"{name}.")}


def _inside(cells: Cells, values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.asarray(values[(cells >= 0) & (cells < size)])


def same_length(cells: Array, values: Array) -> None:
    """Refuse columns of different lengths.

    :raises ValueError: if their lengths differ.
    """
    if cells.shape != values.shape or cells.ndim != 1:
        raise ValueError(f"{cells.shape} cells need as many values, not {values.shape}")  # numba would read beyond


def plain(array: Array, dtype: type[np.generic]) -> Array:
    """Return the array as it is compiled once: contiguous, aligned, writable; the same array when it is so."""
    return np.require(array, dtype, ["C", "A", "W"])


def _guard(cells: int, width: int) -> None:
    needed = 8 * cells * max(width, 1)
    if needed > MEMORY_LIMIT:
        gib = 1024**3
        raise DataError(
            f"exact sums for {cells:,} bins need {needed / gib:.1f} GiB; the limit is {MEMORY_LIMIT / gib:.0f} GiB",
            hint="use fewer axes or fewer bins",
        )


def _kernels(cache: Path) -> ModuleType:
    return kernel_cache.load(inspect.getsource(sums_source), _FUNCTIONS, cache=cache, name="sums", lowerable=True)
