"""CUDA C to what a device loads: compiled by NVRTC, held to the numeric profile, kept on disk.

Code is kept by content, architecture and version of NVRTC, in the user's own directory: nothing from a bundle enters
it. What is compiled is checked as PTX first (:mod:`fasthep_archive.kernels.cuda.ptx`), before any device gets it.
"""

from __future__ import annotations

from functools import cache as once
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import DataError
from fasthep_archive.kernels import objects
from fasthep_archive.kernels.cuda.device import Code, Device
from fasthep_archive.kernels.cuda.nvrtc import OPTIONS, PACKAGES, Compiler, compiler
from fasthep_archive.kernels.cuda.ptx import checked
from fasthep_archive.kernels.objects import ObjectCode

_MAKERS = ("code.py", "nvrtc.py", "ptx.py")
"""The modules that decide what becomes of a text, and whether it may run."""


def loaded(device: Device, text: str, cache: Path) -> Code:
    """Return the kernels of a text of CUDA C, on the device; compiled code is kept below ``cache``.

    :raises DataError: if there is no compiler, it refuses the text, or what it makes is not what the profile says.
    :raises TaskError: if the device doesn't take the code.
    """
    return device.load(compiled(text, device.description.architecture, cache))


def compiled(text: str, architecture: str, cache: Path) -> bytes:
    """Return the code of a text: machine code for ``sm_90``, PTX for ``compute_90``.

    :raises DataError: if there is no compiler, it refuses the text, or what it makes is not what the profile says.
    """
    nvrtc = required()
    key: dict[str, JSON] = {
        "source": digest.of_bytes(text.encode()),
        "architecture": architecture,
        "nvrtc": nvrtc.version(),
        "options": list(OPTIONS),
        "made by": _maker(),
    }

    def made() -> ObjectCode:
        return ObjectCode(code=_compiled(nvrtc, text, architecture), symbol="", returns="none")

    return objects.obtain(cache / "kernels", key, made).code


def required() -> Compiler:
    """Return NVRTC.

    :raises DataError: if it isn't installed.
    """
    nvrtc = compiler()
    if nvrtc is None:
        raise DataError(
            f"NVRTC, which compiles kernels for GPUs, is not installed: none of {', '.join(PACKAGES)} is",
            hint="pip install 'fasthep-archive[gpu]'",
        )
    return nvrtc


def _compiled(nvrtc: Compiler, text: str, architecture: str) -> bytes:
    virtual = architecture.replace("sm_", "compute_")
    ptx = nvrtc.ptx(text, architecture=virtual)
    checked(ptx)
    return ptx.encode() if architecture == virtual else nvrtc.cubin(text, architecture=architecture)


@once
def _maker() -> Digest:
    here = Path(__file__).parent
    return digest.of_json([digest.of_bytes((here / name).read_bytes()) for name in _MAKERS])
