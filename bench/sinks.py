"""How much memory and time the writing of ten million events takes, form by form: events of three numbers and a list.

    python bench/sinks.py [EVENTS]

Parts come one by one, as they do from a store, each of 500 000 events. Each form is measured in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np

from fasthep_archive.data.arrow_files import ArrowForm, ParquetForm
from fasthep_archive.data.csv_files import CsvForm
from fasthep_archive.data.forms import Branch, Form
from fasthep_archive.data.npz_files import NpzForm
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.formula.columns import Column, starts

PART = 500_000
FORMS: dict[str, Form] = {
    "rntuple": TreeForm(tree="events"),
    "ttree": TreeForm(tree="events", format="ttree"),
    "parquet": ParquetForm(),
    "arrow": ArrowForm(),
    "npz": NpzForm(),
    "csv": CsvForm(),
}


def parts(events: int, *, lists: bool) -> Iterator[dict[str, Column]]:
    """Yield the columns, part by part."""
    for start in range(0, events, PART):
        count = min(PART, events - start)
        random = np.random.default_rng(start)
        found = {
            "event": Column(np.arange(start, start + count)),
            "met": Column(random.exponential(40, count)),
            "trigger": Column(random.random(count) < 0.5),
        }
        if lists:
            counts = random.poisson(1.5, count)
            found["pt"] = Column(random.exponential(30, int(counts.sum())).astype("f4"), starts(counts))
        yield found


def measured(name: str, events: int) -> None:
    """Write once, and print what it took."""
    lists = name != "csv"
    branches = [Branch(name=column) for column in ("event", "met", "trigger")]
    branches += [Branch(name="pt", lists=True, counter="npt")] if lists else []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun = time.perf_counter()
    size = len(FORMS[name].write(branches, parts(events, lists=lists))) / 2**20
    taken = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:8} {taken:6.1f} s   file {size:6.0f} MiB   peak {peak - before:6.0f} MiB over {before:.0f}")


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    for form in FORMS:
        process = multiprocessing.get_context("spawn").Process(target=measured, args=(form, asked))
        process.start()
        process.join()
