"""The environment of a bundle: what is locked how, what is carried, and what the user is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from simple_index import Index, closed_port, environment, serving, sha256, wheel

from fasthep_archive.context import NoProgress
from fasthep_archive.environment.lock import Lock
from fasthep_archive.environment.prepare import prepare
from fasthep_archive.errors import DataError

TINY = "tiny-1.0-py3-none-any.whl"
WORDS = "two_words-2.0rc1-py3-none-any.whl"
PRIVATE = "private-3.0-py3-none-any.whl"
FOREIGN = f"tiny-1.0-cp3{sys.version_info[1]}-cp3{sys.version_info[1]}-win_arm64.whl"


def released(folder):
    """Leave in ``folder`` what an index has."""
    wheel(folder, TINY, requires=["two_words", 'private; sys_platform != "nowhere"'], python=">=3.8")
    wheel(folder, WORDS)
    wheel(folder, FOREIGN)
    return folder


def install(site, *wheels):
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", site]
    subprocess.run([*words, *wheels], check=True, env=environment(site.parent))
    for note in site.glob("*.dist-info/direct_url.json"):
        note.unlink()  # as if they had come from an index


def installed(home):
    """Return a directory with three installed packages, of which no index has the third."""
    folder = released(home / "released")
    install(home / "site", folder / TINY, folder / WORDS, wheel(home / "elsewhere", PRIVATE))
    return home / "site"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return the directory of :func:`installed`, on ``sys.path``."""
    place = installed(tmp_path)
    monkeypatch.syspath_prepend(str(place))
    return place


@pytest.fixture
def index(site):
    with serving(Index(site.parent / "released")) as found:
        yield found


class Packing:
    """Calls ``prepare`` as ``pack`` does."""

    def __init__(self, home, address):
        self.home, self.address, self.times = home, address, 0

    def __call__(self, *roots, fat=False, index=True, platforms=(), cache="cache"):
        self.times += 1
        return prepare(
            roots or ("tiny",),
            self.home / f"bundle{self.times}" / "wheels",
            fat=fat,
            platforms=platforms,
            index=index,
            cache=self.home / cache,
            environ=environment(self.home, PIP_INDEX_URL=self.address, PIP_NO_CACHE_DIR="1"),
            progress=NoProgress(),
        )


