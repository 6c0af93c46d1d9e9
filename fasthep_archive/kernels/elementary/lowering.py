# mypy: allow-untyped-calls
"""Restricted Python to LLVM: the functions of this package become functions of an LLVM module that is being made.

The language is small enough to print it as C too. Functions have annotated parameters and results of ``float`` (a
double), ``int`` (int64, wraps around), ``bool``, tuples of those, and ``Limbs`` (an array of int64). There are
assignments, ``if``, ``while``, ``for ... in range``, ``return`` and calls; a local variable keeps its type. Constants
and tables are those of the modules. What isn't in the tables below is refused.

numba could compile the same text, and takes more than ten times as long (measured: 4 s of CPU for exp, and 0.25 s
this way): it compiles each function for each combination of types by itself, and for exp that is 40 of them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import FunctionType

import numpy as np
from llvmlite import ir

from fasthep_archive.kernels.elementary import wide
from fasthep_archive.kernels.elementary.restricted import constant_of, definitions

DOUBLE, WORD, BOOL = ir.DoubleType(), ir.IntType(64), ir.IntType(1)
LIMBS = WORD.as_pointer()

_TYPES = {"float": DOUBLE, "int": WORD, "bool": BOOL, "Limbs": LIMBS}

_LITERALS = {float: DOUBLE, int: WORD, bool: BOOL}

_OPERATORS: Mapping[tuple[type, ir.Type], str] = {
    (ast.Add, DOUBLE): "fadd",
    (ast.Sub, DOUBLE): "fsub",
    (ast.Mult, DOUBLE): "fmul",
    (ast.Div, DOUBLE): "fdiv",
    (ast.Add, WORD): "add",
    (ast.Sub, WORD): "sub",
    (ast.Mult, WORD): "mul",
    (ast.LShift, WORD): "shl",
    (ast.RShift, WORD): "ashr",
    **{
        (operator, kind): name
        for operator, name in {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor"}.items()
        for kind in (WORD, BOOL)
    },
}

_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}

_FLOAT_FUNCTIONS = {name: f"llvm.{name}" for name in ("sqrt", "copysign", "floor", "ceil", "trunc", "rint")}

_SELDOM = ("noinline", "cold", "optsize")


@cache
def _wide() -> Mapping[str, ast.FunctionDef]:
    """Return the functions for wide numbers that are seldom called: most of the text, and the same everywhere."""
    return {
        name: tree
        for name, tree in definitions(wide).items()
        if any(isinstance(part, ast.Call) and ast.unparse(part) == "seldom()" for part in ast.walk(tree))
    }


def declared(module: ir.Module, tree: ast.FunctionDef, name: str) -> ir.Function:
    """Return a function that is in another module, where it is called ``name``."""
    kinds = [_kind(argument.annotation) for argument in tree.args.args]
    function = ir.Function(module, ir.FunctionType(_kind(tree.returns), kinds), name)
    for attribute in (*_SELDOM, "nounwind"):
        function.attributes.add(attribute)
    return function


class LoweringError(Exception):
    """A function uses what the language hasn't; the text says where."""


@dataclass(frozen=True, slots=True)
class Library:
    """Functions of an LLVM module.

    :ivar module: where they are put, once each.
    :ivar fused: whether the processor has a fused multiplication and addition.
    :ivar apart: what the functions for wide numbers are called by whose machine code is elsewhere; none: all is here.
    """

    module: ir.Module
    fused: bool
    apart: Callable[[str], str] | None = None

    def function(self, source: Callable[..., object]) -> ir.Function:
        """Return the function that is made of ``source``; the first time, it is made, and all that it calls."""
        name = f"elementary.{source.__name__}"
        if self.apart is not None and source.__name__ in _wide():
            name = self.apart(source.__name__)
            if name not in self.module.globals:
                return declared(self.module, _wide()[source.__name__], name)
        known = self.module.globals.get(name)
        return self.made(source, name) if known is None else known

    def made(self, source: Callable[..., object], name: str) -> ir.Function:
        """Return the function that is made of ``source`` here and now, with all that it calls."""
        assert isinstance(source, FunctionType), "functions of modules only"
        module = inspect.getmodule(source)
        assert module is not None, "functions of modules only"
        return Body(self, definitions(module)[source.__name__], source.__globals__, name).function

    def table(self, name: str, values: np.ndarray[tuple[int], np.dtype[np.generic]]) -> ir.Value:
        """Return the address of a constant array."""
        name = f"elementary.{name}"
        if name not in self.module.globals:
            kind = DOUBLE if values.dtype == np.float64 else WORD
            content = ir.Constant(ir.ArrayType(kind, values.size), [ir.Constant(kind, v) for v in values.tolist()])
            made = ir.GlobalVariable(self.module, content.type, name)
            made.linkage, made.global_constant, made.initializer = "internal", True, content
        return self.module.globals[name]


