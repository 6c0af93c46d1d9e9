"""What the language has beside stages and parameters: variations, styles, joins, hints, profiles, several workflows."""

import copy
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive import digest
from fasthep_archive.formula.parse import parse
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import Edge, JoinInput, Workflow, build, resolved
from fasthep_archive.workflow.registered import _FUNCTIONS
from fasthep_archive.workflow.wiring import Inputs, in_order

WORKFLOWS = Path(__file__).parent / "workflows"
DATA = {
    "datasets": [
        {"name": "ww", "files": ["ww.root"]},
        {"name": "run", "eventtype": "Data", "files": ["run.root"]},
    ]
}
DEFINE = {"id": "Define", "op": "hep.define", "params": {"variables": [{"name": "x", "expr": "1"}]}}
HIST = {"id": "Hist", "op": "hep.hist", "params": {"axes": [{"name": "x", "source": "x", "type": "int"}]}}
CUT = {"id": "Cut", "op": "hep.selection.cutflow", "params": {"selection": {"all": ["x"]}}}
VALUES = {"id": "Values", "op": "archive.values", "params": {"values": [{"name": "a", "yield": {"of": "Cut"}}]}}
ORDERED = {"datasets", "selection", "weights"}
"""Mappings whose order means something: datasets, groups of cuts, categories of a histogram's variations."""


def document(*stages: dict, version: str = "1.0", **more: object) -> dict:
    return {"version": version, "data": DATA, "analysis": {"stages": list(stages)}, **copy.deepcopy(more)}


def read(written: dict, faults: int = 0) -> Workflow:
    workflow, found = build(from_json(written, name="test"))
    assert len(found) == faults, [str(fault) for fault in found]
    return workflow


def messages(written: dict) -> list[str]:
    return [fault.message for fault in build(from_json(written, name="test"))[1]]


def back(workflow: Workflow) -> Workflow:
    return read(json.loads(digest.canonical(resolved(workflow))))


@pytest.fixture(scope="module")
def language() -> Workflow:
    workflow, faults = build(load(WORKFLOWS / "good_language.yaml"))
    assert not faults
    return workflow


@pytest.fixture(scope="module")
def several() -> Workflow:
    workflow, faults = build(load(WORKFLOWS / "good_workflows.yaml"))
    assert not faults
    return workflow


# --- variations ----------------------------------------------------------------------------------------------------


def varied(*variations: dict, stages: tuple[dict, ...] = (DEFINE, HIST)) -> dict:
    return document(*stages, systematics={"variations": list(variations)})


def test_a_matrix_of_variations_is_written_out(language: Workflow) -> None:
    up, down, *_ = language.variations
    assert (up.name, up.direction, up.multiply, up.metadata) == ("trigger_up", "up", ("TrigSF_up",), {"scale": "up"})
    assert (down.name, down.direction, down.group) == ("trigger_down", "down", "trigger")


def test_a_variation_applies_to_event_types_and_datasets(language: Workflow) -> None:
    data, ttbar, herwig = language.datasets
    up, scale = language.variations[0], language.variations[2]
    assert [up.applies(dataset) for dataset in (data, ttbar, herwig)] == [False, True, True]
    assert [scale.applies(dataset) for dataset in (data, ttbar, herwig)] == [False, True, False]


def test_event_types_of_variations_are_compared_in_any_case() -> None:
    workflow = read(varied({"name": "up", "applies_to": {"eventtypes": "DATA"}, "weight": {"multiply": 2}}))
    assert [workflow.variations[0].applies(dataset) for dataset in workflow.datasets] == [False, True]
    assert workflow.variations[0].multiply == ("2",)


def test_the_patch_of_an_inline_variation_is_laid_over_the_params_of_its_anchor() -> None:
    patch = {"params": {"storage": "weighted", "axes": [{"name": "y", "source": "y", "type": "int"}]}}
    inline = {"name": "y", "mode": "inline", "anchor": "Hist", "patch": patch, "export": {"new": "x"}}
    (variation,) = read(varied(inline)).variations
    assert variation.patch == {"storage": "weighted", "axes": [{"name": "y", "source": "y", "type": "int"}]}


@pytest.mark.parametrize("key", ["patch", "params"])
def test_a_patch_can_be_written_without_params(key: str) -> None:
    inline = {"name": "y", "mode": "inline", "stage": "Define", "export": {"fields": {"new": "x"}}}
    (variation,) = read(varied({**inline, key: {"variables": [{"name": "x", "expr": "2"}]}})).variations
    assert variation.patch == {"variables": [{"name": "x", "expr": "2"}]}
    assert (variation.anchor, variation.export) == ("Define", {"new": "x"})


