"""Binning and exact sums as PTX, run on the CPU: the same cells, counts and sums as the compiled ones, and as fsum."""

import math
from pathlib import Path

import cuda_target
import numpy as np
import pytest

from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.bins import BoolAxis, EdgeAxis, IntAxis
from fasthep_archive.kernels.cuda import fills_source
from fasthep_archive.kernels.sums import WeightedSums, _Limbs

EDGES = {
    "regular": np.linspace(0.1, 0.8, 71),
    "around pi": np.linspace(-math.pi, math.pi, 65),
    "variable": np.array([-3.0, -1.0, 0.0, 5e-324, 0.5, 2.0]),
    "one bin": np.array([0.0, 1.0]),
}


def values_around(edges: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(1)
    spread = edges[-1] - edges[0]
    near = [np.nextafter(edges, -np.inf), edges, np.nextafter(edges, np.inf)]
    return np.concatenate(
        [
            *near,
            [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e300],
            random.uniform(edges[0] - spread, edges[-1] + spread, 2000),
        ]
    )


def run(name: str, turns: int, *arguments: object) -> None:
    cuda_target.fills().run(name, turns, [turns, *arguments])


@pytest.mark.parametrize("name", EDGES)
def test_values_are_placed_among_edges(name: str, kernel_cache: Path):
    edges = EDGES[name]
    values = values_around(edges)
    expected = np.random.default_rng(3).integers(-1, 3, values.size)
    found = expected.copy()
    axis = EdgeAxis(edges, cache=kernel_cache)
    axis.place(expected, Column(values))
    if axis._scale is not None:
        run("place_regular", values.size, found, values, edges, edges.size - 1, axis._scale)
    else:
        run("place_between", values.size, found, values, edges, edges.size)
    assert (found == expected).all()


@pytest.mark.parametrize("name", EDGES)
def test_python_runs_the_same_text(name: str):
    edges = EDGES[name]
    values = values_around(edges)
    cells = np.zeros(values.size, np.int64)
    found = cells.copy()
    for i in range(values.size):
        fills_source.place_between(i, cells, values, edges, edges.size)
    run("place_between", values.size, found, values, edges, edges.size)
    assert (found == cells).all()


@pytest.mark.parametrize("name", EDGES)
def test_search_and_guess_agree(name: str):
    edges = EDGES[name]
    values = values_around(edges)
    found = np.zeros(values.size, np.int64)
    run("place_between", values.size, found, values, edges, edges.size)
    with np.errstate(invalid="ignore"):
        expected = np.where(np.isnan(values), edges.size, np.searchsorted(edges, values, side="right"))
    assert (found == expected).all()


def test_categories_are_found(kernel_cache: Path):
    axis = IntAxis([5, -2, 2**40, 0], growing=False, cache=kernel_cache)
    values = np.array([5, 0, 1, -2, 2**40, -(2**63), 2**63 - 1])
    expected = np.zeros(values.size, np.int64)
    axis.place(expected, Column(values))
    found, positions = np.zeros(values.size, np.int64), np.empty(values.size, np.int64)
    run("find_categories", values.size, positions, values, axis._keys, axis._places, len(axis._keys), 4)
    run("place_positions", values.size, found, positions, axis.size)
    assert (found == expected).all()


def test_truth_values_are_placed(kernel_cache: Path):
    truth = np.array([True, False, True])
    expected = np.array([4, -1, 2])
    found = expected.copy()
    BoolAxis(cache=kernel_cache).place(expected, Column(truth))
    run("place_positions", 3, found, truth.astype(np.int64), 2)
    assert (found == expected).all()


WEIGHTS = {
    "usual": lambda random: random.normal(1, 0.3, 5000),
    "any": lambda random: random.integers(-(2**63), 2**63 - 1, 5000).view(np.float64),
    "cancelling": lambda random: np.concatenate([w := 10 ** random.uniform(-300, 300, 2500), -w[::-1]]),
    "subnormal": lambda random: random.integers(-1000, 1000, 5000) * 5e-324,
    "one infinity": lambda random: np.where(random.random(5000) < 0.001, np.inf, 1e308),
    "zeros": lambda random: random.normal(0, 1, 5000) * 0.0,
}


class OnPtx:
    """Weighted sums whose loops are PTX, with what the host does between them."""

    def __init__(self, cells: int) -> None:
        self.counts = np.zeros(cells, np.int64)
        self.sums = [_Limbs(cells), _Limbs(cells)]

    def add(self, cells: np.ndarray, weights: np.ndarray) -> None:
        size, turns = self.counts.size, cells.size
        run("count_cells", turns, cells, self.counts, size)
        for squared, limbs in enumerate(self.sums):
            needed = np.full(2, 2**62)
            run("extent", turns, cells, size, weights, bool(squared), needed)
            if needed[0] < 2**62:
                limbs._cover(int(needed[0]), int(-needed[1]) + 3)
            flat, first, width, nonfinite = limbs.window()
            run("add_values", turns, cells, size, weights, bool(squared), flat, first, width, nonfinite)
            if width:
                run("settle", size, flat, width)


@pytest.mark.parametrize("name", WEIGHTS)
def test_sums_are_those_of_fsum(name: str):
    random = np.random.default_rng(9)
    weights = WEIGHTS[name](random)
    cells = random.integers(-1, 8, weights.size)
    sums = OnPtx(7)
    sums.add(cells, weights)
    for cell, found in enumerate(sums.sums[0].rounded()):
        inside = weights[cells == cell].tolist()
        try:
            expected = math.nan if any(map(math.isnan, inside)) else math.fsum(inside)
        except ValueError:  # both infinities
            expected = math.nan
        except OverflowError:
            continue  # fsum gives up on the way; the compiled sums are compared below
        assert repr(float(found)) == repr(expected)


@pytest.mark.parametrize("name", WEIGHTS)
def test_sums_are_the_compiled_ones_in_any_partition(name: str, kernel_cache: Path):
    random = np.random.default_rng(10)
    weights = WEIGHTS[name](random)
    cells = random.integers(-1, 8, weights.size)
    compiled = WeightedSums(7, cache=kernel_cache)
    compiled.add(cells, weights)
    sums = OnPtx(7)
    order = random.permutation(weights.size)
    for part in np.array_split(order, 3):
        sums.add(np.ascontiguousarray(cells[part]), np.ascontiguousarray(weights[part]))
    state = compiled.state()
    assert (sums.counts == compiled.counts).all()
    for key, limbs in zip(("sumw", "sumw2"), sums.sums, strict=True):
        for part, array in limbs.state(state["used"]).items():
            assert (array == state[f"{key}.{part}"]).all()
