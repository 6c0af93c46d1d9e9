"""Numbers taken from products: the yield of a cutflow, the integral of a histogram.

What is asked for is checked while the plan is made, as far as the operation that makes the product says what is in it;
categories of axes that grow are known later, and one that was never met has counted nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast

import numpy as np

from fasthep_archive.data import products
from fasthep_archive.data.products import Cutflow, Histogram, stored_as
from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.operations.cutflow import CutflowSelection
from fasthep_archive.operations.histogram import Hist
from fasthep_archive.operations.protocol import Deriving, Made, Output

Path: TypeAlias = tuple[str | int, ...]
Wanted: TypeAlias = bool | int | float | str | tuple[bool | int | float | str | None, ...]
"""What is selected of an axis: a bin's category or a value in it; categories; or the edges from and to, none: open."""

_CLOSE = 1e-9
"""How near an edge has to be meant, in widths of the axis: edges are written in decimal."""


class Tally(Protocol):
    """How a number is taken from a product; plain data."""

    @property
    def name(self) -> str:
        """Return what the number is called."""

    @property
    def of(self) -> str:
        """Return the name of the input whose product it is taken from."""

    def canonical(self) -> JSON:
        """Return everything that the number depends on beside the product."""

    def number(self, outputs: Sequence[Output]) -> float:
        """Return the number; ``outputs`` are the files of the product."""


