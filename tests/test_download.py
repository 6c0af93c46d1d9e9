"""Fetching the wheels of a lock: which are chosen, from where, and what is said when they can't be had."""

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.tags import cpython_tags, mac_platforms, platform_tags, sys_tags
from packaging.utils import parse_wheel_filename

from fasthep_archive import digest
from fasthep_archive.context import NoProgress
from fasthep_archive.digest import Digest
from fasthep_archive.environment.download import chosen, download
from fasthep_archive.environment.lock import Artifact, Locked
from fasthep_archive.environment.platforms import here, there
from fasthep_archive.errors import DataError, UsageError

PYTHON = ".".join(map(str, sys.version_info[:2]))
CP = f"cp{sys.version_info[0]}{sys.version_info[1]}"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="compares with what packaging says of Linux")


def wheel(folder, name, tag="py3-none-any", *, build=None, content=b""):
    """Write a small wheel; its content tells which it is."""
    info = f"{name}-1.0.dist-info"
    file = folder / ("-".join(filter(None, (name, "1.0", build, tag))) + ".whl")
    files = {
        f"{name}/__init__.py": content or tag.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b'=').decode()},{len(raw)}\n"
        for path, raw in files.items()
    ]
    with zipfile.ZipFile(file, "w") as archive:
        for path, raw in {**files, f"{info}/RECORD": "".join(rows).encode() + f"{info}/RECORD,,\n".encode()}.items():
            archive.writestr(path, raw)
    return file


def locked(name, *files, marker=None, status="index", sizes=True):
    return Locked(
        name=name,
        version="1.0",
        marker=marker,
        requires_python=None,
        needs=(),
        artifacts=tuple(
            Artifact(name=file.name, sha256=digest.of_file(file), size=file.stat().st_size if sizes else None)
            for file in files
        ),
        status=status,
        files=Digest("0" * 64),
        commit=None,
        dirty=None,
    )


@dataclass
class Index:
    """A package index on 127.0.0.1: a folder for each project, in which its files are."""

    folder: Path
    environ: dict[str, str]
    requests: list[str] = field(default_factory=list)

    def project(self, name):
        place = self.folder / "simple" / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def add(self, name, *tags):
        return [wheel(self.project(name), name, tag) for tag in tags or ("py3-none-any",)]

    def vanish(self, file):
        """Leave the file on the project's page, and answer 404 for it."""
        page = "".join(f'<a href="{one.name}">{one.name}</a>' for one in sorted(file.parent.glob("*.whl")))
        (file.parent / "index.html").write_text(f"<!DOCTYPE html><html><body>{page}</body></html>")
        file.unlink()


@pytest.fixture
def index(tmp_path) -> Iterator[Index]:
    folder = tmp_path / "index"
    (folder / "simple").mkdir(parents=True)
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *message):
            requests.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Index(folder, environ(tmp_path, f"http://127.0.0.1:{server.server_port}/simple/"), requests)
        finally:
            server.shutdown()
            thread.join()


def environ(tmp_path, url):
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": url,
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
        "PIP_RETRIES": "0",
    }


@pytest.fixture
def fetch(index, tmp_path):
    """Return the function under test, with what all tests give it."""

    def fetched(*wanted, **options):
        options = {"python": PYTHON, "environ": index.environ, "progress": NoProgress(), **options}
        return [path.name for path in download(wanted, tmp_path / "wheels", **options)]

    return fetched


