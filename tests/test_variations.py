"""Systematic variations, against documents whose formulas were edited by hand.

Equal keys mean equal programs, inputs and products; that equal keys give equal bytes is what the store rests on, and is
seen in a run once.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from shifted import WORKFLOW, Desk, files, keys, variation, write_file

from fasthep_archive import archive
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.record import read_record

FIELD = variation("field", replace={"pt": "pt_up"})
WEIGHT = variation("weight", multiply=("sf_up", "2.0"), eventtypes=("mc",))
JETS = variation("jets", replace={"Jet_pt": "Jet_pt_up"})
BRANCH = variation("branch", replace={"px": "px_up"}, eventtypes=("mc",))
TEXTS = variation("texts", replace={"channel": "channel_up"})
SWAP = variation("swap", dataset_replace={"ww": "up"})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("shifted")
    write_file(directory / "ww.root", 1)
    write_file(directory / "up.root", 2)
    write_file(directory / "data.root", 3, mc=False)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


def edited(*pairs: tuple[str, str], text: str = WORKFLOW) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def varied(plan: Plan, name: str) -> Mapping[str, str]:
    """Return the keys of the nodes in a variation, those that it leaves as they are included."""
    found = {node.node.written: node.key for node in plan.nodes if node.node.variation == name}
    own = keys(plan)
    return {**{node: own[node] for node in plan.unaffected.get(name, ())}, **found}


def test_a_replaced_definition_is_used_everywhere_after_its_replacement_is_defined(desk: Desk) -> None:
    plan = desk.plan(WORKFLOW, [FIELD])
    by_hand = edited(
        ('expr: "pt < 40"', 'expr: "pt_up < 40"'),
        ("pt > CUT", "pt_up > CUT"),
        ("Jet_pt > pt", "Jet_pt > pt_up"),
        ("source: pt,", "source: pt_up,"),
    )
    assert varied(plan, "field") == keys(desk.plan(by_hand))
    assert plan.unaffected == {"field": ("Untouched",)}


def test_a_replaced_branch_is_used_from_the_start_and_in_reducers(desk: Desk) -> None:
    by_hand = edited(("Jet_pt >", "Jet_pt_up >"))
    assert varied(desk.plan(WORKFLOW, [JETS]), "jets") == keys(desk.plan(by_hand))


def test_texts_are_replaced_too(desk: Desk) -> None:
    by_hand = edited(("source: channel,", "source: channel_up,"))
    assert varied(desk.plan(WORKFLOW, [TEXTS]), "texts") == keys(desk.plan(by_hand))


def test_names_can_be_swapped(desk: Desk) -> None:
    both = variation("both", replace={"px": "py", "py": "px"})
    by_hand = edited(("hypot(px, py)", "hypot(py, px)"))
    assert varied(desk.plan(WORKFLOW, [both]), "both") == keys(desk.plan(by_hand))


def test_weights_are_multiplied_where_there_are_any_and_only_for_the_datasets_it_applies_to(desk: Desk) -> None:
    plan = desk.plan(WORKFLOW, [WEIGHT])
    factor = "((w) * (sf_up) * (2.0)) if dataset_eventtype == 'mc' else w"
    by_hand = edited(("weight_expr: w", f'weight_expr: "{factor}"'))
    assert varied(plan, "weight") == keys(desk.plan(by_hand))
    assert plan.unaffected == {"weight": ("Channel", "Untouched")}


def test_a_field_of_simulation_alone_is_replaced_there_alone(desk: Desk) -> None:
    plan = desk.plan(WORKFLOW, [BRANCH])
    by_hand = edited(("hypot(px, py)", "hypot(px_up if dataset_eventtype == 'mc' else px, py)"))
    assert varied(plan, "branch") == keys(desk.plan(by_hand))


def test_another_dataset_stands_in_under_the_same_name(desk: Desk) -> None:
    """The one that stands in is not there on its own, and formulas know its facts."""
    text = edited(('expr: "pt < 40"', 'expr: "pt < 40 * dataset_xs"'), ("xs: 2.5}", "xs: 2.5}")).replace(
        "files: [data.root]}", "files: [data.root], xs: 1.0}"
    )
    by_hand = text.replace("    - {name: ww, files: [ww.root], xs: 2.5}\n", "").replace("{name: up,", "{name: ww,")
    plan = desk.plan(text, [SWAP])
    assert varied(plan, "swap") == keys(desk.plan(by_hand))
    assert keys(plan)["Pt"] == keys(desk.plan(text))["Pt"]


def test_what_the_document_says_is_planned_as_without_variations(desk: Desk) -> None:
    plain, plan = desk.plan(WORKFLOW), desk.plan(WORKFLOW, [FIELD, WEIGHT, SWAP, JETS])
    own = {node.node.id: node.key for node in plan.nodes if node.node.variation is None}
    assert own == keys(plain)


def test_work_that_a_variation_does_not_change_exists_once(desk: Desk) -> None:
    """Whatever the two have in common is computed once, and what is all the same is no part of its own."""
    plan = desk.plan(WORKFLOW, [FIELD])
    (variant,) = {step.variant for step in plan.passes if step.partition.dataset == "ww"}
    nodes = tuple(fill.node.id for fill in variant.fills)
    assert "Untouched@field" not in nodes
    together = variant.work(nodes).program.instructions
    assert len(set(together)) == len(together)
    assert sum(item.operation == "hypot" for item in together) == 1
    assert sum(item.operation == "column" and item.detail == "w" for item in together) == 1
    apart = [variant.work((node,)).program.instructions for node in nodes]
    assert len(together) < sum(map(len, apart)) / 2


def test_files_are_as_by_hand_byte_by_byte(desk: Desk) -> None:
    found = files(desk.run(desk.plan(WORKFLOW, [FIELD, WEIGHT])))
    by_hand = edited(
        ('expr: "pt < 40"', 'expr: "pt_up < 40"'),
        ("pt > CUT", "pt_up > CUT"),
        ("Jet_pt > pt", "Jet_pt > pt_up"),
        ("source: pt,", "source: pt_up,"),
    )
    expected = files(desk.run(desk.plan(by_hand)))
    prefix = "systematics/field/"
    shifted = {name.removeprefix(prefix): content for name, content in found.items() if name.startswith(prefix)}
    assert shifted == {name: content for name, content in expected.items() if "Untouched" not in name}
    assert {name for name in found if name.startswith("systematics/weight/")} == {
        "systematics/weight/cutflows/Select.json",
        "systematics/weight/cutflows/Select.csv",
        "systematics/weight/histograms/Pt.json",
    }
    rows = json.loads(found["systematics/weight/cutflows/Select.json"])["rows"]
    own = json.loads(found["cutflows/Select.json"])["rows"]
    assert [row["events_out"] for row in rows] == [row["events_out"] for row in own]
    assert [row for row in rows if row["dataset"] == "data"] == [row for row in own if row["dataset"] == "data"]
    assert [row["sumw_in"] for row in rows if row["dataset"] == "ww"] != [
        row["sumw_in"] for row in own if row["dataset"] == "ww"
    ]


# --- inline ----------------------------------------------------------------------------------------------------------

INLINE = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root]}, {name: data, eventtype: data, files: [data.root]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - {id: Scale, op: hep.define, params: {variables: [{name: x, expr: "px * 1.0"}]}}
    - {id: Next, op: hep.define, params: {variables: [{name: y, expr: "x + py"}]}}
    - {id: Between, op: hep.hist, params: {axes: [{name: y, source: y, type: regular, bins: {low: 0, high: 9, nbins: 9}}]}}
    - {id: Cut, op: hep.selection.cutflow, params: {selection: {all: [{expr: "%s > 0", label: a}]}}}
    - {id: After, op: hep.hist, params: {axes: [{name: y, source: "%s", type: regular, bins: {low: 0, high: 9, nbins: 9}}]}}
"""


