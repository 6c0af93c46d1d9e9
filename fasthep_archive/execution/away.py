"""An executor whose workers may be on other machines, whatever carries the messages there.

Each task is sent with the terms on which a worker may compute it. A worker that answers that it doesn't meet them gets
no more; its task goes to another one. Results that travel are stored here before their task counts as finished.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar, cast

from fasthep_archive.context import Progress
from fasthep_archive.execution.admission import Terms
from fasthep_archive.execution.errands import Answer, Lacking, Refusal, Reply, message
from fasthep_archive.execution.scheduler import LostExecutor
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.worker import Done

T = TypeVar("T")

Heard: TypeAlias = Callable[[Reply | BaseException], None]


class Link(Protocol):
    """Carries messages to workers, and their answers back."""

    def send(self, content: bytes, avoid: frozenset[str], heard: Heard) -> None:
        """Let a worker that is none of ``avoid`` perform a message; ``heard`` is called once, in any thread.

        :raises LostExecutor: if there is no other worker.
        """

    def cancel(self) -> None:
        """Forget what was sent and not begun."""


@dataclass(kw_only=True)
class Refused:
    """Workers that were refused, for the rest of a run: by name, where each is and why.

    :ivar progress: where it is told.
    """

    progress: Progress
    names: frozenset[str] = frozenset()
    reasons: list[str] = field(default_factory=list)

    def add(self, refusal: Refusal) -> None:
        """Note one, and tell it."""
        text = f"a worker on {refusal.host} gets no work: {'; '.join(refusal.faults)}"
        if refusal.worker not in self.names:
            self.progress.message(text)
            self.reasons.append(text)
        self.names |= {refusal.worker}

    def none_left(self) -> LostExecutor:
        """Return the error of a run to which no worker is left."""
        reasons = list(dict.fromkeys(self.reasons))
        hint = "let workers run in the environment of this process: the same Python, and the same packages"
        return LostExecutor("\n".join(["no worker can be given work", *reasons]), hint=hint)


class Away(Executor):
    """Gives tasks to workers through a link."""

    def __init__(self, link: Link, terms: Terms, store: Store, refused: Refused) -> None:
        self._link = link
        self._terms = terms
        self._store = store
        self._refused = refused
        self._closed = threading.Event()

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        """Send a task, which takes no arguments; its future ends when its results are in the store."""
        future: Future[Done] = Future()
        future.set_running_or_notify_cancel()
        task = cast("Callable[[], Done]", fn)
        self._send(task, message(task, self._terms, self._store), future)
        return cast("Future[T]", future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what is under way, if it is to be cancelled; the workers stay with whoever has opened them."""
        if cancel_futures:
            self._closed.set()
            self._link.cancel()

    def _send(self, task: Callable[[], Done], content: bytes, future: Future[Done]) -> None:
        def heard(answer: Reply | BaseException) -> None:
            if self._closed.is_set():
                return
            try:
                self._hear(answer, task, content, future)
            except Exception as error:  # noqa: BLE001 - in a thread of the link, where nobody else would see it
                future.set_exception(error)

        try:
            self._link.send(content, self._refused.names, heard)
        except LostExecutor as error:
            future.set_exception(error)

    def _hear(
        self, answer: Reply | BaseException, task: Callable[[], Done], content: bytes, future: Future[Done]
    ) -> None:
        """End a future with what a worker has answered, or send its task to another one, or with what it lacks."""
        match answer:
            case Refusal():
                self._refused.add(answer)
                self._send(task, content, future)
            case Lacking():
                self._send(task, message(task, self._terms, self._store, code=True), future)
            case Answer(done=Done() as done):
                for key, result in answer.results.items():
                    self._store.keep(key, result)
                future.set_result(done)
            case Answer():
                future.set_exception(answer.error)
            case _:
                future.set_exception(answer)
