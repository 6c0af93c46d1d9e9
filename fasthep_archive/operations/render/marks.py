"""Marks in a frame: steps, areas, bars, points with errors, bands.

Each has an id (matplotlib calls it *gid*), which an SVG shows: ``main.data`` are the data in the upper frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fasthep_archive.operations.render.intervals import Doubles
from fasthep_archive.operations.render.samples import Bins, Curve

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container

BLACK = "black"
Mark: TypeAlias = "Artist | Container"
"""What a legend can show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ink:
    """How something is drawn. ``hatch`` and ``alpha``: none: as the way of drawing has it."""

    color: str
    label: str
    hatch: str | None = None
    alpha: float | None = None


def area(axes: Axes, gid: str, bins: Bins, bottom: Doubles, top: Doubles, ink: Ink) -> Mark:
    """Fill what is between ``bottom`` and ``top``, with a thin edge."""
    made = axes.stairs(
        top, bins.edges, baseline=bottom, fill=True, facecolor=ink.color, edgecolor=BLACK, linewidth=_thin(),
        hatch=ink.hatch, alpha=ink.alpha, label=ink.label, gid=gid,
    )  # fmt: skip
    made.sticky_edges.y.clear()
    return made


def bars(axes: Axes, gid: str, bins: Bins, bottom: Doubles, top: Doubles, ink: Ink) -> Mark:
    """Draw a bar with a gap at its sides for each bin."""
    widths = 0.8 * np.diff(bins.edges)
    made = axes.bar(
        bins.middles, top - bottom, widths, bottom, color=ink.color, edgecolor=BLACK, linewidth=_thin(),
        hatch=ink.hatch, alpha=ink.alpha, label=ink.label,
    )  # fmt: skip
    for number, patch in enumerate(made):
        patch.set_gid(f"{gid}.{number}")
    return made


def steps(axes: Axes, gid: str, bins: Bins, values: Doubles, ink: Ink, *, dashes: str = "-") -> Mark:
    """Draw the outline of a histogram."""
    return axes.stairs(
        values, bins.edges, color=ink.color, linewidth=_thick(), linestyle=dashes, alpha=ink.alpha, label=ink.label,
        gid=gid,
    )  # fmt: skip


def points(axes: Axes, gid: str, bins: Bins, curve: Curve, ink: Ink) -> Mark:
    """Draw a point with its uncertainty in each bin that is not empty."""
    kept = (curve.values != 0) | (curve.variances != 0)
    size = point_size()
    made = axes.errorbar(
        bins.middles[kept], curve.values[kept], (curve.lower[kept], curve.upper[kept]), fmt="o", color=ink.color,
        markersize=size, linewidth=0.2 * size, elinewidth=0.2 * size, capsize=0, alpha=ink.alpha,
        label=ink.label, zorder=10,
    )  # fmt: skip
    line, _, errors = made.lines
    line.set_gid(gid)
    for error in errors:
        error.set_gid(f"{gid}.errors")
    return made


def band(axes: Axes, gid: str, bins: Bins, below: Doubles, above: Doubles, *, label: str) -> Mark:
    """Hatch what is between ``below`` and ``above``: the uncertainty of a stack."""
    made = axes.stairs(
        above, bins.edges, baseline=below, fill=True, facecolor="none", edgecolor="dimgray", linewidth=0, hatch="////",
        label=label, gid=gid, zorder=5,
    )  # fmt: skip
    made.sticky_edges.y.clear()
    return made


def drawn(axes: Axes, gid: str, bins: Bins, curve: Curve, how: str, ink: Ink) -> Mark:
    """Draw a whole histogram in the way that the language calls ``how``."""
    zero = np.zeros_like(curve.values)
    match how:
        case "fill":
            return area(axes, gid, bins, zero, curve.values, ink)
        case "bar":
            return bars(axes, gid, bins, zero, curve.values, ink)
        case "errorbar":
            return points(axes, gid, bins, curve, ink)
        case "band":
            made = axes.stairs(
                curve.values + curve.upper, bins.edges, baseline=curve.values - curve.lower, fill=True, alpha=0.5,
                facecolor=ink.color, label=ink.label, gid=gid,
            )  # fmt: skip
            made.sticky_edges.y.clear()
            return made
        case _:
            return steps(axes, gid, bins, curve.values, ink)


def outside(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw a triangle at each end of the axis beyond which there is something."""
    sides: tuple[tuple[bool, float, str, str], ...] = (
        (any(curve.under for curve in curves), 0.0, "<", "flow.under"),
        (any(curve.over for curve in curves), 1.0, ">", "flow.over"),
    )
    for there, x, marker, gid in sides:
        if there:
            axes.plot(
                x, 0.0, marker=marker, color=BLACK, markerfacecolor="white", markeredgewidth=_thin(), linestyle="none",
                transform=axes.transAxes, clip_on=False, zorder=20, gid=gid,
            )  # fmt: skip


def ends(main: Axes, lower: Axes, bins: Bins) -> None:
    """Mark where an axis ends in frames that show what lies beyond."""
    for number, edge in enumerate((bins.edges[1], bins.edges[-2])):
        for axes in (main, lower):
            axes.axvline(edge, color=BLACK, linewidth=_thin(), linestyle=":", zorder=1)
        middle = (bins.edges[0] + edge) / 2 if number == 0 else (edge + bins.edges[-1]) / 2
        main.text(
            middle, 0.97, ("below", "above")[number], rotation=90, ha="center", va="top", fontsize="x-small",
            transform=main.get_xaxis_transform(), color="dimgray",
        )  # fmt: skip


def point_size() -> float:
    """Return the diameter of points, in points: a part of the size of letters."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    return 0.3 * float(FontProperties(size=rcParams["axes.labelsize"]).get_size_in_points())


def _thin() -> float:
    return 0.5 * _thick()


def _thick() -> float:
    from matplotlib import rcParams

    return float(max(0.8, 0.9 * rcParams["axes.linewidth"]))
