"""Several trees of one file read side by side, entry by entry, as one stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from fasthep_archive.data.layouts import LazyTypes
from fasthep_archive.data.source import EventSource, Read, open_source
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType


class Joined(AbstractContextManager["Joined"]):
    """The events of several open trees; see :class:`fasthep_archive.data.source.EventSource`.

    Column ``pt`` of what is read with the prefix ``l1`` is called ``l1.pt``. A counter of one tree is no counter of
    another: lists of two trees can be combined value by value where their lengths prove equal, event by event.
    """

    def __init__(self, path: Path, reads: Sequence[Read]) -> None:
        """Open all of ``reads`` in the file ``path``.

        :raises DataError: if one can't be opened, two give a column the same name, or the numbers of entries differ.
        """
        self._open = ExitStack()
        try:
            self._sources = [self._open.enter_context(open_source(read.kind, path, read.tree)) for read in reads]
            _same_entries(path, reads, self._sources)
            self._columns = _columns(reads, self._sources)
        except BaseException:
            self._open.close()
            raise
        self._prefixes = [read.prefix for read in reads]
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
        return self._sources[0].entries

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        return self._sources[0].clusters()

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        names = list(columns)
        wanted: dict[int, dict[str, str]] = {}
        for name in names:
            self._types[name]  # refuses what formulas can't take, and names that nothing has
            number, own = self._columns[name]
            wanted.setdefault(number, {})[own] = name
        found: dict[str, Column] = {}
        for number, called in wanted.items():
            read = self._sources[number].read(called, start, stop)
            found |= {called[own]: column for own, column in read.items()}
        return {name: found[name] for name in names}

    def _type(self, name: str) -> ColumnType:
        number, own = self._columns[name]
        found = self._sources[number].types()[own]
        structure, prefix = found.structure, self._prefixes[number]
        if structure is None or not prefix or structure.name.startswith("["):  # arrays of a fixed size are all alike
            return found
        return replace(found, structure=replace(structure, name=f"{prefix}.{structure.name}"))


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
