"""Lists in order, paired and strung together: random lists against awkward and plain Python, on both targets."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import awkward as ak
import cuda_target
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from test_kernels_reference import SPECIAL, bits, interpreted, listed

from fasthep_archive.errors import DataError, FormulaError
from fasthep_archive.formula.columns import Column, ColumnType, Structure
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels import inputs
from fasthep_archive.kernels import schedule as schedule_module
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.instructions import STRUCTURES
from fasthep_archive.kernels.program import Builder, Program, Value
from fasthep_archive.kernels.schedule import _ROLES, schedule

MUON, JET = Structure("nMuon", counted=True), Structure("nJet", counted=True)
TYPES = {
    "met": ColumnType("float64"),
    "pt": ColumnType("float64", MUON),
    "id": ColumnType("int64", MUON),
    "tight": ColumnType("bool", MUON),
    "iso": ColumnType("float64", MUON, optional=True),
    "jet": ColumnType("float64", JET),
    "flavour": ColumnType("int64", JET),
    "va": ColumnType("float64", Structure("va", counted=False)),
    "vb": ColumnType("float64", Structure("vb", counted=False)),
}
EVENTS = 12
Event = Mapping[str, object]
Made = tuple[dict[str, Value], Callable[[Event], Mapping[str, object]]]
"""Values of a program, and what one event must give for them."""


@dataclass(frozen=True)
class Bench:
    """A program under construction, and names of columns."""

    builder: Builder

    def __getitem__(self, text: str) -> Value:
        return self.builder.formula(parse(text), {name: self.builder.column(name) for name in TYPES})


def bench() -> Bench:
    return Bench(Builder(TYPES))


def columns(seed: int, events: int = EVENTS, most: int = 5) -> dict[str, Column]:
    rng = np.random.default_rng(seed)
    sizes = {structure: rng.integers(0, most, events) for structure in (MUON, JET, None)}
    made = {}
    for name, kind in TYPES.items():
        size = events
        offsets = None
        if kind.structure is not None:
            counts = sizes[kind.structure if kind.structure.counted else None]
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            size = int(offsets[-1])
        choices = {"float64": SPECIAL, "int64": [0, 1, 2, -1], "bool": [True, False]}[kind.dtype]
        valid = rng.random(size) < 0.6 if kind.optional else None
        made[name] = Column(rng.choice(np.array(choices), size), offsets, valid)
    return made


def events_of(data: Mapping[str, Column], events: int) -> list[Event]:
    lists = {name: listed(column, events) for name, column in data.items()}
    return [{name: lists[name][i] for name in data} for i in range(events)]


def placed(key: Sequence[float], order: str) -> list[int]:
    """Return positions in stable order; NaN last."""
    sign = 1 if order == "ascending" else -1
    return sorted(range(len(key)), key=lambda n: (key[n] != key[n], 0 if key[n] != key[n] else sign * key[n]))


# Cases: each makes values and says what they are in one event


def in_order(b: Bench, key: str, order: str) -> Made:
    places = b.builder.lists.sorted(b[key], order)
    taken = {name: b.builder.lists.taken(b[name], places) for name in ("pt", "id", "tight", "iso", "met")}

    def expected(event: Event) -> dict[str, object]:
        index = placed(event[key], order)
        return {name: [event[name] if name == "met" else event[name][n] for n in index] for name in taken}

    return taken, expected


def selected_in_order(b: Bench) -> Made:
    key, number = b["pt[tight]"], b["id[tight]"]
    places = b.builder.lists.sorted(key, "descending")
    first, second = b.builder.lists.taken(key, places), b.builder.lists.taken(number, places)
    scaled = b.builder.apply("multiply", b.builder.apply("add", first, second), b["met"])
    values = {"count": b.builder.lists.counted(first), "best": b.builder.apply("leading", first), "sum": scaled}
    values["above"] = b.builder.apply("count_nonzero", b.builder.apply("greater", first, b["met"]))

    def expected(event: Event) -> dict[str, object]:
        kept = [n for n in range(len(event["pt"])) if event["tight"][n]]
        index = [kept[n] for n in placed([event["pt"][n] for n in kept], "descending")]
        pt = [event["pt"][n] for n in index]
        with np.errstate(all="ignore"):
            total = [float((np.float64(event["pt"][n]) + event["id"][n]) * event["met"]) for n in index]
        above = sum(x > event["met"] for x in pt)
        return {"count": len(pt), "best": pt[0] if pt else 0.0, "sum": total, "above": above}

    return values, expected


def in_pairs(b: Bench) -> Made:
    left, right = b.builder.lists.pairs(b["pt"])
    values = {f"{name}{side}": b.builder.lists.taken(b[name], places)
              for name in ("pt", "id", "iso") for side, places in (("1", left), ("2", right))}  # fmt: skip
    values["same"] = b.builder.apply("equal", values["id1"], values["id2"])

    def expected(event: Event) -> dict[str, object]:
        index = list(itertools.combinations(range(len(event["pt"])), 2))
        found = {f"{name}{side + 1}": [event[name][pair[side]] for pair in index]
                 for name in ("pt", "id", "iso") for side in (0, 1)}  # fmt: skip
        return {**found, "same": [event["id"][i] == event["id"][j] for i, j in index]}

    return values, expected


def chosen_pairs(b: Bench) -> Made:
    """Selected pairs of selected objects in the order of an expression, as candidates are built."""
    kept = {name: b[f"{name}[tight]"] for name in ("pt", "id")}
    left, right = b.builder.lists.pairs(kept["pt"])
    different = b.builder.apply("not_equal", *(b.builder.lists.taken(kept["id"], side) for side in (left, right)))
    sides = [b.builder.lists.filtered(side, different) for side in (left, right)]
    key = b.builder.apply("maximum", *(b.builder.lists.taken(kept["pt"], side) for side in sides))
    order = b.builder.lists.sorted(key, "ascending")
    sides = [b.builder.lists.reordered(side, order) for side in sides]
    values = {str(n): b.builder.lists.taken(kept["id"], side) for n, side in enumerate(sides)}
    values["key"] = b.builder.lists.taken(key, order)

    def expected(event: Event) -> dict[str, object]:
        kept = [(event["pt"][n], event["id"][n]) for n in range(len(event["pt"])) if event["tight"][n]]
        pairs = [pair for pair in itertools.combinations(kept, 2) if pair[0][1] != pair[1][1]]
        keys = [math.nan if x[0] != x[0] or y[0] != y[0] else x[0] if x[0] >= y[0] else y[0] for x, y in pairs]
        index = placed(keys, "ascending")
        return {**{str(n): [pairs[i][n][1] for i in index] for n in (0, 1)}, "key": [keys[i] for i in index]}

    return values, expected


def crossed(b: Bench) -> Made:
    left, right = b.builder.lists.product(b["pt"], b["jet[flavour > 0]"])
    pt, jet = b.builder.lists.taken(b["pt"], left), b.builder.lists.taken(b["jet[flavour > 0]"], right)
    iso = b.builder.lists.taken(b["iso"], left)
    distance = b.builder.apply("abs", b.builder.apply("subtract", pt, jet))
    near = b.builder.lists.any_pair(b.builder.apply("less", distance, b["met"]))
    nearest = b.builder.lists.smallest_pair(distance)
    values = {"pt": pt, "jet": jet, "near": near, "kept": b.builder.apply("filter", b["pt"], near)}
    values["missing"] = b.builder.lists.any_pair(b.builder.apply("less", iso, jet))
    values["distance"] = b.builder.lists.taken(distance, nearest)
    values["best"] = b.builder.lists.taken(b["jet[flavour > 0]"], b.builder.lists.reordered(right, nearest))
    values["right only"] = b.builder.lists.any_pair(b.builder.apply("greater", jet, b["met"]))

    def expected(event: Event) -> dict[str, object]:
        jets = [x for x, f in zip(event["jet"], event["flavour"], strict=True) if f > 0]
        with np.errstate(all="ignore"):
            away = [[float(abs(np.float64(x) - y)) for y in jets] for x in event["pt"]]
        near = [any(d < event["met"] for d in row) for row in away]
        best = [None if not row else next((n for n, d in enumerate(row) if math.isnan(d)), None) for row in away]
        best = [min(range(len(row)), key=row.__getitem__) if row and n is None else n
                for n, row in zip(best, away, strict=True)]  # fmt: skip
        return {
            "pt": [x for x in event["pt"] for _ in jets],
            "jet": jets * len(event["pt"]),
            "near": near,
            "kept": [x for x, keep in zip(event["pt"], near, strict=True) if keep],
            "missing": [any(x is not None and x < y for y in jets) for x in event["iso"]],
            "distance": [0.0 if n is None else row[n] for n, row in zip(best, away, strict=True)],
            "best": [0.0 if n is None else jets[n] for n in best],
            "right only": [any(y > event["met"] for y in jets)] * len(event["pt"]),
        }

    return values, expected


def strung(b: Bench) -> Made:
    parts = [
        {"x": b["pt"], "n": b["id"], "o": b["iso"], "b": b["tight"]},
        {
            "x": b["flavour[jet > 0]"],
            "n": b["flavour[jet > 0]"],
            "o": b["jet[jet > 0]"],
            "b": b["(jet > met)[jet > 0]"],
        },
        {"x": b["va"], "n": b["va > 0"], "o": b["va"], "b": b["vb > va"]},
    ]
    values = b.builder.lists.strung(parts)
    values["total"] = b.builder.apply("count", values["x"])
    left, right = b.builder.lists.pairs(values["x"])
    values |= {"left": b.builder.lists.taken(values["n"], left), "right": b.builder.lists.taken(values["n"], right)}

    def expected(event: Event) -> dict[str, object]:
        jets = [(x, f) for x, f in zip(event["jet"], event["flavour"], strict=True) if x > 0]
        found = {
            "x": event["pt"] + [float(f) for _, f in jets] + event["va"],
            "n": event["id"] + [f for _, f in jets] + [int(x > 0) for x in event["va"]],
            "o": event["iso"] + [x for x, _ in jets] + event["va"],
            "b": event["tight"]
            + [x > event["met"] for x, _ in jets]
            + [y > x for x, y in zip(event["va"], event["vb"], strict=True)],
        }
        pairs = list(itertools.combinations(found["n"], 2))
        sides = {"left": [x for x, _ in pairs], "right": [y for _, y in pairs]}
        return {**found, "total": len(found["x"]), **sides}

    return values, expected


def singles(b: Bench) -> Made:
    order = b.builder.lists.sorted(b["pt"], "descending")
    first = b.builder.lists.first(order)
    values = {"met": b.builder.lists.single(b["met"]), "twice": b.builder.lists.single(b["met * 2"])}
    values["best"] = b.builder.lists.taken(b["pt"], first)
    values["iso"] = b.builder.lists.taken(b["iso"], first)
    values["many"] = b.builder.apply("count", values["best"])

    def expected(event: Event) -> dict[str, object]:
        index = placed(event["pt"], "descending")[:1]
        return {
            "met": [event["met"]],
            "twice": [event["met"] * 2],
            "best": [event["pt"][n] for n in index],
            "iso": [event["iso"][n] for n in index],
            "many": len(index),
        }

    return values, expected


CASES: dict[str, Callable[[Bench], Made]] = {
    **{f"{key} {order}": partial(in_order, key=key, order=order)
       for key in ("pt", "id", "tight") for order in ("ascending", "descending")},
    "selected in order": selected_in_order,
    "pairs": in_pairs,
    "chosen pairs": chosen_pairs,
    "products": crossed,
    "concatenation": strung,
    "singles": singles,
}  # fmt: skip


def check(case: str, kernel_of: Callable[[Program], Kernel], seed: int, events: int = EVENTS, most: int = 5) -> None:
    b = bench()
    values, expected = CASES[case](b)
    data = columns(seed, events, most)
    with np.errstate(all="ignore"):
        results = kernel_of(b.builder.program(list(values.values())))(data, {}, events)
    wanted = [expected(event) for event in events_of(data, events)]
    for name, result in zip(values, results, strict=True):
        assert bits(listed(result, events)) == bits([event[name] for event in wanted]), name


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=30, print_blob=False)
@given(seed=st.integers(0, 2**32), events=st.sampled_from([0, 1, 2, 9]), most=st.sampled_from([1, 2, 5]))
def test_random_lists_give_what_plain_python_gives(case: str, seed: int, events: int, most: int):
    check(case, interpreted, seed, events, most)


@pytest.mark.parametrize("case", CASES)
def test_compiled_loops_give_what_plain_python_gives(case: str, kernel_cache: Path):
    for seed in range(4):
        check(case, lambda program: compile_program(program, cache=kernel_cache), seed, events=200)


@pytest.mark.parametrize("case", CASES)
def test_cuda_gives_what_plain_python_gives(case: str):
    check(case, cuda_target.kernel_on_ptx, 8, events=150)
    check(case, cuda_target.kernel_on_ptx, 9, events=1)


@pytest.mark.parametrize("longest", [1, 3])
def test_cutting_loops_changes_nothing(longest: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedule_module, "LONGEST", longest)
    for seed, case in enumerate(CASES):
        check(case, interpreted, seed)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:.* encountered in")
def test_each_value_alone_and_its_number_are_the_same(case: str):
    names = CASES[case](bench())[0]
    data = columns(3)
    wanted = [CASES[case](bench())[1](event) for event in events_of(data, EVENTS)]
    for name in names:
        b = bench()
        value = CASES[case](b)[0][name]
        (alone,) = interpreted(b.builder.program([value]))(data, {}, EVENTS)
        assert bits(listed(alone, EVENTS)) == bits([event[name] for event in wanted]), name
        if not isinstance(wanted[0][name], list):
            continue
        (count,) = interpreted(b.builder.program([b.builder.lists.counted(value)]))(data, {}, EVENTS)
        assert listed(count, EVENTS) == [len(event[name]) for event in wanted], name


@pytest.mark.parametrize("longest", [1, 150])
def test_a_number_of_sorted_selected_values_is_compiled(
    longest: int, monkeypatch: pytest.MonkeyPatch, kernel_cache: Path
):
    monkeypatch.setattr(schedule_module, "LONGEST", longest)
    b = bench()
    kept = b.builder.apply("filter", b["pt"], b["pt > 1"])
    count = b.builder.lists.counted(b.builder.lists.taken(kept, b.builder.lists.sorted(kept, "descending")))
    data = columns(6)
    (result,) = compile_program(b.builder.program([count]), cache=kernel_cache)(data, {}, EVENTS)
    assert listed(result, EVENTS) == [sum(pt > 1 for pt in event["pt"]) for event in events_of(data, EVENTS)]


def test_cases_have_every_operation_that_rearranges_lists():
    used = set()
    for case in CASES.values():
        b = bench()
        used |= {i.operation for i in b.builder.program(list(case(b)[0].values())).instructions}
    assert used >= {name for name, role in _ROLES.items() if role == "rearrange"} | (STRUCTURES - {"lengthen"})


# awkward's orders, so that pairs come as everyone expects them; NaN is ours


@pytest.mark.parametrize("ascending", [True, False])
def test_order_is_that_of_awkward_where_there_is_no_nan(ascending: bool, kernel_cache: Path):
    b = bench()
    random = np.random.default_rng(4)
    counts = random.integers(0, 40, 300)
    keys = random.integers(0, 9, counts.sum()) / 4
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    places = b.builder.lists.sorted(b["pt"], "ascending" if ascending else "descending")
    position = b.builder.lists.taken(b["id"], places)
    local = np.arange(counts.sum()) - np.repeat(offsets[:-1], counts)
    data = {"pt": Column(keys, offsets), "id": Column(local, offsets)}
    (result,) = compile_program(b.builder.program([position]), cache=kernel_cache)(data, {}, 300)
    expected = ak.argsort(ak.unflatten(keys, counts), axis=1, ascending=ascending, stable=True)
    assert listed(result, 300) == expected.to_list()


def test_pairs_come_in_the_order_of_awkward(kernel_cache: Path):
    b = bench()
    data = columns(5)
    data["id"] = Column(np.arange(data["id"].content.size), data["id"].offsets)
    data["flavour"] = Column(np.arange(data["flavour"].content.size), data["flavour"].offsets)
    sides = [b.builder.lists.taken(b["id"], side) for side in b.builder.lists.pairs(b["pt"])]
    left, right = b.builder.lists.product(b["pt"], b["jet"])
    sides += [b.builder.lists.taken(b["id"], left), b.builder.lists.taken(b["flavour"], right)]
    results = compile_program(b.builder.program(sides), cache=kernel_cache)(data, {}, EVENTS)
    muons, jets = (ak.Array(listed(data[name], EVENTS)) for name in ("id", "flavour"))
    expected = [*ak.unzip(ak.combinations(muons, 2)), *ak.unzip(ak.cartesian([muons, jets], axis=1))]
    assert [listed(result, EVENTS) for result in results] == [value.to_list() for value in expected]


# What does not belong together


def refused(message: str, made: Callable[[Bench], object]) -> None:
    with pytest.raises(FormulaError, match=message):
        made(bench())


def test_values_in_another_order_are_not_combined():
    def made(b: Bench) -> object:
        taken = b.builder.lists.taken(b["pt"], b.builder.lists.sorted(b["pt"], "ascending"))
        return b.builder.apply("add", taken, b["pt"])

    refused("they were sorted, selected or padded differently", made)


def test_values_in_two_orders_are_not_combined():
    def made(b: Bench) -> object:
        orders = [b.builder.lists.sorted(b["pt"], order) for order in ("ascending", "descending")]
        return b.builder.apply("add", *(b.builder.lists.taken(b["id"], order) for order in orders))

    refused("they were sorted, selected or padded differently", made)


def test_values_in_one_order_are_combined():
    b = bench()
    first, second = (b.builder.lists.sorted(b["pt"], "ascending") for _ in range(2))
    assert b.builder.apply("add", b.builder.lists.taken(b["pt"], first), b.builder.lists.taken(b["id"], second))


def test_places_are_good_for_the_lists_they_were_found_in():
    refused(
        "the lists of 'jet' are not those that were rearranged",
        lambda b: b.builder.lists.taken(b["jet"], b.builder.lists.sorted(b["pt"], "ascending")),
    )
    refused(
        "the lists of 'pt' are not those that were rearranged",
        lambda b: b.builder.lists.taken(b["pt[tight]"], b.builder.lists.sorted(b["pt"], "ascending")),
    )


def test_values_per_event_are_not_rearranged():
    refused("this is one value per event", lambda b: b.builder.lists.sorted(b["met"], "ascending"))
    refused("this is one value per event", lambda b: b.builder.lists.pairs(b["met"]))
    refused("this is one value per event", lambda b: b.builder.lists.product(b["pt"], b["met"]))
    refused("this is one value per event", lambda b: b.builder.lists.strung([{"x": b["pt"]}, {"x": b["met"]}]))
    refused("this is a list of values", lambda b: b.builder.lists.single(b["pt"]))


def test_what_can_be_missing_is_no_key():
    refused(
        "can't be put in order by values that can be missing", lambda b: b.builder.lists.sorted(b["iso"], "ascending")
    )


def test_only_products_have_inner_pairs():
    refused("needs a value for each pair of a product", lambda b: b.builder.lists.any_pair(b["tight"]))


def test_lists_that_count_themselves_must_prove_equal(kernel_cache: Path):
    b = bench()
    program = b.builder.program([b.builder.lists.taken(b["vb"], b.builder.lists.sorted(b["va"], "ascending"))])
    kernel = compile_program(program, cache=kernel_cache)
    offsets, others = np.array([0, 2, 3], np.int64), np.array([0, 1, 3], np.int64)
    data = {"va": Column(np.array([2.0, 1.0, 5.0]), offsets), "vb": Column(np.array([7.0, 8.0, 9.0]), offsets)}
    (result,) = kernel(data, {}, 2)
    assert listed(result, 2) == [[8.0, 7.0], [9.0]]
    with pytest.raises(DataError, match="'va' and 'vb' have 2 and 1 values in event 0"):
        kernel({**data, "vb": Column(data["vb"].content, others)}, {}, 2)


def test_more_pairs_than_fit_are_refused(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "MOST_PAIRS", 5)
    b = bench()
    kernel = compile_program(b.builder.program([b.builder.lists.pairs(b["pt"])[0].value]), cache=kernel_cache)
    with pytest.raises(DataError, match="events 7 to 8 have 6 pairs of objects, and a block of events can have 5"):
        kernel({"pt": Column(np.zeros(6), np.array([0, 3, 6], np.int64))}, {}, 2, first_event=7)


def test_narrow_columns_are_promoted_where_they_are_taken(kernel_cache: Path):
    b = bench()
    values = [b.builder.lists.taken(b[name], b.builder.lists.sorted(b["pt"], "descending")) for name in ("pt", "id")]
    kernel = compile_program(b.builder.program(values), cache=kernel_cache)
    offsets = np.array([0, 3], np.int64)
    data = {
        "pt": Column(np.array([1, 3, 2], np.float32), offsets),
        "id": Column(np.array([1, 2, 3], np.uint8), offsets),
    }
    assert [listed(result, 1) for result in kernel(data, {}, 1)] == [[[3.0, 2.0, 1.0]], [[2, 3, 1]]]


def test_program_does_not_depend_on_columns_that_are_not_used():
    b = bench()
    program = b.builder.program([b.builder.lists.taken(b["pt"], b.builder.lists.sorted(b["pt"], "ascending"))])
    assert program.columns == ("pt",)
    assert [loop.body for loop in schedule(program).loops] == [(3,), (4,)]
