"""Stored products against the UHI schema, hist, boost-histogram and the csv module."""

import csv
import io
import json
import math
from pathlib import Path

import hist
import jsonschema
import numpy as np
import pytest
import uhi.io.json
import uhi.schema
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.data import histograms, strictjson
from fasthep_archive.data.products import (
    STORED,
    BooleanAxis,
    Cutflow,
    CutflowRow,
    Histogram,
    IntCategoryAxis,
    RegularAxis,
    StrCategoryAxis,
    VariableAxis,
    kind_of,
    stored_as,
)
from fasthep_archive.errors import DataError

SCHEMA = json.loads((Path(uhi.schema.__file__).parent / "resources" / "histogram.schema.json").read_text())

REGULAR = RegularAxis(name="mass", label="m [GeV]", bins=3, lower=0.1, upper=0.7, edges=np.array([0.1, 0.3, 0.5, 0.7]))
VARIABLE = VariableAxis(name="pt", label="pT", edges=np.array([0.0, 10.0, 100.0]))
FIXED = IntCategoryAxis(name="n", label="jets", categories=(2, -1), growing=False)
GROWING = IntCategoryAxis(name="run", label="run", categories=(7, 5, 6), growing=True)
DATASETS = StrCategoryAxis(name="dataset", label="", categories=("Drell–Yan", 'a "b"'), growing=True)
WORDS = StrCategoryAxis(name="channel", label="", categories=("mumu",), growing=False)
FLAG = BooleanAxis(name="iso", label="isolated")
AXES = [REGULAR, VARIABLE, FIXED, GROWING, DATASETS, WORDS, FLAG]


def weighted(*axes, seed=1):
    shape = tuple(axis.size for axis in axes)
    generator = np.random.default_rng(seed)
    return Histogram(
        name="DiMuonMass",
        axes=axes,
        storage="weighted",
        values=generator.normal(0, 10, shape),
        variances=generator.random(shape),
    )


def counted(*axes):
    shape = tuple(axis.size for axis in axes)
    values = np.random.default_rng(2).integers(0, 2**60, shape)
    return Histogram(name="Counts", axes=axes, storage="count", values=values)


HISTOGRAMS = [
    *(weighted(axis) for axis in AXES),
    *(counted(axis) for axis in AXES),
    weighted(DATASETS, REGULAR, FLAG),
    counted(FIXED, VARIABLE, GROWING, WORDS),
    weighted(),
    counted(),
]


def loaded(content):
    return hist.Hist(json.loads(content, object_hook=uhi.io.json.object_hook))


def same(left, right):
    return np.array_equal(left, right, equal_nan=True)


@pytest.mark.parametrize("histogram", HISTOGRAMS)
def test_histograms_conform_to_the_uhi_schema(histogram):
    jsonschema.validate(json.loads(histogram.to_json()), SCHEMA)


@pytest.mark.parametrize("histogram", HISTOGRAMS)
def test_hist_reads_the_stored_form(histogram):
    read = loaded(histogram.to_json())
    assert same(np.asarray(read.values(flow=True)), histogram.values)
    assert read.name == histogram.name
    assert [axis.name for axis in read.axes] == [axis.name for axis in histogram.axes]
    if histogram.variances is not None:
        assert same(np.asarray(read.variances(flow=True)), histogram.variances)


@pytest.mark.parametrize("histogram", HISTOGRAMS)
def test_hist_gets_the_same_from_file_and_from_memory(histogram):
    assert loaded(histogram.to_json()) == histogram.to_hist()


@pytest.mark.parametrize("histogram", HISTOGRAMS)
def test_what_is_read_writes_the_same_bytes(histogram):
    content = histogram.to_json()
    again = Histogram.from_json(content)
    assert again.to_json() == content
    assert again.values.dtype == histogram.values.dtype
    assert same(again.values, histogram.values)


@pytest.mark.parametrize(("axis", "kind"), [(GROWING, "IntCategory"), (DATASETS, "StrCategory"), (FLAG, "Boolean")])
def test_axes_keep_their_nature_in_hist(axis, kind):
    read = weighted(axis).to_hist().axes[0]
    assert type(read).__name__ == kind
    assert read.traits.growth == getattr(axis, "growing", False)
    assert read.label == (axis.label or axis.name)


