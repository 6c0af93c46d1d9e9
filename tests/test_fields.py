"""Computed fields of a stream, formulas and functions: against the same done with uproot and NumPy alone."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from shifted import Desk, files, keys, write_file

from fasthep_archive import registry
from fasthep_archive.bundle.consent import what_runs
from fasthep_archive.data.tables import Columns
from fasthep_archive.operations.reading import outside_profile
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build, resolved

HEAD = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root]}]}
sources: {events: {kind: root_tree, tree: events}}
fields:
  p: {stream: events, expr: "hypot(px, py)"}
  half: {stream: events, expr: p / 2}
  jets: {stream: events, branch: Jet_pt}
  hard: {stream: events, callable: "fieldcode:hard", columns: [jets], returns: "list[bool] like jets"}
  wide: {stream: events, callable: "fieldcode:wide", columns: [half, n], returns: float64}
  total: {stream: events, expr: "sum(jets[hard]) + wide"}
"""
WRITE = """\
analysis:
  stages:
    - {id: Cut, op: hep.selection.cutflow, params: {selection: {good: ["p > 20"]}}}
    - id: Out
      op: hep.define
      params: {variables: [{name: twice, expr: p * 2}]}
      write: {kind: root_tree, path: out.root, format: rntuple, when: final, keep: [%s]}
"""
CODE = """\
def hard(events):
    return events.jets > 30

def wide(events):
    return events.half * 10 + events.n

def never(events):
    raise ValueError("it is not used")
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("fields")
    write_file(directory / "ww.root", 1)
    (directory / "fieldcode.py").write_text(CODE)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


def written(desk: Desk, text: str) -> Mapping[str, ak.Array]:
    return Columns(files(desk.run(desk.plan(text)))["files/out.root"])


@pytest.fixture(scope="module")
def whole(desk: Desk) -> ak.Array:
    with uproot.open(desk.directory / "ww.root") as file:
        events = file["events"].arrays(["px", "py", "n", "Jet_pt", "px_up"])
    events["p"] = np.hypot(events.px, events.py)
    return events


def faults(desk: Desk, text: str) -> list[str]:
    path = desk.directory / "faulty.yaml"
    path.write_text(text)
    workflow, found = build(load(path))
    if not found:
        _, found = desk.planned(workflow)
    return [f"{fault.where.line if fault.where else 0}: {fault.message}" for fault in found]


SILENT = "class Silent:\n    columns = ('px',)\n    def run(self, events):\n        return {'P': events.px}\n"


def test_what_is_wrong_with_an_accessor_is_told_where_the_field_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.directory / "silent.py").write_text(SILENT)
    monkeypatch.syspath_prepend(str(desk.directory))
    found = registry._installed(tuple(sys.path))
    silent = registry.Provided(
        kind="accessors", name="own.silent", target="silent:Silent", provider="silent", version="1.0"
    )
    monkeypatch.setattr(registry, "_installed", lambda _: {**found, "accessors": (silent,)})
    text = HEAD.replace("  total:", "  P: {stream: events, accessor: own.silent}\n  total:") + WRITE % "P"
    message = "10: accessor 'own.silent' of silent 1.0 does not say which columns it returns"
    assert faults(desk, text) == [message]


def test_getters_are_fields_of_formulas_and_of_what_is_kept(desk: Desk, whole: ak.Array) -> None:
    found, events = written(desk, HEAD + WRITE % "p, half, twice"), whole[whole.p > 20]
    for name, values in {"p": events.p, "half": events.p / 2, "twice": events.p * 2}.items():
        assert np.allclose(found[name], values, rtol=1e-15)


def test_functions_are_fields_that_other_fields_are_made_of(desk: Desk, whole: ak.Array) -> None:
    found, events = written(desk, HEAD + WRITE % "hard, wide, total"), whole[whole.p > 20]
    jets = ak.values_astype(events.Jet_pt, np.float64)
    assert ak.to_list(found["hard"]) == ak.to_list(jets > 30)
    assert np.allclose(found["wide"], events.p * 5 + events.n, rtol=1e-14)
    assert np.allclose(found["total"], ak.sum(jets[jets > 30], axis=1) + events.p * 5 + events.n, rtol=1e-13)


HIST = """\
analysis:
  stages:
    - id: Shape
      op: hep.hist
      params: {axes: [{name: p, source: %s, type: regular, bins: {low: 0, high: 100, nbins: 10}}]}
