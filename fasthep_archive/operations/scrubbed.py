"""The environment of processes of code that is not ours: the same everywhere, but for places.

One thread for each numeric library, no clock but that of 1980, no locale, no home but a temporary one, and of the
variables of the user none but those that a workflow declares (DESIGN, section 5).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

EPOCH = 315532800
"""1980-01-01 in UTC, the earliest time that a zip file can hold: what programs that know SOURCE_DATE_EPOCH write."""
SYSTEM = ("/usr/local/bin", "/usr/bin", "/bin")
"""Where programs are looked for, behind those of this interpreter."""
_THREADS = (
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
RESERVED = frozenset(("HOME", "LC_ALL", "PATH", "PYTHONHASHSEED", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ", *_THREADS))
"""Variables that a workflow can't set: results could depend on them without anybody seeing it."""


def environment(
    home: Path, *, seed: int | None = None, declared: Mapping[str, str] | None = None, programs: str | None = None
) -> dict[str, str]:
    """Return all variables of a process of code that is not ours.

    :param home: a directory that is removed afterwards.
    :param seed: what random numbers of the process start from, for those that ask: ``SEED``.
    :param declared: variables that the workflow sets.
    :param programs: the directory in which programs are looked for first; default: that of this interpreter.
    """
    first = str(Path(sys.executable).parent) if programs is None else programs
    return {
        "PATH": os.pathsep.join(dict.fromkeys([first, *SYSTEM])),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(EPOCH),
        **dict.fromkeys(_THREADS, "1"),
        **({} if seed is None else {"SEED": str(seed)}),
        **(declared or {}),
    }
