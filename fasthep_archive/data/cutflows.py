"""Cutflows as products: what each cut lets through, and their stored forms, JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from fasthep_archive.data.strictjson import read_json, write_json
from fasthep_archive.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowRow:
    """One cut in one dataset.

    :ivar cut: its id, ``group[i]``; ``group[i][j]`` for a member of a cut that is made of others.
    :ivar label: how it is shown.
    :ivar events_in: number of events that reach the cut: of a member of ``all`` those that enter it and pass the
        members before, of a member of ``any`` all that enter.
    :ivar events_out: number of those that pass it.
    :ivar sumw_in: sum of their weights, likewise. :ivar sumw2_in: sum of their squared weights.
    """

    dataset: str
    group: str
    cut: str
    label: str
    events_in: int
    events_out: int
    sumw_in: float
    sumw_out: float
    sumw2_in: float
    sumw2_out: float

    @property
    def depth(self) -> int:
        """How many cuts this one is inside of."""
        return self.cut.removeprefix(self.group).count("[") - 1

    @property
    def efficiency(self) -> float:
        """Fraction of the sum of weights that passes; NaN when nothing comes in."""
        return self.sumw_out / self.sumw_in if self.sumw_in else math.nan


_COLUMNS = tuple(field.name for field in fields(CutflowRow))
_SUMS = tuple(name for name in _COLUMNS if name.startswith("sumw"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cutflow:
    """The rows of a cutflow: dataset by dataset, group by group, cut by cut. Their order is part of it."""

    name: str
    rows: tuple[CutflowRow, ...]

    def to_json(self) -> bytes:
        """Return the stored form: a list of rows, since the members of an object have no order."""
        return write_json({"cutflow": 1, "name": self.name, "rows": [asdict(row) for row in self.rows]})

    def to_csv(self) -> bytes:
        """Return the rows as a table, header first: RFC 4180, but with plain line feeds, as text files have them.

        Sums are the shortest decimals that read back to the same doubles.
        """
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([getattr(row, column) for column in _COLUMNS] for row in self.rows)
        return stream.getvalue().encode()

    @classmethod
    def from_json(cls, content: bytes) -> Cutflow:
        """Return the cutflow that :meth:`to_json` wrote.

        :raises DataError: if it is no such text, or has parts that this version does not know.
        """
        value = read_json(content, "the cutflow")
        try:
            document = cast("Any", value)
            cutflow = cls(name=document["name"], rows=tuple(map(_row, document["rows"])))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no cutflow that fasthep-archive wrote: {error!r}") from error
        if read_json(cutflow.to_json(), "the cutflow") != value:
            raise DataError("this cutflow has parts that fasthep-archive does not write")
        return cutflow


def _row(value: Any) -> CutflowRow:
    return CutflowRow(**{**value, **{name: float(value[name]) for name in _SUMS}})
