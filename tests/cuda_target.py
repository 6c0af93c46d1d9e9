"""Programs and functions on the CUDA target: printed, compiled by NVRTC, checked, and run on the CPU as PTX.

With ``FASTHEP_ARCHIVE_TEST_DEVICE=gpu`` they run on the GPU instead, through CuPy; ``bench/gpu.py`` does that.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from device import OnDevice
from ptx import Translated

from fasthep_archive.kernels.compile import Kernel
from fasthep_archive.kernels.cuda import fills_source, remainder
from fasthep_archive.kernels.cuda.nvrtc import Compiler, compiler
from fasthep_archive.kernels.cuda.ptx import checked
from fasthep_archive.kernels.cuda.source import CudaSource, cuda_source, functions_source
from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.emit import emit
from fasthep_archive.kernels.program import Program
from fasthep_archive.kernels.schedule import schedule


def nvrtc() -> Compiler:
    """Return the compiler; tests are skipped where it isn't installed."""
    found = compiler()
    if found is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc (CUDA 13; Linux and Windows)")
    return found


def translated(text: str, architecture: str = "compute_80") -> Translated | OnDevice:
    """Return the kernels of a text, ready to run."""
    module = checked(nvrtc().ptx(text, architecture=architecture))
    return OnDevice(nvrtc(), text) if os.environ.get("FASTHEP_ARCHIVE_TEST_DEVICE") == "gpu" else Translated(module)


@cache
def functions(architecture: str) -> Translated | OnDevice:
    """Return the elementary functions and their accurate phases."""
    names = [f"{name}_{phase}" for name in rounded.NAMES for phase in ("rounded", "exact")]
    return translated(functions_source(rounded, names), architecture)


@cache
def remainders() -> Translated | OnDevice:
    return translated(functions_source(remainder, ["rest"]))


@cache
def fills() -> Translated | OnDevice:
    return translated(functions_source(fills_source, fills_source.NAMES))


def on_ptx(name: str, columns: Sequence[np.ndarray], module: Translated | OnDevice) -> np.ndarray:
    """Return what a function's PTX gives."""
    columns = [np.ascontiguousarray(column, np.float64) for column in columns]
    out = np.full(columns[0].size, 7.7)
    module.run(name, out.size, [out.size, out, *columns])
    return out


class Loop:
    """A loop of a program, run as its PTX; what the caller of a kernel with counters has to do is here too."""

    def __init__(self, source: CudaSource, number: int, module: Translated | OnDevice) -> None:
        self.launch = source.launches[number]
        self.module = module

    def __call__(self, *values: object) -> None:
        turns = int(values[self.launch.arguments.index(self.launch.turns)])
        counts = [np.full(turns + 1, -1, np.int64) for _ in range(self.launch.counters)]
        if counts:
            self.run(f"{self.launch.name}_count", turns, values, counts)
        sums = [np.concatenate([[0], np.cumsum(count[:-1])]).astype(np.int64) for count in counts]
        self.run(self.launch.name, turns, values, sums)

    def run(self, name: str, turns: int, values: Sequence[object], arrays: list[np.ndarray]) -> None:
        self.module.run(name, turns + 1, [*values, *arrays])


def kernel_on_ptx(
    program: Program, columns: Mapping[str, np.dtype] | None = None, architecture: str = "compute_80"
) -> Kernel:
    """Return a program as a kernel whose loops are PTX. ``columns``: types of contents, as promoted if not given."""
    types = dict(zip(program.columns, program.types, strict=True))
    dtypes = columns or {name: np.dtype(kind.dtype) for name, kind in types.items()}
    source = cuda_source(program, dtypes)
    module = translated(source.text, architecture)
    plan = schedule(program)
    sources = [emit(plan, loop) for loop in plan.loops]
    return Kernel(program, plan, sources, [Loop(source, number, module) for number in range(len(sources))])
