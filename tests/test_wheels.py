"""Wheels of installed files and of source trees. Oracles: the wheels themselves, pip and uv, which install both."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.environment import building, installed, source_tree, wheels
from fasthep_archive.environment.source_tree import State, state, tree_of
from fasthep_archive.environment.wheel_layout import restored
from fasthep_archive.errors import DataError

INSTALLERS = {
    "pip": [sys.executable, "-m", "pip", "--python", "{python}", "install", "-q", "--no-index", "--no-deps"],
    "uv": [
        *(sys.executable, "-m", "uv", "pip", "install", "-q", "--offline", "--no-index", "--no-deps"),
        *("--no-config", "--no-cache", "--link-mode", "copy", "--python", "{python}"),
    ],
}
POSIX = pytest.mark.skipif(os.name != "posix", reason="places and modes of files as POSIX has them")


def environment(place):
    """Make a virtual environment without pip and return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return place / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(installer, python, wheel):
    words = [word.format(python=python) for word in INSTALLERS[installer]]
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1"}
    subprocess.run([*words, str(wheel)], check=True, env=env)
    site = sysconfig.get_path("purelib", vars={"base": str(python.parent.parent)})
    name, version = Path(wheel).name.split("-")[:2]
    return next(
        found
        for found in Distribution.discover(path=[site])
        if (found.name.replace("-", "_").lower(), found.version) == (name.lower(), version)
    )


def sealed(files, destination):
    """Write a wheel, by hand, of paths, contents and whether they are executable."""
    info = next(path.partition("/")[0] for path in files if ".dist-info/" in path)
    rows = []
    for path, (raw, _) in files.items():
        sha256 = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={sha256},{len(raw)}\n")
    record = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(destination, "w") as archive:
        for path, (raw, executable) in {**files, f"{info}/RECORD": (record, False)}.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, raw)
    return destination


def content(wheel):
    """Return what a wheel holds: bytes and executable bit by path, without its RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            info.filename: (archive.read(info), bool(info.external_attr >> 16 & 0o111))
            for info in archive.infolist()
            if not info.filename.endswith(".dist-info/RECORD")
        }


def rebuilt(found, directory):
    directory.mkdir(parents=True, exist_ok=True)
    return wheels.rebuilt(found, directory)


GRID = {
    "grid/__init__.py": (b"def main():\n    print('grid')\n", False),
    "grid/helper": (b"#!/bin/sh\n", True),
    "grid_1/__init__.py": (b"", False),
    "grid-1.0.data/scripts/grid-submit": (b"#!python\nprint('submitted')\n", True),
    "grid-1.0.data/scripts/grid-env": (b"#!/usr/bin/env python3\nprint('env')\n", True),
    "grid-1.0.data/scripts/grid-native": (b"\x7fELF\x00\xff\n", True),
    "grid-1.0.data/data/share/grid/table.txt": (b"1 2 3\n", False),
    "grid-1.0.data/headers/grid.h": (b"int grid;\n", False),
    "grid-1.0.dist-info/METADATA": (b"Metadata-Version: 2.1\nName: grid\nVersion: 1.0\n", False),
    "grid-1.0.dist-info/WHEEL": (
        b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n",
        False,
    ),
    "grid-1.0.dist-info/entry_points.txt": (b"[console_scripts]\ngrid = grid:main\n", False),
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Return a wheel with all that a wheel can have."""
    return sealed(GRID, tmp_path_factory.mktemp("grid") / "grid-1.0-py2.py3-none-any.whl")


@pytest.fixture(scope="module", params=INSTALLERS)
def installed_grid(request, grid, tmp_path_factory):
    """Return that wheel as an installer has left it. Not to be changed."""
    return install(request.param, environment(tmp_path_factory.mktemp("installed") / "venv"), grid)


@pytest.fixture
def changing_grid(grid, tmp_path):
    """Return that wheel, installed, to be changed."""
    return install("uv", environment(tmp_path / "venv"), grid)


# --- installed files -----------------------------------------------------------------------------------------------


