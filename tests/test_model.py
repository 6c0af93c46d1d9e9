"""Workflows: what documents mean, every fault of theirs, and the way back."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive import digest
from fasthep_archive.errors import WorkflowError
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import Author, Edge, Policy, ReferencedInput, Related, Workflow, build, resolved

WORKFLOWS = Path(__file__).parent / "workflows"
BROKEN = sorted(path.stem for path in WORKFLOWS.glob("bad_*.expected"))
SOUND = sorted(path.name for path in WORKFLOWS.glob("good_*.yaml"))
STAGE = {"id": "N", "op": "hep.hist", "params": {"axes": [{"name": "n", "source": "n", "type": "int"}]}}
DATA = {"datasets": [{"name": "ww", "files": ["ww.root"]}]}


def sound(document: dict) -> Workflow:
    workflow, faults = build(from_json(document, name="test"))
    assert not faults
    return workflow


def faulty(document: dict) -> tuple[Workflow, list[str]]:
    workflow, faults = build(from_json(document, name="test"))
    return workflow, [fault.message for fault in faults]


def with_stages(*stages: dict, **more: object) -> dict:
    return {"data": DATA, "analysis": {"stages": list(stages)}, **more}


def hist(stage: str, **more: object) -> dict:
    return {**STAGE, "id": stage, **more}


def define(stage: str, **more: object) -> dict:
    return {"id": stage, "op": "hep.define", "params": {"variables": [{"name": "x", "expr": "1"}]}, **more}


def params(op: str, params: object) -> dict:
    (stage,) = sound({**with_stages({"id": "S", "op": op, "params": params}), "version": "1.1"}).stages
    return dict(stage.params)


# --- broken workflows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_workflow_gets_its_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WORKFLOWS)
    with pytest.raises(WorkflowError) as caught:  # noqa: PT012 # some faults are found on loading, others on building
        _, faults = build(load(Path(f"{name}.yaml")))
        raise WorkflowError(faults)
    assert f"{caught.value}\n" == Path(f"{name}.expected").read_text(encoding="utf-8")


def test_every_broken_workflow_has_its_message_and_every_message_its_line() -> None:
    assert len(BROKEN) > 30
    for name in BROKEN:
        assert (WORKFLOWS / f"{name}.yaml").is_file()
        for line in (WORKFLOWS / f"{name}.expected").read_text(encoding="utf-8").splitlines():
            file, number, column, _ = (
                line.split(":", 3) if not line.startswith("  hint: ") else (f"{name}.yaml", 1, 1, "")
            )
            assert (WORKFLOWS / file).is_file()
            assert int(number) > 0
            assert int(column) > 0


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workflow_has_no_faults(name: str) -> None:
    workflow, faults = build(load(WORKFLOWS / name))
    assert not faults
    assert not workflow.broken


@pytest.mark.parametrize("name", ["ex1_zmumu_like", "ex2_needs_systematics", "ex3_nano_objects"])
def test_the_reference_examples_are_sound(shared_data: Path, name: str) -> None:
    workflow, faults = build(load(shared_data.parent / "reference" / "examples" / f"{name}.yaml"))
    assert not faults
    assert not workflow.warnings
    assert_round_trip(workflow)


# --- what a document means -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tutorial() -> Workflow:
    return build(load(WORKFLOWS / "good_tutorial.yaml"))[0]


@pytest.fixture(scope="module")
def graph() -> Workflow:
    return build(load(WORKFLOWS / "good_graph.yaml"))[0]


@pytest.fixture(scope="module")
def everything() -> Workflow:
    return build(load(WORKFLOWS / "good_everything.yaml"))[0]


def test_datasets_have_defaults_and_keep_metadata(tutorial: Workflow) -> None:
    data, ww = tutorial.datasets
    assert (data.name, data.eventtype, data.group, data.nevents, data.meta) == ("data", "data", "data", None, {})
    assert (ww.name, ww.eventtype, ww.group, ww.nevents, ww.meta) == ("ww", "mc", "diboson", 4580, {"xs": 118.7})
    assert ww.files == ("ww.root", "ww_more.root")


def test_datasets_of_both_keys_are_put_together() -> None:
    document = {**with_stages(STAGE), "datasets": {"a": {"files": ["a"]}, "b": {"name": "c", "files": ["b"]}}}
    assert [dataset.name for dataset in sound(document).datasets] == ["a", "c", "ww"]


def test_data_and_mc_are_the_same_in_any_case() -> None:
    document = with_stages(STAGE)
    for written, meant in (("Data", "data"), ("MC", "mc"), ("Embedded", "Embedded")):
        document["data"] = {"defaults": {"eventtype": written}, **DATA}
        assert sound(document).datasets[0].eventtype == meant


def test_without_sources_there_is_one_stream_of_the_primary_tree(everything: Workflow) -> None:
    (source,) = everything.sources
    assert (source.id, source.kind, source.tree, source.branches) == ("events", "root_tree", "Events", None)
    assert sound(with_stages(STAGE)).sources[0].tree == "events"
    assert everything.document.where((*source.path, "tree")).line == 6
    assert everything.primary_stream == "events"


def test_a_source_keeps_its_options(graph: Workflow) -> None:
    reco, truth = graph.sources
    assert (reco.missing_branches, reco.start, reco.stop) == ("error", None, None)
    assert (truth.branches, truth.missing_branches, truth.start, truth.stop) == (("GenPt",), "ignore", 0, 100)


def test_aliases_layouts_and_constants_are_read(tutorial: Workflow) -> None:
    assert [(field.alias, field.stream, field.branch) for field in tutorial.fields] == [
        ("charge", "events", "Muon.charge")
    ]
    assert [(layout.name, layout.keep) for layout in tutorial.outputs] == [("dimuon_skim", ("NMuon", "Muon_Px"))]
    assert tutorial.constants == {"z": {"mass": 91.1876, "width": 2.4952}, "loose": True}


def test_a_workflow_is_called_what_it_says_or_what_its_file_says(everything: Workflow, tutorial: Workflow) -> None:
    assert (everything.name, everything.version) == ("everything", "2.0")
    assert (tutorial.name, tutorial.version) == ("good_tutorial", None)


def test_the_archive_settings_are_read(everything: Workflow) -> None:
    metadata = everything.archive.metadata
    assert (metadata.title, metadata.license, metadata.keywords) == ("Every key", "CC0-1.0", ("dimuon", "Z boson"))
    assert metadata.authors == (
        Author(
            name="Ada Lovelace",
            orcid="https://orcid.org/0000-0002-1825-0097",
            affiliation="CERN",
            ror="https://ror.org/01ggx4157",
            email="ada@example.org",
        ),
        Author(name="CMS Collaboration"),
    )
    assert metadata.related[1] == Related(identifier="arXiv:2003.07868", relation="isSupplementTo")
    assert everything.archive.verify == (
        Policy(outputs="*", level="content"),
        Policy(outputs="Shapes", level="tolerance", rtol=1e-9, ulp=4),
        Policy(outputs="*.png", level="ignore"),
    )
    assert everything.archive.inputs == (
        ReferencedInput(
            file="b.root",
            urls=("https://example.org/ww.root", "root://example.org//eos/ww.root"),
            size=1234,
            sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            adler32="00000001",
        ),
    )
    assert everything.archive.allow == ("0123456789ab", "012345678901")


def test_the_archive_settings_have_defaults(tutorial: Workflow) -> None:
    metadata = tutorial.archive.metadata
    assert (metadata.title, metadata.license, metadata.authors) == ("good_tutorial", "CC-BY-4.0", ())
    assert tutorial.archive.verify == ()
    assert (tutorial.archive.inputs, tutorial.archive.allow) == ((), ())


def test_a_remote_file_can_be_had_where_it_is_and_at_the_addresses_of_the_settings(everything: Workflow) -> None:
    url = "https://example.org/ww.root"
    archive = {"inputs": [{"file": url, "urls": ["https://mirror.example.org/ww.root", url]}]}
    workflow = sound(with_stages(STAGE, data={"datasets": {"ww": {"files": [url, "a.root"]}}}, archive=archive))
    assert {name: item.urls for name, item in workflow.references.items()} == {
        url: (url, "https://mirror.example.org/ww.root")
    }
    assert set(everything.references) == {"b.root"}


@pytest.mark.parametrize("language", ["1.0", "1.1"])
def test_files_can_be_anywhere_in_both_versions_of_the_language(language: str) -> None:
    files = ["ww.root", "file:///data/ww.root", "http://a.org/w", "https://a.org/w", "root://a.org//w", "xroot://a//w"]
    archive = {"inputs": [{"file": "ww.root", "urls": ["https://b.org/w"]}], "allow": ["0123456789ab"]}
    document = with_stages(STAGE, data={"datasets": {"ww": {"files": files}}}, archive=archive, version=language)
    assert sound(document).datasets[0].files == tuple(files)


def test_nothing_is_said_of_names_when_the_datasets_are_not_known() -> None:
    archive = {"inputs": [{"file": "ww.root", "urls": ["https://b.org/w"]}]}
    datasets = {"ww": {"files": "ww.root", "nevents": "many"}}
    assert len(faulty(with_stages(STAGE, data={"datasets": datasets}, archive=archive))[1]) == 2


def test_a_resolved_document_refers_to_its_files_by_their_new_names() -> None:
    url = "https://example.org/zz.root"
    archive = {"inputs": [{"file": "ww.root", "urls": ["https://b.org/w"], "size": 3}]}
    data = {"datasets": {"ww": {"files": ["ww.root", url, "file:///data/a.root"]}}}
    renamed = {"ww.root": "../inputs/ww.root", url: "../inputs/zz.root", "file:///data/a.root": "../inputs/a.root"}
    document = resolved(sound(with_stages(STAGE, data=data, archive=archive)), renamed)
    assert document["archive"]["inputs"] == [
        {"file": "../inputs/ww.root", "urls": ["https://b.org/w"], "size": 3},
        {"file": "../inputs/zz.root", "urls": [url]},
    ]
    sound(document)


def test_a_document_without_references_is_resolved_without_them(tutorial: Workflow) -> None:
    assert set(resolved(tutorial)["archive"]) == {"metadata", "verify"}


def test_a_fault_of_the_metadata_hides_no_other() -> None:
    authors = [{"name": "a", "orcid": "0"}, {"name": "b", "mail": "b@c.d"}, {"orcid": "0000-0002-1825-009X"}]
    archive = {"metadata": {"authors": authors, "license": "GPL", "title": ""}}
    assert len(faulty(with_stages(STAGE, archive=archive))[1]) == 5


# --- edges ---------------------------------------------------------------------------------------------------------


def test_edges_follow_from_then_needs_then_the_stage_above(graph: Workflow) -> None:
    edges = {stage.id: [edge.node for edge in stage.streams_from] for stage in graph.stages}
    assert edges == {
        "Start": ["reco"],
        "Truth": ["truth"],
        "Side": ["Start"],
        "AfterTruth": ["Truth"],  # as in FAST-HEP 2026.10.1, a histogram hands no events on to the stage below it
        "Only": ["Start"],
        "Ordered": ["Only"],
    }
    assert graph.stages[-1].needs == ("Only", "Truth")
    assert graph.stages[-1].applies_to == "mc"


def test_a_histogram_hands_on_its_events_to_a_stage_that_names_it() -> None:
    stages = sound(with_stages(define("A"), hist("H"), define("B", needs="H"))).stages
    assert stages[2].streams_from == (Edge(node="H"),)


def test_a_stage_below_one_without_id_is_broken_and_nothing_is_said_of_it() -> None:
    nameless = {key: value for key, value in define("A").items() if key != "id"}
    workflow, messages = faulty(with_stages(nameless, hist("H")))
    assert messages == ["missing key 'id' in analysis.stages[0]"]
    assert workflow.broken == {"H"}


def test_a_broken_stage_keeps_its_edges_and_loses_its_params() -> None:
    workflow, messages = faulty(with_stages(define("A"), hist("H", parms={}), define("B", **{"from": "H"})))
    assert len(messages) == 1
    assert workflow.broken == {"H"}
    assert [(stage.id, bool(stage.params), len(stage.streams_from)) for stage in workflow.stages] == [
        ("A", True, 1),
        ("H", False, 1),
        ("B", True, 1),
    ]


def test_a_plot_with_faults_breaks_its_stage() -> None:
    workflow, messages = faulty(with_stages(hist("H", render={"style": "x"})))
    assert messages == ["there is no style 'x'"]
    assert workflow.broken == {"H"}
    assert workflow.stages[0].streams_from == (Edge(node="events"),)


def test_a_stream_with_faults_is_broken() -> None:
    workflow, _ = faulty(with_stages(STAGE, sources={"events": {"kind": "csv", "seed": 1}}))
    assert workflow.sources == ()
    assert workflow.broken == {"events"}


def test_a_dataset_with_faults_is_left_out() -> None:
    datasets = [{"name": "a", "files": ["gsiftp://x/y"]}, {"name": "b", "files": ["b.root"]}]
    workflow, messages = faulty(with_stages(STAGE, data={"datasets": datasets}))
    assert len(messages) == 1
    assert [dataset.name for dataset in workflow.datasets] == ["b"]


# --- parameters ----------------------------------------------------------------------------------------------------


def test_a_formula_may_be_a_number() -> None:
    variables = [{"name": "a", "expr": 1}, {"name": "b", "expr": 0.5, "dtype": "int"}]
    assert params("hep.define", {"variables": variables})["variables"] == [
        {"name": "a", "expr": "1"},
        {"name": "b", "expr": "0.5", "dtype": "int64"},
    ]


def test_the_mass_has_defaults() -> None:
    assert params("hep.di_object_mass", None) == {"collection": "Muon", "out_var": "DiMuon_Mass"}
    assert params("hep.di_object_mass", {"collection": "Jet"})["out_var"] == "DiJet_Mass"


@pytest.mark.parametrize(
    ("given", "storage"), [({}, "count"), ({"weight_expr": "w"}, "weighted"), ({"storage": "weighted"}, "weighted")]
)
def test_the_storage_follows_the_weight(given: dict, storage: str) -> None:
    assert params("hep.hist", {**STAGE["params"], **given})["storage"] == storage


@pytest.mark.parametrize(
    ("written", "axis"),
    [
        (True, {"name": "dataset", "source": "dataset_name", "type": "category"}),
        (
            {"name": "d", "bins": ["a", 1]},
            {"name": "d", "source": "dataset_name", "type": "category", "bins": ["a", "1"]},
        ),
        (False, None),
        (None, None),
    ],
)
def test_the_dataset_axis_is_an_axis(written: object, axis: object) -> None:
    assert params("hep.hist", {**STAGE["params"], "dataset_axis": written}).get("dataset_axis") == axis


def test_edges_have_one_form(graph: Workflow, everything: Workflow) -> None:
    assert graph.stages[2].params["axes"][0]["bins"] == {"edges": [0.0, 1.0, 4.0]}
    assert everything.stages[2].params["axes"][1]["bins"] == {"edges": [0.0, 1.0, 10.0]}


@pytest.mark.parametrize(
    "group",
    [["a", "b"], {"cuts": ["a", {"expr": "b"}]}, {"steps": ["a", "b"], "parents": None}],
)
def test_a_group_has_one_form(group: object) -> None:
    expected = {"cuts": [{"expr": "a"}, {"expr": "b"}], "parents": []}
    assert params("hep.selection.cutflow", {"selection": {"g": group}}) == {
        "selection": {"g": expected},
        "filter": "all",
        "emit_flags": True,
    }


@pytest.mark.parametrize("key", ["parents", "from", "parent"])
@pytest.mark.parametrize("value", ["a[0]", ["a[0]"]])
def test_parents_have_one_form(key: str, value: object) -> None:
    selection = params("hep.selection.cutflow", {"selection": {"a": ["x"], "b": {"cuts": ["y"], key: value}}})[
        "selection"
    ]
    assert selection["b"]["parents"] == ["a[0]"]


def test_a_fault_in_one_group_hides_no_fault_in_another() -> None:
    selection = {"a": [{"exp": "x"}], "any": ["y"], "b": {"cuts": ["z"], "parents": "a[0]"}}
    workflow, messages = faulty(
        with_stages({"id": "S", "op": "hep.selection.cutflow", "params": {"selection": selection}})
    )
    assert len(messages) == 2
    assert workflow.broken == {"S"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("selection", "plain", "cuts", 0, "expr"), "NMuon > 2"),
        (("selection", "plain", "cuts", 1, "expr"), "a > 1"),
        (("selection", "plain", "cuts", 2, "reduce", "over"), "pt > 3"),
        (("selection", "steps", "cuts", 0, "expr"), "b > 4"),
        (("selection", "steps", "parents", 0), "plain[0]"),
    ],
)
def test_a_rewritten_value_is_found_where_it_was_written(path: tuple, text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "data: {datasets: [{name: ww, files: [ww.root]}]}\n"
        "analysis:\n  stages:\n    - id: S\n      op: hep.selection.cutflow\n      params:\n        selection:\n"
        '          plain: ["NMuon > 2", {expr: a > 1}, {reduce: {op: any, over: pt > 3}}]\n'
        "          steps: {parent: 'plain[0]', steps: [b > 4]}\n"
    )
    workflow, faults = build(load(file))
    assert not faults
    where = workflow.document.where((*workflow.stages[0].path, "params", *path))
    assert file.read_text().splitlines()[where.line - 1][where.column - 1 :].startswith(text)
    within = workflow.document.where((*workflow.stages[0].path, "params", *path), len(text) - 1)
    assert within == where.shifted(len(text) - 1) or path[2] == "parents"


def test_groups_of_a_list_are_found_by_their_names(everything: Workflow) -> None:
    where = everything.document.where(
        (*everything.stages[3].path, "params", "selection", "All", "cuts", 0, "reduce", "over")
    )
    line = (WORKFLOWS / "good_everything.yaml").read_text().splitlines()[where.line - 1]
    assert line[where.column - 1 :].startswith("Jet_pt > 20")


# --- the way back --------------------------------------------------------------------------------------------------


def assert_round_trip(workflow: Workflow) -> None:
    stored = json.loads(digest.canonical(resolved(workflow)))
    again, faults = build(from_json(stored, name="workflow.resolved.json"))
    assert not faults
    assert again == workflow
    assert digest.of_json(resolved(again)) == digest.of_json(stored)
    order = [list(stage.params.get("selection", ())) for stage in workflow.stages]
    assert [list(stage.params.get("selection", ())) for stage in again.stages] == order


@pytest.mark.parametrize("name", SOUND)
def test_a_resolved_document_builds_an_equal_workflow(name: str) -> None:
    assert_round_trip(build(load(WORKFLOWS / name))[0])


def test_a_resolved_document_can_name_other_files(tutorial: Workflow) -> None:
    again = sound(resolved(tutorial, {"ww.root": "data/inputs/ww.root"}))
    assert again.datasets[1].files == ("data/inputs/ww.root", "ww_more.root")


def test_workflows_that_mean_the_same_are_equal_in_both_versions(tutorial: Workflow) -> None:
    newer, faults = build(load(WORKFLOWS / "good_tutorial.yaml", language="1.1"))
    assert not faults
    assert newer == tutorial
    assert newer.language != tutorial.language


def test_a_document_in_other_words_is_resolved_to_the_same() -> None:
    short = with_stages(hist("H", params={"axes": [{"name": "n", "source": "n", "type": "variable", "bins": [0, 1]}]}))
    long = with_stages(
        hist(
            "H",
            params={
                "storage": "count",
                "weight_expr": None,
                "axes": [
                    {"type": "variable", "bins": {"edges": [0.0, 1.0]}, "name": "n", "source": "n", "label": None}
                ],
            },
            **{"in": [{"node": "events", "as": "stream"}]},
        ),
        sources={"events": {"tree": "events", "stream_type": "event_stream"}},
        primary_stream="events",
        use={"profiles": ["hep"]},
    )
    assert digest.of_json(resolved(sound(short))) == digest.of_json(resolved(sound(long)))


names = st.sampled_from(["a", "b", "Muon_Pt", "x.y"])
formulas = st.sampled_from(["a > 1", "sqrt(a**2 + b**2)", "nMuon", 1, 2.5, "é == 'é'"])
texts = st.sampled_from(["one", "two words", "µµ", "0x1"])
numbers = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
reduces = st.fixed_dictionaries({"op": st.sampled_from(["any", "all"]), "over": formulas})
variables = st.fixed_dictionaries(
    {"name": names, "expr": formulas}, optional={"dtype": st.sampled_from(["int", "float32", None])}
) | (st.fixed_dictionaries({"name": names, "reduce": reduces}))
bins = {
    "regular": st.tuples(numbers, st.integers(1, 9)).map(lambda t: {"low": t[0], "high": t[0] + 1, "nbins": t[1]}),
    "variable": st.lists(numbers, min_size=2, max_size=4, unique_by=float)
    .map(sorted)
    .flatmap(lambda e: st.sampled_from([e, {"edges": e}])),
    "category": st.none() | st.lists(texts, min_size=1, unique=True),
    "int": st.none() | st.lists(st.integers(-5, 5), min_size=1, unique=True),
    "bool": st.none(),
}
axes = st.sampled_from(sorted(bins)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"name": texts, "source": names, "type": st.just(kind), "bins": bins[kind]}, optional={"label": texts}
    )
)
cuts = formulas.filter(lambda formula: isinstance(formula, str)) | st.fixed_dictionaries(
    {"expr": formulas}, optional={"label": texts}
)
cuts = cuts | st.fixed_dictionaries({"reduce": reduces})
groups = st.lists(cuts, max_size=3) | st.fixed_dictionaries({"steps": st.lists(cuts, max_size=2)})
operations = st.one_of(
    st.fixed_dictionaries(
        {
            "op": st.just("hep.define"),
            "params": st.fixed_dictionaries({"variables": st.lists(variables, min_size=1, max_size=3)}),
        }
    ),
    st.fixed_dictionaries(
        {"op": st.just("hep.di_object_mass")},
        optional={"params": st.fixed_dictionaries({}, optional={"mask": formulas})},
    ),
    st.fixed_dictionaries(
        {
            "op": st.just("hep.hist"),
            "params": st.fixed_dictionaries(
                {"axes": st.lists(axes, min_size=1, max_size=2, unique_by=lambda axis: axis["name"])},
                optional={"dataset_axis": st.booleans(), "weight_expr": formulas, "storage": st.just("weighted")},
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "op": st.just("hep.selection.cutflow"),
            "params": st.fixed_dictionaries(
                {"selection": st.dictionaries(texts, groups, min_size=1, max_size=3)},
                optional={
                    "filter": st.sampled_from(["all", "any", "none"]),
                    "emit_flags": st.booleans(),
                    "output_field": names,
                },
            ),
        }
    ),
)
datasets = st.fixed_dictionaries(
    {"name": texts, "files": st.lists(texts, min_size=1, max_size=2)},
    optional={
        "nevents": st.integers(0, 9) | st.just("12"),
        "eventtype": st.sampled_from(["mc", "DATA", "other"]),
        "xs": numbers,
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict:
    stages = draw(st.lists(operations, min_size=1, max_size=4))
    for number, stage in enumerate(stages):
        stage["id"] = f"S{number}"
        above = [f"S{n}" for n in range(number)]
        choice = draw(st.integers(0, 3))
        if choice == 1:
            stage["from"] = draw(st.sampled_from([*above, "events"]))
        elif choice == 2 and above:
            stage["needs"] = [draw(st.sampled_from(above))]
        elif choice == 3 and above:
            stage["needs"] = above
            stage["in"] = [{"node": draw(st.sampled_from(above)), "port": "stream"}]
    return {
        "version": "1.0",
        "data": {
            "datasets": draw(st.lists(datasets, min_size=1, max_size=3, unique_by=lambda dataset: dataset["name"]))
        },
        "analysis": {
            "stages": stages,
            "globals": draw(st.dictionaries(names.filter(lambda n: "." not in n), numbers, max_size=2)),
        },
    }


@settings(max_examples=80)
@given(documents())
def test_any_document_survives_the_way_there_and_back(document: dict) -> None:
    assert_round_trip(sound(document))


@settings(max_examples=25)
@given(documents())
def test_yaml_and_json_mean_the_same(tmp_path_factory: pytest.TempPathFactory, document: dict) -> None:
    path = tmp_path_factory.mktemp("yaml") / "test.yaml"
    path.write_text(yaml.safe_dump(document, default_style='"', allow_unicode=True), encoding="utf-8")
    workflow, faults = build(load(path))
    assert not faults
    assert workflow == sound(document)


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield from places(item, (*path, key))


ORIGINALS = [load(WORKFLOWS / name).data for name in SOUND]
junk = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "events",
        "S",
        "hep.hist",
        "Any",
        [],
        [[]],
        [None],
        {},
        {"x": 1},
        {"": None},
        [{}],
        ["a", "a"],
    ]
)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_document_gives_faults_and_never_a_crash(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(ORIGINALS)))
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from(sorted(places(document), key=str)))
        holder = document
        for step in way:
            holder = holder[step]
        if data.draw(st.booleans()) or last == "version":
            holder.pop(last) if last != "version" else None
        else:
            holder[last] = copy.deepcopy(data.draw(junk))
    workflow, faults = build(from_json(document, name="test"))
    if not faults:
        assert not workflow.broken
        assert_round_trip(workflow)
