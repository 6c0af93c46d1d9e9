"""Restricted Python to CUDA C: the same text that numba and LLVM make machine code of.

The language is that of :mod:`fasthep_archive.kernels.elementary.lowering`, and what the loops of
:mod:`fasthep_archive.kernels.emit` have beside it. Every operation of doubles is printed as the function that rounds it
by itself (``__dadd_rn``), so that no compiler can make one of two; integers wrap around, through unsigned ones. What
isn't in the tables below is refused.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import FunctionType

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import DataError
from fasthep_archive.kernels.cuda import remainder
from fasthep_archive.kernels.cuda.language import (
    BOOL,
    CALLS,
    COMPARISONS,
    DOUBLE,
    ELEMENTS,
    FMA,
    INT,
    KERNEL,
    KEYS,
    OPERATORS,
    PRELUDE,
    TYPES,
    UNARY,
    VOID,
)
from fasthep_archive.kernels.elementary.restricted import constant_of, definitions


@dataclass(frozen=True, slots=True)
class Text:
    """An expression of CUDA C and its type; that of an array ends in ``*``."""

    text: str
    kind: str


@dataclass(slots=True)
class Library:
    """Functions, tables and types that some text needs, in an order in which they can stand."""

    types: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    _results: dict[str, str] = field(default_factory=dict)
    _sources: dict[str, object] = field(default_factory=dict)

    def text(self) -> str:
        """Return all of it."""
        return "\n".join([PRELUDE, *self.types.values(), *self.tables.values(), *self.functions.values(), ""])

    def function(self, source: Callable[..., object]) -> tuple[str, str]:
        """Return the name and the type of the result of the function that is made of ``source``.

        :raises DataError: if it is not in the language.
        """
        assert isinstance(source, FunctionType), "functions of modules only"
        name = f"fn_{source.__name__}"
        self._known(name, source)
        if name not in self._results:
            module = inspect.getmodule(source)
            assert module is not None, "functions of modules only"
            tree = definitions(module)[source.__name__]
            self._results[name] = self._kind(tree.returns)
            self.functions[name] = self._printed(name, tree, source.__globals__)
        return name, self._results[name]

    def kernel(self, source: FunctionType) -> str:
        """Return a kernel whose thread ``i`` calls a function: as its turn ``i``, or with values ``i`` of columns."""
        name, result = self.function(source)
        kinds = {name: self._kind(annotation) for name, annotation in _annotations(source).items()}
        if result == VOID:
            kinds.pop("i")
            call = f"{name}({', '.join(['i', *kinds])})"
        else:
            kinds = {"out": f"{result} *", **{name: f"const {kind} *" for name, kind in kinds.items()}}
            call = f"out[i] = {name}({', '.join(f'{column}[i]' for column in [*kinds][1:])})"
        listed = ", ".join(f"{kind} {name}" for name, kind in kinds.items())
        return KERNEL.format(name=source.__name__, listed=listed, call=call)

    def _printed(self, name: str, tree: ast.FunctionDef, names: Mapping[str, object]) -> str:
        if name == "fn_two_product":
            return FMA.format(kind=self._results[name])
        parameters = {argument.arg: self._kind(argument.annotation) for argument in tree.args.args}
        body = Body(self, names, parameters, where=tree.name, result=self._results[name])
        body.block(tree.body)
        seldom = any(isinstance(node, ast.Name) and node.id == "seldom" for node in ast.walk(tree))
        listed = ", ".join(f"{kind} {parameter}_" for parameter, kind in parameters.items())
        head = f"{'SELDOM' if seldom else 'INLINE'} {self._results[name]} {name}({listed})"
        return "\n".join([head, "{", *body.lines(), "}"])

    def table(self, name: str, values: NDArray[np.generic]) -> Text:
        """Return the address of a constant array."""
        name = f"table_{name}"
        self._known(name, values)
        kind = DOUBLE if values.dtype == np.float64 else INT
        if name not in self.tables:
            content = ", ".join(literal(value).text for value in values.tolist())
            self.tables[name] = f"TABLE {kind} {name}[{values.size}] = {{{content}}};"
        return Text(f"(({kind} *){name})", f"{kind} *")

    def _known(self, name: str, source: object) -> None:
        """Refuse two functions or tables of one name."""
        if self._sources.setdefault(name, source) is not source:
            raise DataError(f"two modules of kernels have a {name}")

    def _kind(self, annotation: ast.expr | None) -> str:
        """Return the type that an annotation stands for."""
        match annotation:
            case ast.Constant(value=None):
                return VOID
            case ast.Name(id=name) if name in TYPES:
                return TYPES[name]
            case ast.Subscript(slice=ast.Tuple(elts=members)):
                kinds = [self._kind(member) for member in members]
                name = f"Tuple_{''.join(KEYS[kind] for kind in kinds)}"
                listed = " ".join(f"{kind} m{i};" for i, kind in enumerate(kinds))
                self.types[name] = f"struct {name} {{ {listed} }};"
                return name
            case _:
                raise DataError(f"no type: {ast.unparse(annotation) if annotation else 'nothing'}")


class Body:
    """Prints statements. A variable has the type of what it is first given."""

    def __init__(
        self, library: Library, names: Mapping[str, object], parameters: Mapping[str, str], *, where: str, result: str
    ) -> None:
        self._library = library
        self._names = names
        self._where = where
        self._result = result
        self._kinds = dict(parameters)
        self._declared: dict[str, str] = {}
        self._lines: list[str] = []
        self._depth = 1

    def lines(self) -> list[str]:
        """Return the declarations and statements."""
        return [*(f"    {declaration}" for declaration in self._declared.values()), *self._lines]

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Print statements.

        :raises DataError: if one is not in the language.
        """
        for statement in statements:
            writer = getattr(self, f"_write_{type(statement).__name__.lower()}", None)
            if writer is None:
                raise self._refused(statement)
            writer(statement)

    def line(self, text: str) -> None:
        """Print a statement of CUDA C."""
        self._lines.append("    " * self._depth + text)

    def nested(self, head: str, statements: Sequence[ast.stmt]) -> None:
        """Print ``head`` and a block in braces."""
        self.line(f"{head} {{")
        self._depth += 1
        self.block(statements)
        self._depth -= 1
        self.line("}")

    # Statements

    def _write_pass(self, _: ast.Pass) -> None:
        pass

    def _write_expr(self, statement: ast.Expr) -> None:
        if not isinstance(statement.value, ast.Constant):  # a docstring
            self.line(f"{self.value(statement.value).text};")

    def _write_return(self, statement: ast.Return) -> None:
        assert statement.value is not None, "functions without a result end at their end"
        if isinstance(statement.value, ast.Tuple):
            members = ", ".join(self.value(member).text for member in statement.value.elts)
            self.line(f"return {self._result}{{{members}}};")
        else:
            value = self.value(statement.value)
            if value.kind != self._result:
                raise self._refused(statement)
            self.line(f"return {value.text};")

    def _write_assign(self, statement: ast.Assign) -> None:
        (target,) = statement.targets
        value = self.value(statement.value)
        if not isinstance(target, ast.Tuple):
            self._store(target, value)
            return
        result = self._declare(f"tuple{len(self._declared)}", value.kind)
        self.line(f"{result} = {value.text};")
        for i, (member, key) in enumerate(zip(target.elts, value.kind.removeprefix("Tuple_"), strict=True)):
            kind = next(kind for kind, known in KEYS.items() if known == key)
            self._store(member, Text(f"{result}.m{i}", kind))

    def _write_augassign(self, statement: ast.AugAssign) -> None:
        old, new = self.value(statement.target), self.value(statement.value)
        self._store(statement.target, self._operate(statement, statement.op, old, new))

    def _write_if(self, statement: ast.If) -> None:
        self.nested(f"if ({self._condition(statement.test)})", statement.body)
        if statement.orelse:
            self.nested("else", statement.orelse)

    def _write_while(self, statement: ast.While) -> None:
        self.nested(f"while ({self._condition(statement.test)})", statement.body)

    def _write_for(self, statement: ast.For) -> None:
        call, target = statement.iter, statement.target
        if not (isinstance(target, ast.Name) and isinstance(call, ast.Call) and ast.unparse(call.func) == "range"):
            raise self._refused(statement)
        *start, stop = (self.value(argument).text for argument in call.args)
        end = self._declare(f"end{len(self._declared)}", INT)
        self.line(f"{end} = {stop};")
        name = "_" if target.id == "_" else target.id
        counter = self._assigned(name, INT)
        self.nested(f"for ({counter} = {start[0] if start else '0'}; {counter} < {end}; {counter}++)", statement.body)

    # Variables

    def _declare(self, name: str, kind: str) -> str:
        """Return a variable that no text of the language has."""
        self._declared[name] = f"{kind} {name};"
        return name

    def _assigned(self, name: str, kind: str) -> str:
        """Return the variable ``name``, which is about to be given a value."""
        if name not in self._kinds:
            self._kinds[name] = kind
            self._declared[f"{name}_"] = f"{kind} {name}_;"
        if self._kinds[name] != kind:
            raise DataError(f"{self._where}: {name} changes its type from {self._kinds[name]} to {kind}")
        return f"{name}_"

    def _store(self, target: ast.expr, value: Text) -> None:
        match target:
            case ast.Name(id="_"):
                pass
            case ast.Name(id=name) if value.kind.endswith("]"):
                self._kinds[name] = "Int *"
                self._declared[f"{name}_"] = f"Int {name}_{value.kind};"
            case ast.Name(id=name):
                self.line(f"{self._assigned(name, value.kind)} = {value.text};")
            case ast.Subscript():
                self.line(f"{self._place(target)[0]} = {value.text};")
            case _:
                raise self._refused(target)

    def _place(self, subscript: ast.Subscript) -> tuple[str, str]:
        """Return an element of an array, and the type that the array says it has."""
        array, index = self.value(subscript.value), self.value(subscript.slice)
        if not array.kind.endswith("*") or index.kind != INT:
            raise self._refused(subscript)
        return f"{array.text}[{index.text}]", array.kind.removeprefix("const ").removesuffix(" *")

    # Expressions

    def _condition(self, node: ast.expr) -> str:
        value = self.value(node)
        if value.kind not in {BOOL, INT}:
            raise self._refused(node)
        return value.text if value.kind == BOOL else f"({value.text} != 0)"

    def value(self, node: ast.expr) -> Text:
        """Return an expression.

        :raises DataError: if it is not in the language.
        """
        constant = constant_of(node)
        if constant is not None:
            return literal(constant)
        reader = getattr(self, f"_read_{type(node).__name__.lower()}", None)
        if reader is None:
            raise self._refused(node)
        found: Text = reader(node)
        return found

    def _read_name(self, node: ast.Name) -> Text:
        if node.id in self._kinds:
            return Text(f"{node.id}_", self._kinds[node.id])
        value = self._names.get(node.id)
        if isinstance(value, np.ndarray):
            return self._library.table(node.id, value)
        if isinstance(value, (bool, int, float)):
            return literal(value)
        raise self._refused(node)

    def _read_attribute(self, node: ast.Attribute) -> Text:
        """Return ``math.inf``, ``math.nan`` or the size of a table."""
        assert isinstance(node.value, ast.Name), "attributes of names only"
        value = getattr(self._names.get(node.value.id), node.attr, None)
        if not isinstance(value, (int, float)):
            raise self._refused(node)
        return literal(value)

    def _read_subscript(self, node: ast.Subscript) -> Text:
        place, element = self._place(node)
        kind, template = ELEMENTS[element]
        return Text(template.format(place), kind)

    def _read_unaryop(self, node: ast.UnaryOp) -> Text:
        value = self.value(node.operand)
        template = UNARY.get((type(node.op), value.kind))
        if template is None:
            raise self._refused(node)
        return Text(template.format(value.text), value.kind)

    def _read_binop(self, node: ast.BinOp) -> Text:
        return self._operate(node, node.op, self.value(node.left), self.value(node.right))

    def _operate(self, node: ast.AST, operator: ast.operator, left: Text, right: Text) -> Text:
        template = OPERATORS.get((type(operator), left.kind))
        if template is None or left.kind != right.kind:
            raise self._refused(node)
        return Text(template.format(left.text, right.text), left.kind)

    def _read_compare(self, node: ast.Compare) -> Text:
        values = [self.value(operand) for operand in (node.left, *node.comparators)]
        found = []
        for pair, operator in zip(pairwise(values), node.ops, strict=True):
            if DOUBLE in {value.kind for value in pair}:
                first, second = (CALLS["float64", (value.kind,)][1].format(value.text) for value in pair)
            else:
                first, second = (value.text for value in pair)
            found.append(f"({first} {COMPARISONS[type(operator)]} {second})")
        return Text(found[0] if len(found) == 1 else f"({' && '.join(found)})", BOOL)

    def _read_boolop(self, node: ast.BoolOp) -> Text:
        joint = " && " if isinstance(node.op, ast.And) else " || "
        return Text(f"({joint.join(map(self._condition, node.values))})", BOOL)

    def _read_ifexp(self, node: ast.IfExp) -> Text:
        first, second = self.value(node.body), self.value(node.orelse)
        if first.kind != second.kind:
            raise self._refused(node)
        return Text(f"({self._condition(node.test)} ? {first.text} : {second.text})", first.kind)

    def _read_call(self, node: ast.Call) -> Text:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "empty":
            return Text("", f"[{self.value(node.args[0]).text}]")
        values = [self.value(argument) for argument in node.args]
        known = CALLS.get((name, tuple(value.kind for value in values)))
        if known is not None:
            return Text(known[1].format(*(value.text for value in values)), known[0])
        source = remainder.rest if name == "fmod" else self._names.get(name)
        if not isinstance(source, FunctionType):
            raise self._refused(node)
        function, kind = self._library.function(source)
        return Text(f"{function}({', '.join(value.text for value in values)})", kind)

    def _refused(self, node: ast.AST) -> DataError:
        return DataError(f"{self._where}: CUDA has no {ast.unparse(node)}")


def _annotations(source: FunctionType) -> Mapping[str, ast.expr | None]:
    """Return the annotations of a function's parameters."""
    module = inspect.getmodule(source)
    assert module is not None, "functions of modules only"
    return {argument.arg: argument.annotation for argument in definitions(module)[source.__name__].args.args}


def literal(value: bool | float) -> Text:
    """Return a constant, with exactly its bits; a NaN is the quiet one."""
    match value:
        case bool():
            return Text("true" if value else "false", BOOL)
        case int() if value == -(2**63):
            return Text("(-0x7FFFFFFFFFFFFFFFLL - 1)", INT)
        case int():
            return Text(f"({value}LL)" if value < 0 else f"{value}LL", INT)
        case float() if math.isfinite(value):
            return Text(f"({value.hex()})" if math.copysign(1.0, value) < 0 else value.hex(), DOUBLE)
        case float():
            word = 0x7FF8 << 48 if math.isnan(value) else (0x7FF0 if value > 0 else 0xFFF0) << 48
            return Text(f"from_bits((Int)0x{word:016X}ULL)", DOUBLE)
    raise TypeError(f"no literal: {value!r}")
