"""Loops to source text: restricted Python for numba, in which no name is a user's.

Equal loops give equal text, whatever the instructions' numbers in their programs, so that they share compiled code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import DType
from fasthep_archive.kernels.instructions import Instruction, literal
from fasthep_archive.kernels.rules import RANGES
from fasthep_archive.kernels.schedule import Loop, Schedule, role, values
from fasthep_archive.kernels.spelling import NUMBA, REDUCERS, ZERO

Kind = Literal["events", "size", "column", "valid", "offsets", "scalar", "buffer", "out", "faults"]

_Spelling = TypeVar("_Spelling")

_PREFIX: Mapping[Kind, str] = {
    "events": "n",
    "size": "n",
    "column": "c",
    "valid": "m",
    "offsets": "o",
    "scalar": "s",
    "buffer": "b",
    "out": "out_",
    "faults": "faults",
}

_LOAD: Mapping[DType, str] = {"float64": "float64({})", "int64": "int64({})", "bool": "({} != 0)"}
"""A column has the type of the file, and is promoted where it is read."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What a loop is called with.

    The content of a column (``column``) or where it is ``valid``, the ``offsets`` or the ``size`` of a group, a
    ``scalar``, the stored result of an instruction (``buffer``), the array to store one (``out``), or the array for the
    position of the first value that each cast can't convert (``faults``).
    """

    kind: Kind
    name: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A loop as the text of ``def loop(...)``, what it is called with, the casts behind the places in ``faults``."""

    text: str
    arguments: tuple[Argument, ...]
    casts: tuple[int, ...]


def emit(schedule: Schedule, loop: Loop) -> Source:
    """Return the source of ``loop``.

    :raises DataError: if an instruction has no spelling for the target.
    """
    return _Writer(schedule, loop).source()


@dataclass(slots=True)
class _Shape:
    """A list structure that a loop makes: where it continues, and what it stores where."""

    counter: str
    mask: str = ""
    stores: list[str] = field(default_factory=list)
    filled: list[str] = field(default_factory=list)
    """Statements that fill up a list that was too short; ``p`` counts through the rest."""
    offsets: str = ""


