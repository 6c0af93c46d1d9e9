"""Pictures of products: histograms of one and two axes, cutflows and numbers, as self-contained SVG.

What is real data is drawn as points and what is simulated as a stack. Pictures are for looking: they have fewer digits
than the products, long axes are shown with neighbouring bins merged, and more than two axes are summed over; each
picture says so. They are pure functions of the product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.products import (
    Axis,
    BooleanAxis,
    Cutflow,
    Histogram,
    IntCategoryAxis,
    StrCategoryAxis,
    Values,
    stored_as,
)
from fasthep_archive.report import curves, cutflows, heatmaps, numbers
from fasthep_archive.report.curves import Bins, Series
from fasthep_archive.report.heatmaps import Panel
from fasthep_archive.report.markup import Markup
from fasthep_archive.report.tex import plain

_MOST_BINS, _MOST_CELLS = 240, 60
"""Bins along an axis that a curve and a heat map show."""

_Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """An axis of a picture.

    :ivar bins: what is shown.
    :ivar starts: for each of these, the number of its first bin in the product; then the number after the last.
    """

    bins: Bins
    starts: tuple[int, ...]

    def below(self, extent: int) -> int:
        """Return how many flow bins come first in an array of ``extent`` bins along this axis."""
        return 1 if extent >= self.starts[-1] + 2 else 0

    def merged(self, array: _Doubles, position: int) -> _Doubles:
        """Return ``array`` with its dimension ``position`` without flow bins, merged to the bins that are shown."""
        if not self.starts[-1]:
            shape = [1 if dimension == position else size for dimension, size in enumerate(array.shape)]
            return np.zeros(shape)
        first = self.below(array.shape[position])
        inside = np.take(array, range(first, first + self.starts[-1]), axis=position)
        merged: _Doubles = np.add.reduceat(inside, self.starts[:-1], axis=position)
        return merged


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one dataset has: bins with flow bins, one dimension for each axis; everything finite."""

    name: str
    values: _Doubles
    variances: _Doubles


def pictures(outputs: Mapping[str, bytes], *, datasets: Mapping[str, str]) -> Mapping[str, Markup]:
    """Return a picture of each output that has one, by its name, in the order given.

    :param outputs: their bytes, by their names below the outputs directory.
    :param datasets: event type (``data``, ``mc`` ...) of each dataset of the workflow, by name.
    """
    found = {}
    for name, content in outputs.items():
        form = stored_as(name)
        product = form.read(content) if form and form.read else None
        if isinstance(product, Cutflow):
            found[name] = cutflow(product, datasets=datasets)
        elif isinstance(product, Values):
            found[name] = numbers.picture(product, PurePosixPath(name).stem)
        elif product and not product.samples:  # means have no stack, nor sums over neighbouring bins
            found[name] = histogram(product, datasets=datasets)
    return found


def histogram(product: Histogram, *, datasets: Mapping[str, str]) -> Markup:
    """Return the picture of a histogram.

    :param datasets: event type (``data``, ``mc`` ...) of each dataset of the workflow, by name.
    """
    first = product.axes[0] if product.axes else None
    split = isinstance(first, StrCategoryAxis) and bool(first.categories) and set(first.categories) <= set(datasets)
    remarks: list[str] = []
    values, variances = _finite(product, remarks)
    axes = product.axes
    if split and len(axes) > 1 and isinstance(first, StrCategoryAxis):
        axes = axes[1:]
        parts = [
            _Part(name=name, values=values[position], variances=variances[position])
            for position, name in enumerate(first.categories)
        ]
    else:
        split = False
        parts = [_Part(name=product.name, values=values, variances=variances)]
    if len(axes) > 2:
        rest = tuple(range(2, len(axes)))
        parts = [_Part(name=p.name, values=p.values.sum(rest), variances=p.variances.sum(rest)) for p in parts]
        remarks.append(f"summed over {', '.join(axis.name for axis in axes[2:])}")
    if len(axes) > 1:
        return _heatmap((_side(axes[0], _MOST_CELLS, remarks), _side(axes[1], _MOST_CELLS, remarks)), parts, remarks)
    measured = [name for name, kind in datasets.items() if kind == "data"] if split else []
    return _curve(_side(axes[0] if axes else None, _MOST_BINS, remarks), parts, measured, remarks)


