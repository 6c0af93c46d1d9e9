"""Why a task is computed: what changed since the last run, for each thing that can change."""

from dataclasses import replace
from pathlib import Path

import pytest
from shifted import Desk, variation, write_file

from fasthep_archive.execution.asked import Asked
from fasthep_archive.execution.explain import Explained, explain
from fasthep_archive.execution.ledger import ledger_of, read_ledger, write_ledger
from fasthep_archive.execution.selection import selected
from fasthep_archive.execution.store import Store
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

WORKFLOW = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root], xs: 2.0}, {name: data, eventtype: data, files: [data.root], xs: 1.0}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  globals: {CUT: 20}
  stages:
    - {id: Vars, op: hep.define, from: events, params: {variables: [{name: x, expr: "px * 2"}]}}
    - {id: Control, op: hep.selection.cutflow, from: Vars, params: {weight_expr: w, selection: {all: ["n == 0"]}}}
    - id: Scale
      op: archive.values
      needs: [Control]
      params: {values: [{name: seen, yield: {of: Control}}]}
    - id: Signal
      op: hep.hist
      from: Vars
      needs: [Scale]
      params:
        weight_expr: w * Scale.seen
        axes: [{name: x, source: x, type: regular, bins: {low: -100, high: 100, nbins: 4}}]
    - {id: Plain, op: hep.hist, from: events, params: {axes: [{name: n, source: "n > CUT", type: bool}]}}
    - {id: Xs, op: hep.hist, from: events, params: {axes: [{name: n, source: "n * dataset_xs > 1", type: bool}]}}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("explained")
    write_file(directory / "ww.root", 1)
    write_file(directory / "data.root", 3, mc=False)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


@pytest.fixture
def ran(desk: Desk, tmp_path: Path) -> Path:
    """Return the directory of a store after a run."""
    workflow = desk.workflow(WORKFLOW)
    plan, _ = desk.planned(workflow)
    desk.run(plan, tmp_path)
    write_ledger(tmp_path, workflow, ledger_of(plan, workflow, "1"))
    return tmp_path


def told(
    desk: Desk, store: Path, text: str = WORKFLOW, *, version: str = "1", variations: object = ()
) -> list[Explained]:
    workflow = desk.workflow(text, variations)
    plan, faults = desk.planned(workflow, version=version)
    assert faults == ()
    return list(explain(plan, workflow, Store(store), read_ledger(store, workflow), version))


def reasons(found: list[Explained]) -> dict[str, tuple[str, ...]]:
    """Return why tasks are computed; of passes, those of the first partition of a dataset."""
    return {item.task: item.because for item in found if item.status == "computed" and "events 80" not in item.task}


def test_after_a_run_all_is_cached(desk: Desk, ran: Path) -> None:
    found = told(desk, ran)
    assert {item.status for item in found} == {"cached"}
    assert {item.because for item in found} == {()}
    assert len(found) == 6 + 5  # partitions, and products


def test_what_never_ran_was_never_computed(desk: Desk, tmp_path: Path) -> None:
    found = told(desk, tmp_path)
    assert {item.status for item in found} == {"computed"}
    assert {item.because for item in found} == {("never computed",)}
    waiting = [item.task for item in found if " after " in item.task]
    assert waiting[0] == "pass over events 0 to 80 of ww.root (ww) as events after Scale"


