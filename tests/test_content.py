"""Content digests: equal for equal content in other clothes, different for anything that means something."""

import json
import math

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.data.content import of_array, of_columns, of_output, of_value
from fasthep_archive.data.products import Cutflow, CutflowRow, Histogram, RegularAxis
from fasthep_archive.data.source import Read, open_source
from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column


def events(count=5000):
    generator = np.random.default_rng(0)
    counts = generator.poisson(2, count)
    pt = generator.exponential(30, counts.sum()).astype("f4")
    pt[5], pt[7] = np.nan, -0.0
    pt.view("u4")[9] = 0xFFC00123  # a NaN with a sign and a payload
    return ak.Array(
        {
            "MET": generator.normal(0, 40, count),
            "Muon_pt": ak.unflatten(pt, counts),
            "run": np.arange(count, dtype="i8") - 7,
            "trigger": generator.random(count) < 0.3,
            "small": np.arange(count).astype("u1"),
            "cov": ak.from_numpy(generator.random((count, 3)), regulararray=True),
        }
    )


@pytest.fixture(scope="module")
def array():
    return events()


@pytest.fixture(scope="module")
def digest(array):
    return of_array(array)


def test_parquet_copies_agree(array, digest, tmp_path):
    ak.to_parquet(array, tmp_path / "a.parquet")
    assert of_array(ak.from_parquet(tmp_path / "a.parquet")) == digest


def test_nullable_and_small_row_groups_agree(array, digest, tmp_path):
    ak.to_parquet(array, tmp_path / "a.parquet", extensionarray=False, row_group_size=700, list_to32=True)
    assert of_array(ak.from_parquet(tmp_path / "a.parquet")) == digest


def test_arrow_copies_agree(array, digest, tmp_path):
    ak.to_feather(array, tmp_path / "a.feather")
    assert of_array(ak.from_feather(tmp_path / "a.feather")) == digest


@pytest.mark.parametrize("compression", [uproot.ZLIB(1), uproot.ZSTD(3), None])
def test_ttree_copies_agree(array, digest, tmp_path, compression):
    with uproot.recreate(tmp_path / "a.root", compression=compression) as file:
        tree = file.mktree("t", {field: array[field].type.content for field in array.fields})
        for start in range(0, len(array), 1700):
            part = array[start : start + 1700]
            tree.extend({field: part[field] for field in array.fields})
    with uproot.open({tmp_path / "a.root": "t"}) as tree:
        assert of_array(tree.arrays(array.fields)) == digest


def test_rntuple_copies_agree(array, digest, tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("t", array)
    with uproot.open({tmp_path / "a.root": "t"}) as ntuple:
        assert of_array(ntuple.arrays()) == digest


def test_layout_in_memory_does_not_matter(array, digest):
    assert of_array(ak.concatenate([array[:1234], array[1234:]])) == digest
    assert of_array(array[np.arange(len(array))]) == digest
    assert of_array(array[array.fields[::-1]]) == digest
    swapped = ak.with_field(array, ak.from_numpy(np.asarray(array.run).astype(">i8").astype("i8")), "run")
    assert of_array(swapped) == digest


def test_options_that_miss_nothing_are_no_options():
    assert of_array(ak.mask(ak.Array([1, 2]), [True, True])) == of_array(ak.Array([1, 2]))


def test_nans_are_one_and_zeros_are_two():
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], "u8").view("f8")
    assert of_array(ak.Array(odd)) == of_array(ak.Array([np.nan] * 3))
    assert of_array(ak.Array([0.0])) != of_array(ak.Array([-0.0]))


