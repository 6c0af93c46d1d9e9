"""Objects of objects, against FAST-HEP 2026.10.1 on fixed events and against plain Python on random ones."""

import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import cuda_target
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from objects import Events, lowered, made, on_cpu
from test_kernels_reference import bits

from fasthep_archive.operations import momenta

GOLDEN = json.loads((Path(__file__).parent / "object_operations.json").read_text())
"""Events, stages, and the fields that FAST-HEP's operations give (fasthep-carpenter 2026.10.1, vector 1.6; float64)."""
CASES = {case["name"]: case for case in GOLDEN["cases"]}


def close(found: list, expected: list) -> None:
    """Check lists of numbers: integers and structure exactly, floats as far as the order of operations goes."""
    assert [len(x) if isinstance(x, list) else None for x in found] == [
        len(x) if isinstance(x, list) else None for x in expected
    ]
    flat = [np.array([y for x in side for y in (x if isinstance(x, list) else [x])]) for side in (found, expected)]
    np.testing.assert_allclose(flat[0], flat[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_fields_are_those_of_fast_hep(name: str) -> None:
    case = CASES[name]
    found = made([tuple(stage) for stage in case["stages"]], GOLDEN["events"])
    assert sorted(found) == sorted(case["fields"])
    for field, expected in case["fields"].items():
        close(found[field], expected)


@pytest.mark.parametrize("name", CASES)
def test_compiled_and_cuda_give_the_same_bits(name: str, kernel_cache: Path) -> None:
    program = lowered([tuple(stage) for stage in CASES[name]["stages"]], GOLDEN["events"])
    expected = program.run(GOLDEN["events"], on_cpu(kernel_cache))
    found = program.run(GOLDEN["events"], cuda_target.kernel_on_ptx)
    assert {field: bits(value) for field, value in found.items()} == {k: bits(v) for k, v in expected.items()}


def test_the_page_on_arithmetic_has_the_formulas_that_are_computed() -> None:
    page = (Path(__file__).parents[1] / "docs" / "explanation" / "arithmetic.md").read_text()
    blocks = re.findall(r"^    (.+)$", page.split("## Four-momenta")[1].split("\n## ")[0], re.M)
    written = dict(re.split(r" +=(?!=) ", part) for line in blocks for part in re.split(r" {5,}(?=\w)", line))
    computed = {**momenta._COMPONENTS, **momenta._OF_SUM}
    short = {name.replace("_squared", "2").replace("mass2", "m2"): text for name, text in computed.items()}
    short = {name: text.replace("_squared", "2").replace("mass2", "m2") for name, text in short.items()}
    assert written == {**short, **momenta._DELTA_R}
    assert f"`{momenta._TRANSVERSE_MASS}`" in page


# Random events: ties, NaN, infinities, empty lists, no events. The oracles go object by object, with Python's own sort.

NUMBERS = [0.0, 1.0, 2.0, 5.0, 20.0, math.nan, math.inf, -0.0, 1e-3, 33.5]
ANGLES = [0.0, 3.1, -3.1, 3.141592653589793, -3.141592653589793, 1.0, 0.5, math.nan, 6.0]


def events_of(seed: int, size: int) -> dict[str, list]:
    rng = np.random.default_rng(seed)
    found: dict[str, list] = {}
    for collection in ("Muon", "Jet", "vEle"):
        counts = rng.integers(0, 5, size)
        for name, choices in (("pt", NUMBERS), ("eta", NUMBERS), ("phi", ANGLES), ("mass", [0.1, 0.0, -1.0, 3.0])):
            found[f"{collection}_{name}"] = [rng.choice(choices, n).tolist() for n in counts]
        found[f"{collection}_charge"] = [rng.choice([-1, 1], n).tolist() for n in counts]
        found[f"{collection}_tight"] = [(rng.random(n) < 0.6).tolist() for n in counts]
    return found | {"MET_pt": rng.choice(NUMBERS, size).tolist(), "MET_phi": rng.choice(ANGLES, size).tolist()}


def random_events(test: Callable[[Events], None]) -> Callable[[], None]:
    @settings(max_examples=25, print_blob=False)
    @given(seed=st.integers(0, 2**32), size=st.sampled_from([0, 1, 2, 8]))
    def checked(seed: int, size: int) -> None:
        test(events_of(seed, size))

    return checked


def each(events: Events, collection: str) -> list[list[dict]]:
    """Return the objects of each event."""
    names = [name.removeprefix(f"{collection}_") for name in events if name.startswith(f"{collection}_")]
    sizes = [len(value) for value in events[f"{collection}_pt"]]
    return [
        [{name: events[f"{collection}_{name}"][i][n] for name in names} for n in range(size)]
        for i, size in enumerate(sizes)
    ]


def in_order(objects: list[dict], key: Callable[[dict], float], sign: int) -> list[dict]:
    """Return objects in stable order, NaN last."""
    return sorted(objects, key=lambda x: (math.isnan(key(x)), 0 if math.isnan(key(x)) else sign * key(x)))


def fields_of(events: list[list[dict]], prefix: str, names: list[str]) -> dict[str, list]:
    return {f"{prefix}_{name}": [[x[name] for x in objects] for objects in events] for name in names}


def same(found: dict[str, list], expected: dict[str, list]) -> None:
    assert {name: bits(value) for name, value in found.items()} == {name: bits(v) for name, v in expected.items()}


@random_events
def test_selected_objects_are_in_order(events: Events) -> None:
    params = {
        "collection": "Muon",
        "output": "Good",
        "selection": ["pt > 0.5", "tight", "cut < CUT"],
        "derived": {"cut": "abs(eta) + 1"},
        "keep": ["pt", "charge", "cut", "tight"],
    }
    chosen = [
        in_order(
            [
                {**x, "cut": abs(x["eta"]) + 1}
                for x in objects
                if x["pt"] > 0.5 and x["tight"] and abs(x["eta"]) + 1 < 10
            ],
            lambda x: x["pt"],
            -1,
        )
        for objects in each(events, "Muon")
    ]
    expected = {"nGood": [len(x) for x in chosen], **fields_of(chosen, "Good", params["keep"])}
    same(made([("hep.select_objects", params)], events), expected)


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_objects_are_sorted_by_any_field(order: str) -> None:
    events = events_of(3, 50)
    params = {"collection": "vEle", "output": "E", "keep": ["charge", "eta"], "sort": {"by": "eta", "order": order}}
    sign = 1 if order == "ascending" else -1
    chosen = [in_order(objects, lambda x: x["eta"], sign) for objects in each(events, "vEle")]
    expected = {"nE": [len(x) for x in chosen], **fields_of(chosen, "E", ["charge", "eta"])}
    same(made([("hep.select_objects", params)], events), expected)


def momentum(x: dict) -> np.ndarray:
    with np.errstate(all="ignore"):
        pt, eta, phi, mass = (np.float64(x[name]) for name in ("pt", "eta", "phi", "mass"))
        p = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
        square = (p * p).sum() + mass * abs(mass)
        return np.array([*p, np.sqrt(square if not square < 0 else 0.0)])


def coordinates(p: np.ndarray) -> dict[str, float]:
    with np.errstate(all="ignore"):
        pt = np.hypot(p[0], p[1])
        square = p[3] * p[3] - (p[:3] * p[:3]).sum()
        return {
            "pt": pt,
            "eta": 0.0 if p[2] == 0 else np.arcsinh(p[2] / pt),
            "phi": np.arctan2(p[1], p[0]),
            "mass": np.copysign(np.sqrt(abs(square)), square),
        }


def nearly(found: dict[str, list], expected: dict[str, list], scale: float) -> None:
    """Check floats up to rounding, everything else exactly; ``scale`` is that of what cancels."""
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        flat = [[y for x in side for y in (x if isinstance(x, list) else [x])] for side in (found[name], values)]
        assert [x if not isinstance(x, list) else len(x) for x in found[name] if not isinstance(x, float)] == [
            x if not isinstance(x, list) else len(x) for x in values if not isinstance(x, float)
        ], name
        np.testing.assert_allclose(*flat, rtol=1e-9, atol=scale, err_msg=name)


def tame(events: Events) -> dict[str, list]:
    """Return events whose momenta are ordinary numbers: the others have no order that rounding doesn't decide."""
    rng = np.random.default_rng(len(events["MET_pt"]))
    return {
        name: value
        if name.endswith(("charge", "tight"))
        else [rng.uniform(-2, 2, len(x)).tolist() if isinstance(x, list) else float(rng.uniform(1, 2)) for x in value]
        for name, value in events.items()
    }


@random_events
def test_pairs_are_all_pairs_of_different_objects(events: Events) -> None:
    events = tame(events)
    params = {
        "collections": ["Muon", "vEle"],
        "output": "LL",
        "pair": {"unordered": True},
        "selection": {"pair": ["lepton_1_charge * lepton_2_charge < 0"], "candidate": ["pt > 0.2", "pt < CUT"]},
        "sort": {"by": "abs(mass - 1)", "order": "descending"},
        "keep": {"candidate": ["pt", "eta", "phi", "mass"], "constituents": ["pt", "charge"]},
    }
    chosen = []
    for muons, electrons in zip(each(events, "Muon"), each(events, "vEle"), strict=True):
        found = []
        for x, y in itertools.combinations(muons + electrons, 2):
            candidate = coordinates(momentum(x) + momentum(y))
            if x["charge"] * y["charge"] < 0 and 0.2 < candidate["pt"] < 10:
                sides = {f"{n}_{name}": side[name] for n, side in ((1, x), (2, y)) for name in ("pt", "charge")}
                found.append({**candidate, **sides})
        chosen.append(in_order(found, lambda z: abs(z["mass"] - 1), -1))
    expected = {"nLL_Z": [len(x) for x in chosen], **fields_of(chosen, "LL_Z", ["pt", "eta", "phi", "mass"])}
    for n in (1, 2):
        sides = fields_of(chosen, f"LL_lepton_{n}", [f"{n}_pt", f"{n}_charge"])
        expected |= {name.replace(f"_{n}_{n}_", f"_{n}_"): value for name, value in sides.items()}
    nearly(made([("hep.build_pairs", params)], events), expected, 1e-7)


def test_a_negative_square_of_a_mass_is_a_negative_mass() -> None:
    events = {f"Muon_{name}": [[value, value]] for name, value in (("pt", 10.0), ("eta", 0.0), ("phi", 0.5))}
    events |= {"Muon_mass": [[-3.0, -3.0]], "Muon_charge": [[1, -1]]}
    params = {"collections": ["Muon"], "output": "MM", "keep": {"candidate": ["mass", "eta"], "constituents": ["mass"]}}
    found = made([("hep.build_pairs", params)], events)
    assert found["MM_Z_mass"][0][0] == pytest.approx(-6.0)
    assert found["MM_Z_eta"] == [[0.0]]


def test_a_pair_along_the_beam_has_infinite_eta() -> None:
    events = {"Muon_pt": [[1.0, 1.0]], "Muon_eta": [[2.0, 1.0]], "Muon_mass": [[0.0, 0.0]]}
    events["Muon_phi"] = [[0.0, math.pi]]
    params = {"collections": ["Muon"], "output": "MM", "keep": {"candidate": ["pt", "eta"], "constituents": ["pt"]}}
    found = made([("hep.build_pairs", params)], events)
    assert 0 < found["MM_Z_pt"][0][0] < 1e-15  # math.pi is no multiple of pi
    assert found["MM_Z_eta"][0][0] > 30


def distance(x: dict, y: dict) -> float:
    turned = x["phi"] - y["phi"]
    turns = round(turned / (2 * math.pi)) if math.isfinite(turned) else turned
    with np.errstate(all="ignore"):
        phi, eta = np.float64(turned - turns * 2 * math.pi), np.float64(x["eta"]) - y["eta"]
        return float(np.sqrt(eta * eta + phi * phi))


@random_events
def test_clean_removes_what_is_close_to_others(events: Events) -> None:
    params = {
        "source": "Jet",
        "clean_against": ["Muon", "vEle"],
        "min_delta_r": 1.0,
        "sort_by": "pt",
        "sort_order": "ascending",
        "diagnostics": {"removed_count": "gone", "keep_removed": True},
        "fields": ["charge"],
    }
    kept, removed = [], []
    for jets, muons, electrons in zip(*(each(events, name) for name in ("Jet", "Muon", "vEle")), strict=True):
        near = [any(distance(jet, other) < 1 for other in muons + electrons) for jet in jets]
        free = [jet for jet, overlaps in zip(jets, near, strict=True) if not overlaps]
        kept.append(in_order(free, lambda jet: jet["pt"], 1))
        removed.append([jet for jet, overlaps in zip(jets, near, strict=True) if overlaps])
    names = ["charge", "eta", "phi", "pt"]
    expected = {"ncleaned_Jet": [len(x) for x in kept], "gone": [len(x) for x in removed]}
    expected |= fields_of(kept, "cleaned_Jet", names) | fields_of(removed, "cleaned_Jet_removed", names)
    same(made([("hep.clean", params)], events), expected)


def test_distances_go_around() -> None:
    events = {"Jet_eta": [[0.0]], "Jet_phi": [[3.1]], "Muon_eta": [[0.0]], "Muon_phi": [[-3.1]]}
    found = made([("hep.clean", {"source": "Jet", "clean_against": ["Muon"], "min_delta_r": 0.1})], events)
    assert found["nremoved_cleaned_Jet"] == [1]
    found = made([("hep.clean", {"source": "Jet", "clean_against": ["Muon"], "min_delta_r": 0.08})], events)
    assert found["nremoved_cleaned_Jet"] == [0]


def test_diagnostics_can_be_left_out() -> None:
    events = {"Jet_eta": [[0.0]], "Jet_phi": [[3.1]]}
    for diagnostics in (False, {"removed_count": False}):
        params = {"source": "Jet", "clean_against": ["Jet"], "diagnostics": diagnostics}
        assert made([("hep.clean", params)], events) == {
            "ncleaned_Jet": [0],
            "cleaned_Jet_eta": [[]],
            "cleaned_Jet_phi": [[]],
        }


def test_clean_takes_what_stands_beside_the_directions() -> None:
    events = {"Jet_eta": [[0.0]], "Jet_phi": [[3.1]], "Jet_total": [5.0], "Muon_eta": [[0.0]], "Muon_phi": [[0.0]]}
    scale = (
        "hep.define",
        {"variables": [{"name": "Jet_scaled", "expr": "Jet_eta + 1"}, {"name": "Jet_met", "expr": "1"}]},
    )
    found = made([scale, ("hep.clean", {"source": "Jet", "clean_against": ["Muon"]})], events)
    assert {name for name in found if name.startswith("cleaned_Jet_")} == {
        "cleaned_Jet_eta",
        "cleaned_Jet_phi",
        "cleaned_Jet_scaled",
    }


@random_events
def test_recoil_is_the_sum_with_the_highest_pt(events: Events) -> None:
    events = tame(events)
    params = {"met": "MET", "visible": ["Muon"], "output": "R", "selection": ["pt > 1"], "keep": ["pt", "phi", "eta"]}
    candidates = []
    for i, muons in enumerate(each(events, "Muon")):
        met, angle = events["MET_pt"][i], events["MET_phi"][i]
        sums = [(met * math.cos(angle) + x["pt"] * math.cos(x["phi"]), met * math.sin(angle) + x["pt"] * math.sin(x["phi"]))
                for x in muons]  # fmt: skip
        found = [{"pt": math.hypot(*p), "phi": math.atan2(p[1], p[0]), "eta": 0.0} for p in sums if math.hypot(*p) > 1]
        candidates.append(in_order(found, lambda x: x["pt"], -1))
    expected = {"nR": [len(x) for x in candidates]}
    expected |= fields_of([x[:1] for x in candidates], "R", ["pt", "phi", "eta"])
    nearly(made([("hep.build_recoil", params)], events), expected, 1e-9)


@random_events
def test_lepton_and_met_make_a_candidate(events: Events) -> None:
    events = tame(events)
    params = {
        "lepton": "Muon",
        "met": "MET",
        "output": "W",
        "selection": {"lepton": ["tight"], "candidate": ["MT > 0.5"]},
        "keep": {"candidate": ["pt", "mass", "MT"], "lepton": ["charge", "tight"]},
    }
    leptons, candidates = [], []
    for i, muons in enumerate(each(events, "Muon")):
        met = {"pt": events["MET_pt"][i], "eta": 0.0, "phi": events["MET_phi"][i], "mass": 0.0}
        tight = [x for x in muons if x["tight"]]
        leptons.append(len(tight))
        found = []
        for x in tight:
            with np.errstate(all="ignore"):
                transverse = np.sqrt(np.float64(2 * met["pt"] * x["pt"] * (1 - math.cos(x["phi"] - met["phi"]))))
            if transverse > 0.5:
                momenta = coordinates(momentum(x) + momentum(met))
                found.append({**x, **momenta, "MT": float(transverse), "charge": x["charge"]})
        candidates.append(found)
    expected = {"nW_lepton": leptons, "nW_W": [len(x) for x in candidates]}
    expected |= fields_of(candidates, "W_W", ["pt", "mass", "MT"]) | fields_of(
        candidates, "W_lepton", ["charge", "tight"]
    )
    nearly(made([("hep.build_lepton_met_candidate", params)], events), expected, 1e-7)


@random_events
def test_jets_match_the_closest_ones(events: Events) -> None:
    fields = {key: {"et": f"{name}_pt", "eta": f"{name}_eta", "phi": f"{name}_phi"}
              for key, name in (("reco", "Jet"), ("l1", "vEle"))}  # fmt: skip
    found = made([("cms.match_l1t_jets", {**fields, "dr_max": 2})], events)
    kept, pairs, smallest = [], [], []
    for reco, first in zip(each(events, "Jet"), each(events, "vEle"), strict=True):
        kept.append(any(x["pt"] > 20 for x in reco) and bool(first))
        matched = []
        for x in reco if first else ():
            away = [distance(x, y) for y in first]
            nan = next((n for n, d in enumerate(away) if math.isnan(d)), None)
            best = away.index(min(away)) if nan is None else nan
            if away[best] <= 2:
                matched.append({"reco": x["pt"], "l1": first[best]["pt"]})
        pairs.append(matched)
        every = [distance(x, y) for x in reco for y in first]
        smallest.append(math.nan if any(map(math.isnan, every)) else min(every, default=math.inf))
    expected = {"mask": kept, "n_matched": [len(x) for x in pairs], "unmatched_dr": smallest}
    expected |= {f"matched_{key}_et": [[x[key] for x in event] for event in pairs] for key in ("reco", "l1")}
    same(found, expected)
