"""ROOT files: against ROOT itself, uproot and NumPy; types, clusters, partitions, damage."""

import json
import math
import os
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive.data.source import Read, open_source, partitions
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import ColumnType, Structure

MADE = Path(__file__).parent / "root"
EXPECTED = json.loads((MADE / "expected.json").read_text())
UNREADABLE = {("mapped", "pt"), ("mapped", "q")}
"""Branches without a table of where entries begin (ROOT's kGenerateOffsetMap), which uproot 5.7 can't read."""
BY_ROOT = [
    (file, tree, column)
    for file, trees in EXPECTED.items()
    for tree, found in trees.items()
    for column in found
    if (tree, column) not in UNREADABLE
]
RANGES = [(0, 120), (3, 77), (12, 24), (50, 100), (60, 61), (77, 77), (120, 120), (7, 20), (0, 20), (5, 6)]


def opened(path, tree="events"):
    return open_source(path, Read(kind="root_tree", tree=tree))


def plain(column):
    """Return a column as Python lists, missing values as None."""
    if column.words:
        return [column.words[code] for code in column.content]
    content = column.content.tolist()
    if column.valid is not None:
        content = [value if valid else None for value, valid in zip(content, column.valid, strict=True)]
    if column.offsets is None:
        return content
    assert column.offsets[0] == 0
    assert column.offsets[-1] == len(content)
    return [content[start:stop] for start, stop in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


def ranges(entries):
    return [(start, stop) for start, stop in RANGES if stop <= entries]


# ---------------------------------------------------------------------------------- files that ROOT made


@pytest.mark.parametrize(("file", "tree", "column"), BY_ROOT)
def test_values_are_those_that_root_wrote(file, tree, column):
    expected = EXPECTED[file][tree][column]
    with opened(MADE / file, tree) as source:
        for start, stop in ranges(source.entries):
            assert plain(source.read([column], start, stop)[column]) == expected[start:stop]


@pytest.mark.parametrize(("file", "tree"), [(file, tree) for file, trees in EXPECTED.items() for tree in trees])
def test_columns_read_together_are_those_read_alone(file, tree):
    expected = {name: values for name, values in EXPECTED[file][tree].items() if (tree, name) not in UNREADABLE}
    with opened(MADE / file, tree) as source:
        for start, stop in ranges(source.entries):
            together = source.read(expected, start, stop)
            assert {name: plain(column) for name, column in together.items()} == {
                name: values[start:stop] for name, values in expected.items()
            }


@pytest.mark.parametrize(("tree", "column"), sorted(UNREADABLE))
def test_what_uproot_cannot_read_is_refused_and_not_misread(tree, column):
    with opened(MADE / "trees.root", tree) as source, pytest.raises(DataError, match=f"branch '{column}' of "):
        source.read([column], 0, source.entries)


@pytest.mark.parametrize(
    ("file", "column", "expected"),
    [
        ("trees.root", "n", ColumnType("int64")),
        ("trees.root", "pt", ColumnType("float64", Structure("n", counted=True))),
        ("trees.root", "q", ColumnType("int64", Structure("n", counted=True))),
        ("trees.root", "big", ColumnType("int64")),
        ("trees.root", "d3", ColumnType("float64", Structure("[3]", counted=True))),
        ("trees.root", "b", ColumnType("bool")),
        ("trees.root", "d32", ColumnType("float64")),
        ("trees.root", "f16", ColumnType("float64")),
        ("trees.root", "c", ColumnType("int64")),
        ("trees.root", "text", ColumnType("text")),
        ("trees.root", "s", ColumnType("text")),
        ("trees.root", "vf", ColumnType("float64", Structure("vf", counted=False))),
        ("trees.root", "vb", ColumnType("bool", Structure("vb", counted=False))),
        ("objects.root", "Muons.pt", ColumnType("float64", Structure("Muons_", counted=True))),
        ("objects.root", "Muons.q", ColumnType("int64", Structure("Muons_", counted=True))),
        ("ntuple.root", "met", ColumnType("float64")),
        ("ntuple.root", "flag", ColumnType("bool")),
        ("ntuple.root", "name", ColumnType("text")),
        ("ntuple.root", "cov", ColumnType("float64", Structure("[3]", counted=True))),
        ("ntuple.root", "jets", ColumnType("float64", Structure("jets", counted=False))),
        ("ntuple.root", "Muon.pt", ColumnType("float64", Structure("Muon", counted=True))),
        ("ntuple.root", "Muon.q", ColumnType("int64", Structure("Muon", counted=True))),
        ("ntuple.root", "nMuon", ColumnType("int64")),
        ("ntuple.root", "maybe", ColumnType("float64", optional=True)),
    ],
)
def test_types_of_columns(file, column, expected):
    with opened(MADE / file) as source:
        assert source.types()[column] == expected


@pytest.mark.parametrize(
    ("file", "column", "message"),
    [
        (
            "trees.root",
            "vv",
            r"'vv' can't be used in formulas: it holds var \* var \* float32\n\nhint: formulas take numbers",
        ),
        ("trees.root", "two", r"it holds 2 \* 3 \* int32"),
        ("trees.root", "leaves", r"it holds \{a: int32, b: float32\}"),
        ("objects.root", "Muons", r"it groups others\n\nhint: name one of its branches: Muons\.pt, Muons\.q"),
        ("objects.root", "p4.", r"it holds TLorentzVector\["),
        ("objects.root", "histogram", r"it holds TH1F"),
        ("objects.root", "early", r"branch 'early' has 10 entries, its tree has 20"),
        ("trees.root", "d33", r"it holds an array of numbers packed into fewer bits \(Double32_t\)"),
        ("objects.root", "whole", r"it holds TLorentzVector\["),
        ("ntuple.root", "nested", r"it holds var \* var \* float32"),
        ("ntuple.root", "Muon", r"hint: name one of its fields: Muon\.pt, Muon\.q"),
        ("trees.root", "ptt", r"no branch 'ptt' in tree 'events' of .*\n\nhint: did you mean 'pt'"),
        ("ntuple.root", "Muon.eta", "no branch 'Muon.eta' in RNTuple 'events'"),
    ],
)
def test_columns_that_formulas_cannot_take_are_told(file, column, message):
    with opened(MADE / file) as source:
        with pytest.raises(DataError, match=message):
            source.types()[column]
        with pytest.raises(DataError, match=message):
            source.read([column], 0, 1)


def test_unknown_columns_are_key_errors_too():
    with opened(MADE / "trees.root") as source:
        assert "nothing" not in source.types()
        assert "vv" in source.types()
        assert source.types().get("nothing") is None


def test_missing_values_are_marked():
    with opened(MADE / "ntuple.root") as source:
        assert plain(source.read(["maybe"], 4, 11)["maybe"]) == [i / 2 if i % 5 else None for i in range(4, 11)]


@pytest.mark.parametrize(
    ("file", "tree", "expected"),
    [
        ("trees.root", "events", (0, 50, 100, 120)),
        ("trees.root", "mapped", (0, 12, 24, 37, 47, 57, 72, 83, 94, 106, 117, 120)),
        ("trees.root", "empty", (0,)),
        ("ntuple.root", "events", (0, 50, 100, 120)),
        ("objects.root", "events", (0, 20)),
    ],
)
def test_clusters_are_those_of_the_file(file, tree, expected):
    with opened(MADE / file, tree) as source:
        assert source.clusters() == expected
        assert source.entries == expected[-1]


# ------------------------------------------------------------------------------------------- real files


REAL = [
    ("CMS_HEP_tutorial_ww.root", "events"),
    ("uproot-Zmumu.root", "events"),
    ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "Events"),
]


