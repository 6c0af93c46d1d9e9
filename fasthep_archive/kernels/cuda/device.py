"""The seam to a GPU: all that is asked of one, so that everything above it can be tested where there is none.

:mod:`fasthep_archive.kernels.cuda.cupy_device` is the real one; the tests have one that runs the translated PTX on the
CPU. A device has two queues: copies to it are in one, everything else is in the other, and what is in one queue doesn't
wait for what is in the other, except for a mark that it is told to wait for. Calls come from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array

Bytes: TypeAlias = NDArray[np.uint8]

ALIGNED = 256
"""Where arrays begin that share memory: at multiples of this many bytes."""

SMALLEST = 8
"""Bytes of the smallest memory: kernels may read the first value of an array that has none, to throw it away."""


class OutOfMemory(Exception):
    """The device, or the memory of the host that it can copy from, has no room left."""


class Unprintable(DataError):
    """A program has something that CUDA has not: the CPU has to compute it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a device is.

    :ivar ordinal: its number among the devices that the process sees. :ivar architecture: such as ``sm_90``.
    :ivar driver: the CUDA version that the driver is made for. :ivar memory: in bytes.
    """

    ordinal: int
    name: str
    architecture: str
    driver: str
    memory: int

    def __str__(self) -> str:
        gib = self.memory / 1024**3
        return f"GPU {self.ordinal}: {self.name} ({self.architecture}, {gib:.0f} GiB, driver for CUDA {self.driver})"


class Memory(Protocol):
    """Memory of a device; it is given back when nothing refers to it, and not before the device is done with it."""

    @property
    def address(self) -> int:
        """Where it begins, a multiple of :data:`ALIGNED`."""

    @property
    def size(self) -> int:
        """How many bytes there are."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a device's memory: where it begins in it, and how many bytes it has."""

    memory: Memory
    start: int
    size: int

    @property
    def address(self) -> int:
        """Where it begins."""
        return self.memory.address + self.start

    def part(self, start: int, size: int) -> Span:
        """Return a piece of this piece."""
        assert start + size <= self.size, "a piece lies within"
        return Span(self.memory, self.start + start, size)


Given: TypeAlias = Span | bool | int | float
"""An argument of a kernel: the address of memory, or what C calls ``bool``, ``long long`` and ``double``."""


class Code(Protocol):
    """Kernels that a device has loaded."""

    def launch(self, name: str, threads: int, arguments: Sequence[Given]) -> None:
        """Queue kernel ``name`` for at least ``threads`` threads, one at least."""


class Mark(Protocol):
    """A place in one of a device's queues: behind all that was queued before (an event of CUDA's)."""

    def wait(self) -> None:
        """Wait until all before it has been done."""

    def hold(self) -> None:
        """Queue that what is queued from now on, except copies to the device, is done after it."""


class Device(Protocol):
    """A GPU."""

    @property
    def description(self) -> Description:
        """What it is."""

    def free(self) -> int:
        """Return how many bytes of its memory nobody uses."""

    def allocate(self, size: int) -> Memory:
        """Return memory of at least one byte, with any content.

        :raises OutOfMemory: if there is none left.
        """

    def staging(self, size: int) -> Bytes:
        """Return memory of the host that can be copied from while both compute (page-locked).

        :raises OutOfMemory: if there is none left.
        """

    def upload(self, target: Span, source: Bytes) -> Mark:
        """Queue a copy, and return the mark behind it: until then ``source`` must stay as it is.

        The copy goes on while the device computes if ``source`` is :meth:`staging` memory.
        """

    def mark(self) -> Mark:
        """Return a mark behind all that was queued, except copies to the device."""

    def clear(self, target: Span) -> None:
        """Queue that memory becomes 0."""

    def download(self, source: Span, target: Array) -> None:
        """Copy ``source``, as many bytes as ``target`` has, when all has been done that was queued before."""

    def finish(self) -> None:
        """Wait until everything has been done that was queued, copies to the device too."""

    def load(self, code: bytes) -> Code:
        """Return the kernels of machine code for this device's architecture, or of PTX.

        :raises TaskError: if the device doesn't take it.
        """


Opener: TypeAlias = Callable[[int], Device]
"""Opens the device of a number; travels to workers."""


def room(device: Device, size: int) -> Span:
    """Return new memory.

    :raises OutOfMemory: if there is none left.
    """
    return Span(device.allocate(max(size, SMALLEST)), 0, size)


def constant(device: Device, values: Array) -> Span:
    """Return an array's values on the device."""
    content = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    target = room(device, content.size)
    if content.size:
        device.upload(target, content).wait()
    return target


class Buffer:
    """Memory that grows as it is needed. What was in it is lost then."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._span: Span | None = None

    def span(self, size: int) -> Span:
        """Return memory of ``size`` bytes, the same as before if it is large enough.

        :raises OutOfMemory: if there is none left.
        """
        if self._span is None or self._span.size < size:
            wanted = size if self._span is None else max(size, self._span.size * 5 // 4)
            self._span = None  # given back first
            self._span = room(self._device, wanted)
        return self._span.part(0, size)


def word(device: Device, source: Span) -> int:
    """Return the int64 that stands in memory, when all has been done that was queued before."""
    found = np.empty(1, np.int64)
    device.download(source, found)
    return int(found[0])
