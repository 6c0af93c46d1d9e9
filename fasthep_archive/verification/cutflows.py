"""Comparison of cutflows, row by row: which cut of which dataset is the first to count otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from fasthep_archive.data.products import Cutflow, CutflowRow
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Numbers, double, same_number

_AFTER = (("events_out", "events"), ("sumw_out", "sum of weights"), ("sumw2_out", "sum of squared weights"))
_BEFORE = (
    ("events_in", "events before it"),
    ("sumw_in", "sum of weights before it"),
    ("sumw2_in", "sum of squared weights before it"),
)


def compare_cutflows(recorded: bytes, replayed: bytes) -> Contrast:
    """Return which rows differ; if the cuts or datasets differ, how, since then rows have no counterparts.

    :raises DataError: if one of them is no cutflow.
    """
    before, now = (Cutflow.from_json(content).rows for content in (recorded, replayed))
    structure = _rows_differ(before, now)
    if structure:
        return Contrast(structure=(structure,), noun="row")
    pairs: list[tuple[float, float]] = []
    findings: list[Finding] = []
    places = 0
    for one, other in zip(before, now, strict=True):
        values = [(getattr(one, name), getattr(other, name)) for name, _ in (*_AFTER, *_BEFORE)]
        different = [pair for pair in values if not same_number(*pair)]
        pairs += [(double(a), double(b)) for a, b in different]
        places += bool(different)
        if different and len(findings) < SHOWN:
            findings.append(_finding(one, other))
    numbers = Numbers.of([a for a, _ in pairs], [b for _, b in pairs], compared=len(before), places=places)
    return Contrast(numbers=numbers, noun="row", findings=tuple(findings))


def _finding(one: CutflowRow, other: CutflowRow) -> Finding:
    """Return the numbers after the cut that differ, or those before it if only they do."""
    after, before = (
        [(name, word) for name, word in names if not same_number(getattr(one, name), getattr(other, name))]
        for names in (_AFTER, _BEFORE)
    )
    recorded, replayed = (
        ", ".join(f"{word} {getattr(row, name)!r}" for name, word in after or before) for row in (one, other)
    )
    return Finding(where=_place(one), recorded=recorded, replayed=replayed)


def _place(row: CutflowRow) -> str:
    label = f" ({shown(row.label)})" if row.label else ""
    return f"dataset {shown(row.dataset)}, cut {row.cut}{label}"


def _rows_differ(before: Sequence[CutflowRow], now: Sequence[CutflowRow]) -> Finding | str | None:
    """Return the first row that is not the same cut of the same dataset."""
    names = [[_place(row) for row in rows] for rows in (before, now)]
    if names[0] == names[1]:
        return None
    if sorted(names[0]) == sorted(names[1]):
        return "the same cuts in another order"
    lost = [name for name in names[0] if name not in names[1]]
    gained = [name for name in names[1] if name not in names[0]]
    if lost or gained:
        first = [next(iter(rows), "no such cut") for rows in (lost, gained)]
        return Finding(where="the cuts differ", recorded=first[0], replayed=first[1])
    return Finding(where="the number of rows", recorded=str(len(before)), replayed=str(len(now)))
