"""The thin layer over CuPy, on a stand-in of CuPy: our calls are what CuPy takes, and do what they should."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import standin_cupy
from test_cuda_programs import dtypes, flat, lists, program_of, words

from fasthep_archive.errors import TaskError
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
        "GPU 0: stand-in 0 (sm_80, 1 GiB, driver for CUDA 12.8)",
        "GPU 1: stand-in 1 (sm_80, 1 GiB, driver for CUDA 12.8)",
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
    assert standin_cupy.calls == ["device 1", "synchronize"]
