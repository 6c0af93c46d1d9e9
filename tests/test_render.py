"""Renderers: what their pictures show, against the numbers; their bytes; what they refuse."""

import csv
import io
import json
import math
from functools import cache
from itertools import pairwise
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rendering import (
    DATA_MC,
    DATASETS,
    FACTS,
    MASS,
    PT,
    RENDERERS,
    SPLIT,
    Picture,
    compared,
    deriving,
    faults_of,
    filled,
    rendered,
    stage,
)

from fasthep_archive.data.products import (
    Cutflow,
    CutflowRow,
    Histogram,
    StrCategoryAxis,
)
from fasthep_archive.operations.protocol import Made, Output
from fasthep_archive.operations.render.intervals import TAIL, poisson, poisson_interval
from fasthep_archive.operations.render.picture import Picture as Drawn
from fasthep_archive.operations.render.samples import Split, content_of
from fasthep_archive.operations.render.style import Style
from fasthep_archive.workflow.document import LANGUAGES
from fasthep_archive.workflow.schema import schema

X, Y = (60.0, 120.0), (0.0, 250.0)
LIMITS = {"axes": {"x": {"limits": X}, "y": {"limits": Y}, "ratio": {"limits": [0.0, 2.0]}}}
CENTRES = np.arange(62.5, 120, 5)
CLOSE = {"rtol": 1e-4, "atol": 1e-3}


def inner(histogram: Histogram, name: str) -> np.ndarray:
    """Return what a dataset has inside of the axis."""
    return histogram.values[list(DATASETS).index(name), 1:-1]


def squares(histogram: Histogram, name: str) -> np.ndarray:
    return histogram.variances[list(DATASETS).index(name), 1:-1]


def heights(outline: np.ndarray) -> np.ndarray:
    """Return the heights of the steps of an outline that begins at the lower left: of its first half, if it is closed."""
    found = {}
    for (left, low), (right, high) in pairwise(outline):
        if right - left > 1 and math.isclose(low, high, abs_tol=1e-3):
            found.setdefault(round((left + right) / 2, 1), low)
    return np.array([found[centre] for centre in sorted(found)])


@cache
def standard() -> tuple[Histogram, bytes]:
    """Return a histogram and its picture of data over simulation."""
    histogram = filled(SPLIT, MASS)
    return histogram, rendered("data_mc", {**LIMITS, "data_mc": DATA_MC}, histogram)["plots/x.svg"]


# --- numbers -------------------------------------------------------------------------------------------------------


def test_data_are_points_at_their_numbers() -> None:
    histogram, content = standard()
    picture = Picture(content, X, Y)
    expected = np.stack([CENTRES, inner(histogram, "data")], axis=1)
    np.testing.assert_allclose(picture.points("main.data"), expected, **CLOSE)


def test_the_errors_of_data_are_garwood_s_intervals() -> None:
    histogram, content = standard()
    picture = Picture(content, X, Y)
    for count, ends in zip(inner(histogram, "data"), picture.paths("main.data.errors"), strict=True):
        low, high = sorted(ends[:, 1])
        assert float(mpmath.gammainc(count, 0, low, regularized=True)) == pytest.approx(TAIL, abs=2e-4)
        assert float(mpmath.gammainc(count + 1, high, regularized=True)) == pytest.approx(TAIL, abs=2e-4)


def test_datasets_are_stacked_with_the_last_of_the_legend_at_the_bottom() -> None:
    histogram, content = standard()
    picture = Picture(content, X, Y)
    total = np.zeros(12)
    for number, name in enumerate(["ww", "ttbar", "dy"]):
        total += inner(histogram, name)
        np.testing.assert_allclose(heights(picture.paths(f"main.stack.{number}")[0]), total, **CLOSE)


def test_stack_order_legend_puts_the_first_at_the_bottom() -> None:
    histogram = filled(SPLIT, MASS)
    params = {**LIMITS, "data_mc": {**DATA_MC, "stack_order": "legend"}}
    picture = Picture(rendered("data_mc", params, histogram)["plots/x.svg"], X, Y)
    np.testing.assert_allclose(heights(picture.paths("main.stack.0")[0]), inner(histogram, "dy"), **CLOSE)


