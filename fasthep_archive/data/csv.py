"""Events in a CSV file (RFC 4180), which may be compressed by gzip: one record is one event.

One scan finds where records end, quoted line ends being none, and what the columns hold that nobody declared. What it
found goes with the plan (:meth:`CsvSource.settled`), so that a partition reads its own blocks and nothing else. pyarrow
parses the numbers: every float64 is the one nearest to its text.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from fasthep_archive.data.blocks import Block, BlockSource, TextFile, from_index, touching
from fasthep_archive.data.damage import told
from fasthep_archive.data.declared import Declared, Found, declared, either, exact
from fasthep_archive.data.layouts import LazyTypes
from fasthep_archive.data.records import Dialect, Records
from fasthep_archive.data.source import Read
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, nearest
from fasthep_archive.formula.columns import Column, ColumnType, concatenated

if TYPE_CHECKING:
    import pyarrow as pa

_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]
_INTEGER = re.compile(r"\s*-?[0-9]+\s*")
_LARGE = 2.0**53
"""Whole numbers above are not all float64."""
_SPELLING = "declare what it holds: schema: {{{}: float64}} rounds, text keeps the letters"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a CSV file is read.

    :ivar names: of the columns, where the file has no line with them. :ivar skip: lines before everything else.
    :ivar missing: what cells say that have no value. :ivar types: of columns, as declared.
    """

    dialect: Dialect
    names: tuple[str, ...] | None
    skip: int
    missing: tuple[str, ...]
    types: Mapping[str, Declared]

    @classmethod
    def of(cls, options: Mapping[str, JSON]) -> Options:
        """Return the options of a source that the schema has seen."""
        header, missing = options.get("header", True), cast("Sequence[str]", options.get("missing", [""]))
        types = cast("Mapping[str, str]", options.get("schema") or {})
        return cls(
            dialect=Dialect(
                delimiter=str(options.get("delimiter", ",")),
                quote=str(options.get("quote", '"')),
                comment=str(options.get("comment") or ""),
            ),
            names=None if isinstance(header, bool) else tuple(map(str, cast("Sequence[JSON]", header))),
            skip=int(cast("int", options.get("skip") or 0)),
            missing=tuple(map(str, missing)),
            types={name: declared(spelled) for name, spelled in types.items()},
        )


