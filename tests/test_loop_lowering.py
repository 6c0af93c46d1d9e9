"""Sums, bins and probes compiled by LLVM alone, and by numba: the same bits. What the language has, and has not."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matrix import COMPILERS
from test_bins import around
from test_matrix import python as compiled_elsewhere

from fasthep_archive.kernels import bins_source, loop_lowering, probes, probes_source, sums_source
from fasthep_archive.kernels.bins import regular_edges, variable_edges
from fasthep_archive.kernels.elementary.lowering import LoweringError
from fasthep_archive.kernels.linking import processor
from fasthep_archive.kernels.llvm_compiler import RELAXED
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.unit import Unit, unit_of

SOURCES = "fasthep_archive.kernels."
SIZES = (0, 1, 255, 256, 257, 1000)
CELLS = 7
DOUBLES = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 2.2e-308, 1.7e308, -1.7e308, 1.0])


def both(module: str, name: str, cache: Path) -> tuple[Function, Function]:
    """Return a function compiled by LLVM alone, and by numba."""
    unit = unit_of(SOURCES + module)
    return Function(replace(unit, lowerable=True), name, cache), Function(unit, name, cache)


def bits(value: object) -> object:
    """Return what is in a value: another NaN or a zero with the other sign is something else."""
    if isinstance(value, tuple):
        return [bits(member) for member in value]
    return (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def copied(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(copied, value))
    return value.copy() if isinstance(value, np.ndarray) else value


def agree(module: str, name: str, arguments: tuple[object, ...], cache: Path) -> None:
    """Call both functions; compare what they return, and what they leave in all arrays."""
    found = []
    for function in both(module, name, cache):
        own = copied(arguments)
        found.append((repr(function(*own)), bits(own)))
        assert not function.reasons
    assert found[0] == found[1]


def drawn(seed: int, size: int, *, special: float = 0.0) -> np.ndarray:
    """Return weights of both signs, and special ones among them, of all magnitudes."""
    random = np.random.default_rng(seed)
    values = random.normal(1, 0.5, size)
    values[random.random(size) < 0.1] = 0.0
    chosen = random.random(size) < special
    scaled = np.ldexp(random.normal(0, 1, size), random.integers(-1074, 1024, size))
    values[chosen] = np.where(random.random(size) < 0.5, random.choice(DOUBLES, size), scaled)[chosen]
    return values


def window(first: int, width: int, seed: int) -> tuple[np.ndarray, int, int, np.ndarray]:
    random = np.random.default_rng(seed)
    limbs = random.integers(-(2**50), 2**50, CELLS * width)
    return limbs, first, width, random.integers(0, 5, CELLS * 3)


# The same bits


@pytest.mark.parametrize("size", SIZES)
def test_counting_cells(size: int, kernel_cache: Path):
    cells = np.random.default_rng(size).integers(-2, CELLS + 2, size)
    agree("sums_source", "count_cells", (cells, np.arange(CELLS)), kernel_cache)


@pytest.mark.parametrize("special", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("limbs", [(0, 0), (31, 5), (30, 8), (0, 70)])
@pytest.mark.parametrize("size", SIZES)
def test_adding_values(size: int, limbs: tuple[int, int], special: float, kernel_cache: Path):
    cells = np.random.default_rng(size).integers(-2, CELLS + 2, size)
    adds = np.full(CELLS, 1000)  # soon to be settled
    call = (0, cells, drawn(size, size, special=special), adds, window(*limbs, size))
    agree("sums_source", "add_values", call, kernel_cache)


@pytest.mark.parametrize("special", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("limbs", [((0, 0), (31, 5)), ((31, 5), (29, 8)), ((31, 5), (0, 0)), ((0, 70), (0, 70))])
@pytest.mark.parametrize("size", SIZES)
def test_adding_weights(size: int, limbs: Sequence[tuple[int, int]], special: float, kernel_cache: Path):
    cells = np.random.default_rng(size).integers(-2, CELLS + 2, size)
    windows = [window(*own, size) for own in limbs]
    call = (0, cells, drawn(size, size, special=special), np.full(CELLS, 1000), *windows)
    agree("sums_source", "add_weights", call, kernel_cache)


@pytest.mark.parametrize("special", [0.0, 0.3])
def test_each_part_of_adding(special: float, kernel_cache: Path):
    """``take_apart``, ``covered``, ``add_parts``, ``add_each`` and ``settle``, each by itself."""
    terms, chosen = drawn(3, 256, special=special), np.random.default_rng(3).integers(0, CELLS, 256)
    wide, narrow = window(0, 70, 3), window(31, 5, 3)
    parts = tuple(np.zeros(256, np.int64) for _ in range(3))
    agree("sums_source", "take_apart", (256, chosen, terms, narrow, parts), kernel_cache)
    agree("sums_source", "covered", (256, terms, narrow), kernel_cache)
    agree("sums_source", "add_each", (256, chosen, terms, wide), kernel_cache)
    agree("sums_source", "settle", (narrow, 3), kernel_cache)
    places = tuple(np.random.default_rng(5).integers(0, CELLS * 4, 256) for _ in range(3))
    agree("sums_source", "add_parts", (256, narrow, places), kernel_cache)


@pytest.mark.parametrize("edges", [regular_edges(60, 60.0, 120.0), regular_edges(1, -1e300, 1e300)], ids=["60", "1"])
@pytest.mark.parametrize("size", SIZES)
def test_placing_among_regular_edges(size: int, edges: np.ndarray, kernel_cache: Path):
    values = np.resize(np.concatenate([around(edges), np.random.default_rng(size).normal(90, 20, 700)]), size)
    cells = np.random.default_rng(size).integers(-1, 3, size)
    scale = (len(edges) - 1) / (edges[-1] / 2 - edges[0] / 2) / 2
    agree("bins_source", "place_regular", (cells, values, edges, scale), kernel_cache)


@pytest.mark.parametrize("edges", [[0.0, 1.0], [-3.0, 0.0, 5e-324, 1.0, 1e300], list(range(77))], ids=["1", "4", "76"])
@pytest.mark.parametrize("size", SIZES)
def test_placing_among_any_edges(size: int, edges: list[float], kernel_cache: Path):
    found = variable_edges(edges)
    values = np.resize(np.concatenate([around(found), np.random.default_rng(size).normal(30, 20, 700)]), size)
    cells = np.random.default_rng(size).integers(-1, 3, size)
    agree("bins_source", "place_between", (cells, values, found), kernel_cache)


@pytest.mark.parametrize("count", [1, 2, 9, 64])
@pytest.mark.parametrize("size", SIZES)
def test_finding_and_placing_categories(size: int, count: int, kernel_cache: Path):
    random = np.random.default_rng(count)
    keys = np.sort(random.choice(200, count, replace=False)) - 50
    values, positions = random.integers(-60, 160, size), np.zeros(size, np.int64)
    for missing in (-1, count):
        call = (values, keys, random.permutation(count), missing, positions)
        agree("bins_source", "find_categories", call, kernel_cache)
    agree("bins_source", "place_positions", (random.integers(-1, 3, size), values, 200), kernel_cache)


def test_probes_and_quick_phases(kernel_cache: Path):
    random = np.random.default_rng(1)
    scaled = [np.ldexp(random.normal(0, 1, 500), random.integers(-1074, 1024, 500)) for _ in range(3)]
    for columns in (probes.columns(), scaled):
        out = np.zeros(9 * len(columns[0]))
        agree("probes_source", "operate", (*columns, out), kernel_cache)
    near = [random.normal(0, 20, 500) for _ in range(2)]
    agree("probes_source", "elementary", (*near, np.zeros(1500)), kernel_cache)


OTHERS = """
import sys
from pathlib import Path
import numpy as np
from fasthep_archive import digest
from fasthep_archive.kernels.bins import EdgeAxis, regular_edges
from fasthep_archive.kernels.sums import WeightedSums
from fasthep_archive.formula.columns import Column

