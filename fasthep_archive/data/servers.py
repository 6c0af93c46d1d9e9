"""What can be asked of a server that has files: one protocol, and a table of the schemes of addresses.

Two things can go wrong, and they call for different answers: the connection ended (:class:`Dropped`: ask again), or
the server does not hand out the file (:class:`Refused`: ask another one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError
from fasthep_archive.workflow import addresses


class Unavailable(DataError):
    """The file can't be had from this address."""


class Dropped(Unavailable):
    """The server did not answer, or stopped in the middle."""


class Refused(Unavailable):
    """The server does not hand out the file, or can't be asked from here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What is known of a file's bytes before they are here.

    :ivar size: in bytes.
    :ivar adler32: 8 hexadecimal digits in lower case.
    """

    size: int | None = None
    sha256: Digest | None = None
    adler32: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What a server says of the version of a file that it has.

    :ivar size: in bytes.
    :ivar etag: HTTP's entity tag (RFC 9110, 8.8.3), with its quotes.
    :ivar modified: the time of the last change, in the words of the server.
    """

    size: int | None = None
    etag: str | None = None
    modified: str | None = None

    @property
    def telling(self) -> bool:
        """Say whether a changed file would have another version."""
        return self.etag is not None or self.modified is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a server says before the bytes.

    :ivar start: position of the first byte that follows.
    :ivar stated: digests of the whole file that the server gives.
    """

    version: Version
    start: int
    stated: Expected


class Stream(Protocol):
    """The bytes of a file, as they arrive."""

    @property
    def answer(self) -> Answer:
        """What the server said before."""

    def read(self) -> bytes:
        """Return the next bytes, none at the end.

        :raises Dropped: if the connection ends too early.
        """


class Server(Protocol):
    """Hands out files; open until its context ends."""

    def versions(self, urls: Sequence[str]) -> Mapping[str, Version | DataError]:
        """Return which version of each file there is, or why that can't be told."""

    def stream(self, url: str, start: int, version: Version | None) -> AbstractContextManager[Stream]:
        """Return the bytes from ``start``; from the beginning when the server can't or has another ``version``.

        :param version: the one that the bytes before ``start`` are of, where the server would know it again.
        :raises Dropped: if the server can't be reached.
        :raises Refused: if it does not hand out the file.
        """


_SERVERS: Mapping[str, tuple[str, str]] = {
    "http": ("fasthep_archive.data.web", "open_web"),
    "https": ("fasthep_archive.data.web", "open_web"),
    "root": ("fasthep_archive.data.xrootd", "open_xrootd"),
    "xroot": ("fasthep_archive.data.xrootd", "open_xrootd"),
}
"""Module and function that open the server for each scheme of addresses."""


def open_server(url: str) -> AbstractContextManager[Server]:
    """Return who hands out ``url``; a context manager.

    :raises Refused: if files can't be fetched from such addresses, or a package is missing for it. Addresses with
        credentials are among these: they would be shown and recorded.
    """
    wrong = addresses.fault(url, local=False)
    if wrong:
        raise Refused(wrong[0], hint=wrong[1])
    module, function = _SERVERS[addresses.scheme(url) or ""]
    return cast("AbstractContextManager[Server]", getattr(import_module(module), function)())
