"""Files of columns as outputs: the tables in a ROOT, Parquet, Arrow or npz file, column by column.

Of a TTree, the branches that only count the values of others are no columns: the lists themselves say it; nor are, of
an npz file, the offsets of lists. That, and nothing else, makes the columns of files with the same events the same.

An npz file whose arrays have different lengths is no table of events (parameters of a model, say): each of its arrays
is a table of its own.

A column is read whole or piece by piece, which takes as much memory as a few pieces do, however large the file is.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import UnknownColumn
from fasthep_archive.data.messages import batches_of_file
from fasthep_archive.data.npz_files import OFFSETS
from fasthep_archive.errors import DataError, nearest
from fasthep_archive.files import Bytes, Stretch, opened, size_of
from fasthep_archive.formula.columns import Array

if TYPE_CHECKING:
    import awkward as ak
    import pyarrow as pa
    from numpy.lib.npyio import NpzFile
    from pyarrow.parquet import ParquetFile
    from uproot.behaviors.TTree import TTree
    from uproot.reading import ReadOnlyDirectory

STEP: Final = 1 << 18
"""Entries of a column that are read at once, where a file lets itself be read so."""
_FILE: Final = Path("the file")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table: a tree of a ROOT file, an array of an npz file, or all of any other file, which has no name.

    :ivar columns: by name, each read when it is called; it raises DataError if the file is damaged.
    :ivar counters: likewise, the branches that only count the values of others.
    """

    name: str
    entries: int
    columns: Mapping[str, Reading]
    counters: Mapping[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A column that can be read any number of times.

    :ivar whole: returns it.
    :ivar cut: yields it in pieces, one at least, of :data:`STEP` entries or as the file has them.
    """

    name: str
    whole: Callable[[], ak.Array]
    cut: Callable[[], Iterator[ak.Array]]

    def __call__(self) -> ak.Array:
        """Return the column, read now.

        :raises DataError: if the file is damaged.
        """
        with told(_FILE, f"column {self.name!r}"):
            return self.whole()

    def pieces(self) -> Iterator[ak.Array]:
        """Yield the column in pieces, each read when it is asked for.

        :raises DataError: if the file is damaged.
        """
        with told(_FILE, f"column {self.name!r}"):
            yield from self.cut()


def tables(content: Bytes) -> tuple[Table, ...]:
    """Return the tables of a file, in the order of their names.

    :raises DataError: if it is none of these files, is damaged, has no table, or anything but tables.
    """
    start = opened(content).read(max(map(len, _READ)))
    with told(_FILE):
        for magic, read in _READ.items():
            if start.startswith(magic):
                found = sorted(read(content), key=lambda table: table.name)
                if not found:
                    raise DataError("the file has no trees" if magic == b"root" else "the file has no arrays")
                return tuple(found)
    raise DataError("the file is no ROOT, Parquet, Arrow or npz file")


class Columns(Mapping[str, "ak.Array"]):
    """The columns of a file with one table, by name: awkward arrays, read when they are asked for.

    :ivar entries: number of entries of each column.
    """

    def __init__(self, content: Bytes, read: Callable[[Bytes], tuple[Table, ...]] = tables) -> None:
        """Read the file; ``read`` says what it has.

        :raises DataError: as ``read`` does, and if the file has several tables.
        """
        found = read(content)
        if len(found) > 1:
            raise DataError(f"the file has several tables: {', '.join(table.name for table in found)}")
        self._columns = {**found[0].columns, **found[0].counters}
        self.entries = found[0].entries

    def __getitem__(self, name: str) -> ak.Array:
        """Return a column, read now.

        :raises UnknownColumn: if there is no such column; also a KeyError. :raises DataError: if the file is damaged.
        """
        if name not in self._columns:
            hint = nearest(name, self._columns) or f"its columns: {', '.join(self._columns)}"
            raise UnknownColumn(f"no column {name!r} in the file", hint=hint)
        return self._columns[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<{self.entries} entries of {', '.join(self)}>"


def sheet(content: Bytes) -> tuple[Table, ...]:
    """Return the one table of a CSV file with a line of names.

    What it says nowhere is guessed: a column whose cells are all numbers is int64 or float64, one of ``true`` and
    ``false`` is bool, others are texts. An empty cell is a missing value, and among texts an empty text.

    :raises DataError: if it is not such a file.
    """
    try:
        rows = list(csv.reader(io.TextIOWrapper(opened(content), "utf-8", newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the file is no CSV: {error}") from error
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError("the file is no table: its lines have different numbers of cells")
    cells = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    columns = {name: _at_once(name, partial(_guessed, column)) for name, column in cells.items()}
    return (Table(name="", entries=len(rows) - 1, columns=columns),)


def _guessed(cells: Sequence[str]) -> ak.Array:
    """Return the values of a CSV file's column."""
    import awkward as ak

    there = [cell for cell in cells if cell]
    for kind, read in _CELLS.items():
        if there and all(map(kind.fullmatch, there)):
            return ak.Array([read(cell) if cell else None for cell in cells])
    return ak.Array(cells) if cells else ak.Array([""])[:0]


_CELLS: Mapping[re.Pattern[str], Callable[[str], bool | int | float]] = {
    re.compile(r"[+-]?[0-9]{1,18}"): int,
    re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|nan)"): float,
    re.compile(r"true|false"): lambda cell: cell == "true",
}
"""What cells of numbers and booleans look like, and how they are read."""


