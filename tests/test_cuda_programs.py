"""Programs as PTX, run on the CPU: random formulas, every function, casts, structures, against the other targets."""

import ast
import struct
from pathlib import Path

import cuda_target
import numpy as np
import pytest
import test_kernels_functions as every
import test_kernels_reference as reference
from test_kernels_compile import TYPES, flat, lists
from test_kernels_compile import listed as values_of

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.cuda import loops
from fasthep_archive.kernels.cuda.language import BOOL, DOUBLE, INT
from fasthep_archive.kernels.cuda.printer import Body, Library
from fasthep_archive.kernels.cuda.source import cuda_source
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.kernels.spelling import NUMBA, REDUCERS


def program_of(
    texts: list[str],
    types: dict[str, ColumnType] = TYPES,
    casts: dict[str, str] | None = None,
    scalars: dict[str, str] | None = None,
) -> Program:
    builder = Builder(types)
    scope = {name: builder.column(name) for name in types}
    scope |= {name: builder.scalar(name, dtype) for name, dtype in (scalars or {}).items()}
    values = [(text, builder.formula(parse(text), scope)) for text in texts]
    return builder.program(
        [builder.cast(v, casts[t], label=f"cast of {t}") if casts and t in casts else v for t, v in values]
    )


def dtypes(data: dict[str, Column]) -> dict[str, np.dtype]:
    return {name: column.content.dtype for name, column in data.items()}


def words(column: Column) -> list[object]:
    """Return what two columns must have in common to be the same: the bits of their values, all NaNs being one."""
    content = column.content
    if content.dtype == np.float64:
        content = np.where(np.isnan(content), 0x7FF8 << 48, content.view(np.int64))
    valid = None if column.valid is None else column.valid.tolist()
    offsets = None if column.offsets is None else column.offsets.tolist()
    return [str(column.content.dtype), content.tolist(), offsets, valid]


def compare(
    program: Program, data: dict[str, Column], events: int, cache: Path, scalars: dict[str, float] | None = None
) -> None:
    """Check that PTX gives the bits that numba gives."""
    found = cuda_target.kernel_on_ptx(program, dtypes(data))(data, scalars or {}, events)
    expected = compile_program(program, cache=cache)(data, scalars or {}, events)
    assert [words(column) for column in found] == [words(column) for column in expected]


# Formulas


@pytest.mark.parametrize("seed", range(12))
def test_random_formulas_give_what_the_evaluator_gives(seed: int):
    reference.check(reference.formulas(70_000 + seed, 12), cuda_target.kernel_on_ptx, seed, events=40)


@pytest.mark.slow
def test_every_function_gives_what_numba_gives(kernel_cache: Path):
    """Per event, on lists, and with both mixed: the very program that is compared with NumPy elsewhere."""
    texts = []
    for template, (letters, *_) in every.CASES.items():
        mixed = [letters[0], *every.per_event(letters[1:])]
        texts += [template.format(*columns) for columns in (every.per_event(letters), list(letters), mixed)]
    compare(program_of(texts, every.TYPES), every.DATA, every.EVENTS, kernel_cache)


def test_every_reducer_gives_what_numba_gives(kernel_cache: Path):
    compare(program_of([*every.REDUCED], every.TYPES), every.DATA, every.EVENTS, kernel_cache)


@pytest.mark.parametrize("architecture", ["compute_75", "compute_90", "compute_120"])
def test_devices_of_other_kinds_give_the_same(architecture: str):
    def kernel_of(program: Program):
        return cuda_target.kernel_on_ptx(program, architecture=architecture)

    reference.check(reference.formulas(80_000, 12), kernel_of, 3, events=40)


# What there is no CUDA for is refused

SPELLED = [(name, dtype) for table in (NUMBA, REDUCERS) for name, kinds in table.items() for dtype in kinds]


@pytest.mark.parametrize(("name", "dtype"), [key for key in SPELLED if key[0] not in REDUCERS])
def test_every_spelling_has_a_meaning(name: str, dtype: str):
    kind = {"float64": DOUBLE, "int64": INT, "bool": BOOL}[dtype]
    kinds = {"x": BOOL if name == "where" else kind, "y": kind, "z": kind}
    expression = ast.parse(NUMBA[name][dtype].format("x", "y", "z"), mode="eval").body
    found = Body(Library(), loops._names(), kinds, where=name, result=kind).value(expression)
    assert found.kind in {DOUBLE, INT, BOOL}


def test_reducers_that_are_compared_are_all_that_are_spelled():
    assert {name for name, _ in SPELLED} >= set(REDUCERS)
    assert {text.split("(")[0] for text in every.REDUCED} >= set(REDUCERS)


