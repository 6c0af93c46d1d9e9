"""Workers that ``mpiexec`` has started: the ranks of ``python -m mpi4py.futures`` but for the first, which asks."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fasthep_archive.errors import UsageError
from fasthep_archive.execution.admission import Examined, Terms, examined, terms_of, tokens
from fasthep_archive.execution.away import Away, Heard, Refused
from fasthep_archive.execution.errands import Refusal, Reply, perform, worker_id
from fasthep_archive.execution.executors import Request
from fasthep_archive.execution.store import Store

if TYPE_CHECKING:
    from mpi4py.futures import MPIPoolExecutor

LAUNCHER = "mpi4py.futures"
HINT = "mpiexec -n 9 python -m mpi4py.futures -m fasthep_archive run ... --executor mpi: the first rank and 8 workers"


@contextmanager
def opened(request: Request) -> Iterator[Ranks]:
    """Yield the other ranks, each examined before it gets work.

    :raises UsageError: if this process was not started as it should.
    :raises LostExecutor: if a rank does not meet the terms.
    """
    if LAUNCHER not in sys.orig_argv:
        raise UsageError("--executor mpi: this process has no MPI workers", hint=HINT)
    from mpi4py import MPI
    from mpi4py.futures import MPIPoolExecutor

    if MPI.COMM_WORLD.Get_size() < 2:
        raise UsageError("--executor mpi: mpiexec has started one rank, so there are no workers", hint=HINT)
    with tokens(request.store.root, request.context.cache) as left, MPIPoolExecutor() as pool:
        terms = terms_of(request.packages, left, request.context.cache)
        refused = Refused(progress=request.context.progress)
        link = MPILink(pool)
        terms = replace(terms, shared=_examined(pool, link.count, terms, refused))
        yield Ranks(link=link, terms=terms, store=request.store, refused=refused)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The ranks that work."""

    link: MPILink
    terms: Terms
    store: Store
    refused: Refused

    @property
    def count(self) -> int:
        """Return their number."""
        return self.link.count

    @property
    def in_flight(self) -> int:
        """Return two for each, and some more, so that none waits for a message to travel."""
        return 16 + 2 * self.count

    def pool(self) -> Executor:
        """Return what takes tasks."""
        return Away(self.link, self.terms, self.store, self.refused)


class MPILink:
    """Carries messages to the ranks. None can be avoided; where one is lost, MPI ends them all."""

    def __init__(self, pool: MPIPoolExecutor) -> None:
        pool.bootup()
        self.count = int(pool.num_workers)
        self._pool = pool
        self._sent: set[Future[Reply]] = set()

    def send(self, content: bytes, avoid: frozenset[str], heard: Heard) -> None:
        """Submit a message."""
        future = self._pool.submit(perform, content)
        self._sent.add(future)

        def ended(future: Future[Reply]) -> None:
            self._sent.discard(future)
            try:
                error = future.exception()
            except CancelledError:
                return
            heard(future.result() if error is None else error)

        future.add_done_callback(ended)

    def cancel(self) -> None:
        """Cancel what has not begun."""
        for future in list(self._sent):
            future.cancel()


def _together(terms: bytes) -> tuple[str, Examined]:
    """Examine this rank, and wait until all others are asked too: so each is asked once."""
    from mpi4py.futures import get_comm_workers

    get_comm_workers().Barrier()
    return worker_id(), examined(terms)


def _examined(pool: MPIPoolExecutor, count: int, terms: Terms, refused: Refused) -> bool:
    """Return whether all ranks share the directories.

    :raises LostExecutor: if one does not meet the terms: MPI has no way to leave it out.
    """
    found = dict(pool.map(_together, [pickle.dumps(terms)] * count))
    for name, what in found.items():
        if what.faults:
            refused.add(Refusal(faults=what.faults, host=name, worker=name))
    if refused.names:
        raise refused.none_left()
    return all(what.shares for what in found.values())
