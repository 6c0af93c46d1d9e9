"""Events in an RNTuple, read by uproot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from operator import getitem
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import LazyTypes, column_of, sharing_offsets, type_of, unsupported
from fasthep_archive.formula.columns import Column, ColumnType, Structure

if TYPE_CHECKING:
    import awkward as ak
    from awkward.forms import Form
    from uproot.behaviors.RNTuple import RField, RNTuple


class NtupleSource(AbstractContextManager["NtupleSource"]):
    """The events of an open RNTuple; see :class:`fasthep_archive.data.source.EventSource`.

    A field of a collection is named with a dot: ``Muon.pt``. The fields of one collection share its structure. Dots in
    the names of fields themselves are told apart from these; uproot knows such a name at the top alone.
    """

    def __init__(self, path: Path, ntuple: RNTuple) -> None:
        self._path = path
        self._ntuple = ntuple
        self._fields: dict[str, RField] = dict(ntuple.items())
        self._tops = frozenset(field.name for field in ntuple.fields)
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
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        with told(self._path):
            arrays = self._arrays(names, start, stop)
        return sharing_offsets({name: column_of(arrays[name].layout, name) for name in names}, types)

    def _arrays(self, names: Sequence[str], start: int, stop: int) -> dict[str, ak.Array]:
        """Return the fields, those of one collection read together, but those of tuples one by one."""
        options = {"entry_start": start, "entry_stop": stop, "array_cache": None}
        arrays = {name: self._fields[name].array(**options) for name in names if _in_tuple(name)}
        together = [name for name in names if name not in arrays]
        if together:
            wanted = set(together)
            read = self._ntuple.arrays(filter_field=lambda field: field.path in wanted, **options)
            arrays |= {name: reduce(getitem, self._steps(name), read) for name in together}
        return arrays

    def _type(self, name: str) -> ColumnType:
        field, steps = self._fields[name], self._steps(name)
        dotted = "." in name and name in self._tops
        if dotted and [item.path for item in self._ntuple.values()].count(name) > 1:
            raise unsupported(name, "two things, a field with a dot in its name and a field of a collection")
        if steps[-1] != field.name:
            raise unsupported(name, "a field of a collection, and one of their own names has a dot")
        try:
            form, _ = self._ntuple.to_akform(filter_field=lambda item: item is field) if dotted else field.to_akform()
        except Exception as error:  # uproot has several ways to say that it does not know a type
            raise unsupported(name, field.typename or "an unknown class") from error
        form, levels = _within_list(form.content(name) if dotted else form.contents[0], depth=len(steps) - 1)
        collection = ".".join(steps[:-levels]) if levels else None
        return type_of(form, name, Structure(collection, counted=True) if collection else None)

    def _steps(self, name: str) -> Sequence[str]:
        """Return the names of the fields from the top down to this one."""
        return (name,) if name in self._tops else name.split(".")


def _in_tuple(name: str) -> bool:
    """Return whether the field is one of a tuple's, which uproot numbers anew when it reads some of them."""
    return name.rpartition(".")[2].isdigit()


def _within_list(form: Form, *, depth: int) -> tuple[Form, int]:
    """Return the field's own form within the list around it, and how many levels the list is above it; 0 without one.

    uproot returns a field of a collection as a list of records that have this field alone.
    """
    from awkward.forms import ListOffsetForm

    levels = 0
    if form.is_list:
        content = form.content
        while content.is_record and levels < depth:
            content, levels = content.contents[0], levels + 1
        form = ListOffsetForm("i64", content) if levels else form
    return form, levels
