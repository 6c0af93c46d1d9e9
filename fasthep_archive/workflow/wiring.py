"""The edges between stages: what each of them reads, and in which order they come.

A stage that reads events takes those that ``from`` names, else those of the one stage in ``needs``, else those of the
nearest stage above in its list that hands events on, else those of the primary stream (reference, section 2.2). One
that reads products takes those of the stages that ``from`` names, else of those in ``needs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest, of_known
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.natures import Nature, nature
from fasthep_archive.workflow.values import DocumentPath

_DRAWN = "an arrow reads 'needs'; a stage without 'from' and 'needs' needs the stage above it"
_PRODUCTS = ("hist", "cutflow")
"""Ports that name what a stage leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """Events or products that a stage reads.

    :ivar node: id of a stage or, for events, of a stream.
    :ivar name: the input that they are for; none: the only one, or the one that is called like the node.
    """

    node: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A mention of a stage or stream, and where it stands.

    :ivar name: ``as``. :ivar port: what it takes of it.
    """

    id: str
    path: DocumentPath
    name: str | None = None
    port: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A stage as it is written.

    :ivar home: the workflow whose list it stands in; none: that of the analysis.
    :ivar inputs: ``from``; none if it is absent.
    :ivar needs: none if it is absent.
    """

    id: str | None
    op: str
    path: DocumentPath
    home: str | None
    entry: Mapping[str, JSON]
    inputs: tuple[Reference, ...] | None
    needs: tuple[Reference, ...] | None

    @property
    def sink(self) -> bool:
        """Say whether it only writes the events that it reads."""
        return self.entry.get("role") == "sink" and not nature(self.op).sink

    @property
    def nature(self) -> Nature:
        """Return what it is to the graph."""
        return Nature(hands_on=False) if self.sink else nature(self.op)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a stage reads, and what comes before it for another reason."""

    streams: tuple[Edge, ...] = ()
    products: tuple[Edge, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the ids of all these."""
        return (*(edge.node for edge in (*self.streams, *self.products)), *self.needs)


def references(value: JSON, at: DocumentPath) -> tuple[Reference, ...] | None:
    """Return the mentions in ``from`` or ``needs``; what is malformed is left out."""
    if value is None:
        return None
    if isinstance(value, str):
        return (Reference(id=value, path=at),)
    found = []
    for number, item in enumerate(value if isinstance(value, Sequence) else ()):
        if isinstance(item, str):
            found.append(Reference(id=item, path=(*at, number)))
        elif isinstance(item, Mapping) and isinstance(node := item.get("node"), str):
            texts = {key: item[key] for key in ("as", "port") if isinstance(item.get(key), str)}
            name, port = texts.get("as"), texts.get("port")
            path = (*at, number, "node")
            found.append(
                Reference(
                    id=node, path=path, name=None if name is None else str(name), port=str(port) if port else None
                )
            )
    return tuple(found)


def in_order(stages: Mapping[str, Inputs]) -> tuple[str, ...]:
    """Return the ids so that each stands behind all that it needs, and otherwise in the order of ``stages``."""
    order: dict[str, None] = {}
    for start in stages:
        waiting: list[tuple[str, Iterator[str]]] = [(start, iter(stages[start].nodes))]
        entered = {start}
        while waiting:
            stage, needed = waiting[-1]
            following = next((node for node in needed if node in stages and node not in order), None)
            if following is None:
                order.setdefault(stage)
                waiting.pop()
            elif following not in entered:
                entered.add(following)
                waiting.append((following, iter(stages[following].nodes)))
    return tuple(order)


