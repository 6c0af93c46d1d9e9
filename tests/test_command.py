"""The program in every bundle: what it says, what it asks, and that it replays with nothing but the bundle."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hostile import make
from locked import TOOLS, Locked, entry, tiny, wheel
from pythons import pythons

from fasthep_archive.bundle import command, layout, program, rebuild

PATH = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
OFFLINE = ("unshare", "-rn")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that carries its whole environment; tests must not change it."""
    return Locked().write(tmp_path_factory.mktemp("bundle") / "muons.crate.zip")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """Return a cache in which the environment of ``bundle`` is built already."""
    directory = tmp_path_factory.mktemp("cache")
    replayed(bundle, "--yes", cache=directory)
    return directory


def environ(cache: Path | None, variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    named = {} if cache is None else {"FASTHEP_ARCHIVE_CACHE": str(cache)}
    return {**kept, "PATH": PATH, "PIP_CONFIG_FILE": os.devnull, **named, **variables}


def replay(
    bundle: Path,
    *arguments: str | Path,
    cache: Path | None,
    python: str | Path = sys.executable,
    before: tuple[str, ...] = (),
    cwd: Path | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    words = [*before, str(python), str(bundle), "replay", *map(str, arguments)]
    return subprocess.run(
        words,
        env=environ(cache, variables),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def replayed(bundle: Path, *arguments: str | Path, cache: Path | None, **options: str) -> dict[str, object]:
    """Return what the tool inside says of how it was started."""
    done = replay(bundle, *arguments, cache=cache, **options)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def works(*words: str) -> bool:
    return bool(shutil.which(words[0])) and subprocess.run([*words, "true"], check=False).returncode == 0


# --- what it says ---------------------------------------------------------------------------------------------------


def said(bundle: Path, *arguments: str) -> str:
    words = [sys.executable, "-I", str(bundle), *arguments]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=True, env={"COLUMNS": "100"})
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("word", ["verify", "info", "replay", "examples:", "exit status:", "  130  interrupted"])
def test_the_help_says_what_it_does_how_and_with_what_status(bundle: Path, word: str) -> None:
    assert word in said(bundle, "--help")


def test_the_help_names_the_bundle_that_it_is_in(bundle: Path) -> None:
    assert "python3 muons.crate.zip replay -o again" in said(bundle, "--help")


@pytest.mark.parametrize("verb", ["verify", "info", "replay"])
def test_each_command_has_a_help_of_its_own(bundle: Path, verb: str) -> None:
    text = said(bundle, verb, "--help")
    assert text.startswith(f"usage: python3 muons.crate.zip {verb}")
    assert "exit status:" in text


def test_the_lines_of_the_help_fit_a_terminal(bundle: Path) -> None:
    text = said(bundle, "--help") + said(bundle, "replay", "--help")
    assert max(map(len, text.splitlines())) <= 100


def test_a_percent_sign_in_a_name_does_no_harm(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "50%s.crate.zip"
    other.symlink_to(bundle)
    assert "50%s.crate.zip" in said(other, "--help")


@pytest.mark.parametrize(
    "arguments",
    [["replay", "--workers", "0"], ["replay", "-j", "many"], ["replay", "--chunk", "-1"], ["replay", "--wrong"]],
)
def test_wrong_arguments_exit_with_2_before_anything_is_read(bundle: Path, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, bundle, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: python3 muons.crate.zip " in done.stderr


# --- consent --------------------------------------------------------------------------------------------------------


def test_with_nobody_to_ask_nothing_runs(bundle: Path, tmp_path: Path) -> None:
    done = replay(bundle, cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (4, "")
    assert "hint: say --yes if you trust it" in done.stderr
    assert not (tmp_path / "cache").exists()


def at_a_terminal(bundle: Path, cache: Path, answer: str) -> tuple[int, str]:
    """Return exit status and standard output of a replay, asked on a terminal and answered."""
    ours, its = pty.openpty()
    words = [sys.executable, str(bundle), "replay"]
    with subprocess.Popen(
        words, env=environ(cache, {}), stdin=its, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        os.close(its)
        os.write(ours, answer.encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, out


def test_who_says_yes_on_the_terminal_gets_a_replay(bundle: Path, cache: Path) -> None:
    status, out = at_a_terminal(bundle, cache, "y\n")
    assert status == 0
    assert "replay" in json.loads(out)["arguments"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "yesterday\n"])
def test_who_says_anything_else_gets_none(bundle: Path, cache: Path, answer: str) -> None:
    assert at_a_terminal(bundle, cache, answer) == (4, "")


def test_a_damaged_bundle_is_refused_before_anybody_is_asked(bundle: Path, tmp_path: Path) -> None:
    raw = bytearray(bundle.read_bytes())
    at = raw.index(tiny().raw) + 60
    raw[at] ^= 1
    damaged = tmp_path / "damaged.crate.zip"
    damaged.write_bytes(raw)
    done = replay(damaged, "--yes", cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{rebuild.WHEELS}{tiny().file}: has the" in done.stderr
    assert not (tmp_path / "cache").exists()


# --- handing over ---------------------------------------------------------------------------------------------------


def test_the_tool_of_the_bundle_replays_in_its_own_environment(bundle: Path, cache: Path) -> None:
    told = replayed(bundle, "--yes", cache=cache)
    assert told["tiny"] == "1.0"
    assert told["isolated"] == 1
    assert str(told["python"]).startswith(str(cache / "environments"))
    assert told["arguments"] == ["replay", str(bundle), "--env", "current", "--yes", "--output", "replay"]


def test_every_option_of_the_replay_is_handed_on(bundle: Path, cache: Path) -> None:
    options = ["-o", "again", "-j", "3", "--chunk", "1000", "--only", "A", "--only", "B", "--json", "-q", "--fetch"]
    told = replayed(bundle, "--yes", *options, "--data", "d", "--python", sys.executable, cache=cache)
    assert isinstance(told["arguments"], list)
    expected = "--output again --workers 3 --chunk 1000 --data d --only A --only B --json --quiet --fetch"
    assert " ".join(told["arguments"][5:]) == expected


def test_a_cache_that_is_named_reaches_the_tool(bundle: Path, cache: Path) -> None:
    told = replayed(bundle, "--yes", "--cache", cache, cache=None, HOME="/nowhere")
    assert told["cache"] == str(cache)


def test_the_cache_is_the_users_by_default(bundle: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "fasthep-archive").symlink_to(cache)
    told = replayed(bundle, "--yes", cache=None, XDG_CACHE_HOME=str(tmp_path))
    assert told["cache"] == str(tmp_path / "fasthep-archive")


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4])
def test_the_exit_status_is_the_tools(bundle: Path, cache: Path, status: int) -> None:
    assert replay(bundle, "--yes", cache=cache, ACT=str(status)).returncode == status


def test_a_tool_that_is_killed_is_told_as_shells_do(bundle: Path, cache: Path) -> None:
    assert replay(bundle, "--yes", cache=cache, ACT="die").returncode == 128 + signal.SIGKILL


def test_an_interruption_is_the_tools_to_handle(bundle: Path, cache: Path) -> None:
    words = [sys.executable, str(bundle), "replay", "--yes"]
    with subprocess.Popen(
        words, env=environ(cache, {"ACT": "wait"}), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == command.INTERRUPTED


def test_quiet_says_nothing_of_its_own(bundle: Path, cache: Path) -> None:
    assert replay(bundle, "--yes", "-q", cache=cache).stderr == ""


def test_the_environment_is_built_once(bundle: Path, cache: Path) -> None:
    assert "installing" not in replay(bundle, "--yes", cache=cache).stderr


def test_an_unpacked_bundle_replays(bundle: Path, cache: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert replayed(tmp_path / "unpacked", "--yes", cache=cache)["tiny"] == "1.0"


def test_the_program_beside_a_bundle_replays_it(bundle: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copy(bundle, tmp_path)
    beside = layout.sidecar(tmp_path / bundle.name)
    beside.write_bytes(program.program())
    assert replayed(beside, "--yes", cache=cache)["tiny"] == "1.0"


def test_the_program_replays_another_bundle(bundle: Path, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.crate.zip"
    other.write_bytes(make.zipped(make.sound()))
    told = replayed(other, bundle, "--yes", cache=cache)
    assert str(bundle) in str(told["arguments"])


@pytest.mark.skipif(not works(*OFFLINE), reason="needs unshare")
def test_a_bundle_that_carries_everything_needs_no_network(bundle: Path, tmp_path: Path) -> None:
    done = replay(bundle, "--yes", cache=tmp_path / "cache", before=OFFLINE)
    assert done.returncode == 0, done.stderr
    assert "installing 2 packages, all from the bundle" in done.stderr


def test_spaces_and_umlauts_in_paths(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "Änderungen für µ"
    place.mkdir()
    shutil.copy(bundle, place / "zwei müonen.crate.zip")
    told = replayed(place / "zwei müonen.crate.zip", "--yes", cache=place / "der cache")
    assert str(told["python"]).startswith(str(place / "der cache"))


def test_settings_of_pip_and_python_change_nothing(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text("VERSION = 'from elsewhere'\n")
    told = replayed(
        bundle,
        "--yes",
        cache=tmp_path / "cache",
        PYTHONPATH=str(tmp_path),
        PIP_TARGET=str(tmp_path / "target"),
        PIP_NO_BINARY=":all:",
        PIP_CONFIG_FILE=str(tmp_path / "absent.conf"),
    )
    assert told["tiny"] == "1.0"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("version", [f"3.{minor}" for minor in range(8, 15)])
def test_the_program_finds_the_python_that_the_environment_needs(bundle: Path, cache: Path, version: str) -> None:
    python = pythons().get(version)
    if python is None:
        pytest.skip(f"needs Python {version}")
    done = replay(bundle, "--yes", cache=cache, python=python)
    assert (done.returncode, json.loads(done.stdout or "{}").get("tiny")) == (0, "1.0"), done.stderr


@pytest.mark.parametrize(
    "version", ["3.11", "3.13", *(pytest.param(f"3.{minor}", marks=pytest.mark.slow) for minor in (10, 12, 14))]
)
def test_an_environment_of_another_python_is_built_on_that(tmp_path: Path, version: str) -> None:
    python = pythons().get(version)
    if python is None:
        pytest.skip(f"needs Python {version}")
    path = Locked(version=f"{version}.99").write(tmp_path / "muons.crate.zip")
    done = replay(path, "--yes", cache=tmp_path / "cache", PATH=f"{python.parent}{os.pathsep}{PATH}")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"CPython {re.escape(version)}\.\d+ for .*; the bundle was made with {version}\.99", done.stderr)


# --- what can't be rebuilt ------------------------------------------------------------------------------------------


def test_a_bundle_without_a_lock_says_how_to_replay_it(tmp_path: Path) -> None:
    path = tmp_path / "muons.crate.zip"
    path.write_bytes(make.zipped(make.sound()))
    done = replay(path, "--yes", cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: the bundle locks no environment\n\nhint: install fasthep-archive" in done.stderr


def test_without_the_right_python_nothing_is_built(tmp_path: Path) -> None:
    path = Locked(version="3.99.1").write(tmp_path / "muons.crate.zip")
    done = replay(path, "--yes", cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the bundle's environment needs CPython 3.99, and this machine has none" in done.stderr
    assert "--env current" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_packages_without_a_wheel_for_this_platform_are_named_all_at_once(tmp_path: Path) -> None:
    foreign = wheel("foreign", {}, tag="cp27-cp27m-win32")
    alien = wheel("alien", {}, version="2.0", tag="cp27-cp27m-win32")
    path = Locked(entries=(entry(TOOLS), entry(foreign), entry(alien), entry(tiny()))).write(tmp_path / "m.crate.zip")
    done = replay(path, "--yes", cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "2 packages of the lock have no wheel for CPython" in done.stderr
    assert ":\n  alien==2.0\n  foreign==1.0\n" in done.stderr
    assert "--platform" in done.stderr


def test_a_message_from_the_bundle_cannot_disturb_the_terminal(tmp_path: Path) -> None:
    path = Locked(unresolved=("\\u001b[31mred",)).write(tmp_path / "muons.crate.zip")
    done = replay(path, "--yes", cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "\\x1b[31mred" in done.stderr
    assert "\x1b" not in done.stderr


# --- builds that are disturbed --------------------------------------------------------------------------------------


def begun(bundle: Path, cache: Path) -> subprocess.Popen[str]:
    words = [sys.executable, str(bundle), "replay", "--yes"]
    return subprocess.Popen(
        words,
        env=environ(cache, {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def environments(cache: Path) -> list[Path]:
    return list(cache.glob("environments/*/env-*"))


def test_a_build_that_was_killed_is_done_again(bundle: Path, tmp_path: Path) -> None:
    with begun(bundle, tmp_path) as process:
        while not environments(tmp_path):
            time.sleep(0.01)
        process.kill()  # and not its pip, which may go on for a while
    assert not list(tmp_path.glob("environments/*/complete.json"))
    assert replayed(bundle, "--yes", cache=tmp_path)["tiny"] == "1.0"
    assert list(tmp_path.glob("environments/*/complete.json"))


def test_a_build_that_was_interrupted_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    with begun(bundle, tmp_path) as process:
        while not environments(tmp_path):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == command.INTERRUPTED
    assert [path.name for path in tmp_path.glob("environments/*/*")] == ["lock"]


def test_two_at_once_build_once(bundle: Path, tmp_path: Path) -> None:
    both = [begun(bundle, tmp_path), begun(bundle, tmp_path)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("installing" in err for _, err in told) == 1
    assert len({json.loads(out)["python"] for out, _ in told}) == 1


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


@pytest.mark.skipif(not works("unshare", "-rm"), reason="needs unshare")
def test_an_environment_in_a_read_only_cache_is_used(bundle: Path, cache: Path) -> None:
    before = ("unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(cache))
    done = replay(bundle, "--yes", cache=cache, before=before)
    assert (done.returncode, json.loads(done.stdout or "{}").get("tiny")) == (0, "1.0"), done.stderr


@pytest.mark.skipif(not works("unshare", "-rm"), reason="needs unshare")
def test_a_read_only_cache_without_the_environment_is_an_error(bundle: Path, tmp_path: Path) -> None:
    before = ("unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(tmp_path))
    done = replay(bundle, "--yes", cache=tmp_path, before=before)
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert "hint: name another place with --cache" in done.stderr


@pytest.mark.skipif(not works("unshare", "-rm"), reason="needs unshare")
def test_a_python_without_ensurepip_will_do(bundle: Path, tmp_path: Path) -> None:
    import ensurepip

    hidden = str(Path(ensurepip.__file__).parent)
    before = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$1" && shift && exec "$@"', "sh", hidden)
    probe = subprocess.run([*before, sys.executable, "-c", "import ensurepip; ensurepip.version"], check=False)
    assert probe.returncode, "ensurepip should be hidden"
    done = replay(bundle, "--yes", cache=tmp_path, before=before)
    assert done.returncode == 0, done.stderr
