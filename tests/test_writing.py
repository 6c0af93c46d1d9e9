"""The sink root_tree: what comes back from the files it writes, against uproot, awkward and NumPy alone."""

import io
import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasthep_archive.context import Context, NoProgress
from fasthep_archive.data.content import of_array, of_output, of_value
from fasthep_archive.data.forms import CLUSTER, Branch
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError
from fasthep_archive.execution import planner
from fasthep_archive.execution.run import run_plan
from fasthep_archive.execution.store import Store
from fasthep_archive.formula.columns import Column, sliced
from fasthep_archive.operations.keeping import Keeping, Kept
from fasthep_archive.operations.keeping import columns as keeping_columns
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

EVENTS = 240


def events(count=EVENTS, seed=0):
    """Events as arrays of many types, with several lists to a counter."""
    random = np.random.default_rng(seed)
    counts = random.poisson(1.5, count)
    size = counts.sum()

    def listed(values):
        return ak.unflatten(values, counts)

    pt = random.exponential(30, size).astype("f4")
    pt[: min(3, size)] = [np.nan, -0.0, np.inf][: min(3, size)]
    return ak.Array(
        {
            "event": np.arange(count),
            "MET": random.exponential(40, count).astype("f4"),
            "NPV": random.integers(0, 50, count).astype("u1"),
            "trigger": random.random(count) < 0.7,
            "channel": ak.Array([["mm", "ee", "µτ"][n] for n in random.integers(0, 3, count)]),
            "nMuon": counts.astype("i4"),
            "Muon_pt": listed(pt),
            "Muon_q": listed(random.choice([-1, 1], size).astype("i2")),
            "Muon_tight": listed(random.random(size) < 0.5),
        }
    )


def write_events(path, array, cluster=40):
    """A TTree in which the muons share a counter."""
    with uproot.recreate(path) as file:
        names = [name for name in array.fields if name != "nMuon"]
        tree = file.mktree("events", {name: array[name].type.content for name in names}, counter_name=lambda _: "nMuon")
        for start in range(0, len(array), cluster):
            tree.extend({name: array[name][start : start + cluster] for name in names})


@dataclass
class Desk:
    """A directory with two files of events, one dataset each."""

    directory: Path
    cache: Path
    arrays: dict[str, ak.Array] = field(default_factory=dict)

    def file(self, dataset, array, cluster=40):
        write_events(self.directory / f"{dataset}.root", array, cluster)
        self.arrays[dataset] = array

    def plan(self, stages, writes, *, chunk=1000, **keys):
        document = {
            "version": "1.1",
            "data": {"datasets": [{"name": name, "files": [f"{name}.root"]} for name in self.arrays]},
            "sources": {"events": {"kind": "root_tree", "tree": "events"}},
            "analysis": {"stages": stages},
        } | keys
        path = self.directory / "workflow.yaml"
        last = stages[-1]
        hung = [{"kind": "root_tree", "when": when, **params} for when, params in writes]
        document["analysis"]["stages"] = [*stages[:-1], last | {"write": hung}]
        path.write_text(json.dumps(document))
        workflow, faults = build(load(path))
        if faults:
            return None, faults
        chosen = planner.Settings(
            chunk=chunk,
            version="1",
            cache=self.cache,
            working_directory=self.directory,
            digests="read",
            workers=1,
        )
        return planner.make_plan(workflow, operations(workflow, version="1"), chosen)

    def written(self, stages, *writes, chunk=1000, **keys):
        """The bytes of all files that are written, by name."""
        plan, faults = self.plan(stages, writes, chunk=chunk, **keys)
        assert [fault.message for fault in faults] == []
        store = Store(self.directory / f"store{time.monotonic_ns()}")
        context = Context(cache=self.cache, now=None, measured=False, workers=1, progress=NoProgress())
        results = run_plan(plan, store, context)
        results.raise_failures()
        found = {output.name: output.content for outputs in results.outputs.values() for output in outputs}
        assert tuple(name for name in plan.outputs if name.startswith("files/")) == tuple(
            name for name in found if name.startswith("files/")
        )
        return {name: content for name, content in found.items() if name.startswith("files/")}

    def faults(self, stages, *writes):
        return [fault.message for fault in self.plan(stages, writes)[1]]


@pytest.fixture
def desk(tmp_path, kernel_cache):
    return Desk(tmp_path, kernel_cache)


