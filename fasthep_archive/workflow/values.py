"""Plain data in which every value knows the place where it was written.

A :class:`Value` is what YAML text is turned into; included files are merged as values, so that each part keeps its
own place. :func:`flatten` takes plain data and places apart again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fasthep_archive.errors import Location

DocumentPath: TypeAlias = tuple[str | int, ...]
"""The way from the top of a document to a value: keys of mappings and positions in lists."""

Scalar: TypeAlias = bool | int | float | str | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

_ESCAPED = {"x": 2, "u": 4, "U": 8}
"""Hexadecimal digits of the escapes of double-quoted YAML text."""
_ESCAPED_SPACES = "tnvfrN_LP"
"""Its escapes that stand for white space; before a line break, the backslash joins the lines."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value's text starts: after an opening quote, on the first line of a block.

    :ivar index: position in the file's text, in characters.
    :ivar quote: the quote around the text, or nothing.
    """

    where: Location
    index: int
    quote: Literal["", "'", '"'] = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar, list or mapping with its place.

    :ivar text: a scalar as it is written, without quotes; empty for lists and mappings.
    :ivar keys: for mappings, where each key is written.
    """

    content: Scalar | Sequence[Value] | Mapping[str, Value]
    place: Place
    text: str = ""
    keys: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flat:
    """Plain data, and the places of its values and keys by their path."""

    data: Plain
    places: Mapping[DocumentPath, Place]
    keys: Mapping[DocumentPath, Location]


def flatten(root: Value) -> Flat:
    """Return the plain data of ``root`` beside the places of all values and keys."""
    places: dict[DocumentPath, Place] = {}
    keys: dict[DocumentPath, Location] = {}

    def plain(value: Value, path: DocumentPath) -> Plain:
        places[path] = value.place
        if isinstance(value.content, Mapping):
            keys.update(((*path, key), where) for key, where in value.keys.items())
            return {key: plain(item, (*path, key)) for key, item in value.content.items()}
        if isinstance(value.content, Sequence) and not isinstance(value.content, str):
            return [plain(item, (*path, number)) for number, item in enumerate(value.content)]
        return value.content

    return Flat(plain(root, ()), places, keys)


def written(path: DocumentPath, moved: Mapping[DocumentPath, DocumentPath]) -> DocumentPath:
    """Return where the value at ``path`` was written, by the longest of the ``moved`` paths that it starts with."""
    for length in range(len(path), 0, -1):
        if path[:length] in moved:
            return (*moved[path[:length]], *path[length:])
    return path


def within(place: Place, value: str, offset: int, text: str) -> Location:
    """Return where character ``offset`` of the scalar ``value`` stands in the file's ``text``.

    YAML folds line breaks and indentation, and escapes take more room in the file than in the value. Both leave the
    order of the visible characters alone, so these are counted.
    """
    visible = sum(not character.isspace() for character in value[:offset])
    wanted = offset < len(value) and not value[offset].isspace()
    index = place.index
    while index < len(text):
        length, shows = _next(text, index, place.quote)
        if not visible and (shows or not wanted):
            break
        visible -= shows
        index += length
    before = text[place.index : index].replace("\r\n", "\n").replace("\r", "\n")
    lines = before.count("\n")
    if not lines:
        return place.where.shifted(len(before))
    return Location(place.where.file, place.where.line + lines, len(before) - before.rfind("\n"))


def _next(text: str, index: int, quote: str) -> tuple[int, bool]:
    """Return the length of what stands at ``index`` of a scalar's text, and whether it is a visible character."""
    if quote == "'" and text.startswith("''", index):
        return 2, True
    if quote == '"' and text[index] == "\\":
        kind = text[index + 1 : index + 2]
        if kind in _ESCAPED:
            length = 2 + _ESCAPED[kind]
            return length, not chr(int(text[index + 2 : index + length], 16)).isspace()
        return 2, not kind.isspace() and kind not in _ESCAPED_SPACES
    return 1, not text[index].isspace()
