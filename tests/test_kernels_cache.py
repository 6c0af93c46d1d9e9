"""Compiled code on disk: compiled once, found again without numba, never trusted when it is damaged or another's."""

import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

from fasthep_archive.errors import DataError
from fasthep_archive.files import locked, private_directory
from fasthep_archive.kernels import compile as compile_module
from fasthep_archive.kernels import llvm_compiler, loop_lowering, machine, numba_compiler, objects, passing
from fasthep_archive.kernels import unit as unit_module
from fasthep_archive.kernels.elementary.strips import LENGTH
from fasthep_archive.kernels.llvm_compiler import Lowered
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.spelling import NUMBA
from fasthep_archive.kernels.strips import STRIPS
from fasthep_archive.kernels.unit import Unit

CHAIN = '''
def chain(x, y, z):
    """Multiply and add."""
    for i in range(x.size):
        z[i] = x[i] * y[i] + z[i]
    return x.size
'''


def chain(cache: Path) -> Function:
    """Return a function that no other test has loaded: as a new process would."""
    return Function(Unit(name="chain", text=CHAIN, functions=("chain",)), "chain", cache)


def chained(function: Callable[..., object]) -> object:
    z = np.array([0.5, 0.25])
    assert function(np.array([1.0, 2.0]), np.array([3.0, 4.0]), z) == 2
    return z.tolist()


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "kernels").glob("*.object"))


SCRIPT = f"""
import json, os, sys, time
from pathlib import Path
import numpy as np
from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.unit import Unit
function = Function(Unit(name="chain", text={CHAIN!r}, functions=("chain",)), "chain", Path(sys.argv[1]))
if len(sys.argv) > 2:
    print("ready", flush=True)
    sys.stdin.readline()
z = np.array([0.5, 0.25])
function(np.array([1.0, 2.0]), np.array([3.0, 4.0]), z)
print(json.dumps([z.tolist(), "numba" in sys.modules, list(function.reasons.values())]))
"""


def in_new_process(cache: Path, **settings: str) -> list[object]:
    command = [sys.executable, "-c", SCRIPT, str(cache)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **settings})
    found: list[object] = json.loads(done.stdout)
    return found


# Entries


def test_an_entry_is_kept_and_found_by_a_process_without_numba(tmp_path: Path):
    assert chained(chain(tmp_path)) == [3.5, 8.25]
    assert in_new_process(tmp_path) == [[3.5, 8.25], False, []]
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
        lambda content: content.replace(b'"entry"', b'"other"'),
        lambda content: content + b"\0",
        lambda content: b"\x7fELF" + content,
        lambda content: content.partition(b"\n")[0] + b"\n",
    ],
    ids=["empty", "cut", "half", "bit", "header", "longer", "other form", "first line"],
)
def test_a_damaged_entry_is_compiled_again(damage: Callable[[bytes], bytes], tmp_path: Path):
    chained(chain(tmp_path))
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert chained(chain(tmp_path)) == [3.5, 8.25]
    assert path.read_bytes().partition(b"\n")[0].startswith(b"fasthep-archive object 2 ")
    assert in_new_process(tmp_path)[1] is False


def test_an_entry_of_another_key_is_not_taken(tmp_path: Path):
    made = objects.ObjectCode(code=b"code", symbol="entry", returns="none")
    objects.obtain(tmp_path, {"source": "one"}, lambda: made)
    (one,) = tmp_path.glob("*.object")
    other = objects.ObjectCode(code=b"other", symbol="entry", returns="none")
    objects.obtain(tmp_path, {"source": "two"}, lambda: other)
    (two,) = set(tmp_path.glob("*.object")) - {one}
    two.write_bytes(one.read_bytes())
    assert objects.obtain(tmp_path, {"source": "two"}, lambda: other) == other


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_an_entry_that_others_can_write_to_is_not_taken(mode: int, tmp_path: Path):
    chained(chain(tmp_path))
    (path,) = entries(tmp_path)
    path.chmod(mode)
    assert chained(chain(tmp_path)) == [3.5, 8.25]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(0o777)
    with pytest.raises(DataError, match="can be written by other users"):
        chained(chain(tmp_path))


