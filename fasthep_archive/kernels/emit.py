"""Loops to source text: restricted Python, in which no name is a user's, for LLVM, numba and CUDA.

Equal loops give equal text, whatever the instructions' numbers in their programs, so that they share compiled code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import DType
from fasthep_archive.kernels.guards import Block, guarded, users
from fasthep_archive.kernels.instructions import Instruction, literal
from fasthep_archive.kernels.rearranging import rearranging
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
    if role(schedule.instructions[loop.body[0]]) == "rearrange":
        text, needed = rearranging(schedule, loop)
        return Source(text, tuple(Argument(kind, name, number) for kind, name, number in needed), ())
    return Writer(schedule, loop).source()


@dataclass(slots=True)
class _Shape:
    """A list structure that a loop makes: the counter of its values, what is stored there, and in lists too short."""

    counter: str
    stores: list[str] = field(default_factory=list)
    filled: list[str] = field(default_factory=list)
    made: str = ""
    """Where the structure itself is stored, if this loop does it."""


class Writer:
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
        self._users = users(schedule.instructions, loop)
        self._locals = 0
        self.start: list[str] = []
        """Before all events."""
        self.head: list[str] = []
        """For each event, before its values."""
        self.body: list[str] = []
        """For each value, or for each event in a loop over events."""
        self.tail: list[str] = []
        """For each event, after its values."""
        self.end: list[str] = []
        """After all events."""
        self._lines = self.body
        """Where computation goes: the body, or a block in it."""

    def source(self) -> Source:
        """Return the loop."""
        over = (
            Argument("events")
            if self._loop.group is None or self._nested
            else Argument("size", number=self._loop.group)
        )
        count = self._argument(over)
        self._write_items(guarded(self._schedule, self._loop))
        for domain, shape in self._shapes.items():
            selects = self._instruction(domain).operation == "select"
            (self._finish_selection if selects else self._finish_padding)(domain, shape)
        lines = [*self.start, f"for i in range({count}):"]
        if self._nested:
            start, stop = self._bounds(self._loop.group)
            inner = [f"for j in range({start}, {stop}):", *indented(self.body or ["pass"])]
            lines += indented([*self.head, *inner, *self.tail])
        else:
            lines += indented(self.body)
        lines += self.end
        names = ", ".join(self._arguments.values())
        text = "\n".join([f"def loop({names}):", *indented(lines)]) + "\n"
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
        """Return expressions for where the event's values begin and end; those of a selection as it counts."""
        assert group is not None, "events have no bounds"
        if self._instruction(group).operation != "select":
            offsets = self._argument(Argument("offsets", number=group))
            return f"{offsets}[i]", f"{offsets}[i + 1]"
        counts = self._argument(Argument("buffer", number=group))
        start, stop = self._bounds(self._schedule.group(self._instruction(group).arguments[0]))
        return f"{counts}[uint64({start})]", f"{counts}[uint64({stop})]"

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

    def _write_items(self, items: Sequence[int | Block]) -> None:
        """Write instructions and blocks; what a block computes is 0 elsewhere, and nobody looks at it there."""
        for item in items:
            if not isinstance(item, Block):
                self._write(item)
                continue
            outer, self._lines = self._lines, []
            condition = self._value(item.condition)
            self._write_items(item.items)
            inside = set(item.numbers())
            for number in sorted(inside):
                if not inside.issuperset(self._users[number]):
                    outer.append(f"{self._names[number]} = {ZERO[self._instruction(number).dtype]}")
            outer += [f"if {condition if item.side else f'not {condition}'}:", *indented(self._lines)]
            self._lines = outer

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
                self._lines.append(f"{name} = {self._expression(instruction)}")
                self._store(number, name, self._lines, self._index)

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
            # read first and choose then: every array has a first value, and a branch would often be mispredicted
            found = self._stored(instruction.arguments[0], f"uint64({position} if {position} > 0 else 0)")
            self._lines.append(f"{(name := self._local())} = {found}")
            return f"{name} if {position} >= 0 else {ZERO[instruction.dtype]}"
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
        update = [first, *indented(rest)]
        self._lines += [f"if {self._value(mask[0])}:", *indented(update)] if mask else update
        self._store(number, names["a"], self.tail, "i")

    def _cast(self, number: int, instruction: Instruction) -> None:
        """Write a conversion to an integer that remembers where the first value was that doesn't fit."""
        low, high = RANGES[instruction.detail]
        value = self._value(instruction.arguments[0])
        fits, name = self._local("f"), self._local()
        if self._instruction(instruction.arguments[0]).dtype == "float64":
            whole = self._local()
            self._lines += [
                f"{whole} = np.trunc({value})",
                f"{fits} = {whole} >= {float(low)} and {whole} < {float(high + 1)}",
            ]
            self._lines.append(f"{name} = int64({whole}) if {fits} else 0")
        else:
            self._lines += [f"{fits} = {value} >= {low} and {value} <= {high}", f"{name} = {value} if {fits} else 0"]
        checked = f"{self._value(instruction.arguments[1])} and " if len(instruction.arguments) > 1 else ""
        fault = f"{self._argument(Argument('faults'))}[{len(self._casts)}]"
        self._lines += [f"if {checked}not {fits} and {fault} < 0:", f"    {fault} = {self._index}"]
        self._casts.append(number)
        self._names[number] = name
        self._store(number, name, self._lines, self._index)

    # Structures

    def _reshape(self, number: int, instruction: Instruction) -> None:
        """Note what a list structure is made of; it is written at the end of the loop."""
        if instruction.operation in {"select", "lengthen"}:
            self._shape(number).made = self._argument(Argument("out", number=number))
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
            self._shapes[domain] = _Shape(self._local("k"))
            self.start.append(f"{self._shapes[domain].counter} = 0")
        return self._shapes[domain]

    def _finish_selection(self, domain: int, shape: _Shape) -> None:
        """Write how selected values are stored one after the other, and how many there were before each value.

        A value is stored in any case, and kept if the counter goes on: a branch would often be mispredicted.
        """
        mask = self._value(self._instruction(domain).arguments[0])
        if shape.made:
            self.body.append(f"{shape.made}[{self._index}] = {shape.counter}")
            size = self._argument(Argument("size", number=self._loop.group or 0))
            self.end.append(f"{shape.made}[{size}] = {shape.counter}")
        self.body += [*shape.stores, f"{shape.counter} += int64({mask})"]

    def _finish_padding(self, domain: int, shape: _Shape) -> None:
        """Write how lists that are too short are filled up, and too long ones are cut if they have a fixed length."""
        instruction = self._instruction(domain)
        start, stop = self._bounds(self._loop.group)
        size = instruction.detail
        clipped = instruction.operation == "fixed"
        if shape.stores:
            self.body += [f"if j - {start} < {size}:", *indented(shape.stores)] if clipped else shape.stores
            self.tail += [f"for p in range({stop} - {start}, {size}):", *indented(shape.filled)]
        self.tail.append(f"{shape.counter} += {size if clipped else f'max({stop} - {start}, {size})'}")
        if shape.made:
            self.start.append(f"{shape.made}[0] = 0")
            self.tail.append(f"{shape.made}[i + 1] = {shape.counter}")


def indented(lines: Sequence[str]) -> list[str]:
    """Return lines as the body of a statement."""
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
