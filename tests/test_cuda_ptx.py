"""The gate between NVRTC and a device: what could give other bits is refused; and PTX runs here as its manual says."""

import cuda_target
import numpy as np
import pytest
from ptx import Translated

from fasthep_archive.errors import DataError
from fasthep_archive.kernels.cuda import fills_source, nvrtc
from fasthep_archive.kernels.cuda.ptx import checked, parsed
from fasthep_archive.kernels.cuda.source import functions_source
from fasthep_archive.kernels.elementary import rounded

HEAD = 'extern "C" __global__ void k(double *o, const double *x, const float *f, const long long *n) {{ {} }}'
STRICT = nvrtc.OPTIONS


def ptx_of(statements: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...] = STRICT) -> str:
    compiler = cuda_target.nvrtc()
    monkeypatch.setattr(nvrtc, "OPTIONS", options)
    return compiler.ptx(HEAD.format(statements))


@pytest.mark.parametrize(
    "statements",
    [
        "o[0] = exp(x[0]);",
        "o[0] = sin(x[0]);",
        "o[0] = fma(x[0], x[1], x[2]);",
        "o[0] = __dadd_ru(x[0], x[1]);",
        "o[0] = __fma_rn(x[0], x[1], -__dmul_rn(x[0], x[2]));",
        "o[0] = f[0] + f[1];",
        "o[0] = __fdividef(f[0], f[1]);",
        "o[0] = fmin(x[0], x[1]);",
        "atomicAdd(o, x[0]);",
    ],
)
def test_what_could_give_other_bits_is_refused(statements: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="instructions that could give other bits"):
        checked(ptx_of(statements, monkeypatch))


@pytest.mark.parametrize("option", ["--fmad=true", "--use_fast_math"])
def test_contraction_is_refused(option: str, monkeypatch: pytest.MonkeyPatch):
    text = ptx_of("o[0] = x[0] * x[1] + x[2];", monkeypatch, ("--std=c++17", option))
    with pytest.raises(DataError, match=r"fma\.rn\.f64"):
        checked(text)


def test_flushing_subnormals_is_refused(monkeypatch: pytest.MonkeyPatch):
    text = ptx_of("o[0] = (double)(float)x[0];", monkeypatch, ("--std=c++17", "-ftz=true"))
    with pytest.raises(DataError, match=r"\.ftz"):
        checked(text)


@pytest.mark.parametrize(
    "statements",
    [
        "o[0] = x[0] * x[1] + x[2] / x[3] - sqrt(x[4]);",
        "o[0] = __fma_rn(x[0], x[1], -__dmul_rn(x[0], x[1]));",
        "o[0] = __fma_rn(x[0], 3.0, -__dmul_rn(3.0, x[0]));",
        "o[0] = floor(x[0]) + rint(x[1]) + trunc(x[2]) + ceil(x[3]) + fabs(x[4]) - (double)f[0];",
        "o[0] = (double)n[0] + (double)__double2ll_rz(x[0]) + (double)(float)x[1];",
    ],
)
def test_what_is_rounded_by_itself_is_allowed(statements: str, monkeypatch: pytest.MonkeyPatch):
    checked(ptx_of(statements, monkeypatch))


def test_an_unrounded_sum_is_refused():
    body = ".visible .entry k()\n{\n.reg .f64 %fd<4>;\nadd.f64 %fd3, %fd1, %fd2;\nret;\n}\n"
    with pytest.raises(DataError, match=r"add\.f64"):
        checked(body)


@pytest.mark.parametrize("text", [".extern .func f;", ".visible .entry k(.reg .b64 x)\n{\nret;\n}", "@@@"])
def test_what_is_not_understood_is_refused(text: str):
    with pytest.raises(DataError, match="not understood"):
        parsed(text)


@pytest.mark.parametrize("architecture", ["compute_75", "compute_80", "compute_90", "compute_100", "compute_120"])
def test_the_whole_library_passes_for_every_kind_of_device(architecture: str):
    text = functions_source(rounded, [f"{name}_rounded" for name in rounded.NAMES])
    module = checked(cuda_target.nvrtc().ptx(text, architecture=architecture))
    assert {f"{name}_rounded" for name in rounded.NAMES} <= {function.name for function in module.functions}


def test_tables_have_the_bits_of_the_library():
    module = parsed(cuda_target.nvrtc().ptx(functions_source(rounded, ["exp_rounded"])))
    from fasthep_archive.kernels.elementary import tables

    assert module.tables["table_EXP_HIGH"] == tables.EXP_HIGH.tobytes()


def test_machine_code_is_made_without_a_device():
    text = functions_source(fills_source, fills_source.NAMES)
    assert cuda_target.nvrtc().cubin(text, architecture="sm_90").startswith(b"\x7fELF")


def test_errors_of_the_compiler_are_shown():
    with pytest.raises(DataError, match='identifier "nothing" is undefined'):
        cuda_target.nvrtc().ptx("__global__ void k(int *o) { *o = nothing; }")


# The translation to the CPU, instruction by instruction (PTX ISA, chapter 9.7)


