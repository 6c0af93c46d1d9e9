"""Text to tree: what a formula can say, and a pointed answer to what it can't.

Python's own parser reads the text (:func:`ast.parse`); nothing is evaluated. What it returns becomes our own nodes, or
is refused with the column in the user's text and a hint.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from types import MappingProxyType
from typing import TypeAlias

from fasthep_archive.errors import FormulaError, nearest
from fasthep_archive.formula.functions import CALLS, Function
from fasthep_archive.formula.scan import Scanned, scan
from fasthep_archive.formula.tree import (
    DEPTH,
    Apply,
    Compare,
    Constant,
    Member,
    Name,
    Node,
    TooDeepError,
    canonical,
    names,
    walk,
)
from fasthep_archive.formula.unspeakable import RULE

__all__ = ["Node", "canonical", "names", "parse"]

_Steps: TypeAlias = Generator[ast.expr, Node, Node]

_BINARY: Mapping[type[ast.operator], str] = MappingProxyType(
    {
        ast.Add: "add",
        ast.Sub: "subtract",
        ast.Mult: "multiply",
        ast.Div: "divide",
        ast.FloorDiv: "floor_divide",
        ast.Mod: "remainder",
        ast.Pow: "power",
        ast.BitAnd: "bit_and",
        ast.BitOr: "bit_or",
        ast.BitXor: "bit_xor",
        ast.LShift: "left_shift",
        ast.RShift: "right_shift",
    }
)
_UNARY: Mapping[type[ast.unaryop], str] = MappingProxyType(
    {ast.USub: "negative", ast.UAdd: "positive", ast.Invert: "invert", ast.Not: "not"}
)
_COMPARED: Mapping[type[ast.cmpop], str] = MappingProxyType(
    {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
)

_TOO_DEEP = "the formula is nested too deeply"
_SPLIT = "split it into several variables"

_REFUSED: Mapping[type[ast.AST], tuple[str, str | None]] = MappingProxyType(
    {
        ast.Lambda: ("formulas have no functions of their own", "define a variable for each step"),
        ast.ListComp: ("formulas have no comprehensions", "columns are computed for all values at once"),
        ast.SetComp: ("formulas have no comprehensions", "columns are computed for all values at once"),
        ast.DictComp: ("formulas have no comprehensions", "columns are computed for all values at once"),
        ast.GeneratorExp: ("formulas have no comprehensions", "columns are computed for all values at once"),
        ast.NamedExpr: ("formulas can't assign names", "define a variable of its own"),
        ast.JoinedStr: ("formulas have no f-strings", None),
        ast.Starred: ("formulas have no *", None),
        ast.Dict: ("formulas have no dictionaries", None),
        ast.Set: ("formulas have no sets", "write x in (1, 2, 3)"),
        ast.List: ("a list can only stand after 'in'", "write x in (1, 2, 3)"),
        ast.Tuple: ("several values can only stand after 'in'", "write x in (1, 2, 3)"),
        ast.Await: ("formulas have no await", None),
        ast.Yield: ("formulas have no yield", None),
        ast.YieldFrom: ("formulas have no yield", None),
        ast.Slice: ("formulas have no slices", "nth(x, 0) is the first value of each event"),
    }
)

_C_HABITS = (
    ("=", "two equals signs compare: a == b"),
    ("::", "functions are called by their bare name: sqrt(x)"),
    (";", "a formula is one expression"),
)

_WORD = re.compile(r"[^\W\d]\w*", re.ASCII)
_OPERATORS = ("and", "or", "not", "in", "if", "else")


def parse(text: str, functions: Collection[str] = ()) -> Node:
    """Return the checked tree of ``text``; columns count characters of ``text`` from 0.

    :param functions: names of functions that are not ours, which can be called as well.
    :raises FormulaError: if ``text`` is not a formula; names are not looked up here.

    >>> canonical(parse("nMuon >= 2 && Muon_Pt[0.1 < Muon_Iso] > 20"))
    '((nMuon >= 2) and (Muon_Pt[(0.1 < Muon_Iso)] > 20))'
    """
    scanned = scan(text)
    if not scanned.python.strip():
        raise FormulaError("the formula is empty")
    try:
        tree = ast.parse(scanned.python, mode="eval").body
        return walk(tree, _Converter(scanned, functions).node)
    except SyntaxError as error:
        raise _unreadable(error, scanned) from None
    except (TooDeepError, RecursionError, MemoryError):
        raise FormulaError(_TOO_DEEP, hint=f"at most {DEPTH} levels; {_SPLIT}") from None


def _unreadable(error: SyntaxError, scanned: Scanned) -> FormulaError:
    """Return the error for text that Python's grammar does not accept."""
    if "too many nested" in error.msg:
        return FormulaError(_TOO_DEEP, hint=_SPLIT)
    if not error.offset or error.offset > len(scanned.python):
        return FormulaError(
            "the formula ends too early", column=scanned.columns[-1], hint="something is missing at the end"
        )
    start = len(scanned.python[: error.offset - 1].encode())
    rest = scanned.python[error.offset - 1 :]
    hint = next((hint for sign, hint in _C_HABITS if rest.startswith(sign)), None) or _of_names(
        scanned, error.offset - 1
    )
    message = "can't read this" if hint or error.msg.startswith("invalid syntax") else error.msg
    return FormulaError(message, column=scanned.columns[start], hint=hint)