@pytest.fixture
def pack(tmp_path, index):
    return Packing(tmp_path, index.address)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a directory with what :func:`installed` leaves, for tests that change nothing."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def packed(home):
    """Return what was prepared for a thin and for a fat bundle, with an index, and for both without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(installed(home)))
        with serving(Index(home / "released")) as index:
            pack = Packing(home, index.address)
            with_index = {"thin": pack(), "fat": pack(fat=True), "again": pack(fat=True, cache="other")}
            index.asked.clear()
            without = {"thin, no index": pack(index=False), "fat, no index": pack(fat=True, index=False)}
            assert not index.asked
    return with_index | without


def statuses(prepared):
    return {package.name: package.status for package in prepared.lock.packages}


def names(prepared):
    return [path.name for path in prepared.wheels]


def identity(lock):
    return [(package.name, package.version, lock.hashes(package)) for package in lock.packages]


# --- with an index -------------------------------------------------------------------------------------------------


def test_what_an_index_has_is_locked_by_its_files_and_the_rest_is_carried(packed):
    found = packed["thin"]
    assert statuses(found) == {"tiny": "index", "two-words": "index", "private": "built"}
    assert names(found) == [PRIVATE]
    assert found.notes == ("private 3.0 is on no package index; a wheel of it was made and is carried",)


def test_the_lock_has_every_file_of_the_index_and_what_it_needs(packed, home):
    (tiny,) = [package for package in packed["thin"].lock.packages if package.name == "tiny"]
    folder = home / "released"
    assert {file.name: file.sha256 for file in tiny.artifacts} == {x: sha256(folder / x) for x in (TINY, FOREIGN)}
    assert (tiny.needs, tiny.requires_python, tiny.marker) == (("private", "two-words"), ">=3.8", None)


def test_markers_are_those_of_the_way_to_a_package(packed):
    (private, *_) = packed["thin"].lock.packages
    assert private.marker == 'sys_platform != "nowhere"'


def test_thin_and_fat_bundles_have_the_same_lock(packed):
    assert packed["fat"].lock.pylock() == packed["thin"].lock.pylock()
    assert names(packed["fat"]) == [PRIVATE, TINY, WORDS]


def test_the_carried_wheels_are_those_that_are_locked(packed):
    found = packed["fat"]
    locked = {file.name: file.sha256 for package in found.lock.packages for file in package.artifacts}
    assert {path.name: sha256(path) for path in found.wheels}.items() <= locked.items()
    assert {path.parent.name for path in found.wheels} == {"wheels"}


def test_packing_twice_gives_the_same_bytes(packed):
    first, second = packed["fat"], packed["again"]
    assert first.lock.pylock() == second.lock.pylock()
    assert [path.read_bytes() for path in first.wheels] == [path.read_bytes() for path in second.wheels]


@pytest.mark.parametrize("which", ["fat", "fat, no index", "thin, no index"])
def test_the_lock_names_no_place(packed, home, which):
    lock = packed[which].lock
    for text in (lock.pylock().decode(), lock.requirements().decode()):
        assert not [word for word in (str(home), "127.0.0.1", "http", str(Path.home())) if word in text]


def test_a_withdrawn_version_is_said(site, tmp_path):
    with serving(Index(tmp_path / "released", yanked={WORDS: "it adds up wrongly"})) as index:
        found = Packing(tmp_path, index.address)()
    assert "two-words 2.0rc1 was withdrawn from the package index by its authors: it adds up wrongly" in found.notes


def test_without_a_wheel_that_fits_here_one_is_made(pack, site):
    (site.parent / "released" / TINY).unlink()
    found = pack()
    assert statuses(found)["tiny"] == "built"
    assert names(found) == [PRIVATE, TINY]
    assert "tiny 1.0 has no wheel for this Python and platform on a package index" in found.notes[-1]


def test_what_was_changed_since_it_was_installed_is_carried(pack, site):
    (site / "tiny.py").write_text("version = 'mended'\n")
    found = pack()
    assert statuses(found)["tiny"] == "built"
    assert "tiny 1.0 was changed since it was installed (tiny.py)" in found.notes[-1]


def test_what_was_not_installed_from_an_index_is_carried(pack, site):
    (note,) = site.glob("tiny-*/INSTALLER")
    address = {"url": "https://example.org/t.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee" + "0" * 34}}
    note.with_name("direct_url.json").write_text(json.dumps(address))
    found = pack()
    (tiny,) = [package for package in found.lock.packages if package.name == "tiny"]
    assert (tiny.status, tiny.commit, tiny.dirty) == ("built", "c0ffee" + "0" * 34, False)
    assert "example" not in found.lock.pylock().decode()


def test_for_another_platform_wheels_are_carried_too(pack, site):
    found = pack(fat=True, platforms=["win_arm64"])
    assert names(found) == [PRIVATE, FOREIGN, TINY, WORDS]


@pytest.mark.slow
def test_a_wheel_that_is_made_here_must_fit_the_other_platform(pack, site, tmp_path):
    here = f"tiny-1.0-cp3{sys.version_info[1]}-cp3{sys.version_info[1]}-linux_x86_64.whl"
    (metadata,) = site.glob("tiny-*/WHEEL")
    metadata.write_text(metadata.read_text().replace("py3-none-any", "-".join(here[:-4].split("-")[2:])))
    with pytest.raises(DataError, match=r"tiny 1\.0 is made into a wheel here, and that doesn't fit win_arm64"):
        pack(fat=True, platforms=["win_arm64"])


# --- without an index ----------------------------------------------------------------------------------------------


def test_without_an_index_what_is_not_carried_is_unresolved(packed):
    found = packed["thin, no index"]
    assert set(statuses(found).values()) == {"unresolved"}
    assert not found.wheels
    assert found.notes[0].startswith("no package index was asked: 3 packages are recorded with their versions")


def test_an_index_that_cannot_be_reached_is_none(site, tmp_path):
    found = Packing(tmp_path, f"http://127.0.0.1:{closed_port()}/simple")()
    assert set(statuses(found).values()) == {"unresolved"}
    assert found.notes[0].startswith("no package index could be reached: 3 packages")


def test_a_fat_bundle_without_an_index_has_wheels_of_what_is_installed(packed):
    found = packed["fat, no index"]
    assert set(statuses(found).values()) == {"built"}
    assert names(found) == [PRIVATE, TINY, WORDS]
    made = "private 3.0, tiny 1.0, two-words 2.0rc1"
    assert found.notes == (f"no package index was asked: wheels were made from the installed files of {made}",)


def test_thin_and_fat_bundles_without_an_index_have_the_same_identity(packed):
    assert identity(packed["thin, no index"].lock) == identity(packed["fat, no index"].lock)


@pytest.mark.parametrize("fat", [False, True])
@pytest.mark.slow
def test_an_index_that_answered_once_and_is_away_now_is_none(site, tmp_path, fat):
    """What is remembered doesn't count then, so that thin and fat bundles agree."""
    with serving(Index(tmp_path / "released")) as index:
        pack = Packing(tmp_path, index.address)
        pack()
    found = pack(fat=fat)
    assert set(statuses(found).values()) == {"built" if fat else "unresolved"}


