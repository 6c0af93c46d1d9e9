"""A formula as users write it, rewritten as a Python expression of one line, with the way back to their columns.

``&&`` and ``||`` become ``and`` and ``or``; ``!`` becomes ``~``, which binds as C's ``!`` does, and is remembered; line
breaks and comments become spaces. What Python would read in its own way (backslashes, prefixes of texts, numbers that
run into names) is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fasthep_archive.errors import FormulaError
from fasthep_archive.formula.unspeakable import RULE

LENGTH = 65_536
"""The longest formula in characters."""

_TOKEN = re.compile(
    r"""(?P<text>'[^'\n\\]*'|"[^"\n\\]*")
      | (?P<name>[A-Za-z_]\w*)
      | (?P<number>0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
                 | (?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)
      | (?P<and>&&) | (?P<or>\|\|) | (?P<not>!(?!=))
      | (?P<space>\s+|\#[^\n]*)
      | (?P<other>!=|[-+*/%&|^~<>=()\[\]{},.:@;])""",
    re.VERBOSE | re.ASCII,
)

_REPLACED = {"and": " and ", "or": " or ", "not": "~", "space": " "}

_STRANGE = {
    "\\": "formulas have no backslashes",
    "$": "sums over the values of an event are written sum(x), without $",
    "?": "write 'a if condition else b' or where(condition, a, b)",
    "−": "this is a typographic minus; write -",
    "–": "this is a dash; write -",
    "×": "write *",
    "·": "write *",
    "÷": "write /",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "²": "write ** 2",
    "π": "write pi",
    "“": "write plain quotation marks",
    "”": "write plain quotation marks",
    "‘": "write plain quotation marks",
    "’": "write plain quotation marks",
    "'": "a text ends with the quotation mark it began with, on the same line",
    '"': "a text ends with the quotation mark it began with, on the same line",
}


@dataclass(frozen=True, slots=True)
class Scanned:
    """A formula rewritten for Python's parser."""

    python: str
    """One line, without leading space."""
    columns: tuple[int, ...]
    """For each byte of ``python`` in UTF-8, and one past the end, the column in the user's text."""
    negations: frozenset[int]
    """The bytes of ``python`` where ``~`` stands for the user's ``!``."""


def scan(text: str) -> Scanned:
    """Return ``text`` rewritten.

    :raises FormulaError: at the first character that no formula can contain.
    """
    if len(text) > LENGTH:
        raise FormulaError(
            f"the formula has {len(text)} characters; the limit is {LENGTH}", hint="split it into several variables"
        )
    parts: list[str] = []
    columns: list[int] = []
    negations: list[int] = []
    position, previous = 0, ""
    while position < len(text):
        token = _TOKEN.match(text, position)
        kind = _checked(text, position, token, previous)
        found = text[position : position + 1] if token is None else token.group()
        written = _REPLACED.get(kind, found)
        if kind == "not":
            negations.append(len(columns))
        if parts or kind != "space":
            parts.append(written)
            columns.extend(_columns(found, written, position))
        position += len(found)
        previous = kind if kind != "space" else previous if previous == "text" else ""
    return Scanned("".join(parts), (*columns, len(text)), frozenset(negations))


def _columns(found: str, written: str, position: int) -> list[int]:
    """Return the user's column for each byte of ``written``."""
    if written != found:
        return [position] * len(written)
    return [position + index for index, character in enumerate(found) for _ in character.encode()]


def _checked(text: str, position: int, token: re.Match[str] | None, previous: str) -> str:
    """Return the kind of the token, or refuse it."""
    if token is None:
        character = text[position]
        hint = _STRANGE.get(character, RULE if character.isalnum() else None)
        raise FormulaError(f"unexpected {character!r}", column=position, hint=hint)
    kind = str(token.lastgroup)
    if kind == "name" and previous == "number":
        raise FormulaError(
            "a number runs into a name", column=position, hint="write an operator, or a space before a keyword"
        )
    if kind == "text" and previous in {"name", "text"}:
        raise FormulaError(
            "unexpected text", column=position, hint="texts are written 'text', one at a time and without prefix"
        )
    if kind == "text" and not token.group().isprintable():
        raise FormulaError("the text has characters that can't be printed", column=position)
    return kind
