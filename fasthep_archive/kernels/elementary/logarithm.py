"""Quick phases of log, log2, log10, log1p, asinh, acosh and atanh: the value rounded, and whether that is certain.

The argument is 2**k z with 0.7 < z < 1.42, and c is a number of 11 bits near 1/z: log x = k ln2 - log c + log(1 + r)
with r = z c - 1, ``|r| < 2**-8`` (Tang, *Table-driven implementation of the logarithm function*, ACM TOMS 16, 1990).
Next to z = 1 on both sides c is 1, so that nothing cancels there. ln2 has three parts of 41, 41 and 53 bits; k times
each of the first two is exact. ``u`` is 2**-53.
"""

import math

from fasthep_archive.kernels.elementary.pairs import (
    fast_two_sum,
    pair_product,
    pair_quotient,
    pair_root,
    settle,
    two_sum,
)
from fasthep_archive.kernels.elementary.primitives import from_bits, to_bits, two_product
from fasthep_archive.kernels.elementary.tables import (
    LOG2_E_HIGH,
    LOG2_E_LOW,
    LOG10_E_HIGH,
    LOG10_E_LOW,
    LOG_C1,
    LOG_C2,
    LOG_C3,
    LOG_HIGH,
    LOG_INVERSE,
    LOG_LOW,
    LOG_OFFSET,
)


def log_reduce(xh: float, xl: float) -> tuple[int, int, float, float]:
    """Return k, the place in the tables, and r (high, low), of a positive normal ``xh + xl``.

    z c has 64 bits and is kept whole, and z c - 1 is exact (Sterbenz): only xl c and the sum of low parts round.
    """
    word = to_bits(xh)
    t = word - LOG_OFFSET
    k = t >> 52
    i = (t >> 44) & 255
    z = from_bits(word - (k << 52))
    c = LOG_INVERSE[i]
    p, e = two_product(z, c)
    rh, rl = two_sum(p - 1.0, e + (xl * 0.5) * from_bits((1024 - k) << 52) * c)
    return k, i, rh, rl


def log_sum(k: int, i: int, rh: float, rl: float) -> tuple[float, float, float]:
    """Return k ln2 - log c + log(1 + r) (high, low) and a bound of its error, absolute.

    log(1 + r) = r - r²/2 + r³ (1/3 - ... ) up to r**9. r² is kept with its error. What has r³ as a factor rounds by
    4 u of r³/3, and the sums that it goes through by 3 u of that; the series is cut off at r**10 / 10, 2**-6.3 u of r³:
    below 4 u of r³ in all. The other low parts are below 2**-41.6 k, or 2**-52 of the result where k is 0; four sums
    of them round by 2**-92.6 k, and the result is above 0.34 k: by 2**-91 of it.
    """
    s, f = two_product(rh, rh)
    cube = rh * s
    t = 1 / 5 + rh * (-1 / 6 + rh * (1 / 7 + rh * (-1 / 8 + rh * (1 / 9))))
    t = cube * (1 / 3 + rh * (-1 / 4 + rh * t))
    n = float(k)
    a, b = two_sum(n * LOG_C1, LOG_HIGH[i])
    b = b + (n * LOG_C2 + (LOG_LOW[i] + n * LOG_C3))
    hi, d = two_sum(a, rh)
    hi, e = two_sum(hi, -0.5 * s)
    hi, lo = fast_two_sum(hi, ((t + ((rl - rh * rl) - 0.5 * f)) + d) + (e + b))
    return hi, lo, abs(cube) * 2**-51 + abs(hi) * 2**-90


def log1p_pair(th: float, tl: float) -> tuple[float, float, float]:
    """Return log(1 + t) (high, low) and a bound of its absolute error, for ``t > -1`` with a relative error of 2**-98.

    Where c is 1 for certain, r is t itself. Elsewhere 1 + t is rounded by 2**-106 of itself, which is 2**-97 of the
    result. An error of t weighs at most once relative to the result for t > 0, and for t < 0 there is none.
    """
    sh, sl = two_sum(1.0, th)
    k, i, rh, rl = log_reduce(sh, sl + tl)
    small = abs(th) < 2**-9
    return log_sum(k, i, th if small else rh, tl if small else rl)


