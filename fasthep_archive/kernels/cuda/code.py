"""CUDA C to what a device loads: compiled by NVRTC, held to the numeric profile, kept on disk.

Code is kept by content, architecture and release of NVRTC, in the user's own directory: nothing from a bundle enters
it. What is compiled is checked as PTX first (:mod:`fasthep_archive.kernels.cuda.ptx`), before any device gets it.
"""

from __future__ import annotations

from functools import cache as once
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import DataError
from fasthep_archive.kernels import objects
from fasthep_archive.kernels.cuda.device import Code, Description, Device
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
    nvrtc = required(device.description)
    return device.load(compiled(text, target(nvrtc, device.description), cache, nvrtc))


def compiled(text: str, architecture: str, cache: Path, nvrtc: Compiler) -> bytes:
    """Return the code of a text: machine code for ``sm_90``, PTX for ``compute_90``.

    :raises DataError: if the compiler refuses the text, or what it makes is not what the profile says.
    """
    key: dict[str, JSON] = {
        "source": digest.of_bytes(text.encode()),
        "architecture": architecture,
        "nvrtc": nvrtc.release or nvrtc.version(),
        "options": list(OPTIONS),
        "made by": _maker(),
    }

    def made() -> ObjectCode:
        return ObjectCode(code=_compiled(nvrtc, text, architecture), symbol="", returns="none")

    return objects.obtain(cache / "kernels", key, made).code


def required(description: Description) -> Compiler:
    """Return the NVRTC whose code a device's driver takes.

    :raises DataError: if there is none.
    """
    major = description.driver.partition(".")[0]
    if found := compiler(int(major) if major.isdecimal() else None):
        return found
    if newer := compiler():
        raise DataError(
            f"NVRTC {newer.version()}, which compiles kernels for GPUs, is newer than the driver, which is made for "
            f"CUDA {description.driver}",
            hint="update NVIDIA's driver, or pip install 'fasthep-archive[gpu]', which is for CUDA 12",
        )
    raise DataError(
        f"NVRTC, which compiles kernels for GPUs, is not installed: none of {', '.join(PACKAGES)} is",
        hint="pip install 'fasthep-archive[gpu]'",
    )


def target(nvrtc: Compiler, description: Description) -> str:
    """Return what a device is given: its machine code, or PTX that its driver finishes if NVRTC doesn't know it yet.

    :raises DataError: if the device is too old for NVRTC.
    """
    kind, _, number = description.architecture.partition("_")
    known = nvrtc.architectures()
    if kind == "compute" or int(number) in known:
        return description.architecture
    older = [one for one in known if one < int(number)]
    if older:
        return f"compute_{older[-1]}"
    raise DataError(
        f"NVRTC {nvrtc.version()} compiles for devices from sm_{known[0]} on, and this is {description.architecture}",
        hint="CUDA 12 has older devices too: pip install 'fasthep-archive[gpu]', without nvidia-cuda-nvrtc",
    )


def _compiled(nvrtc: Compiler, text: str, architecture: str) -> bytes:
    virtual = architecture.replace("sm_", "compute_")
    ptx = nvrtc.ptx(text, architecture=virtual)
    checked(ptx)
    return ptx.encode() if architecture == virtual else nvrtc.cubin(text, architecture=architecture)


@once
def _maker() -> Digest:
    here = Path(__file__).parent
    return digest.of_json([digest.of_bytes((here / name).read_bytes()) for name in _MAKERS])
