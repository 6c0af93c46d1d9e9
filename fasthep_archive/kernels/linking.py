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
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import Protocol

from fasthep_archive.digest import JSON

_MEMORY = ("memcpy", "memmove", "memset")

_EXACT = ("ceil", "copysign", "fabs", "floor", "fma", "fmod", "nearbyint", "rint", "sqrt", "trunc")
"""Functions of C's library with one right result, called where a processor has no instruction. No other is exact."""

RESOLVED = (*_MEMORY, *_EXACT)
"""All that object code may call by name, beside our own functions for strips; what calls anything else gets none."""

NOTHING: Mapping[str, int] = MappingProxyType({})


class LinkError(Exception):
    """Object code can't be loaded; the text says why."""


class Entry(Protocol):
    """A function in memory: takes the address for what it returns, and the words of its arguments."""

    def __call__(self, returned: object, words: bytes) -> int:
        """Return 0 if all went well."""


def load(code: bytes, symbol: str, functions: Mapping[str, int] = NOTHING) -> Entry:
    """Return the function ``symbol`` of object code, as :class:`Entry` describes it.

    :param functions: what the code may call beside :data:`RESOLVED`, and where it is.
    :raises LinkError: if the code needs what this process has not, or is none.
    """
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_char_p)
    entry: Entry = prototype(placed(code, symbol, functions))
    return entry


def placed(code: bytes, symbol: str, functions: Mapping[str, int] = NOTHING) -> int:
    """Return where the function ``symbol`` of object code is in memory, from now on.

    :raises LinkError: if the code needs what this process has not, or is none.
    """
    llvm, engine, numbers = _engine()
    builder = llvm.JITLibraryBuilder().add_object_img(code).export_symbol(symbol)
    for name, address in (*_addresses().items(), *functions.items()):
        builder.import_symbol(name, address)
    try:
        loaded = builder.link(engine, f"object {next(numbers)}")
    except RuntimeError as error:
        raise LinkError(str(error).strip()) from None
    loaded.detach()
    return int(loaded[symbol])


def placed_as_numba_does(code: bytes, symbol: str, functions: Mapping[str, int] = NOTHING) -> int:
    """Return where the function ``symbol`` of object code is in memory, by way of LLVM's older engine.

    It works wherever numba does, and ends the process if the code needs anything that it can't find.
    """
    llvm = _llvm()
    for name, address in functions.items():
        llvm.add_symbol(name, address)
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _older_engines().append(engine)
    return int(engine.get_function_address(symbol))


@cache
def _older_engines() -> list[object]:
    """Return the engines that hold code, which would go with them."""
    return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Processor:
    """What machine code is made for, as LLVM writes it, and with how much optimisation: 0 to 3."""

    triple: str
    name: str
    features: str
    level: int

    @property
    def fused(self) -> bool:
        """Whether a fused multiplication and addition is one instruction."""
        return "+fma" in self.features.split(",") or self.triple.startswith(("aarch64", "arm64"))


@cache
def processor() -> Processor:
    """Return what machine code is made for: this processor, or what numba's own settings say.

    numba takes these from the environment whoever calls it, and what others compile should be for the same.
    """
    llvm = _llvm()
    level = os.environ.get("NUMBA_OPT", "")
    return Processor(
        triple=llvm.get_process_triple(),
        name=os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name(),
        features=os.environ.get("NUMBA_CPU_FEATURES", llvm.get_host_cpu_features().flatten()),
        level=int(level) if level.isdigit() else 3,
    )


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
