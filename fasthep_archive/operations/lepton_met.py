"""``hep.build_lepton_met_candidate``: candidates of a lepton and missing transverse momentum, such as W bosons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import momenta, objects
from fasthep_archive.operations.objects import Collection, Made, Path
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLeptonMetCandidate:
    """Adds a candidate for each selected lepton: the sum of its momentum and the missing transverse one, massless.

    New fields: ``n<output>_lepton``, the number of leptons that pass the selection of leptons; ``n<output>_W`` and
    ``<output>_W_<field>`` of the candidates that pass theirs, with the transverse mass ``MT``;
    ``<output>_lepton_<field>`` of their leptons.
    """

    lepton: str
    met: str
    output: str
    lepton_selection: tuple[str, ...]
    candidate_selection: tuple[str, ...]
    keep_candidate: tuple[str, ...]
    keep_lepton: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> BuildLeptonMetCandidate:
        """Return the operation of checked parameters."""
        selection, keep = objects.listed_texts(params["selection"]), objects.listed_texts(params["keep"])
        return cls(
            lepton=str(params["lepton"]),
            met=str(params["met"]),
            output=str(params["output"]),
            lepton_selection=selection["lepton"],
            candidate_selection=selection["candidate"],
            keep_candidate=keep["candidate"],
            keep_lepton=keep["lepton"],
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Add the fields; after a fault they are known by name only."""
        stream = only(streams)
        return objects.adding(stream, self._names(), lambda: self._made(lowering, stream, path)), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the fields stay in the stream."""
        return None

    def _names(self) -> list[str]:
        return [
            f"n{self.output}_lepton",
            f"n{self.output}_W",
            *(f"{self.output}_W_{field}" for field in self.keep_candidate),
            *(f"{self.output}_lepton_{field}" for field in self.keep_lepton),
        ]

    def _made(self, lowering: Lowering, stream: Stream, path: Path) -> Made:
        objects.free(lowering, stream, self._names(), (*path, "output"))
        build = lowering.builder
        leptons = Collection(lowering, stream, self.lepton)
        values = {name: leptons.listed(name, (*path, "lepton")) for name in momenta.COORDINATES}
        for number, name in enumerate(self.keep_lepton):
            values[name] = leptons.listed(name, (*path, "keep", "lepton", number))
        mask = objects.cuts(lowering, self.lepton_selection, leptons, values["pt"], (*path, "selection", "lepton"))
        with objects.reported(lowering, (*path, "lepton")):
            build.aligned(tuple(values.values()))
            if mask is not None:
                values = {name: build.apply("filter", value, mask) for name, value in values.items()}
        count = build.lists.counted(values["pt"])
        candidates = self._candidates(lowering, stream, values, path)
        place = (*path, "selection", "candidate")
        mask = objects.cuts(lowering, self.candidate_selection, candidates, candidates["pt"], place)
        if mask is not None:
            values = {name: build.apply("filter", value, mask) for name, value in values.items()}
            candidates = {name: build.apply("filter", value, mask) for name, value in candidates.items()}
        made = {f"n{self.output}_lepton": count, f"n{self.output}_W": build.lists.counted(candidates["pt"])}
        made |= {f"{self.output}_W_{name}": candidates[name] for name in self.keep_candidate}
        return made | {f"{self.output}_lepton_{name}": values[name] for name in self.keep_lepton}

    def _candidates(
        self, lowering: Lowering, stream: Stream, leptons: Mapping[str, Value], path: Path
    ) -> dict[str, Value]:
        """Return pt, eta, phi, mass and MT of a candidate for each lepton."""
        build = lowering.builder
        met = objects.per_event(lowering, stream, self.met, (*path, "met"))
        nothing = build.constant(0.0)
        missing = momenta.components(build, {**met, "eta": nothing, "mass": nothing})
        with objects.reported(lowering, (*path, "lepton")):
            found = momenta.summed(build, momenta.components(build, leptons), missing)
            return {**found, "MT": momenta.transverse_mass(build, leptons, met)}
