"""The tables of whole processes: CPU seconds (user + system, children included), wall seconds and peak memory.

Minimum over rounds that interleave the candidates, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import variations

BENCH = Path(__file__).parent
PACKED = 2 * 1024**3
"""Bytes of the file that is packed and verified."""


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds and bytes."""

    cpu: float
    wall: float
    memory: int


def spent(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Cost:
    """Run ``command`` to its end and return what it and its children took."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{command} failed:\n{errors.decode()}")
    return Cost(cpu=used.ru_utime + used.ru_stime, wall=wall, memory=used.ru_maxrss * 1024)


def best(costs: Sequence[Cost]) -> Cost:
    """Return the least of each."""
    return Cost(min(c.cpu for c in costs), min(c.wall for c in costs), min(c.memory for c in costs))


def rounds(candidates: Mapping[str, Callable[[], Cost]], count: int) -> dict[str, Cost]:
    """Return the best cost of each candidate over interleaved rounds, after one that does not count."""
    found: dict[str, list[Cost]] = {name: [] for name in candidates}
    for number in range(count + 1):
        for name, candidate in candidates.items():
            cost = candidate()
            if number:
                found[name].append(cost)
    return {name: best(costs) for name, costs in found.items()}


def events_file(space: Path, events: int) -> Path:
    """Return the file of events, made when it is first asked for."""
    file = space / "events.root"
    if not file.exists():
        subprocess.run([sys.executable, BENCH / "make_events.py", file, str(events)], check=True)
    return file


def events_table(space: Path, events: int, count: int, fasthep: str | None) -> list[str]:
    """Compare `run` with the hand-written loop and with FAST-HEP on one file."""
    file = events_file(space, events)
    (space / "workflow.yaml").write_text((BENCH / "workflow.yaml").read_text().replace("EVENTS", str(events)))
    cache = {"FASTHEP_ARCHIVE_CACHE": str(space / "cache")}
    run = [sys.executable, "-m", "fasthep_archive", "run", "workflow.yaml", "-q", "--no-cache", "-o", "out"]
    candidates: dict[str, Callable[[], Cost]] = {
        "uproot + numba loop, by hand": lambda: spent([sys.executable, BENCH / "handwritten.py", file]),
        "uproot + awkward + hist": lambda: spent([sys.executable, BENCH / "columns.py", file]),
        "`fasthep-archive run -j 1`": lambda: spent([*run, "-j", "1"], cache, space),
        "`fasthep-archive run -j 2`": lambda: spent([*run, "-j", "2"], cache, space),
    }
    if fasthep:
        outdir = space / "fasthep"
        arguments = [fasthep, "run", "workflow.yaml", "--outdir", outdir, "--chunk-size", "500000"]
        candidates["`fasthep run` (FAST-HEP 2026.10.1)"] = lambda: spent(arguments, cwd=space)
    found = rounds(candidates, count)
    hand = found["uproot + numba loop, by hand"]
    lines = [
        "| | CPU s | wall s | events/s (wall) | CPU relative to by hand | peak memory MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, cost in found.items():
        speed = f"{events / cost.wall / 1e6:.2f} M"
        lines.append(
            f"| {name} | {cost.cpu:.2f} | {cost.wall:.2f} | {speed} | {cost.cpu / hand.cpu:.2f} | {cost.memory / 1e6:.0f} |"
        )
    return lines


def variations_table(space: Path, events: int, count: int) -> list[str]:
    """Compare the workflow alone with the same and systematic variations, on the file of :func:`events_table`."""
    events_file(space, events)
    cache = {"FASTHEP_ARCHIVE_CACHE": str(space / "cache")}
    candidates: dict[str, Callable[[], Cost]] = {}
    for number in variations.COUNTS:
        name = f"variations_{number}.yaml"
        (space / name).write_text(variations.workflow(events, number))
        run = [
            sys.executable,
            "-m",
            "fasthep_archive",
            "run",
            name,
            "-q",
            "--no-cache",
            "-j",
            "1",
            "-o",
            f"out{number}",
        ]
        candidates[str(number)] = lambda run=run: spent(run, cache, space)
    found = rounds(candidates, count)
    first = found[str(variations.COUNTS[0])].cpu
    lines = ["| variations | CPU s | wall s | one more costs, of the first |", "|---|---|---|---|"]
    for name, cost in found.items():
        more = f"{(cost.cpu - first) / (int(name) - 1) / first:.1%}" if int(name) > 1 else ""
        lines.append(f"| {name} | {cost.cpu:.2f} | {cost.wall:.2f} | {more} |")
    return lines


def packing_table(space: Path, count: int) -> list[str]:
    """Compare sealing and verifying a large file with hashing and copying it."""
    from fasthep_archive.bundle.container import Member, write
    from fasthep_archive.bundle.verifier import verify
    from fasthep_archive.context import NoProgress

    file, copy, bundle = space / "large.bin", space / "copy.bin", space / "large.crate.zip"
    block = os.urandom(1 << 20)
    with file.open("wb") as stream:
        for number in range(PACKED >> 20):
            stream.write(number.to_bytes(8, "little") + block[8:])

    def timed(work: Callable[[], object]) -> Cost:
        os.sync()  # what others have written is on the disk: nobody pays for it here
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        work()
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(cpu, wall, after.ru_maxrss * 1024)

    def hashed() -> object:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()

    def sealed() -> Cost:
        bundle.unlink(missing_ok=True)
        return timed(lambda: write([Member(name="data/inputs/large.bin", source=file)], bundle, progress=NoProgress()))

    def copied() -> Cost:
        copy.unlink(missing_ok=True)
        os.sync()
        return spent(["cp", file, copy])

    sealed()
    found = rounds(
        {
            "`sha256sum`": lambda: spent(["sha256sum", file]),
            "hashlib SHA-256, one thread": lambda: timed(hashed),
            "`cp`": copied,
            "write into the bundle (copy, SHA-256 and CRC-32)": sealed,
            "verify (SHA-256, CRC-32 and structure)": lambda: timed(lambda: verify(bundle)),
        },
        count,
    )
    lines = ["| | GB/s (wall) | CPU s |", "|---|---|---|"]
    lines += [f"| {name} | {PACKED / cost.wall / 1e9:.2f} | {cost.cpu:.2f} |" for name, cost in found.items()]
    return lines


def start_table(space: Path, count: int) -> list[str]:
    """Measure what a command costs before it does anything."""
    (space / "tiny.yaml").write_text(
        (BENCH / "workflow.yaml").read_text().replace("EVENTS", "1000").replace("events.root", "tiny.root")
    )
    subprocess.run([sys.executable, BENCH / "make_events.py", space / "tiny.root", "1000"], check=True)
    command = [sys.executable, "-m", "fasthep_archive"]
    run = [*command, "run", "tiny.yaml", "-q", "-o", "tiny"]
    warm = {"FASTHEP_ARCHIVE_CACHE": str(space / "warm")}

    def cold() -> Cost:
        with tempfile.TemporaryDirectory() as empty:
            return spent(run, {"FASTHEP_ARCHIVE_CACHE": empty}, space)

    found = rounds(
        {
            "`--help`": lambda: spent([*command, "--help"]),
            "`check`, 1 000 events": lambda: spent([*command, "check", "tiny.yaml"], warm, space),
            "`run`, 1 000 events, nothing compiled yet": cold,
            "`run`, 1 000 events, kernels compiled": lambda: spent([*run, "--no-cache"], warm, space),
            "`run`, 1 000 events, all results in the store": lambda: spent(run, warm, space),
        },
        count,
    )
    lines = ["| | wall s | CPU s |", "|---|---|---|"]
    lines += [f"| {name} | {cost.wall:.2f} | {cost.cpu:.2f} |" for name, cost in found.items()]
    return lines


def environment_table(space: Path, count: int) -> list[str]:
    """Measure locking this environment, carrying its wheels, and building it again from a bundle."""
    kept, fresh = space / "kept", space / "fresh"
    with_uv = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    bare = os.pathsep.join(place for place in os.environ["PATH"].split(os.pathsep) if not (Path(place) / "uv").exists())
    # uv is asked where pip has no index of its own, see docs/explanation/environment.md
    alone = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}

    def locked(cache: Path, *options: str, **variables: str) -> Cost:
        directory = Path(tempfile.mkdtemp(dir=space))
        command = [sys.executable, BENCH / "environment.py", cache, directory, *options]
        return spent(command, {**alone, **variables})

    def cold(*options: str, **variables: str) -> Cost:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        shutil.copytree(kept / "trees", fresh / "trees")  # the wheel of this tool, which releases need not make
        return locked(fresh, *options, **variables)

    locked(kept, **with_uv)
    subprocess.run(["fasthep-archive", "init", space / "dimuon"], check=True, capture_output=True)
    bundle = space / "fat.crate.zip"
    packing = ["fasthep-archive", "pack", space / "dimuon" / "workflow.yaml", "--fat", "-q", "-o", bundle]
    subprocess.run(packing, env={**os.environ, "FASTHEP_ARCHIVE_CACHE": str(kept)}, check=True)

    def replayed(cache: Path) -> Cost:
        known = {"FASTHEP_ARCHIVE_CACHE": str(cache)}
        return spent([sys.executable, bundle, "replay", "--yes", "-q", "-o", space / "again"], known)

    def anew() -> Cost:
        shutil.rmtree(space / "rebuilt", ignore_errors=True)
        return replayed(space / "rebuilt")

    found = rounds(
        {
            "lock, nothing remembered, pip-tools": lambda: cold(PATH=bare),
            "lock, nothing remembered, uv": lambda: cold(**with_uv),
            "lock, answers remembered": lambda: locked(kept, **with_uv),
            "lock without an index": lambda: cold("--no-index"),
            "lock and carry all wheels, answers and pip's downloads remembered": lambda: locked(
                kept, "--fat", **with_uv
            ),
            "lock and carry all wheels, without an index: made from installed files": lambda: cold(
                "--fat", "--no-index"
            ),
            "`python3 BUNDLE replay`, environment built from the fat bundle": anew,
            "`python3 BUNDLE replay`, environment there already": lambda: replayed(space / "rebuilt"),
        },
        count,
    )
    lines = ["| | wall s | CPU s |", "|---|---|---|"]
    lines += [f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} |" for name, cost in found.items()]
    return lines
