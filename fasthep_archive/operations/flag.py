"""``hep.selection.flag``: conditions as one column, without selecting anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import FormulaError
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionFlag:
    """Adds the column ``output``: whether all conditions hold, for each event, or for each object if one is a list.

    The column is new: it overwrites nothing.
    """

    selection: tuple[str, ...]
    output: str

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> SelectionFlag:
        """Return the operation of checked parameters."""
        return cls(selection=tuple(cast("Sequence[str]", params["selection"])), output=str(params["output"]))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the flag."""
        stream = only(streams)
        fields.new(lowering, stream, self.output, (*path, "output"))
        conditions = [
            self._condition(lowering, stream, text, (*path, "selection", number))
            for number, text in enumerate(self.selection)
        ]
        flag = conditions[0]
        for number, condition in enumerate(conditions[1:], start=1):
            flag = self._both(lowering, flag, condition, (*path, "selection", number))
        return stream.defining(self.output, flag), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the column stays in the stream."""
        return None

    def _condition(self, lowering: Lowering, stream: Stream, text: str, path: tuple[str | int, ...]) -> Value | None:
        """Return a condition that is never missing; report anything else."""
        value = lowering.formula(text, stream, path)
        if value is None or (value.dtype == "bool" and not value.optional):
            return value
        if value.dtype != "bool":
            message = f"a flag is made of conditions, but this formula is a number ({value.dtype})"
            lowering.fault(message, path, hint="compare it, for example with > 0 or == 1")
        else:
            message = "a flag needs to know each condition, but this formula's value can be missing"
            lowering.fault(message, path, hint="say what a missing value stands for: fill_none(..., False)")
        return None

    def _both(
        self, lowering: Lowering, one: Value | None, other: Value | None, path: tuple[str | int, ...]
    ) -> Value | None:
        if one is None or other is None:
            return None
        try:
            return lowering.builder.apply("and", one, other)
        except FormulaError as error:
            lowering.fault(error.message, path, hint=error.hint)
            return None