def _at_once(name: str, whole: Callable[[], ak.Array]) -> Reading:
    """Return a column that is one piece."""
    return Reading(name=name, whole=whole, cut=lambda: iter((whole(),)))


def _ranges(entries: int) -> Iterator[tuple[int, int]]:
    """Yield where pieces start and stop, one at least."""
    return ((start, min(start + STEP, entries)) for start in range(0, max(entries, 1), STEP))


def _root(content: Bytes) -> Iterator[Table]:
    import uproot

    file = uproot.open(opened(content), object_cache=None, array_cache=None, use_threads=False)
    for name, kind in file.classnames(recursive=True, cycle=False).items():
        if kind in ("TDirectory", "TDirectoryFile"):
            continue
        read = {"TTree": _tree, "ROOT::RNTuple": _ntuple}.get(kind)
        if read is None:
            raise DataError(f"{name!r} is a {kind}, not a tree")
        yield read(name, file)


def _tree(name: str, file: ReadOnlyDirectory) -> Table:
    tree: TTree = file[name]
    branches = {path: branch for path, branch in tree.iteritems(recursive=True, full_paths=True) if not branch.branches}
    counts = {branch.count_leaf.member("fName") for branch in branches.values() if branch.count_leaf is not None}
    entries = int(tree.num_entries)
    columns = {path: _ranged(path, partial(branch.array, library="ak"), entries) for path, branch in branches.items()}
    counters = {path: columns.pop(path) for path, branch in branches.items() if branch.name in counts}
    return Table(name=name, entries=entries, columns=columns, counters=counters)


def _ntuple(name: str, file: ReadOnlyDirectory) -> Table:
    ntuple = file[name]
    fields = {path: field for path, field in ntuple.items() if "." not in path}
    entries = int(ntuple.num_entries)
    columns = {path: _ranged(path, field.array, entries) for path, field in fields.items()}
    return Table(name=name, entries=entries, columns=columns)


def _ranged(name: str, array: Callable[..., ak.Array], entries: int) -> Reading:
    """Return a branch or field of a tree."""

    def cut() -> Iterator[ak.Array]:
        for start, stop in _ranges(entries):
            yield array(entry_start=start, entry_stop=stop, array_cache=None)

    return Reading(name=name, whole=partial(array, array_cache=None), cut=cut)


def _parquet(content: Bytes) -> Iterator[Table]:
    import pyarrow as pa
    import pyarrow.parquet

    source = opened(content) if isinstance(content, Stretch) else pa.BufferReader(content)
    file = pyarrow.parquet.ParquetFile(source)
    entries = int(file.metadata.num_rows)
    columns = {
        name: Reading(name=name, whole=partial(_column, file, name), cut=partial(_row_groups, file, name))
        for name in file.schema_arrow.names
    }
    yield Table(name="", entries=entries, columns=columns)


def _column(file: ParquetFile, name: str) -> ak.Array:
    import awkward as ak

    return ak.from_arrow(file.read(columns=[name], use_threads=False))[name]


def _row_groups(file: ParquetFile, name: str) -> Iterator[ak.Array]:
    import awkward as ak

    if not file.metadata.num_rows:
        yield _column(file, name)
    for number in range(file.metadata.num_row_groups):  # iter_batches keeps all that it has read of lists
        yield ak.from_arrow(file.read_row_group(number, columns=[name], use_threads=False))[name]


def _arrow(content: Bytes) -> Iterator[Table]:
    import pyarrow as pa

    names = pa.ipc.open_file(_arrow_source(content)).schema.names
    entries = sum(batch.message.rows for batch in batches_of_file(opened(content), size_of(content)))
    columns = {
        name: Reading(
            name=name,
            whole=partial(_arrow_column, content, number),
            cut=partial(_arrow_pieces, content, number),
        )
        for number, name in enumerate(names)
    }
    yield Table(name="", entries=entries, columns=columns)


def _arrow_source(content: Bytes) -> Any:
    import pyarrow as pa

    return opened(content) if isinstance(content, Stretch) else pa.BufferReader(content)


def _arrow_reader(content: Bytes, number: int) -> pa.RecordBatchFileReader:
    """Return what reads one column."""
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(included_fields=[number], use_threads=False)
    return pa.ipc.open_file(_arrow_source(content), options=options)


def _arrow_column(content: Bytes, number: int) -> ak.Array:
    import awkward as ak

    return ak.from_arrow(_arrow_reader(content, number).read_all().column(0))


def _arrow_pieces(content: Bytes, number: int) -> Iterator[ak.Array]:
    import awkward as ak

    reader = _arrow_reader(content, number)
    if not reader.num_record_batches:
        yield _arrow_column(content, number)
    for place in range(reader.num_record_batches):
        yield ak.from_arrow(reader.get_batch(place).column(0))


