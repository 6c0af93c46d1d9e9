"""``pack``: stage, lock, run from the staged tree, seal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fasthep_archive.archive.checking import Checked, checked, document, resolved
from fasthep_archive.archive.gating import Gate
from fasthep_archive.archive.running import Device, Ran, Wanted, asked, carry_out, selected
from fasthep_archive.archive.sealing import Sealed, sealed
from fasthep_archive.archive.surroundings import (
    AnyPath,
    bundle_target,
    empty_store,
    in_use,
    roots,
    surroundings,
    workspace,
)
from fasthep_archive.context import PROCESSES, Context, Progress
from fasthep_archive.digest import Digest
from fasthep_archive.errors import UsageError

if TYPE_CHECKING:
    from fasthep_archive.bundle.seal import Contents
    from fasthep_archive.bundle.staging import Staged
    from fasthep_archive.environment.prepare import Prepared
    from fasthep_archive.execution.record import Record
    from fasthep_archive.workflow.model import Workflow

Form: TypeAlias = Literal["default", "thin", "fat"]
"""``thin``: inputs, wheels and large outputs are referenced, not included; ``fat``: everything is included, for a
replay without a network; ``default``: wheels are referenced, and inputs where they are large."""
Data: TypeAlias = Literal["auto", "embed", "reference"]
"""Whether inputs are included: as the form says, all, or none."""

EMBEDDED = 50_000_000
"""Bytes of inputs, all together, that are included unless asked otherwise: what HEPData takes."""
LARGE = 10_000_000
"""Bytes from which on a thin bundle refers to an output by its digest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A bundle that was written.

    :ivar sidecar: the verifier beside it where the bundle is too large to run itself.
    :ivar notes: what its author should know before publishing it.
    """

    path: Path
    size: int
    identity: Digest
    record: Record
    sidecar: Path | None
    notes: tuple[str, ...]


def pack(
    workflow: AnyPath,
    bundle: AnyPath | None = None,
    *,
    form: Form = "default",
    data: Data = "auto",
    platforms: Sequence[str] = (),
    index: bool = True,
    allow: Sequence[str] = (),
    only: Sequence[str] = (),
    workflows: Sequence[str] = (),
    also: Sequence[str] = (),
    device: Device = "auto",
    workers: int | None = None,
    chunk: int | None = None,
    language: str | None = None,
    executor: str = PROCESSES,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Stage the workflow, lock the environment, run from the staged tree on an empty store, and seal one file.

    :param bundle: where the file goes; by default it is named after the workflow, in the working directory.
    :param platforms: platforms besides this one whose wheels a fat bundle carries, in pip's words.
    :param index: whether a package index may be asked for hashes and wheels.
    :param allow: ids of what the gate refused and the author lets through.
    :param only: stages whose products are packed, :param workflows: of these workflows of the document, :param also:
        stages with ``when: manual`` that are carried out too, as in ``run``; a replay runs the same.
    :param device: where passes are computed. :param executor: what computes, as in ``run``.
    :raises UsageError: for platforms without a fat bundle, or a place where nothing can be written.
    :raises WorkflowError: for faults of the document, and for secrets and paths that must not be published.
    """
    from fasthep_archive.bundle.layout import SUFFIX
    from fasthep_archive.bundle.staging import stage

    if platforms and form != "fat":
        raise UsageError("--platform names wheels to carry, and only a fat bundle carries them", hint="say --fat too")
    context = surroundings(cache, workers, progress, executor)
    wanted = Wanted(asked=asked(only, workflows, also), device=device)
    found = selected(checked(document(workflow, language), context, "none", chunk), wanted.asked)
    target = bundle_target(Path(bundle if bundle is not None else f"{found.workflow.name}{SUFFIX}"))
    with in_use(context), workspace(target.parent) as space:
        located = {file.name: file.path for file in found.plan.inputs}
        staged = stage(_with_origins(found), located, space / "staged")
        gate = Gate(found.workflow, context, allow)
        gate.documents(staged)
        prepared = _prepared(
            found.workflow, space / "wheels", context, fat=form == "fat", platforms=platforms, index=index
        )
        again = selected(checked(resolved(staged.resolved), context, "read", chunk), wanted.asked)
        ran = carry_out(again, wanted, empty_store(space), space / "run", context)
        gate.opened(ran)
        contents = _contents(staged, ran, prepared, _left_out(ran.record, form, data), context)
        written = sealed(contents, target, examine=gate.members(prepared.own), progress=context.progress)
        return _packed(written, contents, [*prepared.notes, *gate.unused, *_homeless(contents)])


def _prepared(
    workflow: Workflow, wheels: Path, context: Context, *, fat: bool, platforms: Sequence[str], index: bool
) -> Prepared:
    """Lock this environment, and put the wheels that are carried into the directory ``wheels``."""
    from fasthep_archive.environment.prepare import prepare
    from fasthep_archive.operations.reading import plugins

    return prepare(
        roots(workflow, context.cache),
        wheels,
        fat=fat,
        platforms=platforms,
        index=index,
        cache=context.cache,
        environ=os.environ,
        progress=context.progress,
        plugins=plugins(workflow),
    )


def _contents(staged: Staged, ran: Ran, prepared: Prepared, left_out: frozenset[str], context: Context) -> Contents:
    """Return what the bundle is made from."""
    from fasthep_archive.bundle.seal import Contents

    return Contents(
        staged=staged,
        record=ran.record,
        directory=ran.directory,
        lock=prepared.lock,
        wheels=prepared.wheels,
        left_out=left_out,
        created=context.now,
    )


def _with_origins(found: Checked) -> Workflow:
    """Return the workflow with where the results of its queries came from, as the bundle states it."""
    from fasthep_archive.workflow.snapshots import stating

    origins = [file.origin for file in found.plan.inputs if file.origin is not None]
    return replace(found.workflow, sources=stating(found.workflow.sources, origins))


def _left_out(record: Record, form: Form, data: Data) -> frozenset[str]:
    """Return the members that the bundle refers to without including them."""
    from fasthep_archive.bundle import layout

    large = sum(item.size for item in record.inputs) > EMBEDDED
    kept = {"embed": True, "reference": False, "auto": form == "fat" or (form == "default" and not large)}[data]
    fetchable = (item for item in record.inputs if item.origin is None)  # nobody else has what a database said
    inputs = () if kept else (layout.input_member(item.name) for item in fetchable)
    outputs = (layout.output(item.name) for item in record.outputs if form == "thin" and item.size > LARGE)
    return frozenset([*inputs, *outputs])


def _packed(written: Sealed, contents: Contents, notes: Sequence[str]) -> Packed:
    return Packed(
        path=written.path,
        size=written.size,
        identity=written.identity,
        record=contents.record,
        sidecar=written.sidecar,
        notes=tuple(notes),
    )


def _homeless(contents: Contents) -> Sequence[str]:
    """Return a note where an input is neither included nor has an address."""
    from fasthep_archive.bundle import layout

    away = contents.left_out - contents.references.keys()
    names = sorted(name.removeprefix(layout.INPUTS) for name in away if name.startswith(layout.INPUTS))
    if not names:
        return ()
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    what = "neither included nor found at an address; a reader must have the data"
    return (f"{listed}: {what} (say where in archive.inputs, or pack with --data embed)",)
