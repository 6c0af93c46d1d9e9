"""One-dimensional histograms: stacks, steps and points in a frame."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Protocol

from fasthep_archive.report import frames, svg, tex
from fasthep_archive.report.frames import Axis, Entry, Frame, Scale, amount
from fasthep_archive.report.markup import NOTHING, Markup, element, joined, number

_WIDTH, _HEIGHT = 560.0, 262.0
_DASHES = ("", "7 3", "2 2", "9 3 2 3", "5 2 1 2 1 2", "12 4")
"""Of lines, so that they differ in black and white too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What one dataset has in the bins of one axis; everything finite.

    :ivar below: what lies below the first bin; above: beyond the last one, NaN and unknown categories included.
    """

    name: str
    values: tuple[float, ...]
    variances: tuple[float, ...]
    below: float = 0.0
    above: float = 0.0
    measured: bool = False
    """Whether it is drawn as points: data, not simulation."""

    @property
    def total(self) -> float:
        """Sum of everything, in and outside of the bins."""
        return math.fsum((*self.values, self.below, self.above))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bins:
    """The bins of an axis: edges (n + 1 for n bins), and names where they are categories."""

    label: str
    edges: tuple[float, ...]
    names: tuple[str, ...] = ()

    @property
    def widths(self) -> tuple[float, ...]:
        """Width of each bin."""
        return tuple(right - left for left, right in pairwise(self.edges))

    @property
    def equal(self) -> bool:
        """Whether the bins are equally wide, but for rounding."""
        return max(self.widths) - min(self.widths) <= 1e-9 * (self.edges[-1] - self.edges[0])

    @property
    def per(self) -> str:
        """What the heights count, for the y axis: ``Entries / 2 GeV``, or a density where the bins differ in width."""
        if self.names:
            return "Entries"
        unit = re.search(r"\[([^\]$]+)\]\s*$", self.label)
        width = f"{self.widths[0]:.4g}" if self.equal else ""
        return " ".join(filter(None, ("Entries /", width, unit[1].strip() if unit else "" if width else "unit")))


class Layer(Protocol):
    """Something that is drawn into a frame."""

    def extremes(self) -> Iterator[float]:
        """Yield heights that the frame must hold."""

    def entries(self) -> Iterator[Entry]:
        """Yield what the legend says."""

    def drawn(self, bins: Bins, frame: Frame) -> Markup:
        """Return the drawing."""


def picture(bins: Bins, series: Sequence[Series], *, stacked: bool, remarks: Sequence[str] = ()) -> Markup:
    """Return the plot of ``series``: what is measured as points, the rest stacked, or as lines over each other.

    Bins of different widths show densities (what is in a bin divided by its width), as areas must be comparable.

    :param remarks: sentences to put below, before those on what lies outside.
    """
    simulated = [one for one in series if not one.measured]
    colours = svg.colours([one.name for one in simulated], ())
    heights = [_density(one, bins) for one in simulated]
    layers: list[Layer] = [Points(_density(one, bins), one.total) for one in series if one.measured]
    if stacked and simulated:
        layers.insert(0, Stack(heights, [one.total for one in simulated], colours))
    else:
        dashes = dict(zip(colours, _DASHES * len(colours), strict=False))
        layers[:0] = [
            Line(height, one.total, colours[one.name], dashes[one.name], filled=len(simulated) == 1)
            for height, one in zip(heights, simulated, strict=True)
        ]
    return _framed(bins, layers, [*remarks, *_outside(bins, series)])


class Stack:
    """Areas on top of each other, the smallest at the bottom where its shape is seen best; a band for the errors."""

    def __init__(self, series: Sequence[Series], totals: Sequence[float], colours: Mapping[str, str]):
        order = sorted(zip(series, totals, strict=True), key=lambda pair: math.fsum(pair[0].values))
        self._series = [one for one, _ in order]
        self._totals = [total for _, total in order]
        self._colours = colours
        sums = zip(*(one.values for one in self._series), strict=True)
        self._tops = [list(accumulate(column)) for column in sums]
        spread = zip(*(one.variances for one in self._series), strict=True)
        self._errors = [math.sqrt(max(0.0, math.fsum(column))) for column in spread]

    def extremes(self) -> Iterator[float]:
        for tops, error in zip(self._tops, self._errors, strict=True):
            yield from (min(0.0, *tops), max(tops), tops[-1] + error)

    def entries(self) -> Iterator[Entry]:
        for one, total in zip(reversed(self._series), reversed(self._totals), strict=True):
            yield Entry(label=f"{one.name} ({amount(total)})", swatch="area", colour=self._colours[one.name])
        if any(self._errors):
            yield Entry(label="stat. error", swatch="band")

    def drawn(self, bins: Bins, frame: Frame) -> Markup:
        areas = []
        for level in reversed(range(len(self._series))):
            outline = _steps(bins, [column[level] for column in self._tops], frame)
            closed = f"{outline}V{number(frame.y(0.0))}H{number(frame.x.start)}z"
            areas.append(element("path", d=closed, fill=self._colours[self._series[level].name]))
            areas.append(element("path", d=outline, class_="fa-edge", stroke_width="0.8"))
        tops = [column[-1] for column in self._tops]
        upper = [top + error for top, error in zip(tops, self._errors, strict=True)]
        lower = [top - error for top, error in zip(tops, self._errors, strict=True)]
        back = _steps(_mirrored(bins), lower[::-1], frame).replace("M", "L", 1)
        return joined(*areas, element("path", d=f"{_steps(bins, upper, frame)}{back}z", class_="fa-band"))


class Line:
    """A line of steps with an error bar in each bin."""

    def __init__(self, series: Series, total: float, colour: str, dash: str, *, filled: bool):
        self._series, self._total, self._colour, self._dash = series, total, colour, dash
        self._opacity = "0.18" if filled else "0"

    def extremes(self) -> Iterator[float]:
        yield from _ends(self._series)

    def entries(self) -> Iterator[Entry]:
        label = f"{self._series.name} ({amount(self._total)})"
        yield Entry(label=label, swatch="line", colour=self._colour, dash=self._dash)

    def drawn(self, bins: Bins, frame: Frame) -> Markup:
        outline = f"M{number(frame.x.start)} {number(frame.y(0.0))}L{_steps(bins, self._series.values, frame)[1:]}"
        outline += f"V{number(frame.y(0.0))}"
        area = {"fill": self._colour, "fill_opacity": self._opacity}
        line = element(
            "path", d=outline, stroke=self._colour, stroke_width=1.8, stroke_dasharray=self._dash or None, **area
        )
        bars, _ = _bars(bins, self._series, frame)
        return joined(line, element("path", d=bars, fill="none", stroke=self._colour) if bars else NOTHING)


class Points:
    """A dot with an error bar in each bin that is not empty."""

    def __init__(self, series: Series, total: float):
        self._series, self._total = series, total

    def extremes(self) -> Iterator[float]:
        yield from _ends(self._series)

    def entries(self) -> Iterator[Entry]:
        yield Entry(label=f"{self._series.name} ({amount(self._total)})", swatch="point")

    def drawn(self, bins: Bins, frame: Frame) -> Markup:
        bars, middles = _bars(bins, self._series, frame)
        return frames.dots(bars, middles) if bars else NOTHING


def _framed(bins: Bins, layers: Sequence[Layer], remarks: Sequence[str]) -> Markup:
    """Return the whole picture: legend on top, frame with the layers, remarks below."""
    extremes = [height for layer in layers for height in layer.extremes()]
    low, high = min(0.0, *extremes, 0.0), max(0.0, *extremes, 0.0)
    low, high = low * 1.1, high + 0.08 * (high - low) if high > low else 1.0
    x_axis = Axis(label=bins.label, low=bins.edges[0], high=bins.edges[-1], names=bins.names)
    y_axis = Axis(label=bins.per, low=low, high=high)
    left = frames.room(y_axis) + 18
    width = _WIDTH - left - 14
    # what is measured comes first: points, which are drawn last
    first = sorted(layers, key=lambda layer: not isinstance(layer, Points))
    key, top = frames.legend([entry for layer in first for entry in layer.entries()], left, 6, width)
    top += 18
    frame = Frame(
        x=Scale(low=x_axis.low, high=x_axis.high, start=left, end=left + width),
        y=Scale(low=low, high=high, start=top + _HEIGHT, end=top),
        x_axis=x_axis,
        y_axis=y_axis,
    )
    bottom = top + _HEIGHT + frames.below(x_axis, width)
    text, height = frames.notes(remarks, left, bottom, width)
    drawing = [layer.drawn(bins, frame) for layer in layers]
    roles = ("ink", "dim", "frame", "edge", "band", "dot")
    label = f"Histogram of {tex.plain(bins.label)}"
    return svg.document(_WIDTH, bottom + height + 8, label, key, *drawing, frame.drawn(), text, roles=roles)


def _density(series: Series, bins: Bins) -> Series:
    """Return heights to draw: the contents, divided by the bins' widths where these differ."""
    if bins.equal:
        return series
    values = tuple(value / width for value, width in zip(series.values, bins.widths, strict=True))
    variances = tuple(value / width**2 for value, width in zip(series.variances, bins.widths, strict=True))
    return replace(series, values=values, variances=variances)


