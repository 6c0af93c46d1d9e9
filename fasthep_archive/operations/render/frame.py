"""Frames of pictures: one above the other, their axes, the legend, and the name of the experiment.

Nothing covers anything: the scale of an axis that the document does not fix goes on until the legend is above what is
drawn, a legend has as many columns as fit, and large numbers are written out instead of being divided by a factor that
stands where the experiment does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.operations.render.intervals import Doubles
from fasthep_archive.operations.render.marks import Mark
from fasthep_archive.operations.render.samples import Bins, Curve
from fasthep_archive.operations.render.style import AxisStyle, Legend, Limits, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend as Box

Reach: TypeAlias = tuple[Doubles, Doubles, Doubles]
"""Heights in bins, and how far what is drawn reaches below and above them."""

_DECADES = 8
"""Most powers of ten that an axis shows when the document says nothing else."""
_WIDEST_NAMES, _MOST_SLANTED = 45, 12
"""Letters that fit beside each other below a frame, and names that fit when they are slanted."""
_CORNERS = ("upper right", "upper left")
_LABELS: dict[str, dict[str, Any]] = {
    "ATLAS": {"fontstyle": ("italic", "normal", "normal", "normal")},
    "LHCb": {"fontstyle": ("normal",) * 4, "fontweight": ("normal",) * 4},
}
"""How experiments write their names, where that is not bold with what follows in italics."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Extent:
    """What is drawn in a frame: for each bin its lowest and highest point, and what is greater than zero.

    :ivar positive: heights greater than zero that a logarithmic axis should show.
    :ivar afloat: whether the axis begins where the drawing does, not at zero.
    """

    bins: Bins
    low: Doubles
    high: Doubles
    positive: Doubles
    afloat: bool = False

    @classmethod
    def of_points(cls, bins: Bins, reaches: Sequence[Reach], limits: Limits | None = None) -> Extent:
        """Return the extent of points with errors: where there is no point, there is nothing."""
        seen = _seen(bins, limits)
        there = [seen & ((value != 0) | (lower != 0) | (upper != 0)) for value, lower, upper in reaches]
        points = [(value - lower, value + upper) for value, lower, upper in reaches]
        drawn = [(low[at], high[at]) for (low, high), at in zip(points, there, strict=True)]
        least = min((float(low.min()) for low, _ in drawn if len(low)), default=0.0)
        lows = [np.where(at, low, np.inf) for (low, _), at in zip(points, there, strict=True)]
        highs = [np.where(at, high, least) for (_, high), at in zip(points, there, strict=True)]
        low = np.min(lows, axis=0, initial=np.inf)
        return cls(
            bins=bins,
            low=np.where(np.isfinite(low), low, least) + np.zeros(len(seen)),
            high=np.max(highs, axis=0, initial=least) + np.zeros(len(seen)),
            positive=np.concatenate([np.zeros(0), *(value[value > 0] for low, _ in drawn for value in [low])]),
            afloat=True,
        )

    @classmethod
    def of(cls, bins: Bins, reaches: Sequence[Reach], limits: Limits | None = None) -> Extent:
        """Return the extent of what is drawn in the bins that ``limits`` of the x axis leave."""
        zero = np.zeros(len(bins.edges) - 1)
        seen = _seen(bins, limits)
        values = [value[seen] for value, _, _ in reaches] or [zero]
        return cls(
            bins=bins,
            low=np.min([zero, *(seen * (value - lower * (value < 0)) for value, lower, _ in reaches)], axis=0),
            high=np.max([zero, *(seen * (value + upper) for value, _, upper in reaches)], axis=0),
            positive=np.concatenate([value[value > 0] for value in values]),
        )


def _seen(bins: Bins, limits: Limits | None) -> NDArray[np.bool_]:
    """Return which bins ``limits`` of the x axis leave."""
    if limits is None or bins.names:
        return np.ones(len(bins.edges) - 1, np.bool_)
    return np.asarray((bins.edges[1:] > limits[0]) & (bins.edges[:-1] < limits[1]))


def panels(figure: Figure, *, below: bool) -> tuple[Axes, Axes | None]:
    """Return the frame of a picture, and a lower one beneath it that has the same x axis, if asked for."""
    if not below:
        return figure.add_subplot(), None
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine), "a new sheet arranges itself"
    engine.set(hspace=0.0, h_pad=0.03)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.tick_params(labelbottom=False)
    return upper, lower


