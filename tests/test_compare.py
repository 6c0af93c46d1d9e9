"""Comparison by type: each sentence, and the numbers behind it, against oracles that share no code with it."""

import csv
import io
import json
import math
import random
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive import digest
from fasthep_archive.data.products import Cutflow, CutflowRow, Histogram, RegularAxis, StrCategoryAxis
from fasthep_archive.errors import DataError
from fasthep_archive.verification.compare import compare
from fasthep_archive.verification.contrast import BUNDLES, Contrast
from fasthep_archive.verification.cutflows import compare_cutflows
from fasthep_archive.verification.histograms import compare_histograms
from fasthep_archive.verification.numbers import UNRELATED, Numbers, Tolerance, near, same_content, ulp_distance
from fasthep_archive.verification.outputs import Output
from fasthep_archive.verification.pictures import compare_png
from fasthep_archive.verification.sheets import compare_csv
from fasthep_archive.verification.statistics import chi_square, kolmogorov_distance, survival
from fasthep_archive.verification.texts import compare_bytes, compare_text
from fasthep_archive.verification.trees import compare_json

doubles = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(allow_nan=False, allow_infinity=False)


# --- units in the last place ---------------------------------------------------------------------------------------


@given(finite, st.integers(0, 40), st.sampled_from([math.inf, -math.inf]))
def test_ulp_distance_counts_the_steps_of_nextafter(start, steps, towards):
    value = start
    for _ in range(steps):
        value = math.nextafter(value, towards)
    if math.isfinite(value):
        assert ulp_distance(start, value) == steps


def place(value):
    """The place of a double on the number line by Python integers: what the bits say, sign and magnitude."""
    bits = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits if bits >= 0 else -(bits + 2**63)


@given(finite, finite)
def test_ulp_distance_is_the_exact_distance_of_places(a, b):
    assert ulp_distance(a, b) == abs(place(a) - place(b))


@given(doubles, doubles)
def test_ulp_distance_is_symmetric(a, b):
    assert ulp_distance(a, b) == ulp_distance(b, a)


@given(doubles)
def test_ulp_distance_to_itself_is_zero_also_for_nan(a):
    assert ulp_distance(a, a) == 0


def test_the_largest_finite_distance_fits():
    largest = math.nextafter(math.inf, 0)
    assert ulp_distance(-largest, largest) == 2 * 0x7FEFFFFFFFFFFFFF < UNRELATED


@pytest.mark.parametrize(("a", "b"), [(math.nan, 1.0), (math.inf, 1.0), (math.inf, -math.inf), (math.inf, math.nan)])
def test_what_is_no_finite_number_is_unrelated_to_everything_else(a, b):
    assert ulp_distance(a, b) == UNRELATED


def test_infinity_is_not_next_to_the_largest_double():
    assert ulp_distance(math.nextafter(math.inf, 0), math.inf) == UNRELATED


def test_zeros_have_distance_0_and_different_content():
    assert ulp_distance(0.0, -0.0) == 0
    assert not same_content(np.array([0.0]), np.array([-0.0]))[0]


def test_nans_of_any_payload_have_the_same_content():
    other = np.array([0xFFF8000000000123], np.uint64).view(np.float64)
    assert same_content(np.array([math.nan]), other)[0]


# --- tolerance -----------------------------------------------------------------------------------------------------


@given(finite, finite, st.floats(0, 1), st.floats(0, 1e3), st.integers(0, 100))
def test_near_is_what_its_formula_says(recorded, replayed, rtol, atol, ulp):
    expected = abs(recorded - replayed) <= atol + rtol * abs(recorded) or abs(place(recorded) - place(replayed)) <= ulp
    found = near(np.array([recorded]), np.array([replayed]), Tolerance(rtol=rtol, atol=atol, ulp=ulp))[0]
    assert bool(found) == expected


def test_rtol_is_relative_to_what_was_recorded():
    tolerance = Tolerance(rtol=0.1)
    assert near(np.array([100.0]), np.array([90.0]), tolerance)[0]
    assert not near(np.array([90.0]), np.array([100.0]), tolerance)[0]


