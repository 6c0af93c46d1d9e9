"""Which device computes what: choices, the search for GPUs, their self-test, and one worker for each."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from translated_device import TranslatedDevice

from fasthep_archive.errors import DataError, TaskError, UsageError
from fasthep_archive.execution.ahead import ahead
from fasthep_archive.execution.devices import ON_CPU, Devices, Wanted, choose, pool
from fasthep_archive.execution.target import Target
from fasthep_archive.kernels.cuda import code, listing, nvrtc, selftest
from fasthep_archive.kernels.cuda.device import Bytes, Description, Span
from fasthep_archive.kernels.cuda.listing import Listing, passing
from fasthep_archive.kernels.cuda.nvrtc import Compiler, compiler
from fasthep_archive.kernels.cuda.tools import Tools

NVRTC = compiler()
needs_nvrtc = pytest.mark.skipif(NVRTC is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")

DEVICE = TranslatedDevice().description
TARGET = Target(opener=TranslatedDevice, ordinals=(0,))
FOUND = Listing(devices=(DEVICE,))
NONE = Listing(lacking="CuPy is not installed")
REFUSED = Listing(refused=("GPU 0: translated: the self-test failed",))

# Choices

CHOICES = {
    "cpu is asked for": ("cpu", {"A": "gpu"}, FOUND, False, ""),
    "gpu is asked for": ("gpu", {}, FOUND, True, ""),
    "gpu is asked for, and a stage prefers the CPU": (
        "gpu",
        {"A": "cpu"},
        FOUND,
        False,
        "A is to run on the CPU: they share a pass",
    ),
    "there is one": ("auto", {}, FOUND, True, ""),
    "there is none": ("auto", {}, NONE, False, ""),
    "there is one that is refused": (
        "auto",
        {},
        REFUSED,
        False,
        "the CPU computes, not the GPU: GPU 0: translated: the self-test failed",
    ),
    "a stage prefers the GPU": ("auto", {"A": "gpu"}, FOUND, True, ""),
    "a stage prefers the GPU and there is none": (
        "auto",
        {"A": "gpu"},
        NONE,
        False,
        "A asks for a GPU; the CPU computes it: CuPy is not installed",
    ),
    "a stage prefers the CPU": ("auto", {"A": "cpu"}, FOUND, False, ""),
    "stages of a pass differ": (
        "auto",
        {"A": "cpu", "B": "gpu"},
        FOUND,
        False,
        "A is to run on the CPU, and B with it: they share a pass",
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_device_of_a_task(name: str):
    wanted, preferred, found, gpu, note = CHOICES[name]
    choice = choose(wanted, preferred, TARGET, found)
    assert (choice.target is TARGET, choice.note) == (gpu, note)


@pytest.mark.parametrize("found", [NONE, REFUSED], ids=["none", "refused"])
def test_a_gpu_that_is_asked_for_has_to_be_there(found: Listing):
    with pytest.raises(UsageError, match="--device gpu: no GPU can be used: ") as caught:
        choose("gpu", {}, TARGET, found)
    assert (found.lacking or found.refused[0]) in caught.value.message
    assert "--device auto" in str(caught.value.hint)


@pytest.mark.parametrize(("preferred", "gpu"), [({}, True), ({"A": "cpu"}, False), ({"B": "cpu"}, True)])
def test_only_the_stages_of_a_task_count(preferred: Mapping[str, Wanted], gpu: bool):
    devices = Devices(wanted="auto", preferred=preferred, listing=FOUND, opener=TranslatedDevice)
    assert (devices.choose(["A"]).target is not None) is gpu


def test_nothing_is_looked_for_where_the_cpu_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fasthep_archive.execution.devices.listing", None)
    assert ON_CPU.looked(tmp_path) is ON_CPU


def test_what_is_found_counts_for_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fasthep_archive.execution.devices.listing", lambda _: FOUND)
    looked = Devices(wanted="auto").looked(tmp_path)
    assert (looked.ordinals, looked.looked(tmp_path)) == ((0,), looked)


def test_a_run_for_a_gpu_ends_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fasthep_archive.execution.devices.listing", lambda _: NONE)
    with pytest.raises(UsageError, match="--device gpu: no GPU can be used: CuPy is not installed"):
        Devices(wanted="gpu").looked(tmp_path)


# The search


def test_what_is_lacking_is_named(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "find_spec", lambda _: None)
    assert listing.listing(kernel_cache) == Listing(lacking="CuPy is not installed")
    monkeypatch.setattr(listing, "find_spec", lambda name: name)
    monkeypatch.setattr(listing, "compiler", lambda: None)
    assert listing.listing(kernel_cache).lacking.startswith("NVRTC (nvidia-cuda-nvrtc or nvidia-cuda-nvrtc-cu12)")


FAKES = {
    "no driver": ("raise RuntimeError('cudaErrorNoDevice')", "CUDA finds no device: cudaErrorNoDevice"),
    "no library": ("raise ImportError('libcudart.so')", "CuPy can't be imported: libcudart.so"),
    "a crash": ("import os; os.kill(os.getpid(), 9)", "the search for GPUs ended with status -9: nothing was said"),
    "no device": ("class cuda:\n class runtime:\n  getDeviceCount = staticmethod(int)", "CUDA finds no device"),
}


@pytest.mark.parametrize("name", FAKES)
def test_a_search_without_result_says_why(
    name: str, tmp_path: Path, kernel_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    text, expected = FAKES[name]
    (tmp_path / "cupy.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(listing, "find_spec", lambda name: name)
    monkeypatch.setattr(listing, "compiler", lambda: True)
    assert listing.listing(kernel_cache) == Listing(lacking=expected)


def test_the_search_takes_nothing_from_the_working_directory(tmp_path: Path, kernel_cache: Path):
    (tmp_path / "json.py").write_text("raise SystemExit('taken from here')")
    command = [sys.executable, "-P", "-m", listing.__name__, str(kernel_cache)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == {"devices", "refused", "lacking"}


# The self-test


class Rounding(TranslatedDevice):
    """A device that gives back numbers whose last bit is not always right."""

    def download(self, source: Span, target: np.ndarray) -> None:
        super().download(source, target)
        if target.dtype == np.float64:
            target.view(np.int64)[-1:] ^= 1


class Full(TranslatedDevice):
    """A device without memory."""

    def __init__(self, ordinal: int) -> None:
        super().__init__(ordinal, memory=100)


class Broken(TranslatedDevice):
    """A device that CUDA can't use."""

    def upload(self, target: Span, source: Bytes) -> None:
        raise RuntimeError("cudaErrorECCUncorrectable")


