"""Events per second and memory of each kind of source, beside the library of the format itself.

    python bench/sources.py [EVENTS]

Makes the same events as a file of each kind, and reads two of four columns partition by partition, as a run does, each
kind in a process of its own: ``open`` is what a plan does once (for CSV and JSON, the scan that finds types and blocks),
``read`` what all workers do together. The floor is the format's own library reading the same two columns at once.
Memory is the peak of the process, libraries included: ours stays as it is for more events.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

CHUNK = 500_000
COLUMNS = ("pt", "n")
STEP = 250_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds to open and to read, bytes of memory, partitions."""

    opened: float
    read: float
    memory: int
    partitions: int = 1


def batches(events: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the events, some at a time."""
    random = np.random.default_rng(1)
    for start in range(0, events, STEP):
        size = min(STEP, events - start)
        pt, eta = random.exponential(30, size), random.normal(0, 2, size)
        yield {"pt": pt, "eta": eta, "n": np.arange(start, start + size), "flag": pt > 20}


def write(directory: Path, events: int) -> Mapping[str, Path]:
    """Return the file of each kind."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    paths = {kind: directory / f"events.{kind}" for kind in ("parquet", "arrow", "csv", "json", "npz")}
    schema = pa.table(next(batches(1))).schema
    with (
        pa.parquet.ParquetWriter(paths["parquet"], schema) as parquet,
        pa.ipc.new_file(paths["arrow"], schema) as arrow,
        pa.csv.CSVWriter(paths["csv"], schema) as csv,
        paths["json"].open("w") as lines,
    ):
        for batch in batches(events):
            table = pa.table(batch)
            for writer in (parquet, arrow, csv):
                writer.write_table(table)
            lines.writelines(f"{json.dumps(row)}\n" for row in table.to_pylist())
    whole = list(batches(events))
    np.savez(paths["npz"], **{name: np.concatenate([batch[name] for batch in whole]) for name in whole[0]})
    return paths


def ours(kind: str, path: Path) -> Measured:
    """Return what reading partition by partition takes."""
    from fasthep_archive.data.source import Read, open_source, partitions, settled

    start = time.perf_counter()
    read = Read(kind=kind, tree="")
    with open_source(path, read) as events:
        ranges = partitions(events.entries, events.clusters(), CHUNK)
        read = settled(events, [read])[0]
    opened = time.perf_counter()
    with open_source(path, read) as events:
        for first, last in ranges:
            assert len(events.read(COLUMNS, first, last)["pt"]) == last - first
    done = time.perf_counter()
    return Measured(opened=opened - start, read=done - opened, memory=peak(), partitions=len(ranges))


def floor(kind: str, path: Path) -> Measured:
    """Return what the format's own library takes."""
    start = time.perf_counter()
    FLOORS[kind](path)
    return Measured(opened=0.0, read=time.perf_counter() - start, memory=peak())


def floor_parquet(path: Path) -> None:
    """Read by pyarrow."""
    import pyarrow.parquet

    pyarrow.parquet.read_table(path, columns=list(COLUMNS), use_threads=False)


def floor_arrow(path: Path) -> None:
    """Read by pyarrow, all columns: with mapped memory it would read none."""
    import pyarrow.feather

    pyarrow.feather.read_table(path, columns=list(COLUMNS), use_threads=False, memory_map=False)


def floor_csv(path: Path) -> None:
    """Read by pyarrow."""
    from pyarrow import csv

    csv.read_csv(path, csv.ReadOptions(use_threads=False), convert_options=csv.ConvertOptions(include_columns=COLUMNS))


def floor_json(path: Path) -> None:
    """Read line by line by Python's own parser."""
    with path.open() as lines:
        rows = [(row["pt"], row["n"]) for row in map(json.loads, lines)]
    np.array(rows)


def floor_npz(path: Path) -> None:
    """Read by NumPy."""
    with np.load(path) as arrays:
        for name in COLUMNS:
            arrays[name]


FLOORS: Mapping[str, Callable[[Path], None]] = {
    "parquet": floor_parquet,
    "arrow": floor_arrow,
    "csv": floor_csv,
    "json": floor_json,
    "npz": floor_npz,
}


def warm(kind: str) -> None:
    """Import what reading a kind takes, so that its memory and time are not counted."""

    from fasthep_archive.data.source import Read, open_source

    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), 1000)[kind]
        with open_source(path, Read(kind=kind, tree="")) as events:
            events.read(COLUMNS, 0, 1000)
        FLOORS[kind](path)


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measured(function: Callable[[str, Path], Measured], kind: str, path: Path) -> Measured:
    """Return what a function measures in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(warm, kind).result()
        return pool.submit(function, kind, path).result()


def main() -> None:
    """Print the table."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{events} events, 4 columns, 2 of them read, partitions of {CHUNK}\n")
    print("| kind | file MB | partitions | open s | read Mevents/s | peak MB | library Mevents/s | its peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for kind, path in write(Path(directory), events).items():
            own, library = measured(ours, kind, path), measured(floor, kind, path)
            cells = [
                kind,
                f"{path.stat().st_size / 1e6:.0f}",
                str(own.partitions),
                f"{own.opened:.2f}",
                f"{events / own.read / 1e6:.2f}",
                f"{own.memory / 1e6:.0f}",
                f"{events / library.read / 1e6:.2f}",
                f"{library.memory / 1e6:.0f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
