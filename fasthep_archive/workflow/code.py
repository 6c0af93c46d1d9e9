"""The analysis's own code: what the key ``code`` of a document says, and what each stage needs of it.

    code:
      path: code               # relative to the document; default: where the document is
      files: [weights.json, "*.cpp"]

Modules are found below ``path`` by their imports (:mod:`fasthep_archive.workflow.code_closure`); ``files`` names what
is carried besides them. What calls a function or runs a script can say, under its own ``code``, which of these it uses:
it finds no others then, and does not depend on them. Nothing of it is run or imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, util
from pathlib import Path, PurePosixPath

from fasthep_archive.digest import JSON, Digest, of_bytes, of_json
from fasthep_archive.errors import Fault, Location, nearest
from fasthep_archive.workflow.code_closure import Closure, Modules, Unparsed, defines, parts_of
from fasthep_archive.workflow.code_units import parsed
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.values import DocumentPath

MOST = 64 << 20
"""Bytes of code and files that come with it. They travel to every worker; anything larger is an input."""
CALLABLES = ("run.python", "run.events")
"""Operations whose parameter ``callable`` names a function."""
COMMAND = "run.command"
"""The operation that runs programs, whose parameter ``code`` names files."""
_WHERE = "modules are looked for below code.path (default: where the document is), then among what is installed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """Code of the analysis that a stage calls. Plain data that travels to workers.

    :ivar target: ``module:function``; empty for commands.
    :ivar files: by name below the directory of the code (``fit/model.py``): modules, and what is carried besides. All
        that a function finds, so that a result can't depend on another file.
    :ivar digest: of what the result depends on: of functions where that can be told, of whole modules otherwise.
    :ivar parts: what that is made of, for people: ``function fit in model.py``, ``weights.json``, ``numpy 2.3.1``.
    :ivar imports: top-level names of the modules that it imports from installed distributions.
    :ivar shipped: digest of the files, by which they travel to workers; empty where there are none.
    """

    target: str
    files: Mapping[str, bytes] = field(repr=False)
    digest: Digest
    parts: Mapping[str, Digest] = field(default_factory=dict, repr=False)
    imports: tuple[str, ...] = ()
    shipped: Digest = field(default=Digest(""), compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeFolder:
    """The directory of the analysis's own code, as far as its stages need it.

    :ivar path: as the document names it, relative to itself. :ivar root: where that is.
    :ivar extra: names of the files that are carried besides modules, sorted.
    :ivar files: all that is carried, by name.
    """

    path: str = field(compare=False, default=".")
    root: Path = field(compare=False, default=Path())
    extra: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(repr=False, default_factory=dict)


class Coder:
    """Finds the code of stages, and notes what is wrong with it."""

    def __init__(self, draft: Draft) -> None:
        """Read the key ``code`` of a document."""
        self._draft = draft
        written = draft.get("code", "path")
        self._path = str(written) if isinstance(written, str) else "."
        files = draft.document.files
        self._placed = bool(files)
        self._root = (files[0].parent if files else Path()) / self._path
        self._modules = Modules(self._root, installed=importable)
        self._unparsed: set[str] = set()
        self._used: dict[str, bytes] = {}
        self._extra = self._carried() if self._placed and self._sound() else {}

    @property
    def placed(self) -> bool:
        """Whether the document is a file, so that its code is somewhere."""
        return self._placed

    @property
    def folder(self) -> CodeFolder | None:
        """Return what the stages that were asked for need; none if that is nothing."""
        files = {**self._used, **self._extra}
        if not files:
            return None
        ordered = dict(sorted(files.items()))
        return CodeFolder(path=self._path, root=self._root, extra=tuple(self._extra), files=ordered)

    def of(self, op: str, at: DocumentPath) -> Code | None:
        """Return the code of a stage whose params stand at ``at``.

        None for other operations, after a fault, and where the document is no file, so that its code is nowhere.
        """
        if not self._placed:
            return None
        if op in CALLABLES:
            target = self._draft.get(*at, "callable")
            return self.function(target, (*at, "callable"), at) if isinstance(target, str) else None
        return self.command(at) if op == COMMAND else None

    def function(self, target: str, at: DocumentPath, holder: DocumentPath) -> Code | None:
        """Return the code of ``module:function``, which is written at ``at``; none after a fault.

        :param holder: what may say, under ``code``, which files besides modules the function uses.
        """
        declared = None
        if isinstance(self._draft.raw(*holder), Mapping) and self._draft.get(*holder, "code") is not None:
            declared = self._declared(holder)
            if declared is None:
                return None
        name, _, function = target.partition(":")
        parts = [*name.split("."), *function.split(".")]
        if not all(part.isidentifier() for part in parts):
            self._draft.fault(at, f"{target!r} names no function", "write module:function")
            return None
        try:
            module = self._modules.module(name)
            if module is None:
                return self._installed(target, name, at, declared)
            closure = self._modules.closure(name)
        except Unparsed as error:
            self._unparsed_fault(error)
            return None
        first = function.partition(".")[0]
        if not defines(self._modules, module, first):
            own = sorted(module.bound.keys() - {item.bound for item in module.imports})
            hint = nearest(first, own) or f"it has {', '.join(own[:10]) or 'no names'}"
            self._draft.fault(at, f"{self._shown(module.file)} has no function {first!r}", hint)
            return None
        return self._code(target, closure, parts_of(self._modules, closure, name, first), at, declared)

    def command(self, at: DocumentPath) -> Code | None:
        """Return the files that a command takes along: those that its ``code`` names; none after a fault."""
        wanted = self._declared(at)
        if wanted is None:
            return None
        parts = {name: of_bytes(content) for name, content in sorted(wanted.items())}
        return Code(target="", files=wanted, digest=of_json(parts), parts=parts, shipped=_shipped(wanted))

    def _declared(self, at: DocumentPath) -> Mapping[str, bytes] | None:
        """Return the files that ``code`` below ``at`` names; none after a fault."""
        wanted: dict[str, bytes] = {}
        sound = True
        for path, value in self._draft.entries(*at, "code"):
            name = PurePosixPath(str(value)).as_posix()
            if name not in self._extra:
                hint = nearest(name, self._extra) or "name it under code.files of the document too"
                self._draft.fault(path, f"{name!r} is not among the files of the code", hint)
                sound = False
            else:
                wanted[name] = self._extra[name]
        return wanted if sound else None

    def _code(
        self,
        target: str,
        closure: Closure,
        reached: Mapping[str, Digest],
        at: DocumentPath,
        declared: Mapping[str, bytes] | None,
    ) -> Code:
        extra = self._extra if declared is None else declared
        own = {item.file for item in closure.modules.values() if item.file}
        files = {**{name: self._modules.contents[name] for name in own}, **extra}
        self._used.update((name, files[name]) for name in own)
        self._refuse_too_much({**self._used, **self._extra}, at)
        imports = self._imports(closure)
        parts = {
            **reached,
            **{name: of_bytes(content) for name, content in extra.items() if name not in own},
            **_versions(imports),
        }
        return Code(
            target=target,
            files=dict(sorted(files.items())),
            digest=of_json({"target": target, "parts": parts}),
            parts=parts,
            imports=imports,
            shipped=_shipped(files),
        )

    def _installed(self, target: str, name: str, at: DocumentPath, declared: Mapping[str, bytes] | None) -> Code | None:
        """Return the code of a function of an installed distribution: nothing is carried, its version counts."""
        top = name.partition(".")[0]
        if not importable(top):
            self._draft.fault(at, f"there is no module {name!r}", self._near(name) or _WHERE)
            return None
        imports = () if top in sys.stdlib_module_names else (top,)
        extra = self._extra if declared is None else declared
        parts = {**_versions(imports), **{key: of_bytes(content) for key, content in extra.items()}}
        return Code(
            target=target,
            files=extra,
            digest=of_json({"target": target, "parts": parts}),
            parts=parts,
            imports=imports,
            shipped=_shipped(extra),
        )

    def _near(self, name: str) -> str | None:
        """Return a hint with the module below the directory whose name is most like ``name``."""
        files = sorted(self._root.rglob("*.py"))[:1000] if self._path != "." else sorted(self._root.glob("*.py"))
        known = [
            ".".join(file.relative_to(self._root).with_suffix("").parts).removesuffix(".__init__") for file in files
        ]
        return nearest(name, known)

    def _imports(self, closure: Closure) -> tuple[str, ...]:
        """Return the top-level names that the environment has to have; warn of those that it lacks."""
        found: dict[str, None] = {}
        for file, item in closure.outside:
            top = item.module.partition(".")[0]
            where = Location(self._shown(file), item.line, 1)
            if item.level:
                wanted = "." * item.level + item.module
                self._fault(Fault(f"there is no module {wanted!r}", where, "relative imports stay below code.path"))
            elif top in sys.stdlib_module_names:
                continue
            elif not importable(top):
                if item.certain:  # what is installed can differ between those who read a bundle and who run it
                    hint = self._near(item.module) or _WHERE
                    self._draft.warnings.append(Fault(f"there is no module {item.module!r} here", where, hint))
            else:
                found[top] = None
                if not distributions([top])[top]:
                    hint = "a bundle can't lock it: install it as a package, or copy the module to the code"
                    message = f"module {item.module!r} is of no installed distribution"
                    self._draft.warnings.append(Fault(message, where, hint))
        return tuple(sorted(found))

    def _fault(self, fault: Fault) -> None:
        if fault not in self._draft.faults:
            self._draft.faults.append(fault)

    def _unparsed_fault(self, error: Unparsed) -> None:
        where = Location(self._shown(error.file), error.line, error.column)
        self._fault(Fault(f"this is no Python: {error.why}", where))

    def _shown(self, file: str) -> str:
        return str(self._root / file)

    def _sound(self) -> bool:
        """Report a directory that is not there, or that lies beyond what a bundle can hold beside the document."""
        at: DocumentPath = ("code", "path")
        if Path(self._path).is_absolute():
            self._draft.fault(at, f"{self._path} is an absolute path", "write it relative to the document")
            return False
        if self._draft.raw("code") is not None and not self._root.is_dir():
            self._draft.fault(at, f"there is no directory {self._path}", "code.path is relative to the document")
            return False
        return True

    def _carried(self) -> Mapping[str, bytes]:
        """Return the files that the document names, by name below the directory; report those that are not there."""
        found: dict[str, bytes] = {}
        for path, value in self._draft.entries("code", "files"):
            pattern = str(value)
            parts = PurePosixPath(pattern).parts
            if not parts or PurePosixPath(pattern).is_absolute() or ".." in parts:
                self._draft.fault(path, f"{pattern} is not below the directory of the code", "move it there")
                continue
            matches = self._matches(pattern)
            if not matches:
                hint = f"names are relative to code.path, which is {self._path}"
                self._draft.fault(path, f"there is no file {pattern}", hint)
            for name, file in matches.items():
                if not file.resolve().is_relative_to(self._root.resolve()):
                    message = f"{name} is a link to a file that is not below the directory of the code"
                    self._draft.fault(path, message, "copy the file there")
                else:
                    found[name] = file.read_bytes()
            self._refuse_too_much(found, path)
        return dict(sorted(found.items()))

    def _matches(self, pattern: str) -> Mapping[str, Path]:
        """Return the files that a name or pattern means, by their names; patterns mean no hidden files."""
        exact = self._root / pattern
        if exact.is_file():
            return {PurePosixPath(pattern).as_posix(): exact}
        found = {path.relative_to(self._root): path for path in sorted(self._root.glob(pattern)) if path.is_file()}
        return {
            name.as_posix(): path
            for name, path in found.items()
            if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        }

    def _refuse_too_much(self, files: Mapping[str, bytes], at: DocumentPath) -> None:
        size = sum(map(len, files.values()))
        if size > MOST:
            message = f"the code has {size / 1e6:.0f} MB, and {MOST / 1e6:.0f} MB are the most"
            self._draft.fault(at, message, "what is data belongs to data.datasets")


@cache
def importable(top: str) -> bool:
    """Say whether a top-level module is in the standard library or installed. Nothing is imported."""
    if top in sys.stdlib_module_names:
        return True
    try:
        return util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


@cache
def _providers() -> Mapping[str, Sequence[str]]:
    """Return the distributions that provide each top-level module."""
    return {name: tuple(sorted(set(names))) for name, names in metadata.packages_distributions().items()}


def distributions(imports: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the installed distributions that provide each of ``imports``, top-level modules; none: nobody knows."""
    return {name: tuple(_providers().get(name, ())) for name in imports}


