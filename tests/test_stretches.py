"""Stretches of files read like the bytes that lie there."""

import io

from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive import files
from fasthep_archive.digest import of_bytes, of_stream
from fasthep_archive.files import Stretch, opened, pieces, read_all, size_of, write_atomically

CONTENT = bytes(range(256)) * 40


def stretch(directory, content=CONTENT):
    path = directory / "file"
    path.write_bytes(b"before" + content + b"behind")
    return Stretch(path=path, start=6, size=len(content))


def test_a_stretch_has_the_bytes_that_lie_there(tmp_path):
    found = stretch(tmp_path)
    assert read_all(found) == b"".join(pieces(found)) == CONTENT
    assert (size_of(found), size_of(CONTENT)) == (len(CONTENT),) * 2
    assert of_stream(opened(found)) == of_bytes(CONTENT)


@given(st.lists(st.tuples(st.integers(-300, 11_000), st.sampled_from([0, 1, 2]), st.integers(0, 9_000)), max_size=8))
def test_it_reads_and_seeks_as_bytes_do(tmp_path_factory, steps):
    ours, theirs = opened(stretch(tmp_path_factory.mktemp("stretch"))), io.BytesIO(CONTENT)
    for offset, whence, size in steps:
        place = max(0, {0: 0, 1: theirs.tell(), 2: len(CONTENT)}[whence] + offset)
        assert ours.seek(place) == theirs.seek(place)
        assert ours.read(size) == theirs.read(size)
        assert ours.tell() == theirs.tell()


def test_nothing_stays_open(tmp_path):
    found = opened(stretch(tmp_path))
    found.read(3)
    (tmp_path / "file").unlink()
    del found  # without a ResourceWarning


def test_a_stretch_that_has_been_cut_off_ends_early(tmp_path):
    found = stretch(tmp_path)
    found.path.write_bytes(b"before" + CONTENT[:100])
    assert read_all(found) == CONTENT[:100]


def test_a_file_of_a_stretch_is_written_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIECE", 1000)
    write_atomically(tmp_path / "to" / "copy", stretch(tmp_path))
    assert (tmp_path / "to" / "copy").read_bytes() == CONTENT
    assert len(list(pieces(CONTENT))) == 11
