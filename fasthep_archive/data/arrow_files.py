"""Parquet and Arrow files (Feather V2 is the Arrow IPC file format), written by pyarrow from columns.

Columns without missing values are *required* (Parquet) or not nullable (Arrow). A dot in a name is a step into a
struct. Row groups and batches have :data:`~fasthep_archive.data.forms.CLUSTER` events, except the last. Nothing that is
written tells time or place; a Parquet file names the version of the library that wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeAlias, cast

import numpy as np

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
    refuse,
)
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column

if TYPE_CHECKING:
    import pyarrow as pa

ParquetCompression: TypeAlias = Literal["lz4", "none", "snappy", "zlib", "zstd"]
ArrowCompression: TypeAlias = Literal["lz4", "none", "zstd"]

_LEVELLED: Final = ("zlib", "zstd")
"""Compressions that have levels here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetForm:
    """How a Parquet file is written.

    :ivar level: of the compression: 1 to 9 (zlib) or 22 (zstd); nothing to others.
    """

    compression: ParquetCompression = "zstd"
    level: int = 1

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ParquetForm:
        """Return the form of a writer's checked parameters."""
        return cls(
            compression=cast("ParquetCompression", params["compression"]),
            level=int(cast("int", params.get("compression_level", 1))),
        )

    @property
    def suffix(self) -> str:
        return ".parquet"

    def canonical(self) -> JSON:
        return ["parquet", self.compression, self.level]

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        return misnamed(branches, "a column")

    def write(
        self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST
    ) -> None:
        import pyarrow.parquet

        refuse(self.unfit(branches))
        batches = _batches(branches, parts, types, "a Parquet file")
        first = next(batches)
        texts = [branch.name for branch in branches if branch.text]
        names = {"none": "NONE", "zlib": "GZIP"}
        with pyarrow.parquet.ParquetWriter(
            target,
            first.schema,
            compression=names.get(self.compression, self.compression.upper()),
            compression_level=self.level if self.compression in _LEVELLED else None,
            use_dictionary=texts or False,
            version="2.6",
            store_schema=False,
        ) as writer:
            for batch in _with_first(first, batches):
                writer.write_table(_table(batch), row_group_size=max(1, batch.num_rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrowForm:
    """How an Arrow file is written.

    :ivar level: of zstd, 1 to 22; nothing to others.
    """

    compression: ArrowCompression = "zstd"
    level: int = 1

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ArrowForm:
        """Return the form of a writer's checked parameters."""
        return cls(
            compression=cast("ArrowCompression", params["compression"]),
            level=int(cast("int", params.get("compression_level", 1))),
        )

    @property
    def suffix(self) -> str:
        return ".arrow"

    def canonical(self) -> JSON:
        return ["arrow", self.compression, self.level]

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        return misnamed(branches, "a column")

    def write(
        self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST
    ) -> None:
        import pyarrow as pa

        refuse(self.unfit(branches))
        batches = _batches(branches, parts, types, "an Arrow file")
        first = next(batches)
        codec: pa.Codec | str | None = {"none": None, "lz4": "lz4"}.get(self.compression)
        if self.compression == "zstd":
            codec = pa.Codec("zstd", compression_level=self.level)
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        with pa.ipc.new_file(target, first.schema, options=options) as writer:
            for batch in _with_first(first, batches):
                writer.write_batch(batch)


def _with_first(first: pa.RecordBatch, others: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield all batches that have rows."""
    if first.num_rows:
        yield first
    yield from (batch for batch in others if batch.num_rows)


def _table(batch: pa.RecordBatch) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _batches(branches: Sequence[Branch], parts: Iterable[Columns], types: Types, what: str) -> Iterator[pa.RecordBatch]:
    """Yield a batch for each cluster; all have one schema."""
    import pyarrow as pa

    by_name = {branch.name: branch for branch in branches}
    groups = grouped(list(by_name), what)
    for cluster in clusters(branches, parts, types):
        made = [_field(group, by_name, cluster) for group in groups]
        yield pa.RecordBatch.from_arrays([array for _, array in made], schema=pa.schema([entry for entry, _ in made]))


def _field(group: Group, branches: Mapping[str, Branch], columns: Columns) -> tuple[pa.Field, pa.Array]:
    """Return a column, or a struct of those of a group."""
    import pyarrow as pa

    if group.members:
        made = [_field(member, branches, columns) for member in group.members.values()]
        array = pa.StructArray.from_arrays([array for _, array in made], fields=[entry for entry, _ in made])
        return pa.field(group.name, array.type, nullable=False), array
    branch, column = branches[group.column], columns[group.column]
    values = _values(branch, column)
    if column.offsets is None:
        return pa.field(group.name, values.type, nullable=branch.optional), values
    if column.offsets[-1] > np.iinfo(np.int32).max:
        raise DataError(f"column {branch.name!r} has lists that are too long", hint="write kind: root_tree")
    kind = pa.list_(pa.field("element", values.type, nullable=branch.optional))
    lists = pa.ListArray.from_arrays(pa.array(column.offsets.astype(np.int32)), values, type=kind)
    return pa.field(group.name, kind, nullable=False), lists


def _values(branch: Branch, column: Column) -> pa.Array:
    """Return the values of a column, without its lists."""
    import pyarrow as pa

    if branch.text:
        return pa.array(column.words, pa.string()).take(pa.array(column.content))
    absent = None if column.valid is None else ~column.valid
    return pa.array(column.content, mask=absent, from_pandas=False)
