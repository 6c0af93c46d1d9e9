"""A small analysis and its files, plans and runs of it, for tests of variations, values and explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from fasthep_archive.context import Context, NoProgress
from fasthep_archive.errors import Fault
from fasthep_archive.execution import planner
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.run import Results, run_plan
from fasthep_archive.execution.store import Store
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import Variation, Workflow, build

EVENTS = 200

WORKFLOW = """\
version: "1.1"
data:
  datasets:
    - {name: ww, files: [ww.root], xs: 2.5}
    - {name: up, files: [up.root], xs: 3.5}
    - {name: data, eventtype: data, files: [data.root]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  globals: {CUT: 20}
  stages:
    - id: Vars
      op: hep.define
      params:
        variables:
          - {name: pt, expr: "hypot(px, py)"}
          - {name: pt_up, expr: "pt * 1.05"}
          - {name: soft, expr: "pt < 40"}
          - {name: jets, reduce: {op: count_nonzero, over: "Jet_pt > 30"}}
    - id: Select
      op: hep.selection.cutflow
      params:
        weight_expr: w
        selection: {good: [{expr: "pt > CUT", label: a}, {reduce: {op: any, over: "Jet_pt > pt"}, label: b}]}
    - id: Pt
      op: hep.hist
      params:
        weight_expr: w
        dataset_axis: true
        axes: [{name: pt, source: pt, type: regular, bins: {low: 0, high: 100, nbins: 10}}]
    - id: Channel
      op: hep.hist
      params: {axes: [{name: c, source: channel, type: category}, {name: j, source: jets, type: int}]}
    - id: Untouched
      op: hep.hist
      from: events
      params: {axes: [{name: n, source: n, type: int}]}
"""


def write_file(path: Path, seed: int, *, mc: bool = True, events: int = EVENTS) -> None:
    """Write a tree with numbers, lists and texts; only simulation has ``sf_up`` and ``px_up``."""
    random = np.random.default_rng(seed)
    counts = random.poisson(1.5, events)
    jets = random.exponential(40, counts.sum())
    columns: dict[str, object] = {
        "px": random.normal(0, 30, events),
        "py": random.normal(0, 30, events),
        "w": random.normal(1, 0.2, events),
        "n": random.integers(0, 4, events),
        "channel": random.choice(["ee", "mm"], events).tolist(),
        "channel_up": random.choice(["up", "mm"], events).tolist(),
        "Jet": ak.zip({"pt": ak.unflatten(jets, counts), "pt_up": ak.unflatten(jets * 1.1, counts)}),
    }
    if mc:
        columns |= {"sf_up": random.normal(1.1, 0.1, events), "px_up": random.normal(0, 35, events)}
    types = {
        name: "string" if isinstance(column, list) else ak.Array(column).type.content
        for name, column in columns.items()
    }
    with uproot.recreate(path) as file:
        file.mktree("events", types)
        for start in range(0, events, 80):
            file["events"].extend({name: column[start : start + 80] for name, column in columns.items()})


def variation(name: str, **changes: object) -> Variation:
    """Return a variation that changes nothing else."""
    nothing: dict[str, object] = {
        "mode": "plan",
        "group": None,
        "direction": None,
        "eventtypes": None,
        "datasets": None,
        "requires": (),
        "multiply": (),
        "replace": {},
        "dataset_replace": {},
        "anchor": None,
        "patch": {},
        "stop_before": (),
        "export": {},
        "metadata": {},
        "path": ("systematics", "variations", 0),
    }
    return Variation(name=name, **{**nothing, **changes})


@dataclass(frozen=True)
class Desk:
    """A directory with files and a cache of kernels."""

    directory: Path
    cache: Path

    def workflow(self, text: str, variations: Sequence[Variation] = (), **changes: object) -> Workflow:
        """Return the workflow of ``text``, which has no faults."""
        path = self.directory / "workflow.yaml"
        path.write_text(text)
        found, faults = build(load(path))
        assert faults == ()
        return replace(found, variations=(*found.variations, *variations), **changes)

    def planned(self, workflow: Workflow, *, chunk: int = 80, version: str = "1") -> tuple[Plan, tuple[Fault, ...]]:
        """Return the plan and the faults that the files show."""
        settings = planner.Settings(
            chunk=chunk,
            version=version,
            cache=self.cache,
            working_directory=self.directory,
            digests="read",
            workers=1,
        )
        return planner.make_plan(workflow, operations(workflow, version="1"), settings)

    def plan(self, text: str, variations: Sequence[Variation] = (), **changes: object) -> Plan:
        """Return the plan of a workflow that has no faults."""
        plan, faults = self.planned(self.workflow(text, variations, **changes))
        assert faults == ()
        return plan

    def run(self, plan: Plan, store: Path | None = None, *, workers: int = 1) -> Results:
        """Return what a run leaves; it may fail."""
        context = Context(
            cache=self.cache,
            now=datetime(2026, 1, 1, tzinfo=UTC),
            measured=True,
            workers=workers,
            progress=NoProgress(),
        )
        place = self.directory / "stores"
        place.mkdir(exist_ok=True)
        return run_plan(plan, Store(store or place / str(len(list(place.iterdir())))), context)


def files(results: Results) -> Mapping[str, bytes]:
    """Return the files that a run has left, by name."""
    assert results.failures == ()
    return {output.name: output.content for outputs in results.outputs.values() for output in outputs}


def keys(plan: Plan) -> Mapping[str, str]:
    """Return the keys of a plan's nodes."""
    return {node.node.id: node.key for node in plan.nodes}
