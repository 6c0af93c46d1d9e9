"""Pictures of histograms and cutflows, and what they are made of: labels, ticks, frames."""

import math
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fasthep_archive.data.products import (
    BooleanAxis,
    Cutflow,
    CutflowRow,
    Histogram,
    IntCategoryAxis,
    RegularAxis,
    StrCategoryAxis,
    VariableAxis,
)
from fasthep_archive.data.values import Values
from fasthep_archive.report import tex
from fasthep_archive.report.frames import amount, ticks
from fasthep_archive.report.plots import cutflow, histogram, pictures

SVG = "{http://www.w3.org/2000/svg}"
DATASETS = {"data": "data", "dy": "mc", "ttbar": "mc"}
HOSTILE = """<script>alert("1")</script>&'$\\bad\x00"""

SPLIT = StrCategoryAxis(name="dataset", label="dataset", categories=tuple(DATASETS), growing=True)
MASS = RegularAxis(
    name="mass", label=r"$M_{\mu\mu}$ [GeV]", bins=60, lower=60.0, upper=120.0, edges=np.linspace(60, 120, 61)
)
VARIABLE = VariableAxis(name="pt", label="pt [GeV]", edges=np.array([0.0, 10.0, 30.0, 100.0]))
NUMBERS = IntCategoryAxis(name="jets", label="jets", categories=(0, 1, 2), growing=False)
FLAG = BooleanAxis(name="flag", label="flag")
TEXTS = StrCategoryAxis(name="region", label="region", categories=("signal", "control"), growing=True)
NOTHING = StrCategoryAxis(name="region", label="region", categories=(), growing=True)
INFINITE = VariableAxis(name="x", label="x", edges=np.array([-np.inf, 0.0, np.inf]))


def filled(*axes, seed: int = 1, weighted: bool = True) -> Histogram:
    random = np.random.RandomState(seed)
    shape = tuple(axis.size for axis in axes)
    values = random.poisson(50, shape)
    if not weighted:
        return Histogram(name="Filled", axes=axes, storage="count", values=values)
    return Histogram(name="Filled", axes=axes, storage="weighted", values=0.7 * values, variances=0.49 * values)


def flow(datasets=("data", "dy"), label: str = "two muons") -> Cutflow:
    rows = [
        CutflowRow(
            dataset=dataset,
            group=group,
            cut=f"{group}[{number}]",
            label=f"{label} {number}",
            events_in=1000 >> number,
            events_out=500 >> number,
            sumw_in=250.0 / 2**number,
            sumw_out=125.0 / 2**number,
            sumw2_in=62.5 / 2**number,
            sumw2_out=31.25 / 2**number,
        )
        for dataset in datasets
        for group in ("base", "tight")
        for number in range(3)
    ]
    return Cutflow(name="Cuts", rows=tuple(rows))


HISTOGRAMS = {
    "regular": filled(SPLIT, MASS),
    "alone": filled(MASS, weighted=False),
    "variable": filled(SPLIT, VARIABLE),
    "integers": filled(SPLIT, NUMBERS),
    "flag": filled(SPLIT, FLAG),
    "texts": filled(SPLIT, TEXTS),
    "plane": filled(SPLIT, MASS, VARIABLE),
    "plane alone": filled(MASS, FLAG),
    "three axes": filled(SPLIT, MASS, VARIABLE, FLAG),
    "datasets only": filled(SPLIT),
    "no axis": filled(weighted=False),
    "nothing filled": filled(SPLIT, NOTHING),
    "nothing filled in a plane": filled(NOTHING, MASS),
    "infinite bins": filled(INFINITE),
    "other texts first": filled(TEXTS, MASS),
    "zeros": Histogram(name="Zeros", axes=(MASS,), storage="count", values=np.zeros(62, np.int64)),
    "negative": Histogram(
        name="Negative",
        axes=(SPLIT, MASS),
        storage="weighted",
        values=np.full((3, 62), -2.5),
        variances=np.ones((3, 62)),
    ),
    "no numbers": Histogram(
        name="Broken", axes=(MASS,), storage="weighted", values=np.full(62, np.nan), variances=np.full(62, np.inf)
    ),
    "huge": Histogram(
        name="Huge", axes=(MASS,), storage="weighted", values=np.full(62, 1e300), variances=np.full(62, 1e300)
    ),
    "tiny": Histogram(
        name="Tiny", axes=(MASS,), storage="weighted", values=np.full(62, 1e-300), variances=np.zeros(62)
    ),
}


