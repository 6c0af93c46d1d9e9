"""The elementary functions as PTX, run on the CPU, against the same functions as numba compiles them: bit for bit."""

import math
import os
from pathlib import Path

import cuda_target
import elementary
import gmpy2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_elementary import INVERSE, SPECIAL, near_multiples

from fasthep_archive.kernels.cuda import remainder
from fasthep_archive.kernels.elementary import rounded

SIZE = int(os.environ.get("FASTHEP_ARCHIVE_TEST_ARGUMENTS", "1000"))
"""Random arguments for each function and range; the accurate phase gets a twentieth of them."""
ARCHITECTURES = ["compute_80", "compute_120"]
"""What the two dialects of PTX that NVRTC writes are made for."""


def differing(name: str, phase: str, columns: elementary.Columns, architecture: str, cache: Path) -> int:
    """Return how many values differ in their bits; both are correctly rounded, so the phase can't matter."""
    found = cuda_target.on_ptx(f"{name}_{phase}", columns, cuda_target.functions(architecture))
    return int(
        (elementary.bits(found) != elementary.bits(elementary.computed(f"{name}_rounded", columns, cache))).sum()
    )


@pytest.mark.parametrize(
    "architecture", [ARCHITECTURES[-1], *(pytest.param(one, marks=pytest.mark.slow) for one in ARCHITECTURES[:-1])]
)
@pytest.mark.parametrize("name", rounded.NAMES)
def test_random_arguments(name: str, architecture: str, kernel_cache: Path):
    for columns in elementary.ranges(name, SIZE):
        assert differing(name, "rounded", columns, architecture, kernel_cache) == 0


@pytest.mark.parametrize("name", rounded.NAMES)
def test_random_arguments_in_the_accurate_phase(name: str, kernel_cache: Path):
    for columns in elementary.ranges(name, SIZE // 20):
        assert differing(name, "exact", columns, "compute_80", kernel_cache) == 0


@pytest.mark.parametrize("name", rounded.NAMES)
def test_special_values(name: str, kernel_cache: Path):
    columns = tuple(np.array(column) for column in zip(*(arguments for arguments, _ in SPECIAL[name]), strict=True))
    assert differing(name, "rounded", columns, "compute_80", kernel_cache) == 0


@pytest.mark.parametrize("name", INVERSE)
def test_arguments_next_to_those_of_half_way_points(name: str, kernel_cache: Path):
    (columns,) = elementary.ranges(name, 300)[0]
    values = elementary.expected(name, (columns,))
    with gmpy2.context(precision=120):
        middle = [(gmpy2.mpfr(v) + gmpy2.mpfr(float(np.nextafter(v, math.inf)))) / 2 for v in values.tolist()]
        arguments = np.array([float(getattr(gmpy2, INVERSE[name])(m)) for m in middle])
    assert differing(name, "rounded", (arguments,), "compute_80", kernel_cache) == 0


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_arguments_nearest_to_multiples_of_half_pi(name: str, kernel_cache: Path):
    arguments = np.append(near_multiples(range(-40, 970, 40)), math.ldexp(6381956970095103, 797))
    assert differing(name, "rounded", (arguments,), "compute_80", kernel_cache) == 0


def test_powers_half_way_between_doubles(kernel_cache: Path):
    x = np.random.default_rng(5).integers(2**26, 2**27, 500) * 2.0 + 1
    assert differing("pow", "rounded", (x, np.full(x.size, 2.0)), "compute_80", kernel_cache) == 0


# The rest of a division, which CUDA's own library would compute with approximate reciprocals

DOUBLES = st.floats()


@given(DOUBLES, DOUBLES)
@example(-2.7593316703195206e-302, -5.08044114003e-312)
@example(1.0, math.inf)
@example(0.0, 0.0)
@example(-0.0, 3.0)
def test_rest_is_that_of_the_c_library(x: float, y: float):
    with np.errstate(all="ignore"):
        expected = float(np.fmod(x, y))
        found = remainder.rest(np.float64(x), np.float64(y))
    assert repr(float(found)) == repr(expected)


def test_rest_on_ptx_is_that_of_the_c_library():
    arguments = elementary.Arguments(4000, seed=4)
    small = arguments.scales(-1074, -1000), arguments.scales(-1074, -1010)
    pairs = [(arguments.any(), arguments.any()), (arguments.even(-50, 50), arguments.even(-3, 3)), small]
    for x, y in [*pairs, (arguments.scales(900, 1023), arguments.scales(-1074, -900))]:
        with np.errstate(all="ignore"):
            expected = np.fmod(x, y)
        found = cuda_target.on_ptx("rest", (x, y), cuda_target.remainders())
        assert (elementary.bits(found) == elementary.bits(expected)).all()