class Body:
    """Writes one function."""

    def __init__(
        self,
        library: Library,
        tree: ast.FunctionDef,
        names: Mapping[str, object],
        symbol: str,
        kinds: Sequence[ir.Type] | None = None,
    ) -> None:
        """Write ``tree``.

        :param names: what names stand for that are not variables.
        :param kinds: the types of the parameters, if they are not annotated.
        """
        self._library = library
        self._globals = names
        self._where = tree.name
        self._variables: dict[str, ir.Value] = {}
        if kinds is None:
            kinds = [_kind(argument.annotation) for argument in tree.args.args]
        self.function = ir.Function(library.module, ir.FunctionType(_kind(tree.returns), kinds), symbol)
        self.function.linkage = "internal"
        self.function.attributes.add("nounwind")
        self._entry = self.function.append_basic_block("entry")
        self._builder = ir.IRBuilder(self.function.append_basic_block("body"))
        self._take([argument.arg for argument in tree.args.args])
        self._block(tree.body)
        if not self._ended():
            nothing = isinstance(self.function.ftype.return_type, ir.VoidType)
            self._builder.ret_void() if nothing else self._builder.unreachable()
        ir.IRBuilder(self._entry).branch(self.function.basic_blocks[1])
        if "noinline" not in self.function.attributes:
            self.function.attributes.add("alwaysinline")

    def _take(self, names: Sequence[str]) -> None:
        """Make what the function is called with the values of its parameters."""
        for name, value in zip(names, self.function.args, strict=True):
            self._assign(name, value)

    # Statements

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            writer = getattr(self, f"_write_{type(statement).__name__.lower()}", None)
            if writer is None:
                raise self._refused(statement)
            writer(statement)

    def _write_expr(self, statement: ast.Expr) -> None:
        if not isinstance(statement.value, ast.Constant):  # a docstring
            self._value(statement.value)

    def _write_return(self, statement: ast.Return) -> None:
        assert statement.value is not None, "functions without a result end at their end"
        if isinstance(statement.value, ast.Tuple):
            result = ir.Constant(self.function.ftype.return_type, ir.Undefined)
            for i, member in enumerate(statement.value.elts):
                result = self._builder.insert_value(result, self._value(member), i)
            self._builder.ret(result)
        else:
            self._builder.ret(self._value(statement.value))

    def _write_assign(self, statement: ast.Assign) -> None:
        (target,) = statement.targets
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Call):
            value = self._value(statement.value)
            for i, member in enumerate(target.elts):
                self._store(member, self._builder.extract_value(value, i))
        elif isinstance(target, ast.Tuple):
            raise self._refused(statement)
        else:
            self._store(target, self._value(statement.value))

    def _write_augassign(self, statement: ast.AugAssign) -> None:
        old = self._value(statement.target)
        self._store(statement.target, self._operate(statement, statement.op, old, self._value(statement.value)))

    def _write_pass(self, _: ast.Pass) -> None:
        pass

    def _write_if(self, statement: ast.If) -> None:
        condition = self._condition(statement.test)
        then, otherwise, after = (self.function.append_basic_block(name) for name in ("then", "else", "after"))
        self._builder.cbranch(condition, then, otherwise)
        for block, body in ((then, statement.body), (otherwise, statement.orelse)):
            self._builder.position_at_end(block)
            self._block(body)
            if not self._ended():
                self._builder.branch(after)
        self._builder.position_at_end(after)

    def _write_while(self, statement: ast.While) -> None:
        self._loop(lambda: self._condition(statement.test), lambda: self._block(statement.body))

    def _write_for(self, statement: ast.For) -> None:
        call, target = statement.iter, statement.target
        if not (isinstance(target, ast.Name) and isinstance(call, ast.Call) and ast.unparse(call.func) == "range"):
            raise self._refused(statement)
        *start, stop = (self._value(argument) for argument in call.args)
        self._assign(target.id, start[0] if start else ir.Constant(WORD, 0))

        def body() -> None:
            self._block(statement.body)
            self._assign(target.id, self._builder.add(self._variable(target), ir.Constant(WORD, 1)))

        self._loop(lambda: self._builder.icmp_signed("<", self._variable(target), stop), body)

    def _loop(self, condition: Callable[[], ir.Value], body: Callable[[], None]) -> None:
        test, inside, after = (self.function.append_basic_block(name) for name in ("test", "loop", "done"))
        self._builder.branch(test)
        self._builder.position_at_end(test)
        self._builder.cbranch(condition(), inside, after)
        self._builder.position_at_end(inside)
        body()
        if not self._ended():
            self._builder.branch(test)
        self._builder.position_at_end(after)

    def _ended(self) -> bool:
        return bool(self._builder.block.is_terminated)

    # Variables

    def _store(self, target: ast.expr, value: ir.Value) -> None:
        if isinstance(target, ast.Name):
            if target.id != "_":
                self._assign(target.id, value)
        elif isinstance(target, ast.Subscript):
            self._builder.store(value, self._place(target))
        else:
            raise self._refused(target)

    def _assign(self, name: str, value: ir.Value) -> None:
        if name not in self._variables:
            entry = ir.IRBuilder(self._entry)
            self._variables[name] = entry.alloca(value.type, name=name)
        if self._variables[name].type.pointee != value.type:
            raise LoweringError(f"{self._where}: {name} changes its type")
        self._builder.store(value, self._variables[name])

    def _variable(self, name: ast.Name) -> ir.Value:
        return self._builder.load(self._variables[name.id])

    def _place(self, subscript: ast.Subscript) -> ir.Value:
        array, index = self._value(subscript.value), self._value(subscript.slice)
        indices = [index] if array.type == LIMBS else [ir.Constant(WORD, 0), index]
        return self._builder.gep(array, indices, inbounds=True)

    # Expressions

    def _condition(self, node: ast.expr) -> ir.Value:
        """Return a truth value; a number is true when it is not 0."""
        value = self._value(node)
        return value if value.type == BOOL else self._builder.icmp_signed("!=", value, ir.Constant(value.type, 0))

    def _value(self, node: ast.expr) -> ir.Value:
        constant = constant_of(node)
        if constant is not None:
            return _literal(constant)
        writer = getattr(self, f"_read_{type(node).__name__.lower()}", None)
        if writer is None:
            raise self._refused(node)
        return writer(node)

    def _read_name(self, node: ast.Name) -> ir.Value:
        if node.id in self._variables:
            return self._variable(node)
        value = self._globals.get(node.id)
        if isinstance(value, np.ndarray):
            address = self._library.table(node.id, value)
            return address if value.dtype == np.float64 else self._builder.bitcast(address, LIMBS)
        if isinstance(value, (bool, int, float)):
            return _literal(value)
        raise self._refused(node)

    def _read_attribute(self, node: ast.Attribute) -> ir.Value:
        """Return ``math.inf``, ``math.nan`` or the size of a table."""
        assert isinstance(node.value, ast.Name), "attributes of names only"
        value = getattr(self._globals.get(node.value.id), node.attr, None)
        if not isinstance(value, (int, float)):
            raise self._refused(node)
        return _literal(value)

    def _read_subscript(self, node: ast.Subscript) -> ir.Value:
        return self._builder.load(self._place(node))

    def _read_unaryop(self, node: ast.UnaryOp) -> ir.Value:
        value = self._value(node.operand)
        match node.op:
            case ast.USub():
                return self._builder.fneg(value) if value.type == DOUBLE else self._builder.neg(value)
            case ast.Not() if value.type == BOOL:
                return self._builder.not_(value)
            case ast.Invert() if value.type == WORD:
                return self._builder.not_(value)
        raise self._refused(node)

    def _read_binop(self, node: ast.BinOp) -> ir.Value:
        return self._operate(node, node.op, self._value(node.left), self._value(node.right))

    def _operate(self, node: ast.AST, operator: ast.operator, left: ir.Value, right: ir.Value) -> ir.Value:
        if isinstance(operator, (ast.FloorDiv, ast.Mod)) and left.type == right.type == WORD:
            return self._floor_divide(left, right, rest=isinstance(operator, ast.Mod))
        name = _OPERATORS.get((type(operator), left.type))
        if name is None or left.type != right.type:
            raise self._refused(node)
        return getattr(self._builder, name)(left, right)

    def _floor_divide(self, left: ir.Value, right: ir.Value, *, rest: bool) -> ir.Value:
        """Return the quotient rounded down, or what it leaves. The divisor is not 0, and the quotient an int64."""
        builder = self._builder
        left_over = builder.srem(left, right)
        signs_differ = builder.icmp_signed("<", builder.xor(left_over, right), ir.Constant(WORD, 0))
        down = builder.and_(builder.icmp_signed("!=", left_over, ir.Constant(WORD, 0)), signs_differ)
        if rest:
            return builder.select(down, builder.add(left_over, right), left_over)
        return builder.sub(builder.sdiv(left, right), builder.zext(down, WORD))

    def _read_compare(self, node: ast.Compare) -> ir.Value:
        values = [self._value(operand) for operand in (node.left, *node.comparators)]
        found = None
        for operator, *pair in zip(node.ops, values, values[1:], strict=False):
            name = _COMPARISONS[type(operator)]
            left, right = pair if pair[0].type == pair[1].type else self._promoted(*pair)
            if left.type != DOUBLE:
                made = self._builder.icmp_signed(name, left, right)
            else:
                compare = self._builder.fcmp_unordered if name == "!=" else self._builder.fcmp_ordered
                made = compare(name, left, right)
            found = made if found is None else self._builder.and_(found, made)
        return found

    def _promoted(self, *values: ir.Value) -> list[ir.Value]:
        """Return numbers of different types as doubles if one of them is, else as int64."""
        words = [self._call_int(value) if value.type == BOOL else value for value in values]
        doubles = any(value.type == DOUBLE for value in values)
        return [self._call_float(value) if doubles and value.type == WORD else value for value in words]

    def _read_boolop(self, node: ast.BoolOp) -> ir.Value:
        """Return all or any of the values; all are computed, as none has an effect."""
        first, *others = map(self._condition, node.values)
        for other in others:
            first = (self._builder.and_ if isinstance(node.op, ast.And) else self._builder.or_)(first, other)
        return first

    def _read_ifexp(self, node: ast.IfExp) -> ir.Value:
        """Return one of two values; with a branch if one of them is read from an array or called, else without."""
        condition = self._condition(node.test)
        if _is_cheap(node.body) and _is_cheap(node.orelse):
            return self._builder.select(condition, self._value(node.body), self._value(node.orelse))
        blocks = [self.function.append_basic_block(name) for name in ("then", "else", "after")]
        self._builder.cbranch(condition, *blocks[:2])
        found = []
        for block, side in zip(blocks, (node.body, node.orelse), strict=False):
            self._builder.position_at_end(block)
            found.append((self._value(side), self._builder.block))
            self._builder.branch(blocks[2])
        self._builder.position_at_end(blocks[2])
        result = self._builder.phi(found[0][0].type)
        for value, block in found:
            result.add_incoming(value, block)
        return result

    def _read_call(self, node: ast.Call) -> ir.Value:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "empty":
            return self._array(node)
        values = [self._value(argument) for argument in node.args]
        writer = getattr(self, f"_call_{name}", None)
        if writer is not None:
            return writer(*values)
        if name in _FLOAT_FUNCTIONS and values[0].type == DOUBLE:
            kind = ir.FunctionType(DOUBLE, [DOUBLE] * len(values))
            intrinsic = self._library.module.declare_intrinsic(_FLOAT_FUNCTIONS[name], [DOUBLE], kind)
            return self._builder.call(intrinsic, values)
        source = self._globals.get(name)
        if not isinstance(source, FunctionType):
            raise self._refused(node)
        return self._builder.call(self._library.function(source), values)

    def _array(self, node: ast.Call) -> ir.Value:
        """Return an array on the stack, of a size that is a constant of the module."""
        size = self._value(node.args[0])
        return ir.IRBuilder(self._entry).alloca(WORD, size=size)

    # Functions that the language has

    def _call_seldom(self) -> None:
        for attribute in _SELDOM:
            self.function.attributes.add(attribute)

    def _call_float(self, value: ir.Value) -> ir.Value:
        return value if value.type == DOUBLE else self._builder.sitofp(self._call_int(value), DOUBLE)

    def _call_fmod(self, left: ir.Value, right: ir.Value) -> ir.Value:
        return self._builder.frem(left, right)

    def _call_int(self, value: ir.Value) -> ir.Value:
        match value.type:
            case ir.DoubleType():
                return self._builder.fptosi(value, WORD)
            case kind if kind == BOOL:
                return self._builder.zext(value, WORD)
        return value

    def _call_abs(self, value: ir.Value) -> ir.Value:
        if value.type == DOUBLE:
            intrinsic = self._library.module.declare_intrinsic("llvm.fabs", [DOUBLE])
            return self._builder.call(intrinsic, [value])
        negative = self._builder.icmp_signed("<", value, ir.Constant(WORD, 0))
        return self._builder.select(negative, self._builder.neg(value), value)

    def _call_min(self, left: ir.Value, right: ir.Value) -> ir.Value:
        return self._choose("<", left, right)

    def _call_max(self, left: ir.Value, right: ir.Value) -> ir.Value:
        return self._choose(">", left, right)

    def _choose(self, comparison: str, left: ir.Value, right: ir.Value) -> ir.Value:
        compare = self._builder.fcmp_ordered if left.type == DOUBLE else self._builder.icmp_signed
        return self._builder.select(compare(comparison, right, left), right, left)

    def _call_to_bits(self, value: ir.Value) -> ir.Value:
        return self._builder.bitcast(value, WORD)

    def _call_from_bits(self, value: ir.Value) -> ir.Value:
        return self._builder.bitcast(value, DOUBLE)

    def _call_two_product(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """Return the product and its error: fused where the processor has it, as a call of libm would be slower."""
        if not self._library.fused:
            from fasthep_archive.kernels.elementary import primitives

            return self._builder.call(self._library.function(primitives.two_product), [left, right])
        product = self._builder.fmul(left, right)
        error = self._builder.fma(left, right, self._builder.fneg(product))
        pair = ir.Constant(ir.LiteralStructType([DOUBLE, DOUBLE]), ir.Undefined)
        return self._builder.insert_value(self._builder.insert_value(pair, product, 0), error, 1)

    def _refused(self, node: ast.AST) -> LoweringError:
        return LoweringError(f"{self._where}: not in the language: {ast.unparse(node)}")


def _kind(annotation: ast.expr | None) -> ir.Type:
    """Return the type that an annotation stands for."""
    match annotation:
        case ast.Constant(value=None):
            return ir.VoidType()
        case ast.Name(id=name):
            return _TYPES[name]
        case ast.Subscript(slice=ast.Tuple(elts=members)):
            return ir.LiteralStructType([_kind(member) for member in members])
        case _:
            pass
    raise LoweringError(f"no type: {ast.unparse(annotation) if annotation else 'nothing'}")


def _literal(value: bool | float) -> ir.Constant:
    return ir.Constant(_LITERALS[type(value)], value)


def _is_cheap(node: ast.expr) -> bool:
    """Return whether an expression can be computed in any case, wherever its value is not wanted."""
    calls = {ast.unparse(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    return calls <= {"abs", "float64", "int64", "uint64"} and not any(
        isinstance(part, ast.Subscript) for part in ast.walk(node)
    )
