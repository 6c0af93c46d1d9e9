"""The sinks parquet, arrow, csv, npz and root_histograms: what comes back from their files, by other libraries alone."""

import csv
import io
import json
import time

import awkward as ak
import hist
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_writing import EVENTS, Desk, array_of, columns, cut, define, events, in_memory

from fasthep_archive.data.arrow_files import ArrowForm, ParquetForm
from fasthep_archive.data.content import of_array, of_output
from fasthep_archive.data.csv_files import CsvForm
from fasthep_archive.data.forms import CLUSTER, Branch
from fasthep_archive.data.histograms import Histogram
from fasthep_archive.data.npz_files import NpzForm
from fasthep_archive.data.view import of_directory
from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.verification.compare import compare
from fasthep_archive.verification.outputs import Output

KEEP = ["event", "MET", "NPV", "trigger", "channel", "Muon_pt", "Muon_q", "Muon_tight", "x"]
FLAT = ["event", "MET", "NPV", "trigger", "channel", "x"]
JAGGED = ("arrow", "npz", "parquet")
SUFFIX = {"arrow": "arrow", "csv": "csv", "npz": "npz", "parquet": "parquet"}


@pytest.fixture
def desk(tmp_path, kernel_cache):
    return Desk(tmp_path, kernel_cache)


def write(kind, when="final", **params):
    return (when, {"kind": kind, "path": "skim", **params})


def from_npz(content):
    """The columns of an npz file, read by NumPy and put together as the documentation says."""
    archive = np.load(io.BytesIO(content), allow_pickle=False)
    found = {}
    for name in archive.files:
        if name.endswith("_offsets"):
            continue
        values = archive[name]
        array = ak.Array([*values.tolist(), ""])[:-1] if values.dtype.kind == "U" else ak.Array(values)
        if f"{name}_offsets" in archive.files:
            array = ak.unflatten(array, np.diff(archive[f"{name}_offsets"]))
        found[name] = array
    return ak.Array(found)


READ = {
    "parquet": lambda content: ak.from_arrow(pyarrow.parquet.read_table(pa.BufferReader(content))),
    "arrow": lambda content: ak.from_arrow(pyarrow.feather.read_table(pa.BufferReader(content))),
    "npz": from_npz,
}


def expected(array, keep):
    found = {name: array[name] for name in keep if name != "x"}
    return ak.Array({**found, "x": ak.values_astype(array.MET, "f8") * 2})[keep]


@pytest.mark.parametrize("kind", JAGGED)
def test_columns_come_back(desk, kind):
    array = events()
    desk.file("a", array)
    found = desk.written([define(x="MET * 2")], write(kind, keep=KEEP))
    content = found[f"files/skim.{SUFFIX[kind]}"]
    back = READ[kind](content)
    assert back.fields == KEEP
    assert ak.array_equal(back, expected(array, KEEP), equal_nan=True, dtype_exact=True)


@pytest.mark.parametrize("kind", [*JAGGED, "root_tree"])
def test_all_forms_have_one_content(desk, kind):
    array = events()
    desk.file("a", array)
    (name,) = found = desk.written([define(x="MET * 2")], write(kind, keep=KEEP))
    table = of_array(expected(array, KEEP))
    from fasthep_archive.data.content import of_value

    assert of_output(found[name], name) == (of_value({"events": table}) if kind == "root_tree" else table)


def test_csv_has_numbers_that_read_back_exactly(desk):
    array = events()
    desk.file("a", array)
    found = desk.written([define(x="MET * 2")], write("csv", keep=FLAT))["files/skim.csv"]
    rows = list(csv.DictReader(io.StringIO(found.decode(), newline="")))
    assert list(rows[0]) == FLAT
    assert [float(row["x"]) for row in rows] == (np.asarray(array.MET).astype("f8") * 2).tolist()
    assert [np.float32(row["MET"]) for row in rows] == array.MET.tolist()
    assert [int(row["NPV"]) for row in rows] == array.NPV.tolist()
    assert [row["trigger"] == "true" for row in rows] == array.trigger.tolist()
    assert [row["channel"] for row in rows] == array.channel.tolist()


