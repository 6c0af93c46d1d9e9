"""Where the boxes of a directed graph go: layers from top to bottom, few crossings, no wider than a page.

The method is Sugiyama's (IEEE Trans. SMC 11, 109, 1981): longest paths decide the layers, barycentres the order within
a layer, and the horizontal places follow from the order. Two things are our own choice: a layer is full when it is as
wide as the page, so that a stage with forty histograms after it gives several rows and not one very wide one; and all
edges of one box share one *trunk* through the layers that they cross. The result depends on the arguments alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import TypeAlias

_TRUNK_WIDTH = 10.0
_TRUNK_WEIGHT = 4.0
"""How much more a trunk resists being bent than a box resists being moved."""
_ORDER_SWEEPS, _PLACE_SWEEPS = 12, 24

Item: TypeAlias = tuple[str, int]
"""What stands in a layer: ``("box", i)``, or ``("trunk", i)`` where the edges of box ``i`` pass through."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box to be placed, with its size in pixels."""

    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a box stands: its horizontal middle and its upper edge, in pixels."""

    x: float
    top: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A piece of one or several edges between two neighbouring layers, from a lower to an upper edge, in pixels.

    :ivar tail: number of the box whose edges these are.
    :ivar head: number of the box that is reached; none where the trunk goes on.
    :ivar through: y to which the trunk goes straight on after ``end``; that of ``end`` at a box.
    """

    tail: int
    head: int | None
    start: tuple[float, float]
    end: tuple[float, float]
    through: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Places of boxes in their order, and the links between them."""

    width: float
    height: float
    places: tuple[Place, ...]
    links: tuple[Link, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layered:
    """Items by layer, in their order from left to right, and the links from each layer to the next."""

    boxes: Sequence[Box]
    layers: Sequence[list[Item]]
    links: Sequence[Sequence[tuple[Item, Item]]]

    def positions(self, depth: int) -> dict[Item, int]:
        """Return the position of each item of a layer."""
        return {item: position for position, item in enumerate(self.layers[depth])}

    def widths(self, depth: int) -> list[float]:
        """Return the widths of a layer's items."""
        return [self.boxes[index].width if kind == "box" else _TRUNK_WIDTH for kind, index in self.layers[depth]]

    def neighbours(self, depth: int, *, above: bool) -> list[list[int]]:
        """Return, for each item of a layer, the positions of its neighbours in the layer above or below."""
        own, other = self.positions(depth), self.positions(depth - 1 if above else depth + 1)
        found: list[list[int]] = [[] for _ in own]
        for upper, lower in self.links[depth - 1 if above else depth]:
            item, neighbour = (lower, upper) if above else (upper, lower)
            found[own[item]].append(other[neighbour])
        return found


def layout(
    boxes: Sequence[Box], edges: Sequence[tuple[int, int]], *, width: float, gap: float = 22.0, rise: float = 38.0
) -> Layout:
    """Return places for ``boxes`` such that every edge points downwards.

    :param edges: pairs (tail, head) of numbers of boxes.
    :param width: of the page in pixels; a layer is only wider when one box is, or for its trunks.
    :param gap: least distance between neighbours in a layer.
    :param rise: distance between layers.
    :raises graphlib.CycleError: if the edges form a cycle.
    """
    if not boxes:
        return Layout(width=0.0, height=0.0, places=(), links=())
    edges = sorted(set(edges))
    layered = _with_trunks(boxes, _rows(boxes, edges, width, gap), edges)
    layered = _fewest_crossings(layered)
    return _drawn(layered, _middles(layered, width, gap), rise)


def _rows(boxes: Sequence[Box], edges: Sequence[tuple[int, int]], width: float, gap: float) -> list[list[int]]:
    """Return the boxes of each layer: those with the longest way still to go first, then in the order given."""
    before: dict[int, set[int]] = {box: set() for box in range(len(boxes))}
    after: dict[int, set[int]] = {box: set() for box in range(len(boxes))}
    for tail, head in edges:
        before[head].add(tail)
        after[tail].add(head)
    to_go = [0] * len(boxes)
    for box in TopologicalSorter(after).static_order():
        to_go[box] = 1 + max((to_go[head] for head in after[box]), default=0)
    waiting = sorted(range(len(boxes)), key=lambda box: (-to_go[box], box))
    done: set[int] = set()
    rows: list[list[int]] = []
    while waiting:
        row: list[int] = []
        taken = -gap
        for box in waiting:
            if before[box] <= done and (not row or taken + gap + boxes[box].width <= width):
                row.append(box)
                taken += gap + boxes[box].width
        done.update(row)
        waiting = [box for box in waiting if box not in done]
        rows.append(sorted(row))
    return rows


