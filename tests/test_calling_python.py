"""``run.python``: functions that make products of products, what they see, leave and do wrong."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import awkward as ak
import hist
import numpy as np
import pytest
from shifted import Desk, files, keys, variation, write_file

import fasthep_archive
from fasthep_archive.data.content import of_output
from fasthep_archive.data.histograms import Histogram
from fasthep_archive.data.hists import of_hist
from fasthep_archive.data.view import Left, of_directory
from fasthep_archive.data.view import Results as DataOf
from fasthep_archive.errors import DataError, TaskError
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.run import Results
from fasthep_archive.operations.looks import looked_at
from fasthep_archive.operations.reading import outside_profile
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import Variation, build

WORKFLOW = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root], xs: 2.5}, {name: data, eventtype: data, files: [data.root]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - id: Vars
      op: hep.define
      params: {variables: [{name: pt, expr: "hypot(px, py)"}]}
      write: {kind: root_tree, path: columns.root, format: rntuple, when: final, keep: [pt, n, Jet_pt]}
    - id: Pt
      op: hep.hist
      params:
        weight_expr: w
        axes: [{name: pt, source: pt, type: regular, bins: {low: 0, high: 100, nbins: 10}}]
    - id: Fit
      op: run.python
      needs: [Pt, Vars]
      params:
        callable: fits.fit:moments
        params: {scale: 2}
        returns: {values: [mean, width], histograms: [folded], table: true, files: [model.npz, notes/log.txt]}
    - id: Scaled
      op: hep.hist
      from: Vars
      needs: [Fit]
      params:
        axes: [{name: x, source: pt / Fit.mean, type: regular, bins: {low: 0, high: 4, nbins: 8}}]
    - id: Then
      op: run.python
      needs: [Fit]
      params: {callable: "fits.then:check", returns: {values: [mean, number, sum, total]}}
"""
FIT = """\
import numpy as np

from .tools import width

def moments(data, params, out, seed):
    print("fitting")
    assert set(data) == {"Pt", "columns", "Vars"}, list(data)
    filled = data["Pt"]
    centers = filled.axes[0].centers
    values = filled.values()
    mean = (values * centers).sum() / values.sum()
    np.savez(out / "model.npz", weights=np.arange(4) * params["scale"])
    (out / "notes").mkdir()
    (out / "notes" / "log.txt").write_text(str(seed))
    table = data["Vars"]
    folded = filled.copy()
    folded.view(flow=True)["value"] *= 2
    rows = {"pt": table["pt"], "jets": table["Jet_pt"], "n": table["n"]}
    return {"mean": mean, "width": width(values, centers, mean), "folded": folded, "table": rows}
"""
TOOLS = "def width(values, centers, mean):\n    return ((values * (centers - mean) ** 2).sum() / values.sum()) ** 0.5\n"
THEN = """\
import numpy as np

def check(data):
    fit = data["Fit"]
    with open(fit["model.npz"], "rb") as stream:
        weights = np.load(stream)["weights"]
    return {"mean": fit["mean"], "number": len(fit["table"]["n"]), "sum": weights.sum(), "total": fit["folded"].sum().value}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("python")
    write_file(directory / "ww.root", 1)
    write_file(directory / "data.root", 3, mc=False)
    (directory / "fits").mkdir()
    for name, text in {"__init__": "", "fit": FIT, "tools": TOOLS, "then": THEN}.items():
        (directory / "fits" / f"{name}.py").write_text(text)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


def planned(desk: Desk, text: str = WORKFLOW, variations: tuple[Variation, ...] = ()) -> Plan:
    plan, faults = desk.planned(desk.workflow(text, variations))
    assert faults == ()
    return plan


@pytest.fixture(scope="module")
def left(desk: Desk) -> Mapping[str, bytes]:
    return files(desk.run(planned(desk)))


def saved(left: Mapping[str, bytes], directory: Path) -> Path:
    for name, content in left.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def test_outputs_are_canonical_and_are_those_that_are_declared(left: Mapping[str, bytes]) -> None:
    assert [name for name in left if "Fit" in name] == [
        "values/Fit.json",
        "histograms/Fit.folded.json",
        "files/Fit.parquet",
        "files/Fit/model.npz",
        "files/Fit/notes/log.txt",
    ]
    assert Histogram.from_json(left["histograms/Fit.folded.json"]).name == "Fit.folded"
    assert list(json.loads(left["values/Fit.json"])) == ["mean", "width"]


def test_the_values_are_those_of_numpy(left: Mapping[str, bytes], desk: Desk) -> None:
    filled = Histogram.from_json(left["histograms/Pt.json"]).to_hist()
    centers = filled.axes[0].centers
    mean = np.average(centers, weights=filled.values())
    width = np.sqrt(np.average((centers - mean) ** 2, weights=filled.values()))
    assert json.loads(left["values/Fit.json"]) == pytest.approx({"mean": mean, "width": width}, rel=1e-14)


def test_a_histogram_keeps_bins_variances_and_flow(left: Mapping[str, bytes]) -> None:
    before, after = (Histogram.from_json(left[f"histograms/{name}.json"]) for name in ("Pt", "Fit.folded"))
    assert np.array_equal(after.values, before.values * 2)
    assert np.array_equal(after.variances, before.variances)
    assert np.array_equal(after.axes[0].edges, before.axes[0].edges)


def test_formulas_use_the_values(left: Mapping[str, bytes], desk: Desk) -> None:
    mean = json.loads(left["values/Fit.json"])["mean"]
    by_hand = files(desk.run(planned(desk, WORKFLOW.replace("pt / Fit.mean", f"pt / {mean!r}"))))
    assert by_hand["histograms/Scaled.json"] == left["histograms/Scaled.json"]


def test_data_is_the_same_for_a_function_and_of_a_finished_run(left: Mapping[str, bytes], tmp_path: Path) -> None:
    data = of_directory(saved(left, tmp_path))
    fit, then = data["Fit"], data["Then"]
    assert isinstance(fit, Left)
    assert list(fit) == ["mean", "width", "folded", "model.npz", "notes/log.txt", "table"]
    weights = np.load(io.BytesIO(fit["model.npz"].read_bytes()))["weights"]
    assert dict(then) == {
        "mean": fit["mean"],
        "number": len(fit["table"]["n"]),
        "sum": weights.sum(),
        "total": data["Fit.folded"].sum().value,
    }
    assert Path(fit["model.npz"]) == tmp_path / "files/Fit/model.npz"
    assert data["Fit/model.npz"].read_bytes() == left["files/Fit/model.npz"]


def test_a_table_has_the_columns(left: Mapping[str, bytes], tmp_path: Path) -> None:
    data = of_directory(saved(left, tmp_path))
    found, columns = data["Fit"]["table"], data["columns"]
    assert {name: ak.to_list(found[name]) for name in found} == {
        "pt": ak.to_list(columns["pt"]),
        "jets": ak.to_list(columns["Jet_pt"]),
        "n": ak.to_list(columns["n"]),
    }


def test_a_second_run_gives_the_same_bytes(left: Mapping[str, bytes], desk: Desk) -> None:
    again = files(desk.run(planned(desk), workers=2))
    different = {name for name in left if left[name] != again[name]}
    assert different <= {"files/columns.root", "files/Fit/model.npz"}  # which say when they were written
    assert of_output(left["files/columns.root"], "a.root") == of_output(again["files/columns.root"], "a.root")


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("fit", 'scale"]', 'scale"] + 1', {"Fit", "Scaled", "Then"}),
        ("tools", "** 0.5", "** 0.25", {"Fit", "Scaled", "Then"}),
        ("tools", "def width", "# the standard deviation\ndef width", set()),
        ("then", "weights.sum()", "weights.max()", {"Then"}),
    ],
)
def test_keys_follow_the_code(name: str, old: str, new: str, changed: set[str], desk: Desk) -> None:
    before, path = keys(planned(desk)), desk.directory / "fits" / f"{name}.py"
    text = path.read_text()
    try:
        path.write_text(text.replace(old, new))
        after = keys(planned(desk))
    finally:
        path.write_text(text)
    assert {node for node in after if after[node] != before[node]} == changed


def test_variations_have_results_of_their_own_where_they_change_what_is_seen(desk: Desk) -> None:
    plan = planned(desk, variations=(variation("double", multiply=("2",)), variation("none", replace={"w": "w"})))
    assert plan.unaffected["none"] == tuple(node.node.id for node in plan.nodes if node.node.variation is None)
    results = files(desk.run(plan))
    assert json.loads(results["systematics/double/values/Fit.json"]) == pytest.approx(
        json.loads(results["values/Fit.json"])
    )
    assert "systematics/double/files/Fit/model.npz" in results


def test_everything_below_is_outside_the_profile(desk: Desk) -> None:
    assert outside_profile(desk.workflow(WORKFLOW)) == {"Fit", "Scaled", "Then"}


def test_inputs_can_have_other_names(desk: Desk) -> None:
    (desk.directory / "named.py").write_text("def f(data):\n    return data['fit']['mean'] + data['shape'].sum().value")
    named = """\
    - id: Named
      op: run.python
      from: [{node: Fit, as: fit}, {node: Pt, as: shape}]
      params: {callable: "named:f", returns: {values: [x]}}
