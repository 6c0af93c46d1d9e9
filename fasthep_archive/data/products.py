"""What a stage leaves behind, and the files it is stored in: one table of kinds.

Every product has one canonical stored form with deterministic bytes, none of them pickle. See
:mod:`fasthep_archive.data.histograms`, :mod:`fasthep_archive.data.cutflows` and :mod:`fasthep_archive.data.values`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from fasthep_archive.data.cutflows import Cutflow, CutflowRow
from fasthep_archive.data.histograms import (
    Axis,
    BooleanAxis,
    Histogram,
    IntCategoryAxis,
    RegularAxis,
    Storage,
    StrCategoryAxis,
    VariableAxis,
)
from fasthep_archive.data.values import Values

__all__ = [
    "STORED",
    "Axis",
    "BooleanAxis",
    "Cutflow",
    "CutflowRow",
    "Histogram",
    "IntCategoryAxis",
    "Product",
    "RegularAxis",
    "Storage",
    "Stored",
    "StrCategoryAxis",
    "Values",
    "VariableAxis",
    "kind_of",
    "stored_as",
]

Product: TypeAlias = Histogram | Cutflow | Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A stored form of a product. The file of a stage is ``<folder>/<stage><suffix>``.

    :ivar kind: what the file is, for comparison. :ivar format_page: where the format is described, if it is ours or
        more special than its media type. :ivar read: returns the product; none for copies of other forms.
    """

    folder: str
    suffix: str
    kind: str
    media_type: str
    format_page: str | None = None
    read: Callable[[bytes], Product] | None = None


STORED = (
    Stored(
        folder="histograms",
        suffix=".json",
        kind="histogram",
        media_type="application/json",
        format_page="https://uhi.readthedocs.io/en/latest/serialization.html",
        read=Histogram.from_json,
    ),
    Stored(folder="cutflows", suffix=".json", kind="cutflow", media_type="application/json", read=Cutflow.from_json),
    Stored(folder="cutflows", suffix=".csv", kind="table", media_type="text/csv"),
    Stored(folder="values", suffix=".json", kind="value", media_type="application/json", read=Values.from_json),
)
"""All stored forms of products."""

_BY_SUFFIX: Mapping[str, str] = {
    ".arrow": "columns",
    ".csv": "table",
    ".feather": "columns",
    ".json": "value",
    ".log": "log",
    ".npz": "columns",
    ".parquet": "columns",
    ".pdf": "picture",
    ".png": "picture",
    ".root": "columns",
    ".svg": "picture",
}
"""Kinds of other outputs."""


def stored_as(name: str) -> Stored | None:
    """Return the stored form that the output called ``name`` has; none for outputs that are no products of ours."""
    path = PurePosixPath(name)
    folder = path.parts[0] if len(path.parts) == 2 else None
    return next((form for form in STORED if (form.folder, form.suffix) == (folder, path.suffix)), None)


def kind_of(name: str) -> str:
    """Return what the output called ``name`` is: a key of how it is compared; ``file`` if nothing better is known.

    >>> kind_of("histograms/mass.json"), kind_of("cutflows/selection.csv"), kind_of("plots/mass.png")
    ('histogram', 'table', 'picture')
    """
    form = stored_as(name)
    return form.kind if form else _BY_SUFFIX.get(PurePosixPath(name).suffix, "file")
