"""Columns on their way into kernels: checks that they are what the program was built for.

Loops read without checking bounds, so everything that they rely on is checked here, once per block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array, Column, ColumnType, DType

_KINDS: Mapping[DType, str] = {"float64": "fiub", "int64": "iub", "bool": "b", "text": ""}
"""Which kinds of NumPy types can stand for a type."""

MOST_PAIRS = 1 << 27
"""Pairs of objects in a block of events: each of their fields is a GiB."""


@dataclass(frozen=True, slots=True)
class Lists:
    """The list structure of some columns in one block.

    :ivar name: the column that the offsets are from, for messages.
    :ivar offsets: none if they have not been computed.
    :ivar size: number of values.
    """

    name: str
    offsets: NDArray[np.int64] | None
    size: int


def content(name: str, column: Column, expected: ColumnType) -> Array:
    """Return the column's values as loops take them: contiguous, aligned, read-only, and at least one.

    :raises DataError: if the values are not of the expected type, or don't fit it.
    """
    values = column.content
    if values.dtype.kind not in _KINDS[expected.dtype] or values.itemsize > 8 or values.ndim != 1:
        raise DataError(f"column {name!r} has values of {values.dtype}, and {expected.dtype} was expected")
    if values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
        raise DataError(f"column {name!r} has unsigned values of 2**63 and above, which no int64 can hold")
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # the narrowest that processors have; exactly
    return read_only(values if values.size else np.zeros(1, values.dtype))


def validity(name: str, column: Column, expected: ColumnType) -> Array | None:
    """Return where the column has values, none if it has them everywhere by its type.

    :raises DataError: if values are missing where none were expected.
    """
    valid = column.valid
    if valid is not None and (valid.dtype != np.bool_ or valid.shape != column.content.shape):
        raise DataError(f"column {name!r} does not say for each of its values whether it is missing")
    if expected.optional:
        return read_only(np.ones(max(column.content.size, 1), np.bool_) if valid is None or not valid.size else valid)
    if valid is not None and not valid.all():
        raise DataError(f"column {name!r} has missing values, and none were expected")
    return None


def size(name: str, column: Column, expected: ColumnType, events: int) -> int:
    """Return the column's number of values.

    :raises DataError: if it has another number of events, or lists where one value per event was expected.
    """
    if (column.offsets is None) != (expected.structure is None):
        has, wanted = ("one value", "lists") if column.offsets is None else ("lists", "one value")
        raise DataError(f"column {name!r} has {has} per event, and {wanted} per event were expected")
    if len(column) != events:
        raise DataError(f"column {name!r} has {len(column)} events, and {events} were expected")
    return column.content.size


def lists(name: str, column: Column, events: int) -> Lists:
    """Return the column's list structure.

    :raises DataError: if its offsets don't divide its values among the events.
    """
    offsets, values = column.offsets, column.content.size
    assert offsets is not None, "the column has lists"
    if offsets.dtype != np.int64 or offsets.shape != (events + 1,):
        raise DataError(f"column {name!r} has {offsets.size} offsets of {offsets.dtype} for {events} events")
    if offsets[0] != 0 or offsets[-1] != values or not (offsets[1:] >= offsets[:-1]).all():
        raise DataError(f"the offsets of column {name!r} don't divide its {values} values among the events")
    return Lists(name, read_only(offsets), values)


def same(first: Lists, second: Lists, first_event: int) -> None:
    """Check that two columns have the same number of values in each event.

    :raises DataError: naming both columns and the first event where they differ; ``first_event`` is the block's.
    """
    one, other = first.offsets, second.offsets
    assert one is not None, "columns have offsets"
    assert other is not None, "columns have offsets"
    if one is not other and not np.array_equal(one, other):
        event = int((one != other).argmax()) - 1
        counts = [int(offsets[event + 1] - offsets[event]) for offsets in (one, other)]
        raise DataError(
            f"columns {first.name!r} and {second.name!r} have {counts[0]} and {counts[1]} values in event "
            f"{first_event + event}, so they can't be combined value by value",
            hint="make one of them a value per event first, for example with leading(x) or sum(x)",
        )


def few_enough(pairs: int, events: int, first_event: int) -> None:
    """Check that the pairs of objects in a block of events are not too many to keep.

    :raises DataError: if they are; ``first_event`` is the block's.
    """
    if pairs > MOST_PAIRS:
        raise DataError(
            f"events {first_event} to {first_event + events - 1} have {pairs} pairs of objects, and a block of events "
            f"can have {MOST_PAIRS}",
            hint="select objects before they are paired, for example with hep.select_objects",
        )


def read_only(values: Array) -> Array:
    """Return the values, contiguous and aligned, as a view that can't be written to.

    Loops are compiled again for each kind of memory; one kind for all inputs is compiled once.
    """
    if not (values.flags.c_contiguous and values.flags.aligned):
        values = values.copy()
    if not values.flags.writeable:
        return values
    view = values.view()
    view.flags.writeable = False
    return view