def test_a_patch_takes_a_parameter_away_with_an_empty_one_and_so_does_its_resolved_form() -> None:
    weighted = {**HIST, "params": {**HIST["params"], "weight_expr": "w"}}
    inline = {"name": "y", "mode": "inline", "anchor": "Hist", "patch": {"weight_expr": None}, "export": {"new": "x"}}
    workflow = read(varied(inline, stages=(DEFINE, weighted)))
    assert "weight_expr" not in workflow.variations[0].patch
    assert workflow.variations[0].patch["storage"] == "count"
    assert back(workflow) == workflow


def test_a_value_that_is_nothing_but_an_axis_keeps_its_type() -> None:
    variable = {"name": "x", "expr": "{cut}"}
    inline = {"mode": "inline", "anchor": "Define", "patch": {"variables": [variable]}, "export": {"new": "x"}}
    workflow = read(varied({"name": "cut_{cut}", "matrix": {"cut": [1, 2.5]}, **inline}))
    assert [item.patch["variables"][0]["expr"] for item in workflow.variations] == ["1", "2.5"]
    assert [item.name for item in workflow.variations] == ["cut_1", "cut_2.5"]


def test_a_variation_that_changes_nothing_is_worth_a_warning() -> None:
    inline = {"name": "b", "mode": "inline", "anchor": "Define"}
    assert [warning.message for warning in read(varied({"name": "a"}, inline)).warnings] == [
        "the variation changes nothing",
        "the variation exports nothing, so nothing can use it",
    ]


def test_nothing_is_said_of_a_patch_of_a_broken_stage() -> None:
    inline = {"name": "b", "mode": "inline", "anchor": "Define", "export": {"new": "x"}}
    broken = {**DEFINE, "params": {"variables": [{"name": "x", "exprr": "1"}]}}
    assert len(messages(varied(inline, stages=(broken, HIST)))) == 1


# --- matrices of variables -----------------------------------------------------------------------------------------


def test_the_last_axis_of_a_matrix_runs_fastest() -> None:
    variable = {
        "name": "x_{a}{b}",
        "expr": "{a}",
        "matrix": {"a": [1, 2], "b": ["u", "v"]},
    }
    (stage,) = read(document({**DEFINE, "params": {"variables": [variable]}})).stages
    assert [item["name"] for item in stage.params["variables"]] == ["x_1u", "x_1v", "x_2u", "x_2v"]
    assert [item["expr"] for item in stage.params["variables"]] == ["1", "1", "2", "2"]


@settings(max_examples=50)
@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4).filter(bool))
def test_a_range_is_that_of_python(start: int, stop: int, step: int) -> None:
    matrix = {"n": {"range": {"start": start, "stop": stop, "step": step}}}
    variable = {"name": "x", "expr": "f == {n}", "matrix": matrix}
    written = document({**DEFINE, "params": {"variables": [variable]}})
    numbers = [f"f == {number}" for number in range(start, stop, step)]
    if numbers:
        assert [item["expr"] for item in read(written).stages[0].params["variables"]] == numbers
    else:
        assert messages(written) == ["axis 'n' of the matrix has no values"]


def test_what_a_matrix_stands_for_is_found_where_it_was_written(language: Workflow) -> None:
    path = (*language.stages[0].path, "params", "variables")
    lines = (WORKFLOWS / "good_language.yaml").read_text(encoding="utf-8").splitlines()
    for number, text in ((0, "Muon_Pt, expr"), (2, '"TrigSF_{dir}"'), (5, '"bit_{n}"'), (6, "Muon_Pt_up, expr")):
        where = language.document.where((*path, number, "name"))
        assert text in lines[where.line - 1]


# --- plots, files, observers ---------------------------------------------------------------------------------------


def test_styles_inherit_mapping_by_mapping(language: Workflow) -> None:
    pt, each = language.stage("Pt").renders
    assert (pt.op, pt.when, pt.out, pt.source) == ("hep.render.data_mc", "final", "Pt.png", "hist")
    assert pt.params["figure"] == {"size": [8, 8], "dpi": 80}
    assert pt.params["axes"]["x"]["limits"] == [0, 100]
    assert "op" not in pt.params
    assert (each.when, each.params) == ("dataset", {"figure": {"size": [6, 5], "dpi": 80}})


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("figure", "size"), "figure: {size: [8, 8], dpi: 100}"),
        (("figure", "dpi"), "figure: {dpi: 80}"),
        (("style", "experiment"), "style: {experiment: CMS"),
        (("axes", "x", "label"), "axes: {x: {name: pt"),
        (("out",), "- {style: pt, out: Pt}"),
    ],
)
def test_an_option_is_found_in_the_style_that_has_it(language: Workflow, path: tuple, line: str) -> None:
    where = language.document.where((*language.stage("Pt").renders[0].path, *path))
    assert line in (WORKFLOWS / "good_language.yaml").read_text(encoding="utf-8").splitlines()[where.line - 1]


