"""``hep.render.project``: sums a histogram over all axes but one, and draws the result with another renderer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from fasthep_archive.digest import JSON
from fasthep_archive.operations.protocol import Derivation, Deriving
from fasthep_archive.operations.render.checking import Checking
from fasthep_archive.operations.render.data_mc import DataMC
from fasthep_archive.operations.render.hist1d import Hist1D
from fasthep_archive.operations.render.picture import Picture
from fasthep_archive.operations.render.samples import Content
from fasthep_archive.operations.render.style import COMMON, Style, part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Inner: TypeAlias = Hist1D | DataMC
_INNER: Mapping[str, type[Inner]] = {"hep.render.hist1d": Hist1D, "hep.render.data_mc": DataMC}


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """Keeps ``axis``, and the datasets apart unless they are to be added up too.

    Sums hold what lies outside of the other axes as well: under- and overflow are part of a projection. ``then`` has
    the figure, axes, legend and style of the projection unless it has its own; transforms of both are made once each.
    """

    axis: str
    keep_dataset: bool
    op: str
    then: Inner

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Project:
        """Return the renderer of parameters that the schema has accepted, with the key ``out`` beside them."""
        options = part(params, "project")
        then = part(options, "then")
        transforms = [
            *cast("Sequence[JSON]", params.get("transforms") or ()),
            *cast("Sequence[JSON]", then.get("transforms") or ()),
        ]
        inherited = {key: params[key] for key in COMMON if key in params}
        op = str(then["op"])
        return cls(
            axis=str(options["axis"]),
            keep_dataset=bool(options.get("keep_dataset", True)),
            op=op,
            then=_INNER[op].read({**inherited, **then, "transforms": transforms, "out": params["out"]}),
        )

    @property
    def style(self) -> Style:
        return self.then.style

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the picture; none after a fault."""
        checking = Checking.of(deriving)
        inner = checking.below("project", "then")
        inner.common(self.style, self.then.out)
        drawn = checking.one()
        if isinstance(self.then, DataMC):
            self.then.check_datasets(inner)
        else:
            inner.transforms(self.style)
        if drawn is None:
            return None
        name, described = drawn
        checking.axis_name(described, self.axis, "project", "axis")
        if isinstance(self.then, DataMC) and not (self.keep_dataset and described.split.dataset_axis):
            hint = "keep_dataset: true, and dataset_axis: true for the histogram"
            checking.fault("data can't be told from simulation once datasets are added up", "project", hint=hint)
        if not checking.sound:
            return None
        return Picture(
            op="hep.render.project",
            renderer=self,
            pages={f"plots/{self.then.out}": ""},
            splits={name: described.split},
            datasets=deriving.datasets,
        )

    def shrunk(self, contents: Mapping[str, Content], page: str) -> float:
        return 1.0

    def draw(self, figure: Figure, contents: Mapping[str, Content], page: str) -> None:
        ((name, content),) = contents.items()
        projected = content.projected([self.axis])
        self.then.draw(figure, {name: projected if self.keep_dataset else projected.together()}, page)
