"""What is not looked at again: files of events whose facts are known, and the packages that are installed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, words
from events import write_files
from test_environment import install

from fasthep_archive.data.source import Read, open_events
from fasthep_archive.environment import closures, markers
from fasthep_archive.environment.packages import closure
from fasthep_archive.errors import DataError
from fasthep_archive.execution import remembered
from fasthep_archive.execution.inputs import hashed
from fasthep_archive.execution.remembered import Memory

READS = (Read(kind="root_tree", tree="events"),)
ASKED = ("MET", "Muon_Px", "channel", "trigger")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    write_files(directory)
    return directory


@pytest.fixture
def path(files: Path, tmp_path: Path) -> Path:
    """Return a file of events that a test may change."""
    copy = tmp_path / "events.root"
    copy.write_bytes((files / "mc1.root").read_bytes())
    return copy


def learned(path: Path, cache: Path, *, version: str = "1", trusted: bool = True) -> Memory:
    """Return a memory after a plan has asked for some columns of a file."""
    memory = Memory(cache=cache, version=version, trusted=trusted)
    with memory.look(path, READS) as events:
        for name in ASKED:
            assert events.types()[name]
        assert "nothing" not in events.types()
    memory.keep(hashed([path], cache=cache, remembered=True, workers=1))
    return memory


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what keeps files from being opened from now on."""

    def refuse(*_: object) -> None:
        raise AssertionError("a file was opened")

    return lambda: monkeypatch.setattr(remembered, "open_events", refuse)


def test_a_file_that_is_known_is_not_opened(path: Path, tmp_path: Path, closed: Callable[[], None]):
    memory = learned(path, tmp_path / "cache")
    with open_events(path, READS) as real:
        expected = real.entries, real.clusters(), tuple(real.types()), [real.types()[name] for name in ASKED]
    closed()
    with memory.look(path, READS) as events:
        found = events.entries, events.clusters(), tuple(events.types()), [events.types()[name] for name in ASKED]
        assert found == expected
        assert "nothing" not in events.types()


def test_a_column_that_nobody_asked_for_is_looked_up(path: Path, tmp_path: Path):
    memory = learned(path, tmp_path / "cache")
    with memory.look(path, READS) as events, open_events(path, READS) as real:
        assert events.types()["NPV"] == real.types()["NPV"]


def test_what_is_asked_for_later_is_kept_too(path: Path, tmp_path: Path, closed: Callable[[], None]):
    memory = learned(path, tmp_path / "cache")
    with memory.look(path, READS) as events:
        kind = events.types()["NPV"]
    memory.keep(hashed([path], cache=tmp_path / "cache", remembered=True, workers=1))
    closed()
    with memory.look(path, READS) as events:
        assert (events.types()["NPV"], "MET" in events.types()) == (kind, True)


@pytest.mark.parametrize("change", ["content", "version", "trust", "tree", "damage"])
def test_anything_else_is_opened(change: str, path: Path, files: Path, tmp_path: Path, closed: Callable[[], None]):
    cache = tmp_path / "cache"
    learned(path, cache)
    if change == "content":
        path.write_bytes((files / "mc2.root").read_bytes())
    if change == "damage":
        (kept,) = (cache / remembered.FOLDER).iterdir()
        kept.write_bytes(kept.read_bytes()[:-9])
    memory = Memory(cache=cache, version="2" if change == "version" else "1", trusted=change != "trust")
    closed()
    reads = (Read(kind="root_tree", tree="runs"),) if change == "tree" else READS
    with pytest.raises(AssertionError, match="a file was opened"), memory.look(path, reads):
        pass


def test_a_file_that_changes_meanwhile_is_not_kept(path: Path, files: Path, tmp_path: Path):
    """Its digest would be that of other bytes than those that were looked at."""
    memory = Memory(cache=tmp_path / "cache", version="1", trusted=True)
    with memory.look(path, READS) as events:
        assert events.entries
    path.write_bytes((files / "mc2.root").read_bytes())
    memory.keep(hashed([path], cache=tmp_path / "cache", remembered=False, workers=1))
    assert not list((tmp_path / "cache").glob(f"{remembered.FOLDER}/*"))


def test_a_column_that_formulas_can_t_take_is_told_each_time(path: Path, tmp_path: Path):
    memory = learned(path, tmp_path / "cache")
    for _ in range(2):
        with memory.look(path, READS) as events, pytest.raises(DataError, match="no branch 'MTE'"):
            events.types()["MTE"]
        memory.keep(hashed([path], cache=tmp_path / "cache", remembered=True, workers=1))