def test_a_histogram_filled_by_hist_survives(tmp_path):
    filled = hist.Hist(
        hist.axis.Regular(3, 0.1, 0.7, name="mass", label="m [GeV]"), storage=hist.storage.Weight(), name="DiMuonMass"
    )
    filled.fill([0.2, 0.2, 0.6, -1.0, 9.0], weight=[1.0, 0.5, 2.0, 3.0, 4.0])
    view = filled.view(flow=True)
    ours = Histogram(
        name="DiMuonMass",
        axes=(REGULAR,),
        storage="weighted",
        values=view["value"].copy(),
        variances=view["variance"].copy(),
    )
    assert Histogram.from_json(ours.to_json()).to_hist() == filled


def test_the_deciding_edges_are_recorded_exactly():
    edges = np.array([0.1, 0.1 + 0.2 / 3, math.nextafter(0.7, 0.0), 0.7])
    axis = RegularAxis(name="x", label="", bins=3, lower=0.1, upper=0.7, edges=edges)
    again = Histogram.from_json(weighted(axis).to_json()).axes[0]
    assert again.edges.tolist() == edges.tolist()


def test_numbers_that_json_lacks_are_texts_which_hist_reads():
    values = np.array([math.nan, math.inf, -math.inf, 0.1, 5e-324])
    histogram = Histogram(name="h", axes=(REGULAR,), storage="weighted", values=values, variances=abs(values))
    content = histogram.to_json()
    assert json.loads(content)["storage"]["values"] == ["nan", "inf", "-inf", 0.1, 5e-324]
    assert same(Histogram.from_json(content).values, values)
    assert same(loaded(content).values(flow=True), values)


def test_axes_without_bins_are_kept():
    empty = StrCategoryAxis(name="dataset", label="", categories=(), growing=True)
    histogram = weighted(REGULAR, empty, FLAG)
    assert histogram.values.shape == (5, 0, 2)
    assert Histogram.from_json(histogram.to_json()).values.shape == (5, 0, 2)
    assert loaded(histogram.to_json()) == histogram.to_hist()


def test_the_text_is_for_people_too():
    text = weighted(FLAG).to_json().decode()
    lines = text.splitlines()
    assert text.endswith("}\n")
    assert any(line.startswith('  "values": [') and line.count(",") == 2 for line in lines)
    assert len(lines) < 20


def test_the_stored_form_does_not_change():
    """The bytes are an archive format: a change here is a new format version."""
    histogram = Histogram(
        name="h",
        axes=(RegularAxis(name="x", label="x [GeV]", bins=2, lower=0.0, upper=1.0, edges=np.array([0.0, 0.5, 1.0])),),
        storage="count",
        values=np.array([0, 1, 2, 3]),
    )
    assert histogram.to_json().decode() == (
        '{\n "uhi_schema": 1,\n "writer_info": {\n  "fasthep-archive": {"format": 1}\n },\n "metadata": {"name": "h"},\n'
        ' "axes": [\n  {\n   "type": "regular",\n   "lower": 0.0,\n   "upper": 1.0,\n   "bins": 2,\n   "underflow": true,\n'
        '   "overflow": true,\n   "circular": false,\n   "metadata": {"name": "x", "label": "x [GeV]"},\n'
        '   "writer_info": {\n    "fasthep-archive": {"edges": "0.0 0.5 1.0"}\n   }\n  }\n ],\n'
        ' "storage": {\n  "type": "int",\n  "values": [0, 1, 2, 3]\n }\n}\n'
    )