def _npz(content: Bytes) -> Iterator[Table]:
    """Yield all columns as one table or, if they have different lengths, each as a table of its own."""
    archive = np.load(opened(content), allow_pickle=False)
    names = [name for name in archive.files if not _offsets_of(name, archive.files)]
    shapes = {name: _shape(archive, name) for name in archive.files}
    columns = {
        name: Reading(name=name, whole=partial(_array, archive, name), cut=partial(_npz_pieces, archive, name, shapes))
        for name in names
    }
    lengths = {name: _length(name, shapes) for name in names}
    if len(set(lengths.values())) <= 1 and None not in lengths.values():
        if names:
            yield Table(name="", entries=int(lengths[names[0]] or 0), columns=columns)
        return
    for name, length in lengths.items():
        yield Table(name=name, entries=1 if length is None else length, columns={name: columns[name]})


def _offsets_of(name: str, names: Sequence[str]) -> bool:
    """Say whether an array has the offsets of another one's lists."""
    return name.endswith(OFFSETS) and name.removesuffix(OFFSETS) in names


def _shape(archive: NpzFile, name: str) -> tuple[int, ...]:
    """Return the shape of an array."""
    with _member(archive, name) as stream:
        return _header(stream)[0]


def _member(archive: NpzFile, name: str) -> IO[bytes]:
    """Return the open file of an array."""
    assert archive.zip is not None, "it has not been closed"
    return archive.zip.open(f"{name}.npy")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array whose values are read next; see numpy.lib.format."""
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        np.lib.format.read_magic(stream), np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(stream)
    return shape, dtype


def _length(name: str, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the number of entries of a column; none for a single number."""
    offsets = f"{name}{OFFSETS}"
    if offsets in shapes:
        return int(math.prod(shapes[offsets])) - 1
    return int(shapes[name][0]) if shapes[name] else None


def _array(archive: NpzFile, name: str) -> ak.Array:
    """Return a column."""
    offsets = f"{name}{OFFSETS}"
    found = _values(archive[name])
    return _listed(name, found, archive[offsets].astype(np.int64)) if offsets in archive.files else found


def _npz_pieces(archive: NpzFile, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[ak.Array]:
    """Yield a column; one that has no lists by offsets and is not flat is one piece."""
    offsets = f"{name}{OFFSETS}"
    if len(shapes[name]) != 1 or (offsets in shapes and len(shapes[offsets]) != 1):
        yield _array(archive, name)
        return
    with ExitStack() as stack:
        values = _Stream(stack.enter_context(_member(archive, name)))
        if offsets not in shapes:
            for start, stop in _ranges(values.size):
                yield _values(values.next(stop - start))
            return
        ends = _Stream(stack.enter_context(_member(archive, offsets)))
        last = ends.next(1).astype(np.int64)
        if last.any() or not last.size:
            raise DataError(f"{offsets!r} are no offsets of lists of {name!r}")
        for start, stop in _ranges(ends.size - 1):
            places = np.concatenate([last, ends.next(stop - start).astype(np.int64)])
            last = places[-1:]
            size = int(places[-1] - places[0])
            if size < 0 or values.left < size or (stop == ends.size - 1 and values.left != size):
                raise DataError(f"{offsets!r} are no offsets of lists of {name!r}")
            yield _listed(name, _values(values.next(size)), places - places[0])


class _Stream:
    """The values of a flat array, one after the other."""

    def __init__(self, stream: IO[bytes]) -> None:
        (self.size,), self._dtype = _header(stream)
        self.left = self.size
        self._stream = stream

    def next(self, count: int) -> Array:
        """Return the next values."""
        if self._dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
        self.left -= count
        return np.frombuffer(self._stream.read(count * self._dtype.itemsize), self._dtype, count)


def _values(values: Array) -> ak.Array:
    """Return the values of an array."""
    import awkward as ak

    if values.dtype.kind in "US":
        return ak.Array(values.tolist()) if values.size else ak.Array([""])[:0]
    return ak.from_numpy(np.atleast_1d(values), regulararray=True)


def _listed(name: str, values: ak.Array, ends: NDArray[np.int64]) -> ak.Array:
    """Return lists of values that end where ``ends`` says, the first of which is 0."""
    import awkward as ak
    from awkward.contents import ListOffsetArray
    from awkward.index import Index64

    if ends.ndim != 1 or not ends.size or ends[0] or ends[-1] != len(values) or (np.diff(ends) < 0).any():
        raise DataError(f"{name + OFFSETS!r} are no offsets of lists of {name!r}")
    return ak.Array(ListOffsetArray(Index64(ends), values.layout))


_READ: Mapping[bytes, Callable[[Bytes], Iterator[Table]]] = {
    b"root": _root,
    b"PAR1": _parquet,
    b"ARROW1": _arrow,
    b"PK\x03\x04": _npz,
    b"PK\x05\x06": _npz,
}
"""How files are read, by what they begin with."""