def test_an_infinity_is_near_itself_alone():
    tolerance = Tolerance(rtol=1.0, atol=1e300, ulp=2**60)
    assert near(np.array([math.inf]), np.array([math.inf]), tolerance)[0]
    assert not near(np.array([math.inf]), np.array([1e308]), tolerance)[0]
    assert not near(np.array([1.0]), np.array([math.nan]), tolerance)[0]


def test_largest_distances_are_those_of_the_pairs():
    numbers = Numbers.of([1.0, -2.0, 0.0], [1.5, -2.0000000000000004, 1e-3], compared=9)
    found = numbers.extent.to_json()
    assert found["largest_absolute"] == 0.5
    assert found["largest_relative"] == "inf"
    assert found["different"] == 3
    assert found["compared"] == 9


# --- statistics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ndf", "critical", "probability"),
    [  # NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.4 (upper tail)
        (1, 3.841, 0.05),
        (1, 6.635, 0.01),
        (1, 10.828, 0.001),
        (2, 5.991, 0.05),
        (5, 11.070, 0.05),
        (5, 20.515, 0.001),
        (10, 18.307, 0.05),
        (10, 4.865, 0.90),
        (31, 44.985, 0.05),
        (50, 76.154, 0.01),
        (99, 123.225, 0.05),
        (100, 124.342, 0.05),
        (100, 149.449, 0.001),
    ],
)
def test_survival_agrees_with_the_published_table(ndf, critical, probability):
    assert survival(critical, ndf) == pytest.approx(probability, rel=2e-3)


@given(st.floats(1e-3, 1400.0))
def test_survival_of_two_degrees_of_freedom_is_an_exponential(chi2):
    assert survival(chi2, 2) == pytest.approx(math.exp(-chi2 / 2), rel=1e-11)


@given(st.floats(1e-3, 200.0))
def test_survival_of_one_degree_of_freedom_is_the_two_sided_normal_tail(chi2):
    assert survival(chi2, 1) == pytest.approx(math.erfc(math.sqrt(chi2 / 2)), rel=1e-12)


@pytest.mark.parametrize("ndf", [3, 4, 7, 12])
def test_survival_is_the_integral_of_the_density(ndf):
    def density(x):
        return x ** (ndf / 2 - 1) * math.exp(-x / 2) / (2 ** (ndf / 2) * math.gamma(ndf / 2))

    low, high, steps = 5.0, 200.0, 20_000
    width = (high - low) / steps
    simpson = (
        width
        / 3
        * math.fsum(density(low + i * width) * (1 if i in {0, steps} else 4 if i % 2 else 2) for i in range(steps + 1))
    )
    assert survival(low, ndf) == pytest.approx(simpson, rel=1e-9)


def test_survival_at_the_ends():
    assert survival(0.0, 3) == 1.0
    assert survival(math.inf, 3) == 0.0
    assert survival(5.0, 0) == 1.0
    assert survival(1e5, 100_000) == pytest.approx(0.5, abs=1e-2)


def test_chi_square_by_hand():
    found = chi_square(
        np.array([10.0, 20.0, 0.0]),
        np.array([12.0, 20.0, 0.0]),
        np.array([10.0, 20.0, 0.0]),
        np.array([12.0, 20.0, 0.0]),
    )
    assert found.value == pytest.approx(4 / 22)
    assert found.ndf == 2


def test_kolmogorov_distance_by_hand():
    assert kolmogorov_distance(np.array([1.0, 1, 1, 1]), np.array([2.0, 1, 1, 0])) == pytest.approx(0.25)
    assert kolmogorov_distance(np.array([1.0, 0]), np.array([0.0, 1])) == 1.0
    assert math.isnan(kolmogorov_distance(np.array([0.0, 0.0]), np.array([1.0, 1.0])))


def test_kolmogorov_distance_does_not_depend_on_normalisation():
    shape = np.array([1.0, 4.0, 2.0])
    assert kolmogorov_distance(shape, 8 * shape) == 0.0


# --- histograms ----------------------------------------------------------------------------------------------------

