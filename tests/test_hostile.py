"""Every hostile or damaged bundle is refused, for its own reason, in bounded memory, and leaves nothing behind."""

import functools
import tracemalloc
from pathlib import Path

import pytest
from hostile import make

from fasthep_archive.bundle.reader import open_bundle
from fasthep_archive.bundle.verifier import verify
from fasthep_archive.errors import BundleError


@functools.cache
def built(name: str) -> bytes:
    return make.HOSTILE[name][0]()


@pytest.fixture(params=make.HOSTILE)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Return a hostile bundle and a part of what the message must say."""
    _, message = make.HOSTILE[request.param]
    path = tmp_path / "hostile.crate.zip"
    path.write_bytes(built(request.param))
    return path, message


def test_is_refused_for_its_own_reason(hostile: tuple[Path, str]) -> None:
    path, message = hostile
    problems = [str(problem) for problem in verify(path).problems]
    assert any(message in problem for problem in problems), "\n".join(problems[:10])


def test_cannot_be_opened_nor_extracted(hostile: tuple[Path, str], tmp_path: Path) -> None:
    path, message = hostile
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(BundleError) as caught, open_bundle(path, payload=True) as bundle:
        bundle.extract(bundle.names(), tmp_path / "target")
    assert message in caught.value.message
    assert caught.value.exit_status == 4
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_is_refused_in_bounded_memory(hostile: tuple[Path, str]) -> None:
    path, _ = hostile
    size = path.stat().st_size
    tracemalloc.start()
    try:
        verify(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6 + 12 * size


def test_messages_hold_nothing_that_disturbs_a_terminal(hostile: tuple[Path, str]) -> None:
    path, _ = hostile
    assert all(str(problem).isprintable() for problem in verify(path).problems)
