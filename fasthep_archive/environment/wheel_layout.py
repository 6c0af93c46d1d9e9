"""How a wheel lays out its files, and how installers move and change them; both ways.

After the PyPA specifications "Binary distribution format" (what is in a wheel) and "Recording installed projects" (what
``.dist-info`` has on top of that). Installers move scripts, C headers and other data out of ``site-packages``, and
write the path of one machine's interpreter into scripts; here files have one place and one form on both sides, so that
a wheel and what was installed from it have one digest.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import PurePosixPath
from typing import IO

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.environment.packages import normalised

PIECE = 1 << 20
"""Bytes that are read at a time."""

NOTES = (
    "RECORD",
    "RECORD.jws",
    "RECORD.p7s",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
    "provenance_url.json",
    "uv_cache.json",
    "uv_build.json",
)
"""Files of ``.dist-info`` that are about one installation, or that every wheel has of its own. ``direct_url.json``
(PEP 610) names a folder or a host of the author's."""

_EXECUTABLES = frozenset({"bin", "scripts"})
_HEADERS = re.compile(r"include/(?:site/)?(?:python|pypy)[\d.]+[a-z]*/[^/]+/(?P<rest>.+)", re.IGNORECASE)
_SITE = re.compile(r"lib(?:64)?/(?:(?:python|pypy)[\d.]+[a-z]*/)?(?:site|dist)-packages/(?P<rest>.+)", re.IGNORECASE)
_DEPTH = 3  # PREFIX/lib/python3.11/site-packages

# Installers write the same entry points for their own console under further names, which are in no entry_points.txt.
_GENERATED = {"pip": re.compile(r"pip[\d.]*"), "setuptools": re.compile(r"easy_install(-[\d.]+)?")}
_SUFFIXES = ("", ".exe", ".exe.manifest", "-script.py", "-script.pyw")

# What stands in the first line of a script after `#!python` has been replaced: the interpreter's path; or, where that
# is too long or has spaces, a line for /bin/sh that Python reads as a string (distlib, pip and uv write the same one).
_SHEBANG = re.compile(
    rb"""
      \#!python[^\r\n]*\r?\n
    | \#![ \t]*"?(?:/|[A-Za-z]:[\\/])(?:[^\r\n"/\\]*[/\\])*(?:python|pypy)[\d.]*[tw]?(?:\.exe)?"?(?:[ \t][^\r\n]*)?\r?\n
    | \#!/bin/sh\n'''exec'[ ][^\n]*(?:python|pypy)[^\n]*\n'[ ]'''\n
    """,
    re.VERBOSE,
)


def content_digest(content: Iterable[tuple[str, Digest]]) -> Digest:
    """Return the digest that stands for files with these paths and digests, in whatever order they come."""
    return digest.of_json([[path, sha256] for path, sha256 in sorted(content)])


def wheel_path(installed: str, stem: str) -> str | None:
    """Return where a wheel has the file that is ``installed`` at this path; none for what installers add.

    :param installed: the path relative to ``site-packages``, with ``/``.
    :param stem: name and version as in ``NAME-VERSION.dist-info``.

    >>> wheel_path("../../../bin/activate-grid", "grid-1.0")
    'grid-1.0.data/scripts/activate-grid'
    >>> wheel_path("grid/__pycache__/job.cpython-311.pyc", "grid-1.0")
    """
    parts = PurePosixPath(posixpath.normpath(installed)).parts
    if not parts or is_note("/".join(parts), stem):
        return None
    ups = sum(part == ".." for part in parts)
    rest = "/".join(parts[ups:])
    if not ups:
        return rest
    if site := _SITE.fullmatch(rest):
        return site["rest"]  # Fedora has two: for compiled packages, and for others
    if headers := _HEADERS.fullmatch(rest):
        return f"{stem}.data/headers/{headers['rest']}"
    if parts[ups].lower() in _EXECUTABLES and len(parts) > ups + 1:
        return f"{stem}.data/scripts/{'/'.join(parts[ups + 1 :])}"
    # What is not below the environment keeps its way up, which no wheel can have and `wheels.rebuilt` refuses.
    return f"{stem}.data/data/{'../' * max(0, ups - _DEPTH)}{rest}"


