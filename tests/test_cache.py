"""What the cache holds and how it is made smaller, while others use it and while nobody does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import UsageError
from fasthep_archive.execution.cache import in_use, prune, usage
from fasthep_archive.execution.store import Store
from fasthep_archive.operations.protocol import State


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache with something in each of several areas; the n-th thing was used n days after 1970."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    store = Store(cache / "store")
    for number in range(3):
        store.put(of_bytes(str(number).encode()), State(header=number, arrays={"x": np.arange(1000)}))
    for name in ("kernels/a.object", "kernels/locks", "inputs/abc/known.json", "inputs/abc/v1/data.root"):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(b"x" * 100)
    for number, path in enumerate(sorted(path for path in cache.rglob("*") if path.is_file())):
        os.utime(path, (number * 86400, number * 86400))
    for path in sorted((path for path in cache.rglob("*") if path.is_dir()), reverse=True):
        os.utime(path, (0, 0))
    return cache


def test_areas_are_counted_with_their_sizes(cache: Path) -> None:
    found = {item.area: (item.entries, item.size) for item in usage(cache) if item.entries}
    size = sum(entry.size for entry in Store(cache / "store").entries())
    assert found == {"results": (3, size), "kernels": (1, 100), "copies": (1, 200)}


def test_the_store_lists_what_it_holds(cache: Path) -> None:
    assert {entry.key for entry in Store(cache / "store").entries()} == {of_bytes(str(n).encode()) for n in range(3)}


def test_all_is_removed_but_files_that_processes_lock(cache: Path) -> None:
    prune(cache)
    left = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    assert left == {"kernels/locks", "in-use"}


def test_what_was_not_used_for_long_is_removed(cache: Path) -> None:
    """Files are numbered in the order of their names: inputs first, then kernels, then the store."""
    removed = prune(cache, before=2.5 * 86400)
    assert [item.path.relative_to(cache).as_posix() for item in removed] == ["inputs/abc", "kernels/a.object"]
    assert len(list(Store(cache / "store").entries())) == 3


def test_the_oldest_are_removed_until_the_rest_fits(cache: Path) -> None:
    entry = next(iter(Store(cache / "store").entries()))
    prune(cache, keep=entry.size * 2)
    assert len(list(Store(cache / "store").entries())) == 2
    assert sum(item.size for item in usage(cache)) <= entry.size * 2


def test_areas_can_be_chosen(cache: Path) -> None:
    prune(cache, areas=frozenset({"kernels"}))
    assert {item.area for item in usage(cache) if item.entries} == {"results", "copies"}


HOLD = """
import sys
from pathlib import Path
from fasthep_archive.execution.cache import in_use
with in_use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_nothing_is_removed_while_another_process_needs_it(cache: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with in_use(cache), pytest.raises(UsageError, match="other processes need the cache"):
            prune(cache)
    finally:
        holder.communicate("")
    prune(cache)
    assert not any(item.entries for item in usage(cache))


def test_a_cache_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert {item.entries for item in usage(tmp_path / "none")} == {0}
    assert prune(tmp_path / "none") == ()
