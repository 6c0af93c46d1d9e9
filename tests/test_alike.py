"""Datasets that differ in nothing but their numbers are planned once, with the keys that each has when planned alone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from shifted import Desk, keys, variation, write_file

from fasthep_archive.execution import looking
from fasthep_archive.execution.lowering import Kind, Lowered, lower
from fasthep_archive.execution.plan import Plan
from fasthep_archive.workflow.model import Variation

DATASETS = {
    "one": "{name: one, files: [one.root], xs: 2.5}",
    "two": "{name: two, files: [two.root], xs: 3.5}",
    "three": "{name: three, files: [three.root], xs: 4}",
    "data": "{name: data, eventtype: data, files: [data.root]}",
}

WORKFLOW = """\
version: "1.1"
data: {datasets: [DATASETS]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - id: Vars
      op: hep.define
      params: {variables: [{name: pt, expr: "hypot(px, py)"}, {name: wt, expr: "FORMULA"}]}
    - id: Pt
      op: hep.hist
      params:
        weight_expr: wt
        dataset_axis: true
        axes: [{name: pt, source: pt, type: regular, bins: {low: 0, high: 100, nbins: 10}}]
"""

FORMULAS = {
    "w": 3,
    "w * dataset.meta.xs if dataset_eventtype == 'mc' else 1.0": 3,
    "w * 2 if dataset_name == 'two' else w * 1.0": 4,
    "w * 2 if dataset.name == 'two' else w * 1.0": 4,
}
"""How often all stages are lowered for the four datasets: for data, and for each type of number, by themselves."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a directory with one file for each dataset."""
    for seed, name in enumerate(DATASETS):
        write_file(tmp_path / f"{name}.root", seed, mc=name != "data")
    return Desk(tmp_path, tmp_path / "cache")


def _plan(desk: Desk, formula: str, names: Sequence[str], variations: Sequence[Variation] = ()) -> Plan:
    datasets = ", ".join(DATASETS[name] for name in names)
    return desk.plan(WORKFLOW.replace("DATASETS", datasets).replace("FORMULA", formula), variations)


def _parts(plan: Plan) -> Mapping[str, Mapping[str, str]]:
    """Return the keys of the parts by partition."""
    return {str(item.partition): item.parts for item in plan.passes}


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the datasets that stages were lowered for, filled while plans are made."""
    names: list[str] = []

    def noted(outline: object, kind: Kind, *more: object) -> Lowered:
        names.append(kind.dataset.name)
        call: Callable[..., Lowered] = lower
        return call(outline, kind, *more)

    monkeypatch.setattr(looking, "lower", noted)
    return names


VARIED = (variation("sf", multiply=("1.1",), datasets=("one", "two")), variation("px", replace={"px": "py"}))


@pytest.mark.parametrize("formula", FORMULAS)
def test_parts_have_the_keys_that_they_have_alone(desk: Desk, formula: str):
    together = _parts(_plan(desk, formula, list(DATASETS), VARIED))
    alone = {}
    for name in DATASETS:
        fitting = [item for item in VARIED if item.datasets is None or name in item.datasets]
        alone |= _parts(_plan(desk, formula, [name], fitting))
    assert together == alone


@pytest.mark.parametrize(("formula", "times"), FORMULAS.items())
def test_stages_are_lowered_once_for_datasets_that_are_alike(desk: Desk, formula: str, times: int, lowered: list[str]):
    _plan(desk, formula, list(DATASETS))
    assert len(lowered) == times


def test_the_number_of_a_dataset_is_its_own(desk: Desk):
    one, two = (keys(_plan(desk, "w * dataset_xs", [name]))["Pt"] for name in ("one", "two"))
    assert one != two


def test_results_use_the_number_of_their_dataset(desk: Desk):
    plan = _plan(desk, "dataset_xs * 1.0", ["one", "two"])
    assert [item.variant.scalars["dataset.meta.xs"] for item in plan.passes if item.partition.start == 0] == [2.5, 3.5]
