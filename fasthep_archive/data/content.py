"""Digests of content: what an output means, whatever the bytes that say it.

The content of an array is its type, its structure and its values; NaN has one pattern, -0.0 is not 0.0, bytes are
little-endian. The content of JSON is its value: keys have no order, and how a number or a text is written is nothing.
Who wrote a histogram (``writer_info`` at the top) and how its file is laid out are no content; labels are.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from fasthep_archive.data.products import kind_of
from fasthep_archive.digest import JSON, Digest, of_bytes
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array

if TYPE_CHECKING:
    import awkward as ak

DEPTH = 64
"""Deepest nesting of JSON that is read."""


def of_output(content: bytes, name: str) -> Digest:
    """Return the digest of the content of the output called ``name``; of its bytes where its form is not known.

    :raises DataError: if a file is not what its name says.
    """
    if name.endswith(".json"):
        value = read_json(content, name)
        if kind_of(name) == "histogram" and isinstance(value, Mapping):
            value = {key: item for key, item in value.items() if key != "writer_info"}
        return _of_value(value)
    if name.endswith(".csv"):
        return _of_value(_table(content, name))
    return of_bytes(content)


def read_json(content: bytes, name: str) -> JSON:
    """Return the value of strict JSON: UTF-8, no key twice, no NaN, nested at most :data:`DEPTH` deep.

    :raises DataError: if it is anything else.
    """

    def unique(pairs: Sequence[tuple[str, JSON]]) -> dict[str, JSON]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    def refused(constant: str) -> JSON:
        raise ValueError(f"{constant} is no JSON")

    try:
        value = cast("JSON", json.loads(content, object_pairs_hook=unique, parse_constant=refused))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON: {error}") from error
    if _depth(value) > DEPTH:
        raise DataError(f"{name} is nested deeper than {DEPTH} levels")
    return value


def of_array(array: ak.Array) -> Digest:
    """Return the digest of an awkward array: the same for memory, Parquet, TTree and RNTuple copies of it.

    List offsets count from 0 as int64, options without missing values are no options, records are in the order of
    their fields' names.

    :raises DataError: if it has parts of other kinds (unions).
    """
    import awkward as ak

    found = hashlib.sha256(b"fasthep-archive array 1\n")
    for path, values in _leaves(ak.to_packed(ak.Array(array)).layout, ""):
        plain = _canonical(values)
        found.update(f"{path}\t{plain.dtype.str.lstrip('<|')}\t{plain.size}\n".encode())
        found.update(plain.tobytes())
    return Digest(found.hexdigest())


def _canonical(values: Array) -> Array:
    """Return the values little-endian, contiguous, with one pattern for NaN; bools as bytes."""
    if values.dtype == np.bool_:
        return values.view(np.uint8)
    plain = np.array(values, dtype=values.dtype.newbyteorder("<"))
    if plain.dtype.kind == "f":
        plain[np.isnan(plain)] = np.nan
    return plain


def _leaves(layout: ak.contents.Content, path: str) -> Iterator[tuple[str, Array]]:
    """Yield path and values of each buffer that means something."""
    if layout.is_list:
        plain = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(plain.offsets.data)
        yield f"{path}/offsets", offsets
        yield from _leaves(plain.content[: int(offsets[-1])], f"{path}/item")
    elif layout.is_option:
        valid = np.asarray(layout.mask_as_bool(valid_when=True))
        if not valid.all():
            yield f"{path}/valid", valid
        yield from _leaves(layout.project(), path if valid.all() else f"{path}/some")
    elif layout.is_record:
        for field in sorted(layout.fields):
            yield from _leaves(layout[field], f"{path}.{field}")
    elif layout.is_indexed:
        yield from _leaves(layout.project(), path)
    elif layout.is_numpy:
        yield path, np.asarray(layout.data)
    else:
        raise DataError(f"{type(layout).__name__} has no content digest")


def _of_value(value: JSON) -> Digest:
    """Return the digest of a JSON value. Type-true: 1, 1.0, true and "1" are four different values."""
    found = hashlib.sha256(b"fasthep-archive value 1\n")
    for token in _tokens(value):
        found.update(token)
    return Digest(found.hexdigest())


def _tokens(value: JSON) -> Iterator[bytes]:
    """Yield the value as text that no other value has."""
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        yield b"s%d:" % len(encoded) + encoded
    elif value is None or isinstance(value, bool):
        yield {None: b"n", True: b"t", False: b"f"}[value]
    elif isinstance(value, int):
        yield b"i%d;" % value
    elif isinstance(value, float):
        yield f"d{value.hex()};".encode()
    elif isinstance(value, Mapping):
        yield b"{%d:" % len(value)
        for key in sorted(value):
            yield from _tokens(key)
            yield from _tokens(value[key])
    else:
        yield b"[%d:" % len(value)
        for item in value:
            yield from _tokens(item)


def _table(content: bytes, name: str) -> JSON:
    """Return the cells of a CSV file, numbers as numbers."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name} is no CSV: {error}") from error
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> JSON:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else str(number)
    return text


def _depth(value: JSON) -> int:
    """Return how deep a value is nested, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(item, Mapping):
            waiting.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, Sequence) and not isinstance(item, str):
            waiting.extend((inner, depth + 1) for inner in item)
    return deepest