def test_a_table_and_a_file_hang_on_a_selection(language: Workflow) -> None:
    select = language.stage("Select")
    (table,), (write,) = select.renders, select.writes
    assert (table.op, table.out, table.source) == ("hep.render.cutflow_csv", "yields.csv", "cutflow")
    assert write.when == "dataset"
    assert write.params["keep"] == ["Muon_Pt", "EventWeight"]
    assert (write.params["tree"], write.params["format"]) == ("skimmed", "ttree")


def test_a_plot_is_called_like_its_stage_unless_it_says_otherwise() -> None:
    styles = {"plain": {"op": "hep.render.hist1d"}, "table": {"op": "hep.render.cutflow_csv"}}
    stages = read(
        document({**HIST, "render": {"style": "plain"}}, {**CUT, "render": {"style": "table"}}, styles=styles)
    ).stages
    assert [stage.renders[0].out for stage in stages] == ["Hist.png", "Cut.csv"]


def test_a_style_can_use_others_anywhere_inside() -> None:
    styles = {
        "small": {"dpi": 80, "size": [6, 5]},
        "plain": {"op": "hep.render.hist1d", "figure": {"use": "small", "with": {"dpi": 90}, "size": [4, 4]}},
    }
    (stage,) = read(document({**HIST, "render": {"style": "plain"}}, styles=styles)).stages
    assert stage.renders[0].params == {"figure": {"dpi": 90, "size": [4, 4]}}


def test_a_stage_that_draws_takes_products(language: Workflow) -> None:
    again = language.stage("Again")
    assert (again.streams_from, again.products_from) == ((), (Edge(node="Pt", name="target"),))
    assert again.params == {"legend": {"loc": "best"}, "out": "again.pdf"}


def test_a_sink_is_a_stage_that_hands_on_what_it_writes(language: Workflow) -> None:
    skim = language.stage("Skim")
    assert (skim.op, skim.streams_from) == ("hep.merge_fields", (Edge(node="Merged", name="target"),))
    assert [(write.params["path"], write.when) for write in skim.writes] == [("merged.root", "final")]


def test_observers_come_to_the_node_that_they_are_at(language: Workflow) -> None:
    assert [item.kind for item in language.stage("Muons").observers] == ["hep.schema_snapshot", "hep.branches"]
    assert [item.params for item in language.stage("Pt").observers] == [{"out": "fields"}]
    reco, truth = language.sources
    assert [item.kind for item in (*reco.observers, *truth.observers)] == ["hep.branches", "hep.schema_snapshot"]
    assert len(language.joins[0].observers) == 1  # a join and its aliases are one node here


# --- streams -------------------------------------------------------------------------------------------------------


def test_a_join_is_a_stream_with_prefixes(language: Workflow) -> None:
    (join,) = language.joins
    assert join.inputs == (JoinInput(source="reco", prefix="reco"), JoinInput(source="truth", prefix="gen"))
    assert language.stage("Truth").streams_from == (Edge(node="both"),)
    assert language.fields[0].stream == "both"


def test_a_source_of_toy_events_names_its_numbers_in_the_files() -> None:
    toys = {"datasets": [{"name": "dy", "files": ["toy://dy"], "nevents": 10}]}
    sources = {"events": {"kind": "workshop.toy_source", "seed": 7, "dataset": "x"}}
    workflow = read({**document(HIST, sources=sources), "data": toys})
    assert workflow.sources[0].options == {"seed": 7}
    assert "seed=7" in workflow.datasets[0].files[0]
    assert [warning.message for warning in workflow.warnings] == [
        "'dataset' has no effect: datasets say it of themselves"
    ]
    assert back(workflow) == workflow


def test_columns_of_parquet_files_are_branches() -> None:
    sources = {"rows": {"kind": "workshop.parquet", "columns": ["a", "b"]}}
    workflow = read(document(HIST, sources=sources))
    assert (workflow.sources[0].tree, workflow.sources[0].branches) == ("", ("a", "b"))
    assert back(workflow) == workflow


