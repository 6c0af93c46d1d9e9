# mypy: ignore-errors
"""The compiled part of the self-test, in the language of :mod:`fasthep_archive.kernels.loop_lowering`.

numba compiles it too, where bounds are checked and to be compared, and Python runs it.

:mod:`fasthep_archive.kernels.probes` loads this text. Arguments come as arrays, so that no compiler can know the
results beforehand.
"""

import math

import numpy as np

from fasthep_archive.kernels.elementary.rounded import atan2_quick, exp_quick, hypot_quick


def operate(x, y, z, out):
    """Write the results of nine operations, those of the first before those of the second ..."""
    n = x.size
    for i in range(n):
        out[i] = x[i] + y[i]
        out[n + i] = x[i] * y[i]
        out[2 * n + i] = x[i] / y[i]
        out[3 * n + i] = math.sqrt(x[i])
        out[4 * n + i] = x[i] * y[i] + z[i]
        out[5 * n + i] = (x[i] + y[i]) + z[i]
        out[6 * n + i] = np.float64(np.float32(x[i]))
        out[7 * n + i] = np.rint(x[i])
        out[8 * n + i] = 1.0 if x[i] > 0.0 else 0.0


def elementary(x, y, out):
    """Write the quick phases of exp(x), hypot(x, y) and arctan2(y, x): pairs of doubles, products and their errors."""
    n = x.size
    for i in range(n):
        out[i] = exp_quick(x[i])[0]
        out[n + i] = hypot_quick(x[i], y[i])[0]
        out[2 * n + i] = atan2_quick(y[i], x[i])[0]