def test_csv_spells_what_decimals_cannot():
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 0.1, 1e300])
    parts = [{"x": Column(values, valid=np.arange(6) != 4), "t,": Column(np.zeros(6, "i8"), words=('a"\nb',))}]
    content = in_memory(CsvForm(), [Branch(name="x", optional=True), Branch(name="t,", text=True)], parts)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert [row[0] for row in rows] == ["x", "nan", "inf", "-inf", "-0.0", "", "1e+300"]
    assert {row[1] for row in rows[1:]} == {'a"\nb'}


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_missing_values_come_back(desk, kind):
    array = events()
    desk.file("a", array)
    found = desk.written([define(Max="max(Muon_q)")], write(kind, keep=["Max"]))
    (content,) = found.values()
    assert READ[kind](content).Max.tolist() == ak.max(array.Muon_q, axis=1).tolist()


@pytest.mark.parametrize(
    ("kind", "keep", "message"),
    [
        ("csv", ["Muon_pt"], "a CSV file can't hold 'Muon_pt', which has a list of values for each event"),
        ("npz", ["Max"], "an npz file can't hold 'Max', whose values can be missing"),
        ("npz", ["Muon_pt", "Muon_pt_offsets"],
         "'Muon_pt_offsets' is what an npz file calls where lists are"),
    ],
)  # fmt: skip
def test_what_a_form_cannot_hold_is_a_fault(desk, kind, keep, message):
    desk.file("a", events(20))
    stages = [define(Max="max(Muon_q)", Muon_pt_offsets="MET")]
    assert desk.faults(stages, write(kind, keep=keep)) == [message]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "lhe"}, "unknown kind of writer 'lhe'"),
        ({"kind": "csv", "compression": "zlib"}, "unknown key 'compression'"),
        ({"kind": "arrow", "compression": "zlib"}, "unknown compression 'zlib'"),
        ({"kind": "parquet", "compression": "snappy", "compression_level": 3}, "snappy has no levels here"),
        ({"kind": "npz", "compression_level": 10}, "at most 9"),
        ({"kind": "parquet", "tree": "events"}, "unknown key 'tree'"),
        ({"kind": "root_histograms"}, "root_histograms takes what stage 'Vars' leaves"),
    ],
)  # fmt: skip
def test_faults_of_writers(desk, entry, message):
    desk.file("a", events(10))
    faults = desk.faults([define(x="MET")], ("final", {"path": "skim", **entry}))
    assert len(faults) == 1
    assert message in faults[0]


@pytest.mark.parametrize("kind", [*JAGGED, "csv"])
def test_bytes_depend_neither_on_partitions_nor_on_the_time(desk, kind):
    desk.file("a", events())
    desk.file("b", events(seed=1))
    writes = [write(kind, keep=FLAT), write(kind, "dataset", keep=FLAT, path="each/{dataset}")]
    first = desk.written([define(x="MET * 2")], *writes)
    time.sleep(1.1 if kind == "npz" else 0)  # the dates in a ZIP file count two seconds
    assert desk.written([define(x="MET * 2")], *writes, chunk=40) == first
    suffix = SUFFIX[kind]
    assert set(first) == {f"files/skim.{suffix}", f"files/each/a.{suffix}", f"files/each/b.{suffix}"}


@pytest.mark.parametrize("kind", [*JAGGED, "csv"])
def test_a_file_for_each_partition(desk, kind):
    desk.file("a", events(100))
    found = desk.written([define(x="MET")], write(kind, "partition", keep=["x"]), chunk=50)
    assert set(found) == {f"files/skim/a/0_{n}.{SUFFIX[kind]}" for n in range(3)}


