"""Accurate phases of exponentials, logarithms, hyperbolic functions and pow, with as many bits as it takes.

Each function first deals with what needs no bits (NaN, infinities, overflow, arguments so small that the result is the
argument or 1), then computes with 7, 13 and 25 limbs until the rounding is certain (:mod:`.wide`). No result of these
functions lies half way between two doubles except those of pow, exp2 and those that 25 limbs settle as ties.
"""

import math

import numpy as np

from fasthep_archive.kernels.elementary.primitives import Limbs, seldom, to_bits
from fasthep_archive.kernels.elementary.tables import (
    WIDE_LN2,
    WIDE_LOG2_E,
    WIDE_LOG10_E,
)
from fasthep_archive.kernels.elementary.wide import (
    LIMBS,
    wide_add,
    wide_constant,
    wide_copy,
    wide_difference,
    wide_double,
    wide_exp,
    wide_inverse_root,
    wide_log,
    wide_multiply,
    wide_nearest,
    wide_normalise,
    wide_place,
    wide_root,
    wide_scale,
    wide_shift,
    wide_top,
)

MOST = 25
"""Limbs of the last attempt."""
SPARE = 4
"""Limbs that are added, and cut off again, where errors can be magnified by up to 2**80."""


def significand(x: float) -> tuple[int, int]:
    """Return m and e with x = m 2**(e - 52), 2**52 <= m < 2**53, of a positive finite x."""
    word = to_bits(x)
    e = (word >> 52) - 1023
    m = (word & 0xFFFFFFFFFFFFF) | 0x10000000000000
    if e == -1023:
        m = word
        e = -1022
        while m < 0x10000000000000:
            m <<= 1
            e -= 1
    return m, e


def wide_drop(a: Limbs, n: int) -> None:
    """Cut ``SPARE`` limbs off a number of n + SPARE limbs."""
    for j in range(n + 1):
        a[j] = a[j + SPARE]


def wide_exp_of(w: Limbs, n: int, t: Limbs, negative: bool) -> int:
    """Set ``w`` to e**t 2**-k in [1, 2], or that of -t, 0 <= t < 750; return k. ``t`` is overwritten. Off by 2**19.

    k ln2 is off by 750 units, e**r by 2**17 and twice the error of r; ``w`` by twice the error of ``t`` besides.
    """
    seldom()
    k = int(wide_top(t, n) * 1.4426950408889634 + 2**-20)
    wide_constant(w, n, WIDE_LN2)
    wide_scale(w, n, k)
    over = wide_difference(t, n, w) == 1
    if over:
        k -= 1
    if over != negative:
        wide_constant(w, n, WIDE_LN2)
        wide_difference(w, n, t)
        wide_copy(t, n, w)
    wide_exp(w, n, t)
    return -(k + 1) if negative else k


def wide_log_of(r: Limbs, n: int, z: Limbs, k: int) -> bool:
    """Set ``r`` to ``|k ln2 + log z|``, 1 <= z < 2; return whether that was negative. Off by 2**21."""
    seldom()
    t = np.empty(LIMBS, np.int64)
    wide_log(r, n, z)
    wide_constant(t, n, WIDE_LN2)
    wide_scale(t, n, abs(k))
    if k >= 0:
        wide_add(r, n, t)
        return False
    return wide_difference(r, n, t) == 1


def wide_log_plus(r: Limbs, n: int, z: Limbs, k: int) -> None:
    """Set ``r`` to k ln2 + log z for k >= 0 and 1 <= z < 16, which is overwritten. Off by 2**21."""
    while z[n] >= 2:
        wide_shift(z, n, -1)
        k += 1
    wide_log_of(r, n, z, k)


def wide_half_power(a: Limbs, n: int) -> None:
    """Set ``a``, exact and below 4, to its square root. Off by 2**11.

    It is shifted into [1, 4) by an even number of bits, and the root back by half of them.
    """
    seldom()
    r = np.empty(LIMBS, np.int64)
    s = wide_normalise(a, n)
    if s & 1 != 0:
        wide_shift(a, n, 1)
        s += 1
    wide_root(r, n, a)
    wide_shift(r, n, -(s >> 1))
    wide_copy(a, n, r)


