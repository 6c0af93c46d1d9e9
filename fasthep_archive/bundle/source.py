"""Where the members of a bundle are: in a zip file, or in the directory that a bundle was unpacked to.

Nothing that a container says is believed: a zip's headers are written anew from its members' names, sizes and
checksums, and compared byte for byte; a directory's symbolic links are never followed.
Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from fasthep_archive.bundle.form import (
    CENTRAL,
    END,
    END64,
    LIMITS,
    LOCAL,
    LOCATOR,
    MAX16,
    MAX32,
    Damage,
    Form,
    Limits,
    Member,
    Problem,
    central_header,
    counted,
    end_records,
    local_header,
    name_faults,
    order,
    parsed_entry,
)

BLOCK = 1 << 20
"""Bytes that are read, hashed and written at a time."""
_METHODS = {8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 99: "AES"}
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_COMPILED = re.compile(r"__pycache__/__main__\.[\w.-]+\.pyc")
"""What ``python3 DIRECTORY`` leaves there before the program in it begins."""
_END_WHERE, _CENTRAL_WHERE = "end of central directory", "central directory"


class Zip:
    """A bundle as a zip file. ``members`` is empty when its structure can't be trusted; ``problems`` says why."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.members: dict[str, Member] = {}
        self._lock = threading.Lock()
        self._file = path.open("rb", buffering=0)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._read(limits)
        except Damage as damage:
            self.problems.append(damage.problem)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def locate(self, name: str) -> tuple[Path, int]:
        """Return the file that holds a member, and the offset of the member's content in it."""
        return self.path, self.members[name].start

    def read_into(self, member: Member, view: memoryview, start: int) -> None:
        """Fill ``view`` with the member's content from ``start`` on. Threads may call this at the same time."""
        self._fill(view, member.start + start)

    def _read(self, limits: Limits) -> None:
        count, length, offset = self._end(limits)
        members = list(self._central(count, self._bytes(offset, length)))
        names = [member.name for member in members]
        self.problems += name_faults(names)
        self.problems += _order_faults(names)
        if self._placed(members, offset):
            self._check_local(members)
            self.members = {member.name: member for member in members}

    def _fill(self, view: memoryview, offset: int) -> None:
        while view:
            if hasattr(os, "preadv"):
                count = os.preadv(self._file.fileno(), [view], offset)
            else:
                with self._lock:
                    self._file.seek(offset)
                    count = self._file.readinto(view) or 0
            if not count:
                raise OSError("the file ended while it was read")
            view, offset = view[count:], offset + count

    def _bytes(self, offset: int, count: int) -> bytes:
        buffer = bytearray(count)
        self._fill(memoryview(buffer), offset)
        return bytes(buffer)

    def _end(self, limits: Limits) -> tuple[int, int, int]:
        """Return the number of members, and the size and the offset of the central directory."""
        if self.size < END.size:
            raise Damage("file", f"{counted(self.size)} is too little for a zip: it is truncated, or not a bundle")
        forms: tuple[Form, ...] = (END64, LOCATOR, END)
        longest = sum(form.size for form in forms)
        tail = self._bytes(max(0, self.size - longest), min(self.size, longest)).rjust(longest, b"\0")
        fields = END.unpack(tail, longest - END.size)
        if fields is None:
            raise Damage(_END_WHERE, self._without_end())
        if fields["members"] != MAX16 and MAX32 not in (fields["directory_size"], fields["directory_offset"]):
            forms, tail = (END,), tail[-END.size :]
        else:
            fields = END64.unpack(tail)
        if fields is None:
            raise Damage(_END_WHERE, "announces ZIP64 records that are not there")
        count, length, offset = fields["members"], fields["directory_size"], fields["directory_offset"]
        if count > limits.members:
            raise Damage("file", f"claims {count} members, and the limit is {limits.members}")
        if length > limits.metadata:
            raise Damage(_CENTRAL_WHERE, f"claims {counted(length)}, and the limit is {limits.metadata}")
        self._check_gap(self.size - len(tail), length, offset)
        expected = end_records(count, length, offset)
        if len(tail) != len(expected):
            raise Damage(_END_WHERE, "has ZIP64 records without need")
        for form in forms:
            faults = form.differences(tail[: form.size], expected[: form.size])
            self.problems += [Problem(_END_WHERE, fault) for fault in faults]
            tail, expected = tail[form.size :], expected[form.size :]
        return count, length, offset

    def _without_end(self) -> str:
        window = min(self.size, END.size + MAX16)
        found = self._bytes(self.size - window, window).rfind(END.signature)
        rest = window - found - END.size
        if found < 0:
            return "is not there: the file is truncated or damaged, or not a zip"
        if rest < 0:
            return f"ends {counted(-rest)} early: the file is truncated"
        return f"followed by {counted(rest)}: a comment, or something appended to the zip"

    def _check_gap(self, at: int, length: int, offset: int) -> None:
        gap = at - offset - length
        if gap < 0:
            message = f"claims {counted(length)} at {offset}, which end behind its end record at {at}"
            raise Damage(_CENTRAL_WHERE, message)
        if gap and self._bytes(at - length, 4) == CENTRAL.signature:
            raise Damage("file", f"{counted(gap)} prepended to the zip")
        if gap:
            raise Damage(_CENTRAL_WHERE, f"{counted(gap)} between it and its end record")

    def _central(self, count: int, directory: bytes) -> Iterator[Member]:
        """Yield what the central directory lists."""
        at = 0
        for number in range(count):
            fields = CENTRAL.unpack(directory, at)
            if fields is None:
                raise Damage(_CENTRAL_WHERE, f"entry {number + 1} of {count} is damaged, or not there")
            name_end = at + CENTRAL.size + fields["name_length"]
            extra_end = name_end + fields["extra_length"]
            raw = directory[at : extra_end + fields["comment_length"]]
            name = directory[at + CENTRAL.size : name_end].decode("utf-8", "backslashreplace")
            member = parsed_entry(name, fields, directory[name_end:extra_end])
            expected = central_header(member)
            if raw != expected:
                self.problems += [Problem(name, fault) for fault in _entry_faults(fields, raw, expected)]
            at += len(raw)
            yield member
        if at != len(directory):
            raise Damage(_CENTRAL_WHERE, f"{counted(len(directory) - at)} behind the last of its {count} entries")

    def _placed(self, members: Sequence[Member], end: int) -> bool:
        """Return whether the members fill the file up to ``end``, each from where the one before ends."""
        expected: int | None = 0  # none behind a member whose size can't be right
        before, placed = "", True
        for member in members:
            if member.end > end:
                message = f"claims {counted(member.size)} at {member.start}, more than the file has for it"
            elif expected is None or member.header == expected:
                message = ""
            elif member.header < expected:
                message = f"overlaps {before}: it is at {member.header}, and {before} ends at {expected}"
            else:
                where = f"between it and {before}" if before else "prepended to the zip"
                message = f"{counted(member.header - expected)} {where}"
            if message:
                self.problems.append(Problem(member.name, message))
                placed = False
            expected, before = (member.end if member.end <= end else None), member.name
        if expected is not None and expected != end:
            self.problems.append(Problem(_CENTRAL_WHERE, f"{counted(end - expected)} before it in no member"))
        return placed and expected == end

    def _check_local(self, members: Sequence[Member]) -> None:
        for member in members:
            expected = local_header(member)
            actual = self._bytes(member.header, len(expected))
            if actual == expected:
                continue
            faults = list(LOCAL.differences(actual[: LOCAL.size], expected[: LOCAL.size]))
            if actual[LOCAL.size :] != expected[LOCAL.size :]:
                faults.append("its name or extra field is not the central directory's")
            self.problems += [Problem(f"local header of {member.name}", fault) for fault in faults]


