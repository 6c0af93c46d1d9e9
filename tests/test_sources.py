"""Joined trees, Parquet files and toy events as sources; oracles are awkward, NumPy and pyarrow alone."""

import json
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasthep_archive.data.source import Read, open_events, open_source
from fasthep_archive.data.toy import TREE, Toy, generated, is_generated, toy_of
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, Structure, concatenated, selected

TOYS = json.loads((Path(__file__).parent / "root" / "toys.json").read_text())
"""Of 2000 events of each process: number and sum of the values of each column, as fasthep-workshop 2026.8.2 made them
with NumPy 2.4.6 (``run_toy_source``, weight 0.5)."""


def plain(column):
    """Return a column as Python lists, missing values as None."""
    content = [column.words[code] for code in column.content] if column.words else column.content.tolist()
    if column.valid is not None:
        content = [value if valid else None for value, valid in zip(content, column.valid, strict=True)]
    if column.offsets is None:
        return content
    return [content[start:stop] for start, stop in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


# --- joined trees ----------------------------------------------------------------------------------------------------


@pytest.fixture
def two_trees(tmp_path):
    """Two trees of the same events, with lists of their own, and one of other events."""
    path = tmp_path / "two.root"
    counts = [np.array([1, 0, 2, 3]), np.array([1, 0, 2, 3]), np.array([2, 2, 0])]
    with uproot.recreate(path) as file:
        for name, count in zip(("reco", "l1", "short"), counts, strict=True):
            pt = ak.unflatten(np.arange(count.sum(), dtype="f4"), count)
            data = {"Muon": ak.zip({"pt": pt, "q": pt > 1}), "MET": np.arange(len(count)) * 1.5}
            tree = file.mktree(name, {key: ak.Array(value).type.content for key, value in data.items()})
            for start in (0, 2):
                tree.extend({key: value[start : start + 2] for key, value in data.items()})
    return path


def reads(*names, kind="root_tree"):
    return [Read(kind=kind, tree=name, prefix=name) for name in names]


def test_columns_of_a_join_have_the_prefixes_of_their_trees(two_trees):
    with open_events(two_trees, reads("reco", "l1")) as events:
        expected = ["nMuon", "Muon_pt", "Muon_q", "MET"]
        assert list(events.types()) == [f"{tree}.{name}" for tree in ("reco", "l1") for name in expected]
        assert events.types()["l1.Muon_pt"] == ColumnType("float64", Structure("l1.nMuon", counted=True))
        assert (events.entries, events.clusters()) == (4, (0, 2, 4))


def test_a_join_reads_entry_by_entry(two_trees):
    file = uproot.open(two_trees)
    names = ["reco.MET", "l1.Muon_pt", "reco.Muon_pt", "l1.Muon_q"]
    with open_events(two_trees, reads("reco", "l1")) as events:
        found = events.read(names, 1, 4)
        assert list(found) == names
        for name, column in found.items():
            tree, _, branch = name.partition(".")
            assert plain(column) == file[tree][branch].array()[1:].tolist()
        assert found["l1.Muon_pt"].offsets is found["l1.Muon_q"].offsets


def test_a_source_without_prefix_is_read_as_it_is(two_trees):
    with open_events(two_trees, [Read(kind="root_tree", tree="l1")]) as events:
        assert list(events.types()) == ["nMuon", "Muon_pt", "Muon_q", "MET"]


def test_a_join_of_different_numbers_of_entries_is_refused_with_both(two_trees):
    with pytest.raises(DataError) as caught:
        open_events(two_trees, reads("reco", "short"))
    expected = (
        f"tree 'reco' of {two_trees} has 4 entries and tree 'short' has 3, so they can't be joined entry by entry"
    )
    assert caught.value.message == expected


def test_two_trees_without_prefixes_have_columns_of_the_same_names(two_trees):
    with pytest.raises(DataError, match="tree 'reco' and tree 'l1' both have a column 'nMuon'"):
        open_events(two_trees, [Read(kind="root_tree", tree=tree) for tree in ("reco", "l1")])


def test_what_a_join_does_not_have_is_told_with_its_trees(two_trees):
    with open_events(two_trees, reads("reco", "l1")) as events, pytest.raises(DataError) as caught:
        events.read(["l1.Muon_pX"], 0, 1)
    assert caught.value.message == f"no branch 'l1.Muon_pX' in tree 'reco' and tree 'l1' of {two_trees}"
    assert "l1.Muon_pt" in (caught.value.hint or "")


def test_a_missing_tree_of_a_join_is_told(two_trees):
    with pytest.raises(DataError, match="no tree 'l2' in "):
        open_events(two_trees, reads("reco", "l2"))


# --- Parquet ---------------------------------------------------------------------------------------------------------


def parquet_events(count=1000):
    random = np.random.default_rng(1)
    lists = ak.unflatten(
        random.random(random.poisson(1.5, count).sum()).astype("f4"), np.random.default_rng(1).poisson(1.5, count)
    )
    return ak.Array(
        {
            "x": random.random(count),
            "i": np.arange(count).astype("u1"),
            "flag": random.random(count) < 0.5,
            "text": ak.Array([["mm", "µτ"][n % 2] for n in range(count)]),
            "lists": lists,
            "Mu": ak.zip({"pt": lists, "q": lists > 0.5}),
            "met": ak.zip({"pt": random.random(count), "phi": random.random(count)}),
            "some": ak.Array([None if n % 3 == 0 else float(n) for n in range(count)]),
            "inner": ak.Array([[None, 1.5] if n % 3 else [] for n in range(count)]),
            "fixed": ak.from_numpy(random.random((count, 3)), regulararray=True),
        }
    )


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "events.parquet"
    array = parquet_events()
    ak.to_parquet(array, path, row_group_size=300, extensionarray=False)
    return path, array


def of_dotted(array, name):
    for part in name.split("."):
        array = array[part]
    return array


COLUMNS = {
    "x": ColumnType("float64"),
    "i": ColumnType("int64"),
    "flag": ColumnType("bool"),
    "text": ColumnType("text"),
    "lists": ColumnType("float64", Structure("lists", counted=False)),
    "Mu.pt": ColumnType("float64", Structure("Mu", counted=True)),
    "Mu.q": ColumnType("bool", Structure("Mu", counted=True)),
    "met.pt": ColumnType("float64"),
    "met.phi": ColumnType("float64"),
    "some": ColumnType("float64", optional=True),
    "inner": ColumnType("float64", Structure("inner", counted=False), optional=True),
    "fixed": ColumnType("float64", Structure("[3]", counted=True)),
}


def test_a_parquet_file_has_rows_row_groups_and_types(parquet):
    with open_source(parquet[0], Read(kind="workshop.parquet", tree="")) as events:
        assert (events.entries, events.clusters()) == (1000, (0, 300, 600, 900, 1000))
        assert dict(events.types()) == COLUMNS


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1000), (250, 650), (300, 600), (5, 5), (0, 0), (999, 1000), (1000, 1000)]
)
def test_a_parquet_column_reads_as_it_was_written(parquet, name, start, stop):
    path, array = parquet
    with open_source(path, Read(kind="workshop.parquet", tree="")) as events:
        assert plain(events.read([name], start, stop)[name]) == of_dotted(array, name)[start:stop].tolist()


