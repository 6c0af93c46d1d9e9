"""``replay``: run a bundle again, here or in the environment that it locks, and compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fasthep_archive.archive.absent import provide, refuse_unobtainable
from fasthep_archive.archive.checking import Checked, checked, resolved
from fasthep_archive.archive.opening import open_bundle
from fasthep_archive.archive.running import Device, Ran, Wanted, asked, carry_out, selected
from fasthep_archive.archive.sealing import comparable
from fasthep_archive.archive.surroundings import (
    AnyPath,
    claimed,
    code_version,
    empty_store,
    in_use,
    surroundings,
    workspace,
)
from fasthep_archive.context import PROCESSES, Context, NoProgress, Progress
from fasthep_archive.errors import ArchiveError, BundleError, RebuildError, UsageError, WorkflowError
from fasthep_archive.files import Stretch

if TYPE_CHECKING:
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.bundle.rebuild import Built
    from fasthep_archive.execution.record import Record, RecordedOutput
    from fasthep_archive.verification.verdict import How, Report

Env: TypeAlias = Literal["auto", "current", "locked"]
"""Where a replay runs: in this environment; in the one that the bundle locks, rebuilt; or in this one if its packages,
its Python and its code are the locked ones, and in the rebuilt one otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What is asked of a replay, here or in another environment."""

    wanted: Wanted
    workers: int | None
    chunk: int | None
    data: Path | None
    fetch: bool


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
    env: Env = "auto",
    python: str | None = None,
    data: AnyPath | None = None,
    fetch: bool = False,
    only: Sequence[str] = (),
    device: Device = "auto",
    workers: int | None = None,
    chunk: int | None = None,
    executor: str = PROCESSES,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Run ``bundle`` again on an empty store and compare every output with the recorded one.

    :param consent: asked once the bundle has been verified and before anything of it runs.
    :param env: where it runs. :param python: the interpreter to rebuild the environment on.
    :param data: a folder with the inputs that the bundle does not include.
    :param fetch: whether these may be fetched from their addresses.
    :param only: stages whose products are replayed; all by default. :param device: where passes are computed.
    :param executor: what computes, as in ``run``; in a rebuilt environment it has to be installed too.
    :raises BundleError: if it is damaged, or consent is refused.
    :raises RebuildError: if the environment that it locks can't be built here.
    :raises TaskError: if a stage fails.
    """
    context = surroundings(cache, workers, progress, executor)
    wishes = Wishes(
        wanted=Wanted(asked=asked(only), device=device),
        workers=workers,
        chunk=chunk,
        data=None if data is None else Path(data),
        fetch=fetch,
    )
    with open_bundle(bundle, payload=True, progress=context.progress) as opened:
        context.progress.close()
        if not consent(opened):
            raise BundleError("nothing was run: you did not agree to run this bundle", hint="say --yes if you trust it")
        refuse_unobtainable(opened, wishes.data, fetch=fetch)
        new = not Path(directory).exists()
        target = claimed(Path(directory))
        with _left_as_it_was(target, new=new):
            if env == "locked" or (env == "auto" and not _as_locked(opened, context)):
                return _replayed_there(opened, target, _rebuilt(opened, python, context), wishes, context)
            return _replayed_here(opened, target, wishes, context)


def _replayed_here(opened: Bundle, target: Path, wishes: Wishes, context: Context) -> Replayed:
    """Run what the bundle was asked for in this process's environment, and judge its outputs."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.execution.record import asked_of

    with in_use(context), workspace(target) as space:
        opened.extract(
            [layout.RESOLVED, *opened.names(layout.CODE), *opened.names(layout.INPUTS)],
            space,
            progress=context.progress,
        )
        provide(opened, space, wishes.data, fetch=wishes.fetch, context=context)
        context.progress.close()
        found = _checked(opened, space / layout.RESOLVED, context, wishes.chunk)
        found = selected(found, asked_of(opened.json(layout.RUN)))
        if wishes.wanted.asked.only:
            found = selected(found, wishes.wanted.asked)
        ran = carry_out(found, wishes.wanted, empty_store(space), target, context)
    return _compared(opened, ran, wishes.wanted.asked.only, context)


def _checked(opened: Bundle, document: Path, context: Context, chunk: int | None) -> Checked:
    """Return workflow and plan of a bundle.

    :raises UsageError: if its document can't be understood here, where packages that it needs are not installed.
    """
    from fasthep_archive.bundle import layout
    from fasthep_archive.environment.lock import Lock
    from fasthep_archive.environment.present import lacking

    try:
        return checked(resolved(document), context, "read", chunk)
    except WorkflowError as error:
        missing = lacking(Lock.of(opened.read(layout.LOCK)))
        if not missing:
            raise
        hint = "--env auto builds the environment that the bundle locks; it carries the wheels of its plug-ins"
        message = f"it needs packages that are not installed here: {', '.join(missing)} ({error.faults[0].message})"
        raise UsageError(message, hint=hint) from error


def _compared(opened: Bundle, ran: Ran, only: Sequence[str], context: Context) -> Replayed:
    """Judge the outputs of a replay, and leave the report beside them."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.environment.differences import differences
    from fasthep_archive.environment.snapshot import TOOL, Snapshot
    from fasthep_archive.execution.record import REPORT, write_text
    from fasthep_archive.operations.reading import outside_profile
    from fasthep_archive.verification.explain import explained
    from fasthep_archive.verification.policy import verdicts
    from fasthep_archive.verification.verdict import RanIn

    then = Snapshot.from_json(opened.json(layout.SNAPSHOT))
    recorded = [
        comparable(item, partial(opened.stretch, layout.output(item.name)) if item.included else None)
        for item in opened.summary.outputs
        if not only or item.stage in only
    ]
    outside = outside_profile(ran.record.workflow)

    def exact(item: RecordedOutput) -> bool:
        return item.stage not in outside and item.kind != "picture"

    replayed = [
        comparable(item, partial(Stretch.whole, ran.directory / item.name), exact=exact(item))
        for item in ran.record.outputs
    ]
    judged = verdicts(recorded, replayed, ran.record.workflow.archive.verify)
    found = differences(
        then, ran.record.environment, hashes=({TOOL: (f"code:{code_of(opened)}",)}, {TOOL: (f"code:{code_version()}",)})
    )
    report = explained(judged, found, ran_in=RanIn.of(ran.record.environment, _came(context)))
    write_text(ran.directory / REPORT, report.to_json())
    return Replayed(report=report, record=ran.record, directory=ran.directory)


