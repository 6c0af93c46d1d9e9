"""NVIDIA GPUs, asked through the driver's own library (NVML); an empty answer where there is none.

The functions and their signatures are those of NVML's API reference (``nvml.h``, version 2 of the entry points).
A GPU's UUID and serial number are not asked for.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader

_SUCCESS = 0
_TEXT = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE; the driver's version needs 80
_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"


class Nvml(Protocol):
    """What is used of the library; each function returns 0 on success and fills what it is given a reference to."""

    nvmlInit_v2: Callable[..., int]  # noqa: N815 - the library's names
    nvmlShutdown: Callable[..., int]  # noqa: N815
    nvmlSystemGetDriverVersion: Callable[..., int]  # noqa: N815
    nvmlSystemGetCudaDriverVersion_v2: Callable[..., int]  # noqa: N815
    nvmlDeviceGetCount_v2: Callable[..., int]  # noqa: N815
    nvmlDeviceGetHandleByIndex_v2: Callable[..., int]  # noqa: N815
    nvmlDeviceGetName: Callable[..., int]  # noqa: N815
    nvmlDeviceGetMemoryInfo: Callable[..., int]  # noqa: N815
    nvmlDeviceGetCudaComputeCapability: Callable[..., int]  # noqa: N815


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU.

    :ivar capability: CUDA compute capability, ``major.minor``.
    :ivar memory: bytes; none for a device that shares main memory with the processor and has none of its own.
    :ivar driver: version of the driver.
    :ivar cuda: newest CUDA version that the driver supports, ``major.minor``.
    """

    model: str
    capability: str
    memory: int | None
    driver: str
    cuda: str

    def to_json(self) -> JSON:
        return {
            "model": self.model,
            "capability": self.capability,
            "memory": self.memory,
            "driver": self.driver,
            "cuda": self.cuda,
        }

    @classmethod
    def from_json(cls, reader: Reader) -> Gpu:
        """Return the GPU that was recorded."""
        return cls(
            model=reader.text("model"),
            capability=reader.text("capability"),
            memory=reader.optional_integer("memory"),
            driver=reader.text("driver"),
            cuda=reader.text("cuda"),
        )


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs of this machine in the driver's order; none if there is no driver or it does not answer."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return ()
    return asked(library)


def asked(library: Nvml | ctypes.CDLL) -> tuple[Gpu, ...]:
    """Return the GPUs that ``library`` answers for; those that it can't describe are left out."""
    if not all(hasattr(library, function) for function in Nvml.__annotations__) or library.nvmlInit_v2() != _SUCCESS:
        return ()  # a driver from before these entry points, or one without a device
    try:
        driver = ctypes.create_string_buffer(_TEXT)
        cuda, count = ctypes.c_int(), ctypes.c_uint()
        answers = (
            library.nvmlSystemGetDriverVersion(driver, _TEXT),
            library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda)),
            library.nvmlDeviceGetCount_v2(ctypes.byref(count)),
        )
        if any(answers):
            return ()
        # 13010 is CUDA 13.1
        version = f"{cuda.value // 1000}.{cuda.value % 1000 // 10}"
        found = (_gpu(library, index, _decoded(driver), version) for index in range(count.value))
        return tuple(gpu for gpu in found if gpu)
    finally:
        library.nvmlShutdown()


def _gpu(library: Nvml | ctypes.CDLL, index: int, driver: str, cuda: str) -> Gpu | None:
    handle, memory = ctypes.c_void_p(), _Memory()
    major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(_TEXT)
    if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != _SUCCESS:
        return None
    answers = (
        library.nvmlDeviceGetName(handle, name, _TEXT),
        library.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)),
    )
    if any(answers):
        return None
    own = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == _SUCCESS
    return Gpu(
        model=_decoded(name),
        capability=f"{major.value}.{minor.value}",
        memory=memory.total if own else None,
        driver=driver,
        cuda=cuda,
    )


def _decoded(buffer: ctypes.Array[ctypes.c_char]) -> str:
    return buffer.value.decode("utf-8", errors="replace")