def define(**variables):
    return {
        "id": "Vars",
        "op": "hep.define",
        "params": {"variables": [{"name": n, "expr": e} for n, e in variables.items()]},
    }


def cut(*cuts):
    return {"id": "Cut", "op": "hep.selection.cutflow", "params": {"selection": {"all": list(cuts)}}}


def read(content, tree="events"):
    return uproot.open(io.BytesIO(content))[tree].arrays()


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["rntuple", "ttree"])
@pytest.mark.parametrize("compression", ["zlib", "lz4", "zstd", "none"])
def test_branches_come_back_as_they_were(desk, form, compression):
    array = events()
    desk.file("a", array)
    keep = [name for name in array.fields if name != "nMuon"]
    params = {"path": "skim.root", "keep": keep, "format": form, "compression": compression}
    found = read(desk.written([define(x="MET")], ("final", params))["files/skim.root"])
    assert ak.array_equal(found[keep], array[keep], equal_nan=True, dtype_exact=True)
    assert found.fields == (keep if form == "rntuple" else array.fields)


def test_what_is_computed_is_float64_int64_or_bool(desk):
    array = events()
    desk.file("a", array)
    stages = [define(Half="MET / 2", Twice="NPV * 2", High="MET > 20", Pt="Muon_pt * 1", Many="nMuon")]
    found = read(
        desk.written(stages, ("final", {"path": "s.root", "keep": ["Half", "Twice", "High", "Pt", "Many"]}))[
            "files/s.root"
        ]
    )
    expected = ak.Array(
        {
            "Half": array.MET.to_numpy().astype(float) / 2,
            "Twice": array.NPV.to_numpy().astype("i8") * 2,
            "High": array.MET > 20,
            "Pt": ak.values_astype(array.Muon_pt, "f8"),
            "Many": array.nMuon,
        }
    )
    assert ak.array_equal(found, expected, equal_nan=True, dtype_exact=True)


@pytest.mark.parametrize("form", ["rntuple", "ttree"])
def test_events_that_cuts_take_out_are_not_written(desk, form):
    array = events()
    desk.file("a", array)
    stages = [define(Lead="leading(Muon_pt)", Soft="Muon_pt < 20"), cut("MET > 20", "nMuon > 0")]
    params = {"path": "s.root", "format": form, "keep": ["event", "Lead", "Soft", "Muon_pt", "channel", "nMuon"]}
    found = read(desk.written(stages, ("final", params), chunk=50)["files/s.root"])
    kept = array[(array.MET > 20) & (array.nMuon > 0)]
    assert 10 < len(kept) < EVENTS - 10
    assert found.event.tolist() == kept.event.tolist()
    assert found.channel.tolist() == kept.channel.tolist()
    assert ak.array_equal(found.Muon_pt, kept.Muon_pt, equal_nan=True, dtype_exact=True)
    assert ak.array_equal(found.Lead, ak.values_astype(kept.Muon_pt[:, 0], "f8"), equal_nan=True)
    assert found.Soft.tolist() == (kept.Muon_pt < 20).tolist()
    assert found.nMuon.tolist() == kept.nMuon.tolist()


def test_lists_of_a_ttree_share_their_counter(desk):
    desk.file("a", events())
    params = {"path": "s.root", "format": "ttree", "keep": ["Muon_pt", "Muon_q", "Pt"]}
    content = desk.written([define(Pt="Muon_pt + 1")], ("final", params))["files/s.root"]
    tree = uproot.open(io.BytesIO(content))["events"]
    assert tree.keys() == ["nMuon", "Muon_pt", "Muon_q", "Pt"]
    assert {name: tree[name].count_leaf.member("fName") for name in tree.keys()[1:]} == dict.fromkeys(
        tree.keys()[1:], "nMuon"
    )


def test_a_name_that_now_means_something_else_is_no_counter(desk):
    array = events()
    desk.file("a", array)
    params = {"path": "s.root", "format": "ttree", "keep": ["Muon_pt", "nMuon"]}
    found = read(desk.written([define(nMuon="nMuon * 10")], ("final", params))["files/s.root"])
    assert found.fields == ["nMuon_pt", "Muon_pt", "nMuon"]
    assert found.nMuon.tolist() == (array.nMuon * 10).tolist()
    assert found.nMuon_pt.tolist() == array.nMuon.tolist()


