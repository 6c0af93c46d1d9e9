"""Files that are found by their content, whatever they are called now."""

import hashlib
import os
from pathlib import Path

import pytest

from fasthep_archive.context import NoProgress
from fasthep_archive.data.finding import Found, Wanted, find
from fasthep_archive.errors import DataError


def wanted(name: str, content: bytes) -> Wanted:
    return Wanted(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def found(directory: Path, *files: Wanted) -> Found:
    return find(files, directory, NoProgress())


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_is_found_under_its_name(tmp_path: Path) -> None:
    path = put(tmp_path / "ww.root", b"ww")
    assert found(tmp_path, wanted("ww.root", b"ww")).whole() == {"ww.root": path}


def test_a_file_is_found_under_another_name_in_a_folder_below(tmp_path: Path) -> None:
    path = put(tmp_path / "a" / "b" / "renamed.root", b"ww")
    put(tmp_path / "zz.root", b"zz")
    assert found(tmp_path, wanted("ww.root", b"ww")).paths == {"ww.root": path}


def test_files_that_exchanged_their_names_are_told_apart(tmp_path: Path) -> None:
    ww, zz = put(tmp_path / "zz.root", b"ww"), put(tmp_path / "ww.root", b"zz")
    assert found(tmp_path, wanted("ww.root", b"ww"), wanted("zz.root", b"zz")).paths == {"ww.root": ww, "zz.root": zz}


def test_one_file_can_be_two_that_were_wanted(tmp_path: Path) -> None:
    path = put(tmp_path / "a.root", b"ww")
    assert set(found(tmp_path, wanted("a.root", b"ww"), wanted("b.root", b"ww")).whole().values()) == {path}


def test_a_file_that_is_not_there_is_named_with_its_digest(tmp_path: Path) -> None:
    item = wanted("ww.root", b"ww")
    assert found(tmp_path, item).missing == {
        "ww.root": f"ww.root is not in {tmp_path}, under any name (size 2, SHA-256 {item.sha256})"
    }


@pytest.mark.parametrize("content", [b"zz", b"longer"])
def test_a_file_with_the_name_and_another_content_is_shown_with_both_digests(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "data" / "ww.root", content)
    item = wanted("ww.root", b"ww")
    (reason,) = found(tmp_path, item).missing.values()
    assert reason.startswith("data/ww.root is not the recorded ww.root")
    assert item.sha256 in reason
    assert hashlib.sha256(content).hexdigest() in reason


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        found(tmp_path, wanted("ww.root", b"ww"), wanted("zz.root", b"zz")).whole()
    assert "ww.root" in caught.value.message
    assert "zz.root" in caught.value.message


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_that_lead_out_are_not_followed(tmp_path: Path, what: str) -> None:
    outside = put(tmp_path / "outside" / "ww.root", b"ww")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "ww.root").symlink_to(outside if what == "file" else outside.parent)
    assert not found(inside, wanted("ww.root", b"ww")).paths


def test_a_pipe_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "empty")
    assert not found(tmp_path, wanted("empty", b"")).paths


def test_only_files_of_a_wanted_size_are_read(tmp_path: Path) -> None:
    put(tmp_path / "other.root", b"longer")
    path = put(tmp_path / "ww.root", b"ww")
    read = []

    class Shown(NoProgress):
        def advance(self, amount: int) -> None:
            read.append(amount)

    assert find([wanted("ww.root", b"ww")], tmp_path, Shown()).paths == {"ww.root": path}
    assert read == [2]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        found(tmp_path / "gone", wanted("ww.root", b"ww"))
