"""Arguments for the elementary functions, and what MPFR says of them. Run it for a longer look than a test takes:

python tests/elementary.py [NAME ...] --size 1000000
"""

import argparse
import ctypes
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import gmpy2
import numpy as np
from llvmlite import binding, ir

from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.elementary.lowering import Library
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.unit import Unit, unit_of

Columns = tuple[np.ndarray, ...]

IEEE = gmpy2.context(precision=53, emin=-1073, emax=1024, subnormalize=True, round=gmpy2.RoundToNearest)
"""Doubles, with what rounding them means near the smallest and the largest."""


def mpfr(name: str) -> Callable[..., gmpy2.mpfr]:
    """Return the real function, rounded as the context says."""
    return (lambda x, y: x**y) if name == "pow" else getattr(gmpy2, name)


def expected(name: str, columns: Columns) -> np.ndarray:
    """Return the double nearest to each result."""
    function = mpfr(name)
    with gmpy2.context(IEEE):
        results = [float(function(*map(gmpy2.mpfr, row))) for row in zip(*(c.tolist() for c in columns), strict=True)]
    return np.array(results)


def bits(values: np.ndarray) -> np.ndarray:
    """Return the bits of doubles; all NaNs are one."""
    return np.where(np.isnan(values), 0x7FF8 << 48, values.view(np.int64))


def arity(name: str) -> int:
    return getattr(rounded, f"{name}_rounded").__code__.co_argcount


@cache
def compiled(function: str, directory: Path) -> Callable[..., object]:
    """Return a compiled loop over columns, the last of which takes the results."""
    names = "xy"[: arity(function.split("_", maxsplit=1)[0])]
    text = (
        f"import math\nimport numpy as np\nfrom fasthep_archive.kernels.elementary.rounded import {function}\n\n"
        f"def loop({', '.join(names)}, out):\n    for i in range(out.size):\n"
        f"        out[i] = {function}({', '.join(f'{name}[i]' for name in names)})\n"
    )
    unit = Unit(name="elementary", text=text, functions=("loop",), libraries=(unit_of(rounded.__name__),))
    return Function.of(unit, "loop", directory)


def computed(function: str, columns: Columns, directory: Path) -> np.ndarray:
    """Return what the compiled function gives, such as ``exp_rounded``."""
    out = np.empty(columns[0].size)
    compiled(function, directory)(*(np.ascontiguousarray(column, np.float64) for column in columns), out)
    return out


def lowered(function: str, *, fused: bool) -> str:
    """Return a module of LLVM with the function, for no processor in particular."""
    module = ir.Module()
    Library(module, fused).function(getattr(rounded, function)).linkage = ""
    return str(module)


_ENGINES: list[object] = []
"""What holds the code of the functions."""


