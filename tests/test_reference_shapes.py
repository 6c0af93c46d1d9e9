"""The stages of the reference's examples 1 and 2, as they are written, on random events in memory.

The oracle is awkward-array and NumPy; sums are exact (``math.fsum``).
"""

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml
from lowered import Chain, canonical, column, product
from shared import SHARED, needed

from fasthep_archive.data.products import Cutflow, Histogram
from fasthep_archive.formula.columns import Column
from fasthep_archive.operations.cutflow import CutflowSelection
from fasthep_archive.operations.histogram import Hist

EVENTS = 400
SIZES = {"Muon": (1.7, 5), "Jet": (2.1, 6)}


def events(seed: int) -> dict[str, ak.Array | np.ndarray]:
    """Return events with muons and jets, some without any."""
    random = np.random.default_rng(seed)
    found: dict[str, ak.Array | np.ndarray] = {}
    for name, (mean, most) in SIZES.items():
        counts = np.minimum(random.poisson(mean, EVENTS), most)
        size = int(counts.sum())
        momenta = random.normal(0, 30, (3, size))
        energy = np.sqrt((momenta**2).sum(axis=0)) * random.choice([1.0, 1.01, 0.999], size)
        columns = dict(zip(("Px", "Py", "Pz", "E"), (*momenta, energy), strict=True))
        if name == "Muon":
            columns["Iso"] = random.exponential(4.0, size)
        found |= {f"{name}_{key}": ak.unflatten(values, counts) for key, values in columns.items()}
    found["EventWeight"] = random.normal(1.0, 0.5, EVENTS) * 10.0 ** random.integers(-3, 4, EVENTS)
    found["triggerIsoMu24"] = random.integers(0, 2, EVENTS)
    found["Trigger"] = random.random(EVENTS) < 0.7
    found["MCLepton_Px"], found["MCLepton_Py"] = random.normal(0, 40, (2, EVENTS))
    return found


def columns(found: Mapping[str, ak.Array | np.ndarray]) -> dict[str, Column]:
    kinds = {"triggerIsoMu24": "int", "Trigger": "bool"}
    return {name: column(ak.to_list(values), kinds.get(name, "float")) for name, values in found.items()}


def example(name: str) -> Sequence[Mapping[str, object]]:
    """Return the stages of an example, with the matrices of its variables expanded by hand."""
    path = needed(SHARED / "reference" / "examples" / name)
    stages = yaml.safe_load(path.read_text())["analysis"]["stages"]
    for stage in stages:
        for variable in stage["params"].get("variables", ()):
            for key, (value,) in variable.pop("matrix", {}).items():
                variable.update({k: v.replace(f"{{{key}}}", str(value)) for k, v in variable.items()})
    return stages


def run(stages: Sequence[Mapping[str, object]], made: Chain) -> None:
    """Lower the stages on their inputs; the last one that gives events is the default."""
    streams = {"": made.stream}
    last = ""
    for stage in stages:
        if stage.get("applies_to", {}).get("eventtype", made.eventtype) != made.eventtype:
            streams[stage["id"]] = streams[last]
            continue
        inputs = stage.get("from", last)
        named = {"stream": inputs} if isinstance(inputs, str) else {item["as"]: item["node"] for item in inputs}
        streams[stage["id"]] = made.of(
            stage["op"], stage["params"], stage["id"], **{name: streams[node] for name, node in named.items()}
        )
        last = last if stage["op"] == "hep.hist" else stage["id"]
    made.stream = streams[last]
    assert not made.faults


def histogram(stages: Sequence[Mapping[str, object]], name: str, chains: Sequence[Chain], cache: Path) -> Histogram:
    (params,) = (stage["params"] for stage in stages if stage["id"] == name)
    parts = [made.part(name, 64) for made in chains]
    datasets = [made.dataset for made in chains]
    files = product(Hist.read(canonical("hep.hist", params, name)), parts, datasets, cache, name)
    return Histogram.from_json(files[f"histograms/{name}.json"])


def filled(values: np.ndarray, weights: np.ndarray, edges: Sequence[float]) -> list[float]:
    """Return the exact sum of weights per bin, flow bins included; NaN is in the overflow."""
    cells: list[list[float]] = [[] for _ in range(len(edges) + 1)]
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        cells[len(edges) if math.isnan(value) else bisect.bisect_right(edges, value)].append(weight)
    return [math.fsum(cell) for cell in cells]


def passing(cutflow: Cutflow, dataset: str) -> list[tuple[int, float]]:
    return [(row.events_out, row.sumw_out) for row in cutflow.rows if row.dataset == dataset]


def counted(masks: Sequence[np.ndarray], weights: np.ndarray) -> list[tuple[int, float]]:
    return [(int(mask.sum()), math.fsum(weights[mask].tolist())) for mask in masks]


# --- example 1 -------------------------------------------------------------------------------------------------------


def muons(found: Mapping[str, ak.Array]) -> tuple[ak.Array, ak.Array]:
    """Return transverse momenta and isolation of the muons."""
    pt = np.sqrt(found["Muon_Px"] ** 2 + found["Muon_Py"] ** 2)
    return pt, (found["Muon_Iso"] / pt) < 0.10


