"""Where events come from: one protocol, a table of the kinds of sources, and how entries are cut into partitions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeAlias

from fasthep_archive.data.parquet import open_parquet
from fasthep_archive.data.root import open_tree
from fasthep_archive.data.toy import open_generated
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, nearest
from fasthep_archive.formula.columns import Column, ColumnType


class EventSource(Protocol):
    """The events of one file, open for reading."""

    @property
    def entries(self) -> int:
        """Number of events, counted in the file."""

    def types(self) -> Mapping[str, ColumnType]:
        """Return the columns' types by name, each determined when it is asked for.

        Asking for a column that formulas can't use raises DataError, which says what it is; asking for one that does
        not exist raises a DataError that is also a KeyError.
        """

    def clusters(self) -> tuple[int, ...]:
        """Return the entries where reading can start and stop without decompressing anything twice.

        Ascending, from 0 to the number of entries; a property of the file, whichever columns are read.
        """

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        """Return entries ``start`` to ``stop`` of ``columns``, with offsets from 0, in native byte order.

        What is read is checked: damage, and numbers that formulas can't take exactly, raise DataError.
        """


Opener: TypeAlias = Callable[[Path, str], AbstractContextManager[EventSource]]

KINDS: Mapping[str, Opener] = {
    "root_tree": open_tree,
    "workshop.parquet": open_parquet,
    "workshop.toy_source": open_generated,
}
"""How each kind of source opens the events named by the second argument (a tree; empty where files hold one table)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What is read of a file as one source of events.

    :ivar kind: of the source. :ivar tree: the events' name in the file; empty where the kind has none.
    :ivar prefix: what the names of columns begin with, before a dot; empty: they stay as they are.
    :ivar options: of the kind; what the file holds may depend on them, how it is read does not.
    """

    kind: str
    tree: str
    prefix: str = ""
    options: Mapping[str, JSON] = field(default_factory=dict, hash=False)


def open_events(path: Path, reads: Sequence[Read]) -> AbstractContextManager[EventSource]:
    """Return the events of one file, read once or several times side by side; a context manager.

    What is read with a prefix has columns ``PREFIX.NAME``; entry by entry, all belong to one event.

    :param reads: at least one; the clusters are those of the first.
    :raises DataError: if the file can't be read so, or what is read has different numbers of entries.
    """
    if len(reads) == 1 and not reads[0].prefix:
        return open_source(reads[0].kind, path, reads[0].tree)
    from fasthep_archive.data.joined import Joined

    return Joined(path, reads)


def open_source(kind: str, path: Path, name: str) -> AbstractContextManager[EventSource]:
    """Return the events ``name`` in the file ``path``; a context manager.

    :raises DataError: if the kind is unknown or the file can't be read as one of this kind.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of source: {kind}", hint=nearest(kind, KINDS) or f"known: {', '.join(KINDS)}")
    return KINDS[kind](path, name)


def partitions(entries: int, clusters: Sequence[int], chunk: int) -> tuple[tuple[int, int], ...]:
    """Return ranges of entries that cover all: whole clusters, as many as fit in ``chunk`` entries.

    A cluster larger than that is cut into as few nearly equal ranges as possible, since it is decompressed once for
    each. Depends on nothing but the arguments.

    >>> partitions(1000, (0, 300, 600, 900, 1000), 600)
    ((0, 600), (600, 1000))
    >>> partitions(1000, (0, 1000), 400)
    ((0, 333), (333, 666), (666, 1000))
    """
    if chunk < 1:
        raise ValueError(f"a chunk of {chunk} entries holds nothing")
    bounds = sorted({0, entries, *(bound for bound in clusters if 0 < bound < entries)})
    return tuple(_ranges(bounds, chunk))


def _ranges(bounds: Sequence[int], chunk: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(bounds) - 1:
        start = bounds[at]
        last = bisect_right(bounds, start + chunk) - 1
        if last > at:
            yield start, bounds[last]
        else:
            last = at + 1
            size = bounds[last] - start
            pieces = -(-size // chunk)
            cuts = [start + size * piece // pieces for piece in range(pieces + 1)]
            yield from pairwise(cuts)
        at = last
