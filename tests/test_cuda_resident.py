"""What is added up on a device, with translated PTX in place of a GPU: the states of the CPU, byte for byte."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_cuda_fills import WEIGHTS
from translated_device import TranslatedDevice, device

from fasthep_archive.formula.columns import Array, Column
from fasthep_archive.kernels.cuda import fills
from fasthep_archive.kernels.cuda.device import OutOfMemory, constant
from fasthep_archive.kernels.cuda.fills import ResidentMoments, ResidentSums
from fasthep_archive.kernels.cuda.nvrtc import compiler
from fasthep_archive.kernels.cuda.tools import Resident, Tools
from fasthep_archive.kernels.moments import Moments
from fasthep_archive.kernels.sums import State, WeightedSums
from fasthep_archive.operations.cutflow import Counts
from fasthep_archive.operations.filling import AxisFill, Filling
from fasthep_archive.operations.resident import started

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")


@pytest.fixture
def tools(kernel_cache: Path) -> Tools:
    return Tools(device(), kernel_cache)


def same(found: State, expected: State) -> bool:
    assert list(found) == list(expected)
    return all(
        found[key].dtype == expected[key].dtype and found[key].tobytes() == expected[key].tobytes() for key in found
    )


# Sums


@pytest.mark.parametrize("cells", [7, 2000], ids=["all limbs", "window"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_sums_are_those_of_the_cpu_in_any_partition(name: str, cells: int, tools: Tools, kernel_cache: Path):
    random = np.random.default_rng(10)
    weights, places = WEIGHTS[name](random), random.integers(-1, 8, 5000)
    compiled = WeightedSums(cells, cache=kernel_cache)
    compiled.add(places, weights)
    sums = ResidentSums(tools, cells, weighted=True, cache=kernel_cache)
    for part in np.array_split(random.permutation(places.size), 3):
        sums.add(constant(tools.device, places[part]), part.size, constant(tools.device, weights[part]))
    assert same(sums.total().state(), compiled.state())


def test_counts_are_those_of_the_cpu(tools: Tools, kernel_cache: Path):
    places = np.random.default_rng(1).integers(-1, 8, 500)
    compiled = WeightedSums(7, cache=kernel_cache, weighted=False)
    compiled.add(places)
    sums = ResidentSums(tools, 7, weighted=False, cache=kernel_cache)
    sums.add(constant(tools.device, places), 500)
    assert same(sums.total().state(), compiled.state())


def test_carries_are_settled_before_limbs_are_full(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    tools = Tools(TranslatedDevice(), kernel_cache)
    monkeypatch.setattr(fills, "TERMS", 1500)
    weights, places = np.full(1000, -1e300), np.zeros(1000, np.int64)
    compiled = WeightedSums(1, cache=kernel_cache)
    sums = ResidentSums(tools, 1, weighted=True, cache=kernel_cache)
    there = constant(tools.device, places), constant(tools.device, weights)
    for _ in range(5):
        compiled.add(places, weights)
        sums.add(there[0], 1000, there[1])
    assert same(sums.total().state(), compiled.state())
    assert tools.device.launches.count("settle") == 4 * 2


def test_more_entries_than_limbs_take_ask_for_smaller_blocks(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    tools = Tools(TranslatedDevice(), kernel_cache)
    monkeypatch.setattr(fills, "TERMS", 99)
    sums = ResidentSums(tools, 1, weighted=True, cache=kernel_cache)
    with pytest.raises(OutOfMemory):
        sums.add(constant(tools.device, np.zeros(100, np.int64)), 100, constant(tools.device, np.ones(100)))


def test_small_histograms_ask_the_device_for_nothing(kernel_cache: Path):
    tools = Tools(TranslatedDevice(), kernel_cache)
    sums = ResidentSums(tools, 60, weighted=True, cache=kernel_cache)
    sums.add(constant(tools.device, np.zeros(10, np.int64)), 10, constant(tools.device, np.ones(10)))
    assert "extent" not in tools.device.launches


# Histograms and cutflows


def uploaded(column: Column, tools: Tools) -> Resident:
    content = column.content
    dtype = "text" if column.words else {"f": "float64", "i": "int64", "b": "bool"}[content.dtype.kind]
    spans = [None if array is None else constant(tools.device, array) for array in (column.offsets, column.valid)]
    return Resident(
        dtype=dtype,
        content=constant(tools.device, content),
        size=content.size,
        offsets=spans[0],
        valid=spans[1],
        words=column.words,
    )


def compare(
    accumulation: object, blocks: Sequence[tuple[list[Column], dict[str, Column]]], tools: Tools, cache: Path
) -> None:
    host, resident = accumulation.start(cache), started(accumulation, tools, cache)
    for values, texts in blocks:
        host.add(values, texts)
        there = {name: uploaded(column, tools) for name, column in texts.items()}
        resident.add([uploaded(value, tools) for value in values], there, texts)
        tools.device.finish()
    assert resident.state().header == host.state().header
    assert same(resident.state().arrays, host.state().arrays)


REGULAR = AxisFill(kind="regular", edges=tuple(np.linspace(60.0, 120.0, 61).tolist()))
AXES = {
    "regular": REGULAR,
    "variable": AxisFill(kind="variable", edges=(-5.0, 0.0, 0.5, 70.0, 1e300)),
    "integers": AxisFill(kind="integers", categories=(3, -7, 70)),
    "growing integers": AxisFill(kind="integers"),
    "bool": AxisFill(kind="bool"),
}


def value_of(axis: str, random: np.random.Generator, size: int, round_: int) -> Array:
    if axis == "bool":
        return random.random(size) < 0.3
    if "integers" in axis:
        return random.integers(-8, 4 + 50 * round_, size)
    return np.concatenate([random.normal(80, 30, size - 4), [np.nan, np.inf, -np.inf, -0.0]])


def blocks_of(
    axes: list[str],
    *,
    selected: bool,
    weights: str,
    layers: int = 1,
    missing: bool = False,
    sampled: bool = False,
):
    random = np.random.default_rng(len(axes))
    made = []
    for round_, size in enumerate((300, 5, 800)):
        values = [Column(value_of(axis, random, size, round_)) for axis in axes]
        if missing:
            values = [Column(value.content, None, random.random(size) < 0.8) for value in values]
        if selected:
            values.insert(0, Column(random.random(size) < 0.7))
        if sampled:
            values.append(Column(random.normal(91, 2, size), None, random.random(size) < 0.9))
        if weights == "given":
            values += [Column(random.normal(1, 10, size)) for _ in range(layers)]
        made.append((values, {}))
    return made


@pytest.mark.parametrize("weights", ["none", "unit", "given"])
@pytest.mark.parametrize("axis", AXES)
def test_histograms_of_one_axis(axis: str, weights: str, tools: Tools, kernel_cache: Path):
    filling = Filling(axes=(AXES[axis],), selected=True, weights=weights)
    compare(filling, blocks_of([axis], selected=True, weights=weights), tools, kernel_cache)


@pytest.mark.parametrize("weights", ["none", "unit", "given"])
@pytest.mark.parametrize("axes", [["regular"], ["growing integers", "regular", "bool"]], ids=["one", "several"])
def test_profiles(axes: list[str], weights: str, tools: Tools, kernel_cache: Path):
    """Beyond a thousand bins a device has a window of the limbs only."""
    filling = Filling(axes=tuple(AXES[axis] for axis in axes), selected=True, weights=weights, sampled=True)
    blocks = blocks_of(axes, selected=True, weights=weights, missing=True, sampled=True)
    compare(filling, blocks, tools, kernel_cache)


@pytest.mark.parametrize("cells", [7, 2000], ids=["all limbs", "window"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_means_are_those_of_the_cpu_in_any_partition(name: str, cells: int, tools: Tools, kernel_cache: Path):
    random = np.random.default_rng(10)
    weights, places = WEIGHTS[name](random), random.integers(-1, 8, 5000)
    samples = random.permutation(weights)
    compiled = Moments(cells, cache=kernel_cache, weighted=True)
    compiled.add(places, samples, weights)
    sums = ResidentMoments(tools, cells, weighted=True, cache=kernel_cache)
    for part in np.array_split(random.permutation(places.size), 3):
        there = [constant(tools.device, array[part]) for array in (places, samples, weights)]
        sums.add(there[0], part.size, *there[1:])
    assert same(sums.total().state(), compiled.state())


@pytest.mark.parametrize("axes", [["regular", "growing integers"], ["growing integers", "bool", "growing integers"]])
def test_histograms_that_grow_in_several_dimensions(axes: list[str], tools: Tools, kernel_cache: Path):
    filling = Filling(axes=tuple(AXES[axis] for axis in axes), selected=False, weights="given")
    compare(filling, blocks_of(axes, selected=False, weights="given", missing=True), tools, kernel_cache)


def test_layers_have_weights_of_their_own(tools: Tools, kernel_cache: Path):
    filling = Filling(axes=(REGULAR,), selected=True, weights="given", layers=(0, 2, 3))
    compare(filling, blocks_of(["regular"], selected=True, weights="given", layers=3), tools, kernel_cache)


@pytest.mark.parametrize("content", [np.array([61, 75, -3]), np.array([True, False, True])], ids=["int64", "bool"])
def test_values_become_what_the_axis_takes(content: Array, tools: Tools, kernel_cache: Path):
    filling = Filling(axes=(AXES["variable"],), selected=False, weights="given")
    compare(filling, [([Column(content), Column(content)], {})], tools, kernel_cache)


TEXTS = {
    "growing": AxisFill(kind="texts", branch="name"),
    "listed": AxisFill(kind="texts", branch="name", categories=("b", "z")),
    "constant": AxisFill(kind="texts", text="everything"),
}


@pytest.mark.parametrize("jagged", [False, True], ids=["flat", "jagged"])
@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_events_count_for_each_of_their_values(name: str, jagged: bool, tools: Tools, kernel_cache: Path):
    random = np.random.default_rng(4)
    made = []
    for words in (("b", "a"), ("a", "c", "b"), ("d",)):
        counts = random.poisson(2, 50) if jagged else np.ones(50, np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        values = Column(random.normal(80, 30, offsets[-1]), offsets if jagged else None)
        made.append(([values], {"name": Column(random.integers(0, len(words), 50), None, None, words)}))
    compare(Filling(axes=(TEXTS[name], REGULAR), selected=False, weights="none"), made, tools, kernel_cache)


@pytest.mark.parametrize("weighted", [False, True])
def test_cutflows(weighted: bool, tools: Tools, kernel_cache: Path):
    random = np.random.default_rng(5)
    made = []
    for size in (100, 1, 700):
        depths = [Column(random.integers(-1, cuts + 1, size)) for cuts in (3, 1)]
        made.append(([*depths, *([Column(random.normal(0, 1, size))] if weighted else [])], {}))
    compare(Counts(cuts=(3, 1), weighted=weighted), made, tools, kernel_cache)


def test_blocks_without_entries_change_nothing(tools: Tools, kernel_cache: Path):
    empty = [([Column(np.empty(0)), Column(np.empty(0))], {})]
    compare(Filling(axes=(REGULAR,), selected=False, weights="given"), empty, tools, kernel_cache)


class Columns:
    """An accumulation that knows no device: it keeps what it gets."""

    texts = ("name",)

    def start(self, cache: Path) -> "Kept":
        return Kept()


class Kept:
    def __init__(self) -> None:
        self.parts: list[Array] = []

    def add(self, values, texts) -> None:
        self.parts += [values[0].content.copy(), texts["name"].content]

    def state(self):
        from fasthep_archive.operations.protocol import State as Stored

        return Stored(header=None, arrays={"all": np.concatenate(self.parts)})


def test_what_knows_no_device_is_added_on_the_host(tools: Tools, kernel_cache: Path):
    text = {"name": Column(np.array([0, 1, 0]), None, None, ("a", "b"))}
    compare(Columns(), [([Column(np.array([1, 2, 3]))], text)], tools, kernel_cache)