@needs_nvrtc
def test_a_device_that_computes_rightly_passes(kernel_cache: Path):
    assert passing([DEVICE], TranslatedDevice, kernel_cache) == FOUND
    parts = selftest.thorough(Tools(TranslatedDevice(), kernel_cache), kernel_cache)
    assert sum(part.tests for part in parts) > 70_000


@needs_nvrtc
@pytest.mark.parametrize(
    ("opener", "reason"),
    [
        (Rounding, "the self-test failed: "),
        (Full, "there is no memory left for its self-test"),
        (Broken, "RuntimeError: cudaErrorECCUncorrectable"),
    ],
)
def test_a_device_that_does_not_is_refused_with_the_reason(opener: type, reason: str, kernel_cache: Path):
    found = passing([DEVICE], opener, kernel_cache)
    assert found.devices == ()
    assert found.refused[0].startswith(f"{DEVICE}: {reason}")


@needs_nvrtc
def test_one_of_several_devices_is_refused_alone(kernel_cache: Path):
    def opener(ordinal: int) -> TranslatedDevice:
        return (Rounding if ordinal else TranslatedDevice)(ordinal)

    found = passing([DEVICE, replace(DEVICE, ordinal=1)], opener, kernel_cache)
    assert (found.devices, len(found.refused)) == ((DEVICE,), 1)


@needs_nvrtc
def test_the_quick_part_refuses_too(kernel_cache: Path):
    watch = selftest.Watch(TranslatedDevice(), kernel_cache)
    watch.refuse()
    with pytest.raises(TaskError, match="does not compute as the profile says"):
        selftest.Watch(Rounding(), kernel_cache).refuse()


# Code


@needs_nvrtc
def test_code_is_compiled_once_for_each_architecture_and_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compiled = []
    original = Compiler.ptx
    monkeypatch.setattr(
        Compiler, "ptx", lambda self, text, **options: compiled.append(options) or original(self, text, **options)
    )
    text = 'extern "C" __global__ void nothing() {}'
    first, again, machine = (
        code.compiled(text, architecture, tmp_path / "cache", NVRTC)
        for architecture in ("compute_80", "compute_80", "sm_80")
    )
    assert again == first
    assert first.lstrip().startswith(b"//")
    assert machine.startswith(b"\x7fELF")
    assert [options["architecture"] for options in compiled] == ["compute_80", "compute_80"]
    code.compiled(text, "sm_80", tmp_path / "cache", replace(NVRTC, release="another"))
    assert len(compiled) == 3