AXES = [
    {"type": "category_str", "categories": ["ww", "data"], "flow": False, "metadata": {"name": "dataset"}},
    {
        "type": "regular",
        "lower": 60.0,
        "upper": 120.0,
        "bins": 3,
        "underflow": True,
        "overflow": True,
        "circular": False,
        "metadata": {"name": "mass", "label": "m [GeV]"},
    },
]
VALUES = [[0.0, 10.0, 20.0, 30.0, 1.0], [1.0, 11.0, 21.0, 31.0, 0.0]]


def uhi(values=VALUES, *, axes=AXES, storage="weighted", **more):
    arrays = {"values": values, **({"variances": values} if storage == "weighted" else {})}
    return json.dumps({"uhi_schema": 1, "axes": axes, "storage": {"type": storage, **arrays}, **more}).encode()


def changed(values, *places):
    copy = json.loads(json.dumps(values))
    for row, column, value in places:
        copy[row][column] = value
    return copy


def test_equal_histograms_have_no_contrast():
    assert compare_histograms(uhi(), uhi()).same


def test_the_library_that_wrote_a_histogram_is_not_content():
    assert compare_histograms(uhi(), uhi(writer_info={"hist": {"version": "9"}})).same


def test_the_bin_that_differs_is_named_by_axis_and_edges():
    found = compare_histograms(uhi(), uhi(changed(VALUES, (0, 2, 21.0))))
    assert str(found.findings[0]) == "dataset 'ww', mass [80, 100): 20.0 recorded, 21.0 replayed"
    assert str(found).startswith("1 of 10 bins differs (at most 0.05 relative, 2")


@pytest.mark.parametrize(
    ("column", "name"), [(0, "mass underflow (below 60)"), (4, "mass overflow (from 120)"), (1, "mass [60, 80)")]
)
def test_flow_bins_have_names(column, name):
    found = compare_histograms(uhi(), uhi(changed(VALUES, (1, column, 99.0))))
    assert found.findings[0].where == f"dataset 'data', {name}"


def test_values_and_variances_of_one_bin_are_one_bin():
    found = compare_histograms(uhi(), uhi(changed(VALUES, (0, 1, 11.0), (1, 1, 12.0))))
    assert found.numbers.places == 2
    assert len(found.numbers) == 4


def test_a_bin_whose_variance_alone_differs_says_so():
    content = json.loads(uhi())
    content["storage"]["variances"] = changed(VALUES, (0, 1, 11.0))
    found = compare_histograms(uhi(), json.dumps(content).encode())
    assert str(found.findings[0]) == "dataset 'ww', mass [60, 80), variances: 10.0 recorded, 11.0 replayed"


def test_chi_square_and_kolmogorov_of_the_difference():
    other = changed(VALUES, (0, 1, 12.0))
    found = compare_histograms(uhi(), uhi(other)).statistics
    assert found["chi2"] == pytest.approx(4 / 22)
    assert found["ndf"] == 8
    projections = [np.sum(np.array(values), axis=0) for values in (VALUES, other)]
    steps = [np.cumsum(values) / values.sum() for values in projections]
    assert found["ks_distance"] == pytest.approx(np.abs(steps[0] - steps[1]).max())


def test_axes_that_differ_are_said_first_and_no_bins():
    axes = [AXES[0], {**AXES[1], "upper": 130.0}]
    found = compare_histograms(uhi(), uhi(changed(VALUES, (0, 0, 5.0)), axes=axes))
    assert str(found) == "axis mass, upper: 120.0 recorded, 130.0 replayed"
    assert not found.numbers


def test_our_own_histograms_are_read_edges_included():
    def written(edges, values):
        axis = RegularAxis(name="mass", label="", bins=2, lower=0.0, upper=1.0, edges=np.array(edges))
        return Histogram(name="h", axes=(axis,), storage="count", values=np.array(values)).to_json()

    edges, other = [0.0, 0.5, 1.0], [0.0, 0.5000000000000001, 1.0]
    found = compare_histograms(written(edges, [0, 1, 2, 3]), written(edges, [0, 1, 3, 3]))
    assert str(found.findings[0]) == "mass [0.5, 1): 2 recorded, 3 replayed"
    moved = compare_histograms(written(edges, [0, 1, 2, 3]), written(other, [0, 1, 2, 3]))
    assert str(moved) == "axis mass, edges[1]: 0.5 recorded, 0.5000000000000001 replayed"


