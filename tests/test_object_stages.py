"""Stages that make objects of objects, in documents: their faults, their parameters, and what comes after them."""

import json

import pytest
from objects import lowered, made, told
from test_kernels_reference import bits
from test_object_operations import events_of, same

from fasthep_archive.operations.stream import Shift
from fasthep_archive.workflow.document import from_json
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.parameters import canonical

EVENTS = events_of(1, 3) | {"Muon_total": [1.0, 2.0, 3.0]}
EVENTS["Jet_iso"] = [[None] * len(x) for x in EVENTS["Jet_pt"]]
SELECT = {"collection": "Muon", "output": "Good", "keep": ["pt"]}
PAIRS = {"collections": ["Muon"], "output": "MM", "keep": {"candidate": ["pt"], "constituents": ["pt"]}}
CLEAN = {"source": "Jet", "clean_against": ["Muon"]}
RECOIL = {"met": "MET", "output": "R", "keep": ["pt"]}
MATCH = {
    "reco": {"phi": "Jet_phi", "et": "Jet_pt", "eta": "Jet_eta"},
    "l1": {"et": "vEle_pt", "eta": "vEle_eta", "phi": "vEle_phi"},
}
LEPTON = {"lepton": "Muon", "met": "MET", "output": "W", "keep": {"candidate": ["pt"], "lepton": ["pt"]}}

STAGES_OF_ALL = [
    ("hep.select_objects", SELECT),
    ("hep.build_pairs", PAIRS),
    ("hep.clean", CLEAN),
    ("hep.build_recoil", RECOIL),
    ("hep.build_lepton_met_candidate", LEPTON),
    ("cms.match_l1t_jets", MATCH),
]


