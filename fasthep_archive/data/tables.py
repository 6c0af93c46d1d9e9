"""Files of columns as outputs: the tables in a ROOT or Parquet file, column by column.

Of a TTree, the branches that only count the values of others are no columns: the lists themselves say it. That, and
nothing else, makes the columns of a TTree those of an RNTuple or Parquet file with the same events.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import UnknownColumn
from fasthep_archive.errors import DataError, nearest

if TYPE_CHECKING:
    import awkward as ak
    from pyarrow.parquet import ParquetFile
    from uproot.behaviors.TTree import TTree
    from uproot.reading import ReadOnlyDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table: a tree of a ROOT file, or all of a Parquet file, which has no name.

    :ivar columns: by name, each read when it is called; it raises DataError if the file is damaged.
    :ivar counters: likewise, the branches that only count the values of others.
    """

    name: str
    entries: int
    columns: Mapping[str, Callable[[], ak.Array]]
    counters: Mapping[str, Callable[[], ak.Array]] = field(default_factory=dict)


def tables(content: bytes) -> tuple[Table, ...]:
    """Return the tables of a file, in the order of their names.

    :raises DataError: if it is neither a ROOT nor a Parquet file, is damaged, has no table, or anything but tables.
    """
    with told(Path("the file")):
        if content.startswith(b"root"):
            found = sorted(_root(content), key=lambda table: table.name)
            if not found:
                raise DataError("the file has no trees")
            return tuple(found)
        if content.startswith(b"PAR1"):
            return (_parquet(content),)
    raise DataError("the file is neither a ROOT nor a Parquet file")


class Columns(Mapping[str, "ak.Array"]):
    """The columns of a file with one table, by name: awkward arrays, read when they are asked for.

    :ivar entries: number of entries of each column.
    """

    def __init__(self, content: bytes) -> None:
        """:raises DataError: as :func:`tables` does, and if the file has several tables."""
        found = tables(content)
        if len(found) > 1:
            raise DataError(f"the file has several trees: {', '.join(table.name for table in found)}")
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


def _parquet(content: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(pa.BufferReader(content))
    names = file.schema_arrow.names
    columns = {name: partial(_read, name, partial(_column, file, name)) for name in names}
    return Table(name="", entries=int(file.metadata.num_rows), columns=columns)


def _column(file: ParquetFile, name: str) -> ak.Array:
    import awkward as ak

    return ak.from_arrow(file.read(columns=[name], use_threads=False))[name]


def _read(name: str, read: Callable[[], ak.Array]) -> ak.Array:
    with told(Path("the file"), f"column {name!r}"):
        return read()
