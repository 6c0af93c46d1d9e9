"""Pictures of renderers as files: their bytes, whatever is in the histogram, and how they look."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rendering import DATA_MC, DATASETS, FACTS, MASS, PT, RENDERERS, SPLIT, compared, deriving, filled, rendered, stage

from fasthep_archive.data.products import (
    BooleanAxis,
    Histogram,
    IntCategoryAxis,
    RegularAxis,
    StrCategoryAxis,
    VariableAxis,
)
from fasthep_archive.digest import canonical
from fasthep_archive.operations.render import canvas
from fasthep_archive.operations.render.samples import Split, bins_of, content_of
from fasthep_archive.operations.render.style import Style

# --- files ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from rendering import *
import matplotlib
matplotlib.rcParams.update({"font.size": 3, "lines.linewidth": 9, "svg.hashsalt": None})
out = sys.argv[1]
sys.stdout.buffer.write(rendered("data_mc", {"data_mc": DATA_MC, "style": {"experiment": "CMS", "lumi": 138}}, filled(SPLIT, MASS), out)["plots/" + out])
"""


@pytest.mark.parametrize("suffix", ["png", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pdf", "svg"))])
def test_the_same_bytes_in_other_processes_places_and_settings(suffix: str, tmp_path: Path) -> None:
    style = {"data_mc": DATA_MC, "style": {"experiment": "CMS", "lumi": 138}}
    here = rendered("data_mc", style, filled(SPLIT, MASS), f"x.{suffix}")[f"plots/x.{suffix}"]
    assert here == rendered("data_mc", style, filled(SPLIT, MASS), f"x.{suffix}")[f"plots/x.{suffix}"]
    (tmp_path / "matplotlibrc").write_text("axes.linewidth: 7\nsavefig.bbox: tight\n")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "PYTHONHASHSEED": "77",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
        "SOURCE_DATE_EPOCH": "86400",
        "MPLBACKEND": "pdf",
    }
    command = [sys.executable, "-c", SCRIPT, f"x.{suffix}"]
    there = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert there.stdout == here


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF-1.4"), ("svg", b'<?xml version="1.0"')]
)
def test_the_suffix_decides_the_format(suffix: str, start: bytes) -> None:
    content = rendered("hist1d", {}, filled(MASS), f"x.{suffix}")[f"plots/x.{suffix}"]
    assert content.startswith(start)
    assert b"Matplotlib" not in content
    assert b"CreationDate" not in content


def test_a_png_has_the_size_that_the_document_says() -> None:
    content = rendered("hist1d", {"figure": {"size": [8, 5], "dpi": 50}}, filled(MASS), "x.png")["plots/x.png"]
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (400, 250)


def test_nothing_of_matplotlib_is_left_changed() -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    rendered("hist1d", {"style": {"experiment": "LHCb"}}, filled(SPLIT, MASS))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize("experiment", ["ALICE", "ATLAS", "CMS", "DUNE", "LHCb", "Mu3e", ""])
def test_fonts_are_those_that_come_with_the_packages(experiment: str) -> None:
    import matplotlib as mpl
    import mplhep_data
    from matplotlib.font_manager import FontProperties, findfont

    homes = (str(Path(mplhep_data.__file__).parent), mpl.get_data_path())
    with canvas.look(Style.read({"style": {"experiment": experiment}})):
        for weight in ("normal", "bold"):
            for slant in ("normal", "italic"):
                assert findfont(FontProperties(weight=weight, style=slant)).startswith(homes)
        for family in ("rm", "it", "bf"):
            assert findfont(FontProperties(mpl.rcParams[f"mathtext.{family}"])).startswith(homes)


def test_a_picture_depends_on_its_style_and_the_datasets() -> None:
    def key(params: dict, facts=FACTS) -> str:
        operation = RENDERERS["hist1d"].read({**params, "out": "x.png"})
        derivation = operation.derivation(deriving({"hist": stage(filled(SPLIT, MASS))}, [], facts))
        return canonical(derivation.canonical())

    assert key({"axes": {"x": {"limits": [60, 120]}}}) == key({"axes": {"x": {"limits": [60.0, 120.0]}}, "legend": {}})
    assert key({}) != key({"hist1d": {"histtype": "fill"}})
    assert key({}) != key({"style": {"lumi": 3}})
    assert key({}) != key({}, FACTS[:2])