def test_a_signal_outside_of_the_stack_is_a_line() -> None:
    histogram = filled(SPLIT, MASS)
    params = {**LIMITS, "data_mc": {**DATA_MC, "include_signals_in_stack": False}}
    picture = Picture(rendered("data_mc", params, histogram)["plots/x.svg"], X, Y)
    np.testing.assert_allclose(heights(picture.paths("main.line.0")[0]), inner(histogram, "dy"), **CLOSE)
    assert "main.stack.1" in picture.by_id
    assert "main.stack.2" not in picture.by_id


def test_the_style_of_a_dataset_decides_whether_it_is_in_the_stack() -> None:
    histogram = filled(SPLIT, MASS)
    params = {**LIMITS, "data_mc": DATA_MC, "style": {"datasets": {"ttbar": {"stack": False}}}}
    picture = Picture(rendered("data_mc", params, histogram)["plots/x.svg"], X, Y)
    np.testing.assert_allclose(heights(picture.paths("main.line.0")[0]), inner(histogram, "ttbar"), **CLOSE)


def test_the_ratio_is_of_data_to_the_stack_with_the_errors_of_data() -> None:
    histogram, content = standard()
    picture = Picture(content, X, (0.0, 2.0), frame=2)
    total = sum(inner(histogram, name) for name in ("dy", "ttbar", "ww"))
    data = inner(histogram, "data")
    np.testing.assert_allclose(picture.points("ratio.points")[:, 1], data / total, **CLOSE)
    lengths = [np.ptp(ends[:, 1]) for ends in picture.paths("ratio.points.errors")]
    expected = [np.subtract(*poisson_interval(count)[::-1]) for count in data] / total
    np.testing.assert_allclose(lengths, expected, **CLOSE)


def test_the_band_around_one_is_the_relative_error_of_the_stack() -> None:
    histogram, content = standard()
    outline = Picture(content, X, (0.0, 2.0), frame=2).paths("ratio.band")[0]
    total = sum(inner(histogram, name) for name in ("dy", "ttbar", "ww"))
    error = np.sqrt(sum(squares(histogram, name) for name in ("dy", "ttbar", "ww")))
    np.testing.assert_allclose(heights(outline), 1 + error / total, **CLOSE)


def test_hist1d_draws_simulation_as_steps_and_data_as_points() -> None:
    histogram = filled(SPLIT, MASS)
    picture = Picture(rendered("hist1d", LIMITS, histogram)["plots/x.svg"], X, Y)
    np.testing.assert_allclose(picture.points("main.0")[:, 1], inner(histogram, "data"), **CLOSE)
    for number, name in enumerate(["dy", "ttbar", "ww"], start=1):
        np.testing.assert_allclose(heights(picture.paths(f"main.{number}")[0]), inner(histogram, name), **CLOSE)


def test_errors_of_counted_simulation_are_roots() -> None:
    histogram = filled(MASS, weighted=False)
    params = {**LIMITS, "hist1d": {"histtype": "errorbar"}}
    picture = Picture(rendered("hist1d", params, histogram)["plots/x.svg"], X, Y)
    lengths = [np.ptp(ends[:, 1]) for ends in picture.paths("main.0.errors")]
    np.testing.assert_allclose(lengths, 2 * np.sqrt(histogram.values[1:-1]), **CLOSE)


def test_scaled_data_are_no_counts_any_more() -> None:
    histogram = filled(SPLIT, MASS)
    scale = {"kind": "scale", "by": "dataset_name", "factors": {"data": 0.5, "ww": None}}
    picture = Picture(rendered("hist1d", {**LIMITS, "transforms": [scale]}, histogram)["plots/x.svg"], X, Y)
    data = inner(histogram, "data")
    np.testing.assert_allclose(picture.points("main.0")[:, 1], data / 2, **CLOSE)
    lengths = [np.ptp(ends[:, 1]) for ends in picture.paths("main.0.errors")]
    np.testing.assert_allclose(lengths, np.sqrt(data), **CLOSE)


def test_an_empty_bin_of_data_has_no_point() -> None:
    histogram = filled(SPLIT, MASS)
    histogram.values[0, 3] = histogram.variances[0, 3] = 0.0
    picture = Picture(rendered("data_mc", {**LIMITS, "data_mc": DATA_MC}, histogram)["plots/x.svg"], X, Y)
    assert len(picture.points("main.data")) == len(picture.points("ratio.points")) == 11


