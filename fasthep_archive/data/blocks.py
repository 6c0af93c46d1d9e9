"""Texts of any size in blocks: whole records of a file, compressed by gzip or not, found in one scan and read alone.

Where the blocks begin is a property of the file's text alone: the first record that begins at least :data:`SIZE` bytes
after the block before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeAlias

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import LazyTypes
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import ColumnType

SIZE = 1 << 22
"""Bytes of a block, about."""
LONGEST = 1 << 26
"""Bytes of a record, at most."""
_GZIP = b"\x1f\x8b"
_MARK = 1 << 26
"""Bytes of text between two places from which a compressed file can be read again."""
_READ = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Whole records of a file.

    :ivar start: first byte. :ivar stop: byte after the last. :ivar first: number of the first event in the file.
    :ivar entries: events. :ivar line: of the file that it begins with, from 1.
    """

    start: int
    stop: int
    first: int
    entries: int
    line: int

    def to_index(self) -> tuple[int, ...]:
        """Return the block as five numbers."""
        return self.start, self.stop, self.first, self.entries, self.line


def from_index(index: Sequence[int]) -> tuple[Block, ...]:
    """Return the blocks whose numbers stand one after the other in ``index``."""
    return tuple(
        Block(start=start, stop=stop, first=first, entries=entries, line=line)
        for start, stop, first, entries, line in zip(*(iter(index),) * 5, strict=True)
    )


def touching(blocks: Iterable[Block], start: int, stop: int) -> list[Block]:
    """Return the blocks that have any of the events ``start`` to ``stop``."""
    return [block for block in blocks if block.first < stop and start < block.first + block.entries]


class Text(Protocol):
    """The bytes of a text, wherever they are."""

    def at(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start`` on, or all that there are."""


class TextFile(AbstractContextManager["TextFile"]):
    """The text of an open file; one that begins as gzip does is decompressed on the way.

    Errors of reading are DataErrors that name the file.
    """

    def __init__(self, path: Path) -> None:
        """:raises DataError: if the file can't be read or is empty."""
        self._path = path
        try:
            if path.is_dir():
                raise DataError(f"{path} is a directory", hint="list its files one by one")
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise DataError(f"no such file: {path}") from error
        except OSError as error:
            raise DataError(f"can't read {path}: {error.strerror or error}") from error
        start = self._file.read(2)
        if not start:
            self._file.close()
            raise DataError(f"{path} is empty", hint="leave it out, or write what a file without events has")
        self._text: Text = _Gzip(self._file) if start == _GZIP else _Plain(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def at(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start`` on, or all that there are.

        :raises DataError: if the file is damaged.
        """
        with told(self._path):
            return self._text.at(start, size)


Cut: TypeAlias = Callable[[bytes, bool], int]
"""Says how many bytes of a text, which begins with a record, are whole records; with whether the text ends there."""


class BlockSource(AbstractContextManager["BlockSource"]):
    """The events of an open text file, block by block; see :class:`fasthep_archive.data.source.EventSource`."""

    _text: TextFile
    _blocks: tuple[Block, ...]
    _types: LazyTypes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.__exit__(kind, error, trace)

    @property
    def entries(self) -> int:
        """Number of events."""
        return self._blocks[-1].first + self._blocks[-1].entries if self._blocks else 0

    def types(self) -> Mapping[str, ColumnType]:
        """Return the columns' types by name, each determined when it is asked for."""
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return the first events of all blocks, and the number of events."""
        return tuple(sorted({0, *(block.first for block in self._blocks), self.entries}))

    def index(self) -> tuple[int, ...]:
        """Return where the blocks are, as :func:`from_index` takes it."""
        return tuple(chain.from_iterable(block.to_index() for block in self._blocks))


def pieces(text: Text, start: int, cut: Cut, where: str) -> Iterator[tuple[int, bytes]]:
    """Yield whole records from ``start`` on, at least :data:`SIZE` bytes but at the end, with where they begin.

    :param where: what has the text, for messages.
    :raises DataError: if a record does not end.
    """
    at, rest = start, b""
    while True:
        more = text.at(at + len(rest), SIZE)
        rest += more
        if not rest:
            return
        size = cut(rest, not more)
        if size:
            yield at, rest[:size]
            at, rest = at + size, rest[size:]
        elif not more or len(rest) > LONGEST:
            raise DataError(f"a record of {where} doesn't end", hint="look for a quote or bracket without its partner")


class _Plain:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def at(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)


class _Gzip:
    """The text of a gzip file (RFC 1952), of one or several members.

    Going forward is decompressing what lies between; going back starts at the last place before that was kept.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._marks = [(0, 0, zlib.decompressobj(wbits=31))]
        self._restore(0)

    def at(self, start: int, size: int) -> bytes:
        if start < self._out:
            self._restore(start)
        while self._out < start and self._next(min(start - self._out, _READ)):
            pass
        found = []
        left = size
        while left and (piece := self._next(left)):
            found.append(piece)
            left -= len(piece)
        return b"".join(found)

    def _restore(self, place: int) -> None:
        """Go to the last mark that is not behind ``place``."""
        self._out, self._in, engine = max((mark for mark in self._marks if mark[0] <= place), key=lambda mark: mark[0])
        self._engine = engine.copy()

    def _next(self, most: int) -> bytes:
        """Return the next bytes, at least one and at most ``most``; none at the end."""
        if self._out >= self._marks[-1][0] + _MARK:
            self._marks.append((self._out, self._in, self._engine.copy()))
        while True:
            self._file.seek(self._in)
            compressed = self._file.read(_READ)
            if self._engine.eof:
                if not compressed.strip(b"\0"):  # what pads a file
                    return b""
                self._engine = zlib.decompressobj(wbits=31)
            piece = self._engine.decompress(compressed, most)
            left = len(self._engine.unused_data) if self._engine.eof else len(self._engine.unconsumed_tail)
            self._in += len(compressed) - left
            self._out += len(piece)
            if piece:
                return piece
            if not compressed:
                raise ValueError("its last gzip member has no end")
