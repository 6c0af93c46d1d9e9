"""A web server on 127.0.0.1 that can do what real ones do to those who fetch: cut, change, refuse, redirect, dawdle."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LINGER = 0.1
"""Seconds between the last byte of a cut answer and the end of the connection: time for it to be read."""


@dataclass
class Page:
    """A file of the server.

    :ivar cuts: for each coming answer with a body, after how many bytes of it the connection is closed.
    :ivar statuses: for each coming request, a status that is sent instead.
    :ivar ranges: whether parts can be had. :ivar heads: whether HEAD is answered.
    :ivar pause: seconds before each piece of ``piece`` bytes.
    """

    content: bytes
    etag: str | None = '"1"'
    modified: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    location: str | None = None
    ranges: bool = True
    heads: bool = True
    sized: bool = True
    pause: float = 0.0
    piece: int = 1 << 16


@dataclass
class WebServer:
    """A running server: its pages by path, and the requests so far."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def add(self, path: str, content: bytes, **more: object) -> str:
        """Serve ``content`` and return its address."""
        self.pages[path] = Page(content, **more)
        return self.url + path

    def got(self, method: str = "GET") -> list[dict[str, str]]:
        """Return the headers of all requests of a method."""
        return [headers for each, _, headers in self.requests if each == method]


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Yield a server that runs until the context ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.state = WebServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        state: WebServer = self.server.state
        state.requests.append((self.command, self.path, dict(self.headers)))
        page = state.pages.get(self.path)
        if page is None:
            self._short(404)
        elif page.location:
            self._short(302, Location=page.location)
        elif not body and not page.heads:
            self._short(405)
        elif body and page.statuses:
            self._short(page.statuses.pop(0))
        else:
            self._send(page, body=body)

    def _short(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, page: Page, *, body: bool) -> None:
        start, size = self._start(page), len(page.content)
        if start >= size > 0:
            self._short(416, **{"Content-Range": f"bytes */{size}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        known = {"ETag": page.etag, "Last-Modified": page.modified, **page.headers}
        known["Content-Length"] = str(size - start) if page.sized else None
        for name, value in known.items():
            if value is not None:
                self.send_header(name, value)
        self.close_connection = True
        self.send_header("Connection", "close")
        self.end_headers()
        if body:
            self._body(page, page.content[start:])

    def _body(self, page: Page, rest: bytes) -> None:
        cut = page.cuts.pop(0) if page.cuts else None
        sent = rest[:cut]
        try:
            for at in range(0, len(sent), page.piece):
                time.sleep(page.pause)
                self.wfile.write(sent[at : at + page.piece])
            if cut is not None:
                time.sleep(LINGER)
        except OSError:
            pass  # whoever asked has hung up

    def _start(self, page: Page) -> int:
        """Return where the answer starts, as RFC 9110, 13.1.5 and 14.2 say."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not asked or not page.ranges or condition not in (None, page.etag, page.modified):
            return 0
        return int(asked[1])