def _shipped(files: Mapping[str, bytes]) -> Digest:
    """Return the digest of files by which they are found elsewhere; empty where there are none."""
    names = {name: of_bytes(content) for name, content in sorted(files.items())}
    return of_json({"files of code": names}) if names else Digest("")


def _versions(imports: Sequence[str]) -> dict[str, Digest]:
    """Return the distributions behind imports, with their versions, as parts of code."""
    named = sorted({each for names in distributions(imports).values() for each in names})
    return {f"{each} {metadata.version(each)}": of_bytes(b"") for each in named}


def functions(files: Mapping[str, bytes]) -> Mapping[str, Digest]:
    """Return what the modules among ``files`` consist of, each part with a digest of what it says.

    :return: by name as messages have it: ``function fit in model.py``. What is no Python has no parts.
    """
    texts: dict[str, list[str]] = {}
    for name, content in files.items():
        if name.endswith(".py"):
            with suppress(SyntaxError, ValueError, RecursionError):
                for unit in parsed(name, name, content, package=False).units:
                    texts.setdefault(f"{unit.label} in {name}", []).append(unit.text)
    return {label: of_json(said) for label, said in texts.items()}


def resolved_code(folder: CodeFolder | None, path: str | None = None) -> JSON:
    """Return the key ``code`` of a resolved document; none without code.

    :param path: where the code is, as seen from that document.
    """
    if folder is None:
        return None
    return {"path": folder.path if path is None else path, **({"files": list(folder.extra)} if folder.extra else {})}
