"""Bundles of a part of a document: some of its workflows, and stages that wait until they are asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import uproot

import fasthep_archive
from fasthep_archive.archive import open_bundle
from fasthep_archive.errors import UsageError
from fasthep_archive.execution.asked import Asked
from fasthep_archive.report.inspection import contents, described

WORKFLOW = """\
version: "1.1"
data: {datasets: [{name: mc, files: [events.root]}]}
workflows:
  control:
    stages:
      - {id: Control, op: hep.selection.cutflow, params: {selection: {low: [x < 2]}}}
  signal:
    stages:
      - {id: Signal, op: hep.selection.cutflow, from: events, params: {selection: {high: [x >= 2]}}}
      - {id: Blind, op: hep.selection.cutflow, from: events, when: manual, params: {selection: {all: [x >= 3]}}}
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("selection")
    with uproot.recreate(directory / "events.root") as file:
        file.mktree("events", {"x": "float64"})
        file["events"].extend({"x": np.arange(4.0)})
    path = directory / "workflow.yaml"
    path.write_text(WORKFLOW)
    return path


@pytest.fixture(scope="module")
def unblinded(workflow: Path, kernel_cache: Path) -> Path:
    """Return a bundle of the signal region, with the stage that is carried out only when it is asked for."""
    path = workflow.with_name("unblinded.crate.zip")
    asked = {"workflows": ["signal"], "also": ["Blind"]}
    fasthep_archive.pack(workflow, path, index=False, workers=1, cache=kernel_cache, **asked)
    return path


def test_a_bundle_has_what_was_asked_for(unblinded: Path) -> None:
    with open_bundle(unblinded) as opened:
        assert {item.stage for item in opened.summary.outputs} == {"Signal", "Blind"}


def test_a_replay_runs_what_was_packed(unblinded: Path, kernel_cache: Path, tmp_path: Path) -> None:
    replayed = fasthep_archive.replay(
        unblinded, tmp_path / "out", consent=lambda _: True, env="current", workers=1, cache=kernel_cache
    )
    assert replayed.report.agrees
    assert {verdict.output.split("/")[1].split(".")[0] for verdict in replayed.report.verdicts} == {"Signal", "Blind"}


def test_a_part_of_what_was_packed_can_be_replayed(unblinded: Path, kernel_cache: Path, tmp_path: Path) -> None:
    options = {"consent": lambda _: True, "env": "current", "workers": 1, "cache": kernel_cache}
    replayed = fasthep_archive.replay(unblinded, tmp_path / "out", only=["Blind"], **options)
    assert {item.stage for item in replayed.record.outputs} == {"Blind"}
    with pytest.raises(UsageError, match="--only Control: no stage of that name leaves a product"):
        fasthep_archive.replay(unblinded, tmp_path / "other", only=["Control"], **options)


def test_inspect_says_what_was_asked_for(unblinded: Path) -> None:
    with open_bundle(unblinded) as opened:
        assert ("asked for", "--workflow signal --with Blind") in contents(opened).facts
        assert described(opened)["asked"] == {"workflow": ["signal"], "with": ["Blind"]}


def test_names_that_are_not_there_are_refused_before_anything_runs(workflow: Path, kernel_cache: Path) -> None:
    with pytest.raises(UsageError, match="--with Blnd: no stage of that name leaves a product") as caught:
        fasthep_archive.pack(workflow, workflow.with_name("x.crate.zip"), also=["Blnd"], cache=kernel_cache)
    assert caught.value.hint == "did you mean 'Blind'?"


def test_what_was_asked_for_can_be_read_back() -> None:
    asked = Asked(workflows=("a", "b"), only=("c",), also=("d",))
    assert Asked.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert str(asked) == "--workflow a --workflow b --only c --with d"