def test_a_growing_axis_without_categories_has_no_bins():
    axes = (
        StrCategoryAxis(name="dataset", label="", categories=(), growing=True),
        RegularAxis(name="mass", label="", bins=1, lower=0.0, upper=1.0, edges=np.array([0.0, 1.0])),
    )
    empty = Histogram(name="h", axes=axes, storage="count", values=np.zeros((0, 3), np.int64)).to_json()
    assert compare_histograms(empty, empty).same


def test_other_categories_are_named():
    axes = [{**AXES[0], "categories": ["ww", "Data"]}, AXES[1]]
    found = compare_histograms(uhi(), uhi(axes=axes))
    assert str(found) == "axis dataset, categories: ['ww', 'data'] recorded, ['ww', 'Data'] replayed"


def test_a_label_that_differs_does_not_hide_the_bins():
    axes = [AXES[0], {**AXES[1], "metadata": {"name": "mass", "label": "M"}}]
    found = compare_histograms(uhi(), uhi(changed(VALUES, (0, 1, 11.0)), axes=axes))
    assert str(found).startswith("axis mass, metadata: ")
    assert found.numbers.places == 1


def test_another_storage_is_a_difference_of_structure():
    found = compare_histograms(uhi(), uhi(storage="double"))
    assert str(found) == "the storage: 'weighted' recorded, 'double' replayed"


def test_another_number_of_axes_is_a_difference_of_structure():
    found = compare_histograms(uhi(), uhi(VALUES[0], axes=AXES[1:]))
    assert str(found) == "the number of axes: 2 recorded, 1 replayed"


def test_counts_are_shown_as_integers():
    found = compare_histograms(
        uhi([1, 2, 3, 4, 5], axes=AXES[1:], storage="int"), uhi([1, 2, 4, 4, 5], axes=AXES[1:], storage="int")
    )
    assert str(found.findings[0]) == "mass [80, 100): 3 recorded, 4 replayed"


def test_a_variable_axis_and_a_boolean_one_have_bins_with_names():
    axes = [
        {"type": "variable", "edges": [0, 1, 10], "underflow": False, "overflow": True, "circular": False},
        {"type": "boolean", "metadata": {"name": "tight"}},
    ]
    before, now = ([[0, 0], [0, value], [0, 0]] for value in (1.0, 2.0))
    found = compare_histograms(uhi(before, axes=axes), uhi(now, axes=axes))
    assert found.findings[0].where == "0 [1, 10), tight true"


def test_nan_in_a_bin_is_the_text_nan():
    values = changed(VALUES, (0, 1, "nan"))
    assert compare_histograms(uhi(values), uhi(values)).same
    assert "NaN or infinite on one side" in str(compare_histograms(uhi(), uhi(values)))


def test_a_histogram_without_axes_has_one_bin():
    found = compare_histograms(uhi(1.0, axes=[], storage="double"), uhi(2.0, axes=[], storage="double"))
    assert found.findings[0].where == "the only bin"


def test_sparse_histograms_are_compared_as_json():
    content = json.loads(uhi(storage="double"))
    content["storage"] = {"type": "double", "index": [[0], [1]], "values": [5.0]}
    other = json.loads(json.dumps(content))
    other["storage"]["values"] = [6.0]
    found = compare_histograms(json.dumps(content).encode(), json.dumps(other).encode())
    assert str(found.findings[0]) == "$.storage.values[0]: 5.0 recorded, 6.0 replayed"


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"[]",
        uhi([[1.0]]),
        uhi(axes=[{**AXES[1], "bins": 10**12}]),
        uhi(axes=[{**AXES[1], "bins": -3}]),
        uhi(axes=[{"type": "spiral"}]),
    ],
)
def test_what_is_no_histogram_is_refused(content):
    with pytest.raises(DataError):
        compare_histograms(content, uhi())


