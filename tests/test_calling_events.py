"""``run.events``: functions of an analysis on events, against the same functions on the whole file by awkward alone."""

import json
from collections.abc import Mapping
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from command import with_kernels
from shifted import Desk, files, keys, variation, write_file

from fasthep_archive.data.tables import Columns
from fasthep_archive.errors import TaskError
from fasthep_archive.execution.device_pass import DevicePasses
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.run import Results
from fasthep_archive.execution.todo import to_do
from fasthep_archive.execution.worker import Unprintable
from fasthep_archive.workflow.model import Variation

HEAD = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root], xs: 2.5}, {name: data, eventtype: data, files: [data.root]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - {id: Vars, op: hep.define, params: {variables: [{name: pt, expr: "hypot(px, py)"}, {name: wpt, expr: pt * w}]}}
    - {id: Cut, op: hep.selection.cutflow, params: {selection: {good: ["pt > 20"]}}}
"""
CALL = """\
    - id: Call
      op: run.events
      from: %s
      params:
        callable: model:%s
        columns: [%s]
        returns: {%s}
"""
WRITE = """\
    - id: Out
      op: hep.define
      params: {variables: [{name: one, expr: 1 + 0}]}
      write: {kind: root_tree, path: out.root, format: rntuple, when: final, keep: [%s]}
"""
CODE = """\
import awkward as ak
import numpy as np

def score(events, params):
    print("what it prints does not matter")
    return {"score": events.pt * params.get("scale", 2) + events.n}

def many(events):
    jets = events.Jet_pt
    return {
        "hard": jets > 30,
        "lead": ak.firsts(jets),
        "some": ak.mask(jets, jets > 30),
        "own": jets[jets > 30] / 2,
        "count": ak.num(jets),
        "any": ak.any(jets > 30, axis=1),
    }

def single(events):
    return np.asarray(events.pt) * 3

def groups(events):
    return {"wide": ak.sum(events.jet.pt * events.jet.eta, axis=1)}

def facts(events, dataset, seed):
    first = np.random.default_rng(seed).integers(0, 1 << 40)
    number = {"ww": 1, "data": 2}[dataset["name"]]
    return {"xs": np.full(len(events), dataset["meta"].get("xs", -1.0)), "name": np.full(len(events), number),
            "random": np.full(len(events), first)}

def short(events):
    return {"score": np.asarray(events.pt)[1:]}

def wrong(events):
    return {"score": np.asarray(events.pt) > 3}

def missing(events):
    return {"score": ak.firsts(events.Jet_pt)}

def other(events):
    return {"scores": np.asarray(events.pt)}

def raises(events):
    return inner(events)

def inner(events):
    print("the last that was printed")
    raise ValueError("no such thing")

def unlike(events):
    return {"hard": events.Jet_pt[events.Jet_pt > 30] > 0}

def ends(events):
    import os
    os._exit(7)

def sleeps(events):
    import time
    time.sleep(60)

def twice(events):
    return {"again": events.score * 2, "sum": events.score + events.n}

def channels(events):
    lengths = ak.num(events.channel) if events.channel.ndim > 1 else [len(text) for text in events.channel.to_list()]
    return {"mm": events.channel == "mm", "length": np.asarray(lengths)}

def lacks(events):
    return {"none": ak.is_none(events.lead), "halves": ak.sum(events.own, axis=1)}

def seen(events, data):
    return {"score": events.pt * data["Scale"]["factor"]}

def undeclared(events, data):
    return {"score": events.pt * data["Secret"]["factor"]}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("calling")
    write_file(directory / "ww.root", 1)
    write_file(directory / "data.root", 3, mc=False)
    (directory / "model.py").write_text(CODE)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


def document(function: str, columns: str, returns: str, keep: str, source: str = "Cut", more: str = "") -> str:
    return HEAD + CALL % (source, function, columns, returns) + more + WRITE % keep


RETURNS = (
    'hard: "list[bool] like Jet_pt", lead: "?float64", some: "list[?float64]", '
    'own: "list[float64]", count: int64, any: bool'
)
SCORE = document("score", "pt, n", "score: float64", "score, pt, n")


def planned(desk: Desk, text: str, variations: tuple[Variation, ...] = (), chunk: int = 80) -> Plan:
    plan, faults = desk.planned(desk.workflow(text, variations), chunk=chunk)
    assert faults == ()
    return plan


def written(results: Results, name: str = "files/out.root") -> Mapping[str, ak.Array]:
    return Columns(files(results)[name])


def whole(desk: Desk) -> ak.Array:
    """Return the selected events of both files, with what the first stage defines."""
    parts = []
    for name in ("ww", "data"):
        with uproot.open(desk.directory / f"{name}.root") as file:
            found = file["events"].arrays(["px", "py", "n", "w", "Jet_pt"])
        found["pt"] = np.hypot(found.px, found.py)
        parts.append(found)
    events = ak.concatenate(parts)
    return events[events.pt > 20]


def same(found: ak.Array, expected: ak.Array) -> bool:
    return ak.to_list(found) == ak.to_list(expected)


def test_a_function_gives_what_it_gives_for_the_whole_file(desk: Desk) -> None:
    events, found = whole(desk), written(desk.run(planned(desk, SCORE)))
    assert same(found["score"], found["pt"] * 2 + found["n"])
    assert np.allclose(found["score"], events.pt * 2 + events.n, rtol=1e-15)


def test_lists_options_and_their_mixtures_come_back(desk: Desk) -> None:
    text = document("many", "Jet_pt", RETURNS, "hard, lead, some, own, count, any")
    found, jets = written(desk.run(planned(desk, text))), ak.values_astype(whole(desk).Jet_pt, np.float64)
    expected = {
        "hard": jets > 30,
        "lead": ak.firsts(jets),
        "some": ak.mask(jets, jets > 30),
        "own": jets[jets > 30] / 2,
        "count": ak.num(jets),
        "any": ak.any(jets > 30, axis=1),
    }
    assert {name: same(found[name], array) for name, array in expected.items()} == dict.fromkeys(expected, True)


def test_lists_like_others_can_be_combined_with_them(desk: Desk) -> None:
    more = """\
    - {id: Sum, op: hep.define, params: {variables: [{name: total, expr: "sum(Jet_pt[hard])"}]}}
"""
    text = document("many", "Jet_pt", RETURNS, "total", more=more)
    jets = ak.values_astype(whole(desk).Jet_pt, np.float64)
    assert same(written(desk.run(planned(desk, text)))["total"], [sum(pt for pt in event if pt > 30) for event in jets])


@pytest.mark.slow
def test_one_column_needs_no_name(desk: Desk) -> None:
    text = document("single", "pt", "score: float64", "score, pt")
    found = written(desk.run(planned(desk, text)))
    assert same(found["score"], found["pt"] * 3)


def test_members_of_groups_are_records(desk: Desk) -> None:
    more = (
        HEAD
        + """\
    - {id: Jets, op: hep.define, params: {variables: [{name: eta, expr: Jet_pt / 2}]}}
    - {id: Alias, op: hep.project_fields, params: {aliases: {jet.pt: Jet_pt, jet.eta: eta}}}
"""
    )
    text = more + CALL % ("Alias", "groups", "jet.pt, jet.eta", "wide: float64") + WRITE % "wide"
    jets = ak.values_astype(whole(desk).Jet_pt, np.float64)
    assert np.allclose(written(desk.run(planned(desk, text)))["wide"], ak.sum(jets * jets / 2, axis=1), rtol=1e-14)


@pytest.mark.slow
def test_without_a_cut_all_events_are_seen(desk: Desk) -> None:
    text = HEAD + CALL % ("Vars", "score", "pt, n", "score: float64") + WRITE % "score, pt, n"
    found = written(desk.run(planned(desk, text)))
    assert len(found["score"]) == 400
    assert same(found["score"], found["pt"] * 2 + found["n"])


def test_functions_see_what_functions_have_returned(desk: Desk) -> None:
    again = CALL.replace("id: Call", "id: Again") % ("Call", "twice", "score, n", "again: float64, sum: float64")
    text = document("score", "pt, n", "score: float64", "again, sum, score, n", more=again)
    found = written(desk.run(planned(desk, text)))
    assert same(found["again"], found["score"] * 2)
    assert same(found["sum"], found["score"] + found["n"])


def test_functions_see_what_is_missing_and_lists_of_any_length(desk: Desk) -> None:
    again = CALL.replace("id: Call", "id: Again") % ("Call", "lacks", "lead, own", "none: bool, halves: float64")
    text = document("many", "Jet_pt", RETURNS, "none, halves", more=again)
    found, jets = written(desk.run(planned(desk, text))), ak.values_astype(whole(desk).Jet_pt, np.float64)
    assert same(found["none"], ak.num(jets) == 0)
    assert np.allclose(found["halves"], ak.sum(jets[jets > 30], axis=1) / 2, rtol=1e-14)


def test_facts_of_the_dataset_and_seeds(desk: Desk) -> None:
    text = document("facts", "pt", "xs: float64, name: int64, random: int64", "xs, name, random")
    found = written(desk.run(planned(desk, text)))
    assert set(zip(found["name"].tolist(), found["xs"].tolist(), strict=True)) == {(1, 2.5), (2, -1.0)}
    assert len(set(found["random"].tolist())) == 6  # one for each call: two files of three partitions


def test_neither_workers_nor_chunks_change_a_byte(desk: Desk) -> None:
    plan = planned(desk, SCORE)
    one, two = desk.run(plan), desk.run(plan, workers=2)
    assert files(one) == files(two) or same(written(one)["score"], written(two)["score"])
    assert same(written(desk.run(planned(desk, SCORE, chunk=33)))["score"], written(one)["score"])


# What goes wrong


def failure(desk: Desk, text: str) -> TaskError:
    results = desk.run(planned(desk, text, chunk=200))
    with pytest.raises(TaskError) as raised:
        results.raise_failures()
    return raised.value


@pytest.mark.parametrize(
    ("function", "columns", "returns", "message"),
    [
        ("short", "pt", "score: float64", "values for 'score', and there are"),
        pytest.param(
            "wrong",
            "pt",
            "score: float64",
            "it returned bool for 'score', which is declared as float64",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "missing", "Jet_pt", "score: float64", "that it returned for 'score' is missing", marks=pytest.mark.slow
        ),
        pytest.param(
            "other", "pt", "score: float64, more: float64", "it did not return 'score'", marks=pytest.mark.slow
        ),
        pytest.param(
            "single",
            "pt",
            'score: "list[float64]"',
            "it returned one value per event for 'score'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "unlike",
            "Jet_pt",
            'hard: "list[bool] like Jet_pt"',
            "have other lengths than those that they are like",
            marks=pytest.mark.slow,
        ),
        ("raises", "pt", "score: float64", "model.py:48: ValueError: no such thing"),
        ("ends", "pt", "score: float64", "its process ended with exit status 7"),
    ],
)
def test_what_a_function_does_wrong_is_told(
    function: str, columns: str, returns: str, message: str, desk: Desk
) -> None:
    keep = returns.partition(":")[0]
    error = failure(desk, document(function, columns, returns, keep))
    assert "stage Call failed on events 0 to 200 of ww.root (ww), for stage Out: model:" in error.message
    assert message in error.message


def test_tracebacks_have_the_frames_of_the_code_and_what_it_printed(desk: Desk) -> None:
    message = failure(desk, document("raises", "pt", "score: float64", "score")).message
    assert 'File "model.py", line 44, in raises\n    return inner(events)' in message
    assert "the last that was printed" in message
    assert "fasthep_archive" not in message
    assert str(desk.cache) not in message


@pytest.mark.slow
def test_a_function_that_takes_too_long_is_ended(desk: Desk) -> None:
    text = document("sleeps", "pt", "score: float64", "score").replace(
        "columns: [pt]", "columns: [pt]\n        timeout: 0.7"
    )
    assert "it took more than 0.7 s and was ended" in failure(desk, text).message


# Products that functions see

SEEN = """\
    - id: Scale
      op: archive.values
      needs: [Cut]
      params: {values: [{name: kept, yield: {of: Cut, dataset: ww}}, {name: factor, expr: kept / 100}]}
    - id: Call
      op: run.events
      from: Cut
      needs: [Scale]
      params: {callable: "model:seen", columns: [pt], returns: {score: float64}}
    - {id: Pt, op: hep.hist, from: Cut, params: {axes: [{name: n, source: n, type: int}]}}
    - id: Out
      op: hep.define
      from: Call
      params: {variables: [{name: one, expr: 1 + 0}]}
      write: {kind: root_tree, path: out.root, format: rntuple, when: final, keep: [score, pt]}
"""


def test_products_of_needs_are_seen(desk: Desk) -> None:
    results = desk.run(planned(desk, HEAD + SEEN), workers=2)
    factor = json.loads(files(results)["values/Scale.json"])["factor"]
    found = written(results)
    assert same(found["score"], found["pt"] * factor)


def test_only_what_sees_products_waits_for_them(desk: Desk) -> None:
    todo = to_do(planned(desk, HEAD + SEEN), set())
    assert {job.nodes: job.needs for job in todo.jobs} == {
        ("Cut", "Pt"): (),
        ("write.Out.0",): ("derivation of Scale",),
    }


def test_what_is_not_declared_is_not_there(desk: Desk) -> None:
    message = failure(desk, HEAD + SEEN.replace("model:seen", "model:undeclared"))
    assert "data['Secret'] is not among what the stage needs" in message.message
    assert "they are Scale" in str(message.hint)


# Keys and variations


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("pt > 20", "pt > 25", {"Cut", "write.Out.0"}),
        ("id: Call", "id: Other", set()),
        ("columns: [pt, n]", "columns: [pt, n, w]", {"write.Out.0"}),
        ("returns:", "params: {scale: 3}\n        returns:", {"write.Out.0"}),
        ("returns:", "timeout: 100\n        returns:", set()),
        ("name: wpt", "name: wpt_", set()),
    ],
)
def test_keys_follow_calls(old: str, new: str, changed: set[str], desk: Desk) -> None:
    before, after = keys(planned(desk, SCORE)), keys(planned(desk, SCORE.replace(old, new)))
    assert {node for node in after if after[node] != before[node]} == changed