@pytest.mark.parametrize("kind", JAGGED)
def test_a_selection_without_events_leaves_the_columns(desk, kind):
    array = events()
    desk.file("a", array)
    keep = ["MET", "Muon_pt", "channel", "event"]
    (content,) = desk.written([cut("MET < 0")], write(kind, keep=keep)).values()
    back = READ[kind](content)
    assert len(back) == 0
    assert back.fields == keep


@pytest.mark.parametrize("kind", [*JAGGED, "root_tree"])
def test_a_file_without_events_leaves_the_columns_with_their_types(desk, kind):
    array = events(20)
    desk.file("a", array)
    desk.file("b", array[:0])
    found = desk.written([define(x="MET * 2")], write(kind, "dataset", keep=["x", "Muon_q", "NPV", "channel"]))
    types = []
    for name in ("a", "b"):
        content = found[f"files/skim/{name}.{SUFFIX.get(kind, 'root')}"]
        back = uproot.open(io.BytesIO(content))["events"].arrays() if kind == "root_tree" else READ[kind](content)
        types.append(str(back.type.content))
    assert types[0] == types[1] == "{x: float64, Muon_q: var * int16, NPV: uint8, channel: string}"


def test_sinks_can_be_stages_and_use_layouts(desk):
    desk.file("a", events())
    stages = [
        define(x="MET * 2"),
        {"id": "Skim", "op": "parquet", "role": "sink", "from": "Vars",
         "params": {"path": "skim", "use": "small", "compression": "snappy"}, "when": "final"},
        {"id": "Last", "op": "csv", "role": "sink", "from": "Vars", "params": {"path": "l", "keep": ["x"]}},
        define(x="MET") | {"id": "Other", "from": "Vars"},
    ]  # fmt: skip
    layouts = {"small": {"tree": "unused", "keep": ["x", "NPV"]}}
    found = desk.written(stages, outputs=layouts)
    assert set(found) == {"files/skim.parquet", "files/l/a/0_0.csv"}
    file = pyarrow.parquet.ParquetFile(pa.BufferReader(found["files/skim.parquet"]))
    assert file.schema_arrow.names == ["x", "NPV"]
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_row_groups_and_batches_begin_at_the_same_events():
    count = CLUSTER + 10
    column = Column(np.arange(count))
    parts = [{"x": column.events(start, min(start + 9999, count))} for start in range(0, count, 9999)]
    parquet = pyarrow.parquet.ParquetFile(pa.BufferReader(in_memory(ParquetForm(), [Branch(name="x")], parts)))
    assert [parquet.metadata.row_group(n).num_rows for n in range(2)] == [CLUSTER, 10]
    arrow = pa.ipc.open_file(pa.BufferReader(in_memory(ArrowForm(compression="lz4"), [Branch(name="x")], parts)))
    assert [arrow.get_batch(n).num_rows for n in range(2)] == [CLUSTER, 10]


def test_dotted_names_are_structs_in_parquet_and_arrow_and_names_in_others():
    parts = [{"met.pt": Column(np.arange(3.0)), "met.phi": Column(np.arange(3))}]
    branches = [Branch(name=name) for name in parts[0]]
    assert READ["parquet"](in_memory(ParquetForm(), branches, parts)).met.fields == ["pt", "phi"]
    assert READ["arrow"](in_memory(ArrowForm(), branches, parts)).met.fields == ["pt", "phi"]
    assert np.load(io.BytesIO(in_memory(NpzForm(), branches, parts))).files == ["met.pt", "met.phi"]
    both = [{"a": Column(np.zeros(1)), "a.b": Column(np.zeros(1))}]
    with pytest.raises(DataError, match="field 'a' with values and fields of its own"):
        in_memory(ParquetForm(), [Branch(name=name) for name in both[0]], both)


