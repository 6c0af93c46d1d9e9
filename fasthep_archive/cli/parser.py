"""The options of each command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from fasthep_archive import __version__
from fasthep_archive.cli import verbs
from fasthep_archive.context import PROCESSES


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; ``verb`` of what it parses is the function to call."""
    main = argparse.ArgumentParser(
        prog="fasthep-archive",
        description="Packs a HEP analysis workflow into one file that anyone can verify and run again.",
        epilog="Exit status: 0 done or outputs agree, 1 outputs differ, 2 the input is wrong, 3 a task failed, "
        "4 the bundle is damaged or not trusted, 130 interrupted.",
    )
    main.add_argument("--version", action="version", version=f"fasthep-archive {__version__}")
    commands = main.add_subparsers(title="commands", metavar="COMMAND", required=True)
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
        _add_graph,
        _add_migrate,
        _add_cache,
        _add_plugins,
        _add_selftest,
    ):
        add(commands)
    return main


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _verb(
    commands: _Commands, name: str, verb: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=verb)
    return parser


def _add_init(commands: _Commands) -> None:
    parser = _verb(commands, "init", verbs.init, "make a directory with a runnable example: workflow, data, metadata")
    parser.add_argument("directory", metavar="DIR", help="a new directory")
    parser.add_argument("--example", default="dimuon", help="which example (default: %(default)s)")


def _add_check(commands: _Commands) -> None:
    parser = _verb(
        commands, "check", verbs.check, "report every fault of a workflow, with file:line:column; run nothing"
    )
    _workflow_options(parser)
    parser.add_argument("--departures", action="store_true", help="list where FAST-HEP would give something else")
    _json_option(parser, "the faults")


def _add_run(commands: _Commands) -> None:
    parser = _verb(commands, "run", verbs.run, "run a workflow; what was computed before is not computed again")
    _workflow_options(parser)
    parser.add_argument("-o", "--output", metavar="DIR", default="out", help="where products go (default: %(default)s)")
    _selection_options(parser)
    parser.add_argument(
        "--explain", action="store_true", help="say for every task whether it would be computed, and why; run nothing"
    )
    parser.add_argument("--no-cache", action="store_true", help="compute everything, and keep nothing for later runs")
    _run_options(parser, "the record of the run")


def _add_pack(commands: _Commands) -> None:
    parser = _verb(
        commands, "pack", verbs.pack, "run a workflow from a staged copy and seal it, with its outputs, into one file"
    )
    _workflow_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="the bundle (default: NAME.crate.zip)")
    _selection_options(parser)
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
    carried = "with --fat: carry the wheels of this platform too, such as win_amd64"
    _listed(parser, "--platform", "TAG", carried, name="platforms")
    parser.add_argument("--no-index", action="store_true", help="ask no package index for hashes and wheels")
    _listed(parser, "--allow", "ID", "let through what packing refused under this id")
    _run_options(parser, "path, size and identity of the bundle")


def _add_inspect(commands: _Commands) -> None:
    parser = _verb(commands, "inspect", verbs.inspect, "show what a bundle holds")
    _bundle_option(parser)
    _json_option(parser, "it")


def _add_verify(commands: _Commands) -> None:
    parser = _verb(commands, "verify", verbs.verify, "check every byte of bundles; runs nothing from them")
    parser.add_argument(
        "bundles", metavar="BUNDLE", nargs="+", help="one bundle or more, or directories that they were unpacked to"
    )
    _json_option(parser, "the result")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing unless something is wrong")


def _add_replay(commands: _Commands) -> None:
    parser = _verb(
        commands, "replay", verbs.replay, "run a bundle again and compare every output with the recorded one"
    )
    _bundle_option(parser)
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
    _listed(parser, "--only", "STAGE", "replay this stage's product only")
    parser.add_argument("--data", metavar="DIR", help="a folder with the inputs that the bundle does not include")
    parser.add_argument("--fetch", action="store_true", help="fetch inputs that are not included from their addresses")
    _run_options(parser, "the verdicts")


def _add_diff(commands: _Commands) -> None:
    parser = _verb(commands, "diff", verbs.diff, "show what differs between two bundles, most likely cause first")
    parser.add_argument("before", metavar="A", help="a bundle, or the directory that it was unpacked to")
    parser.add_argument("after", metavar="B", help="another one")
    _json_option(parser, "the differences")


