"""Exact sums against ``math.fsum`` and ``fractions.Fraction``, compiled and as plain Python."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasthep_archive.errors import DataError
from fasthep_archive.kernels import sums, sums_source
from fasthep_archive.kernels.sums import ExactSums, WeightedSums

LARGEST = 1.7976931348623157e308
SMALLEST = 5e-324

finite = st.floats(allow_nan=False, allow_infinity=False)
extreme = st.sampled_from(
    [
        0.0,
        -0.0,
        SMALLEST,
        -SMALLEST,
        2.2250738585072014e-308,
        LARGEST,
        -LARGEST,
        2.0**970,
        -(2.0**969),
        2.0**53,
        1.0,
        -1.0,
    ]
)
weights_like = st.floats(-4, 4)
anything = st.one_of(finite, extreme, weights_like, st.sampled_from([math.nan, math.inf, -math.inf]))
values = st.lists(st.one_of(finite, extreme, weights_like), max_size=40)


def exact(terms):
    """Return the correctly rounded sum, by rational arithmetic."""
    terms = [float(term) for term in terms]
    if any(map(math.isnan, terms)) or {math.inf, -math.inf} <= set(terms):
        return math.nan
    if not all(map(math.isfinite, terms)):
        return math.inf if math.inf in terms else -math.inf
    total = sum(map(Fraction, terms), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def same(left, right):
    return np.array_equal(np.asarray(left).view(np.int64), np.asarray(right).view(np.int64)) or (
        np.array_equal(left, right, equal_nan=True) and np.array_equal(np.signbit(left), np.signbit(right))
    )


def summed(terms, cache, cells=None):
    total = ExactSums(1 if cells is None else max(cells, default=0) + 1, cache=cache)
    total.add(np.zeros(len(terms), np.int64) if cells is None else np.array(cells, np.int64), np.array(terms, float))
    return total


def equal_states(left, right):
    return left.keys() == right.keys() and all(
        left[key].dtype == right[key].dtype and np.array_equal(left[key], right[key]) for key in left
    )


@given(values)
@example([LARGEST, LARGEST, -LARGEST])
@example([LARGEST, 2.0**970])  # a tie between the largest double and infinity
@example([2.0**53, 1.0])  # a tie, to even: stays
@example([2.0**53 + 2, 1.0])  # a tie, to even: goes up
@example([2.0**53, 1.0, SMALLEST])  # just above the tie
@example([SMALLEST, SMALLEST, -SMALLEST])
@example([-0.0, -0.0])
@example([1e308, 1.0, -1e308])
def test_a_sum_is_the_real_sum_rounded_once(kernel_cache: Path, terms):
    assert same(summed(terms, kernel_cache).rounded(), np.array([exact(terms)]))


@given(st.lists(st.tuples(st.integers(-1, 3), anything), max_size=20))
@settings(max_examples=40)
def test_compiled_and_interpreted_kernels_agree(kernel_cache: Path, fills):
    cells = np.array([cell for cell, _ in fills], np.int64)
    weights = np.array([weight for _, weight in fills], float)

    def states():
        plain, weighted = ExactSums(3, cache=kernel_cache), WeightedSums(3, cache=kernel_cache)
        counted = WeightedSums(3, cache=kernel_cache, weighted=False)
        plain.add(cells, weights)
        weighted.add(cells, weights)
        counted.add(cells)
        return plain.state(), weighted.state(), counted.state()

    compiled = states()
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(sums, "_kernels", lambda _: sums_source)
        assert all(map(equal_states, compiled, states()))


def test_fsum_agrees_on_ordinary_weights(kernel_cache: Path):
    weights = np.random.default_rng(1).normal(1, 0.3, 10_000)
    assert summed(weights, kernel_cache).rounded()[0] == math.fsum(weights)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([math.inf, 1.0], math.inf),
        ([-math.inf, LARGEST], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
        ([-math.nan, math.inf], math.nan),
        ([LARGEST, LARGEST], math.inf),
        ([-LARGEST, -LARGEST], -math.inf),
        ([-0.0], 0.0),
        ([1.0, -1.0], 0.0),
        ([], 0.0),
    ],
)
def test_special_values_follow_the_profile(kernel_cache: Path, terms, expected):
    assert same(summed(terms, kernel_cache).rounded(), np.array([expected]))


@given(
    st.lists(st.tuples(st.integers(-2, 4), anything), max_size=60),
    st.randoms(use_true_random=False),
    st.integers(1, 6),
)
@settings(max_examples=150)
def test_order_partition_and_merge_tree_leave_no_trace(kernel_cache: Path, fills, random, parts):
    whole = WeightedSums(4, cache=kernel_cache)
    whole.add(np.array([cell for cell, _ in fills], np.int64), np.array([weight for _, weight in fills], float))
    shuffled = random.sample(fills, len(fills))
    pieces = []
    for part in range(parts):
        piece = WeightedSums(4, cache=kernel_cache)
        for cell, weight in shuffled[part::parts]:
            piece.add(np.array([cell], np.int64), np.array([weight], float))
        pieces.append(WeightedSums.from_state(piece.state(), cache=kernel_cache) if random.random() < 0.5 else piece)
    while len(pieces) > 1:
        last = pieces.pop(random.randrange(len(pieces)))
        pieces[random.randrange(len(pieces))].merge(last)
    assert equal_states(whole.state(), pieces[0].state())


adversarial = st.one_of(
    st.builds(
        lambda sign, x, power: sign * x * 10.0**power, st.sampled_from([-1, 1]), st.floats(1, 9), st.integers(-300, 300)
    ),
    st.floats(-2.3e-308, 2.3e-308),
    st.sampled_from([2.0**53, 1.0, -(2.0**-53), SMALLEST, 1e300, -1e300]),
)
"""Weights of very different sizes, subnormal ones, and ones that cancel; their sums don't overflow."""


