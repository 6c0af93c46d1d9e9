"""What a worker does: passes, merges, derivations. Results go to the store; only small facts travel back."""

from __future__ import annotations

import pickle
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from fasthep_archive.data.source import open_events
from fasthep_archive.data.values import Values
from fasthep_archive.digest import Digest
from fasthep_archive.errors import ArchiveError, DataError, TaskError
from fasthep_archive.execution.calling import Calls, Taken, computed, empty
from fasthep_archive.execution.opened import opened
from fasthep_archive.execution.plan import Derived, Merge, Partition, PartOf, Work
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.target import Target
from fasthep_archive.formula.columns import sliced
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.cuda.device import Unprintable
from fasthep_archive.kernels.program import Program
from fasthep_archive.kernels.selftest import refuse
from fasthep_archive.operations.protocol import Bringing, Output, Part, State

CPU = "cpu"
"""How the processor is called among devices."""

BLOCK = 16_384
"""Events per block: a few columns of intermediate values fit the second-level cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What a finished task reports.

    :ivar seconds: wall time. :ivar cpu_seconds: of this process. :ivar peak_memory: largest so far, in bytes.
    :ivar failures: the error of each node that could not be computed; the others of the pass are stored.
    :ivar device: what has computed it. :ivar notes: why that was not the GPU that was asked for.
    """

    seconds: float
    cpu_seconds: float
    peak_memory: int
    failures: Mapping[str, BaseException] = field(default_factory=dict)
    device: str = CPU
    notes: tuple[str, ...] = ()


