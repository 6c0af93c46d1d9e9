"""A PostgreSQL server of the test's own, from Debian's packages: on loopback, with a password, gone afterwards."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pytest

USER, PASSWORD = "ana", "Zx9-qT/4v@L w:8mR"
"""The password has what addresses give a meaning to."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server; its database is called ``postgres``."""

    port: int

    @property
    def uri(self) -> str:
        """Return its address, without user and password."""
        return f"postgresql://127.0.0.1:{self.port}/postgres"

    @property
    def full_uri(self) -> str:
        """Return its address with user and password."""
        return f"{self.uri}?user={USER}&password={quote(PASSWORD, safe='')}"

    def execute(self, *statements: str) -> None:
        """Carry out statements as the user who may do everything."""
        with adbc.connect(self.full_uri, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ingest(self, name: str, table: pa.Table) -> None:
        """Make a table of an Arrow table."""
        with adbc.connect(self.full_uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="replace")


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Yield a server; skip the test where PostgreSQL isn't installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    binaries = programs[-1].parent
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    other = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}  # it refuses to run as root
    try:
        (directory / "password").write_text(PASSWORD)
        if other:
            for path in (directory, directory / "password"):
                shutil.chown(path, **other)
        _made(binaries, directory, other)
        port = _free_port()
        options = ("-p", str(port), "-k", str(directory), "-c", "listen_addresses=127.0.0.1", "-F")
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", directory / "data", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                **other,
            )
        try:
            _wait(directory, port, process)
            yield Server(port=port)
        finally:
            process.send_signal(signal.SIGINT)  # without waiting for those who are connected
            process.wait(30)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _made(binaries: Path, directory: Path, other: dict[str, str]) -> None:
    words = ["-D", directory / "data", "-U", USER, f"--pwfile={directory / 'password'}", "-A", "scram-sha-256"]
    subprocess.run(
        [binaries / "initdb", *words, "--no-sync", "-E", "UTF8", "--locale=C"],
        check=True,
        capture_output=True,
        cwd="/",
        **other,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(directory: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; its file of the process says so in its last line."""
    status = directory / "data" / "postmaster.pid"
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if "ready" in status.read_text().splitlines()[-1]:
                return
        time.sleep(0.05)
    raise AssertionError((directory / "log").read_text())
