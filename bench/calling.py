"""What a function of the analysis costs an event, beside the kernel alone and the same function in this process.

``calling.py [EVENTS]`` fills a histogram of ``2 * pt + n`` for generated events (default: a million), three ways, on
one worker: as a formula; by ``run.events`` with a function of one line; and with that function called in this process,
between the same conversions. It prints a table: seconds, nanoseconds per event, and what is above the formula.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from fasthep_archive.execution import planner
from fasthep_archive.execution.calling import EVENTS as BLOCK
from fasthep_archive.execution.calling import Taken
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.worker import states
from fasthep_archive.formula.columns import Column
from fasthep_archive.operations.called_events import column, records
from fasthep_archive.operations.child import end_children
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

DOCUMENT = """\
version: "1.1"
data: {{datasets: [{{name: d, files: [d.root]}}]}}
sources: {{events: {{kind: root_tree, tree: events}}}}
analysis:
  stages:
    - {stage}
    - {{id: H, op: hep.hist, params: {{axes: [{{name: x, source: x, type: regular, bins: {{low: 0, high: 300, nbins: 60}}}}]}}}}
"""
FORMULA = '{id: S, op: hep.define, params: {variables: [{name: x, expr: "pt * 2 + n"}]}}'
CALL = '{id: S, op: run.events, params: {callable: "model:x", columns: [pt, n], returns: {x: float64}}}'
LISTS = '{id: S, op: hep.define, params: {variables: [{name: x, expr: "sum(jet)"}]}}'
CALL_LISTS = '{id: S, op: run.events, params: {callable: "model:s", columns: [jet], returns: {x: float64}}}'
CODE = "import awkward as ak\ndef x(events):\n    return events.pt * 2 + events.n\ndef s(events):\n    return ak.sum(events.jet, axis=1)\n"


def write(path: Path, events: int) -> None:
    """Write the events, in clusters of 100 000."""
    random = np.random.default_rng(1)
    with uproot.recreate(path, compression=None) as file:
        file.mktree("events", {"pt": "float64", "n": "int64", "jet": "var * float64"})
        for start in range(0, events, 100_000):
            size = min(100_000, events - start)
            counts = random.poisson(3, size)
            jets = ak.unflatten(random.exponential(30, counts.sum()), counts)
            file["events"].extend({"pt": random.exponential(40, size), "n": random.integers(0, 5, size), "jet": jets})


def planned(directory: Path, cache: Path, stage: str) -> Plan:
    """Return the plan of a workflow with ``stage``."""
    (directory / "w.yaml").write_text(DOCUMENT.format(stage=stage))
    workflow, faults = build(load(directory / "w.yaml"))
    assert not faults, faults
    settings = planner.Settings(
        chunk=500_000, version="1", cache=cache, working_directory=directory, digests="none", workers=1
    )
    plan, faults = planner.make_plan(workflow, operations(workflow, version="1"), settings)
    assert not faults, faults
    return plan


def seconds(plan: Plan, cache: Path) -> float:
    """Return the best of three times of all passes."""

    def once() -> float:
        start = time.perf_counter()
        for step in plan.passes:
            states(step.partition, step.variant.work(tuple(step.parts)), cache, Taken(code=plan.code.__getitem__))
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(3))


def in_process(path: Path, name: str, function: Callable[[ak.Array], object], events: int) -> float:
    """Return the time that the function takes here, with the conversions that surround it."""
    with uproot.open(path) as file:
        arrays = file["events"].arrays(["pt", "n", "jet"])
    jets = ak.to_packed(arrays.jet).layout
    columns: Mapping[str, Column] = {
        "pt": Column(ak.to_numpy(arrays.pt)),
        "n": Column(ak.to_numpy(arrays.n)),
        "jet": Column(np.asarray(jets.content.data), np.asarray(jets.offsets.data)),
    }

    def once() -> float:
        start = time.perf_counter()
        for first in range(0, events, BLOCK):
            last = min(first + BLOCK, events)
            block = {key: columns[key].events(first, last) for key in (("pt", "n") if name == "x" else ("jet",))}
            column(function(records(block, last - first)), "x", "float64", last - first, None)
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(3))


def main(events: int) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        directory, cache = Path(name), Path(name, "cache")
        cache.mkdir(mode=0o700)
        (directory / "model.py").write_text(CODE)
        write(directory / "d.root", events)
        print(f"| {events} events | s | ns/event | above the formula, ns/event |\n|---|---|---|---|")
        for label, formula, call, key, function in (
            ("numbers", FORMULA, CALL, "x", lambda e: e.pt * 2 + e.n),
            ("lists", LISTS, CALL_LISTS, "s", lambda e: ak.sum(e.jet, axis=1)),
        ):
            alone = seconds(planned(directory, cache, formula), cache)
            called = seconds(planned(directory, cache, call), cache)
            inside = in_process(directory / "d.root", key, function, events)
            for what, taken in (
                (f"{label}: a formula", alone),
                (f"{label}: `run.events`", called),
                (f"{label}: the function in this process", alone + inside),
            ):
                above = (taken - alone) / events * 1e9
                print(f"| {what} | {taken:.2f} | {taken / events * 1e9:.0f} | {above:.0f} |")
        end_children()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
