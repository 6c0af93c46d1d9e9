"""Formula trees to values: names are looked up, texts compared, and the type rules applied, with errors that point."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from fasthep_archive.errors import DataError, FormulaError, nearest
from fasthep_archive.formula.functions import CALLS, CONSTANTS, FUNCTIONS, function
from fasthep_archive.formula.tree import Apply, Compare, Constant, Member, Name, Node, path, walk
from fasthep_archive.kernels import rules
from fasthep_archive.kernels.instructions import Instructions, Misuse, Value

Named: TypeAlias = "Value | str | bool | int | float | Mapping[str, Named]"
"""What a name can stand for: a value, a text, a number, or a group of names."""

_Steps: TypeAlias = Generator[Node, "Value | str", "Value | str"]


class UnknownName(FormulaError):
    """A name stands for nothing."""


def value(
    instructions: Instructions, node: Node, scope: Mapping[str, Named], call: Callable[[str, Sequence[Value]], Value]
) -> Value:
    """Return what the formula ``node`` stands for, with its names looked up in ``scope``.

    :param call: returns what a function that is not ours returns.
    :raises FormulaError: if a name is unknown or the types don't fit, with the column in the formula.
    """
    result = walk(node, _Formula(instructions, scope, call).node)
    if isinstance(result, str):
        raise FormulaError("this is a text, and a formula gives numbers", column=node.column, hint=_COMPARE)
    return result


_COMPARE = "texts can be compared: dataset_name == 'data'"


@dataclass(frozen=True, slots=True)
class _Formula:
    """One formula. Each method yields the nodes below to get what they stand for."""

    instructions: Instructions
    scope: Mapping[str, Named]
    call: Callable[[str, Sequence[Value]], Value]

    def node(self, node: Node) -> _Steps:
        """Return what any node stands for."""
        match node:
            case Constant():
                return node.value if isinstance(node.value, str) else self.constant(node.value)
            case Name() | Member():
                return self.named(node)
            case Compare():
                return (yield from self.comparison(node))
            case Apply(function="where"):
                return (yield from self.choice(node))
            case Apply(function="in"):
                return (yield from self.contained(node))
            case Apply():
                arguments = []
                for argument in node.arguments:
                    arguments.append((yield argument))  # noqa: PERF401 - a comprehension can't yield
                return self.applied(node.function, arguments, node, node.arguments)
            case _:
                assert_never(node)

    def applied(self, name: str, arguments: list[Value | str], node: Node, nodes: tuple[Node, ...]) -> Value:
        """Return the function ``name`` of ``arguments``; an error points at the argument to blame."""
        values = [argument for argument in arguments if not isinstance(argument, str)]
        if len(values) < len(arguments):
            position = next(index for index, argument in enumerate(arguments) if isinstance(argument, str))
            raise FormulaError("a text can't be used here", column=nodes[position].column, hint=_COMPARE)
        try:
            if name not in FUNCTIONS:
                return self.call(name, values)
            return rules.apply(self.instructions, FUNCTIONS[name], values)
        except Misuse as misuse:
            blamed = node if misuse.argument is None else nodes[misuse.argument]
            raise FormulaError(misuse.message, column=blamed.column, hint=misuse.hint) from None

    def comparison(self, node: Compare) -> _Steps:
        """Return a chain of comparisons: all of them hold, each operand is computed once."""
        left = yield node.operands[0]
        result: Value | None = None
        for index, symbol in enumerate(node.operators):
            nodes = node.operands[index : index + 2]
            right = yield nodes[1]
            holds = self.compared(symbol, left, right, node, nodes)
            result = holds if result is None else self.applied("and", [result, holds], node, (node, nodes[1]))
            left = right
        assert result is not None, "a comparison has an operator"
        return result

    def compared(
        self, symbol: str, left: Value | str, right: Value | str, node: Node, nodes: tuple[Node, ...]
    ) -> Value:
        """Return one comparison; of two texts it is known here."""
        if isinstance(left, str) and isinstance(right, str):
            if symbol not in {"==", "!="}:
                raise FormulaError("texts can only be equal or different", column=node.column, hint=_COMPARE)
            return self.constant((left == right) is (symbol == "=="))
        if isinstance(left, str) or isinstance(right, str):
            text = nodes[0] if isinstance(left, str) else nodes[1]
            raise FormulaError("a text can only be compared with a text", column=text.column, hint=_COMPARE)
        operator = function(symbol, 2)
        assert operator is not None, "the parser knows the same operators"
        return self.applied(operator.name, [left, right], node, nodes)

    def contained(self, node: Apply) -> _Steps:
        """Return ``x in (a, b)``; of texts it is known here."""
        arguments = []
        for argument in node.arguments:
            arguments.append((yield argument))  # noqa: PERF401 - a comprehension can't yield
        if all(isinstance(argument, str) for argument in arguments):
            return self.constant(arguments[0] in arguments[1:])
        return self.applied(node.function, arguments, node, node.arguments)

    def choice(self, node: Apply) -> _Steps:
        """Return ``where``. If the condition is a constant, the other side may use names that don't exist.

        ``EventWeight if dataset_eventtype == 'mc' else 1.0`` reads no weights from data, which have none. The other
        side still decides about the type of the result where it can, so that the type is the same for all datasets.
        """
        condition = yield node.arguments[0]
        known = None if isinstance(condition, str) else self.instructions.literal(condition.number)
        if known is None:
            sides = [(yield node.arguments[1]), (yield node.arguments[2])]
            return self.applied("where", [condition, *sides], node, node.arguments)
        chosen, other = (1, 2) if known else (2, 1)
        side = yield node.arguments[chosen]
        try:
            unused = yield node.arguments[other]
        except UnknownName:
            return side
        if isinstance(side, str) or isinstance(unused, str):
            return side
        return self.applied("where", [condition, *((side, unused) if known else (unused, side))], node, node.arguments)

    def constant(self, number: bool | float) -> Value:
        """Return a number or truth value that is known."""
        return self.instructions.value(self.instructions.constant(number))

    # Names

    def named(self, node: Name | Member) -> Value | str:
        """Return what a plain or dotted name stands for."""
        parts = path(node)
        try:
            found = self.found(parts)
        except (DataError, FormulaError) as error:
            raise FormulaError(error.message, column=node.column, hint=error.hint) from error
        if isinstance(found, (bool, int, float)):
            return self.constant(found)
        if isinstance(found, (Value, str)):
            return found
        name = ".".join(parts)
        if isinstance(found, Mapping):
            members = ", ".join(f"{name}.{member}" for member in list(found)[:3])
            raise FormulaError(
                f"{name!r} is a group of names", column=node.column, hint=f"write one of its members: {members}"
            )
        raise UnknownName(f"unknown name {name!r}", column=node.column, hint=self.hint(parts))

    def found(self, parts: tuple[str, ...]) -> Named | None:
        """Return what ``parts`` stand for: members of groups, names with dots in them, constants; none if nothing."""
        for size in range(1, len(parts) + 1):
            name = ".".join(parts[:size])
            found = _get(self.scope, name) if size == len(parts) else _group(self.scope, name)
            for part in parts[size:]:
                found = _get(found, part) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return CONSTANTS.get(parts[0]) if len(parts) == 1 else None

    def hint(self, parts: tuple[str, ...]) -> str | None:
        """Return what may have been meant by an unknown name."""
        group = _group(self.scope, parts[0])
        for size in range(1, len(parts)):
            name, member = ".".join(parts[:size]), parts[size]
            if not isinstance(group, Mapping):
                near = nearest(".".join(parts), self.scope)
                return near if group is None else near or f"{name!r} has no members"
            if member not in group:
                close = nearest(member, group)
                return close and close.replace("mean '", f"mean '{name}.", 1)
            group = group[member]
        if parts[0] in CALLS:
            return f"{parts[0]} is a function: {parts[0]}(...)"
        return nearest(".".join(parts), self.scope)


def _group(names: Mapping[str, Named], name: str) -> Named | None:
    """Return what the first part of a dotted name stands for; none for a branch that is of no use by itself."""
    try:
        return _get(names, name)
    except (DataError, FormulaError):
        return None


def _get(names: Mapping[str, Named], name: str) -> Named | None:
    try:
        return names[name]
    except KeyError:
        return None