def test_a_ratio_outside_of_its_frame_is_a_triangle() -> None:
    histogram = filled(SPLIT, MASS)
    histogram.values[0, 3] = histogram.variances[0, 3] = 1e4
    histogram.values[0, 5] = histogram.variances[0, 5] = 1.0
    params = {"data_mc": {**DATA_MC, "ratio_ylim": [0.5, 1.5]}, "axes": {"x": {"limits": X}}}
    picture = Picture(rendered("data_mc", params, histogram)["plots/x.svg"], X, (0.5, 1.5), frame=2)
    assert 72.5 in np.round(picture.points("ratio.above")[:, 0], 2)
    assert 82.5 in np.round(picture.points("ratio.below")[:, 0], 2)


def test_a_projection_holds_what_lies_outside_of_the_other_axis() -> None:
    histogram = filled(SPLIT, MASS, PT)
    then = {"op": "hep.render.hist1d", **LIMITS, "axes": {"x": {"limits": X}, "y": {"limits": [0, 1000]}}}
    params = {"project": {"axis": "mass", "then": then}}
    picture = Picture(rendered("project", params, histogram)["plots/x.svg"], X, (0, 1000))
    np.testing.assert_allclose(picture.points("main.0")[:, 1], histogram.values[0, 1:-1].sum(axis=1), **CLOSE)


def test_a_projection_without_datasets_adds_them_up() -> None:
    histogram = filled(SPLIT, MASS, PT)
    then = {"op": "hep.render.hist1d", "axes": {"x": {"limits": X}, "y": {"limits": [0, 1000]}}}
    params = {"project": {"axis": "mass", "keep_dataset": False, "then": then}}
    picture = Picture(rendered("project", params, histogram)["plots/x.svg"], X, (0, 1000))
    expected = histogram.values[:, 1:-1].sum(axis=(0, 2))
    np.testing.assert_allclose(heights(picture.paths("main.0")[0]), expected, **CLOSE)


def test_a_projection_hands_on_what_the_inner_style_does_not_have() -> None:
    transform = {"kind": "scale", "by": "dataset_name", "factors": {"dy": 2}}
    params = {
        "figure": {"size": [5, 4], "dpi": 50},
        "transforms": [transform],
        "project": {"axis": "mass", "then": {"op": "hep.render.hist1d", "transforms": [transform]}},
    }
    operation = RENDERERS["project"].read({**params, "out": "x.png"})
    assert operation.style.figure.pixels == (250, 200)
    assert [step.factors for step in operation.style.transforms] == [{"dy": 2.0}, {"dy": 2.0}]


def test_groups_are_sums_and_keep_the_order_of_their_first_dataset() -> None:
    histogram = filled(SPLIT, MASS)
    style = Style.read({"transforms": [{"kind": "group", "by": "dataset_group"}]})
    content = content_of(histogram, Split(dataset_axis="dataset"), FACTS, style)
    groups = {fact.name: fact.group for fact in FACTS}
    grouped = content.transformed(style.transforms, groups)
    assert [sample.name for sample in grouped.samples] == ["data", "dy", "other"]
    np.testing.assert_array_equal(grouped.samples[2].values, histogram.values[2] + histogram.values[3])
    np.testing.assert_array_equal(grouped.samples[2].variances, histogram.variances[2] + histogram.variances[3])


def test_scaling_reaches_flow_bins_and_squares_for_variances() -> None:
    histogram = filled(SPLIT, MASS)
    style = Style.read({"transforms": [{"kind": "scale", "by": "dataset_group", "factors": {"other": 3}}]})
    content = content_of(histogram, Split(dataset_axis="dataset"), FACTS, style)
    scaled = content.transformed(style.transforms, {fact.name: fact.group for fact in FACTS})
    np.testing.assert_array_equal(scaled.sample("ww").values, 3 * histogram.values[3])
    np.testing.assert_array_equal(scaled.sample("ww").variances, 9 * histogram.variances[3])
    np.testing.assert_array_equal(scaled.sample("dy").values, histogram.values[1])


