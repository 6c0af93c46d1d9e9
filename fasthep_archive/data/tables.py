"""Files of columns as outputs: the tables in a ROOT, Parquet, Arrow or npz file, column by column.

Of a TTree, the branches that only count the values of others are no columns: the lists themselves say it; nor are, of
an npz file, the offsets of lists. That, and nothing else, makes the columns of files with the same events the same.

An npz file whose arrays have different lengths is no table of events (parameters of a model, say): each of its arrays
is a table of its own.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import UnknownColumn
from fasthep_archive.data.npz_files import OFFSETS
from fasthep_archive.errors import DataError, nearest

if TYPE_CHECKING:
    import awkward as ak
    from numpy.lib.npyio import NpzFile
    from pyarrow.parquet import ParquetFile
    from uproot.behaviors.TTree import TTree
    from uproot.reading import ReadOnlyDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table: a tree of a ROOT file, an array of an npz file, or all of any other file, which has no name.

    :ivar columns: by name, each read when it is called; it raises DataError if the file is damaged.
    :ivar counters: likewise, the branches that only count the values of others.
    """

    name: str
    entries: int
    columns: Mapping[str, Callable[[], ak.Array]]
    counters: Mapping[str, Callable[[], ak.Array]] = field(default_factory=dict)


def tables(content: bytes) -> tuple[Table, ...]:
    """Return the tables of a file, in the order of their names.

    :raises DataError: if it is none of these files, is damaged, has no table, or anything but tables.
    """
    with told(Path("the file")):
        for magic, read in _READ.items():
            if content.startswith(magic):
                found = sorted(read(content), key=lambda table: table.name)
                if not found:
                    raise DataError("the file has no trees" if magic == b"root" else "the file has no arrays")
                return tuple(found)
    raise DataError("the file is no ROOT, Parquet, Arrow or npz file")


class Columns(Mapping[str, "ak.Array"]):
    """The columns of a file with one table, by name: awkward arrays, read when they are asked for.

    :ivar entries: number of entries of each column.
    """

    def __init__(self, content: bytes, read: Callable[[bytes], tuple[Table, ...]] = tables) -> None:
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


def sheet(content: bytes) -> tuple[Table, ...]:
    """Return the one table of a CSV file with a line of names.

    What it says nowhere is guessed: a column whose cells are all numbers is int64 or float64, one of ``true`` and
    ``false`` is bool, others are texts. An empty cell is a missing value, and among texts an empty text.

    :raises DataError: if it is not such a file.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the file is no CSV: {error}") from error
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError("the file is no table: its lines have different numbers of cells")
    cells = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    columns = {name: partial(_guessed, column) for name, column in cells.items()}
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


def _root(content: bytes) -> Iterator[Table]:
    import uproot

    file = uproot.open(io.BytesIO(content), object_cache=None, array_cache=None, use_threads=False)
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
    options = {"library": "ak", "array_cache": None}
    columns = {path: partial(_read, path, partial(branch.array, **options)) for path, branch in branches.items()}
    counters = {path: columns.pop(path) for path, branch in branches.items() if branch.name in counts}
    return Table(name=name, entries=int(tree.num_entries), columns=columns, counters=counters)


def _ntuple(name: str, file: ReadOnlyDirectory) -> Table:
    ntuple = file[name]
    fields = {path: field for path, field in ntuple.items() if "." not in path}
    columns = {path: partial(_read, path, partial(field.array, array_cache=None)) for path, field in fields.items()}
    return Table(name=name, entries=int(ntuple.num_entries), columns=columns)


def _parquet(content: bytes) -> Iterator[Table]:
    import pyarrow as pa
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(pa.BufferReader(content))
    names = file.schema_arrow.names
    columns = {name: partial(_read, name, partial(_column, file, name)) for name in names}
    yield Table(name="", entries=int(file.metadata.num_rows), columns=columns)


def _arrow(content: bytes) -> Iterator[Table]:
    import awkward as ak
    import pyarrow as pa

    table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    columns = {
        name: partial(_read, name, partial(ak.from_arrow, table.column(number)))
        for number, name in enumerate(table.column_names)
    }
    yield Table(name="", entries=int(table.num_rows), columns=columns)


def _npz(content: bytes) -> Iterator[Table]:
    """Yield all columns as one table or, if they have different lengths, each as a table of its own."""
    archive = np.load(io.BytesIO(content), allow_pickle=False)
    names = [name for name in archive.files if not _offsets_of(name, archive.files)]
    columns = {name: partial(_read, name, partial(_array, archive, name)) for name in names}
    lengths = {name: _length(archive, name) for name in names}
    if len(set(lengths.values())) <= 1 and None not in lengths.values():
        if names:
            yield Table(name="", entries=int(lengths[names[0]] or 0), columns=columns)
        return
    for name, length in lengths.items():
        yield Table(name=name, entries=1 if length is None else length, columns={name: columns[name]})


def _offsets_of(name: str, names: Sequence[str]) -> bool:
    """Say whether an array has the offsets of another one's lists."""
    return name.endswith(OFFSETS) and name.removesuffix(OFFSETS) in names


def _length(archive: NpzFile, name: str) -> int | None:
    """Return the number of entries of a column; none for a single number."""
    offsets = f"{name}{OFFSETS}"
    if offsets in archive.files:
        return int(archive[offsets].size) - 1
    shape = archive[name].shape
    return int(shape[0]) if shape else None


def _array(archive: NpzFile, name: str) -> ak.Array:
    import awkward as ak
    from awkward.contents import ListOffsetArray
    from awkward.index import Index64

    values = archive[name]
    if values.dtype.kind in "US":
        return ak.Array(values.tolist()) if values.size else ak.Array([""])[:0]
    found = ak.from_numpy(np.atleast_1d(values), regulararray=True)
    offsets = f"{name}{OFFSETS}"
    if offsets not in archive.files:
        return found
    ends = archive[offsets].astype(np.int64)
    if ends.ndim != 1 or not ends.size or ends[0] or ends[-1] != len(found) or (np.diff(ends) < 0).any():
        raise DataError(f"{offsets!r} are no offsets of lists of {name!r}")
    return ak.Array(ListOffsetArray(Index64(ends), found.layout))


def _column(file: ParquetFile, name: str) -> ak.Array:
    import awkward as ak

    return ak.from_arrow(file.read(columns=[name], use_threads=False))[name]


def _read(name: str, read: Callable[[], ak.Array]) -> ak.Array:
    with told(Path("the file"), f"column {name!r}"):
        return read()


_READ: Mapping[bytes, Callable[[bytes], Iterator[Table]]] = {
    b"root": _root,
    b"PAR1": _parquet,
    b"ARROW1": _arrow,
    b"PK\x03\x04": _npz,
    b"PK\x05\x06": _npz,
}
"""How files are read, by what they begin with."""
