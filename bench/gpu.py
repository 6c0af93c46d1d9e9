"""The CUDA target on a real GPU: tables of what is right, and how fast it is, and then the tests on the device.

    python bench/gpu.py [--events 10000000] [--no-tests] [--wheels DIR] [--stand-in]

1. *Golden vectors*: the self-test, whose vectors are MPFR's, and which counts what is wrong.
2. *Functions*: bits that differ from the CPU's among a million arguments, and nanoseconds an element.
3. *Workflows*: digests of all states of all passes of the examples, with the dimuon example enlarged, from the CPU and
   from the GPU; events per second, reading included and not, and how many there would be if the device did nothing but
   read the columns from its memory.
4. *One chain*: a dimuon mass and the weighted fill of a histogram on the device alone, beside one thread of this machine's
   CPU and the device's memory bandwidth.
5. ``tests/test_cuda_*.py`` on the device.

Needs CuPy and NVRTC (``pip install 'fasthep-archive[gpu]'``), and for 5 what ``fasthep-archive[test]`` has. Nothing has to
be installed of the project itself, and with ``--wheels`` the wheels of a directory are put into a temporary one first, by
pip and without a registry. All of it takes some minutes. ``--stand-in`` does 1 to 4 with a stand-in of CuPy, on PTX
translated to the CPU, to see that this program and our calls of CuPy work; its rates say nothing, and fewer events do
(``--events 20000``).
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--stand-in", action="store_true")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="install these first, for this run")
    parser.add_argument("--seconds", type=int, default=240, help="for the tests (default: %(default)s)")
    return parser.parse_args()


OPTIONS = _given()
if OPTIONS.wheels:
    _site = tempfile.mkdtemp(prefix="wheels-")
    atexit.register(shutil.rmtree, _site, ignore_errors=True)
    _pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target", _site]
    subprocess.run([*_pip, *map(str, sorted(OPTIONS.wheels.glob("*.whl")))], check=True)
    sys.path.insert(0, _site)
sys.path[:0] = [str(ROOT), str(TESTS)]
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, sys.path)
)  # of the process that looks for GPUs, and of the tests

import functions as cpu_functions  # noqa: E402 - after everything can be found
import numpy as np  # noqa: E402

from fasthep_archive.archive.checking import checked  # noqa: E402
from fasthep_archive.context import Context, NoProgress  # noqa: E402
from fasthep_archive.data.source import open_events  # noqa: E402
from fasthep_archive.execution.device_pass import DevicePasses  # noqa: E402
from fasthep_archive.execution.plan import Pass, Work  # noqa: E402
from fasthep_archive.execution.worker import states  # noqa: E402
from fasthep_archive.formula.columns import Column, ColumnType  # noqa: E402
from fasthep_archive.formula.parse import parse  # noqa: E402
from fasthep_archive.kernels.compile import compile_program  # noqa: E402
from fasthep_archive.kernels.cuda import cupy_device  # noqa: E402
from fasthep_archive.kernels.cuda.code import loaded  # noqa: E402
from fasthep_archive.kernels.cuda.cupy_device import CupyDevice  # noqa: E402
from fasthep_archive.kernels.cuda.device import Device, constant, room  # noqa: E402
from fasthep_archive.kernels.cuda.listing import Listing, listing, passing  # noqa: E402
from fasthep_archive.kernels.cuda.run import DeviceKernel, Lane  # noqa: E402
from fasthep_archive.kernels.cuda.selftest import _functions, thorough  # noqa: E402
from fasthep_archive.kernels.cuda.tools import Tools  # noqa: E402
from fasthep_archive.kernels.elementary import rounded  # noqa: E402
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
"""Events that the CPU computes too, in the chain, and arguments of each function."""


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
    """Return the passes of a document that wait for no other stage's numbers."""
    context = Context(
        cache=cache, now=datetime(2026, 1, 1, tzinfo=UTC), measured=True, workers=1, progress=NoProgress()
    )
    plan = checked(load(document), context, "read", None).plan
    found = [(step, step.variant.work(tuple(step.parts))) for step in plan.passes]
    return [(step, work) for step, work in found if not set(dict(work.program.scalars)) - set(work.scalars)]