@POSIX
def test_a_wheel_of_what_was_installed_has_the_content_of_the_wheel(installed_grid, grid, tmp_path):
    assert content(rebuilt(installed_grid, tmp_path)) == content(grid)


def test_its_file_name_has_the_compressed_tags(installed_grid, grid, tmp_path):
    assert rebuilt(installed_grid, tmp_path).name == grid.name


@POSIX
def test_the_digest_of_installed_files_is_that_of_the_wheel(installed_grid, grid):
    assert installed.files_digest(installed_grid) == wheels.files_digest_of(grid)


@POSIX
def test_the_digest_does_not_depend_on_where_the_wheel_has_a_file(grid, tmp_path):
    moved = {path.replace("grid_1/", "grid-1.0.data/platlib/grid_1/"): file for path, file in GRID.items()}
    assert wheels.files_digest_of(sealed(moved, tmp_path / "a.whl")) == wheels.files_digest_of(grid)


def test_the_digest_depends_on_every_byte(grid, tmp_path):
    changed = {**GRID, "grid/helper": (b"#!/bin/sh \n", True)}
    assert wheels.files_digest_of(sealed(changed, tmp_path / "a.whl")) != wheels.files_digest_of(grid)


@pytest.mark.parametrize("keep", [slice(0, 100), slice(0, -30), slice(0, 0)])
def test_the_digest_of_a_damaged_wheel_is_refused(grid, tmp_path, keep):
    damaged = tmp_path / grid.name
    damaged.write_bytes(grid.read_bytes()[keep])
    with pytest.raises(DataError, match="is no wheel"):
        wheels.files_digest_of(damaged)


def test_a_flipped_byte_of_a_wheel_is_found(grid, tmp_path):
    damaged = tmp_path / grid.name
    damaged.write_bytes(grid.read_bytes().replace(b"print('grid')", b"print('grIf')"))
    with pytest.raises(DataError, match="is no wheel that can be read"):
        wheels.files_digest_of(damaged)


def test_an_installation_counts_as_not_modified(installed_grid):
    assert installed.modified(installed_grid) == ()


def test_what_was_changed_or_removed_is_named(changing_grid):
    site = Path(str(changing_grid.locate_file("")))
    (site / "grid" / "__init__.py").write_text("changed")
    (site / "grid" / "helper").unlink()
    assert installed.modified(changing_grid) == ("grid/__init__.py", "grid/helper")


def test_a_changed_script_is_named_though_installers_rewrite_its_first_line(changing_grid):
    script = Path(str(changing_grid.locate_file(""))).parents[2] / "bin" / "grid-submit"
    script.write_text(script.read_text() + "# changed\n")
    assert installed.modified(changing_grid) == ("grid-1.0.data/scripts/grid-submit",)


def test_a_record_from_before_the_first_line_was_rewritten_is_right_too(changing_grid):
    record = Path(str(changing_grid.locate_file("grid-1.0.dist-info/RECORD")))
    raw = GRID["grid-1.0.data/scripts/grid-submit"][0]
    sha256 = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
    rows = list(csv.reader(io.StringIO(record.read_text())))
    with record.open("w") as stream:
        csv.writer(stream).writerows(
            [row[0], f"sha256={sha256}", len(raw)] if row[0].endswith("grid-submit") else row for row in rows
        )
    assert installed.modified(changing_grid) == ()


def test_the_same_files_give_the_same_bytes(installed_grid, tmp_path):
    first = rebuilt(installed_grid, tmp_path / "1").read_bytes()
    for file in Path(str(installed_grid.locate_file("grid"))).rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    assert rebuilt(installed_grid, tmp_path / "2").read_bytes() == first


def test_a_wheel_never_says_where_it_was_installed_from(installed_grid, grid, tmp_path):
    assert installed_grid.read_text("direct_url.json") is not None
    everything = b"".join(raw for raw, _ in content(rebuilt(installed_grid, tmp_path)).values())
    assert str(grid.parent).encode() not in everything


