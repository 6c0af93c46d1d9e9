"""What is compiled: source text, and the modules whose functions it calls.

Modules of kernels are written in the restricted Python that numba compiles, import from each other as Python modules
do, with ``from fasthep_archive.kernels... import ...``, and run as plain Python in tests. Where a module ``name`` has a
neighbour ``numba_name``, that one has the same functions for numba and takes its place. Nothing is imported here: what
is compiled already needs no more than the text.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import DataError

_IMPORT = re.compile(r"^from (fasthep_archive\.kernels[\w.]*) import", re.MULTILINE)
_FUNCTION = re.compile(r"^def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Source text in the restricted Python of kernels.

    :ivar name: what its files are called.
    :ivar functions: those of the text that are compiled.
    :ivar libraries: what the text imports, and what has functions that it calls without importing them.
    :ivar module: the module that the text is of, if it is of one.
    :ivar substitute: the module that takes its place; the text is then all of their package's.
    :ivar lowerable: whether it is in our own language (:mod:`fasthep_archive.kernels.loop_lowering`), which LLVM alone
        can compile.
    """

    name: str
    text: str
    functions: tuple[str, ...]
    libraries: tuple[Unit, ...] = ()
    module: str = ""
    substitute: str = ""
    lowerable: bool = False

    def canonical(self) -> JSON:
        """Return all that the machine code is made from."""
        return {
            "text": self.text,
            "functions": list(self.functions),
            "libraries": [library.canonical() for library in self.libraries],
            "substitute": self.substitute,
            "lowerable": self.lowerable,
        }

    def digest(self) -> Digest:
        """Return the digest of :meth:`canonical`."""
        return digest.of_json(self.canonical())

    def called(self, text: str) -> tuple[str, ...]:
        """Return the functions that ``text`` seems to call."""
        calls = set(re.findall(r"\b(\w+)\(", text))
        return tuple(function for function in self.functions if function in calls)


@cache
def unit_of(module: str) -> Unit:
    """Return the source of a module of kernels, by its name, with the modules that it imports from.

    :raises DataError: if its source isn't there.
    """
    package, _, name = module.rpartition(".")
    path = _source(module)
    text = path.read_text()
    functions = tuple(_FUNCTION.findall(text))
    if path.with_name(f"numba_{name}.py").exists():
        return Unit(
            name=name,
            text="\n".join(neighbour.read_text() for neighbour in sorted(path.parent.glob("*.py"))),
            functions=functions,
            module=module,
            substitute=f"{package}.numba_{name}",
        )
    needed = dict.fromkeys(_IMPORT.findall(text))
    return Unit(name=name, text=text, functions=functions, libraries=tuple(map(unit_of, needed)), module=module)


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise DataError(f"the source of {module} is missing", hint="install fasthep-archive again")
    return Path(spec.origin)
