"""JSON as products are written, and as they are read: in one way only.

Written is UTF-8, keys in the order given, a line for each object or list that holds nothing but scalars, numbers in
Python's ``repr``: the shortest text that reads back to the same double. NaN and the infinities, which JSON
lacks, are the texts ``nan``, ``inf`` and ``-inf``; ``float`` in Python and ``numpy.asarray(..., float)`` read them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError

DEPTH = 64
"""Deepest nesting that is read."""


def write_json(value: JSON) -> bytes:
    """Return the text of ``value``, ending in a line feed.

    >>> print(write_json({"cuts": ["a", "b"], "n": 2, "sums": {"w": [1.5, float("nan")]}}).decode(), end="")
    {
     "cuts": ["a", "b"],
     "n": 2,
     "sums": {
      "w": [1.5, "nan"]
     }
    }
    """
    return ("".join(_written(value, "\n")) + "\n").encode()


def _written(value: JSON, line: str) -> str:
    inner = line + " "
    if isinstance(value, Mapping):
        if not any(_nested(item) for item in value.values()):
            return _one_line({key: _finite(item) for key, item in value.items()})
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_written(item, inner)}" for key, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{line}}}"
    if _nested(value):
        listed = cast("Sequence[JSON]", value)
        if not any(_nested(item) for item in listed):
            return _one_line([_finite(item) for item in listed])
        return f"[{inner}{f',{inner}'.join(_written(item, inner) for item in listed)}{line}]"
    return _one_line(_finite(value))


def _one_line(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _nested(value: JSON) -> bool:
    return isinstance(value, (Mapping, Sequence)) and not isinstance(value, str)


def _finite(value: JSON) -> JSON:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_json(content: bytes, name: str) -> JSON:
    """Return the value of a JSON text that has only one.

    :param name: of what is read, for messages.
    :raises DataError: if it is no JSON (RFC 8259) in UTF-8, has a key twice in an object or a number beyond double,
        or is nested more than :data:`DEPTH` deep.
    """
    try:
        value = cast(
            "JSON",
            json.loads(content.decode(), object_pairs_hook=unique, parse_constant=_number, parse_float=_number),
        )
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON: {error}") from error
    if _deeper(value, DEPTH):
        raise DataError(f"{name} is nested more than {DEPTH} deep")
    return value


class RepeatedKey(ValueError):
    """An object of JSON has a key more than once."""


def unique(pairs: Sequence[tuple[str, JSON]]) -> dict[str, JSON]:
    """Return the members of an object.

    :raises RepeatedKey: if one is there twice: JSON leaves open which of them counts (RFC 8259, section 4).
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKey(f"the key {max(keys, key=keys.count)!r} is there twice")
    return found


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _deeper(value: JSON, depth: int) -> bool:
    """Return whether a value is nested deeper, level by level, without recursion."""
    level = [value]
    for _ in range(depth):
        inner: list[JSON] = []
        for item in level:
            if isinstance(item, Mapping):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = [item for item in inner if isinstance(item, (Mapping, list))]
    return bool(level)
