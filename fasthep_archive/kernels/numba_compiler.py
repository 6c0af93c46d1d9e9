# mypy: allow-untyped-calls
"""Source text to object code and to callable functions, through numba. Imports it: only to compile."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError
from fasthep_archive.files import private_directory, write_atomically
from fasthep_archive.kernels import llvm_compiler
from fasthep_archive.kernels.elementary.strips import SUFFIX
from fasthep_archive.kernels.linking import processor
from fasthep_archive.kernels.llvm_compiler import RELAXED, Lowered, undefined
from fasthep_archive.kernels.objects import ObjectCode
from fasthep_archive.kernels.passing import ARRAY, CONSTANT, Kind
from fasthep_archive.kernels.strip_code import address, is_symbol, symbol
from fasthep_archive.kernels.unit import Unit

_IEEE: Mapping[str, bool | str] = {"error_model": "numpy", "nogil": True, "fastmath": False}
"""``error_model="numpy"`` makes division by zero an IEEE result; without fast-math LLVM neither contracts nor
re-associates (measured on x86-64 and AArch64; :func:`lowered` looks at what was made)."""

_ALONE = {**_IEEE, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""No memory from numba's runtime, and no ways in for Python: what is compiled so needs neither."""

_STACK = "from fasthep_archive.kernels.numba_intrinsics import stack_array"

_ENTRY = "entry"

_RETURNED = frozenset({"int64", "float64", "bool", "none"})


def in_process(unit: Unit, function: str, cache: Path) -> Callable[..., object]:
    """Return a function that numba compiles when it is called, and keeps in its own cache."""
    _offer_strips(unit, cache)
    found: Callable[..., object] = getattr(_module(unit, cache, alone=False), function)
    return found


def _offer_strips(unit: Unit, cache: Path) -> None:
    """Tell LLVM where the functions for strips are that ``unit`` calls.

    numba loads whatever it compiles sooner or later, what it compiles for object code too, and LLVM ends the process
    if anything is missing.
    """
    from llvmlite import binding

    for library in unit.libraries:
        for called in library.called(unit.text):
            if called.endswith(SUFFIX):
                name = symbol(called.removesuffix(SUFFIX))
                binding.add_symbol(name, address(name, cache))


def object_code(unit: Unit, function: str, kinds: Sequence[Kind], cache: Path) -> ObjectCode:
    """Return the object code of a function, or the reason why there can be none."""
    from numba.core.errors import NumbaError

    try:
        return llvm_compiler.object_code(lowered(unit, function, kinds, cache))
    except NumbaError as error:
        return ObjectCode(code=b"", symbol="", returns="none", reason=str(error))


def lowered(unit: Unit, function: str, kinds: Sequence[Kind], cache: Path) -> Lowered:
    """Return a function that takes its arguments as words, compiled, but for the last step to machine code.

    :raises NumbaError: if it can't be compiled to stand alone, or LLVM is permitted inexact arithmetic anywhere in it.
    """
    from llvmlite import binding
    from numba import types
    from numba.core.errors import NumbaError

    from fasthep_archive.kernels import numba_intrinsics

    _offer_strips(unit, cache)
    called = getattr(_module(unit, cache, alone=True), function)
    arguments = tuple(map(_type, kinds))
    with _no_extensions():
        called.compile(arguments)
    result = called.overloads[arguments]
    returns = str(types.unliteral(result.signature.return_type))
    if returns not in _RETURNED:
        raise NumbaError(f"it returns {returns}")
    if result.library.has_dynamic_globals:
        raise NumbaError("it holds an address of this process")
    module = binding.parse_assembly(result.library.get_llvm_str())
    module.link_in(binding.parse_assembly(numba_intrinsics.entry(result, _ENTRY)))
    needs = undefined(module)
    missing = [name for name in needs if not is_symbol(name)]
    if missing:
        raise NumbaError(f"it needs {', '.join(missing)}")
    text = str(module)
    relaxed = RELAXED.search(text)
    if relaxed is not None:
        raise NumbaError(f"it permits inexact arithmetic: {relaxed.group()}")
    return Lowered(
        text=text,
        symbol=_ENTRY,
        returns=returns,
        processor=processor(),
        needs=tuple(sorted(needs)),
    )


def _type(kind: Kind):  # type: ignore[no-untyped-def] # numba has no types
    """Return numba's type of an argument."""
    from numba import types
    from numba.core.types import BaseTuple

    if isinstance(kind, tuple):
        return BaseTuple.from_types(tuple(map(_type, kind)))
    if not kind.endswith(ARRAY):
        return getattr(types, kind)
    dtype = getattr(types, kind.removeprefix(CONSTANT).removesuffix(ARRAY))
    return types.Array(dtype, 1, "C", readonly=kind.startswith(CONSTANT))


def _module(unit: Unit, cache: Path, *, alone: bool) -> ModuleType:
    """Return the module of ``unit``, with its functions compiled by numba when they are called.

    numba can only cache functions that come from a file, so the source becomes a file named by its digest.

    :param alone: for object code, which is kept by us; numba keeps what it compiles for this process.
    """
    if unit.substitute:
        return importlib.import_module(unit.substitute)
    source = unit.text.replace("np.empty(", "stack_array(") if alone else unit.text
    imports = []
    for needed in unit.libraries:
        name = _module(needed, cache, alone=alone).__name__
        stated = re.compile(rf"^from {re.escape(needed.module)} import", re.MULTILINE)
        if stated.search(source):
            source = stated.sub(f"from {name} import", source)
        elif called := needed.called(source):
            imports.append(f"from {name} import {', '.join(called)}")
    options = {**(_ALONE if alone else _IEEE), "cache": not alone}
    footer = [
        f"# {unit.digest()} {_own_digest()}",
        _STACK if alone else "",
        *imports,
        "from numba import njit as _njit",
        f"_compiled = _njit(**{options!r})",
        *(f"{name} = _compiled({name})" for name in unit.functions),
    ]
    text = "\n".join([source, "", *footer]) + "\n"
    return _imported(f"fasthep_archive_{unit.name}_{digest.of_bytes(text.encode())[:40]}", text, cache)


@functools.cache
def _own_digest() -> Digest:
    """Return the digest of what comes into functions without being in their source."""
    return digest.of_file(Path(__file__).with_name("numba_intrinsics.py"))


def _imported(name: str, text: str, cache: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    path = private_directory(cache) / f"{name}.py"
    if not path.exists():
        write_atomically(path, text.encode())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:  # pragma: no cover - a .py file always has a loader
        raise DataError(f"can't import the kernel {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba's cache looks the module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _no_extensions() -> Iterator[None]:
    """Keep numba from importing what other packages register with it (awkward, vector): 0.35 s, and nothing we use.

    numba has no public way to say so. What others compile later in this process finds the extensions as usual.
    """
    from numba.core import entrypoints

    before = getattr(entrypoints, "_already_initialized", None)
    if before is None:
        yield
        return
    entrypoints._already_initialized = True
    try:
        yield
    finally:
        entrypoints._already_initialized = before
