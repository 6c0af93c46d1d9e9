"""Values that stages leave for the formulas of others: passes that come after derivations, keys, failures, selections."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from shifted import Desk, files, keys, variation, write_file

from fasthep_archive.errors import TaskError, UsageError
from fasthep_archive.execution.asked import Asked
from fasthep_archive.execution.plan import Merge, Plan
from fasthep_archive.execution.selection import selected
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.todo import to_do
from fasthep_archive.workflow.model import SubWorkflow, Variation, Workflow

WORKFLOW = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root]}, {name: data, eventtype: data, files: [data.root]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - {id: Vars, op: hep.define, from: events, params: {variables: [{name: x, expr: "px * 2"}]}}
    - {id: Control, op: hep.selection.cutflow, from: Vars, params: {weight_expr: w, selection: {all: ["n == 0"]}}}
    - id: Scale
      op: archive.values
      needs: [Control]
      params:
        values:
          - {name: seen, yield: {of: Control, dataset: data}}
          - {name: expected, yield: {of: Control, dataset: ww}}
          - {name: ratio, expr: seen / expected}
    - id: Signal
      op: hep.hist
      from: Vars
      needs: [Scale]
      params:
        weight_expr: w * Scale.ratio
        axes: [{name: x, source: x, type: regular, bins: {low: -100, high: 100, nbins: 4}}]
    - {id: Plain, op: hep.hist, from: Vars, params: {axes: [{name: n, source: n, type: int, bins: [0, 1, 2, 3]}]}}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("between")
    write_file(directory / "ww.root", 1)
    write_file(directory / "data.root", 3, mc=False)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


def planned(desk: Desk, text: str = WORKFLOW, variations: tuple[Variation, ...] = ()) -> Plan:
    plan, faults = desk.planned(desk.workflow(text, variations))
    assert faults == ()
    return plan


def test_formulas_compute_with_the_values_of_stages_that_they_need(desk: Desk) -> None:
    found = files(desk.run(planned(desk)))
    values = json.loads(found["values/Scale.json"])
    rows = {row["dataset"]: row for row in json.loads(found["cutflows/Control.json"])["rows"]}
    assert values["ratio"] == rows["data"]["sumw_out"] / rows["ww"]["sumw_out"]
    by_hand = WORKFLOW.replace("Scale.ratio", repr(values["ratio"]))
    assert files(desk.run(planned(desk, by_hand)))["histograms/Signal.json"] == found["histograms/Signal.json"]


def test_passes_that_need_no_values_wait_for_none(desk: Desk) -> None:
    todo = to_do(planned(desk), set())
    first, second = [{job.nodes for job in todo.jobs if bool(job.needs) == later} for later in (False, True)]
    assert first == {("Control", "Plain")}
    assert second == {("Signal",)}
    assert {job.needs for job in todo.jobs if job.needs} == {("derivation of Scale",)}


def test_known_values_are_waited_for_by_nobody(desk: Desk, tmp_path: Path) -> None:
    desk.run(planned(desk), tmp_path)
    changed = planned(desk, WORKFLOW.replace("nbins: 4", "nbins: 5").replace("bins: [0, 1, 2, 3]", "bins: [0, 1, 2]"))
    todo = to_do(changed, Store(tmp_path))
    assert {job.nodes for job in todo.jobs} == {("Signal", "Plain")}
    assert {job.needs for job in todo.jobs} == {()}
    assert todo.derived == ()


def test_the_number_of_workers_changes_no_byte(desk: Desk) -> None:
    plan = planned(desk)
    assert files(desk.run(plan)) == files(desk.run(plan, workers=2))


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('["n == 0"]', '["n == 1"]', {"Control", "Scale", "Signal"}),
        ("seen / expected", "expected / seen", {"Scale", "Signal"}),
        ("nbins: 4", "nbins: 5", {"Signal"}),
        ("Scale.ratio", "Scale.seen", {"Signal"}),
        ("id: Scale", "id: Scale", set()),
    ],
)
def test_keys_follow_values(old: str, new: str, changed: set[str], desk: Desk) -> None:
    before, after = keys(planned(desk)), keys(planned(desk, WORKFLOW.replace(old, new)))
    assert {node for node in after if after[node] != before[node]} == changed


def test_a_variation_has_values_of_its_own_where_it_changes_them(desk: Desk) -> None:
    weight = variation("weight", multiply=("w",))
    plan = planned(desk, variations=(weight,))
    assert plan.unaffected == {"weight": ("Plain",)}
    by_hand = WORKFLOW.replace("weight_expr: w,", "weight_expr: w * w,").replace(
        "weight_expr: w * Scale.ratio", "weight_expr: (w * Scale.ratio) * w"
    )
    assert {**keys(planned(desk, by_hand)), "Plain": None} == {
        **{node.node.written: node.key for node in plan.nodes if node.node.variation},
        "Plain": None,
    }


def test_a_variation_that_changes_no_value_shares_it(desk: Desk) -> None:
    plan = planned(desk, variations=(variation("shape", replace={"x": "py"}),))
    assert plan.unaffected == {"shape": ("Control", "Scale", "Plain")}
    found = files(desk.run(plan))
    by_hand = files(desk.run(planned(desk, WORKFLOW.replace("source: x,", "source: py,"))))
    assert found["systematics/shape/histograms/Signal.json"] == by_hand["histograms/Signal.json"]


def test_what_is_independent_of_a_failure_completes(desk: Desk) -> None:
    """Nothing passes the cut, so the ratio is not finite."""
    results = desk.run(planned(desk, WORKFLOW.replace("n == 0", "n == 99")))
    assert set(results.outputs) == {"Control", "Plain"}
    assert [(failure.stage, failure.partition) for failure in results.failures] == [("Scale", None)]
    with pytest.raises(TaskError, match=r"stage Scale failed: .*not a finite number"):
        results.raise_failures()


# --- selections ------------------------------------------------------------------------------------------------------


def wanted(desk: Desk, text: str = WORKFLOW, **asked: list[str]) -> tuple[Plan, Workflow]:
    workflow = desk.workflow(text)
    names = (("control", ("Vars", "Control")), ("signal", ("Scale", "Signal")))
    parts = tuple(SubWorkflow(name=name, stages=stages, path=()) for name, stages in names)
    workflow = replace(workflow, workflows=parts)
    plan, _ = desk.planned(workflow)
    return selected(plan, workflow, Asked(**{name: tuple(names) for name, names in asked.items()})), workflow


def kept(plan: Plan) -> dict[str, bool]:
    return {node.node.id: node.kept for node in plan.nodes}


def test_all_workflows_are_carried_out_unless_some_are_named(desk: Desk) -> None:
    plan, _ = wanted(desk)
    assert plan.workflows == ("control", "signal")
    assert kept(plan) == dict.fromkeys(("Control", "Scale", "Signal", "Plain"), True)


def test_a_named_workflow_comes_with_all_that_it_needs(desk: Desk) -> None:
    plan, _ = wanted(desk, workflows=["signal"])
    assert plan.workflows == ("signal",)
    assert kept(plan) == dict.fromkeys(("Control", "Scale", "Signal"), True)
    assert kept(wanted(desk, workflows=["control"])[0]) == {"Control": True}


def test_what_a_named_stage_needs_is_computed_and_not_kept(desk: Desk) -> None:
    plan, _ = wanted(desk, only=["Signal"])
    assert kept(plan) == {"Control": False, "Scale": False, "Signal": True}
    assert set(files(desk.run(plan))) == {"histograms/Signal.json"}
    assert plan.outputs == ("histograms/Signal.json",)


def test_a_stage_of_another_workflow_is_not_one_of_the_named(desk: Desk) -> None:
    assert kept(wanted(desk, workflows=["control"], only=["Control"])[0]) == {"Control": True}
    with pytest.raises(UsageError, match="--only Plain: no stage of that name leaves a product"):
        wanted(desk, workflows=["control"], only=["Plain"])


def test_unknown_names_are_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="--workflow sigal: the document has no workflow of that name"):
        wanted(desk, workflows=["sigal"])
    with pytest.raises(UsageError, match="--only Vars: no stage of that name leaves a product"):
        wanted(desk, only=["Vars"])
    with pytest.raises(UsageError, match="--with Plan: no stage of that name leaves a product"):
        wanted(desk, also=["Plan"])


def test_manual_stages_and_what_needs_them_wait_until_they_are_asked_for(desk: Desk) -> None:
    workflow = desk.workflow(WORKFLOW)
    stages = tuple(replace(stage, when="manual") if stage.id == "Scale" else stage for stage in workflow.stages)
    workflow = replace(workflow, stages=stages)
    plan, _ = desk.planned(workflow)
    assert kept(selected(plan, workflow, Asked())) == {"Control": True, "Plain": True}
    assert kept(selected(plan, workflow, Asked(only=("Scale",)))) == {"Control": False, "Scale": True}
    found = selected(plan, workflow, Asked(only=("Signal",)))
    assert kept(found) == {"Control": False, "Scale": False, "Signal": True}
    everything = dict.fromkeys(("Control", "Scale", "Signal", "Plain"), True)
    assert kept(selected(plan, workflow, Asked(also=("Signal",)))) == everything


def test_the_graph_of_a_plan_is_in_order(desk: Desk) -> None:
    seen: set[str] = set()
    plan = planned(desk, variations=(variation("weight", multiply=("w",)),))
    for node in plan.nodes:
        assert set(node.takes) <= seen
        seen.add(node.node.id)
    assert {node.node.id for node in plan.nodes if isinstance(node, Merge)} == {
        "Control", "Signal", "Plain", "Control@weight", "Signal@weight",
    }  # fmt: skip
