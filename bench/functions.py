"""Nanoseconds per element of each elementary function, beside NumPy and numba with the machine's libm.

    python bench/functions.py [NAME ...] [--size N]

``blocks`` is how generated code can call them: the quick phase for a block of values at a time, which LLVM turns into
SIMD code, and then the accurate phase for the values that are not certain. ``scalar`` is one call for each value.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.unit import Unit, unit_of

RANGES = {
    "exp": (-20, 20), "exp2": (-20, 20), "expm1": (-5, 5), "log": (1e-3, 1e3), "log2": (1e-3, 1e3), "log10": (1e-3, 1e3),
    "log1p": (-0.9, 10), "sin": (-50, 50), "cos": (-50, 50), "tan": (-50, 50), "asin": (-1, 1), "acos": (-1, 1),
    "atan": (-10, 10), "atan2": (-40, 40), "sinh": (-6, 6), "cosh": (-6, 6), "tanh": (-6, 6), "asinh": (-6, 6),
    "acosh": (1, 10), "atanh": (-1, 1), "hypot": (-40, 40), "cbrt": (-1e3, 1e3), "pow": (0, 10),
}  # fmt: skip
"""Where the arguments are taken from, evenly."""
NUMPY = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "pow": "power",
}
LIBM = {"cbrt": "np.cbrt", "exp2": "np.exp2", "log2": "np.log2"}

SCALAR = """import math
import numpy as np

def loop({parameters}, out):
    for i in range(out.size):
        out[i] = {function}({values})
"""

BLOCKS = """import numpy as np
from fasthep_archive.kernels.elementary.rounded import {name}_exact, {name}_quick

def loop({parameters}, out):
    left = np.empty(1024, np.int64)
    for begin in range(0, out.size, 1024):
        count = min(1024, out.size - begin)
        {slices}
        results = out[begin : begin + count]
        some = 0
        for i in range(count):
            value, certain = {name}_quick({members})
            results[i] = value
            uncertain = 0 if certain else 1
            left[i] = uncertain
            some += uncertain
        if some > 0:
            for i in range(count):
                if left[i] != 0:
                    results[i] = {name}_exact({members})
"""


def best(call: Callable[[], object], size: int) -> float:
    """Return nanoseconds of CPU an element, the best of several times."""
    call()
    found = []
    for _ in range(7):
        start = time.thread_time_ns()
        call()
        found.append(time.thread_time_ns() - start)
    return min(found) / size


def main() -> None:
    """Print one line a function."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=rounded.NAMES)
    parser.add_argument("--size", type=int, default=100_000)
    options = parser.parse_args()
    random = np.random.default_rng(1)
    cache = Path(tempfile.mkdtemp())
    print(f"{'':8}{'NumPy':>9}{'libm':>9}{'scalar':>9}{'blocks':>9}   ns an element")
    for name in options.names:
        count = getattr(rounded, f"{name}_rounded").__code__.co_argcount
        columns = [random.uniform(*RANGES[name], options.size) for _ in range(count)]
        out = np.empty(options.size)
        letters = "xy"[:count]
        names = {
            "name": name,
            "parameters": ", ".join(letters),
            "values": ", ".join(f"{letter}[i]" for letter in letters),
            "slices": "; ".join(f"{letter}s = {letter}[begin : begin + count]" for letter in letters),
            "members": ", ".join(f"{letter}s[i]" for letter in letters),
        }
        ufunc = getattr(np, NUMPY.get(name, name))
        with np.errstate(all="ignore"):
            times = [best(lambda: ufunc(*columns, out=out), options.size)]  # noqa: B023
        for text in (
            SCALAR.format(function=LIBM.get(name, f"math.{name}"), **names),
            SCALAR.format(function=f"{name}_rounded", **names),
            BLOCKS.format(**names),
        ):
            libraries = (unit_of(rounded.__name__),) if f"{name}_" in text else ()
            loop = Function.of(Unit(name="bench", text=text, functions=("loop",), libraries=libraries), "loop", cache)
            times.append(best(lambda: loop(*columns, out), options.size))  # noqa: B023
        print(f"{name:8}" + "".join(f"{time:9.2f}" for time in times), flush=True)


if __name__ == "__main__":
    main()