def cutflow(product: Cutflow, *, datasets: Mapping[str, str]) -> Markup:
    """Return the picture of a cutflow: a table of bars.

    :param datasets: event type of each dataset of the workflow, by name.
    """
    return cutflows.picture(product, {name for name, kind in datasets.items() if kind == "data"})


def _curve(side: _Side, parts: Sequence[_Part], measured: Sequence[str], remarks: Sequence[str]) -> Markup:
    series = []
    for part in parts:
        values, variances = (side.merged(array, 0) for array in (part.values, part.variances))
        first = side.below(len(part.values))
        series.append(
            Series(
                name=part.name,
                values=tuple(values.tolist()),
                variances=tuple(variances.tolist()),
                below=math.fsum(part.values[:first].tolist()),
                above=math.fsum(part.values[first + side.starts[-1] :].tolist()),
                measured=part.name in measured,
            )
        )
    return curves.picture(side.bins, series, stacked=len(parts) > 1, remarks=remarks)


def _heatmap(sides: tuple[_Side, _Side], parts: Sequence[_Part], remarks: Sequence[str]) -> Markup:
    panels = []
    for part in parts:
        cells = sides[1].merged(sides[0].merged(part.values, 0), 1)
        outside = math.fsum([*part.values.ravel().tolist(), *(-cells).ravel().tolist()])
        panels.append(Panel(name=part.name, values=tuple(map(tuple, cells.tolist())), outside=outside))
    return heatmaps.picture(sides[0].bins, sides[1].bins, panels, remarks=remarks)


def _finite(product: Histogram, remarks: list[str]) -> tuple[_Doubles, _Doubles]:
    """Return values and variances as float64; what is no finite number is 0 there and told in ``remarks``.

    Where the product has no variances it counts, and a count is its own variance.
    """
    values = np.atleast_1d(np.asarray(product.values, dtype=np.float64))  # a histogram without axes has one bin
    variances = values if product.variances is None else np.atleast_1d(product.variances)
    broken = int(np.count_nonzero(~(np.isfinite(values) & np.isfinite(variances))))
    if broken:
        remarks.append(f"{broken} {'bin holds' if broken == 1 else 'bins hold'} no finite number and are not shown")
    return np.where(np.isfinite(values), values, 0.0), np.where(np.isfinite(variances), variances, 0.0)


def _side(axis: Axis | None, most: int, remarks: list[str]) -> _Side:
    """Return how an axis is shown; what that hides is told in ``remarks``. None: a single bin."""
    bins = _bins(axis)
    size = len(bins.edges) - 1
    if size == 0:
        return _Side(bins=Bins(label=bins.label, edges=(0.0, 1.0), names=("nothing",)), starts=(0, 0))
    step = -(-size // most)
    if step == 1:
        return _Side(bins=bins, starts=tuple(range(size + 1)))
    starts = (*range(0, size, step), size)
    remarks.append(f"{plain(bins.label)}: shown with {step} neighbouring bins as one")
    edges = tuple(bins.edges[start] for start in starts)
    names = tuple(f"{bins.names[a]} … {bins.names[b - 1]}" for a, b in pairwise(starts)) if bins.names else ()
    return _Side(bins=Bins(label=bins.label, edges=edges if not names else _units(names), names=names), starts=starts)


def _bins(axis: Axis | None) -> Bins:
    """Return the bins of an axis; categories have names and the width 1, as have bins that reach to infinity."""
    label = (axis.label or axis.name) if axis else ""
    if axis is None:
        names: tuple[str, ...] = ("everything",)
    elif isinstance(axis, (StrCategoryAxis, IntCategoryAxis)):
        names = tuple(map(str, axis.categories))
    elif isinstance(axis, BooleanAxis):
        names = ("false", "true")
    else:
        edges = tuple(map(float, axis.edges))
        if all(map(math.isfinite, edges)):
            return Bins(label=label, edges=edges)
        names = tuple(f"{left:.6g} to {right:.6g}" for left, right in pairwise(edges))
    return Bins(label=label, edges=_units(names), names=names)


def _units(names: Sequence[str]) -> tuple[float, ...]:
    return tuple(map(float, range(len(names) + 1)))
