"""Several trees of one file read side by side, entry by entry or by what events are called, as one stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from fasthep_archive.data.layouts import LazyTypes, lacks_texts
from fasthep_archive.data.matched import Entries, Matching, matching
from fasthep_archive.data.source import EventSource, Read, open_source, settled
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, Structure


class Joined(AbstractContextManager["Joined"]):
    """The events of several open trees; see :class:`fasthep_archive.data.source.EventSource`.

    Column ``pt`` of what is read with the prefix ``l1`` is called ``l1.pt``. A counter of one tree is no counter of
    another: lists of two trees can be combined value by value where their lengths prove equal, event by event.

    What is matched with the first tree and may lack events of it (``left``) has optional columns of numbers there, and
    empty lists; of texts, only where none is missing.
    """

    def __init__(self, path: Path, reads: Sequence[Read]) -> None:
        """Open all of ``reads`` in the file ``path``.

        :raises DataError: if one can't be opened, two give a column the same name, or the numbers of entries differ;
            where they are matched, whatever :func:`fasthep_archive.data.matched.matching` raises.
        """
        self._open = ExitStack()
        try:
            self._sources = [self._open.enter_context(open_source(path, read)) for read in reads]
            self._columns = _columns(reads, self._sources)
            self._matching = _matching(path, reads, self._sources)
        except BaseException:
            self._open.close()
            raise
        self._path = path
        self._prefixes = [read.prefix for read in reads]
        self._left = [read.on_mismatch == "left" for read in reads]
        self._entries = [
            None if rows is None else Entries(source, rows, missing=left)
            for source, rows, left in zip(self._sources, self._matching.rows, self._left, strict=True)
        ]
        trees = " and ".join(_named(read) for read in reads)
        self._types = LazyTypes(self._columns, self._type, f"{trees} of {path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def entries(self) -> int:
        bounds = self._matching.bounds
        return self._sources[0].entries if bounds is None else int(bounds[-1])

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return those of the first tree, in events of the stream."""
        bounds, clusters = self._matching.bounds, self._sources[0].clusters()
        return clusters if bounds is None else tuple(sorted({0, *(int(bounds[cluster]) for cluster in clusters)}))

    def settled(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return ``reads`` with what was found out about each; see :func:`fasthep_archive.data.source.settled`."""
        return tuple(settled(source, [read])[0] for source, read in zip(self._sources, reads, strict=True))

    def remarks(self) -> tuple[str, ...]:
        """Return how many events had no partner, where that is no error."""
        return self._matching.remarks

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        names = list(columns)
        wanted: dict[int, dict[str, str]] = {}
        for name in names:
            self._types[name]  # refuses what formulas can't take, and names that nothing has
            number, own = self._columns[name]
            wanted.setdefault(number, {})[own] = name
        found: dict[str, Column] = {}
        for number, called in wanted.items():
            read = (self._entries[number] or self._sources[number]).read(called, start, stop)
            found |= {called[own]: column for own, column in read.items()}
        return {name: found[name] for name in names}

    def _type(self, name: str) -> ColumnType:
        number, own = self._columns[name]
        found = self._sources[number].types()[own]
        if self._left[number]:
            found = self._lacking(name, found, number)
        structure, prefix = found.structure, self._prefixes[number]
        if structure is None or not prefix or structure.name.startswith("["):  # arrays of a fixed size are all alike
            return found
        return replace(found, structure=replace(structure, name=f"{prefix}.{structure.name}"))

    def _lacking(self, name: str, found: ColumnType, number: int) -> ColumnType:
        """Return the type of a column of which events can have no entry."""
        if found.structure is None and found.dtype != "text":
            return replace(found, optional=True)
        if found.structure is not None and found.structure.name.startswith("["):  # some are empty now
            return replace(found, structure=Structure(self._columns[name][1], counted=False))
        rows = self._matching.rows[number]
        if found.dtype == "text" and rows is not None and (rows < 0).any():
            raise lacks_texts(name, self._path)
        return found


def _matching(path: Path, reads: Sequence[Read], sources: Sequence[EventSource]) -> Matching:
    """Return which entries belong together: those found by their ids, or those of the same number."""
    if any(read.on for read in reads):
        return matching(path, reads, sources)
    _same_entries(path, reads, sources)
    return Matching(rows=(None,) * len(reads))


def _columns(reads: Sequence[Read], sources: Sequence[EventSource]) -> dict[str, tuple[int, str]]:
    """Return for each column which source has it, and its name there."""
    found: dict[str, tuple[int, str]] = {}
    for number, (read, source) in enumerate(zip(reads, sources, strict=True)):
        for own in source.types():
            name = f"{read.prefix}.{own}" if read.prefix else own
            if name in found:
                both = f"{_named(reads[found[name][0]])} and {_named(read)}"
                raise DataError(f"{both} both have a column {name!r}", hint="join them with different prefixes")
            found[name] = number, own
    return found


def _same_entries(path: Path, reads: Sequence[Read], sources: Sequence[EventSource]) -> None:
    first = sources[0].entries
    for read, source in zip(reads, sources, strict=True):
        if source.entries != first:
            message = f"{_named(reads[0])} of {path} has {first} entries and {_named(read)} has {source.entries}"
            raise DataError(f"{message}, so they can't be joined entry by entry", hint="join trees of the same events")


def _named(read: Read) -> str:
    return f"tree {read.tree!r}" if read.tree else "the table"
