"""The self-test: it passes here, it notices what is wrong, and workers refuse to compute where it would."""

import ctypes
import json
import platform
import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import Command

from fasthep_archive.errors import TaskError
from fasthep_archive.execution import worker
from fasthep_archive.execution.record import read_record
from fasthep_archive.execution.worker import MergeTask, PassTask
from fasthep_archive.kernels import golden, probes, selftest, suspects
from fasthep_archive.kernels.elementary import rounded

ROOT = Path(__file__).parents[1]
X86 = platform.machine() in ("x86_64", "AMD64")
MODES = {"upward": 0x800, "downward": 0x400, "to zero": 0xC00} if X86 else {"upward": 0x400000, "downward": 0x800000}
"""Arguments of ``fesetround``: bits of MXCSR, or of AArch64's FPCR."""
FTZ, DAZ = 0x8000, 0x0040

CONTROL = """
#include <immintrin.h>
unsigned exchange(unsigned flags) { unsigned before = _mm_getcsr(); _mm_setcsr(before ^ flags); return before; }
"""
"""A library that changes what it is told to change."""


@pytest.fixture(scope="module")
def compiler() -> str:
    """Return a C compiler for the processor whose control register these tests change."""
    found = shutil.which("gcc")
    if found is None or not X86:
        pytest.skip("needs gcc on x86-64, to make a library that changes the control register MXCSR")
    return found


@pytest.fixture(scope="module")
def control(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Return a library that changes MXCSR when it is called."""
    directory = tmp_path_factory.mktemp("control")
    (directory / "control.c").write_text(CONTROL)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", "libcontrol.so", "control.c"], cwd=directory, check=True)
    return ctypes.CDLL(str(directory / "libcontrol.so"))


@pytest.fixture(scope="module")
def fast_library(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that somebody has linked with -ffast-math: GCC adds a constructor that sets FTZ and DAZ."""
    directory = tmp_path_factory.mktemp("fast")
    (directory / "fast.c").write_text("double half(double x) { return x / 2; }\n")
    command = [compiler, "-shared", "-fPIC", "-Ofast", "-mdaz-ftz", "-o", "libfast.so", "fast.c"]
    if subprocess.run(command, cwd=directory, check=False, capture_output=True).returncode:
        subprocess.run([word for word in command if word != "-mdaz-ftz"], cwd=directory, check=True)
    return directory / "libfast.so"


@contextmanager
def flags(control: ctypes.CDLL, changed: int) -> Iterator[None]:
    control.exchange(changed)
    try:
        yield
    finally:
        control.exchange(changed)


@contextmanager
def rounding(mode: str) -> Iterator[None]:
    library = ctypes.CDLL(None)
    if not hasattr(library, "fesetround"):
        library = ctypes.CDLL("libm.so.6")
    assert library.fesetround(MODES[mode]) == 0
    try:
        yield
    finally:
        library.fesetround(0)


# It passes here


def test_everything_is_right_here(kernel_cache: Path):
    found = selftest.thorough(kernel_cache)
    assert found.failures == ()
    assert found.suspects == ()


def test_every_elementary_function_is_tested(kernel_cache: Path):
    assert {part.name for part in selftest.thorough(kernel_cache).parts} >= set(rounded.NAMES)


def test_vectors_are_those_of_mpfr():
    """Everything in the file is made again: by gmpy2, fractions and bisection."""
    assert runpy.run_path(str(ROOT / "tools" / "make_golden.py"))["made"]() == golden.FILE.read_text()


def test_digest_is_of_code_and_vectors_and_of_nothing_else():
    selftest.tested.cache_clear()
    first = selftest.tested()
    selftest.tested.cache_clear()
    assert selftest.tested() == first


def test_random_arguments_are_those_of_splitmix64():
    """The first number that Vigna's splitmix64.c makes of the seed 0."""
    assert golden._mixed(0, 1).tolist() == [0xE220A8397B1DCDAF]


# It notices what is wrong


@pytest.mark.parametrize("mode", MODES)
def test_another_rounding_mode_is_noticed_everywhere(mode: str, kernel_cache: Path):
    probes.deviations(kernel_cache)
    with rounding(mode):
        found = probes.deviations(kernel_cache)
    assert {deviation.where for deviation in found} == {"compiled code", "NumPy", "Python"}
    assert found[0].probe.fault == probes.ROUNDING


@pytest.mark.parametrize(("flag", "fault"), [(FTZ, probes.RESULTS), (DAZ, probes.OPERANDS)], ids=["FTZ", "DAZ"])
def test_flushed_subnormal_numbers_are_noticed_everywhere(
    flag: int, fault: str, control: ctypes.CDLL, kernel_cache: Path
):
    probes.deviations(kernel_cache)
    with flags(control, flag):
        found = probes.deviations(kernel_cache)
    assert {deviation.where for deviation in found} == {"compiled code", "NumPy", "Python"}
    assert {deviation.probe.fault for deviation in found} >= {fault}


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (lambda x, y, _: np.float64(np.longdouble(x) + np.longdouble(y)), probes.EXCESS),
        (lambda x, y, z: x + (y + z), probes.REORDERED),
        (lambda x, y, z: np.float64(np.longdouble(x) * np.longdouble(y) + np.longdouble(z)), probes.FUSED),
        (lambda x, y, _: x * (1.0 / y), probes.APPROXIMATE),
    ],
    ids=["excess", "order", "fused", "approximate"],
)
def test_each_fault_of_a_compiler_has_a_probe_that_shows_it(broken: Callable[..., np.float64], fault: str):
    """What a compiler could do is done by hand, with the 64 bits of x87 where they are needed."""
    if fault not in {probes.REORDERED, probes.APPROXIMATE} and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("needs a long double of 64 bits")
    shown = []
    for probe in probes.PROBES:
        if probe.fault == fault:
            x, y, z = np.array([probe.x, probe.y, probe.z], np.int64).view(np.float64)
            with np.errstate(all="ignore"):
                shown.append(int(np.float64(broken(x, y, z)).view(np.int64)) != probe.result)
    assert any(shown)


