"""The one protocol of operations, and what stages leave behind.

There are two kinds of operations. One that reads events (:class:`Operation`) is lowered once per kind of partition and
variation: it changes the stream's names and mask, and may ask a pass to add something up (an :class:`Accumulation`).
What was added up in the partitions is merged, in plan order, into the stage's :class:`Product`. One that reads products
(:class:`ProductOperation`) makes files of other stages' files, after these (a :class:`Derivation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import Location
from fasthep_archive.files import Bytes, read_all, size_of
from fasthep_archive.formula.columns import Array, Column
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What has been added up, in a form that can be stored: a JSON header and arrays. Equal sums have equal states."""

    header: JSON
    arrays: Mapping[str, Array]


class Accumulator(Protocol):
    """Adds up blocks of events. Lives in one worker during one pass."""

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        """Add a block: the program's outputs for this accumulation, and the text columns by branch."""

    def state(self) -> State:
        """Return what has been added up."""


class Accumulation(Protocol):
    """What a pass adds up for one stage; plain data that travels to workers."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text branches that are needed beside the program's outputs."""

    def canonical(self) -> JSON:
        """Return what the result depends on beside the program: kinds of axes, edges; no names, no labels."""

    def start(self, cache: Path) -> Accumulator:
        """Return an empty accumulator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """One accumulation of a stage in one kind of partition, with the program values that it adds up."""

    values: tuple[Value, ...]
    accumulation: Accumulation


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The state of one partition of one dataset.

    :ivar file: position of the input file in its dataset. :ivar number: position of the partition in its file.
    """

    dataset: str
    state: State
    file: int = 0
    number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """A product's file: its name below the outputs directory, and its canonical bytes, at hand or in another file."""

    name: str
    held: Bytes

    @property
    def content(self) -> bytes:
        """Return the bytes, read now where they are not at hand: only for files that fit in memory."""
        return read_all(self.held)

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return size_of(self.held)


class Product(Protocol):
    """What a stage leaves behind: merges the states of the partitions into canonical files."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files below the outputs directory."""

    def canonical(self) -> JSON:
        """Return everything that the files depend on beside the states."""

    def merge(self, parts: Iterable[Part], cache: Path) -> Iterable[Output]:
        """Return the files; ``parts`` come in plan order and are consumed one by one.

        The bytes of a file that does not fit in memory lie below ``cache`` until the next file is asked for.
        """


@runtime_checkable
class PerPartition(Protocol):
    """A product whose files depend on what partitions there are."""

    def placed(self, stream: str, places: Sequence[tuple[str, int, int]]) -> Product:
        """Return the product of these partitions of ``stream``: dataset, position of the file, number in the file."""


class Operation(Protocol):
    """What a stage that reads events does. Its fields are the stage's ``params``."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Operation:
        """Return the operation of parameters that the schema has accepted."""

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Lower the stage ``stage`` whose params stand at ``path``; return the stream after it and what it adds up.

        :param streams: what the stage reads, by the name of the input, in the order of the document; an operation that
            reads one stream takes it with :func:`only`.
        """

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return what the stage leaves behind when it applies to ``datasets``, or none."""


def only(streams: Mapping[str, Stream]) -> Stream:
    """Return the one stream that a stage reads."""
    (stream,) = streams.values()
    return stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A stage whose product is taken: its id, its operation, and the files it makes below the outputs directory."""

    stage: str
    op: str
    operation: object
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFacts:
    """What product-level stages may know of a dataset."""

    name: str
    eventtype: str
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Deriving:
    """What a product-level stage sees while the plan is made.

    :ivar inputs: the stages whose products it takes, by the name of the input, in the order of the document.
    :ivar datasets: all datasets that the products can have, in the order of the document.
    :ivar path: of its params in the document.
    :ivar fault: reports a fault: message, path in the document, hint.
    :ivar where: returns the place of a path, for messages of what fails later.
    """

    stage: str
    inputs: Mapping[str, Made]
    datasets: tuple[DatasetFacts, ...]
    path: tuple[str | int, ...]
    fault: Callable[[str, tuple[str | int, ...], str | None], None]
    where: Callable[[tuple[str | int, ...]], Location | None] = field(default=lambda _path: None)


class Derivation(Protocol):
    """How files are made of other products; plain data that travels to workers."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files below the outputs directory."""

    def canonical(self) -> JSON:
        """Return everything that the files depend on beside the products that are taken."""

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the files; ``products`` are the files of each input, by the name of the input."""


@runtime_checkable
class Remarking(Protocol):
    """A derivation whose files say something that their readers should know."""

    def remarks(self, outputs: Sequence[Output]) -> tuple[str, ...]:
        """Return it, a sentence each; ``outputs`` are the files that were made."""


@runtime_checkable
class Following(Protocol):
    """A derivation whose one input is what another one makes of the stage's inputs: that is a result of its own."""

    @property
    def first(self) -> Derivation:
        """Return the other one."""


@runtime_checkable
class Bringing(Protocol):
    """A derivation that runs code of the analysis. It travels without it: every worker gets the files once."""

    @property
    def shipped(self) -> Digest:
        """Return the digest by which the files are found; empty: there are none."""

    def bringing(self, files: Mapping[str, bytes]) -> Derivation:
        """Return the derivation with the files, by name."""


class ProductOperation(Protocol):
    """What a stage that reads products does. Its fields are the stage's ``params``."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ProductOperation:
        """Return the operation of parameters that the schema has accepted."""

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return how the stage's files are made; none after a fault has been reported."""
