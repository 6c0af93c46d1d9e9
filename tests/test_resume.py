"""Runs that are killed, interrupted, doubled, or that find a full disk or a damaged store: nothing finished is lost."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from command import Command, with_kernels
from interrupted import CHUNK, Toy, made, product

import fasthep_archive
from fasthep_archive.errors import DataError

EVENTS = 400_000
PASSES = EVENTS // CHUNK
PATIENCE = 60.0
"""Seconds after which something that should happen never will."""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Toy:
    return made(tmp_path_factory.mktemp("toy"), EVENTS, kernel_cache)


def words(toy: Toy, out: Path) -> tuple[str | Path, ...]:
    return ("run", toy.workflow, "-o", out, "-j", "2", "--chunk", str(CHUNK), "--json", "-q")


def results(command: Command) -> dict[Path, tuple[int, int]]:
    """Return what the store holds: which file each result is, and when it was written."""
    files = (path for path in (command.cache / "store").glob("[0-9a-f][0-9a-f]/*") if not path.name.startswith("."))
    return {path: ((state := path.stat()).st_ino, state.st_mtime_ns) for path in files}


def statuses(said: str) -> list[str]:
    """Return the status of each pass; the merge of the product comes last and is left out."""
    tasks = json.loads(said)["tasks"]
    assert len(tasks) == PASSES + 1
    return [task["status"] for task in tasks[:-1]]


def until(condition: object, what: str) -> None:
    """Wait for a condition."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, f"{what} within {PATIENCE} s"
        time.sleep(0.002)


