"""Write fasthep_archive/kernels/golden.json: what MPFR, fractions and bisection say of the self-test's arguments.

    pip install gmpy2
    nice python tools/make_golden.py

Nothing of fasthep_archive computes an answer. MPFR rounds correctly (Fousse et al., ACM TOMS 33, 2007), so that any
version of it gives the same bytes; a test does it again.
"""

from __future__ import annotations

import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import gmpy2
import numpy as np

from fasthep_archive.kernels import golden
from fasthep_archive.kernels.golden import Columns, Family

IEEE = gmpy2.context(precision=53, emin=-1073, emax=1024, subnormalize=True, round=gmpy2.RoundToNearest)
"""Doubles, with what rounding them means near the smallest and the largest."""

FINE = gmpy2.context(precision=200, emin=-10_000_000, emax=10_000_000)
SEARCHED, HARDEST = 2048, 40
"""Of so many arguments of each function, those are kept whose results are closest to half-way."""

ONE = 0x3FF0000000000000
ANY = Family("bits")
SMALL, MIDDLE, LARGE = Family("scale", -60, 0), Family("scale", -8, 8), Family("scale", 8, 1024)

FAMILIES: dict[str, tuple[tuple[Family, ...], ...]] = {
    **dict.fromkeys(
        ("exp", "exp2", "expm1", "sinh", "cosh", "tanh"),
        ((ANY,), (Family("scale", -56, -4),), (Family("scale", -4, 4),), (Family("scale", 4, 11),)),
    ),
    **dict.fromkeys(
        ("log", "log2", "log10"),
        ((Family("positive", -1022, 1024),), (Family("near", ONE, 50),), (Family("positive", -3, 4),), (ANY,)),
    ),
    "log1p": ((Family("scale", -60, 0),), (Family("positive", 0, 1024),), (Family("scale", -8, 0),), (ANY,)),
    **dict.fromkeys(("sin", "cos", "tan"), ((SMALL,), (MIDDLE,), (Family("scale", 8, 40),), (LARGE,))),
    **dict.fromkeys(
        ("asin", "acos", "atanh"), ((SMALL,), (Family("scale", -3, 0),), (Family("near", ONE, 51),), (ANY,))
    ),
    **dict.fromkeys(("atan", "asinh", "cbrt"), ((SMALL,), (MIDDLE,), (LARGE,), (ANY,))),
    "acosh": (
        (Family("near", ONE, 51),),
        (Family("positive", 0, 8),),
        (Family("positive", 8, 1024),),
        (Family("positive", 0, 1),),
    ),
    **dict.fromkeys(
        ("atan2", "hypot"),
        (
            (MIDDLE, MIDDLE),
            (ANY, ANY),
            (Family("scale", -30, 30), Family("scale", -30, 30)),
            (Family("whole", 0, 27), Family("whole", 0, 27)),
        ),
    ),
    "pow": (
        (Family("positive", -8, 8), Family("scale", -4, 5)),
        (Family("near", ONE, 50), Family("scale", 0, 50)),
        (Family("scale", -3, 3), Family("whole", 0, 5)),
        (ANY, ANY),
    ),
}

SPECIAL = [0.0, 5e-324, 2.0**-1022, 2.0**-1023, 2.0**-60, 0.5, 1.0, 1.5, 2.0, 3.0, 2.0**53, 1e300, math.inf]
"""Beside them, the same with the other sign, NaN, and the largest double."""


def real(name: str) -> Callable[..., gmpy2.mpfr]:
    """Return the real function, rounded as the context says."""
    return (lambda x, y: x**y) if name == "pow" else getattr(gmpy2, name)


def answers(name: str, columns: Columns) -> np.ndarray:
    """Return the doubles nearest to the results."""
    function = real(name)
    with gmpy2.context(IEEE):
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return np.array([float(function(*map(gmpy2.mpfr, row))) for row in rows])


def closeness(name: str, row: Sequence[float]) -> float:
    """Return how far a result is from half-way between two doubles, in units of its last place; 1 if it has none."""
    with gmpy2.context(FINE):
        result = real(name)(*map(gmpy2.mpfr, row))
        if not gmpy2.is_finite(result) or result == 0 or not -1022 < gmpy2.get_exp(result) <= 1024:
            return 1.0
        scaled = abs(result) * gmpy2.mpfr(2) ** (53 - gmpy2.get_exp(result))
        return float(abs(scaled - gmpy2.floor(scaled) - 0.5))


def hardest(name: str, seed: int) -> list[tuple[float, ...]]:
    """Return arguments whose results are almost half-way: where the quick phase can't tell."""
    rows = itertools.chain.from_iterable(
        zip(*(c.tolist() for c in golden_columns(families, seed + 50, SEARCHED)), strict=True)
        for families in FAMILIES[name]
    )
    return sorted(rows, key=lambda row: closeness(name, row))[:HARDEST]


def golden_columns(families: Sequence[Family], seed: int, size: int) -> Columns:
    """Return other arguments of the same kinds."""
    return tuple(family.doubles(seed + place, size) for place, family in enumerate(families))


def special(name: str) -> list[tuple[float, ...]]:
    """Return special values, and all pairs of a few."""
    values = [sign * value for value in SPECIAL for sign in (1.0, -1.0)] + [math.nan, 1.7976931348623157e308]
    if len(FAMILIES[name][0]) == 2:
        few = [v for v in values if abs(v) in (0.0, 5e-324, 0.5, 1.0, 3.0, math.inf) or v != v]  # noqa: PLR0124
        return list(itertools.product(few, few))
    return [(value,) for value in values]


