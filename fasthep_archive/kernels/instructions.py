"""Instructions: what programs are made of, each kept once.

An instruction is one operation on values of earlier ones. Equal instructions are one instruction, so whatever formulas
have in common is computed once. Missing values are not a property of an instruction: a value that can be missing is a
pair of a content and a bool instruction that says where it is valid, and the type rules
(:mod:`fasthep_archive.kernels.rules`) write down what becomes of both.

Operations beside those of :data:`fasthep_archive.formula.functions.FUNCTIONS`:

``column`` ``valid`` ``scalar`` ``constant``
    inputs; ``detail`` is the name, or the number as text. ``valid`` says where a column has values.
``offsets``
    the list structure of columns: ``counter nMuon``, or ``column Muon_pt`` for a list that counts itself.
``select`` ``lengthen`` ``fixed``
    list structures that the program makes: where a mask is true; at least ``detail`` values; exactly ``detail``.
``filter`` ``padded`` ``broadcast``
    a jagged value from one structure to another; a value per event to one per value.
``sort`` ``pairs`` ``product`` ``concatenate``
    more of them: another one's in the order of a key; pairs of its values, with each other or with another one's; two
    or more, one after the other.
``order`` ``side`` ``take`` ``joined`` ``inner``
    the places that sorted values come from, and the ``left`` and ``right`` values of pairs; the values at places (0 or
    false at -1, or again -1 if they are a ``place``); those of all parts of a concatenation; a reducer of the pairs of
    each value on the left of a product.
``position`` ``at`` ``length``
    index of a value in the content (-1 for none); the value there (0 or false for none); how many values an event has.
``to_float64`` ``to_int64`` ``to_bool`` ``round_float32`` ``cast`` ``copy``
    conversions; ``cast`` checks the range of ``detail``; ``copy`` brings an input into a buffer of the kernel.

Where an operation needs a structure rather than a value, its last argument is an *anchor*: an instruction that the
structure can be taken from.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fasthep_archive.formula.columns import ColumnType, DType, Structure

STRUCTURES = frozenset({"offsets", "select", "lengthen", "fixed", "sort", "pairs", "product", "concatenate"})
"""Operations that stand for a list structure."""

LEAVES = frozenset({"column", "valid", "scalar", "constant", "offsets", "fixed", "sort"})
"""Operations that compute nothing."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One operation.

    :ivar dtype: type of the result.
    :ivar arguments: numbers of earlier instructions.
    :ivar detail: what else the operation needs to know, as text.
    :ivar domain: the instruction of the list structure that the result has; none for one value per event.
    """

    operation: str
    dtype: DType
    arguments: tuple[int, ...] = ()
    detail: str = ""
    domain: int | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """What a formula stands for in a program that is being built.

    :ivar structure: none for one value per event; a constant has none and goes with everything.
    :ivar valid: the instruction that says where the value is valid, if it can be missing.
    """

    number: int
    dtype: DType
    structure: Structure | None = None
    valid: int | None = None

    @property
    def optional(self) -> bool:
        """Whether the value can be missing."""
        return self.valid is not None


class Misuse(Exception):
    """Values were combined that can't be; ``argument`` is the position of the one to blame."""

    def __init__(self, message: str, argument: int | None = None, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.argument = argument
        self.hint = hint


_FOLDED: Mapping[str, Callable[..., bool | int | float]] = MappingProxyType(
    {
        "equal": operator.eq,
        "not_equal": operator.ne,
        "less": operator.lt,
        "less_equal": operator.le,
        "greater": operator.gt,
        "greater_equal": operator.ge,
        "and": operator.and_,
        "or": operator.or_,
        "not": operator.not_,
        "to_float64": float,
        "to_int64": int,
        "to_bool": bool,
    }
)
"""Operations on constants that are done here. Conversions of integers round to nearest even, as the processor does;
everything else is left to the kernel, where it can cost no time that the user chose (``9**9**9``)."""


class Instructions:
    """A growing list of instructions without duplicates."""

    def __init__(self) -> None:
        self._list: list[Instruction] = []
        self._numbers: dict[Instruction, int] = {}

    def __getitem__(self, number: int) -> Instruction:
        return self._list[number]

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self._list)

    def add(self, instruction: Instruction) -> int:
        """Return the number of ``instruction``, which is new or known."""
        number = self._numbers.setdefault(instruction, len(self._list))
        if number == len(self._list):
            self._list.append(instruction)
        return number

    def value(self, number: int, valid: int | None = None) -> Value:
        """Return instruction ``number`` as a value that is missing where ``valid`` is false."""
        instruction = self._list[number]
        if valid is not None:
            valid = self.spread(valid, number)
        return Value(number, instruction.dtype, self.structure(instruction.domain), valid)

    # Inputs

    def column(self, name: str, column: ColumnType) -> Value:
        """Return a column as a value."""
        domain = None
        if column.structure is not None:
            kind = "counter" if column.structure.counted else "column"
            domain = self.add(Instruction("offsets", "int64", detail=f"{kind} {column.structure.name}"))
        number = self.add(Instruction("column", column.dtype, detail=name, domain=domain))
        valid = self.add(Instruction("valid", "bool", detail=name, domain=domain)) if column.optional else None
        return self.value(number, valid)

    def constant(self, value: bool | float) -> int:
        """Return the instruction of a number or truth value; an int is int64."""
        if isinstance(value, bool):
            return self.add(Instruction("constant", "bool", detail=str(value)))
        if isinstance(value, int):
            return self.add(Instruction("constant", "int64", detail=str(value)))
        return self.add(Instruction("constant", "float64", detail=value.hex()))

    def literal(self, number: int) -> bool | int | float | None:
        """Return the value of a constant, none for any other instruction."""
        return literal(self._list[number])

    # Computation

    def element(self, operation: str, arguments: Sequence[int], dtype: DType, detail: str = "") -> int:
        """Return ``operation`` value by value; the result has the structure of the first jagged argument."""
        values = [self.literal(argument) for argument in arguments]
        if operation in _FOLDED and None not in values:
            return self.constant(_FOLDED[operation](*values))
        neutral = {"and": True, "or": False}.get(operation)
        if neutral is not None and neutral in values:
            return next(argument for argument, value in zip(arguments, values, strict=True) if value is not neutral)
        domain = next((self.domain(argument) for argument in arguments if self.domain(argument) is not None), None)
        return self.add(Instruction(operation, dtype, tuple(arguments), detail, domain))

    def convert(self, number: int, dtype: DType) -> int:
        """Return the value as ``dtype``: bool counts as 0 or 1, a number as true when it is not 0."""
        return number if self._list[number].dtype == dtype else self.element(f"to_{dtype}", [number], dtype)

    def both(self, first: int | None, second: int | None) -> int | None:
        """Return where both masks are true; none is a mask that is true everywhere."""
        if first is None or second is None or first == second:
            return second if first is None else first
        return self.element("and", [first, second], "bool")

    def spread(self, number: int, like: int) -> int:
        """Return a value per event as a value for each of ``like``'s; any other value as it is."""
        domain = self.domain(like)
        if domain is None or self.domain(number) is not None:
            return number
        arguments = (number, self.anchor(like))
        return self.add(Instruction("broadcast", self._list[number].dtype, arguments, domain=domain))

    # Structures

    def domain(self, number: int) -> int | None:
        """Return the list structure of a value, none for one value per event."""
        return self._list[number].domain

    def structure(self, domain: int | None) -> Structure | None:
        """Return how many values each event has, as the rest of the package says it."""
        return structure(self._list, domain)

    def anchor(self, number: int) -> int:
        """Return an instruction that the structure of the jagged value ``number`` can be taken from.

        For the structure of a file's column it is the first column of that structure that the value is computed from,
        so that a program doesn't depend on columns that happen to be known.
        """
        domain = self.domain(number)
        assert domain is not None, "values per event have no structure"
        if self._list[domain].operation != "offsets":
            return domain
        return next(found for found in self._origins(number) if self.domain(found) == domain)

    def name(self, number: int) -> str:
        """Return the column that a message should name for a jagged value."""
        domain = self.domain(number)
        columns = [found for found in self._origins(number) if self.domain(found) == domain]
        return self._list[(columns or [*self._origins(number), number])[0]].detail

    def _origins(self, number: int) -> Iterator[int]:
        """Yield the columns that a value is computed from, depth first."""
        waiting, seen = [number], {number}
        while waiting:
            found = waiting.pop()
            if self._list[found].operation in {"column", "valid"}:
                yield found
            for argument in reversed(self._list[found].arguments):
                if argument not in seen:
                    seen.add(argument)
                    waiting.append(argument)

    def joined(self, values: Sequence[Value]) -> None:
        """Refuse values that can't be combined value by value.

        :raises Misuse: if two of them are jagged and their structures can't be the same.
        """
        jagged = [(index, value) for index, value in enumerate(values) if value.structure is not None]
        for index, value in jagged[1:]:
            first = jagged[0][1]
            if not compatible(self._list, self.domain(first.number), self.domain(value.number)):
                raise Misuse(self._incompatible(first, value), index, _REDUCE)

    def _incompatible(self, first: Value, second: Value) -> str:
        names = [self.name(value.number) for value in (first, second)]
        structures = [value.structure for value in (first, second)]
        if all(structure is not None and structure.counted for structure in structures):
            counters = [structure.name for structure in structures if structure is not None]
            return (
                f"{names[0]!r} has one value per {counters[0]} and {names[1]!r} one per {counters[1]}: "
                "they can't be combined value by value"
            )
        return (
            f"the values of {names[0]!r} and of {names[1]!r} can't be combined value by value: "
            "they were sorted, selected or padded differently"
        )