def test_of_a_histogram_with_variations_the_nominal_one_is_taken() -> None:
    varied = StrCategoryAxis(name="variation", label="", categories=("nominal", "up"), growing=False)
    histogram = filled(SPLIT, MASS, varied)
    content = content_of(
        histogram, Split(dataset_axis="dataset", variation=("variation", "nominal")), FACTS, Style.read({})
    )
    np.testing.assert_array_equal(content.sample("dy").values, histogram.values[1, :, 0])


COMPARED = {
    "ratio": (lambda r, t: r / t, lambda r, t, vr, vt: np.hypot(np.sqrt(vr) / t, r * np.sqrt(vt) / t**2)),
    "split_ratio": (lambda r, t: r / t, lambda _r, t, vr, _vt: np.sqrt(vr) / t),
    "difference": (lambda r, t: r - t, lambda _r, _t, vr, vt: np.sqrt(vr + vt)),
    "relative_difference": (
        lambda r, t: (r - t) / t,
        lambda r, t, vr, vt: np.hypot(np.sqrt(vr) / t, r * np.sqrt(vt) / t**2),
    ),
    "pull": (lambda r, t: (r - t) / np.sqrt(r + t / 2), lambda r, *_: np.ones(len(r))),
    "asymmetry": (
        lambda r, t: (r - t) / (r + t),
        lambda r, t, vr, vt: 2 * np.sqrt(t**2 * vr + r**2 * vt) / (r + t) ** 2,
    ),
}


@pytest.mark.parametrize("how", COMPARED)
def test_comparisons_are_what_their_names_say(how: str) -> None:
    reference, target = filled(MASS, seed=3, weighted=False), filled(MASS, seed=4)
    value, error = COMPARED[how]
    r, vr = reference.values[1:-1].astype(float), reference.values[1:-1].astype(float)
    t, vt = target.values[1:-1], target.variances[1:-1]
    limits = (-20.0, 80.0)
    params = {"comparison": {"comparison": how, "comparison_ylim": limits}, "axes": {"x": {"limits": X}}}
    content = compared("comparison", params, {"reference": reference, "target": target})["plots/x.svg"]
    picture = Picture(content, X, limits, frame=2)
    np.testing.assert_allclose(picture.points("ratio.points")[:, 1], value(r, t), rtol=1e-3, atol=1e-2)
    lengths = [np.ptp(ends[:, 1]) for ends in picture.paths("ratio.points.errors")]
    np.testing.assert_allclose(lengths, 2 * error(r, t, vr, vt), rtol=1e-3, atol=1e-2)


def test_an_efficiency_has_the_error_of_its_posterior() -> None:
    target = filled(MASS, seed=3, weighted=False)
    passed = np.random.default_rng(5).binomial(target.values, 0.4)
    reference = Histogram(name="R", axes=(MASS,), storage="count", values=passed)
    params = {"comparison": {"comparison": "efficiency", "comparison_ylim": [0, 1]}, "axes": {"x": {"limits": X}}}
    content = compared("comparison", params, {"reference": reference, "target": target})["plots/x.svg"]
    picture = Picture(content, X, (0, 1), frame=2)
    k, n = passed[1:-1], target.values[1:-1]
    a, b = k + 1, n - k + 1
    np.testing.assert_allclose(picture.points("ratio.points")[:, 1], k / n, **CLOSE)
    lengths = [np.ptp(ends[:, 1]) for ends in picture.paths("ratio.points.errors")]
    np.testing.assert_allclose(lengths, 2 * np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))), **CLOSE)


def test_histograms_of_categories_are_compared_by_name() -> None:
    first = StrCategoryAxis(name="region", label="region", categories=("a", "b"), growing=True)
    second = StrCategoryAxis(name="region", label="region", categories=("b", "c"), growing=True)
    reference = Histogram(name="R", axes=(first,), storage="count", values=np.array([10, 20]))
    target = Histogram(name="T", axes=(second,), storage="count", values=np.array([40, 5]))
    params = {"comparison": {"comparison_ylim": [0, 2]}}
    content = compared("comparison", params, {"reference": reference, "target": target})["plots/x.svg"]
    points = Picture(content, (-0.5, 2.5), (0, 2), frame=2).points("ratio.points")
    np.testing.assert_allclose(points, [[1, 0.5], [2, 0]], **CLOSE)


