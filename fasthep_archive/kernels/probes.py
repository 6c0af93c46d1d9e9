"""Probes of the floating-point environment: whether this thread computes as IEEE 754 says and the profile supposes.

The rounding mode and the treatment of subnormal numbers are a register of each thread, which any library can change
for everybody: one that was linked with ``-ffast-math`` (``-Ofast``) sets "flush to zero" when it is loaded, and nothing
says so. A compiler can fuse a product and a sum, or keep more digits than a double has. Each probe is one operation
whose result tells; it runs in compiled code, in NumPy and in Python.

Arguments and results are whole numbers, the bits of doubles: text could not be read rightly in a process that flushes.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.unit import Unit, unit_of

Doubles: TypeAlias = NDArray[np.float64]
Bits: TypeAlias = NDArray[np.int64]

SOURCE = "fasthep_archive.kernels.probes_source"
_SIGN = -(1 << 63)


def two(power: int, ulps: int = 0) -> int:
    """Return the bits of the double that is ``ulps`` doubles above ``2**power``.

    >>> hex(two(0, 1))
    '0x3ff0000000000001'
    """
    return ((power + 1023) << 52 if power > -1023 else 1 << (power + 1074)) + ulps


def minus(bits: int) -> int:
    """Return the bits of the number with the other sign, as an int64."""
    return bits + _SIGN if bits >= 0 else bits - _SIGN


@dataclass(frozen=True, slots=True)
class Probe:
    """An operation whose result tells something.

    :ivar fault: what is wrong when it isn't ``result``. :ivar operation: one of :data:`OPERATIONS`.
    """

    fault: str
    operation: str
    x: int
    y: int
    z: int
    result: int


OPERATIONS = (
    "sum",
    "product",
    "quotient",
    "root",
    "product and sum",
    "two sums",
    "to float32",
    "to integer",
    "positive",
)
"""What ``probes_source.operate`` computes, in its order."""

ROUNDING = "the rounding mode is not to nearest"
RESULTS = "subnormal results become 0 (FTZ)"
OPERANDS = "subnormal operands count as 0 (DAZ)"
EXCESS = "intermediate results have more digits than a double (x87)"
FUSED = "a product and a sum are fused"
REORDERED = "sums are reordered"
APPROXIMATE = "division or square root is approximate"

_ONE, _ZERO, _TINY = two(0), 0, two(-1074)
_HALF_ULP, _QUARTER_ULP, _THREE_QUARTERS = two(-53), two(-54), two(-53, 1 << 51)

PROBES = (
    Probe(ROUNDING, "sum", _ONE, _QUARTER_ULP, _ZERO, _ONE),
    Probe(ROUNDING, "sum", _ONE, _THREE_QUARTERS, _ZERO, two(0, 1)),
    Probe(ROUNDING, "sum", _ONE, _HALF_ULP, _ZERO, _ONE),
    Probe(ROUNDING, "sum", two(0, 1), _HALF_ULP, _ZERO, two(0, 2)),
    Probe(ROUNDING, "sum", minus(_ONE), minus(_QUARTER_ULP), _ZERO, minus(_ONE)),
    Probe(ROUNDING, "sum", minus(_ONE), minus(_THREE_QUARTERS), _ZERO, minus(two(0, 1))),
    Probe(ROUNDING, "product", two(0, 1), two(0, 1), _ZERO, two(0, 2)),
    Probe(ROUNDING, "to integer", two(1, 1 << 50), _ONE, _ZERO, two(1)),  # 2.5
    Probe(ROUNDING, "to integer", two(-1), _ONE, _ZERO, _ZERO),
    Probe(ROUNDING, "to float32", two(0, 3 << 27), _ONE, _ZERO, two(0, 1 << 29)),  # 1 + 0.75 float32 ulp
    Probe(RESULTS, "product", two(-1022), two(-1), _ZERO, two(-1023)),
    Probe(RESULTS, "product", two(-600), two(-474), _ZERO, _TINY),
    Probe(RESULTS, "sum", two(-1022, 1), minus(two(-1022)), _ZERO, _TINY),
    Probe(RESULTS, "quotient", two(-1022), two(3), _ZERO, two(-1025)),
    Probe(RESULTS, "to float32", two(-140), _ONE, _ZERO, two(-140)),
    Probe(OPERANDS, "product", two(-1023), two(1), _ZERO, two(-1022)),
    Probe(OPERANDS, "sum", _TINY, two(-1022), _ZERO, two(-1022, 1)),
    Probe(OPERANDS, "root", two(-1074), _ONE, _ZERO, two(-537)),
    Probe(OPERANDS, "quotient", _TINY, _TINY, _ZERO, _ONE),
    Probe(OPERANDS, "positive", _TINY, _ONE, _ZERO, _ONE),
    Probe(EXCESS, "sum", _ONE, two(-53, 1 << 40), _ZERO, two(0, 1)),  # to 64 bits first, it would be a tie
    Probe(EXCESS, "two sums", _ONE, two(-54), two(-54), _ONE),
    Probe(EXCESS, "product and sum", two(1000), two(1000), minus(two(1023)), two(1024)),  # infinite
    Probe(FUSED, "product and sum", two(0, 1 << 25), two(0, 1 << 25), minus(two(0, 1 << 26)), _ZERO),
    Probe(FUSED, "product and sum", two(0, 1), two(0, 1), minus(_ONE), two(-51)),
    Probe(REORDERED, "two sums", two(53), _ONE, minus(two(53)), _ZERO),
    Probe(REORDERED, "two sums", two(-80), _ONE, minus(_ONE), _ZERO),
    Probe(APPROXIMATE, "quotient", _ONE, two(1, 1 << 51), _ZERO, 0x3FD5555555555555),  # 1/3
    Probe(APPROXIMATE, "quotient", two(2), two(1, 1 << 51), _ZERO, 0x3FF5555555555555),
    Probe(APPROXIMATE, "root", two(1), _ONE, _ZERO, 0x3FF6A09E667F3BCD),
    Probe(APPROXIMATE, "root", two(0, 1), _ONE, _ZERO, _ONE),
)
"""Their results follow from IEEE 754-2019 alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviation:
    """A probe that had another result; ``where`` it ran."""

    where: str
    probe: Probe
    found: int

    def __str__(self) -> str:
        words = " ".join(f"{word & (1 << 64) - 1:016x}" for word in (self.probe.x, self.probe.y, self.probe.z))
        found, right = (f"{word & (1 << 64) - 1:016x}" for word in (self.found, self.probe.result))
        return f"{self.where}: {self.probe.fault}: {self.probe.operation} of {words} is {found}, not {right}"