def test_a_derivation_travels_between_processes() -> None:
    import pickle

    derivation = (
        RENDERERS["data_mc"]
        .read({"data_mc": DATA_MC, "out": "x.png"})
        .derivation(deriving({"hist": stage(filled(SPLIT, MASS))}, []))
    )
    assert pickle.loads(pickle.dumps(derivation)).canonical() == derivation.canonical()


# --- whatever is in the histogram ----------------------------------------------------------------------------------

JETS = IntCategoryAxis(name="jets", label="jets", categories=(3, 0, 1), growing=True)
FIXED = StrCategoryAxis(name="region", label="region", categories=("signal", "control"), growing=False)
FLAG = BooleanAxis(name="flag", label="flag")
NONE = StrCategoryAxis(name="nothing", label="nothing", categories=(), growing=True)
INFINITE = VariableAxis(name="x", label="x", edges=np.array([-np.inf, 0.0, np.inf]))
EVERYTHING = VariableAxis(name="x", label="x", edges=np.array([-np.inf, np.inf]))
ONE = RegularAxis(name="one", label="", bins=1, lower=0.0, upper=1.0, edges=np.array([0.0, 1.0]))
HUGE = RegularAxis(name="huge", label="E [eV]", bins=2, lower=0.0, upper=4e9, edges=np.array([0.0, 2e9, 4e9]))


def constant(value: float, variance: float, *axes) -> Histogram:
    shape = tuple(axis.size for axis in axes)
    return Histogram(
        name="C", axes=axes, storage="weighted", values=np.full(shape, value), variances=np.full(shape, variance)
    )