FORMS = {"parquet": ParquetForm, "arrow": ArrowForm, "npz": NpzForm}


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(columns(), st.sampled_from(list(FORMS)), st.integers(1, 12), st.sampled_from(["none", None]))
def test_random_columns_come_back(found, kind, chunk, compression):
    form = FORMS[kind]() if compression is None else FORMS[kind](compression=compression)
    if kind == "npz" and any(word.endswith("\0") for column in found.values() for word in column.words):
        return
    branches = [Branch(name=name, text=bool(c.words), lists=c.offsets is not None) for name, c in found.items()]
    count = len(next(iter(found.values())))
    parts = [
        {name: column.events(start, min(start + chunk, count)) for name, column in found.items()}
        for start in range(0, max(count, 1), chunk)
    ]
    if form.unfit(branches) is not None:
        return
    content = in_memory(form, branches, parts)
    arrays = {name: array_of(column) for name, column in found.items()}
    back = READ[kind](content)
    for name in found:
        assert back[name].tolist() == arrays[name].tolist() or ak.array_equal(
            back[name], arrays[name], equal_nan=True, dtype_exact=True
        )
    assert of_output(content, f"x.{kind}") == of_array(ak.Array(arrays))
    assert in_memory(form, branches, [found]) == content


# --- wider types, verification, data[...] ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*JAGGED, "root_tree"])
def test_a_wider_type_in_a_later_file_widens_the_column(desk, kind):
    desk.file("a", ak.Array({"n": np.arange(5, dtype="i4"), "nMuon": np.zeros(5, "i4")}))
    desk.file("b", ak.Array({"n": np.arange(5) + 2**40, "nMuon": np.zeros(5, "i4")}))
    found = desk.written([define(x="n + 1")], write(kind, keep=["n"]), write(kind, "dataset", path="d", keep=["n"]))
    suffix = SUFFIX.get(kind, "root")
    for name, dtype in (("skim", "int64"), ("d/a", "int32"), ("d/b", "int64")):
        content = found[f"files/{name}.{suffix}"]
        table = uproot.open(io.BytesIO(content))["events"].arrays() if kind == "root_tree" else READ[kind](content)
        assert str(table.n.type.content) == dtype
    whole = found[f"files/skim.{suffix}"]
    back = uproot.open(io.BytesIO(whole))["events"].arrays() if kind == "root_tree" else READ[kind](whole)
    assert back.n.tolist() == [*range(5), *(2**40 + n for n in range(5))]


@pytest.mark.parametrize(("whole", "fits"), [(2**53, True), (2**53 + 1, False), (-(2**60), False)])
def test_whole_numbers_are_not_rounded_into_a_column_of_floats(whole, fits):
    parts = [{"x": Column(np.array([0.5]))}, {"x": Column(np.array([whole]))}]
    if fits:
        content = in_memory(ParquetForm(), [Branch(name="x")], parts)
        assert READ["parquet"](content).x.tolist() == [0.5, float(whole)]
    else:
        with pytest.raises(DataError, match="column 'x' is float64 in some files and int64 in others"):
            in_memory(ParquetForm(), [Branch(name="x")], parts)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_whole_numbers_of_one_file_and_fractions_of_another_are_one_column(desk, names):
    halves = dict(zip(names, ([7, 8], [0.5]), strict=True))
    for name, values in halves.items():
        pyarrow.parquet.write_table(pa.table({"n": values}), desk.directory / f"{name}.parquet")
    data = {"datasets": [{"name": name, "files": [f"{name}.parquet"]} for name in "ab"]}
    sources = {"events": {"kind": "parquet"}}
    (content,) = desk.written([define(x="n")], write("parquet", keep=["n"]), data=data, sources=sources).values()
    assert READ["parquet"](content).n.tolist() == [*halves["a"], *halves["b"]]


