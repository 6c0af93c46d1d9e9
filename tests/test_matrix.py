"""The same numbers however they are computed: a quick part of tests/matrix.py, and kernels with checked bounds."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import reordered
from command import Command
from matrix import COMPILERS, FULL, LIBRARIES, QUICK, Variation, products

from fasthep_archive.digest import Digest
from fasthep_archive.execution import scheduler
from fasthep_archive.execution.plan import Merge
from fasthep_archive.execution.scheduler import Task
from fasthep_archive.operations.histogram import Axis, Hist, HistogramProduct

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def usual(command: Command, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Digest:
    """Return the digest of the example's products, computed as it is."""
    return products(command, example / "workflow.yaml", tmp_path_factory.mktemp("usual") / "out", COMPILERS[0])


@pytest.mark.parametrize("variation", QUICK, ids=lambda variation: variation.name)
def test_products_have_one_digest(variation: Variation, usual: Digest, fresh: Command, example: Path, tmp_path: Path):
    assert products(fresh, example / "workflow.yaml", tmp_path / "out", variation) == usual


@pytest.mark.parametrize("name", ["reversed", "7"])
def test_another_order_is_another_order(name: str, monkeypatch: pytest.MonkeyPatch):
    """One that nobody follows would show nothing."""
    begun: list[str] = []
    names = [f"part {number}" for number in range(9)]
    tasks = [Task(name=part, call=lambda part=part: begun.append(part)) for part in names]
    monkeypatch.setattr(scheduler, "TopologicalSorter", reordered.sorter(reordered.order_called(name)))
    scheduler.execute(tasks, scheduler.InProcess, in_flight=lambda: 2, finished=lambda *_: None)
    assert sorted(begun) == names
    assert begun != names
    assert name != "reversed" or begun == names[::-1]


@pytest.mark.parametrize(("categories", "moved"), [((0, 1), True), (None, False)], ids=["fixed", "growing"])
def test_parts_are_merged_in_another_order(categories: tuple[int, ...] | None, moved: bool):
    axis = Axis(name="n", label="n", source="n", type="int", categories=categories)
    hist = Hist(axes=(axis,), dataset_axis=None, storage="count", weight_expr=None)
    product = HistogramProduct(stage="S", hist=hist, datasets=("mc",))
    merge = Merge(node="S", op="hep.hist", product=product, parts=(1, 2, 3), key="k")
    found = reordered.reordered(merge, reordered.order_called("reversed")).parts
    assert found == ((3, 2, 1) if moved else (1, 2, 3))


def test_variations_have_names_of_their_own():
    assert len({variation.name for variation in FULL}) == len(FULL)


@pytest.mark.parametrize(("variation", "fused"), [(3, True), (4, False), (1, False)])
def test_code_is_made_for_the_processor_that_is_named(variation: int, fused: bool, tmp_path: Path):
    """A variation that a compiler ignores would show nothing: it must leave its marks in machine code."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the variations name processors of x86-64")
    found = python(MACHINE_CODE, tmp_path, **COMPILERS[variation].variables)
    assert bool(re.search(r"\bvfn?m(add|sub)", found)) == fused
    assert "zmm" not in found


def test_numpy_does_without_what_it_is_told_to_do_without(tmp_path: Path):
    """NumPy ignores names that it does not know."""
    code = "import numpy as np; print(np._core._multiarray_umath.__cpu_features__.get('X86_V3'))"
    if python(code, tmp_path) != "True\n":
        pytest.skip("this NumPy has other names for what processors can do, or this processor can't do it")
    assert python(code, tmp_path, **LIBRARIES[0].variables) == "False\n"


@pytest.mark.slow
def test_no_kernel_leaves_its_arrays(tmp_path: Path):
    """In a process of its own, with numba's bounds checks, which raise where an index is out of range."""
    assert python(BOUNDS, tmp_path, NUMBA_BOUNDSCHECK="1").split() == ["checked", "passed"]


def python(code: str, home: Path, **variables: str) -> str:
    """Return what a process prints that runs ``code`` with these variables."""
    found = subprocess.run(
        [sys.executable, "-c", code, str(home)],
        env={"PYTHONPATH": str(ROOT), "HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


MACHINE_CODE = """
import sys
from pathlib import Path
from llvmlite import binding
from fasthep_archive.kernels.llvm_compiler import machine
from fasthep_archive.kernels.numba_compiler import lowered
from fasthep_archive.kernels.unit import unit_of

kinds = ("const float64[]", "const float64[]", "float64[]")
made = lowered(unit_of("fasthep_archive.kernels.probes_source"), "elementary", kinds, Path(sys.argv[1]) / "cache")
print(machine(made).emit_assembly(binding.parse_assembly(made.text)))
"""


BOUNDS = """
import sys
from pathlib import Path
import numpy as np
from fasthep_archive.formula.columns import Column, ColumnType
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels import cache, selftest
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.program import Builder

space = Path(sys.argv[1]) / "cache"
outside = cache.load("def outside(x):\\n    return x[x.size]\\n", ("outside",), cache=space)
try:
    outside.outside(np.zeros(3))
except IndexError:
    print("checked")
parts = (selftest._sums(space), selftest._bins(space))
builder = Builder({"x": ColumnType("float64"), "n": ColumnType("int64")})
scope = {name: builder.column(name) for name in "xn"}
mass = builder.formula(parse("where(n > 1, exp(x) * 2, -1.0) + hypot(x, 1.5)"), scope)
kernel = compile_program(builder.program([mass]), cache=space)
columns = {"x": Column(np.linspace(-3, 3, 1030)), "n": Column(np.arange(1030) % 3)}
inside = np.isfinite(kernel(columns, {}, 1030)[0].content).all() and kernel._steps[0].function.reasons
print("FAILED" if any(part.failures for part in parts) or not inside else "passed")
"""
