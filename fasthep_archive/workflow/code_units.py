"""What a module of the analysis is made of: its statements, the names that each binds and mentions, what it imports.

A module is parsed and never run. Two texts that differ in comments, docstrings or layout have equal units.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Chain = tuple[str, ...]
"""A name with the attributes behind it: ``tools.scale`` is ``("tools", "scale")``."""

_DYNAMIC = frozenset(("__import__", "compile", "eval", "exec", "globals", "vars"))
_DYNAMIC_ATTRIBUTES = frozenset(("__builtins__", "__dict__", "__globals__", "eval", "exec", "f_globals", "modules"))
_IMPORTING = frozenset(("__import__", "import_module"))
_LEVEL = 4
"""Position of the argument of ``__import__`` that makes it relative."""
_SEARCHING = frozenset(("__path__", "iter_modules", "walk_packages"))
_LISTING = frozenset(("glob", "iglob", "iterdir", "listdir", "rglob", "scandir", "walk"))
_ITSELF = frozenset(("__file__", "resources"))
"""With one of these a module finds the directory that it lies in."""
_DOCS = (b"__doc__", b"getdoc", b"getsource")
"""A module that has one of these can see its docstrings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """A module that is imported, as it is written.

    :ivar module: dotted name; of a relative import behind its dots.
    :ivar level: number of dots of a relative import. :ivar name: what is taken of the module; ``*``: everything.
    :ivar bound: the name that it gets; none if it gets none.
    :ivar top: whether that is the outermost package: ``import a.b`` binds ``a``.
    :ivar certain: whether importing the module that says so can't go on without it.
    """

    module: str
    level: int = 0
    name: str | None = None
    bound: str | None = None
    top: bool = False
    certain: bool = False
    line: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A statement of a module's top level, or one name of an import.

    :ivar label: how messages call it. :ivar text: what it says, without comments, docstrings and layout.
    :ivar inert: whether it does nothing beyond binding its names.
    :ivar dynamic: whether it can reach names that it does not mention.
    :ivar loads: modules that it imports by their name in a text.
    """

    label: str
    binds: frozenset[str]
    chains: frozenset[Chain]
    text: str
    inert: bool
    dynamic: bool
    loads: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A module.

    :ivar name: dotted. :ivar file: its name below the directory of the code. :ivar package: whether it is one.
    :ivar imports: everywhere in it. :ivar searches: whether it may look for the modules that lie in its package.
    :ivar bound: by each name that units bind, these units' positions.
    """

    name: str
    file: str
    package: bool
    units: tuple[Unit, ...]
    imports: tuple[Import, ...]
    bound: Mapping[str, tuple[int, ...]] = field(repr=False)
    searches: bool = False


def parsed(name: str, file: str, content: bytes, *, package: bool) -> Module:
    """Return the module in the file ``file``.

    :raises SyntaxError: if it is no Python. :raises ValueError: if it has a null byte.
    """
    tree = ast.parse(content, filename=file)
    docs = any(word in content for word in _DOCS)
    body = list(_running(tree.body))
    imports = tuple(_imports(body, certain=True))
    units = tuple(unit for statement in body for unit in _units(statement, docs=docs))
    bound: dict[str, list[int]] = {}
    for position, unit in enumerate(units):
        for bind in unit.binds:
            bound.setdefault(bind, []).append(position)
    positions = {bind: tuple(places) for bind, places in bound.items()}
    return Module(
        name=name,
        file=file,
        package=package,
        units=units,
        imports=imports,
        bound=positions,
        searches=_searches({name for unit in units for chain in unit.chains for name in chain}, tree),
    )


def _searches(mentioned: set[str], tree: ast.Module) -> bool:
    """Say whether what a module mentions lets it find modules that it does not name."""
    words = mentioned | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return not words.isdisjoint(_SEARCHING) or not (words.isdisjoint(_LISTING) or words.isdisjoint(_ITSELF))