def test_keys_follow_the_code_of_the_function_and_no_other(desk: Desk, tmp_path: Path) -> None:
    before = keys(planned(desk, SCORE))
    path = desk.directory / "model.py"
    try:
        path.write_text(CODE.replace("np.asarray(events.pt) * 3", "np.asarray(events.pt) * 4"))
        assert keys(planned(desk, SCORE)) == before
        path.write_text(CODE.replace("* params.get(", "+ params.get("))
        assert keys(planned(desk, SCORE)) != before
    finally:
        path.write_text(CODE)


def test_variations_call_functions_again_only_where_they_change_what_these_see(desk: Desk) -> None:
    up = variation("up", replace={"n": "w"}, eventtypes=None)
    weight = variation("weight", multiply=("w",))
    plan = planned(desk, SCORE, (up, weight))
    assert plan.unaffected == {"up": ("Cut",), "weight": ("Cut", "write.Out.0")}
    results = desk.run(plan)
    found = written(results, "systematics/up/files/out.root")
    assert same(found["score"], found["pt"] * 2 + found["n"])  # n is kept as w, too
    assert not same(found["score"], written(results)["score"])


def test_a_variation_that_changes_no_product_that_is_seen_changes_nothing(desk: Desk) -> None:
    plan = planned(desk, HEAD + SEEN, (variation("nothing", multiply=("w",)),))
    assert plan.unaffected == {"nothing": ("Cut", "Scale", "Pt", "write.Out.0")}
    assert not any("@" in node for node in keys(plan))


