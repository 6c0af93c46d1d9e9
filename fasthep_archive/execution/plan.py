"""The plan: what has to be computed, as tasks with keys; a pure function of document and input files.

Partitions follow the files. For each *kind* of partition (same stream, same dataset, same types of branches) all stages
are lowered into one program, once as they are written and once for each variation. What a node adds up in a partition
is a *part* with a key of its own; the parts of a node, in plan order, make its product (:class:`Merge`). Nodes that
read products make files of them (:class:`Derived`). A pass computes the parts of one partition that the store lacks.

A *node* is what leaves something behind: a stage (its id), something that a stage writes (``write.STAGE.0``), observes
(``observe.STAGE.0``) or draws (``render.STAGE.0``); in a variation the same with ``@VARIATION`` behind it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from fasthep_archive.data.source import Read
from fasthep_archive.data.view import VARIED
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.execution.asked import Asked
from fasthep_archive.execution.inputs import InputFile
from fasthep_archive.kernels import external
from fasthep_archive.kernels.external import External
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.operations.protocol import Accumulation, Derivation, Fill, Product

PROFILE = "exact-1"
"""The numeric profile (DESIGN.md section 6): what a result's bits are defined by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """A fixed entry range of one input file.

    :ivar stream: the source or join that it belongs to. :ivar dataset: the one that its events count for.
    :ivar reads: what is read of the file and of those beside it.
    :ivar beside: other files, in which columns of the same events are.
    :ivar position: of the file in its dataset. :ivar number: of the partition in its file.
    """

    stream: str
    dataset: str
    file: InputFile
    reads: tuple[Read, ...]
    beside: tuple[InputFile, ...] = ()
    start: int
    stop: int
    position: int = 0
    number: int = 0

    @property
    def files(self) -> tuple[InputFile, ...]:
        """Return all files that it is read from, the one that its events are those of first."""
        return (self.file, *self.beside)

    def __str__(self) -> str:
        return f"events {self.start} to {self.stop} of {self.file.name} ({self.dataset})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What leaves something behind, as part of the plan.

    :ivar id: of the node. :ivar stage: that it belongs to. :ivar variation: none: as the document is written.
    """

    id: str
    stage: str
    variation: str | None = None

    @property
    def prefix(self) -> str:
        """Return the directory of its files, below the outputs directory."""
        return "" if self.variation is None else f"{VARIED}{self.variation}/"

    @property
    def written(self) -> str:
        """Return the id of the same node of the document as it is written."""
        return self.id if self.variation is None else self.id.removesuffix(f"@{self.variation}")

    @property
    def label(self) -> str:
        """Return how messages name the node's stage."""
        return self.stage if self.variation is None else f"{self.stage} in {self.variation}"

    def varied(self, variation: str | None) -> Node:
        """Return the same node in a variation."""
        return self if variation is None else replace(self, id=f"{self.id}@{variation}", variation=variation)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFill:
    """What one node adds up in one kind of partition.

    :ivar text: canonical: the program with its inputs, the calls of functions that are not ours, the numbers known of
        the dataset that it uses, the accumulation. What other stages leave is numbered in it.
    :ivar adds: digest of the text. :ivar branches: that are read for it.
    :ivar values: the nodes whose values are used, or whose products functions see, in the order of these numbers.
    """

    node: Node
    fill: Fill
    text: JSON
    adds: Digest
    branches: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueOf:
    """A number that a node leaves behind: the node's id, and the name of the number."""

    node: str
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """One kind of partition, with all its stages lowered.

    :ivar scalars: numbers known of the dataset, by the name of the program's scalar.
    :ivar values: of other scalars, where their numbers come from.
    """

    builder: Builder
    fills: tuple[StageFill, ...]
    scalars: Mapping[str, bool | int | float]
    values: Mapping[str, ValueOf] = field(default_factory=dict)
    _works: dict[tuple[str, ...], Work] = field(default_factory=dict)
    _by_node: dict[str, StageFill] = field(default_factory=dict)

    @property
    def by_node(self) -> Mapping[str, StageFill]:
        """Return what each node adds up, by the node's id."""
        if not self._by_node:
            self._by_node.update((fill.node.id, fill) for fill in self.fills)
        return self._by_node

    def work(self, nodes: tuple[str, ...]) -> Work:
        """Return what a pass has to do for ``nodes``; made once per combination."""
        if nodes not in self._works:
            wanted = frozenset(nodes)
            chosen = [fill for fill in self.fills if fill.node.id in wanted]
            values = list(dict.fromkeys(value for fill in chosen for value in fill.fill.values))
            places = {value: place for place, value in enumerate(values)}
            program = self.builder.program(values)
            texts = (text for fill in chosen for text in fill.fill.accumulation.texts)
            self._works[nodes] = Work(
                program=program,
                scalars=self.scalars,
                externals=self.builder.externals([*program.columns, *texts]),
                fills=tuple(
                    WorkFill(
                        node=fill.node.id,
                        outputs=tuple(places[value] for value in fill.fill.values),
                        accumulation=fill.fill.accumulation,
                    )
                    for fill in chosen
                ),
            )
        return self._works[nodes]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkFill:
    """A node's accumulation, and which of the program's outputs it takes."""

    node: str
    outputs: tuple[int, ...]
    accumulation: Accumulation


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a pass computes from the columns of a partition; plain data that travels to workers.

    :ivar externals: functions that are not ours and whose results are columns of the program, each after those that it
        needs itself.
    """

    program: Program
    scalars: Mapping[str, bool | int | float]
    fills: tuple[WorkFill, ...]
    externals: tuple[External, ...] = ()

    def alone(self, fill: WorkFill) -> Work:
        """Return the same work for one of its nodes only."""
        program = self.program.only(fill.outputs)
        makers = {name: item for item in self.externals for name in item.columns}
        return replace(
            self,
            program=program,
            fills=(replace(fill, outputs=tuple(range(len(fill.outputs)))),),
            externals=external.needed([*program.columns, *fill.accumulation.texts], makers),
        )

    @property
    def branches(self) -> tuple[str, ...]:
        """Return the branches that have to be read."""
        texts = (text for fill in self.fills for text in fill.accumulation.texts)
        return external.read([*self.program.columns, *texts], self.externals)

    @property
    def named_scalars(self) -> tuple[str, ...]:
        """Return the names of all numbers that come at run time."""
        programs = (self.program, *(item.program for item in self.externals))
        return tuple(dict.fromkeys(name for program in programs for name, _ in program.scalars))

    @property
    def takes(self) -> tuple[str, ...]:
        """Return the nodes whose products functions see."""
        return tuple(dict.fromkeys(node for item in self.externals for node in item.call.takes))

    @property
    def code(self) -> tuple[Digest, ...]:
        """Return the digests of the files of code that functions find."""
        return tuple(dict.fromkeys(item.call.shipped for item in self.externals if item.call.shipped))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One partition and its parts: node to key.

    :ivar varied: the variation whose files these are, where it replaces those of the dataset.
    """

    partition: Partition
    variant: Variant
    parts: Mapping[str, Digest]
    varied: str | None = None

    @property
    def name(self) -> str:
        """Return the name of its task."""
        varied = "" if self.varied is None else f" in {self.varied}"
        return f"pass over {self.partition} as {self.partition.stream}{varied}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartOf:
    """A part of a product: the dataset that it counts for, its key, and where it comes from, as in a partition."""

    dataset: str
    key: Digest
    position: int = 0
    number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving(ABC):
    """A node of the plan, which leaves files behind.

    :ivar op: name of its operation. :ivar key: of what it leaves.
    :ivar kept: whether its files are outputs; others are only taken by derivations.
    """

    task: ClassVar[str]
    node: Node
    op: str
    key: Digest
    kept: bool = True

    @property
    @abstractmethod
    def takes(self) -> tuple[str, ...]:
        """Return the nodes that it depends on."""

    @property
    @abstractmethod
    def leaves(self) -> tuple[str, ...]:
        """Return the names of its files, as the document is written."""

    @property
    def stage(self) -> str:
        """Return the id of its stage."""
        return self.node.stage

    @property
    def name(self) -> str:
        """Return the name of its task."""
        return f"{self.task} of {self.node.id}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of its files below the outputs directory."""
        return tuple(f"{self.node.prefix}{name}" for name in self.leaves) if self.kept else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge(Leaving):
    """One product: the parts of a node in plan order.

    :ivar values: the nodes whose values the parts depend on.
    """

    task: ClassVar[str] = "merge"
    product: Product
    parts: tuple[PartOf, ...]
    values: tuple[str, ...] = ()

    @property
    def takes(self) -> tuple[str, ...]:
        """Return the nodes that it depends on."""
        return self.values

    @property
    def leaves(self) -> tuple[str, ...]:
        """Return the names of its files, as the document is written."""
        return self.product.outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived(Leaving):
    """Files made of products: the node of each input, by the name of the input."""

    task: ClassVar[str] = "derivation"
    derivation: Derivation
    inputs: Mapping[str, str]

    @property
    def takes(self) -> tuple[str, ...]:
        """Return the nodes that it depends on."""
        return tuple(self.inputs.values())

    @property
    def leaves(self) -> tuple[str, ...]:
        """Return the names of its files, as the document is written."""
        return self.derivation.outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All passes, and all nodes in plan order: each after those that it depends on.

    :ivar warnings: what is worth one.
    :ivar unaffected: by variation, the nodes that it leaves as they are; their products are not written again.
    :ivar workflows: names of the workflows that are carried out; none where the document is one.
    :ivar asked: which part of the document this is.
    :ivar code: the files of code that functions and scripts find, by the digest that tasks have in their place.
    """

    passes: tuple[Pass, ...]
    nodes: tuple[Merge | Derived, ...]
    inputs: tuple[InputFile, ...]
    warnings: tuple[str, ...]
    unaffected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    workflows: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)
    code: Mapping[Digest, Mapping[str, bytes]] = field(default_factory=dict, compare=False, repr=False)
    _by_id: dict[str, Merge | Derived] = field(default_factory=dict, compare=False, repr=False)

    def node(self, node: str) -> Merge | Derived:
        """Return the node ``node``; for one that its variation leaves as it is, that of the document."""
        if not self._by_id:
            self._by_id.update((item.node.id, item) for item in self.nodes)
        return self._by_id.get(node) or self._by_id[node.rpartition("@")[0]]

    @property
    def merges(self) -> tuple[Merge, ...]:
        """Return the products that passes fill."""
        return tuple(node for node in self.nodes if isinstance(node, Merge))

    @property
    def derived(self) -> tuple[Derived, ...]:
        """Return the files that are made of products."""
        return tuple(node for node in self.nodes if isinstance(node, Derived))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of all files that the plan leaves behind, below the outputs directory."""
        return tuple(name for node in self.nodes for name in node.outputs)

    def only(self, stages: Iterable[str]) -> Plan:
        """Return the part of the plan that makes the products of ``stages``: others that these need are not kept."""
        wanted = frozenset(stages)
        needed: set[str] = set()
        for node in reversed(self.nodes):  # each comes after those that it takes
            if node.node.id in needed or (node.kept and node.stage in wanted):
                needed |= {node.node.id, *node.takes}
        nodes = tuple(
            node if node.stage in wanted else replace(node, kept=False) for node in self.nodes if node.node.id in needed
        )
        return replace(self, nodes=nodes, _by_id={})
