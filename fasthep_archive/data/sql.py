"""Results of queries as Parquet files, by ADBC: https://arrow.apache.org/adbc/.

A result comes in batches and goes to row groups whose size depends on nothing but its columns, so equal results are
equal files, whatever the database, and neither is ever in memory as a whole. Integers become int64, floating-point
numbers float64, both exactly; booleans, texts and lists of numbers stay what they are; NULL is a missing value. A
column of another type is refused: what a decimal or a time is as a number, the query has to say.

Credentials go from environment variables to the driver and nowhere else: what a driver says is stripped of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, writing
from fasthep_archive.workflow.queries import Bound, Connect, variable

if TYPE_CHECKING:
    import pyarrow as pa

Part: TypeAlias = Literal["connect", "query"]
Batches: TypeAlias = "tuple[pa.Schema, Iterator[pa.RecordBatch]]"

VALUES = 2**22
"""Values in a row group, about: 32 MiB of numbers."""
ROWS = 2**17
"""Rows in a row group, at most."""


_HIDDEN = "***"
_QUOTED = re.compile(r'"([^"\n]*)"')
_HINTS = (
    (
        ("decimal", "numeric"),
        "CAST({name} AS DOUBLE PRECISION) AS {name}; of whole numbers, CAST({name} AS BIGINT) AS {name}",
    ),
    (("time", "date", "duration", "interval"), "CAST(EXTRACT(EPOCH FROM {name}) AS BIGINT) AS {name}"),
    (("uint64",), "CAST({name} AS BIGINT) AS {name}"),
    (("money",), "CAST(CAST({name} AS NUMERIC) AS DOUBLE PRECISION) AS {name}"),
    (("null",), "CAST({name} AS DOUBLE PRECISION) AS {name}"),
    (("list",), "CAST({name} AS DOUBLE PRECISION[]) AS {name}"),
    (("",), "CAST({name} AS TEXT) AS {name}"),
)
"""What to write of a column whose type begins so."""
_BARE = re.compile(r"[a-z_][a-z0-9_]*")
"""Names that all databases have without quotes."""
_REFUSED = ("money", "oid")
"""Types of PostgreSQL that come as integers and mean something else."""


class SqlError(DataError):
    """A database can't be reached, or a query can't be answered.

    :ivar part: of the source, that is to be changed.
    :ivar lasting: whether further queries over the same connection would fail as well.
    """

    def __init__(self, message: str, *, part: Part, hint: str | None = None, lasting: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.part = part
        self.lasting = lasting


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How a database is reached, with the values of environment variables in their places.

    :ivar name: what messages call it. :ivar file: of a database that is one.
    :ivar secrets: what messages must not repeat.
    """

    driver: str
    name: str
    uri: str = field(default="", repr=False)
    file: Path | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Database(Protocol):
    """A database to which there is a connection. All queries see it in the same state; nothing can be written."""

    @property
    def driver(self) -> str:
        """Distribution and version of the driver."""

    @property
    def server(self) -> str:
        """Name and version of what answers."""

    def batches(self, query: str, values: Sequence[Bound]) -> AbstractContextManager[Batches]:
        """Return the schema and the batches of a result.

        :param query: with the parameters as :func:`fasthep_archive.workflow.queries.names` has them.
        :param values: of these.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A snapshot: the number of its rows, and the digest of its bytes."""

    rows: int
    sha256: Digest


def access(connect: Connect, environ: Mapping[str, str]) -> Access:
    """Return how to reach a database.

    :param environ: environment variables.
    :raises SqlError: if one of them is not set.
    """
    found = {key: _value(getattr(connect, key), environ) for key in ("uri", "database", "user", "password")}
    uri, database = found["uri"] or "", found["database"]
    hidden = [connect.uri if variable(connect.uri or "") else None, connect.password]
    secrets = [_value(each, environ) for each in hidden]
    return Access(
        driver=connect.driver,
        name=str(connect.database or connect.uri or connect.driver),
        uri=uri,
        file=None if database is None else Path(database),
        user=found["user"],
        password=found["password"],
        secrets=tuple(_spellings([each for each in secrets if each], uri)),
    )


def hidden(message: str, access: Access) -> str:
    """Return a message without what it must not repeat.

    Where a whole address is secret, so is everything in quotes that it has: pieces of one that can't be read.
    """
    for secret in access.secrets:
        message = message.replace(secret, _HIDDEN)
    whole = f"{access.uri} {unquote(access.uri)}" if access.uri in access.secrets else ""
    return _QUOTED.sub(lambda match: f'"{_HIDDEN}"' if match[1] in whole else match[0], message)


