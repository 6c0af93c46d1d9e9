"""What the document's stages are to the plan: nodes that read events, what hangs on them, and whose values they see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from fasthep_archive.errors import Fault
from fasthep_archive.execution.plan import Node
from fasthep_archive.execution.roots import Root, used_roots
from fasthep_archive.formula.functions import CALLS, FUNCTIONS
from fasthep_archive.operations.protocol import Operation, ProductOperation
from fasthep_archive.operations.reading import AnyOperation, foreign, observer_id, reads_products, render_id, write_id
from fasthep_archive.operations.stream import Factor, Shift
from fasthep_archive.workflow.model import Dataset, Observer, Stage, Variation, Workflow

When: TypeAlias = Literal["final", "dataset", "partition"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EventNode:
    """A node that adds something up over the events of a stream.

    :ivar op: name of its operation. :ivar called: what the operation calls the node.
    :ivar path: of its params in the document.
    :ivar stage: the stage that it is, or that it hangs on; none for an observer of a source or join.
    :ivar varies: whether variations have it too.
    """

    node: Node
    op: str
    operation: Operation
    called: str
    path: tuple[str | int, ...]
    stage: Stage | None
    varies: bool = True

    def applies(self, dataset: Dataset) -> bool:
        """Say whether it takes part for ``dataset``."""
        return self.stage is None or applies(self.stage, dataset)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """The stages of a workflow, sorted for planning.

    :ivar operations: of each node that has no faults, by node id.
    :ivar roots: the streams that are read. :ivar root_of: by stage, the id of its root.
    :ivar hanging: what hangs on the stream after a stage or at a root, by its id.
    :ivar values: by stage, the stages whose values its formulas can use.
    :ivar foreign: by node, the plug-in that provides its operation, with its version.
    """

    workflow: Workflow
    operations: Mapping[str, AnyOperation]
    roots: tuple[Root, ...]
    root_of: Mapping[str, str]
    hanging: Mapping[str, tuple[EventNode, ...]]
    values: Mapping[str, tuple[str, ...]]
    foreign: Mapping[str, str]

    @property
    def valued(self) -> frozenset[str]:
        """Return the stages that leave values for formulas."""
        return frozenset(stage for stage, operation in self.operations.items() if hasattr(operation, "names"))

    @property
    def plan_variations(self) -> tuple[Variation, ...]:
        """Return the variations that all stages are lowered again for."""
        return tuple(variation for variation in self.workflow.variations if variation.mode == "plan")

    @property
    def inline_variations(self) -> tuple[Variation, ...]:
        """Return the variations of a few stages inside the others."""
        return tuple(variation for variation in self.workflow.variations if variation.mode == "inline")

    def stages(self, root: Root) -> Iterator[Stage]:
        """Yield the stages that read ``root``, in the order of the document."""
        return (stage for stage in self.workflow.stages if self.root_of.get(stage.id) == root.id)

    def itself(self, stage: Stage) -> EventNode | None:
        """Return the node that a stage that reads events is itself; none for others and for stages with faults."""
        operation = self.operations.get(stage.id)
        if operation is None or reads_products(operation):
            return None
        return EventNode(
            node=Node(id=stage.id, stage=stage.id),
            op=stage.op,
            operation=cast("Operation", operation),
            called=stage.id,
            path=(*stage.path, "params"),
            stage=stage,
        )

    def leaving(self, stage: str) -> tuple[str, ...]:
        """Return the ids of the nodes of a stage that leave products: itself, and what it writes."""
        operation = self.operations.get(stage)
        itself = operation is not None and (reads_products(operation) or _leaves(operation, stage))
        written = (item.node.id for item in self.hanging.get(stage, ()) if item.node.id.startswith("write."))
        return (*([stage] if itself else []), *written)

    def seen(self, stage: Stage) -> Mapping[str, tuple[str, ...]]:
        """Return the nodes whose products a function that an event-level stage calls can see, by the stage needed."""
        if not getattr(self.operations.get(stage.id), "sees_products", False):
            return {}
        read = {edge.node for edge in stage.streams_from}
        return {need: self.leaving(need) for need in stage.needs if need not in read}

    def product_operation(self, node: str) -> ProductOperation | None:
        """Return the operation of a node that reads products; none for others and for those with faults."""
        operation = self.operations.get(node)
        return operation if operation is not None and reads_products(operation) else None


def applies(stage: Stage, dataset: Dataset) -> bool:
    """Say whether ``stage`` takes part for ``dataset`` (``applies_to``)."""
    return stage.applies_to is None or stage.applies_to == dataset.eventtype


def _leaves(operation: AnyOperation, stage: str) -> bool:
    """Say whether an operation that reads events leaves a product."""
    return cast("Operation", operation).product(stage, ()) is not None


def outlined(workflow: Workflow, operations: Mapping[str, AnyOperation], report: Callable[[Fault], None]) -> Outline:
    """Return the outline of ``workflow``; report streams that can't meet, and what variations require in vain."""
    roots, root_of = used_roots(workflow, report)
    _check_variations(workflow, report)
    _check_ids(workflow, report)
    _check_functions(workflow, report)
    return Outline(
        workflow=workflow,
        operations=operations,
        roots=roots,
        root_of=root_of,
        hanging=_hanging(workflow, operations),
        values=_values(workflow, operations),
        foreign=foreign(workflow),
    )


