"""One file from one address: taken up where it was cut, digested as it arrives, there whole or not at all.

What has arrived lies beside the target as ``.NAME.part``, and which version of the file it is of in
``.NAME.part.json``; both outlive a process that is killed. A lock keeps other processes from writing there too.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fasthep_archive.context import Progress
from fasthep_archive.data.servers import Answer, Dropped, Expected, Server, Stream, Unavailable, Version
from fasthep_archive.digest import Digest
from fasthep_archive.errors import writing

if TYPE_CHECKING:
    from hashlib import _Hash

_PIECE = 1 << 20
SMALL = 1 << 26
"""A file of another size than the recorded one is fetched up to this size (64 MiB), so that its digest can be shown."""


class Mismatch(Unavailable):
    """The bytes are not those that were recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A file that is here now.

    :ivar url: where it came from.
    """

    path: Path
    size: int
    sha256: Digest
    adler32: str
    url: str


@dataclass(kw_only=True, slots=True)
class Sums:
    """The digests of bytes as they arrive."""

    size: int = 0
    _sha256: _Hash = field(default_factory=hashlib.sha256)
    _adler32: int = 1

    def add(self, piece: bytes) -> None:
        """Take in the next bytes."""
        self.size += len(piece)
        self._sha256.update(piece)
        self._adler32 = zlib.adler32(piece, self._adler32)

    def fetched(self, path: Path, url: str) -> Fetched:
        """Return what all bytes together are."""
        sha256 = Digest(self._sha256.hexdigest())
        return Fetched(path=path, size=self.size, sha256=sha256, adler32=f"{self._adler32:08x}", url=url)


def sums_of(path: Path) -> Sums:
    """Return the digests of a file that is here."""
    sums = Sums()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            sums.add(piece)
    return sums


def difference(found: Fetched, expected: Expected, *, by: str = "recorded") -> str | None:
    """Return how a file differs from what is ``expected``, with both digests, or none."""
    pairs: list[tuple[str, object, object]] = [
        ("size", found.size, expected.size),
        ("SHA-256", found.sha256, expected.sha256),
        ("Adler-32", found.adler32, expected.adler32),
    ]
    if all(known is None or known == here for _, here, known in pairs):
        return None
    shown = [pair for pair in pairs if pair[2] is not None]
    here = ", ".join(f"{what} {value}" for what, value, _ in shown)
    return f"{here}; {by}: {', '.join(f'{what} {value}' for what, _, value in shown)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What has arrived of ``target`` so far."""

    target: Path

    @property
    def path(self) -> Path:
        """Return where the bytes lie."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def size(self) -> int:
        """Return how many bytes have arrived."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> tuple[str, Version] | None:
        """Return from where the bytes are and of which version, if that was noted."""
        try:
            noted = json.loads(self._note.read_bytes())
            return str(noted["url"]), Version(**noted["version"])
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def begin(self, url: str, version: Version) -> None:
        """Note what the bytes to come are of, and forget all others."""
        self.drop()
        self._note.write_text(json.dumps({"url": url, "version": asdict(version)}))

    def drop(self) -> None:
        """Forget the bytes."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the bytes, which are all there, where they belong."""
        with writing(self.target):
            os.replace(self.path, self.target)
            self._note.unlink(missing_ok=True)

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[bool]:
        """Keep other processes out, and yield whether one had to be waited for."""
        lock = self.target.with_name(f".{self.target.name}.lock")
        with writing(self.target):
            lock.parent.mkdir(parents=True, exist_ok=True)
            stream = _locked(lock, wait=False)
        waited = stream is None
        if stream is None:
            progress.message(f"waiting for another process that fetches {self.target.name}")
            with writing(self.target):
                stream = _locked(lock, wait=True)
        try:
            yield waited
        finally:
            lock.unlink(missing_ok=True)  # those who wait for it see that it is gone, and make a new one
            if stream is not None:
                stream.close()

    @property
    def _note(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part.json")


def _locked(path: Path, *, wait: bool) -> BinaryIO | None:
    """Return the open file ``path``, locked for this process until it is closed; none if another has it.

    The lock ends with the process, however that ends. Windows has no such lock, and goes without.
    """
    while True:
        stream = path.open("wb")
        if sys.platform == "win32":
            return stream
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                return stream
        except BlockingIOError:
            stream.close()
            return None
        except BaseException:
            stream.close()
            raise
        stream.close()


def transfer(server: Server, url: str, part: Part, expected: Expected, progress: Progress) -> Fetched:
    """Bring what is missing of ``part`` from ``url`` over one connection, and return what it is when it is whole.

    :raises Dropped: if the connection ended; what has arrived is kept.
    :raises Refused: if the server does not hand out the file.
    :raises Mismatch: if it is not as ``expected``.
    """
    start, version = _resumable(part, url, expected)
    limit = None if expected.size is None else max(expected.size, SMALL)
    with server.stream(url, start, version) as stream:
        _refuse_another(url, stream.answer, expected)
        with writing(part.path):
            sums = _taken_up(part, url, stream.answer)
            total = stream.answer.version.size
            progress.start(f"fetching {part.target.name}", total or expected.size or 0, "bytes")
            progress.advance(sums.size)
            _receive(stream, part, sums, limit, progress)
    cut_off = limit is not None and sums.size > limit
    if total is not None and sums.size < total and not cut_off:
        raise Dropped(f"{url}: it ends after {sums.size} of {total} bytes")
    found = sums.fetched(part.target, url)
    if wrong := difference(found, expected):
        raise _another(url, wrong)
    if damage := difference(found, stream.answer.stated, by="the server says"):
        part.drop()
        raise Dropped(f"{url} arrives damaged: {damage}")
    return found


def _resumable(part: Part, url: str, expected: Expected) -> tuple[int, Version | None]:
    """Return from which byte to go on, and of which version the bytes before are, where the server knows that.

    Bytes from another address, or of a file that may have changed without notice, are used if the digest at the end
    will tell. At least one byte is left to ask for.
    """
    origin = part.origin()
    if origin is None:
        return 0, None
    start = part.size if origin[1].size is None else min(part.size, origin[1].size - 1)
    if origin[0] == url and origin[1].telling:
        return max(start, 0), origin[1]
    return (max(start, 0), None) if expected.sha256 else (0, None)


def _refuse_another(url: str, answer: Answer, expected: Expected) -> None:
    """Raise if what the server says already shows that its file is another one; a small file is looked at first."""
    known, stated = answer.version.size, answer.stated.sha256
    if None not in (known, expected.size) and known != expected.size and (known or 0) > SMALL:
        digest = f", SHA-256 {expected.sha256}" if expected.sha256 else ""
        raise _another(url, f"size {known}; recorded: size {expected.size}{digest}")
    if stated and expected.sha256 and stated != expected.sha256:
        raise _another(url, f"SHA-256 {stated}; recorded: SHA-256 {expected.sha256}")


def _another(url: str, wrong: str) -> Mismatch:
    hint = "it has changed there: ask those who keep it for the recorded version, or name another address of it"
    return Mismatch(f"{url} is not the recorded file: {wrong}", hint=hint)


def _taken_up(part: Part, url: str, answer: Answer) -> Sums:
    """Return the digests of the bytes that are here and precede those that follow."""
    if not answer.start:
        part.begin(url, answer.version)
        return Sums()
    os.truncate(part.path, answer.start)
    return sums_of(part.path)


def _receive(stream: Stream, part: Part, sums: Sums, limit: int | None, progress: Progress) -> None:
    """Append what arrives, until its end or until it is certainly another file."""
    with part.path.open("ab") as out:
        while (piece := stream.read()) and (limit is None or sums.size <= limit):
            out.write(piece)
            sums.add(piece)
            progress.advance(len(piece))
        out.flush()
        os.fsync(out.fileno())
