"""``run``: from a plan to products and their record."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fasthep_archive import __version__
from fasthep_archive.archive.checking import Checked, checked, document
from fasthep_archive.archive.surroundings import (
    AnyPath,
    chosen_store,
    claimed,
    code_version,
    in_use,
    roots,
    surroundings,
)
from fasthep_archive.context import PROCESSES, Context, Progress

if TYPE_CHECKING:
    from fasthep_archive.execution.asked import Asked
    from fasthep_archive.execution.explain import Explained
    from fasthep_archive.execution.record import Record
    from fasthep_archive.execution.store import Store

Device: TypeAlias = Literal["auto", "cpu", "gpu"]
"""Where passes are computed: on a GPU if there is one, unless a stage says otherwise; or always on the one named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A finished run: its record and the directory of its outputs."""

    record: Record
    directory: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is asked of a run: a part of the document, a device."""

    asked: Asked
    device: Device = "auto"


def run(
    workflow: AnyPath,
    directory: AnyPath,
    *,
    only: Sequence[str] = (),
    workflows: Sequence[str] = (),
    also: Sequence[str] = (),
    device: Device = "auto",
    workers: int | None = None,
    chunk: int | None = None,
    language: str | None = None,
    reuse: bool = True,
    executor: str = PROCESSES,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Ran:
    """Run the workflow and leave its products in ``directory``; whatever the store has is not computed again.

    :param only: stages whose products are wanted; all by default, but for those with ``when: manual``.
    :param workflows: the document's workflows that are wanted, with everything that they need; all by default.
    :param also: stages with ``when: manual`` that are wanted too.
    :param device: where passes are computed.
    :param workers: processes; the number of usable CPUs by default.
    :param chunk: events per partition.
    :param executor: what computes: ``processes``, ``dask=...`` or ``mpi``.
    :raises TaskError: after everything that does not depend on the failed task was written.
    """
    context = surroundings(cache, workers, progress, executor)
    wanted = Wanted(asked=asked(only, workflows, also), device=device)
    with in_use(context), chosen_store(context, reuse=reuse) as store:
        found = selected(checked(document(workflow, language), context, "remembered", chunk), wanted.asked)
        ran = carry_out(found, wanted, store, claimed(Path(directory)), context)
        _remember(found, store)
    return ran


def explain(
    workflow: AnyPath,
    *,
    only: Sequence[str] = (),
    workflows: Sequence[str] = (),
    also: Sequence[str] = (),
    chunk: int | None = None,
    language: str | None = None,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> tuple[Explained, ...]:
    """Return for each task of the workflow whether a run would compute it, and why; run nothing."""
    from fasthep_archive.execution import explain as execution
    from fasthep_archive.execution.ledger import read_ledger

    context = surroundings(cache, None, progress)
    part = asked(only, workflows, also)
    found = selected(checked(document(workflow, language), context, "remembered", chunk), part)
    with chosen_store(context, reuse=True) as store:
        before = read_ledger(store.root, found.workflow)
        return execution.explain(found.plan, found.workflow, store, before, code_version())


def asked(only: Sequence[str] = (), workflows: Sequence[str] = (), also: Sequence[str] = ()) -> Asked:
    """Return what a verb is asked for."""
    from fasthep_archive.execution.asked import Asked

    return Asked(workflows=tuple(workflows), only=tuple(only), also=tuple(also))


def selected(found: Checked, asked: Asked) -> Checked:
    """Return the part of the plan that is asked for."""
    from fasthep_archive.execution import selection

    return Checked(workflow=found.workflow, plan=selection.selected(found.plan, found.workflow, asked))


def carry_out(found: Checked, wanted: Wanted, store: Store, directory: Path, context: Context) -> Ran:
    """Run a selected plan, write its products and the record below ``directory``, and raise what failed."""
    from fasthep_archive.environment.snapshot import take
    from fasthep_archive.execution.devices import Devices
    from fasthep_archive.execution.record import make_record, write_run
    from fasthep_archive.execution.run import run_plan

    begun = time.perf_counter()
    environment = take(os.environ, roots=roots(found.workflow, context.cache), cache=context.cache)
    devices = Devices(wanted=wanted.device, preferred={stage.id: stage.device for stage in found.workflow.stages})
    results = run_plan(found.plan, store, context, devices, environment.packages)
    record = make_record(
        found.workflow,
        found.plan,
        results,
        environment,
        context,
        version=__version__,
        code=code_version(),
        ended=datetime.now(UTC).replace(microsecond=0) if context.measured else context.now,
        seconds=time.perf_counter() - begun,
    )
    write_run(directory, record, results, replacing=not wanted.asked.part)
    results.raise_failures()
    return Ran(record=record, directory=directory)


def _remember(found: Checked, store: Store) -> None:
    """Keep what the run was made of, so that the next one can say what changed."""
    from fasthep_archive.execution.ledger import ledger_of, write_ledger

    write_ledger(store.root, found.workflow, ledger_of(found.plan, found.workflow, code_version()))
