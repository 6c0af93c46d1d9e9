"""Exact means: of samples that are filled into cells, weighted or not, with their variance (numeric profile exact-1).

Kept per cell are the number of fills and, as exact sums (:mod:`fasthep_archive.kernels.sums`), those of the samples
``x`` and of ``x * x``; with weights ``w``, those of ``w``, ``w * w``, ``w * x`` and ``w * x * x``. A product enters as
two doubles, the nearest one and what its rounding left out; ``w * x * x`` as four. So sums are those of the real
products wherever all ``|w|`` and ``|x|`` that are not 0 lie between 2**-240 and 2**240. Beyond, a product that is not
between 2**-960 and 2**960, or one of whose factors is not below 2**960, enters rounded.

Mean and variance are each one fraction of whole numbers, which is rounded once:

    mean        sum(x) / n                                     sum(w x) / sum(w)
    variance    (n sum(x x) - sum(x)^2) / (n (n - 1))          (sum(w) sum(w x x) - sum(w x)^2) / (sum(w)^2 - sum(w w))

the sample variance, and its counterpart for weights that say how much a sample tells: those of boost-histogram, which
computes them fill by fill, so that the order is in its last bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.sums import Cells, ExactSums, State, WeightedSums, below, plain, same_length
from fasthep_archive.kernels.unit import Unit, unit_of

Doubles: TypeAlias = NDArray[np.float64]
Fraction: TypeAlias = tuple[int, int]
"""Numerator and denominator."""

COUNTED = ("x", "xx")
"""The sums of samples without weights."""
WEIGHTED = ("w", "ww", "wx", "wxx")
"""The sums of samples with weights."""

_SOURCE = "fasthep_archive.kernels.moments_source"


class Moments:
    """Number of fills, and the exact sums that mean and variance are made of, per cell."""

    def __init__(self, cells: int, *, cache: Path, weighted: bool) -> None:
        self._cache = cache
        self._fills = WeightedSums(cells, cache=cache, weighted=False)
        self._sums = {name: ExactSums(cells, cache=cache) for name in (WEIGHTED if weighted else COUNTED)}

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self._fills.cells

    @property
    def weighted(self) -> bool:
        """Whether samples have weights."""
        return WEIGHTED[0] in self._sums

    @property
    def counts(self) -> Cells:
        """Number of fills per cell."""
        return self._fills.counts

    def add(self, cells: Cells, samples: Doubles, weights: Doubles | None = None) -> None:
        """Fill ``cells[i]`` with ``samples[i]``; cells out of range, -1 among them, are skipped."""
        if self.weighted != (weights is not None):
            raise ValueError("weights go with weighted means, and only with those")
        samples = plain(samples, np.float64)
        same_length(cells, samples)
        self._fills.add(cells)
        for name, terms in self._terms(samples, weights).items():
            for values in terms:
                if _any(values):  # of numbers that were float32 in their file, rounding leaves nothing out
                    self._sums[name].add(cells, values)

    def _terms(self, samples: Doubles, weights: Doubles | None) -> Mapping[str, Sequence[Doubles]]:
        """Return what is added to each sum: doubles that add up to the product."""
        if weights is None:
            return {"x": [samples], "xx": self._products(samples, samples)}
        weights = plain(weights, np.float64)
        same_length(weights, samples)
        first = self._products(weights, samples)
        high, low = first
        # zeros by finite numbers add nothing
        factors = [high] if not _any(low) and np.isfinite(samples).all() else [high, low]
        second = [part for factor in factors for part in self._products(factor, samples)]
        return {"w": [weights], "ww": self._products(weights, weights), "wx": first, "wxx": second}

    def _products(self, one: Doubles, other: Doubles) -> Sequence[Doubles]:
        high, low = np.empty(len(one)), np.empty(len(one))
        Function.of(_unit(), "products", self._cache)(one, other, high, low)
        return high, low

    def merge(self, other: Moments) -> None:
        """Add the other's fills to these."""
        if (self.cells, self.weighted) != (other.cells, other.weighted):
            raise ValueError("only means with the same cells, both with or both without weights, can be merged")
        self._fills.merge(other._fills)
        for name, sums in self._sums.items():
            sums.merge(other._sums[name])

    def moved(self, cells: int, places: Cells) -> Moments:
        """Return the same fills in ``cells`` cells, cell ``i`` at ``places[i]``; cells that meet are added."""
        new = Moments(0, cache=self._cache, weighted=self.weighted)
        new._fills = self._fills.moved(cells, places)
        new._sums = {name: sums.moved(cells, places) for name, sums in self._sums.items()}
        return new

    def state(self) -> State:
        """Return the content as arrays. Equal fills give equal arrays, in any order, partition and tree of merges."""
        state = self._fills.state()
        for name, sums in self._sums.items():
            state |= {f"{name}.{key}": array for key, array in sums.state().items()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Array], *, cache: Path) -> Moments:
        """Return what :meth:`state` described."""
        new = cls(0, cache=cache, weighted=f"{WEIGHTED[0]}.cells" in state)
        new._fills = WeightedSums.from_state(state, cache=cache)
        new._sums = {name: ExactSums.from_state(below(state, name), cache=cache) for name in new._sums}
        return new

    def sumw(self) -> Doubles:
        """Return the sums of weights, each rounded once; without weights, the counts."""
        return self._sums["w"].rounded() if self.weighted else self.counts.astype(np.float64)

    def sumw2(self) -> Doubles:
        """Return the sums of squared weights, each rounded once; without weights, the counts."""
        return self._sums["ww"].rounded() if self.weighted else self.counts.astype(np.float64)

    def means(self) -> Doubles:
        """Return the means, each rounded once; 0.0 in a cell without fills, or whose weights are all 0.

        NaN and infinities among the samples make it what they make a sum (:meth:`ExactSums.rounded`), with the sign
        that the weights' sum has. NaN where that sum is 0, or no finite number.
        """
        found = self._computed(_weighted_mean if self.weighted else _mean)
        special = self._sums["wx" if self.weighted else "x"].unbounded()
        signed = special * np.copysign(1.0, self.sumw())
        found = np.where((special == 0.0) | np.isnan(found), found, signed)
        return np.where(self._sums["w"].unbounded() == 0.0, found, np.nan) if self.weighted else found

    def variances(self) -> Doubles:
        """Return the variances of the samples, each rounded once; 0.0 with less than two fills.

        NaN where one of the sums is no finite number, or there is nothing to divide by.
        """
        found = self._computed(_weighted_variance if self.weighted else _variance)
        for sums in self._sums.values():
            found[sums.unbounded() != 0.0] = np.nan
        return found

    def _computed(self, formula: Callable[..., Fraction]) -> Doubles:
        """Return the quotient that ``formula`` makes of the sums of each cell; 0.0 where nothing was filled.

        Zero by zero is 0, and anything else by zero NaN.
        """
        used = np.flatnonzero(self.counts)
        whole = [sums.whole(used) for sums in self._sums.values()]
        unit = min(0, *(exponent for exponent, _ in whole))
        aligned = [[number << (exponent - unit) for number in numbers] for exponent, numbers in whole]
        results = np.zeros(self.cells)
        results[used] = [
            _quotient(*formula(-unit, fills, *numbers))
            for fills, *numbers in zip(self.counts[used].tolist(), *aligned, strict=True)
        ]
        return results


def _mean(scale: int, fills: int, x: int, _xx: int) -> Fraction:
    """Return the mean; sums are multiples of ``2**-scale``, here and below."""
    return x, fills << scale


def _variance(scale: int, fills: int, x: int, xx: int) -> Fraction:
    return (fills * xx << scale) - x * x, fills * (fills - 1) << 2 * scale


def _weighted_mean(_scale: int, _fills: int, w: int, _ww: int, wx: int, _wxx: int) -> Fraction:
    return wx, w


def _weighted_variance(scale: int, _fills: int, w: int, ww: int, wx: int, wxx: int) -> Fraction:
    return w * wxx - wx * wx, w * w - (ww << scale)


def _quotient(numerator: int, denominator: int) -> float:
    """Return the double nearest to the quotient, as CPython rounds it (Objects/longobject.c, long_true_divide)."""
    if not numerator:
        return 0.0
    if not denominator:
        return math.nan
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


def _any(values: Doubles) -> bool:
    """Return whether any bit is set: a comparison of doubles would warn of some NaN."""
    return bool(values.view(np.int64).any())


@once
def _unit() -> Unit:
    return replace(unit_of(_SOURCE), lowerable=True)