def as_described(architecture: str, driver: str = "13.0") -> Description:
    return replace(DEVICE, architecture=architecture, driver=driver)


@needs_nvrtc
def test_a_device_that_nvrtc_does_not_know_yet_is_given_ptx():
    known = NVRTC.architectures()
    assert code.target(NVRTC, as_described("sm_90")) == "sm_90"
    assert code.target(NVRTC, as_described(f"sm_{known[-1] + 10}")) == f"compute_{known[-1]}"
    assert code.target(NVRTC, as_described("compute_80")) == "compute_80"


@needs_nvrtc
def test_a_device_that_is_too_old_for_nvrtc_is_told():
    with pytest.raises(DataError, match=r"NVRTC [\d.]+ compiles for devices from sm_\d+ on, and this is sm_35"):
        code.target(NVRTC, as_described("sm_35"))


@needs_nvrtc
def test_nvrtc_is_not_newer_than_the_driver(monkeypatch: pytest.MonkeyPatch):
    """With CUDA 13's alone, what it makes is not given to a driver for CUDA 12; with both, that of CUDA 12 is."""
    monkeypatch.setattr(nvrtc, "version", lambda package: "12.8.93" if package.endswith("cu12") else "13.0.48")
    listed = nvrtc._libraries("nvidia-cuda-nvrtc", nvrtc._LIBRARY) or nvrtc._libraries(
        "nvidia-cuda-nvrtc-cu12", nvrtc._LIBRARY
    )
    for installed, driver, release in (
        (("nvidia-cuda-nvrtc",), 13, "13.0.48"),
        (("nvidia-cuda-nvrtc",), 12, None),
        (nvrtc.PACKAGES, 12, "12.8.93"),
        (nvrtc.PACKAGES, 13, "13.0.48"),
    ):
        there = dict.fromkeys(installed, listed)
        monkeypatch.setattr(nvrtc, "_libraries", lambda package, _, there=there: there.get(package, []))
        found = compiler.__wrapped__(driver)
        assert (found and found.release) == release
    monkeypatch.setattr(code, "compiler", lambda newest=None: None if newest == 12 else NVRTC)
    with pytest.raises(DataError, match=r"NVRTC [\d.]+, which .*, is newer than the driver, .* made for CUDA 12.4"):
        code.required(as_described("sm_90", "12.4"))


@needs_nvrtc
def test_code_that_could_give_other_bits_is_not_kept(tmp_path: Path):
    text = 'extern "C" __global__ void f(double *x) { x[0] = __fma_rn(x[0], x[1], x[2]); }'
    with pytest.raises(Exception, match="instructions that could give other bits"):
        code.compiled(text, "sm_80", tmp_path / "cache", NVRTC)
    assert list((tmp_path / "cache" / "kernels").glob("*.object")) == []


# Workers


@dataclass(frozen=True)
class Asking:
    """Says which process it runs in, and which GPU is its own."""

    target: Target | None
    seconds: float = 0.3

    def __call__(self) -> tuple[int, int | None]:
        from fasthep_archive.execution import target

        time.sleep(self.seconds)
        return os.getpid(), target._claimed[-1] if target._claimed else None


def test_each_gpu_has_a_worker_of_its_own_and_the_cpu_has_others():
    workers = pool(1, (3, 5))
    asked = [workers.submit(Asking(TARGET)) for _ in range(6)]
    on_cpu = workers.submit(Asking(None)).result()
    found = {future.result() for future in asked}
    workers.shutdown()
    assert on_cpu == (os.getpid(), None)
    assert {ordinal for _, ordinal in found} == {3, 5}
    assert len(found) == 2


# Fetching ahead


def test_items_come_in_order_and_one_is_fetched_meanwhile():
    fetched = []

    def items() -> Iterator[int]:
        for number in range(20):
            fetched.append(number)
            yield number

    taken = []
    for number in ahead(items()):
        time.sleep(0.01)
        taken.append(number)
        assert fetched[-1] <= number + 1
    assert taken == list(range(20))


def test_an_error_comes_where_its_item_would():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_the_thread_ends_and_closes_when_nobody_wants_more():
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(threading.current_thread())

    found = ahead(items())
    next(found)
    found.close()
    assert len(closed) == 1
    assert not closed[0].is_alive()
