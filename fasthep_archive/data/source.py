"""Where events come from: one protocol, a table of the kinds of sources, and how entries are cut into partitions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, nearest
from fasthep_archive.formula.columns import Column, ColumnType

PROVIDER = "provided by"
"""Among options, what says which plug-in reads a file, for keys; the plug-in does not see it."""


@runtime_checkable
class Settling(Protocol):
    """Events of a kind whose files don't say what they hold: finding out takes reading them once."""

    def settled(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return ``reads``, with which the events were opened, with what was found: opening them so is quick."""


@runtime_checkable
class Remarking(Protocol):
    """Events of a file of which something is worth a warning."""

    def remarks(self) -> tuple[str, ...]:
        """Return what; the path of the file is not said."""


class Partners(NamedTuple):
    """How many entries of a source belong to events, of how many."""

    matched: int
    entries: int


@runtime_checkable
class Partnered(Protocol):
    """Events whose partners are looked for in files in which others look too."""

    def partners(self) -> Mapping[str, Partners]:
        """Return how many were found, by the prefix of the source."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What is read of a file as one source of events, or as a part of one that is spread over files.

    :ivar kind: of the source. :ivar tree: the events' name in the file; empty where the kind has none.
    :ivar prefix: what the names of columns begin with, before a dot; empty: they stay as they are.
    :ivar on: columns by whose values its events are found for those of the first; none: they stand side by side.
    :ivar on_mismatch: what events without partner mean then: ``error``, ``inner`` or ``left``.
    :ivar place: of the file among those that stand side by side; 0: the first, whose entries are the events.
    :ivar spread: whether events are looked for in all files of its source, some of which have no partner here. The
        reads of these files stand one after the other and have one prefix.
    :ivar options: of the kind: what the file holds, or how it is read (delimiter, types of columns). Part of all keys.
    :ivar index: where in the file events are, as an earlier look at it has found; follows from the file and the rest.
    """

    kind: str
    tree: str
    prefix: str = ""
    on: tuple[str, ...] = ()
    on_mismatch: str = ""
    place: int = 0
    spread: bool = False
    options: Mapping[str, JSON] = field(default_factory=dict, hash=False)
    index: tuple[int, ...] = field(default=(), compare=False, repr=False)


Opener: TypeAlias = Callable[[Path, Read], AbstractContextManager[EventSource]]
"""What the name of a kind of source stands for: it opens a file as events, of which the caller sees to the prefix."""


def open_events(path: Path, reads: Sequence[Read], beside: Sequence[Path] = ()) -> AbstractContextManager[EventSource]:
    """Return the events of one file, read once or several times side by side, with other files; a context manager.

    What is read with a prefix has columns ``PREFIX.NAME``. Entry by entry, all belong to one event, unless the reads
    say by which columns events are found: then the events are those of the first, in its order.

    :param reads: at least one; the clusters are those of the first.
    :param beside: the other files, those of places 1, 2 ... of ``reads``.
    :raises DataError: if a file can't be read so, or what is read has different numbers of entries or other events.
    """
    if len(reads) == 1 and not reads[0].prefix:
        return open_source(path, reads[0])
    from fasthep_archive.data.joined import Joined

    return Joined((path, *beside), reads)


def settled(events: EventSource, reads: Sequence[Read]) -> tuple[Read, ...]:
    """Return ``reads``, with which ``events`` were opened, with what was found out about the file in doing so.

    What was found out is the same wherever the file is opened: it belongs to the plan, not to a machine.
    """
    return events.settled(tuple(reads)) if isinstance(events, Settling) else tuple(reads)


def remarks(events: EventSource) -> tuple[str, ...]:
    """Return what of the open file is worth a warning; the path of the file is not said."""
    return events.remarks() if isinstance(events, Remarking) else ()


def partners(events: EventSource) -> Mapping[str, Partners]:
    """Return how many events of each source that other files need too belong to events of this one, by prefix."""
    return events.partners() if isinstance(events, Partnered) else {}


def open_source(path: Path, read: Read) -> AbstractContextManager[EventSource]:
    """Return the events of the file ``path``, read as ``read`` says but for its prefix; a context manager.

    :raises DataError: if the kind is unknown or the file can't be read as one of this kind.
    """
    return _opener(read.kind)(path, read)


@cache
def _opener(kind: str) -> Opener:
    """Return how a kind opens files; kept, as looking through what is installed takes longer than opening a file."""
    known = registry.provided("sources", version="")
    if kind not in known:
        hint = nearest(kind, known) or f"known: {', '.join(known)}"
        raise DataError(f"unknown kind of source: {kind}", hint=hint)
    found = known[kind].load()
    if registry.is_ours("sources", kind):
        return cast("Opener", found)
    from fasthep_archive.data.plugged import opener

    return opener(found, known[kind])


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
