"""Histograms with a sample: filled, merged, stored, compared, drawn; means against ``fractions.Fraction``."""

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import hist
import jsonschema
import numpy as np
import pytest
import uhi.io.json
from events import MC, Bench, axis, write_files
from events import hist as filling
from lowered import Chain, canonical, column, product
from rendering import FACTS, MASS, PT, SMALL, SPLIT, Picture, deriving
from test_column_parameters import faulty
from test_products import SCHEMA

from fasthep_archive.data.products import Histogram
from fasthep_archive.operations.histogram import Hist
from fasthep_archive.operations.protocol import Made, Output
from fasthep_archive.operations.render import frame
from fasthep_archive.operations.render.comparison import ComparisonPlot
from fasthep_archive.operations.render.data_mc import DataMC
from fasthep_archive.operations.render.heatmap2d import Heatmap2D
from fasthep_archive.operations.render.hist1d import Hist1D
from fasthep_archive.operations.render.project import Project
from fasthep_archive.operations.tallies import Integral
from fasthep_archive.report import plots
from fasthep_archive.verification.histograms import compare_histograms

EVENTS = 60
RANDOM = np.random.default_rng(8)
X = RANDOM.uniform(-1, 4, EVENTS).tolist()
W = RANDOM.normal(1, 0.4, EVENTS).tolist()
Y = [None if RANDOM.random() < 0.2 else value for value in RANDOM.normal(91, 2, EVENTS).tolist()]
LISTS = [RANDOM.normal(50, 9, RANDOM.integers(0, 4)).tolist() for _ in range(EVENTS)]
EDGES = [0.0, 1.0, 2.0, 3.0]
CLOSE = {"rtol": 1e-4, "atol": 1e-3}
AXIS = {"name": "x", "source": "x", "type": "variable", "bins": {"edges": EDGES}}


def chain(cache: Path, **params: object) -> Chain:
    columns = {"x": column(X), "w": column(W), "y": column(Y), "l": column(LISTS), "n": column([1, 2] * 30, "int")}
    made = Chain(columns, cache)
    made.of("hep.hist", {"axes": [AXIS], **params})
    return made


def stored(cache: Path, block: int = 7, **params: object) -> Mapping[str, object]:
    made = chain(cache, **params)
    assert not made.faults
    operation, _ = made.left["S"]
    files = product(operation, [made.part("S", block)], ["mc"], cache)
    return json.loads(files["histograms/S.json"])


def means(
    weights: list[float], samples: list[float | None], where: list[float]
) -> tuple[list[float], list[float], list[int]]:
    """Return means, variances and numbers of entries by the textbook's formulas, in rational numbers."""
    found: list[tuple[float, float, int]] = []
    for bin_ in range(5):
        low, high = [-math.inf, *EDGES, math.inf][bin_ : bin_ + 2]
        inside = [
            (Fraction(w), Fraction(s))
            for w, s, x in zip(weights, samples, where, strict=True)
            if low <= x < high and s is not None
        ]
        w = sum(w for w, _ in inside)
        mean = sum(w * s for w, s in inside) / w
        spread = sum(w * (s - mean) ** 2 for w, s in inside)
        found.append((float(mean), float(spread / (w - sum(w * w for w, _ in inside) / w)), len(inside)))
    return tuple(map(list, zip(*found, strict=True)))


# --- filling ---------------------------------------------------------------------------------------------------------


def test_a_profile_has_the_means_of_its_sample(kernel_cache: Path):
    storage = stored(kernel_cache, sample="y")["storage"]
    values, variances, counts = means([1.0] * EVENTS, Y, X)
    assert storage == {"type": "mean", "counts": counts, "values": values, "variances": variances}


def test_a_weighted_profile_has_weighted_means(kernel_cache: Path):
    storage = stored(kernel_cache, sample="y", weight_expr="w")["storage"]
    values, variances, _ = means(W, Y, X)
    assert (storage["type"], storage["values"], storage["variances"]) == ("weighted_mean", values, variances)


def test_sums_of_weights_are_those_of_what_has_a_sample(kernel_cache: Path):
    storage = stored(kernel_cache, sample="y", weight_expr="w")["storage"]
    inside = [w for w, y, x in zip(W, Y, X, strict=True) if 1 <= x < 2 and y is not None]
    assert storage["sum_of_weights"][2] == math.fsum(inside)
    assert storage["sum_of_weights_squared"][2] == float(sum(Fraction(w) ** 2 for w in inside))


