"""How far apart doubles are: absolutely, relatively, and in units in the last place.

Two doubles have *the same content* when they have the same bits or both are NaN; ``-0.0`` and ``0.0`` differ in
content, as they do in the content digest, and are equal for every tolerance. A NaN or an infinity is within a
tolerance of nothing but itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError

Doubles: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Flags: TypeAlias = NDArray[np.bool_]

UNRELATED = 2**64 - 1
"""The distance in units in the last place between a number and what is no finite number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """What counts as near: ``|a - b| <= atol + rtol * |recorded|``, or at most ``ulp`` doubles apart."""

    rtol: float = 0.0
    atol: float = 0.0
    ulp: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How much differs between two outputs, in few numbers: what a report keeps of :class:`Numbers`.

    :ivar compared: how many places were looked at, those that agree included.
    :ivar different: in how many of them something differs.
    :ivar absolute: the largest absolute difference; infinite beside what is no finite number.
    :ivar relative: the largest relative difference; infinite there too, and from a first value of zero.
    :ivar ulps: the largest distance in units in the last place; :data:`UNRELATED` beside what is no finite number.
    """

    compared: int
    different: int
    absolute: float = 0.0
    relative: float = 0.0
    ulps: int = 0

    def to_json(self) -> Mapping[str, JSON]:
        """Return counts and largest distances; a distance that is infinite is the text ``inf``."""
        counts: Mapping[str, JSON] = {"compared": self.compared, "different": self.different}
        if not self.different:
            return counts
        return {
            **counts,
            "largest_absolute": plain(self.absolute),
            "largest_relative": plain(self.relative),
            "largest_ulp": "inf" if self.ulps == UNRELATED else self.ulps,
        }

    @classmethod
    def from_json(cls, reader: Reader) -> Extent:
        """Return the extent that was recorded.

        :raises DataError: if the record is not one of :meth:`to_json`.
        """
        compared, different = reader.integer("compared"), reader.integer("different")
        if not 0 <= different <= compared:
            raise DataError(f"{reader.where}: {different} of {compared} places can't differ")
        if not different:
            return cls(compared=compared, different=0)
        return cls(
            compared=compared,
            different=different,
            absolute=distance_at(reader, "largest_absolute"),
            relative=distance_at(reader, "largest_relative"),
            ulps=UNRELATED if reader.value.get("largest_ulp") == "inf" else _steps_at(reader, "largest_ulp"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """Pairs of numbers whose content differs.

    :ivar recorded: float64, 1-d; one value per pair.
    :ivar replayed: float64, parallel to ``recorded``.
    :ivar compared: how many places were looked at, those that agree included.
    :ivar places: in how many of them something differs; a bin is one place and has several numbers.
    :ivar steps: of each pair, the distance in units in the last place of its own type; none where all are doubles.
    """

    recorded: Doubles
    replayed: Doubles
    compared: int
    places: int
    steps: NDArray[np.uint64] | None = None

    @classmethod
    def of(
        cls,
        recorded: Sequence[float] | Doubles,
        replayed: Sequence[float] | Doubles,
        *,
        compared: int,
        places: int | None = None,
        steps: NDArray[np.uint64] | None = None,
    ) -> Numbers:
        """Return the pairs of two sequences of the same length; ``places`` where a place has not just one number."""
        return cls(
            recorded=np.asarray(recorded, dtype=np.float64),
            replayed=np.asarray(replayed, dtype=np.float64),
            compared=compared,
            places=len(recorded) if places is None else places,
            steps=steps,
        )

    def __len__(self) -> int:
        """Return how many pairs differ."""
        return len(self.recorded)

    def within(self, tolerance: Tolerance) -> bool:
        """Return whether every pair is near enough."""
        return bool(near(self.recorded, self.replayed, tolerance, self.steps).all())

    @property
    def absolute(self) -> Doubles:
        """Return ``|recorded - replayed|`` of each pair; infinite where one of them is no finite number."""
        finite = np.isfinite(self.recorded) & np.isfinite(self.replayed)
        apart = np.full(len(self), np.inf)
        with np.errstate(over="ignore"):
            np.subtract(self.recorded, self.replayed, out=apart, where=finite)
        return np.asarray(np.abs(apart))

    @property
    def relative(self) -> Doubles:
        """Return ``|recorded - replayed| / |recorded|``; 0 where both are zero, infinite where only ``recorded`` is."""
        absolute = self.absolute
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = absolute / np.abs(self.recorded)
        return np.where(absolute == 0.0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))

    @property
    def ulps(self) -> NDArray[np.uint64]:
        """Return the distance of each pair in units in the last place."""
        return ulp_distances(self.recorded, self.replayed) if self.steps is None else self.steps

    @property
    def extent(self) -> Extent:
        """Return counts and largest distances."""
        if not len(self):
            return Extent(compared=self.compared, different=0)
        return Extent(
            compared=self.compared,
            different=self.places,
            absolute=float(self.absolute.max()),
            relative=float(self.relative.max()),
            ulps=int(self.ulps.max()),
        )


def ulp_distances(a: Doubles, b: Doubles) -> NDArray[np.uint64]:
    """Return how many doubles lie between each pair, plus one: the exact distance of their places on the number line.

    The bits of a double, read as sign and magnitude, count the doubles from zero (IEEE 754-2019, 3.4), so ``-0.0``
    and ``0.0`` share a place. NaN is 0 from NaN; an infinity is 0 from itself; otherwise both are
    :data:`UNRELATED` to everything.
    """
    places_a, places_b = _place(a), _place(b)
    apart = np.where(places_a > places_b, places_a - places_b, places_b - places_a)
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    unrelated = ~(np.isfinite(a) & np.isfinite(b)) & ~same
    return np.where(same, np.uint64(0), np.where(unrelated, np.uint64(UNRELATED), apart))


def single_distances(a: Singles, b: Singles) -> NDArray[np.uint64]:
    """Return :func:`ulp_distances` of floats of 4 bytes, in units of their own last place."""
    places = []
    for values in (a, b):
        bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.int64)
        magnitude = bits & (2**31 - 1)
        places.append(np.where(bits >> 31 != 0, -magnitude, magnitude))
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    unrelated = ~(np.isfinite(a) & np.isfinite(b)) & ~same
    apart = np.abs(places[0] - places[1]).astype(np.uint64)
    return np.where(same, np.uint64(0), np.where(unrelated, np.uint64(UNRELATED), apart))


def ulp_distance(a: float, b: float) -> int:
    """Return :func:`ulp_distances` of one pair.

    >>> ulp_distance(1.0, 1.0000000000000004)
    2
    """
    return int(ulp_distances(np.array([a]), np.array([b]))[0])


def _place(values: Doubles) -> NDArray[np.uint64]:
    """Return places on the number line, order-preserving, with both zeros at 2**63."""
    bits = np.asarray(values, dtype=np.float64).view(np.uint64)
    magnitude = bits & np.uint64(2**63 - 1)
    return np.where(bits >> np.uint64(63), np.uint64(2**63) - magnitude, np.uint64(2**63) + magnitude)


def same_content(a: Doubles, b: Doubles) -> Flags:
    """Return where two arrays of one shape hold the same content: equal bits, or NaN in both."""
    bits_a, bits_b = (np.asarray(values, dtype=np.float64).view(np.uint64) for values in (a, b))
    return np.asarray((bits_a == bits_b) | (np.isnan(a) & np.isnan(b)))


def same_number(a: float, b: float) -> bool:
    """Return whether two numbers have the same type and the same content."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, int) or isinstance(b, int):
        return False
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1.0, a) == math.copysign(1.0, b))


