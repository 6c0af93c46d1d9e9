"""Quick phases of atan, atan2, asin, acos, hypot, cbrt and pow: the value rounded, and whether that is certain.

An angle of y and x, 0 <= y <= x, is atan c + atan v, c the multiple of 1/64 next to y / x, which a table has, and
v = (y - c x) / (x + c y), ``|v| < 2**-6.9`` (the addition theorem). ``u`` is 2**-53.
"""

import math

import numpy as np

from fasthep_archive.kernels.elementary.exponential import ROUNDER, ROUNDER_BITS, exp_pair, exp_reduce
from fasthep_archive.kernels.elementary.logarithm import log_reduce
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
    ANGLE_HIGH,
    ANGLE_LOW,
    HALF_PI_HIGH,
    HALF_PI_LOW,
    LOG_C1,
    LOG_C2,
    LOG_C3,
    LOG_HIGH,
    LOG_LOW,
    PI_HIGH,
    PI_LOW,
    THIRD_HIGH,
    THIRD_LOW,
)


def angle(yh: float, yl: float, xh: float, xl: float, steep: bool, behind: bool) -> tuple[float, float, float]:
    """Return the angle of (x, y), both pairs not negative (high, low), and a bound of its error, absolute.

    :param steep: x and y have been exchanged: the angle is pi/2 minus this one.
    :param behind: x was negative: the angle is pi minus this one.

    v is found with a relative error of 2**-99 as a pair (the numerator is exact but for low parts: c has 7 bits). What
    has v³ as a factor rounds by 4 u of v³/3, and the sums that it goes through by 4 u of that, below 3 u of v³ in all;
    the series is cut off at v**13 / 13, below 2**-19 u of v³. All else rounds by 2**-100 of the result, which is at
    least as large as each part.
    """
    t = (yh / xh) * 64.0 + ROUNDER
    j = (to_bits(t) - ROUNDER_BITS) & 127
    c = (t - ROUNDER) * 0.015625
    p, e = two_product(xh, c)
    nh, nl = two_sum(yh - p, (yl - e) - c * xl)
    p, e = two_product(yh, c)
    dh, dl = two_sum(xh, p)
    vh, vl = pair_quotient(nh, nl, dh, dl + ((e + xl) + c * yl))
    s = vh * vh
    cube = vh * s
    t = -1 / 3 + s * (1 / 5 + s * (-1 / 7 + s * (1 / 9 + s * (-1 / 11))))
    t = cube * t + (vl - s * vl)
    turned = steep != behind
    sign = -1.0 if turned else 1.0
    oh = HALF_PI_HIGH if steep else (PI_HIGH if behind else 0.0)
    ol = HALF_PI_LOW if steep else (PI_LOW if behind else 0.0)
    hi, a = two_sum(oh, sign * ANGLE_HIGH[j])
    hi, b = two_sum(hi, sign * vh)
    hi, lo = fast_two_sum(hi, (a + b) + ((ol + sign * ANGLE_LOW[j]) + sign * t))
    return hi, lo, abs(cube) * 2**-51 + hi * 2**-94


def atan2_quick(y: float, x: float) -> tuple[float, bool]:
    """Return the angle of (x, y)."""
    ax = abs(x)
    ay = abs(y)
    steep = ay > ax
    large = ay if steep else ax
    small = ax if steep else ay
    inside = (large < 2.0**450) & (small > 2.0**-450)
    hi, lo, e = angle(small if inside else 1.0, 0.0, large if inside else 1.0, 0.0, steep, x < 0.0)
    value, settled = settle(hi, lo, e)
    return math.copysign(value, y), settled & inside


def atan_quick(x: float) -> tuple[float, bool]:
    """Return the angle of (1, x)."""
    a = abs(x)
    inside = (a < 2.0**450) & (a > 2.0**-450)
    steep = a > 1.0
    small = 1.0 if steep else a
    large = a if steep else 1.0
    hi, lo, e = angle(small if inside else 1.0, 0.0, large if inside else 1.0, 0.0, steep, False)
    value, settled = settle(hi, lo, e)
    return math.copysign(value if inside else x, x), (settled & inside) | (a <= 2.0**-450)


def cosine_of(a: float) -> tuple[float, float]:
    """Return sqrt(1 - a²) (high, low) for 0 <= a < 1, relative error below 2**-98; 1 - a and 1 + a are kept whole."""
    ph, pl = two_sum(1.0, -a)
    qh, ql = two_sum(1.0, a)
    ph, pl = pair_product(ph, pl, qh, ql)
    return pair_root(ph, pl)


def asin_quick(x: float) -> tuple[float, bool]:
    """Return the angle of (sqrt(1 - x²), x). An error of the root weighs at most once."""
    a = abs(x)
    inside = a < 1.0
    tiny = a < 2.0**-450
    a = 0.5 if tiny | (not inside) else a
    ch, cl = cosine_of(a)
    steep = a > ch
    hi, lo, e = angle(ch if steep else a, cl if steep else 0.0, a if steep else ch, 0.0 if steep else cl, steep, False)
    value, settled = settle(hi, lo, e)
    return math.copysign(abs(x) if tiny else value, x), (settled | tiny) & inside


