"""The tutorials of FAST-HEP, written anew, and the reference's examples: run, packed, replayed, compared.

``tutorials/NAME.json`` has what FAST-HEP 2026.10 gave for the same documents (``tutorials/run_fasthep.py``). It computes
with the float32 numbers of the files in float32; sums here are exact. Where FAST-HEP is wrong (rules A to K), it is
NumPy and awkward-array that say what is right, and a test shows what FAST-HEP had.
"""

import csv
import json
import math
import runpy
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from shared import SHARED, needed

import fasthep_archive
from fasthep_archive.data.products import Cutflow, Histogram, StrCategoryAxis

TUTORIALS = Path(__file__).parent / "tutorials"
NAMES = sorted(path.stem for path in TUTORIALS.glob("*.json"))
CHUNKS = {"partitioned_skim": 40}
FLOAT32 = 3e-7
"""Relative: what rounding to float32 at the end, or once at every event, can change."""
DIFFERENT = {
    "partitioned_skim": "D",  # FAST-HEP reads no more than the 120 events that the document claims
    "trigger_jets": "B",  # FAST-HEP counts everything twice
}
"""Documents whose nominal numbers FAST-HEP gets wrong, and the rule."""
PACKED = ("object_selections",)
"""Documents that are packed and replayed always; the others are so when slow tests are asked for."""

