"""The example through all verbs: as commands in processes of their own, and as functions."""

import csv
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

import hist
import numpy as np
import pytest
import uproot
from command import EPOCH, Command

import fasthep_archive
from fasthep_archive.archive import Packed, Ran, Replayed
from fasthep_archive.data.products import Cutflow, Histogram
from fasthep_archive.errors import BundleError, UsageError

HISTOGRAMS = (
    "DiMuonMass",
    "DiMuonMassWide",
    "EventWeights",
    "JetMultiplicity",
    "MissingPt",
    "MuonPt",
    "MuonPtPlane",
    "PeakAndBJets",
)
CUTFLOWS = ("Regions", "Selection")
OUTPUTS = {
    *(f"histograms/{name}.json" for name in HISTOGRAMS),
    *(f"cutflows/{name}.{suffix}" for name in CUTFLOWS for suffix in ("json", "csv")),
}


def left(directory: Path) -> set[str]:
    """Return the names of all files below ``directory``."""
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(command: Command, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run by command, the first into its store."""
    directory = tmp_path_factory.mktemp("ran") / "out"
    command("run", example / "workflow.yaml", "-o", directory)
    return directory


def test_init_leaves_a_workflow_its_data_and_its_explanation(example: Path) -> None:
    assert left(example) == {
        "README.md",
        "make_data.py",
        "workflow.yaml",
        "data/data.root",
        "data/dy.root",
        "data/ttbar.root",
    }


def test_init_says_what_to_do_next_and_that_works(command: Command, tmp_path: Path) -> None:
    said = command("init", "dimuon", cwd=tmp_path).stderr.splitlines()
    commands = [line.strip() for line in said if line.startswith("  ")]
    assert commands == [
        "cd dimuon",
        "fasthep-archive run workflow.yaml -o out",
        "fasthep-archive pack workflow.yaml -o dimuon.crate.zip",
    ]


def test_init_touches_nothing_that_is_there(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert f"{tmp_path} is there already" in command("init", tmp_path, status=2).stderr
    assert left(tmp_path) == {"notes.txt"}


def test_check_finds_no_faults(command: Command, example: Path) -> None:
    said = command("check", "workflow.yaml", cwd=example)
    assert said.stderr.splitlines() == [
        "no faults: 12 outputs from data, dy, ttbar in 3 partitions",
        "FAST-HEP 2026.10 would give something else in 5 places: --departures lists them",
    ]
    assert said.stdout == ""


def test_check_lists_where_fast_hep_differs(command: Command, example: Path) -> None:
    said = command("check", "workflow.yaml", "--departures", cwd=example).stderr.splitlines()
    assert [line.split(": ")[:2] for line in said[1:]] == [
        ["differs from FAST-HEP 2026.10", f"rule {rule}"] for rule in "AAEEE"
    ]


def test_check_names_file_line_and_column_of_every_fault(command: Command, example: Path, tmp_path: Path) -> None:
    text = (example / "workflow.yaml").read_text().replace("files: [data/", f"files: [{example}/data/")
    broken = text.replace("over: GoodMuon}", "over: GoodMoun}").replace("op: hep.di_object_mass", "op: hep.di_mass")
    path = tmp_path / "broken.yaml"
    path.write_text(broken)
    said = command("check", path, status=2).stderr
    for wrong, length in (("GoodMoun}", 8), ("hep.di_mass", 11)):
        (row,) = (number for number, line in enumerate(broken.splitlines(), 1) if wrong in line)
        column = broken.splitlines()[row - 1].index(wrong) + 1
        assert f"broken.yaml:{row}:{column}: " in said, wrong
        assert wrong[:length] in said
    assert "did you mean 'GoodMuon'?" in said


def test_check_prints_faults_as_json(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("version: '1.0'\nanalysis:\n  stagse: []\n")
    faults = {fault["message"]: fault for fault in json.loads(command("check", path, "--json", status=2).stdout)}
    fault = faults["unknown key 'stagse' in analysis"]
    assert (Path(fault["file"]), fault["line"], fault["column"]) == (path, 3, 3)
    assert fault["hint"] == "did you mean 'stages'?"


def test_run_leaves_all_outputs_and_a_record(ran: Path) -> None:
    assert left(ran) == {*OUTPUTS, "record/run.json"}


def test_the_record_has_the_digest_of_every_output(ran: Path) -> None:
    record = json.loads((ran / "record" / "run.json").read_bytes())
    recorded = {output["name"]: output["sha256"] for output in record["outputs"]}
    assert recorded == {name: fasthep_archive.digest.of_file(ran / name) for name in OUTPUTS}


def test_a_second_run_computes_nothing_and_leaves_the_same_bytes(
    command: Command, example: Path, ran: Path, tmp_path: Path
) -> None:
    said = command("run", example / "workflow.yaml", "-o", tmp_path / "again", "--json", "-q").stdout
    first, second = (
        [task["status"] for task in record["tasks"]]
        for record in (json.loads((ran / "record" / "run.json").read_bytes()), json.loads(said))
    )
    assert first == ["computed"] * 13
    assert second == ["cached"] * 13
    assert all((tmp_path / "again" / name).read_bytes() == (ran / name).read_bytes() for name in OUTPUTS)


def test_inspect_shows_what_the_bundle_holds(command: Command, example_bundle: Path) -> None:
    said = command("inspect", example_bundle).stdout
    assert "Dimuon example: the Z boson in invented data" in said
    for name in (*OUTPUTS, "data.root", "dy.root", "ttbar.root"):
        assert name in said


def test_verify_says_sound_and_the_identity(command: Command, example_bundle: Path) -> None:
    found = json.loads(command("verify", example_bundle, "--json", "-q").stdout)
    with fasthep_archive.open_bundle(example_bundle) as bundle:
        assert found["sound"] is True
        assert found["summary"]["identity"] == bundle.summary.identity


def test_replay_ends_in_the_verdict_of_the_readme(command: Command, example_bundle: Path, tmp_path: Path) -> None:
    said = command("replay", example_bundle, "-o", "again", "--yes", cwd=tmp_path).stdout
    assert said.splitlines()[-1] == "12 of 12 outputs identical"
    assert left(tmp_path / "again") == {*OUTPUTS, "record/run.json", "record/replay.json"}
    report = json.loads((tmp_path / "again" / "record" / "replay.json").read_bytes())
    assert {output["output"]: output["level"] for output in report["outputs"]} == dict.fromkeys(OUTPUTS, "identical")


# --- functions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """What a notebook has after the verbs, one after the other."""

    ran: Ran
    packed: Packed
    replayed: Replayed


@pytest.fixture(scope="module")
def session(example: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    space = tmp_path_factory.mktemp("session")
    workflow = example / "workflow.yaml"
    ran = fasthep_archive.run(workflow, space / "out", workers=1, reuse=False, cache=kernel_cache)
    packed = fasthep_archive.pack(workflow, space / "dimuon.crate.zip", index=False, workers=1, cache=kernel_cache)
    replayed = fasthep_archive.replay(
        packed.path, space / "again", consent=lambda _: True, workers=1, cache=kernel_cache
    )
    return Session(ran=ran, packed=packed, replayed=replayed)


def test_check_returns_the_plan(example: Path, kernel_cache: Path) -> None:
    checked = fasthep_archive.check(example / "workflow.yaml", cache=kernel_cache)
    assert {name for merge in checked.plan.merges for name in merge.product.outputs} == OUTPUTS


def test_run_returns_the_record_of_what_it_left(session: Session, example: Path) -> None:
    assert {output.name for output in session.ran.record.outputs} == OUTPUTS
    for item in session.ran.record.inputs:
        with uproot.open(example / item.name) as file:
            assert item.events == file["events"].num_entries


def test_only_one_stage_is_made_when_only_that_is_asked_for(example: Path, kernel_cache: Path, tmp_path: Path) -> None:
    workflow = example / "workflow.yaml"
    fasthep_archive.run(workflow, tmp_path / "out", only=["MuonPt"], workers=1, reuse=False, cache=kernel_cache)
    assert left(tmp_path / "out") == {"histograms/MuonPt.json", "record/run.json"}


def test_only_an_unknown_stage_is_refused_with_the_nearest_name(
    example: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        fasthep_archive.run(example / "workflow.yaml", tmp_path / "out", only=["MuonPT"], cache=kernel_cache)
    assert caught.value.hint == "did you mean 'MuonPt'?"
    assert caught.value.exit_status == 2


def test_a_directory_with_files_of_others_is_refused_and_kept(
    example: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="has files that no run left there"):
        fasthep_archive.run(example / "workflow.yaml", tmp_path, cache=kernel_cache)
    assert left(tmp_path) == {"thesis.tex"}


def test_a_run_takes_the_place_of_an_earlier_one(
    session: Session, example: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    """What the earlier run left and this one does not make is gone; what others put there stays."""
    out = shutil.copytree(session.ran.directory, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    text = (example / "workflow.yaml").read_text().replace("files: [data/", f"files: [{example}/data/")
    workflow = tmp_path / "workflow.yaml"
    workflow.write_text(text.replace("- id: MuonPtPlane", "- id: Plane"))
    fasthep_archive.run(workflow, out, workers=1, reuse=False, cache=kernel_cache)
    renamed = OUTPUTS - {"histograms/MuonPtPlane.json"} | {"histograms/Plane.json"}
    assert left(out) == {*renamed, "record/run.json", "notes.txt"}


def test_pack_leaves_one_file_named_after_the_workflow(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packed = fasthep_archive.pack(example / "workflow.yaml", index=False, workers=1, cache=kernel_cache)
    assert left(tmp_path) == {"dimuon.crate.zip"}
    assert packed.size == (tmp_path / "dimuon.crate.zip").stat().st_size
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "dimuon.crate.zip").stat().st_mode) == 0o666 & ~umask


def test_replay_returns_the_report(session: Session) -> None:
    assert session.replayed.report.sentence == "12 of 12 outputs identical"
    assert session.replayed.report.exit_status == 0


def test_nothing_in_the_environment_differs_between_pack_and_replay(session: Session) -> None:
    assert session.replayed.report.differences == ()


def test_verify_finds_the_packed_bundle_sound(session: Session) -> None:
    assert fasthep_archive.verify(session.packed.path).problems == ()


def test_a_replay_without_consent_runs_nothing(session: Session, kernel_cache: Path, tmp_path: Path) -> None:
    asked = []
    with pytest.raises(BundleError, match="nothing was run"):
        fasthep_archive.replay(
            session.packed.path,
            tmp_path / "again",
            consent=lambda bundle: asked.append(bundle.summary.identity) or False,
            cache=kernel_cache,
        )
    assert asked == [session.packed.identity]
    assert left(tmp_path) == set()


def test_a_run_and_a_bundle_hand_out_equal_histograms(session: Session) -> None:
    run = fasthep_archive.open_run(session.ran.directory)
    with fasthep_archive.open_bundle(session.packed.path) as bundle:
        assert set(run) == set(bundle.data) == {*HISTOGRAMS, *CUTFLOWS}
        for name in HISTOGRAMS:
            assert isinstance(run[name], hist.Hist)
            assert run[name] == bundle.data[name]
        for name in CUTFLOWS:
            assert isinstance(run[name], Cutflow)
            assert run[name] == bundle.data[name]


def test_an_unknown_product_is_named_with_the_nearest(session: Session) -> None:
    with pytest.raises(KeyError, match="no stage 'DimuonMass' left a product") as caught:
        fasthep_archive.open_run(session.ran.directory)["DimuonMass"]
    assert caught.value.hint == "did you mean 'DiMuonMass'?"


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    for verb in (fasthep_archive.verify, fasthep_archive.open_bundle):
        with pytest.raises(UsageError, match="no such file"):
            verb(tmp_path / "missing.crate.zip")


# --- the physics of it ------------------------------------------------------------------------------------------------


def test_the_cutflow_as_json_and_as_csv_says_the_same(ran: Path) -> None:
    for name in CUTFLOWS:
        rows = Cutflow.from_json((ran / f"cutflows/{name}.json").read_bytes()).rows
        table = list(csv.DictReader((ran / f"cutflows/{name}.csv").read_text().splitlines()))
        assert [(row["dataset"], row["cut"], int(row["events_out"]), float(row["sumw_out"])) for row in table] == [
            (row.dataset, row.cut, row.events_out, row.sumw_out) for row in rows
        ]


def test_what_passes_the_selection_is_what_the_histograms_hold(ran: Path) -> None:
    """Each event that passes has a pair, so its mass is in a bin or a flow bin, with the event's weight."""
    mass = Histogram.from_json((ran / "histograms/DiMuonMass.json").read_bytes())
    rows = Cutflow.from_json((ran / "cutflows/Selection.json").read_bytes()).rows
    last = {row.dataset: row for row in rows}
    for number, dataset in enumerate(mass.axes[0].categories):
        # the sum of a few dozen rounded bins is within that many roundings of the exact one
        np.testing.assert_allclose(mass.values[number].sum(), last[dataset].sumw_out, rtol=1e-14)
        np.testing.assert_allclose(mass.variances[number].sum(), last[dataset].sumw2_out, rtol=1e-14)


def test_the_z_boson_is_at_its_mass(ran: Path) -> None:
    mass = Histogram.from_json((ran / "histograms/DiMuonMass.json").read_bytes())
    centres = (mass.axes[1].edges[1:] + mass.axes[1].edges[:-1]) / 2
    assert mass.axes[0].categories == ("data", "dy", "ttbar")
    peaks = centres[mass.values[:2, 1:-1].argmax(axis=1)]
    assert np.all(abs(peaks - 91.19) < 2), peaks


def test_a_fixed_time_is_the_only_time_in_a_bundle(example_bundle: Path) -> None:
    with fasthep_archive.open_bundle(example_bundle) as bundle:
        record = bundle.json("data/record/run.json")
        assert bundle.summary.created.timestamp() == int(EPOCH)
        assert record["started"] == record["ended"] == "2026-01-01T00:00:00+00:00"
        assert "measured" not in record
