"""``plugins``: who provides the names of the language."""

from __future__ import annotations

from fasthep_archive import __version__, registry
from fasthep_archive.registry import Provided


def plugins(*, ours: bool = False) -> tuple[Provided, ...]:
    """Return what installed plug-ins provide, by kind and name, also where two of them provide one name.

    :param ours: whether the names that are this package's own are listed too.
    """
    return tuple(
        found
        for kind in sorted(registry.GROUPS)
        for _, found in sorted(registry.provided(kind, version=__version__).items())
        if ours or found.provider != registry.OURS or found.rivals
    )
