"""The databases that can be asked: SQLite, PostgreSQL and DuckDB, each by its ADBC driver.

Each connection reads in one transaction, so that all datasets are results from one state of the database, and can't
write. DuckDB could read other files and addresses as well: these would be in no transaction, and be told by no record,
so its queries have the database alone. The drivers are loaded only where a query is carried out: a replay needs none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from fasthep_archive.data.sql import ROWS, Access, Batches, Database, Part, SqlError, hidden, spelled
from fasthep_archive.data.sql_statements import check_duckdb, check_sqlite, single
from fasthep_archive.errors import ArchiveError
from fasthep_archive.workflow.queries import Bound, numbered

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

_MANAGER = "adbc-driver-manager"
_CURSOR = "fasthep_archive_snapshot"
_STATUS = re.compile(r"\A(?:[A-Z_]+: )?(?:\[\w+\] )?")
_CODE = re.compile(r"\s*\.?\s*SQLSTATE: \w+\s*\Z")
_QUERY = re.compile(r"\n+(?:Query was|query): .*\Z", re.DOTALL)
_ERROR = re.compile(r"(?:ERROR|FATAL):\s+")
_LINE = re.compile(r"LINE (\d+):")
_MARK = re.compile(r"[\s^]*")
_ABOVE = {"postgresql": 1}
"""Lines that a driver's statement has above the query."""
_ADVICE = {
    "disabled by configuration": "queries read the database alone: name the file among a dataset's files, or make a "
    "table of it: CREATE TABLE ... AS SELECT ..."
}
"""Hints of our own, by what a database says."""
_SHOWN = 500
"""Characters of what a database says that are repeated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Driver:
    """A kind of database.

    :ivar distributions: that have to be installed; the first is the driver.
    :ivar connect: makes a connection. :ivar open: makes a database of it.
    """

    distributions: tuple[str, ...]
    connect: Callable[[Access], Connection]
    open: Callable[[Connection, Access, str], Database]


@contextmanager
def connected(access: Access) -> Iterator[Database]:
    """Yield the database that ``access`` leads to.

    :raises SqlError: if it can't be reached, or its driver isn't installed.
    """
    driver = _DRIVERS[access.driver]
    version = _installed(driver)
    with _told(access, "connect"):
        connection = driver.connect(access)
    with closing(connection):
        with _told(access, "connect"):
            database = driver.open(connection, access, f"{driver.distributions[0]} {version}")
        yield database


def _installed(driver: _Driver) -> str:
    """Return the version of a driver."""
    try:
        version, *_ = [metadata.version(name) for name in driver.distributions]
    except metadata.PackageNotFoundError as error:
        message = f"the driver {error.name} is not installed"
        hint = "pip install 'fasthep-archive[sql]'"
        raise SqlError(message, part="connect", hint=hint, lasting=True) from None
    return version


@contextmanager
def _told(access: Access, part: Part) -> Iterator[None]:
    """Turn what a driver says into an error of the user, without secrets and without the error that may have them."""
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:  # noqa: BLE001 - of ADBC, of Arrow, of the operating system; raised again below
        lines, hint = _lines(str(error) or type(error).__name__, _ABOVE.get(access.driver, 0))
        what = f"can't connect to {access.name}" if part == "connect" else "the query fails"
        message = hidden(f"{what}: {lines}", access)
        told = SqlError(message, part=part, hint=hint and hidden(hint, access), lasting=True)
    else:
        return
    raise told


def _lines(message: str, above: int) -> tuple[str, str | None]:
    """Return what a database says in one line, and its own hint.

    :param above: lines above the query in the statement that the database got.
    """
    message = _QUERY.sub("", _CODE.sub("", message))
    found = _ERROR.search(message)
    message = message[found.end() :] if found else _STATUS.sub("", message)
    message = _LINE.sub(lambda match: f"LINE {int(match[1]) - above}:", message)
    lines = [" ".join(line.split()) for line in message.splitlines() if not _MARK.fullmatch(line)]
    hints = [line.removeprefix("HINT: ") for line in lines if line.startswith("HINT: ")]
    hints += [advice for words, advice in _ADVICE.items() if words in message]
    kept = "; ".join(line for line in lines if not line.startswith("HINT: "))
    return (kept if len(kept) <= _SHOWN else f"{kept[:_SHOWN]}..."), (hints[0] if hints else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plain:
    """A database whose driver gives results in batches by itself.

    :ivar mark: what stands before the numbers of parameters. :ivar options: of each statement.
    :ivar check: raises if a statement is no query.
    """

    connection: Connection
    access: Access
    driver: str
    server: str
    mark: str
    options: Mapping[str, str]
    check: Callable[[str], None]

    @contextmanager
    def batches(self, query: str, values: Sequence[Bound]) -> Iterator[Batches]:
        """Yield schema and batches of a result."""
        text = numbered(single(query), self.mark)
        with closing(self.connection.cursor()) as cursor:
            with _told(self.access, "query"):
                self.check(text)
                cursor.adbc_statement.set_options(**self.options)
                cursor.execute(text, tuple(values) or None)
                reader = cursor.fetch_record_batch()
            yield reader.schema, self._read(reader)

    def _read(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with _told(self.access, "query"):
            yield from reader


@dataclass(frozen=True, kw_only=True, slots=True)
class _Postgres:
    """A PostgreSQL server, read through a cursor: a result with parameters would be in memory as a whole otherwise."""

    connection: Connection
    access: Access
    driver: str
    server: str

    @contextmanager
    def batches(self, query: str, values: Sequence[Bound]) -> Iterator[Batches]:
        """Yield schema and batches of a result."""
        text = numbered(single(query), "$")
        with _told(self.access, "query"):
            _execute(self.connection, f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR\n{text}", values)
        first = self._fetched()
        yield first.schema, self._read(first)
        with _told(self.access, "query"):
            _execute(self.connection, f"CLOSE {_CURSOR}")

    def _read(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        while table.num_rows:
            yield from table.to_batches()
            table = self._fetched()

    def _fetched(self) -> pa.Table:
        """Return the next rows; a table without rows at the end."""
        with _told(self.access, "query"), closing(self.connection.cursor()) as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})  # COPY takes no FETCH
            cursor.execute(f"FETCH {ROWS // 4} FROM {_CURSOR}")
            return cursor.fetch_arrow_table()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sqlite:
    """An SQLite database. It has types of values, not of columns, and its driver takes those of the first rows.

    So it is asked first which types the values of each column have. Where some are missing, the driver gets others
    in their place, and which these are as a column of its own.
    """

    plain: _Plain

    @property
    def driver(self) -> str:
        return self.plain.driver

    @property
    def server(self) -> str:
        return self.plain.server

    @contextmanager
    def batches(self, query: str, values: Sequence[Bound]) -> Iterator[Batches]:
        """Yield schema and batches of a result."""
        inner = single(query)
        with self.plain.batches(inner, values) as (schema, _):
            names = list(schema.names)
        if len(set(names)) < len(names):
            yield schema, iter(())  # that is refused
            return
        kinds = self._kinds(inner, values, names)
        declared = self._declared(inner) if frozenset({"null"}) in kinds else [""] * len(names)
        columns = [
            _Column(name=name, kinds=found, declared=kind)
            for name, found, kind in zip(names, kinds, declared, strict=True)
        ]
        wanted = ", ".join(text for column in columns for text in column.selected)
        rewritten = f"SELECT {wanted} FROM (\n{inner}\n)"  # noqa: S608 - the author's query; names are quoted
        with self.plain.batches(rewritten, values) as (_, found):
            yield _schema(columns), _restored(found, columns)

    def _kinds(self, query: str, values: Sequence[Bound], names: Sequence[str]) -> list[frozenset[str]]:
        """Return the types of the values of each column, in SQLite's words; ``null`` without rows, too."""
        told = ", ".join(f"group_concat(DISTINCT typeof({_name(name)}))" for name in names)
        asked = f"SELECT {told} FROM (\n{query}\n)"  # noqa: S608 - the author's query; names are quoted
        with self.plain.batches(asked, values) as (_, found):
            (batch,) = found
        return [frozenset(str(column[0].as_py() or "null").split(",")) for column in batch.columns]

    def _declared(self, query: str) -> list[str]:
        """Return the types of columns that tables declare, as a view has them; see https://sqlite.org/datatype3.html.

        Views have no parameters; numbers in their places (``01``, ``02``) change no type that is declared.
        """
        with _told(self.plain.access, "query"):
            _execute(self.plain.connection, f"CREATE TEMP VIEW {_CURSOR} AS\n{numbered(query, '0')}")
            with closing(self.plain.connection.cursor()) as cursor:
                cursor.execute(f"PRAGMA temp.table_info({_CURSOR})")
                found = cursor.fetch_arrow_table()["type"].to_pylist()
            _execute(self.plain.connection, f"DROP VIEW temp.{_CURSOR}")
        return [str(kind or "").upper() for kind in found]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """A column of a result of SQLite, and the types of its values (``integer``, ``real``, ``text``, ``null``).

    :ivar declared: the type of the table's column, as it is written there; only where no row has a value.
    """

    name: str
    kinds: frozenset[str]
    declared: str = ""

    @property
    def kind(self) -> str:
        """Return the one type that has all values.

        :raises SqlError: if there is none.
        """
        known = self.kinds - {"null"}
        if "blob" in known or ("text" in known and len(known) > 1):
            kinds = " and ".join(sorted(known))
            message = f"column {self.name!r} of the query's result has values of type {kinds}"
            hint = f"events have numbers, booleans and texts: leave it out, or write CAST({spelled(self.name)} AS REAL)"
            raise SqlError(message, part="query", hint=hint)
        if not known:
            return next((kind for word, kind in _AFFINITIES if word in self.declared), "real")
        return next(iter(known)) if len(known) == 1 else "real"

    @property
    def masked(self) -> bool:
        """Return whether missing values are told by a column of its own; the driver takes them for integers."""
        return "null" in self.kinds and self.kind != "integer"

    @property
    def mixed(self) -> bool:
        """Return whether whole numbers become others, and a column of its own has those that are none."""
        return self.kinds >= {"integer", "real"}

    @property
    def selected(self) -> tuple[str, ...]:
        """Return what is asked for."""
        name = _name(self.name)
        value = {"integer": name, "real": f"CAST({name} AS REAL)", "text": name}[self.kind]
        instead = {"real": "0.0", "text": "''"}.get(self.kind)
        found = (f"coalesce({value}, {instead})", f"{name} IS NULL") if self.masked else (value,)
        changed = f"CASE WHEN typeof({name}) = 'integer' AND {name} <> {value} THEN {name} END"
        return (*found, changed) if self.mixed else found

    def restored(self, found: Iterator[pa.Array], row: int) -> pa.Array:
        """Return the values of a batch, from what was asked for.

        :param row: of the result, that comes first in it.
        :raises SqlError: if a whole number would be rounded.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        values = next(found)
        if self.masked:
            values = pc.if_else(pc.equal(next(found), 0), values, None)
        if self.mixed:
            changed = next(found)
            if changed.null_count < len(changed):
                place = pc.index(pc.is_valid(changed), value=True).as_py()
                raise self._rounded(changed[place].as_py(), row + place)
        return values.cast({"integer": pa.int64(), "real": pa.float64(), "text": pa.string()}[self.kind])

    def _rounded(self, number: int, row: int) -> SqlError:
        message = f"row {row + 1} of the query's result: column {self.name!r} has {number}, which is no float64"
        name = spelled(self.name)
        hint = (
            f"other rows have other numbers there: leave it out, or write CAST({name} AS REAL) AS {name}, to round it"
        )
        return SqlError(message, part="query", hint=hint)


_AFFINITIES = (("INT", "integer"), ("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"))
"""What a declared type begins with or has in it, and what such a column holds; numbers, if nothing of these."""


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _schema(columns: Sequence[_Column]) -> pa.Schema:
    import pyarrow as pa

    types = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string()}
    return pa.schema([(column.name, types[column.kind]) for column in columns])


def _restored(batches: Iterator[pa.RecordBatch], columns: Sequence[_Column]) -> Iterator[pa.RecordBatch]:
    """Yield batches with missing values where the columns beside say so."""
    import pyarrow as pa

    row, schema = 0, _schema(columns)
    for batch in batches:
        found = iter(batch.columns)
        yield pa.RecordBatch.from_arrays([column.restored(found, row) for column in columns], schema=schema)
        row += batch.num_rows


def _execute(connection: Connection, statement: str, values: Sequence[Bound] = ()) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement, tuple(values) or None)


def _to_sqlite(access: Access) -> Connection:
    import adbc_driver_sqlite.dbapi

    return adbc_driver_sqlite.dbapi.connect(f"file:{quote(str(access.file))}?mode=ro")


def _open_sqlite(connection: Connection, access: Access, driver: str) -> Database:
    size = {"adbc.sqlite.query.batch_rows": str(ROWS // 4)}
    found = connection.adbc_get_info()
    server = f"{found['vendor_name']} {found['vendor_version']}"
    plain = _Plain(
        connection=connection, access=access, driver=driver, server=server, mark="?", options=size, check=check_sqlite
    )
    _execute(connection, "SELECT count(*) FROM sqlite_master")  # a file that is no database is told of now
    return _Sqlite(plain=plain)


def _to_duckdb(access: Access) -> Connection:
    import adbc_driver_duckdb
    import adbc_driver_manager.dbapi

    return adbc_driver_manager.dbapi.connect(
        driver=adbc_driver_duckdb.driver_path(),
        entrypoint="duckdb_adbc_init",
        db_kwargs={"path": str(access.file), "access_mode": "READ_ONLY", "enable_external_access": "false"},
    )


def _open_duckdb(connection: Connection, access: Access, driver: str) -> Database:
    server = f"DuckDB {connection.adbc_get_info()['vendor_version'].removeprefix('v')}"
    return _Plain(
        connection=connection, access=access, driver=driver, server=server, mark="$", options={}, check=check_duckdb
    )


def _to_postgres(access: Access) -> Connection:
    import adbc_driver_postgresql.dbapi

    uri = access.uri
    if not uri.startswith(("postgresql://", "postgres://")):
        hint = "it starts with postgresql://, as in postgresql://HOST/DATABASE"
        raise SqlError(f"{access.name} is no address of a PostgreSQL server", part="connect", hint=hint, lasting=True)
    for key, value in (("user", access.user), ("password", access.password)):
        if value is not None:
            uri += f"{'&' if urlsplit(uri).query else '?'}{key}={quote(value, safe='')}"
    return cast("Connection", adbc_driver_postgresql.dbapi.connect(uri))


def _open_postgres(connection: Connection, access: Access, driver: str) -> Database:
    _execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    version = int(connection.adbc_get_info()["vendor_version"])
    server = f"PostgreSQL {version // 10000}.{version % 10000}"
    return _Postgres(connection=connection, access=access, driver=driver, server=server)


_DRIVERS: Mapping[str, _Driver] = {
    "duckdb": _Driver(distributions=("duckdb", _MANAGER), connect=_to_duckdb, open=_open_duckdb),
    "postgresql": _Driver(
        distributions=("adbc-driver-postgresql", _MANAGER), connect=_to_postgres, open=_open_postgres
    ),
    "sqlite": _Driver(distributions=("adbc-driver-sqlite", _MANAGER), connect=_to_sqlite, open=_open_sqlite),
}