_REDUCE = "make one of them a value per event first: leading(x), nth(x, i), sum(x), max(x), any(x) ..."


def literal(instruction: Instruction) -> bool | int | float | None:
    """Return the value of a constant, none for any other instruction."""
    if instruction.operation != "constant":
        return None
    if instruction.dtype == "bool":
        return instruction.detail == "True"
    return int(instruction.detail) if instruction.dtype == "int64" else float.fromhex(instruction.detail)


def structure(instructions: Sequence[Instruction], domain: int | None) -> Structure | None:
    """Return how many values each event has, as the rest of the package says it."""
    if domain is None:
        return None
    instruction = instructions[domain]
    if instruction.operation == "offsets":
        kind, name = instruction.detail.split(" ", 1)
        return Structure(name, counted=kind == "counter")
    return Structure(f"{instruction.operation} #{domain}", counted=False)


def compatible(instructions: Sequence[Instruction] | Instructions, first: int | None, second: int | None) -> bool:
    """Return whether two structures are the same, or can prove to be so at run time."""
    pair = unproven(instructions, first, second)
    if pair is None:
        return True
    one, other = (instructions[number] for number in pair)
    counted = one.detail.startswith("counter ") and other.detail.startswith("counter ")
    return one.operation == other.operation == "offsets" and not counted


def unproven(
    instructions: Sequence[Instruction] | Instructions, first: int | None, second: int | None
) -> tuple[int, int] | None:
    """Return the two structures whose equality makes ``first`` and ``second`` equal; none if these are equal anyway."""
    while first is not None and second is not None and first != second:
        one, other = instructions[first], instructions[second]
        if (one.operation, one.detail) != ("lengthen", other.detail) or other.operation != "lengthen":
            return first, second
        first, second = one.arguments[0], other.arguments[0]
    return None
