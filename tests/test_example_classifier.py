"""The example of a classifier: its data, and what an independent calculation makes of them."""

import json
import math
import runpy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import Command

from fasthep_archive import open_run
from fasthep_archive.data.view import Results

EXAMPLE = Path(__file__).parents[1] / "examples" / "classifier"
FEATURES = ("Mjj", "DEta", "MET", "Lepton_pt")


@pytest.fixture(scope="module")
def out(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run."""
    directory = tmp_path_factory.mktemp("classifier") / "out"
    command("run", EXAMPLE / "workflow.yaml", "-o", directory, "-q")
    return directory


@pytest.fixture(scope="module")
def results(out: Path) -> Results:
    return open_run(out)


def selected(dataset: str, parity: int) -> list[dict[str, float]]:
    """Return the events after the preselection whose numbers have a parity."""
    rows = pq.read_table(EXAMPLE / "data" / f"{dataset}.parquet").to_pylist()
    return [row for row in rows if row["Mjj"] > 100 and row["Lepton_pt"] > 30 and row["event"] % 2 == parity]


def score(row: dict[str, float], model: dict[str, list[float]]) -> float:
    """Return the probability of being signal, with Python's own mathematics."""
    scaled = (
        ((row[name] if name == "DEta" else math.log1p(row[name])) - mean) / width
        for name, mean, width in zip(FEATURES, model["mean"], model["width"], strict=True)
    )
    total = math.fsum(weight * value for weight, value in zip(model["weights"], scaled, strict=True))
    return round(1 / (1 + math.exp(-(model["bias"] + total))), 6)


def test_data_are_made_again_as_they_are(tmp_path: Path) -> None:
    runpy.run_path(str(EXAMPLE / "make_data.py"))["main"](tmp_path)
    for file in (EXAMPLE / "data").iterdir():
        assert pq.read_table(tmp_path / file.name).equals(pq.read_table(file)), file.name


def test_training_has_seen_the_even_events_of_the_simulation(results: Results) -> None:
    signal, background = selected("signal", 0), selected("background", 0)
    assert results["Train"]["events"] == len(signal) + len(background)
    assert sorted(results["training"]["Mjj"].tolist()) == sorted(row["Mjj"] for row in (*signal, *background))


def test_most_events_are_told_apart(out: Path, results: Results) -> None:
    model = json.loads((out / "files" / "Train" / "model.json").read_text())
    right = [score(row, model) > 0.5 for row in selected("signal", 0)]
    wrong = [score(row, model) > 0.5 for row in selected("background", 0)]
    accuracy = (sum(right) / len(right) + 1 - sum(wrong) / len(wrong)) / 2
    assert results["Train"]["accuracy"] == pytest.approx(accuracy, abs=2e-6)
    assert accuracy > 0.85


@pytest.mark.parametrize("dataset", ["data", "background", "signal"])
def test_odd_events_are_selected_by_their_scores(dataset: str, out: Path, results: Results) -> None:
    model = json.loads((out / "files" / "Train" / "model.json").read_text())
    found = next(row for row in results["SignalRegion"].rows if row.dataset == dataset)
    scores = [score(row, model) for row in selected(dataset, 1)]
    assert (found.events_in, found.events_out) == (len(scores), sum(value > 0.8 for value in scores))
