"""Workers of a Dask cluster: one that runs already, one on this machine, or one made of a batch system's jobs.

Dask gives a lost worker's tasks to others by itself. What it can't mend is told: no workers left, a lost scheduler.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from fasthep_archive.errors import ArchiveError, TaskError, UsageError
from fasthep_archive.execution.admission import Examined, Terms, examined, terms_of, tokens
from fasthep_archive.execution.away import Away, Heard, Refused
from fasthep_archive.execution.errands import Refusal, Reply, leave, perform
from fasthep_archive.execution.executors import Request
from fasthep_archive.execution.scheduler import LostExecutor
from fasthep_archive.execution.store import Store

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

SCHEDULER_PATIENCE = 5.0
"""Seconds that a scheduler may take to answer."""
WORKER_PATIENCE = 120.0
"""Seconds that a run waits for a worker where all are gone; jobs of a batch system may take as long as they like."""
LOOKS = 2.0
"""Seconds between two looks at which workers there are."""
KEPT = "what was finished is kept, and the same command goes on from there"

JOBQUEUES: Mapping[str, str] = {
    "htcondor": "HTCondorCluster",
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "local": "LocalCluster",
}
"""The batch systems of dask-jobqueue, called as in its configuration files, and its class for each."""


@contextmanager
def opened(request: Request) -> Iterator[Cluster]:
    """Yield the workers of a cluster, each examined before it gets work.

    :raises UsageError: if the argument names no cluster. :raises TaskError: if no scheduler answers.
    :raises LostExecutor: if no worker meets the terms.
    """
    import distributed  # noqa: F401 - makes its loggers, which are to be quiet

    with (
        _quiet(),
        _client(request) as (client, patience),
        tokens(request.store.root, request.context.cache) as left,
    ):
        terms = terms_of(request.packages, left, request.context.cache)
        refused = Refused(progress=request.context.progress)
        terms = replace(terms, shared=_examined(client, terms, refused))
        if not terms.shared:
            where = "workers do not see the directories of the store and the cache"
            request.context.progress.message(f"{where}: results travel to this machine")
        link = DaskLink(client, refused, patience)
        try:
            yield Cluster(link=link, terms=terms, store=request.store, refused=refused)
        finally:
            link.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The workers of a cluster."""

    link: DaskLink
    terms: Terms
    store: Store
    refused: Refused

    @property
    def count(self) -> int:
        """Return the number of workers that have not been refused; each works on one task at a time."""
        return max(1, len(self.link.workers - self.refused.names))

    @property
    def in_flight(self) -> int:
        """Return enough that no worker waits for a message to travel."""
        return 32 + 4 * self.count

    def pool(self) -> Executor:
        """Return what takes tasks."""
        return Away(self.link, self.terms, self.store, self.refused)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    """A message that is under way: :ivar chosen: the workers that it can go to; empty: all."""

    future: DaskFuture
    heard: Heard
    content: bytes
    chosen: frozenset[str]


