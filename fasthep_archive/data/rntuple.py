"""Events in an RNTuple, read by uproot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import reduce
from operator import getitem
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fasthep_archive.data.layouts import LazyTypes, column_of, type_of, unsupported
from fasthep_archive.formula.columns import Column, ColumnType, Structure

if TYPE_CHECKING:
    from awkward.forms import Form
    from uproot.behaviors.RNTuple import RField, RNTuple


class NtupleSource(AbstractContextManager["NtupleSource"]):
    """The events of an open RNTuple; see :class:`fasthep_archive.data.source.EventSource`.

    A field of a collection is named with a dot: ``Muon.pt``. The fields of one collection share its structure.
    """

    def __init__(self, path: Path, ntuple: RNTuple) -> None:
        self._ntuple = ntuple
        self._fields: dict[str, RField] = dict(ntuple.items())
        self._types = LazyTypes(self._fields, self._type, f"RNTuple {ntuple.name!r} of {path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ntuple.close()

    @property
    def entries(self) -> int:
        return int(self._ntuple.num_entries)

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        starts = {int(summary.num_first_entry) for summary in self._ntuple.cluster_summaries}
        return tuple(sorted(starts | {0, self.entries}))

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        for name in names:
            self._types[name]  # refuses what formulas can't take
        together = [name for name in names if not _in_tuple(name)]
        found = {name: self._fields[name] for name in names if _in_tuple(name)}
        arrays = {
            name: field.array(entry_start=start, entry_stop=stop, array_cache=None) for name, field in found.items()
        }
        if together:
            read = self._ntuple.arrays(
                filter_name=set(together).__contains__, entry_start=start, entry_stop=stop, array_cache=None
            )
            arrays |= {name: reduce(getitem, name.split("."), read) for name in together}
        return {name: column_of(arrays[name].layout, name) for name in names}

    def _type(self, name: str) -> ColumnType:
        field = self._fields[name]
        try:
            form, _ = field.to_akform()
        except Exception as error:  # uproot has several ways to say that it does not know a type
            raise unsupported(name, field.typename or "an unknown class") from error
        form, shared = _own_form(form.contents[0], depth=_depth(field))
        return type_of(form, name, Structure(name.rpartition(".")[0], counted=True) if shared else None)


def _in_tuple(name: str) -> bool:
    """Return whether the field is one of a tuple's, which uproot numbers anew when it reads some of them."""
    return name.rpartition(".")[2].isdigit()


def _depth(field: RField) -> int:
    """Return how many fields the field is below."""
    depth = 0
    while not field.top_level:
        field, depth = field.parent, depth + 1
    return depth


def _own_form(form: Form, *, depth: int) -> tuple[Form, bool]:
    """Return the form without the records around it, and whether a list was around it, which is now inside.

    uproot returns a field of a collection within lists of records that have this field alone.
    """
    from awkward.forms import ListOffsetForm

    shared = False
    for _ in range(depth):
        if form.is_list and form.content.is_record:
            form, shared = ListOffsetForm("i64", form.content.contents[0]), True
        elif form.is_record:
            form = form.contents[0]
    return form, shared