@given(
    st.lists(st.tuples(st.integers(0, 3), adversarial), max_size=80),
    st.booleans(),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 160), max_size=4),
)
@settings(max_examples=150)
def test_every_bin_is_what_fsum_gives(kernel_cache: Path, fills, cancelling, random, cuts):
    """Filled in any order and any partition, the parts merged."""
    if cancelling:
        fills = [*fills, *((cell, -weight) for cell, weight in fills[::2])]
    shuffled = random.sample(fills, len(fills))
    total = ExactSums(4, cache=kernel_cache)
    edges = [0, *sorted(min(cut, len(fills)) for cut in cuts), len(fills)]
    for start, stop in itertools.pairwise(edges):
        part = ExactSums(4, cache=kernel_cache)
        part.add(
            np.array([cell for cell, _ in shuffled[start:stop]], np.int64),
            np.array([weight for _, weight in shuffled[start:stop]], float),
        )
        total.merge(part)
    assert same(total.rounded(), [math.fsum(weight for cell, weight in fills if cell == k) for k in range(4)])


parts_of_a_sum = st.lists(st.tuples(st.integers(-1, 2), st.one_of(anything, adversarial)), max_size=15)


@given(parts_of_a_sum, parts_of_a_sum, parts_of_a_sum)
@settings(max_examples=100)
def test_merging_is_associative_and_commutative(kernel_cache: Path, a, b, c):
    """In states, that is in every bit that is kept, not only in what they are rounded to."""

    def filled(fills):
        part = WeightedSums(3, cache=kernel_cache)
        part.add(np.array([cell for cell, _ in fills], np.int64), np.array([weight for _, weight in fills], float))
        return part

    def merged(first, second):
        first.merge(second)
        return first

    left = merged(merged(filled(a), filled(b)), filled(c)).state()
    assert equal_states(left, merged(filled(a), merged(filled(b), filled(c))).state())
    assert equal_states(left, merged(filled(c), merged(filled(b), filled(a))).state())
    assert equal_states(left, filled([*b, *c, *a]).state())


