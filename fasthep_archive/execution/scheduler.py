"""Runs a graph of tasks on any :class:`concurrent.futures.Executor`.

The order in which tasks finish decides nothing: results are in the store, by key. Work in flight is bounded. A lost
worker's tasks are tried again in a new pool; a task that fails takes down only what depends on it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import TypeVar

from fasthep_archive.errors import TaskError
from fasthep_archive.execution.worker import Done

T = TypeVar("T")

LOST_WORKERS = 3
"""How often one task may lose its worker before it counts as failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A node of the graph: what to call (picklable, without arguments), and which tasks must have finished before."""

    name: str
    call: Callable[[], Done]
    needs: tuple[str, ...] = ()


class LostExecutor(TaskError):
    """What gives work to the workers is gone: nothing can be computed any more, and the run ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A task that raised ``error``, or that could not start because of the tasks in ``because``."""

    error: BaseException | None
    because: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class _State:
    """Where a run of the graph stands.

    :ivar ended: futures that have ended and that nobody has looked at; waiting for these costs the same however many
        are in flight.
    """

    tasks: Mapping[str, Task]
    sorter: TopologicalSorter[str]
    waiting: deque[str] = field(default_factory=deque)
    ended: SimpleQueue[Future[Done]] = field(default_factory=SimpleQueue)
    running: dict[Future[Done], str] = field(default_factory=dict)
    failed: dict[str, Failed] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)


def execute(
    tasks: Iterable[Task],
    pool: Callable[[], Executor],
    *,
    in_flight: Callable[[], int],
    finished: Callable[[str, Done], None],
) -> Mapping[str, Failed]:
    """Run ``tasks``; return those that failed. ``finished`` hears of each success, in order of time.

    :param pool: makes an executor; called again when a worker was lost.
    :param in_flight: returns how many tasks the executor may have, now.
    :raises LostExecutor: if the executor says that it is gone; what had finished is in the store.
    :raises KeyboardInterrupt: after pending work was cancelled; what had finished is in the store.
    """
    by_name = {task.name: task for task in tasks}
    sorter = TopologicalSorter({task.name: task.needs for task in by_name.values()})
    sorter.prepare()
    state = _State(tasks=by_name, sorter=sorter)
    while sorter.is_active():
        executor = pool()
        try:
            _drain(state, executor, in_flight, finished)
        except BrokenExecutor as error:
            _return_lost(state, error)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        executor.shutdown(wait=True, cancel_futures=True)
    return state.failed


def _drain(
    state: _State, executor: Executor, in_flight: Callable[[], int], finished: Callable[[str, Done], None]
) -> None:
    """Work until nothing is left, or the executor breaks."""
    state.ended = SimpleQueue()  # what ends late of an executor that broke is nobody's business
    while state.sorter.is_active():
        state.waiting.extend(state.sorter.get_ready())
        room = in_flight()
        while state.waiting and len(state.running) < room:
            _start(state, executor, state.waiting.popleft())
        if not state.running:
            continue
        ended = [state.ended.get(), *(state.ended.get() for _ in range(state.ended.qsize()))]
        for future in sorted(ended, key=lambda future: state.running[future]):
            _collect(state, future, finished)


def _start(state: _State, executor: Executor, name: str) -> None:
    task = state.tasks[name]
    broken = tuple(need for need in task.needs if need in state.failed)
    if broken:
        state.failed[name] = Failed(error=None, because=broken)
        state.sorter.done(name)
        return
    try:
        future = executor.submit(task.call)
    except BrokenExecutor:
        state.waiting.appendleft(name)
        raise
    state.running[future] = name
    future.add_done_callback(state.ended.put)


def _collect(state: _State, future: Future[Done], finished: Callable[[str, Done], None]) -> None:
    """Take the result of ``future``; a broken pool leaves the future where it is, for :func:`_return_lost`."""
    error = future.exception()
    if isinstance(error, BrokenExecutor | LostExecutor):
        raise error
    name = state.running.pop(future)
    if error is not None:
        state.failed[name] = Failed(error=error)
    else:
        finished(name, future.result())
    state.sorter.done(name)


def _return_lost(state: _State, error: BrokenExecutor) -> None:
    """Queue again what was running when the pool broke; nobody can tell which task killed its worker."""
    for name in state.running.values():
        state.losses[name] = state.losses.get(name, 0) + 1
        if state.losses[name] >= LOST_WORKERS:
            state.failed[name] = Failed(error=error)
            state.sorter.done(name)
        else:
            state.waiting.append(name)
    state.running.clear()
    places = {name: place for place, name in enumerate(state.tasks)}
    state.waiting = deque(sorted(state.waiting, key=places.__getitem__))


class InProcess(Executor):
    """Runs each task at once in the calling process: no start-up, nothing to lose a worker of."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        """Run ``fn`` and return its finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries any error to whoever asks for the result
            future.set_exception(error)
        return future


def process_pool(workers: int) -> Executor:
    """Return a pool of ``workers`` processes that leave Ctrl-C to their parent and die with it."""
    if workers == 1:
        return InProcess()
    return ProcessPoolExecutor(max_workers=workers, initializer=prepare_worker, initargs=(os.getpid(),))


def prepare_worker(parent: int) -> None:
    """Make this process a worker of ``parent``: it leaves Ctrl-C to its parent and dies with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # inherited from the parent it would raise: in a task, the pool would take that for the task's error, and a worker
    # that the pool ends because another one was lost would live on, with the pool waiting for its end
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sentinel = multiprocessing.parent_process()
    if sentinel is not None:
        threading.Thread(target=_die_with, args=(sentinel, parent), daemon=True).start()


def _die_with(parent: multiprocessing.process.BaseProcess, pid: int) -> None:
    """End this worker when its parent has ended, however it ended (``kill -9`` closes no queue)."""
    parent.join()
    os._exit(1 if parent.pid == pid else 2)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM stop a run as Ctrl-C does, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
