"""ROOT files with one tree (a TTree or an RNTuple), written by uproot, with bytes that depend on the events alone.

What would make each file another one is taken out: all dates are :data:`DATE`, the file's identity (UUID) is its
digest, no path enters, and clusters begin at multiples of :data:`CLUSTER` events, however these came. What is left is
the software: another version of uproot, or of a compression's library, may write the same events otherwise.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast
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
from fasthep_archive.digest import JSON
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
_SEEKS = {b"\x00\x04": 4, b"\x03\xec": 8}
"""Versions of a TKey, and the bytes of a position in it (https://root.cern/doc/master/classTKey.html)."""
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

    def write(self, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST) -> bytes:
        return write_tree(self, branches, parts, types)


def write_tree(form: TreeForm, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST) -> bytes:
    """Return a ROOT file that has the events of all ``parts``, one after the other, in one tree.

    A dot in the name of an RNTuple's field is a step into a record. For the rest see
    :meth:`fasthep_archive.data.forms.Form.write`.
    """
    refuse(misnamed(branches, "a branch"))
    pieces = clusters(branches, parts, types)
    first = next(pieces)

    def fill(file: WritableFile) -> None:
        tree = _created(file, form, branches, first)
        for cluster in chain([first], pieces):
            if len(cluster[branches[0].name]):
                tree.extend(_rows(form, branches, cluster))

    return timeless_file(form.compression, form.level, fill)


class _Target(io.BytesIO):
    """Bytes that can be read after the file in them has been closed."""

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


def timeless_file(compression: Compression, level: int, fill: Callable[[WritableFile], None]) -> bytes:
    """Return a ROOT file that ``fill`` has put objects into, without dates and with its digest as its identity."""
    import uproot

    algorithms = {"zlib": uproot.ZLIB, "lz4": uproot.LZ4, "zstd": uproot.ZSTD}
    chosen = None if compression == "none" else algorithms[compression](level)
    target = _Target()
    with uproot.recreate(target, compression=chosen, uuid_function=lambda: UUID(bytes=_IDENTITY)) as file:
        fill(cast("WritableFile", file))
    return _timeless(target.getvalue())


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
