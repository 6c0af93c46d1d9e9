"""Quick phases of exp, exp2, expm1, sinh, cosh and tanh: the value rounded, and whether that is certain.

The argument is k ln2/256 + r with ``|r| < 2**-9.5``, and e**x = 2**q T[j] e**r with k = 256 q + j (Tang,
*Table-driven implementation of the exponential function in IEEE floating-point arithmetic*, ACM TOMS 15, 1989).
ln2/256 has three parts; k times each of the first two is exact. ``u`` is 2**-53.
"""

import math

from fasthep_archive.kernels.elementary.pairs import fast_two_sum, pair_quotient, settle, two_sum
from fasthep_archive.kernels.elementary.primitives import from_bits, to_bits, two_product
from fasthep_archive.kernels.elementary.tables import (
    EXP_C1,
    EXP_C2,
    EXP_C3,
    EXP_HIGH,
    EXP_LOW,
    EXP_SCALE,
    LN2_HIGH,
    LN2_LOW,
)

ROUNDER = 6755399441055744.0
"""1.5 * 2**52: what is added to it is rounded to an integer, which the low bits of the sum are."""
ROUNDER_BITS = 4843621399236968448


def exp_reduce(xh: float, xl: float) -> tuple[int, float, float]:
    """Return k and r (high, low) of ``|xh + xl| < 746``, ``|xl| < 2**-43``; error of r below 2**-110.

    xh - k C1 is exact (Sterbenz), k C2 too, and their difference is kept with its error. What is rounded is below
    2**-43 and only where xl is that large, else below 2**-57: by 2**-96 for a given xl, else by 2**-110.
    """
    t = xh * EXP_SCALE + ROUNDER
    k = t - ROUNDER
    rh, rl = two_sum(xh - k * EXP_C1, -(k * EXP_C2))
    rh, rl = fast_two_sum(rh, (rl - k * EXP_C3) + xl)
    return to_bits(t) - ROUNDER_BITS, rh, rl


def exp_pair(k: int, rh: float, rl: float) -> tuple[float, float, int]:
    """Return e**(xh + xl) = 2**q (high + low) and q; 0.99 < high < 2.01, relative error below 2**-69.5.

    e**r - 1 - r is a polynomial p of degree 6, below 2**-20. In units of 2**-73, relative to T: it is cut off (0.02),
    its four last operations round (2.9), r's low part is not in it (2); its product with T and the sums that it goes
    through round (5): 9.9 or 2**-69.7. T and the reduction add below 2**-95.
    """
    j = k & 255
    p = rh * rh * (0.5 + rh * (1 / 6 + rh * (1 / 24 + rh * (1 / 120 + rh * (1 / 720)))))
    th = EXP_HIGH[j]
    tl = EXP_LOW[j]
    m, e = two_product(th, rh)
    hi, lo = fast_two_sum(th, m)
    hi, lo = fast_two_sum(hi, lo + (e + (tl + (th * (p + rl) + tl * rh))))
    return hi, lo, (k - j) >> 8


def expm1_pair(k: int, rh: float, rl: float) -> tuple[float, float]:
    """Return e**(xh + xl) - 1 (high, low); relative error below 2**-69.5. For ``-1000 < q < 1000``.

    The square of r is kept with its error, so that e**r - 1 has a small relative error. In units of 2**-75 of it: the
    polynomial of degree 7 is cut off (2**-82), its terms from r**3/6 round (5.3), the sums and products that they go
    through round (6). T 2**q - 1 is 0, or so large that the sum is at least as large as either part. 11.3 is 2**-71.5.
    """
    j = k & 255
    scale = from_bits((((k - j) >> 8) + 1023) << 52)
    s, f = two_product(rh, rh)
    p = rh * s * (1 / 6 + rh * (1 / 24 + rh * (1 / 120 + rh * (1 / 720 + rh * (1 / 5040)))))
    mh, ml = fast_two_sum(rh, 0.5 * s)
    ml = ml + (p + ((rl + rh * rl) + 0.5 * f))
    th = EXP_HIGH[j] * scale
    tl = EXP_LOW[j] * scale
    hi, e = two_product(th, mh)
    e = e + (th * ml + tl * mh)
    a, b = two_sum(th, -1.0)
    hi, lo = two_sum(a, hi)
    return fast_two_sum(hi, lo + (e + (b + tl)))


