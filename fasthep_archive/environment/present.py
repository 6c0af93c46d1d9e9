"""Whether the environment of this process is a locked one."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError

from fasthep_archive.environment.lock import Lock, Locked


def unlike(lock: Lock) -> tuple[str, ...]:
    """Return in what this environment is not the locked one: the interpreter's minor version, and each package.

    What is installed besides does not matter.
    """
    here = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    locked = f"{lock.implementation} {lock.python}"
    python = (f"{here} runs here, {locked} is locked",) if here != locked else ()
    return (*python, *filter(None, map(_unlike, lock.packages)))


def lacking(lock: Lock) -> tuple[str, ...]:
    """Return the locked packages that are not installed here and that no other needs, with their versions.

    These are plug-ins, and what the code of an analysis imports.
    """
    needed = {name for package in lock.packages for name in package.needs}
    roots = [package for package in lock.packages if package.name not in needed]
    return tuple(
        f"{package.name} {package.version}"
        for package in roots
        if (_unlike(package) or "").endswith("is not installed here")
    )


def _unlike(package: Locked) -> str | None:
    from packaging.markers import Marker
    from packaging.version import Version

    if package.marker is not None and not Marker(package.marker).evaluate():
        return None
    try:
        version = Distribution.from_name(package.name).version
    except PackageNotFoundError:
        return f"{package.name} is not installed here"
    same = Version(version) == Version(package.version)
    return None if same else f"{package.name} is {version} here, {package.version} is locked"