def test_flags_of_a_selection_are_fields_of_a_record(desk):
    array = events()
    desk.file("a", array)
    stage = cut("MET > 20") | {"id": "Sel"}
    stage["params"] = stage["params"] | {"filter": "none"}
    for form, name in (("rntuple", "Sel"), ("ttree", "Sel.all")):
        found = read(
            desk.written([stage], ("final", {"path": "s.root", "format": form, "keep": ["Sel"]}))["files/s.root"]
        )
        assert found.fields == [name]
        flags = found.Sel["all"] if form == "rntuple" else found["Sel.all"]
        assert flags.tolist() == (array.MET > 20).tolist()


def test_without_keep_all_definitions_and_all_used_branches_are_written(desk):
    array = events()
    desk.file("a", array)
    hist = {
        "id": "Hist",
        "op": "hep.hist",
        "from": "Vars",
        "params": {"axes": [{"name": "n", "source": "NPV", "type": "int"}]},
    }
    found = read(desk.written([define(Pt="Muon_pt * 2", One="1"), hist], ("final", {"path": "s.root"}))["files/s.root"])
    assert found.fields == ["NPV", "Muon_pt", "Pt", "One"]
    assert found.One.tolist() == [1] * EVENTS


def test_an_alias_keeps_the_type_of_its_branch(desk):
    array = events()
    desk.file("a", array)
    found = read(desk.written([define(Alias="MET")], ("final", {"path": "s.root", "keep": ["Alias"]}))["files/s.root"])
    assert ak.array_equal(found.Alias, array.MET, dtype_exact=True)


def test_values_can_be_missing_in_an_rntuple_and_not_in_a_ttree(desk):
    array = events()
    desk.file("a", array)
    stages = [define(Max="max(Muon_q)")]
    found = read(desk.written(stages, ("final", {"path": "s.root", "keep": ["Max"]}))["files/s.root"])
    assert found.Max.tolist() == ak.max(array.Muon_q, axis=1).tolist()
    ttree = ("final", {"path": "s.root", "keep": ["Max"], "format": "ttree"})
    assert desk.faults(stages, ttree) == ["a TTree can't hold 'Max', whose values can be missing"]


def test_a_column_that_is_not_there_is_a_fault(desk):
    desk.file("a", events())
    assert desk.faults([define(x="MET")], ("final", {"path": "s.root", "keep": ["x", "Muon_py"]})) == [
        "the events have no field 'Muon_py'"
    ]


# --- files -----------------------------------------------------------------------------------------------------------


def test_one_file_in_all_has_the_events_of_all_datasets_in_order(desk):
    desk.file("a", events(seed=1))
    desk.file("b", events(seed=2))
    found = read(desk.written([define(x="MET")], ("final", {"path": "s.root", "keep": ["MET"]}))["files/s.root"])
    assert found.MET.tolist() == [*desk.arrays["a"].MET.tolist(), *desk.arrays["b"].MET.tolist()]


def test_files_of_datasets_and_partitions(desk):
    desk.file("a", events(100, seed=1))
    desk.file("b", events(60, seed=2))
    found = desk.written(
        [define(x="MET")],
        ("dataset", {"path": "skim.root", "keep": ["x"]}),
        ("dataset", {"path": "{dataset}/all.root", "keep": ["x"]}),
        ("partition", {"path": "part.root", "keep": ["x"]}),
        ("partition", {"path": "{node_id}_{partition_id}", "keep": ["x"]}),
        ("partition", {"path": "{dataset}_whole.root", "keep": ["x"]}),
        chunk=50,
    )
    assert {name: len(read(content)) for name, content in found.items()} == {
        "files/skim/a.root": 100,
        "files/skim/b.root": 60,
        "files/a/all.root": 100,
        "files/b/all.root": 60,
        "files/part/a/0_0.root": 40,
        "files/part/a/0_1.root": 40,
        "files/part/a/0_2.root": 20,
        "files/part/b/0_0.root": 40,
        "files/part/b/0_1.root": 20,
        "files/write.Vars.3_events__a__0_0.root": 40,
        "files/write.Vars.3_events__a__0_1.root": 40,
        "files/write.Vars.3_events__a__0_2.root": 20,
        "files/write.Vars.3_events__b__0_0.root": 40,
        "files/write.Vars.3_events__b__0_1.root": 20,
        "files/a_whole.root": 100,
        "files/b_whole.root": 60,
    }