def set_x(axes: Axes, bins: Bins, style: AxisStyle) -> None:
    """Set the scale, limits, ticks and label of the x axis: of the lowest frame, if there are two."""
    axes.set_xlabel(style.label or bins.label)
    if bins.names:
        axes.set_xlim(bins.edges[0], bins.edges[-1])
        _name_ticks(axes.xaxis, bins.names)
        return
    low, high = _ends(bins, style)
    if style.log and high > 0:
        axes.set_xscale("log")
    axes.set_xlim(low, high)
    write_out(axes.xaxis, max(abs(low), abs(high)), log=style.log)


def set_y(axes: Axes, extent: Extent, style: AxisStyle, label: str) -> None:
    """Set the scale, limits and label of the y axis; with nothing to show on a logarithmic one, it is empty."""
    axes.set_ylabel(style.label or label)
    if style.log:
        axes.set_yscale("log")
    low, high = fitted(style, extent)
    axes.set_ylim(low, high)
    if low < 0 < high:
        axes.axhline(0.0, color="black", linewidth=0.8, zorder=0.5, gid="main.zero")
    write_out(axes.yaxis, max(abs(low), abs(high)), log=style.log)


def set_upward(axes: Axes, bins: Bins, style: AxisStyle) -> None:
    """Set the scale, limits and ticks of a y axis that is an axis of the histogram."""
    if bins.names:
        axes.set_ylim(bins.edges[0], bins.edges[-1])
        _name_ticks(axes.yaxis, bins.names)
        return
    low, high = _ends(bins, style)
    if style.log and high > 0:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    write_out(axes.yaxis, max(abs(low), abs(high)), log=style.log)


def above(style: Style, *, single: bool) -> dict[str, Any]:
    """Return how a title stands above a frame that has the experiment's name above it too."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    size = FontProperties(size=rcParams["axes.labelsize"]).get_size_in_points()
    return {"pad": 1.6 * size, "y": 1.0} if single and style.experiment else {"pad": 0.3 * size, "y": 1.0}


def name_figure(figure: Figure, style: Style, *, simulated: bool) -> None:
    """Write the experiment, what it says beside its name, and the luminosity above a figure of several frames."""
    if not style.experiment:
        return
    words = [style.experiment, _beside(style, simulated=simulated), "  ", _luminosity(style)]
    figure.suptitle(" ".join(filter(None, words)), x=0.02, ha="left", fontsize="large")


def fitted(style: AxisStyle, extent: Extent) -> Limits:
    """Return limits of a y axis: those of the document, or what holds ``extent``."""
    if style.limits is not None and (style.limits[0] > 0 or not style.log):
        return style.limits
    low, high = float(extent.low.min()), float(extent.high.max())
    if not style.log and extent.afloat and (low or high):
        margin = 0.1 * (high - low) or 0.1 * abs(high)
        return low - margin, high + margin
    if not style.log:
        return (1.1 * low, high + 0.1 * (high - low)) if high > low else (0.0, 1.0)
    top = style.limits[1] if style.limits is not None else high
    if not len(extent.positive) or top <= 0:
        return 0.1, 10.0
    least = max(0.5 * float(extent.positive.min()), top * 10.0**-_DECADES, 1e-300)
    return min(least, top / 10), top if style.limits is not None else 2 * top


def events(bins: Bins) -> str:
    """Return what heights count, for the y axis: events in bins of which width, where the axis has a unit."""
    if bins.names:
        return "Events"
    if bins.width is None:
        return "Events / bin"
    begin, end = bins.label.rfind("["), bins.label.rfind("]")
    unit = bins.label[begin + 1 : end].strip() if 0 <= begin < end else ""
    width = f"{bins.width:.4g} ".removeprefix("1 ") if round(bins.width, 9) == 1 else f"{bins.width:.4g} "
    return f"Events / {width}{unit}" if unit else "Events"


def finish(
    figure: Figure,
    axes: Axes,
    style: Style,
    extent: Extent,
    artists: Sequence[Mark],
    *,
    simulated: bool,
    most: int = 5,
    widest: int = 4,
) -> None:
    """Draw legend and experiment, and arrange everything.

    :param artists: entries of the legend. :param simulated: whether there are no data in the picture.
    :param most: entries that a legend has in one column when the document does not say how many it has.
    :param widest: columns that it then has at most.
    """
    figure.align_ylabels()
    reserve(figure, axes, style, simulated=simulated)
    if artists:
        free = style.y.limits is None
        place = style.legend.place
        candidates = _CORNERS if place == "best" and free else (place,)
        needed = []
        for corner in candidates:
            box = _legend(axes, style.legend, artists, corner, most, widest)
            needed.append(_needed(axes, box, extent) if free else axes.get_ylim()[1])
        best = needed.index(min(needed))
        axes.set_ylim(top=needed[best])
        if len(candidates) > 1:
            _legend(axes, style.legend, artists, candidates[best], most, widest)
    freeze(figure, axes, style, simulated=simulated)


def reserve(figure: Figure, axes: Axes, style: Style, *, simulated: bool) -> None:
    """Arrange the frames, with room for the experiment's name above ``axes``."""
    texts = _experiment(axes, style, simulated=simulated)
    _arrange(figure)
    for text in texts:
        text.remove()


