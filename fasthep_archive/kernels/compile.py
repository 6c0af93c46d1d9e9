"""Programs to machine code, and the calls: columns in, columns out, block by block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import ModuleType

import numpy as np

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array, Column, ColumnType, DType
from fasthep_archive.kernels import cache as kernel_cache
from fasthep_archive.kernels import inputs
from fasthep_archive.kernels.apart import with_calls_apart
from fasthep_archive.kernels.elementary import strips
from fasthep_archive.kernels.emit import Argument, Source
from fasthep_archive.kernels.inputs import Lists
from fasthep_archive.kernels.instructions import STRUCTURES
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.passing import Passed, passed
from fasthep_archive.kernels.program import Program
from fasthep_archive.kernels.rules import CHECKS, RANGES
from fasthep_archive.kernels.schedule import Loop, Schedule, schedule
from fasthep_archive.kernels.strips import emit_strips
from fasthep_archive.kernels.unit import Unit, unit_of

_HEADER = '''"""A loop that fasthep-archive has generated for numba."""

import math
from math import inf, nan

import numpy as np
from numba import float32, float64, int64, uint64
'''

_ARITHMETIC = "fasthep_archive.kernels.arithmetic"
"""The module whose own source is compiled with the loops that call its functions."""

_CONVERT: Mapping[DType, Callable[[bool | int | float], bool | int | float]] = {
    "bool": bool,
    "int64": int,
    "float64": float,
}


def compile_program(program: Program, *, cache: Path) -> Kernel:
    """Return ``program`` as a kernel; compiled code is kept below ``cache`` and found there again.

    A loop is compiled, or found, when it is first called with columns of new types.
    """
    plan = with_calls_apart(schedule(program))
    sources = [emit_strips(plan, loop) for loop in plan.loops]
    assert all(_apart(plan, source) for source in sources), "loops read and write different memory"
    return Kernel(program, plan, sources, [_compiled(source.text, cache) for source in sources])


def _apart(plan: Schedule, source: Source) -> bool:
    """Return whether a loop reads nothing that it writes, which the compiler of loops relies on."""
    written = {argument.number for argument in source.arguments if argument.kind == "out"}
    made = {plan.groups[number] for number in written if number in plan.groups}
    read = {argument.number for argument in source.arguments if argument.kind == "buffer"}
    structures = {argument.number for argument in source.arguments if argument.kind == "offsets"}
    return not (written & read or made & structures)


def _compiled(text: str, cache: Path) -> Function:
    """Return the function of a loop's source, the same one for equal loops."""
    used = tuple(library for library in _libraries() if library.called(text))
    unit = Unit(name="kernel", text=_HEADER + text, functions=("loop",), libraries=used, lowerable=True)
    return Function.of(unit, "loop", cache)


@functools.cache
def _libraries() -> tuple[Unit, ...]:
    """Return the functions that loops can call."""
    return unit_of(_ARITHMETIC), strips.unit()


def _arithmetic(cache: Path) -> ModuleType:
    """Return the compiled functions of the arithmetic, for tests."""
    (library,) = (library for library in _libraries() if library.name == "arithmetic")
    return kernel_cache.load(library.text, library.functions, cache=cache, name=library.name)


def _calling(function: Callable[..., object]) -> Callable[[Sequence[Passed]], object]:
    """Return how the function of a loop is called: compiled, or plain Python as the tests' reference is."""
    if isinstance(function, Function):
        return function.call
    return lambda arguments: function(*(value for _, _, value in arguments))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """One call of a loop: the structures that it makes, and the casts that can fail in it."""

    function: Callable[..., object]
    call: Callable[[Sequence[Passed]], object]
    arguments: Callable[[Sequence[Passed]], Sequence[Passed]]
    made: tuple[int, ...]
    casts: tuple[int, ...]
    group: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Input:
    """A column: its structure, and where the loops want its content and validity, if they do."""

    name: str
    expected: ColumnType
    domain: int | None
    content: int | None
    valid: int | None


