"""``hep.select_objects``: a collection of the objects that pass a selection, in the order of a field."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Named, Value
from fasthep_archive.operations import objects
from fasthep_archive.operations.objects import Collection, Made, Path
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.sorting import Sorting
from fasthep_archive.operations.stream import Lowering, Stream, Uncertain


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectObjects:
    """Adds ``n<output>`` and ``<output>_<field>`` for the fields to keep of ``collection``.

    A name in ``selection`` and ``derived`` is that of a field without the collection's; a selection sees derived fields
    too, where the collection has none of that name. ``output`` may be the collection itself.
    """

    collection: str
    output: str
    selection: tuple[str, ...]
    keep: tuple[str, ...]
    derived: Mapping[str, str]
    sort: Sorting | None
    missing_fields: Literal["error", "ignore"]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> SelectObjects:
        """Return the operation of checked parameters."""
        return cls(
            collection=str(params["collection"]),
            output=str(params["output"]),
            selection=tuple(cast("Sequence[str]", params["selection"])),
            keep=tuple(cast("Sequence[str]", params["keep"])),
            derived=cast("Mapping[str, str]", params["derived"]),
            sort=Sorting.read(params["sort"]),
            missing_fields=cast("Literal['error', 'ignore']", params["missing_fields"]),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Add the fields; after a fault they are known by name only."""
        stream = only(streams)
        names = [f"n{self.output}", *(f"{self.output}_{field}" for field in self.keep)]
        return objects.adding(stream, names, lambda: self._made(lowering, stream, path)), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the fields stay in the stream."""
        return None

    def _made(self, lowering: Lowering, stream: Stream, path: Path) -> Made:
        build = lowering.builder
        collection = Collection(lowering, stream, self.collection)
        derived = {
            name: objects.formula(lowering, text, collection, (*path, "derived", name))
            for name, text in self.derived.items()
        }
        kept = self._kept(lowering, collection, derived, path)
        like = next(iter(kept.values()))
        names = ChainMap(cast("dict[str, Named]", collection), cast("dict[str, Named]", derived))
        mask = objects.cuts(lowering, self.selection, names, like, (*path, "selection"))
        by = None if self.sort is None else self._key(collection, kept, derived, path)
        with objects.reported(lowering, (*path, "keep")):
            aligned = dict(zip(kept, build.aligned(tuple(kept.values())), strict=True))
            if mask is not None:
                aligned = {name: build.apply("filter", value, mask) for name, value in aligned.items()}
        if self.sort is not None and by is not None:
            with objects.reported(lowering, (*path, "sort")):
                by = build.aligned((like, by))[1]
                places = build.lists.sorted(by if mask is None else build.apply("filter", by, mask), self.sort.order)
                aligned = {name: build.lists.taken(value, places) for name, value in aligned.items()}
        count = build.lists.counted(next(iter(aligned.values())))
        return {f"n{self.output}": count} | {f"{self.output}_{name}": value for name, value in aligned.items()}

    def _kept(
        self, lowering: Lowering, collection: Collection, derived: Mapping[str, Value], path: Path
    ) -> dict[str, Value]:
        """Return the fields to keep; at least one of them is a list."""
        found: dict[str, Value] = {}
        missing = 0
        for number, field in enumerate(self.keep):
            place = (*path, "keep", number)
            if field in derived:
                found[field] = derived[field]
            elif field in collection or self.missing_fields == "error":
                try:
                    found[field] = collection.listed(field, place)
                except Uncertain:
                    missing += 1
        if missing:
            raise Uncertain(path)
        lists = {name: value for name, value in found.items() if value.structure is not None}
        if not lists:
            what = "none of these fields" if not found else "no field with a value for each object"
            hint = f"keep a field that all files have, or leave out missing_fields: {self.missing_fields}"
            lowering.fault(f"the events have {what} of {self.collection!r}", (*path, "keep"), hint=hint)
            raise Uncertain(path)
        return lists | {name: found[name] for name in found if name not in lists}

    def _key(
        self, collection: Collection, kept: Mapping[str, Value], derived: Mapping[str, Value], path: Path
    ) -> Value:
        """Return the field to sort by, which need not be kept."""
        assert self.sort is not None, "the objects are sorted"
        known = kept.get(self.sort.by) or derived.get(self.sort.by)
        return known if known is not None else collection.listed(self.sort.by, (*path, "sort", "by"))
