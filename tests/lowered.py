"""Operations on columns in memory: lowered, compiled and run without files, plan or processes.

:class:`Chain` lowers stages one after the other; its :meth:`Chain.values` computes columns, :meth:`Chain.products` what
stages leave behind. Faults are collected as texts ``path: message``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from fasthep_archive.errors import Fault, Location
from fasthep_archive.formula.columns import Column, ColumnType, Structure, sliced
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.operations.protocol import Fill, Part, State
from fasthep_archive.operations.stream import Lowering, Shift, Stream
from fasthep_archive.workflow.document import from_json
from fasthep_archive.workflow.model import build


def column(values: Sequence[object], kind: str = "float") -> Column:
    """Return a value per event, or a list of values per event, as a column of ``float``, ``int``, ``bool`` or ``text``.

    None is missing.
    """
    if kind == "text":
        words = tuple(dict.fromkeys(values))
        return Column(np.array([words.index(text) for text in values], np.int64), None, None, words)
    offsets = None
    if values and all(isinstance(item, list) for item in values):
        offsets = np.cumsum([0, *map(len, values)], dtype=np.int64)
        values = [value for item in values for value in item]
    valid = np.array([value is not None for value in values], bool)
    dtype = {"float": np.float64, "int": np.int64, "bool": np.bool_}[kind]
    content = np.array([0 if value is None else value for value in values], dtype)
    return Column(content, offsets, None if valid.all() else valid)


def listed(found: Column) -> list:
    """Return a column event by event."""
    values = found.content.tolist()
    if found.valid is not None:
        values = [item if valid else None for item, valid in zip(values, found.valid, strict=True)]
    if found.offsets is None:
        return values
    return [values[start:stop] for start, stop in pairwise(found.offsets.tolist())]


def type_of(name: str, found: Column, counters: Mapping[str, str]) -> ColumnType:
    dtype = "text" if found.words else found.content.dtype.name.replace("bool_", "bool")
    structure = None
    if found.offsets is not None:
        counter = counters.get(name)
        structure = Structure(counter or name, counted=counter is not None)
    return ColumnType(dtype, structure, found.valid is not None)


@lru_cache(maxsize=256)
def compiled(program: Program, cache: Path) -> Kernel:
    """Return the kernel of a program, made once."""
    return compile_program(program, cache=cache)


def document(op: str, params: object, stage: str = "S") -> Mapping[str, object]:
    """Return a document with one stage; one that reads products has a cutflow to read."""
    stages = [{"id": stage, "op": op, "params": params}]
    if op == "archive.values":
        first = {"id": "Cutflow", "op": "hep.selection.cutflow", "params": {"selection": {"g": ["n > 1"]}}}
        stages = [first, {**stages[0], "from": [{"node": "Cutflow"}]}]
    data = {"datasets": [{"name": "mc", "files": ["mc.root"]}]}
    return {"version": "1.1", "data": data, "analysis": {"stages": stages}}


def canonical(op: str, params: object, stage: str = "S") -> Mapping[str, object]:
    """Return the canonical parameters of a stage, as the workflow has them."""
    workflow, faults = build(from_json(document(op, params, stage), name="test"))
    assert not faults, faults
    return workflow.stages[-1].params


@dataclass
class Chain:
    """Stages on one set of columns, in one dataset."""

    data: Mapping[str, Column]
    cache: Path
    dataset: str = "mc"
    eventtype: str = "mc"
    counters: Mapping[str, str] = field(default_factory=dict)
    shift: Shift = field(default_factory=Shift)

    def __post_init__(self) -> None:
        self.faults: list[str] = []
        self.hints: list[str | None] = []
        types = {name: type_of(name, found, self.counters) for name, found in self.data.items()}
        self.builder = Builder(types)
        self.stream = Stream()
        self.left: dict[str, tuple[object, Fill]] = {}
        self.lowering = Lowering(
            builder=self.builder,
            constants={"dataset_name": self.dataset, "dataset_eventtype": self.eventtype, "CUT": 20},
            columns=dict.fromkeys(types),
            column=self.builder.column,
            where=lambda path, _: Location("/".join(map(str, path)), 1, 1),
            report=self._report,
            text_column=lambda name: name if name in types and types[name].dtype == "text" else None,
            shift=self.shift,
        )

    def _report(self, fault: Fault) -> None:
        self.faults.append(f"{fault.where.file if fault.where else ''}: {fault.message}")
        self.hints.append(fault.hint)

    def stage(self, operation: object, name: str = "S", **streams: Stream) -> Stream:
        """Lower a stage on the stream, or on others by name."""
        after, fill = operation.lower(self.lowering, streams or {"stream": self.stream}, name, ("params",))
        self.stream = after
        if fill is not None:
            self.left[name] = (operation, fill)
        return after

    def of(self, op: str, params: object, name: str = "S", **streams: Stream) -> Stream:
        """Lower a stage as it is written."""
        from fasthep_archive import registry

        provided = registry.provided("operations", version="0")
        return self.stage(provided[op].load().read(canonical(op, params, name)), name, **streams)

    def stage_of(self, params: object, name: str, start: Stream) -> Stream:
        """Lower a ``hep.define`` on the stream ``start``."""
        return self.of("hep.define", params, name, stream=start)

    def formulas(self, *texts: str) -> list[list]:
        """Return what formulas give after the last stage, event by event; None where it is missing."""
        values = [self.lowering.formula(text, self.stream, ("formula",)) for text in texts]
        assert None not in values, self.faults
        return [listed(found) for found in self.run(values)]

    @property
    def events(self) -> int:
        return len(next(iter(self.data.values())))

    def run(self, values: Sequence[object]) -> tuple[Column, ...]:
        program = self.builder.program(values)
        return compiled(program, self.cache)(self.data, {}, self.events)

    def selected(self) -> list[bool]:
        """Return which events are still in."""
        if self.stream.mask is None:
            return [True] * self.events
        return listed(self.run([self.stream.mask])[0])

    def part(self, name: str, block: int = 7) -> Part:
        """Return what a stage has added up, block by block."""
        _, fill = self.left[name]
        kernel = compiled(self.builder.program(fill.values), self.cache)
        accumulator = fill.accumulation.start(self.cache)
        for start in range(0, self.events, block):
            stop = min(start + block, self.events)
            found = sliced(self.data, start, stop)
            accumulator.add(kernel(found, {}, stop - start, first_event=start), found)
        return Part(dataset=self.dataset, state=_stored(accumulator.state()))


def _stored(state: State) -> State:
    """Return a state as it comes back from the store: JSON, and arrays."""
    import json

    return State(header=json.loads(json.dumps(state.header)), arrays=state.arrays)


def product(operation: object, parts: Sequence[Part], datasets: Sequence[str], cache: Path, name: str = "S") -> dict:
    """Return the files that the parts of a stage give, by name."""
    made = operation.product(name, tuple(datasets)).merge(iter(parts), cache)
    return {output.name: output.content for output in made}
