"""The dimuon example: its data, and the workflow that uses them."""

import hashlib
import runpy
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from fasthep_archive.report.tex import plain
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import Workflow, build

EXAMPLE = Path(__file__).parents[1] / "examples" / "dimuon"
DATASETS = ("data", "dy", "ttbar")


def content(path: Path) -> dict[str, str]:
    """Return a digest of each branch's type, offsets and values."""
    digests = {}
    for name, array in zip(*arrays_of(path), strict=True):
        layout = ak.to_packed(array).layout
        form, length, buffers = ak.to_buffers(layout)
        parts = [form.to_json(), str(length), *(np.asarray(buffers[key]).tobytes().hex() for key in sorted(buffers))]
        digests[name] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return digests


def arrays_of(path: Path) -> tuple[list[str], tuple[ak.Array, ...]]:
    with uproot.open(path) as file:
        tree = file["events"]
        return tree.keys(), tree.arrays(how=tuple)


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    runpy.run_path(str(EXAMPLE / "make_data.py"))["main"](directory)
    return directory


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    workflow, faults = build(load(EXAMPLE / "workflow.yaml"))
    assert not faults
    return workflow


@pytest.mark.parametrize("name", DATASETS)
def test_the_script_makes_the_committed_numbers_again(remade: Path, name: str) -> None:
    assert content(remade / f"{name}.root") == content(EXAMPLE / "data" / f"{name}.root")


def test_the_committed_files_are_small() -> None:
    assert sum(path.stat().st_size for path in (EXAMPLE / "data").iterdir()) < 400_000


@pytest.mark.parametrize("name", DATASETS)
def test_the_branches_of_a_collection_share_their_counter(name: str) -> None:
    with uproot.open(EXAMPLE / "data" / f"{name}.root") as file:
        tree = file["events"]
        for branch in tree.keys(filter_name="/(Muon|Jet)_.*/"):
            counter = tree[branch].member("fLeaves")[0].member("fLeafCount")
            assert counter.member("fName") == f"N{branch.split('_')[0]}"


@pytest.mark.parametrize(
    ("branch", "kind"),
    [
        ("NMuon", "int32"),
        ("Muon_Px", "var * float32"),
        ("Muon_Charge", "var * int32"),
        ("Jet_btag", "var * float32"),
        ("triggerIsoMu24", "bool"),
        ("EventWeight", "float32"),
    ],
)
def test_branches_have_the_types_of_the_tutorials(branch: str, kind: str) -> None:
    with uproot.open(EXAMPLE / "data" / "dy.root") as file:
        assert file["events"][branch].array().type.content == ak.types.from_datashape(kind, highlevel=False)


@pytest.mark.parametrize("name", DATASETS)
def test_muons_have_the_mass_of_muons_and_fall_in_pt(name: str) -> None:
    with uproot.open(EXAMPLE / "data" / f"{name}.root") as file:
        muon = file["events"].arrays(["Muon_Px", "Muon_Py", "Muon_Pz", "Muon_E"])
    px, py, pz, energy = (ak.values_astype(muon[f"Muon_{part}"], "float64") for part in ("Px", "Py", "Pz", "E"))
    # float32 holds E to 6e-8 of itself, so m^2 = E^2 - p^2 to 1.2e-7 E^2
    squared = energy**2 - px**2 - py**2 - pz**2
    assert ak.all(abs(squared - 0.10566**2) <= 1.3e-7 * energy**2)
    pt = np.hypot(px, py)
    # each component is rounded by up to 1 part in 2000
    assert ak.all(pt[:, :-1] * 1.002 >= pt[:, 1:])


def test_simulation_has_the_peak_and_the_yield_of_the_data() -> None:
    peaks, yields = {}, {}
    for name in DATASETS:
        with uproot.open(EXAMPLE / "data" / f"{name}.root") as file:
            events = file["events"].arrays()
        isolated = events.Muon_Iso / np.hypot(events.Muon_Px, events.Muon_Py) < 0.1
        pair = ak.sum(isolated, axis=1) >= 2
        total = [ak.sum(events[f"Muon_{part}"][isolated][pair][:, :2], axis=1) for part in ("E", "Px", "Py", "Pz")]
        mass = np.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2)
        near = (mass > 86) & (mass < 97)
        peaks[name], yields[name] = ak.mean(mass[near]), float(ak.sum(events.EventWeight))
    assert peaks["dy"] == pytest.approx(91.19, abs=0.25)
    assert peaks["data"] == pytest.approx(peaks["dy"], abs=0.25)
    expected = yields["dy"] + yields["ttbar"]
    assert abs(yields["data"] - expected) < 3 * np.sqrt(expected)


def test_the_workflow_leaves_twelve_files(workflow: Workflow) -> None:
    operations = [stage.op for stage in workflow.stages]
    assert operations.count("hep.hist") + 2 * operations.count("hep.selection.cutflow") == 12


def test_the_workflow_shows_what_the_language_can_do(workflow: Workflow) -> None:
    axes = [axis for stage in workflow.stages if stage.op == "hep.hist" for axis in stage.params["axes"]]
    assert {axis["type"] for axis in axes} == {"regular", "variable", "int", "bool"}
    assert any(len(stage.params["axes"]) == 2 for stage in workflow.stages if stage.op == "hep.hist")
    assert any(stage.params.get("storage") == "count" for stage in workflow.stages)
    assert any(stage.applies_to for stage in workflow.stages)
    assert {dataset.eventtype for dataset in workflow.datasets} == {"data", "mc"}


def test_the_workflow_is_published_by_no_real_person(workflow: Workflow) -> None:
    assert [author.name for author in workflow.archive.metadata.authors] == ["Your Name"]


def test_labels_are_readable(workflow: Workflow) -> None:
    labels = [axis["label"] for stage in workflow.stages if stage.op == "hep.hist" for axis in stage.params["axes"]]
    assert not [label for label in labels if "\\" in plain(label) or "$" in plain(label)]


def test_the_files_of_the_workflow_are_there(workflow: Workflow) -> None:
    named = {EXAMPLE / file for dataset in workflow.datasets for file in dataset.files}
    assert named == set((EXAMPLE / "data").iterdir())


def test_the_readme_names_commands_and_stages_that_exist() -> None:
    text = (EXAMPLE / "README.md").read_text()
    document = yaml.safe_load((EXAMPLE / "workflow.yaml").read_text())
    stages = {stage["id"] for stage in document["analysis"]["stages"]}
    for verb in ("init", "run", "pack", "verify", "replay", "check"):
        assert f"fasthep-archive {verb} " in text
    assert {"DiMuonMass", "Selection"} <= stages
    assert "12 of 12 outputs identical" in text