def _with_trunks(boxes: Sequence[Box], rows: Sequence[Sequence[int]], edges: Sequence[tuple[int, int]]) -> _Layered:
    """Return the layers with a trunk wherever edges pass through."""
    layer_of = {box: depth for depth, row in enumerate(rows) for box in row}
    layers: list[list[Item]] = [[("box", box) for box in row] for row in rows]
    links: list[list[tuple[Item, Item]]] = [[] for _ in rows]
    reach: dict[int, int] = {}
    for tail, head in edges:
        reach[tail] = max(reach.get(tail, 0), layer_of[head])
    for tail, last in reach.items():
        upper: Item = ("box", tail)
        for depth in range(layer_of[tail] + 1, last):
            layers[depth].insert(len(layers[depth]) // 2, ("trunk", tail))
            links[depth - 1].append((upper, ("trunk", tail)))
            upper = ("trunk", tail)
    for tail, head in edges:
        neighbours = layer_of[head] == layer_of[tail] + 1
        links[layer_of[head] - 1].append((("box" if neighbours else "trunk", tail), ("box", head)))
    return _Layered(boxes=boxes, layers=layers, links=links[:-1])


def _fewest_crossings(layered: _Layered) -> _Layered:
    """Return the layers ordered by the mean position of neighbours, down and up in turn: the best order seen."""
    best, fewest = layered, _crossings(layered)
    for sweep in range(_ORDER_SWEEPS):
        if fewest == 0:
            break
        layers = [list(layer) for layer in layered.layers]
        layered = replace(layered, layers=layers)
        downwards = sweep % 2 == 0
        for depth in range(1, len(layers)) if downwards else range(len(layers) - 2, -1, -1):
            ratio = len(layers[depth - 1 if downwards else depth + 1]) / len(layers[depth])
            means = [
                sum(found) / len(found) if found else (position + 0.5) * ratio
                for position, found in enumerate(layered.neighbours(depth, above=downwards))
            ]
            layers[depth][:] = [
                item for _, item in sorted(zip(means, layers[depth], strict=True), key=lambda pair: pair[0])
            ]
        crossings = _crossings(layered)
        if crossings < fewest:
            best, fewest = layered, crossings
    return best


def _crossings(layered: _Layered) -> int:
    """Return how many pairs of links cross."""
    total = 0
    for depth in range(len(layered.links)):
        ends = [(upper, lower) for upper, found in enumerate(layered.neighbours(depth, above=False)) for lower in found]
        total += sum(a < c and b > d for index, (a, b) in enumerate(ends) for c, d in ends[index + 1 :])
    return total


def _middles(layered: _Layered, width: float, gap: float) -> list[list[float]]:
    """Return the middle of each item, as near to its neighbours as its layer allows. The left edge is 0."""
    last = len(layered.layers) - 1
    widths = [layered.widths(depth) for depth in range(last + 1)]
    weights = [[1.0 if kind == "box" else _TRUNK_WEIGHT for kind, _ in layer] for layer in layered.layers]
    xs = [_spread([width / 2] * len(row), [1.0] * len(row), row, width, gap) for row in widths]
    for sweep in range(_PLACE_SWEEPS):
        above = sweep % 2 == 0
        for depth in range(1, last + 1) if above else range(last - 1, -1, -1):
            other = xs[depth - 1 if above else depth + 1]
            found = layered.neighbours(depth, above=above)
            wanted = [sum(other[p] for p in ps) / len(ps) if ps else x for ps, x in zip(found, xs[depth], strict=True)]
            xs[depth] = _spread(wanted, weights[depth], widths[depth], width, gap)
    left = min(x - width / 2 for row, wide in zip(xs, widths, strict=True) for x, width in zip(row, wide, strict=True))
    return [[x - left for x in row] for row in xs]


def _spread(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float], page: float, gap: float
) -> list[float]:
    """Return the middles nearest to ``wanted`` (weighted least squares) that keep order and distances inside the page.

    Pool adjacent violators: with the least distances taken off, the middles must not fall from left to right. The best
    places within limits are the best places without them, clipped.
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + gap)
    blocks: list[tuple[float, float, int]] = []
    for target, weight, offset in zip(wanted, weights, offsets, strict=True):
        block = (weight * (target - offset), weight, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            moment, mass, count = blocks.pop()
            block = (block[0] + moment, block[1] + mass, block[2] + count)
        blocks.append(block)
    low = widths[0] / 2
    high = max(low, page - widths[-1] / 2 - offsets[-1])
    free = [min(high, max(low, moment / mass)) for moment, mass, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(free, offsets, strict=True)]


def _drawn(layered: _Layered, xs: Sequence[Sequence[float]], rise: float) -> Layout:
    """Return the finished layout."""
    boxes = layered.boxes
    tops, bottoms, right = [0.0], [0.0], 0.0
    places: dict[int, Place] = {}
    for depth, layer in enumerate(layered.layers):
        tops.append(bottoms[-1] + (rise if depth else 0.0))
        bottoms.append(tops[-1] + max(boxes[index].height for kind, index in layer if kind == "box"))
        places.update(
            {i: Place(x=x, top=tops[-1]) for (kind, i), x in zip(layer, xs[depth], strict=True) if kind == "box"}
        )
        right = max(right, xs[depth][-1] + layered.widths(depth)[-1] / 2)
    links: list[Link] = []
    for depth, between in enumerate(layered.links):
        upper_x = dict(zip(layered.layers[depth], xs[depth], strict=True))
        lower_x = dict(zip(layered.layers[depth + 1], xs[depth + 1], strict=True))
        for upper, lower in between:
            start = tops[depth + 1] + boxes[upper[1]].height if upper[0] == "box" else bottoms[depth + 1]
            arrives = lower[0] == "box"
            links.append(
                Link(
                    tail=upper[1],
                    head=lower[1] if arrives else None,
                    start=(upper_x[upper], start),
                    end=(lower_x[lower], tops[depth + 2]),
                    through=tops[depth + 2] if arrives else bottoms[depth + 2],
                )
            )
    return Layout(
        width=right, height=bottoms[-1], places=tuple(places[i] for i in range(len(boxes))), links=tuple(links)
    )