def _order_faults(names: Sequence[str]) -> Iterator[Problem]:
    for at, expected in enumerate(order(names)):
        if names[at] != expected:
            yield Problem(names[at], f"is where {expected} belongs: the members are not in canonical order")
            return


def _entry_faults(fields: dict[str, int], raw: bytes, expected: bytes) -> Iterator[str]:
    """Yield why an entry of the central directory is not canonical: known tricks in plain words, else the fields."""
    flags, method, kind = fields["flags"], fields["method"], stat.S_IFMT(fields["external_attributes"] >> 16)
    size, stored = fields["size"], fields["compressed_size"]
    tricks = (
        (flags & 0x2041, "is encrypted"),
        (flags & 0x0008, "has its sizes in a data descriptor, behind its content"),
        (method, f"is compressed ({_METHODS.get(method, method)}), {counted(stored)} that claim to become {size}"),
        (not method and stored != size, f"is stored in {counted(stored)}, and claims to hold {size}"),
        (kind in _KINDS, f"is {_KINDS.get(kind)}"),
        (fields["comment_length"], "has a comment"),
    )
    plain = [text for found, text in tricks if found]
    yield from plain
    if not plain and len(raw) >= CENTRAL.size:
        for fault in CENTRAL.differences(raw[: CENTRAL.size], expected[: CENTRAL.size]):
            yield f"in the central directory, {fault}"
    if raw[CENTRAL.size :] != expected[CENTRAL.size :]:
        yield "has an extra field, or a name that is not UTF-8"