def is_note(path: str, stem: str) -> bool:
    """Return whether the file at ``path``, of a wheel or of ``site-packages``, is one of :data:`NOTES` or byte code."""
    folder, _, rest = path.partition("/")
    return "__pycache__" in path.split("/") or (folder == f"{stem}.dist-info" and rest in NOTES)


def placed(path: str, stem: str) -> str:
    """Return the one path that stands for the file at ``path`` in a wheel, wherever of equal places the wheel has it.

    >>> placed("grid-1.0.data/purelib/grid/job.py", "grid-1.0")
    'grid/job.py'
    """
    folder, _, rest = path.partition("/")
    if not folder.endswith(".data") or normalised(folder) != normalised(f"{stem}.data"):
        return path
    kind, _, below = rest.partition("/")
    if kind in {"purelib", "platlib"}:
        return below
    first, _, further = below.partition("/")
    if kind == "data" and (site := _SITE.fullmatch(below)):
        return site["rest"]
    if kind == "data" and first.lower() in _EXECUTABLES and further:
        return f"{stem}.data/scripts/{further}"
    return f"{stem}.data/{rest}"


def dist_info(path: str) -> str | None:
    """Return name and version, as they are spelled, if ``path`` is in a wheel's own ``NAME-VERSION.dist-info``."""
    folder, slash, _ = path.partition("/")
    return folder.removesuffix(".dist-info") if slash and folder.endswith(".dist-info") else None


def is_script(path: str) -> bool:
    """Return whether ``path`` in a wheel is that of a script, into which installers write an interpreter's path."""
    folder, _, rest = path.partition("/")
    return folder.endswith(".data") and rest.startswith("scripts/")


def generated_scripts(distribution: Distribution) -> frozenset[str]:
    """Return the names of scripts that installers generate from the distribution's entry points, on any platform."""
    names = {entry.name for entry in distribution.entry_points if entry.group in {"console_scripts", "gui_scripts"}}
    further = _GENERATED.get(normalised(distribution.name))
    if further is not None:
        names |= _further(distribution, further)
    return frozenset(name + suffix for name in names for suffix in _SUFFIXES)


def _further(distribution: Distribution, pattern: re.Pattern[str]) -> frozenset[str]:
    """Return names of installed scripts, without the suffix that Windows needs, that match ``pattern``."""
    names = (PurePosixPath(str(path)).name.removesuffix(".exe") for path in distribution.files or ())
    return frozenset(name for name in names if pattern.fullmatch(name))


def restored(start: bytes) -> bytes:
    r"""Return the start of a script as wheels have it: with ``#!python`` for the path of an interpreter.

    What follows the interpreter in that line is dropped, as pip does; ``/usr/bin/env`` and other programs stay.

    >>> restored(b"#!/home/alice/venv/bin/python3.11\nprint(1)\n")
    b'#!python\nprint(1)\n'
    """
    found = _SHEBANG.match(start)
    return b"#!python\n" + start[found.end() :] if found else start


def pieces(stream: IO[bytes], *, script: bool) -> Iterator[bytes]:
    """Yield the bytes of an installed file, or of a wheel's, as a wheel has them."""
    piece = stream.read(PIECE)
    if script:
        piece = restored(piece)
    while piece:
        yield piece
        piece = stream.read(PIECE)


def sha256_of(stream: IO[bytes], *, script: bool) -> Digest:
    """Return the SHA-256 of :func:`pieces`."""
    found = hashlib.sha256()
    for piece in pieces(stream, script=script):
        found.update(piece)
    return Digest(found.hexdigest())


def base64_of(raw: bytes) -> str:
    """Return ``raw`` as ``RECORD`` writes digests: URL-safe Base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
