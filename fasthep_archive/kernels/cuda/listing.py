"""Which GPUs there are and whether they compute as the profile says; a program, as well as a module.

    python -P -m fasthep_archive.kernels.cuda.listing CACHE

prints it as JSON. Whoever starts workers asks in a process of its own: a process that has used CUDA can't fork others
that do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from fasthep_archive.digest import JSON
from fasthep_archive.errors import ArchiveError
from fasthep_archive.kernels.cuda import cupy_device
from fasthep_archive.kernels.cuda.device import Description, Device, Opener, OutOfMemory
from fasthep_archive.kernels.cuda.nvrtc import PACKAGES, compiler

INSTALL = "pip install 'fasthep-archive[gpu]', and NVIDIA's driver for CUDA 12 or newer"
"""What has to be done to use a GPU."""

_SECONDS = 600
"""After which a device is given up that doesn't answer; compiling everything takes seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The GPUs of this machine.

    :ivar devices: those that passed the self-test. :ivar refused: the others, each with the reason.
    :ivar lacking: what was looked for and not found, if no device was found at all.
    """

    devices: tuple[Description, ...] = ()
    refused: tuple[str, ...] = ()
    lacking: str = ""

    def to_json(self) -> JSON:
        """Return the listing as JSON."""
        return {
            "devices": [asdict(device) for device in self.devices],
            "refused": list(self.refused),
            "lacking": self.lacking,
        }


def listing(cache: Path) -> Listing:
    """Return the GPUs that this process sees, each tested; CUDA is used in another process, if at all."""
    if lacking := _not_installed():
        return Listing(lacking=lacking)
    command = [sys.executable, "-P", "-m", __name__, str(cache)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return Listing(lacking=f"the search for GPUs has not ended after {_SECONDS} seconds")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        told = done.stderr.strip().splitlines() or ["nothing was said"]
        return Listing(lacking=f"the search for GPUs ended with status {done.returncode}: {told[-1][:500]}")
    return Listing(
        devices=tuple(Description(**device) for device in found["devices"]),
        refused=tuple(found["refused"]),
        lacking=found["lacking"],
    )


def passing(descriptions: Sequence[Description], opener: Opener, cache: Path) -> Listing:
    """Return which of some devices pass the self-test; for :func:`listing`, in this process."""
    refused, passed = [], []
    for description in descriptions:
        if reason := _reason(description, opener, cache):
            refused.append(f"{description}: {reason}")
        else:
            passed.append(description)
    return Listing(devices=tuple(passed), refused=tuple(refused))


def _reason(description: Description, opener: Opener, cache: Path) -> str:
    """Return why a device can't be used; nothing if it can."""
    try:
        failures = failing(opener(description.ordinal), cache)
    except OutOfMemory:
        return "there is no memory left for its self-test"
    except ArchiveError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - whatever CUDA's libraries raise, the device can't be used
        return f"{type(error).__name__}: {error}"
    more = f", and {len(failures) - 1} more like that" if len(failures) > 1 else ""
    return f"the self-test failed: {failures[0]}{more}" if failures else ""


def failing(device: Device, cache: Path) -> tuple[str, ...]:
    """Return what fails in the self-test of a device."""
    from fasthep_archive.kernels.cuda import selftest
    from fasthep_archive.kernels.cuda.tools import Tools

    parts = selftest.thorough(Tools(device, cache), cache)
    return tuple(failure for part in parts for failure in part.failures)


def _not_installed() -> str:
    """Return what is lacking of the packages; nothing if they are there."""
    if find_spec("cupy") is None:
        return "CuPy is not installed"
    return "" if compiler() else f"NVRTC ({' or '.join(PACKAGES)}) is not installed"


def _search(cache: Path) -> Listing:
    try:
        descriptions = cupy_device.devices()
    except ImportError as error:
        return Listing(lacking=f"CuPy can't be imported: {error}")
    except RuntimeError as error:
        return Listing(lacking=f"CUDA finds no device: {error}")
    found = passing(descriptions, cupy_device.CupyDevice, cache)
    return found if descriptions else Listing(lacking="CUDA finds no device")


def main(arguments: Sequence[str]) -> int:
    """Print the listing as JSON."""
    (cache,) = arguments
    sys.stdout.write(json.dumps(_search(Path(cache)).to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
