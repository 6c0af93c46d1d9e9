"""``hep.clean``: a collection without the objects that overlap with those of other collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, FormulaError
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import momenta, objects
from fasthep_archive.operations.objects import Collection, Made, Path
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.sorting import Sorting
from fasthep_archive.operations.stream import Lowering, Stream, Uncertain

_DIRECTION = ("eta", "phi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Clean:
    """Removes the objects of ``source`` that are closer than ``min_delta_r`` to an object of ``clean_against``.

    Adds ``n<output>``, ``<output>_<field>`` for ``fields``, or else for all fields of the collection with a number for
    each object, the number of removed objects as ``removed_count``, and these as ``<output>_removed_<field>`` if
    ``keep_removed`` says so. A distance that is NaN removes nothing.
    """

    source: str
    clean_against: tuple[str, ...]
    output: str
    min_delta_r: float
    sort: Sorting | None
    removed_count: str | None
    keep_removed: bool
    fields: tuple[str, ...] | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Clean:
        """Return the operation of checked parameters."""
        diagnostics = cast("Mapping[str, str | bool]", params["diagnostics"])
        sort_by = params.get("sort_by")
        return cls(
            source=str(params["source"]),
            clean_against=tuple(cast("Sequence[str]", params["clean_against"])),
            output=str(params["output"]),
            min_delta_r=cast("float", params["min_delta_r"]),
            sort=Sorting.read({"by": sort_by, "order": params["sort_order"]} if sort_by is not None else False),
            removed_count=cast("str", diagnostics["removed_count"]) or None,
            keep_removed=bool(diagnostics["keep_removed"]),
            fields=tuple(cast("Sequence[str]", params["fields"])) if "fields" in params else None,
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Add the fields; after a fault they are known by name only."""
        stream = only(streams)
        names = [f"n{self.output}", *([self.removed_count] if self.removed_count else [])]
        return objects.adding(stream, names, lambda: self._made(lowering, stream, path), more=True), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the fields stay in the stream."""
        return None

    def _made(self, lowering: Lowering, stream: Stream, path: Path) -> Made:
        build = lowering.builder
        source = Collection(lowering, stream, self.source)
        where = {name: source.listed(name, (*path, "source")) for name in _DIRECTION}
        values = self._values(lowering, source, where["eta"], path)
        near = self._near(lowering, stream, where, path)
        with objects.reported(lowering, (*path, "source")):
            away = build.aligned((where["eta"], build.apply("not", near)))[1]
            cleaned = {name: build.apply("filter", value, away) for name, value in values.items()}
            removed = {name: build.apply("filter", value, near) for name, value in values.items()}
        counts = {f"n{self.output}": build.lists.counted(cleaned["eta"])}
        if self.removed_count:
            counts[self.removed_count] = build.lists.counted(removed["eta"])
        if self.sort is not None:
            with objects.reported(lowering, (*path, "sort_by")):
                places = build.lists.sorted(cleaned[self.sort.by], self.sort.order)
                cleaned = {name: build.lists.taken(value, places) for name, value in cleaned.items()}
        made = {f"{self.output}_{name}": value for name, value in cleaned.items()}
        if self.keep_removed:
            made |= {f"{self.output}_removed_{name}": value for name, value in removed.items()}
        objects.free(lowering, stream, made, (*path, "output"))
        return {**counts, **made}

    def _values(self, lowering: Lowering, source: Collection, like: Value, path: Path) -> dict[str, Value]:
        """Return the fields of the source that go on."""
        needed = [*_DIRECTION, *([self.sort.by] if self.sort is not None else [])]
        found = {name: source.listed(name, (*path, "sort_by")) for name in needed}
        for number, name in enumerate(self.fields or ()):
            found[name] = source.listed(name, (*path, "fields", number))
        for name in source if self.fields is None else ():
            value = _side_by_side(lowering, source, name, like)
            if value is not None:
                found[name] = value
        return found

    def _near(self, lowering: Lowering, stream: Stream, where: Mapping[str, Value], path: Path) -> Value:
        """Return which objects of the source are close to another one."""
        build = lowering.builder
        limit = build.constant(self.min_delta_r)
        near = build.constant(False)
        for number, name in enumerate(self.clean_against):
            place = (*path, "clean_against", number)
            target = Collection(lowering, stream, name)
            there = {field: target.listed(field, place) for field in _DIRECTION}
            with objects.reported(lowering, place):
                left, right = build.lists.product(where["eta"], there["eta"])
                one = {field: build.lists.taken(value, left) for field, value in where.items()}
                other = {field: build.lists.taken(value, right) for field, value in there.items()}
                close = build.apply("less", momenta.delta_r(build, one, other), limit)
                near = build.apply("or", near, build.lists.any_pair(close))
        return near


def _side_by_side(lowering: Lowering, source: Collection, name: str, like: Value) -> Value | None:
    """Return a field with a number for each object, none if it is anything else."""
    try:
        value = source[name]
        if not isinstance(value, Value) or value.structure is None:
            return None
        lowering.builder.aligned((like, value))
    except (DataError, FormulaError, Uncertain):
        return None
    return value
