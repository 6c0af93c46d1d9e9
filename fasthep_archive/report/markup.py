"""Text that is safe inside XML and HTML, as a type of its own.

Whatever a user or a bundle wrote is a ``str``; whatever may stand between tags is :class:`Markup`. The only ways from
the one to the other are :func:`escaped` and :func:`element`, so a type checker sees a forgotten escape.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NewType

Markup = NewType("Markup", str)

NOTHING = Markup("")

# Characters that XML 1.0 (section 2.2) cannot hold, and those that reorder the text around them (UAX #9): a
# file name or a title must not change how a digest or a command beside it reads.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)

_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]{} -/"), frozenset("mwMW@%<>=+~^")


def escaped(text: str) -> Markup:
    """Return ``text`` as it must be written between tags or inside a quoted attribute.

    >>> escaped('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", text)))


def joined(*parts: Markup) -> Markup:
    """Return the parts one after the other."""
    return Markup("".join(parts))


def element(tag: str, *content: Markup, **attributes: str | float | None) -> Markup:
    """Return one element; a trailing ``_`` of an attribute's name is dropped, others become ``-``; none is left out.

    >>> element("a", escaped("M & M"), href="https://x.org/?a&b", class_="id")
    '<a href="https://x.org/?a&amp;b" class="id">M &amp; M</a>'
    >>> element("rect", x=1.04, stroke_width=2)
    '<rect x="1" stroke-width="2"/>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = joined(*content)
    return Markup(f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>")


def number(value: float) -> str:
    """Return a coordinate in pixels with at most one decimal.

    >>> [number(x) for x in (3.0, 2.25, -0.01)]
    ['3', '2.2', '0']
    """
    text = f"{value:.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def text_width(text: str, size: float) -> float:
    """Return about how wide ``text`` is in a sans-serif font of ``size`` pixels, in pixels; rather too much."""
    return size * sum(map(_em, text))


def shortened(text: str, size: float, width: float, *, end: float = 0.4) -> str:
    """Return ``text``, or as much of its two ends as fits into ``width`` pixels with an ellipsis between them.

    :param size: of the letters, in pixels.
    :param end: the share of what is kept that stands behind the ellipsis.

    >>> shortened("SelectEventsWithTwoTightMuons", 13, 140)
    'SelectEvent…htMuons'
    >>> shortened("Muon_Pt, Muon_Eta, Muon_Phi", 13, 140, end=0)
    'Muon_Pt, Muon_Eta,…'
    """
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        last = int(kept * end)
        candidate = f"{text[: kept - last]}…{text[len(text) - last :]}"
        if text_width(candidate, size) <= width:
            return candidate
    return "…"


def _value(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else number(value)


def _em(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in _NARROW:
        return 0.34
    if character in _WIDE:
        return 0.9
    return 0.7 if character.isupper() else 0.58