ODD = {
    "whole numbers": filled(SPLIT, JETS),
    "fixed texts": filled(SPLIT, FIXED),
    "flag": filled(SPLIT, FLAG),
    "no categories": filled(SPLIT, NONE),
    "infinite bins": filled(SPLIT, INFINITE),
    "one infinite bin": filled(SPLIT, EVERYTHING),
    "one bin": filled(SPLIT, ONE),
    "large numbers": filled(SPLIT, HUGE),
    "zeros": constant(0.0, 0.0, SPLIT, MASS),
    "negative": constant(-2.5, 4.0, SPLIT, MASS),
    "not a number": constant(np.nan, np.nan, SPLIT, MASS),
    "infinite": constant(np.inf, np.inf, SPLIT, MASS),
    "huge": constant(1e300, 1e300, SPLIT, MASS),
    "tiny": constant(1e-300, 0.0, SPLIT, MASS),
    "cancelling": constant(0.0, 9.0, SPLIT, MASS),
    "counts": filled(SPLIT, MASS, weighted=False),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(("renderer", "scale"), [("hist1d", "linear"), ("data_mc", "log")])
def test_every_histogram_of_one_axis_can_be_drawn(renderer: str, name: str, scale: str) -> None:
    params = {"axes": {"x": {"scale": scale}, "y": {"scale": scale}}, "data_mc": DATA_MC}
    content = rendered(renderer, {key: params[key] for key in ("axes", renderer) if key in params}, ODD[name])
    text = content["plots/x.svg"].decode()
    assert "nan" not in text
    assert "inf" not in text.replace("Infinity", "")


PLANES = {
    "datasets": filled(SPLIT, MASS, PT),
    "categories": filled(JETS, FLAG),
    "nothing on an axis": filled(FIXED, NONE),
    "infinite bins": filled(ONE, INFINITE),
    "zeros": constant(0.0, 0.0, MASS, PT),
    "negative": constant(-1.0, 1.0, MASS, PT),
    "not a number": constant(np.nan, 1.0, MASS, PT),
}


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("name", PLANES)
def test_every_histogram_of_two_axes_can_be_drawn(name: str, scale: str) -> None:
    assert rendered("heatmap2d", {"axes": {"z": {"scale": scale}}}, PLANES[name])


@pytest.mark.parametrize("how", ["asymmetry", "efficiency", "pull", "ratio"])
@pytest.mark.parametrize("value", [0, -3])
def test_every_pair_can_be_compared(how: str, value: int) -> None:
    weighted = how != "efficiency"
    reference, target = filled(MASS, weighted=weighted), filled(MASS, seed=2, weighted=weighted)
    reference.values[:] = target.values[::2] = value
    assert compared("comparison", {"comparison": {"comparison": how}}, {"reference": reference, "target": target})


def test_what_is_not_finite_is_said() -> None:
    content = rendered("hist1d", {}, constant(np.nan, 1.0, MASS))["plots/x.svg"]
    assert b'id="remark"' in content


def test_whole_numbers_are_in_order() -> None:
    bins = bins_of(JETS)
    assert bins.names == ("0", "1", "3")
    np.testing.assert_array_equal(bins.inside(np.array([30.0, 0.0, 10.0])), [0.0, 10.0, 30.0])


def test_labels_come_from_the_axis_and_can_be_replaced() -> None:
    from matplotlib.figure import Figure

    def labels(params: dict) -> tuple[str, str]:
        operation = RENDERERS["hist1d"].read({**params, "out": "x.png"})
        histogram = filled(SPLIT, MASS)
        with canvas.look(operation.style):
            figure: Figure = canvas.sheet(operation.style.figure)
            content = content_of(histogram, Split(dataset_axis="dataset"), FACTS, operation.style)
            operation.draw(figure, {"hist": content}, "")
            return figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()

    assert labels({}) == (r"$M_{\mu\mu}$ [GeV]", "Events / 5 GeV")
    assert labels({"axes": {"x": {"label": "mass"}, "y": {"label": "Entries"}}}) == ("mass", "Entries")


# --- as a referee sees it ------------------------------------------------------------------------------------------

LONG = {name: {"label": f"A dataset with quite a long name ({name})"} for name in DATASETS}


@pytest.mark.parametrize(
    ("renderer", "experiment", "size", "scale"),
    [
        ("hist1d", "ALICE", (12, 8), "linear"),
        ("hist1d", "ATLAS", (6, 5), "log"),
        ("hist1d", "CMS", (5, 8), "linear"),
        ("hist1d", "LHCb", (6, 5), "log"),
        ("data_mc", "ALICE", (5, 8), "log"),
        ("data_mc", "ATLAS", (12, 8), "linear"),
        ("data_mc", "CMS", (6, 5), "log"),
        ("data_mc", "LHCb", (5, 8), "linear"),
    ],
)
def test_nothing_is_cut_off_or_covered(renderer: str, experiment: str, size: tuple[int, int], scale: str) -> None:
    params = {
        "figure": {"size": size, "dpi": 40},
        "axes": {"y": {"scale": scale}},
        "data_mc": DATA_MC,
        "style": {"experiment": experiment, "label": "Work in Progress", "lumi": 138.5, "datasets": LONG},
    }
    params = {key: value for key, value in params.items() if key in ("figure", "axes", "style", renderer)}
    operation = RENDERERS[renderer].read({**params, "out": "x.png"})
    content = content_of(filled(SPLIT, MASS), Split(dataset_axis="dataset"), FACTS, operation.style)
    with canvas.look(operation.style):
        figure = canvas.sheet(operation.style.figure)
        operation.draw(figure, {"hist": content}, "")
        figure.draw_without_rendering()
        paper = figure.bbox
        for axes in figure.axes:
            tight = axes.get_tightbbox()
            assert tight.x0 >= paper.x0 - 1
            assert tight.x1 <= paper.x1 + 1
            assert tight.y0 >= paper.y0 - 1
            assert tight.y1 <= paper.y1 + 1
        main = figure.axes[0]
        legend, frame = main.get_legend().get_window_extent(), main.get_window_extent()
        assert legend.x0 >= frame.x0 - 1
        assert legend.x1 <= frame.x1 + 1
        assert legend.y0 >= frame.y0
        line = next(line for line in main.get_lines() if line.get_gid() in ("main.data", "main.0"))
        points = main.transData.transform(line.get_xydata())
        assert not any(legend.contains(*point) for point in points)
        above = [text.get_window_extent() for text in main.texts if text.get_text()]
        assert not any(one.overlaps(other) for at, one in enumerate(above) for other in above[:at])