@pytest.mark.parametrize(
    ("op", "params", "message"),
    [
        ("hep.select_objects", {**SELECT, "collection": "Muo"}, "the events have no 'Muo_pt' (did you mean 'Muon'?)"),
        ("hep.select_objects", {**SELECT, "keep": ["ptt"], "sort": False}, "the events have no 'Muon_ptt' (did you mean 'Muon_pt'?)"),
        ("hep.select_objects", {**SELECT, "keep": ["total"]}, "'Muon_total' has one value per event, and not one for each object"),
        ("hep.select_objects", {**SELECT, "selection": ["ptt > 5"]}, "unknown name 'ptt' (did you mean 'pt'?)"),
        ("hep.select_objects", {**SELECT, "selection": ["Muon_pt > 5"]}, "unknown name 'Muon_pt' ("),
        ("hep.select_objects", {**SELECT, "selection": ["MET_pt > 5"]}, "unknown name 'MET_pt' (names in this formula are those of an object's"),
        ("hep.select_objects", {**SELECT, "selection": ["pt + 1"]}, "a selection needs a condition, but this formula is a number (float64)"),
        ("hep.select_objects", {**SELECT, "sort": {"by": "size"}}, "the events have no 'Muon_size' ("),
        ("hep.select_objects", {**SELECT, "keep": ["gen"], "missing_fields": "ignore"}, "the events have none of these fields of 'Muon' ("),
        ("hep.select_objects", {**SELECT, "collection": "Jet", "sort": {"by": "iso"}}, "lists can't be put in order by values that can be missing (say what"),
        ("hep.select_objects", {**SELECT, "derived": {"x": "pt +"}}, ""),
        ("hep.build_pairs", {**PAIRS, "collections": ["Muon", "Tau"]}, "the events have no 'Tau_pt' (define it in a stage before)"),
        ("hep.build_pairs", {**PAIRS, "output": "M", "keep": {"candidate": ["pt"], "constituents": ["size"]}}, "the events have no 'Muon_size'"),
        ("hep.build_pairs", {**PAIRS, "selection": {"pair": ["pt > 5"]}}, "unknown name 'pt' ("),
        ("hep.build_pairs", {**PAIRS, "selection": {"pair": ["lepton_1_ptt > 5"]}}, "unknown name 'lepton_1_ptt' (did you mean 'lepton_1_pt'?)"),
        ("hep.build_pairs", {**PAIRS, "selection": {"candidate": ["charge == 0"]}}, "unknown name 'charge' ("),
        ("hep.build_pairs", {**PAIRS, "sort": {"by": "CUT > 5"}}, ""),
        ("hep.clean", {**CLEAN, "source": "Photon"}, "the events have no 'Photon_eta' ("),
        ("hep.clean", {**CLEAN, "clean_against": ["MET"]}, "the events have no 'MET_eta' ("),
        ("hep.clean", {**CLEAN, "output": "Muon", "fields": ["pt"]}, "'Muon_eta' would overwrite a field that the events already have (choose another name)"),
        ("hep.build_recoil", {**RECOIL, "met": "Muon"}, "Muon_pt needs one value per event"),
        ("hep.build_recoil", {**RECOIL, "visible": ["Muon", "Jet"]}, "'Muon_pt' has one value per nMuon and 'Jet_pt' one per nJet"),
        ("hep.build_recoil", {**RECOIL, "selection": ["charge > 5"]}, "unknown name 'charge' ("),
        ("hep.build_lepton_met_candidate", {**LEPTON, "met": "MES"}, "the events have no 'MES_pt' ("),
        ("hep.build_lepton_met_candidate", {**LEPTON, "selection": {"candidate": ["mt > 5"]}}, "unknown name 'mt' ("),
        ("cms.match_l1t_jets", {key: {"et": "MET_pt", "eta": "Jet_eta", "phi": "Jet_phi"} for key in ("reco", "l1")}, "'MET_pt' has one value per event"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_what_to_do(op: str, params: dict, message: str) -> None:
    found = told(op, params, EVENTS)
    if message:
        assert message in found[0]
    assert len(found) <= 3


def test_no_event_is_one_of_them() -> None:
    nothing = {name: [] for name in EVENTS if name != "Jet_iso"}
    for op, params in STAGES_OF_ALL:
        found = made([(op, params)], nothing)
        assert found
        assert not any(found.values())


def test_all_faulty_conditions_are_told_at_once() -> None:
    assert len(told("hep.select_objects", {**SELECT, "selection": ["a > 1", "pt > 1", "b > 1"]}, EVENTS)) == 2


def test_fields_that_are_there_are_not_overwritten() -> None:
    stages = [("hep.build_pairs", PAIRS), ("hep.build_pairs", PAIRS)]
    assert "'nMM_Z' would overwrite a field that the events already have" in lowered(stages, EVENTS).told()[0]


def test_a_selection_can_take_the_place_of_its_collection() -> None:
    found = made([("hep.select_objects", {**SELECT, "output": "Muon", "sort": False, "selection": ["tight"]})], EVENTS)
    assert found["nMuon"] == [sum(x) for x in EVENTS["Muon_tight"]]


def test_what_was_selected_is_not_combined_with_what_was_not() -> None:
    select = ("hep.select_objects", {**SELECT, "selection": ["tight"]})
    define = ("hep.define", {"variables": [{"name": "x", "expr": "Good_pt * Muon_pt"}]})
    (fault,) = lowered([select, define], EVENTS).told()
    assert "they were sorted, selected or padded differently" in fault


def test_fields_that_a_file_lacks_can_be_left_out() -> None:
    found = made([("hep.select_objects", {**SELECT, "keep": ["gen", "pt"], "missing_fields": "ignore"})], EVENTS)
    assert sorted(found) == ["Good_pt", "nGood"]


def test_a_variation_replaces_fields_of_objects() -> None:
    shift = Shift(replace={"Muon_pt": "Muon_eta"})
    params = {**SELECT, "keep": ["pt", "eta"], "selection": ["pt > 1"]}
    program = lowered([("hep.select_objects", params)], EVENTS, shift)
    assert not program.told()
    found = program.run(EVENTS)
    assert bits(found["Good_pt"]) == bits(found["Good_eta"])
    assert found["nGood"] == [sum(x > 1 for x in event) for event in EVENTS["Muon_eta"]]


def test_a_stage_with_a_fault_is_told_once() -> None:
    select = ("hep.select_objects", {**SELECT, "selection": ["ptt > 5"]})
    define = ("hep.define", {"variables": [{"name": "x", "expr": "Good_pt * nGood"}]})
    assert len(lowered([select, define], EVENTS).told()) == 1
    clean = ("hep.clean", {**CLEAN, "clean_against": ["MET"]})
    define = ("hep.define", {"variables": [{"name": "x", "expr": "cleaned_Jet_pt * ncleaned_Jet"}]})
    assert len(lowered([clean, define], EVENTS).told()) == 1


@pytest.mark.parametrize("op", [stage[0] for stage in STAGES_OF_ALL])
def test_canonical_parameters_are_a_document_too(op: str) -> None:
    params = next(params for name, params in STAGES_OF_ALL if name == op)
    once = canonical_of(op, params)
    assert canonical_of(op, once) == once


def canonical_of(op: str, params: dict) -> dict:
    draft = Draft(
        from_json({"version": "1.1", "analysis": {"stages": [{"id": "S", "op": op, "params": params}]}}, name="d")
    )
    assert not draft.faults
    return json.loads(json.dumps(canonical(op, ("analysis", "stages", 0, "params"), draft)))


def schema_faults(op: str, params: dict) -> list[str]:
    stages = [{"id": "S", "op": op, "params": params}]
    return [
        f"{f.message} ({f.hint})"
        for f in Draft(from_json({"version": "1.0", "analysis": {"stages": stages}}, name="d")).faults
    ]


@pytest.mark.parametrize(
    ("op", "params", "message"),
    [
        ("hep.select_objects", {**SELECT, "sort": True}, "sort"),
        ("hep.select_objects", {**SELECT, "sort": {"order": "ascending"}}, "missing key 'by'"),
        ("hep.select_objects", {**SELECT, "keep": []}, "keep is empty"),
        ("hep.select_objects", {**SELECT, "keep": ["Muon.pt"]}, "a field's name without the collection's"),
        ("hep.select_objects", {**SELECT, "missing_fields": "skip"}, "missing_fields"),
        ("hep.select_objects", {**SELECT, "selection": "pt > 5"}, "write a list of conditions"),
        ("hep.select_objects", {"output": "x", "keep": ["pt"]}, "missing key 'collection'"),
        ("hep.build_pairs", {**PAIRS, "pair": {"unordered": False}}, "unordered"),
        ("hep.build_pairs", {**PAIRS, "keep": {"candidate": ["charge"], "constituents": ["pt"]}}, "charge"),
        ("hep.build_pairs", {**PAIRS, "collection": "Muon"}, "unknown key 'collection'"),
        ("hep.clean", {**CLEAN, "metric": "delta_phi"}, "metric"),
        ("hep.clean", {**CLEAN, "min_delta_r": -1}, "min_delta_r must be at least 0"),
        ("hep.clean", {**CLEAN, "diagnostics": True}, "diagnostics"),
        ("hep.build_recoil", {**RECOIL, "reduce": {"keep": "lowest_pt"}}, "keep"),
        ("hep.build_recoil", {**RECOIL, "keep": ["MT"]}, "MT"),
        ("hep.build_lepton_met_candidate", {**LEPTON, "keep": {"candidate": ["pt"]}}, "missing key 'lepton'"),
        ("cms.match_l1t_jets", {"reco": {"et": "a", "eta": "b"}, "l1": {"et": "a", "eta": "b", "phi": "c"}}, "missing key 'phi'"),
    ],
)  # fmt: skip
def test_the_schema_refuses_what_has_no_meaning(op: str, params: dict, message: str) -> None:
    (fault,) = schema_faults(op, params)
    assert message in fault


@pytest.mark.parametrize(
    "params", [{"sort": None}, {"selection": None}, {"derived": None}, {"missing_fields": None}, {"legacy": {"x": 1}}]
)
def test_what_is_empty_is_as_good_as_absent(params: dict) -> None:
    same(made([("hep.select_objects", {**SELECT, **params})], EVENTS), made([("hep.select_objects", SELECT)], EVENTS))
