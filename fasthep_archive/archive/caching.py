"""``cache``: what this user's caches hold, and how they are made smaller."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fasthep_archive.archive.surroundings import AnyPath, surroundings
from fasthep_archive.errors import UsageError, nearest

if TYPE_CHECKING:
    from fasthep_archive.execution.cache import Kept, Usage

_DAY = 86_400.0


def cached(*, cache: AnyPath | None = None) -> tuple[Usage, ...]:
    """Return what each area of the cache holds: results, compiled formulas, copies of inputs, environments."""
    from fasthep_archive.execution.cache import usage

    return usage(surroundings(cache, None, None).cache)


def prune(
    *, days: float | None = None, keep: int | None = None, areas: Sequence[str] = (), cache: AnyPath | None = None
) -> tuple[Kept, ...]:
    """Remove what was not used lately from the cache, and return what was removed. All of it can be made again.

    :param days: what was not used for so many days goes.
    :param keep: bytes that may stay, those used last. With neither, everything goes.
    :param areas: of which anything goes; all by default.
    :raises UsageError: if a run needs the cache just now, or an area is unknown.
    """
    from fasthep_archive.execution import cache as execution

    for area in areas:
        if area not in execution.AREAS:
            hint = nearest(area, execution.AREAS) or f"there are {', '.join(execution.AREAS)}"
            raise UsageError(f"the cache has no area {area!r}", hint=hint)
    before = None if days is None else time.time() - days * _DAY
    chosen = frozenset(areas or execution.AREAS)
    return execution.prune(surroundings(cache, None, None).cache, before=before, keep=keep, areas=chosen)
