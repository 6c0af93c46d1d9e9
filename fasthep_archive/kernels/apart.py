"""Calls of elementary functions apart from loops that go event by event.

A strip of values (:mod:`fasthep_archive.kernels.strips`) does not end where an event does. So a loop that goes event by
event, to reduce lists or to repeat values of events, becomes several: what has to be done event by event before the
calls, the calls with the arithmetic around them over all values in one go, and what is done event by event after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fasthep_archive.kernels.instructions import Instruction
from fasthep_archive.kernels.schedule import Loop, Schedule, per_event, values
from fasthep_archive.kernels.strips import is_call


def with_calls_apart(schedule: Schedule) -> Schedule:
    """Return ``schedule`` with calls in loops over all values only."""
    instructions = list(schedule.instructions)
    repeated = [_with_repeated_values(instructions, loop) for loop in schedule.loops]
    schedule = replace(schedule, instructions=tuple(instructions))
    loops = tuple(part for loop in repeated for part in _parts(schedule, loop))
    loop_of = {number: place for place, loop in enumerate(loops) for number in loop.body}
    crossing = {
        argument
        for number, place in loop_of.items()
        for argument in values(instructions[number])
        if loop_of.get(argument, place) != place
    }
    return replace(schedule, loops=loops, stored=schedule.stored | crossing)


def _with_repeated_values(instructions: list[Instruction], loop: Loop) -> Loop:
    """Return ``loop`` with calls that take values of lists only: one of an event is repeated for each of its values."""
    body: list[int] = []
    known: dict[tuple[int, int | None], int] = {}
    for number in loop.body:
        call = instructions[number]
        if loop.nested and is_call(call) and per_event(instructions, number):
            arguments = list(call.arguments)
            for place, argument in enumerate(arguments):
                value = instructions[argument]
                if value.domain is not None or value.operation in {"constant", "scalar"}:
                    continue
                if (argument, call.domain) not in known:
                    known[argument, call.domain] = len(instructions)
                    body.append(len(instructions))
                    instructions.append(Instruction("broadcast", value.dtype, (argument,), domain=call.domain))
                arguments[place] = known[argument, call.domain]
            instructions[number] = replace(call, arguments=tuple(arguments))
        body.append(number)
    return replace(loop, body=tuple(body))


def _parts(schedule: Schedule, loop: Loop) -> Iterator[Loop]:
    """Yield the loops that ``loop`` becomes, those that go event by event and the others in turn."""
    if not loop.nested or not any(is_call(schedule.instructions[number]) for number in loop.body):
        yield loop
        return
    stages = _stages(schedule.instructions, loop)
    for stage in range(max(stages.values()) + 1):
        body = tuple(number for number in loop.body if stages[number] == stage)
        if body:
            nested = any(per_event(schedule.instructions, number) for number in body)
            yield Loop(group=loop.group, nested=nested, body=body)


def _stages(instructions: Sequence[Instruction], loop: Loop) -> dict[int, int]:
    """Return when each instruction is done: at an even stage event by event, at an odd one over all values.

    What can be done at either is done as late as possible, so that little is stored.
    """
    stages: dict[int, int] = {}
    users: dict[int, list[int]] = {number: [] for number in loop.body}
    fixed = set()
    for number in loop.body:
        needed = [argument for argument in values(instructions[number]) if argument in users]
        stage = max((stages[argument] for argument in needed), default=0)
        by_event, called = per_event(instructions, number), is_call(instructions[number])
        if by_event or called:
            fixed.add(number)
            stage += stage % 2 != called
        stages[number] = stage
        for argument in needed:
            users[argument].append(number)
    for number in reversed(loop.body):
        if number not in fixed:
            stages[number] = min((stages[user] for user in users[number]), default=stages[number])
    return stages