@pytest.fixture(scope="module")
def dimuons(kernel_cache: Path) -> tuple[Mapping[str, dict], Sequence[Chain]]:
    found = {"data": events(1), "ww": events(2)}
    chains = []
    for name, values in found.items():
        made = Chain(columns(values), kernel_cache, dataset=name, eventtype="data" if name == "data" else "mc")
        run(example("ex1_zmumu_like.yaml"), made)
        chains.append(made)
    return found, chains


def test_example_1_gives_the_masses_of_pairs(dimuons: tuple, kernel_cache: Path) -> None:
    found, chains = dimuons
    result = histogram(example("ex1_zmumu_like.yaml"), "DiMuonMass", chains, kernel_cache)
    edges = [60.0 + n for n in range(61)]
    for row, values in enumerate(found.values()):
        _, isolated = muons(values)
        px, py, pz, energy = (ak.pad_none(values[f"Muon_{key}"][isolated], 2) for key in ("Px", "Py", "Pz", "E"))
        sums = [ak.to_numpy(ak.fill_none(part[:, 0] + part[:, 1], np.nan)) for part in (px, py, pz, energy)]
        squared = sums[3] * sums[3] - (sums[0] * sums[0] + sums[1] * sums[1] + sums[2] * sums[2])
        mass = np.sqrt(np.where(squared < 0, 0.0, squared))
        assert result.values[row].tolist() == filled(mass, values["EventWeight"], edges)
    assert result.axes[0].categories == ("data", "ww")


def test_example_1_counts_its_cuts(dimuons: tuple, kernel_cache: Path) -> None:
    found, chains = dimuons
    params = canonical("hep.selection.cutflow", example("ex1_zmumu_like.yaml")[-1]["params"], "SelectDimuon")
    parts = [made.part("SelectDimuon", 50) for made in chains]
    files = product(CutflowSelection.read(params), parts, list(found), kernel_cache, "SelectDimuon")
    cutflow = Cutflow.from_json(files["cutflows/SelectDimuon.json"])
    for name, values in found.items():
        pt, isolated = muons(values)
        first = ak.to_numpy(ak.sum(isolated, axis=1) >= 2)
        second = first & (values["triggerIsoMu24"] == 1)
        third = second & ak.to_numpy(ak.any(pt > 25, axis=1))
        assert passing(cutflow, name) == counted([first, second, third], values["EventWeight"])


# --- example 2 -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def merged(kernel_cache: Path) -> tuple[Mapping[str, dict], Sequence[Chain]]:
    found = {"data": events(3), "ttbar": events(4)}
    chains = []
    for name, values in found.items():
        made = Chain(columns(values), kernel_cache, dataset=name, eventtype="data" if name == "data" else "mc")
        run(example("ex2_needs_systematics.yaml"), made)
        chains.append(made)
    return found, chains


def masks(values: Mapping[str, ak.Array]) -> list[np.ndarray]:
    """Return which events pass the cuts of example 2."""
    pt, _ = muons(values)
    jets = np.sqrt(values["Jet_Px"] ** 2 + values["Jet_Py"] ** 2)
    muon = ak.to_numpy(ak.any(pt > 20, axis=1))
    jet = muon & ak.to_numpy(ak.any(jets > 40, axis=1))
    return [muon, jet, jet & values["Trigger"]]


def test_example_2_merges_its_branches_and_counts(merged: tuple, kernel_cache: Path) -> None:
    found, chains = merged
    (params,) = (s["params"] for s in example("ex2_needs_systematics.yaml") if s["id"] == "Select")
    operation = CutflowSelection.read(canonical("hep.selection.cutflow", params, "Select"))
    files = product(operation, [made.part("Select", 60) for made in chains], list(found), kernel_cache, "Select")
    cutflow = Cutflow.from_json(files["cutflows/Select.json"])
    for name, values in found.items():
        assert passing(cutflow, name) == counted(masks(values), values["EventWeight"])


def test_example_2_fills_the_leading_muon_of_what_is_left(merged: tuple, kernel_cache: Path) -> None:
    found, chains = merged
    result = histogram(example("ex2_needs_systematics.yaml"), "LeadPtHist", chains, kernel_cache)
    for row, values in enumerate(found.values()):
        pt, _ = muons(values)
        kept = masks(values)[-1]
        leading = ak.to_numpy(ak.fill_none(ak.firsts(pt), 0.0))[kept]
        edges = [4.0 * n for n in range(46)]
        assert result.values[row].tolist() == filled(leading, values["EventWeight"][kept], edges)


def test_example_2_has_generated_leptons_of_simulation_only(merged: tuple, kernel_cache: Path) -> None:
    found, chains = merged
    assert "GenHist" not in chains[0].left
    result = histogram(example("ex2_needs_systematics.yaml"), "GenHist", chains[1:], kernel_cache)
    values = found["ttbar"]
    kept = masks(values)[-1]
    pt = np.sqrt(values["MCLepton_Px"] ** 2 + values["MCLepton_Py"] ** 2)[kept]
    assert result.values.tolist() == filled(pt, np.ones(len(pt)), [4.0 * n for n in range(46)])
    assert json.loads(result.to_json())["storage"]["type"] == "int"
