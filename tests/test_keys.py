"""Keys change exactly when a result can change: what must not change any key, and what must change which.

A part is what one stage adds up in one partition; a product is merged from the parts of a stage.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uproot

from fasthep_archive.execution import planner
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

WORKFLOW = """\
version: "1.0"
data:
  datasets:
    - {name: ww, files: [ww.root], xs: 2.5}
    - {name: zz, files: [zz.root], xs: 1.5}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  globals: {CUT: 20, UNUSED: 1}
  stages:
    - id: Vars
      op: hep.define
      params:
        variables:
          - {name: pt, expr: "hypot(px, py)"}
          - {name: unused, expr: "px - 7"}
          - {name: scaled, expr: "pt * dataset_xs"}
    - id: Select
      op: hep.selection.cutflow
      params: {selection: {good: [{expr: "pt > CUT", label: hard}, "n >= 2"]}, weight_expr: w}
    - id: Pt
      op: hep.hist
      params:
        weight_expr: w * 2
        axes: [{name: pt, source: pt, type: regular, bins: {low: 0, high: 100, nbins: 10}}]
    - id: Scaled
      op: hep.hist
      params: {axes: [{name: s, source: scaled, type: regular, bins: {low: 0, high: 100, nbins: 10}}]}
    - id: Count
      op: hep.hist
      from: events
      params: {dataset_axis: true, axes: [{name: n, source: n, type: int, bins: [1, 2, 3]}]}
"""

ALL = {"Select", "Pt", "Scaled", "Count"}


@dataclass
class Keys:
    """The keys of a plan, and which stages' keys differ from those of another plan."""

    parts: Mapping[tuple[str, str, int], str]
    products: Mapping[str, str]

    def changed_parts(self, other: "Keys", dataset: str | None = None) -> set[str]:
        places = {place for place in (*self.parts, *other.parts) if dataset is None or place[1] == dataset}
        return {place[0] for place in places if self.parts.get(place) != other.parts.get(place)}

    def changed_products(self, other: "Keys") -> set[str]:
        stages = {*self.products, *other.products}
        return {stage for stage in stages if self.products.get(stage) != other.products.get(stage)}


@dataclass
class Desk:
    """A directory with a workflow and its files."""

    directory: Path
    cache: Path

    def keys(self, text: str = WORKFLOW, *, name: str = "workflow.yaml", version: str = "1", chunk: int = 4) -> Keys:
        path = self.directory / name
        path.write_text(text)
        workflow, faults = build(load(path))
        assert faults == ()
        settings = planner.Settings(
            chunk=chunk,
            version=version,
            cache=self.cache,
            working_directory=self.directory,
            digests="read",
            workers=1,
        )
        plan, faults = planner.make_plan(workflow, operations(workflow, version="1"), settings)
        assert faults == ()
        parts = {
            (stage, step.partition.dataset, step.partition.start): key
            for step in plan.passes
            for stage, key in step.parts.items()
        }
        return Keys(parts=parts, products={merge.stage: merge.key for merge in plan.merges})

    def write(self, name: str, px: float = 1.0, *, events: int = 6) -> None:
        columns = {"px": [px, 20.0, 30.0, 40.0, 50.0, 60.0], "py": np.arange(6.0), "w": np.full(6, 0.5)}
        with uproot.recreate(self.directory / name) as file:
            file.mktree("events", {"px": "float64", "py": "float64", "w": "float64", "n": "int32"})
            all_columns = {**columns, "n": np.arange(6, dtype=np.int32)}
            file["events"].extend({name: np.array(column)[:events] for name, column in all_columns.items()})


@pytest.fixture
def desk(tmp_path: Path, kernel_cache: Path) -> Desk:
    directory = tmp_path / "desk"
    directory.mkdir()
    desk = Desk(directory, tmp_path / "cache")
    desk.cache.mkdir(mode=0o700)
    desk.write("ww.root")
    desk.write("zz.root", px=9.0)
    return desk


def replaced(*pairs: tuple[str, str]) -> str:
    text = WORKFLOW
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


