"""A look at code of the analysis that does not run it: whether a function is there, and what it asks for."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fasthep_archive.errors import DataError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Asks:
    """What a function asks for.

    :ivar names: of its arguments; none where a look can't tell. :ivar needed: those of them without a default.
    """

    names: frozenset[str] | None
    needed: tuple[str, ...] = ()

    def asks(self, name: str) -> bool:
        """Say whether it may ask for ``name``."""
        return self.names is None or name in self.names


def looked_at(files: Mapping[str, bytes], target: str) -> Asks:
    """Return what ``module:function`` asks for.

    A module that is not among ``files`` is one of an installed package, of which nothing is known.

    :raises DataError: if the module is no Python, or has nothing of that name.
    """
    module, _, attribute = target.partition(":")
    place = module.replace(".", "/")
    name = next((name for name in (f"{place}.py", f"{place}/__init__.py") if name in files), None)
    if name is None:
        return Asks(names=None)
    try:
        tree = ast.parse(files[name])
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise DataError(f"{name}{line} is no Python: {error.args[0]}") from error
    first = attribute.partition(".")[0]
    known = dict(_named(tree.body))
    if first not in known and "*" not in known:
        functions = [other for other, node in known.items() if isinstance(node, ast.FunctionDef)]
        hint = nearest(first, known) or f"its functions are {', '.join(functions) or 'none'}"
        raise DataError(f"{name} has no {first!r}", hint=hint)
    found = known.get(first)
    return _asked(found) if isinstance(found, ast.FunctionDef) and first == attribute else Asks(names=None)


def _named(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a module has, with what they are; ``*`` where another module's are taken over."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name, statement
            case ast.Import() | ast.ImportFrom():
                yield from ((item.asname or item.name.partition(".")[0], statement) for item in statement.names)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
                yield from ((node.id, statement) for node in names if isinstance(node.ctx, ast.Store))
            case _:
                inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
                handlers = [other for node in getattr(statement, "handlers", ()) for other in node.body]
                yield from _named([*inner, *handlers])


def _asked(function: ast.FunctionDef) -> Asks:
    """Return the arguments of a function; with a decorator or ``**``, nobody can tell which these are."""
    arguments = function.args
    if arguments.kwarg is not None or function.decorator_list:
        return Asks(names=None)
    plain = [*arguments.posonlyargs, *arguments.args]
    needed = plain[: len(plain) - len(arguments.defaults)]
    keyed = [item for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    names = frozenset(item.arg for item in (*plain, *arguments.kwonlyargs))
    return Asks(names=names, needed=tuple(item.arg for item in (*needed, *keyed)))
