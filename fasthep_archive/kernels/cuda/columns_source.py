"""What is done to columns on the GPU around the loops of a program: what thread ``i`` does, in restricted Python.

Running counts (*prefix sums*) are made in steps: threads add up pieces of :data:`PIECE` numbers, the pieces' sums are
turned into running counts in the same way, and threads go through their pieces again. Counts are integers: the order
in which they are added doesn't matter.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.kernels.cuda.fills_source import lower
from fasthep_archive.kernels.elementary.primitives import Limbs

Words: TypeAlias = Limbs
Numbers: TypeAlias = NDArray[np.float64]
Truths: TypeAlias = NDArray[np.bool_]

PIECE = 32
"""Numbers that one thread adds up."""

NAMES = (
    "piece_sums",
    "piece_starts",
    "multiples",
    "looked_up",
    "spread",
    "fill_words",
    "fill_numbers",
    "truth_as_words",
    "words_as_numbers",
    "selected_cells",
    "drop_missing",
    "first_unknown",
)
"""The functions that are kernels."""


def piece_sums(i: int, values: Words, sums: Words, size: int) -> None:
    """Write the sum of piece ``i`` of ``size`` values."""
    total = 0
    for k in range(i * PIECE, min(i * PIECE + PIECE, size)):
        total += values[k]
    sums[i] = total


def piece_starts(i: int, values: Words, starts: Words, size: int) -> None:
    """Replace each value of piece ``i`` by the sum of all before it; ``starts[i]`` is the sum before the piece."""
    total = starts[i]
    for k in range(i * PIECE, min(i * PIECE + PIECE, size)):
        value = values[k]
        values[k] = total
        total += value


def multiples(i: int, out: Words, step: int) -> None:
    """Write the offsets of lists that all have ``step`` values."""
    out[i] = i * step


def looked_up(i: int, out: Words, table: Words, places: Words) -> None:
    """Write what a table has at a place."""
    out[i] = table[places[i]]


def spread(i: int, out: Words, values: Words, offsets: Words) -> None:
    """Write the value of event ``i`` for each value of its list."""
    for k in range(offsets[i], offsets[i + 1]):
        out[k] = values[i]


def fill_words(i: int, out: Words, value: int) -> None:
    """Write the same integer everywhere."""
    out[i] = value


def fill_numbers(i: int, out: Numbers, value: float) -> None:
    """Write the same number everywhere."""
    out[i] = value


def truth_as_words(i: int, out: Words, values: Truths) -> None:
    """Write 1 for true and 0 for false."""
    out[i] = 1 if values[i] else 0


def words_as_numbers(i: int, out: Numbers, values: Words) -> None:
    """Write integers as doubles, to nearest."""
    out[i] = float(values[i])


def selected_cells(i: int, cells: Words, selected: Truths) -> None:
    """Write cell 0 for what is selected, and -1, which is not filled, for what is not."""
    cells[i] = 0 if selected[i] else -1


def drop_missing(i: int, cells: Words, valid: Truths) -> None:
    """Write cell -1 for what is missing."""
    if not valid[i]:
        cells[i] = -1


def first_unknown(i: int, first: Words, positions: Words, cells: Words) -> None:
    """Lower ``first`` to the place of the first entry that is filled and has no bin."""
    if positions[i] < 0 and cells[i] >= 0:
        lower(first, 0, i)
