"""Binning and exact sums for the GPU: what thread ``i`` does, in restricted Python that Python also runs.

The cells, limbs and counts that come out are those of :mod:`fasthep_archive.kernels.bins_source` and
:mod:`fasthep_archive.kernels.sums_source`. There terms go to two limbs and cells are settled every 1024 terms, here to
three, of which each takes at most 2**32 in magnitude: 2**31 terms of one cell before ``settle`` is needed. Threads add
to the same limbs in any order; integer addition does not care.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.kernels.elementary.primitives import Limbs, to_bits, two_product

Words: TypeAlias = Limbs
Doubles: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.float64]

MAGNITUDE = 0x7FFFFFFFFFFFFFFF
MANTISSA = 0xFFFFFFFFFFFFF
IMPLICIT = 0x10000000000000
LOW = 0xFFFFFFFF
FAR = 9.745314011399999e288
NEAR = 1.0261342003245941e-289
NAMES = (
    "place_regular",
    "place_between",
    "place_positions",
    "find_categories",
    "count_cells",
    "extent",
    "add_values",
    "settle",
    "products",
)
"""The functions that are kernels."""


def add_to(words: Words, place: int, term: int) -> None:
    """Add to a number that other threads add to: atomic on the device."""
    words[place] += term


def lower(words: Words, place: int, value: int) -> None:
    """Make a number at most ``value``: atomic on the device."""
    words[place] = min(int(words[place]), value)


def move(cells: Words, i: int, size: int, index: int) -> None:
    """Take cell ``i`` one axis of ``size`` bins further; -1 stays."""
    cell = cells[i]
    if cell >= 0:
        cells[i] = cell * size + index


def place_regular(i: int, cells: Words, values: Doubles, edges: Doubles, bins: int, scale: float) -> None:
    """Place among ``bins`` evenly spaced bins: a guess, off by one bin at most, corrected against the edges."""
    value = values[i]
    first = edges[0]
    index = 0 if value < first else bins + 1
    if value >= first and value < edges[bins]:
        k = min(int((value - first) * scale), bins - 1)
        index = k + 1 - int(value < edges[k]) + int(value >= edges[k + 1])
    move(cells, i, bins + 2, index)


def place_between(i: int, cells: Words, values: Doubles, edges: Doubles, count: int) -> None:
    """Place among any ``count`` edges, by binary search."""
    value = values[i]
    k = 0
    left = count
    while left > 1:
        half = left >> 1
        if not value < edges[k + half - 1]:  # a NaN is not below
            k += half
        left -= half
    move(cells, i, count + 1, k if value < edges[k] else k + 1)


def place_positions(i: int, cells: Words, positions: Words, size: int) -> None:
    """Place at positions that are known."""
    move(cells, i, size, positions[i])


def find_categories(
    i: int, positions: Words, values: Words, keys: Words, places: Words, count: int, missing: int
) -> None:
    """Write ``places[k]`` if the value is ``keys[k]``, else ``missing``; the keys are sorted, one at least."""
    value = values[i]
    k = 0
    left = count
    while left > 1:
        half = left >> 1
        if value >= keys[k + half]:
            k += half
        left -= half
    positions[i] = places[k] if keys[k] == value else missing


def count_cells(i: int, cells: Words, counts: Words, size: int) -> None:
    """Count the cell if it lies in range."""
    cell = cells[i]
    if 0 <= cell < size:
        add_to(counts, cell, 1)


def extent(i: int, cells: Words, size: int, values: Doubles, squared: bool, window: Words) -> None:
    """Lower ``window`` to the number of the first limb that is needed, and to minus that of the last."""
    cell = cells[i]
    value = values[i] * values[i] if squared else values[i]
    if 0 <= cell < size and 0.0 < abs(value) < math.inf:
        limb = (max((to_bits(value) & MAGNITUDE) >> 52, 1) - 1) >> 5
        lower(window, 0, limb)
        lower(window, 1, -limb)


def add_values(
    i: int,
    cells: Words,
    size: int,
    values: Doubles,
    squared: bool,
    limbs: Words,
    first: int,
    width: int,
    nonfinite: Words,
) -> None:
    """Add the value, or its rounded square, to its cell; the window of limbs reaches two beyond the value's."""
    cell = cells[i]
    if 0 <= cell < size:
        value = values[i] * values[i] if squared else values[i]
        bits = to_bits(value)
        exponent = (bits & MAGNITUDE) >> 52
        mantissa = bits & MANTISSA
        if exponent == 0x7FF:
            kind = 0 if mantissa != 0 else (1 if bits >= 0 else 2)
            add_to(nonfinite, cell * 3 + kind, 1)
        elif value != 0.0:
            if exponent != 0:
                mantissa |= IMPLICIT
            if bits < 0:
                mantissa = -mantissa
            position = max(exponent, 1) - 1
            shift = position & 31
            rest = mantissa >> (32 - shift)
            k = cell * width + (position >> 5) - first
            add_to(limbs, k, (mantissa << shift) & LOW)
            add_to(limbs, k + 1, rest & LOW)
            add_to(limbs, k + 2, rest >> 32)


def settle(i: int, limbs: Words, width: int) -> None:
    """Carry within cell ``i``: every limb in [0, 2**32), except the last, which has the sign."""
    carry = 0
    for k in range(i * width, i * width + width - 1):
        total = limbs[k] + carry
        limbs[k] = total & LOW
        carry = total >> 32
    limbs[i * width + width - 1] += carry


def products(i: int, one: Doubles, other: Doubles, high: Numbers, low: Numbers) -> None:
    """Write a product, rounded, and what its rounding left out, as :mod:`fasthep_archive.kernels.moments_source`."""
    product, error = two_product(one[i], other[i])
    size = abs(product)
    inside = size >= NEAR and size < FAR and abs(one[i]) < FAR and abs(other[i]) < FAR
    high[i] = product
    low[i] = error if inside else 0.0