def test_samples_of_events_count_for_each_value(kernel_cache: Path):
    axis = {"name": "l", "source": "l", "type": "variable", "bins": {"edges": [40.0, 50.0, 60.0]}}
    storage = stored(kernel_cache, axes=[axis], sample="x")["storage"]
    inside = [Fraction(x) for x, found in zip(X, LISTS, strict=True) for value in found if 40 <= value < 50]
    assert storage["values"][1] == float(sum(inside) / len(inside))


@pytest.mark.parametrize("block", [1, 13, EVENTS])
def test_blocks_of_any_size_give_the_same(block: int, kernel_cache: Path):
    params = {"sample": "y", "weight_expr": "w", "storage": "weighted_mean"}
    assert stored(kernel_cache, block, **params) == stored(kernel_cache, 7, **params)


def test_variations_have_means_of_their_own(kernel_cache: Path):
    varied = {"axis": "v", "weights": {"nominal": "w", "none": "1"}}
    storage = stored(kernel_cache, sample="y", variations=varied)["storage"]
    of_bins = [row[:2] for row in storage["values"]]
    expected = zip(means(W, Y, X)[0], means([1.0] * EVENTS, Y, X)[0], strict=True)
    assert of_bins == [list(pair) for pair in expected]


def test_parts_of_growing_axes_are_merged_where_they_belong(kernel_cache: Path):
    axis = {"name": "n", "source": "n", "type": "int"}
    operation = Hist.read(canonical("hep.hist", {"axes": [axis], "sample": "s", "dataset_axis": True}))
    parts = []
    for numbers in ([3, 1], [1, 2, 3]):
        made = Chain(
            {"n": column(numbers, "int"), "s": column([10.0 * n + len(numbers) for n in numbers])}, kernel_cache
        )
        made.stage(operation)
        parts.append(made.part("S"))
    found = json.loads(product(operation, parts, ["mc", "none"], kernel_cache)["histograms/S.json"])
    assert found["axes"][1]["categories"] == [3, 1, 2]
    assert found["storage"]["values"] == [[32.5, 12.5, 23.0], [0.0] * 3]
    assert found["storage"]["variances"] == [[0.5, 0.5, 0.0], [0.0] * 3]


def test_runs_give_exact_means_for_any_partition_and_number_of_workers(kernel_cache: Path, tmp_path: Path):
    """Of jagged samples of events in two files, whose branches have other types."""
    (tmp_path / "files").mkdir()
    (tmp_path / "bench").mkdir()
    write_files(tmp_path / "files")
    bench = Bench(tmp_path / "files", kernel_cache, tmp_path / "bench")
    bins = {"low": -40, "high": 40, "nbins": 4}
    profile_ = filling("P", axis("Muon_Px", "regular", bins), sample="Muon_E", weight_expr="EventWeight")
    runs = [bench(profile_), bench(profile_, chunk=40, workers=2)]
    assert runs[0].bytes() == runs[1].bytes()
    rows = [
        (Fraction(e["EventWeight"]), Fraction(energy), px)
        for e in MC
        for energy, px in zip(e["Muon_E"], e["Muon_Px"], strict=True)
    ]
    inside = [(w, energy) for w, energy, px in rows if -20 <= px < 0]
    assert runs[0].values("P")[2] == float(sum(w * energy for w, energy in inside) / sum(w for w, _ in inside))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sample": "y", "storage": "weighted"}, "a histogram with a sample holds its means"),
        ({"storage": "mean"}, "storage: mean needs a sample"),
        ({"sample": "y", "storage": "mean", "weight_expr": "w"}, "a mean of equal samples has no use for weight_expr"),
    ],
)
def test_a_storage_that_does_not_fit_is_a_fault(params: Mapping[str, object], message: str):
    assert [said for said, _ in faulty("hep.hist", {"axes": [AXIS], **params})] == [message]


def test_a_sample_has_no_more_values_than_the_axes(kernel_cache: Path):
    assert chain(kernel_cache, sample="l").faults == [
        "params/sample: this sample is a list of values per event, but the axes have one value per event"
    ]


def test_only_our_version_of_the_language_has_samples():
    schema = json.loads((Path(__file__).parents[1] / "schemas" / "workflow-1.0.json").read_text())
    assert "sample" not in schema["$defs"]["hist"]["properties"]


