"""Comparison of CSV, cell by cell; cells that are numbers in both are compared as numbers.

The first line holds the names of the columns. How a number is written is not content: ``1.0`` and ``1.00`` agree.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from fasthep_archive.errors import DataError
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Numbers, double, same_number

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)


def compare_csv(recorded: bytes, replayed: bytes) -> Contrast:
    """Return what differs between two CSV texts.

    :raises DataError: if one of them is not CSV; UnicodeDecodeError if it is not UTF-8.
    """
    before, now = _rows(recorded), _rows(replayed)
    structure = [*_columns(before[:1], now[:1]), *_lengths(before[1:], now[1:])]
    if structure:
        return Contrast(structure=tuple(structure), noun="cell")
    return _cells(before, now)


def _rows(content: bytes) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except csv.Error as error:
        raise DataError(str(error)) from error


def _columns(recorded: Sequence[list[str]], replayed: Sequence[list[str]]) -> list[Finding]:
    if recorded == replayed:
        return []
    before, now = ([name for row in rows for name in row] for rows in (recorded, replayed))
    return [Finding(where="the columns differ", recorded=shown(before), replayed=shown(now))]


def _lengths(recorded: Sequence[list[str]], replayed: Sequence[list[str]]) -> list[Finding | str]:
    if len(recorded) != len(replayed):
        return [Finding(where="the number of rows", recorded=str(len(recorded)), replayed=str(len(replayed)))]
    ragged = [at for at, (one, other) in enumerate(zip(recorded, replayed, strict=True), 1) if len(one) != len(other)]
    return [f"row {ragged[0]} has another number of cells"] if ragged else []


def _cells(recorded: Sequence[list[str]], replayed: Sequence[list[str]]) -> Contrast:
    """Return what differs between rows of equal lengths; the first row names the columns."""
    names = recorded[0] if recorded else []
    structure: list[Finding] = []
    pairs: list[tuple[float, float]] = []
    findings: list[Finding] = []
    compared = 0
    for row, (before, now) in enumerate(zip(recorded[1:], replayed[1:], strict=True), start=1):
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
