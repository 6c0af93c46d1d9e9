"""ROOT files with one tree (a TTree or an RNTuple), written by uproot, with bytes that depend on the events alone.

What would make each file another one is taken out: all dates are :data:`DATE`, the file's identity (UUID) is its
digest, no path enters, and clusters begin at multiples of :data:`CLUSTER` events, however these came. What is left is
the software: another version of uproot, or of a compression's library, may write the same events otherwise.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast
from uuid import UUID

import numpy as np

from fasthep_archive.data.layouts import layout_of
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, concatenated, sliced

if TYPE_CHECKING:
    import awkward as ak

Format: TypeAlias = Literal["rntuple", "ttree"]
Compression: TypeAlias = Literal["zlib", "lz4", "zstd", "none"]
Columns: TypeAlias = Mapping[str, Column]

CLUSTER = 1 << 16
"""Events per cluster of an RNTuple, and per basket of each branch of a TTree."""
DATE = ((1 << 22) | (1 << 17)).to_bytes(4, "big")
"""1995-01-01 00:00:00 as ROOT codes it (https://root.cern/doc/master/classTDatime.html): the earliest date it has."""
_IDENTITY = hashlib.sha256(b"the identity of a file that has none yet").digest()[:16]
"""Stands for the file's UUID while it is written."""
_CLASSES = (b"TFile", b"TDirectory", b"TTree", b"TBasket", b"TList", b"RBlob", b"ROOT::RNTuple")
"""Of the records that uproot writes."""
_SEEKS = {b"\x00\x04": 4, b"\x03\xec": 8}
"""Versions of a TKey, and the bytes of a position in it (https://root.cern/doc/master/classTKey.html)."""
_UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]")
_LONGEST = 7
"""Days that the writing of a file takes, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeForm:
    """How a tree is written.

    :ivar tree: its name, below directories with ``/``.
    :ivar level: of the compression: 0 to 9 (zlib), 12 (lz4) or 22 (zstd).
    """

    tree: str
    format: Format = "rntuple"
    compression: Compression = "zlib"
    level: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """A column as it is written.

    :ivar optional: whether values can be missing, which only an RNTuple holds.
    :ivar counter: of lists in a TTree, the branch with their lengths, which several can share.
    """

    name: str
    text: bool = False
    optional: bool = False
    counter: str = ""


def write_tree(form: TreeForm, branches: Sequence[Branch], parts: Iterable[Columns]) -> bytes:
    """Return a ROOT file that has the events of all ``parts``, one after the other, in one tree.

    Types are those of the first part. Half-precision floats, which uproot can't write, become floats. A dot in the name
    of an RNTuple's field is a step into a record.

    :param branches: at least one. :param parts: at least one, with a column for each branch; consumed one by one.
    :raises DataError: if parts don't fit together, or the format can't hold a branch.
    """
    for branch in branches:
        if not fits(branch.name):
            raise DataError(
                f"{branch.name!r} can't be the name of a branch", hint="leave / \\ and control characters out"
            )
    clusters = _clusters(_alike(branches, parts))
    first = next(clusters)
    target = _Target()
    with _opened(target, form) as file:
        tree = _created(file, form, branches, first)
        for cluster in chain([first], clusters):
            if len(cluster[branches[0].name]):
                tree.extend(_rows(form, branches, cluster))
    return _timeless(target.getvalue())


def fits(name: str) -> bool:
    """Say whether a branch can be called ``name``: what readers take for paths and control characters are refused."""
    return bool(name) and not _UNFIT.search(name)


class _Target(io.BytesIO):
    """Bytes that can be read after the file in them has been closed."""

    def close(self) -> None:
        """Do nothing."""


class _Tree(Protocol):
    """What is used of uproot's writable trees."""

    def extend(self, data: Mapping[str, ak.Array]) -> None: ...


class _File(Protocol):
    """What is used of uproot's writable files."""

    def mktree(self, name: str, types: Mapping[str, object], *, counter_name: Callable[[str], str]) -> _Tree: ...

    def mkrntuple(self, name: str, types: Mapping[str, object]) -> _Tree: ...


def _opened(target: io.BytesIO, form: TreeForm) -> AbstractContextManager[_File]:
    import uproot

    algorithms = {"zlib": uproot.ZLIB, "lz4": uproot.LZ4, "zstd": uproot.ZSTD}
    chosen = None if form.compression == "none" else algorithms[form.compression](form.level)
    opened = uproot.recreate(target, compression=chosen, uuid_function=lambda: UUID(bytes=_IDENTITY))
    return cast("AbstractContextManager[_File]", opened)


def _created(file: _File, form: TreeForm, branches: Sequence[Branch], first: Columns) -> _Tree:
    """Return the tree, without entries, with the types of the columns ``first``."""
    types = {name: array.type.content for name, array in _rows(form, branches, first).items()}
    counters = {branch.name: branch.counter for branch in branches}
    try:
        if form.format == "rntuple":
            return file.mkrntuple(form.tree, types)
        return file.mktree(form.tree, types, counter_name=counters.__getitem__)
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        message = f"can't write the {form.format} {form.tree!r}: {next(iter(str(error).splitlines()), error)}"
        hint = "keep columns of numbers, booleans and texts, and lists of numbers or booleans"
        raise DataError(message, hint=hint) from error


