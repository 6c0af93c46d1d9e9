"""Events in an Arrow file (Feather, version 2) or stream, read by pyarrow: one row is one event.

Record batches are where reading can start and stop. Numbers of rows and of missing values come from the metadata of
the batches; of a file, only the columns that are asked for are read, of a stream, the batches that they are in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fasthep_archive.data.damage import told
from fasthep_archive.data.fields import columns_in, decoded, leaf_type, leaves
from fasthep_archive.data.layouts import LazyTypes, lacks_lists, lacks_texts
from fasthep_archive.data.messages import MAGIC, Batch, batches_of_file, batches_of_stream
from fasthep_archive.data.source import Read
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

_FEATHER_1 = b"FEA1"
_STREAM = b"\xff\xff\xff\xff"


class ArrowSource(AbstractContextManager["ArrowSource"]):
    """The events of an open Arrow file; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path, *, stream: bool) -> None:
        """:raises DataError: if the file is damaged."""
        import pyarrow as pa

        self._path = path
        self._stream = stream
        self._open = ExitStack()
        with told(path), ExitStack() as opening:
            file = opening.enter_context(path.open("rb"))
            find = batches_of_stream if stream else batches_of_file
            self._batches = find(file, path.stat().st_size)
            self._file = opening.enter_context(pa.OSFile(str(path)))  # a mapped file that is cut short kills a process
            self._schema = (pa.ipc.open_stream if stream else pa.ipc.open_file)(self._file).schema
            twice = next((name for name in self._schema.names if self._schema.names.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{path} has two columns called {twice!r}", hint="give them names of their own")
            self._open = opening.pop_all()
        self._starts = list(accumulate((batch.message.rows for batch in self._batches), initial=0))
        self._leaves = {leaf.name: leaf for leaf in leaves(self._schema)}
        self._types = LazyTypes(self._leaves, self._type, str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def entries(self) -> int:
        return self._starts[-1]

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return the first rows of all record batches, and the number of rows."""
        return tuple(sorted({*self._starts, 0}))

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        import awkward as ak

        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        if not names:
            return {}
        numbers = [
            number
            for number in range(len(self._batches))
            if self._starts[number] < stop and start < self._starts[number + 1]
        ]
        tops = sorted({self._schema.get_field_index(self._leaves[name].steps[0]) for name in names})
        first = self._starts[numbers[0]] if numbers else start
        with told(self._path):
            array = ak.from_arrow(decoded(self._table(numbers, tops)))[start - first : stop - first]
        return columns_in(array, {name: self._leaves[name] for name in names}, types)

    def _table(self, numbers: Iterable[int], tops: list[int]) -> pa.Table:
        """Return whole batches, with the fields at ``tops`` only."""
        import pyarrow as pa

        options = pa.ipc.IpcReadOptions(included_fields=tops, use_threads=False)
        schema = pa.schema([self._schema.field(top) for top in tops])
        if self._stream:
            return pa.Table.from_batches([self._streamed(self._batches[n], options) for n in numbers], schema)
        reader = pa.ipc.open_file(self._file, options=options)
        return pa.Table.from_batches([reader.get_batch(number) for number in numbers], schema)

    def _streamed(self, batch: Batch, options: pa.ipc.IpcReadOptions) -> pa.RecordBatch:
        """Return one batch of a stream: read as the stream of what it needs and itself."""
        import pyarrow as pa

        pieces = [self._file.read_at(message.size, message.offset) for message in (*batch.needs, batch.message)]
        with pa.ipc.open_stream(pa.BufferReader(b"".join(pieces)), options=options) as reader:
            return reader.read_next_batch()

    def _type(self, name: str) -> ColumnType:
        leaf = self._leaves[name]
        found = leaf_type(self._schema, leaf)
        if any(is_list and self._missing(number) for number, is_list in leaf.nodes):
            raise lacks_lists(name, self._path)
        if not any(self._missing(number) for number, _ in leaf.nodes):
            return found
        if found.dtype == "text":
            raise lacks_texts(name, self._path)
        return replace(found, optional=True)

    def _missing(self, number: int) -> bool:
        """Return whether any value of the array with this number, depth first, is missing."""
        return any(batch.message.missing[number] for batch in self._batches)


def open_arrow(path: Path, read: Read) -> ArrowSource:  # noqa: ARG001 - as all kinds are called
    """Return the events of an Arrow file, a Feather file of version 2, or an Arrow stream; a context manager.

    :param read: it has nothing to say: such a file holds one table.
    :raises DataError: if the file can't be read or is none of these.
    """
    return ArrowSource(path, stream=_is_stream(path))


def _is_stream(path: Path) -> bool:
    """Return whether the file is a stream; raise with the reason if it is none of Arrow's or is cut off."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory, not an Arrow file", hint="list its files one by one")
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
            file.seek(max(path.stat().st_size - len(MAGIC), 0))
            end = file.read()
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    if not start:
        raise DataError(f"{path} is empty")
    if start.startswith(_FEATHER_1):
        hint = "read it with pyarrow.feather.read_table and write it again: version 2 is the default"
        raise DataError(f"{path} is a Feather file of version 1, which only pyarrow reads", hint=hint)
    if start.startswith(_STREAM):
        return True
    if start != MAGIC:
        raise DataError(f"{path} is not an Arrow file: it does not begin with 'ARROW1'")
    if end != MAGIC or path.stat().st_size < 2 * len(MAGIC) + 8:
        raise DataError(f"{path} is cut off: it doesn't end with 'ARROW1'", hint="copy it again from where it came")
    return False