@pytest.mark.parametrize("kind", ["arrow", "parquet", "root_tree"])
@pytest.mark.parametrize("names", ["ab", "ba"])
def test_values_that_only_some_files_miss_can_be_missing(desk, kind, names):
    missing = pa.table({"n": pa.array([1, None, 3])})
    for name, table in zip(names, (pa.table({"n": pa.array([7, 8], pa.int64())}), missing), strict=True):
        pyarrow.parquet.write_table(table, desk.directory / f"{name}.parquet")
    form = {"tree": "events", "format": "rntuple"} if kind == "root_tree" else {}
    data = {"datasets": [{"name": name, "files": [f"{name}.parquet"]} for name in "ab"]}
    sources = {"events": {"kind": "parquet"}}
    found = desk.written([define(x="n")], write(kind, keep=["x"], **form), data=data, sources=sources)
    (content,) = found.values()
    back = uproot.open(io.BytesIO(content))["events"].arrays() if kind == "root_tree" else READ[kind](content)
    halves = {names[0]: [7, 8], names[1]: [1, None, 3]}
    assert back.x.tolist() == [*halves["a"], *halves["b"]]


def output(name, content):
    return Output(
        name=name, kind="columns", sha256=of_bytes(content), content=of_output(content, name), read=lambda: content
    )


@pytest.mark.parametrize("kind", list(FORMS))
def test_replayed_columns_are_compared_value_by_value(kind):
    one, other = (Column(np.array([1.0, value, 3.0]), np.array([0, 2, 3])) for value in (2.0, np.nextafter(2.0, 3)))
    branches = [Branch(name="pt", lists=True)]
    sides = [in_memory(FORMS[kind](), branches, [{"pt": column}]) for column in (one, other)]
    found = compare(*(output(f"skim.{kind}", side) for side in sides))
    assert not found.same_content
    assert found.because is not None
    assert "column 'pt', entry 0[1]" in found.because
    other_bytes = in_memory(FORMS[kind](compression="none"), branches, [{"pt": one}])
    assert compare(output(f"s.{kind}", sides[0]), output(f"s.{kind}", other_bytes)).same_content


def test_an_npz_file_of_other_arrays_is_compared_array_by_array():
    def saved(bias):
        target = io.BytesIO()
        np.savez(target, weights=np.ones((3, 2)), bias=np.array(bias))
        return target.getvalue()

    assert of_output(saved(1.0), "m.npz") == of_output(saved(1.0), "m.npz") != of_output(saved(2.0), "m.npz")
    because = compare(output("m.npz", saved(1.0)), output("m.npz", saved(2.0))).because
    assert because is not None
    assert "column 'bias', entry 0" in because


@pytest.mark.parametrize("kind", [*JAGGED, "csv"])
def test_data_opens_them(desk, tmp_path, kind):
    array = events()
    desk.file("a", array)
    outputs = desk.written([define(x="MET * 2")], write(kind, keep=FLAT), write(kind, "dataset", path="d", keep=FLAT))
    for name, content in outputs.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    data = of_directory(tmp_path / "out")
    for name in ("skim", "d/a"):
        assert data[name]["NPV"].tolist() == array.NPV.tolist()
        assert data[name]["x"].tolist() == expected(array, KEEP).x.tolist()
        assert data[name]["channel"].tolist() == array.channel.tolist()
        assert data[name]["trigger"].tolist() == array.trigger.tolist()


# --- histograms ------------------------------------------------------------------------------------------------------


def histogram(name, **params):
    axes = [{"name": "met", "source": "MET", "type": "regular", "label": "MET [GeV]",
             "bins": {"low": 0, "high": 100, "nbins": 10}}]  # fmt: skip
    return {"id": name, "op": "hep.hist", "from": "Vars", "params": {"axes": axes, **params}}


def saved(found, name):
    return uproot.open(io.BytesIO(found[f"files/{name}"]))


