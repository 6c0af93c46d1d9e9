"""The CUDA target on a real GPU: the test suite of tests/test_cuda_*.py on the device, then rates. Needs CuPy.

    python bench/gpu.py [--events 10000000] [--no-tests]

Rates are of data that is on the device already: a dimuon mass with its selection, and the weighted fill of a histogram
of it, beside one thread of this machine's CPU and beside the device's own memory bandwidth.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from device import OnDevice, architecture  # noqa: E402 - the tests' own

from fasthep_archive.formula.columns import Column, ColumnType  # noqa: E402
from fasthep_archive.formula.parse import parse  # noqa: E402
from fasthep_archive.kernels.compile import compile_program  # noqa: E402
from fasthep_archive.kernels.cuda import fills_source  # noqa: E402
from fasthep_archive.kernels.cuda.nvrtc import Compiler, compiler  # noqa: E402
from fasthep_archive.kernels.cuda.ptx import checked  # noqa: E402
from fasthep_archive.kernels.cuda.source import cuda_source, functions_source  # noqa: E402
from fasthep_archive.kernels.program import Builder, Program  # noqa: E402
from fasthep_archive.kernels.schedule import schedule  # noqa: E402
from fasthep_archive.kernels.sums import WeightedSums, _Limbs  # noqa: E402

COLUMNS = ("pt1", "pt2", "eta1", "eta2", "phi1", "phi2", "w")
MASS = "sqrt(2 * pt1 * pt2 * (cosh(eta1 - eta2) - cos(phi1 - phi2)))"
EDGES = np.linspace(60.0, 120.0, 61)
SAMPLE = 1_000_000
"""Events that the CPU computes too."""


def events_of(count: int) -> dict[str, np.ndarray]:
    """Return columns of made-up muons in float32, as files have them."""
    random = np.random.default_rng(1)
    made = {name: random.exponential(20, count) + 20 for name in ("pt1", "pt2")}
    made |= {name: random.uniform(-2.4, 2.4, count) for name in ("eta1", "eta2")}
    made |= {name: random.uniform(-np.pi, np.pi, count) for name in ("phi1", "phi2")}
    return {name: column.astype(np.float32) for name, column in (made | {"w": random.normal(1, 0.2, count)}).items()}


def program() -> Program:
    """Return the mass and the weight."""
    builder = Builder({name: ColumnType("float64") for name in COLUMNS})
    scope = {name: builder.column(name) for name in COLUMNS}
    return builder.program([builder.formula(parse(text), scope) for text in (MASS, "w")])


def timed(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of a few calls, in seconds."""
    import cupy

    best = float("inf")
    for _ in range(repeats):
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        function()
        cupy.cuda.Device().synchronize()
        best = min(best, time.perf_counter() - start)
    return best


class Chain:
    """Mass, bin and weighted fill on the device."""

    def __init__(self, nvrtc: Compiler, data: dict[str, np.ndarray]) -> None:
        import cupy

        self.count = len(data["w"])
        source = cuda_source(program(), {name: column.dtype for name, column in data.items()})
        fills = functions_source(fills_source, fills_source.NAMES)
        for text in (source.text, fills):
            checked(nvrtc.ptx(text))
        self.mass_code, self.fill_code = OnDevice(nvrtc, source.text), OnDevice(nvrtc, fills)
        (self.kernel,) = source.launches
        columns = {name: cupy.asarray(column) for name, column in data.items()}
        outputs = [content for content, _ in schedule(program()).outputs]
        self.masses, self.weights = results = [cupy.empty(self.count), cupy.empty(self.count)]
        values = {
            "events": lambda _: self.count,
            "column": lambda argument: columns[argument.name],
            "out": lambda argument: results[outputs.index(argument.number)],
        }
        self.arguments = [values[argument.kind](argument) for argument in self.kernel.arguments]
        self.cells = cupy.empty(self.count, np.int64)
        self.edges = cupy.asarray(EDGES)

    def mass(self) -> None:
        self.mass_code.launch(self.kernel.name, self.count + 1, self.arguments)

    def fill(self) -> tuple[np.ndarray, list[_Limbs]]:
        """Fill the histogram; return counts, sums of weights and of their squares."""
        import cupy

        size, launch, weights = EDGES.size + 1, self.fill_code.launch, self.weights
        self.cells.fill(0)
        scale = (EDGES.size - 1) / float(EDGES[-1] - EDGES[0])
        launch("place_regular", self.count, [self.count, self.cells, self.masses, self.edges, EDGES.size - 1, scale])
        counts = cupy.zeros(size, np.int64)
        launch("count_cells", self.count, [self.count, self.cells, counts, size])
        sums = []
        for squared in (False, True):
            window = cupy.full(2, 2**62, np.int64)
            launch("extent", self.count, [self.count, self.cells, size, weights, squared, window])
            first, last = window.get().tolist()
            width = -last + 3 - first
            limbs, nonfinite = cupy.zeros((size, width), np.int64), cupy.zeros((size, 3), np.int64)
            arguments = [self.count, self.cells, size, weights, squared, limbs, first, width, nonfinite]
            launch("add_values", self.count, arguments)
            launch("settle", size, [size, limbs, width])
            found = _Limbs(size, first, width)
            found._limbs, found._nonfinite = limbs.get(), nonfinite.get()
            sums.append(found)
        return counts.get(), sums


