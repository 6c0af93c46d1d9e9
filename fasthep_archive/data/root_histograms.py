"""ROOT files of histograms (TH1D, TH2D, TH3D), written and read by uproot.

A histogram with up to three axes of numbers is one of ROOT's. Axes of categories are directories: of ``Mass`` with the
axes dataset and mass, ROOT sees ``Mass/ttbar``, ``Mass/wjets``, ...; what lies in none of an axis' categories is
``Mass/overflow``. A histogram with nothing but categories is a TH1D whose bins are called like those of its last axis.

As in files of trees, all dates are the same and the file's identity is a digest of the rest. The numbers that ROOT
keeps beside the bins (entries, sums of x and of x squared) are made of the bins: means and widths are those of binned
values, and ``fEntries`` is the number of events that have as much power, ``sumw**2 / sumw2``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import fsum, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.damage import told
from fasthep_archive.data.histograms import Axis, Histogram, RegularAxis, VariableAxis
from fasthep_archive.data.trees import Compression, WritableFile, write_timeless
from fasthep_archive.errors import DataError, nearest
from fasthep_archive.files import Bytes, opened

if TYPE_CHECKING:
    import hist

Doubles: TypeAlias = NDArray[np.float64]

_UNFIT = re.compile(r"[/\\;\x00-\x1f\x7f]")
_MOST = 3
"""Axes that ROOT's histograms have."""
_CLASSES = re.compile(r"TH([123])[CSIFDL]")
OVERFLOW = "overflow"
"""Stands for all categories that an axis does not name."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RootAxis:
    """An axis. :ivar edges: ascending, bins + 1. :ivar labels: what the bins are called; empty where nothing does."""

    label: str
    edges: Doubles
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RootHistogram:
    """A histogram as ROOT has it.

    :ivar path: its name, below directories with ``/``. :ivar values: with underflow and overflow on all axes.
    :ivar variances: likewise the sums of squared weights; none for counts.
    """

    path: str
    axes: tuple[RootAxis, ...]
    values: Doubles
    variances: Doubles | None


def unfit(histogram: Histogram) -> str | None:
    """Return why ROOT has no such histogram; none if it has."""
    if histogram.samples:
        return "it holds means of samples"
    numbers = sum(isinstance(axis, RegularAxis | VariableAxis) for axis in histogram.axes)
    return f"it has {numbers} axes of numbers, and ROOT's histograms have up to {_MOST}" if numbers > _MOST else None


def in_root(histogram: Histogram, name: str) -> tuple[RootHistogram, ...]:
    """Return the histogram as ROOT's, one for each combination of categories.

    :param name: of the histogram, or of the directory that holds them.
    :raises DataError: if ROOT has no such histograms, or two categories would have one name.
    """
    reason = unfit(histogram)
    if reason is not None:
        raise DataError(f"histogram {name!r} can't be written to ROOT: {reason}")
    places = [at for at, axis in enumerate(histogram.axes) if not isinstance(axis, RegularAxis | VariableAxis)]
    kept = [at for at in range(len(histogram.axes)) if at not in places] or [places.pop()]
    axes = tuple(_axis(histogram.axes[at]) for at in kept)
    found = []
    for bins in product(*(enumerate(_categories(histogram.axes[at])) for at in places)):
        at: list[int | slice] = [slice(None)] * len(histogram.axes)
        for place, (number, _) in zip(places, bins, strict=True):
            at[place] = number
        pieces = [
            _framed(array[tuple(at)], [histogram.axes[number] for number in kept]) for array in _arrays(histogram)
        ]
        path = "/".join([_named(name), *(_named(category) for _, category in bins)])
        found.append(
            RootHistogram(path=path, axes=axes, values=pieces[0], variances=pieces[1] if len(pieces) > 1 else None)
        )
    refuse_twice(found)
    return tuple(found)


def write_histograms(histograms: Sequence[RootHistogram], compression: Compression = "zlib", level: int = 1) -> bytes:
    """Return a ROOT file with the histograms, in their order. Equal histograms give equal bytes."""
    refuse_twice(histograms)

    def fill(file: WritableFile) -> None:
        for histogram in histograms:
            file[histogram.path] = _writable(histogram)

    target = io.BytesIO()
    write_timeless(target, compression, level, fill)
    return target.getvalue()


def refuse_twice(histograms: Iterable[RootHistogram]) -> None:
    """Raise if two histograms have one path, or one is where a directory has to be."""
    known: set[str] = set()
    for histogram in histograms:
        if histogram.path in known:
            hint = "give stages and categories names that differ by more than / \\ ; and control characters"
            raise DataError(f"two histograms would be called {histogram.path!r} in the file", hint=hint)
        known.add(histogram.path)
    for path in known:
        above = next((other for other in known if path.startswith(f"{other}/")), None)
        if above is not None:
            raise DataError(f"{above!r} would be both a histogram and a directory", hint="rename a stage")


def read_histograms(content: Bytes) -> tuple[RootHistogram, ...]:
    """Return the histograms of a ROOT file, in the order of their paths.

    :raises DataError: if it is no ROOT file, is damaged, or has anything but histograms of up to three axes.
    """
    import uproot

    if opened(content).read(4) != b"root":
        raise DataError("the file is no ROOT file")
    with told(Path("the file")):
        file = uproot.open(opened(content), object_cache=None, array_cache=None, use_threads=False)
        kinds = file.classnames(recursive=True, cycle=False)
        other = next((name for name, kind in kinds.items() if not _known(kind)), None)
        if other is not None:
            raise DataError(f"{other!r} is a {kinds[other]}, not a histogram")
        return tuple(_read(path, file[path]) for path in sorted(kinds) if _CLASSES.fullmatch(kinds[path]))


class RootHistograms(Mapping[str, "hist.Hist[Any]"]):
    """The histograms of a ROOT file as ``hist.Hist``, by their paths."""

    def __init__(self, content: Bytes) -> None:
        """:raises DataError: as :func:`read_histograms` does."""
        self._found = {item.path: item for item in read_histograms(content)}

    def __getitem__(self, path: str) -> hist.Hist[Any]:
        """Return a histogram.

        :raises UnknownHistogram: if there is none of that path; also a KeyError.
        """
        if path not in self._found:
            hint = nearest(path, self._found) or f"there are {', '.join(self._found)}"
            raise UnknownHistogram(f"no histogram {path!r} in the file", hint=hint)
        return _hist(self._found[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<histograms {', '.join(self._found)}>"


class UnknownHistogram(DataError, KeyError):
    """There is no such histogram."""


def _hist(found: RootHistogram) -> hist.Hist[Any]:
    import hist

    axes = [_hist_axis(axis, number) for number, axis in enumerate(found.axes)]
    storage = hist.storage.Double() if found.variances is None else hist.storage.Weight()
    filled: Any = hist.Hist(*axes, storage=storage, name=found.path.rpartition("/")[2])
    # what ROOT has below and above the bins of categories is empty, and hist has no place for it
    inner = tuple(slice(1, -1) if axis.labels else slice(None) for axis in found.axes)
    if found.variances is None:
        filled.view(flow=True)[...] = found.values[inner]
    else:
        view = filled.view(flow=True)
        view["value"], view["variance"] = found.values[inner], found.variances[inner]
    return cast("hist.Hist[Any]", filled)


def _hist_axis(axis: RootAxis, number: int) -> Any:
    import hist

    name = "xyz"[number]
    if axis.labels:
        return hist.axis.StrCategory(axis.labels, name=name, label=axis.label, overflow=False)
    return hist.axis.Variable(axis.edges, name=name, label=axis.label)


def holds_histograms(content: Bytes) -> bool:
    """Say whether a ROOT file has histograms and nothing else. It may be damaged all the same."""
    import uproot

    with told(Path("the file")):
        file = uproot.open(opened(content), object_cache=None, array_cache=None, use_threads=False)
        kinds = set(file.classnames(recursive=True, cycle=False).values())
    return all(map(_known, kinds)) and any(map(_CLASSES.fullmatch, kinds))


def _known(kind: str) -> bool:
    return kind in ("TDirectory", "TDirectoryFile") or _CLASSES.fullmatch(kind) is not None


def _read(path: str, found: Any) -> RootHistogram:
    axes = tuple(_read_axis(axis) for axis in found.axes)
    values = np.asarray(found.values(flow=True), np.float64)
    weighted = len(found.member("fSumw2")) > 0
    variances = np.asarray(found.variances(flow=True), np.float64) if weighted else None
    return RootHistogram(path=path, axes=axes, values=values, variances=variances)


def _read_axis(axis: Any) -> RootAxis:
    labels = axis.labels()
    return RootAxis(
        label=str(axis.member("fTitle")),
        edges=np.asarray(axis.edges(), np.float64),
        labels=() if labels is None else tuple(map(str, labels)),
    )


def _named(text: str) -> str:
    """Return a text as the name of a histogram or directory: what readers take for paths and cycles is replaced."""
    return _UNFIT.sub("_", text) or "_"


def _categories(axis: Axis) -> tuple[str, ...]:
    """Return what the bins of an axis of categories are called, that of all others included."""
    named = tuple(map(str, getattr(axis, "categories", ("false", "true"))))
    return named if axis.size == len(named) else (*named, OVERFLOW)


def _axis(axis: Axis) -> RootAxis:
    label = axis.label or axis.name
    if isinstance(axis, RegularAxis | VariableAxis):
        return RootAxis(label=label, edges=np.asarray(axis.edges, np.float64))
    labels = _categories(axis)
    return RootAxis(label=label, edges=np.arange(len(labels) + 1, dtype=np.float64), labels=labels)


def _arrays(histogram: Histogram) -> list[Doubles]:
    arrays = [histogram.values, *([] if histogram.variances is None else [histogram.variances])]
    return [array.astype(np.float64) for array in arrays]


def _framed(array: Doubles, axes: Sequence[Axis]) -> Doubles:
    """Return an array with flow bins also where the bins are categories, which have none: they are empty."""
    plain = [isinstance(axis, RegularAxis | VariableAxis) for axis in axes]
    return np.pad(array, [(0, 0) if number else (1, 1) for number in plain])


def _writable(histogram: RootHistogram) -> object:
    """Return the histogram as uproot writes it."""
    import uproot.writing.identify as made

    makers: Sequence[Callable[..., Any]] = (made.to_TH1x, made.to_TH2x, made.to_TH3x)
    letters = "XYZ"[: len(histogram.axes)]
    axes = {f"f{letter}axis": _root_axis(letter, axis) for letter, axis in zip(letters, histogram.axes, strict=True)}
    variances = np.zeros(0) if histogram.variances is None else histogram.variances
    spread = histogram.values if histogram.variances is None else histogram.variances
    inner = (slice(1, -1),) * len(letters)
    sums = _sums(histogram, histogram.values[inner], fsum(spread[inner].ravel()))
    # bins are in the order in which the first axis runs fastest
    flat = [np.ascontiguousarray(array.T).ravel().astype(">f8") for array in (histogram.values, variances)]
    title = "" if len(letters) > 1 else histogram.axes[0].label
    name = histogram.path.rpartition("/")[2]
    return makers[len(letters) - 1](fName=name, fTitle=title, data=flat[0], fSumw2=flat[1], **sums, **axes)


def _root_axis(letter: str, axis: RootAxis) -> Any:
    import uproot.writing.identify as made

    labels = made.to_THashList([made.to_TObjString(text) for text in axis.labels]) if axis.labels else None
    for number, text in enumerate(labels if labels is not None else (), start=1):
        text._members["fUniqueID"] = number
        text._bases[0]._members["@fUniqueID"] = number
    bins, edges = len(axis.edges) - 1, axis.edges
    regular = bins > 0 and np.array_equal(edges, np.linspace(edges[0], edges[-1], bins + 1))
    return made.to_TAxis(
        fName=f"{letter.lower()}axis",
        fTitle=axis.label,
        fNbins=bins,
        fXmin=float(edges[0]),
        fXmax=float(edges[-1]),
        fXbins=None if regular else edges.astype(">f8"),
        fLabels=labels,
    )


def _sums(histogram: RootHistogram, values: Doubles, sumw2: float) -> Mapping[str, float]:
    """Return the sums that ROOT keeps: of weights, and of weights times (products of) the middles of bins."""
    sumw = fsum(values.ravel())
    middles = dict(zip("xyz", _middles(histogram.axes), strict=False))
    found = {
        "fEntries": sumw * sumw / sumw2 if sumw2 and isfinite(sumw2) else 0.0,
        "fTsumw": sumw,
        "fTsumw2": sumw2,
    }
    for letter, middle in middles.items():
        found[f"fTsumw{letter}"] = fsum((values * middle).ravel())
        found[f"fTsumw{letter}2"] = fsum((values * middle * middle).ravel())
    for one, other in (("x", "y"), ("x", "z"), ("y", "z")):
        if one in middles and other in middles:
            found[f"fTsumw{one}{other}"] = fsum((values * middles[one] * middles[other]).ravel())
    return found


def _middles(axes: Sequence[RootAxis]) -> Iterator[Doubles]:
    """Yield the middles of the bins of each axis, shaped to be multiplied with the values."""
    for number, axis in enumerate(axes):
        shape = [1] * len(axes)
        shape[number] = -1
        yield ((axis.edges[:-1] + axis.edges[1:]) / 2).reshape(shape)
