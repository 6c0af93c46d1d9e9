"""Compiled kernels on disk: one file of source per content, compiled once per user, CPU and numba version.

numba can only cache functions that come from a file, so generated source becomes a module file named by its
digest. The directory belongs to the user alone: whatever lies there is executed. Nothing from a bundle enters it.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from fasthep_archive import digest
from fasthep_archive.errors import DataError, writing

_FOOTER = """

from numba import njit as _njit

_compiled = _njit(cache=True, error_model="numpy", nogil=True, fastmath=False)
"""


def load(source: str, functions: Sequence[str], *, cache: Path, name: str = "kernel") -> ModuleType:
    """Return the module of ``source`` with ``functions`` compiled by numba on first call and cached on disk.

    ``functions`` are named callees first. ``source`` is ours, never a user's: no name that a user chose may reach it.
    ``error_model="numpy"`` makes division by zero an IEEE result; without fast-math LLVM neither contracts nor
    re-associates (measured on x86-64 and AArch64).
    """
    text = source + _FOOTER + "".join(f"{function} = _compiled({function})\n" for function in functions)
    module_name = f"fasthep_archive_{name}_{digest.of_bytes(text.encode())[:40]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    path = private_directory(cache / "kernels") / f"{module_name}.py"
    if not path.exists():
        write_atomically(path, text.encode())
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:  # pragma: no cover - a .py file always has a loader
        raise DataError(f"can't import the kernel {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # numba's cache looks the module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def private_directory(path: Path) -> Path:
    """Create ``path`` for this user alone; refuse a directory that others own or can write to."""
    with writing(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = path.stat()
    if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise DataError(
            f"the cache directory {path} can be written by other users",
            hint="set FASTHEP_ARCHIVE_CACHE to a directory of your own, or chmod 700 it",
        )
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, and make the directories that it needs.

    :raises DataError: if it can't be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(temporary).chmod(0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
