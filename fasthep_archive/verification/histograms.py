"""Comparison of histograms, bin by bin.

Read here is UHI's JSON form, schema 1 (https://uhi.readthedocs.io/en/latest/serialization.html), whoever wrote it; a
number that JSON lacks is the text ``nan``, ``inf`` or ``-inf``. Which library wrote it is not content, but the edges of
a regular axis are where our own histograms carry them (:mod:`fasthep_archive.data.histograms`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isnan, prod

import numpy as np

from fasthep_archive.data.histograms import WRITER
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Doubles, Flags, Numbers, same_content
from fasthep_archive.verification.statistics import ChiSquare, chi_square, kolmogorov_distance
from fasthep_archive.verification.trees import compare_values

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "int": ("values",),
    "double": ("values",),
    "weighted": ("values", "variances"),
    "mean": ("counts", "values", "variances"),
    "weighted_mean": ("sum_of_weights", "sum_of_weights_squared", "values", "variances"),
}
"""The arrays of each storage type, and what a bin's number is called in each."""

_COUNTING = ("int", "double", "weighted")
"""Storages whose values add up to a distribution."""

_LARGEST = 2**26
"""Bins above which nothing is read: axes are a few numbers in a file that may come from anywhere."""

_LABELS = ("metadata", "writer_info")
"""What an axis may differ in without its bins being others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axis:
    """An axis: what it is called, what its bins are called, in order, flow bins included."""

    name: str
    bins: tuple[str, ...]
    ordered: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Histogram:
    """A histogram: its axes as they were written, its arrays with the shape of the axes, float64."""

    axes: tuple[Mapping[str, JSON], ...]
    metadata: JSON
    storage: str
    fields: Mapping[str, Doubles]


def compare_histograms(recorded: bytes, replayed: bytes) -> Contrast:
    """Return which bins differ; if axes or storage differ, how, since then no bin has a counterpart.

    :raises DataError: if one of them is not a UHI histogram. Sparse ones are compared as JSON.
    """
    contents = json.loads(recorded), json.loads(replayed)
    if any(_sparse(content) for content in contents):
        return compare_values(*contents)
    before, now = (_histogram(content) for content in contents)
    structure = _axes_differ(before.axes, now.axes)
    if before.storage != now.storage:
        structure.append(_change("the storage", before.storage, now.storage))
    if structure:
        return Contrast(structure=tuple(structure), noun="bin")
    return _bins(before, now, tuple(_labels_differ(before, now)))


def _bins(before: _Histogram, now: _Histogram, structure: tuple[Finding, ...]) -> Contrast:
    fields = _FIELDS[before.storage]
    differs = {name: ~same_content(before.fields[name], now.fields[name]) for name in fields}
    anywhere = np.logical_or.reduce([differs[name] for name in fields])
    pairs = [(before.fields[name][differs[name]], now.fields[name][differs[name]]) for name in fields]
    numbers = Numbers.of(
        np.concatenate([one for one, _ in pairs]),
        np.concatenate([other for _, other in pairs]),
        compared=anywhere.size,
        places=int(np.count_nonzero(anywhere)),
    )
    if not numbers:
        return Contrast(structure=structure, numbers=numbers, noun="bin")
    axes = [_axis(axis, position) for position, axis in enumerate(before.axes)]
    chi2, distance = _distribution(before, now, axes)
    return Contrast(
        structure=structure,
        numbers=numbers,
        noun="bin",
        findings=_findings(axes, before, now, differs),
        statistics=_statistics(chi2, distance),
        remark=_remark(chi2, distance),
    )


def _findings(
    axes: Sequence[_Axis], before: _Histogram, now: _Histogram, differs: Mapping[str, Flags]
) -> tuple[Finding, ...]:
    """Return the first bins that differ; a bin shows the first of its numbers that does."""
    anywhere = np.logical_or.reduce(list(differs.values()))
    found = []
    for place in np.argwhere(anywhere)[:SHOWN].tolist():
        at = tuple(place)
        name = next(name for name, where in differs.items() if where[at])
        bins = (
            ", ".join(f"{axis.name} {axis.bins[index]}" for axis, index in zip(axes, at, strict=True)) or "the only bin"
        )
        suffix = "" if name == "values" else f", {name.replace('_', ' ')}"
        values = (histogram.fields[name][at] for histogram in (before, now))
        one, other = (str(int(value)) if before.storage == "int" else repr(float(value)) for value in values)
        found.append(Finding(where=f"{bins}{suffix}", recorded=one, replayed=other))
    return tuple(found)


def _distribution(before: _Histogram, now: _Histogram, axes: Sequence[_Axis]) -> tuple[ChiSquare | None, float]:
    """Return the chi-square, and the largest Kolmogorov distance of the projections on axes that have an order."""
    if before.storage not in _COUNTING:
        return None, float("nan")
    values = before.fields["values"], now.fields["values"]
    variances = [histogram.fields.get("variances", histogram.fields["values"]) for histogram in (before, now)]
    distances = []
    for kept, axis in enumerate(axes):
        if axis.ordered:
            others = tuple(position for position in range(len(axes)) if position != kept)
            distances.append(kolmogorov_distance(*(array.sum(axis=others) for array in values)))
    usable = [distance for distance in distances if not isnan(distance)]
    return chi_square(*values, *variances), max(usable, default=float("nan"))


def _statistics(chi2: ChiSquare | None, distance: float) -> Mapping[str, float]:
    found: dict[str, float] = {} if isnan(distance) else {"ks_distance": distance}
    if chi2 and chi2.ndf:
        found |= {"chi2": chi2.value, "ndf": chi2.ndf, "p_value": chi2.probability}
    return found


def _remark(chi2: ChiSquare | None, distance: float) -> str | None:
    parts = [] if not chi2 or not chi2.ndf else [f"chi2/ndf {chi2.value:.3g}/{chi2.ndf}, p = {chi2.probability:.3g}"]
    parts += [] if isnan(distance) else [f"KS distance {distance:.2g}"]
    return ", ".join(parts) or None


def _axes_differ(before: Sequence[Mapping[str, JSON]], now: Sequence[Mapping[str, JSON]]) -> list[Finding]:
    """Return how the axes differ, one finding for each property."""
    if len(before) != len(now):
        return [_change("the number of axes", len(before), len(now))]
    found = []
    for position, axes in enumerate(zip(before, now, strict=True)):
        one, other = map(_properties, axes)
        name = _axis_name(axes[0], position)
        for key in {**one, **other}:
            contrast = compare_values(one.get(key), other.get(key))
            if contrast.numbers and not contrast.structure and len(contrast.numbers) < contrast.numbers.compared:
                first = contrast.findings[0]
                found.append(replace(first, where=f"axis {name}, {key}{first.where.removeprefix('$')}"))
            elif not contrast.same:
                found.append(_change(f"axis {name}, {key}", one.get(key), other.get(key)))
    return found


def _properties(axis: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Return what decides which values lie in which bin."""
    decisive = {key: value for key, value in axis.items() if key not in _LABELS}
    edges = _written_edges(axis)
    return decisive if edges is None else {**decisive, "edges": edges}


