"""What surrounds a verb: the clock, the environment variables, the caches, and the places that it writes to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import fasthep_archive
from fasthep_archive.context import PROCESSES, Context, NoProgress, Progress
from fasthep_archive.errors import UsageError, writing
from fasthep_archive.files import alone

if TYPE_CHECKING:
    from fasthep_archive.execution.store import Store
    from fasthep_archive.workflow.model import Workflow

_WORKSPACE = ".fasthep-archive-"
_HELD = "held"
"""The file of a workspace that its process holds locked."""

AnyPath: TypeAlias = "str | os.PathLike[str]"


def surroundings(
    cache: AnyPath | None, workers: int | None, progress: Progress | None, executor: str = PROCESSES
) -> Context:
    """Read clock, environment and defaults, once."""
    if executor != PROCESSES:
        from fasthep_archive.execution.executors import chosen

        chosen(executor)
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers can't run anything", hint="-j takes a number from 1")
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return Context(
        cache=(Path(cache) if cache is not None else _cache_directory()).absolute(),
        now=_fixed_time(epoch) if epoch else datetime.now(UTC).replace(microsecond=0),
        measured=not epoch,
        workers=workers or usable_cpus(),
        progress=progress or NoProgress(),
        executor=executor,
    )


def _fixed_time(epoch: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        hint = "it is a whole number of seconds since 1970, see reproducible-builds.org/specs/source-date-epoch"
        raise UsageError(f"SOURCE_DATE_EPOCH={epoch} is no time", hint=hint) from error


def _cache_directory() -> Path:
    """Return this user's cache: ``FASTHEP_ARCHIVE_CACHE``, or as the XDG base directory specification says."""
    if named := os.environ.get("FASTHEP_ARCHIVE_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fasthep-archive"


def usable_cpus() -> int:
    """Return the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def code_version() -> str:
    """Return the version that keys have: this tool's, and a digest of the code that decides results.

    An installed release never changes under its version; a checkout does.
    """
    from fasthep_archive.execution.version import code_digest

    return f"{fasthep_archive.__version__}+{code_digest()}"


@contextmanager
def in_use(context: Context) -> Iterator[None]:
    """Keep other processes from pruning the cache meanwhile."""
    from fasthep_archive.execution import cache as execution

    with execution.in_use(context.cache):
        yield


@contextmanager
def chosen_store(context: Context, *, reuse: bool) -> Iterator[Store]:
    """Yield the user's store, or an empty one for this run alone."""
    from fasthep_archive.execution.store import Store

    if reuse:
        yield Store(context.cache / "store")
    else:
        with tempfile.TemporaryDirectory(prefix="fasthep-archive-") as directory:
            yield Store(Path(directory))


def empty_store(space: Path) -> Store:
    """Return the store of a run that reuses nothing, below its workspace."""
    from fasthep_archive.execution.store import Store

    return Store(space / "store")


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """Yield a new directory in ``parent``, on the file system of what is made; gone afterwards.

    What a process that was killed has left there is cleared first.
    """
    for left in parent.glob(f"{_WORKSPACE}*"):
        _clear(left)
    with writing(parent):
        space = tempfile.TemporaryDirectory(dir=parent, prefix=_WORKSPACE)
    with space as directory, alone(Path(directory) / _HELD):
        yield Path(directory)


def _clear(left: Path) -> None:
    """Remove a workspace if its process has gone: whoever works in one holds a file of it locked."""
    if (left / _HELD).is_file() and not left.is_symlink():
        with suppress(OSError), alone(left / _HELD) as abandoned:
            if abandoned:
                shutil.rmtree(left, ignore_errors=True)


def claimed(directory: Path) -> Path:
    """Return ``directory``, made if need be, if it is new, empty, or an earlier run's.

    :raises UsageError: if anything else is in it.
    """
    from fasthep_archive.execution.record import RECORD

    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a directory with -o")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / RECORD).is_file():
        raise UsageError(f"{directory} has files that no run left there", hint="name a new one, or an earlier run's")
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def existing(bundle: AnyPath) -> Path:
    """Return the path of a bundle that is there."""
    path = Path(bundle)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"no such file: {path}") from None
    except (
        OSError,
        ValueError,
    ) as error:  # a directory that is closed to us, a name that can't be one, a loop of links
        raise UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    return path


def bundle_target(path: Path) -> Path:
    """Return where a bundle goes; its directory must be there."""
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint="name a file, such as analysis.crate.zip")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}", hint="make it first")
    return path


def roots(workflow: Workflow, cache: Path) -> tuple[str, ...]:
    """Return the distributions that a workflow needs, without what these require themselves.

    They are this tool, those whose plug-ins it uses, and those that the analysis's own code imports.
    """
    from fasthep_archive.environment.closures import remembered
    from fasthep_archive.environment.packages import normalised
    from fasthep_archive.environment.snapshot import TOOL
    from fasthep_archive.operations.reading import plugins

    known = tuple(dict.fromkeys((TOOL, *plugins(workflow))))
    imported = {name for names in workflow.distributions.values() for name in names}
    if not imported:
        return known
    closed = {package.name for package in remembered(known, cache)}
    return (*known, *sorted(name for name in imported if normalised(name) not in closed))