def acos_quick(x: float) -> tuple[float, bool]:
    """Return the angle of (x, sqrt(1 - x²))."""
    a = abs(x)
    inside = (a < 1.0) & (a > 2.0**-450)
    a = a if inside else 0.5
    ch, cl = cosine_of(a)
    steep = ch > a
    hi, lo, e = angle(
        a if steep else ch, 0.0 if steep else cl, ch if steep else a, cl if steep else 0.0, steep, x < 0.0
    )
    value, settled = settle(hi, lo, e)
    return value, settled & inside


def hypot_quick(x: float, y: float) -> tuple[float, bool]:
    """Return sqrt(x² + y²): squares whole, one sum of pairs, one root; relative error below 2**-98."""
    a = abs(x)
    b = abs(y)
    large = a if a > b else b
    small = b if a > b else a
    inside = (large < 2.0**450) & (small > 2.0**-450)
    large = large if inside else 1.0
    small = small if inside else 1.0
    ph, pl = two_product(large, large)
    qh, ql = two_product(small, small)
    hi, e = fast_two_sum(ph, qh)
    hi, lo = fast_two_sum(hi, e + (pl + ql))
    hi, lo = pair_root(hi, lo)
    value, settled = settle(hi, lo, hi * 2**-97)
    return value, settled & inside


def cbrt_start(a: float) -> float:
    """Return the cube root of ``2**-300 < a < 2**300``, relative error below 2**-40.

    A third of the exponent gives 5 bits, and each of two steps of Halley's method three times as many.
    """
    y = from_bits(to_bits(a) // 3 + 0x2A9F7893782DA1CE)
    for _ in range(3):
        cube = y * y * y
        y = y * (cube + (a + a)) / ((cube + cube) + a)
    return y


def cbrt_quick(x: float) -> tuple[float, bool]:
    """Return the cube root: one step of Newton from ``cbrt_start``, whose rest x - y³ is found as a pair.

    The step leaves the square of the relative error, 2**-80, and rounds by 2**-90.
    """
    a = abs(x)
    inside = (a < 2.0**300) & (a > 2.0**-300)
    a = a if inside else 1.0
    y = cbrt_start(a)
    ph, pl = two_product(y, y)
    qh, ql = two_product(ph, y)
    rest = (a - qh) - (ql + pl * y)
    hi, lo = fast_two_sum(y, rest / (3.0 * ph))
    value, settled = settle(hi, lo, hi * 2**-78)
    return math.copysign(value, x), settled & inside


def log_precise(x: float) -> tuple[float, float, float]:
    """Return log x (high, low) of a positive normal x, and a bound of its error, absolute.

    As ``log_sum``, but r²/2 and r³/3 are pairs. What has r**4 as a factor rounds by 1.2 u of r**4, the sums by 1 u of
    it, and the series is cut off at r**10 / 10, 2**-51.3 of r**4 = 3.3 u: below 6 u in all. The low parts of ln2 round
    by 2**-92 of the result, as there.
    """
    k, i, rh, rl = log_reduce(x, 0.0)
    sh, f = two_product(rh, rh)
    sl = f + 2.0 * rh * rl
    ch, cl = pair_product(sh, sl, rh, rl)
    ch, cl = pair_product(ch, cl, THIRD_HIGH, THIRD_LOW)
    t = 1 / 5 + rh * (-1 / 6 + rh * (1 / 7 + rh * (-1 / 8 + rh * (1 / 9))))
    t = sh * sh * (-1 / 4 + rh * t)
    n = float(k)
    a, b = two_sum(n * LOG_C1, LOG_HIGH[i])
    p, q = two_sum(n * LOG_C2, LOG_LOW[i])
    b, c = two_sum(b, p)
    hi, d = two_sum(a, rh)
    hi, e = two_sum(hi, -0.5 * sh)
    hi, g = two_sum(hi, ch)
    lo = ((t + cl) + (rl - 0.5 * sl)) + ((q + c) + n * LOG_C3)
    hi, lo = fast_two_sum(hi, (((d + e) + g) + b) + lo)
    return hi, lo, sh * sh * 2**-50 + abs(hi) * 2**-91


def pow_quick(x: float, y: float) -> tuple[float, bool]:
    """Return x**y = e**(y log|x|), negative for a negative x and an odd y.

    An error of log x weighs y times, absolute, and becomes one of the result, relative; the rest is ``exp_pair``'s.
    """
    a = abs(x)
    half = np.floor(y * 0.5)
    odd = (y - 2.0 * half) == 1.0
    whole = odd | (y == 2.0 * half)
    inside = (a >= 2.2250738585072014e-308) & (a <= 1.7976931348623157e308) & ((x > 0.0) | whole)
    hi, lo, e = log_precise(a if inside else 1.0)
    p = y * hi
    inside = inside & (abs(p) < 706.0) & (abs(y) < 2.0**300)
    y = y if inside else 0.0
    ph, pl = two_product(y, hi)
    ph, pl = fast_two_sum(ph, pl + y * lo)
    k, rh, rl = exp_reduce(ph, pl)
    hi, lo, q = exp_pair(k, rh, rl)
    value, settled = settle(hi, lo, hi * (2**-69 + abs(y) * e * 1.01))
    value = value * from_bits((q + 1023) << 52)
    return (-value if (x < 0.0) & odd else value), settled & inside
