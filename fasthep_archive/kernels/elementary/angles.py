"""Accurate phases of trigonometric functions, their inverses, hypot and cbrt, as in :mod:`.growth`.

Values of sin, cos, tan, atan, asin and acos at doubles other than 0 and ±1 are transcendental: never half way. hypot
can lie half way, cbrt can't: its cube would have 160 bits. Their distances from other half-way points are bounded:
a² + b² and the square of a half-way point are multiples of 2**-226 of the result's square, x and the cube of one
multiples of 2**-165, so that 13 limbs (364 bits) settle all but ties, and ties go to the even side.
"""

import math

import numpy as np

from fasthep_archive.kernels.elementary.growth import (
    MOST,
    SPARE,
    significand,
    wide_drop,
    wide_half_power,
)
from fasthep_archive.kernels.elementary.primitives import Limbs, seldom
from fasthep_archive.kernels.elementary.tables import HALF_PI_HIGH, PI_HIGH, WIDE_HALF_PI, WIDE_PI, WIDE_TURN
from fasthep_archive.kernels.elementary.wide import (
    LIMBS,
    MASK,
    wide_add,
    wide_angle,
    wide_constant,
    wide_copy,
    wide_difference,
    wide_inverse_root,
    wide_multiply,
    wide_nearest,
    wide_normalise,
    wide_place,
    wide_root,
    wide_turn,
)


def wide_quarter(a: Limbs, n: int, m: int, e: int) -> tuple[int, bool]:
    """Set ``a`` to the distance, at most pi/4, of x = m 2**(e - 52) from q pi/2; return q modulo 4, and if x is below.

    Off by 8 units. The product of m, shifted, and 2/pi is computed from its digit before the point on; what is left of
    that is a multiple of 2**28 and leaves q modulo 4 alone (Payne and Hanek, *Radian reduction for trigonometric
    functions*, SIGNUM Newsletter 18, 1983). Two digits too many are computed: what is cut off is below 1 unit.
    """
    seldom()
    one = np.empty(LIMBS, np.int64)
    first = (e - 52) // 28
    shift = e - 52 - 28 * first
    low = (m & MASK) << shift
    high = ((m >> 28) << shift) + (low >> 28)
    carry = 0
    for i in range(n + 3):
        column = n + 2 - i
        total = carry
        k = column + first
        if 0 <= k < WIDE_TURN.size:
            total += (low & MASK) * WIDE_TURN[k]
        if 0 <= k + 1 < WIDE_TURN.size:
            total += (high & MASK) * WIDE_TURN[k + 1]
        if 0 <= k + 2 < WIDE_TURN.size:
            total += (high >> 28) * WIDE_TURN[k + 2]
        if column <= n:
            a[n - column] = total & MASK
        carry = total >> 28
    q = a[n] & 3
    a[n] = 0
    below = a[n - 1] >> 27 == 1
    wide_place(one, n, 1, 0)
    if below:
        wide_difference(a, n, one)
        q += 1
    wide_constant(one, n, WIDE_HALF_PI)
    wide_multiply(a, n, a, one)
    return q & 3, below


def sin_exact(x: float) -> float:
    """Return sin x."""
    return turn_exact(x, 0)


def cos_exact(x: float) -> float:
    """Return cos x."""
    return turn_exact(x, 1)


def turn_exact(x: float, quarter: int) -> float:
    """Return sin(x + quarter pi/2), for a ``quarter`` of 0 or 1."""
    seldom()
    if not abs(x) < math.inf:
        return x - x
    if abs(x) < 2**-27:
        return 1.0 if quarter == 1 else x
    a = np.empty(LIMBS, np.int64)
    s = np.empty(LIMBS, np.int64)
    c = np.empty(LIMBS, np.int64)
    m, e = significand(abs(x))
    n = 7
    while True:
        q, below = wide_quarter(a, n, m, e)
        wide_turn(s, c, n, a)
        q = (q + quarter) & 3
        if q & 1 == 1:
            wide_copy(s, n, c)
        negative = (q >= 2) != (below and q & 1 == 0)
        value, certain = wide_nearest(s, n, 0, n == MOST)
        if certain:
            return -value if negative != (x < 0.0 and quarter == 0) else value
        n = 2 * n - 1


