r"""The store: results by key, atomic, safe for many processes, self-checking.

One file per key, written beside its place and renamed, so that a reader sees a whole result or none, also after
``kill -9``. A file ends in the SHA-256 of what comes before: what a disk or a cut-off writer damaged counts as absent
and is computed again. A result is a state, which is held in memory, or the files of a product, which can be larger than
that: they are arrays of bytes here, and are written and found piece by piece. Layout of a file::

    fasthep-archive state 2\n
    the arrays, little-endian, C order, one after the other
    {"arrays":[{"dtype":"<i8","name":"limbs","shape":[62,9]}],"header":…}         canonical JSON
    the size of that (8 bytes, little-endian)
    SHA-256 of all of the above (32 bytes)
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from fasthep_archive.digest import JSON, Digest, canonical, of_stream
from fasthep_archive.errors import DataError, writing
from fasthep_archive.files import Stretch, opened, pieces, replacing, write_atomically
from fasthep_archive.formula.columns import Array
from fasthep_archive.operations.protocol import Output, State

if TYPE_CHECKING:
    from hashlib import _Hash

_MAGIC = b"fasthep-archive state 2\n"
_SIZE = 8
_END = 32
_LEAST = len(_MAGIC) + _SIZE + _END


_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A result that is kept: its size in bytes, and when it was written, in seconds since 1970."""

    key: Digest
    size: int
    mtime: float


@dataclass(frozen=True, slots=True)
class Store:
    """Results by key below the directory ``root``; usable from any number of processes at once."""

    root: Path

    def __contains__(self, key: object) -> bool:
        """Say whether a whole, undamaged result is there."""
        return isinstance(key, str) and self._sound(self._path(Digest(key)))

    def get(self, key: Digest) -> State | None:
        """Return the state of ``key``, or none when it is absent or damaged."""
        content = self._read(key)
        return None if content is None else _decoded(content)

    def put(self, key: Digest, state: State) -> None:
        """Keep ``state`` under ``key``. Two writers of one key write the same, so the last one wins."""
        arrays = {name: _little_endian(array) for name, array in sorted(state.arrays.items())}
        described: JSON = [
            {"name": name, "dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()
        ]
        with self._written(key) as target:
            for array in arrays.values():
                target.add(array.reshape(-1).view(np.uint8).data if array.size else b"")
            target.end({"header": state.header, "arrays": described})

    def files(self, key: Digest) -> tuple[Output, ...] | None:
        """Return the files of ``key``, which stay in the store, or none when they are absent or damaged."""
        path = self._path(key)
        if not self._sound(path):
            return None
        with path.open("rb") as stream:
            head, start = _head(stream), len(_MAGIC)
        found = []
        for name, described in zip(cast("list[str]", head["header"]), _arrays(head), strict=True):
            (size,) = cast("list[int]", described["shape"])
            found.append(Output(name=name, held=Stretch(path=path, start=start, size=size)))
            start += size
        return tuple(found)

    def put_files(self, key: Digest, files: Iterable[Output]) -> None:
        """Keep the files of a product under ``key``; each is copied before the next is asked for."""
        names: list[str] = []
        described: list[JSON] = []
        with self._written(key) as target:
            for file in files:
                for piece in pieces(file.held):
                    target.add(piece)
                described.append({"name": str(len(names)), "dtype": "|u1", "shape": [file.size]})
                names.append(file.name)
            target.end({"header": names, "arrays": described})

    def packed(self, key: Digest) -> bytes | None:
        """Return the result of ``key`` as bytes that can travel to another store, or none when it is absent."""
        return self._read(key)

    def keep(self, key: Digest, content: bytes) -> None:
        """Keep what another store has packed.

        :raises DataError: if it is damaged.
        """
        if _decoded(content) is None:
            raise DataError(f"the result {key} was damaged on its way")
        write_atomically(self._path(key), content)

    def entries(self) -> Iterator[Entry]:
        """Yield what is kept, by key; what other processes remove meanwhile is left out."""
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
            if _KEY.fullmatch(path.parent.name + path.name):
                with suppress(FileNotFoundError):
                    state = path.stat()
                    yield Entry(key=Digest(path.parent.name + path.name), size=state.st_size, mtime=state.st_mtime)

    @contextmanager
    def _written(self, key: Digest) -> Iterator[_Writing]:
        """Yield what writes the result of ``key``."""
        path = self._path(key)
        with writing(path), replacing(path) as stream:
            yield _Writing(stream)

    def _sound(self, path: Path) -> bool:
        """Say whether there is a file that ends in the digest of what comes before, read piece by piece."""
        try:
            content = Stretch.whole(path)
            if content.size < _LEAST:
                return False
            with path.open("rb") as stream:
                if stream.read(len(_MAGIC)) != _MAGIC:
                    return False
                stream.seek(content.size - _END)
                end = stream.read()
            return bytes.fromhex(of_stream(opened(replace(content, size=content.size - _END)))) == end
        except OSError:
            return False

    def _read(self, key: Digest) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def _path(self, key: Digest) -> Path:
        return self.root / key[:2] / key[2:]


class _Writing:
    """Writes a result, and digests it on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._found: _Hash = hashlib.sha256()
        self.add(_MAGIC)

    def add(self, piece: bytes | memoryview) -> None:
        """Write the next bytes."""
        self._stream.write(piece)
        self._found.update(piece)

    def end(self, head: JSON) -> None:
        """Write what says how the bytes so far are to be read, and the digest."""
        described = canonical(head).encode()
        self.add(described)
        self.add(len(described).to_bytes(_SIZE, "little"))
        self._stream.write(self._found.digest())


def _little_endian(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _decoded(content: bytes) -> State | None:
    if not content.startswith(_MAGIC) or len(content) < _LEAST:
        return None
    if hashlib.sha256(memoryview(content)[:-_END]).digest() != content[-_END:]:
        return None
    head = _head(io.BytesIO(content))
    arrays: dict[str, Array] = {}
    position = len(_MAGIC)
    for described in _arrays(head):
        shape = cast("list[int]", described["shape"])
        array = np.frombuffer(content, np.dtype(str(described["dtype"])), math.prod(shape), position)
        arrays[str(described["name"])] = array.reshape(shape)
        position += array.nbytes
    return State(header=head["header"], arrays=arrays)


def _head(stream: BinaryIO) -> Mapping[str, JSON]:
    """Return what says how the bytes of an undamaged result are to be read."""
    stream.seek(-_END - _SIZE, io.SEEK_END)
    size = int.from_bytes(stream.read(_SIZE), "little")
    stream.seek(-_END - _SIZE - size, io.SEEK_END)
    return cast("Mapping[str, JSON]", json.loads(stream.read(size)))


def _arrays(head: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    return cast("list[Mapping[str, JSON]]", head["arrays"])
