"""``hep.di_object_mass``: invariant mass of the first two objects of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import FormulaError, nearest
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Builder, Named, Value
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream

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
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Add the mass."""
        stream = only(streams)
        return stream.defining(self.out_var, self._mass(lowering, stream, path)), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the column stays in the stream."""
        return None

    def _mass(self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> Value | None:
        mask = self._checked_mask(lowering, stream, (*path, "mask"))
        objects = self._objects(lowering, stream, (*path, "collection"))
        if objects is None or (self.mask is not None and mask is None):
            return None
        build = lowering.builder
        try:
            if mask is not None:
                objects = {component: build.apply("filter", value, mask) for component, value in objects.items()}
            build.aligned(tuple(objects.values()))
        except FormulaError as error:
            blamed = "collection" if mask is None else "mask"
            lowering.fault(
                error.message, (*path, blamed), hint="all four components and the mask are of one collection"
            )
            return None
        return _pair_mass(build, objects)

    def _objects(self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> dict[str, Value] | None:
        """Return the four components of all objects, or none after a fault."""
        scope = lowering.scope(stream)
        missing = [name for name in map(self._name, _COMPONENTS) if name not in scope]
        if missing:
            hint = nearest(self.collection, _collections(scope)) or "define them with hep.define before this stage"
            lowering.fault(f"the events have no {', '.join(missing)}", path, hint=hint)
            return None
        objects: dict[str, Value] = {}
        for component in _COMPONENTS:
            value = lowering.formula(self._name(component), stream, path)
            if value is None:
                return None
            if value.structure is None:
                message = (
                    f"{self._name(component)} has one value per event, and a pair needs a list of objects per event"
                )
                lowering.fault(message, path)
                return None
            objects[component] = value
        return objects

    def _name(self, component: str) -> str:
        return f"{self.collection}_{component}"

    def _checked_mask(self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> Value | None:
        """Return the value of the mask, or none where there is none and after a fault."""
        value = None if self.mask is None else lowering.formula(self.mask, stream, path)
        if value is None or (value.dtype == "bool" and value.structure is not None):
            return value
        found = "a number for each object" if value.structure is not None else "one value per event"
        hint = f"compare the objects with something, for example {self.collection}_E > 20"
        lowering.fault(f"a mask needs a condition for each object, but this formula is {found}", path, hint=hint)
        return None


def _pair_mass(build: Builder, objects: Mapping[str, Value]) -> Value:
    """Return the mass of the first two objects, from lists of their components."""
    pair: dict[str, Named] = {
        component: build.formula(parse(_FIRST_TWO.format(component)), objects) for component in _COMPONENTS
    }
    by_structure = {value.structure: value for value in objects.values()}  # one, where the file says that it is one
    counts = [build.apply("count", value) for value in by_structure.values()]
    names: dict[str, Named] = {
        "m2": build.formula(parse(_MASS_SQUARED), pair),
        "count_of_objects": reduce(lambda one, other: build.apply("minimum", one, other), counts),
        "not_a_number": build.constant(float("nan")),
    }
    return build.formula(parse(_MASS), names)


def _collections(names: Iterable[str]) -> list[str]:
    """Return the collections that have all components."""
    known = set(names)
    found = (name.removesuffix(f"_{_COMPONENTS[0]}") for name in names if name.endswith(f"_{_COMPONENTS[0]}"))
    return [name for name in found if all(f"{name}_{component}" in known for component in _COMPONENTS)]
