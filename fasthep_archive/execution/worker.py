"""What a worker does: passes and merges. Results go to the store; only small facts travel back."""

from __future__ import annotations

import pickle
import resource
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from fasthep_archive.data.source import EventSource, open_source
from fasthep_archive.digest import Digest
from fasthep_archive.errors import ArchiveError
from fasthep_archive.execution.plan import Merge, Partition, Work
from fasthep_archive.execution.store import Store
from fasthep_archive.formula.columns import sliced
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.program import Program
from fasthep_archive.kernels.selftest import refuse
from fasthep_archive.operations.protocol import Output, Part, State

BLOCK = 16_384
"""Events per block: a few columns of intermediate values fit the second-level cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What a finished task reports.

    :ivar seconds: wall time. :ivar cpu_seconds: of this process. :ivar peak_memory: largest so far, in bytes.
    :ivar failures: the error of each stage that could not be computed; the other stages of the pass are stored.
    """

    seconds: float
    cpu_seconds: float
    peak_memory: int
    failures: Mapping[str, BaseException] = field(default_factory=dict)


class MissingPart(Exception):
    """A merge lacks a part because the pass that makes it failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassTask:
    """Compute the parts of ``keys`` (stage to key) from one partition."""

    partition: Partition
    kind: str
    work: Work
    keys: Mapping[str, Digest]
    store: Store
    cache: Path

    def __call__(self) -> Done:
        """Run the pass and store each stage's state. When it fails, run it stage by stage to find which stage does.

        :raises TaskError: if this process does not compute as the profile says, and no stage is to blame.
        """
        clock = _Clock()
        refuse(self.cache)
        try:
            self._compute(self.work)
        except Exception as error:  # noqa: BLE001 - any failure is reported with the stage that it belongs to
            stages = [fill.stage for fill in self.work.fills]
            failures = {stages[0]: _portable(error)} if len(stages) == 1 else self._isolated()
            return replace(clock.done(), failures=failures)
        return clock.done()

    def _isolated(self) -> Mapping[str, BaseException]:
        failures = {}
        for fill in self.work.fills:
            try:
                self._compute(self.work.alone(fill))
            except Exception as error:  # noqa: BLE001 - see above
                failures[fill.stage] = _portable(error)
        return failures

    def _compute(self, work: Work) -> None:
        computed = states(self.partition, self.kind, work, self.cache)
        refuse(self.cache)  # what was loaded on the way, to read the file, can have changed how this process computes
        for stage, state in computed.items():
            self.store.put(self.keys[stage], state)


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeTask:
    """Merge the parts of one product."""

    merge: Merge
    store: Store
    cache: Path

    def __call__(self) -> Done:
        """Merge in plan order and store the product's files."""
        clock = _Clock()
        refuse(self.cache)
        outputs = self.merge.product.merge((self._part(*part) for part in self.merge.parts), self.cache)
        self.store.put(self.merge.key, encoded(outputs))
        return clock.done()

    def _part(self, dataset: str, key: Digest) -> Part:
        state = self.store.get(key)
        if state is None:
            raise MissingPart(key)
        return Part(dataset=dataset, state=state)


def states(partition: Partition, kind: str, work: Work, cache: Path) -> Mapping[str, State]:
    """Return what each stage adds up in ``partition``: read the branches once, compute block by block."""
    kernel = compiled(work.program, cache)
    source = _opened(kind, partition.file.path, partition.tree, partition.file.sha256)
    columns = source.read(work.branches, partition.start, partition.stop)
    accumulators = [fill.accumulation.start(cache) for fill in work.fills]
    events = partition.stop - partition.start
    for start in range(0, events, BLOCK):
        stop = min(start + BLOCK, events)
        block = sliced(columns, start, stop)
        outputs = kernel(block, work.scalars, stop - start, first_event=partition.start + start)
        for fill, accumulator in zip(work.fills, accumulators, strict=True):
            accumulator.add([outputs[number] for number in fill.outputs], block)
    return {fill.stage: accumulator.state() for fill, accumulator in zip(work.fills, accumulators, strict=True)}


def warm(work: Work, kind: str, partition: Partition, cache: Path) -> None:
    """Compile everything that a pass needs, before workers are started, by running it over no events.

    :raises TaskError: if this process does not compute as the profile says.
    """
    refuse(cache)
    kernel = compiled(work.program, cache)
    with open_source(kind, partition.file.path, partition.tree) as source:
        columns = source.read(work.branches, partition.start, partition.start)
    outputs = kernel(columns, work.scalars, 0)
    for fill in work.fills:
        accumulator = fill.accumulation.start(cache)
        accumulator.add([outputs[number] for number in fill.outputs], columns)
        accumulator.state()


@lru_cache(maxsize=4)
def _opened(kind: str, path: Path, tree: str, sha256: Digest) -> EventSource:  # noqa: ARG001 - part of the key
    """Return the events of a file, kept open: reading the metadata of a NanoAOD tree takes a quarter of a second.

    :param sha256: so that another file at the same place is not taken for this one.
    """
    return open_source(kind, path, tree).__enter__()


@lru_cache(maxsize=64)
def compiled(program: Program, cache: Path) -> Kernel:
    """Return the kernel of ``program``, made once per process."""
    return compile_program(program, cache=cache)


def encoded(outputs: Sequence[Output]) -> State:
    """Return a product's files as a state for the store."""
    import numpy as np

    return State(
        header=[output.name for output in outputs],
        arrays={str(n): np.frombuffer(output.content, np.uint8) for n, output in enumerate(outputs)},
    )


def decoded(state: State) -> tuple[Output, ...]:
    """Return a product's files from the store's state."""
    assert isinstance(state.header, Sequence)
    return tuple(Output(name=str(name), content=state.arrays[str(n)].tobytes()) for n, name in enumerate(state.header))


def _portable(error: Exception) -> BaseException:
    """Return ``error`` as something that survives the way to another process; a bug carries its traceback along."""
    if not isinstance(error, ArchiveError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object, to see whether it can travel
    except Exception:  # noqa: BLE001 - whatever goes wrong, it can't travel
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


class _Clock:
    def __init__(self) -> None:
        self.wall = time.perf_counter()
        self.cpu = time.process_time()

    def done(self) -> Done:
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB on Linux
        return Done(
            seconds=time.perf_counter() - self.wall,
            cpu_seconds=time.process_time() - self.cpu,
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        )
