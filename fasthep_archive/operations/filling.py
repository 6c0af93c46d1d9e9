"""How histograms are filled in a pass and merged.

Axes with a growing number of categories take them in order of appearance, which is the order of the events: neither the
partitioning nor the number of workers can change it.

A histogram with variations is filled with several weights. Its bins are found once; the sums of each weight are a
*layer* of their own, and the layers become the bins of its last axis.

A profile is filled with samples, of which each cell has the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.products import Storage
from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Array, Column
from fasthep_archive.kernels import bins
from fasthep_archive.kernels.moments import Moments
from fasthep_archive.kernels.sums import WeightedSums
from fasthep_archive.operations.protocol import Part, State

Categories: TypeAlias = tuple[int, ...] | tuple[str, ...]
Weights: TypeAlias = Literal["none", "unit", "given"]
Sums: TypeAlias = WeightedSums | Moments


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
        without those of text axes, then the sample, if there is one, and the weight of each layer comes last.
    :ivar weights: whether entries are counted, weigh one, or have weights.
    :ivar sampled: whether each entry has a sample, whose mean is wanted.
    :ivar layers: the layers that are filled: positions on the axis of variations, or the one layer of a histogram
        without it.
    """

    axes: tuple[AxisFill, ...]
    selected: bool
    weights: Weights
    layers: tuple[int, ...] = (0,)
    sampled: bool = False

    @property
    def storage(self) -> Storage:
        """Return what a cell holds."""
        if self.sampled:
            return "mean" if self.weights == "none" else "weighted_mean"
        return "count" if self.weights == "none" else "weighted"

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
            **({"sampled": True} if self.sampled else {}),
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
        self.sums: list[Sums] = [sums(filling.storage, prod(self.sizes()), cache) for _ in filling.layers]
        self._memory = np.empty(0, np.int64)
        self._ones = np.empty(0)

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        columns = list(values)
        selected = cast("NDArray[np.bool_]", columns.pop(0).content) if self._filling.selected else None
        weights = [columns.pop().content for _ in self.sums][::-1] if self._filling.weights == "given" else None
        sample = columns.pop() if self._filling.sampled else None
        jagged = next((value.offsets for value in values if value.offsets is not None), None)
        remaining = iter(columns)
        placed = [
            next(remaining) if axis.kind != "texts" else _texts(axis, texts, jagged, len(values[0].content))
            for axis in self._filling.axes
        ]
        cells = self._cells(placed, selected, None if sample is None else sample.valid)
        if self._filling.weights == "unit":
            weights = [self._unit_weights(len(cells))] * len(self.sums)
        for number, sums in enumerate(self.sums):
            weight = None if weights is None else weights[number]
            if isinstance(sums, Moments):
                sums.add(cells, cast("Column", sample).content, weight)
            else:
                sums.add(cells, weight)

    def state(self) -> State:
        categories: JSON = [_met(axis) for axis in self.axes]
        arrays = {
            f"{layer}.{name}": array
            for layer, sums in zip(self._filling.layers, self.sums, strict=True)
            for name, array in sums.state().items()
        }
        return State(header={"categories": categories, "layers": list(self._filling.layers)}, arrays=arrays)

    def _cells(
        self, columns: Sequence[Column], selected: NDArray[np.bool_] | None, present: NDArray[np.bool_] | None
    ) -> bins.Cells:
        """Return the cell of each entry, until the next block comes; axes and sums may have grown.

        :param present: which entries have a sample; none: all.
        """
        cells = self._memory_for(len(columns[0].content if selected is None else selected))
        if selected is None:
            cells.fill(0)
        else:
            np.subtract(selected, 1, out=cells, dtype=np.int64)  # 0, and -1 for what is not selected
        if present is not None:
            np.putmask(cells, ~present, -1)
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


