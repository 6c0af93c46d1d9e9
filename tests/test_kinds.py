"""Whole workflows on other sources than ROOT trees: toy events, Parquet, joined trees; seen through the sink."""

import awkward as ak
import numpy as np
import pytest
import uproot
from test_writing import Desk, cut, define, read

from fasthep_archive.data.toy import Toy, generated


@pytest.fixture
def desk(tmp_path, kernel_cache):
    return Desk(tmp_path, kernel_cache)


def final(*keep):
    return ("final", {"path": "s.root", "keep": list(keep)})


def toys(*datasets, **options):
    return {
        "data": {"datasets": [dict(zip(("name", "files"), item[:2], strict=True)) | item[2] for item in datasets]},
        "sources": {"events": {"kind": "workshop.toy_source", **options}},
    }


def toy_array(tmp_path, **fields):
    return uproot.open(generated(Toy(**fields), tmp_path))["events"].arrays()


def test_toy_events_of_two_datasets_differ_by_what_these_say(desk, tmp_path):
    keys = toys(
        ("DY", ["toy://dy"], {"nevents": 300, "eventtype": "mc", "seed": 1}),
        ("More", ["toy://dy"], {"nevents": 200, "eventtype": "mc", "weight": 0.5}),
        ("Data", ["toy://data"], {"nevents": 100, "eventtype": "data"}),
        seed=7,
        weight=2,
    )
    found = read(
        desk.written([define(w="EventWeight", n="count(Muon_Px)")], final("w", "n", "MET", "Dataset"), **keys)[
            "files/s.root"
        ]
    )
    arrays = [
        toy_array(tmp_path, process=process, dataset=name, eventtype=kind, events=count, seed=seed, weight=weight)
        for process, name, kind, count, seed, weight in [
            ("dy", "DY", "mc", 300, 1, 2.0),
            ("dy", "More", "mc", 200, 7, 0.5),
            ("data", "Data", "data", 100, 7, 2.0),
        ]
    ]
    assert found.MET.tolist() == [value for array in arrays for value in array.MET.tolist()]
    assert found.n.tolist() == [value for array in arrays for value in ak.num(array.Muon_Px).tolist()]
    assert found.w.tolist() == [2.0] * 300 + [0.5] * 200 + [1.0] * 100
    assert found.Dataset.tolist() == ["DY"] * 300 + ["More"] * 200 + ["Data"] * 100


def test_partitions_of_toy_events_are_not_the_whole_again(desk):
    """FAST-HEP's source generates all events for each partition."""
    keys = toys(("DY", ["toy://dy"], {"nevents": 1000, "eventtype": "mc"}))
    found = read(desk.written([define(x="MET")], final("EventNumber"), chunk=300, **keys)["files/s.root"])
    assert found.EventNumber.tolist() == list(range(1000))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"files": ["toy://higgs"]}, "there are no toy events called 'toy://higgs'"),
        ({"files": ["toy://dy"], "eventtype": "embedding"}, "toy events are data or mc, not 'embedding'"),
        ({"files": ["toy://dy"], "seed": "x"}, "seed of toy events must be a whole number from 0 on, not 'x'"),
        ({"files": ["toy://dy"], "weight": [1]}, "weight of toy events must be a number, not [1]"),
    ],
)
def test_faults_of_toy_events(desk, dataset, message):
    keys = toys(("T", dataset.pop("files"), dataset))
    assert desk.plan([define(x="MET")], (), **keys)[1][0].message == message


def test_toy_events_need_their_source(desk):
    keys = toys(("T", ["toy://dy"], {})) | {"sources": {"events": {"kind": "root_tree", "tree": "events"}}}
    (fault,) = desk.plan([define(x="MET")], (), **keys)[1]
    assert fault.message == "toy events come from a source of kind workshop.toy_source, and there is none"


