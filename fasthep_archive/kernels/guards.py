"""What need not be computed: instructions of a loop that matter only where some condition holds.

``where(n >= 2, sqrt(expensive), 0.0)`` needs the expensive value only where ``n >= 2``; so does a masked reduction or
selection. Such instructions move into a block that runs under the condition. That changes no result, since
every operation is defined for all arguments and leaves no trace; casts, which can fail, never move. A block costs a
branch, and keeps the compiler from computing several events at once, so it is made only around calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fasthep_archive.kernels.instructions import Instruction
from fasthep_archive.kernels.schedule import Loop, Schedule, role, values
from fasthep_archive.kernels.spelling import CALLS

_Path: TypeAlias = tuple[tuple[int, bool], ...]
"""Conditions, outermost first, and whether they have to be true or false."""


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that matter only where ``condition`` is ``side``."""

    condition: int
    side: bool
    items: tuple[int | Block, ...]

    def numbers(self) -> Iterator[int]:
        """Yield the instructions in the block and in the blocks inside it."""
        for item in self.items:
            if isinstance(item, Block):
                yield from item.numbers()
            else:
                yield item


def guarded(schedule: Schedule, loop: Loop) -> tuple[int | Block, ...]:
    """Return the instructions of ``loop`` in an order of computation, in blocks where that saves calls."""
    paths = _worthwhile(schedule.instructions, _paths(schedule, loop))
    return tuple(_Order(schedule.instructions, loop, paths).items(()))


def users(instructions: Sequence[Instruction], loop: Loop) -> Mapping[int, tuple[int, ...]]:
    """Return for each value that the loop uses the instructions of the loop that use it."""
    found: dict[int, list[int]] = {}
    for number in loop.body:
        for argument in dict.fromkeys(instructions[number].arguments):
            found.setdefault(argument, []).append(number)
    return {argument: tuple(numbers) for argument, numbers in found.items()}


def _paths(schedule: Schedule, loop: Loop) -> dict[int, _Path]:
    """Return under which conditions each instruction matters: what all its uses have in common."""
    using = users(schedule.instructions, loop)
    paths: dict[int, _Path] = {}
    for number in reversed(loop.body):
        instruction = schedule.instructions[number]
        moves = role(instruction) in {"element", "look"} and instruction.operation != "cast"
        uses = [_use(schedule.instructions[user], number, paths[user]) for user in using.get(number, ())]
        fixed = not moves or not uses or number in schedule.stored
        paths[number] = () if fixed else _common(path for several in uses for path in several)
    return paths


def _use(user: Instruction, number: int, path: _Path) -> Iterator[_Path]:
    """Yield the conditions under which ``user`` looks at ``number``, for each argument that it is."""
    for position, argument in enumerate(values(user)):
        if argument != number:
            continue
        if user.operation == "where" and position > 0:
            yield (*path, (user.arguments[0], position == 1))
        elif position == 0 and len(user.arguments) == 2 and (user.operation == "filter" or role(user) == "reduce"):
            yield (*path, (user.arguments[1], True))
        else:
            yield path


def _common(paths: Iterable[_Path]) -> _Path:
    """Return the longest beginning that all paths share."""
    first, *rest = paths
    size = len(first)
    for path in rest:
        matching = (a == b for a, b in zip(first, path, strict=False))
        size = min(size, len(path), next((index for index, same in enumerate(matching) if not same), size))
    return first[:size]


def _worthwhile(instructions: Sequence[Instruction], paths: Mapping[int, _Path]) -> dict[int, _Path]:
    """Return the paths, cut off below the last condition that saves a call."""
    calls = {
        path[:size]
        for number, path in paths.items()
        if (instructions[number].operation, instructions[number].dtype) in CALLS
        for size in range(1, len(path) + 1)
    }
    kept = {}
    for number, path in paths.items():
        sizes = [size for size in range(1, len(path) + 1) if path[:size] in calls]
        kept[number] = path[: max(sizes, default=0)]
    return kept


class _Order:
    """Puts instructions after those that they use, and all of a block together where possible."""

    def __init__(self, instructions: Sequence[Instruction], loop: Loop, paths: Mapping[int, _Path]) -> None:
        self._paths = paths
        self._waiting = list(loop.body)
        inside = set(loop.body)
        self._needs = {
            number: {
                needed
                for needed in (*instructions[number].arguments, *(condition for condition, _ in paths[number]))
                if needed in inside
            }
            for number in loop.body
        }
        self._done: set[int] = set()

    def items(self, path: _Path) -> Iterator[int | Block]:
        """Yield what can be computed below ``path``: first what belongs there, then a block, and again."""
        while True:
            ready = [number for number in self._waiting if self._ready(number, path)]
            here = [number for number in ready if self._paths[number] == path]
            if here:
                yield from self._take(here)
            elif ready:
                condition, side = self._paths[ready[0]][len(path)]
                yield Block(condition, side, tuple(self.items((*path, (condition, side)))))
            else:
                return

    def _ready(self, number: int, path: _Path) -> bool:
        return self._paths[number][: len(path)] == path and self._needs[number] <= self._done

    def _take(self, numbers: Sequence[int]) -> Iterator[int]:
        taken = set(numbers)
        self._done |= taken
        self._waiting = [number for number in self._waiting if number not in taken]
        yield from numbers
