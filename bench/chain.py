"""Nanoseconds an event of the dimuon chain: mass, place in the histogram, sums of weights and of their squares.

    python bench/chain.py [--events N] [--variations N]

``by hand`` is one numba loop with the machine's libm, plain sums and plain bin arithmetic: what a physicist would write
for speed, with other numbers on another machine. Ours is what a pass does, block by block. With ``--variations`` the
mass is computed that many times more, each with the muons' pT scaled: the angles are the same for all.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import boost_histogram as bh
import numba
import numpy as np

from fasthep_archive.formula.columns import Column, ColumnType
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.bins import EdgeAxis, regular_edges
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.program import Builder
from fasthep_archive.kernels.sums import WeightedSums

NAMES = ("pt1", "pt2", "eta1", "eta2", "phi1", "phi2", "w")
MASS = "sqrt(2 * ({0} * pt1) * pt2 * (cosh(eta1 - eta2) - cos(phi1 - phi2)))"
BINS, LOW, HIGH = 60, 60.0, 120.0
BLOCK = 16_384
"""Events that a pass takes at a time (:mod:`fasthep_archive.execution.worker`)."""

Columns = dict[str, np.ndarray]


def events_of(count: int) -> Columns:
    """Return columns of made-up pairs of muons."""
    random = np.random.Generator(np.random.PCG64(5))
    made = {name: random.exponential(30, count) + 5 for name in ("pt1", "pt2")}
    made |= {name: random.normal(0, 1.2, count) for name in ("eta1", "eta2")}
    made |= {name: random.uniform(-np.pi, np.pi, count) for name in ("phi1", "phi2")}
    made["w"] = random.normal(1, 0.3, count)
    return made


@numba.njit(nogil=True)
def by_hand(pt1, pt2, eta1, eta2, phi1, phi2, w, sumw, sumw2):
    """Fill a histogram."""
    for i in range(w.size):
        mass = math.sqrt(2 * pt1[i] * pt2[i] * (math.cosh(eta1[i] - eta2[i]) - math.cos(phi1[i] - phi2[i])))
        place = (mass - LOW) * (BINS / (HIGH - LOW))
        k = int(place) if 0.0 <= place < BINS else BINS
        sumw[k] += w[i]
        sumw2[k] += w[i] * w[i]


def by_libraries(columns: Columns, histogram: bh.Histogram) -> None:
    """Fill a histogram with NumPy and boost-histogram, block by block as ours."""
    for start in range(0, len(columns["w"]), BLOCK):
        pt1, pt2, eta1, eta2, phi1, phi2, w = (columns[name][start : start + BLOCK] for name in NAMES)
        histogram.fill(np.sqrt(2 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2))), weight=w)


class Chain:
    """What a pass does, part by part."""

    def __init__(self, columns: Columns, variations: int, cache: Path) -> None:
        self._columns = {name: Column(column) for name, column in columns.items()}
        self._events = len(columns["w"])
        builder = Builder({name: ColumnType("float64") for name in NAMES})
        scope = {name: builder.column(name) for name in NAMES}
        texts = [MASS.format(1 + 0.01 * k) for k in range(variations + 1)]
        masses = [builder.formula(parse(text), scope) for text in texts]
        self._kernel: Kernel = compile_program(builder.program(masses), cache=cache)
        self._axis = EdgeAxis(regular_edges(BINS, LOW, HIGH), cache=cache)
        self._memory = np.empty(BLOCK, np.int64)  # the same for all blocks, as a filler has it
        self._sums = [WeightedSums(self._axis.size, cache=cache) for _ in texts]

    def __call__(self, parts: int) -> None:
        """Do the first ``parts`` of: computing, placing, adding."""
        for start in range(0, self._events, BLOCK):
            stop = min(start + BLOCK, self._events)
            block = {name: column.events(start, stop) for name, column in self._columns.items()}
            masses = self._kernel(block, {}, stop - start)
            for mass, sums in zip(masses, self._sums, strict=True):
                if parts > 1:
                    cells = self._memory[: stop - start]
                    cells.fill(0)
                    self._axis.place(cells, mass)
                if parts > 2:
                    sums.add(cells, block["w"].content)


def best(call: Callable[[], object], events: int, repeats: int = 7) -> float:
    """Return nanoseconds of CPU an event, the best of several times."""
    call()
    found = []
    for _ in range(repeats):
        start = time.thread_time_ns()
        call()
        found.append(time.thread_time_ns() - start)
    return min(found) / events


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--variations", type=int, default=10)
    options = parser.parse_args()
    columns = events_of(options.events)
    arrays = [columns[name] for name in NAMES]
    plain = np.zeros((2, BINS + 1))
    histogram = bh.Histogram(bh.axis.Regular(BINS, LOW, HIGH), storage=bh.storage.Weight())
    lines = {
        "by hand, numba and libm": best(lambda: by_hand(*arrays, *plain), options.events),
        "NumPy and boost-histogram": best(lambda: by_libraries(columns, histogram), options.events),
    }
    cache = Path(tempfile.mkdtemp())
    nominal, varied = Chain(columns, 0, cache), Chain(columns, options.variations, cache)
    times = [best(lambda: nominal(parts), options.events) for parts in (1, 2, 3)]  # noqa: B023 - called at once
    lines |= {
        "ours": times[2],
        "— computing": times[0],
        "— placing": times[1] - times[0],
        "— adding": times[2] - times[1],
    }
    more = [best(lambda: varied(parts), options.events) for parts in (1, 3)]  # noqa: B023 - see above
    for name, first, all_of_them in zip(("computing", "all"), (times[0], times[2]), more, strict=True):
        lines[f"a variation, {name}"] = (all_of_them - first) / options.variations
    print(f"| {options.events} events | ns an event |\n|---|---|")
    for name, found in lines.items():
        print(f"| {name} | {found:.1f} |")


if __name__ == "__main__":
    main()
