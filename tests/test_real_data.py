"""Real files, against numbers that awkward, NumPy, boost-histogram and ``math.fsum`` make without the package.

The oracles promote what they read to float64, as formulas do. Where a formula has only ``+ - * / sqrt``, comparisons and
reducers, every bin must be the same double; the elementary functions of others may differ in the last bit, which can
move no value of these files into another bin.
"""

import functools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import awkward as ak
import boost_histogram as bh
import numpy as np
import pytest
import uproot
from numpy.typing import NDArray

import fasthep_archive
from fasthep_archive.data.products import Cutflow, Histogram

Placed = tuple[NDArray[np.int64], int]
"""The bin of each value, and the number of bins, flow bins included."""


def read(path: Path, tree: str) -> ak.Array:
    """Return all of a file, numbers promoted."""
    with uproot.open(path) as file:
        arrays = file[tree].arrays()
    return ak.zip({name: promoted(arrays[name]) for name in arrays.fields}, depth_limit=1)


def promoted(array: ak.Array) -> ak.Array:
    """Return floats as float64 and integers as int64."""
    primitive = str(array.type).rsplit(maxsplit=1)[-1]
    if primitive.startswith("float"):
        return ak.values_astype(array, "float64")
    return ak.values_astype(array, "int64") if "int" in primitive else array


def between(values: Iterable[float], edges: Sequence[float]) -> Placed:
    """Place values among edges: bin i holds edge i <= value < edge i + 1; NaN overflows."""
    flat = np.asarray(ak.flatten(values, axis=None), np.float64)
    return np.searchsorted(np.asarray(edges), flat, side="right"), len(edges) + 1


def regular(low: float, high: float, bins: int) -> list[float]:
    """Return the double nearest to each real edge."""
    return [float(Fraction(low) + number * (Fraction(high) - Fraction(low)) / bins) for number in range(bins + 1)]


def among(values: Iterable[object], categories: Sequence[object], *, overflow: bool) -> Placed:
    """Place values among categories."""
    places = {category: place for place, category in enumerate(categories)}
    flat = ak.to_list(ak.flatten(values, axis=None)) if not isinstance(values, list) else values
    found = [places.get(value, len(categories)) for value in flat]
    assert overflow or max(found) < len(categories)
    return np.array(found), len(categories) + overflow


def met(values: ak.Array) -> list[object]:
    """Return the different values in order of appearance."""
    return list(dict.fromkeys(ak.to_list(ak.flatten(values, axis=None))))


def sums(axes: Sequence[Placed], weights: NDArray[np.float64] | None) -> tuple[NDArray[np.generic], ...]:
    """Return counts, or sums of weights and of squared weights: the exact sums, rounded once."""
    shape = [size for _, size in axes]
    cells = np.ravel_multi_index([places for places, _ in axes], shape)
    if weights is None:
        return (np.bincount(cells, minlength=math.prod(shape)).reshape(shape),)
    entries: dict[int, list[float]] = {}
    for cell, weight in zip(cells.tolist(), weights.tolist(), strict=True):
        entries.setdefault(cell, []).append(weight)
    found = np.zeros((2, math.prod(shape)))
    for cell, each in entries.items():
        found[:, cell] = math.fsum(each), math.fsum(weight * weight for weight in each)
    return tuple(found.reshape(2, *shape))


def assert_holds(product: Histogram, expected: tuple[NDArray[np.generic], ...]) -> None:
    """Assert that a product has these arrays, bit for bit."""
    found = (product.values,) if product.variances is None else (product.values, product.variances)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert product.values.sum() != 0


def run(text: str, directory: Path, cache: Path, **options: int) -> Path:
    """Run a workflow without a store, and return the directory of its products."""
    path = directory / "workflow.yaml"
    path.write_text(text)
    return fasthep_archive.run(path, directory / "out", workers=1, reuse=False, cache=cache, **options).directory


def histogram(directory: Path, name: str) -> Histogram:
    return Histogram.from_json((directory / f"histograms/{name}.json").read_bytes())