def taken_by_pip(index, name, directory, *options):
    """Return the file that pip takes of its own accord."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", directory]
    subprocess.run([*command, *options, f"{name}==1.0"], env=index.environ, check=True)
    return next(directory.glob("*.whl")).name


# --- which wheel ---------------------------------------------------------------------------------------------------


def some_tags():
    """Return tags of wheels of all kinds, the best of them neither first nor last."""
    own = [str(tag) for tag in sys_tags()]
    return (own[-1], own[len(own) // 2], own[3], "py3-none-any", own[40], own[-2], "cp38-cp38-win_amd64")


def test_the_wheel_is_the_one_that_packaging_puts_first(index, fetch):
    files = index.add("grid", *dict.fromkeys(some_tags()))
    order = list(sys_tags())
    best = min(
        files,
        key=lambda file: min((order.index(t) for t in parse_wheel_filename(file.name)[3] if t in order), default=9e9),
    )
    assert fetch(locked("grid", *files)) == [best.name]


def test_the_wheel_is_the_one_that_pip_takes(index, fetch, tmp_path):
    files = index.add("grid", *dict.fromkeys(some_tags()))
    assert fetch(locked("grid", *files)) == [taken_by_pip(index, "grid", tmp_path / "pip-took")]


def test_of_equal_tags_the_higher_build_number_is_taken_as_pip_does(index, fetch, tmp_path):
    files = [wheel(index.project("grid"), "grid", build=build) for build in ("2", "10", None)]
    assert fetch(locked("grid", *files)) == ["grid-1.0-10-py3-none-any.whl"]
    assert taken_by_pip(index, "grid", tmp_path / "pip-took") == "grid-1.0-10-py3-none-any.whl"


@pytest.mark.parametrize("platform", ["macosx_14_0_arm64", "win_amd64", "musllinux_1_2_x86_64"])
def test_the_wheel_for_another_platform_is_the_one_that_pip_takes(index, tmp_path, platform):
    files = index.add(
        "grid",
        f"{CP}-{CP}-win_amd64",
        "cp38-abi3-win_amd64",
        f"{CP}-{CP}-macosx_11_0_arm64",
        f"{CP}-{CP}-macosx_14_0_arm64",
        f"{CP}-{CP}-macosx_15_0_arm64",
        f"{CP}-{CP}-macosx_10_9_universal2",
        f"{CP}-{CP}-musllinux_1_2_x86_64",
        f"{CP}-{CP}-manylinux_2_17_x86_64",
        "py3-none-any",
    )
    options = ("--platform", platform, "--python-version", PYTHON)
    taken = taken_by_pip(index, "grid", tmp_path / "pip-took", *options)
    assert chosen(locked("grid", *files), there(platform, PYTHON)).name == taken


def test_wheels_for_older_c_libraries_fit_a_newer_platform(index, fetch):
    (file,) = index.add("grid", f"{CP}-{CP}-manylinux_2_17_aarch64.manylinux2014_aarch64")
    wanted = locked("grid", file, marker="platform_machine == 'aarch64' and sys_platform == 'linux'")
    assert file.name in fetch(wanted, platforms=["manylinux_2_28_aarch64"])


def test_wheels_for_newer_c_libraries_do_not(index):
    (file,) = index.add("grid", f"{CP}-{CP}-manylinux_2_34_aarch64")
    assert chosen(locked("grid", file), there("manylinux_2_28_aarch64", PYTHON)) is None


@LINUX
def test_a_platform_by_name_is_what_packaging_finds_on_it():
    found = tuple(platform_tags())
    newest = next((name for name in found if name.startswith(("manylinux_2", "musllinux_1"))), None)
    if newest is None:
        pytest.skip("neither glibc nor musl")
    assert there(newest, PYTHON).platforms == found


def test_the_tags_of_a_platform_are_those_of_packaging():
    platforms = list(mac_platforms((14, 0), "arm64"))
    tags = there("macosx_14_0_arm64", "3.12").tags
    expected = list(cpython_tags((3, 12), ["cp312"], platforms))
    assert list(tags[: len(expected)]) == expected


def test_this_machine_has_the_tags_of_this_interpreter():
    assert list(here(PYTHON).tags) == list(sys_tags())


def test_another_minor_version_gets_its_own_wheels(index, fetch):
    files = index.add("grid", "cp310-cp310-" + next(platform_tags()), "cp39-cp39-" + next(platform_tags()))
    assert fetch(locked("grid", *files), python="3.10") == [files[0].name]


@pytest.mark.parametrize("name", ["windows", "manylinux", "win_arm", "macosx_arm64", "linux", "win_win32", "amd64"])
def test_an_unknown_platform_is_refused_with_examples(name):
    with pytest.raises(UsageError, match=r"no platform[\s\S]*macosx_14_0_arm64"):
        there(name, PYTHON)


@pytest.mark.parametrize("name", ["win32", "win_arm64", "manylinux2014_aarch64", "linux_x86_64", "macosx_10_9_x86_64"])
def test_the_platforms_that_pip_knows_are_known(name):
    assert name in there(name, PYTHON).platforms


def test_a_package_is_not_fetched_for_a_platform_that_does_not_need_it(index, fetch):
    (colour,) = index.add("colour")
    (grid,) = index.add("grid")
    wanted = (locked("colour", colour, marker='sys_platform == "haiku"'), locked("grid", grid))
    assert fetch(*wanted) == [grid.name]


def test_a_package_that_only_another_platform_needs_is_fetched_for_that(index, fetch):
    (colour,) = index.add("colour")
    wanted = locked("colour", colour, marker='sys_platform == "win32" and platform_machine == "AMD64"')
    assert (fetch(wanted), fetch(wanted, platforms=["win_amd64"])) == ([], [colour.name])


# --- from where ----------------------------------------------------------------------------------------------------


def test_a_folder_of_wheels_is_looked_into_before_an_index_is_asked(index, fetch, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    file = wheel(folder, "grid")
    assert (fetch(locked("grid", file), wheels_from=folder), index.requests) == ([file.name], [])


def test_a_flipped_byte_in_the_folder_is_refused(fetch, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    wanted = locked("grid", file := wheel(folder, "grid"))
    file.write_bytes(flipped(file))
    with pytest.raises(
        DataError, match=f"grid 1.0 for .*sha256 {digest.of_file(file)}, not {wanted.artifacts[0].sha256}"
    ):
        fetch(wanted, wheels_from=folder)


def test_a_file_of_the_folder_that_is_not_the_locked_one_is_passed_over(index, fetch, tmp_path):
    (file,) = index.add("grid")
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / file.name).write_bytes(b"another")
    assert fetch(locked("grid", file), wheels_from=folder) == [file.name]


def test_a_folder_of_wheels_that_is_not_there_is_said(index, fetch, tmp_path):
    (file,) = index.add("grid")
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        fetch(locked("grid", file), wheels_from=tmp_path / "nowhere")


def test_what_is_there_is_not_fetched_again(index, fetch):
    (file,) = index.add("grid")
    fetch(locked("grid", file))
    index.requests.clear()
    assert (fetch(locked("grid", file)), index.requests) == ([file.name], [])


def test_an_index_is_not_asked_for_what_is_on_none(index, fetch):
    (file,) = index.add("private")
    with pytest.raises(DataError, match=r"private 1.0 for"):
        fetch(locked("private", file, status="built"))
    assert index.requests == []


def test_no_index_is_asked_when_none_is_to_be(index, fetch):
    (file,) = index.add("grid")
    with pytest.raises(DataError, match=r"grid-1.0-py3-none-any.whl is not at hand[\s\S]*--wheels DIR"):
        fetch(locked("grid", file), index=False)
    assert index.requests == []


def test_progress_is_told_in_bytes_and_is_complete(index, fetch):
    class Heard(NoProgress):
        total, done, unit = 0, 0, ""

        def start(self, what, total, unit):
            self.total, self.unit = total, unit

        def advance(self, amount):
            self.done += amount

    heard = Heard()
    files = [index.add(name)[0] for name in ("grid", "colour")]
    fetch(*(locked(file.name.split("-")[0], file) for file in files), progress=heard)
    assert (heard.total, heard.done, heard.unit) == (sum(file.stat().st_size for file in files),) * 2 + ("bytes",)


# --- what can't be had ---------------------------------------------------------------------------------------------


def flipped(file):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    return bytes(raw)


def test_a_flipped_byte_is_refused(index, fetch):
    (file,) = index.add("grid")
    wanted = locked("grid", file)
    file.write_bytes(flipped(file))
    with pytest.raises(DataError, match=f"grid 1.0 for .*bytes are not those .*{wanted.artifacts[0].sha256}"):
        fetch(wanted)


def test_a_vanished_file_is_named(index, fetch):
    (file,) = index.add("grid")
    wanted = locked("grid", file)
    index.vanish(file)
    with pytest.raises(DataError, match=r"grid 1.0 for .*no package index has grid-1.0-py3-none-any.whl any more"):
        fetch(wanted)


def test_everything_that_is_missing_is_named_together(index, fetch):
    wanted = [locked(name, *index.add(name)) for name in ("one", "two", "three")]
    native = locked("native", *index.add("native", "cp38-cp38-win32"))
    index.vanish(index.project("one") / "one-1.0-py3-none-any.whl")
    shutil.rmtree(index.project("two"))
    with pytest.raises(DataError) as raised:
        fetch(*wanted, native)
    named = [line.split()[0] for line in str(raised.value).splitlines() if line.startswith("  ")]
    assert named == ["native", "one", "two"]


def test_a_platform_without_a_wheel_is_named_with_what_to_do(index, fetch):
    files = index.add("native", str(next(sys_tags())))
    with pytest.raises(DataError, match=r"native 1.0 for win_arm64: none of its 1 wheels[\s\S]*hint: leave out"):
        fetch(locked("native", *files), platforms=["win_arm64"])


def test_nothing_is_left_behind_when_something_is_missing(index, fetch, tmp_path):
    wanted = [locked(name, *index.add(name)) for name in ("one", "two")]
    index.vanish(index.project("two") / "two-1.0-py3-none-any.whl")
    with pytest.raises(DataError, match="a wheel can't be had"):
        fetch(*wanted)
    assert list((tmp_path / "wheels").iterdir()) == []


def test_an_index_that_can_not_be_reached_is_said_to_be_that(index, fetch, tmp_path):
    (file,) = index.add("grid")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = environ(tmp_path, f"http://127.0.0.1:{unused.getsockname()[1]}/simple/")
        with pytest.raises(DataError, match=r"no package index could be reached for grid[\s\S]*with a network"):
            fetch(locked("grid", file), environ=nowhere)


def test_an_unresolved_package_is_named(fetch):
    with pytest.raises(DataError, match=r"grid 1.0 for .*its files are not known"):
        fetch(locked("grid", status="unresolved"))