class DaskLink:
    """Carries messages through a Dask client. One thread collects answers, as many at a time as there are."""

    def __init__(self, client: Client, refused: Refused, patience: float | None) -> None:
        self.workers: frozenset[str] = frozenset(client.scheduler_info()["workers"])
        self._client = client
        self._refused = refused
        self._patience = patience
        self._address = client.scheduler.address
        self._run = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._sent: dict[str, _Sent] = {}
        self._ended: SimpleQueue[DaskFuture | None] = SimpleQueue()
        self._closing = threading.Event()
        self._lost: LostExecutor | None = None
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._collect, self._look)]
        for thread in self._threads:
            thread.start()

    def send(self, content: bytes, avoid: frozenset[str], heard: Heard) -> None:
        """Submit a message; to the workers that are there now and that need not be avoided, if there are such."""
        if self._lost is not None:
            raise self._lost
        chosen = self.workers - avoid if avoid else frozenset()
        if avoid and not chosen:
            raise self._refused.none_left()
        key = f"fasthep-archive-{self._run}-{next(self._numbers)}"
        try:
            future = self._client.submit(
                _perform, content, key=key, pure=False, workers=sorted(chosen) or None, allow_other_workers=False
            )
        except Exception as error:
            raise self._gone() from error
        self._sent[key] = _Sent(future=future, heard=heard, content=content, chosen=chosen)
        future.add_done_callback(self._ended.put)

    def cancel(self) -> None:
        """Cancel what is under way: a task that a worker has begun is finished there, for nobody."""
        sent = [item.future for item in list(self._sent.values())]
        self._sent.clear()
        if sent and self._client.status == "running":
            with suppress(Exception):
                self._client.cancel(sent, force=True)

    def close(self) -> None:
        """Forget what is under way, and end what tasks have left running in workers."""
        self.cancel()
        self._closing.set()
        self._ended.put(None)
        for thread in self._threads:
            thread.join(timeout=LOOKS + 1)
        if self._client.status == "running" and self._lost is None:
            with suppress(Exception):
                self._client.run(leave, on_error="ignore")

    def _collect(self) -> None:
        """Hand out answers, in a thread of its own."""
        while (first := self._ended.get()) is not None:
            batch = [first, *(self._ended.get() for _ in range(self._ended.qsize()))]
            ended = [future for future in batch if future is not None and future.key in self._sent]
            for future, answer in zip(ended, self._answers(ended), strict=True):
                sent = self._sent.pop(str(future.key), None)
                if sent is not None:
                    sent.heard(answer)

    def _answers(self, futures: list[DaskFuture]) -> list[Reply | BaseException]:
        """Return what has become of messages; results come in one piece."""
        whole = [future for future in futures if future.status == "finished"]
        try:
            found = dict(zip((future.key for future in whole), self._client.gather(whole), strict=True))
        except Exception:  # noqa: BLE001 - a worker died between; one by one, those that are left are found
            found = {future.key: self._answer(future) for future in whole}
        return [found[future.key] if future.key in found else self._answer(future) for future in futures]

    def _answer(self, future: DaskFuture) -> Reply | BaseException:
        try:
            error = future.exception(timeout=SCHEDULER_PATIENCE)
            return cast("Reply", future.result()) if error is None else _told(error)
        except Exception:  # noqa: BLE001 - cancelled by nobody here: the connection to the scheduler was lost
            return self._gone()

    def _gone(self) -> LostExecutor:
        """Return the error of a run whose scheduler is gone."""
        if self._lost is None:
            self._lost = LostExecutor(f"the Dask scheduler at {self._address} is gone", hint=f"{KEPT} with another one")
        return self._lost

    def _look(self) -> None:
        """Look from time to time which workers there are, in a thread of its own."""
        seen = time.monotonic()
        while not self._closing.wait(LOOKS):
            with suppress(Exception):  # no connection, which futures say too
                self.workers = frozenset(self._client.scheduler_info()["workers"])
            if self.workers - self._refused.names:
                seen = time.monotonic()
            elif self._patience is not None and time.monotonic() - seen > self._patience:
                self._give_up(LostExecutor("the Dask cluster has lost all its workers", hint=KEPT))
            self._resend()

    def _resend(self) -> None:
        """Send again what waits for workers that are gone, where only some could be asked."""
        for key, sent in list(self._sent.items()):
            if sent.chosen and not sent.chosen & self.workers and self._sent.pop(key, None) is not None:
                self._client.cancel([sent.future], force=True)
                try:
                    self.send(sent.content, self._refused.names, sent.heard)
                except LostExecutor as error:
                    sent.heard(error)

    def _give_up(self, error: LostExecutor) -> None:
        self._lost = error
        for key in list(self._sent):
            sent = self._sent.pop(key, None)
            if sent is not None:
                sent.heard(error)


def _perform(content: bytes) -> Reply:
    """Perform a message in a worker, and say which one that is."""
    from distributed import get_worker

    answer = perform(content)
    return replace(answer, worker=get_worker().address) if isinstance(answer, Refusal) else answer


