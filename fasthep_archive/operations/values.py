"""``archive.values``: numbers made of other stages' products, for the formulas of stages that come after.

A number is a *yield* of a cutflow, an *integral* of a histogram, or a formula of the numbers before it, which our own
kernels compute, so that its bits are those of the numeric profile. Sums over datasets and bins are those of the rounded
sums in the products, added exactly and rounded once (``math.fsum``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from fasthep_archive.data.products import Values
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, FormulaError
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Builder, Named, Program, Value
from fasthep_archive.operations.protocol import Derivation, Deriving, Output
from fasthep_archive.operations.tallies import Integral, Tally, Yield

NonFinite: TypeAlias = Literal["error", "allow"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """A number that is a formula of the numbers before it."""

    name: str
    expr: str


Definition: TypeAlias = Yield | Integral | Formula


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveValues:
    """Leaves named float64 numbers behind, each defined by a yield, an integral or a formula, in order.

    A number that is not finite, as after a division by zero, is an error when it is computed unless ``non_finite``
    allows it.
    """

    values: tuple[Definition, ...]
    non_finite: NonFinite

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the numbers."""
        return tuple(value.name for value in self.values)

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ArchiveValues:
        """Return the operation of checked parameters."""
        return cls(
            values=tuple(map(_definition, cast("Sequence[Mapping[str, JSON]]", params["values"]))),
            non_finite=cast("NonFinite", params["non_finite"]),
        )

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return how the numbers are computed; none after a fault has been reported."""
        tallies: list[Tally] = []
        builder = Builder({})
        scope: dict[str, Named] = {}
        sound = True
        for number, value in enumerate(self.values):
            place = (*deriving.path, "values", number)
            if isinstance(value, Formula):
                sound = _lowered(builder, scope, value, deriving, place) and sound
                continue
            scope[value.name] = builder.scalar(value.name, "float64")
            tally = value.tally(deriving, place)
            sound = tally is not None and sound
            tallies += [] if tally is None else [tally]
        if not sound:
            return None
        formulas = [value.name for value in self.values if isinstance(value, Formula)]
        outputs = [builder.cast(cast("Value", scope[name]), "float64", label=name) for name in formulas]
        return ValuesDerivation(
            stage=deriving.stage,
            names=self.names,
            tallies=tuple(tallies),
            formulas=tuple(formulas),
            program=builder.program(outputs),
            non_finite=self.non_finite,
        )


def _definition(entry: Mapping[str, JSON]) -> Definition:
    name = str(entry["name"])
    if "yield" in entry:
        return Yield.read(name, cast("Mapping[str, JSON]", entry["yield"]))
    if "integral" in entry:
        return Integral.read(name, cast("Mapping[str, JSON]", entry["integral"]))
    return Formula(name=name, expr=str(entry["expr"]))


def _lowered(
    builder: Builder, scope: dict[str, Named], value: Formula, deriving: Deriving, place: tuple[str | int, ...]
) -> bool:
    """Add a formula to the names of ``scope``; say whether it has no fault."""
    try:
        scope[value.name] = builder.formula(parse(value.expr), scope)
    except FormulaError as error:
        known = f"the numbers before it are {', '.join(scope)}" if scope else "no number stands before it"
        deriving.fault(error.message, (*place, "expr"), error.hint or known)
        scope[value.name] = builder.constant(0.0)  # so that what uses it is checked too
        return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuesDerivation:
    """Takes numbers from products, and computes the formulas.

    :ivar names: of all numbers, in the order in which they are stored. :ivar formulas: those that ``program`` gives.
    """

    stage: str
    names: tuple[str, ...]
    tallies: tuple[Tally, ...]
    formulas: tuple[str, ...]
    program: Program
    non_finite: NonFinite

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the name of the one file."""
        return (f"values/{self.stage}.json",)

    def canonical(self) -> JSON:
        """Return everything that the numbers depend on beside the products."""
        return {
            "kind": "values",
            "stage": self.stage,
            "names": list(self.names),
            "taken": [tally.canonical() for tally in self.tallies],
            "formulas": list(self.formulas),
            "program": self.program.canonical(),
            "non_finite": self.non_finite,
        }

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the file.

        :raises DataError: if a number is not finite, and that is not allowed.
        """
        numbers = {tally.name: tally.number(products[tally.of]) for tally in self.tallies}
        if self.formulas:
            numbers |= self._computed(numbers, cache)
        found = Values({name: numbers[name] for name in self.names})
        for name, number in found.items():
            if not math.isfinite(number) and self.non_finite == "error":
                described = ", ".join(f"{other} = {found[other]!r}" for other in self.names)
                raise DataError(
                    f"stage {self.stage!r}: value {name!r} is {number!r}, not a finite number ({described})",
                    hint="a yield it is divided by may be 0; non_finite: allow in the stage's params lets it pass",
                )
        return (Output(name=self.outputs[0], held=found.to_json()),)

    def _computed(self, numbers: Mapping[str, float], cache: Path) -> Mapping[str, float]:
        from fasthep_archive.kernels.compile import compile_program

        results = compile_program(self.program, cache=cache)({}, numbers, 1)
        return {name: float(column.content[0]) for name, column in zip(self.formulas, results, strict=True)}
