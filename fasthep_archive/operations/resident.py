"""What passes add up on a device: histograms and cutflows stay there, anything else is copied back and added here.

The states are those of the accumulators on the host, which own the axes and take the sums over at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.cuda.device import Span
from fasthep_archive.kernels.cuda.fills import ResidentMoments, ResidentSums, place, resident_axis
from fasthep_archive.kernels.cuda.tools import Resident, Tools
from fasthep_archive.operations.cutflow import Counter, Counts
from fasthep_archive.operations.filling import AxisFill, Filler, Filling
from fasthep_archive.operations.protocol import Accumulation, State


class ResidentAccumulator(Protocol):
    """Adds up blocks of events on a device; the twin of :class:`~fasthep_archive.operations.protocol.Accumulator`."""

    def add(self, values: Sequence[Resident], texts: Mapping[str, Resident], columns: Mapping[str, Column]) -> None:
        """Add a block: the program's outputs for this accumulation, and columns of the file by branch.

        :param texts: on the device, those that :func:`texts` names. :param columns: on the host.
        :raises OutOfMemory: if there is no room on the device.
        """

    def state(self) -> State:
        """Return what has been added up, the same as on the host."""


def started(accumulation: Accumulation, tools: Tools, cache: Path) -> ResidentAccumulator:
    """Return an empty accumulator for columns on a device.

    :raises OutOfMemory: if there is no room on the device.
    """
    return _STARTS.get(type(accumulation), _OnHost)(accumulation, tools, cache)


def texts(accumulations: Iterable[Accumulation]) -> tuple[str, ...]:
    """Return the branches that are needed on a device beside the inputs of the program."""
    resident = (accumulation for accumulation in accumulations if type(accumulation) in _STARTS)
    return tuple(dict.fromkeys(branch for accumulation in resident for branch in accumulation.texts))


class _ResidentFiller:
    """Fills a histogram."""

    def __init__(self, filling: Filling, tools: Tools, cache: Path) -> None:
        self._filling = filling
        self._tools = tools
        self._cache = cache
        self._host: Filler = filling.start(cache)
        self._axes = [resident_axis(tools, axis) for axis in self._host.axes]
        self._sums = self._begun()

    def add(self, values: Sequence[Resident], texts: Mapping[str, Resident], columns: Mapping[str, Column]) -> None:
        left, entries = list(values), values[0].size
        if not entries:
            return
        cells = self._tools.words("cells", entries)
        if self._filling.selected:
            self._tools.launch("selected_cells", entries, cells, left.pop(0).content)
        else:
            self._tools.device.clear(cells)
        given = [left.pop() for _ in self._sums][::-1] if self._filling.weights == "given" else []
        sample = left.pop() if self._filling.sampled else None
        if sample is not None and sample.valid is not None:
            self._tools.launch("drop_missing", entries, cells, sample.valid)
        offsets = next((value.offsets for value in values if value.offsets is not None), None)
        remaining = iter(left)
        placed = [
            self._text(axis, texts, offsets, entries) if axis.kind == "texts" else next(remaining)
            for axis in self._filling.axes
        ]
        before = self._host.sizes()
        place(self._tools, cells, entries, self._axes, placed)
        if self._host.sizes() != before:
            self._take()
            self._host.grow(before)
            self._sums = self._begun()
        for number, sums in enumerate(self._sums):
            weights = self._weights(given, number, entries)
            if isinstance(sums, ResidentMoments):
                assert sample is not None, "means are those of samples"
                sums.add(cells, entries, self._tools.numbers(sample, "samples"), weights)
            else:
                sums.add(cells, entries, weights)

    def state(self) -> State:
        self._take()
        return self._host.state()

    def _begun(self) -> list[ResidentSums | ResidentMoments]:
        weighted = self._filling.weights != "none"
        kind = ResidentMoments if self._filling.sampled else ResidentSums
        return [kind(self._tools, sums.cells, weighted=weighted, cache=self._cache) for sums in self._host.sums]

    def _take(self) -> None:
        for taken, sums in zip(self._host.sums, self._sums, strict=True):
            taken.merge(sums.total())  # type: ignore[arg-type] # both are of one storage

    def _weights(self, given: Sequence[Resident], number: int, entries: int) -> Span | None:
        match self._filling.weights:
            case "given":
                return self._tools.numbers(given[number], "weights")
            case "unit":
                weights = self._tools.words("weights", entries)
                self._tools.launch("fill_numbers", entries, weights, 1.0)
                return weights
            case "none":
                return None

    def _text(self, axis: AxisFill, texts: Mapping[str, Resident], offsets: Span | None, entries: int) -> Resident:
        """Return a text column with one text per entry: an event's text counts for each of its entries."""
        codes = self._tools.words(f"codes of {axis.branch}", entries)
        if axis.branch is None:
            self._tools.device.clear(codes)
            return Resident(dtype="text", content=codes, size=entries, words=(axis.text or "",))
        column = texts[axis.branch]
        if offsets is None:
            return column
        self._tools.launch("spread", column.size, codes, column.content, offsets)
        return replace(column, content=codes, size=entries, valid=None)


class _ResidentCounter:
    """Counts events by the number of cuts that they pass."""

    def __init__(self, counts: Counts, tools: Tools, cache: Path) -> None:
        self._weighted = counts.weighted
        self._tools = tools
        self._host: Counter = counts.start(cache)
        self._sums = [ResidentSums(tools, s.cells, weighted=s.weighted, cache=cache) for s in self._host.sums]

    def add(self, values: Sequence[Resident], texts: Mapping[str, Resident], columns: Mapping[str, Column]) -> None:
        weights = self._tools.numbers(values[-1], "weights") if self._weighted else None
        for sums, depth in zip(self._sums, values, strict=False):
            sums.add(depth.content, depth.size, weights)

    def state(self) -> State:
        for taken, sums in zip(self._host.sums, self._sums, strict=True):
            taken.merge(sums.total())
        return self._host.state()


class _OnHost:
    """Adds up on the host, column by column copied back."""

    def __init__(self, accumulation: Accumulation, tools: Tools, cache: Path) -> None:
        self._tools = tools
        self._host = accumulation.start(cache)

    def add(self, values: Sequence[Resident], texts: Mapping[str, Resident], columns: Mapping[str, Column]) -> None:
        self._host.add([self._tools.downloaded(value) for value in values], columns)

    def state(self) -> State:
        return self._host.state()


_STARTS: Mapping[type, Callable[..., ResidentAccumulator]] = MappingProxyType(
    {Filling: _ResidentFiller, Counts: _ResidentCounter}
)
