"""Damaged files: what a library says while it reads one becomes the user's error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fasthep_archive.errors import ArchiveError, DataError


@contextmanager
def told(path: Path, what: str = "") -> Iterator[None]:
    """Turn every error inside into a DataError that names the file, and ``what`` of it was read.

    Only for calls of libraries on bytes that can be anything: damaged ones let them raise errors of every type.
    """
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        read = f"{what} of {path}" if what else str(path)
        raise DataError(f"{read} is damaged or cut off: {first}") from error
