"""What each command does: call the verb of the same name, and tell what came of it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from fasthep_archive.bundle.form import counted
from fasthep_archive.cli.output import (
    agreed,
    described,
    print_json,
    print_json_line,
    progress_bar,
    screen,
    tell,
    tell_run,
    tell_sidecar,
)
from fasthep_archive.errors import ArchiveError, WorkflowError

if TYPE_CHECKING:
    from fasthep_archive.workflow.departures import Departure


class _Selection(TypedDict):
    only: list[str]
    workflows: list[str]
    also: list[str]


class _Computing(TypedDict):
    device: Literal["auto", "cpu", "gpu"]
    executor: str
    workers: int | None
    chunk: int | None


def _selection(options: argparse.Namespace) -> _Selection:
    """Return which part of a document is wanted."""
    return {"only": options.only, "workflows": options.workflows, "also": options.also}


def _computing(options: argparse.Namespace) -> _Computing:
    """Return where and how it is computed."""
    return {
        "device": options.device,
        "executor": options.executor,
        "workers": options.workers,
        "chunk": options.chunk,
    }


def init(options: argparse.Namespace) -> int:
    """Make a directory with an example."""
    from fasthep_archive import archive

    directory = archive.init(options.directory, example=options.example)
    tell(f"{directory} is ready. Next:")
    tell(f"  cd {shlex.quote(str(directory))}")
    tell("  fasthep-archive run workflow.yaml -o out")
    tell(f"  fasthep-archive pack workflow.yaml -o {shlex.quote(f'{directory.name}.crate.zip')}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Report all faults of a workflow."""
    from fasthep_archive import archive
    from fasthep_archive.report import terminal
    from fasthep_archive.workflow.departures import departures

    try:
        checked = archive.check(options.workflow, language=options.language)
    except WorkflowError as error:
        if options.json:
            print_json([described(fault) for fault in error.faults])
        else:
            tell(terminal.faults(error.faults, screen(sys.stderr)))
        return error.exit_status
    for warning in checked.plan.warnings:
        tell(f"warning: {warning}")
    outputs = checked.plan.outputs
    if options.json:
        print_json([])
    else:
        datasets = ", ".join(dataset.name for dataset in checked.workflow.datasets)
        partitions = counted(len(checked.plan.passes), "partition")
        tell(f"no faults: {counted(len(outputs), 'output')} from {datasets} in {partitions}")
        _tell_departures(departures(checked.workflow), options)
    return 0


def _tell_departures(found: Sequence[Departure], options: argparse.Namespace) -> None:
    """Tell where FAST-HEP would have given something else, or in how many places."""
    if found and not options.departures:
        places = counted(len(found), "place")
        tell(f"FAST-HEP 2026.10 would give something else in {places}: --departures lists them")
    for departure in found if options.departures else ():
        tell(f"differs from FAST-HEP 2026.10: {departure}")


def run(options: argparse.Namespace) -> int:
    """Run a workflow, or say what a run would do."""
    from fasthep_archive import archive

    if options.explain:
        return _explain(options)
    with progress_bar(options) as progress:
        ran = archive.run(
            options.workflow,
            options.output,
            **_selection(options),
            **_computing(options),
            language=options.language,
            reuse=not options.no_cache,
            progress=progress,
        )
    tell_run(ran.record, str(ran.directory), options)
    return 0


def _explain(options: argparse.Namespace) -> int:
    """Say for every task whether a run would compute it, and why."""
    from fasthep_archive import archive
    from fasthep_archive.report import explanation

    with progress_bar(options) as progress:
        tasks = archive.explain(
            options.workflow,
            **_selection(options),
            chunk=options.chunk,
            language=options.language,
            progress=progress,
        )
    if options.json:
        print_json(explanation.as_json(tasks))
    else:
        print(explanation.tasks(tasks, screen(sys.stdout)))
    return 0


def pack(options: argparse.Namespace) -> int:
    """Pack a workflow."""
    from fasthep_archive import archive
    from fasthep_archive.publish.readiness import readiness
    from fasthep_archive.report.terminal import size

    with progress_bar(options) as progress:
        packed = archive.pack(
            options.workflow,
            options.output,
            form=options.form,
            data=options.data,
            platforms=options.platforms,
            index=not options.no_index,
            allow=options.allow,
            **_selection(options),
            **_computing(options),
            language=options.language,
            progress=progress,
        )
    if options.json:
        print_json(
            {
                "bundle": str(packed.path),
                "size": packed.size,
                "identity": packed.identity,
                "notes": list(packed.notes),
            }
        )
    elif not options.quiet:
        for note in packed.notes:
            tell(f"note: {note}")
        for advice in readiness(packed.record.workflow.archive.metadata):
            tell(f"before you publish: {advice}")
        tell(f"{packed.path}: {counted(len(packed.record.outputs), 'output')}, {size(packed.size)}")
        tell(f"identity {packed.identity}")
        tell_sidecar(packed.sidecar)
    return 0


