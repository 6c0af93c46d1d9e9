"""How histograms are filled in a pass and merged.

Axes with a growing number of categories take them in order of appearance, which is the order of the events: neither the
partitioning nor the number of workers can change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Array, Column
from fasthep_archive.kernels import bins
from fasthep_archive.kernels.sums import WeightedSums
from fasthep_archive.operations.protocol import Accumulator, Part, State

Categories: TypeAlias = tuple[int, ...] | tuple[str, ...]
Weights: TypeAlias = Literal["none", "unit", "given"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisFill:
    """How one axis finds the bin of a value.

    :ivar edges: of regular and variable axes. :ivar categories: listed ones; none where the axis grows.
    :ivar branch: of text axes, where the texts come from; or ``text``, the same for all entries.
    """

    kind: Literal["regular", "variable", "integers", "texts", "bool"]
    edges: tuple[float, ...] = ()
    categories: Categories | None = None
    branch: str | None = None
    text: str | None = None

    def axis(self, cache: Path) -> bins.Axis:
        """Return the axis, ready to place values."""
        if self.kind in ("regular", "variable"):
            return bins.EdgeAxis(np.array(self.edges), cache=cache)
        if self.kind == "bool":
            return bins.BoolAxis(cache=cache)
        growing = self.categories is None
        if self.kind == "texts":
            return bins.TextAxis(cast("tuple[str, ...]", self.categories or ()), growing=growing, cache=cache)
        return bins.IntAxis(cast("tuple[int, ...]", self.categories or ()), growing=growing, cache=cache)

    def size(self, categories: Categories | None) -> int:
        """Return the number of bins, flow bins included, once ``categories`` have been met."""
        if self.kind in ("regular", "variable"):
            return len(self.edges) + 1
        if self.kind == "bool":
            return 2
        return len(categories or ()) + (self.categories is not None)

    def canonical(self) -> JSON:
        """Return the axis as JSON; numbers of edges in hexadecimal."""
        return {
            "kind": self.kind,
            "edges": [edge.hex() for edge in self.edges],
            "categories": None if self.categories is None else list(self.categories),
            "text": self.text,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Filling:
    """A histogram to fill.

    :ivar selected: whether the first of the fill's values says which entries count; the axes' values follow, in order,
        without those of text axes, and the weight comes last.
    :ivar weights: whether entries are counted, weigh one, or have weights.
    """

    axes: tuple[AxisFill, ...]
    selected: bool
    weights: Weights

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(axis.branch for axis in self.axes if axis.branch is not None)

    def canonical(self) -> JSON:
        return {
            "adds": "histogram",
            "axes": [axis.canonical() for axis in self.axes],
            "selected": self.selected,
            "weights": self.weights,
        }

    def start(self, cache: Path) -> Accumulator:
        return _Filler(self, cache)


class _Filler:
    """Fills one histogram with the entries of one partition."""

    def __init__(self, filling: Filling, cache: Path):
        self._filling = filling
        self._axes = [axis.axis(cache) for axis in filling.axes]
        self._sums = WeightedSums(prod(_sizes(self._axes)), cache=cache, weighted=filling.weights != "none")

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        columns = list(values)
        selected = cast("NDArray[np.bool_]", columns.pop(0).content) if self._filling.selected else None
        weights = columns.pop().content if self._filling.weights == "given" else None
        jagged = next((value.offsets for value in values if value.offsets is not None), None)
        remaining = iter(columns)
        placed = [
            next(remaining) if axis.kind != "texts" else _texts(axis, texts, jagged, len(values[0].content))
            for axis in self._filling.axes
        ]
        cells = self._cells(placed, selected)
        self._sums.add(cells, np.ones(len(cells)) if self._filling.weights == "unit" else weights)

    def state(self) -> State:
        categories: JSON = [_met(axis) for axis in self._axes]
        return State(header={"categories": categories}, arrays=self._sums.state())

    def _cells(self, columns: Sequence[Column], selected: NDArray[np.bool_] | None) -> bins.Cells:
        """Return the cell of each entry; axes and sums may have grown."""
        if selected is None:
            cells = np.zeros(len(columns[0].content), np.int64)
        else:
            cells = np.where(selected, np.int64(0), np.int64(-1))
        before = _sizes(self._axes)
        bins.place(cells, self._axes, columns)
        after = _sizes(self._axes)
        if after != before:
            moves = bins.moves(before, after, [None] * len(before))
            self._sums = self._sums.moved(prod(after), moves)
        return cells


def _sizes(axes: Sequence[bins.Axis]) -> list[int]:
    return [axis.size for axis in axes]


def _met(axis: bins.Axis) -> JSON:
    return list(axis.categories) if isinstance(axis, (bins.IntAxis, bins.TextAxis)) else None


def _texts(axis: AxisFill, columns: Mapping[str, Column], offsets: NDArray[np.int64] | None, entries: int) -> Column:
    """Return a text column with one text per entry: an event's text counts for each of its entries."""
    if axis.branch is None:
        return Column(np.zeros(entries, np.int64), None, None, (axis.text or "",))
    texts = columns[axis.branch]
    if offsets is None:
        return texts
    return Column(np.repeat(texts.content, np.diff(offsets)), None, None, texts.words)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The bins of the dataset axis; ``overflow`` takes datasets that have none."""

    names: tuple[str, ...]
    overflow: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """A merged histogram.

    :ivar values: with flow bins, over the dataset axis, if split, and the axes; int64 counts or float64 sums.
    :ivar variances: sums of squared weights; none when counted.
    :ivar categories: of each axis that has any.
    """

    values: Array
    variances: Array | None
    categories: tuple[Categories | None, ...]


_REST = None
"""The row of the whole histogram where it is not split, and of the overflow where it is."""


def merged(parts: Iterable[Part], axes: Sequence[AxisFill], rows: Rows | None, weighted: bool, cache: Path) -> Merged:
    """Return the histogram of all ``parts``, which come in plan order; split by dataset unless ``rows`` is none."""
    names = [_REST] if rows is None else [*rows.names, *([_REST] if rows.overflow else [])]
    totals = {name: _Total(axes, weighted, cache) for name in names}
    together = _Total(axes, weighted, cache)
    for part in parts:
        together.meet(_found(part.state))
        totals[part.dataset if part.dataset in totals else _REST].add(part.state)
    dense = [totals[name].arranged(together.categories) for name in names]
    shape = (len(dense), *together.shape(together.categories))  # no row at all where a stage applies to no dataset
    values = np.zeros(shape, np.float64 if weighted else np.int64)
    variances = np.zeros(shape) if weighted else None
    for row, sums in enumerate(dense):
        values[row] = (sums.sumw() if weighted else sums.counts).reshape(shape[1:])
        if variances is not None:
            variances[row] = sums.sumw2().reshape(shape[1:])
    if rows is None:
        values, variances = values[0], None if variances is None else variances[0]
    return Merged(values=values, variances=variances, categories=tuple(together.categories))


class _Total:
    """The sums over some parts, and the categories that they met."""

    def __init__(self, fills: Sequence[AxisFill], weighted: bool, cache: Path):
        self._fills = fills
        self._cache = cache
        self.categories: list[Categories | None] = [_listed(fill) for fill in fills]
        self._sums = WeightedSums(prod(self.shape(self.categories)), cache=cache, weighted=weighted)

    def shape(self, categories: Sequence[Categories | None]) -> list[int]:
        """Return the sizes of the axes once ``categories`` have been met."""
        return [fill.size(found) for fill, found in zip(self._fills, categories, strict=True)]

    def add(self, state: State) -> None:
        """Add a part."""
        theirs = _found(state)
        old = list(self.categories)
        self.meet(theirs)
        self._sums = self._moved(self._sums, old, self.categories)
        found_sums = WeightedSums.from_state(state.arrays, cache=self._cache)
        self._sums.merge(self._moved(found_sums, theirs, self.categories))

    def meet(self, categories: Sequence[Categories | None]) -> None:
        """Add categories that were not met before, at the end."""
        for number, found in enumerate(categories):
            mine = self.categories[number]
            if mine is not None and found is not None:
                self.categories[number] = cast("Categories", tuple(dict.fromkeys((*mine, *found))))

    def arranged(self, categories: Sequence[Categories | None]) -> WeightedSums:
        """Return the sums in the cells that ``categories``, which include these, give."""
        return self._moved(self._sums, self.categories, categories)

    def _moved(
        self, sums: WeightedSums, old: Sequence[Categories | None], new: Sequence[Categories | None]
    ) -> WeightedSums:
        """Return ``sums``, whose axes have the categories ``old``, in the cells that ``new`` gives."""
        if list(old) == list(new):
            return sums
        before, after = self.shape(old), self.shape(new)
        places = [
            _indices(found, now, overflow=fill.categories is not None)
            for fill, found, now in zip(self._fills, old, new, strict=True)
        ]
        return sums.moved(prod(after), bins.moves(before, after, places))


def _found(state: State) -> list[Categories | None]:
    """Return the categories that a part met, by axis."""
    header = cast("Mapping[str, JSON]", state.header)
    found = cast("Sequence[Categories | None]", header["categories"])
    return [None if categories is None else cast("Categories", tuple(categories)) for categories in found]


def _listed(fill: AxisFill) -> Categories | None:
    """Return the categories that an axis starts with; none for axes without categories."""
    return (fill.categories or ()) if fill.kind in ("integers", "texts") else None


def _indices(old: Categories | None, new: Categories | None, *, overflow: bool) -> bins.Cells | None:
    """Return the place of each old category among the new ones; none where every bin keeps its place."""
    if old is None or new is None or overflow or tuple(new[: len(old)]) == tuple(old):
        return None
    places = {category: place for place, category in enumerate(new)}
    return np.array([places[category] for category in old], np.int64)
