"""Passes on a GPU: events are read, copied and computed at the same time, and what is computed stays on the device.

One thread reads a partition piece by piece, another puts blocks of it together in page-locked memory and queues their
copies, and the calling one queues what is computed: the device itself waits for a block to be there. So two pieces are
in memory, and two blocks on the device. Blocks are as large as the device's memory allows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import numpy as np

from fasthep_archive.data.source import EventSource
from fasthep_archive.errors import TaskError
from fasthep_archive.execution.ahead import ahead
from fasthep_archive.execution.plan import Work
from fasthep_archive.formula.columns import Column, sliced
from fasthep_archive.kernels.cuda.device import Device, OutOfMemory, Unprintable
from fasthep_archive.kernels.cuda.run import Block, DeviceKernel, Lane
from fasthep_archive.kernels.cuda.selftest import Watch
from fasthep_archive.kernels.cuda.tools import Tools
from fasthep_archive.kernels.program import Program
from fasthep_archive.operations import resident
from fasthep_archive.operations.protocol import State

BLOCK = 1 << 18
"""Most events per block: enough to keep a device busy for longer than it takes to ask it for something."""

SMALLEST = 1 << 10
"""Events per block below which a device is of no use."""

PIECE = 1 << 16
"""Events that are read at a time, at least, where clusters are smaller."""

LANES = 2
"""Blocks that are on a device at a time, as :func:`ahead` has items: one is computed, one is there or on its way."""

KERNELS = 64
"""Programs that are kept loaded."""


class DevicePasses:
    """Runs passes on one device, for one process; kernels stay loaded, and memory allocated."""

    def __init__(self, device: Device, cache: Path) -> None:
        """Prepare a device.

        :raises DataError: if there is no compiler. :raises TaskError: if the device doesn't take what it made.
        """
        self._cache = cache
        self._tools = Tools(device, cache)
        self._watch = Watch(device, cache)
        self._kernel = lru_cache(maxsize=KERNELS)(self._compiled)
        self._block = BLOCK
        self._lanes = self._fresh()

    @property
    def device(self) -> Device:
        """The device."""
        return self._tools.device

    def states(self, source: EventSource, work: Work, start: int, stop: int) -> Mapping[str, State]:
        """Return what each node adds up in a range of entries, the same as on the CPU.

        :raises Unprintable: if the program has something that CUDA has not, or functions that are not ours.
        :raises DataError: if a column is not what the program was built for, or a value doesn't fit what it is cast to.
        :raises TaskError: if the device doesn't compute as the profile says, or has no room for even small blocks.
        """
        if work.externals:
            called = ", ".join(dict.fromkeys(item.call.target for item in work.externals))
            raise Unprintable(f"{called} of the analysis's own code is called on the CPU")
        self._watch.refuse()
        while True:
            try:
                found = self._attempt(source, work, start, stop)
            except OutOfMemory:
                found = None
            if found is not None:
                self._watch.refuse()
                return found
            self._shrink(stop - start)  # here, where nothing refers to what the attempt had

    def _shrink(self, events: int) -> None:
        """Give back everything, and take half as large blocks from now on.

        :raises TaskError: if that is too small.
        """
        self.device.finish()  # what was queued may still use what is given back
        self._kernel.cache_clear()
        self._tools.release()
        self._block = min(self._block, events) // 2
        if self._block < SMALLEST:
            self._block = BLOCK
            free = self.device.free() / 1024**2
            raise TaskError(
                f"{self.device.description} has no room for blocks of {SMALLEST} events: {free:.0f} MiB are free",
                hint="end what else uses the GPU, or run with --device cpu",
            )

    def _attempt(self, source: EventSource, work: Work, start: int, stop: int) -> Mapping[str, State]:
        accumulators = [resident.started(fill.accumulation, self._tools, self._cache) for fill in work.fills]
        blocks = ahead(self._blocks(source, work, start, stop))
        try:
            for kernel, block, columns in blocks:
                outputs = kernel.run(block, work.scalars)
                for fill, accumulator in zip(work.fills, accumulators, strict=True):
                    accumulator.add([outputs[number] for number in fill.outputs], block.texts, columns)
                block.lane.release()
        except BaseException:
            blocks.close()
            self._lanes = self._fresh()  # what is queued may still use those
            raise
        return {fill.node: accumulator.state() for fill, accumulator in zip(work.fills, accumulators, strict=True)}

    def _blocks(
        self, source: EventSource, work: Work, start: int, stop: int
    ) -> Generator[tuple[DeviceKernel, Block, Mapping[str, Column]], None, None]:
        """Yield blocks of events that are copied to the device, with their columns on the host."""
        lanes = cycle(self._lanes)
        texts = resident.texts(fill.accumulation for fill in work.fills)
        read = ahead(_read(source, work, start, stop))
        try:
            for first_event, events, piece in read:
                dtypes = tuple((name, piece[name].content.dtype.str) for name in work.program.columns)
                kernel = self._kernel(work.program, dtypes)
                for begin in range(0, events, self._block):
                    end = min(begin + self._block, events)
                    columns, first = sliced(piece, begin, end), first_event + begin
                    yield (
                        kernel,
                        kernel.load(next(lanes), columns, end - begin, first_event=first, texts=texts),
                        columns,
                    )
        finally:
            read.close()

    def _fresh(self) -> tuple[Lane, ...]:
        return tuple(Lane(self.device) for _ in range(LANES))

    def _compiled(self, program: Program, dtypes: tuple[tuple[str, str], ...]) -> DeviceKernel:
        return DeviceKernel(program, {name: np.dtype(dtype) for name, dtype in dtypes}, self._tools, self._cache)


def _read(
    source: EventSource, work: Work, start: int, stop: int
) -> Generator[tuple[int, int, Mapping[str, Column]], None, None]:
    """Yield the first event, the number of events and the columns of pieces of a partition."""
    for first, last in _pieces(source, start, stop):
        yield first, last - first, source.read(work.branches, first, last)


def _pieces(source: EventSource, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield ranges that cover entries ``start`` to ``stop``, cut where nothing is decompressed twice."""
    bounds = [start, *(bound for bound in source.clusters() if start < bound < stop), stop]
    first = start
    for bound in bounds[1:]:
        if bound - first >= PIECE or bound == stop:
            if bound > first:
                yield first, bound
            first = bound