"""
    found = files(desk.run(planned(desk, WORKFLOW + named)))
    total = Histogram.from_json(found["histograms/Pt.json"]).to_hist().sum().value
    mean = json.loads(found["values/Fit.json"])["mean"]
    assert json.loads(found["values/Named.json"])["x"] == pytest.approx(mean + total, rel=1e-14)


def test_files_of_a_bundle_have_bytes_and_no_path() -> None:
    class Held:
        def names(self) -> tuple[str, ...]:
            return ("files/Fit/model.npz",)

        def read(self, name: str) -> bytes:
            return b"held"

    found = DataOf(Held())["Fit"]["model.npz"]
    assert found.read_bytes() == b"held"
    with pytest.raises(DataError, match="is in a bundle, and has no path"):
        os.fspath(found)


# What goes wrong

BRIEF = """\
version: "1.1"
data: {datasets: [{name: ww, files: [ww.root]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - {id: N, op: hep.hist, params: {axes: [{name: n, source: n, type: int}]}}
    - {id: Secret, op: hep.hist, from: events, params: {axes: [{name: n, source: n, type: int}]}}
    - {id: F, op: run.python, needs: [N], params: {callable: "brief:f", returns: {RETURNS}}}
"""


def brief(desk: Desk, code: str, returns: str) -> Results:
    (desk.directory / "brief.py").write_text(code)
    return desk.run(planned(desk, BRIEF.replace("{RETURNS}", f"{{{returns}}}")))


@pytest.mark.parametrize(
    ("code", "returns", "message"),
    [
        ("def f(data):\n    return data['Secret']", "values: [a]", "data['Secret'] is not among what the stage needs"),
        ("def f():\n    return {'b': 1}", "values: [a]", "it did not return 'a'"),
        pytest.param(
            "def f():\n    return {'a': 1, 'b': 1}",
            "values: [a]",
            "it returned 'b', which is not declared",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "def f():\n    return {'a': 'x'}",
            "values: [a]",
            "it returned str for the value 'a', no number",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "def f():\n    return {'a': 1}",
            "histograms: [a]",
            "it returned int for 'a', no hist.Hist",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "def f():\n    return {'x': [1, 2], 'y': [1]}",
            "table: true",
            "different lengths: x has 2, y has 1",
            marks=pytest.mark.slow,
        ),
        pytest.param("def f():\n    return 5", "table: true", "it returned int for the table", marks=pytest.mark.slow),
        pytest.param(
            "def f():\n    pass",
            "files: [a.txt]",
            "it did not write 'a.txt' below out; it left no file",
            marks=pytest.mark.slow,
        ),
        ("def f(out):\n    (out / 'b').touch(); return 1.0", "values: [a]", "it wrote 'b' below out, which is not"),
        ("def f():\n    1 / 0", "values: [a]", "brief.py:2: ZeroDivisionError: division by zero"),
        pytest.param("def f(:\n", "values: [a]", "", marks=pytest.mark.slow),
        pytest.param(
            "import no_such_package\ndef f(): return 1",
            "values: [a]",
            "No module named 'no_such_package'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "def f():\n    raise SystemExit(3)",
            "values: [a]",
            "brief.py:2: it called sys.exit(3)",
            marks=pytest.mark.slow,
        ),
        ("import os\ndef f():\n    os.kill(os.getpid(), 11)", "values: [a]", "its process ended by signal SIGSEGV"),
    ],
)
def test_what_a_function_does_wrong_is_told(code: str, returns: str, message: str, desk: Desk) -> None:
    try:
        results = brief(desk, code, returns)
    except AssertionError:  # a fault of the document: the module was looked at
        assert message == "" or "no_such_package" in message
        return
    with pytest.raises(TaskError) as raised:
        results.raise_failures()
    assert "stage F failed: brief:f: " in raised.value.message
    assert message in raised.value.message


def test_single_things_need_no_name(desk: Desk) -> None:
    code = "import hist\ndef f():\n    return hist.Hist.new.Reg(2, 0, 1, name='x').Double().fill([0.1, 0.7, 0.8])"
    found = Histogram.from_json(files(brief(desk, code, "histograms: [h]"))["histograms/F.h.json"])
    assert found.values.tolist() == [0, 1, 2, 0]
    assert found.variances is not None
    assert found.variances.tolist() == [0, 1, 2, 0]


def test_a_function_has_an_environment_of_its_own(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """\
import json, os, sys, time
def f(out):
    known = {"environ": dict(os.environ), "path": sys.path, "cwd": os.listdir(), "hash": hash("x"), "zone": time.tzname}
    (out / "known.json").write_text(json.dumps(known))
"""
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    first, second = (json.loads(files(brief(desk, code, "files: [known.json]"))["files/F/known.json"]) for _ in "ab")
    assert "SECRET_TOKEN" not in first["environ"]
    assert first["environ"]["OMP_NUM_THREADS"] == "1"
    assert first["environ"]["HOME"] != str(Path.home())
    assert first["cwd"] == []
    assert first["zone"] == ["UTC", "UTC"]
    assert first["hash"] == second["hash"]  # of texts, which decides the order of sets
    assert "/somewhere" not in first["path"]
    assert str(desk.directory) not in first["path"]


def test_seeds_are_those_of_the_stage(desk: Desk) -> None:
    code = "def f(seed):\n    return {'a': seed}"
    one = files(brief(desk, code, "values: [a]"))["values/F.json"]
    assert files(brief(desk, code, "values: [a]"))["values/F.json"] == one
    assert files(brief(desk, code, "values: [a]}, seed: 7, params: {"))["values/F.json"] != one


@pytest.mark.parametrize(
    ("returns", "told"),
    [
        ("{}", "write returns: {values: [a_number]}"),
        ("{values: []}", "a stage that returns nothing leaves nothing"),
        ("{values: [a], histograms: [a]}", "'a' is there twice"),
        ("{files: [../x]}", "must be the name of a file"),
    ],
)
def test_faults_of_returns_are_located(returns: str, told: str, desk: Desk) -> None:
    (desk.directory / "brief.py").write_text("def f(): pass")
    path = desk.directory / "faulty.yaml"
    path.write_text(BRIEF.replace("{RETURNS}", returns))
    _, found = build(load(path))
    assert any(told in str(fault) and "faulty.yaml:8:" in str(fault) for fault in found), found


# Histograms


def test_hist_axes_and_storages() -> None:
    axes = (
        hist.axis.Regular(3, 0, 3, name="r", underflow=False),
        hist.axis.Variable([0, 1, 5], name="v", overflow=False),
        hist.axis.Integer(0, 2, name="i"),
        hist.axis.StrCategory(["a", "b"], name="s", growth=True),
        hist.axis.IntCategory([4, 7], name="c"),
        hist.axis.Boolean(name="b"),
    )
    filled = hist.Hist(*axes, storage=hist.storage.Weight())
    filled.fill(r=[1, 2, 9], v=[0, 3, 3], i=[0, 1, 5], s=["a", "b", "b"], c=[4, 7, 9], b=[True, False, True], weight=2)
    found = of_hist(filled, "h")
    assert found.values.shape == (5, 4, 4, 2, 3, 2)
    assert found.values.sum() == 6
    assert found.values[2, 1, 1, 0, 0, 1] == 2
    assert found.variances[4, 2, 3, 1, 2, 1] == 4
    assert Histogram.from_json(found.to_json()).to_json() == found.to_json()


def test_a_histogram_without_known_variances_is_refused() -> None:
    filled = hist.Hist.new.Reg(2, 0, 1).Double().fill([0.5], weight=[3])
    with pytest.raises(DataError, match="no sums of squared weights"):
        of_hist(filled, "h")


def test_counts_stay_counts() -> None:
    found = of_hist(hist.Hist.new.Reg(2, 0, 1).Int64().fill([0.1, 0.2, 5]), "h")
    assert (found.storage, found.values.tolist()) == ("count", [0, 2, 0, 1])


@pytest.mark.parametrize("weighted", [False, True])
def test_means_come_back(weighted: bool) -> None:
    axes = (hist.axis.Regular(4, 0, 4, name="x", underflow=False), hist.axis.StrCategory(["a", "b"], name="s"))
    filled = hist.Hist(*axes, storage=hist.storage.WeightedMean() if weighted else hist.storage.Mean())
    weights = {"weight": [1.0, 2.0, 0.5, 4.0, 2.0]} if weighted else {}
    filled.fill(x=[0.5, 0.5, 0.5, 1.5, 9], s=["a", "a", "a", "b", "c"], sample=[1.0, 2.0, 6.0, 5.0, 3.0], **weights)
    found = of_hist(filled, "h")
    assert found.storage == ("weighted_mean" if weighted else "mean")
    again = Histogram.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    back, here = again.to_hist().view(flow=True), filled.view(flow=True)
    for field in here.dtype.names:
        np.testing.assert_allclose(back[1:, :2][field], here[:, :2][field], rtol=1e-14)
    samples, w = np.array([1.0, 2.0, 6.0]), np.array(weights.get("weight", np.ones(5))[:3])
    mean = np.average(samples, weights=w)
    variance = (w * (samples - mean) ** 2).sum() / (w.sum() - (w**2).sum() / w.sum())
    assert (found.values[1, 0], found.variances[1, 0]) == pytest.approx((mean, variance), rel=1e-14)
    assert (found.variances[2, 1], found.variances[3, 0]) == (0, 0)


def test_a_mean_whose_entries_are_no_whole_numbers_is_refused() -> None:
    filled = hist.Hist.new.Reg(2, 0, 1).Mean().fill([0.5], sample=[3], weight=[0.5])
    with pytest.raises(DataError, match="numbers of entries that are not whole"):
        of_hist(filled, "h")


def test_a_look_says_what_a_function_asks_for() -> None:
    code = b"import x\nfrom y import z\ndef f(a, b=1, *, c, d=2): pass\ndef g(**k): pass\nh = f\n"
    asks = looked_at({"m.py": code}, "m:f")
    assert (asks.names, asks.needed) == ({"a", "b", "c", "d"}, ("a", "c"))
    assert all(looked_at({"m.py": code}, f"m:{name}").names is None for name in ("g", "h", "z"))
    assert looked_at({}, "numpy:mean").names is None
    with pytest.raises(DataError, match="has no 'ff'"):
        looked_at({"m.py": code}, "m:ff")


def test_what_sees_a_faulty_stage_has_no_faults_of_its_own(desk: Desk) -> None:
    (desk.directory / "brief.py").write_text("def f(nothing): pass\ndef g(events, data): pass")
    call = '    - {id: G, op: run.events, from: events, needs: [F], params: {callable: "brief:g", columns: [n], returns: {x: int64}}}\n'
    shape = "    - {id: X, op: hep.hist, from: G, params: {axes: [{name: x, source: x, type: int}]}}\n"
    text = BRIEF.replace("{RETURNS}", "{values: [a]}") + call + shape
    _, faults = desk.planned(desk.workflow(text))
    assert [fault.message for fault in faults] == ["brief:f asks for 'nothing', and there is none"]


@pytest.mark.slow
def test_a_replay_proves_what_the_engine_computed_and_matches_the_rest(desk: Desk, tmp_path: Path) -> None:
    (desk.directory / "model.yaml").write_text(WORKFLOW)
    bundle = tmp_path / "b.crate.zip"
    fasthep_archive.pack(desk.directory / "model.yaml", bundle, index=False, cache=desk.cache, workers=1)
    replayed = fasthep_archive.replay(
        bundle, tmp_path / "out", consent=lambda _: True, env="current", cache=desk.cache, workers=1
    )
    shown = {verdict.output: verdict.worth for verdict in replayed.report.verdicts if verdict.agrees}
    assert shown == {
        "files/columns.root": "proof",
        "histograms/Pt.json": "proof",
        "values/Fit.json": "match",
        "histograms/Fit.folded.json": "match",
        "files/Fit.parquet": "match",
        "files/Fit/model.npz": "match",
        "files/Fit/notes/log.txt": "match",
        "histograms/Scaled.json": "match",
        "values/Then.json": "match",
    }
