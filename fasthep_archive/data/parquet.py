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
from fasthep_archive.data.layouts import LazyTypes, column_of, sharing_offsets, type_of, unsupported
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, Structure

if TYPE_CHECKING:
    import awkward as ak
    import pyarrow as pa
    from awkward.contents import Content
    from pyarrow.parquet import ParquetFile

_MAGIC = b"PAR1"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Leaf:
    """A column of the file.

    :ivar place: its number in the file. :ivar path: as Parquet writes it (``Muon.list.element.pt``).
    :ivar steps: names of the fields that lead to it. :ivar depth: of lists around it.
    :ivar collection: the list of structs that it is a field of; empty for none.
    """

    place: int
    path: str
    steps: tuple[str, ...]
    depth: int
    collection: str


class ParquetSource(AbstractContextManager["ParquetSource"]):
    """The events of an open Parquet file; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path, file: ParquetFile) -> None:
        self._path = path
        self._file = file
        self._leaves = {".".join(leaf.steps): leaf for leaf in _leaves(file)}
        self._types = LazyTypes(self._leaves, self._type, str(path))

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
        found = {}
        for name in names:
            layout = _plain(reduce(getitem, self._leaves[name].steps, array).layout, optional=types[name].optional)
            found[name] = column_of(layout, name)
        return sharing_offsets(found, types)

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
        paths = [self._leaves[name].path for name in names]
        if not groups:  # of no rows, pyarrow would read nothing, not even types
            tops = list(dict.fromkeys(self._leaves[name].steps[0] for name in names))
            table = self._file.schema_arrow.empty_table().select(tops)
            return ak.from_arrow(_decoded(table))
        table = self._file.read_row_groups(groups, columns=paths, use_threads=False)
        first = starts[groups[0]]  # awkward 2.14 takes the wrong values of slices by arrow for missing
        return ak.from_arrow(_decoded(table))[start - first : stop - first]

    def _type(self, name: str) -> ColumnType:
        import awkward as ak

        leaf = self._leaves[name]
        empty = self._file.schema_arrow.empty_table().select([leaf.steps[0]])
        try:
            form = reduce(getitem, leaf.steps, ak.from_arrow(_decoded(empty))).layout.form
        except (NotImplementedError, TypeError, ValueError) as error:  # awkward has no arrays of some of arrow's types
            raise unsupported(name, str(empty.schema.field(0).type)) from error
        structure = Structure(leaf.collection, counted=True) if leaf.collection else None
        found = type_of(_without_options(form), name, structure)
        if not self._missing(leaf):
            return found
        if found.dtype == "text":
            hint = "texts that are missing have no category: write a word for them"
            raise DataError(f"column {name!r} of {self._path} lacks some of its texts", hint=hint)
        return replace(found, optional=True)

    def _missing(self, leaf: _Leaf) -> bool:
        """Return whether any value of a column is missing; raise if a whole list is."""
        metadata = self._file.metadata
        chunks = [metadata.row_group(number).column(leaf.place) for number in range(metadata.num_row_groups)]
        counted = [chunk.statistics for chunk in chunks if chunk.statistics and chunk.statistics.has_null_count]
        known = [statistics.null_count for statistics in counted]
        if len(known) == len(chunks) and (not any(known) or not leaf.depth):
            return any(known)
        with told(self._path, f"column {leaf.path!r}"):
            array = self._array([".".join(leaf.steps)], 0, self.entries)
        layout = reduce(getitem, leaf.steps, array).layout
        if leaf.depth and _lacks(layout):
            message = f"column {'.'.join(leaf.steps)!r} of {self._path} lacks some of its lists"
            raise DataError(message, hint="write empty lists for events without values")
        inner = layout.project() if layout.is_option else layout
        return _lacks(inner.content) if leaf.depth else _lacks(inner)


def open_parquet(path: Path, tree: str = "") -> ParquetSource:  # noqa: ARG001 - as all kinds are called
    """Return the events of a Parquet file; a context manager.

    :param tree: means nothing: such a file holds one table.
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


def _leaves(file: ParquetFile) -> Iterator[_Leaf]:
    """Yield the columns; Parquet has them in the order in which the schema is walked through, depth first."""
    walked = (found for entry in file.schema_arrow for found in _walked(entry, (), 0, ""))
    for place, (steps, depth, collection) in enumerate(walked):
        path = file.schema.column(place).path
        yield _Leaf(place=place, path=path, steps=steps, depth=depth, collection=collection)


def _walked(
    entry: pa.Field, above: tuple[str, ...], depth: int, collection: str
) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Yield steps, depth and collection of all columns below a field."""
    import pyarrow as pa

    steps, kind = (*above, entry.name), entry.type
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        depth, kind = depth + 1, kind.value_type
        if pa.types.is_struct(kind):
            collection = ".".join(steps)
    if pa.types.is_map(kind):
        for _ in range(2):
            yield steps, depth + 2, collection  # refused by its type, which awkward makes of it
    elif pa.types.is_struct(kind):
        for member in kind:
            yield from _walked(member, steps, depth, collection)
    else:
        yield steps, depth, collection


def _decoded(table: pa.Table) -> pa.Table:
    """Return the table with texts in place of positions in a dictionary."""
    import pyarrow as pa

    for number, entry in enumerate(table.schema):
        if pa.types.is_dictionary(entry.type):
            table = table.set_column(number, entry.name, table.column(number).cast(entry.type.value_type))
    return table


def _without_options(form: ak.forms.Form) -> ak.forms.Form:
    """Return the form of values of which none is missing."""
    from awkward.forms import ListOffsetForm

    if form.is_option:
        return _without_options(form.content)
    if form.is_list and form.parameter("__array__") is None and not form.is_regular:
        return ListOffsetForm("i64", _without_options(form.content))
    if form.is_regular:
        return type(form)(_without_options(form.content), form.size)
    return form


def _plain(layout: Content, *, optional: bool) -> Content:
    """Return the layout without options that miss nothing; those of values stay where a column is optional."""
    if layout.is_option and not (optional and not layout.content.is_list):
        layout = layout.project()
    if layout.is_list and layout.parameter("__array__") is None:
        lists = layout.to_ListOffsetArray64(True)
        return lists.copy(content=_plain(lists.content[: lists.offsets[-1]], optional=optional))
    return layout


def _lacks(layout: Content) -> bool:
    """Return whether any value at the top of the layout is missing."""
    return bool(layout.is_option and not layout.mask_as_bool(valid_when=True).all())
