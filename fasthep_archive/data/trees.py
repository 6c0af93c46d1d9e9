"""ROOT files with one tree (a TTree or an RNTuple), written by uproot, with bytes that depend on the events alone.

What would make each file another one is taken out: all dates are :data:`DATE`, the file's identity (UUID) is its
digest, no path enters, and clusters begin at multiples of :data:`CLUSTER` events, however these came. What is left is
the software: another version of uproot, or of a compression's library, may write the same events otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias, cast
from uuid import UUID

from fasthep_archive.data.forms import (
    AS_FIRST,
    Branch,
    Columns,
    Group,
    Types,
    Unfit,
    clusters,
    grouped,
    misnamed,
    missing,
    refuse,
)
from fasthep_archive.data.layouts import layout_of
from fasthep_archive.digest import JSON, of_stream
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    import awkward as ak

Format: TypeAlias = Literal["rntuple", "ttree"]
Compression: TypeAlias = Literal["zlib", "lz4", "zstd", "none"]

DATE = ((1 << 22) | (1 << 17)).to_bytes(4, "big")
"""1995-01-01 00:00:00 as ROOT codes it (https://root.cern/doc/master/classTDatime.html): the earliest date it has."""
_IDENTITY = hashlib.sha256(b"the identity of a file that has none yet").digest()[:16]
"""Stands for the file's UUID while it is written."""
_CLASSES = (
    *(b"TFile", b"TDirectory", b"TTree", b"TBasket", b"TList", b"RBlob", b"ROOT::RNTuple"),
    *(b"TH1D", b"TH2D", b"TH3D"),
)
"""Of the records that uproot writes."""
_RECORDS = tuple(bytes([len(name)]) + name for name in _CLASSES)
_DIRECTORY = b"\x00\x01" + _IDENTITY
_WINDOW = 1 << 22
"""Bytes of a file that are looked through at once."""
_SEEKS = {b"\x00\x04": 4, b"\x03\xec": 8}
"""Versions of a TKey, and the bytes of a position in it (https://root.cern/doc/master/classTKey.html)."""
_LONGEST = 7
"""Days that the writing of a file takes, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeForm:
    """How a tree is written.

    A dot in the name of an RNTuple's field is a step into a record.

    :ivar tree: its name, below directories with ``/``.
    :ivar level: of the compression: 0 to 9 (zlib), 12 (lz4) or 22 (zstd).
    """

    tree: str
    format: Format = "rntuple"
    compression: Compression = "zlib"
    level: int = 1

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> TreeForm:
        """Return the form of a writer's checked parameters."""
        return cls(
            tree=str(params["tree"]),
            format=cast("Format", params["format"]),
            compression=cast("Compression", params["compression"]),
            level=int(cast("int", params["compression_level"])),
        )

    @property
    def suffix(self) -> str:
        return ".root"

    def canonical(self) -> JSON:
        return [self.tree, self.format, self.compression, self.level]

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        ttree = self.format == "ttree"
        return misnamed(branches, "a branch") or (missing(branches, "a TTree", "format: rntuple") if ttree else None)

    def write(
        self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST
    ) -> None:
        refuse(misnamed(branches, "a branch"))
        pieces = clusters(branches, parts, types)
        first = [next(pieces)]

        def fill(file: WritableFile) -> None:
            tree = _created(file, self, branches, first[0])
            for cluster in chain([first.pop()], pieces):
                if len(cluster[branches[0].name]):
                    tree.extend(_rows(self, branches, cluster))

        write_timeless(target, self.compression, self.level, fill)


class _Lent:
    """A file that stays open when uproot closes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def close(self) -> None:
        """Do nothing."""


class _Tree(Protocol):
    """What is used of uproot's writable trees."""

    def extend(self, data: Mapping[str, ak.Array]) -> None: ...


class WritableFile(Protocol):
    """What is used of uproot's writable files."""

    def mktree(self, name: str, types: Mapping[str, object], *, counter_name: Callable[[str], str]) -> _Tree: ...

    def mkrntuple(self, name: str, types: Mapping[str, object]) -> _Tree: ...

    def __setitem__(self, name: str, value: object) -> None: ...


def write_timeless(
    target: BinaryIO, compression: Compression, level: int, fill: Callable[[WritableFile], None]
) -> None:
    """Write a ROOT file that ``fill`` puts objects into, without dates and with its digest as its identity.

    :param target: an empty file to write, to read and to seek in.
    """
    import uproot

    algorithms = {"zlib": uproot.ZLIB, "lz4": uproot.LZ4, "zstd": uproot.ZSTD}
    chosen = None if compression == "none" else algorithms[compression](level)
    with uproot.recreate(_Lent(target), compression=chosen, uuid_function=lambda: UUID(bytes=_IDENTITY)) as file:
        fill(cast("WritableFile", file))
    _timeless(target)


def _created(file: WritableFile, form: TreeForm, branches: Sequence[Branch], first: Columns) -> _Tree:
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
    if form.format == "ttree":
        return arrays
    return {group.name: _nested(group, arrays) for group in grouped(list(arrays), "an RNTuple")}


def _nested(group: Group, arrays: Mapping[str, ak.Array]) -> ak.Array:
    """Return the array of a column, or a record of those of a group."""
    import awkward as ak

    if not group.members:
        return arrays[group.column]
    return ak.zip({name: _nested(member, arrays) for name, member in group.members.items()}, depth_limit=1)


def _timeless(target: BinaryIO) -> None:
    """Put :data:`DATE` in the place of all dates of a file, and a digest of the rest in that of its identity."""
    records, directories, identities = _marks(target)
    places = [*_dates_of_records(target, records), *_dates_of_directories(target, directories)]
    days = [_days(_at(target, place, 4)) for place in places]
    for place, day in zip(places, days, strict=True):
        if 0 <= day - days[0] <= _LONGEST:  # else it only looks like a date
            _put(target, place, DATE)
    target.seek(0)
    identity = UUID(hex=of_stream(target)[:32], version=4)
    for place in identities:
        _put(target, place, identity.bytes)


def _marks(target: BinaryIO) -> tuple[list[int], list[int], list[int]]:
    """Return where names of classes of records are, where directories have their identity, and where any is.

    In the order of the file, which is gone through once, a window at a time.
    """
    found: dict[bytes, list[int]] = {mark: [] for mark in (*_RECORDS, _DIRECTORY, _IDENTITY)}
    most, start, window = max(map(len, found)), 0, b""
    target.seek(0)
    while piece := target.read(_WINDOW):
        window += piece
        for mark, places in found.items():
            ends = most - len(mark)  # what ends before was found in the window before
            places.extend(start + place for place in _occurrences(window, mark, ends if start else 0))
        start += len(window) - len(window[1 - most :])
        window = window[1 - most :]
    return sorted(place for mark in _RECORDS for place in found[mark]), found[_DIRECTORY], found[_IDENTITY]


def _dates_of_records(target: BinaryIO, marks: Iterable[int]) -> Iterator[int]:
    """Yield where the dates of records are, that of the file itself first.

    A TKey has its version, the size of the object, the date, two short numbers, two positions, and the class.
    """
    for place in marks:
        for version, size in _SEEKS.items():
            start = place - 2 * size - 14
            if start >= 0 and _at(target, start, 2) == version and _at(target, start + 12, 1) == b"\0":
                yield start + 6


def _dates_of_directories(target: BinaryIO, marks: Iterable[int]) -> Iterator[int]:
    """Yield where the dates of directories are.

    A TDirectory has its version, two dates, two sizes, three positions, and its UUID.
    """
    for place in marks:
        for version, size in ((b"\x00\x05", 4), (b"\x03\xed", 8)):
            start = place - 3 * size - 18
            if start >= 0 and _at(target, start, 2) == version:
                yield from (start + 2, start + 6)


def _occurrences(window: bytes, mark: bytes, start: int) -> Iterator[int]:
    place = window.find(mark, start)
    while place >= 0:
        yield place
        place = window.find(mark, place + 1)


def _at(target: BinaryIO, place: int, size: int) -> bytes:
    target.seek(place)
    return target.read(size)


def _put(target: BinaryIO, place: int, content: bytes) -> None:
    target.seek(place)
    target.write(content)


def _days(code: bytes) -> int:
    """Return the day of a date as ROOT codes it, counted as if all months had 31 days."""
    number = int.from_bytes(code, "big") >> 17
    year, month, day = number >> 9, (number >> 5) & 15, number & 31
    return (year * 12 + month) * 31 + day
