"""Private directories, whole files and stretches of files: what caches on disk stand on."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, TypeAlias, cast

from fasthep_archive.errors import DataError, writing

_PLACES = 1 << 30
"""How many different locks the file of locks has."""
PIECE = 1 << 20
"""Bytes of a file that are read or written at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Bytes that lie in a file, ``size`` of them from ``start`` on, and that nobody has to hold to pass them on."""

    path: Path
    size: int
    start: int = 0

    @classmethod
    def whole(cls, path: Path) -> Self:
        """Return all of a file.

        :raises OSError: if it can't be found.
        """
        return cls(path=path, size=path.stat().st_size)


Bytes: TypeAlias = "bytes | Stretch"
"""Bytes at hand, or where they lie."""


def size_of(content: Bytes) -> int:
    """Return the number of bytes."""
    return content.size if isinstance(content, Stretch) else len(content)


def opened(content: Bytes) -> BinaryIO:
    """Return the bytes as a file to read and to seek in; it needn't be closed.

    A stretch that ends before its size reads as cut off.
    """
    if isinstance(content, Stretch):
        return cast("BinaryIO", io.BufferedReader(_Reading(content), PIECE))
    return io.BytesIO(content)


def pieces(content: Bytes) -> Iterator[bytes]:
    """Yield the bytes, at most :data:`PIECE` at a time."""
    stream = opened(content)
    while piece := stream.read(PIECE):
        yield piece


def read_all(content: Bytes) -> bytes:
    """Return the bytes."""
    return opened(content).read() if isinstance(content, Stretch) else content


class _Reading(io.RawIOBase):
    """Reads a stretch; the file is open only while it is read from, so that any number of stretches can be kept."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        before = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._stretch.size}[whence]
        self._place = max(0, before + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # of any writable buffer
        left = max(0, min(len(buffer), self._stretch.size - self._place))
        with self._stretch.path.open("rb", buffering=0) as file:
            file.seek(self._stretch.start + self._place)
            count = file.readinto(memoryview(buffer)[:left])
        self._place += count
        return count


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


def write_atomically(path: Path, content: Bytes) -> None:
    """Write ``path`` whole or not at all, and make the directories that it needs.

    :raises DataError: if it can't be written.
    """
    with writing(path), replacing(path) as stream:
        for piece in (content,) if isinstance(content, bytes) else pieces(content):
            stream.write(piece)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write, to read and to seek in, which becomes ``path`` when all has gone well, else is gone.

    It lies beside ``path``, whose directory is made if need be; an error of writing is an OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
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
