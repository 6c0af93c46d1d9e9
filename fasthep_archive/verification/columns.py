"""Comparison of files of columns (ROOT trees, Parquet), column by column: which entries are the first to differ.

Trees, columns, types, numbers of entries and of values in lists, booleans and texts are structure, which no tolerance
covers. Numbers are compared as numbers, and units in the last place are those of the column's own type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.content import leaves_of
from fasthep_archive.data.tables import Reading, Table, tables
from fasthep_archive.files import Bytes
from fasthep_archive.formula.columns import Array
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Flags, Numbers, single_distances, ulp_distances

if TYPE_CHECKING:
    import awkward as ak

Steps: TypeAlias = NDArray[np.uint64]
Path: TypeAlias = tuple[str, ...]
Leaves: TypeAlias = Mapping[Path, Array]
"""The buffers of a column, by what they mean: see :func:`fasthep_archive.data.content.leaves_of`."""


def compare_columns(recorded: Bytes, replayed: Bytes) -> Contrast:
    """Return what differs between two ROOT or Parquet files.

    :raises DataError: if one of them can't be read, or holds anything but tables.
    """
    before, now = ({table.name: table for table in tables(content)} for content in (recorded, replayed))
    found = _Found()
    if before.keys() != now.keys():
        found.structure.append(Finding(where="the trees", recorded=shown(list(before)), replayed=shown(list(now))))
    for name in before:
        if name in now:
            _table(before[name], now[name], found)
    return found.contrast()


@dataclass(kw_only=True, slots=True)
class _Found:
    """What differs so far: in words, the first numbers, all pairs of numbers, and the columns that these are of."""

    structure: list[Finding | str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    pairs: list[tuple[Array, Array, Steps]] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)
    compared: int = 0

    def contrast(self) -> Contrast:
        """Return all of it."""
        none = (np.zeros(0), np.zeros(0), np.zeros(0, np.uint64))
        one, other, steps = (np.concatenate(parts) for parts in zip(none, *self.pairs, strict=True))
        names = ", ".join(list(self.columns)[:3]) + (", ..." if len(self.columns) > 3 else "")
        return Contrast(
            structure=tuple(self.structure),
            numbers=Numbers.of(one, other, compared=self.compared, steps=steps),
            noun="value",
            findings=tuple(self.findings),
            remark=f"in {len(self.columns)} columns: {names}" if len(self.columns) > 1 else None,
        )


def _table(before: Table, now: Table, found: _Found) -> None:
    tree = f"tree {before.name!r}, " if before.name else ""
    if before.columns.keys() != now.columns.keys():
        one, other = (sorted(table.columns) for table in (before, now))
        only = (_beside(one, other), _beside(other, one))
        found.structure.append(Finding(where=f"{tree}columns", recorded=only[0], replayed=only[1]))
    if before.entries != now.entries:
        entries = (str(before.entries), str(now.entries))
        found.structure.append(Finding(where=f"{tree}number of entries", recorded=entries[0], replayed=entries[1]))
        return
    for name in before.columns:
        if name in now.columns:
            _column(tree, name, before.columns[name], now.columns[name], found)


def _beside(names: Sequence[str], others: Sequence[str]) -> str:
    """Return the names that the others lack."""
    return shown([name for name in names if name not in others]) if set(names) - set(others) else "nothing else"


def _column(tree: str, name: str, before: Reading, now: Reading, found: _Found) -> None:
    """Compare a column, a piece of which is in memory at a time, until something but numbers differs."""
    first, known = 0, len(found.structure)
    for one, other in _paired(before.pieces(), now.pieces()):
        _piece(tree, name, first, (one, other), found)
        first += len(one)
        if len(found.structure) > known:
            return


def _paired(before: Iterator[ak.Array], now: Iterator[ak.Array]) -> Iterator[tuple[ak.Array, ak.Array]]:
    """Yield the entries of both sides in pieces of equal lengths, one at least."""
    one, other, begun = next(before), next(now), False
    while True:
        size = min(len(one), len(other))
        if size or not begun:
            yield one[:size], other[:size]
        begun, one, other = True, one[size:], other[size:]
        if not len(one):
            one = next(before, None)
        if not len(other):
            other = next(now, None)
        if one is None or other is None:
            return


def _piece(tree: str, name: str, first: int, sides: tuple[ak.Array, ak.Array], found: _Found) -> None:
    """Compare a piece of a column that begins with the entry ``first``."""
    before, now = sides
    one, other = (dict(leaves_of(array)) for array in (before, now))
    forms = [[(path, values.dtype.str[1:]) for path, values in leaves.items()] for leaves in (one, other)]
    if forms[0] != forms[1]:
        types = [str(array.type.content) for array in (before, now)]
        if types[0] == types[1]:
            types = [_lacking(leaves) for leaves in (one, other)]
        where = f"{tree}type of column {name!r}"
        found.structure.append(Finding(where=where, recorded=types[0], replayed=types[1]))
        return
    for path in one:
        if not _leaf(_Column(tree=tree, name=name, leaves=one, first=first), path, other, found):
            return  # what lies in lists of other lengths has no counterpart


def _lacking(leaves: Leaves) -> str:
    return "some missing" if any(path[-1:] == ("valid",) for path in leaves) else "none missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """A piece of a column with its recorded buffers, which say where each value is, and its first entry."""

    tree: str
    name: str
    leaves: Leaves
    first: int

    def where(self, path: Path, at: int) -> str:
        """Return which value number ``at`` of the buffer ``path`` is: its column, entry, and places in lists."""
        places: list[int] = []
        for start, _ in reversed(list(_steps(path))):
            if path[start] == "present":
                at = int(np.flatnonzero(self.leaves[*path[:start], "valid"])[at])
            elif path[start] == "item":
                offsets = self.leaves[*path[:start], "list"]
                entry = int(np.searchsorted(offsets, at, side="right")) - 1
                places.insert(0, at - int(offsets[entry]))
                at = entry
        inner = "".join(f"[{place}]" for place in places)
        return f"{self.tree}column {self.label(path)!r}, entry {self.first + at}{inner}"

    def label(self, path: Path) -> str:
        """Return the column's name, and those of the fields that lead to a buffer."""
        return ".".join([self.name, *(path[stop - 1] for start, stop in _steps(path) if path[start] == "field")])


