"""Names of the workflow language that code stands behind: ours, and those of installed plug-ins.

A plug-in is any distribution with an entry point in one of :data:`GROUPS`. Nothing is imported before its name is
used. A name that two distributions provide is refused, naming both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata

from fasthep_archive.errors import UsageError

GROUPS = {"operations": "fasthep_archive.operations"}

_OURS: Mapping[str, Mapping[str, str]] = {
    "operations": {
        "hep.define": "fasthep_archive.operations.define:Define",
        "hep.di_object_mass": "fasthep_archive.operations.mass:DiObjectMass",
        "hep.hist": "fasthep_archive.operations.histogram:Hist",
        "hep.selection.cutflow": "fasthep_archive.operations.cutflow:CutflowSelection",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provided:
    """A name, the object behind it (``module:object``), and who provides it."""

    name: str
    target: str
    provider: str
    version: str

    def load(self) -> object:
        """Import and return the object."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


def is_ours(kind: str, name: str) -> bool:
    """Return whether ``name`` is one of this package's, whatever plug-ins are installed."""
    return name in _OURS[kind]


def provided(kind: str, *, version: str) -> Mapping[str, Provided]:
    """Return everything of ``kind`` that can be named, ours (of ``version``) first.

    :raises UsageError: if two distributions provide the same name.
    """
    found = {
        name: Provided(name=name, target=target, provider="fasthep-archive", version=version)
        for name, target in _OURS[kind].items()
    }
    for entry in metadata.entry_points(group=GROUPS[kind]):
        distribution = entry.dist
        provider = distribution.name if distribution else "an unknown distribution"
        if entry.name in found:
            raise UsageError(
                f"{kind[:-1]} {entry.name!r} is provided more than once: {found[entry.name].provider}, {provider}",
                hint=f"uninstall one of them, or rename the entry point of {provider}",
            )
        found[entry.name] = Provided(
            name=entry.name,
            target=entry.value,
            provider=provider,
            version=distribution.version if distribution else "?",
        )
    return found
