"""Where the record batches of an Arrow file lie, how many rows each has, and how many values are missing.

An Arrow file (Feather, version 2) is a stream of messages between two marks, with a footer that lists where they lie;
a stream has the messages alone. Each message begins with metadata that say all this, so no column is read. See
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc for the layout, and
``Message.fbs`` and ``File.fbs`` of Arrow's format for the tables, which are FlatBuffers
(https://flatbuffers.dev/internals/).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"ARROW1"
_CONTINUED = 0xFFFFFFFF
"""What the length of a message's metadata begins with since Arrow 0.15."""
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
"""Types of messages."""
_BLOCK = 24
"""Bytes of a message's place in the footer: offset, size of the metadata, padding, size of the body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message of a file.

    :ivar rows: of a record batch. :ivar missing: of a record batch, by number of the array (depth first), how many
        values are missing.
    """

    kind: int
    offset: int
    size: int
    rows: int = 0
    missing: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A record batch: its message, and the messages that are needed to read it, of a stream (schema, dictionaries)."""

    message: Message
    needs: tuple[Message, ...] = ()


def batches_of_file(file: BinaryIO, size: int) -> tuple[Batch, ...]:
    """Return the record batches that the footer of a file of ``size`` bytes lists.

    :raises struct.error, ValueError: if that is not one.
    """
    tail = len(MAGIC) + 4
    file.seek(size - tail)
    length = int.from_bytes(file.read(4), "little")
    if length > size - tail:
        raise ValueError("its footer is larger than itself")
    file.seek(size - tail - length)
    blocks, count = _root(file.read(length)).vector(3)
    offsets = (struct.unpack_from("<q", blocks.data, blocks.place + _BLOCK * number)[0] for number in range(count))
    return tuple(Batch(message=_message(file, offset, size)) for offset in offsets)


def batches_of_stream(file: BinaryIO, size: int) -> tuple[Batch, ...]:
    """Return the record batches of a stream of ``size`` bytes; bodies are skipped.

    :raises struct.error, ValueError: if that is not one.
    """
    needs: list[Message] = []
    found = []
    for message in _messages(file, size):
        if message.kind == _BATCH:
            found.append(Batch(message=message, needs=tuple(needs)))
        elif message.kind in (_SCHEMA, _DICTIONARY):
            needs.append(message)
    return tuple(found)


def _messages(file: BinaryIO, size: int) -> Iterator[Message]:
    offset = 0
    while offset < size:
        message = _message(file, offset, size)
        if not message.kind:  # the end of a stream is marked by metadata of no size
            return
        yield message
        offset += message.size


def _message(file: BinaryIO, offset: int, size: int) -> Message:
    """Return the message at ``offset``; one of kind 0 at the end of a stream."""
    file.seek(offset)
    prefix = 4
    length = int.from_bytes(file.read(4), "little")
    if length == _CONTINUED:
        prefix, length = 8, int.from_bytes(file.read(4), "little")
    if not length:
        return Message(kind=0, offset=offset, size=prefix)
    if offset + prefix + length > size:
        raise ValueError("a message ends beyond its end")
    table = _root(file.read(length))
    kind, body = table.number(1, "<B"), table.number(3, "<q")
    whole = prefix + length + body
    if body < 0 or offset + whole > size:
        raise ValueError("a message ends beyond its end")
    if kind != _BATCH:
        return Message(kind=kind, offset=offset, size=whole)
    batch = table.table(2)
    nodes, count = batch.vector(1)
    missing = (struct.unpack_from("<q", nodes.data, nodes.place + 16 * number + 8)[0] for number in range(count))
    return Message(kind=kind, offset=offset, size=whole, rows=batch.number(0, "<q"), missing=tuple(missing))


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a FlatBuffer: its bytes, and where it lies in them."""

    data: bytes
    place: int

    def _field(self, slot: int) -> int | None:
        """Return where a field lies; none where it has its default."""
        names = self.place - struct.unpack_from("<i", self.data, self.place)[0]
        size = struct.unpack_from("<H", self.data, names)[0]
        step = struct.unpack_from("<H", self.data, names + 4 + 2 * slot)[0] if 4 + 2 * slot < size else 0
        return self.place + step if step else None

    def number(self, slot: int, form: str) -> int:
        """Return an integer, 0 by default."""
        place = self._field(slot)
        return 0 if place is None else int(struct.unpack_from(form, self.data, place)[0])

    def table(self, slot: int) -> _Table:
        """Return a table inside of this one."""
        place = self._field(slot)
        if place is None:
            raise ValueError("a message says nothing of what it is")
        return _Table(self.data, place + struct.unpack_from("<I", self.data, place)[0])

    def vector(self, slot: int) -> tuple[_Table, int]:
        """Return where the elements of a vector begin, and how many there are."""
        place = self._field(slot)
        if place is None:
            return self, 0
        start = place + struct.unpack_from("<I", self.data, place)[0]
        return _Table(self.data, start + 4), struct.unpack_from("<I", self.data, start)[0]


def _root(data: bytes) -> _Table:
    return _Table(data, struct.unpack_from("<I", data)[0])