def _steps(path: Path) -> Iterator[tuple[int, int]]:
    """Yield where each step of a path starts and stops: ``field`` is followed by a name."""
    start = 0
    while start < len(path):
        stop = start + (2 if path[start] == "field" else 1)
        yield start, stop
        start = stop


def _leaf(column: _Column, path: Path, others: Leaves, found: _Found) -> bool:
    """Compare two buffers of one meaning; say whether what lies in them can be compared too."""
    before, now = column.leaves[path], others[path]
    match path[-1:]:
        case ("text",):
            return _texts(column, path, others, found)
        case ("list",):
            return _lists(column, path, now, found)
        case ("item",) if (*path[:-1], "text") in column.leaves:
            return True
    different = _different(before, now)
    if before.dtype.kind in "iuf":
        found.compared += before.size
        _numbers(column, path, now, np.flatnonzero(different), found)
        return True
    if different.any():
        at = int(different.argmax())
        values = [_word(path, buffer[at]) for buffer in (before, now)]
        _differs(column, path, at, int(different.sum()), values, found)
    return path[-1:] != ("valid",) or not different.any()


def _lists(column: _Column, path: Path, now: Array, found: _Found) -> bool:
    """Compare the lengths of lists, of which there are as many."""
    lengths = np.diff(column.leaves[path]), np.diff(now)
    different = lengths[0] != lengths[1]
    if different.any():
        at = int(different.argmax())
        counts = [_counted(int(counted[at])) for counted in lengths]
        _differs(column, path[:-1], at, int(different.sum()), counts, found)
    return not different.any()


def _texts(column: _Column, path: Path, others: Leaves, found: _Found) -> bool:
    """Compare texts, of which there are as many."""
    letters = (*path[:-1], "item")
    sides = [(leaves[path], leaves[letters].tobytes()) for leaves in (column.leaves, others)]
    if np.array_equal(sides[0][0], sides[1][0]) and sides[0][1] == sides[1][1]:
        return True
    one, other = ([raw[start:stop] for start, stop in pairwise(ends.tolist())] for ends, raw in sides)
    different = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    words = [shown(texts[different[0]].decode(errors="backslashreplace")) for texts in (one, other)]
    _differs(column, path[:-1], different[0], len(different), words, found)
    return True


def _differs(column: _Column, path: Path, at: int, count: int, values: Sequence[str], found: _Found) -> None:
    more = f" (the first of {count})" if count > 1 else ""
    found.structure.append(Finding(where=f"{column.where(path, at)}{more}", recorded=values[0], replayed=values[1]))


def _numbers(column: _Column, path: Path, now: Array, places: NDArray[np.intp], found: _Found) -> None:
    if not places.size:
        return
    before = column.leaves[path]
    one, other = before[places], now[places]
    doubles = one.astype(np.float64), other.astype(np.float64)
    narrow = before.dtype.kind == "f" and before.dtype.itemsize < 8
    found.pairs.append((*doubles, single_distances(one, other) if narrow else ulp_distances(*doubles)))
    found.columns[repr(column.label(path))] = None
    for at in places[: max(0, SHOWN - len(found.findings))].tolist():
        values = [str(buffer[at]) for buffer in (before, now)]
        found.findings.append(Finding(where=column.where(path, at), recorded=values[0], replayed=values[1]))


def _different(before: Array, now: Array) -> Flags:
    """Return where two arrays of one type and length hold different content: other bits, NaN being one value."""
    if before.dtype.kind != "f":
        return np.asarray(before != now)
    bits = f"u{before.dtype.itemsize}"
    one, other = (np.ascontiguousarray(values, values.dtype.newbyteorder("=")) for values in (before, now))
    return np.asarray((one.view(bits) != other.view(bits)) & ~(np.isnan(one) & np.isnan(other)))


def _word(path: Path, value: object) -> str:
    return ("present" if value else "missing") if path[-1:] == ("valid",) else str(value)


def _counted(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"
