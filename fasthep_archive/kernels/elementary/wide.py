"""Wide numbers: fixed-point numbers of as many bits as it takes, and exp, log, sin, cos, atan and roots of them.

A wide number is an array of limbs of 28 bits, least significant first: ``n`` behind the point and one before it, so it
is at least 0 and below 2**28, a whole multiple of its unit 2**-28n. Signs are the business of the callers. Sums are
exact, all else is cut off, so that errors are counted in units; every function here says how many it may be off.
Products of limbs are below 2**56, and up to 128 of them add up in an int64.

:func:`nearest` rounds to a double, or finds that the error leaves two possible. The callers then begin again with more
limbs (Ziv's strategy): 7, 13 and 25 of them, 196, 364 and 700 bits.
"""

import math

import numpy as np

from fasthep_archive.kernels.elementary.inverse import angle, cbrt_start
from fasthep_archive.kernels.elementary.logarithm import log_reduce, log_sum
from fasthep_archive.kernels.elementary.primitives import Limbs, from_bits, seldom, to_bits
from fasthep_archive.kernels.elementary.tables import WIDE_LN2

LIMBS = 32
"""Size of the arrays: 25 limbs, 4 for what is lost on the way, one before the point, and two to spare."""
MASK = 0xFFFFFFF
UNCERTAIN = 0x4000000
"""Units that a number handed to ``nearest`` may be off. All bounds in this package stay far below."""


def wide_place(a: Limbs, n: int, m: int, e: int) -> None:
    """Set ``a`` to m 2**e, 0 <= m < 2**62; off by 1 unit."""
    seldom()
    start = e + 28 * n
    for j in range(n + 1):
        shift = 28 * j - start
        if shift >= 0:
            a[j] = (m >> min(shift, 62)) & MASK
        elif shift > -28:
            a[j] = ((m & MASK) << -shift) & MASK
        else:
            a[j] = 0


def wide_double(a: Limbs, n: int, x: float) -> None:
    """Set ``a`` to ``0 <= x < 2**28``; off by 1 unit."""
    word = to_bits(x)
    e = max(word >> 52, 1)
    wide_place(a, n, word - ((e - 1) << 52), e - 1075)


def wide_constant(a: Limbs, n: int, digits: Limbs) -> None:
    """Set ``a`` to a constant of the tables, most significant limb first; off by 1 unit."""
    for j in range(n + 1):
        a[j] = digits[n - j]


def wide_copy(a: Limbs, n: int, b: Limbs) -> None:
    """Set ``a`` to ``b``."""
    for j in range(n + 1):
        a[j] = b[j]


def wide_top(a: Limbs, n: int) -> float:
    """Return ``a`` as a double, within 2**-52 of it or 2**-84."""
    return (float(a[n - 3]) * 2**-84 + float(a[n - 2]) * 2**-56) + float(a[n - 1]) * 2**-28 + float(a[n])


def wide_add(a: Limbs, n: int, b: Limbs) -> None:
    """Add ``b`` to ``a``."""
    seldom()
    carry = 0
    for j in range(n + 1):
        total = a[j] + b[j] + carry
        a[j] = total & MASK
        carry = total >> 28


def wide_difference(a: Limbs, n: int, b: Limbs) -> int:
    """Set ``a`` to ``|a - b|``; return 1 if a was smaller, else 0."""
    seldom()
    borrow = 0
    for j in range(n + 1):
        rest = a[j] - b[j] + borrow
        a[j] = rest & MASK
        borrow = rest >> 28
    if borrow == 0:
        return 0
    carry = 1
    for j in range(n + 1):
        rest = (MASK - a[j]) + carry
        a[j] = rest & MASK
        carry = rest >> 28
    return 1


def wide_multiply(p: Limbs, n: int, a: Limbs, b: Limbs) -> None:
    """Set ``p``, which may be ``a`` or ``b``, to their product; off by 1.1 units, for the columns left out too."""
    seldom()
    carry = 0
    for column in range(n - 2, 2 * n + 1):
        total = carry
        for i in range(max(0, column - n), min(n, column) + 1):
            total += a[i] * b[column - i]
        if column >= n:
            p[column - n] = total & MASK
        carry = total >> 28


def wide_scale(a: Limbs, n: int, q: int) -> None:
    """Multiply ``a`` by an integer, 0 <= q < 2**34; errors too."""
    carry = 0
    for j in range(n + 1):
        total = a[j] * q + carry
        a[j] = total & MASK
        carry = total >> 28


def wide_divide(a: Limbs, n: int, q: int) -> int:
    """Divide ``a`` by an integer, 0 < q < 2**34; off by 1 unit. Return 0 if nothing is left."""
    seldom()
    rest = 0
    some = 0
    for i in range(n + 1):
        j = n - i
        total = (rest << 28) + a[j]
        a[j] = total // q
        rest = total - a[j] * q
        some |= a[j]
    return some


