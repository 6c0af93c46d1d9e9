"""Code of the analysis on its way: tasks travel without it, and what says which files it uses finds no others."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from shifted import Desk, files, write_file

from fasthep_archive.execution import run
from fasthep_archive.execution.admission import Terms, terms_of
from fasthep_archive.execution.errands import Answer, Lacking, message, perform
from fasthep_archive.execution.explain import explain
from fasthep_archive.execution.ledger import ledger_of, read_ledger, write_ledger
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.scheduler import Task
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.worker import CPU, Done, code_of
from fasthep_archive.operations.child import end_children

WORKFLOW = """\
version: "1.1"
code: {path: code, files: [big.bin, scale.txt]}
data: {datasets: [{name: ww, files: [ww.root], xs: 2.5}]}
sources: {events: {kind: root_tree, tree: events}}
fields:
  twice: {stream: events, callable: "model:twice", columns: [px], returns: float64, code: []}
registry: {functions: {shifted: {callable: "plain:shifted", code: []}}}
analysis:
  stages:
    - id: Scaled
      op: run.events
      params: {callable: "model:scaled", columns: [px], returns: {x: float64}, code: [scale.txt]}
    - id: Hist
      op: hep.hist
      params: {axes: [{name: x, source: shifted(x) + twice, type: regular, bins: {low: -100, high: 100, nbins: 4}}]}
    - id: Any
      op: run.python
      params: {callable: "plain:listed", returns: {values: [files]}}
"""
MODEL = """\
from pathlib import Path

HERE = Path(__file__).parent

def scaled(events):
    assert not (HERE / "big.bin").exists()
    return events.px * float((HERE / "scale.txt").read_text())

def twice(events):
    return events.px * 2
"""
PLAIN = """\
from pathlib import Path

def shifted(x):
    return x + 1

def listed():
    return len([path for path in Path(__file__).parent.iterdir() if path.suffix in (".bin", ".txt")])
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("travels")
    write_file(directory / "ww.root", 1)
    (directory / "code").mkdir()
    contents = {"model.py": MODEL, "plain.py": PLAIN, "big.bin": "x" * 1_000_000, "scale.txt": "2"}
    for name, text in contents.items():
        (directory / "code" / name).write_text(text)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


@pytest.fixture
def changed(desk: Desk) -> Iterator[Path]:
    """Return a file of the code, whose content is put back afterwards."""
    path = desk.directory / "code" / "big.bin"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def tasks(desk: Desk, plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Task]:
    """Return the tasks of a run by name, which is not carried out."""
    found: list[Task] = []

    def executed(given: list[Task], *_: object) -> Mapping[str, object]:
        found.extend(given)
        return {}

    monkeypatch.setattr(run, "_execute", executed)
    desk.run(plan, store.root)
    return {task.name: task for task in found}


@pytest.fixture
def first(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Task, Store]:
    """Return the first pass of a run that calls functions, and the store that has its code."""
    store = Store(tmp_path / "store")
    named = tasks(desk, desk.plan(WORKFLOW), store, monkeypatch)
    return next(task for name, task in named.items() if name.startswith("pass over")), store


# --- what it finds ----------------------------------------------------------------------------------------------------


def test_functions_find_the_files_that_they_are_said_to_use_and_others_all(desk: Desk) -> None:
    assert files(desk.run(desk.plan(WORKFLOW)))["values/Any.json"].count(b"2.0") == 1


def keys(plan: Plan) -> Mapping[str, str]:
    parts = {part.key for merge in plan.merges for part in merge.parts}
    return {"passes": repr(sorted(parts)), **{node.node.id: node.key for node in plan.nodes}}


def test_a_file_that_a_stage_is_not_said_to_use_changes_none_of_its_keys(desk: Desk, changed: Path) -> None:
    before = keys(desk.plan(WORKFLOW))
    changed.write_text("another")
    after = keys(desk.plan(WORKFLOW))
    assert {name for name in before if before[name] != after[name]} == {"Any"}


