# mypy: allow-untyped-calls
"""Generated loops to LLVM, in the language of :mod:`fasthep_archive.kernels.elementary.lowering`.

numba compiles the same text, and takes ten times as long (measured: 1.1 s for a loop of a hundred instructions, and
0.1 s this way, most of which is LLVM's). Beside that language, loops have parameters whose types come with the call,
arrays of any numbers, which are promoted where they are read, small arrays of their own, ``range`` with a step, and the
functions for strips.

The caller owns what a loop writes to: no array that it passes overlaps one that is written (``noalias``), which lets
LLVM make vector code without asking at run time.
"""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from llvmlite import ir

from fasthep_archive.kernels import llvm_compiler
from fasthep_archive.kernels.elementary.lowering import BOOL, DOUBLE, WORD, Body, Library, LoweringError
from fasthep_archive.kernels.elementary.rounded import NAMES
from fasthep_archive.kernels.elementary.strip_lowering import FORGOTTEN
from fasthep_archive.kernels.elementary.strips import COPY, SUFFIX
from fasthep_archive.kernels.llvm_compiler import Lowered
from fasthep_archive.kernels.objects import ObjectCode
from fasthep_archive.kernels.passing import ARRAY, CONSTANT, DATA, Kind
from fasthep_archive.kernels.strip_code import symbol as strip_symbol

_ARITHMETIC = "fasthep_archive.kernels.arithmetic"
"""Where the functions are that loops call."""

_ENTRY = "entry"

_BYTE, _INT32 = ir.IntType(8), ir.IntType(32)

_ELEMENTS: Mapping[str, tuple[ir.Type, str]] = MappingProxyType(
    {
        "float64": (DOUBLE, ""),
        "float32": (ir.FloatType(), "fpext"),
        "int64": (WORD, ""),
        "uint64": (WORD, ""),
        "bool": (_BYTE, ""),
        **{f"int{bits}": (ir.IntType(bits), "sext") for bits in (8, 16, 32)},
        **{f"uint{bits}": (ir.IntType(bits), "zext") for bits in (8, 16, 32)},
    }
)
"""How values of arrays are kept, and promoted to a double or an int64; an unsigned one is known to fit."""

_NUMBERS = {"int64": WORD, "float64": DOUBLE, "bool": BOOL}

_OWN = {"float64": "float64", "int64": "int64", "bool_": "bool"}
"""The types of small arrays, by their names in ``np``."""


def object_code(text: str, kinds: Sequence[Kind]) -> ObjectCode:
    """Return the object code of the loop of ``text``, called with arguments of ``kinds``.

    :raises LoweringError: if something in it is not in the language.
    """
    return llvm_compiler.object_code(lowered(text, kinds))


def lowered(text: str, kinds: Sequence[Kind]) -> Lowered:
    """Return the same but for the last step to machine code."""
    return llvm_compiler.optimised(lambda triple, fused: loop_text(text, kinds, _ENTRY, triple, fused=fused), _ENTRY)


def loop_text(text: str, kinds: Sequence[Kind], symbol: str, triple: str, *, fused: bool) -> str:
    """Return a module with ``int32 symbol(word *returned, word *arguments)``, which runs the loop of ``text``.

    :param kinds: what it is called with, as words that :mod:`fasthep_archive.kernels.passing` describes.
    :param fused: whether the processor has a fused multiplication and addition.
    :raises LoweringError: if something in it is not in the language.
    """
    (tree,) = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    tree.returns = ast.Constant(None)
    module = ir.Module(symbol)
    module.triple = triple
    loop = _LoopBody(Library(module, fused), tree, kinds).function
    _write_entry(module, loop, kinds, symbol)
    return str(module)


@cache
def _names() -> Mapping[str, object]:
    """Return what the names in loops stand for."""
    return {"inf": math.inf, "nan": math.nan, **vars(importlib.import_module(_ARITHMETIC))}


