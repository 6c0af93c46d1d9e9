"""Files over HTTP: fsspec's session, HTTP's own ranges and versions (RFC 9110), digests that servers state.

Bytes are stored as they are sent: a content coding is asked not to be used, and is not undone. The session takes
credentials from ``~/.netrc`` and proxies from the environment, as curl does.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from fasthep_archive.data.servers import Answer, Dropped, Expected, Refused, Server, Stream, Version
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

T = TypeVar("T")

PIECE = 1 << 20
"""Bytes that are read at once, at most."""
_WAITING = 1 << 16
"""Bytes that may wait to be read, about: they are lost with the connection."""
_CONNECT, _SILENCE = 30.0, 60.0
"""Seconds to wait for a connection, and for the next bytes of an answer."""
_AT_ONCE = 8
"""Files whose versions are asked for at the same time."""
_ASKED = {"Accept-Encoding": "identity", "Want-Repr-Digest": "sha-256=9, adler=1", "Want-Digest": "sha-256, adler32"}
"""No compression; digests as RFC 9530 and, before it, RFC 3230 ask for them."""
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOCKED = frozenset({401, 403, 407})
_ABSENT = 404
_PATTERN = re.compile(r"[*?\[]")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@contextmanager
def open_web() -> Iterator[Server]:
    """Yield the server of everything on the web.

    Its connections live on a thread of their own, so that it works where an event loop runs already (a notebook), and
    leaves no thread behind that would be copied into forked workers.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fasthep-archive-web", daemon=True)
    thread.start()
    session = None
    try:
        session = _wait(loop, _session(loop))
        yield _Web(loop, session)
    finally:
        if session is not None:
            _wait(loop, session.close())
        _wait(loop, loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _session(loop: asyncio.AbstractEventLoop) -> ClientSession:
    from aiohttp import ClientTimeout
    from fsspec.implementations.http import HTTPFileSystem

    timeout = ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
    options = {"auto_decompress": False, "trust_env": True, "timeout": timeout, "read_bufsize": _WAITING}
    files = HTTPFileSystem(asynchronous=True, loop=loop, skip_instance_cache=True, client_kwargs=options)
    session: ClientSession = await files.set_session()
    return session


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


class _Web:
    """See :class:`Server`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: ClientSession) -> None:
        self._loop = loop
        self._session = session

    def versions(self, urls: Sequence[str]) -> Mapping[str, Version | DataError]:
        return _wait(self._loop, self._versions(urls))

    @contextmanager
    def stream(self, url: str, start: int, version: Version | None) -> Iterator[Stream]:
        response = _wait(self._loop, self._request(url, start, version))
        try:
            yield _Body(self._loop, response, _answer(response))
        finally:
            _wait(self._loop, _closed(response))

    async def _versions(self, urls: Sequence[str]) -> Mapping[str, Version | DataError]:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(url: str) -> Version | DataError:
            async with turns:
                try:
                    return await self._version(url)
                except DataError as error:
                    return error

        return dict(zip(urls, await asyncio.gather(*map(ask, urls)), strict=True))

    async def _version(self, url: str) -> Version:
        """Ask for the headers alone; where that is refused, for everything, and hang up."""
        response = await self._sent("HEAD", url, {})
        if response.status != 200:
            response.close()
            response = await self._request(url, 0, None)
        response.close()
        return _answer(response).version

    async def _request(self, url: str, start: int, version: Version | None) -> ClientResponse:
        """Return the answer for the bytes from ``start`` on, or from 0 if these are not to be had of ``version``."""
        response = await self._sent("GET", url, _range(start, version) if start else {})
        unfit = response.status == 206 and not _continues(_answer(response), start, version)
        if start and (unfit or response.status == 416):
            response.close()
            response = await self._sent("GET", url, {})
        if response.status not in (200, 206) or (response.status == 206 and not start):
            response.close()
            raise _refusal(url, response)
        return response

    async def _sent(self, method: str, url: str, headers: Mapping[str, str]) -> ClientResponse:
        from aiohttp import ClientError, ClientSSLError, InvalidURL, TooManyRedirects

        try:
            return await self._session.request(method, url, headers={**_ASKED, **headers}, allow_redirects=True)
        except (ClientSSLError, InvalidURL, TooManyRedirects) as error:
            raise Refused(f"{url}: {_why(error)}") from error
        except (ClientError, OSError) as error:  # TimeoutError is among these
            raise Dropped(f"{url}: {_why(error)}") from error


@dataclass(frozen=True, slots=True)
class _Body:
    """See :class:`Stream`."""

    _loop: asyncio.AbstractEventLoop
    _response: ClientResponse
    answer: Answer

    def read(self) -> bytes:
        from aiohttp import ClientError

        try:
            return _wait(self._loop, self._response.content.read(PIECE))
        except (ClientError, OSError) as error:
            raise Dropped(f"{self._response.url}: {_why(error)}") from error


async def _closed(response: ClientResponse) -> None:
    """Hang up, on the thread that the connection belongs to."""
    response.close()


def _range(start: int, version: Version | None) -> Mapping[str, str]:
    """Return the headers for a part, provided that the file is unchanged (RFC 9110, 13.1.5).

    A weak entity tag can't be used for that; then the versions are compared when the answer is there.
    """
    asked = {"Range": f"bytes={start}-"}
    if version is None:
        return asked
    strong = version.etag is not None and not version.etag.startswith("W/")
    known = version.etag if strong else version.modified if version.etag is None else None
    return {**asked, "If-Range": known} if known else asked


def _continues(answer: Answer, start: int, version: Version | None) -> bool:
    return answer.start == start and (version is None or answer.version == version)


def _answer(response: ClientResponse) -> Answer:
    headers = response.headers
    part = _RANGE.fullmatch(headers.get("Content-Range", "")) if response.status == 206 else None
    if part:
        start, size = int(part[1]), int(part[2]) if part[2] != "*" else None
    else:
        length = headers.get("Content-Length", "")
        start, size = 0, int(length) if length.isdecimal() else None
    version = Version(size=size, etag=headers.get("ETag"), modified=headers.get("Last-Modified"))
    digests = {**_digests(headers.get("Digest", "")), **_digests(headers.get("Repr-Digest", ""))}
    return Answer(version=version, start=start, stated=_stated(digests))


def _digests(header: str) -> Mapping[str, str]:
    """Return the values by algorithm in a header of RFC 3230 (``SHA-256=...``) or RFC 9530 (``sha-256=:...:``)."""
    pairs = (item.strip().partition("=") for item in header.split(","))
    return {name.lower(): value.strip().strip(":") for name, _, value in pairs if value}


def _stated(digests: Mapping[str, str]) -> Expected:
    """Return the digests that can be checked here; what has another form than it should have is left out."""
    sha256 = _hexadecimal(digests.get("sha-256", ""), 32)
    hexadecimal = digests.get("adler32", "").lower().rjust(8, "0")  # RFC 3230: in hexadecimal digits
    adler32 = hexadecimal if re.fullmatch(r"[0-9a-f]{8}", hexadecimal) and "adler32" in digests else None
    return Expected(
        sha256=Digest(sha256) if sha256 else None, adler32=adler32 or _hexadecimal(digests.get("adler", ""), 4)
    )


def _hexadecimal(coded: str, length: int) -> str | None:
    """Return base 64 of ``length`` bytes as hexadecimal digits."""
    try:
        raw = base64.b64decode(coded, validate=True)
    except binascii.Error:
        return None
    return raw.hex() if len(raw) == length else None


def _refusal(url: str, response: ClientResponse) -> DataError:
    why = f"{url}: the server says {response.status} {response.reason or ''}".rstrip()
    hint = "if it needs credentials, put them into ~/.netrc" if response.status in _LOCKED else None
    if response.status == _ABSENT and _PATTERN.search(urlsplit(url).path):
        hint = "patterns are for files of this machine: name the addresses one by one"
    return (Dropped if response.status in _WORTH_ANOTHER_TRY else Refused)(why, hint=hint)


def _why(error: Exception) -> str:
    """Return what happened in a line."""
    from aiohttp import TooManyRedirects

    if isinstance(error, TimeoutError):
        return "the server is silent"
    if isinstance(error, TooManyRedirects):
        return f"the server leads to other addresses {len(error.history)} times, and to no file"
    return " ".join(str(error).split()) or type(error).__name__
