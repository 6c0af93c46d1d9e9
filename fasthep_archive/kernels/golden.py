"""Golden vectors: arguments made by rules, and the answers that MPFR, fractions and bisection gave once.

``golden.json`` is written by tools/make_golden.py, which asks this package for arguments and for nothing else. Most
arguments follow from a seed by integer arithmetic, so that the file needs to keep one byte of each answer, to say which
one is wrong, and the SHA-256 of all, to miss none; hard ones and special values are kept with their whole answers.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError

Doubles: TypeAlias = NDArray[np.float64]
Bits: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]
Columns: TypeAlias = tuple[Doubles, ...]

FILE = Path(__file__).with_name("golden.json")
SIZE = 512
"""Arguments of each family."""

_NAN = 0x7FF8 << 48
_FRACTION = np.uint64((1 << 52) - 1)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of random doubles.

    :ivar kind: ``scale``: either sign and ``low <= exponent < high``, or positive for ``positive``; ``subnormal``;
        ``bits``: any bits; ``near``: the double with the bits ``low`` and those around it, ``high`` bits wide, most of
        them close; ``whole``: whole numbers below ``2**high``.
    """

    kind: str
    low: int = 0
    high: int = 0

    def doubles(self, seed: int, size: int = SIZE) -> Doubles:
        """Return ``size`` numbers, the same ones everywhere."""
        words, more = _mixed(2 * seed, size), _mixed(2 * seed + 1, size)
        return np.asarray(_KINDS[self.kind](self, words, more).astype(np.uint64).view(np.float64))


def _mixed(seed: int, size: int) -> Words:
    """Return random words: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), started at ``seed * 2**32``."""
    word = np.arange(1, size + 1, dtype=np.uint64) + np.uint64(seed << 32)
    word = word * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(word ^ (word >> np.uint64(31)))


def _scale(family: Family, words: Words, more: Words) -> Words:
    exponents = (more >> np.uint64(8)) % np.uint64(family.high - family.low) + np.uint64(family.low + 1023)
    return np.asarray((exponents << np.uint64(52)) | (words & _FRACTION) | (words >> np.uint64(63) << np.uint64(63)))


def _near(family: Family, words: Words, more: Words) -> Words:
    steps = words >> (np.uint64(64 - family.high) + more % np.uint64(family.high))
    return np.uint64(family.low) + np.where(more >> np.uint64(63) > 0, steps, -steps.view(np.int64).astype(np.uint64))


def _positive(family: Family, words: Words, more: Words) -> Words:
    return np.asarray(_scale(family, words, more) & np.uint64((1 << 63) - 1))


def _subnormal(family: Family, words: Words, more: Words) -> Words:  # noqa: ARG001 - one signature for all kinds
    return np.asarray(words & np.uint64((1 << 52) - 1 | 1 << 63))


def _bits(family: Family, words: Words, more: Words) -> Words:  # noqa: ARG001 - see above
    return words


def _whole(family: Family, words: Words, more: Words) -> Words:  # noqa: ARG001 - see above
    return np.asarray((words >> np.uint64(64 - family.high)).astype(np.float64).view(np.uint64))


_KINDS = MappingProxyType(
    {
        "scale": _scale,
        "positive": _positive,
        "subnormal": _subnormal,
        "bits": _bits,
        "near": _near,
        "whole": _whole,
    }
)


def bits(values: Doubles) -> Bits:
    """Return the bits of doubles; all NaNs are one."""
    return np.where(np.isnan(values), np.int64(_NAN), values.view(np.int64))


def hashed(values: Bits) -> Digest:
    """Return the digest of whole numbers."""
    return digest.of_bytes(values.astype("<i8").tobytes())


