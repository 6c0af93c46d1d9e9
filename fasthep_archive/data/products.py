"""Products in their one canonical stored form: histograms as UHI JSON, cutflows as JSON lists and CSV.

The same product gives the same bytes: keys in a fixed order, numbers in their shortest exact form (``repr`` of Python,
which reads back to the same double), UTF-8, one line feed at the end. Histograms follow the UHI serialization schema 1
(https://uhi.readthedocs.io/en/latest/serialization.html); NaN and the infinities, which JSON lacks, are the texts
``nan``, ``inf`` and ``-inf``. Never pickle.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    from hist import Hist

WRITER = "fasthep-archive"
"""Our name in UHI's ``writer_info``."""

Kind: TypeAlias = Literal["histogram", "cutflow", "table"]

FOLDERS: Mapping[str, Kind] = {"histograms": "histogram", "cutflows": "cutflow"}
"""The directory of the outputs that each kind lies in."""


def kind_of(name: str) -> str:
    """Return the kind of the output called ``name``: ``histogram``, ``cutflow``, ``table`` or ``file``.

    >>> kind_of("histograms/mass.json"), kind_of("cutflows/selection.csv")
    ('histogram', 'table')
    """
    path = PurePosixPath(name)
    if path.suffix == ".csv":
        return "table"
    return FOLDERS.get(path.parts[0], "file") if path.suffix == ".json" else "file"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RegularAxis:
    """Bins of one width, with underflow and overflow.

    :ivar edges: float64, bins + 1: the numbers that decide, each the double nearest to the real edge.
    """

    name: str
    label: str
    bins: int
    lower: float
    upper: float
    edges: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of bins with flow bins."""
        return self.bins + 2

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it; the edges are in ``writer_info``, since UHI has no place for them."""
        return {
            "type": "regular",
            "lower": self.lower,
            "upper": self.upper,
            "bins": self.bins,
            "underflow": True,
            "overflow": True,
            "circular": False,
            "writer_info": {WRITER: {"edges": self.edges.tolist()}},
            "metadata": _metadata(self),
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VariableAxis:
    """Bins between given edges (float64), with underflow and overflow."""

    name: str
    label: str
    edges: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of bins with flow bins."""
        return len(self.edges) + 1

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it."""
        return {
            "type": "variable",
            "edges": self.edges.tolist(),
            "underflow": True,
            "overflow": True,
            "circular": False,
            "metadata": _metadata(self),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class IntCategoryAxis:
    """A bin per whole number; a fixed axis has an overflow bin for all others, a growing one has none."""

    name: str
    label: str
    categories: tuple[int, ...]
    growing: bool

    @property
    def size(self) -> int:
        """Number of bins with the overflow bin."""
        return len(self.categories) + (not self.growing)

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it."""
        return _category("category_int", self)


@dataclass(frozen=True, kw_only=True, slots=True)
class StrCategoryAxis:
    """A bin per text; a fixed axis has an overflow bin for all others, a growing one has none."""

    name: str
    label: str
    categories: tuple[str, ...]
    growing: bool

    @property
    def size(self) -> int:
        """Number of bins with the overflow bin."""
        return len(self.categories) + (not self.growing)

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it."""
        return _category("category_str", self)


@dataclass(frozen=True, kw_only=True, slots=True)
class BooleanAxis:
    """Two bins: false and true."""

    name: str
    label: str

    @property
    def size(self) -> int:
        """Number of bins: two."""
        return 2

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it."""
        return {"type": "boolean", "metadata": _metadata(self)}


Axis: TypeAlias = RegularAxis | VariableAxis | IntCategoryAxis | StrCategoryAxis | BooleanAxis


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Histogram:
    """A histogram with the flow bins of its axes.

    :ivar storage: ``count``: ``values`` are int64 numbers of entries; ``weighted``: ``values`` are float64 sums of
        weights and ``variances`` sums of squared weights. Both have the shape of the axes.
    """

    name: str
    axes: tuple[Axis, ...]
    storage: Literal["count", "weighted"]
    values: NDArray[np.int64] | NDArray[np.float64]
    variances: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit the axes."""
        shape = tuple(axis.size for axis in self.axes)
        for array in (self.values, *([] if self.variances is None else [self.variances])):
            if array.shape != shape:
                raise DataError(f"histogram {self.name} has bins {shape}, its values {array.shape}")
        if (self.storage == "weighted") != (self.variances is not None):
            raise DataError(f"histogram {self.name}: weighted histograms, and only these, have variances")

    def to_json(self) -> bytes:
        """Return the UHI JSON text."""
        if self.variances is None:
            storage: JSON = {"type": "int", "values": self.values.tolist()}
        else:
            storage = {"type": "weighted", "values": _texts(self.values), "variances": _texts(self.variances)}
        return _text(
            {
                "uhi_schema": 1,
                "writer_info": {WRITER: {"format": 1}},
                "metadata": {"name": self.name},
                "axes": [axis.to_json() for axis in self.axes],
                "storage": storage,
            }
        )

    @classmethod
    def from_json(cls, content: bytes) -> Histogram:
        """Return the histogram that :meth:`to_json` wrote.

        :raises DataError: if it is none.
        """
        try:
            value = json.loads(content)
            storage = value["storage"]
            name, axes = str(value["metadata"]["name"]), tuple(map(_axis, value["axes"]))
            if storage["type"] == "int":
                return cls(name=name, axes=axes, storage="count", values=np.array(storage["values"], np.int64))
            values, variances = (np.array(storage[key], np.float64) for key in ("values", "variances"))
            return cls(name=name, axes=axes, storage="weighted", values=values, variances=variances)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no histogram of {WRITER}: {error!r}") from error

    def to_hist(self) -> Hist[Any]:
        """Return the histogram as a ``hist.Hist``, flow bins included."""
        import hist

        storage = hist.storage.Int64() if self.variances is None else hist.storage.Weight()
        filled: Hist[Any] = hist.Hist(*map(_hist_axis, self.axes), storage=storage, name=self.name)
        view: Any = filled.view(flow=True)
        if self.variances is None:
            view[...] = self.values
        else:
            view["value"], view["variance"] = self.values, self.variances
        return filled


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowRow:
    """One cut for one dataset.

    :ivar cut: its id, ``group[i]``. :ivar label: how it is shown.
    :ivar events_in: number of events before the cut, and after it; ``sumw`` sums of weights, ``sumw2`` of their squares.
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
    def efficiency(self) -> float:
        """Fraction of the sum of weights that passes; NaN when nothing comes in."""
        return self.sumw_out / self.sumw_in if self.sumw_in else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Cutflow:
    """The rows of a cutflow: dataset by dataset, group by group, cut by cut. The order means something."""

    name: str
    rows: tuple[CutflowRow, ...]

    def to_json(self) -> bytes:
        """Return the JSON text: a list of rows, since objects have no order."""
        rows: list[JSON] = [{column: _number(getattr(row, column)) for column in _COLUMNS} for row in self.rows]
        return _text({"cutflow": 1, "name": self.name, "rows": rows})

    def to_csv(self) -> bytes:
        """Return the rows as CSV (RFC 4180, but with line feeds, which every reader takes): header first."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([getattr(row, column) for column in _COLUMNS] for row in self.rows)
        return stream.getvalue().encode()

    @classmethod
    def from_json(cls, content: bytes) -> Cutflow:
        """Return the cutflow that :meth:`to_json` wrote.

        :raises DataError: if it is none.
        """
        try:
            value = json.loads(content)
            if value["cutflow"] != 1:
                raise DataError(f"this cutflow has the form {value['cutflow']!r}, known is 1")
            return cls(name=str(value["name"]), rows=tuple(map(_row, value["rows"])))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no cutflow of {WRITER}: {error!r}") from error


_COLUMNS = tuple(field.name for field in fields(CutflowRow))


def _row(value: Mapping[str, JSON]) -> CutflowRow:
    def sums(column: str) -> float:
        return float(cast("float", value[column]))

    return CutflowRow(
        dataset=str(value["dataset"]),
        group=str(value["group"]),
        cut=str(value["cut"]),
        label=str(value["label"]),
        events_in=int(cast("int", value["events_in"])),
        events_out=int(cast("int", value["events_out"])),
        sumw_in=sums("sumw_in"),
        sumw_out=sums("sumw_out"),
        sumw2_in=sums("sumw2_in"),
        sumw2_out=sums("sumw2_out"),
    )


def _metadata(axis: Axis) -> dict[str, JSON]:
    return {"name": axis.name, "label": axis.label}


def _category(kind: str, axis: IntCategoryAxis | StrCategoryAxis) -> dict[str, JSON]:
    described: dict[str, JSON] = {"type": kind, "categories": list(axis.categories), "flow": not axis.growing}
    if axis.growing:
        described["writer_info"] = {"boost-histogram": {"growth": True}}
    return {**described, "metadata": _metadata(axis)}


def _axis(value: Mapping[str, Any]) -> Axis:
    """Return the axis that UHI's JSON describes."""
    name, label = str(value["metadata"]["name"]), str(value["metadata"]["label"])
    match value["type"]:
        case "regular":
            edges = np.array(value["writer_info"][WRITER]["edges"], np.float64)
            lower, upper = float(value["lower"]), float(value["upper"])
            return RegularAxis(name=name, label=label, bins=int(value["bins"]), lower=lower, upper=upper, edges=edges)
        case "variable":
            return VariableAxis(name=name, label=label, edges=np.array(value["edges"], np.float64))
        case "category_int":
            numbers = tuple(map(int, value["categories"]))
            return IntCategoryAxis(name=name, label=label, categories=numbers, growing=not value["flow"])
        case "category_str":
            texts = tuple(map(str, value["categories"]))
            return StrCategoryAxis(name=name, label=label, categories=texts, growing=not value["flow"])
        case "boolean":
            return BooleanAxis(name=name, label=label)
        case other:
            raise ValueError(f"an axis of type {other!r}")


def _hist_axis(axis: Axis) -> Any:
    from hist import axis as make

    name, label = axis.name, axis.label
    match axis:
        case RegularAxis():
            return make.Regular(axis.bins, axis.lower, axis.upper, name=name, label=label)
        case VariableAxis():
            return make.Variable(axis.edges.tolist(), name=name, label=label)
        case BooleanAxis():
            return make.Boolean(name=name, label=label)
        case IntCategoryAxis():
            return make.IntCategory(axis.categories, growth=axis.growing, name=name, label=label)
        case StrCategoryAxis():
            return make.StrCategory(axis.categories, growth=axis.growing, name=name, label=label)


def _number(value: str | float) -> JSON:
    """Return what JSON writes for a number; a text for the three that it lacks."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _texts(array: NDArray[np.float64] | NDArray[np.int64]) -> JSON:
    """Return nested lists of numbers, with texts for those that JSON lacks."""
    if np.isfinite(array).all():
        return cast("JSON", array.tolist())
    return cast("JSON", np.vectorize(_number, otypes=[object])(array.astype(object)).tolist())


def _text(value: JSON) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