class Read:
    """A source whose columns have been read."""

    def __init__(self, step: Pass, work: Work) -> None:
        self._start = step.partition.start
        with open_events(step.partition.file.path, step.partition.reads) as source:
            self._columns = source.read(work.branches, step.partition.start, step.partition.stop)
            self._clusters = source.clusters()
        parts = [part for c in self._columns.values() for part in (c.content, c.offsets, c.valid) if part is not None]
        self.size = sum(part.nbytes for part in parts)

    def clusters(self) -> tuple[int, ...]:
        return self._clusters

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        return {name: self._columns[name].events(start - self._start, stop - self._start) for name in columns}


def digest_of(found: Iterable[Mapping[str, State]]) -> str:
    """Return the digest of states: names, headers, and the bytes of arrays."""
    hashed = hashlib.sha256()
    for node, state in (item for states_ in found for item in states_.items()):
        hashed.update(f"{node} {state.header}".encode())
        for name, array in state.arrays.items():
            hashed.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()


def workflows(passes: DevicePasses, events: int, bandwidth: float, cache: Path) -> bool:
    """Compare and time whole passes; return whether all states are equal."""
    with tempfile.TemporaryDirectory() as directory:
        documents = [enlarged(Path(directory), events), ROOT / "examples" / "top_background" / "workflow.yaml"]
        print("\n| workflow | passes | events | states on the CPU | on the GPU | |\n|---|---|---|---|---|---|")
        equal = [_compared(passes, document, bandwidth, cache) for document in documents]
    return all(equal)


def _compared(passes: DevicePasses, document: Path, bandwidth: float, cache: Path) -> bool:
    listed = works(document, cache)
    count = sum(step.partition.stop - step.partition.start for step, _ in listed)

    def on_device() -> Iterator[Mapping[str, State]]:
        for step, work in listed:
            with open_events(step.partition.file.path, step.partition.reads) as source:
                yield passes.states(source, work, step.partition.start, step.partition.stop)

    def on_cpu() -> Iterator[Mapping[str, State]]:
        for step, work in listed:
            yield states(step.partition, work, cache)

    cpu, gpu = digest_of(on_cpu()), digest_of(on_device())
    name = document.parent.name if document.is_relative_to(ROOT) else "dimuon"
    verdict = "equal" if cpu == gpu else "DIFFERENT"
    print(f"| {name} | {len(listed)} | {count} | {cpu[:16]} | {gpu[:16]} | {verdict} |", flush=True)
    read = [(Read(step, work), step, work) for step, work in listed]
    rates = {
        "CPU, one thread": timed(lambda: list(on_cpu()), 2),
        "GPU": timed(lambda: list(on_device()), 2),
        "GPU, columns read before": timed(
            lambda: [passes.states(r, w, s.partition.start, s.partition.stop) for r, s, w in read], 2
        ),
    }
    for what, seconds in rates.items():
        print(f"{name}, {count} events, {what}: {count / seconds / 1e6:.2f} million events/s", flush=True)
    size = sum(source.size for source, _, _ in read)
    floor = count / (size / bandwidth) / 1e6
    print(
        f"{name}: {size / count:.0f} bytes an event, which the memory gives for {floor:.0f} million events/s",
        flush=True,
    )
    return cpu == gpu


# Golden vectors and functions


def golden_vectors(tools: Tools, cache: Path) -> bool:
    """Print what the self-test has compared; return whether all of it is right."""
    print("\n| self-test | vectors | |\n|---|---|---|")
    parts = thorough(tools, cache)
    for part in parts:
        print(f"| {part.name} | {part.tests} | {'right' if not part.failures else part.failures[0]} |")
    print(
        f"{sum(part.tests for part in parts)} vectors, {sum(len(part.failures) for part in parts)} faults", flush=True
    )
    return not any(part.failures for part in parts)


def functions(device: Device, size: int, cache: Path) -> bool:
    """Compare and time each function; return whether all bits are equal."""
    code = loaded(device, _functions(), cache)
    random, equal = np.random.default_rng(1), True
    print("\n| function | arguments | other bits | GPU, ns | CPU, one thread, ns |\n|---|---|---|---|---|")
    for name in rounded.NAMES:
        count = getattr(rounded, f"{name}_rounded").__code__.co_argcount
        columns = [random.uniform(*cpu_functions.RANGES[name], size) for _ in range(count)]
        there, out, found = [constant(device, column) for column in columns], room(device, 8 * size), np.empty(size)

        def call() -> None:
            code.launch(f"{name}_rounded", size, [size, out, *there])  # noqa: B023
            device.finish()

        gpu = timed(call)
        device.download(out, found)
        expected, cpu = _on_cpu(name, columns, cache)
        differing = int((found.view(np.int64) != expected.view(np.int64)).sum())
        equal = equal and not differing
        print(f"| `{name}` | {size} | {differing} | {gpu / size * 1e9:.3f} | {cpu / size * 1e9:.1f} |", flush=True)
    return equal


