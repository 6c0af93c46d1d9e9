"""How long planning takes: many datasets, stages and variations, and files with hardly any events.

    python bench/planning.py [--datasets N] [--stages N] [--variations N]

It prints a table with the number of nodes and the CPU seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from shifted import Desk, write_file

GROUP = """\
    - id: V{n}
      op: hep.define
      params:
        variables:
          - {{name: a{n}, expr: "pt * {n} + sqrt(px**2 + py**2) / (1 + n)"}}
          - {{name: j{n}, reduce: {{op: sum, over: "Jet_pt"}}}}
    - id: S{n}
      op: hep.selection.cutflow
      params: {{weight_expr: w, selection: {{good: ["pt > {n}", "a{n} > 3"]}}}}
    - id: H{n}
      op: hep.hist
      params:
        weight_expr: w
        dataset_axis: true
        axes:
          - {{name: x, source: a{n}, type: regular, bins: {{low: 0, high: 100, nbins: 10}}}}
          - {{name: y, source: j{n}, type: regular, bins: {{low: 0, high: 100, nbins: 10}}}}
"""
VARIED = ("replace: {Jet_pt: Jet_pt_up}", 'weight: {multiply: ["1.1"]}', "replace: {px: px_up}")


def document(datasets: int, stages: int, variations: int) -> str:
    """Return a workflow of three stages a group, below one that defines what they share."""

    def lines() -> Iterator[str]:
        yield 'version: "1.1"\ndata:\n  datasets:\n'
        yield from (f"    - {{name: d{n}, files: [d{n}.root], xs: {n + 1}.5}}\n" for n in range(datasets))
        yield "sources: {events: {kind: root_tree, tree: events}}\nsystematics:\n  variations:\n"
        yield from (f"    - {{name: v{n}, {VARIED[n % len(VARIED)]}}}\n" for n in range(variations))
        yield 'analysis:\n  stages:\n    - {id: Vars, op: hep.define, params: {variables: [{name: pt, expr: "hypot(px, py)"}]}}\n'
        yield from (GROUP.format(n=n) for n in range(1, stages // 3 + 1))

    return "".join(lines())


def main() -> None:
    """Plan once for the imports, and once for the clock."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("datasets", 10), ("stages", 30), ("variations", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    sizes = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as space:
        directory = Path(space)
        for number in range(sizes["datasets"]):
            write_file(directory / f"d{number}.root", number)
        desk = Desk(directory, directory / "cache")
        desk.planned(desk.workflow(document(1, 3, 1)))
        workflow = desk.workflow(document(**sizes))
        begun = time.process_time()
        plan, faults = desk.planned(workflow)
        took = time.process_time() - begun
    assert not faults, faults[0]
    print("| datasets | stages | variations | nodes of the plan | CPU s |\n|---|---|---|---|---|")
    print(f"| {' | '.join(map(str, sizes.values()))} | {len(plan.nodes)} | {took:.2f} |")


if __name__ == "__main__":
    main()
