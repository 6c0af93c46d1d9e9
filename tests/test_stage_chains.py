"""Stages on columns, nested cuts and values together, from a document to its files; oracles in plain Python."""

import json
import math
from pathlib import Path

import pytest
from events import (
    DATA,
    MC,
    MEASURED,
    REGULAR,
    SIMULATION,
    Bench,
    Event,
    Outputs,
    axis,
    define,
    hist,
    stage,
    write_files,
)

from fasthep_archive.errors import TaskError

NESTED = {
    "Signal": [
        "NPV >= 1",
        {
            "Any": [
                "MET > 40",
                {"All": ["trigger == 1", {"reduce": {"op": "any", "over": "Muon_Tight"}}], "label": "muon"},
            ]
        },
    ]
}


def good(event: Event) -> bool:
    return event["NPV"] >= 1


def muon(event: Event) -> bool:
    return event["trigger"] and any(event["Muon_Tight"])


def signal(event: Event) -> bool:
    return good(event) and (event["MET"] > 40 or muon(event))


def kind(event: Event) -> int:
    return 2 if event["NPV"] > 3 else 1 if event["NPV"] > 1 else 0


@pytest.fixture(scope="module")
def outputs(kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    files = tmp_path_factory.mktemp("files")
    write_files(files)
    cases = [{"when": "NPV > 3", "values": {"kind": 2}}, {"when": "NPV > 1", "values": {"kind": 1}}]
    choose = {"cases": cases, "on_multiple": "first", "on_no_match": "default", "default": {"kind": 0}}
    taken = [{"node": "Select", "port": "cutflow"}, {"node": "Kinds", "port": "hist"}]
    values = [
        {"name": "measured", "yield": {"of": "Select", "dataset": "data"}},
        {"name": "passing", "yield": {"of": "Select", "dataset": "mc", "what": "n"}},
        {"name": "late", "yield": {"of": "Select", "dataset": "mc", "cut": "Signal[0]", "what": "n"}},
        {"name": "high", "integral": {"of": "Kinds", "select": {"dataset": "mc", "kind": 2}}},
        {"name": "scale", "expr": "passing / (late + high)"},
    ]
    return Bench(files, kernel_cache, tmp_path_factory.mktemp("bench"))(
        define("Weight", {"name": "w", "expr": "EventWeight", "dtype": "float64"}, applies_to={"eventtype": "mc"}),
        define("Unit", {"name": "w", "expr": "1.0"}, applies_to={"eventtype": "data"}),
        stage("Good", "hep.selection.flag", params={"selection": ["MET > 0", "trigger == 1"]}),
        stage("Kind", "hep.choose", params=choose),
        define("Other", {"name": "twice", "expr": "MET * 2"}, **{"from": "Good"}),
        stage(
            "Both",
            "hep.merge_fields",
            params={},
            **{"from": [{"node": "Kind", "as": "a"}, {"node": "Other", "as": "b"}]},
        ),
        hist("Kinds", axis("kind", "int", [0, 1, 2]), axis("Good", "bool"), dataset_axis=True),
        stage(
            "Select", "hep.selection.cutflow", params={"selection": NESTED}, inspect=[{"kind": "hep.schema_snapshot"}]
        ),
        hist(
            "Varied",
            axis("twice", "regular", REGULAR),
            dataset_axis=True,
            variations={"weights": {"nominal": "w", "up": "w * 2"}, "apply_to": {"eventtype": "mc"}},
        ),
        stage("Scale", "archive.values", params={"values": values}, **{"from": taken}),
        hist(
            "Scaled",
            axis("MET", "regular", REGULAR),
            weight_expr="Scale.scale",
            keys={"needs": ["Select", "Scale"], "from": "Select"},
        ),
        datasets=[MEASURED, SIMULATION],
        chunk=70,
    )


def test_values_are_made_of_other_products(outputs: Outputs) -> None:
    found = json.loads((outputs.directory / "values" / "Scale.json").read_bytes())
    passing, late = sum(map(signal, MC)), sum(map(good, MC))
    high = sum(kind(event) == 2 for event in MC)
    assert found == {
        "measured": sum(map(signal, DATA)),
        "passing": passing,
        "late": late,
        "high": high,
        "scale": passing / (late + high),
    }


def test_values_are_numbers_in_formulas_of_stages_that_need_them(outputs: Outputs) -> None:
    found = json.loads((outputs.directory / "values" / "Scale.json").read_bytes())["scale"]
    events = [event for event in (*DATA, *MC) if signal(event)]
    expected = math.fsum(found for event in events)
    assert math.isclose(outputs.values("Scaled").sum(), expected, rel_tol=1e-12)


def test_nested_cuts_are_counted_on_what_enters_them(outputs: Outputs) -> None:
    rows = [row for row in outputs.rows("Select") if row["dataset"] == "mc"]
    entering = [event for event in MC if good(event)]
    triggered = [event for event in entering if event["trigger"]]
    assert [(row["cut"], row["label"], row["events_in"], row["events_out"]) for row in rows] == [
        ("Signal[0]", "NPV >= 1", len(MC), len(entering)),
        ("Signal[1]", "Any", len(entering), sum(map(signal, MC))),
        ("Signal[1][0]", "MET > 40", len(entering), sum(event["MET"] > 40 for event in entering)),
        ("Signal[1][1]", "muon", len(entering), sum(map(muon, entering))),
        ("Signal[1][1][0]", "trigger == 1", len(entering), len(triggered)),
        ("Signal[1][1][1]", "any(Muon_Tight)", len(triggered), sum(map(muon, triggered))),
    ]


def test_flags_and_choices_fill_histograms(outputs: Outputs) -> None:
    found = outputs.values("Kinds")
    for row, events in enumerate((DATA, MC)):
        for number in range(3):
            for flag in (0, 1):
                chosen = [e for e in events if kind(e) == number and (e["MET"] > 0 and e["trigger"]) == bool(flag)]
                assert found[row][number][flag] == len(chosen)


def test_variations_are_for_simulation_only(outputs: Outputs) -> None:
    found = outputs.values("Varied")
    assert found[0].sum(axis=0).tolist() == [sum(map(signal, DATA)), 0, 0]
    assert (found[1][:, 1] == 2 * found[1][:, 0]).all()
    assert found[1].any()


def test_the_snapshot_counts_what_is_left(outputs: Outputs) -> None:
    found = json.loads((outputs.directory / "schema" / "stage.Select.json").read_bytes())
    assert [(entry["dataset"], entry["entries"]) for entry in found["datasets"]] == [
        ("data", sum(map(signal, DATA))),
        ("mc", sum(map(signal, MC))),
    ]
    assert found["datasets"][1]["fields"]["Muon_Tight"] == "var * bool"


def test_an_event_without_a_case_is_named_with_its_stage(kernel_cache: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    write_files(files)
    bench = tmp_path / "bench"
    bench.mkdir()
    first = next(event for event in MC if event["NPV"] <= 3)
    cases = [{"name": "busy", "when": "NPV > 3", "values": {"kind": 2}}]
    with pytest.raises(TaskError) as caught:
        Bench(files, kernel_cache, bench)(
            stage("Kind", "hep.choose", params={"cases": cases}), hist("H", axis("kind", "int"))
        )
    assert f"stage 'Kind': event {first['event']} matches none of its cases, busy" in caught.value.message
