"""The program that every bundle carries: ``python3 NAME.crate.zip``. Its command line, and what it tells people.

``verify`` and ``info`` need the standard library alone, Python 3.8 or newer. ``replay`` builds the locked environment
and hands over to the version of fasthep-archive in it. ``__main__.py`` in a bundle is this module and those that it
imports, in one file (:func:`fasthep_archive.bundle.program.program`).

stdout is data, stderr is for people.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fasthep_archive.bundle.claims import CODE, RESOLVED
from fasthep_archive.bundle.consent import what_runs
from fasthep_archive.bundle.form import LIMITS, Damage, printable
from fasthep_archive.bundle.interpreters import CannotRebuild
from fasthep_archive.bundle.rebuild import Built, build, default_cache
from fasthep_archive.bundle.source import Tree, Zip, content, opened
from fasthep_archive.bundle.strictjson import strict_json
from fasthep_archive.bundle.verifier import DAMAGED, HINT, Verification, examine, result, verdict

WRONG = 2
"""Exit status: the arguments are wrong, or the environment can't be built here."""
INTERRUPTED = 130

_AWAY = "name a folder that has them with --data DIR, or say --fetch to fetch them from their addresses, if any"
_VERIFY = "check every byte; changes, fetches and runs nothing (what is done without a command)"
_INFO = "show what the bundle holds, without reading all of it"
_REPLAY = "build the environment, run the analysis again in it, and compare every output"
_DESCRIPTION = """\
{bundle} is a bundle of fasthep-archive: an analysis with its code, its
environment, its outputs, and its inputs or where they are. This program is part of
it, and needs Python 3.8 or newer and nothing else."""
_EXAMPLES = """\
examples:
  {program}                       is it as it was published?
  {program} info                  what is in it?
  {program} replay -o again       run it again, with the new outputs in 'again'
  {program} replay --yes --json   the same from a script: verdicts on stdout
  {program} verify OTHER          the same questions about another bundle

'{program} replay --help' shows what else replay takes.
"""
_STATUSES = """\
exit status:
  0    sound; after a replay: all outputs agree
  1    outputs differ
  2    wrong arguments, or the environment can't be built on this machine
  3    a task failed
  4    the bundle is damaged, or you did not agree to run it
  130  interrupted
"""
_REPLAY_DESCRIPTION = """\
Every byte is verified first, and you are asked whether to run the analysis: its code
can do what you can do. Then the environment that made the outputs is built from the
wheels in the bundle, on the Python that it needs (what the bundle does not carry comes
from the package index that pip is configured for, checked against the locked hashes),
kept in the cache for the next time, and left to fasthep-archive in it."""


def main(arguments: Sequence[str] | None = None, own: str | None = None) -> int:
    """Run the command line and return the exit status.

    :param own: the bundle that this program is in or beside, if any.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "verify")
    parser = _parser(own)
    options = parser.parse_args(given)
    if options.bundle is None:
        parser.error("name a bundle")
    try:
        package = opened(Path(options.bundle))
    except OSError as error:
        parser.error(printable(str(error)))
    try:
        status: int = options.act(package, options)
    except KeyboardInterrupt:
        _warn("interrupted")
        return INTERRUPTED
    finally:
        package.close()
    return status


def _parser(own: str | None) -> argparse.ArgumentParser:
    name = printable(Path(own).name) if own else "BUNDLE"
    program = f"python3 {name}"
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [COMMAND] [BUNDLE] [option ...]",
        description=_escaped(_DESCRIPTION.format(bundle=name if own else "BUNDLE")),
        epilog=_escaped(_EXAMPLES.format(program=program)) + "\n" + _STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", prog=program)
    for command, act, text in (("verify", _verify, _VERIFY), ("info", _verify, _INFO), ("replay", _replay, _REPLAY)):
        added = commands.add_parser(
            command,
            help=text,
            description=_REPLAY_DESCRIPTION if command == "replay" else f"{text[0].upper()}{text[1:]}.",
            epilog=_STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(act=act)
        here = " (default: the one that this program is in)" if own else ""
        added.add_argument(
            "bundle", metavar="BUNDLE", nargs="?", default=own, help=f"the bundle, or its directory{here}"
        )
        added.add_argument("--json", action="store_true", help="print the result as JSON")
        added.add_argument("-q", "--quiet", action="store_true", help="say nothing but what went wrong")
        if command == "replay":
            _add_replay_options(added)
    return parser


def _escaped(text: str) -> str:
    """Return ``text`` for argparse, which takes a percent sign for the beginning of a field."""
    return text.replace("%", "%%")


def _add_replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="you trust this bundle: don't ask before it runs")
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="replay", help="where the new outputs go (default: %(default)s)"
    )
    parser.add_argument("--only", metavar="STAGE", action="append", default=[], help="only this stage; repeatable")
    parser.add_argument("-j", "--workers", metavar="N", type=_number, help="processes (default: the usable CPUs)")
    parser.add_argument("--chunk", metavar="N", type=_number, help="events per partition (default: 500000)")
    parser.add_argument("--fetch", action="store_true", help="fetch inputs that the bundle refers to from their URLs")
    parser.add_argument("--data", metavar="DIR", help="where inputs are that the bundle refers to")
    parser.add_argument(
        "--python", metavar="PATH", help="the Python to build on (default: one that fits is looked for)"
    )
    kept = "where environments are kept (default: FASTHEP_ARCHIVE_CACHE, or the user's cache)"
    parser.add_argument("--cache", metavar="DIR", help=kept)


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


# --- verify and info --------------------------------------------------------------------------------------------------


def _verify(package: Zip | Tree, options: argparse.Namespace) -> int:
    """Tell what is wrong with the bundle, and what it holds if asked for that."""
    described = options.command == "info"
    found = _examined(package, options, payload=not described)
    if not options.quiet:
        _tell_problems(found)
        if options.json:
            sys.stdout.write(json.dumps(result(found, options.bundle), indent=1) + "\n")
        else:
            lines = _description(found.summary) if described and found.summary else ()
            for line in [*lines, verdict(found, options.bundle, described=described)]:
                sys.stdout.write(printable(line) + "\n")
    return 0 if found.sound else DAMAGED


def _examined(package: Zip | Tree, options: argparse.Namespace, *, payload: bool) -> Verification:
    """Return what is wrong with the bundle; a terminal is shown how far it is."""
    watched = sys.stderr.isatty() and not options.quiet
    progress = _Counter() if watched else _unseen
    workers = min(os.cpu_count() or 1, 8)
    found = examine(package, payload=payload, progress=progress, limits=LIMITS, workers=workers)
    if watched:
        sys.stderr.write("\r\033[K")
    return found


class _Counter:
    """Counts bytes on the terminal."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, count: int) -> None:
        before, self._count = self._count >> 26, self._count + count
        if before != self._count >> 26:  # every 64 MiB
            sys.stderr.write(f"\r{self._count / 1e9:.1f} GB read")
            sys.stderr.flush()


