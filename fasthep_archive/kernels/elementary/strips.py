"""The elementary functions for a strip of values at a time, as the loops of programs call them.

Of each there is ``NAME_strip(x, results, count)``, with ``y`` after ``x`` where the function takes two numbers. It puts
the function of the first ``count`` values of its arguments into ``results``. All arrays have :data:`LENGTH` values, and
``results`` is none of the arguments; behind ``count`` it is left with anything.

Here they are plain Python, for tests. Machine code is made of the same quick and accurate phases by
:mod:`fasthep_archive.kernels.elementary.strip_lowering`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.elementary.rounded import NAMES
from fasthep_archive.kernels.unit import Unit, unit_of

LENGTH = 512
"""Values of a strip: few enough that a dozen arrays of them stay in the first-level cache."""

SUFFIX = "_strip"

COPY = "copy_out"
"""The function that copies a strip."""


def python(name: str) -> Callable[..., None]:
    """Return ``NAME_strip`` as plain Python."""
    function = getattr(rounded, f"{name}_rounded")

    def strip(*arguments: NDArray[np.float64]) -> None:
        *columns, results, count = arguments
        for i in range(int(count)):
            results[i] = function(*(float(column[i]) for column in columns))

    return strip


def copy_out(values: Array, count: int, out: Array, begin: int) -> None:
    """Copy the first ``count`` of ``values`` to where ``out`` has its value ``begin``."""
    out[begin : begin + count] = values[:count]


@cache
def unit() -> Unit:
    """Return the functions as numba sees them, with the text of all that they are made of."""
    return Unit(
        name="strips",
        text=unit_of(rounded.__name__).text,
        functions=(*(f"{name}{SUFFIX}" for name in NAMES), COPY),
        module=__name__,
        substitute=f"{__package__}.numba_strips",
    )