def _running(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported; not what is for scripts or for checkers of types."""
    for statement in body:
        if isinstance(statement, ast.If) and _never(statement.test):
            yield from _running(statement.orelse)
        else:
            yield statement


def _never(test: ast.expr) -> bool:
    if isinstance(test, ast.Compare) and len(test.comparators) == 1 and isinstance(test.ops[0], ast.Eq):
        sides = [test.left, test.comparators[0]]
        names = [side.id for side in sides if isinstance(side, ast.Name)]
        texts = [side.value for side in sides if isinstance(side, ast.Constant)]
        return names == ["__name__"] and texts == ["__main__"]
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _imports(body: Sequence[ast.stmt], *, certain: bool) -> Iterator[Import]:
    """Yield all imports in statements, those in functions and in texts too."""
    for statement in body:
        sure = certain and isinstance(statement, (ast.Import, ast.ImportFrom))
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound, top = alias.asname or alias.name.partition(".")[0], alias.asname is None
                    yield Import(module=alias.name, bound=bound, top=top, certain=sure, line=node.lineno)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield Import(
                        module=node.module or "",
                        level=node.level,
                        name=alias.name,
                        bound=None if alias.name == "*" else alias.asname or alias.name,
                        certain=sure,
                        line=node.lineno,
                    )
            elif isinstance(node, ast.Call) and (named := _loaded(node)):
                dots = len(named) - len(named.lstrip("."))
                yield Import(module=named[dots:], level=dots, line=node.lineno)


def _loaded(call: ast.Call) -> str | None:
    """Return the module that a call of ``importlib.import_module`` or ``__import__`` names, if it is one and does."""
    function = call.func
    named = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    first = call.args[0] if call.args else None
    if named == "__import__" and (len(call.args) > _LEVEL or any(item.arg == "level" for item in call.keywords)):
        return None
    if named in _IMPORTING and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None


def _units(statement: ast.stmt, *, docs: bool) -> Iterator[Unit]:
    """Yield the units of a statement: one, or one for each name of an import."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            single: ast.stmt = (
                ast.Import(names=[alias])
                if isinstance(statement, ast.Import)
                else ast.ImportFrom(module=statement.module, names=[alias], level=statement.level)
            )
            bound = alias.asname or alias.name.partition(".")[0]
            future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
            yield Unit(
                label=f"import of {bound}",
                binds=frozenset() if alias.name == "*" else frozenset((bound,)),
                chains=frozenset(),
                text=_text(single, docs=docs),
                inert=not future,
                dynamic=False,
                loads=frozenset(),
            )
        return
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and not docs:
        return
    seen = _Seen()
    seen.visit(statement)
    yield Unit(
        label=_label(statement),
        binds=frozenset(seen.binds),
        chains=frozenset(seen.chains),
        text=_text(statement, docs=docs),
        inert=_inert(statement),
        dynamic=seen.dynamic,
        loads=frozenset(seen.loads),
    )


def _label(statement: ast.stmt) -> str:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return f"function {name}"
        case ast.ClassDef(name=name):
            return f"class {name}"
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return "statements"


class _Seen(ast.NodeVisitor):
    """What a statement binds and mentions."""

    def __init__(self) -> None:
        self.binds: set[str] = set()
        self.chains: set[Chain] = set()
        self.loads: set[str] = set()
        self.dynamic = False
        self._depth = 0

    def visit_Name(self, node: ast.Name) -> None:
        self.chains.add((node.id,))
        if isinstance(node.ctx, ast.Store) and not self._depth:
            self.binds.add(node.id)
        self.dynamic |= node.id in _DYNAMIC

    def visit_Attribute(self, node: ast.Attribute) -> None:
        names: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        self.dynamic |= not _DYNAMIC_ATTRIBUTES.isdisjoint(names)
        if isinstance(inner, ast.Name):
            self.chains.add((inner.id, *reversed(names)))
            self.dynamic |= inner.id in _DYNAMIC
        else:
            self.visit(inner)

    def visit_Call(self, node: ast.Call) -> None:
        named = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        if named in _IMPORTING:
            literal = _loaded(node)
            self.dynamic |= literal is None
            self.loads.update([literal] if literal else [])
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.binds.update(node.names)
        self.chains.update((name,) for name in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.binds.update([] if self._depth else [alias.asname or alias.name for alias in node.names])
        self.dynamic |= any(alias.name == "*" for alias in node.names)

    def visit_Import(self, node: ast.Import) -> None:
        self.binds.update([] if self._depth else [alias.asname or alias.name.partition(".")[0] for alias in node.names])

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.binds.update([] if self._depth else [node.name])
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as ast.NodeVisitor wants it
    visit_ClassDef = visit_FunctionDef  # noqa: N815


def _inert(statement: ast.stmt) -> bool:
    """Say whether a statement does nothing beyond binding names: it has no call, no decorator, no base class."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            defaults = [item for item in (*statement.args.defaults, *statement.args.kw_defaults) if item is not None]
            return not statement.decorator_list and not any(map(_acts, defaults))
        case ast.ClassDef():
            plain = not (statement.decorator_list or statement.bases or statement.keywords)
            return plain and all(_inert(inner) or _is_text(inner) for inner in statement.body)
        case ast.Assign():
            return all(isinstance(target, ast.Name) for target in statement.targets) and not _acts(statement.value)
        case ast.AnnAssign():
            return isinstance(statement.target, ast.Name) and not (statement.value and _acts(statement.value))
        case _:
            return isinstance(statement, ast.Pass)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _acts(value: ast.expr) -> bool:
    acting = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)
    return not isinstance(value, ast.Lambda) and any(isinstance(node, acting) for node in ast.walk(value))


def _text(node: ast.AST, *, docs: bool) -> str:
    """Return what a statement says: the same for all versions of Python that can parse it.

    :param docs: whether docstrings belong to it.
    """
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    fields = []
    for name, value in ast.iter_fields(node):
        if value is None or value == [] or name in ("type_comment", "ctx"):
            continue
        if isinstance(value, list):
            items = value
            holds = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and name == "body"
            if holds and not docs and _is_docstring(items[0]):
                items = items[1:]
            told = ",".join(_text(item, docs=docs) if isinstance(item, ast.AST) else repr(item) for item in items)
            fields.append(f"{name}=[{told}]")
        else:
            fields.append(f"{name}={_text(value, docs=docs) if isinstance(value, ast.AST) else repr(value)}")
    return f"{type(node).__name__}({';'.join(fields)})"


def _is_docstring(statement: ast.stmt) -> bool:
    return _is_text(statement) and isinstance(statement.value.value, str)  # type: ignore[attr-defined] # as _is_text says
