"""Whether the environment of this process is a locked one."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError

from fasthep_archive.environment.lock import Lock, Locked


def is_present(lock: Lock) -> bool:
    """Return whether this interpreter is of the locked implementation and minor version, and has the locked packages.

    What is installed besides does not matter.
    """
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (lock.implementation, lock.python) == (sys.implementation.name, minor) and all(map(_has, lock.packages))


def _has(package: Locked) -> bool:
    from packaging.markers import Marker
    from packaging.version import Version

    if package.marker is not None and not Marker(package.marker).evaluate():
        return True
    try:
        return Version(Distribution.from_name(package.name).version) == Version(package.version)
    except PackageNotFoundError:
        return False