@pytest.mark.parametrize(("file", "tree"), REAL)
def test_every_branch_of_real_files_is_what_uproot_reads(shared_data: Path, file, tree):
    with opened(shared_data / file, tree) as source, uproot.open(shared_data / file) as directory:
        names = list(source.types())
        start, stop = source.entries // 7, source.entries - source.entries // 9
        columns = source.read(names, start, stop)
        arrays = directory[tree].arrays(names, entry_start=start, entry_stop=stop)
        for name in names:
            if columns[name].words:
                assert plain(columns[name]) == arrays[name].tolist()
                continue
            assert np.array_equal(
                columns[name].content, ak.to_numpy(ak.flatten(arrays[name], axis=None)), equal_nan=True
            )
            if columns[name].offsets is not None:
                assert np.array_equal(np.diff(columns[name].offsets), ak.to_numpy(ak.num(arrays[name])))


def test_the_known_sum_of_weights_is_reproduced(shared_data: Path):
    with opened(shared_data / "CMS_HEP_tutorial_ww.root") as source:
        weights = source.read(["EventWeight"], 0, source.entries)["EventWeight"].content
    assert len(weights) == 4580
    assert math.fsum(weights.astype(float)) == 229.94958064877466


def test_branches_with_one_counter_share_offsets(shared_data: Path):
    with opened(shared_data / "CMS_HEP_tutorial_ww.root") as source:
        columns = source.read(["Muon_Px", "Muon_Py", "Jet_Px"], 0, 1000)
        types = source.types()
    assert columns["Muon_Px"].offsets is columns["Muon_Py"].offsets
    assert types["Muon_Px"].structure == types["Muon_Py"].structure == Structure("NMuon", counted=True)
    assert types["Jet_Px"].structure == Structure("NJet", counted=True)


