"""workshop.tabular.*: rows of lists, against awkward; seen through the sink, a histogram and a definition."""

import awkward as ak
import pytest
from test_writing import Desk, define, events, read

from fasthep_archive.context import Context, NoProgress
from fasthep_archive.data.products import Histogram
from fasthep_archive.execution.run import run_plan
from fasthep_archive.execution.store import Store

EXPLODE = {
    "id": "Rows",
    "op": "workshop.tabular.explode",
    "params": {"fields": ["Muon_pt", "Muon_q"], "keep_fields": ["event", "MET"]},
}


@pytest.fixture
def desk(tmp_path, kernel_cache):
    desk = Desk(tmp_path, kernel_cache)
    desk.file("a", events())
    return desk


def flat(array, *names):
    """The rows that awkward makes."""
    like = array.Muon_pt
    return {name: ak.flatten(ak.broadcast_arrays(array[name], like)[0]) for name in names}


def tabular(op, **params):
    return {"id": op.title(), "op": f"workshop.tabular.{op}", "params": params}


def test_explode_makes_a_row_of_each_value(desk):
    expected = flat(desk.arrays["a"], "Muon_pt", "Muon_q", "event", "MET")
    found = read(
        desk.written([EXPLODE], ("final", {"path": "s.root", "keep": list(expected)}), chunk=50)["files/s.root"]
    )
    for name, values in expected.items():
        assert ak.array_equal(found[name], values, equal_nan=True, dtype_exact=True), name


def test_without_keep_the_rows_have_the_exploded_fields(desk):
    found = read(desk.written([EXPLODE], ("final", {"path": "s.root"}))["files/s.root"])
    assert found.fields == ["Muon_pt", "Muon_q", "event", "MET"]


def test_rows_are_filtered_and_computed_with(desk):
    rows = flat(desk.arrays["a"], "Muon_pt", "Muon_q", "event", "MET")
    stages = [
        EXPLODE,
        define(Sum="Muon_pt + MET"),
        tabular("filter", expr="Muon_pt > 20"),
        tabular("project", fields=["Sum", "event"]),
    ]
    found = read(desk.written(stages, ("final", {"path": "s.root"}))["files/s.root"])
    chosen = rows["Muon_pt"] > 20
    assert found.fields == ["Sum", "event"]
    assert found.event.tolist() == rows["event"][chosen].tolist()
    total = ak.values_astype(rows["Muon_pt"], "f8") + ak.values_astype(rows["MET"], "f8")
    assert ak.array_equal(found.Sum, total[chosen], equal_nan=True)


def test_events_that_a_filter_takes_out_have_no_rows(desk):
    array = desk.arrays["a"]
    stages = [tabular("filter", expr="MET > 30"), EXPLODE]
    found = read(desk.written(stages, ("final", {"path": "s.root"}))["files/s.root"])
    assert found.event.tolist() == flat(array[array.MET > 30], "event")["event"].tolist()


def test_a_histogram_counts_rows(desk, tmp_path):
    axis = {"name": "q", "source": "Muon_q", "type": "int", "bins": [-1, 1]}
    hist = {"id": "Q", "op": "hep.hist", "params": {"axes": [axis]}}
    plan, faults = desk.plan([EXPLODE, tabular("filter", expr="MET > 30"), hist], [])
    assert faults == ()
    context = Context(cache=desk.cache, now=None, measured=False, workers=1, progress=NoProgress())
    results = run_plan(plan, Store(tmp_path / "store"), context)
    results.raise_failures()
    (output,) = results.outputs["Q"]
    rows = flat(desk.arrays["a"], "Muon_q", "MET")
    charges = rows["Muon_q"][rows["MET"] > 30].to_numpy()
    assert Histogram.from_json(output.content).values[:2].tolist() == [(charges == -1).sum(), (charges == 1).sum()]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{**EXPLODE, "params": {"fields": ["MET"]}}], "'MET' has one value per event, no list to explode"),
        ([{**EXPLODE, "params": {"fields": ["Muon_pt"], "keep_fields": ["channel"]}}], "'channel' holds texts, which can't be repeated for rows"),
        ([EXPLODE, {**EXPLODE, "id": "Again"}], "the events are rows already"),
        ([EXPLODE, define(x="NPV")], "unknown name 'NPV'"),
        ([tabular("project", fields=["MET"]), define(x="NPV")], "unknown name 'NPV'"),
        ([tabular("project", fields=["MTE"])], "the events have no field 'MTE'"),
        ([tabular("filter", expr="MET")], "a cut needs a condition, but this formula is a number (float64)"),
        ([EXPLODE, tabular("filter", expr="MET")], "a filter needs a condition that is never missing"),
    ],
)  # fmt: skip
def test_faults(desk, stages, message):
    assert [found.partition(" (")[0] if "only" in found else found for found in desk.faults(stages)] == [message]
