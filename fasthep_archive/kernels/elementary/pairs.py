"""Numbers as unevaluated sums of two doubles, high + low, and the rounding test.

``u`` is 2**-53. The algorithms are Dekker's and Knuth's; the bounds here are simple ones, larger than those of Joldes,
Muller and Popescu, *Tight and rigorous error bounds for basic building blocks of double-word arithmetic* (ACM TOMS 44,
2017). They hold while nothing under- or overflows, and if the low part of each argument is below 2u of the high part.
"""

import math

from fasthep_archive.kernels.elementary.primitives import two_product


def two_sum(a: float, b: float) -> tuple[float, float]:
    """Return ``a + b`` rounded, and the rounding error, exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: float, b: float) -> tuple[float, float]:
    """Return ``a + b`` rounded, and the rounding error; exact if ``a`` is 0 or ``|a| >= |b|`` (Dekker)."""
    s = a + b
    return s, b - (s - a)


def pair_product(ah: float, al: float, bh: float, bl: float) -> tuple[float, float]:
    """Return the product; relative error below 2**-100.

    The neglected ``al * bl`` is below 4u², the two small products and two sums round by at most 10u² in all.
    """
    p, e = two_product(ah, bh)
    return fast_two_sum(p, e + (ah * bl + al * bh))


def pair_quotient(ah: float, al: float, bh: float, bl: float) -> tuple[float, float]:
    """Return the quotient; relative error below 2**-99.

    With q = ah / bh rounded, the rest ``a - q b`` is below 6u of a, is found up to 8u of itself, and so is what it is
    divided by: 6u * 10u in all.
    """
    q = ah / bh
    p, e = two_product(q, bh)
    r = ((ah - p) - e) + (al - q * bl)
    return fast_two_sum(q, r / bh)


def pair_root(ah: float, al: float) -> tuple[float, float]:
    """Return the square root; relative error below 2**-99.

    With s = sqrt(ah) rounded, one step of Newton leaves half the square of the relative error of s, which is below 2u,
    and the rest is rounded as in ``pair_quotient``.
    """
    s = math.sqrt(ah)
    p, e = two_product(s, s)
    r = ((ah - p) - e) + al
    return fast_two_sum(s, r / (s + s))


def settle(high: float, low: float, error: float) -> tuple[float, bool]:
    """Return high + low rounded to a double, and whether all numbers within ``error`` round to it (Ziv's test).

    ``high`` must be high + low rounded. Rounding is monotonic: if both ends of the interval give one double, all that
    lies between does. The ends are themselves rounded, by u of ``low`` at most, which is 2**-106 of ``high``: every
    error that is passed here has that much to spare. A NaN is never settled.
    Ziv, *Fast evaluation of elementary mathematical functions with correctly rounded last bit*, ACM TOMS 17, 1991.
    """
    below = high + (low - error)
    return below, below == high + (low + error)