@pytest.mark.slow
def test_wheels_that_cannot_be_fetched_any_more_are_made(site, tmp_path):
    """Everything is remembered here, so that only fetching finds out that the index is away."""
    with serving(Index(tmp_path / "released")) as index:
        pack = Packing(tmp_path, index.address)
        assert statuses(pack("two_words")) == {"two-words": "index"}
    found = pack("two_words", fat=True)
    assert statuses(found) == {"two-words": "built"}
    assert found.notes[0].startswith("no package index could be reached: wheels were made from the installed files of")


@pytest.mark.slow
def test_an_index_that_answers_and_lacks_the_file_is_an_error(pack, site):
    pack("two_words")
    (site.parent / "released" / WORDS).unlink()
    with pytest.raises(DataError, match=r"two-words 2\.0rc1"):
        pack("two_words", fat=True)


@pytest.mark.parametrize("which", ["fat", "fat, no index"])
def test_the_lock_installs_with_pip_and_nothing_else(packed, tmp_path, which):
    found = packed[which]
    folder = found.wheels[0].parents[1]
    (folder / "requirements.txt").write_bytes(found.lock.requirements())
    assert Lock.of(found.lock.pylock()) == found.lock
    options = ["--require-hashes", "--no-deps", "--no-index", "--find-links", "wheels", "-r", "requirements.txt"]
    place = tmp_path / "again"
    words = [sys.executable, "-m", "pip", "install", "-q", "--target", place, *options]
    subprocess.run(words, cwd=folder, env=environment(tmp_path), check=True)
    assert sorted(path.name for path in place.glob("*.py")) == ["private.py", "tiny.py", "two_words.py"]


# --- source trees --------------------------------------------------------------------------------------------------

