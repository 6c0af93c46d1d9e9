"""The stages of a workflow and the edges between them.

A stage reads the events of exactly one stage or stream above it (reference, section 2.2): what ``from`` names, else
the one stage in ``needs``, else the nearest stage above that hands events on, else the primary stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.draft import Draft, mapping
from fasthep_archive.workflow.parameters import canonical, resolved_params
from fasthep_archive.workflow.values import DocumentPath

_KEEPS_NO_STREAM = ("hep.hist", "hep.render.", "hep.report.")
"""Operations after which a stage without ``from`` reads what they read. A histogram can be read by name, though."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """Events that a stage reads.

    :ivar node: id of a stage or of a stream.
    :ivar name: the input that they are for; none: the only one.
    """

    node: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One named step.

    :ivar params: in the form that :mod:`fasthep_archive.workflow.parameters` describes; empty for stages with faults.
    :ivar streams_from: what it reads; empty only for stages with faults.
    :ivar needs: stages that come before for another reason.
    :ivar applies_to: event type of the datasets that it is for; none: all.
    :ivar path: where it stands in the document.
    """

    id: str
    op: str
    params: Mapping[str, JSON]
    streams_from: tuple[Edge, ...]
    needs: tuple[str, ...]
    applies_to: str | None
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reference:
    """A mention of a stage or stream, and where it stands."""

    id: str
    path: DocumentPath
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """A stage as it is written.

    :ivar inputs: ``from``; none if it is absent.
    :ivar needs: none if it is absent.
    """

    id: str | None
    op: str
    path: DocumentPath
    entry: Mapping[str, JSON]
    inputs: tuple[_Reference, ...] | None
    needs: tuple[_Reference, ...] | None


def read_stages(draft: Draft, streams: frozenset[str], primary: str | None) -> tuple[tuple[Stage, ...], frozenset[str]]:
    """Return the stages in the order of the document, and the ids of those that have faults."""
    written = tuple(_written(draft))
    _check_ids(written, streams, draft)
    wiring = _Wiring(written, streams, primary, draft)
    stages: dict[str, Stage] = {}
    broken: set[str] = set()
    for position, stage in enumerate(written):
        if stage.id is None or stage.id in stages:
            continue
        before = len(draft.faults)
        edges = wiring.edges(position)
        readable = draft.conforms((*stage.path, "op")) and draft.conforms((*stage.path, "params"))
        params = canonical(stage.op, (*stage.path, "params"), draft) if readable else {}
        if edges is None or not draft.sound(stage.path) or len(draft.faults) > before:
            broken.add(stage.id)
            params = {}
        stages[stage.id] = Stage(
            id=stage.id,
            op=stage.op,
            params=params,
            streams_from=edges or (),
            needs=tuple(need.id for need in stage.needs or ()),
            applies_to=_applies_to(stage.entry),
            path=stage.path,
        )
    return tuple(stages.values()), frozenset(broken)


def resolved_stage(stage: Stage) -> JSON:
    """Return the stage as a document of the newest version writes it."""
    optional: dict[str, JSON] = {}
    if stage.needs:
        optional["needs"] = list(stage.needs)
    if stage.applies_to is not None:
        optional["applies_to"] = {"eventtype": stage.applies_to}
    inputs = [
        {"node": edge.node, "port": "stream", **({"as": edge.name} if edge.name else {})} for edge in stage.streams_from
    ]
    return {
        "id": stage.id,
        "op": stage.op,
        "params": resolved_params(stage.op, stage.params),
        "from": inputs,
        **optional,
    }


def _applies_to(entry: Mapping[str, JSON]) -> str | None:
    condition = entry.get("applies_to")
    return str(condition["eventtype"]) if isinstance(condition, Mapping) and "eventtype" in condition else None


def _written(draft: Draft) -> Iterator[_Written]:
    """Yield all stages, those that do not conform as far as they can be read."""
    holder = draft.raw("analysis", "stages")
    if not isinstance(holder, Sequence) or isinstance(holder, str):
        return
    for number, value in enumerate(holder):
        entry = mapping(value) if isinstance(value, Mapping) else {}
        path: DocumentPath = ("analysis", "stages", number)
        stage_id, key = entry.get("id"), "in" if "in" in entry else "from"
        if "in" in entry and "from" in entry:
            draft.fault((*path, "in"), "'from' and 'in' mean the same", "keep one of them", key=True)
        yield _Written(
            id=stage_id if isinstance(stage_id, str) else None,
            op=str(entry.get("op", "")),
            path=path,
            entry=entry,
            inputs=_references(entry.get(key), (*path, key)),
            needs=_references(entry.get("needs"), (*path, "needs")),
        )


def _references(value: JSON, at: DocumentPath) -> tuple[_Reference, ...] | None:
    """Return the mentions in ``from`` or ``needs``; what is malformed is left out."""
    if value is None:
        return None
    if isinstance(value, str):
        return (_Reference(id=value, path=at),)
    found = []
    for number, item in enumerate(value if isinstance(value, Sequence) else ()):
        if isinstance(item, str):
            found.append(_Reference(id=item, path=(*at, number)))
        elif isinstance(item, Mapping) and isinstance(node := item.get("node"), str):
            name = item.get("as")
            found.append(_Reference(id=node, path=(*at, number, "node"), name=name if isinstance(name, str) else None))
    return tuple(found)


def _check_ids(written: Sequence[_Written], streams: frozenset[str], draft: Draft) -> None:
    """Report ids that are there twice: as text, as the name of a file, or as a stream."""
    first: dict[str, _Written] = {}
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


