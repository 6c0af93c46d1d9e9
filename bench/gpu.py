"""The CUDA target on a real GPU: self-test, the tests of tests/test_cuda_*.py on the device, whole workflows, rates.

    python bench/gpu.py [--events 10000000] [--no-tests] [--stand-in]

Needs CuPy and NVRTC (``pip install 'fasthep-archive[gpu]'``). What is compared: the states of passes over the dimuon
example, enlarged, with those of the CPU, byte for byte. What is timed: the passes as a run does them (read, copy,
compute, fill), the same with the columns already read, and a dimuon mass and the weighted fill of a histogram of it on
the device alone, beside one thread of this machine's CPU and the device's memory bandwidth. ``--stand-in`` does it with
PTX translated to the CPU, to see that this program works; its rates say nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))

from fasthep_archive.archive.checking import checked  # noqa: E402 - after the tests' own modules can be found
from fasthep_archive.context import Context, NoProgress  # noqa: E402
from fasthep_archive.data.source import open_events  # noqa: E402
from fasthep_archive.execution.device_pass import DevicePasses  # noqa: E402
from fasthep_archive.execution.plan import Pass, Work  # noqa: E402
from fasthep_archive.execution.worker import states  # noqa: E402
from fasthep_archive.formula.columns import Column, ColumnType  # noqa: E402
from fasthep_archive.formula.parse import parse  # noqa: E402
from fasthep_archive.kernels.compile import compile_program  # noqa: E402
from fasthep_archive.kernels.cuda.cupy_device import CupyDevice  # noqa: E402
from fasthep_archive.kernels.cuda.device import Device  # noqa: E402
from fasthep_archive.kernels.cuda.listing import listing, passing  # noqa: E402
from fasthep_archive.kernels.cuda.run import DeviceKernel, Lane  # noqa: E402
from fasthep_archive.kernels.cuda.tools import Tools  # noqa: E402
from fasthep_archive.kernels.program import Builder, Program  # noqa: E402
from fasthep_archive.operations.filling import AxisFill, Filling  # noqa: E402
from fasthep_archive.operations.protocol import State  # noqa: E402
from fasthep_archive.operations.resident import started  # noqa: E402
from fasthep_archive.workflow.document import load  # noqa: E402

COLUMNS = ("pt1", "pt2", "eta1", "eta2", "phi1", "phi2", "w")
MASS = "sqrt(2 * pt1 * pt2 * (cosh(eta1 - eta2) - cos(phi1 - phi2)))"
FILLING = Filling(
    axes=(AxisFill(kind="regular", edges=tuple(np.linspace(60.0, 120.0, 61).tolist())),),
    selected=False,
    weights="given",
)
SAMPLE = 1_000_000
"""Events that the CPU computes too, in the chain."""


def events_of(count: int) -> dict[str, Column]:
    """Return columns of made-up muons in float32, as files have them."""
    random = np.random.default_rng(1)
    made = {name: random.exponential(20, count) + 20 for name in ("pt1", "pt2")}
    made |= {name: random.uniform(-2.4, 2.4, count) for name in ("eta1", "eta2")}
    made |= {name: random.uniform(-np.pi, np.pi, count) for name in ("phi1", "phi2")}
    made["w"] = random.normal(1, 0.2, count)
    return {name: Column(column.astype(np.float32)) for name, column in made.items()}


def program() -> Program:
    """Return the mass and the weight."""
    builder = Builder({name: ColumnType("float64") for name in COLUMNS})
    scope = {name: builder.column(name) for name in COLUMNS}
    return builder.program([builder.formula(parse(text), scope) for text in (MASS, "w")])


def timed(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of a few calls, in seconds; the first one warms up."""
    function()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def same(found: Mapping[str, State], expected: Mapping[str, State]) -> bool:
    return list(found) == list(expected) and all(
        found[node].header == state.header
        and list(found[node].arrays) == list(state.arrays)
        and all(found[node].arrays[name].tobytes() == array.tobytes() for name, array in state.arrays.items())
        for node, state in expected.items()
    )


