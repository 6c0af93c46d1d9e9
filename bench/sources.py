"""Events per second and memory of each kind of source, beside the library of the format itself.

    python bench/sources.py [--events N] [--kinds KIND...]

Makes the same events as one file of each kind, in row groups, batches, baskets and clusters as its tools make them, and
reads two of four columns partition by partition, as a run does, each kind in a process of its own: ``open`` is what a
plan does once (for CSV and JSON, the scan that finds types and blocks), ``read`` what all workers do together. The floor
is the format's own library reading the same two columns at once. Memory is the peak of the process, libraries included,
of which ``before`` is what it has after reading a few events: ours stays as it is for more events.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from memory import alone, peak

if TYPE_CHECKING:
    from fasthep_archive.data.source import Read

CHUNK = 500_000
COLUMNS = ("pt", "n")
STEP = 250_000
MOST = {"json": 1_000_000}
"""Events that a library reads, where it takes long."""
TREE = "events"
SUFFIXES = {
    "root_tree, ttree": "ttree.root",
    "root_tree, rntuple": "rntuple.root",
    "parquet": "parquet",
    "arrow": "arrow",
    "csv": "csv",
    "json": "json",
    "npz": "npz",
}


Batch: TypeAlias = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds to open and to read, bytes of memory at the peak and before, partitions."""

    opened: float
    read: float
    memory: int
    before: int
    partitions: int = 1


def batches(events: int) -> Iterator[Batch]:
    """Yield the events, some at a time."""
    random = np.random.default_rng(1)
    for start in range(0, events, STEP):
        size = min(STEP, events - start)
        pt, eta = random.exponential(30, size), random.normal(0, 2, size)
        yield {"pt": pt, "eta": eta, "n": np.arange(start, start + size), "flag": pt > 20}


def write(directory: Path, events: int, kind: str) -> Path:
    """Return the file of a kind."""
    path = directory / f"events.{SUFFIXES[kind]}"
    WRITERS[kind](path, batches(events))
    return path


def write_root(form: str) -> Callable[[Path, Iterator[Batch]], None]:
    """Return what writes a TTree or an RNTuple by uproot."""

    def write(path: Path, found: Iterator[Batch]) -> None:
        import uproot

        types = {name: values.dtype for name, values in next(batches(1)).items()}
        with uproot.recreate(path) as file:
            tree = (file.mktree if form == "ttree" else file.mkrntuple)(TREE, types)
            for batch in found:
                tree.extend(batch)

    return write


def write_parquet(path: Path, found: Iterator[Batch]) -> None:
    """Write by pyarrow, in row groups of a million, as it makes them of a table."""
    import pyarrow as pa
    import pyarrow.parquet

    with pa.parquet.ParquetWriter(path, pa.table(next(batches(1))).schema) as writer:
        while waiting := list(islice(found, 4)):
            writer.write_table(pa.concat_tables(map(pa.table, waiting)).combine_chunks())


def write_arrow(path: Path, found: Iterator[Batch]) -> None:
    """Write by pyarrow, in batches of 65 536, as feather makes them."""
    import pyarrow as pa

    with pa.ipc.new_file(path, pa.table(next(batches(1))).schema) as writer:
        for batch in found:
            writer.write_table(pa.table(batch), max_chunksize=1 << 16)


def write_csv(path: Path, found: Iterator[Batch]) -> None:
    """Write by pyarrow."""
    import pyarrow as pa
    import pyarrow.csv

    with pa.csv.CSVWriter(path, pa.table(next(batches(1))).schema) as writer:
        for batch in found:
            writer.write_table(pa.table(batch))


def write_json(path: Path, found: Iterator[Batch]) -> None:
    """Write a line for each event."""
    line = '{{"pt": {!r}, "eta": {!r}, "n": {}, "flag": {}}}\n'.format
    with path.open("w") as lines:
        for batch in found:
            columns = [values.tolist() for values in batch.values()]
            columns[-1] = ["true" if flag else "false" for flag in columns[-1]]
            lines.writelines(map(line, *columns))


