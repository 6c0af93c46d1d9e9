"""``data["stage"]`` on a directory and on anything that lists and reads outputs."""

from pathlib import Path

import hist
import numpy as np
import pytest

from fasthep_archive.data.products import Cutflow, Histogram, RegularAxis
from fasthep_archive.data.view import Results, UnknownStage, of_directory
from fasthep_archive.errors import DataError

HISTOGRAM = Histogram(
    name="DiMuonMass",
    axes=(RegularAxis(name="m", label="m", bins=2, lower=0.0, upper=2.0, edges=np.array([0.0, 1.0, 2.0])),),
    storage="count",
    values=np.array([1, 2, 3, 4]),
)
OUTPUTS = {
    "cutflows/Select.csv": b"dataset\n",
    "cutflows/Select.json": Cutflow(name="Select", rows=()).to_json(),
    "histograms/DiMuonMass.json": HISTOGRAM.to_json(),
    "histograms/damaged.json": b"{",
    "record/run.json": b"{}",
}


class Memory:
    """Outputs in memory; counts what is read."""

    def __init__(self):
        self.read_names = []

    def names(self):
        return tuple(OUTPUTS)

    def read(self, name):
        self.read_names.append(name)
        return OUTPUTS[name]


@pytest.fixture
def directory(tmp_path):
    for name, content in OUTPUTS.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "out" / "index.html").write_text("")
    return tmp_path / "out"


@pytest.fixture(params=["memory", "directory"])
def data(request, directory):
    return Results(Memory()) if request.param == "memory" else of_directory(directory)


def test_a_histogram_is_a_hist(data):
    read = data["DiMuonMass"]
    assert isinstance(read, hist.Hist)
    assert read.values(flow=True).tolist() == [1, 2, 3, 4]


def test_a_cutflow_is_a_cutflow(data):
    assert data["Select"] == Cutflow(name="Select", rows=())


def test_stages_are_listed_without_copies_and_records(data):
    assert list(data) == ["Select", "DiMuonMass", "damaged"]
    assert len(data) == 3
    assert repr(data) == "<products of Select, DiMuonMass, damaged>"


def test_nothing_is_read_before_it_is_asked_for():
    reader = Memory()
    data = Results(reader)
    assert "DiMuonMass" in data
    assert "run" not in data
    assert list(data)
    assert reader.read_names == []
    data["Select"]
    assert reader.read_names == ["cutflows/Select.json"]


def test_an_unknown_stage_is_told_with_the_nearest_one(data):
    with pytest.raises(UnknownStage, match=r"no stage 'DiMuonMas' left a product\n\nhint: did you mean 'DiMuonMass'\?"):
        data["DiMuonMas"]
    with pytest.raises(KeyError):
        data["x"]
    assert data.get("x") is None


def test_stages_are_named_where_none_is_near(data):
    with pytest.raises(DataError, match="hint: stages with products: Select, DiMuonMass, damaged"):
        data["zzz"]


def test_it_can_only_be_read(data):
    with pytest.raises(TypeError):
        data["Select"] = None


def test_a_damaged_product_is_told_when_it_is_read(data):
    with pytest.raises(DataError, match="the histogram is no JSON"):
        data["damaged"]


def test_a_missing_directory_is_told(tmp_path):
    with pytest.raises(DataError, match=r"no such directory: .*nowhere"):
        of_directory(tmp_path / "nowhere")


def test_no_product_at_all_is_told(tmp_path):
    with pytest.raises(UnknownStage, match=r"^no stage 'a' left a product$"):
        of_directory(tmp_path)["a"]


def test_products_of_a_variation_are_kept_apart(tmp_path: Path) -> None:
    for folder, number in (("values", 1.0), ("systematics/up/values", 2.0)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "Scale.json").write_text(f'{{"factor": {number}}}')
    found = of_directory(tmp_path)
    assert (found.variations, found["Scale"]["factor"], found.varied("up")["Scale"]["factor"]) == (("up",), 1.0, 2.0)
    with pytest.raises(KeyError, match="no product of a variation 'ap'"):
        found.varied("ap")