def double(value: float) -> float:
    """Return the double nearest to ``value``; an integer beyond the largest one is infinite.

    >>> double(-(10**400))
    -inf
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def near(recorded: Doubles, replayed: Doubles, tolerance: Tolerance, steps: NDArray[np.uint64] | None = None) -> Flags:
    """Return where ``replayed`` is within ``tolerance`` of ``recorded``; ``steps`` as in :class:`Numbers`."""
    finite = np.isfinite(recorded) & np.isfinite(replayed)
    with np.errstate(invalid="ignore", over="ignore"):
        close = np.abs(recorded - replayed) <= tolerance.atol + tolerance.rtol * np.abs(recorded)
    apart = ulp_distances(recorded, replayed) if steps is None else steps
    return np.where(finite, close, False) | (apart <= np.uint64(tolerance.ulp))


def plain(value: float) -> JSON:
    """Return ``value`` as JSON can carry it: itself, or ``nan``, ``inf``, ``-inf`` as text."""
    return value if math.isfinite(value) else str(value)


def number_at(reader: Reader, key: str) -> float:
    """Return the number at ``key``, as :func:`plain` wrote it.

    :raises DataError: if there is none.
    """
    value = reader.value.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return double(value)
    return float(reader.choice(key, ("nan", "inf", "-inf")))


def distance_at(reader: Reader, key: str) -> float:
    """Return the number at ``key``, which is at least 0.

    :raises DataError: if there is none.
    """
    value = number_at(reader, key)
    if not value >= 0.0:
        raise DataError(f"{reader.where}.{key} is {value}, not a distance")
    return value


def _steps_at(reader: Reader, key: str) -> int:
    steps = reader.integer(key)
    if not 0 <= steps < UNRELATED:
        raise DataError(f"{reader.where}.{key} is {steps}, not a distance of two doubles")
    return steps
