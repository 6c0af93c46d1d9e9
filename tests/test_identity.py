"""``bundle.json``: which bundle it is."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hostile import make
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.bundle import identity
from fasthep_archive.bundle.claims import summary_faults
from fasthep_archive.bundle.identity import Package, Parts, bundle_json, read_bundle_json
from fasthep_archive.digest import Digest, of_bytes
from fasthep_archive.errors import BundleError

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "bundle-1.json").read_text())


@pytest.fixture(scope="module")
def summary() -> identity.Summary:
    """Return what the ``bundle.json`` of the sound bundle says."""
    return make.summary(make.payload())


def value_of(summary: identity.Summary) -> dict[str, Any]:
    return json.loads(bundle_json(summary))


# --- the identity ---------------------------------------------------------------------------------------------------


def test_the_identity_is_the_digest_of_a_text_that_anyone_can_write() -> None:
    parts = Parts(
        workflow=Digest("aa"),
        code={"b.py": Digest("bb"), "a.py": Digest("cc")},
        inputs={"µ.root": Digest("dd")},
        outputs={},
        environment=(Package(name="numpy", version="2.4.6", hashes=("sha256:2", "sha256:1")),),
        schemas={"workflow": "1.0"},
        profile="exact-1",
    )
    text = (
        '{"code":{"a.py":"cc","b.py":"bb"},'
        '"environment":[{"hashes":["sha256:1","sha256:2"],"name":"numpy","version":"2.4.6"}],'
        '"inputs":{"µ.root":"dd"},"outputs":{},"profile":"exact-1","schemas":{"workflow":"1.0"},"workflow":"aa"}'
    )
    assert identity.identity(parts) == of_bytes(text.encode())


def test_times_titles_and_what_is_included_are_not_in_the_identity(summary: identity.Summary) -> None:
    inputs = tuple(replace(item, included=False, urls=("https://cern.ch/x",)) for item in summary.inputs)
    other = replace(summary, title="x", created=summary.created + timedelta(1), version="9", inputs=inputs)
    assert other.identity == summary.identity


def test_order_of_packages_and_files_is_not_in_the_identity(summary: identity.Summary) -> None:
    packages = (Package(name="b", version="1"), Package(name="a", version="1"))
    one = replace(summary.parts, environment=packages)
    other = replace(
        summary.parts, environment=packages[::-1], inputs=dict(reversed(list(summary.parts.inputs.items())))
    )
    assert identity.identity(one) == identity.identity(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: replace(parts, workflow=Digest("0" * 64)),
        lambda parts: replace(parts, code={}),
        lambda parts: replace(parts, inputs={**parts.inputs, "more.root": Digest("0" * 64)}),
        lambda parts: replace(parts, outputs=dict.fromkeys(parts.outputs, Digest("0" * 64))),
        lambda parts: replace(parts, environment=(Package(name="numpy", version="2.4.7"),)),
        lambda parts: replace(parts, schemas={"workflow": "1.1"}),
        lambda parts: replace(parts, profile="exact-2"),
    ],
)
def test_every_part_is_in_the_identity(summary: identity.Summary, change: Callable[[Parts], Parts]) -> None:
    assert identity.identity(change(summary.parts)) != summary.identity


# --- writing and reading --------------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_written(summary: identity.Summary) -> None:
    assert read_bundle_json(bundle_json(summary)) == summary


def test_times_are_written_in_utc(summary: identity.Summary) -> None:
    there = replace(summary, created=summary.created.astimezone(timezone(timedelta(hours=9))))
    assert bundle_json(there) == bundle_json(summary)


def test_it_has_its_schema(summary: identity.Summary) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(value_of(summary), SCHEMA)


def test_all_faults_are_named_at_once(summary: identity.Summary) -> None:
    value = {**value_of(summary), "title": 7, "extra": 1}
    del value["inputs"][0]["size"]
    with pytest.raises(BundleError) as caught:
        read_bundle_json(json.dumps(value).encode())
    assert caught.value.message.splitlines() == [
        "bundle.json has the unknown key extra",
        "bundle.json lacks inputs[0].size",
        "bundle.json has 7 for title, which is not of type str",
    ]


def test_a_later_format_is_refused_for_that_alone(summary: identity.Summary) -> None:
    value = {**value_of(summary), "format": 2, "extra": 1}
    with pytest.raises(BundleError, match=r"has format 2, and formats up to 1 are known here"):
        read_bundle_json(json.dumps(value).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{}", b'{"format": true}', b'{"format": "1"}', b"{}{}"])
def test_other_values_are_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json"):
        read_bundle_json(raw)


# --- the schema and the verifier say the same -----------------------------------------------------------------------

JUNK = st.sampled_from(
    [None, True, -1, 0, 1, 0.5, -0.5, "", "x", "0" * 64, "file:///x", [], {}, [1], ["x"], {"x": "y"}]
)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all values inside ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


@given(data=st.data())
def test_schema_and_verifier_agree_on_shapes(summary: identity.Summary, data: st.DataObject) -> None:
    value = value_of(summary)
    path = data.draw(st.sampled_from(paths(value)[1:]))
    changed = deepcopy(value)
    owner = changed
    for key in path[:-1]:
        owner = owner[key]
    action = data.draw(st.sampled_from(["replace", "delete", "add"]))
    if action == "replace":
        owner[path[-1]] = data.draw(JUNK)
    elif action == "delete":
        del owner[path[-1]]
    elif isinstance(owner, dict):
        owner["added"] = data.draw(JUNK)
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(changed)
    faults = [fault for fault in summary_faults(changed) if fault.startswith(("lacks", "has the unknown key"))]
    faults += [fault for fault in summary_faults(changed) if " for " in fault and "which " in fault]
    assert valid == (not faults), (path, action, list(summary_faults(changed)))