@pytest.mark.parametrize(
    ("values", "variances", "storage", "message"),
    [
        (np.zeros(4), np.zeros(5), "weighted", r"has \(5,\) bins on its axes, its arrays \(4,\)"),
        (np.zeros(5), np.zeros(4), "weighted", r"has \(5,\) bins on its axes, its arrays \(4,\)"),
        (np.zeros(5), None, "weighted", "not those of the storage 'weighted'"),
        (np.zeros(5, np.int64), np.zeros(5), "count", "not those of the storage 'count'"),
        (np.zeros(5), None, "count", "not those of the storage 'count'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(values, variances, storage, message):
    with pytest.raises(DataError, match=message):
        Histogram(name="h", axes=(REGULAR,), storage=storage, values=values, variances=variances)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("storage", "values", 1), 0.5, "parts that fasthep-archive does not write"),
        (("storage", "values"), [1, 2], "no histogram that fasthep-archive wrote"),
        (("storage", "type"), "mean", "fasthep-archive"),
        (("axes", 0, "circular"), True, "does not write"),
        (("axes", 0, "type"), "log", "no histogram"),
        (("axes", 0, "writer_info"), {}, "no histogram"),
        (("metadata", "colour"), "red", "does not write"),
        (("uhi_schema",), 2, "does not write"),
    ],
)
def test_other_histograms_are_refused(path, value, message):
    document = json.loads(counted(REGULAR).to_json())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(DataError, match=message):
        Histogram.from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON"),
        (b"[1, 2", "is no JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b"[1e999]", "1e999 is not a finite number"),
        (b"\xff", "is no JSON"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_json_that_can_be_read_in_several_ways_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        strictjson.read_json(content, "it")


def test_deep_json_is_read_up_to_the_limit():
    assert strictjson.read_json(b"[" * 64 + b"]" * 64, "it")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_written_json_reads_back(value):
    try:
        content = strictjson.write_json(value)
    except UnicodeEncodeError:  # lone surrogates are no text
        return
    again = strictjson.read_json(content, "it")
    assert json.dumps(again) == json.dumps(value)
    assert strictjson.write_json(again) == content


ROWS = (
    CutflowRow(
        dataset="ww", group="dimuon", cut="dimuon[0]", label="NIsoMuon >= 2", events_in=4580, events_out=244,
        sumw_in=229.94958064877466, sumw_out=12.639495927083772, sumw2_in=12.5, sumw2_out=0.1,
    ),
    CutflowRow(
        dataset='b, "c"', group="dimuon", cut="dimuon[1]", label="é\nµ", events_in=0, events_out=0,
        sumw_in=0.0, sumw_out=math.nan, sumw2_in=math.inf, sumw2_out=5e-324,
    ),
)  # fmt: skip


def test_cutflows_keep_rows_order_and_doubles():
    cutflow = Cutflow(name="Select", rows=ROWS)
    again = Cutflow.from_json(cutflow.to_json())
    assert again.rows[0] == ROWS[0]
    assert [row.label for row in again.rows] == [row.label for row in ROWS]
    assert math.isnan(again.rows[1].sumw_out)
    assert again.to_json() == cutflow.to_json()


def test_the_cutflow_table_is_csv():
    content = Cutflow(name="Select", rows=ROWS).to_csv()
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["label"] for row in rows] == [row.label for row in ROWS]
    assert [float(row["sumw_in"]) for row in rows] == [row.sumw_in for row in ROWS]
    assert [int(row["events_out"]) for row in rows] == [244, 0]
    assert b"\r" not in content
    assert content.startswith(b"dataset,group,cut,label,events_in,events_out,sumw_in,")


def test_efficiency_is_of_weights():
    assert ROWS[0].efficiency == 12.639495927083772 / 229.94958064877466
    assert math.isnan(ROWS[1].efficiency)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutflow": 2}, "does not write"),
        ({"rows": [{}]}, "no cutflow"),
        ({"rows": 3}, "no cutflow"),
        ({"note": ""}, "does not write"),
    ],
)
def test_other_cutflows_are_refused(change, message):
    document = json.loads(Cutflow(name="Select", rows=ROWS).to_json()) | change
    with pytest.raises(DataError, match=message):
        Cutflow.from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("histograms/a.b.json", "histogram"),
        ("cutflows/c.json", "cutflow"),
        ("cutflows/c.csv", "table"),
        ("files/histograms/c.json", "value"),
        ("histograms.json", "value"),
        ("plots/c.svg", "picture"),
        ("c.bin", "file"),
    ],
)
def test_kinds_follow_from_names(name, kind):
    assert kind_of(name) == kind


def test_each_stored_form_is_found_by_its_name():
    for form in STORED:
        assert stored_as(f"{form.folder}/stage{form.suffix}") is form


def test_every_axis_has_a_reader_and_a_hist_axis():
    assert {axis.to_json()["type"] for axis in AXES} == set(histograms._AXES)
