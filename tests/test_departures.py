"""Where FAST-HEP would have given something else."""

import pytest

from fasthep_archive.workflow.departures import Departure, departures
from fasthep_archive.workflow.document import from_json
from fasthep_archive.workflow.model import build

TWO = [{"name": "ww", "files": ["ww.root"]}, {"name": "run", "eventtype": "data", "files": ["run.root"]}]
HIST = {"id": "Hist", "op": "hep.hist", "params": {"axes": [{"name": "x", "source": "x", "type": "int"}]}}
CUT = {"id": "Cut", "op": "hep.selection.cutflow", "params": {"selection": {"all": ["x > 1"]}}}


def found(*stages: dict, datasets: list[dict] = TWO, **more: object) -> list[tuple[str, str | None]]:
    document = {"version": "1.0", "data": {"datasets": datasets}, "analysis": {"stages": list(stages)}, **more}
    workflow, faults = build(from_json(document, name="test"))
    assert not faults
    return [(departure.rule, departure.stage) for departure in departures(workflow)]


def define(*formulas: str) -> dict:
    variables = [{"name": f"v{number}", "expr": formula} for number, formula in enumerate(formulas)]
    return {"id": "Define", "op": "hep.define", "params": {"variables": variables}}


def varied(**variation: object) -> dict:
    return {"variations": [{"name": "up", **variation}]}


def test_a_plain_workflow_is_the_same() -> None:
    assert found(define("(a > 1) & (b < 2)"), HIST) == []


def test_a_cutflow_of_several_datasets_loses_them() -> None:
    assert found(CUT) == [("A", "Cut")]
    assert found(CUT, datasets=TWO[:1]) == []
    assert found({**CUT, "applies_to": {"eventtype": "mc"}}) == []


def test_two_sources_double_everything() -> None:
    sources = {"a": {"tree": "a"}, "b": {"tree": "b"}}
    assert found({**HIST, "from": "a"}, sources=sources) == [("B", None)]


def test_variations_reach_datasets_that_they_are_not_for() -> None:
    weight = {"weight": {"multiply": "w"}}
    assert found(HIST, systematics=varied(applies_to="mc", **weight)) == [("C", None)]
    assert found(HIST, systematics=varied(**weight)) == []
    assert found(HIST, datasets=TWO[:1], systematics=varied(applies_to="mc", **weight)) == []


def test_declared_numbers_of_events_cut_files_off() -> None:
    assert found(HIST, datasets=[{"name": "ww", "files": ["a.root", "b.root"], "nevents": 10}]) == [("D", None)]
    assert found(HIST, datasets=[{"name": "ww", "files": ["a.root"], "nevents": 10}]) == []
    toys = [{"name": "dy", "files": ["toy://dy"]}]
    assert found(HIST, datasets=toys, sources={"events": {"kind": "workshop.toy_source"}}) == [("D", None)]


@pytest.mark.parametrize("formula", ["a && b", "a||b", "a and b", "not a", "0 < a < 1", "(a or b) * 2"])
def test_logic_of_columns_does_not_work_there(formula: str) -> None:
    assert found(define(formula)) == [("E", "Define")]
    assert found({**CUT, "params": {"selection": {"all": ["x", formula]}}}, datasets=TWO[:1]) == [("E", "Cut")]
    assert found({**HIST, "params": {**HIST["params"], "weight_expr": formula}}) == [("E", "Hist")]


@pytest.mark.parametrize("formula", ["a & b", "text == 'a and b'", 'text == "x || y"', "organ + order", "~a"])
def test_other_formulas_do(formula: str) -> None:
    assert found(define(formula)) == []


def test_a_label_is_no_formula() -> None:
    cuts = {"all": [{"expr": "x", "label": "a and b"}]}
    assert found({**CUT, "params": {"selection": cuts}}, datasets=TWO[:1]) == []


def test_a_plot_for_each_dataset_stops_it() -> None:
    render = {"style": {"op": "hep.render.hist1d"}, "when": "dataset"}
    assert found({**HIST, "render": render}) == [("F", "Hist")]
    assert found({**HIST, "render": render}, datasets=TWO[:1]) == []
    assert found({**HIST, "render": {**render, "when": "final"}}) == []


def test_replaced_columns_stay_nominal_in_cuts_and_reducers() -> None:
    shifted = varied(replace={"x": "x_up"})
    assert found(CUT, datasets=TWO[:1], systematics=shifted) == [("K", "Cut")]
    reduced = {"variables": [{"name": "n", "reduce": {"op": "any", "over": "x > 1"}}]}
    assert found({**define(), "params": reduced}, systematics=shifted) == [("K", "Define")]
    assert found(define("x + 1"), HIST, systematics=shifted) == []
    assert (
        found(
            {**CUT, "params": {"selection": {"all": ["y"]}, "weight_expr": "x"}}, datasets=TWO[:1], systematics=shifted
        )
        == []
    )


def test_a_departure_says_what_and_where() -> None:
    document = {"data": {"datasets": TWO}, "analysis": {"stages": [CUT]}}
    (departure,) = departures(build(from_json(document, name="test"))[0])
    text = "FAST-HEP's local backend adds ww and run up to one row 'default' or loses some; here each has its rows"
    assert departure == Departure(rule="A", stage="Cut", text=text)