def tan_exact(x: float) -> float:
    """Return tan x = s/c or -c/s. The denominator can be 2**-62: normalised, it is off by 2**72 units."""
    seldom()
    if not abs(x) < math.inf:
        return x - x
    if abs(x) < 2**-27:
        return x
    a = np.empty(LIMBS, np.int64)
    s = np.empty(LIMBS, np.int64)
    c = np.empty(LIMBS, np.int64)
    m, e = significand(abs(x))
    n = 7
    while True:
        long = n + SPARE
        q, below = wide_quarter(a, long, m, e)
        wide_turn(s, c, long, a)
        if q & 1 == 1:
            wide_copy(a, long, s)
            wide_copy(s, long, c)
            wide_copy(c, long, a)
        shift = wide_normalise(c, long)
        wide_inverse_root(a, long, c, 1)
        wide_multiply(s, long, s, a)
        wide_drop(s, n)
        value, certain = wide_nearest(s, n, shift, n == MOST)
        if certain:
            negative = ((q & 1 == 1) != below) != (x < 0.0)
            return -value if negative else value
        n = 2 * n - 1


def atan_exact(x: float) -> float:
    """Return the angle of (1, x)."""
    return atan2_exact(x, 1.0)


def atan2_exact(y: float, x: float) -> float:
    """Return the angle of (x, y); what C's atan2 gives for zeros and infinities (C23, F.10.1.4)."""
    seldom()
    if x != x or y != y:  # noqa: PLR0124 - only a NaN differs from itself
        return x + y
    ax = abs(x)
    ay = abs(y)
    behind = math.copysign(1.0, x) < 0.0
    if ay == 0.0 or (ax == math.inf and ay != math.inf):
        return math.copysign(PI_HIGH if behind else 0.0, y)
    if ax == 0.0 or (ay == math.inf and ax != math.inf):
        return math.copysign(HALF_PI_HIGH, y)
    if ax == math.inf:
        return math.copysign(2.356194490192345 if behind else 0.7853981633974483, y)
    return math.copysign(angle_exact(ay, ax, behind), y)


