"""``replay``: run a bundle again, and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.archive.checking import checked, resolved
from fasthep_archive.archive.opening import open_bundle
from fasthep_archive.archive.running import Ran, carry_out
from fasthep_archive.archive.sealing import comparable
from fasthep_archive.archive.surroundings import AnyPath, claimed, empty_store, surroundings, workspace
from fasthep_archive.context import Context, Progress
from fasthep_archive.errors import BundleError

if TYPE_CHECKING:
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.execution.record import Record
    from fasthep_archive.verification.verdict import Report
    from fasthep_archive.workflow.document import Document


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """A replay: the verdicts, what differs in the environment, and the new run."""

    report: Report
    record: Record
    directory: Path


def replay(
    bundle: AnyPath,
    directory: AnyPath,
    *,
    consent: Callable[[Bundle], bool],
    workers: int | None = None,
    chunk: int | None = None,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Run ``bundle`` again on an empty store and compare every output with the recorded one.

    :param consent: asked once the bundle has been verified and before anything of it runs.
    :raises BundleError: if it is damaged, or consent is refused.
    :raises TaskError: if a stage fails.
    """
    context = surroundings(cache, workers, progress)
    with open_bundle(bundle, payload=True, progress=context.progress) as opened:
        context.progress.close()
        if not consent(opened):
            raise BundleError("nothing was run: you did not agree to run this bundle", hint="say --yes if you trust it")
        target = claimed(Path(directory))
        with workspace(target) as space:
            found = checked(_extracted(opened, space, context), context, "read", chunk)
            ran = carry_out(found, (), empty_store(space), target, context)
        return _compared(opened, ran)


def _extracted(opened: Bundle, space: Path, context: Context) -> Document:
    """Unpack what a run needs, and return the resolved document of it."""
    from fasthep_archive.bundle import layout

    absent = [name for name in opened.referenced if name.startswith(layout.INPUTS)]
    if absent:
        raise BundleError(f"the bundle refers to {', '.join(absent)} without holding it")
    opened.extract([layout.RESOLVED, *opened.names(layout.INPUTS)], space, progress=context.progress)
    context.progress.close()
    return resolved(space / layout.RESOLVED)


def _compared(opened: Bundle, ran: Ran) -> Replayed:
    """Judge the outputs of a replay, and leave the report beside them."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.environment.differences import differences
    from fasthep_archive.environment.snapshot import Snapshot
    from fasthep_archive.execution.record import REPORT, write_text
    from fasthep_archive.verification.explain import explained
    from fasthep_archive.verification.policy import verdicts

    then = Snapshot.from_json(opened.json(layout.SNAPSHOT))
    recorded = [
        comparable(item, partial(opened.read, layout.output(item.name)) if item.included else None)
        for item in opened.summary.outputs
    ]
    replayed = [comparable(item, (ran.directory / item.name).read_bytes) for item in ran.record.outputs]
    judged = verdicts(recorded, replayed, ran.record.workflow.archive.verify)
    report = explained(judged, differences(then, ran.record.environment))
    write_text(ran.directory / REPORT, report.to_json())
    return Replayed(report=report, record=ran.record, directory=ran.directory)
