"""What a document's style says about a picture, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from fasthep_archive.digest import JSON

Params: TypeAlias = Mapping[str, JSON]
Limits: TypeAlias = tuple[float, float]
Kind = Literal["background", "data", "signal"]

COMMON = ("figure", "axes", "legend", "style", "transforms")
"""Keys that every style of a picture has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Size in inches and resolution in pixels per inch."""

    width: float
    height: float
    dpi: float

    @property
    def pixels(self) -> tuple[int, int]:
        """Return width and height of a PNG."""
        return int(self.width * self.dpi), int(self.height * self.dpi)


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisStyle:
    """An axis of a picture; none: as the histogram's own axis says."""

    name: str | None = None
    label: str | None = None
    log: bool = False
    limits: Limits | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Legend:
    """Where the legend stands. ``columns``: none: as many as the entries need. ``size`` in points."""

    place: str
    columns: int | None
    framed: bool
    size: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStyle:
    """The look of a dataset; none: the renderer's choice."""

    label: str | None = None
    color: str | None = None
    hatch: str | None = None
    alpha: float | None = None
    kind: Kind | None = None
    stack: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Adds datasets up. ``members`` by the name of the group; none: the groups that datasets have in the document."""

    members: Mapping[str, tuple[str, ...]] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Multiplies datasets by ``factors``, by the names of the datasets or of their groups."""

    by_group: bool
    factors: Mapping[str, float]


Transform: TypeAlias = Group | Scale


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """What all pictures have.

    :ivar label: what stands beside the experiment. :ivar lumi: integrated luminosity in 1/fb, as it is written.
    :ivar colors: of the datasets that have none of their own.
    """

    figure: Figure
    x: AxisStyle
    y: AxisStyle
    z: AxisStyle
    ratio: AxisStyle
    legend: Legend
    experiment: str
    label: str
    lumi: str | None
    colors: tuple[str, ...]
    datasets: Mapping[str, DatasetStyle]
    transforms: tuple[Transform, ...]

    @classmethod
    def read(cls, params: Params) -> Style:
        """Return the style of parameters that the schema has accepted."""
        figure, axes, legend, look = (part(params, key) for key in COMMON[:4])
        width, height = cast("Sequence[float]", figure.get("size") or (12, 8))
        return cls(
            figure=Figure(width=float(width), height=float(height), dpi=float(cast("float", figure.get("dpi") or 300))),
            **{key: _axis(part(axes, key)) for key in ("x", "y", "z", "ratio")},
            legend=Legend(
                place=str(legend.get("loc") or "upper right"),
                columns=cast("int | None", legend.get("ncol")),
                framed=bool(legend.get("frameon")),
                size=cast("float | None", legend.get("fontsize")),
            ),
            experiment=str(look.get("experiment") or "").strip(),
            label=str(look.get("label") or "").strip(),
            lumi=None if look.get("lumi") is None else str(look["lumi"]),
            colors=tuple(map(str, cast("Sequence[JSON]", look.get("color_cycle") or ()))),
            datasets={name: _dataset(part(part(look, "datasets"), name)) for name in part(look, "datasets")},
            transforms=tuple(map(_transform, cast("Sequence[Params]", params.get("transforms") or ()))),
        )

    def of(self, dataset: str) -> DatasetStyle:
        """Return the look of a dataset or group."""
        return self.datasets.get(dataset, DatasetStyle())

    def labelled(self, dataset: str) -> str:
        """Return what the legend calls a dataset or group."""
        return self.of(dataset).label or dataset


def part(params: Params, key: str) -> Params:
    """Return the mapping below ``key``, or an empty one."""
    return cast("Params", params.get(key) or {})


def limits(value: JSON) -> Limits | None:
    """Return limits that may be absent."""
    if value is None:
        return None
    low, high = cast("Sequence[float]", value)
    return float(low), float(high)


def _axis(axis: Params) -> AxisStyle:
    return AxisStyle(
        name=cast("str | None", axis.get("name")),
        label=cast("str | None", axis.get("label")),
        log=axis.get("scale") == "log",
        limits=limits(axis.get("limits")),
    )


def _dataset(look: Params) -> DatasetStyle:
    alpha = cast("float | None", look.get("alpha"))
    return DatasetStyle(
        label=cast("str | None", look.get("label")),
        color=cast("str | None", look.get("color")),
        hatch=cast("str | None", look.get("hatch")),
        alpha=None if alpha is None else float(alpha),
        kind=cast("Kind | None", look.get("kind")),
        stack=cast("bool | None", look.get("stack")),
    )


def _transform(transform: Params) -> Transform:
    if transform["kind"] == "group":
        by = part(transform, "group").get("by") or transform.get("by") or "dataset_group"
        if isinstance(by, str):
            return Group(members=None)
        groups = cast("Mapping[str, Sequence[str]]", by)
        return Group(members={group: tuple(members) for group, members in groups.items()})
    factors = cast("Mapping[str, float | None]", transform["factors"])
    return Scale(
        by_group=transform["by"] == "dataset_group",
        factors={name: float(factor) for name, factor in factors.items() if factor is not None},
    )