# --- storing ---------------------------------------------------------------------------------------------------------


def profile(*axes: object, weighted: bool = True, seed: int = 1, center: float = 90.0) -> Histogram:
    """Return a profile with two empty bins and one with one entry."""
    random, shape = np.random.default_rng(seed), tuple(axis.size for axis in axes)
    counts = random.integers(2, 50, shape)
    counts.reshape(-1)[:3] = (0, 1, 0)[: counts.size]
    sumw = counts * 0.5
    arrays = {"sumw": sumw, "sumw2": sumw * 0.5} if weighted else {"counts": counts}
    return Histogram(
        name="P",
        axes=axes,
        storage="weighted_mean" if weighted else "mean",
        values=np.where(counts > 0, center + random.normal(0, 0.3, shape), 0.0),
        variances=np.where(counts > 1, random.uniform(1, 2, shape), 0.0),
        **arrays,
    )


PROFILES = [profile(MASS), profile(MASS, weighted=False), profile(SPLIT, PT), profile(weighted=False)]


@pytest.mark.parametrize("stored_", PROFILES)
def test_profiles_conform_to_the_uhi_schema(stored_: Histogram):
    jsonschema.validate(json.loads(stored_.to_json()), SCHEMA)


@pytest.mark.parametrize("stored_", PROFILES)
def test_hist_reads_profiles(stored_: Histogram):
    read = hist.Hist(json.loads(stored_.to_json(), object_hook=uhi.io.json.object_hook))
    several = stored_.variances > 0
    for view in (read.view(flow=True), stored_.to_hist().view(flow=True)):
        assert np.array_equal(view["value"], stored_.values)
        if stored_.counts is not None:
            assert np.array_equal(view["count"], stored_.counts)
        else:
            assert np.array_equal(view["sum_of_weights"], stored_.sumw)
            assert np.array_equal(view["sum_of_weights_squared"], stored_.sumw2)
        np.testing.assert_allclose(view.variance[several], stored_.variances[several], rtol=1e-12)


@pytest.mark.parametrize("weights", [False, True], ids=["counted", "weighted"])
def test_hist_fills_nearly_the_same(weights: bool, kernel_cache: Path):
    """Fill by fill, so that rounding is in the last digits."""
    found = stored(kernel_cache, sample="y", **({"weight_expr": "w"} if weights else {}))
    storage = hist.storage.WeightedMean() if weights else hist.storage.Mean()
    filled = hist.Hist(hist.axis.Variable(EDGES), storage=storage)
    chosen = [number for number in range(EVENTS) if Y[number] is not None]
    x, y, w = (np.array([column_[number] for number in chosen]) for column_ in (X, Y, W))
    filled.fill(x, sample=y, **({"weight": w} if weights else {}))
    view = filled.view(flow=True)
    np.testing.assert_allclose(found["storage"]["values"], view["value"], rtol=1e-12)
    np.testing.assert_allclose(found["storage"]["variances"], view.variance, rtol=1e-9)


@pytest.mark.parametrize("stored_", PROFILES)
def test_what_is_read_writes_the_same_bytes(stored_: Histogram):
    assert Histogram.from_json(stored_.to_json()).to_json() == stored_.to_json()


@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
def test_merging_in_hist_survives_bins_with_few_entries(weighted: bool):
    """A variance that is not there is stored as 0: a NaN would stay in every sum."""
    read = profile(MASS, weighted=weighted).to_hist()
    found = (read + read).view(flow=True)
    assert np.isfinite(found[found.dtype.names[-1]]).all()


# --- comparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
def test_a_mean_that_differs_is_found_in_its_bin(weighted: bool):
    before, now = (json.loads(profile(MASS, weighted=weighted).to_json()) for _ in range(2))
    now["storage"]["values"][4] *= 1 + 2**-50
    contrast = compare_histograms(*(json.dumps(one).encode() for one in (before, now)))
    assert contrast.numbers.places == 1
    assert contrast.findings[0].where == "mass [75, 80)"
    assert contrast.remark is None  # means add up to no distribution


def test_a_number_of_entries_that_differs_is_called_by_its_name():
    before, now = (json.loads(profile(MASS, weighted=False).to_json()) for _ in range(2))
    now["storage"]["counts"][4] += 1
    contrast = compare_histograms(*(json.dumps(one).encode() for one in (before, now)))
    assert contrast.findings[0].where == "mass [75, 80), counts"


