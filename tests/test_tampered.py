"""Bundles that were changed, with or without sealing them anew, and workflows that fail while they run."""

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import uproot
from command import Command
from resealing import resealed

import fasthep_archive
from fasthep_archive.archive import Replayed
from fasthep_archive.bundle import layout
from fasthep_archive.digest import Digest, of_bytes
from fasthep_archive.errors import BundleError, TaskError, UsageError
from fasthep_archive.verification.verdict import Level

MASS = "histograms/DiMuonMass.json"
CUTS = "cutflows/Selection.json"
TABLE = "cutflows/Selection.csv"


@pytest.fixture(scope="module")
def members(example_bundle: Path) -> Mapping[str, bytes]:
    """Return the content of every member of the example's bundle."""
    with zipfile.ZipFile(example_bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- changed and sealed anew: only a replay can tell ------------------------------------------------------------------


def test_sealing_anew_what_was_not_changed_gives_the_same_bytes(example_bundle: Path, tmp_path: Path) -> None:
    assert resealed(example_bundle, tmp_path / "same.zip").read_bytes() == example_bundle.read_bytes()


def forgeries(members: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return outputs with a quarter of an event more in a bin of ``dy``, an event more after a cut, another label."""
    mass, cuts = (json.loads(members[layout.output(name)]) for name in (MASS, CUTS))
    mass["storage"]["values"][1][17] += 0.25
    cuts["rows"][1]["events_out"] += 1
    table = members[layout.output(TABLE)].replace(b"two good muons", b"two fine muons", 1)
    return {
        layout.output(MASS): json.dumps(mass).encode(),
        layout.output(CUTS): json.dumps(cuts).encode(),
        layout.output(TABLE): table,
    }


@pytest.fixture(scope="module")
def forged(example_bundle: Path, members: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle in which a bin, a cut's sum and the same table's cell were changed, and all digests with them."""
    path = tmp_path_factory.mktemp("forged") / "forged.crate.zip"
    return resealed(example_bundle, path, files=forgeries(members))


def test_a_forged_bundle_verifies(forged: Path) -> None:
    assert fasthep_archive.verify(forged).problems == ()


def test_a_replay_of_a_forged_bundle_differs_and_names_output_and_bin(
    command: Command, forged: Path, members: Mapping[str, bytes], tmp_path: Path
) -> None:
    said = command("replay", forged, "-o", tmp_path / "again", "--yes", "-q", status=1).stdout
    right = json.loads(members[layout.output(MASS)])["storage"]["values"][1][17]
    assert f"{MASS}: 1 of 186 bins differs" in said
    assert f"first dataset 'dy', mass [76, 77): {right + 0.25!r} recorded, {right!r} replayed" in said
    assert said.splitlines()[-1] == f"9 of 12 outputs identical, 3 different ({CUTS}, {TABLE}, {MASS})"


def test_the_report_of_a_forged_bundle_says_what_differs_in_each_output(
    forged: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    report = replayed(forged, tmp_path, kernel_cache).report
    because = {each.output: each.because for each in report.verdicts if each.level is Level.DIFFERENT}
    assert because.keys() == {MASS, CUTS, TABLE}
    assert "cut dimuon[1] ('two good muons'): events 1014 recorded, events 1013 replayed" in because[CUTS]
    assert "two fine muons" in because[TABLE]
    assert report.exit_status == 1


def replayed(bundle: Path, directory: Path, cache: Path) -> Replayed:
    return fasthep_archive.replay(bundle, directory / "again", consent=lambda _: True, workers=1, cache=cache)


def test_another_recorded_content_digest_alone_is_found(
    example_bundle: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    path = resealed(example_bundle, tmp_path / "x.crate.zip", contents={TABLE: Digest("ab" * 32)})
    assert fasthep_archive.verify(path).problems == ()
    report = replayed(path, tmp_path, kernel_cache).report
    (because,) = (each.because for each in report.verdicts if each.output == TABLE)
    assert because.startswith("the record contradicts itself")
    assert report.sentence == f"11 of 12 outputs identical, 1 different ({TABLE})"
    assert report.exit_status == 1


def test_an_input_that_was_changed_changes_the_outputs(
    example_bundle: Path, members: Mapping[str, bytes], kernel_cache: Path, tmp_path: Path
) -> None:
    """Each dataset's file in the place of another's."""
    names = [layout.INPUTS + name for name in ("dy.root", "ttbar.root")]
    swapped = {names[0]: members[names[1]], names[1]: members[names[0]]}
    path = resealed(example_bundle, tmp_path / "x.crate.zip", files=swapped)
    report = replayed(path, tmp_path, kernel_cache).report
    assert {each.level for each in report.verdicts} == {Level.DIFFERENT}


# --- changed and not sealed anew --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [layout.output(MASS), layout.INPUTS + "dy.root", layout.RESOLVED, layout.PROGRAM, layout.CRATE]
)
def test_a_changed_byte_stops_verify_replay_and_the_bundle_itself(
    example_bundle: Path, members: Mapping[str, bytes], kernel_cache: Path, tmp_path: Path, name: str
) -> None:
    raw = bytearray(example_bundle.read_bytes())
    start = raw.index(members[name])
    raw[start + len(members[name]) // 2] ^= 0x20
    path = tmp_path / "damaged.crate.zip"
    path.write_bytes(raw)
    assert any(name in str(problem) for problem in fasthep_archive.verify(path).problems)
    with pytest.raises(BundleError, match=name) as caught:
        replayed(path, tmp_path, kernel_cache)
    assert caught.value.exit_status == 4
    assert not (tmp_path / "again").exists()
    done = subprocess.run([sys.executable, path], capture_output=True, check=False)
    assert done.returncode != 0


def test_one_changed_bit_anywhere_is_found(example_bundle: Path, tmp_path: Path) -> None:
    """A sample of all bits, and of the last 200 bytes, which list the members."""
    raw = bytearray(example_bundle.read_bytes())
    path, generator = tmp_path / "damaged.crate.zip", random.Random(4)
    places = [*(generator.randrange(len(raw)) for _ in range(40)), *range(len(raw) - 200, len(raw), 5)]
    for place in places:
        bit = 1 << generator.randrange(8)
        raw[place] ^= bit
        path.write_bytes(raw)
        assert fasthep_archive.verify(path).problems, f"bit {bit:#x} of byte {place}"
        raw[place] ^= bit


def test_verify_exits_with_4_and_names_what_is_damaged(
    command: Command, example_bundle: Path, members: Mapping[str, bytes], tmp_path: Path
) -> None:
    name = layout.INPUTS + "ttbar.root"
    path = tmp_path / "damaged.crate.zip"
    path.write_bytes(example_bundle.read_bytes().replace(members[name], members[name][::-1]))
    done = command("verify", path, "-q", status=4)
    assert f"{name}: has the SHA-256 {of_bytes(members[name][::-1])}" in done.stderr
    assert "damaged" in done.stdout


def test_one_damaged_bundle_does_not_stop_the_check_of_the_next(
    command: Command, example_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(b"no bundle")
    (tmp_path / "b.zip").symlink_to(example_bundle)
    done = command("verify", "a.zip", "absent.zip", "b.zip", "-q", cwd=tmp_path, status=4)
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == ["a.zip: damaged"]
    assert done.stderr.startswith("a.zip: file: 9 bytes is too little for a zip")
    assert "error: no such file: absent.zip\n" in done.stderr
    assert done.stderr.endswith("1 of 3 bundles are sound\n")

    done = command("verify", "--json", "a.zip", "absent.zip", "b.zip", cwd=tmp_path, status=4)
    damaged, absent, sound = map(json.loads, done.stdout.splitlines())
    assert (damaged["bundle"], damaged["sound"], len(damaged["problems"])) == ("a.zip", False, 1)
    assert absent == {"bundle": "absent.zip", "error": "no such file: absent.zip"}
    assert (sound["bundle"], sound["sound"], sound["problems"]) == ("b.zip", True, [])
    assert command("verify", "b.zip", "b.zip", "-q", cwd=tmp_path).stderr == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, "can't be read: File name too long"),
        ("a\0b", "can't be read: embedded null byte"),
        ("a", "no such file"),
    ],
)
def test_what_can_not_be_a_bundle_is_said(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        fasthep_archive.verify(tmp_path / name)


def test_a_replay_that_nobody_agrees_to_runs_nothing(command: Command, example_bundle: Path, tmp_path: Path) -> None:
    """There is no terminal, so nobody can be asked."""
    done = command("replay", example_bundle, "-o", tmp_path / "again", status=4)
    assert "nothing was run: you did not agree to run this bundle" in done.stderr
    assert "hint: say --yes if you trust it" in done.stderr
    assert not (tmp_path / "again").exists()


# --- stages that fail -------------------------------------------------------------------------------------------------


COUNTING = """
version: "1.1"
data: {datasets: [{name: dy, files: ["%s"]}]}
analysis:
  stages:
    - {id: NJets, op: hep.hist, params: {axes: [{name: n, source: NJet, type: int}]}}
"""
FAILING = (
    COUNTING
    + """
    - id: Masses
      op: hep.di_object_mass
      params: {collection: Muon}
    - id: Whole
      op: hep.define
      params: {variables: [{name: whole_mass, expr: DiMuon_Mass, dtype: int32}]}
    - {id: WholeMass, op: hep.hist, params: {axes: [{name: m, source: whole_mass, type: int}]}}
    - {id: Cuts, op: hep.selection.cutflow, params: {selection: {jets: [NJet > 1]}}}
"""
)


@pytest.fixture
def failing(example: Path, tmp_path: Path) -> Path:
    """Return a workflow in which events without a pair have a mass that is no whole number: NaN."""
    path = tmp_path / "failing.yaml"
    path.write_text(FAILING % (example / "data" / "dy.root"))
    return path


def test_a_failing_stage_is_named_with_partition_and_file(
    command: Command, example: Path, failing: Path, tmp_path: Path
) -> None:
    """What does not depend on it is made all the same."""
    done = command("run", failing, "-o", tmp_path / "out", "-q", "--chunk", "1000", status=3)
    told = done.stderr.splitlines()
    assert told[0].startswith(
        f"error: stage WholeMass failed on events 0 to 1000 of {example / 'data' / 'dy.root'} (dy): "
    )
    assert "'whole_mass'" in told[0]
    assert "int32" in told[0]
    assert [line.split(" failed on ")[0] for line in told[:2]] == ["error: stage WholeMass", "stage WholeMass"]
    assert not any("NJets" in line or "Cuts" in line for line in told)
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*")}
    assert made == {"histograms/NJets.json", "cutflows/Cuts.json", "cutflows/Cuts.csv", "record/run.json"}


def test_a_failing_workflow_leaves_no_bundle(failing: Path, kernel_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="stage WholeMass failed"):
        fasthep_archive.pack(failing, tmp_path / "x.crate.zip", index=False, workers=1, cache=kernel_cache)
    assert {path.name for path in tmp_path.iterdir()} == {failing.name}


def test_a_replay_that_fails_exits_with_3(example: Path, kernel_cache: Path, tmp_path: Path) -> None:
    """A file with the digest that it should have, of which ROOT can't read a basket."""
    workflow, name = tmp_path / "jets.yaml", layout.INPUTS + "dy.root"
    workflow.write_text(COUNTING % (example / "data" / "dy.root"))
    packed = fasthep_archive.pack(workflow, tmp_path / "jets.crate.zip", index=False, workers=1, cache=kernel_cache)
    raw = bytearray((example / "data" / "dy.root").read_bytes())
    with uproot.open(example / "data" / "dy.root") as file:
        basket = int(file["events"]["NJet"].member("fBasketSeek")[0])
    raw[basket + 100 : basket + 200] = bytes(100)  # after the basket's header
    path = resealed(packed.path, tmp_path / "unreadable.crate.zip", files={name: bytes(raw)})
    with pytest.raises(TaskError, match=r"^stage NJets failed on events 0 to \d+ of .*dy.root \(dy\): ") as caught:
        replayed(path, tmp_path, kernel_cache)
    assert caught.value.exit_status == 3