def test_bytes_depend_neither_on_partitions_nor_on_the_time(desk):
    desk.file("a", events())
    writes = [("final", {"path": f"{form}.root", "format": form}) for form in ("rntuple", "ttree")]
    first = desk.written([define(x="MET", y="Muon_pt")], *writes)
    time.sleep(1.1)  # the dates in a ROOT file count seconds
    assert desk.written([define(x="MET", y="Muon_pt")], *writes, chunk=40) == first


def test_a_selection_without_events_leaves_the_columns(desk):
    array = events()
    desk.file("a", array)
    keep = ["MET", "Muon_pt", "channel", "event"]
    for form in ("rntuple", "ttree"):
        params = {"path": "s.root", "keep": keep, "format": form}
        found = read(desk.written([cut("MET < 0")], ("final", params))["files/s.root"])
        assert len(found) == 0
        assert str(found[keep].type) == str(array[keep][:0].type)


def test_a_file_without_events_leaves_the_columns(desk):
    desk.file("a", events(0))
    found = read(desk.written([define(x="MET")], ("final", {"path": "s.root", "keep": ["x", "MET"]}))["files/s.root"])
    assert (len(found), found.fields) == (0, ["x", "MET"])


def test_a_column_that_some_datasets_lack_is_a_fault(desk):
    array = events()
    desk.file("a", array)
    desk.file("b", array[[name for name in array.fields if name != "channel"]])
    faults = desk.faults([define(x="MET")], ("final", {"path": "s.root", "keep": ["channel"]}))
    assert faults == ["the events have no field 'channel' (only in dataset b)"]


def test_partitions_of_two_datasets_do_not_share_a_file(desk):
    desk.file("a", events())
    desk.file("b", events())
    writer = ("partition", {"path": "{part}.root", "keep": ["x"]})
    assert desk.faults([define(x="MET")], writer) == ["all datasets have a part 0_0"]


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        ({"path": "/tmp/x.root"}, "'/tmp/x.root' is no path of a file below the outputs"),
        ({"path": "../x.root"}, "'../x.root' is no path of a file below the outputs"),
        ({"path": "{dataset}.root", "when": "final"}, "files that are written with when: final have no {dataset}"),
        ({"path": "{part}.root", "when": "dataset_end"}, "files that are written with when: dataset have no {part}"),
        ({"path": "{sample}.root"}, "there is no token {sample}"),
        ({"path": "{dataset.root"}, "a brace in '{dataset.root' stands alone"),
        ({"path": "x.root", "use": "skim"}, "there is no layout 'skim' among the outputs"),
        ({"path": "x.root", "compression_level": 10}, "levels of zlib go up to 9, and this is 10"),
        ({"path": "x.root", "compression": "lzma"}, "unknown compression 'lzma'"),
        ({"path": "x.root", "format": "root"}, "must be rntuple or ttree"),
        ({"path": "x.root", "keep": []}, "keep"),
        ({"path": "x.root", "branches": ["x"]}, "unknown key 'branches'"),
        ({"path": "x.root", "mode": "update"}, "must be recreate"),
    ],
)  # fmt: skip
def test_faults_of_writers(desk, writer, message):
    desk.file("a", events(10))
    (fault,) = desk.faults([define(x="MET")], (writer.pop("when", "partition"), writer))
    assert message in fault


def test_a_layout_says_tree_and_columns(desk):
    array = events()
    desk.file("a", array)
    layouts = {"skim": {"tree": "small", "keep": ["MET", "x"]}}
    found = desk.written([define(x="MET")], ("run_end", {"path": "s.root", "use": "skim"}), outputs=layouts)
    assert read(found["files/s.root"], "small").fields == ["MET", "x"]
    other = ("run_end", {"path": "s.root", "use": "skim", "keep": ["x"], "tree": "tiny"})
    assert read(desk.written([define(x="MET")], other, outputs=layouts)["files/s.root"], "tiny").fields == ["x"]


def test_a_layout_needs_a_tree_where_a_tree_is_written_from_it(desk):
    desk.file("a", events())
    use = {"path": "skim", "use": "skim"}
    layouts = {"skim": {"keep": ["x"]}}
    found = desk.written([define(x="MET")], ("run_end", {**use, "kind": "csv"}), outputs=layouts)
    assert found["files/skim.csv"].startswith(b'"x"\n')
    (fault,) = desk.plan([define(x="MET")], [("run_end", use)], outputs=layouts)[1]
    assert fault.message == "the layout 'skim' names no tree, and a ROOT file has one"
    assert fault.where.line == 1
    tree = read(
        desk.written([define(x="MET")], ("run_end", {**use, "tree": "t"}), outputs=layouts)["files/skim.root"], "t"
    )
    assert tree.fields == ["x"]


