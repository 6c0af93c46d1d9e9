"""The lock: markers, the files that indexes offer, and installing it with pip and with uv."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from simple_index import Index, closed_port, environment, serving, sha256, wheel

from fasthep_archive.digest import Digest
from fasthep_archive.environment import markers
from fasthep_archive.environment.artifacts import Answer, Pin, belongs, find, settled
from fasthep_archive.environment.indexes import configured
from fasthep_archive.environment.lock import Artifact, Lock, Locked
from fasthep_archive.environment.packages import closure
from fasthep_archive.environment.piptools_index import PipTools
from fasthep_archive.environment.uv_index import Uv
from fasthep_archive.errors import DataError

PYTHON = f"3.{sys.version_info[1]}"
MINOR = sys.version_info[1]
UV = shutil.which("uv")
needs_uv = pytest.mark.skipif(UV is None, reason="needs uv")
FILES = Digest("f" * 64)


# --- markers -------------------------------------------------------------------------------------------------------


def install(path, name, *requires):
    """Leave the metadata of a distribution in ``path``, as an installer does."""
    folder = path / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {item}" for item in requires)]
    (folder / "METADATA").write_text("\n".join([*lines, "", ""]))


def needed(path, *roots, names=("a", "b", "c")):
    return markers.needed(roots, names, path=[str(path)])


def test_what_is_required_under_a_marker_is_needed_under_it(tmp_path):
    install(tmp_path, "a", 'b; python_version < "4"', "c")
    install(tmp_path, "b")
    install(tmp_path, "c")
    assert needed(tmp_path, "a") == {"a": None, "b": 'python_version < "4"', "c": None}


def test_markers_on_the_way_all_hold(tmp_path):
    install(tmp_path, "a", 'b; os_name == "posix"')
    install(tmp_path, "b", 'c; python_version < "4"')
    install(tmp_path, "c")
    assert needed(tmp_path, "a")["c"] == 'os_name == "posix" and python_version < "4"'


def test_of_two_ways_either_is_enough(tmp_path):
    install(tmp_path, "a", 'b; os_name == "posix"', 'c; python_version < "4"')
    install(tmp_path, "b", "c")
    install(tmp_path, "c")
    assert needed(tmp_path, "a")["c"] == 'os_name == "posix" or python_version < "4"'


def test_a_way_without_a_marker_is_enough(tmp_path):
    install(tmp_path, "a", 'b; os_name == "posix"', "c")
    install(tmp_path, "b")
    install(tmp_path, "c", "b")
    assert needed(tmp_path, "a")["b"] is None


def test_a_requirement_elsewhere_counts_for_what_is_needed_here(tmp_path):
    install(tmp_path, "a", 'b; os_name == "posix"', "c")
    install(tmp_path, "b")
    install(tmp_path, "c", 'b; os_name == "nt"')
    assert needed(tmp_path, "a")["b"] == 'os_name == "nt" or os_name == "posix"'


def test_equal_and_implied_conditions_are_written_once(tmp_path):
    install(tmp_path, "a", 'b; os_name == "posix"', "c")
    install(tmp_path, "b")
    install(
        tmp_path,
        "c",
        "b; os_name == 'posix'",
        'b; os_name == "posix" and (python_version < "4" or python_version > "2")',
    )
    assert needed(tmp_path, "a")["b"] == 'os_name == "posix"'


def test_extras_are_resolved_away(tmp_path):
    install(tmp_path, "a", 'b[fast]; os_name == "posix"')
    install(tmp_path, "b", 'c; extra == "fast" and python_version < "4"', 'd; extra == "slow"', 'e; "fast" == extra')
    for name in "cde":
        install(tmp_path, name)
    assert needed(tmp_path, "a", names="abce") == {
        "a": None,
        "b": 'os_name == "posix"',
        "c": 'os_name == "posix" and python_version < "4"',
        "e": 'os_name == "posix"',
    }


def test_extras_of_a_root_are_always_needed(tmp_path):
    install(tmp_path, "a", 'b; extra == "plot"', 'c; python_version < "4"')
    install(tmp_path, "b", 'a; os_name == "nt"')
    install(tmp_path, "c")
    assert needed(tmp_path, "a[plot]") == {"a": None, "b": None, "c": 'python_version < "4"'}


def test_cycles_under_markers_end(tmp_path):
    install(tmp_path, "a", 'b; os_name == "posix"')
    install(tmp_path, "b", 'c; python_version < "4"')
    install(tmp_path, "c", 'b; sys_platform == "linux"', "a")
    assert needed(tmp_path, "a")["b"] == 'os_name == "posix"'


def test_a_condition_with_very_many_cases_is_no_condition(tmp_path):
    install(tmp_path, "a", *(f'b; python_full_version == "3.{minor}.1"' for minor in range(40)))
    install(tmp_path, "b")
    assert needed(tmp_path, "a", names="ab")["b"] is None


ENVIRONMENTS = [
    {"python_version": version, "os_name": system, "sys_platform": platform}
    for version, system, platform in product(["3.8", "3.11"], ["posix", "nt"], ["linux", "win32"])
]
COMPARISONS = st.sampled_from(['python_version < "3.10"', 'os_name == "posix"', 'sys_platform in "linux darwin"'])
MARKERS = st.recursive(
    COMPARISONS,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda x: f"({x[0]}) {x[1]} ({x[2]})"),
    max_leaves=5,
)


@given(first=MARKERS, second=MARKERS, third=MARKERS)
def test_the_marker_holds_where_some_way_does(first, second, third, tmp_path_factory):
    """The oracle is packaging's own evaluation of each requirement's marker."""
    path = tmp_path_factory.mktemp("site")
    install(path, "a", f"b; {first}", f"c; {second}")
    install(path, "b", f"c; {third}")
    install(path, "c")
    text = needed(path, "a")["c"]
    for values in ENVIRONMENTS:
        one, two, three = (Marker(marker).evaluate(values) for marker in (first, second, third))
        assert (text is None or Marker(text).evaluate(values)) is (two or (one and three))
    shutil.rmtree(path)


def test_what_is_installed_here_is_needed_here():
    names = [package.name for package in closure(["fasthep-archive"])]
    found = markers.needed(["fasthep-archive"], names)
    assert all(text is None or Marker(text).evaluate() for text in found.values())


# --- which files count ---------------------------------------------------------------------------------------------

KEPT = (
    "tiny-1.0-py3-none-any.whl",
    "tiny-1.0-1-py2.py3-none-any.whl",
    f"tiny-1.0-py3{MINOR}-none-any.whl",
    "tiny-1.0-py36-none-any.whl",
    "tiny-1.0-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    f"tiny-1.0-cp3{MINOR}-cp3{MINOR}-win_amd64.whl",
    f"tiny-1.0-cp3{MINOR}-cp3{MINOR}-macosx_11_0_arm64.whl",
    f"tiny-1.0-cp3{MINOR}-cp3{MINOR}-musllinux_1_2_ppc64le.whl",
    f"tiny-1.0-cp3{MINOR}-none-manylinux_2_28_s390x.whl",
    f"tiny-1.0-pp3{MINOR}-pypy3{MINOR}_pp73-manylinux_2_28_aarch64.whl",
    "tiny-1.0.tar.gz",
)
LEFT = (
    "tiny-1.0-py2-none-any.whl",
    f"tiny-1.0-cp3{MINOR - 1}-cp3{MINOR - 1}-win_amd64.whl",
    f"tiny-1.0-cp3{MINOR + 1}-cp3{MINOR + 1}-win_amd64.whl",
    f"tiny-1.0-cp3{MINOR + 1}-abi3-win_amd64.whl",
    f"tiny-1.0-py3{MINOR + 1}-none-any.whl",
    "tiny-1.1-py3-none-any.whl",
    "tiny-1.1.tar.gz",
)
TINY = Pin(name="tiny", version="1.0")


@pytest.mark.parametrize("name", KEPT)
def test_sources_and_wheels_that_this_minor_version_can_install_count(name):
    assert belongs(name, TINY, PYTHON)


@pytest.mark.parametrize("name", [*LEFT, "other-1.0-py3-none-any.whl", "tiny-1.0.exe", "tiny-1.0-py3-any.whl", "tiny"])
def test_other_files_do_not_count(name):
    assert not belongs(name, TINY, PYTHON)


def test_of_two_sources_the_standard_form_counts():
    files = [Artifact(name=f"tiny-1.0{end}", sha256=FILES, size=1) for end in (".zip", ".tar.gz")]
    assert [file.name for file in settled(files, TINY, PYTHON)] == ["tiny-1.0.tar.gz"]


def test_of_two_files_of_one_name_the_first_counts():
    files = [Artifact(name="tiny-1.0.tar.gz", sha256=Digest(sign * 64), size=1) for sign in "ba"]
    assert settled(files, TINY, PYTHON) == (files[0],)


# --- asking indexes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """Return a folder with every kind of file of one project, and of another that has only a source."""
    folder = tmp_path_factory.mktemp("offered")
    for name in (*KEPT, *LEFT):
        if name.endswith(".whl"):
            wheel(folder, name, content=f"# {name}\n")
        else:
            (folder / name).write_bytes(name.encode())
    wheel(folder, "two_words-2.0rc1-py3-none-any.whl")
    (folder / "old-1.0.tar.gz").write_bytes(b"no archive: whoever unpacks it fails")
    return folder


ALL = (TINY, Pin(name="two-words", version="2.0rc1"), Pin(name="old", version="1.0"))


def expected(folder, names, *, sizes=True):
    """Return what is on disk, by its own sizes and hashes."""
    return tuple(
        Artifact(
            name=name, sha256=Digest(sha256(folder / name)), size=(folder / name).stat().st_size if sizes else None
        )
        for name in sorted(names)
    )


def piptools(environ):
    return PipTools(python=PYTHON, environ=environ)


def uv(environ, index=None):
    return Uv(program=UV, python=PYTHON, index=index, certificate=None, environ=environ)


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "html"])
def test_piptools_finds_every_file_on_an_index(offered, tmp_path, as_json):
    with serving(Index(offered, as_json=as_json)) as index:
        found = piptools(environment(tmp_path, PIP_INDEX_URL=index.address)).find(ALL)
    assert found[TINY].artifacts == expected(offered, KEPT, sizes=as_json)
    assert found[ALL[1]].artifacts == expected(offered, ["two_words-2.0rc1-py3-none-any.whl"], sizes=as_json)
    assert found[ALL[2]].artifacts == expected(offered, ["old-1.0.tar.gz"], sizes=as_json)


@needs_uv
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "html"])
def test_uv_finds_the_same_files_on_an_index(offered, tmp_path, as_json):
    with serving(Index(offered, as_json=as_json)) as index:
        found = uv(environment(tmp_path), index.address).find(ALL)
    assert found[TINY].artifacts == expected(offered, KEPT, sizes=as_json)
    assert set(found) == set(ALL[:2])  # of a version without wheels uv knows nothing without running its code


@needs_uv
@pytest.mark.parametrize("reason", ["broken", ""])
def test_both_say_that_a_version_was_withdrawn_and_why(offered, tmp_path, reason):
    withdrawn = dict.fromkeys(KEPT, reason or True)
    with serving(Index(offered, yanked=withdrawn)) as index:
        environ = environment(tmp_path, PIP_INDEX_URL=index.address)
        both = [finder.find([TINY])[TINY] for finder in (uv(environ, index.address), piptools(environ))]
    assert [answer.yanked for answer in both] == [reason, reason]
    assert both[0] == both[1]


def test_a_file_without_a_stated_hash_is_downloaded_and_hashed(offered, tmp_path):
    hidden = "tiny-1.0-py3-none-any.whl"
    with serving(Index(offered, hidden=frozenset({hidden}))) as index:
        found = find([TINY], every(environment(tmp_path, PIP_INDEX_URL=index.address)), memory=tmp_path / "m")
        assert [path for path in index.asked if path == f"/files/{hidden}"]
    assert found[TINY].artifacts == expected(offered, KEPT)


def every(environ):
    return configured(environ).finders(python=PYTHON, environ=environ)


def test_what_no_index_has_is_vanished_and_the_rest_is_found(offered, tmp_path):
    gone = (Pin(name="tiny", version="7.0"), Pin(name="nothing", version="1.0"))
    with serving(Index(offered)) as index:
        found = find([*ALL, *gone], every(environment(tmp_path, PIP_INDEX_URL=index.address)), memory=tmp_path / "m")
    assert [found[pin].outcome for pin in (*ALL, *gone)] == ["found"] * 3 + ["vanished"] * 2


def test_an_index_that_does_not_answer_is_found_out_soon(tmp_path):
    environ = environment(tmp_path, PIP_INDEX_URL=f"http://127.0.0.1:{closed_port()}/simple")
    started = time.monotonic()
    found = find(ALL, every(environ), memory=tmp_path / "m")
    assert {answer.outcome for answer in found.values()} == {"unreachable"}
    assert time.monotonic() - started < 10


def test_of_several_indexes_the_files_are_taken_together(offered, tmp_path):
    more = "tiny-1.0-3-py3-none-any.whl"
    wheel(tmp_path / "more", more)
    with serving(Index(offered)) as index, serving(Index(tmp_path / "more")) as other:
        environ = environment(tmp_path, PIP_INDEX_URL=index.address, PIP_EXTRA_INDEX_URL=other.address)
        found = find([TINY], every(environ), memory=tmp_path / "m")
    assert [file.name for file in found[TINY].artifacts] == sorted([*KEPT, more])


def test_with_one_index_out_of_reach_what_another_has_is_found_and_the_rest_is_not_given_up(offered, tmp_path):
    with serving(Index(offered)) as index:
        environ = environment(
            tmp_path,
            PIP_INDEX_URL=index.address,
            PIP_EXTRA_INDEX_URL=f"http://127.0.0.1:{closed_port()}/simple",
        )
        found = find([TINY, Pin(name="nothing", version="1")], every(environ), memory=tmp_path / "m")
    assert [answer.outcome for answer in found.values()] == ["unknown", "found"]
    assert not list(tmp_path.glob("m/*"))


def test_a_folder_of_wheels_is_a_place_too(offered, tmp_path):
    environ = environment(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(offered))
    found = find([TINY, Pin(name="nothing", version="1")], every(environ), memory=tmp_path / "m")
    assert found[TINY].artifacts == expected(offered, KEPT, sizes=False)
    assert found[Pin(name="nothing", version="1")].outcome == "vanished"
    assert not list(tmp_path.glob("m/*"))  # a local file may be replaced


def test_an_index_in_a_folder_is_a_place_too(offered, tmp_path):
    page = tmp_path / "simple" / "tiny" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("".join(f'<a href="{(offered / name).as_uri()}">{name}</a>' for name in KEPT))
    (tmp_path / "simple" / "pip").mkdir()
    places = {"PIP_INDEX_URL": (tmp_path / "simple").as_uri(), "PIP_EXTRA_INDEX_URL": (tmp_path / "simple").as_uri()}
    found = find([TINY], every(environment(tmp_path, **places)), memory=tmp_path / "m")
    assert found[TINY].artifacts == expected(offered, KEPT, sizes=False)


def test_answers_are_remembered(offered, tmp_path):
    with serving(Index(offered)) as index:
        environ = environment(tmp_path, PIP_INDEX_URL=index.address)
        places = configured(environ)
        first = find(ALL, places.finders(python=PYTHON, environ=environ), memory=places.memory(tmp_path, PYTHON))
    assert find(ALL, (), memory=places.memory(tmp_path, PYTHON)) == first


def test_other_places_and_other_pythons_have_other_memories(tmp_path):
    one, other = (configured(environment(tmp_path, PIP_INDEX_URL=f"http://127.0.0.1/{x}")) for x in "ab")
    memories = {one.memory(tmp_path, "3.11"), other.memory(tmp_path, "3.11"), one.memory(tmp_path, "3.12")}
    assert len(memories) == 3


def test_a_damaged_memory_is_none(tmp_path):
    class Fixed:
        def find(self, pins):
            return {
                pin: Answer(outcome="found", artifacts=(Artifact(name="x", sha256=FILES, size=None),)) for pin in pins
            }

    first = find([TINY], [Fixed()], memory=tmp_path)
    next(tmp_path.iterdir()).write_text('{"format":1,"artifacts":[{}],"yanked":null}')
    assert find([TINY], [Fixed()], memory=tmp_path) == first


def test_nothing_of_the_places_is_remembered(offered, tmp_path):
    with serving(Index(offered)) as index:
        environ = environment(tmp_path, PIP_INDEX_URL=index.address.replace("//", "//alice:secret@"))
        places = configured(environ)
        find(ALL, places.finders(python=PYTHON, environ=environ), memory=places.memory(tmp_path, PYTHON))
    texts = [path.read_text() + str(path) for path in (tmp_path / "artifacts").rglob("*.json")]
    assert len(texts) == 3
    assert not [text for text in texts if "127.0.0.1" in text or "secret" in text]


def test_the_strongest_section_of_pips_configuration_counts(tmp_path):
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://127.0.0.1/a\n[install]\nindex-url = http://127.0.0.1/b\n")
    assert configured(environment(tmp_path, PIP_CONFIG_FILE=str(file))).index == "http://127.0.0.1/b"


def test_a_configuration_that_pip_cannot_read_is_an_error(tmp_path):
    (tmp_path / "pip.conf").write_text("no section")
    with pytest.raises(DataError, match="pip can't tell where packages come from"):
        configured(environment(tmp_path, PIP_CONFIG_FILE=str(tmp_path / "pip.conf")))


@needs_uv
def test_both_find_the_same_on_the_real_index(tmp_path):
    """Needs the package registry: what real indexes answer is what counts."""
    pins = (Pin(name="packaging", version="24.0"), Pin(name="markupsafe", version="3.0.2"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
    by_piptools = piptools(environ).find(pins)
    if by_piptools[pins[0]].outcome == "unreachable":
        pytest.skip("no package index is reached")
    assert dict(uv(environ).find(pins)) == dict(by_piptools)
    assert len(by_piptools[pins[0]].artifacts) == 2
    assert len(by_piptools[pins[1]].artifacts) > 8


# --- the lock's two forms ------------------------------------------------------------------------------------------


def locked(name, *artifacts, **changes):
    values = {
        "version": "1.0",
        "marker": None,
        "requires_python": None,
        "needs": (),
        "status": "index",
        "files": FILES,
        "commit": None,
        "dirty": None,
    }
    return Locked(name=name, artifacts=tuple(sorted(artifacts)), **{**values, **changes})


def artifact(name, sign="a", size=7):
    return Artifact(name=name, sha256=Digest(sign * 64), size=size)


def lock(*packages):
    return Lock(
        python=PYTHON,
        implementation=sys.implementation.name,
        platform=sysconfig.get_platform(),
        packages=tuple(sorted(packages, key=lambda package: package.name)),
    )


SAMPLE = lock(
    locked(
        "tiny",
        artifact("tiny-1.0-py3-none-any.whl"),
        artifact(f"tiny-1.0-cp3{MINOR}-cp3{MINOR}-win_amd64.whl", "b", None),
        artifact("tiny-1.0.tar.gz", "c"),
        marker='python_version < "4" or sys_platform == "win32"',
        requires_python="<5,>=3.8",
        needs=("local", "lost"),
    ),
    locked("local", artifact("local-1.0-py3-none-any.whl", "d"), status="built", commit="c0ffee", dirty=True),
    locked("lost", status="unresolved", needs=("tiny",), marker='os_name == "posix"', requires_python=">=3.8"),
)


def test_a_lock_survives_the_round_trip():
    assert Lock.of(SAMPLE.pylock()) == SAMPLE


def test_equal_locks_have_equal_bytes():
    assert Lock.of(SAMPLE.pylock()).pylock() == SAMPLE.pylock()


def test_the_lock_has_the_words_of_the_standard():
    table = tomllib.loads(SAMPLE.pylock().decode())
    assert (table["lock-version"], table["created-by"]) == ("1.0", "fasthep-archive")
    assert table["requires-python"] == f"=={PYTHON}.*"
    local, tiny = table["packages"]
    assert tiny["marker"] == 'python_version < "4" or sys_platform == "win32"'
    assert tiny["dependencies"] == [{"name": "local"}]
    assert tiny["sdist"] == {"path": "wheels/tiny-1.0.tar.gz", "size": 7, "hashes": {"sha256": "c" * 64}}
    assert tiny["wheels"][1] == {
        "path": "wheels/tiny-1.0-py3-none-any.whl",
        "size": 7,
        "hashes": {"sha256": "a" * 64},
    }
    assert local["tool"]["fasthep-archive"] == {"status": "built", "files": FILES, "commit": "c0ffee", "dirty": True}
    assert table["tool"]["fasthep-archive"]["unresolved"][0]["name"] == "lost"


def test_requirements_have_every_hash_and_unresolved_packages_are_comments():
    text = SAMPLE.requirements().decode()
    wanted = [line for line in text.splitlines() if not line.startswith("#")]
    assert wanted == [
        "local==1.0 \\",
        f"    --hash=sha256:{'d' * 64}",
        'tiny==1.0 ; python_version < "4" or sys_platform == "win32" \\',
        f"    --hash=sha256:{'a' * 64} \\",
        f"    --hash=sha256:{'b' * 64} \\",
        f"    --hash=sha256:{'c' * 64}",
    ]
    assert '#     lost==1.0 ; os_name == "posix"' in text.splitlines()


def test_identity_takes_what_an_index_has_or_what_is_installed():
    local, lost, tiny = SAMPLE.packages
    assert SAMPLE.hashes(tiny) == tuple(f"sha256:{sign * 64}" for sign in "abc")
    assert SAMPLE.hashes(local) == SAMPLE.hashes(lost) == (f"record:{FILES}",)


def test_a_package_has_one_identity_whether_it_was_made_into_a_wheel_or_not():
    built = SAMPLE.packages[0]
    assert Lock.hashes(built) == Lock.hashes(replace(built, status="unresolved", artifacts=()))


SPOILED = [
    (b"lock-version", b"lock_version", "no lock of PEP 751"),
    (b'lock-version = "1.0"', b'lock-version = "9.0"', "no lock of PEP 751"),
    (b'created-by = "fasthep-archive"', b"created-by = [[[", "no TOML"),
    (b"wheels/tiny-1.0.tar.gz", b"../tiny-1.0.tar.gz", "outside wheels/"),
    (b"wheels/tiny-1.0.tar.gz", b"/wheels/tiny-1.0.tar.gz", "outside wheels/"),
    (b'path = "wheels/local', b'url = "http://127.0.0.1/local', "outside wheels/"),
    (b'path = "wheels/local', b'url = "http://127.0.0.1/"\npath = "wheels/local', "outside wheels/"),
    (b'path = "wheels/local-1.0', b'path = "wheels/other-1.0', "no lock of PEP 751"),
    (b'sha256 = "a', b'sha256 = "A', "for a sha256"),
    (b'sha256 = "', b'sha512 = "', "hashes other than sha256"),
    (b'name = "local"\n', b'name = "local"\nindex = "http://127.0.0.1/"\n', "not an exact version"),
    (b'status = "built"', b'status = "moon"', "'moon', not one of index, built, unresolved"),
    (b'status = "built"', b'status = "unresolved"', "is unresolved and has 1 artifacts"),
    (b'status = "index"', b'status = "built"', "is built and has 3 artifacts"),
    (b"dirty = true", b"dirty = 1", "for dirty"),
    (b'name = "lost"', b'name = "tiny"', "has tiny twice"),
    (b'files = "f', b'files = "g', "for a sha256"),
    (b'implementation = "', b'implementation_ = "', "'implementation' is missing"),
    (f'python = "{PYTHON}"'.encode(), b'python = "3.99"', "is for Python '3.99' and requires"),
]


@pytest.mark.parametrize(("before", "after", "message"), SPOILED)
def test_what_is_no_lock_of_ours_is_refused(before, after, message):
    raw = SAMPLE.pylock()
    assert before in raw
    with pytest.raises(DataError, match=message):
        Lock.of(raw.replace(before, after, 1))


@pytest.mark.parametrize("raw", [b"", b"\xff", b"a = " + b"[" * 100000, b"x = 1"])
def test_what_is_no_lock_at_all_is_refused(raw):
    with pytest.raises(DataError, match=r"pylock\.toml is no"):
        Lock.of(raw)


# --- installing it -------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path):
    """Return a folder with a lock over tiny wheels, of which those for other platforms are not there."""
    folder = tmp_path / "environment"
    here = {
        "tiny": wheel(folder / "wheels", "tiny-1.0-py3-none-any.whl", requires=["two_words"]),
        "two-words": wheel(folder / "wheels", "two_words-2.0rc1-py3-none-any.whl"),
        "elsewhere": wheel(tmp_path, "elsewhere-1.0-py3-none-any.whl"),
    }
    files = {
        name: Artifact(name=path.name, sha256=Digest(sha256(path)), size=path.stat().st_size)
        for name, path in here.items()
    }
    absent = (
        artifact(f"tiny-1.0-cp3{MINOR}-cp3{MINOR}-macosx_10_9_ppc64.whl"),
        artifact(f"tiny-1.0-cp3{MINOR}-cp3{MINOR}-win_arm64.whl"),
        artifact("tiny-1.0.tar.gz"),
    )
    made = lock(
        locked("tiny", files["tiny"], *absent, needs=("two-words",), requires_python=">=3.8"),
        locked("two-words", files["two-words"], version="2.0rc1", status="built", marker='python_version >= "3"'),
        locked("elsewhere", files["elsewhere"], marker='sys_platform == "nowhere"'),
        locked("lost", status="unresolved"),
    )
    (folder / "pylock.toml").write_bytes(made.pylock())
    (folder / "requirements.txt").write_bytes(made.requirements())
    return folder


def command(folder, *words):
    environ = environment(folder.parent, PIP_NO_CACHE_DIR="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def with_pip(folder, *arguments):
    """Install into a new environment with pip; return it and what pip said."""
    place = folder.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return place, command(folder, sys.executable, "-m", "pip", "--python", place / "bin/python", "install", *arguments)


def by_hashes(folder):
    options = ("--require-hashes", "--no-deps", "--no-index", "--find-links", "wheels")
    return with_pip(folder, *options, "-r", "requirements.txt")


def by_pylock(folder):
    return with_pip(folder, "--no-index", "-r", "pylock.toml")


def with_uv(folder):
    """Install into a new environment with uv; return it and what uv said."""
    place = folder.parent / "venv"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, place], check=True)
    return place, command(folder, UV, "pip", "sync", "--offline", "--python", place / "bin/python", "pylock.toml")


def reads_pylock():
    answer = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, check=True)
    return tuple(map(int, answer.stdout.split()[1].split(".")[:2])) >= (26, 1)


INSTALLERS = [
    pytest.param(by_hashes, id="pip"),
    pytest.param(by_pylock, id="pip-pylock", marks=pytest.mark.skipif(not reads_pylock(), reason="needs pip 26.1")),
    pytest.param(with_uv, id="uv", marks=needs_uv),
]


@pytest.mark.parametrize("installer", INSTALLERS)
def test_the_lock_installs_from_its_own_wheels_and_nowhere_else(bundle, installer):
    place, answer = installer(bundle)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    code = "import tiny, two_words; print(tiny.version, two_words.version)"
    ran = subprocess.run([place / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1.0", "2.0rc1"]
    assert not list(place.glob("lib/*/site-packages/elsewhere*"))


@pytest.mark.parametrize("installer", INSTALLERS)
def test_one_flipped_byte_in_a_wheel_is_refused(bundle, installer):
    path = bundle / "wheels" / "two_words-2.0rc1-py3-none-any.whl"
    raw = bytearray(path.read_bytes())
    raw[10] ^= 1  # a time in the first local header: no checksum but the wheel's own covers it
    path.write_bytes(raw)
    place, answer = installer(bundle)
    assert answer.returncode != 0
    assert "hash" in (answer.stdout + answer.stderr).lower()
    assert not list(place.glob("lib/*/site-packages/two_words*"))
