"""Events per second and memory of the results of queries, beside the drivers' own fetching.

    python bench/sql.py [--events N]

The same table in SQLite, DuckDB and PostgreSQL (a server of the bench's own, where Debian's packages are installed), and
the same query of all its rows. ``snapshot`` is what ``pack`` and ``run`` do: the result as a Parquet file, batch by
batch, with its digest. ``driver`` is the same driver's result fetched at once, as one Arrow table. Each in a process of
its own that has asked for a few rows before; peaks are those of the process, of which ``before`` was there then.
PostgreSQL's server is another process, whose memory is not in it.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from memory import alone, peak

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

STEP = 250_000
QUERY = "SELECT event, pt, n FROM events"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds, bytes of memory at the peak and before, bytes of the file that was written."""

    seconds: float
    peak: int
    before: int
    size: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A database: a file, or the address of a server with its user and password."""

    driver: str
    file: Path | None = None
    uri: str = ""
    user: str | None = None
    password: str | None = None


def batches(events: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the rows, some at a time."""
    random = np.random.default_rng(1)
    for start in range(0, events, STEP):
        size = min(STEP, events - start)
        yield {
            "event": np.arange(start, start + size),
            "pt": random.exponential(30, size),
            "n": random.poisson(3, size),
        }


def make_sqlite(place: Place, events: int) -> None:
    """Fill a file of SQLite."""
    assert place.file is not None
    with closing(sqlite3.connect(place.file)) as connection, connection:
        connection.execute("CREATE TABLE events (event INTEGER NOT NULL, pt REAL NOT NULL, n INTEGER NOT NULL)")
        for batch in batches(events):
            rows = zip(*(values.tolist() for values in batch.values()), strict=True)
            connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)


def make_duckdb(place: Place, events: int) -> None:
    """Fill a file of DuckDB."""
    import duckdb
    import pyarrow as pa

    with closing(duckdb.connect(str(place.file))) as connection:
        connection.execute("CREATE TABLE events (event BIGINT, pt DOUBLE, n BIGINT)")
        for batch in batches(events):
            connection.register("batch", pa.table(batch))
            connection.execute("INSERT INTO events SELECT * FROM batch")


def make_postgresql(place: Place, events: int) -> None:
    """Fill a table of PostgreSQL."""
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow as pa

    with adbc.connect(_full(place), autocommit=True) as connection, connection.cursor() as cursor:
        for number, batch in enumerate(batches(events)):
            cursor.adbc_ingest("events", pa.table(batch), mode="append" if number else "replace")


MAKERS: dict[str, Callable[[Place, int], None]] = {
    "sqlite": make_sqlite,
    "duckdb": make_duckdb,
    "postgresql": make_postgresql,
}


def snapshot(place: Place, limit: str) -> int:
    """Write the result to a file, as a run does; return its size."""
    from fasthep_archive.data.sql import Access, write_snapshot
    from fasthep_archive.data.sql_drivers import connected

    reached = Access(
        driver=place.driver,
        name="bench",
        uri=place.uri,
        file=place.file,
        user=place.user,
        password=place.password,
    )
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "snapshot.parquet"
        with connected(reached) as database, database.batches(QUERY + limit, ()) as result:
            write_snapshot(result, target, lambda _rows: None)
        return target.stat().st_size


def fetch(place: Place, limit: str) -> int:
    """Fetch the result at once by the driver."""
    with _plain(place) as connection, connection.cursor() as cursor:
        cursor.execute(QUERY + limit)
        return int(cursor.fetch_arrow_table().nbytes)


def _plain(place: Place) -> Connection:
    """Return a connection to a database by its driver alone."""
    if place.driver == "sqlite":
        import adbc_driver_sqlite.dbapi

        return adbc_driver_sqlite.dbapi.connect(str(place.file))
    if place.driver == "postgresql":
        import adbc_driver_postgresql.dbapi

        return adbc_driver_postgresql.dbapi.connect(_full(place))
    import adbc_driver_duckdb
    import adbc_driver_manager.dbapi

    return adbc_driver_manager.dbapi.connect(
        driver=adbc_driver_duckdb.driver_path(),
        entrypoint="duckdb_adbc_init",
        db_kwargs={"path": str(place.file), "access_mode": "READ_ONLY"},
    )


def _full(place: Place) -> str:
    """Return an address with user and password."""
    return f"{place.uri}?user={place.user}&password={quote(place.password or '', safe='')}"


def measured(function: Callable[[Place, str], int], place: Place) -> Measured:
    """Return what a function takes, after a few rows."""
    function(place, " LIMIT 1000")
    before, begun = peak(), time.perf_counter()
    size = function(place, "")
    return Measured(seconds=time.perf_counter() - begun, peak=peak(), before=before, size=size)


def places(directory: Path, stack: ExitStack) -> Iterator[Place]:
    """Yield the databases that can be had here, empty."""
    yield Place(driver="sqlite", file=directory / "events.sqlite")
    yield Place(driver="duckdb", file=directory / "events.duckdb")
    import postgres
    import pytest

    try:
        server = stack.enter_context(postgres.server())
    except pytest.skip.Exception as error:
        print(f"no PostgreSQL: {error}", file=sys.stderr)
        return
    yield Place(driver="postgresql", uri=server.uri, user=postgres.USER, password=postgres.PASSWORD)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures queries.")
    parser.add_argument("--events", type=int, default=5_000_000)
    events = parser.parse_args().events
    print(f"{events} rows of 3 numbers\n")
    print("| database | snapshot Mevents/s | peak MB | before MB | file MB | driver Mevents/s | peak MB | before MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        for place in places(Path(directory), stack):
            alone(MAKERS[place.driver], place, events)
            own, driver = (alone(measured, function, place) for function in (snapshot, fetch))
            assert isinstance(own, Measured)
            assert isinstance(driver, Measured)
            cells = [
                place.driver,
                f"{events / own.seconds / 1e6:.2f}",
                f"{own.peak / 1e6:.0f}",
                f"{own.before / 1e6:.0f}",
                f"{own.size / 1e6:.0f}",
                f"{events / driver.seconds / 1e6:.2f}",
                f"{driver.peak / 1e6:.0f}",
                f"{driver.before / 1e6:.0f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
