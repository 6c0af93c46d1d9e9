"""``check``: from a document to a workflow without faults, and its plan."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fasthep_archive import __version__
from fasthep_archive.archive.surroundings import AnyPath, code_version, surroundings
from fasthep_archive.context import Context, NoProgress
from fasthep_archive.errors import Fault, UsageError, WorkflowError

if TYPE_CHECKING:
    from fasthep_archive.execution.plan import Plan
    from fasthep_archive.workflow.document import Document
    from fasthep_archive.workflow.model import Workflow

Digests: TypeAlias = Literal["none", "remembered", "read"]
"""Whether a plan has the digests of its inputs: not at all (``check``), remembered ones of files that look
unchanged (``run``), or of every byte (``pack``, ``replay``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A workflow without faults, and its plan."""

    workflow: Workflow
    plan: Plan


def check(workflow: AnyPath, *, language: str | None = None, cache: AnyPath | None = None) -> Checked:
    """Return the workflow and its plan if nothing is wrong with it.

    :raises WorkflowError: with every fault of the document and of the files that it names.
    """
    context = surroundings(cache, None, NoProgress())
    return checked(document(workflow, language), context, "none", None, fetching=False)


def document(path: AnyPath, language: str | None) -> Document:
    """Return the document at ``path``."""
    from fasthep_archive.workflow.document import load

    return load(Path(path), language=language)


def resolved(path: Path) -> Document:
    """Return the resolved document that a bundle has, staged or extracted."""
    from fasthep_archive.workflow.document import from_json

    return replace(from_json(json.loads(path.read_bytes()), name=path.name), files=(path,))


def checked(read: Document, context: Context, digests: Digests, chunk: int | None, *, fetching: bool = True) -> Checked:
    """Return workflow and plan; raise all faults of both.

    :param fetching: whether remote inputs are fetched, where there is no copy of what their servers have.
    """
    from fasthep_archive.execution.globs import expanded
    from fasthep_archive.execution.planner import CHUNK, Settings, make_plan
    from fasthep_archive.operations.reading import operations
    from fasthep_archive.workflow.model import build

    if chunk is not None and chunk < 1:
        raise UsageError(f"a partition can't have {chunk} events", hint="--chunk takes a number from 1")
    written, faults = build(read)
    unmatched: list[Fault] = []
    workflow = expanded(written, Path.cwd(), unmatched.append)
    faults = (*faults, *unmatched)
    settings = Settings(
        chunk=chunk or CHUNK,
        version=code_version(),
        cache=context.cache,
        working_directory=Path.cwd(),
        digests="none" if faults else digests,
        workers=context.workers,
        fetching=context.progress if fetching and not faults else None,
        environ=os.environ,
    )
    plan, more = make_plan(workflow, operations(workflow, version=__version__), settings)
    if faults or more:
        raise WorkflowError([*faults, *more])
    warnings = (*map(str, workflow.warnings), *plan.warnings)
    return Checked(workflow=workflow, plan=replace(plan, warnings=warnings))