def _mirrored(bins: Bins) -> Bins:
    """Return the bins from right to left."""
    return replace(bins, edges=bins.edges[::-1])


def _steps(bins: Bins, heights: Sequence[float], frame: Frame) -> str:
    """Return a path along the tops of the bins."""
    path = [f"M{number(frame.x(bins.edges[0]))} {number(frame.y(heights[0]))}"]
    last = number(frame.y(heights[0]))
    for (_, right), height in zip(pairwise(bins.edges), heights, strict=True):
        y = number(frame.y(height))
        path.append(f"{'' if y == last else f'V{y}'}H{number(frame.x(right))}")
        last = y
    return "".join(path)


def _bars(bins: Bins, series: Series, frame: Frame) -> tuple[str, str]:
    """Return paths of error bars and of their middles, for each bin that has anything."""
    bars, middles = [], []
    for (left, right), value, variance in zip(pairwise(bins.edges), series.values, series.variances, strict=True):
        if value or variance:
            x, error = number(frame.x((left + right) / 2)), math.sqrt(max(0.0, variance))
            bars.append(f"M{x} {number(frame.y(value - error))}V{number(frame.y(value + error))}")
            middles.append(f"M{x} {number(frame.y(value))}h0")
    return "".join(bars), "".join(middles)


def _ends(series: Series) -> Iterator[float]:
    for value, variance in zip(series.values, series.variances, strict=True):
        error = math.sqrt(max(0.0, variance))
        yield from (value - error if value < 0 else value, value + error)


def _outside(bins: Bins, series: Sequence[Series]) -> Iterator[str]:
    """Yield what lies below and above the bins, if anything does."""
    low, high = (f"{edge:.6g}" for edge in (bins.edges[0], bins.edges[-1]))
    where = {"below": f"below {low}: ", "above": "other categories: " if bins.names else f"{high} and above: "}
    for side, begins in where.items():
        parts = [f"{one.name} {amount(getattr(one, side))}" for one in series if getattr(one, side)]
        if parts:
            yield begins + ", ".join(parts)
