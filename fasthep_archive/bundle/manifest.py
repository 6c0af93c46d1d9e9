"""The bag (BagIt 1.0, RFC 8493) that a bundle is: its tag files, written, read back and held against the files.

Manifests are in the format of ``sha256sum``, sorted by name. No name needs the percent-encoding of RFC 8493, 2.1.3:
names with line breaks or percent signs are not names of members.
Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fasthep_archive.bundle.form import Member, Problem, counted, name_fault, order

PAYLOAD = "data/"
"""What is below it is payload; everything else is a tag file."""
DECLARATION, BAG_INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST, FETCH = "manifest-sha256.txt", "tagmanifest-sha256.txt", "fetch.txt"
DECLARATION_TEXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
SHA256 = re.compile(r"[0-9a-f]{64}")
URL = re.compile(r"(https?|x?roots?|davs)://\S+")
"""Where files may be fetched from; never from this machine."""


class Reference(NamedTuple):
    """Where a file that belongs to the bundle, but is not in it, can be had."""

    url: str
    size: int


class Bag(NamedTuple):
    """What the tag files of a bag say."""

    payload: Mapping[str, str]
    """SHA-256 of the files below ``data/``, by name."""
    tags: Mapping[str, str]
    """SHA-256 of the other files, by name."""
    fetch: Mapping[str, Reference]
    """Files that may be fetched, by name."""
    info: Mapping[str, str]
    """Values of ``bag-info.txt`` by label."""


def manifest_text(digests: Mapping[str, str]) -> bytes:
    """Return ``manifest-sha256.txt`` or ``tagmanifest-sha256.txt`` for these SHA-256 by name.

    >>> manifest_text({"data/b": "11" * 32, "data/a": "00" * 32}).decode().splitlines()[0][60:]
    '0000  data/a'
    """
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def parse_manifest(raw: bytes) -> dict[str, str]:
    """Return SHA-256 by name from a manifest.

    :raises ValueError: unless :func:`manifest_text` writes the same bytes for it.
    """
    found: dict[str, str] = {}
    last = ""
    for number, line in enumerate(_lines(raw), 1):
        digest, _, name = line.partition("  ")
        if not SHA256.fullmatch(digest) or name_fault(name):
            raise ValueError(f"line {number} is not a SHA-256, two spaces and the name of a member")
        if name <= last:
            raise ValueError(f"line {number}: {name} is there twice, or not in order")
        found[name] = digest
        last = name
    return found


def fetch_text(references: Mapping[str, Reference]) -> bytes:
    """Return ``fetch.txt`` for these references by name (RFC 8493, 2.2.3)."""
    return "".join(f"{item.url} {item.size} {name}\n" for name, item in sorted(references.items())).encode()


def parse_fetch(raw: bytes) -> dict[str, Reference]:
    """Return references by name from ``fetch.txt``.

    :raises ValueError: unless every line is a URL, a number of bytes and the name of one more file below ``data/``.
    """
    found: dict[str, Reference] = {}
    for number, line in enumerate(_lines(raw), 1):
        match = re.fullmatch(r"(\S+) ([0-9]{1,19}) (data/.+)", line)
        if not match or not URL.fullmatch(match[1]) or name_fault(match[3]) or match[3] in found:
            raise ValueError(f"line {number} is not a URL, a size and the name of one more file below data/")
        found[match[3]] = Reference(match[1], int(match[2]))
    return found


def info_text(sizes: Iterable[int], *, identity: str, agent: str, date: str) -> bytes:
    """Return ``bag-info.txt`` (RFC 8493, 2.2.2).

    :param sizes: bytes of each file of the payload, those to fetch included.
    :param identity: the bundle's, from which its identifier follows.
    :param agent: the program that made the bundle, with its version.
    :param date: ``YYYY-MM-DD``.
    """
    labels = {
        "Bag-Software-Agent": agent,
        "Bagging-Date": date,
        "External-Identifier": identifier(identity),
        "Internal-Sender-Identifier": f"sha256:{identity}",
        "Payload-Oxum": oxum(sizes),
    }
    return "".join(f"{label}: {value}\n" for label, value in labels.items()).encode()


def parse_info(raw: bytes) -> dict[str, str]:
    """Return the values of ``bag-info.txt`` by label.

    :raises ValueError: unless every line is ``Label: value``, each label once.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(raw), 1):
        label, _, value = line.partition(": ")
        if not re.fullmatch(r"[A-Za-z-]+", label) or not value or label in found:
            raise ValueError(f"line {number} is not 'Label: value' with a label of its own")
        found[label] = value
    return found


def identifier(identity: str) -> str:
    """Return the URN that names a bundle: the UUID (RFC 9562, version 5) of its identity.

    >>> identifier("00" * 32)
    'urn:uuid:bbed9304-3fdf-5239-9e5d-8ab45799af66'
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{identity}").urn


def oxum(sizes: Iterable[int]) -> str:
    """Return the ``Payload-Oxum`` of files with these sizes: bytes, a dot, number of files."""
    known = list(sizes)
    return f"{sum(known)}.{len(known)}"


def _lines(raw: bytes) -> list[str]:
    text = raw.decode("utf-8")
    if text and not text.endswith("\n"):
        raise ValueError("it does not end with a line feed")
    return text.split("\n")[:-1]


def bag_faults(bag: Bag, members: Mapping[str, Member], digests: Mapping[str, str]) -> Iterator[Problem]:
    """Yield where the files of a bundle differ from what its tag files say.

    :param digests: SHA-256 of the members that were read.
    """
    sizes = {name: member.size for name, member in members.items() if name.startswith(PAYLOAD)}
    tags = members.keys() - sizes.keys() - {TAG_MANIFEST}
    yield from _differences(MANIFEST, bag.payload, sizes.keys(), digests, bag.fetch.keys())
    yield from _differences(TAG_MANIFEST, bag.tags, tags, digests, ())
    for name, reference in bag.fetch.items():
        if name not in bag.payload:
            yield Problem(FETCH, f"names {name}, which {MANIFEST} does not list")
        if sizes.setdefault(name, reference.size) != reference.size:
            yield Problem(name, f"has {counted(sizes[name])}, and {FETCH} says {reference.size}")
    stated, actual = bag.info.get("Payload-Oxum"), oxum(sizes.values())
    if bag.info and stated != actual:
        yield Problem(BAG_INFO, f"states the Payload-Oxum {stated}, and the payload has {actual}")


def _differences(
    manifest: str, listed: Mapping[str, str], here: Iterable[str], digests: Mapping[str, str], elsewhere: Iterable[str]
) -> Iterator[Problem]:
    """Yield where the files ``here`` differ from those that a manifest lists; some may be ``elsewhere``."""
    owners = {digest: name for name, digest in listed.items()}
    present, absent = set(here), set(elsewhere)
    for name in order(present | listed.keys()):
        owner = owners.get(digests.get(name, ""))
        content = f"; it has the content of {owner}" if owner else ""
        if name not in present:
            if name not in absent:
                yield Problem(name, f"is missing, and {manifest} lists it")
        elif name not in listed:
            yield Problem(name, f"is not listed in {manifest}{content}")
        elif digests.get(name, listed[name]) != listed[name]:
            yield Problem(name, f"has the SHA-256 {digests[name]}, and {manifest} says {listed[name]}{content}")
