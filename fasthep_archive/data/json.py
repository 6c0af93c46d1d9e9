"""Events in a JSON file, which may be compressed by gzip: one object is one event.

Objects stand on lines of their own (JSON Lines) or in one array. Members of objects inside of objects are named with a
dot (``met.pt``), those of objects in lists likewise (``Muon.pt``). ``NaN``, ``Infinity`` and ``-Infinity``, which many
programs write, are numbers. Every float64 is the one nearest to its text.

One scan finds where events begin and, where nobody declared it, what they hold. What it found goes with the plan
(:meth:`JsonSource.settled`), so that a partition reads its own blocks and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from fasthep_archive.data.blocks import Block, BlockSource, TextFile, from_index, pieces, touching
from fasthep_archive.data.layouts import LazyTypes, sharing_offsets
from fasthep_archive.data.members import Member, Misfit, Row, Survey, column_of, declared_members, spelled
from fasthep_archive.data.source import Read
from fasthep_archive.data.strictjson import RepeatedKey, unique
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, concatenated

_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"
_HEAD = 1 << 12


class JsonSource(BlockSource):
    """The events of an open JSON file; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path, read: Read) -> None:
        """:raises DataError: if the file can't be read or holds something else than objects."""
        self._path = path
        self._text = TextFile(path)
        schema = cast("Mapping[str, JSON] | None", read.options.get("schema"))
        self._survey = Survey(path)
        try:
            self._array, self._body = self._head()
            declared = () if schema is None else declared_members(schema)
            self._members: dict[str, Member] = {member.name: member for member in declared}
            self._blocks = from_index(read.index) if read.index else tuple(self._scanned(survey=schema is None))
            if schema is None:
                self._members = {member.name: member for member in self._survey.members()}
        except BaseException:
            self._text.__exit__(None, None, None)
            raise
        self._types = LazyTypes(self._members, self._type, str(path))

    def settled(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return how to open the file without a scan: the types of all columns, and where the blocks are."""
        types = spelled(member for member in self._members.values() if member.wrong is None)
        index = self.index()
        return tuple(replace(read, options={**read.options, "schema": types}, index=index) for read in reads)

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        found: dict[str, list[Column]] = {name: [column_of([], self._members[name])] for name in names}
        for block in touching(self._blocks, start, stop) if names else ():
            rows = self._rows(self._text.at(block.start, block.stop - block.start), block.line)
            kept = rows[max(start - block.first, 0) : stop - block.first]
            for name in names:
                found[name].append(self._column(kept, name, max(start, block.first)))
        joined = {name: concatenated(parts[1:] or parts) for name, parts in found.items()}
        return sharing_offsets(joined, types)

    def _column(self, rows: list[Row], name: str, first: int) -> Column:
        """Return a column of events of which the first has the number ``first``."""
        try:
            return column_of(rows, self._members[name])
        except Misfit as misfit:
            message = f"event {first + misfit.place} of {self._path}: {name!r} {misfit}"
            hint = f"it was declared to be {self._members[name].declared}"
            raise DataError(message, hint=hint) from misfit

    def _type(self, name: str) -> ColumnType:
        return self._members[name].column_type(self._path)

    def _head(self) -> tuple[bool, int]:
        """Return whether the events stand in an array, and where the first one can begin."""
        at = len(_BOM) if self._text.at(0, len(_BOM)) == _BOM else 0
        start = self._text.at(at, _HEAD)
        while start and not start.strip():
            at += len(start)
            start = self._text.at(at, _HEAD)
        sign = start.lstrip()[:1]
        if sign and sign not in b"[{":
            hint = "write one object on each line, or all in one array"
            raise DataError(f"{self._path} does not begin with an object or an array", hint=hint)
        return sign == b"[", at + len(start) - len(start.lstrip()) + (sign == b"[")

    def _scanned(self, *, survey: bool) -> Iterator[Block]:
        first, line = 0, 1 + self._text.at(0, self._body).count(b"\n")
        for start, text in pieces(self._text, self._body, self._cut, str(self._path)):
            rows = self._rows(text, line, first_time=True)
            entries = len(rows)
            if survey:
                self._survey.add(rows, first)
            for name in self._members:
                self._column(rows, name, first)
            if entries:
                yield Block(start=start, stop=start + len(text), first=first, entries=entries, line=line)
            first, line = first + entries, line + text.count(b"\n")

    def _cut(self, text: bytes, last: bool) -> int:
        """Return how many bytes are whole events, with what separates them."""
        if self._array:
            return _elements(text, self._path, last=last)
        return len(text) if last else text.rfind(b"\n") + 1

    def _rows(self, text: bytes, line: int, *, first_time: bool = False) -> list[Row]:
        """Return the objects in whole events.

        :param first_time: whether nobody knows yet that no key is there twice, which takes time to find out.
        :raises DataError: naming the line, if there is anything else.
        """
        lines = _lines(text)
        whole = text.strip().removesuffix(b"]").rstrip().removesuffix(b",") if self._array else b",".join(lines)
        try:
            rows = json.loads(f"[{whole.decode()}]", object_pairs_hook=unique if first_time else None)
        except RepeatedKey as error:
            hint = "JSON does not say which of them counts: leave one out"
            raise DataError(f"line {line + _lines_before(text)} of {self._path}: {error}", hint=hint) from error
        except ValueError as error:
            raise self._unreadable(text, line, error) from error
        if not self._array and len(rows) != len(lines):
            raise DataError(
                f"{self._path} has lines from {line} on with several objects", hint="write one on each line"
            )
        if set(map(type, rows)) - {dict}:
            raise DataError(f"{self._path} has events from line {line} on that are no objects")
        return cast("list[Row]", rows)

    def _unreadable(self, text: bytes, line: int, error: ValueError) -> DataError:
        if not self._array:
            for number, one in enumerate(text.split(b"\n"), start=line):
                try:
                    json.loads(one.decode() if one.strip() else "0")
                except ValueError as found:
                    hint = "each line has to be one object; objects on several lines can stand in one array"
                    return DataError(f"line {number} of {self._path} is no JSON: {_first(found)}", hint=hint)
        return DataError(f"{self._path} is no JSON from line {line} on: {_first(error)}")


def open_json(path: Path, read: Read) -> JsonSource:
    """Return the events of a JSON file; a context manager.

    :param read: its option is ``schema``.
    :raises DataError: if the file can't be read or holds something else than objects.
    """
    return JsonSource(path, read)


def _lines(text: bytes) -> list[bytes]:
    return [line for line in text.split(b"\n") if not line.isspace() and line]


def _lines_before(text: bytes) -> int:
    """Return how many lines end before the event that has a key twice."""
    decoder, letters, at = json.JSONDecoder(object_pairs_hook=unique), text.decode(), 0
    try:
        while True:
            at = _after_space(letters, at)
            at = _after_space(letters, at + 1) if letters[at : at + 1] == "," else at
            _, at = decoder.raw_decode(letters, at)
    except ValueError:
        return letters.count("\n", 0, at)


def _first(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _elements(text: bytes, path: Path, *, last: bool) -> int:
    """Return how many bytes of an array, from an element on, are whole elements with the commas after them."""
    letters = text.decode("latin-1")  # the same letters where it matters, and as many as there are bytes
    decoder, whole, at = json.JSONDecoder(), 0, 0
    while True:
        at = _after_space(letters, at)
        if letters[at : at + 1] == "]":
            if letters[at + 1 :].strip(_SPACE):
                raise DataError(f"{path} has something after its array")
            return len(text)
        if at < len(letters) and letters[at] != "{":
            raise DataError(f"{path} has something else than objects in its array")
        try:
            _, at = decoder.raw_decode(letters, at)
        except ValueError as error:
            if last:
                raise DataError(f"{path} is no JSON, or cut off: {_first(error)}") from error
            return whole
        at = _after_space(letters, at)
        if letters[at : at + 1] == ",":
            at += 1
            whole = at
        elif at < len(letters) and letters[at] != "]":
            raise DataError(f"{path} is no JSON: an object of its array is followed by {letters[at]!r}")
        elif at == len(letters):
            if last:
                raise DataError(f"{path} is cut off: its array doesn't end", hint="copy it again from where it came")
            return whole


def _after_space(letters: str, at: int) -> int:
    while at < len(letters) and letters[at] in _SPACE:
        at += 1
    return at
