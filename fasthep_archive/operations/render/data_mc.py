"""``hep.render.data_mc``: data over a stack of simulated datasets, with their ratio below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from fasthep_archive.digest import JSON
from fasthep_archive.operations.protocol import Derivation, Deriving
from fasthep_archive.operations.render import frame, marks, ratios
from fasthep_archive.operations.render.checking import Checking
from fasthep_archive.operations.render.inks import inks
from fasthep_archive.operations.render.intervals import Doubles
from fasthep_archive.operations.render.marks import Ink, Mark
from fasthep_archive.operations.render.picture import Picture
from fasthep_archive.operations.render.samples import Bins, Content, Curve, bins_of, curve_of, summed
from fasthep_archive.operations.render.style import Limits, Style, limits, part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HistType = Literal["bar", "fill", "step"]
UNCERTAINTY = "Stat. unc."
"""What the legend calls the band."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What stands below ``data_mc``.

    :ivar data: the dataset that is drawn as points. :ivar histtype_mc: none: fill in a stack, else step.
    :ivar upwards: whether the first of the legend is at the bottom of the stack.
    """

    data: str
    backgrounds: tuple[str, ...]
    signals: tuple[str, ...]
    stack_signals: bool
    band: bool
    stack: bool
    upwards: bool
    ratio: bool
    ratio_limits: Limits
    ratio_label: str
    histtype_mc: HistType | None
    histtype_signal: HistType
    most: int
    widest: int

    @classmethod
    def read(cls, options: Mapping[str, JSON]) -> Options:
        """Return the options of parameters that the schema has accepted."""
        return cls(
            data=str(options.get("data") or "data"),
            backgrounds=tuple(cast("Sequence[str]", options.get("backgrounds") or ())),
            signals=tuple(cast("Sequence[str]", options.get("signals") or ())),
            stack_signals=bool(options.get("include_signals_in_stack", True)),
            band=bool(options.get("show_mc_uncertainty", True)),
            stack=bool(options.get("stack", True)),
            upwards=options.get("stack_order") == "legend",
            ratio=bool(options.get("ratio", True)),
            ratio_limits=limits(options.get("ratio_ylim")) or (0.5, 1.5),
            ratio_label=str(options.get("ratio_ylabel") or "Data/MC"),
            histtype_mc=cast("HistType | None", options.get("histtype_mc")),
            histtype_signal=cast("HistType", options.get("histtype_signal") or "step"),
            most=cast("int", options.get("legend_auto_ncol_threshold", 5)),
            widest=cast("int", options.get("legend_max_ncol", 4)),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Drawing:
    """What is drawn: curves by name, those of the stack from the bottom to the top, and how each looks.

    :ivar total: sum of the stack; none without one. :ivar artists: entries of the legend by name.
    """

    bins: Bins
    curves: Mapping[str, Curve]
    stacked: tuple[str, ...]
    looks: Mapping[str, Ink]
    total: Curve | None
    artists: dict[str, Mark] = field(default_factory=dict)

    def levels(self) -> Iterator[tuple[str, Doubles, Doubles]]:
        """Yield the name, the bottom and the top of each layer of the stack."""
        for number, name in enumerate(self.stacked):
            below = [self.curves[other] for other in self.stacked[:number]]
            bottom = summed("", below).values if below else np.zeros(len(self.bins.edges) - 1)
            yield name, bottom, summed("", [*below, self.curves[name]]).values


@dataclass(frozen=True, kw_only=True, slots=True)
class DataMC:
    """Draws one dataset as points, others stacked in the order given, and the ratio of the points to the stack.

    Errors of the points in the ratio are those of the data alone; those of the stack are the band around one. Where the
    stack is not greater than zero there is no ratio; where the ratio is outside of its axis, a triangle points at it.
    """

    out: str
    style: Style
    options: Options

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> DataMC:
        """Return the renderer of parameters that the schema has accepted, with the key ``out`` beside them."""
        options = Options.read(part(params, "data_mc"))
        return cls(out=str(params["out"]), style=Style.read(params), options=options)

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the picture; none after a fault."""
        checking = Checking.of(deriving)
        checking.common(self.style, self.out)
        self.check_datasets(checking)
        drawn = checking.one()
        if drawn is None:
            return None
        name, described = drawn
        checking.axes_number(described, 1, "project it first: op: hep.render.project, project: {axis: ..., then: ...}")
        if described.axes is not None and described.split.dataset_axis is None:
            hint = "add dataset_axis: true to its params"
            checking.fault(f"histogram {described.stage!r} does not tell datasets apart", hint=hint)
        if not checking.sound:
            return None
        return Picture(
            op="hep.render.data_mc",
            renderer=self,
            pages={f"plots/{self.out}": ""},
            splits={name: described.split},
            datasets=deriving.datasets,
        )

    def check_datasets(self, checking: Checking) -> None:
        """Report datasets that don't exist, or are there twice."""
        options, known = self.options, checking.transforms(self.style)
        named: dict[str, None] = {}
        listed: list[tuple[str, tuple[str | int, ...]]] = [(options.data, ("data",))]
        listed += [(name, ("signals", number)) for number, name in enumerate(options.signals)]
        listed += [(name, ("backgrounds", number)) for number, name in enumerate(options.backgrounds)]
        for name, at in listed:
            checking.dataset(name, known, "data_mc", *at)
            if name in named:
                checking.fault(f"dataset {name!r} is there twice", "data_mc", *at)
            named[name] = None

    def shrunk(self, contents: Mapping[str, Content], page: str) -> float:
        return 1.0

    def draw(self, figure: Figure, contents: Mapping[str, Content], page: str) -> None:
        (content,) = contents.values()
        drawing = self._drawing(content)
        below = drawing.total is not None and self.options.ratio
        main, lower = frame.panels(figure, below=below)
        curves = list(drawing.curves.values())
        extent = frame.Extent.of(drawing.bins, list(self._reaches(drawing)), self.style.x.limits)
        frame.set_x(lower or main, drawing.bins, self.style.x)
        frame.set_y(main, extent, self.style.y, frame.events(drawing.bins))
        self._draw_simulation(main, drawing)
        data = drawing.curves.get(self.options.data)
        if data is not None:
            drawing.artists[data.name] = marks.points(main, "main.data", drawing.bins, data, drawing.looks[data.name])
        if lower is not None and drawing.total is not None:
            self._draw_ratio(lower, drawing, drawing.total, data)
        marks.outside(main, curves)
        frame.remarks(main, curves, extent)
        order = [*drawing.curves, UNCERTAINTY]
        frame.finish(
            figure,
            main,
            self.style,
            extent,
            [drawing.artists[name] for name in order if name in drawing.artists],
            simulated=data is None,
            most=self.options.most,
            widest=self.options.widest,
        )

    def _drawing(self, content: Content) -> _Drawing:
        options, bins = self.options, bins_of(content.axes[0])
        curves: dict[str, Curve] = {}
        for name in (options.data, *options.signals, *options.backgrounds):
            sample = content.sample(name)
            if sample is not None:
                poisson = sample.counted if name == options.data else False
                curves[name] = curve_of(sample, bins, poisson=poisson)
        stacked = [name for name in curves if options.stack and self._stacks(name)]
        if not options.upwards:
            stacked.reverse()
        return _Drawing(
            bins=bins,
            curves=curves,
            stacked=tuple(stacked),
            looks=inks(curves, [options.data], self.style),
            total=summed("total", [curves[name] for name in stacked]) if stacked else None,
        )

    def _stacks(self, name: str) -> bool:
        if name == self.options.data:
            return False
        own = self.style.of(name).stack
        if own is not None:
            return own
        return name in self.options.backgrounds or self.options.stack_signals

    def _reaches(self, drawing: _Drawing) -> Iterator[frame.Reach]:
        """Yield the heights of everything that is drawn, and how far it reaches beyond."""
        for name, curve in drawing.curves.items():
            if name == self.options.data:
                yield curve.values, curve.lower, curve.upper
            elif name not in drawing.stacked:
                yield curve.values, 0 * curve.lower, 0 * curve.upper
        for _, _, top in drawing.levels():
            yield top, 0 * top, 0 * top
        if drawing.total is not None and self.options.band:
            yield drawing.total.values, drawing.total.lower, drawing.total.upper

    def _draw_simulation(self, axes: Axes, drawing: _Drawing) -> None:
        how = self.options.histtype_mc or "fill"
        for number, (name, bottom, top) in enumerate(drawing.levels()):
            gid, ink = f"main.stack.{number}", drawing.looks[name]
            drawing.artists[name] = (
                marks.steps(axes, gid, drawing.bins, top, ink)
                if how == "step"
                else (marks.bars if how == "bar" else marks.area)(axes, gid, drawing.bins, bottom, top, ink)
            )
        if drawing.total is not None and self.options.band:
            total = drawing.total
            drawing.artists[UNCERTAINTY] = marks.band(
                axes,
                "main.band",
                drawing.bins,
                total.values - total.lower,
                total.values + total.upper,
                label=UNCERTAINTY,
            )
        lines = [name for name in drawing.curves if name not in drawing.stacked and name != self.options.data]
        for number, name in enumerate(lines):
            how = self.options.histtype_signal if name in self.options.signals else self.options.histtype_mc or "step"
            drawing.artists[name] = marks.drawn(
                axes, f"main.line.{number}", drawing.bins, drawing.curves[name], how, drawing.looks[name]
            )

    def _draw_ratio(self, axes: Axes, drawing: _Drawing, total: Curve, data: Curve | None) -> None:
        own = self.style.ratio
        ratios.set_axis(axes, own.label or self.options.ratio_label, own.limits or self.options.ratio_limits)
        if own.log:
            axes.set_yscale("log")
        axes.axhline(1.0, color=marks.BLACK, linewidth=0.8, linestyle="--", zorder=1)
        if self.options.band:
            ratios.draw_band(axes, drawing.bins, total)
        if data is not None:
            ratios.draw_points(axes, drawing.bins, ratios.over(data, total), drawing.looks[data.name].color)