"""


def test_a_histogram_of_a_getter_is_that_of_its_formula(desk: Desk) -> None:
    getter, formula = HEAD + HIST % "half", HEAD + HIST % '"hypot(px, py) / 2"'
    assert keys(desk.plan(getter)) == keys(desk.plan(formula))


def test_a_function_that_nothing_uses_is_not_called(desk: Desk) -> None:
    unused = '  never: {stream: events, callable: "fieldcode:never", columns: [n], returns: float64}\n'
    assert keys(desk.plan(HEAD + unused + HIST % "p")) == keys(desk.plan(HEAD + HIST % "p"))


def test_the_function_is_part_of_the_keys(desk: Desk) -> None:
    text = HEAD + HIST % "wide"
    before = keys(desk.plan(text))["Shape"]
    other = text.replace("fieldcode:wide", "othercode:wide")
    (desk.directory / "othercode.py").write_text(CODE.replace("* 10", "* 20"))
    assert keys(desk.plan(other))["Shape"] != before


def test_variations_replace_what_getters_are_made_of_and_getters(desk: Desk) -> None:
    up = """\
systematics:
  include_nominal: true
  variations: [{name: up, replace: {px: px_up}}, {name: down, replace: {half: p}}, {name: w, replace: {Jet_pt: n}}]
"""
    found = keys(desk.plan(HEAD + up + HIST % "half"))
    plain = [HIST % '"hypot(px_up, py) / 2"', HIST % '"hypot(px, py)"']
    assert [found["Shape@up"], found["Shape@down"]] == [keys(desk.plan(HEAD + text))["Shape"] for text in plain]
    assert "Shape@w" not in found


def test_in_a_join_getters_have_its_prefix_and_see_their_own_source(desk: Desk) -> None:
    (desk.directory / "joincode.py").write_text("def f(events):\n    return events.b\n")
    text = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root]}]}
sources: {one: {kind: root_tree, tree: events}, two: {kind: root_tree, tree: events}}
joins: {both: {kind: zip, inputs: [one, {source: two, prefix: gen}]}}
primary_stream: both
fields:
  sum: {stream: two, expr: px + n}
  same: {stream: two, callable: "joincode:f", columns: [b], returns: float64}
  b: {stream: two, expr: sum}
  apart: {stream: both, expr: gen.same - one.px}
analysis:
  stages:
    - id: Out
      op: hep.define
      params: {variables: [{name: x, expr: apart}, {name: n2, expr: gen.n}, {name: y, expr: gen.sum - gen.px}]}
      write: {kind: root_tree, path: out.root, format: rntuple, when: final, keep: [x, y, n2]}
"""
    found = written(desk, text)
    assert np.allclose(found["x"], found["n2"], atol=1e-12)
    assert np.allclose(found["y"], found["n2"], atol=1e-12)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("{stream: events, expr: px + y}", "11: unknown name 'y'"),
        ("{stream: events, expr: x + 1}", "11: field 'x' is computed from itself: x -> x"),
        ("{stream: events, expr: px, branch: px}", "11: field 'x' has branch and expr"),
        ("{stream: events}", "11: field 'x' says nothing but its stream"),
        ("{stream: events, expr: px, columns: [px]}", "11: 'columns' belongs to a callable"),
        ("{stream: events, callable: 'fieldcode:wide', columns: [px]}", "11: field 'x' lacks returns"),
        ("{stream: other, expr: px}", "11: field 'x' refers to the unknown stream 'other'"),
        ("{stream: events, callable: 'fieldcode:wid', columns: [n], returns: bool}", "has no function 'wid'"),
        ("{stream: events, callable: 'fieldcode:wide', columns: [n], returns: int}", "'int' is no type of a column"),
        ("{stream: events, callable: 'fieldcode:wide', columns: [m], returns: bool}", "the events have no field 'm'"),
    ],
)
def test_faults_stand_where_the_field_is(field: str, message: str, desk: Desk) -> None:
    found = faults(desk, HEAD + f"  x: {field}\n" + HIST % "x + x")
    assert len(found) == 1
    assert message in found[0]


def test_a_circle_through_others_is_told_once(desk: Desk) -> None:
    circle = "  a: {stream: events, expr: b}\n  b: {stream: events, expr: c}\n  c: {stream: events, expr: b + px}\n"
    assert faults(desk, HEAD + circle + HIST % "a") == ["12: field 'b' is computed from itself: b -> c -> b"]


def test_documents_that_say_what_a_workflow_means_have_the_fields(desk: Desk) -> None:
    workflow = desk.workflow(HEAD + WRITE % "total")
    path = desk.directory / "again.yaml"
    path.write_text(json.dumps(resolved(workflow)))
    again, found = build(load(path))
    assert found == ()
    assert replace(again, name=workflow.name) == workflow


