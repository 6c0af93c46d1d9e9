"""Objects of a real file, from the document to the histograms, against awkward: what example 3 of FAST-HEP does."""

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from command import with_kernels
from shared import needed

from fasthep_archive import archive

NANO = "nanoAOD_2015_CMS_Open_Data_ttbar.root"
FIELDS = ("pt", "eta", "phi", "mass", "charge")
COUNTS = {
    "nGoodMuon": 8,
    "nMM_Z": 20,
    "ncleaned_Jet": 25,
    "nremoved_cleaned_Jet": 8,
    "nW_lepton": 8,
    "nR": 8,
    "category": 2,
}
EDGES = {"MM_Z_mass": (0, 120, 60), "W_W_MT": (0, 200, 40), "cleaned_Jet_pt": (0, 500, 50), "R_pt": (0, 400, 40)}
STAGES = [
    ("GoodMuons", "hep.select_objects", {"collection": "Muon", "output": "GoodMuon", "keep": list(FIELDS),
                                         "selection": ["pt > 3", "abs(eta) < 2.4"]}),
    ("Pairs", "hep.build_pairs", {"collections": ["GoodMuon", "Electron"], "output": "MM",
                                  "selection": {"pair": ["lepton_1_charge * lepton_2_charge < 0"], "candidate": ["mass > 2"]},
                                  "sort": {"by": "abs(mass - 91.1876)"},
                                  "keep": {"candidate": ["pt", "mass"], "constituents": ["pt", "charge"]}}),
    ("Jets", "hep.clean", {"source": "Jet", "clean_against": ["GoodMuon"], "sort_by": "pt", "fields": ["pt"]}),
    ("W", "hep.build_lepton_met_candidate", {"lepton": "GoodMuon", "met": "MET", "output": "W",
                                             "keep": {"candidate": ["MT"], "lepton": ["pt"]}}),
    ("Recoil", "hep.build_recoil", {"met": "MET", "visible": ["GoodMuon"], "output": "R", "keep": ["pt"]}),
    ("HasPair", "hep.selection.flag", {"selection": ["nMM_Z >= 1"]}),
    ("Category", "hep.choose", {"cases": [{"name": "with", "when": "HasPair", "values": {"category": "1"}},
                                          {"name": "without", "when": "~HasPair", "values": {"category": "0"}}]}),
]  # fmt: skip


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Path:
    return needed(shared_data / NANO)


@pytest.fixture(scope="module")
def found(data: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Return the contents of histograms of the new fields, flow bins included."""
    directory = tmp_path_factory.mktemp("objects")
    axes = {name: ("int", list(range(size))) for name, size in COUNTS.items()}
    axes |= {name: ("regular", dict(zip(("low", "high", "nbins"), e, strict=True))) for name, e in EDGES.items()}
    stages = [{"id": name, "op": op, "params": params} for name, op, params in STAGES]
    stages += [
        {
            "id": f"H_{name}",
            "op": "hep.hist",
            "params": {"axes": [{"name": "x", "source": name, "type": kind, "bins": bins}]},
        }
        for name, (kind, bins) in axes.items()
    ]
    document = {
        "version": "1.0",
        "data": {"datasets": [{"name": "ttbar", "files": [str(data)]}]},
        "sources": {"events": {"kind": "root_tree", "tree": "Events"}},
        "analysis": {"stages": stages},
    }
    path = directory / "objects.yaml"
    path.write_text(json.dumps(document))
    cache = with_kernels(directory / "cache", kernel_cache)
    archive.run(path, directory / "out", cache=cache, chunk=70, workers=1)
    stored = {name: json.loads((directory / "out" / "histograms" / f"H_{name}.json").read_text()) for name in axes}
    return {name: np.array(histogram["storage"]["values"], float) for name, histogram in stored.items()}


@pytest.fixture(scope="module")
def expected(data: Path) -> dict[str, ak.Array]:
    """Return the new fields as awkward makes them of the file, in float64."""
    names = [f"{c}_{f}" for c in ("Muon", "Electron") for f in FIELDS] + ["Jet_pt", "Jet_eta", "Jet_phi"]
    tree = uproot.open(data)["Events"].arrays([*names, "MET_pt", "MET_phi"])
    tree = {name: ak.values_astype(tree[name], np.float64) for name in tree.fields}
    muons = ak.zip({name: tree[f"Muon_{name}"] for name in FIELDS})
    muons = muons[(muons.pt > 3) & (abs(muons.eta) < 2.4)]
    muons = muons[ak.argsort(muons.pt, axis=1, ascending=False, stable=True)]
    electrons = ak.zip({name: tree[f"Electron_{name}"] for name in FIELDS})
    one, two = ak.unzip(ak.combinations(ak.concatenate([muons, electrons], axis=1), 2))
    mass = pair_mass(one, two)[one.charge * two.charge < 0]
    jets = ak.zip({name: tree[f"Jet_{name}"] for name in ("pt", "eta", "phi")})
    jet, muon = ak.unzip(ak.cartesian([jets, muons], nested=True))
    turned = (jet.phi - muon.phi + np.pi) % (2 * np.pi) - np.pi
    near = ak.any(np.sqrt((jet.eta - muon.eta) ** 2 + turned**2) < 0.4, axis=2)
    met = {"x": tree["MET_pt"] * np.cos(tree["MET_phi"]), "y": tree["MET_pt"] * np.sin(tree["MET_phi"])}
    recoil = np.hypot(met["x"] + muons.pt * np.cos(muons.phi), met["y"] + muons.pt * np.sin(muons.phi))
    return {
        "nGoodMuon": ak.num(muons),
        "MM_Z_mass": mass[mass > 2],
        "nMM_Z": ak.num(mass[mass > 2]),
        "cleaned_Jet_pt": jets.pt[~near],
        "ncleaned_Jet": ak.num(jets[~near]),
        "nremoved_cleaned_Jet": ak.num(jets[near]),
        "nW_lepton": ak.num(muons),
        "W_W_MT": np.sqrt(2 * tree["MET_pt"] * muons.pt * (1 - np.cos(muons.phi - tree["MET_phi"]))),
        "nR": ak.num(recoil),
        "category": ak.values_astype(ak.num(mass[mass > 2]) > 0, np.int64),
        "R_pt": ak.max(recoil, axis=1, mask_identity=True),
    }


def pair_mass(one: ak.Array, two: ak.Array) -> ak.Array:
    def sums(component) -> ak.Array:
        return component(one) + component(two)

    x, y = sums(lambda p: p.pt * np.cos(p.phi)), sums(lambda p: p.pt * np.sin(p.phi))
    z = sums(lambda p: p.pt * np.sinh(p.eta))
    energy = sums(lambda p: np.sqrt((p.pt * np.cosh(p.eta)) ** 2 + p.mass**2))
    return np.sqrt(energy**2 - x**2 - y**2 - z**2)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_awkward(name: str, found: dict, expected: dict) -> None:
    counts = np.bincount(ak.to_numpy(expected[name]), minlength=COUNTS[name])
    assert counts.size == COUNTS[name]
    np.testing.assert_array_equal(found[name][: COUNTS[name]], counts)
    assert counts[1:].any()


@pytest.mark.parametrize("name", EDGES)
def test_values_are_those_of_awkward(name: str, found: dict, expected: dict) -> None:
    low, high, bins = EDGES[name]
    values = ak.to_numpy(ak.drop_none(ak.flatten(expected[name], axis=None)))
    contents, _ = np.histogram(values, np.linspace(low, high, bins + 1))
    np.testing.assert_array_equal(found[name][1:-1], contents)
    assert contents.any()