def test_a_histogram_written_by_hist_is_read():
    hist = pytest.importorskip("hist")
    from uhi.io.json import default

    def written(mass):
        filled = hist.Hist(
            hist.axis.StrCategory(["ww"], name="dataset"), hist.axis.Regular(4, 0, 4, name="mass"), storage="weight"
        )
        filled.fill(dataset="ww", mass=mass, weight=2.0)
        return json.dumps(filled, default=default).encode()

    found = compare_histograms(written([0.5, 1.5]), written([0.5, 9.5]))
    assert [finding.where for finding in found.findings] == [
        "dataset 'ww', mass [1, 2)",
        "dataset 'ww', mass overflow (from 4)",
    ]


@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=5), st.lists(st.floats(0, 1e6), min_size=5, max_size=5))
def test_histograms_are_the_same_exactly_if_all_bins_are(a, b):
    found = compare_histograms(uhi(a, axes=AXES[1:], storage="double"), uhi(b, axes=AXES[1:], storage="double"))
    bits = [struct.pack("<5d", *values) for values in (a, b)]
    assert found.same == (bits[0] == bits[1])


# --- cutflows ------------------------------------------------------------------------------------------------------

ROW = CutflowRow(
    dataset="ww",
    group="base",
    cut="base[0]",
    label="NMuon > 1",
    events_in=100,
    events_out=50,
    sumw_in=100.0,
    sumw_out=50.5,
    sumw2_in=101.0,
    sumw2_out=51.0,
)
SECOND = replace(
    ROW, cut="base[1]", label="Muon_Pt > 25", events_in=50, sumw_in=50.5, sumw2_in=51.0, events_out=20, sumw_out=20.25
)


def cutflow(*rows):
    return Cutflow(name="Select", rows=rows).to_json()


def test_equal_cutflows_have_no_contrast():
    assert compare_cutflows(cutflow(ROW, SECOND), cutflow(ROW, SECOND)).same


def test_the_first_cut_that_counts_otherwise_is_named_with_events_and_weights():
    found = compare_cutflows(cutflow(ROW, SECOND), cutflow(ROW, replace(SECOND, events_out=21, sumw_out=21.25)))
    assert str(found.findings[0]) == (
        "dataset 'ww', cut base[1] ('Muon_Pt > 25'): events 20, sum of weights 20.25 recorded, "
        "events 21, sum of weights 21.25 replayed"
    )
    assert str(found).startswith("1 of 2 rows differs (at most 0.05 relative, ")


def test_a_cut_that_only_receives_other_events_says_so():
    found = compare_cutflows(cutflow(SECOND), cutflow(replace(SECOND, events_in=51)))
    assert "events before it 50 recorded, events before it 51 replayed" in str(found.findings[0])


def test_another_cut_is_a_difference_of_structure():
    found = compare_cutflows(cutflow(ROW), cutflow(replace(ROW, label="NMuon > 2")))
    assert str(found) == (
        "the cuts differ: dataset 'ww', cut base[0] ('NMuon > 1') recorded, "
        "dataset 'ww', cut base[0] ('NMuon > 2') replayed"
    )
    assert found.structure


def test_a_cut_that_is_gone_has_no_counterpart():
    found = compare_cutflows(cutflow(ROW, SECOND), cutflow(ROW))
    assert str(found) == "the cuts differ: dataset 'ww', cut base[1] ('Muon_Pt > 25') recorded, no such cut replayed"


def test_cuts_in_another_order_are_a_difference_of_structure():
    assert str(compare_cutflows(cutflow(ROW, SECOND), cutflow(SECOND, ROW))) == "the same cuts in another order"


# --- JSON ----------------------------------------------------------------------------------------------------------


def contrast(recorded, replayed) -> Contrast:
    return compare_json(json.dumps(recorded).encode(), json.dumps(replayed).encode())


def test_numbers_are_named_by_path():
    found = contrast({"a": [{"b c": 1.0}]}, {"a": [{"b c": 2.0}]})
    assert str(found.findings[0]) == '$.a[0]["b c"]: 1.0 recorded, 2.0 replayed'


def test_the_order_of_keys_is_not_content():
    assert contrast({"a": 1, "b": 2}, {"b": 2, "a": 1}).same


