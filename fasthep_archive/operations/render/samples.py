"""What pictures are made of: a histogram, taken apart into its datasets, transformed and projected.

Arrays keep their flow bins until they are drawn, so that sums over an axis hold everything that was filled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fasthep_archive.data.products import (
    Axis,
    BooleanAxis,
    Histogram,
    IntCategoryAxis,
    RegularAxis,
    StrCategoryAxis,
    VariableAxis,
)
from fasthep_archive.operations.protocol import DatasetFacts
from fasthep_archive.operations.render import intervals
from fasthep_archive.operations.render.intervals import Doubles
from fasthep_archive.operations.render.style import Group, Style, Transform

TOGETHER = ""
"""Name of the one sample of a histogram that does not tell its datasets apart."""
OTHERS = "others"
"""Name of the sample of all datasets that an axis with fixed datasets does not list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How a histogram tells its datasets apart, and which of its variations is drawn.

    :ivar dataset_axis: name of the axis of datasets. :ivar variation: name of an axis and the category that is taken.
    :ivar sample: of a profile, the formula of what it has the means of.
    """

    dataset_axis: str | None
    variation: tuple[str, str] | None = None
    sample: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """What one dataset or group has in a histogram's bins, flow bins included.

    :ivar counted: whether ``values`` are numbers of events. :ivar measured: whether it is data.
    :ivar simulated: whether it is known to hold no data.
    """

    name: str
    values: Doubles
    variances: Doubles
    counted: bool
    measured: bool
    simulated: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Content:
    """A histogram's axes, without that of the datasets, and its samples in the order of that axis."""

    axes: tuple[Axis, ...]
    samples: tuple[Sample, ...]
    mean_of: str | None = None
    """Of a profile, what values are the means of; its variances are those of means, and both are 0 in empty bins."""

    @property
    def simulated(self) -> bool:
        """Return whether there are no data in it."""
        return all(sample.simulated for sample in self.samples)

    def sample(self, name: str) -> Sample | None:
        """Return a sample, or none if the histogram has none of that name."""
        return next((sample for sample in self.samples if sample.name == name), None)

    def transformed(self, transforms: Iterable[Transform], groups: Mapping[str, str]) -> Content:
        """Return what ``transforms`` make of it; ``groups`` are those of the document, by dataset."""
        content = self
        for transform in transforms:
            if isinstance(transform, Group):
                content = replace(content, samples=_grouped(content.samples, members_to_group(transform, groups)))
            else:
                factors = {
                    sample.name: transform.factors.get(
                        groups.get(sample.name, sample.name) if transform.by_group else sample.name, 1.0
                    )
                    for sample in content.samples
                }
                samples = tuple(_scaled(sample, factors[sample.name]) for sample in content.samples)
                content = replace(content, samples=samples)
        return content

    def sliced(self, name: str, category: str) -> Content:
        """Return what one category of the axis ``name`` has; nothing if the axis has no such category."""
        at = next(number for number, axis in enumerate(self.axes) if axis.name == name)
        samples = (
            replace(
                sample,
                values=_category(sample.values, self.axes[at], at, category),
                variances=_category(sample.variances, self.axes[at], at, category),
            )
            for sample in self.samples
        )
        return replace(self, axes=(*self.axes[:at], *self.axes[at + 1 :]), samples=tuple(samples))

    def together(self) -> Content:
        """Return the sum over the datasets, as one sample."""
        return replace(self, samples=_grouped(self.samples, {sample.name: TOGETHER for sample in self.samples}))

    def projected(self, names: Sequence[str]) -> Content:
        """Return the sum over all axes but those called ``names``, flow bins included, which then have that order."""
        order = [next(at for at, axis in enumerate(self.axes) if axis.name == name) for name in names]
        others = tuple(at for at in range(len(self.axes)) if at not in order)
        rank = [sorted(order).index(at) for at in order]
        samples = (
            replace(
                sample,
                values=sample.values.sum(axis=others).transpose(rank),
                variances=sample.variances.sum(axis=others).transpose(rank),
            )
            for sample in self.samples
        )
        return Content(axes=tuple(self.axes[at] for at in order), samples=tuple(samples))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bins:
    """The bins of an axis as they are drawn.

    :ivar edges: n + 1, finite and ascending. :ivar names: of categories; none for numbers.
    :ivar below: how many flow bins come first in arrays. :ivar above: how many come last.
    :ivar order: positions in arrays, without flow bins, of the bins from left to right.
    """

    label: str
    edges: Doubles
    names: tuple[str, ...]
    below: int
    above: int
    order: tuple[int, ...]

    @property
    def middles(self) -> Doubles:
        """Return the middle of each bin."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def width(self) -> float | None:
        """Return the width of the bins, or none if they are not equally wide, but for rounding."""
        widths = np.diff(self.edges)
        alike = widths.max() - widths.min() <= 1e-9 * (self.edges[-1] - self.edges[0])
        return float(widths[0]) if alike else None

    def inside(self, array: Doubles, at: int = 0) -> Doubles:
        """Return ``array`` with its dimension ``at`` as it is drawn; one empty bin for an axis without any."""
        if self.order:
            return np.take(array, [self.below + position for position in self.order], axis=at)
        return np.zeros([1 if dimension == at else size for dimension, size in enumerate(array.shape)])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """What a sample has in the bins of one axis; everything finite.

    :ivar lower: how far the uncertainty reaches below ``values``; upper: above.
    :ivar under: whether there is anything below the axis; over: beyond it.
    :ivar broken: bins whose content is not finite, and which are empty here.
    """

    name: str
    measured: bool
    values: Doubles
    variances: Doubles
    lower: Doubles
    upper: Doubles
    under: bool = False
    over: bool = False
    broken: int = 0


def content_of(histogram: Histogram, split: Split, facts: Sequence[DatasetFacts], style: Style) -> Content:
    """Return the histogram taken apart. ``facts`` and ``style`` say which datasets are data."""
    values = histogram.values.astype(np.float64)
    variances = values if histogram.variances is None else histogram.variances
    if histogram.samples:
        variances = _of_means(histogram)
    counted = histogram.variances is None
    types = {fact.name: fact.eventtype for fact in facts}
    names = [axis.name for axis in histogram.axes]
    if split.dataset_axis in names:
        at = names.index(split.dataset_axis)
        axes = (*histogram.axes[:at], *histogram.axes[at + 1 :])
        samples = [
            _sample(
                name,
                np.take(values, number, axis=at),
                np.take(variances, number, axis=at),
                counted=counted,
                types={style.of(name).kind or types.get(name, "")},
            )
            for number, name in enumerate(_datasets(histogram.axes[at]))
        ]
        # of datasets that the axis does not list nothing is said where there is nothing
        samples = [sample for sample in samples if sample.name != OTHERS or sample.values.any()]
    else:
        axes = histogram.axes
        samples = [_sample(TOGETHER, values, variances, counted=counted, types=set(types.values()))]
    if histogram.samples:  # a mean is no number of events, whatever its value
        samples = [replace(sample, counted=False) for sample in samples]
    content = Content(axes=axes, samples=tuple(samples), mean_of=split.sample if histogram.samples else None)
    varied = split.variation
    return content.sliced(*varied) if varied and varied[0] in names else content


def _of_means(histogram: Histogram) -> Doubles:
    """Return the variances of means: those of samples by the effective number of these; 0.0 in empty bins."""
    assert histogram.variances is not None, "samples have variances"
    if histogram.counts is not None:
        return histogram.variances / np.maximum(histogram.counts, 1)
    assert histogram.sumw is not None, "weighted samples have sums of weights"
    assert histogram.sumw2 is not None, "and of squared weights"
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = histogram.variances * histogram.sumw2 / histogram.sumw**2
    return np.where(histogram.sumw2 == 0.0, 0.0, found)


def nothing(name: str, empty: Doubles) -> Sample:
    """Return a sample without entries."""
    return Sample(name=name, values=empty, variances=empty, counted=True, measured=False, simulated=True)


def members_to_group(group: Group, groups: Mapping[str, str]) -> Mapping[str, str]:
    """Return the group of each dataset that has one; ``groups`` are those of the document."""
    if group.members is None:
        return groups
    return {member: name for name, members in group.members.items() for member in members}


def with_flow(bins: Bins) -> Bins:
    """Return the bins with those outside of the axis, drawn a twentieth of the axis wide."""
    order = (*range(-bins.below, 0), *bins.order, *(len(bins.order) + number for number in range(bins.above)))
    if bins.names:
        edges = np.append(bins.edges, [bins.edges[-1] + 1] * bins.above)
        return replace(bins, edges=edges, names=(*bins.names, *["others"] * bins.above), order=order)
    step = 0.05 * (bins.edges[-1] - bins.edges[0])
    edges = np.array([bins.edges[0] - step, *bins.edges, bins.edges[-1] + step])
    return replace(bins, edges=edges, order=order)


def bins_of(axis: Axis) -> Bins:
    """Return the bins of ``axis``; those that reach to infinity are as wide as the one beside them.

    Whole numbers are in ascending order, also where the axis has them in the order in which they were met.
    """
    label = axis.label or axis.name
    if isinstance(axis, (RegularAxis, VariableAxis)):
        order = tuple(range(len(axis.edges) - 1))
        return Bins(label=label, edges=_finite(axis.edges), names=(), below=1, above=1, order=order)
    categories: Sequence[int | str] = ("false", "true") if isinstance(axis, BooleanAxis) else axis.categories
    order = tuple(range(len(categories)))
    if isinstance(axis, IntCategoryAxis):
        order = tuple(sorted(order, key=lambda at: axis.categories[at]))
    names = tuple(str(categories[at]) for at in order) or ("",)
    above = 0 if isinstance(axis, BooleanAxis) or axis.growing else 1
    edges = np.arange(len(names) + 1, dtype=np.float64) - 0.5
    return Bins(label=label, edges=edges, names=names, below=0, above=above, order=order)


def curve_of(sample: Sample, bins: Bins, *, poisson: bool | None = None) -> Curve:
    """Return a sample of one axis as a curve.

    :param poisson: whether its uncertainties are Poisson intervals; none: for data that were counted.
    """
    sound = np.isfinite(sample.values) & np.isfinite(sample.variances)
    values, variances = np.where(sound, sample.values, 0.0), np.where(sound, sample.variances, 0.0)
    inner, inner_variances = bins.inside(values), bins.inside(variances)
    counts = sample.counted and sample.measured if poisson is None else poisson
    lower, upper = (
        intervals.poisson(inner, inner_variances)
        if counts
        else (intervals.roots(inner_variances), intervals.roots(inner_variances))
    )
    hidden = len(bins.order) < len(sample.values)
    return Curve(
        name=sample.name,
        measured=sample.measured,
        values=inner,
        variances=inner_variances,
        lower=lower,
        upper=upper,
        under=hidden and bool(np.any(sample.values[: bins.below] != 0)),
        over=hidden and bool(np.any(sample.values[len(sample.values) - bins.above :] != 0)),
        broken=int(np.sum(~sound)),
    )


def summed(name: str, curves: Sequence[Curve]) -> Curve:
    """Return the sum of curves, each bin rounded once, with the root of the sum of variances."""
    values, variances = (
        np.array([math.fsum(column) for column in zip(*arrays, strict=True)])
        for arrays in ([curve.values for curve in curves], [curve.variances for curve in curves])
    )
    error = intervals.roots(variances)
    return Curve(name=name, measured=False, values=values, variances=variances, lower=error, upper=error)


def _datasets(axis: Axis) -> tuple[str, ...]:
    """Return the names of an axis of datasets, with one for all that it does not list."""
    assert isinstance(axis, StrCategoryAxis), "the axis of datasets has texts"
    return axis.categories if axis.growing else (*axis.categories, OTHERS)


def _sample(name: str, values: Doubles, variances: Doubles, *, counted: bool, types: set[str]) -> Sample:
    """Return a sample of datasets that have, or may have, the event types ``types``."""
    # sums of weights that are all one are counts too: data in a histogram whose simulation is weighted
    unweighted = counted or bool(np.array_equal(values, variances) and np.all(values == np.floor(values)))
    return Sample(
        name=name,
        values=values,
        variances=variances,
        counted=unweighted,
        measured=types == {"data"},
        simulated="data" not in types,
    )


def _category(array: Doubles, axis: Axis, at: int, category: str) -> Doubles:
    """Return the slice of ``array`` for a category; zeros if the axis has none of that name."""
    names = axis.categories if isinstance(axis, StrCategoryAxis) else ()
    if category in names:
        found: Doubles = np.take(array, names.index(category), axis=at)
        return found
    return np.zeros([size for dimension, size in enumerate(array.shape) if dimension != at])


def _grouped(samples: Sequence[Sample], group_of: Mapping[str, str]) -> tuple[Sample, ...]:
    """Return the sums of samples of one group, in the order in which groups appear; others stay."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(group_of.get(sample.name, sample.name), []).append(sample)
    return tuple(
        Sample(
            name=name,
            values=np.sum([sample.values for sample in members], axis=0),
            variances=np.sum([sample.variances for sample in members], axis=0),
            counted=all(sample.counted for sample in members),
            measured=all(sample.measured for sample in members),
            simulated=all(sample.simulated for sample in members),
        )
        for name, members in groups.items()
    )


def _scaled(sample: Sample, factor: float) -> Sample:
    if factor == 1.0:
        return sample
    return replace(sample, values=factor * sample.values, variances=factor**2 * sample.variances, counted=False)


def _finite(edges: Doubles) -> Doubles:
    """Return ``edges`` with an infinite first or last one moved to where its bin is as wide as the next."""
    finite = [edge for edge in edges.tolist() if math.isfinite(edge)]
    if not finite or len(finite) == len(edges):
        return edges if finite else np.arange(len(edges), dtype=np.float64)
    widths = [right - left for left, right in pairwise(finite)] or [1.0]
    before = [finite[0] - widths[0]] if edges[0] == -math.inf else []
    after = [finite[-1] + widths[-1]] if edges[-1] == math.inf else []
    return np.array([*before, *finite, *after], np.float64)
