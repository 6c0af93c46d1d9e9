"""``hep.di_object_mass``: invariant mass of the first two objects of a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Named, Value
from fasthep_archive.operations.protocol import Fill, Product
from fasthep_archive.operations.stream import Lowering, Scope, Stream

_COMPONENTS = ("Px", "Py", "Pz", "E")

# m² = E² − |p|² of the summed four-momenta, in natural units; rounding may leave a massless pair slightly
# below zero, which counts as 0. The order of the operations is part of the numeric profile.
_FIRST_TWO = "nth({0}, 0) + nth({0}, 1)"
_MASS_SQUARED = "E * E - (Px * Px + Py * Py + Pz * Pz)"
_MASS = "where(count_of_objects >= 2, sqrt(where(m2 < 0, 0.0, m2)), not_a_number)"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiObjectMass:
    """Adds the column ``out_var``: the pair's mass in the unit of the inputs; NaN with fewer than two objects.

    ``<collection>_Px``, ``_Py``, ``_Pz`` and ``_E`` are lists per event; ``mask`` is a formula with one condition per
    object. The first two objects are taken in stored order.
    """

    collection: str
    mask: str | None
    out_var: str

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> DiObjectMass:
        """Return the operation of checked parameters."""
        return cls(
            collection=str(params["collection"]),
            mask=cast("str | None", params.get("mask")),
            out_var=str(params["out_var"]),
        )

    def lower(
        self, lowering: Lowering, stream: Stream, stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Add the mass."""
        return stream.defining(self.out_var, self._mass(lowering, stream, path)), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the column stays in the stream."""
        return None

    def _mass(self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> Value | None:
        objects = self._objects(lowering, stream, path)
        if objects is None:
            return None
        build = lowering.builder
        components: dict[str, Named] = {
            component: build.formula(parse(_FIRST_TWO.format(component)), objects) for component in _COMPONENTS
        }
        mass_squared = build.formula(parse(_MASS_SQUARED), components)
        count = build.apply("count", objects["E"])
        names: dict[str, Named] = {
            "m2": mass_squared,
            "count_of_objects": count,
            "not_a_number": build.constant(float("nan")),
        }
        return build.formula(parse(_MASS), names)

    def _objects(self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> dict[str, Value] | None:
        """Return the four components of the (masked) objects, or none after a fault."""
        scope = Scope(stream, lowering.constants, lowering.column, lowering.columns)
        names = {component: f"{self.collection}_{component}" for component in _COMPONENTS}
        missing = [name for name in names.values() if name not in scope]
        if missing:
            where = (*path, "collection")
            hint = nearest(missing[0], scope)
            lowering.fault(
                f"collection {self.collection!r} needs {', '.join(missing)}, which the events lack", where, hint=hint
            )
            return None
        objects: dict[str, Value] = {}
        for component, name in names.items():
            value = lowering.formula(name, stream, (*path, "collection"))
            if value is None:
                return None
            if value.structure is None:
                lowering.fault(f"{name} has one value per event; a pair needs lists of objects", (*path, "collection"))
                return None
            objects[component] = value
        if self.mask is None:
            return objects
        return self._masked(lowering, stream, objects, (*path, "mask"))

    def _masked(
        self, lowering: Lowering, stream: Stream, objects: dict[str, Value], path: tuple[str | int, ...]
    ) -> dict[str, Value] | None:
        """Return the objects for which the mask holds."""
        assert self.mask is not None
        mask = lowering.formula(self.mask, stream, path)
        if mask is None:
            return None
        if mask.dtype != "bool" or mask.structure is None:
            lowering.fault("a mask needs one condition per object", path, hint="for example Muon_Pt > 20")
            return None
        chosen: dict[str, Named] = {"mask": mask}
        return {
            component: lowering.builder.formula(parse("x[mask]"), {**chosen, "x": value})
            for component, value in objects.items()
        }
