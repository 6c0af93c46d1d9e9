"""The thin layer over CuPy, on a stand-in of CuPy: our calls are what CuPy takes, and do what they should."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import standin_cupy
from test_cuda_blocks import torn
from test_cuda_passes import equal, on_device, planned, small, works
from test_cuda_programs import dtypes, flat, lists, program_of, words

from fasthep_archive.errors import TaskError
from fasthep_archive.execution.device_pass import LANES, DevicePasses
from fasthep_archive.execution.worker import states
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.cuda import cupy_device
from fasthep_archive.kernels.cuda.code import loaded
from fasthep_archive.kernels.cuda.cupy_device import CupyDevice
from fasthep_archive.kernels.cuda.device import OutOfMemory, constant, room
from fasthep_archive.kernels.cuda.listing import _search
from fasthep_archive.kernels.cuda.nvrtc import compiler
from fasthep_archive.kernels.cuda.run import DeviceKernel
from fasthep_archive.kernels.cuda.tools import Tools

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in in CuPy's place, and PTX in that of machine code, which only a GPU runs."""
    monkeypatch.setitem(sys.modules, "cupy", standin_cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", standin_cupy.cuda)
    real = cupy_device.described
    monkeypatch.setattr(cupy_device, "described", lambda ordinal: replace(real(ordinal), architecture="compute_80"))


def test_a_device_is_described(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "cupy", standin_cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", standin_cupy.cuda)
    assert [str(found) for found in cupy_device.devices()] == [
        "GPU 0: stand-in 0 (sm_80, 1 GiB, driver for CUDA 13.0)",
        "GPU 1: stand-in 1 (sm_80, 1 GiB, driver for CUDA 13.0)",
    ]


def test_what_is_copied_comes_back():
    device = CupyDevice(0)
    values, found = np.random.default_rng(1).normal(0, 1, 1000), np.empty(1000)
    span = constant(device, values)
    device.download(span, found)
    assert (found == values).all()
    device.clear(span.part(800, 80))
    device.download(span, found)
    assert (found[100:110] == 0).all()
    assert (found[:100] == values[:100]).all()


def test_programs_run(kernel_cache: Path):
    tools = Tools(CupyDevice(0), kernel_cache)
    program = program_of(["sum(pt[pt > met]) * scale", "exp(met)", "pad_none(pt, 2)"], scalars={"scale": "float64"})
    data = {"pt": lists([1.0, 2.0], [], [3.0]), "met": flat([0.5, 1.5, 2.5])}
    found = DeviceKernel(program, dtypes(data), tools, kernel_cache)(data, {"scale": 0.1}, 3)
    expected = compile_program(program, cache=kernel_cache)(data, {"scale": 0.1}, 3)
    assert [words(tools.downloaded(column)) for column in found] == [words(column) for column in expected]


@pytest.mark.slow
def test_the_search_tests_every_device(kernel_cache: Path):
    found = _search(kernel_cache)
    assert [device.ordinal for device in found.devices] == [0, 1]
    assert (found.refused, found.lacking) == ((), "")


def test_memory_that_is_not_there_is_told():
    device = CupyDevice(0)
    with standin_cupy.limited(1000):
        assert device.free() == 1000
        held = room(device, 600)
        with pytest.raises(OutOfMemory):
            room(device, 600)
        del held
        room(device, 600)


def test_other_errors_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch):
    def broken(size: int) -> None:
        raise standin_cupy.CUDARuntimeError(719)

    monkeypatch.setattr(standin_cupy.cuda, "Memory", broken)
    with pytest.raises(RuntimeError, match="cudaError 719"):
        room(CupyDevice(0), 8)


def test_code_that_a_device_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch):
    def refused(self: object) -> None:
        raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")

    monkeypatch.setattr(standin_cupy.RawModule, "compile", refused)
    with pytest.raises(TaskError, match=r"stand-in 0 .* does not take code that was made for it: CUDA_ERROR_NO_BINARY"):
        CupyDevice(0).load(b"code")


def test_no_file_is_left_when_code_is_not_used_any_more(
    kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = loaded(CupyDevice(0), 'extern "C" __global__ void nothing() {}', kernel_cache)
    code.launch("nothing", 1, [])
    assert len(list(tmp_path.iterdir())) == 1
    del code
    assert list(tmp_path.iterdir()) == []


def test_each_thread_is_told_its_device():
    device = CupyDevice(1)
    standin_cupy.calls.clear()
    device.finish()
    assert standin_cupy.calls == ["device 1", "synchronize", "synchronize"]


# Queues


def test_kernels_wait_for_a_copy_and_nobody_else_does():
    device = CupyDevice(0)
    source = device.staging(8)
    first, second, found = room(device, 8), room(device, 8), np.empty(1)
    source[:] = np.frombuffer(np.float64(1.0).tobytes(), np.uint8)
    copied = device.upload(first, source)
    device.clear(first)  # not held: comes before the copy
    device.download(first, found)
    assert found[0] == 0
    copied.hold()
    device.download(first, found)
    assert found[0] == 1
    device.clear(second)
    cleared = device.mark()
    device.upload(second, source)
    cleared.wait()
    device.finish()
    device.download(second, found)
    assert found[0] == 1


def test_a_copy_has_what_the_host_had_when_it_was_done():
    """The stand-in is as late as a GPU may be: what is overwritten before the mark is reached is lost."""
    device = CupyDevice(0)
    source, target, found = device.staging(8), room(device, 8), np.zeros(1, np.int64)
    source[:] = 1
    copied = device.upload(target, source)
    source[:] = 2
    copied.hold()
    device.download(target, found)
    assert found.tobytes() == bytes([2] * 8)


def test_page_locked_memory_is_given_back():
    before = len(standin_cupy.pinned)
    device = CupyDevice(0)
    held = [device.staging(size) for size in (100, 200, 300)]
    assert len(standin_cupy.pinned) == before + 3
    held.clear()
    assert len(standin_cupy.pinned) == before


def test_a_kernel_without_room_for_its_stack_is_told_as_memory(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    code = loaded(CupyDevice(0), 'extern "C" __global__ void nothing() {}', kernel_cache)

    def refused(self: object, name: str):
        def call(*_: object) -> None:
            raise standin_cupy.CUDADriverError(2)

        return call

    monkeypatch.setattr(standin_cupy.RawModule, "get_function", refused)
    with pytest.raises(OutOfMemory):
        code.launch("nothing", 1, [])


# Whole passes


@pytest.mark.slow
def test_passes_have_the_states_of_the_cpu(example: Path, kernel_cache: Path):
    passes = DevicePasses(CupyDevice(0), kernel_cache)
    passes._block = 300
    before = len(standin_cupy.pinned)
    for step, work in works(planned(example / "workflow.yaml", kernel_cache)):
        assert equal(on_device(passes, step, work), states(step.partition, work, kernel_cache))
    assert len(standin_cupy.pinned) <= before + LANES


def test_a_lane_that_is_used_too_early_is_noticed(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step, work = next(works(planned(small(tmp_path, example), kernel_cache)))
    torn(DevicePasses(CupyDevice(0), kernel_cache), step, work, kernel_cache, monkeypatch)