def _written_edges(axis: Mapping[str, JSON]) -> list[float] | None:
    """Return the edges that our own regular axes carry as text; none for axes of others."""
    info = axis.get("writer_info")
    ours = info.get(WRITER) if isinstance(info, Mapping) else None
    edges = ours.get("edges") if isinstance(ours, Mapping) else None
    return [float(edge) for edge in edges.split()] if isinstance(edges, str) else None


def _labels_differ(before: _Histogram, now: _Histogram) -> list[Finding]:
    found = [] if before.metadata == now.metadata else [_change("the metadata", before.metadata, now.metadata)]
    for position, (one, other) in enumerate(zip(before.axes, now.axes, strict=True)):
        labels = [axis.get("metadata") for axis in (one, other)]
        if labels[0] != labels[1]:
            found.append(_change(f"axis {_axis_name(one, position)}, metadata", *labels))
    return found


def _change(what: str, before: JSON, now: JSON) -> Finding:
    return Finding(where=what, recorded=shown(before), replayed=shown(now))


def _extent(axis: Mapping[str, JSON]) -> int:
    """Return the number of bins, flow bins included."""
    kind = axis.get("type")
    if kind == "boolean":
        return 2
    if kind in {"category_str", "category_int"}:
        return len(_list(axis.get("categories"))) + bool(axis.get("flow"))
    flow = bool(axis.get("underflow")) + bool(axis.get("overflow"))
    if kind == "variable":
        return max(0, len(_list(axis.get("edges"))) - 1) + flow
    bins = axis.get("bins")
    if kind != "regular" or not isinstance(bins, int) or bins < 0:
        raise DataError(f"unknown axis {shown(kind)}")
    return bins + flow