class MissingPart(Exception):
    """A task lacks a result because the one that makes it failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number that a stage has left in the store: the key of its files, and its name in the first of these."""

    key: Digest
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PassTask:
    """Compute the parts of ``keys`` (node to key) from one partition.

    :ivar values: numbers that the program takes and that other stages have left, by the name of its scalar.
    :ivar taken: the keys of the products that functions can see, by node.
    :ivar shelf: where code lies that is not ours; none: in the store.
    :ivar target: the GPU; none for the CPU. :ivar note: why it is not a GPU that was asked for.
    """

    partition: Partition
    work: Work
    keys: Mapping[str, Digest]
    store: Store
    cache: Path
    values: Mapping[str, Number] = field(default_factory=dict)
    taken: Mapping[str, Digest] = field(default_factory=dict)
    shelf: Store | None = None
    target: Target | None = None
    note: str = ""

    def __call__(self) -> Done:
        """Run the pass and store each node's state. When it fails, run it node by node to find which one does.

        :raises TaskError: if this process does not compute as the profile says, and no node is to blame.
        """
        clock = _Clock()
        refuse(self.cache)
        work = replace(self.work, scalars={**self.work.scalars, **self._numbers()}) if self.values else self.work
        places: list[tuple[str, str]] = []
        failures: Mapping[str, BaseException] = {}
        try:
            self._compute(work, places)
        except Exception as error:  # noqa: BLE001 - any failure is reported with the node that it belongs to
            nodes = [fill.node for fill in work.fills]
            failures = {nodes[0]: portable(error)} if len(nodes) == 1 else self._isolated(work, places)
        devices, notes = (tuple(dict.fromkeys(filter(None, told))) for told in zip(*places or [(CPU, "")], strict=True))
        return replace(clock.done(), failures=failures, device=", ".join(devices), notes=notes)

    def _isolated(self, work: Work, places: list[tuple[str, str]]) -> Mapping[str, BaseException]:
        failures = {}
        for fill in work.fills:
            try:
                self._compute(work.alone(fill), places)
            except Exception as error:  # noqa: BLE001 - see above
                failures[fill.node] = portable(error)
        return failures

    def _compute(self, work: Work, places: list[tuple[str, str]]) -> None:
        """Compute and store; note the device, and why it isn't the GPU that was asked for."""
        results, *place = self._on_device(work)
        refuse(self.cache)  # what was loaded on the way, to read the file, can have changed how this process computes
        for node, state in results.items():
            self.store.put(self.keys[node], state)
        places.append((place[0], place[1]))

    def _on_device(self, work: Work) -> tuple[Mapping[str, State], str, str]:
        """Return the states, the device that has computed them, and why it isn't the GPU that was asked for."""
        shelf = self.shelf or self.store
        taken = Taken(
            keys=self.taken,
            read=lambda node: found(self.store, self.taken[node]),
            code=lambda digest: files_of(shelf, digest),
        )
        if self.target is None:
            return states(self.partition, work, self.cache, taken), CPU, self.note
        passes, partition = self.target.passes(self.cache), self.partition
        source = opened(partition)
        try:
            found_there = passes.states(source, work, partition.start, partition.stop)
        except Unprintable as error:
            return states(partition, work, self.cache, taken), CPU, f"computed by the CPU: {error.message}"
        except DataError as error:
            # says it as it is said without a GPU, where the first fault is another
            states(partition, work, self.cache, taken)
            raise TaskError(f"{passes.device.description} finds a fault that the CPU does not: {error}") from error
        return found_there, str(passes.device.description), self.note

    def _numbers(self) -> Mapping[str, float]:
        files = {key: found(self.store, key) for key in dict.fromkeys(number.key for number in self.values.values())}
        return {scalar: number_of(files[number.key], number.name) for scalar, number in self.values.items()}


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
        outputs = self.merge.product.merge(_Parts(self._part, self.merge.parts), self.cache)
        self.store.put_files(self.merge.key, outputs)
        return clock.done()

    def _part(self, part: PartOf) -> Part:
        state = self.store.get(part.key)
        if state is None:
            raise MissingPart(part.key)
        return Part(dataset=part.dataset, state=state, file=part.position, number=part.number)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a merge in plan order, each read from the store whenever they are gone through."""

    read: Callable[[PartOf], Part]
    places: Sequence[PartOf]

    def __iter__(self) -> Iterator[Part]:
        return map(self.read, self.places)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeriveTask:
    """Make files of products: the key of each input, by its name. ``shelf``: as of passes."""

    derived: Derived
    inputs: Mapping[str, Digest]
    store: Store
    cache: Path
    shelf: Store | None = None

    def __call__(self) -> Done:
        """Make and store the files."""
        clock = _Clock()
        refuse(self.cache)
        products = {name: found(self.store, key) for name, key in self.inputs.items()}
        derivation = self.derived.derivation
        if isinstance(derivation, Bringing):
            derivation = derivation.bringing(files_of(self.shelf or self.store, derivation.shipped))
        self.store.put_files(self.derived.key, derivation.derive(products, self.cache))
        return clock.done()


def code_of(task: Callable[[], Done]) -> tuple[Digest, ...]:
    """Return the digests of the code that is not ours and that a task finds where it is computed."""
    match task:
        case PassTask():
            return task.work.code
        case DeriveTask(derived=Derived(derivation=Bringing() as derivation)) if derivation.shipped:
            return (derivation.shipped,)
        case _:
            return ()


def files_of(shelf: Store, shipped: Digest) -> Mapping[str, bytes]:
    """Return the files of code that have a digest, by name; none of the empty one.

    :raises MissingPart: if they are not there.
    """
    return {file.name: file.content for file in found(shelf, shipped)} if shipped else {}


def found(store: Store, key: Digest) -> tuple[Output, ...]:
    """Return the files that a task before has left.

    :raises MissingPart: if it has not.
    """
    files = store.files(key)
    if files is None:
        raise MissingPart(key)
    return files


def number_of(files: Sequence[Output], name: str) -> float:
    """Return the number called ``name`` of a stage that leaves values."""
    return Values.from_json(files[0].content)[name]


NOTHING = Taken()
"""No products: what functions see that ask for none."""


def states(partition: Partition, work: Work, cache: Path, taken: Taken = NOTHING) -> Mapping[str, State]:
    """Return what each node adds up in ``partition``: read the branches once, compute block by block.

    :param taken: the products that functions that are not ours can see. They are called first.
    """
    kernel = compiled(work.program, cache)
    source = opened(partition)
    columns = dict(source.read(work.branches, partition.start, partition.stop))
    accumulators = [fill.accumulation.start(cache) for fill in work.fills]
    events = partition.stop - partition.start
    calls = Calls(
        partition=partition,
        scalars=work.scalars,
        taken=taken,
        cache=cache,
        compiled=lambda program: compiled(program, cache),
    )
    for external in work.externals:
        columns |= calls.columns(external, columns, events)
    for start in range(0, max(events, 1), BLOCK):  # also of no events, which have columns too
        stop = min(start + BLOCK, events)
        block = sliced(columns, start, stop)
        outputs = kernel(block, work.scalars, stop - start, first_event=partition.start + start)
        for fill, accumulator in zip(work.fills, accumulators, strict=True):
            accumulator.add([outputs[number] for number in fill.outputs], block)
    return {fill.node: accumulator.state() for fill, accumulator in zip(work.fills, accumulators, strict=True)}


def warm(work: Work, partition: Partition, cache: Path) -> None:
    """Compile everything that a pass needs, before workers are started, by running it over no events.

    Numbers that stages have yet to leave are zero here: nothing is computed with them.

    :raises TaskError: if this process does not compute as the profile says.
    """
    refuse(cache)
    kernel = compiled(work.program, cache)
    path, *beside = (file.path for file in partition.files)
    with open_events(path, partition.reads, beside) as source:
        columns = dict(source.read(work.branches, partition.start, partition.start))
    scalars = dict.fromkeys(work.named_scalars, 0.0)
    for external in work.externals:  # nothing is called: what functions see is not there yet
        _, rest = computed(external.program)
        if rest is not None:
            compiled(rest, cache)(columns, {**scalars, **work.scalars}, 0)
        columns |= {external.column(name): empty(kind) for name, kind in external.call.returns}
    outputs = kernel(columns, {**scalars, **work.scalars}, 0)
    for fill in work.fills:
        accumulator = fill.accumulation.start(cache)
        accumulator.add([outputs[number] for number in fill.outputs], columns)
        accumulator.state()


@lru_cache(maxsize=64)
def compiled(program: Program, cache: Path) -> Kernel:
    """Return the kernel of ``program``, made once per process."""
    return compile_program(program, cache=cache)


def portable(error: Exception) -> BaseException:
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
