"""Numbers of a stage as a table of names and values."""

from __future__ import annotations

from fasthep_archive.data.values import Values
from fasthep_archive.report import svg
from fasthep_archive.report.frames import TEXT
from fasthep_archive.report.markup import Markup, element, escaped, shortened

_ROW, _NAMES, _WIDTH = 21.0, 220.0, 420.0
_MOST = 40
"""Numbers that are shown; the product has them all."""


def picture(values: Values, name: str) -> Markup:
    """Return the table; numbers have six digits, and all of theirs as a title."""
    drawn: list[Markup] = []
    for position, (key, value) in enumerate(list(values.items())[:_MOST]):
        y = position * _ROW + 22
        title = element("title", escaped(f"{key} = {value!r}"))
        drawn.append(element("text", title, escaped(shortened(key, TEXT, _NAMES - 12)), x=10, y=y))
        drawn.append(element("text", escaped(f"{value:.6g}"), x=_NAMES, y=y))
    if len(values) > _MOST:
        drawn.append(element("text", escaped(f"and {len(values) - _MOST} more"), x=10, y=len(drawn) / 2 * _ROW + 22))
    height = (min(len(values), _MOST + 1) + 1) * _ROW
    label = f"Values {name}: {len(values)} numbers"
    return svg.document(_WIDTH, height, label, element("g", *drawn, class_="fa-ink", font_size=TEXT), roles=("ink",))
