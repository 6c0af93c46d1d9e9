"""The GPU of a task: opened where the task runs, once per process. Nothing of CUDA is imported where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.errors import TaskError
from fasthep_archive.kernels.cuda.device import Opener, OutOfMemory

if TYPE_CHECKING:
    from fasthep_archive.execution.device_pass import DevicePasses


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A GPU as a task takes it along: the one of the worker.

    :ivar opener: opens it. :ivar ordinals: of the GPUs that can be used; a worker that was given none takes the first.
    """

    opener: Opener
    ordinals: tuple[int, ...]

    def passes(self, cache: Path) -> DevicePasses:
        """Return the passes on this worker's GPU, which is opened once.

        :raises DataError: if there is no compiler.
        :raises TaskError: if the device has no memory, or doesn't take the code that was made for it.
        """
        return _opened(self.opener, _claimed[-1] if _claimed else self.ordinals[0], cache)


_claimed: list[int] = []
"""The number of the GPU that this process has, from its start to its end."""


def claim(ordinal: int) -> None:
    """Give this process a GPU of its own."""
    _claimed.append(ordinal)


@lru_cache(maxsize=8)
def _opened(opener: Opener, ordinal: int, cache: Path) -> DevicePasses:
    from fasthep_archive.execution.device_pass import DevicePasses

    try:
        return DevicePasses(opener(ordinal), cache)
    except OutOfMemory:
        pass
    raise TaskError(f"GPU {ordinal} has no memory left", hint="end what else uses it, or run with --device cpu")
