"""Nanoseconds per element of each elementary function, beside NumPy and numba with the machine's libm.

    python bench/functions.py [NAME ...] [--size N]

*In strips* is a whole kernel of a formula with nothing else, on blocks of events as passes have them: the quick phase for
a strip of values at a time, in SIMD code, and then the accurate phase for the values that are not certain. *one by one* is
one call for each value.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fasthep_archive.formula.columns import Column, ColumnType
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.program import Builder
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

BLOCK = 16_384
"""Events that a pass takes at a time."""


def in_strips(name: str, columns: Mapping[str, np.ndarray], cache: Path) -> Callable[[], object]:
    """Return what computes the function of columns block by block."""
    builder = Builder({letter: ColumnType("float64") for letter in columns})
    text = "x ** y" if name == "pow" else f"{NUMPY.get(name, name)}({', '.join(columns)})"
    value = builder.formula(parse(text), {letter: builder.column(letter) for letter in columns})
    kernel = compile_program(builder.program([value]), cache=cache)
    size = len(columns["x"])
    parts = [
        {letter: Column(column[begin : begin + BLOCK]) for letter, column in columns.items()}
        for begin in range(0, size, BLOCK)
    ]

    def call() -> None:
        for part in parts:
            kernel(part, {}, len(part["x"].content))

    return call


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
    print("| ns an element | NumPy | numba and libm | ours, one by one | ours, in strips |\n|---|---|---|---|---|")
    for name in options.names:
        count = getattr(rounded, f"{name}_rounded").__code__.co_argcount
        columns = [random.uniform(*RANGES[name], options.size) for _ in range(count)]
        out = np.empty(options.size)
        letters = "xy"[:count]
        names = {
            "name": name,
            "parameters": ", ".join(letters),
            "values": ", ".join(f"{letter}[i]" for letter in letters),
        }
        ufunc = getattr(np, NUMPY.get(name, name))
        with np.errstate(all="ignore"):
            times = [best(lambda: ufunc(*columns, out=out), options.size)]  # noqa: B023
        for text in (
            SCALAR.format(function=LIBM.get(name, f"math.{name}"), **names),
            SCALAR.format(function=f"{name}_rounded", **names),
        ):
            libraries = (unit_of(rounded.__name__),) if f"{name}_" in text else ()
            loop = Function.of(Unit(name="bench", text=text, functions=("loop",), libraries=libraries), "loop", cache)
            times.append(best(lambda: loop(*columns, out), options.size))  # noqa: B023
        times.append(best(in_strips(name, dict(zip(letters, columns, strict=True)), cache), options.size))
        print(f"| `{name}` | " + " | ".join(f"{time:.1f}" for time in times) + " |", flush=True)


if __name__ == "__main__":
    main()