def test_the_directory_is_this_users_alone(tmp_path: Path):
    chained(chain(tmp_path / "new"))
    assert (tmp_path / "new" / "kernels").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("settings", [{"NUMBA_OPT": "1"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}])
@pytest.mark.slow
def test_other_settings_of_the_compiler_have_their_own_entry(settings: dict[str, str], tmp_path: Path):
    assert in_new_process(tmp_path)[:2] == [[3.5, 8.25], True]
    assert in_new_process(tmp_path, **settings)[:2] == [[3.5, 8.25], True]
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize("part", ["cpu", "features", "llvm", "llvmlite", "numba"])
def test_another_processor_or_compiler_has_its_own_entry(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = chain(tmp_path)._key(())
    target = {**machine.linking.target(), part: "another"}
    monkeypatch.setattr(machine.linking, "target", lambda: target)
    assert chain(tmp_path)._key(()) != before


def test_another_version_of_our_own_code_has_its_own_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = chain(tmp_path)._key(())
    monkeypatch.setattr(machine, "_maker", lambda: "another")
    assert chain(tmp_path)._key(()) != before


# Processes


def test_processes_that_start_together_compile_once(tmp_path: Path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), "wait"]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    found = [json.loads(worker.communicate()[0]) for worker in workers]
    assert [result for result, _, _ in found] == [[3.5, 8.25]] * 3
    assert sum(compiled for _, compiled, _ in found) == 1


def hold(path: Path, name: str, ready: object) -> None:
    with locked(path, name):
        ready.send(1)  # type: ignore[attr-defined]
        ready.recv()  # type: ignore[attr-defined]


def test_a_lock_ends_with_its_process_and_others_are_free(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path / "locks", "0" * 64, there))
    process.start()
    here.recv()
    with locked(tmp_path / "locks", "0" * 15 + "1" + "0" * 48):
        pass
    process.kill()
    process.join()
    with locked(tmp_path / "locks", "0" * 64):
        pass


def again(cache: Path, queue: object) -> None:
    queue.put((chained(chain(cache)), "numba" in sys.modules))  # type: ignore[attr-defined]


def inherited(function: Function, queue: object) -> None:
    queue.put(chained(function))  # type: ignore[attr-defined]


def test_a_forked_worker_inherits_loaded_code(tmp_path: Path):
    function = chain(tmp_path)
    chained(function)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=inherited, args=(function, queue))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert queue.get() == [3.5, 8.25]
    assert chained(function) == [3.5, 8.25]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_loads_code(method: str, tmp_path: Path):
    chained(chain(tmp_path))
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=again, args=(tmp_path, queue))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert queue.get()[0] == [3.5, 8.25]


# Without object code


def loaded(text: str, function: str, cache: Path) -> Function:
    return Function(Unit(name="test", text=text, functions=(function,)), function, cache)


def test_what_object_code_may_not_call_is_compiled_in_the_process(tmp_path: Path):
    text = "import math\n\ndef f(x):\n    return math.lgamma(x)\n"
    for _ in range(2):  # compiled, and found to be impossible
        function = loaded(text, "f", tmp_path)
        assert function(3.0) == pytest.approx(np.log(2.0))
        (reason,) = function.reasons.values()
        assert "lgamma" in reason


def test_memory_of_a_size_unknown_to_the_compiler_needs_the_process(tmp_path: Path):
    function = loaded("import numpy as np\n\ndef f(n):\n    return np.empty(n, np.int64).size\n", "f", tmp_path)
    assert function(3) == 3
    assert function.reasons


def test_memory_of_a_known_size_is_on_the_stack(tmp_path: Path):
    text = "import numpy as np\nSIZE = 4\n\ndef f(x):\n    a = np.empty(SIZE, np.float64)\n    a[1] = x\n    return a[1] + a.size\n"
    function = loaded(text, "f", tmp_path)
    assert function(0.5) == 4.5
    assert not function.reasons


