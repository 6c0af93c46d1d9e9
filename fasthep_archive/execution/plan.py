"""The plan: what has to be computed, as tasks with keys; a pure function of document and input files.

Partitions follow the files. For each *kind* of partition (same source, same dataset, same types of branches) all stages
are lowered into one program. What a stage adds up in a partition is a *part* with a key of its own; the parts of a
stage, in plan order, make its product. A pass computes the parts of one partition that the store lacks, all together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.execution.inputs import InputFile
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.operations.protocol import Accumulation, Fill, Product

PROFILE = "exact-1"
"""The numeric profile (DESIGN.md section 6): what a result's bits are defined by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """A fixed entry range of one input file."""

    source: str
    dataset: str
    file: InputFile
    tree: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"events {self.start} to {self.stop} of {self.file.name} ({self.dataset})"


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFill:
    """What one stage adds up in one kind of partition.

    :ivar text: canonical: the program with its inputs, the numbers known of the dataset that it uses, the accumulation.
    """

    stage: str
    fill: Fill
    text: JSON


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """One kind of partition, with all its stages lowered.

    :ivar scalars: numbers known of the dataset, by the name of the program's scalar.
    """

    builder: Builder
    fills: tuple[StageFill, ...]
    scalars: Mapping[str, bool | int | float]
    _works: dict[tuple[str, ...], Work] = field(default_factory=dict)

    def work(self, stages: tuple[str, ...]) -> Work:
        """Return what a pass has to do for ``stages``; made once per combination."""
        if stages not in self._works:
            chosen = [fill for fill in self.fills if fill.stage in stages]
            values = list(dict.fromkeys(value for fill in chosen for value in fill.fill.values))
            self._works[stages] = Work(
                program=self.builder.program(values),
                scalars=self.scalars,
                fills=tuple(
                    WorkFill(
                        stage=fill.stage,
                        outputs=tuple(values.index(value) for value in fill.fill.values),
                        accumulation=fill.fill.accumulation,
                    )
                    for fill in chosen
                ),
            )
        return self._works[stages]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkFill:
    """A stage's accumulation, and which of the program's outputs it takes."""

    stage: str
    outputs: tuple[int, ...]
    accumulation: Accumulation


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a pass computes from the columns of a partition; plain data that travels to workers."""

    program: Program
    scalars: Mapping[str, bool | int | float]
    fills: tuple[WorkFill, ...]

    def alone(self, fill: WorkFill) -> Work:
        """Return the same work for one of its stages only."""
        outputs = tuple(range(len(fill.outputs)))
        return replace(self, program=self.program.only(fill.outputs), fills=(replace(fill, outputs=outputs),))

    @property
    def branches(self) -> tuple[str, ...]:
        """Return the branches that have to be read."""
        texts = (text for fill in self.fills for text in fill.accumulation.texts)
        return tuple(dict.fromkeys([*self.program.columns, *texts]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One partition and its parts: stage to key."""

    partition: Partition
    variant: Variant
    parts: Mapping[str, Digest]


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """One product: the parts of a stage in plan order, as (dataset, key)."""

    stage: str
    op: str
    product: Product
    parts: tuple[tuple[str, Digest], ...]
    key: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All passes and merges of a workflow, in plan order, and what is worth a warning."""

    passes: tuple[Pass, ...]
    merges: tuple[Merge, ...]
    inputs: tuple[InputFile, ...]
    warnings: tuple[str, ...]

    def only(self, stages: Sequence[str]) -> Plan:
        """Return the part of the plan that makes the products of ``stages``."""
        merges = tuple(merge for merge in self.merges if merge.stage in stages)
        return Plan(passes=self.passes, merges=merges, inputs=self.inputs, warnings=self.warnings)


def part_key(fill: StageFill, partition: Partition, version: str) -> Digest:
    """Return the key of a part: the digest of everything that its numbers depend on, and nothing else.

    Formulas enter as the canonical program with definitions substituted, so names of intermediate variables,
    the YAML's layout and the file's place do not matter; the tool's version does.
    """
    return digest.of_json(
        {
            "what": "part",
            "version": version,
            "profile": PROFILE,
            "adds": fill.text,
            "input": partition.file.sha256,
            "tree": partition.tree,
            "range": [partition.start, partition.stop],
        }
    )


def merge_key(product: Product, parts: Sequence[tuple[str, Digest]], version: str) -> Digest:
    """Return the key of a product."""
    described: JSON = [[dataset, key] for dataset, key in parts]
    return digest.of_json({"what": "product", "version": version, "product": product.canonical(), "parts": described})
