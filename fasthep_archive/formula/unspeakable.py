"""Names of branches that formulas can't spell: where one stands in a formula, and which name could stand for it.

A name in a formula is one of Python's in ASCII: letters, digits and underscores, none of Python's own words, with dots
between. A branch of any other name gets one by ``fields``.
"""

from __future__ import annotations

import json
import keyword
import re
import unicodedata
from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOREIGN = re.compile(r"\W+", re.ASCII)
_SPELLED = {"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O"}
"""Letters without a decomposition in Unicode."""

RULE = (
    "names are of ASCII letters, digits and underscores; a branch that is called otherwise gets another name: "
    'fields: {NAME: {stream: ..., branch: "..."}}'
)
"""What to do about a character or a word that no name has."""


def is_speakable(name: str) -> bool:
    """Say whether formulas can spell a name.

    >>> is_speakable("Muon.pt"), is_speakable("my var"), is_speakable("class")
    (True, False, False)
    """
    return all(_NAME.fullmatch(part) and not keyword.iskeyword(part) for part in name.split("."))


def advice(text: str, column: int, names: Iterable[str], stream: str) -> str | None:
    """Return the hint for a fault at ``column`` of the formula ``text``, if a name that none can spell stands there.

    :param names: of branches. :param stream: that they are of.

    >>> print(advice("2 * größe", 6, ["größe", "x"], "events"))
    a branch is called 'größe', which formulas can't spell: fields: {grosse: {stream: events, branch: "größe"}}
    """
    found = (name for name in names if name and not is_speakable(name) and _stands(name, text, column))
    name = max(found, key=len, default=None)
    if name is None:
        return None
    field = f"{{{_speakable(name)}: {{stream: {stream}, branch: {json.dumps(name, ensure_ascii=False)}}}}}"
    return f"a branch is called {name!r}, which formulas can't spell: fields: {field}"


def _stands(name: str, text: str, column: int) -> bool:
    """Say whether a name stands in the text, as a whole, at the column or right before it."""
    places = re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    return any(place.start() <= column <= place.end() for place in places)


def _speakable(name: str) -> str:
    """Return a name that formulas can spell and that resembles another."""
    latin = unicodedata.normalize("NFKD", "".join(_SPELLED.get(letter, letter) for letter in name))
    kept = _FOREIGN.sub("_", latin.encode("ascii", "ignore").decode()).strip("_")
    if not kept or keyword.iskeyword(kept):
        return f"{kept}_" if kept else "name"
    return kept if _NAME.fullmatch(kept) else f"_{kept}"