# --- drawing ---------------------------------------------------------------------------------------------------------


def made(stored_: Histogram, name: str = "P") -> Made:
    axes = [{"name": axis.name, "source": axis.name, "type": "bool"} for axis in stored_.axes if axis is not SPLIT]
    params = {"axes": axes, "storage": stored_.storage, "sample": "Muon_Pt"}
    params |= {"dataset_axis": {"name": "dataset", "source": "dataset_name", "type": "category"}}
    return Made(stage=name, op="hep.hist", operation=Hist.read(params), outputs=(f"histograms/{name}.json",))


def drawn(stored_: Histogram, **params: object) -> Picture:
    faults: list = []
    renderer = Hist1D.read({**SMALL, "out": "x.svg", **params})
    derivation = renderer.derivation(deriving({"P": made(stored_)}, faults))
    assert derivation is not None, faults
    outputs = derivation.derive({"P": (Output(name="histograms/P.json", held=stored_.to_json()),)}, Path("unused"))
    limits = params["axes"]["y"]["limits"] if "axes" in params else (0, 1)
    return Picture(outputs[0].content, (60, 120), limits)


def test_means_are_points_with_their_errors():
    stored_ = profile(SPLIT, MASS)
    picture = drawn(stored_, axes={"y": {"limits": [85, 95]}})
    values = stored_.values[1, 1:-1]
    centres = np.arange(62.5, 120, 5)
    np.testing.assert_allclose(picture.points("main.1"), np.stack([centres, values], axis=1), **CLOSE)
    error = math.sqrt(stored_.variances[1, 3] * stored_.sumw2[1, 3]) / stored_.sumw[1, 3]
    low, high = sorted(picture.paths("main.1.errors")[2][:, 1])
    assert (low, high) == (pytest.approx(values[2] - error, abs=0.02), pytest.approx(values[2] + error, abs=0.02))


def test_the_axis_begins_where_the_means_do():
    """Not at zero, as one of numbers of events does."""
    limits = []
    original = frame.fitted

    def spied(style: object, extent: object) -> tuple[float, float]:
        limits.append(original(style, extent))
        return limits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "fitted", spied)
        drawn(profile(SPLIT, MASS))
    assert 85 < limits[0][0] < limits[0][1] < 95


def test_an_empty_profile_is_drawn():
    empty = Histogram(
        name="P",
        axes=(MASS,),
        storage="mean",
        values=np.zeros(14),
        variances=np.zeros(14),
        counts=np.zeros(14, np.int64),
    )
    assert "remark" in drawn(empty).by_id


OTHERS = {
    "data_mc": (DataMC, {"data_mc": {"data": "data", "signals": ["dy"], "backgrounds": ["ttbar"]}}),
    "heatmap2d": (Heatmap2D, {}),
    "project": (Project, {"project": {"axis": "mass", "then": {"op": "hep.render.hist1d"}}}),
    "comparison": (ComparisonPlot, {"comparison": {"reference": "P", "target": "P"}}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_renderers_of_numbers_of_events_take_no_means(name: str):
    renderer, params = OTHERS[name]
    faults: list = []
    derivation = renderer.read({**params, "out": "x.png"}).derivation(deriving({"P": made(PROFILES[2])}, faults))
    assert derivation is None
    message, _, hint = faults[0]
    assert message == "this draws numbers of events, and 'P' has means of Muon_Pt"
    assert hint == "draw a profile with op: hep.render.hist1d"


def test_means_are_not_added_by_transforms():
    faults: list = []
    renderer = Hist1D.read({"out": "x.png", "transforms": [{"kind": "group"}]})
    assert renderer.derivation(deriving({"P": made(PROFILES[2])}, faults)) is None
    assert [message for message, _, _ in faults] == ["'P' has means of Muon_Pt"]


def test_a_profile_has_no_integral():
    faults: list = []
    tally = Integral.read("i", {"of": "P", "select": {}}).tally(deriving({"P": made(PROFILES[2])}, faults), ("params",))
    assert tally is None
    assert faults[0][0] == "an integral is a number of events, and 'P' has means of Muon_Pt"


def test_reports_have_no_stack_of_means():
    outputs = {"histograms/P.json": PROFILES[2].to_json()}
    assert not plots.pictures(outputs, datasets={fact.name: fact.eventtype for fact in FACTS})
