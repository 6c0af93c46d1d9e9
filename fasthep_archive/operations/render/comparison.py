"""``hep.render.comparison``: two histograms over each other, and below how they compare, bin by bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from fasthep_archive.data.products import Axis, IntCategoryAxis, StrCategoryAxis
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.operations.protocol import DatasetFacts, Derivation, Deriving
from fasthep_archive.operations.render import frame, marks, ratios
from fasthep_archive.operations.render.checking import Checking, Described
from fasthep_archive.operations.render.intervals import Doubles
from fasthep_archive.operations.render.marks import BLACK, Ink
from fasthep_archive.operations.render.picture import Picture
from fasthep_archive.operations.render.ratios import Comparison
from fasthep_archive.operations.render.samples import (
    Bins,
    Content,
    Curve,
    Sample,
    Split,
    bins_of,
    curve_of,
    nothing,
    with_flow,
)
from fasthep_archive.operations.render.style import Limits, Style, limits, part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HistType = Literal["band", "bar", "errorbar", "fill", "step"]

_LIMITS: Mapping[Comparison, Limits | None] = {
    "asymmetry": (-1.0, 1.0),
    "difference": None,
    "efficiency": (0.0, 1.1),
    "pull": (-5.0, 5.0),
    "ratio": (0.0, 2.0),
    "relative_difference": (-1.0, 1.0),
    "split_ratio": (0.0, 2.0),
}
"""Of the lower frame, when the document says nothing else; none: what holds the points."""
_LABELS: Mapping[Comparison, str] = {
    "asymmetry": "Asymmetry",
    "difference": "{reference} \N{MINUS SIGN} {target}",
    "efficiency": "Efficiency",
    "pull": "Pull",
    "ratio": "{reference} / {target}",
    "relative_difference": "Rel. difference",
    "split_ratio": "{reference} / {target}",
}
_LINES: Mapping[Comparison, float | None] = {"ratio": 1.0, "split_ratio": 1.0, "efficiency": None}
"""Where the lower frame has a line: zero for those that are not here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two histograms: name of its input, and how it is drawn."""

    name: str
    label: str
    color: str
    histtype: HistType


@dataclass(frozen=True, kw_only=True, slots=True)
class Varied:
    """Two datasets of one histogram that has an axis of variations.

    :ivar reference: category of the reference. :ivar target: category of the target.
    :ivar types: event types of the one dataset of either.
    """

    axis: str
    dataset_axis: str
    reference: str
    target: str
    types: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonPlot:
    """Draws ``reference`` and ``target``, and below what ``how`` makes of them.

    Datasets of a histogram that tells them apart are added up. Bins that are filled as categories are met are brought
    into one order.

    :ivar poisson: whether the reference has Poisson intervals. :ivar flow: what is shown of what lies outside.
    :ivar area: whether both are divided by their sums and the widths of their bins.
    """

    out: str
    style: Style
    how: Comparison
    reference: Side
    target: Side
    label: str | None
    limits: Limits | None
    poisson: bool
    flow: Literal["hint", "show", "none"]
    area: bool
    varied: Varied | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ComparisonPlot:
        """Return the renderer of parameters that the schema has accepted, with the key ``out`` beside them."""
        options = part(params, "comparison")
        return cls(
            out=str(params["out"]),
            style=Style.read(params),
            how=cast("Comparison", options.get("comparison") or "ratio"),
            reference=_side(options, "reference", BLACK, "errorbar"),
            target=_side(options, "target", "red", "step"),
            label=cast("str | None", options.get("comparison_ylabel")),
            limits=limits(options.get("comparison_ylim")),
            poisson=options.get("w2method") == "poisson",
            flow=cast("Literal['hint', 'show', 'none']", options.get("flow") or "hint"),
            area=options.get("normalise") == "area",
            varied=_varied(options),
        )

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the picture; none after a fault."""
        checking = Checking.of(deriving)
        checking.common(self.style, self.out)
        checking.transforms(self.style)
        for side, key in ((self.reference, "reference"), (self.target, "target")):
            checking.color(side.color, "comparison", f"{key}_color")
            checking.text(side.label, "comparison", f"{key}_label")
        checking.text(self.label, "comparison", "comparison_ylabel")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            checking.fault("limits must be lower first", "comparison", "comparison_ylim")
        splits = self._one_input(checking) if self.varied else self._two_inputs(checking)
        if not checking.sound or splits is None:
            return None
        return Picture(
            op="hep.render.comparison",
            renderer=self,
            pages={f"plots/{self.out}": ""},
            splits=splits,
            datasets=deriving.datasets,
        )

    def _two_inputs(self, checking: Checking) -> Mapping[str, Split] | None:
        inputs = checking.deriving.inputs
        found: list[Described] = []
        for side, key in ((self.reference, "reference"), (self.target, "target")):
            if side.name not in inputs:
                message = f"there is no input {side.name!r} to compare"
                hint = f"write from: [{{node: ..., as: {self.reference.name}}}, {{node: ..., as: {self.target.name}}}]"
                checking.fault(message, "comparison", key, hint=hint)
                continue
            described = checking.histogram(inputs[side.name])
            if described is not None:
                found.append(described)
                checking.axes_number(described, 1, "a comparison is of one axis")
        if len(found) < 2 or not checking.sound:
            return None
        self._check_pair(checking, *found)
        return {self.reference.name: found[0].split, self.target.name: found[1].split}

    def _check_pair(self, checking: Checking, reference: Described, target: Described) -> None:
        if reference.axes and target.axes:
            one, other = reference.axes[0], target.axes[0]
            if (one.type, one.edges, one.categories) != (other.type, other.edges, other.categories):
                message = f"{reference.stage!r} and {target.stage!r} have different bins"
                checking.fault(message, hint="only equal bins can be compared")
        if self.how == "efficiency" and (reference.weighted or target.weighted):
            checking.fault("an efficiency is of numbers of events, and this is a sum of weights", "comparison")

    def _one_input(self, checking: Checking) -> Mapping[str, Split] | None:
        varied, drawn = self.varied, checking.one()
        if varied is None or drawn is None:
            return None
        name, described = drawn
        known = described.split.variation
        if known is not None and known[0] != varied.axis:
            checking.fault(f"the axis of variations is {known[0]!r}", "comparison", "variation_axis")
        elif described.axes is not None and known is None:
            checking.fault(f"histogram {described.stage!r} has no variations", "comparison", "variation_axis")
        if described.axes is not None and described.split.dataset_axis != varied.dataset_axis:
            hint = f"its axis of datasets is {described.split.dataset_axis or 'missing: dataset_axis: true'}"
            checking.fault(f"no axis of datasets {varied.dataset_axis!r}", "comparison", "dataset_axis", hint=hint)
        for eventtype, key in zip(varied.types, ("reference", "target"), strict=True):
            of_type = _of_type(checking.deriving.datasets, eventtype)
            if len(of_type) != 1:
                message = f"one dataset must have event type {eventtype!r}, but {', '.join(of_type) or 'none'} have"
                checking.fault(message, "comparison", f"{key}_eventtype")
        if not checking.sound:
            return None
        # which datasets are compared is settled here, so that drawing needs no event types
        return {name: Split(dataset_axis=varied.dataset_axis)}

    def shrunk(self, contents: Mapping[str, Content], page: str) -> float:
        return 1.0

    def draw(self, figure: Figure, contents: Mapping[str, Content], page: str) -> None:
        reference, target, axis = self._pair(contents)
        bins = with_flow(bins_of(axis)) if self.flow == "show" else bins_of(axis)
        curves = [
            curve_of(replace(reference, measured=True), bins, poisson=self.poisson),
            curve_of(target, bins, poisson=False),
        ]
        odd = self._undefined(curves)
        if self.area:
            curves = [_normalised(curve, bins) for curve in curves]
        main, lower = frame.panels(figure, below=True)
        assert lower is not None, "two frames were asked for"
        sides = (self.reference, self.target)
        extent = frame.Extent.of(
            bins, [(curve.values, curve.lower, curve.upper) for curve in curves], self.style.x.limits
        )
        frame.set_x(lower, bins, self.style.x)
        frame.set_y(main, extent, self.style.y, "Fraction / width of bin" if self.area else frame.events(bins))
        artists = [
            marks.drawn(main, f"main.{number}", bins, curve, side.histtype, Ink(color=side.color, label=side.label))
            for number, (curve, side) in enumerate(zip(curves, sides, strict=True))
        ]
        if self.flow == "hint":
            marks.outside(main, curves)
        frame.remarks(main, curves, extent)
        if odd:
            frame.remark(main, f"{odd} {'bin has' if odd == 1 else 'bins have'} more that pass than there are")
        self._draw_below(lower, bins, curves)
        if self.flow == "show" and not bins.names:
            marks.ends(main, lower, bins)
        simulated = reference.simulated and target.simulated
        frame.finish(figure, main, self.style, extent, artists, simulated=simulated)

    def _draw_below(self, axes: Axes, bins: Bins, curves: Sequence[Curve]) -> None:
        compared = ratios.compare(self.how, *curves)
        own = self.style.ratio
        label = own.label or self.label
        if label is None:
            label = _LABELS[self.how].format(reference=self.reference.label, target=self.target.label)
        shown = own.limits or self.limits or _LIMITS[self.how]
        ratios.set_axis(axes, label, shown or _around(compared))
        line = _LINES.get(self.how, 0.0)
        if line is not None:
            axes.axhline(line, color=BLACK, linewidth=0.8, linestyle="--", zorder=1)
        if self.how == "split_ratio":
            ratios.draw_band(axes, bins, curves[1])
        ratios.draw_points(axes, bins, compared, self.reference.color)

    def _pair(self, contents: Mapping[str, Content]) -> tuple[Sample, Sample, Axis]:
        """Return the two samples, in bins of one order, and the axis with these bins."""
        if self.varied is None:
            left, right = (contents[side.name].together() for side in (self.reference, self.target))
        else:
            ((_, content),) = contents.items()
            data, simulated = (
                replace(content, samples=tuple(sample for sample in content.samples if sample.measured is measured))
                for measured in (True, False)
            )
            order = (data, simulated) if self.varied.types[0] == "data" else (simulated, data)
            left, right = (
                one.sliced(self.varied.axis, category).together()
                for one, category in zip(order, (self.varied.reference, self.varied.target), strict=True)
            )
        axis = _shared_axis(left.axes[0], right.axes[0])
        return _moved(left, axis), _moved(right, axis), axis

    def _undefined(self, curves: Sequence[Curve]) -> int:
        """Return in how many bins there is no efficiency."""
        return int(np.sum(curves[0].values > curves[1].values)) if self.how == "efficiency" else 0


