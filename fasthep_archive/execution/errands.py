"""Tasks on their way to workers that may be on other machines, and what comes back.

A task travels with the terms on which it may be computed. Where workers share the directories of the store and of the
caches, that is all. Where they don't, the results that it reads travel with it, and those that it leaves travel back.
Input files are found by their path; that it is the same file is looked at where it is read.
"""

from __future__ import annotations

import os
import pickle
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError
from fasthep_archive.execution.admission import Terms, caches, examined
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.worker import DeriveTask, Done, MergeTask, MissingPart, PassTask, code_of, portable
from fasthep_archive.operations.child import end_children

_SHELF = "code"
"""Where a worker that does not see the store keeps code that is not ours, below its caches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """A file as the machine sees it that gives out the work: size, time of change in nanoseconds, digest."""

    path: Path
    size: int
    changed: int
    sha256: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """A task that travels.

    :ivar carried: the results that it reads, by key, where workers don't see the store.
    :ivar code: code that is not ours, by digest, where a worker has asked for it.
    """

    task: Callable[[], Done]
    files: tuple[Sight, ...] = ()
    carried: Mapping[Digest, bytes] = field(default_factory=dict)
    code: Mapping[Digest, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What comes back of a task: its report or its error, and the results that it left, where these travel."""

    done: Done | None
    error: BaseException | None = None
    results: Mapping[Digest, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A worker's answer instead: it was found not to be fit for work.

    :ivar worker: the name under which it can be avoided; empty if there is none. :ivar host: where it is.
    """

    faults: tuple[str, ...]
    host: str
    worker: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lacking:
    """A worker's answer instead: it has never got the code that the task calls. It keeps what it gets."""


Reply: TypeAlias = Answer | Refusal | Lacking
"""What a worker can answer."""


def message(task: Callable[[], Done], terms: Terms, store: Store, *, code: bool = False) -> bytes:
    """Return what is sent to a worker for ``task``: the terms apart, so that they are looked at first.

    :param code: whether code that is not ours is sent along, which a worker keeps that does not see the store.
    :raises MissingPart: if that is not in the store any more.
    """
    keys = () if terms.shared else reads(task)
    called = code_of(task) if code else ()
    errand = Errand(
        task=task,
        files=tuple(_sights(task)),
        carried={key: found for key in keys if (found := store.packed(key)) is not None},
        code={key: _packed(key, store) for key in called},
    )
    return pickle.dumps((pickle.dumps(terms), pickle.dumps(errand)))


def _packed(key: Digest, store: Store) -> bytes:
    found = store.packed(key)
    if found is None:
        raise MissingPart(key)
    return found


def reads(task: Callable[[], Done]) -> tuple[Digest, ...]:
    """Return the keys of the results that a task takes from the store."""
    match task:
        case PassTask():
            return (*(number.key for number in task.values.values()), *task.taken.values())
        case MergeTask():
            return tuple(part.key for part in task.merge.parts)
        case DeriveTask():
            return tuple(task.inputs.values())
        case _:
            return ()


def writes(task: Callable[[], Done]) -> tuple[Digest, ...]:
    """Return the keys of the results that a task leaves in the store."""
    match task:
        case PassTask():
            return tuple(task.keys.values())
        case MergeTask():
            return (task.merge.key,)
        case DeriveTask():
            return (task.derived.key,)
        case _:
            return ()


_alone = threading.Lock()
"""One task at a time in a process: files and processes that are kept open belong to one."""


def perform(content: bytes) -> Reply:
    """Do what a message says, in a worker: look at the terms, compute, and return what travels back."""
    written, errand = pickle.loads(content)  # noqa: S301 - of the process that gives this one its work
    with _alone:
        found = examined(written)
        if found.faults:
            return Refusal(faults=found.faults, host=platform.node())
        try:
            return _performed(pickle.loads(written), pickle.loads(errand))  # noqa: S301 - see above
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told where the run is
            return Answer(done=None, error=portable(error))


def _performed(terms: Terms, errand: Errand) -> Answer | Lacking:
    for file in errand.files:
        agree(file)
    if terms.shared:
        return Answer(done=errand.task())
    shelf = Store(caches(terms) / _SHELF)
    for key, content in errand.code.items():
        shelf.keep(key, content)
    if any(key not in shelf for key in code_of(errand.task)):
        return Lacking()
    with tempfile.TemporaryDirectory(prefix="fasthep-archive-") as directory:
        store = Store(Path(directory))
        for key, content in errand.carried.items():
            store.keep(key, content)
        done = _moved(errand.task, store, caches(terms), shelf)()
        left = {key: found for key in writes(errand.task) if (found := store.packed(key)) is not None}
    return Answer(done=done, results=left)


def _moved(task: Callable[[], Done], store: Store, cache: Path, shelf: Store) -> Callable[[], Done]:
    """Return a task with another store, other caches and another place of the code that it calls."""
    match task:
        case PassTask() | DeriveTask():
            return replace(task, store=store, cache=cache, shelf=shelf)
        case MergeTask():
            return replace(task, store=store, cache=cache)
        case _:
            return task


def _sights(task: Callable[[], Done]) -> Iterator[Sight]:
    """Yield how the input files of a task look here."""
    for file in task.partition.files if isinstance(task, PassTask) else ():
        with suppress(OSError):  # gone meanwhile, which is told where it is read
            state = file.path.stat()
            yield Sight(path=file.path, size=state.st_size, changed=state.st_mtime_ns, sha256=file.sha256)


def agree(file: Sight) -> None:
    """Make sure that a file is here what it is where the run is.

    :raises DataError: if there is none, or another one.
    """
    try:
        state = file.path.stat()
    except OSError as error:
        why = error.strerror or str(error)
        hint = "put inputs where all workers see them under the same path"
        raise DataError(f"{file.path} can't be read on {platform.node()}: {why}", hint=hint) from error
    if (state.st_size, state.st_mtime_ns) == (file.size, file.changed):
        return
    if state.st_size != file.size or _digest(file.path, state.st_size, state.st_mtime_ns) != file.sha256:
        hint = "copy it there again, or put it where all workers see the same"
        raise DataError(f"{file.path} is another file on {platform.node()} than here", hint=hint)


@lru_cache(maxsize=1024)
def _digest(path: Path, _size: int, _changed: int) -> Digest:
    return digest.of_file(path)


def leave() -> None:
    """End what tasks have left running in this worker, when the one that it works on has ended; don't wait for it."""
    threading.Thread(target=_end, daemon=True).start()


def _end() -> None:
    with _alone:
        end_children()


def worker_id() -> str:
    """Return a name of this process that tells people where it is."""
    return f"{platform.node()}, process {os.getpid()}"
