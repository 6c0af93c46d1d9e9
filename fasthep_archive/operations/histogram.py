"""``hep.hist``: fills a histogram of any number of axes, counted or weighted, optionally split by dataset.

With a sample it is a profile: of what falls into a bin, it has the mean and the variance of another formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal, cast

import numpy as np

from fasthep_archive.data import products
from fasthep_archive.data.products import Histogram, Storage
from fasthep_archive.digest import JSON
from fasthep_archive.errors import FormulaError
from fasthep_archive.kernels.bins import regular_edges
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations.filling import AxisFill, Categories, Filling, Rows, Weights, merged
from fasthep_archive.operations.protocol import Fill, Output, Part, Product, only
from fasthep_archive.operations.stream import Lowering, Stream, TextBranch

AxisType = Literal["regular", "variable", "category", "int", "bool"]


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
class Variations:
    """Several weights for one histogram, each with a category on an axis of its own.

    :ivar name: of the axis. :ivar weights: category and formula. :ivar eventtype: of the datasets that they are for;
        none: all. Other datasets fill the category :data:`NOMINAL`, and each entry weighs one.
    """

    name: str
    weights: tuple[tuple[str, str], ...]
    eventtype: str | None

    @property
    def categories(self) -> tuple[str, ...]:
        """Return the categories of the axis."""
        return tuple(name for name, _ in self.weights)

    def axis(self) -> products.StrCategoryAxis:
        """Return the axis of the product."""
        return products.StrCategoryAxis(name=self.name, label=self.name, categories=self.categories, growing=False)


NOMINAL = "nominal"
MOST_CELLS = 100_000_000
"""Cells of a histogram. Its sums take 8 bytes a cell and more, in each worker and again where they are merged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hist:
    """Fills each event's values, or each value of jagged axes; flat axes and weights are broadcast to these.

    Missing values are not filled, nor are entries whose sample is missing. ``dataset_axis`` has one category per
    dataset, and comes first; the axis of ``variations``, which have the weights if there are any, comes last.
    """

    axes: tuple[Axis, ...]
    dataset_axis: Axis | None
    storage: Storage
    weight_expr: str | None
    variations: Variations | None = None
    sample: str | None = None

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
            variations=_variations(cast("Mapping[str, JSON] | None", params.get("variations"))),
            sample=cast("str | None", params.get("sample")),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Lower the axes' formulas and the weights; the stream goes on unchanged."""
        stream = only(streams)
        cells = prod(axis.size for axis in self.described(()))
        if cells > MOST_CELLS:
            message = f"the axes have {cells:,} cells together, flow bins included, of at most {MOST_CELLS:,}"
            lowering.fault(message, (*path, "axes"), hint="take fewer bins, or several histograms of fewer axes")
            return stream, None
        placed = [
            _axis_fill(axis, lowering, stream, (*path, "axes", number, "source"))
            for number, axis in enumerate(self.axes)
        ]
        found = [axis for axis in placed if axis is not None]
        values = [axis.value for axis in found if axis.value is not None]
        layers, formulas = self._weights(lowering, path)
        samples = [] if self.sample is None else [(self.sample, (*path, "sample"))]
        weighing = [_sample(lowering, stream, values, text, place) for text, place in samples]
        weighing += [_weight(lowering, stream, values, text, place) for text, place in formulas]
        known = [weight for weight in weighing if weight is not None]
        if len(found) < len(placed) or len(known) < len(weighing):
            return stream, None
        places = [axis.place for axis in found if axis.value is not None]
        places += [place for _, place in (*samples, *formulas)]
        selected = stream.mask is not None or not (values or known)
        aligned = _aligned(lowering, stream, [*values, *known], places, selected=selected)
        if aligned is None:
            return stream, None
        kind: Weights = "none" if self.storage in ("count", "mean") else "given" if formulas else "unit"
        fills = tuple(axis.fill for axis in found)
        filling = Filling(axes=fills, selected=selected, weights=kind, layers=layers, sampled=bool(samples))
        return stream, Fill(values=aligned, accumulation=filling)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the histogram."""
        return HistogramProduct(stage=stage, hist=self, datasets=tuple(datasets))

    def described(self, datasets: Sequence[str]) -> tuple[products.Axis, ...]:
        """Return the axes of the product for ``datasets``; axes that grow have no categories yet."""
        split, varied = self.dataset_axis, self.variations
        first = () if split is None else (_product_axis(split, split_categories(split, datasets)),)
        last = () if varied is None else (varied.axis(),)
        return (*first, *(_product_axis(axis, axis.categories) for axis in self.axes), *last)

    def _weights(
        self, lowering: Lowering, path: tuple[str | int, ...]
    ) -> tuple[tuple[int, ...], list[tuple[str, tuple[str | int, ...]]]]:
        """Return the layers that this dataset fills, and the formula of the weight of each, if it has one."""
        varied = self.variations
        if varied is None:
            return (0,), [] if self.weight_expr is None else [(self.weight_expr, (*path, "weight_expr"))]
        place = (*path, "variations", "weights")
        formulas = [(text, (*place, number, "expr")) for number, (_, text) in enumerate(varied.weights)]
        if varied.eventtype not in (None, lowering.constants.get("dataset_eventtype")):
            for text, where in formulas:  # there may be no dataset that they are for
                lowering.check(text, where)
            return (varied.categories.index(NOMINAL),), []
        return tuple(range(len(formulas))), formulas


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placed:
    """An axis that can be filled: how, with what (none: texts, which no program computes), and where that stands."""

    fill: AxisFill
    value: Value | None
    place: tuple[str | int, ...]


def _weight(
    lowering: Lowering, stream: Stream, axes: Sequence[Value], text: str, place: tuple[str | int, ...]
) -> Value | None:
    """Return the weight ``text`` of the entries that ``axes`` give, or none after a fault."""
    value = lowering.weight(text, stream, place)
    if value is None:
        return None
    if value.optional:
        hint = "say what a missing weight stands for: fill_none(..., 1.0)"
        lowering.fault("a weight can't be missing, but this formula's value can be", place, hint=hint)
        return None
    if _has_more(value, axes, lowering, "weight", place):
        return None
    return lowering.builder.cast(value, "float64", label="weight_expr")


def _sample(
    lowering: Lowering, stream: Stream, axes: Sequence[Value], text: str, place: tuple[str | int, ...]
) -> Value | None:
    """Return the sample ``text`` of the entries that ``axes`` give, or none after a fault."""
    value = lowering.formula(text, stream, place)
    if value is None or _has_more(value, axes, lowering, "sample", place):
        return None
    return lowering.builder.cast(value, "float64", label="sample")


def _has_more(value: Value, axes: Sequence[Value], lowering: Lowering, noun: str, place: tuple[str | int, ...]) -> bool:
    """Report a list of values for each event where the axes have one value; say whether it is so."""
    if value.structure is None or any(axis.structure is not None for axis in axes):
        return False
    hint = f"make one {noun} per event of it: leading(...), prod(...), sum(...)"
    message = f"this {noun} is a list of values per event, but the axes have one value per event"
    lowering.fault(message, place, hint=hint)
    return True


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
        if value.dtype != "float64":  # a trigger bit, often an integer, is true when it is not 0
            return lowering.builder.cast(value, "bool", label=axis.name)
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


def _variations(spec: Mapping[str, JSON] | None) -> Variations | None:
    if spec is None:
        return None
    weights = cast("Sequence[Mapping[str, str]]", spec["weights"])
    apply_to = cast("Mapping[str, str]", spec.get("apply_to") or {})
    return Variations(
        name=str(spec["axis"]),
        weights=tuple((weight["name"], weight["expr"]) for weight in weights),
        eventtype=apply_to.get("eventtype"),
    )


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
        split, varied = self.hist.dataset_axis, self.hist.variations
        return {
            "kind": "histogram",
            "stage": self.stage,
            "axes": [_described(axis) for axis in self.hist.axes],
            "dataset_axis": None if split is None else _described(split),
            "storage": self.hist.storage,
            "variations": None if varied is None else {"name": varied.name, "categories": list(varied.categories)},
            "datasets": list(self.datasets),
        }

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        split, varied = self.hist.dataset_axis, self.hist.variations
        fills = [_fill_of(axis) for axis in self.hist.axes]
        categories = () if split is None else split_categories(split, self.datasets)
        rows = None if split is None else Rows(names=categories, overflow=split.categories is not None)
        layers = None if varied is None else len(varied.weights)
        filled = merged(parts, fills, rows, self.hist.storage, cache, layers=layers)
        axes = [_product_axis(axis, found) for axis, found in zip(self.hist.axes, filled.categories, strict=True)]
        if split is not None:
            axes.insert(0, _product_axis(split, categories))
        arrays = filled.arrays
        if varied is not None:  # all weights have a category: nothing is ever in the overflow
            axes.append(varied.axis())
            room = [(0, 0)] * (len(axes) - 1) + [(0, 1)]
            arrays = {name: np.pad(array, room) for name, array in arrays.items()}
        histogram = Histogram(name=self.stage, axes=tuple(axes), storage=self.hist.storage, **arrays)
        return (Output(name=self.outputs[0], held=histogram.to_json()),)


def split_categories(split: Axis, datasets: Sequence[str]) -> tuple[str, ...]:
    """Return the categories of the dataset axis: those listed, or all datasets that the stage applies to."""
    return cast("tuple[str, ...]", split.categories) if split.categories is not None else tuple(datasets)


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
