"""Fetching ahead: while one item is being worked on, a thread fetches the next."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

_PATIENCE = 0.05
"""Seconds after which a thread that waits looks whether it is still wanted."""


class _Failed:
    """An exception on its way to another thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = _Failed(StopIteration())


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield ``items``, which a thread of its own fetches, one item ahead.

    When the thread begins with item ``k``, whoever takes the items has come back for item ``k - 2``: it is done with
    ``k - 3``. An error is raised where its item would have been. When nobody wants more, the thread ends, and closes
    ``items``.
    """
    fetching = _Fetching(items)
    try:
        yield from fetching.items()
    finally:
        fetching.end()


class _Fetching(Generic[T]):
    def __init__(self, items: Generator[T, None, None]) -> None:
        self._items = items
        self._fetched: Queue[T | _Failed] = Queue(maxsize=1)
        self._unwanted = Event()
        self._thread = Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def items(self) -> Iterator[T]:
        while (item := self._fetched.get()) is not _END:
            if isinstance(item, _Failed):
                try:
                    raise item.error
                finally:
                    del item  # the error knows this frame, and nothing would end before the garbage is collected
            yield item

    def end(self) -> None:
        self._unwanted.set()
        self._thread.join()
        while True:  # what was fetched for nobody holds memory
            try:
                self._fetched.get_nowait()
            except Empty:
                return

    def _fetch(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(_END)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            self._put(_Failed(error))
        finally:
            self._items.close()

    def _put(self, item: T | _Failed) -> bool:
        """Hand on an item; return whether anybody took it."""
        while not self._unwanted.is_set():
            try:
                self._fetched.put(item, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False
