"""Comparison of CSV, cell by cell; cells that are numbers in both are compared as numbers.

The first line holds the names of the columns. How a number is written is not content: ``1.0`` and ``1.00`` agree.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice, zip_longest

from fasthep_archive.errors import DataError
from fasthep_archive.files import Bytes, opened
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Numbers, double, same_number

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)


def compare_csv(recorded: Bytes, replayed: Bytes) -> Contrast:
    """Return what differs between two CSV texts, which are read row by row.

    :raises DataError: if one of them is not CSV; UnicodeDecodeError if it is not UTF-8.
    """
    structure = [*_columns(recorded, replayed), *_lengths(recorded, replayed)]
    if structure:
        return Contrast(structure=tuple(structure), noun="cell")
    return _cells(_rows(recorded), _rows(replayed))


def _rows(content: Bytes) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.TextIOWrapper(opened(content), "utf-8", newline=""), strict=True)
    except csv.Error as error:
        raise DataError(str(error)) from error


def _columns(recorded: Bytes, replayed: Bytes) -> list[Finding]:
    before, now = (next(_rows(content), None) for content in (recorded, replayed))
    if before == now:
        return []
    return [Finding(where="the columns differ", recorded=shown(before or []), replayed=shown(now or []))]


def _lengths(recorded: Bytes, replayed: Bytes) -> list[Finding | str]:
    """Return what differs in the numbers of rows below the first, and of their cells."""
    counts, ragged = [0, 0], 0
    for at, sides in enumerate(islice(zip_longest(_rows(recorded), _rows(replayed)), 1, None), 1):
        for side, row in enumerate(sides):
            counts[side] += row is not None
        cells = {len(row) for row in sides if row is not None}
        ragged = ragged or (at if len(cells) > 1 else 0)
    if counts[0] != counts[1]:
        return [Finding(where="the number of rows", recorded=str(counts[0]), replayed=str(counts[1]))]
    return [f"row {ragged} has another number of cells"] if ragged else []


def _cells(recorded: Iterator[list[str]], replayed: Iterator[list[str]]) -> Contrast:
    """Return what differs between rows of equal lengths; the first row names the columns."""
    names, _ = next(recorded, []), next(replayed, [])
    structure: list[Finding] = []
    pairs: list[tuple[float, float]] = []
    findings: list[Finding] = []
    compared = 0
    for row, (before, now) in enumerate(zip(recorded, replayed, strict=True), start=1):
        for column, (one, other) in enumerate(zip(before, now, strict=True)):
            place = f"row {row}, column {shown(names[column] if column < len(names) else column + 1)}"
            a, b = _number(one), _number(other)
            if a is None or b is None:
                if one != other:
                    structure.append(Finding(where=place, recorded=shown(one), replayed=shown(other)))
                continue
            compared += 1
            if not same_number(a, b):
                pairs.append((double(a), double(b)))
                if len(findings) < SHOWN:
                    findings.append(Finding(where=place, recorded=one, replayed=other))
    return Contrast(
        structure=tuple(structure),
        numbers=Numbers.of([one for one, _ in pairs], [other for _, other in pairs], compared=compared),
        noun="cell",
        findings=tuple(findings),
    )


def _number(cell: str) -> int | float | None:
    if _INTEGER.fullmatch(cell):
        return int(cell)
    return float(cell) if _FLOAT.fullmatch(cell) else None
