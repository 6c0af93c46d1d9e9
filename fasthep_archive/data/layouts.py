"""Awkward forms and layouts as types and columns of formulas, and what formulas can't take, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fasthep_archive.errors import DataError, nearest
from fasthep_archive.formula.columns import Array, Column, ColumnType, DType, Structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from awkward.contents import Content
    from awkward.forms import Form
    from numpy.typing import NDArray

_DTYPES: Final[Mapping[str, DType]] = {
    "bool": "bool",
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "int64"),
    **dict.fromkeys(("float16", "float32", "float64"), "float64"),
}
"""What is promoted to what; each value exactly (uint64 is checked when it is read)."""

_HINT = "formulas take numbers, booleans and texts, and lists of numbers or booleans one level deep"


class UnknownColumn(DataError, KeyError):
    """There is no such column."""


class LazyTypes(Mapping[str, ColumnType]):
    """Types of columns by name, each determined when it is first asked for."""

    def __init__(self, names: Mapping[str, object], determine: Callable[[str], ColumnType], where: str) -> None:
        """:param names: every name that is known, in order. :param where: what has them, for messages."""
        self._names = names
        self._determine = determine
        self._where = where
        self._known: dict[str, ColumnType] = {}

    def __getitem__(self, name: str) -> ColumnType:
        if name not in self._names:
            raise UnknownColumn(f"no branch {name!r} in {self._where}", hint=nearest(name, self._names))
        if name not in self._known:
            self._known[name] = self._determine(name)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def type_of(form: Form, name: str, structure: Structure | None = None) -> ColumnType:
    """Return the type of a column with this form.

    :param name: of the column. :param structure: of its lists, where the file says that columns share it.
    :raises DataError: if formulas can't take it.
    """
    if form.is_list and form.parameter("__array__") == "string":
        return ColumnType("text")
    inner, optional = _without_option(form)
    if inner.is_list and not optional and inner.parameter("__array__") is None:
        size = inner.size if inner.is_regular else None
        own = Structure(name, counted=False) if size is None else _fixed(size)
        content, optional = _without_option(inner.content)
        if content.is_numpy and not content.inner_shape and content.primitive in _DTYPES:
            return ColumnType(_DTYPES[content.primitive], structure or own, optional)
    elif inner.is_numpy and not inner.inner_shape and inner.primitive in _DTYPES:
        return ColumnType(_DTYPES[inner.primitive], None, optional)
    raise unsupported(name, str(form.type), fields=form.fields)


def _fixed(size: int) -> Structure:
    """Return the structure of arrays with a fixed size, which all such arrays share."""
    return Structure(f"[{size}]", counted=True)


def unsupported(name: str, what: str, *, fields: list[str] | None = None) -> DataError:
    """Return the error for a column that formulas can't take."""
    hint = f"name one of its fields: {', '.join(f'{name}.{field}' for field in fields)}" if fields else _HINT
    return DataError(f"branch {name!r} can't be used in formulas: it holds {what}", hint=hint)


def lacks_texts(name: str, path: Path) -> DataError:
    """Return the error for a column of texts some of which are missing."""
    hint = f"texts that are missing have no category: write a word for them; in a query, coalesce({name}, 'none')"
    return DataError(f"column {name!r} of {path} lacks some of its texts", hint=hint)


def lacks_lists(name: str, path: Path) -> DataError:
    """Return the error for a column of lists some of which are missing, which is something else than empty."""
    hint = "write empty lists for events without values"
    return DataError(f"column {name!r} of {path} lacks some of its lists", hint=hint)


def _without_option(form: Form) -> tuple[Form, bool]:
    """Return the form of values that are there, and whether values may be missing."""
    return (form.content, True) if form.is_option else (form, False)


def column_of(layout: Content, name: str) -> Column:
    """Return the layout as a column, without copying where there is nothing to change.

    :raises DataError: if an unsigned number does not fit int64.
    """
    if layout.is_list and layout.parameter("__array__") == "string":
        return text_column(layout)
    offsets = None
    if layout.is_list:
        layout = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(layout.offsets.data)
        layout = layout.content[: int(offsets[-1])]
    valid = None
    if layout.is_option:
        valid = np.asarray(layout.mask_as_bool(valid_when=True))
        layout = _filled(layout, valid)
    return Column(checked(np.ascontiguousarray(layout.data), name), offsets, valid)


def sharing_offsets(columns: Mapping[str, Column], types: Mapping[str, ColumnType]) -> dict[str, Column]:
    """Return the columns; those of one structure share their offsets, which later comparisons find by identity."""
    firsts: dict[Structure, NDArray[np.int64]] = {}
    found = {}
    for name, column in columns.items():
        structure = types[name].structure
        if structure is not None and column.offsets is not None:
            first = firsts.setdefault(structure, column.offsets)
            if first is not column.offsets and np.array_equal(first, column.offsets):
                column = replace(column, offsets=first)  # noqa: PLW2901 - the same column
        found[name] = column
    return found


def _filled(layout: Content, valid: NDArray[np.bool_]) -> Content:
    """Return as many values as the option layout has, any value where one is missing."""
    layout = layout.to_IndexedOptionArray64()
    content = layout.content
    if not len(content):
        return type(content)(np.zeros(len(valid), content.data.dtype))
    return content[np.where(valid, np.asarray(layout.index.data), 0)]


def checked(content: Array, name: str) -> Array:
    """Return ``content`` itself; raise if it has a number that promotion to int64 would change."""
    if content.dtype == np.uint64 and len(content) and content.max() > np.iinfo(np.int64).max:
        raise DataError(
            f"branch {name!r} has the number {content.max()}, which is beyond int64",
            hint="formulas compute in int64 and float64; use another branch",
        )
    return content


def text_column(layout: Content) -> Column:
    r"""Return a layout of strings as positions among the distinct texts, which are in order of appearance.

    Bytes that are not UTF-8 are written as ``\xNN``.
    """
    strings = layout.to_ListOffsetArray64(False)
    offsets, raw = np.asarray(strings.offsets.data), np.asarray(strings.content.data).tobytes()
    places: dict[bytes, int] = {}
    codes = np.fromiter(
        (places.setdefault(raw[start:stop], len(places)) for start, stop in pairwise(offsets.tolist())),
        np.int64,
        len(offsets) - 1,
    )
    return Column(codes, words=tuple(word.decode(errors="backslashreplace") for word in places))


def layout_of(column: Column, *, text: bool = False, optional: bool = False) -> Content:
    """Return the column as an awkward layout: the inverse of :func:`column_of`.

    :param text: whether it holds texts, which a column without events doesn't show.
    :param optional: whether values can be missing, which a column without missing values doesn't show.
    """
    from awkward.contents import IndexedArray, IndexedOptionArray, ListOffsetArray, NumpyArray
    from awkward.index import Index64

    if text or column.words:
        raw = [word.encode() for word in column.words]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(word) for word in raw], dtype=np.int64)])
        letters = NumpyArray(np.frombuffer(b"".join(raw), np.uint8), parameters={"__array__": "char"})
        words = ListOffsetArray(Index64(ends), letters, parameters={"__array__": "string"})
        return IndexedArray(Index64(column.content.astype(np.int64)), words).project()
    content: Content = NumpyArray(column.content)
    if optional or column.valid is not None:
        valid = np.ones(column.content.size, np.bool_) if column.valid is None else column.valid
        content = IndexedOptionArray(Index64(np.where(valid, np.arange(valid.size), -1)), content)
    return content if column.offsets is None else ListOffsetArray(Index64(column.offsets), content)
