"""Blocks of a pass on their way to a device: read, copied and computed at the same time, two at a time, none torn."""

import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
from test_cuda_passes import equal, on_device, planned, small, works
from translated_device import TranslatedDevice

from fasthep_archive.data.source import EventSource, open_events
from fasthep_archive.execution import device_pass
from fasthep_archive.execution.device_pass import DevicePasses
from fasthep_archive.execution.plan import Pass, Work
from fasthep_archive.execution.worker import states
from fasthep_archive.kernels.cuda.nvrtc import compiler
from fasthep_archive.kernels.cuda.run import Lane

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")


class Waiting(TranslatedDevice):
    """A device that is not done with its first block before more has been read, and the next is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.queued = [threading.Event() for _ in range(2)], threading.Event()

    def upload(self, target, source):
        found = super().upload(target, source)
        if self.read[1].is_set():
            self.queued.set()
        return found

    def mark(self):
        for event in (*self.read, self.queued):
            assert event.wait(timeout=20), "reading and copying wait for computing"
        return super().mark()


class Noted:
    """A source that says when each piece has been read."""

    def __init__(self, source: EventSource, device: Waiting) -> None:
        self._source, self._device = source, device
        self._times = 0

    def clusters(self) -> tuple[int, ...]:
        return tuple(range(0, self._source.entries, 200))

    def read(self, columns, start: int, stop: int):
        found = self._source.read(columns, start, stop)
        if self._times < 2:
            self._device.read[self._times].set()
        self._times += 1
        return found


def test_reading_and_copying_go_on_while_the_device_computes(
    example: Path, kernel_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(device_pass, "PIECE", 200)
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    waiting = Waiting()
    with open_events(step.partition.file.path, step.partition.reads) as source:
        passes = DevicePasses(waiting, kernel_cache)
        found = passes.states(Noted(source, waiting), work, step.partition.start, step.partition.stop)
    assert equal(found, states(step.partition, work, kernel_cache))


def test_the_next_block_is_copied_before_anybody_waits_for_the_one_before(
    example: Path, kernel_cache: Path, tmp_path: Path
):
    step, work = next(works(planned(small(tmp_path, example), kernel_cache)))
    translated = TranslatedDevice()
    passes = DevicePasses(translated, kernel_cache)
    passes._block = 200
    first = len(translated.notes)
    assert equal(on_device(passes, step, work), states(step.partition, work, kernel_cache))
    notes = [note for note in translated.notes[first:] if not note.startswith("mark")]
    constants = {note.removeprefix("wait for ") for note in notes if note.startswith("wait for copy")}
    places = [note.split()[-1] for note in notes if note.startswith("copy") and note not in constants]
    blocks = [note for note in notes if note.startswith("wait for mark") or note in {f"copy {n}" for n in places}]
    assert len(places) >= 5
    expected = [f"copy {places[0]}", f"copy {places[1]}"]
    for number, place in enumerate(places[2:], 1):
        expected += [f"wait for mark {number}", f"copy {place}"]
    assert blocks == expected


def torn(passes: DevicePasses, step: Pass, work: Work, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that states are wrong if a lane is loaded while it is in use, and right if that is waited for."""
    passes._block = 100
    expected, load = states(step.partition, work, cache), Lane.load

    def hasty(self: Lane, arrays):
        self._used = None
        return load(self, arrays)

    assert equal(on_device(passes, step, work), expected)  # now the lanes have their size: nothing is given back
    with monkeypatch.context() as patch:
        patch.setattr(Lane, "load", hasty)
        with pytest.raises(AssertionError):
            equal(on_device(passes, step, work), expected)
    assert equal(on_device(passes, step, work), expected)


def test_a_lane_that_is_used_too_early_is_noticed(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step, work = next(works(planned(small(tmp_path, example), kernel_cache)))
    torn(DevicePasses(TranslatedDevice(), kernel_cache), step, work, kernel_cache, monkeypatch)


class Counting:
    """A source that counts the pieces of it that are in memory."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self.alive = self.most = 0
        self._lock = threading.Lock()

    def clusters(self) -> tuple[int, ...]:
        return tuple(range(0, self._source.entries, 100))

    def read(self, columns, start: int, stop: int):
        found = dict(self._source.read(columns, start, stop))
        name, column = next(iter(found.items()))
        content = column.content.copy()
        self._count(1)
        weakref.finalize(content, self._count, -1)
        return {**found, name: replace(column, content=content)}

    def _count(self, change: int) -> None:
        with self._lock:
            self.alive += change
            self.most = max(self.most, self.alive)


def test_two_pieces_are_in_memory_at_a_time(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(device_pass, "PIECE", 100)
    step, work = next(works(planned(small(tmp_path, example), kernel_cache)))
    with open_events(step.partition.file.path, step.partition.reads) as source:
        counting = Counting(source)
        DevicePasses(TranslatedDevice(), kernel_cache).states(counting, work, step.partition.start, step.partition.stop)
    assert counting.alive == 0
    assert counting.most <= 3  # one more while the next one takes its place
