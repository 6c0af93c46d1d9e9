"""Loops with elementary functions: strip by strip, in vector code, and the same bits as one value after the other."""

import ctypes
import platform
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import elementary
import numpy as np
import pytest
import test_kernels_reference as reference
from llvmlite import binding
from matrix import COMPILERS
from test_elementary import SPECIAL
from test_matrix import python as compiled_elsewhere

from fasthep_archive.formula.columns import Column, ColumnType, Structure
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels import compile as compile_module
from fasthep_archive.kernels import guards, linking, llvm_compiler, loop_lowering, scratch, strip_code, strips
from fasthep_archive.kernels.apart import with_calls_apart
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.elementary.lowering import LoweringError
from fasthep_archive.kernels.elementary.strip_lowering import strip_text
from fasthep_archive.kernels.elementary.strips import LENGTH, copy_out, python
from fasthep_archive.kernels.emit import emit
from fasthep_archive.kernels.linking import processor
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.kernels.schedule import schedule
from fasthep_archive.kernels.scratch import Scratch
from fasthep_archive.kernels.strips import emit_strips
from fasthep_archive.kernels.unit import Unit, unit_of

MUON = Structure("nMuon", counted=True)
TYPES = {
    **{name: ColumnType("float64") for name in "xyz"},
    "n": ColumnType("int64"),
    **{name: ColumnType("float64", MUON) for name in ("pt", "eta")},
}
EVENTS = 3 * LENGTH + 5


def program(*texts: str) -> Program:
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    return builder.program([builder.formula(parse(text), scope) for text in texts])


def sources(*texts: str) -> list[str]:
    plan = with_calls_apart(schedule(program(*texts)))
    return [emit_strips(plan, loop).text for loop in plan.loops]


def data(events: int = EVENTS) -> dict[str, Column]:
    random = np.random.default_rng(3)
    offsets = np.concatenate([[0], np.cumsum(random.poisson(1.5, events))]).astype(np.int64)
    columns = {name: Column(random.uniform(-3, 3, events)) for name in "xyz"}
    columns["n"] = Column(random.integers(0, 5, events))
    return columns | {
        name: Column(random.normal(0, 2, offsets[-1]).astype(np.float32), offsets) for name in ("pt", "eta")
    }


def one_by_one(program: Program, cache: Path) -> Kernel:
    """Return the kernel whose loops call functions for each value, compiled by numba."""
    plan = schedule(program)
    texts = [emit(plan, loop) for loop in plan.loops]
    libraries = [unit_of(f"fasthep_archive.kernels.{name}") for name in ("arithmetic", "elementary.rounded")]
    functions = []
    for source in texts:
        used = tuple(library for library in libraries if library.called(source.text))
        text = compile_module._HEADER + source.text
        functions.append(
            Function.of(Unit(name="kernel", text=text, functions=("loop",), libraries=used), "loop", cache)
        )
    return Kernel(program, plan, texts, functions)


def bits(columns: tuple[Column, ...]) -> list[list[int]]:
    """Return what is in columns; a number of the wrong sign or another NaN is something else."""
    return [np.ascontiguousarray(column.content).view(f"i{column.content.itemsize}").tolist() for column in columns]


# The functions


@pytest.mark.parametrize("name", rounded.NAMES)
def test_strips_give_the_same_bits_as_one_value_after_the_other(name: str, kernel_cache: Path):
    directory = kernel_cache / "kernels"
    table = np.array([row for row, _ in SPECIAL[name]]).T
    special = tuple(np.ascontiguousarray(column, np.float64) for column in np.atleast_2d(table))
    for columns in (*elementary.ranges(name, 2000), special):
        found = strip_code.computed(name, columns, directory)
        expected = elementary.computed(f"{name}_rounded", columns, kernel_cache)
        assert (elementary.bits(found) == elementary.bits(expected)).all()