def test_area_normalisation_makes_the_area_one() -> None:
    reference, target = filled(MASS, seed=3, weighted=False), filled(MASS, seed=4)
    params = {"comparison": {"normalise": "area"}, "axes": {"x": {"limits": X}, "y": {"limits": [0, 0.05]}}}
    content = compared("comparison", params, {"reference": reference, "target": target})["plots/x.svg"]
    picture = Picture(content, X, (0, 0.05))
    assert heights(picture.paths("main.1")[0]).sum() * 5 == pytest.approx(1, abs=1e-5)


def test_flow_shown_is_two_more_bins() -> None:
    reference, target = filled(MASS, seed=3, weighted=False), filled(MASS, seed=4)
    params = {"comparison": {"flow": "show"}, "axes": {"x": {"limits": [57, 123]}, "y": {"limits": Y}}}
    content = compared("comparison", params, {"reference": reference, "target": target})["plots/x.svg"]
    points = Picture(content, (57, 123), Y).points("main.0")
    np.testing.assert_allclose(points[:, 1], reference.values, **CLOSE)


@pytest.mark.parametrize("sides", [(), ("under",), ("over",), ("under", "over")])
def test_triangles_tell_that_something_lies_outside(sides: tuple[str, ...]) -> None:
    histogram = filled(MASS, weighted=False)
    histogram.values[0], histogram.values[-1] = "under" in sides, "over" in sides
    picture = Picture(rendered("hist1d", LIMITS, histogram)["plots/x.svg"], X, Y)
    assert {gid.removeprefix("flow.") for gid in picture.by_id if gid.startswith("flow.")} == set(sides)


def test_a_heat_map_has_the_colour_of_each_bin() -> None:
    import matplotlib as mpl

    histogram = filled(MASS, PT)
    content = rendered("heatmap2d", {"heatmap2d": {"cbar": False}, "axes": {"z": {"limits": [0, 60]}}}, histogram)
    cells = list(Picture(content["plots/x.svg"], X, Y).by_id["main.field"].iter("{http://www.w3.org/2000/svg}path"))
    colours = [cell.get("style").partition("fill: ")[2][:7] for cell in cells]
    values = histogram.values[1:-1, 1:-1].T.ravel()
    assert colours == [mpl.colors.to_hex(mpl.colormaps["viridis"](value / 60)) for value in values]


def test_per_dataset_makes_a_picture_of_each() -> None:
    files = rendered("heatmap2d", {"heatmap2d": {"per_dataset": True}}, filled(SPLIT, MASS, PT), out="maps.png")
    assert list(files) == [f"plots/maps/{name}.png" for name in DATASETS]
    assert len(set(files.values())) == 4


def test_a_heat_map_takes_the_axes_that_the_style_names() -> None:
    histogram = filled(MASS, PT)
    style = {"axes": {"x": {"name": "pt", "limits": [0, 100]}, "y": {"name": "mass", "limits": X}}}
    picture = Picture(rendered("heatmap2d", style, histogram)["plots/x.svg"], (0, 100), X)
    first = picture.paths("main.field")[0]
    np.testing.assert_allclose([first.min(axis=0), first.max(axis=0)], [[0, 60], [10, 65]], **CLOSE)


# --- intervals -----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.just(0.0) | st.floats(0.05, 3000))
@pytest.mark.slow
def test_intervals_against_mpmath(count: float) -> None:
    low, high = poisson_interval(count)
    tolerance = 1e-10 if count < 900 else 1e-5
    assert float(mpmath.gammainc(count + 1, 0, high, regularized=True)) == pytest.approx(1 - TAIL, abs=tolerance)
    if count > 0:
        assert float(mpmath.gammainc(count, 0, low, regularized=True)) == pytest.approx(TAIL, abs=tolerance)


def test_intervals_of_weights_scale_with_the_weight() -> None:
    below, above = poisson(np.array([4.0, 2.0, 0.0, -1.0]), np.array([4.0, 1.0, 0.0, 4.0]))
    low, high = poisson_interval(4.0)
    np.testing.assert_allclose(below, [4 - low, (4 - low) / 2, 0, 2])
    np.testing.assert_allclose(above, [high - 4, (high - 4) / 2, 0, 2])


