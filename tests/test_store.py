"""The store keeps whole results or none, for any number of processes."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fasthep_archive.digest import of_bytes
from fasthep_archive.execution.store import Store
from fasthep_archive.files import Stretch
from fasthep_archive.operations.protocol import Output, State

KEY = of_bytes(b"key")


def state(number: int = 0) -> State:
    return State(
        header={"slots": [["a", 1]], "number": number},
        arrays={
            "limbs": np.arange(6, dtype=np.int64).reshape(2, 3),
            "sums": np.array([1.5, np.nan]),
            "none": np.zeros(0),
        },
    )


def assert_equal(found: State | None, expected: State) -> None:
    assert found is not None
    assert found.header == expected.header
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_what_was_put_is_got(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(KEY, state())
    assert KEY in store
    assert_equal(store.get(KEY), state())


def test_what_was_not_put_is_absent(tmp_path: Path) -> None:
    assert Store(tmp_path).get(KEY) is None
    assert KEY not in Store(tmp_path / "not" / "there")


@given(
    hnp.arrays(
        st.sampled_from([np.int64, np.float64, np.bool_, np.uint8, np.float32]),
        hnp.array_shapes(min_side=0, max_dims=3),
    )
)
def test_any_array_survives(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    store.put(KEY, State(header=None, arrays={"x": array}))
    found = store.get(KEY)
    assert found is not None
    assert found.arrays["x"].dtype == array.dtype
    assert found.arrays["x"].tobytes() == np.ascontiguousarray(array).tobytes()


def test_every_damaged_or_cut_off_file_counts_as_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(KEY, state())
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert store.get(KEY) is None, position
        path.write_bytes(whole[:position])
        assert store.get(KEY) is None, position
    path.write_bytes(whole)
    assert_equal(store.get(KEY), state())


def test_files_stay_in_the_store_until_they_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "made").write_bytes(b"third")
    whole = Stretch.whole(tmp_path / "made")
    store.put_files(KEY, (Output(name=name, held=held) for name, held in {"b": b"first", "a": b"", "c": whole}.items()))
    (tmp_path / "made").unlink()
    found = store.files(KEY)
    assert found is not None
    assert [(file.name, file.content, file.size) for file in found] == [
        ("b", b"first", 5),
        ("a", b"", 0),
        ("c", b"third", 5),
    ]
    assert all(isinstance(file.held, Stretch) for file in found)
    assert [replace(file, name="x").content for file in found] == [b"first", b"", b"third"]
    packed = store.packed(KEY)
    assert packed is not None
    Store(tmp_path / "other").keep(KEY, packed)
    assert KEY in Store(tmp_path / "other")


def test_damaged_files_count_as_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put_files(KEY, [Output(name="a", held=b"text")])
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert store.files(KEY) is None, position
        assert KEY not in store
        path.write_bytes(whole[:position])
        assert store.files(KEY) is None, position


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="no canonical JSON form"):
        store.put(KEY, State(header=float("nan"), arrays={}))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_keys_do_not_disturb_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [of_bytes(bytes([number])) for number in range(20)]
    for number, key in enumerate(keys):
        store.put(key, state(number))
    for number, key in enumerate(keys):
        assert_equal(store.get(key), state(number))


def _put_many(root: Path) -> None:
    for _ in range(50):
        Store(root).put(KEY, state())


def test_readers_see_whole_results_while_others_write(tmp_path: Path) -> None:
    Store(tmp_path).put(KEY, state())
    writers = [multiprocessing.get_context("spawn").Process(target=_put_many, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert_equal(Store(tmp_path).get(KEY), state())
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
