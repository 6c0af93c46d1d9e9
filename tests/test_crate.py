"""The crate graph: what the profiles ask for, what it says about a run, and that it depends on nothing else."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from descriptions import EVERY, MINIMAL, NOON, RICH, STRANGE, THIN, data, product
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.bundle import identifiers, media, names
from fasthep_archive.bundle.claims import crate_faults
from fasthep_archive.bundle.crate import graph
from fasthep_archive.bundle.description import Description, Step
from fasthep_archive.digest import of_bytes
from fasthep_archive.workflow.model import Author, Related

VALIDATOR = Path(__file__).parents[2] / "shared" / "rocrate" / "validate_crate.py"


@pytest.fixture(scope="module", params=EVERY)
def description(request: pytest.FixtureRequest) -> Description:
    return EVERY[request.param]


def entities(description: Description) -> dict[str, dict[str, Any]]:
    document = json.loads(graph(description))
    nodes = {node["@id"]: node for node in document["@graph"]}
    assert len(nodes) == len(document["@graph"]), "an id occurs twice"
    return nodes


def of_type(nodes: Mapping[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [node for node in nodes.values() if kind in aslist(node["@type"])]


def aslist(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def ids(value: Any) -> list[str]:
    return [item["@id"] for item in aslist(value)]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


# ---------------------------------------------------------------------------------------------- conformance


@pytest.mark.parametrize(
    "name", [name if name == "rich" else pytest.param(name, marks=pytest.mark.slow) for name in (*EVERY, "thin")]
)
def test_the_graph_conforms_to_provenance_run_crate_at_recommended(name: str, tmp_path: Path) -> None:
    description = {**EVERY, "thin": THIN}[name]
    if not VALIDATOR.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"{VALIDATOR} is missing, and CI must have it")
        pytest.skip(f"needs {VALIDATOR}, which is not part of the repository")
    (tmp_path / "ro-crate-metadata.json").write_bytes(graph(description))
    held = (file for file in description.inputs if file.embedded)
    for file in (*held, *description.outputs, *description.files):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_bytes(b"x")
    # its libraries warn about each other, and the suite takes warnings for errors: in a process of its own
    command = [sys.executable, VALIDATOR, tmp_path, "provenance-run-crate-0.5", "RECOMMENDED"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_descriptor_and_root_come_first_and_the_rest_is_sorted(description: Description) -> None:
    first, second, *rest = (node["@id"] for node in json.loads(graph(description))["@graph"])
    assert (first, second, rest) == ("ro-crate-metadata.json", "./", sorted(rest))


def test_every_reference_leads_to_an_entity(description: Description) -> None:
    nodes = entities(description)
    assert set(references(list(nodes.values()))) - set(nodes) == {"https://w3id.org/ro/crate/1.1"}


def test_the_verifier_in_the_bundle_takes_the_graph(description: Description) -> None:
    files = {file.path: file for file in (*description.inputs, *description.outputs, *description.files)}
    sizes = {path: file.size for path, file in files.items() if file.size is not None}
    digests = {path: file.sha256 for path, file in files.items() if file.sha256 is not None}
    names = ["ro-crate-metadata.json", *files]
    assert list(crate_faults(json.loads(graph(description)), names, sizes, digests)) == []


def test_no_array_has_fewer_than_two_items(description: Description) -> None:
    values = [value for node in entities(description).values() for value in node.values() if isinstance(value, list)]
    assert min(map(len, values)) >= 2


def test_every_file_of_the_bundle_is_a_part_with_its_size_digest_and_format(description: Description) -> None:
    nodes = entities(description)
    parts = {unquote(identifier): nodes[identifier] for identifier in ids(nodes["./"]["hasPart"])}
    described = (*description.inputs, *description.outputs, *description.files)
    expected = {file.path: file for file in described if file.path != "ro-crate-preview.html"}
    assert set(parts) == set(expected)
    for path, file in expected.items():
        assert "File" in aslist(parts[path]["@type"])
        assert parts[path].get("sha256") == file.sha256
        assert parts[path].get("contentSize") == (None if file.size is None else str(file.size))
        if file.media_type != "application/octet-stream":
            media_type, page = parts[path]["encodingFormat"]
            assert media_type == file.media_type
            assert "WebSite" in nodes[page["@id"]]["@type"]


def test_terms_of_our_own_are_described(description: Description) -> None:
    document = json.loads(graph(description))
    own = {address for address in document["@context"][2].values() if "/terms/fasthep#" in address}
    assert own <= {node["@id"] for node in document["@graph"] if node["@type"] == "rdf:Property"}


# ---------------------------------------------------------------------------------------------- determinism


def test_the_same_description_gives_the_same_bytes() -> None:
    assert graph(RICH) == graph(dataclasses.replace(RICH))


def test_the_order_of_packages_and_variables_does_not_matter() -> None:
    turned = dataclasses.replace(
        RICH, packages=RICH.packages[::-1], variables=dict(reversed(list(RICH.variables.items())))
    )
    assert graph(turned) == graph(RICH)


def test_no_time_but_those_of_the_description_is_in_the_graph() -> None:
    days = set(re.findall(r"\d{4}-\d{2}-\d{2}T?", graph(RICH).decode()))
    assert days == {"2026-11-22", "2026-11-22T"}


def test_times_are_in_utc_to_the_millisecond() -> None:
    later = NOON.astimezone(timezone(timedelta(hours=5)))
    assert graph(dataclasses.replace(MINIMAL, started=later)) == graph(MINIMAL)


def test_actions_of_another_run_have_other_ids() -> None:
    later = dataclasses.replace(MINIMAL, started=NOON + timedelta(hours=1))
    actions = [{node["@id"] for node in of_type(entities(each), "CreateAction")} for each in (MINIMAL, later)]
    assert not actions[0] & actions[1]


def test_the_graph_grows_with_stages_and_outputs_only() -> None:
    paths = [f"data/outputs/{number}.json" for number in range(100)]
    steps = tuple(
        Step(
            id=f"s{n}",
            op="hep.hist",
            needs=(f"s{n - 1}",) if n else (),
            parameters={"a": "1", "b": "[]"},
            outputs=(path,),
        )
        for n, path in enumerate(paths)
    )
    outputs = tuple(product(path, f"s{number}") for number, path in enumerate(paths))
    large = dataclasses.replace(RICH, steps=steps, outputs=outputs)
    fewer = dataclasses.replace(RICH, steps=steps[:50], outputs=outputs[:50])
    sizes = [len(json.loads(graph(description))["@graph"]) for description in (fewer, large)]
    assert sizes[1] - sizes[0] < 50 * 20


# ---------------------------------------------------------------------------------------------- the account of the run


def test_each_stage_that_ran_has_one_action_and_the_run_has_one() -> None:
    nodes = entities(RICH)
    assert sorted(node["name"] for node in of_type(nodes, "CreateAction")) == [
        "Run of dimuon",
        "Run of stage Cuts",
        "Run of stage Mass",
        "Run of stage Muons",
    ]


def test_a_skipped_stage_is_a_step_without_a_run() -> None:
    nodes = entities(RICH)
    (never,) = (node for node in of_type(nodes, "HowToStep") if node["name"] == "Never")
    assert never["workExample"]["@id"] not in ids(nodes[RICH.main_document]["hasPart"])


def test_steps_are_numbered_in_an_order_in_which_needs_come_first() -> None:
    positions = {node["name"]: int(node["position"]) for node in of_type(entities(RICH), "HowToStep")}
    assert positions == {"Muons": 0, "Cuts": 1, "Mass": 2, "Never": 3}


def test_the_engines_run_leads_to_the_workflows_run_through_every_step() -> None:
    nodes = entities(RICH)
    (engine,) = of_type(nodes, "OrganizeAction")
    assert nodes[engine["result"]["@id"]]["instrument"] == {"@id": RICH.main_document}
    run = [nodes[nodes[control]["object"]["@id"]]["name"] for control in ids(engine["object"])]
    assert run == ["Run of stage Muons", "Run of stage Cuts", "Run of stage Mass"]


def test_a_stage_has_its_own_times_where_they_are_known_and_the_runs_otherwise() -> None:
    ends = {node["name"]: node["endTime"] for node in of_type(entities(RICH), "CreateAction")}
    assert ends["Run of stage Mass"] == "2026-11-22T12:00:03.123+00:00"
    assert ends["Run of stage Cuts"] == ends["Run of dimuon"] == "2026-11-22T12:00:09.123+00:00"


def test_the_results_of_the_run_are_the_outputs() -> None:
    (run,) = (node for node in of_type(entities(RICH), "CreateAction") if node["name"] == "Run of dimuon")
    assert ids(run["result"]) == [file.path for file in RICH.outputs]


def test_the_results_of_a_run_that_keeps_nothing_are_the_events_that_nobody_read() -> None:
    steps = (Step(id="a", op="hep.define", parameters={}), Step(id="b", op="hep.define", needs=("a",), parameters={}))
    nodes = entities(dataclasses.replace(MINIMAL, steps=steps, outputs=()))
    (run,) = (node for node in of_type(nodes, "CreateAction") if node["name"] == "Run of dimuon")
    assert run["result"] == {"@id": "#step/b/events"}


def test_events_flow_along_needs_and_files_flow_into_what_needs_nothing() -> None:
    flows = {node["description"] for node in of_type(entities(RICH), "ParameterConnection")}
    assert flows == {
        "#input/data -> #step/Muons/in",
        "#input/all -> #step/Muons/in",
        "#input/data -> #step/Cuts/in",  # its needs name the stream of the source
        "#input/all -> #step/Cuts/in",
        "#step/Muons/out -> #step/Cuts/in/Muons",
        "#step/Muons/out -> #step/Mass/in/Muons",
        "#step/Cuts/out -> #step/Mass/in/Cuts",
        "#step/Cuts/out -> #step/Never/in/Cuts",
        "#step/Mass/out/data/outputs/Mass.json -> #output/data/outputs/Mass.json",
        "#step/Cuts/out/data/outputs/Cuts.json -> #output/data/outputs/Cuts.json",
        "#step/Cuts/out/data/outputs/Cuts.csv -> #output/data/outputs/Cuts.csv",
    }


def test_a_run_without_inputs_has_no_parameter_for_them() -> None:
    formal = of_type(entities(dataclasses.replace(MINIMAL, inputs=())), "FormalParameter")
    assert {node["name"] for node in formal} == {"Mass.json"}


def test_a_failed_stage_fails_the_run() -> None:
    steps = (dataclasses.replace(MINIMAL.steps[0], status="failed"),)
    nodes = entities(dataclasses.replace(MINIMAL, steps=steps))
    actions = [node for node in nodes.values() if "actionStatus" in node]
    assert {node["actionStatus"] for node in actions} == {"http://schema.org/FailedActionStatus"}
    assert len(actions) == 4


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("bins", "Integer", "50"),
        ("low", "Float", "60.5"),
        ("flow", "Boolean", "true"),
        ("label", "Text", ""),
    ],
)
def test_parameters_have_the_type_of_their_value(name: str, kind: str, value: str) -> None:
    nodes = entities(RICH)
    formal = nodes[f"#step/Mass/option/{name}"]
    assert (formal["additionalType"], nodes[formal["workExample"]["@id"]]["value"]) == (kind, value)


def test_a_parameter_that_is_no_scalar_is_shown_as_json() -> None:
    nodes = entities(RICH)
    assert nodes["#step/Cuts/option/selection/value"]["value"] == '{"All":["n >= 2"]}'
    assert nodes["#step/Cuts/option/selection"]["additionalType"] == "PropertyValue"


def test_what_was_measured_is_recorded_and_what_was_not_is_left_out() -> None:
    nodes = entities(RICH)
    usage = {
        node["name"]: {nodes[item]["name"]: nodes[item]["value"] for item in ids(node.get("resourceUsage", []))}
        for node in of_type(nodes, "CreateAction")
    }
    assert usage == {
        "Run of dimuon": {"wallTime": "9.0"},
        "Run of stage Mass": {"wallTime": "3.0", "cpuTime": "2.5", "peakMemory": "12345678"},
        "Run of stage Cuts": {},
        "Run of stage Muons": {},
    }


def test_variables_are_parameters_of_the_workflow_and_values_of_every_action() -> None:
    nodes = entities(RICH)
    values = ["#variable/MKL_CBWR/value", "#variable/OMP_NUM_THREADS/value"]
    assert all(ids(node["environment"]) == values for node in of_type(nodes, "CreateAction"))
    assert [nodes[value]["value"] for value in values] == ["", "1"]
    assert ids(nodes[RICH.main_document]["environment"]) == ["#variable/MKL_CBWR", "#variable/OMP_NUM_THREADS"]


# ---------------------------------------------------------------------------------------------- things


def test_outputs_carry_both_digests() -> None:
    nodes = entities(RICH)
    assert {path: nodes[path]["contentDigest"] for path in (file.path for file in RICH.outputs)} == {
        file.path: file.content_digest for file in RICH.outputs
    }


def test_software_goes_by_package_urls_and_the_engine_does_not_require_itself() -> None:
    nodes = entities(RICH)
    assert ids(nodes["pkg:pypi/fasthep-archive@0.1.0"]["softwareRequirements"]) == [
        "pkg:generic/python@3.11.9",
        "pkg:pypi/local-package@1.0%2Bcu12",
        "pkg:pypi/numpy@2.3.5",
    ]


def test_the_run_names_its_machine_and_the_machine_its_facts() -> None:
    nodes = entities(RICH)
    (run,) = (node for node in nodes.values() if "executedOn" in node)
    machine = nodes[run["executedOn"]["@id"]]
    assert machine["subjectOf"] == {"@id": "data/environment/hardware.json"}
    facts = {nodes[item]["name"]: nodes[item] for item in ids(machine["additionalProperty"])}
    assert facts["memoryTotal"]["unitCode"] == "https://qudt.org/vocab/unit/BYTE"
    assert facts["cpuModel"]["value"] == "AMD EPYC 9654"


def test_the_lock_builds_the_workflow_and_every_step() -> None:
    nodes = entities(RICH)
    built = [nodes[RICH.main_document], *of_type(nodes, "HowToStep")]
    assert {node["buildInstructions"]["@id"] for node in built} == {"data/environment/pylock.toml"}


def test_the_workflow_requires_the_code_that_its_fields_and_functions_call() -> None:
    assert "data/code/analysis.py" in ids(entities(RICH)[RICH.main_document]["softwareRequirements"])


def test_authors_are_people_by_orcid_and_groups_are_organisations() -> None:
    nodes = entities(RICH)
    authors = [nodes[author] for author in ids(nodes["./"]["author"])]
    assert [(author["@id"], author["@type"]) for author in authors] == [
        ("https://orcid.org/0000-0002-1825-0097", "Person"),
        ("https://orcid.org/0000-0001-5109-3700", "Person"),
        ("#author/3", "Person"),
        ("#author/4", "Person"),
        ("#author/5", "Organization"),
    ]


def test_authors_of_one_institute_share_it() -> None:
    nodes = entities(RICH)
    affiliations = [nodes[author]["affiliation"]["@id"] for author in ids(nodes["./"]["author"])[:3]]
    assert affiliations == ["https://ror.org/01ggx4157"] * 2 + ["#organization/Institute%20of%20Nowhere"]


def test_an_author_who_is_not_declared_is_said_to_be_not_stated() -> None:
    nodes = entities(MINIMAL)
    author = nodes[nodes["./"]["author"]["@id"]]
    assert (author["name"], author["@type"]) == ("Author not stated", "Organization")


def test_an_address_is_there_only_where_it_was_declared() -> None:
    assert b"@example.org" not in graph(MINIMAL)
    (contact,) = of_type(entities(RICH), "ContactPoint")
    assert (contact["email"], contact["name"]) == ("jo@example.org", "Carberry, Josephine")


@pytest.mark.parametrize(
    ("relation", "name"),
    [
        ("isSupplementTo", "citation"),
        ("cites", "citation"),
        ("isDerivedFrom", "isBasedOn"),
        ("IsIdenticalTo", "sameAs"),
        ("isPartOf", "isPartOf"),
        ("isDocumentedBy", "subjectOf"),
        ("anything else", "citation"),
    ],
)
def test_a_related_work_hangs_on_the_nearest_property(relation: str, name: str) -> None:
    work = Related(identifier="10.1000/182", relation=relation)
    nodes = entities(dataclasses.replace(MINIMAL, related=(work,)))
    assert nodes["./"][name] == {"@id": "https://doi.org/10.1000/182"}


def test_an_input_that_is_not_in_the_bundle_goes_by_its_address() -> None:
    node = entities(THIN)["https://example.org/a.root"]
    assert (node["contentUrl"], node["alternateName"]) == (list(THIN.inputs[0].urls), "data/inputs/a.root")


def test_an_input_that_has_no_address_goes_by_its_digest() -> None:
    away = THIN.inputs[2]
    assert entities(THIN)[identifiers.named(away.sha256)]["alternateName"] == away.path


def test_addresses_that_differ_in_a_final_slash_are_one_entity() -> None:
    works = tuple(Related(identifier=f"https://example.org{end}", relation="cites") for end in ("", "/"))
    nodes = entities(dataclasses.replace(MINIMAL, related=works))
    assert nodes["./"]["citation"] == {"@id": "https://example.org"}


def test_a_workflow_without_a_version_goes_by_its_digest() -> None:
    nodes = entities(MINIMAL)
    assert nodes[MINIMAL.main_document]["version"] == f"sha256-{MINIMAL.files[0].sha256:.12}"
    assert "version" not in nodes["./"]


def test_a_licence_of_ones_own_has_no_address() -> None:
    nodes = entities(STRANGE)
    own = nodes[nodes["./"]["license"]["@id"]]
    assert (own["@id"], own["identifier"], own.get("url")) == ("#licence/LicenseRef-own", "LicenseRef-own", None)


# ---------------------------------------------------------------------------------------------- identifiers


@given(st.text())
def test_a_segment_gives_its_text_back_and_holds_nothing_reserved(text: str) -> None:
    encoded = identifiers.segment(text)
    assert unquote(encoded) == text
    assert not re.search(r"""[\s<>"{}|\\^`#?/:@\[\]&=+$,;!*'()]""", encoded)


