"""CUDA C to PTX, with NVIDIA's run-time compiler: our own call of it, as CuPy's adds ``-ftz=true``.

NVRTC needs no GPU. Its library is that of the package ``nvidia-cuda-nvrtc`` (CUDA 13) or ``nvidia-cuda-nvrtc-cu12``.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from fasthep_archive.errors import DataError

PACKAGES = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
"""Distributions that have the library; the first is taken that is installed and not too new for the driver."""

OPTIONS = ("--std=c++17", "--fmad=false", "-ftz=false", "-prec-div=true", "-prec-sqrt=true", "-diag-suppress=177,550")
"""Nothing contracted, subnormals kept, division and roots rounded; and no word about functions that aren't called."""

_LIBRARY = re.compile(r"(?:libnvrtc\.so\.\d+|nvrtc64_\d+_\d\.dll)$")
_PARTS = re.compile(r"(?:libnvrtc-builtins\.so\.[\d.]+|nvrtc-builtins64_\d+\.dll)$")
"""What the library opens by its bare name, and finds only if it is there already (CUDA 13.0)."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """NVRTC, loaded.

    :ivar release: of its package, such as ``13.5.37``.
    """

    library: ctypes.CDLL
    release: str = ""

    def version(self) -> str:
        """Return the version, such as ``13.5``."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def architectures(self) -> tuple[int, ...]:
        """Return the devices that there is machine code for, as 90 for ``sm_90``, in rising order."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", found)
        return tuple(sorted(found))

    def ptx(self, text: str, *, architecture: str = "compute_80") -> str:
        """Return the PTX of a text for all devices from ``architecture`` on.

        :raises DataError: with the compiler's message, if it refuses the text.
        """
        return self._compiled(text, architecture, "PTX").rstrip(b"\0").decode()

    def cubin(self, text: str, *, architecture: str) -> bytes:
        """Return the machine code of a text for one kind of device, such as ``sm_90``; needs no driver as new as NVRTC.

        :raises DataError: with the compiler's message, if it refuses the text.
        """
        return self._compiled(text, architecture, "CUBIN")

    def _compiled(self, text: str, architecture: str, form: str) -> bytes:
        program = ctypes.c_void_p()
        self._call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
        try:
            options = [option.encode() for option in (f"--gpu-architecture={architecture}", *OPTIONS)]
            listed = (ctypes.c_char_p * len(options))(*options)
            if self.library.nvrtcCompileProgram(program, len(options), listed):
                log = self._read(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
                raise DataError(f"NVRTC {self.version()} does not compile the code for the GPU: {log[:2000]}")
            return self._read(program, form)
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def _read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, content)
        return content.raw

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self.library, name)(*arguments):
            raise DataError(f"{name} of NVRTC failed with status {status}")


@cache
def compiler(newest: int | None = None) -> Compiler | None:
    """Return the installed compiler; none if there is none.

    :param newest: the version of CUDA that the driver is made for: machine code of newer ones is refused by it (*CUDA
        Compatibility*: any 12 runs what any 12 made). Without it all will do.
    """
    for package in PACKAGES:
        if not _libraries(package, _LIBRARY) or (newest is not None and _major(package) > newest):
            continue
        for path in _libraries(package, _PARTS):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        return Compiler(ctypes.CDLL(str(_libraries(package, _LIBRARY)[0])), version(package))
    return None


def _major(package: str) -> int:
    return int(version(package).partition(".")[0])


def _libraries(package: str, pattern: re.Pattern[str]) -> list[Path]:
    """Return the libraries in a distribution whose names match."""
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        return []
    paths = [Path(str(file.locate())) for file in listed if pattern.match(file.name)]
    return sorted(path for path in paths if path.is_file())
