"""Turns the stages of a workflow, and what hangs on them, into operations, by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Protocol, TypeAlias, TypeGuard, cast, runtime_checkable

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.operations import plugged, writing
from fasthep_archive.operations.plugged_files import PluggedForm
from fasthep_archive.operations.protocol import Operation, ProductOperation
from fasthep_archive.registry import Provided
from fasthep_archive.workflow.code import Code
from fasthep_archive.workflow.model import Stage, Workflow

AnyOperation: TypeAlias = "Operation | ProductOperation"


class _Readable(Protocol):
    """A class of operations."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> AnyOperation:
        """Return the operation of parameters that the schema has accepted."""


OUTSIDE = frozenset({"run.command", "run.events", "run.python"})
"""Operations of ours whose results are not those of the numeric profile: they run code that is not ours."""


def outside_profile(workflow: Workflow) -> frozenset[str]:
    """Return the stages whose results are not those of the numeric profile, and all that read or need them.

    These run code that is not ours: of plug-ins, too, it is not known what they compute or read. A stage whose
    files, pictures or observations a plug-in makes is one of them, and what others make of its events is not.
    """
    outside = {source.id for source in workflow.sources if registry.foreign("sources", source.kind) is not None}
    outside |= {join.id for join in workflow.joins if outside & {item.source for item in join.inputs}}
    fields = _called_fields(workflow)
    for stage in workflow.stages:  # each comes after those that it needs
        needed = {*(edge.node for edge in (*stage.streams_from, *stage.products_from)), *stage.needs}
        ours = registry.is_ours("operations", stage.op) and stage.op not in OUTSIDE
        if not ours or needed & outside or (fields and _may_use(fields, stage, workflow)):
            outside.add(stage.id)
    return frozenset(outside | {stage.id for stage in workflow.stages if _hung_foreign(stage)})


def _called_fields(workflow: Workflow) -> frozenset[str]:
    """Return the functions of formulas that are not ours, the fields that functions return, and what these make."""
    found = {item.alias for item in workflow.fields if item.callable or item.accessor} | {
        item.name for item in workflow.functions
    }
    meant = [(item.alias, item.expr) for item in workflow.fields if item.expr]
    meant += [pair for variation in workflow.variations for pair in variation.replace.items()]
    size = -1
    while found and size != len(found):
        size = len(found)
        found |= {name for name, text in meant if _mentions(text, found)}
    return frozenset(found)


def _may_use(names: frozenset[str], stage: Stage, workflow: Workflow) -> bool:
    """Say whether a stage may use any of these: it names one, or the collection that it is part of."""
    varied = [[*variation.multiply, variation.patch] for variation in workflow.variations]
    hanging = [*(write.params for write in stage.writes), *(item.params for item in stage.observers)]
    return stage.op in _ALL_FIELDS or _mentions(json.dumps([stage.params, hanging, varied]), names)


_ALL_FIELDS = frozenset({"hep.align_schema", "hep.merge_fields", "hep.project_fields", "hep.zip_join"})
"""Operations that hand on fields that they do not name."""


def _mentions(text: str, names: Iterable[str]) -> bool:
    words = {*re.findall(r"[\w.]+", text), *re.findall(r"\w+", text)}
    return any(name == word or name.startswith(f"{word}_") for name in names for word in words)


def _hung_foreign(stage: Stage) -> bool:
    """Say whether anything that hangs on a stage is a plug-in's."""
    return any(registry.foreign(kind, name) is not None for _, kind, name, _ in _hanging(stage))


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
    code = {stage.id: stage.code for stage in workflow.stages}
    return {
        node: _carrying(_read(known[kind][name], params), code.get(node.split("@")[0]))
        for node, kind, name, params in _asked(workflow)
        if name in known[kind]
    }


def _read(found: Provided, params: Mapping[str, JSON]) -> AnyOperation:
    """Return the operation of parameters: one that reads them itself, or that of a plug-in's simpler class."""
    loaded = found.load()
    if found.kind == "operations" and not hasattr(loaded, "read"):
        return plugged.operation(loaded, found, params)
    if found.kind == "writers" and not hasattr(loaded, "read"):
        return cast("Operation", writing.Sink(form=partial(PluggedForm.of, found)).read(params))
    return cast("type[_Readable]", loaded).read(params)


@runtime_checkable
class _Calling(Protocol):
    """An operation that calls code of the analysis."""

    def carrying(self, code: Code) -> AnyOperation:
        """Return the operation with the code."""


def _carrying(operation: AnyOperation, code: Code | None) -> AnyOperation:
    """Return an operation with the code of its stage, if it calls any."""
    return operation.carrying(code) if code is not None and isinstance(operation, _Calling) else operation


def foreign(workflow: Workflow) -> Mapping[str, str]:
    """Return who provides the operation of each node where that is a plug-in, with its version, by node id."""
    known = {kind: registry.provided(kind, version="") for kind in ("operations", "writers", "observers")}
    return {
        node: known[kind][name].identity
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


def plugins(workflow: Workflow) -> tuple[str, ...]:
    """Return the distributions whose plug-ins a workflow uses, sorted."""
    found = {registry.foreign(kind, name) for _, kind, name, _ in _asked(workflow)}
    found |= {registry.foreign("sources", source.kind) for source in workflow.sources}
    found |= {registry.foreign("accessors", item.accessor) for item in workflow.fields if item.accessor}
    return tuple(sorted({item.provider for item in found if item is not None}))