def total(numbers: Iterable[float]) -> float:
    """Return the exact sum, rounded once; with NaN or both infinities NaN, with one infinity that one."""
    values = [float(number) for number in numbers]
    try:
        return math.fsum(values)
    except OverflowError:
        return math.copysign(math.inf, sum(value / 2**60 for value in values))
    except ValueError:  # inf and -inf
        return math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Yield:
    """What passes a cut of a cutflow: by default the last one of its only group, in all datasets together.

    :ivar datasets: names of datasets, or of groups of datasets; none: all. :ivar cut: its id, ``group[i]``.
    """

    name: str
    of: str
    datasets: tuple[str, ...] | None
    group: str | None
    cut: str | None
    what: Literal["sumw", "n"]

    @classmethod
    def read(cls, name: str, params: Mapping[str, JSON]) -> Yield:
        """Return the yield of checked parameters."""
        datasets = cast("Sequence[str] | None", params.get("dataset"))
        return cls(
            name=name,
            of=str(params["of"]),
            datasets=None if datasets is None else tuple(datasets),
            group=cast("str | None", params.get("group")),
            cut=cast("str | None", params.get("cut")),
            what=cast("Literal['sumw', 'n']", params["what"]),
        )

    def tally(self, deriving: Deriving, path: Path) -> Tally | None:
        """Return how the number is taken, or none after a fault."""
        place = (*path, "yield")
        made = _made(deriving, self.of, (*place, "of"))
        if made is None:
            return None
        if not isinstance(made.operation, CutflowSelection):
            hint = "write integral: {of: ...}" if isinstance(made.operation, Hist) else None
            deriving.fault(f"a yield is that of a cutflow, and stage {made.stage!r} is {made.op}", (*place, "of"), hint)
            return None
        cut = self._cut(made.operation, deriving, place)
        datasets = self._datasets(deriving, (*place, "dataset"))
        if cut is None or datasets is None:
            return None
        return YieldTally(name=self.name, of=self.of, datasets=datasets, cut=cut, what=self.what)

    def _cut(self, selection: CutflowSelection, deriving: Deriving, path: Path) -> str | None:
        """Return the id of the cut, or none after a fault."""
        lasts = {group.name: f"{group.name}[{len(group.cuts) - 1}]" for group in selection.groups if group.cuts}
        if self.group is not None and self.group not in lasts:
            hint = nearest(self.group, lasts) or f"its groups are {', '.join(lasts)}"
            deriving.fault(f"the cutflow has no group {self.group!r}", (*path, "group"), hint)
            return None
        if self.cut is not None:
            group = selection.cuts.get(self.cut)
            if group is None:
                hint = nearest(self.cut, selection.cuts) or f"its cuts are {', '.join(selection.cuts)}"
                deriving.fault(f"the cutflow has no cut {self.cut!r}", (*path, "cut"), hint)
            elif self.group not in (None, group):
                message = f"cut {self.cut!r} is one of group {group!r}, not of {self.group!r}"
                deriving.fault(message, (*path, "cut"), "leave 'group' out")
                return None
            return self.cut if group is not None else None
        if self.group is None and len(lasts) != 1:
            message = "the cutflow has several groups" if lasts else "the cutflow has no cuts"
            deriving.fault(message, path, f"add group: {next(iter(lasts))}, or whichever it is" if lasts else None)
            return None
        return lasts[self.group if self.group is not None else next(iter(lasts))]

    def _datasets(self, deriving: Deriving, path: Path) -> tuple[str, ...] | None:
        """Return the names of the datasets, or none after a fault."""
        if self.datasets is None:
            return tuple(dataset.name for dataset in deriving.datasets)
        chosen: dict[str, None] = {}
        for number, wanted in enumerate(self.datasets):
            found = [dataset.name for dataset in deriving.datasets if dataset.name == wanted]
            found = found or [dataset.name for dataset in deriving.datasets if dataset.group == wanted]
            if not found:
                known = [name for dataset in deriving.datasets for name in (dataset.name, dataset.group)]
                hint = nearest(wanted, known) or f"known are {', '.join(dict.fromkeys(known))}"
                deriving.fault(f"no dataset and no group of datasets is called {wanted!r}", (*path, number), hint)
                return None
            chosen |= dict.fromkeys(found)
        return tuple(chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class YieldTally:
    """The sum of weights, or the number of events, that pass a cut in some datasets."""

    name: str
    of: str
    datasets: tuple[str, ...]
    cut: str
    what: Literal["sumw", "n"]

    def canonical(self) -> JSON:
        """Return everything that the number depends on beside the cutflow."""
        return {"yield": self.of, "datasets": list(self.datasets), "cut": self.cut, "what": self.what}

    def number(self, outputs: Sequence[Output]) -> float:
        """Return the yield."""
        cutflow = Cutflow.from_json(_content(outputs, "cutflow"))
        rows = [row for row in cutflow.rows if row.cut == self.cut and row.dataset in self.datasets]
        return total(row.sumw_out if self.what == "sumw" else row.events_out for row in rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Integral:
    """The sum over bins of a histogram; axes that are not in ``select`` count with all bins, flow bins included."""

    name: str
    of: str
    select: tuple[tuple[str, Wanted], ...]

    @classmethod
    def read(cls, name: str, params: Mapping[str, JSON]) -> Integral:
        """Return the integral of checked parameters."""
        select = cast("Mapping[str, JSON]", params["select"])
        wanted = ((axis, tuple(item) if isinstance(item, list | tuple) else item) for axis, item in select.items())
        return cls(name=name, of=str(params["of"]), select=tuple(cast("Iterable[tuple[str, Wanted]]", wanted)))

    def tally(self, deriving: Deriving, path: Path) -> Tally | None:
        """Return how the number is taken, or none after a fault."""
        place = (*path, "integral")
        made = _made(deriving, self.of, (*place, "of"))
        if made is None:
            return None
        if not isinstance(made.operation, Hist):
            hint = "write yield: {of: ...}" if isinstance(made.operation, CutflowSelection) else None
            message = f"an integral is that of a histogram, and stage {made.stage!r} is {made.op}"
            deriving.fault(message, (*place, "of"), hint)
            return None
        if made.operation.sample is not None:
            message = f"an integral is a number of events, and {made.stage!r} has means of {made.operation.sample}"
            deriving.fault(message, (*place, "of"), "fill a histogram without sample")
            return None
        return self if self._fits(made.operation, deriving, place) else None

    def _fits(self, hist: Hist, deriving: Deriving, path: Path) -> bool:
        """Say whether the histogram has what is selected; report what it has not."""
        axes = {axis.name: axis for axis in hist.described([dataset.name for dataset in deriving.datasets])}
        sound = True
        for name, wanted in self.select:
            place = (*path, "select", name)
            if name not in axes:
                hint = nearest(name, axes) or f"its axes are {', '.join(axes)}"
                deriving.fault(f"the histogram has no axis {name!r}", place, hint)
                sound = False
                continue
            try:
                places(axes[name], wanted)
            except Unfit as unfit:
                deriving.fault(unfit.message, place, unfit.hint)
                sound = False
        varied = None if hist.variations is None else hist.variations.name
        if varied is not None and varied not in dict(self.select):
            hint = f"add select: {{{varied}: nominal}}, or whichever it is"
            deriving.fault(f"a sum over the variations on axis {varied!r} means nothing", path, hint)
            sound = False
        return sound

    def canonical(self) -> JSON:
        """Return everything that the number depends on beside the histogram."""
        select = [[axis, list(item) if isinstance(item, tuple) else item] for axis, item in self.select]
        return {"integral": self.of, "select": select}

    def number(self, outputs: Sequence[Output]) -> float:
        """Return the integral."""
        histogram = Histogram.from_json(_content(outputs, "histogram"))
        wanted = dict(self.select)
        chosen = [
            places(axis, wanted[axis.name]) if axis.name in wanted else list(range(axis.size))
            for axis in histogram.axes
        ]
        return total(histogram.values[np.ix_(*chosen)].ravel().tolist())


class Unfit(Exception):
    """An axis has no such bins."""

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint


def places(axis: products.Axis, wanted: Wanted) -> list[int]:
    """Return the positions, among all bins of ``axis``, of what is ``wanted`` of it.

    A category that an axis which grows has not met has none.

    :raises Unfit: if the axis has no such bins.
    """
    if isinstance(axis, products.BooleanAxis):
        if not isinstance(wanted, bool):
            raise Unfit(f"the bins of axis {axis.name!r} are true and false, not {_shown(wanted)}")
        return [int(wanted)]
    if isinstance(axis, products.IntCategoryAxis | products.StrCategoryAxis):
        items = wanted if isinstance(wanted, tuple) else (wanted,)
        return [place for item in items for place in _category(axis, item)]
    if isinstance(wanted, tuple):
        return _range(axis, wanted)
    if isinstance(wanted, bool | str):
        raise Unfit(f"axis {axis.name!r} has bins of numbers, and {_shown(wanted)} is none", "write [low, high]")
    return [int(np.searchsorted(axis.edges, wanted, side="right"))]


def _category(axis: products.IntCategoryAxis | products.StrCategoryAxis, wanted: object) -> list[int]:
    kind = int if isinstance(axis, products.IntCategoryAxis) else str
    if type(wanted) is not kind:
        raise Unfit(f"the categories of axis {axis.name!r} are {_KINDS[kind]}, not {_shown(wanted)}")
    if wanted in axis.categories:
        return [axis.categories.index(wanted)]
    if axis.growing:
        return []
    hint = nearest(str(wanted), map(str, axis.categories)) or f"it has {', '.join(map(str, axis.categories))}"
    raise Unfit(f"axis {axis.name!r} has no category {wanted!r}", hint)


_KINDS: Mapping[type, str] = {int: "whole numbers", str: "texts"}


def _range(axis: products.RegularAxis | products.VariableAxis, wanted: Sequence[object]) -> list[int]:
    """Return the positions of the bins between two edges; an open end takes the flow bin along."""
    if len(wanted) != 2 or any(isinstance(end, bool | str) for end in wanted):
        raise Unfit(f"a range of axis {axis.name!r} is two of its edges", "write [low, high]; null for an open end")
    low, high = (None if end is None else _edge(axis, float(cast("float", end))) for end in wanted)
    first, last = 0 if low is None else low + 1, len(axis.edges) if high is None else high
    if first > last:
        raise Unfit(f"the range of axis {axis.name!r} is empty", "write the lower edge first")
    return list(range(first, last + 1))


def _edge(axis: products.RegularAxis | products.VariableAxis, wanted: float) -> int:
    distances = np.abs(axis.edges - wanted)
    nearest_edge = int(distances.argmin())
    if distances[nearest_edge] > _CLOSE * (axis.edges[-1] - axis.edges[0]):
        found = axis.edges[nearest_edge]
        raise Unfit(f"{wanted} is no edge of axis {axis.name!r}", f"the nearest edge is {found}")
    return nearest_edge


def _shown(wanted: object) -> str:
    """Return a value as the document writes it."""
    return json.dumps(wanted)


def _made(deriving: Deriving, name: str, path: Path) -> Made | None:
    """Return the input called ``name``, or none after a fault."""
    if name in deriving.inputs:
        return deriving.inputs[name]
    hint = nearest(name, deriving.inputs) or f"name it in the stage: from: [{name}]"
    deriving.fault(f"stage {deriving.stage!r} does not take the product of {name!r}", path, hint)
    return None


def _content(outputs: Sequence[Output], kind: str) -> bytes:
    """Return the file of a product that is of ``kind``."""
    forms = ((output, stored_as(output.name)) for output in outputs)
    return next(output.content for output, form in forms if form is not None and form.kind == kind)
