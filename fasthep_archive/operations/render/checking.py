"""What can be told of a style before anything runs: names, axes, colours and formulas that can't be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from fasthep_archive.errors import nearest, of_known
from fasthep_archive.operations.histogram import NOMINAL, Axis, Hist
from fasthep_archive.operations.protocol import Deriving, Made
from fasthep_archive.operations.render import canvas
from fasthep_archive.operations.render.picture import is_histogram
from fasthep_archive.operations.render.samples import Split, members_to_group
from fasthep_archive.operations.render.style import AxisStyle, Group, Style

_DATASET_AXES = ("dataset", "dataset_name")
"""Names of axes that stand for the datasets, where the histogram does not say."""
_MOST_PIXELS = 2**26
_HATCHES = frozenset("/\\|-+xXoO.*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What is known of a histogram before it is filled.

    :ivar axes: without that of the datasets and that of the variations; none: the operation is not ours.
    :ivar weighted: whether it has sums of weights; none: not known. :ivar sample: what a profile has the means of.
    """

    stage: str
    axes: tuple[Axis, ...] | None
    split: Split
    weighted: bool | None
    sample: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Checking:
    """Reports what is wrong with a style; ``sound`` says whether anything was."""

    deriving: Deriving
    faults: list[str]
    under: tuple[str | int, ...] = ()
    """Where the style stands in the style that the document has."""

    @classmethod
    def of(cls, deriving: Deriving) -> Checking:
        """Return one that has not found anything."""
        return cls(deriving=deriving, faults=[])

    def below(self, *keys: str | int) -> Checking:
        """Return one for the style that stands at ``keys``, which shares what is found."""
        return Checking(deriving=self.deriving, faults=self.faults, under=(*self.under, *keys))

    @property
    def sound(self) -> bool:
        """Return whether nothing was reported."""
        return not self.faults

    def fault(self, message: str, *keys: str | int, hint: str | None = None) -> None:
        """Report a fault at ``keys`` of the style."""
        self.faults.append(message)
        self.deriving.fault(message, (*self.deriving.path, *self.under, *keys), hint)

    def one(self, *, profiles: bool = False) -> tuple[str, Described] | None:
        """Return name and description of the one histogram that is drawn, or report that it is not one.

        :param profiles: whether it may be a profile.
        """
        inputs = self.deriving.inputs
        if len(inputs) != 1:
            self.fault(f"one histogram is drawn, and there are {len(inputs)} inputs: {', '.join(inputs) or 'none'}")
            return None
        ((name, made),) = inputs.items()
        described = self.histogram(made, profiles=profiles)
        return None if described is None else (name, described)

    def histogram(self, made: Made, *, profiles: bool = False) -> Described | None:
        """Return what is known of the histogram that a stage leaves, or report that it leaves none.

        :param profiles: whether it may be a profile, whose means don't add up to a distribution.
        """
        if not any(map(is_histogram, made.outputs)):
            message = f"this draws a histogram, and stage {made.stage!r} ({made.op}) leaves none"
            self.fault(message, hint="draw a stage with op: hep.hist; cutflows have hep.render.cutflow_csv")
            return None
        if not isinstance(made.operation, Hist):
            return Described(stage=made.stage, axes=None, split=Split(dataset_axis=_DATASET_AXES[0]), weighted=None)
        hist = made.operation
        if hist.sample is not None and not profiles:
            message = f"this draws numbers of events, and {made.stage!r} has means of {hist.sample}"
            self.fault(message, hint="draw a profile with op: hep.render.hist1d")
            return None
        split = hist.dataset_axis or next((axis for axis in hist.axes if _is_dataset_axis(axis)), None)
        name = None if split is None else split.name
        varied = hist.variations
        variation = (varied.name, NOMINAL) if varied and NOMINAL in varied.categories else None
        return Described(
            stage=made.stage,
            axes=tuple(axis for axis in hist.axes if axis.name != name),
            split=Split(dataset_axis=name, variation=variation),
            weighted=hist.storage == "weighted",
            sample=hist.sample,
        )

    def axes_number(self, described: Described, wanted: int, hint: str) -> None:
        """Report a histogram that has not the number of axes that is drawn."""
        if described.axes is not None and len(described.axes) != wanted:
            names = ", ".join(axis.name for axis in described.axes) or "none"
            message = f"this draws {wanted} axis beside that of the datasets, and {described.stage!r} has {names}"
            self.fault(message, hint=hint)

    def axis_name(self, described: Described, name: str, *keys: str | int) -> None:
        """Report a name that is none of the histogram's axes."""
        known = [axis.name for axis in described.axes or ()]
        if described.axes is not None and name not in known:
            message = f"histogram {described.stage!r} has no axis {name!r}"
            self.fault(message, *keys, hint=nearest(name, known) or f"its axes are {', '.join(known) or 'none'}")

    def dataset(self, name: str, known: Iterable[str], *keys: str | int) -> None:
        """Report a name that is none of the datasets, or groups of them, that are ``known``."""
        names = list(known)
        if name not in names:
            self.fault(f"unknown dataset {name!r}", *keys, hint=of_known(name, names))

    def common(self, style: Style, out: str) -> None:
        """Check what every picture has: file, size, limits, labels, colours, names of datasets."""
        suffix = PurePosixPath(out).suffix
        if suffix not in canvas.SUFFIXES:
            message = f"a picture can't be written as {suffix or 'a file without suffix'}: {out}"
            self.fault(message, "out", hint=f"end its name in {', '.join(canvas.SUFFIXES)}")
        across, down = style.figure.pixels
        if across * down > _MOST_PIXELS:
            message = f"a picture of {across} x {down} pixels is too large"
            self.fault(message, "figure", hint="size is in inches, dpi in pixels per inch")
        for key, axis in (("x", style.x), ("y", style.y), ("z", style.z), ("ratio", style.ratio)):
            self._axis(axis, "axes", key)
        self._look(style)

    def transforms(self, style: Style) -> tuple[str, ...]:
        """Check the transforms; return the names of the datasets and groups after them."""
        groups = {dataset.name: dataset.group for dataset in self.deriving.datasets}
        names = tuple(groups)
        for number, transform in enumerate(style.transforms):
            at = ("transforms", number)
            if isinstance(transform, Group):
                for member in _members(transform):
                    self.dataset(member, names, *at, "by")
                named = members_to_group(transform, groups)
                names = tuple(dict.fromkeys(named.get(name, name) for name in names))
            else:
                known = tuple(groups.get(name, name) for name in names) if transform.by_group else names
                for name in transform.factors:
                    self.dataset(name, dict.fromkeys(known), *at, "factors", name)
        return names

    def _axis(self, axis: AxisStyle, *keys: str) -> None:
        if axis.limits is not None and not axis.limits[0] < axis.limits[1]:
            low, high = axis.limits
            self.fault(f"limits must be lower first, but {high:g} is not above {low:g}", *keys, "limits")
        elif axis.limits is not None and axis.log and axis.limits[1] <= 0:
            self.fault(f"a logarithmic axis has no values up to {axis.limits[1]:g}", *keys, "limits")
        self.text(axis.label, *keys, "label")

    def _look(self, style: Style) -> None:
        for text, key in ((style.experiment, "experiment"), (style.label, "label"), (style.lumi, "lumi")):
            self.text(text, "style", key)
        for number, color in enumerate(style.colors):
            self.color(color, "style", "color_cycle", number)
        known = {name for dataset in self.deriving.datasets for name in (dataset.name, dataset.group)}
        known |= {group for step in style.transforms if isinstance(step, Group) for group in step.members or ()}
        for name, look in style.datasets.items():
            # a style may be for more datasets than there are; a name that is nearly one of them is another thing
            close = next((other for other in sorted(known - set(style.datasets)) if nearest(name, [other])), None)
            if name not in known and close is not None:
                self.fault(f"unknown dataset {name!r}", "style", "datasets", name, hint=f"did you mean {close!r}?")
            self.text(look.label, "style", "datasets", name, "label")
            self.color(look.color, "style", "datasets", name, "color")
            if look.hatch and not set(look.hatch) <= _HATCHES:
                hint = f"use some of {' '.join(sorted(_HATCHES))}"
                self.fault(f"{look.hatch!r} is no hatch", "style", "datasets", name, "hatch", hint=hint)

    def color(self, color: str | None, *keys: str | int) -> None:
        """Report what is no colour."""
        if color is None:
            return
        from matplotlib.colors import get_named_colors_mapping, is_color_like

        if not is_color_like(color):
            names = [name for name in get_named_colors_mapping() if ":" not in name]
            hint = nearest(color, names) or "write a name such as cyan, or #rrggbb"
            self.fault(f"{color!r} is no colour", *keys, hint=hint)

    def text(self, text: str | None, *keys: str | int) -> None:
        """Report a text whose formulas matplotlib can't set."""
        if not text or "$" not in text:
            return
        from matplotlib.mathtext import MathTextParser

        try:
            MathTextParser("path").parse(text)
        except ValueError as error:
            why = str(error).strip().splitlines()[-1]
            hint = r"write formulas between dollar signs, such as $p_\mathrm{T}$; a dollar sign itself is \$"
            self.fault(f"the text {text!r} can't be set: {why}", *keys, hint=hint)


def _members(group: Group) -> Iterator[str]:
    members: Mapping[str, tuple[str, ...]] = group.members or {}
    for names in members.values():
        yield from names


def _is_dataset_axis(axis: Axis) -> bool:
    return axis.type == "category" and (axis.source == "dataset_name" or axis.name in _DATASET_AXES)
