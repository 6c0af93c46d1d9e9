"""The elementary functions against MPFR: random arguments, hard ones, special values, symmetries."""

import math
import os
from pathlib import Path

import elementary
import gmpy2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.kernels.elementary import rounded

SIZE = int(os.environ.get("FASTHEP_ARCHIVE_TEST_ARGUMENTS", "4000"))
"""Random arguments for each function and range."""
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("name", rounded.NAMES)
def test_random_arguments_give_the_nearest_double(name: str, kernel_cache: Path):
    for columns in elementary.ranges(name, SIZE):
        assert elementary.wrong(name, columns, elementary.computed(f"{name}_rounded", columns, kernel_cache)) == []


@pytest.mark.parametrize("name", rounded.NAMES)
def test_the_accurate_phase_alone_gives_the_nearest_double(name: str):
    for columns in elementary.ranges(name, 200):
        assert elementary.wrong(name, columns, elementary.one_by_one(f"{name}_exact", columns)) == []


# Hard cases, made

INVERSE = {
    "exp": "log", "log": "exp", "expm1": "log1p", "log1p": "expm1", "exp2": "log2", "log2": "exp2", "log10": "exp10",
    "sin": "asin", "cos": "acos", "tan": "atan", "asin": "sin", "acos": "cos", "atan": "tan", "sinh": "asinh",
    "cosh": "acosh", "tanh": "atanh", "asinh": "sinh", "acosh": "cosh", "atanh": "tanh",
}  # fmt: skip


@pytest.mark.parametrize("name", INVERSE)
def test_arguments_next_to_those_of_half_way_points(name: str, kernel_cache: Path):
    """Where a function is steep, the doubles around the argument of a half-way point have values next to it."""
    (columns,) = elementary.ranges(name, 500)[0]
    values = elementary.expected(name, (columns,))
    with gmpy2.context(precision=120):
        middle = [(gmpy2.mpfr(v) + gmpy2.mpfr(float(np.nextafter(v, INF)))) / 2 for v in values.tolist()]
        arguments = np.array([float(getattr(gmpy2, INVERSE[name])(m)) for m in middle])
    arguments = np.concatenate([arguments, np.nextafter(arguments, INF), np.nextafter(arguments, -INF)])
    assert (
        elementary.wrong(name, (arguments,), elementary.computed(f"{name}_rounded", (arguments,), kernel_cache)) == []
    )


def near_multiples(exponents: range) -> np.ndarray:
    """Return doubles next to multiples of pi/2: numerators of the convergents of pi/2 in units of a power of 2."""
    found = []
    with gmpy2.context(precision=2400):
        for exponent in exponents:
            x = gmpy2.const_pi() / 2 / gmpy2.mpfr(2) ** exponent
            above, below = (1, 0), (int(gmpy2.floor(x)), 1)
            while below[0] < 2**53:
                if below[0] >= 2**20:
                    found.append(math.ldexp(float(below[0]), exponent))
                x = 1 / (x - gmpy2.floor(x))
                whole = int(gmpy2.floor(x))
                above, below = below, (whole * below[0] + above[0], whole * below[1] + above[1])
    return np.array(found)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_arguments_nearest_to_multiples_of_half_pi(name: str, kernel_cache: Path):
    """Up to 2**-62 from one: 6381956970095103 * 2**797 is the nearest of all (Kahan and McDonald)."""
    arguments = np.append(near_multiples(range(-40, 970, 5)), math.ldexp(6381956970095103, 797))
    assert (
        elementary.wrong(name, (arguments,), elementary.computed(f"{name}_rounded", (arguments,), kernel_cache)) == []
    )


def test_squares_half_way_between_doubles(kernel_cache: Path):
    x = np.random.default_rng(5).integers(2**26, 2**27, 3000) * 2.0 + 1
    y = np.full(x.size, 2.0)
    assert elementary.wrong("pow", (x, y), elementary.computed("pow_rounded", (x, y), kernel_cache)) == []


@pytest.mark.parametrize(
    ("root", "power"), [(2**53 + 1, 1.5), (94906267, 2.0), (208065, 3.0), (9743, 4.0), (1551, 5.0)]
)
def test_powers_half_way_between_doubles(root: int, power: float, kernel_cache: Path):
    """Numbers whose power has 54 bits, or a few more or less, and their neighbours."""
    x = np.arange(-200.0, 200.0) + root
    x = x * x if power == 1.5 else x
    columns = (x, np.full(x.size, power))
    assert elementary.wrong("pow", columns, elementary.computed("pow_rounded", columns, kernel_cache)) == []


def test_lengths_half_way_between_doubles(kernel_cache: Path):
    """a² + b² = c² with an odd c of 54 bits: (m² - n², 2 m n, m² + n²), where the legs are doubles."""
    random = np.random.default_rng(6)
    triples = []
    while len(triples) < 300:
        m, n = int(random.integers(2**26, 2**27)), int(random.integers(1, 2**20))
        a, b, c = m * m - n * n, 2 * m * n, m * m + n * n
        if c.bit_length() == 54 and c % 2 == 1 and float(a) == a and float(b) == b:
            triples.append((float(a), float(b)))
        a, b = m * m - n * n, 2 * m * n
        shift = max(a.bit_length() - 53, 0)
        triples.append((float(a >> shift << shift), float(b)))
    columns = tuple(np.array(column) for column in zip(*triples, strict=True))
    assert elementary.wrong("hypot", columns, elementary.computed("hypot_rounded", columns, kernel_cache)) == []