OPTIONAL = ak.Array([1.0, None, 3.0, None, 5.0] * 1000)
DIFFERENT = [
    ak.Array([1, 2, 3]),
    ak.Array([1, 2, 4]),
    ak.Array([1, 2]),
    ak.Array([1.0, 2.0, 3.0]),
    ak.values_astype(ak.Array([1, 2, 3]), np.int32),
    ak.Array([[1, 2], [3]]),
    ak.Array([[1], [2, 3]]),
    ak.Array([[1, 2], [3], []]),
    ak.Array([[[1, 2]], [[3]]]),
    ak.Array([1, None, 3]),
    ak.Array([None, 1, 3]),
    ak.Array([True, False]),
    ak.Array(np.array([1, 0], "u1")),
    ak.Array(["ab", "c"]),
    ak.Array(["a", "bc"]),
    ak.Array([[97, 98], [99]]),
    ak.values_astype(ak.Array([[97, 98], [99]]), np.uint8),
    ak.Array([{"x": 1}, {"x": 2}]),
    ak.Array([{"y": 1}, {"y": 2}]),
    ak.Array([{"x": 1, "y": 1}, {"x": 2, "y": 2}]),
    ak.Array([{}, {}]),
    ak.Array([{}]),
    ak.Array([]),
    ak.Array([[], []]),
    ak.Array([(1, 2), (3, 4)]),
    ak.Array(np.array([1 + 2j, 3])),
    ak.Array(np.array([1, 2], "M8[s]")),
    ak.Array(np.array([1, 2], "M8[ms]")),
]


def test_whatever_differs_has_another_digest():
    digests = [of_array(array) for array in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)


def test_blocks_do_not_matter_for_long_arrays():
    values = np.random.default_rng(1).normal(size=300_001)
    values[[0, 131_071, 131_072, 300_000]] = np.nan
    assert of_array(ak.Array(values)) == of_array(ak.concatenate([values[:5], values[5:]]))


def test_columns_have_the_digest_of_the_array(array, tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("t", {**{field: array[field] for field in array.fields}, "s": ["a", "µ"] * 2500, "o": OPTIONAL})
    with (
        open_source(tmp_path / "a.root", Read(kind="root_tree", tree="t")) as source,
        uproot.open({tmp_path / "a.root": "t"}) as ntuple,
    ):
        assert of_columns(source.read(source.types(), 0, 5000)) == of_array(ntuple.arrays())
    assert of_columns({"x": Column(np.zeros(0))}) == of_array(ak.Array({"x": np.zeros(0)}))


def test_columns_of_other_lengths_are_a_bug():
    with pytest.raises(ValueError, match="columns of different lengths"):
        of_columns({"x": Column(np.zeros(2)), "y": Column(np.zeros(3))})


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (ak.Array([1, "a"]), "UnionArray has"),
        (ak.Array(np.zeros(2, np.longdouble)), f"values of type {np.dtype(np.longdouble)} have"),
    ],
)
def test_what_has_no_one_form_has_no_digest(array, what):
    with pytest.raises(DataError, match=f"{what} no content digest"):
        of_array(array)


def test_categories_and_complex_numbers_are_values():
    words = ak.Array(["a", "b", "a"])
    assert of_array(ak.str.to_categorical(words)) == of_array(words)
    assert of_array(ak.Array(np.array([complex(1, math.nan)]))) == of_array(ak.Array(np.array([complex(1, -math.nan)])))


def test_optional_lists_in_columns_have_the_digest_of_the_array():
    valid = np.array([True, False, True])
    column = Column(np.array([1.0, 9.0, 3.0]), np.array([0, 2, 3]), valid)
    assert of_columns({"x": column}) == of_array(ak.Array({"x": [[1.0, None], [3.0]]}))


def test_a_histogram_that_is_no_object_is_a_value():
    assert of_output(b"[1]", "histograms/h.json") == of_value([1])


def test_the_form_of_digests_does_not_change():
    """Digests are archived: if one of these changes, so must the name and version that is hashed first."""
    assert of_array(ak.Array([{"x": [1.5, math.nan], "s": "µ"}, {"x": [], "s": None}])) == (
        "94c64ed1ec59c1930e6aae5d35fac0a5991e197de5e931b78d9b0a137ea26024"
    )
    assert (
        of_value({"a": [1, 1.0, True, None, "1"]}) == "edaa0c049ef9ef7fb5799b525b45c81ed0d03832782e5a476c28c68979ec1021"
    )


