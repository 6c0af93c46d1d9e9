"""Which modules of the analysis a function needs, and which parts of them its result can depend on.

Modules are found below one directory by their imports, read and never run. What is not found there is left to the
standard library and to the distributions of the environment.

A result depends on the function, on the names of modules that it mentions, on what those mention, and so on, and on all
that modules do beyond binding names when they are imported. Where that can't be told (``exec``, ``globals``, a module
handed around as a value, ``import *``) it depends on whole modules: rather too much than too little.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fasthep_archive.digest import Digest, of_json
from fasthep_archive.workflow.code_units import Chain, Import, Module, parsed

_MAKES = "__getattr__"
"""The function of a module that makes the names that it does not bind, when others ask for them (PEP 562)."""


class Unparsed(Exception):
    """A module that is no Python: its file, the place in it, and why."""

    def __init__(self, file: str, line: int, column: int, why: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {why}")
        self.file = file
        self.line = line
        self.column = column
        self.why = why


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """The modules that importing one needs.

    :ivar modules: by name; the one itself, those above it, and all that these import.
    :ivar outside: imports of other modules, with the file that has them.
    """

    modules: Mapping[str, Module]
    outside: tuple[tuple[str, Import], ...] = field(default=())


class Modules:
    """The modules below a directory, each read once."""

    def __init__(self, root: Path, *, installed: Callable[[str], bool]) -> None:
        """Look for modules below ``root``.

        :param installed: says whether a top-level name can be imported anyway.
        """
        self._root = root
        self._installed = installed
        self._known: dict[str, Module | None] = {}
        self.contents: dict[str, bytes] = {}
        """What each file that was read holds, by its name below the directory."""

    def module(self, name: str) -> Module | None:
        """Return a module by its dotted name; none if it is not there.

        :raises Unparsed: if it is no Python.
        """
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def closure(self, name: str) -> Closure:
        """Return the module ``name``, which is there, with all that importing it can import.

        :raises Unparsed: if one of these is no Python.
        """
        found: dict[str, Module] = {}
        outside: list[tuple[str, Import]] = []
        waiting = list(_above(name))
        while waiting:
            module = self.module(waiting.pop())
            if module is None or module.name in found:
                continue
            found[module.name] = module
            for item in module.imports:
                named = list(self.named(module, item))
                waiting.extend(named)
                if not named:
                    outside.append((module.file, item))
            if not waiting and any(each.searches for each in found.values()):
                waiting.extend(other for each in found.values() if each.package for other in self._below(each))
                waiting = [other for other in waiting if other not in found]
        return Closure(modules=dict(sorted(found.items())), outside=tuple(outside))

    def _below(self, package: Module) -> Iterator[str]:
        """Yield all modules of a package, and of those in it: what looks for its modules finds these."""
        folder = self._root.joinpath(*package.name.split("."))
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(self._root).with_suffix("").parts
            names = parts[:-1] if parts[-1] == "__init__" else parts
            if all(name.isidentifier() for name in names):
                yield from _above(".".join(names))

    def named(self, module: Module, item: Import) -> Iterator[str]:
        """Yield the modules below the directory that an import of ``module`` runs."""
        target = absolute(module, item)
        if target is None or self.module(target.partition(".")[0]) is None:
            return
        candidates = [*_above(target), *([f"{target}.{item.name}"] if item.name else [])]
        yield from (name for name in candidates if self.module(name) is not None)

    def _read(self, name: str) -> Module | None:
        place = PurePosixPath(*name.split("."))
        if not place.name or name in sys.builtin_module_names:
            return None
        choices = ((place / "__init__.py", True), (place.with_suffix(".py"), False))
        for file, package in choices:
            path = self._root / file
            if path.is_file() and path.resolve().is_relative_to(self._root.resolve()):
                content = self.contents[str(file)] = path.read_bytes()
                try:
                    return parsed(name, str(file), content, package=package)
                except SyntaxError as error:
                    line, column = error.lineno or 1, error.offset or 1
                    raise Unparsed(str(file), line, column, error.msg) from None
                except (ValueError, RecursionError) as error:
                    raise Unparsed(str(file), 1, 1, str(error)) from None
        # A directory of modules without an __init__.py is a package too (PEP 420), and has no code.
        if not self._installed(name.partition(".")[0]) and any((self._root / place).glob("**/*.py")):
            return Module(name=name, file="", package=True, units=(), imports=(), bound={})
        return None


def absolute(module: Module, item: Import) -> str | None:
    """Return the dotted name of what an import of ``module`` names; none if it goes beyond the top."""
    if not item.level:
        return item.module
    parts = module.name.split(".") if module.package else module.name.split(".")[:-1]
    up = item.level - 1
    if up >= len(parts) and (up or not parts):
        return None
    base = parts[: len(parts) - up]
    return ".".join([*base, *([item.module] if item.module else [])])


def _above(name: str) -> Iterator[str]:
    """Yield the packages around a module, outermost first, and the module."""
    parts = name.split(".")
    yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


def parts_of(modules: Modules, closure: Closure, module: str, function: str) -> Mapping[str, Digest]:
    """Return the parts of the code that a function's result depends on, each with the digest of what it says.

    :return: by name as messages have it: ``function fit in model.py``, or ``model.py`` of whole modules.
    """
    return _Reach(modules, closure).of(module, function)


def defines(modules: Modules, module: Module, name: str) -> bool:
    """Say whether a module has, or may have, a name: modules can make theirs while they run."""
    if name in module.bound or _MAKES in module.bound:
        return True
    return any(item.name == "*" for item in module.imports) or modules.module(f"{module.name}.{name}") is not None


class _Reach:
    """Follows names from a function through modules."""

    def __init__(self, modules: Modules, closure: Closure) -> None:
        self._modules = modules
        self._closure = closure
        self._reached: set[tuple[str, int]] = set()
        self._whole: set[str] = set()
        self._waiting: list[tuple[str, int]] = []

    def of(self, module: str, function: str) -> Mapping[str, Digest]:
        for name, item in self._closure.modules.items():
            if any(each.name == "*" for each in item.imports):
                self._star(item)
            for position, unit in enumerate(item.units):
                if not unit.inert:
                    self._reach(name, position)
        self._once(module, (function,))
        while self._waiting:
            name, position = self._waiting.pop()
            item = self._closure.modules[name]
            unit = item.units[position]
            for chain in unit.chains:
                self._follow(name, chain)
            for loaded in unit.loads:
                dots = len(loaded) - len(loaded.lstrip("."))
                self._all(absolute(item, Import(module=loaded[dots:], level=dots)) or "")
            if unit.dynamic or item.searches:
                for other in self._closure.modules:
                    self._all(other)
        return self._parts()

    def _star(self, module: Module) -> None:
        """Reach all of a module with ``import *``, and of those that it takes everything of."""
        self._all(module.name)
        for item in module.imports:
            if item.name == "*":
                self._all(absolute(module, item) or "")

    def _reach(self, name: str, position: int) -> None:
        if (name, position) not in self._reached:
            self._reached.add((name, position))
            self._waiting.append((name, position))

    def _all(self, name: str) -> None:
        module = self._closure.modules.get(name)
        if module is not None and name not in self._whole:
            self._whole.add(name)
            for position in range(len(module.units)):
                self._reach(name, position)

    def _follow(self, name: str, chain: Chain) -> None:
        """Reach what the first name of ``chain`` is in a module; of other modules, what the rest of it names."""
        module = self._closure.modules[name]
        first, *rest = chain
        for position in module.bound.get(first, ()):
            self._reach(name, position)
        for item in module.imports:
            if item.bound == first:
                self._taken(module, item, tuple(rest))

    def _taken(self, module: Module, item: Import, rest: Chain) -> None:
        """Reach what an import takes of a module of the analysis."""
        target = absolute(module, item) or ""
        if item.top:
            target = target.partition(".")[0]
        chain = (*([item.name] if item.name else []), *rest)
        while chain and f"{target}.{chain[0]}" in self._closure.modules:
            shadowed = self._closure.modules.get(target)
            if shadowed is not None and not shadowed.bound.keys().isdisjoint((chain[0], _MAKES)):
                self._once(target, chain)
            target, chain = f"{target}.{chain[0]}", chain[1:]
        if target not in self._closure.modules:
            return
        if not chain or not defines(self._modules, self._closure.modules[target], chain[0]):
            self._all(target)
        else:
            self._once(target, chain)

    def _once(self, target: str, chain: Chain) -> None:
        """Follow a name into another module; modules that import each other's names would go round for ever."""
        key = (f"{target}:{'.'.join(chain)}", -1)
        if key not in self._reached:
            self._reached.add(key)
            self._follow(target, chain)
            if chain[0] not in self._closure.modules[target].bound:
                self._follow(target, (_MAKES,))

    def _parts(self) -> Mapping[str, Digest]:
        texts: dict[str, list[str]] = {}
        for name, module in self._closure.modules.items():
            for position, unit in enumerate(module.units):
                if (name, position) in self._reached:
                    label = module.file if name in self._whole else f"{unit.label} in {module.file}"
                    texts.setdefault(label, []).append(unit.text)
        return {label: of_json(said) for label, said in sorted(texts.items())}
