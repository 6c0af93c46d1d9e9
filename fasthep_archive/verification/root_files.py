"""Comparison of ROOT files: trees column by column, histograms bin by bin.

Of histograms, ROOT's own sums (entries, mean and width) are not compared: they are made of the bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fasthep_archive.data.root_histograms import RootAxis, RootHistogram, holds_histograms, read_histograms
from fasthep_archive.files import Bytes
from fasthep_archive.verification.columns import compare_columns
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Doubles, Numbers, same_content


def compare_root(recorded: Bytes, replayed: Bytes) -> Contrast:
    """Return what differs between two ROOT files.

    :raises DataError: if one of them can't be read, or holds anything but trees, or anything but histograms.
    """
    if holds_histograms(recorded) and holds_histograms(replayed):
        return _histograms(*({item.path: item for item in read_histograms(side)} for side in (recorded, replayed)))
    return compare_columns(recorded, replayed)


@dataclass(kw_only=True, slots=True)
class _Found:
    """What differs so far: in words, the first bins, and all pairs of numbers that differ."""

    structure: list[Finding | str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    pairs: list[tuple[Doubles, Doubles]] = field(default_factory=list)
    compared: int = 0
    places: int = 0


def _histograms(before: Mapping[str, RootHistogram], now: Mapping[str, RootHistogram]) -> Contrast:
    found = _Found()
    if before.keys() != now.keys():
        names = [shown(sorted(one.keys() - other.keys())) for one, other in ((before, now), (now, before))]
        found.structure.append(Finding(where="histograms that only one side has", recorded=names[0], replayed=names[1]))
    for path in before:
        if path in now:
            _histogram(path, before[path], now[path], found)
    none = (np.zeros(0), np.zeros(0))
    one, other = (np.concatenate(sides) for sides in zip(none, *found.pairs, strict=True))
    return Contrast(
        structure=tuple(found.structure),
        numbers=Numbers.of(one, other, compared=found.compared, places=found.places),
        noun="bin",
        findings=tuple(found.findings),
    )


def _histogram(path: str, before: RootHistogram, now: RootHistogram, found: _Found) -> None:
    axes = [[_described(axis) for axis in side.axes] for side in (before, now)]
    if axes[0] != axes[1]:
        found.structure.append(Finding(where=f"axes of {path!r}", recorded=shown(axes[0]), replayed=shown(axes[1])))
        return
    if (before.variances is None) != (now.variances is None):
        kinds = ["counts" if side.variances is None else "sums of weights" for side in (before, now)]
        found.structure.append(Finding(where=f"{path!r} holds", recorded=kinds[0], replayed=kinds[1]))
        return
    found.compared += before.values.size
    anywhere = np.zeros(before.values.shape, np.bool_)
    for name, one, other in (
        ("", before.values, now.values),
        (", variance", before.variances, now.variances),
    ):
        if one is None or other is None:
            continue
        differs = ~same_content(one, other)
        anywhere |= differs
        found.pairs.append((one[differs], other[differs]))
        for place in np.argwhere(differs)[: max(0, SHOWN - len(found.findings))].tolist():
            at = tuple(place)
            where = f"{path}, bin {', '.join(map(str, place))}{name}"
            found.findings.append(Finding(where=where, recorded=repr(float(one[at])), replayed=repr(float(other[at]))))
    found.places += int(np.count_nonzero(anywhere))


def _described(axis: RootAxis) -> str:
    """Return an axis in words: equal axes are described alike, and others are not."""
    edges = ", ".join(map(repr, axis.edges.tolist()))
    return f"{axis.label} [{edges}]{' ' + repr(list(axis.labels)) if axis.labels else ''}"
