"""``workshop.tabular.*``: streams as tables whose rows are events, or the values of lists that events have.

After ``explode`` each value of the lists is a row. What later stages define, fill or write counts rows; a function that
reduces a list still reduces that of an event, and a cutflow, which counts events, refuses rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import FormulaError
from fasthep_archive.kernels.program import Named, Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explode:
    """Makes a row of each value of the lists ``fields``, which are equally long; ``keep_fields`` are repeated."""

    fields: tuple[str, ...]
    keep_fields: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Explode:
        """Return the operation of checked parameters."""
        return cls(fields=_names(params, "fields"), keep_fields=_names(params, "keep_fields"))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Leave these fields alone in the stream, with a value for each row."""
        stream = only(streams)
        after = fields.reduced_to(stream, dict.fromkeys((*self.fields, *self.keep_fields)), ())
        if stream.mask is not None and stream.mask.structure is not None:
            lowering.fault("the events are rows already", path, hint="explode all lists in one stage")
            return after, None
        values = [self._list(lowering, stream, name, (*path, "fields", n)) for n, name in enumerate(self.fields)]
        kept = [_value(lowering, stream, name, (*path, "keep_fields", n)) for n, name in enumerate(self.keep_fields)]
        found = [value for value in (*values, *kept) if value is not None]
        if len(found) < len(values) + len(kept):
            return after, None
        mask = stream.mask if stream.mask is not None else lowering.builder.constant(True)
        try:
            rows, *spread = lowering.builder.aligned([mask, *found])
        except FormulaError as error:
            lowering.fault(error.message, path, hint=error.hint)
            return after, None
        defined = dict(zip(after.defined, spread, strict=True))
        return replace(after, defined=defined, mask=rows), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: rows stay in the stream."""
        return None

    def _list(self, lowering: Lowering, stream: Stream, name: str, path: Path) -> Value | None:
        value = _value(lowering, stream, name, path)
        if value is not None and value.structure is None:
            hint = "write it under keep_fields: it is repeated for each row of its event"
            lowering.fault(f"{name!r} has one value per event, no list to explode", path, hint=hint)
            return None
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Keeps the events, or the rows, for which a condition holds."""

    expr: str

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Filter:
        """Return the operation of checked parameters."""
        return cls(expr=str(params["expr"]))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Narrow the stream."""
        stream = only(streams)
        place = (*path, "expr")
        value = lowering.formula(self.expr, stream, place)
        if stream.mask is None or stream.mask.structure is None:
            value = lowering.selection(value, place)
        elif value is not None and (value.dtype != "bool" or value.optional):
            hint = "compare it, and say what stands for a missing value: fill_none(..., 0) > 0"
            lowering.fault("a filter needs a condition that is never missing", place, hint=hint)
            value = None
        if value is None:
            return stream, None
        try:
            mask = value if stream.mask is None else lowering.builder.apply("and", stream.mask, value)
        except FormulaError as error:
            lowering.fault(error.message, place, hint=error.hint)
            return stream, None
        return replace(stream, mask=mask), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the events stay in the stream."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """Leaves some fields in the stream, and no others."""

    fields: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Project:
        """Return the operation of checked parameters."""
        return cls(fields=_names(params, "fields"))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Forget all other fields."""
        stream = only(streams)
        defined: dict[str, Named | None] = {}
        branches = []
        for number, name in enumerate(self.fields):
            if name in stream.defined or name not in lowering.offered(stream):
                defined[name] = fields.field(lowering, stream, name, (*path, "fields", number))
            else:
                branches.append(name)
        return fields.reduced_to(stream, defined, branches), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None


def _names(params: Mapping[str, JSON], key: str) -> tuple[str, ...]:
    return tuple(cast("Sequence[str]", params.get(key) or ()))


def _value(lowering: Lowering, stream: Stream, name: str, path: Path) -> Value | None:
    """Return the values of a field; report groups and texts, which have none."""
    if name not in stream.defined and name in lowering.offered(stream) and lowering.text_column(name) is not None:
        lowering.fault(f"{name!r} holds texts, which can't be repeated for rows", path, hint="leave it out")
        return None
    found = fields.field(lowering, stream, name, path)
    if found is None or isinstance(found, Value):
        return found
    lowering.fault(f"{name!r} is a group of names, not a field with values", path, hint="name one of its members")
    return None
