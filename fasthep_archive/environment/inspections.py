"""What reading an installed distribution's files has told, remembered as long as each of them looks unchanged.

To lock an environment, thousands of installed files are read, which takes a second of each packing. What was read is
told by the time of change, the size and the number of every file, as Git's index does; and by the time at which the
file system itself noted a change, which nothing but the clock sets, so that a file whose time was set back after
somebody had edited it is seen too. Inputs of a workflow are a matter of their own: ``pack`` reads every byte of these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import cast

from fasthep_archive.digest import JSON, Digest, canonical, of_bytes, of_json
from fasthep_archive.environment import installed
from fasthep_archive.environment.installed import Inspected, InstalledFile
from fasthep_archive.environment.packages import Package
from fasthep_archive.environment.wheel_layout import dist_info
from fasthep_archive.files import private_directory, read_private, write_atomically

FOLDER = "installed"
"""Where it is kept, below the cache."""

_SETTLED = 2_000_000_000
"""Nanoseconds for which a file has to be left alone before what was read of it is believed later: time stamps are as
coarse as two seconds, and a file that is edited twice within one would look the same."""


def remembered(distribution: Distribution, package: Package, cache: Path) -> Inspected:
    """Return :func:`~fasthep_archive.environment.installed.inspected` of ``distribution``, from ``cache`` if there.

    :param package: what it is called, as found by :func:`~fasthep_archive.environment.packages.closure`.
    :raises DataError: as that function does.
    """
    site = Path(str(distribution.locate_file(""))).absolute()
    place = private_directory(cache / FOLDER) / of_json([str(site), package.name, package.version])
    known = _kept(place)
    if known is not None:
        return known
    files = installed.files(distribution)
    watched = _watched(site, files)
    before = None if watched is None else _state(watched)
    found = installed.read(files)
    if watched is not None and before is not None:
        content: JSON = {
            "paths": watched,
            "state": before,
            "files": found.files,
            "modified": list(found.modified),
        }
        write_atomically(place, canonical(content).encode())
    return found


def _watched(site: Path, files: Iterable[InstalledFile]) -> list[str] | None:
    """Return the paths of everything that the answer depends on; none where that is more than installed files.

    Which files there are is told by ``RECORD``, which is in the directory of a distribution's metadata as are all
    other notes of installers.
    """
    sources = [file.source for file in files]
    metadata = {site / file.path.partition("/")[0] for file in files if dist_info(file.path)}
    if len(metadata) != 1 or not all(isinstance(source, Path) for source in sources):
        return None
    (folder,) = metadata
    return [str(folder), str(folder / "RECORD"), *map(str, sources)] if (folder / "RECORD").is_file() else None


def _kept(place: Path) -> Inspected | None:
    try:
        known = json.loads(read_private(place) or b"")
        if _state(cast("list[str]", known["paths"]), before=place.stat().st_mtime_ns - _SETTLED) != known["state"]:
            return None
        return Inspected(files=Digest(known["files"]), modified=tuple(map(str, known["modified"])))
    except (OSError, ValueError, TypeError, KeyError):  # not there, or not whole
        return None


def _state(paths: Sequence[str], *, before: int | None = None) -> Digest | None:
    """Return the digest of what the files look like from outside.

    :param before: nanoseconds of Unix; none is returned if one of the files changed later.
    """
    found = list(map(_stated, paths))
    if before is not None and any(state[0] >= before for state in found if state):
        return None
    return of_bytes(repr(found).encode())


def _stated(path: str) -> tuple[int, ...]:
    """Return when a file was changed last, its size and its number; nothing where there is none."""
    try:
        state = os.stat(path)  # noqa: PTH116 - thousands of paths that nobody else needs
    except OSError:
        return ()
    return max(state.st_mtime_ns, state.st_ctime_ns), state.st_mtime_ns, state.st_size, state.st_ino