def inspect(options: argparse.Namespace) -> int:
    """Show what a bundle holds."""
    from fasthep_archive import archive
    from fasthep_archive.report import inspection, terminal

    with archive.open_bundle(options.bundle) as bundle:
        if options.json:
            print_json(inspection.described(bundle))
        else:
            print(terminal.contents(inspection.contents(bundle), screen(sys.stdout)))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check every byte of each bundle; one that is damaged, or can't be read, doesn't stop the next."""
    from fasthep_archive.bundle import verifier

    several = len(options.bundles) > 1
    statuses = [_verified(bundle, options, several=several) for bundle in options.bundles]
    if verifier.DAMAGED in statuses and not options.json:
        tell(f"\nhint: {verifier.HINT}")
    if several and (any(statuses) or not options.quiet):
        tell(f"{statuses.count(0)} of {len(statuses)} bundles are sound")
    return max(statuses)


def _verified(bundle: str, options: argparse.Namespace, *, several: bool) -> int:
    """Check one bundle, tell what was found, and return the status; an error is raised if it is the only one."""
    from fasthep_archive import archive
    from fasthep_archive.bundle import verifier

    try:
        with progress_bar(options) as progress:
            found = archive.verify(bundle, progress=progress)
    except ArchiveError as error:
        if not several:
            raise
        if options.json:
            print_json_line({"bundle": bundle, "error": error.message})
        tell(f"error: {error}")
        return error.exit_status
    if options.json:
        (print_json_line if several else print_json)(verifier.result(found, bundle))
    elif not found.sound or not options.quiet:
        for problem in found.problems:
            tell(f"{bundle}: {problem}" if several else str(problem))
        print(verifier.verdict(found, bundle), flush=True)
    return 0 if found.sound else verifier.DAMAGED


def replay(options: argparse.Namespace) -> int:
    """Run a bundle again, and compare."""
    from fasthep_archive import archive
    from fasthep_archive.report import terminal

    with progress_bar(options) as progress:
        replayed = archive.replay(
            options.bundle,
            options.output,
            consent=lambda bundle: options.yes or agreed(bundle),
            only=options.only,
            env=options.env,
            python=options.python,
            data=options.data,
            fetch=options.fetch,
            **_computing(options),
            progress=progress,
        )
    if options.json:
        print_json(replayed.report.to_json())
    else:
        print(terminal.verdicts(replayed.report, screen(sys.stdout)))
    return replayed.report.exit_status


def diff(options: argparse.Namespace) -> int:
    """Show what differs between two bundles."""
    from fasthep_archive import archive
    from fasthep_archive.report import diff

    found = archive.diff(options.before, options.after)
    if options.json:
        print_json(found.to_json())
    else:
        print(diff.diff(found, screen(sys.stdout)))
    return found.exit_status


def hydrate(options: argparse.Namespace) -> int:
    """Complete a bundle."""
    from fasthep_archive import archive
    from fasthep_archive.report.terminal import size

    with progress_bar(options) as progress:
        hydrated = archive.hydrate(
            options.bundle,
            options.output,
            wheels=options.wheels,
            data=options.data,
            index=not options.no_index,
            progress=progress,
        )
    if options.json:
        print_json(
            {
                "bundle": str(hydrated.path),
                "size": hydrated.size,
                "identity": hydrated.identity,
                "gained": list(hydrated.gained),
            }
        )
    elif not options.quiet:
        tell(f"{hydrated.path}: {counted(len(hydrated.gained), 'file')} added, {size(hydrated.size)}")
        tell(f"identity {hydrated.identity}, as before")
        tell_sidecar(hydrated.sidecar)
    return 0


def graph(options: argparse.Namespace) -> int:
    """Draw a workflow."""
    from fasthep_archive import archive

    drawn = archive.graph(options.workflow, options.output, language=options.language)
    if options.output is None:
        print(drawn, end="")
    else:
        tell(f"{options.output} is drawn")
    return 0


def cache_list(options: argparse.Namespace) -> int:
    """Show what the cache holds."""
    from fasthep_archive import archive
    from fasthep_archive.report import caches

    areas = archive.cached()
    if options.json:
        print_json(caches.as_json(areas))
    else:
        print(caches.areas(areas, screen(sys.stdout)))
    return 0


def cache_prune(options: argparse.Namespace) -> int:
    """Make the cache smaller."""
    from fasthep_archive import archive
    from fasthep_archive.report.terminal import size

    keep = None if options.keep is None else int(options.keep * 1e6)
    removed = archive.prune(days=options.days, keep=keep, areas=options.areas)
    if options.json:
        print_json([{"area": item.area, "path": str(item.path), "size": item.size} for item in removed])
    else:
        tell(f"{counted(len(removed), 'item')} removed, {size(sum(item.size for item in removed))}")
    return 0


def migrate(options: argparse.Namespace) -> int:
    """Bring a document to the newest version of the language."""
    from fasthep_archive import archive

    migrated = archive.migrate(options.workflow, options.output, datasets=options.datasets, prefix=options.prefix)
    for note in migrated.notes:
        tell(f"note: {note}")
    if options.output is None:
        print(migrated.text, end="")
    else:
        tell(f"{options.output} is ready: fasthep-archive check {shlex.quote(options.output)}")
    return 0


def plugins(options: argparse.Namespace) -> int:
    """List plug-ins."""
    from fasthep_archive import archive
    from fasthep_archive.report import plugins

    found = archive.plugins(ours=options.all)
    if options.json:
        print_json(plugins.as_json(found))
    else:
        print(plugins.plugins(found, screen(sys.stdout)))
    return 0


def selftest(options: argparse.Namespace) -> int:
    """Check how this machine computes."""
    from fasthep_archive import archive
    from fasthep_archive.report import selftest

    tested = archive.selftest()
    if options.json:
        print_json(tested.to_json())
    else:
        print(selftest.selftest(tested.found, tested.devices, tested.seconds, screen(sys.stdout)))
    return tested.exit_status