def log_quick(x: float) -> tuple[float, bool]:
    """Return log x."""
    inside = (x >= 2.2250738585072014e-308) & (x <= 1.7976931348623157e308)
    k, i, rh, rl = log_reduce(x if inside else 1.0, 0.0)
    hi, lo, e = log_sum(k, i, rh, rl)
    value, settled = settle(hi, lo, e)
    return value, settled & inside


def log2_quick(x: float) -> tuple[float, bool]:
    """Return log2 x = log x / ln 2."""
    inside = (x >= 2.2250738585072014e-308) & (x <= 1.7976931348623157e308)
    k, i, rh, rl = log_reduce(x if inside else 1.0, 0.0)
    hi, lo, e = log_sum(k, i, rh, rl)
    hi, lo = pair_product(hi, lo, LOG2_E_HIGH, LOG2_E_LOW)
    value, settled = settle(hi, lo, e * 1.5)
    return value, settled & inside


def log10_quick(x: float) -> tuple[float, bool]:
    """Return log10 x = log x / ln 10."""
    inside = (x >= 2.2250738585072014e-308) & (x <= 1.7976931348623157e308)
    k, i, rh, rl = log_reduce(x if inside else 1.0, 0.0)
    hi, lo, e = log_sum(k, i, rh, rl)
    hi, lo = pair_product(hi, lo, LOG10_E_HIGH, LOG10_E_LOW)
    value, settled = settle(hi, lo, e * 0.5)
    return value, settled & inside


def log1p_quick(x: float) -> tuple[float, bool]:
    """Return log(1 + x); of tiny x every step gives x."""
    inside = (x > -1.0) & (x < 2.0**1000)
    hi, lo, e = log1p_pair(x if inside else 0.0, 0.0)
    value, settled = settle(hi, lo, e)
    return (value if abs(x) > 2**-1000 else x), settled & inside


def asinh_quick(x: float) -> tuple[float, bool]:
    """Return asinh x = log(1 + t), t = |x| + x² / (1 + sqrt(1 + x²)); t has a relative error below 2**-98."""
    a = abs(x)
    inside = a < 2.0**450
    a = a if inside else 0.0
    ph, pl = two_product(a, a)
    sh, e = two_sum(1.0, ph)
    sh, sl = fast_two_sum(sh, e + pl)
    sh, sl = pair_root(sh, sl)
    dh, e = two_sum(1.0, sh)
    qh, ql = pair_quotient(ph, pl, dh, e + sl)
    th, e = two_sum(a, qh)
    th, tl = fast_two_sum(th, e + ql)
    hi, lo, e = log1p_pair(th, tl)
    value, settled = settle(hi, lo, e)
    value = value if a > 2**-400 else a
    return math.copysign(value, x), settled & inside


def acosh_quick(x: float) -> tuple[float, bool]:
    """Return acosh x = log(1 + t), t = (x - 1) + sqrt(x² - 1), x > 1; t has a relative error below 2**-98.

    Near 1 the product p = x² rounded is below 2 and p - 1 exact: nothing is lost.
    """
    inside = (x > 1.0) & (x < 2.0**450)
    x = x if inside else 2.0
    p, e = two_product(x, x)
    sh, f = two_sum(p, -1.0)
    sh, sl = two_sum(sh, e + f)
    sh, sl = pair_root(sh, sl)
    dh, dl = two_sum(x, -1.0)
    th, e = two_sum(dh, sh)
    th, tl = fast_two_sum(th, e + (dl + sl))
    hi, lo, e = log1p_pair(th, tl)
    value, settled = settle(hi, lo, e)
    return value, settled & inside


def atanh_quick(x: float) -> tuple[float, bool]:
    """Return atanh x = log(1 + t) / 2, t = 2|x| / (1 - |x|); 1 - |x| is kept whole."""
    a = abs(x)
    inside = a < 1.0
    a = a if inside else 0.0
    dh, dl = two_sum(1.0, -a)
    th, tl = pair_quotient(2.0 * a, 0.0, dh, dl)
    hi, lo, e = log1p_pair(th, tl)
    value, settled = settle(0.5 * hi, 0.5 * lo, 0.5 * e)
    value = value if a > 2**-1000 else a
    return math.copysign(value, x), settled & inside
