"""What stages compute, against oracles in plain Python: floats, ``math.fsum`` and ``bisect``, one event at a time."""

import csv
import io
import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from events import (
    DATA,
    EVENTS,
    FIRST,
    MC,
    MEASURED,
    REGULAR,
    SIMULATION,
    TUPLE,
    Bench,
    Event,
    Outputs,
    Row,
    axis,
    counted,
    cutflow,
    define,
    filled,
    flat,
    hist,
    muons,
    probe,
    stage,
    told,
    write_files,
)

from fasthep_archive import archive
from fasthep_archive.errors import TaskError, WorkflowError


@pytest.fixture(scope="module")
def bench(kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    files = tmp_path_factory.mktemp("files")
    write_files(files)
    return Bench(files, kernel_cache, tmp_path_factory.mktemp("bench"))


# --- hep.define ------------------------------------------------------------------------------------------------------


def per_event(function: Callable[[Event], float], events: Sequence[Event] = MC) -> list[float]:
    return [float(function(event)) for event in events]


def folded(function: Callable[[float, float], float], start: float) -> Callable[[Sequence[float]], float]:
    return lambda values: reduce(function, values, start)


REDUCERS: Mapping[str, Callable[[list[float]], float]] = {
    "count_nonzero": lambda values: sum(value != 0 for value in values),
    "any": lambda values: any(value != 0 for value in values),
    "all": lambda values: all(value != 0 for value in values),
    "sum": folded(operator.add, 0.0),
    "prod": folded(operator.mul, 1.0),
    "min": lambda values: min(values, default=-99.0),
    "max": lambda values: max(values, default=-99.0),
    "argmin": lambda values: values.index(min(values)) if values else -99,
    "argmax": lambda values: values.index(max(values)) if values else -99,
    "count": len,
    "mean": lambda values: reduce(operator.add, values, 0.0) / len(values) if values else math.nan,
}

CASTS: Mapping[str, tuple[str, Callable[[Event], float]]] = {
    "int8": ("MET / 7", lambda e: int(e["MET"] / 7)),
    "int16": ("-MET", lambda e: int(-e["MET"])),
    "int": ("MET * 1e9", lambda e: int(e["MET"] * 1e9)),
    "uint8": ("abs(MET) / 4", lambda e: int(abs(e["MET"]) / 4)),
    "uint64": ("NPV", lambda e: e["NPV"]),
    "bool": ("NPV", lambda e: e["NPV"] != 0),
    "float32": ("MET / 3", lambda e: float(np.float32(e["MET"] / 3))),
    "float": ("trigger", lambda e: e["trigger"]),
}

FORMULAS: Mapping[str, tuple[str, Callable[[Event], float]]] = {
    "earlier": ("first + 1", lambda e: e["MET"] * 2 + 1),
    "again": ("again * 10", lambda e: (e["NPV"] + 1) * 10),
    "constant": ("MET > CUT", lambda e: e["MET"] > 20),
    "member": ("MET * GROUP.pt + globals['CUT']", lambda e: e["MET"] * 15.5 + 20),
    "text": ("dataset_name == GROUP.who", lambda _: True),
    "dataset": ("dataset['meta']['xs'] * dataset_xs + dataset.meta.tags.year", lambda _: 2.5 * 2.5 + 2016),
    "kind": ("dataset_is_data + 2 * (dataset_eventtype == 'mc') + 4 * (dataset_group == 'mc')", lambda _: 6),
    "alias": ("count(pt) + leading(pt, -1.0)", lambda e: len(e["Muon_Px"]) + (e["Muon_Px"] or [-1.0])[0]),
    "objects": (
        "leading(Muon_E[Muon_Tight && Muon_E > CUT], 0.0)",
        lambda e: next((x for x, t in zip(e["Muon_E"], e["Muon_Tight"], strict=True) if t and x > 20), 0.0),
    ),
    "broadcast": ("sum(Muon_Px * MET)", lambda e: reduce(operator.add, [x * e["MET"] for x in e["Muon_Px"]], 0.0)),
}


@pytest.fixture(scope="module")
def defined(bench: Bench) -> Outputs:
    reduced = [{"name": f"r_{op}", "reduce": {"op": op, "over": "Muon_Px"}} for op in REDUCERS]
    cast = [{"name": f"c_{kind}", "expr": text, "dtype": kind} for kind, (text, _) in CASTS.items()]
    before = [{"name": "first", "expr": "MET * 2"}, {"name": "again", "expr": "NPV + 1"}]
    formulas = [{"name": name, "expr": text} for name, (text, _) in FORMULAS.items()]
    can_miss = {"min", "max", "argmin", "argmax"}
    return bench(
        define("Before", *before, {"name": "doubled", "expr": "Muon_Px * 2"}),
        define("Formulas", *formulas, *reduced, *cast),
        *(probe(name, name) for name in (*FORMULAS, *(f"c_{kind}" for kind in CASTS))),
        *(probe(f"r_{op}", f"fill_none(r_{op}, -99)" if op in can_miss else f"r_{op}") for op in REDUCERS),
        probe("doubled", "doubled", per="Muon_Id"),
        fields={"pt": {"stream": "events", "branch": "Muon_Px"}},
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_what_plain_python_computes(name: str, defined: Outputs) -> None:
    assert defined.values(name).tolist()[:EVENTS] == per_event(FORMULAS[name][1])


@pytest.mark.parametrize("op", REDUCERS)
def test_a_reducer_makes_one_value_of_an_events_list(op: str, defined: Outputs) -> None:
    expected = per_event(lambda event: REDUCERS[op](event["Muon_Px"]))
    np.testing.assert_array_equal(defined.values(f"r_{op}")[:EVENTS], expected)


@pytest.mark.parametrize("kind", CASTS)
def test_dtype_is_a_final_cast(kind: str, defined: Outputs) -> None:
    assert defined.values(f"c_{kind}").tolist()[:EVENTS] == per_event(CASTS[kind][1])


def test_formulas_of_lists_are_lists(defined: Outputs) -> None:
    doubled = [value * 2 for event in MC for value in event["Muon_Px"]]
    assert defined.values("doubled").tolist()[: len(doubled)] == doubled


def test_a_value_that_does_not_fit_its_dtype_is_named(bench: Bench) -> None:
    variable = {"name": "small", "expr": "EventWeight", "dtype": "int8"}
    first = next(event for event in MC if not -129 < event["EventWeight"] < 128)
    with pytest.raises(TaskError) as caught:
        bench(define("Casts", variable), hist("H", axis("small", "int")), probe("Fine", "MET"))
    message = caught.value.message
    assert message.startswith("stage H failed on events 0 to 160 of ")
    assert "mc1.root (mc)" in message
    assert f"'small': a value of event {first['event']} does not fit int8: it is NaN or not in -128 to 127" in message
    assert "Fine" not in message


def test_what_cuts_have_taken_out_need_not_fit_a_dtype(bench: Bench) -> None:
    outputs = bench(
        define("Before", {"name": "ratio", "expr": "MET / (NPV > 2)"}),
        cutflow("Select", {"good": ["NPV > 2"]}),
        define("After", {"name": "whole", "expr": "ratio", "dtype": "int16"}),
        hist("H", axis("whole", "regular", REGULAR)),
    )
    assert outputs.values("H").sum() == sum(event["NPV"] > 2 for event in MC)


def test_fields_of_records_and_missing_values(bench: Bench) -> None:
    outputs = bench(
        probe("vertex", "vertex.x * 10 + vertex.y"), probe("quality", "fill_none(quality, -1)"), datasets=[TUPLE]
    )
    assert outputs.values("vertex").tolist()[:EVENTS] == per_event(lambda e: e["MET"] * 10 + e["NPV"])
    assert outputs.values("quality").tolist()[:EVENTS] == per_event(
        lambda e: -1 if e["quality"] is None else e["quality"]
    )


# --- hep.di_object_mass ----------------------------------------------------------------------------------------------


def pair_mass(event: Event, keep: Callable[[int], bool] = lambda _: True) -> float:
    """Return the mass of the first two muons that are kept, by the formula of the reference."""
    chosen = [n for n in range(len(event["Muon_E"])) if keep(n)][:2]
    if len(chosen) < 2:
        return math.nan
    px, py, pz, e = (event[f"Muon_{name}"][chosen[0]] + event[f"Muon_{name}"][chosen[1]] for name in MUON_MOMENTUM)
    squared = e * e - (px * px + py * py + pz * pz)
    return math.sqrt(squared) if squared > 0 else 0.0


MUON_MOMENTUM = ("Px", "Py", "Pz", "E")


@pytest.fixture(scope="module")
def masses(bench: Bench) -> Outputs:
    heavy = [{"name": f"Heavy_{name}", "expr": f"Muon_{name} * 2"} for name in MUON_MOMENTUM]
    return bench(
        define("Heavy", *heavy),
        stage("All", "hep.di_object_mass", params={}),
        stage("Tight", "hep.di_object_mass", params={"mask": "Muon_Tight", "out_var": "tight"}),
        stage("Twice", "hep.di_object_mass", params={"collection": "Heavy", "mask": "Muon_Charge > 0"}),
        probe("p_all", "DiMuon_Mass"),
        probe("p_tight", "tight"),
        probe("p_heavy", "DiHeavy_Mass"),
        datasets=[SIMULATION, TUPLE],
        chunk=100,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p_all", pair_mass),
        ("p_tight", lambda event: pair_mass(event, lambda n: event["Muon_Tight"][n])),
        ("p_heavy", lambda event: 2 * pair_mass(event, lambda n: event["Muon_Charge"][n] > 0)),
    ],
)
def test_the_mass_is_that_of_the_first_two_objects(
    name: str, expected: Callable[[Event], float], masses: Outputs
) -> None:
    values = per_event(expected)
    assert {"0": 0.0 in values, "nan": any(map(math.isnan, values))} == {"0": True, "nan": True}
    np.testing.assert_array_equal(masses.values(name)[:EVENTS], np.array(values) * 2)  # once per dataset


# --- hep.hist --------------------------------------------------------------------------------------------------------


def event_weight(event: Event, _: int = 0) -> float:
    return event["EventWeight"]


VARIABLE = [-50, 0, 10, 20.5, 100]

HISTOGRAMS: Mapping[str, tuple[dict[str, object], Callable[[Event], list[Row]]]] = {
    "regular": (hist("regular", axis("MET", "regular", REGULAR)), flat("MET")),
    "flow": (hist("flow", axis("odd", "regular", REGULAR)), flat("odd")),
    "variable": (hist("variable", axis("odd", "variable", VARIABLE)), flat("odd")),
    "integers": (hist("integers", axis("NPV", "int", [4, 2, 0])), flat("NPV")),
    "growing": (hist("growing", axis("NPV", "int")), flat("NPV")),
    "of_bools": (hist("of_bools", axis("Muon_Tight", "int")), muons("Muon_Tight")),
    "condition": (hist("condition", axis("good", "bool")), lambda e: [([e["MET"] > 20], 1.0)]),
    "texts": (hist("texts", axis("channel", "category", ["ee", "mm"])), flat("channel")),
    "growing_texts": (hist("growing_texts", axis("channel", "category")), flat("channel")),
    "constant_text": (hist("constant_text", axis("dataset_name", "category")), lambda _: [(["mc"], 1.0)]),
    "text_of_the_dataset": (
        hist("text_of_the_dataset", axis("dataset['meta']['tags']['era']", "category", ["A", "B"], name="era")),
        lambda _: [(["B"], 1.0)],
    ),
    "weighted": (
        hist("weighted", axis("MET", "regular", REGULAR), weight_expr="EventWeight"),
        flat("MET", weight=event_weight),
    ),
    "unit": (hist("unit", axis("MET", "regular", REGULAR), storage="weighted"), flat("MET")),
    "negative": (
        hist("negative", axis("NPV", "int"), axis("channel", "category"), weight_expr="-EventWeight / 3"),
        flat("NPV", "channel", weight=lambda e: -e["EventWeight"] / 3),
    ),
    "objects": (
        hist("objects", axis("Muon_E", "regular", REGULAR), weight_expr="EventWeight"),
        muons("Muon_E", weight=event_weight),
    ),
    "mixed": (
        hist(
            "mixed",
            axis("MET", "regular", REGULAR),
            axis("Muon_Px", "variable", VARIABLE),
            axis("channel", "category"),
            axis("Muon_Charge", "int", [-1, 1]),
        ),
        muons("MET", "Muon_Px", "channel", "Muon_Charge"),
    ),
    "object_weights": (
        hist("object_weights", axis("Muon_Charge", "int"), weight_expr="Muon_E * EventWeight"),
        muons("Muon_Charge", weight=lambda e, n: e["Muon_E"][n] * e["EventWeight"]),
    ),
    "missing": (
        hist("missing", axis("highest", "regular", REGULAR), axis("NPV", "int", [0, 1])),
        lambda e: [([max(e["Muon_E"], default=None), e["NPV"]], 1.0)],
    ),
    "missing_beside_lists": (
        hist("missing_beside_lists", axis("tightest", "regular", REGULAR), axis("Muon_Charge", "int")),
        lambda e: [
            ([max((x for x, t in zip(e["Muon_E"], e["Muon_Tight"], strict=True) if t), default=None), charge], 1.0)
            for charge in e["Muon_Charge"]
        ],
    ),
}


@pytest.fixture(scope="module")
def histograms(bench: Bench) -> Outputs:
    variables = [
        {"name": "good", "expr": "MET > 20"},
        {"name": "highest", "expr": "max(Muon_E)"},
        {"name": "tightest", "expr": "max(Muon_E[Muon_Tight])"},
    ]
    return bench(define("Vars", *variables), *(description for description, _ in HISTOGRAMS.values()))


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_a_histogram_has_each_entry_in_its_bin(name: str, histograms: Outputs) -> None:
    histogram = histograms.histogram(name)
    sums, squares = filled((row for event in MC for row in HISTOGRAMS[name][1](event)), histogram)
    np.testing.assert_array_equal(histograms.values(name), sums)
    if histogram["storage"]["type"] == "weighted":
        np.testing.assert_array_equal(histograms.variances(name), squares)
    assert sums.any()


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_entries_are_counted_unless_they_have_weights(name: str, histograms: Outputs) -> None:
    params = HISTOGRAMS[name][0]["params"]
    weighted = "weight_expr" in params or params.get("storage") == "weighted"
    assert histograms.histogram(name)["storage"]["type"] == ("weighted" if weighted else "int")


@pytest.mark.parametrize(("name", "source"), [("growing", "NPV"), ("growing_texts", "channel")])
def test_growing_axes_have_categories_in_order_of_appearance(name: str, source: str, histograms: Outputs) -> None:
    assert histograms.categories(name) == list(dict.fromkeys(event[source] for event in MC))


@pytest.mark.parametrize("name", ["mixed", "integers", "texts", "condition", "unit"])
def test_hist_fills_the_same_histogram(name: str, histograms: Outputs) -> None:
    import hist as hist_package

    ours = archive.open_run(histograms.directory)[name]
    rows = [row for event in MC for row in HISTOGRAMS[name][1](event)]
    theirs = hist_package.Hist(*ours.axes, storage=ours.storage_type())
    theirs.fill(*(list(column) for column in zip(*(values for values, _ in rows), strict=True)))
    assert ours == theirs


# Rows of datasets

SPLITS = {
    "yes": (True, ["mc", "data"], False),
    "named": ({"name": "sample", "label": "Sample"}, ["mc", "data"], False),
    "fixed": ({"name": "sample", "bins": ["data", "other"]}, ["data", "other"], True),
}


@pytest.fixture(scope="module")
def split(bench: Bench) -> Outputs:
    weight = "EventWeight if dataset_eventtype == 'mc' else 1.0"
    stages = []
    for name, (written, _, _) in SPLITS.items():
        stages.append(hist(f"{name}_none", dataset_axis=written))
        stages.append(hist(f"{name}_texts", axis("channel", "category"), dataset_axis=written, weight_expr=weight))
    return bench(*stages, hist("together", axis("channel", "category")), datasets=[SIMULATION, MEASURED])


@pytest.mark.parametrize("name", SPLITS)
def test_datasets_have_rows_of_their_own(name: str, split: Outputs) -> None:
    _, rows, overflow = SPLITS[name]
    assert split.categories(f"{name}_none") == rows
    counts = {"mc": len(MC), "data": len(DATA)}
    listed = [counts.get(row, 0) for row in rows]
    assert split.values(f"{name}_none").tolist() == listed + [sum(counts.values()) - sum(listed)] * overflow


@pytest.mark.parametrize("name", SPLITS)
def test_datasets_share_the_other_axes(name: str, split: Outputs) -> None:
    histogram = split.histogram(f"{name}_texts")
    assert histogram["axes"][1]["categories"] == list(dict.fromkeys(event["channel"] for event in [*MC, *DATA]))
    rows = [(["mc", event["channel"]], event["EventWeight"]) for event in MC]
    rows += [(["data", event["channel"]], 1.0) for event in DATA]
    sums, squares = filled(rows, histogram)
    np.testing.assert_array_equal(split.values(f"{name}_texts"), sums)
    np.testing.assert_array_equal(split.variances(f"{name}_texts"), squares)


def test_without_a_dataset_axis_datasets_are_added(split: Outputs) -> None:
    histogram = split.histogram("together")
    sums, _ = filled((([event["channel"]], 1.0) for event in [*MC, *DATA]), histogram)
    np.testing.assert_array_equal(split.values("together"), sums)


# --- hep.selection.cutflow -------------------------------------------------------------------------------------------


def triggered(event: Event) -> bool:
    return event["trigger"]


def busy(event: Event) -> bool:
    return event["NPV"] > 2


def tight(event: Event) -> bool:
    return any(event["Muon_Tight"])


def high(event: Event) -> bool:
    return event["MET"] > 20


GROUPS = {
    "base": [{"expr": "trigger == 1", "label": "trigger"}, "NPV > 2"],
    "muons": {"steps": [{"reduce": {"op": "any", "over": "Muon_Tight"}}], "parents": ["base[0]"]},
    "both": {"cuts": ["MET > 20"], "parents": ["base[1]", "muons[0]"]},
}


@pytest.fixture(scope="module")
def selected(bench: Bench) -> Outputs:
    return bench(
        cutflow("All", GROUPS, {"from": "events"}, weight_expr="EventWeight", output_field="passed"),
        hist("after_all", axis("event", "int")),
        probe("p_passed", "passed", **{"from": "All"}),
        cutflow("Next", {"again": ["NPV > 2", "All.both", "NPV > 4"]}, {"from": "All"}),
        cutflow("Any", {"a": ["trigger == 1"], "b": ["NPV > 2"]}, {"from": "events"}, filter="any"),
        hist("after_any", axis("event", "int")),
        cutflow("Off", {"a": ["trigger == 1"], "b": ["NPV > 2"]}, {"from": "events"}, filter="none"),
        hist("after_none", axis("Off.a", "bool"), axis("Off.b", "bool")),
        cutflow("Never", {"none": ["NPV > 100", "MET > 20"]}, {"from": "events"}, weight_expr="EventWeight"),
        hist("nothing", axis("channel", "category"), dataset_axis=True, weight_expr="EventWeight"),
        cutflow("Plain", {"base": GROUPS["base"]}, {"from": "events"}, emit_flags=False),
        datasets=[SIMULATION, {**SIMULATION, "name": "again"}],
    )


@pytest.mark.parametrize("dataset", ["mc", "again"])
@pytest.mark.parametrize(
    ("group", "before", "cuts"),
    [
        ("base", [], [triggered, busy]),
        ("muons", [triggered], [tight]),
        ("both", [triggered, busy, tight], [high]),
    ],
)
def test_cuts_are_counted_one_after_the_other(
    group: str, before: list, cuts: list, dataset: str, selected: Outputs
) -> None:
    events = [event for event in MC if all(cut(event) for cut in before)]
    assert told(selected, "All", group, dataset) == counted(events, cuts, event_weight)


def test_without_weights_sums_are_counts(selected: Outputs) -> None:
    assert told(selected, "Plain", "base") == counted(MC, [triggered, busy])


def test_cuts_have_ids_and_labels(selected: Outputs) -> None:
    rows = [(row["cut"], row["label"]) for row in selected.rows("All") if row["dataset"] == "mc"]
    labels = ["trigger", "NPV > 2", "any(Muon_Tight)", "MET > 20"]
    assert rows == list(zip(["base[0]", "base[1]", "muons[0]", "both[0]"], labels, strict=True))


def everything(event: Event) -> bool:
    return triggered(event) and busy(event) and tight(event) and high(event)


@pytest.mark.parametrize(
    ("name", "passes"), [("after_all", everything), ("after_any", lambda e: triggered(e) or busy(e))]
)
def test_what_fails_the_cuts_is_gone_for_stages_below(
    name: str, passes: Callable[[Event], bool], selected: Outputs
) -> None:
    assert selected.categories(name) == [event["event"] for event in MC if passes(event)]


def test_a_later_cutflow_starts_from_what_is_still_in(selected: Outputs) -> None:
    events = [event for event in MC if everything(event)]
    assert told(selected, "Next", "again") == counted(events, [busy, lambda _: True, lambda e: e["NPV"] > 4])


def test_output_field_is_the_whole_decision(selected: Outputs) -> None:
    passed = [2.0 * everything(event) for event in MC]
    assert selected.values("p_passed").tolist()[:EVENTS] == passed


def test_flags_of_groups_are_columns_and_none_keeps_every_event(selected: Outputs) -> None:
    rows = (([triggered(event), busy(event)], 2.0) for event in MC)
    sums, _ = filled(rows, selected.histogram("after_none"))
    np.testing.assert_array_equal(selected.values("after_none"), sums)


def test_no_event_is_no_fault(selected: Outputs) -> None:
    assert told(selected, "Never", "none") == counted(MC, [lambda _: False, high], event_weight)
    assert selected.histogram("nothing")["storage"] == {"type": "weighted", "values": [[], []], "variances": [[], []]}


def test_the_table_says_what_the_json_says(selected: Outputs) -> None:
    text = (selected.directory / "cutflows" / "All.csv").read_text()
    table = list(csv.DictReader(io.StringIO(text)))
    assert [{key: str(value) for key, value in row.items()} for row in selected.rows("All")] == table


# --- applies_to ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(bench: Bench) -> Outputs:
    simulation = {"applies_to": {"eventtype": "mc"}}
    return bench(
        define("Both", {"name": "x", "expr": "MET"}),
        define("OnlyMC", {"name": "x", "expr": "EventWeight"}, **simulation),
        cutflow("CutMC", {"good": ["NPV > 2"]}, simulation, weight_expr="EventWeight"),
        hist("x", axis("x", "variable", VARIABLE), dataset_axis=True),
        hist("mc", axis("NPV", "int"), dataset_axis=True, keys=simulation),
        cutflow("Last", {"all": ["NPV > 1"]}),
        datasets=[MEASURED, SIMULATION],
    )


def test_consumers_of_a_stage_that_does_not_apply_take_what_it_would_have_taken(simulated: Outputs) -> None:
    rows = [(["data", event["MET"]], 1.0) for event in DATA]
    rows += [(["mc", event["EventWeight"]], 1.0) for event in MC if busy(event)]
    sums, _ = filled(rows, simulated.histogram("x"))
    np.testing.assert_array_equal(simulated.values("x"), sums)
    assert told(simulated, "Last", "all", "data") == counted(DATA, [lambda e: e["NPV"] > 1])
    assert told(simulated, "Last", "all", "mc") == counted([e for e in MC if busy(e)], [lambda e: e["NPV"] > 1])


def test_products_have_rows_of_the_datasets_that_the_stage_applies_to(simulated: Outputs) -> None:
    assert simulated.categories("mc") == ["mc"]
    assert {row["dataset"] for row in simulated.rows("CutMC")} == {"mc"}


def test_a_stage_that_applies_to_no_dataset_leaves_empty_products(bench: Bench) -> None:
    data_only = {"applies_to": {"eventtype": "data"}}
    outputs = bench(
        hist("H", axis("MET", "regular", REGULAR), dataset_axis=True, weight_expr="EventWeight", keys=data_only),
        hist("G", axis("NPV", "int"), keys=data_only),
        cutflow("C", {"a": ["MET > 1"]}, data_only),
    )
    assert outputs.histogram("H")["storage"]["values"] == []
    assert outputs.histogram("G")["storage"]["values"] == []
    assert outputs.rows("C") == []
    assert archive.open_run(outputs.directory)["H"].axes[1].size == 10


# --- sources ---------------------------------------------------------------------------------------------------------


def test_streams_have_stages_of_their_own(bench: Bench) -> None:
    outputs = bench(
        define("Events", {"name": "v", "expr": "MET"}),
        define("Runs", {"name": "v", "expr": "lumi * 2"}, **{"from": "runs"}),
        hist("of_events", axis("v", "regular", REGULAR), keys={"from": "Events"}),
        hist("of_runs", axis("event", "int"), weight_expr="v", keys={"needs": "Runs"}),
        hist("of_some", axis("event", "int"), keys={"from": "some"}),
        sources={
            "events": {
                "kind": "root_tree",
                "tree": "events",
                "branches": ["MET", "gone"],
                "missing_branches": "ignore",
            },
            "runs": {"kind": "root_tree", "tree": "runs"},
            "some": {"kind": "root_tree", "tree": "events", "start": 30, "stop": 50},
        },
        primary_stream="events",
    )
    sums, _ = filled((([event["MET"]], 1.0) for event in MC), outputs.histogram("of_events"))
    np.testing.assert_array_equal(outputs.values("of_events"), sums)
    assert (outputs.categories("of_runs"), outputs.values("of_runs").tolist()) == ([7, 8, 9], [6.0, 10.0, 16.0])
    assert outputs.categories("of_some") == [*range(30, 50), *range(FIRST + 30, FIRST + 50)]  # of each file


def test_a_branch_that_is_declared_and_missing_is_a_fault_though_nothing_uses_it(bench: Bench) -> None:
    source = {"kind": "root_tree", "tree": "events", "branches": ["EventWeight"]}
    with pytest.raises(WorkflowError, match=r"no branch 'EventWeight' \(only in .*data.root\)"):
        bench(
            hist("H", axis("MET", "regular", REGULAR)),
            datasets=[{"name": "mixed", "files": ["mc1.root", "data.root"]}],
            sources={"events": source},
        )


def test_empty_trees_give_empty_products(bench: Bench) -> None:
    empty = {"name": "empty", "files": ["none.root"]}
    outputs = bench(
        hist("fixed", axis("MET", "regular", REGULAR), weight_expr="EventWeight"),
        hist("growing", axis("NPV", "int"), dataset_axis=True),
        cutflow("Select", {"good": ["NPV > 2"]}, weight_expr="EventWeight"),
        datasets=[empty],
    )
    assert outputs.values("fixed").tolist() == [0.0] * 12
    assert outputs.histogram("growing")["storage"]["values"] == [[]]
    assert told(outputs, "Select", "good", "empty") == [(0, 0, 0.0, 0.0, 0.0, 0.0)]
    record = json.loads((outputs.directory / "record" / "run.json").read_bytes())
    assert [item["name"] for item in record["inputs"]] == [str(bench.files / "none.root")]


def test_what_looks_like_a_mistake_is_a_warning_in_the_record(bench: Bench) -> None:
    outputs = bench(
        hist("H", axis("MET", "regular", REGULAR)),
        hist("R", axis("lumi", "regular", REGULAR), keys={"from": "runs"}),
        datasets=[{"name": "twice", "files": ["mc2.root", "mc2.root"], "nevents": 80}],
        sources={name: {"kind": "root_tree", "tree": name} for name in ("events", "runs")},
        primary_stream="events",
    )
    warnings = json.loads((outputs.directory / "record" / "run.json").read_bytes())["warnings"]
    path = bench.files / "mc2.root"
    assert warnings == [
        f"dataset twice lists {path} more than once; the events count as often",
        "dataset twice declares nevents: 80, its files have 160; all were used",
    ]
    assert outputs.values("H").sum() == 160


# --- independence ----------------------------------------------------------------------------------------------------


def everything_at_once() -> list[dict[str, object]]:
    return [
        define("Vars", {"name": "pt", "expr": "hypot(Muon_Px, Muon_Py)"}, {"name": "n", "expr": "count(pt)"}),
        hist("h1", axis("pt", "regular", REGULAR), axis("channel", "category"), weight_expr="EventWeight"),
        cutflow("Select", {"a": ["n >= 1", "trigger == 1"], "b": ["NPV > 1"]}, weight_expr="EventWeight", filter="any"),
        hist("h2", axis("NPV", "int"), axis("channel", "category"), dataset_axis=True, weight_expr="EventWeight"),
        hist("h3", axis("odd", "variable", VARIABLE), dataset_axis=True),
    ]


@pytest.fixture(scope="module")
def whole(bench: Bench) -> dict[str, bytes]:
    outputs = bench(*everything_at_once(), datasets=[SIMULATION, {**SIMULATION, "name": "twin"}]).bytes()
    assert set(outputs) == {"h1.json", "h2.json", "h3.json", "Select.json", "Select.csv"}
    return outputs


@pytest.mark.parametrize(("chunk", "workers"), [(1, 1), (7, 1), (50, 2), (1000, 1), (1000, 2)])
def test_neither_partitions_nor_workers_change_a_byte(
    chunk: int, workers: int, bench: Bench, whole: dict[str, bytes]
) -> None:
    datasets = [SIMULATION, {**SIMULATION, "name": "twin"}]
    assert bench(*everything_at_once(), datasets=datasets, chunk=chunk, workers=workers).bytes() == whole


def test_files_may_be_split_in_datasets_of_one_name_or_not(bench: Bench) -> None:
    """A dataset of two files, whose branches have different types, gives the sum of two datasets of one file each."""
    parts = [{"name": name, "files": [f"{name}.root"]} for name in ("mc1", "mc2")]
    stages = [hist("h", axis("MET", "regular", REGULAR), axis("trigger", "int"), weight_expr="EventWeight")]
    assert bench(*stages, datasets=parts).bytes() == bench(*stages).bytes()


def test_the_order_of_files_does_not_matter_where_no_axis_grows(bench: Bench) -> None:
    stages = [hist("h", axis("odd", "variable", VARIABLE), axis("NPV", "int", [1, 2]), weight_expr="EventWeight")]
    backwards = {"name": "mc", "files": ["mc2.root", "mc1.root"]}
    assert bench(*stages, datasets=[backwards]).bytes() == bench(*stages).bytes()
