"""Fetching ahead: while one item is being worked on, a thread fetches the next."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class _Failed:
    """An exception on its way to another thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = _Failed(StopIteration())


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield ``items``, which a thread of its own fetches, one item ahead.

    There are two items at a time: one is worked on, and one is being fetched or waits. When the thread begins with item
    ``k``, whoever takes the items has come back for item ``k - 1``: it is done with ``k - 2``. An error is raised where
    its item would have been. When nobody wants more, the thread ends, and closes ``items``.
    """
    fetching = _Fetching(items)
    try:
        yield from fetching.items()
    finally:
        fetching.end()


class _Fetching(Generic[T]):
    def __init__(self, items: Generator[T, None, None]) -> None:
        self._items = items
        self._fetched: SimpleQueue[T | _Failed] = SimpleQueue()
        self._wanted = Semaphore(0)
        self._over = Event()
        self._thread = Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def items(self) -> Iterator[T]:
        self._wanted.release()
        while (item := self._fetched.get()) is not _END:
            if isinstance(item, _Failed):
                try:
                    raise item.error
                finally:
                    del item  # the error knows this frame, and nothing would end before the garbage is collected
            self._wanted.release()
            yield item

    def end(self) -> None:
        self._over.set()
        self._wanted.release()
        self._thread.join()
        while not self._fetched.empty():  # what was fetched for nobody holds memory
            self._fetched.get()

    def _fetch(self) -> None:
        try:
            while self._is_wanted():
                self._fetched.put(next(self._items))
        except StopIteration:
            self._fetched.put(_END)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            self._fetched.put(_Failed(error))
        finally:
            self._items.close()

    def _is_wanted(self) -> bool:
        """Wait until another item is to be fetched; return whether one is."""
        self._wanted.acquire()
        return not self._over.is_set()