def run(desk, stages, *writes, **keys):
    """All files, those of products too."""
    from fasthep_archive.context import Context, NoProgress
    from fasthep_archive.execution.run import run_plan
    from fasthep_archive.execution.store import Store

    plan, faults = desk.plan(stages, writes, **keys)
    assert [fault.message for fault in faults] == []
    context = Context(cache=desk.cache, now=None, measured=False, workers=1, progress=NoProgress())
    results = run_plan(plan, Store(desk.directory / f"store{time.monotonic_ns()}"), context)
    results.raise_failures()
    return {output.name: output.content for outputs in results.outputs.values() for output in outputs}


def test_a_histogram_is_a_th1_of_each_category(desk):
    for number, name in enumerate(("a", "b")):
        desk.file(name, events(seed=number))
    axis = {"name": "dataset", "label": "dataset"}
    stages = [define(x="MET"), histogram("Met", dataset_axis=axis, weight_expr="NPV * 0.5", storage="weighted")]
    found = run(desk, stages, ("final", {"kind": "root_histograms", "path": "h"}))
    file = saved(found, "h.root")
    assert {name: kind for name, kind in file.classnames(cycle=False).items() if kind != "TDirectory"} == {
        "Met/a": "TH1D",
        "Met/b": "TH1D",
    }
    for name in "ab":
        array = desk.arrays[name]
        direct = hist.Hist(hist.axis.Regular(10, 0, 100), storage=hist.storage.Weight())
        direct.fill(np.asarray(array.MET).astype("f8"), weight=np.asarray(array.NPV) * 0.5)
        read = file[f"Met/{name}"]
        assert read.values(flow=True).tolist() == direct.values(flow=True).tolist()
        assert read.variances(flow=True).tolist() == direct.variances(flow=True).tolist()
        assert read.axis().edges().tolist() == direct.axes[0].edges.tolist()
        assert read.axis().member("fTitle") == "MET [GeV]"


def test_a_stage_writes_the_histograms_of_others(desk):
    desk.file("a", events())
    two = histogram("Two")
    two["params"]["axes"] = [
        *two["params"]["axes"],
        {"name": "npv", "source": "NPV", "type": "variable", "bins": {"edges": [0, 10, 50]}},
    ]
    sink = {"id": "All", "op": "root_histograms", "role": "sink", "needs": ["Met", "Two"], "params": {"path": "all"}}
    found = run(desk, [define(x="MET"), histogram("Met"), two, sink])
    file = saved(found, "all.root")
    assert file.classnames(cycle=False) == {"Met": "TH1D", "Two": "TH2D"}
    expected_two = Histogram.from_json(found["histograms/Two.json"])
    assert file["Two"].values(flow=True).tolist() == expected_two.values.tolist()
    assert file["Met"].variances(flow=True).tolist() == file["Met"].values(flow=True).tolist()


def test_histograms_of_each_dataset(desk):
    desk.file("a", events(seed=1))
    desk.file("b", events(seed=2))
    found = run(desk, [define(x="MET"), histogram("Met")], ("dataset", {"kind": "root_histograms", "path": "h.root"}))
    total = saved(found, "h/a.root")["Met"].values() + saved(found, "h/b.root")["Met"].values()
    assert total.tolist() == Histogram.from_json(found["histograms/Met.json"]).values[1:-1].tolist()


def test_root_histograms_are_compared_bin_by_bin_and_opened(desk, tmp_path):
    desk.file("a", events())
    stages = [define(x="MET"), histogram("Met")]
    zlib, none = (
        run(desk, stages, ("final", {"kind": "root_histograms", "path": "h.root", "compression": name}))["files/h.root"]
        for name in ("zlib", "none")
    )
    assert compare(output("h.root", zlib), output("h.root", none)).same_content
    desk.file("a", events(seed=3))
    other = run(desk, stages, ("final", {"kind": "root_histograms", "path": "h.root"}))["files/h.root"]
    because = compare(output("h.root", zlib), output("h.root", other)).because
    assert because is not None
    assert "Met, bin 1" in because
    (tmp_path / "out/files").mkdir(parents=True)
    (tmp_path / "out/files/h.root").write_bytes(zlib)
    shown = of_directory(tmp_path / "out")["h"]["Met"]
    assert shown.values(flow=True).sum() == EVENTS
    assert shown.axes[0].label == "MET [GeV]"


