"""Faults and plans where a stage does not see all that stands above it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from shifted import Desk, write_file

from fasthep_archive.errors import Fault
from fasthep_archive.execution import run
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

HEAD = """\
version: "1.1"
data: {datasets: [{name: mc, files: [mc.root]}, {name: data, eventtype: data, files: [data.root]}]}
sources: {events: {kind: root_tree, tree: events}}
"""

VALUES = """\
analysis:
  stages:
    - id: Yield
      op: hep.selection.cutflow
      params: {selection: {all: [{expr: "n > 0", label: a}]}}
    - id: TopScale
      op: archive.values
      from: Yield
      params: {values: [{name: scale, expr: "1.5"}]}
    - id: Vars
      op: hep.define
      from: events
      params: {variables: [{name: x, expr: "w * TopScale.scale"}]}
"""

PATCH = """\
systematics:
  variations:
    - name: other
      mode: inline
      anchor: Vars
      patch: {params: {variables: [{name: z, expr: px}]}}
      stop_before: Last
      export: {x_other: x}
analysis:
  stages:
    - {id: Vars, op: hep.define, params: {variables: [{name: y, expr: px}]}}
    - {id: More, op: hep.define, params: {variables: [{name: x, expr: "y + 1"}]}}
    - {id: Last, op: hep.define, params: {variables: [{name: v, expr: x}]}}
"""

BRANCHES = """\
systematics:
  variations:
    - name: other
      mode: inline
      anchor: Vars
      patch: {params: {variables: [{name: y, expr: "2 * px"}]}}
      stop_before: [One, Two]
      export: {x_other: y}
analysis:
  stages:
    - {id: Vars, op: hep.define, params: {variables: [{name: y, expr: px}]}}
    - {id: One, op: hep.define, from: Vars, params: {variables: [{name: v, expr: y + x_other}]}}
    - {id: Two, op: hep.define, from: Vars, params: {variables: [{name: v, expr: y - x_other}]}}
"""

MERGED = """\
analysis:
  stages:
    - {id: Both, op: hep.define, params: {variables: [{name: x, expr: px}]}}
    - id: Cut
      op: hep.selection.cutflow
      from: Both
      params: {selection: {all: [{expr: "x > 0", label: a}]}}
    - id: Mc
      op: hep.define
      from: Cut
      applies_to: {eventtype: mc}
      params: {variables: [{name: y, expr: "x + sf_up"}]}
    - id: Uncut
      op: hep.define
      from: Both
      applies_to: {eventtype: data}
      params: {variables: [{name: y, expr: x}]}
    - {id: All, op: hep.merge_fields, from: [{node: Mc, as: mc}, {node: Uncut, as: data}]}
    - {id: H, op: hep.hist, from: All, params: {axes: [{name: y, source: y, type: regular, bins: {low: 0, high: 1, nbins: 2}}]}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a directory with a file of simulation and one of data."""
    for seed, name in enumerate(("mc", "data")):
        write_file(tmp_path / f"{name}.root", seed, mc=name == "mc")
    return Desk(tmp_path, tmp_path / "cache")


def _faults(desk: Desk, text: str) -> tuple[Fault, ...]:
    return desk.planned(desk.workflow(HEAD + text))[1]


def test_a_value_of_a_stage_that_is_not_needed_has_a_hint(desk: Desk) -> None:
    assert {(f.message, f.hint) for f in _faults(desk, VALUES)} == {
        ("unknown name 'TopScale.scale'", "write needs: [TopScale]")
    }


def test_a_fault_on_the_fork_of_an_inline_variation_names_it(desk: Desk) -> None:
    assert "unknown name 'y' (in variation 'other')" in {fault.message for fault in _faults(desk, PATCH)}


def test_an_inline_variation_stops_before_a_stage_on_each_branch(desk: Desk) -> None:
    assert _faults(desk, BRANCHES) == ()
    one = BRANCHES.replace("[One, Two]", "One")
    assert [fault.message for fault in _faults(desk, one)] == ["unknown name 'x_other'"]


def test_progress_counts_an_event_once_however_often_it_is_read() -> None:
    def job(name: str, start: int, stop: int) -> SimpleNamespace:
        partition = SimpleNamespace(dataset="mc", file=SimpleNamespace(name="a.root"), start=start, stop=stop)
        return SimpleNamespace(name=name, step=SimpleNamespace(partition=partition), events=stop - start)

    jobs = [job("first", 0, 10), job("second", 0, 10), job("third", 0, 10), job("rest", 10, 15)]
    assert run._shares(jobs) == {"first": 3, "second": 3, "third": 4, "rest": 5}


def test_streams_that_do_not_apply_are_not_merged_where_there_are_others(desk: Desk) -> None:
    assert _faults(desk, MERGED) == ()


DRAWN = """\
analysis:
  stages:
    - id: H
      op: hep.hist
      params: {axes: [{name: n, source: n, type: int}]}
    - {id: Drawn, op: hep.render.hist1d, from: H, params: {PARAMS}}
"""

HINTS = {
    "use: plain": "write style: {use: NAME}, or style: NAME",
    "out: a.png": "'out' stands beside what says how it is drawn, not in it; without it, the picture is called after "
    "the stage",
    "histype: step": "'histtype' stands below hist1d",
    "legnd: {}": "did you mean 'legend'?",
}


@pytest.mark.parametrize("written", HINTS)
def test_keys_that_renderers_lack_have_the_hint_of_the_key_that_is_meant(tmp_path: Path, written: str) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_text(HEAD + DRAWN.replace("PARAMS", written))
    assert [fault.hint for fault in build(load(path))[1]] == [HINTS[written]]
