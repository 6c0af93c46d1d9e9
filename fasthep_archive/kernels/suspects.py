"""Which loaded library may have changed the floating-point environment of this process.

GCC and Clang link ``crtfastmath.o`` into what is built with ``-ffast-math`` or ``-Ofast``. Its constructor runs when
the library is loaded and sets bits 15 and 6 of the control register MXCSR: ``stmxcsr``, ``or $0x8040``, ``ldmxcsr``.
Those instructions are looked for in the files that this process has mapped, which only Linux tells and only x86 has.
(Found by others, in dozens of packages, in 2022: Brendan Dolan-Gavitt, "Someone's been messing with my subnormals!")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_FLUSHES = re.compile(rb"\x0f\xae.{1,7}\x40\x80\x00\x00.{0,6}\x0f\xae", re.DOTALL)


def suspects() -> tuple[Path, ...]:
    """Return the loaded libraries that have code which makes subnormal numbers zero; none where that can't be told."""
    return tuple(path for path in _loaded() if _FLUSHES.search(_content(path)))


def _loaded() -> Iterator[Path]:
    """Yield each file of which this process can execute a part."""
    try:
        lines = _MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    rows = [line.split(maxsplit=5) for line in lines]
    yield from (Path(name) for name in dict.fromkeys(row[5] for row in rows if len(row) == 6 and "x" in row[1]))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""
