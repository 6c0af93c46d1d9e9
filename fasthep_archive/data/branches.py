"""Branches of a TTree that hold plain numbers, read from their baskets without uproot.

A :class:`Branch` is all that reading needs: small, independent of the open file, and it travels between processes.
Each basket is read once; the offsets that branches share are found once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.baskets import Basket, BasketFile, DamagedBasket
from fasthep_archive.data.layouts import checked
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array, Column

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """How the values of a branch lie in the file.

    :ivar dtype: of one value, as stored.
    :ivar size: number of values per entry; none where it varies: then baskets say it themselves, or ``counter`` does.
    :ivar flat: whether an entry is one value, not a list of ``size`` values.
    :ivar lengths: a name that branches have in common whose entries have the same numbers of values.
    :ivar entries: where baskets begin and end; baskets + 1 entries, ascending from 0.
    :ivar seeks: where in the file baskets lie. :ivar sizes: their bytes there.
    :ivar embedded: the baskets after these, which lie inside of the tree's metadata.
    """

    name: str
    dtype: np.dtype[np.generic]
    size: int | None
    flat: bool
    lengths: str
    counter: Branch | None
    entries: Integers
    seeks: Integers
    sizes: Integers
    embedded: tuple[Basket, ...]

    def overlapping(self, start: int, stop: int) -> Iterator[_Piece]:
        """Yield which part of which basket holds the entries ``start`` to ``stop``."""
        if start < stop:
            number = int(np.searchsorted(self.entries, start, side="right")) - 1
            while number < len(self.entries) - 1 and self.entries[number] < stop:
                begin, end = int(self.entries[number]), int(self.entries[number + 1])
                if begin < end:
                    yield _Piece(number, begin, end, max(start, begin), min(stop, end))
                number += 1

    def basket(self, file: BasketFile, number: int) -> Basket:
        """Return a basket; it is valid until the next one is read from ``file``."""
        if number >= len(self.seeks):
            return self.embedded[number - len(self.seeks)]
        try:
            return file.basket(int(self.seeks[number]), int(self.sizes[number]))
        except DamagedBasket as error:
            raise self.damaged(number, str(error)) from error

    def length(self, file: BasketFile, number: int) -> int:
        """Return the number of values in a basket, from its header alone."""
        if number >= len(self.seeks):
            return len(self.embedded[number - len(self.seeks)].values) // self.dtype.itemsize
        try:
            return file.length(int(self.seeks[number]), int(self.sizes[number])) // self.dtype.itemsize
        except DamagedBasket as error:
            raise self.damaged(number, str(error)) from error

    def values(self, basket: Basket, number: int, count: int) -> Array:
        """Return the values in a basket, which must be ``count``."""
        if len(basket.values) != count * self.dtype.itemsize:
            what = f"{count} values of {self.dtype.itemsize} bytes are expected in {len(basket.values)} bytes"
            raise self.damaged(number, what)
        return basket.values.view(self.dtype)

    def damaged(self, number: int, why: str) -> DataError:
        """Return the error for a basket."""
        return DataError(f"branch {self.name!r} is damaged in basket {number}: {why}")


@dataclass(frozen=True, slots=True)
class _Piece:
    """Entries ``first`` to ``last`` of a basket that holds ``begin`` to ``end``."""

    number: int
    begin: int
    end: int
    first: int
    last: int

    @property
    def whole(self) -> bool:
        return (self.first, self.last) == (self.begin, self.end)


class Readable(Protocol):
    """Columns of an open file."""

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        """Return entries ``start`` to ``stop`` of ``columns``."""


Reopen: TypeAlias = Callable[[], AbstractContextManager[Readable]]
"""Opens a file again; travels between processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BranchReader:
    """Reads columns of a file; see :class:`fasthep_archive.data.source.EventReader`.

    :ivar plain: what lies in the file as plain numbers. :ivar others: the columns for which it must be opened.
    """

    path: Path
    plain: Mapping[str, Branch]
    others: tuple[str, ...]
    reopen: Reopen

    def read(self, start: int, stop: int) -> dict[str, Column]:
        found = read(self.path, self.plain, start, stop) if self.plain else {}
        if self.others:
            with self.reopen() as source:
                found |= source.read(self.others, start, stop)
        return found


def read(path: Path, branches: Mapping[str, Branch], start: int, stop: int) -> dict[str, Column]:
    """Return entries ``start`` to ``stop`` of each branch.

    :raises DataError: if a basket is damaged, or an unsigned number is beyond int64.
    """
    with BasketFile(path) as file, BasketFile(path) as counters:
        reading = _Reading(file, counters, start, stop)
        return {name: reading.column(branch) for name, branch in branches.items()}