@pytest.mark.parametrize("expression", ["x ** y", "x + 1", "np.sin(x)", "[x]", "x @ y", "x if x else y", "x & y"])
def test_what_has_no_meaning_is_named(expression: str):
    tree = ast.parse(expression, mode="eval").body
    body = Body(Library(), loops._names(), {"x": DOUBLE, "y": DOUBLE}, where="loop0", result=DOUBLE)
    with pytest.raises(DataError, match="loop0: CUDA has no "):
        body.value(tree)


# Columns


def test_columns_of_any_type_are_promoted_where_they_are_read(kernel_cache: Path):
    random = np.random.default_rng(8)
    for dtype in ("float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        content = random.integers(0, 120, 60).astype(dtype)
        name = "met" if dtype == "float32" else "run"
        data = {name: Column(content / np.float32(7) if dtype == "float32" else content)}
        compare(program_of([f"{name} - 60", f"{name} / 3", f"{name} > 50"]), data, 60, kernel_cache)


def test_scalars_are_given_at_run_time(kernel_cache: Path):
    program = program_of(
        ["met * scale", "run + shift", "flag and hlt"], scalars={"scale": "float64", "shift": "int64", "flag": "bool"}
    )
    data = {
        "met": flat([2.0, 0.1]),
        "run": flat([3, -(2**63)], np.int64),
        "hlt": flat([True, False], np.bool_),
    }
    compare(program, data, 2, kernel_cache, {"scale": 0.3, "shift": -1, "flag": True})


def test_blocks_of_any_size_give_the_same_as_one(kernel_cache: Path):
    random = np.random.default_rng(2)
    values = [list(random.normal(0, 1, count)) for count in random.poisson(1.5, 700)]
    data = {"pt": lists(*values), "eta": lists(*values), "met": flat(random.normal(0, 1, 700))}
    texts = ["pt[eta > met] * 2", "sum(pt[pt > 0])", "max(eta) + met", "pad_none(pt[pt > 0], 2)", "pad_none(pt, 1) * 2"]
    program = program_of(texts)
    compare(program, data, 700, kernel_cache)
    kernel = cuda_target.kernel_on_ptx(program, dtypes(data))
    whole = [values_of(column) for column in kernel(data, {}, 700)]
    parts: list[list[object]] = [[] for _ in whole]
    for start, stop in ((0, 1), (1, 1), (1, 129), (129, 700)):
        results = kernel({name: column.events(start, stop) for name, column in data.items()}, {}, stop - start)
        for part, result in zip(parts, results, strict=True):
            part.extend(values_of(result))
    assert parts == whole


def test_block_without_events_gives_empty_columns():
    texts = ["met + 1", "pt[pt > met]", "sum(pt)", "pad_none(pt, 2)", "max(jet)"]
    kernel = cuda_target.kernel_on_ptx(program_of(texts))
    results = kernel({"met": flat([]), "pt": lists(), "jet": lists()}, {}, 0)
    assert [None if r.offsets is None else r.offsets.tolist() for r in results] == [None, [0], None, [0], None]


# Casts


def test_first_value_that_does_not_fit_is_named():
    program = program_of(["pt"], casts={"pt": "int8"})
    data = {"pt": lists([1.0, 2.0], [], [-128.9, 127.9], [3.0, 128.0], [1e300])}
    with pytest.raises(DataError, match="'cast of pt': a value of event 13 does not fit int8"):
        cuda_target.kernel_on_ptx(program)(data, {}, 5, first_event=10)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64", "float32", "bool"])
def test_casts_give_what_numba_gives(dtype: str, kernel_cache: Path):
    values = [0.0, -0.0, 0.99, 1.5, 2.5, 126.9, 3.4028235677973366e38 if dtype == "float32" else 7.0, 1e-46]
    compare(program_of(["met"], casts={"met": dtype}), {"met": flat(values)}, len(values), kernel_cache)


def test_missing_values_are_not_checked(kernel_cache: Path):
    data = {"maybe": flat([1.0, np.nan, 3.0], valid=[True, False, True])}
    compare(program_of(["maybe"], casts={"maybe": "int16"}), data, 3, kernel_cache)


# The text


def test_equal_programs_have_equal_text():
    first = program_of(["(met + 1) * 2", "sum(pt)"])
    again = program_of(["(met + 1) * 2", "sum(pt)"])
    columns = {"met": np.dtype("float32"), "pt": np.dtype("float64")}
    assert cuda_source(first, columns).text == cuda_source(again, columns).text


def test_no_name_of_a_column_is_in_the_text():
    program = program_of(["met + 1", "sum(pt)"])
    text = cuda_source(program, {"met": np.dtype("float32"), "pt": np.dtype("float64")}).text
    assert "met" not in text


def test_constants_have_their_bits():
    values = [0.1, -5e-324, 1.7976931348623157e308, -0.0]
    texts = [f"met * 0 + {value!r}" for value in values[:3]]
    results = cuda_target.kernel_on_ptx(program_of(texts))({"met": flat([0.0])}, {}, 1)
    assert [struct.pack("<d", column.content[0]) for column in results] == [struct.pack("<d", v) for v in values[:3]]
