"""The JSON Schemas of the language, and how their violations are told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fasthep_archive import digest
from fasthep_archive.workflow.document import LANGUAGES, load
from fasthep_archive.workflow.resource import resource
from fasthep_archive.workflow.schema import problems, schema, spelled

WORKFLOWS = Path(__file__).parent / "workflows"
OPEN = {"dataset", "named_dataset", "style"}
"""Mappings that take any key: the others are metadata, or options of the renderer that only the whole style names."""
RELEASED: dict[str, str] = {}
"""Digests (sha256 of the canonical JSON) of the schemas of released versions, which never change again.

Empty until version 1.0.0 of this package is released: the release adds a line for each version of the language."""


def subschemas(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from subschemas(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from subschemas(value, (*path, str(number)))


def minimal(**more: object) -> dict:
    stage = {"id": "N", "op": "hep.hist", "params": {"axes": [{"name": "n", "source": "n", "type": "int"}]}}
    return {"version": "1.0", "analysis": {"stages": [stage]}, **more}


def stage(op: str, params: object, **more: object) -> dict:
    return minimal(analysis={"stages": [{"id": "S", "op": op, "params": params, **more}]})


def told(document: object, language: str = "1.0") -> list[str]:
    return [f"{problem.message} ({problem.hint})" for problem in problems(document, language)]


# --- the schemas themselves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_schema_is_a_json_schema(language: str) -> None:
    Draft202012Validator.check_schema(schema(language))


def test_a_released_schema_stays_as_it_is() -> None:
    assert {version: digest.of_json(schema(version)) for version in RELEASED} == RELEASED
    assert set(RELEASED) <= set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_schema_stands_alone(language: str) -> None:
    for _, node in subschemas(schema(language)):
        reference = node.get("$ref")
        if isinstance(reference, str):
            assert reference.removeprefix("#/$defs/") in schema(language)["$defs"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_schema_refuses_unknown_keys_everywhere(language: str) -> None:
    for path, node in subschemas(schema(language)):
        if "properties" in node and "type" in node and not OPEN & set(path) and path[-2:] != ("$defs", "source"):
            assert node.get("additionalProperties") is not True, path
            assert "additionalProperties" in node, path


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_schema_tells_an_editor_what_each_key_is(language: str) -> None:
    definitions = schema(language)["$defs"]
    for path, node in subschemas(schema(language)):
        if len(path) > 1 and path[-2] == "properties" and "if" not in path and "const" not in node:
            told_by = definitions[node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else {}
            known = {**told_by, **node}
            named = "title" in known or "description" in known or "x-fault" in known or path[-3] in ("then", "else")
            assert named, path


def test_every_document_of_1_0_is_one_of_1_1() -> None:
    old, new = schema("1.0"), schema("1.1")
    assert set(old["properties"]) <= set(new["properties"])
    for name, definition in old["$defs"].items():
        successor = new["$defs"][name]
        assert set(definition.get("properties", {})) <= set(successor.get("properties", {}))
        assert set(successor.get("required", [])) <= set(definition.get("required", []))
    for path in sorted(WORKFLOWS.glob("good_*.yaml")):
        document = load(path)
        if document.language == "1.0":
            assert not problems({**document.data, "version": "1.1"}, "1.1")


@pytest.mark.parametrize(
    "name",
    [
        "good_tutorial.yaml",
        "good_everything.yaml",
        "good_graph.yaml",
        "good_yaml.yaml",
        "good_language.yaml",
        "good_workflows.yaml",
    ],
)
def test_the_schema_says_the_same_to_other_tools(name: str) -> None:
    document = load(WORKFLOWS / name)
    path = resource("schemas", f"workflow-{document.language}.json")
    assert Draft202012Validator(json.loads(path.read_text())).is_valid(document.data)


def test_a_list_of_groups_belongs_to_1_1() -> None:
    document = stage("hep.selection.cutflow", {"selection": [{"name": "a", "cuts": ["x"]}]})
    assert told(document, "1.0")
    assert not told({**document, "version": "1.1"}, "1.1")


# --- messages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (minimal(dta={}), "unknown key 'dta' in the document (did you mean 'data'?)"),
        (minimal(zzz={}), "unknown key 'zzz' in the document (known are analysis, archive, data, datasets, "),
        (minimal(use=[]), "use must be a mapping, not a list (write use: "),
        (minimal(primary_stream=1), 'primary_stream must be text, not 1 (quote it: "1")'),
        (minimal(primary_stream=True), 'primary_stream must be text, not true (quote it: "true")'),
        (minimal(analysis=None), "analysis must be a mapping, but it is empty (write analysis: {stages: [...]})"),
        (minimal(sources={}), "sources is empty (None)"),
        (minimal(sources={"a b": {"tree": "t"}}), "key 'a b' in sources must be a name that a file can have ("),
        (minimal(sources={"a": {"tree": ""}}), "sources.a.tree must be text, but it is empty (None)"),
        (minimal(sources={"a": {"tree": "t", "start": -1}}), "sources.a.start must be at least 0, not -1 (None)"),
        (minimal(fields={"2x": {"stream": "a", "branch": "b"}}), "key '2x' in fields must be a name that formulas can use ("),
        (minimal(version="1.1"), "version must be 1.0, not '1.1' (did you mean '1.0'?)"),
        (stage("hep.define", {"variables": [{"name": "x"}]}), "missing key 'expr' in analysis.stages[0].params.variables[0] (say what"),
        (stage("hep.define", {"variables": ["x"]}), "analysis.stages[0].params.variables[0] must be a mapping, not 'x' (write {name"),
        (stage("hep.hist", {"axes": [], "dataset_axis": "off"}), "dataset_axis must be true or false or a mapping, not 'off' (write true"),
        (stage("hep.hist", {"axes": []}, needs=["a", "b", "a"]), "'a' is in analysis.stages[0].needs twice (None)"),
        (stage("hep.hist", {"axes": [{"name": "x", "source": "x", "type": "variable", "bins": [1]}]}), "bins needs at least 2 entries (write bins"),
        (stage("hep.histt", {}), "unknown operation 'hep.histt' (did you mean 'hep.hist'?)"),
        (stage(3, {}), "analysis.stages[0].op must be cms.match_l1t_jets, hep.align_schema, "),
        (stage("hep.selection.cutflow", {"selection": {"a": {"parents": []}}}), "missing key 'cuts' in analysis.stages[0].params.selection.a"),
        (stage("hep.selection.cutflow", {"selection": {"a": [{"expr": "x", "lable": "y"}]}}), "unknown key 'lable' in analysis.stages[0].params.selection.a[0] (did"),
    ],
)  # fmt: skip
def test_a_violation_is_told_in_words(document: dict, message: str) -> None:
    (found,) = told(document)
    assert message in found


def test_a_misspelt_key_is_one_fault() -> None:
    assert len(told(stage("hep.define", {"variables": [{"nme": "x", "exprr": "y"}]}))) == 2


def test_a_missing_key_beside_an_unrelated_unknown_one_is_told() -> None:
    assert len(told(stage("hep.define", {"variables": [{"name": "x", "colour": "red"}]}))) == 2


def test_a_key_of_1_1_is_refused_by_name_in_1_0() -> None:
    (problem,) = problems(minimal(workflows={}), "1.0")
    assert problem.key
    assert (problem.message, problem.hint) == ("'workflows' belongs to language version 1.1", "write version: 1.1")


@pytest.mark.parametrize("op", ["curator.compare_schemas", "hep.report.template", "workshop.other"])
def test_an_operation_of_a_later_version_is_refused_by_name_whatever_its_params(op: str) -> None:
    (problem,) = problems(stage(op, {"anything": 1}), "1.0")
    assert problem.later
    assert problem.message.startswith(f"operation {op!r} is part of the workflow language")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "the document"),
        (("a",), "a"),
        (("a", 0, "b"), "a[0].b"),
        (("a", "b c", 1), "a['b c'][1]"),
        (("0a",), "['0a']"),
    ],
)
def test_a_path_is_spelled(path: tuple, text: str) -> None:
    assert spelled(path) == text


properties = sorted(
    {
        key
        for path, node in subschemas(schema("1.1"))
        for key in node.get("properties", {})
        if "properties" not in path[-1:]
    }
)
keys = st.sampled_from([*properties, "x y", ""])
values = st.sampled_from(
    ["hep.define", "hep.hist", "hep.selection.cutflow", "root_tree", "any", "", "a.root", "1.0", "yes"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False, allow_infinity=False) | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=150)
@given(anything, st.sampled_from(LANGUAGES))
def test_every_violation_of_any_document_is_told_at_a_place_in_it(document: object, language: str) -> None:
    found = problems(document, language)
    assert bool(found) == (not Draft202012Validator(schema(language)).is_valid(document))
    for problem in found:
        value = document
        for step in problem.path:
            value = value[step]
        assert "something else" not in problem.message
        assert "given schemas" not in problem.message
        assert "\n" not in problem.message