# --- what is refused -----------------------------------------------------------------------------------------------

WRONG = {
    "suffix": ("hist1d", {}, (MASS,), "a picture can't be written as .gif: x.gif"),
    "limits": (
        "hist1d",
        {"axes": {"x": {"limits": [5, 5]}}},
        (MASS,),
        "limits must be lower first, but 5 is not above 5",
    ),
    "log limits": (
        "hist1d",
        {"axes": {"y": {"scale": "log", "limits": [-5, 0]}}},
        (MASS,),
        "a logarithmic axis has no values up to 0",
    ),
    "formula": ("hist1d", {"axes": {"x": {"label": r"$\nonsense$"}}}, (MASS,), r"the text '$\\nonsense$' can't be set"),
    "colour": ("hist1d", {"style": {"datasets": {"dy": {"color": "cyann"}}}}, (SPLIT, MASS), "'cyann' is no colour"),
    "hatch": ("hist1d", {"style": {"datasets": {"dy": {"hatch": "abc"}}}}, (SPLIT, MASS), "'abc' is no hatch"),
    "nearly a dataset": (
        "hist1d",
        {"style": {"datasets": {"ttbr": {"label": "t"}}}},
        (SPLIT, MASS),
        "unknown dataset 'ttbr'",
    ),
    "two axes": (
        "hist1d",
        {},
        (SPLIT, MASS, PT),
        "this draws 1 axis beside that of the datasets, and 'Filled' has mass, pt",
    ),
    "pixels": ("hist1d", {"figure": {"size": [50, 50], "dpi": 1200}}, (MASS,), "a picture of 60000 x 60000 pixels"),
    "background": ("data_mc", {"data_mc": {"backgrounds": ["wz"]}}, (SPLIT, MASS), "unknown dataset 'wz'"),
    "twice": (
        "data_mc",
        {"data_mc": {"backgrounds": ["ww"], "signals": ["ww"]}},
        (SPLIT, MASS),
        "dataset 'ww' is there twice",
    ),
    "together": ("data_mc", {"data_mc": DATA_MC}, (MASS,), "histogram 'Filled' does not tell datasets apart"),
    "one axis": (
        "heatmap2d",
        {},
        (SPLIT, MASS),
        "this draws 2 axis beside that of the datasets, and 'Filled' has mass",
    ),
    "axis name": ("heatmap2d", {"axes": {"x": {"name": "ptt"}}}, (MASS, PT), "histogram 'Filled' has no axis 'ptt'"),
    "same axis": (
        "heatmap2d",
        {"axes": {"x": {"name": "pt"}, "y": {"name": "pt"}}},
        (MASS, PT),
        "axis 'pt' can't be both x and y",
    ),
    "projection": (
        "project",
        {"project": {"axis": "ptt", "then": {"op": "hep.render.hist1d"}}},
        (SPLIT, MASS, PT),
        "histogram 'Filled' has no axis 'ptt'",
    ),
    "lost datasets": (
        "project",
        {"project": {"axis": "pt", "keep_dataset": False, "then": {"op": "hep.render.data_mc"}}},
        (SPLIT, MASS, PT),
        "data can't be told from simulation",
    ),
    "group": (
        "hist1d",
        {"transforms": [{"kind": "group", "by": {"top": ["ttbr"]}}]},
        (SPLIT, MASS),
        "unknown dataset 'ttbr'",
    ),
    "factor": (
        "hist1d",
        {"transforms": [{"kind": "scale", "by": "dataset_name", "factors": {"ttbr": 2}}]},
        (SPLIT, MASS),
        "unknown dataset 'ttbr'",
    ),
    "factor of a member": (
        "hist1d",
        {
            "transforms": [
                {"kind": "group", "by": {"top": ["ttbar"]}},
                {"kind": "scale", "by": "dataset_name", "factors": {"ttbar": 2}},
            ]
        },
        (SPLIT, MASS),
        "unknown dataset 'ttbar'",
    ),
    "inputs": ("comparison", {}, (MASS,), "there is no input 'reference' to compare"),
    "no variations": ("comparison", {"comparison": {"variation_axis": "v"}}, (SPLIT, MASS), "has no variations"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_can_not_be_right_is_told_before_the_run(case: str) -> None:
    renderer, params, axes, message = WRONG[case]
    faults = faults_of(renderer, params, filled(*axes), "x.gif" if case == "suffix" else "x.png")
    assert any(message in told for told, _, _ in faults), faults


def test_a_fault_has_its_place_and_the_nearest_name() -> None:
    params = {"data_mc": {"backgrounds": ["ww", "ttbr"]}}
    assert faults_of("data_mc", params, filled(SPLIT, MASS)) == [
        ("unknown dataset 'ttbr'", ("data_mc", "backgrounds", 1), "did you mean 'ttbar'?")
    ]


def test_a_fault_of_the_inner_style_stands_below_then() -> None:
    params = {"project": {"axis": "pt", "then": {"op": "hep.render.data_mc", "data_mc": {"signals": ["dyy"]}}}}
    (fault,) = faults_of("project", params, filled(SPLIT, MASS, PT))
    assert fault[1] == ("project", "then", "data_mc", "signals", 0)


def test_a_style_may_be_for_more_datasets_than_there_are() -> None:
    look = {name: {"label": name} for name in (*DATASETS, "zz", "data_2016")}
    assert not faults_of("hist1d", {"style": {"datasets": look}}, filled(SPLIT, MASS))


def test_a_cutflow_is_no_histogram() -> None:
    faults: list = []
    made = Made(stage="Cuts", op="hep.selection.cutflow", operation=None, outputs=("cutflows/Cuts.json",))
    assert RENDERERS["hist1d"].read({"out": "x.png"}).derivation(deriving({"cutflow": made}, faults)) is None
    assert faults[0][0] == "this draws a histogram, and stage 'Cuts' (hep.selection.cutflow) leaves none"


def test_different_bins_are_not_compared() -> None:
    faults: list = []
    inputs = {"reference": stage(filled(MASS), "A"), "target": stage(filled(PT), "B")}
    assert RENDERERS["comparison"].read({"out": "x.png"}).derivation(deriving(inputs, faults)) is None
    assert faults[0][0] == "'A' and 'B' have different bins"


def test_an_efficiency_of_weights_is_refused() -> None:
    faults: list = []
    inputs = {"reference": stage(filled(MASS), "A"), "target": stage(filled(MASS), "B")}
    params = {"comparison": {"comparison": "efficiency"}, "out": "x.png"}
    assert RENDERERS["comparison"].read(params).derivation(deriving(inputs, faults)) is None
    assert "sum of weights" in faults[0][0]


# --- the schema ----------------------------------------------------------------------------------------------------


def violations(language: str, renderer: str, params: object) -> list[str]:
    document = {"$defs": schema(language)["$defs"], "$ref": f"#/$defs/render_{renderer}"}
    return [error.message for error in Draft202012Validator(document).iter_errors(json.loads(json.dumps(params)))]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_schema_has_every_key_of_the_reference(language: str) -> None:
    look = {
        "op": "hep.render.data_mc",
        "figure": {"size": [12, 12], "dpi": 300},
        "axes": {"ratio": {"name": "ratio", "label": "Data/MC", "limits": [0.5, 1.5]}, "y": {"scale": "log"}},
        "legend": {"loc": "upper right", "ncol": 3, "frameon": False, "fontsize": 12},
        "style": {
            "experiment": "CMS",
            "lumi": 138,
            "datasets": {"dy": {"label": "DY", "color": "yellow", "kind": "signal"}},
        },
        "transforms": [
            {"kind": "group", "by": "dataset_group"},
            {"kind": "scale", "by": "dataset_name", "factors": {}},
        ],
    }
    options = {**DATA_MC, "stack": True, "ratio": True, "histtype_mc": "fill", "show_mc_uncertainty": True}
    assert violations(language, "data_mc", {**look, "data_mc": options}) == []
    assert violations(language, "project", {"project": {"axis": "x", "keep_dataset": True, "then": look}}) == []
    assert violations(language, "cutflow_csv", {"op": "hep.render.cutflow_csv"}) == []


@pytest.mark.parametrize(
    ("renderer", "params"),
    [
        ("hist1d", {"histtype": "step"}),
        ("hist1d", {"hist1d": {"histtype": "lines"}}),
        ("hist1d", {"figure": {"dpi": 0}}),
        ("hist1d", {"figure": {"size": [8]}}),
        ("hist1d", {"axes": {"x": {"limit": [0, 1]}}}),
        ("hist1d", {"style": {"datasets": {"a": {"colour": "red"}}}}),
        ("hist1d", {"select": {}}),
        ("data_mc", {"data_mc": {"background": []}}),
        ("heatmap2d", {"heatmap2d": {"density": True}}),
        ("project", {}),
        ("project", {"project": {"axis": "x", "then": {"op": "hep.render.heatmap2d"}}}),
        ("project", {"project": {"axis": "x", "then": {"op": "hep.render.hist1d", "data_mc": {}}}}),
        ("comparison", {"comparison": {"comparison": "quotient"}}),
        ("cutflow_csv", {"axes": {}}),
        ("hist1d", {"transforms": [{"kind": "shift"}]}),
        ("hist1d", {"transforms": [{"kind": "scale", "by": "dataset_name", "factors_ref": "x"}]}),
    ],
)
def test_the_schema_refuses_what_no_renderer_reads(renderer: str, params: object) -> None:
    assert all(violations(language, renderer, params) for language in LANGUAGES)


# --- the table -----------------------------------------------------------------------------------------------------

ROW = {
    "group": "dimuon",
    "label": "NIsoMuon >= 2",
    "events_in": 4580,
    "events_out": 244,
    "sumw_in": 229.94958064877471,
    "sumw_out": 12.639495927083772,
    "sumw2_in": 0.1 + 0.2,
    "sumw2_out": 1e-300,
}
CUTFLOW = Cutflow(
    name="Cuts",
    rows=tuple(
        CutflowRow(**{**ROW, "dataset": dataset, "cut": f"dimuon[{number}]"})
        for dataset in ("data", "ww")
        for number in (0, 1)
    ),
)


def table(params: dict) -> list[dict[str, str]]:
    made = Made(
        stage="Cuts", op="hep.selection.cutflow", operation=None, outputs=("cutflows/Cuts.json", "cutflows/Cuts.csv")
    )
    derivation = (
        RENDERERS["cutflow_csv"].read({**params, "out": "Cuts.csv"}).derivation(deriving({"cutflow": made}, []))
    )
    outputs = (
        Output(name="cutflows/Cuts.json", held=CUTFLOW.to_json()),
        Output(name="cutflows/Cuts.csv", held=b""),
    )
    (output,) = derivation.derive({"cutflow": outputs}, Path("unused"))
    assert output.name == derivation.outputs[0] == "tables/Cuts.csv"
    return list(csv.DictReader(io.StringIO(output.content.decode(), newline="")))


def test_the_table_has_the_columns_that_fast_hep_writes() -> None:
    # header of expected/tables/SelectDimuonEvents.csv of its workshop
    expected = "selection,cut,dataset,n_in,n_out,n_unweighted_in,n_unweighted_out,sumw_in,sumw_out,sumw2_in,sumw2_out,efficiency"
    assert ",".join(table({})[0]) == expected


def test_the_table_has_a_row_for_each_dataset_cut_by_cut() -> None:
    rows = table({})
    assert [row["dataset"] for row in rows] == ["data", "ww", "data", "ww"]
    assert {row["cut"] for row in rows} == {"NIsoMuon >= 2"}


def test_sums_in_the_table_are_exact() -> None:
    row = table({})[0]
    for column, name in (
        ("n_in", "sumw_in"),
        ("sumw_out", "sumw_out"),
        ("sumw2_in", "sumw2_in"),
        ("sumw2_out", "sumw2_out"),
    ):
        assert float(row[column]) == ROW[name]
    assert float(row["efficiency"]) == 244 / 4580
    assert row["n_unweighted_out"] == "244"


def test_the_table_can_leave_out_the_datasets() -> None:
    assert "dataset" not in table({"cutflow_csv": {"include_dataset": False}})[0]


def test_renderers_are_registered() -> None:
    from fasthep_archive import registry

    for name, renderer in RENDERERS.items():
        assert registry.provided("operations", version="0")[f"hep.render.{name}"].load() is renderer
    assert Drawn.__name__ == "Picture"
