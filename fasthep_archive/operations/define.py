"""``hep.define``: new columns from formulas, in order; later ones see earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One definition: ``expr``, or the reduction ``reduce`` of the lists of ``expr``; ``dtype`` is a final cast."""

    name: str
    expr: str
    reduce: str | None
    dtype: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Define:
    """Adds columns to the stream."""

    variables: tuple[Variable, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Define:
        """Return the operation of checked parameters."""
        return cls(variables=tuple(map(_variable, cast("Sequence[Mapping[str, JSON]]", params["variables"]))))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Add each variable's value under its name; a variable with a fault is known by name only."""
        stream = only(streams)
        for number, variable in enumerate(self.variables):
            value = _value(variable, lowering, stream, (*path, "variables", number))
            stream = stream.defining(variable.name, value)
        return stream, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None


def _variable(entry: Mapping[str, JSON]) -> Variable:
    reduction = cast("Mapping[str, str]", entry.get("reduce") or {})
    return Variable(
        name=str(entry["name"]),
        expr=str(reduction["over"] if reduction else entry["expr"]),
        reduce=reduction.get("op"),
        dtype=cast("str | None", entry.get("dtype")),
    )


def _value(variable: Variable, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> Value | None:
    expression = (*path, "reduce", "over") if variable.reduce else (*path, "expr")
    value = lowering.formula(variable.expr, stream, expression)
    if variable.reduce:
        value = lowering.reduced(variable.reduce, value, expression)
    if value is None or variable.dtype is None:
        return value
    return narrowed(lowering, stream, value, variable.dtype, label=variable.name)


def narrowed(lowering: Lowering, stream: Stream, value: Value, dtype: str, *, label: str) -> Value:
    """Return the final cast of ``value`` to ``dtype``; ``label`` names it where a value does not fit an integer type.

    Events that cuts have taken out count as 0: what these have need not fit.
    """
    if stream.mask is not None and "int" in dtype and value.dtype != "bool":
        nothing = lowering.builder.constant(0.0 if value.dtype == "float64" else 0)
        value = lowering.builder.apply("where", stream.mask, value, nothing)
    return lowering.builder.cast(value, dtype, label=label)
