"""Loops that call elementary functions, for the CPU: strip by strip, in passes that become vector code.

One call of an elementary function for each value costs five times what it costs for a strip of values
(:mod:`fasthep_archive.kernels.elementary.strips`). So a loop goes through its turns in strips, and through a strip in
passes: one for the arithmetic that calls need, the calls, one for the arithmetic that needs these, and so on. What
passes hand on to later ones is kept in small arrays, which stay in the first-level cache.

What matters only under a condition (:mod:`fasthep_archive.kernels.guards`) is computed for the turns of the strip
where it holds, one after the other. What has to be done in order, which is selecting and checking casts, comes last.

The text means the same as that of :mod:`fasthep_archive.kernels.emit`, for the same arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fasthep_archive.formula.columns import DType
from fasthep_archive.kernels.elementary.strips import LENGTH, SUFFIX
from fasthep_archive.kernels.emit import Argument, Source, Writer, emit, indented
from fasthep_archive.kernels.guards import Block, guarded
from fasthep_archive.kernels.instructions import Instruction
from fasthep_archive.kernels.schedule import Loop, Schedule, role, values
from fasthep_archive.kernels.scratch import Scratch
from fasthep_archive.kernels.spelling import CALLS, NUMBA, ZERO

STRIPS: Mapping[tuple[str, DType], str] = MappingProxyType(
    {call: NUMBA[call[0]][call[1]].partition("_rounded(")[0] + SUFFIX for call in sorted(CALLS)}
)
"""The functions for strips, by operation and type."""


def emit_strips(schedule: Schedule, loop: Loop) -> Source:
    """Return the source of ``loop``: in strips if it calls elementary functions for all its turns, else as it is.

    :raises DataError: if an instruction has no spelling.
    """
    if loop.nested or not any(is_call(schedule.instructions[number]) for number in loop.body):
        return emit(schedule, loop)
    return _StripWriter(schedule, loop).source()


def is_call(instruction: Instruction) -> bool:
    """Return whether an instruction is a call of an elementary function."""
    return (instruction.operation, instruction.dtype) in STRIPS


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """Turns of a strip: all, or those of another region that fulfil a condition.

    :ivar count: the name of how many there are.
    :ivar places: the array of their places in ``parent``; none if they are all of the strip.
    """

    count: str
    parent: _Region | None = None
    places: str = ""


@dataclass(slots=True)
class _Level:
    """What is computed together: arithmetic in one pass, then calls and blocks, each by itself."""

    plain: list[int]
    others: list[int | Block]


class _StripWriter(Writer):
    """Writes one loop."""

    def __init__(self, schedule: Schedule, loop: Loop) -> None:
        super().__init__(schedule, loop)
        self._index = "uint64(i)"
        self._strip = _Region("count")
        self._region = self._strip
        self._scratch = Scratch()
        self._arrays: dict[tuple[int, _Region], str] = {}
        self._keeping: frozenset[int] = frozenset()
        self._blocks = 0
        self._using: dict[int, set[int]] = {number: set() for number in loop.body}
        for number in loop.body:
            for argument in values(schedule.instructions[number]):
                self._using.get(argument, set()).add(number)
        self._ordered = [number for number in loop.body if self._is_ordered(number)]
        self._text: list[str] = []

    def source(self) -> Source:
        """Return the loop."""
        turns = Argument("events") if self._loop.group is None else Argument("size", number=self._loop.group)
        size = self._argument(turns)
        ordered = set(self._ordered)
        items = [item for item in guarded(self._schedule, self._loop) if item not in ordered]
        self._write_region(items, self._strip)
        self._write_in_order()
        self._write_out()
        strip = [f"count = min({LENGTH}, {size} - begin)", *self._text]
        lines = [*self.start, f"for begin in range(0, {size}, {LENGTH}):", *indented(strip), *self.end]
        lines = self._scratch.placed(lines)
        text = "\n".join([f"def loop({', '.join(self._arguments.values())}):", *indented(lines)]) + "\n"
        return Source(text, tuple(self._arguments), tuple(self._casts))

    def _is_ordered(self, number: int) -> bool:
        """Return whether an instruction has to be done turn by turn, in order, after all others."""
        instruction = self._schedule.instructions[number]
        return role(instruction) == "reshape" or (instruction.operation == "cast" and not self._using[number])

    # Regions

    def _write_region(self, items: Sequence[int | Block], region: _Region) -> None:
        """Write what is computed for the turns of a region."""
        for level in self._levels(items):
            self._pass(region, lambda level=level: self._write_plain(level))  # type: ignore[misc] # of this turn
            for item in level.others:
                if isinstance(item, Block):
                    self._write_block(item, region)
                else:
                    self._write_call(item, region)

    def _write_plain(self, level: _Level) -> None:
        """Write the arithmetic of a level, and put what its calls take into arrays."""
        self._keeping = frozenset(number for number in level.plain if not self._using[number].issubset(level.plain))
        for number in level.plain:
            self._write(number)
        later = {number for item in level.others for number in _numbers(item)}
        for item in level.others:
            if not isinstance(item, Block):
                for argument in self._call_arguments(item):
                    if argument not in later:
                        self._prepare(argument)

    def _write_call(self, number: int, region: _Region) -> None:
        """Write a call of an elementary function."""
        instruction = self._instruction(number)
        arguments = [self._arrays[argument, region] for argument in self._call_arguments(number)]
        result = self._new(number, region)
        function = STRIPS[instruction.operation, instruction.dtype]
        self._add([f"{function}({', '.join([*arguments, result])}, {region.count})"])

    def _call_arguments(self, number: int) -> tuple[int, ...]:
        return values(self._instruction(number))

    def _prepare(self, number: int) -> None:
        """Have the value of ``number`` in an array of the region: one that never changes, if it is a number."""
        if (number, self._region) in self._arrays:
            return
        value = self._value(number)
        if self._instruction(number).operation in {"constant", "scalar"}:
            array = self._arrays[number, self._region] = self._scratch.lasting("float64")
            self.start += [f"for q in range({LENGTH}):", f"    {array}[uint64(q)] = {value}"]
        else:
            self._lines.append(f"{self._new(number, self._region)}[uint64(q)] = {value}")

    def _write_block(self, block: Block, region: _Region) -> None:
        """Write what is computed where a condition holds: find out where, compute it there, put results in place."""
        inside = set(block.numbers())
        results = [number for number in sorted(inside) if not self._using[number] <= inside]
        places = self._scratch.new("int64")
        child = _Region(f"found{self._blocks}", region, places)
        self._blocks += 1
        self._add([f"{child.count} = 0"])
        self._pass(region, lambda: self._find(block, child))
        for number in results:
            zero = ZERO[self._instruction(number).dtype]
            self._add([f"for q in range({region.count}):", f"    {self._new(number, region)}[uint64(q)] = {zero}"])
        outer, self._text = self._text, []
        self._write_region(block.items, child)
        for number in results:
            found = f"{self._arrays[number, child]}[uint64(q)]"
            store = f"{self._arrays[number, region]}[uint64({places}[uint64(q)])] = {found}"
            self._add([f"for q in range({child.count}):", f"    {store}"])
        self._text = [*outer, f"if {child.count} > 0:", *indented(self._text)]

    def _find(self, block: Block, child: _Region) -> None:
        """Note the places where the condition of a block holds. Each is written in any case, and kept if it does."""
        condition = self._value(block.condition)
        self._lines += [
            f"{child.places}[uint64({child.count})] = q",
            f"{child.count} += int64({condition if block.side else f'not {condition}'})",
        ]

    # Passes

    def _pass(self, region: _Region, write: Callable[[], None]) -> None:
        """Add a loop over the turns of a region, of what ``write`` writes."""
        self._region, self._names = region, {}
        self.body = self._lines = []
        write()
        if self._lines:
            self._add([f"for q in range({region.count}):", *indented([*self._heads(), *self._lines])])

    def _heads(self) -> Iterator[str]:
        """Yield what says which turn of the loop, ``i``, and of the outer regions this one is, if anyone asks."""
        asked = set(re.findall(r"\b(?:i|q\d+)\b", "\n".join(self._lines)))
        place, region, depth = "q", self._region, 0
        while region.parent is not None:
            if asked & ({"i"} | {f"q{k}" for k in range(depth, 9)}):
                yield f"q{depth} = {region.places}[uint64({place})]"
            place, region, depth = f"q{depth}", region.parent, depth + 1
        if "i" in asked:
            yield f"i = begin + {place}"

    def _add(self, lines: Sequence[str]) -> None:
        """Add statements that are one pass of the strip."""
        self._text += self._scratch.passed(lines)

    # Values

    def _value(self, number: int) -> str:
        """Return a name or literal for the value of ``number`` in this pass."""
        if number in self._names or self._instruction(number).operation in {"constant", "scalar"}:
            return super()._value(number)
        name = self._names[number] = self._local()
        self._lines.append(f"{name} = {self._kept(number) or self._stored(number, self._index)}")
        return name

    def _kept(self, number: int) -> str:
        """Return the expression that reads ``number`` from an array of this region or one around it, or nothing."""
        region: _Region | None = self._region
        place, depth = "q", 0
        while region is not None:
            if (number, region) in self._arrays:
                return f"{self._arrays[number, region]}[uint64({place})]"
            region, place, depth = region.parent, f"q{depth}", depth + 1
        return ""

    def _new(self, number: int, region: _Region) -> str:
        """Return a new array for the values of ``number`` in a region."""
        array = self._arrays[number, region] = self._scratch.new(self._instruction(number).dtype)
        return array

    def _store(self, number: int, name: str, place: list[str], index: str) -> None:
        """Store a value where the caller wants it, and keep it for later passes."""
        super()._store(number, name, place, index)
        if number in self._keeping:
            place.append(f"{self._new(number, self._region)}[uint64(q)] = {name}")

    def _bounds(self, group: int | None) -> tuple[str, str]:
        start, stop = super()._bounds(group)
        return start.replace("[i]", "[uint64(i)]"), stop.replace("[i + 1]", "[uint64(i + 1)]")

    # After all passes

    def _write_in_order(self) -> None:
        """Write what has to be done turn by turn."""

        def write() -> None:
            for number in self._ordered:
                self._write(number)
            for domain, shape in self._shapes.items():
                self._finish_selection(domain, shape)

        self._pass(self._strip, write)

    def _write_out(self) -> None:
        """Write what copies results of calls to where the caller wants them: there is no room behind the last one."""
        for number in self._loop.body:
            if number in self._schedule.stored and is_call(self._instruction(number)):
                out = self._argument(Argument("out", number=number))
                self._add([f"copy_out({self._arrays[number, self._strip]}, count, {out}, begin)"])

    # Levels

    def _levels(self, items: Sequence[int | Block]) -> list[_Level]:
        """Return ``items`` by level: arithmetic just before it is needed, calls and blocks as soon as they can be."""
        makers = {number: place for place, item in enumerate(items) for number in _numbers(item)}
        needs = [{makers[n] for n in self._needs(item) if n in makers} - {k} for k, item in enumerate(items)]
        plain = [not isinstance(item, Block) and not is_call(self._instruction(item)) for item in items]
        early: list[int] = []
        for place, needed in enumerate(needs):
            early.append(max((early[n] + (plain[place] and not plain[n]) for n in needed), default=0))
        late = list(early)
        users: list[list[int]] = [[] for _ in items]
        for place in reversed(range(len(items))):
            if plain[place]:
                late[place] = min((late[user] for user in users[place]), default=early[place])
            for maker in needs[place]:
                users[maker].append(place)
        levels = [_Level([], []) for _ in range(max(late, default=-1) + 1)]
        for place, item in enumerate(items):
            if isinstance(item, Block) or not plain[place]:
                levels[late[place]].others.append(item)
            else:
                levels[late[place]].plain.append(item)
        return levels

    def _needs(self, item: int | Block) -> Iterator[int]:
        """Yield the values that an instruction or block uses."""
        if isinstance(item, Block):
            yield item.condition
            for inner in item.items:
                yield from self._needs(inner)
        else:
            yield from values(self._instruction(item))


def _numbers(item: int | Block) -> Iterable[int]:
    return item.numbers() if isinstance(item, Block) else (item,)
