"""Executors: what gives tasks to workers, on this machine or beyond. One table, one protocol.

``--executor`` names one, with what it needs after ``=``. Results are in the store by key and in plan order, so that no
executor, no number of workers and no lost one of them can change a byte of a product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from fasthep_archive.context import PROCESSES, Context
from fasthep_archive.environment.packages import Package
from fasthep_archive.errors import UsageError, of_known
from fasthep_archive.execution.devices import pool
from fasthep_archive.execution.store import Store


class Workers(Protocol):
    """The workers of one run."""

    @property
    def count(self) -> int:
        """How many tasks they can work on at the same time, now."""

    @property
    def in_flight(self) -> int:
        """How many tasks may be given to them at a time, now: enough to keep all busy."""

    def pool(self) -> Executor:
        """Return what takes tasks; called again when it broke."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a run asks of an executor.

    :ivar argument: what stands behind ``=``. :ivar workers: how many there is work for, at most as many as are wanted.
    :ivar packages: what workers must have. :ivar ordinals: the GPUs of this machine that are used.
    """

    argument: str
    workers: int
    context: Context
    store: Store
    packages: tuple[Package, ...]
    ordinals: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """An executor of the table.

    :ivar opens: makes its workers available while the context lasts.
    :ivar argument: what may stand behind ``=``, in words; empty: nothing.
    :ivar imports: modules that it needs. :ivar extra: of this distribution that installs them.
    :ivar here: whether its workers are processes of this one, with its files, packages and devices.
    """

    opens: Callable[[Request], AbstractContextManager[Workers]]
    argument: str = ""
    imports: tuple[str, ...] = ()
    extra: str = ""
    here: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """An executor that was named, and its argument."""

    name: str
    argument: str

    @property
    def kind(self) -> Kind:
        """Its entry in the table."""
        return EXECUTORS[self.name]


def chosen(text: str) -> Chosen:
    """Return what ``--executor`` names.

    :raises UsageError: if there is none of that name, if it takes no argument, or if it is not installed.
    """
    name, equals, argument = text.partition("=")
    kind = EXECUTORS.get(name)
    if kind is None:
        raise UsageError(f"there is no executor {name!r}", hint=of_known(name, EXECUTORS))
    if equals and not (kind.argument and argument):
        takes = f"takes {kind.argument} after '='" if kind.argument else "takes nothing after '='"
        raise UsageError(f"--executor {text}: {name} {takes}")
    for module in kind.imports:
        if find_spec(module) is None:
            hint = f"install it: python -m pip install 'fasthep-archive[{kind.extra}]'"
            raise UsageError(f"--executor {name} needs {module}, which is not installed here", hint=hint)
    return Chosen(name=name, argument=argument)


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """Worker processes on this machine, and one for each of its GPUs."""

    count: int
    ordinals: tuple[int, ...]

    @property
    def in_flight(self) -> int:
        """Return two for each worker: the next task waits there when one ends."""
        return 2 * (self.count + len(self.ordinals))

    def pool(self) -> Executor:
        """Start the processes."""
        return pool(self.count, self.ordinals)


@contextmanager
def _processes(request: Request) -> Iterator[Workers]:
    yield Processes(count=request.workers, ordinals=request.ordinals)


@contextmanager
def _dask(request: Request) -> Iterator[Workers]:
    from fasthep_archive.execution.executors_dask import opened

    with opened(request) as workers:
        yield workers


@contextmanager
def _mpi(request: Request) -> Iterator[Workers]:
    from fasthep_archive.execution.executors_mpi import opened

    with opened(request) as workers:
        yield workers


EXECUTORS: Mapping[str, Kind] = {
    PROCESSES: Kind(opens=_processes, here=True),
    "dask": Kind(
        opens=_dask,
        argument="a scheduler's address, its scheduler file, a batch system that dask-jobqueue knows, or a .yaml file",
        imports=("distributed",),
        extra="dask",
    ),
    "mpi": Kind(opens=_mpi, imports=("mpi4py",), extra="mpi"),
}
"""All executors by name."""