CHANGES = {
    "a bin": ("nbins: 4", "nbins: 8", "Signal", "Signal: axes[0].bins.nbins 4 -> 8"),
    "a cut": ("n == 0", "n == 1", "Control", "Control: selection[0].cuts[0].expr n == 0 -> n == 1"),
    "a definition": ("px * 2", "px * 3", "Signal", "Vars: variables[0].expr px * 2 -> px * 3"),
    "a constant": ("CUT: 20", "CUT: 21", "Plain", "globals.CUT 20 -> 21"),
    "a fact of a dataset": ("xs: 2.0", "xs: 2.5", "Xs", "data.datasets[0].xs 2.0 -> 2.5"),
    "a value of another stage": ("n == 0", "n == 1", "Signal", "the values of Scale changed"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_pass_says_which_option_changed(what: str, desk: Desk, ran: Path) -> None:
    old, new, stage, reason = CHANGES[what]
    assert old in WORKFLOW
    found = reasons(told(desk, ran, WORKFLOW.replace(old, new)))
    assert any(reason in because for task, because in found.items() if task.startswith("pass over"))
    assert f"merge of {stage}" in found


def test_a_merge_says_what_changed_in_its_own_options(desk: Desk, ran: Path) -> None:
    found = reasons(told(desk, ran, WORKFLOW.replace("name: x, source", "name: x, label: mass, source")))
    assert found == {"merge of Signal": ("Signal: axes[0].label mass is new",)}


def test_a_named_stage_is_explained_without_those_that_take_values(desk: Desk, ran: Path) -> None:
    workflow = desk.workflow(WORKFLOW)
    plan = selected(desk.planned(workflow)[0], workflow, Asked(only=("Plain",)))
    write_ledger(ran, workflow, ledger_of(plan, workflow, "1"))
    found = list(explain(plan, workflow, Store(ran), read_ledger(ran, workflow), "1"))
    assert {item.status for item in found} == {"cached"}


def test_a_new_stage_was_never_computed(desk: Desk, ran: Path) -> None:
    more = '    - {id: New, op: hep.hist, from: events, params: {axes: [{name: n, source: "n > 1", type: bool}]}}\n'
    found = reasons(told(desk, ran, WORKFLOW + more))
    assert found["merge of New"] == ("never computed",)
    assert found["pass over events 0 to 80 of ww.root (ww) as events"] == ("New: never computed",)


def test_a_changed_file_is_named(desk: Desk, ran: Path) -> None:
    content = (desk.directory / "ww.root").read_bytes()
    try:
        write_file(desk.directory / "ww.root", 9)
        found = reasons(told(desk, ran))
    finally:
        (desk.directory / "ww.root").write_bytes(content)
    assert found["pass over events 0 to 80 of ww.root (ww) as events"] == ("input ww.root changed",)
    assert not [task for task in found if "data.root" in task and "after" not in task]


def test_another_version_of_the_tool_is_named(desk: Desk, ran: Path) -> None:
    found = told(desk, ran, version="2")
    assert {item.because[0] for item in found} == {"fasthep-archive 1 -> 2"}


def test_a_removed_result_is_missing(desk: Desk, ran: Path) -> None:
    store = Store(ran)
    for entry in list(store.entries()):
        (ran / entry.key[:2] / entry.key[2:]).unlink()
    found = told(desk, ran)
    assert {item.because for item in found} == {("its result is not in the store",)}


def test_a_variation_is_told_apart(desk: Desk, ran: Path) -> None:
    found = reasons(told(desk, ran, variations=(variation("w", multiply=("w",)),)))
    assert found["merge of Control@w"] == ("never computed",)
    assert "merge of Control" not in found


def test_a_ledger_that_is_damaged_is_none(desk: Desk, ran: Path) -> None:
    for ledger in (ran / "ledgers").iterdir():
        ledger.write_text("{")
    assert read_ledger(ran, desk.workflow(WORKFLOW)) is None


def test_a_copied_document_is_compared_with_what_it_came_from(desk: Desk, ran: Path) -> None:
    (desk.directory / "copy.yaml").write_text(WORKFLOW)
    copy, _ = build(load(desk.directory / "copy.yaml"))
    original = desk.workflow(WORKFLOW)
    assert read_ledger(ran, copy) is None
    assert read_ledger(ran, replace(copy, name=original.name)) == read_ledger(ran, original)


def test_an_option_of_a_stage_in_a_workflow_is_named(desk: Desk, tmp_path: Path) -> None:
    first, _, rest = WORKFLOW.partition("    - {id: Plain,")
    inner = f"workflows:\n  other:\n    stages:\n    - {{id: Plain,{rest}"
    workflow = desk.workflow(first + inner)
    plan, _ = desk.planned(workflow)
    desk.run(plan, tmp_path)
    write_ledger(tmp_path, workflow, ledger_of(plan, workflow, "1"))
    found = told(desk, tmp_path, (first + inner).replace("n > CUT", "n >= CUT"))
    reasons = {reason for task in found for reason in task.because if "axes" in reason}
    assert reasons == {"Plain: axes[0].source n > CUT -> n >= CUT"}
