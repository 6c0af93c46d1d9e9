"""Bundles with code of the analysis: what they carry, what they show before they run, and what tells damage."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from command import Command, with_kernels
from resealing import resealed

import fasthep_archive
from fasthep_archive.archive import Packed, running
from fasthep_archive.bundle import layout
from fasthep_archive.bundle.consent import what_runs
from fasthep_archive.bundle.staging import stage
from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import BundleError, TaskError, WorkflowError
from fasthep_archive.verification.verdict import Level
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

WORKFLOW = """\
version: "1.1"
code: {path: analysis, files: ["*.sh"]}   # ours
data: {datasets: [{name: dy, eventtype: mc, files: ["DATA"]}]}
analysis:
  stages:
    - id: NJets
      op: hep.hist
      params: {axes: [{name: n, source: NJet, type: int}]}
    - id: Mean
      op: run.python
      needs: [NJets]
      params: {callable: "model:mean", returns: {values: [mean]}}
    - id: Count
      op: run.command
      params:
        inputs: {njets.json: NJets, mean.json: Mean}
        code: [count.sh]
        script: [./count.sh njets.json > count.json, cat mean.json]
        outputs: [count.json]
        values: {lines: {file: count.json, key: lines}}
"""
CODE = {
    "model.py": "import tools\n\ndef mean(data):\n    return {'mean': tools.mean(data['NJets'])}\n",
    "tools.py": "def mean(histogram):\n    return float(histogram.values().sum())\n",
    "unused.py": "raise SystemExit\n",
    "count.sh": '#!/bin/sh\nprintf \'{"lines": %d}\' "$(wc -l < "$1")"\n',
}


def written(folder: Path, data: Path, workflow: str = WORKFLOW, **code: str) -> Path:
    """Write an analysis below ``folder`` and return its document."""
    (folder / "analysis").mkdir(parents=True)
    for name, content in {**CODE, **code}.items():
        (folder / "analysis" / name).write_text(content)
    path = folder / "workflow.yaml"
    path.write_text(workflow.replace("DATA", str(data)))
    return path


@pytest.fixture(scope="module")
def packed(example: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("own")
    document = written(folder / "work", example / "data" / "dy.root")
    return fasthep_archive.pack(document, folder / "own.crate.zip", index=False, workers=1, cache=kernel_cache)


@pytest.fixture(scope="module")
def members(packed: Packed) -> Mapping[str, bytes]:
    with zipfile.ZipFile(packed.path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- what they carry --------------------------------------------------------------------------------------------------


def test_they_carry_the_closure_and_the_files_that_are_named(members: Mapping[str, bytes]) -> None:
    own = {name.removeprefix(layout.CODE): raw for name, raw in members.items() if name.startswith(layout.CODE)}
    assert own == {name: CODE[name].encode() for name in ("count.sh", "model.py", "tools.py")}


def test_the_code_is_part_of_the_identity(members: Mapping[str, bytes]) -> None:
    parts = json.loads(members[layout.SUMMARY])["parts"]
    assert parts["code"] == {name: of_bytes(CODE[name].encode()) for name in ("count.sh", "model.py", "tools.py")}


def test_the_document_says_where_the_code_is_and_keeps_its_comment(members: Mapping[str, bytes]) -> None:
    text = members["data/workflow/workflow.yaml"].decode()
    assert 'code: {path: ../code, files: ["*.sh"]}   # ours\n' in text


def test_the_unpacked_document_is_sound(packed: Packed, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(tmp_path)
    workflow, faults = build(load(tmp_path / "data" / "workflow" / "workflow.yaml"))
    assert faults == ()
    assert workflow.code is not None
    assert [*workflow.code.files] == ["count.sh", "model.py", "tools.py"]


def test_the_graph_has_the_source_code_and_the_tools_that_need_it(members: Mapping[str, bytes]) -> None:
    nodes = {node["@id"]: node for node in json.loads(members[layout.CRATE])["@graph"]}
    model = nodes["data/code/model.py"]
    assert model["@type"] == ["File", "SoftwareSourceCode"]
    assert nodes[model["programmingLanguage"]["@id"]]["name"] == "Python"
    (tool,) = (node for name, node in nodes.items() if name.endswith("#run.python/Mean"))
    needed = {entry["@id"] for entry in tool["softwareRequirements"]}
    assert {"data/code/model.py", "data/code/tools.py"} <= needed


@pytest.mark.slow
def test_the_graph_passes_the_validator(packed: Packed, crate_validator: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, str(crate_validator), str(tmp_path), "provenance-run-crate-0.5", "RECOMMENDED"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_inspect_lists_the_code(packed: Packed, command: Command) -> None:
    said = command("inspect", packed.path).stdout
    assert "Code of the analysis" in said
    assert of_bytes(CODE["tools.py"].encode())[:16] in said


def test_the_outputs_of_a_command_are_recorded(packed: Packed) -> None:
    kinds = {item.name: item.kind for item in packed.record.outputs if item.stage == "Count"}
    assert kinds == {
        "values/Count.json": "value",
        "files/Count/count.json": "value",
        "logs/Count.log": "log",
        "logs/Count.access.log": "log",
    }


# --- replay -----------------------------------------------------------------------------------------------------------


def test_a_replay_gives_the_same_from_the_bundle_alone(packed: Packed, kernel_cache: Path, tmp_path: Path) -> None:
    replayed = fasthep_archive.replay(
        packed.path, tmp_path / "again", consent=lambda _: True, env="current", workers=1, cache=kernel_cache
    )
    levels = {verdict.output: (verdict.level, verdict.worth) for verdict in replayed.report.verdicts}
    assert {level for level, _ in levels.values()} == {Level.IDENTICAL}
    assert levels["histograms/NJets.json"][1] == "proof"
    assert {levels[name][1] for name in ("values/Mean.json", "values/Count.json", "files/Count/count.json")} == {
        "match"
    }


def test_what_would_run_is_told_before_anybody_agrees(members: Mapping[str, bytes]) -> None:
    code = [name for name in members if name.startswith(layout.CODE)]
    first, *lines = what_runs(json.loads(members[layout.RESOLVED]), code)
    assert "3 files of its own code" in first
    assert lines == [
        "  stage Mean calls model:mean",
        "  stage Count runs with sh:",
        "    ./count.sh njets.json > count.json",
        "    cat mean.json",
    ]


@pytest.mark.parametrize("document", [None, [], {"analysis": 1}, {"analysis": {"stages": [1, {"params": []}]}}])
def test_what_is_no_workflow_runs_nothing(document: object) -> None:
    (line,) = what_runs(document, [])
    assert "no code of its own" in line


@pytest.mark.parametrize("own", [False, True], ids=["command", "bundle"])
def test_a_terminal_is_shown_what_would_run_and_no_means_no(
    packed: Packed, command: Command, tmp_path: Path, *, own: bool
) -> None:
    """The command has a terminal of its own: ``script`` of util-linux makes one."""
    program = (
        f"{sys.executable} {packed.path} replay" if own else f"{sys.executable} -m fasthep_archive replay {packed.path}"
    )
    done = subprocess.run(
        ["script", "-qefc", f"{program} -o {tmp_path / 'again'}", "/dev/null"],
        input="n\n",
        capture_output=True,
        text=True,
        check=False,
        env=command.environment({}),
    )
    assert "stage Mean calls model:mean" in done.stdout
    assert done.stdout.index("./count.sh njets.json") < done.stdout.index("Run it on this machine?")
    assert "nothing was run" in done.stdout
    assert not (tmp_path / "again").exists()


def test_tampered_code_is_found_before_it_runs(
    packed: Packed, members: Mapping[str, bytes], kernel_cache: Path, tmp_path: Path
) -> None:
    name = layout.CODE + "tools.py"
    path = tmp_path / "damaged.crate.zip"
    evil = members[name].replace(b"float(", b"print(")
    path.write_bytes(packed.path.read_bytes().replace(members[name], evil))
    assert any(name in str(problem) for problem in fasthep_archive.verify(path).problems)
    with pytest.raises(BundleError, match=r"tools\.py"):
        fasthep_archive.replay(path, tmp_path / "again", consent=lambda _: True, cache=kernel_cache)
    assert not (tmp_path / "again").exists()


def test_diff_names_the_function_that_differs(packed: Packed, members: Mapping[str, bytes], tmp_path: Path) -> None:
    name = layout.CODE + "tools.py"
    changed = members[name].replace(b".sum()", b".sum() + 1") + b"\n\ndef other():\n    return 1\n"
    other = resealed(packed.path, tmp_path / "other.crate.zip", files={name: changed})
    found = fasthep_archive.diff(packed.path, other)
    assert [(each.what, each.kind) for each in (*found.code, *found.functions)] == [
        ("tools.py", "changed"),
        ("function mean in tools.py", "changed"),
        ("function other in tools.py", "added"),
    ]
    assert found.sentence == "not the same: 1 file of code"


def test_nothing_of_it_is_imported_by_who_reads_it(packed: Packed) -> None:
    fasthep_archive.verify(packed.path)
    fasthep_archive.diff(packed.path, packed.path)
    assert not {"model", "tools", "unused"} & sys.modules.keys()


# --- packing ----------------------------------------------------------------------------------------------------------


def test_secrets_in_code_are_refused_with_their_line(example: Path, kernel_cache: Path, tmp_path: Path) -> None:
    token = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
    tools = f"{CODE['tools.py']}\nTOKEN = '{token}'\n"
    document = written(tmp_path / "work", example / "data" / "dy.root", **{"tools.py": tools})
    with pytest.raises(WorkflowError) as caught:
        fasthep_archive.pack(document, tmp_path / "x.crate.zip", index=False, cache=kernel_cache)
    (fault,) = caught.value.faults
    assert fault.where is not None
    assert (fault.where.file, fault.where.line) == (str(tmp_path / "work" / "analysis" / "tools.py"), 4)
    assert not (tmp_path / "x.crate.zip").exists()


def test_a_document_without_the_key_gets_one(example: Path, tmp_path: Path) -> None:
    """Its modules were beside it, and are not in the bundle."""
    text = "".join(line for line in WORKFLOW.splitlines(keepends=True) if "code:" not in line)
    text = text[: text.index("    - id: Count")]
    document = written(tmp_path / "work", example / "data" / "dy.root", text)
    for name in ("model.py", "tools.py"):
        (tmp_path / "work" / "analysis" / name).rename(tmp_path / "work" / name)
    workflow, faults = build(load(document))
    assert faults == ()
    staged = stage(workflow, {}, tmp_path / "staged")
    assert staged.path(staged.main).read_text().endswith("\n\ncode: {path: ../code}\n")
    again, faults = build(load(staged.path(staged.main)))
    assert (again.code, faults) == (workflow.code, ())


def test_a_document_in_json_gets_one_too(example: Path, tmp_path: Path) -> None:
    text = WORKFLOW[: WORKFLOW.index("    - id: Count")].replace("DATA", str(example / "data" / "dy.root"))
    import yaml

    plain = yaml.safe_load(text)
    del plain["code"]
    (tmp_path / "model.py").write_text("def mean(): ...\n")
    (tmp_path / "workflow.yaml").write_text(json.dumps(plain))
    workflow, _ = build(load(tmp_path / "workflow.yaml"))
    staged = stage(workflow, {}, tmp_path / "staged")
    assert json.loads(staged.path(staged.main).read_text())["code"] == {"path": "../code"}


def test_a_script_that_reads_what_it_does_not_declare_is_refused_unless_allowed(
    example: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    from fasthep_archive.archive.gating import Gate
    from fasthep_archive.archive.running import Ran
    from fasthep_archive.archive.surroundings import surroundings
    from fasthep_archive.operations.access import watching

    if not watching()[0]:
        pytest.skip(str(watching()[1]))
    (tmp_path / "weights.txt").write_text("1\n")
    text = WORKFLOW.replace("cat mean.json", f"cat {tmp_path / 'weights.txt'}")
    document = written(tmp_path / "work", example / "data" / "dy.root", text)
    ran = fasthep_archive.run(document, tmp_path / "out", workers=1, reuse=False, cache=kernel_cache)
    told = f"stage Count read files that it does not declare: {tmp_path / 'weights.txt'}"
    assert told in ran.record.warnings
    context = surroundings(kernel_cache, 1, None)
    with pytest.raises(WorkflowError, match="read a file that it does not declare") as caught:
        Gate(ran.record.workflow, context, ()).opened(ran)
    (fault,) = caught.value.faults
    allowed = fault.message.rpartition("[")[2].rstrip("]")
    assert isinstance(ran, Ran)
    Gate(ran.record.workflow, context, [allowed]).opened(ran)


def test_a_failing_script_says_its_stage_and_what_it_printed(example: Path, kernel_cache: Path, tmp_path: Path) -> None:
    text = WORKFLOW.replace("cat mean.json", "echo no convergence; exit 4")
    document = written(tmp_path / "work", example / "data" / "dy.root", text)
    with pytest.raises(TaskError, match="stage Count failed: the script ended with exit status 4") as caught:
        fasthep_archive.run(document, tmp_path / "out", workers=1, reuse=False, cache=kernel_cache)
    assert "  no convergence" in caught.value.message


def test_explain_names_the_function_that_changed(example: Path, kernel_cache: Path, tmp_path: Path) -> None:
    document = written(tmp_path / "work", example / "data" / "dy.root")
    cache = with_kernels(tmp_path / "cache", kernel_cache)
    fasthep_archive.run(document, tmp_path / "out", workers=1, cache=cache)
    tools = tmp_path / "work" / "analysis" / "tools.py"

    def computed() -> Mapping[str, tuple[str, ...]]:
        told = running.explain(document, cache=cache)
        return {each.task: each.because for each in told if each.status == "computed"}

    tools.write_text(f"# a comment\n{CODE['tools.py']}\n\ndef other():\n    return 1\n")
    assert computed() == {}
    tools.write_text(CODE["tools.py"].replace(".sum()", ".sum() + 1"))
    assert computed()["derivation of Mean"] == ("code of stage Mean changed: function mean in tools.py",)


# --- FAST-HEP itself --------------------------------------------------------------------------------------------------

FASTHEP = os.environ.get("FASTHEP_COMMAND")
"""The command ``fasthep`` of a virtual environment of its own."""
OUTER = """\
version: "1.1"
code: {path: analysis, files: [inner.yaml, counted.py]}
data: {datasets: [{name: dy, eventtype: mc, files: ["DATA"]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - id: Skim
      op: hep.define
      params: {variables: [{name: NJets, expr: NJet}]}
      write: [{kind: root_tree, path: skim.root, tree: events, keep: [NJets]}]
    - id: NJets
      op: hep.hist
      params: {axes: [{name: n, source: NJet, type: regular, bins: {low: 0, high: 10, nbins: 10}}]}
    - id: Inner
      op: run.command
      params:
        inputs: {dy.root: Skim}
        code: [inner.yaml, counted.py]
        script:
          - PROGRAM -q run inner.yaml --outdir out
          - PYTHON counted.py out/artifacts/histograms/NJets.pkl > njets.json
        outputs: [njets.json]
"""
INNER = """\
version: "1.0"
use: {profiles: [hep]}
data: {datasets: [{name: dy, eventtype: mc, files: [dy.root]}]}
sources: {events: {kind: root_tree, tree: events, stream_type: event_stream}}
analysis:
  stages:
    - id: NJets
      op: hep.hist
      params: {axes: [{name: n, source: NJets, type: regular, bins: {low: 0, high: 10, nbins: 10}}]}
"""
COUNTED = """\
import json, pickle, sys
with open(sys.argv[1], "rb") as file:
    print(json.dumps(pickle.load(file).values(flow=False).tolist()))
"""


@pytest.mark.slow
@pytest.mark.skipif(FASTHEP is None, reason="set FASTHEP_COMMAND to a command fasthep to try it")
def test_fasthep_itself_is_a_stage_and_counts_the_same(example: Path, kernel_cache: Path, tmp_path: Path) -> None:
    assert FASTHEP is not None
    text = OUTER.replace("PROGRAM", FASTHEP).replace("PYTHON", str(Path(FASTHEP).parent / "python"))
    document = written(
        tmp_path / "work", example / "data" / "dy.root", text, **{"inner.yaml": INNER, "counted.py": COUNTED}
    )
    allow: list[str] = []
    bundle = tmp_path / "outer.crate.zip"
    for _ in range(4):  # its environment is none of ours: what the gate has against that is allowed
        try:
            fasthep_archive.pack(document, bundle, index=False, workers=1, cache=kernel_cache, allow=allow)
            break
        except WorkflowError as error:
            allow += [fault.message.rpartition("[")[2].rstrip("]") for fault in error.faults]
    replayed = fasthep_archive.replay(
        bundle, tmp_path / "again", consent=lambda _: True, env="current", workers=1, cache=kernel_cache
    )
    levels = {verdict.output: verdict.level for verdict in replayed.report.verdicts}
    assert levels["files/Inner/njets.json"] is Level.IDENTICAL
    ours = json.loads((tmp_path / "again" / "histograms" / "NJets.json").read_text())
    theirs = json.loads((tmp_path / "again" / "files" / "Inner" / "njets.json").read_text())
    counted = ours["storage"]["values"]
    assert [float(value) for value in counted[1:-1]] == theirs