BACKEND = """
import base64, hashlib, pathlib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "edited-1.5-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        archive.write("edited.py")
        archive.writestr("edited-1.5.dist-info/METADATA", "Metadata-Version: 2.1\\nName: edited\\nVersion: 1.5\\n\\n")
        archive.writestr("edited-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n\\n")
        archive.writestr("edited-1.5.dist-info/RECORD", "edited.py,,\\nedited-1.5.dist-info/METADATA,,\\nedited-1.5.dist-info/WHEEL,,\\nedited-1.5.dist-info/RECORD,,\\n")
    return name
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a source tree under git, installed as editable when it had the version 1.4."""
    root = tmp_path / "source"
    root.mkdir()
    (root / "edited.py").write_text("x = 1\n")
    (root / "backend.py").write_text(BACKEND)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "edited"\nversion = "1.5"\n'
    )
    git = ["git", "-C", root, "-c", "user.name=x", "-c", "user.email=x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True, env=environment(tmp_path))
    info = tmp_path / "editable" / "edited-1.4.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edited\nVersion: 1.4\n\n")
    (info / "RECORD").write_text("edited-1.4.dist-info/METADATA,,\n")
    (info / "direct_url.json").write_text(json.dumps({"url": root.as_uri(), "dir_info": {"editable": True}}))
    monkeypatch.syspath_prepend(str(info.parent))
    return root


def test_a_source_tree_is_built_and_carried_with_its_commit(pack, tree):
    found = pack("edited")
    (edited,) = found.lock.packages
    commit = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert (edited.version, edited.status, edited.dirty) == ("1.5", "built", False)
    assert edited.commit == commit.stdout.strip()
    assert names(found) == ["edited-1.5-py3-none-any.whl"]


def test_a_dirty_source_tree_is_said(pack, tree):
    (tree / "edited.py").write_text("x = 2\n")
    found = pack("edited")
    assert found.lock.packages[0].dirty is True
    assert found.notes[-1].startswith("edited 1.5 has changes that are not in commit ")


def test_what_was_copied_from_a_source_tree_is_of_no_known_commit(pack, tree, tmp_path, monkeypatch):
    copied = wheel(tmp_path / "copied", "edited-1.4-py3-none-any.whl", module="edited")
    install(tmp_path / "copy", copied)
    note = tmp_path / "copy" / "edited-1.4.dist-info" / "direct_url.json"
    note.write_text(json.dumps({"url": tree.as_uri(), "dir_info": {}}))
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    (edited,) = pack("edited").lock.packages
    assert (edited.version, edited.status, edited.commit, edited.dirty) == ("1.4", "built", None, None)


# --- whose files are carried ---------------------------------------------------------------------------------------


def test_files_from_an_index_are_nobodys_own_even_when_none_can_be_asked(packed):
    assert packed["fat, no index"].own == {}


def test_files_that_are_on_no_index_may_be_the_authors(packed):
    assert packed["thin"].own == {PRIVATE: None}


def test_of_a_changed_package_only_what_was_changed_may_be_the_authors(pack, site):
    (site / "tiny.py").write_text("version = 'mended'\n")
    assert pack(index=False).own == {TINY: ("tiny.py",)}


def test_all_files_of_a_source_tree_may_be_the_authors(pack, tree):
    assert pack("edited").own == {"edited-1.5-py3-none-any.whl": None}


# --- what rebuilds it ----------------------------------------------------------------------------------------------


def test_pip_is_carried_even_by_a_thin_bundle_without_an_index(pack, tmp_path):
    found = pack("pip", index=False)
    (path,) = found.wheels
    ran = subprocess.run([sys.executable, path / "pip", "--version"], capture_output=True, text=True, check=True)
    assert f"pip {found.lock.packages[0].version} from {path}" in ran.stdout


@pytest.mark.parametrize("same", [True, False], ids=["the same", "another"])
def test_an_indexs_wheel_of_a_carried_tool_counts_only_if_it_is_the_one_that_is_installed(tmp_path, monkeypatch, same):
    file = "pip-99.0-py3-none-any.whl"
    mine = wheel(tmp_path / "mine", file, module="pip_stand_in")
    theirs = wheel(tmp_path / "theirs", file, module="pip_stand_in", content="" if same else "evil = True\n")
    install(tmp_path / "site", mine)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with serving(Index(tmp_path / "theirs")) as index:
        found = Packing(tmp_path, index.address)("pip")
    assert statuses(found) == {"pip": "index" if same else "built"}
    assert (sha256(found.wheels[0]) == sha256(theirs)) is same
    assert [note for note in found.notes if "is not what a package index has" in note] == list(found.notes)
