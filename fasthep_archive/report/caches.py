"""What a cache holds, for people and as data."""

from __future__ import annotations

from collections.abc import Sequence

from fasthep_archive.digest import JSON
from fasthep_archive.execution.cache import Usage
from fasthep_archive.report.terminal import Screen, Table, size, tabulated


def areas(found: Sequence[Usage], screen: Screen) -> str:
    """Return a table of the areas, with the sum below."""
    rows = [(item.area, item.what, f"{item.entries:,}", size(item.size)) for item in found]
    total = ("", "all", f"{sum(item.entries for item in found):,}", size(sum(item.size for item in found)))
    return tabulated(
        Table(title="The cache", columns=("area", "what it holds", "entries", "size"), rows=(*rows, total)), screen
    )


def as_json(found: Sequence[Usage]) -> JSON:
    """Return the areas as JSON; sizes in bytes."""
    return [{"area": item.area, "what": item.what, "entries": item.entries, "size": item.size} for item in found]
