"""Two bundles side by side: each kind of difference is found, alone, and said; the same ones are silent."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive import digest
from fasthep_archive.bundle import layout
from fasthep_archive.bundle.reader import open_bundle
from fasthep_archive.environment.snapshot import Snapshot, take
from fasthep_archive.environment.variables import Variables
from fasthep_archive.report.diff import diff
from fasthep_archive.report.terminal import Screen
from fasthep_archive.verification.diff import Side, compare_bundles
from fasthep_archive.verification.documents import Change, compare_documents
from fasthep_archive.verification.outputs import Output, kind_named
from fasthep_archive.workflow.model import Policy

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "diff-1.json").read_text())
GOLDEN = Path(__file__).parent / "golden" / "dimuon-1.crate.zip"

DOCUMENT = {
    "version": "1.1",
    "workflow": {"name": "dimuon", "version": "1.0"},
    "data": {"datasets": [{"name": "data", "files": ["a.root", "b.root"]}, {"name": "dy", "files": ["dy.root"]}]},
    "analysis": {
        "globals": {"MIN_PT": 10.0},
        "stages": [
            {"id": "Muons", "op": "hep.define", "params": {"variables": [{"name": "Pt", "expr": "x"}]}},
            {
                "id": "Mass",
                "op": "hep.hist",
                "params": {
                    "axes": [{"name": "mass", "bins": {"nbins": 60, "low": 60.0}}, {"name": "pt", "edges": [1, 2, 5]}]
                },
            },
        ],
    },
}


def edited(edit):
    document = json.loads(json.dumps(DOCUMENT))
    edit(document)
    return document


def stages(document):
    return document["analysis"]["stages"]


# --- documents -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        (
            lambda d: stages(d)[1]["params"]["axes"][0]["bins"].update(nbins=30),
            Change(what="stage Mass, params.axes[mass].bins.nbins", kind="changed", a=60, b=30),
        ),
        (
            lambda d: stages(d)[1].update(op="my.hist"),
            Change(what="stage Mass, op", kind="changed", a="hep.hist", b="my.hist"),
        ),
        (lambda d: stages(d).pop(0), Change(what="stage Muons", kind="removed", a=stages(DOCUMENT)[0])),
        (
            lambda d: stages(d).insert(0, {"id": "New", "op": "hep.define"}),
            Change(what="stage New", kind="added", b={"id": "New", "op": "hep.define"}),
        ),
        (
            lambda d: stages(d)[0]["params"]["variables"].insert(0, {"name": "Px", "expr": "y"}),
            Change(what="stage Muons, params.variables[Px]", kind="added", b={"name": "Px", "expr": "y"}),
        ),
        (
            lambda d: stages(d).reverse(),
            Change(what="the order of stages", kind="changed", a=["Muons", "Mass"], b=["Mass", "Muons"]),
        ),
        (
            lambda d: stages(d)[1]["params"]["axes"][1]["edges"].insert(1, 1.5),
            Change(what="stage Mass, params.axes[pt].edges[1]", kind="added", b=1.5),
        ),
        (
            lambda d: stages(d)[1]["params"]["axes"][1]["edges"].pop(0),
            Change(what="stage Mass, params.axes[pt].edges[0]", kind="removed", a=1),
        ),
        (
            lambda d: stages(d)[1]["params"]["axes"][1].update(edges=[1, 2.0, 5]),
            Change(what="stage Mass, params.axes[pt].edges[1]", kind="changed", a=2, b=2.0),
        ),
        (
            lambda d: d["workflow"].update(version="1.1"),
            Change(what="workflow.version", kind="changed", a="1.0", b="1.1"),
        ),
        (
            lambda d: d["analysis"]["globals"].update(MIN_PT=12.5),
            Change(what="analysis.globals.MIN_PT", kind="changed", a=10.0, b=12.5),
        ),
        (
            lambda d: d["data"]["datasets"][0]["files"].append("c.root"),
            Change(what="data.datasets[data].files[2]", kind="added", b="c.root"),
        ),
        (lambda d: d.update(fields=None), Change(what="fields", kind="added", b=None)),
    ],
)
def test_one_change_of_a_document_is_one_difference_with_its_place(edit, change):
    (found,) = compare_documents(DOCUMENT, edited(edit))
    assert found == change
    assert (type(found.a), type(found.b)) == (type(change.a), type(change.b))


leaves = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | st.sampled_from(["a", "b", "1"])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees, trees)
def test_documents_differ_exactly_if_their_digests_do(a, b):
    assert bool(compare_documents(a, b)) == (digest.of_json(a) != digest.of_json(b))


@given(trees)
def test_a_document_does_not_differ_from_itself(tree):
    assert compare_documents(tree, json.loads(json.dumps(tree))) == ()


@given(trees, trees)
def test_turned_round_what_was_added_was_removed(a, b):
    there, back = (compare_documents(*pair) for pair in ((a, b), (b, a)))
    kinds = [sorted(change.kind for change in found if change.kind != "changed") for found in (there, back)]
    turned = {"added": "removed", "removed": "added"}
    assert len(there) == len(back)
    assert kinds[0] == sorted(turned[kind] for kind in kinds[1])


# --- bundles -------------------------------------------------------------------------------------------------------


def output(name, content, *, kind="value", at_hand=True):
    return Output(
        name=name,
        kind=kind,
        sha256=digest.of_bytes(content),
        content=digest.of_bytes(b"content of " + content),
        read=(lambda: content) if at_hand else None,
    )


@pytest.fixture(scope="module")
def side():
    return Side(
        name="old.crate.zip",
        title="Dimuon",
        identity=digest.of_bytes(b"a"),
        engine={"numeric profile": "exact-1", "language": "1.1"},
        document=DOCUMENT,
        code={"plots.py": digest.of_bytes(b"code")},
        inputs={"a.root": digest.of_bytes(b"events"), "dy.root": digest.of_bytes(b"more")},
        outputs=(output("v.json", b"[1.0]"), output("mass.png", b"pixels", kind="picture")),
        environment=take({}, roots=("hist",)),
        hashes={"numpy": ("sha256:" + "a" * 64,)},
    )


def other(side, **changes):
    return replace(side, name="new.crate.zip", identity=digest.of_bytes(b"b"), **changes)


SECTIONS = ("workflow", "code", "inputs", "engine", "outputs", "environment")


def valid(found):
    content = json.loads(digest.canonical(found.to_json()))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    return content


def only(found, section):
    """The content of the one section that is not silent."""
    content = valid(found)
    loud = {name for name in SECTIONS if [x for x in content[name] if x.get("level") != "identical"]}
    assert loud == {section}
    return content[section]


def test_a_bundle_is_the_same_as_itself(side):
    found = compare_bundles(side, side)
    assert (found.same, found.exit_status, found.sentence) == (True, 0, "the same identity")
    assert valid(found)["same"]


def test_another_parameter_is_a_change_of_the_workflow(side):
    document = edited(lambda d: stages(d)[1]["params"]["axes"][0]["bins"].update(nbins=30))
    found = compare_bundles(side, other(side, document=document))
    assert (found.same, found.exit_status, found.sentence) == (False, 1, "not the same: 1 change of the workflow")
    assert only(found, "workflow") == [
        {"what": "stage Mass, params.axes[mass].bins.nbins", "kind": "changed", "a": 60, "b": 30}
    ]


def test_what_was_asked_for_is_told(side):
    (change,) = compare_bundles(side, other(side, asked="--with Blind")).workflow
    assert change == Change(what="asked for", kind="added", b="--with Blind")


def test_files_are_changed_renamed_added_and_removed(side):
    new = {name: digest.of_bytes(name.encode()) for name in ("dy.root", "z.root")}
    found = compare_bundles(side, other(side, inputs={**new, "b.root": side.inputs["a.root"]}))
    assert [(item["what"], item["kind"], item["b"]) for item in only(found, "inputs")] == [
        ("a.root", "renamed", "b.root"),
        ("dy.root", "changed", new["dy.root"]),
        ("z.root", "added", new["z.root"]),
    ]
    assert [item["kind"] for item in only(compare_bundles(side, other(side, code={})), "code")] == ["removed"]


def test_the_engine_differs_by_name(side):
    found = compare_bundles(side, other(side, engine={"numeric profile": "exact-2", "schema bundle": "1"}))
    assert [(item["what"], item["kind"]) for item in only(found, "engine")] == [
        ("numeric profile", "changed"),
        ("language", "removed"),
        ("schema bundle", "added"),
    ]


def test_numbers_that_differ_are_said_of_a_and_b(side):
    changed = (output("v.json", b"[1.5]"), side.outputs[1])
    (found,) = [
        x for x in only(compare_bundles(side, other(side, outputs=changed)), "outputs") if x["output"] == "v.json"
    ]
    assert (found["level"], found["details"]["different"]) == ("different", 1)
    assert found["details"]["first"] == [{"where": "$[0]", "a": "1.0", "b": "1.5"}]
    assert found["because"].endswith("first $[0]: 1.0 in A, 1.5 in B")


def test_no_word_of_a_replay_is_said_of_two_bundles(side):
    outputs = (output("v.json", b"{}"), output("new.json", b"1"))
    found = compare_bundles(side, other(side, outputs=outputs))
    text = json.dumps(valid(found)["outputs"]) + diff(found, Screen())
    assert not re.search("recorded|replayed|missing|unexpected", text)


def test_outputs_of_one_side_alone_are_named(side):
    found = compare_bundles(side, other(side, outputs=(side.outputs[0], output("w.json", b"1"))))
    assert {item["output"]: item["level"] for item in valid(found)["outputs"]} == {
        "v.json": "identical",
        "mass.png": "only in a",
        "w.json": "only in b",
    }


def test_a_tolerance_is_that_of_the_first(side):
    loose = replace(side, policies=(Policy(outputs="v.json", level="tolerance", rtol=0.6),))
    changed = other(side, outputs=(output("v.json", b"[1.5]"), side.outputs[1]))
    assert valid(compare_bundles(loose, changed))["outputs"][0]["level"] == "tolerance"
    assert valid(compare_bundles(changed, loose))["outputs"][0]["level"] == "different"


def test_without_bytes_the_digests_decide(side):
    thin = (output("v.json", b"[1.5]", at_hand=False), side.outputs[1])
    found = valid(compare_bundles(side, other(side, outputs=thin)))["outputs"][0]
    assert found["because"] == "the digests differ, and what is in B is not at hand to say where"


def test_packages_and_their_builds_are_the_environment(side):
    packages = tuple(
        replace(item, version="0.1") if item.name == "hist" else item for item in side.environment.packages
    )
    environment = replace(side.environment, packages=packages)
    found = only(
        compare_bundles(side, other(side, environment=environment, hashes={"numpy": ("sha256:" + "b" * 64,)})),
        "environment",
    )
    assert [(item["name"], item["needed_by"]) for item in found] == [("numpy", found[0]["needed_by"]), ("hist", [])]
    assert "boost-histogram" in found[0]["needed_by"]
    assert found[1]["b"] == "0.1"


# --- the same or not -----------------------------------------------------------------------------------------------


def as_runs(*sides):
    return compare_bundles(*(replace(side, identity=None) for side in sides))


def test_one_identity_is_the_same_whatever_the_machine(side):
    machine = replace(side.environment, variables=Variables(values=(("TZ", "UTC"),), dropped=()))
    found = compare_bundles(side, replace(side, environment=machine))
    assert found.same
    assert [item.name for item in found.environment] == ["TZ"]


def test_identities_that_differ_by_nothing_that_is_shown_are_not_hidden(side):
    found = compare_bundles(side, other(side))
    assert not found.same
    assert found.sentence == "not the same: the identities differ, and nothing that is compared here does"


def test_runs_are_the_same_where_nothing_of_an_identity_differs(side):
    machine = replace(side.environment, variables=Variables(values=(("TZ", "UTC"),), dropped=()))
    found = as_runs(
        side, replace(side, environment=machine, outputs=(side.outputs[0], output("mass.png", b"x", kind="picture")))
    )
    assert (found.same, found.sentence) == (True, "the same")
    valid(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"code": {}},
        {"inputs": {}},
        {"document": {}},
        {"engine": {}},
        {"outputs": ()},
        {"hashes": {"numpy": ("sha256:b",)}},
    ],
)
def test_runs_that_differ_in_a_part_are_not_the_same(side, changes):
    assert not as_runs(side, replace(side, **changes)).same


# --- what people read ----------------------------------------------------------------------------------------------

SCREENS = [
    Screen(),
    Screen(terminal=True, width=100),
    Screen(terminal=True, colour=True, width=60),
    Screen(terminal=True, unicode=False),
]


def plain(text):
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split())


@pytest.mark.parametrize("screen", SCREENS)
def test_everything_that_differs_is_said_and_the_verdict_comes_first(side, screen):
    document = edited(lambda d: stages(d)[1]["params"]["axes"][0]["bins"].update(nbins=30))
    packages = tuple(
        replace(item, version="0.1") if item.name == "numpy" else item for item in side.environment.packages
    )
    changed = other(
        side,
        document=document,
        inputs={"a.root": side.inputs["a.root"]},
        outputs=(output("v.json", b"[1.5]"), output("mass.png", b"else", kind="picture")),
        environment=replace(side.environment, packages=packages),
    )
    found = plain(diff(compare_bundles(side, changed), screen))
    assert found.startswith(
        "Not the same: 1 change of the workflow, 1 input, 1 of 2 outputs, 1 difference of the environment A old.crate.zip: Dimuon"
    )
    for fact in ("nbins", "60", "30", "dy.root", "1.0 in A, 1.5 in B", "different (not judged)", "numpy: needed by"):
        assert fact in found
    assert "Code" not in found


@pytest.mark.parametrize("screen", SCREENS)
def test_the_same_is_short(side, screen):
    found = plain(diff(compare_bundles(side, side), screen))
    assert found == (
        f"The same identity A old.crate.zip: Dimuon, identity {side.identity} "
        f"B old.crate.zip: Dimuon, identity {side.identity}"
    )


def test_an_ascii_screen_gets_ascii(side):
    changed = other(
        side,
        document=edited(lambda d: d["workflow"].update(name="x" * 99)),
        inputs={},
        code={"p.py": side.code["plots.py"]},
    )
    assert diff(compare_bundles(side, changed), Screen(terminal=True, unicode=False)).isascii()


def test_what_a_bundle_says_can_not_steer_the_terminal(side):
    hostile = "\x1b[2J"
    changed = other(
        replace(side, title=hostile),
        document={hostile: hostile},
        inputs={hostile: side.inputs["a.root"]},
        engine={hostile: hostile},
    )
    for screen in SCREENS[:2]:
        assert hostile not in diff(compare_bundles(side, changed), screen)


# --- a real bundle -------------------------------------------------------------------------------------------------


def side_of(bundle):
    """A side as the verb fills it from an opened bundle."""
    summary = bundle.summary
    parts = summary.parts
    return Side(
        name=bundle.path.name,
        title=summary.title,
        identity=summary.identity,
        engine={"numeric profile": parts.profile, **{f"schema {name}": value for name, value in parts.schemas.items()}},
        document=bundle.json(layout.RESOLVED),
        code=parts.code,
        inputs=parts.inputs,
        outputs=[
            Output(
                name=item.name,
                kind=kind_named(item.kind),
                stage=item.stage,
                sha256=item.sha256,
                content=item.content,
                read=partial(bundle.read, layout.output(item.name)) if item.included else None,
            )
            for item in summary.outputs
        ],
        policies=[Policy(outputs=item.name, level=item.policy.level) for item in summary.outputs],
        environment=Snapshot.from_json(bundle.json(layout.SNAPSHOT)),
        hashes={package.name: package.hashes for package in parts.environment},
    )


def test_a_bundle_of_the_first_format_is_compared_bin_by_bin():
    with open_bundle(GOLDEN) as bundle:
        golden = side_of(bundle)
        assert compare_bundles(golden, golden).same
        first = next(
            item for item in golden.outputs if item.kind == "histogram" and item.name.endswith("DiMuonMass.json")
        )
        histogram = json.loads(first.read())
        histogram["storage"]["values"][0][7] += 1.0
        changed = output(first.name, json.dumps(histogram).encode(), kind="histogram")
        outputs = [changed if item is first else item for item in golden.outputs]
        found = compare_bundles(golden, replace(golden, outputs=outputs, identity=digest.of_bytes(b"")))
        assert found.sentence == "not the same: 1 of 12 outputs"
        (verdict,) = found.changed_outputs
        assert "1 of 186 bins differs" in verdict.because
        assert " in A, " in verdict.because
        valid(found)
