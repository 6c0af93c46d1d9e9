"""Records of CSV texts (RFC 4180): where they end, which are events, and on which line they are.

A quote begins a cell and ends one, and stands twice inside; line ends between are part of the cell. Blank records and
those that begin as comments do are no events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.blocks import Text, pieces
from fasthep_archive.errors import DataError

_LF, _CR = 10, 13
_LINE = 1 << 12
"""Bytes that a line has, about."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How cells are told apart: one ASCII character each.

    :ivar quote: empty where no character is one. :ivar comment: what comments begin with; empty where there are none.
    """

    delimiter: str = ","
    quote: str = '"'
    comment: str = ""


class Records:
    """Finds the records of a text."""

    def __init__(self, dialect: Dialect, path: Path) -> None:
        """:param path: of the file that has the text, for messages."""
        self._path = path
        self._delimiter = ord(dialect.delimiter)
        self._quote = ord(dialect.quote) if dialect.quote else None
        self._comment = ord(dialect.comment) if dialect.comment else None

    def skipped(self, text: Text, lines: int) -> tuple[int, int]:
        """Return where the text begins after a byte order mark, a number of lines and the comments that follow these.

        Also the number of the line that begins there. Quotes in these lines are none.

        :raises DataError: if the text has no more lines.
        """
        at, line = len(_BOM) if text.at(0, len(_BOM)) == _BOM else 0, 1
        while line <= lines or (self._comment is not None and text.at(at, 1) == bytes([self._comment])):
            size, piece = 0, text.at(at, _LINE)
            while piece and b"\n" not in piece:
                size += len(piece)
                piece = text.at(at + size, _LINE)
            if not piece:
                raise DataError(f"{self._path} ends in line {line}, before the names of its columns")
            at, line = at + size + piece.index(b"\n") + 1, line + 1
        return at, line

    def whole(self, text: Text, start: int, line: int = 1) -> Iterator[tuple[int, bytes]]:
        """Yield whole records from ``start`` on, in blocks, with where they begin.

        :param line: that the text at ``start`` begins with, for messages.
        :raises DataError: if quotes are not as RFC 4180 says, or a line ends as no line does.
        """
        for at, piece in pieces(text, start, self._cut, str(self._path)):
            self._refuse(np.frombuffer(piece, np.uint8), line)
            yield at, piece
            line += piece.count(b"\n")

    def counted(self, piece: bytes) -> tuple[int, int]:
        """Return how many events whole records have, and how many line ends."""
        starts, stops = self._bounds(piece)
        return int(self._events(piece, starts, stops).sum()), piece.count(b"\n")

    def first(self, piece: bytes) -> tuple[int, int, bytes]:
        """Return the bytes and line ends up to and with the first record that is no comment, and that record."""
        starts, stops = self._bounds(piece)
        for place in np.flatnonzero(self._events(piece, starts, stops))[:1].tolist():
            start, stop = int(starts[place]), int(stops[place])
            size = min(stop + 1, len(piece))
            return size, piece.count(b"\n", 0, size), piece[start:stop].removesuffix(b"\r")
        return len(piece), piece.count(b"\n"), b""

    def uncommented(self, piece: bytes) -> bytes:
        """Return whole records without those that are comments."""
        if self._comment is None or self._comment not in piece:
            return piece
        starts, stops = self._bounds(piece)
        kept = np.flatnonzero(self._events(piece, starts, stops))
        return b"".join(piece[starts[place] : stops[place] + 1] for place in kept)

    def line_of(self, piece: bytes, event: int) -> int:
        """Return how many line ends are before an event of whole records."""
        starts, stops = self._bounds(piece)
        place = np.flatnonzero(self._events(piece, starts, stops))[event]
        return piece.count(b"\n", 0, int(starts[place]))

    def _cut(self, piece: bytes, last: bool) -> int:
        if last and (self._quote is None or piece.count(self._quote) % 2 == 0):
            return len(piece)
        ends = self._ends(np.frombuffer(piece, np.uint8))
        return int(ends[-1]) + 1 if ends.size else 0

    def _ends(self, letters: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return where the line ends are that end records."""
        ends = np.flatnonzero(letters == _LF)
        if self._quote is None:
            return ends
        quotes = np.flatnonzero(letters == self._quote)
        return ends[np.searchsorted(quotes, ends) % 2 == 0] if quotes.size else ends

    def _bounds(self, piece: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where records begin, and where they end: at a line end, or the end of the text."""
        ends = self._ends(np.frombuffer(piece, np.uint8))
        starts = np.concatenate([np.zeros(1, np.int64), ends + 1])
        return starts, np.concatenate([ends, np.full(1, len(piece), np.int64)])

    def _events(self, piece: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which records are events: those that are neither blank nor comments."""
        letters = np.frombuffer(piece, np.uint8)
        sizes = stops - starts
        first = letters[np.minimum(starts, len(piece) - 1)]
        found: NDArray[np.bool_] = (sizes > 1) | ((sizes == 1) & (first != _CR))
        return found if self._comment is None else found & (first != self._comment)

    def _refuse(self, letters: NDArray[np.uint8], line: int) -> None:
        """Raise if a quote is inside of a cell that doesn't begin with one, or a line ends with CR alone."""
        if (nulls := np.flatnonzero(letters == 0)).size:
            where = line + int(np.count_nonzero(letters[: nulls[0]] == _LF))
            hint = "is it a file of another kind, or compressed?"
            raise DataError(f"line {where} of {self._path} has a null byte: it is no text", hint=hint)
        quotes = np.flatnonzero(letters == self._quote) if self._quote is not None else np.zeros(0, np.int64)
        opening, closing = quotes[0::2], quotes[1::2]
        before = letters[opening - 1]  # the last letter of all for the first, which nothing comes before
        after = letters[np.minimum(closing + 1, letters.size - 1)]
        begins = (opening == 0) | np.isin(before, [self._delimiter, _LF, self._quote or _LF])
        ends = (closing == letters.size - 1) | np.isin(after, [self._delimiter, _LF, _CR, self._quote or _LF])
        for odd in (opening[~begins][:1], closing[~ends][:1]):
            if odd.size:
                where = line + int(np.count_nonzero(letters[: odd[0]] == _LF))
                hint = "write it twice, and quotes around the cell; or quote: '' if no character quotes"
                raise DataError(f"line {where} of {self._path} has a quote inside of a cell", hint=hint)
        returns = np.flatnonzero(letters == _CR)
        alone = returns[letters[np.minimum(returns + 1, letters.size - 1)] != _LF]
        outside = alone[np.searchsorted(quotes, alone) % 2 == 0]
        if outside.size:
            raise DataError(f"{self._path} has lines that end with CR alone", hint="write LF or CRLF at their ends")