def test_a_wheel_never_says_where_it_was_installed_to(installed_grid, tmp_path):
    everything = b"".join(raw for raw, _ in content(rebuilt(installed_grid, tmp_path)).values())
    assert str(Path(str(installed_grid.locate_file(""))).parents[2]).encode() not in everything


def test_record_is_written_anew_and_lists_every_file(installed_grid, tmp_path):
    with zipfile.ZipFile(rebuilt(installed_grid, tmp_path)) as archive:
        rows = list(csv.reader(io.StringIO(archive.read("grid-1.0.dist-info/RECORD").decode())))
        assert [row[0] for row in rows] == archive.namelist()
        for path, stated, size in rows[:-1]:
            raw = archive.read(path)
            sha256 = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
            assert (stated, size) == (f"sha256={sha256}", str(len(raw)))


def test_a_file_that_is_gone_is_named(changing_grid, tmp_path):
    Path(str(changing_grid.locate_file("grid/helper"))).unlink()
    with pytest.raises(DataError, match=r"grid 1.0 is not completely installed: grid/helper is missing"):
        wheels.rebuilt(changing_grid, tmp_path)


def test_a_file_outside_of_the_environment_is_refused(changing_grid, tmp_path):
    outside = tmp_path / "elsewhere.conf"
    outside.write_text("x")
    with Path(str(changing_grid.locate_file("grid-1.0.dist-info/RECORD"))).open("a") as record:
        record.write(f"{outside},,\n")
    with pytest.raises(DataError, match=r"outside of its environment: elsewhere.conf"):
        wheels.rebuilt(changing_grid, tmp_path / "out")


def test_compiled_parts_of_conda_are_refused(changing_grid, tmp_path):
    info = Path(str(changing_grid.locate_file("grid-1.0.dist-info")))
    (info / "INSTALLER").write_text("conda\n")
    (info.parent / "grid" / "native.so").write_bytes(b"")
    with (info / "RECORD").open("a") as record:
        record.write("grid/native.so,,\n")
    with pytest.raises(DataError, match=r"installed by conda[\s\S]*hint: "):
        wheels.rebuilt(changing_grid, tmp_path)


@given(
    st.text("abc /-._", max_size=20), st.sampled_from(["python", "python3", "python3.13t", "pypy3.10", "python.exe"])
)
def test_paths_of_interpreters_are_taken_out_of_scripts(folder, name):
    for line in (f"#!/{folder}/{name}\n", f'#!"/{folder}/{name}" -E\n', f"#!C:\\{folder}\\{name}\r\n"):
        assert restored(line.encode() + b"rest") == b"#!python\nrest"


@pytest.mark.parametrize(
    "line", ["#!/usr/bin/env python3\n", "#!/bin/sh\n", "#!/usr/bin/perl\n", "print(1)\n", "", "\x7fELF"]
)
def test_other_first_lines_stay(line):
    assert restored(line.encode()) == line.encode()


def test_the_form_for_long_paths_is_taken_out_of_scripts():
    line = b"#!/bin/sh\n'''exec' \"/home/a b/bin/python\" \"$0\" \"$@\"\n' '''\nprint(1)\n"
    assert restored(line) == b"#!python\nprint(1)\n"


# --- other ways of being installed ---------------------------------------------------------------------------------


def metadata(folder, **files):
    folder.mkdir(parents=True)
    for name, text in {"METADATA": "Metadata-Version: 2.1\nName: grid\nVersion: 1.0\n", **files}.items():
        (folder / name).write_text(text)
    return Distribution.at(folder)


def test_without_any_record_the_way_out_is_said(tmp_path):
    with pytest.raises(DataError, match=r"nothing records which files belong to grid 1.0[\s\S]*hint: make a virtual"):
        wheels.rebuilt(metadata(tmp_path / "grid-1.0.dist-info"), tmp_path)


def test_an_editable_installation_is_refused(tmp_path):
    direct = json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    found = metadata(tmp_path / "site" / "grid-1.0.dist-info", **{"direct_url.json": direct, "RECORD": "x.pth,,\n"})
    with pytest.raises(DataError, match="grid is installed editable"):
        wheels.rebuilt(found, tmp_path)


