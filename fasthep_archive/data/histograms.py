"""Histograms as products: axes and bins, and their stored form.

That is JSON by the UHI serialization schema, version 1 (https://uhi.readthedocs.io/en/latest/serialization.html), which
hist, boost-histogram and uproot read. UHI has no place for the edges of a regular axis, which decide what lies in a
bin here; they are in the axis' ``writer_info``. A bin whose sum is NaN or infinite is the one thing that is not by the
schema, since JSON has no such numbers: it is the text ``nan``, ``inf`` or ``-inf``, which hist reads too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.strictjson import read_json, write_json
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    import hist

Edges: TypeAlias = NDArray[np.float64]

WRITER = "fasthep-archive"
"""Our name in UHI's ``writer_info``."""

_FLOW: Mapping[str, JSON] = {"underflow": True, "overflow": True, "circular": False}


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
    edges: Edges

    @property
    def size(self) -> int:
        """Number of bins, flow bins included."""
        return self.bins + 2

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it, with the edges in ``writer_info``, where UHI allows texts."""
        edges = " ".join(map(repr, self.edges.tolist()))
        return {
            "type": "regular",
            "lower": self.lower,
            "upper": self.upper,
            "bins": self.bins,
            **_FLOW,
            "metadata": _metadata(self),
            "writer_info": {WRITER: {"edges": edges}},
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VariableAxis:
    """Bins between given edges (float64, ascending), with underflow and overflow."""

    name: str
    label: str
    edges: Edges

    @property
    def size(self) -> int:
        """Number of bins, flow bins included."""
        return len(self.edges) + 1

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it."""
        return {"type": "variable", "edges": self.edges.tolist(), **_FLOW, "metadata": _metadata(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class IntCategoryAxis:
    """A bin per whole number; a fixed axis has an overflow bin for all others, a growing one has none."""

    name: str
    label: str
    categories: tuple[int, ...]
    growing: bool

    @property
    def size(self) -> int:
        """Number of bins, the overflow bin included."""
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
        """Number of bins, the overflow bin included."""
        return len(self.categories) + (not self.growing)

    def to_json(self) -> dict[str, JSON]:
        """Return the axis as UHI writes it."""
        return _category("category_str", self)


@dataclass(frozen=True, kw_only=True, slots=True)
class BooleanAxis:
    """Two bins: false, true."""

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


Storage: TypeAlias = Literal["count", "weighted", "mean", "weighted_mean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """How a storage is written.

    :ivar uhi: its name in UHI. :ivar hist: its name in hist.
    :ivar keys: of its arrays in UHI, in the order in which hist takes them, and their names here.
    :ivar whole: which of them are int64.
    """

    uhi: str
    hist: str
    keys: tuple[tuple[str, str], ...]
    whole: str = ""

    @property
    def arrays(self) -> Mapping[str, np.dtype[Any]]:
        """Return the types of the arrays, by their names here."""
        return {name: np.dtype(np.int64 if name == self.whole else np.float64) for _, name in self.keys}


_STORAGES: Mapping[Storage, _Form] = MappingProxyType(
    {
        "count": _Form(uhi="int", hist="Int64", keys=(("values", "values"),), whole="values"),
        "weighted": _Form(uhi="weighted", hist="Weight", keys=(("values", "values"), ("variances", "variances"))),
        "mean": _Form(
            uhi="mean",
            hist="Mean",
            keys=(("counts", "counts"), ("values", "values"), ("variances", "variances")),
            whole="counts",
        ),
        "weighted_mean": _Form(
            uhi="weighted_mean",
            hist="WeightedMean",
            keys=(
                ("sum_of_weights", "sumw"),
                ("sum_of_weights_squared", "sumw2"),
                ("values", "values"),
                ("variances", "variances"),
            ),
        ),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Histogram:
    """A histogram. Its arrays have the shape of the axes, flow bins included, in the order of :class:`Axis`.

    Which it has is said by the storage; the others are none. Those that are not said to be int64 are float64.

    :ivar storage: ``count``: ``values`` are int64 numbers of entries; ``weighted``: ``values`` are sums of weights and
        ``variances`` sums of squared weights; ``mean``: ``values`` are means of samples, ``variances`` the variances of
        samples, ``counts`` int64 numbers of entries; ``weighted_mean``: the same of weighted samples, with the sums of
        weights and squared weights.
    """

    name: str
    axes: tuple[Axis, ...]
    storage: Storage
    values: NDArray[np.int64] | NDArray[np.float64]
    variances: NDArray[np.float64] | None = None
    counts: NDArray[np.int64] | None = None
    sumw: NDArray[np.float64] | None = None
    sumw2: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit the axes or the storage."""
        shape = tuple(axis.size for axis in self.axes)
        expected, found = dict(_STORAGES[self.storage].arrays), self.arrays
        if {name: array.dtype for name, array in found.items()} != expected:
            raise DataError(f"histogram {self.name!r}: its arrays are not those of the storage {self.storage!r}")
        for array in found.values():
            if array.shape != shape:
                raise DataError(f"histogram {self.name!r} has {shape} bins on its axes, its arrays {array.shape}")

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays that there are, by their names here."""
        named = {name: getattr(self, name) for name in ("values", "variances", "counts", "sumw", "sumw2")}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def samples(self) -> bool:
        """Return whether it holds means of samples, which don't add up to a distribution."""
        return self.storage in ("mean", "weighted_mean")

    def to_json(self) -> bytes:
        """Return the stored form. Equal histograms give equal bytes."""
        form, arrays = _STORAGES[self.storage], self.arrays
        storage: dict[str, JSON] = {"type": form.uhi}
        storage |= {key: arrays[name].tolist() for key, name in form.keys}
        return write_json(
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

        :raises DataError: if it is no such text, or has parts that this version does not know.
        """
        value = read_json(content, "the histogram")
        try:
            histogram = _histogram(cast("Any", value))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"this is no histogram that {WRITER} wrote: {error!r}") from error
        if read_json(histogram.to_json(), "the histogram") != value:
            raise DataError(f"this histogram has parts that {WRITER} does not write", hint="read it with hist or uhi")
        return histogram

    def to_hist(self) -> hist.Hist[Any]:
        """Return the histogram as a ``hist.Hist``, flow bins included.

        Its regular axes find bins by a formula of their own: fill it further, and a value at an edge can go elsewhere.
        """
        import warnings

        import hist

        storage = getattr(hist.storage, _STORAGES[self.storage].hist)()
        with warnings.catch_warnings():
            # an axis may be called weight: hist warns of its own keyword, which only matters to who fills by name
            warnings.filterwarnings("ignore", ".* is a protected keyword")
            filled = hist.Hist(*(_hist_axis(axis) for axis in self.axes), storage=storage, name=self.name)
        view: Any = filled.view(flow=True)
        if not view.dtype.names:
            view[...] = self.values
            return filled
        form, arrays = _STORAGES[self.storage], self.arrays
        # hist's own constructor turns variances of samples into the sums that it keeps
        filled[...] = np.stack([arrays[name].astype(np.float64) for _, name in form.keys], axis=-1)
        if self.storage == "weighted_mean":  # it divides zero by zero in empty bins, and NaN would stay in every sum
            view["_sum_of_weighted_deltas_squared"][arrays["sumw2"] == 0.0] = 0.0
        return filled


def _metadata(axis: Axis) -> dict[str, JSON]:
    return {"name": axis.name, "label": axis.label}


def _category(kind: str, axis: IntCategoryAxis | StrCategoryAxis) -> dict[str, JSON]:
    described: dict[str, JSON] = {
        "type": kind,
        "categories": list(axis.categories),
        "flow": not axis.growing,
        "metadata": _metadata(axis),
    }
    # boost-histogram's own key, which its readers turn into an axis that grows
    return {**described, "writer_info": {"boost-histogram": {"growth": True}}} if axis.growing else described


def _histogram(value: Any) -> Histogram:
    axes = tuple(_AXES[axis["type"]](axis) for axis in value["axes"])
    shape = tuple(axis.size for axis in axes)
    storage = value["storage"]
    name = {form.uhi: name for name, form in _STORAGES.items()}[storage["type"]]
    form = _STORAGES[name]
    types = form.arrays
    arrays = {array: _array(storage[key], shape, types[array]) for key, array in form.keys}
    return Histogram(name=value["metadata"]["name"], axes=axes, storage=name, **arrays)


def _array(values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array; JSON does not keep the shape of one without bins."""
    return np.array(values, dtype).reshape(shape)


def _regular(axis: Any) -> RegularAxis:
    edges = np.array([float(edge) for edge in axis["writer_info"][WRITER]["edges"].split()])
    return RegularAxis(
        **axis["metadata"], bins=axis["bins"], lower=float(axis["lower"]), upper=float(axis["upper"]), edges=edges
    )


_AXES: Mapping[str, Callable[[Any], Axis]] = {
    "regular": _regular,
    "variable": lambda axis: VariableAxis(**axis["metadata"], edges=np.array(axis["edges"], np.float64)),
    "category_int": lambda axis: IntCategoryAxis(
        **axis["metadata"], categories=tuple(axis["categories"]), growing=not axis["flow"]
    ),
    "category_str": lambda axis: StrCategoryAxis(
        **axis["metadata"], categories=tuple(axis["categories"]), growing=not axis["flow"]
    ),
    "boolean": lambda axis: BooleanAxis(**axis["metadata"]),
}


def _hist_axis(axis: Axis) -> hist.axis.AxisProtocol:
    import hist

    names: dict[str, Any] = {"name": axis.name, "label": axis.label}
    match axis:
        case RegularAxis():
            return hist.axis.Regular(axis.bins, axis.lower, axis.upper, **names)
        case VariableAxis():
            return hist.axis.Variable(axis.edges, **names)
        case IntCategoryAxis():
            return hist.axis.IntCategory(axis.categories, growth=axis.growing, **names)
        case StrCategoryAxis():
            return hist.axis.StrCategory(axis.categories, growth=axis.growing, **names)
        case BooleanAxis():
            return hist.axis.Boolean(**names)