@pytest.mark.parametrize("count", [0, 1, 7, 15, 16, 17, LENGTH - 1, LENGTH])
def test_strips_may_be_of_any_length(count: int, kernel_cache: Path):
    x = np.random.default_rng(count).uniform(-700, 700, count)
    x[: count // 3] = 2.0**-30  # seldom certain at once
    found = strip_code.computed("exp", (x,), kernel_cache / "kernels")
    assert found.tolist() == [rounded.exp_rounded(value) for value in x.tolist()]


OTHERS = """
import sys
from pathlib import Path
import numpy as np
from fasthep_archive import digest
from fasthep_archive.kernels import golden, strip_code

for name in ("exp", "cos", "atan2", "pow", "cbrt"):
    for vectors in golden.vectors(name):
        found = golden.bits(strip_code.computed(name, vectors.columns, Path(sys.argv[1])))
        print(name, digest.of_bytes(found.tobytes()))
"""


@pytest.mark.slow
def test_strips_give_the_same_bits_for_all_processors(tmp_path: Path):
    """Without vectors, without fused operations, and without optimisation."""
    ways = {variation.name: variation.variables for variation in COMPILERS}
    chosen = ("as it is", "generic, no FMA, no AVX", "haswell", "unoptimised, generic")
    assert len({compiled_elsewhere(OTHERS, tmp_path / "cache", **ways[name]) for name in chosen}) == 1
    objects = len(list((tmp_path / "cache").glob("*.object")))
    assert objects % len(chosen) == 0, "all are compiled anew for each"
    assert objects // len(chosen) > 5, "functions, and what they call of wide numbers"


def test_strips_are_loaded_where_llvm_has_only_its_older_engine(kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> int:
        raise linking.LinkError("not on this machine")

    monkeypatch.setattr(linking, "placed", refuse)
    monkeypatch.setattr(strip_code, "address", cache(strip_code.address.__wrapped__))
    place = strip_code.address(strip_code.symbol("exp"), kernel_cache / "kernels")
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(place)
    x, results = np.full(LENGTH, 1.0), np.zeros(LENGTH)
    call(x.ctypes.data, results.ctypes.data, 20)
    assert results[:20].tolist() == [np.e] * 20


def vectors(text: str, symbol: str) -> str:
    """Return how many doubles an operation in a function takes at a time."""
    body = re.search(rf"^define [^\n]*@{symbol}\(.*?^}}", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    return max(re.findall(r"= fmul <(\d+) x double>", body.group()), default="1")


def has_vectors() -> bool:
    return platform.machine() in ("x86_64", "AMD64") and "+avx2" in processor().features.split(",")


@pytest.mark.parametrize("name", rounded.NAMES)
def test_quick_phases_are_vector_code(name: str):
    if not has_vectors():
        pytest.skip("this processor is no x86-64 with AVX2, and LLVM may think that vectors do not pay")
    made = llvm_compiler.optimised(lambda triple, fused: strip_text(name, "strip", triple, fused=fused), "strip")
    assert int(vectors(made.text, "strip")) >= 4
    machine_code = llvm_compiler.machine(made).emit_assembly(binding.parse_assembly(made.text))
    assert re.search(r"\bv(mul|sub|add)pd\b.*%[yz]mm", machine_code)


def test_arithmetic_around_calls_is_vector_code():
    if not has_vectors():
        pytest.skip("this processor is no x86-64 with AVX2, and LLVM may think that vectors do not pay")
    (text,) = sources("exp(x * y) * sqrt(z * z + x)", "exp(x * y) - y * y")
    floats = ["const float64[]"] * text.partition("):")[0].count(", c")
    made = loop_lowering.lowered(text, "loop", ["int64", *floats, "float64[]", "float64[]"])
    assert re.search(r"@llvm\.sqrt\.v\d+f64", made.text)
    assert not re.search(r"vector\.memcheck", made.text)
    assert made.needs == ("fasthep_strip_exp",)


# The text


def test_a_loop_goes_through_strips_in_passes():
    (text,) = sources("exp(x * y) + x")
    assert text == (
        "def loop(n0, c0, c1, out_0):\n"
        "    t0 = np.empty(512, np.float64)\n"
        "    t1 = np.empty(512, np.float64)\n"
        "    for begin in range(0, n0, 512):\n"
        "        count = min(512, n0 - begin)\n"
        "        for q in range(count):\n"
        "            i = begin + q\n"
        "            v1 = float64(c0[uint64(i)])\n"
        "            v2 = float64(c1[uint64(i)])\n"
        "            v0 = (v1 * v2)\n"
        "            t0[uint64(q)] = v0\n"
        "        exp_strip(t0, t1, count)\n"
        "        for q in range(count):\n"
        "            i = begin + q\n"
        "            v4 = t1[uint64(q)]\n"
        "            v5 = float64(c0[uint64(i)])\n"
        "            v3 = (v4 + v5)\n"
        "            out_0[uint64(i)] = v3\n"
    )


def test_calls_under_a_condition_are_for_the_turns_that_fulfil_it():
    (text,) = sources("where(n > 1, exp(x + y), 0.0)")
    assert "found0 += int64(" in text
    assert re.search(r"exp_strip\(t\d+, t\d+, found0\)", text)


def test_loops_without_calls_are_as_they_were():
    plan = schedule(program("x * y", "sum(pt)"))
    assert with_calls_apart(plan) == plan
    assert [emit_strips(plan, loop) for loop in plan.loops] == [emit(plan, loop) for loop in plan.loops]


@pytest.mark.parametrize(
    "text", ["sum(exp(pt))", "sum(exp(pt - leading(eta)))", "max(hypot(pt, x))", "sum(exp(pt * sum(sin(eta))))"]
)
def test_no_call_is_left_in_a_loop_over_the_values_of_each_event(text: str):
    found = sources(text)
    assert any("_strip(" in source for source in found)
    assert not any("_rounded(" in source for source in found)


def test_memory_is_used_again_but_not_in_the_pass_that_needs_it():
    space = Scratch()
    first = space.new("float64")
    space.passed([first])
    second = space.new("float64")
    space.passed([f"{first} {second}"])
    third = space.new("float64")
    space.passed([third])
    other = space.new("int64")
    lines = space.placed([f"{first} {second} {third} {other}"])
    assert lines[-1] == "t0 t1 t0 t2"


def test_what_lasts_is_never_used_again():
    space = Scratch()
    lasting = space.lasting("float64")
    space.passed(["nothing"])
    assert space.placed([f"{lasting} {space.new('float64')}"])[-1] == "t0 t1"


# What it computes

TEXTS = (
    "exp(x * y) + x",
    "log(exp(x) + 1) ** y",
    "where(n > 1, exp(x + y), z)",
    "where(n > 1, where(x > 0, log(x), sin(x)), cos(y))",
    "where(n > 7, exp(x), 1.0)",
    "arctan2(x, y) * 2.5 ** x",
    "sqrt(2 * abs(x * y) * (cosh(y - z) - cos(x)))",
    "sum(exp(pt))",
    "sum(exp(pt - leading(eta)))",
    "max(hypot(pt, x))",
    "pt[cosh(eta) > 2]",
    "leading(log1p(abs(pt[exp(eta) > x])), -1.0)",
    "count_nonzero(tanh(pt) > 0.5 * x)",
)


@pytest.mark.parametrize("text", TEXTS)
def test_strips_of_programs_give_the_same_bits(text: str, kernel_cache: Path):
    for events in (0, 3, EVENTS):
        columns = data(events)
        found = compile_program(program(text), cache=kernel_cache)(columns, {}, events)
        assert bits(found) == bits(one_by_one(program(text), kernel_cache)(columns, {}, events))


def test_all_together_they_give_the_same_bits(kernel_cache: Path):
    found = compile_program(program(*TEXTS), cache=kernel_cache)(data(), {}, EVENTS)
    apart = [compile_program(program(text), cache=kernel_cache)(data(), {}, EVENTS)[0] for text in TEXTS]
    assert bits(found) == bits(tuple(apart))


FEIGNED: dict[str, Callable[..., object]] = {
    "multiply": np.multiply, "divide": np.divide, "sqrt": np.sqrt, "floor": np.floor, "maximum": reference.larger
}  # fmt: skip
"""What is called in strips in tests of random formulas, and what it does."""


def interpreted(program: Program) -> Kernel:
    """Return the kernel of ``program`` with strips run as plain Python."""
    plan = with_calls_apart(schedule(program))
    texts = [emit_strips(plan, loop) for loop in plan.loops]
    names = reference.names() | {"copy_out": copy_out}
    names |= {f"{name}_strip": in_strips(function) for name, function in FEIGNED.items()}
    return Kernel(program, plan, texts, [reference.executed(source.text, names)["loop"] for source in texts])


def in_strips(function: Callable[..., object]) -> Callable[..., None]:
    def strip(*arrays: np.ndarray) -> None:
        *arguments, results, count = arrays
        assert not any(results is argument for argument in arguments)
        results[:] = 7.75  # nobody may rely on what is behind the last value, or before the first
        for i in range(count):
            results[i] = function(*(argument[i] for argument in arguments))

    return strip


@pytest.mark.parametrize("length", [2, 3, 512])
def test_strips_of_random_formulas_give_what_the_evaluator_gives(length: int, monkeypatch: pytest.MonkeyPatch):
    calls = {(name, "float64"): f"{name}_strip" for name in FEIGNED}
    monkeypatch.setattr(strips, "STRIPS", calls)
    monkeypatch.setattr(guards, "CALLS", frozenset(calls))
    monkeypatch.setattr(strips, "LENGTH", length)
    monkeypatch.setattr(scratch, "LENGTH", length)
    for seed in range(120):
        reference.check(reference.formulas(9000 + seed, 5), interpreted, seed)


def test_python_knows_the_functions_too():
    results = np.empty(3)
    python("hypot")(np.array([3.0, 1.0, 5.0]), np.array([4.0, 0.0, 12.0]), results, 3)
    assert results.tolist() == [5.0, 1.0, 13.0]


# Variations


def test_what_variations_have_in_common_is_computed_once():
    """A nominal mass, and masses with muons scaled: the angles between them are the same for all."""
    angles = "cosh(leading(eta) - nth(eta, 1, 0.0)) - cos(x - y)"
    scaled = [f"sqrt(2 * ({scale} * leading(pt, 0.0)) * nth(pt, 1, 0.0) * ({angles}))" for scale in (1.0, 1.01, 0.99)]
    nominal, together = program(scaled[0]), program(*scaled)
    assert len(together.instructions) == len(nominal.instructions) + 2 * (2 + 4)  # scale, and what it changes
    text = "".join(sources(*scaled))
    assert (text.count("cosh_strip("), text.count("cos_strip(")) == (1, 1)
    assert text.count("math.sqrt(") == 3


# The compiler of loops


@pytest.mark.parametrize("seed", range(2))
def test_numba_and_llvm_alone_give_the_same_bits(seed: int, kernel_cache: Path):
    texts = reference.formulas(400 + seed, 6)

    def by_numba(program: Program) -> Kernel:
        return one_by_one(program, kernel_cache)

    for way in (by_numba, lambda program: compile_program(program, cache=kernel_cache)):
        reference.check(texts, way, seed, events=40)


@pytest.mark.parametrize(
    "line", ["out_0[0] = sorted(c0)", "out_0[0] = c0.size", "out_0[0] = 1", "c0 = out_0", "x = 1\n    x = 1.0", "del x"]
)
def test_what_is_not_in_the_language_is_refused(line: str):
    with pytest.raises(LoweringError):
        loop_lowering.lowered(f"def loop(c0, out_0):\n    {line}\n", "loop", ["const float64[]", "float64[]"])


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_narrow_numbers_are_promoted_exactly(name: str, kernel_cache: Path):
    values = np.array([0.1, -2.5, 6e-8, 65504.0]).astype(name)
    (found,) = compile_program(program("x + 0.5"), cache=kernel_cache)({"x": Column(values)}, {}, 4)
    assert found.content.tolist() == [float(value) + 0.5 for value in values]