def _on_cpu(name: str, columns: Sequence[np.ndarray], cache: Path) -> tuple[np.ndarray, float]:
    """Return what a formula of one function gives, and the seconds that it takes."""
    letters = dict(zip("xy", columns, strict=False))
    builder = Builder({letter: ColumnType("float64") for letter in letters})
    text = "x ** y" if name == "pow" else f"{cpu_functions.NUMPY.get(name, name)}({', '.join(letters)})"
    value = builder.formula(parse(text), {letter: builder.column(letter) for letter in letters})
    kernel = compile_program(builder.program([value]), cache=cache)
    out = np.empty(len(columns[0]))

    def computed() -> None:
        for begin in range(0, len(out), cpu_functions.BLOCK):
            part = {letter: Column(column[begin : begin + cpu_functions.BLOCK]) for letter, column in letters.items()}
            size = len(part["x"].content)
            out[begin : begin + size] = kernel(part, {}, size)[0].content

    return out, timed(computed, 2)


# One chain, on the device


def chain(device: Device, events: int, bandwidth: float, cache: Path) -> bool:
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
    print(f"\nbits of {sample} masses and of their histogram: {'equal' if equal else 'DIFFERENT'}")
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
    moved = events * (7 * 4 + 2 * 8)
    print(f"CPU, one thread: {sample / seconds / 1e6:.1f} million events/s (mass and fill)")
    print(f"GPU: mass {events / compute / 1e6:.0f}, fill {events / filling / 1e6:.0f} million events/s")
    print(f"GPU: mass moves {moved / compute / 1e9:.1f} GB/s; the memory gives {bandwidth / 1e9:.1f} GB/s", flush=True)
    return bool(equal)


def copied(device: Device, cache: Path) -> float:
    """Return the bytes per second that a kernel moves which does nothing else: reads and writes of 2**27 doubles."""
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


def on_stand_in() -> None:
    """Put the stand-in in CuPy's place, and PTX in that of machine code."""
    import standin_cupy

    sys.modules |= {"cupy": standin_cupy, "cupy.cuda": standin_cupy.cuda}
    real = cupy_device.described
    cupy_device.described = lambda ordinal: replace(real(ordinal), architecture="compute_80")


def tests(seconds: int, cache: Path) -> bool:
    """Run the tests on the device; return whether they pass in time."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(min(8, os.cpu_count() or 1))]
    environment = {
        **os.environ,
        "FASTHEP_ARCHIVE_TEST_DEVICE": "gpu",
        "FASTHEP_ARCHIVE_TEST_CACHE": str(cache),  # what one process has compiled is there for the others
    }
    print(flush=True)
    try:
        found = sorted(map(str, TESTS.glob("test_cuda_*.py")))
        return not subprocess.run(
            [*command, *found], cwd=ROOT, env=environment, check=False, timeout=seconds
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"the tests were ended after {seconds} seconds")
        return False


def main() -> int:
    """Print everything; return 1 if anything is not as it should be, 2 if there is no GPU."""
    with tempfile.TemporaryDirectory() as directory:
        cache, begun = Path(directory), time.monotonic()
        if OPTIONS.stand_in:
            on_stand_in()
            found: Listing = passing(cupy_device.devices()[:1], CupyDevice, cache)
        else:
            found = listing(cache)
        for reason in filter(None, (*found.refused, found.lacking)):
            print(reason)
        if not found.devices:
            return 2
        print(f"{found.devices[0]}: the self-test has passed, with compiling in {time.monotonic() - begun:.0f} s")
        passes = DevicePasses(CupyDevice(found.devices[0].ordinal), cache)
        bandwidth = copied(passes.device, cache)
        equal = [
            golden_vectors(Tools(passes.device, cache), cache),
            functions(passes.device, min(SAMPLE, OPTIONS.events), cache),
            workflows(passes, OPTIONS.events, bandwidth, cache),
            chain(passes.device, OPTIONS.events, bandwidth, cache),
        ]
        if not (OPTIONS.no_tests or OPTIONS.stand_in):
            equal.append(tests(OPTIONS.seconds, cache))
        print(f"\n{'all is equal' if all(equal) else 'NOT ALL IS EQUAL'}, {time.monotonic() - begun:.0f} s")
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
