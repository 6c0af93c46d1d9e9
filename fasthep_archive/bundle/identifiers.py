"""Identifiers in metadata: of files, works, packages and instants.

Ids of the crate are IRI references (RFC 3987): ASCII outside the unreserved set of RFC 3986 is
percent-encoded, letters and digits of other scripts stay (RO-Crate 1.2 asks for that and 1.1 allows it).
"""

from __future__ import annotations

import base64
import re
import string
from datetime import UTC, datetime
from urllib.parse import quote

from fasthep_archive.digest import Digest

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_ARXIV = re.compile(r"(?:https?://arxiv\.org/abs/|arxiv:)(\S+)", re.IGNORECASE)


def segment(text: str) -> str:
    """Return ``text`` as one segment of an IRI; different texts give different segments.

    >>> segment("Muon pt/µ")
    'Muon%20pt%2Fµ'
    """
    return "".join(_encoded(character) for character in text)


def _encoded(character: str) -> str:
    kept = character in _UNRESERVED or (not character.isascii() and character.isalnum())
    return character if kept else quote(character, safe="")


def member(path: str) -> str:
    """Return the id of the bundle's member ``path``.

    >>> member("data/inputs/two muons#1.root")
    'data/inputs/two%20muons%231.root'
    """
    return "/".join(segment(part) for part in path.split("/"))


def work(text: str) -> str | None:
    """Return the address of a DOI, an arXiv number or a web page; none for anything else.

    >>> work("doi:10.17182/hepdata.1/t1"), work("arXiv:2003.07868"), work("ins1234567")
    ('https://doi.org/10.17182/hepdata.1/t1', 'https://arxiv.org/abs/2003.07868', None)
    """
    if match := doi(text):
        return f"https://doi.org/{quote(match, safe='/:;()._-')}"
    if match := arxiv(text):
        return f"https://arxiv.org/abs/{quote(match, safe='/.')}"
    # What a URL may hold (RFC 3986); anything else in it is encoded, and a percent sign is taken to be an escape.
    return quote(text, safe="%!#$&'()*+,/:;=?@[]~") if re.match(r"https?://[^/\s]", text, re.IGNORECASE) else None


def doi(text: str) -> str | None:
    """Return the bare DOI in ``text``, or none.

    >>> doi("https://doi.org/10.1000/182")
    '10.1000/182'
    """
    match = _DOI.fullmatch(text)
    return match[1] if match else None


def arxiv(text: str) -> str | None:
    """Return the bare arXiv number in ``text``, or none."""
    match = _ARXIV.fullmatch(text)
    return match[1] if match else None


def package(name: str, version: str) -> str:
    """Return the package URL (https://github.com/package-url/purl-spec) of a distribution on PyPI.

    >>> package("PyYAML", "6.0.3"), package("typing_extensions", "4.1+local")
    ('pkg:pypi/pyyaml@6.0.3', 'pkg:pypi/typing-extensions@4.1%2Blocal')
    """
    return f"pkg:pypi/{normalised(name)}@{quote(version, safe='')}"


def normalised(name: str) -> str:
    """Return a distribution's name as PyPI compares names (PEP 503)."""
    return quote(re.sub(r"[-_.]+", "-", name).lower(), safe="")


def named(digest: Digest) -> str:
    """Return the name of some bytes by their digest (RFC 6920), for a file that has no address.

    >>> named(Digest("00" * 32))
    'ni:///sha-256;AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    """
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")


def instant(time: datetime) -> str:
    """Return ``time`` in UTC, to the millisecond: the one form of ISO 8601 that every profile's check takes."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
