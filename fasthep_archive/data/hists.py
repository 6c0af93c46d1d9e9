"""``hist.Hist`` as products: what code of an analysis fills becomes a histogram in its stored form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.histograms import (
    Axis,
    BooleanAxis,
    Histogram,
    IntCategoryAxis,
    RegularAxis,
    StrCategoryAxis,
    VariableAxis,
)
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    import hist

_Padded: TypeAlias = "Callable[[NDArray[Any], type], NDArray[Any]]"
_STORAGES = "Int64(), Double() without weights, Weight(), Mean() or WeightedMean()"


def of_hist(filled: hist.Hist[Any], name: str) -> Histogram:
    """Return ``filled`` as the product called ``name``; flow bins that its axes lack are empty.

    A ``Double`` histogram has variances as long as it knows them: before it was filled with weights or scaled. Those of
    means are the variances of the samples, as products have them, not of the means, as ``variances()`` has them.

    :raises DataError: if it has axes or a storage that products can't have.
    """
    axes = tuple(_axis(axis, number, name) for number, axis in enumerate(filled.axes))
    view: Any = filled.view(flow=True)
    padding = [_padding(axis) for axis in filled.axes]

    def padded(array: NDArray[Any], dtype: type) -> NDArray[Any]:
        return np.pad(np.asarray(array, dtype), padding)

    kind = str(filled.storage_type.__name__)
    if kind in ("Int64", "AtomicInt64"):
        return Histogram(name=name, axes=axes, storage="count", values=padded(view, np.int64))
    if kind in _MEANS:
        return Histogram(name=name, axes=axes, **_MEANS[kind](view, name, padded))
    variances = filled.variances(flow=True) if kind in ("Double", "Weight") else None
    if variances is None:
        hint = f"products have {_STORAGES}"
        raise DataError(f"histogram {name!r} has the storage {kind}, and no sums of squared weights", hint=hint)
    values = filled.values(flow=True)
    return Histogram(
        name=name,
        axes=axes,
        storage="weighted",
        values=padded(values, np.float64),
        variances=padded(variances, np.float64),
    )


def _means(view: Any, name: str, padded: _Padded) -> dict[str, Any]:
    """Return what a histogram of means has, whose entries are counted."""
    counts = np.asarray(view["count"])
    if not (counts == np.floor(counts)).all():
        hint = "fill with weights what has the storage WeightedMean()"
        raise DataError(f"histogram {name!r} has numbers of entries that are not whole", hint=hint)
    variances = _quotients(view["_sum_of_deltas_squared"], counts - 1)
    return {
        "storage": "mean",
        "values": padded(view["value"], np.float64),
        "variances": padded(variances, np.float64),
        "counts": padded(counts, np.int64),
    }


def _weighted_means(view: Any, _name: str, padded: _Padded) -> dict[str, Any]:
    """Return what a histogram of weighted means has."""
    sumw, sumw2 = (np.asarray(view[field]) for field in ("sum_of_weights", "sum_of_weights_squared"))
    variances = _quotients(view["_sum_of_weighted_deltas_squared"], sumw - _quotients(sumw2, sumw))
    return {
        "storage": "weighted_mean",
        "values": padded(view["value"], np.float64),
        "variances": padded(variances, np.float64),
        "sumw": padded(sumw, np.float64),
        "sumw2": padded(sumw2, np.float64),
    }


_MEANS: Mapping[str, Callable[[Any, str, _Padded], dict[str, Any]]] = {"Mean": _means, "WeightedMean": _weighted_means}
"""What histograms of means have, by the name of their storage."""


def _quotients(numerators: NDArray[Any], denominators: NDArray[Any]) -> NDArray[Any]:
    """Return the quotients: zero by anything is 0, and anything else by zero NaN; see :mod:`~...kernels.moments`."""
    found = np.zeros(np.shape(numerators))
    np.divide(numerators, denominators, out=found, where=(numerators != 0) & (denominators != 0))
    found[(numerators != 0) & (denominators == 0)] = np.nan
    return found


def _axis(axis: Any, number: int, histogram: str) -> Axis:
    """Return an axis; one without a name is called by its position."""
    name = str(axis.name or f"axis_{number}")
    label = str(axis.label or "")
    kind = type(axis).__name__
    if kind == "Boolean":
        return BooleanAxis(name=name, label=label)
    if kind == "StrCategory":
        texts = tuple(str(item) for item in axis)
        return StrCategoryAxis(name=name, label=label, categories=texts, growing=bool(axis.traits.growth))
    if kind == "IntCategory":
        numbers = tuple(int(item) for item in axis)
        return IntCategoryAxis(name=name, label=label, categories=numbers, growing=bool(axis.traits.growth))
    if kind not in ("Regular", "Variable", "Integer") or axis.traits.circular:
        hint = "products have regular, variable, integer, category and boolean axes"
        raise DataError(f"histogram {histogram!r} has an axis {name!r} that products can't have", hint=hint)
    edges = np.asarray(axis.edges, np.float64)
    if kind == "Variable" or getattr(axis, "transform", None) is not None:
        return VariableAxis(name=name, label=label, edges=edges)
    lower, upper = float(edges[0]), float(edges[-1])
    return RegularAxis(name=name, label=label, bins=len(edges) - 1, lower=lower, upper=upper, edges=edges)


def _padding(axis: Any) -> Sequence[int]:
    """Return how many bins are missing before and after those that an axis has."""
    kind, traits = type(axis).__name__, axis.traits
    if kind == "Boolean":
        return (0, 0)
    if kind in ("StrCategory", "IntCategory"):
        return (0, 0) if traits.growth or traits.overflow else (0, 1)
    return (int(not traits.underflow), int(not traits.overflow))
