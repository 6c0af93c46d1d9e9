"""Documents of other forms become documents of the newest version, and nothing is lost in silence."""

import textwrap
from pathlib import Path

import pytest
import yaml

from fasthep_archive.archive import migrate
from fasthep_archive.errors import UsageError, WorkflowError
from fasthep_archive.workflow.migration import Migrated

DATASETS = """\
defaults: {eventtype: mc, tree: events}
datasets:
  - {name: data, eventtype: data, files: ["{prefix}a.root"], prefix: [{here: ./}, {there: far/}]}
  - {name: ww, group: diboson, nevents: 5, xs: 1.5, files: [b.root, c.root]}
"""


def migrated(folder: Path, sequence: str, datasets: str = DATASETS, **options: str) -> Migrated:
    (folder / "sequence.yml").write_text(textwrap.dedent(sequence))
    (folder / "datasets.yml").write_text(datasets)
    return migrate(folder / "sequence.yml", datasets=folder / "datasets.yml", prefix=options.get("prefix"))


def stages(folder: Path, sequence: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load(migrated(folder, sequence).text)["analysis"]["stages"]
    return found


def one(folder: Path, name: str, kind: str, section: str) -> dict[str, object]:
    text = f"stages:\n  - {name}: {kind}\n{name}:\n{textwrap.indent(textwrap.dedent(section), '  ')}"
    (found,) = stages(folder, text)
    return found


def test_datasets_keep_what_they_say_and_take_a_prefix(tmp_path: Path) -> None:
    document = yaml.safe_load(migrated(tmp_path, "stages: []\n").text)
    assert document["data"]["datasets"] == [
        {"name": "data", "eventtype": "data", "files": ["./a.root"]},
        {"name": "ww", "eventtype": "mc", "group": "diboson", "nevents": 5, "files": ["b.root", "c.root"], "xs": 1.5},
    ]
    assert document["sources"] == {"events": {"kind": "root_tree", "tree": "events"}}


def test_a_prefix_is_chosen_by_its_name(tmp_path: Path) -> None:
    document = yaml.safe_load(migrated(tmp_path, "stages: []\n", prefix="there").text)
    assert document["data"]["datasets"][0]["files"] == ["far/a.root"]


def test_an_unknown_prefix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dataset 'data' has no prefix 'xyz'") as error:
        migrated(tmp_path, "stages: []\n", prefix="xyz")
    assert error.value.hint == "it has here, there"


def test_imported_datasets_come_first_and_take_defaults(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text("datasets: [{name: early, files: [e.root]}]\n")
    importing = (
        'import: ["{this_dir}/other.yml"]\ndefaults: {eventtype: data}\ndatasets: [{name: late, files: [l.root]}]\n'
    )
    document = yaml.safe_load(migrated(tmp_path, "stages: []\n", importing).text)
    assert [(item["name"], item["eventtype"]) for item in document["data"]["datasets"]] == [
        ("early", "data"),
        ("late", "data"),
    ]


def test_datasets_of_different_trees_are_refused(tmp_path: Path) -> None:
    different = "datasets: [{name: a, tree: x, files: [a.root]}, {name: b, tree: y, files: [b.root]}]\n"
    with pytest.raises(WorkflowError, match="different trees, 'x' and 'y'"):
        migrated(tmp_path, "stages: []\n", different)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("x: a + b", "a + b"),
        ("x: {formula: a, reduce: 1}", "nth(a, 1, default=nan)"),
        ("x: {formula: a > 2, reduce: 0, fill_missing: false}", "nth(a > 2, 0, default=False)"),
        ("x: {formula: a, reduce: -1, fill_missing: 3}", "nth(a, -1, default=3.0)"),
        ("x: {formula: a, reduce: counts}", "count(a)"),
        ("x: {formula: a, reduce: max, mask: b > 1}", "max((a)[b > 1])"),
    ],
)
def test_definitions(tmp_path: Path, written: str, expected: str) -> None:
    found = one(tmp_path, "Vars", "fast_carpenter.Define", f"variables: [{{{written}}}]")
    assert found == {"id": "Vars", "op": "hep.define", "params": {"variables": [{"name": "x", "expr": expected}]}}


