"""Measures what users wait for, and writes the tables into the page of benchmarks: ``bench/run.py [TABLE ...]``.

A table stands in the page between ``<!-- table: NAME -->`` and ``<!-- end -->``; those that are not asked for stay as they
are. ``--fasthep`` is the ``fasthep`` command of an environment with FAST-HEP installed; without it that row is left out.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import tables

PAGE = tables.BENCH.parent / "docs" / "reference" / "benchmarks.md"
SCRIPTS: Mapping[str, str] = {
    "calling": "calling.py",
    "chain": "chain.py",
    "executors": "executors.py",
    "functions": "functions.py",
    "planning": "planning.py",
    "sinks": "sinks.py",
    "sources": "sources.py",
    "sql": "sql.py",
}
"""Tables that a script of this directory prints, with its default numbers of events."""


def printed(script: str) -> list[str]:
    """Return the lines that a script of this directory prints."""
    command = [sys.executable, tables.BENCH / script]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()


def measurements(options: argparse.Namespace, space: Path) -> dict[str, Callable[[], list[str]]]:
    """Return how each table is measured, in the order of the page."""
    events, rounds = options.events, options.rounds
    return {
        "events": lambda: tables.events_table(space, events, rounds, options.fasthep),
        "variations": lambda: tables.variations_table(space, events, rounds),
        "packing": lambda: tables.packing_table(space, rounds),
        "start": lambda: tables.start_table(space, rounds),
        "environment": lambda: tables.environment_table(space, rounds),
        **{name: lambda script=script: printed(script) for name, script in SCRIPTS.items()},
    }


def replaced(page: str, name: str, lines: list[str]) -> str:
    """Return the page with another table ``name``."""
    table = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert table.search(page), f"the page has no table {name}"
    return table.sub(lambda found: found[1] + "\n" + "\n".join(lines) + "\n\n" + found[2], page)


def main() -> None:
    """Measure, and write each table as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which ones (default: all)")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fasthep", default=shutil.which("fasthep"))
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    options = parser.parse_args()
    today = dt.datetime.now(tz=dt.UTC).date()
    with tempfile.TemporaryDirectory(prefix="fasthep-archive-bench-") as directory:
        found = measurements(options, Path(directory))
        unknown = set(options.tables) - set(found)
        if unknown:
            parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(found)}")
        for name in options.tables or found:
            lines = found[name]()
            how = "" if name in SCRIPTS else f", minimum of {options.rounds} round{'s'[options.rounds == 1 :]}"
            lines += ["", f"*Measured {today}{how}.*"]
            options.output.write_text(replaced(options.output.read_text(), name, lines))
            print(f"\n## {name}\n", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
