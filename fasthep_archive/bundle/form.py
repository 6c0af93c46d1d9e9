"""The canonical form of a bundle's container: the only one that is written, and the only one that is accepted.

A bundle is a ZIP file (PKWARE APPNOTE 6.3) whose every byte is determined by its members' names and contents:

* ``ro-crate-metadata.json`` first, then all others sorted by code point; header, content, header, content, no gaps;
* every member stored; no extra fields, comments or data descriptors; written by "unix" at 1980-01-01 00:00:00 with
  mode 0100644 and version 2.0; flag bit 11 (UTF-8) where the name is not ASCII, no other flag;
* ZIP64 (version 4.5) only where a size, an offset or the number of members does not fit otherwise.

Below 2 GiB these are the bytes that CPython's ``zipfile`` writes for the same members.
Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

CRATE = "ro-crate-metadata.json"
"""The first member. What the other members are called is in :mod:`fasthep_archive.bundle.manifest` and ``claims``."""
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
"""What stands in a field whose value is in the ZIP64 record instead (APPNOTE 4.4.1.4)."""
_DATE, _MODE, _UTF8, _ZIP64 = 0x0021, 0o100644, 0x0800, 0x0001
_VERSION, _VERSION64, _UNIX = 20, 45, 3 << 8


class Limits(NamedTuple):
    """What a bundle may claim before it is refused; each is far above what the tool writes."""

    members: int = 200_000
    metadata: int = 64 << 20
    """Bytes of the central directory, and of each file that is parsed."""
    values: int = 1_000_000
    """Values in one JSON file."""
    depth: int = 64
    """Nesting of one JSON file, and of directories."""


LIMITS = Limits()


class Problem(NamedTuple):
    """One thing that is wrong: the member or the structure, and what is the matter with it."""

    where: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.message}")


class Damage(Exception):
    """A problem that leaves nothing to go on with."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(where, message)
        self.problem = Problem(where, message)


class Member(NamedTuple):
    """One file of a bundle; ``header`` is the offset of its local header in the zip."""

    name: str
    size: int
    crc: int = 0
    header: int = 0

    @property
    def start(self) -> int:
        """Return the offset of the first byte of its content in the zip."""
        return self.header + LOCAL.size + len(self.name.encode()) + (20 if self.size >= MAX32 else 0)

    @property
    def end(self) -> int:
        """Return the offset behind the last byte of its content in the zip."""
        return self.start + self.size


def printable(text: str) -> str:
    """Return ``text`` with everything that could disturb a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, what: str = "byte") -> str:
    """Return ``number`` with its noun, in the plural unless it is 1."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Form:
    """One fixed structure of APPNOTE 4.3: its signature and its fields in order, little-endian."""

    def __init__(self, signature: bytes, **fields: str) -> None:
        self.signature = signature
        self._names = tuple(fields)
        self._struct = struct.Struct("<4s" + "".join(fields.values()))
        self.size = self._struct.size

    def pack(self, *values: int) -> bytes:
        """Return the structure with these fields."""
        return self._struct.pack(self.signature, *values)

    def unpack(self, raw: bytes, at: int = 0) -> dict[str, int] | None:
        """Return the fields of the structure at an offset of ``raw``, or none if it isn't there."""
        if raw[at : at + 4] != self.signature or len(raw) < at + self.size:
            return None
        values = self._struct.unpack_from(raw, at)[1:]
        return {name: values[index] for index, name in enumerate(self._names)}

    def differences(self, actual: bytes, expected: bytes) -> Iterator[str]:
        """Yield what each field of ``actual`` is and what it must be, where they differ."""
        if actual[:4] != self.signature:
            yield "the signature is damaged"
        found, wanted = self._struct.unpack(actual)[1:], self._struct.unpack(expected)[1:]
        for index, name in enumerate(self._names):
            if found[index] != wanted[index]:
                yield f"the field '{name.replace('_', ' ')}' is {found[index]:#x} and must be {wanted[index]:#x}"


_ENTRY = {"version_needed": "H", "flags": "H", "method": "H", "time": "H", "date": "H", "crc": "I"}
_SIZES = {"compressed_size": "I", "size": "I", "name_length": "H", "extra_length": "H"}
_PLACE = {"comment_length": "H", "disk": "H", "internal_attributes": "H", "external_attributes": "I", "offset": "I"}
_COUNTS = {"members_on_disk": "H", "members": "H", "directory_size": "I", "directory_offset": "I"}
_WIDE_COUNTS = {"members_on_disk": "Q", "members": "Q", "directory_size": "Q", "directory_offset": "Q"}

LOCAL = Form(b"PK\3\4", **_ENTRY, **_SIZES)
CENTRAL = Form(b"PK\1\2", version_made_by="H", **_ENTRY, **_SIZES, **_PLACE)
END = Form(b"PK\5\6", disk="H", directory_disk="H", **_COUNTS, comment_length="H")
END64 = Form(
    b"PK\6\6", record_size="Q", version_made_by="H", version_needed="H", disk="I", directory_disk="I", **_WIDE_COUNTS
)
LOCATOR = Form(b"PK\6\7", record_disk="I", record_offset="Q", disks="I")


def order(names: Iterable[str]) -> list[str]:
    """Return ``names`` in the order of the container."""
    return sorted(names, key=lambda name: (name != CRATE, name))


def place(sizes: Iterable[tuple[str, int]]) -> list[Member]:
    """Return members with these names and sizes, in order, each where the one before ends."""
    members, header = [], 0
    for name, size in sorted(sizes, key=lambda item: (item[0] != CRATE, item[0])):
        members.append(Member(name, size, 0, header))
        header = members[-1].end
    return members