def _side(options: Mapping[str, JSON], key: str, color: str, histtype: HistType) -> Side:
    return Side(
        name=str(options.get(key) or key),
        label=str(options.get(f"{key}_label") or options.get(key) or key),
        color=str(options.get(f"{key}_color") or color),
        histtype=cast("HistType", options.get(f"{key}_histtype") or histtype),
    )


def _varied(options: Mapping[str, JSON]) -> Varied | None:
    if options.get("variation_axis") is None:
        return None
    reference = str(options.get("variation_reference") or "nominal")
    return Varied(
        axis=str(options["variation_axis"]),
        dataset_axis=str(options.get("dataset_axis") or "dataset"),
        reference=reference,
        target=str(options.get("variation") or reference),
        types=(str(options.get("reference_eventtype") or "data"), str(options.get("target_eventtype") or "mc")),
    )


def _of_type(datasets: Sequence[DatasetFacts], eventtype: str) -> list[str]:
    return [dataset.name for dataset in datasets if dataset.eventtype == eventtype]


def _shared_axis(one: Axis, other: Axis) -> Axis:
    """Return the axis of two histograms, with the categories of both if these are found as they are filled.

    :raises DataError: if the bins differ.
    """
    if isinstance(one, StrCategoryAxis) and isinstance(other, StrCategoryAxis) and one.growing and other.growing:
        return replace(one, categories=tuple(dict.fromkeys((*one.categories, *other.categories))))
    if isinstance(one, IntCategoryAxis) and isinstance(other, IntCategoryAxis) and one.growing and other.growing:
        return replace(one, categories=tuple(dict.fromkeys((*one.categories, *other.categories))))
    left, right = bins_of(one), bins_of(other)
    if not np.array_equal(left.edges, right.edges) or left.names != right.names or left.order != right.order:
        raise DataError(f"axes {one.name!r} and {other.name!r} have different bins, which can't be compared")
    return one