# Whole workflows


def enlarged(directory: Path, events: int) -> Path:
    """Return the example's document beside its files, each repeated until there are so many events."""
    import awkward as ak
    import uproot

    source = ROOT / "examples" / "dimuon"
    (directory / "data").mkdir()
    for path in sorted((source / "data").glob("*.root")):
        with uproot.open(path) as file:
            arrays = file["events"].arrays()
        times = max(1, events // 3 // len(arrays))
        large = ak.concatenate([arrays] * times)
        names = [name for name in large.fields if not name.startswith(("NMuon", "NJet"))]
        lists = {prefix: [n for n in names if n.startswith(f"{prefix}_")] for prefix in ("Muon", "Jet")}
        columns = {p: ak.zip({n.removeprefix(f"{p}_"): large[n] for n in found}) for p, found in lists.items()}
        columns |= {n: large[n] for n in names if not n.startswith(("Muon_", "Jet_"))}
        with uproot.recreate(directory / "data" / path.name) as file:
            file.mktree(
                "events",
                {name: column.type.content for name, column in columns.items()},
                counter_name=lambda n: f"N{n}",
            )
            file["events"].extend(columns)
    document = directory / "workflow.yaml"
    document.write_text((source / "workflow.yaml").read_text())
    return document


def works(document: Path, cache: Path) -> list[tuple[Pass, Work]]:
    context = Context(
        cache=cache, now=datetime(2026, 1, 1, tzinfo=UTC), measured=True, workers=1, progress=NoProgress()
    )
    plan = checked(load(document), context, "read", None).plan
    return [(step, step.variant.work(tuple(step.parts))) for step in plan.passes]


class Read:
    """A source whose columns have been read."""

    def __init__(self, step: Pass, work: Work) -> None:
        self._start = step.partition.start
        with open_events(step.partition.file.path, step.partition.reads) as source:
            self._columns = source.read(work.branches, step.partition.start, step.partition.stop)
            self._clusters = source.clusters()

    def clusters(self) -> tuple[int, ...]:
        return self._clusters

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        return {name: self._columns[name].events(start - self._start, stop - self._start) for name in columns}


def workflows(passes: DevicePasses, events: int, cache: Path) -> bool:
    """Compare and time whole passes; return whether all states are equal."""
    with tempfile.TemporaryDirectory() as directory:
        listed = works(enlarged(Path(directory), events), cache)
        count = sum(step.partition.stop - step.partition.start for step, _ in listed)
        equal = True

        def on_device() -> None:
            for step, work in listed:
                with open_events(step.partition.file.path, step.partition.reads) as source:
                    passes.states(source, work, step.partition.start, step.partition.stop)

        for step, work in listed:
            with open_events(step.partition.file.path, step.partition.reads) as source:
                found = passes.states(source, work, step.partition.start, step.partition.stop)
            equal = same(found, states(step.partition, work, cache)) and equal
        print(f"states of {len(listed)} passes of the example: {'equal' if equal else 'DIFFERENT'}")
        cpu = timed(lambda: [states(step.partition, work, cache) for step, work in listed], 2)
        gpu = timed(on_device, 2)
        read = [(Read(step, work), step, work) for step, work in listed]
        alone = timed(lambda: [passes.states(r, w, s.partition.start, s.partition.stop) for r, s, w in read], 2)
        for name, seconds in (("CPU, one thread", cpu), ("GPU", gpu), ("GPU, columns read before", alone)):
            print(f"the example, {count} events, {name}: {count / seconds / 1e6:.2f} million events/s")
    return equal


# One chain, on the device


def chain(device: Device, events: int, cache: Path) -> bool:
    """Compare and time a mass and a fill; return whether they are equal."""
    tools, data = Tools(device, cache), events_of(events)
    kernel = DeviceKernel(program(), {name: column.content.dtype for name, column in data.items()}, tools, cache)
    sample = min(SAMPLE, events)
    block = kernel.load(Lane(device), {name: column.events(0, sample) for name, column in data.items()}, sample)
    found = kernel.run(block, {})
    filled = started(FILLING, tools, cache)
    filled.add(found, {}, {})
    mass, state = tools.downloaded(found[0]).content, filled.state()
    masses, expected, seconds = cpu_chain({name: column.events(0, sample) for name, column in data.items()}, cache)
    equal = (mass.view(np.int64) == masses.view(np.int64)).all() and same({"": state}, {"": expected})
    print(f"bits of {sample} masses and of their histogram: {'equal' if equal else 'DIFFERENT'}")
    whole = kernel.load(Lane(device), data, events)

    def computed() -> None:
        kernel.run(whole, {})
        device.finish()

    outputs = kernel.run(whole, {})
    accumulator = started(FILLING, tools, cache)

    def fill() -> None:
        accumulator.add(outputs, {}, {})
        device.finish()

    compute, filling = timed(computed), timed(fill)
    floor = copied(device, cache)
    moved = events * (7 * 4 + 2 * 8)
    print(f"CPU, one thread: {sample / seconds / 1e6:.1f} million events/s (mass and fill)")
    print(f"GPU: mass {events / compute / 1e6:.0f}, fill {events / filling / 1e6:.0f} million events/s")
    print(f"GPU: mass moves {moved / compute / 1e9:.1f} GB/s; the memory gives {floor / 1e9:.1f} GB/s")
    return bool(equal)


def copied(device: Device, cache: Path) -> float:
    """Return the bytes per second that a kernel moves which does nothing else: reads and writes of 2**27 doubles."""
    from fasthep_archive.kernels.cuda.device import room

    tools, count = Tools(device, cache), min(2**27, device.free() // 64)
    source, target = room(device, 8 * count), room(device, 8 * count)
    device.clear(source)

    def copy() -> None:
        tools.launch("words_as_numbers", count, target, source)
        device.finish()

    return 16 * count / timed(copy)


def cpu_chain(data: Mapping[str, Column], cache: Path) -> tuple[np.ndarray, State, float]:
    """Return masses and sums of one thread of the CPU, and the seconds it took."""
    kernel = compile_program(program(), cache=cache)
    masses: list[np.ndarray] = []
    accumulator = FILLING.start(cache)

    def computed() -> None:
        nonlocal accumulator
        accumulator = FILLING.start(cache)
        masses.clear()
        for begin in range(0, len(data["w"]), 16_384):
            block = {name: column.events(begin, min(begin + 16_384, len(column))) for name, column in data.items()}
            outputs = kernel(block, {}, len(block["w"]))
            accumulator.add(outputs, {})
            masses.append(outputs[0].content.copy())

    seconds = timed(computed, 2)
    return np.concatenate(masses), accumulator.state(), seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        cache = Path(directory)
        if options.stand_in:
            from translated_device import TranslatedDevice

            opener: Callable[[int], Device] = TranslatedDevice
            found = passing([TranslatedDevice().description], opener, cache)
        else:
            opener, found = CupyDevice, listing(cache)
        for reason in filter(None, (*found.refused, found.lacking)):
            print(reason)
        if not found.devices:
            return 2
        print(f"{found.devices[0]}: the self-test has passed")
        if not (options.no_tests or options.stand_in):
            command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *sorted(map(str, TESTS.glob("test_cuda_*.py")))]
            environment = {**os.environ, "FASTHEP_ARCHIVE_TEST_DEVICE": "gpu"}
            if subprocess.run(command, env=environment, check=False).returncode:
                return 1
        passes = DevicePasses(opener(found.devices[0].ordinal), cache)
        equal = workflows(passes, options.events, cache)
        equal = chain(passes.device, options.events, cache) and equal
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