def drawn(name: str) -> ET.Element:
    return ET.fromstring(histogram(HISTOGRAMS[name], datasets=DATASETS))


def texts(root: ET.Element) -> list[str]:
    """Return what can be read, without tooltips."""
    for element in root.iter(f"{SVG}text"):
        for title in element.findall(f"{SVG}title"):
            element.text, title.text = title.tail, ""
            title.tail = ""
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_pictures_are_well_formed_and_have_only_finite_numbers(name: str) -> None:
    root = drawn(name)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "style",
        "g",
        "rect",
        "path",
        "text",
        "tspan",
    }
    numbers = " ".join(element.get("d", "") for element in root.iter())
    assert re.fullmatch(r"[MLHVhvz\d. -]*", numbers)
    assert not [
        value for element in root.iter() for value in element.attrib.values() if re.search(r"\b(nan|inf)\b", value)
    ]


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_nothing_is_drawn_outside_of_the_picture(name: str) -> None:
    root = drawn(name)
    for element in root.iter(f"{SVG}path"):
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", element.get("d", "")):
            assert -10 <= float(x) <= float(root.get("width", "0"))
            assert -10 <= float(y) <= float(root.get("height", "0"))


def test_a_plot_of_sixty_bins_takes_less_than_twenty_kilobytes() -> None:
    assert len(histogram(HISTOGRAMS["regular"], datasets=DATASETS).encode()) < 20_000


def test_long_axes_are_shown_with_bins_merged() -> None:
    many = RegularAxis(name="x", label="x", bins=100_000, lower=0.0, upper=1.0, edges=np.linspace(0, 1, 100_001))
    picture = histogram(filled(many), datasets={})
    assert len(picture) < 40_000
    assert "x: shown with 417 neighbouring bins as one" in texts(ET.fromstring(picture))


def test_merged_bins_hold_the_sum_of_their_bins() -> None:
    axis = RegularAxis(name="x", label="x", bins=480, lower=0.0, upper=480.0, edges=np.arange(481.0))
    values = np.zeros(482, np.int64)
    values[1:3] = 40, 2
    shown = texts(
        ET.fromstring(histogram(Histogram(name="N", axes=(axis,), storage="count", values=values), datasets={}))
    )
    assert "N (42)" in shown
    assert "Entries / 2" in shown
    assert "40" in shown  # the y axis reaches the sum, 42


def test_data_are_points_and_simulation_is_stacked() -> None:
    root = drawn("regular")
    fills = [element.get("fill") for element in root.iter(f"{SVG}path")]
    assert fills.count("#3f90da") == fills.count("#ffa90e") == 1
    dots = [element for element in root.iter(f"{SVG}path") if element.get("stroke-linecap") == "round"]
    assert sorted(element.get("d", "").count("M") for element in dots) == [1, 60]  # legend and bins


def test_the_legend_counts_everything_in_and_outside_of_the_bins() -> None:
    product = HISTOGRAMS["regular"]
    expected = [
        f"{name} ({amount(math.fsum(row.tolist()))})" for name, row in zip(DATASETS, product.values, strict=True)
    ]
    assert set(expected) <= set(texts(drawn("regular")))


def test_what_lies_outside_is_told_in_words() -> None:
    product = HISTOGRAMS["regular"]
    below = ", ".join(f"{name} {amount(row[0])}" for name, row in zip(DATASETS, product.values, strict=True))
    above = ", ".join(f"{name} {amount(row[-1])}" for name, row in zip(DATASETS, product.values, strict=True))
    assert {f"below 60: {below}", f"120 and above: {above}"} <= set(texts(drawn("regular")))


def test_bins_of_different_widths_show_densities() -> None:
    axis = VariableAxis(name="x", label="x [cm]", edges=np.array([0.0, 1.0, 11.0]))
    values = np.array([0, 100, 1000, 0])
    root = ET.fromstring(histogram(Histogram(name="N", axes=(axis,), storage="count", values=values), datasets={}))
    assert "Entries / cm" in texts(root)
    outline = next(p.get("d", "") for p in root.iter(f"{SVG}path") if p.get("fill") == "#3f90da")
    assert len(set(re.findall(r"V([\d.]+)", outline))) == 1  # equal heights: only the way down to zero