class Wiring:
    """Finds out what each stage reads, and reports references that lead nowhere, forward or round in a circle."""

    def __init__(self, written: Sequence[Written], streams: frozenset[str], primary: str | None, draft: Draft) -> None:
        self._written = written
        self._streams = streams
        self._primary = primary
        self._draft = draft
        self._positions = {stage.id: number for number, stage in reversed(list(enumerate(written))) if stage.id}
        self._asked_for_primary = False
        self._circles: set[frozenset[str]] = set()

    def inputs(self, position: int) -> Inputs | None:
        """Return what the stage at ``position`` reads; none if a fault hides it."""
        stage = self._written[position]
        reads = stage.nature.reads
        streams = reads != "products"
        named = [self._found(stage, position, ref, streams=streams) for ref in stage.inputs or ()]
        needed = [self._found(stage, position, ref, streams=False) for ref in stage.needs or ()]
        needs = tuple(ref.id for ref in needed if ref is not None)
        found = tuple(ref for ref in named if ref is not None)
        if not streams:
            return self._products(stage, found, needs)
        if stage.inputs is not None:
            self._check_inputs(stage)
            edges = tuple(Edge(node=ref.id, name=None if ref.name == "stream" else ref.name) for ref in found)
            return None if None in (*named, *needed) else Inputs(streams=edges, needs=needs)
        edges_or_none = self._without_from(stage, position, needs)
        return None if edges_or_none is None or None in needed else Inputs(streams=edges_or_none, needs=needs)

    def _without_from(self, stage: Written, position: int, needs: Sequence[str]) -> tuple[Edge, ...] | None:
        """Return what a stage reads that does not say so; stages that only leave products have no events to read."""
        with_events = [need for need in needs if self._hands(need)]
        absent = stage.needs is None or (stage.needs and not with_events)
        if absent and stage.sink:
            message = f"stage {stage.id!r} writes events, but does not say whose"
            self._draft.fault((*stage.path, "id"), message, "add from: STAGE")
            return None
        if absent:
            return self._implicit(position)
        if len(with_events) != 1 and self._draft.conforms((*stage.path, "needs")):
            self._ask_for_input(stage, with_events)
        return tuple(Edge(node=need) for need in with_events)

    def _hands(self, need: str) -> bool:
        position = self._positions.get(need)
        return position is None or self._written[position].nature.reads != "products"

    def _products(self, stage: Written, found: Sequence[Reference], needs: Sequence[str]) -> Inputs | None:
        """Return the products that a stage takes."""
        if stage.inputs is None and not stage.needs and stage.nature.needy:
            message = f"{stage.op} takes what other stages leave, and stage {stage.id!r} names none"
            self._draft.fault((*stage.path, "id"), message, "add from: [{node: STAGE}]")
            return None
        self._check_names(stage)
        for reference in stage.inputs or ():
            self._check_port(stage, reference)
        taken = tuple(Edge(node=ref.id, name=ref.name) for ref in found) or tuple(Edge(node=need) for need in needs)
        return Inputs(products=taken, needs=tuple(needs))

    def _found(self, stage: Written, position: int, reference: Reference, *, streams: bool) -> Reference | None:
        return reference if self._leads_back(stage, position, reference, streams=streams) else None

    def _leads_back(self, stage: Written, position: int, reference: Reference, *, streams: bool) -> bool:
        """Say whether ``reference`` names a stage that can come before, or a stream where that is allowed."""
        target = self._positions.get(reference.id)
        if target is None:
            if streams and (reference.id in self._streams or not self._streams):
                return True
            self._report_unknown(stage, position, reference, streams=streams)
            return False
        elsewhere = self._written[target].home != stage.home
        if not elsewhere and target < position:
            return True
        circle = self._circle(position, target)
        if circle:
            if frozenset(circle) not in self._circles:
                self._circles.add(frozenset(circle))
                drawn = " -> ".join(circle)
                self._draft.fault(reference.path, f"stage {stage.id!r} needs itself: {drawn}", _DRAWN)
            return False
        if not elsewhere:
            message = f"stage {stage.id!r} refers to {reference.id!r}, which stands below it"
            self._draft.fault(reference.path, message, f"move stage {reference.id!r} above {stage.id!r}")
        return elsewhere

    def _report_unknown(self, stage: Written, position: int, reference: Reference, *, streams: bool) -> None:
        known = [
            other.id
            for number, other in enumerate(self._written)
            if other.id and (number < position or other.home != stage.home)
        ]
        hint = nearest(reference.id, [*known, *(self._streams if streams else ())])
        if not streams and reference.id in self._streams:
            hint = f"{reference.id!r} is a stream: write from: {reference.id}"
            if stage.nature.reads == "products":
                hint = f"{reference.id!r} is a stream, which leaves nothing; name a stage"
        kinds = "stage or stream" if streams else "stage"
        message = f"stage {stage.id!r} refers to {reference.id!r}, but no {kinds} has that id"
        self._draft.fault(reference.path, message, hint or of_known("", known))

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
        named = tuple(reference.id for reference in (*(stage.inputs or ()), *(stage.needs or ())))
        events = stage.nature.reads != "products"
        if events and stage.inputs is None and not any(self._hands(need.id) for need in stage.needs or ()):
            above = self._above(position)
            return (*named, above.id) if above is not None and above.id is not None else named
        return named

    def _above(self, position: int) -> Written | None:
        """Return the nearest stage above in the same list that hands events on."""
        home = self._written[position].home
        above = (stage for stage in reversed(self._written[:position]) if stage.home == home)
        return next((stage for stage in above if stage.nature.hands_on), None)

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

    def _check_inputs(self, stage: Written) -> None:
        """Report inputs that a stage that reads events can't have."""
        if not self._draft.conforms((*stage.path, "op")):
            return
        inputs = stage.inputs or ()
        if stage.nature.reads == "streams":
            self._check_names(stage)
        elif len(inputs) > 1:
            message = f"{stage.op} reads the events of one stage or stream, not of {len(inputs)}"
            self._draft.fault(inputs[1].path, message, "keep one")
        for reference in inputs:
            single = stage.nature.reads == "stream"
            allowed = (None, "stream", "target") if stage.sink else (None, "stream")
            if single and reference.name not in allowed:
                message = f"{stage.op} has no input {reference.name!r}"
                hint = f"its only input is {allowed[-1]!r}: leave 'as' out"
                self._draft.fault((*reference.path[:-1], "as"), message, hint)
            if reference.port not in (None, "stream"):
                message = f"{stage.op} reads events, and {reference.port!r} is a product"
                self._draft.fault((*reference.path[:-1], "port"), message, "leave 'port' out")
            elif not self._hands(reference.id):
                self._draft.fault(reference.path, f"stage {reference.id!r} hands no events on", "name one that does")

    def _check_names(self, stage: Written) -> None:
        """Report two inputs of one name."""
        names: set[str] = set()
        for reference in stage.inputs or ():
            name = reference.name or reference.id
            if name in names:
                at = (*reference.path[:-1], "as") if reference.name else reference.path
                self._draft.fault(at, f"two inputs are called {name!r}", "give each its own name with 'as'")
            names.add(name)

    def _check_port(self, stage: Written, reference: Reference) -> None:
        """Report a port that the stage it is of does not have."""
        position = self._positions.get(reference.id)
        if position is None:
            return
        other = self._written[position]
        if reference.port == "stream":
            message = f"{stage.op} takes what a stage leaves, not its events"
            self._draft.fault((*reference.path[:-1], "port"), message, "write port: hist or port: cutflow")
        elif (
            reference.port in _PRODUCTS
            and other.nature.leaves != reference.port
            and self._draft.conforms((*other.path, "op"))
        ):
            message = f"stage {other.id!r} ({other.op}) has no port {reference.port!r}"
            self._draft.fault((*reference.path[:-1], "port"), message, "leave 'port' out, or name another stage")

    def _ask_for_input(self, stage: Written, needs: Sequence[str]) -> None:
        if needs:
            message = f"stage {stage.id!r} needs several stages, but does not say whose events it reads"
            hint = f"add from: {needs[-1]}, or whichever it is"
        else:
            message, hint = (
                f"stage {stage.id!r} needs nothing, so it has no events to read",
                "leave needs out, or add from",
            )
        self._draft.fault((*stage.path, "needs"), message, hint, key=True)