def test_parquet_columns_read_together_are_those_read_alone(parquet):
    path, array = parquet
    with open_source(path, Read(kind="workshop.parquet", tree="")) as events:
        found = events.read(COLUMNS, 123, 901)
        assert {name: plain(column) for name, column in found.items()} == {
            name: of_dotted(array, name)[123:901].tolist() for name in COLUMNS
        }
        assert found["Mu.pt"].offsets is found["Mu.q"].offsets


def test_narrow_numbers_stay_narrow_until_they_are_computed_with(parquet):
    with open_source(parquet[0], Read(kind="workshop.parquet", tree="")) as events:
        assert events.read(["lists"], 0, 10)["lists"].content.dtype == np.float32


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return open_source(path, Read(kind="workshop.parquet", tree=""))


def test_nullable_columns_that_miss_nothing_are_not_optional(tmp_path):
    with table(
        tmp_path / "x.parquet", x=[1.0, 2.0], lists=[[1], []], empty=pa.array([[], []], pa.list_(pa.int64()))
    ) as events:
        assert [events.types()[name].optional for name in ("x", "lists", "empty")] == [False, False, False]


def test_texts_in_a_dictionary_are_texts(tmp_path):
    with table(tmp_path / "x.parquet", word=pa.array(["b", "a", "b"]).dictionary_encode()) as events:
        assert events.types()["word"] == ColumnType("text")
        assert plain(events.read(["word"], 0, 3)["word"]) == ["b", "a", "b"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[[1]], []]), "branch 'x' can't be used in formulas: it holds var * var * int64"),
        (pa.array([["a"], []]), "branch 'x' can't be used in formulas: it holds var * string"),
        (pa.array([1, 2], pa.timestamp("s")), "branch 'x' can't be used in formulas: it holds datetime64"),
        (pa.array([1, 2], pa.decimal128(5)), "branch 'x' can't be used in formulas: it holds decimal128(5, 0)"),
        (pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())), "branch 'x' can't be used in formulas: it holds map"),
        (pa.array([[1], None]), "lacks some of its lists"),
        (pa.array(["a", None]), "lacks some of its texts"),
        (pa.array([2**63, 1], pa.uint64()), "branch 'x' has the number 9223372036854775808, which is beyond int64"),
    ],
)  # fmt: skip
def test_what_formulas_can_not_take_is_told(tmp_path, column, message):
    with table(tmp_path / "x.parquet", x=column) as events, pytest.raises(DataError) as caught:
        events.read(["x"], 0, 2)
    assert message in caught.value.message


