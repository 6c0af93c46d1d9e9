"""A run of many small partitions, for tests that disturb it: its workflow, and the bytes that nothing has disturbed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uproot

import fasthep_archive

CHUNK = 1_000
"""Events of a partition."""

_WORKFLOW = """
version: "1.0"
data: {datasets: [{name: toy, files: [events.root]}]}
analysis:
  stages:
    - id: Columns
      op: hep.define
      params: {variables: [{name: pt, expr: "hypot(px, py)"}]}
    - id: Pt
      op: hep.hist
      params:
        weight_expr: w
        axes: [{name: pt, source: pt, type: regular, bins: {low: 0, high: 4, nbins: 80}}]
"""


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A workflow of one product over many partitions, and the bytes that one worker of this machine leaves."""

    workflow: Path
    expected: bytes


def made(directory: Path, events: int, kernel_cache: Path) -> Toy:
    """Write a workflow over ``events`` events into ``directory``, in four clusters, and run it there."""
    workflow = directory / "workflow.yaml"
    workflow.write_text(_WORKFLOW)
    generator = np.random.default_rng(20261122)
    with uproot.recreate(directory / "events.root", compression=None) as file:
        file.mktree("events", dict.fromkeys(("px", "py", "w"), "f8"))
        for _ in range(4):
            file["events"].extend({name: generator.normal(size=events // 4) for name in ("px", "py", "w")})
    fasthep_archive.run(workflow, directory / "whole", workers=1, chunk=CHUNK, reuse=False, cache=kernel_cache)
    return Toy(workflow=workflow, expected=product(directory / "whole"))


def product(directory: Path) -> bytes:
    """Return the bytes of the product in a directory of outputs."""
    return (directory / "histograms" / "Pt.json").read_bytes()