def legacy(site):
    """Leave what pip and setuptools left before there were wheels for everything."""
    info = site / "grid-1.0-py3.11.egg-info"
    (site / "grid").mkdir(parents=True)
    (site / "grid" / "__init__.py").write_text("def main():\n    print('old')\n")
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.2\nName: grid\nVersion: 1.0\n\nOld.\n")
    (info / "requires.txt").write_text('hist\n\n[plot:python_version > "3"]\nmplhep\n')
    (info / "entry_points.txt").write_text("[console_scripts]\ngrid = grid:main\n")
    (info / "SOURCES.txt").write_text("setup.py\n")
    listed = ["../grid/__init__.py", "../grid/__pycache__/__init__.cpython-311.pyc", "../../../../bin/grid"]
    own = ["PKG-INFO", "requires.txt", "entry_points.txt", "SOURCES.txt", "dependency_links.txt"]
    (info / "installed-files.txt").write_text("\n".join(listed + own))
    return next(iter(Distribution.discover(name="grid", path=[str(site)])))


def test_files_that_old_installers_listed_make_a_wheel(tmp_path):
    wheel = rebuilt(legacy(tmp_path / "lib" / "python3.11" / "site-packages"), tmp_path)
    info = "grid-1.0.dist-info"
    assert (wheel.name, set(content(wheel))) == (
        "grid-1.0-py3-none-any.whl",
        {"grid/__init__.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/entry_points.txt"},
    )


def test_it_installs_requires_the_same_and_has_the_same_digest(tmp_path):
    before = legacy(tmp_path / "lib" / "python3.11" / "site-packages")
    after = install("pip", environment(tmp_path / "venv"), rebuilt(before, tmp_path))
    assert installed.files_digest(after) == installed.files_digest(before)
    assert after.requires == ["hist", 'mplhep; (python_version > "3") and extra == "plot"']
    assert after.metadata.get_all("Provides-Extra") == ["plot"]


# --- real packages -------------------------------------------------------------------------------------------------