class CsvSource(BlockSource):
    """The events of an open CSV file; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path, read: Read) -> None:
        """:raises DataError: if the file can't be read, or isn't what the options say."""
        self._path = path
        self._options = Options.of(read.options)
        self._text = TextFile(path)
        try:
            self._records = Records(self._options.dialect, path)
            self._names, self._body, self._line = self._head()
            self._declared: dict[str, Declared] = dict(self._options.types)
            self._blocks = from_index(read.index) if read.index else tuple(self._scanned())
        except BaseException:
            self._text.__exit__(None, None, None)
            raise
        self._types = LazyTypes(dict.fromkeys(self._names), self._type, str(path))

    def settled(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return how to open the file without a scan: the types of all columns, and where the blocks are."""
        types: JSON = {name: str(self._declared[name]) for name in self._names}
        index = self.index()
        return tuple(replace(read, options={**read.options, "schema": types}, index=index) for read in reads)

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        for name in names:
            self._types[name]  # names that nothing has
        found: dict[str, list[Column]] = {name: [] for name in names}
        for block in touching(self._blocks, start, stop) if names else ():
            table = self._table(block, names)
            first, last = max(start - block.first, 0), min(stop - block.first, block.entries)
            for name in names:
                found[name].append(self._column(table[name], name, block).events(first, last))
        return {
            name: concatenated(parts) if parts else Column(np.zeros(0, _DTYPES[self._declared[name].dtype]))
            for name, parts in found.items()
        }

    def _type(self, name: str) -> ColumnType:
        return self._declared[name].column_type(name)

    def _head(self) -> tuple[tuple[str, ...], int, int]:
        """Return the names of the columns, where the first record after them begins, and its line."""
        start, line = self._records.skipped(self._text, self._options.skip)
        first = next(self._records.whole(self._text, start), (start, b""))[1]
        size, lines, record = self._records.first(first)
        if not record:
            raise DataError(f"{self._path} has no line with the names of its columns")
        cells = self._cells(record)
        if self._options.names is None:
            names, start, line = tuple(cells), start + size, line + lines
        else:
            names = self._options.names
            if len(names) != len(cells):
                message = f"{self._path} has {len(cells)} columns, and 'header' names {len(names)}"
                raise DataError(message, hint="name all of them, in order")
        for name in names:
            if names.count(name) > 1:
                hint = "give them names of their own: header: [...], and skip: 1 for the line with the others"
                raise DataError(f"{self._path} has two columns called {name!r}", hint=hint)
        for name in self._options.types:
            if name not in names:
                hint = nearest(name, names) or f"its columns: {', '.join(names)}"
                raise DataError(f"{self._path} has no column {name!r}, which 'schema' declares", hint=hint)
        return names, start, line

    def _cells(self, record: bytes) -> list[str]:
        dialect = self._options.dialect
        quote = {"quotechar": dialect.quote} if dialect.quote else {"quoting": csv.QUOTE_NONE}
        try:
            text = record.decode("utf-8")
            return next(csv.reader([text], delimiter=dialect.delimiter, strict=True, **quote), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{self._path} has no line with names of columns: {error}") from error

    def _scanned(self) -> Iterator[Block]:
        """Yield the blocks; find the types of the columns that nobody declared on the way."""
        found: dict[str, Found] = {name: "nothing" for name in self._names if name not in self._declared}
        missing: dict[str, bool] = dict.fromkeys(found, False)
        inexact: dict[str, DataError] = {}
        first, line = 0, self._line
        for start, text in self._records.whole(self._text, self._body, line):
            entries, lines = self._records.counted(text)
            block = Block(start=start, stop=start + len(text), first=first, entries=entries, line=line)
            if entries:
                table = self._typed(text, block, self._names)
                for name, before in list(found.items()):
                    kind = self._found(table[name].type, name)
                    if kind in ("float64", "int64") and name not in inexact:
                        inexact |= self._inexact(text, block, name, table[name])
                    found[name] = either(before, kind)
                    missing[name] |= table[name].null_count > 0
            if entries:
                yield block
            first, line = first + entries, line + lines
        for name, kind in found.items():
            if kind == "float64" and name in inexact:
                raise inexact[name]
            dtype = "float64" if kind == "nothing" else kind
            self._declared[name] = Declared(dtype=dtype, optional=missing[name] and dtype != "text")

    def _found(self, kind: pa.DataType, name: str) -> Found:
        """Return what pyarrow takes a column for; dates and times are texts."""
        import pyarrow as pa

        if pa.types.is_binary(kind):
            raise DataError(f"column {name!r} of {self._path} is not UTF-8", hint="write the file in UTF-8")
        known: dict[pa.DataType, Found] = {
            pa.float64(): "float64",
            pa.int64(): "int64",
            pa.bool_(): "bool",
            pa.null(): "nothing",
        }
        return known.get(kind, "text")

    def _inexact(self, text: bytes, block: Block, name: str, values: pa.ChunkedArray) -> Mapping[str, DataError]:
        """Return the error for a column of numbers if one of them is whole and float64 doesn't have it."""
        numbers = values.fill_null(0).to_numpy()
        large = np.flatnonzero((numbers >= _LARGE) | (numbers <= -_LARGE))
        if not large.size:
            return {}
        import pyarrow as pa

        cells = self._parsed(text, block, [name], {name: pa.string()})[name]
        for place in large.tolist():
            cell = cells[place].as_py().strip().removeprefix("+")
            if cell.removeprefix("-").isdecimal() and not exact(int(cell)):
                beyond = "is no float64" if -(2**63) <= int(cell) < 2**63 else "is beyond int64"
                message = f"{self._at(text, block, place)}: column {name!r} has {cell}, which {beyond}"
                return {name: DataError(message, hint=_SPELLING.format(name))}
        return {}

    def _table(self, block: Block, names: Sequence[str]) -> pa.Table:
        """Return columns of a block."""
        return self._typed(self._text.at(block.start, block.stop - block.start), block, names)

    def _typed(self, text: bytes, block: Block, names: Sequence[str]) -> pa.Table:
        """Return columns of a block's text, as the types that are known by now."""
        known = [name for name in names if name in self._declared]
        table = self._parsed(text, block, names, {name: _arrow(self._declared[name]) for name in known})
        for name in known:
            if table[name].null_count and not self._declared[name].optional:
                place = table[name].is_null().index(True).as_py()
                message = f"{self._at(text, block, place)}: column {name!r} has no value"
                raise DataError(message, hint=f"declare that it may: schema: {{{name}: {self._declared[name].dtype}?}}")
        return table

    def _parsed(self, text: bytes, block: Block, names: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
        """Return columns of a block's text.

        :raises DataError: naming the line, if a record has another number of cells or a cell doesn't say its type.
        """
        import pyarrow as pa

        odd: list[tuple[int, int]] = []
        plain = self._records.uncommented(text)

        try:
            table = self._arrow_table(plain, names, types, odd)
        except pa.ArrowInvalid as error:
            if odd:
                place, cells = odd[0]
                message = f"{self._at(text, block, place - 1)} has {cells} cells, not {len(self._names)}"
                raise DataError(message, hint="a cell with the delimiter in it needs quotes") from error
            self._refuse_cell(text, block, types)
            raise DataError(f"{self._path} can't be read from line {block.line} on: {error}") from error
        if table.num_rows != block.entries:
            message = f"{self._path} has lines from {block.line} on that pyarrow takes for {table.num_rows} records"
            raise DataError(f"{message}, not {block.entries}", hint="look for quotes inside of cells")
        return table

    def _arrow_table(
        self, text: bytes, names: Sequence[str], types: Mapping[str, pa.DataType], odd: list[tuple[int, int]]
    ) -> pa.Table:
        """Return what pyarrow makes of a text.

        :param odd: takes the number and the cells of a record with another number of cells, which is an error.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow

        def refused(row: arrow.InvalidRow) -> str:
            odd.append((row.number, row.actual_columns))
            return "error"

        dialect = self._options.dialect
        return arrow.read_csv(
            pa.BufferReader(text),
            arrow.ReadOptions(column_names=self._names, use_threads=False, block_size=len(text) + 1),
            arrow.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                newlines_in_values=bool(dialect.quote) and dialect.quote.encode() in text,
                invalid_row_handler=refused,
            ),
            arrow.ConvertOptions(
                column_types=types,
                include_columns=names,
                null_values=self._options.missing,
                true_values=_TRUE,
                false_values=_FALSE,
            ),
        )

    def _refuse_cell(self, text: bytes, block: Block, types: Mapping[str, pa.DataType]) -> None:
        """Raise with the first cell that doesn't say what its column holds."""
        import pyarrow as pa

        for name, kind in types.items():
            if pa.types.is_string(kind):
                continue
            cells = self._parsed(text, block, [name], {name: pa.string()})[name].to_pylist()
            for place, cell in enumerate(cells):
                if cell not in self._options.missing and not _says(cell, str(self._declared[name].dtype)):
                    message = f"{self._at(text, block, place)}: column {name!r} has {cell!r}"
                    hint = f"declare schema: {{{name}: text}}, or missing: [{cell}] if it stands for no value"
                    raise DataError(f"{message}, which is no {self._declared[name].dtype}", hint=hint)

    def _at(self, text: bytes, block: Block, place: int) -> str:
        """Return the line of an event of a block."""
        return f"line {block.line + self._records.line_of(text, place)} of {self._path}"

    def _column(self, values: pa.ChunkedArray, name: str, block: Block) -> Column:
        array = values.combine_chunks()
        if self._declared[name].dtype == "text":
            coded = array.dictionary_encode()
            with told(self._path, f"column {name!r} from line {block.line} on"):
                words = tuple(coded.dictionary.to_pylist())
            return Column(coded.indices.to_numpy().astype(np.int64), words=words)
        valid = None
        if array.null_count:
            valid = array.is_valid().to_numpy(zero_copy_only=False)
            array = array.fill_null(False if self._declared[name].dtype == "bool" else 0)
        return Column(array.to_numpy(zero_copy_only=False), valid=valid)


def open_csv(path: Path, read: Read) -> CsvSource:
    """Return the events of a CSV file; a context manager.

    :param read: its options are ``header``, ``delimiter``, ``quote``, ``comment``, ``skip``, ``missing``, ``schema``.
    :raises DataError: if the file can't be read, or isn't what the options say.
    """
    return CsvSource(path, read)


_DTYPES = {"float64": np.float64, "int64": np.int64, "bool": np.bool_, "text": np.int64}


def _arrow(kind: Declared) -> pa.DataType:
    import pyarrow as pa

    return {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "text": pa.string()}[kind.dtype]


def _says(cell: str, dtype: str) -> bool:
    """Say whether a cell has a value of this type."""
    if dtype == "bool":
        return cell in (*_TRUE, *_FALSE)
    if dtype == "int64":
        return _INTEGER.fullmatch(cell) is not None and -(2**63) <= int(cell) < 2**63
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
