"""``run``: from a plan to products and their record."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive import __version__
from fasthep_archive.archive.checking import Checked, checked, document
from fasthep_archive.archive.surroundings import AnyPath, chosen_store, claimed, code_version, surroundings
from fasthep_archive.context import Context, Progress
from fasthep_archive.errors import UsageError, nearest

if TYPE_CHECKING:
    from fasthep_archive.execution.plan import Plan
    from fasthep_archive.execution.record import Record
    from fasthep_archive.execution.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A finished run: its record and the directory of its outputs."""

    record: Record
    directory: Path


def run(
    workflow: AnyPath,
    directory: AnyPath,
    *,
    only: Sequence[str] = (),
    workers: int | None = None,
    chunk: int | None = None,
    language: str | None = None,
    reuse: bool = True,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Ran:
    """Run the workflow and leave its products in ``directory``; whatever the store has is not computed again.

    :param only: stages whose products are wanted; all by default.
    :param workers: processes; the number of usable CPUs by default.
    :param chunk: events per partition.
    :raises TaskError: after everything that does not depend on the failed task was written.
    """
    context = surroundings(cache, workers, progress)
    found = checked(document(workflow, language), context, "remembered", chunk)
    with chosen_store(context, reuse=reuse) as store:
        return carry_out(found, only, store, claimed(Path(directory)), context)


def carry_out(found: Checked, only: Sequence[str], store: Store, directory: Path, context: Context) -> Ran:
    """Run the plan, write its products and the record below ``directory``, and raise what failed."""
    from fasthep_archive.environment.snapshot import take
    from fasthep_archive.execution.record import make_record, write_run
    from fasthep_archive.execution.run import run_plan

    begun = time.perf_counter()
    environment = take(os.environ)
    plan = _only(found.plan, only)
    kinds = {source.id: source.kind for source in found.workflow.sources}
    results = run_plan(plan, kinds, store, context)
    record = make_record(
        found.workflow,
        plan,
        results,
        environment,
        context,
        version=__version__,
        code=code_version(),
        ended=datetime.now(UTC).replace(microsecond=0) if context.measured else context.now,
        seconds=time.perf_counter() - begun,
    )
    write_run(directory, record, results, replacing=not only)
    results.raise_failures()
    return Ran(record=record, directory=directory)


def _only(plan: Plan, only: Sequence[str]) -> Plan:
    if not only:
        return plan
    known = [merge.stage for merge in plan.merges]
    for stage in only:
        if stage not in known:
            hint = nearest(stage, known) or f"stages with products: {', '.join(known)}"
            raise UsageError(f"--only {stage}: no stage of that name leaves a product", hint=hint)
    return plan.only(only)