def _element(kind: Kind) -> str:
    """Return the type of an array's values.

    :raises LoweringError: if it is none.
    """
    if not isinstance(kind, str) or not kind.endswith(ARRAY):
        raise LoweringError(f"no array: {kind}")
    return kind.removeprefix(CONSTANT).removesuffix(ARRAY)


def _parameter(kind: Kind) -> ir.Type:
    """Return LLVM's type of a parameter."""
    return _NUMBERS.get(str(kind)) or _ELEMENTS[_element(kind)][0].as_pointer()


def _write_entry(module: ir.Module, loop: ir.Function, kinds: Sequence[Kind], symbol: str) -> None:
    """Write what takes words and calls the loop; it returns 0."""
    function = ir.Function(module, ir.FunctionType(_INT32, [WORD.as_pointer()] * 2), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    arguments = []
    for place, kind in enumerate(kinds):
        word = builder.load(builder.gep(function.args[1], [ir.Constant(WORD, place)]))
        match _parameter(kind):
            case ir.PointerType() as pointer:
                data = builder.inttoptr(builder.add(word, ir.Constant(WORD, DATA)), pointer.as_pointer())
                arguments.append(builder.load(data))
            case ir.DoubleType():
                arguments.append(builder.bitcast(word, DOUBLE))
            case number:
                truth = number == BOOL
                arguments.append(builder.icmp_signed("!=", word, ir.Constant(WORD, 0)) if truth else word)
    builder.call(loop, arguments)
    builder.ret(ir.Constant(_INT32, 0))


class _LoopBody(Body):
    """Writes one loop."""

    def __init__(self, library: Library, tree: ast.FunctionDef, kinds: Sequence[Kind]) -> None:
        named = list(zip((argument.arg for argument in tree.args.args), kinds, strict=True))
        self._arrays: dict[str, tuple[ir.Value, str]] = {}
        self._kinds = {name: _element(kind) for name, kind in named if str(kind).endswith(ARRAY)}
        super().__init__(library, tree, _names(), "loop", [_parameter(kind) for kind in kinds])
        for argument, (name, _) in zip(self.function.args, named, strict=True):
            if name in self._kinds:
                argument.add_attribute("noalias")

    # Arrays

    def _assign(self, name: str, value: ir.Value) -> None:
        if isinstance(value.type, ir.PointerType):
            self._arrays[name] = (value, self._kinds[name])
        else:
            super()._assign(name, value)

    def _write_assign(self, statement: ast.Assign) -> None:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(
                    func=ast.Attribute(attr="empty"), args=[ast.Constant(value=size), ast.Attribute(attr=kind)]
                ),
            ):
                self._kinds[name] = _OWN[kind]
                content = ir.ArrayType(_ELEMENTS[_OWN[kind]][0], size)
                made = ir.IRBuilder(self._entry).alloca(content)
                made.align = 64
                first = [ir.Constant(WORD, 0)] * 2
                self._arrays[name] = (ir.IRBuilder(self._entry).gep(made, first, inbounds=True), _OWN[kind])
            case _:
                super()._write_assign(statement)

    def _array_of(self, node: ast.expr) -> tuple[ir.Value, str]:
        """Return the address of an array and the type of its values."""
        if not isinstance(node, ast.Name) or node.id not in self._arrays:
            raise self._refused(node)
        return self._arrays[node.id]

    def _at(self, subscript: ast.Subscript) -> tuple[ir.Value, str]:
        address, element = self._array_of(subscript.value)
        return self._builder.gep(address, [self._value(subscript.slice)], inbounds=True), element

    def _read_subscript(self, node: ast.Subscript) -> ir.Value:
        if not (isinstance(node.value, ast.Name) and node.value.id in self._arrays):
            return super()._read_subscript(node)
        place, element = self._at(node)
        value, promotion = self._builder.load(place), _ELEMENTS[element][1]
        if element == "bool":
            return self._builder.icmp_unsigned("!=", value, ir.Constant(_BYTE, 0))
        return (
            getattr(self._builder, promotion)(value, DOUBLE if promotion == "fpext" else WORD) if promotion else value
        )

    def _store(self, target: ast.expr, value: ir.Value) -> None:
        if not isinstance(target, ast.Subscript):
            super()._store(target, value)
            return
        place, element = self._at(target)
        if element == "bool":
            value = self._builder.zext(value, _BYTE)
        if value.type != _ELEMENTS[element][0]:
            raise self._refused(target)
        self._builder.store(value, place)

    # Loops

    def _write_for(self, statement: ast.For) -> None:
        call, target = statement.iter, statement.target
        if not (isinstance(target, ast.Name) and isinstance(call, ast.Call) and ast.unparse(call.func) == "range"):
            raise self._refused(statement)
        bounds = [self._value(argument) for argument in call.args]
        start, stop = bounds[:2] if len(bounds) > 1 else (ir.Constant(WORD, 0), bounds[0])
        step = bounds[2] if len(bounds) > 2 else ir.Constant(WORD, 1)
        counter = f"{target.id} of the loop"  # what the body does to its variable is no matter
        self._assign(counter, start)
        variable = ast.Name(counter)

        def body() -> None:
            self._assign(target.id, self._variable(variable))
            self._block(statement.body)
            self._assign(counter, self._builder.add(self._variable(variable), step, flags=("nsw",)))

        self._loop(lambda: self._builder.icmp_signed("<", self._variable(variable), stop), body)

    # Calls

    def _read_call(self, node: ast.Call) -> ir.Value:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == COPY:
            return self._copy(node)
        if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in NAMES:
            return self._call_strip(name.removesuffix(SUFFIX), node)
        return super()._read_call(node)

    def _call_strip(self, name: str, node: ast.Call) -> ir.Value:
        """Call a function for strips, which looks at the arrays and forgets them."""
        *arrays, count = node.args
        kinds = [DOUBLE.as_pointer()] * len(arrays) + [WORD]
        known = self._library.module.globals.get(strip_symbol(name))
        if known is None:
            kind = ir.FunctionType(ir.VoidType(), kinds)
            known = ir.Function(self._library.module, kind, strip_symbol(name))
            known.attributes.add("nounwind")
            for argument in known.args[:-1]:
                set.add(argument.attributes, FORGOTTEN)
        return self._builder.call(known, [*(self._array_of(array)[0] for array in arrays), self._value(count)])

    def _copy(self, node: ast.Call) -> ir.Value:
        """Copy values from one array to another, as :func:`fasthep_archive.kernels.elementary.strips.copy_out` says."""
        (source, element), (target, same) = self._array_of(node.args[0]), self._array_of(node.args[2])
        if element != same:
            raise self._refused(node)
        kind = _ELEMENTS[element][0]
        to = self._builder.gep(target, [self._value(node.args[3])], inbounds=True)
        end = self._builder.gep(source, [self._value(node.args[1])], inbounds=True)
        size = self._builder.sub(self._builder.ptrtoint(end, WORD), self._builder.ptrtoint(source, WORD))
        bytes_of = [self._builder.bitcast(address, _BYTE.as_pointer()) for address in (to, source)]
        assert isinstance(kind, ir.Type), "arrays have values"
        function = self._library.module.declare_intrinsic("llvm.memcpy", [_BYTE.as_pointer()] * 2 + [WORD])
        return self._builder.call(function, [*bytes_of, size, ir.Constant(BOOL, 0)])

    # Conversions, under the names that numba has for them

    def _call_float64(self, value: ir.Value) -> ir.Value:
        return self._call_float(value)

    def _call_float32(self, value: ir.Value) -> ir.Value:
        return self._builder.fpext(self._builder.fptrunc(value, ir.FloatType()), DOUBLE)

    def _call_int64(self, value: ir.Value) -> ir.Value:
        return self._call_int(value)

    def _call_uint64(self, value: ir.Value) -> ir.Value:
        """Return an index, which is known not to be negative."""
        return value
