"""Events in a Parquet file, read by pyarrow: one row is one event, row groups are where reading can start and stop.

A struct's field is named with a dot (``met.pt``), that of a list of structs likewise (``Muon.pt``); the fields of one
list share its structure. Columns that Parquet calls nullable, as most writers do, are only optional where values are in
fact missing: the file's statistics say that of columns without lists, lists without statistics are looked through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from operator import getitem
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fasthep_archive.data.damage import told
from fasthep_archive.data.fields import Leaf, columns_in, decoded, leaf_type, leaves
from fasthep_archive.data.layouts import LazyTypes, lacks_lists, lacks_texts
from fasthep_archive.data.source import Read
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType

if TYPE_CHECKING:
    import awkward as ak
    from awkward.contents import Content
    from pyarrow.parquet import ParquetFile

_MAGIC = b"PAR1"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """A column of the file.

    :ivar place: its number in the file. :ivar path: as Parquet writes it (``Muon.list.element.pt``).
    """

    place: int
    path: str
    leaf: Leaf


class ParquetSource(AbstractContextManager["ParquetSource"]):
    """The events of an open Parquet file; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path, file: ParquetFile) -> None:
        self._path = path
        self._file = file
        self._columns = {column.leaf.name: column for column in _columns(file)}
        self._types = LazyTypes(self._columns, self._type, str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close(force=True)

    @property
    def entries(self) -> int:
        return int(self._file.metadata.num_rows)

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return the first rows of all row groups, and the number of rows."""
        return tuple(sorted({*self._starts(), 0, self.entries}))

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        with told(self._path):
            array = self._array(names, start, stop)
        return columns_in(array, {name: self._columns[name].leaf for name in names}, types)

    def _starts(self) -> list[int]:
        """Return the first row of each row group, and the number of rows."""
        metadata = self._file.metadata
        sizes = (metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
        return list(accumulate(sizes, initial=0))

    def _array(self, names: Iterable[str], start: int, stop: int) -> ak.Array:
        """Return the rows as records with what leads to the columns."""
        import awkward as ak

        starts = self._starts()
        groups = [number for number in range(len(starts) - 1) if starts[number] < stop and start < starts[number + 1]]
        paths = [self._columns[name].path for name in names]
        if not groups:  # of no rows, pyarrow would read nothing, not even types
            tops = list(dict.fromkeys(self._columns[name].leaf.steps[0] for name in names))
            table = self._file.schema_arrow.empty_table().select(tops)
            return ak.from_arrow(decoded(table))
        table = self._file.read_row_groups(groups, columns=paths, use_threads=False)
        first = starts[groups[0]]  # awkward 2.14 takes the wrong values of slices by arrow for missing
        return ak.from_arrow(decoded(table))[start - first : stop - first]

    def _type(self, name: str) -> ColumnType:
        column = self._columns[name]
        found = leaf_type(self._file.schema_arrow, column.leaf)
        if not self._missing(column):
            return found
        if found.dtype == "text":
            raise lacks_texts(name, self._path)
        return replace(found, optional=True)

    def _missing(self, column: _Column) -> bool:
        """Return whether any value of a column is missing; raise if a whole list is."""
        metadata = self._file.metadata
        chunks = [metadata.row_group(number).column(column.place) for number in range(metadata.num_row_groups)]
        counted = [chunk.statistics for chunk in chunks if chunk.statistics and chunk.statistics.has_null_count]
        leaf, known = column.leaf, [statistics.null_count for statistics in counted]
        if len(known) == len(chunks) and (not any(known) or not leaf.depth):
            return any(known)
        with told(self._path, f"column {column.path!r}"):
            array = self._array([leaf.name], 0, self.entries)
        layout = reduce(getitem, leaf.steps, array).layout
        if leaf.depth and _lacks(layout):
            raise lacks_lists(leaf.name, self._path)
        inner = layout.project() if layout.is_option else layout
        return _lacks(inner.content) if leaf.depth else _lacks(inner)


def open_parquet(path: Path, read: Read) -> ParquetSource:  # noqa: ARG001 - as all kinds are called
    """Return the events of a Parquet file; a context manager.

    :param read: it has nothing to say: such a file holds one table.
    :raises DataError: if the file can't be read or is no Parquet file.
    """
    _refuse_others(path)
    import pyarrow.parquet

    with told(path):
        return ParquetSource(path, pyarrow.parquet.ParquetFile(path, memory_map=False))


def _refuse_others(path: Path) -> None:
    """Raise with the reason if the file is no Parquet file or is cut off."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory, not a Parquet file", hint="list its files one by one")
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(4)
            stream.seek(max(size - 4, 0))
            end = stream.read(4)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    if not size:
        raise DataError(f"{path} is empty")
    if start != _MAGIC:
        raise DataError(f"{path} is not a Parquet file: it does not begin with 'PAR1'")
    if end != _MAGIC or size < 12:
        raise DataError(f"{path} is cut off: it doesn't end with 'PAR1'", hint="copy it again from where it came")


def _columns(file: ParquetFile) -> Iterator[_Column]:
    """Yield the columns; Parquet has them in the order in which the schema is walked through, depth first."""
    for place, leaf in enumerate(leaves(file.schema_arrow)):
        yield _Column(place=place, path=file.schema.column(place).path, leaf=leaf)


def _lacks(layout: Content) -> bool:
    """Return whether any value at the top of the layout is missing."""
    return bool(layout.is_option and not layout.mask_as_bool(valid_when=True).all())
