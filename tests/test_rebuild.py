"""The locked environment: which Python it is built on, what it is built from, and what stops it from being built."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hostile import make
from locked import PLATFORM, TOOLS, VERSION, Entry, Locked, Wheel, entry, pip, tiny, wheel

from fasthep_archive.archive import replaying, running
from fasthep_archive.bundle import form, interpreters, rebuild, source, verifier
from fasthep_archive.bundle.interpreters import CannotRebuild, Interpreter, Wanted
from fasthep_archive.context import Context, NoProgress
from fasthep_archive.digest import of_bytes
from fasthep_archive.environment import lock as locking
from fasthep_archive.environment.lock import Lock
from fasthep_archive.errors import ArchiveError
from fasthep_archive.execution.asked import Asked

FOREIGN = "cp27-cp27m-win32"
ENVIRON = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}


@dataclass(kw_only=True)
class Builder:
    """Builds environments, with a cache of its own, and keeps what was said."""

    directory: Path
    said: list[str] = field(default_factory=list)
    first: tuple[str, ...] = ()

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def build(self, locked: Locked, *, python: str | None = None, **variables: str) -> rebuild.Built:
        package = source.opened(locked.write(self.directory / "muons.crate.zip"))
        with contextlib.closing(package):
            found = verifier.examine(package, payload=True, progress=lambda _: None, limits=form.LIMITS, workers=1)
            assert found.problems == ()
            environ = {**ENVIRON, **variables}
            return rebuild.build(package, found, self.cache, python=python, environ=environ, say=self.said.append)

    def refused(self, locked: Locked, *, python: str | None = None, **variables: str) -> CannotRebuild:
        with pytest.raises(CannotRebuild) as caught:
            self.build(locked, python=python, **variables)
        return caught.value


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(directory=tmp_path)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Return a builder whose cache has the environment of ``Locked()``; tests must not change it."""
    builder = Builder(directory=tmp_path_factory.mktemp("cached"))
    builder.build(Locked())
    builder.first = tuple(builder.said)
    return builder


