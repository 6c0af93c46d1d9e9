"""``cms.match_l1t_jets``: the jets of the trigger's first level that are closest to reconstructed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import fields, momenta, objects
from fasthep_archive.operations.objects import Path
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream, Uncertain

_OUTPUTS = ("n_matched", "matched_reco_et", "matched_l1_et", "unmatched_dr")

_KEPT = "any(reco_et > 20) and count(l1_et) > 0"
"""Events go on with a reconstructed jet of more than 20 GeV and a jet of the first level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchL1TJets:
    """Finds for each reconstructed jet the closest one of the first level; they match up to a distance of ``dr_max``.

    Only events with a jet of the first level and a reconstructed one above 20 GeV go on. Adds ``n_matched``;
    ``matched_reco_et`` and ``matched_l1_et`` of the jets that match; ``unmatched_dr``, the event's smallest distance.
    """

    reco: Mapping[str, str]
    l1: Mapping[str, str]
    dr_max: float

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> MatchL1TJets:
        """Return the operation of checked parameters."""
        return cls(
            reco=cast("Mapping[str, str]", params["reco"]),
            l1=cast("Mapping[str, str]", params["l1"]),
            dr_max=cast("float", params["dr_max"]),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Add the fields and select the events; after a fault the fields are known by name only."""
        stream = only(streams)
        try:
            made, kept = self._made(lowering, stream, path)
        except Uncertain:
            return replace(stream, defined={**stream.defined, **dict.fromkeys(_OUTPUTS)}), None
        mask = kept if stream.mask is None else lowering.builder.apply("and", stream.mask, kept)
        return replace(stream, defined={**stream.defined, **made}, mask=mask), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the fields stay in the stream."""
        return None

    def _made(self, lowering: Lowering, stream: Stream, path: Path) -> tuple[Mapping[str, Value], Value]:
        """Return the new fields, and which events go on."""
        build = lowering.builder
        reco = _jets(lowering, stream, self.reco, (*path, "reco"))
        l1 = _jets(lowering, stream, self.l1, (*path, "l1"))
        with objects.reported(lowering, path):
            left, right = build.lists.product(reco["et"], l1["et"])
            one, other = (
                {name: build.lists.taken(jets[name], side) for name in ("eta", "phi")}
                for jets, side in ((reco, left), (l1, right))
            )
            distance = momenta.delta_r(build, one, other)
            nearest = build.lists.smallest_pair(distance)
            found = build.apply("greater_equal", nearest.value, build.constant(0))
            close = build.apply("less_equal", build.lists.taken(distance, nearest), build.constant(self.dr_max))
            matches = build.apply("and", found, close)
            partner = build.lists.taken(l1["et"], build.lists.reordered(right, nearest))
            matched = {
                "matched_reco_et": build.apply("filter", build.aligned((found, reco["et"]))[1], matches),
                "matched_l1_et": build.apply("filter", partner, matches),
            }
        smallest = build.apply("fill_none", build.apply("min", distance), build.constant(float("inf")))
        kept = build.formula(parse(_KEPT), {"reco_et": reco["et"], "l1_et": l1["et"]})
        count = build.lists.counted(matched["matched_reco_et"])
        return {"n_matched": count, **matched, "unmatched_dr": smallest}, kept


def _jets(lowering: Lowering, stream: Stream, names: Mapping[str, str], path: Path) -> dict[str, Value]:
    """Return the fields ``et``, ``eta`` and ``phi`` of jets; report what is no list."""
    jets: dict[str, Value] = {}
    for name, field in names.items():
        value = fields.field(lowering, stream, field, (*path, name))
        if not isinstance(value, Value):
            raise Uncertain(field)
        if value.structure is None:
            lowering.fault(f"{field!r} has one value per event, and not one for each jet", (*path, name))
            raise Uncertain(field)
        jets[name] = value
    return jets
