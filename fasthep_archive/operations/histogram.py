"""``hep.hist``: fills a histogram of any number of axes, counted or weighted, optionally split by dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from fasthep_archive.data import products
from fasthep_archive.data.products import Histogram
from fasthep_archive.digest import JSON
from fasthep_archive.errors import FormulaError
from fasthep_archive.kernels.bins import regular_edges
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations.filling import AxisFill, Categories, Filling, Rows, Weights, merged
from fasthep_archive.operations.protocol import Fill, Output, Part, Product
from fasthep_archive.operations.stream import Lowering, Stream, TextBranch

AxisType = Literal["regular", "variable", "category", "int", "bool"]
Storage = Literal["count", "weighted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis as the document describes it.

    :ivar source: formula of the values. :ivar edges: of regular and variable axes, n + 1 for n bins.
    :ivar categories: fixed categories; none for an axis that grows with what it meets.
    """

    name: str
    label: str
    source: str
    type: AxisType
    edges: tuple[float, ...] = ()
    categories: tuple[int, ...] | tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hist:
    """Fills each event's values, or each value of jagged axes; flat axes and weights are broadcast to these.

    Missing values are not filled. ``dataset_axis`` has one category per dataset, and comes first.
    """

    axes: tuple[Axis, ...]
    dataset_axis: Axis | None
    storage: Storage
    weight_expr: str | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Hist:
        """Return the operation of checked parameters."""
        weight = cast("str | None", params.get("weight_expr"))
        split = cast("Mapping[str, JSON] | None", params.get("dataset_axis"))
        return cls(
            axes=tuple(map(_axis, cast("Sequence[Mapping[str, JSON]]", params["axes"]))),
            dataset_axis=None if split is None else _axis(split),
            storage=cast("Storage", params["storage"]),
            weight_expr=weight,
        )

    def lower(
        self, lowering: Lowering, stream: Stream, stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Lower the axes' formulas and the weight; the stream goes on unchanged."""
        placed = [
            _axis_fill(axis, lowering, stream, (*path, "axes", number, "source"))
            for number, axis in enumerate(self.axes)
        ]
        found = [axis for axis in placed if axis is not None]
        values = [axis.value for axis in found if axis.value is not None]
        weight = self._weight(lowering, stream, values, (*path, "weight_expr"))
        if len(found) < len(placed) or (self.weight_expr is not None and weight is None):
            return stream, None
        places = [axis.place for axis in found if axis.value is not None]
        if weight is not None:
            values, places = [*values, weight], [*places, (*path, "weight_expr")]
        selected = stream.mask is not None or not values
        aligned = _aligned(lowering, stream, values, places, selected=selected)
        if aligned is None:
            return stream, None
        weights: Weights = "none" if self.storage == "count" else "unit" if weight is None else "given"
        filling = Filling(axes=tuple(axis.fill for axis in found), selected=selected, weights=weights)
        return stream, Fill(values=aligned, accumulation=filling)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the histogram."""
        return HistogramProduct(stage=stage, hist=self, datasets=tuple(datasets))

    def _weight(
        self, lowering: Lowering, stream: Stream, axes: Sequence[Value], place: tuple[str | int, ...]
    ) -> Value | None:
        """Return the weight of the entries that ``axes`` give, or none where there is none and after a fault."""
        value = None if self.weight_expr is None else lowering.formula(self.weight_expr, stream, place)
        if value is None:
            return None
        if value.optional:
            hint = "say what a missing weight stands for: fill_none(..., 1.0)"
            lowering.fault("a weight can't be missing, but this formula's value can be", place, hint=hint)
            return None
        if value.structure is not None and all(axis.structure is None for axis in axes):
            hint = "make one weight per event of it: leading(...), prod(...), sum(...)"
            lowering.fault(
                "this weight is a list of values per event, but the axes have one value per event", place, hint=hint
            )
            return None
        return lowering.builder.cast(value, "float64", label="weight_expr")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placed:
    """An axis that can be filled: how, with what (none: texts, which no program computes), and where that stands."""

    fill: AxisFill
    value: Value | None
    place: tuple[str | int, ...]


def _axis_fill(axis: Axis, lowering: Lowering, stream: Stream, place: tuple[str | int, ...]) -> _Placed | None:
    """Return how ``axis`` is filled, or none after a fault."""
    if axis.type == "category":
        texts = _text_fill(axis, lowering, stream, place)
        return None if texts is None else _Placed(fill=texts, value=None, place=place)
    value = _checked(axis, lowering, lowering.formula(axis.source, stream, place), place)
    return None if value is None else _Placed(fill=_fill_of(axis), value=value, place=place)


def _aligned(
    lowering: Lowering,
    stream: Stream,
    values: Sequence[Value],
    places: Sequence[tuple[str | int, ...]],
    *,
    selected: bool,
) -> tuple[Value, ...] | None:
    """Return ``values``, after the events that are still in if ``selected``, all of one structure; or report."""
    mask = stream.mask if stream.mask is not None else lowering.builder.constant(True)
    for number, place in enumerate(places):
        try:
            lowering.builder.aligned(values[: number + 1])
        except FormulaError as error:
            lowering.fault(error.message, place, hint=error.hint)
            return None
    return lowering.builder.aligned([mask, *values] if selected else values)


def _checked(axis: Axis, lowering: Lowering, value: Value | None, place: tuple[str | int, ...]) -> Value | None:
    """Return the axis' value in the type that the axis counts in; report what does not fit."""
    if value is None:
        return None
    if axis.type in ("regular", "variable"):
        return lowering.builder.cast(value, "float64", label=axis.name)
    if axis.type == "bool":
        if value.dtype == "bool":
            return value
        message = f"axis {axis.name!r} of type bool needs a condition, but its source is a number ({value.dtype})"
        lowering.fault(message, place, hint=f"compare it, for example with {axis.source} > 0")
        return None
    if value.dtype == "float64":
        message = f"axis {axis.name!r} of type int needs whole numbers, but its source is a float64"
        hint = "use a regular or variable axis, or define the source with dtype: int64"
        lowering.fault(message, place, hint=hint)
        return None
    return lowering.builder.cast(value, "int64", label=axis.name)


def _text_fill(axis: Axis, lowering: Lowering, stream: Stream, place: tuple[str | int, ...]) -> AxisFill | None:
    """Return how an axis of texts is filled: from a branch, or with what is known of the dataset."""
    categories = cast("tuple[str, ...] | None", axis.categories)
    found = lowering.texts(axis.source, stream, place, f"axis {axis.name!r} of type category")
    if isinstance(found, TextBranch):
        return AxisFill(kind="texts", categories=categories, branch=found.name)
    return None if found is None else AxisFill(kind="texts", categories=categories, text=found)


def _axis(spec: Mapping[str, JSON]) -> Axis:
    kind = cast("AxisType", spec["type"])
    bins = spec.get("bins")
    edges: tuple[float, ...] = ()
    categories: tuple[int, ...] | tuple[str, ...] | None = None
    if kind == "regular":
        regular = cast("Mapping[str, float]", bins)
        edges = tuple(regular_edges(int(regular["nbins"]), regular["low"], regular["high"]).tolist())
    elif kind == "variable":
        edges = tuple(cast("Mapping[str, Sequence[float]]", bins)["edges"])
    elif bins is not None:
        categories = tuple(cast("Sequence[int]", bins))
    return Axis(
        name=str(spec["name"]),
        label=str(spec.get("label") or spec["name"]),
        source=str(spec["source"]),
        type=kind,
        edges=edges,
        categories=categories,
    )


def _fill_of(axis: Axis) -> AxisFill:
    if axis.type in ("regular", "variable"):
        return AxisFill(kind=axis.type, edges=axis.edges)
    if axis.type == "bool":
        return AxisFill(kind="bool")
    return AxisFill(kind="texts" if axis.type == "category" else "integers", categories=axis.categories)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistogramProduct:
    """The histogram of a stage."""

    stage: str
    hist: Hist
    datasets: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        return (f"histograms/{self.stage}.json",)

    def canonical(self) -> JSON:
        split = self.hist.dataset_axis
        return {
            "kind": "histogram",
            "stage": self.stage,
            "axes": [_described(axis) for axis in self.hist.axes],
            "dataset_axis": None if split is None else _described(split),
            "storage": self.hist.storage,
            "datasets": list(self.datasets),
        }

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        split = self.hist.dataset_axis
        fills = [_fill_of(axis) for axis in self.hist.axes]
        rows = None if split is None else Rows(names=self._rows(split), overflow=split.categories is not None)
        filled = merged(parts, fills, rows, self.hist.storage == "weighted", cache)
        axes = [_product_axis(axis, found) for axis, found in zip(self.hist.axes, filled.categories, strict=True)]
        if split is not None:
            axes.insert(0, _product_axis(split, self._rows(split)))
        histogram = Histogram(
            name=self.stage,
            axes=tuple(axes),
            storage=self.hist.storage,
            values=filled.values,
            variances=filled.variances,
        )
        return (Output(name=self.outputs[0], content=histogram.to_json()),)

    def _rows(self, split: Axis) -> tuple[str, ...]:
        """Return the categories of the dataset axis: those listed, or all datasets that the stage applies to."""
        return cast("tuple[str, ...]", split.categories) if split.categories is not None else self.datasets


def _described(axis: Axis) -> Mapping[str, JSON]:
    return {
        "name": axis.name,
        "label": axis.label,
        "type": axis.type,
        "edges": [edge.hex() for edge in axis.edges],
        "categories": None if axis.categories is None else list(axis.categories),
    }


def _product_axis(axis: Axis, categories: Categories | None) -> products.Axis:
    """Return the axis of the product; a growing one has the categories that were met, in order of appearance."""
    edges = np.array(axis.edges)
    match axis.type:
        case "regular":
            return products.RegularAxis(
                name=axis.name,
                label=axis.label,
                bins=len(edges) - 1,
                lower=axis.edges[0],
                upper=axis.edges[-1],
                edges=edges,
            )
        case "variable":
            return products.VariableAxis(name=axis.name, label=axis.label, edges=edges)
        case "bool":
            return products.BooleanAxis(name=axis.name, label=axis.label)
        case "category":
            texts = cast("tuple[str, ...]", categories or ())
            growing = axis.categories is None
            return products.StrCategoryAxis(name=axis.name, label=axis.label, categories=texts, growing=growing)
        case "int":
            numbers = cast("tuple[int, ...]", categories or ())
            growing = axis.categories is None
            return products.IntCategoryAxis(name=axis.name, label=axis.label, categories=numbers, growing=growing)