Bins = dict[tuple[int, ...], list[float]]
Ran = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Return a folder with the documents and their data."""
    place = tmp_path_factory.mktemp("tutorials")
    for path in (*TUTORIALS.glob("*.yaml"), *shared_data.glob("CMS*.root"), *shared_data.glob("nanoAOD*.root")):
        shutil.copy(path, place)
    script = runpy.run_path(str(TUTORIALS / "make_data.py"))
    script["main"](place)
    script["examples"](needed(SHARED / "reference" / "examples"), place)
    return place


@pytest.fixture(scope="module")
def ran(folder: Path, kernel_cache: Path) -> Ran:
    """Return what runs a document, once, and returns the directory of its products."""

    @cache
    def run(name: str) -> Path:
        return fasthep_archive.run(
            folder / f"{name}.yaml", folder / "ran" / name, workers=1, chunk=CHUNKS.get(name), cache=kernel_cache
        ).directory

    return run


@pytest.fixture(scope="module")
def tutorial_events(shared_data: Path) -> ak.Array:
    """Return what the tutorials with rule D read."""
    with uproot.open(shared_data / "CMS_HEP_tutorial_ww.root") as file:
        return file["events"].arrays(["NMuon", "EventWeight", "triggerIsoMu24"])


def read(path: Path, column: str) -> np.ndarray:
    """Return a column of a written file."""
    with uproot.open(path) as file:
        found: np.ndarray = file["events"][column].array(library="np")
    return found


@cache
def given(name: str) -> Mapping[str, Mapping[str, object]]:
    """Return what FAST-HEP gave."""
    found: Mapping[str, Mapping[str, object]] = json.loads((TUTORIALS / f"{name}.json").read_text())
    return found


def with_kind(kind: str) -> list[tuple[str, str]]:
    """Return the documents and products that are as FAST-HEP has them."""
    return [(name, product) for name in NAMES if name not in DIFFERENT for product in given(name).get(kind, ())]


def products(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "product"), with_kind(kind))


def bins(found: Histogram) -> Bins:
    """Return the bins that are not empty: the sum, and that of squared weights if there are weights."""
    arrays = [found.values] if found.variances is None else [found.values, found.variances]
    return {
        tuple(place): [float(array[tuple(place)]) for array in arrays] for place in np.argwhere(found.values).tolist()
    }


def histogram(directory: Path, name: str) -> Histogram:
    return Histogram.from_json((directory / f"histograms/{name}.json").read_bytes())


def cutflow(directory: Path, name: str) -> list[tuple[str, str, list[float]]]:
    found = Cutflow.from_json((directory / f"cutflows/{name}.json").read_bytes())
    return [
        (row.dataset, row.cut, [row.events_in, row.events_out, row.sumw_in, row.sumw_out, row.sumw2_in, row.sumw2_out])
        for row in found.rows
    ]


def theirs(found: object) -> Bins:
    """Return the bins of FAST-HEP."""
    assert isinstance(found, dict)
    return {tuple(place): numbers for place, *numbers in found["bins"]}


def assert_bins(ours: Bins, other: Bins, scale: float = 1.0) -> None:
    assert ours.keys() == other.keys()
    for place, numbers in ours.items():
        assert [scale * number for number in numbers] == pytest.approx(other[place], rel=FLOAT32)


def rows(found: object) -> list[tuple[str, str, list[float]]]:
    """Return the rows of a cutflow of FAST-HEP."""
    assert isinstance(found, list)
    return [(dataset, cut, numbers) for dataset, cut, *numbers in found]


def assert_rows(
    ours: Sequence[tuple[str, str, list[float]]], other: Sequence[tuple[str, str, list[float]]], scale: float = 1.0
) -> None:
    expected = {(dataset, cut): numbers for dataset, cut, numbers in other}
    assert {row[:2] for row in ours} == expected.keys()
    for dataset, cut, numbers in ours:
        assert [scale * number for number in numbers] == pytest.approx(expected[dataset, cut], rel=FLOAT32)


def varied(directory: Path, variation: str) -> Path:
    return directory / "systematics" / variation


# --- All ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name if name in PACKED else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_it_is_packed_and_replayed(name: str, folder: Path, tmp_path: Path, kernel_cache: Path) -> None:
    bundle = tmp_path / f"{name}.crate.zip"
    document = folder / f"{name}.yaml"
    fasthep_archive.pack(document, bundle, index=False, workers=1, chunk=CHUNKS.get(name), cache=kernel_cache)
    replayed = fasthep_archive.replay(
        bundle,
        tmp_path / "again",
        consent=lambda _: True,
        env="current",
        data=folder,
        workers=1,
        chunk=CHUNKS.get(name),
        cache=kernel_cache,
    )
    assert replayed.report.exit_status == 0
    assert {verdict.level.name for verdict in replayed.report.verdicts} == {"IDENTICAL"}


@products("histograms")
def test_histograms_are_those_of_fasthep(name: str, product: str, ran: Ran) -> None:
    assert_bins(bins(histogram(ran(name), product)), theirs(given(name)["histograms"][product]))


@products("histograms")
def test_axes_are_those_of_fasthep(name: str, product: str, ran: Ran) -> None:
    found = histogram(ran(name), product)
    ours = [
        [axis.name, list(axis.categories) if isinstance(axis, StrCategoryAxis) else axis.size - 2]
        for axis in found.axes
    ]
    assert ours == given(name)["histograms"][product]["axes"]  # type: ignore[index]


@products("cutflows")
def test_cutflows_are_those_of_fasthep(name: str, product: str, ran: Ran) -> None:
    assert_rows(cutflow(ran(name), product), rows(given(name)["cutflows"][product]))


@products("tables")
def test_tables_are_those_of_fasthep(name: str, product: str, ran: Ran) -> None:
    expected = given(name)["tables"][product]
    found = list(csv.reader((ran(name) / f"tables/{product}.csv").read_text().splitlines()))
    assert isinstance(expected, list)
    assert len(found) == len(expected)
    for ours, other in zip(found, expected, strict=True):
        for one, two in zip(ours, other, strict=True):
            assert one == two or float(one) == pytest.approx(float(two), rel=FLOAT32)


@products("files")
def test_written_trees_are_those_of_fasthep(name: str, product: str, ran: Ran) -> None:
    assert_tree(ran(name) / f"files/{product}.root", given(name)["files"][product])


def assert_tree(path: Path, expected: object) -> None:
    """Assert that a file has the columns of FAST-HEP's; lists there have a counter each, ours may share one."""
    assert isinstance(expected, dict)
    with uproot.open(path) as file:
        tree = file["events"]
        assert tree.num_entries == expected["entries"]
        for name, (size, total) in expected["columns"].items():
            own = name.replace("SelectDimuonEvents_", "SelectDimuonEvents.")  # a flag of a cutflow
            if own in tree or not own.startswith("n"):
                values = np.asarray(ak.flatten(tree[own].array(), axis=None), float)
                assert len(values) == size
                assert math.fsum(values[~np.isnan(values)]) == pytest.approx(total, rel=FLOAT32)


@products("schemas")
def test_snapshots_have_the_fields_of_fasthep(name: str, product: str, ran: Ran) -> None:
    node, _, partition = product.partition("/")
    node = node.replace("_", ".", 1).replace("project.", "read.")
    dataset = partition.split("__")[1]
    expected = given(name)["schemas"][product]
    snapshot = json.loads((ran(name) / f"schema/{node}.json").read_text())
    (found,) = (item for item in snapshot["datasets"] if item["dataset"] == dataset)
    names = {field.partition(".")[0] for field in found["fields"]}
    assert isinstance(expected, dict)
    assert found["entries"] == expected["entries"]
    assert set(expected["fields"]) <= names  # ours tells all that the events have, FAST-HEP's what it read