def test_axes_say_how_wide_a_bin_is() -> None:
    assert "Entries / 1 GeV" in texts(drawn("regular"))
    assert "Entries" in texts(drawn("integers"))


def test_categories_are_named() -> None:
    assert {"0", "1", "2", "jets"} <= set(texts(drawn("integers")))
    assert {"false", "true"} <= set(texts(drawn("flag")))
    assert {"signal", "control"} <= set(texts(drawn("texts")))


def test_planes_have_a_panel_for_each_dataset() -> None:
    inside = {name: float(v[1:-1, 1:-1].sum()) for name, v in zip(DATASETS, HISTOGRAMS["plane"].values, strict=True)}
    shown = texts(drawn("plane"))
    for name, total in inside.items():
        # cells of different sizes: the title has the sum, the colours densities
        assert f"{name} ({amount(total)})" in shown


def test_more_axes_are_summed_over() -> None:
    assert "summed over flag" in texts(drawn("three axes"))


def test_what_is_no_number_is_told() -> None:
    assert "62 bins hold no finite number and are not shown" in texts(drawn("no numbers"))


def test_names_are_escaped_in_histograms() -> None:
    axis = StrCategoryAxis(name=HOSTILE, label=HOSTILE, categories=(HOSTILE, "b"), growing=False)
    split = StrCategoryAxis(name="dataset", label="dataset", categories=(HOSTILE,), growing=True)
    for product in (filled(split, axis), filled(split, axis, axis), filled(axis)):
        root = ET.fromstring(histogram(product, datasets={HOSTILE: "mc"}))
        assert not list(root.iter(f"{SVG}script"))


def test_names_are_escaped_in_cutflows() -> None:
    root = ET.fromstring(cutflow(flow((HOSTILE,), HOSTILE), datasets={}))
    assert not list(root.iter(f"{SVG}script"))
    assert any(HOSTILE.replace("\x00", "\ufffd") in (title.text or "") for title in root.iter(f"{SVG}title"))


def test_cutflows_show_what_is_left_and_the_share_of_the_group() -> None:
    shown = texts(ET.fromstring(cutflow(flow(("dy",)), datasets=DATASETS)))
    assert shown.count("base") == shown.count("tight") == 1
    column = shown[shown.index("dy") :]
    assert column[1:9] == ["250", "100 %", "125", "50 %", "62.5", "25 %", "31.25", "12.5 %"]


def test_cutflows_have_events_and_errors_as_tooltips() -> None:
    titles = [title.text for title in ET.fromstring(cutflow(flow(("dy",)), datasets={})).iter(f"{SVG}title")]
    assert "500 events, sum of weights 125 ± 5.59" in titles


def test_cutflows_of_many_datasets_go_on_below() -> None:
    few, many = (ET.fromstring(cutflow(flow(tuple(map(str, range(n)))), datasets={})) for n in (5, 12))
    assert few.get("width") == many.get("width")
    assert float(many.get("height", "0")) > 2.5 * float(few.get("height", "0"))


def test_bars_are_as_long_as_the_share() -> None:
    root = ET.fromstring(cutflow(flow(("dy",)), datasets=DATASETS))
    widths = [float(bar.get("width", "0")) for bar in root.iter(f"{SVG}rect") if bar.get("fill") == "#3f90da"]
    assert widths[:4] == [140, 70, 35, 17.5]


@pytest.mark.parametrize("rows", [(), (flow().rows[0],)], ids=["none", "one"])
def test_short_cutflows_are_drawn(rows: tuple[CutflowRow, ...]) -> None:
    ET.fromstring(cutflow(Cutflow(name="Cuts", rows=rows), datasets={}))


def test_a_cutflow_of_no_events_has_no_shares() -> None:
    row = CutflowRow(
        dataset="dy", group="g", cut="g[0]", label="cut", events_in=0, events_out=0,
        sumw_in=0.0, sumw_out=0.0, sumw2_in=0.0, sumw2_out=0.0,
    )  # fmt: skip
    assert "%" not in "".join(texts(ET.fromstring(cutflow(Cutflow(name="Cuts", rows=(row,)), datasets={}))))