def test_a_variation_of_a_product_that_is_seen_changes_what_sees_it(desk: Desk) -> None:
    text = HEAD.replace("params: {selection", "params: {weight_expr: w, selection") + SEEN
    plan = planned(desk, text, (variation("double", multiply=("2",)),))
    results = desk.run(plan)
    nominal, varied = written(results), written(results, "systematics/double/files/out.root")
    assert np.allclose(varied["score"], nominal["score"] * 2)


# Devices and faults


def test_a_gpu_refuses_functions(desk: Desk) -> None:
    step = planned(desk, SCORE).passes[0]
    work = step.variant.work(tuple(step.parts))
    with pytest.raises(Unprintable, match="model:score of the analysis's own code is called on the CPU"):
        DevicePasses.states(object.__new__(DevicePasses), None, work, 0, 1)


def faults(desk: Desk, text: str) -> list[str]:
    try:
        _, found = desk.planned(desk.workflow(text))
    except AssertionError:
        from fasthep_archive.workflow.document import load
        from fasthep_archive.workflow.model import build

        _, found = build(load(desk.directory / "workflow.yaml"))
    return [str(fault).split("workflow.yaml:")[-1] for fault in found]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (document("score", "pt, m", "score: float64", "pt"), "13:23: the events have no field 'm'"),
        (document("score", "pt, dataset_name", "score: float64", "pt"), "no field 'dataset_name'"),
        (document("scores", "pt", "score: float64", "pt"), "has no function 'scores'\n  hint: did you mean 'score'?"),
        (document("score", "pt", "score: float", "pt"), "'float' is no type of a column"),
        (document("score", "pt", 'score: "list[bool] like n"', "pt"), "'n', which is not among the columns"),
        (document("score", "n", 'score: "list[bool] like n"', "pt"), "which is no list among its columns"),
        (document("inner", "pt", "", "pt"), "write returns: {score: float64}"),
    ],
)
def test_faults_are_located(text: str, told: str, desk: Desk) -> None:
    found = faults(desk, text)
    assert any(told in fault for fault in found), found


