"""``hep.weights.lookup_csv`` and ``hep.weights.pdf_envelope``: weights from a table, and the range of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Builder, Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupTable:
    """Adds, for each output, the value of the first row whose bin, ``low <= variable < high``, holds the variable.

    The variable is one number per event. A value outside of all bins, NaN among them, is an error when the events are
    read, unless a selection has taken the event out.

    :ivar source: name of the file that the table was read from, for messages.
    :ivar bins: (low, high) of each row. :ivar outputs: name of each column, and its value in each row.
    """

    variable: str
    source: str
    bins: tuple[tuple[float, float], ...]
    outputs: tuple[tuple[str, tuple[float, ...]], ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> LookupTable:
        """Return the operation of checked parameters."""
        table = cast("Mapping[str, Sequence[float]]", params["table"])
        values = cast("Mapping[str, str]", params["values"])
        outputs = cast("Mapping[str, str]", params["outputs"])
        bins = cast("Mapping[str, str]", params["bins"])
        return cls(
            variable=str(params["variable"]),
            source=str(params["path"]),
            bins=tuple(zip(table[bins["lower"]], table[bins["upper"]], strict=True)),
            outputs=tuple((name, tuple(table[values[label]])) for label, name in outputs.items()),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the outputs."""
        stream = only(streams)
        place = (*path, "variable")
        variable = lowering.formula(self.variable, stream, place)
        row = self._row(lowering, stream, lowering.per_event(variable, place, "a lookup"), stage)
        for name, values in self.outputs:
            stream = stream.defining(name, None if row is None else _chosen(lowering.builder, row, values))
        return stream, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the columns stay in the stream."""
        return None

    def _row(self, lowering: Lowering, stream: Stream, variable: Value | None, stage: str) -> Value | None:
        """Return the position of the first row that holds the variable, checked when the kernel runs."""
        if variable is None:
            return None
        build = lowering.builder
        value = build.cast(variable, "float64", label=self.variable)
        row = self._position(build, value) if self._contiguous() else self._first(build, value)
        if stream.mask is not None:
            row = build.apply("where", stream.mask, row, build.constant(0))
        low, high = min(low for low, _ in self.bins), max(high for _, high in self.bins)
        message = f"stage {stage!r}: {self.variable} of event {{event}} has no bin in {self.source} ({low} to {high})"
        return build.checked(row, "some bin", message)

    def _contiguous(self) -> bool:
        """Say whether each row's bin begins where that of the row before ends."""
        return all(before[1] == after[0] for before, after in pairwise(self.bins)) and all(
            low < high for low, high in self.bins
        )

    def _position(self, build: Builder, value: Value) -> Value:
        """Return the row among contiguous ones, by counting the edges at or below the value; -1 outside."""
        row = build.constant(-1)
        for low, _ in self.bins:
            row = build.apply("add", row, build.apply("greater_equal", value, build.constant(low)))
        inside = build.apply("less", value, build.constant(self.bins[-1][1]))
        return build.apply("where", inside, row, build.constant(-1))

    def _first(self, build: Builder, value: Value) -> Value:
        """Return the first row that holds the value, of rows in any order; -1 if none does."""
        row = build.constant(-1)
        for number in reversed(range(len(self.bins))):
            low, high = map(build.constant, self.bins[number])
            holds = build.apply("and", build.apply("greater_equal", value, low), build.apply("less", value, high))
            row = build.apply("where", holds, build.constant(number), row)
        return row


def _chosen(build: Builder, row: Value, values: Sequence[float]) -> Value:
    """Return the value of a row; rows that have the value of the row before cost nothing."""
    chosen = build.constant(values[-1])
    for number in reversed(range(len(values) - 1)):
        if values[number] != values[number + 1]:
            below = build.apply("less_equal", row, build.constant(number))
            chosen = build.apply("where", below, build.constant(values[number]), chosen)
    return chosen


@dataclass(frozen=True, kw_only=True, slots=True)
class PdfEnvelope:
    """Adds the largest (``up``) and the smallest (``down``) of the weights that each event has a list of.

    Missing for an event without weights; NaN if one of them is NaN.
    """

    inputs: str
    up: str | None
    down: str | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> PdfEnvelope:
        """Return the operation of checked parameters."""
        outputs = cast("Mapping[str, str]", params["outputs"])
        return cls(inputs=str(params["inputs"]), up=outputs.get("up"), down=outputs.get("down"))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the envelope."""
        stream = only(streams)
        weights = fields.field(lowering, stream, self.inputs, (*path, "inputs"))
        if weights is not None and not (isinstance(weights, Value) and weights.structure is not None):
            message = f"an envelope is that of a list of weights per event, and {self.inputs!r} is none"
            lowering.fault(message, (*path, "inputs"))
            weights = None
        for name, reducer in ((self.up, "max"), (self.down, "min")):
            if name is not None:
                value = lowering.builder.apply(reducer, weights) if isinstance(weights, Value) else None
                stream = stream.defining(name, value)
        return stream, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the columns stay in the stream."""
        return None