@products("plots")
def test_plots_are_drawn_under_the_names_of_fasthep(name: str, product: str, ran: Ran) -> None:
    plots = ran(name) / "plots"
    assert (plots / f"{product}.png").is_file() or list(
        (plots / product).glob("*.png")
    )  # one for each dataset (rule F)


# --- Rule C: what a variation does not apply to --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variation", "factor", "stage", "simulated"),
    [
        ("variations", "pileup_up", 1.25, "LeadPtHist", "dy"),
        ("variations", "pileup_down", 0.75, "LeadPtHist", "dy"),
        ("ex2_needs_systematics", "trigger_up", 1.02, "LeadPtHist", "ttbar"),
        ("ex2_needs_systematics", "trigger_down", 0.98, "LeadPtHist", "ttbar"),
    ],
)
def test_a_weight_of_simulation_leaves_data_alone(
    name: str, variation: str, factor: float, stage: str, simulated: str, ran: Ran
) -> None:
    product = histogram(varied(ran(name), variation), stage)
    axis = product.axes[0]
    assert isinstance(axis, StrCategoryAxis)
    data, other = axis.categories.index("data"), axis.categories.index(simulated)
    nominal, shifted = bins(histogram(ran(name), stage)), bins(product)
    expected = theirs(given(name)["systematics"][variation]["histograms"][stage])  # type: ignore[index]
    assert_bins(of(shifted, other), of(expected, other))
    assert of(shifted, data) == of(nominal, data)
    for place, (sumw, _) in of(expected, data).items():
        assert sumw == pytest.approx(factor * nominal[place][0], rel=FLOAT32)  # what FAST-HEP has for data


def of(found: Bins, dataset: int) -> Bins:
    return {place: numbers for place, numbers in found.items() if place[0] == dataset}


# --- Rule K: momenta that vary in cuts ----------------------------------------------------------------------------------


def test_a_scale_of_momenta_decides_which_events_pass(ran: Ran, folder: Path) -> None:
    written = (folder / "variations.yaml").read_text()
    scaled = written.replace('"Muon_Pt > 20"', '"1.10 * sqrt(Muon_Px ** 2 + Muon_Py ** 2) > 20"')
    assert scaled != written
    (folder / "scaled.yaml").write_text(scaled)
    assert cutflow(varied(ran("variations"), "scale_up"), "Cuts") == cutflow(ran("scaled"), "Cuts")


@pytest.mark.parametrize("product", ["Select", "LeadPtHist"])
def test_a_scale_of_momenta_reaches_the_cuts_of_an_example(product: str, ran: Ran, folder: Path) -> None:
    written = (folder / "ex2_needs_systematics.yaml").read_text()
    scaled = written.replace("Muon_Pt > 20", "Muon_Pt_up > 20").replace("leading(Muon_Pt)", "leading(Muon_Pt_up)")
    (folder / "scaled_example.yaml").write_text(scaled)
    directory, other = varied(ran("ex2_needs_systematics"), "muon_scale_up"), ran("scaled_example")
    if product == "Select":
        assert cutflow(directory, product) == cutflow(other, product)
        kept = given("ex2_needs_systematics")["systematics"]["muon_scale_up"]["cutflows"]["Select"]  # type: ignore[index]
        assert_rows(cutflow(ran("ex2_needs_systematics"), product), rows(kept))  # FAST-HEP leaves the yields nominal
    else:
        assert bins(histogram(directory, product)) == bins(histogram(other, product))


def test_a_scale_of_momenta_reaches_cuts(ran: Ran) -> None:
    nominal = cutflow(ran("variations"), "Cuts")
    shifted = cutflow(varied(ran("variations"), "scale_up"), "Cuts")
    expected = given("variations")["systematics"]["scale_up"]["cutflows"]["Cuts"]  # type: ignore[index]
    assert_rows(nominal, rows(expected))  # FAST-HEP leaves the yields nominal
    assert all(after[2][1] > before[2][1] for before, after in zip(nominal, shifted, strict=True))


def test_a_scale_of_momenta_reaches_histograms_as_in_fasthep(ran: Ran) -> None:
    product = histogram(varied(ran("variations"), "scale_up"), "LeadPtHist")
    expected = given("variations")["systematics"]["scale_up"]["histograms"]["LeadPtHist"]  # type: ignore[index]
    assert_bins(bins(product), theirs(expected))


