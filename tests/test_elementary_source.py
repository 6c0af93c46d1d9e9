"""What the elementary functions are made of: error bounds, tables, and one source that gives the same bits each way."""

import math
import re
import runpy
import warnings
from pathlib import Path

import elementary
import gmpy2
import numpy as np
import pytest
from llvmlite import ir

from fasthep_archive.digest import of_bytes
from fasthep_archive.kernels.elementary import circular, exponential, inverse, logarithm, rounded, tables, wide
from fasthep_archive.kernels.elementary.lowering import Library, LoweringError
from fasthep_archive.kernels.elementary.primitives import two_product

MAKER = Path(__file__).parents[1] / "tools" / "make_tables.py"
RELAXED = re.compile(
    r"= (?:fadd|fsub|fmul|fdiv|fneg|fcmp|select|call) (?:fast|reassoc|contract|nnan|ninf|nsz|arcp|afn)\b"
)
"""What permits LLVM to compute something else than what is written."""
QUICK = (circular, exponential, inverse, logarithm)


def test_tables_are_what_the_script_writes():
    content = runpy.run_path(str(MAKER))["content"]()
    assert of_bytes(content.encode()) == of_bytes(Path(tables.__file__).read_bytes())


@pytest.mark.parametrize("name", rounded.NAMES)
def test_errors_of_quick_phases_are_below_their_bounds(name: str, monkeypatch: pytest.MonkeyPatch):
    """The functions run as plain Python, and say what they believe to be true just before they round."""
    settled: list[tuple[float, float, float]] = []
    for module in QUICK:
        monkeypatch.setattr(module, "settle", lambda *numbers: (settled.append(numbers), (numbers[0], True))[1])
    worst = 0.0
    with gmpy2.context(precision=260), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for columns in elementary.ranges(name, 150)[:-2]:
            for row in zip(*(column.tolist() for column in columns), strict=True):
                settled.clear()
                _, certain = getattr(rounded, f"{name}_quick")(*row)
                if certain and settled and not (name == "tanh" and abs(row[0]) >= 20):
                    worst = max(worst, _excess(name, row, *map(float, settled[-1])))
    assert worst < 0.75


def _excess(name: str, row: tuple[float, ...], high: float, low: float, error: float) -> float:
    """Return the error of high + low relative to its bound; exponentials leave a power of 2 for later."""
    exact = abs(elementary.mpfr(name)(*map(gmpy2.mpfr, row)))
    found = abs(gmpy2.mpfr(high) + low)
    if name in {"exp", "exp2", "cosh", "pow"}:
        found *= gmpy2.mpfr(2) ** round(float(gmpy2.log2(exact / found)))
        error *= float(found / abs(gmpy2.mpfr(high) + low)) if exact < 1e300 and exact > 1e-300 else math.inf
    return float(abs(found - exact)) / error if error > 0 else 0.0


@pytest.mark.parametrize("name", rounded.NAMES)
def test_plain_python_gives_the_same_bits(name: str, kernel_cache: Path):
    columns = tuple(column[:40] for column in elementary.ranges(name, 40)[0])
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    plain = np.array([getattr(rounded, f"{name}_rounded")(*row) for row in rows], np.float64)
    assert (
        elementary.bits(plain).tolist()
        == elementary.bits(elementary.computed(f"{name}_rounded", columns, kernel_cache)).tolist()
    )


def test_products_keep_their_errors():
    for a, b in np.random.default_rng(1).normal(0, 1, (200, 2)).tolist():
        product, error = two_product(a, b)
        assert gmpy2.mpq(product) + gmpy2.mpq(error) == gmpy2.mpq(a) * gmpy2.mpq(b)


# Processors with and without a fused multiplication


@pytest.mark.parametrize("name", rounded.NAMES)
def test_split_products_and_no_optimisation_give_the_same_bits(name: str, kernel_cache: Path):
    for columns in elementary.ranges(name, 100):
        expected = elementary.computed(f"{name}_rounded", columns, kernel_cache)
        assert (
            elementary.bits(elementary.one_by_one(f"{name}_rounded", columns)).tolist()
            == elementary.bits(expected).tolist()
        )


@pytest.mark.parametrize("name", rounded.NAMES)
def test_nothing_is_fused_but_products_with_their_errors(name: str):
    assert "fma" not in elementary.lowered(f"{name}_rounded", fused=False)
    text = elementary.lowered(f"{name}_rounded", fused=True)
    assert "fmuladd" not in text
    assert RELAXED.search(text) is None
    negated = re.findall(r'%"?([\w.]+)"? = fneg double .*\n.*call double @"llvm.fma.f64"\(.*double %"?\1"?\)', text)
    assert len(negated) == text.count('call double @"llvm.fma.f64"')


def test_no_function_of_the_c_library_is_called():
    declared = {
        line
        for name in rounded.NAMES
        for line in elementary.lowered(f"{name}_rounded", fused=False).splitlines()
        if line.startswith("declare")
    }
    assert {line.split("@")[1].split("(")[0].strip('"') for line in declared} == {
        "llvm.copysign.f64",
        "llvm.fabs.f64",
        "llvm.floor.f64",
        "llvm.sqrt.f64",
    }


# The language


def refused(x: float) -> float:
    return math.sin(x)


def changing(x: float) -> float:
    y = 1
    y = x
    return y + 1.0


@pytest.mark.parametrize(
    ("function", "message"), [(refused, r"not in the language: math\.sin\(x\)"), (changing, "y changes its type")]
)
def test_what_the_language_has_not_is_refused(function: object, message: str):
    with pytest.raises(LoweringError, match=message):
        Library(ir.Module(), fused=True).function(function)


# Wide numbers


def number(a: np.ndarray, n: int) -> gmpy2.mpq:
    return gmpy2.mpq(sum(int(a[j]) << (28 * j) for j in range(n + 1)), 1 << (28 * n))


@pytest.mark.parametrize("n", [7, 13, 25])
@pytest.mark.parametrize("x", [0.0, 0.001, 0.25, 0.6931, 0.999])
def test_wide_functions_are_off_by_no_more_than_they_say(x: float, n: int):
    a, b, c, d = (np.zeros(wide.LIMBS, np.int64) for _ in range(4))
    with gmpy2.context(precision=1500):
        unit = gmpy2.mpfr(2) ** (28 * n)
        wide.wide_double(a, n, x)
        wide.wide_exp(b, n, a)
        assert abs(number(b, n) - gmpy2.exp(gmpy2.mpfr(x))) * unit < 2**17
        wide.wide_turn(b, c, n, a)
        assert abs(number(b, n) - gmpy2.sin(gmpy2.mpfr(x))) * unit < 2**9
        assert abs(number(c, n) - gmpy2.cos(gmpy2.mpfr(x))) * unit < 2**9
        wide.wide_double(a, n, 1 + x)
        wide.wide_log(b, n, a)
        assert abs(number(b, n) - gmpy2.log(gmpy2.mpfr(1 + x))) * unit < 2**20
        wide.wide_double(d, n, x)
        wide.wide_angle(b, n, d, a)
        assert abs(number(b, n) - gmpy2.atan(gmpy2.mpfr(x) / gmpy2.mpfr(1 + x))) * unit < 2**14
        for order in (1, 2, 3):
            wide.wide_double(a, n, 1 + 7 * x)
            wide.wide_inverse_root(b, n, a, order)
            assert abs(number(b, n) - (1 / gmpy2.rootn(gmpy2.mpfr(1 + 7 * x), order))) * unit < 2**6