class _Wiring:
    """Finds out what each stage reads, and reports references that lead nowhere or forward."""

    def __init__(self, written: Sequence[_Written], streams: frozenset[str], primary: str | None, draft: Draft) -> None:
        self._written = written
        self._streams = streams
        self._primary = primary
        self._draft = draft
        self._positions = {stage.id: number for number, stage in reversed(list(enumerate(written))) if stage.id}
        self._asked_for_primary = False

    def edges(self, position: int) -> tuple[Edge, ...] | None:
        """Return what the stage at ``position`` reads; none if an earlier fault hides it."""
        stage = self._written[position]
        inputs = tuple(ref for ref in stage.inputs or () if self._leads_back(stage, position, ref, streams=True))
        needs = tuple(ref for ref in stage.needs or () if self._leads_back(stage, position, ref, streams=False))
        if stage.inputs is not None:
            self._check_inputs(stage)
            return tuple(Edge(node=ref.id, name=None if ref.name == "stream" else ref.name) for ref in inputs)
        if stage.needs is None:
            return self._implicit(position)
        if len(stage.needs) != 1 and self._draft.conforms((*stage.path, "needs")):
            self._ask_for_input(stage)
        return tuple(Edge(node=ref.id) for ref in needs)

    def _leads_back(self, stage: _Written, position: int, reference: _Reference, *, streams: bool) -> bool:
        """Say whether ``reference`` names a stage above, or a stream where that is allowed; report it if not."""
        target = self._positions.get(reference.id)
        if target is not None and target < position:
            return True
        if target is None and streams and (reference.id in self._streams or not self._streams):
            return True
        if target is None:
            known = [other.id for other in self._written[:position] if other.id]
            hint = nearest(reference.id, [*known, *(self._streams if streams else ())])
            if not streams and reference.id in self._streams:
                hint = f"{reference.id!r} is a stream: write from: {reference.id}"
            kinds = "stage or stream" if streams else "stage"
            message = f"stage {stage.id!r} refers to {reference.id!r}, but no {kinds} has that id"
            self._draft.fault(reference.path, message, hint or f"known are {', '.join(known) or 'none'}")
            return False
        circle = self._circle(position, target)
        if circle:
            hint = "an arrow reads 'needs'; a stage without 'from' and 'needs' needs the stage above it"
            self._draft.fault(reference.path, f"stage {stage.id!r} needs itself: {' -> '.join(circle)}", hint)
        else:
            message = f"stage {stage.id!r} refers to {reference.id!r}, which stands below it"
            self._draft.fault(reference.path, message, f"move stage {reference.id!r} above {stage.id!r}")
        return False

    def _circle(self, start: int, target: int) -> list[str]:
        """Return the ids on the shortest way from ``start`` over ``target`` back to ``start``, if there is one."""
        before: dict[int, int] = {target: start}
        queue = [target]
        for position in queue:
            if position == start:
                break
            for node in self._nodes(position):
                following = self._positions.get(node)
                if following is not None and following not in before:
                    before[following] = position
                    queue.append(following)
        if start not in before:
            return []
        circle, position = [start], before[start]
        while position != start:
            circle.append(position)
            position = before[position]
        return [str(self._written[step].id) for step in (*circle, start)][::-1]

    def _nodes(self, position: int) -> tuple[str, ...]:
        """Return the ids of all that the stage at ``position`` needs, whether they exist or not."""
        stage = self._written[position]
        if stage.inputs is None and stage.needs is None:
            above = self._above(position)
            return (above.id,) if above is not None and above.id is not None else ()
        return tuple(reference.id for reference in (*(stage.inputs or ()), *(stage.needs or ())))

    def _above(self, position: int) -> _Written | None:
        """Return the nearest stage above that hands events on."""
        return next((stage for stage in reversed(self._written[:position]) if _hands_on(stage)), None)

    def _implicit(self, position: int) -> tuple[Edge, ...] | None:
        above = self._above(position)
        if above is not None:
            return None if above.id is None else (Edge(node=above.id),)
        if self._primary is not None:
            return (Edge(node=self._primary),)
        if self._draft.raw("primary_stream") is None and self._streams and not self._asked_for_primary:
            self._asked_for_primary = True
            stage = self._written[position]
            message = f"stage {stage.id!r} has several streams to read: {', '.join(sorted(self._streams))}"
            self._draft.fault(stage.path, message, "set primary_stream, or write from: STREAM in the stage")
        return None

    def _check_inputs(self, stage: _Written) -> None:
        """Report inputs that the operation lacks."""
        if not self._draft.conforms((*stage.path, "op")):
            return
        inputs = stage.inputs or ()
        if len(inputs) > 1:
            message = f"{stage.op} reads the events of one stage or stream, not of {len(inputs)}"
            self._draft.fault(inputs[1].path, message, "keep one")
        for reference in inputs:
            if reference.name not in (None, "stream"):
                message = f"{stage.op} has no input {reference.name!r}"
                self._draft.fault((*reference.path[:-1], "as"), message, "its only input is 'stream': leave 'as' out")

    def _ask_for_input(self, stage: _Written) -> None:
        needs = stage.needs or ()
        if needs:
            message = f"stage {stage.id!r} needs several stages, but does not say whose events it reads"
            hint = f"add from: {needs[-1].id}, or whichever it is"
        else:
            message, hint = (
                f"stage {stage.id!r} needs nothing, so it has no events to read",
                "leave needs out, or add from",
            )
        self._draft.fault((*stage.path, "needs"), message, hint, key=True)


def _hands_on(stage: _Written) -> bool:
    """Say whether a stage below that names no input may read this stage's events (as in FAST-HEP)."""
    return not stage.op.startswith(_KEEPS_NO_STREAM) and stage.entry.get("role") != "sink"
