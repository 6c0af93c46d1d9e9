"""Private directories and whole files: what caches on disk stand on."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fasthep_archive.errors import DataError, writing

_PLACES = 1 << 30
"""How many different locks the file of locks has."""


def private_directory(path: Path) -> Path:
    """Create ``path`` for this user alone; refuse a directory that others own or can write to."""
    with writing(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _private(path.stat()):
        raise DataError(
            f"the cache directory {path} can be written by other users",
            hint="set FASTHEP_ARCHIVE_CACHE to a directory of your own, or chmod 700 it",
        )
    return path


def read_private(path: Path) -> bytes | None:
    """Return the content of ``path``; none if there is no such file, or others own it or can write to it."""
    try:
        with path.open("rb") as stream:
            return stream.read() if _private(os.fstat(stream.fileno())) else None
    except OSError:
        return None


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, and make the directories that it needs.

    :raises DataError: if it can't be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(temporary).chmod(0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Keep other processes out of what is called ``name``, a hexadecimal digest, while they too ask for it here.

    All names share the file ``path``: each has one byte of it to lock, so that no lock files are left behind. The
    operating system unlocks for a process that dies. A file system without locks gives none: whoever writes atomically
    then does some work twice, no more.
    """
    place = int(name[:16], 16) % _PLACES
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError, ImportError):  # Windows has no fcntl
            import fcntl

            fcntl.lockf(handle, fcntl.LOCK_EX, 1, place)
        yield
    finally:
        os.close(handle)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold the file ``path`` locked, made if need be, and yield whether it could be: whether nobody else does.

    The operating system unlocks for a process that dies. Where files can't be locked it yields false.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ImportError):  # another process has it; or Windows, which has no fcntl
        return False
    return True


def _private(state: os.stat_result) -> bool:
    """Return whether a file or directory belongs to this user, and nobody else can write to it."""
    mine = not hasattr(os, "getuid") or state.st_uid == os.getuid()
    return mine and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
