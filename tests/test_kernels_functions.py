"""Every function and operator against NumPy and awkward in float64 and int64, per event and on lists.

All formulas of a module-wide program are compiled together, once.
"""

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from fasthep_archive.formula.columns import Column, ColumnType, Structure
from fasthep_archive.formula.functions import FUNCTIONS
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels import rules
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.program import Builder
from fasthep_archive.kernels.spelling import CALLS, NUMBA, REDUCERS

EVENTS = 400
RANDOM = np.random.default_rng(3)
COUNTS = RANDOM.integers(0, 5, EVENTS)
OFFSETS = np.concatenate([[0], np.cumsum(COUNTS)]).astype(np.int64)
LIST = Structure("nx", counted=True)


def floats(size: int, *, special: bool = True) -> np.ndarray:
    values = np.concatenate([RANDOM.normal(0, 3, size - size // 3), RANDOM.uniform(-1, 1, size // 3)])
    RANDOM.shuffle(values)
    if special:
        picked = RANDOM.choice(size, size // 10, replace=False)
        values[picked] = RANDOM.choice(
            [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e300], len(picked)
        )
    return values


def integers(size: int) -> np.ndarray:
    values = RANDOM.integers(-8, 9, size)
    values[RANDOM.choice(size, 6)] = [2**63 - 1, -(2**63), 2**62, -(2**62) - 1, 64, -64]
    return values


def jagged(content: np.ndarray) -> Column:
    return Column(content, OFFSETS)


SIZE = int(OFFSETS[-1])
DATA = {
    "x": Column(floats(EVENTS)),
    "y": Column(floats(EVENTS)),
    "f": Column(floats(EVENTS, special=False).astype(np.float32)),
    "i": Column(integers(EVENTS)),
    "k": Column(integers(EVENTS)),
    "s": Column(RANDOM.integers(-3, 70, EVENTS).astype(np.int16)),
    "u": Column(RANDOM.integers(0, 255, EVENTS).astype(np.uint8)),
    "p": Column(RANDOM.random(EVENTS) < 0.5),
    "q": Column(RANDOM.random(EVENTS) < 0.5),
    "X": jagged(floats(SIZE)),
    "Y": jagged(floats(SIZE)),
    "F": jagged(floats(SIZE, special=False).astype(np.float32)),
    "I": jagged(integers(SIZE)),
    "K": jagged(integers(SIZE)),
    "S": jagged(RANDOM.integers(-3, 70, SIZE).astype(np.int16)),
    "P": jagged(RANDOM.random(SIZE) < 0.6),
    "Q": jagged(RANDOM.random(SIZE) < 0.5),
}
LETTER = {"f": "float64", "i": "int64", "u": "int64", "b": "bool"}
TYPES = {n: ColumnType(LETTER[c.content.dtype.kind], None if c.offsets is None else LIST) for n, c in DATA.items()}
VALUES = {name: column.content.astype(TYPES[name].dtype) for name, column in DATA.items()}
"""What NumPy computes with: the content, promoted."""


def nested(content: np.ndarray) -> ak.Array:
    return ak.unflatten(content, COUNTS)


def ulps(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the distance in units in the last place; 0 for two NaNs, and for equal values."""
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(all="ignore"):
        distance = np.abs(found - expected) / np.spacing(np.abs(expected))
    return np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))


# Formula with {0}, {1} ..., the columns for them, NumPy's function, and how many ulps libm and NumPy may differ by
CASES: dict[str, tuple[str, Callable[..., np.ndarray], float]] = {
    "{0} + {1}": ("XY", np.add, 0),
    "{0} - {1}": ("XY", np.subtract, 0),
    "{0} * {1}": ("XY", np.multiply, 0),
    "{0} / {1}": ("XY", np.divide, 0),
    "{0} // {1}": ("XY", np.floor_divide, 0),
    "{0} % {1}": ("XY", np.remainder, 0),
    "{0} ** {1}": ("XY", np.power, 2),
    "{0} ** 2": ("X", lambda x: x * x, 0),
    "{0} ** 3": ("X", lambda x: np.power(x, 3.0), 2),
    "{0} ** 0.5": ("X", lambda x: np.power(x, np.full_like(x, 0.5)), 2),
    "power({0}, -1)": ("X", lambda x: np.power(x, -1.0), 2),
    "-{0}": ("X", np.negative, 0),
    "+{0}": ("X", np.positive, 0),
    "{0} + {1} ": ("IK", np.add, 0),
    "{0} - {1} ": ("IK", np.subtract, 0),
    "{0} * {1} ": ("IK", np.multiply, 0),
    "{0} / {1} ": ("IK", lambda i, k: i.astype(float) / k.astype(float), 0),
    "{0} // {1} ": ("IK", np.floor_divide, 0),
    "{0} % {1} ": ("IK", np.remainder, 0),
    "{0} ** 2 ": ("I", lambda i: i * i, 0),
    "{0} ** 5": ("I", lambda i: i * i * i * i * i, 0),
    "{0} ** 0": ("I", np.ones_like, 0),
    "{0} ** -1": ("I", lambda i: np.power(i.astype(float), -1.0), 2),
    "{0} ** {1} ": ("IK", lambda i, k: np.power(i.astype(float), k.astype(float)), 2),
    "-{0} ": ("I", np.negative, 0),
    "~{0}": ("I", np.invert, 0),
    "{0} & {1}": ("IK", np.bitwise_and, 0),
    "{0} | {1}": ("IK", np.bitwise_or, 0),
    "{0} ^ {1}": ("IK", np.bitwise_xor, 0),
    "{0} << {1}": ("IS", np.left_shift, 0),
    "{0} >> {1}": ("IS", np.right_shift, 0),
    "{0} + {1}  ": ("IX", lambda i, x: i.astype(float) + x, 0),
    "{0} + {1}   ": ("PQ", lambda p, q: p.astype(int) + q.astype(int), 0),
    "{0} * {1}  ": ("PX", lambda p, x: p.astype(float) * x, 0),
    "{0} + 1": ("F", lambda f: f + 1.0, 0),
    "~{0} ": ("P", np.invert, 0),
    "{0} & {1} ": ("PQ", np.logical_and, 0),
    "{0} | {1} ": ("PQ", np.logical_or, 0),
    "{0} ^ {1} ": ("PQ", np.logical_xor, 0),
    "{0} & {1}  ": ("PI", lambda p, i: p.astype(int) & i, 0),
    "{0} and {1}": ("PQ", np.logical_and, 0),
    "{0} or {1}": ("PQ", np.logical_or, 0),
    "not {0}": ("P", np.logical_not, 0),
    "{0} && {1}": ("XI", lambda x, i: (x != 0) & (i != 0), 0),
    "{0} || {1}": ("XI", lambda x, i: (x != 0) | (i != 0), 0),
    "!{0}": ("X", lambda x: x == 0, 0),
    "{0} == {1}": ("XY", np.equal, 0),
    "{0} != {1}": ("XY", np.not_equal, 0),
    "{0} < {1}": ("XY", np.less, 0),
    "{0} <= {1}": ("XI", lambda x, i: x <= i.astype(float), 0),
    "{0} > {1}": ("IK", np.greater, 0),
    "{0} >= {1}": ("PQ", np.greater_equal, 0),
    "-1 < {0} <= 2": ("X", lambda x: (x > -1) & (x <= 2), 0),
    "{0} in (1, 2.5, -8)": ("X", lambda x: np.isin(x, [1, 2.5, -8]), 0),
    "{0} not in (1, 2, 3)": ("I", lambda i: ~np.isin(i, [1, 2, 3]), 0),
    "where({0}, {1}, {2})": ("PXI", lambda p, x, i: np.where(p, x, i.astype(float)), 0),
    "{1} if {0} else {2}": ("PQP", np.where, 0),
    "where({0}, {1}, 7)": ("XI", lambda x, i: np.where(x != 0, i, 7), 0),
    "clip({0}, -1, {1})": ("XY", lambda x, y: np.minimum(np.maximum(x, -1.0), y), 0),
    "minimum({0}, {1})": ("XY", np.minimum, 0),
    "maximum({0}, {1})": ("XY", np.maximum, 0),
    "minimum({0}, {1}) ": ("IK", np.minimum, 0),
    "maximum({0}, {1}) ": ("IK", np.maximum, 0),
    "abs({0})": ("X", np.abs, 0),
    "abs({0}) ": ("I", np.abs, 0),
    "sign({0})": ("X", np.sign, 0),
    "sign({0}) ": ("I", np.sign, 0),
    "floor({0})": ("X", np.floor, 0),
    "floor({0}) ": ("I", lambda i: i, 0),
    "ceil({0})": ("X", np.ceil, 0),
    "ceil({0}) ": ("I", lambda i: i, 0),
    "trunc({0})": ("X", np.trunc, 0),
    "trunc({0}) ": ("I", lambda i: i, 0),
    "round({0})": ("X", np.round, 0),
    "round({0}) ": ("I", lambda i: i, 0),
    "isnan({0})": ("X", np.isnan, 0),
    "isinf({0})": ("X", np.isinf, 0),
    "isfinite({0})": ("X", np.isfinite, 0),
    "isfinite({0}) ": ("I", lambda i: np.ones(i.shape, bool), 0),
    "sqrt({0})": ("X", np.sqrt, 0),
    "cbrt({0})": ("X", np.cbrt, 2),
    "hypot({0}, {1})": ("XY", np.hypot, 2),
    **{
        f"{name}({{0}})": ("X", getattr(np, name), 4)
        for name in ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"]
    },
    "log(abs({0}))": ("I", lambda i: np.log(np.abs(i).astype(float)), 4),
    "arctan2({0}, {1})": ("XY", np.arctan2, 4),
    "{0} * pi + e - inf + nan": ("X", lambda x: x * np.pi + np.e - np.inf + np.nan, 0),
}  # fmt: skip


def per_event(letters: str) -> list[str]:
    """Return the columns per event with the same letters."""
    return [letter.lower() for letter in letters]


@pytest.fixture(scope="module")
def results(kernel_cache: Path) -> dict[tuple[str, str], Column]:
    """Return what the kernel gives for each case, per event, on lists, and with both mixed."""
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    keys, outputs = [], []
    for template, (letters, *_) in CASES.items():
        mixed = [letters[0], *per_event(letters[1:])]
        for way, columns in {"event": per_event(letters), "list": list(letters), "mixed": mixed}.items():
            keys.append((template, way))
            outputs.append(builder.formula(parse(template.format(*columns)), scope))
    columns = compile_program(builder.program(outputs), cache=kernel_cache)(DATA, {}, EVENTS)
    return dict(zip(keys, columns, strict=True))


def expected_of(template: str, way: str) -> np.ndarray:
    letters, function, _ = CASES[template]
    arguments = [VALUES[letter.lower() if way == "event" else letter] for letter in letters]
    if way == "mixed":
        arguments[1:] = [np.repeat(VALUES[letter.lower()], COUNTS) for letter in letters[1:]]
    with np.errstate(all="ignore"):
        return np.asarray(function(*arguments))


@pytest.mark.parametrize("way", ["event", "list", "mixed"])
@pytest.mark.parametrize("template", CASES)
def test_function_gives_what_numpy_gives(template: str, way: str, results: dict[tuple[str, str], Column]):
    expected, found = expected_of(template, way), results[template, way]
    assert found.content.dtype == expected.dtype
    assert (found.offsets is None) == (way == "event")
    if expected.dtype == np.float64:
        assert ulps(found.content, expected).max() <= CASES[template][2]
    else:
        np.testing.assert_array_equal(found.content, expected)


def test_every_element_function_is_compared():
    compared = set()
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    for template, (letters, *_) in CASES.items():
        program = builder.program([builder.formula(parse(template.format(*letters)), scope)])
        compared |= {instruction.operation for instruction in program.instructions}
    elements = {name for name, function in FUNCTIONS.items() if function.kind == "element"}
    assert elements - compared - {"positive"} == set()


REDUCED: dict[str, Callable[..., ak.Array]] = {
    "count(X)": lambda: ak.num(nested(VALUES["X"])),
    "count_nonzero(X)": lambda: ak.count_nonzero(nested(VALUES["X"]), axis=1),
    "count_nonzero(P)": lambda: ak.sum(nested(VALUES["P"]), axis=1),
    "any(P)": lambda: ak.any(nested(VALUES["P"]), axis=1),
    "all(P)": lambda: ak.all(nested(VALUES["P"]), axis=1),
    "any(I)": lambda: ak.any(nested(VALUES["I"]) != 0, axis=1),
    "all(X > -2)": lambda: ak.all(nested(VALUES["X"]) > -2, axis=1),
    "sum(F)": lambda: ak.sum(nested(VALUES["F"]), axis=1),
    "sum(I)": lambda: ak.sum(nested(VALUES["I"]), axis=1),
    "sum(P)": lambda: ak.sum(nested(VALUES["P"]), axis=1),
    "prod(F)": lambda: ak.prod(nested(VALUES["F"]), axis=1),
    "prod(I)": lambda: ak.prod(nested(VALUES["I"]), axis=1),
    "min(F)": lambda: ak.min(nested(VALUES["F"]), axis=1),
    "max(F)": lambda: ak.max(nested(VALUES["F"]), axis=1),
    "min(I)": lambda: ak.min(nested(VALUES["I"]), axis=1),
    "max(I)": lambda: ak.max(nested(VALUES["I"]), axis=1),
    "argmin(F)": lambda: ak.argmin(nested(VALUES["F"]), axis=1),
    "argmax(I)": lambda: ak.argmax(nested(VALUES["I"]), axis=1),
    "mean(F)": lambda: ak.sum(nested(VALUES["F"]), axis=1) / ak.num(nested(VALUES["F"])),
    "mean(I % 10)": lambda: ak.sum(nested(VALUES["I"] % 10), axis=1) / ak.num(nested(VALUES["I"])),
    "sum(F[P])": lambda: ak.sum(nested(VALUES["F"])[nested(VALUES["P"])], axis=1),
    "max(F[P & Q])": lambda: ak.max(nested(VALUES["F"])[nested(VALUES["P"] & VALUES["Q"])], axis=1),
    "argmax(F[P])": lambda: ak.argmax(nested(VALUES["F"])[nested(VALUES["P"])], axis=1),
    "count(F[P])": lambda: ak.num(nested(VALUES["F"])[nested(VALUES["P"])]),
    "count(F[P][F[P] > 0])": lambda: ak.num(nested(VALUES["F"])[nested(VALUES["P"] & (VALUES["F"] > 0))]),
    "leading(F)": lambda: ak.fill_none(ak.firsts(nested(VALUES["F"])), 0.0),
    "leading(F[P])": lambda: ak.fill_none(ak.firsts(nested(VALUES["F"])[nested(VALUES["P"])]), 0.0),
    "leading(I, -1)": lambda: ak.fill_none(ak.firsts(nested(VALUES["I"])), -1),
    "subleading(F, 0.25)": lambda: ak.fill_none(ak.pad_none(nested(VALUES["F"]), 2)[:, 1], 0.25),
    "nth(F, 2, nan)": lambda: ak.fill_none(ak.pad_none(nested(VALUES["F"]), 3)[:, 2], np.nan),
    "nth(F, -1)": lambda: ak.fill_none(ak.firsts(nested(VALUES["F"])[:, ::-1]), 0.0),
    "sum(F * f)": lambda: ak.sum(nested(VALUES["F"]) * VALUES["f"], axis=1),
    "sum(where(F > leading(F), F, f))": lambda: ak.sum(
        ak.where(
            nested(VALUES["F"]) > ak.fill_none(ak.firsts(nested(VALUES["F"])), 0), nested(VALUES["F"]), VALUES["f"]
        ),
        axis=1,
    ),
    "F[P]": lambda: nested(VALUES["F"])[nested(VALUES["P"])],
    "F[P] * f + I[P]": lambda: (
        nested(VALUES["F"])[nested(VALUES["P"])] * VALUES["f"] + nested(VALUES["I"])[nested(VALUES["P"])]
    ),
    "pad_none(F, 2)": lambda: ak.pad_none(nested(VALUES["F"]), 2),
    "pad_none(F[P], 1) + 1": lambda: ak.pad_none(nested(VALUES["F"])[nested(VALUES["P"])], 1) + 1,
    "pad_none(F, 2, clip=True)": lambda: ak.pad_none(nested(VALUES["F"]), 2, clip=True),
    "fill_none(pad_none(I, 3), 9)": lambda: ak.fill_none(ak.pad_none(nested(VALUES["I"]), 3), 9),
    "F[F == max(F)]": lambda: nested(VALUES["F"])[
        nested(VALUES["F"]) == ak.fill_none(ak.max(nested(VALUES["F"]), axis=1), 0)
    ],
    "fill_none(min(F), -1)": lambda: ak.fill_none(ak.min(nested(VALUES["F"]), axis=1), -1),
    "min(F) + f": lambda: ak.min(nested(VALUES["F"]), axis=1) + VALUES["f"],
    "nth(F, argmax(I))": lambda: ak.firsts(nested(VALUES["F"])[ak.argmax(nested(VALUES["I"]), axis=1, keepdims=True)]),
}


@pytest.fixture(scope="module")
def reduced(kernel_cache: Path) -> dict[str, Column]:
    """Return what the kernel gives for each formula that makes, or takes apart, lists."""
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    program = builder.program([builder.formula(parse(text), scope) for text in REDUCED])
    return dict(zip(REDUCED, compile_program(program, cache=kernel_cache)(DATA, {}, EVENTS), strict=True))


def listed(column: Column) -> list[object]:
    """Return the column with None where a value is missing."""
    content = column.content.tolist()
    if column.valid is not None:
        content = [value if ok else None for value, ok in zip(content, column.valid.tolist(), strict=True)]
    if column.offsets is None:
        return content
    return [content[start:stop] for start, stop in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


@pytest.mark.parametrize("text", REDUCED)
def test_lists_give_what_awkward_gives(text: str, reduced: dict[str, Column]):
    with np.errstate(all="ignore"):
        expected = ak.to_list(REDUCED[text]())
    np.testing.assert_equal(listed(reduced[text]), expected)


def test_every_reducer_is_compared():
    reducers = {name for name, function in FUNCTIONS.items() if function.kind == "reduce"}
    assert reducers == {text.split("(")[0] for text in REDUCED} & reducers


# The table of spellings


def possible() -> list[tuple[str, str]]:
    """Return every function value by value with every type that its arguments can become."""
    kinds = {"float": ["float64"], "logical": ["bool"], "integer": ["int64"], "number": ["int64", "float64"]}
    kinds |= {"bits": ["bool", "int64"], "same": ["bool", "int64", "float64"]}
    elements = [
        function for function in FUNCTIONS.values() if function.kind == "element" and function.name != "positive"
    ]
    return [(function.name, dtype) for function in elements for dtype in kinds[function.takes]]


@pytest.mark.parametrize(("name", "dtype"), possible())
def test_numba_spells_every_function(name: str, dtype: str):
    assert dtype in NUMBA[name]


def test_every_special_function_has_a_rule():
    assert set(rules._SPECIAL) == {name for name, function in FUNCTIONS.items() if function.kind == "special"}


def test_every_reducer_is_spelled_or_counted():
    reducers = {name for name, function in FUNCTIONS.items() if function.kind == "reduce"}
    assert reducers == set(REDUCERS) | {"any", "all", "count_nonzero", "count", "mean"}


def test_calls_are_the_elementary_functions():
    assert ("sin", "float64") in CALLS
    assert ("power", "float64") in CALLS
    assert not {("sqrt", "float64"), ("add", "float64"), ("floor", "float64")} & CALLS
