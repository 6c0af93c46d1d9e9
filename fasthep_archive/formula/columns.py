"""What a formula computes with: columns of events, and their types.

A column has one value per event (flat) or one list of values per event (jagged). A jagged column is its flat
``content`` and the ``offsets`` between which each event's values lie. Lists nest one level deep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

DType: TypeAlias = Literal["float64", "int64", "bool", "text"]
"""The types of values in formulas. Narrower numbers are promoted exactly when they are loaded
(numeric profile exact-1, rule 1). ``text`` columns can be the source of a category axis and nothing else."""

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Structure:
    """How many values each event has.

    Two jagged columns can be combined value by value when they have the same structure: statically when
    both name the same counter, otherwise if their offsets prove equal at run time.
    """

    name: str
    """The counter (``nMuon``) where the file has one, else the column's own name."""
    counted: bool
    """Whether ``name`` is a counter. Two different counters never match."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """Type of a column: value type, structure (none: one value per event), and whether values may be missing."""

    dtype: DType
    structure: Structure | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a column for a run of events.

    :ivar content: 1-d; float32/64, any integer, or bool, native byte order. For text: int64 positions in ``words``.
    :ivar offsets: none for flat columns, else int64 of length ``events + 1`` starting at 0.
    :ivar valid: none when nothing is missing, else bool, parallel to ``content``, which is arbitrary where it is false.
    :ivar words: for text, the distinct texts in order of appearance.
    """

    content: Array
    offsets: NDArray[np.int64] | None = None
    valid: NDArray[np.bool_] | None = None
    words: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.content) if self.offsets is None else len(self.offsets) - 1

    def events(self, start: int, stop: int) -> Column:
        """Return events ``start`` to ``stop`` as a column whose offsets start at 0 again; contents are views."""
        return sliced({"": self}, start, stop)[""]


def sliced(columns: Mapping[str, Column], start: int, stop: int) -> dict[str, Column]:
    """Return events ``start`` to ``stop`` of all columns, with offsets from 0; contents are views.

    Columns that share their offsets share them afterwards: equal structures are recognised by identity, at no cost.
    """
    ranges: dict[int, tuple[int, int, NDArray[np.int64]]] = {}
    found = {}
    for name, column in columns.items():
        first, last, offsets = start, stop, None
        if column.offsets is not None:
            shared = id(column.offsets)
            if shared not in ranges:
                place = int(column.offsets[start])
                ranges[shared] = place, int(column.offsets[stop]), column.offsets[start : stop + 1] - place
            first, last, offsets = ranges[shared]
        valid = None if column.valid is None else column.valid[first:last]
        found[name] = Column(column.content[first:last], offsets, valid, column.words)
    return found


def selected(column: Column, events: NDArray[np.bool_]) -> Column:
    """Return the events of ``column`` for which ``events`` is true, with offsets from 0; a copy."""
    if column.offsets is None:
        kept, offsets = events, None
    else:
        counts = np.diff(column.offsets)
        kept, offsets = np.repeat(events, counts), starts(counts[events])
    valid = None if column.valid is None else column.valid[kept]
    return Column(column.content[kept], offsets, valid, column.words)


def concatenated(columns: Sequence[Column]) -> Column:
    """Return the events of ``columns``, which are alike, one after the other; texts in order of appearance.

    :param columns: at least one; all flat or all jagged, all texts or none.
    """
    if len(columns) == 1:
        return columns[0]
    words = tuple(dict.fromkeys(word for column in columns for word in column.words))
    places = {word: place for place, word in enumerate(words)}
    contents = [_recoded(column, places) if words else column.content for column in columns]
    counts = [np.diff(column.offsets) for column in columns if column.offsets is not None]
    return Column(
        np.concatenate(contents),
        starts(np.concatenate(counts)) if counts else None,
        np.concatenate([_validity(column) for column in columns])
        if any(column.valid is not None for column in columns)
        else None,
        words,
    )


def starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets of lists with these numbers of values."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _recoded(column: Column, places: Mapping[str, int]) -> Array:
    """Return the positions of a column's texts among other words."""
    return np.array([places[word] for word in column.words] or [0], np.int64)[column.content]


def _validity(column: Column) -> NDArray[np.bool_]:
    return np.ones(column.content.size, np.bool_) if column.valid is None else column.valid
