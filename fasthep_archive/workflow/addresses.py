"""Addresses of files: which are read from where, and what must never stand in one.

An address ends up in bundles that everybody can read, so it carries no credentials: these come from ``~/.netrc`` or a
proxy certificate when the file is fetched.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

LOCAL = "file"
"""The scheme of files on this machine; a name without scheme means the same."""
REMOTE = ("http", "https", "root", "xroot")
"""The schemes of files that are fetched."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SECRET = re.compile(r"token|secret|passw|signature|credential|authz|api[-_]?key|^(?:sig|key|auth|pwd)$", re.IGNORECASE)
"""Names of parameters that hold credentials, those of presigned addresses included."""
_WEB_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.eyJ")
"""How a JSON Web Token (RFC 7519) starts."""
_INSTEAD = "leave it out; credentials belong in ~/.netrc, or in a proxy certificate for root://"


def scheme(name: str) -> str | None:
    """Return the scheme of an address in lower case, or none for a plain path.

    >>> scheme("ROOT://eospublic.cern.ch//eos/ww.root"), scheme("data/ww.root")
    ('root', None)
    """
    match = _SCHEME.match(name)
    return match[1].lower() if match else None


def is_remote(name: str) -> bool:
    """Say whether the file called ``name`` has to be fetched."""
    return scheme(name) in REMOTE


def local_path(name: str) -> str:
    """Return the path of a file on this machine, given as a path or as ``file://`` (RFC 8089).

    >>> local_path("file:///data/a%20b.root"), local_path("data/ww.root")
    ('/data/a b.root', 'data/ww.root')
    """
    return unquote(urlsplit(name).path) if scheme(name) == LOCAL else name


def base_name(url: str) -> str:
    """Return the last part of an address, in characters that every file system takes.

    >>> base_name("https://example.org/eos/a%20b.root?download=1")
    'a_b.root'
    """
    last = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._+-]", "_", last).lstrip(".")[-120:] or "input"


def fault(name: str, *, local: bool) -> tuple[str, str] | None:
    """Return what is wrong with an address and what to do about it, or none.

    :param local: whether it may be a file of this machine.
    """
    kind = scheme(name)
    known = (LOCAL, *REMOTE) if local else REMOTE
    if kind not in known:
        if kind == LOCAL:
            return f"{name} is on this machine, where nobody else can have it", f"write one of {_listed(known)}"
        if kind is None:
            return f"{name!r} is no address: it has no scheme", f"it starts with one of {_listed(known)}"
        return f"files can't be read over {kind}://", f"known are {_listed(known)}"
    try:
        parts = urlsplit(name)
        host = parts.port is None or parts.hostname
    except ValueError as error:
        return f"{name!r} is no address: {error}", "copy it again from where it came"
    if re.search(r"[\s\x00-\x1f\x7f]", name) or not host:
        return f"{name!r} is no address", "percent-encode blanks, as in a%20b.root"
    return _local_fault(name, parts) if kind == LOCAL else _remote_fault(parts)


def _local_fault(name: str, parts: SplitResult) -> tuple[str, str] | None:
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        return f"{name} names a host, not a file of this machine", "write file:///data/ww.root, with three slashes"
    return None


def _remote_fault(parts: SplitResult) -> tuple[str, str] | None:
    """Return what is wrong with the address of a file to fetch; credentials are not repeated in the message."""
    if not parts.hostname or not parts.path.strip("/"):
        return f"{parts.scheme}://{parts.netloc}{parts.path} names no file", f"write {parts.scheme}://HOST/PATH"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        what = "a password" if ":" in parts.netloc.rpartition("@")[0] else "a user's name"
        return f"the address {shown} comes with {what}", _INSTEAD
    for name, value in parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True):
        if _SECRET.search(name) or _WEB_TOKEN.search(value):
            return f"the address {shown} comes with credentials, in its parameter {name!r}", _INSTEAD
    return None


def _listed(schemes: tuple[str, ...]) -> str:
    return ", ".join(f"{each}://" for each in schemes)
