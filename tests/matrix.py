"""One digest over many ways to compute. By hand, all of them, which takes some minutes because each compiles anew:

    nice python tests/matrix.py
    nice python tests/matrix.py --arm64       another architecture too, emulated (Debian, as root; tests/arm64.py)
    nice python tests/matrix.py --arm64 --first 1       that, beside this machine as it is

The examples and the benchmark's workflow are run in a process of their own for each variation: other processors to
compile for, without FMA and AVX, without optimisation, other numbers of workers and partitions, partitions in another
order (tests/reordered.py), NumPy and the C library without their special code; and the self-test, which compares every function with MPFR. Prints the digest of all
products for each, and fails if they are not one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import arm64
from command import Command

from fasthep_archive import digest
from fasthep_archive.digest import Digest


@dataclass(frozen=True, kw_only=True)
class Variation:
    """A way to compute: variables of the process, options of the command, and the order of what has none."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ("-j", "1")
    order: str | None = None

    @property
    def before(self) -> Sequence[str]:
        """Return what runs the command."""
        return () if self.order is None else (sys.executable, str(REORDERED), self.order)


REORDERED = Path(__file__).with_name("reordered.py")
NO_VECTORS = "-avx512f,-avx512vl,-avx512dq,-avx512bw,-avx512cd,-avx2,-avx,-fma"
NUMPY_PLAIN = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
"""NumPy 2.4 ignores the older names, AVX2 and so on, without a word."""
LIBM_PLAIN = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX"

WIDE = "+avx,+avx2,+fma,+bmi,+bmi2"


def _compiler(name: str, processor: str, features: str, **more: str) -> Variation:
    """Return code for another processor. Without features numba takes those of this one, whatever the name says."""
    return Variation(name=name, variables={"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, **more})


COMPILERS = (
    Variation(name="as it is"),
    _compiler("generic", "generic", ""),
    _compiler("generic, no FMA, no AVX", "generic", NO_VECTORS),
    _compiler("haswell", "haswell", WIDE),
    _compiler("haswell, no FMA", "haswell", "+avx,+avx2,-fma"),
    _compiler("znver2", "znver2", WIDE),
    _compiler("znver4, no AVX-512", "znver4", f"{WIDE},-avx512f"),
    Variation(name="unoptimised", variables={"NUMBA_OPT": "0"}),
    _compiler("unoptimised, generic", "generic", NO_VECTORS, NUMBA_OPT="0"),
)
"""Each has kernels of its own. NUMBA_OPT is 3 where it isn't said."""

PARTITIONS = (
    *(Variation(name=f"{workers} workers", options=("-j", str(workers))) for workers in (2, 5)),
    *(Variation(name=f"chunk {chunk}", options=("-j", "1", "--chunk", str(chunk))) for chunk in (1000, 77_777)),
    Variation(name="5 workers, chunk 100", options=("-j", "5", "--chunk", "100")),
)

ORDERS = (
    Variation(name="chunk 100, reversed", options=("-j", "1", "--chunk", "100"), order="reversed"),
    Variation(name="chunk 1000, shuffled", options=("-j", "1", "--chunk", "1000"), order="7"),
    Variation(name="2 workers, chunk 100, shuffled", options=("-j", "2", "--chunk", "100"), order="8"),
)

LIBRARIES = (
    Variation(name="plain NumPy", variables={"NPY_DISABLE_CPU_FEATURES": NUMPY_PLAIN}),
    Variation(name="plain C library", variables={"GLIBC_TUNABLES": LIBM_PLAIN}),
    Variation(
        name="plain NumPy and C library, 2 workers",
        variables={"NPY_DISABLE_CPU_FEATURES": NUMPY_PLAIN, "GLIBC_TUNABLES": LIBM_PLAIN},
        options=("-j", "2", "--chunk", "1000"),
    ),
)

FULL = (*COMPILERS, *PARTITIONS, *ORDERS, *LIBRARIES)
QUICK = (COMPILERS[2], PARTITIONS[0], PARTITIONS[-1], ORDERS[-1], LIBRARIES[-1])
"""What a test can wait for, beside the first: one other processor, partitions, an order and libraries."""


BENCH = Path(__file__).parents[1] / "bench"


def products(command: Command, workflow: Path, directory: Path, variation: Variation) -> Digest:
    """Run ``workflow``, reusing nothing, and return the digest of the contents of all products."""
    words = ("run", workflow, "-o", directory, "-q", "--no-cache", *variation.options)
    command(*words, cwd=workflow.parent, before=variation.before, **variation.variables)
    return _contents(directory)


def _contents(directory: Path) -> Digest:
    record = json.loads((directory / "record" / "run.json").read_bytes())
    outputs = [output for output in record["outputs"] if output["kind"] != "picture"]
    return digest.of_json({output["name"]: output["content"] for output in outputs})


def main() -> int:
    """Print the digest of each variation; return 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="of the benchmark (default: %(default)s)")
    parser.add_argument("--first", type=int, default=len(FULL), metavar="N", help="only so many variations")
    parser.add_argument("--arm64", action="store_true", help="compute on an emulated arm64 too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        space = Path(directory)
        command = Command(cache=space / "cache")
        workflows = (
            _example(command, space / "dimuon"),
            _example(command, space / "top_background"),
            _benchmark(space / "benchmark", options.events),
        )
        found = set()
        for number, variation in enumerate(FULL[: options.first]):
            begun = time.monotonic()
            digests = [
                products(command, workflow, space / f"{workflow.parent.name}-{number}", variation)
                for workflow in workflows
            ]
            tested = command("selftest", **variation.variables).stdout.splitlines()[-2]
            found.add(tuple(digests))
            print(*(word[:16] for word in digests), tested.split(" in ")[0], variation.name, sep="  ", end="  ")
            print(f"({time.monotonic() - begun:.0f} s)", flush=True)
        if options.arm64:
            found.add(_emulated(workflows, space))
    print(f"{min(options.first, len(FULL)) + options.arm64} variations, {len(found)} result{'s' * (len(found) > 1)}")
    return 0 if len(found) == 1 else 1


def _emulated(workflows: Sequence[Path], space: Path) -> tuple[Digest, ...]:
    """Return the digests that an emulated arm64 gives, after its self-test."""
    begun = time.monotonic()
    machine = arm64.prepare(space / "arm64")
    digests = []
    for workflow in workflows:
        out = space / f"{workflow.parent.name}-arm64"
        machine("run", workflow.name, "-o", out, "-q", "--no-cache", "-j", "1", cwd=workflow.parent)
        digests.append(_contents(out))
    tested = machine("selftest", cwd=space).splitlines()[-2]
    print(*(word[:16] for word in digests), tested.split(" in ")[0], "arm64, emulated", sep="  ", end="  ")
    print(f"({time.monotonic() - begun:.0f} s)", flush=True)
    return tuple(digests)


def _example(command: Command, directory: Path) -> Path:
    command("init", directory, "--example", directory.name)
    return directory / "workflow.yaml"


def _benchmark(directory: Path, events: int) -> Path:
    """Return the benchmark's workflow, with events: so many that large chunks are not all of them."""
    directory.mkdir()
    script = [sys.executable, BENCH / "make_events.py", directory / "events.root", str(events)]
    subprocess.run(script, check=True, capture_output=True)
    text = (BENCH / "workflow.yaml").read_text().replace("EVENTS}", f"{events}}}")
    (directory / "workflow.yaml").write_text(text)
    return directory / "workflow.yaml"


if __name__ == "__main__":
    raise SystemExit(main())
