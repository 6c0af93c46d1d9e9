"""What is printed, and how."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fasthep_archive.context import Progress
from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault

if TYPE_CHECKING:
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.execution.record import Record
    from fasthep_archive.report.terminal import Screen


def tell_sidecar(sidecar: Path | None) -> None:
    """Say where the verifier of a bundle lies that Python can't run itself, if that is so."""
    if sidecar is not None:
        tell(f"too large for Python to run: publish {sidecar}, its verifier, with it")


def agreed(bundle: Bundle) -> bool:
    """Show what would run, and ask on the terminal whether to run it; nobody to ask means no."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.bundle.consent import what_runs
    from fasthep_archive.bundle.form import printable

    tell(f"{bundle.path} is intact: {bundle.summary.title!r}, identity {bundle.summary.identity}")
    if not sys.stdin.isatty():
        return False
    for line in what_runs(bundle.json(layout.RESOLVED), bundle.names(layout.CODE)):
        tell(printable(line))
    print("Run it on this machine? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def tell_run(record: Record, directory: str, options: argparse.Namespace) -> None:
    """Tell what a run left behind."""
    from fasthep_archive.report import terminal

    if options.json:
        print_json(record.to_json())
        return
    if options.quiet:
        return
    computed = sum(task.done is not None for task in record.tasks)
    summary = terminal.Summary(
        outputs=tuple((item.name, item.size) for item in record.outputs),
        directory=directory,
        computed=computed,
        reused=len(record.tasks) - computed,
        events=sum(item.events for item in record.inputs),
        seconds=record.seconds,
        warnings=(*record.warnings, *record.notes),
    )
    tell(terminal.summary(summary, screen(sys.stderr)))


def described(fault: Fault) -> dict[str, JSON]:
    """Return a fault as JSON."""
    where = fault.where
    return {
        "message": fault.message,
        "hint": fault.hint,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
    }


@contextmanager
def progress_bar(options: argparse.Namespace) -> Iterator[Progress]:
    """Give how long work is shown, on a terminal, in a log, or not at all, and take it away at the end."""
    from fasthep_archive.report.terminal import progress

    bar = progress(sys.stderr, quiet=options.quiet, terminal=sys.stderr.isatty())
    try:
        yield bar
    finally:
        bar.close()


def screen(stream: TextIO) -> Screen:
    """Return what is known of where ``stream`` goes."""
    from fasthep_archive.report.terminal import Screen

    terminal = stream.isatty()
    return Screen(
        width=shutil.get_terminal_size().columns,
        terminal=terminal,
        colour=terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        unicode="utf" in (stream.encoding or "").lower(),
    )


def print_json(value: JSON) -> None:
    """Print data."""
    print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def print_json_line(value: JSON) -> None:
    """Print data of one of many, a line each (https://jsonlines.org)."""
    print(json.dumps(value, sort_keys=True, ensure_ascii=False), flush=True)


def tell(text: str) -> None:
    """Print something for people."""
    print(text, file=sys.stderr, flush=True)
