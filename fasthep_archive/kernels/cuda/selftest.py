"""The self-test of a device: whether it computes what the numeric profile exact-1 says.

The vectors are those of the CPU's self-test; what is asked is the code that passes run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache as once
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import TaskError
from fasthep_archive.formula.columns import Array
from fasthep_archive.kernels import bins, golden, probes
from fasthep_archive.kernels.cuda import probes_source
from fasthep_archive.kernels.cuda.code import loaded
from fasthep_archive.kernels.cuda.device import Code, Device, Span, constant, room
from fasthep_archive.kernels.cuda.fills import ResidentSums, resident_axis
from fasthep_archive.kernels.cuda.source import functions_source
from fasthep_archive.kernels.cuda.tools import ITEM, Resident, Tools
from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.selftest import SHOWN, Part


def thorough(tools: Tools, cache: Path) -> tuple[Part, ...]:
    """Test everything; compiling it takes seconds the first time.

    :raises DataError: if there is no compiler. :raises TaskError: if the device doesn't take what it made.
    """
    code = loaded(tools.device, _functions(), cache)
    elementary = tuple(_elementary(name, tools.device, code) for name in rounded.NAMES)
    return (_environment(tools.device, cache), *elementary, _sums(tools, cache), _bins(tools, cache))


class Watch:
    """The quick part, which is asked before and after each pass."""

    def __init__(self, device: Device, cache: Path) -> None:
        self._device = device
        self._code = loaded(device, _probes(), cache)
        x, y, z = probes.columns()
        self._probes = tuple(constant(device, column) for column in (x, y, z))
        x, y, self._right = golden.handful()
        self._handful = (constant(device, x), constant(device, y))
        self._out = room(device, ITEM * max(len(self._right), len(probes.OPERATIONS) * len(probes.PROBES)))

    def refuse(self) -> None:
        """Refuse to compute on a device that would compute something else than the profile says.

        :raises TaskError: saying what it does instead.
        """
        for deviation in probes.differing("the GPU", self._results("operate", self._probes, len(probes.OPERATIONS))):
            raise self._refused(str(deviation))
        found = self._results("elementary", self._handful, 3)
        if not np.array_equal(golden.bits(found), self._right):
            raise self._refused("it gives another exp, hypot or arctan2 than MPFR")

    def _results(self, name: str, columns: tuple[Span, ...], blocks: int) -> NDArray[np.float64]:
        count = columns[0].size // ITEM
        out = np.empty(blocks * count)
        self._code.launch(name, count, [count, *columns, self._out, count])
        self._device.download(self._out.part(0, out.nbytes), out)
        return out

    def _refused(self, why: str) -> TaskError:
        return TaskError(
            f"{self._device.description} does not compute as the profile says: {why}",
            hint="run with --device cpu; fasthep-archive selftest shows all that is wrong",
        )


@once
def _probes() -> str:
    return functions_source(probes_source, probes_source.NAMES)


@once
def _functions() -> str:
    return functions_source(rounded, [f"{name}_rounded" for name in rounded.NAMES])


def _environment(device: Device, cache: Path) -> Part:
    watch = Watch(device, cache)
    found = watch._results("operate", watch._probes, len(probes.OPERATIONS))
    failures = tuple(map(str, probes.differing("the GPU", found)))
    return Part(name="floating-point operations", tests=len(probes.PROBES), failures=failures)


def _elementary(name: str, device: Device, code: Code) -> Part:
    failures: list[str] = []
    tests = 0
    for vectors in golden.vectors(name):
        size = len(vectors.columns[0])
        out, place = np.empty(size), room(device, ITEM * size)
        columns = [constant(device, column) for column in vectors.columns]
        code.launch(f"{name}_rounded", size, [size, place, *columns])
        device.download(place, out)
        wrong = vectors.wrong(out)
        tests += size
        failures += [f"{name}: {_told(vectors, k, out)}" for k in wrong[:SHOWN]]
        failures += [f"{name}: {len(wrong) - SHOWN} more like that"] * (len(wrong) > SHOWN)
    return Part(name=name, tests=tests, failures=tuple(failures))


def _told(vectors: golden.Vectors, place: int, out: golden.Doubles) -> str:
    if place < 0:
        return f"one of {len(out)} results differs from MPFR's"
    arguments = ", ".join(float(column[place]).hex() for column in vectors.columns)
    return f"of ({arguments}) it is {float(out[place]).hex()}, which is not MPFR's"


def _sums(tools: Tools, cache: Path) -> Part:
    """Fill in two parts: with all limbs at once, and with a window that has to be widened."""
    cells, weights = golden.fills()
    counts, *right = golden.sums()
    failures: list[str] = []
    for extra in (0, 2000):
        sums = ResidentSums(tools, len(counts) + extra, weighted=True, cache=cache)
        for part in (slice(None, 1500), slice(1500, None)):
            there = constant(tools.device, cells[part]), constant(tools.device, weights[part])
            sums.add(there[0], len(cells[part]), there[1])
        total = sums.total()
        for name, found, known in zip(("sum w", "sum w²"), (total.sumw(), total.sumw2()), right, strict=True):
            wrong = np.flatnonzero(golden.bits(found)[: len(known)] != known)
            failures += [f"{name} of cell {cell} is {float(found[cell]).hex()}, not the exact sum" for cell in wrong]
        failures += ["numbers of fills are wrong"] * (not np.array_equal(total.counts[: len(counts)], counts))
    return Part(name="exact sums", tests=4 * len(cells), failures=tuple(failures))


def _bins(tools: Tools, cache: Path) -> Part:
    failures, tests = [], 0
    for (name, edges), (_, places) in zip(_axes(), golden.bins(), strict=True):
        values = golden.binned(edges)
        size = len(values)
        cells, found = constant(tools.device, np.zeros(size, np.int64)), np.empty(size, np.int64)
        column = Resident(dtype="float64", content=constant(tools.device, values), size=size)
        resident_axis(tools, bins.EdgeAxis(edges, cache=cache)).place(cells, size, column)
        tools.device.download(cells, found)
        tests += size
        failures += [f"places on {name} are wrong"] * (golden.hashed(found) != places)
    return Part(name="bins", tests=tests, failures=tuple(failures))


def _axes() -> Iterator[tuple[str, Array]]:
    for count, low, high in golden.REGULAR:
        yield f"the axis of {count} bins from {low} to {high}", bins.regular_edges(count, low, high)
    for edges in golden.VARIABLE:
        yield f"the axis of {len(edges)} edges", bins.variable_edges(edges)
