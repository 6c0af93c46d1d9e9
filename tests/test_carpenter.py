"""A fast-carpenter analysis of the tutorial's simulated WW events: migrated, run, and compared with NumPy.

fast-carpenter 0.23 gave 4580, 244, 244 and 243 events for it, and a sum of weights of 229.94958064877471 before the cuts,
one bit of which is its rounding.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from numpy.typing import NDArray
from shared import SHARED, needed

import fasthep_archive
from fasthep_archive.archive import migrate
from fasthep_archive.data.products import Cutflow, Histogram
from fasthep_archive.execution import planner
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

FILE = "CMS_HEP_tutorial_ww.root"
Numbers = NDArray[np.float64]

DATASETS = f"""\
defaults: {{eventtype: mc, tree: events}}
datasets:
  - {{name: data, eventtype: data, nevents: 4580, files: ["{{prefix}}{FILE}"], prefix: [{{here: ""}}]}}
  - {{name: ww, nevents: 4580, files: [{FILE}]}}
"""

SEQUENCE = """\
# The selection of the tutorial, one with alternatives, and what is seen after it.
stages:
  - Muons: fast_carpenter.Define
  - Weights: fast_carpenter.SystematicWeights
  - Selection: fast_carpenter.CutFlow
  - AfterCuts: fast_carpenter.summary.BinnedDataframe
  - Scaled: fast_carpenter.summary.BinnedDataframe
  - Nested: fast_carpenter.CutFlow
  - Unweighted: fast_carpenter.summary.BinnedDataframe

Muons:
  variables:
    - Muon_Pt: "sqrt(Muon_Px ** 2 + Muon_Py ** 2)"
    - IsoMuon: "(Muon_Iso / Muon_Pt) < 0.10"
    - NIsoMuon: {reduce: count_nonzero, formula: IsoMuon}
    - LeadPt: {reduce: 0, formula: Muon_Pt}

Weights:
  weights:
    event: EventWeight
    jets: {nominal: "1.0 + 0 * NJet", up: "1.0 + 0.25 * (NJet > 1)", down: "1.0 - 0.25 * (NJet > 1)"}

# At least two isolated muons, the trigger, a hard muon.
Selection:
  selection:
    All:
      - NIsoMuon >= 2
      - triggerIsoMu24 == 1
      - {reduce: any, formula: Muon_Pt > 25}
  weights: {nominal: EventWeight}

AfterCuts:
  binning:
    - {in: LeadPt, out: pt, bins: {low: 20, high: 120, nbins: 10}}
    - {in: NJet, out: jets, bins: {edges: [0, 1, 2, 4]}}
  weights: EventWeight

Scaled:
  binning: [{in: NJet, out: jets, bins: {edges: [0, 1, 2, 4]}}]
  weights: weight_jets_up

Nested:
  selection:
    Any:
      - NJet >= 2
      - All:
          - NElectron == 0
          - Any:
              - {reduce: all, formula: Muon_Pt > 40}
              - {reduce: 1, formula: Muon_Pt > 30}
  weights: EventWeight

Unweighted:
  binning: [{in: NJet, out: jets, bins: {edges: [0, 1, 2, 4]}}]
  dataset_col: false
"""

TWIN = f"""\
version: "1.1"
sources:
  events: {{tree: events}}
data:
  defaults: {{eventtype: mc}}
  datasets:
    - {{files: [{FILE}], eventtype: data, name: data}}
    - {{files: [{FILE}], name: ww}}
