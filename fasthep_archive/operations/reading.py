"""Turns the stages of a workflow, and what hangs on them, into operations, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias, TypeGuard, cast

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.operations.protocol import Operation, ProductOperation
from fasthep_archive.workflow.model import Stage, Workflow

AnyOperation: TypeAlias = "Operation | ProductOperation"


class _Readable(Protocol):
    """A class of operations."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> AnyOperation:
        """Return the operation of parameters that the schema has accepted."""


def inside_profile(workflow: Workflow) -> bool:
    """Return whether all stages compute inside the numeric profile: ours do, and of plug-ins that is not known."""
    return all(registry.is_ours("operations", stage.op) for stage in workflow.stages)


def reads_products(operation: AnyOperation) -> TypeGuard[ProductOperation]:
    """Say whether an operation reads products instead of events."""
    return hasattr(operation, "derivation")


def write_id(stage: str, number: int) -> str:
    """Return the id of what a stage writes, as a node of the plan."""
    return f"write.{stage}.{number}"


def render_id(stage: str, number: int) -> str:
    """Return the id of what a stage draws, as a node of the plan."""
    return f"render.{stage}.{number}"


def observer_id(at: str, number: int) -> str:
    """Return the id of what observes the node ``at`` (``stage.X``, ``read.events``), as a node of the plan."""
    return f"observe.{at}.{number}"


def patched_id(anchor: str, variation: str) -> str:
    """Return the name of a stage's operation as an inline variation patches it."""
    return f"{anchor}@{variation}"


def operations(workflow: Workflow, *, version: str) -> Mapping[str, AnyOperation]:
    """Return the operation of each node that conforms to the schema, by node id."""
    known = {kind: registry.provided(kind, version=version) for kind in ("operations", "writers", "observers")}
    return {
        node: cast("type[_Readable]", known[kind][name].load()).read(params)
        for node, kind, name, params in _asked(workflow)
        if name in known[kind]
    }


def foreign(workflow: Workflow) -> Mapping[str, str]:
    """Return who provides the operation of each node where that is a plug-in, with its version, by node id."""
    known = {kind: registry.provided(kind, version="") for kind in ("operations", "writers", "observers")}
    return {
        node: f"{known[kind][name].provider} {known[kind][name].version}"
        for node, kind, name, _ in _asked(workflow)
        if name in known[kind] and not registry.is_ours(kind, name)
    }


def _asked(workflow: Workflow) -> Iterator[tuple[str, str, str, Mapping[str, JSON]]]:
    """Yield the nodes with operations: id, kind and name of the operation, params."""
    sound = [stage for stage in workflow.stages if stage.id not in workflow.broken]
    ops = {stage.id: stage.op for stage in sound}
    for stage in sound:
        yield stage.id, "operations", stage.op, stage.params
        yield from _hanging(stage)
    for stream, at in [(item, f"read.{item.id}") for item in workflow.sources] + [
        (join, f"join.{join.id}") for join in workflow.joins
    ]:
        for number, observer in enumerate(stream.observers):
            yield observer_id(at, number), "observers", observer.kind, observer.params
    for variation in workflow.variations:
        if variation.anchor in ops:
            node = patched_id(variation.anchor, variation.name)
            yield node, "operations", ops[variation.anchor], variation.patch


def _hanging(stage: Stage) -> Iterator[tuple[str, str, str, Mapping[str, JSON]]]:
    for number, write in enumerate(stage.writes):
        yield write_id(stage.id, number), "writers", write.kind, {**write.params, "when": write.when}
    for number, observer in enumerate(stage.observers):
        yield observer_id(f"stage.{stage.id}", number), "observers", observer.kind, observer.params
    for number, render in enumerate(stage.renders):
        yield render_id(stage.id, number), "operations", render.op, {**render.params, "out": render.out}
