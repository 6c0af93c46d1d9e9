"""Files over XRootD's protocol (``root://``), by fsspec-xrootd and the XRootD client, which are an extra.

Credentials are the client's: a proxy certificate, a token or a Kerberos ticket, found as ``xrdcp`` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fasthep_archive.data.servers import Answer, Dropped, Expected, Refused, Server, Stream, Unavailable, Version
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError

PIECE = 4 << 20
"""Bytes of one request."""
_TIMEOUT = 60
"""Seconds for one request, in which the client tries again by itself."""
_CHECKSUMS = {"adler32": re.compile(r"[0-9a-f]{8}"), "sha256": re.compile(r"[0-9a-f]{64}")}
"""The checksums that are compared, and what they look like."""


class _Files(Protocol):
    """What is used of fsspec-xrootd's file system."""

    def info(self, path: str) -> Mapping[str, object]: ...

    def checksum(self, path: str) -> tuple[str, str]: ...

    def cat_file(self, path: str, start: int, end: int) -> bytes: ...

    def invalidate_cache(self) -> None: ...


@contextmanager
def open_xrootd() -> Iterator[Server]:
    """Yield the server of everything that XRootD's client reaches.

    :raises Refused: if the packages are not installed.
    """
    try:
        import fsspec_xrootd  # noqa: F401 # fsspec finds it by itself
    except ImportError as error:
        hint = "pip install fasthep-archive[xrootd]"
        raise Refused(f"fetching over root:// needs XRootD's client: {error}", hint=hint) from error
    yield _XRootD()


class _XRootD:
    """See :class:`Server`."""

    def versions(self, urls: Sequence[str]) -> Mapping[str, Version | DataError]:
        found: dict[str, Version | DataError] = {}
        for url in urls:
            try:
                with _opened(url) as (files, path):
                    found[url] = _version(url, files, path)
            except DataError as error:
                found[url] = error
        return found

    @contextmanager
    def stream(self, url: str, start: int, version: Version | None) -> Iterator[Stream]:
        with _opened(url) as (files, path):
            present = _version(url, files, path)
            unchanged = version is None or version == present
            begin = start if unchanged and start <= (present.size or 0) else 0
            answer = Answer(version=present, start=begin, stated=_stated(files, path))
            yield _Reader(url=url, files=files, path=path, answer=answer, position=begin)


@dataclass(kw_only=True, slots=True)
class _Reader:
    """See :class:`Stream`."""

    url: str
    files: _Files
    path: str
    answer: Answer
    position: int = field(default=0)

    def read(self) -> bytes:
        end = min(self.position + PIECE, self.answer.version.size or 0)
        if end <= self.position:
            return b""
        with _told(self.url, Dropped):
            piece = self.files.cat_file(self.path, self.position, end)
        if not piece:
            raise Dropped(f"{self.url}: it ends after {self.position} bytes")
        self.position += len(piece)
        return piece


@contextmanager
def _opened(url: str) -> Iterator[tuple[_Files, str]]:
    from fsspec.core import url_to_fs

    root = re.sub(r"^x?root(?=://)", "root", url, flags=re.IGNORECASE)
    with _told(url):
        files, path = url_to_fs(root, timeout=_TIMEOUT, locate_all_sources=False, skip_instance_cache=True)
    try:
        yield files, path
    finally:
        files.invalidate_cache()


@contextmanager
def _told(url: str, error: type[Unavailable] = Refused) -> Iterator[None]:
    """Turn what the client says into an ``error`` of one line."""
    try:
        yield
    except (OSError, ValueError) as said:
        why = " ".join(str(said).split())
        hint = "is your proxy certificate or token still valid?" if "Auth" in why else None
        raise error(f"{url}: {why}", hint=hint) from said


def _version(url: str, files: _Files, path: str) -> Version:
    with _told(url):
        info = files.info(path)
    if info["type"] != "file":
        raise Refused(f"{url}: that is a {info['type']}")
    return Version(size=int(str(info["size"])), modified=str(info["mtime"]))


def _stated(files: _Files, path: str) -> Expected:
    """Return the checksum that the server has, if it has one."""
    try:
        algorithm, value = files.checksum(path)
    except OSError:
        return Expected()
    form, value = _CHECKSUMS.get(algorithm.lower()), value.lower()
    if form is None or not form.fullmatch(value):
        return Expected()
    return Expected(adler32=value) if algorithm.lower() == "adler32" else Expected(sha256=Digest(value))