def exp_quick(x: float) -> tuple[float, bool]:
    """Return e**x; not certain where it may be below 2**-1020, or overflow."""
    inside = abs(x) < 706.0
    k, rh, rl = exp_reduce(x if inside else 0.0, 0.0)
    hi, lo, q = exp_pair(k, rh, rl)
    value, settled = settle(hi, lo, hi * 2**-69)
    return value * from_bits((q + 1023) << 52), settled & inside


def exp2_quick(x: float) -> tuple[float, bool]:
    """Return 2**x. x = k/256 + d exactly, and r = d ln2 has a relative error below 2**-100."""
    inside = abs(x) < 1020.0
    x = x if inside else 0.0
    t = x * 256.0 + ROUNDER
    d = x - (t - ROUNDER) * 0.00390625
    rh, rl = two_product(d, LN2_HIGH)
    hi, lo, q = exp_pair(to_bits(t) - ROUNDER_BITS, rh, rl + d * LN2_LOW)
    value, settled = settle(hi, lo, hi * 2**-69)
    return value * from_bits((q + 1023) << 52), settled & inside


def expm1_quick(x: float) -> tuple[float, bool]:
    """Return e**x - 1; subnormal and zero x are their own value, as every step then gives x."""
    inside = abs(x) < 690.0
    k, rh, rl = exp_reduce(x if inside else 0.0, 0.0)
    hi, lo = expm1_pair(k, rh, rl)
    value, settled = settle(hi, lo, abs(hi) * 2**-69)
    return (value if abs(x) > 0.0 else x), settled & inside


def cosh_quick(x: float) -> tuple[float, bool]:
    """Return cosh x = (e**x + e**-x) / 2; both terms have the relative error of ``exp_pair``."""
    inside = abs(x) < 706.0
    a = abs(x) if inside else 0.0
    k, rh, rl = exp_reduce(a, 0.0)
    hi, lo, q = exp_pair(k, rh, rl)
    g, f, p = exp_pair(-k, -rh, -rl)
    shift = p - q
    scale = from_bits(((shift if shift > -1000 else -1000) + 1023) << 52)
    hi, e = fast_two_sum(hi, g * scale)
    hi, lo = fast_two_sum(hi, (lo + f * scale) + e)
    value, settled = settle(hi, lo, hi * 2**-69)
    return value * from_bits((q + 1022) << 52), settled & inside


def sinh_quick(x: float) -> tuple[float, bool]:
    """Return sinh x = (m + m / (1 + m)) / 2 with m = e**|x| - 1.

    Nothing cancels: an error of m weighs at most twice relative to the result, and at most once where m is large.
    """
    a = abs(x)
    inside = a < 690.0
    k, rh, rl = exp_reduce(a if inside else 0.0, 0.0)
    mh, ml = expm1_pair(k, rh, rl)
    dh, dl = two_sum(1.0, mh)
    hi, lo = pair_quotient(mh, ml, dh, dl + ml)
    hi, e = two_sum(mh, hi)
    hi, lo = fast_two_sum(hi, e + (ml + lo))
    value, settled = settle(0.5 * hi, 0.5 * lo, hi * 2**-69)
    value = value if a > 2**-1000 else a
    return math.copysign(value, x), settled & inside


def tanh_quick(x: float) -> tuple[float, bool]:
    """Return tanh x = m / (m + 2) with m = e**(2|x|) - 1; from 20 on it is within 2**-56 of 1 and rounds to 1.

    An error of m weighs at most once.
    """
    a = abs(x)
    k, rh, rl = exp_reduce(2.0 * a if a < 20.0 else 40.0, 0.0)
    mh, ml = expm1_pair(k, rh, rl)
    dh, dl = two_sum(mh, 2.0)
    hi, lo = pair_quotient(mh, ml, dh, dl + ml)
    value, settled = settle(hi, lo, hi * 2**-69)
    value = value if a > 2**-1000 else a
    return math.copysign(value, x), settled & (a == a)  # noqa: PLR0124 - only a NaN differs from itself