random = np.random.default_rng(2)
cells = np.zeros(5000, np.int64)
EdgeAxis(regular_edges(60, 60.0, 120.0), cache=Path(sys.argv[1])).place(cells, Column(random.normal(90, 15, 5000)))
sums = WeightedSums(62, cache=Path(sys.argv[1]))
sums.add(cells, np.ldexp(random.normal(0, 1, 5000), random.integers(-40, 40, 5000)))
print([(name, digest.of_bytes(array.tobytes())) for name, array in sorted(sums.state().items())])
"""


def test_fills_are_the_same_for_all_processors(tmp_path: Path):
    """Without vectors, without fused operations, and without optimisation."""
    ways = {variation.name: variation.variables for variation in COMPILERS}
    chosen = ("as it is", "generic, no FMA, no AVX", "haswell", "unoptimised, generic")
    assert len({compiled_elsewhere(OTHERS, tmp_path / "cache", **ways[name]) for name in chosen}) == 1


# What is made


def made() -> list[object]:
    """Return each function of each source that is called from outside, with the kinds that it is called with."""
    cells, window = ("int64[]", "float64[]", "int64[]"), ("int64[]", "int64", "int64", "int64[]")
    return [
        pytest.param(module.__name__, name, kinds, id=name)
        for module, name, kinds in (
            (sums_source, "count_cells", ("int64[]", "int64[]")),
            (sums_source, "add_values", ("int64", *cells, window)),
            (sums_source, "add_weights", ("int64", *cells, window, window)),
            (bins_source, "place_regular", ("int64[]", "float64[]", "float64[]", "float64")),
            (bins_source, "place_between", ("int64[]", "float64[]", "float64[]")),
            (bins_source, "find_categories", ("int64[]", "int64[]", "int64[]", "int64", "int64[]")),
            (bins_source, "place_positions", ("int64[]", "int64[]", "int64")),
            (probes_source, "operate", ("float64[]",) * 4),
            (probes_source, "elementary", ("float64[]",) * 3),
        )
    ]


@pytest.mark.parametrize(("module", "name", "kinds"), made())
def test_nothing_is_permitted_and_nothing_is_needed(module: str, name: str, kinds: tuple[str, ...]):
    found = loop_lowering.lowered(unit_of(module).text, name, kinds)
    assert not RELAXED.search(found.text)
    assert not found.needs
    assert "llvm.fma" not in found.text or name == "elementary"  # which has error-free products


@pytest.mark.parametrize(("module", "name", "kinds"), made())
def test_numba_compiles_it_too(module: str, name: str, kinds: tuple[str, ...], kernel_cache: Path):
    from fasthep_archive.kernels import numba_compiler

    assert numba_compiler.lowered(unit_of(module), name, kinds, kernel_cache / "kernels").symbol == "entry"


@pytest.mark.parametrize("name", ["add_values", "add_weights", "place_regular", "place_between"])
def test_fills_are_vector_code(name: str):
    if "+avx2" not in processor().features.split(","):
        pytest.skip("LLVM may think that vectors do not pay")
    (kinds, module) = next((found.values[2], found.values[0]) for found in made() if found.values[1] == name)
    assert re.search(r"<\d+ x (i64|double)>", loop_lowering.lowered(unit_of(module).text, name, kinds).text)


FIRST_RUN = """
import sys
from pathlib import Path
from fasthep_archive.cli import main

