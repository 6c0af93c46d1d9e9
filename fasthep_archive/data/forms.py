"""Forms of files of columns: what each can hold, and what all of them are written from.

A form writes columns part by part, in clusters of :data:`CLUSTER` events however these came, so that its bytes depend
on the events alone. Each format has a module: :mod:`~fasthep_archive.data.trees`,
:mod:`~fasthep_archive.data.arrow_files`, :mod:`~fasthep_archive.data.csv_files` and
:mod:`~fasthep_archive.data.npz_files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, concatenated, sliced

Columns: TypeAlias = Mapping[str, Column]
Types: TypeAlias = Mapping[str, "np.dtype[Any]"]
AS_FIRST: Types = MappingProxyType({})
"""Types of columns that are those of the first part."""

CLUSTER = 1 << 16
"""Events per cluster of an RNTuple, basket of a TTree, row group of a Parquet file, or batch of an Arrow file."""
_UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """A column as it is written.

    :ivar optional: whether values can be missing. :ivar lists: whether it has a list of values for each event.
    :ivar counter: of lists in a TTree, the branch with their lengths, which several can share.
    """

    name: str
    text: bool = False
    optional: bool = False
    lists: bool = False
    counter: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfit:
    """Why a form can't hold a column, and what to do about it."""

    message: str
    hint: str


class Form(Protocol):
    """How columns are written; plain data that travels to workers."""

    @property
    def suffix(self) -> str:
        """Return what the name of a file ends with that has no suffix of its own."""

    def canonical(self) -> JSON:
        """Return everything that the bytes depend on beside the columns."""

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        """Return why a file can't hold these columns; none if it can."""

    def write(self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = ...) -> None:
        """Write a file with the events of all ``parts``, one after the other, holding a few clusters of them at most.

        Half-precision floats become floats.

        :param target: an empty file to write, to read and to seek in.
        :param branches: at least one. :param parts: at least one, with a column for each branch; consumed one by one.
        :param types: of columns; those that are not in it have the type that they have in the first part.
        :raises Wider: if a column has values that its type can't hold.
        :raises DataError: if parts don't fit together, or the format can't hold a column.
        """


_EXACT = 2**53
"""Up to here every whole number is a float64."""


class Wider(DataError):
    """A part has a column of a type whose values the type of the parts before it can't hold.

    :ivar column: its name.
    """

    def __init__(self, name: str, before: object, now: object) -> None:
        hint = f"define it with one type, for example {{name: NAME, expr: {name}, dtype: float64}}"
        super().__init__(f"column {name!r} is {before} in some files and {now} in others", hint=hint)
        self.column = name


def misnamed(branches: Sequence[Branch], what: str) -> Unfit | None:
    """Return what is wrong with the first name that no ``what`` can have; none if all are fine."""
    for branch in branches:
        if not fits(branch.name):
            hint = "keep it under another name: define one without / \\ and control characters"
            return Unfit(message=f"{branch.name!r} can't be the name of {what}", hint=hint)
    return None


def fits(name: str) -> bool:
    """Say whether a column can be called ``name``: what readers take for paths and control characters are refused."""
    return bool(name) and not _UNFIT.search(name)


def missing(branches: Sequence[Branch], what: str, instead: str) -> Unfit | None:
    """Return that a form can't hold the first column whose values can be missing; none if there is no such column.

    :param what: holds it not. :param instead: which form does, as it is written in a document.
    """
    for branch in branches:
        if branch.optional:
            hint = f"say what stands for a missing value, fill_none({branch.name}, ...), or write {instead}"
            return Unfit(message=f"{what} can't hold {branch.name!r}, whose values can be missing", hint=hint)
    return None


def refuse(unfit: Unfit | None) -> None:
    """Raise what keeps columns out of a file, if anything does."""
    if unfit is not None:
        raise DataError(unfit.message, hint=unfit.hint)


def stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that values of ``dtype`` are written as: half-precision floats become floats."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def clusters(branches: Sequence[Branch], parts: Iterable[Columns], types: Types) -> Iterator[dict[str, Column]]:
    """Yield the columns of all parts in pieces of :data:`CLUSTER` events; the last has fewer, or none.

    :raises Wider: if a column has values that its type can't hold.
    """
    waiting: list[dict[str, Column]] = []
    held = 0
    for part in _alike(branches, parts, types):
        events, start = len(next(iter(part.values()))), 0
        while held + events - start >= CLUSTER:
            stop = start + CLUSTER - held
            yield _together([*waiting, sliced(part, start, stop)])
            waiting, held, start = [], 0, stop
        waiting.append(sliced(part, start, events))
        held += events - start
    yield _together(waiting)


def _alike(branches: Sequence[Branch], parts: Iterable[Columns], types: Types) -> Iterator[dict[str, Column]]:
    """Yield the columns of all parts, with the types that are given, or those of the first."""
    known = dict(types)
    for part in parts:
        columns = {branch.name: part[branch.name] for branch in branches}
        for name, column in columns.items():
            wanted = known.setdefault(name, stored(column.content.dtype))
            content = column.content.astype(wanted, copy=False)
            if not np.can_cast(column.content.dtype, wanted, "safe") and name not in types:
                raise Wider(name, wanted, column.content.dtype)
            if _rounded(column.content, content):
                raise Wider(name, wanted, column.content.dtype)
            columns[name] = replace(column, content=content)
        yield columns


def _rounded(whole: NDArray[Any], content: NDArray[Any]) -> bool:
    """Say whether floats may not hold all of these whole numbers, which NumPy calls a safe cast."""
    if whole.dtype.kind not in "iu" or content.dtype.kind != "f":
        return False
    return bool(((whole > _EXACT) | (whole < -_EXACT)).any())


def _together(pieces: Sequence[Columns]) -> dict[str, Column]:
    return {name: concatenated([piece[name] for piece in pieces]) for name in pieces[0]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Columns whose dotted names begin alike, or one column: the members by the rest of their names."""

    name: str
    members: Mapping[str, Group] = field(default_factory=dict)
    column: str = ""


def grouped(names: Sequence[str], what: str, above: str = "") -> tuple[Group, ...]:
    """Return the columns at the top of a file in which a dot in a name is a step into a record.

    :param what: has such fields, for messages.
    :raises DataError: if a field would have values and fields of its own.
    """
    steps: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        steps.setdefault(first, []).append(rest)
    for first, rests in steps.items():
        if not first or (len(rests) > 1 and "" in rests):
            hint = "give one of them another name, or write a TTree, CSV or npz"
            raise DataError(f"{what} can't have a field {first!r} with values and fields of its own", hint=hint)
    return tuple(
        Group(name=first, column=f"{above}{first}")
        if rests == [""]
        else Group(name=first, members={item.name: item for item in grouped(rests, what, f"{above}{first}.")})
        for first, rests in steps.items()
    )