RUN = """
import sys
from fasthep_archive.cli import main
status = main()
print(*sorted({"uproot", "awkward", "numba", "llvmlite"} & set(sys.modules)))
sys.exit(status)
"""


def test_a_run_whose_results_are_there_reads_no_events(command: Command, example: Path, tmp_path: Path):
    out = tmp_path / "out"
    command("run", "workflow.yaml", "-o", out, "-j", "1", "-q", cwd=example)
    again = [sys.executable, "-c", RUN, *words("run", "workflow.yaml", "-o", out, "-j", "1", "-q", "--json")[3:]]
    done = subprocess.run(
        again, cwd=example, env=command.environment({}), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
    tasks = json.loads((out / "record" / "run.json").read_bytes())["tasks"]
    assert {task["status"] for task in tasks} == {"cached"}


# --- packages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is searched first, with a tool and what it needs."""
    directory = tmp_path / "site"
    install(directory, "remembered-tool", requires=["remembered-part"])
    install(directory, "remembered-part", number="2.0")
    monkeypatch.syspath_prepend(str(directory))
    return directory


TOOL = ["remembered-tool"]


def test_packages_are_found_again_without_reading(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = closures.remembered(TOOL, tmp_path / "cache")
    assert found == closure(TOOL)
    monkeypatch.setattr(closures, "closure", lambda _: pytest.fail("it was taken again"))
    assert closures.remembered(TOOL, tmp_path / "cache") == found


@pytest.mark.parametrize("change", ["other version", "another package", "removed", "edited", "origin"])
def test_packages_that_change_are_read_again(change: str, site: Path, tmp_path: Path):
    before = closures.remembered(TOOL, tmp_path / "cache")
    part = next(site.glob("remembered_part*"))
    if change == "other version":
        metadata = part / "METADATA"
        metadata.write_text(metadata.read_text().replace("2.0", "2.1"))
        part.rename(part.with_name(part.name.replace("2.0", "2.1")))
    if change == "another package":
        tool = next(site.glob("remembered_tool*")) / "METADATA"
        tool.write_text(tool.read_text().replace("remembered-part", "remembered-more"))
        install(site, "remembered-more")
    if change == "removed":
        (part / "METADATA").unlink()
        part.rename(part.with_name("gone"))
    if change == "edited":
        metadata = part / "METADATA"
        metadata.write_text(metadata.read_text().replace("2.0", "9.0"))
    if change == "origin":
        (part / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    after = closures.remembered(TOOL, tmp_path / "cache")
    assert after == closure(TOOL)
    assert after != before


def test_another_finder_is_asked_each_time(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Finder:
        @staticmethod
        def find_distributions(_context: object) -> list:
            return []

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert closures.remembered(TOOL, tmp_path / "cache") == closure(TOOL)
    assert not list((tmp_path / "cache").glob("*/*"))


def test_what_is_remembered_of_others_is_not_read(site: Path, tmp_path: Path):
    """Whoever can write there could say what was installed."""
    closures.remembered(TOOL, tmp_path / "cache")
    (place,) = (tmp_path / "cache" / closures.FOLDER).iterdir()
    place.write_text("[]")
    place.chmod(0o666)
    assert closures.remembered(TOOL, tmp_path / "cache") == closure(TOOL)
    assert place.stat().st_mode & 0o022 == 0


def test_conditions_are_found_again_without_reading(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = closures.remembered(TOOL, tmp_path / "cache")
    before = closures.conditions(TOOL, found, tmp_path / "cache")
    assert before == markers.needed(TOOL, [package.name for package in found])
    monkeypatch.setattr(markers, "needed", lambda *_: pytest.fail("they were made again"))
    assert closures.conditions(TOOL, found, tmp_path / "cache") == before


def test_conditions_that_change_are_made_again(site: Path, tmp_path: Path):
    found = closures.remembered(TOOL, tmp_path / "cache")
    before = closures.conditions(TOOL, found, tmp_path / "cache")
    metadata = next(site.glob("remembered_tool*")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("remembered-part", 'remembered-part; python_version > "3"'))
    after = closures.conditions(TOOL, found, tmp_path / "cache")
    assert after != before
    assert after["remembered-part"] == 'python_version > "3"'
