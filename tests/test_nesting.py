"""Cuts made of cuts, nested to any depth: counted against a recursion in plain Python."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowered import Chain, column, product

from fasthep_archive.data.products import Cutflow
from fasthep_archive.formula.columns import Column
from fasthep_archive.operations.cutflow import CutflowSelection

QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

EVENT = st.fixed_dictionaries(
    {
        "a": st.floats(0, 10),
        "b": st.integers(0, 3),
        "pt": st.lists(st.floats(0, 50), max_size=3),
        "w": st.floats(-1e9, 1e9),
    }
)
EVENTS = st.lists(EVENT, max_size=25)
Event = Mapping[str, object]

CUTS = {
    "a > 3": lambda event: event["a"] > 3,
    "a < 8": lambda event: event["a"] < 8,
    "b == 1": lambda event: event["b"] == 1,
    "b >= 2": lambda event: event["b"] >= 2,
    "any pt": lambda event: any(pt > 25 for pt in event["pt"]),
}


def cut(name: str) -> dict[str, object]:
    return {"reduce": {"op": "any", "over": "pt > 25"}} if name == "any pt" else {"expr": name}


def all_of(*members: dict[str, object], **more: object) -> dict[str, object]:
    return {"all": list(members), **more}


def any_of(*members: dict[str, object], **more: object) -> dict[str, object]:
    return {"any": list(members), **more}


SELECTION = {
    "main": {
        "cuts": [
            cut("a > 3"),
            any_of(
                cut("b == 1"),
                all_of(cut("b >= 2"), any_of(cut("any pt"), cut("a < 8")), label="two b"),
                cut("any pt"),
                label="b or muon",
            ),
            all_of(cut("a < 8"), cut("any pt")),
        ],
        "parents": [],
    },
    "late": {"cuts": [any_of(cut("b == 1"), cut("b >= 2"))], "parents": ["main[1]"]},
    "empty": {"cuts": [], "parents": []},
}
PARAMS = {"selection": SELECTION, "weight_expr": "w", "filter": "all", "emit_flags": True}


def table(events: Sequence[Event]) -> dict[str, Column]:
    found = {
        name: column([event[name] for event in events], {"b": "int"}.get(name, "float"))
        for name in ("a", "b", "pt", "w")
    }
    return found if events else {**found, "pt": Column(column([]).content, column([[]], "int").offsets[:1])}


def passes(step: Mapping[str, object], event: Event) -> bool:
    for of, function in (("all", all), ("any", any)):
        if of in step:
            return function(passes(member, event) for member in step[of])
    return CUTS["any pt" if "reduce" in step else step["expr"]](event)


def rows(steps: Sequence[Mapping], entering: list[Event], above: str, of: str) -> Iterator[tuple[str, list, list]]:
    """Yield id, events in and events out of each cut, members after what they make."""
    for number, step in enumerate(steps):
        name = f"{above}[{number}]"
        passing = [event for event in entering if passes(step, event)]
        yield name, entering, passing
        for inner in ("all", "any"):
            if inner in step:
                yield from rows(step[inner], entering, name, inner)
        entering = passing if of == "all" else entering


def lowered(events: Sequence[Event], cache: Path) -> Chain:
    made = Chain(table(events), cache)
    made.stage(CutflowSelection.read(PARAMS), "Select")
    assert not made.faults
    return made


@QUICK
@given(EVENTS)
def test_every_cut_is_counted_on_the_events_that_enter_it(kernel_cache: Path, events: list) -> None:
    parts = [lowered(chunk, kernel_cache).part("Select") for chunk in (events[:9], events[9:])]
    files = product(CutflowSelection.read(PARAMS), parts, ["mc"], kernel_cache, "Select")
    found = Cutflow.from_json(files["cutflows/Select.json"])
    main = list(rows(SELECTION["main"]["cuts"], events, "main", "all"))
    second = next(passing for name, _, passing in main if name == "main[1]")
    expected = [*main, *rows(SELECTION["late"]["cuts"], second, "late", "all")]
    assert [row.cut for row in found.rows] == [name for name, _, _ in expected]
    for row, (_, entering, passing) in zip(found.rows, expected, strict=True):
        assert (row.events_in, row.events_out) == (len(entering), len(passing))
        assert (row.sumw_in, row.sumw_out) == tuple(math.fsum(e["w"] for e in kept) for kept in (entering, passing))
        squares = tuple(math.fsum(e["w"] * e["w"] for e in kept) for kept in (entering, passing))
        assert (row.sumw2_in, row.sumw2_out) == squares


@QUICK
@given(EVENTS)
def test_the_events_that_pass_are_those_that_the_cuts_mean(kernel_cache: Path, events: list) -> None:
    made = lowered(events, kernel_cache)
    main = [all(passes(step, event) for step in SELECTION["main"]["cuts"]) for event in events]
    late = [all(passes(step, event) for step in SELECTION["main"]["cuts"][:2]) and event["b"] >= 1 for event in events]
    assert made.selected() == [one and other for one, other in zip(main, late, strict=True)]
    assert made.formulas("Select.main", "Select.late") == [main, late]


def test_a_row_knows_how_deep_its_cut_is(kernel_cache: Path) -> None:
    found = CutflowSelection.read(PARAMS).product("Select", ("mc",)).merge(iter([]), kernel_cache)
    depths = {row.cut: row.depth for row in Cutflow.from_json(found[0].content).rows}
    assert [depths[cut] for cut in ("main[0]", "main[1]", "main[1][0]", "main[1][1][1][0]")] == [0, 0, 1, 3]


def test_combinations_without_label_say_what_they_are(kernel_cache: Path) -> None:
    found = CutflowSelection.read(PARAMS).product("Select", ("mc",)).merge(iter([]), kernel_cache)
    labels = {row.cut: row.label for row in Cutflow.from_json(found[0].content).rows}
    assert [labels[cut] for cut in ("main[1]", "main[1][1]", "main[1][1][1]", "main[2]", "main[1][2]")] == [
        "b or muon",
        "two b",
        "Any",
        "All",
        "any(pt > 25)",
    ]


def test_a_fault_in_a_member_is_found_where_it_stands(kernel_cache: Path) -> None:
    selection = {"g": {"cuts": [any_of(cut("a > 3"), all_of(cut("b >= 2"), {"expr": "pt > 5"}))], "parents": []}}
    made = Chain(table([]), kernel_cache)
    made.stage(CutflowSelection.read({**PARAMS, "selection": selection}), "Select")
    assert [fault.split(":")[0] for fault in made.faults] == ["params/selection/g/cuts/0/any/1/all/1/expr"]
    assert not made.left


def test_an_output_field_overwrites_nothing(kernel_cache: Path) -> None:
    made = Chain(table([]), kernel_cache)
    made.stage(CutflowSelection.read({**PARAMS, "output_field": "b"}), "Select")
    assert made.faults == ["params/output_field: 'b' would overwrite a field that the events already have"]