@cache
def unoptimised(function: str) -> Callable[..., float]:
    """Return the function compiled by LLVM alone, without optimisation and fused multiplication."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(lowered(function, fused=False))
    machine = binding.Target.from_default_triple().create_target_machine(cpu="", features="", opt=0)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * arity(function.split("_", maxsplit=1)[0]))
    call: Callable[..., float] = prototype(engine.get_function_address(f"elementary.{function}"))
    _ENGINES.append(engine)
    return call


def one_by_one(function: str, columns: Columns) -> np.ndarray:
    """Return what :func:`unoptimised` gives."""
    call = unoptimised(function)
    return np.array([call(*row) for row in zip(*(column.tolist() for column in columns), strict=True)])


def wrong(name: str, columns: Columns, found: np.ndarray) -> list[tuple[float, ...]]:
    """Return the arguments whose results are not the nearest doubles, at most five of them, with both."""
    right = expected(name, columns)
    places = np.nonzero(bits(found) != bits(right))[0][:5]
    return [(*(float(c[i]) for c in columns), float(found[i]), float(right[i])) for i in places]


class Arguments:
    """Random arguments."""

    def __init__(self, size: int, seed: int = 11) -> None:
        self._random = np.random.default_rng(seed)
        self._size = size

    def even(self, low: float, high: float) -> np.ndarray:
        return self._random.uniform(low, high, self._size)

    def powers(self, low: float, high: float) -> np.ndarray:
        """Return positive numbers between two powers of 2, evenly in their logarithm."""
        return 2.0 ** self.even(low, high)

    def scales(self, low: float, high: float) -> np.ndarray:
        """Return the same with both signs."""
        return self.powers(low, high) * self._random.choice([-1.0, 1.0], self._size)

    def around(self, centre: float, low: float, high: float) -> np.ndarray:
        return centre + self.scales(low, high)

    def integers(self, low: int, high: int) -> np.ndarray:
        return self._random.integers(low, high, self._size).astype(np.float64)

    def any(self) -> np.ndarray:
        """Return doubles of any bits: subnormal, huge, infinite, NaN."""
        return self._random.integers(-(2**63), 2**63 - 1, self._size).view(np.float64)

    def float32(self) -> np.ndarray:
        """Return doubles that are float32."""
        words = self._random.integers(0, 2**32, self._size).astype(np.uint32)
        with np.errstate(invalid="ignore"):
            return words.view(np.float32).astype(np.float64)

    def multiples(self, of: float, most: int) -> np.ndarray:
        """Return the doubles nearest to multiples."""
        return self.integers(-most, most) * of


def _exponentials(a: Arguments) -> list[Columns]:
    return [(a.even(-20, 20),), (a.even(-746, 711),), (a.scales(-60, 5),)]


def _logarithms(a: Arguments) -> list[Columns]:
    return [(a.even(0, 10),), (a.powers(-1074, 1024),), (a.around(1, -52, -3),)]


def _angles(a: Arguments) -> list[Columns]:
    turn = math.pi / 2
    return [
        (a.even(-50, 50),),
        (a.scales(-40, 16),),
        (a.scales(16, 1023),),
        (a.multiples(turn, 40_000),),
        (a.multiples(turn, 2**40),),
    ]


def _hyperbolas(a: Arguments) -> list[Columns]:
    return [(a.even(-6, 6),), (a.even(-712, 712),), (a.scales(-40, 5),)]


def _arcs(a: Arguments) -> list[Columns]:
    return [(a.even(-1, 1),), (a.scales(-40, 0),), (1 - a.powers(-53, 0),)]


_FAMILIES: Mapping[str, Callable[[Arguments], list[Columns]]] = {
    "exp exp2 expm1": _exponentials,
    "log log2 log10": _logarithms,
    "log1p": lambda a: [(a.even(-1, 5),), (a.scales(-60, -1),), (a.powers(0, 1023),)],
    "sin cos tan": _angles,
    "sinh cosh tanh": _hyperbolas,
    "asin acos atanh": _arcs,
    "atan": lambda a: [(a.even(-6, 6),), (a.scales(-60, 60),)],
    "asinh": lambda a: [(a.even(-6, 6),), (a.scales(-40, 20),), (a.scales(0, 1023),)],
    "acosh": lambda a: [(1 + a.powers(-52, 3),), (a.even(1, 10),), (a.powers(0, 1023),)],
    "cbrt": lambda a: [(a.even(-1000, 1000),), (a.scales(-1074, 1023),)],
    "atan2": lambda a: [
        (a.even(-40, 40), a.even(-40, 40)),
        (a.scales(-30, 30), a.scales(-30, 30)),
        (a.scales(-1074, 1023), a.scales(-1074, 1023)),
        (a.scales(-1074, -950), a.scales(-80, 80)),
    ],
    "hypot": lambda a: [
        (a.even(-40, 40), a.even(-40, 40)),
        (a.scales(-30, 30), a.scales(-30, 30)),
        (a.scales(-1074, -1000), a.scales(-1074, -1000)),
        (a.scales(1000, 1023), a.scales(1000, 1023)),
        (a.integers(0, 2**30), a.integers(0, 2**30)),
    ],
    "pow": lambda a: [
        (a.even(0, 100), a.even(-5, 5)),
        (a.powers(-1074, 1024), a.scales(-10, 4)),
        (a.around(1, -50, -1), a.scales(0, 55)),
        (a.scales(-3, 3), a.integers(-20, 20)),
        (a.integers(1, 2**27), a.integers(1, 4)),
        (a.integers(1, 2**13) ** 2, a.integers(1, 9) / 2),
    ],
}


def ranges(name: str, size: int) -> list[Columns]:
    """Return columns of arguments for each range of a function: the ones above, float32, and doubles of any bits."""
    arguments = Arguments(size)
    family = next(family for names, family in _FAMILIES.items() if name in names.split())
    count = arity(name)
    return [
        *family(arguments),
        tuple(arguments.float32() for _ in range(count)),
        tuple(arguments.any() for _ in range(count)),
    ]


def main() -> None:
    """Print, for each function and range, how many results are not the nearest double."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=rounded.NAMES)
    parser.add_argument("--size", type=int, default=100_000)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp())
    for name in options.names:
        start = time.monotonic()
        found = [
            wrong(name, columns, computed(f"{name}_rounded", columns, directory))
            for columns in ranges(name, options.size)
        ]
        print(
            f"{name:6} {len(found)} ranges of {options.size}: wrong {found} ({time.monotonic() - start:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