def test_the_order_of_a_list_is_content():
    assert not contrast([1, 2], [2, 1]).same


def test_what_is_missing_or_new_is_nothing_on_the_other_side():
    assert [str(item) for item in contrast({"a": 1}, {"b": 1}).structure] == [
        "$.a: 1 recorded, nothing replayed",
        "$.b: nothing recorded, 1 replayed",
    ]
    assert str(contrast([1], [1, 2])) == "$[1]: nothing recorded, 2 replayed"


def test_what_is_compared_has_other_names_in_two_bundles():
    assert contrast(["x"], ["y"]).said(BUNDLES) == "$[0]: 'x' in A, 'y' in B"
    assert contrast([1.0], [2.0]).said(BUNDLES).endswith("first $[0]: 1.0 in A, 2.0 in B")


@pytest.mark.parametrize(("one", "other"), [(True, 1), ("1", 1), (None, 0), ([], {}), (None, False)])
def test_another_type_is_a_difference_of_structure(one, other):
    assert contrast([one], [other]).structure


def test_an_integer_and_a_float_of_one_value_differ_in_content_and_are_near():
    found = contrast([1], [1.0])
    assert not found.same
    assert found.numbers.within(Tolerance())


def test_integers_beyond_doubles_are_compared_exactly():
    found = contrast([2**60], [2**60 + 1])
    assert not found.same
    assert found.findings[0].recorded == str(2**60)


def test_integers_beyond_the_largest_double_are_unrelated():
    assert not contrast([10**400], [10**400 + 1]).same


def test_deep_json_is_compared_without_recursion():
    deep = b"[" * 500 + b"1" + b"]" * 500
    assert compare_json(deep, deep.replace(b"1", b"2")).numbers.places == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_is_the_same_as_itself(value):
    assert contrast(value, value).same


@given(json_values, json_values)
def test_comparison_of_json_is_symmetric(a, b):
    there, back = contrast(a, b), contrast(b, a)
    assert there.same == back.same
    assert len(there.structure) == len(back.structure)
    assert there.numbers.places == back.numbers.places


# --- CSV -----------------------------------------------------------------------------------------------------------


