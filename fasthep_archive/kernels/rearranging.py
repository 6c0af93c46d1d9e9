"""Loops that rearrange lists, as source text in the restricted Python of :mod:`fasthep_archive.kernels.emit`.

All that such a loop reads has been stored, so it goes through lists in any order. One event is one turn, but taking
values at places has a turn for each place. Lists are short: they are sorted by insertion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from fasthep_archive.formula.columns import DType
from fasthep_archive.kernels.instructions import Instruction
from fasthep_archive.kernels.schedule import Loop, Schedule, domain_of
from fasthep_archive.kernels.spelling import REDUCERS, ZERO, Reducer

Kind = Literal["events", "size", "column", "valid", "offsets", "buffer", "out"]

Needed = tuple[Kind, str, int]
"""What a loop is called with: kind, name and number of an argument."""

_LOAD: Mapping[DType, str] = {"float64": "float64({})", "int64": "int64({})", "bool": "({} != 0)"}
"""How a value of a column, which has the type of the file, is promoted."""

_ANY = Reducer("False", ("if {x}:", "{a} = True"))

_FOLLOWS: Mapping[tuple[str, DType], str] = MappingProxyType(
    {
        ("ascending", "int64"): "y > x",
        ("descending", "int64"): "y < x",
        ("ascending", "float64"): "y > x or (y != y and x == x)",
        ("descending", "float64"): "y < x or (y != y and x == x)",
    }
)
"""When a value y has to follow a later value x; NaN follows all others."""


def rearranging(schedule: Schedule, loop: Loop) -> tuple[str, tuple[Needed, ...]]:
    """Return the source of a loop of instructions that rearrange lists, and its arguments."""
    writer = _Writer(schedule)
    body = [(number, schedule.instructions[number]) for number in loop.body]
    lines = _WRITERS[body[0][1].operation](writer, body)
    names = ", ".join(writer.names.values())
    return "\n".join([f"def loop({names}):", *_indented(lines)]) + "\n", tuple(writer.names)


@dataclass(slots=True)
class _Writer:
    """Writes one loop.

    :ivar names: the loop's parameters by what they are.
    """

    schedule: Schedule
    names: dict[Needed, str] = field(default_factory=dict)

    def argument(self, kind: Kind, name: str = "", number: int = 0) -> str:
        """Return the name of a parameter of the loop."""
        return self.names.setdefault((kind, name, number), f"a{len(self.names)}")

    def out(self, number: int) -> str:
        """Return the array that the result of an instruction is stored in."""
        return self.argument("out", number=number)

    def bounds(self, group: int) -> tuple[str, str]:
        """Return expressions for where the values of event i begin and end; a selection has running counts."""
        instruction = self.schedule.instructions[group]
        if instruction.operation != "select":
            offsets = self.argument("offsets", number=group)
            return f"{offsets}[uint64(i)]", f"{offsets}[uint64(i + 1)]"
        start, stop = self.bounds(self.group(instruction.arguments[0]))
        counts = self.argument("buffer", number=group)
        return f"{counts}[uint64({start})]", f"{counts}[uint64({stop})]"

    def group(self, number: int) -> int:
        """Return the group of a structure, or of that of a value."""
        group = self.schedule.group(number)
        assert group is not None, "only lists are rearranged"
        return group

    def stored(self, number: int, index: str) -> str:
        """Return the expression that reads a value of instruction ``number``."""
        instruction = self.schedule.instructions[number]
        match instruction.operation:
            case "column" | "valid" as kind:
                array = self.argument(kind, instruction.detail)
                return _LOAD[instruction.dtype].format(f"{array}[uint64({index})]")
            case _:
                return f"{self.argument('buffer', number=number)}[uint64({index})]"

    def events(self, body: Sequence[str]) -> list[str]:
        """Return a loop over all events."""
        return [f"for i in range({self.argument('events')}):", *_indented(body)]


_Body = Sequence[tuple[int, Instruction]]


def _offsets(writer: _Writer, body: _Body) -> list[str]:
    """Write the structure of pairs: how many there are in each event, added up."""
    ((number, instruction),) = body
    sizes = [f"{stop} - {start}" for start, stop in (writer.bounds(writer.group(a)) for a in instruction.arguments)]
    count = "m * (m - 1) // 2" if instruction.operation == "pairs" else "m * n"
    lines = [f"{name} = {size}" for name, size in zip(("m", "n"), sizes, strict=False)]
    out = writer.out(number)
    lines += [f"k += {count}", f"{out}[uint64(i + 1)] = k"]
    return [f"{out}[0] = 0", "k = 0", *writer.events(lines)]


def _concatenated(writer: _Writer, body: _Body) -> list[str]:
    """Write the structure of a concatenation, whose lists end where those of its parts do, added up."""
    ((number, instruction),) = body
    stops = [writer.bounds(writer.group(argument))[1] for argument in instruction.arguments]
    out = writer.out(number)
    return [f"{out}[0] = 0", *writer.events([f"{out}[uint64(i + 1)] = {' + '.join(stops)}"])]


def _sides(writer: _Writer, body: _Body) -> list[str]:
    """Write the places of both sides of pairs."""
    structure = writer.schedule.instructions[body[0][1].domain or 0]
    first, *second = (writer.bounds(writer.group(argument)) for argument in structure.arguments)
    inner = [
        *(f"{writer.out(number)}[uint64(k)] = {'j' if i.detail == 'left' else 'p'}" for number, i in body),
        "k += 1",
    ]
    start, stop = second[0] if second else ("j + 1", first[1])
    made, _ = writer.bounds(writer.group(body[0][1].domain or 0))
    nested = [f"for p in range({start}, {stop}):", *_indented(inner)]
    return writer.events([f"k = {made}", f"for j in range({first[0]}, {first[1]}):", *_indented(nested)])


def _sorted(writer: _Writer, body: _Body) -> list[str]:
    """Write the places of sorted values: each value moves forward until none before has to follow it."""
    ((number, instruction),) = body
    (key,) = instruction.arguments
    start, stop = writer.bounds(writer.group(key))
    follows = _FOLLOWS[instruction.detail, writer.schedule.instructions[key].dtype]
    out = writer.out(number)
    step = [
        f"q = {out}[uint64(p - 1)]",
        f"y = {writer.stored(key, 'q')}",
        f"moves = {follows}",
        "if moves:",
        f"    {out}[uint64(p)] = q",
        "    p = p - 1",
        "    moves = p > start",
    ]
    insert = [f"x = {writer.stored(key, 'j')}", "p = j", "moves = p > start", "while moves:", *_indented(step)]
    insert.append(f"{out}[uint64(p)] = j")
    return writer.events([f"start = {start}", f"for j in range(start, {stop}):", *_indented(insert)])


def _taken(writer: _Writer, body: _Body) -> list[str]:
    """Write what is at places: it is read at 0 where there is no place, as every array has a first value."""
    places = body[0][1].arguments[1]
    lines = [f"p = {writer.stored(places, 'i')}", "q = p if p > 0 else 0"]
    for number, instruction in body:
        found = writer.stored(instruction.arguments[0], "q")
        nothing = "-1" if instruction.detail == "place" else ZERO[instruction.dtype]
        lines.append(f"{writer.out(number)}[uint64(i)] = {found} if p >= 0 else {nothing}")
    return [f"for i in range({writer.argument('size', number=writer.group(places))}):", *_indented(lines)]


def _joined(writer: _Writer, body: _Body) -> list[str]:
    """Write the values of a concatenation, part by part."""
    domain = body[0][1].domain or 0
    lines = [f"k = {writer.bounds(writer.group(domain))[0]}"]
    for position, part in enumerate(writer.schedule.instructions[domain].arguments):
        start, stop = writer.bounds(writer.group(part))
        copies = [
            f"{writer.out(number)}[uint64(k)] = {writer.stored(instruction.arguments[position], 'j')}"
            for number, instruction in body
        ]
        lines += [f"for j in range({start}, {stop}):", *_indented([*copies, "k += 1"])]
    return writer.events(lines)


def _inner(writer: _Writer, body: _Body) -> list[str]:
    """Write what a reducer makes of the pairs of each value on the left; they are as many as there are on the right."""
    ((number, instruction),) = body
    content = instruction.arguments[0]
    reducer = _ANY if instruction.detail == "any" else REDUCERS[instruction.detail]["float64"]
    domain = domain_of(writer.schedule.instructions, content) or 0
    left, right = (writer.bounds(writer.group(a)) for a in writer.schedule.instructions[domain].arguments)
    names = {"a": "r", "b": "s", "x": "x", "p": "p"}
    first, *rest = (line.format(**names) for line in reducer.update)
    lines = [f"r = {reducer.start}", *([f"s = {reducer.second}"] if reducer.second else [])]
    lines += ["for p in range(k, k + m):", *_indented([f"x = {writer.stored(content, 'p')}", first, *_indented(rest)])]
    lines += [f"{writer.out(number)}[uint64(j)] = r", "k += m"]
    begin = [f"k = {writer.bounds(writer.group(domain))[0]}", f"m = {right[1]} - {right[0]}"]
    return writer.events([*begin, f"for j in range({left[0]}, {left[1]}):", *_indented(lines)])


_WRITERS: Mapping[str, Callable[[_Writer, _Body], list[str]]] = MappingProxyType(
    {
        "pairs": _offsets,
        "product": _offsets,
        "concatenate": _concatenated,
        "side": _sides,
        "order": _sorted,
        "take": _taken,
        "joined": _joined,
        "inner": _inner,
    }
)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