def deviations(cache: Path) -> tuple[Deviation, ...]:
    """Return every probe that has not the right result in this thread, in compiled code, NumPy or Python.

    Takes some 60 µs once the code is loaded. Reads no text, and computes nothing but the probes with doubles.
    """
    places = (("compiled code", _compiled(cache)), ("NumPy", _with_numpy()), ("Python", _with_python()))
    return tuple(deviation for where, computed in places for deviation in _deviating(where, computed))


def differing(where: str, results: Doubles) -> Iterator[Deviation]:
    """Yield the probes that are not right among what ``operate`` has written somewhere else."""
    return _deviating(where, np.asarray(results.view(np.int64)[_places()]))


def _deviating(where: str, computed: Bits) -> Iterator[Deviation]:
    for k in np.flatnonzero(computed != _results()):
        yield Deviation(where=where, probe=PROBES[k], found=int(computed[k]))


def function(name: str, cache: Path) -> Function:
    """Return a compiled function of ``probes_source``."""
    return Function.of(_unit(), name, cache)


@functools.cache
def _unit() -> Unit:
    return replace(unit_of(SOURCE), lowerable=True)


@functools.cache
def columns() -> tuple[Doubles, Doubles, Doubles]:
    """Return the arguments of the probes."""
    x, y, z = (np.array([getattr(probe, name) for probe in PROBES], np.int64).view(np.float64) for name in "xyz")
    return x, y, z


@functools.cache
def _results() -> Bits:
    return np.array([probe.result for probe in PROBES], np.int64)


@functools.cache
def _places() -> Bits:
    """Return where the result of each probe is in what ``operate`` writes."""
    return np.array([OPERATIONS.index(probe.operation) * len(PROBES) + k for k, probe in enumerate(PROBES)])


def _compiled(cache: Path) -> Bits:
    out = np.empty(len(OPERATIONS) * len(PROBES))
    function("operate", cache)(*columns(), out)
    return np.asarray(out.view(np.int64)[_places()])


def _with_numpy() -> Bits:
    x, y, z = columns()
    with np.errstate(all="ignore"):
        computed = (
            x + y,
            x * y,
            x / y,
            np.sqrt(x),
            x * y + z,
            (x + y) + z,
            x.astype(np.float32).astype(np.float64),
            np.rint(x),
            (x > 0.0).astype(np.float64),
        )
    return np.asarray(np.concatenate(computed).view(np.int64)[_places()])


_PYTHON: Mapping[str, Callable[[float, float, float], float]] = MappingProxyType(
    {
        "sum": lambda x, y, _: x + y,
        "product": lambda x, y, _: x * y,
        "quotient": lambda x, y, _: x / y,
        "root": lambda x, _, __: math.sqrt(x),
        "product and sum": lambda x, y, z: x * y + z,
        "two sums": lambda x, y, z: (x + y) + z,
        "to float32": lambda x, _, __: float(struct.unpack("<f", struct.pack("<f", x))[0]),
        "to integer": lambda x, _, __: float(round(x)),
        "positive": lambda x, _, __: float(x > 0.0),
    }
)


def _with_python() -> Bits:
    """Return the results in Python; its division raises where IEEE's doesn't, and then the operand was flushed."""
    results = []
    for probe in PROBES:
        x, y, z = struct.unpack("<3d", struct.pack("<3q", probe.x, probe.y, probe.z))
        try:
            result = _PYTHON[probe.operation](x, y, z)
        except ZeroDivisionError:
            result = math.nan
        results.append(struct.unpack("<q", struct.pack("<d", result))[0])
    return np.array(results, np.int64)
