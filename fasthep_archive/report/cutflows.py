"""Cutflows as tables of bars: a row for each cut, a column for each dataset."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fasthep_archive.data.products import Cutflow, CutflowRow
from fasthep_archive.report import svg
from fasthep_archive.report.frames import SMALL, TEXT, amount
from fasthep_archive.report.markup import Markup, element, escaped, joined, number, shortened, text_width
from fasthep_archive.report.svg import moved

_ROW, _COLUMN, _BAR = 21.0, 152.0, 140.0
_LEAST, _MOST = 110.0, 330.0
_PER_BLOCK = 5
"""Datasets beside each other; more go below."""
_BOLD = 1.1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """A line of the table: the beginning of a group, or one of its cuts.

    :ivar first: the group's first cut, from which shares are counted.
    """

    text: str
    cut: str
    first: str
    begins: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Left:
    """What is left at one place of a cutflow."""

    events: int
    sumw: float
    sumw2: float

    @property
    def tooltip(self) -> str:
        """Events, and the weighted sum with its error."""
        return f"{self.events} events, sum of weights {amount(self.sumw)} ± {amount(math.sqrt(max(0.0, self.sumw2)))}"


def picture(cutflow: Cutflow, measured: Collection[str]) -> Markup:
    """Return the cutflow: what is left after each cut, as a sum of weights, a share of the group, and a bar.

    :param measured: names of datasets of real data, which are grey.
    """
    datasets = list(dict.fromkeys(row.dataset for row in cutflow.rows))
    colours = svg.colours(datasets, measured)
    rows = {(row.dataset, row.cut): row for row in cutflow.rows}
    lines = list(_lines({row.cut: row for row in cutflow.rows}.values()))
    room = min(_MOST, max([_LEAST, *(text_width(line.text, TEXT) * _BOLD + 14 for line in lines)]))
    blocks: list[Markup] = []
    y = 8.0
    for first in range(0, len(datasets), _PER_BLOCK):
        chosen = datasets[first : first + _PER_BLOCK]
        columns = [
            moved(room + _COLUMN * position, 0, _column(dataset, lines, rows, colours[dataset]))
            for position, dataset in enumerate(chosen)
        ]
        blocks.append(moved(10, y, _names(lines, room, room + _COLUMN * len(chosen) - 12), *columns))
        y += (len(lines) + 1) * _ROW + 18
    width = 10 + room + _COLUMN * min(len(datasets), _PER_BLOCK)
    label = f"Cutflow {cutflow.name}: {len(lines)} lines, {len(datasets)} datasets"
    return svg.document(width, y, label, *blocks, roles=("ink", "dim", "grid", "track"))


def _lines(rows: Iterable[CutflowRow]) -> Iterator[_Line]:
    """Yield the lines of the table: each group's beginning, and its cuts."""
    group, first = None, ""
    for row in rows:
        if row.group != group:
            group, first = row.group, row.cut
            yield _Line(text=row.group, cut=row.cut, first=first, begins=True)
        yield _Line(text=row.label, cut=row.cut, first=first, begins=False)


def _names(lines: Sequence[_Line], room: float, width: float) -> Markup:
    """Return the names of groups and cuts, and a rule above each group."""
    drawn: list[Markup] = []
    for position, line in enumerate(lines, 1):
        indent, scale, weight = (0.0, _BOLD, "600") if line.begins else (10.0, 1.0, None)
        y = position * _ROW
        if line.begins:
            drawn.append(element("path", d=f"M0 {number(y)}h{number(width)}", class_="fa-grid"))
        text = escaped(shortened(line.text, TEXT * scale, room - indent - 8, end=0))
        drawn.append(
            element("text", element("title", escaped(line.text)), text, x=indent, y=y + 15, font_weight=weight)
        )
    return element("g", *drawn, class_="fa-ink", font_size=TEXT)


def _column(dataset: str, lines: Sequence[_Line], rows: Mapping[tuple[str, str], CutflowRow], colour: str) -> Markup:
    """Return a dataset's name and cells."""
    name = escaped(shortened(dataset, TEXT * _BOLD, _BAR))
    drawn = [element("text", name, y=15, font_size=TEXT, font_weight="600", class_="fa-ink")]
    for position, line in enumerate(lines, 1):
        row, first = rows.get((dataset, line.cut)), rows.get((dataset, line.first))
        if row is not None and first is not None:
            begun = _Left(events=first.events_in, sumw=first.sumw_in, sumw2=first.sumw2_in)
            after = _Left(events=row.events_out, sumw=row.sumw_out, sumw2=row.sumw2_out)
            drawn.append(moved(0, position * _ROW + 3, _cell(begun if line.begins else after, begun, colour)))
    return joined(*drawn)


def _cell(left: _Left, begun: _Left, colour: str) -> Markup:
    """Return a bar as long as the share of ``begun`` that is left, with the numbers on it."""
    share = left.sumw / begun.sumw if begun.sumw else 0.0
    percent = f"{100 * share:.3g} %" if begun.sumw else ""
    bar = {"height": _ROW - 5, "rx": 2.0}
    return joined(
        element("title", escaped(left.tooltip)),
        element("rect", width=_BAR, class_="fa-track", **bar),
        element("rect", width=_BAR * min(1.0, max(0.0, share)), fill=colour, fill_opacity="0.5", **bar),
        element("text", escaped(amount(left.sumw)), x=5, y=12, font_size=SMALL, class_="fa-ink"),
        element("text", escaped(percent), x=_BAR - 5, y=12, font_size=SMALL, text_anchor="end", class_="fa-ink"),
    )