def angle_exact(y: float, x: float, behind: bool) -> float:
    """Return the angle of (x, y), of (-x, y) if it is ``behind``, for finite x and y > 0."""
    seldom()
    a = np.empty(LIMBS, np.int64)
    s = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    my, ey = significand(y)
    mx, ex = significand(x)
    if ey - ex < -60 and not behind:
        return small_angle_exact(my, mx, ey - ex)
    largest = max(ex, ey)
    steep = y > x
    n = 7
    while True:
        wide_place(s, n, mx if steep else my, (ex if steep else ey) - 52 - largest)
        wide_place(t, n, my if steep else mx, (ey if steep else ex) - 52 - largest)
        wide_angle(a, n, s, t)
        wide_turned(a, n, steep, behind)
        value, certain = wide_nearest(a, n, 0, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def small_angle_exact(my: int, mx: int, e: int) -> float:
    """Return atan(t), t = my / mx * 2**e, for e < -60: t minus less than 2**-121 of it.

    59 bits of the quotient are found by long division. If nothing is left, the angle is a little less than it, else
    a little more, as the next quotient of two such integers is 2**-112 away: either way the quotient is no tie.
    """
    seldom()
    q = my // mx
    rest = my - q * mx
    for _ in range(58):
        q = 2 * q
        rest = 2 * rest
        if rest >= mx:
            q += 1
            rest -= mx
    a = np.empty(LIMBS, np.int64)
    wide_place(a, 7, 2 * q - 1 if rest == 0 else 2 * q + 1, -59)
    value, _ = wide_nearest(a, 7, e, True)
    return value


def wide_turned(a: Limbs, n: int, steep: bool, behind: bool) -> None:
    """Replace an angle by pi/2 minus it if it is ``steep``, and then by pi minus it if it is ``behind``."""
    seldom()
    t = np.empty(LIMBS, np.int64)
    if steep:
        wide_constant(t, n, WIDE_HALF_PI)
        if behind:
            wide_add(a, n, t)
        else:
            wide_difference(a, n, t)
    elif behind:
        wide_constant(t, n, WIDE_PI)
        wide_difference(a, n, t)


def asin_exact(x: float) -> float:
    """Return asin x, the angle of (sqrt(1 - x²), x)."""
    seldom()
    a = abs(x)
    if not 2**-27 <= a < 1.0:
        if a == 1.0:
            return math.copysign(HALF_PI_HIGH, x)
        return math.nan if a > 1.0 else x
    return math.copysign(arc_exact(a, False, False), x)


def acos_exact(x: float) -> float:
    """Return acos x, the angle of (x, sqrt(1 - x²))."""
    seldom()
    a = abs(x)
    if not a < 1.0:
        if a == 1.0:
            return 0.0 if x > 0.0 else PI_HIGH
        return math.nan if a > 1.0 else x
    if a < 2**-60:
        return HALF_PI_HIGH
    return arc_exact(a, True, x < 0.0)


def arc_exact(a: float, cosine: bool, behind: bool) -> float:
    """Return the angle whose sine, or ``cosine``, is 0 < a < 1; pi minus it if it is ``behind``."""
    seldom()
    s = np.empty(LIMBS, np.int64)
    c = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    m, e = significand(a)
    n = 7
    while True:
        wide_place(s, n, m, e - 52)
        wide_multiply(c, n, s, s)
        wide_place(t, n, 1, 0)
        wide_difference(c, n, t)
        wide_half_power(c, n)
        steep = (a > 0.7071067811865476) != cosine
        if a > 0.7071067811865476:
            wide_angle(t, n, c, s)
        else:
            wide_angle(t, n, s, c)
        wide_turned(t, n, steep, behind)
        value, certain = wide_nearest(t, n, 0, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def hypot_exact(x: float, y: float) -> float:
    """Return sqrt(x² + y²); infinite if x or y is, even beside a NaN."""
    seldom()
    a = max(abs(x), abs(y))
    b = min(abs(x), abs(y))
    if abs(x) == math.inf or abs(y) == math.inf:
        return math.inf
    if x != x or y != y:  # noqa: PLR0124 - only a NaN differs from itself
        return x + y
    if b < a * 2**-60 or b == 0.0:
        return a
    s = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    ma, ea = significand(a)
    mb, eb = significand(b)
    n = 7
    while True:
        wide_place(s, n, ma, -52)
        wide_place(t, n, mb, eb - ea - 52)
        wide_multiply(s, n, s, s)
        wide_multiply(t, n, t, t)
        wide_add(s, n, t)
        wide_root(t, n, s)
        value, certain = wide_nearest(t, n, ea, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def cbrt_exact(x: float) -> float:
    """Return the cube root: of |x| = 8**k a with 1 <= a < 8, as a times the square of its inverse cube root."""
    seldom()
    if x == 0.0 or not abs(x) < math.inf:
        return x
    a = np.empty(LIMBS, np.int64)
    z = np.empty(LIMBS, np.int64)
    m, e = significand(abs(x))
    k = e // 3
    n = 7
    while True:
        wide_place(a, n, m, e - 3 * k - 52)
        wide_inverse_root(z, n, a, 3)
        wide_multiply(a, n, a, z)
        wide_multiply(a, n, a, z)
        value, certain = wide_nearest(a, n, k, n == MOST)
        if certain:
            return math.copysign(value, x)
        n = 2 * n - 1
