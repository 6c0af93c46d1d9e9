"""Why outputs differ, as lines for people: what a workflow's variations have in common is said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fasthep_archive.verification.verdict import Verdict

SHOWN = 20
"""Reasons that are told of outputs that differ."""


def reasons(found: Sequence[Verdict]) -> list[str]:
    """Return why outputs differ, a line each: what is written for a variation too is told once, and not too many."""
    because = {verdict.output: verdict.because for verdict in found if verdict.because}
    varied = Counter(own for name in because if (own := _unvaried(name)) != name and own in because)
    lines = [
        f"{name}: {why}" + (f" (and in {varied[name]} variations)" if varied[name] > 1 else "")
        for name, why in because.items()
        if _unvaried(name) == name or _unvaried(name) not in because
    ]
    more = [f"and {len(lines) - SHOWN} more, which --json lists"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _unvaried(name: str) -> str:
    """Return the name of the same output as the workflow is written."""
    from fasthep_archive.data.view import VARIED

    return name.removeprefix(VARIED).partition("/")[2] if name.startswith(VARIED) else name
