"""A real GPU, through CuPy: nothing but what :mod:`fasthep_archive.kernels.cuda.device` asks for.

CuPy allocates, copies and launches; it compiles nothing, and none of its own kernels is used. Names and arguments are
those of CuPy's reference (``cupy.cuda.Memory``, ``PinnedMemory``, ``Stream``, ``Event``, ``cupy.cuda.runtime``,
``RawModule``), 13.6 and 14. Memory is CUDA's own, without CuPy's pools, which keep a block for each size that there
ever was: what is free can be asked for, and ``cudaFree`` and ``cudaFreeHost`` wait until the device is done (*CUDA C++
Programming Guide*: Stream Ordered Memory Allocator; Implicit Synchronization).
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fasthep_archive.errors import TaskError
from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels.cuda.device import Bytes, Code, Description, Given, OutOfMemory, Span

GROUP = 128
"""Threads of a group: the kernels need many registers."""

_MOST_GROUPS = 2**31 - 1
"""The largest grid; more threads than any memory has bytes."""

_NO_MEMORY = 2
"""``cudaErrorMemoryAllocation``, and ``CUDA_ERROR_OUT_OF_MEMORY`` of the driver."""

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64}


class CupyMemory:
    """Memory of the device, given back with the object."""

    def __init__(self, size: int) -> None:
        import cupy

        self.size = size
        with _memory_errors():
            self._memory = cupy.cuda.Memory(size)

    @property
    def address(self) -> int:
        return int(self._memory.ptr)


class CupyDevice:
    """The CUDA device of a number. A process that was forked after CUDA had been used can't open one."""

    def __init__(self, ordinal: int) -> None:
        import cupy

        self._ordinal = ordinal
        self._runtime = cupy.cuda.runtime
        self._use()
        self._copies, self._kernels = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
        self.description = described(ordinal)

    def free(self) -> int:
        self._use()
        return int(self._runtime.memGetInfo()[0])

    def allocate(self, size: int) -> CupyMemory:
        self._use()
        return CupyMemory(size)

    def staging(self, size: int) -> Bytes:
        import cupy

        self._use()
        with _memory_errors():
            memory = cupy.cuda.PinnedMemory(size)
        return np.frombuffer(cupy.cuda.PinnedMemoryPointer(memory, 0), np.uint8, size)

    def upload(self, target: Span, source: Bytes) -> CupyMark:
        self._use()
        kind = self._runtime.memcpyHostToDevice
        self._runtime.memcpyAsync(target.address, source.ctypes.data, source.nbytes, kind, self._copies.ptr)
        return CupyMark(self, self._copies)

    def mark(self) -> CupyMark:
        self._use()
        return CupyMark(self, self._kernels)

    def hold(self, event: Any) -> None:
        """Queue that kernels wait for an event of CuPy's."""
        self._use()
        self._kernels.wait_event(event)

    def clear(self, target: Span) -> None:
        self._use()
        self._runtime.memsetAsync(target.address, 0, target.size, self._kernels.ptr)

    def download(self, source: Span, target: Array) -> None:
        self._use()
        kind = self._runtime.memcpyDeviceToHost
        self._runtime.memcpyAsync(target.ctypes.data, source.address, target.nbytes, kind, self._kernels.ptr)
        self._kernels.synchronize()

    def finish(self) -> None:
        self._use()
        self._copies.synchronize()
        self._kernels.synchronize()

    def load(self, code: bytes) -> Code:
        self._use()
        return _Code(self, code)

    def launch(self, kernel: Any, threads: int, arguments: Sequence[Given]) -> None:
        """Queue a kernel of CuPy's."""
        self._use()
        words = tuple(_word(value) for value in arguments)
        groups = -(-threads // GROUP)
        assert 0 < groups <= _MOST_GROUPS, "a device refuses other grids"
        with _memory_errors(), self._kernels:  # its stack is allocated with the first launch
            kernel((groups,), (GROUP,), words)

    def _use(self) -> None:
        """Make this the device of the calling thread: each thread has its own."""
        self._runtime.setDevice(self._ordinal)


class CupyMark:
    """An event of CUDA's; whoever waits for it sleeps."""

    def __init__(self, device: CupyDevice, stream: Any) -> None:
        import cupy

        self._device = device
        self._event = cupy.cuda.Event(block=True, disable_timing=True)
        self._event.record(stream)

    def wait(self) -> None:
        self._event.synchronize()

    def hold(self) -> None:
        self._device.hold(self._event)


class _Code:
    """Kernels that were loaded; CuPy takes machine code from a file, and may read it again for each kernel."""

    def __init__(self, device: CupyDevice, code: bytes) -> None:
        import cupy

        self._device = device
        self._kernels: dict[str, Any] = {}
        directory = tempfile.mkdtemp(prefix="fasthep-archive-")
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        path = Path(directory) / "kernels.cubin"
        path.write_bytes(code)
        self._module = cupy.RawModule(path=str(path))
        try:
            with _memory_errors():
                self._module.compile()
        except OutOfMemory:
            raise
        except Exception as error:
            raise TaskError(f"{device.description} does not take code that was made for it: {error}") from error

    def launch(self, name: str, threads: int, arguments: Sequence[Given]) -> None:
        if name not in self._kernels:
            self._kernels[name] = self._module.get_function(name)
        self._device.launch(self._kernels[name], threads, arguments)


def devices() -> tuple[Description, ...]:
    """Return the GPUs that this process sees.

    :raises ImportError: if CuPy isn't there.
    :raises RuntimeError: if CUDA finds none, or no driver that is new enough.
    """
    import cupy

    return tuple(described(ordinal) for ordinal in range(cupy.cuda.runtime.getDeviceCount()))


def described(ordinal: int) -> Description:
    """Return what the device of a number is."""
    from cupy.cuda import runtime

    properties, driver = runtime.getDeviceProperties(ordinal), runtime.driverGetVersion()
    return Description(
        ordinal=ordinal,
        name=properties["name"].decode(),
        architecture=f"sm_{properties['major']}{properties['minor']}",
        driver=f"{driver // 1000}.{driver % 1000 // 10}",
        memory=int(properties["totalGlobalMem"]),
    )


def _word(value: Given) -> np.generic:
    """Return an argument with the size that it has in C."""
    return np.uint64(value.address) if isinstance(value, Span) else _NUMBERS[type(value)](value)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn CuPy's errors for memory that isn't there into ours."""
    import cupy

    try:
        yield
    except (cupy.cuda.memory.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        if error.status != _NO_MEMORY:
            raise
        raise OutOfMemory from error