def wide_shift(a: Limbs, n: int, s: int) -> None:
    """Multiply ``a`` by 2**s, which must stay below 2**28; off by 1 unit. Errors are multiplied too."""
    seldom()
    whole = s // 28
    part = s - whole * 28
    for i in range(n + 1):
        j = n - i if whole >= 0 else i
        k = j - whole
        high = a[k] if 0 <= k <= n else 0
        low = a[k - 1] if 1 <= k <= n + 1 else 0
        a[j] = ((high << part) | (low >> (28 - part))) & MASK


def wide_normalise(a: Limbs, n: int) -> int:
    """Shift ``a``, which is not 0, into [1, 2), and return by how many bits to the left."""
    j = n
    while j > 0 and a[j] == 0:
        j -= 1
    s = 28 * (n - j)
    top = a[j]
    while top > 1:
        top >>= 1
        s -= 1
    wide_shift(a, n, s)
    return s


def wide_exp(e: Limbs, n: int, x: Limbs) -> None:
    """Set ``e`` to e**x, 0 <= x <= 1; off by 2**17 units.

    x / 256 goes into the Taylor series, each of whose at most 64 terms is off by 2 units; eight squarings double the
    error, times the value, and add 1.1: 130 * 2**8 * e + 2**10 is below 2**17.
    """
    seldom()
    t = np.empty(LIMBS, np.int64)
    y = np.empty(LIMBS, np.int64)
    wide_copy(y, n, x)
    wide_shift(y, n, -8)
    wide_copy(t, n, y)
    wide_place(e, n, 1, 0)
    wide_add(e, n, y)
    k = 2
    wide_multiply(t, n, t, y)
    while wide_divide(t, n, k) != 0:
        wide_add(e, n, t)
        k += 1
        wide_multiply(t, n, t, y)
    for _ in range(8):
        wide_multiply(e, n, e, e)


def wide_turn(s: Limbs, c: Limbs, n: int, x: Limbs) -> None:
    """Set ``s`` and ``c`` to sine and cosine of 0 <= x <= 1; off by 2**9 units: at most 130 terms, each by 2."""
    seldom()
    t = np.empty(LIMBS, np.int64)
    wide_place(t, n, 1, 0)
    wide_copy(c, n, t)
    wide_place(s, n, 0, 0)
    k = 1
    wide_multiply(t, n, t, x)
    while wide_divide(t, n, k) != 0:
        if k & 3 == 1:
            wide_add(s, n, t)
        elif k & 3 == 3:
            wide_difference(s, n, t)
        elif k & 3 == 2:
            wide_difference(c, n, t)
        else:
            wide_add(c, n, t)
        k += 1
        wide_multiply(t, n, t, x)


def wide_inverse_root(z: Limbs, n: int, a: Limbs, order: int) -> None:
    """Set ``z`` to ``a**(-1/order)`` for order 1, 2 or 3 and 1 <= a < 16; off by 2**6 units.

    Newton's iteration z += z (1 - a z**order) / order, from a double that is 2**-38 too small: it stays below the
    root, doubles the right bits, and what is cut off is less than 10 units at the end. Where it comes out above by
    that much there is nothing left to correct.
    """
    seldom()
    w = np.empty(LIMBS, np.int64)
    one = np.empty(LIMBS, np.int64)
    wide_place(one, n, 1, 0)
    v = wide_top(a, n)
    start = 1.0 / (v if order == 1 else (math.sqrt(v) if order == 2 else cbrt_start(v)))
    wide_double(z, n, start * (1.0 - 2**-38))
    bits = 36
    while bits < 28 * n:
        wide_multiply(w, n, a, z)
        for _ in range(order - 1):
            wide_multiply(w, n, w, z)
        if wide_difference(w, n, one) == 1:
            wide_divide(w, n, order)
            wide_multiply(w, n, w, z)
            wide_add(z, n, w)
        bits = 2 * bits - 2


def wide_root(r: Limbs, n: int, a: Limbs) -> None:
    """Set ``r`` to the square root of 1 <= a < 16; off by 2**10 units: a times its inverse root."""
    z = np.empty(LIMBS, np.int64)
    wide_inverse_root(z, n, a, 2)
    wide_multiply(r, n, z, a)