analysis:
  globals: {{}}
  stages:
    - id: Columns
      op: hep.define
      params:
        variables:
          - {{name: pt, expr: "sqrt(Muon_Px**2 + Muon_Py**2)"}}
          - {{name: isolated, expr: "Muon_Iso / pt < 0.1"}}
    - id: Selection
      op: hep.selection.cutflow
      params:
        weight_expr: "1.0 if dataset_is_data else EventWeight"
        selection:
          selection:
            - {{expr: "count_nonzero(isolated) >= 2", label: "NIsoMuon >= 2"}}
            - triggerIsoMu24 == 1
            - {{label: "any(Muon_Pt > 25)", reduce: {{op: any, over: "pt > 25"}}}}
    - id: AfterCuts
      op: hep.hist
      params:
        weight_expr: "1.0 if dataset_is_data else EventWeight"
        storage: weighted
        dataset_axis: true
        axes:
          - {{name: pt, source: "nth(pt, 0, default=nan)", type: regular, bins: {{nbins: 10, low: 20, high: 120}}}}
          - {{name: jets, source: NJet, type: variable, bins: {{edges: [0, 1, 2, 4]}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Return a folder with the analysis, migrated, and its file."""
    place = tmp_path_factory.mktemp("carpenter")
    shutil.copy(shared_data / FILE, place)
    (place / "sequence.yml").write_text(SEQUENCE)
    (place / "datasets.yml").write_text(DATASETS)
    migrate(place / "sequence.yml", place / "workflow.yaml", datasets=place / "datasets.yml")
    return place


@pytest.fixture(scope="module")
def products(folder: Path, kernel_cache: Path) -> Path:
    """Return the directory of the products of the migrated analysis."""
    return fasthep_archive.run(folder / "workflow.yaml", folder / "out", workers=1, cache=kernel_cache).directory


@pytest.fixture(scope="module")
def events(shared_data: Path) -> ak.Array:
    """Return the events with float64 columns and the muons' transverse momenta."""
    with uproot.open(shared_data / FILE) as file:
        names = ["Muon_Px", "Muon_Py", "Muon_Iso", "EventWeight", "triggerIsoMu24", "NJet", "NElectron"]
        found = file["events"].arrays(names)
    for name in ("Muon_Px", "Muon_Py", "Muon_Iso", "EventWeight"):
        found[name] = ak.values_astype(found[name], "float64")
    found["Muon_Pt"] = np.sqrt(found.Muon_Px**2 + found.Muon_Py**2)
    return found


@pytest.fixture(scope="module")
def selected(events: ak.Array) -> ak.Array:
    """Return the events that pass the selection of the tutorial."""
    isolated = ak.sum(events.Muon_Iso / events.Muon_Pt < 0.10, axis=1) >= 2
    return events[isolated & (events.triggerIsoMu24 == 1) & ak.any(events.Muon_Pt > 25, axis=1)]


def cutflow(directory: Path, name: str, dataset: str) -> list[tuple[int, float]]:
    """Return events and sums of weights: before the first cut, and after each."""
    found = Cutflow.from_json((directory / f"cutflows/{name}.json").read_bytes())
    rows = [row for row in found.rows if row.dataset == dataset]
    return [(rows[0].events_in, rows[0].sumw_in), *((row.events_out, row.sumw_out) for row in rows)]


def histogram(directory: Path, name: str) -> Histogram:
    return Histogram.from_json((directory / f"histograms/{name}.json").read_bytes())


def sums(places: NDArray[np.int64], shape: tuple[int, ...], weights: Numbers) -> tuple[Numbers, Numbers]:
    """Return the exact sums of weights and of squared weights in each bin, rounded once.

    :param places: one row for each axis.
    """
    cells = np.ravel_multi_index(tuple(places), shape)
    chosen = [weights[cells == cell] for cell in range(math.prod(shape))]
    total = np.array([math.fsum(each) for each in chosen]).reshape(shape)
    return total, np.array([math.fsum(each * each) for each in chosen]).reshape(shape)


def jets(found: ak.Array) -> NDArray[np.int64]:
    """Return the bins of the numbers of jets."""
    numbers: NDArray[np.float64] = ak.to_numpy(found.NJet).astype(float)
    return np.searchsorted(np.array([0.0, 1.0, 2.0, 4.0]), numbers, side="right")


# --- Numbers ------------------------------------------------------------------------------------------------------------


def test_simulation_has_the_events_and_weights_of_fast_carpenter(products: Path) -> None:
    assert cutflow(products, "Selection", "ww") == [
        (4580, 229.94958064877466),
        (244, 12.639495927083772),
        (244, 12.639495927083772),
        (243, 12.577849789697211),
    ]


def test_data_are_not_weighted(products: Path) -> None:
    assert cutflow(products, "Selection", "data") == [(4580, 4580.0), (244, 244.0), (244, 244.0), (243, 243.0)]


def test_nested_alternatives_mean_what_they_say(products: Path, selected: ak.Array) -> None:
    all_hard = ak.all(selected.Muon_Pt > 40, axis=1)
    second_hard = ak.fill_none(ak.pad_none(selected.Muon_Pt > 30, 2)[:, 1], value=False)
    chosen = (selected.NJet >= 2) | ((selected.NElectron == 0) & (all_hard | second_hard))
    inner = [selected.NJet >= 2, (selected.NElectron == 0) & (all_hard | second_hard)]
    weights = [ak.to_numpy(selected[each].EventWeight) for each in (slice(None), chosen, *inner)]
    assert 0 < len(weights[1]) < len(weights[0])
    assert cutflow(products, "Nested", "ww")[:4] == [(len(each), math.fsum(each)) for each in weights]


def test_binned_numbers_are_exact(products: Path, selected: ak.Array) -> None:
    found = histogram(products, "AfterCuts")
    pt = np.searchsorted(np.linspace(20, 120, 11), ak.to_numpy(selected.Muon_Pt[:, 0]), side="right")
    shape = (12, 5)
    for dataset, weights in enumerate((np.ones(len(selected)), ak.to_numpy(selected.EventWeight))):
        total, squares = sums(np.array([pt, jets(selected)]), shape, weights)
        np.testing.assert_array_equal(found.values[dataset], total)
        assert found.variances is not None
        np.testing.assert_array_equal(found.variances[dataset], squares)


def test_a_systematic_weight_is_a_product(products: Path, selected: ak.Array) -> None:
    found = histogram(products, "Scaled")
    factors = 1.0 + 0.25 * (ak.to_numpy(selected.NJet) > 1)
    total, _ = sums(np.array([jets(selected)]), (5,), ak.to_numpy(selected.EventWeight) * factors)
    np.testing.assert_array_equal(found.values[1], total)
    np.testing.assert_array_equal(found.values[0], np.bincount(jets(selected), minlength=5))  # data


# --- Plans --------------------------------------------------------------------------------------------------------------


def keys(path: Path, cache: Path) -> Mapping[str, object]:
    """Return the keys of the plan of a document: of each product, and of each part of it."""
    workflow, faults = build(load(path))
    assert faults == ()
    settings = planner.Settings(
        chunk=1000, version="1", cache=cache, working_directory=path.parent, digests="read", workers=1
    )
    plan, faults = planner.make_plan(workflow, operations(workflow, version="1"), settings)
    assert faults == ()
    parts = {
        f"{stage} {step.partition.dataset} {step.partition.start}": key
        for step in plan.passes
        for stage, key in step.parts.items()
    }
    return {**parts, **{node.node.written: node.key for node in plan.nodes}}


@pytest.mark.parametrize("stage", ["Selection", "AfterCuts"])
def test_a_migrated_document_and_one_written_by_hand_have_equal_keys(folder: Path, tmp_path: Path, stage: str) -> None:
    (folder / "twin.yaml").write_text(TWIN)
    tmp_path.chmod(0o700)
    migrated, twin = keys(folder / "workflow.yaml", tmp_path), keys(folder / "twin.yaml", tmp_path)
    ours = {name: key for name, key in migrated.items() if name.split()[0] == stage}
    assert len(ours) == 1 + 2 * sum(name.startswith(f"{stage} ww") for name in ours)
    assert ours == {name: key for name, key in twin.items() if name.split()[0] == stage}


EXAMPLES = ("ex1_zmumu_like", "ex2_needs_systematics")


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_document_of_1_0_and_its_migrated_form_have_equal_keys(folder: Path, tmp_path: Path, example: str) -> None:
    for path in needed(SHARED / "reference" / "examples").glob("*.yaml"):
        shutil.copy(path, folder)
    newest = folder / f"{example}.newest.yaml"
    newest.unlink(missing_ok=True)
    migrate(folder / f"{example}.yaml", newest)
    tmp_path.chmod(0o700)
    assert "version: 1.1" in newest.read_text()
    before = keys(folder / f"{example}.yaml", tmp_path)
    assert before
    assert keys(newest, tmp_path) == before
