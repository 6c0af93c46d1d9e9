"""The self-test: whether this process, on this machine, computes what the numeric profile exact-1 says.

``thorough`` asks the compiled code for everything that is known (:mod:`fasthep_archive.kernels.golden`); ``refuse``
is the quick part, which workers ask before and after they compute: the probes of the floating-point environment, and a
handful of vectors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.errors import TaskError
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels import bins, golden, probes, strip_code, sums
from fasthep_archive.kernels.elementary.rounded import NAMES
from fasthep_archive.kernels.suspects import suspects
from fasthep_archive.kernels.unit import unit_of

SHOWN = 3
"""Wrong answers of a set of vectors that are told."""

_TESTED = ("arithmetic", "bins_source", "elementary.rounded", "probes_source", "sums_source")
_TESTERS = ("golden.json", "golden.py", "probes.py", "selftest.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the self-test: how many tests it made, and what failed, in words."""

    name: str
    tests: int
    failures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What the self-test found.

    :ivar digest: of what was tested: the vectors, and the code that makes and judges results.
    :ivar suspects: loaded libraries that may have changed the floating-point environment, if that is what failed.
    """

    digest: Digest
    parts: tuple[Part, ...]
    suspects: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Everything that failed."""
        return tuple(failure for part in self.parts for failure in part.failures)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


@functools.cache
def tested() -> Digest:
    """Return the digest of what is tested: the vectors, and the code that makes and judges results."""
    here = Path(__file__).parent
    sources = [unit_of(f"fasthep_archive.kernels.{name}").digest() for name in _TESTED]
    return digest.of_json([sources, [digest.of_file(here / name) for name in _TESTERS]])


def thorough(cache: Path) -> SelfTest:
    """Test everything; only the environment if that is wrong, where nothing could be judged, not even text be read.

    Takes 0.2 s when the code has been compiled before.
    """
    environment = Part(
        name="floating-point environment",
        tests=3 * len(probes.PROBES),
        failures=tuple(map(str, probes.deviations(cache))),
    )
    if environment.failures:
        return SelfTest(digest=tested(), parts=(environment,), suspects=tuple(map(str, suspects())))
    parts = (environment, *(_elementary(name, cache) for name in NAMES), _sums(cache), _bins(cache))
    return SelfTest(digest=tested(), parts=parts)


def refuse(cache: Path) -> None:
    """Refuse to compute in a process that would compute something else than the profile says.

    :raises TaskError: saying which probe failed, which library may have done it, and what to do.
    """
    found = probes.deviations(cache)
    if found:
        kinds = list(dict.fromkeys(deviation.probe.fault for deviation in found))
        raise TaskError(
            f"this process does not compute as IEEE 754 says: {kinds[0]}; {found[0]}",
            hint=_advice([str(path) for path in suspects()]),
        )
    x, y, right = golden.handful()
    out = np.empty(len(right))
    probes.function("elementary", cache)(x, y, out)
    wrong = np.flatnonzero(golden.bits(out) != right)
    if len(wrong):
        name, place = ("exp", "hypot", "arctan2")[int(wrong[0]) // len(x)], int(wrong[0]) % len(x)
        raise TaskError(
            f"compiled code gives another {name} than MPFR, of {x[place]!r} and {y[place]!r}: {out[wrong[0]]!r}",
            hint="run fasthep-archive selftest; delete the cache directory if it agrees, and report it if it doesn't",
        )


def _advice(found: list[str]) -> str:
    advice = "nothing is computed, because the numbers would be wrong; fasthep-archive selftest shows all probes"
    if found:
        return f"{', '.join(found)} can have done it: built with -ffast-math, it changes the whole process. {advice}"
    return f"a library that this process has loaded, or the program that started it, must have done it. {advice}"


# Elementary functions


def _elementary(name: str, cache: Path) -> Part:
    failures: list[str] = []
    tests = 0
    for vectors in golden.vectors(name):
        out = strip_code.computed(name, vectors.columns, cache / "kernels")
        wrong = vectors.wrong(out)
        tests += len(out)
        failures += [_wrong(name, vectors, place, out) for place in wrong[:SHOWN]]
        failures += [f"{name}: {len(wrong) - SHOWN} more like that"] * (len(wrong) > SHOWN)
    return Part(name=name, tests=tests, failures=tuple(failures))


def _wrong(name: str, vectors: golden.Vectors, place: int, out: golden.Doubles) -> str:
    if place < 0:
        return f"{name}: one of {len(out)} results differs from MPFR's"
    arguments = ", ".join(float(column[place]).hex() for column in vectors.columns)
    return f"{name}({arguments}) is {float(out[place]).hex()}, which is not MPFR's"


# Sums


def _sums(cache: Path) -> Part:
    """Fill at once, and in parts that are merged in another order: one state, and the sums that are known."""
    cells, weights = golden.fills()
    counts, *right = golden.sums()
    whole, merged = (sums.WeightedSums(len(counts), cache=cache) for _ in range(2))
    whole.add(cells, weights)
    for start in reversed(range(0, len(cells), 1000)):
        piece = sums.WeightedSums(len(counts), cache=cache)
        piece.add(cells[start : start + 1000], weights[start : start + 1000])
        merged.merge(piece)
    failures = [
        f"{name} of cell {cell} is {float(found[cell]).hex()}, not the exact sum, rounded once"
        for name, found, known in zip(("sum w", "sum w²"), (whole.sumw(), whole.sumw2()), right, strict=True)
        for cell in np.flatnonzero(golden.bits(found) != known)
    ]
    failures += ["numbers of fills are wrong"] * (not np.array_equal(whole.counts, counts))
    failures += ["merged parts are not the whole"] * (not _equal(whole.state(), merged.state()))
    return Part(name="exact sums", tests=2 * len(cells), failures=tuple(failures))


def _equal(one: sums.State, other: sums.State) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


# Bins


def _bins(cache: Path) -> Part:
    failures, tests = [], 0
    for (name, edges), (edges_digest, places_digest) in zip(_axes(), golden.bins(), strict=True):
        values = golden.binned(edges)
        cells = np.zeros(len(values), np.int64)
        bins.EdgeAxis(edges, cache=cache).place(cells, Column(values))
        tests += len(values) + len(edges)
        failures += [f"edges of {name} are wrong"] * (golden.hashed(golden.bits(edges)) != edges_digest)
        failures += [f"places on {name} are wrong"] * (golden.hashed(cells) != places_digest)
    return Part(name="bins", tests=tests, failures=tuple(failures))


def _axes() -> Iterator[tuple[str, NDArray[np.float64]]]:
    for count, low, high in golden.REGULAR:
        yield f"the axis of {count} bins from {low} to {high}", bins.regular_edges(count, low, high)
    for edges in golden.VARIABLE:
        yield f"the axis of {len(edges)} edges", bins.variable_edges(edges)