def local_header(member: Member) -> bytes:
    """Return the bytes before a member's content."""
    name, flags = _encoded(member.name)
    extra = struct.pack("<HHQQ", _ZIP64, 16, member.size, member.size) if member.size >= MAX32 else b""
    version, size = (_VERSION64 if extra else _VERSION), min(member.size, MAX32)
    return LOCAL.pack(version, flags, 0, 0, _DATE, member.crc, size, size, len(name), len(extra)) + name + extra


def central_header(member: Member) -> bytes:
    """Return a member's entry in the central directory."""
    name, flags = _encoded(member.name)
    large = [member.size, member.size] if member.size >= MAX32 else []
    if member.header >= MAX32:
        large.append(member.header)
    extra = struct.pack(f"<HH{len(large)}Q", _ZIP64, 8 * len(large), *large) if large else b""
    version, size = (_VERSION64 if extra else _VERSION), min(member.size, MAX32)
    entry = (_UNIX | version, version, flags, 0, 0, _DATE, member.crc, size, size, len(name), len(extra))
    return CENTRAL.pack(*entry, 0, 0, 0, _MODE << 16, min(member.header, MAX32)) + name + extra


def parsed_entry(name: str, fields: dict[str, int], extra: bytes) -> Member:
    """Return the member that an entry of a central directory describes, with ZIP64 or without (APPNOTE 4.5.3)."""
    values = [fields["size"], fields["compressed_size"], fields["offset"]]
    if extra[:2] == struct.pack("<H", _ZIP64) and len(extra) >= 4:
        large = iter(struct.unpack_from(f"<{(len(extra) - 4) // 8}Q", extra, 4))
        values = [next(large, value) if value == MAX32 else value for value in values]
    return Member(name, values[0], fields["crc"], values[2])


def end_records(count: int, size: int, offset: int) -> bytes:
    """Return what follows a central directory of ``count`` members in ``size`` bytes at ``offset``."""
    records = b""
    if count >= MAX16 or size >= MAX32 or offset >= MAX32:
        version = (_UNIX | _VERSION64, _VERSION64)
        records = END64.pack(END64.size - 12, *version, 0, 0, count, count, size, offset)
        records += LOCATOR.pack(0, offset + size, 1)
    count = min(count, MAX16)
    return records + END.pack(0, 0, count, count, min(size, MAX32), min(offset, MAX32), 0)


def _encoded(name: str) -> tuple[bytes, int]:
    """Return a name's bytes and its flags."""
    raw = name.encode()
    return raw, 0 if raw.isascii() else _UTF8


_NAME_RULES = (  # (pattern of a bad name, what is the matter with it)
    (r"\A\Z", "has no name"),
    (r"[\ud800-\udfff]", "has a name that is not Unicode"),
    (r"[\x00-\x1f\x7f-\x9f]", "has a control character in its name"),
    (r"[\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", "has an invisible character in its name"),
    (r"\\", "has a backslash in its name"),
    (r"\A/", "has an absolute name"),
    (r"\A[A-Za-z]:", "has a drive letter in its name"),
    (r"(\A|/)\.\.(/|\Z)", "climbs out of the bundle with '..' in its name"),
    (r"[^/]/\Z", "is a directory, and a bundle holds files only"),
    (r"//|(\A|/)\.(/|\Z)", "has an empty part or '.' in its name"),
    (r"""[<>:"|?*%]""", """has one of < > : " | ? * % in its name, which some file system or manifest can't hold"""),
    (r"(\A|/) |[ .](/|\Z)", "has a space before, or a space or dot behind, a part of its name"),
    (r"\A(?!data/).*/", "lies in a directory outside data/"),
    (r"\A(?!data/|__main__\.py\Z).*\.pyc?\Z", "could be imported instead of a module of Python, being outside data/"),
)
"""BagIt needs no percent-encoding (RFC 8493, 2.1.3), and ``sha256sum`` no escapes, for the names that are left."""

_SUSPECT = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _NAME_RULES), re.DOTALL)


def name_fault(name: str) -> str | None:
    """Return what is wrong with a member's name, or none. Wrong names are refused, never repaired."""
    if _SUSPECT.search(name):
        return next(fault for pattern, fault in _NAME_RULES if re.search(pattern, name, re.DOTALL))
    if not name.isascii() and unicodedata.normalize("NFC", name) != name:
        return "has a name that is not in Unicode's composed form (NFC)"
    size = len(name.encode())
    if size > 255 and (size > 1024 or max(len(part.encode()) for part in name.split("/")) > 255):
        return "has a name of more than 1024 bytes, or with a part of more than 255"
    return None


def name_faults(names: Iterable[str]) -> Iterator[Problem]:
    """Yield what is wrong with the names of a bundle, each by itself and among each other."""
    seen: dict[str, str] = {}
    for name in names:
        fault = name_fault(name)
        if fault:
            yield Problem(name, fault)
        folded = _folded(name)
        if seen.get(folded) == name:
            yield Problem(name, "is there twice")
        elif folded in seen:
            yield Problem(name, f"differs from {seen[folded]} only in case or in Unicode form")
        seen.setdefault(folded, name)
    for folded, name in seen.items():
        for at, character in enumerate(folded):
            if character == "/" and folded[:at] in seen:
                yield Problem(name, f"lies in {seen[folded[:at]]}, which is a file")


def _folded(name: str) -> str:
    """Return what a file system that ignores case and composition sees (Unicode, 3.13, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