# --- hints, hooks, registries, profiles ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("execution", "device", "warnings"),
    [
        ({"device": "gpu"}, "gpu", 0),
        ({"require": "gpu"}, "gpu", 0),
        ({"require": "cpu"}, "cpu", 0),
        ({"prefer": "gpu", "fallback": "cpu"}, "auto", 0),
        ({"prefer": "cpu"}, "cpu", 0),
        ({"require": "big"}, "gpu", 0),
        ({"require": "many"}, "auto", 1),
        ({"timeout": 10}, "auto", 1),
        ({"modifiers": [{"name": "gpu.preload", "params": {"fields": ["a"]}}]}, "auto", 1),
        (None, "auto", 0),
    ],
)
def test_a_hint_of_a_stage_says_where_it_is_computed(execution: object, device: str, warnings: int) -> None:
    resources = {"resources": {"big": {"gpus": 1}, "many": {"cpus": 8}}}
    workflow = read(document({**HIST, "execution": execution}, version="1.1", execution=resources))
    assert workflow.stages[0].device == device
    assert len(workflow.warnings) == warnings
    assert back(workflow) == workflow


def test_what_fast_hep_does_by_default_is_worth_no_warning() -> None:
    usual = {"backend": "local", "strategy": "default", "staging": {"mode": "shared"}, "config": {}}
    assert not read(document(HIST, execution=usual)).warnings
    unusual = {"backend": "dask", "strategy": "local", "config": {"scheduler": "tcp://a:1"}}
    assert len(read(document(HIST, execution=unusual)).warnings) == 3


def test_hooks_of_fast_hep_are_there_anyway() -> None:
    hooks = [{"kind": kind} for kind in ("hep.dataset_context", "hep.error_report", "hep.resource_usage")]
    assert len(read(document(HIST, execution_hooks=hooks)).warnings) == 2


def test_constants_of_the_registry_are_constants_and_globals_come_first() -> None:
    written = document(HIST, registry={"constants": {"pi": "math:pi", "e": "numpy:e"}})
    written["analysis"]["globals"] = {"e": 3}
    workflow = read(written)
    assert workflow.constants == {"pi": 3.141592653589793, "e": 3}
    assert back(workflow) == workflow


def test_a_number_is_a_constant_in_1_1_only() -> None:
    registry = {"constants": {"c": 3e8}}
    assert read(document(HIST, version="1.1", registry=registry)).constants == {"c": 3e8}
    assert messages(document(HIST, registry=registry)) == ["registry.constants.c must be text, not 300000000.0"]


@pytest.mark.parametrize("name", sorted({name for names in _FUNCTIONS.values() for name in names.split()}))
def test_a_function_that_can_be_registered_is_one_of_formulas(name: str) -> None:
    more = {"clip": ", 0, 1", "where": ", 0, 1", "hypot": ", 1", "nth": ", 1", "fill_none": ", 1", "pad_none": ", 1"}
    more |= dict.fromkeys(("arctan2", "maximum", "minimum", "power", "pow"), ", 1")
    parse(f"{name}(x{more.get(name, '')})")


def test_a_profile_beside_the_document_is_read_and_those_that_it_includes(language: Workflow) -> None:
    assert language.constants["tau"] == 6.283185307179586
    assert [warning.where.file.rpartition("/")[2] for warning in language.warnings] == ["constants.yaml"] * 2


def test_profiles_beside_the_document_are_files_of_the_document(language: Workflow) -> None:
    names = [file.name for file in language.document.files]
    assert names == ["good_language.yaml", "group.yaml", "constants.yaml"]
    assert all(language.document.texts[str(file)] == file.read_text() for file in language.document.files)


def test_a_profile_of_the_document_goes_before_a_built_in_one(tmp_path: Path) -> None:
    (tmp_path / ".hepflow" / "profiles").mkdir(parents=True)
    (tmp_path / ".hepflow" / "profiles" / "hep.yaml").write_text("registry: {constants: {pi: 'math:pi'}}\n")
    (tmp_path / "a.yaml").write_text(json.dumps(document(HIST, use={"profiles": ["hep"]})))
    workflow, faults = build(load(tmp_path / "a.yaml"))
    assert not faults
    assert set(workflow.constants) == {"pi"}


@pytest.mark.parametrize("name", ["basic", "hep_debug", "fasthep_workshop:registry", "hepflow:hep"])
def test_profiles_of_fast_hep_say_nothing_new(name: str) -> None:
    assert not read(document(HIST, use={"profiles": [name]})).warnings


# --- several workflows ---------------------------------------------------------------------------------------------