def sums(storage: Storage, cells: int, cache: Path) -> Sums:
    """Return empty sums for ``cells`` cells."""
    if storage in ("mean", "weighted_mean"):
        return Moments(cells, cache=cache, weighted=storage == "weighted_mean")
    return WeightedSums(cells, cache=cache, weighted=storage == "weighted")


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

    :ivar arrays: with flow bins, over the dataset axis, if split, the axes, and the layers, if there are several; by
        the names that a :class:`~fasthep_archive.data.products.Histogram` has for them.
    :ivar categories: of each axis that has any.
    """

    arrays: Mapping[str, Array]
    categories: tuple[Categories | None, ...]


_ARRAYS: Mapping[Storage, Mapping[str, Callable[..., Array]]] = MappingProxyType(
    {
        "count": {"values": lambda sums: sums.counts},
        "weighted": {"values": WeightedSums.sumw, "variances": WeightedSums.sumw2},
        "mean": {"values": Moments.means, "variances": Moments.variances, "counts": lambda sums: sums.counts},
        "weighted_mean": {
            "values": Moments.means,
            "variances": Moments.variances,
            "sumw": Moments.sumw,
            "sumw2": Moments.sumw2,
        },
    }
)
"""What a histogram has of its cells."""

_WHOLE: Mapping[Storage, str] = MappingProxyType({"count": "values", "mean": "counts"})
"""Which of these arrays holds whole numbers."""

_REST = None
"""The row of the whole histogram where it is not split, and of the overflow where it is."""


def merged(
    parts: Iterable[Part],
    axes: Sequence[AxisFill],
    rows: Rows | None,
    storage: Storage,
    cache: Path,
    *,
    layers: int | None = None,
) -> Merged:
    """Return the histogram of all ``parts``, which come in plan order.

    :param rows: the bins of the dataset axis; none: not split by dataset.
    :param layers: how many there are, for an axis of them; none: no such axis.
    """
    names = [_REST] if rows is None else [*rows.names, *([_REST] if rows.overflow else [])]
    totals = {name: [_Total(axes, storage, cache) for _ in range(layers or 1)] for name in names}
    together = _Total(axes, storage, cache)
    for part in parts:
        met = _found(part.state)
        together.meet(met)
        row = totals[part.dataset if part.dataset in totals else _REST]
        for layer, arrays in _layers(part.state):
            row[layer].add(met, arrays)
    dense = [total.arranged(together.categories) for name in names for total in totals[name]]
    inner = together.shape(together.categories)
    shape = (len(names), layers or 1, *inner)  # no row at all where a stage applies to no dataset
    arrays = {
        name: _stacked([array(sums) for sums in dense], shape, layers, rows) for name, array in _ARRAYS[storage].items()
    }
    whole = _WHOLE.get(storage)
    if whole is not None:  # nothing says what the type of no numbers is
        arrays[whole] = arrays[whole].astype(np.int64, copy=False)
    return Merged(arrays=arrays, categories=tuple(together.categories))


def _stacked(sums: Sequence[Array], shape: tuple[int, ...], layers: int | None, rows: Rows | None) -> Array:
    """Return the sums of all rows and layers as one array, whose last axis is that of the layers."""
    stacked = np.moveaxis(np.array(sums).reshape(shape), 1, -1)
    if layers is None:
        stacked = stacked[..., 0]
    return np.ascontiguousarray(stacked[0] if rows is None else stacked)


class _Total:
    """The sums over some parts, and the categories that they met."""

    def __init__(self, fills: Sequence[AxisFill], storage: Storage, cache: Path):
        self._fills = fills
        self._cache = cache
        self.categories: list[Categories | None] = [_listed(fill) for fill in fills]
        self._sums = sums(storage, prod(self.shape(self.categories)), cache)

    def shape(self, categories: Sequence[Categories | None]) -> list[int]:
        """Return the sizes of the axes once ``categories`` have been met."""
        return [fill.size(found) for fill, found in zip(self._fills, categories, strict=True)]

    def add(self, theirs: Sequence[Categories | None], arrays: Mapping[str, Array]) -> None:
        """Add a layer of a part that has met the categories ``theirs``."""
        old = list(self.categories)
        self.meet(theirs)
        self._sums = self._moved(self._sums, old, self.categories)
        found = type(self._sums).from_state(arrays, cache=self._cache)
        moved = self._moved(found, theirs, self.categories)
        self._sums.merge(moved)  # type: ignore[arg-type] # both are of one storage

    def meet(self, categories: Sequence[Categories | None]) -> None:
        """Add categories that were not met before, at the end."""
        for number, found in enumerate(categories):
            mine = self.categories[number]
            if mine is not None and found is not None:
                self.categories[number] = cast("Categories", tuple(dict.fromkeys((*mine, *found))))

    def arranged(self, categories: Sequence[Categories | None]) -> Sums:
        """Return the sums in the cells that ``categories``, which include these, give."""
        return self._moved(self._sums, self.categories, categories)

    def _moved(self, sums: Sums, old: Sequence[Categories | None], new: Sequence[Categories | None]) -> Sums:
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