class Kernel:
    """A compiled program. Calls share one set of buffers: a kernel belongs to one thread at a time."""

    def __init__(
        self, program: Program, plan: Schedule, sources: Sequence[Source], functions: Sequence[Callable[..., object]]
    ) -> None:
        self._program = program
        self._plan = plan
        self._slots: dict[Argument, int] = {}
        for argument in (a for source in sources for a in source.arguments):
            self._slots.setdefault(argument, len(self._slots))
        self._environment: list[Passed] = [passed(0)] * len(self._slots)
        self._inputs = tuple(map(self._input, program.columns, program.types))
        self._buffers: dict[int, Array] = {}
        for number in sorted(plan.stored):
            self._allocate(number, 1)
        self._faults = np.empty(max((len(source.casts) for source in sources), default=0), np.int64)
        self._set(Argument("faults"), self._faults)
        self._steps = tuple(map(self._step, plan.loops, sources, functions))

    def __call__(
        self,
        columns: Mapping[str, Column],
        scalars: Mapping[str, bool | int | float],
        events: int,
        *,
        first_event: int = 0,
    ) -> tuple[Column, ...]:
        """Return the program's outputs for a block of events.

        :param columns: at least those of ``program.columns``, for ``events`` events each; none of this kernel's
            results, as loops rely on reading and writing different memory.
        :param scalars: at least those of ``program.scalars``.
        :param first_event: number of the block's first event, for messages.
        :returns: contents are float64, int64 or bool, and are overwritten by the next call.
        :raises DataError: if a column is not what the program was built for, if lists that are combined have different
            lengths, or if a value does not fit what it is cast to.
        """
        self._set(Argument("events"), events)
        for name, dtype in self._program.scalars:
            self._set(Argument("scalar", name), _CONVERT[dtype](scalars[name]))
        lists = self._load(columns, events, first_event)
        self._reserve(lists, events)
        for step in self._steps:
            self._run(step, lists, events, first_event)
        return tuple(self._output(content, valid, lists, events) for content, valid in self._plan.outputs)

    def _input(self, name: str, expected: ColumnType) -> _Input:
        instructions = self._plan.instructions
        domain = next(i.domain for i in instructions if i.operation in {"column", "valid"} and i.detail == name)
        slots = [self._slots.get(Argument(kind, name)) for kind in ("column", "valid")]
        return _Input(name=name, expected=expected, domain=domain, content=slots[0], valid=slots[1])

    def _set(self, argument: Argument, value: object) -> None:
        slot = self._slots.get(argument)
        if slot is not None:
            self._environment[slot] = passed(value)

    def _step(self, loop: Loop, source: Source, function: Callable[..., object]) -> _Step:
        made = [n for n in loop.body if self._plan.instructions[n].operation in STRUCTURES]
        slots = [self._slots[argument] for argument in source.arguments]
        return _Step(
            function=function,
            call=_calling(function),
            arguments=itemgetter(*slots),
            made=tuple(made),
            casts=source.casts,
            group=loop.group,
        )

    def _load(self, columns: Mapping[str, Column], events: int, first_event: int) -> dict[int, Lists]:
        """Check the columns and hand them to the loops; return the structures, by group."""
        found: dict[int, Lists] = {}
        for taken in self._inputs:
            name, expected = taken.name, taken.expected
            if name not in columns:
                raise DataError(f"column {name!r} is missing")
            column = columns[name]
            size = inputs.size(name, column, expected, events)
            if taken.domain is not None:
                if taken.domain not in found:
                    found[taken.domain] = inputs.lists(name, column, events)
                if (known := found[taken.domain]).size != size:
                    raise DataError(f"columns {known.name!r} and {name!r} have different numbers of values")
            if taken.content is not None:
                self._environment[taken.content] = passed(inputs.content(name, column, expected))
            valid = inputs.validity(name, column, expected)
            if taken.valid is not None:
                self._environment[taken.valid] = passed(valid)
        for first, second in self._plan.checks:
            inputs.same(found[first], found[second], first_event)
        lists: dict[int, Lists] = {}
        for domain, group in self._plan.groups.items():
            instruction = self._plan.instructions[domain]
            if domain in found:
                self._shape(lists, group, found[domain])
            elif instruction.operation == "fixed":
                size = int(instruction.detail)
                offsets = inputs.read_only(np.arange(events + 1, dtype=np.int64) * size)
                self._shape(lists, group, Lists("", offsets, size * events))
        return lists

    def _shape(self, lists: dict[int, Lists], group: int, shape: Lists) -> None:
        """Take ``shape`` for all structures of ``group``, unless it has one, which is equal."""
        if group not in lists:
            lists[group] = shape
            self._set(Argument("offsets", number=group), shape.offsets)
            self._set(Argument("size", number=group), shape.size)

    def _source(self, structure: int) -> int:
        """Return the group that a structure was selected from or lengthened."""
        source = self._plan.group(self._plan.instructions[structure].arguments[0])
        assert source is not None, "structures are made from others"
        return source

    def _reserve(self, lists: Mapping[int, Lists], events: int) -> None:
        """Make the buffers long enough for whatever the loops may find; those of pairs when these have been counted."""
        most: dict[int | None, int] = {None: events + 1, **{group: shape.size for group, shape in lists.items()}}
        for domain, group in self._plan.groups.items():
            bound = self._bound(domain, most, events)
            if group not in most and bound is not None:
                most[group] = bound
        for number, buffer in self._buffers.items():
            selects = self._plan.instructions[number].operation == "select"
            needed = most.get(self._source(number) if selects else self._plan.group_of(number), 0) + selects
            if needed > len(buffer):
                self._allocate(number, max(needed, len(buffer) * 5 // 4))

    def _bound(self, structure: int, most: Mapping[int | None, int], events: int) -> int | None:
        """Return the most values that a structure can have, given its sources; none where there are pairs in it."""
        instruction = self._plan.instructions[structure]
        sources = [most.get(self._plan.group(argument)) for argument in instruction.arguments]
        known = [source for source in sources if source is not None]
        if len(known) < len(sources) or instruction.operation in {"offsets", "fixed", "pairs", "product"}:
            return None
        added = int(instruction.detail) * events if instruction.operation == "lengthen" else 0
        return sum(known) + added

    def _allocate(self, number: int, size: int) -> None:
        dtype = self._plan.instructions[number].dtype
        self._buffers[number] = buffer = np.empty(size, np.bool_ if dtype == "bool" else dtype)
        self._set(Argument("out", number=number), buffer)
        self._set(Argument("buffer", number=number), inputs.read_only(buffer))

    def _run(self, step: _Step, lists: dict[int, Lists], events: int, first_event: int) -> None:
        """Run one loop, and take over the structures that it has made."""
        self._faults.fill(-1)
        step.call(step.arguments(self._environment))
        for number in step.made:
            if self._plan.instructions[number].operation == "select":
                shape = Lists("", None, int(self._buffers[number][lists[self._source(number)].size]))
            else:
                offsets = inputs.read_only(self._buffers[number][: events + 1])
                shape = Lists("", offsets, int(offsets[-1]))
            self._shape(lists, self._plan.groups[number], shape)
            if self._plan.instructions[number].operation in {"pairs", "product"}:
                inputs.few_enough(shape.size, events, first_event)
                self._reserve(lists, events)
        if step.casts and self._faults.max() >= 0:
            raise self._misfit(step, lists, first_event)

    def _offsets(self, lists: Mapping[int, Lists], group: int) -> Array:
        """Return the offsets of a structure; a selection has running counts, to be looked up where the events begin."""
        offsets = lists[group].offsets
        return self._buffers[group][self._offsets(lists, self._source(group))] if offsets is None else offsets

    def _misfit(self, step: _Step, lists: Mapping[int, Lists], first_event: int) -> DataError:
        """Return the error for the first cast that met a value that does not fit."""
        which = int((self._faults >= 0).argmax())
        event = int(self._faults[which])
        if step.group is not None:
            event = int(np.searchsorted(self._offsets(lists, step.group), event, side="right")) - 1
        return misfit(self._program, self._plan, step.casts[which], first_event + event)

    def _output(self, content: int, valid: int | None, lists: Mapping[int, Lists], events: int) -> Column:
        group = self._plan.group_of(content)
        size = events if group is None else lists[group].size
        return Column(
            self._buffers[content][:size],
            None if group is None else self._offsets(lists, group),
            None if valid is None else self._buffers[valid][:size],
        )


def misfit(program: Program, plan: Schedule, cast: int, event: int) -> DataError:
    """Return the error for a value of ``event`` that does not fit what instruction ``cast`` of ``plan`` makes of it."""
    dtype = plan.instructions[cast].detail
    low, high = RANGES[dtype]
    there, here = ([n for n, i in enumerate(of.instructions) if i.operation == "cast"] for of in (program, plan))
    label = dict(program.labels).get(there[here.index(cast)]) or "a cast"  # a plan has other numbers, in the same order
    if dtype in CHECKS:
        return DataError(label.replace("{event}", str(event), 1), hint=CHECKS[dtype])
    return DataError(
        f"{label!r}: a value of event {event} does not fit {dtype}: it is NaN or not in {low} to {high}",
        hint="choose a wider dtype, or limit the values, for example with where(...), clip(...) or fill_none(...)",
    )
