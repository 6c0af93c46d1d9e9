"""The same numbers from any number of workers, anywhere, for anybody; the same bytes at the same time."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import bagit
import pytest
from command import EPOCH, Command

from fasthep_archive.bundle.reader import open_bundle

NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
"""Runs a command as another user, who can read what root can: the interpreter may be below root's home directory."""
ELSEWHERE = {"TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8", "LC_ALL": "C", "PYTHONHASHSEED": "4242"}
"""Variables that turn dates, texts and the order of sets; none of them may turn a number."""


def levels(said: str) -> set[str]:
    """Return the levels of all verdicts."""
    report = json.loads(said)
    assert len(report["outputs"]) == 12
    return {output["level"] for output in report["outputs"]}


# --- replay -----------------------------------------------------------------------------------------------------------


def test_a_replay_is_identical_with_two_workers_small_partitions_and_other_variables_in_another_directory(
    command: Command, example_bundle: Path, tmp_path: Path
) -> None:
    shutil.copy(example_bundle, tmp_path / "received.zip")
    words = ("replay", "received.zip", "-o", "again", "--yes", "-j", "2", "--chunk", "250", "--json")
    assert levels(command(*words, cwd=tmp_path, **ELSEWHERE).stdout) == {"identical"}
    record = json.loads((tmp_path / "again" / "record" / "run.json").read_bytes())
    assert record["measured"]["workers"] == 2
    assert len(record["tasks"]) > 20


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """Return an empty directory that belongs to another user, as whom :data:`AS_NOBODY` works."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    trial = subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        pytest.skip(f"can't become another user who reads this interpreter: {trial.stderr.strip()}")
    with tempfile.TemporaryDirectory(prefix="nobody-") as directory:
        os.chown(directory, NOBODY, NOBODY)
        yield Path(directory)


def test_a_replay_is_identical_for_another_user(command: Command, example_bundle: Path, home_of_nobody: Path) -> None:
    home, bundle = home_of_nobody, home_of_nobody / "received.crate.zip"
    shutil.copyfile(example_bundle, bundle)
    own = Command(cache=home / "cache")
    said = own("replay", bundle, "-o", "again", "--yes", "--json", cwd=home, before=AS_NOBODY, HOME=str(home))
    assert levels(said.stdout) == {"identical"}
    assert (home / "again" / "record" / "run.json").stat().st_uid == NOBODY


# --- pack -------------------------------------------------------------------------------------------------------------


def test_packing_at_the_same_time_gives_the_same_bytes(
    command: Command, example: Path, example_bundle: Path, tmp_path: Path
) -> None:
    """Whatever the number of workers, the place, the times of the files, the home directory and who was there before."""
    copy = tmp_path / "somewhere else"
    shutil.copytree(example, copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    words = ("pack", copy / "workflow.yaml", "-o", "another.crate.zip", "-j", "2", "-q", "--no-index")
    command(*words, cwd=tmp_path, SOURCE_DATE_EPOCH=EPOCH, HOME=str(tmp_path), USER="alice", HOSTNAME="elsewhere")
    assert (tmp_path / "another.crate.zip").read_bytes() == example_bundle.read_bytes()


@pytest.mark.slow
def test_packing_at_another_time_in_other_partitions_gives_the_same_identity_and_outputs(
    command: Command, example: Path, example_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "now.crate.zip"
    command("pack", example / "workflow.yaml", "-o", path, "-j", "2", "--chunk", "400", "-q", "--no-index", **ELSEWHERE)
    with open_bundle(example_bundle) as then, open_bundle(path) as now:
        assert now.summary.identity == then.summary.identity
        assert now.summary.outputs == then.summary.outputs
        assert now.summary.created > then.summary.created
        assert len(now.json("data/record/run.json")["tasks"]) > len(then.json("data/record/run.json")["tasks"])


# --- an unpacked bundle -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unpacked(example_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that Python's zipfile unpacked the bundle to."""
    directory = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(example_bundle) as archive:
        archive.extractall(directory)
    return directory


def test_the_bundle_is_a_bag(unpacked: Path) -> None:
    assert bagit.Bag(str(unpacked)).validate()


@pytest.mark.parametrize("name", ["manifest-sha256.txt", "tagmanifest-sha256.txt"])
def test_sha256sum_agrees_with_the_manifests(unpacked: Path, name: str) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", name], cwd=unpacked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len((unpacked / name).read_text().splitlines()) > 5


@pytest.mark.slow
def test_the_crate_conforms_at_recommended(unpacked: Path, crate_validator: Path) -> None:
    # its libraries warn about each other, and the suite takes warnings for errors: in a process of its own
    words = [sys.executable, crate_validator, unpacked, "provenance-run-crate-0.5", "RECOMMENDED"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_it_replays_identically_with_one_worker(command: Command, unpacked: Path, tmp_path: Path) -> None:
    said = command("replay", unpacked, "-o", tmp_path / "again", "--yes", "-j", "1", "--json").stdout
    assert levels(said) == {"identical"}


def test_nothing_in_the_bundle_tells_who_or_where_it_was_packed(unpacked: Path, example: Path) -> None:
    """The machine's name, its user's home and the directory of the analysis are nobody's business."""
    told = {os.uname().nodename, f"{Path.home()}/", str(example.parent), f"{tempfile.gettempdir()}/"}
    for name, content in published(unpacked):
        assert not {word for word in told if len(word) > 4 and word.encode() in content}, name


def published(unpacked: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all that the bundle publishes of the author's, what is in wheels too; pip is the same for everybody."""
    for path in unpacked.rglob("*"):
        if path.suffix == ".whl":
            if not path.name.startswith("pip-"):
                with zipfile.ZipFile(path) as wheel:
                    yield from ((f"{path.name}/{name}", wheel.read(name)) for name in wheel.namelist())
        elif path.is_file():
            yield path.name, path.read_bytes()


def test_no_variable_beyond_the_allow_list_gets_into_any_byte(command: Command, example: Path, tmp_path: Path) -> None:
    """Variables with a name and a value that nothing else has, in the environment of pack and of all that it runs."""
    planted = {"PLANTED_NAME_OF_A_VARIABLE": "planted-value-0417", "OMP_PLANTED": "/home/planted/secret"}
    path = tmp_path / "planted.crate.zip"
    command("pack", example / "workflow.yaml", "-o", path, "-q", "--no-index", OMP_NUM_THREADS="3", **planted)
    with zipfile.ZipFile(path) as bundle:
        contents = {name: bundle.read(name) for name in bundle.namelist()}
    assert b'"OMP_NUM_THREADS": "3"' in contents["data/environment/environment.json"]
    for content in contents.values():
        assert b"PLANTED_NAME" not in content
        assert b"planted-value" not in content
        assert b"/home/planted" not in content