def test_subnormal_lengths_and_angles_half_way_between_doubles(kernel_cache: Path):
    tiny = 5e-324
    three, four, odd = np.arange(3.0, 3000, 3), np.arange(4.0, 4000, 4), np.arange(1.0, 2000, 2)
    lengths = (three[: four.size] * tiny, four[: three.size] * tiny)
    assert elementary.wrong("hypot", lengths, elementary.computed("hypot_rounded", lengths, kernel_cache)) == []
    angles = (odd * tiny, np.full(odd.size, 2.0))
    assert elementary.wrong("atan2", angles, elementary.computed("atan2_rounded", angles, kernel_cache)) == []


def test_results_at_the_ends_of_the_doubles(kernel_cache: Path):
    edges = {
        "exp": [709.782712893384, 709.7827128933841, -745.1332191019411, -745.1332191019412, -708.3964185322641],
        "exp2": [1023.9999999999999, 1024.0, -1074.0, -1075.0, -1074.9999999999998, -1022.0, -1022.5],
        "sinh": [710.4758600739439, 710.475860073944, 5e-324, 2.0**-1022],
        "cosh": [710.4758600739439, 710.475860073944],
        "expm1": [709.782712893384, 709.7827128933841, -37.42994775023705, 5e-324, -5e-324],
        "log": [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.9999999999999999, 1.0000000000000002],
        "cbrt": [5e-324, 1.5e-323, 1.7976931348623157e308],
        "asin": [0.9999999999999999, 5e-324],
        "acos": [0.9999999999999999, -0.9999999999999999, 5e-324],
        "atanh": [0.9999999999999999, 5e-324],
        "acosh": [1.0000000000000002, 1.7976931348623157e308],
        "asinh": [5e-324, 1.7976931348623157e308],
    }
    for name, values in edges.items():
        columns = (np.array(values),)
        assert elementary.wrong(name, columns, elementary.computed(f"{name}_rounded", columns, kernel_cache)) == []


# Special values (C23, annex F.10); their signs are compared too

