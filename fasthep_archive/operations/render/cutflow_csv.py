"""``hep.render.cutflow_csv``: a cutflow as a table, in the columns that FAST-HEP gives it.

A row for each cut and dataset, cut by cut. ``n_in`` and ``n_out`` are the same sums of weights as ``sumw_in`` and
``sumw_out``; numbers of events are ``n_unweighted_in`` and ``n_unweighted_out``, and ``efficiency`` is their ratio.
Sums are the shortest decimals that read back to the same doubles.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fasthep_archive.data.products import Cutflow, CutflowRow
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.operations.protocol import Derivation, Deriving, Output
from fasthep_archive.operations.render.style import part

COLUMNS = (
    "selection", "cut", "dataset", "n_in", "n_out", "n_unweighted_in", "n_unweighted_out", "sumw_in", "sumw_out",
    "sumw2_in", "sumw2_out", "efficiency",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowCSV:
    """Writes ``out`` below ``tables``; ``include_dataset``: whether there is a column of datasets."""

    out: str
    include_dataset: bool

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> CutflowCSV:
        """Return the renderer of parameters that the schema has accepted, with the key ``out`` beside them."""
        options = part(params, "cutflow_csv")
        return cls(out=str(params["out"]), include_dataset=bool(options.get("include_dataset", True)))

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the table; none after a fault."""
        faults: list[tuple[str, str, str | None]] = []
        if PurePosixPath(self.out).suffix != ".csv":
            faults.append(("out", f"a table is written as CSV, not as {self.out}", "end its name in .csv"))
        if len(deriving.inputs) != 1:
            faults.append(("", f"one cutflow is written, and there are {len(deriving.inputs)} inputs", None))
        for made in deriving.inputs.values():
            if not any(map(_is_cutflow, made.outputs)):
                hint = "write the table of a stage with op: hep.selection.cutflow"
                faults.append(("", f"stage {made.stage!r} ({made.op}) leaves no cutflow", hint))
        for key, message, remedy in faults:
            deriving.fault(message, (*deriving.path, *filter(None, [key])), remedy)
        return None if faults else CutflowTable(name=f"tables/{self.out}", include_dataset=self.include_dataset)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowTable:
    """The table of one cutflow."""

    name: str
    include_dataset: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.name,)

    def canonical(self) -> JSON:
        return {"renderer": "hep.render.cutflow_csv", "name": self.name, "include_dataset": self.include_dataset}

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        (outputs,) = products.values()
        found = next((output for output in outputs if _is_cutflow(output.name)), None)
        if found is None:
            raise DataError(f"no cutflow among {', '.join(output.name for output in outputs) or 'nothing'}")
        cutflow = Cutflow.from_json(found.content)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        left_out = () if self.include_dataset else ("dataset",)
        columns = [column for column in COLUMNS if column not in left_out]
        writer.writerow(columns)
        for row in _by_cut(cutflow):
            cells = _cells(row)
            writer.writerow(cells[column] for column in columns)
        return (Output(name=self.name, held=stream.getvalue().encode()),)


def _is_cutflow(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".json" and path.parent.name == "cutflows"


def _by_cut(cutflow: Cutflow) -> Iterator[CutflowRow]:
    """Yield the rows cut by cut, and dataset by dataset for each."""
    for cut in dict.fromkeys(row.cut for row in cutflow.rows):
        yield from (row for row in cutflow.rows if row.cut == cut)


def _cells(row: CutflowRow) -> Mapping[str, str | int | float]:
    return {
        "selection": row.group,
        "cut": row.label,
        "dataset": row.dataset,
        "n_in": row.sumw_in,
        "n_out": row.sumw_out,
        "n_unweighted_in": row.events_in,
        "n_unweighted_out": row.events_out,
        "sumw_in": row.sumw_in,
        "sumw_out": row.sumw_out,
        "sumw2_in": row.sumw2_in,
        "sumw2_out": row.sumw2_out,
        "efficiency": row.events_out / row.events_in if row.events_in else "",
    }
