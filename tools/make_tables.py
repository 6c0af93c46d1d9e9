"""Write fasthep_archive/kernels/elementary/tables.py: the constants of the elementary functions, by their definitions.

    pip install mpmath
    python tools/make_tables.py

Everything is computed to 4000 bits and rounded once, so that any version of mpmath gives the same bytes; a test does
it again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from mpmath import mp, mpf

TARGET = Path(__file__).parents[1] / "fasthep_archive" / "kernels" / "elementary" / "tables.py"
LIMB = 28
"""Bits of a limb of a wide number, as in wide.py."""
WIDE = 30
"""Limbs of a constant: one before the point, and one more behind it than the longest wide number has."""
TURN = 72
"""Limbs of 2/pi: 34 for the exponent of the largest double, 3 for its bits, and those of a wide number."""


def double(value: mpf) -> float:
    """Return the nearest double."""
    return float(value)


def pair(value: mpf) -> tuple[float, float]:
    """Return the nearest double, and the nearest to the rest."""
    high = double(value)
    return high, double(value - mpf(high))


def short(value: mpf, bits: int) -> float:
    """Return ``value`` cut off after ``bits`` significant bits."""
    mantissa, exponent = mp.frexp(value)
    return double(mp.floor(mantissa * 2**bits) / mpf(2) ** bits * mpf(2) ** int(exponent))


def parts(value: mpf, bits: int, count: int) -> tuple[float, ...]:
    """Return doubles that add up to ``value``: ``count - 1`` of ``bits`` bits, and the nearest to the rest."""
    found: list[float] = []
    for _ in range(count - 1):
        found.append(short(value, bits))
        value -= mpf(found[-1])
    return (*found, double(value))


def limbs(value: mpf, count: int) -> list[int]:
    """Return the digits of ``value`` to base 2**28, the one before the point first; cut off."""
    whole = int(mp.floor(value * mpf(2) ** (LIMB * (count - 1))))
    return [(whole >> (LIMB * (count - 1 - i))) & (2**LIMB - 1) for i in range(count)]


def from_bits(word: int) -> float:
    """Return the double with these bits."""
    return float(struct.unpack("<d", struct.pack("<q", word))[0])


LOG_OFFSET = 0x3FE6900000000000


def reciprocals() -> list[float]:
    """Return a number of 11 bits near 1/z for each of 256 intervals of z; 1 on both sides of 1."""
    found = []
    for i in range(256):
        low, high = from_bits(LOG_OFFSET + (i << 44)), from_bits(LOG_OFFSET + ((i + 1) << 44))
        centre = (mpf(low) + mpf(high)) / 2
        found.append(1.0 if low <= 1 <= high else double(mp.nint(2**10 / centre) / 2**10))
    return found


def radius(inverses: Sequence[float]) -> float:
    """Return the largest ``|z * c - 1|``."""
    ends = [[from_bits(LOG_OFFSET + (i << 44)), from_bits(LOG_OFFSET + ((i + 1) << 44) - 1)] for i in range(256)]
    return max(abs(double(mpf(z) * mpf(c) - 1)) for row, c in zip(ends, inverses, strict=True) for z in row)


def content() -> str:
    """Return the text of the module."""
    mp.prec = 4000
    ln2, pi = mp.ln(2), +mp.pi
    lines = [
        '"""Constants of the elementary functions. Written by tools/make_tables.py; not to be edited."""',
        "# fmt: off",
        "# ruff: noqa: E501",
        "",
        "import numpy as np",
        "",
    ]

    def scalars(names: str, values: Sequence[float]) -> None:
        lines.extend(f'{name} = float.fromhex("{v.hex()}")' for name, v in zip(names.split(), values, strict=True))

    def table(name: str, values: Sequence[float] | Sequence[int], dtype: str) -> None:
        text = ", ".join(repr(value) for value in values)
        lines.append(f"{name} = np.array([{text}], np.{dtype})")

    def pairs(names: str, values: Sequence[mpf]) -> None:
        for name, column in zip(names.split(), zip(*map(pair, values), strict=True), strict=True):
            table(name, column, "float64")

    scalars("EXP_SCALE", [double(256 / ln2)])
    scalars("EXP_C1 EXP_C2 EXP_C3", parts(ln2 / 256, 34, 3))
    pairs("EXP_HIGH EXP_LOW", [mpf(2) ** (mpf(j) / 256) for j in range(256)])
    scalars("LN2_HIGH LN2_LOW", pair(ln2))
    scalars("LOG_C1 LOG_C2 LOG_C3", parts(ln2, 41, 3))
    scalars("LOG2_E_HIGH LOG2_E_LOW", pair(1 / ln2))
    scalars("LOG10_E_HIGH LOG10_E_LOW", pair(1 / mp.ln(10)))
    scalars("THIRD_HIGH THIRD_LOW", pair(mpf(1) / 3))
    inverses = reciprocals()
    assert radius(inverses) < 2**-8, radius(inverses)
    lines.append(f"LOG_OFFSET = {LOG_OFFSET}")
    table("LOG_INVERSE", inverses, "float64")
    pairs("LOG_HIGH LOG_LOW", [-mp.log(mpf(c)) for c in inverses])
    scalars("TURN_SCALE", [double(128 / pi)])
    scalars("TURN_C1 TURN_C2 TURN_C3 TURN_C4", parts(pi / 128, 30, 4))
    pairs("SINE_HIGH SINE_LOW", [mp.sin(pi * j / 128) if j % 128 else mpf(0) for j in range(256)])
    pairs("ANGLE_HIGH ANGLE_LOW", [mp.atan(mpf(j) / 64) for j in range(65)])
    scalars("PI_HIGH PI_LOW", pair(pi))
    scalars("HALF_PI_HIGH HALF_PI_LOW", pair(pi / 2))
    for name, value in {"LN2": ln2, "LOG2_E": 1 / ln2, "LOG10_E": 1 / mp.ln(10), "PI": pi, "HALF_PI": pi / 2}.items():
        table(f"WIDE_{name}", limbs(value, WIDE), "int64")
    table("WIDE_TURN", limbs(2 / pi, TURN), "int64")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(content(), encoding="ascii")