def shift(variation: Variation | None) -> Shift:
    """Return what a variation changes in formulas."""
    if variation is None:
        return Shift()
    path = (*variation.path, "weight", "multiply")
    single = len(variation.multiply) == 1
    factors = (
        Factor(text=text, path=path if single else (*path, number)) for number, text in enumerate(variation.multiply)
    )
    return Shift(replace=variation.replace, factors=tuple(factors))


def _hanging(workflow: Workflow, operations: Mapping[str, AnyOperation]) -> Mapping[str, tuple[EventNode, ...]]:
    """Return writers and observers by the stage or root whose stream they take."""
    found: dict[str, list[EventNode]] = {}
    for stage in workflow.stages:
        for number, write in enumerate(stage.writes):
            node, operation = write_id(stage.id, number), operations.get(write_id(stage.id, number))
            if operation is not None and not reads_products(operation):
                found.setdefault(stage.id, []).append(
                    EventNode(
                        node=Node(id=node, stage=stage.id),
                        op=write.kind,
                        operation=cast("Operation", operation),
                        called=node,
                        path=write.path,
                        stage=stage,
                    )
                )
    for stream, at, holder, observers in _observed(workflow):
        for number, observer in enumerate(observers):
            node, operation = observer_id(at, number), operations.get(observer_id(at, number))
            if operation is not None:
                found.setdefault(stream, []).append(
                    EventNode(
                        node=Node(id=node, stage=at if holder is None else holder.id),
                        op=observer.kind,
                        operation=cast("Operation", operation),
                        called=at,
                        path=observer.path,
                        stage=holder,
                        varies=False,
                    )
                )
    return {stream: tuple(nodes) for stream, nodes in found.items()}


def _observed(workflow: Workflow) -> Iterator[tuple[str, str, Stage | None, tuple[Observer, ...]]]:
    """Yield what can be observed: the id of the stream, what its node is called, the stage, and who observes."""
    for stage in workflow.stages:
        yield stage.id, f"stage.{stage.id}", stage, stage.observers
    for source in workflow.sources:
        yield source.id, f"read.{source.id}", None, source.observers
    for join in workflow.joins:
        yield join.id, f"join.{join.id}", None, join.observers


def _values(workflow: Workflow, operations: Mapping[str, AnyOperation]) -> Mapping[str, tuple[str, ...]]:
    """Return the stages that leave values among what each stage needs, directly or not."""
    leaving = {stage.id for stage in workflow.stages if hasattr(operations.get(stage.id), "names")}
    needed: dict[str, dict[str, None]] = {}
    for stage in workflow.stages:
        direct = [*(edge.node for edge in stage.streams_from), *stage.needs]
        mine = needed.setdefault(stage.id, {})
        for other in direct:
            mine |= needed.get(other, {}) | {other: None}
    order = [stage.id for stage in workflow.stages if stage.id in leaving]
    return {stage: tuple(other for other in order if other in below) for stage, below in needed.items()}


def _check_ids(workflow: Workflow, report: Callable[[Fault], None]) -> None:
    """Report stages that have the id of what hangs on another stage."""
    hanging = {
        made(stage.id, number)
        for stage in workflow.stages
        for made, things in ((write_id, stage.writes), (render_id, stage.renders))
        for number in range(len(things))
    }
    for stage in workflow.stages:
        if stage.id in hanging:
            message = f"{stage.id!r} is the id of what hangs on another stage"
            report(Fault(message, workflow.document.where((*stage.path, "id")), "rename the stage"))


def _check_functions(workflow: Workflow, report: Callable[[Fault], None]) -> None:
    """Report functions that have a name which already means another function of formulas, or an operator."""
    for function in workflow.functions:
        if function.name in CALLS or function.name in FUNCTIONS:
            message = f"function {function.name!r} is one of formulas already"
            report(Fault(message, workflow.document.where(function.path), "choose another name"))


def _check_variations(workflow: Workflow, report: Callable[[Fault], None]) -> None:
    """Report stages that variations require and that don't exist."""
    known = {stage.id for stage in workflow.stages}
    for variation in workflow.variations:
        for number, name in enumerate(variation.requires):
            kind, _, stage = name.partition(".")
            if kind == "stage" and stage not in known:
                message = f"variation {variation.name!r} requires stage {stage!r}, and there is none"
                where = workflow.document.where((*variation.path, "requires", number))
                report(Fault(message, where, f"known are {', '.join(sorted(known))}"))
