"""Which instructions run together: a program cut into loops.

A loop runs over the events, or over the values of one list structure. Instructions of the same loop hand values on
without storing them; what another loop or the caller needs is stored. The levels of the loops follow from the
instructions' dependencies alone, so that equal programs are cut in the same way.

Lists are short, and a loop over the values of each event is mispredicted at almost every end of a list (12 against 4 ns
an event for a selection of muons). So what can be done over all values in one go is done so: a selection is a running
count, and counting selected values is taking differences of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Literal

from fasthep_archive.formula.functions import FUNCTIONS
from fasthep_archive.kernels.instructions import LEAVES, STRUCTURES, Instruction, Instructions, unproven
from fasthep_archive.kernels.program import Program

LONGEST = 150
"""Most instructions in one loop. Compile time grows faster than the number of instructions, and so does register
pressure; beyond this many, storing what crosses a cut costs less."""

Role = Literal["leaf", "element", "look", "reduce", "reshape", "rearrange"]
"""``element``: value by value. ``look``: per event, from stored lists. ``reduce``: lists to values per event.
``reshape``: lists to other lists, as they are gone through. ``rearrange``: stored lists to others, in any order."""

_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("position", "at", "length"), "look"),
    **dict.fromkeys(("select", "lengthen", "filter", "padded"), "reshape"),
    **dict.fromkeys(("pairs", "product", "concatenate", "order", "side", "take", "joined", "inner"), "rearrange"),
    **{name: "reduce" for name, function in FUNCTIONS.items() if function.kind == "reduce"},
    **dict.fromkeys(LEAVES, "leaf"),
}

_VALUES: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("length", "lengthen", "pairs", "product", "concatenate", "side"), 0),
        **dict.fromkeys(("broadcast", "padded", "position", "inner"), 1),
        "take": 2,
    }
)
"""How many of an operation's arguments are values, where the others are not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """One pass over the events or over lists.

    :ivar group: the structure whose lists it runs over, none for the events themselves.
    :ivar nested: event by event, and in each event over its values; otherwise over all values in one go.
    :ivar body: the instructions, in order.
    """

    group: int | None
    nested: bool
    body: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A program cut into loops.

    :ivar instructions: the program's, in terms of running counts, and a ``copy`` for each output that computes nothing.
    :ivar outputs: content and validity of each output, computed and stored by some loop.
    :ivar groups: for each structure the one that stands for all those that are equal to it.
    :ivar checks: pairs of columns' structures that must prove equal at run time.
    :ivar stored: the instructions whose result is stored.
    """

    instructions: tuple[Instruction, ...]
    outputs: tuple[tuple[int, int | None], ...]
    groups: Mapping[int, int]
    checks: tuple[tuple[int, int], ...]
    loops: tuple[Loop, ...]
    stored: frozenset[int]

    def group_of(self, number: int) -> int | None:
        """Return the group of the structure that the result of ``number`` has, none for one value per event."""
        domain = self.instructions[number].domain
        return None if domain is None else self.groups[domain]

    def group(self, number: int) -> int | None:
        """Return the group of the structure that value ``number`` has, or that structure ``number`` is."""
        domain = domain_of(self.instructions, number)
        return None if domain is None else self.groups[domain]


def schedule(program: Program) -> Schedule:
    """Return ``program`` cut into loops, in the order in which they run."""
    instructions, outputs = _lowered(program)
    groups, checks = _grouped(instructions)
    needed = frozenset(number for output in outputs for number in output if number is not None)
    graph = _Graph(instructions, groups, needed)
    loops = tuple(graph.loops())
    return Schedule(
        instructions=instructions,
        outputs=outputs,
        groups=groups,
        checks=checks,
        loops=loops,
        stored=graph.stored(loops),
    )


def role(instruction: Instruction) -> Role:
    """Return how an instruction is computed."""
    return _ROLES.get(instruction.operation, "element")


def values(instruction: Instruction) -> tuple[int, ...]:
    """Return the arguments whose values are needed; the others only say how many values there are."""
    return instruction.arguments[: _VALUES.get(instruction.operation)]


def per_event(instructions: Sequence[Instruction], number: int) -> bool:
    """Return whether an instruction over lists has to know where events begin."""
    instruction = instructions[number]
    if role(instruction) == "reduce" or instruction.operation in {"lengthen", "padded"}:
        return True
    known = {"constant", "scalar"}
    arguments = [instructions[argument] for argument in values(instruction)]
    return any(argument.domain is None and argument.operation not in known for argument in arguments)


def domain_of(instructions: Sequence[Instruction], number: int) -> int | None:
    """Return the structure that value ``number`` has, or ``number`` itself if it is a structure."""
    instruction = instructions[number]
    return number if instruction.operation in STRUCTURES else instruction.domain


