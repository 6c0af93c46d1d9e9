"""What hangs on stages: files that are written of their events, observers, and what is drawn of their products."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import uproot
from shifted import WORKFLOW, Desk, files, variation, write_file

from fasthep_archive.digest import JSON
from fasthep_archive.execution import planner
from fasthep_archive.execution.plan import Plan
from fasthep_archive.operations.protocol import Derivation, Deriving, Output
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.model import Edge, Join, JoinInput, Observer, Render, Stage, Workflow, Write

SKIM = {"path": "skim.root", "tree": "events", "keep": ["pt", "n"], "format": "ttree"}
WRITTEN = {**SKIM, "compression": "zlib", "compression_level": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A renderer that writes down what it was given."""

    out: str

    def derivation(self, deriving: Deriving) -> Derivation | None:
        names = ", ".join(dataset.name for dataset in deriving.datasets)
        return Drawing(out=self.out, of=tuple(deriving.inputs), datasets=names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What is drawn."""

    out: str
    of: tuple[str, ...]
    datasets: str

    @property
    def outputs(self) -> tuple[str, ...]:
        return (f"plots/{self.out}",)

    def canonical(self) -> JSON:
        return [self.out, list(self.of), self.datasets]

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        told = {"datasets": self.datasets, **{name: taken[0].content.decode() for name, taken in products.items()}}
        return (Output(name=self.outputs[0], held=json.dumps(told).encode()),)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Desk:
    directory = tmp_path_factory.mktemp("hanging")
    write_file(directory / "ww.root", 1)
    write_file(directory / "up.root", 2)
    write_file(directory / "data.root", 3, mc=False)
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    return Desk(directory, kernel_cache)


def hung(workflow: Workflow, stage: str, **what: object) -> Workflow:
    """Return the workflow with something hanging on a stage."""
    return replace(
        workflow, stages=tuple(replace(item, **what) if item.id == stage else item for item in workflow.stages)
    )


def planned(desk: Desk, workflow: Workflow, more: Mapping[str, object] = {}) -> Plan:
    settings = planner.Settings(
        chunk=80, version="1", cache=desk.cache, working_directory=desk.directory, digests="read", workers=1
    )
    plan, faults = planner.make_plan(workflow, {**operations(workflow, version="1"), **more}, settings)
    assert faults == ()
    return plan


def render(when: str = "final", source: str = "hist", out: str = "Pt.png") -> Render:
    return Render(op="draw", params={}, when=when, out=out, source=source, path=())


# --- renders ---------------------------------------------------------------------------------------------------------


def test_what_is_drawn_is_made_of_the_merged_product(desk: Desk) -> None:
    workflow = hung(desk.workflow(WORKFLOW), "Pt", renders=(render(),))
    plan = planned(desk, workflow, {"render.Pt.0": Draw(out="Pt.png")})
    found = files(desk.run(plan))
    told = json.loads(found["plots/Pt.png"])
    assert told == {"datasets": "ww, up, data", "hist": found["histograms/Pt.json"].decode()}
    assert [task.name for task in desk.run(plan).tasks][-1:] == ["merge of Untouched"]
    assert "derivation of render.Pt.0" in [task.name for task in desk.run(plan).tasks]


def test_one_is_drawn_for_each_dataset_of_its_events_alone(desk: Desk) -> None:
    workflow = hung(desk.workflow(WORKFLOW), "Pt", renders=(render("dataset"),))
    plan = planned(desk, workflow, {"render.Pt.0": Draw(out="Pt.png")})
    found = files(desk.run(plan))
    assert sorted(name for name in found if "plots" in name) == [f"plots/Pt/{x}.png" for x in ("data", "up", "ww")]
    whole = json.loads(found["histograms/Pt.json"])
    for number, dataset in enumerate(("ww", "up", "data")):
        told = json.loads(found[f"plots/Pt/{dataset}.png"])
        alone = json.loads(told["hist"])
        assert told["datasets"] == dataset
        assert alone["axes"][0]["categories"] == [dataset]
        np.testing.assert_array_equal(alone["storage"]["values"][0], whole["storage"]["values"][number])
    assert not [name for name in found if name.startswith("histograms/Pt[")]


def test_one_is_drawn_for_each_partition(desk: Desk) -> None:
    workflow = hung(desk.workflow(WORKFLOW), "Select", renders=(render("partition", "cutflow", "c.csv"),))
    plan = planned(desk, workflow, {"render.Select.0": Draw(out="c.csv")})
    found = files(desk.run(plan))
    drawn = {
        name: json.loads(json.loads(content)["cutflow"])["rows"] for name, content in found.items() if "/c/" in name
    }
    assert len(drawn) == len(plan.passes) == 9
    seen = sum(rows[0]["events_in"] for name, rows in drawn.items() if name.startswith("plots/c/ww/"))
    assert seen == 200


def test_a_variation_draws_again_what_it_changes_and_nothing_else(desk: Desk) -> None:
    shifted = desk.workflow(WORKFLOW, [variation("field", replace={"pt": "pt_up"})])
    workflow = hung(hung(shifted, "Pt", renders=(render(),)), "Untouched", renders=(render(out="U.png"),))
    draws = {"render.Pt.0": Draw(out="Pt.png"), "render.Untouched.0": Draw(out="U.png")}
    plan = planned(desk, workflow, draws)
    assert plan.unaffected == {"field": ("Untouched", "render.Untouched.0")}
    found = files(desk.run(plan))
    told = json.loads(found["systematics/field/plots/Pt.png"])
    assert told["hist"] == found["systematics/field/histograms/Pt.json"].decode()


def test_stages_take_products_of_several_stages(desk: Desk) -> None:
    workflow = desk.workflow(WORKFLOW)
    both = Stage(
        id="Both",
        op="draw",
        params={},
        streams_from=(),
        needs=(),
        applies_to=None,
        products_from=(Edge(node="Pt", name="one"), Edge(node="Select")),
        path=(),
    )
    workflow = replace(workflow, stages=(*workflow.stages, both))
    found = files(desk.run(planned(desk, workflow, {"Both": Draw(out="Both.png")})))
    told = json.loads(found["plots/Both.png"])
    assert told["one"] == found["histograms/Pt.json"].decode()
    assert told["Select"] == found["cutflows/Select.json"].decode()


def test_a_stage_that_leaves_nothing_can_not_be_drawn(desk: Desk) -> None:
    workflow = hung(desk.workflow(WORKFLOW), "Vars", renders=(render(),))
    more = {**operations(workflow, version="1"), "render.Vars.0": Draw(out="Pt.png")}
    settings = planner.Settings(
        chunk=80, version="1", cache=desk.cache, working_directory=desk.directory, digests="none", workers=1
    )
    _, faults = planner.make_plan(workflow, more, settings)
    assert [fault.message for fault in faults] == ["draw takes what stage 'Vars' leaves, and that leaves nothing"]


def test_two_files_of_one_name_are_refused(desk: Desk) -> None:
    workflow = hung(desk.workflow(WORKFLOW), "Pt", renders=(render(), render()))
    draws = {f"render.Pt.{number}": Draw(out="Pt.png") for number in (0, 1)}
    settings = planner.Settings(
        chunk=80, version="1", cache=desk.cache, working_directory=desk.directory, digests="none", workers=1
    )
    _, faults = planner.make_plan(workflow, {**operations(workflow, version="1"), **draws}, settings)
    assert [fault.message for fault in faults] == ["render.Pt.1 and render.Pt.0 both leave a file plots/Pt.png"]


# --- writers and observers -------------------------------------------------------------------------------------------


def read(content: bytes, columns: Sequence[str] = ("pt", "n")) -> dict[str, np.ndarray]:
    with uproot.open(io.BytesIO(content)) as file:
        return {name: file["events"][name].array(library="np") for name in columns}


def expected(desk: Desk, *names: str) -> np.ndarray:
    found = []
    for name in names:
        with uproot.open(desk.directory / name) as file:
            arrays = file["events"].arrays(["px", "py", "Jet_pt"])
        pt = np.hypot(np.array(arrays.px), np.array(arrays.py))
        jets = [any(jet > own for jet in event) for event, own in zip(arrays.Jet_pt.tolist(), pt, strict=True)]
        found.append(pt[(pt > 20) & np.array(jets)])
    return np.concatenate(found)


def writing(when: str = "final", **params: object) -> Write:
    return Write(kind="root_tree", params={**WRITTEN, **params}, when=when, path=("analysis", "stages", 1))


def test_events_after_a_stage_are_written_in_plan_order(desk: Desk) -> None:
    plan = planned(desk, hung(desk.workflow(WORKFLOW), "Select", writes=(writing(),)))
    found = read(files(desk.run(plan, workers=2))["files/skim.root"])
    wanted = expected(desk, "ww.root", "up.root", "data.root")
    np.testing.assert_allclose(found["pt"], wanted, rtol=5e-16, atol=0)  # NumPy's hypot is not rounded correctly


def test_one_file_is_written_per_dataset_or_partition(desk: Desk) -> None:
    workflow = desk.workflow(WORKFLOW)
    for when, names in (
        ("dataset", {f"files/skim/{dataset}.root" for dataset in ("ww", "up", "data")}),
        ("partition", {f"files/skim/{x}/0_{n}.root" for x in ("ww", "up", "data") for n in range(3)}),
    ):
        plan = planned(desk, hung(workflow, "Select", writes=(writing(when),)))
        assert {name for name in plan.outputs if name.startswith("files/")} == names
        assert {name for name in files(desk.run(plan)) if name.startswith("files/")} == names


def test_a_variation_writes_the_events_that_it_selects(desk: Desk) -> None:
    weight = variation("weight", multiply=("w",))
    field = variation("field", replace={"pt": "pt_up"})
    plan = planned(desk, hung(desk.workflow(WORKFLOW, [weight, field]), "Select", writes=(writing(),)))
    assert "write.Select.0" in plan.unaffected["weight"]
    assert "systematics/field/files/skim.root" in plan.outputs


def test_observers_see_the_stream_where_they_are(desk: Desk) -> None:
    snapshot = Observer(kind="hep.schema_snapshot", params={}, path=())
    workflow = hung(
        desk.workflow(WORKFLOW, [variation("field", replace={"pt": "pt_up"})]), "Select", observers=(snapshot,)
    )
    source = replace(workflow.sources[0], observers=(snapshot,))
    plan = planned(desk, replace(workflow, sources=(source,)))
    found = files(desk.run(plan))
    start, after = (json.loads(found[f"schema/{node}.json"])["datasets"][0] for node in ("read.events", "stage.Select"))
    assert start["entries"] == 200 > after["entries"]
    assert "pt" not in start["fields"]
    assert after["fields"]["pt"] == "float64"
    assert not [name for name in found if name.startswith("systematics/field/schema")]


# --- streams ---------------------------------------------------------------------------------------------------------

TWO = """\
version: "1.1"
data: {datasets: [{name: ww, files: [two.root], nevents: 100}]}
sources:
  a: {kind: root_tree, tree: a}
  b: {kind: root_tree, tree: b}
  unused: {kind: root_tree, tree: missing}
primary_stream: a
analysis:
  stages:
    - {id: H, op: hep.hist, from: a, params: {axes: [{name: x, source: "%s", type: int}]}}
"""


@pytest.fixture(scope="module")
def two(desk: Desk) -> Desk:
    with uproot.recreate(desk.directory / "two.root") as file:
        for number, tree in enumerate(("a", "b")):
            file.mktree(tree, {"x": "int64"})
            file[tree].extend({"x": np.arange(100) % (number + 2)})
    return desk


def counts(desk: Desk, plan: Plan, stage: str = "H") -> dict[int, float]:
    histogram = json.loads(files(desk.run(plan))[f"histograms/{stage}.json"])
    return dict(zip(histogram["axes"][0]["categories"], histogram["storage"]["values"], strict=True))


def test_a_source_that_nothing_reads_is_not_read_and_doubles_nothing(two: Desk) -> None:
    plan = planned(two, two.workflow(TWO % "x"))
    assert {step.partition.stream for step in plan.passes} == {"a"}
    assert counts(two, plan) == {0: 50.0, 1: 50.0}
    assert plan.warnings == ()


def joined(desk: Desk, formula: str) -> Workflow:
    workflow = desk.workflow(TWO % formula)
    inputs = (JoinInput(source="a", prefix="first"), JoinInput(source="b", prefix="second"))
    stages = tuple(replace(stage, streams_from=(Edge(node="both"),)) for stage in workflow.stages)
    return replace(workflow, joins=(Join(id="both", inputs=inputs, path=()),), stages=stages)


def test_a_join_reads_two_trees_side_by_side_once(two: Desk) -> None:
    plan = planned(two, joined(two, "first.x * 10 + second.x"))
    assert {step.partition.stream for step in plan.passes} == {"both"}
    found = counts(two, plan)
    assert found == {0: 17.0, 11: 17.0, 2: 17.0, 10: 17.0, 1: 16.0, 12: 16.0}


def test_streams_of_different_sources_do_not_meet(two: Desk) -> None:
    more = '    - {id: B, op: hep.define, from: b, params: {variables: [{name: y, expr: "x"}]}}\n'
    workflow = two.workflow(TWO % "x" + more)
    merging = replace(
        workflow.stages[1], id="M", op="hep.merge_fields", streams_from=(Edge(node="H"), Edge(node="B")), params={}
    )
    settings = planner.Settings(
        chunk=80, version="1", cache=two.cache, working_directory=two.directory, digests="none", workers=1
    )
    workflow = replace(workflow, stages=(*workflow.stages, merging))
    sound = replace(workflow, stages=workflow.stages[:-1])
    _, faults = planner.make_plan(workflow, operations(sound, version="1"), settings)
    assert [fault.message for fault in faults] == [
        "stage 'M' reads events of different streams, 'a' and 'b': nothing says which belong together"
    ]


def test_a_stage_can_not_have_the_id_of_what_hangs_on_another(desk: Desk) -> None:
    workflow = hung(
        desk.workflow(WORKFLOW.replace("id: Untouched", "id: write.Select.0")), "Select", writes=(writing(),)
    )
    _, faults = desk.planned(workflow)
    assert "'write.Select.0' is the id of what hangs on another stage" in {fault.message for fault in faults}
