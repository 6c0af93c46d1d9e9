"""Stages that make objects of objects, lowered on columns in memory: no files, no plan, nothing but the operations."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import test_kernels_reference as reference
from test_kernels_reference import listed

from fasthep_archive import registry
from fasthep_archive.errors import Fault
from fasthep_archive.formula.columns import Column, ColumnType, Structure
from fasthep_archive.kernels import arithmetic
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.emit import emit
from fasthep_archive.kernels.program import Builder, Program, Value
from fasthep_archive.kernels.schedule import schedule
from fasthep_archive.operations.protocol import Operation
from fasthep_archive.operations.stream import NOMINAL, Lowering, Shift, Stream
from fasthep_archive.workflow.document import from_json
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.parameters import canonical

Events = Mapping[str, list]
"""By field: a number for each event, or a list of numbers."""
Stages = Sequence[tuple[str, Mapping[str, object]]]
CONSTANTS = {"CUT": 10.0, "dataset_name": "mc"}


def interpreted(program: Program) -> Kernel:
    """Return a program with its loops, and the elementary functions, run as plain Python."""
    plan = schedule(program)
    sources = [emit(plan, loop) for loop in plan.loops]
    names = {**vars(arithmetic), "np": np, "math": reference.Shim, "inf": math.inf, "nan": math.nan}
    names |= {"float64": np.float64, "int64": np.int64, "uint64": int}
    names |= {name: _in_python(function) for name, function in vars(rounded).items() if name.endswith("_rounded")}
    return Kernel(program, plan, sources, [reference.executed(source.text, names)["loop"] for source in sources])


def _in_python(function: Callable[..., float]) -> Callable[..., np.float64]:
    return lambda *values: np.float64(function(*map(float, values)))


@dataclass
class Lowered:
    """A program of some stages, and the stream after them."""

    builder: Builder
    stream: Stream = field(default_factory=Stream)
    faults: list[Fault] = field(default_factory=list)

    def told(self) -> list[str]:
        return [f"{fault.message} ({fault.hint})" for fault in self.faults]

    def run(self, events: Events, kernel_of=interpreted) -> dict[str, list]:
        """Return the new fields."""
        values = {name: value for name, value in self.stream.defined.items() if isinstance(value, Value)}
        if self.stream.mask is not None:
            values["mask"] = self.stream.mask
        kernel: Kernel = kernel_of(self.builder.program(list(values.values())))
        size = len(next(iter(events.values())))
        with np.errstate(all="ignore"):
            results = kernel(columns(events), {}, size)
        return {name: listed(result, size) for name, result in zip(values, results, strict=True)}


def on_cpu(cache: Path):
    """Return how programs are compiled."""
    return partial(compile_program, cache=cache)


def kind(name: str, values: list) -> ColumnType:
    """Return the type of a field; the lists of ``Muon_pt`` are counted by ``nMuon``, those of ``v.pt`` by themselves."""
    flat = [x for value in values for x in (value if isinstance(value, list) else [value])]
    dtype = "int64" if name.endswith(("charge", "_id")) else "bool" if name.endswith("tight") else "float64"
    structure = None
    if any(isinstance(value, list) for value in values) or (not flat and not name.startswith("MET")):
        first = name.partition("_")[0]
        structure = Structure(name, counted=False) if first[0] == "v" else Structure(f"n{first}", counted=True)
    return ColumnType(dtype, structure, optional=None in flat)


def columns(events: Events) -> dict[str, Column]:
    return {name: _column(values, kind(name, values)) for name, values in events.items()}


def _column(values: list, kind: ColumnType) -> Column:
    flat, offsets = values, None
    if kind.structure is not None:
        flat = [x for value in values for x in value]
        offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int64)
    valid = np.array([x is not None for x in flat]) if kind.optional else None
    return Column(np.array([0 if x is None else x for x in flat], kind.dtype), offsets, valid)


def lowered(stages: Stages, events: Events, shift: Shift = NOMINAL) -> Lowered:
    """Return the stages on such events; faults of the schema are an error of the test."""
    types = {name: kind(name, values) for name, values in events.items()}
    found = Lowered(Builder(types))
    document = from_json(
        {
            "version": "1.1",
            "analysis": {
                "stages": [{"id": f"S{n}", "op": op, "params": params} for n, (op, params) in enumerate(stages)]
            },
        },
        name="objects",
    )
    draft = Draft(document)
    assert not draft.faults, draft.faults
    lowering = Lowering(
        builder=found.builder,
        constants=CONSTANTS,
        columns=types,
        column=found.builder.column,
        where=document.where,
        report=found.faults.append,
        text_column=lambda _: None,
        shift=shift,
    )
    provided = registry.provided("operations", version="0")
    for number, (op, _) in enumerate(stages):
        path = ("analysis", "stages", number, "params")
        operation = cast("type[Operation]", provided[op].load()).read(canonical(op, path, draft))
        found.stream, fill = operation.lower(lowering, {"stream": found.stream}, f"S{number}", path)
        assert fill is None
        assert operation.product(f"S{number}", ["mc"]) is None
    assert not draft.faults, draft.faults
    return found


def made(stages: Stages, events: Events, kernel_of=interpreted) -> dict[str, list]:
    """Return the new fields of stages without faults."""
    found = lowered(stages, events)
    assert not found.told()
    return found.run(events, kernel_of)


def told(op: str, params: Mapping[str, object], events: Events) -> list[str]:
    """Return the faults of a stage."""
    return lowered([(op, params)], events).told()