def test_stages_of_several_workflows_are_one_graph(several: Workflow) -> None:
    assert [stage.id for stage in several.stages] == ["Objects", "Control", "Scale", "After", "More", "Signal", "Blind"]
    assert [(item.name, item.stages, item.description) for item in several.workflows] == [
        ("control", ("Control", "Scale", "After", "More"), None),
        ("signal", ("Signal", "Blind"), "where the signal is"),
    ]


def test_a_stage_needs_what_it_reads_and_what_these_need(several: Workflow) -> None:
    assert several.needed(["Signal"]) == ("Objects", "Control", "Scale", "Signal")
    assert several.needed(["More"]) == ("Objects", "Control", "More")
    assert several.needed([]) == ()


def test_values_are_no_events_so_a_stage_that_needs_them_reads_those_above(several: Workflow) -> None:
    assert several.stage("After").streams_from == (Edge(node="Control"),)
    assert several.stage("More").products_from == (Edge(node="Control"),)
    assert several.stage("Blind").when == "manual"
    with pytest.raises(KeyError):
        several.stage("Other")


def test_the_first_stage_of_a_workflow_reads_the_primary_stream() -> None:
    written = document(DEFINE, version="1.1", workflows={"a": {"stages": [HIST]}})
    assert read(written).stage("Hist").streams_from == (Edge(node="events"),)


def test_a_document_of_workflows_needs_no_analysis() -> None:
    written = document(version="1.1", workflows={"a": {"stages": [HIST]}})
    del written["analysis"]
    workflow = read(written)
    assert back(workflow) == workflow
    assert messages({"version": "1.1", "data": DATA}) == ["missing key 'analysis' in the document"]


def test_cuts_nest_in_1_1() -> None:
    cuts = ["a", {"Any": ["b", {"all": ["c", {"any": ["d", "e"]}], "label": "f"}]}]
    (stage,) = read(document({**CUT, "params": {"selection": {"g": cuts}}}, version="1.1")).stages
    inner = {"all": [{"expr": "c"}, {"any": [{"expr": "d"}, {"expr": "e"}]}], "label": "f"}
    assert stage.params["selection"]["g"]["cuts"] == [{"expr": "a"}, {"any": [{"expr": "b"}, inner]}]


def test_a_nested_cut_is_found_where_it_was_written(several: Workflow) -> None:
    stage = several.stage("Signal")
    lines = (WORKFLOWS / "good_workflows.yaml").read_text(encoding="utf-8").splitlines()
    for path, text in (
        ((0, "any", 0, "expr"), "pt > 10"),
        ((0, "any", 1, "all", 0, "expr"), "pt > 5"),
        ((0, "any", 1, "all", 1, "reduce", "over"), "iso"),
        ((1, "any", 1, "expr"), "b]"),
    ):
        where = several.document.where((*stage.path, "params", "selection", "all", "cuts", *path))
        assert lines[where.line - 1][where.column - 1 :].startswith(text)


# --- invariants ----------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.data())
def test_stages_stand_below_all_that_they_need(data: st.DataObject) -> None:
    names = data.draw(st.permutations("abcdefgh"))
    needs = {name: data.draw(st.sets(st.sampled_from(names[:at]))) if at else set() for at, name in enumerate(names)}
    written = {name: Inputs(needs=tuple(sorted(needs[name]))) for name in data.draw(st.permutations(names))}
    order = in_order(written)
    assert sorted(order) == sorted(names)
    for at, name in enumerate(order):
        assert needs[name] <= set(order[:at])
    assert in_order({name: written[name] for name in order}) == order


def shuffled(value: object, draw: random.Random, key: object = None) -> object:
    if isinstance(value, dict):
        entries = list(value.items())
        if key not in ORDERED:
            draw.shuffle(entries)
        return {name: shuffled(item, draw, name) for name, item in entries}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


ORIGINALS = {path.name: load(path).data for path in sorted(WORKFLOWS.glob("good_*.yaml"))}


@settings(max_examples=60)
@given(st.sampled_from(sorted(ORIGINALS)), st.randoms(use_true_random=False))
def test_the_order_of_mappings_means_nothing(name: str, draw: random.Random) -> None:
    data = {key: value for key, value in ORIGINALS[name].items() if key != "use"}  # profiles are relative to a file
    assert read(shuffled(data, draw)) == read(data)


@pytest.mark.parametrize("name", ["good_language.yaml", "good_workflows.yaml"])
def test_a_resolved_document_says_everything(name: str) -> None:
    workflow, _ = build(load(WORKFLOWS / name))
    again = back(workflow)
    assert again == workflow
    assert not again.warnings
