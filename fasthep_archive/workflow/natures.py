"""What operations are to the graph: what they read, whether they hand events on, what they leave to be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fasthep_archive import registry
from fasthep_archive.errors import UsageError

Leaves: TypeAlias = Literal["hist", "cutflow", "stream"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Nature:
    """What an operation is to the graph.

    :ivar reads: the events of one stage or stream, those of several, or the products of stages.
    :ivar hands_on: whether a stage below that names no input reads its events. (It can be read by name even if not.)
    :ivar leaves: what is drawn of it.
    :ivar needy: whether one that reads products has to. :ivar sink: whether it writes them, with ``role: sink`` or not.
    """

    reads: Literal["stream", "streams", "products"] = "stream"
    hands_on: bool = True
    leaves: Leaves = "stream"
    needy: bool = True
    sink: bool = False


_NATURES: Mapping[str, Nature] = {
    "archive.values": Nature(reads="products", hands_on=False),
    "hep.hist": Nature(hands_on=False, leaves="hist"),
    "hep.merge_fields": Nature(reads="streams"),
    "hep.selection.cutflow": Nature(leaves="cutflow"),
    "hep.zip_join": Nature(reads="streams"),
    "root_histograms": Nature(reads="products", hands_on=False, sink=True),
    "run.command": Nature(reads="products", hands_on=False, needy=False),
    "run.python": Nature(reads="products", hands_on=False, needy=False),
}
_FAMILIES: Mapping[str, Nature] = {
    "hep.render.": Nature(reads="products", hands_on=False),
    "hep.report.": Nature(reads="products", hands_on=False),
}
_USUAL = Nature()


def nature(op: str) -> Nature:
    """Return the nature of the operation ``op``; that of most operations if it is unknown."""
    family = next((found for prefix, found in _FAMILIES.items() if op.startswith(prefix)), _USUAL)
    return _NATURES.get(op) or _of_plugin(op) or family


def _of_plugin(op: str) -> Nature | None:
    """Return the nature of a plug-in's operation, whose attribute ``reads`` says that it is not the usual one."""
    found = registry.foreign("operations", op)
    if found is None or found.rivals:
        return None
    try:
        reads = getattr(found.load(), "reads", "stream")
    except UsageError:  # which is reported where its parameters are read
        return None
    return Nature(reads="products", hands_on=False) if reads == "products" else None


def leaves(op: str) -> Leaves:
    """Return what can be drawn of a stage."""
    return nature(op).leaves