def test_broken_parquet_files_are_told(tmp_path, parquet):
    content = parquet[0].read_bytes()
    middle = len(content) // 2
    for name, broken, message in [
        ("empty", b"", "is empty"),
        ("text", b"x,y\n1,2\n", "is not a Parquet file: it does not begin with 'PAR1'"),
        ("cut", content[:middle], "is cut off: it doesn't end with 'PAR1'"),
        ("foot", content[:-200] + bytes(192) + content[-8:], "is damaged or cut off: "),
    ]:
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(broken)
        with pytest.raises(DataError, match=message):
            open_source(path, Read(kind="workshop.parquet", tree=""))
    with pytest.raises(DataError, match="is a directory, not a Parquet file"):
        open_source(tmp_path, Read(kind="workshop.parquet", tree=""))
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "absent.parquet", Read(kind="workshop.parquet", tree=""))


def test_damaged_pages_of_a_parquet_file_are_told(tmp_path):
    path = tmp_path / "x.parquet"
    with table(path, x=np.random.default_rng(0).random(5000)):
        pass
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with (
        open_source(path, Read(kind="workshop.parquet", tree="")) as events,
        pytest.raises(DataError, match="is damaged or cut off"),
    ):
        events.read(["x"], 0, 5000)


# --- toy events ------------------------------------------------------------------------------------------------------


def test_names_of_toy_events():
    assert [is_generated(name) for name in ("toy://dy", "TOY://qcd", "dy.root", "root://toy/dy")] == [
        True,
        True,
        False,
        False,
    ]
    assert toy_of("toy://qcd/Q%20C.root?dataset=Q%20C&eventtype=mc&nevents=5&seed=3&weight=0.25") == Toy(
        process="qcd", dataset="Q C", eventtype="mc", events=5, seed=3, weight=0.25
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [("toy://zz/x?nevents=1", "no toy events are called"), ("toy://dy", "doesn't say which toy events are meant")],
)
def test_names_that_mean_no_toy_events(name, message):
    with pytest.raises(DataError, match=message):
        toy_of(name)


@pytest.mark.parametrize("expected", TOYS, ids=lambda toy: toy["process"])
def test_toy_events_are_those_of_fast_hep(expected, tmp_path):
    """Compared with a tolerance, since the last bit is the C library's."""
    toy = Toy(
        process=expected["process"],
        dataset="T",
        eventtype=expected["eventtype"],
        events=2000,
        seed=expected["seed"],
        weight=0.5,
    )
    path = generated(toy, tmp_path)
    with open_source(path, Read(kind="workshop.toy_source", tree="")) as events:
        assert list(events.types()) == list(expected["sums"])
        found = events.read(events.types(), 0, events.entries)
    for name, (count, total) in expected["sums"].items():
        column = found[name]
        assert column.content.size == count, name
        if not column.words:
            assert math.isclose(math.fsum(column.content.astype(float).tolist()), total, rel_tol=1e-12, abs_tol=1e-9), (
                name
            )


def test_toy_events_are_made_once_and_the_same_again(tmp_path):
    toy = Toy(process="dy", dataset="DY", eventtype="mc", events=100, seed=1, weight=1.0)
    path = generated(toy, tmp_path)
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert generated(toy, tmp_path).stat().st_mtime_ns == before[0]
    path.unlink()
    assert generated(toy, tmp_path).read_bytes() == before[1]
    assert uproot.open(path)[TREE].num_entries == 100


def test_data_weigh_one_and_have_no_truth(tmp_path):
    toy = Toy(process="data", dataset="D", eventtype="data", events=50, seed=1, weight=7.0)
    array = uproot.open(generated(toy, tmp_path))[TREE].arrays()
    assert set(array.EventWeight.tolist()) == {1.0}
    assert "MCLepton_Px" not in array.fields
    assert set(array.Dataset.tolist()) == {"D"}


def test_no_toy_events_are_events_too(tmp_path):
    toy = Toy(process="dy", dataset="DY", eventtype="mc", events=0, seed=1, weight=1.0)
    with open_source(generated(toy, tmp_path), Read(kind="workshop.toy_source", tree="")) as events:
        assert events.entries == 0
        assert plain(events.read(["Jet_Px"], 0, 0)["Jet_Px"]) == []


# --- columns ---------------------------------------------------------------------------------------------------------


@st.composite
def jagged(draw):
    values = draw(st.lists(st.lists(st.floats(allow_nan=False), max_size=3), max_size=8))
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int64)
    return values, Column(np.array([value for row in values for value in row], float), offsets)


@settings(suppress_health_check=list(HealthCheck))
@given(jagged(), st.data())
def test_selected_events_are_those_of_python(made, data):
    values, column = made
    mask = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    kept = [row for row, keep in zip(values, mask, strict=True) if keep]
    assert plain(selected(column, np.array(mask, bool))) == kept


@given(st.lists(jagged(), min_size=1, max_size=4))
def test_concatenated_columns_are_lists_one_after_the_other(made):
    assert plain(concatenated([column for _, column in made])) == [row for values, _ in made for row in values]


def test_concatenated_texts_are_in_order_of_appearance():
    one, other = Column(np.array([0, 1]), words=("b", "a")), Column(np.array([1, 0]), words=("c", "b"))
    found = concatenated([one, other])
    assert (plain(found), found.words) == (["b", "a", "b", "c"], ("b", "a", "c"))