def test_a_selection_keeps_its_nesting_and_weights_simulation_only(tmp_path: Path) -> None:
    section = "selection: {All: [a > 1, {Any: [b, {All: [c, d]}]}, {reduce: any, formula: e}]}\nweights: W\n"
    found = one(tmp_path, "Cuts", "fast_carpenter.CutFlow", section)
    assert found["params"] == {
        "selection": {
            "selection": ["a > 1", {"Any": ["b", {"All": ["c", "d"]}]}, {"reduce": {"op": "any", "over": "e"}}]
        },
        "weight_expr": "1.0 if dataset_is_data else W",
    }


def test_every_further_weight_has_a_cutflow_that_selects_nothing(tmp_path: Path) -> None:
    sequence = """\
    stages: [{Cuts: fast_carpenter.CutFlow}]
    Cuts: {selection: a > 1, weights: {nominal: W, up: U}}
    """
    first, second = stages(tmp_path, sequence)
    assert (first["id"], first["params"]["filter"]) == ("Cuts_up", "none")  # type: ignore[index]
    assert (second["id"], "filter" in second["params"]) == ("Cuts", False)  # type: ignore[operator]


def test_a_phase_space_becomes_a_column(tmp_path: Path) -> None:
    found = one(tmp_path, "Region", "fast_carpenter.SelectPhaseSpace", "selection: a > 1\nregion_name: SR\n")
    assert found["params"] == {
        "selection": {"selection": ["a > 1"]},
        "filter": "none",
        "emit_flags": False,
        "output_field": "SR",
    }


def test_binnings_become_axes(tmp_path: Path) -> None:
    section = (
        "binning: [{in: a.b, bins: {low: 0, high: 4, nbins: 2}}, {in: c * 2, out: twice, bins: {edges: [0, 1.5]}}]\n"
    )
    found = one(tmp_path, "Binned", "fast_carpenter.summary.BinnedDataframe", section + "dataset_col: false\n")
    assert found["params"] == {
        "axes": [
            {"name": "a.b", "source": "a.b", "type": "regular", "bins": {"low": 0, "high": 4, "nbins": 2}},
            {"name": "twice", "source": "c * 2", "type": "variable", "bins": {"edges": [0, 1.5]}},
        ]
    }


def test_systematic_weights_are_products_with_one_factor_varied(tmp_path: Path) -> None:
    section = "weights: {scale: {nominal: S, up: S_up, down: S_down}, trigger: T}\n"
    found = one(tmp_path, "Weights", "fast_carpenter.SystematicWeights", section)
    assert found["applies_to"] == {"eventtype": "mc"}
    assert found["params"] == {
        "variables": [
            {"name": "weight_nominal", "expr": "(S) * (T)"},
            {"name": "weight_scale_up", "expr": "(S_up) * (T)"},
            {"name": "weight_scale_down", "expr": "(S_down) * (T)"},
        ]
    }


def test_comments_above_a_section_stay_above_its_stage(tmp_path: Path) -> None:
    sequence = "stages: [{A: fast_carpenter.Define}]\n\n# Why A.\n#  - a list\nA: {variables: [{x: '1'}]}\n"
    text = migrated(tmp_path, sequence).text
    assert "    # Why A.\n    #  - a list\n    - {id: A," in text


def test_no_comment_is_lost(tmp_path: Path) -> None:
    sequence = """\
# The analysis of 2019.
# Licence: CC0

stages:
  - A: fast_carpenter.Define  # first
  - B: mine.Stage
  - C: fast_carpenter.Define
# Why A.
A:
  variables:
    - x: '1'  # one
    # two follows
    - y: "'#2'"
B: {x: 1}  # what was B
C: {variables: [{z: '3'}]}
D: {y: 1}  # unused
"""
    found = migrated(tmp_path, sequence)
    above = ("The analysis of 2019.", "Licence: CC0", "first", "Why A.", "one", "two follows")
    assert "".join(f"    # {line}\n" for line in above) + "    - id: A" in found.text
    assert "    # what was B\n    - {id: C," in found.text
    assert any("the comment 'unused' was left out" in note for note in found.notes)