def cutflow(directory: Path, name: str) -> Cutflow:
    return Cutflow.from_json((directory / f"cutflows/{name}.json").read_bytes())


def test_the_oracle_finds_the_edges_of_a_regular_axis() -> None:
    assert regular(0, 1, 10) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


# --- CMS HEP tutorial: jagged float32 objects, weights ------------------------------------------------------------------

WW = """
version: "1.0"
data: {{datasets: [{{name: ww, eventtype: mc, nevents: 4580, files: ["{file}"]}}]}}
sources: {{events: {{kind: root_tree, tree: events}}}}
analysis:
  globals: {{MAX_ISO: 0.10}}
  stages:
    - id: Muons
      op: hep.define
      params:
        variables:
          - {{name: Muon_Pt, expr: "sqrt(Muon_Px ** 2 + Muon_Py ** 2)"}}
          - {{name: IsoMuon, expr: "Muon_Iso / Muon_Pt < MAX_ISO"}}
          - {{name: NIsoMuon, reduce: {{op: count_nonzero, over: IsoMuon}}, dtype: int32}}
    - {{id: DiMuons, op: hep.di_object_mass, params: {{collection: Muon, mask: IsoMuon}}}}
    - id: AllMuonPt
      op: hep.hist
      params:
        weight_expr: EventWeight
        axes: [{{name: pt, source: Muon_Pt, type: regular, bins: {{low: 0, high: 90, nbins: 9}}}}]
    - id: JetsByTrigger
      op: hep.hist
      params:
        axes:
          - {{name: jets, source: NJet, type: int}}
          - {{name: trigger, source: triggerIsoMu24, type: bool}}
    - id: Selection
      op: hep.selection.cutflow
      params:
        weight_expr: EventWeight
        selection:
          dimuon: ["NIsoMuon >= 2", "triggerIsoMu24 == 1", {{reduce: {{op: any, over: "Muon_Pt > 25"}}}}]
    - id: DiMuonMass
      op: hep.hist
      params:
        dataset_axis: true
        weight_expr: EventWeight
        axes: [{{name: mass, source: DiMuon_Mass, type: regular, bins: {{low: 60, high: 120, nbins: 60}}}}]
    - id: DiMuonMassCount
      op: hep.hist
      params:
        axes: [{{name: mass, source: DiMuon_Mass, type: regular, bins: {{low: 60, high: 120, nbins: 60}}}}]
    - id: MassByMissingPt
      op: hep.hist
      params:
        weight_expr: "EventWeight * EventWeight - 0.5"
        axes:
          - {{name: mass, source: DiMuon_Mass, type: variable, bins: {{edges: [0, 40, 76, 106, 200.5]}}}}
          - {{name: met, source: "sqrt(MET_px * MET_px + MET_py * MET_py)", type: regular,
             bins: {{low: 0, high: 100, nbins: 7}}}}
"""
KNOWN = (
    # from the README beside the file
    ("all", 4580, 229.94958064877466),
    ("dimuon[0]", 244, 12.639495927083772),
    ("dimuon[1]", 244, 12.639495927083772),
    ("dimuon[2]", 243, 12.577849789697211),
)


class WWOracle:
    """The same analysis in awkward."""

    def __init__(self, path: Path) -> None:
        self.events = events = read(path, "events")
        self.muon_pt = np.sqrt(events.Muon_Px**2 + events.Muon_Py**2)
        isolated = events.Muon_Iso / self.muon_pt < 0.10
        self.cuts = [
            np.ones(len(events), bool),
            ak.to_numpy(ak.sum(isolated, axis=1) >= 2),
            ak.to_numpy(events.triggerIsoMu24 == 1),
            ak.to_numpy(ak.any(self.muon_pt > 25, axis=1)),
        ]
        self.selected = np.logical_and.reduce(self.cuts)
        self.weight = ak.to_numpy(events.EventWeight)
        pairs = {
            part: ak.to_numpy(events[f"Muon_{part}"][isolated][self.selected][:, :2])
            for part in ("Px", "Py", "Pz", "E")
        }
        px, py, pz, energy = (pair[:, 0] + pair[:, 1] for pair in pairs.values())
        self.mass = np.sqrt(np.maximum(energy * energy - (px * px + py * py + pz * pz), 0.0))