def inline(**changes: object) -> object:
    patch = {"variables": [{"name": "x", "expr": "px * 1.5"}]}
    given = {"mode": "inline", "anchor": "Scale", "patch": patch, "stop_before": "Cut", "export": {"y_up": "y"}}
    return variation("scale", **{**given, **changes})


def test_an_inline_variation_exports_what_the_stages_between_make_of_it(desk: Desk) -> None:
    plan = desk.plan(INLINE % ("y_up", "y"), [inline()])
    assert keys(plan) == keys(desk.plan(INLINE % ("px * 1.5 + py", "y")))


def test_an_export_is_the_field_itself_where_the_variation_does_not_apply(desk: Desk) -> None:
    plan = desk.plan(INLINE % ("x", "y_up"), [inline(eventtypes=("mc",))])
    by_hand = desk.plan(INLINE % ("x", "px * 1.5 + py if dataset_eventtype == 'mc' else y"))
    assert keys(plan)["After"] == keys(by_hand)["After"]


def test_a_histogram_on_the_way_sees_exports_too(desk: Desk) -> None:
    text = (INLINE % ("x", "y")).replace("source: y, type", 'source: "y_up + y", type', 1)
    by_hand = (INLINE % ("x", "y")).replace("source: y, type", 'source: "(px * 1.5 + py) + y", type', 1)
    assert keys(desk.plan(text, [inline()]))["Between"] == keys(desk.plan(by_hand))["Between"]


# --- faults ----------------------------------------------------------------------------------------------------------

