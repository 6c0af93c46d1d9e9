"""Quick phases of sin, cos and tan below 2**16: the value rounded, and whether that is certain.

The argument is k pi/128 + r with ``|r| < 2**-6.3``; sine and cosine of k pi/128 come from a table, those of r from
Taylor series, and what is asked for from the addition theorems. pi/128 has four parts, the first three of 30 bits: k
times each of those is exact (Cody and Waite). Larger arguments are left to the accurate phase. ``u`` is 2**-53.
"""

from fasthep_archive.kernels.elementary.exponential import ROUNDER, ROUNDER_BITS
from fasthep_archive.kernels.elementary.pairs import fast_two_sum, pair_quotient, settle, two_sum
from fasthep_archive.kernels.elementary.primitives import to_bits, two_product
from fasthep_archive.kernels.elementary.tables import (
    SINE_HIGH,
    SINE_LOW,
    TURN_C1,
    TURN_C2,
    TURN_C3,
    TURN_C4,
    TURN_SCALE,
)

LARGEST_ANGLE = 65536.0


def turn_reduce(x: float) -> tuple[int, float, float, float]:
    """Return k modulo 256, r (high, low) of ``|x| < 2**16``, and a bound of r's error, absolute.

    k < 2**21.4. k C3 < 2**-45 and what it is added to round by 2**-98 in all, and the parts add up to pi/128 within
    2**-151: below 2**-117 for each of k. There is no error where k is 0.
    """
    t = x * TURN_SCALE + ROUNDER
    k = t - ROUNDER
    hi, lo = two_sum(x - k * TURN_C1, -(k * TURN_C2))
    hi, lo = fast_two_sum(hi, (lo - k * TURN_C3) - k * TURN_C4)
    return (to_bits(t) - ROUNDER_BITS) & 255, hi, lo, abs(k) * 2**-117


def turn_series(rh: float, rl: float) -> tuple[float, float, float, float]:
    """Return sin r - rh, cos r - 1 (high, low), and ``rh**3``, on which their errors depend.

    sin r - rh rounds by 1 u of rh**3: the cube by 2 u and the product with it by 2 u of a sixth, and so do two sums by
    1 u; it is cut off at r**11 / 11!, 2**-75 of r**3. The high part of cos r - 1 is half the rounded square of rh,
    whose error is in the low part; that rounds by less than u of r**4.
    """
    s, f = two_product(rh, rh)
    cube = rh * s
    sine = cube * (-1 / 6 + s * (1 / 120 + s * (-1 / 5040 + s * (1 / 362880))))
    sine = rl + (sine - 0.5 * s * rl)
    cosine = s * s * (1 / 24 + s * (-1 / 720 + s * (1 / 40320 + s * (-1 / 3628800))))
    return sine, -0.5 * s, cosine - (0.5 * f + rh * rl), cube


def turn_sum(k: int, rh: float, sine: float, ch: float, cl: float) -> tuple[float, float]:
    """Return sin(k pi/128 + r) (high, low): S + C rh + S ch, products whole, and the rest.

    The rest is below 2**-21.5 and rounds by less than 2 u of rh**3, or 2**-104. What is left out is the low part of C
    times that of sin r, below u / 10 of rh**3.
    """
    s = SINE_HIGH[k]
    c = SINE_HIGH[(k + 64) & 255]
    p, e = two_product(c, rh)
    m, f = two_product(s, ch)
    hi, a = two_sum(s, p)
    hi, b = two_sum(hi, m)
    sl = SINE_LOW[k]
    lo = (e + f) + ((c * sine + SINE_LOW[(k + 64) & 255] * rh) + (s * cl + (sl + sl * ch)))
    return fast_two_sum(hi, lo + (a + b))


def sin_quick(x: float) -> tuple[float, bool]:
    """Return sin x. Errors: that of r, of the series and sums below 4 u of rh**3, and 2**-100 of the terms."""
    inside = abs(x) < LARGEST_ANGLE
    k, rh, rl, error = turn_reduce(x if inside else 0.0)
    sine, ch, cl, cube = turn_series(rh, rl)
    hi, lo = turn_sum(k, rh, sine, ch, cl)
    value, settled = settle(hi, lo, error + (abs(cube) * 2**-51 + abs(hi) * 2**-92))
    return (value if abs(x) > 2**-300 else x), settled & inside


def cos_quick(x: float) -> tuple[float, bool]:
    """Return cos x = sin(x + pi/2): 64 further in the table."""
    inside = abs(x) < LARGEST_ANGLE
    k, rh, rl, error = turn_reduce(x if inside else 0.0)
    sine, ch, cl, cube = turn_series(rh, rl)
    hi, lo = turn_sum((k + 64) & 255, rh, sine, ch, cl)
    value, settled = settle(hi, lo, error + (abs(cube) * 2**-51 + abs(hi) * 2**-92))
    return value, settled & inside


def tan_quick(x: float) -> tuple[float, bool]:
    """Return tan x = sin x / cos x; the error of each weighs once, divided by the cosine."""
    inside = abs(x) < LARGEST_ANGLE
    k, rh, rl, error = turn_reduce(x if inside else 0.0)
    sine, ch, cl, cube = turn_series(rh, rl)
    sh, sl = turn_sum(k, rh, sine, ch, cl)
    ch, cl = turn_sum((k + 64) & 255, rh, sine, ch, cl)
    hi, lo = pair_quotient(sh, sl, ch, cl)
    error = error + abs(cube) * 2**-51
    value, settled = settle(hi, lo, abs(error / ch) * (1.0 + abs(hi)) * 1.01 + abs(hi) * 2**-92)
    return (value if abs(x) > 2**-300 else x), settled & inside