def sheet(*rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def test_a_cell_is_named_by_row_and_column():
    found = compare_csv(sheet(["cut", "n"], ["a, b", 1], ["c", 2]), sheet(["cut", "n"], ["a, b", 1], ["c", 3]))
    assert str(found.findings[0]) == "row 2, column 'n': 2 recorded, 3 replayed"
    assert str(found).startswith("1 of 2 cells differs")


def test_how_a_number_is_written_is_not_content():
    assert compare_csv(sheet(["n"], ["1.0"], ["1e3"]), sheet(["n"], ["1.00"], ["1000.0"])).same


def test_line_ends_are_not_content():
    assert compare_csv(b"n\n1\n", b"n\r\n1\r\n").same


def test_text_cells_are_compared_as_text():
    found = compare_csv(sheet(["n"], ["1_0"]), sheet(["n"], ["10"]))
    assert str(found) == "row 1, column 'n': '1_0' recorded, '10' replayed"


def test_long_integers_are_not_rounded_to_doubles():
    assert not compare_csv(sheet(["n"], ["9007199254740993"]), sheet(["n"], ["9007199254740992"])).same


def test_other_columns_and_other_numbers_of_rows_are_said():
    found = compare_csv(sheet(["a"], ["1"]), sheet(["b"], ["1"], ["2"]))
    assert [str(item) for item in found.structure] == [
        "the columns differ: ['a'] recorded, ['b'] replayed",
        "the number of rows: 1 recorded, 2 replayed",
    ]


def test_empty_csv_is_the_same_as_itself():
    assert compare_csv(b"", b"").same


# --- pictures ------------------------------------------------------------------------------------------------------


def png(pixels, *, filters, depth=8, colour=2, level=9, text=b"", width=None, interlace=0):
    """Encode rows of bytes with the given filter per row: the forward filters of the PNG recommendation, clause 9.2."""
    step = max(1, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth // 8)
    lines, above = [], bytes(len(pixels[0]))
    for row, kind in zip(pixels, filters, strict=True):
        line = bytearray()
        for at, value in enumerate(row):
            left = row[at - step] if at >= step else 0
            corner = above[at - step] if at >= step else 0
            up = above[at]
            estimate = left + up - corner
            paeth = sorted((abs(estimate - guess), order, guess) for order, guess in enumerate((left, up, corner)))[0][
                2
            ]
            line.append((value - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
        lines.append(bytes([kind]) + bytes(line))
        above = row
    header = struct.pack(">IIBBBBB", width or len(pixels[0]) // step, len(pixels), depth, colour, 0, 0, interlace)
    body = [
        (b"IHDR", header),
        *([(b"tEXt", text)] if text else []),
        (b"IDAT", zlib.compress(b"".join(lines), level)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in body
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def picture(width=7, height=10, seed=1):
    source = random.Random(seed)
    return [bytes(source.randrange(256) for _ in range(3 * width)) for _ in range(height)]


@pytest.mark.parametrize("kind", range(5))
def test_the_filter_of_scanlines_is_not_content(kind):
    pixels = picture()
    assert compare_png(png(pixels, filters=[0] * 10), png(pixels, filters=[kind] * 10)).same


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 4), min_size=10, max_size=10),
    st.lists(st.integers(0, 4), min_size=10, max_size=10),
)
def test_any_mixture_of_filters_gives_the_same_pixels(seed, one, other):
    pixels = picture(seed=seed)
    assert compare_png(png(pixels, filters=one), png(pixels, filters=other)).same


def test_compression_and_remarks_are_not_content():
    pixels = picture()
    assert compare_png(
        png(pixels, filters=[0] * 10), png(pixels, filters=[0] * 10, level=0, text=b"Software\0other")
    ).same


def test_a_colour_value_that_differs_is_named_by_pixel():
    pixels, other = picture(), picture()
    other[3] = other[3][:7] + bytes([other[3][7] ^ 1]) + other[3][8:]
    found = compare_png(png(pixels, filters=[4] * 10), png(other, filters=[1] * 10))
    assert found.findings[0].where == "row 3, column 2"
    assert found.numbers.absolute.tolist() == [1.0]
    assert str(found).startswith("1 of 210 colour values differs")


def test_sixteen_bit_values_are_read_in_network_order():
    found = compare_png(
        png([b"\x01\x00"], filters=[0], depth=16, colour=0), png([b"\x02\x00"], filters=[1], depth=16, colour=0)
    )
    assert str(found.findings[0]) == "row 0, column 0: 256 recorded, 512 replayed"


def test_one_bit_images_are_compared_in_bytes():
    found = compare_png(
        png([b"\xf0"], filters=[0], depth=1, colour=0, width=8), png([b"\xf1"], filters=[0], depth=1, colour=0, width=8)
    )
    assert found.numbers.places == 1


def test_another_size_is_a_difference_of_structure():
    found = compare_png(png(picture(), filters=[0] * 10), png(picture(width=8), filters=[0] * 10))
    assert str(found) == "the image: 7 x 10, 3 x 8 bit recorded, 8 x 10, 3 x 8 bit replayed"


def test_an_interlaced_image_is_compared_as_bytes():
    interlaced = png(picture(), filters=[0] * 10, interlace=1)
    found = compare_png(interlaced, png(picture(), filters=[1] * 10, interlace=1))
    assert "the bytes differ" in str(found)


def test_a_picture_that_unpacks_to_more_than_it_says_is_refused():
    bomb = png([b"\0" * 3] * 1, filters=[0])
    larger = bomb.replace(zlib.compress(b"\0" * 4, 9), zlib.compress(b"\0" * 10**6, 9))
    with pytest.raises(DataError, match="another size"):
        compare_png(larger, larger)


@pytest.mark.parametrize("broken", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", png(picture(), filters=[0] * 10)[:60]])
def test_what_is_no_picture_is_refused(broken):
    with pytest.raises(DataError):
        compare_png(broken, broken)


# --- text and bytes ------------------------------------------------------------------------------------------------


def test_the_first_line_that_differs_is_shown():
    found = compare_text(b"a\nb\nc\n", b"a\nB\nC\n")
    assert str(found) == "2 of 3 lines differ, first line 2: 'b' recorded, 'B' replayed"


def test_a_line_more_is_no_line_on_the_other_side():
    assert (
        str(compare_text(b"a\n", b"a\nb\n"))
        == "1 of 2 lines differs, first line 2: no such line recorded, 'b' replayed"
    )


def test_control_characters_of_a_text_are_escaped():
    assert "\x1b" not in str(compare_text(b"\x1b[2J", b"x"))


def test_only_line_ends_differ():
    assert str(compare_text(b"a\n", b"a\r\n")) == "the bytes differ from offset 1 on (2 bytes, then 3)"


def test_the_first_byte_that_differs_is_counted_from_zero():
    assert str(compare_bytes(b"abc", b"abd")) == "the bytes differ from offset 2 on (3 bytes on both sides)"
    assert str(compare_bytes(b"", b"a")) == "the bytes differ from offset 0 on (0 bytes, then 1)"


# --- outputs -------------------------------------------------------------------------------------------------------


def output(name, content, *, kind="file", sha256=None, content_digest=None, at_hand=True):
    return Output(
        name=name,
        kind=kind,
        sha256=sha256 or digest.of_bytes(content),
        content=content_digest,
        read=(lambda: content) if at_hand else None,
    )


def test_equal_bytes_are_not_read():
    def explode():
        raise AssertionError("read")

    one = replace(output("a.json", b"1"), read=explode)
    found = compare(one, one)
    assert found.same_bytes
    assert found.because is None


def test_equal_content_digests_decide_without_a_look_inside():
    found = compare(output("a.bin", b"12", content_digest="c"), output("a.bin", b"123", content_digest="c"))
    assert found.same_content
    assert found.because == "same content; the bytes differ from offset 2 on (2 bytes, then 3)"


def test_different_content_digests_have_the_last_word():
    found = compare(output("a.csv", b"n\n1\n", content_digest="c"), output("a.csv", b"n\r\n1\r\n", content_digest="d"))
    assert not found.same_content
    assert found.because.startswith("the content digests differ, by something that no value shows")


def test_without_content_digests_equal_values_are_the_same_content():
    assert compare(output("a.json", b"[1, 2]"), output("a.json", b"[1,2]")).same_content


def test_unknown_types_have_no_content_but_their_bytes():
    assert not compare(output("a.bin", b"1"), output("a.bin", b"2")).same_content


def test_a_recorded_digest_that_is_not_of_the_recorded_bytes_is_a_contradiction():
    found = compare(output("a.json", b"1", sha256="0" * 64), output("a.json", b"1"))
    assert found.contradiction
    assert found.because.startswith("the record contradicts itself: sha256 000000000000… is recorded")


def test_a_recorded_content_digest_that_is_not_of_these_bytes_is_a_contradiction():
    found = compare(output("a.json", b"1", content_digest="0" * 64), output("a.json", b"1", content_digest="1" * 64))
    assert found.contradiction
    assert "content digest" in found.because


def test_without_the_recorded_bytes_digests_are_all_there_is():
    found = compare(output("a.json", b"1", at_hand=False), output("a.json", b"2"))
    assert found.because == "the digests differ, and what is recorded is not at hand to say where"
    same = compare(
        output("a.json", b"1", at_hand=False, content_digest="c"), output("a.json", b"1 ", content_digest="c")
    )
    assert same.same_content


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("h.json", "histogram", b"{}"),
        ("c.json", "cutflow", b"5"),
        ("v.json", "value", b"{"),
        ("p.png", "picture", b"x"),
        ("t.csv", "table", b"\xff"),
    ],
)
def test_an_unreadable_output_is_different_with_the_reason(name, kind, content):
    found = compare(output(name, content, kind=kind), output(name, content + b" ", kind=kind))
    assert not found.same_content
    assert found.because.startswith(f"not comparable as {kind} (")


def test_too_deep_json_is_different_and_no_crash():
    deep = b"[" * 100_000
    assert not compare(output("v.json", deep), output("v.json", deep + b"1")).same_content
