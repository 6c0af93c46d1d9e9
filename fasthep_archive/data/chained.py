"""Several files of one source, one after the other, as one stream of events: where events are looked for in all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fasthep_archive.data.layouts import LazyTypes, sharing_offsets
from fasthep_archive.data.source import EventSource, Read, open_source, settled
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, concatenated

_KEPT = 150
"""Files that are kept open: a process may have about a thousand, and reads several streams."""


class Chained(AbstractContextManager["Chained"]):
    """The events of files whose columns are alike; see :class:`fasthep_archive.data.source.EventSource`.

    :ivar bounds: the first entry of each file, and the number of all.
    """

    def __init__(self, paths: Sequence[Path], reads: Sequence[Read]) -> None:
        """Open each file, as the read of the same number says; at least one.

        :raises DataError: if one can't be opened.
        """
        self._paths = paths
        self._reads = list(reads)
        self._open: OrderedDict[int, tuple[ExitStack, EventSource]] = OrderedDict()
        try:
            self._clusters = [self._looked_at(number) for number in range(len(paths))]
            names = dict.fromkeys(self._source(0).types())
        except BaseException:
            self._close()
            raise
        self.bounds = tuple(accumulate((clusters[-1] for clusters in self._clusters), initial=0))
        self._types = LazyTypes(names, self._type, f"{paths[0]} and {len(paths) - 1} more")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def entries(self) -> int:
        return self.bounds[-1]

    def types(self) -> Mapping[str, ColumnType]:
        """Return the types of the columns of the first file, which the others must have too."""
        return self._types

    def clusters(self) -> tuple[int, ...]:
        starts = zip(self.bounds, self._clusters, strict=False)
        return tuple(sorted({bound + cluster for bound, clusters in starts for cluster in clusters}))

    def settled(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return ``reads``, with which it was made, with what was found out; see :func:`~.source.settled`."""
        return tuple(self._reads)

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        names = list(columns)
        pieces = []
        for number, (first, last) in enumerate(pairwise(self.bounds)):
            if max(start, first) < min(stop, last):
                inside = max(start, first) - first, min(stop, last) - first
                pieces.append(self._source(number).read(names, *inside))
        if not pieces:
            return self._source(0).read(names, 0, 0)
        found = {name: one_after_the_other([piece[name] for piece in pieces]) for name in names}
        return sharing_offsets(found, {name: self._types[name] for name in names})

    def _type(self, name: str) -> ColumnType:
        found = [self._source(number).types()[name] for number in range(len(self._paths))]
        for path, other in zip(self._paths, found, strict=True):
            if (other.dtype, other.structure) != (found[0].dtype, found[0].structure):
                message = f"column {name!r} holds {_told(other)} in {path}, and {_told(found[0])} in {self._paths[0]}"
                raise DataError(message, hint="write the same type to all files of a source")
        return ColumnType(found[0].dtype, found[0].structure, any(other.optional for other in found))

    def _looked_at(self, number: int) -> tuple[int, ...]:
        """Return the clusters of a file, from 0 to its number of entries; keep what makes opening it again quick."""
        source = self._source(number)
        self._reads[number] = settled(source, [self._reads[number]])[0]
        return tuple(sorted({0, *source.clusters(), source.entries}))

    def _source(self, number: int) -> EventSource:
        """Return an open file; others are closed when there are too many."""
        if number not in self._open:
            while len(self._open) >= _KEPT:
                _, (oldest, _) = self._open.popitem(last=False)
                oldest.close()
            stack = ExitStack()
            self._open[number] = stack, stack.enter_context(open_source(self._paths[number], self._reads[number]))
        self._open.move_to_end(number)
        return self._open[number][1]

    def _close(self) -> None:
        while self._open:
            _, (stack, _) = self._open.popitem()
            stack.close()


def one_after_the_other(columns: Sequence[Column]) -> Column:
    """Return the events of columns of one type, which may hold integers of different sizes."""
    contents = {column.content.dtype for column in columns}
    if len(contents) > 1 and all(dtype.kind in "iu" for dtype in contents):  # NumPy makes float64 of uint64 and int64
        columns = [Column(each.content.astype(np.int64), each.offsets, each.valid, each.words) for each in columns]
    return concatenated(columns)


def _told(found: ColumnType) -> str:
    return f"lists of {found.dtype}" if found.structure is not None else found.dtype
