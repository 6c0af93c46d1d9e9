"""Histograms with variations, and axes of conditions: against sums in plain Python, bins by ``bisect``."""

import bisect
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowered import Chain, canonical, column, product

from fasthep_archive.data.products import Histogram
from fasthep_archive.formula.columns import Column
from fasthep_archive.operations.histogram import Hist
from fasthep_archive.operations.protocol import Part
from fasthep_archive.operations.stream import Factor, Shift

QUICK = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

EDGES = [0.0, 10.0, 20.0, 30.0]
REGULAR = {"low": 0, "high": 30, "nbins": 3}
WEIGHTS = {"nominal": "w", "up": "w * 1.1", "down": "w / 3 - v"}
EVENT = st.fixed_dictionaries(
    {
        "pt": st.lists(st.one_of(st.floats(-5, 40), st.just(math.nan), st.sampled_from(EDGES)), max_size=3),
        "met": st.one_of(st.floats(-5, 40), st.just(math.nan)),
        "n": st.integers(0, 4),
        "q": st.one_of(st.none(), st.floats(0, 30)),
        "w": st.floats(-1e12, 1e12),
        "v": st.floats(-1.0, 1.0),
        "good": st.booleans(),
        "bit": st.sampled_from([0, 1, 4]),
    }
)
EVENTS = st.lists(EVENT, max_size=20)
Event = Mapping[str, object]


def table(events: Sequence[Event]) -> dict[str, Column]:
    kinds = {"n": "int", "good": "bool", "bit": "int"}
    found = {}
    for name in ("pt", "met", "n", "q", "w", "v", "good", "bit"):
        found[name] = column([event[name] for event in events], kinds.get(name, "float"))
    if not events:
        found["pt"] = Column(np.zeros(0), np.zeros(1, np.int64))
    missing = np.array([event["q"] is not None for event in events], bool)
    found["q"] = Column(found["q"].content, None, missing)
    return found


def weights_of(event: Event) -> dict[str, float]:
    """Return the weights, by the arithmetic of plain Python."""
    return {"nominal": event["w"], "up": event["w"] * 1.1, "down": event["w"] / 3 - event["v"]}


def hist(*axes: tuple[str, str, object], cut: str | None = None, **params: object) -> dict[str, object]:
    described = [
        {"name": source, "source": source, "type": kind} | ({} if bins is None else {"bins": bins})
        for source, kind, bins in axes
    ]
    return {"axes": described, **params}


def part(
    events: Sequence[Event], params: Mapping[str, object], cache: Path, cut: str | None = None, **more: object
) -> Part:
    made = Chain(table(events), cache, **more)
    if cut is not None:
        made.of("hep.selection.cutflow", {"selection": {"g": [cut]}}, "Select")
    made.of("hep.hist", params, "H")
    assert not made.faults
    return made.part("H")


def merged(
    parts: Sequence[Part], params: Mapping[str, object], cache: Path, datasets: Sequence[str] = ("mc",)
) -> Histogram:
    files = product(Hist.read(canonical("hep.hist", params, "H")), parts, datasets, cache, "H")
    return Histogram.from_json(files["histograms/H.json"])


def bin_of(value: float) -> int:
    return len(EDGES) if math.isnan(value) else bisect.bisect_right(EDGES, value)


