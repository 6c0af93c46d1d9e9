"""Histograms, stages and facts for tests of renderers, and what their pictures say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from fasthep_archive.data.products import Histogram, RegularAxis, StrCategoryAxis, VariableAxis
from fasthep_archive.operations.histogram import Hist
from fasthep_archive.operations.protocol import DatasetFacts, Deriving, Made, Output
from fasthep_archive.operations.render.comparison import ComparisonPlot
from fasthep_archive.operations.render.cutflow_csv import CutflowCSV
from fasthep_archive.operations.render.data_mc import DataMC
from fasthep_archive.operations.render.heatmap2d import Heatmap2D
from fasthep_archive.operations.render.hist1d import Hist1D
from fasthep_archive.operations.render.project import Project

RENDERERS = {
    "hist1d": Hist1D,
    "data_mc": DataMC,
    "heatmap2d": Heatmap2D,
    "project": Project,
    "comparison": ComparisonPlot,
    "cutflow_csv": CutflowCSV,
}
SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}href"
DATASETS = {"data": "data", "dy": "mc", "ttbar": "mc", "ww": "mc"}
GROUPS = {"ttbar": "other", "ww": "other"}
FACTS = tuple(
    DatasetFacts(name=name, eventtype=eventtype, group=GROUPS.get(name, name)) for name, eventtype in DATASETS.items()
)
SPLIT = StrCategoryAxis(name="dataset", label="dataset", categories=tuple(DATASETS), growing=True)
MASS = RegularAxis(
    name="mass", label=r"$M_{\mu\mu}$ [GeV]", bins=12, lower=60.0, upper=120.0, edges=np.linspace(60, 120, 13)
)
PT = VariableAxis(name="pt", label=r"$p_\mathrm{T}$ [GeV]", edges=np.array([0.0, 10.0, 30.0, 100.0]))
SMALL = {"figure": {"size": [6, 6], "dpi": 60}}
DATA_MC = {"data": "data", "signals": ["dy"], "backgrounds": ["ttbar", "ww"]}


def filled(*axes, seed: int = 1, weighted: bool = True, weight: float = 0.5) -> Histogram:
    """Return a histogram of Poisson counts; those of data are counts in weighted ones too."""
    random = np.random.default_rng(seed)
    shape = tuple(axis.size for axis in axes)
    raw = random.poisson(60, shape)
    if not weighted:
        return Histogram(name="Filled", axes=axes, storage="count", values=raw)
    weights = np.full(shape, weight)
    if axes and axes[0] is SPLIT:
        weights[0] = 1.0
    return Histogram(name="Filled", axes=axes, storage="weighted", values=raw * weights, variances=raw * weights**2)


def described(axis) -> dict:
    """Return the axis as the parameters of ``hep.hist`` have it."""
    common = {"name": axis.name, "label": axis.label, "source": axis.name}
    match axis:
        case RegularAxis():
            return {**common, "type": "regular", "bins": {"low": axis.lower, "high": axis.upper, "nbins": axis.bins}}
        case VariableAxis():
            return {**common, "type": "variable", "bins": {"edges": axis.edges.tolist()}}
        case StrCategoryAxis():
            return {**common, "type": "category"}
        case _:
            return {**common, "type": "int" if hasattr(axis, "categories") else "bool"}


def stage(histogram: Histogram, name: str = "Filled") -> Made:
    """Return the stage that leaves ``histogram``."""
    axes = [described(axis) for axis in histogram.axes if axis is not SPLIT]
    split = {"name": "dataset", "source": "dataset_name", "type": "category"}
    params = {"axes": axes, "storage": histogram.storage}
    if SPLIT in histogram.axes:
        params["dataset_axis"] = split
    return Made(stage=name, op="hep.hist", operation=Hist.read(params), outputs=(f"histograms/{name}.json",))


def deriving(inputs: Mapping[str, Made], faults: list, facts=FACTS) -> Deriving:
    """Return what a renderer sees; its faults go to ``faults``, as message, keys and hint."""
    return Deriving(
        stage="Filled",
        inputs=inputs,
        datasets=facts,
        path=("params",),
        fault=lambda message, path, hint: faults.append((message, path[1:], hint)),
    )


def faults_of(renderer: str, params: dict, histogram: Histogram, out: str = "x.png") -> list:
    """Return the faults of a style."""
    faults: list = []
    operation = RENDERERS[renderer].read({**params, "out": out})
    derivation = operation.derivation(deriving({"hist": stage(histogram)}, faults))
    assert (derivation is None) == bool(faults)
    return faults


def rendered(renderer: str, params: dict, histogram: Histogram, out: str = "x.svg", facts=FACTS) -> Mapping[str, bytes]:
    """Return the files of a renderer."""
    return compared(renderer, params, {"hist": histogram}, out, facts)


def compared(
    renderer: str, params: dict, histograms: Mapping[str, Histogram], out: str = "x.svg", facts=FACTS
) -> Mapping[str, bytes]:
    """Return the files of a renderer of several histograms."""
    faults: list = []
    operation = RENDERERS[renderer].read({**SMALL, **params, "out": out})
    inputs = {name: stage(histogram, name) for name, histogram in histograms.items()}
    derivation = operation.derivation(deriving(inputs, faults, facts))
    assert derivation is not None, faults
    products = {
        name: (Output(name=f"histograms/{name}.json", held=histogram.to_json()),)
        for name, histogram in histograms.items()
    }
    outputs = derivation.derive(products, Path("unused"))
    assert tuple(output.name for output in outputs) == derivation.outputs
    return {output.name: output.content for output in outputs}


class Picture:
    """An SVG, in the numbers of its axes: these must have limits."""

    def __init__(self, content: bytes, x: tuple[float, float], y: tuple[float, float], *, frame: int = 1):
        self.root = ET.fromstring(content)
        self.by_id = {element.get("id"): element for element in self.root.iter() if element.get("id")}
        corners = _corners(self.by_id[f"axes_{frame}"].find(f"{SVG}g/{SVG}path").get("d"))
        (self._left, self._top), (self._right, self._bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
        self._x, self._y = x, y

    def place(self, points) -> np.ndarray:
        """Return points of the drawing as numbers of the axes."""
        points = np.asarray(points, float)
        x = self._x[0] + (points[:, 0] - self._left) / (self._right - self._left) * (self._x[1] - self._x[0])
        y = self._y[0] + (self._bottom - points[:, 1]) / (self._bottom - self._top) * (self._y[1] - self._y[0])
        return np.stack([x, y], axis=1)

    def paths(self, gid: str) -> list[np.ndarray]:
        """Return the corners of each path of a mark."""
        return [self.place(_corners(path.get("d"))) for path in self.by_id[gid].iter(f"{SVG}path")]

    def points(self, gid: str) -> np.ndarray:
        """Return where the points of a mark are."""
        uses = self.by_id[gid].iter(f"{SVG}use")
        return self.place([(float(use.get("x")), float(use.get("y"))) for use in uses])

    def fill(self, gid: str) -> str:
        """Return the colour that a mark is filled with."""
        style = next(self.by_id[gid].iter(f"{SVG}path")).get("style")
        return re.search(r"fill: (#[0-9a-f]+)", style)[1]


def _corners(path: str) -> np.ndarray:
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", path)]
    return np.array(numbers).reshape(-1, 2)