def version_of(built: rebuild.Built, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run([built.python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# --- what is built --------------------------------------------------------------------------------------------------


def test_an_environment_has_what_the_lock_says_and_nothing_else(cached: Builder) -> None:
    python = cached.build(Locked()).python
    code = "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['fasthep_archive', 'tiny']\n"


def test_an_environment_is_this_users_alone(cached: Builder) -> None:
    assert stat.S_IMODE((cached.cache / "environments").stat().st_mode) == 0o700


def test_nothing_but_the_environment_is_kept(cached: Builder) -> None:
    names = sorted(path.name for path in cached.cache.glob("environments/*/*"))
    assert [name.split("-")[0] for name in names] == ["complete.json", "env", "lock"]


def test_an_environment_is_reused(cached: Builder) -> None:
    cached.said.clear()
    assert cached.build(Locked()).reused
    assert cached.said == []


@pytest.mark.slow
def test_another_lock_is_another_environment(builder: Builder, cached: Builder) -> None:
    shutil.copytree(cached.cache, builder.cache, symlinks=True)
    other = builder.build(Locked(entries=(entry(TOOLS), entry(tiny("2.0")))))
    assert other.key != cached.build(Locked()).key
    assert version_of(other, "tiny") == "2.0"


@pytest.mark.slow
def test_a_wheel_of_another_platform_is_passed_over(builder: Builder) -> None:
    built = builder.build(Locked(entries=(entry(TOOLS), entry(tiny(tag=FOREIGN), tiny()))))
    assert version_of(built, "tiny") == "1.0"


@pytest.mark.slow
def test_a_package_that_is_not_needed_here_may_lack_wheels(builder: Builder) -> None:
    elsewhere = entry(wheel("elsewhere", {}, tag=FOREIGN), marker='sys_platform == "nowhere"')
    builder.build(Locked(entries=(entry(TOOLS), entry(tiny()), elsewhere)))
    assert "installing 2 packages, all from the bundle" in builder.said


@pytest.mark.slow
def test_another_patch_level_is_said(builder: Builder) -> None:
    series = interpreters.series(VERSION)
    builder.build(Locked(version=f"{series}.99"))
    assert builder.said[0].endswith(f"for {PLATFORM}; the bundle was made with {series}.99 for {PLATFORM}")


def test_the_same_python_is_said_without_comment(cached: Builder) -> None:
    assert cached.first[0] == f"on {sys.executable}: CPython {VERSION} for {PLATFORM}"


def test_a_lock_that_the_tool_writes_is_installed(builder: Builder) -> None:
    carried = (TOOLS, tiny())
    written = Lock(
        python=interpreters.series(VERSION),
        implementation=sys.implementation.name,
        platform=PLATFORM,
        packages=tuple(in_lock(one, tiny(tag=FOREIGN)) if one == tiny() else in_lock(one) for one in carried),
    )
    files = {rebuild.LOCK: written.pylock(), rebuild.REQUIREMENTS: written.requirements()}
    assert version_of(builder.build(Locked(files_besides=tuple(files.items()))), "tiny") == "1.0"


def in_lock(*wheels: Wheel) -> locking.Locked:
    """Return what the tool's own lock has for these wheels of a package."""
    name, version = wheels[0].pinned
    return locking.Locked(
        name=name,
        version=version,
        marker='python_version >= "3"',
        requires_python=None,
        needs=(),
        artifacts=tuple(sorted(locking.Artifact(name=one.file, sha256=of_bytes(one.raw), size=None) for one in wheels)),
        status="index",
        files=of_bytes(b""),
        commit=None,
        dirty=None,
    )


# --- the cache ------------------------------------------------------------------------------------------------------


def environment(builder: Builder) -> Path:
    (made,) = builder.cache.glob("environments/*/env-*")
    return made


@pytest.mark.parametrize(
    "damage",
    [
        lambda made: next(made.rglob("tiny.py")).unlink(),
        pytest.param(lambda made: next(made.rglob("tiny.py")).write_text(""), marks=pytest.mark.slow),
        pytest.param(lambda made: shutil.rmtree(next(made.rglob("tiny-1.0.dist-info"))), marks=pytest.mark.slow),
        pytest.param(
            lambda made: next(made.rglob("tiny-1.0.dist-info/RECORD")).write_text("tiny.py,,\n"), marks=pytest.mark.slow
        ),
        pytest.param(lambda made: (made / "bin" / "python").unlink(), marks=pytest.mark.slow),
        lambda made: (made.parent / "complete.json").write_text("{"),
        pytest.param(lambda made: (made.parent / "complete.json").write_text("[]"), marks=pytest.mark.slow),
        pytest.param(shutil.rmtree, marks=pytest.mark.slow),
    ],
    ids=["file", "content", "metadata", "record", "interpreter", "marker", "shape", "all"],
)
def test_a_half_deleted_environment_is_built_again(
    builder: Builder, cached: Builder, damage: Callable[[Path], object]
) -> None:
    shutil.copytree(cached.cache, builder.cache, symlinks=True)
    assert builder.build(Locked()).reused
    damage(environment(builder))
    built = builder.build(Locked())
    assert not built.reused
    assert version_of(built, "tiny") == "1.0"
    assert environment(builder)


def test_a_directory_that_others_can_write_to_is_refused(builder: Builder) -> None:
    place = builder.cache / "environments"
    place.mkdir(parents=True)
    place.chmod(0o777)
    error = builder.refused(Locked())
    assert "is not this user's alone" in error.message
    assert f"chmod 700 {place}" in error.hint


def test_an_environment_where_others_can_write_is_not_used(builder: Builder, cached: Builder) -> None:
    shutil.copytree(cached.cache, builder.cache, symlinks=True)
    (builder.cache / "environments").chmod(0o770)
    assert "is not this user's alone" in builder.refused(Locked()).message


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what belongs to another user")
def test_a_directory_of_another_user_is_refused(builder: Builder) -> None:
    (builder.cache / "environments").mkdir(parents=True, mode=0o700)
    os.chown(builder.cache / "environments", 65534, 65534)
    assert "is not this user's alone" in builder.refused(Locked()).message


def test_a_link_for_a_directory_is_refused(builder: Builder, tmp_path: Path) -> None:
    builder.cache.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (builder.cache / "environments").symlink_to(tmp_path / "elsewhere")
    assert "is a link, or no directory" in builder.refused(Locked()).message


def test_a_cache_that_is_a_file_is_an_error(builder: Builder) -> None:
    builder.cache.touch()
    error = builder.refused(Locked())
    assert "Not a directory" in error.message or "File exists" in error.message
    assert "--cache" in error.hint


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FASTHEP_ARCHIVE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/fasthep-archive"),
        ({}, str(Path.home() / ".cache" / "fasthep-archive")),
    ],
)
def test_the_cache_is_where_the_tool_has_it(variables: Mapping[str, str], expected: str) -> None:
    assert rebuild.default_cache(variables) == expected


# --- what can't be built --------------------------------------------------------------------------------------------


def test_every_package_without_a_fitting_wheel_is_named(builder: Builder) -> None:
    foreign = [entry(wheel(name, {}, tag=FOREIGN)) for name in ("one", "two")]
    error = builder.refused(Locked(entries=(entry(TOOLS), *foreign, entry(sdist="three"))))
    expected = f"3 packages of the lock have no wheel for CPython {VERSION} for {PLATFORM}:\n"
    assert error.message == f"{expected}  one==1.0\n  three==1.0 (source only)\n  two==1.0"


def test_packages_that_were_never_resolved_are_a_list_to_install(builder: Builder) -> None:
    error = builder.refused(Locked(unresolved=("numpy", "hist")))
    assert error.message.startswith("2 packages of the lock have no file, as no index could be asked")
    assert error.message.endswith(":\n  numpy==1.0\n  hist==1.0")
    assert "install these versions by yourself" in error.hint


def test_both_faults_are_named_at_once(builder: Builder) -> None:
    error = builder.refused(Locked(entries=(entry(TOOLS), entry(tiny(tag=FOREIGN))), unresolved=("numpy",)))
    assert "  tiny==1.0" in error.message
    assert "  numpy==1.0" in error.message


def test_a_lock_without_the_tool_is_an_error_and_leaves_nothing(builder: Builder) -> None:
    assert "lacks fasthep-archive" in builder.refused(Locked(entries=(entry(tiny()),))).message
    assert not list(builder.cache.glob("environments/*/env-*"))


@pytest.mark.parametrize("absent", [rebuild.REQUIREMENTS, rebuild.WHEELS + pip().file])
def test_a_bundle_that_cannot_install_itself_says_so(builder: Builder, absent: str) -> None:
    assert "carries no pip" in builder.refused(Locked(without=(absent,))).message


def test_a_bundle_without_its_interpreter_says_so(builder: Builder) -> None:
    error = builder.refused(Locked(without=(rebuild.SNAPSHOT,)))
    assert "doesn't say which Python made it" in error.message


def test_a_carried_wheel_that_is_not_the_locked_one_is_refused_by_pip(builder: Builder) -> None:
    other = Wheel(file=tiny().file, raw=wheel("tiny", {"tiny.py": "VERSION = 'other'\n"}).raw)
    error = builder.refused(Locked(entries=(entry(TOOLS), Entry(wheels=(tiny(),), carried=(other,)))))
    assert "DO NOT MATCH THE HASHES" in error.message
    assert hashlib.sha256(other.raw).hexdigest() in error.message


def test_a_bundle_that_changes_after_it_was_verified_is_damaged(builder: Builder) -> None:
    path = Locked().write(builder.directory / "muons.crate.zip")
    with contextlib.closing(source.opened(path)) as package:
        found = verifier.examine(package, payload=True, progress=lambda _: None, limits=form.LIMITS, workers=1)
        raw = bytearray(path.read_bytes())
        raw[raw.index(tiny().raw) + 60] ^= 1
        path.write_bytes(raw)
        with pytest.raises(form.Damage) as caught:
            rebuild.build(package, found, builder.cache, python=None, environ=ENVIRON, say=builder.said.append)
    assert caught.value.problem.where == rebuild.WHEELS + tiny().file


# --- a package index ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def index(directory: Path, *wheels: Wheel, yanked: str = "") -> Iterator[dict[str, str]]:
    """Serve wheels as a package index does, and yield the variables that pip is configured with."""
    for one in wheels:
        page = directory / one.pinned[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        (page.parent / one.file).write_bytes(one.raw)
        mark = f' data-yanked="{yanked}"' if yanked else ""
        page.write_text(f'<!DOCTYPE html><a href="{one.file}"{mark}>{one.file}</a>')
    handler = functools.partial(Silent, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {"PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/", "PIP_NO_CACHE_DIR": "1"}
        finally:
            server.shutdown()
            thread.join()


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def thin(*absent: Wheel) -> Locked:
    """Return a bundle that carries the tool, and nothing of ``absent``."""
    return Locked(entries=(entry(TOOLS), *(entry(one, carried=()) for one in absent)))


def named(*names: str) -> list[Wheel]:
    return [wheel(name, {f"{name}.py": ""}) for name in names]


def test_what_is_not_carried_comes_from_the_index(builder: Builder, tmp_path: Path) -> None:
    with index(tmp_path / "index", tiny()) as variables:
        built = builder.build(thin(tiny()), **variables)
    assert version_of(built, "tiny") == "1.0"
    assert "installing 2 packages, 1 of them from the package index that pip is configured for" in builder.said
    assert any(line.startswith("Downloading ") and tiny().file in line for line in builder.said)


@pytest.mark.slow
def test_what_is_carried_does_not_come_from_an_index_that_has_another_of_its_name(
    builder: Builder, tmp_path: Path
) -> None:
    theirs = Wheel(file=tiny().file, raw=wheel("tiny", {"tiny.py": "VERSION = 'other'\n"}).raw)
    (more,) = named("more")
    bundle = Locked(entries=(entry(TOOLS), entry(tiny()), entry(more, carried=())))
    with index(tmp_path / "index", theirs, more) as variables:
        built = builder.build(bundle, **variables)
    assert (version_of(built, "tiny"), version_of(built, "more")) == ("1.0", "1.0")
    assert [line for line in builder.said if tiny().file in line] == []


@pytest.mark.slow
def test_a_yanked_version_is_installed_and_said(builder: Builder, tmp_path: Path) -> None:
    with index(tmp_path / "index", tiny(), yanked="wrong sums") as variables:
        built = builder.build(thin(tiny()), **variables)
    assert version_of(built, "tiny") == "1.0"
    assert any("yanked" in line for line in builder.said)


@pytest.mark.slow
def test_all_that_has_vanished_from_the_index_is_named_at_once(builder: Builder, tmp_path: Path) -> None:
    lost = named("lost_one", "lost_two", "lost_three")
    with index(tmp_path / "index", tiny()) as variables:
        error = builder.refused(thin(lost[0], tiny(), *lost[1:]), **variables)
    assert error.message.startswith("the package index has 3 packages of the lock no more, or with other contents:")
    assert error.message.splitlines()[1:] == ["  lost-one==1.0", "  lost-three==1.0", "  lost-two==1.0"]
    assert "hydrate" in error.hint


@pytest.mark.slow
def test_other_contents_under_the_same_name_are_refused(builder: Builder, tmp_path: Path) -> None:
    other = Wheel(file=tiny().file, raw=wheel("tiny", {"tiny.py": "VERSION = 'other'\n"}).raw)
    with index(tmp_path / "index", other) as variables:
        error = builder.refused(thin(tiny(), *named("lost")), **variables)
    assert error.message.splitlines()[1:] == ["  lost==1.0", "  tiny==1.0"]


@pytest.mark.slow
def test_without_a_network_all_that_is_not_carried_is_named(builder: Builder) -> None:
    variables = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "1"}
    error = builder.refused(thin(*named("one", "two")), **variables)
    assert error.message.splitlines() == [
        "no package index answered, and the bundle does not carry 2 packages:",
        "  one==1.0",
        "  two==1.0",
    ]
    assert error.hint.startswith("connect to a network, or ")


@pytest.mark.slow
def test_settings_that_say_where_to_install_are_not_the_indexs(builder: Builder, tmp_path: Path) -> None:
    with index(tmp_path / "index", tiny()) as variables:
        built = builder.build(thin(tiny()), **variables, PIP_TARGET=str(tmp_path / "target"), PIP_USER="1")
    assert version_of(built, "tiny") == "1.0"
    assert not (tmp_path / "target").exists()


# --- interpreters ---------------------------------------------------------------------------------------------------


def test_the_running_interpreter_is_taken_if_it_fits() -> None:
    found = interpreters.suitable(Wanted("CPython", VERSION, PLATFORM), None, ENVIRON)
    assert found.path == sys.executable


def fake(
    path: Path, version: str, *, implementation: str = "CPython", platform: str = PLATFORM, venv: bool = True
) -> Path:
    """Write a program that answers as an interpreter would that isn't on this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = json.dumps([str(path), implementation, version, platform, ".so", venv])
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def searched(*directories: Path, **variables: str) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, directories)), **variables}


FUTURE = Wanted("CPython", "3.99.7", PLATFORM)


@pytest.mark.parametrize("name", ["python3.99", "python3", "python"])
def test_interpreters_on_the_path_are_found(tmp_path: Path, name: str) -> None:
    python = fake(tmp_path / name, "3.99.1")
    assert interpreters.suitable(FUTURE, None, searched(tmp_path)).path == str(python)


def test_another_implementation_has_other_names(tmp_path: Path) -> None:
    python = fake(tmp_path / "pypy3.99", "3.99.1", implementation="PyPy")
    wanted = FUTURE._replace(implementation="PyPy")
    assert interpreters.suitable(wanted, None, searched(tmp_path)).path == str(python)


def test_the_same_patch_level_is_preferred_then_the_same_platform(tmp_path: Path) -> None:
    fake(tmp_path / "a" / "python3.99", "3.99.1")
    fake(tmp_path / "b" / "python3.99", "3.99.7", platform="elsewhere")
    fake(tmp_path / "c" / "python3.99", "3.99.8")
    exact = fake(tmp_path / "d" / "python3.99", "3.99.7")
    places = [tmp_path / name for name in "abcd"]
    assert interpreters.suitable(FUTURE, None, searched(*places)).path == str(exact)
    assert interpreters.suitable(FUTURE, None, searched(*places[:3])).platform == PLATFORM


def test_a_shim_that_does_not_start_hides_nothing(tmp_path: Path) -> None:
    shim = tmp_path / "shims" / "python3.99"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.99: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    python = fake(tmp_path / "bin" / "python3.99", "3.99.1")
    assert interpreters.suitable(FUTURE, None, searched(shim.parent, python.parent)).path == str(python)


def test_a_program_that_answers_nonsense_is_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "python3.99").write_text("#!/bin/sh\necho '[1]'\n")
    (tmp_path / "python3.99").chmod(0o755)
    assert interpreters.asked([str(tmp_path / "python3.99")], ENVIRON) is None


def test_versions_of_pyenv_are_found_without_being_selected(tmp_path: Path) -> None:
    fake(tmp_path / "versions" / "3.98.1" / "bin" / "python", "3.98.1")
    python = fake(tmp_path / "versions" / "3.99.1" / "bin" / "python", "3.99.1")
    assert interpreters.suitable(FUTURE, None, searched(PYENV_ROOT=str(tmp_path))).path == str(python)


def test_an_interpreter_of_uv_is_found(tmp_path: Path) -> None:
    """``uv`` is on the PATH here, but has installed nothing, so one that has stands for it."""
    python = fake(tmp_path / "managed" / "python3.99", "3.99.1")
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\n[ "$*" = "python find --offline --no-project --python-preference only-managed '
                  f'cpython@3.99" ] && echo "{python}"\n')  # fmt: skip
    uv.chmod(0o755)
    assert interpreters.suitable(FUTURE, None, searched(uv.parent)).path == str(python)


@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
def test_uv_takes_the_question_that_it_is_asked(tmp_path: Path) -> None:
    words = ["uv", "python", "find", "--offline", "--no-project", "--python-preference", "only-managed", "cpython@3.7"]
    environ = {**os.environ, "UV_PYTHON_INSTALL_DIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode in (1, 2)
    assert "No interpreter found for CPython 3.7" in done.stderr


def test_without_a_fitting_interpreter_what_was_found_is_listed(tmp_path: Path) -> None:
    python = fake(tmp_path / "python3", "3.98.1")
    with pytest.raises(CannotRebuild) as caught:
        interpreters.suitable(FUTURE, None, searched(tmp_path))
    assert caught.value.message.startswith("the bundle's environment needs CPython 3.99, and this machine has none")
    assert f"  {python} is CPython 3.98.1 for {PLATFORM}" in caught.value.message


def installer(path: Path, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("apt-cache", "  apt-get install python3.99 python3.99-venv"),
        ("brew", "  brew install python@3.99"),
        ("pyenv", "  pyenv install 3.99"),
        ("uv", "  uv python install 3.99"),
    ],
)
def test_only_installers_that_are_here_are_advised(tmp_path: Path, tool: str, line: str) -> None:
    def hint() -> list[str]:
        with pytest.raises(CannotRebuild) as caught:
            interpreters.suitable(FUTURE, None, searched(tmp_path))
        return caught.value.hint.splitlines()

    assert line not in hint()
    installer(tmp_path / tool)
    assert line in hint()


def test_apt_is_advised_only_for_what_it_has(tmp_path: Path) -> None:
    installer(tmp_path / "apt-cache", status=100)
    with pytest.raises(CannotRebuild) as caught:
        interpreters.suitable(FUTURE, None, searched(tmp_path))
    assert "apt-get" not in caught.value.hint


def test_the_python_that_is_named_is_the_one(tmp_path: Path) -> None:
    near = fake(tmp_path / "near", "3.99.7")
    far = fake(tmp_path / "far", "3.99.1")
    assert interpreters.suitable(FUTURE, str(far), searched(near.parent)).path == str(far)
    assert interpreters.suitable(FUTURE, "near", searched(near.parent)).path == str(near)


def test_a_named_python_of_another_version_is_an_error(builder: Builder) -> None:
    error = builder.refused(Locked(version="3.99.1"), python=sys.executable)
    expected = f"{sys.executable} is CPython {VERSION} for {PLATFORM}, and the bundle's environment needs CPython 3.99"
    assert error.message == expected


def test_a_named_python_that_does_not_start_is_an_error(builder: Builder) -> None:
    assert builder.refused(Locked(), python="/nowhere/python").message == "/nowhere/python is not a Python that starts"


def test_a_python_without_venv_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    fake(tmp_path / "python3.99", "3.99.1", venv=False)
    installer(tmp_path / "apt-cache")
    with pytest.raises(CannotRebuild) as caught:
        interpreters.suitable(FUTURE, None, searched(tmp_path))
    assert "lacks the module venv" in caught.value.message
    assert "apt-get install python3.99-venv" in caught.value.hint


def test_what_an_interpreter_says_of_itself_is_so() -> None:
    code = "import sys, sysconfig; print(sys.executable); print(sysconfig.get_config_var('EXT_SUFFIX'))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    path, abi = done.stdout.splitlines()
    found = interpreters.asked([sys.executable], {**ENVIRON, "PYTHONHOME": "/nowhere"})
    assert found == Interpreter(path, "CPython", VERSION, PLATFORM, abi, True)


# --- what is taken out of a bundle ----------------------------------------------------------------------------------


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    bundle = tmp_path / "muons.crate.zip"
    bundle.write_bytes(make.zipped(make.sound()))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data").symlink_to(tmp_path)
    with contextlib.closing(source.opened(bundle)) as package, pytest.raises(NotADirectoryError):
        source.extract(package, make.EVENTS, tmp_path / "out", None, lambda _: None)


def test_a_file_that_turns_out_to_be_damaged_is_removed_again(tmp_path: Path) -> None:
    bundle = tmp_path / "muons.crate.zip"
    bundle.write_bytes(make.zipped(make.sound()))
    with contextlib.closing(source.opened(bundle)) as package, pytest.raises(form.Damage):
        source.extract(package, make.EVENTS, tmp_path / "out", "00" * 32, lambda _: None)
    assert not (tmp_path / "out" / make.EVENTS).exists()


def test_a_replay_that_crashed_in_the_rebuilt_environment_is_an_error(tmp_path: Path) -> None:
    context = Context(cache=tmp_path, now=None, measured=False, workers=1, progress=NoProgress())
    wishes = replaying.Wishes(wanted=running.Wanted(asked=Asked()), workers=None, chunk=None, data=None, fetch=False)
    with pytest.raises(ArchiveError, match="the replay in the rebuilt environment failed"):
        replaying._run_there("/bin/false", tmp_path / "b.zip", tmp_path / "out", wishes, context)