def _of_names(scanned: Scanned, place: int) -> str | None:
    """Return the hint for a word of Python's, or a name right behind another; none for anything else."""
    word = _WORD.match(scanned.python, place)
    if word is None or word[0] in _OPERATORS:
        return None
    if iskeyword(word[0]):
        return f"{word[0]!r} is a word of Python's; {RULE}"
    beside = _WORD.search(scanned.python[:place].rstrip()[-1:]) is not None
    return f"an operator is missing, as names have no spaces: {RULE}" if beside else None


@dataclass(frozen=True, slots=True)
class _Converter:
    """Python's nodes to ours. Each method yields the nodes below to get them converted."""

    scanned: Scanned
    functions: Collection[str] = ()

    def column(self, node: ast.expr | ast.keyword) -> int:
        """Return where ``node`` begins in the user's text."""
        return self.scanned.columns[node.col_offset]

    def refuse(self, node: ast.expr | ast.keyword, message: str, hint: str | None = None) -> FormulaError:
        """Return the error at ``node``."""
        return FormulaError(message, column=self.column(node), hint=hint)

    def opened(self, node: ast.expr, after: int) -> bool:
        """Return whether a parenthesis opens between the byte ``after`` and ``node``."""
        return b"(" in self.scanned.python.encode()[after : node.col_offset]

    def node(self, node: ast.expr) -> _Steps:  # noqa: PLR0911 - one per kind of node
        """Convert any node."""
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name():
                return Name(node.id, self.column(node))
            case ast.Attribute():
                return self.member(node, (yield node.value), node.attr)
            case ast.Subscript():
                return (yield from self.subscript(node))
            case ast.UnaryOp():
                return (yield from self.unary(node))
            case ast.BinOp(op=ast.MatMult()):
                raise self.refuse(node, "formulas have no @")
            case ast.BinOp():
                return (yield from self.applied(node, _BINARY[type(node.op)], [node.left, node.right]))
            case ast.BoolOp():
                return (yield from self.applied(node, "and" if isinstance(node.op, ast.And) else "or", node.values))
            case ast.Compare():
                return (yield from self.comparison(node))
            case ast.IfExp():
                return (yield from self.applied(node, "where", [node.test, node.body, node.orelse]))
            case ast.Call():
                return (yield from self.call(node))
            case _:
                raise self.refuse(node, *_REFUSED.get(type(node), (f"formulas have no {type(node).__name__}", None)))

    def applied(self, node: ast.expr, function: str, arguments: Sequence[ast.expr]) -> _Steps:
        """Convert the arguments and apply the function to them."""
        converted = []
        for argument in arguments:
            converted.append((yield argument))  # noqa: PERF401 - a comprehension can't yield
        return Apply(function, tuple(converted), self.column(node))

    def constant(self, node: ast.Constant, sign: int = 1) -> Constant:
        """Convert a literal with the sign before it."""
        value = node.value
        if value is None:
            raise self.refuse(node, "formulas have no None", "fill_none(x, value) replaces missing values")
        if not isinstance(value, (bool, int, float, str)):
            raise self.refuse(node, f"formulas have no {type(value).__name__} values")
        if isinstance(value, float) and math.isinf(value):
            raise self.refuse(node, "the number is too large for a float64", "the infinite number is written inf")
        if isinstance(value, (bool, str)):
            return Constant(value, self.column(node))
        if isinstance(value, int) and not -(2**63) <= sign * value < 2**63:
            raise self.refuse(node, "the integer is too large for an int64", "write it with a decimal point")
        return Constant(sign * value, self.column(node))

    def member(self, node: ast.expr, base: Node, name: str) -> Member:
        """Return ``base.name`` or ``base['name']``."""
        if not isinstance(base, (Name, Member)):
            raise self.refuse(node, f"only names have members, so {name!r} means nothing here")
        return Member(base, name, self.column(node))

    def subscript(self, node: ast.Subscript) -> _Steps:
        """Convert ``name['member']`` or ``x[mask]``."""
        index = node.slice
        number = index.operand if isinstance(index, ast.UnaryOp) else index
        if isinstance(index, ast.Constant) and isinstance(index.value, str):
            return self.member(node, (yield node.value), index.value)
        if isinstance(index, (ast.Slice, ast.Tuple)) or (
            isinstance(number, ast.Constant) and type(number.value) is int
        ):
            raise self.refuse(
                index, "formulas have no positions or slices in brackets", "nth(x, 0) is the first value of each event"
            )
        return (yield from self.applied(node, "filter", [node.value, index]))

    def unary(self, node: ast.UnaryOp) -> _Steps:
        """Convert an operator before its operand; the sign of a number belongs to the number."""
        function, operand = _UNARY[type(node.op)], node.operand
        if (
            function in {"negative", "positive"}
            and isinstance(operand, ast.Constant)
            and type(operand.value) in {int, float}
        ):
            literal = self.constant(operand, -1 if function == "negative" else 1)
            return Constant(literal.value, self.column(node))
        if function == "invert" and node.col_offset in self.scanned.negations:
            function = "not"
            if (
                isinstance(operand, ast.BinOp)
                and isinstance(operand.op, ast.Pow)
                and not self.opened(operand, node.col_offset)
            ):
                raise self.refuse(node, "it is not clear what the ! belongs to", "write !(x ** y) or (!x) ** y")
        return (yield from self.applied(node, function, [operand]))

    def comparison(self, node: ast.Compare) -> _Steps:
        """Convert a comparison, a chain of them, or ``in``."""
        self.refuse_ambiguous(node)
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and len(node.ops) == 1:
            choices = node.comparators[0]
            if not isinstance(choices, (ast.Tuple, ast.List)) or not choices.elts:
                raise self.refuse(
                    choices, "after 'in' come the possible values", "write x in (1, 2, 3), for one value x == 1"
                )
            found = yield from self.applied(node, "in", [node.left, *choices.elts])
            return found if isinstance(node.ops[0], ast.In) else Apply("not", (found,), self.column(node))
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            if type(operator) not in _COMPARED:
                raise self.refuse(operand, "formulas compare with == != < <= > >=, and 'in' stands alone")
        operands = []
        for operand in (node.left, *node.comparators):
            operands.append((yield operand))  # noqa: PERF401 - a comprehension can't yield
        return Compare(tuple(_COMPARED[type(operator)] for operator in node.ops), tuple(operands), self.column(node))

    def refuse_ambiguous(self, node: ast.Compare) -> None:
        """Refuse what C and Python, or two readers, take for different things.

        ``!a == b`` is ``(!a) == b`` in C and reads like ``not a == b``. ``a > 5 & b < 3`` is a chain around ``5 & b``
        in Python; today's FAST-HEP can't compute chains, so no document means that.
        """
        after = node.col_offset
        operands = (node.left, *node.comparators)
        for operand in operands:
            bare = not self.opened(operand, after)
            if (
                bare
                and operand.col_offset in self.scanned.negations
                and isinstance(operand, ast.UnaryOp)
                and operand is not operands[-1]
            ):
                raise self.refuse(operand, "it is not clear what the ! belongs to", "write !(a == b) or (!a) == b")
            bits = isinstance(operand, ast.BinOp) and isinstance(operand.op, (ast.BitAnd, ast.BitOr, ast.BitXor))
            if bare and bits and len(node.ops) > 1:
                raise self.refuse(
                    operand, "& and | bind more tightly than comparisons", "write (a > 5) & (b < 3), or a > 5 && b < 3"
                )
            after = operand.end_col_offset or after

    def call(self, node: ast.Call) -> _Steps:
        """Convert a call of a known function, its arguments in the order of the function's parameters."""
        if not isinstance(node.func, ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else "sqrt"
            raise self.refuse(node.func, "only functions can be called", f"functions have bare names: {name}(x)")
        function = CALLS.get(node.func.id)
        if function is None and node.func.id in self.functions:
            if node.keywords or not node.args:
                raise self.refuse(node, f"{node.func.id} takes arguments without names", f"write {node.func.id}(x)")
            return (yield from self.applied(node, node.func.id, node.args))
        if function is None:
            hint = nearest(node.func.id, [*CALLS, *self.functions])
            raise self.refuse(node.func, f"unknown function {node.func.id!r}", hint)
        return (yield from self.applied(node, function.name, self.bound(node, function)))

    def bound(self, node: ast.Call, function: Function) -> list[ast.expr]:
        """Return the arguments in the order of the parameters, those that have one meaning only checked and dropped."""
        parameters = {parameter.name: parameter for parameter in function.parameters}
        called = function.calls[0]
        if len(node.args) > len(parameters):
            extra = node.args[len(parameters)]
            raise self.refuse(extra, f"{called} takes {_arity(function)}, not {len(node.args)}", function.hint)
        given: dict[str, ast.expr] = dict(zip(parameters, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg not in parameters:
                known = nearest(keyword.arg or "", parameters) or f"its parameters are {', '.join(parameters)}"
                raise self.refuse(keyword, f"{called} has no parameter {keyword.arg or '**'!r}", known)
            if keyword.arg in given:
                raise self.refuse(keyword, f"{called} is given {keyword.arg!r} twice")
            given[keyword.arg] = keyword.value
        for name, parameter in parameters.items():
            if parameter.required and name not in given:
                raise self.refuse(node, f"{called} takes {_arity(function)}: {name!r} is missing", function.hint)
            if parameter.values and name in given and _literal(given.pop(name)) not in parameter.values:
                raise self.refuse(
                    node, f"{called} works on the values of each event: {name} can only be {parameter.values[0]}"
                )
        return [given[name] for name in parameters if name in given]


def _literal(node: ast.expr) -> int | None:
    """Return the integer that ``node`` spells, or none."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        return None if value is None else -value
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _arity(function: Function) -> str:
    """Return the number of arguments in words."""
    most = len([parameter for parameter in function.parameters if not parameter.values])
    number = f"{function.least}" if function.least == most else f"{function.least} to {most}"
    return f"{number} argument{'' if number == '1' else 's'}"
