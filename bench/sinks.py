"""Memory and time that it takes to write, keep and digest events, form by form: events of three numbers and a list.

    python bench/sinks.py [--events N]

Parts come one by one, as they do from a store, each of 500 000 events. ``write`` is what the task of a writer does with
them: the file, and its way into the store. ``digest`` is what a run does then: the file's bytes once more, out of the
store, and the digest of its content. Each is measured in a process of its own that has written and digested a few
events before; peaks are what comes on top. CSV has no lists, so its events are the three numbers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from memory import alone, peak

from fasthep_archive.data import content
from fasthep_archive.data.arrow_files import ArrowForm, ParquetForm
from fasthep_archive.data.csv_files import CsvForm
from fasthep_archive.data.forms import Form
from fasthep_archive.data.npz_files import NpzForm
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.digest import of_bytes
from fasthep_archive.execution.store import Store
from fasthep_archive.files import write_atomically
from fasthep_archive.formula.columns import Column, starts
from fasthep_archive.operations.keeping import Keeping, Kept
from fasthep_archive.operations.protocol import Part
from fasthep_archive.operations.writing import WriteColumns

PART = 500_000
SOME = 1_000
"""Events that are written first."""
FORMS: dict[str, Form] = {
    "root_tree, rntuple": TreeForm(tree="events"),
    "root_tree, ttree": TreeForm(tree="events", format="ttree"),
    "parquet": ParquetForm(),
    "arrow": ArrowForm(),
    "npz": NpzForm(),
    "csv": CsvForm(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds, and bytes of memory at the peak and before."""

    seconds: float
    peak: int
    before: int


def part(start: int, count: int, *, lists: bool, cache: Path) -> Part:
    """Return the columns of some events, as a pass leaves them."""
    random = np.random.default_rng(start)
    columns = [
        Column(np.arange(start, start + count)),
        Column(random.exponential(40, count)),
        Column(random.random(count) < 0.5),
    ]
    kept = [Kept(name="event"), Kept(name="met"), Kept(name="trigger")]
    if lists:
        counts = random.poisson(1.5, count)
        columns.append(Column(random.exponential(30, int(counts.sum())).astype("f4"), starts(counts)))
        kept.append(Kept(name="pt", lists=0, counter="npt"))
    keeping = Keeping(columns=tuple(kept), branches=(None,) * len(kept), masked=False, rows=False)
    accumulator = keeping.start(cache)
    accumulator.add(columns, {})
    return Part(dataset="mc", state=accumulator.state(), number=start // PART)


def parts(events: int, name: str, cache: Path) -> Iterator[Part]:
    """Yield the events, part by part."""
    for start in range(0, events, PART):
        yield part(start, min(PART, events - start), lists=name != "csv", cache=cache)


def write(name: str, events: int, folder: Path) -> None:
    """Write the events, and keep the file."""
    writer = WriteColumns(path="skim", when="final", keep=None, form=FORMS[name])
    files = writer.product("skim", ["mc"])
    assert files is not None
    Store(folder / "store").put_files(of_bytes(name.encode()), files.merge(parts(events, name, folder), folder))


def digest(name: str, _events: int, folder: Path) -> None:
    """Take the file out of the store, and digest its content."""
    found = Store(folder / "store").files(of_bytes(name.encode()))
    assert found is not None
    write_atomically(folder / found[0].name, found[0].held)
    content.of_output(found[0].held, found[0].name)


def measured(function: Callable[[str, int, Path], None], name: str, events: int, folder: Path) -> Measured:
    """Return what a function takes, after a few events in another folder."""
    with tempfile.TemporaryDirectory() as other:
        write(name, SOME, Path(other))
        digest(name, SOME, Path(other))
    before, begun = peak(), time.perf_counter()
    function(name, events, folder)
    return Measured(seconds=time.perf_counter() - begun, peak=peak(), before=before)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures the writing of events.")
    parser.add_argument("--events", type=int, default=10_000_000)
    events = parser.parse_args().events
    print(f"{events} events, parts of {PART}\n")
    print("| form | file MB | write s | peak MB | digest s | peak MB | before MB |")
    print("|---|---|---|---|---|---|---|")
    for name, form in FORMS.items():
        with tempfile.TemporaryDirectory() as directory:
            folder = Path(directory)
            written, digested = (alone(measured, function, name, events, folder) for function in (write, digest))
            size = (folder / "files" / f"skim{form.suffix}").stat().st_size
        cells = [
            name,
            f"{size / 1e6:.0f}",
            *(
                cell
                for found in (written, digested)
                for cell in (f"{found.seconds:.1f}", f"{(found.peak - found.before) / 1e6:.0f}")
            ),
            f"{written.before / 1e6:.0f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