def _axis(axis: Mapping[str, JSON], position: int) -> _Axis:
    """Return what the axis and its bins are called."""
    kind = axis["type"]
    if kind in {"category_str", "category_int"}:
        bins = [shown(category) for category in _list(axis["categories"])] + ["overflow"] * bool(axis.get("flow"))
    elif kind == "boolean":
        bins = ["false", "true"]
    else:
        edges = _edges(axis)
        bins = [f"underflow (below {edges[0]:.12g})"] * bool(axis.get("underflow"))
        bins += [f"[{low:.12g}, {high:.12g})" for low, high in pairwise(edges)]
        bins += [f"overflow (from {edges[-1]:.12g})"] * bool(axis.get("overflow"))
    return _Axis(name=_axis_name(axis, position), bins=tuple(bins), ordered=kind in {"regular", "variable"})


def _edges(axis: Mapping[str, JSON]) -> list[float]:
    if axis["type"] == "variable":
        return [float(edge) for edge in _list(axis["edges"]) if isinstance(edge, int | float)]
    written = _written_edges(axis)
    lower, upper, bins = axis.get("lower"), axis.get("upper"), axis.get("bins")
    if not (isinstance(lower, int | float) and isinstance(upper, int | float) and isinstance(bins, int)):
        raise DataError("an axis has no numbers for its range")
    if written is not None and len(written) == bins + 1:
        return written
    edges: list[float] = np.linspace(lower, upper, bins + 1).tolist()
    return edges


def _axis_name(axis: Mapping[str, JSON], position: int) -> str:
    metadata = axis.get("metadata")
    named = [metadata.get(key) for key in ("name", "label")] if isinstance(metadata, Mapping) else []
    return next((name for name in named if isinstance(name, str) and name), str(position))


def _list(value: JSON) -> Sequence[JSON]:
    if not isinstance(value, list | tuple):
        raise DataError("a list is expected")
    return value


def _sparse(content: JSON) -> bool:
    storage = content.get("storage") if isinstance(content, Mapping) else None
    return isinstance(storage, Mapping) and "index" in storage


def _histogram(content: JSON) -> _Histogram:
    """Return the histogram in ``content``; a storage without arrays is one of zeros."""
    if not isinstance(content, Mapping) or content.get("uhi_schema") != 1:
        raise DataError("not a UHI histogram of schema 1")
    axes, storage = content.get("axes"), content.get("storage")
    if not isinstance(storage, Mapping) or storage.get("type") not in _FIELDS:
        raise DataError("unknown storage")
    found = [axis for axis in _list(axes) if isinstance(axis, Mapping)]
    shape = tuple(_extent(axis) for axis in found)
    if prod(shape) > _LARGEST:
        raise DataError(f"{prod(shape)} bins are too many")
    kind = str(storage["type"])
    fields = {name: _array(storage.get(name), shape) for name in _FIELDS[kind]}
    return _Histogram(axes=tuple(found), metadata=content.get("metadata"), storage=kind, fields=fields)


def _array(values: JSON, shape: tuple[int, ...]) -> Doubles:
    if values is None:
        return np.zeros(shape)
    array = np.asarray(values, dtype=np.float64)
    if array.size == prod(shape) == 0:
        return array.reshape(shape)  # an axis without categories: nested lists do not keep the other lengths
    if array.shape != shape:
        raise DataError(f"{prod(shape)} bins by the axes, {array.size} in the storage")
    return array