def test_bounds_are_checked_on_request(tmp_path: Path):
    script = SCRIPT.replace("np.array([3.0, 4.0])", "np.array([3.0])")
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert "IndexError: index is out of bounds" in done.stderr
    assert in_new_process(tmp_path, NUMBA_BOUNDSCHECK="1") == [[3.5, 8.25], True, ["NUMBA_BOUNDSCHECK is set"]]


def test_an_exception_in_object_code_is_an_error(tmp_path: Path):
    function = loaded("def f(x):\n    if x > 1:\n        raise ValueError\n    return x\n", "f", tmp_path)
    assert function(1) == 1
    with pytest.raises(RuntimeError, match="raised an exception"):
        function(2)


def test_code_that_can_not_be_loaded_here_is_compiled_in_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chained(chain(tmp_path))
    foreign = objects.ObjectCode(code=b"MZ no object code", symbol="entry", returns="int64")
    monkeypatch.setattr(machine.objects, "obtain", lambda *_: foreign)
    function = chain(tmp_path)
    assert chained(function) == [3.5, 8.25]
    assert function.reasons


# Arguments and results


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("return x + 1", (2**63 - 2,), 2**63 - 1),
        ("return x", (-1,), -1),
        ("return x * 0.5", (3.0,), 1.5),
        ("return x", (-0.0,), -0.0),
        ("return not x", (True,), False),
        ("return x > 1", (2,), True),
        ("return x[0] + x[1][1]", ((1, (2, 3)),), 4),
        ("return x[0][1] + x[1]", ((np.array([1, 2]), 0.5),), 2.5),
        ("return x.size", (np.zeros(0),), 0),
        ("return x[2]", (np.arange(6.0)[1:],), 3.0),
        ("x = 1", (0,), 0),
    ],
)
def test_numbers_arrays_and_tuples_arrive(text: str, arguments: tuple[object, ...], expected: object, tmp_path: Path):
    function = loaded(f"def f(x):\n    {text}\n", "f", tmp_path)
    found = function(*arguments)
    assert not function.reasons
    assert text == "x = 1" or (type(found), repr(found)) == (type(expected), repr(expected))


@pytest.mark.parametrize("name", [str(dtype) for dtype in passing._KINDS])
def test_arrays_of_all_types_are_read_and_written(name: str, tmp_path: Path):
    function = loaded("def f(x, y):\n    for i in range(x.size):\n        y[i] = x[i]\n", "f", tmp_path)
    values = np.array([0, 1, 100], name)
    copy = np.zeros_like(values)
    values.flags.writeable = False
    function(values, copy)
    assert copy.tolist() == values.tolist()
    assert not function.reasons


def test_an_array_that_must_not_be_written_to_is_refused_by_the_compiler(tmp_path: Path):
    function = loaded("def f(x):\n    x[0] = 1\n", "f", tmp_path)
    values = np.zeros(2)
    values.flags.writeable = False
    with pytest.raises(Exception, match="readonly"):
        function(values)
    assert values.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "value",
    [
        *(np.zeros((2, 2)), np.zeros(4)[::2], np.zeros(2, ">f8"), np.zeros(2, "f2"), np.array(["a"]), [1.0], "a", None),
        *(np.frombuffer(b"x" * 17, np.float64, offset=1), np.zeros(())),
    ],
    ids=["matrix", "strided", "swapped", "half", "text", "list", "string", "nothing", "misaligned", "scalar array"],
)
def test_what_machine_code_could_misread_is_refused(value: object, tmp_path: Path):
    with pytest.raises(TypeError, match="a compiled function"):
        loaded("def f(x):\n    return 0\n", "f", tmp_path)(value)


def test_an_array_object_has_its_data_and_sizes_where_machine_code_reads_them():
    array = np.arange(10.0)[3:7]
    data, _, sizes = (ctypes.c_size_t.from_address(id(array) + passing.DATA + 8 * place).value for place in range(3))
    assert data == array.__array_interface__["data"][0]
    assert ctypes.c_ssize_t.from_address(sizes).value == 4


# What the compiler may do


