"""Plug-ins, for people and as data."""

from __future__ import annotations

from collections.abc import Sequence

from fasthep_archive.digest import JSON
from fasthep_archive.registry import Provided
from fasthep_archive.report.terminal import Screen, Table, tabulated


def plugins(found: Sequence[Provided], screen: Screen) -> str:
    """Return a table of names and who provides them; a name that several provide has a line for each."""
    if not found:
        return "no plug-ins are installed"
    rows = []
    for item in found:
        refused = "refused: provided more than once" if item.rivals else ""
        rows.append((_kind(item), item.name, item.provider, item.version, refused))
        for rival in item.rivals:
            provider, _, version = rival.rpartition(" ")
            rows.append((_kind(item), item.name, provider, version, refused))
    shown = [row if any(row[4] for row in rows) else row[:4] for row in rows]
    columns = ("kind", "name", "provider", "version", "")[: len(shown[0])]
    return tabulated(Table(title="Plug-ins", columns=columns, rows=tuple(shown)), screen)


def as_json(found: Sequence[Provided]) -> JSON:
    """Return them as JSON; ``rivals`` are others that provide the same name, with their versions."""
    return [
        {
            "kind": _kind(item),
            "name": item.name,
            "provider": item.provider,
            "version": item.version,
            "object": item.target,
            "rivals": list(item.rivals),
        }
        for item in found
    ]


def _kind(item: Provided) -> str:
    return {"writers": "sink"}.get(item.kind, item.kind.removesuffix("s"))
