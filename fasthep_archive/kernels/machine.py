"""Functions as machine code: one for each combination of types that they are called with.

Object code is compiled once and found again on disk (:mod:`fasthep_archive.kernels.objects`): by LLVM alone
(:mod:`fasthep_archive.kernels.loop_lowering`), or by numba what is not in our own language: nothing that a run needs.
Where there can be none, because numba is told to check bounds, or it would need what
:mod:`fasthep_archive.kernels.linking` doesn't offer, numba compiles for this process alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.kernels import linking, objects, strip_code
from fasthep_archive.kernels.linking import Entry, LinkError
from fasthep_archive.kernels.objects import ObjectCode
from fasthep_archive.kernels.passing import DATA, Kind, Passed, packing, passed, written
from fasthep_archive.kernels.unit import Unit

Code: TypeAlias = Callable[[Sequence[Passed]], object]

_MAKERS = (
    *("unit.py", "passing.py", "linking.py", "strip_code.py", "llvm_compiler.py", "loop_lowering.py", "loop_values.py"),
    *("numba_compiler.py", "numba_intrinsics.py", "elementary/lowering.py"),
)
"""The modules that decide what machine code is made of a source, and how it is called."""

_CHECKING = ("NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT")
"""Settings of numba with which functions raise exceptions, as object code can't."""

_FAILED = "a compiled function has raised an exception, and none of them should; please report it"


class Function:
    """A compiled function.

    :ivar reasons: for the kinds of arguments for which there is no object code, why.
    """

    def __init__(self, unit: Unit, name: str, cache: Path) -> None:
        self._unit = unit
        self._name = name
        self._directory = cache / "kernels"
        self._codes: dict[tuple[Kind, ...], Code] = {}
        self.reasons: dict[tuple[Kind, ...], str] = {}

    @staticmethod
    @cache
    def of(unit: Unit, name: str, cache: Path) -> Function:
        """Return the function ``name`` of ``unit``, the same one each time. Compiled code is kept below ``cache``."""
        return Function(unit, name, cache)

    @property
    def signatures(self) -> tuple[tuple[Kind, ...], ...]:
        """The kinds of arguments for which there is code in this process."""
        return tuple(self._codes)

    def __call__(self, *arguments: object) -> object:
        """Call the function.

        :raises TypeError: if an argument can't be passed.
        """
        return self.call([passed(argument) for argument in arguments])

    def call(self, arguments: Sequence[Passed]) -> object:
        """Call the function with arguments that have been looked at before."""
        kinds = tuple([kind for kind, _, _ in arguments])
        code = self._codes.get(kinds)
        if code is None:
            code = self._codes[kinds] = self._code(kinds)
        return code(arguments)

    def _code(self, kinds: tuple[Kind, ...]) -> Code:
        reason = self._checking()
        if not reason:
            made = objects.obtain(self._directory, self._key(kinds), lambda: self._compiled(kinds))
            reason = made.reason
            if not reason:
                try:
                    return _linked(made, kinds, self._directory)
                except LinkError as error:
                    reason = str(error)
        self.reasons[kinds] = reason
        from fasthep_archive.kernels import numba_compiler

        function = numba_compiler.in_process(self._unit, self._name, self._directory)
        return lambda arguments: function(*(value for _, _, value in arguments))

    def _key(self, kinds: Sequence[Kind]) -> dict[str, JSON]:
        return {
            "source": _digest(self._unit),
            "function": self._name,
            "arguments": [written(kind) for kind in kinds],
            "target": linking.target(),
            "array": DATA,
            "made by": _maker(),
        }

    def _compiled(self, kinds: Sequence[Kind]) -> ObjectCode:
        if self._unit.lowerable:
            from fasthep_archive.kernels import loop_lowering

            return loop_lowering.object_code(self._unit.text, self._name, kinds)
        from fasthep_archive.kernels import numba_compiler

        return numba_compiler.object_code(self._unit, self._name, kinds, self._directory)

    @staticmethod
    def _checking() -> str:
        wanted = [name for name in _CHECKING if os.environ.get(name, "0") not in ("", "0")]
        return f"{wanted[0]} is set" if wanted else ""


def _linked(made: ObjectCode, kinds: Sequence[Kind], directory: Path) -> Code:
    """Return object code, loaded, as it is called; what it needs is in ``directory`` too."""
    functions = {name: strip_code.address(name, directory) for name in made.needs}
    entry = linking.load(made.code, made.symbol, functions)
    layout = struct.Struct("=" + "".join(map(packing, kinds)))
    return _CALLS[made.returns](entry, layout.pack)


def _silent(entry: Entry, pack: Callable[..., bytes]) -> Code:
    """Return the code of a function that returns nothing."""

    def call(arguments: Sequence[Passed]) -> None:
        if entry(None, pack(*[word for _, words, _ in arguments for word in words])):
            raise RuntimeError(_FAILED)

    return call


def _returning(convert: Callable[[int], object]) -> Callable[[Entry, Callable[..., bytes]], Code]:
    """Return the same for a function that returns what ``convert`` makes of a word."""

    def linked(entry: Entry, pack: Callable[..., bytes]) -> Code:
        def call(arguments: Sequence[Passed]) -> object:
            returned = ctypes.c_int64()
            if entry(ctypes.byref(returned), pack(*[word for _, words, _ in arguments for word in words])):
                raise RuntimeError(_FAILED)
            return convert(returned.value)

        return call

    return linked


def _double(word: int) -> float:
    found: float = struct.unpack("=d", struct.pack("=q", word))[0]
    return found


_CALLS = {"none": _silent, "int64": _returning(int), "float64": _returning(_double), "bool": _returning(bool)}


@cache
def _digest(unit: Unit) -> Digest:
    return unit.digest()


@cache
def _maker() -> Digest:
    """Return the digest of our own part in making machine code, so that a changed one makes it anew."""
    here = Path(__file__).parent
    return digest.of_json([digest.of_bytes((here / name).read_bytes()) for name in _MAKERS])