def test_pictures_do_not_depend_on_the_order_of_hashes() -> None:
    code = "from tests.test_plots import *; [print(histogram(h, datasets=DATASETS)) for h in HISTOGRAMS.values()]; print(cutflow(flow(), datasets=DATASETS))"
    pictures = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(pictures) == 1


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12), st.integers(2, 12))
def test_ticks_are_few_round_and_inside(low: float, width: float, most: int) -> None:
    high = low + width
    assume(high - low > 1e-9 * max(abs(low), abs(high), 1e-6))
    found = ticks(low, high, most=most)
    assert len(found.major) <= most + 1
    assert all(low <= place <= high for place in found.major)
    steps = {round((b - a) / (found.major[1] - found.major[0]), 3) for a, b in pairwise(found.major)}
    assert steps <= {1.0}
    for place, label in zip(found.major, found.labels, strict=True):
        assert float(label.replace("−", "-")) * 10.0**found.exponent == pytest.approx(
            place, rel=1e-9, abs=1e-12 * width
        )


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_there_are_at_least_two_ticks(low: float, width: float) -> None:
    assume(low + width > low)
    assert len(ticks(low, low + width).major) >= 2


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (r"$M_{\mu\mu}$ [GeV]", "M_μμ [GeV]"),
        (r"$p_\mathrm{T}^{\mu}$", "p_T^μ"),
        (r"$E_\mathrm{T}^\text{miss}$", "E_T^miss"),
        (r"$\sqrt{s} = 13\,\mathrm{TeV}$", "√s\u2009=\u200913\u2009TeV"),
        (r"$t\bar{t}$", "tt\u0304"),
        (r"$\text{Jet }p_T$", "Jet p_T"),
        (r"$\cos\theta^*$", "cosθ^∗"),
        (r"$x - 1$", "x−1"),
        ("100 % of $N$", "100 % of N"),
        ("costs 5$", "costs 5$"),
        (r"\mu outside", r"\mu outside"),
        (r"$\unknown{x}$", r"\unknown x"),
        (r"$\%\_$", "%_"),
        ("", ""),
        ("$$", ""),
        ("$}{$", ""),
        ("${{{{", "${{{{"),
        ("$\\$", "\\"),
    ],
)
def test_labels_are_read(label: str, shown: str) -> None:
    assert tex.plain(label) == shown


def test_labels_have_lowered_raised_and_slanted_letters() -> None:
    assert tex.runs(r"$p_\mathrm{T}^2$") == (
        tex.Run("p", 0, slanted=True),
        tex.Run("T", -1),
        tex.Run("2", 1),
    )


@given(st.text(alphabet="$\\{}_^ abμ<&'\"-\x00", max_size=40))
def test_any_label_becomes_well_formed_letters_that_end_on_the_line_they_began(label: str) -> None:
    root = ET.fromstring(f"<text>{tex.tspans(label, 12)}</text>")
    if tex.runs(label) and tex.runs(label)[-1].level == 0:
        assert sum(float(span.get("dy", "0")) for span in root) == pytest.approx(0, abs=0.2 * len(root))


def test_deep_braces_are_read_without_recursion() -> None:
    assert tex.plain("$" + "{" * 5000 + "x" + "}" * 5000 + "$") == "x"
    assert tex.plain("$" + "\\bar " * 5000 + "x$").startswith("x")
    assert tex.plain("$" + "x_" * 5000 + "$").startswith("x")
    assert tex.plain("$" + "_" * 5000 + "x$").endswith("x")


def test_files_of_other_contents_have_no_picture() -> None:
    assert pictures({"files/Fit/limits.json": b"[1, 2]", "files/Cut.json": b'{"cutflow": 1}'}, datasets={}) == {}


def test_numbers_are_a_table() -> None:
    found = {"a<b": 0.1 + 0.2, "scale": 2.0, "bad": math.nan, **{f"n{number}": 1.0 for number in range(40)}}
    (drawn,) = pictures({"values/Fit.json": Values(found).to_json()}, datasets={}).values()
    root = ET.fromstring(drawn)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:6] == ["a<b = 0.30000000000000004a<b", "0.3", "scale = 2.0scale", "2", "bad = nanbad", "nan"]
    assert texts[-1] == "and 3 more"
    assert root.get("aria-label") == "Values Fit: 43 numbers"