SPECIAL: dict[str, list[tuple[tuple[float, ...], float]]] = {
    "exp": [((0.0,), 1.0), ((-0.0,), 1.0), ((INF,), INF), ((-INF,), 0.0)],
    "exp2": [((0.0,), 1.0), ((3.0,), 8.0), ((-1074.0,), 5e-324), ((INF,), INF), ((-INF,), 0.0)],
    "expm1": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), INF), ((-INF,), -1.0)],
    "log": [((0.0,), -INF), ((-0.0,), -INF), ((1.0,), 0.0), ((-1.0,), NAN), ((-INF,), NAN), ((INF,), INF)],
    "log2": [((0.0,), -INF), ((1.0,), 0.0), ((8.0,), 3.0), ((5e-324,), -1074.0), ((-1.0,), NAN), ((INF,), INF)],
    "log10": [((0.0,), -INF), ((1.0,), 0.0), ((1e22,), 22.0), ((-1.0,), NAN), ((INF,), INF)],
    "log1p": [((0.0,), 0.0), ((-0.0,), -0.0), ((-1.0,), -INF), ((-2.0,), NAN), ((-INF,), NAN), ((INF,), INF)],
    "sin": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), NAN), ((-INF,), NAN)],
    "cos": [((0.0,), 1.0), ((-0.0,), 1.0), ((INF,), NAN)],
    "tan": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), NAN)],
    "asin": [((0.0,), 0.0), ((-0.0,), -0.0), ((1.0,), math.pi / 2), ((-1.0,), -math.pi / 2), ((1.5,), NAN), ((INF,), NAN)],
    "acos": [((1.0,), 0.0), ((-1.0,), math.pi), ((0.0,), math.pi / 2), ((-0.0,), math.pi / 2), ((1.5,), NAN), ((-INF,), NAN)],
    "atan": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), math.pi / 2), ((-INF,), -math.pi / 2), ((1.0,), math.pi / 4)],
    "atan2": [
        ((0.0, 0.0), 0.0), ((-0.0, 0.0), -0.0), ((0.0, -0.0), math.pi), ((-0.0, -0.0), -math.pi), ((0.0, -1.0), math.pi),
        ((-0.0, -1.0), -math.pi), ((0.0, 1.0), 0.0), ((-0.0, 1.0), -0.0), ((1.0, 0.0), math.pi / 2), ((-1.0, -0.0), -math.pi / 2),
        ((1.0, -INF), math.pi), ((-1.0, -INF), -math.pi), ((1.0, INF), 0.0), ((-1.0, INF), -0.0), ((INF, 1.0), math.pi / 2),
        ((-INF, 1.0), -math.pi / 2), ((INF, INF), math.pi / 4), ((INF, -INF), 3 * math.pi / 4), ((-INF, INF), -math.pi / 4),
        ((-INF, -INF), -3 * math.pi / 4), ((NAN, 0.0), NAN), ((0.0, NAN), NAN), ((1.0, 1.0), math.pi / 4),
    ],
    "sinh": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), INF), ((-INF,), -INF)],
    "cosh": [((0.0,), 1.0), ((-0.0,), 1.0), ((INF,), INF), ((-INF,), INF)],
    "tanh": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), 1.0), ((-INF,), -1.0)],
    "asinh": [((0.0,), 0.0), ((-0.0,), -0.0), ((INF,), INF), ((-INF,), -INF)],
    "acosh": [((1.0,), 0.0), ((0.5,), NAN), ((-INF,), NAN), ((INF,), INF)],
    "atanh": [((0.0,), 0.0), ((-0.0,), -0.0), ((1.0,), INF), ((-1.0,), -INF), ((1.5,), NAN), ((INF,), NAN)],
    "hypot": [((3.0, -4.0), 5.0), ((-0.0, -0.0), 0.0), ((0.0, -2.0), 2.0), ((INF, NAN), INF), ((NAN, -INF), INF), ((NAN, 1.0), NAN)],
    "cbrt": [((0.0,), 0.0), ((-0.0,), -0.0), ((-27.0,), -3.0), ((INF,), INF), ((-INF,), -INF)],
    "pow": [
        ((0.0, 0.0), 1.0), ((NAN, 0.0), 1.0), ((1.0, NAN), 1.0), ((INF, -0.0), 1.0), ((1.0, INF), 1.0), ((-1.0, INF), 1.0),
        ((-1.0, -INF), 1.0), ((0.0, -1.0), INF), ((-0.0, -1.0), -INF), ((-0.0, -2.0), INF), ((0.0, 3.0), 0.0), ((-0.0, 3.0), -0.0),
        ((-0.0, 2.0), 0.0), ((0.0, -INF), INF), ((0.0, INF), 0.0), ((0.5, INF), 0.0), ((0.5, -INF), INF), ((2.0, INF), INF),
        ((2.0, -INF), 0.0), ((INF, 0.5), INF), ((INF, -0.5), 0.0), ((-INF, 3.0), -INF), ((-INF, 2.0), INF), ((-INF, -3.0), -0.0),
        ((-INF, -2.0), 0.0), ((-INF, 0.5), INF), ((-8.0, 0.5), NAN), ((-2.0, 3.0), -8.0), ((-2.0, -2.0), 0.25), ((2.0, NAN), NAN),
        ((NAN, 2.0), NAN), ((-2.0, 1e300), INF), ((-1.0, 9007199254740991.0), -1.0), ((-1.0, 9007199254740992.0), 1.0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", rounded.NAMES)
def test_special_values(name: str, kernel_cache: Path):
    table = SPECIAL[name] + ([((NAN,), NAN)] if elementary.arity(name) == 1 else [])
    columns = tuple(np.array(column) for column in zip(*(arguments for arguments, _ in table), strict=True))
    found = elementary.computed(f"{name}_rounded", columns, kernel_cache)
    results = zip((arguments for arguments, _ in table), found.tolist(), strict=True)
    assert list(map(repr, results)) == list(map(repr, table))


# Symmetries

DOUBLES = st.floats(allow_nan=False)
ODD = ["sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "cbrt"]


@pytest.mark.parametrize("name", ODD)
@given(x=DOUBLES)
def test_odd_functions(name: str, x: float, kernel_cache: Path):
    found = elementary.computed(f"{name}_rounded", (np.array([x, -x]),), kernel_cache)
    assert elementary.bits(found[:1]) == elementary.bits(-found[1:])


@pytest.mark.parametrize("name", ["cos", "cosh"])
@given(x=DOUBLES)
def test_even_functions(name: str, x: float, kernel_cache: Path):
    found = elementary.computed(f"{name}_rounded", (np.array([x, -x]),), kernel_cache)
    assert elementary.bits(found[:1]) == elementary.bits(found[1:])


@given(x=DOUBLES, y=DOUBLES)
def test_lengths_do_not_depend_on_order_and_signs(x: float, y: float, kernel_cache: Path):
    found = elementary.computed("hypot_rounded", (np.array([x, y, -x]), np.array([y, -x, -y])), kernel_cache)
    assert len(set(elementary.bits(found).tolist())) == 1


@given(x=DOUBLES, y=DOUBLES)
def test_angles_are_mirrored(x: float, y: float, kernel_cache: Path):
    found = elementary.computed("atan2_rounded", (np.array([y, -y]), np.array([x, x])), kernel_cache)
    assert elementary.bits(found[:1]) == elementary.bits(-found[1:])


@given(x=st.floats(-700, 700), y=st.floats(-700, 700))
def test_the_exponential_is_monotonic(x: float, y: float, kernel_cache: Path):
    low, high = elementary.computed("exp_rounded", (np.array([min(x, y), max(x, y)]),), kernel_cache)
    assert low <= high