try:
    main(["run", sys.argv[1], "-o", sys.argv[2], "-j", "1", "-q"])
except SystemExit as ended:
    assert not ended.code
print(sorted({"numba", "matplotlib", "cupy"} & set(sys.modules)))
"""


def test_a_first_run_imports_neither_numba_nor_matplotlib(example: Path, tmp_path: Path, monkeypatch):
    """With an empty cache, so that everything is compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [sys.executable, "-c", FIRST_RUN, str(example / "workflow.yaml"), str(tmp_path / "out")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"
    assert list((tmp_path / "cache").rglob("*.object"))


# The language


def compiled(text: str, cache: Path, function: str = "f") -> Function:
    return Function(Unit(name="test", text=text, functions=(function,), lowerable=True), function, cache)


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("def f(x) -> int:\n    return x + 1", (2**63 - 2,), 2**63 - 1),
        ("def f(x) -> float:\n    return x * 0.5", (-0.0,), -0.0),
        ("def f(x) -> bool:\n    return x > 1", (2,), True),
        ("def f(x) -> bool:\n    return not x", (True,), False),
        ("def f(x) -> int:\n    return x.size", (np.zeros(0),), 0),
        ("def f(x) -> float:\n    y = x[1 : 4]\n    return y[1] * float64(y.size)", (np.arange(6.0),), 6.0),
        ("def f(x) -> int:\n    p, c = x\n    a, b = p\n    return a[1] + b * c", (((np.arange(3), 5), 7),), 36),
        ("def f(x) -> float:\n    a, _ = x\n    return a", ((0.5, np.zeros(3)),), 0.5),
        ("def f(x):\n    y = x + 1", (0,), None),
        ("SIZE = 4\n\ndef f(x) -> float:\n    a = np.empty(SIZE, np.float64)\n    a[1] = x\n    return a[1] + 0.5", (1.5,), 2.0),
        ("def g(x, y) -> float:\n    return x[0] + y\n\ndef f(x) -> float:\n    return g(x, 1.0) + g(x, 0.5)", (np.ones(1),), 3.5),
        ("def f(x) -> float:\n    for i in range(x.size):\n        if x[i] > 1:\n            return x[i]\n    return 0.0", (np.arange(5.0),), 2.0),
    ],
)  # fmt: skip
def test_numbers_arrays_and_tuples_arrive(
    text: str, arguments: tuple[object, ...], expected: object, kernel_cache: Path
):
    function = compiled(text, kernel_cache)
    found = function(*arguments)
    assert not function.reasons
    assert (type(found), repr(found)) == (type(expected), repr(expected))


