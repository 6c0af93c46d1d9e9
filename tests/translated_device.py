"""A GPU that is none: the seam :mod:`fasthep_archive.kernels.cuda.device` with translated PTX on the CPU.

It does everything as late as a GPU may: copies to it wait until somebody, or a kernel, waits for them, and kernels
until something is copied back. Its memory has any content at first, has guards around it, and an end. What is asked of
it is noted, in order.
"""

import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from ptx import Translated

from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels.cuda.cupy_device import CupyDevice
from fasthep_archive.kernels.cuda.device import ALIGNED, Bytes, Description, Device, Given, OutOfMemory, Span
from fasthep_archive.kernels.cuda.ptx import parsed

GUARD = 256
PATTERN, UNKNOWN = 0xA5, 0xEE


@lru_cache(maxsize=256)
def translated(code: bytes) -> Translated:
    return Translated(parsed(code.decode()))


class HostMemory:
    """Memory between guards; the device counts it until it is given back."""

    def __init__(self, device: "TranslatedDevice", size: int) -> None:
        self._device = device
        self.size = size
        self._all = np.full(size + 2 * GUARD + ALIGNED, PATTERN, np.uint8)
        self._start = GUARD + -(self._all.ctypes.data + GUARD) % ALIGNED
        self.content[:] = UNKNOWN

    @property
    def content(self) -> Bytes:
        return self._all[self._start : self._start + self.size]

    @property
    def address(self) -> int:
        return self._all.ctypes.data + self._start

    def check(self) -> None:
        before, after = self._all[: self._start], self._all[self._start + self.size :]
        assert (before == PATTERN).all(), "a kernel has written before its memory"
        assert (after == PATTERN).all(), "a kernel has written behind its memory"

    def __del__(self) -> None:
        self._device.used -= self.size


class TranslatedCode:
    def __init__(self, device: "TranslatedDevice", code: bytes) -> None:
        self._device = device
        self._module = translated(code)

    def launch(self, name: str, threads: int, arguments: Sequence[Given]) -> None:
        assert threads > 0, "a device refuses a launch of nothing"
        self._device.launches.append(name)
        self._device.queue(lambda: self._run(name, threads, arguments))

    def _run(self, name: str, threads: int, arguments: Sequence[Given]) -> None:
        given = [value.address if isinstance(value, Span) else value for value in arguments]
        self._module.run(name, threads, given)
        for value in arguments:
            if isinstance(value, Span):
                value.memory.check()  # type: ignore[attr-defined]


class Queue:
    """Work that is done in order, and as late as possible."""

    def __init__(self, lock: "threading.RLock") -> None:
        self._lock = lock
        self._work: list[Callable[[], None]] = []
        self._done = self._queued = 0

    def add(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._work.append(work)
            self._queued += 1

    def end(self) -> int:
        return self._queued

    def drain(self, end: int | None = None) -> None:
        """Do all work, or that before a place."""
        with self._lock:
            while self._work and (end is None or self._done < end):
                self._done += 1
                self._work.pop(0)()


class TranslatedMark:
    def __init__(self, device: "TranslatedDevice", queue: Queue, name: str) -> None:
        self._device, self._queue, self._end, self._name = device, queue, queue.end(), name

    def wait(self) -> None:
        self._device.note(f"wait for {self._name}")
        self._queue.drain(self._end)

    def hold(self) -> None:
        self._device.queue(lambda: self._queue.drain(self._end))


class TranslatedDevice:
    """Runs kernels on the CPU.

    :ivar used: bytes of memory that are in use. :ivar most: the most there ever were. :ivar launches: names, in order.
    :ivar notes: copies and marks, in order.
    """

    def __init__(self, ordinal: int = 0, *, memory: int = 1 << 30, architecture: str = "compute_80") -> None:
        self.description = Description(
            ordinal=ordinal, name="translated", architecture=architecture, driver="none", memory=memory
        )
        self.used = self.most = 0
        self.launches: list[str] = []
        self.notes: list[str] = []
        self._uploads = self._marks = 0
        self._lock = threading.RLock()
        self._copies, self._kernels = Queue(self._lock), Queue(self._lock)

    def free(self) -> int:
        return self.description.memory - self.used

    def allocate(self, size: int) -> HostMemory:
        assert size > 0, "a device refuses memory of nothing"
        if size > self.free():
            raise OutOfMemory
        self.used += size
        self.most = max(self.most, self.used)
        return HostMemory(self, size)

    def staging(self, size: int) -> Bytes:
        return np.full(size, UNKNOWN, np.uint8)

    def upload(self, target: Span, source: Bytes) -> TranslatedMark:
        assert target.size == source.size
        with self._lock:
            self._uploads += 1
            self.note(f"copy {self._uploads}")
            self._copies.add(lambda: _write(target, source))
            return TranslatedMark(self, self._copies, f"copy {self._uploads}")

    def mark(self) -> TranslatedMark:
        with self._lock:
            self._marks += 1
            self.note(f"mark {self._marks}")
            return TranslatedMark(self, self._kernels, f"mark {self._marks}")

    def clear(self, target: Span) -> None:
        self.queue(lambda: _content(target).fill(0))

    def download(self, source: Span, target: Array) -> None:
        self._kernels.drain()
        target.view(np.uint8)[:] = _content(source)[: target.nbytes]

    def finish(self) -> None:
        self._copies.drain()
        self._kernels.drain()

    def load(self, code: bytes) -> TranslatedCode:
        return TranslatedCode(self, code)

    def queue(self, work: Callable[[], None]) -> None:
        self._kernels.add(work)

    def note(self, what: str) -> None:
        self.notes.append(what)


def device() -> Device:
    """Return a device to test with: a GPU with ``FASTHEP_ARCHIVE_TEST_DEVICE=gpu``, where there is one."""
    return CupyDevice(0) if os.environ.get("FASTHEP_ARCHIVE_TEST_DEVICE") == "gpu" else TranslatedDevice()


def _content(span: Span) -> Bytes:
    return span.memory.content[span.start : span.start + span.size]  # type: ignore[attr-defined]


def _write(target: Span, source: Bytes) -> None:
    _content(target)[:] = source
