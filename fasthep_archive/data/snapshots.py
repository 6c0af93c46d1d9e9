"""Events of a source of kind ``sql``: the snapshot of a query's result, or a file that a dataset has in its place."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from fasthep_archive.data.parquet import open_parquet
from fasthep_archive.data.root import open_tree
from fasthep_archive.data.source import EventSource, Read
from fasthep_archive.errors import DataError

_ROOT = b"root"


def open_snapshot(path: Path, read: Read) -> AbstractContextManager[EventSource]:
    """Return the events of a Parquet or ROOT file; a context manager.

    :param read: its tree is the events' name in a ROOT file; means nothing for a Parquet file.
    :raises DataError: if the file can't be read, or is a ROOT file and no tree is named.
    """
    if not _is_root(path):
        return open_parquet(path, read)
    if not read.tree:
        raise DataError(f"{path} is a ROOT file", hint="name its tree: sources: {events: {kind: sql, tree: ...}}")
    return open_tree(path, read)


def _is_root(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_ROOT)) == _ROOT
    except OSError:  # the reader says what is wrong
        return False
