"""``hep.build_pairs``: candidates made of two objects, such as Z bosons of two leptons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Named, Places, Value
from fasthep_archive.operations import momenta, objects
from fasthep_archive.operations.objects import Collection, Made, Path
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.sorting import Sorting
from fasthep_archive.operations.stream import Lowering, Stream

_SIDES = ("lepton_1", "lepton_2")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPairs:
    """Adds candidates of all pairs of different objects of one or more collections, strung together in this order.

    New fields: ``n<output>_Z``, ``<output>_Z_<field>`` of the summed four-momentum, and of the two objects
    ``<output>_lepton_1_<field>`` and ``<output>_lepton_2_<field>``. Names in ``pair`` formulas are
    ``lepton_1_<field>`` and ``lepton_2_<field>``; in ``candidate`` formulas and ``sort`` they are ``pt``, ``eta``,
    ``phi`` and ``mass``.
    """

    collections: tuple[str, ...]
    output: str
    pair: tuple[str, ...]
    candidate: tuple[str, ...]
    sort: Sorting | None
    keep_candidate: tuple[str, ...]
    keep_constituents: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> BuildPairs:
        """Return the operation of checked parameters."""
        selection, keep = objects.listed_texts(params["selection"]), objects.listed_texts(params["keep"])
        return cls(
            collections=tuple(cast("Sequence[str]", params["collections"])),
            output=str(params["output"]),
            pair=selection["pair"],
            candidate=selection["candidate"],
            sort=Sorting.read(params["sort"]),
            keep_candidate=keep["candidate"],
            keep_constituents=keep["constituents"],
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
            f"n{self.output}_Z",
            *(f"{self.output}_Z_{field}" for field in self.keep_candidate),
            *(f"{self.output}_{side}_{field}" for side in _SIDES for field in self.keep_constituents),
        ]

    def _made(self, lowering: Lowering, stream: Stream, path: Path) -> Made:
        objects.free(lowering, stream, self._names(), (*path, "output"))
        leptons = _Leptons(lowering, stream, self.collections, (*path, "collections"))
        coordinates = {name: leptons.field(name) for name in momenta.COORDINATES}
        sides, candidate = self._chosen(lowering, leptons, coordinates, path)
        made: dict[str, Value] = {f"n{self.output}_Z": lowering.builder.lists.counted(candidate["pt"])}
        made |= {f"{self.output}_Z_{name}": candidate[name] for name in self.keep_candidate}
        for side, places in zip(_SIDES, sides, strict=True):
            for field in self.keep_constituents:
                made[f"{self.output}_{side}_{field}"] = leptons.taken(field, places)
        return made

    def _chosen(
        self, lowering: Lowering, leptons: _Leptons, coordinates: Mapping[str, Value], path: Path
    ) -> tuple[Sequence[Places], Mapping[str, Value]]:
        """Return the places of both objects of the candidates that are left, in order, and the candidates' momenta."""
        lists = lowering.builder.lists
        with objects.reported(lowering, (*path, "collections")):
            sides: Sequence[Places] = lists.pairs(coordinates["pt"])
            parts = momenta.components(lowering.builder, coordinates)
            names = _Pair(leptons, sides)
        mask = objects.cuts(lowering, self.pair, names, sides[0].value, (*path, "selection", "pair"))
        if mask is not None:
            sides = [lists.filtered(side, mask) for side in sides]
        one, other = ({name: lists.taken(part, side) for name, part in parts.items()} for side in sides)
        candidate = momenta.summed(lowering.builder, one, other)
        mask = objects.cuts(lowering, self.candidate, candidate, candidate["pt"], (*path, "selection", "candidate"))
        if mask is not None:
            sides = [lists.filtered(side, mask) for side in sides]
            candidate = {name: lowering.builder.apply("filter", value, mask) for name, value in candidate.items()}
        if self.sort is None:
            return sides, candidate
        key = objects.formula(lowering, self.sort.by, candidate, (*path, "sort", "by"))
        with objects.reported(lowering, (*path, "sort", "by")):
            order = lists.sorted(lowering.builder.aligned((candidate["pt"], key))[1], self.sort.order)
        candidate = {name: lists.taken(value, order) for name, value in candidate.items()}
        return [lists.reordered(side, order) for side in sides], candidate


class _Leptons:
    """The fields of the objects of several collections, as if they were one."""

    def __init__(self, lowering: Lowering, stream: Stream, collections: Sequence[str], path: Path):
        self._lowering = lowering
        self._collections = [Collection(lowering, stream, name) for name in collections]
        self._path = path

    def __contains__(self, field: str) -> bool:
        """Say whether one of the collections has the field."""
        return any(field in collection for collection in self._collections)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the fields of the first collection."""
        return iter(self._collections[0])

    def field(self, name: str) -> Value:
        """Return a field of all objects.

        :raises Uncertain: after reporting that a collection has no such field.
        """
        # what is strung together begins with the same field, so that it has the same structure
        parts = [
            {field: collection.listed(field, (*self._path, number)) for field in ("pt", name)}
            for number, collection in enumerate(self._collections)
        ]
        with objects.reported(self._lowering, self._path):
            return self._lowering.builder.lists.strung(parts)[name]

    def taken(self, name: str, places: Places) -> Value:
        """Return a field of the objects at ``places``.

        :raises Uncertain: after reporting that a collection has no such field.
        """
        value = self.field(name)
        with objects.reported(self._lowering, self._path):
            return self._lowering.builder.lists.taken(value, places)


class _Pair(Mapping[str, Named]):
    """The names in formulas about pairs: the fields of both objects."""

    def __init__(self, leptons: _Leptons, sides: Sequence[Places]):
        self._leptons = leptons
        self._sides = dict(zip(_SIDES, sides, strict=True))

    def __getitem__(self, name: str) -> Named:
        side, field = name[: len(_SIDES[0])], name[len(_SIDES[0]) + 1 :]
        if side not in self._sides or field not in self._leptons:
            raise KeyError(name)
        return self._leptons.taken(field, self._sides[side])

    def __iter__(self) -> Iterator[str]:
        return (f"{side}_{field}" for side in _SIDES for field in self._leptons)

    def __len__(self) -> int:
        return sum(1 for _ in self)