def in_the_middle(command: Command, toy: Toy, out: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Start a run and return it with its workers, when it is well under way and far from done."""
    process = command.start(*words(toy, out))
    until(lambda: results(command) or process.poll() is not None, "the run gets going")
    below = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in below if not child.children() and "resource_tracker" not in " ".join(child.cmdline())]
    assert len(workers) == 2
    until(lambda: len(results(command)) >= 10 or process.poll() is not None, "the run goes on")
    assert process.poll() is None, process.communicate()
    return process, workers


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


# --- the main process is killed ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A run that ``kill -9`` ended: what it left in the store, and what the next run said and left."""

    orphans: list[psutil.Process]
    kept: Mapping[Path, tuple[int, int]]
    command: Command
    said: str
    out: Path


@pytest.fixture(scope="module")
def killed(toy: Toy, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    directory = tmp_path_factory.mktemp("killed")
    command = Command(cache=with_kernels(directory / "cache", kernel_cache))
    process, workers = in_the_middle(command, toy, directory / "out")
    process.kill()
    process.wait()
    ends = time.monotonic() + 20
    while alive(workers) and time.monotonic() < ends:
        time.sleep(0.01)
    orphans, kept = alive(workers), results(command)
    for orphan in orphans:
        orphan.kill()
    process.communicate()  # which ends when nobody has the other end of the pipes
    assert not (directory / "out" / "histograms").exists(), "the run was over before it was killed"
    said = command(*words(toy, directory / "out")).stdout
    return Killed(orphans=orphans, kept=kept, command=command, said=said, out=directory / "out")


def test_workers_do_not_survive_the_killed_main_process(killed: Killed) -> None:
    assert killed.orphans == []


def test_the_next_run_takes_what_was_finished(killed: Killed) -> None:
    found = statuses(killed.said)
    assert 10 <= len(killed.kept) < PASSES
    assert (found.count("cached"), found.count("computed")) == (len(killed.kept), PASSES - len(killed.kept))


def test_the_next_run_writes_no_finished_result_again(killed: Killed) -> None:
    now = results(killed.command)
    assert {path: now[path] for path in killed.kept} == killed.kept
    assert len(now) == PASSES + 1


def test_the_next_run_leaves_the_bytes_of_an_uninterrupted_one(killed: Killed, toy: Toy) -> None:
    assert product(killed.out) == toy.expected


# --- a worker is killed -----------------------------------------------------------------------------------------------


def test_a_run_that_loses_a_worker_completes(fresh: Command, toy: Toy, tmp_path: Path) -> None:
    process, workers = in_the_middle(fresh, toy, tmp_path / "out")
    workers[0].kill()
    said, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert product(tmp_path / "out") == toy.expected
    assert len(statuses(said)) == PASSES


# --- somebody interrupts it -------------------------------------------------------------------------------------------


def everybody(process: subprocess.Popen[str]) -> None:
    """Interrupt the main process and its workers, as Ctrl-C does."""
    os.killpg(process.pid, signal.SIGINT)


def everybody_at_once(process: subprocess.Popen[str]) -> None:
    """Ask the main process and its workers to end, as a service manager does."""
    os.killpg(process.pid, signal.SIGTERM)


def main_alone(process: subprocess.Popen[str]) -> None:
    """Ask the main process to end, as a batch system does."""
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("interrupt", [everybody, everybody_at_once, main_alone])
def test_an_interrupted_run_says_so_and_goes_on_later(fresh: Command, toy: Toy, tmp_path: Path, interrupt) -> None:
    process, workers = in_the_middle(fresh, toy, tmp_path / "out")
    interrupt(process)
    _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (
        130,
        "interrupted; what was finished is kept, and the same command goes on from there\n",
    )
    assert alive(workers) == []
    kept = len(results(fresh))
    assert 10 <= kept < PASSES
    ran = fasthep_archive.run(toy.workflow, tmp_path / "out", workers=1, chunk=CHUNK, cache=fresh.cache)
    assert [task.done for task in ran.record.tasks].count(None) == kept
    assert product(tmp_path / "out") == toy.expected


# --- the store --------------------------------------------------------------------------------------------------------


def test_two_runs_at_once_share_a_store(fresh: Command, toy: Toy, tmp_path: Path) -> None:
    processes = [fresh.start(*words(toy, tmp_path / name)) for name in ("one", "other")]
    for process in processes:
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, told
    assert product(tmp_path / "one") == product(tmp_path / "other") == toy.expected
    assert len(results(fresh)) == PASSES + 1


def test_damaged_results_and_they_alone_are_computed_again(kernel_cache: Path, toy: Toy, tmp_path: Path) -> None:
    cache = with_kernels(tmp_path / "cache", kernel_cache)
    command = Command(cache=cache)

    def run() -> list[bool]:
        ran = fasthep_archive.run(toy.workflow, tmp_path / "out", workers=1, chunk=20_000, cache=cache)
        return [task.done is not None for task in ran.record.tasks]

    assert run() == [True] * 21
    before = results(command)
    (merged,) = (path for path in before if b"histograms/Pt.json" in path.read_bytes())
    part = min(before.keys() - {merged})
    for path in (part, merged):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again = run()
    assert (again[:-1].count(True), again[-1]) == (1, True)
    assert product(tmp_path / "out") == toy.expected
    now = results(command)
    assert {path for path in now if now[path] != before[path]} == {part, merged}


# --- nowhere to write -------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Return an empty directory on which :func:`with_disk` can mount."""
    directory = tmp_path / "disk"
    directory.mkdir()
    trial = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", str(directory)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs unshare and the right to mount")
    return directory


def with_disk(directory: Path, options: str) -> list[str]:
    """Return what runs a command for which a disk with these options is mounted on ``directory``."""
    script = f'mount -t tmpfs -o {options} none {directory} && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


def test_a_full_disk_is_named_with_the_file_that_it_did_not_take(fresh: Command, toy: Toy, mounted: Path) -> None:
    out = mounted / "out"
    words_ = ("run", toy.workflow, "-o", out, "-q", "--chunk", "200000", "-j", "1")
    told = fresh(*words_, status=2, before=with_disk(mounted, "size=4k")).stderr
    assert told.startswith(f"error: {out}/")
    assert " can't be written: No space left on device\n" in told


def test_a_full_cache_is_named_with_the_stage_and_the_partition(fresh: Command, toy: Toy, mounted: Path) -> None:
    shutil.move(fresh.cache, mounted.parent / "kernels")
    link = f"ln -s {mounted.parent / 'kernels' / 'kernels'} {mounted}/kernels && "
    before = with_disk(mounted, "size=24k,mode=700")
    before[-2] = before[-2].replace("exec", f"{link}exec")
    full = Command(cache=mounted)
    told = full(
        "run", toy.workflow, "-o", mounted.parent / "out", "-q", "--chunk", "200000", "-j", "1", status=3, before=before
    ).stderr
    assert f"stage Pt failed on events 200000 to {EVENTS} of events.root (toy): {mounted}/store/" in told
    assert "No space left on device" in told


def test_a_directory_below_a_file_is_an_error_of_the_user(toy: Toy, kernel_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "out"
    with pytest.raises(DataError, match=f"{out} can't be written: Not a directory") as caught:
        fasthep_archive.run(toy.workflow, out, cache=kernel_cache)
    assert caught.value.exit_status == 2


@pytest.mark.slow
def test_what_a_killed_pack_leaves_behind_is_cleared_by_the_next_one(
    fresh: Command, example: Path, tmp_path: Path
) -> None:
    words = ("pack", example / "workflow.yaml", "-o", tmp_path / "x.crate.zip", "-q", "--no-index")
    process = fresh.start(*words)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".fasthep-archive-*/staged")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob(".fasthep-archive-*"))
    fresh(*words)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["x.crate.zip"]