def _rows(form: TreeForm, branches: Sequence[Branch], columns: Columns) -> dict[str, ak.Array]:
    """Return what is written, by the names at the top of the tree."""
    import awkward as ak

    arrays = {
        branch.name: ak.Array(layout_of(columns[branch.name], text=branch.text, optional=branch.optional))
        for branch in branches
    }
    return arrays if form.format == "ttree" else _nested(arrays)


def _nested(arrays: Mapping[str, ak.Array]) -> dict[str, ak.Array]:
    """Return the arrays, those with dotted names as fields of records."""
    import awkward as ak

    groups: dict[str, dict[str, ak.Array]] = {}
    for name, array in arrays.items():
        first, _, rest = name.partition(".")
        groups.setdefault(first, {})[rest] = array
    for first, members in groups.items():
        if not first or (len(members) > 1 and "" in members):
            hint = "give one of them another name, or write format: ttree"
            raise DataError(f"an RNTuple can't have a field {first!r} with values and fields of its own", hint=hint)
    return {
        first: members[""] if "" in members else ak.zip(_nested(members), depth_limit=1)
        for first, members in groups.items()
    }


def _alike(branches: Sequence[Branch], parts: Iterable[Columns]) -> Iterator[dict[str, Column]]:
    """Yield the columns of all parts, with the types of the first."""
    types: dict[str, Any] = {}
    for part in parts:
        columns = {branch.name: part[branch.name] for branch in branches}
        for name, column in columns.items():
            half = column.content.dtype == np.float16
            wanted = types.setdefault(name, np.dtype(np.float32) if half else column.content.dtype)
            if not np.can_cast(column.content.dtype, wanted, "safe"):
                hint = f"define it with one type, for example {{name: NAME, expr: {name}, dtype: float64}}"
                message = f"column {name!r} is {wanted} in some files and {column.content.dtype} in others"
                raise DataError(message, hint=hint)
            columns[name] = replace(column, content=column.content.astype(wanted, copy=False))
        yield columns


def _clusters(parts: Iterable[dict[str, Column]]) -> Iterator[dict[str, Column]]:
    """Yield the columns in pieces of :data:`CLUSTER` events; the last has fewer, or none."""
    waiting: list[dict[str, Column]] = []
    held = 0
    for part in parts:
        events, start = len(next(iter(part.values()))), 0
        while held + events - start >= CLUSTER:
            stop = start + CLUSTER - held
            yield _together([*waiting, sliced(part, start, stop)])
            waiting, held, start = [], 0, stop
        waiting.append(sliced(part, start, events))
        held += events - start
    yield _together(waiting)


def _together(pieces: Sequence[Columns]) -> dict[str, Column]:
    return {name: concatenated([piece[name] for piece in pieces]) for name in pieces[0]}


def _timeless(content: bytes) -> bytes:
    """Return the file with :data:`DATE` for all its dates, and an identity that is a digest of the rest."""
    places = [*_dates_of_records(content), *_dates_of_directories(content)]
    days = [_days(content[place : place + 4]) for place in places]
    changed = bytearray(content)
    for place, day in zip(places, days, strict=True):
        if 0 <= day - days[0] <= _LONGEST:  # else it only looks like a date
            changed[place : place + 4] = DATE
    identity = UUID(bytes=hashlib.sha256(changed).digest()[:16], version=4)
    return bytes(changed.replace(_IDENTITY, identity.bytes))


def _dates_of_records(content: bytes) -> Iterator[int]:
    """Yield where the dates of records are, that of the file itself first.

    A TKey has its version, the size of the object, the date, two short numbers, two positions, and the class.
    """
    for name in _CLASSES:
        for place in _occurrences(content, bytes([len(name)]) + name):
            for version, size in _SEEKS.items():
                start = place - 2 * size - 14
                if content[start : start + 2] == version and content[start + 12] == 0:
                    yield start + 6


def _dates_of_directories(content: bytes) -> Iterator[int]:
    """Yield where the dates of directories are.

    A TDirectory has its version, two dates, two sizes, three positions, and its UUID.
    """
    for place in _occurrences(content, b"\x00\x01" + _IDENTITY):
        for version, size in ((b"\x00\x05", 4), (b"\x03\xed", 8)):
            start = place - 3 * size - 18
            if content[start : start + 2] == version:
                yield from (start + 2, start + 6)


def _occurrences(content: bytes, wanted: bytes) -> Iterator[int]:
    place = content.find(wanted)
    while place >= 0:
        yield place
        place = content.find(wanted, place + 1)


def _days(code: bytes) -> int:
    """Return the day of a date as ROOT codes it, counted as if all months had 31 days."""
    number = int.from_bytes(code, "big") >> 17
    year, month, day = number >> 9, (number >> 5) & 15, number & 31
    return (year * 12 + month) * 31 + day