def packed(values: NDArray[np.generic]) -> str:
    """Return numbers as text."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def unpacked(text: str) -> Bits:
    """Return whole numbers that were packed."""
    return np.frombuffer(base64.b64decode(text), "<i8").astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vectors:
    """Arguments of a function, and what is known of the answers.

    :ivar low: the last byte of each answer's bits. :ivar sha256: of all answers.
    """

    columns: Columns
    low: bytes
    sha256: Digest

    def wrong(self, found: Doubles) -> tuple[int, ...]:
        """Return the places of answers that are not right; -1 if one is wrong and only the digest shows it."""
        words = bits(found)
        if hashed(words) == self.sha256:
            return ()
        places = np.flatnonzero(words.astype(np.uint8) != np.frombuffer(self.low, np.uint8))
        return tuple(map(int, places)) or (-1,)


@functools.cache
def _content() -> dict[str, Any]:
    """Return what the file holds; it is ours, so nothing is checked that a wrong answer wouldn't show.

    :raises DataError: if it isn't there.
    """
    try:
        found: dict[str, Any] = json.loads(FILE.read_bytes())
    except (OSError, ValueError) as error:
        message = f"{FILE.name}, which the self-test needs, is missing or damaged"
        raise DataError(message, hint="install fasthep-archive again") from error
    return found


def vectors(name: str) -> Iterator[Vectors]:
    """Yield the vectors of a function: those of each family, and the chosen ones."""
    entry = _content()["functions"][name]
    for family in entry["families"]:
        columns = columns_of([Family(*kind) for kind in family["columns"]], family["seed"])
        yield Vectors(columns=columns, low=base64.b64decode(family["low"]), sha256=Digest(family["sha256"]))
    answers = unpacked(entry["chosen"]["answers"])
    arguments = unpacked(entry["chosen"]["arguments"]).view(np.float64).reshape(-1, len(answers))
    yield Vectors(columns=tuple(arguments), low=answers.astype(np.uint8).tobytes(), sha256=hashed(answers))


def columns_of(families: Sequence[Family], seed: int) -> Columns:
    """Return a column of doubles for each family."""
    return tuple(family.doubles(seed + place) for place, family in enumerate(families))


def handful() -> tuple[Doubles, Doubles, Bits]:
    """Return arguments for ``probes_source.elementary``, and the bits of the answers."""
    entry = _content()["handful"]
    return unpacked(entry["x"]).view(np.float64), unpacked(entry["y"]).view(np.float64), unpacked(entry["answers"])


# Sums

_LARGEST = np.finfo(np.float64).max

_WEIGHTS = (
    Family("scale", -1022, 1020),
    Family("scale", -1000, 490),
    Family("subnormal"),
    Family("scale", -30, 30),
    Family("near", 0x3FF0000000000000, 40),
)


def fills() -> tuple[Bits, Doubles]:
    """Return cells and weights: of every size, that cancel, subnormal, that overflow on the way, half-way, not finite.

    Their sums are in :func:`sums`.
    """
    lists = [family.doubles(100 + place) for place, family in enumerate(_WEIGHTS)]
    everything = np.concatenate([lists[0], lists[2], lists[3]])
    tiny = lists[2][:7]
    lists += [
        np.concatenate([everything, tiny, -everything[::-1]]),
        np.array([_LARGEST, _LARGEST, -_LARGEST, -_LARGEST, tiny[0]]),
        np.array([_LARGEST, _LARGEST]),
        np.array([2.0**53, 1.0]),
        np.array([2.0**53 + 2.0, 1.0]),
        np.concatenate([np.array([2.0**53, 1.0]), np.abs(tiny[:1])]),
        np.array([1.0, np.inf, -1e300]),
        np.array([-np.inf, 1e300]),
        np.array([np.inf, 1.0, -np.inf]),
        np.array([1.0, np.nan, np.inf]),
        np.array([0.0, -0.0, -0.0]),
        np.array([-0.0]),
    ]
    cells = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    order = np.argsort(Family("bits").doubles(99, len(cells)).view(np.int64))
    return cells[order], np.concatenate(lists)[order]


def sums() -> tuple[Bits, Bits, Bits]:
    """Return the numbers of fills, and the bits of the sums of weights and of rounded squares, of each cell."""
    entry = _content()["sums"]
    return unpacked(entry["counts"]), unpacked(entry["sumw"]), unpacked(entry["sumw2"])


# Bins

REGULAR = ((70, 0.1, 0.8), (60, 60.0, 120.0), (1000, 0.0, 7.0), (64, -3.141592653589793, 3.141592653589793))
"""Axes whose edges are not where the usual formulas look for them: bins, lower and upper limit."""

VARIABLE = (
    (-1e300, -1.0, -5e-324, 0.0, 5e-324, 0.1, 0.30000000000000004, 1.0, 1e300),
    tuple(float(k) ** 3 for k in range(40)),
)
"""Edges of other axes."""


def binned(edges: Doubles) -> Doubles:
    """Return values to be put among ``edges``: the edges, their neighbours, others, and special ones."""
    below, above = np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)
    span = edges[-1] - edges[0]
    fractions = Family("near", 0x3FE0000000000000, 52).doubles(200) - 0.25
    special = [0.0, -0.0, 5e-324, -5e-324, _LARGEST, -_LARGEST, np.inf, -np.inf, np.nan, -np.nan]
    return np.concatenate([edges, below, above, edges[0] + fractions * span, Family("bits").doubles(201), special])


def bins() -> Sequence[tuple[Digest, Digest]]:
    """Return the digests of edges and places, for the axes of :data:`REGULAR` and then of :data:`VARIABLE`."""
    return [(Digest(edges), Digest(places)) for edges, places in _content()["bins"]]
