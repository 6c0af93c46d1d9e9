"""Bin indices against ``np.searchsorted``, edges against rational arithmetic, compiled and as plain Python."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels import bins, bins_source
from fasthep_archive.kernels.bins import (
    BoolAxis,
    EdgeAxis,
    IntAxis,
    TextAxis,
    moves,
    place,
    regular_edges,
    variable_edges,
)

real = st.floats(allow_nan=False, allow_infinity=False)
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308]


def around(edges):
    """Return the edges, their neighbours, values between, and special ones."""
    with np.errstate(over="ignore"):
        beside = [np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)]
    return np.concatenate([edges, *beside, edges[:-1] / 2 + edges[1:] / 2, SPECIAL])


def cells_of(axes, columns, start=None):
    cells = np.zeros(len(columns[0].content), np.int64) if start is None else np.asarray(start)
    place(cells, axes, columns)
    return cells


def index(axis, values):
    return cells_of([axis], [Column(np.asarray(values))])


@given(st.integers(1, 60), real, real)
@example(70, 0.1, 0.8)
@example(60, 60.0, 120.0)
@example(64, -math.pi, math.pi)
@example(3, 0.0, 5e-324 * 3)
def test_regular_edges_are_correctly_rounded(count, lower, upper):
    lower, upper = min(lower, upper), max(lower, upper)
    low, up = Fraction(lower), Fraction(upper)
    expected = [float(low + i * (up - low) / count) for i in range(count + 1)]
    assume(all(left < right for left, right in itertools.pairwise(expected)))
    edges = regular_edges(count, lower, upper)
    assert edges.tolist() == expected
    assert (edges[0], edges[-1]) == (lower, upper)


@pytest.mark.parametrize(
    ("count", "lower", "upper", "message"),
    [
        (0, 0, 1, "at least one bin"),
        (10, 1, 1, "to a larger one"),
        (10, 2, 1, "to a larger one"),
        (10, math.nan, 1, "to a larger one"),
        (10, 0, math.inf, "to a larger one"),
        (10, 1.0, 1.0000000000000004, "narrower than doubles can tell apart"),
    ],
)
def test_impossible_regular_axes_are_refused(count, lower, upper, message):
    with pytest.raises(DataError, match=message):
        regular_edges(count, lower, upper)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([1.0], "at least two edges"),
        ([0.0, math.inf], "finite"),
        ([0.0, math.nan, 2.0], "finite"),
        ([0.0, 2.0, 1.0], r"2\.0 is followed by 1\.0"),
        ([0.0, 1.0, 1.0], r"1\.0 is followed by 1\.0"),
        ([-0.0, 0.0], r"0\.0 is followed by 0\.0"),
    ],
)
def test_impossible_variable_axes_are_refused(edges, message):
    with pytest.raises(DataError, match=message):
        variable_edges(edges)


@given(st.integers(1, 200), real, real)
@example(1, -1.7976931348623157e308, 1.7976931348623157e308)
@example(5, 1.0, 1.0 + 5 * 2.0**-52)
@example(2, 1.0, 1.0 + 3 * 2.0**-52)
@example(7, -5e-324, 5e-323)
@settings(max_examples=300)
def test_regular_indices_are_positions_among_the_edges(kernel_cache: Path, count, lower, upper):
    try:
        edges = regular_edges(count, min(lower, upper), max(lower, upper))
    except DataError:
        assume(False)
    values = around(edges)
    expected = np.searchsorted(edges, values, side="right")
    assert index(EdgeAxis(edges, cache=kernel_cache), values).tolist() == expected.tolist()


@given(st.integers(2, 40), st.integers(0, 60), st.integers(-1074, 960))
@settings(max_examples=300)
def test_regular_indices_hold_where_doubles_are_coarse(kernel_cache: Path, count, units, exponent):
    lower = math.ldexp(2.0**52, exponent)
    try:
        edges = regular_edges(count, lower, lower + math.ldexp(count + units, exponent))
    except DataError:
        assume(False)
    values = around(edges)
    expected = np.searchsorted(edges, values, side="right")
    assert index(EdgeAxis(edges, cache=kernel_cache), values).tolist() == expected.tolist()


@given(st.sets(real, min_size=2, max_size=70).map(sorted))
def test_variable_indices_are_positions_among_the_edges(kernel_cache: Path, edges):
    edges = variable_edges(edges)
    values = around(edges)
    expected = np.searchsorted(edges, values, side="right")
    assert index(EdgeAxis(edges, cache=kernel_cache), values).tolist() == expected.tolist()


def test_blocks_do_not_matter(kernel_cache: Path):
    edges = variable_edges([0.0, 1.0, 10.0, 100.0])
    values = np.random.default_rng(1).lognormal(1, 3, 1000)
    expected = np.searchsorted(edges, values, side="right")
    assert np.array_equal(index(EdgeAxis(edges, cache=kernel_cache), values), expected)


@pytest.mark.parametrize("edges", [[0.0, 1.0, 2.0], [0.0, 0.1, 2.0]])
def test_flow_bins_take_the_rest(kernel_cache: Path, edges):
    axis = EdgeAxis(variable_edges(edges), cache=kernel_cache)
    assert axis.size == 4
    assert index(axis, [-math.inf, -1e-9, -0.0, 1.0, 2.0, math.inf, math.nan]).tolist() == [0, 0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize("values", [np.array([0, 3, 7]), np.array([True, False]), np.array([0.1, 2.5], np.float32)])
def test_other_numbers_are_promoted(kernel_cache: Path, values):
    axis = EdgeAxis(regular_edges(4, 0, 4), cache=kernel_cache)
    expected = np.searchsorted([0, 1, 2, 3, 4], values.astype(float), side="right")
    assert index(axis, values).tolist() == expected.tolist()


def test_fixed_integers_have_an_overflow_bin(kernel_cache: Path):
    axis = IntAxis([5, -3, 11], growing=False, cache=kernel_cache)
    assert axis.size == 4
    assert index(axis, np.array([-3, 11, 5, 0, 12, -4])).tolist() == [1, 2, 0, 3, 3, 3]


def test_growing_integers_take_the_order_of_appearance(kernel_cache: Path):
    axis = IntAxis([], growing=True, cache=kernel_cache)
    assert index(axis, np.array([7, -1, 7, 3])).tolist() == [0, 1, 0, 2]
    assert index(axis, np.array([4, 3, 2, 4])).tolist() == [3, 2, 4, 3]
    assert axis.categories == (7, -1, 3, 4, 2)
    assert axis.size == 5


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.integers(-5, 5), unique=True, min_size=1))
@settings(max_examples=50)
def test_integer_categories_agree_with_a_dictionary(kernel_cache: Path, values, categories):
    values = [*values, *categories, *range(-7, 7)]
    places = {category: place for place, category in enumerate(categories)}
    axis = IntAxis(categories, growing=False, cache=kernel_cache)
    assert index(axis, np.array(values, np.int64)).tolist() == [places.get(v, len(categories)) for v in values]


def test_only_what_is_filled_appears(kernel_cache: Path):
    axis, edges = (
        IntAxis([], growing=True, cache=kernel_cache),
        EdgeAxis(regular_edges(1, 0, 1), cache=kernel_cache),
    )
    missing = Column(np.zeros(4), valid=np.array([True, False, True, True]))
    cells = cells_of([axis, edges], [Column(np.array([9, 8, 7, 6])), missing], np.array([-1, 0, 0, 0]))
    assert axis.categories == (7, 6)
    assert cells.tolist() == [-1, -1, 1, 4]


def test_texts_are_found_by_word(kernel_cache: Path):
    column = Column(np.array([2, 0, 1, 2]), words=("b", "other", "a"))
    fixed = TextAxis(["a", "b"], growing=False, cache=kernel_cache)
    assert cells_of([fixed], [column]).tolist() == [0, 1, 2, 0]
    growing = TextAxis(["b"], growing=True, cache=kernel_cache)
    assert cells_of([growing], [column]).tolist() == [1, 0, 2, 1]
    assert growing.categories == ("b", "a", "other")


def test_bools_have_two_bins(kernel_cache: Path):
    assert cells_of([BoolAxis(cache=kernel_cache)], [Column(np.array([True, False, True]))]).tolist() == [1, 0, 1]


def test_axes_chain_in_row_major_order(kernel_cache: Path):
    axes = [
        EdgeAxis(regular_edges(2, 0, 2), cache=kernel_cache),
        IntAxis([1, 2, 3], growing=False, cache=kernel_cache),
        BoolAxis(cache=kernel_cache),
    ]
    generator = np.random.default_rng(3)
    columns = [generator.uniform(-1, 3, 500), generator.integers(0, 5, 500), generator.random(500) < 0.5]
    selected = generator.random(500) < 0.7
    cells = cells_of(axes, [Column(column) for column in columns], selected - 1)
    indices = [np.searchsorted([0, 1, 2], columns[0], "right"), (columns[1] - 1) % 4, columns[2].astype(int)]
    indices[1][(columns[1] < 1) | (columns[1] > 3)] = 3
    expected = np.ravel_multi_index(indices, [axis.size for axis in axes])
    assert np.array_equal(cells, np.where(selected, expected, -1))


def test_missing_values_are_not_filled(kernel_cache: Path):
    column = Column(np.array([0.5, math.nan, 1.5]), valid=np.array([True, False, True]))
    axis = EdgeAxis(regular_edges(2, 0, 2), cache=kernel_cache)
    assert cells_of([axis], [column]).tolist() == [1, -1, 2]


def test_moves_keep_sums_at_their_bins():
    old = np.arange(12).reshape(2, 3, 2)
    new = np.full((4, 5, 2), -1)
    new[np.ix_([3, 1], range(3), range(2))] = old
    places = moves(old.shape, new.shape, [np.array([3, 1]), None, None])
    assert new.reshape(-1)[places].tolist() == old.reshape(-1).tolist()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floats_are_no_integer_categories(kernel_cache: Path, dtype):
    with pytest.raises(DataError, match="can't bin float"):
        index(IntAxis([1], growing=False, cache=kernel_cache), np.ones(2, dtype))


def test_columns_of_unequal_lengths_are_a_bug(kernel_cache: Path):
    axis = EdgeAxis(regular_edges(2, 0, 2), cache=kernel_cache)
    with pytest.raises(ValueError, match="as many values"):
        cells_of([axis, axis], [Column(np.zeros(3)), Column(np.zeros(2))])


def test_interpreted_kernels_agree(kernel_cache: Path, monkeypatch):
    values = np.concatenate([np.random.default_rng(5).normal(1, 2, 300), SPECIAL])
    edges = regular_edges(9, -1, 3)
    integers = np.random.default_rng(6).integers(-4, 4, len(values))

    def cells():
        axes = [
            EdgeAxis(edges, cache=kernel_cache),
            EdgeAxis(edges, cache=kernel_cache),
            IntAxis([3, -1], growing=False, cache=kernel_cache),
        ]
        return cells_of(axes, [Column(values), Column(values), Column(integers)], (integers > -3) - 1)

    compiled = cells()
    monkeypatch.setattr(bins, "_kernels", lambda _: bins_source)
    assert np.array_equal(compiled, cells())