def exp_exact(x: float) -> float:
    """Return e**x."""
    seldom()
    if x != x:  # noqa: PLR0124 - only a NaN differs from itself
        return x
    if x > 710.0:
        return math.inf
    if x < -746.0:
        return 0.0
    if abs(x) < 2**-54:
        return 1.0
    w = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        wide_double(t, n, abs(x))
        k = wide_exp_of(w, n, t, x < 0.0)
        value, certain = wide_nearest(w, n, k, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def exp2_exact(x: float) -> float:
    """Return 2**x = e**(x ln2)."""
    seldom()
    if x != x:  # noqa: PLR0124 - only a NaN differs from itself
        return x
    if x >= 1024.0:
        return math.inf
    if x < -1076.0:
        return 0.0
    if abs(x) < 2**-54:
        return 1.0
    w = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        wide_double(t, n, abs(x))
        wide_constant(w, n, WIDE_LN2)
        wide_multiply(t, n, t, w)
        k = wide_exp_of(w, n, t, x < 0.0)
        value, certain = wide_nearest(w, n, k, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def expm1_exact(x: float) -> float:
    """Return e**x - 1."""
    seldom()
    if x != x or abs(x) < 2**-54:  # noqa: PLR0124 - only a NaN differs from itself
        return x
    if x > 710.0:
        return math.inf
    if x < -38.0:
        return -1.0
    w = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        wide_double(t, n, abs(x))
        k = wide_exp_of(w, n, t, x < 0.0)
        if x < 0.0:
            wide_shift(w, n, k)
            k = 0
        wide_place(t, n, 1, -k)
        wide_difference(w, n, t)
        value, certain = wide_nearest(w, n, k, n == MOST)
        if certain:
            return math.copysign(value, x)
        n = 2 * n - 1


def wide_both(p: Limbs, q: Limbs, n: int, a: float) -> int:
    """Set ``p`` and ``q`` to e**a 2**-k and e**-a 2**-k; return k."""
    seldom()
    t = np.empty(LIMBS, np.int64)
    wide_double(t, n, a)
    k = wide_exp_of(p, n, t, False)
    wide_double(t, n, a)
    wide_shift(q, n, wide_exp_of(q, n, t, True) - k)
    return k


def sinh_exact(x: float) -> float:
    """Return sinh x."""
    seldom()
    a = abs(x)
    if not 2**-27 <= a < math.inf:
        return x
    if a > 711.0:
        return math.copysign(math.inf, x)
    p = np.empty(LIMBS, np.int64)
    q = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        k = wide_both(p, q, n, a)
        wide_difference(p, n, q)
        value, certain = wide_nearest(p, n, k - 1, n == MOST)
        if certain:
            return math.copysign(value, x)
        n = 2 * n - 1


def cosh_exact(x: float) -> float:
    """Return cosh x."""
    seldom()
    a = abs(x)
    if not a <= 711.0:
        return math.inf if a > 711.0 else x
    if a < 2**-27:
        return 1.0
    p = np.empty(LIMBS, np.int64)
    q = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        k = wide_both(p, q, n, a)
        wide_add(p, n, q)
        value, certain = wide_nearest(p, n, k - 1, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def tanh_exact(x: float) -> float:
    """Return tanh x = (e**x - e**-x) / (e**x + e**-x)."""
    seldom()
    a = abs(x)
    if not a >= 2**-27:
        return x
    if a > 20.0:
        return math.copysign(1.0, x)
    p = np.empty(LIMBS, np.int64)
    q = np.empty(LIMBS, np.int64)
    d = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        wide_both(p, q, n, a)
        wide_copy(d, n, p)
        wide_add(d, n, q)
        wide_difference(p, n, q)
        wide_inverse_root(q, n, d, 1)
        wide_multiply(p, n, p, q)
        value, certain = wide_nearest(p, n, 0, n == MOST)
        if certain:
            return math.copysign(value, x)
        n = 2 * n - 1


def log_exact(x: float) -> float:
    """Return log x."""
    return log_any_exact(x, 0)


def log2_exact(x: float) -> float:
    """Return log2 x."""
    return log_any_exact(x, 1)


def log10_exact(x: float) -> float:
    """Return log10 x."""
    return log_any_exact(x, 2)


def log_any_exact(x: float, base: int) -> float:
    """Return log x, log2 x or log10 x, for a ``base`` of 0, 1 or 2."""
    seldom()
    if not 0.0 < x < math.inf:
        return -math.inf if x == 0.0 else (x if x > 0.0 else math.nan)
    if x == 1.0:
        return 0.0
    z = np.empty(LIMBS, np.int64)
    r = np.empty(LIMBS, np.int64)
    m, e = significand(x)
    n = 7
    while True:
        wide_place(z, n, m, -52)
        negative = wide_log_of(r, n, z, e)
        if base > 0:
            if base == 1:
                wide_constant(z, n, WIDE_LOG2_E)
            else:
                wide_constant(z, n, WIDE_LOG10_E)
            wide_multiply(r, n, r, z)
        value, certain = wide_nearest(r, n, 0, n == MOST)
        if certain:
            return -value if negative else value
        n = 2 * n - 1


def log1p_exact(x: float) -> float:
    """Return log(1 + x)."""
    seldom()
    if not -1.0 < x < math.inf:
        return -math.inf if x == -1.0 else (x if x > 0.0 else math.nan)
    if abs(x) < 2**-54:
        return x
    z = np.empty(LIMBS, np.int64)
    r = np.empty(LIMBS, np.int64)
    m, e = significand(abs(x))
    k = max(e, 0)
    n = 7
    while True:
        wide_place(r, n, m, e - 52 - k)
        wide_place(z, n, 1, -k)
        if x > 0.0:
            wide_add(z, n, r)
            wide_log_plus(r, n, z, k)
        else:
            wide_difference(z, n, r)
            s = wide_normalise(z, n)
            wide_log_of(r, n, z, -s)
        value, certain = wide_nearest(r, n, 0, n == MOST)
        if certain:
            return math.copysign(value, x)
        n = 2 * n - 1


def asinh_exact(x: float) -> float:
    """Return asinh x = log(|x| + sqrt(x² + 1)), with |x| = 2**k a and x² + 1 = 4**k (a² + 4**-k)."""
    seldom()
    if not 2**-27 <= abs(x) < math.inf:
        return x
    return math.copysign(log_root_exact(abs(x), False), x)


def acosh_exact(x: float) -> float:
    """Return acosh x = log(x + sqrt(x² - 1))."""
    seldom()
    if not 1.0 < x < math.inf:
        return 0.0 if x == 1.0 else (x if x > 1.0 else math.nan)
    return log_root_exact(x, True)


def log_root_exact(x: float, minus: bool) -> float:
    """Return log(x + sqrt(x² ± 1)) for x > 0, or x > 1 if it is minus."""
    seldom()
    a = np.empty(LIMBS, np.int64)
    b = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    m, e = significand(x)
    k = max(e, 0)
    n = 7
    while True:
        wide_place(a, n, m, e - 52 - k)
        wide_multiply(b, n, a, a)
        wide_place(t, n, 1, -2 * k)
        if minus:
            wide_difference(b, n, t)
            wide_half_power(b, n)
            wide_add(a, n, b)
        else:
            wide_add(b, n, t)
            wide_root(t, n, b)
            wide_add(a, n, t)
        wide_log_plus(b, n, a, k)
        value, certain = wide_nearest(b, n, 0, n == MOST)
        if certain:
            return value
        n = 2 * n - 1


def atanh_exact(x: float) -> float:
    """Return atanh x = (log(1 + x) - log(1 - x)) / 2."""
    seldom()
    a = abs(x)
    if not 2**-27 <= a < 1.0:
        if a == 1.0:
            return math.copysign(math.inf, x)
        return math.nan if a > 1.0 else x
    z = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    p = np.empty(LIMBS, np.int64)
    q = np.empty(LIMBS, np.int64)
    n = 7
    while True:
        wide_double(t, n, a)
        wide_place(z, n, 1, 0)
        wide_add(z, n, t)
        wide_log(p, n, z)
        wide_place(z, n, 1, 0)
        wide_difference(z, n, t)
        s = wide_normalise(z, n)
        wide_log_of(q, n, z, -s)
        wide_add(p, n, q)
        value, certain = wide_nearest(p, n, -1, n == MOST)
        if certain:
            return math.copysign(value, x)
        n = 2 * n - 1


def pow_exact(x: float, y: float) -> float:
    """Return x**y; what C's pow gives where a NaN, an infinity or a zero takes part (C23, F.10.4.5)."""
    seldom()
    if y == 0.0 or x == 1.0:
        return 1.0
    if x != x or y != y:  # noqa: PLR0124 - only a NaN differs from itself
        return x + y
    a = abs(x)
    half = np.floor(y * 0.5) if abs(y) < 2.0**53 else 0.0
    odd = abs(y) < 2.0**53 and y - 2.0 * half == 1.0
    whole = odd or abs(y) >= 2.0**53 or y == 2.0 * half
    if x < 0.0 and not whole and a < math.inf and abs(y) < math.inf:
        return math.nan
    sign = -1.0 if odd and math.copysign(1.0, x) < 0.0 else 1.0
    if a == 1.0:
        return sign
    grows = (a > 1.0) == (y > 0.0)
    if not 0.0 < a < math.inf or abs(y) == math.inf:
        return sign * math.inf if grows else sign * 0.0
    return sign * pow_finite_exact(a, y)


def pow_finite_exact(x: float, y: float) -> float:
    """Return x**y = e**(y log x) for finite ``x > 0``, not 1, and finite y, not 0.

    ``|log x|`` is off by 2**21 units, and with ``|y| = 2**j b`` the product by 2**(j + 22). It has to be below 750,
    so that j is below 63, as ``|log x|`` is at least 2**-53: 2**85 units at most, of which SPARE limbs leave 1.
    """
    seldom()
    z = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    r = np.empty(LIMBS, np.int64)
    m, e = significand(x)
    b, j = significand(abs(y))
    n = 7
    while True:
        long = n + SPARE
        wide_place(z, long, m, -52)
        negative = wide_log_of(r, long, z, e) != (y < 0.0)
        size = wide_top(r, long) * abs(y)
        if size > 750.0:
            return 0.0 if negative else math.inf
        wide_place(t, long, b, -52)
        wide_shift(r, long, max(j, 0))
        wide_multiply(r, long, r, t)
        wide_shift(r, long, min(j, 0))
        wide_drop(r, n)
        k = wide_exp_of(z, n, r, negative)
        value, certain = wide_nearest(z, n, k, n == MOST)
        if certain:
            return value
        n = 2 * n - 1