def freeze(figure: Figure, axes: Axes, style: Style, *, simulated: bool) -> None:
    """Arrange the frames for the last time, and write the experiment's name above ``axes``."""
    texts = _experiment(axes, style, simulated=simulated)
    _arrange(figure)
    figure.set_layout_engine("none")
    for text in texts:
        text.remove()
    for one in figure.axes:
        _shorten(one)
    size = 1.0
    while _too_wide(axes, texts := _experiment(axes, style, simulated=simulated, size=size)) and size > 0.4:
        for text in texts:
            text.remove()
        size *= 0.9


def _arrange(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    assert engine is not None, "a figure is not arranged after it is frozen"
    engine.execute(figure)


def remarks(axes: Axes, curves: Sequence[Curve], extent: Extent) -> None:
    """Say in a frame why there is nothing to see, or not everything."""
    broken = sum(curve.broken for curve in curves)
    if broken:
        remark(axes, f"{broken} {'sum is' if broken == 1 else 'sums are'} not finite, and not drawn")
    elif not extent.low.any() and not extent.high.any():
        remark(axes, "no entries")
    elif axes.get_yscale() == "log" and not len(extent.positive):
        remark(axes, "nothing above zero")


def remark(axes: Axes, text: str) -> None:
    """Write a sentence into the middle of a frame."""
    axes.text(
        0.5, 0.45, text, transform=axes.transAxes, ha="center", va="center", fontsize="small", color="dimgray",
        gid="remark", zorder=30,
    )  # fmt: skip


def _ends(bins: Bins, style: AxisStyle) -> Limits:
    """Return the limits of an axis of the histogram; a logarithmic one begins at the first edge above zero."""
    low, high = style.limits or (float(bins.edges[0]), float(bins.edges[-1]))
    if style.log and low <= 0 < high:
        positive = bins.edges[bins.edges > 0]
        low = float(positive[0]) if len(positive) and positive[0] < high else high / 10
    return low, high


def _legend(axes: Axes, legend: Legend, artists: Sequence[Mark], place: str, most: int, widest: int) -> Box:
    """Draw a legend of as many columns as are asked for and fit, in smaller letters if one column does not."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    own, labels = (
        FontProperties(size=rcParams[key]).get_size_in_points() for key in ("legend.fontsize", "axes.labelsize")
    )
    size = legend.size or max(own, 0.7 * labels)
    wanted = legend.columns or (1 if len(artists) <= most else min(widest, math.ceil(len(artists) / 2)))
    columns = min(wanted, len(artists))
    while True:
        box: Box = axes.legend(
            handles=cast("Any", artists), loc=cast("Any", place), ncols=columns, frameon=legend.framed, fontsize=size,
            borderaxespad=0.6, columnspacing=1.2,
        )  # fmt: skip
        box.set_zorder(15)
        box.set_in_layout(False)
        room = axes.get_window_extent()
        taken = box.get_window_extent()
        if taken.width > room.width and columns > 1:
            columns -= 1
        elif (taken.width > room.width or taken.height > 0.6 * room.height) and size > 4:
            size *= 0.9
        else:
            return box


def _needed(axes: Axes, box: Box, extent: Extent) -> float:
    """Return the upper limit of the y axis with which ``box`` is above what is drawn."""
    low, high = axes.get_ylim()
    taken = box.get_window_extent().transformed(axes.transAxes.inverted())
    if taken.y0 < 0.35:
        return high
    sides = axes.transData.inverted().transform(box.get_window_extent())[:, 0]
    edges = extent.bins.edges
    beneath = (edges[1:] > sides.min()) & (edges[:-1] < sides.max())
    top = float(extent.high[beneath].max()) if beneath.any() else 0.0
    room = taken.y0 - 0.04
    if axes.get_yscale() == "log":
        if top <= low:
            return high
        return max(high, float(low * 10 ** (math.log10(top / low) / room)))
    return max(high, float(low + (top - low) / room))


def _experiment(axes: Axes, style: Style, *, simulated: bool, size: float = 1.0) -> list[Any]:
    """Write the experiment, what it says beside its name, and the luminosity above a frame; return the texts."""
    if not style.experiment:
        return []
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties
    from mplhep.label import exp_text

    from fasthep_archive.operations.render.canvas import STYLES

    name = STYLES.get(style.experiment.lower(), style.experiment)
    points = size * FontProperties(size=rcParams["axes.labelsize"]).get_size_in_points()
    texts = exp_text(
        exp=name, text=_beside(style, simulated=simulated), lumi=_luminosity(style), loc=0, ax=axes,
        scilocator_adjust=False, fontsize=tuple(part * points for part in (1.2, 0.95, 0.85, 0.7)),
        **_LABELS.get(name, {}),
    )  # fmt: skip
    return [text for text in texts if text is not None]


def _shorten(axes: Axes) -> None:
    """Make the letters of labels smaller until these are no longer than the axes."""
    room = axes.get_window_extent()
    for label, length in ((axes.xaxis.label, room.width), (axes.yaxis.label, room.height)):
        box = label.get_window_extent()
        taken = max(box.width, box.height)
        if taken > length:
            label.set_fontsize(float(label.get_fontsize()) * max(0.4, length / taken))


def _beside(style: Style, *, simulated: bool) -> str:
    """Return what stands beside the name of an experiment."""
    return " ".join(filter(None, ["Simulation" if simulated else "", style.label]))


def _luminosity(style: Style) -> str | None:
    """Return the luminosity with its unit; the energy of the beams is not known here, and so not written."""
    return None if style.lumi is None else rf"{style.lumi} $\mathrm{{fb^{{-1}}}}$"


def _too_wide(axes: Axes, texts: Sequence[Any]) -> bool:
    """Say whether what is written above a frame does not fit beside each other."""
    room = axes.get_window_extent()
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return bool(boxes) and sum(box.width for box in boxes) > 0.97 * room.width


def _name_ticks(axis: Any, names: Sequence[str]) -> None:
    """Write the names of categories at an axis: slanted or upright where they would touch."""
    from matplotlib.ticker import NullLocator

    axis.set_ticks(range(len(names)), list(names))
    axis.set_minor_locator(NullLocator())
    if axis.axis_name == "x" and sum(map(len, names)) > _WIDEST_NAMES:
        slanted = len(names) <= _MOST_SLANTED
        for label in axis.get_ticklabels():
            label.set(
                rotation=30 if slanted else 90, rotation_mode="anchor", ha="right", va="top" if slanted else "center"
            )


def write_out(axis: Any, largest: float, *, log: bool) -> None:
    """Write large and small numbers as powers of ten at each tick, not as a factor above the frame."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if log:
        return
    axis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10]))
    if largest >= 1e5 or 0 < largest < 1e-3:
        axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))


def power_of_ten(value: float) -> str:
    r"""Return a number as a formula with a power of ten.

    >>> print(power_of_ten(250000.0), power_of_ten(0.0))
    $2.5\times10^{5}$ 0
    """
    if not value:
        return "0"
    digits, _, exponent = f"{value:.3e}".partition("e")
    return rf"${float(digits):g}\times10^{{{int(exponent)}}}$"
