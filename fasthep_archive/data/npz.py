"""Events in a NumPy archive (``.npz``): one array is one column, or the lengths of lists. Nothing is unpickled.

The lists of an array ``NAME`` lie one after the other in it; ``NAME_offsets`` says where each begins, and where the
last ends, or ``NAME_counts`` how long each is. What ``Muon_offsets`` or ``Muon_counts`` says holds for all arrays whose
names begin with ``Muon_`` and that have none of their own. Arrays of two dimensions are lists of a fixed length.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import LazyTypes, checked, sharing_offsets, unsupported
from fasthep_archive.data.source import Read
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array, Column, ColumnType, DType, Structure, starts

_ZIP = b"PK\x03\x04"
_EMPTY = b"PK\x05\x06"
_OFFSETS, _COUNTS = "_offsets", "_counts"
_KINDS: Mapping[str, DType] = {"b": "bool", "i": "int64", "u": "int64", "f": "float64", "U": "text"}
_STEP = 1 << 16
"""Counts that are summed up at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """An array of the archive: its file, its type, its shape, and where its values begin in the file."""

    file: str
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    fortran: bool


class NpzSource(AbstractContextManager["NpzSource"]):
    """The events of an open NumPy archive; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path) -> None:
        """:raises DataError: if the file is damaged, or its arrays don't belong together."""
        self._path = path
        self._sums: dict[str, NDArray[np.int64]] = {}
        self._streams: dict[str, IO[bytes]] = {}
        self._open = ExitStack()
        with ExitStack() as opening:
            with told(path):
                self._zip = opening.enter_context(zipfile.ZipFile(path))
                files = [name for name in self._zip.namelist() if name.endswith(".npy")]
                self._members = {name.removesuffix(".npy"): self._header(name) for name in files}
            opening.callback(self._forget)
            self._entries = self._counted()
            self._open = opening.pop_all()
        names = [name for name in self._members if not self._is_offsets(name)]
        self._types = LazyTypes(dict.fromkeys(names), self._type, str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _forget(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    @property
    def entries(self) -> int:
        return self._entries

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return 0 and the number of events: reading can start and stop anywhere."""
        return tuple(sorted({0, self._entries}))

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        if not 0 <= start <= stop <= self._entries:
            raise ValueError(f"entries {start} to {stop} of {self._entries}")
        names = list(columns)
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        offsets = {lists: self._offsets(lists, start, stop) for lists in {self._lists(name) for name in names} if lists}
        found = {name: self._column(name, offsets, start, stop) for name in names}
        return sharing_offsets(found, types)

    def _column(self, name: str, offsets: Mapping[str, NDArray[np.int64]], start: int, stop: int) -> Column:
        lists, member = self._lists(name), self._members[name]
        if lists:
            places = offsets[lists]
            values = self._values(name, int(places[0]), int(places[-1]))
            return Column(checked(values, name), places - places[0])
        values = self._values(name, start, stop)
        if member.dtype.kind == "U":
            return _texts(values)
        if len(member.shape) == 2:
            return Column(checked(values.reshape(-1), name), np.arange(stop - start + 1) * member.shape[1])
        return Column(checked(values, name))

    def _type(self, name: str) -> ColumnType:
        member, lists = self._members[name], self._lists(name)
        size = member.shape[1] if len(member.shape) == 2 else None
        listed = bool(lists) or size is not None
        dtype = _KINDS.get(member.dtype.kind)
        known = dtype is not None and (member.dtype.kind != "f" or member.dtype.itemsize <= 8)
        if not known or dtype is None or len(member.shape) > 2 or (listed and dtype == "text") or (lists and size):
            raise unsupported(name, f"an array of {member.dtype} with the shape {member.shape}")
        if member.fortran and size is not None:
            raise unsupported(name, "an array in the order of Fortran")
        structure = Structure(f"[{size}]", counted=True) if size is not None else None
        if lists:
            own = lists in (f"{name}{_OFFSETS}", f"{name}{_COUNTS}")
            counter = lists if lists.endswith(_COUNTS) else lists.removesuffix(_OFFSETS)
            structure = Structure(counter, counted=lists.endswith(_COUNTS) or not own)
        return ColumnType(dtype, structure)

    def _header(self, file: str) -> _Member:
        """Return what the first bytes of an array say; see numpy.lib.format."""
        from numpy.lib import format as npy

        with self._zip.open(file) as stream:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            return _Member(file=file, dtype=dtype, shape=shape, start=stream.tell(), fortran=fortran)

    def _is_offsets(self, name: str) -> bool:
        return name.endswith(_OFFSETS) and self._members[name].dtype.kind in "iu"

    def _lists(self, name: str) -> str:
        """Return the array that says where the lists of ``name`` are; empty if its values are no lists."""
        if name.endswith((_OFFSETS, _COUNTS)):
            return ""
        stem = name
        while stem:
            for lists in (f"{stem}{_OFFSETS}", f"{stem}{_COUNTS}"):
                if lists in self._members:
                    return lists
            stem = stem.rpartition("_")[0]
        return ""

    def _counted(self) -> int:
        """Return the number of events; raise if arrays say different ones, or lists end where their array doesn't."""
        if not self._members:
            raise DataError(f"{self._path} has no arrays")
        found: dict[int, str] = {}
        for name, member in self._members.items():
            if not member.shape:
                raise DataError(
                    f"{name!r} of {self._path} is a single value", hint="events need an array with one each"
                )
            if not self._lists(name):
                found.setdefault(member.shape[0] - self._is_offsets(name), name)
        if len(found) > 1:
            (first, one), (second, other) = list(found.items())[:2]
            hint = f"lists need {other}{_OFFSETS} or {other}{_COUNTS} beside their values"
            message = f"{one!r} of {self._path} has {first} events and {other!r} has {second}"
            raise DataError(message, hint=hint)
        for name in self._members:
            if lists := self._lists(name):
                self._check_end(name, lists)
        return max(next(iter(found)), 0)

    def _check_end(self, name: str, lists: str) -> None:
        """Raise if lists end before or behind the values of their array."""
        length = self._members[name].shape[0]
        end = int(self._marks(lists)[-1]) if lists.endswith(_COUNTS) else int(self._values(lists, -1, None)[0])
        if end != length:
            message = f"{name!r} of {self._path} has {length} values, and by {lists!r} it has {end}"
            raise DataError(message, hint="lists lie one after the other, without gaps")

    def _offsets(self, lists: str, start: int, stop: int) -> NDArray[np.int64]:
        """Return where the lists of events begin and end in their arrays."""
        if lists.endswith(_OFFSETS):
            found = self._values(lists, start, stop + 1).astype(np.int64)
        else:
            mark = start // _STEP
            counts = self._values(lists, mark * _STEP, stop).astype(np.int64)
            found = (starts(counts) + self._marks(lists)[mark])[start - mark * _STEP :]
        if (np.diff(found) < 0).any() or (found[:1] < 0).any():
            raise DataError(f"{lists!r} of {self._path} says that lists have fewer than no values")
        return found

    def _marks(self, lists: str) -> NDArray[np.int64]:
        """Return the sums of counts before every :data:`_STEP`-th event, and of all."""
        if lists not in self._sums:
            size = self._members[lists].shape[0]
            pieces = range(0, size, _STEP)
            sums = [int(self._values(lists, at, min(at + _STEP, size)).astype(np.int64).sum()) for at in pieces]
            self._sums[lists] = starts(np.array(sums, np.int64))
        return self._sums[lists]

    def _values(self, name: str, start: int, stop: int | None) -> Array:
        """Return the values ``start`` to ``stop`` of an array along its first dimension, as a slice has them."""
        member = self._members[name]
        first, last, _ = slice(start, stop).indices(member.shape[0])
        if member.dtype.hasobject:
            raise unsupported(name, "Python objects, which would have to be unpickled")
        inner = member.shape[1:]
        row = member.dtype.itemsize * int(np.prod(inner, dtype=np.int64))
        with told(self._path, f"array {name!r}"):
            if member.file not in self._streams:
                self._streams[member.file] = self._zip.open(member.file)
            stream = self._streams[member.file]
            stream.seek(member.start + first * row)
            raw = stream.read(max(last - first, 0) * row)
            values = np.frombuffer(raw, member.dtype).reshape(max(last - first, 0), *inner)
        return values.astype(member.dtype.newbyteorder("="), copy=False)


def open_npz(path: Path, read: Read) -> NpzSource:  # noqa: ARG001 - as all kinds are called
    """Return the events of a NumPy archive; a context manager.

    :param read: it has nothing to say: such a file holds one table.
    :raises DataError: if the file can't be read or is none, or its arrays don't belong together.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory, not a NumPy archive", hint="list its files one by one")
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    if not start:
        raise DataError(f"{path} is empty")
    if start not in (_ZIP, _EMPTY):
        hint = "write it with numpy.savez(path, name=array)" if start == b"\x93NUM" else None
        raise DataError(f"{path} is not a NumPy archive: it does not begin as zip files do", hint=hint)
    return NpzSource(path)


def _texts(values: Array) -> Column:
    """Return texts as positions among the distinct ones, in order of appearance."""
    distinct, first, places = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(order.size)
    return Column(ranks[places.reshape(-1)].astype(np.int64), words=tuple(map(str, distinct[order])))