HISTOGRAM = Histogram(
    name="h",
    axes=(RegularAxis(name="x", label="x", bins=1, lower=0.0, upper=1.0, edges=np.array([0.0, 1.0])),),
    storage="weighted",
    values=np.array([0.0, 0.5, math.nan]),
    variances=np.array([0.0, 0.25, math.inf]),
)
ROW = CutflowRow(
    dataset="d", group="g", cut="g[0]", label="", events_in=2, events_out=1,
    sumw_in=2.0, sumw_out=1.0, sumw2_in=2.0, sumw2_out=1.0,
)  # fmt: skip


def changed(content, change):
    document = json.loads(content)
    change(document)
    return json.dumps(document).encode()


def test_layout_and_writer_of_a_histogram_are_no_content():
    content = HISTOGRAM.to_json()
    other = changed(content, lambda document: document.update(writer_info={"hist": {"version": "9"}}))
    assert of_output(other, "histograms/h.json") == of_output(content, "histograms/h.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["storage"]["values"].__setitem__(1, 0.25),
        lambda document: document["storage"]["values"].__setitem__(0, -0.0),
        lambda document: document["axes"][0]["metadata"].__setitem__("name", "y"),
        lambda document: document["axes"][0].__setitem__("upper", 2.0),
        lambda document: document["axes"][0]["writer_info"]["fasthep-archive"].__setitem__("edges", "0.0 2.0"),
        lambda document: document["storage"].__setitem__("type", "double"),
    ],
)
def test_bins_and_axes_of_a_histogram_are_content(change):
    content = HISTOGRAM.to_json()
    assert of_output(changed(content, change), "histograms/h.json") != of_output(content, "histograms/h.json")


def test_the_order_of_cuts_is_content():
    one, other = (Cutflow(name="c", rows=rows) for rows in ((ROW, ROW), (ROW,)))
    assert of_output(one.to_json(), "cutflows/c.json") != of_output(other.to_json(), "cutflows/c.json")


@pytest.mark.parametrize(
    ("left", "right", "agree"),
    [
        (b'{"a":1,"b":2}', b'{ "b": 2, "a": 1 }\n', True),
        (b"[100.0]", b"[1e2]", True),
        (b'"\\u00b5"', '"µ"'.encode(), True),
        (b"[1]", b"[1.0]", False),
        (b"[1]", b'["1"]', False),
        (b"[1]", b"[true]", False),
        (b"[null]", b"[]", False),
        (b'["a","b"]', b'["ab"]', False),
        (b"[[1],2]", b"[1,[2]]", False),
        (b"[0.0]", b"[-0.0]", False),
        (b"[1,2]", b"[2,1]", False),
    ],
)
def test_json_is_compared_by_value(left, right, agree):
    assert (of_output(left, "values/v.json") == of_output(right, "values/v.json")) == agree


@pytest.mark.parametrize(
    ("left", "right", "agree"),
    [
        (b"a,b\n1,2\n", b'"a","b"\r\n1,2', True),
        (b"a\n1.50\n", b"a\n1.5\n", True),
        (b"a\n1e3\n", b"a\n1000.0\n", True),
        (b"a\n1\n", b"a\n1.0\n", False),
        (b"a\nnan\n", b"a\nNaN\n", False),
        (b"a\n1_0\n", b"a\n10\n", False),
        (b"a,b\n", b"b,a\n", False),
        (b'"a,b"\n', b"a,b\n", False),
    ],
)
def test_csv_is_compared_by_cell(left, right, agree):
    assert (of_output(left, "tables/t.csv") == of_output(right, "tables/t.csv")) == agree


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x89PNG", "plots/a.png"),
        (b'{"a":1,"a":2}', "values/v.json"),
        (b"[NaN]", "values/v.json"),
        (b"[" * 100_000, "histograms/h.json"),
        (b"\xff", "tables/t.csv"),
        (b'a\n"', "tables/t.csv"),
        (b"", "values/v.json"),
    ],
)
def test_everything_else_is_its_bytes(content, name):
    assert of_output(content, name) == of_bytes(content)


def test_long_numbers_in_tables_are_text():
    assert of_output(b"9" * 5000, "t.csv") != of_output(b"9" * 5001, "t.csv")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_values_agree_exactly_when_their_canonical_texts_do(left, right):
    def text(value):
        return json.dumps(value, sort_keys=True)

    assert (of_value(left) == of_value(right)) == (text(left) == text(right))