# -------------------------------------------------------------------------------- files that uproot makes


COUNT = 1000
FLAT = {
    **{dtype: np.arange(COUNT).astype(dtype) for dtype in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")},
    "flag": np.arange(COUNT) % 3 == 0,
    "nan": np.where(np.arange(COUNT) % 2, np.nan, -0.0),
    "fixed": np.arange(3 * COUNT, dtype="f4").reshape(COUNT, 3),
}


def jagged():
    generator = np.random.default_rng(5)
    counts = generator.poisson(1.2, COUNT)
    total = int(counts.sum())
    muons = {
        "pt": generator.random(total).astype("f4"),
        "q": generator.integers(-1, 2, total),
        "good": generator.random(total) < 0.5,
    }
    return {
        "Muon": ak.zip({name: ak.unflatten(values, counts) for name, values in muons.items()}),
        "Jet_E": ak.unflatten(generator.random(total), generator.permutation(counts)),
    }


@pytest.fixture(scope="module", params=["zlib", "lzma", "lz4", "zstd", "none"])
def tree_file(request, tmp_path_factory):
    compression = {
        "zlib": uproot.ZLIB(1),
        "lzma": uproot.LZMA(1),
        "lz4": uproot.LZ4(4),
        "zstd": uproot.ZSTD(3),
        "none": None,
    }
    path = tmp_path_factory.mktemp("trees") / f"{request.param}.root"
    arrays = {**FLAT, **jagged()}
    with uproot.recreate(path, compression=compression[request.param]) as file:
        for start in range(0, COUNT, 170):
            part = {name: values[start : start + 170] for name, values in arrays.items()}
            if start == 0:
                file.mktree(
                    "dir/events",
                    {
                        name: values.type.content
                        if isinstance(values, ak.Array)
                        else values.dtype
                        if values.ndim == 1
                        else (values.dtype, (3,))
                        for name, values in arrays.items()
                    },
                )
            file["dir/events"].extend(part)
    return path


@given(st.integers(0, COUNT), st.integers(0, COUNT))
@settings(max_examples=25)
def test_any_range_is_a_slice_of_all(tree_file, one, other):
    start, stop = min(one, other), max(one, other)
    lists = jagged()
    with opened(tree_file, "dir/events") as source:
        columns = source.read([*FLAT, "Muon_pt", "Jet_E", "Muon_q", "nMuon", "Muon_good"], start, stop)
    for name, values in FLAT.items():
        assert columns[name].content.dtype == values.dtype
        assert columns[name].content.dtype.isnative
        assert np.array_equal(columns[name].content, values[start:stop].reshape(-1), equal_nan=True)
        assert (
            np.array_equal(np.signbit(columns[name].content), np.signbit(values[start:stop].reshape(-1)))
            or values.dtype.kind != "f"
        )
    assert plain(columns["fixed"]) == FLAT["fixed"][start:stop].tolist()
    for name in ("pt", "q", "good"):
        assert plain(columns[f"Muon_{name}"]) == lists["Muon"][name][start:stop].tolist()
    assert plain(columns["Jet_E"]) == lists["Jet_E"][start:stop].tolist()
    assert plain(columns["nMuon"]) == ak.num(lists["Muon"])[start:stop].tolist()


def test_clusters_are_what_was_written_at_once(tree_file):
    with opened(tree_file, "dir/events") as source:
        assert source.clusters() == (0, 170, 340, 510, 680, 850, 1000)


def test_rntuples_have_vectors_records_and_tuples(tmp_path):
    fields = {
        "vector": ak.Array([[1.5], [], [2.5, 3.5]]),
        "vertex": ak.zip({"x": [1, 2, 3], "y": [4.0, 5.0, 6.0]}),
        "pair": ak.zip(([1, 2, 3], [4.0, 5.0, 6.0], [True, False, True])),
        "maybe": ak.Array([[1.0, None], [], [None]]),
        "words": ak.Array(["µ", "e", "µ"]),
        "none": ak.Array(np.ma.masked_array([1, 2, 3], [True, True, True])),
    }
    with uproot.recreate(tmp_path / "n.root") as file:
        file.mkrntuple("events", fields)
    with opened(tmp_path / "n.root") as source:
        found = source.read(["vector", "vertex.y", "pair.2", "pair.0", "maybe", "words", "none"], 0, 3)
        assert source.types()["maybe"] == ColumnType("float64", Structure("maybe", counted=False), optional=True)
    assert {name: plain(column) for name, column in found.items()} == {
        "vector": [[1.5], [], [2.5, 3.5]],
        "vertex.y": [4.0, 5.0, 6.0],
        "pair.2": [True, False, True],
        "pair.0": [1, 2, 3],
        "maybe": [[1.0, None], [], [None]],
        "words": ["µ", "e", "µ"],
        "none": [None, None, None],
    }


def test_fields_below_fields_of_a_collection_share_its_structure(tmp_path):
    with uproot.recreate(tmp_path / "d.root") as file:
        file.mkrntuple(
            "events",
            {
                "Jet": ak.Array([[{"p4": {"pt": 1.5}, "n": 2}], []]),
                "one": ak.Array([{"two": {"x": 1, "l": [1.0]}}, {"two": {"x": 2, "l": []}}]),
            },
        )
    with opened(tmp_path / "d.root") as source:
        types = source.types()
        assert types["Jet.p4.pt"].structure == types["Jet.n"].structure == Structure("Jet", counted=True)
        assert types["one.two.l"].structure == Structure("one.two.l", counted=False)
        found = source.read(["Jet.p4.pt", "Jet.n", "one.two.x", "one.two.l"], 0, 2)
        for record in ("Jet.p4", "one.two", "one"):
            with pytest.raises(DataError, match=f"name one of its fields: {record}"):
                types[record]
    assert [plain(column) for column in found.values()] == [[[1.5], []], [[2], []], [1, 2], [[1.0], []]]


def test_one_field_of_a_tuple_is_that_one(tmp_path):
    with uproot.recreate(tmp_path / "t.root") as file:
        file.mkrntuple("events", {"pair": ak.zip(([1, 2], [4.0, 5.0], [True, False]))})
    with opened(tmp_path / "t.root") as source:
        assert plain(source.read(["pair.2"], 0, 2)["pair.2"]) == [True, False]


def test_fields_with_a_dot_in_their_own_name_are_read(tmp_path):
    fields = {"jet.pt": [1.5, 2.5], "l.v": ak.Array([[1.0], []]), "x": [1, 2], "jet": ak.Array([{"e": 1}, {"e": 2}])}
    with uproot.recreate(tmp_path / "d.root") as file:
        file.mkrntuple("events", fields)
    with opened(tmp_path / "d.root") as source:
        assert source.types()["l.v"].structure == Structure("l.v", counted=False)
        found = source.read(["jet.pt", "l.v", "x", "jet.e"], 0, 2)
    assert [plain(column) for column in found.values()] == [[1.5, 2.5], [[1.0], []], [1, 2], [1, 2]]


def test_fields_that_a_dotted_name_does_not_tell_apart_are_refused(tmp_path):
    record = ak.Array([{"pt": 1.0, "a.b": 2.0}])
    with uproot.recreate(tmp_path / "d.root") as file:
        file.mkrntuple("events", {"jet.pt": [1.5], "jet": record})
    with opened(tmp_path / "d.root") as source:
        for name, why in {"jet.pt": "two things", "jet.a.b": "one of their own names has a dot"}.items():
            with pytest.raises(DataError, match=f"branch '{name}' can't be used in formulas: it holds .*{why}"):
                source.types()[name]


def test_types_that_uproot_does_not_know_are_told(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("Missing special case: 7")

    with opened(MADE / "ntuple.root") as source:
        monkeypatch.setattr("uproot.models.RNTuple.RField.to_akform", fail)
        with pytest.raises(DataError, match=r"branch 'met' can't be used in formulas: it holds float"):
            source.types()["met"]


@pytest.mark.parametrize("kind", ["mktree", "mkrntuple"])
def test_a_tree_without_entries_has_columns_without_values(tmp_path, kind):
    with uproot.recreate(tmp_path / "e.root") as file:
        empty = {"x": np.zeros(0), "y": ak.Array([[1.0]])[:0]}
        getattr(file, kind)("events", {"x": "f8", "y": "var * float64"} if kind == "mktree" else empty)
    with opened(tmp_path / "e.root") as source:
        assert source.entries == 0
        columns = source.read(["x", "y"], 0, 0)
    assert columns["x"].content.tolist() == []
    assert columns["y"].offsets.tolist() == [0]
    assert partitions(0, (0,), 10) == ()


@pytest.mark.parametrize("kind", ["mktree", "mkrntuple"])
def test_numbers_beyond_int64_are_refused_when_they_are_read(tmp_path, kind):
    big = np.array([1, 2**63 - 1, 2**63], "u8")
    with uproot.recreate(tmp_path / "u.root") as file:
        if kind == "mktree":
            file.mktree("events", {"id": "u8"}).extend({"id": big})
        else:
            file.mkrntuple("events", {"id": big})
    with opened(tmp_path / "u.root") as source:
        assert source.read(["id"], 0, 2)["id"].content.tolist() == [1, 2**63 - 1]
        with pytest.raises(DataError, match="'id' has the number 9223372036854775808, which is beyond int64"):
            source.read(["id"], 0, 3)


def test_texts_are_in_order_of_appearance(shared_data: Path):
    with opened(shared_data / "uproot-Zmumu.root") as source:
        column = source.read(["Type"], 0, 10)["Type"]
    with uproot.open({shared_data / "uproot-Zmumu.root": "events"}) as tree:
        expected = tree["Type"].array(entry_stop=10).tolist()
    assert plain(column) == expected
    assert list(column.words) == list(dict.fromkeys(expected))


# ------------------------------------------------------------------------------ what can't be opened or read


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "no.root", r"no such file: .*no\.root"),
        (lambda path: path, "is a directory, not a ROOT file"),
        (lambda path: written(path / "e.root", b""), r"e\.root is empty"),
        (lambda path: written(path / "t.root", b"root"), r"t\.root is damaged or cut off"),
        (
            lambda path: written(path / "t.root", (MADE / "trees.root").read_bytes()[:3000]),
            r"t\.root is cut off: it has 3000 bytes of [0-9]+",
        ),
        (
            lambda path: written(path / "p.root", b"PAR1" * 100),
            r"p\.root is not a ROOT file: it does not begin with 'root'",
        ),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        opened(make(tmp_path))


def test_a_tree_whose_description_is_damaged_is_told(tmp_path):
    content = bytearray((MADE / "trees.root").read_bytes())
    with uproot.open(MADE / "trees.root") as file:
        at = file.key("events").data_cursor.index
    content[at : at + 200] = bytes(200)
    with pytest.raises(DataError, match=r"d\.root is damaged or cut off: "):
        opened(written(tmp_path / "d.root", bytes(content)))


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "p.root", b"root")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop the tests of who is root
    with pytest.raises(DataError, match=r"can't read .*p.root: Permission denied"):
        opened(path)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("Events", r"no tree 'Events' in .*trees.root\n\nhint: did you mean 'events'"),
        ("zzz", "hint: its trees: events, mapped, empty"),
    ],
)
def test_a_missing_tree_is_told_with_those_that_are_there(tree, message):
    with pytest.raises(DataError, match=message):
        opened(MADE / "trees.root", tree)


