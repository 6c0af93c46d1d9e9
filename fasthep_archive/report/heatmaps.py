"""Two-dimensional histograms: one panel of coloured cells for each dataset, with one scale of colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from fasthep_archive.report import frames, svg, tex
from fasthep_archive.report.curves import Bins
from fasthep_archive.report.frames import Axis, Frame, Scale, amount
from fasthep_archive.report.markup import Markup, element, escaped, joined, number, shortened
from fasthep_archive.report.svg import moved

_SINGLE, _SMALL = (380.0, 280.0), (216.0, 180.0)
"""Width and height of the cells' area of the only panel, and of one of several."""
_PER_ROW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """What one dataset has in the cells; everything finite.

    :ivar values: one sequence along y for each bin of x.
    :ivar outside: sum of what is in no cell.
    """

    name: str
    values: tuple[tuple[float, ...], ...]
    outside: float = 0.0

    @property
    def inside(self) -> float:
        """Sum of the cells."""
        return sum(map(sum, self.values))


def picture(x: Bins, y: Bins, panels: Sequence[Panel], *, remarks: Sequence[str] = ()) -> Markup:
    """Return the heat maps of ``panels``; empty cells have the colour of the page.

    Cells of different sizes show densities (what is in a cell divided by its area).
    """
    shown = [_density(panel, x, y) for panel in panels]
    values = [value for panel in shown for column in panel.values for value in column]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    colours = Scale(low=low, high=high if high > low else low + 1, start=0, end=len(svg.LEVELS))
    size = _SINGLE if len(panels) == 1 else _SMALL
    frame = Frame(
        x=Scale(low=x.edges[0], high=x.edges[-1], start=0, end=size[0]),
        y=Scale(low=y.edges[0], high=y.edges[-1], start=size[1], end=0),
        x_axis=Axis(label=x.label, low=x.edges[0], high=x.edges[-1], names=x.names),
        y_axis=Axis(label=y.label, low=y.edges[0], high=y.edges[-1], names=y.names),
    )
    left = frames.room(frame.y_axis) + 20
    step = (left + size[0] + 16, 24 + size[1] + frames.below(frame.x_axis, size[0]) + 8)
    columns, rows = min(len(panels), _PER_ROW), -(-len(panels) // _PER_ROW)
    drawn = []
    for position, (panel, original) in enumerate(zip(shown, panels, strict=True)):
        title = f"{original.name} ({amount(original.inside)})"
        cells = joined(_title(title, size[0]), _cells(panel, (x, y), frame, colours), frame.drawn())
        drawn.append(moved((position % _PER_ROW) * step[0] + left, (position // _PER_ROW) * step[1] + 24, cells))
    width = columns * step[0] + 74
    drawn.append(moved(columns * step[0] + 8, 24, _colour_bar(colours, size[1])))
    outside = ", ".join(f"{panel.name} {amount(panel.outside)}" for panel in panels if panel.outside)
    sentences = [*remarks, *([f"in no cell: {outside}"] if outside else [])]
    text, height = frames.notes(sentences, 30, rows * step[1], width - 44)
    label = f"Histogram of {tex.plain(x.label)} and {tex.plain(y.label)}"
    roles = ("ink", "dim", "frame", *svg.LEVELS)
    return svg.document(width, rows * step[1] + height + 8, label, *drawn, text, roles=roles)


def _title(text: str, room: float) -> Markup:
    return element("text", escaped(shortened(text, frames.TEXT, room)), y=-8, font_size=frames.TEXT, class_="fa-ink")


def _cells(panel: Panel, bins: tuple[Bins, Bins], frame: Frame, colours: Scale) -> Markup:
    """Return the coloured cells."""
    paths: dict[int, list[str]] = {}
    for level, path in _rectangles(panel, bins, frame, colours):
        paths.setdefault(level, []).append(path)
    cells = [element("path", d="".join(paths[level]), class_=f"fa-{svg.LEVELS[level]}") for level in sorted(paths)]
    return element("g", *cells, shape_rendering="crispEdges")


def _rectangles(panel: Panel, bins: tuple[Bins, Bins], frame: Frame, colours: Scale) -> Iterator[tuple[int, str]]:
    """Yield rectangles with their level of colour, cells of one level side by side as one."""
    xs = [number(frame.x(edge)) for edge in bins[0].edges]
    ys = [number(frame.y(edge)) for edge in bins[1].edges]
    for row in range(len(ys) - 1):
        levels = [_level(column[row], colours) for column in panel.values]
        for level, group in groupby(range(len(levels)), key=lambda column: levels[column]):
            if level is not None:
                cells = list(group)
                left, right = xs[cells[0]], xs[cells[-1] + 1]
                yield level, f"M{left} {ys[row]}H{right}V{ys[row + 1]}H{left}z"


def _level(value: float, colours: Scale) -> int | None:
    return min(int(colours(value)), len(svg.LEVELS) - 1) if value else None


def _colour_bar(colours: Scale, height: float) -> Markup:
    """Return the scale of colours with its numbers."""
    steps = len(svg.LEVELS)
    boxes = [
        element(
            "rect",
            x=0,
            y=height * (1 - (level + 1) / steps),
            width=14,
            height=height / steps + 0.3,
            class_=f"fa-{role}",
        )
        for level, role in enumerate(svg.LEVELS)
    ]
    scale = Scale(low=colours.low, high=colours.high, start=height, end=0)
    marks = frames.ticks(colours.low, colours.high, most=6)
    numbers = [
        element("text", escaped(label), x=19, y=scale(place) + 4)
        for place, label in zip(marks.major, marks.labels, strict=True)
    ]
    power = frames.power(marks.exponent, 0, -8)
    return joined(*boxes, element("g", *numbers, power, class_="fa-ink", font_size=frames.SMALL))


def _density(panel: Panel, x: Bins, y: Bins) -> Panel:
    if x.equal and y.equal:
        return panel
    values = tuple(
        tuple(value / (width * height) for value, height in zip(column, y.widths, strict=True))
        for column, width in zip(panel.values, x.widths, strict=True)
    )
    return replace(panel, values=values)
