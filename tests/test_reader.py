"""Opening bundles: what is read is verified, and nothing gets out of the directory it is put in."""

import mmap
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hostile import make

from fasthep_archive.bundle import form, layout, source
from fasthep_archive.bundle.reader import Bundle, open_bundle
from fasthep_archive.context import NoProgress
from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import BundleError, UsageError

EVENTS, MASS = make.EVENTS, make.MASS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a sound bundle."""
    file = tmp_path / "muons.crate.zip"
    file.write_bytes(make.zipped(make.sound()))
    return file


@pytest.fixture(params=["zip", "directory"])
def bundle(request: pytest.FixtureRequest, path: Path, tmp_path: Path) -> Path:
    """Return a sound bundle in either form."""
    if request.param == "zip":
        return path
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def spoil(bundle: Path, name: str) -> None:
    """Change a byte of a member, in either form."""
    raw = bytearray(bundle.read_bytes() if bundle.is_file() else (bundle / name).read_bytes())
    at = 0
    if bundle.is_file():
        with zipfile.ZipFile(bundle) as archive:
            at = archive.getinfo(name).header_offset + 30 + len(name.encode())
    raw[at] ^= 1
    (bundle if bundle.is_file() else bundle / name).write_bytes(raw)


def test_it_says_what_the_bundle_says(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        assert opened.summary == make.summary(make.payload())
        assert opened.referenced == ()


def test_names_are_in_the_order_of_the_container(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        assert opened.names()[0] == layout.CRATE
        assert set(opened.names()) == set(make.sound())
        assert opened.names(layout.CODE) == ("data/code/selection.py",)


def test_contents_are_read(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        assert {name: opened.read(name) for name in opened.names()} == make.sound()
        assert opened.json(MASS) == {"values": [1.0, 2.0]}
        assert (opened.size(EVENTS), opened.sha256(EVENTS)) == (5000, of_bytes(make.payload()[EVENTS]))


def test_contents_can_be_mapped(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        located = opened.locate(EVENTS)
    with located.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[located.offset : located.offset + located.size] == make.payload()[EVENTS]


def test_files_are_extracted(bundle: Path, tmp_path: Path) -> None:
    with open_bundle(bundle) as opened:
        files = opened.extract(opened.names(), tmp_path / "target")
        assert [file.relative_to(tmp_path / "target").as_posix() for file in files] == list(opened.names())
    found = {
        file.relative_to(tmp_path / "target").as_posix() for file in (tmp_path / "target").rglob("*") if file.is_file()
    }
    assert found == set(make.sound())
    assert all((tmp_path / "target" / name).read_bytes() == raw for name, raw in make.sound().items())
    assert all(not file.stat().st_mode & 0o133 for file in files)


def test_damage_outside_the_payload_is_found_on_opening(bundle: Path) -> None:
    spoil(bundle, layout.README)
    with pytest.raises(BundleError, match=r"is damaged\n  README\.md: has the ") as caught:
        open_bundle(bundle)
    assert "get the bundle again" in str(caught.value.hint)


def test_damage_of_the_payload_is_found_on_reading(bundle: Path) -> None:
    spoil(bundle, EVENTS)
    with open_bundle(bundle) as opened, pytest.raises(BundleError, match=f"{EVENTS}: has the SHA-256"):
        opened.read(EVENTS)


def test_damage_of_the_payload_is_found_on_opening_when_asked(bundle: Path) -> None:
    spoil(bundle, EVENTS)
    with pytest.raises(BundleError, match=f"{EVENTS}: has the "):
        open_bundle(bundle, payload=True)


def test_a_damaged_file_is_not_left_behind(bundle: Path, tmp_path: Path) -> None:
    spoil(bundle, EVENTS)
    with open_bundle(bundle) as opened, pytest.raises(BundleError, match=f"{EVENTS}: has the SHA-256"):
        opened.extract([EVENTS], tmp_path / "target")
    assert not (tmp_path / "target" / EVENTS).exists()


def test_a_file_that_is_too_long_is_not_read(bundle: Path) -> None:
    with (
        open_bundle(bundle) as opened,
        pytest.raises(BundleError, match=f"{EVENTS}: has 5000 bytes, and the limit is 10"),
    ):
        opened.read(EVENTS, limit=10)


@pytest.mark.parametrize("name", ["../muons.crate.zip", "/etc/passwd", "data", "data/inputs/event.root", ""])
def test_what_is_no_member_is_not_read(bundle: Path, tmp_path: Path, name: str) -> None:
    with open_bundle(bundle) as opened:
        for use in (
            opened.read,
            opened.json,
            opened.locate,
            opened.size,
            lambda name: opened.extract([name], tmp_path),
        ):
            with pytest.raises(BundleError, match="is not in the bundle"):
                use(name)


def test_the_nearest_name_is_suggested(path: Path) -> None:
    with open_bundle(path) as opened, pytest.raises(BundleError) as caught:
        opened.read("data/inputs/event.root")
    assert caught.value.hint == f"did you mean '{EVENTS}'?"


def test_a_referenced_file_is_named_as_such(tmp_path: Path) -> None:
    files = make.payload()
    fetch = {EVENTS: ("https://opendata.cern.ch/events.root", files.pop(EVENTS))}
    (tmp_path / "thin.zip").write_bytes(make.zipped(make.sealed(files, fetch=fetch)))
    with open_bundle(tmp_path / "thin.zip") as opened:
        assert opened.referenced == (EVENTS,)
        with pytest.raises(BundleError, match=f"{EVENTS} is referenced by the bundle, not included"):
            opened.read(EVENTS)


def test_a_file_that_is_not_json_is_damage(path: Path) -> None:
    with open_bundle(path) as opened, pytest.raises(BundleError, match=r"events.root: is not strict JSON"):
        opened.json(EVENTS)


def test_what_is_not_there_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.zip can't be read: No such file or directory"):
        open_bundle(tmp_path / "absent.zip")


# --- extraction stays where it belongs ------------------------------------------------------------------------------


def test_a_file_in_the_way_is_not_replaced(path: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with open_bundle(path) as opened, pytest.raises(UsageError, match=r"README\.md can't be written: File exists"):
        opened.extract([layout.README], tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_link_in_the_way_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / layout.README).symlink_to(tmp_path / "elsewhere")
    with open_bundle(path) as opened, pytest.raises(UsageError, match="can't be written"):
        opened.extract([layout.README], tmp_path / "target")
    assert not (tmp_path / "elsewhere").exists()


def test_a_linked_directory_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "data").symlink_to(tmp_path / "elsewhere")
    with open_bundle(path) as opened, pytest.raises(UsageError, match="data is not a directory"):
        opened.extract([EVENTS], tmp_path / "target")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_two_extractions_may_share_a_directory(path: Path, tmp_path: Path) -> None:
    with open_bundle(path) as opened:
        opened.extract([EVENTS], tmp_path / "target")
        opened.extract([MASS], tmp_path / "target")
    assert (tmp_path / "target" / EVENTS).is_file()
    assert (tmp_path / "target" / MASS).is_file()


def test_memory_does_not_grow_with_a_member(tmp_path: Path) -> None:
    files = {**make.payload(), layout.INPUTS + "large.root": bytes(40 << 20)}
    (tmp_path / "b.zip").write_bytes(make.zipped(make.sealed(files)))
    del files
    tracemalloc.start()
    try:
        with open_bundle(tmp_path / "b.zip", payload=True) as opened:
            opened.extract([layout.INPUTS + "large.root"], tmp_path / "target")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 8 * source.BLOCK + 2e6  # two blocks for each member that is hashed at a time


def test_progress_is_shown(path: Path, tmp_path: Path) -> None:
    class Shown(NoProgress):
        def __init__(self) -> None:
            self.lines: list[tuple[str, int, str]] = []
            self.done = 0

        def start(self, what: str, total: int, unit: str) -> None:
            self.lines.append((what, total, unit))

        def advance(self, amount: int) -> None:
            self.done += amount

    shown = Shown()
    total = sum(map(len, make.sound().values()))
    with open_bundle(path, payload=True, progress=shown) as opened:
        assert shown.done == total
        opened.extract([EVENTS], tmp_path / "target", progress=shown)
    assert shown.lines == [("verifying muons.crate.zip", total, "bytes"), ("unpacking muons.crate.zip", 5000, "bytes")]
    assert shown.done == total + 5000


def test_the_file_that_was_verified_is_the_one_that_is_read(path: Path) -> None:
    with open_bundle(path) as opened:
        os.replace(_another(path), path)
        assert opened.read(MASS) == make.payload()[MASS]


def _another(path: Path) -> Path:
    other = path.with_name("other.zip")
    other.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    return other


def test_a_file_that_changes_while_it_is_open_is_damage(path: Path) -> None:
    opened: Bundle
    with open_bundle(path) as opened:
        spoil(path, MASS)
        with pytest.raises(BundleError, match=f"{MASS}: has the SHA-256"):
            opened.read(MASS)


def test_a_file_that_is_cut_while_it_is_open_is_damage(path: Path, tmp_path: Path) -> None:
    with open_bundle(path) as opened:
        os.truncate(path, 100)
        with pytest.raises(BundleError, match=f"{MASS}: can't be read: the file ended while it was read"):
            opened.read(MASS)
        with pytest.raises(BundleError, match=f"{MASS}: can't be read: the file ended while it was read"):
            opened.extract([MASS], tmp_path / "target")


def test_limits_are_the_callers(path: Path) -> None:
    with pytest.raises(BundleError, match="claims 18 members, and the limit is 5"):
        open_bundle(path, limits=form.Limits(members=5))
