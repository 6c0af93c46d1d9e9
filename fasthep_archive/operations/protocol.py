"""The one protocol of operations, and what stages leave behind.

A stage is lowered once per kind of partition: it changes the stream's names and mask, and may ask a pass to add
something up (an :class:`Accumulation`). What was added up in the partitions is merged, in plan order, into the
stage's :class:`Product`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fasthep_archive.digest import JSON
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
    """The state of one partition of one dataset."""

    dataset: str
    state: State


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """A product's file: its name below the outputs directory, and its canonical bytes."""

    name: str
    content: bytes


class Product(Protocol):
    """What a stage leaves behind: merges the states of the partitions into canonical files."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files below the outputs directory."""

    def canonical(self) -> JSON:
        """Return everything that the files depend on beside the states."""

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        """Return the files; ``parts`` come in plan order and are consumed one by one."""


class Operation(Protocol):
    """What a stage does. Its fields are the stage's ``params``."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Operation:
        """Return the operation of parameters that the schema has accepted."""

    def lower(
        self, lowering: Lowering, stream: Stream, stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Lower the stage ``stage`` whose params stand at ``path``; return the stream after it and what it adds up."""

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return what the stage leaves behind when it applies to ``datasets``, or none."""
