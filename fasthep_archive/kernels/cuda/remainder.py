"""What C's ``fmod`` is for the other target, in integers: CUDA's own goes through approximate reciprocals.

In the restricted Python of :mod:`fasthep_archive.kernels.elementary.lowering`.
"""

import math

from fasthep_archive.kernels.elementary.primitives import from_bits, seldom, to_bits


def rest(x: float, y: float) -> float:
    """Return x - n y for the whole n towards zero, exactly; it has the sign of x (C23, F.10.7.1).

    With x = m 2**a and y = d 2**b, m is reduced modulo d, then doubled a - b times and reduced again, ten bits at a
    time: the rest is below 2**53, so 2**63 is not reached.
    """
    seldom()
    if not (abs(x) < math.inf and abs(y) > 0.0):  # a NaN is on neither side
        return (x - x) / (y * 0.0)
    if abs(x) < abs(y):
        return x
    m, a = split(abs(x))
    d, b = split(abs(y))
    m = m % d
    while a > b:
        step = min(a - b, 10)
        m = (m << step) % d
        a -= step
    return math.copysign(joined(m, b), x)


def split(x: float) -> tuple[int, int]:
    """Return m < 2**53 and e >= 1 with x = m 2**(e - 1075), of a finite x >= 0; e is 1 for subnormal ones."""
    word = to_bits(x)
    e = max(word >> 52, 1)
    return word - ((e - 1) << 52), e


def joined(m: int, e: int) -> float:
    """Return m 2**(e - 1075) for 0 <= m < 2**53 and e >= 1, a double."""
    if m == 0:
        return 0.0
    while m < 0x10000000000000 and e > 1:
        m <<= 1
        e -= 1
    return from_bits(((e - 1) << 52) + m)