def test_a_profile_has_no_place_in_root_histograms(desk):
    desk.file("a", events())
    profile = histogram("Mean", sample="NPV", storage="mean")
    faults = desk.faults([define(x="MET"), profile], ("final", {"kind": "root_histograms", "path": "h.root"}))
    assert faults == ["stage 'Mean' leaves means of samples, which root_histograms does not write"]


def test_the_resolved_document_says_the_same(desk):
    desk.file("a", events(10))
    plan, faults = desk.plan(
        [define(x="MET"), histogram("Met")], [("final", {"kind": "root_histograms", "path": "h.root"})]
    )
    assert not faults
    assert json.loads((desk.directory / "workflow.yaml").read_text())["analysis"]["stages"][-1]["write"]
    assert "files/h.root" in plan.outputs


# --- through every sink and back -------------------------------------------------------------------------------------

SOURCES = {
    "arrow": {"kind": "arrow"},
    "csv": {"kind": "csv"},
    "npz": {"kind": "npz"},
    "parquet": {"kind": "parquet"},
    "root_tree": {"kind": "root_tree", "tree": "events"},
}


@pytest.mark.parametrize("kind", list(SOURCES))
def test_through_every_sink_and_back(desk, tmp_path, kernel_cache, kind):
    """What a sink writes, its source reads: the same histogram, and the same columns when they are written again."""
    array = events()
    desk.file("a", array)
    keep = [*(FLAT if kind == "csv" else KEEP), "größe"]
    lists = kind != "csv"
    stages = [define(x="MET * 2", größe="where(NPV > 25, 0.1 / (0 * NPV), -0.0)")]
    (first,) = desk.written(stages, write(kind, keep=keep), chunk=40).values()

    again = Desk(tmp_path / "again", kernel_cache)
    again.directory.mkdir()
    (again.directory / "a.root").write_bytes(first)
    again.arrays["a"] = array
    name = f"skim.{SUFFIX.get(kind, 'root')}"
    filled = histogram("Met") | {"from": "Cut"}
    formula = "count_nonzero(Muon_pt > 20) + x + NPV >= 0" if lists else "x + NPV >= 0"
    chain = [cut(formula), filled, cut("NPV >= 0") | {"id": "Last", "from": "Cut"}]
    found = run(again, chain, write(kind, keep=keep), sources={"events": SOURCES[kind]})
    assert of_output(found[f"files/{name}"], name) == of_output(first, name)

    original = Desk(tmp_path / "original", kernel_cache)
    original.directory.mkdir()
    original.file("a", array)
    whole = run(original, [define(x="MET * 2"), histogram("Met")], ("final", {"path": "unused", "keep": ["x"]}))
    assert found["histograms/Met.json"] == whole["histograms/Met.json"]


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "csv"])
def test_no_events_go_through_every_sink_and_back(desk, tmp_path, kernel_cache, kind):
    desk.file("a", events(20))
    keep = ["x", "Muon_q", "NPV", "channel"]
    (first,) = desk.written([define(x="MET * 2"), cut("MET < 0")], write(kind, keep=keep)).values()
    again = Desk(tmp_path / "again", kernel_cache)
    again.directory.mkdir()
    (again.directory / "a.root").write_bytes(first)
    again.arrays["a"] = ak.Array([])
    found = again.written([cut("NPV > 0")], write(kind, keep=keep), sources={"events": SOURCES[kind]})
    name = f"skim.{SUFFIX.get(kind, 'root')}"
    assert of_output(found[f"files/{name}"], name) == of_output(first, name)