NOTED = """
def noted(calls, answer) -> bool:
    calls[0] += 1
    return answer

def f(calls, first, second) -> bool:
    return {expression}
"""


@pytest.mark.parametrize("expression", ["first or noted(calls, second)", "first and noted(calls, second)"])
def test_calls_that_do_not_matter_are_not_made(expression: str, kernel_cache: Path):
    text = NOTED.format(expression=expression)
    python: dict[str, Callable[..., object]] = {}
    exec(text, python)
    for first, second in np.ndindex(2, 2):
        found = []
        for function in (compiled(text, kernel_cache), python["f"]):
            calls = np.zeros(1, np.int64)
            found.append((function(calls, bool(first), bool(second)), calls[0]))
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "lines",
    [
        "return sorted(x)",
        "a = np.empty(x.size, np.float64)",
        "a = np.empty(100000, np.float64)",
        "a = np.empty(4, np.float32)",
        "x = 1",
        "x = y",
        "if n > 1:\n        a = x\n    else:\n        a = y\n    y[0] = a[0]",
        "a = x[1:]",
        "a = x[::2]",
        "a = x.T",
        "a, b = x",
        "a, b = n, n, n",
        "(a, b), c = (n, n), n",
        "y[0] = n",
        "x[0] = 1.0",
        "y[0] = x.view(np.int64)",
        "n = x[0].view(np.float64)",
        "both(y, y)",
        "both(y, y[0 : 1])",
        "a = y[0 : 2]\n    both(a, y)",
        "missing(y)",
        "del n",
    ],
)
def test_what_is_not_in_the_language_is_refused(lines: str):
    text = f"def both(a, b):\n    a[0] = b[0]\n\ndef f(x, y, n):\n    {lines}\n"
    ast.parse(text)
    with pytest.raises(LoweringError):
        loop_lowering.lowered(text, "f", ["const float64[]", "float64[]", "int64"])


@pytest.mark.parametrize("kind", ["float32", "text[]"])
def test_what_can_not_be_passed_is_refused(kind: str):
    with pytest.raises(LoweringError):
        loop_lowering.lowered("def f(x):\n    pass\n", "f", [kind])