def _came(context: Context) -> How:
    """Return how the environment of this process came to be there: bundles rebuild theirs in the cache."""
    from fasthep_archive.bundle.rebuild import ENVIRONMENTS

    rebuilt = Path(sys.prefix).resolve().is_relative_to((context.cache / ENVIRONMENTS).resolve())
    return "rebuilt from the lock" if rebuilt else "as installed"


def _as_locked(opened: Bundle, context: Context) -> bool:
    """Return whether this environment is the locked one: packages, minor version of Python, and code of this tool."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.environment.lock import Lock
    from fasthep_archive.environment.present import unlike
    from fasthep_archive.environment.snapshot import TOOL

    found = list(unlike(Lock.of(opened.read(layout.LOCK))))
    if not found and code_of(opened) != code_version():
        found = [f"the code of {TOOL} is {code_version()} here, {code_of(opened)} made the outputs"]
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        context.progress.message(f"environment: this is not the locked one ({'; '.join(found[:3])}{more})")
    return not found


def code_of(opened: Bundle) -> str:
    """Return version and digest of the code that made the outputs."""
    from fasthep_archive.bundle import layout

    engine = opened.json(layout.ENGINE)
    return str(engine["code"]) if isinstance(engine, Mapping) and "code" in engine else "unknown"


@contextmanager
def _left_as_it_was(directory: Path, *, new: bool) -> Iterator[None]:
    """Remove a ``new`` directory if something goes wrong and nothing is in it."""
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                directory.rmdir()
        raise


def _rebuilt(opened: Bundle, python: str | None, context: Context) -> Built:
    """Rebuild the environment that the bundle locks."""
    from fasthep_archive.bundle.interpreters import CannotRebuild
    from fasthep_archive.bundle.rebuild import build

    try:
        return build(
            opened.package,
            opened.verification,
            context.cache,
            python=python,
            environ=os.environ,
            say=lambda line: context.progress.message(f"environment: {line}"),
        )
    except CannotRebuild as error:
        here = "" if "--env current" in error.hint else "; '--env current' replays here and says what differs"
        raise RebuildError(error.message, hint=error.hint + here) from error


def _replayed_there(opened: Bundle, target: Path, built: Built, wishes: Wishes, context: Context) -> Replayed:
    """Let the bundle's own version of this tool replay in the rebuilt environment, and read what it left."""
    _run_there(built.python, opened.path, target, wishes, context)
    return _left(opened, target)


def _run_there(python: str, bundle: Path, target: Path, wishes: Wishes, context: Context) -> None:
    """Let the tool in another environment replay; it shows its own progress."""
    from fasthep_archive.execution.record import REPORT

    command = [python, "-I", "-m", "fasthep_archive", "replay", str(bundle), "--output", str(target)]
    command += ["--env", "current", "--yes", "--json"]
    command += ["--quiet"] if isinstance(context.progress, NoProgress) else []
    command += ["--fetch"] if wishes.fetch else []
    for name, value in (("--workers", wishes.workers), ("--chunk", wishes.chunk), ("--data", wishes.data)):
        command += [] if value is None else [name, str(value)]
    command += [] if context.executor == PROCESSES else ["--executor", context.executor]
    command += [] if wishes.wanted.device == "auto" else ["--device", wishes.wanted.device]
    for stage in wishes.wanted.asked.only:
        command += ["--only", stage]
    context.progress.close()
    done = subprocess.run(  # noqa: S603 - no shell; it was verified, and agreed to
        command,
        env={**os.environ, "FASTHEP_ARCHIVE_CACHE": str(context.cache.absolute())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in (0, 1) or not (target / REPORT).exists():  # a crash of Python's is 1, too
        error = ArchiveError("the replay in the rebuilt environment failed", hint="what it said is above")
        error.exit_status = done.returncode if done.returncode > 0 else 3
        raise error


def _left(opened: Bundle, target: Path) -> Replayed:
    """Return the replay that another process left in ``target``."""
    from dataclasses import replace

    from fasthep_archive.bundle import layout
    from fasthep_archive.execution.record import RECORD, REPORT, read_record, write_text
    from fasthep_archive.verification.verdict import RanIn, Report
    from fasthep_archive.workflow.document import from_json
    from fasthep_archive.workflow.model import build

    workflow, _ = build(from_json(opened.json(layout.RESOLVED), name=Path(layout.RESOLVED).name))
    record = read_record(json.loads((target / RECORD).read_bytes()), workflow)
    report = Report.from_json(json.loads((target / REPORT).read_bytes()))
    report = replace(report, ran_in=RanIn.of(record.environment, "rebuilt from the lock"))
    write_text(target / REPORT, report.to_json())
    return Replayed(report=report, record=record, directory=target)
