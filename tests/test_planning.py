"""Workflows with faults that only their files can show, and everything that ``check`` says about each."""

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from fasthep_archive.cli import main

PLANNING = Path(__file__).parent / "planning"
WORKFLOWS = sorted(PLANNING.glob("*.yaml"))


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with all workflows and the files that they name."""
    desk = tmp_path_factory.mktemp("planning") / "desk"
    shutil.copytree(PLANNING, desk)
    _write_tree(desk / "events.root", weighted=True)
    _write_tree(desk / "copy.root", weighted=True)
    _write_tree(desk / "unweighted.root", weighted=False)
    _write_ntuple(desk / "tuple.root")
    with uproot.recreate(desk / "with_e.root") as file:
        columns = {
            "NPV": np.array([1, 2, 3]),
            "e": np.ones(3),
            "Jet": ak.zip({"Pt": [[1.0], [], []], "e": [[1.0], [], []]}),
        }
        file.mktree("events", {name: _type(column) for name, column in columns.items()})
        file["events"].extend(columns)
    whole = (desk / "events.root").read_bytes()
    (desk / "truncated.root").write_bytes(whole[: len(whole) // 2])
    (desk / "text.root").write_text("MET NPV\n20 3\n")
    (desk / "empty.root").touch()
    (desk / "folder").mkdir()
    return desk


def _write_tree(path: Path, *, weighted: bool) -> None:
    """Write a TTree with two collections, beside another tree and a histogram."""
    lists = ak.Array([[1.0, 2.0], [], [3.0]])
    flags = ak.Array([[True, False], [], [True]])
    muons = {**dict.fromkeys(("Px", "Py", "Pz", "E"), lists), "Tight": flags}
    flat = {
        "MET": np.array([10.0, 20.0, 30.0], np.float32),
        "NPV": np.array([1, 2, 3], np.int32),
        "trigger": np.array([True, False, True]),
    }
    with uproot.recreate(path) as file:
        columns = {"Muon": ak.zip(muons), "Jet": ak.zip({"Pt": lists}), **flat, "channel": ["ee", "mm", "ee"]}
        if weighted:
            columns["EventWeight"] = np.ones(3)
        file.mktree("events", {name: _type(column) for name, column in columns.items()})
        file["events"].extend(columns)
        file.mktree("runs", {"lumi": "float64"})
        file["runs"].extend({"lumi": np.ones(1)})
        file["pileup"] = np.histogram([1, 2, 3])


def _type(column: object) -> object:
    return "string" if isinstance(column, list) else ak.Array(column).type.content


def _write_ntuple(path: Path) -> None:
    """Write an RNTuple with what TTrees rarely have: missing values, records, lists of lists."""
    with uproot.recreate(path) as file:
        columns = {
            "NPV": np.array([1, 2, 3]),
            "MET": np.array([1.0, 2.0, 3.0]),
            "quality": ak.Array([1, None, 3]),
            "hitE": ak.Array([[1.0, None], [], [2.0]]),
            "hits": ak.Array([[[1], [2, 3]], [], [[4]]]),
            "particle": ak.Array([{"pt": 1.0, "eta": 2.0}] * 3),
        }
        file.mkrntuple("events", columns)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_check_says(
    workflow: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    status = main(["check", workflow.name])
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.replace(str(desk), "<here>") == workflow.with_suffix(".expected").read_text()


def test_a_constant_that_may_have_been_meant_for_a_column_is_told(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    text = (PLANNING / "constant_in_some_files.yaml").read_text().replace("with_e.root", "copy.root")
    Path("constant.yaml").write_text(text)
    assert main(["check", "constant.yaml"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        "warning: constant.yaml:6:75: 'e' is 2.71828... here: no file has a column 'e'",
        "warning: constant.yaml:7:122: 'e' is 2.71828... here: no file has a column 'Jet_e'",
    ]
