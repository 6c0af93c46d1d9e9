"""Objects of an event, such as its muons: fields that are lists side by side, and formulas about one object.

In a formula about the objects of a collection a name is that of a field, without the collection's: ``pt`` is
``Muon_pt``. Globals and what is known of the dataset can be used beside them; other fields of the event can't.

What makes objects of others reports faults as it finds them, and raises :class:`Uncertain` where it can't go on.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, Fault, FormulaError, nearest
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.stream import Lowering, Named, Stream, Uncertain

Path = tuple[str | int, ...]

Made: TypeAlias = "Mapping[str, Named | None]"
"""New fields by name."""


class Collection(Mapping[str, Named]):
    """The fields of a collection, by what follows its name; a branch becomes an input by being looked up."""

    def __init__(self, lowering: Lowering, stream: Stream, name: str):
        self.name = name
        self._scope = lowering.scope(stream)
        self._lowering = lowering

    def __getitem__(self, field: str) -> Named:
        """Return what ``<collection>_<field>`` stands for."""
        return self._scope[f"{self.name}_{field}"]

    def __contains__(self, field: object) -> bool:
        """Say whether there is such a field."""
        return f"{self.name}_{field}" in self._scope

    def __iter__(self) -> Iterator[str]:
        """Iterate over the fields."""
        prefix = f"{self.name}_"
        return (name.removeprefix(prefix) for name in self._scope if name.startswith(prefix) and name != prefix)

    def __len__(self) -> int:
        """Return the number of fields."""
        return sum(1 for _ in self)

    def listed(self, field: str, path: Path) -> Value:
        """Return a field that has a value for each object; report anything else at ``path``.

        :raises Uncertain: after the report.
        """
        name = f"{self.name}_{field}"
        value = self.value(field, path)
        if value.structure is None:
            hint = f"a collection's fields are lists, and {self.name!r} seems to be none"
            self._lowering.fault(f"{name!r} has one value per event, and not one for each object", path, hint=hint)
            raise Uncertain(name)
        return value

    def value(self, field: str, path: Path) -> Value:
        """Return a field that holds numbers; report anything else at ``path``.

        :raises Uncertain: after the report.
        """
        name = f"{self.name}_{field}"
        if field not in self:
            known = nearest(name, self._scope) if len(self) else nearest(self.name, _collections(self._scope))
            self._lowering.fault(f"the events have no {name!r}", path, hint=known or "define it in a stage before")
            raise Uncertain(name)
        with reported(self._lowering, path):
            found = self[field]
        if not isinstance(found, Value):
            self._lowering.fault(f"{name!r} is no field of the events", path)
            raise Uncertain(name)
        return found


class Names(Mapping[str, Named]):
    """The names in a formula about objects: their own fields, then globals and what is known of the dataset."""

    def __init__(self, lowering: Lowering, own: Mapping[str, Named]):
        self._own = own
        self._constants = lowering.constants

    def __getitem__(self, name: str) -> Named:
        """Return what ``name`` stands for."""
        return self._own[name] if name in self._own else self._constants[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names, for hints."""
        yield from dict.fromkeys([*self._own, *self._constants])

    def __len__(self) -> int:
        """Return the number of names."""
        return sum(1 for _ in self)


@contextmanager
def reported(lowering: Lowering, path: Path) -> Iterator[None]:
    """Report a faulty combination of values at ``path``.

    :raises Uncertain: after the report.
    """
    try:
        yield
    except (DataError, FormulaError) as error:
        lowering.fault(error.message, path, hint=error.hint)
        raise Uncertain(path) from None


def formula(lowering: Lowering, text: str, own: Mapping[str, Named], path: Path) -> Value:
    """Return the value of a formula about objects, whose names are ``own`` ones and constants; report its faults.

    :raises Uncertain: after the report.
    """
    try:
        node, names = parse(text, lowering.builder.functions), Names(lowering, own)
        value = lowering.builder.formula(node, names)
    except FormulaError as error:
        hint = error.hint or "names in this formula are those of an object's fields, and of globals"
        lowering.report(Fault(error.message, lowering.where(path, error.column), hint))
        raise Uncertain(path) from None
    fields = own.maps[0] if isinstance(own, ChainMap) else own  # below them is what is derived of them
    lowering.note_constants(node, names, path, f"{fields.name}_{{}}" if isinstance(fields, Collection) else None)
    return value


def listed_texts(params: JSON) -> Mapping[str, tuple[str, ...]]:
    """Return the lists of texts of checked parameters, by name: formulas of ``selection``, fields of ``keep``."""
    return {name: tuple(texts) for name, texts in cast("Mapping[str, Sequence[str]]", params).items()}


def cuts(lowering: Lowering, texts: Sequence[str], own: Mapping[str, Named], like: Value, path: Path) -> Value | None:
    """Return which objects pass all conditions ``texts`` at ``path``; none where there is no condition.

    A missing condition is passed by no object. All faults of the conditions are reported.

    :param like: a field of the objects.
    :raises Uncertain: after the report.
    """
    found = [_cut(lowering, text, own, (*path, number)) for number, text in enumerate(texts)]
    mask: Value | None = None
    for number, value in enumerate(found):
        if value is None:
            raise Uncertain(path)
        with reported(lowering, (*path, number)):
            mask = value if mask is None else lowering.builder.apply("and", mask, value)
            lowering.builder.aligned((like, mask))
    return None if mask is None else lowering.builder.aligned((like, mask))[1]


def _cut(lowering: Lowering, text: str, own: Mapping[str, Named], path: Path) -> Value | None:
    """Return a condition, none after reporting what it is instead."""
    try:
        value = formula(lowering, text, own, path)
    except Uncertain:
        return None
    if value.dtype == "bool":
        return value
    hint = "compare it, for example with > 0 or == 1"
    lowering.fault(f"a selection needs a condition, but this formula is a number ({value.dtype})", path, hint=hint)
    return None


def adding(stream: Stream, names: Iterable[str], make: Callable[[], Made], *, more: bool = False) -> Stream:
    """Return the stream with the fields that ``make`` returns; if it fails, with ``names`` known by name only.

    :param more: whether there can be other fields than ``names``.
    """
    try:
        made = make()
    except Uncertain:
        failed = dict.fromkeys(names)
        return replace(stream, defined={**stream.defined, **failed}, uncertain=stream.uncertain or more)
    return replace(stream, defined={**stream.defined, **made})


def free(lowering: Lowering, stream: Stream, names: Iterable[str], path: Path) -> None:
    """Report at ``path`` which of ``names`` would overwrite fields.

    :raises Uncertain: after the report.
    """
    taken = [name for name in names if not fields.new(lowering, stream, name, path)]
    if taken:
        raise Uncertain(path)


def per_event(lowering: Lowering, stream: Stream, name: str, path: Path) -> dict[str, Value]:
    """Return ``<name>_pt`` and ``<name>_phi`` of the event; report what isn't one value per event.

    :raises Uncertain: after the report.
    """
    collection = Collection(lowering, stream, name)
    found = {field: collection.value(field, path) for field in ("pt", "phi")}
    for field, value in found.items():
        if lowering.per_event(value, path, f"{name}_{field}") is None:
            raise Uncertain(name)
    return found


def _collections(names: Iterable[str]) -> list[str]:
    """Return what may be names of collections: the first parts of names of fields."""
    return list(dict.fromkeys(name.partition("_")[0] for name in names if "_" in name))
