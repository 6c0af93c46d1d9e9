"""Object code into memory, with llvmlite alone: 55 ms for its import and 0.3 ms an object, without numba or a linker.

(A shared object loads in 0.5 ms without llvmlite, but someone has to link it, and most machines have no linker.)
LLVM's ORC says what is missing where its older engine ends the process, and JITLink keeps code and constants in one
piece of memory, as position-independent code needs. What has been loaded stays until the process ends, so that no
function can outlive its code; forked workers inherit it.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from typing import Protocol

from fasthep_archive.digest import JSON

_MEMORY = ("memcpy", "memmove", "memset")

_EXACT = ("ceil", "copysign", "fabs", "floor", "fma", "fmod", "nearbyint", "rint", "sqrt", "trunc")
"""Functions of C's library with one right result, called where a processor has no instruction. No other is exact."""

RESOLVED = (*_MEMORY, *_EXACT)
"""All that object code may call by name; what calls anything else gets no object code."""


class LinkError(Exception):
    """Object code can't be loaded; the text says why."""


class Entry(Protocol):
    """A function in memory: takes the address for what it returns, and the words of its arguments."""

    def __call__(self, returned: object, words: bytes) -> int:
        """Return 0 if all went well."""


def load(code: bytes, symbol: str) -> Entry:
    """Return the function ``symbol`` of object code.

    :raises LinkError: if the code needs what this process has not, or is none.
    """
    llvm, engine, numbers = _engine()
    builder = llvm.JITLibraryBuilder().add_object_img(code).export_symbol(symbol)
    for name, address in _addresses().items():
        builder.import_symbol(name, address)
    try:
        loaded = builder.link(engine, f"object {next(numbers)}")
    except RuntimeError as error:
        raise LinkError(str(error).strip()) from None
    loaded.detach()
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_char_p)
    entry: Entry = prototype(loaded[symbol])
    return entry


@cache
def target() -> Mapping[str, JSON]:
    """Return all that decides which machine code is made from a source: processor, compilers and their settings.

    The settings are numba's own, which it takes from the environment whoever calls it.
    """
    llvm = _llvm()
    settings: JSON = {name: os.environ[name] for name in sorted(os.environ) if name.startswith("NUMBA_")}
    return {
        "triple": llvm.get_process_triple(),
        "cpu": llvm.get_host_cpu_name(),
        "features": llvm.get_host_cpu_features().flatten(),
        "llvm": list(llvm.llvm_version_info),
        "llvmlite": metadata.version("llvmlite"),
        "numba": metadata.version("numba"),
        "settings": settings,
    }


@cache
def _engine():  # type: ignore[no-untyped-def] # llvmlite has no types
    """Return llvmlite, the engine that holds all that is loaded, and numbers for names."""
    llvm = _llvm()
    engine = llvm.create_lljit_compiler(use_jit_link=True)
    return llvm, engine, itertools.count()


@cache
def _llvm():  # type: ignore[no-untyped-def] # llvmlite has no types
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def _addresses() -> Mapping[str, int]:
    return dict(_found())


def _found() -> Iterator[tuple[str, int]]:
    """Yield the functions of :data:`RESOLVED` that this process has, and where."""
    process = ctypes.CDLL(None)
    for name in RESOLVED:
        try:
            address = ctypes.cast(process[name], ctypes.c_void_p).value
        except AttributeError:
            continue
        if address is not None:
            yield name, address