def test_code_of_fields_is_carried_and_told_of(desk: Desk) -> None:
    workflow = desk.workflow(HEAD + WRITE % "total")
    assert workflow.code is not None
    assert list(workflow.code.files) == ["fieldcode.py"]
    assert "  field wide calls fieldcode:wide" in what_runs(resolved(workflow), workflow.code.files)


def test_only_what_uses_a_function_is_outside_of_the_numeric_profile(desk: Desk) -> None:
    assert outside_profile(desk.workflow(HEAD + HIST % "half")) == frozenset()
    assert outside_profile(desk.workflow(HEAD + HIST % "total + 1")) == frozenset({"Shape"})
    assert outside_profile(desk.workflow(HEAD + WRITE % "p, hard")) == frozenset({"Out"})


# Functions of formulas


FUNCTIONS = """\
version: "%s"
data: {datasets: [{name: ww, files: [ww.root]}]}
sources: {events: {kind: root_tree, tree: events}}
registry: {functions: {scaled: "functioncode:scaled", sin: "numpy:sin"%s}}
analysis:
  stages:
    - id: Out
      op: hep.define
      params:
        variables: [{name: flat, expr: "scaled(px, 2.0) + 1"}, {name: jets, expr: "scaled(Jet_pt, n)"},
          {name: both, expr: "sum(jets[Jet_pt > 30])"}%s]
      write: {kind: root_tree, path: out.root, format: rntuple, when: final, keep: [%s]}
"""
FUNCTION_CODE = """\
import numpy as np

def scaled(x, by):
    assert type(x) is np.ndarray and x.shape == by.shape
    return x * by

def whole(x):
    return np.floor(x).astype("int64")
"""


@pytest.fixture(scope="module")
def functions(desk: Desk) -> Desk:
    (desk.directory / "functioncode.py").write_text(FUNCTION_CODE)
    return desk


def test_formulas_call_functions_of_numbers_and_lists(functions: Desk, whole: ak.Array) -> None:
    found = written(functions, FUNCTIONS % ("1.0", "", "", "flat, jets, both"))
    jets = ak.values_astype(whole.Jet_pt, np.float64)
    assert ak.to_list(found["flat"]) == ak.to_list(whole.px * 2 + 1)
    assert ak.to_list(found["jets"]) == ak.to_list(jets * whole.n)
    assert np.allclose(found["both"], ak.sum((jets * whole.n)[jets > 30], axis=1), rtol=1e-13)


def test_a_function_says_what_it_returns(functions: Desk, whole: ak.Array) -> None:
    more = ', whole: {callable: "functioncode:whole", returns: int64}'
    found = written(functions, FUNCTIONS % ("1.1", more, ', {name: w, expr: "whole(px) % 2"}', "w"))
    assert ak.to_list(found["w"]) == [int(np.floor(x)) % 2 for x in whole.px]


@pytest.mark.parametrize(
    ("registered", "formula", "message"),
    [
        ("", "scale(px, 2)", "11: unknown function 'scale'"),
        ("", "scaled()", "11: scaled takes arguments without names"),
        ("", "scaled(px, max(Jet_pt))", "11: scaled takes no values that can be missing"),
        (', sqrt: "functioncode:scaled"', "px", "4: function 'sqrt' is one of formulas already"),
        (', subleading: "functioncode:scaled"', "px", "4: function 'subleading' is one of formulas already"),
        (', len: "functioncode:scaled"', "px", "4: function 'len' is one of formulas already"),
        (', other: "functioncode:othe"', "px", "has no function 'othe'"),
        (', other: "nocode:f"', "px", "4: there is no module 'nocode'"),
    ],
)
def test_faults_of_functions(registered: str, formula: str, message: str, functions: Desk) -> None:
    found = faults(functions, FUNCTIONS % ("1.0", registered, f', {{name: x, expr: "{formula}"}}', "flat"))
    assert len(found) == 1
    assert message in found[0]


def test_functions_are_carried_told_of_and_outside_of_the_numeric_profile(functions: Desk) -> None:
    workflow = functions.workflow(FUNCTIONS % ("1.0", "", "", "flat"))
    assert workflow.code is not None
    assert "  registry.functions scaled calls functioncode:scaled" in what_runs(resolved(workflow), workflow.code.files)
    assert outside_profile(workflow) == frozenset({"Out"})
    path = functions.directory / "again.yaml"
    path.write_text(json.dumps(resolved(workflow)))
    assert build(load(path))[0].functions == workflow.functions
