"""Parameters of the operations on columns: long forms, tables and schemas in files, and every fault of theirs."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from lowered import canonical, document

from fasthep_archive import digest
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import Workflow, build, resolved

DATA = {"datasets": [{"name": "mc", "files": ["mc.root"]}]}
AXES = [{"name": "n", "source": "n", "type": "int"}]


def faulty(op: str, params: object) -> list[tuple[str, str | None]]:
    _, faults = build(from_json(document(op, params), name="test"))
    return [(fault.message, fault.hint) for fault in faults]


def written(directory: Path, op: str, params: object) -> tuple[Workflow, list[str]]:
    """Return the workflow of a document in ``directory``, and its faults as texts with their places."""
    path = directory / "workflow.json.yaml"
    path.write_text(json.dumps(document(op, params), indent=1))
    workflow, faults = build(load(path))
    return workflow, [f"{fault.where.line if fault.where else 0}: {fault.message}" for fault in faults]


LOOKUP = {"path": "sf.csv", "variable": "MET", "values": {"nominal": "sf"}, "outputs": {"nominal": "w"}}

LONG = {
    "hep.project_fields": ({"aliases": {"a": "b"}}, {"aliases": {"a": "b"}, "include_existing": True}),
    "hep.merge_fields": (None, {"on_conflict": "keep_first"}),
    "hep.zip_join": ({"inputs": [{"name": "a", "prefix": "b"}]}, {"inputs": [{"name": "a", "prefix": "b"}]}),
    "hep.selection.flag": ({"selection": "n > 1"}, {"selection": ["n > 1"], "output": "S"}),
    "hep.choose": (
        {"cases": [{"when": "n > 1", "values": {"x": 1}}], "on_no_match": "default", "default": {"x": "n"}},
        {
            "cases": [{"name": "case[0]", "when": "n > 1", "values": {"x": "1"}}],
            "on_multiple": "error",
            "on_no_match": "default",
            "default": {"x": "n"},
        },
    ),
    "hep.align_schema": (
        {"schema": {"fields": {"a": None, "b": {"source": "c", "dtype": "int8"}}}, "drop": "x*"},
        {
            "schema": {"version": 1, "fields": {"a": {"source": "a"}, "b": {"source": "c", "dtype": "int8"}}},
            "missing": "error",
            "extra": "keep",
            "drop": ["x*"],
        },
    ),
    "hep.weights.pdf_envelope": (
        {"inputs": "w", "outputs": {"up": "u"}},
        {"inputs": "w", "outputs": {"up": "u"}},
    ),
    "hep.weights.lookup_csv": (
        {**LOOKUP, "bins": {"column": "MET"}, "table": {"MET_min": [0.0], "MET_max": [1.0], "sf": [0.5]}},
        {
            **LOOKUP,
            "bins": {"lower": "MET_min", "upper": "MET_max"},
            "table": {"MET_min": [0.0], "MET_max": [1.0], "sf": [0.5]},
        },
    ),
    "hep.hist": (
        {"axes": AXES, "variations": {"weights": {"nominal": "w", "up": 2}, "apply_to": {"eventtype": "mc"}}},
        {
            "axes": AXES,
            "storage": "weighted",
            "variations": {
                "axis": "variation",
                "weights": [{"name": "nominal", "expr": "w"}, {"name": "up", "expr": "2"}],
                "apply_to": {"eventtype": "mc"},
            },
        },
    ),
    "archive.values": (
        {"values": [{"name": "a", "yield": {"of": "x", "dataset": "mc"}}, {"name": "b", "expr": "a / 2"}]},
        {
            "values": [
                {"name": "a", "yield": {"of": "x", "dataset": ["mc"], "what": "sumw"}},
                {"name": "b", "expr": "a / 2"},
            ],
            "non_finite": "error",
        },
    ),
}


@pytest.mark.parametrize("op", LONG)
def test_parameters_have_one_long_form(op: str) -> None:
    short, long = LONG[op]
    assert digest.of_json(canonical(op, short)) == digest.of_json(long)


@pytest.mark.parametrize("op", LONG)
def test_the_long_form_is_read_back(op: str) -> None:
    workflow, faults = build(from_json(document(op, LONG[op][0]), name="test"))
    again, others = build(from_json(resolved(workflow), name="test"))
    assert (faults, others) == ((), ())
    assert again.stages == workflow.stages


@pytest.mark.parametrize(
    ("op", "params", "message", "hint"),
    [
        ("hep.merge_fields", {"on_conflict": "first"}, "analysis.stages[0].params.on_conflict must be", None),
        ("hep.project_fields", {"aliases": {}}, "analysis.stages[0].params.aliases is empty", "write aliases"),
        ("hep.selection.flag", {"selection": ["x"], "legacy": {}}, "unknown key 'legacy'", "it means nothing: leave it out"),
        ("hep.zip_join", {"inputs": [{"name": "a", "prefix": "p"}, {"name": "b", "prefix": "p"}]}, "prefix 'p' is there twice", None),
        ("hep.choose", {"cases": [{"when": "x", "values": {"a": 1}}], "on_no_match": "default"}, "on_no_match: default needs a default", "add default"),
        ("hep.choose", {"cases": [{"when": "x", "values": {"a": 1}}, {"when": "y", "values": {"b": 1}}]}, "the first case has no value for 'b'", "all cases"),
        ("hep.align_schema", {"schema": {"fields": {"a": None}}, "keep": ["x"], "drop": ["y"]}, "'keep' and 'drop' exclude each other", "keep one of them"),
        ("hep.align_schema", {"schema": {"fields": {"a": {"dtype": "int7"}}}}, "unknown dtype 'int7'", "did you mean"),
        ("hep.weights.lookup_csv", {**LOOKUP, "outputs": {"nominall": "w"}, "table": {"pt_min": [0], "pt_max": [1], "sf": [1]}}, "'nominall' is not among the values", "did you mean 'nominal'?"),
        ("hep.weights.lookup_csv", {**LOOKUP, "table": {"pt_min": [0, 2], "pt_max": [1, 2], "sf": [1, 1]}}, "row 3: the bin from 2 to 2 holds nothing", None),
        ("hep.weights.lookup_csv", {**LOOKUP, "table": {"pt_min": [0, 2], "pt_max": [1], "sf": [1, 1]}}, "the table needs columns of one length", None),
        ("hep.hist", {"axes": AXES, "weight_expr": "w", "variations": {"weights": {"a": "w"}}}, "a histogram with variations has its weights there", "write it into each"),
        ("hep.hist", {"axes": AXES, "storage": "count", "variations": {"weights": {"a": "w"}}}, "a histogram that counts has no use for variations", "write storage: weighted"),
        ("hep.hist", {"axes": AXES, "variations": {"axis": "n", "weights": {"a": "w"}}}, "two axes are named 'n'", "axes need different names"),
        ("hep.hist", {"axes": AXES, "variations": {"weights": {"a": "w"}, "apply_to": {"eventtype": "mc"}}}, "datasets that the variations are not for fill 'nominal'", "add weights: {nominal: ...}"),
        ("hep.hist", {"axes": AXES, "variations": {"weights": [{"name": "a", "expr": "w"}, {"name": "a", "expr": "v"}]}}, "weight 'a' is there twice", None),
    ],
)  # fmt: skip
def test_faults_of_parameters(op: str, params: Mapping, message: str, hint: str | None) -> None:
    found = faulty(op, params)
    assert [said[: len(message)] for said, _ in found][:1] == [message]
    assert hint is None or (found[0][1] or "").startswith(hint)


def test_a_flag_is_called_by_a_name_that_formulas_can_use() -> None:
    stages = [{"id": "good-event", "op": "hep.selection.flag", "params": {"selection": ["x"]}}]
    _, faults = build(from_json({"version": "1.1", "data": DATA, "analysis": {"stages": stages}}, name="test"))
    assert [fault.message for fault in faults] == [
        "the id 'good-event' is no name that formulas can use, and the flag is called by it"
    ]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_table_becomes_part_of_the_parameters(tmp_path: Path) -> None:
    (tmp_path / "sf.csv").write_text("\ufeffpt_min,pt_max,other,sf\r\n0, 20,x,0.9\r\n\r\n20,1e2,y,1\r\n")
    workflow, faults = written(tmp_path, "hep.weights.lookup_csv", LOOKUP)
    assert not faults
    assert workflow.stages[0].params["table"] == {"pt_min": [0.0, 20.0], "pt_max": [20.0, 100.0], "sf": [0.9, 1.0]}
    (tmp_path / "sf.csv").unlink()
    again, others = build(from_json(resolved(workflow), name="test"))
    assert not others
    assert again.stages == workflow.stages


def test_only_the_name_of_a_table_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "sf.csv").write_text("pt_min,pt_max,sf\n0,20,0.9\n")
    for path in ("tables/sf.csv", str(tmp_path / "tables" / "sf.csv")):
        workflow, faults = written(tmp_path, "hep.weights.lookup_csv", {**LOOKUP, "path": path})
        assert not faults
        assert workflow.stages[0].params["path"] == "sf.csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't read sf.csv: No such file or directory"),
        ("", "sf.csv has no column 'pt_min'"),
        ("pt_min,pt_max,SF\n0,1,2\n", "sf.csv has no column 'sf'"),
        ("pt_min,pt_max,sf\n", "sf.csv has 0 rows, and a table has 1 to 1000"),
        ("pt_min,pt_max,sf\n0,1,2\n1,2\n", "sf.csv, row 3: sf is '', not a finite number"),
        ("pt_min,pt_max,sf\n0,1,nan\n", "sf.csv, row 2: sf is 'nan', not a finite number"),
        ("pt_min,pt_max,sf\n1,0,2\n", "row 2: the bin from 1.0 to 0.0 holds nothing"),
        ('pt_min,pt_max,sf\n1,0,"2\n', "sf.csv is no CSV file: unexpected end of data"),
    ],
)
def test_a_table_that_can_not_be_used_is_reported(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "sf.csv").write_text(content)
    _, faults = written(tmp_path, "hep.weights.lookup_csv", LOOKUP)
    assert [fault.split(": ", 1)[1] for fault in faults] == [message]
    line = next(
        number
        for number, text in enumerate((tmp_path / "workflow.json.yaml").read_text().splitlines(), 1)
        if '"path"' in text
    )
    assert faults[0].startswith(f"{line}: ")


def test_a_schema_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("version: 1\nfields:\n  a:\n  b: {source: c, dtype: int8}\n")
    workflow, faults = written(tmp_path, "hep.align_schema", {"schema": "schema.yaml"})
    assert not faults
    assert workflow.stages[0].params["schema"] == {
        "version": 1,
        "fields": {"a": {"source": "a"}, "b": {"source": "c", "dtype": "int8"}},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fields: {}", "it has no fields"),
        ("version: 2\nfields: {a: }", "its version is 2"),
        ("field: {a: }", "unknown key 'field'"),
        ("fields: {a b: }", "'a b' is no name that formulas can use"),
        ("fields: {a: {from: b}}", "field 'a' is not {source: ..., dtype: ...}"),
        ("fields: {a: {source: 3}}", "the source of field 'a' is no name"),
        ("fields: {a: {dtype: int7}}", "field 'a' has the unknown dtype 'int7'"),
    ],
)
def test_a_schema_file_with_a_fault_is_reported(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(content)
    _, faults = written(tmp_path, "hep.align_schema", {"schema": "schema.yaml"})
    assert [fault.split(": ", 1)[1] for fault in faults] == [f"schema.yaml is no schema: {message}"]


def test_a_schema_file_that_is_missing_is_reported(tmp_path: Path) -> None:
    _, faults = written(tmp_path, "hep.align_schema", {"schema": "schema.yaml"})
    assert len(faults) == 1
    assert "schema.yaml" in faults[0]
