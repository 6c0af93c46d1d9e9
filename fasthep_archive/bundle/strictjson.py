"""JSON that can be read in one way only, and the one text that stands for a value.

Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

from fasthep_archive.bundle.form import LIMITS, Limits

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def strict_json(raw: bytes, limits: Limits = LIMITS) -> Any:
    """Return the value of a JSON text that all readers agree on (RFC 8259, restricted as by I-JSON, RFC 7493).

    Depth and number of values are counted before anything is built, so memory stays within ``limits``.

    :raises ValueError: for what is not JSON in UTF-8, keys that are twice in one object, NaN and infinities, numbers
        that overflow, lone surrogates, and more values or deeper nesting than ``limits`` allow.
    """
    text = raw.decode("utf-8")
    depth = values = 0
    for match in _TOKEN.finditer(text):
        mark = match.group()[0]
        depth += (mark in "[{") - (mark in "]}")
        values += mark in "[{,"
        if depth > limits.depth:
            raise ValueError(f"it is nested more than {limits.depth} deep")
        if values > limits.values:
            raise ValueError(f"it has more than {limits.values} values")
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite, parse_int=_integer)
    if _SURROGATE.search(text):
        canonical_json(value)  # a lone surrogate can't be encoded: UnicodeEncodeError, which is a ValueError
    return value


def canonical_json(value: object) -> bytes:
    """Return the one text that stands for ``value``: that of :func:`fasthep_archive.digest.canonical`, in UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def json_digest(value: object) -> str:
    """Return the SHA-256 of the canonical text of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"it has the key {twice!r} twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _integer(text: str) -> int:
    if len(text) > 1000:  # reading one takes time that grows with the square of its length
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)
