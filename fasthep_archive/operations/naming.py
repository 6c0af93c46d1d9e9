"""Names of what products are taken from: nodes of the plan, and the stages that functions know them by."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WRITTEN = re.compile(r"write\.(?P<stage>.+)\.[0-9]+")


def written_input(stage: str, number: int) -> str:
    """Return the name of the input that is what ``stage`` writes, among those of a stage that takes products.

    >>> written_input("skim", 0)
    'write.skim.0'
    """
    return f"write.{stage}.{number}"


def need_of(node: str) -> str:
    """Return the stage that a node belongs to, as the document has it; also of the name of an input.

    >>> need_of("write.skim.0@jes_up"), need_of("Fit")
    ('skim', 'Fit')
    """
    written, _, _ = node.partition("@")
    found = _WRITTEN.fullmatch(written)
    return written if found is None else found["stage"]


def by_need(nodes: Iterable[str]) -> dict[str, list[str]]:
    """Return nodes by the stage that they belong to, in their order."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(need_of(node), []).append(node)
    return found