@pytest.fixture(scope="module")
def ww_file(shared_data: Path) -> Path:
    return shared_data / "CMS_HEP_tutorial_ww.root"


@pytest.fixture(scope="module")
def ww(ww_file: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(WW.format(file=ww_file), tmp_path_factory.mktemp("ww"), kernel_cache)


@pytest.fixture(scope="module")
def ww_oracle(ww_file: Path) -> WWOracle:
    return WWOracle(ww_file)


def test_ww_cutflow_has_the_known_events_and_sums(ww: Path) -> None:
    rows = cutflow(ww, "Selection").rows
    found = [("all", rows[0].events_in, rows[0].sumw_in), *((row.cut, row.events_out, row.sumw_out) for row in rows)]
    assert tuple(found) == KNOWN


def test_ww_cutflow_has_the_sums_of_squares(ww: Path, ww_oracle: WWOracle) -> None:
    passed = np.logical_and.accumulate(ww_oracle.cuts)
    squares = [math.fsum(weight * weight for weight in ww_oracle.weight[level]) for level in passed]
    rows = cutflow(ww, "Selection").rows
    assert [(row.sumw2_in, row.sumw2_out) for row in rows] == list(pairwise(squares))


def test_ww_rows_follow_from_each_other(ww: Path) -> None:
    rows = cutflow(ww, "Selection").rows
    assert [row.events_in for row in rows[1:]] == [row.events_out for row in rows[:-1]]
    assert [row.sumw_in for row in rows[1:]] == [row.sumw_out for row in rows[:-1]]


def test_ww_mass_is_exact_in_every_bin(ww: Path, ww_oracle: WWOracle) -> None:
    placed = between(ww_oracle.mass, regular(60, 120, 60))
    (values, variances) = sums([placed], ww_oracle.weight[ww_oracle.selected])
    assert_holds(histogram(ww, "DiMuonMass"), (values[None], variances[None]))


def test_ww_mass_is_what_boost_histogram_fills(ww: Path, ww_oracle: WWOracle) -> None:
    weighted = bh.Histogram(bh.axis.Regular(60, 60, 120), storage=bh.storage.Weight())
    counted = bh.Histogram(bh.axis.Regular(60, 60, 120), storage=bh.storage.Int64())
    weighted.fill(ww_oracle.mass, weight=ww_oracle.weight[ww_oracle.selected])
    counted.fill(ww_oracle.mass)
    run_ = fasthep_archive.open_run(ww)
    assert run_["DiMuonMassCount"].values(flow=True).tolist() == counted.values(flow=True).tolist()
    found = run_["DiMuonMass"]["ww", :]
    np.testing.assert_allclose(found.values(flow=True), weighted.values(flow=True), rtol=1e-14, atol=0)
    np.testing.assert_allclose(found.variances(flow=True), weighted.variances(flow=True), rtol=1e-14, atol=0)


def test_ww_counts_are_exact(ww: Path, ww_oracle: WWOracle) -> None:
    assert_holds(histogram(ww, "DiMuonMassCount"), sums([between(ww_oracle.mass, regular(60, 120, 60))], None))


def test_ww_muons_weigh_what_their_event_weighs(ww: Path, ww_oracle: WWOracle) -> None:
    weights = np.repeat(ww_oracle.weight, ak.to_numpy(ak.num(ww_oracle.muon_pt)))
    assert_holds(histogram(ww, "AllMuonPt"), sums([between(ww_oracle.muon_pt, regular(0, 90, 9))], weights))


def test_ww_integers_are_in_order_of_appearance_and_flags_have_two_bins(ww: Path, ww_oracle: WWOracle) -> None:
    events = ww_oracle.events
    product = histogram(ww, "JetsByTrigger")
    assert list(product.axes[0].categories) == met(events.NJet)
    trigger = ak.to_numpy(events.triggerIsoMu24).astype(np.int64)
    assert_holds(product, sums([among(events.NJet, met(events.NJet), overflow=False), (trigger, 2)], None))


def test_ww_plane_with_weights_of_both_signs_is_exact(ww: Path, ww_oracle: WWOracle) -> None:
    events, weight = ww_oracle.events[ww_oracle.selected], ww_oracle.weight[ww_oracle.selected]
    met_pt = np.sqrt(events.MET_px * events.MET_px + events.MET_py * events.MET_py)
    placed = [between(ww_oracle.mass, [0, 40, 76, 106, 200.5]), between(met_pt, regular(0, 100, 7))]
    weights = weight * weight - 0.5
    assert_holds(histogram(ww, "MassByMissingPt"), sums(placed, weights))


# --- Z to mu mu: flat columns of all types, texts -----------------------------------------------------------------------

ZMUMU = """
version: "1.0"
data: {{datasets: [{{name: zmumu, eventtype: data, files: ["{file}"]}}]}}
sources: {{events: {{kind: root_tree, tree: events}}}}
fields: {{charge: {{stream: events, branch: Q1}}}}
analysis:
  stages:
    - id: Variables
      op: hep.define
      params:
        variables:
          - {{name: m2, expr: "(E1 + E2) ** 2 - ((px1 + px2) ** 2 + (py1 + py2) ** 2 + (pz1 + pz2) ** 2)"}}
          - {{name: mass, expr: "sqrt(m2 if m2 > 0 else 0.0)"}}
          - {{name: angular, expr: "sqrt(2 * pt1 * pt2 * (cosh(eta1 - eta2) - cos(phi1 - phi2)))"}}
          - {{name: turn, expr: "arctan2(sin(phi1 - phi2), cos(phi1 - phi2))"}}
          - {{name: rapidity, expr: "0.5 * log((E1 + pz1) / (E1 - pz1))"}}
    - id: TypeByMass
      op: hep.hist
      params:
        weight_expr: "1 / (pt1 * pt2)"
        axes:
          - {{name: type, source: Type, type: category}}
          - {{name: mass, source: mass, type: variable, bins: {{edges: [0.5, 30, 60, 80.25, 100, 150]}}}}
    - id: TwoTypes
      op: hep.hist
      params: {{axes: [{{name: type, source: Type, type: category, bins: [TT, GG]}}]}}
    - id: Charges
      op: hep.hist
      params:
        axes:
          - {{name: q1, source: charge, type: int, bins: [1, -1]}}
          - {{name: same, source: "Q1 * Q2 > 0", type: bool}}
    - id: Angular
      op: hep.hist
      params: {{axes: [{{name: mass, source: angular, type: regular, bins: {{low: 0, high: 125, nbins: 50}}}}]}}
    - id: Turn
      op: hep.hist
      params: {{axes: [{{name: turn, source: turn, type: regular, bins: {{low: -3, high: 3, nbins: 11}}}}]}}
    - id: Rapidity
      op: hep.hist
      params: {{axes: [{{name: y, source: rapidity, type: regular, bins: {{low: -2.5, high: 2.5, nbins: 13}}}}]}}
    - id: Groups
      op: hep.selection.cutflow
      params:
        weight_expr: "pt1 / 3"
        filter: any
        selection:
          central: ["abs(eta1) < 1.2", "-1.2 < eta2 < 1.2"]
          forward: ["not (abs(eta1) < 1.2)"]
          peak: {{parents: ["central[0]"], cuts: ["80 < mass < 100", "Q1 in (1, 2)"]}}
    - id: Kept
      op: hep.hist
      params: {{axes: [{{name: run, source: "Run % 7", type: int}}, {{name: q, source: Groups.peak, type: bool}}]}}
"""


class ZmumuOracle:
    """The same analysis in NumPy."""

    def __init__(self, path: Path) -> None:
        events = read(path, "events")
        self.type = ak.to_list(events.Type)
        self.columns = {name: ak.to_numpy(events[name]) for name in events.fields if name != "Type"}
        energy, px, py, pz = (self[f"{part}1"] + self[f"{part}2"] for part in ("E", "px", "py", "pz"))
        squared = energy**2 - (px**2 + py**2 + pz**2)
        self.mass = np.sqrt(np.where(squared > 0, squared, 0.0))
        self.central = [abs(self["eta1"]) < 1.2, (self["eta2"] > -1.2) & (self["eta2"] < 1.2)]
        self.peak = [self.central[0], (self.mass > 80) & (self.mass < 100), self["Q1"] == 1]

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.columns[name]


@pytest.fixture(scope="module")
def zmumu_file(shared_data: Path) -> Path:
    return shared_data / "uproot-Zmumu.root"


@pytest.fixture(scope="module")
def zmumu(zmumu_file: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(ZMUMU.format(file=zmumu_file), tmp_path_factory.mktemp("zmumu"), kernel_cache, chunk=700)


@pytest.fixture(scope="module")
def zmumu_oracle(zmumu_file: Path) -> ZmumuOracle:
    return ZmumuOracle(zmumu_file)


def test_zmumu_types_by_mass_are_exact(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    product = histogram(zmumu, "TypeByMass")
    types = list(dict.fromkeys(zmumu_oracle.type))
    assert list(product.axes[0].categories) == types
    placed = [
        among(zmumu_oracle.type, types, overflow=False),
        between(zmumu_oracle.mass, [0.5, 30, 60, 80.25, 100, 150]),
    ]
    assert_holds(product, sums(placed, 1 / (zmumu_oracle["pt1"] * zmumu_oracle["pt2"])))


def test_zmumu_types_by_mass_are_what_boost_histogram_fills(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    axes = bh.axis.StrCategory([], growth=True), bh.axis.Variable([0.5, 30, 60, 80.25, 100, 150])
    filled = bh.Histogram(*axes, storage=bh.storage.Weight())
    weights = 1 / (zmumu_oracle["pt1"] * zmumu_oracle["pt2"])
    filled.fill(zmumu_oracle.type, zmumu_oracle.mass, weight=weights)
    found = fasthep_archive.open_run(zmumu)["TypeByMass"]
    assert list(found.axes[0]) == list(filled.axes[0])
    np.testing.assert_allclose(found.values(flow=True), filled.values(flow=True), rtol=1e-14, atol=0)
    np.testing.assert_allclose(found.variances(flow=True), filled.variances(flow=True), rtol=1e-14, atol=0)


def test_zmumu_types_that_are_not_listed_overflow(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    assert_holds(histogram(zmumu, "TwoTypes"), sums([among(zmumu_oracle.type, ["TT", "GG"], overflow=True)], None))


def test_zmumu_charges(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    charge = zmumu_oracle["Q1"]
    same = (charge * zmumu_oracle["Q2"] > 0).astype(np.int64)
    placed = [among(charge.tolist(), [1, -1], overflow=True), (same, 2)]
    assert_holds(histogram(zmumu, "Charges"), sums(placed, None))


def test_zmumu_mass_from_angles(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    column = zmumu_oracle
    difference = np.cosh(column["eta1"] - column["eta2"]) - np.cos(column["phi1"] - column["phi2"])
    mass = np.sqrt(2 * column["pt1"] * column["pt2"] * difference)
    assert_holds(histogram(zmumu, "Angular"), sums([between(mass, regular(0, 125, 50))], None))


def test_zmumu_angle_between_the_muons(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    turn = [math.remainder(angle, math.tau) for angle in zmumu_oracle["phi1"] - zmumu_oracle["phi2"]]
    assert_holds(histogram(zmumu, "Turn"), sums([between(turn, regular(-3, 3, 11))], None))


def test_zmumu_rapidity(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    rapidity = np.arctanh(zmumu_oracle["pz1"] / zmumu_oracle["E1"])
    assert_holds(histogram(zmumu, "Rapidity"), sums([between(rapidity, regular(-2.5, 2.5, 13))], None))


@pytest.mark.parametrize("group", ["central", "forward", "peak"])
def test_zmumu_groups_count_by_themselves(zmumu: Path, zmumu_oracle: ZmumuOracle, group: str) -> None:
    weights = zmumu_oracle["pt1"] / 3
    everything = np.ones(len(weights), bool)
    cuts = {
        "central": [everything, *zmumu_oracle.central],
        "forward": [everything, ~zmumu_oracle.central[0]],
        "peak": zmumu_oracle.peak,
    }[group]
    levels = [(int(level.sum()), math.fsum(weights[level])) for level in np.logical_and.accumulate(cuts)]
    rows = [row for row in cutflow(zmumu, "Groups").rows if row.group == group]
    assert [(row.events_in, row.sumw_in) for row in rows] == levels[:-1]
    assert [(row.events_out, row.sumw_out) for row in rows] == levels[1:]


def test_zmumu_any_group_keeps_an_event(zmumu: Path, zmumu_oracle: ZmumuOracle) -> None:
    peak = np.logical_and.reduce(zmumu_oracle.peak)
    kept = np.logical_and.reduce(zmumu_oracle.central) | ~zmumu_oracle.central[0] | peak
    rest = (zmumu_oracle["Run"] % 7)[kept].tolist()
    product = histogram(zmumu, "Kept")
    assert list(product.axes[0].categories) == list(dict.fromkeys(rest))
    placed = [among(rest, list(dict.fromkeys(rest)), overflow=False), (peak[kept].astype(np.int64), 2)]
    assert_holds(product, sums(placed, None))
    assert 0 < len(rest) < len(kept)


# --- NanoAOD: jagged collections, small integers, missing values --------------------------------------------------------

NANO = """
version: "1.1"
data: {{datasets: [{{name: ttbar, files: ["{file}"]}}]}}
sources: {{events: {{kind: root_tree, tree: Events}}}}
analysis:
  stages:
    - id: Objects
      op: hep.define
      params:
        variables:
          - {{name: good, expr: "Muon_pt > 20 && abs(Muon_eta) < 1.8 && Muon_isGlobal"}}
          - {{name: nGood, reduce: {{op: count_nonzero, over: good}}}}
          - {{name: leading_pt, expr: "leading(Jet_pt[Jet_pt > 20], -1.0)"}}
          - {{name: second_pt, expr: "subleading(Jet_pt[Jet_pt > 20], -1.0)"}}
          - {{name: relative, expr: "Muon_pt / MET_pt"}}
          - {{name: ht, expr: "sum(Jet_pt[Jet_pt > 30])"}}
          - {{name: hardest, expr: "max(Jet_pt[abs(Jet_eta) > 1.5])"}}
          - {{name: best_tag, expr: "fill_none(argmax(Jet_nConstituents), -1)", dtype: int64}}
          - {{name: softest, expr: "fill_none(min(Muon_pt), 0.0)"}}
          - {{name: mean_eta, expr: "mean(Jet_eta)"}}
          - {{name: w, expr: "genWeight * (1 + 0.1 * nMuon)"}}
    - id: MuonPtByCharge
      op: hep.hist
      params:
        weight_expr: w
        axes:
          - {{name: pt, source: "Muon_pt[good]", type: variable, bins: {{edges: [20, 25, 31.5, 40, 44]}}}}
          - {{name: charge, source: "Muon_charge[good]", type: int, bins: [-1, 1]}}
    - id: Relative
      op: hep.hist
      params:
        weight_expr: genWeight
        axes: [{{name: r, source: relative, type: regular, bins: {{low: 0, high: 1, nbins: 10}}}}]
    - id: HtByMuons
      op: hep.hist
      params:
        weight_expr: w
        axes:
          - {{name: ht, source: ht, type: regular, bins: {{low: 0, high: 700, nbins: 14}}}}
          - {{name: muons, source: nGood, type: int}}
    - id: Leading
      op: hep.hist
      params:
        axes:
          - {{name: first, source: leading_pt, type: variable, bins: {{edges: [0, 10, 30, 60]}}}}
          - {{name: second, source: second_pt, type: variable, bins: {{edges: [0, 10, 30, 60]}}}}
    - id: Hardest
      op: hep.hist
      params: {{axes: [{{name: pt, source: hardest, type: regular, bins: {{low: 15, high: 115, nbins: 10}}}}]}}
    - id: BestTag
      op: hep.hist
      params: {{axes: [{{name: number, source: best_tag, type: int}}]}}
    - id: Softest
      op: hep.hist
      params: {{axes: [{{name: pt, source: softest, type: regular, bins: {{low: 0, high: 20, nbins: 9}}}}]}}
    - id: MeanEta
      op: hep.hist
      params: {{axes: [{{name: eta, source: mean_eta, type: regular, bins: {{low: -2, high: 2, nbins: 8}}}}]}}
    - id: Constituents
      op: hep.hist
      params:
        axes:
          - {{name: n, source: "Jet_nConstituents // 10", type: int}}
          - {{name: central, source: "abs(Jet_eta) < 1.3", type: bool}}
    - id: EventNumber
      op: hep.hist
      params: {{axes: [{{name: n, source: "event % 5", type: int}}]}}
    - id: Cuts
      op: hep.selection.cutflow
      params:
        weight_expr: w
        selection:
          jets: ["count(Jet_pt) >= 2", {{reduce: {{op: all, over: "Jet_pt > 15.5"}}}}, "any(Jet_nConstituents > 15)", "ht > 80"]
"""


class NanoOracle:
    """The same analysis in awkward, and in plain loops where the order of additions matters."""

    def __init__(self, path: Path) -> None:
        with uproot.open(path) as file:
            arrays = file["Events"].arrays(filter_name="/((Muon|Jet|MET)_.*|genWeight|event|nMuon)/")
        self.events = events = {name: promoted(arrays[name]) for name in arrays.fields}
        good = (events["Muon_pt"] > 20) & (abs(events["Muon_eta"]) < 1.8) & events["Muon_isGlobal"]
        self.muon_pt, self.charge = events["Muon_pt"][good], events["Muon_charge"][good]
        self.ht = np.array([added(pt for pt in jets if pt > 30) for jets in ak.to_list(events["Jet_pt"])])
        self.gen_weight = ak.to_numpy(events["genWeight"])
        self.weight = self.gen_weight * (1 + 0.1 * ak.to_numpy(events["nMuon"]))

    def __getitem__(self, name: str) -> ak.Array:
        return self.events[name]


def added(values: Iterable[float]) -> float:
    """Return the sum from left to right (Python's own ``sum`` compensates from version 3.12 on)."""
    return functools.reduce(operator.add, values, 0.0)


@pytest.fixture(scope="module")
def nano_file(shared_data: Path) -> Path:
    return shared_data / "nanoAOD_2015_CMS_Open_Data_ttbar.root"


@pytest.fixture(scope="module")
def nano(nano_file: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(NANO.format(file=nano_file), tmp_path_factory.mktemp("nano"), kernel_cache, chunk=64)


@pytest.fixture(scope="module")
def nano_oracle(nano_file: Path) -> NanoOracle:
    return NanoOracle(nano_file)


def nano_expected(oracle: NanoOracle) -> Mapping[str, tuple[list[Placed], NDArray[np.float64] | None]]:
    """Return the bins of all entries, and their weights, of each histogram."""
    muons, jets = ak.to_numpy(ak.num(oracle["Muon_pt"])), oracle["Jet_pt"]
    good = ak.to_numpy(ak.num(oracle.muon_pt))
    padded = ak.to_numpy(ak.fill_none(ak.pad_none(jets[jets > 20], 2, clip=True), -1.0))
    outside = jets[abs(oracle["Jet_eta"]) > 1.5]
    best = ak.fill_none(ak.argmax(oracle["Jet_nConstituents"], axis=1), -1)
    mean = [added(eta) / len(eta) if eta else math.nan for eta in ak.to_list(oracle["Jet_eta"])]
    tens, rest = oracle["Jet_nConstituents"] // 10, oracle["event"] % 5
    return {
        "MuonPtByCharge": (
            [between(oracle.muon_pt, [20, 25, 31.5, 40, 44]), among(oracle.charge, [-1, 1], overflow=True)],
            np.repeat(oracle.weight, good),
        ),
        "Relative": (
            [between(oracle["Muon_pt"] / oracle["MET_pt"], regular(0, 1, 10))],
            np.repeat(oracle.gen_weight, muons),
        ),
        "HtByMuons": (
            [between(oracle.ht, regular(0, 700, 14)), among(good.tolist(), met(good), overflow=False)],
            oracle.weight,
        ),
        "Leading": ([between(padded[:, 0], [0, 10, 30, 60]), between(padded[:, 1], [0, 10, 30, 60])], None),
        "Hardest": ([between(ak.drop_none(ak.max(outside, axis=1)), regular(15, 115, 10))], None),
        "BestTag": ([among(best, met(best), overflow=False)], None),
        "Softest": ([between(ak.fill_none(ak.min(oracle["Muon_pt"], axis=1), 0.0), regular(0, 20, 9))], None),
        "MeanEta": ([between(mean, regular(-2, 2, 8))], None),
        "Constituents": (
            [
                among(tens, met(tens), overflow=False),
                (ak.to_numpy(ak.flatten(abs(oracle["Jet_eta"]) < 1.3)).astype(np.int64), 2),
            ],
            None,
        ),
        "EventNumber": ([among(rest, met(rest), overflow=False)], None),
    }


@pytest.mark.parametrize(
    "name",
    [
        "MuonPtByCharge",
        "Relative",
        "HtByMuons",
        "Leading",
        "Hardest",
        "BestTag",
        "Softest",
        "MeanEta",
        "Constituents",
        "EventNumber",
    ],
)
def test_nano_histogram_is_exact(nano: Path, nano_oracle: NanoOracle, name: str) -> None:
    assert_holds(histogram(nano, name), sums(*nano_expected(nano_oracle)[name]))


def test_nano_categories_are_in_order_of_appearance(nano: Path, nano_oracle: NanoOracle) -> None:
    tens = nano_oracle["Jet_nConstituents"] // 10
    assert list(histogram(nano, "Constituents").axes[0].categories) == met(tens)


def test_nano_jagged_fill_is_what_boost_histogram_fills(nano: Path, nano_oracle: NanoOracle) -> None:
    flat = ak.to_numpy(ak.flatten(nano_oracle["Muon_pt"] / nano_oracle["MET_pt"]))
    weights = np.repeat(nano_oracle.gen_weight, ak.to_numpy(ak.num(nano_oracle["Muon_pt"])))
    filled = bh.Histogram(bh.axis.Regular(10, 0, 1), storage=bh.storage.Weight()).fill(flat, weight=weights)
    found = fasthep_archive.open_run(nano)["Relative"]
    np.testing.assert_allclose(found.values(flow=True), filled.values(flow=True), rtol=1e-14, atol=0)
    np.testing.assert_allclose(found.variances(flow=True), filled.variances(flow=True), rtol=1e-14, atol=0)


def test_nano_cuts_on_lists(nano: Path, nano_oracle: NanoOracle) -> None:
    jets = nano_oracle["Jet_pt"]
    cuts = [
        np.ones(len(jets), bool),
        ak.to_numpy(ak.num(jets) >= 2),
        ak.to_numpy(ak.all(jets > 15.5, axis=1)),
        ak.to_numpy(ak.any(nano_oracle["Jet_nConstituents"] > 15, axis=1)),
        nano_oracle.ht > 80,
    ]
    levels = np.logical_and.accumulate(cuts)
    rows = cutflow(nano, "Cuts").rows
    assert [row.events_out for row in rows] == [int(level.sum()) for level in levels[1:]]
    assert [row.sumw_out for row in rows] == [math.fsum(nano_oracle.weight[level]) for level in levels[1:]]
    assert 0 < rows[-1].events_out < rows[0].events_out