def test_saying_that_all_files_are_used_changes_no_key(desk: Desk) -> None:
    said = WORKFLOW.replace("returns: {values: [files]}", "returns: {values: [files]}, code: [scale.txt, big.bin]")
    assert keys(desk.plan(said)) == keys(desk.plan(WORKFLOW))


def test_explain_names_the_file_and_that_it_may_be_used(desk: Desk, changed: Path, tmp_path: Path) -> None:
    workflow = desk.workflow(WORKFLOW)
    plan, _ = desk.planned(workflow)
    write_ledger(tmp_path, workflow, ledger_of(plan, workflow, "1"))
    changed.write_text("another")
    workflow = desk.workflow(WORKFLOW)
    plan, _ = desk.planned(workflow)
    told = explain(plan, workflow, Store(tmp_path), read_ledger(tmp_path, workflow), "1")
    may = "stage Any may use all files of the code, as it has no 'code' of its own"
    assert {item.task: item.because for item in told}["derivation of Any"] == (
        f"code of stage Any changed: big.bin; {may}",
    )


@pytest.mark.parametrize(
    ("label", "module", "old", "new", "part"),
    [
        ("field twice", "model.py", "px * 2", "px * 2.5", "function twice in model.py"),
        ("function shifted", "plain.py", "x + 1", "x + 1.5", "plain.py"),  # another function there lists the directory
    ],
)
def test_explain_names_functions_of_fields_and_formulas(
    desk: Desk, tmp_path: Path, label: str, module: str, old: str, new: str, part: str
) -> None:
    workflow = desk.workflow(WORKFLOW)
    plan, _ = desk.planned(workflow)
    write_ledger(tmp_path, workflow, ledger_of(plan, workflow, "1"))
    path = desk.directory / "code" / module
    text = path.read_text()
    try:
        path.write_text(text.replace(old, new))
        workflow = desk.workflow(WORKFLOW)
        plan, _ = desk.planned(workflow)
        told = explain(plan, workflow, Store(tmp_path), read_ledger(tmp_path, workflow), "1")
        passes = [item.because for item in told if item.task.startswith("pass over")]
        assert passes == [(f"code of {label} changed: {part}",)] * 3
    finally:
        path.write_text(text)


# --- how it travels ---------------------------------------------------------------------------------------------------


def test_tasks_travel_without_the_code(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    found = tasks(desk, desk.plan(WORKFLOW), store, monkeypatch)
    assert max(len(pickle.dumps(task.call)) for task in found.values()) < 20_000
    assert all(key in store for task in found.values() for key in code_of(task.call))
    assert sum(len(code_of(task.call)) for task in found.values()) == 3 * 3 + 1


def away(desk: Desk, tmp_path: Path) -> Terms:
    """Return the terms of workers that do not see the store."""
    return terms_of((), (tmp_path / "no token",), desk.cache)


def test_a_worker_without_the_store_asks_for_the_code_once(
    desk: Desk, first: tuple[Task, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task, store), terms = first, away(desk, tmp_path)
    monkeypatch.setattr("fasthep_archive.execution.errands.caches", lambda _terms: desk.cache)
    try:
        assert perform(message(task.call, terms, store)) == Lacking()
        answers = [perform(message(task.call, terms, store, code=code)) for code in (True, False)]
    finally:
        end_children()
    assert [isinstance(answer, Answer) and isinstance(answer.done, Done) for answer in answers] == [True, True]
    assert isinstance(answers[1], Answer)
    assert answers[1].done is not None
    assert answers[1].done.failures == {}
    assert answers[1].done.device == CPU


def test_a_message_has_the_code_only_where_it_was_asked_for(
    desk: Desk, first: tuple[Task, Store], tmp_path: Path
) -> None:
    (task, store), terms = first, away(desk, tmp_path)
    plain, full = (len(message(task.call, terms, store, code=code)) for code in (False, True))
    assert plain < 20_000
    assert full - plain == pytest.approx(sum(len(store.packed(key) or b"") for key in code_of(task.call)), abs=1000)
