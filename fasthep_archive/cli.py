"""The command line: parse, call one verb, print, exit. The only module that prints.

stdout is data, stderr is for people. Exit status: 0 done / outputs agree, 1 outputs differ, 2 the input is wrong,
3 a task failed, 4 the bundle is damaged or not trusted, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from fasthep_archive import __version__
from fasthep_archive.bundle.form import counted
from fasthep_archive.context import Progress
from fasthep_archive.digest import JSON
from fasthep_archive.errors import ArchiveError, Fault, WorkflowError

if TYPE_CHECKING:
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.execution.record import Record
    from fasthep_archive.report.terminal import Screen

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line and return the exit status. Bugs raise; what a user can mend never does."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.verb(options)
        sys.stdout.flush()
    except ArchiveError as error:
        _tell(f"error: {error}")
        return error.exit_status
    except KeyboardInterrupt:
        kept = "; what was finished is kept, and the same command goes on from there"
        _tell(f"interrupted{kept if options.verb is _run else ''}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our stdout has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fasthep-archive",
        description="Packs a HEP analysis workflow into one file that anyone can verify and run again.",
        epilog="Exit status: 0 done or outputs agree, 1 outputs differ, 2 the input is wrong, 3 a task failed, "
        "4 the bundle is damaged or not trusted, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"fasthep-archive {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_init,
        _add_check,
        _add_run,
        _add_pack,
        _add_inspect,
        _add_verify,
        _add_replay,
        _add_diff,
        _add_hydrate,
        _add_selftest,
    ):
        add(verbs)
    return parser


_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _verb(verbs: _Verbs, name: str, verb: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=verb)
    return parser


def _add_init(verbs: _Verbs) -> None:
    parser = _verb(verbs, "init", _init, "make a directory with a runnable example: workflow, data, metadata")
    parser.add_argument("directory", metavar="DIR", help="a new directory")
    parser.add_argument("--example", default="dimuon", help="which example (default: %(default)s)")


def _add_check(verbs: _Verbs) -> None:
    parser = _verb(verbs, "check", _check, "report every fault of a workflow, with file:line:column; run nothing")
    _workflow_options(parser)
    parser.add_argument("--json", action="store_true", help="print the faults as JSON")


def _add_run(verbs: _Verbs) -> None:
    parser = _verb(verbs, "run", _run, "run a workflow; what was computed before is not computed again")
    _workflow_options(parser)
    parser.add_argument("-o", "--output", metavar="DIR", default="out", help="where products go (default: %(default)s)")
    parser.add_argument(
        "--only", metavar="STAGE", action="append", default=[], help="make this stage's product only; repeatable"
    )
    parser.add_argument("--no-cache", action="store_true", help="compute everything, and keep nothing for later runs")
    _run_options(parser, "the record of the run")


def _add_pack(verbs: _Verbs) -> None:
    parser = _verb(
        verbs, "pack", _pack, "run a workflow from a staged copy and seal it, with its outputs, into one file"
    )
    _workflow_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="the bundle (default: NAME.crate.zip)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--thin", dest="form", action="store_const", const="thin", help="refer to inputs, wheels and large outputs"
    )
    form.add_argument(
        "--fat", dest="form", action="store_const", const="fat", help="include everything: replays without a network"
    )
    parser.set_defaults(form="default")
    parser.add_argument(
        "--data",
        choices=("auto", "embed", "reference"),
        default="auto",
        help="include inputs, or refer to them (auto: include up to 50 MB in all)",
    )
    parser.add_argument(
        "--platform",
        metavar="TAG",
        action="append",
        default=[],
        help="with --fat: carry the wheels of this platform too, such as win_amd64; repeatable",
    )
    parser.add_argument("--no-index", action="store_true", help="ask no package index for hashes and wheels")
    parser.add_argument(
        "--allow", metavar="ID", action="append", default=[], help="let through what packing refused under this id"
    )
    _run_options(parser, "path, size and identity of the bundle")


def _add_inspect(verbs: _Verbs) -> None:
    parser = _verb(verbs, "inspect", _inspect, "show what a bundle holds")
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle, or the directory that it was unpacked to")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _add_verify(verbs: _Verbs) -> None:
    parser = _verb(verbs, "verify", _verify, "check every byte of a bundle; runs nothing from it")
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle, or the directory that it was unpacked to")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing unless something is wrong")


def _add_replay(verbs: _Verbs) -> None:
    parser = _verb(verbs, "replay", _replay, "run a bundle again and compare every output with the recorded one")
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle, or the directory that it was unpacked to")
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="replay", help="where the new outputs go (default: %(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="you trust this bundle: don't ask before it runs")
    parser.add_argument(
        "--env",
        choices=("auto", "current", "locked"),
        default="auto",
        help="run in this environment, in the locked one rebuilt, or in this one if it equals the lock (default: auto)",
    )
    parser.add_argument("--python", metavar="PATH", help="the interpreter to rebuild the environment with")
    parser.add_argument(
        "--only", metavar="STAGE", action="append", default=[], help="replay this stage's product only; repeatable"
    )
    parser.add_argument("--data", metavar="DIR", help="a folder with the inputs that the bundle does not include")
    parser.add_argument("--fetch", action="store_true", help="fetch inputs that are not included from their addresses")
    _run_options(parser, "the verdicts")


def _add_diff(verbs: _Verbs) -> None:
    parser = _verb(verbs, "diff", _diff, "show what differs between two bundles, most likely cause first")
    parser.add_argument("before", metavar="A", help="a bundle, or the directory that it was unpacked to")
    parser.add_argument("after", metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")


def _add_hydrate(verbs: _Verbs) -> None:
    text = "write a bundle that includes the inputs and wheels which this one refers to, every digest verified"
    parser = _verb(verbs, "hydrate", _hydrate, text)
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle, or the directory that it was unpacked to")
    parser.add_argument("-o", "--output", metavar="FILE", help="the new bundle (default: NAME.fat.crate.zip)")
    parser.add_argument("--wheels", metavar="DIR", help="a folder to take wheels from, before an index is asked")
    parser.add_argument("--data", metavar="DIR", help="a folder to take inputs from, before their addresses")
    parser.add_argument("--no-index", action="store_true", help="ask no package index")
    parser.add_argument("--json", action="store_true", help="print path, size and identity of the bundle as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no summary")


def _add_selftest(verbs: _Verbs) -> None:
    parser = _verb(verbs, "selftest", _selftest, "check that this machine computes what the numeric profile says")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _workflow_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW", help="the workflow document (YAML)")
    parser.add_argument("--language", metavar="VERSION", help="read the document as this version of the language")


def _run_options(parser: argparse.ArgumentParser, result: str) -> None:
    parser.add_argument("-j", "--workers", metavar="N", type=int, help="worker processes (default: the usable CPUs)")
    parser.add_argument("--chunk", metavar="EVENTS", type=int, help="events per partition (default: 500000)")
    parser.add_argument("--json", action="store_true", help=f"print {result} as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no summary")


def _init(options: argparse.Namespace) -> int:
    from fasthep_archive import archive

    directory = archive.init(options.directory, example=options.example)
    _tell(f"{directory} is ready. Next:")
    _tell(f"  cd {shlex.quote(str(directory))}")
    _tell("  fasthep-archive run workflow.yaml -o out")
    _tell(f"  fasthep-archive pack workflow.yaml -o {shlex.quote(f'{directory.name}.crate.zip')}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.report import terminal

    try:
        checked = archive.check(options.workflow, language=options.language)
    except WorkflowError as error:
        if options.json:
            _print_json([_fault(fault) for fault in error.faults])
        else:
            _tell(terminal.faults(error.faults, _screen(sys.stderr)))
        return error.exit_status
    for warning in checked.plan.warnings:
        _tell(f"warning: {warning}")
    outputs = [name for merge in checked.plan.merges for name in merge.product.outputs]
    if options.json:
        _print_json([])
    else:
        datasets = ", ".join(dataset.name for dataset in checked.workflow.datasets)
        partitions = counted(len(checked.plan.passes), "partition")
        _tell(f"no faults: {counted(len(outputs), 'output')} from {datasets} in {partitions}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from fasthep_archive import archive

    progress = _progress(options)
    try:
        ran = archive.run(
            options.workflow,
            options.output,
            only=options.only,
            workers=options.workers,
            chunk=options.chunk,
            language=options.language,
            reuse=not options.no_cache,
            progress=progress,
        )
    finally:
        progress.close()
    _tell_run(ran.record, str(ran.directory), options)
    return 0


def _pack(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.publish.readiness import readiness
    from fasthep_archive.report.terminal import size

    progress = _progress(options)
    try:
        packed = archive.pack(
            options.workflow,
            options.output,
            form=options.form,
            data=options.data,
            platforms=options.platform,
            index=not options.no_index,
            allow=options.allow,
            workers=options.workers,
            chunk=options.chunk,
            language=options.language,
            progress=progress,
        )
    finally:
        progress.close()
    if options.json:
        _print_json(
            {
                "bundle": str(packed.path),
                "size": packed.size,
                "identity": packed.identity,
                "notes": list(packed.notes),
            }
        )
    elif not options.quiet:
        for note in packed.notes:
            _tell(f"note: {note}")
        for advice in readiness(packed.record.workflow.archive.metadata):
            _tell(f"before you publish: {advice}")
        _tell(f"{packed.path}: {counted(len(packed.record.outputs), 'output')}, {size(packed.size)}")
        _tell(f"identity {packed.identity}")
        _tell_sidecar(packed.sidecar)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.report import inspection, terminal

    with archive.open_bundle(options.bundle) as bundle:
        if options.json:
            _print_json(inspection.described(bundle))
        else:
            print(terminal.contents(inspection.contents(bundle), _screen(sys.stdout)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.bundle import verifier

    progress = _progress(options)
    try:
        found = archive.verify(options.bundle, progress=progress)
    finally:
        progress.close()
    if options.json:
        _print_json(verifier.result(found, options.bundle))
    elif not found.sound or not options.quiet:
        for problem in found.problems:
            _tell(str(problem))
        if not found.sound:
            _tell(f"\nhint: {verifier.HINT}")
        print(verifier.verdict(found, options.bundle))
    return 0 if found.sound else verifier.DAMAGED


def _replay(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.report import terminal

    progress = _progress(options)
    try:
        replayed = archive.replay(
            options.bundle,
            options.output,
            consent=lambda bundle: options.yes or _agreed(bundle),
            only=options.only,
            env=options.env,
            python=options.python,
            data=options.data,
            fetch=options.fetch,
            workers=options.workers,
            chunk=options.chunk,
            progress=progress,
        )
    finally:
        progress.close()
    if options.json:
        _print_json(replayed.report.to_json())
    else:
        print(terminal.verdicts(replayed.report, _screen(sys.stdout)))
    return replayed.report.exit_status


def _diff(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.report import diff

    found = archive.diff(options.before, options.after)
    if options.json:
        _print_json(found.to_json())
    else:
        print(diff.diff(found, _screen(sys.stdout)))
    return found.exit_status


def _hydrate(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.report.terminal import size

    progress = _progress(options)
    try:
        hydrated = archive.hydrate(
            options.bundle,
            options.output,
            wheels=options.wheels,
            data=options.data,
            index=not options.no_index,
            progress=progress,
        )
    finally:
        progress.close()
    if options.json:
        _print_json(
            {
                "bundle": str(hydrated.path),
                "size": hydrated.size,
                "identity": hydrated.identity,
                "gained": list(hydrated.gained),
            }
        )
    elif not options.quiet:
        _tell(f"{hydrated.path}: {counted(len(hydrated.gained), 'file')} added, {size(hydrated.size)}")
        _tell(f"identity {hydrated.identity}, as before")
        _tell_sidecar(hydrated.sidecar)
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from fasthep_archive import archive
    from fasthep_archive.report import selftest

    tested = archive.selftest()
    if options.json:
        _print_json(tested.to_json())
    else:
        print(selftest.selftest(tested.found, tested.seconds, _screen(sys.stdout)))
    return tested.exit_status


def _tell_sidecar(sidecar: Path | None) -> None:
    if sidecar is not None:
        _tell(f"too large for Python to run: publish {sidecar}, its verifier, with it")


def _agreed(bundle: Bundle) -> bool:
    """Ask on the terminal whether to run the bundle; nobody to ask means no."""
    _tell(f"{bundle.path} is intact: {bundle.summary.title!r}, identity {bundle.summary.identity}")
    if not sys.stdin.isatty():
        return False
    print("Run it on this machine? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell_run(record: Record, directory: str, options: argparse.Namespace) -> None:
    from fasthep_archive.report import terminal

    if options.json:
        _print_json(record.to_json())
        return
    if options.quiet:
        return
    computed = sum(task.done is not None for task in record.tasks)
    summary = terminal.Summary(
        outputs=tuple((item.name, item.size) for item in record.outputs),
        directory=directory,
        computed=computed,
        reused=len(record.tasks) - computed,
        events=sum(item.events for item in record.inputs),
        seconds=record.seconds,
        warnings=record.warnings,
    )
    _tell(terminal.summary(summary, _screen(sys.stderr)))


def _fault(fault: Fault) -> dict[str, JSON]:
    where = fault.where
    return {
        "message": fault.message,
        "hint": fault.hint,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
    }


def _progress(options: argparse.Namespace) -> Progress:
    from fasthep_archive.report.terminal import progress

    return progress(sys.stderr, quiet=options.quiet, terminal=sys.stderr.isatty())


def _screen(stream: TextIO) -> Screen:
    """Return what is known of where ``stream`` goes."""
    from fasthep_archive.report.terminal import Screen

    terminal = stream.isatty()
    return Screen(
        width=shutil.get_terminal_size().columns,
        terminal=terminal,
        colour=terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        unicode="utf" in (stream.encoding or "").lower(),
    )


def _print_json(value: JSON) -> None:
    print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
