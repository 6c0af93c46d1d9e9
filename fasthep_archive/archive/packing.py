"""``pack``: stage, run from the staged tree, seal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.archive.checking import checked, document, resolved
from fasthep_archive.archive.running import carry_out
from fasthep_archive.archive.sealing import sealed
from fasthep_archive.archive.surroundings import AnyPath, bundle_target, empty_store, surroundings, workspace
from fasthep_archive.context import Progress
from fasthep_archive.digest import Digest

if TYPE_CHECKING:
    from fasthep_archive.execution.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A bundle that was written. ``sidecar`` is the verifier beside it where the bundle is too large to run itself."""

    path: Path
    size: int
    identity: Digest
    record: Record
    sidecar: Path | None


def pack(
    workflow: AnyPath,
    bundle: AnyPath | None = None,
    *,
    workers: int | None = None,
    chunk: int | None = None,
    language: str | None = None,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Stage the workflow, run it from the staged tree on an empty store, and seal everything into one file.

    :param bundle: where the file goes; by default it is named after the workflow, in the working directory.
    """
    from fasthep_archive.bundle.layout import SUFFIX
    from fasthep_archive.bundle.staging import stage

    context = surroundings(cache, workers, progress)
    found = checked(document(workflow, language), context, "none", chunk)
    target = bundle_target(Path(bundle if bundle is not None else f"{found.workflow.name}{SUFFIX}"))
    with workspace(target.parent) as space:
        staged = stage(found.workflow, {file.name: file.path for file in found.plan.inputs}, space / "staged")
        again = checked(resolved(staged.resolved), context, "read", chunk)
        ran = carry_out(again, (), empty_store(space), space / "run", context)
        written = sealed(staged, ran, target, context)
        return Packed(
            path=target,
            size=target.stat().st_size,
            identity=written.identity,
            record=ran.record,
            sidecar=written.sidecar,
        )