LISTED = "needs one value per event, but this formula has a list of values per event (in variation 'v')"
FAULTS = {
    "a field that is missing": (
        variation("v", requires=("nothing",)),
        "variation 'v' requires 'nothing', and nothing has that name",
    ),
    "a stage that is missing": (
        variation("v", requires=("stage.Selec",)),
        "variation 'v' requires stage 'Selec', and there is none",
    ),
    "a replacement that nothing defines": (
        variation("v", replace={"pt": "pt_down"}),
        "variation 'v' replaces 'pt' by 'pt_down', and nothing has that name",
    ),
    "something to replace that nothing defines": (
        variation("v", replace={"ptt": "pt"}),
        "variation 'v' replaces 'ptt', and nothing has that name",
    ),
    "a factor that data does not have": (
        variation("v", multiply=("sf_up",)),
        "unknown name 'sf_up' (in variation 'v') (only in dataset data)",
    ),
    "a factor with a list per event": (
        variation("v", multiply=("Jet_pt",)),
        f"a cutflow's weight {LISTED}",
    ),
    "a replacement of another type": (
        variation("v", replace={"pt": "Jet_pt"}),
        f"a cut {LISTED}",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_variation_can_have(what: str, desk: Desk) -> None:
    broken, message = FAULTS[what]
    _, faults = desk.planned(desk.workflow(WORKFLOW, [broken]))
    assert message in [fault.message for fault in faults]


def test_what_is_met_is_no_fault(desk: Desk) -> None:
    desk.plan(WORKFLOW, [variation("v", requires=("stage.Select", "pt", "Jet_pt", "Select.good"))])


# --- as the document writes them -------------------------------------------------------------------------------------

SYSTEMATICS = """\
systematics:
  include_nominal: true
  variations:
    - name: "weight_{by}"
      matrix: {by: ["2", "3"]}
      applies_to: mc
      weight: {multiply: "sf_up * {by}"}
    - {name: field, replace: {pt: pt_up}}
    - name: scale
      mode: inline
      anchor: Vars
      patch: {params: {variables: [{name: pt, expr: "hypot(px, py) * 1.1"}]}}
      stop_before: Select
      export: {pt_scaled: pt}
"""


def test_a_documents_systematics_are_run_and_recorded(desk: Desk, tmp_path: Path) -> None:
    path = desk.directory / "systematics.yaml"
    path.write_text(WORKFLOW.replace("Jet_pt > pt", "Jet_pt > pt_scaled") + SYSTEMATICS)
    ran = archive.run(path, tmp_path / "out", cache=desk.cache, workers=1, reuse=False)
    record = json.loads((tmp_path / "out/record/run.json").read_bytes())
    assert record["unaffected"] == {
        "field": ["Untouched"],
        "weight_2": ["Channel", "Untouched"],
        "weight_3": ["Channel", "Untouched"],
    }
    varied = {(item["name"], item["stage"], item["kind"], item.get("variation")) for item in record["outputs"]}
    assert ("systematics/weight_3/histograms/Pt.json", "Pt", "histogram", "weight_3") in varied
    assert ("histograms/Pt.json", "Pt", "histogram", None) in varied
    again = read_record(record, ran.record.workflow)
    assert (again.unaffected, again.outputs) == (ran.record.unaffected, ran.record.outputs)
    sums = [
        np.array(json.loads((tmp_path / f"out/{where}histograms/Pt.json").read_bytes())["storage"]["values"])[0]
        for where in ("systematics/weight_2/", "systematics/weight_3/")
    ]
    np.testing.assert_allclose(sums[0] * 1.5, sums[1], rtol=1e-13)


@pytest.mark.parametrize(
    ("export", "message"),
    [
        ({"x": "y"}, "variation 'scale' exports 'x', and there is one already"),
        ({"y_up": "yy"}, "unknown name 'yy'"),
    ],
)
def test_exports_can_be_wrong(export: Mapping[str, str], message: str, desk: Desk) -> None:
    _, faults = desk.planned(desk.workflow(INLINE % ("x", "y"), [inline(export=export)]))
    assert {fault.message for fault in faults} == {message}


def test_stages_of_a_fork_that_do_not_apply_are_passed(desk: Desk) -> None:
    only_mc = "{id: Next, op: hep.define, applies_to: {eventtype: mc}, params:"
    text = (
        (INLINE % ("x", "x_up"))
        .replace("{id: Next, op: hep.define, params:", only_mc)
        .replace("source: y,", "source: x,")
    )
    plan = desk.plan(text, [inline(export={"x_up": "x"})])
    by_hand = text.replace('source: "x_up"', 'source: "px * 1.5"')
    assert keys(plan)["After"] == keys(desk.plan(by_hand))["After"]
