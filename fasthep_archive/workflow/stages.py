"""The stages of a workflow: those of the analysis, and those of each of the workflows that a document has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.attaching import (
    named_output,
    read_renders,
    read_write,
    read_writes,
    resolved_render,
    styled,
)
from fasthep_archive.workflow.code import Code, Coder
from fasthep_archive.workflow.draft import Draft, mapping
from fasthep_archive.workflow.hanging import LIFECYCLE, Observer, Render, Write
from fasthep_archive.workflow.hints import Device, read_device
from fasthep_archive.workflow.merging import Part, laid_over, part
from fasthep_archive.workflow.observing import check_output, read_observers, resolved_observer
from fasthep_archive.workflow.parameters import canonical, resolved_params
from fasthep_archive.workflow.parameters_command import given
from fasthep_archive.workflow.parameters_writing import resolved_write
from fasthep_archive.workflow.streams import Layout
from fasthep_archive.workflow.styles import RENDERER, Styles
from fasthep_archive.workflow.values import DocumentPath
from fasthep_archive.workflow.wiring import Edge, Inputs, Wiring, Written, in_order, references

StageWhen: TypeAlias = Literal["on_success", "manual"]

_SINKS: Mapping[str, str] = {
    "arrow": "write_arrow",
    "csv": "write_csv",
    "npz": "write_npz",
    "parquet": "write_parquet",
    "root_tree": "sink_params",
}
"""Writers that a stage with ``role: sink`` can be, and what their parameters conform to."""
_PASSING = "hep.merge_fields"
"""What a stage with ``role: sink`` is beside what it writes: one input, handed on as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One named step.

    :ivar params: in the form that :mod:`fasthep_archive.workflow.parameters` describes; empty for stages with faults.
    :ivar streams_from: what it reads; empty for stages that take products, and for some with faults.
    :ivar needs: stages that come before for another reason.
    :ivar products_from: stages whose products it takes; empty for those that read events.
    :ivar applies_to: event type of the datasets that it is for; none: all.
    :ivar device: where it is computed.
    :ivar when: ``manual``: only when it is asked for.
    :ivar code: code of the analysis that it calls.
    :ivar path: where it stands in the document.
    """

    id: str
    op: str
    params: Mapping[str, JSON]
    streams_from: tuple[Edge, ...]
    needs: tuple[str, ...]
    applies_to: str | None
    products_from: tuple[Edge, ...] = ()
    renders: tuple[Render, ...] = ()
    writes: tuple[Write, ...] = ()
    observers: tuple[Observer, ...] = ()
    device: Device = "auto"
    when: StageWhen = "on_success"
    code: Code | None = None
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubWorkflow:
    """One of several workflows of a document: a name, and the ids of its own stages in the order of its list."""

    name: str
    stages: tuple[str, ...]
    description: str | None = None
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """All stages of a document, each below all that it needs, and the workflows that they belong to by name.

    :ivar broken: ids of the stages that have faults.
    """

    all: tuple[Stage, ...]
    workflows: tuple[SubWorkflow, ...]
    broken: frozenset[str]


def read_stages(
    draft: Draft, streams: frozenset[str], primary: str | None, layouts: Mapping[str, Layout], coder: Coder
) -> Stages:
    """Return the stages of the document.

    The order is that of the lists, that of the analysis first and then those of the workflows by name, as far as what
    they need of each other allows.
    """
    written = tuple(_written(draft))
    _check_ids(written, streams, draft)
    wiring = Wiring(written, streams, primary, draft)
    reader = _Reader(draft, layouts, coder)
    stages: dict[str, Stage] = {}
    inputs: dict[str, Inputs] = {}
    broken: set[str] = set()
    for position, stage in enumerate(written):
        if stage.id is None or stage.id in stages:
            continue
        before = len(draft.faults)
        found = wiring.inputs(position)
        inputs[stage.id] = found or Inputs()
        stages[stage.id] = reader.stage(stage, inputs[stage.id])
        if found is None or not draft.sound(stage.path) or len(draft.faults) > before:
            broken.add(stage.id)
            stages[stage.id] = reader.emptied(stages[stage.id])
    reader.styles.check()
    return Stages(
        all=tuple(stages[stage] for stage in in_order(inputs)),
        workflows=tuple(_workflows(draft, written)),
        broken=frozenset(broken),
    )


def resolved_stage(stage: Stage) -> JSON:
    """Return the stage as a document of the newest version writes it."""
    params = resolved_params(stage.op, stage.params)
    drawn = stage.op.startswith(RENDERER)
    if drawn and isinstance(params, Mapping):
        params = {"style": {"op": stage.op, **{key: value for key, value in params.items() if key != "out"}}}
    edges = [
        {
            "node": edge.node,
            **({"port": "stream"} if stage.streams_from else {}),
            **({"as": edge.name} if edge.name else {}),
        }
        for edge in (*stage.streams_from, *stage.products_from)
    ]
    optional: dict[str, JSON] = {
        "needs": list(stage.needs),
        "applies_to": {} if stage.applies_to is None else {"eventtype": stage.applies_to},
        "out": stage.params.get("out") if drawn else None,
        "render": [resolved_render(render) for render in stage.renders],
        "write": [resolved_write(write) for write in stage.writes],
        "inspect": [resolved_observer(observer) for observer in stage.observers],
        "execution": {} if stage.device == "auto" else {"device": stage.device},
        "when": None if stage.when == "on_success" else stage.when,
    }
    kept = {key: value for key, value in optional.items() if value not in (None, {}, [])}
    return {"id": stage.id, "op": stage.op, "params": params, "from": edges, **kept}


class _Reader:
    """Reads what stages say beside what they need."""

    def __init__(self, draft: Draft, layouts: Mapping[str, Layout], coder: Coder) -> None:
        self.styles = Styles(draft)
        self._coder = coder
        self._draft = draft
        self._layouts = layouts

    def stage(self, written: Written, inputs: Inputs) -> Stage:
        """Return a stage; what has faults is left out of it."""
        path = written.path
        when = self._when(written)
        op, params, writes = written.op, self._params(written), read_writes(self._draft, path, self._layouts)
        if written.sink:
            op, params, writes = _PASSING, {"on_conflict": "keep_first"}, self._sink(written)
        elif op in _SINKS:
            message = f"{op} writes what a stage hands on, and is no step of its own"
            hint = f"add role: sink, or write it at that stage: write: [{{kind: {op}, path: ...}}]"
            self._draft.fault((*path, "op"), message, hint)
        return Stage(
            id=str(written.id),
            op=op,
            params=params,
            streams_from=inputs.streams,
            products_from=inputs.products,
            needs=inputs.needs,
            applies_to=_applies_to(written.entry),
            renders=read_renders(self._draft, path, op, self.styles),
            writes=writes,
            observers=read_observers(self._draft, (*path, "inspect")),
            device=read_device(self._draft, path),
            when=when,
            code=self._coder.of(op, (*path, "params")),
            path=path,
        )

    def emptied(self, stage: Stage) -> Stage:
        """Return a stage without all that its faults may have to do with."""
        return Stage(
            id=stage.id,
            op=stage.op,
            params={},
            streams_from=stage.streams_from,
            products_from=stage.products_from,
            needs=stage.needs,
            applies_to=stage.applies_to,
            path=stage.path,
        )

    def _params(self, written: Written) -> Mapping[str, JSON]:
        path = (*written.path, "params")
        if not self._draft.conforms((*written.path, "op")) or not self._draft.conforms(path) or written.sink:
            return {}
        if written.op in _SINKS:
            return {}
        if written.op.startswith(RENDERER):
            return self._drawn(written, path)
        return canonical(written.op, path, self._draft)

    def _drawn(self, written: Written, path: DocumentPath) -> Mapping[str, JSON]:
        """Return the options of a stage that draws: those of its style, and its other params laid over them."""
        entry = self._draft.mapping(*path)
        own = part({key: value for key, value in entry.items() if key != "style" or _is_look(value)}, path)
        style: Part | None = Part({}, path)
        if "style" in entry and not _is_look(entry["style"]):
            style = self.styles.resolved(part(entry["style"], (*path, "style")))
        if style is None:
            return {}
        merged = laid_over(style, own)
        content = merged.content if isinstance(merged.content, Mapping) else {}
        if "op" in content and content["op"].content != written.op:
            message = f"the style is for {content['op'].content}, and the stage is {written.op}"
            self._draft.fault((*written.path, "op"), message, "write the operation of the style")
            return {}
        found = styled(self._draft, path, merged, written.op)
        out = written.entry.get("out")
        if isinstance(out, str):
            check_output(self._draft, out, (*written.path, "out"), "plots")
        self._draft.moved[(*path, "out")] = (*written.path, "out")
        named = named_output(str(out or written.id), written.op)
        return {} if found is None else {**found[1], "out": named}

    def _sink(self, written: Written) -> tuple[Write, ...]:
        """Return the writer that a stage with ``role: sink`` is."""
        path = (*written.path, "params")
        if written.op not in _SINKS:
            hint = nearest(written.op, _SINKS) or f"known are {', '.join(_SINKS)}"
            self._draft.fault((*written.path, "op"), f"{written.op} is no sink", hint)
            return ()
        if not self._draft.sound(written.path):
            return ()
        params = mapping(self._draft.raw(*path))
        when = {"when": LIFECYCLE[str(written.entry["when"])]} if written.entry.get("when") in LIFECYCLE else {}
        kind = {} if written.op == "root_tree" else {"kind": written.op}
        grafted = self._draft.grafted(path, part({**params, **when, **kind}, path), _SINKS[written.op])
        write = None if grafted is None else read_write(grafted, path, None, self._layouts)
        if grafted is not None:
            self._draft.adopt(grafted)
        return () if write is None else (write,)

    def _when(self, written: Written) -> StageWhen:
        """Return when a stage is carried out; of one that draws or writes, the key can say how often it does so."""
        path = (*written.path, "when")
        return "manual" if written.entry.get("when") == "manual" and self._draft.conforms(path) else "on_success"


def _is_look(value: JSON) -> bool:
    """Say whether ``style`` of a stage that draws is an option of renderers, and no style."""
    return isinstance(value, Mapping) and bool(value) and set(value) <= {"datasets", "experiment", "lumi"}


def _applies_to(entry: Mapping[str, JSON]) -> str | None:
    condition = entry.get("applies_to")
    if isinstance(condition, Mapping):
        condition = condition.get("eventtype")
    return None if condition is None else str(condition)


def _lists(draft: Draft) -> Iterator[tuple[str | None, DocumentPath]]:
    """Yield the lists of stages: that of the analysis, and those of the workflows by name."""
    yield None, ("analysis", "stages")
    workflows = draft.raw("workflows")
    for name in sorted(workflows) if isinstance(workflows, Mapping) else ():
        yield name, ("workflows", name, "stages")


def _written(draft: Draft) -> Iterator[Written]:
    """Yield all stages, those that do not conform as far as they can be read."""
    for home, at in _lists(draft):
        holder = draft.raw(*at)
        if not isinstance(holder, Sequence) or isinstance(holder, str):
            continue
        for number, value in enumerate(holder):
            entry = mapping(value) if isinstance(value, Mapping) else {}
            path: DocumentPath = (*at, number)
            stage_id, key = entry.get("id"), "in" if "in" in entry else "from"
            if "in" in entry and "from" in entry:
                draft.fault((*path, "in"), "'from' and 'in' mean the same", "keep one of them", key=True)
            yield Written(
                id=stage_id if isinstance(stage_id, str) else None,
                op=str(entry.get("op", "")),
                path=path,
                home=home,
                entry=entry,
                inputs=references(entry.get(key), (*path, key)) or given(entry, path),
                needs=references(entry.get("needs"), (*path, "needs")),
            )


def _workflows(draft: Draft, written: Sequence[Written]) -> Iterator[SubWorkflow]:
    for path, value in sorted(draft.entries("workflows"), key=lambda entry: str(entry[0][-1])):
        name, description = str(path[-1]), mapping(value).get("description")
        own = dict.fromkeys(stage.id for stage in written if stage.home == name and stage.id is not None)
        yield SubWorkflow(
            name=name,
            stages=tuple(own),
            description=None if description is None else str(description),
            path=path,
        )


def _check_ids(written: Sequence[Written], streams: frozenset[str], draft: Draft) -> None:
    """Report ids that are there twice: as text, as the name of a file, or as a stream."""
    first: dict[str, Written] = {}
    for stage in written:
        if stage.id is None:
            continue
        path = (*stage.path, "id")
        if stage.id in streams:
            draft.fault(path, f"stage {stage.id!r} has the id of a stream", "rename the stage")
        same = first.setdefault(stage.id.lower(), stage)
        if same is stage:
            continue
        if same.id == stage.id:
            draft.repeated(path, f"stage id {stage.id!r}", (*same.path, "id"))
        else:
            where = draft.document.where((*same.path, "id"))
            message = f"stage id {stage.id!r} differs from {same.id!r} at {where} in capitals only"
            draft.fault(path, message, "ids become names of files, and some systems can't tell these two apart")
