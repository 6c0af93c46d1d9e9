# mypy: allow-untyped-calls
"""Loops to LLVM, in the language of :mod:`fasthep_archive.kernels.elementary.lowering`: generated ones, sums, bins.

numba compiles the same text, and takes ten times as long (measured: 1.1 s for a loop of a hundred instructions, and
0.1 s this way, most of which is LLVM's). Beside that language, functions have parameters whose types come with the
call, arrays of any numbers, which are promoted where they are read, parts and sizes of arrays, small arrays of their
own, tuples of all these, ``range`` with a step, and the functions for strips. They call other functions of the same
text, which state the type of what they return.

The caller owns what a function writes to: no array that it passes overlaps one that is written (``noalias``), which
lets LLVM make vector code without asking at run time. No index is negative.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from llvmlite import ir

from fasthep_archive.kernels import llvm_compiler
from fasthep_archive.kernels.elementary.lowering import BOOL, DOUBLE, WORD, Body, Library, LoweringError
from fasthep_archive.kernels.elementary.rounded import NAMES
from fasthep_archive.kernels.elementary.strip_lowering import FORGOTTEN
from fasthep_archive.kernels.elementary.strips import COPY, SUFFIX
from fasthep_archive.kernels.llvm_compiler import Lowered
from fasthep_archive.kernels.loop_values import (
    BYTE,
    FLOAT,
    Array,
    Value,
    arrays,
    empty,
    flat,
    kind_of,
    returned,
    taken,
    types,
    unpacked,
)
from fasthep_archive.kernels.objects import ObjectCode
from fasthep_archive.kernels.passing import Kind, written
from fasthep_archive.kernels.strip_code import symbol as strip_symbol

_ARITHMETIC = "fasthep_archive.kernels.arithmetic"
"""Where the functions are that generated loops call without importing them."""

_OURS = "fasthep_archive."

_ENTRY = "entry"

_INT32 = ir.IntType(32)

LARGEST = 1 << 16
"""Most bytes of an array of their own, as :mod:`fasthep_archive.kernels.numba_intrinsics` has it too."""

_OWN = {"float64": "float64", "int64": "int64", "bool_": "bool"}
"""The types of small arrays, by their names in ``np``."""

_RETURNED = {"int": "int64", "float": "float64", "bool": "bool", "None": "none"}
"""The types of what functions return, by their annotations."""


def object_code(text: str, function: str, kinds: Sequence[Kind]) -> ObjectCode:
    """Return the object code of a function of ``text``, called with arguments of ``kinds``.

    :raises LoweringError: if something in it is not in the language.
    """
    return llvm_compiler.object_code(lowered(text, function, kinds))


def lowered(text: str, function: str, kinds: Sequence[Kind]) -> Lowered:
    """Return the same but for the last step to machine code."""
    source = _Source.of(text)

    def write(triple: str, fused: bool) -> str:
        return module_text(source, function, kinds, _ENTRY, triple, fused=fused)

    return llvm_compiler.optimised(write, _ENTRY, returns=source.returns(function))


@dataclass(frozen=True, slots=True)
class _Source:
    """A text.

    :ivar functions: its functions. :ivar names: what the other names in it stand for.
    """

    functions: Mapping[str, ast.FunctionDef]
    names: Mapping[str, object]

    @classmethod
    def of(cls, text: str) -> _Source:
        """Return what is in ``text``."""
        functions, names = {}, dict(_names())
        for node in ast.parse(text).body:
            match node:
                case ast.FunctionDef(name=name):
                    node.returns = node.returns or ast.Constant(None)
                    functions[name] = node
                case ast.Assign(targets=[ast.Name(id=name)]):
                    names[name] = ast.literal_eval(node.value)
                case ast.ImportFrom(module=str() as module, names=imported) if module.startswith(_OURS):
                    found = importlib.import_module(module)
                    names |= {alias.asname or alias.name: getattr(found, alias.name) for alias in imported}
        return cls(functions, names)

    def returns(self, function: str) -> str:
        """Return the type of what a function returns."""
        annotation = self.functions[function].returns
        assert annotation is not None, "it has been set"
        return _RETURNED[ast.unparse(annotation)]


def module_text(source: _Source, function: str, kinds: Sequence[Kind], symbol: str, triple: str, *, fused: bool) -> str:
    """Return a module with ``int32 symbol(word *returned, word *arguments)``, which calls a function of ``source``.

    :param kinds: what it is called with, as words that :mod:`fasthep_archive.kernels.passing` describes.
    :param fused: whether the processor has a fused multiplication and addition.
    :raises LoweringError: if something in it is not in the language.
    """
    module = ir.Module(symbol)
    module.triple = triple
    called = _Functions(Library(module, fused), source).function(function, kinds)
    _write_entry(module, called, kinds, symbol)
    return str(module)


@cache
def _names() -> Mapping[str, object]:
    """Return what the names in generated loops stand for."""
    return {"inf": math.inf, "nan": math.nan, **vars(importlib.import_module(_ARITHMETIC))}


def _write_entry(module: ir.Module, called: ir.Function, kinds: Sequence[Kind], symbol: str) -> None:
    """Write what takes words and calls the function; it returns 0."""
    function = ir.Function(module, ir.FunctionType(_INT32, [WORD.as_pointer()] * 2), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    address, arguments = function.args

    def words() -> Iterator[ir.Value]:
        for place in itertools.count():
            yield builder.load(builder.gep(arguments, [ir.Constant(WORD, place)]))

    following = words()
    result = builder.call(called, [part for kind in kinds for part in unpacked(builder, kind, following)])
    if not isinstance(result.type, ir.VoidType):
        builder.store(returned(builder, result), address)
    builder.ret(ir.Constant(_INT32, 0))


@dataclass(frozen=True, slots=True)
class _Functions:
    """Functions of a text in an LLVM module."""

    library: Library
    source: _Source

    def function(self, name: str, kinds: Sequence[Kind]) -> ir.Function:
        """Return a function for arguments of ``kinds``; the first time, it is made, and all that it calls."""
        symbol = f"{name}{written(tuple(kinds))}"
        known = self.library.module.globals.get(symbol)
        return known or _FunctionBody(self, self.source.functions[name], symbol, kinds).function


class _FunctionBody(Body):
    """Writes one function."""

    def __init__(self, functions: _Functions, tree: ast.FunctionDef, symbol: str, kinds: Sequence[Kind]) -> None:
        self._functions = functions
        self._kinds = kinds
        self._bound: dict[str, Array | tuple[Value, ...]] = {}
        words = [type_ for kind in kinds for type_ in types(kind)]
        super().__init__(functions.library, tree, functions.source.names, symbol, words)

    def _take(self, names: Sequence[str]) -> None:
        words = iter(self.function.args)
        for name, kind in zip(names, self._kinds, strict=True):
            self._bind(name, taken(kind, words))
        for argument in self.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")

    # Arrays and tuples: names stand for them from where they are assigned to the end of the block

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        before = dict(self._bound)
        super()._block(statements)
        self._bound = before

    def _bind(self, name: str, value: Value) -> None:
        if name == "_":
            return
        if isinstance(value, ir.Value):
            self._assign(name, value)
        elif name in self._bound or name in self._variables:
            raise LoweringError(f"{self._where}: {name} is assigned to again")
        else:
            self._bound[name] = value

    def _assign(self, name: str, value: ir.Value) -> None:
        if name in self._bound:
            raise LoweringError(f"{self._where}: {name} is assigned to again")
        super()._assign(name, value)

    def _operand(self, node: ast.expr) -> Value:
        """Return a number, an array or a tuple."""
        match node:
            case ast.Name(id=name) if name in self._bound:
                return self._bound[name]
            case ast.Tuple(elts=members):
                return tuple([self._operand(member) for member in members])
            case ast.Call(func=ast.Attribute(attr="empty"), args=[size, ast.Attribute(attr=kind)]) if kind in _OWN:
                return empty(ir.IRBuilder(self._entry), _OWN[kind], self._size(size))
            case ast.Subscript(value=whole, slice=ast.Slice(lower=ast.expr() as lower, upper=ast.expr() as upper)):
                return self._array_of(whole).part(self._builder, self._value(lower), self._value(upper))
            case _:
                return self._value(node)

    def _size(self, node: ast.expr) -> int:
        """Return the size of an array: a literal, or a constant of the text."""
        size = self._globals.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        if not isinstance(size, int) or not 0 < size * 8 <= LARGEST:
            raise self._refused(node)
        return size

    def _write_assign(self, statement: ast.Assign) -> None:
        (target,) = statement.targets
        value = self._operand(statement.value)
        if isinstance(value, ir.Value) and isinstance(value.type, ir.LiteralStructType):
            value = tuple([self._builder.extract_value(value, place) for place in range(len(value.type))])
        match target, value:
            case ast.Tuple(elts=members), tuple() if len(members) == len(value):
                for member, part in zip(members, value, strict=True):
                    if not isinstance(member, ast.Name):
                        raise self._refused(statement)
                    self._bind(member.id, part)
            case ast.Name(id=name), _:
                self._bind(name, value)
            case _, ir.Value():
                self._store(target, value)
            case _:
                raise self._refused(statement)

    def _array_of(self, node: ast.expr, *, written: bool = False) -> Array:
        """Return the array that ``node`` names."""
        found = self._bound.get(node.id) if isinstance(node, ast.Name) else None
        if not isinstance(found, Array) or (written and found.constant):
            raise self._refused(node)
        return found

    def _read_attribute(self, node: ast.Attribute) -> ir.Value:
        if node.attr == "size" and isinstance(node.value, ast.Name) and node.value.id in self._bound:
            return self._array_of(node.value).size
        return super()._read_attribute(node)

    def _read_subscript(self, node: ast.Subscript) -> ir.Value:
        match node:
            case ast.Subscript(slice=ast.Slice()):
                raise self._refused(node)
            case ast.Subscript(value=ast.Name(id=name)) if name in self._bound:
                return self._array_of(node.value).read(self._builder, self._value(node.slice))
            case ast.Subscript(value=ast.Call(), slice=ast.Constant(value=int(place))):
                return self._builder.extract_value(self._value(node.value), place)
            case _:
                return super()._read_subscript(node)

    def _store(self, target: ast.expr, value: ir.Value) -> None:
        if not isinstance(target, ast.Subscript):
            super()._store(target, value)
            return
        array = self._array_of(target.value, written=True)
        if array.element == "bool":
            value = self._builder.zext(value, BYTE)
        if value.type != array.type:
            raise self._refused(target)
        self._builder.store(value, array.place(self._builder, self._value(target.slice)))

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
        match node.func:
            case ast.Attribute(value=number, attr="view"):
                return self._bits(number, node)
            case ast.Attribute(attr="empty"):
                raise self._refused(node)
            case ast.Name(id=name) if name in self._functions.source.functions:
                return self._call_function(name, node)
            case ast.Name(id=name) if name == COPY:
                return self._copy(node)
            case ast.Name(id=name) if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in NAMES:
                return self._call_strip(name.removesuffix(SUFFIX), node)
            case _:
                return super()._read_call(node)

    def _bits(self, number: ast.expr, node: ast.Call) -> ir.Value:
        """Return the bits of a double."""
        value = self._value(number)
        if [ast.unparse(argument) for argument in node.args] != ["np.int64"] or value.type != DOUBLE:
            raise self._refused(node)
        return self._builder.bitcast(value, WORD)

    def _call_function(self, name: str, node: ast.Call) -> ir.Value:
        """Call a function of the text; the arrays that it gets are not parts of each other."""
        values = tuple([self._operand(argument) for argument in node.args])
        passed = [id(array.memory) for array in arrays(values)]
        if len(set(passed)) != len(passed):
            raise self._refused(node)
        return self._builder.call(self._functions.function(name, tuple(map(kind_of, values))), flat(values))

    def _read_boolop(self, node: ast.BoolOp) -> ir.Value:
        """Return all or any of the values; what calls a function of the text is computed only if it matters."""
        *others, last = node.values
        if not any(self._is_call(part) for part in ast.walk(node)):
            return super()._read_boolop(node)
        first = others[0] if len(others) == 1 else ast.BoolOp(node.op, others)
        sure = ast.Constant(isinstance(node.op, ast.Or))
        body, orelse = (sure, last) if sure.value else (last, sure)
        return self._read_ifexp(ast.IfExp(test=first, body=body, orelse=orelse))

    def _is_call(self, node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in self._functions.source.functions
        )

    def _call_strip(self, name: str, node: ast.Call) -> ir.Value:
        """Call a function for strips, which looks at the arrays and forgets them."""
        *columns, count = node.args
        kinds = [DOUBLE.as_pointer()] * len(columns) + [WORD]
        known = self._library.module.globals.get(strip_symbol(name))
        if known is None:
            kind = ir.FunctionType(ir.VoidType(), kinds)
            known = ir.Function(self._library.module, kind, strip_symbol(name))
            known.attributes.add("nounwind")
            for argument in known.args[:-1]:
                set.add(argument.attributes, FORGOTTEN)
        *arguments, results = columns
        passed = [*map(self._array_of, arguments), self._array_of(results, written=True)]
        return self._builder.call(known, [*(array.data for array in passed), self._value(count)])

    def _copy(self, node: ast.Call) -> ir.Value:
        """Copy values from one array to another, as :func:`fasthep_archive.kernels.elementary.strips.copy_out` says."""
        source, target = self._array_of(node.args[0]), self._array_of(node.args[2], written=True)
        if source.element != target.element:
            raise self._refused(node)
        to = target.place(self._builder, self._value(node.args[3]))
        end = source.place(self._builder, self._value(node.args[1]))
        size = self._builder.sub(self._builder.ptrtoint(end, WORD), self._builder.ptrtoint(source.data, WORD))
        bytes_of = [self._builder.bitcast(address, BYTE.as_pointer()) for address in (to, source.data)]
        function = self._library.module.declare_intrinsic("llvm.memcpy", [BYTE.as_pointer()] * 2 + [WORD])
        return self._builder.call(function, [*bytes_of, size, ir.Constant(BOOL, 0)])

    # Conversions, under the names that numba has for them

    def _call_float64(self, value: ir.Value) -> ir.Value:
        return self._call_float(value)

    def _call_float32(self, value: ir.Value) -> ir.Value:
        return self._builder.fpext(self._builder.fptrunc(value, FLOAT), DOUBLE)

    def _call_int64(self, value: ir.Value) -> ir.Value:
        return self._call_int(value)

    def _call_uint64(self, value: ir.Value) -> ir.Value:
        """Return an index, which is known not to be negative."""
        return value