def constructed(name: str) -> Iterator[tuple[float, ...]]:
    """Yield arguments that are known to be hard: exact and half-way results, tiny ones, multiples of pi/2."""
    if name == "hypot":
        yield from [(3.0, 4.0), (5e-324, 5e-324), (1e308, 1e308), (2.0**53 - 1, 1.0), (134217727.0, 16383.5)]
    elif name == "atan2":
        yield from [(1.0, 1.0), (5e-324, 2.0), (5e-324, 1e308), (2.0**-1022, 3.0), (-1.0, 1e300)]
    elif name == "pow":  # squares of 27 bits are half-way between doubles of 53
        yield from [(float(2**27 - 1 - 2 * k), 2.0) for k in range(8)]
        yield from [(9.0, 0.5), (8.0, 1 / 3), (-8.0, 1 / 3), (2.0, -1074.0), (2.0, -1075.0), (10.0, 22.0), (3.0, 34.0)]
    elif name == "cbrt":
        yield from [(float(k**3),) for k in (3, 5, 7, 1001, 208063)]
    elif name in ("sin", "cos", "tan"):
        worst = float(6381956970095103 * 2**797)  # 6e-19 from a multiple of pi/2 (Muller et al., 2nd ed., table 11.1)
        yield from [(worst,), (-worst,), (math.nextafter(worst, 0.0),), *((k * math.pi / 2,) for k in range(1, 9))]
    elif name in ("exp2", "log2"):
        yield from [(2.0**k,) for k in (-1074, -1030, -3, 1, 9, 1023)] + [(-1074.5,), (-1075.0,), (1023.5,)]
    elif name == "log10":
        yield from [(10.0**k,) for k in range(1, 23)]
    if len(FAMILIES[name][0]) == 1:
        yield from [
            (sign * math.nextafter(2.0**-k, d),) for k in range(20, 56, 5) for sign in (1, -1) for d in (0.0, 1.0)
        ]


def function(name: str, seed: int) -> dict[str, object]:
    """Return the entry of a function."""
    families = []
    for place, columns in enumerate(FAMILIES[name]):
        found = golden.bits(answers(name, golden.columns_of(columns, seed + 10 * place)))
        families.append(
            {
                "columns": [[family.kind, family.low, family.high] for family in columns],
                "seed": seed + 10 * place,
                "low": golden.packed(found.astype(np.uint8)),
                "sha256": golden.hashed(found),
            }
        )
    rows = [*special(name), *constructed(name), *hardest(name, seed)]
    chosen = tuple(np.array(column) for column in zip(*rows, strict=True))
    return {
        "families": families,
        "chosen": {
            "arguments": golden.packed(np.concatenate([column.view(np.int64) for column in chosen])),
            "answers": golden.packed(golden.bits(answers(name, chosen))),
        },
    }


def handful() -> dict[str, str]:
    """Return a few arguments in the range of analyses, none of them hard, and what three functions give."""
    x, y = np.abs(MIDDLE.doubles(90, 60)), MIDDLE.doubles(91, 60)
    rows = [
        (a, b)
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
        if min(closeness("exp", (a,)), closeness("hypot", (a, b)), closeness("atan2", (b, a))) > 2**-6
    ][:16]
    x, y = (np.array(column) for column in zip(*rows, strict=True))
    found = np.concatenate([answers("exp", (x,)), answers("hypot", (x, y)), answers("atan2", (y, x))])
    return {
        "x": golden.packed(x.view(np.int64)),
        "y": golden.packed(y.view(np.int64)),
        "answers": golden.packed(golden.bits(found)),
    }


def total(terms: Sequence[float]) -> float:
    """Return the exact sum, rounded once."""
    if any(map(math.isnan, terms)) or {math.inf, -math.inf} <= set(terms):
        return math.nan
    if not all(map(math.isfinite, terms)):
        return math.inf if math.inf in terms else -math.inf
    exact = sum(map(Fraction, terms), Fraction(0))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def sums() -> dict[str, str]:
    """Return what is known of the fills."""
    cells, weights = golden.fills()
    lists = [weights[cells == cell].tolist() for cell in range(int(cells.max()) + 1)]
    squares = [answers("pow", (np.array(values), np.full(len(values), 2.0))).tolist() for values in lists]
    return {
        "counts": golden.packed(np.array([len(values) for values in lists], np.int64)),
        "sumw": golden.packed(golden.bits(np.array([total(values) for values in lists]))),
        "sumw2": golden.packed(golden.bits(np.array([total(values) for values in squares]))),
    }


def bins() -> list[tuple[str, str]]:
    """Return the digests of edges and places of each axis."""
    regular = [
        [float(Fraction(low) + k * (Fraction(high) - Fraction(low)) / count) for k in range(count + 1)]
        for count, low, high in golden.REGULAR
    ]
    found = []
    for edges in (*regular, *map(list, golden.VARIABLE)):
        values = golden.binned(np.array(edges)).tolist()
        places = [len(edges) if math.isnan(value) else bisect_right(edges, value) for value in values]
        found.append((golden.hashed(golden.bits(np.array(edges))), golden.hashed(np.array(places, np.int64))))
    return found


def made() -> str:
    """Return the text of the file."""
    entries = {name: function(name, 1000 + 100 * place) for place, name in enumerate(FAMILIES)}
    everything = {"bins": bins(), "functions": entries, "handful": handful(), "sums": sums()}
    return json.dumps(everything, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    golden.FILE.write_text(made())
