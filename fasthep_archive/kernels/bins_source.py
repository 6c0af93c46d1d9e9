# mypy: ignore-errors
"""The compiled part of binning, in the language of :mod:`fasthep_archive.kernels.loop_lowering`.

numba compiles it too, where bounds are checked and to be compared, and Python runs it.

:mod:`fasthep_archive.kernels.bins` loads this text through :mod:`fasthep_archive.kernels.cache`. Each function takes
``cells`` one axis further, in place: ``cell * size + index``, with -1 staying -1. Loops have no data-dependent
branch, so that LLVM can turn them into SIMD code and unsorted values mispredict nothing (30 against 5 ns for a binary
search among 61 edges).
"""

import numpy as np

BLOCK = 256


def place_regular(cells, values, edges, scale):
    """Place among evenly spaced edges: a guess, known to be off by one bin at most, corrected against the edges."""
    bins = edges.size - 1
    lower = edges[0]
    upper = edges[bins]
    size = bins + 2
    for i in range(cells.size):
        cell = cells[i]
        value = values[i]
        inside = (value >= lower) & (value < upper)
        guess = min(np.int64((value - lower) * scale if inside else 0.0), bins - 1)
        k = np.uint64(guess)
        index = guess + 1 - np.int64(value < edges[k]) + np.int64(value >= edges[k + np.uint64(1)])
        outside = np.int64(0) if value < lower else bins + 1  # NaN is not below: overflow
        index = index if inside else outside
        cells[i] = cell * size + index if cell >= 0 else cell


def place_between(cells, values, edges):
    """Place among any edges by binary search: every step of the search for a whole block at a time."""
    size = edges.size + 1
    found = np.empty(BLOCK, np.int64)
    for begin in range(0, cells.size, BLOCK):
        count = min(BLOCK, cells.size - begin)
        block = values[begin : begin + count]
        for i in range(count):
            found[i] = 0
        left = edges.size
        while left > 1:
            half = left >> 1
            for i in range(count):
                k = found[i]
                found[i] = k if block[i] < edges[np.uint64(k + half - 1)] else k + half
            left -= half
        for i in range(count):
            k = found[i]
            index = k if block[i] < edges[np.uint64(k)] else k + 1
            cell = cells[begin + i]
            cells[begin + i] = cell * size + index if cell >= 0 else cell


def find_categories(values, keys, places, missing, positions):
    """Write ``places[k]`` where a value is ``keys[k]``, else ``missing``; ``keys`` are sorted and not empty."""
    found = np.empty(BLOCK, np.int64)
    for begin in range(0, values.size, BLOCK):
        count = min(BLOCK, values.size - begin)
        block = values[begin : begin + count]
        for i in range(count):
            found[i] = 0
        left = keys.size
        while left > 1:
            half = left >> 1
            for i in range(count):
                k = found[i]
                found[i] = k if block[i] < keys[np.uint64(k + half)] else k + half
            left -= half
        for i in range(count):
            k = np.uint64(found[i])
            place = places[k]
            positions[begin + i] = place if keys[k] == block[i] else missing


def place_positions(cells, positions, size):
    """Place at positions that are known."""
    for i in range(cells.size):
        cell = cells[i]
        cells[i] = cell * size + positions[i] if cell >= 0 else cell
