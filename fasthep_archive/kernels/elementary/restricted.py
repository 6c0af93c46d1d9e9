"""What the texts of restricted Python say, for all targets that they are translated to."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from types import ModuleType


@cache
def definitions(module: ModuleType) -> Mapping[str, ast.FunctionDef]:
    """Return the functions that a module defines, by name."""
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def constant_of(node: ast.expr) -> bool | int | float | None:
    """Return the value of an expression of literals; none if it has names."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, (bool, int, float)) else None
    if isinstance(node, (ast.Name, ast.Call)):  # what most expressions are; a call has the function's name
        return None
    if any(isinstance(part, (ast.Name, ast.Tuple)) for part in ast.walk(node)):
        return None
    try:
        value: bool | int | float = eval(compile(ast.Expression(node), "constant", "eval"), {})  # noqa: S307 - literals
    except ZeroDivisionError:  # Python's; IEEE 754 has a result, which the machine computes
        return None
    return value
