"""``hep.build_recoil``: missing transverse momentum and visible objects, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import momenta, objects
from fasthep_archive.operations.objects import Collection, Made, Path
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRecoil:
    """Adds the transverse momentum of ``met`` and of objects of ``visible`` collections, which stand side by side.

    There is a candidate for each object of the collections, or one for the event if there are none. ``n<output>`` is
    the number of candidates that pass ``selection``; of these ``<output>_<field>`` has the one with the highest pt, in
    a list of at most one value. Eta and mass are 0.
    """

    met: str
    visible: tuple[str, ...]
    output: str
    selection: tuple[str, ...]
    keep: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> BuildRecoil:
        """Return the operation of checked parameters."""
        return cls(
            met=str(params["met"]),
            visible=tuple(cast("Sequence[str]", params["visible"])),
            output=str(params["output"]),
            selection=tuple(cast("Sequence[str]", params["selection"])),
            keep=tuple(cast("Sequence[str]", params["keep"])),
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
        return [f"n{self.output}", *(f"{self.output}_{field}" for field in self.keep)]

    def _made(self, lowering: Lowering, stream: Stream, path: Path) -> Made:
        objects.free(lowering, stream, self._names(), (*path, "output"))
        build = lowering.builder
        recoil = self._recoil(lowering, stream, path)
        mask = objects.cuts(lowering, self.selection, recoil, recoil["pt"], (*path, "selection"))
        with objects.reported(lowering, (*path, "selection")):
            if mask is not None:
                recoil = {name: build.apply("filter", value, mask) for name, value in recoil.items()}
            highest = build.lists.first(build.lists.sorted(recoil["pt"], "descending"))
            count = build.lists.counted(recoil["pt"])
            kept = {name: build.lists.taken(recoil[name], highest) for name in self.keep}
        return {f"n{self.output}": count, **{f"{self.output}_{name}": value for name, value in kept.items()}}

    def _recoil(self, lowering: Lowering, stream: Stream, path: Path) -> dict[str, Value]:
        """Return pt, eta, phi and mass of all candidates."""
        build = lowering.builder
        met = objects.per_event(lowering, stream, self.met, (*path, "met"))
        total = momenta.transverse(build, met["pt"], met["phi"])
        if not self.visible:
            total = {name: build.lists.single(value) for name, value in total.items()}
        for number, name in enumerate(self.visible):
            place = (*path, "visible", number)
            collection = Collection(lowering, stream, name)
            pt, phi = (collection.listed(field, place) for field in ("pt", "phi"))
            with objects.reported(lowering, place):
                part = momenta.transverse(build, pt, phi)
                total = {axis: build.apply("add", value, part[axis]) for axis, value in total.items()}
        found = momenta.polar(build, total["px"], total["py"])
        zero = build.aligned((found["pt"], build.constant(0.0)))[1]
        return {**found, "eta": zero, "mass": zero}
