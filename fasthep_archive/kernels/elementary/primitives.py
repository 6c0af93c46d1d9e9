"""What each target has to provide, here as plain Python: the bits of doubles, and a product with its rounding error.

:mod:`fasthep_archive.kernels.elementary.lowering` has the same for LLVM.
"""

import struct
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Limbs: TypeAlias = NDArray[np.int64]
"""The array of a wide number (:mod:`fasthep_archive.kernels.elementary.wide`)."""


def to_bits(x: float) -> int:
    """Return the bits of ``x`` as an int64."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def from_bits(word: int) -> float:
    """Return the double with the bits of an int64."""
    return float(struct.unpack("<d", struct.pack("<q", word))[0])


def two_product(a: float, b: float) -> tuple[float, float]:
    """Return ``a * b`` rounded, and its rounding error.

    Both are exact facts about ``a`` and ``b``, so it does not matter how they are found: with one fused
    multiplication where the processor has it, else with Dekker's and Veltkamp's splitting, as here (Dekker,
    *A floating-point technique for extending the available precision*, Numer. Math. 18, 1971). Holds as long as
    neither splitting overflows (``|a|, |b| < 2**995``) nor the error is below 2**-1074.
    """
    product = a * b
    c = 134217729.0 * a
    d = 134217729.0 * b
    a_high = c - (c - a)
    b_high = d - (d - b)
    a_low = a - a_high
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def seldom() -> None:
    """Tell the compiler that the function in which it stands is called once in many thousand values: never inline."""