def test_imported_stages_stand_where_they_were_imported(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("stages: [{B: fast_carpenter.Define}]\nB: {variables: [{y: '2'}]}\n")
    sequence = """\
    stages: [{A: fast_carpenter.Define}, {IMPORT: "{this_dir}/more.yml"}, {C: fast_carpenter.Define}]
    A: {variables: [{x: "1"}]}
    C: {variables: [{z: "3"}]}
    """
    assert [stage["id"] for stage in stages(tmp_path, sequence)] == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("sequence", "note"),
    [
        ("stages: [{A: mine.Stage}]\nA: {x: 1}\n", ":2:1: stage 'A': mine.Stage has no counterpart and was left out"),
        (
            "stages: [{A: fast_carpenter.Define}]\nA: {variables: [], speed: 1}\n",
            ":2:1: stage 'A': Define takes no argument 'speed', which was left out",
        ),
        (
            "stages: [{A: fast_carpenter.Define}]\nA: {variables: [{x: a.sum()}]}\n",
            ":2:1: stage 'A': 'a.sum()' is no formula here: ",
        ),
        (
            "stages: [{A: fast_carpenter.Define}]\nA: {variables: [{x: a / b}]}\n",
            "in 'a / b', / gave whole numbers for whole numbers; here it does not: // would",
        ),
        (
            "stages: [{A: fast_carpenter.BinnedDataframe}]\nA: {binning: [{in: n}]}\n",
            "'n' was binned by its values: type is int here; write category if they are texts",
        ),
    ],
)
def test_what_can_not_be_said_is_noted_and_stands_at_the_top(tmp_path: Path, sequence: str, note: str) -> None:
    found = migrated(tmp_path, sequence)
    assert any(note in text for text in found.notes), found.notes
    head = " ".join(line.removeprefix("#").strip() for line in found.text.split("\n\n")[0].splitlines())
    assert note in head


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("stages: [A]\n", "sequence.yml:1:10: a stage is a mapping of its name to its class"),
        (
            "stages: [{A: fast_carpenter.Define}]\nA: 3\n",
            "sequence.yml:2:1: the section of stage 'A' is no mapping of arguments",
        ),
        ('stages: [{IMPORT: "{this_dir}/sequence.yml"}]\n', "imports itself"),
    ],
)
def test_a_broken_sequence_is_refused_with_its_place(tmp_path: Path, sequence: str, message: str) -> None:
    with pytest.raises(WorkflowError) as error:
        migrated(tmp_path, sequence)
    assert message in str(error.value)


OURS = """\
# An analysis.
version: 1.0   # of the language
data: {datasets: [{name: d, files: [a.root]}]}
analysis:
  stages:
    # Counts everything.
    - {id: Count, op: hep.hist, params: {dataset_axis: true, axes: []}}
"""


def test_an_older_document_of_ours_changes_its_version_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(OURS)
    assert migrate(tmp_path / "workflow.yaml").text == OURS.replace("version: 1.0 ", "version: 1.1 ")


def test_a_version_that_nobody_knows_becomes_the_newest(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(OURS.replace("version: 1.0 ", "version: 4.0 "))
    assert "version: 1.1   # of the language" in migrate(tmp_path / "workflow.yaml").text


def test_a_document_without_version_gets_one(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(OURS.replace("version: 1.0   # of the language\n", ""))
    assert migrate(tmp_path / "workflow.yaml").text.startswith("version: 1.1\n# An analysis.\n")


def test_a_document_with_faults_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(OURS.replace("hep.hist", "hep.histo"))
    with pytest.raises(WorkflowError, match=r"hep\.histo"):
        migrate(tmp_path / "workflow.yaml")


def test_datasets_belong_to_a_sequence_only(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(OURS)
    with pytest.raises(UsageError, match="is no fast-carpenter sequence"):
        migrate(tmp_path / "workflow.yaml", datasets=tmp_path / "datasets.yml")