def _lowered(program: Program) -> tuple[tuple[Instruction, ...], tuple[tuple[int, int | None], ...]]:
    """Return the instructions, with counts as lengths of selections and every output computed by one; the outputs."""
    store = Instructions()
    new: list[int] = []
    for old in program.instructions:
        arguments = tuple(new[argument] for argument in old.arguments)
        instruction = replace(old, arguments=arguments, domain=None if old.domain is None else new[old.domain])
        new.append(_COUNTS.get(old.operation, Instructions.add)(store, instruction))

    def computed(number: int) -> int:
        leaf = store[number]
        copy = Instruction("copy", leaf.dtype, (number,), domain=leaf.domain)
        return store.add(copy) if role(leaf) == "leaf" else number

    outputs = tuple(
        (computed(new[output.content]), None if output.valid is None else computed(new[output.valid]))
        for output in program.outputs
    )
    return tuple(store), outputs


def _selected(store: Instructions, mask: int, within: Sequence[int]) -> int:
    """Return how many values of each event are true in ``mask`` and ``within``."""
    chosen = store.element("and", [mask, *within], "bool") if within else mask
    return store.add(Instruction("length", "int64", (store.add(Instruction("select", "int64", (chosen,))),)))


def _count(store: Instructions, instruction: Instruction) -> int:
    mask, *within = instruction.arguments
    return _selected(store, mask, within)


def _any(store: Instructions, instruction: Instruction) -> int:
    return store.element("greater", [_count(store, instruction), store.constant(0)], "bool")


def _all(store: Instructions, instruction: Instruction) -> int:
    mask, *within = instruction.arguments
    failing = _selected(store, store.element("not", [mask], "bool"), within)
    return store.element("equal", [failing, store.constant(0)], "bool")


def _sum(store: Instructions, instruction: Instruction) -> int:
    content, *within = instruction.arguments
    truth = store[content].operation == "to_int64"
    return _selected(store, store[content].arguments[0], within) if truth else store.add(instruction)


_COUNTS: Mapping[str, Callable[[Instructions, Instruction], int]] = {
    "count_nonzero": _count,
    "any": _any,
    "all": _all,
    "sum": _sum,
}
"""Reducers that are differences of running counts; a sum is one if it adds up truth values."""


