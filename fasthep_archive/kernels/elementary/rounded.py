"""The elementary functions: each the double nearest to the real result, halves to even.

A quick phase computes with two doubles and knows whether its error can matter; where it can, about once in ten thousand
to ten million values, an accurate phase computes again with as many bits as it takes (Ziv's strategy).
"""

from fasthep_archive.kernels.elementary.angles import (
    acos_exact,
    asin_exact,
    atan2_exact,
    atan_exact,
    cbrt_exact,
    cos_exact,
    hypot_exact,
    sin_exact,
    tan_exact,
)
from fasthep_archive.kernels.elementary.circular import (
    cos_quick,
    sin_quick,
    tan_quick,
)
from fasthep_archive.kernels.elementary.exponential import (
    cosh_quick,
    exp2_quick,
    exp_quick,
    expm1_quick,
    sinh_quick,
    tanh_quick,
)
from fasthep_archive.kernels.elementary.growth import (
    acosh_exact,
    asinh_exact,
    atanh_exact,
    cosh_exact,
    exp2_exact,
    exp_exact,
    expm1_exact,
    log1p_exact,
    log2_exact,
    log10_exact,
    log_exact,
    pow_exact,
    sinh_exact,
    tanh_exact,
)
from fasthep_archive.kernels.elementary.inverse import (
    acos_quick,
    asin_quick,
    atan2_quick,
    atan_quick,
    cbrt_quick,
    hypot_quick,
    pow_quick,
)
from fasthep_archive.kernels.elementary.logarithm import (
    acosh_quick,
    asinh_quick,
    atanh_quick,
    log1p_quick,
    log2_quick,
    log10_quick,
    log_quick,
)

NAMES = (
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "hypot",
    "cbrt",
    "pow",
)
"""Of each there is ``NAME_rounded``, and its phases ``NAME_quick`` and ``NAME_exact``."""


def exp_rounded(x: float) -> float:
    """Return e**x."""
    value, certain = exp_quick(x)
    if certain:
        return value
    return exp_exact(x)


def exp2_rounded(x: float) -> float:
    """Return 2**x."""
    value, certain = exp2_quick(x)
    if certain:
        return value
    return exp2_exact(x)


def expm1_rounded(x: float) -> float:
    """Return e**x - 1."""
    value, certain = expm1_quick(x)
    if certain:
        return value
    return expm1_exact(x)


def log_rounded(x: float) -> float:
    """Return the natural logarithm."""
    value, certain = log_quick(x)
    if certain:
        return value
    return log_exact(x)


def log2_rounded(x: float) -> float:
    """Return the logarithm to base 2."""
    value, certain = log2_quick(x)
    if certain:
        return value
    return log2_exact(x)


def log10_rounded(x: float) -> float:
    """Return the logarithm to base 10."""
    value, certain = log10_quick(x)
    if certain:
        return value
    return log10_exact(x)


def log1p_rounded(x: float) -> float:
    """Return the natural logarithm of 1 + x."""
    value, certain = log1p_quick(x)
    if certain:
        return value
    return log1p_exact(x)


def sin_rounded(x: float) -> float:
    """Return the sine."""
    value, certain = sin_quick(x)
    if certain:
        return value
    return sin_exact(x)


def cos_rounded(x: float) -> float:
    """Return the cosine."""
    value, certain = cos_quick(x)
    if certain:
        return value
    return cos_exact(x)


def tan_rounded(x: float) -> float:
    """Return the tangent."""
    value, certain = tan_quick(x)
    if certain:
        return value
    return tan_exact(x)


def asin_rounded(x: float) -> float:
    """Return the inverse sine."""
    value, certain = asin_quick(x)
    if certain:
        return value
    return asin_exact(x)


def acos_rounded(x: float) -> float:
    """Return the inverse cosine."""
    value, certain = acos_quick(x)
    if certain:
        return value
    return acos_exact(x)


def atan_rounded(x: float) -> float:
    """Return the inverse tangent."""
    value, certain = atan_quick(x)
    if certain:
        return value
    return atan_exact(x)


def atan2_rounded(y: float, x: float) -> float:
    """Return the angle of the point (x, y)."""
    value, certain = atan2_quick(y, x)
    if certain:
        return value
    return atan2_exact(y, x)


def sinh_rounded(x: float) -> float:
    """Return the hyperbolic sine."""
    value, certain = sinh_quick(x)
    if certain:
        return value
    return sinh_exact(x)


def cosh_rounded(x: float) -> float:
    """Return the hyperbolic cosine."""
    value, certain = cosh_quick(x)
    if certain:
        return value
    return cosh_exact(x)


def tanh_rounded(x: float) -> float:
    """Return the hyperbolic tangent."""
    value, certain = tanh_quick(x)
    if certain:
        return value
    return tanh_exact(x)


def asinh_rounded(x: float) -> float:
    """Return the inverse hyperbolic sine."""
    value, certain = asinh_quick(x)
    if certain:
        return value
    return asinh_exact(x)


def acosh_rounded(x: float) -> float:
    """Return the inverse hyperbolic cosine."""
    value, certain = acosh_quick(x)
    if certain:
        return value
    return acosh_exact(x)


def atanh_rounded(x: float) -> float:
    """Return the inverse hyperbolic tangent."""
    value, certain = atanh_quick(x)
    if certain:
        return value
    return atanh_exact(x)


def hypot_rounded(x: float, y: float) -> float:
    """Return the length of (x, y)."""
    value, certain = hypot_quick(x, y)
    if certain:
        return value
    return hypot_exact(x, y)


def cbrt_rounded(x: float) -> float:
    """Return the cube root."""
    value, certain = cbrt_quick(x)
    if certain:
        return value
    return cbrt_exact(x)


def pow_rounded(x: float, y: float) -> float:
    """Return x**y."""
    value, certain = pow_quick(x, y)
    if certain:
        return value
    return pow_exact(x, y)
