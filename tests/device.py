"""Kernels on a GPU, through CuPy: what :mod:`ptx` does on the CPU. Nobody needs it who has no GPU."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from fasthep_archive.kernels.cuda.nvrtc import Compiler

BLOCK = 128


@cache
def architecture() -> str:
    """Return the kind of the device, such as ``sm_90``."""
    import cupy

    return f"sm_{cupy.cuda.Device().compute_capability}"


class OnDevice:
    """The kernels of a text of CUDA C as machine code of the device, which our own call of NVRTC has made."""

    def __init__(self, compiler: Compiler, text: str) -> None:
        import cupy

        directory = tempfile.mkdtemp(prefix="fasthep-archive-")  # CuPy may read the file again for each kernel
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        path = Path(directory) / "kernels.cubin"
        path.write_bytes(compiler.cubin(text, architecture=architecture()))
        self.module = cupy.RawModule(path=str(path))
        self.module.compile()

    def launch(self, name: str, threads: int, arguments: Sequence[object]) -> None:
        """Launch kernel ``name`` on arrays of the device and numbers, and don't wait for it."""
        groups = max(-(-threads // BLOCK), 1)
        self.module.get_function(name)((groups,), (BLOCK,), tuple(map(_scalar, arguments)))

    def run(self, name: str, threads: int, arguments: Sequence[object]) -> None:
        """Run kernel ``name`` on arrays of the host, which are copied there and back, and numbers."""
        import cupy

        moved = [cupy.asarray(value) if isinstance(value, np.ndarray) else value for value in arguments]
        self.launch(name, threads, moved)
        for value, there in zip(arguments, moved, strict=True):
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = there.get()


def _scalar(value: object) -> object:
    """Return a number with the size that it has in C."""
    kinds = {bool: np.bool_, np.bool_: np.bool_, int: np.int64, np.int64: np.int64, float: np.float64}
    kind = kinds.get(type(value), np.float64 if isinstance(value, np.floating) else None)
    return value if kind is None else kind(value)
