"""The closure of a few roots, remembered as long as nothing is installed, removed or changed.

Reading a hundred files of metadata takes a tenth of a second, a sixth of a run whose results are all there. What they
were when the closure was taken is seen without reading them: the names, times and sizes of what lies on the path.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import cast

from fasthep_archive.digest import JSON, canonical, of_json
from fasthep_archive.environment import markers
from fasthep_archive.environment.packages import Package, closure
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError
from fasthep_archive.files import private_directory, read_private, write_atomically

FOLDER = "closures"
"""Where closures are kept, below the cache."""

_METADATA = (".dist-info", ".egg-info", ".egg-link")
"""How the names of what describes a distribution end."""
_READ = ("METADATA", "PKG-INFO", "requires.txt", "direct_url.json", "RECORD", "SOURCES.txt")
"""The files of a distribution that a closure depends on."""


def remembered(roots: Sequence[str], cache: Path) -> tuple[Package, ...]:
    """Return :func:`~fasthep_archive.environment.packages.closure` of ``roots``, from ``cache`` if it is there.

    :raises DataError: if one of ``roots`` is not installed.
    """
    if not _known():
        return closure(roots)
    place = private_directory(cache / FOLDER) / of_json(_state(roots))
    found = _read(place)
    if found is None:
        found = closure(roots)
        write_atomically(place, canonical([package.to_json() for package in found]).encode())
    return found


def conditions(roots: Sequence[str], found: Sequence[Package], cache: Path) -> Mapping[str, str | None]:
    """Return :func:`~fasthep_archive.environment.markers.needed` of ``roots``, from ``cache`` if it is there.

    :param found: the closure of ``roots``.
    """
    names = [package.name for package in found]
    if not _known():
        return markers.needed(roots, names)
    place = private_directory(cache / FOLDER) / of_json({"conditions of": names, "state": _state(roots)})
    try:
        kept = cast("dict[str, str | None]", json.loads(read_private(place) or b""))
        return {name: kept[name] for name in names}
    except (ValueError, TypeError, KeyError):  # not there, or not whole
        made = markers.needed(roots, names)
        write_atomically(place, canonical(made).encode())
        return made


def _known() -> bool:
    """Return whether what is installed can be seen on the path; else nobody knows when it changes."""
    return all(map(_looks_on_the_path, sys.meta_path))


def _looks_on_the_path(finder: object) -> bool:
    """Return whether a finder finds distributions on ``sys.path``, as Python's own and its backport do, or none."""
    ours = finder is PathFinder or type(finder).__module__ == "importlib_metadata"
    return ours or not hasattr(finder, "find_distributions")


def _read(place: Path) -> tuple[Package, ...] | None:
    try:
        values = cast("list[JSON]", json.loads(read_private(place) or b""))
        return tuple(Package.from_json(Reader.of(value, "package")) for value in values)
    except (ValueError, TypeError, DataError):  # not there, or not whole
        return None


def _state(roots: Sequence[str]) -> JSON:
    """Return everything that a closure depends on: what is installed, and what its conditions can ask for."""
    system = platform.uname()
    asked = [
        sys.version,
        sys.platform,
        os.name,
        sys.implementation.name,
        system.release,
        system.version,
        system.machine,
    ]
    return {"roots": list(roots), "conditions": asked, "path": [_entry(Path(entry)) for entry in sys.path]}


def _entry(entry: Path) -> JSON:
    """Return what describes distributions on one entry of the path; a file, such as a zip, by its own state."""
    try:
        found = sorted(path for path in entry.iterdir() if path.suffix.lower() in _METADATA)
    except OSError:  # no directory, or none at all
        return [str(entry), _stated(entry)]
    described: JSON = [[path.name, _stated(path), [_stated(path / name) for name in _READ]] for path in found]
    return [str(entry.absolute()), described]


def _stated(path: Path) -> JSON:
    """Return time, size and number of a file or directory; none where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_mtime_ns, state.st_size, state.st_ino]