def test_what_is_no_tree_is_told(tmp_path):
    with uproot.recreate(tmp_path / "h.root") as file:
        file["hist"] = np.histogram([1.0, 2.0])
    with pytest.raises(DataError, match=r"'hist' in .* is a TH1D, not a tree\n\nhint: it has no trees"):
        opened(tmp_path / "h.root", "hist")


def test_unknown_kinds_of_sources_are_told(tmp_path):
    with pytest.raises(DataError, match=r"unknown kind of source: root_three\n\nhint: did you mean 'root_tree'"):
        open_source(tmp_path, Read(kind="root_three", tree="events"))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (0, 121)])
def test_ranges_outside_of_the_tree_are_a_bug(start, stop):
    for file in ("trees.root", "ntuple.root"):
        with opened(MADE / file) as source, pytest.raises(ValueError, match="of 120"):
            source.read([], start, stop)


def places(path, name):
    with uproot.open(path) as file:
        branch = file["dir/events"][name]
        return [
            (int(seek), int(size))
            for seek, size in zip(branch.member("fBasketSeek"), branch.member("fBasketBytes"), strict=False)
        ][: branch.num_baskets]


@pytest.mark.parametrize("name", ["f8", "Muon_pt"])
@pytest.mark.parametrize("offset", [0, 6])  # of the basket's size in its key, and of its uncompressed size
def test_damaged_baskets_are_named(tree_file, tmp_path, name, offset):
    seek, _ = places(tree_file, name)[2]
    content = bytearray(tree_file.read_bytes())
    content[seek + offset : seek + offset + 4] = b"\xff\xff\x00\xff"
    path = written(tmp_path / "damaged.root", bytes(content))
    told = pytest.raises(DataError, match=f"branch '{name}' of .* is damaged or cut off: ")
    with opened(path, "dir/events") as source, told:
        source.read([name], 340, 510)


