"""What CuPy offers of what we use, on the CPU: so that our calls of it run somewhere. Code is PTX instead of a cubin.

Names, arguments and results are those of CuPy 13.6 and 14.2. As on a GPU, what is queued in a stream is done later, here
as late as possible: when somebody waits for it, or work of another stream does. What the host reads or overwrites too
early is wrong.
"""

import ctypes
import threading
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
from translated_device import HostMemory, TranslatedDevice, translated

ledger = TranslatedDevice()
calls: list[str] = []
current = threading.local()
lock = threading.RLock()
pinned: list[int] = []
streams: "weakref.WeakSet[Stream]" = weakref.WeakSet()


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__("cudaErrorMemoryAllocation: out of memory" if status == 2 else f"cudaError {status}")
        self.status = status


class CUDADriverError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__("CUDA_ERROR_OUT_OF_MEMORY: out of memory" if status == 2 else f"CUDA_ERROR {status}")
        self.status = status


class OutOfMemoryError(MemoryError):
    pass


class Memory:
    """``cupy.cuda.Memory(size)``: given back with the object, when the device is done with everything."""

    limit = 1 << 28

    def __init__(self, size: int) -> None:
        if ledger.used + size > self.limit:
            raise CUDARuntimeError(2)
        ledger.used += size
        self._memory = HostMemory(ledger, size)
        self.ptr, self.size = self._memory.address, size

    def __del__(self) -> None:
        if hasattr(self, "_memory"):
            free()


class PinnedMemory:
    """``cupy.cuda.PinnedMemory(size, flags=0)``."""

    def __init__(self, size: int, flags: int = 0) -> None:
        self.content = np.full(size, 0xEE, np.uint8)
        pinned.append(size)
        weakref.finalize(self.content, _unpin, size)


def _unpin(size: int) -> None:
    free()
    pinned.remove(size)


def pinned_memory_pointer(mem: PinnedMemory, offset: int) -> np.ndarray:
    """``cupy.cuda.PinnedMemoryPointer(mem, offset)``: a buffer that holds the memory."""
    return mem.content[offset:]


def free() -> None:
    """Do what ``cudaFree`` and ``cudaFreeHost`` do first."""
    for stream in list(streams):
        stream.drain()


class Stream:
    def __init__(self, *, non_blocking: bool = False) -> None:
        assert non_blocking, "the null stream would wait for everything"
        self.ptr = id(self)
        self._work: list[Callable[[], None]] = []
        self._done = self.queued = 0
        streams.add(self)

    def __enter__(self) -> Self:
        current.stream = self
        return self

    def __exit__(self, *_: object) -> None:
        current.stream = None

    def add(self, work: Callable[[], None]) -> None:
        with lock:
            self._work.append(work)
            self.queued += 1

    def drain(self, end: int | None = None) -> None:
        with lock:
            while self._work and (end is None or self._done < end):
                self._done += 1
                self._work.pop(0)()

    def synchronize(self) -> None:
        calls.append("synchronize")
        self.drain()

    def wait_event(self, event: "Event") -> None:
        stream, end = event.place
        self.add(lambda: stream.drain(end))


class Event:
    """``cupy.cuda.Event(block=False, disable_timing=False, interprocess=False)``."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        assert block, "whoever waits would keep a core busy"
        assert disable_timing, "nobody asks for its time"

    def record(self, stream: Stream) -> None:
        self.place = stream, stream.queued

    def synchronize(self) -> None:
        stream, end = self.place
        stream.drain(end)


def memcpy_async(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    assert kind in (1, 2), kind
    _stream(stream).add(lambda: _moved(dst, src, size))


def _moved(dst: int, src: int, size: int) -> None:
    ctypes.memmove(dst, src, size)


def memset_async(ptr: int, value: int, size: int, stream: int) -> None:
    _stream(stream).add(lambda: _set(ptr, value, size))


def _set(ptr: int, value: int, size: int) -> None:
    ctypes.memset(ptr, value, size)


def _stream(address: int) -> Stream:
    (found,) = (stream for stream in streams if stream.ptr == address)  # never the null stream
    return found


class RawModule:
    def __init__(self, *, path: str) -> None:
        self._code = Path(path).read_bytes()

    def compile(self) -> None:
        self._module = translated(self._code)

    def get_function(self, name: str):
        def call(grid: tuple[int], block: tuple[int], args: tuple[np.generic, ...]) -> None:
            assert current.stream is not None, "launched on the null stream"
            assert block == (128,)
            assert {type(arg) for arg in args} <= {np.uint64, np.int64, np.float64, np.bool_}
            given = [arg.item() for arg in args]
            current.stream.add(lambda: self._module.run(name, grid[0] * block[0], given))

        return call


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    memcpyHostToDevice=1,
    memcpyDeviceToHost=2,
    setDevice=lambda ordinal: calls.append(f"device {ordinal}"),
    getDeviceCount=lambda: 2,
    getDeviceProperties=lambda ordinal: {
        "name": f"stand-in {ordinal}".encode(),
        "major": 8,
        "minor": 0,
        "totalGlobalMem": 1 << 30,
    },
    driverGetVersion=lambda: 13000,
    memGetInfo=lambda: (Memory.limit - ledger.used, 1 << 30),
    memcpyAsync=memcpy_async,
    memsetAsync=memset_async,
)

cuda = SimpleNamespace(
    Memory=Memory,
    PinnedMemory=PinnedMemory,
    PinnedMemoryPointer=pinned_memory_pointer,
    Stream=Stream,
    Event=Event,
    runtime=runtime,
    driver=SimpleNamespace(CUDADriverError=CUDADriverError),
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
)


@contextmanager
def limited(size: int):
    """Leave the device so many bytes."""
    before, Memory.limit = Memory.limit, ledger.used + size
    try:
        yield
    finally:
        Memory.limit = before