class Tree:
    """A bundle as a directory, with the attributes and methods of :class:`Zip`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.members: dict[str, Member] = {}
        for name, info in self._walk("", limits.depth):
            if len(self.members) == limits.members:
                self.problems.append(Problem("directory", f"holds more than {limits.members} files, the limit"))
                break
            if stat.S_ISREG(info.st_mode):
                self.members[name] = Member(name, info.st_size)
            else:
                self.problems.append(Problem(name, f"is {_KINDS.get(stat.S_IFMT(info.st_mode), 'not a file')}"))
        self.problems += name_faults(self.members)

    def _walk(self, directory: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
        """Yield all that is below ``directory`` and no directory, and nothing from behind a symbolic link."""
        if not depth:
            self.problems.append(Problem(directory, "is nested too deep"))
            return
        for entry in sorted((self.path / directory).iterdir()):
            name, info = directory + entry.name, entry.lstat()
            if stat.S_ISDIR(info.st_mode):
                yield from self._walk(f"{name}/", depth - 1)
            elif not _COMPILED.fullmatch(name):
                yield name, info

    def close(self) -> None:
        """Do nothing: files are opened as they are read."""

    def locate(self, name: str) -> tuple[Path, int]:
        """Return a member's file, and 0: the offset of the content in it."""
        return self.path / name, 0

    def read_into(self, member: Member, view: memoryview, start: int) -> None:
        """Fill ``view`` with the member's content from ``start`` on. Threads may call this at the same time."""
        flags = sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
        with open(os.open(self.path / member.name, os.O_RDONLY | flags), "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(start)
            while view:
                count = file.readinto(view) or 0
                if not count:
                    raise OSError("the file ended while it was read")
                view = view[count:]


def opened(path: Path, limits: Limits = LIMITS) -> Zip | Tree:
    """Return the bundle at ``path``, to be closed after use. Nothing but its container has been checked."""
    return Tree(path, limits) if path.is_dir() else Zip(path, limits)


def content(package: Zip | Tree, name: str, limit: int) -> bytes:
    """Return the whole content of a member.

    :raises Damage: if it is missing, longer than ``limit``, or can't be read.
    """
    member = package.members.get(name)
    if member is None:
        raise Damage(name, "is missing")
    if member.size > limit:
        raise Damage(name, f"has {counted(member.size)}, and the limit is {limit}")
    buffer = bytearray(member.size)
    try:
        package.read_into(member, memoryview(buffer), 0)
    except OSError as error:
        raise Damage(name, f"can't be read: {error}") from error
    return bytes(buffer)


def extract(
    package: Zip | Tree, name: str, directory: Path, sha256: str | None, progress: Callable[[int], object]
) -> Path:
    """Write a member to the file of the same name below ``directory``, and return the file.

    What is there already is not replaced, and no symbolic link is followed. A file that turns out to be damaged is
    removed again.

    :param sha256: what the manifests state; none for the tag manifest itself.
    :raises Damage: if there is no such member, it can't be read, or has another SHA-256.
    :raises OSError: if a file is in the way or can't be written.
    """
    if name not in package.members:
        raise Damage(name, "is missing")
    target = directory / name
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    _make_parents(directory, name)
    with os.fdopen(os.open(target, flags, 0o644), "wb") as file:
        try:
            _copy(package, package.members[name], file, sha256, progress)
        except BaseException:
            with suppress(OSError):
                target.unlink()
            raise
    return target


def _copy(
    package: Zip | Tree, member: Member, file: IO[bytes], sha256: str | None, progress: Callable[[int], object]
) -> None:
    """Write a member's content, which has to have this SHA-256, to ``file``."""

    def read_into(view: memoryview, start: int) -> None:
        try:
            package.read_into(member, view, start)
        except OSError as error:
            raise Damage(member.name, f"can't be read: {error}") from error

    def sink(view: memoryview) -> None:
        file.write(view)
        progress(len(view))

    found = measure(read_into, member.size, sink)[1]
    if sha256 is not None and found != sha256:
        raise Damage(member.name, f"has the SHA-256 {found}, and the manifest says {sha256}")


def _make_parents(directory: Path, name: str) -> None:
    """Make the directories that ``name`` needs below ``directory``; refuse to go through a symbolic link."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory
    for part in name.split("/")[:-1]:
        path /= part
        with suppress(FileExistsError):
            path.mkdir()
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{path} is not a directory")


def _discard(_view: memoryview) -> None:
    """Write nothing."""


def measure(
    read_into: Callable[[memoryview, int], None], size: int, sink: Callable[[memoryview], object] = _discard
) -> tuple[int, str]:
    """Return the CRC-32 and the SHA-256 of ``size`` bytes, in constant memory.

    ``read_into(view, start)`` fills ``view`` with the bytes from ``start`` on; ``sink`` is given all bytes in order.
    Of large contents one block is read and CRC-summed while the block before is hashed and given to ``sink``, each in
    a thread of its own: ``zlib``, ``hashlib`` and files release the GIL.
    """
    sha, crc = hashlib.sha256(), 0
    views = [memoryview(bytearray(min(size, BLOCK))) for _ in range(1 + (size > BLOCK))]

    def fill(start: int, crc: int) -> tuple[memoryview, int]:
        view = views[start // BLOCK % 2][: size - start]
        read_into(view, start)
        return view, zlib.crc32(view, crc)

    with ThreadPoolExecutor(2) if size > BLOCK else nullcontext() as pool:
        following: Future[tuple[memoryview, int]] | None = None
        for start in range(0, size, BLOCK):
            view, crc = following.result() if following else fill(start, crc)
            following = pool.submit(fill, start + BLOCK, crc) if pool and start + BLOCK < size else None
            if pool:
                hashing = pool.submit(sha.update, view)
                sink(view)
                hashing.result()
            else:
                sha.update(view)
                sink(view)
    return crc, sha.hexdigest()


def measure_all(
    package: Zip | Tree, members: Iterable[Member], workers: int, progress: Callable[[int], object]
) -> Iterator[tuple[Member, tuple[int, str] | OSError]]:
    """Yield what :func:`measure` finds for each member, in order; several members are read at a time.

    ``progress`` is told how many bytes were read, by one thread at a time.
    """
    lock, abandoned = threading.Lock(), threading.Event()

    def work(member: Member) -> tuple[int, str] | OSError:
        def read_into(view: memoryview, start: int) -> None:
            if abandoned.is_set():
                raise OSError("interrupted")
            package.read_into(member, view, start)
            with lock:
                progress(len(view))

        try:
            return measure(read_into, member.size)
        except OSError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        running: deque[tuple[Member, Future[tuple[int, str] | OSError]]] = deque()
        try:
            for member in members:
                running.append((member, pool.submit(work, member)))
                if len(running) > 8 * workers:  # results of what is done wait here; bounded, however many members
                    first, future = running.popleft()
                    yield first, future.result()
            for first, future in running:
                yield first, future.result()
        finally:
            abandoned.set()
