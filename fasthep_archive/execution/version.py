"""The digest of the code that decides results: part of every key, and what workers elsewhere must have too."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fasthep_archive.digest import of_bytes

_ROOMS = ("data", "execution", "formula", "kernels", "operations")


@cache
def code_digest() -> str:
    """Return the first 16 digits of the digest of the source files that decide results, with their names."""
    package = Path(__file__).parents[1]
    sources = sorted(path for room in _ROOMS for path in (package / room).rglob("*.py"))
    code = of_bytes(b"".join(path.relative_to(package).as_posix().encode() + path.read_bytes() for path in sources))
    return code[:16]
