"""Members of JSON objects as columns: which there are, what they hold, and their values.

A column is reached by names; at most one of them is that of a list. All that is found out depends on the values alone,
not on how many of them are looked at together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias, cast

import numpy as np

from fasthep_archive.data.declared import Declared, Found, declared, either, exact
from fasthep_archive.data.layouts import lacks_lists, lacks_texts, unsupported
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Array, Column, ColumnType, starts

Row: TypeAlias = Mapping[str, JSON]
Steps: TypeAlias = tuple[str, ...]

_SCALARS: Final[Mapping[type, Found]] = {bool: "bool", int: "int64", float: "float64", str: "text"}
_TAKEN: Final[Mapping[str, frozenset[type]]] = {
    "bool": frozenset({bool}),
    "int64": frozenset({int}),
    "float64": frozenset({int, float}),
    "text": frozenset({str}),
}
"""What values of each type can be in JSON."""
_SEVERAL: Final = "values of several kinds"


class Misfit(ValueError):
    """A value is not what its column holds; ``place`` counts events from 0."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A column.

    :ivar steps: names that lead to it. :ivar listed: how many of these lead to a list; 0 where there is none.
    :ivar wrong: why it can't be used; ``lists`` or ``texts`` where some are missing, else what it holds.
    """

    steps: Steps
    listed: int
    declared: Declared
    wrong: str | None = None

    @property
    def name(self) -> str:
        """Return the name of the column."""
        return ".".join(self.steps)

    def column_type(self, path: Path) -> ColumnType:
        """Return the type of the column in the file ``path``.

        :raises DataError: if formulas can't take it.
        """
        if self.wrong is not None:
            lacking = {"lists": lacks_lists, "texts": lacks_texts}.get(self.wrong)
            raise lacking(self.name, path) if lacking else unsupported(self.name, self.wrong)
        collection = ".".join(self.steps[: self.listed]) if self.listed < len(self.steps) else ""
        return self.declared.column_type(self.name, collection)


def declared_members(schema: Mapping[str, JSON], above: Steps = (), listed: int = 0) -> Iterator[Member]:
    """Yield the columns that a document declares: ``{x: float64, Muon: [{pt: float64}], met: {pt: float64}}``."""
    for name, kind in schema.items():
        steps = (*above, name)
        if isinstance(kind, str):
            plain = declared(kind)
            inside = listed or (len(steps) if plain.listed else 0)
            yield Member(steps=steps, listed=inside, declared=replace(plain, listed=bool(inside)))
        elif isinstance(kind, Mapping):
            yield from declared_members(kind, steps, listed)
        else:
            yield from declared_members(cast("Sequence[Mapping[str, JSON]]", kind)[0], steps, len(steps))


def spelled(members: Iterable[Member]) -> JSON:
    """Return columns as a document declares them."""
    found: dict[str, JSON] = {}
    for member in members:
        holder = found
        for number, step in enumerate(member.steps[:-1], start=1):
            inner = holder.setdefault(step, [{}] if number == member.listed else {})
            holder = cast("dict[str, JSON]", inner[0] if isinstance(inner, list) else inner)
        inside = 0 < member.listed < len(member.steps)
        kind = Declared(dtype=member.declared.dtype, optional=member.declared.optional) if inside else member.declared
        holder[member.steps[-1]] = str(kind)
    return found


def column_of(rows: Sequence[Row], member: Member) -> Column:
    """Return the values of a column.

    :raises Misfit: if one is not what the column holds.
    """
    values: list[JSON] = list(cast("Sequence[JSON]", rows))
    counts: np.ndarray | None = None
    for number, step in enumerate(member.steps, start=1):
        values = [_below(value, step, place, counts) for place, value in enumerate(values)]
        if number == member.listed:
            place = next((place for place, value in enumerate(values) if not isinstance(value, list)), None)
            if place is not None:
                raise Misfit("is no list", place)
            lists = cast("list[list[JSON]]", values)
            counts = np.fromiter(map(len, lists), np.int64, len(lists))
            values = list(chain.from_iterable(lists))
    offsets = None if counts is None else starts(counts)
    return _column(values, member.declared, offsets)


def _below(value: JSON, step: str, place: int, counts: np.ndarray | None) -> JSON:
    if isinstance(value, Mapping):
        return value.get(step)
    if value is None:
        return None
    raise Misfit(f"is below {value!r}, which is no object", _event(place, None if counts is None else starts(counts)))


def _event(place: int, offsets: np.ndarray | None) -> int:
    return place if offsets is None else int(np.searchsorted(offsets, place, side="right")) - 1


def _column(values: list[JSON], kind: Declared, offsets: np.ndarray | None) -> Column:
    absent = None in values if kind.optional else False
    kinds = frozenset(map(type, values)) - ({type(None)} if kind.optional else frozenset())
    if not kinds <= _TAKEN[kind.dtype]:
        place = next(n for n, value in enumerate(values) if type(value) in kinds - _TAKEN[kind.dtype])
        what = "has no value" if values[place] is None else f"has {values[place]!r}"
        raise Misfit(what, _event(place, offsets))
    if kind.dtype == "text":
        words: dict[str, int] = {}
        codes = (words.setdefault(str(value), len(words)) for value in values)
        return Column(np.fromiter(codes, np.int64, len(values)), words=tuple(words))
    valid = None
    if absent:
        valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
        values = [0 if value is None else value for value in values]
    try:
        content: Array = np.array(values, {"float64": np.float64, "int64": np.int64, "bool": np.bool_}[kind.dtype])
    except OverflowError:
        place = next(n for n, value in enumerate(values) if _too_large(value, kind.dtype))
        raise Misfit(f"has {values[place]}, which is beyond {kind.dtype}", _event(place, offsets)) from None
    return Column(content, offsets, valid)


def _too_large(value: JSON, dtype: str) -> bool:
    try:
        (np.int64 if dtype == "int64" else float)(cast("int", value))
    except OverflowError:
        return True
    return False


@dataclass(slots=True)
class _Seen:
    """What was seen of a column: what it holds, how many values, and a whole number that is no float64."""

    kind: Found = "nothing"
    values: int = 0
    inexact: tuple[int, int] | None = None
    odd: str | None = None


@dataclass(slots=True)
class _List:
    """How many lists there were, and items in them."""

    lists: int = 0
    items: int = 0


@dataclass(slots=True)
class Survey:
    """Finds out which columns objects have."""

    path: Path
    _events: int = 0
    _seen: dict[tuple[Steps, int], _Seen] = field(default_factory=dict)
    _lists: dict[Steps, _List] = field(default_factory=dict)

    def add(self, rows: Sequence[Row], first: int) -> None:
        """Look at more events, of which the first has the number ``first``.

        :raises DataError: if one has a whole number that is beyond int64.
        """
        self._events += len(rows)
        self._objects(rows, (), 0, first)

    def members(self) -> Iterator[Member]:
        """Yield the columns, in the order in which they were first seen.

        :raises DataError: if a column has whole numbers that are no float64, and others that are not whole.
        """
        plain = {steps for (steps, _), seen in self._seen.items() if seen.kind != "nothing" or seen.odd}
        holders = {steps[:size] for steps, _ in self._seen for size in range(1, len(steps))}
        for (steps, listed), seen in self._seen.items():
            if seen.kind == "nothing" and not seen.odd and (steps in holders or (steps in self._lists and not listed)):
                continue  # null in the place of an object or of a list
            below = any(steps[:size] in plain for size in range(1, len(steps)))
            mixed = below or (steps in plain and (steps in holders or self._twice(steps)))
            yield self._member(steps, listed, seen, mixed=mixed)

    def _twice(self, steps: Steps) -> bool:
        """Say whether values were there both in lists and not."""
        return sum(1 for (other, _), seen in self._seen.items() if other == steps and seen.kind != "nothing") > 1

    def _member(self, steps: Steps, listed: int, seen: _Seen, *, mixed: bool) -> Member:
        dtype = "float64" if seen.kind == "nothing" else seen.kind
        if dtype == "float64" and seen.inexact is not None:
            number, event = seen.inexact
            name = ".".join(steps)
            message = f"event {event} of {self.path}: {name!r} has {number}, which is no float64, among other numbers"
            raise DataError(message, hint=f"declare what it holds: schema: {{{name}: float64}} rounds")
        there = self._lists[steps[:listed]].items if listed else self._events
        wrong = _SEVERAL if mixed else seen.odd
        if wrong is None and listed and self._lists[steps[:listed]].lists < self._events:
            wrong = "lists"
        optional = seen.values < there
        if wrong is None and dtype == "text" and (listed or optional):
            wrong = "lists of texts" if listed else "texts"
        optional = optional and dtype != "text"
        return Member(
            steps=steps,
            listed=listed,
            declared=Declared(dtype=dtype, listed=bool(listed), optional=optional),
            wrong=wrong,
        )

    def _objects(self, rows: Iterable[Row | None], steps: Steps, listed: int, first: int) -> None:
        found = [row for row in rows if row is not None]
        for name in dict.fromkeys(chain.from_iterable(found)):
            self._values([row[name] for row in found if name in row], (*steps, name), listed, first)

    def _values(self, values: list[JSON], steps: Steps, listed: int, first: int) -> None:
        kinds = frozenset(map(type, values)) - {type(None)}
        if dict in kinds:
            self._objects([value for value in values if isinstance(value, dict)], steps, listed, first)
        if list in kinds:
            self._listed([value for value in values if isinstance(value, list)], steps, listed, first)
        scalars = kinds - {dict, list}
        if scalars or not kinds:
            seen = self._seen.setdefault((steps, listed), _Seen())
            seen.values += sum(1 for value in values if value is not None)
            for scalar in scalars:
                before, kind = seen.kind, _SCALARS[scalar]
                seen.kind = either(before, kind)
                if seen.kind == "text" and not {before, kind} <= {"nothing", "text"}:
                    seen.odd = _SEVERAL
            if int in scalars:
                self._whole(seen, [value for value in values if type(value) is int], steps, first)

    def _listed(self, values: list[list[JSON]], steps: Steps, listed: int, first: int) -> None:
        if listed:
            self._seen.setdefault((steps, listed), _Seen()).odd = "lists of lists"
            return
        counted = self._lists.setdefault(steps, _List())
        items = list(chain.from_iterable(values))
        counted.lists += len(values)
        counted.items += len(items)
        if any(isinstance(item, list) for item in items):
            self._seen.setdefault((steps, len(steps)), _Seen()).odd = "lists of lists"
        else:
            self._values(items, steps, len(steps), first)

    def _whole(self, seen: _Seen, numbers: list[int], steps: Steps, first: int) -> None:
        least, most = min(numbers), max(numbers)
        if least < -(2**63) or most >= 2**63:
            number = least if least < -(2**63) else most
            name = ".".join(steps)
            message = f"{self.path} has {number} as {name!r} from event {first} on, which is beyond int64"
            raise DataError(message, hint=f"declare what it holds: schema: {{{name}: float64}} rounds")
        if seen.inexact is None and max(-least, most) > 2**53:
            inexact = next((number for number in numbers if not exact(number)), None)
            seen.inexact = None if inexact is None else (inexact, first)
