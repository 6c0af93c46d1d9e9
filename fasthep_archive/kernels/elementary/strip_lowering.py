# mypy: allow-untyped-calls
"""LLVM's text of an elementary function for a strip of values.

The quick phase is one loop without branches, which LLVM turns into vector code: it goes on to the next multiple of
:data:`STEP`, so that no part of it is done one by one. What it is not certain of is marked and computed again, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import binding, ir

from fasthep_archive.kernels.elementary import rounded, wide
from fasthep_archive.kernels.elementary.lowering import DOUBLE, WORD, Library
from fasthep_archive.kernels.elementary.strips import LENGTH

STEP = 16
"""Values that the quick phase takes at a time, or a multiple of these: two of the widest vectors."""

FORGOTTEN = "captures(none)" if binding.llvm_version_info[0] >= 21 else "nocapture"
"""The attribute of an address that is used and forgotten, so that LLVM still knows all who can write to an array.

It was renamed in LLVM 21, and llvmlite does not know the new name."""

_ZERO, _ONE = ir.Constant(WORD, 0), ir.Constant(WORD, 1)


def strip_text(name: str, symbol: str, triple: str, *, fused: bool, apart: Callable[[str], str] | None = None) -> str:
    """Return a module with ``symbol(double *x, [double *y,] double *results, int64 count)`` for the function ``name``.

    :param fused: whether the processor has a fused multiplication and addition.
    :param apart: see :class:`~fasthep_archive.kernels.elementary.lowering.Library`.
    """
    module = ir.Module(symbol)
    module.triple = triple
    _Strip(Library(module, fused, apart), name, symbol).write()
    return str(module)


def wide_text(name: str, triple: str, *, fused: bool, apart: Callable[[str], str]) -> str:
    """Return a module with the function ``name`` for wide numbers, called ``apart(name)``; the rest as above."""
    module = ir.Module(apart(name))
    module.triple = triple
    Library(module, fused, apart).made(getattr(wide, name), apart(name)).linkage = ""
    return str(module)


class _Strip:
    """Writes the function."""

    def __init__(self, library: Library, name: str, symbol: str) -> None:
        self._quick, self._exact = (
            library.function(getattr(rounded, f"{name}_{phase}")) for phase in ("quick", "exact")
        )
        count = len(self._quick.args)
        kind = ir.FunctionType(ir.VoidType(), [DOUBLE.as_pointer()] * (count + 1) + [WORD])
        self._function = ir.Function(library.module, kind, symbol)
        self._function.attributes.add("nounwind")
        *arrays, self._count = self._function.args
        *self._arguments, self._results = arrays
        for array in arrays:
            array.add_attribute("noalias")
        self._entry = self._function.append_basic_block("entry")
        self._builder = ir.IRBuilder(self._entry)
        self._marks = self._builder.alloca(WORD, size=ir.Constant(WORD, LENGTH))

    def write(self) -> None:
        """Write all of it."""
        builder = self._builder
        quick, check, again, end = (
            self._function.append_basic_block(name) for name in ("quick", "check", "again", "end")
        )
        rounded_up = builder.add(self._count, ir.Constant(WORD, STEP - 1))
        most = builder.and_(rounded_up, ir.Constant(WORD, -STEP))
        builder.cbranch(builder.icmp_signed(">", self._count, _ZERO), quick, end)
        builder.position_at_end(quick)
        uncertain = self._write_quick(most, quick, check)
        builder.position_at_end(check)
        builder.cbranch(builder.icmp_signed("!=", uncertain, _ZERO), again, end)
        builder.position_at_end(again)
        self._write_exact(check, again, end)
        builder.position_at_end(end)
        builder.ret_void()

    def _write_quick(self, most: ir.Value, block: ir.Block, after: ir.Block) -> ir.Value:
        """Write the loop of the quick phase; return a number that is not 0 if any value was uncertain."""
        builder = self._builder
        index, uncertain = builder.phi(WORD), builder.phi(WORD)
        for value in (index, uncertain):
            value.add_incoming(_ZERO, self._entry)
        found = builder.call(self._quick, self._read(index))
        builder.store(builder.extract_value(found, 0), self._at(self._results, index))
        mark = builder.xor(builder.zext(builder.extract_value(found, 1), WORD), _ONE)
        builder.store(mark, self._at(self._marks, index))
        together = builder.or_(uncertain, mark)
        uncertain.add_incoming(together, block)
        self._next(index, most, block, after)
        return together

    def _write_exact(self, before: ir.Block, block: ir.Block, after: ir.Block) -> None:
        """Write the loop of the accurate phase, for the values that are marked."""
        builder = self._builder
        index = builder.phi(WORD)
        index.add_incoming(_ZERO, before)
        mark = builder.load(self._at(self._marks, index))
        with builder.if_then(builder.icmp_signed("!=", mark, _ZERO), likely=False):
            builder.store(builder.call(self._exact, self._read(index)), self._at(self._results, index))
        self._next(index, self._count, block, after)

    def _next(self, index: ir.Value, most: ir.Value, block: ir.Block, after: ir.Block) -> None:
        following = self._builder.add(index, _ONE, flags=("nuw", "nsw"))
        index.add_incoming(following, self._builder.block)
        self._builder.cbranch(self._builder.icmp_signed("<", following, most), block, after)

    def _read(self, index: ir.Value) -> list[ir.Value]:
        return [self._builder.load(self._at(array, index)) for array in self._arguments]

    def _at(self, array: ir.Value, index: ir.Value) -> ir.Value:
        return self._builder.gep(array, [index], inbounds=True)