def test_a_name_in_a_layout_that_is_no_column_is_told_where_it_stands_with_the_nearest(desk):
    desk.file("a", events())
    write = ("run_end", {"path": "s.csv", "kind": "csv", "use": "skim"})
    (fault,) = desk.plan([define(x="MET")], [write], outputs={"skim": {"keep": ["x", "METT"]}})[1]
    assert (fault.message, fault.hint) == ("the events have no field 'METT'", "did you mean 'MET'?")
    line = (desk.directory / "workflow.yaml").read_text()
    assert line[fault.where.column - 1 :].startswith('METT"')


def test_a_skim_of_real_events_is_that_of_awkward(desk, shared_data):
    path = shared_data / "CMS_HEP_tutorial_ww.root"
    keep = ["NMuon", "Muon_Px", "Muon_Pt", "NIsoMuon", "EventWeight", "triggerIsoMu24"]
    keys = {"data": {"datasets": [{"name": "ww", "files": [str(path)]}]}}
    stages = [
        define(Muon_Pt="sqrt(Muon_Px ** 2 + Muon_Py ** 2)", NIsoMuon="count_nonzero(Muon_Iso / Muon_Pt < 0.10)"),
        cut("NIsoMuon >= 2", "triggerIsoMu24 == 1"),
    ]
    params = {"path": "skim.root", "keep": keep, "format": "ttree", "compression": "zstd"}
    found = read(desk.written(stages, ("dataset", params), **keys)["files/skim/ww.root"])
    array = uproot.open(path)["events"].arrays()
    px, py = (ak.values_astype(array[name], "f8") for name in ("Muon_Px", "Muon_Py"))
    array["Muon_Pt"] = np.sqrt(px * px + py * py)
    array["NIsoMuon"] = ak.sum(ak.values_astype(array.Muon_Iso, "f8") / array.Muon_Pt < 0.10, axis=1)
    kept = array[(array.NIsoMuon >= 2) & (array.triggerIsoMu24 == 1)]
    assert len(kept) == 244
    assert found.fields == keep
    assert ak.array_equal(found, kept[keep], dtype_exact=True)


# --- the form of the file --------------------------------------------------------------------------------------------

names = st.text(
    st.characters(codec="utf-8", exclude_categories=("C",), exclude_characters="./\\"), min_size=1, max_size=8
)
flat = st.sampled_from(["f8", "f4", "i8", "i4", "u2", "?"])


@st.composite
def columns(draw):
    """Random columns with as many events each: flat, jagged, texts; few values, all kinds of them."""
    count = draw(st.integers(0, 12))
    found = {}
    for name in draw(st.lists(names, min_size=1, max_size=5, unique_by=str.casefold)):
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        kind, dtype = draw(st.sampled_from(["flat", "lists", "texts"])), draw(flat)
        if kind == "texts":
            words = tuple(
                draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=4), min_size=1, max_size=3, unique=True))
            )
            found[name] = Column(random.integers(0, len(words), count), words=words)
            continue
        offsets = None
        size = count
        if kind == "lists":
            offsets = np.concatenate([[0], np.cumsum(random.poisson(1, count))]).astype(np.int64)
            size = int(offsets[-1])
        bits = random.integers(0, 256, size * np.dtype(dtype).itemsize).astype("u1")
        content = bits.view(dtype) if dtype != "?" else bits % 2 == 0
        found[name] = Column(content, offsets)
    return found


def in_memory(form, branches, parts):
    """What a form writes, as bytes."""
    target = io.BytesIO()
    form.write(target, branches, parts)
    return target.getvalue()


def array_of(column):
    """The column as an awkward array, made without the code under test."""
    if column.words:
        return ak.Array([column.words[code] for code in column.content]) if len(column) else ak.Array([""])[:0]
    if column.offsets is None:
        return ak.Array(column.content)
    return ak.unflatten(ak.Array(column.content), np.diff(column.offsets))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(columns(), st.sampled_from(["rntuple", "ttree"]), st.integers(1, 12), st.sampled_from(["zlib", "none"]))
