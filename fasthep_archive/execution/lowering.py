"""Lowers all stages of one root for one kind of partition, as they are written and once for each variation.

All of it goes into one :class:`~fasthep_archive.kernels.program.Builder`, so what a variation does not change exists
once, and a node that computes the same as without the variation is no node of its own.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from fasthep_archive.digest import JSON, of_json
from fasthep_archive.errors import Fault, nearest
from fasthep_archive.execution.branches import Branches, Facts, Offered, constants, known_of
from fasthep_archive.execution.calling import anonymous
from fasthep_archive.execution.getters import functions, with_getters
from fasthep_archive.execution.inlining import Forks, inputs_of
from fasthep_archive.execution.outline import EventNode, Outline, applies, shift
from fasthep_archive.execution.plan import StageFill, ValueOf, Variant
from fasthep_archive.execution.roots import Root
from fasthep_archive.formula.columns import ColumnType
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.operations.protocol import Fill
from fasthep_archive.operations.stream import Lowering, Named, Shift, Stream, TakenForConstant
from fasthep_archive.workflow.model import Dataset, Stage, Variation


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of partition: the root, the dataset as formulas know it, and what its stages are lowered for.

    :ivar nominal: whether they are lowered as they are written. :ivar variations: those that apply to the dataset.
    """

    root: Root
    dataset: Dataset
    nominal: bool
    variations: tuple[Variation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lowered:
    """Lowered stages.

    :ivar asked: what was looked up in the files: for files that offer the same, the stages are the same.
    :ivar general: whether they are the same for all datasets with :func:`alike` kinds, but for the datasets' numbers.
    """

    variant: Variant
    asked: Mapping[str, Offered]
    general: bool


def alike(outline: Outline, kind: Kind) -> tuple[object, ...]:
    """Return what the lowered stages of a kind depend on, as long as no text of the dataset is looked up."""
    inline = (item.name for item in outline.inline_variations if item.applies(kind.dataset))
    shape = constants(outline.workflow, kind.dataset, Builder({}), {}).shape
    plan = tuple(item.name for item in kind.variations)
    return kind.root.id, kind.dataset.eventtype, kind.nominal, plan, tuple(inline), shape


def lowered_again(outline: Outline, kind: Kind, lowered: Lowered) -> Lowered:
    """Return the general lowered stages of another dataset with the numbers of this one."""
    scalars: dict[str, bool | int | float] = {}
    constants(outline.workflow, kind.dataset, Builder({}), scalars)
    variant = lowered.variant
    fills = tuple(_renumbered(fill, scalars) for fill in variant.fills)
    again = Variant(builder=variant.builder, fills=fills, scalars=scalars, values=variant.values)
    return replace(lowered, variant=again)


def _renumbered(fill: StageFill, scalars: Mapping[str, bool | int | float]) -> StageFill:
    """Return what a node adds up with the numbers of another dataset."""
    text = cast("Mapping[str, JSON]", fill.text)
    numbers = cast("Mapping[str, JSON]", text["numbers"])
    if not numbers:
        return fill
    renumbered = {**text, "numbers": {name: scalars[name] for name in numbers}}
    return replace(fill, text=renumbered, adds=of_json(renumbered))


def _general(facts: Facts, faults: Sequence[Fault], fills: Sequence[StageFill]) -> bool:
    """Say whether nothing of a dataset but its numbers went into stages; functions that aren't ours may see it all."""
    wrong = any(not isinstance(fault, TakenForConstant) for fault in faults)
    return not facts.noted and not wrong and not any("calls" in cast("Mapping[str, JSON]", f.text) for f in fills)


def lower(outline: Outline, kind: Kind, types: Mapping[str, ColumnType], report: Callable[[Fault], None]) -> Lowered:
    """Return the lowered stages of ``kind`` for files with branches like ``types``."""
    getters = kind.root.getters  # which stand for branches without a name until they are lowered
    branches = Branches({**kind.root.aliases, **dict.fromkeys(getters, "")}, types, functions(outline.workflow))
    scalars: dict[str, bool | int | float] = {}
    workflow = outline.workflow
    facts = constants(workflow, kind.dataset, branches.builder, scalars)
    nominal = Lowering(
        builder=branches.builder,
        constants=facts,
        columns=branches.names,
        column=branches.column,
        where=workflow.document.where,
        report=report,
        text_column=branches.text_column,
        root=kind.root.id,
        dataset=known_of(kind.dataset),
    )
    numbers = _Numbers(builder=branches.builder, scalars=scalars)
    seen: list[Fault] = []
    noting = with_getters(replace(nominal, report=seen.append, shift=Shift.noting()), getters)
    walk = _Walk(outline, kind, noting, None, numbers)
    written = {fill.node.id: fill for fill in walk.fills()}
    fills = list(written.values()) if kind.nominal else []
    found = [*seen, *walk.forked(seen)] if kind.nominal else []
    for variation in kind.variations:
        faults: list[Fault] = []
        shifted = with_getters(replace(nominal, report=faults.append, shift=shift(variation)), getters)
        varied = _Walk(outline, kind, shifted, variation, numbers, walk if kind.nominal else None)
        fills += (fill for fill in varied.fills() if not _same(fill, written if kind.nominal else {}))
        found += (_in(variation, fault) for fault in faults if fault not in seen)
        found += (fault for fault in varied.forked([*faults, *seen]) if fault not in found)
        varied.check(found.append)
    for fault in found:
        report(fault)
    variant = Variant(builder=branches.builder, fills=tuple(fills), scalars=scalars, values=numbers.values)
    return Lowered(variant=variant, asked=branches.asked, general=_general(facts, found, fills))


def _same(varied: StageFill, written: Mapping[str, StageFill]) -> bool:
    """Say whether a variation adds up the same; what depends on other stages' values is told apart by keys alone."""
    own = written.get(varied.node.written)
    return own is not None and not varied.values and varied.adds == own.adds


def _branches(fills: Sequence[StageFill]) -> Iterator[str]:
    """Yield the branches that are read for any of ``fills``."""
    yield from dict.fromkeys(branch for fill in fills for branch in fill.branches)


def _in(variation: Variation, fault: Fault) -> Fault:
    return replace(fault, message=f"{fault.message} (in variation {variation.name!r})")


@dataclass(kw_only=True, slots=True)
class _Numbers:
    """The numbers that programs take as arguments: facts of the dataset, and values that other stages leave."""

    builder: Builder
    scalars: Mapping[str, bool | int | float]
    values: dict[str, ValueOf] = field(default_factory=dict)

    def of_stage(self, node: str, names: Sequence[str]) -> Mapping[str, Named]:
        """Return the values that the node ``node`` leaves, by name."""
        found: dict[str, Named] = {}
        for name in names:
            scalar = f"values.{node}.{name}"
            self.values[scalar] = ValueOf(node=node, name=name)
            found[name] = self.builder.scalar(scalar, "float64")
        return found

    def filled(self, node: EventNode, fill: Fill, variation: str | None = None) -> StageFill:
        """Return what ``node`` adds up, with its canonical text."""
        program = self.builder.program(fill.values)
        texts = fill.accumulation.texts
        externals = self.builder.externals([*program.columns, *texts])
        programs = [*(external.program for external in externals), program]
        used = dict.fromkeys(name for item in programs for name, _ in item.scalars)
        nodes = tuple(
            dict.fromkeys(
                [
                    *(self.values[name].node for name in used if name in self.values),
                    *(node for external in externals for node in external.call.takes),
                ]
            )
        )
        numbers: JSON = {name: self.scalars[name] for name in used if name in self.scalars}
        text: Mapping[str, JSON] = {
            "program": self._anonymous(program, nodes).canonical(),
            "numbers": numbers,
            "accumulation": fill.accumulation.canonical(),
            "texts": list(texts),
        }
        if externals:
            text = anonymous(text, externals, nodes, lambda item: self._anonymous(item, nodes))
        return StageFill(
            node=node.node.varied(variation),
            fill=fill,
            text=text,
            adds=of_json(text),
            branches=self.builder.read([*program.columns, *texts]),
            values=nodes,
        )

    def _anonymous(self, program: Program, nodes: Sequence[str]) -> Program:
        """Return the program with numbers in place of the names of the stages whose values it takes."""
        if not nodes:
            return program
        renamed = (
            replace(item, detail=f"values.{nodes.index(self.values[item.detail].node)}.{self.values[item.detail].name}")
            if item.operation == "scalar" and item.detail in self.values
            else item
            for item in program.instructions
        )
        return replace(program, instructions=tuple(renamed))


class _Walk:
    """One walk over the stages, from the root down: as they are written, or in one variation."""

    def __init__(
        self,
        outline: Outline,
        kind: Kind,
        lowering: Lowering,
        variation: Variation | None,
        numbers: _Numbers,
        written: _Walk | None = None,
    ):
        """Begin at the root of ``kind``.

        :param written: for a variation, the walk over the same stages as they are written.
        """
        self._outline = outline
        self._kind = kind
        self._lowering = lowering
        self._variation = variation
        self._numbers = numbers
        self._written = written
        self._streams: dict[str, Stream] = {kind.root.id: Stream()}
        self._noted: dict[str, frozenset[str]] = {}
        self._used: tuple[str, ...] = ()
        self._forks = Forks(outline, kind.dataset)
        self._left_out: set[str] = set()

    def forked(self, known: Sequence[Fault]) -> list[Fault]:
        """Return the faults on the forks of inline variations that are none of ``known``, with the variation."""
        found = (_in(variation, fault) for variation, fault in self._forks.faults if fault not in known)
        return list(dict.fromkeys(found))

    def fills(self) -> list[StageFill]:
        """Return what each node adds up: stages first, then what hangs on them, which may want all that they read.

        In a variation, nodes that it can't change are left out: what they add up is what they do as they are written.
        """
        name = None if self._variation is None else self._variation.name
        stages = self._outline.stages(self._kind.root)
        fills = [self._numbers.filled(node, fill, name) for stage in stages for node, fill in self._stage(stage)]
        self._used = self._written._used if self._written else tuple(_branches(fills))
        lowering = replace(self._lowering, used=lambda: self._used)
        for stream in self._streams:
            fills += (self._numbers.filled(node, fill, name) for node, fill in self._hanging(stream, lowering))
        return fills

    def check(self, report: Callable[[Fault], None]) -> None:
        """Report what the variation refers to and what is known at no stage."""
        assert self._variation is not None
        variation, scopes = self._variation, [self._lowering.scope(stream) for stream in self._streams.values()]
        read = any(True for _ in self._outline.stages(self._kind.root))
        if not read or any(stream.uncertain for stream in self._streams.values()):
            return
        places: list[tuple[str, tuple[str | int, ...], str]] = [
            (name, ("requires", number), "requires") for number, name in enumerate(variation.requires)
        ]
        places += [(name, ("replace", name), "replaces") for name in variation.replace]
        places += [(new, ("replace", name), f"replaces {name!r} by") for name, new in variation.replace.items()]
        for name, place, does in places:
            if not name.startswith("stage.") and not any(scope.knows(name) for scope in scopes):
                where = self._outline.workflow.document.where((*variation.path, *place))
                known = (known for scope in scopes for known in scope)
                hint = nearest(name, known) or "where only some datasets have it, say so with applies_to"
                report(Fault(f"variation {variation.name!r} {does} {name!r}, and nothing has that name", where, hint))

    def _stage(self, stage: Stage) -> Iterator[tuple[EventNode, Fill]]:
        """Lower one stage; yield what it adds up."""
        inputs = self._inputs(stage)
        if not inputs:
            return
        node = self._outline.itself(stage)
        if node is None or not applies(stage, self._kind.dataset):
            passed = next(iter(inputs.values()))  # its consumers take what it would have taken
            self._streams[stage.id] = passed if node is not None else replace(passed, uncertain=True)
            self._forks.passed(stage)
            self._left_out |= {stage.id} if node is not None else set()
            return
        sees = self._outline.values[stage.id] or self._outline.seen(stage)
        if self._unchanged(node, [edge.node for edge in stage.streams_from]) and not sees:
            assert self._written is not None
            self._streams[stage.id] = self._written._streams[stage.id]
            return
        lowering = self._seeing(stage)
        inputs = self._forks.entered(stage, inputs, lowering)
        self._streams[stage.id], fill = self._lower(node, lowering, inputs)
        if fill is not None:
            yield node, fill

    def _inputs(self, stage: Stage) -> Mapping[str, Stream]:
        """Return the streams that a stage reads; where fields are merged, without stages that do not take part."""
        inputs = inputs_of(stage, self._streams)
        if stage.op != "hep.merge_fields" or not self._left_out:
            return inputs
        left_out = {edge.name or edge.node for edge in stage.streams_from if edge.node in self._left_out}
        return {name: stream for name, stream in inputs.items() if name not in left_out} or inputs

    def _unchanged(self, node: EventNode, streams: Sequence[str]) -> bool:
        """Say whether a variation can't change a node that reads ``streams``; where inline ones are, none is sure."""
        if self._written is None or self._outline.inline_variations or node.node.id not in self._written._noted:
            return False
        same = all(self._streams[stream] == self._written._streams[stream] for stream in streams)
        return same and not self._lowering.shift.changes(self._written._noted[node.node.id])

    def _lower(self, node: EventNode, lowering: Lowering, inputs: Mapping[str, Stream]) -> tuple[Stream, Fill | None]:
        """Lower a node; while stages are lowered as they are written, note what a variation could change of it."""
        noted = lowering.shift.noted
        if noted is not None:
            noted.clear()
        lowered = node.operation.lower(lowering, inputs, node.called, node.path)
        if noted is not None:
            self._noted[node.node.id] = frozenset(noted)
        return lowered

    def _hanging(self, stream: str, lowering: Lowering) -> Iterator[tuple[EventNode, Fill]]:
        """Yield what is written and observed of a stream."""
        for node in self._outline.hanging.get(stream, ()):
            if not node.applies(self._kind.dataset) or (self._variation is not None and not node.varies):
                continue
            if self._unchanged(node, [stream]):
                continue
            _, fill = self._lower(node, lowering, {"stream": self._streams[stream]})
            if fill is not None:
                yield node, fill

    def _seeing(self, stage: Stage) -> Lowering:
        """Return the lowering with the values that the formulas of ``stage`` can use, and what functions can see."""
        names, seen = self._outline.values[stage.id], self._outline.seen(stage)
        unseen = self._outline.valued.difference(names)
        lowering = self._lowering if not unseen else replace(self._lowering, report=self._hinting(unseen))
        if not names and not seen:
            return lowering
        varied = None if self._variation is None else self._variation.name
        groups: dict[str, Named] = {}
        for other in names:
            left = cast("Sequence[str]", getattr(self._outline.operations[other], "names", ()))
            groups[other] = self._numbers.of_stage(other if varied is None else f"{other}@{varied}", left)
        return replace(
            lowering,
            constants=ChainMap(groups, cast("dict[str, Named]", self._lowering.constants)),
            products={
                other: tuple(node if varied is None else f"{node}@{varied}" for node in nodes)
                for other, nodes in seen.items()
            },
        )

    def _hinting(self, unseen: frozenset[str]) -> Callable[[Fault], None]:
        """Return what reports faults: a formula that names a value of a stage in ``unseen`` lacks a need."""

        def report(fault: Fault) -> None:
            named = _VALUE.match(fault.message)
            missing = named is not None and named[1] in unseen
            self._lowering.report(replace(fault, hint=f"write needs: [{named[1]}]") if named and missing else fault)

        return report


_VALUE = re.compile(r"unknown name '(\w+)\.\w+'")
