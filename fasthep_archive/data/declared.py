"""Types of columns as documents declare them, and as they are found in texts that don't say what they hold.

``float64``, ``int64``, ``bool`` and ``text``; with a question mark where values may be missing (``float64?``); lists of
these but texts as ``list[float64]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from fasthep_archive.formula.columns import ColumnType, DType, Structure

Found: TypeAlias = Literal["float64", "int64", "bool", "text", "nothing"]
"""What values are as far as they were looked at; ``nothing`` if all were missing."""

_SPELLED = re.compile(r"(?:list\[(?P<listed>\w+\??)\]|(?P<plain>\w+\??))")


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """The type of a column: what it holds, whether in lists, and whether values may be missing."""

    dtype: DType
    listed: bool = False
    optional: bool = False

    def __str__(self) -> str:
        inner = f"{self.dtype}{'?' if self.optional else ''}"
        return f"list[{inner}]" if self.listed else inner

    def column_type(self, name: str, collection: str = "") -> ColumnType:
        """Return the type of the column ``name``.

        :param collection: the list of objects that it is a member of; empty for none.
        """
        structure = Structure(collection or name, counted=bool(collection)) if self.listed else None
        return ColumnType(self.dtype, structure, self.optional)


def declared(text: str) -> Declared:
    """Return the type that is spelled so.

    >>> declared("list[float64?]")
    Declared(dtype='float64', listed=True, optional=True)

    :raises ValueError: if none is.
    """
    match = _SPELLED.fullmatch(text)
    inner = (match["listed"] or match["plain"]) if match else ""
    dtype = inner.removesuffix("?")
    wrong = dtype not in ("float64", "int64", "bool", "text") or (dtype == "text" and inner != text)
    if match is None or wrong or (dtype == "text" and text != "text"):
        raise ValueError(f"{text!r} is no type of a column")
    return Declared(dtype=cast("DType", dtype), listed=match["listed"] is not None, optional=inner.endswith("?"))


def either(first: Found, second: Found) -> Found:
    """Return what holds the values of both: whole numbers among others are numbers, everything else is texts.

    >>> either("int64", "float64"), either("bool", "int64"), either("nothing", "bool")
    ('float64', 'text', 'bool')
    """
    if second in (first, "nothing"):
        return first
    if first == "nothing":
        return second
    return "float64" if {first, second} == {"int64", "float64"} else "text"


def exact(number: int) -> bool:
    """Return whether a whole number is one among others: inference rounds none that is exact in its text."""
    return -(2**63) <= number < 2**63 and int(float(number)) == number
