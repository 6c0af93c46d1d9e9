"""``archive.values``: yields, integrals and formulas, against the rows and bins that they are made of."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowered import canonical

from fasthep_archive.data.products import (
    BooleanAxis,
    Cutflow,
    CutflowRow,
    Histogram,
    IntCategoryAxis,
    StrCategoryAxis,
    Values,
    VariableAxis,
    kind_of,
    stored_as,
)
from fasthep_archive.errors import DataError
from fasthep_archive.operations.cutflow import CutflowSelection
from fasthep_archive.operations.histogram import Hist
from fasthep_archive.operations.protocol import DatasetFacts, Deriving, Made, Output
from fasthep_archive.operations.tallies import Unfit, places, total
from fasthep_archive.operations.values import ArchiveValues
from fasthep_archive.workflow.document import from_json
from fasthep_archive.workflow.model import build

QUICK = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])

DATASETS = (
    DatasetFacts(name="data", eventtype="data", group="data"),
    DatasetFacts(name="tt1", eventtype="mc", group="ttbar"),
    DatasetFacts(name="tt2", eventtype="mc", group="ttbar"),
)
SELECTION = CutflowSelection.read(
    canonical(
        "hep.selection.cutflow",
        {"selection": {"Base": ["a > 1", "b"], "Late": {"cuts": ["c"], "parents": ["Base[1]"]}}},
    )
)
SINGLE = CutflowSelection.read(canonical("hep.selection.cutflow", {"selection": {"Base": ["a > 1", "b"]}}))
AXES = [
    {"name": "m", "source": "m", "type": "regular", "bins": {"low": 60, "high": 120, "nbins": 6}},
    {"name": "n", "source": "n", "type": "int"},
    {"name": "ok", "source": "ok", "type": "bool"},
]
HIST = Hist.read(canonical("hep.hist", {"axes": AXES, "dataset_axis": True, "weight_expr": "w"}))
VARIED = Hist.read(canonical("hep.hist", {"axes": AXES[:1], "variations": {"weights": {"nominal": "w", "up": "w"}}}))
INPUTS = {
    "flow": Made(stage="Select", op="hep.selection.cutflow", operation=SELECTION, outputs=()),
    "single": Made(stage="Single", op="hep.selection.cutflow", operation=SINGLE, outputs=()),
    "mass": Made(stage="Mass", op="hep.hist", operation=HIST, outputs=()),
    "varied": Made(stage="Varied", op="hep.hist", operation=VARIED, outputs=()),
}


class Faults(list):
    def __call__(self, message: str, path: tuple, hint: str | None = None) -> None:
        self.append((message, "/".join(map(str, path)), hint))


def deriving(faults: Faults) -> Deriving:
    return Deriving(stage="Scale", inputs=INPUTS, datasets=DATASETS, path=("params",), fault=faults)


def operation(*values: Mapping[str, object], **more: object) -> ArchiveValues:
    return ArchiveValues.read(canonical("archive.values", {"values": list(values), **more}, "Scale"))


def row(dataset: str, cut: str, sumw: float, events: int) -> CutflowRow:
    squared = {"sumw2_in": 0.0, "sumw2_out": 0.0}
    return CutflowRow(
        dataset=dataset, group=cut.split("[", maxsplit=1)[0], cut=cut, label=cut, events_in=100, events_out=events,
        sumw_in=100.0, sumw_out=sumw, **squared,
    )  # fmt: skip


def files(weights: Mapping[str, Sequence[float]], counts: Mapping[str, int]) -> tuple[Output, ...]:
    """Return the files of a cutflow whose sums of weights are given by dataset, cut by cut."""
    cuts = ("Base[0]", "Base[1]", "Late[0]")
    found = [row(name, cut, sums[n], counts[name] - n) for name, sums in weights.items() for n, cut in enumerate(cuts)]
    cutflow = Cutflow(name="Select", rows=tuple(found))
    return (
        Output(name="cutflows/Select.json", held=cutflow.to_json()),
        Output(name="cutflows/Select.csv", held=cutflow.to_csv()),
    )


WEIGHTS = {"data": [100.0, 90.0, 50.0], "tt1": [0.1, 0.1, 0.1], "tt2": [0.2, 0.7, 1e-20]}
FLOW = files(WEIGHTS, {"data": 100, "tt1": 50, "tt2": 30})


def computed(made: ArchiveValues, cache: Path, **products: tuple[Output, ...]) -> dict[str, float]:
    faults = Faults()
    derivation = made.derivation(deriving(faults))
    assert not faults
    (output,) = derivation.derive({"flow": FLOW, "single": FLOW, **products}, cache)
    assert output.name == "values/Scale.json"
    return dict(Values.from_json(output.content))


# --- yields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"of": "single"}, math.fsum([90.0, 0.1, 0.7])),
        ({"of": "single", "what": "n"}, 99 + 49 + 29),
        ({"of": "flow", "group": "Late"}, math.fsum([50.0, 0.1, 1e-20])),
        ({"of": "flow", "cut": "Base[0]", "dataset": "ttbar"}, math.fsum([0.1, 0.2])),
        ({"of": "flow", "cut": "Base[0]", "dataset": ["tt1", "data"], "what": "n"}, 150),
        ({"of": "flow", "cut": "Late[0]", "group": "Late", "dataset": ["ttbar", "tt1"]}, 0.1),
    ],
)
def test_a_yield_is_what_passes_a_cut(params: dict, expected: float, kernel_cache: Path) -> None:
    assert computed(operation({"name": "y", "yield": params}), kernel_cache) == {"y": float(expected)}


@pytest.mark.parametrize(
    ("params", "path", "message", "hint"),
    [
        ({"of": "flw"}, "of", "stage 'Scale' does not take the product of 'flw'", "did you mean 'flow'?"),
        (
            {"of": "mass"},
            "of",
            "a yield is that of a cutflow, and stage 'Mass' is hep.hist",
            "write integral: {of: ...}",
        ),
        ({"of": "flow"}, "", "the cutflow has several groups", "add group: Base, or whichever it is"),
        ({"of": "flow", "group": "base"}, "group", "the cutflow has no group 'base'", "did you mean 'Base'?"),
        ({"of": "flow", "cut": "Base[2]"}, "cut", "the cutflow has no cut 'Base[2]'", "did you mean 'Base[1]'?"),
        (
            {"of": "flow", "group": "Late", "cut": "Base[0]"},
            "cut",
            "cut 'Base[0]' is one of group 'Base', not of 'Late'",
            "leave 'group' out",
        ),
        (
            {"of": "single", "dataset": ["data", "tt"]},
            "dataset/1",
            "no dataset and no group of datasets is called 'tt'",
            "did you mean 'tt2'?",
        ),
    ],
)
def test_faults_of_yields(params: dict, path: str, message: str, hint: str) -> None:
    faults = Faults()
    assert operation({"name": "y", "yield": params}).derivation(deriving(faults)) is None
    assert faults == [(message, "/".join(["params/values/0/yield", *([path] if path else [])]), hint)]


# --- integrals -------------------------------------------------------------------------------------------------------


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    axes = (
        StrCategoryAxis(name="dataset", label="d", categories=("data", "tt1", "tt2"), growing=True),
        VariableAxis(name="m", label="m", edges=np.array([60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0])),
        IntCategoryAxis(name="n", label="n", categories=(3, 0), growing=True),
        BooleanAxis(name="ok", label="ok"),
    )
    shape = tuple(axis.size for axis in axes)
    size = int(np.prod(shape))
    values = np.array(draw(st.lists(st.floats(-1e15, 1e15), min_size=size, max_size=size))).reshape(shape)
    return Histogram(name="Mass", axes=axes, storage="weighted", values=values, variances=values * values)


SLICES = {
    "all": ({}, np.s_[:, :, :, :]),
    "one of each": ({"dataset": "tt1", "m": 70, "n": 0, "ok": True}, np.s_[1:2, 2:3, 1:2, 1:2]),
    "a range": ({"m": [70, 90.0000000001]}, np.s_[:, 2:4, :, :]),
    "open below": ({"m": [None, 80], "ok": False}, np.s_[:, 0:3, :, 0:1]),
    "open above": ({"m": [110, None]}, np.s_[:, 6:8, :, :]),
    "several": ({"dataset": ["data", "tt2"], "n": [3, 0, 17]}, np.s_[[0, 2], :, :, :]),
    "the overflow": ({"m": 120.0}, np.s_[:, 7:8, :, :]),
    "never met": ({"n": 5}, np.s_[:, :, 0:0, :]),
}


@QUICK
@given(histogram=histograms())
def test_an_integral_is_the_exact_sum_over_bins(histogram: Histogram, kernel_cache: Path) -> None:
    made = operation(
        *({"name": f"i{n}", "integral": {"of": "mass", "select": s}} for n, (s, _) in enumerate(SLICES.values()))
    )
    found = computed(made, kernel_cache, mass=(Output(name="histograms/Mass.json", held=histogram.to_json()),))
    expected = [math.fsum(histogram.values[chosen].ravel().tolist()) for _, chosen in SLICES.values()]
    assert list(found.values()) == expected


@pytest.mark.parametrize(
    ("of", "select", "message", "hint"),
    [
        ("mass", {"mm": 1}, "the histogram has no axis 'mm'", "did you mean 'm'?"),
        ("mass", {"m": [65, 90]}, "65.0 is no edge of axis 'm'", "the nearest edge is 60.0"),
        ("mass", {"m": [90, 70]}, "the range of axis 'm' is empty", "write the lower edge first"),
        ("mass", {"m": [60, 70, 80]}, "a range of axis 'm' is two of its edges", "write [low, high]; null for an open end"),
        ("mass", {"m": "60"}, "axis 'm' has bins of numbers, and \"60\" is none", "write [low, high]"),
        ("mass", {"ok": 1}, "the bins of axis 'ok' are true and false, not 1", None),
        ("mass", {"n": "3"}, "the categories of axis 'n' are whole numbers, not \"3\"", None),
        ("varied", {"variation": "down"}, "axis 'variation' has no category 'down'", "it has nominal, up"),
        ("flow", {}, "an integral is that of a histogram, and stage 'Select' is hep.selection.cutflow", "write yield: {of: ...}"),
    ],
)  # fmt: skip
def test_faults_of_integrals(of: str, select: dict, message: str, hint: str | None) -> None:
    faults = Faults()
    assert operation({"name": "i", "integral": {"of": of, "select": select}}).derivation(deriving(faults)) is None
    assert [(said, told) for said, _, told in faults] == [(message, hint)]


def test_variations_are_not_added_up() -> None:
    faults = Faults()
    assert operation({"name": "i", "integral": {"of": "varied"}}).derivation(deriving(faults)) is None
    assert faults[0][0] == "a sum over the variations on axis 'variation' means nothing"


def test_a_category_of_a_fixed_axis_must_be_there() -> None:
    axis = IntCategoryAxis(name="n", label="n", categories=(1, 2), growing=False)
    assert places(axis, (2, 1)) == [1, 0]
    with pytest.raises(Unfit):
        places(axis, 3)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([1e308, 1e308], math.inf), ([-1e308, -1e308], -math.inf), ([math.inf, 1.0], math.inf), ([], 0.0)],
)
def test_sums_beyond_the_largest_double_are_infinite(numbers: list, expected: float) -> None:
    assert total(numbers) == expected


def test_infinities_of_both_signs_and_nan_are_nan() -> None:
    assert math.isnan(total([math.inf, -math.inf]))
    assert math.isnan(total([math.nan, 1.0]))


# --- formulas --------------------------------------------------------------------------------------------------------


def test_a_formula_is_computed_from_the_numbers_before(kernel_cache: Path) -> None:
    made = operation(
        {"name": "data", "yield": {"of": "single", "dataset": "data"}},
        {"name": "tt", "yield": {"of": "single", "dataset": "ttbar"}},
        {"name": "scale", "expr": "data / tt"},
        {"name": "half", "expr": "where(scale > 1, sqrt(scale), 0) / 2"},
        {"name": "one", "expr": 1},
    )
    tt = math.fsum([0.1, 0.7])
    assert computed(made, kernel_cache) == {
        "data": 90.0, "tt": tt, "scale": 90.0 / tt, "half": math.sqrt(90.0 / tt) / 2, "one": 1.0,
    }  # fmt: skip
    assert made.names == ("data", "tt", "scale", "half", "one")


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("dat / 2", "unknown name 'dat'"),
        ("later * 2", "unknown name 'later'"),
        ("sum(y)", "this is one value per event"),
    ],
)
def test_a_formula_with_a_fault_is_named(expr: str, message: str) -> None:
    faults = Faults()
    made = operation(
        {"name": "y", "yield": {"of": "single"}}, {"name": "s", "expr": expr}, {"name": "later", "expr": "1"}
    )
    assert made.derivation(deriving(faults)) is None
    assert [path for _, path, _ in faults] == ["params/values/1/expr"]
    assert message.split(" ", maxsplit=1)[0] in faults[0][0]


def test_a_number_that_is_not_finite_is_an_error(kernel_cache: Path) -> None:
    values = (
        {"name": "n", "yield": {"of": "single"}},
        {"name": "zero", "expr": "n - n"},
        {"name": "r", "expr": "n / zero"},
    )
    with pytest.raises(DataError, match="stage 'Scale': value 'r' is inf, not a finite number") as caught:
        computed(operation(*values), kernel_cache)
    assert "zero = 0.0" in caught.value.message
    assert computed(operation(*values, non_finite="allow"), kernel_cache)["r"] == math.inf


def test_what_the_numbers_depend_on_has_no_formula_as_it_was_written() -> None:
    faults = Faults()
    texts = ["y / 2 + 1", "(y/2)+1"]
    made = [operation({"name": "y", "yield": {"of": "single"}}, {"name": "s", "expr": text}) for text in texts]
    first, second = (json.dumps(one.derivation(deriving(faults)).canonical()) for one in made)
    assert first == second


# --- parameters and stored form --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [{"name": "a", "yield": {"of": "x"}, "expr": "1"}],
            "value 'a' needs one of yield, integral, expr, and has yield and expr",
        ),
        ([{"name": "a"}], "value 'a' needs one of yield, integral, expr, and has none"),
        ([{"name": "a", "expr": "1"}, {"name": "a", "expr": "2"}], "value 'a' is there twice"),
    ],
)
def test_faults_of_values(values: list, message: str) -> None:
    stages = [{"id": "S", "op": "archive.values", "params": {"values": values}}]
    data = {"datasets": [{"name": "mc", "files": ["mc.root"]}]}
    _, faults = build(from_json({"version": "1.1", "data": data, "analysis": {"stages": stages}}, name="t"))
    assert message in [fault.message for fault in faults]


def test_values_are_an_object_of_numbers() -> None:
    found = Values({"b": 1.5, "a": 2.0, "n": math.nan, "i": -math.inf})
    assert json.loads(found.to_json()) == {"b": 1.5, "a": 2.0, "n": "nan", "i": "-inf"}
    again = Values.from_json(found.to_json())
    assert list(again) == ["b", "a", "n", "i"]
    assert math.isnan(again["n"])
    assert again.to_json() == found.to_json()


@pytest.mark.parametrize("content", [b"[]", b'{"a": "x"}', b'{"a": 1}', b'{"a": true}', b"{", b'{"a": 1.0, "a": 2.0}'])
def test_other_texts_are_no_values(content: bytes) -> None:
    with pytest.raises(DataError):
        Values.from_json(content)


def test_values_have_a_stored_form() -> None:
    form = stored_as("values/Scale.json")
    assert form is not None
    assert (form.kind, form.read) == ("value", Values.from_json)
    assert kind_of("values/Scale.json") == "value"
