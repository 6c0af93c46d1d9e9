"""The probes of :mod:`fasthep_archive.kernels.probes` as thread ``i`` of a GPU runs them, in restricted Python."""

import math
from typing import TypeAlias

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from fasthep_archive.kernels.elementary.rounded import atan2_rounded, exp_rounded, hypot_rounded

Numbers: TypeAlias = NDArray[np.float64]
Doubles: TypeAlias = NDArray[np.float64]

NAMES = ("operate", "elementary")
"""The functions that are kernels."""


def operate(i: int, x: Doubles, y: Doubles, z: Doubles, out: Numbers, n: int) -> None:
    """Write the results of nine operations, those of the first before those of the second ..."""
    out[i] = x[i] + y[i]
    out[n + i] = x[i] * y[i]
    out[2 * n + i] = x[i] / y[i]
    out[3 * n + i] = math.sqrt(x[i])
    out[4 * n + i] = x[i] * y[i] + z[i]
    out[5 * n + i] = (x[i] + y[i]) + z[i]
    out[6 * n + i] = float32(x[i])
    out[7 * n + i] = np.rint(x[i])
    out[8 * n + i] = 1.0 if x[i] > 0.0 else 0.0


def elementary(i: int, x: Doubles, y: Doubles, out: Numbers, n: int) -> None:
    """Write exp(x), hypot(x, y) and arctan2(y, x)."""
    out[i] = exp_rounded(x[i])
    out[n + i] = hypot_rounded(x[i], y[i])
    out[2 * n + i] = atan2_rounded(y[i], x[i])
