"""Machine code of the elementary functions for strips: one object for each, which all kernels call.

A kernel with exp in it would otherwise contain exp, and take ten times as long to compile. LLVM alone makes these, from
:mod:`fasthep_archive.kernels.elementary.strip_lowering`; they are kept beside the kernels. The arithmetic of wide
numbers, which is what all of them end in where nothing less decides, was three quarters of each: its functions are
objects of their own, too. A function takes 0.1 s to compile, and the first one 0.2 s more.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.kernels import linking, objects
from fasthep_archive.kernels.elementary import strips
from fasthep_archive.kernels.elementary.strips import LENGTH
from fasthep_archive.kernels.linking import LinkError
from fasthep_archive.kernels.objects import ObjectCode

Doubles: TypeAlias = NDArray[np.float64]

_SYMBOL = "fasthep_strip_"
_WIDE = "fasthep_wide_"

_MAKERS = ("strip_code.py", "linking.py", "llvm_compiler.py")


def symbol(name: str) -> str:
    """Return what the function ``NAME_strip`` is called in object code."""
    return f"{_SYMBOL}{name}"


def is_symbol(name: str) -> bool:
    """Return whether object code may call ``name`` because it is a function for strips, or for wide numbers."""
    return name.startswith((_SYMBOL, _WIDE))


@cache
def address(name: str, directory: Path) -> int:
    """Return where the function ``name``, a :func:`symbol`, is in memory; its object code is kept in ``directory``."""
    made = _obtained(name, directory)
    functions = {needed: address(needed, directory) for needed in made.needs}
    try:
        return linking.placed(made.code, made.symbol, functions)
    except LinkError:
        return linking.placed_as_numba_does(made.code, made.symbol, functions)


def prepare(function: str, directory: Path) -> None:
    """Compile a function, such as ``exp``, and what it needs, unless ``directory`` has it."""
    waiting, seen = [symbol(function)], set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_obtained(name, directory).needs)


def is_kept(function: str, directory: Path) -> bool:
    """Return whether ``directory`` has the object code of a function already."""
    return objects.is_kept(directory, _key(symbol(function)))


def computed(function: str, columns: Sequence[Doubles], directory: Path) -> Doubles:
    """Return the elementary function ``function`` of columns, one of each of its arguments, as kernels compute it."""
    words = [ctypes.c_void_p] * (len(columns) + 1)
    call = ctypes.CFUNCTYPE(None, *words, ctypes.c_int64)(address(symbol(function), directory))
    size = len(columns[0])
    results = np.empty(size)
    arrays = np.zeros((len(columns) + 1, LENGTH))
    for begin in range(0, size, LENGTH):
        count = min(LENGTH, size - begin)
        for array, column in zip(arrays, columns, strict=False):
            array[:count] = column[begin : begin + count]
        call(*(array.ctypes.data for array in arrays), count)
        results[begin : begin + count] = arrays[-1, :count]
    return results


def _key(name: str) -> Mapping[str, JSON]:
    return {"strip": name, "source": _source(), "target": linking.target(), "made by": _maker()}


def _obtained(name: str, directory: Path) -> ObjectCode:
    """Return the object code of a function: from ``directory``, or compiled now and kept there."""
    return objects.obtain(directory, _key(name), lambda: _compiled(name))


def _compiled(name: str) -> ObjectCode:
    from fasthep_archive.kernels import llvm_compiler
    from fasthep_archive.kernels.elementary.strip_lowering import strip_text, wide_text

    def written(triple: str, fused: bool) -> str:
        if name.startswith(_WIDE):
            return wide_text(name.removeprefix(_WIDE), triple, fused=fused, apart=_wide_symbol)
        return strip_text(name.removeprefix(_SYMBOL), name, triple, fused=fused, apart=_wide_symbol)

    return llvm_compiler.object_code(llvm_compiler.optimised(written, name))


def _wide_symbol(name: str) -> str:
    return f"{_WIDE}{name}"


@cache
def _source() -> Digest:
    return strips.unit().digest()


@cache
def _maker() -> Digest:
    here = Path(__file__).parent
    return digest.of_json([digest.of_bytes((here / name).read_bytes()) for name in _MAKERS])
