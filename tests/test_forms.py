"""Thin, fat and hydrated bundles; what is referenced; the environment rebuilt where there is no network."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import EPOCH, Command
from webserver import WebServer, web_server

from fasthep_archive.bundle.reader import open_bundle

INPUTS = ("data.root", "dy.root", "ttbar.root")
CARRIED = {"fasthep-archive", "pip"}
"""What every bundle carries a wheel of."""


def wheels(bundle: Path) -> set[str]:
    """Return the names of the distributions that a bundle carries."""
    with open_bundle(bundle) as opened:
        names = opened.names("data/environment/wheels/")
    return {name.rpartition("/")[2].split("-")[0].replace("_", "-").lower() for name in names}


def sentence(said: str) -> str:
    return said.rstrip().rsplit("\n", 1)[-1]


@pytest.fixture(scope="module")
def thin(command: Command, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example as a thin bundle, locked on the package index, which the fat twin needs too."""
    path = tmp_path_factory.mktemp("thin") / "dimuon.crate.zip"
    done = command("pack", example / "workflow.yaml", "-o", path, "--thin", "-j", "1", SOURCE_DATE_EPOCH=EPOCH)
    if "no package index could be reached" in done.stderr:
        pytest.skip("no package index can be reached")
    return path


@pytest.fixture(scope="module")
def fat(command: Command, example: Path, thin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example as a fat bundle."""
    path = tmp_path_factory.mktemp("fat") / "dimuon.crate.zip"
    command("pack", example / "workflow.yaml", "-o", path, "--fat", "-j", "1", "-q", SOURCE_DATE_EPOCH=EPOCH)
    return path


@pytest.fixture(scope="module")
def rebuilt(fat: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the home of somebody who has replayed the fat bundle with a Python and no network, and what was said."""
    home = tmp_path_factory.mktemp("stranger")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody be cut off from the network (unshare -rn)")
    python = Path(sys.base_prefix) / "bin" / "python3"
    words = ["unshare", "-rn", python, fat, "replay", "--yes", "-o", home / "again"]
    known = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=home, env=known, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return home, done.stdout + done.stderr


# --- thin and fat -----------------------------------------------------------------------------------------------------


def test_a_thin_bundle_is_small(thin: Path) -> None:
    assert thin.stat().st_size < 6_000_000


def test_a_thin_bundle_carries_no_input_and_no_wheel_of_an_index_but_pip_s(thin: Path) -> None:
    with open_bundle(thin) as opened:
        assert opened.names("data/inputs/") == ()
        assert [item.included for item in opened.summary.inputs] == [False] * 3
    assert wheels(thin) == CARRIED


def test_thin_and_fat_twins_have_one_identity_and_one_lock(thin: Path, fat: Path) -> None:
    with open_bundle(thin) as one, open_bundle(fat) as other:
        assert one.summary.identity == other.summary.identity
        assert one.read("data/environment/pylock.toml") == other.read("data/environment/pylock.toml")


def test_a_fat_bundle_carries_a_wheel_of_every_locked_package(fat: Path) -> None:
    with open_bundle(fat) as opened:
        assert wheels(fat) == {package.name for package in opened.summary.parts.environment}


@pytest.mark.slow
def test_both_conform_to_the_crate_profiles(thin: Path, fat: Path, crate_validator: Path, tmp_path: Path) -> None:
    for path in (thin, fat):
        unpacked = tmp_path / path.parent.name
        with zipfile.ZipFile(path) as bundle:
            bundle.extractall(unpacked)
        words = [sys.executable, crate_validator, unpacked, "provenance-run-crate-0.5", "RECOMMENDED"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_lock_names_no_host_and_no_path_of_a_machine(fat: Path) -> None:
    with open_bundle(fat) as opened:
        lock = opened.read("data/environment/pylock.toml") + opened.read("data/environment/requirements.txt")
    assert not re.search(rb"https?:|file:|/home/|/root/|/tmp/", lock)
    assert set(re.findall(rb'path = "([^/"]+)/', lock)) == {b"wheels"}


def test_the_crate_says_how_many_packages_are_unresolved(example_bundle: Path) -> None:
    with open_bundle(example_bundle) as opened:
        graph = {entity["@id"]: entity for entity in opened.json("ro-crate-metadata.json")["@graph"]}
        packages = len(opened.summary.parts.environment)
    said = graph["data/environment/pylock.toml"]["description"]
    assert f"{packages - len(CARRIED)} of {packages} packages are unresolved" in said


# --- hydrate ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hydrated_bundle_is_the_fat_twin_to_the_byte(
    command: Command, thin: Path, fat: Path, example: Path, tmp_path: Path
) -> None:
    command("hydrate", thin, "-o", tmp_path / "whole.crate.zip", "--data", example, "-q")
    assert (tmp_path / "whole.crate.zip").read_bytes() == fat.read_bytes()


def test_wheels_can_come_from_a_folder(command: Command, thin: Path, fat: Path, example: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(fat) as bundle:
        names = [name for name in bundle.namelist() if name.startswith("data/environment/wheels/")]
        bundle.extractall(tmp_path, names)
    folder = tmp_path / "data/environment/wheels"
    words = ("hydrate", thin, "-o", tmp_path / "whole.crate.zip", "--data", example, "--wheels", folder, "--no-index")
    command(*words, "-q")
    assert (tmp_path / "whole.crate.zip").read_bytes() == fat.read_bytes()


def test_what_can_t_be_had_is_named_and_nothing_is_written(command: Command, thin: Path, tmp_path: Path) -> None:
    (tmp_path / "data.root").write_bytes(b"another file")
    path = tmp_path / "whole.crate.zip"
    done = command("hydrate", thin, "-o", path, "--data", tmp_path, "--no-index", status=2)
    assert all(name in done.stderr for name in INPUTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.root"]


# --- the environment --------------------------------------------------------------------------------------------------


def test_a_python_without_a_network_replays_a_fat_bundle(rebuilt: tuple[Path, str]) -> None:
    assert "12 of 12 outputs identical" in rebuilt[1]


def test_the_rebuilt_environment_is_used_again(rebuilt: tuple[Path, str], command: Command, fat: Path) -> None:
    home, said = rebuilt
    assert "environment: installing" in said
    cache = home / ".cache" / "fasthep-archive"
    words = ("replay", fat, "--yes", "--env", "locked", "-o", home / "locked")
    done = Command(cache=cache)(*words)
    assert "environment: installing" not in done.stderr
    assert "rebuilt from the bundle's lock" in done.stdout
    assert sentence(done.stdout) == "12 of 12 outputs identical"


@pytest.mark.slow
def test_a_package_of_another_version_is_named_and_the_locked_one_is_rebuilt(
    rebuilt: tuple[Path, str], fat: Path, tmp_path: Path
) -> None:
    """An environment that has all of the locked one, but an older version of a package that computes."""
    home, _ = rebuilt
    cache = home / ".cache" / "fasthep-archive"
    locked = next(cache.glob("environments/*/env-*/lib/python*/site-packages"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    own = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    shutil.copytree(locked / "hist", own / "hist")
    (own / "hist-2.8.0.dist-info").mkdir()
    metadata = next(locked.glob("hist-*.dist-info/METADATA")).read_text()
    older = re.sub(r"^Version: .*$", "Version: 2.8.0", metadata, count=1, flags=re.M)
    (own / "hist-2.8.0.dist-info" / "METADATA").write_text(older)
    (own / "locked.pth").write_text(f"{locked}\n")

    def replay(env: str) -> str:
        words = [tmp_path / "venv/bin/python", "-m", "fasthep_archive", "replay", fat, "--yes", "--env", env]
        known = {**os.environ, "FASTHEP_ARCHIVE_CACHE": str(cache)}
        done = subprocess.run(
            [*words, "-o", tmp_path / env], env=known, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search(r"hist +\S+ +2\.8\.0", replay("current"))
    for env in ("auto", "locked"):
        said = replay(env)
        assert "2.8.0" not in said
        assert "rebuilt from the bundle's lock" in said
        assert sentence(said) == "12 of 12 outputs identical"


# --- inputs by reference ----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[WebServer]:
    """Yield a web server on this machine."""
    with web_server() as running:
        yield running


@pytest.fixture
def referring(command: Command, example: Path, server: WebServer, tmp_path: Path) -> Path:
    """Return a bundle of the example whose inputs are at two addresses each, and not in it."""
    copy = tmp_path / "analysis"
    shutil.copytree(example, copy)
    entries = []
    for name in INPUTS:
        content = (copy / "data" / name).read_bytes()
        urls = [server.add(f"/first/{name}", content), server.add(f"/second/{name}", content)]
        entries.append({"file": f"data/{name}", "urls": urls})
    document = (copy / "workflow.yaml").read_text()
    assert "archive:\n" in document
    document = document.replace("archive:\n", f"archive:\n  inputs: {json.dumps(entries)}\n", 1)
    (copy / "workflow.yaml").write_text(document)
    path = tmp_path / "referring.crate.zip"
    command("pack", copy / "workflow.yaml", "-o", path, "--data", "reference", "--no-index", "-q")
    return path


@pytest.mark.slow
def test_addresses_make_no_other_analysis_of_it(referring: Path, command: Command, tmp_path: Path) -> None:
    plain = tmp_path / "plain.crate.zip"
    command("pack", tmp_path / "analysis" / "workflow.yaml", "-o", plain, "--no-index", "-q")
    with open_bundle(referring) as one, open_bundle(plain) as other:
        assert one.summary.identity == other.summary.identity


def test_sha256sum_passes_over_what_is_referenced(referring: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(referring) as bundle:
        bundle.extractall(tmp_path / "unpacked")
    words = ["sha256sum", "--check", "--quiet", "--ignore-missing", "manifest-sha256.txt"]
    subprocess.run(words, cwd=tmp_path / "unpacked", check=True)
    listed = (tmp_path / "unpacked" / "fetch.txt").read_text().splitlines()
    assert [line.split()[2] for line in listed] == [f"data/inputs/{name}" for name in INPUTS]


def test_nothing_is_fetched_unless_asked(referring: Path, server: WebServer, command: Command, tmp_path: Path) -> None:
    done = command("replay", referring, "--yes", "-o", tmp_path / "again", status=2)
    assert all(f"{server.url}/first/{name}" in done.stderr for name in INPUTS)
    assert "--fetch" in done.stderr
    assert server.got() == []


@pytest.mark.slow
def test_inputs_that_will_be_lacking_are_told_before_an_environment_is_built(referring: Path, tmp_path: Path) -> None:
    words = [sys.executable, referring, "replay", "--yes", "-o", tmp_path / "again", "--cache", tmp_path / "cache"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in (*INPUTS, "--fetch", "--data"))
    assert not (tmp_path / "cache").exists()


def test_inputs_are_fetched_from_the_first_address_that_has_them(
    referring: Path, server: WebServer, command: Command, tmp_path: Path
) -> None:
    del server.pages["/first/dy.root"]
    done = command("replay", referring, "--yes", "--fetch", "-o", tmp_path / "again")
    assert sentence(done.stdout) == "12 of 12 outputs identical"
    assert "/second/dy.root" in [path for _, path, _ in server.requests]


@pytest.mark.slow
def test_inputs_are_found_in_a_folder_under_any_name(referring: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, name in enumerate(INPUTS):
        shutil.copy(tmp_path / "analysis" / "data" / name, folder / f"{number}.bin")
    done = command("replay", referring, "--yes", "--data", folder, "-o", tmp_path / "again")
    assert sentence(done.stdout) == "12 of 12 outputs identical"


@pytest.mark.slow
def test_a_file_that_has_changed_on_all_servers_is_told_with_both_digests(
    referring: Path, server: WebServer, command: Command, tmp_path: Path
) -> None:
    for place in ("first", "second"):
        server.add(f"/{place}/dy.root", b"x" * len(server.pages["/second/dy.root"].content), etag='"2"')
    done = command("replay", referring, "--yes", "--fetch", "-o", tmp_path / "again", status=2)
    with open_bundle(referring) as opened:
        recorded = next(item.sha256 for item in opened.summary.inputs if item.name == "dy.root")
    assert recorded in done.stderr
    assert len(set(re.findall(r"[0-9a-f]{64}", done.stderr))) == 2


# --- diff -------------------------------------------------------------------------------------------------------------


def test_a_bundle_does_not_differ_from_its_twin(command: Command, thin: Path, fat: Path) -> None:
    assert command("diff", thin, fat).stdout.startswith("The same identity")


@pytest.mark.slow
def test_a_changed_bin_edge_is_told_as_stage_and_option(
    command: Command, example: Path, example_bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "analysis"
    shutil.copytree(example, copy)
    document = (copy / "workflow.yaml").read_text()
    changed = re.sub(r"(id: DiMuonMass\b.*?)\b60\b", r"\g<1>30", document, count=1, flags=re.S)
    assert changed != document
    (copy / "workflow.yaml").write_text(changed)
    command("pack", copy / "workflow.yaml", "-o", tmp_path / "b.crate.zip", "-q", "--no-index")
    said = command("diff", example_bundle, tmp_path / "b.crate.zip", status=1).stdout
    assert "DiMuonMass" in said
    assert "histograms/DiMuonMass.json" in said


# --- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_secret_stops_packing_before_anything_runs_until_it_is_allowed(
    command: Command, example: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "analysis"
    shutil.copytree(example, copy)
    with (copy / "workflow.yaml").open("a") as document:
        document.write("# ask alice@lab.cern for access\n")
    path = tmp_path / "x.crate.zip"
    words = ("pack", copy / "workflow.yaml", "-o", path, "-q", "--no-index")
    said = command(*words, status=2).stderr
    line = len((copy / "workflow.yaml").read_text().splitlines())
    assert f"workflow.yaml:{line}:" in said
    assert "run:" not in said
    assert not path.exists()
    found = re.search(r"\[([0-9a-f]{12})\]", said)
    assert found
    command(*words, "--allow", found[1])
    assert path.exists()
