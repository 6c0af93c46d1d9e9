"""``selftest``: whether this process, on this machine, computes what the numeric profile says."""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive import __version__
from fasthep_archive.archive.surroundings import AnyPath, surroundings
from fasthep_archive.context import NoProgress
from fasthep_archive.digest import JSON

if TYPE_CHECKING:
    from fasthep_archive.kernels.cuda.listing import Listing
    from fasthep_archive.kernels.selftest import SelfTest


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTested:
    """What the self-test found, and how long it took; a first run compiles what it tests.

    :ivar devices: the GPUs of this machine, each tested likewise.
    """

    found: SelfTest
    devices: Listing
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return self.found.passed and not self.devices.refused

    @property
    def exit_status(self) -> int:
        """0 if nothing failed, else 1."""
        return 0 if self.passed else 1

    def to_json(self) -> JSON:
        """Return all of it as JSON."""
        return {
            "passed": self.passed,
            "version": __version__,
            "digest": self.found.digest,
            "seconds": round(self.seconds, 3),
            "parts": [
                {"name": part.name, "tests": part.tests, "failures": list(part.failures)} for part in self.found.parts
            ],
            "suspects": list(self.found.suspects),
            "gpu": self.devices.to_json(),
        }


def selftest(*, cache: AnyPath | None = None) -> SelfTested:
    """Test the arithmetic of this process: its floating-point environment, golden vectors, exact sums, bins."""
    from fasthep_archive.kernels.cuda.listing import listing
    from fasthep_archive.kernels.selftest import thorough

    context = surroundings(cache, None, NoProgress())
    begun = time.perf_counter()
    _compile(context.cache / "kernels", context.workers)
    found = thorough(context.cache)
    devices = listing(context.cache)
    return SelfTested(found=found, devices=devices, seconds=time.perf_counter() - begun)


def _compile(directory: Path, workers: int) -> None:
    """Compile the elementary functions that ``directory`` lacks, on all cores: one by one they take four seconds."""
    from fasthep_archive.kernels import strip_code
    from fasthep_archive.kernels.elementary.rounded import NAMES

    missing = [name for name in NAMES if not strip_code.is_kept(name, directory)]
    workers = min(workers, len(missing))
    # without another process, or if one is lost, the test itself compiles what it needs
    with suppress(BrokenExecutor, OSError):
        if workers > 1:
            with ProcessPoolExecutor(max_workers=workers) as pool:
                list(pool.map(partial(strip_code.prepare, directory=directory), missing))