def cpu(data: dict[str, np.ndarray], cache: Path) -> tuple[np.ndarray, WeightedSums, float]:
    """Return masses and sums of one thread of the CPU, and the seconds it took."""
    from fasthep_archive.kernels.bins import EdgeAxis

    kernel, axis = compile_program(program(), cache=cache), EdgeAxis(EDGES, cache=cache)
    seconds = 0.0
    for _ in range(2):  # the first call compiles
        start = time.perf_counter()
        sums = WeightedSums(axis.size, cache=cache)
        masses = []
        for begin in range(0, len(data["w"]), 100_000):
            block = {name: Column(column[begin : begin + 100_000]) for name, column in data.items()}
            mass, weight = kernel(block, {}, len(block["w"].content))
            cells = np.zeros(len(mass.content), np.int64)
            axis.place(cells, mass)
            sums.add(cells, weight.content)
            masses.append(mass.content.copy())
        seconds = time.perf_counter() - start
    return np.concatenate(masses), sums, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--no-tests", action="store_true")
    options = parser.parse_args()
    nvrtc = compiler()
    if nvrtc is None:
        print("needs NVRTC: pip install nvidia-cuda-nvrtc")
        return 2
    print(f"NVRTC {nvrtc.version()}, device {architecture()}")
    if not options.no_tests:
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *sorted(map(str, TESTS.glob("test_cuda_*.py")))]
        if subprocess.run(command, env={**os.environ, "FASTHEP_ARCHIVE_TEST_DEVICE": "gpu"}, check=False).returncode:
            return 1
    import cupy

    data = events_of(options.events)
    sample = {name: column[:SAMPLE] for name, column in data.items()}
    with tempfile.TemporaryDirectory() as cache:
        masses, sums, cpu_seconds = cpu(sample, Path(cache))
    small = Chain(nvrtc, sample)
    small.mass()
    counts, limbs = small.fill()
    same_mass = (small.masses.get().view(np.int64) == masses.view(np.int64)).all()
    same = (counts == sums.counts).all() and (limbs[0].rounded() == sums.sumw()).all()
    same = same and (limbs[1].rounded() == sums.sumw2()).all()
    print(
        f"bits of {len(masses)} masses: {'equal' if same_mass else 'DIFFERENT'}; of the histogram: {'equal' if same else 'DIFFERENT'}"
    )
    chain = Chain(nvrtc, data)
    mass, fill = timed(chain.mass), timed(chain.fill)
    source, target = cupy.empty(2**27), cupy.empty(2**27)
    bandwidth = 2 * source.nbytes / timed(lambda: cupy.copyto(target, source))
    moved = options.events * (7 * 4 + 2 * 8)
    print(f"CPU, one thread: {len(masses) / cpu_seconds / 1e6:.1f} million events/s (mass and fill)")
    print(f"GPU: mass {options.events / mass / 1e6:.0f}, fill {options.events / fill / 1e6:.0f} million events/s")
    print(f"GPU: mass moves {moved / mass / 1e9:.0f} GB/s of {bandwidth / 1e9:.0f} GB/s")
    return 0 if same and same_mass else 1


if __name__ == "__main__":
    sys.exit(main())
