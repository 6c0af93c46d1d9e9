"""Which device computes which pass: what was asked for, what there is, and what becomes of it.

The device can't change a result, so it is in no key. It is in the record, and so is every fall-back from a GPU.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from fasthep_archive.errors import UsageError
from fasthep_archive.execution.scheduler import prepare_worker, process_pool
from fasthep_archive.execution.target import Target, claim
from fasthep_archive.kernels.cuda.cupy_device import CupyDevice
from fasthep_archive.kernels.cuda.device import Opener
from fasthep_archive.kernels.cuda.listing import INSTALL, Listing, listing

T = TypeVar("T")

Wanted: TypeAlias = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Where a task is computed.

    :ivar target: the GPU; none for the CPU. :ivar note: why not on a GPU that was asked for; to be told and recorded.
    """

    target: Target | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """What was asked for, and what there is.

    :ivar wanted: for the run (``--device``). :ivar preferred: by stage, where it has a preference of its own.
    :ivar listing: the GPUs; none: nobody has looked.
    """

    wanted: Wanted = "cpu"
    preferred: Mapping[str, Wanted] = field(default_factory=dict)
    listing: Listing | None = None
    opener: Opener = CupyDevice

    @property
    def ordinals(self) -> tuple[int, ...]:
        """The numbers of the GPUs that can be used."""
        return () if self.listing is None else tuple(device.ordinal for device in self.listing.devices)

    def looked(self, cache: Path) -> Devices:
        """Return the same with what there is: GPUs are looked for, and tested, unless the run is for the CPU.

        :raises UsageError: if a GPU was asked for on the command line and there is none.
        """
        if self.wanted == "cpu" or self.listing is not None:
            return self
        found = listing(cache)
        if self.wanted == "gpu" and not found.devices:
            raise absent(found)
        return replace(self, listing=found)

    def elsewhere(self, executor: str) -> Devices:
        """Return the same for workers on other machines, which compute on their CPUs: their GPUs are not known.

        :raises UsageError: if a GPU was asked for on the command line.
        """
        if self.wanted == "gpu":
            raise UsageError(f"--device gpu: with --executor {executor}, CPUs compute", hint="leave one of the two out")
        return replace(self, listing=Listing(lacking=f"with --executor {executor}, CPUs compute"))

    def choose(self, stages: Iterable[str]) -> Choice:
        """Return where a task of some stages is computed.

        :raises UsageError: if a GPU was asked for and there is none.
        """
        preferred = {stage: self.preferred[stage] for stage in stages if self.preferred.get(stage, "auto") != "auto"}
        found = self.listing or Listing()
        return choose(self.wanted, preferred, Target(opener=self.opener, ordinals=self.ordinals), found)


ON_CPU = Devices()
"""Nothing but the CPU, and no GPU was looked for."""


def choose(wanted: Wanted, preferred: Mapping[str, Wanted], target: Target, found: Listing) -> Choice:
    """Return where a task is computed.

    ``--device cpu`` and ``gpu`` are for the whole run; with ``auto`` the stages' preferences count, and a GPU is taken
    if there is one. A stage that is to run on the CPU takes the others of its pass along.

    :param preferred: of the task's stages that have a preference, by stage.
    :raises UsageError: if a GPU was asked for on the command line and there is none.
    """
    if wanted == "cpu":
        return Choice()
    on_cpu = [stage for stage, preference in preferred.items() if preference == "cpu"]
    on_gpu = [stage for stage, preference in preferred.items() if preference == "gpu"]
    if wanted == "gpu" and not found.devices:
        raise absent(found)
    if on_cpu:
        also = f", and {', '.join(on_gpu)} with it" if on_gpu else ""
        noted = wanted == "gpu" or bool(on_gpu)
        return Choice(note=f"{', '.join(on_cpu)} is to run on the CPU{also}: they share a pass" if noted else "")
    if found.devices:
        return Choice(target=target)
    if on_gpu:
        return Choice(note=f"{', '.join(on_gpu)} asks for a GPU; the CPU computes it: {why(found)}")
    return Choice(note=f"the CPU computes, not the GPU: {why(found)}" if found.refused else "")


def absent(found: Listing) -> UsageError:
    """Return the error of a run that asks for a GPU where there is none."""
    hint = "fasthep-archive selftest shows all that is wrong with it" if found.refused else INSTALL
    return UsageError(f"--device gpu: no GPU can be used: {why(found)}", hint=f"{hint}; or run with --device auto")


def why(found: Listing) -> str:
    """Return why there is no GPU."""
    return "; ".join(found.refused) or found.lacking or "none was looked for"


def pool(workers: int, ordinals: tuple[int, ...]) -> Executor:
    """Return workers for the CPU, and one for each GPU."""
    return DevicePool(workers, ordinals) if ordinals else process_pool(workers)


class DevicePool(Executor):
    """Workers for the CPU, and one more for each GPU: a task whose ``target`` is a GPU goes to one of those.

    GPU workers are started anew instead of forked: CUDA doesn't survive a fork.
    """

    def __init__(self, workers: int, ordinals: tuple[int, ...]) -> None:
        self._cpu = process_pool(workers)
        self._cpu.submit(int).result()  # its workers are forked now, before there are threads
        context = multiprocessing.get_context("spawn")
        numbers = context.SimpleQueue()
        for ordinal in ordinals:
            numbers.put(ordinal)
        self._gpu = ProcessPoolExecutor(
            max_workers=len(ordinals), mp_context=context, initializer=_start, initargs=(os.getpid(), numbers)
        )

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        """Run ``fn`` in a worker of its kind."""
        pool = self._cpu if getattr(fn, "target", None) is None else self._gpu
        return pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all workers."""
        for pool in (self._cpu, self._gpu):
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)


def _start(parent: int, numbers: multiprocessing.SimpleQueue[int]) -> None:
    prepare_worker(parent)
    claim(numbers.get())
