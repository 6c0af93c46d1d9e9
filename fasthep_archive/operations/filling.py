"""How histograms are filled in a pass and merged.

Axes with a growing number of categories take them in order of appearance, which is the order of the events: neither the
partitioning nor the number of workers can change it.

A histogram with variations is filled with several weights. Its bins are found once; the sums of each weight are a
*layer* of their own, and the layers become the bins of its last axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from fasthep_archive.operations.protocol import Part, State

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
        without those of text axes, and the weight of each layer comes last.
    :ivar weights: whether entries are counted, weigh one, or have weights.
    :ivar layers: the layers that are filled: positions on the axis of variations, or the one layer of a histogram
        without it.
    """

    axes: tuple[AxisFill, ...]
    selected: bool
    weights: Weights
    layers: tuple[int, ...] = (0,)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(axis.branch for axis in self.axes if axis.branch is not None)

    def canonical(self) -> JSON:
        return {
            "adds": "histogram",
            "axes": [axis.canonical() for axis in self.axes],
            "selected": self.selected,
            "weights": self.weights,
            "layers": list(self.layers),
        }

    def start(self, cache: Path) -> Filler:
        return Filler(self, cache)


class Filler:
    """Fills one histogram with the entries of one partition.

    :ivar axes: which may grow. :ivar sums: of each layer, one per cell.
    """

    def __init__(self, filling: Filling, cache: Path):
        self._filling = filling
        self.axes = [axis.axis(cache) for axis in filling.axes]
        cells, weighted = prod(self.sizes()), filling.weights != "none"
        self.sums = [WeightedSums(cells, cache=cache, weighted=weighted) for _ in filling.layers]
        self._memory = np.empty(0, np.int64)
        self._ones = np.empty(0)

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        columns = list(values)
        selected = cast("NDArray[np.bool_]", columns.pop(0).content) if self._filling.selected else None
        weights = [columns.pop().content for _ in self.sums][::-1] if self._filling.weights == "given" else None
        jagged = next((value.offsets for value in values if value.offsets is not None), None)
        remaining = iter(columns)
        placed = [
            next(remaining) if axis.kind != "texts" else _texts(axis, texts, jagged, len(values[0].content))
            for axis in self._filling.axes
        ]
        cells = self._cells(placed, selected)
        if self._filling.weights == "unit":
            weights = [self._unit_weights(len(cells))] * len(self.sums)
        for number, sums in enumerate(self.sums):
            sums.add(cells, None if weights is None else weights[number])

    def state(self) -> State:
        categories: JSON = [_met(axis) for axis in self.axes]
        arrays = {
            f"{layer}.{name}": array
            for layer, sums in zip(self._filling.layers, self.sums, strict=True)
            for name, array in sums.state().items()
        }
        return State(header={"categories": categories, "layers": list(self._filling.layers)}, arrays=arrays)

    def _cells(self, columns: Sequence[Column], selected: NDArray[np.bool_] | None) -> bins.Cells:
        """Return the cell of each entry, until the next block comes; axes and sums may have grown."""
        cells = self._memory_for(len(columns[0].content if selected is None else selected))
        if selected is None:
            cells.fill(0)
        else:
            np.subtract(selected, 1, out=cells, dtype=np.int64)  # 0, and -1 for what is not selected
        before = self.sizes()
        bins.place(cells, self.axes, columns)
        self.grow(before)
        return cells

    def _memory_for(self, entries: int) -> bins.Cells:
        """Return memory for cells, the same for all blocks: new memory costs half as much as placing the entries."""
        if len(self._memory) < entries:
            self._memory = np.empty(entries, np.int64)
        return self._memory[:entries]

    def _unit_weights(self, entries: int) -> NDArray[np.float64]:
        """Return a one for each entry."""
        if len(self._ones) < entries:
            self._ones = np.ones(entries)
        return self._ones[:entries]

    def sizes(self) -> list[int]:
        """Return the sizes of the axes."""
        return [axis.size for axis in self.axes]

    def grow(self, before: Sequence[int]) -> bool:
        """Move the sums where they belong if the axes had the sizes ``before``; return whether these have changed."""
        after = self.sizes()
        if after == list(before):
            return False
        moves = bins.moves(before, after, [None] * len(before))
        self.sums = [sums.moved(prod(after), moves) for sums in self.sums]
        return True


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

    :ivar values: with flow bins, over the dataset axis, if split, the axes, and the layers, if there are several;
        int64 counts or float64 sums.
    :ivar variances: sums of squared weights; none when counted.
    :ivar categories: of each axis that has any.
    """

    values: Array
    variances: Array | None
    categories: tuple[Categories | None, ...]


_REST = None
"""The row of the whole histogram where it is not split, and of the overflow where it is."""


def merged(
    parts: Iterable[Part],
    axes: Sequence[AxisFill],
    rows: Rows | None,
    weighted: bool,
    cache: Path,
    *,
    layers: int | None = None,
) -> Merged:
    """Return the histogram of all ``parts``, which come in plan order.

    :param rows: the bins of the dataset axis; none: not split by dataset.
    :param layers: how many there are, for an axis of them; none: no such axis.
    """
    names = [_REST] if rows is None else [*rows.names, *([_REST] if rows.overflow else [])]
    totals = {name: [_Total(axes, weighted, cache) for _ in range(layers or 1)] for name in names}
    together = _Total(axes, weighted, cache)
    for part in parts:
        met = _found(part.state)
        together.meet(met)
        row = totals[part.dataset if part.dataset in totals else _REST]
        for layer, arrays in _layers(part.state):
            row[layer].add(met, arrays)
    dense = [total.arranged(together.categories) for name in names for total in totals[name]]
    inner = together.shape(together.categories)
    shape = (len(names), layers or 1, *inner)  # no row at all where a stage applies to no dataset
    values = _stacked([sums.sumw() if weighted else sums.counts for sums in dense], shape, layers, rows)
    variances = _stacked([sums.sumw2() for sums in dense], shape, layers, rows) if weighted else None
    if values.size == 0 and not weighted:
        values = values.astype(np.int64)
    return Merged(values=values, variances=variances, categories=tuple(together.categories))


def _stacked(sums: Sequence[Array], shape: tuple[int, ...], layers: int | None, rows: Rows | None) -> Array:
    """Return the sums of all rows and layers as one array, whose last axis is that of the layers."""
    stacked = np.moveaxis(np.array(sums).reshape(shape), 1, -1)
    if layers is None:
        stacked = stacked[..., 0]
    return np.ascontiguousarray(stacked[0] if rows is None else stacked)


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

    def add(self, theirs: Sequence[Categories | None], arrays: Mapping[str, Array]) -> None:
        """Add a layer of a part that has met the categories ``theirs``."""
        old = list(self.categories)
        self.meet(theirs)
        self._sums = self._moved(self._sums, old, self.categories)
        found_sums = WeightedSums.from_state(arrays, cache=self._cache)
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


def _layers(state: State) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """Yield the layers that a part has filled, and the state of the sums of each."""
    header = cast("Mapping[str, Sequence[int]]", state.header)
    for layer in header["layers"]:
        prefix = f"{layer}."
        found = state.arrays.items()
        yield layer, {name.removeprefix(prefix): array for name, array in found if name.startswith(prefix)}


def _listed(fill: AxisFill) -> Categories | None:
    """Return the categories that an axis starts with; none for axes without categories."""
    return (fill.categories or ()) if fill.kind in ("integers", "texts") else None


def _indices(old: Categories | None, new: Categories | None, *, overflow: bool) -> bins.Cells | None:
    """Return the place of each old category among the new ones; none where every bin keeps its place."""
    if old is None or new is None or overflow or tuple(new[: len(old)]) == tuple(old):
        return None
    places = {category: place for place, category in enumerate(new)}
    return np.array([places[category] for category in old], np.int64)
