"""What this user's caches hold, and how they are made smaller.

All of it can be made again, so anything may be removed, but not under the hands of a run: whoever needs the caches for
some time says so with :func:`in_use`, and nothing is removed meanwhile.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive.errors import UsageError
from fasthep_archive.files import private_directory

AREAS: Mapping[str, tuple[str, str]] = {
    "results": ("store/[0-9a-f][0-9a-f]/*", "what tasks have computed"),
    "ledgers": ("store/ledgers/*", "what the last runs were made of"),
    "kernels": ("kernels/*", "compiled formulas"),
    "copies": ("inputs/*", "remote input files"),
    "generated": ("generated/*", "generated input files"),
    "snapshots": ("snapshots/*", "results of queries to databases"),
    "digests": ("digests/*", "digests of input files"),
    "looks": ("looks/*", "what input files hold"),
    "closures": ("closures/*", "which packages belong to this tool"),
    "installed": ("installed/*", "what was read of installed packages"),
    "environments": ("environments/*", "environments that bundles lock"),
    "wheels": ("trees/*", "wheels that were built here"),
    "children": ("children/*", "left by killed processes"),
    "carried": ("carried/*", "wheels that every bundle carries"),
    "indexes": ("artifacts/*", "what package indexes answered"),
}
"""What is kept where, as patterns of files and directories that are removed as a whole, and what that is."""

_LOCKS = frozenset({"locks"})
"""Files that processes lock; they stay."""
_USED = "in-use"
_GONE = ".gone-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A file or directory of a cache: its size in bytes, and when it was written or read last, in seconds of Unix."""

    area: str
    path: Path
    size: int
    used: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an area holds: ``what`` in words, the number of entries, bytes in all."""

    area: str
    what: str
    entries: int
    size: int


@contextmanager
def in_use(cache: Path) -> Iterator[None]:
    """Keep other processes from removing anything from ``cache`` meanwhile; any number can hold it at once."""
    with (private_directory(cache) / _USED).open("a") as handle:
        with suppress(OSError, ImportError):  # a file system without locks, or Windows
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def kept(cache: Path) -> Iterator[Kept]:
    """Yield everything that ``cache`` holds, area by area."""
    for area, (pattern, _) in AREAS.items():
        for path in sorted(cache.glob(pattern)):
            if path.name in _LOCKS:
                continue
            with suppress(FileNotFoundError):
                size, used = _measured(path)
                yield Kept(area=area, path=path, size=size, used=used)


def usage(cache: Path) -> tuple[Usage, ...]:
    """Return what each area of ``cache`` holds."""
    found = list(kept(cache))
    return tuple(
        Usage(area=area, what=what, entries=len(mine), size=sum(item.size for item in mine))
        for area, (_, what) in AREAS.items()
        for mine in [[item for item in found if item.area == area]]
    )


def prune(
    cache: Path, *, before: float | None = None, keep: int | None = None, areas: frozenset[str] = frozenset(AREAS)
) -> tuple[Kept, ...]:
    """Remove what was not used lately; return what was removed, what was unused longest first.

    :param before: what was neither written nor read since this time (seconds of Unix) is removed.
    :param keep: bytes that may stay, those used last; of the areas together. With neither, everything is removed.
    :param areas: of which anything is removed.
    :raises UsageError: if a run needs the cache just now.
    """
    with _alone(cache):
        found = sorted((item for item in kept(cache) if item.area in areas), key=lambda item: (item.used, item.path))
        left = sum(item.size for item in found)
        removed = []
        for item in found:
            old = before is not None and item.used < before
            much = keep is not None and left > keep
            if old or much or (before is None and keep is None):
                _remove(item.path)
                left -= item.size
                removed.append(item)
        return tuple(removed)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold ``cache`` for this process alone."""
    with (private_directory(cache) / _USED).open("a") as handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "prune it when they have ended"
            raise UsageError(f"other processes need the cache {cache} just now", hint=hint) from error
        except (OSError, ImportError):  # no locks here: then nobody holds one
            pass
        yield


def _measured(path: Path) -> tuple[int, float]:
    """Return the size of a file or of all files below a directory, and when any was used last.

    Looking into a directory is no use of it, though systems note it as one.
    """
    inside = [item for item in path.rglob("*") if not item.is_symlink()] if path.is_dir() else [path]
    states = [item.lstat() for item in inside if not item.is_dir()]
    used = [max(state.st_mtime, state.st_atime) for state in states]
    return sum(state.st_size for state in states), max(used, default=path.lstat().st_mtime)


def _remove(path: Path) -> None:
    """Remove a file, or a directory after giving it another name: nobody finds half of one."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            gone = path.with_name(f"{_GONE}{path.name}")
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        else:
            path.unlink()
