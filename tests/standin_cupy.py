"""What CuPy offers of what we use, on the CPU: so that our calls of it run somewhere. Code is PTX instead of a cubin.

Names, arguments and results are those of CuPy 14.2; ``memory`` is what the device has left.
"""

import ctypes
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
from translated_device import HostMemory, TranslatedDevice, translated

ledger = TranslatedDevice()
calls: list[str] = []
current: list[object] = [None]


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__("cudaErrorMemoryAllocation: out of memory" if status == 2 else f"cudaError {status}")
        self.status = status


class OutOfMemoryError(MemoryError):
    pass


class Memory:
    """``cupy.cuda.Memory(size)``: given back with the object."""

    limit = 1 << 28

    def __init__(self, size: int) -> None:
        if ledger.used + size > self.limit:
            raise CUDARuntimeError(2)
        ledger.used += size
        self._memory = HostMemory(ledger, size)
        self.ptr, self.size = self._memory.address, size


class Stream:
    def __init__(self, *, non_blocking: bool = False) -> None:
        assert non_blocking, "the null stream would wait for everything"
        self.ptr = id(self)

    def __enter__(self) -> Self:
        current[0] = self
        return self

    def __exit__(self, *_: object) -> None:
        current[0] = None

    def synchronize(self) -> None:
        calls.append("synchronize")


def memcpy_async(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    assert kind in (1, 2), kind
    assert stream, "never on the null stream"
    ctypes.memmove(dst, src, size)


def memset_async(ptr: int, value: int, size: int, stream: int) -> None:
    assert stream, "never on the null stream"
    ctypes.memset(ptr, value, size)


class RawModule:
    def __init__(self, *, path: str) -> None:
        self._code = Path(path).read_bytes()

    def compile(self) -> None:
        self._module = translated(self._code)

    def get_function(self, name: str):
        def call(grid: tuple[int], block: tuple[int], args: tuple[np.generic, ...]) -> None:
            assert current[0] is not None, "launched on the null stream"
            assert block == (128,)
            sizes = {type(arg): arg.itemsize for arg in args}
            assert set(sizes) <= {np.uint64, np.int64, np.float64, np.bool_}, sizes
            self._module.run(name, grid[0] * block[0], [arg.item() for arg in args])

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
    driverGetVersion=lambda: 12080,
    memGetInfo=lambda: (Memory.limit - ledger.used, 1 << 30),
    memcpyAsync=memcpy_async,
    memsetAsync=memset_async,
)

cuda = SimpleNamespace(
    Memory=Memory,
    Stream=Stream,
    runtime=runtime,
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    alloc_pinned_memory=ctypes.create_string_buffer,
)


@contextmanager
def limited(size: int):
    """Leave the device so many bytes."""
    before, Memory.limit = Memory.limit, ledger.used + size
    try:
        yield
    finally:
        Memory.limit = before