@given(st.lists(st.tuples(st.integers(-2, 3), anything), max_size=60))
def test_weighted_sums_are_counts_sum_of_weights_and_of_rounded_squares(kernel_cache: Path, fills):
    total = WeightedSums(3, cache=kernel_cache)
    total.add(np.array([cell for cell, _ in fills], np.int64), np.array([weight for _, weight in fills], float))
    with np.errstate(all="ignore"):
        by_cell = [np.array([weight for cell, weight in fills if cell == k], float) for k in range(3)]
        assert total.counts.tolist() == [len(weights) for weights in by_cell]
        assert same(total.sumw(), np.array([exact(weights) for weights in by_cell]))
        assert same(total.sumw2(), np.array([exact(weights * weights) for weights in by_cell]))


def test_many_fills_of_one_cell_never_overflow_a_limb(kernel_cache: Path):
    weights = np.full(300_000, -math.nextafter(2.0, 0.0) * 2.0**31)  # all bits set, shifted as far as it goes
    total = WeightedSums(1, cache=kernel_cache)
    for _ in range(3):
        total.add(np.zeros(len(weights), np.int64), weights)
    assert total.sumw()[0] == exact([weights[0] * 900_000])
    assert total.sumw2()[0] == float(Fraction(weights[0] * weights[0]) * 900_000)


def test_blocks_with_and_without_special_values_mix(kernel_cache: Path):
    generator = np.random.default_rng(2)
    weights = generator.normal(1, 1, 5000)
    weights[1000:1300] = 0.0
    weights[generator.integers(0, 5000, 40)] = SMALLEST
    weights[4000] = 1e300
    cells = generator.integers(-1, 7, 5000)
    total = summed(weights, kernel_cache, np.where(cells > 5, -1, cells))
    assert same(total.rounded(), [exact(weights[cells == k]) for k in range(6)])


def test_skipped_values_leave_no_trace(kernel_cache: Path):
    total = WeightedSums(2, cache=kernel_cache)
    total.add(np.array([-1, 0, 2, -5]), np.array([math.nan, 1.5, 1e300, SMALLEST]))
    other = WeightedSums(2, cache=kernel_cache)
    other.add(np.array([0]), np.array([1.5]))
    assert equal_states(total.state(), other.state())


def test_a_state_is_compact(kernel_cache: Path):
    total = WeightedSums(100_000, cache=kernel_cache)
    total.add(np.array([5, 70_000]), np.array([0.75, -1.25]))
    state = total.state()
    assert state["used"].tolist() == [5, 70_000]
    assert sum(array.nbytes for array in state.values()) < 400


def test_a_state_continues_where_it_stopped(kernel_cache: Path):
    weights = np.random.default_rng(3).normal(0, 1e10, 3000)
    cells = np.random.default_rng(4).integers(0, 5, 3000)
    whole, half = WeightedSums(5, cache=kernel_cache), WeightedSums(5, cache=kernel_cache)
    whole.add(cells, weights)
    half.add(cells[:1500], weights[:1500])
    half = WeightedSums.from_state(half.state(), cache=kernel_cache)
    half.add(cells[1500:], weights[1500:])
    assert equal_states(whole.state(), half.state())


def test_plain_sums_continue_too(kernel_cache: Path):
    half = ExactSums(2, cache=kernel_cache)
    half.add(np.array([0, 1, 1]), np.array([0.1, 1e16, 1.0]))
    again = ExactSums.from_state(half.state(), cache=kernel_cache)
    again.merge(half)
    assert again.cells == 2
    assert again.rounded().tolist() == [0.2, 2e16 + 2]