# --- Rule B: two sources ------------------------------------------------------------------------------------------------


def test_joined_streams_count_once_in_histograms(ran: Ran) -> None:
    ours = bins(histogram(ran("trigger_jets"), "MatchedEt"))
    assert_bins(ours, theirs(given("trigger_jets")["histograms"]["MatchedEt"]), scale=2.0)


def test_the_smallest_distance_is_that_of_each_event(ran: Ran, folder: Path) -> None:
    """FAST-HEP takes the smallest of a whole partition, so that all events have the same."""
    with uproot.open(folder / "trigger.root") as file:
        found = file["l1UpgradeTree/L1UpgradeTree"].arrays()
        reconstructed = file["l1JetRecoTree/JetRecoTree"].arrays()
    distances = []
    for l1, reco in zip(found.tolist(), reconstructed.tolist(), strict=True):
        etas = np.subtract.outer(np.array(reco["eta"]), np.array(l1["jetEta"]))
        phis = np.subtract.outer(np.array(reco["phi"]), np.array(l1["jetPhi"]))
        apart = np.hypot(etas, (phis + np.pi) % (2 * np.pi) - np.pi).min()
        if max(reco["etCorr"]) > 20 and apart > 0.4:
            distances.append(apart)
    counts, _ = np.histogram(distances, bins=np.linspace(0, 5, 21))
    assert bins(histogram(ran("trigger_jets"), "UnmatchedDR")) == {
        (0, place + 1): [float(count)] for place, count in enumerate(counts) if count
    }
    theirs_once = theirs(given("trigger_jets")["histograms"]["UnmatchedDR"])
    assert theirs_once == {(0, 1): [2.0 * len(distances)]}


@pytest.mark.parametrize("product", ["HasMatch", "NoMatch"])
def test_joined_streams_count_once_in_cutflows(product: str, ran: Ran) -> None:
    assert_rows(cutflow(ran("trigger_jets"), product), rows(given("trigger_jets")["cutflows"][product]), scale=2.0)


# --- Rule D: a number of events that is wrong ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_skim_in_parts_has_all_events(ran: Ran, tutorial_events: ak.Array) -> None:
    chosen = (tutorial_events.NMuon >= 1) & (tutorial_events.triggerIsoMu24 == 1)
    parts = sorted((ran("partitioned_skim") / "files/dimuon_partition_skim/ww").glob("*.root"))
    assert len(parts) > 100  # FAST-HEP has the first three
    weights = np.concatenate([read(path, "EventWeight") for path in parts])
    np.testing.assert_array_equal(np.sort(weights), np.sort(ak.to_numpy(tutorial_events.EventWeight[chosen])))


def test_a_histogram_of_parts_has_all_events(ran: Ran, tutorial_events: ak.Array) -> None:
    chosen = tutorial_events[(tutorial_events.NMuon >= 1) & (tutorial_events.triggerIsoMu24 == 1)]
    numbers, counts = np.unique(ak.to_numpy(chosen.NMuon), return_counts=True)
    expected = {
        (dataset, int(number) + 1): [float(count)]
        for dataset in (0, 1)
        for number, count in zip(numbers, counts, strict=True)
    }
    assert bins(histogram(ran("partitioned_skim"), "Muons")) == expected


def test_no_event_is_left_out_for_a_declared_number(ran: Ran, tutorial_events: ak.Array) -> None:
    muons = ak.to_numpy(tutorial_events.NMuon) >= 1
    both = muons & ak.to_numpy(tutorial_events.triggerIsoMu24)
    weights = ak.to_numpy(tutorial_events.EventWeight).astype(float)
    for dataset, cut, numbers in cutflow(ran("partitioned_skim"), "SelectDimuonEvents"):
        before, after = (np.ones_like(muons), muons) if cut == "dimuon[0]" else (muons, both)
        chosen = (weights[before], weights[after])
        assert dataset in ("data", "ww")
        assert numbers[:2] == [before.sum(), after.sum()]
        assert numbers[2:4] == [math.fsum(each) for each in chosen]
        assert numbers[4:] == [math.fsum(each * each) for each in chosen]
    claimed = rows(given("partitioned_skim")["cutflows"]["SelectDimuonEvents"])
    assert {numbers[0] for _, cut, numbers in claimed if cut == "dimuon[0]"} == {120}
