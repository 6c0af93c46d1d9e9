# mypy: ignore-errors
"""The compiled part of means, in the language of :mod:`fasthep_archive.kernels.loop_lowering`.

numba compiles it too, where bounds are checked and to be compared, and Python runs it.

:mod:`fasthep_archive.kernels.moments` loads this text. :mod:`fasthep_archive.kernels.cuda.fills_source` has the same
for the GPU.
"""

from fasthep_archive.kernels.elementary.primitives import two_product

FAR = 9.745314011399999e288
NEAR = 1.0261342003245941e-289


def rest(a, b) -> float:
    """Return ``a * b`` minus that product rounded: exactly, or 0 where that could be no double.

    ``FAR`` is 2**960 and ``NEAR`` is 2**-960: between them Dekker's splitting doesn't overflow and the error of a
    product is a double, so that it is the same number with a fused multiplication and without one.
    """
    product, error = two_product(a, b)
    size = abs(product)
    inside = (size >= NEAR) & (size < FAR) & (abs(a) < FAR) & (abs(b) < FAR)
    return error if inside else 0.0


def products(a, b, high, low):
    """Write the products of two columns, rounded, and what the rounding left out."""
    for i in range(a.size):
        high[i] = a[i] * b[i]
        low[i] = rest(a[i], b[i])
