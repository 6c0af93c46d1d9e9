"""Programs: formulas of many stages as one list of instructions, independent of how they were written down.

A :class:`Builder` collects what formulas compute; :meth:`Builder.program` cuts out what some outputs need, renumbered
from the outputs. Dead code, the order of definitions and names of variables leave no trace in a :class:`Program`, so
its canonical text is what keys hash.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from fasthep_archive.errors import FormulaError, nearest
from fasthep_archive.formula.columns import ColumnType, DType, Structure
from fasthep_archive.formula.functions import FUNCTIONS, function
from fasthep_archive.formula.parse import Node
from fasthep_archive.kernels import external, formulas, rules
from fasthep_archive.kernels.external import Call, External
from fasthep_archive.kernels.formulas import Named
from fasthep_archive.kernels.instructions import Instruction, Instructions, Misuse, Value, structure
from fasthep_archive.kernels.lists import Arranger, Places

__all__ = ["Arranger", "Builder", "Named", "Output", "Places", "Program", "Value"]

FORM = "program 1"
"""First line of canonical texts; changes when the same text would stand for another result."""


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a program: the instruction of its content, of where it is valid if it can be missing, its type."""

    content: int
    valid: int | None
    type: ColumnType


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What some outputs need, and nothing else. Plain data that can travel to other processes.

    :ivar instructions: each uses earlier ones only.
    :ivar columns: names of the columns that are needed, in order of use; ``types`` are theirs.
    :ivar scalars: names and types of the numbers that come at run time.
    :ivar labels: for casts, by instruction, the variable to name when a value doesn't fit; not part of the text.
    """

    instructions: tuple[Instruction, ...]
    outputs: tuple[Output, ...]
    columns: tuple[str, ...]
    types: tuple[ColumnType, ...]
    scalars: tuple[tuple[str, DType], ...]
    labels: tuple[tuple[int, str], ...]

    def canonical(self) -> str:
        """Return the text that stands for the program, one instruction a line.

        It has the names of branches and scalars, the types of the branches, and no name that a user chose.
        """
        results = (f"output {o.content}" + ("" if o.valid is None else f" valid {o.valid}") for o in self.outputs)
        return "\n".join([FORM, *map(_line, range(len(self.instructions)), self.instructions), *results]) + "\n"

    def only(self, outputs: Sequence[int]) -> Program:
        """Return the program of some of the outputs, by position."""
        wanted = [(self.outputs[number].content, self.outputs[number].valid) for number in outputs]
        types = dict(zip(self.columns, self.types, strict=True))
        return _cut(self.instructions, wanted, dict(self.labels), types)


def _line(number: int, instruction: Instruction) -> str:
    domain = "" if instruction.domain is None else f" @{instruction.domain}"
    detail = f" {json.dumps(instruction.detail)}" if instruction.detail else ""
    arguments = "".join(f" {argument}" for argument in instruction.arguments)
    return f"{number} {instruction.operation}{detail}{arguments} {instruction.dtype}{domain}"


class Builder:
    """Collects what formulas compute. Equal computations are one, whichever formulas they come from."""

    def __init__(self, columns: Mapping[str, ColumnType], functions: Mapping[str, Call] | None = None) -> None:
        """Begin with the columns of a file, and functions of formulas that are not ours: calls without arguments."""
        self.functions: Mapping[str, Call] = functions or {}
        self._columns = columns
        self._externals: dict[str, External] = {}
        self._returned: dict[str, ColumnType] = {}
        self._types: Mapping[str, ColumnType] = ChainMap(self._returned, cast("dict[str, ColumnType]", columns))
        self._instructions = Instructions()
        self._labels: dict[int, str] = {}

    def column(self, name: str) -> Value:
        """Return the column ``name`` of the events.

        :raises FormulaError: if there is no such column, or it holds texts.
        """
        if name not in self._columns:
            raise FormulaError(f"unknown column {name!r}", hint=nearest(name, self._columns))
        column = self._columns[name]
        if column.dtype == "text":
            hint = "a column of texts can be the source of a category axis, and nothing else"
            raise FormulaError(f"{name!r} holds texts, and formulas compute with numbers", hint=hint)
        return self._instructions.column(name, column)

    def constant(self, value: bool | float) -> Value:
        """Return a constant: bool, int64 (an int) or float64; it goes with values of any structure."""
        return self._instructions.value(self._instructions.constant(value))

    def scalar(self, name: str, dtype: DType) -> Value:
        """Return a number that is given when the kernel is called; it goes with values of any structure."""
        return self._instructions.value(self._instructions.add(Instruction("scalar", dtype, detail=name)))

    def apply(self, name: str, *arguments: Value) -> Value:
        """Return a function of values; ``name`` is its canonical name, one it can be called by, or its symbol.

        :raises FormulaError: if the function takes no such arguments.
        """
        found = function(name, len(arguments))
        if found is None:
            raise FormulaError(f"unknown function {name!r}", hint=nearest(name, FUNCTIONS))
        try:
            return rules.apply(self._instructions, found, arguments)
        except Misuse as misuse:
            raise FormulaError(misuse.message, hint=misuse.hint) from None

    @property
    def lists(self) -> Arranger:
        """Return what rearranges lists: sorts, pairs and concatenates them, in this program."""
        return Arranger(self._instructions)

    def formula(self, node: Node, scope: Mapping[str, Named]) -> Value:
        """Return what a formula stands for; its names are looked up in ``scope`` when they are needed.

        ``a.b`` is member ``b`` of the group ``a``, or else the name ``a.b`` itself. Where ``scope`` has no ``pi``,
        ``e``, ``inf`` or ``nan``, these are the numbers.

        :raises FormulaError: if a name is unknown or the types don't fit; points at the column in the formula.
        """
        return formulas.value(self._instructions, node, scope, self._called)

    def _called(self, name: str, arguments: Sequence[Value]) -> Value:
        """Return what a function that is not ours returns for each value of its arguments."""
        number = next((number for number, value in enumerate(arguments) if value.optional), None)
        if number is not None:
            hint = "say what a missing value stands for: fill_none(..., value)"
            raise Misuse(f"{name} takes no values that can be missing", number, hint)
        self._instructions.joined(arguments)
        inputs, function = self.aligned(arguments), self.functions[name]
        listed = any(value.structure is not None for value in inputs)
        structure = Structure("a list", counted=False) if listed else None
        names = tuple(map(str, range(len(inputs))))
        call = replace(
            function,
            arguments=names,
            returns=tuple((returned, replace(kind, structure=structure)) for returned, kind in function.returns),
            like={returned: names[0] for returned, _ in function.returns} if listed else {},
        )
        (result,) = self.external(call, inputs, None).values()
        return result

    def cast(self, value: Value, dtype: str, *, label: str = "") -> Value:
        """Return ``value`` narrowed to ``dtype``; the result is still a bool, int64 or float64.

        ``bool``: whether it isn't 0. ``int8`` to ``int64``, ``uint8`` to ``uint64``: truncated towards zero; NaN and
        values out of range raise a DataError when the kernel runs, naming ``label``; uint64 ends at 2**63 - 1.
        ``float32``: rounded to float32, overflow is infinite. ``float64``: a number as it is. Missing values stay
        missing and are not checked.

        :raises FormulaError: if there is no such type.
        """
        try:
            result = rules.cast(self._instructions, value, dtype)
        except Misuse as misuse:
            raise FormulaError(misuse.message, hint=misuse.hint) from None
        self._labels.setdefault(result.number, label)
        return result

    def checked(self, value: Value, check: str, message: str) -> Value:
        """Return the int64 ``value`` per event, which raises a DataError when the kernel runs and it is out of range.

        :param check: one of :data:`fasthep_archive.kernels.rules.CHECKS`.
        :param message: of the error; ``{event}`` in it becomes the number of the first such event.
        """
        return self.cast(value, check, label=message)

    def aligned(self, values: Sequence[Value]) -> tuple[Value, ...]:
        """Return ``values`` with one structure: if one is jagged, values per event are repeated for its values.

        :raises FormulaError: if two of them are jagged and can't be combined value by value.
        """
        try:
            self._instructions.joined(values)
        except Misuse as misuse:
            raise FormulaError(misuse.message, hint=misuse.hint) from None
        jagged = next((value for value in values if value.structure is not None), None)
        if jagged is None:
            return tuple(values)
        spread = self._instructions.spread
        return tuple(self._instructions.value(spread(value.number, jagged.number), value.valid) for value in values)

    def program(self, outputs: Sequence[Value]) -> Program:
        """Return the program of ``outputs``."""
        wanted = [(value.number, value.valid) for value in outputs]
        return _cut(self._instructions, wanted, self._labels, self._types)

    def external(self, call: Call, inputs: Sequence[Value], mask: Value | None) -> Mapping[str, Value]:
        """Return what a function that is not ours returns, by the names of ``call.returns``, as columns.

        It sees the events for which ``mask`` holds, and no others. Where it does not hold, the values are 0 and false,
        or missing where they can be, and lists are empty, or like those that they are like.

        :param inputs: the columns that it is called with, in the order of ``call.arguments``.
        """
        outputs = inputs if mask is None else [mask, *inputs]
        arguments = dict(zip(call.arguments, inputs, strict=True))
        lists = {name: self._file_list(arguments[other]) for name, other in call.like.items()}
        made = External.of(
            call,
            self.program(outputs),
            masked=mask is not None,
            lists={name: found for name, found in lists.items() if found is not None},
        )
        self._externals.update(dict.fromkeys(made.columns, made))
        self._returned.update(made.columns)
        columns = ((name, made.column(name)) for name, _ in call.returns)
        return {name: self._instructions.column(column, self._returned[column]) for name, column in columns}

    def _file_list(self, value: Value) -> Structure | None:
        """Return the structure of a value that has that of a file's column; none if a stage has made its lists."""
        domain = self._instructions.domain(value.number)
        made = domain is not None and self._instructions[domain].operation != "offsets"
        return None if made else value.structure

    def externals(self, columns: Iterable[str]) -> tuple[External, ...]:
        """Return the calls of functions that return any of ``columns``, or what these need, in order of need."""
        return external.needed(columns, self._externals)

    def read(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return the columns of the file that ``columns`` are, or that functions that are not ours make them from."""
        wanted = tuple(columns)
        return external.read(wanted, self.externals(wanted))


def _cut(
    instructions: Sequence[Instruction] | Instructions,
    wanted: Sequence[tuple[int, int | None]],
    labels: Mapping[int, str],
    types: Mapping[str, ColumnType],
) -> Program:
    """Return the program of the results ``wanted``: content and where it is valid, by number of instruction."""
    order = _live(instructions, [number for result in wanted for number in result if number is not None])
    new = {old: number for number, old in enumerate(order)}
    kept = tuple(_renumbered(instructions[old], new) for old in order)
    columns = tuple(dict.fromkeys(i.detail for i in kept if i.operation in {"column", "valid"}))
    return Program(
        instructions=kept,
        outputs=tuple(_output(kept, new[content], None if valid is None else new[valid]) for content, valid in wanted),
        columns=columns,
        types=tuple(types[name] for name in columns),
        scalars=tuple((i.detail, i.dtype) for i in kept if i.operation == "scalar"),
        labels=tuple(sorted((new[old], label) for old, label in labels.items() if old in new)),
    )


def _live(instructions: Sequence[Instruction] | Instructions, wanted: Sequence[int]) -> list[int]:
    """Return the instructions that ``wanted`` ones need, each after those that it uses, first needed first."""
    order: list[int] = []
    seen: set[int] = set()
    waiting = [(number, False) for number in reversed(wanted)]
    while waiting:
        number, done = waiting.pop()
        if done:
            order.append(number)
        elif number not in seen:
            seen.add(number)
            waiting.append((number, True))
            instruction = instructions[number]
            waiting += [(needed, False) for needed in instruction.arguments[::-1] if needed not in seen]
            if instruction.domain is not None:
                waiting.append((instruction.domain, False))
    return order


def _renumbered(instruction: Instruction, new: Mapping[int, int]) -> Instruction:
    """Return an instruction with new numbers; made directly, as plans with many variations make millions."""
    return Instruction(
        instruction.operation,
        instruction.dtype,
        tuple([new[argument] for argument in instruction.arguments]),
        instruction.detail,
        None if instruction.domain is None else new[instruction.domain],
    )


def _output(instructions: Sequence[Instruction], content: int, valid: int | None) -> Output:
    instruction = instructions[content]
    layout = structure(instructions, instruction.domain)
    return Output(content, valid, ColumnType(instruction.dtype, layout, valid is not None))