def _add_hydrate(commands: _Commands) -> None:
    text = "write a bundle that includes the inputs and wheels which this one refers to, every digest verified"
    parser = _verb(commands, "hydrate", verbs.hydrate, text)
    _bundle_option(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="the new bundle (default: NAME.fat.crate.zip)")
    parser.add_argument("--wheels", metavar="DIR", help="a folder to take wheels from, before an index is asked")
    parser.add_argument("--data", metavar="DIR", help="a folder to take inputs from, before their addresses")
    parser.add_argument("--no-index", action="store_true", help="ask no package index")
    _told_options(parser, "path, size and identity of the bundle")


def _add_graph(commands: _Commands) -> None:
    parser = _verb(commands, "graph", verbs.graph, "draw a workflow: its sources, stages and products")
    _workflow_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="a file .svg, .mmd (Mermaid) or .dot (default: print Mermaid)"
    )


def _add_cache(commands: _Commands) -> None:
    parser = _verb(commands, "cache", verbs.cache_list, "show what the cache holds, or make it smaller")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show what each area of the cache holds")
    listing.set_defaults(verb=verbs.cache_list)
    _json_option(listing, "it")
    pruning = actions.add_parser("prune", help="remove what was not used lately; all of it can be made again")
    pruning.set_defaults(verb=verbs.cache_prune)
    pruning.add_argument("--days", metavar="N", type=_amount, help="remove what was not used for N days")
    pruning.add_argument("--keep", metavar="MB", type=_amount, help="keep at most so much, what was used last")
    _listed(pruning, "--area", "AREA", "of this area only", name="areas")
    _json_option(pruning, "what was removed")


def _amount(text: str) -> float:
    """Return a number that is not negative."""
    if not (amount := float(text)) >= 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return amount


def _add_migrate(commands: _Commands) -> None:
    text = "write a workflow, or a fast-carpenter sequence, in the newest version of the language"
    parser = _verb(commands, "migrate", verbs.migrate, text)
    parser.add_argument("workflow", metavar="WORKFLOW", help="the document, or the sequence of fast-carpenter")
    parser.add_argument("-o", "--output", metavar="FILE", help="a new file (default: print it)")
    parser.add_argument("--datasets", metavar="FILE", help="of a sequence: the file that lists its datasets")
    parser.add_argument("--prefix", metavar="NAME", help="of datasets that offer several prefixes: the one to use")


def _add_plugins(commands: _Commands) -> None:
    parser = _verb(commands, "plugins", verbs.plugins, "list installed plug-ins: what they provide, and who they are")
    parser.add_argument("--all", action="store_true", help="list what this package provides too")
    _json_option(parser, "the list")


def _add_selftest(commands: _Commands) -> None:
    parser = _verb(
        commands, "selftest", verbs.selftest, "check that this machine computes what the numeric profile says"
    )
    _json_option(parser, "the result")


def _bundle_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle, or the directory that it was unpacked to")


def _workflow_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW", help="the workflow document (YAML)")
    parser.add_argument("--language", metavar="VERSION", help="read the document as this version of the language")


def _listed(parser: argparse.ArgumentParser, option: str, metavar: str, text: str, name: str | None = None) -> None:
    """Add an option that can be given several times; its values are the list ``name``."""
    name = name or option.removeprefix("--")
    parser.add_argument(option, dest=name, metavar=metavar, action="append", default=[], help=f"{text}; repeatable")


def _selection_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which part of a document is wanted."""
    needed = "this workflow of the document, and what it needs (default: all)"
    _listed(parser, "--workflow", "NAME", needed, name="workflows")
    _listed(parser, "--only", "STAGE", "make this stage's product only")
    _listed(parser, "--with", "STAGE", "make this stage's product too, though it says 'when: manual'", name="also")


def _run_options(parser: argparse.ArgumentParser, result: str) -> None:
    parser.add_argument("-j", "--workers", metavar="N", type=int, help="worker processes (default: the usable CPUs)")
    parser.add_argument("--chunk", metavar="EVENTS", type=int, help="events per partition (default: 500000)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute (default: a GPU if there is)"
    )
    parser.add_argument(
        "--executor",
        metavar="SPEC",
        default=PROCESSES,
        help="what computes: processes, dask=ADDRESS, dask=FILE, dask=htcondor, dask=slurm, mpi (default: %(default)s)",
    )
    _told_options(parser, result)


def _told_options(parser: argparse.ArgumentParser, result: str) -> None:
    _json_option(parser, result)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no summary")


def _json_option(parser: argparse.ArgumentParser, result: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print {result} as JSON")
