"""Inline variations: a few stages lowered again beside the others, whose results get names in the main stream.

From its anchor on, a variation follows the stages on a *fork* of their streams, the anchor with other params. A stage
that reads a forked stream and ends the fork (``stop_before``, or one that keeps no stream, such as a histogram) sees
what the variation exports, under new names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias, cast

from fasthep_archive.errors import Fault
from fasthep_archive.execution.outline import Outline
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations.protocol import Operation
from fasthep_archive.operations.reading import patched_id
from fasthep_archive.operations.stream import Lowering, Stream
from fasthep_archive.workflow.model import Dataset, Stage, Variation

_KEEPS_NO_STREAM = frozenset({"hep.hist"})
"""Operations that end a fork wherever they stand: they add something up and hand nothing on."""

Streams: TypeAlias = Mapping[str, Stream]
_Exports: TypeAlias = dict[str, dict[str, Value | None]]
"""By the name of a stage's input, new names and what they stand for."""


def inputs_of(stage: Stage, streams: Streams) -> Streams:
    """Return the streams that a stage reads, by the name of the input; what faults above hide is left out."""
    return {name: streams[node] for name, node in _nodes(stage).items() if node in streams}


def _nodes(stage: Stage) -> Mapping[str, str]:
    """Return where a stage's inputs come from, by name."""
    single = len(stage.streams_from) == 1
    return {edge.name or ("stream" if single else edge.node): edge.node for edge in stage.streams_from}


class Forks:
    """The forks of all inline variations during one walk over the stages.

    :ivar faults: those that stages have on forks, with the variation.
    """

    def __init__(self, outline: Outline, dataset: Dataset):
        self._outline = outline
        self._dataset = dataset
        self.faults: list[tuple[Variation, Fault]] = []
        self._forked: dict[str, dict[str, Stream]] = {item.name: {} for item in outline.inline_variations}

    def passed(self, stage: Stage) -> None:
        """Go past a stage that does not apply to the dataset."""
        for forked in self._forked.values():
            found = next((forked[edge.node] for edge in stage.streams_from if edge.node in forked), None)
            if found is not None:
                forked[stage.id] = found

    def entered(self, stage: Stage, inputs: Streams, lowering: Lowering) -> Streams:
        """Lower ``stage`` on each fork that goes on with it; return its inputs with what forks that end here export."""
        exports: _Exports = {name: {} for name in inputs}
        going_on = []
        for variation in self._outline.inline_variations:
            forked = self._forked[variation.name]
            if stage.id == variation.anchor:
                going_on.append(variation)
            elif any(edge.node in forked for edge in stage.streams_from):
                if stage.id in variation.stop_before or stage.op in _KEEPS_NO_STREAM:
                    self._end(variation, stage, inputs, exports, lowering)
                else:
                    going_on.append(variation)
        for variation in going_on:
            self._go_on(variation, stage, inputs, exports, lowering)
        return {name: _with(stream, exports[name]) for name, stream in inputs.items()}

    def _go_on(
        self, variation: Variation, stage: Stage, inputs: Streams, exports: _Exports, lowering: Lowering
    ) -> None:
        """Lower the stage on the fork; what it adds up is dropped."""
        forked = self._forked[variation.name]
        patched = stage.id == variation.anchor and variation.applies(self._dataset)
        operation = self._outline.operations.get(patched_id(stage.id, variation.name) if patched else stage.id)
        beside = {
            name: _with(forked.get(node, inputs[name]), exports[name])
            for name, node in _nodes(stage).items()
            if name in inputs
        }
        if operation is not None:
            apart = replace(lowering, report=lambda fault: self.faults.append((variation, fault)))
            lower = cast("Operation", operation).lower
            forked[stage.id], _ = lower(apart, beside, stage.id, (*stage.path, "params"))

    def _end(self, variation: Variation, stage: Stage, inputs: Streams, exports: _Exports, lowering: Lowering) -> None:
        """Add what ``variation`` exports to the first of the stage's inputs that is forked."""
        forked = self._forked[variation.name]
        at, node = next((name, node) for name, node in _nodes(stage).items() if node in forked and name in inputs)
        known = lowering.scope(_with(inputs[at], exports[at]))
        for new, name in variation.export.items():
            path = (*variation.path, "export", new)
            if known.knows(new) or new in exports[at]:
                lowering.fault(f"variation {variation.name!r} exports {new!r}, and there is one already", path)
            else:
                exports[at][new] = lowering.formula(name, forked[node], path)


def _with(stream: Stream, exports: Mapping[str, Value | None]) -> Stream:
    for name, value in exports.items():
        stream = stream.defining(name, value)
    return stream
