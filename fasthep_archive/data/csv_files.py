"""CSV files (RFC 4180, UTF-8, lines end in LF) from columns: a line of names, then a line for each event.

Numbers are the shortest decimals that read back to the same doubles, floats with a point or exponent; ``nan``, ``inf``
and ``-inf`` are written so. Booleans are ``true`` and ``false``; a missing value is an empty cell. Texts are quoted,
nothing else is, so that an empty text and a missing value differ, and ``"7"`` is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from fasthep_archive.data.forms import AS_FIRST, Branch, Columns, Types, Unfit, clusters, misnamed, refuse
from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Array, Column


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvForm:
    """How a CSV file is written; there is one way."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> CsvForm:  # noqa: ARG003 - as all forms are made
        """Return the form."""
        return cls()

    @property
    def suffix(self) -> str:
        return ".csv"

    def canonical(self) -> JSON:
        return ["csv"]

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        for branch in branches:
            if branch.lists:
                message = f"a CSV file can't hold {branch.name!r}, which has a list of values for each event"
                hint = f"reduce it, for example count({branch.name}) or leading({branch.name}), or write kind: parquet"
                return Unfit(message=message, hint=hint)
        return misnamed(branches, "a column")

    def write(
        self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST
    ) -> None:
        refuse(self.unfit(branches))
        target.write(f"{','.join(quoted(branch.name) for branch in branches)}\n".encode())
        for cluster in clusters(branches, parts, types):
            cells = [_cells(branch, cluster[branch.name]) for branch in branches]
            target.write("".join(f"{','.join(row)}\n" for row in zip(*cells, strict=True)).encode())


def quoted(text: str) -> str:
    """Return a text as a cell."""
    return '"' + text.replace('"', '""') + '"'


_TRUTH = ("false", "true")


def _cells(branch: Branch, column: Column) -> Iterator[str]:
    """Yield the cells of a column."""
    if branch.text:
        words = [quoted(word) for word in column.words]
        return (words[code] for code in column.content.tolist())
    cells = _WRITTEN[column.content.dtype.kind](column.content)
    if column.valid is None:
        return iter(cells)
    return (cell if valid else "" for cell, valid in zip(cells, column.valid.tolist(), strict=True))


_WRITTEN: Mapping[str, Callable[[Array], Iterable[str]]] = {
    "b": lambda values: (_TRUTH[value] for value in values.tolist()),
    "i": lambda values: map(str, values.tolist()),
    "u": lambda values: map(str, values.tolist()),
    "f": lambda values: map(repr, values.astype(np.float64).tolist()),
}
"""How values are written, by their kind."""