VARIABLES = WORKFLOW[WORKFLOW.index("          - {name: pt") : WORKFLOW.index("    - id: Select")]
COUNT = WORKFLOW[WORKFLOW.index("    - id: Count") :]
SCALED = WORKFLOW[WORKFLOW.index("    - id: Scaled") : WORKFLOW.index("    - id: Count")]
MORE = """\
    - id: More
      op: hep.define
      from: events
      params: {variables: [{name: extra, expr: "py ** 3"}]}
    - {id: Extra, op: hep.hist, from: More, params: {axes: [{name: e, source: extra, type: bool}]}}
""".replace("type: bool", "type: regular, bins: {low: 0, high: 1, nbins: 2}")

SAME = {
    "comments and blank lines": "# a comment\n\n" + WORKFLOW.replace("\n", "  # why\n\n", 1),
    "another layout": replaced(
        ("{name: ww, files: [ww.root], xs: 2.5}", "name: ww\n      files:\n        - ww.root\n      xs: 2.50"),
    ),
    "layout of formulas": replaced(('"hypot(px, py)"', '"( hypot( px ,py ) )"'), ("w * 2", "(w) * 2")),
    "another spelling of a number": replaced(("w * 2", "w * 0x2")),
    "a number written otherwise": replaced(("low: 0, high: 100, nbins: 10", "low: 0.0, high: 1.0e2, nbins: 10")),
    "the name of a variable": replaced(
        ("name: pt, expr", "name: momentum, expr"),
        ('"pt * dataset_xs"', '"momentum * dataset_xs"'),
        ('"pt > CUT"', '"momentum > CUT"'),
        ("source: pt,", "source: momentum,"),
    ),
    "the name of a constant": replaced(("CUT: 20", "LIMIT: 20"), ("pt > CUT", "pt > LIMIT")),
    "a constant in place of its name": replaced(("pt > CUT", "pt > 20")),
    "a definition put in its place": replaced(("source: scaled", 'source: "hypot(px, py) * dataset_xs"')),
    "an unused definition": replaced(("px - 7", "px - 8")),
    "an unused constant": replaced(("UNUSED: 1", "UNUSED: 2")),
    "an unused fact of the dataset": replaced(("xs: 2.5", "xs: 2.5, year: 2016")),
    "the order of definitions": replaced(
        (VARIABLES, "".join(VARIABLES.splitlines(keepends=True)[n] for n in (1, 0, 2)))
    ),
    "the id of a stage that leaves nothing": replaced(("id: Vars", "id: Definitions")),
    "the order of stages": replaced((COUNT, ""), ("    - id: Vars", COUNT + "    - id: Vars")).replace(
        "    - id: Vars\n", "    - id: Vars\n      from: events\n"
    ),
    "another stage": WORKFLOW + MORE,
    "the language's version": replaced(('version: "1.0"', 'version: "1.1"')),
    "the name of the analysis": WORKFLOW.replace(
        'version: "1.0"', 'version: "1.1"\nworkflow: {name: other, version: 3}'
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_no_key_depends_on(what: str, desk: Desk) -> None:
    before, after = desk.keys(), desk.keys(SAME[what])
    assert after.changed_parts(before) - {"Extra"} == set()
    assert after.changed_products(before) - {"Extra"} == set()


def test_no_key_depends_on_where_things_are(desk: Desk, tmp_path: Path) -> None:
    before = desk.keys()
    moved = Desk(Path(shutil.copytree(desk.directory, tmp_path / "elsewhere")), desk.cache)
    (moved.directory / "data").mkdir()
    (moved.directory / "ww.root").rename(moved.directory / "data" / "renamed.root")
    after = moved.keys(replaced(("[ww.root]", "[data/renamed.root]")), name="other.yaml")
    assert (after.parts, after.products) == (before.parts, before.products)


TEXTS = {
    "the label of an axis": (replaced(("name: pt, source: pt,", "name: pt, label: pT, source: pt,")), {"Pt"}),
    "the name of an axis": (replaced(("name: pt, source: pt,", "name: momentum, source: pt,")), {"Pt"}),
    "the label of a cut": (replaced(("label: hard", "label: harder")), {"Select"}),
    "the name of a group": (replaced(("good:", "better:")), {"Select"}),
    "the name of the dataset axis": (replaced(("dataset_axis: true", "dataset_axis: {name: sample}")), {"Count"}),
    "the name of a dataset": (replaced(("name: ww", "name: WW")), ALL),
    "the order of datasets": (
        replaced(("    - {name: ww, files: [ww.root], xs: 2.5}\n", "")).replace(
            "xs: 1.5}\n", "xs: 1.5}\n    - {name: ww, files: [ww.root], xs: 2.5}\n"
        ),
        ALL,
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_only_products_depend_on(what: str, desk: Desk) -> None:
    text, products = TEXTS[what]
    before, after = desk.keys(), desk.keys(text)
    assert after.changed_products(before) == products
    assert sorted(after.parts.values()) == sorted(before.parts.values())


CHANGES = {
    "a bin edge": (
        replaced(("source: pt, type: regular, bins: {low: 0", "source: pt, type: regular, bins: {low: 1")),
        {"Pt"},
    ),
    "the number of bins": (
        replaced(
            (
                "source: scaled, type: regular, bins: {low: 0, high: 100, nbins: 10",
                "source: scaled, type: regular, bins: {low: 0, high: 100, nbins: 11",
            )
        ),
        {"Scaled"},
    ),
    "a bin of an int axis": (replaced(("[1, 2, 3]", "[1, 2, 4]")), {"Count"}),
    "an axis that grows": (replaced((", bins: [1, 2, 3]", "")), {"Count"}),
    "a constant that is used": (replaced(("CUT: 20", "CUT: 21")), {"Select", "Pt", "Scaled"}),
    "a cut": (replaced(("n >= 2", "n > 2")), {"Select", "Pt", "Scaled"}),
    "the weight of a cutflow": (replaced(("weight_expr: w}", "weight_expr: w * w}")), {"Select"}),
    "the weight of a histogram": (replaced(("w * 2", "w * 3")), {"Pt"}),
    "no weight": (replaced(("        weight_expr: w * 2\n", "")), {"Pt"}),
    "the order of operations": (replaced(("w * 2", "2 * w")), {"Pt"}),
    "a definition that others use": (replaced(("hypot(px, py)", "hypot(py, px)")), {"Select", "Pt", "Scaled"}),
    "a final cast": (replaced(('"hypot(px, py)"', '"hypot(px, py)", dtype: float32')), {"Select", "Pt", "Scaled"}),
    "the filter": (replaced(("weight_expr: w}", "weight_expr: w, filter: none}")), {"Pt", "Scaled"}),
    "where a stage reads from": (replaced(("from: events", "from: Select")), {"Count"}),
    "the range of entries": (replaced(("tree: events}", "tree: events, stop: 5}")), ALL),
}


@pytest.mark.parametrize("what", CHANGES)
def test_exactly_these_stages_depend_on(what: str, desk: Desk) -> None:
    text, stages = CHANGES[what]
    before, after = desk.keys(), desk.keys(text)
    assert after.changed_parts(before) == stages
    assert after.changed_products(before) == stages


def test_a_number_of_one_dataset_changes_its_parts_only(desk: Desk) -> None:
    before, after = desk.keys(), desk.keys(replaced(("xs: 1.5", "xs: 1.75")))
    assert after.changed_parts(before, "ww") == set()
    assert after.changed_parts(before, "zz") == {"Scaled"}
    assert after.changed_products(before) == {"Scaled"}


def test_a_byte_of_one_file_changes_its_parts_only(desk: Desk) -> None:
    before = desk.keys()
    path = desk.directory / "zz.root"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    after = desk.keys()
    assert after.changed_parts(before, "ww") == set()
    assert after.changed_parts(before, "zz") == ALL
    assert after.changed_products(before) == ALL


def test_all_keys_depend_on_the_version_of_the_tool(desk: Desk) -> None:
    before, after = desk.keys(), desk.keys(version="2")
    assert set(before.parts.values()).isdisjoint(after.parts.values())
    assert set(before.products.values()).isdisjoint(after.products.values())


def test_products_without_parts_depend_on_the_version_too(desk: Desk) -> None:
    desk.write("ww.root", events=0)
    desk.write("zz.root", events=0)
    before, after = desk.keys(), desk.keys(version="2")
    assert before.parts == {}
    assert after.changed_products(before) == ALL


def test_a_dataset_without_events_has_rows_in_the_products(desk: Desk) -> None:
    desk.write("none.root", events=0)
    more = "    - {name: none, files: [none.root], xs: 1}\nsources"
    before, after = desk.keys(), desk.keys(replaced(("sources", more)))
    assert after.parts == before.parts
    assert after.changed_products(before) == ALL


def test_all_keys_depend_on_the_tree(desk: Desk) -> None:
    """Two trees of one file have the same bytes around them, and entries of their own."""
    with uproot.update(desk.directory / "ww.root") as file:
        file.mktree("other", {"px": "float64", "py": "float64", "w": "float64", "n": "int32"})
        file["other"].extend({name: np.zeros(6) for name in ("px", "py", "w")} | {"n": np.zeros(6, np.int32)})
    text = replaced(("    - {name: zz, files: [zz.root], xs: 1.5}\n", ""))
    before, after = desk.keys(text), desk.keys(text.replace("tree: events}", "tree: other}"))
    assert after.changed_parts(before) == ALL


def test_partitions_have_keys_of_their_own(desk: Desk) -> None:
    keys = desk.keys(chunk=4)
    assert len(set(keys.parts.values())) == len(keys.parts) == len(ALL) * 2 * 2
    assert set(keys.parts.values()).isdisjoint(desk.keys(chunk=100).parts.values())


def test_the_same_bytes_in_two_datasets_are_computed_once(desk: Desk) -> None:
    shutil.copy(desk.directory / "ww.root", desk.directory / "zz.root")
    keys = desk.keys(replaced(("xs: 1.5", "xs: 2.5")))
    for stage, dataset, start in keys.parts:
        other = "zz" if dataset == "ww" else "ww"
        assert keys.parts[stage, dataset, start] == keys.parts[stage, other, start]


def test_the_type_of_a_branch_is_part_of_what_is_computed(desk: Desk) -> None:
    """Equal bytes have equal types, so this only matters within one file; the program's text has them anyway."""
    workflow, _ = build(load(_written(desk)))
    settings = planner.Settings(
        chunk=9, version="1", cache=desk.cache, working_directory=desk.directory, digests="none", workers=1
    )
    plan, _ = planner.make_plan(workflow, operations(workflow, version="1"), settings)
    (count,) = {str(fill.text) for step in plan.passes for fill in step.variant.fills if fill.node.id == "Count"}
    assert "int64" in count
    assert "float64" not in count


def _written(desk: Desk) -> Path:
    path = desk.directory / "workflow.yaml"
    path.write_text(WORKFLOW)
    return path


def test_nothing_is_hashed_for_a_workflow_that_can_not_run(desk: Desk) -> None:
    path = desk.directory / "workflow.yaml"
    path.write_text(replaced(("n >= 2", "m >= 2")))
    workflow, _ = build(load(path))
    settings = planner.Settings(
        chunk=9, version="1", cache=desk.cache, working_directory=desk.directory, digests="read", workers=1
    )
    plan, faults = planner.make_plan(workflow, operations(workflow, version="1"), settings)
    assert [fault.message for fault in faults] == ["unknown name 'm'"]
    assert {file.sha256 for file in plan.inputs} == {""}


def test_remembered_digests_notice_a_changed_file(desk: Desk) -> None:
    """``run`` trusts size, time and inode; a file that was written again has another time."""
    read = _digests_by(desk, "read")
    assert _digests_by(desk, "remembered") == read
    desk.write("ww.root", px=2.0)
    assert _digests_by(desk, "remembered")["ww.root"] != read["ww.root"]
    assert _digests_by(desk, "remembered")["zz.root"] == read["zz.root"]


def _digests_by(desk: Desk, how: planner.Digests) -> dict[str, str]:
    workflow, _ = build(load(_written(desk)))
    settings = planner.Settings(
        chunk=9, version="1", cache=desk.cache, working_directory=desk.directory, digests=how, workers=2
    )
    plan, _ = planner.make_plan(workflow, operations(workflow, version="1"), settings)
    return {file.name: file.sha256 for file in plan.inputs}