@given(text=st.text(min_size=1), other=st.text(min_size=1))
def test_any_names_make_a_graph_whose_references_hold(text: str, other: str) -> None:
    steps = (
        Step(id=text, op=other, parameters={other: json.dumps(text)}),
        Step(id=f"{text}x", op=text, needs=(text, other), parameters={text: "1"}, outputs=("data/outputs/Mass.json",)),
    )
    strange = dataclasses.replace(
        MINIMAL,
        title=text,
        steps=steps,
        authors=(Author(name=text, affiliation=other), Author(name=other)),
        related=(Related(identifier=other, relation=text),),
        license=other,
        variables={text: other},
        inputs=(data("data/inputs/x.root", datasets=(text, other)),),
    )
    nodes = entities(strange)
    assert set(references(list(nodes.values()))) - set(nodes) == {"https://w3id.org/ro/crate/1.1"}
    files = (*strange.inputs, *strange.outputs, *strange.files)
    assert not list(
        crate_faults(json.loads(graph(strange)), ["ro-crate-metadata.json", *(f.path for f in files)], {}, {})
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.17182/hepdata.1234.v1/t1", "https://doi.org/10.17182/hepdata.1234.v1/t1"),
        ("https://dx.doi.org/10.1000/182", "https://doi.org/10.1000/182"),
        ("10.1000/a<b>c", "https://doi.org/10.1000/a%3Cb%3Ec"),
        ("arxiv:hep-ex/9901001", "https://arxiv.org/abs/hep-ex/9901001"),
        ("https://example.org/a b?q=%20#f", "https://example.org/a%20b?q=%20#f"),
        ("javascript:alert(1)", None),
        ("file:///etc/passwd", None),
        ("swh:1:rev:0", None),
    ],
)
def test_works_are_found_by_doi_arxiv_number_or_web_address(text: str, address: str | None) -> None:
    assert identifiers.work(text) == address


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Carberry", None),
        ("CMS Collaboration", None),
        ("Carberry,", None),
        ("van der Berg, Maria", names.Name("van der Berg", "Maria")),
        ("ludwig van beethoven", names.Name("van beethoven", "ludwig")),
        ("J. R. R. Tolkien", names.Name("Tolkien", "J. R. R.")),
    ],
)
def test_names_of_people_have_a_family_and_a_given_part(text: str, name: names.Name | None) -> None:
    assert names.person(text) == name


def test_every_suffix_has_a_format_with_a_page() -> None:
    assert {media.media_type(f"a{suffix}") for suffix in media._BY_SUFFIX} <= set(media.FORMATS)


def test_the_digest_of_a_name_is_that_of_rfc_6920() -> None:
    # the example of RFC 6920, section 8.1: "Hello World!"
    assert identifiers.named(of_bytes(b"Hello World!")) == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
