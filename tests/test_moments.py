"""Exact means and variances against ``fractions.Fraction``, compiled and as plain Python, in any order and partition."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels import moments, moments_source
from fasthep_archive.kernels.moments import Moments
from fasthep_archive.operations.filling import AxisFill, Filling

LARGEST, SMALLEST = 1.7976931348623157e308, 5e-324
FAR = Fraction(2) ** 960

usual = st.one_of(st.floats(-4, 4, allow_subnormal=False), st.floats(80, 100), st.sampled_from([0.0, -0.0, 0.1, 91.2]))
extreme = st.one_of(
    st.floats(), st.sampled_from([LARGEST, -LARGEST, SMALLEST, 2.0**960, 2.0**-960, 2.0**-480, 1e-160, 2.0**969])
)
whole = st.sampled_from([1.0, 2.0, -3.0, 0.5])
"""Products of these leave nothing out."""
anything = st.one_of(whole, usual, extreme)
Fill = tuple[float, float]
"""A weight and a sample."""


def rounded(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def parts(a: float, b: float) -> list[float]:
    """Return the product, rounded, and what rounding left out if the documentation says that it counts."""
    with np.errstate(all="ignore"):
        product = float(np.float64(a) * np.float64(b))
    inside = math.isfinite(product) and 1 / FAR <= abs(Fraction(product)) < FAR
    inside = inside and abs(Fraction(a)) < FAR and abs(Fraction(b)) < FAR
    return [product, float(Fraction(a) * Fraction(b) - Fraction(product)) if inside else 0.0]


def sum_of(terms: Sequence[float]) -> Fraction | float:
    """Return the sum, or the special value that it has."""
    if any(map(math.isnan, terms)) or {math.inf, -math.inf} <= set(terms):
        return math.nan
    special = [term for term in terms if math.isinf(term)]
    return special[0] if special else sum(map(Fraction, terms), Fraction(0))


def expected(fills: Sequence[Fill], *, weighted: bool) -> tuple[float, float]:
    """Return mean and variance by the formulas of the documentation."""
    if not fills:
        return 0.0, 0.0
    if not weighted:
        fills = [(1.0, x) for _, x in fills]
    w = sum_of([w for w, _ in fills]) if weighted else Fraction(len(fills))
    ww = sum_of([part for w, _ in fills for part in parts(w, w)]) if weighted else w
    wx = sum_of([part for w, x in fills for part in (parts(w, x) if weighted else [x])])
    first = [(part, x) for w, x in fills for part in (parts(w, x) if weighted else [x])]
    wxx = sum_of([part for factor, x in first for part in parts(factor, x)])
    return mean_of(w, wx), variance_of(w, ww, wx, wxx)


def mean_of(w: Fraction | float, wx: Fraction | float) -> float:
    if isinstance(w, float):
        return math.nan
    if isinstance(wx, float):
        return math.nan if w == 0 else wx * (1 if w > 0 else -1)
    return (0.0 if wx == 0 else math.nan) if w == 0 else rounded(wx / w)


def variance_of(*sums: Fraction | float) -> float:
    if any(isinstance(one, float) for one in sums):
        return math.nan
    w, ww, wx, wxx = sums
    top, bottom = w * wxx - wx**2, w**2 - ww
    return 0.0 if top == 0 else math.nan if bottom == 0 else rounded(top / bottom)


def moments_of(fills: Sequence[Fill], cache: Path, *, weighted: bool, cells: Sequence[int] | None = None) -> Moments:
    made = Moments(1 if cells is None else 3, cache=cache, weighted=weighted)
    places = np.zeros(len(fills), np.int64) if cells is None else np.array(cells, np.int64)
    weights = np.array([w for w, _ in fills], float)
    made.add(places, np.array([x for _, x in fills], float), weights if weighted else None)
    return made


def same(one: float, other: float) -> bool:
    return repr(float(one)) == repr(float(other))


def equal(one: Moments, other: Moments) -> bool:
    left, right = one.state(), other.state()
    return list(left) == list(right) and all(left[key].tobytes() == right[key].tobytes() for key in left)


@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
@settings(max_examples=80)
@given(fills=st.lists(st.tuples(usual, usual), max_size=12))
@example(fills=[(1.0, 0.1)] * 3)
@example(fills=[(0.1, 91.2)])
@example(fills=[(1.0, 5.0), (-1.0, 3.0)])
@example(fills=[(0.0, 5.0), (0.0, 3.0)])
def test_mean_and_variance_are_rounded_once(weighted: bool, kernel_cache: Path, fills: list[Fill]):
    found = moments_of(fills, kernel_cache, weighted=weighted)
    mean, variance = expected(fills, weighted=weighted)
    assert same(found.means()[0], mean)
    assert same(found.variances()[0], variance)


@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
@settings(max_examples=80)
@given(fills=st.lists(st.tuples(extreme, extreme), max_size=6))
@example(fills=[(1.0, math.inf), (1.0, 2.0)])
@example(fills=[(-1.0, math.inf), (-1.0, 2.0)])
@example(fills=[(1.0, math.inf), (1.0, -math.inf)])
@example(fills=[(math.inf, 1.0), (1.0, 2.0)])
@example(fills=[(1.0, 1e200), (1.0, 2.0)])
@example(fills=[(1.0, LARGEST), (1.0, LARGEST)])
@example(fills=[(2.0, 0.0), (5e-324, -1.0)])
@example(fills=[(5e-324, 9.745314011400001e288)])
def test_any_doubles_follow_the_rules(weighted: bool, kernel_cache: Path, fills: list[Fill]):
    found = moments_of(fills, kernel_cache, weighted=weighted)
    mean, variance = expected(fills, weighted=weighted)
    assert same(found.means()[0], mean)
    assert same(found.variances()[0], variance)


@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
@settings(max_examples=40)
@given(data=st.data(), fills=st.lists(st.tuples(anything, anything, st.integers(-1, 3)), max_size=15))
def test_any_partition_in_any_order_gives_the_same_bytes(
    weighted: bool, kernel_cache: Path, data: st.DataObject, fills: list[tuple[float, float, int]]
):
    def filled(some: Sequence[tuple[float, float, int]]) -> Moments:
        pairs, cells = [(w, x) for w, x, _ in some], [cell for _, _, cell in some]
        return moments_of(pairs, kernel_cache, weighted=weighted, cells=cells)

    shuffled = data.draw(st.permutations(fills))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(fills)), max_size=3)))
    pieces = [filled(shuffled[a:b]) for a, b in zip([0, *cuts], [*cuts, len(fills)], strict=True)]
    total = Moments.from_state(pieces[0].state(), cache=kernel_cache)
    for piece in data.draw(st.permutations(pieces[1:])):
        total.merge(piece)
    whole = filled(fills)
    assert equal(total, whole)
    for name in ("means", "variances", "sumw", "sumw2"):
        assert getattr(total, name)().tobytes() == getattr(whole, name)().tobytes()


@settings(max_examples=30)
@given(fills=st.lists(st.tuples(extreme, extreme), max_size=9))
def test_compiled_and_interpreted_products_agree(kernel_cache: Path, fills: list[Fill]):
    a, b = (np.array(column, float) for column in zip(*fills, strict=True)) if fills else (np.empty(0), np.empty(0))
    made = Moments(1, cache=kernel_cache, weighted=True)._products(a, b)
    high, low = np.empty(len(a)), np.empty(len(a))
    with np.errstate(all="ignore"):
        moments_source.products(a, b, high, low)
    for one, other in zip(made, (high, low), strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_samples_that_are_equal_have_no_variance(kernel_cache: Path):
    """With rounded squares it would be something like 1e-17, of either sign."""
    weights = np.random.default_rng(1).uniform(0.1, 2, 1000)
    found = moments_of([(w, 0.1) for w in weights], kernel_cache, weighted=True)
    assert (found.means()[0], found.variances()[0]) == (0.1, 0.0)


def test_a_small_spread_far_from_zero_is_seen(kernel_cache: Path):
    """Sums of squares in doubles have lost it."""
    samples = [1e9, 1e9 + 2**-20]
    assert moments_of([(1.0, x) for x in samples], kernel_cache, weighted=False).variances()[0] == 2.0**-41


def test_cells_that_are_moved_together_are_added(kernel_cache: Path):
    fills = [(1.5, 2.0), (0.5, 7.0), (1.0, 1.0)]
    apart = moments_of(fills, kernel_cache, weighted=True, cells=[0, 1, 2])
    moved = apart.moved(2, np.array([1, 1, 0]))
    assert equal(moved, moments_of(fills, kernel_cache, weighted=True, cells=[1, 1, 0]).moved(2, np.array([0, 1, 0])))
    assert same(moved.means()[1], expected(fills[:2], weighted=True)[0])


def test_weights_go_with_weighted_means(kernel_cache: Path):
    made = Moments(1, cache=kernel_cache, weighted=False)
    with pytest.raises(ValueError, match="weights go with weighted means"):
        made.add(np.zeros(1, np.int64), np.ones(1), np.ones(1))


def test_only_like_means_are_merged(kernel_cache: Path):
    with pytest.raises(ValueError, match="only means with the same cells"):
        Moments(2, cache=kernel_cache, weighted=False).merge(Moments(2, cache=kernel_cache, weighted=True))


@pytest.mark.parametrize("names", [moments.COUNTED, moments.WEIGHTED])
def test_nothing_has_no_mean(names: tuple[str, ...], kernel_cache: Path):
    made = Moments(2, cache=kernel_cache, weighted=names is moments.WEIGHTED)
    for array in (made.means(), made.variances(), made.sumw(), made.sumw2()):
        assert array.tolist() == [0.0, 0.0]


def test_an_entry_without_a_sample_is_left_out(kernel_cache: Path):
    """And does not make an axis grow."""
    filler = Filling(axes=(AxisFill(kind="integers"),), selected=False, weights="none", sampled=True).start(
        kernel_cache
    )
    present = np.array([True, False, True])
    filler.add([Column(np.array([4, 5, 4])), Column(np.array([1.0, 9.0, 2.0]), None, present)], {})
    assert filler.state().header["categories"] == [[4]]
    assert filler.sums[0].means().tolist() == [1.5]
