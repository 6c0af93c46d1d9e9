"""Operations that add, rename and merge columns, against awkward-array and NumPy, on random jagged data."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowered import Chain, canonical, column

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.operations.stream import Stream

QUICK = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBER = st.one_of(st.floats(-50, 150), st.sampled_from([0.0, 20.0, 60.0, math.nan, math.inf, -math.inf]))
EVENT = st.fixed_dictionaries(
    {
        "MET": NUMBER,
        "nJet": st.integers(0, 5),
        "trigger": st.booleans(),
        "quality": st.one_of(st.none(), st.floats(0, 5)),
        "Muon_pt": st.lists(NUMBER, max_size=4),
        "pdf": st.lists(st.floats(0.5, 1.5), max_size=4),
    }
)
EVENTS = st.lists(EVENT, max_size=12)
KINDS = {"nJet": "int", "trigger": "bool"}


def table(events: list[Mapping[str, object]]) -> dict[str, Column]:
    """Return events as columns; the types are the same for any events."""
    found = {}
    for name in ("MET", "nJet", "trigger", "quality", "Muon_pt", "pdf"):
        values = [event[name] for event in events]
        found[name] = column(values, KINDS.get(name, "float"))
        if name in ("Muon_pt", "pdf") and not events:
            found[name] = Column(np.zeros(0), np.zeros(1, np.int64))
        if name == "quality":
            missing = np.array([value is not None for value in values], bool)
            found[name] = Column(found[name].content, None, missing)
    return found


FEW = [
    {"MET": 10.0, "nJet": 0, "trigger": True, "quality": None, "Muon_pt": [], "pdf": [1.0, 0.9]},
    {"MET": 50.0, "nJet": 2, "trigger": False, "quality": 1.5, "Muon_pt": [30.0, math.nan], "pdf": []},
    {"MET": math.nan, "nJet": 3, "trigger": True, "quality": 2.5, "Muon_pt": [5.0], "pdf": [1.2, math.nan]},
]


@pytest.fixture
def chain(kernel_cache: Path) -> Callable[..., Chain]:
    return lambda events=FEW, **more: Chain(table(events), kernel_cache, **more)


def same(found: object, expected: object) -> bool:
    """Say whether values, or lists of values, are equal; NaN equals NaN."""
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, float) and isinstance(expected, float) and math.isnan(found):
        return math.isnan(expected)
    return found == expected


def define(**variables: str) -> dict[str, object]:
    return {"variables": [{"name": name, "expr": text} for name, text in variables.items()]}


# --- hep.project_fields ----------------------------------------------------------------------------------------------


def test_an_alias_is_the_field(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.project_fields", {"aliases": {"pt": "Muon_pt", "jets": "nJet"}})
    assert same(made.formulas("pt", "Muon_pt", "jets + nJet")[0], [[], [30.0, math.nan], [5.0]])
    assert made.formulas("jets + nJet") == [[0, 4, 6]]


def test_an_alias_can_stand_for_a_member_of_a_group(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.selection.cutflow", {"selection": {"good": ["nJet > 1"]}, "filter": "none"}, "Select")
    made.of("hep.project_fields", {"aliases": {"good": "Select.good"}})
    assert made.formulas("good") == [[False, True, True]]


def test_without_the_existing_fields_only_aliases_are_left(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.define", define(twice="MET * 2"))
    made.of("hep.project_fields", {"aliases": {"pt": "Muon_pt", "twice": "twice"}, "include_existing": False})
    assert sorted(made.lowering.scope(made.stream)) == ["CUT", "dataset_eventtype", "dataset_name", "pt", "twice"]
    assert made.lowering.formula("MET", made.stream, ("x",)) is None
    assert made.faults == ["x: unknown name 'MET'"]


@pytest.mark.parametrize(
    ("aliases", "fault", "hint"),
    [
        ({"pt": "Muon_ptt"}, "params/aliases/pt: the events have no field 'Muon_ptt'", "did you mean 'Muon_pt'?"),
        ({"MET": "Muon_pt"}, "params/aliases/MET: 'MET' would overwrite a field", "choose another name"),
        ({"a": "CUT"}, "params/aliases/a: the events have no field 'CUT'", "define it in a stage before this one"),
    ],
)
def test_faults_of_aliases(aliases: dict, fault: str, hint: str, chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.project_fields", {"aliases": aliases})
    assert [message[: len(fault)] for message in made.faults] == [fault]
    assert made.hints == [hint]


def test_a_text_can_have_no_alias_in_a_stage(kernel_cache: Path) -> None:
    made = Chain({"channel": column(["ee", "mm"], "text")}, kernel_cache)
    made.of("hep.project_fields", {"aliases": {"c": "channel"}})
    assert made.faults == ["params/aliases/c: 'channel' holds texts, and formulas compute with numbers"]


# --- hep.merge_fields ------------------------------------------------------------------------------------------------


def two(made: Chain, first: dict[str, str], second: dict[str, str]) -> dict[str, Stream]:
    """Return two streams of the same events, with definitions of their own."""
    start = made.stage_of(define(base="MET + 1"), "Base", made.stream)
    return {"mu": made.stage_of(define(**first), "A", start), "jet": made.stage_of(define(**second), "B", start)}


def test_merging_gives_the_union_of_the_fields(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.merge_fields", {}, **two(made, {"a": "base * 2"}, {"b": "base * 3"}))
    assert not made.faults
    assert made.formulas("a", "b", "base")[0][:2] == [22.0, 102.0]


@pytest.mark.parametrize(("policy", "expected"), [("keep_first", [1, 1, 1]), ("keep_last", [2, 2, 2])])
def test_of_two_definitions_the_policy_says_which_counts(
    policy: str, expected: list, chain: Callable[..., Chain]
) -> None:
    made = chain()
    made.of("hep.merge_fields", {"on_conflict": policy}, **two(made, {"x": "1"}, {"x": "2"}))
    assert made.formulas("x + 0 * nJet") == [expected]


@pytest.mark.parametrize(("policy", "first"), [("keep_first", True), ("keep_last", False)])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_branch_is_a_definition_like_any_other(
    policy: str, first: bool, swapped: bool, chain: Callable[..., Chain]
) -> None:
    made = chain()
    streams = list(two(made, {"nJet": "nJet + 100"}, {"other": "1"}).values())
    if swapped:
        streams.reverse()
    made.of("hep.merge_fields", {"on_conflict": policy}, one=streams[0], two=streams[1])
    redefined = first != swapped
    assert made.formulas("nJet + 0") == [[100, 102, 103] if redefined else [0, 2, 3]]


def test_equal_definitions_are_no_conflict(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of(
        "hep.merge_fields", {"on_conflict": "error"}, **two(made, {"x": "MET * 2"}, {"x": "2 * MET - 0 * 0", "y": "1"})
    )
    assert made.faults == ["params/on_conflict: field 'x' of input 'jet' is not that of the inputs before"]
    made = chain()
    made.of("hep.merge_fields", {"on_conflict": "error"}, **two(made, {"x": "MET * 2"}, {"x": "MET * 2", "y": "1"}))
    assert not made.faults


def test_streams_that_were_selected_alike_can_be_merged(chain: Callable[..., Chain]) -> None:
    made = chain()
    start = made.of("hep.selection.cutflow", {"selection": {"g": ["nJet > 1"]}}, "Select")
    first = made.stage_of(define(a="MET"), "A", start)
    made.of("hep.merge_fields", {}, one=first, two=start)
    assert not made.faults
    assert made.selected() == [False, True, True]


def test_streams_that_were_selected_differently_can_not(chain: Callable[..., Chain]) -> None:
    made = chain()
    before = made.stream
    after = made.of("hep.selection.cutflow", {"selection": {"g": ["nJet > 1"]}}, "Select")
    made.of("hep.merge_fields", {}, a=before, b=after)
    assert made.faults == ["params: inputs 'a' and 'b' were selected differently: they do not have the same events"]
    assert made.hints[0].startswith("do it before the selection; or select with filter: none")


# --- hep.zip_join ----------------------------------------------------------------------------------------------------


def test_a_zip_has_the_fields_behind_prefixes_and_no_others(chain: Callable[..., Chain]) -> None:
    made = chain()
    streams = two(made, {"a": "nJet + 1"}, {"a": "nJet + 2"})
    inputs = [{"name": "mu", "prefix": "left"}, {"name": "jet", "prefix": "right"}]
    made.of("hep.zip_join", {"inputs": inputs}, **streams)
    assert made.formulas("left.a * 10 + right.a", "count(right.Muon_pt)") == [[12, 34, 45], [0, 2, 1]]
    assert made.lowering.formula("MET", made.stream, ("x",)) is None


def test_a_zip_needs_its_inputs(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.zip_join", {"inputs": [{"name": "l1", "prefix": "l1"}]}, reco=made.stream)
    assert made.faults == ["params/inputs/0/name: stage 'S' has no input 'l1'"]


def test_a_text_behind_a_prefix_is_there_but_no_value(kernel_cache: Path) -> None:
    made = Chain({"channel": column(["ee", "mm"], "text")}, kernel_cache)
    made.of("hep.zip_join", {"inputs": [{"name": "a", "prefix": "l1"}]}, a=made.stream)
    made.of("hep.align_schema", {"schema": {"fields": {"c": {"source": "l1.channel"}}}})
    assert made.faults == ["params/schema/fields/c/source: 'channel' holds texts, and formulas compute with numbers"]


def test_what_a_faulty_stage_would_have_defined_is_not_reported_again(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.selection.cutflow", {"selection": {"good": ["zzz"]}}, "Select")
    made.of("hep.project_fields", {"aliases": {"good": "Select.good"}})
    assert made.faults == ["params/selection/good/cuts/0/expr: unknown name 'zzz'"]


# --- hep.selection.flag ----------------------------------------------------------------------------------------------


@QUICK
@given(EVENTS)
def test_a_flag_is_the_and_of_its_conditions(kernel_cache: Path, events: list) -> None:
    made = Chain(table(events), kernel_cache)
    made.of("hep.selection.flag", {"selection": ["nJet >= 2", "trigger", "MET > 20"]}, "Good")
    made.of("hep.selection.flag", {"selection": ["Muon_pt > 10", "MET > 20"], "output": "hard"}, "Hard")
    met, jets = np.array([e["MET"] for e in events], float), np.array([e["nJet"] for e in events], int)
    trigger = np.array([e["trigger"] for e in events], bool)
    hard = [[pt > 10 and e["MET"] > 20 for pt in e["Muon_pt"]] for e in events]
    assert made.formulas("Good", "hard") == [((jets >= 2) & trigger & (met > 20)).tolist(), hard]
    assert made.stream.mask is None


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        (
            {"selection": ["nJet"]},
            "params/selection/0: a flag is made of conditions, but this formula is a number (int64)",
        ),
        ({"selection": ["quality > 1"]}, "params/selection/0: a flag needs to know each condition"),
        ({"selection": ["trigger"], "output": "MET"}, "params/output: 'MET' would overwrite a field"),
        ({"selection": ["trigger", "Muon_pt > 1", "pdf > 1"]}, "params/selection/2: "),
    ],
)
def test_faults_of_flags(params: dict, fault: str, chain: Callable[..., Chain]) -> None:
    made = chain(counters={"Muon_pt": "nMuon", "pdf": "nPdf"})
    made.of("hep.selection.flag", params)
    assert [message[: len(fault)] for message in made.faults] == [fault]


# --- hep.choose ------------------------------------------------------------------------------------------------------

CASES = [
    {"name": "low", "when": "MET < 20", "values": {"cat": 0, "x": "MET"}},
    {"name": "high", "when": "MET > 60", "values": {"cat": 2, "x": "nJet"}},
]


@QUICK
@given(EVENTS)
def test_a_case_gives_its_values(kernel_cache: Path, events: list) -> None:
    made = Chain(table(events), kernel_cache)
    made.of("hep.choose", {"cases": CASES, "on_no_match": "default", "default": {"cat": 1, "x": -1}})
    met, jets = ak.Array([e["MET"] for e in events]), ak.Array([e["nJet"] for e in events])
    category, x = [ak.where(met < 20, a, ak.where(met > 60, b, c)) for a, b, c in ((0, 2, 1), (met, jets, -1))]
    found = made.formulas("cat", "x")
    assert found[0] == category.tolist()
    assert same(found[1], [float(value) for value in x.tolist()])


@QUICK
@given(EVENTS)
def test_the_first_of_several_cases_counts_where_that_is_said(kernel_cache: Path, events: list) -> None:
    made = Chain(table(events), kernel_cache)
    cases = [{"when": "nJet > 3", "values": {"n": "3"}}, {"when": "nJet >= 0", "values": {"n": "nJet"}}]
    made.of("hep.choose", {"cases": cases, "on_multiple": "first"})
    assert made.formulas("n") == [[3 if event["nJet"] > 3 else event["nJet"] for event in events]]


def test_a_choice_can_be_missing(chain: Callable[..., Chain]) -> None:
    made = chain()
    cases = [{"when": "trigger", "values": {"q": "quality"}}, {"when": "~trigger", "values": {"q": "0.5"}}]
    made.of("hep.choose", {"cases": cases})
    assert made.formulas("q") == [[None, 0.5, 2.5]]


OVERLAP = [{"name": "a", "when": "nJet > 1", "values": {"n": 1}}, {"name": "b", "when": "nJet > 2", "values": {"n": 2}}]


@pytest.mark.parametrize(
    ("params", "message", "hint"),
    [
        ({"cases": OVERLAP}, "stage 'Pick': event 2 matches several of its cases, a, b", "make the conditions exclude"),
        (
            {"cases": OVERLAP, "on_multiple": "first"},
            "stage 'Pick': event 0 matches none of its cases, a, b",
            "add a case, or say on_no_match: default",
        ),
        ({"cases": OVERLAP[:1]}, "stage 'Pick': event 0 matches none of its cases, a", "add a case"),
    ],
)
def test_an_event_without_one_case_is_an_error(
    params: dict, message: str, hint: str, chain: Callable[..., Chain]
) -> None:
    made = chain()
    made.of("hep.choose", params, "Pick")
    with pytest.raises(DataError) as caught:
        made.formulas("n")
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)


def test_events_that_were_cut_need_no_case(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.selection.cutflow", {"selection": {"g": ["nJet == 2"]}}, "Select")
    made.of("hep.choose", {"cases": OVERLAP}, "Pick")
    made.of("hep.choose", {"cases": [{**OVERLAP[0], "values": {"m": 1}}]}, "Single")
    found, alone = made.formulas("n", "m")
    assert (found[1], alone[1]) == (1, 1)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ({"when": "Muon_pt > 5", "values": {"n": 1}}, "params/cases/0/when: a cut needs one value per event"),
        ({"when": "trigger", "values": {"n": "Muon_pt"}}, "params/cases/0/values/n: a choice is between values per"),
        ({"when": "trigger", "values": {"MET": 1}}, "params/cases/0/values/MET: 'MET' would overwrite a field"),
        ({"when": "trigger", "values": {"n": "zzz"}}, "params/cases/0/values/n: unknown name 'zzz'"),
    ],
)
def test_faults_of_cases(case: dict, fault: str, chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.choose", {"cases": [case]})
    assert [message[: len(fault)] for message in made.faults] == [fault]


# --- hep.align_schema ------------------------------------------------------------------------------------------------


def fields(made: Chain) -> list[str]:
    return sorted({*made.stream.defined, *made.lowering.offered(made.stream)})


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({}, ["MET", "Muon_pt", "jets", "met", "nJet", "pdf", "quality", "trigger"]),
        ({"extra": "drop"}, ["jets", "met"]),
        ({"keep": ["n*", "pdf"]}, ["jets", "met", "nJet", "pdf"]),
        ({"drop": "?uon_*"}, ["MET", "jets", "met", "nJet", "pdf", "quality", "trigger"]),
    ],
)
def test_a_schema_renames_casts_and_chooses(more: dict, left: list[str], chain: Callable[..., Chain]) -> None:
    made = chain(FEW[:2])
    schema = {
        "version": 1,
        "fields": {"met": {"source": "MET", "dtype": "int16"}, "jets": {"source": "nJet", "dtype": "float32"}},
    }
    made.of("hep.align_schema", {"schema": schema, **more})
    assert made.formulas("met", "jets") == [[10, 50], [0.0, 2.0]]
    assert fields(made) == left


def test_targets_are_made_of_what_was_there_before(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.define", define(a="nJet", b="nJet + 10"))
    made.of("hep.align_schema", {"schema": {"fields": {"a": {"source": "b"}, "b": {"source": "a"}, "trigger": None}}})
    assert made.formulas("a", "b", "trigger") == [[10, 12, 13], [0, 2, 3], [True, False, True]]


def test_a_missing_source_is_a_fault_or_left_out(chain: Callable[..., Chain]) -> None:
    schema = {"schema": {"fields": {"a": {"source": "METT"}, "b": {"source": "MET"}}}}
    made = chain()
    made.of("hep.align_schema", schema)
    assert made.faults == ["params/schema/fields/a/source: the events have no field 'METT'"]
    made = chain()
    made.of("hep.align_schema", {**schema, "missing": "ignore", "extra": "drop"})
    assert (made.faults, fields(made)) == ([], ["b"])


def test_a_value_that_does_not_fit_the_schema_is_named(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.align_schema", {"schema": {"fields": {"met": {"source": "MET", "dtype": "int8"}}}})
    with pytest.raises(DataError, match="'met': a value of event 2 does not fit int8"):
        made.formulas("met")


# --- hep.weights.lookup_csv ------------------------------------------------------------------------------------------

CONTIGUOUS = {"low": [0.0, 20.0, 50.0], "high": [20.0, 50.0, 100.0], "sf": [0.9, 0.95, 1.0], "up": [0.95, 0.95, 1.1]}
SHUFFLED = {name: [column[n] for n in (2, 0, 1)] for name, column in CONTIGUOUS.items()}
OVERLAPPING = {"low": [0.0, 10.0, 60.0], "high": [30.0, 40.0, 80.0], "sf": [1.0, 2.0, 3.0], "up": [1.0, 1.0, 4.0]}
TABLES = {"contiguous": CONTIGUOUS, "shuffled": SHUFFLED, "overlapping": OVERLAPPING}


def lookup(table: Mapping[str, list[float]], **more: object) -> dict[str, object]:
    return {
        "path": "sf.csv",
        "variable": "MET",
        "bins": {"lower": "low", "upper": "high"},
        "values": {"nominal": "sf", "up": "up"},
        "outputs": {"nominal": "w", "up": "w_up"},
        "table": table,
        **more,
    }


def row_of(value: float, rows: Mapping[str, list[float]]) -> int | None:
    """Return the first row that holds a value, by the rule of the reference."""
    matches = np.nonzero((np.array(rows["low"]) <= value) & (value < np.array(rows["high"])))[0]
    return int(matches[0]) if len(matches) else None


@pytest.mark.parametrize("name", TABLES)
@QUICK
@given(events=EVENTS)
def test_a_lookup_takes_the_first_row_that_holds_the_value(name: str, kernel_cache: Path, events: list) -> None:
    rows = TABLES[name]
    known = [event for event in events if row_of(event["MET"], rows) is not None]
    made = Chain(table(known), kernel_cache)
    made.of("hep.weights.lookup_csv", lookup(rows))
    places = [row_of(event["MET"], rows) for event in known]
    assert made.formulas("w", "w_up") == [
        [rows["sf"][place] for place in places],
        [rows["up"][place] for place in places],
    ]


@pytest.mark.parametrize("value", [-0.5, 100.0, math.nan, math.inf])
def test_a_value_without_bin_is_an_error(value: float, kernel_cache: Path) -> None:
    made = Chain({"MET": column([10.0, value])}, kernel_cache)
    made.of("hep.weights.lookup_csv", lookup(CONTIGUOUS), "SF")
    with pytest.raises(DataError) as caught:
        made.formulas("w")
    assert caught.value.message == "stage 'SF': MET of event 1 has no bin in sf.csv (0.0 to 100.0)"


def test_events_that_were_cut_need_no_bin(kernel_cache: Path) -> None:
    made = Chain({"MET": column([10.0, math.nan, 60.0])}, kernel_cache)
    made.of("hep.selection.cutflow", {"selection": {"g": ["MET > 0"]}}, "Select")
    made.of("hep.weights.lookup_csv", lookup(CONTIGUOUS))
    (found,) = made.formulas("w")
    assert (found[0], found[2]) == (0.9, 1.0)


def test_a_lookup_needs_one_value_per_event(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.weights.lookup_csv", lookup(CONTIGUOUS, variable="Muon_pt"))
    assert made.faults[0].startswith("params/variable: a lookup needs one value per event")


# --- hep.weights.pdf_envelope ----------------------------------------------------------------------------------------


@QUICK
@given(EVENTS)
def test_an_envelope_is_the_largest_and_the_smallest_weight(kernel_cache: Path, events: list) -> None:
    made = Chain(table(events), kernel_cache)
    made.of("hep.weights.pdf_envelope", {"inputs": "pdf", "outputs": {"up": "hi", "down": "lo"}})
    weights = ak.values_astype(ak.Array([[], *(event["pdf"] for event in events)]), "float64")[1:]
    assert made.formulas("hi", "lo") == [ak.max(weights, axis=1).tolist(), ak.min(weights, axis=1).tolist()]


def test_an_envelope_with_a_nan_is_nan(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.weights.pdf_envelope", {"inputs": "pdf", "outputs": {"up": "hi"}})
    assert same(made.formulas("hi")[0], [1.0, None, math.nan])


def test_an_envelope_needs_a_list(chain: Callable[..., Chain]) -> None:
    made = chain()
    made.of("hep.weights.pdf_envelope", {"inputs": "MET", "outputs": {"up": "hi"}})
    assert made.faults == ["params/inputs: an envelope is that of a list of weights per event, and 'MET' is none"]


def test_parameters_mean_the_same_written_short(kernel_cache: Path) -> None:
    assert canonical("hep.selection.flag", {"selection": "x > 1"}, "Good") == {"selection": ["x > 1"], "output": "Good"}
