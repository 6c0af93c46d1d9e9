"""Digests: of bytes, of files, of canonical JSON.

A :data:`Digest` is the lower-case hexadecimal SHA-256 (FIPS 180-4), 64 characters, as
``sha256sum``, BagIt manifests and the ``sha256`` term of Workflow Run RO-Crate write it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NewType, TypeAlias

Digest = NewType("Digest", str)
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
_PIECE = 1 << 20
"""Bytes that are read at once."""


def of_bytes(content: bytes | bytearray | memoryview) -> Digest:
    """Return the SHA-256 of ``content``."""
    return Digest(hashlib.sha256(content).hexdigest())


def of_file(path: Path) -> Digest:
    """Return the SHA-256 of the file's bytes, read once, in bounded memory."""
    with path.open("rb") as stream:
        return of_stream(stream)


def of_stream(stream: BinaryIO) -> Digest:
    """Return the SHA-256 of what is left in ``stream``, in bounded memory."""
    found = hashlib.sha256()
    while piece := stream.read(_PIECE):
        found.update(piece)
    return Digest(found.hexdigest())


def of_json(value: JSON) -> Digest:
    """Return the SHA-256 of the canonical text of ``value``."""
    return of_bytes(canonical(value).encode())


def canonical(value: JSON) -> str:
    """Return the one text that stands for ``value``: sorted keys, no spaces, shortest exact numbers.

    Type-true: ``1``, ``1.0``, ``True`` and ``"1"`` give four different texts. NaN and the
    infinities, which JSON lacks, are refused: a product writes them in a form of its own.

    >>> canonical({"b": 1.0, "a": [True, None, "é"]})
    '{"a":[true,null,"é"],"b":1.0}'
    """
    return json.dumps(_checked(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _checked(value: JSON) -> JSON:
    """Refuse what ``json`` would turn into something else without a word (integer keys, tuples stay lists)."""
    if type(value) is str or value is None:  # most values are
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no canonical JSON form")
    if isinstance(value, (list, tuple)):
        return [_checked(item) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a JSON object's keys are strings, not {key!r}")
        return {key: _checked(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    return [_checked(item) for item in value]