def _moved(content: Content, axis: Axis) -> Sample:
    """Return the one sample of ``content`` in the bins of ``axis``; an empty one if there is none."""
    empty = np.zeros(axis.size)
    if not content.samples:
        return nothing("", empty)
    (sample,), own = content.samples, content.axes[0]
    if not isinstance(own, (StrCategoryAxis, IntCategoryAxis)) or not own.growing or own == axis:
        return sample
    assert isinstance(axis, (StrCategoryAxis, IntCategoryAxis)), "both are of one kind"
    places = [axis.categories.index(category) for category in own.categories]
    return replace(
        sample, values=_placed(sample.values, places, axis), variances=_placed(sample.variances, places, axis)
    )


def _placed(array: Doubles, places: Sequence[int], axis: Axis) -> Doubles:
    moved = np.zeros(axis.size)
    moved[list(places)] = array
    return moved


def _normalised(curve: Curve, bins: Bins) -> Curve:
    """Return a curve of area one; one whose sum is not above zero stays."""
    total = float(curve.values.sum())
    if total <= 0:
        return curve
    scale = 1 / (total * np.diff(bins.edges))
    return replace(
        curve,
        values=curve.values * scale,
        variances=curve.variances * scale**2,
        lower=curve.lower * scale,
        upper=curve.upper * scale,
    )


def _around(compared: ratios.Compared) -> Limits:
    """Return limits that hold all points with their uncertainties, and zero in the middle."""
    reach = np.maximum(np.abs(compared.values - compared.lower), np.abs(compared.values + compared.upper))
    most = float(reach.max(initial=0.0))
    return (-1.2 * most, 1.2 * most) if most > 0 else (-1.0, 1.0)
