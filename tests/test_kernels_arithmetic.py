"""The defined semantics of operators: run as plain Python, and compiled, against NumPy, Fraction and struct."""

import math
from pathlib import Path
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels import arithmetic
from fasthep_archive.kernels.compile import _arithmetic, compile_program
from fasthep_archive.kernels.program import Builder

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 7.0, -7.5, 1e300, -1e-300, 5e-324, math.inf, -math.inf, math.nan]
INTEGERS = [0, 1, -1, 2, -2, 7, -7, 63, 64, 2**62, 2**63 - 1, -(2**63)]


@pytest.fixture(scope="module")
def compiled(kernel_cache: Path) -> ModuleType:
    """Return the functions as kernels call them."""
    return _arithmetic(kernel_cache)


def wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def same(found: float, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(found)
    return found == expected and math.copysign(1.0, found) == math.copysign(1.0, expected)


@pytest.mark.parametrize("x", FLOATS)
@pytest.mark.parametrize("y", FLOATS)
def test_float_division_is_numpys(x: float, y: float, compiled: ModuleType):
    with np.errstate(all="ignore"):
        assert same(compiled.floor_divide_float64(x, y), np.floor_divide(x, y))
        assert same(compiled.remainder_float64(x, y), np.remainder(x, y))


@pytest.mark.parametrize(("text", "expected"), [("1 / 0", math.inf), ("-0.1 / 0", -math.inf), ("0 / 0", math.nan)])
def test_literals_are_divided_by_zero_as_anything_is(text: str, expected: float, kernel_cache: Path):
    builder = Builder({})
    kernel = compile_program(builder.program([builder.formula(parse(text), {})]), cache=kernel_cache)
    assert same(kernel({}, {}, 1)[0].content[0], expected)


@given(st.floats(), st.floats())
def test_float_division_is_numpys_for_any_numbers(x: float, y: float):
    with np.errstate(all="ignore"):
        quotient = arithmetic.floor_divide_float64(np.float64(x), np.float64(y))
        rest = arithmetic.remainder_float64(np.float64(x), np.float64(y))
        assert same(quotient, np.floor_divide(x, y))
        assert same(rest, np.remainder(x, y))


@pytest.mark.parametrize("x", INTEGERS)
@pytest.mark.parametrize("y", INTEGERS)
def test_integer_division_is_pythons(x: int, y: int, compiled: ModuleType):
    assert compiled.floor_divide_int64(x, y) == (wrapped(x // y) if y else 0)
    assert compiled.remainder_int64(x, y) == (x % y if y else 0)


@pytest.mark.parametrize("x", INTEGERS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 62, 63, 64, 1000, 2**62 + 1])
def test_integer_power_is_the_product_that_wraps_around(x: int, n: int, compiled: ModuleType):
    assert compiled.power_int64(x, n) == wrapped(pow(x, n, 2**64))


@pytest.mark.parametrize("x", INTEGERS)
@pytest.mark.parametrize("n", [0, 1, 5, 62, 63, 64, 65, -1, 2**40])
def test_shifts_are_numpys(x: int, n: int, compiled: ModuleType):
    assert compiled.left_shift_int64(x, n) == np.left_shift(np.int64(x), np.int64(n))
    assert compiled.right_shift_int64(x, n) == np.right_shift(np.int64(x), np.int64(n))


@pytest.mark.parametrize("x", FLOATS)
def test_sign_of_a_float_is_numpys(x: float, compiled: ModuleType):
    assert same(compiled.sign_float64(x), np.sign(x))


@pytest.mark.parametrize("x", INTEGERS)
def test_sign_of_an_integer_is_numpys(x: int, compiled: ModuleType):
    assert compiled.sign_int64(x) == np.sign(x)


@pytest.mark.parametrize("x", FLOATS)
@pytest.mark.parametrize("y", FLOATS)
def test_extremes_propagate_nan_and_prefer_the_first(x: float, y: float, compiled: ModuleType):
    if math.isnan(x) or math.isnan(y):
        assert math.isnan(compiled.minimum_float64(x, y))
        assert math.isnan(compiled.maximum_float64(x, y))
    else:
        assert same(compiled.minimum_float64(x, y), x if x <= y else y)
        assert same(compiled.maximum_float64(x, y), x if x >= y else y)


@pytest.mark.parametrize("index", range(-4, 5))
def test_position_counts_from_either_end(index: int, compiled: ModuleType):
    values = [10, 11, 12]
    expected = 10 + range(3)[index] if -3 <= index < 3 else -1
    assert compiled.position(index, 10, 10 + len(values)) == expected


def test_position_in_an_empty_list_is_none(compiled: ModuleType):
    assert compiled.position(0, 5, 5) == -1
    assert compiled.position(-1, 5, 5) == -1


@pytest.mark.parametrize("index", [2**63 - 1, -(2**63)])
def test_position_far_outside_is_none(index: int, compiled: ModuleType):
    assert compiled.position(index, 5, 8) == -1