def wide_log(r: Limbs, n: int, z: Limbs) -> None:
    """Set ``r`` to log z, 1 <= z < 2; off by 2**20 units.

    With a double y near it, d = z e**-y - 1 is below 2**-40 and log z = y + log(1 + d), a few terms of a series. e**-y
    is e**(ln2 - y) / 2, off by 2**17 units; z weighs this twice at most. If y is 0 and d comes out negative, for z = 1,
    the result is off by that little.
    """
    seldom()
    y = np.empty(LIMBS, np.int64)
    d = np.empty(LIMBS, np.int64)
    p = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    v = wide_top(z, n)
    k, i, rh, rl = log_reduce(v, 0.0)
    h, _, _ = log_sum(k, i, rh, rl)
    wide_double(r, n, min(max(h, 0.0), 0.693147180559945))
    wide_constant(y, n, WIDE_LN2)
    wide_difference(y, n, r)
    wide_exp(d, n, y)
    wide_multiply(d, n, d, z)
    wide_shift(d, n, -1)
    wide_place(t, n, 1, 0)
    below = wide_difference(d, n, t)
    wide_copy(p, n, d)
    wide_copy(t, n, d)
    k = 1
    while wide_divide(t, n, k) != 0:
        if below == 1 or k & 1 == 0:
            wide_difference(r, n, t)
        else:
            wide_add(r, n, t)
        k += 1
        wide_multiply(p, n, p, d)
        wide_copy(t, n, p)


def wide_angle(a: Limbs, n: int, y: Limbs, x: Limbs) -> None:
    """Set ``a`` to the angle of (x, y), 0 <= y <= x and 1/2 <= x < 4; off by 2**14 units.

    With a double b near it, d = (y cos b - x sin b) / (x cos b + y sin b) is below 2**-40 and the angle is b + atan d.
    ``y`` and ``x`` are overwritten.
    """
    seldom()
    s = np.empty(LIMBS, np.int64)
    c = np.empty(LIMBS, np.int64)
    t = np.empty(LIMBS, np.int64)
    d = np.empty(LIMBS, np.int64)
    h, _, _ = angle(wide_top(y, n), 0.0, wide_top(x, n), 0.0, False, False)
    wide_double(a, n, max(h, 0.0))
    wide_turn(s, c, n, a)
    wide_multiply(d, n, y, c)
    wide_multiply(t, n, x, s)
    below = wide_difference(d, n, t)
    wide_multiply(x, n, x, c)
    wide_multiply(y, n, y, s)
    wide_add(x, n, y)
    wide_shift(x, n, 1)
    wide_inverse_root(t, n, x, 1)
    wide_multiply(d, n, d, t)
    wide_shift(d, n, 1)
    wide_multiply(s, n, d, d)
    wide_copy(t, n, d)
    k = 1
    while wide_divide(t, n, k) != 0:
        if (below == 1) == (k & 3 == 1):
            wide_difference(a, n, t)
        else:
            wide_add(a, n, t)
        k += 2
        wide_multiply(d, n, d, s)
        wide_copy(t, n, d)


def wide_nearest(a: Limbs, n: int, e: int, last: bool) -> tuple[float, bool]:
    """Return the double nearest to a 2**e, halves to even, and whether ``a`` was exact enough to tell.

    ``a`` may be off by ``UNCERTAIN`` units. Half a unit of the double's last place is added; if the error could then
    take it across a multiple of that place, it can't be told. ``last``: it is a tie, or as good as one, and goes to
    the even side. Subnormal results have a fixed last place, and large ones become infinite.
    """
    seldom()
    j = n
    while j > 0 and a[j] == 0:
        j -= 1
    length = 28 * j
    top = a[j]
    while top > 0:
        top >>= 1
        length += 1
    place = max(length - 53, 28 * n - 1074 - e)
    if place > 28 * (n + 1) - 2 or place > length + 1:
        return 0.0, True
    if place < 58:
        return 0.0, last
    q = place // 28
    s = place - q * 28
    half = place - 1
    j = half // 28
    carry = 1 << (half - 28 * j)
    while carry > 0 and j <= n:
        total = a[j] + carry
        a[j] = total & MASK
        carry = total >> 28
        j += 1
    zeros = a[q] & ((1 << s) - 1)
    ones = ((1 << s) - 1) - zeros
    for j in range(1, q):
        zeros |= a[j]
        ones |= MASK - a[j]
    certain = not ((zeros == 0 and a[0] <= UNCERTAIN) or (ones == 0 and a[0] >= MASK - UNCERTAIN))
    m = a[q] >> s
    if q < n:
        m += a[q + 1] << (28 - s)
    if q + 1 < n:
        m += a[q + 2] << (56 - s)
    if not certain and last:
        m += int(ones == 0)
        m -= m & 1
        certain = True
    shift = place - 28 * n + e
    first = max(min(shift, 900), -900)
    return float(m) * from_bits((first + 1023) << 52) * wide_power(shift - first), certain


def wide_power(e: int) -> float:
    """Return 2**e; infinite above."""
    return from_bits((min(max(e, -1022), 1024) + 1023) << 52)