def test_random_columns_come_back(found, form, chunk, compression):
    branches = [Branch(name=name, text=bool(c.words), counter=f"n{name}_") for name, c in found.items()]
    count = len(next(iter(found.values())))
    parts = [
        {name: column.events(start, min(start + chunk, count)) for name, column in found.items()}
        for start in range(0, max(count, 1), chunk)
    ]
    shape = TreeForm(tree="down/events", format=form, compression=compression)
    content = in_memory(shape, branches, parts)
    tree = uproot.open(io.BytesIO(content))["down/events"]
    expected = ak.Array({name: array_of(column) for name, column in found.items()})
    arrays = {name: tree[name].array() for name in found}
    for name, array in arrays.items():
        assert ak.array_equal(array, expected[name], equal_nan=True, dtype_exact=True)
    assert of_output(content, "x.root") == of_value({"down/events": of_array(ak.Array(arrays))})
    assert in_memory(shape, branches, [found]) == content


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(columns(), st.data())
def test_what_is_kept_of_random_blocks_is_what_masks_select(tmp_path, found, data):
    count = len(next(iter(found.values())))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    cuts = sorted({0, count, *data.draw(st.lists(st.integers(0, count), max_size=3))})
    kept = [
        Kept(name=name, text=bool(column.words), lists=number if column.offsets is not None else None)
        for number, (name, column) in enumerate(found.items())
    ]
    keeper = Keeping(columns=tuple(kept), branches=tuple(found), masked=True, rows=False).start(Path())
    for start, stop in pairwise(cuts if len(cuts) > 1 else [0, 0]):
        keeper.add([Column(mask[start:stop])], sliced(found, start, stop))
    store, key = Store(tmp_path), Digest("ab" * 32)
    store.put(key, keeper.state())
    state = store.get(key)
    assert state is not None
    for name, column in keeping_columns(state).items():
        array = array_of(column) if column.words or not found[name].words else ak.Array([""])[:0]
        assert ak.array_equal(array, array_of(found[name])[mask], equal_nan=True, dtype_exact=True)


def test_clusters_begin_at_the_same_events_however_these_come():
    count = CLUSTER + 10
    column = Column(np.arange(count))
    cut_up = [column.events(start, min(start + 9999, count)) for start in range(0, count, 9999)]
    content = in_memory(TreeForm(tree="t"), [Branch(name="x")], [{"x": piece} for piece in cut_up])
    ntuple = uproot.open(io.BytesIO(content))["t"]
    assert [int(summary.num_first_entry) for summary in ntuple.cluster_summaries] == [0, CLUSTER]
    assert ntuple["x"].array().to_numpy().tolist() == list(range(count))


def test_types_of_later_parts_must_fit_the_first():
    parts = [{"x": Column(np.zeros(2, "f4"))}, {"x": Column(np.zeros(2, "f8"))}]
    with pytest.raises(DataError, match="column 'x' is float32 in some files and float64 in others"):
        in_memory(TreeForm(tree="t"), [Branch(name="x")], parts)
    wider = in_memory(TreeForm(tree="t"), [Branch(name="x")], parts[::-1])
    assert str(read(wider, "t").type) == "4 * {x: float64}"


def test_a_field_of_an_rntuple_can_not_hold_values_and_fields():
    found = {"a": Column(np.zeros(1)), "a.b": Column(np.zeros(1))}
    with pytest.raises(DataError, match="field 'a' with values and fields of its own"):
        in_memory(TreeForm(tree="t"), [Branch(name=name) for name in found], [found])


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a\nb", ""])
def test_names_that_readers_take_for_something_else_are_refused(name):
    with pytest.raises(DataError, match="can't be the name of a branch"):
        in_memory(TreeForm(tree="t"), [Branch(name=name)], [{name: Column(np.zeros(1))}])


def test_no_path_and_no_date_is_in_the_file():
    content = in_memory(TreeForm(tree="t", compression="none"), [Branch(name="x")], [{"x": Column(np.zeros(3))}])
    file = uproot.open(io.BytesIO(content)).file
    directory = file.root_directory
    assert (directory.created_on.year, directory.modified_on.year) == (1995, 1995)
    assert b"/" not in content[:300]
    other = in_memory(TreeForm(tree="t", compression="none"), [Branch(name="x")], [{"x": Column(np.ones(3))}])
    assert file.uuid != uproot.open(io.BytesIO(other)).file.uuid
