r"""The store: results by key, atomic, safe for many processes, self-checking.

One file per key, written beside its place and renamed, so that a reader sees a whole result or none, also after
``kill -9``. A file ends in the SHA-256 of what comes before: what a disk or a cut-off writer damaged counts as absent
and is computed again. Layout of a file::

    fasthep-archive state 1\n
    {"arrays":[{"dtype":"<i8","name":"limbs","shape":[62,9]}],"header":…}\\n     canonical JSON
    the arrays, little-endian, C order, one after the other
    SHA-256 of all of the above (32 bytes)
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from fasthep_archive.digest import JSON, Digest, canonical
from fasthep_archive.errors import DataError
from fasthep_archive.files import write_atomically
from fasthep_archive.formula.columns import Array
from fasthep_archive.operations.protocol import State

_MAGIC = b"fasthep-archive state 1\n"


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
        return isinstance(key, str) and self.get(Digest(key)) is not None

    def get(self, key: Digest) -> State | None:
        """Return the result of ``key``, or none when it is absent or damaged."""
        content = self._read(key)
        return None if content is None else _decoded(content)

    def put(self, key: Digest, state: State) -> None:
        """Keep ``state`` under ``key``. Two writers of one key write the same, so the last one wins."""
        write_atomically(self._path(key), _encoded(state))

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

    def _read(self, key: Digest) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def _path(self, key: Digest) -> Path:
        return self.root / key[:2] / key[2:]


def _encoded(state: State) -> bytes:
    arrays = {name: _little_endian(array) for name, array in sorted(state.arrays.items())}
    described: JSON = [
        {"name": name, "dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()
    ]
    head = canonical({"header": state.header, "arrays": described}).encode() + b"\n"
    body = b"".join([_MAGIC, head, *(array.tobytes() for array in arrays.values())])
    return body + hashlib.sha256(body).digest()


def _little_endian(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _decoded(content: bytes) -> State | None:
    body, end = content[:-32], content[-32:]
    if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != end:
        return None
    head_end = body.index(b"\n", len(_MAGIC))
    head = json.loads(body[len(_MAGIC) : head_end])
    arrays: dict[str, Array] = {}
    position = head_end + 1
    for described in cast("list[Mapping[str, JSON]]", head["arrays"]):
        shape = cast("list[int]", described["shape"])
        array = np.frombuffer(body, np.dtype(str(described["dtype"])), math.prod(shape), position)
        arrays[str(described["name"])] = array.reshape(shape)
        position += array.nbytes
    return State(header=head["header"], arrays=arrays)
