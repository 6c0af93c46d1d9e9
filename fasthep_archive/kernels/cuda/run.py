"""Programs on a device: what :class:`~fasthep_archive.kernels.compile.Kernel` is on the CPU.

Columns are copied to a device once for each block of events; all that is computed from them stays there. What the host
has to know in between, how many values were selected, is read back when something depends on it. Nobody waits for a
copy to the device but the device itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array, Column, ColumnType
from fasthep_archive.kernels import inputs
from fasthep_archive.kernels.compile import misfit
from fasthep_archive.kernels.cuda.code import loaded
from fasthep_archive.kernels.cuda.device import ALIGNED, Buffer, Bytes, Device, Given, Mark, Span, Unprintable, word
from fasthep_archive.kernels.cuda.loops import Launch
from fasthep_archive.kernels.cuda.source import cuda_source
from fasthep_archive.kernels.cuda.tools import ITEM, Resident, Tools
from fasthep_archive.kernels.emit import Argument
from fasthep_archive.kernels.inputs import Lists
from fasthep_archive.kernels.instructions import STRUCTURES
from fasthep_archive.kernels.program import Program
from fasthep_archive.kernels.schedule import Loop, Schedule, schedule

_SCALARS = {"bool": bool, "int64": int, "float64": float}


class Lane:
    """Memory for the columns of one block: on the host, where they are put together, and on the device.

    One thread loads it, another queues what uses it, and says so with :meth:`release` before it is loaded again.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._buffer = Buffer(device)
        self._staging: Bytes | None = None
        self._used: Mark | None = None

    def load(self, arrays: Sequence[Array]) -> tuple[list[Span], Mark]:
        """Return where arrays will be on the device, and the mark behind their copy, which is one for all of them.

        What the lane had before may still be in use: it is waited for.

        :raises OutOfMemory: if there is no room.
        """
        starts, total = [], 0
        for array in arrays:
            starts.append(total)
            total += -(-max(array.nbytes, 1) // ALIGNED) * ALIGNED
        if self._used is not None:
            self._used.wait()
        if self._staging is None or self._staging.size < total:
            self._staging = None
            self._staging = self._device.staging(max(total, 1))
        for start, array in zip(starts, arrays, strict=True):
            self._staging[start : start + array.nbytes] = array.view(np.uint8)
        target = self._buffer.span(total)
        self._used = copied = self._device.upload(target, self._staging[:total])
        return [target.part(start, array.nbytes) for start, array in zip(starts, arrays, strict=True)], copied

    def release(self) -> None:
        """Say that everything has been queued that uses what was loaded."""
        self._used = self._device.mark()


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """The columns of a run of events, on a device.

    :ivar lane: the memory that they are in, to be released when nothing more is queued that uses them.
    :ivar copied: the mark from which on they are there.
    :ivar arguments: contents and validity of columns, and the offsets of groups of structures.
    :ivar sizes: how many values the lists of each group have. :ivar texts: columns of texts, by name.
    """

    lane: Lane
    copied: Mark
    events: int
    first_event: int
    arguments: Mapping[Argument, Span]
    sizes: Mapping[int, int]
    texts: Mapping[str, Resident]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """A loop, the structures that it makes, and its place among all faults."""

    loop: Loop
    launch: Launch
    made: tuple[int, ...]
    first_fault: int


class DeviceKernel:
    """A program, compiled for a device. Calls share one set of buffers; blocks can be loaded while another runs."""

    def __init__(self, program: Program, dtypes: Mapping[str, np.dtype[np.generic]], tools: Tools, cache: Path) -> None:
        """Compile ``program`` for columns whose contents have the types ``dtypes``, or find it compiled.

        :raises Unprintable: if an instruction has no meaning in CUDA, or NVRTC doesn't make of it what the profile
            says: a loop may have more columns than a kernel has arguments, say.
        :raises TaskError: if the device doesn't take the code.
        """
        self._program = program
        self._plan = schedule(program)
        self._dtypes = {name: np.dtype(dtypes[name]) for name in program.columns}
        self._tools = tools
        try:
            source = cuda_source(program, self._dtypes)
            self._code = loaded(tools.device, source.text, cache)
        except DataError as error:
            raise Unprintable(error.message) from error
        self._steps = tuple(_steps(self._plan, source.launches))
        self._casts = sum(len(step.launch.casts) for step in self._steps)
        self._buffers = {number: Buffer(tools.device) for number in sorted(self._plan.stored)}
        self._domains = {name: self._domain(name) for name in program.columns}
        self._wanted = {argument for launch in source.launches for argument in launch.arguments}
        self._lane = Lane(tools.device)

    def __call__(
        self,
        columns: Mapping[str, Column],
        scalars: Mapping[str, bool | int | float],
        events: int,
        *,
        first_event: int = 0,
    ) -> tuple[Resident, ...]:
        """Return the program's outputs for a block of events, as ``Kernel`` does; they are on the device.

        :raises DataError: as ``Kernel`` does.
        :raises OutOfMemory: if the device has no room for so many events.
        """
        outputs = self.run(self.load(self._lane, columns, events, first_event=first_event), scalars)
        self._lane.release()
        return outputs

    def load(
        self, lane: Lane, columns: Mapping[str, Column], events: int, *, first_event: int = 0, texts: Sequence[str] = ()
    ) -> Block:
        """Return a block of events on the device; it will be there when ``run`` needs it, until the lane is released.

        :param columns: at least those of the program, with contents of the types that it was compiled for, and texts.
        :raises DataError: if a column is not what the program was built for, or lists that are combined differ.
        :raises OutOfMemory: if there is no room.
        """
        arrays, sizes = self._checked(columns, events, first_event)
        for name in texts:
            arrays[_codes(name)] = np.ascontiguousarray(columns[name].content, np.int64)
            if (valid := columns[name].valid) is not None:
                arrays[_text_valid(name)] = np.ascontiguousarray(valid)
        places, copied = lane.load([*arrays.values()])
        spans = dict(zip(arrays, places, strict=True))
        resident = {
            name: Resident(
                dtype="text",
                content=spans[_codes(name)],
                size=columns[name].content.size,
                valid=spans.get(_text_valid(name)),
                words=columns[name].words,
            )
            for name in texts
        }
        return Block(
            lane=lane,
            copied=copied,
            events=events,
            first_event=first_event,
            arguments=spans,
            sizes=sizes,
            texts=resident,
        )

    def run(self, block: Block, scalars: Mapping[str, bool | int | float]) -> tuple[Resident, ...]:
        """Return the program's outputs for a block; they are overwritten by the next run.

        :raises DataError: if a value does not fit what it is cast to; of all casts, in the order of the loops.
        :raises OutOfMemory: if there is no room.
        """
        given = {Argument("scalar", name): _SCALARS[dtype](scalars[name]) for name, dtype in self._program.scalars}
        block.copied.hold()
        run = _Run(self._plan, self._tools, self._buffers, block, given)
        faults = self._tools.words("faults", self._casts)
        self._tools.launch("fill_words", self._casts, faults, -1)
        for step in self._steps:
            if step.launch.casts:
                run.given[Argument("faults")] = faults.part(ITEM * step.first_fault, ITEM * len(step.launch.casts))
            self._launch(step, run)
        if self._casts:
            self._refuse_misfits(faults, run)
        return tuple(run.output(content, valid) for content, valid in self._plan.outputs)

    def _launch(self, step: _Step, run: _Run) -> None:
        """Queue one loop: where turns number values, these are counted first and the counts are added up."""
        launch = step.launch
        run.reserve(launch.arguments)
        arguments = [run.argument(argument) for argument in launch.arguments]
        turns = run.argument(launch.turns)
        assert isinstance(turns, int), "turns are a number"
        counters = [self._tools.words(f"counter {number}", turns + 1) for number in range(launch.counters)]
        if counters:
            self._code.launch(f"{launch.name}_count", turns + 1, [*arguments, *counters])
            for counter in counters:
                self._tools.running(counter, turns + 1)
        self._code.launch(launch.name, turns + 1, [*arguments, *counters])
        for number in step.made:
            run.take(number)

    def _refuse_misfits(self, faults: Span, run: _Run) -> None:
        found = np.empty(self._casts, np.int64)
        self._tools.device.download(faults, found)
        if found.max() < 0:
            return
        which = int((found >= 0).argmax())
        step = next(step for step in reversed(self._steps) if step.first_fault <= which and step.launch.casts)
        event = int(found[which])
        if step.loop.group is not None:
            event = int(np.searchsorted(run.downloaded_offsets(step.loop.group), event, side="right")) - 1
        cast = step.launch.casts[which - step.first_fault]
        raise misfit(self._program, self._plan, cast, run.block.first_event + event)

    # Columns on their way to the device

    def _domain(self, name: str) -> int | None:
        found = (i for i in self._plan.instructions if i.operation in {"column", "valid"} and i.detail == name)
        return next(found).domain

    def _checked(
        self, columns: Mapping[str, Column], events: int, first_event: int
    ) -> tuple[dict[Argument, Array], dict[int, int]]:
        """Return what is copied of some columns, and the sizes of groups."""
        arrays: dict[Argument, Array] = {}
        found: dict[int, Lists] = {}
        for name, expected in zip(self._program.columns, self._program.types, strict=True):
            if name not in columns:
                raise DataError(f"column {name!r} is missing")
            column = columns[name]
            size = inputs.size(name, column, expected, events)
            domain = self._domains[name]
            if domain is not None:
                if domain not in found:
                    found[domain] = inputs.lists(name, column, events)
                if (known := found[domain]).size != size:
                    raise DataError(f"columns {known.name!r} and {name!r} have different numbers of values")
            arrays |= self._contents(name, column, expected)
        for first, second in self._plan.checks:
            inputs.same(found[first], found[second], first_event)
        sizes: dict[int, int] = {}
        for domain, group in self._plan.groups.items():
            if domain in found and group not in sizes:
                sizes[group] = found[domain].size
                offsets = found[domain].offsets
                assert offsets is not None, "columns have offsets"
                arrays[Argument("offsets", number=group)] = offsets
        return arrays, sizes

    def _contents(self, name: str, column: Column, expected: ColumnType) -> dict[Argument, Array]:
        """Return the content and the validity of a column, as far as the loops want them."""
        content = inputs.content(name, column, expected)
        assert content.dtype == self._dtypes[name], "kernels are compiled for the types of the file"
        kinds = {Argument("column", name): content, Argument("valid", name): inputs.validity(name, column, expected)}
        return {argument: array for argument, array in kinds.items() if array is not None and argument in self._wanted}


def _codes(text: str) -> Argument:
    """Return what stands for the content of a column of texts among arguments; no loop takes it."""
    return Argument("column", text, -1)


def _text_valid(text: str) -> Argument:
    return Argument("valid", text, -1)


def _steps(plan: Schedule, launches: Sequence[Launch]) -> Sequence[_Step]:
    steps, faults = [], 0
    for loop, launch in zip(plan.loops, launches, strict=True):
        made = tuple(number for number in loop.body if plan.instructions[number].operation in STRUCTURES)
        steps.append(_Step(loop=loop, launch=launch, made=made, first_fault=faults))
        faults += len(launch.casts)
    return steps


@dataclass(slots=True)
class _Run:
    """What is known while a block is computed.

    :ivar given: arguments of loops. :ivar sizes: of groups. :ivar unread: where the sizes of other groups stand.
    """

    plan: Schedule
    tools: Tools
    buffers: Mapping[int, Buffer]
    block: Block
    given: dict[Argument, Given]
    sizes: dict[int, int] = field(init=False)
    unread: dict[int, Span] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.given |= self.block.arguments
        self.given[Argument("events")] = self.block.events
        self.sizes = dict(self.block.sizes)
        for domain, group in self.plan.groups.items():
            instruction = self.plan.instructions[domain]
            if instruction.operation == "fixed" and group not in self.sizes:
                offsets = self.tools.words(f"offsets {group}", self.block.events + 1)
                self.tools.launch("multiples", self.block.events + 1, offsets, int(instruction.detail))
                self.given[Argument("offsets", number=group)] = offsets
                self.sizes[group] = int(instruction.detail) * self.block.events

    def argument(self, argument: Argument) -> Given:
        """Return what a loop is called with."""
        if argument.kind == "size":
            return self.size(argument.number)
        if argument.kind == "offsets":
            return self.offsets(argument.number)
        return self.given[argument]

    def size(self, group: int) -> int:
        """Return how many values the lists of a group have; it is read back if it was computed."""
        if group not in self.sizes:
            self.sizes[group] = word(self.tools.device, self.unread[group])
        return self.sizes[group]

    def offsets(self, group: int) -> Span:
        """Return the offsets of a group; a selection has running counts, looked up where the events begin."""
        argument = Argument("offsets", number=group)
        if argument not in self.given:
            within = self._within(group)
            offsets = self.tools.words(f"offsets {group}", self.block.events + 1)
            counts = self.given[Argument("buffer", number=group)]
            self.tools.launch("looked_up", self.block.events + 1, offsets, counts, self.offsets(within))
            self.given[argument] = offsets
        found = self.given[argument]
        assert isinstance(found, Span), "offsets are an array"
        return found

    def downloaded_offsets(self, group: int) -> Array:
        """Return the offsets of a group on the host."""
        found = np.empty(self.block.events + 1, np.int64)
        self.tools.device.download(self.offsets(group), found)
        return found

    def reserve(self, arguments: Sequence[Argument]) -> None:
        """Make room for all that a loop stores."""
        for argument in arguments:
            if argument.kind == "out":
                span = self.buffers[argument.number].span(self._bytes(argument.number))
                self.given[argument] = span
                self.given[Argument("buffer", number=argument.number)] = span

    def take(self, structure: int) -> None:
        """Take over a structure that a loop has made, unless there is one that is equal."""
        group = self.plan.groups[structure]
        if group in self.sizes or group in self.unread:
            return
        made = self.given[Argument("buffer", number=structure)]
        assert isinstance(made, Span), "structures are arrays"
        selects = self.plan.instructions[structure].operation == "select"
        last = self.size(self._within(structure)) if selects else self.block.events
        self.unread[group] = made.part(ITEM * last, ITEM)
        if not selects:
            self.given[Argument("offsets", number=group)] = made.part(0, ITEM * (self.block.events + 1))

    def output(self, content: int, valid: int | None) -> Resident:
        """Return a result of the program."""
        group = self.plan.group_of(content)
        return Resident(
            dtype=self.plan.instructions[content].dtype,
            content=self._buffer(content),
            size=self.block.events if group is None else self.size(group),
            offsets=None if group is None else self.offsets(group),
            valid=None if valid is None else self._buffer(valid),
        )

    def _buffer(self, number: int) -> Span:
        found = self.given[Argument("buffer", number=number)]
        assert isinstance(found, Span), "results are arrays"
        return found

    def _within(self, selection: int) -> int:
        """Return the group that a selection was made from."""
        source = self.plan.group(self.plan.instructions[selection].arguments[0])
        assert source is not None, "lists are selected from"
        return source

    def _bytes(self, number: int) -> int:
        """Return the most bytes that the result of an instruction can have."""
        instruction = self.plan.instructions[number]
        if instruction.operation == "select":
            return ITEM * (self.size(self._within(number)) + 1)
        if instruction.operation in STRUCTURES:
            return ITEM * (self.block.events + 1)
        group = self.plan.group_of(number)
        count = self.block.events if group is None else self._most(group)
        return count if instruction.dtype == "bool" else ITEM * count

    def _most(self, group: int) -> int:
        """Return the most values that the lists of a group can have: of one that is being made, from its source."""
        if group in self.sizes or group in self.unread:
            return self.size(group)
        made = self.plan.instructions[group]
        assert made.operation in {"select", "lengthen"}, "others are made by a loop of their own"
        added = int(made.detail) * self.block.events if made.operation == "lengthen" else 0
        return self.size(self._within(group)) + added