def test_parquet_files_are_read_by_row_groups(desk):
    random = np.random.default_rng(2)
    counts = random.poisson(2, 500)
    array = ak.Array(
        {
            "x": random.random(500),
            "word": ak.Array([["a", "b"][n % 2] for n in range(500)]),
            "Mu": ak.zip({"pt": ak.unflatten(random.random(counts.sum()).astype("f4"), counts)}),
            "some": ak.Array([None if n % 5 == 0 else n for n in range(500)]),
        }
    )
    ak.to_parquet(array, desk.directory / "a.parquet", row_group_size=100, extensionarray=False)
    keys = {
        "data": {"datasets": [{"name": "a", "files": ["a.parquet"]}]},
        "sources": {"events": {"kind": "workshop.parquet", "columns": ["x"]}},
    }
    stages = [define(lead="leading(Mu.pt)", filled="fill_none(some, -1)"), cut("x > 0.5")]
    writers = (final("x", "word", "lead", "filled", "Mu.pt", "some"), ("partition", {"path": "p.root", "keep": ["x"]}))
    found = desk.written(stages, *writers, chunk=250, **keys)
    kept = array[array.x > 0.5]
    rows = read(found["files/s.root"])
    assert rows.x.tolist() == kept.x.tolist()
    assert rows.word.tolist() == kept.word.tolist()
    assert rows.lead.tolist() == [float(values[0]) if len(values) else 0.0 for values in kept.Mu.pt]
    assert rows.filled.tolist() == ak.fill_none(kept.some, -1).tolist()
    assert rows.some.tolist() == kept.some.tolist()
    assert ak.array_equal(rows.Mu.pt, kept.Mu.pt, dtype_exact=True)
    assert sorted(found) == ["files/p/a/0_0.root", "files/p/a/0_1.root", "files/p/a/0_2.root", "files/s.root"]


def test_a_column_that_parquet_lacks_is_a_fault(desk):
    ak.to_parquet(ak.Array({"x": [1.0]}), desk.directory / "a.parquet")
    keys = {
        "data": {"datasets": [{"name": "a", "files": ["a.parquet"]}]},
        "sources": {"events": {"kind": "workshop.parquet", "columns": ["X"]}},
    }
    messages = [fault.message for fault in desk.plan([define(y="x")], (), **keys)[1]]
    assert len(messages) == 1
    assert "'X'" in messages[0]


def two_trees(path, first=400, second=400):
    random = np.random.default_rng(3)
    arrays = {}
    with uproot.recreate(path) as file:
        for name, count in (("reco", first), ("l1", second)):
            counts = random.poisson(1, count)
            pt = ak.unflatten(random.random(counts.sum()).astype("f4"), counts)
            arrays[name] = ak.Array({"MET": random.random(count), "pt": pt})
            types = {key: arrays[name][key].type.content for key in arrays[name].fields}
            tree = file.mktree(name, types)
            for start in range(0, count, 100):
                tree.extend({key: arrays[name][key][start : start + 100] for key in types})
    return arrays


JOINED = {
    "data": {"datasets": [{"name": "a", "files": ["a.root"]}]},
    "sources": {name: {"kind": "root_tree", "tree": name} for name in ("reco", "l1")},
    "joins": {
        "both": {"kind": "zip", "inputs": [{"source": "reco", "prefix": "reco"}, {"source": "l1", "prefix": "l1"}]}
    },
    "primary_stream": "both",
}


def test_joined_trees_are_one_stream(desk):
    arrays = two_trees(desk.directory / "a.root")
    stages = [define(diff="reco.MET - l1.MET", many="count(l1.pt)"), cut("reco.MET > 0.3")]
    writers = (final("diff", "many", "l1.pt", "reco.pt", "l1.MET"),)
    rows = read(desk.written(stages, *writers, chunk=150, **JOINED)["files/s.root"])
    chosen = arrays["reco"].MET > 0.3
    assert rows["diff"].tolist() == (arrays["reco"].MET - arrays["l1"].MET)[chosen].tolist()
    assert rows.many.tolist() == ak.num(arrays["l1"].pt)[chosen].tolist()
    assert ak.array_equal(rows.l1.pt, arrays["l1"].pt[chosen], dtype_exact=True)
    assert ak.array_equal(rows.reco.pt, arrays["reco"].pt[chosen], dtype_exact=True)
    assert ak.array_equal(rows.l1.MET, arrays["l1"].MET[chosen])


def test_joined_trees_of_other_lengths_are_a_fault(desk):
    two_trees(desk.directory / "a.root", second=399)
    (fault,) = desk.plan([define(x="reco.MET")], (), **JOINED)[1]
    expected = "tree 'reco' of a.root has 400 entries and tree 'l1' has 399, so they can't be joined entry by entry"
    assert fault.message == expected