def _grouped(instructions: Sequence[Instruction]) -> tuple[Mapping[int, int], tuple[tuple[int, int], ...]]:
    """Return which structures are equal, as the smallest of each group, and the pairs that have yet to prove it."""
    parents = {number: number for number, i in enumerate(instructions) if i.operation in STRUCTURES}
    checks: dict[tuple[int, int], None] = {}

    def root(number: int) -> int:
        while parents[number] != number:
            number = parents[number]
        return number

    def unite(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        parents[high] = low

    for number in range(len(instructions)):
        for alike in _alike(instructions, number):
            domains = dict.fromkeys(domain_of(instructions, argument) for argument in alike)
            for first, second in combinations([domain for domain in domains if domain is not None], 2):
                pair = unproven(instructions, first, second) if number not in (first, second) else None
                if pair is not None:
                    checks[min(pair), max(pair)] = None
                    unite(*pair)
                unite(first, second)
    return {number: root(number) for number in parents}, tuple(checks)


def _alike(instructions: Sequence[Instruction], number: int) -> Iterator[tuple[int, ...]]:
    """Yield values and structures that have as many values in each event, if instruction ``number`` makes sense."""
    instruction = instructions[number]
    match instruction.operation:
        case "sort":
            yield number, *instruction.arguments
        case "take":
            content, _, source = instruction.arguments
            yield content, source
        case "joined":
            assert instruction.domain is not None, "concatenations have lists"
            yield from zip(instruction.arguments, instructions[instruction.domain].arguments, strict=True)
        case "pairs" | "product" | "concatenate" | "side" | "inner":
            pass
        case _:
            yield instruction.arguments


class _Graph:
    """Places instructions in loops."""

    def __init__(self, instructions: Sequence[Instruction], groups: Mapping[int, int], outputs: frozenset[int]) -> None:
        self._instructions = instructions
        self._groups = groups
        self._outputs = outputs
        self._place = {number: self._placing(number) for number, i in enumerate(instructions) if role(i) != "leaf"}
        self._placed = sorted(self._reached(outputs))
        self._users: dict[int, list[int]] = {number: [] for number in self._placed}
        for number in self._placed:
            for needed in self._needs(number):
                self._users[needed].append(number)

    def loops(self) -> Iterator[Loop]:
        """Yield the loops: as few as the earliest or the latest possible places of instructions give."""
        early = self._earliest()
        late = self._latest(early)
        levels = min((late, early), key=lambda levels: len({(levels[n], self._place[n]) for n in self._placed}))
        bodies: dict[tuple[int, int], list[int]] = {}
        for number in self._placed:
            place = self._place[number]
            bodies.setdefault((levels[number], -1 if place is None else place), []).append(number)
        for (_, place), body in sorted(bodies.items()):
            group = place if place >= 0 else None
            for start in range(0, len(body), LONGEST):
                part = tuple(body[start : start + LONGEST])
                nested = group is not None and any(per_event(self._instructions, number) for number in part)
                yield Loop(group=group, nested=nested, body=part)

    def stored(self, loops: Sequence[Loop]) -> frozenset[int]:
        """Return the instructions whose results another loop or the caller needs, and all made structures."""
        loop_of = {number: index for index, loop in enumerate(loops) for number in loop.body}
        crossing = {
            argument
            for number in self._placed
            for argument in values(self._instructions[number])
            if argument in loop_of and (loop_of[argument] != loop_of[number] or self._crosses(argument, number))
        }
        made = {number for number in self._placed if self._instructions[number].operation in STRUCTURES}
        return frozenset(crossing | made | self._outputs)

    def _reached(self, outputs: Iterable[int]) -> set[int]:
        """Return the computed instructions that outputs depend on.

        A program has others: of sorted lists that are only counted, nobody asks for the values that they are sorted by.
        """
        reached: set[int] = set()
        waiting = list(outputs)
        while waiting:
            number = waiting.pop()
            if number not in reached:
                reached.add(number)
                waiting.extend(self._needs(number))
                shape = self._unsorted(self._instructions[number].domain)
                waiting.extend([shape] if shape in self._place else [])
        return reached

    def _placing(self, number: int) -> int | None:
        """Return the group whose lists the instruction runs over, none for events, less than -1 for a loop apart."""
        instruction = self._instructions[number]
        kind = role(instruction)
        if kind == "look":
            return None
        if kind == "rearrange":
            return self._apart(number)
        if kind == "element":
            return None if instruction.domain is None else self._groups[instruction.domain]
        # a mask, an anchor or the reduced content comes last or alone, and has the structure that is run over
        domain = domain_of(self._instructions, instruction.arguments[-1])
        assert domain is not None, "only lists are reduced and reshaped"
        return self._groups[domain]

    def _apart(self, number: int) -> int:
        """Return the loop of its own, as a number below -1, of an instruction that rearranges lists.

        What is taken at the same places shares one, and so do the sides of pairs and the parts of a concatenation.
        """
        instruction = self._instructions[number]
        match instruction.operation:
            case "take":
                shared = instruction.arguments[1]
            case "side" | "joined":
                assert instruction.domain is not None, "rearranged lists have a structure"
                shared = instruction.domain
            case _:
                shared = number
        return -2 - shared

    def _needs(self, number: int) -> Iterator[int]:
        """Yield the computed instructions that must come before ``number``."""
        instruction = self._instructions[number]
        shaped = instruction.operation in {"filter", "padded"}  # these make their structure anew as they go
        structures = [domain_of(self._instructions, argument) for argument in instruction.arguments]
        structures.append(None if shaped else instruction.domain)
        for needed in dict.fromkeys((*values(instruction), *map(self._unsorted, structures))):
            if needed in self._place:
                yield needed

    def _unsorted(self, domain: int | None) -> int | None:
        """Return the structure that values in another order, which has no offsets of its own, have the offsets of."""
        while domain is not None and self._instructions[domain].operation == "sort":
            domain = domain_of(self._instructions, self._instructions[domain].arguments[0])
        return domain

    def _crosses(self, needed: int, number: int) -> bool:
        """Return whether ``number`` has to wait until the loop that computes ``needed`` is over."""
        streamed = role(self._instructions[needed]) in {"element", "look"}
        return not streamed or self._place[needed] != self._place[number]

    def _earliest(self) -> dict[int, int]:
        levels: dict[int, int] = {}
        for number in self._placed:
            levels[number] = max((levels[n] + self._crosses(n, number) for n in self._needs(number)), default=0)
        return levels

    def _latest(self, early: Mapping[int, int]) -> dict[int, int]:
        last: dict[int | None, int] = {}
        for number in self._placed:
            last[self._place[number]] = max(early[number], last.get(self._place[number], 0))
        levels: dict[int, int] = {}
        for number in reversed(self._placed):
            users = self._users[number]
            limits = [levels[user] - self._crosses(number, user) for user in users]
            levels[number] = min(limits, default=last[self._place[number]])
        return levels