def test_without_weights_only_counts_are_kept(kernel_cache: Path):
    total = WeightedSums(3, cache=kernel_cache, weighted=False)
    total.add(np.array([0, 2, 2, -1, 3]))
    again = WeightedSums.from_state(total.state(), cache=kernel_cache)
    assert not again.weighted
    assert again.counts.tolist() == [1, 0, 2]
    assert again.sumw().tolist() == [1.0, 0.0, 2.0] == again.sumw2().tolist()


@pytest.mark.parametrize("weighted", [True, False])
def test_moved_cells_keep_their_sums_and_add_where_they_meet(kernel_cache: Path, weighted):
    total = WeightedSums(3, cache=kernel_cache, weighted=weighted)
    total.add(np.array([0, 1, 1, 2]), np.array([0.1, 0.2, -1e-30, 0.4]) if weighted else None)
    moved = total.moved(5, np.array([4, 1, 4]))
    assert moved.counts.tolist() == [0, 2, 0, 0, 2]
    if weighted:
        assert moved.sumw().tolist() == [0.0, exact([0.2, -1e-30]), 0.0, 0.0, 0.5]


def test_cumulative_sums_are_exact(kernel_cache: Path):
    weights = np.random.default_rng(5).normal(0, 1, 2000) * 10.0 ** np.random.default_rng(6).integers(-9, 9, 2000)
    depths = np.random.default_rng(7).integers(-1, 4, 2000)
    total = WeightedSums(4, cache=kernel_cache)
    total.add(depths, weights)
    cumulative = total.cumulative_from_last()
    assert cumulative.counts.tolist() == [int((depths >= depth).sum()) for depth in range(4)]
    assert cumulative.sumw().tolist() == [math.fsum(weights[depths >= depth]) for depth in range(4)]
    assert cumulative.sumw2().tolist() == [math.fsum(weights[depths >= depth] ** 2) for depth in range(4)]


def test_read_only_and_strided_arrays_are_taken(kernel_cache: Path):
    cells, weights = np.arange(8)[::2] // 3, np.arange(8.0)[::2]
    weights.flags.writeable = False
    total = summed(weights, kernel_cache, cells)
    assert total.rounded().tolist() == [2.0, 4.0, 6.0]


def test_too_many_bins_are_refused_by_number(kernel_cache: Path):
    with pytest.raises(DataError, match=r"500,000,000 bins need 11\.2 GiB; the limit is 2 GiB"):
        WeightedSums(500_000_000, cache=kernel_cache)


def test_bins_that_become_too_expensive_are_refused_when_that_shows(kernel_cache: Path, monkeypatch):
    monkeypatch.setattr(sums, "MEMORY_LIMIT", 100_000)
    total = ExactSums(1000, cache=kernel_cache)
    total.add(np.array([1, 2]), np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="1,000 bins"):
        total.add(np.array([1, 2]), np.array([1e300, 1e-300]))


@pytest.mark.parametrize("weights", [np.ones(3), np.ones((2, 1))])
def test_unequal_lengths_are_a_bug(kernel_cache: Path, weights):
    with pytest.raises(ValueError, match="as many values"):
        WeightedSums(2, cache=kernel_cache).add(np.array([0, 1]), weights)


@pytest.mark.parametrize("weighted", [True, False])
def test_forgotten_and_superfluous_weights_are_a_bug(kernel_cache: Path, weighted):
    with pytest.raises(ValueError, match="weights go with weighted sums"):
        WeightedSums(2, cache=kernel_cache, weighted=weighted).add(np.array([0]), None if weighted else np.ones(1))


def test_unlike_sums_do_not_merge(kernel_cache: Path):
    with pytest.raises(ValueError, match="same cells"):
        WeightedSums(2, cache=kernel_cache).merge(WeightedSums(3, cache=kernel_cache))
    with pytest.raises(ValueError, match="same cells"):
        ExactSums(2, cache=kernel_cache).merge(ExactSums(3, cache=kernel_cache))
