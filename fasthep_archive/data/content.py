"""Digests of content: what an output says, whatever the bytes that say it.

Of an array: type, names, structure and values. Offsets count from 0; bytes are little-endian; NaN has one pattern, and
-0.0 is not 0.0; options that miss nothing are no options; fields are in the order of their names. File format,
compression, chunks, writer and time are nothing.

Of JSON: the value. Keys have no order; layout, and how a number or text is spelt, are nothing; 1 and 1.0 are two
values. Of a histogram likewise, without the note about who wrote it. Of CSV: the cells, numbers by value.

Of a ROOT file that holds nothing but trees (TTrees and RNTuples): their names, and of each, its columns as an array.
Branches that only count the values of others are left out. Of a ROOT file that holds nothing but histograms: their
paths, and of each the axes' titles, edges and labels, and the bins; not the sums that ROOT keeps beside these. Of a
Parquet, Arrow (Feather) or npz file: its columns as an array; of an npz file of arrays of different lengths, each
array. Of everything else, the bytes.

What is hashed starts with the name and version of the form, and each part with its length, so that no two contents give
the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasthep_archive.data.products import kind_of
from fasthep_archive.data.root_histograms import RootHistogram, holds_histograms, read_histograms
from fasthep_archive.data.strictjson import read_json
from fasthep_archive.data.tables import Reading, Table, tables
from fasthep_archive.digest import JSON, Digest, of_stream
from fasthep_archive.errors import DataError
from fasthep_archive.files import Bytes, opened, read_all
from fasthep_archive.formula.columns import Array, Column, ColumnType

if TYPE_CHECKING:
    import awkward as ak

    from fasthep_archive.data.source import EventSource

_ARRAY = b"fasthep-archive array 1\n"
_VALUE = b"fasthep-archive value 1\n"
_STEP = 1 << 17
_PROMOTED = {"bool": np.bool_, "int64": np.int64, "float64": np.float64, "text": np.int64}
_TABLES = (".arrow", ".feather", ".npz", ".parquet")
"""Suffixes of files that hold columns, and no trees."""
Path: TypeAlias = tuple[str, ...]
Leaf: TypeAlias = tuple[Path, Array]
Flow: TypeAlias = tuple[Path, str, int, Iterator[Array]]
"""A buffer as it is digested: what it means, the type of its values, how many there are, and these, piece by piece."""
Pieces: TypeAlias = "Callable[[], Iterator[ak.contents.Content]]"
"""Yields the pieces of an array, one at least; again whenever it is called."""
_RECORD: Leaf = (("record",), np.zeros(0, np.bool_))
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def of_output(content: Bytes, name: str) -> Digest:
    """Return the digest of the content of the output called ``name``.

    Columns and cells are read piece by piece, so that a file of any size takes little memory.

    A file that is not what its name says (JSON with a key twice, say) has no content but its bytes.
    """
    kind = kind_of(name)
    try:
        if name.endswith(".json"):
            value = read_json(read_all(content), name)
            return of_value(_without_writer(value) if kind == "histogram" else value)
        if name.endswith(".csv"):
            return _of_cells(content)
        if name.endswith(_TABLES):
            found = tables(content)
            return _of_table(*found) if found[0].name == "" else _of_tables(found)
        if name.endswith(".root"):
            if holds_histograms(content):
                return of_value({item.path: _of_root(item) for item in read_histograms(content)})
            return _of_tables(tables(content))
    except (DataError, ValueError, csv.Error):
        pass
    return of_stream(opened(content))


def of_value(value: JSON) -> Digest:
    """Return the digest of a JSON value. Type-true: 1, 1.0, true and "1" are four values."""
    found = hashlib.sha256(_VALUE)
    for token in _tokens(value):
        found.update(token)
    return Digest(found.hexdigest())


def of_array(array: ak.Array) -> Digest:
    """Return the digest of an awkward array: the same for its copies in memory, Parquet, a TTree and an RNTuple.

    :raises DataError: if some of it has no such form (unions, objects).
    """
    import awkward as ak

    packed = ak.to_packed(ak.Array(array)).layout
    return _of_leaves(len(packed), _leaves(packed, ()))


def of_columns(columns: Mapping[str, Column]) -> Digest:
    """Return the digest of columns with as many events each: that of the awkward array with these fields."""
    events = {len(column) for column in columns.values()}
    if len(events) > 1:
        raise ValueError(f"columns of different lengths: {sorted(events)}")
    leaves = chain.from_iterable(_column_leaves(columns[name], ("field", name)) for name in sorted(columns))
    return _of_leaves(max(events, default=0), chain([_RECORD], leaves))


def of_events(events: EventSource) -> Digest:
    """Return the digest of a file's events: the same for the same events in every kind of file.

    That of their columns as formulas see them, numbers promoted to float64 and int64. Columns that only count the
    values of others are left out, and so are those that formulas can't take. One column at a time is in memory.
    """
    types = dict(_usable(events))
    counters = {kind.structure.name for kind in types.values() if kind.structure is not None}
    names = sorted(types.keys() - counters)

    def leaves() -> Iterator[Leaf]:
        for name in names:
            column = events.read([name], 0, events.entries)[name]
            promoted: Array = column.content.astype(_PROMOTED[types[name].dtype], copy=False)
            yield from _column_leaves(replace(column, content=promoted), ("field", name))

    return _of_leaves(events.entries, chain([_RECORD], leaves()))


def _usable(events: EventSource) -> Iterator[tuple[str, ColumnType]]:
    types = events.types()
    for name in types:
        try:
            yield name, types[name]
        except DataError:
            continue


def leaves_of(array: ak.Array) -> Iterator[Leaf]:
    """Yield the buffers of an array that mean something, each with the path that says what it means.

    A path ends in ``list`` (offsets of lists), ``text`` (offsets of texts), ``valid`` (where values are not missing),
    ``record`` (nothing) or, with the values, in a name, ``item`` or ``present``.

    :raises DataError: if some of it has no such form (unions, objects).
    """
    import awkward as ak

    return _leaves(ak.to_packed(ak.Array(array)).layout, ())


def _of_tables(found: Iterable[Table]) -> Digest:
    return of_value({table.name: _of_table(table) for table in found})


def _of_root(histogram: RootHistogram) -> JSON:
    """Return the content of a histogram in a ROOT file."""
    arrays = {"values": histogram.values, "variances": histogram.variances}
    return {
        "axes": [
            {"label": axis.label, "edges": _of_numbers(axis.edges), "labels": list(axis.labels)}
            for axis in histogram.axes
        ],
        "bins": {name: None if array is None else _of_numbers(array) for name, array in arrays.items()},
    }


def _of_numbers(array: Array) -> Digest:
    return _of_leaves(array.size, [((*map(str, array.shape),), array.ravel())])


def _of_table(table: Table) -> Digest:
    """Return the digest of a table: that of the awkward array with these fields."""
    try:
        flows = (_of_column(name, table.columns[name], table.entries) for name in sorted(table.columns))
        return _of_flows(table.entries, chain([_flow(_RECORD)], chain.from_iterable(flows)))
    except _Uneven:
        columns = ((name, leaves_of(table.columns[name]())) for name in sorted(table.columns))
        leaves = ((("field", name, *path), values) for name, found in columns for path, values in found)
        return _of_leaves(table.entries, chain([_RECORD], leaves))


def _of_leaves(length: int, leaves: Iterable[Leaf]) -> Digest:
    return _of_flows(length, map(_flow, leaves))


def _of_flows(length: int, flows: Iterable[Flow]) -> Digest:
    found = hashlib.sha256(_ARRAY)
    found.update(f"{length}\n".encode())
    for path, kind, size, pieces in flows:
        found.update(f"{json.dumps([*path, kind, size])}\n".encode())
        for values in pieces:
            for start in range(0, len(values), _STEP):
                found.update(_canonical(values[start : start + _STEP]).data)
    return Digest(found.hexdigest())


def _flow(leaf: Leaf) -> Flow:
    path, values = leaf
    return path, _type(values), values.size, iter((values,))


class _Uneven(Exception):
    """Pieces of one column are put together in different ways."""


def _of_column(name: str, column: Reading, length: int) -> Iterator[Flow]:
    """Yield the buffers of a column, which is read again for each of them if it has several pieces."""
    first = list(islice(column.pieces(), 2))
    pieces = column.pieces if len(first) > 1 else lambda: iter(first)
    del first[1:]
    return _flows(lambda: map(_packed, pieces()), length, ("field", name))


def _packed(array: ak.Array) -> ak.contents.Content:
    import awkward as ak

    return ak.to_packed(ak.Array(array)).layout


def _flows(pieces: Pieces, length: int, path: Path) -> Iterator[Flow]:
    """Yield what :func:`_leaves` yields of an array that comes in pieces, buffer by buffer.

    :param length: of the array. What a flow has is to be taken before the next flow is asked for.
    :raises _Uneven: if the pieces are not of one form.
    """
    layout = next(pieces())
    if layout.is_option:
        present = sum(int(np.count_nonzero(valid)) for valid in _masks(pieces))
        if present < length:
            yield (*path, "valid"), "b1", length, _masks(pieces)
        inner = path if present == length else (*path, "present")
        yield from _flows(lambda: (piece.project() for piece in _options(pieces)), present, inner)
    elif layout.is_indexed:
        yield from _flows(lambda: (piece.project() for piece in pieces()), length, path)
    elif layout.is_record:
        yield _flow(((*path, *_RECORD[0]), _RECORD[1]))
        for field in sorted(layout.fields):
            yield from _flows(partial(_fields, pieces, field), length, (*path, "field", field))
    elif layout.is_list:
        kind, ends = _kind(layout), _Ends(pieces)
        yield (*path, kind), "i8", length + 1, iter(ends)
        yield from _flows(partial(_items, pieces), ends.last, (*path, "item"))
    elif layout.is_numpy:
        values = np.asarray(layout.data)
        yield path, _type(values), length * math.prod(values.shape[1:]), _numbers(pieces, values.dtype)
    else:
        yield from map(_flow, _leaves(layout, path))


def _options(pieces: Pieces) -> Iterator[ak.contents.Content]:
    for piece in pieces():
        if not piece.is_option:
            raise _Uneven
        yield piece


def _masks(pieces: Pieces) -> Iterator[Array]:
    return (np.asarray(piece.mask_as_bool(valid_when=True)) for piece in _options(pieces))


def _fields(pieces: Pieces, field: str) -> Iterator[ak.contents.Content]:
    for piece in pieces():
        if not piece.is_record or field not in piece.fields:
            raise _Uneven
        yield piece[field]


def _lists(pieces: Pieces) -> Iterator[ak.contents.Content]:
    for piece in pieces():
        if not piece.is_list or piece.is_option:
            raise _Uneven
        yield piece.to_ListOffsetArray64(True)


def _items(pieces: Pieces) -> Iterator[ak.contents.Content]:
    return (plain.content[: int(plain.offsets[-1])] for plain in _lists(pieces))


def _numbers(pieces: Pieces, dtype: np.dtype[Any]) -> Iterator[Array]:
    for piece in pieces():
        if not piece.is_numpy or piece.data.dtype != dtype:
            raise _Uneven
        yield np.asarray(piece.data)


class _Ends:
    """The offsets of lists that come in pieces. :ivar last: the last one, once all have been taken."""

    def __init__(self, pieces: Pieces) -> None:
        self.last = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[Array]:
        yield np.zeros(1, np.int64)
        for plain in _lists(self._pieces):
            offsets = np.asarray(plain.offsets.data)
            yield offsets[1:] + self.last
            self.last += int(offsets[-1])


def _column_leaves(column: Column, path: Path) -> Iterator[Leaf]:
    if column.words:
        words = [word.encode() for word in column.words]
        lengths = np.array([len(word) for word in words], np.int64)[column.content]
        yield (*path, "text"), np.concatenate([[0], np.cumsum(lengths)])
        joined = b"".join(words[code] for code in column.content)
        yield (*path, "item"), np.frombuffer(joined, np.uint8)
        return
    if column.offsets is not None:
        yield (*path, "list"), column.offsets
        path = (*path, "item")
    if column.valid is None or column.valid.all():
        yield path, column.content
    else:
        yield (*path, "valid"), column.valid
        yield (*path, "present"), column.content[column.valid]


def _leaves(layout: ak.contents.Content, path: Path) -> Iterator[Leaf]:
    """Yield the path and the values of each buffer that means something."""
    if layout.is_option:
        valid = np.asarray(layout.mask_as_bool(valid_when=True))
        if not valid.all():
            yield (*path, "valid"), valid
        yield from _leaves(layout.project(), path if valid.all() else (*path, "present"))
    elif layout.is_indexed:
        yield from _leaves(layout.project(), path)
    elif layout.is_record:
        yield (*path, *_RECORD[0]), _RECORD[1]
        for field in sorted(layout.fields):
            yield from _leaves(layout[field], (*path, "field", field))
    elif layout.is_list:
        plain = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(plain.offsets.data)
        yield (*path, _kind(layout)), offsets
        yield from _leaves(plain.content[: int(offsets[-1])], (*path, "item"))
    elif layout.is_numpy:
        yield path, np.asarray(layout.data)
    elif layout.is_unknown:
        yield (*path, "nothing"), np.zeros(0, np.bool_)
    else:
        raise DataError(f"{type(layout).__name__} has no content digest")


def _kind(layout: ak.contents.Content) -> str:
    return "text" if layout.parameter("__array__") in {"string", "bytestring"} else "list"


def _type(values: Array) -> str:
    """Return what the values are, without byte order: ``b1``, ``i4``, ``f8``, ``M8[ns]`` ..."""
    if values.dtype.kind not in "biufcmM" or values.dtype.itemsize > 16 or values.dtype.char in "gG":
        raise DataError(f"values of type {values.dtype} have no content digest")  # long double differs by platform
    return values.dtype.str[1:]


def _canonical(values: Array) -> Array:
    """Return the values contiguous and little-endian, with one pattern for NaN, which no operation preserves."""
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    if plain.dtype.kind in "fc":
        parts = plain.view(f"<f{plain.dtype.itemsize // (1 if plain.dtype.kind == 'f' else 2)}")
        missing = np.isnan(parts)
        if missing.any():
            parts = np.where(missing, parts.dtype.type(np.nan), parts)
        return parts
    return plain.view(f"u{plain.dtype.itemsize}")


def _without_writer(value: JSON) -> JSON:
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key != "writer_info"}
    return value


def _tokens(value: JSON) -> Iterator[bytes]:
    """Yield the value as bytes that no other value has."""
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


def _of_cells(content: Bytes) -> Digest:
    """Return the digest of the cells of a CSV file, row by row: that of a list of lists."""
    found = hashlib.sha256(_VALUE)
    found.update(b"[%d:" % sum(1 for _ in _rows(content)))
    for row in _rows(content):
        found.update(b"[%d:%b" % (len(row), b"".join(map(_cell, row))))
    return Digest(found.hexdigest())


def _rows(content: Bytes) -> Iterator[list[str]]:
    """Return the rows of a CSV file (RFC 4180; any line ends)."""
    return csv.reader(io.TextIOWrapper(opened(content), "utf-8", newline=""), strict=True)


def _cell(text: str) -> bytes:
    """Return a cell as :func:`_tokens` has it: whole numbers and others as numbers, what is neither as text."""
    if _INTEGER.fullmatch(text):
        return b"i%d;" % int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return f"d{number.hex()};".encode()
    encoded = text.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(encoded), encoded)
