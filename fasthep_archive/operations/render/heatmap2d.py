"""``hep.render.heatmap2d``: a histogram of two axes as colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fasthep_archive.digest import JSON
from fasthep_archive.operations.protocol import Derivation, Deriving
from fasthep_archive.operations.render import frame
from fasthep_archive.operations.render.checking import Checking, Described
from fasthep_archive.operations.render.intervals import Doubles
from fasthep_archive.operations.render.picture import Picture
from fasthep_archive.operations.render.samples import Bins, Content, Sample, bins_of, nothing
from fasthep_archive.operations.render.style import Style, part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = "viridis"
_MOST_CELLS = 20_000
"""Above which the cells of a PDF or SVG are an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heatmap2D:
    """Draws a field for each dataset, data first, or with ``per_dataset`` a picture for each.

    Other axes are summed over, flow bins included. Empty bins are white; each field has its own colours, unless the
    style has limits for them. A logarithmic scale shows what is greater than zero.
    """

    out: str
    style: Style
    per_dataset: bool
    bar: bool
    most_columns: int | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Heatmap2D:
        """Return the renderer of parameters that the schema has accepted, with the key ``out`` beside them."""
        options = part(params, "heatmap2d")
        return cls(
            out=str(params["out"]),
            style=Style.read(params),
            per_dataset=bool(options.get("per_dataset")),
            bar=bool(options.get("cbar", True)),
            most_columns=cast("int | None", options.get("max_cols")),
        )

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the picture or pictures; none after a fault."""
        checking = Checking.of(deriving)
        checking.common(self.style, self.out)
        names = checking.transforms(self.style)
        drawn = checking.one()
        if drawn is None:
            return None
        name, described = drawn
        self._check_axes(checking, described)
        pages = self._pages(names if described.split.dataset_axis else ())
        if len({file.lower() for file, _ in pages}) < len(pages):
            checking.fault("several datasets would have the same file", "heatmap2d", "per_dataset")
        if not checking.sound:
            return None
        return Picture(
            op="hep.render.heatmap2d",
            renderer=self,
            pages=dict(pages),
            splits={name: described.split},
            datasets=deriving.datasets,
        )

    def _check_axes(self, checking: Checking, described: Described) -> None:
        if described.axes is not None and len(described.axes) < 2:
            checking.axes_number(described, 2, "draw it with op: hep.render.hist1d")
            return
        for key, axis in (("x", self.style.x), ("y", self.style.y)):
            if axis.name is not None:
                checking.axis_name(described, axis.name, "axes", key, "name")
        if self.style.x.name is not None and self.style.x.name == self.style.y.name:
            checking.fault(f"axis {self.style.x.name!r} can't be both x and y", "axes", "y", "name")

    def _pages(self, datasets: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Return the files, and the dataset that each shows: nothing for all."""
        path = PurePosixPath("plots") / self.out
        if not self.per_dataset or not datasets:
            return [(str(path), "")]
        return [(str(path.with_suffix("") / f"{_file_name(name)}{path.suffix}"), name) for name in datasets]

    def shrunk(self, contents: Mapping[str, Content], page: str) -> float:
        rows, columns = self._grid(len(self._shown(contents, page)))
        return 2 / (1 + max(rows, columns))

    def draw(self, figure: Figure, contents: Mapping[str, Content], page: str) -> None:
        (content,) = contents.values()
        names = self._axis_names(content)
        samples = self._shown(contents, page)
        flat = content.projected(names)
        across, upward = (bins_of(axis) for axis in flat.axes)
        rows, columns = self._grid(len(samples))
        fields = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
        for axes, sample in zip(fields, samples, strict=False):
            drawn = flat.sample(sample.name)
            assert drawn is not None, "a projection has the same samples"
            self._draw_field(figure, axes, across, upward, drawn)
        for axes in fields[len(samples) :]:
            axes.set_axis_off()
        for axes in fields[max(0, len(samples) - columns) : len(samples)]:
            axes.tick_params(labelbottom=True)
        self._finish(figure, fields, across, upward, samples)

    def _axis_names(self, content: Content) -> tuple[str, str]:
        """Return the names of the axes that are drawn: those of the style, else the first ones."""
        names = [axis.name for axis in content.axes]
        x = self.style.x.name or next(name for name in names if name != self.style.y.name)
        return x, self.style.y.name or next(name for name in names if name != x)

    def _shown(self, contents: Mapping[str, Content], page: str) -> Sequence[Sample]:
        (content,) = contents.values()
        if page:
            found = content.sample(page)
            empty = np.zeros([axis.size for axis in content.axes])
            return [found or nothing(page, empty)]
        return sorted(content.samples, key=lambda sample: not sample.measured)

    def _grid(self, fields: int) -> tuple[int, int]:
        """Return rows and columns."""
        columns = max(1, min(self.most_columns or math.ceil(math.sqrt(fields)), fields))
        return max(1, math.ceil(fields / columns)), columns

    def _draw_field(self, figure: Figure, axes: Axes, across: Bins, upward: Bins, sample: Sample) -> None:
        values = upward.inside(across.inside(sample.values), at=1)
        shown = np.ma.masked_where(~np.isfinite(values) | (values == 0), values)
        norm = self._norm(shown)
        if self.style.z.log:
            shown = np.ma.masked_where(shown.filled(0) <= 0, shown)
        mesh = axes.pcolormesh(
            across.edges, upward.edges, shown.T, cmap=_COLORS, norm=norm, gid="main.field",
            rasterized=values.size > _MOST_CELLS,
        )  # fmt: skip
        frame.set_x(axes, across, self.style.x)
        frame.set_upward(axes, upward, self.style.y)
        axes.set_xlabel("")
        axes.set_ylabel("")
        if not shown.count():
            frame.remark(axes, "no entries" if not np.any(values) else "nothing to show on this scale")
        elif self.bar:
            bar = figure.colorbar(mesh, ax=axes, pad=0.02)
            bar.set_label(self.style.z.label or "Events")
            bar.ax.tick_params(which="both", direction="in")
            if not self.style.z.log:
                frame.write_out(bar.ax.yaxis, float(np.abs(shown).max()), log=False)

    def _norm(self, shown: Any) -> Any:
        """Return the scale of the colours."""
        from matplotlib.colors import LogNorm, Normalize

        values: Doubles = shown.compressed()
        low, high = self.style.z.limits or (None, None)
        if not self.style.z.log:
            least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
            low, high = (min(0.0, least), max(most, 0.0)) if low is None or high is None else (low, high)
            return Normalize(low, high if high > low else low + 1)
        positive = values[values > 0]
        top = high or (float(positive.max()) if len(positive) else 1.0)
        bottom = low if low is not None and low > 0 else float(positive.min()) if len(positive) else top / 10
        return LogNorm(min(bottom, top / 10), top)

    def _finish(
        self, figure: Figure, fields: list[Axes], across: Bins, upward: Bins, samples: Sequence[Sample]
    ) -> None:
        """Write names and labels, and arrange everything."""
        style, single = self.style, len(samples) == 1
        for axes, sample in zip(fields, samples, strict=False):
            if sample.name:
                axes.set_title(style.labelled(sample.name), fontsize="medium", **frame.above(style, single=single))
        labels = (style.x.label or across.label, style.y.label or upward.label)
        simulated = all(sample.simulated for sample in samples)
        if single:
            fields[0].set_xlabel(labels[0])
            fields[0].set_ylabel(labels[1])
            frame.reserve(figure, fields[0], style, simulated=simulated)
            frame.freeze(figure, fields[0], style, simulated=simulated)
            return
        figure.supxlabel(labels[0])
        figure.supylabel(labels[1])
        frame.name_figure(figure, style, simulated=simulated)
        figure.draw_without_rendering()


def _file_name(dataset: str) -> str:
    """Return the name of a dataset with nothing in it that a file's name can't have everywhere."""
    kept = "".join(letter if letter.isalnum() or letter in "-_+." else "_" for letter in dataset)
    return kept if kept.strip(".") else f"_{kept}"
