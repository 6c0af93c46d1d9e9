"""What was read of installed packages: believed while their files look unchanged, and no longer."""

import base64
import hashlib
import os
import zipfile
from collections.abc import Callable
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from fasthep_archive.environment import inspections, installed, wheels
from fasthep_archive.environment.packages import Package

PACKAGE = Package(name="grid", version="1.0", origin="index", needs=())
FILES = {
    "grid/__init__.py": b"x = 1\n",
    "grid/job.py": b"y = 2\n",
    "grid-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: grid\nVersion: 1.0\n",
    "grid-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def row(path: str, raw: bytes) -> str:
    return f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b'=').decode()},{len(raw)}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a package is installed, long enough ago for what is read of it to be believed."""
    site = tmp_path / "site"
    for name, raw in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(raw)
    listed = "".join(row(*item) for item in FILES.items())
    (site / "grid-1.0.dist-info" / "RECORD").write_text(f"{listed}grid-1.0.dist-info/RECORD,,\n")
    monkeypatch.setattr(inspections, "_SETTLED", -1)
    return site


def inspected(site: Path, cache: Path) -> installed.Inspected:
    return inspections.remembered(PathDistribution(site / "grid-1.0.dist-info"), PACKAGE, cache)


def directly(site: Path) -> installed.Inspected:
    return installed.inspected(PathDistribution(site / "grid-1.0.dist-info"))


def test_unchanged_files_are_not_read_again(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inspected(site, tmp_path / "cache")
    assert before == directly(site)
    monkeypatch.setattr(installed, "read", lambda _: pytest.fail("they were read again"))
    assert inspected(site, tmp_path / "cache") == before


def edited(site: Path) -> None:
    (site / "grid" / "job.py").write_bytes(b"y = 3 # another\n")


def edited_in_secret(site: Path) -> None:
    """Leave another content of the same size, in the same file, with the time that it had."""
    path = site / "grid" / "job.py"
    state = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"y = 3\n")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def removed(site: Path) -> None:
    (site / "grid" / "job.py").unlink()


def listed_further(site: Path) -> None:
    (site / "grid" / "more.py").write_bytes(b"")
    with (site / "grid-1.0.dist-info" / "RECORD").open("a") as record:
        record.write(row("grid/more.py", b""))


@pytest.mark.parametrize("change", [edited, edited_in_secret, removed, listed_further])
def test_what_changed_is_read_again(change: Callable[[Path], None], site: Path, tmp_path: Path) -> None:
    before = inspected(site, tmp_path / "cache")
    change(site)
    after = inspected(site, tmp_path / "cache")
    assert after == directly(site)
    assert after != before


def test_files_that_were_changed_just_now_are_read_again(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change within the same tick of the clock would not be seen."""
    monkeypatch.setattr(inspections, "_SETTLED", 2_000_000_000)
    before = inspected(site, tmp_path / "cache")
    monkeypatch.setattr(installed, "read", lambda _: None)
    with pytest.raises(AttributeError):
        inspected(site, tmp_path / "cache")
    assert before.modified == ()


def test_a_damaged_memory_is_made_again(site: Path, tmp_path: Path) -> None:
    before = inspected(site, tmp_path / "cache")
    (place,) = (tmp_path / "cache" / inspections.FOLDER).iterdir()
    place.write_bytes(place.read_bytes()[:20])
    assert inspected(site, tmp_path / "cache") == before


def test_a_memory_that_others_can_write_is_not_believed(site: Path, tmp_path: Path) -> None:
    before = inspected(site, tmp_path / "cache")
    (place,) = (tmp_path / "cache" / inspections.FOLDER).iterdir()
    place.write_bytes(place.read_bytes().replace(before.files.encode(), b"0" * 64))
    place.chmod(0o666)
    assert inspected(site, tmp_path / "cache") == before


def test_a_wheel_of_installed_files_is_made_once(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = PathDistribution(site / "grid-1.0.dist-info")
    files = installed.files_digest(found)
    first = wheels.rebuilt(found, tmp_path / "1", files=files, cache=tmp_path / "trees")
    assert first.read_bytes() == wheels.rebuilt(found, tmp_path / "2").read_bytes()
    monkeypatch.setattr(wheels, "_written", lambda *_: pytest.fail("it was made again"))
    again = wheels.rebuilt(found, tmp_path / "3", files=files, cache=tmp_path / "trees")
    assert again.read_bytes() == first.read_bytes()


def test_a_file_that_became_executable_gives_another_wheel(site: Path, tmp_path: Path) -> None:
    found = PathDistribution(site / "grid-1.0.dist-info")
    files = installed.files_digest(found)
    wheels.rebuilt(found, tmp_path / "1", files=files, cache=tmp_path / "trees")
    (site / "grid" / "job.py").chmod(0o755)
    again = wheels.rebuilt(found, tmp_path / "2", files=files, cache=tmp_path / "trees")
    with zipfile.ZipFile(again) as archive:
        assert archive.getinfo("grid/job.py").external_attr >> 16 & 0o111