class _Reading:
    """One reading of a range of entries. Remembers what branches share: offsets."""

    def __init__(self, file: BasketFile, counters: BasketFile, start: int, stop: int) -> None:
        """:param counters: the same file again, to read counters while a basket of ``file`` is in use."""
        self._file = file
        self._counters = counters
        self._start = start
        self._stop = stop
        self._offsets: dict[str, Integers] = {}

    def column(self, branch: Branch) -> Column:
        """Return the column."""
        if branch.size is not None:
            content = _sized(self._file, branch, self._start, self._stop)
            offsets = None if branch.flat else np.arange(self._stop - self._start + 1) * branch.size
            return Column(checked(content, branch.name), offsets)
        offsets = self._offsets.get(branch.lengths)
        if offsets is None:
            content, self._offsets[branch.lengths] = self._first_of(branch)
        else:
            content = self._with_offsets(branch, offsets)
        return Column(checked(content, branch.name), self._offsets[branch.lengths])

    def _first_of(self, branch: Branch) -> tuple[Array, Integers]:
        """Return the values of entries of variable length, and the offsets."""
        pieces = list(branch.overlapping(self._start, self._stop))
        size = sum(branch.length(self._file, piece.number) for piece in pieces)
        content = np.empty(size, branch.dtype.newbyteorder("="))
        offsets = np.zeros(self._stop - self._start + 1, np.int64)
        filled = 0
        for piece in pieces:
            basket = branch.basket(self._file, piece.number)
            starts = self._starts(basket, branch, piece)
            values = branch.values(basket, piece.number, int(starts[-1]))
            low, high = int(starts[piece.first - piece.begin]), int(starts[piece.last - piece.begin])
            part = offsets[piece.first - self._start : piece.last - self._start + 1]
            np.add(starts[piece.first - piece.begin : piece.last - piece.begin + 1], filled - low, out=part)
            content[filled : filled + high - low] = values[low:high]
            filled += high - low
        return content[:filled], offsets

    def _with_offsets(self, branch: Branch, offsets: Integers) -> Array:
        """Return the values of entries whose offsets are known."""
        content = np.empty(offsets[-1], branch.dtype.newbyteorder("="))
        for piece in branch.overlapping(self._start, self._stop):
            begin, end = int(offsets[piece.first - self._start]), int(offsets[piece.last - self._start])
            basket = branch.basket(self._file, piece.number)
            starts = None if piece.whole else self._starts(basket, branch, piece)
            values = branch.values(basket, piece.number, end - begin if starts is None else int(starts[-1]))
            low = 0 if starts is None else int(starts[piece.first - piece.begin])
            high = len(values) if starts is None else int(starts[piece.last - piece.begin])
            if high - low != end - begin:
                raise branch.damaged(piece.number, "its lengths are not those of others with the same counter")
            content[begin:end] = values[low:high]
        return content

    def _starts(self, basket: Basket, branch: Branch, piece: _Piece) -> Array:
        """Return where each entry of a basket begins, counted in values, and where the last one ends."""
        count = piece.end - piece.begin
        if basket.starts is not None:
            starts = basket.starts // branch.dtype.itemsize
            if len(starts) != count + 1 or starts[0] != 0 or (starts[1:] < starts[:-1]).any():
                raise branch.damaged(piece.number, f"it does not say where each of its {count} entries begins")
            return starts
        if branch.counter is None:
            raise branch.damaged(piece.number, "nothing says how many values its entries have")
        starts = np.zeros(count + 1, np.int64)
        starts[1:] = counts = _sized(self._counters, branch.counter, piece.begin, piece.end)
        if (counts < 0).any():
            raise branch.damaged(piece.number, f"its counter {branch.counter.name!r} is negative")
        np.cumsum(starts[1:], out=starts[1:])
        return starts


def _sized(file: BasketFile, branch: Branch, start: int, stop: int) -> Array:
    """Return the values of entries with a fixed number of values each."""
    size = branch.size or 0
    content = np.empty((stop - start) * size, branch.dtype.newbyteorder("="))
    for piece in branch.overlapping(start, stop):
        basket = branch.basket(file, piece.number)
        values = branch.values(basket, piece.number, (piece.end - piece.begin) * size)
        part = values[(piece.first - piece.begin) * size : (piece.last - piece.begin) * size]
        content[(piece.first - start) * size : (piece.last - start) * size] = part
    return content
