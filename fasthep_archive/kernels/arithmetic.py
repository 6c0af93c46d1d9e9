# mypy: disable-error-code="no-any-return"
"""What operators mean where the hardware, C and NumPy disagree, in restricted Python.

Kernels are compiled from this module's own source text (:mod:`fasthep_archive.kernels.compile`), for each target from
the same one; so it has plain functions of floats or ints, and as names only its own and those of ``math`` and ``np``.
Integers are int64 and wrap around when compiled. Called as Python, the functions give the same wherever nothing wraps.
"""

import math

import numpy as np


def floor_divide_float64(x: float, y: float) -> float:
    """Return the quotient rounded down (``npy_divmod`` of NumPy: Python's rules, IEEE results for y = 0)."""
    if y == 0.0:
        return x / y
    rest = np.fmod(x, y)
    quotient = (x - rest) / y
    if rest != 0.0 and (y < 0.0) != (rest < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return math.copysign(0.0, x / y)
    whole = np.floor(quotient)
    return whole + 1.0 if quotient - whole > 0.5 else whole


def remainder_float64(x: float, y: float) -> float:
    """Return what the rounded-down quotient leaves, with the sign of ``y`` (``npy_divmod`` of NumPy)."""
    rest = np.fmod(x, y)
    if y == 0.0:
        return rest
    if rest == 0.0:
        return math.copysign(0.0, y)
    return rest + y if (y < 0.0) != (rest < 0.0) else rest


def floor_divide_int64(x: int, y: int) -> int:
    """Return the quotient rounded down; 0 for y = 0. Dividing by -1 negates, which wraps around for the smallest."""
    if y == 0:
        return 0
    if y == -1:
        return -x
    return x // y


def remainder_int64(x: int, y: int) -> int:
    """Return x - y * (x // y), which has the sign of ``y``; 0 for y = 0."""
    if -1 <= y <= 0:
        return 0
    return x % y


def power_int64(x: int, n: int) -> int:
    """Return ``x`` multiplied ``n`` times, n >= 0, by repeated squaring; wraps around as plain multiplication does."""
    result = 1
    while n > 0:
        if n & 1:
            result = result * x
        x = x * x
        n = n >> 1
    return result


def left_shift_int64(x: int, n: int) -> int:
    """Return ``x`` shifted left; 0 when ``n`` is not in 0..63."""
    return x << n if 0 <= n < 64 else 0


def right_shift_int64(x: int, n: int) -> int:
    """Return ``x`` shifted right with its sign; as by 63 when ``n`` is not in 0..63."""
    return x >> n if 0 <= n < 64 else x >> 63


def sign_float64(x: float) -> float:
    """Return -1.0, 0.0 or 1.0; NaN for NaN."""
    if x > 0.0:
        return 1.0
    if x < 0.0:
        return -1.0
    return 0.0 if x == 0.0 else x


def sign_int64(x: int) -> int:
    """Return -1, 0 or 1."""
    if x > 0:
        return 1
    return -1 if x < 0 else 0


def minimum_float64(x: float, y: float) -> float:
    """Return the smaller; a NaN if there is one; ``x`` when they compare equal."""
    return x if x <= y or x != x else y  # noqa: PLR0124 - only a NaN differs from itself


def maximum_float64(x: float, y: float) -> float:
    """Return the larger; a NaN if there is one; ``x`` when they compare equal."""
    return x if x >= y or x != x else y  # noqa: PLR0124 - only a NaN differs from itself


def position(index: int, start: int, stop: int) -> int:
    """Return where value ``index`` of a list from ``start`` to ``stop`` is, -1 if it isn't; from the end for < 0."""
    place = index + (stop if index < 0 else start)
    return place if start <= place < stop else -1