@pytest.mark.parametrize("compression", [uproot.ZLIB(1), uproot.LZMA(1), uproot.LZ4(1)], ids=["zlib", "lzma", "lz4"])
def test_values_that_are_not_what_was_compressed_are_told(tmp_path, compression):
    """ZSTD as ROOT writes it has no checksum: of such files only the digest of the whole file tells."""
    path = tmp_path / "damaged.root"
    with uproot.recreate(path, compression=compression) as file:
        file.mktree("dir/events", {"x": "f8"}).extend({"x": np.arange(1000.0) // 3})
    seek, size = places(path, "x")[0]
    content = bytearray(path.read_bytes())
    content[seek + size - 30] ^= 1
    written(path, bytes(content))
    with (
        opened(path, "dir/events") as source,
        pytest.raises(DataError, match=r"branch 'x' of .* is damaged or cut off: "),
    ):
        source.read(["x"], 0, 1000)


def changed_block(path, change):
    """Return a file whose first basket of ``x`` has another header of its compressed block."""
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        file.mktree("dir/events", {"x": "f8"}).extend({"x": np.arange(1000.0) // 3})
    seek, _ = places(path, "x")[0]
    content = bytearray(path.read_bytes())
    at = seek + int.from_bytes(content[seek + 14 : seek + 16], "big")
    content[at : at + 9] = change(bytes(content[at : at + 9]))
    return written(path, bytes(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda header: b"QQ" + header[2:],
        lambda header: header[:3] + b"\xff\xff\xff" + header[6:],
        lambda header: header[:6] + b"\xff\xff\xff",
        lambda header: header[:6] + b"\0\0\0",
        lambda header: header[:6] + b"\x10\0\0",
    ],
    ids=["algorithm", "packed size", "large size", "no size", "small size"],
)
def test_wrong_blocks_are_told(tmp_path, change):
    path = changed_block(tmp_path / "b.root", change)
    with (
        opened(path, "dir/events") as source,
        pytest.raises(DataError, match=r"branch 'x' of .* is damaged or cut off: "),
    ):
        source.read(["x"], 0, 1000)


def test_a_file_that_was_cut_after_it_was_opened_is_told(tree_file, tmp_path):
    path = written(tmp_path / "cut.root", tree_file.read_bytes())
    seek, size = places(tree_file, "f8")[1]
    with opened(path, "dir/events") as source:
        os.truncate(path, seek + size // 2)
        with pytest.raises(DataError, match=r"branch 'f8' of .* is damaged or cut off: "):
            source.read(["f8"], 170, 200)


# -------------------------------------------------------------------------------------------- partitions


@given(st.integers(0, 5000), st.lists(st.integers(-5, 5100)), st.integers(1, 2000))
def test_partitions_cover_all_entries_once_in_order(entries, clusters, chunk):
    found = partitions(entries, clusters, chunk)
    assert [start for start, _ in found] == [0, *(stop for _, stop in found)][: len(found)]
    assert (found[-1][1] if found else 0) == entries
    assert all(0 < stop - start <= chunk for start, stop in found)


@given(st.integers(1, 5000), st.sets(st.integers(1, 4999)), st.integers(1, 2000))
def test_partitions_end_with_clusters_unless_one_is_too_large(entries, clusters, chunk):
    bounds = sorted({0, entries, *(bound for bound in clusters if bound < entries)})
    sizes = dict(zip(bounds, np.diff(bounds).tolist(), strict=False))
    for start, stop in partitions(entries, bounds, chunk):
        if stop not in bounds:
            cluster = max(bound for bound in bounds if bound <= start)
            assert sizes[cluster] > chunk
            assert cluster <= start < stop < cluster + sizes[cluster]


def test_clusters_are_grouped_up_to_the_chunk():
    assert partitions(10, (0, 2, 4, 6, 8, 10), 5) == ((0, 4), (4, 8), (8, 10))


def test_a_large_cluster_is_cut_into_equal_parts_and_not_mixed_with_others():
    assert partitions(30, (0, 3, 24, 27, 30), 8) == ((0, 3), (3, 10), (10, 17), (17, 24), (24, 30))


def test_a_chunk_without_entries_is_a_bug():
    with pytest.raises(ValueError, match="holds nothing"):
        partitions(10, (0, 10), 0)