def test_a_wrong_elementary_function_is_told_with_its_arguments(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    right = golden.vectors

    def other(name: str) -> Iterator[golden.Vectors]:
        return right("expm1" if name == "exp" else name)

    monkeypatch.setattr(golden, "vectors", other)
    failures = selftest.thorough(kernel_cache).failures
    assert len(failures) > 3
    assert all(failure.startswith("exp") for failure in failures)
    assert "which is not MPFR's" in failures[0]


def test_a_wrong_answer_with_the_right_last_byte_is_noticed(kernel_cache: Path):
    vectors = next(golden.vectors("exp"))
    out = np.exp2(np.zeros(len(vectors.low)))
    everywhere = golden.Vectors(columns=vectors.columns, low=bytes(len(vectors.low)), sha256=vectors.sha256)
    assert everywhere.wrong(out) == (-1,)


def test_wrong_sums_and_bins_are_told(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    counts, sumw, sumw2 = golden.sums()
    edges = golden.bins()
    monkeypatch.setattr(golden, "sums", lambda: (counts, sumw + 1, sumw2))
    monkeypatch.setattr(golden, "bins", lambda: [(edges[0][0], edges[1][1]), *edges[1:]])
    parts = {part.name: part.failures for part in selftest.thorough(kernel_cache).parts}
    assert parts["exact sums"][0].startswith("sum w of cell 0 is ")
    assert parts["bins"] == ("places on the axis of 70 bins from 0.1 to 0.8 are wrong",)


# Workers refuse


@pytest.mark.parametrize("task", [PassTask, MergeTask])
def test_a_worker_does_not_start(task: type, kernel_cache: Path):
    worker.refuse(kernel_cache)
    call = object.__new__(task)
    object.__setattr__(call, "cache", kernel_cache)
    with rounding("upward"), pytest.raises(TaskError, match="the rounding mode is not to nearest"):
        call()


def test_a_pass_that_changes_the_process_stores_nothing(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    work = SimpleNamespace(fills=[SimpleNamespace(node="mass")])
    call = PassTask(partition=None, work=work, keys={}, store=None, cache=kernel_cache)
    with rounding("upward"):  # so that leaving it puts the mode back
        ctypes.CDLL("libm.so.6").fesetround(0)

        def changing(*_: object) -> dict[str, object]:
            ctypes.CDLL("libm.so.6").fesetround(MODES["upward"])
            return {"mass": object()}

        monkeypatch.setattr(worker, "states", changing)
        failures = call().failures
    assert "rounding mode" in str(failures["mass"])


def test_wrong_code_is_refused(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    x, y, right = golden.handful()
    monkeypatch.setattr(golden, "handful", lambda: (x, y, right + 1))
    with pytest.raises(TaskError, match="gives another exp than MPFR"):
        selftest.refuse(kernel_cache)


def test_the_handful_of_vectors_is_certain_for_the_quick_phase():
    x, y, _ = golden.handful()
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        assert rounded.exp_quick(a)[1]
        assert rounded.hypot_quick(a, b)[1]
        assert rounded.atan2_quick(b, a)[1]


def test_a_run_is_refused_and_the_library_named(fresh: Command, example: Path, fast_library: Path):
    """A library built with -ffast-math is loaded into the command, as a package of a user would load it."""
    done = fresh("run", "workflow.yaml", "-o", "flushed", "-q", cwd=example, status=3, LD_PRELOAD=str(fast_library))
    assert "this process does not compute as IEEE 754 says: subnormal results become 0 (FTZ)" in done.stderr
    assert f"{fast_library} can have done it" in done.stderr
    assert not (example / "flushed").exists() or not any((example / "flushed").iterdir())


def test_no_library_is_suspected_without_reason():
    assert suspects.suspects() == ()


# The command


def test_command_tells_each_part(command: Command):
    lines = command("selftest").stdout.splitlines()
    assert lines[0].startswith("floating-point environment")
    assert len([line for line in lines if line.endswith("  ok")]) == len(rounded.NAMES) + 3
    assert lines[-2].startswith("passed: ")
    assert lines[-1] == f"digest {selftest.tested()}"


def test_command_fails_with_the_reason(command: Command, fast_library: Path):
    done = json.loads(command("selftest", "--json", status=1, LD_PRELOAD=str(fast_library)).stdout)
    assert not done["passed"]
    assert done["suspects"] == [str(fast_library)]
    assert any(probes.RESULTS in failure for failure in done["parts"][0]["failures"])


def test_record_has_the_digest(command: Command, example: Path, tmp_path: Path):
    command("run", "workflow.yaml", "-o", tmp_path / "out", "-q", cwd=example)
    described = json.loads((tmp_path / "out" / "record" / "run.json").read_bytes())
    assert described["selftest"] == selftest.tested()
    assert read_record(described, None).selftest == described.pop("selftest")
    assert read_record(described, None).selftest is None
