"""Messages between a worker and the process in which code that is not ours runs: JSON and arrays, nothing else.

A message is ``FHA1``, the length of its header as eight bytes (big-endian), the header, a JSON object in UTF-8, and the
arrays one after the other, each as its values (little-endian, without gaps). The header's ``arrays`` has type and
length of each. No object travels as a pickle, in either direction.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from fasthep_archive.digest import JSON
from fasthep_archive.errors import TaskError
from fasthep_archive.formula.columns import Array, Column

START = struct.Struct(">4sQ")
"""What a message begins with."""
_MAGIC = b"FHA1"
_MOST = 1 << 30
_KINDS = "biuf"


@dataclass(frozen=True, slots=True)
class Message:
    """A JSON object and one-dimensional arrays of bools and numbers; of texts, the distinct ones are in the object."""

    header: Mapping[str, JSON]
    arrays: tuple[Array, ...] = ()

    def encoded(self) -> list[memoryview]:
        """Return the bytes of the message, in pieces."""
        plain = [np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for array in self.arrays]
        described: JSON = [[array.dtype.str, array.size] for array in plain]
        header = json.dumps({**self.header, "arrays": described}).encode()
        values = (array.view(np.uint8).data for array in plain if array.size)
        return [memoryview(START.pack(_MAGIC, len(header)) + header), *values]


def header_size(start: bytes) -> int:
    """Return the length of the header of a message that begins like this.

    :raises TaskError: if that is not how messages begin.
    """
    magic, size = START.unpack(start)
    if magic != _MAGIC or size > _MOST:
        raise TaskError("what came is no message", hint="this is a bug, unless the code writes to foreign files")
    return int(size)


def received(read: Callable[[int], memoryview]) -> Message:
    """Return the next message.

    :param read: returns so many bytes, not fewer, in memory of their own.
    """
    header = json.loads(bytes(read(header_size(bytes(read(START.size))))))
    described = cast("Sequence[tuple[str, int]]", header.pop("arrays"))
    return Message(header, tuple(_array(read, *item) for item in described))


def _array(read: Callable[[int], memoryview], kind: str, size: int) -> Array:
    dtype = np.dtype(kind)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise TaskError(f"an array of {kind} came", hint="this is a bug, unless the code writes to foreign files")
    return np.frombuffer(read(size * dtype.itemsize), dtype)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns as parts of a message."""

    described: JSON
    arrays: tuple[Array, ...]

    @classmethod
    def of(cls, columns: Mapping[str, Column]) -> Columns:
        """Return columns of bools, numbers and texts; structures that they share are sent once."""
        arrays: list[Array] = []
        places: dict[int, int] = {}

        def place(array: Array | None) -> int | None:
            if array is None:
                return None
            if id(array) not in places:
                places[id(array)] = len(arrays)
                arrays.append(array)
            return places[id(array)]

        described: JSON = [
            [name, place(c.content), place(c.offsets), place(c.valid), list(c.words)] for name, c in columns.items()
        ]
        return cls(described, tuple(arrays))


def columns(described: JSON, arrays: Sequence[Array]) -> dict[str, Column]:
    """Return the columns of a message: what :meth:`Columns.of` was given."""

    def array(place: int | None) -> Array | None:
        return None if place is None else arrays[place]

    items = cast("Sequence[tuple[str, int, int | None, int | None, Sequence[str]]]", described)
    return {
        name: Column(arrays[content], array(lists), array(valid), tuple(words))
        for name, content, lists, valid, words in items
    }