def _told(error: BaseException) -> BaseException:
    """Return what Dask says of a task in our words."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        hint = "the memory limit of Dask's workers may be too small: see theirs, or run with a smaller --chunk"
        return TaskError("its worker died each time that it was tried", hint=hint)
    return error


def _examined(client: Client, terms: Terms, refused: Refused) -> bool:
    """Refuse the workers that don't meet the terms; return whether the others all share the directories.

    :raises LostExecutor: if none meets them.
    """
    found = cast("Mapping[str, Examined | BaseException]", client.run(examined, pickle.dumps(terms), on_error="return"))
    shares = []
    for address, what in found.items():
        faults = what.faults if isinstance(what, Examined) else (f"it can't be examined: {what}",)
        if faults:
            refused.add(Refusal(faults=faults, host=address, worker=address))
        elif isinstance(what, Examined):
            shares.append(what.shares)
    if not shares:
        raise refused.none_left()
    return all(shares)


@contextmanager
def _client(request: Request) -> Iterator[tuple[Client, float | None]]:
    """Yield a client whose cluster has a worker at least, and how long it may be without any.

    :raises TaskError: if there is no scheduler, or no cluster can be made.
    """
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    with _cluster(request) as (given, patience):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)  # workers are examined, and it is told
                client = Client(set_as_default=False, timeout=SCHEDULER_PATIENCE, **given)
        except (OSError, ValueError) as error:
            named = given.get("address", given.get("scheduler_file", "this cluster"))
            hint = "start one with 'dask scheduler', and workers with 'dask worker ADDRESS --nthreads 1'"
            raise TaskError(f"no Dask scheduler answers at {named}", hint=hint) from error
        try:
            if not client.scheduler_info()["workers"]:
                request.context.progress.message("waiting for the first worker of the Dask cluster")
            _wait(client, patience)
            yield client, patience
        finally:
            with suppress(Exception):
                client.close(timeout=2)


def _wait(client: Client, patience: float | None) -> None:
    from distributed import TimeoutError as TooLong

    try:
        client.wait_for_workers(1, timeout=patience)
    except TooLong as error:
        hint = f"start some: dask worker {client.scheduler.address} --nthreads 1"
        raise TaskError("the Dask cluster has no workers", hint=hint) from error


@contextmanager
def _cluster(request: Request) -> Iterator[tuple[dict[str, Any], float | None]]:
    """Yield what a client is made with, and how long it may be without workers; none: any time."""
    argument, workers = request.argument, request.workers
    if argument in JOBQUEUES or argument.endswith((".yaml", ".yml")):
        with _jobqueue(argument, workers) as cluster:
            yield {"address": cluster}, None
    elif argument.endswith(".json"):
        if not Path(argument).is_file():
            raise UsageError(f"no such scheduler file: {argument}", hint="'dask scheduler --scheduler-file' writes one")
        yield {"scheduler_file": argument}, WORKER_PATIENCE
    elif argument:
        if ":" not in argument:
            known = ", ".join(JOBQUEUES)
            hint = f"give an address such as tcp://host:8786, a file .json or .yaml, or one of {known}"
            raise UsageError(f"{argument!r} is no Dask cluster", hint=hint)
        yield {"address": argument}, WORKER_PATIENCE
    else:
        from distributed import LocalCluster

        made = lambda: LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)  # noqa: E731
        with _made(made) as cluster:
            yield {"address": cluster}, WORKER_PATIENCE


@contextmanager
def _jobqueue(argument: str, workers: int) -> Iterator[object]:
    """Yield a cluster of ``workers`` jobs of a batch system, as the configuration of dask-jobqueue says."""
    import dask

    try:
        import dask_jobqueue  # noqa: F401 - whether it is installed
    except ImportError as error:
        hint = "install it: python -m pip install 'fasthep-archive[dask]'"
        raise UsageError(f"--executor dask={argument} needs dask-jobqueue", hint=hint) from error
    settings, system = (_settings(Path(argument)), "") if argument not in JOBQUEUES else ({}, argument)
    with dask.config.set(dask.config.merge(dask.config.config, settings)):  # beside what it says of other things
        if settings:
            system = next(iter(settings["jobqueue"]))
        with _made(getattr(import_module(f"dask_jobqueue.{system}"), JOBQUEUES[system])) as cluster:
            cluster.scale(workers)
            yield cluster


def _settings(path: Path) -> dict[str, Any]:
    """Return the configuration of dask-jobqueue in a file: of one batch system, below ``jobqueue``.

    :raises UsageError: if it is anything else.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    sections = found.get("jobqueue") if isinstance(found, dict) else None
    if not isinstance(sections, dict) or len(sections) != 1 or next(iter(sections)) not in JOBQUEUES:
        hint = f"it has 'jobqueue:' and below it one of {', '.join(JOBQUEUES)}, as in dask-jobqueue's jobqueue.yaml"
        raise UsageError(f"{path} does not configure one batch system", hint=hint)
    return cast("dict[str, Any]", found)


@contextmanager
def _made(make: Callable[[], Any]) -> Iterator[Any]:
    """Yield a cluster that is made for this run, and end it with its workers."""
    try:
        cluster = make()
    except ArchiveError:
        raise
    except Exception as error:
        hint = "see the configuration of dask-jobqueue for this batch system (~/.config/dask/jobqueue.yaml)"
        raise TaskError(f"the Dask cluster can't be made: {error}", hint=hint) from error
    try:
        yield cluster
    finally:
        with suppress(Exception):
            cluster.close(timeout=10)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from printing, with tracebacks, what is said here in one sentence."""
    known = [name for name in logging.getLogger().manager.loggerDict if name.startswith("distributed")]
    before = {name: logging.getLogger(name).level for name in ("distributed", "tornado.application", *known)}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
