"""What is done on a device around the loops of programs: running counts, conversions, and memory to do it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache as once
from pathlib import Path
from types import ModuleType

import numpy as np

from fasthep_archive.formula.columns import Array, Column, DType
from fasthep_archive.kernels.cuda import columns_source, fills_source
from fasthep_archive.kernels.cuda.code import loaded
from fasthep_archive.kernels.cuda.columns_source import PIECE
from fasthep_archive.kernels.cuda.device import Buffer, Device, Given, Span
from fasthep_archive.kernels.cuda.source import functions_source

ITEM = 8
"""Bytes of an int64 and of a double."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """A column on a device: what :class:`~fasthep_archive.formula.columns.Column` is on the host.

    :ivar dtype: float64 and int64 take 8 bytes for each value, bool takes one; for ``text``, int64 positions in
        ``words``. :ivar size: number of values. :ivar offsets: int64, one more than there are events.
    """

    dtype: DType
    content: Span
    size: int
    offsets: Span | None = None
    valid: Span | None = None
    words: tuple[str, ...] = ()


class Tools:
    """A device with the kernels that all passes use, and buffers by what is in them."""

    def __init__(self, device: Device, cache: Path) -> None:
        self.device = device
        self._codes = tuple(loaded(device, _text(module), cache) for module in (fills_source, columns_source))
        self._buffers: dict[str, Buffer] = {}

    def launch(self, name: str, turns: int, *arguments: Given) -> None:
        """Queue a kernel of :mod:`fills_source` or :mod:`columns_source` for ``turns`` turns, if there are any."""
        if turns:
            code = self._codes[name in columns_source.NAMES]
            code.launch(name, turns, [turns, *arguments])

    def buffer(self, name: str, size: int) -> Span:
        """Return memory for ``name``, in bytes; what was in it may be lost.

        :raises OutOfMemory: if there is none left.
        """
        return self._buffers.setdefault(name, Buffer(self.device)).span(size)

    def words(self, name: str, count: int) -> Span:
        """Return memory for ``count`` integers or doubles, as :meth:`buffer` does."""
        return self.buffer(name, ITEM * count)

    def release(self) -> None:
        """Give back all buffers."""
        self._buffers.clear()

    def running(self, values: Span, count: int, level: int = 0) -> None:
        """Queue that each of ``count`` integers is replaced by the sum of all before it."""
        pieces = -(-count // PIECE)
        sums = self.words(f"running {level}", pieces)
        self.launch("piece_sums", pieces, values, sums, count)
        if pieces > 1:
            self.running(sums, pieces, level + 1)
        else:
            self.device.clear(sums)
        self.launch("piece_starts", pieces, values, sums, count)

    def numbers(self, column: Resident, name: str) -> Span:
        """Return the values as doubles, to nearest: integers as the processor converts them, truth as 0 and 1."""
        if column.dtype == "float64":
            return column.content
        words = self.integers(column, f"{name} words")
        numbers = self.words(name, column.size)
        self.launch("words_as_numbers", column.size, numbers, words)
        return numbers

    def integers(self, column: Resident, name: str) -> Span:
        """Return integers, or truth as 0 and 1."""
        if column.dtype != "bool":
            return column.content
        words = self.words(name, column.size)
        self.launch("truth_as_words", column.size, words, column.content)
        return words

    def downloaded(self, column: Resident) -> Column:
        """Return a column as the host has it."""
        content = self._array(column.content, column.size, _HOST[column.dtype])
        offsets = None
        if column.offsets is not None:
            offsets = self._array(column.offsets, column.offsets.size // ITEM, np.int64)
        valid = None if column.valid is None else self._array(column.valid, column.size, np.bool_)
        return Column(content, offsets, valid, column.words)

    def _array(self, span: Span, count: int, dtype: type[np.generic]) -> Array:
        found = np.empty(count, dtype)
        if count:
            self.device.download(replace(span, size=found.nbytes), found)
        return found


_HOST: dict[DType, type[np.generic]] = {
    "float64": np.float64,
    "int64": np.int64,
    "bool": np.bool_,
    "text": np.int64,
}


@once
def _text(module: ModuleType) -> str:
    names: Sequence[str] = module.NAMES
    return functions_source(module, names)
