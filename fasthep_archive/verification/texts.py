"""Comparison of text line by line, and of anything else byte by byte."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np

from fasthep_archive.files import Bytes, pieces, size_of
from fasthep_archive.verification.contrast import Contrast, Finding, shown


def compare_text(recorded: bytes, replayed: bytes) -> Contrast:
    """Return the first line that differs; bytes that are no UTF-8 are compared as bytes."""
    try:
        before, now = recorded.decode().splitlines(), replayed.decode().splitlines()
    except UnicodeDecodeError:
        return compare_bytes(recorded, replayed)
    different = [number for number, pair in enumerate(zip_longest(before, now), start=1) if pair[0] != pair[1]]
    if not different:
        return compare_bytes(recorded, replayed)
    lines = tuple(
        shown(text[different[0] - 1]) if different[0] <= len(text) else "no such line" for text in (before, now)
    )
    count = f"{len(different)} of {max(len(before), len(now))} lines differ{'s' if len(different) == 1 else ''}"
    place, values = f"line {different[0]}", {"recorded": lines[0], "replayed": lines[1]}
    return Contrast(
        structure=(Finding(where=f"{count}, first {place}", **values),),
        noun="line",
        findings=(Finding(where=place, **values),),
    )


def compare_bytes(recorded: bytes, replayed: bytes) -> Contrast:
    """Return the position of the first byte that differs, and the sizes."""
    if recorded == replayed:
        return Contrast()
    return Contrast(structure=(first_byte(recorded, replayed),), noun="byte")


def first_byte(recorded: Bytes, replayed: Bytes) -> str:
    """Return where two different contents first differ, in words; offsets count from 0."""
    sizes = size_of(recorded), size_of(replayed)
    offset = 0
    for one, other in zip(pieces(recorded), pieces(replayed), strict=False):
        common = min(len(one), len(other))
        unequal = np.frombuffer(one, np.uint8, common) != np.frombuffer(other, np.uint8, common)
        offset += int(unequal.argmax()) if unequal.any() else common
        if unequal.any():
            break
    if sizes[0] == sizes[1]:
        return f"the bytes differ from offset {offset} on ({sizes[0]} bytes on both sides)"
    return f"the bytes differ from offset {offset} on ({sizes[0]} bytes, then {sizes[1]})"
