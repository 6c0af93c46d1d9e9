"""Programs on a device, with translated PTX in place of a GPU: the outputs of the kernels of the CPU, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import test_kernels_functions as every
import test_kernels_lists as rearranged
import test_kernels_reference as reference
from test_cuda_programs import dtypes, flat, lists, program_of, words
from translated_device import TranslatedDevice, device

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.cuda.device import ALIGNED, OutOfMemory, constant
from fasthep_archive.kernels.cuda.nvrtc import compiler
from fasthep_archive.kernels.cuda.run import DeviceKernel
from fasthep_archive.kernels.cuda.tools import Tools
from fasthep_archive.kernels.program import Program

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")


@pytest.fixture
def tools(kernel_cache: Path) -> Tools:
    return Tools(device(), kernel_cache)


class OnHost:
    """A kernel on a device whose outputs are copied back."""

    def __init__(self, program: Program, tools: Tools, cache: Path, types: dict[str, np.dtype] | None = None) -> None:
        promoted = {name: np.dtype(kind.dtype) for name, kind in zip(program.columns, program.types, strict=True)}
        self.kernel = DeviceKernel(program, types or promoted, tools, cache)
        self.tools = tools

    def __call__(self, columns, scalars, events, *, first_event=0) -> tuple[Column, ...]:
        outputs = self.kernel(columns, scalars, events, first_event=first_event)
        return tuple(self.tools.downloaded(output) for output in outputs)


def compare(program: Program, data: dict[str, Column], events: int, tools: Tools, cache: Path, scalars=None) -> None:
    found = OnHost(program, tools, cache, dtypes(data))(data, scalars or {}, events)
    expected = compile_program(program, cache=cache)(data, scalars or {}, events)
    assert [words(column) for column in found] == [words(column) for column in expected]


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 1023, 1024, 1025, 70_000])
def test_running_counts_are_the_sums_of_all_before(size: int, tools: Tools):
    values = np.random.default_rng(size).integers(-5, 2**40, size)
    span = constant(tools.device, values)
    tools.running(span, size)
    found = np.empty(size, np.int64)
    tools.device.download(span, found)
    assert (found == np.concatenate([[0], np.cumsum(values[:-1])])).all()


@pytest.mark.parametrize("seed", range(8))
def test_random_formulas_give_what_the_evaluator_gives(seed: int, tools: Tools, kernel_cache: Path):
    formulas = reference.formulas(90_000 + seed, 12)
    reference.check(formulas, lambda program: OnHost(program, tools, kernel_cache), seed, events=40)


def test_every_function_and_reducer_gives_what_numba_gives(tools: Tools, kernel_cache: Path):
    texts = [template.format(*letters) for template, (letters, *_) in every.CASES.items()]
    program = program_of([*texts, *every.REDUCED], every.TYPES)
    compare(program, every.DATA, every.EVENTS, tools, kernel_cache)


LISTS = ["pt[eta > met] * 2", "sum(pt[pt > 0])", "max(eta) + met", "pad_none(pt[pt > 0], 2)", "pad_none(pt, 1) * 2"]


def test_blocks_of_any_size_use_one_set_of_buffers(tools: Tools, kernel_cache: Path):
    random = np.random.default_rng(2)
    values = [list(random.normal(0, 1, count)) for count in random.poisson(1.5, 700)]
    data = {"pt": lists(*values), "eta": lists(*values), "met": flat(random.normal(0, 1, 700))}
    program = program_of(LISTS)
    kernel, expected = OnHost(program, tools, kernel_cache), compile_program(program, cache=kernel_cache)
    for start, stop in ((0, 700), (1, 1), (0, 1), (1, 129), (129, 700), (0, 700)):
        block = {name: column.events(start, stop) for name, column in data.items()}
        found = kernel(block, {}, stop - start)
        assert [words(c) for c in found] == [words(c) for c in expected(block, {}, stop - start)]


def test_columns_are_uploaded_as_they_are_in_the_file(tools: Tools, kernel_cache: Path):
    data = {"met": Column(np.arange(1000, dtype=np.float32) / 7), "run": Column(np.arange(1000, dtype=np.uint8))}
    compare(program_of(["met * run", "run > 100"]), data, 1000, tools, kernel_cache)


def test_scalars_are_given_at_run_time(tools: Tools, kernel_cache: Path):
    program = program_of(["met * scale", "run + shift"], scalars={"scale": "float64", "shift": "int64"})
    data = {"met": flat([2.0, 0.1]), "run": flat([3, -(2**63)], np.int64)}
    compare(program, data, 2, tools, kernel_cache, {"scale": 0.3, "shift": -1})


def message(kernel, data: dict[str, Column], events: int) -> str:
    with pytest.raises(DataError) as caught:
        kernel(data, {}, events, first_event=10)
    return str(caught.value)


@pytest.mark.parametrize("text", ["pt", "pt[pt > 1]", "met"])
def test_first_value_that_does_not_fit_is_named_as_on_the_cpu(text: str, tools: Tools, kernel_cache: Path):
    program = program_of(["any(pt > met)", text], casts={text: "int8"})
    data = {"pt": lists([1.0, 2.0], [], [-128.9, 127.9], [3.0, 128.0], [1e300]), "met": flat([0, 0, np.nan, 1e9, 2])}
    found = message(OnHost(program, tools, kernel_cache), data, 5)
    assert found == message(compile_program(program, cache=kernel_cache), data, 5)
    assert f"'cast of {text}': a value of event 1" in found


WRONG = {
    "another structure": {"va": lists([1.0], [2.0]), "vb": lists([1.0, 2.0], [])},
    "another number of events": {"va": lists([1.0]), "vb": lists([1.0], [2.0])},
    "missing": {"vb": lists([1.0], [2.0])},
    "flat": {"va": flat([1.0, 2.0]), "vb": lists([1.0], [2.0])},
}


@pytest.mark.parametrize("name", WRONG)
def test_columns_are_refused_as_on_the_cpu(name: str, tools: Tools, kernel_cache: Path):
    program = program_of(["va + vb"])
    found = message(OnHost(program, tools, kernel_cache), WRONG[name], 2)
    assert found == message(compile_program(program, cache=kernel_cache), WRONG[name], 2)


def test_what_does_not_fit_the_device_is_told(kernel_cache: Path):
    tools = Tools(TranslatedDevice(memory=100_000), kernel_cache)
    kernel = OnHost(program_of(["met * 2"]), tools, kernel_cache)
    data = {"met": flat(np.zeros(100_000))}
    with pytest.raises(OutOfMemory):
        kernel(data, {}, 100_000)
    assert kernel({"met": flat([1.0])}, {}, 1)[0].content.tolist() == [2.0]


def test_memory_is_given_back(kernel_cache: Path):
    device = TranslatedDevice()
    kernel = OnHost(program_of(LISTS), Tools(device, kernel_cache), kernel_cache)
    kernel({"pt": lists([1.0], [2.0]), "eta": lists([1.0], [2.0]), "met": flat([0.0, 1.0])}, {}, 2)
    assert device.used > 0
    del kernel
    assert device.used == 0


def test_columns_travel_in_one_copy(tools: Tools, kernel_cache: Path):
    kernel = OnHost(program_of(["met + run"]), tools, kernel_cache)
    kernel({"met": flat([1.0]), "run": flat([1], np.int64)}, {}, 1)
    assert kernel.kernel._lane._buffer._span.size == 2 * ALIGNED


@pytest.mark.parametrize("case", rearranged.CASES)
def test_lists_are_sorted_paired_and_strung_together(case: str, tools: Tools, kernel_cache: Path):
    rearranged.check(case, lambda program: OnHost(program, tools, kernel_cache), 8, events=150)
    rearranged.check(case, lambda program: OnHost(program, tools, kernel_cache), 9, events=1)
    rearranged.check(case, lambda program: OnHost(program, tools, kernel_cache), 9, events=0)