class _Writer:
    """Writes one loop, statement by statement, into the places where statements can stand."""

    def __init__(self, schedule: Schedule, loop: Loop) -> None:
        self._schedule = schedule
        self._loop = loop
        self._nested = loop.nested
        self._index = "j" if loop.nested else "i"
        self._arguments: dict[Argument, str] = {}
        self._names: dict[int, str] = {}
        self._shapes: dict[int, _Shape] = {}
        self._casts: list[int] = []
        self._locals = 0
        self.start: list[str] = []
        """Before all events."""
        self.head: list[str] = []
        """For each event, before its values."""
        self.body: list[str] = []
        """For each value, or for each event in a loop over events."""
        self.tail: list[str] = []
        """For each event, after its values."""

    def source(self) -> Source:
        """Return the loop."""
        over = (
            Argument("events")
            if self._loop.group is None or self._nested
            else Argument("size", number=self._loop.group)
        )
        count = self._argument(over)
        for number in self._loop.body:
            self._write(number)
        for domain, shape in self._shapes.items():
            self._finish(domain, shape)
        lines = [*self.start, f"for i in range({count}):"]
        if self._nested:
            start, stop = self._bounds(self._loop.group)
            inner = [f"for j in range({start}, {stop}):", *_indented(self.body or ["pass"])]
            lines += _indented([*self.head, *inner, *self.tail])
        else:
            lines += _indented(self.body)
        names = ", ".join(self._arguments.values())
        text = "\n".join([f"def loop({names}):", *_indented(lines)]) + "\n"
        return Source(text, tuple(self._arguments), tuple(self._casts))

    # Names

    def _argument(self, argument: Argument) -> str:
        """Return the name of a parameter of the loop."""
        if argument not in self._arguments:
            prefix = _PREFIX[argument.kind]
            count = sum(_PREFIX[known.kind] == prefix for known in self._arguments)
            self._arguments[argument] = prefix if prefix == "faults" else f"{prefix}{count}"
        return self._arguments[argument]

    def _local(self, prefix: str = "v") -> str:
        self._locals += 1
        return f"{prefix}{self._locals - 1}"

    def _instruction(self, number: int) -> Instruction:
        return self._schedule.instructions[number]

    def _bounds(self, group: int | None) -> tuple[str, str]:
        """Return the names of where the event's values begin and end, in a loop over events."""
        assert group is not None, "events have no bounds"
        offsets = self._argument(Argument("offsets", number=group))
        return f"{offsets}[i]", f"{offsets}[i + 1]"

    # Values

    def _value(self, number: int) -> str:
        """Return a name or literal for the value of ``number`` here: computed in this loop, or read once."""
        instruction = self._instruction(number)
        if instruction.operation == "constant":
            return _literal(instruction)
        if instruction.operation == "scalar":
            return self._argument(Argument("scalar", instruction.detail))
        jagged = instruction.domain is not None
        if number not in self._names:
            place = self.head if self._nested and not jagged else self.body
            self._names[number] = self._local()
            place.append(f"{self._names[number]} = {self._stored(number, self._index if jagged else 'i')}")
        return self._names[number]

    def _stored(self, number: int, index: str) -> str:
        """Return the expression that reads the stored value of ``number`` at ``index``."""
        instruction = self._instruction(number)
        match instruction.operation:
            case "column" | "valid" as kind:
                array = self._argument(Argument(kind, instruction.detail))
                return _LOAD[instruction.dtype].format(f"{array}[{index}]")
            case _:
                return f"{self._argument(Argument('buffer', number=number))}[{index}]"

    def _store(self, number: int, name: str, place: list[str], index: str) -> None:
        if number in self._schedule.stored:
            place.append(f"{self._argument(Argument('out', number=number))}[{index}] = {name}")

    # Statements

    def _write(self, number: int) -> None:
        instruction = self._instruction(number)
        match role(instruction):
            case "reduce":
                self._reduce(number, instruction)
            case "reshape":
                self._reshape(number, instruction)
            case _ if instruction.operation == "cast":
                self._cast(number, instruction)
            case _:
                name = self._local()
                self._names[number] = name
                self.body.append(f"{name} = {self._expression(instruction)}")
                self._store(number, name, self.body, self._index)

    def _expression(self, instruction: Instruction) -> str:
        """Return the expression of an instruction that gives one value."""
        if instruction.operation == "length":
            start, stop = self._bounds(self._schedule.group(instruction.arguments[0]))
            return f"{stop} - {start}"
        if instruction.operation == "position":
            start, stop = self._bounds(self._schedule.group(instruction.arguments[1]))
            return f"position({self._value(instruction.arguments[0])}, {start}, {stop})"
        if instruction.operation == "at":
            position = self._value(instruction.arguments[1])
            found = self._stored(instruction.arguments[0], f"uint64({position})")
            return f"{found} if {position} >= 0 else {ZERO[instruction.dtype]}"
        arguments = values(instruction)
        template = _spelled(NUMBA, instruction.operation, self._instruction(arguments[-1]).dtype)
        return template.format(*map(self._value, arguments))

    def _reduce(self, number: int, instruction: Instruction) -> None:
        content, *mask = instruction.arguments
        reducer = _spelled(REDUCERS, instruction.operation, self._instruction(content).dtype)
        names = {"a": self._local("r"), "x": self._value(content), "p": f"j - {self._bounds(self._loop.group)[0]}"}
        self.head.append(f"{names['a']} = {reducer.start}")
        if reducer.second is not None:
            names["b"] = self._local("r")
            self.head.append(f"{names['b']} = {reducer.second}")
        first, *rest = (line.format(**names) for line in reducer.update)
        update = [first, *_indented(rest)]
        self.body += [f"if {self._value(mask[0])}:", *_indented(update)] if mask else update
        self._store(number, names["a"], self.tail, "i")

    def _cast(self, number: int, instruction: Instruction) -> None:
        """Write a conversion to an integer that remembers where the first value was that doesn't fit."""
        low, high = RANGES[instruction.detail]
        value = self._value(instruction.arguments[0])
        fits, name = self._local("f"), self._local()
        if self._instruction(instruction.arguments[0]).dtype == "float64":
            whole = self._local()
            self.body += [
                f"{whole} = np.trunc({value})",
                f"{fits} = {whole} >= {float(low)} and {whole} < {float(high + 1)}",
            ]
            self.body.append(f"{name} = int64({whole}) if {fits} else 0")
        else:
            self.body += [f"{fits} = {value} >= {low} and {value} <= {high}", f"{name} = {value} if {fits} else 0"]
        checked = f"{self._value(instruction.arguments[1])} and " if len(instruction.arguments) > 1 else ""
        fault = f"{self._argument(Argument('faults'))}[{len(self._casts)}]"
        self.body += [f"if {checked}not {fits} and {fault} < 0:", f"    {fault} = {self._index}"]
        self._casts.append(number)
        self._names[number] = name
        self._store(number, name, self.body, self._index)

    # Structures

    def _reshape(self, number: int, instruction: Instruction) -> None:
        """Note what a list structure is made of; it is written at the end of the loop."""
        if instruction.operation in {"select", "lengthen"}:
            self._shape(number).offsets = self._argument(Argument("out", number=number))
            return
        assert instruction.domain is not None, "reshaped values are jagged"
        shape = self._shape(instruction.domain)
        value = self._value(instruction.arguments[0])
        out = self._argument(Argument("out", number=number))
        if instruction.operation == "filter":
            shape.stores.append(f"{out}[uint64({shape.counter})] = {value}")
            return
        start, _ = self._bounds(self._loop.group)
        shape.stores.append(f"{out}[uint64({shape.counter} + j - {start})] = {value}")
        shape.filled.append(f"{out}[uint64({shape.counter} + p)] = {ZERO[instruction.dtype]}")

    def _shape(self, domain: int) -> _Shape:
        if domain not in self._shapes:
            shape = self._shapes[domain] = _Shape(self._local("k"))
            self.start.append(f"{shape.counter} = 0")
            instruction = self._instruction(domain)
            if instruction.operation == "select":
                shape.mask = self._value(instruction.arguments[0])
        return self._shapes[domain]

    def _finish(self, domain: int, shape: _Shape) -> None:
        """Write how a structure grows with each value and each event."""
        instruction = self._instruction(domain)
        if shape.mask:
            self.body += [f"if {shape.mask}:", *_indented([*shape.stores, f"{shape.counter} += 1"])]
        else:
            start, stop = self._bounds(self._loop.group)
            size = instruction.detail
            clipped = instruction.operation == "fixed"
            fits = [f"if j - {start} < {size}:", *_indented(shape.stores)] if clipped else shape.stores
            self.body += fits if shape.stores else []
            rest = [f"for p in range({stop} - {start}, {size}):", *_indented(shape.filled)]
            self.tail += rest if shape.filled else []
            self.tail.append(f"{shape.counter} += {size if clipped else f'max({stop} - {start}, {size})'}")
        if shape.offsets:
            self.start.append(f"{shape.offsets}[0] = 0")
            self.tail.append(f"{shape.offsets}[i + 1] = {shape.counter}")


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _literal(instruction: Instruction) -> str:
    """Return a constant as Python writes it; negative numbers in parentheses."""
    text = repr(literal(instruction))
    return f"({text})" if text.startswith("-") else text


def _spelled(table: Mapping[str, Mapping[DType, _Spelling]], operation: str, dtype: DType) -> _Spelling:
    spelling = table.get(operation, {}).get(dtype)
    if spelling is None:
        raise DataError(f"the target has no {operation} of {dtype}")
    return spelling