@pytest.mark.parametrize(("source", "columns"), [("Cut", "pt, channel"), ("Cut", "channel"), ("events", "channel")])
def test_texts_are_strings(source: str, columns: str, desk: Desk) -> None:
    more = document("channels", columns, "mm: bool, length: int64", "mm, length, n", source)
    found = written(desk.run(planned(desk, more)))
    expected = []
    for name in ("ww", "data"):
        with uproot.open(desk.directory / f"{name}.root") as file:
            events = file["events"].arrays(["px", "py", "channel"])
            expected += events.channel[np.hypot(events.px, events.py) > (20 if source == "Cut" else -1)].to_list()
    assert found["mm"].tolist() == [text == "mm" for text in expected]
    assert found["length"].tolist() == [len(text) for text in expected]
    assert {"ee", "mm"} == set(expected)


def test_a_variation_replaces_texts(desk: Desk) -> None:
    text = document("channels", "channel", "mm: bool, length: int64", "mm, length", "events")
    up = variation("up", replace={"channel": "channel_up"})
    found = written(desk.run(planned(desk, text, (up,))), "systematics/up/files/out.root")
    names = []
    for name in ("ww", "data"):
        with uproot.open(desk.directory / f"{name}.root") as file:
            names += file["events"]["channel_up"].array().to_list()
    assert found["mm"].tolist() == [name == "mm" for name in names]


def test_a_function_that_asks_for_what_there_is_not(desk: Desk) -> None:
    path = desk.directory / "model.py"
    try:
        path.write_text(CODE.replace("def score(events, params)", "def score(events, nothing)"))
        assert any("model:score asks for 'nothing', and there is none" in fault for fault in faults(desk, SCORE))
    finally:
        path.write_text(CODE)


def test_rows_can_not_be_seen(desk: Desk) -> None:
    rows = HEAD + "    - {id: Rows, op: workshop.tabular.explode, params: {fields: [Jet_pt], keep_fields: [pt, n]}}\n"
    text = rows + CALL % ("Rows", "score", "pt, n", "score: float64") + WRITE % "pt"
    assert any("a function is called with events, and these are rows" in fault for fault in faults(desk, text))


def test_no_process_outlives_a_run(desk: Desk, tmp_path: Path, kernel_cache: Path) -> None:
    own = Desk(desk.directory, with_kernels(tmp_path / "cache", kernel_cache))
    own.run(planned(own, SCORE))
    assert list((own.cache / "children").iterdir()) == []