def write_npz(path: Path, found: Iterator[Batch]) -> None:
    """Write by NumPy, which has all of it in memory."""
    whole = list(found)
    np.savez(path, **{name: np.concatenate([batch[name] for batch in whole]) for name in whole[0]})


WRITERS: Mapping[str, Callable[[Path, Iterator[Batch]], None]] = {
    "root_tree, ttree": write_root("ttree"),
    "root_tree, rntuple": write_root("rntuple"),
    "parquet": write_parquet,
    "arrow": write_arrow,
    "csv": write_csv,
    "json": write_json,
    "npz": write_npz,
}


def ours(kind: str, path: Path) -> Measured:
    """Return what reading partition by partition takes."""
    from fasthep_archive.data.source import open_source, partitions, settled

    before, start = peak(), time.perf_counter()
    read = reads(kind)
    with open_source(path, read) as events:
        ranges = partitions(events.entries, events.clusters(), CHUNK)
        read = settled(events, [read])[0]
    opened = time.perf_counter()
    with open_source(path, read) as events:
        for first, last in ranges:
            assert len(events.read(COLUMNS, first, last)["pt"]) == last - first
    done = time.perf_counter()
    return Measured(opened=opened - start, read=done - opened, memory=peak(), before=before, partitions=len(ranges))


def reads(kind: str) -> Read:
    """Return how a file of a kind is read."""
    from fasthep_archive.data.source import Read

    return Read(kind=kind.partition(",")[0], tree=TREE if kind.startswith("root_tree") else "")


def floor(kind: str, path: Path) -> Measured:
    """Return what the format's own library takes."""
    before, start = peak(), time.perf_counter()
    FLOORS[kind](path)
    return Measured(opened=0.0, read=time.perf_counter() - start, memory=peak(), before=before)


def floor_root(path: Path) -> None:
    """Read by uproot."""
    import uproot

    with uproot.open(path) as file:
        file[TREE].arrays(list(COLUMNS))


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
    pt, n = array("d"), array("q")
    with path.open() as lines:
        for row in map(json.loads, lines):
            pt.append(row["pt"])
            n.append(row["n"])


def floor_npz(path: Path) -> None:
    """Read by NumPy."""
    with np.load(path) as arrays:
        for name in COLUMNS:
            arrays[name]


FLOORS: Mapping[str, Callable[[Path], None]] = {
    "root_tree, ttree": floor_root,
    "root_tree, rntuple": floor_root,
    "parquet": floor_parquet,
    "arrow": floor_arrow,
    "csv": floor_csv,
    "json": floor_json,
    "npz": floor_npz,
}


def warm(kind: str) -> None:
    """Read a few events, so that imports are not counted."""
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), 1000, kind)
        ours(kind, path)
        FLOORS[kind](path)


def measured(function: Callable[[str, Path], Measured], kind: str, path: Path) -> Measured:
    """Return what a function measures, after a few events."""
    warm(kind)
    return function(kind, path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures the reading of events.")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--kinds", nargs="+", choices=list(SUFFIXES), default=list(SUFFIXES))
    asked = parser.parse_args()
    print(f"{asked.events} events, 4 columns, 2 of them read, partitions of {CHUNK}\n")
    print(
        "| kind | file MB | partitions | open s | read Mevents/s | peak MB | before MB "
        "| library Mevents/s | its peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in asked.kinds:
        with tempfile.TemporaryDirectory() as directory:
            path = alone(write, Path(directory), asked.events, kind)
            own, size = alone(measured, ours, kind, path), path.stat().st_size
            few = min(asked.events, MOST.get(kind, asked.events))
            library = alone(
                measured, floor, kind, path if few == asked.events else alone(write, Path(directory), few, kind)
            )
            cells = [
                kind,
                f"{size / 1e6:.0f}",
                str(own.partitions),
                f"{own.opened:.2f}",
                f"{asked.events / own.read / 1e6:.2f}",
                f"{own.memory / 1e6:.0f}",
                f"{own.before / 1e6:.0f}",
                f"{few / library.read / 1e6:.2f}",
                f"{library.memory / 1e6:.0f}",
            ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
