"""Keys of random workflows: what means the same has the same keys, and one change reaches exactly what is below it.

A random workflow is a list of columns, each made of some of those before it, and a histogram of each.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shifted import Desk, keys, variation, write_file

BRANCHES = ("px", "py", "w", "n")
FORMS = ("{0} + {1} * {2}", "sqrt({0} ** 2 + {1} ** 2) - {2}", "({0} if {1} > {2} else {1})", "hypot({0}, {1}) * {2}")


@dataclass(frozen=True)
class Column:
    """A column: how it is computed, of which names, with which number."""

    form: int
    of: tuple[int, int]
    number: int


@st.composite
def analyses(draw: st.DrawFn) -> list[Column]:
    """Return columns that use earlier ones: numbers below four are branches, others the columns in order."""
    count = draw(st.integers(2, 6))
    names = [st.integers(0, 3 + position) for position in range(count)]
    return [Column(draw(st.integers(0, len(FORMS) - 1)), (draw(of), draw(of)), draw(st.integers(1, 9))) for of in names]


def document(columns: Sequence[Column], names: Sequence[str], per_stage: int = 2) -> dict[str, object]:
    """Return the workflow of ``columns`` called ``names``, ``per_stage`` in each stage that defines some."""
    known = [*BRANCHES, *names]
    variables = [
        {"name": name, "expr": FORMS[column.form].format(known[column.of[0]], known[column.of[1]], column.number)}
        for name, column in zip(names, columns, strict=True)
    ]
    parts = [variables[start : start + per_stage] for start in range(0, len(variables), per_stage)]
    defining = [
        {"id": f"Part{number}", "op": "hep.define", "params": {"variables": part}} for number, part in enumerate(parts)
    ]
    bins = {"low": -100, "high": 100, "nbins": 20}
    filling = [
        {
            "id": f"H{number}",
            "op": "hep.hist",
            "params": {"weight_expr": "w", "axes": [{"name": "x", "source": name, "type": "regular", "bins": bins}]},
        }
        for number, name in enumerate(names)
    ]
    return {
        "version": "1.1",
        "data": {"datasets": [{"name": "ww", "files": ["ww.root"]}]},
        "sources": {"events": {"kind": "root_tree", "tree": "events"}},
        "analysis": {"stages": [*defining, *filling]},
    }


def shuffled(value: object, seed: random.Random) -> object:
    """Return the same value with the keys of its mappings in another order."""
    if isinstance(value, Mapping):
        pairs = [(key, shuffled(item, seed)) for key, item in value.items()]
        seed.shuffle(pairs)
        return dict(pairs)
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


def plain(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("properties")
    write_file(directory / "ww.root", 1)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


often = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])


@often
@given(columns=analyses(), seed=st.randoms(use_true_random=False), indent=st.sampled_from([None, 1, 4]))
def test_the_layout_and_the_order_of_mappings_change_no_key(
    columns: list[Column], seed: random.Random, indent: int | None, desk: Desk
) -> None:
    written = document(columns, plain(len(columns)))
    again = json.dumps(shuffled(written, seed), indent=indent)
    assert keys(desk.plan(again)) == keys(desk.plan(json.dumps(written)))


@often
@given(columns=analyses(), seed=st.randoms(use_true_random=False), per_stage=st.integers(1, 6))
def test_names_of_columns_and_the_stages_that_define_them_change_no_key(
    columns: list[Column], seed: random.Random, per_stage: int, desk: Desk
) -> None:
    others = [f"{seed.choice('abxyz')}_{number}" for number in range(len(columns))]
    before = keys(desk.plan(json.dumps(document(columns, plain(len(columns))))))
    assert keys(desk.plan(json.dumps(document(columns, others, per_stage)))) == before


@often
@given(columns=analyses(), data=st.data())
def test_a_changed_definition_changes_the_keys_of_what_is_computed_with_it(
    columns: list[Column], data: st.DataObject, desk: Desk
) -> None:
    """Below a column are those that use it, directly or not, which is found here without any plan."""
    changed = data.draw(st.integers(0, len(columns) - 1))
    others = list(columns)
    others[changed] = Column(columns[changed].form, columns[changed].of, columns[changed].number + 10)
    below = {changed}
    for number, column in enumerate(columns):
        if any(of - len(BRANCHES) in below for of in column.of):
            below.add(number)
    names = plain(len(columns))
    before, after = (keys(desk.plan(json.dumps(document(found, names)))) for found in (columns, others))
    assert {node for node in after if after[node] != before[node]} == {f"H{number}" for number in below}


@often
@given(columns=analyses(), data=st.data())
def test_a_changed_bin_changes_one_key(columns: list[Column], data: st.DataObject, desk: Desk) -> None:
    written = document(columns, plain(len(columns)))
    before = keys(desk.plan(json.dumps(written)))
    changed = data.draw(st.sampled_from(range(len(columns))))
    stages = written["analysis"]["stages"]
    stage = next(item for item in stages if item["id"] == f"H{changed}")
    stage["params"] = json.loads(json.dumps(stage["params"]).replace('"nbins": 20', '"nbins": 21'))
    after = keys(desk.plan(json.dumps(written)))
    assert {node for node in after if after[node] != before[node]} == {f"H{changed}"}


@often
@given(columns=analyses(), data=st.data())
def test_a_variation_is_the_document_with_one_name_replaced(
    columns: list[Column], data: st.DataObject, desk: Desk
) -> None:
    """A branch is replaced by another one, in the tree of columns, with no regard to how it is done in plans."""
    one, other = data.draw(st.permutations(range(len(BRANCHES))))[:2]
    swap = {one: other}
    replaced = [Column(item.form, tuple(swap.get(of, of) for of in item.of), item.number) for item in columns]
    by_hand = json.loads(
        json.dumps(document(replaced, plain(len(columns)))).replace(
            '"weight_expr": "w"', f'"weight_expr": "{BRANCHES[swap.get(2, 2)]}"'
        )
    )
    shift = variation("v", replace={BRANCHES[one]: BRANCHES[other]})
    plan = desk.plan(json.dumps(document(columns, plain(len(columns)))), [shift])
    own = keys(plan)
    varied = {node.node.written: node.key for node in plan.nodes if node.node.variation}
    assert {**{node: own[node] for node in plan.unaffected.get("v", ())}, **varied} == keys(
        desk.plan(json.dumps(by_hand))
    )
