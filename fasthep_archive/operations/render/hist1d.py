"""``hep.render.hist1d``: the datasets of a histogram of one axis, over each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """Draws simulated datasets as ``histtype`` says, and data as points.

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
        drawn = checking.one()
        if drawn is None:
            return None
        name, described = drawn
        checking.axes_number(described, 1, "project it first: op: hep.render.project, project: {axis: ..., then: ...}")
        if not checking.sound:
            return None
        return Picture(
            op="hep.render.hist1d",
            renderer=self,
            pages={f"plots/{self.out}": ""},
            splits={name: described.split},
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
        extent = frame.Extent.of(bins, [self._reach(curve) for curve in curves], self.style.x.limits)
        frame.set_x(axes, bins, self.style.x)
        frame.set_y(axes, extent, self.style.y, frame.events(bins))
        artists = [
            marks.drawn(axes, f"main.{number}", bins, curve, self._how(curve), looks[curve.name])
            for number, curve in enumerate(curves)
        ]
        marks.outside(axes, curves)
        frame.remarks(axes, curves, extent)
        named = [artist for artist, curve in zip(artists, curves, strict=True) if curve.name != TOGETHER]
        frame.finish(figure, axes, self.style, extent, named, simulated=content.simulated)

    def _how(self, curve: Curve) -> str:
        return "errorbar" if curve.measured else self.histtype

    def _reach(self, curve: Curve) -> frame.Reach:
        """Return the heights of a curve, and how far it reaches beyond them as it is drawn."""
        if self._how(curve) == "errorbar":
            return curve.values, curve.lower, curve.upper
        return curve.values, 0 * curve.lower, 0 * curve.upper