def expected(entries: Sequence[tuple[tuple[int, ...], float]], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact sums of weights and squares, each rounded once."""
    cells = defaultdict(list)
    for place, weight in entries:
        cells[place].append(weight)
    sums, squares = np.zeros(shape), np.zeros(shape)
    for place, weights in cells.items():
        sums[place] = math.fsum(weights)
        squares[place] = math.fsum(weight * weight for weight in weights)
    return sums, squares


# --- variations ------------------------------------------------------------------------------------------------------

VARIED = hist(("pt", "regular", REGULAR), ("n", "int", [0, 1]), variations={"axis": "syst", "weights": WEIGHTS})


@QUICK
@given(events=EVENTS, size=st.integers(1, 20))
def test_each_weight_fills_a_category_of_a_last_axis(events: list, size: int, kernel_cache: Path) -> None:
    chunks = [events[start : start + size] for start in range(0, len(events), size)] or [[]]
    parts = [part(chunk, VARIED, kernel_cache, cut="v < 0.5") for chunk in chunks]
    found = merged(parts, VARIED, kernel_cache)
    entries = [
        ((bin_of(pt), min(event["n"], 2), number), weight)
        for event in events
        if event["v"] < 0.5
        for pt in event["pt"]
        for number, weight in enumerate(weights_of(event).values())
    ]
    sums, squares = expected(entries, (5, 3, 4))
    np.testing.assert_array_equal(found.values, sums)
    np.testing.assert_array_equal(found.variances, squares)


def test_the_axis_is_one_of_texts(kernel_cache: Path) -> None:
    axis = merged([], VARIED, kernel_cache).axes[-1]
    assert (axis.name, axis.categories, axis.growing) == ("syst", ("nominal", "up", "down"), False)


FOR_MC = hist(
    ("met", "regular", REGULAR), dataset_axis=True, variations={"weights": WEIGHTS, "apply_to": {"eventtype": "mc"}}
)


@QUICK
@given(simulated=EVENTS, measured=EVENTS)
def test_datasets_that_they_are_not_for_fill_nominal_and_weigh_one(
    simulated: list, measured: list, kernel_cache: Path
) -> None:
    parts = [
        part(measured, FOR_MC, kernel_cache, dataset="data", eventtype="data"),
        part(simulated, FOR_MC, kernel_cache),
    ]
    found = merged(parts, FOR_MC, kernel_cache, ("data", "mc"))
    entries = [((0, bin_of(event["met"]), 0), 1.0) for event in measured]
    for event in simulated:
        entries += [((1, bin_of(event["met"]), n), w) for n, w in enumerate(weights_of(event).values())]
    sums, squares = expected(entries, (2, 5, 4))
    np.testing.assert_array_equal(found.values, sums)
    np.testing.assert_array_equal(found.variances, squares)


def test_axes_that_grow_grow_for_all_weights(kernel_cache: Path) -> None:
    params = hist(("n", "int", None), variations={"weights": {"nominal": "w", "up": "2 * w"}})
    events = [
        {"pt": [], "met": 0.0, "q": 1.0, "w": 2.0**n, "v": 0.0, "good": True, "bit": 0, "n": n % 5} for n in range(20)
    ]
    found = merged(
        [part(events[start : start + 3], params, kernel_cache) for start in range(0, 20, 3)], params, kernel_cache
    )
    assert found.axes[0].categories == (0, 1, 2, 3, 4)
    nominal = [sum(2.0**n for n in range(20) if n % 5 == k) for k in range(5)]
    np.testing.assert_array_equal(found.values, [[one, 2 * one, 0.0] for one in nominal])


def test_a_variation_multiplies_every_weight(kernel_cache: Path) -> None:
    events = [{"pt": [], "met": 5.0, "q": 1.0, "w": 3.0, "v": 0.5, "good": True, "bit": 0, "n": 2}]
    params = hist(("met", "regular", REGULAR), variations={"weights": {"nominal": "w", "up": "w + 1"}})
    shift = Shift(factors=(Factor(text="n", path=("factor",)), Factor(text="v", path=("factor",))))
    found = merged([part(events, params, kernel_cache, shift=shift)], params, kernel_cache)
    assert found.values[1].tolist() == [3.0, 4.0, 0.0]


def test_a_weight_with_a_fault_is_named(kernel_cache: Path) -> None:
    made = Chain(table([]), kernel_cache)
    made.of(
        "hep.hist", hist(("met", "regular", REGULAR), variations={"weights": {"nominal": "w", "up": "q", "x": "zz"}})
    )
    assert made.faults == [
        "params/variations/weights/1/expr: a weight can't be missing, but this formula's value can be",
        "params/variations/weights/2/expr: unknown name 'zz'",
    ]
    assert not made.left


def test_equal_bins_are_placed_once(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fasthep_archive.kernels import bins

    placed = []
    place = bins.place
    monkeypatch.setattr(bins, "place", lambda *arguments: placed.append(place(*arguments)))
    events = [{"pt": [1.0], "met": 5.0, "q": 1.0, "w": 3.0, "v": 0.25, "good": True, "bit": 0, "n": 2}]
    part(events, VARIED, kernel_cache)
    assert len(placed) == 1


# --- axes of conditions ----------------------------------------------------------------------------------------------


@QUICK
@given(EVENTS)
def test_bits_and_conditions_are_axes_of_two_bins(kernel_cache: Path, events: list) -> None:
    params = hist(("good", "bool", None), ("bit", "bool", None))
    found = merged([part(events, params, kernel_cache)], params, kernel_cache)
    entries = [((int(event["good"]), int(event["bit"] != 0)), 1.0) for event in events]
    np.testing.assert_array_equal(found.values, expected(entries, (2, 2))[0])


def test_a_condition_is_no_real_number(kernel_cache: Path) -> None:
    made = Chain(table([]), kernel_cache)
    made.of("hep.hist", hist(("met", "bool", None)))
    assert made.faults[0].startswith("params/axes/0/source: axis 'met' of type bool needs a condition")


@QUICK
@given(EVENTS)
def test_missing_values_are_not_filled_whatever_the_weights(kernel_cache: Path, events: list) -> None:
    params = hist(("q", "regular", REGULAR), variations={"weights": {"nominal": "w"}})
    found = merged([part(events, params, kernel_cache)], params, kernel_cache)
    entries = [((bin_of(event["q"]), 0), event["w"]) for event in events if event["q"] is not None]
    np.testing.assert_array_equal(found.values, expected(entries, (5, 2))[0])


def test_the_state_says_which_layers_it_has(kernel_cache: Path) -> None:
    state = part([], FOR_MC, kernel_cache, dataset="data", eventtype="data").state
    assert json.loads(json.dumps(state.header))["layers"] == [0]
