"""``hep.render.hist1d``: the datasets of a histogram of one axis, over each other; profiles too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.operations.protocol import Derivation, Deriving
from fasthep_archive.operations.render import frame, marks
from fasthep_archive.operations.render.checking import Checking
from fasthep_archive.operations.render.inks import inks
from fasthep_archive.operations.render.picture import Picture
from fasthep_archive.operations.render.samples import TOGETHER, Content, Curve, bins_of, curve_of
from fasthep_archive.operations.render.style import Style, part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HistType = Literal["step", "fill", "errorbar"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hist1D:
    """Draws simulated datasets as ``histtype`` says, and data as points; means are points with their errors.

    :ivar out: the file below ``plots``. :ivar data_first: whether data come first in the legend.
    """

    out: str
    style: Style
    histtype: HistType
    data_first: bool

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Hist1D:
        """Return the renderer of parameters that the schema has accepted, with the key ``out`` beside them."""
        options = part(params, "hist1d")
        return cls(
            out=str(params["out"]),
            style=Style.read(params),
            histtype=cast("HistType", options.get("histtype") or "step"),
            data_first=options.get("sort_datasets") != "none",
        )

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the picture; none after a fault."""
        checking = Checking.of(deriving)
        checking.common(self.style, self.out)
        checking.transforms(self.style)
        drawn = checking.one(profiles=True)
        if drawn is None:
            return None
        name, described = drawn
        checking.axes_number(described, 1, "project it first: op: hep.render.project, project: {axis: ..., then: ...}")
        if described.sample is not None and self.style.transforms:
            hint = "means can't be added or scaled: make a stage of its own, for the datasets that belong together"
            checking.fault(f"{described.stage!r} has means of {described.sample}", "transforms", hint=hint)
        if not checking.sound:
            return None
        return Picture(
            op="hep.render.hist1d",
            renderer=self,
            pages={f"plots/{self.out}": ""},
            splits={name: replace(described.split, sample=described.sample)},
            datasets=deriving.datasets,
        )

    def shrunk(self, contents: Mapping[str, Content], page: str) -> float:
        return 1.0

    def draw(self, figure: Figure, contents: Mapping[str, Content], page: str) -> None:
        (content,) = contents.values()
        bins = bins_of(content.axes[0])
        curves = [curve_of(sample, bins) for sample in content.samples]
        if self.data_first:
            curves.sort(key=lambda curve: not curve.measured)
        looks = inks([curve.name for curve in curves], [curve.name for curve in curves if curve.measured], self.style)
        axes, _ = frame.panels(figure, below=False)
        ways = ["errorbar" if curve.measured or content.mean_of is not None else self.histtype for curve in curves]
        reaches = [_reach(curve, how) for curve, how in zip(curves, ways, strict=True)]
        span = frame.Extent.of if content.mean_of is None else frame.Extent.of_points
        extent = span(bins, reaches, self.style.x.limits)
        frame.set_x(axes, bins, self.style.x)
        frame.set_y(
            axes, extent, self.style.y, frame.events(bins) if content.mean_of is None else _mean(content.mean_of)
        )
        artists = [
            marks.drawn(axes, f"main.{number}", bins, curve, how, looks[curve.name])
            for number, (curve, how) in enumerate(zip(curves, ways, strict=True))
        ]
        marks.outside(axes, curves)
        frame.remarks(axes, curves, extent)
        named = [artist for artist, curve in zip(artists, curves, strict=True) if curve.name != TOGETHER]
        frame.finish(figure, axes, self.style, extent, named, simulated=content.simulated)


def _reach(curve: Curve, how: str) -> frame.Reach:
    """Return the heights of a curve, and how far it reaches beyond them as it is drawn."""
    if how == "errorbar":
        return curve.values, curve.lower, curve.upper
    return curve.values, 0 * curve.lower, 0 * curve.upper


def _mean(sample: str) -> str:
    """Return the label of an axis of means: formulas are no TeX."""
    return "Mean of " + sample.replace("$", r"\$")