def _unseen(_count: int) -> None:
    """Show no progress."""


def _description(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a person wants to know first."""
    yield summary["title"]
    yield f"identity  {summary['identity']}"
    tool = summary["tool"]
    yield f"made by   {tool['name']} {tool['version']}, {summary['created']}; format {summary['format']}"
    yield f"language  {summary['language']}, numeric profile {summary['profile']}"
    for kind in ("inputs", "outputs"):
        yield f"{kind}:" if summary[kind] else f"no {kind}"
        for item in summary[kind]:
            absent = "" if item["included"] else "  (not included)"
            yield f"  {item['sha256'][:16]}  {item['size']:>12}  {item['name']}{absent}"


def _tell_problems(found: Verification) -> None:
    for problem in found.problems:
        _warn(str(problem))
    if not found.sound:
        _warn(f"\nhint: {HINT}")


def _warn(text: str) -> None:
    """Write to stderr, line by line; what comes from outside can't disturb the terminal."""
    sys.stderr.write("".join(f"{printable(line)}\n" for line in text.split("\n")))
    sys.stderr.flush()


# --- replay -----------------------------------------------------------------------------------------------------------


def _replay(package: Zip | Tree, options: argparse.Namespace) -> int:
    """Verify, ask, build, and hand over."""
    found = _examined(package, options, payload=True)
    if not found.sound:
        _tell_problems(found)
        _warn(verdict(found, options.bundle))
        return DAMAGED
    away = [item for item in found.summary["inputs"] if not item["included"]]
    if away and not options.fetch and options.data is None:
        names = ", ".join(item["name"] for item in away)
        _warn(f"error: the bundle refers to these inputs without including them: {names}\n\nhint: {_AWAY}")
        return WRONG
    if not options.yes and not _agreed(package, found, options.bundle):
        _warn("error: nothing was run: you did not agree to run this bundle\n\nhint: say --yes if you trust it")
        return DAMAGED
    environ = dict(os.environ)
    cache = str(Path(options.cache or default_cache(environ)).absolute())
    say: Callable[[str], object] = _silent if options.quiet else _say
    try:
        built = build(package, found, cache, python=options.python, environ=environ, say=say)
    except CannotRebuild as error:
        _warn(f"error: {error.message}\n\nhint: {error.hint}")
        return WRONG
    except Damage as damage:
        _tell_problems(found._replace(problems=(damage.problem,)))
        return DAMAGED
    package.close()
    say(f"handing over to {built.python}")
    return _handed_over(built, {**environ, "FASTHEP_ARCHIVE_CACHE": cache}, options)


def _agreed(package: Zip | Tree, found: Verification, bundle: str) -> bool:
    """Show what would run, and ask on the terminal whether to run it; nobody to ask means no."""
    summary, code = found.summary, [name for name in found.members if name.startswith(CODE)]
    _warn(f"{bundle} is intact: {summary['title']!r}, identity {summary['identity']}")
    if not sys.stdin or not sys.stdin.isatty():
        return False
    document = strict_json(content(package, RESOLVED, LIMITS.metadata), LIMITS)
    for line in what_runs(document, code):
        _warn(line)
    sys.stderr.write("Run it on this machine? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(line: str) -> None:
    _warn(f"environment: {line}")


def _silent(_line: str) -> None:
    """Say nothing."""


def _handed_over(built: Built, environ: Mapping[str, str], options: argparse.Namespace) -> int:
    """Run ``fasthep-archive replay`` of the bundle's own version, and return its exit status."""
    command = [built.python, "-I", "-m", "fasthep_archive", "replay", options.bundle, "--env", "current", "--yes"]
    values = {
        "--output": options.output,
        "--workers": options.workers,
        "--chunk": options.chunk,
        "--data": options.data,
    }
    for name, value in values.items():
        command += [] if value is None else [name, str(value)]
    for stage in options.only:
        command += ["--only", stage]
    command += [f"--{flag}" for flag in ("json", "quiet", "fetch") if getattr(options, flag)]
    sys.stdout.flush()
    process = subprocess.Popen(command, env=dict(environ))  # noqa: S603 - no shell; it was verified, and agreed to
    status = None
    while status is None:
        with suppress(KeyboardInterrupt):  # the terminal tells both, and the replay ends in order
            status = process.wait()
    return status if status >= 0 else 128 - status  # ended by a signal, as shells say it