def write_snapshot(result: Batches, target: Path, advance: Callable[[int], None]) -> Written:
    """Write a result to the Parquet file ``target``.

    :param advance: is told the number of rows that were written.

    :raises SqlError: if it has columns that can't be used.
    :raises DataError: if the file can't be written.
    """
    import pyarrow.parquet

    schema, batches = result
    wanted = _stored(schema)
    texts = [entry.name for entry in wanted if not _is_plain(entry.type)]
    rows = 0
    with (
        writing(target),
        pyarrow.parquet.ParquetWriter(target, wanted, compression="zstd", use_dictionary=texts) as writer,
    ):
        for table in _grouped((_cast(batch, wanted) for batch in batches), max(1024, VALUES // len(wanted)), wanted):
            writer.write_table(table, row_group_size=table.num_rows)
            rows += table.num_rows
            advance(table.num_rows)
    return Written(rows=rows, sha256=digest.of_file(target))


def spelled(name: str) -> str:
    """Return a column's name as a query has it.

    >>> spelled("pt"), spelled("p T")
    ('pt', '"p T"')
    """
    return name if _BARE.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _value(written: str | None, environ: Mapping[str, str]) -> str | None:
    """Return a value, or that of the environment variable that it stands for."""
    name = None if written is None else variable(written)
    if name is None:
        return written
    if not environ.get(name):
        hint = f"set it where you run and pack: export {name}=..."
        raise SqlError(f"the environment variable {name} is not set", part="connect", hint=hint, lasting=True)
    return environ[name]


def _spellings(secrets: Sequence[str], uri: str) -> list[str]:
    """Return how secrets, and the password in an address, may be spelled; the longest first."""
    found = set(secrets)
    try:
        parts = urlsplit(uri)
        found |= {parts.password or ""} | {value for name, value in parse_qsl(parts.query) if "passw" in name.lower()}
    except ValueError:  # no address: then it can't be used, and what is said of it is all hidden
        pass
    found |= {spelled(each) for each in tuple(found) for spelled in (quote, unquote, _quoted)}
    return sorted(filter(None, found), key=lambda each: (-len(each), each))


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _stored(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a snapshot for those of a result."""
    import pyarrow as pa

    names = [entry.name for entry in schema]
    for name in names:
        if not name or names.count(name) > 1:
            what = f"{names.count(name)} columns called {name!r}" if name else "a column without a name"
            raise SqlError(f"the query gives {what}", part="query", hint="name each of them: SELECT ... AS name")
    return pa.schema([pa.field(entry.name, _type(entry)) for entry in schema])


def _type(entry: pa.Field) -> pa.DataType:
    """Return the type that a column of a result is stored as."""
    import pyarrow as pa

    known = entry.metadata or {}
    theirs = known.get(b"ADBC:postgresql:typname") or known.get(b"POSTGRESQL:type", b"")
    extended = isinstance(entry.type, pa.BaseExtensionType) or b"ARROW:extension:name" in known
    opaque = extended or b"ADBC:postgresql:typname" in known
    kind = None if opaque or theirs.decode() in _REFUSED else _plain(entry.type)
    if kind is None:
        raise _unsupported(entry.name, theirs.decode() or str(entry.type))
    return kind


def _plain(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that has all values of ``kind`` exactly; none if formulas have no such values."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _plain(kind.value_type)
        return pa.list_(inner) if inner is not None and _is_plain(inner) else None
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_boolean(kind):
        return kind
    return pa.string() if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def _is_plain(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_primitive(kind))


def _unsupported(name: str, kind: str) -> SqlError:
    advice = next(text for words, text in _HINTS if kind.startswith(words))
    hint = f"leave it out, or write {advice.format(name=spelled(name))}"
    message = f"column {name!r} of the query's result has type {kind}: events have numbers, booleans and texts"
    return SqlError(message, part="query", hint=hint)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return a batch with the types of ``schema``, which have the same values."""
    import pyarrow as pa

    return pa.Table.from_batches([batch]).replace_schema_metadata(None).cast(schema)


def _grouped(tables: Iterable[pa.Table], rows: int, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the same rows in tables of ``rows`` each, each in one piece."""
    import pyarrow as pa

    rows = min(rows, ROWS)
    waiting, count = [schema.empty_table()], 0
    for table in tables:
        rest = table
        while rest.num_rows:
            waiting.append(rest.slice(0, rows - count))
            count += waiting[-1].num_rows
            rest = rest.slice(waiting[-1].num_rows)
            if count == rows:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, count = [schema.empty_table()], 0
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