def by_numba(text: str, kinds: tuple[str, ...], cache: Path) -> Lowered:
    libraries = compile_module._libraries()
    unit = Unit(name="kernel", text=compile_module._HEADER + text, functions=("loop",), libraries=libraries)
    return numba_compiler.lowered(unit, "loop", kinds, private_directory(cache / "kernels"))


def by_llvm(text: str, kinds: tuple[str, ...], _: Path) -> Lowered:
    return loop_lowering.lowered(text, "loop", kinds)


@pytest.mark.parametrize("way", [by_numba, by_llvm])
def test_products_and_sums_are_not_contracted(way: Callable[[str, tuple[str, ...], Path], Lowered], kernel_cache: Path):
    text = "def loop(n, a, b, c):\n    for i in range(n):\n        c[i] = a[i] * b[i] + c[i] * a[i] - b[i]\n"
    made = way(text, ("int64", "const float64[]", "const float64[]", "float64[]"), kernel_cache)
    module = binding.parse_assembly(made.text)
    assert " fmul " in made.text
    fused = binding.Target.from_triple(made.processor.triple).create_target_machine(
        cpu=made.processor.name, features=made.processor.features, opt=3
    )
    for target in (llvm_compiler.machine(made), fused):
        assembly = target.emit_assembly(module)
        assert "mul" in assembly
        assert not any(name in assembly for name in ("vfmadd", "vfmsub", "vfnmadd", "fmadd", "fmla"))


def test_what_permits_inexact_arithmetic_is_noticed(kernel_cache: Path):
    for line in (
        "%x = fadd fast double %a, %b",
        "fmul contract reassoc double",
        "call double @llvm.fmuladd.f64(",
        "fcmp nnan olt",
    ):
        assert llvm_compiler.RELAXED.search(line)
    for line in ("%x = fadd double %a, %b", "call double @llvm.fma.f64(", "tail call double @sin(", "fcmp uno double"):
        assert not llvm_compiler.RELAXED.search(line)


@pytest.mark.parametrize("operation", sorted(name for name, spelled in NUMBA.items() if "float64" in spelled))
def test_no_operation_permits_inexact_arithmetic_or_needs_the_process(operation: str, kernel_cache: Path):
    spelled = NUMBA[operation]["float64"]
    strip = STRIPS.get((operation, "float64"))
    if strip is None:
        expression = spelled.format("x > y", "x", "y") if operation == "where" else spelled.format("x", "y")
        lines = ["for i in range(n):", "    x = a[i]", "    y = b[i]", f"    c[i] = {expression}"]
    else:
        lines = [f"{strip}({'a, b' if '{1}' in spelled else 'a'}, c, n)"]
    text = "\n".join(["def loop(n, a, b, c):", *(f"    {line}" for line in lines)]) + "\n"
    function = compile_module._compiled(text, kernel_cache)
    values = np.full(LENGTH, 0.5)
    function(3, values, values.copy(), np.empty(LENGTH, np.bool_ if operation in TRUTHS else np.float64))
    assert not function.reasons


TRUTHS = {
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "isnan",
    "isinf",
    "isfinite",
    "to_bool",
}


def test_a_module_is_compiled_with_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = Path(machine.__file__).parent
    monkeypatch.setattr(
        unit_module, "_source", lambda module: {"one": tmp_path / "one.py"}.get(module, base / "arithmetic.py")
    )
    (tmp_path / "one.py").write_text(
        "from fasthep_archive.kernels.arithmetic import sign_int64\n\ndef signs(x, y):\n    return sign_int64(x) + sign_int64(y)\n"
    )
    unit = unit_module.unit_of.__wrapped__("one")
    assert (unit.functions, [library.name for library in unit.libraries]) == (("signs",), ["arithmetic"])
    function = Function(unit, "signs", tmp_path)
    assert function(-3, -4) == -2
    assert not function.reasons


def test_a_changed_library_is_another_source():
    unit = unit_module.unit_of("fasthep_archive.kernels.arithmetic")
    loop = Unit(name="kernel", text="", functions=(), libraries=(unit,))
    changed = Unit(name="kernel", text="", functions=(), libraries=(replace(unit, text=unit.text + "# changed"),))
    assert loop.digest() != changed.digest()
