"""Writes the container: members in, one zip in canonical form out, in one pass and all or nothing."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fasthep_archive.bundle import form, source
from fasthep_archive.context import Progress
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, UsageError

PIECE = 1 << 17
"""Bytes that are written at a time. Linux 6 takes three times as long for writes of a megabyte, each into one large
piece of memory that it has to find first (measured on ext4: 2.4 against 0.8 s for a gigabyte)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """What goes into the bundle under a name: bytes, or a file, whose SHA-256 may be known."""

    name: str
    source: bytes | Path
    sha256: Digest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a bundle holds under a name; ``offset`` is where its content begins in the zip."""

    name: str
    size: int
    sha256: Digest
    offset: int


def write(members: Iterable[Member], destination: Path, *, progress: Progress) -> tuple[Written, ...]:
    """Write ``members`` to the zip ``destination`` and return what was written, in the order of the zip.

    The same members give the same bytes, in whatever order they come. ``destination`` appears, or is replaced, when
    all is written; nothing else is left behind if that fails. It isn't synced to the disk: its digests tell.

    :raises UsageError: if a member can't have its name, or ``destination`` can't be written.
    :raises DataError: if a file can't be read, changes while it is read, or has not the SHA-256 it should have.
    """
    given = list(members)
    _check_names(given)
    by_name = {member.name: member for member in given}
    places = form.place((member.name, _size(member)) for member in given)
    progress.start(f"writing {destination.name}", sum(place.size for place in places), "bytes")
    written = []
    with _replacing(destination) as file:
        for index, place in enumerate(places):
            crc, sha256 = _copy(by_name[place.name], place, file, progress)
            places[index] = place._replace(crc=crc)
            written.append(Written(name=place.name, size=place.size, sha256=sha256, offset=place.start))
        _finish(file, places)
    return tuple(written)


def needs_sidecar(written: Sequence[Written]) -> bool:
    """Return whether the bundle is too large for ``python3 BUNDLE``: old versions of Python run no ZIP64."""
    size = sum(form.CENTRAL.size + len(item.name.encode()) for item in written)
    offset = max((item.offset + item.size for item in written), default=0)
    return len(form.end_records(len(written), size, offset)) > form.END.size


def _check_names(members: Sequence[Member]) -> None:
    most = form.LIMITS.members
    if len(members) > most:
        raise UsageError(
            f"{len(members)} files are more than a bundle holds, {most}", hint="pack them into fewer files"
        )
    faults = list(form.name_faults(member.name for member in members))
    if faults:
        raise UsageError("can't be in a bundle: " + "\n".join(map(str, faults)), hint="rename the files")


def _size(member: Member) -> int:
    if isinstance(member.source, bytes):
        return len(member.source)
    with _blaming(member):
        status = member.source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{member.source} can't be packed: it is not a file")
    return status.st_size


def _copy(member: Member, place: form.Member, file: BinaryIO, progress: Progress) -> tuple[int, Digest]:
    """Copy the content of a member and return its CRC-32 and SHA-256; the header is without the CRC as yet."""

    def sink(view: memoryview) -> None:
        for start in range(0, len(view), PIECE):
            file.write(view[start : start + PIECE])
        progress.advance(len(view))

    file.write(form.local_header(place))
    with _reading(member, place.size) as read_into:
        crc, sha256 = source.measure(read_into, place.size, sink)
    if member.sha256 is not None and sha256 != member.sha256:
        raise _changed(member, f"its SHA-256 is {sha256}, and was {member.sha256}")
    return crc, Digest(sha256)


@contextmanager
def _reading(member: Member, size: int) -> Iterator[Callable[[memoryview, int], None]]:
    """Yield a function that fills a view with the content from an offset on; offsets come in order, without gaps."""
    if isinstance(member.source, bytes):
        content = memoryview(member.source)
        yield lambda view, start: view.__setitem__(slice(None), content[start : start + len(view)])
        return
    with _blaming(member):
        stream = member.source.open("rb")
    with stream:

        def read_into(view: memoryview, _start: int) -> None:
            with _blaming(member):
                count = stream.readinto(view)
            if count != len(view):
                raise _changed(member, f"it was {size} bytes long, and is shorter now")

        yield read_into
        with _blaming(member):
            more = stream.read(1)
        if more:
            raise _changed(member, f"it was {size} bytes long, and is longer now")


@contextmanager
def _blaming(member: Member) -> Iterator[None]:
    """Say of a file that can't be read that it is this one."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{member.source!s} can't be packed: {error.strerror}") from error


def _changed(member: Member, how: str) -> DataError:
    where = member.name if isinstance(member.source, bytes) else member.source
    return DataError(f"{where} changed while it was packed: {how}", hint="pack again when nothing writes to it")


def _finish(file: BinaryIO, places: Sequence[form.Member]) -> None:
    """Write what follows the members, and their headers anew, with the CRCs that are known now."""
    directory = b"".join(map(form.central_header, places))
    offset = places[-1].end if places else 0
    file.write(directory + form.end_records(len(places), len(directory), offset))
    for place in places:
        file.seek(place.header)
        file.write(form.local_header(place))


@contextmanager
def _replacing(destination: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes ``destination`` if nothing goes wrong, and is gone otherwise."""
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, destination)
    except OSError as error:
        raise UsageError(f"{destination} can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
