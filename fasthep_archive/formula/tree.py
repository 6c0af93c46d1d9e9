"""A formula as a tree of frozen nodes, and the walks over it.

Every walk runs on a stack of its own: the depth of a formula is bounded by :data:`DEPTH`, never by Python's recursion
limit.
Nodes compare by identity; two formulas are the same when their :func:`canonical` texts are.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from fasthep_archive.formula.functions import FUNCTIONS, Function

DEPTH = 1000
"""How many levels a formula can have: a sum of this many terms. Python's own parser gives up at 2 to 3 thousand,
depending on its version; a limit of ours makes a formula valid everywhere or nowhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A number, a truth value or a text."""

    value: bool | int | float | str
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A name: a column, a variable, a global, a constant."""

    name: str
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """``base.name`` or ``base['name']``."""

    base: Name | Member
    name: str
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Apply:
    """A function or operator, by canonical name, on its arguments; or one that is not ours, by its name."""

    function: str
    arguments: tuple[Node, ...]
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Compare:
    """One comparison or a chain of them: ``operands[0] operators[0] operands[1] operators[1] operands[2]`` ..."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]
    column: int


Node: TypeAlias = Constant | Name | Member | Apply | Compare

_N = TypeVar("_N")
_R = TypeVar("_R")


class TooDeepError(Exception):
    """A tree has more than :data:`DEPTH` levels."""


def walk(root: _N, step: Callable[[_N], Generator[_N, _R, _R]]) -> _R:
    """Return ``step``'s result for ``root``, where ``step`` yields a child to get the child's result.

    >>> def depth(node):
    ...     deepest = 0
    ...     for child in node:
    ...         deepest = max(deepest, (yield child))
    ...     return deepest + 1
    >>> walk([[], [[]]], depth)
    3
    """
    stack = [step(root)]
    result: _R | None = None
    failure: Exception | None = None
    while stack:
        try:
            child = stack[-1].throw(failure) if failure else stack[-1].send(result)  # type: ignore[arg-type]  # none starts
        except StopIteration as stop:
            stack.pop()
            result, failure = stop.value, None
        except Exception as error:  # the step above may catch it, as if it had called the one below
            stack.pop()
            if not stack:
                raise
            failure = error
        else:
            if len(stack) >= DEPTH:
                raise TooDeepError
            stack.append(step(child))
            result = failure = None
    return result  # type: ignore[return-value]  # the last step has returned


def canonical(node: Node) -> str:
    """Return the one text that stands for the formula: every operation in parentheses, one name per function.

    >>> from fasthep_archive.formula.parse import parse
    >>> canonical(parse("-x**2 + atan2(y, 1.0e1) if !b else globals['x']"))
    'where((not b), ((-(x ** 2)) + arctan2(y, 10.0)), globals.x)'
    """
    return walk(node, _text)


def names(node: Node) -> frozenset[str]:
    """Return the names in the formula, members with their path (``globals.x``), functions not.

    >>> from fasthep_archive.formula.parse import parse
    >>> sorted(names(parse("sqrt(Muon_Pt) * dataset['meta']['xs'] + pi")))
    ['Muon_Pt', 'dataset.meta.xs', 'pi']
    """
    return frozenset(places(node))


def places(node: Node) -> Mapping[str, int]:
    """Return the column at which each name stands first in the formula; names as :func:`names` has them.

    >>> from fasthep_archive.formula.parse import parse
    >>> places(parse("sqrt(x) * e + x"))["x"]
    5
    """
    found: dict[str, int] = {}
    waiting = [node]
    while waiting:
        match waiting.pop():
            case Name() | Member() as name:
                known = ".".join(path(name))
                found[known] = min(name.column, found.get(known, name.column))
            case Apply(arguments=children) | Compare(operands=children):
                waiting.extend(children)
            case Constant():
                pass
    return found


def path(node: Name | Member) -> tuple[str, ...]:
    """Return the parts of a dotted name: ``a.b['c']`` is ``("a", "b", "c")``."""
    parts: list[str] = []
    while isinstance(node, Member):
        parts.append(node.name)
        node = node.base
    return (node.name, *reversed(parts))


def _text(node: Node) -> Generator[Node, str, str]:
    match node:
        case Constant(value=value):
            negative = isinstance(value, (int, float)) and str(value).startswith("-")
            return f"({value!r})" if negative else repr(value)
        case Name() | Member():
            first, *members = path(node)
            return first + "".join(_member(name) for name in members)
        case Compare(operators=operators, operands=operands):
            text = yield operands[0]
            for operator, operand in zip(operators, operands[1:], strict=True):
                text += f" {operator} {yield operand}"
            return f"({text})"
        case Apply(function=function, arguments=arguments):
            texts = []
            for argument in arguments:
                texts.append((yield argument))  # noqa: PERF401 - a comprehension can't yield
            return _applied(function, texts)


def _member(name: str) -> str:
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return f".{name}" if plain else f"[{name!r}]"


def _applied(name: str, arguments: list[str]) -> str:
    function = FUNCTIONS.get(name)
    if function is None:
        return f"{name}({', '.join(arguments)})"
    if function.symbol is None:
        return f"{function.calls[0]}({', '.join(_given(function, arguments))})"
    if name == "filter":
        return f"{arguments[0]}[{arguments[1]}]"
    if name == "in":
        return f"({arguments[0]} in ({', '.join(arguments[1:])},))"
    if len(arguments) == 1:
        space = " " if name == "not" else ""
        return f"({function.symbol}{space}{arguments[0]})"
    return f"({f' {function.symbol} '.join(arguments)})"


def _given(function: Function, arguments: list[str]) -> Iterator[str]:
    """Yield the arguments, by keyword after a parameter that is accepted and dropped."""
    by_keyword, given = False, iter(arguments)
    for parameter in function.parameters:
        if parameter.values:
            by_keyword = True
            continue
        argument = next(given, None)
        if argument is not None:
            yield f"{parameter.name}={argument}" if by_keyword else argument
