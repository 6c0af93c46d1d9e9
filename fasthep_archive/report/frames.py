"""The frame of a plot: scales, ticks at round numbers, labels, legend and notes.

Frames look like those of particle physics: ticks on the inside of all four sides, the x label at the right end, the y
label at the top. Everything is placed by arithmetic on the arguments; nothing is measured on a screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal, TypeAlias

from fasthep_archive.report import tex
from fasthep_archive.report.markup import NOTHING, Markup, element, escaped, joined, number, shortened, text_width
from fasthep_archive.report.svg import moved

TEXT, SMALL = 12.0, 11.0
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_STEEPEST_NAMES = 16
"""Letters of a category's name that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticks:
    """Places of an axis' marks, in its own unit.

    :ivar major: places with a number; multiples of 1, 2 or 5 times a power of ten.
    :ivar labels: their numbers, divided by ten to the ``exponent``.
    :ivar minor: places without.
    """

    major: tuple[float, ...]
    labels: tuple[str, ...]
    minor: tuple[float, ...] = ()
    exponent: int = 0


def ticks(low: float, high: float, *, most: int = 7) -> Ticks:
    """Return at most ``most`` numbered ticks between ``low`` and ``high`` (finite, low < high).

    >>> ticks(60.0, 120.0).labels
    ('60', '70', '80', '90', '100', '110', '120')
    >>> ticks(0.0, 2.3e6).labels, ticks(0.0, 2.3e6).exponent
    (('0', '0.5', '1', '1.5', '2'), 6)
    """
    least = (Decimal(high) - Decimal(low)) / most
    power = least.adjusted()
    step, parts = next(
        (factor * Decimal(1).scaleb(power), parts)
        for factor, parts in ((1, 5), (2, 4), (5, 5), (10, 5))
        if factor * Decimal(1).scaleb(power) >= least
    )
    places = _multiples(step, low, high)
    largest = max(abs(Decimal(low)), abs(Decimal(high))).adjusted()
    exponent = 3 * (largest // 3) if largest >= 5 or largest < -3 else 0
    return Ticks(
        major=tuple(map(float, places)),
        labels=tuple(_written(place.scaleb(-exponent)) for place in places),
        minor=tuple(map(float, _multiples(step / parts, low, high))),
        exponent=exponent,
    )


def amount(value: float) -> str:
    """Return a sum of weights for reading: whole numbers in full, others to four significant digits at least.

    >>> [amount(x) for x in (1250.0, 3.14159, 123456.7, 1.5e9, 0.0)]
    ['1250', '3.142', '123457', '1.5e+09', '0']
    """
    if abs(value) >= 1e7 or (0 < abs(value) < 1000 and not float(value).is_integer()):
        return f"{value:.4g}"
    return f"{value:.0f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``; values outside are put on the border."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One side of a frame: its label (with a little TeX), its ticks, and names instead of numbers for categories.

    :ivar names: one per bin of width 1 from 0; none where the axis has numbers.
    """

    label: str
    low: float
    high: float
    names: tuple[str, ...] = ()

    def ticks(self, most: int) -> Ticks:
        """Return the numbered ticks; for names, the borders between them without numbers."""
        if self.names:
            return Ticks(major=(), labels=(), minor=tuple(map(float, range(1, len(self.names)))))
        return ticks(self.low, self.high, most=most)


Swatch: TypeAlias = Literal["area", "line", "point", "band"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of a legend."""

    label: str
    swatch: Swatch
    colour: str | None = None
    dash: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The rectangle in which a plot is drawn, in pixels of the surrounding picture."""

    x: Scale
    y: Scale
    x_axis: Axis
    y_axis: Axis

    def drawn(self) -> Markup:
        """Return the frame with ticks, numbers and labels; to be drawn over the data."""
        border = element(
            "rect",
            x=self.x.start,
            y=self.y.end,
            width=self.x.end - self.x.start,
            height=self.y.start - self.y.end,
            class_="fa-frame",
        )
        return joined(border, self._x_side(), self._y_side())

    def _x_side(self) -> Markup:
        room = self.x.end - self.x.start
        marks = self.x_axis.ticks(max(2, int(room / 62)))
        top, bottom = self.y.end, self.y.start
        path = "".join(
            f"M{number(self.x(place))} {number(bottom)}v-{length}M{number(self.x(place))} {number(top)}v{length}"
            for places, length in ((marks.major, 8), (marks.minor, 4))
            for place in places
        )
        numbers = [
            element("text", escaped(label), x=self.x(place), y=bottom + 17)
            for place, label in zip(marks.major, marks.labels, strict=True)
        ]
        names = self._names() if self.x_axis.names else NOTHING
        tilted = _tilted(self.x_axis.names, room)
        below = bottom + (36 if not tilted else 22 + 0.6 * _longest(self.x_axis.names))
        title = _fitting(self.x_axis.label, room)
        label = element("text", tex.tspans(title, TEXT), x=self.x.end, y=below, text_anchor="end", font_size=TEXT)
        return joined(
            element("path", d=path, class_="fa-frame"),
            element("g", *numbers, names, class_="fa-ink", font_size=SMALL, text_anchor="middle"),
            element("g", label, power(marks.exponent, self.x.start, below), class_="fa-ink"),
        )

    def _names(self) -> Markup:
        names, room = self.x_axis.names, self.x.end - self.x.start
        middles = [(self.x(position + 0.5), _name(name)) for position, name in enumerate(names)]
        y = self.y.start + 17
        if not _tilted(names, room):
            return joined(*(element("text", escaped(name), x=x, y=y) for x, name in middles))
        every = max(1, -(-len(names) * 13 // int(room)))
        places = [(f"translate({number(x + 4)} {number(y - 4)})rotate(-35)", name) for x, name in middles[::every]]
        return joined(*(element("text", escaped(name), text_anchor="end", transform=place) for place, name in places))

    def _y_side(self) -> Markup:
        left, right = self.x.start, self.x.end
        marks = self.y_axis.ticks(7)
        path = "".join(
            f"M{number(left)} {number(self.y(place))}h{length}M{number(right)} {number(self.y(place))}h-{length}"
            for places, length in ((marks.major, 8), (marks.minor, 4))
            for place in places
        )
        names = self.y_axis.names
        places = [position + 0.5 for position in range(len(names))] if names else marks.major
        labels = [_name(name) for name in names] if names else marks.labels
        numbers = [
            element("text", escaped(label), x=left - 6, y=self.y(place) + 4)
            for place, label in zip(places, labels, strict=True)
        ]
        title = _fitting(self.y_axis.label, self.y.start - self.y.end)
        label = element("text", tex.tspans(title, TEXT), text_anchor="end", font_size=TEXT, transform="rotate(-90)")
        factor = power(marks.exponent, left, self.y.end - 6)
        return joined(
            element("path", d=path, class_="fa-frame"),
            element("g", *numbers, class_="fa-ink", font_size=SMALL, text_anchor="end"),
            element("g", moved(left - room(self.y_axis), self.y.end, label), factor, class_="fa-ink"),
        )


def room(axis: Axis) -> float:
    """Return how far a vertical axis' label stands from the frame, in pixels: its widest number is between them."""
    texts = [_name(name) for name in axis.names] or axis.ticks(7).labels
    return 16 + max((text_width(text, SMALL) for text in texts), default=0.0)


def below(axis: Axis, room: float) -> float:
    """Return how many pixels the numbers and the label of a horizontal axis need below it."""
    return 44.0 if not _tilted(axis.names, room) else 30 + 0.6 * _longest(axis.names)


def legend(entries: Sequence[Entry], x: float, y: float, width: float) -> tuple[Markup, float]:
    """Return a legend that fills lines of ``width`` pixels from (x, y) downwards, and its height."""
    drawn: list[Markup] = []
    left, top = 0.0, 0.0
    for entry in entries:
        text = shortened(entry.label, TEXT, width - 30)
        needed = 26 + text_width(text, TEXT) + 16
        if left and left + needed - 16 > width:
            left, top = 0.0, top + 19
        label = element("text", escaped(text), x=26, y=4, font_size=TEXT, class_="fa-ink")
        drawn.append(moved(x + left, y + top + 9, _swatch(entry), label))
        left += needed
    return joined(*drawn), top + 19 if entries else 0.0


def notes(sentences: Iterable[str], x: float, y: float, width: float) -> tuple[Markup, float]:
    """Return small text below a plot, one line or more for each sentence, and its height."""
    lines: list[str] = []
    for sentence in sentences:
        line = ""
        for word in sentence.split():
            longer = f"{line} {word}".strip()
            if line and text_width(longer, SMALL) > width:
                lines.append(line)
                longer = word
            line = shortened(longer, SMALL, width)
        lines.append(line)
    drawn = [element("text", escaped(line), x=x, y=y + 14 * row + 11) for row, line in enumerate(lines)]
    return (element("g", *drawn, class_="fa-dim", font_size=SMALL) if drawn else NOTHING), 14.0 * len(lines)


def _swatch(entry: Entry) -> Markup:
    box = {"x": 0.0, "y": -6.0, "width": 20.0, "height": 12.0}
    if entry.swatch == "area":
        edge = element("rect", **box, class_="fa-edge", stroke_width="0.6")
        return joined(element("rect", **box, fill=entry.colour or ""), edge)
    if entry.swatch == "band":
        return element("rect", **box, class_="fa-band")
    if entry.swatch == "line":
        dash = entry.dash or None
        return element("path", d="M0 0h20", fill="none", stroke=entry.colour, stroke_width=2, stroke_dasharray=dash)
    return dots("M10 -7v14", "M10 0h0")


def dots(bars: str, middles: str) -> Markup:
    """Return error bars, and dots where ``middles`` has lines of no length, which round ends turn into dots."""
    errors = element("path", d=bars, class_="fa-dot", stroke_width=1.2)
    return joined(errors, element("path", d=middles, class_="fa-dot", stroke_width=4.6, stroke_linecap="round"))


def _multiples(step: Decimal, low: float, high: float) -> list[Decimal]:
    first = (Decimal(low) / step).to_integral_value(ROUND_CEILING)
    last = (Decimal(high) / step).to_integral_value(ROUND_FLOOR)
    return [step * count for count in range(int(first), int(last) + 1)]


def _written(value: Decimal) -> str:
    return f"{value.normalize():f}".replace("-", "−") if value else "0"


def power(exponent: int, x: float, y: float) -> Markup:
    """Return the power of ten that an axis' numbers are to be multiplied by, if any."""
    if not exponent:
        return NOTHING
    return element("text", escaped(f"×10{str(exponent).translate(_SUPERSCRIPTS)}"), x=x, y=y, font_size=SMALL)


def _name(name: str) -> str:
    return name if len(name) <= _STEEPEST_NAMES else name[: _STEEPEST_NAMES - 1] + "…"


def _longest(names: Sequence[str]) -> float:
    return max(text_width(_name(name), SMALL) for name in names)


def _tilted(names: Sequence[str], room: float) -> bool:
    return bool(names) and _longest(names) + 6 > room / len(names)


def _fitting(label: str, room: float) -> str:
    """Return the label, or a shortened plain one where it is wider than ``room`` pixels."""
    return label if tex.width(label, TEXT) <= room else shortened(tex.plain(label), TEXT, room)