def as_it_was(found):
    """Return the bytes of each installed file by its path, without what is of one installation."""
    scripts = {entry.name for entry in found.entry_points if entry.group == "console_scripts"}
    site, files = Path(str(found.locate_file(""))), {}
    own = {"INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "uv_cache.json"}
    for path in found.files:
        place = Path(os.path.normpath(site / path))
        if path.suffix == ".pyc" or (".dist-info" in str(path) and path.name in own):
            continue
        if place.parent == site.parents[2] / "bin":
            if path.name not in scripts:
                files[str(path)] = place.read_bytes().replace(str(site.parents[2]).encode(), b"PREFIX")
        else:
            files[str(path)] = place.read_bytes()
    return files


def interpreters_made_equal(files):
    return {path: re.sub(rb"#!PREFIX/bin/python[\d.]*\n", b"#!python\n", raw) for path, raw in files.items()}


@POSIX
@pytest.mark.parametrize("installer", INSTALLERS)
@pytest.mark.parametrize("name", ["packaging", "psutil", "bagit"])
def test_a_real_package_installs_again_as_it_was(installer, name, tmp_path):
    """A pure package, a compiled one, and one with scripts and data."""
    here = distribution(name)
    again = install(installer, environment(tmp_path / "venv"), rebuilt(here, tmp_path))
    assert interpreters_made_equal(as_it_was(again)) == interpreters_made_equal(as_it_was(here))


@pytest.mark.parametrize("name", ["packaging", "psutil", "bagit", "rich"])
def test_a_real_package_has_the_digest_of_its_wheel_and_is_not_modified(name, tmp_path):
    found = distribution(name)
    inspected = installed.inspected(found)
    assert (inspected.files, inspected.modified) == (wheels.files_digest_of(rebuilt(found, tmp_path)), ())


def test_a_wheel_of_pip_itself_runs(tmp_path):
    wheel = rebuilt(distribution("pip"), tmp_path)
    command = [sys.executable, "-I", str(wheel / "pip"), "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"pip {distribution('pip').version} from {wheel}")


# --- source trees --------------------------------------------------------------------------------------------------

BACKEND = """\
import os, pathlib, subprocess, zipfile
def build_wheel(directory, settings=None, metadata=None):
    with open(os.environ["BUILT"], "a") as log:
        print(os.getcwd(), file=log)
    pathlib.Path("build").mkdir(exist_ok=True)
    pathlib.Path("build", "left").write_text("by the build")
    if pathlib.Path("broken").exists():
        raise SystemExit("the compiler has no time today")
    told = subprocess.run(["git", "describe", "--tags", "--dirty"], capture_output=True, text=True).stdout.strip()
    version, info = told or "1.0", "tree-%s.dist-info" % (told or "1.0").replace("-", "+", 1).replace("-", ".")
    version = info[5:-10]
    name = "tree-%s-py3-none-any.whl" % version
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path in sorted(pathlib.Path().rglob("*")):
            if path.is_file() and ".git" not in path.parts and path.parts[0] != "build":
                archive.write(path, "tree/" + path.as_posix())
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: tree\\nVersion: %s\\n" % version)
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/direct_url.json", "{}")
        archive.writestr(info + "/RECORD", "")
    return name
"""


def git(tree, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", tree, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path):
    """Return a source tree that builds itself, without requiring anything."""
    place = tmp_path / "my tree"
    (place / "in").mkdir(parents=True)
    (place / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["in"]\n'
    )
    (place / "in" / "own.py").write_text(BACKEND)
    (place / "module.py").write_text("value = 1\n")
    return place


@pytest.fixture
def repository(tree):
    """Return it as a git repository with a tag and a clean work tree."""
    (tree / ".gitignore").write_text("ignored\n")
    (tree / "ignored").write_text("secret")
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    git(tree, "tag", "2.0")
    return tree


@pytest.fixture
def build(tmp_path):
    """Return the function under test, with what all tests give it; ``build.count()`` tells how often it built."""

    def run(tree, **options):
        environ = {**os.environ, "BUILT": str(tmp_path / "built"), "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
        environ.update(options.pop("environ", {}))
        return wheels.from_tree(tree, tmp_path / "out", cache=tmp_path / "cache", environ=environ, **options)

    run.count = lambda: len((tmp_path / "built").read_text().splitlines())
    return run


def everything(tree):
    """Return bytes and times of all that is in a tree, the repository's own files included."""
    return {
        str(path.relative_to(tree)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(tree.rglob("*"))
        if path.is_file()
    }


def names(wheel):
    return {path.removeprefix("tree/") for path in content(wheel) if path.startswith("tree/")}


def test_a_tree_is_built(tree, build):
    assert names(build(tree)) == {"pyproject.toml", "in/own.py", "module.py"}


def test_a_build_writes_nothing_into_the_tree(repository, build):
    (repository / "module.py").write_text("value = 2\n")
    before = everything(repository)
    build(repository)
    assert everything(repository) == before


def test_the_same_tree_is_built_once(tree, build):
    assert (build(tree).read_bytes(), build.count()) == (build(tree).read_bytes(), 1)


def test_a_change_is_built_again(tree, build):
    before = wheels.files_digest_of(build(tree))
    (tree / "module.py").write_text("value = 2\n")
    assert (wheels.files_digest_of(build(tree)) != before, build.count()) == (True, 2)


def test_a_damaged_wheel_in_the_cache_is_built_again(tree, build, tmp_path):
    before = build(tree).read_bytes()
    (kept,) = (tmp_path / "cache").rglob("*.whl")
    kept.write_bytes(before[:-100])
    assert (build(tree).read_bytes() == before, build.count()) == (True, 2)


def test_trees_at_two_places_and_times_give_the_same_bytes(tree, build, tmp_path):
    before = build(tree).read_bytes()
    shutil.rmtree(tmp_path / "cache")
    other = Path(shutil.copytree(tree, tmp_path / "other"))
    os.utime(other / "module.py", (1_000_000_000, 1_000_000_000))
    (other / "module.py").chmod(0o600)
    assert build(other).read_bytes() == before


def test_a_wheel_of_a_tree_never_says_where_the_tree_was(tree, build):
    wheel = build(tree)
    assert not any(path.endswith("direct_url.json") for path in content(wheel))
    assert str(tree).encode() not in b"".join(raw for raw, _ in content(wheel).values())


def test_ignored_files_stay_out_and_untracked_ones_are_in(repository, build):
    (repository / "new.py").write_text("")
    assert names(build(repository)) == {".gitignore", "pyproject.toml", "in/own.py", "module.py", "new.py"}


@pytest.mark.parametrize("dirty", [False, True])
def test_the_build_sees_what_git_says(repository, build, dirty):
    git(repository, "commit", "-qm", "second", "--allow-empty")
    if dirty:
        (repository / "module.py").write_text("value = 2\n")
    ask = ["git", "-C", repository, "describe", "--tags", "--dirty"]
    told = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    version = build(repository).name.split("-")[1]
    assert (version, version.endswith("dirty")) == (told.replace("-", "+", 1).replace("-", "."), dirty)


def test_a_project_in_a_subdirectory_of_a_repository_is_built(repository, build):
    inner = repository / "sub"
    shutil.copytree(repository / "in", inner / "in")
    shutil.copy(repository / "pyproject.toml", inner)
    (inner / "LICENSE").symlink_to("../module.py")
    git(repository, "add", ".")
    assert names(build(inner)) == {"LICENSE", "pyproject.toml", "in/own.py"}


def test_what_tools_leave_is_not_part_of_a_tree_without_git(tree, build):
    left = [
        "build/lib/a.py",
        "dist/a.whl",
        ".tox/a",
        "venv/pyvenv.cfg",
        "venv/bin/a",
        "__pycache__/a.pyc",
        "a.egg-info/b",
    ]
    for name in [*left, "src/build/kept.py"]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    assert names(build(tree)) == {"pyproject.toml", "in/own.py", "module.py", "src/build/kept.py"}


@POSIX
def test_links_out_of_the_tree_are_followed_for_files_and_not_for_directories(tree, build, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big.root").write_text("data")
    (tree / "data").symlink_to(tmp_path / "data")
    (tree / "file").symlink_to(tmp_path / "data" / "big.root")
    (tree / "inside").symlink_to("module.py")
    assert names(build(tree)) == {"pyproject.toml", "in/own.py", "module.py", "file", "inside"}


def test_a_build_that_fails_shows_the_end_of_its_output(tree, build):
    (tree / "broken").write_text("")
    with pytest.raises(DataError, match=r"can be built[\s\S]*the compiler has no time today[\s\S]*hint: see that"):
        build(tree)


def test_a_failed_build_is_tried_again(tree, build):
    (tree / "broken").write_text("")
    for _ in range(2):
        with pytest.raises(DataError):
            build(tree)
    assert build.count() == 2


def test_a_build_requirement_that_is_not_here_needs_an_index(tree, build):
    (tree / "pyproject.toml").write_text('[build-system]\nrequires = ["no-such-backend>=7"]\nbuild-backend = "b"\n')
    with pytest.raises(
        DataError, match=r"no package index was to be asked[\s\S]*hint: install that.*no-such-backend>=7"
    ):
        build(tree, index=False)


def test_a_build_without_a_network_says_so(tree, build):
    (tree / "pyproject.toml").write_text('[build-system]\nrequires = ["no-such-backend"]\nbuild-backend = "b"\n')
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_FIND_LINKS": ""}
    with pytest.raises(DataError, match=r"no package index could be reached[\s\S]*with a network"):
        build(tree, environ=nowhere)


def test_what_the_build_requires_is_installed_beside_if_it_is_not_here(tree, build, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    info = "own_backend-7.0.dist-info"
    backend = {
        "own.py": (BACKEND.encode(), False),
        f"{info}/METADATA": (b"Metadata-Version: 2.1\nName: own-backend\nVersion: 7.0\n", False),
        f"{info}/WHEEL": (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", False),
    }
    sealed(backend, links / "own_backend-7.0-py3-none-any.whl")
    (tree / "pyproject.toml").write_text('[build-system]\nrequires = ["own-backend>=7"]\nbuild-backend = "own"\n')
    assert names(build(tree, index=False, environ={"PIP_FIND_LINKS": str(links)})) >= {"module.py"}


def test_what_is_no_project_is_refused(tmp_path, build):
    with pytest.raises(DataError, match=r"neither pyproject.toml nor setup.py"):
        build(tmp_path)


def test_a_tree_that_is_gone_is_refused(tmp_path, build):
    with pytest.raises(DataError, match=r"is not there"):
        build(tmp_path / "gone")


# --- what is known of a tree ---------------------------------------------------------------------------------------


def head(tree):
    return subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[
        :-1
    ]


def test_a_clean_tree_is_known_by_its_commit(repository):
    assert state(repository) == State(commit=head(repository), dirty=False)


@pytest.mark.parametrize("file", ["module.py", "untracked.py"])
def test_changed_and_untracked_files_make_a_tree_dirty(repository, file):
    (repository / file).write_text("changed")
    assert state(repository) == State(commit=head(repository), dirty=True)


def test_ignored_files_do_not(repository):
    (repository / "ignored").write_text("changed")
    assert state(repository).dirty is False


def test_without_a_repository_nothing_is_known(tree):
    assert state(tree) == State(commit=None, dirty=None)


def test_without_git_nothing_is_known(repository):
    assert state(repository, environ={"PATH": ""}) == State(commit=None, dirty=None)


def test_a_tree_that_only_lies_in_a_repository_is_not_known_by_its_commit(repository):
    (repository / "ignored").unlink()
    (repository / "ignored").mkdir()
    assert state(repository / "ignored") == State(commit=None, dirty=None)


def test_variables_of_a_hook_of_git_do_not_mislead(repository, tmp_path):
    assert state(repository, environ={**os.environ, "GIT_DIR": str(tmp_path)}).commit == head(repository)


def test_asking_for_the_state_writes_nothing(repository):
    os.utime(repository / "module.py")  # git would write the new time into its index
    before = everything(repository)
    state(repository)
    assert everything(repository) == before


def direct(tmp_path, **said):
    return metadata(
        tmp_path / "site" / "grid-1.0.dist-info", **{"direct_url.json": json.dumps(said), "RECORD": "a,,\n"}
    )


@pytest.mark.parametrize("info", [{"editable": True}, {}])
def test_the_tree_of_a_distribution_is_where_it_was_installed_from(tree, tmp_path, info):
    assert tree_of(direct(tmp_path, url=tree.as_uri(), dir_info=info)) == tree


def test_a_tree_that_is_gone_is_none(tmp_path):
    assert tree_of(direct(tmp_path, url=(tmp_path / "gone").as_uri(), dir_info={"editable": True})) is None


def test_a_wheel_is_no_tree(tmp_path):
    assert tree_of(direct(tmp_path, url=(tmp_path / "a.whl").as_uri(), archive_info={})) is None


def test_a_development_egg_info_is_in_its_tree(tree):
    info = tree / "src" / "grid.egg-info"
    found = metadata(info, **{"PKG-INFO": "Name: grid\nVersion: 1.0\n", "SOURCES.txt": "a.py\n"})
    (info / "METADATA").unlink()
    assert (source_tree.is_editable(found), tree_of(found)) == (True, tree)


def test_the_commit_of_a_repository_by_address_is_the_one_that_was_installed(tmp_path):
    found = direct(tmp_path, url="https://example.org/g.git", vcs_info={"vcs": "git", "commit_id": "a" * 40})
    assert source_tree.state_of(found) == State(commit="a" * 40, dirty=False)


def test_the_recipe_of_this_project_names_no_path(tmp_path):
    place = Path(__file__).parents[1]
    recipe = building.recipe(place, environ=os.environ)
    assert not any(Path(name).is_absolute() for name in recipe.sources.files)
