"""Histograms are filled block by block: no block leaves anything behind for the next."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.bins import regular_edges
from fasthep_archive.operations.filling import AxisFill, Filler, Filling

EDGES = AxisFill(kind="regular", edges=tuple(regular_edges(10, -2.0, 2.0).tolist()))
GROWING = AxisFill(kind="integers")
ENTRIES = 3000


def values(filling: Filling, chosen: slice) -> list[Column]:
    """Return what the filling is given for some entries."""
    random = np.random.default_rng(4)
    selected, x = random.random(ENTRIES) < 0.6, random.normal(0, 1, ENTRIES)
    numbers, weights = random.integers(-9, 9, ENTRIES), random.normal(1, 0.3, ENTRIES)
    present = random.random(ENTRIES) < 0.9
    of_axes = {EDGES: Column(x[chosen], None, present[chosen]), GROWING: Column(numbers[chosen])}
    columns = [Column(selected[chosen])] if filling.selected else []
    columns += [of_axes[axis] for axis in filling.axes]
    return [*columns, Column(weights[chosen])] if filling.weights == "given" else columns


def filled(filling: Filling, blocks: Sequence[int], cache: Path) -> Filler:
    filler, begin = filling.start(cache), 0
    for size in (*blocks, ENTRIES - sum(blocks)):
        filler.add(values(filling, slice(begin, begin + size)), {})
        begin += size
    return filler


@pytest.mark.parametrize("weights", ["none", "unit", "given"])
@pytest.mark.parametrize("selected", [True, False])
@pytest.mark.parametrize("axes", [(EDGES,), (GROWING,), (EDGES, GROWING)], ids=["edges", "growing", "both"])
def test_blocks_of_all_sizes_give_what_one_gives(
    axes: tuple[AxisFill, ...], selected: bool, weights: str, kernel_cache: Path
):
    filling = Filling(axes=axes, selected=selected, weights=weights)
    found, expected = (
        filled(filling, blocks, kernel_cache).state() for blocks in ([0, 100, 3, 1000, 999, 1, 0, 400], [])
    )
    assert found.header == expected.header
    assert {name: array.tobytes() for name, array in found.arrays.items()} == {
        name: array.tobytes() for name, array in expected.arrays.items()
    }


def test_blocks_share_memory(kernel_cache: Path):
    """New memory for each would cost a page fault for every 512 entries."""
    filler = filled(Filling(axes=(EDGES,), selected=True, weights="unit"), [1000], kernel_cache)
    before = filler._memory, filler._ones
    for _ in range(3):
        filler.add(values(filler._filling, slice(0, 900)), {})
    assert all(new is old for new, old in zip((filler._memory, filler._ones), before, strict=True))


def test_the_selection_says_how_many_entries_there_are(kernel_cache: Path):
    """No axis does, where the only one has the same text for all."""
    text = AxisFill(kind="texts", categories=("a",), text="a")
    filler = Filling(axes=(text,), selected=True, weights="none").start(kernel_cache)
    filler.add([Column(np.array([True, False, True]))], {})
    assert filler.sums[0].counts.tolist() == [2, 0]
