"""The example with two workflows: packed, replayed, and compared with plain NumPy and awkward code."""

import json
import math
import runpy
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

import fasthep_archive
from fasthep_archive.archive import Packed

EXAMPLE = Path(__file__).parents[1] / "examples" / "top_background"
VARIATIONS = ("btag_up", "btag_down", "jes_up", "jes_down")
SCALES = {"jes_up": 1.03, "jes_down": 0.97}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Packed:
    space = tmp_path_factory.mktemp("regions")
    target = space / "regions.crate.zip"
    return fasthep_archive.pack(EXAMPLE / "workflow.yaml", target, index=False, workers=1, cache=kernel_cache)


def passing(dataset: str, variation: str | None, *, signal: bool) -> float:
    """Return the exact sum of weights after the last cut of a region, without the scale factor."""
    with uproot.open(EXAMPLE / "data" / f"{dataset}.root") as file:
        events = file["Events"].arrays()
    simulated = dataset != "data"
    scale = SCALES.get(variation or "", 1.0) if simulated else 1.0
    pt = ak.values_astype(events.Jet_pt, "float64") * scale
    tags = ak.to_numpy(ak.sum((pt > 30.0) & (events.Jet_btag > 0.7), axis=1))
    met, lepton = (ak.to_numpy(events[name]).astype(float) for name in ("MET_pt", "Lepton_pt"))
    angle = ak.to_numpy(events.Lepton_phi).astype(float) - ak.to_numpy(events.MET_phi).astype(float)
    chosen = ak.to_numpy(ak.sum(pt > 30.0, axis=1)) >= 2
    if signal:
        chosen &= (tags >= 1) & (met > 100) & (np.sqrt(2 * lepton * met * (1 - np.cos(angle))) > 80)
    else:
        chosen &= (tags >= 2) & (met < 100)
    weight = ak.to_numpy(events.EventWeight).astype(float) if simulated else np.ones(len(met))
    if simulated and (variation or "").startswith("btag"):
        weight = weight * ak.to_numpy(events[f"BTagSF_{(variation or '').removeprefix('btag_')}"]).astype(float)
    return math.fsum(weight[chosen])


def scale_factor(variation: str | None) -> float:
    """Return the scale factor of top-quark pairs that the control region gives."""
    data, wjets, ttbar = (passing(name, variation, signal=False) for name in ("data", "wjets", "ttbar"))
    return (data - wjets) / ttbar


@pytest.mark.parametrize("variation", [None, *VARIATIONS])
def test_the_control_region_gives_the_scale_factor(packed: Packed, variation: str | None) -> None:
    folder = "" if variation is None else f"systematics/{variation}/"
    with fasthep_archive.open_bundle(packed.path) as bundle:
        values = json.loads(bundle.read(f"data/outputs/{folder}values/TopScale.json"))
    assert values["scale"] == scale_factor(variation)


@pytest.mark.parametrize("variation", [None, *VARIATIONS])
def test_the_signal_region_uses_the_scale_factor_of_its_variation(packed: Packed, variation: str | None) -> None:
    with fasthep_archive.open_bundle(packed.path) as bundle:
        data = bundle.data if variation is None else bundle.data.varied(variation)
        rows = {row.dataset: row for row in data["SignalRegion"].rows if row.cut == "signal[3]"}
    assert rows["data"].sumw_out == passing("data", None, signal=True)
    assert rows["wjets"].sumw_out == passing("wjets", variation, signal=True)
    expected = scale_factor(variation) * passing("ttbar", variation, signal=True)
    assert rows["ttbar"].sumw_out == pytest.approx(expected, rel=1e-13)  # weights are scaled one by one


def test_what_is_shared_is_computed_once_and_branches_are_separate(packed: Packed) -> None:
    passes = [task for task in packed.record.tasks if task.name.startswith("pass over")]
    assert len(passes) == 4 + 1  # of each file one, and one more of top-quark pairs for all scale factors together


@pytest.mark.slow
def test_it_replays_with_every_output_identical(packed: Packed, tmp_path: Path, kernel_cache: Path) -> None:
    replayed = fasthep_archive.replay(
        packed.path, tmp_path / "again", consent=lambda _: True, env="current", workers=2, cache=kernel_cache
    )
    assert replayed.report.exit_status == 0
    assert {verdict.level.name for verdict in replayed.report.verdicts} == {"IDENTICAL"}
    assert len(replayed.report.verdicts) == 45


@pytest.mark.slow
def test_a_single_workflow_runs_with_what_it_needs(tmp_path: Path, kernel_cache: Path) -> None:
    ran = fasthep_archive.run(
        EXAMPLE / "workflow.yaml", tmp_path / "out", workflows=["control"], workers=1, cache=kernel_cache
    )
    assert {item.stage for item in ran.record.outputs} == {"ControlRegion", "ControlHT", "TopScale"}


def test_the_data_are_those_that_the_script_makes(tmp_path: Path) -> None:
    runpy.run_path(str(EXAMPLE / "make_data.py"))["main"](tmp_path)
    for name in ("data", "ttbar", "wjets", "signal"):
        with uproot.open(tmp_path / f"{name}.root") as made, uproot.open(EXAMPLE / "data" / f"{name}.root") as kept:
            assert ak.array_equal(made["Events"].arrays(), kept["Events"].arrays())