def run(lines: str, *values: int) -> list[int]:
    """Return what the registers %rd1 and %rd2 have at the end, which begin as two of ``values``."""
    text = (
        ".visible .entry k(.param .u64 k_param_0)\n{\n.reg .pred %p<9>;\n.reg .b16 %rs<9>;\n.reg .b32 %r<9>;\n"
        ".reg .f32 %f<9>;\n.reg .f64 %fd<9>;\n.reg .b64 %rd<9>;\nld.param.u64 %rd8, [k_param_0];\n"
        f"ld.global.u64 %rd1, [%rd8];\nld.global.u64 %rd2, [%rd8+8];\n{lines}\n"
        "st.global.v2.u64 [%rd8], {%rd1, %rd2};\nret;\n}\n"
    )
    memory = np.array([value % 2**64 for value in values], np.uint64)
    one = text.replace(
        "ld.param.u64 %rd8, [k_param_0];",
        "ld.param.u64 %rd8, [k_param_0];\nmov.u32 %r8, %tid.x;\nsetp.ne.s32 %p8, %r8, 0;\n@%p8 ret;",
    )
    Translated(parsed(one)).run("k", 1, [memory])
    return memory.tolist()


MINUS = 2**64 - 1


@pytest.mark.parametrize(
    ("lines", "values", "expected"),
    [
        ("shl.b64 %rd1, %rd1, 64;", (1, 0), 0),
        ("shr.s64 %rd1, %rd1, 99;", (-5, 0), MINUS),
        ("shr.u64 %rd1, %rd1, 63;", (-5, 0), 1),
        ("mul.hi.s64 %rd1, %rd1, %rd2;", (-(2**62), 8), 2**64 - 2),
        ("mul.hi.u64 %rd1, %rd1, %rd2;", (2**63, 8), 4),
        ("cvt.u32.u64 %r1, %rd1; mul.wide.s32 %rd1, %r1, 8;", (2**32 - 1, 0), 2**64 - 8),
        ("cvt.u32.u64 %r1, %rd1; mul.wide.u32 %rd1, %r1, 8;", (2**32 - 1, 0), (2**32 - 1) * 8),
        ("div.s64 %rd1, %rd1, %rd2;", (-7, 2), 2**64 - 3),
        ("rem.s64 %rd1, %rd1, %rd2;", (-7, 2), MINUS),
        ("max.s64 %rd1, %rd1, %rd2;", (-7, 2), 2),
        ("min.u64 %rd1, %rd1, %rd2;", (-7, 2), 2),
        ("bfi.b64 %rd1, %rd2, %rd1, 4, 8;", (-1, 0), 2**64 - 1 - 0xFF0),
        ("setp.lt.s64 %p1, %rd1, %rd2; selp.b64 %rd1, 1, 0, %p1;", (-7, 2), 1),
        ("setp.lt.u64 %p1, %rd1, %rd2; @!%p1 mov.u64 %rd1, 5;", (-7, 2), 5),
        ("cvt.s32.s64 %r1, %rd1; cvt.s64.s32 %rd1, %r1;", (2**31, 0), 2**64 - 2**31),
        ("mov.b64 %fd1, %rd1; cvt.rzi.s64.f64 %rd1, %fd1;", (0x7FF8 << 48, 0), 0),
        ("mov.b64 %fd1, %rd1; neg.f64 %fd1, %fd1; mov.b64 %rd1, %fd1;", (0, 0), 2**63),
        ("mov.b64 %fd1, %rd1; setp.neu.f64 %p1, %fd1, %fd1; selp.u64 %rd1, 1, 0, %p1;", (0x7FF8 << 48, 0), 1),
        ("mov.b64 %fd1, %rd1; setp.ne.f64 %p1, %fd1, %fd1; selp.u64 %rd1, 1, 0, %p1;", (0x7FF8 << 48, 0), 0),
        ("atom.global.min.u64 %rd1, [%rd8+8], %rd1; ld.global.u64 %rd2, [%rd8+8];", (3, -1), MINUS),
    ],
)
def test_instructions_mean_what_the_manual_says(lines: str, values: tuple[int, int], expected: int):
    assert run(lines, *values)[0] == expected


@pytest.mark.parametrize("lines", ["lop3.b32 %r1, %r1, %r2, %r3, 1;", "add.ftz.f32 %f1, %f1, %f2;"])
def test_instructions_that_are_not_known_are_errors(lines: str):
    with pytest.raises((AttributeError, AssertionError)):
        run(lines, 1, 2)


def test_fused_product_and_sum_is_exact():
    x = np.float64(1 + 2**-30)
    bits = int(x.view(np.int64))
    lines = (
        "mov.b64 %fd1, %rd1; mul.rn.f64 %fd2, %fd1, %fd1; neg.f64 %fd3, %fd2;"
        "fma.rn.f64 %fd4, %fd1, %fd1, %fd3; mov.b64 %rd1, %fd4;"
    )
    found = np.array(run(lines, bits, 0)[0], np.uint64).view(np.float64)
    assert float(found) == 2.0**-60


def test_an_address_that_a_device_refuses_is_noticed():
    module = Translated(parsed(cuda_target.nvrtc().ptx(HEAD.format("o[0] = x[0];"))))
    numbers = np.zeros(4)
    place = numbers.ctypes.data
    module.run("k", 1, [place, place + 8, place, place])
    with pytest.raises(AssertionError, match="k: an address is not a multiple of the size"):
        module.run("k", 1, [place, place + 4, place, place])
