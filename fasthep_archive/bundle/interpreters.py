"""Finds the Python that a bundle's environment needs, among those that this machine has.

Nothing is installed or downloaded, and no interpreter is believed before it has been asked what it is.
Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30
"""Seconds that an interpreter has to say what it is: the first start from a network file system is slow."""
_QUESTION = """
import importlib.util, json, platform, sys, sysconfig
facts = [platform.python_implementation(), platform.python_version(), sysconfig.get_platform()]
facts += [sysconfig.get_config_var("EXT_SUFFIX") or "", importlib.util.find_spec("venv") is not None]
print(json.dumps([sys.executable, *facts]))
"""
_COMMANDS = {"CPython": "python", "PyPy": "pypy"}
"""What the interpreters of an implementation are called; ``python`` may be any of them."""


class CannotRebuild(Exception):
    """The environment that a bundle locks can't be built here. Nothing of the bundle was run."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Wanted(NamedTuple):
    """The interpreter that made a bundle's outputs, as :file:`environment.json` has it."""

    implementation: str
    version: str
    platform: str

    @property
    def series(self) -> str:
        """Return major and minor version: what compiled packages are bound to."""
        return series(self.version)

    def __str__(self) -> str:
        return f"{self.implementation} {self.series}"


class Interpreter(NamedTuple):
    """An interpreter of this machine, as it says itself."""

    path: str
    implementation: str
    version: str
    platform: str
    abi: str
    """The suffix of its extension modules, which tells apart C libraries, and builds with and without the GIL."""
    has_venv: bool

    def fits(self, wanted: Wanted) -> bool:
        """Return whether packages that were locked for ``wanted`` can run on it."""
        return (self.implementation, series(self.version)) == (wanted.implementation, wanted.series)

    def closeness(self, wanted: Wanted) -> tuple[bool, bool, bool]:
        """Return what is better the more of it is true."""
        return self.has_venv, self.platform == wanted.platform, self.version == wanted.version

    def __str__(self) -> str:
        return f"{self.implementation} {self.version} for {self.platform}"


def series(version: str) -> str:
    """Return the major and minor part of a version.

    >>> series("3.11.7")
    '3.11'
    """
    return ".".join(version.split(".")[:2])


def suitable(wanted: Wanted, python: str | None, environ: Mapping[str, str]) -> Interpreter:
    """Return the interpreter of this machine that is closest to ``wanted``.

    Implementation, major and minor version are the same; patch level and platform where one has them.

    :param python: the one to take, a path or a command; none to look for one.
    :param environ: where to look: ``PATH``, ``PYENV_ROOT``, and what interpreters need to start.
    :raises CannotRebuild: says what was found, and how to get what is needed.
    """
    if python is not None:
        return _named(python, wanted, environ)
    seen = []
    for found in _every(wanted, environ):
        seen.append(found)
        if found.fits(wanted) and all(found.closeness(wanted)):
            return found
    fitting = [found for found in seen if found.fits(wanted)]
    best = max(fitting, key=lambda found: found.closeness(wanted), default=None)
    if best is None:
        raise _nowhere(wanted, seen, environ)
    return _able(best, wanted, environ)


def asked(command: Sequence[str], environ: Mapping[str, str]) -> Interpreter | None:
    """Return what the interpreter that ``command`` starts says of itself; none if it doesn't start.

    Shims of pyenv exist for versions that are not selected, and Windows has a ``python`` that opens a shop.
    """
    try:
        return Interpreter(*json.loads(_answer([*command, "-I", "-c", _QUESTION], environ) or ""))
    except (ValueError, TypeError):
        return None


def _answer(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return what a program prints; none if it doesn't start, fails, or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell; programs that the user has installed
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=undisturbed(environ),
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout)


def undisturbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what makes an interpreter take itself for another one."""
    misleading = ("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in environ.items() if name not in misleading}


def _named(python: str, wanted: Wanted, environ: Mapping[str, str]) -> Interpreter:
    found = asked([shutil.which(python, path=environ.get("PATH")) or python], environ)
    if found is None:
        raise CannotRebuild(f"{python} is not a Python that starts", "name its program with --python, or none")
    if not found.fits(wanted):
        message = f"{python} is {found}, and the bundle's environment needs {wanted}"
        raise CannotRebuild(message, f"name another one, or none: a {wanted} is looked for then. {_CURRENT}")
    return _able(found, wanted, environ)


def _able(found: Interpreter, wanted: Wanted, environ: Mapping[str, str]) -> Interpreter:
    """Return ``found`` if it can make environments."""
    if found.has_venv:
        return found
    package = f"python{wanted.series}-venv"
    how = f"run 'apt-get install {package}'" if _apt_has(package, environ) else "install the rest of it"
    message = f"{found.path} is {found}, and lacks the module venv of the standard library"
    raise CannotRebuild(message, f"{how}, or name another {wanted} with --python")


def _every(wanted: Wanted, environ: Mapping[str, str]) -> Iterator[Interpreter]:
    """Yield the interpreters that are found, each once, the likeliest first."""
    tried: set[str] = set()
    for command in _commands(wanted, environ):
        program = os.path.realpath(command[0])
        if program in tried and len(command) == 1:
            continue
        found = asked(command, environ)
        own = os.path.realpath(found.path) if found else program  # a shim starts another program than itself
        if found is not None and own not in tried:
            yield found
        tried |= {program, own}


def _commands(wanted: Wanted, environ: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield what could start a fitting interpreter, and is there."""
    yield [sys.executable]
    name = _COMMANDS.get(wanted.implementation, wanted.implementation.lower())
    names = dict.fromkeys((f"{name}{wanted.series}", f"{name}3", name, "python3", "python"))
    for program in names:
        for path in _on_path(program, environ):
            yield [path]
    launcher = shutil.which("py", path=environ.get("PATH")) if sys.platform == "win32" else None
    if launcher:
        yield [launcher, f"-{wanted.series}"]
    for root in _pyenv_roots(environ):
        prefix = wanted.series if name == "python" else f"{name}{wanted.series}"
        for folder in sorted(root.glob(f"versions/{prefix}[.-]*"), reverse=True):
            yield from ([str(path)] for path in (folder / "bin" / "python", folder / "python.exe") if path.exists())
    uv = shutil.which("uv", path=environ.get("PATH"))
    if uv:
        yield from ([path] for path in _of_uv(uv, f"{wanted.implementation.lower()}@{wanted.series}", environ))


def _on_path(program: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield all programs of this name on the PATH, the first in it first: it may be one that doesn't start."""
    for directory in environ.get("PATH", "").split(os.pathsep):
        path = shutil.which(program, path=directory) if os.path.isabs(directory) else None  # noqa: PTH117
        if path:
            yield path


def _pyenv_roots(environ: Mapping[str, str]) -> Iterable[Path]:
    named = environ.get("PYENV_ROOT")
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    return [Path(named)] if named else [home / ".pyenv", home / ".pyenv" / "pyenv-win"]


def _of_uv(uv: str, request: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the interpreter that uv has installed and would take for ``request``."""
    options = ["--offline", "--no-project", "--python-preference", "only-managed"]
    found = _answer([uv, "python", "find", *options, request], environ)
    if found:
        yield found.strip()


_CURRENT = (
    "Or install fasthep-archive for a Python that you have, and replay with 'fasthep-archive replay --env current'"
)
_SOURCES: Mapping[str, Sequence[tuple[str, str]]] = {  # (the program that has to be there, what to run)
    "CPython": (
        ("dnf", "dnf install python{series}   (where the distribution has it)"),
        ("brew", "brew install python@{series}"),
        ("winget", "winget install Python.Python.{series}"),
        ("conda", "conda create -n python{series} python={series}   (then --python with the path of its python)"),
        ("mamba", "mamba create -n python{series} python={series}   (then --python with the path of its python)"),
        ("pyenv", "pyenv install {series}"),
        ("uv", "uv python install {series}"),
    ),
    "PyPy": (("pyenv", "pyenv install pypy{series}"), ("uv", "uv python install pypy@{series}")),
}
_SITES = {"CPython": "https://www.python.org/downloads/", "PyPy": "https://pypy.org/download.html"}


def _nowhere(wanted: Wanted, seen: Sequence[Interpreter], environ: Mapping[str, str]) -> CannotRebuild:
    """Return the error of a machine without the right interpreter."""
    others = [f"  {found.path} is {found}" for found in seen] or ["  no Python at all was found"]
    message = f"the bundle's environment needs {wanted}, and this machine has none that could be found"
    return CannotRebuild("\n".join([message, *others]), "\n".join(_advice(wanted, environ)))


def _advice(wanted: Wanted, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield how to get the interpreter, with the installers that are here."""
    yield f"install {wanted} (it was made with {wanted.version}), by one of these:"
    package = f"python{wanted.series}"
    if wanted.implementation == "CPython" and _apt_has(package, environ):
        yield f"  apt-get install {package} {package}-venv"
    for tool, line in _SOURCES.get(wanted.implementation, ()):
        if shutil.which(tool, path=environ.get("PATH")):
            yield f"  {line.format(series=wanted.series)}"
    yield f"  {_SITES.get(wanted.implementation, 'from where it is published')}"
    yield f"If it is here already, name it with --python PATH. {_CURRENT}"


def _apt_has(package: str, environ: Mapping[str, str]) -> bool:
    """Return whether apt's lists have a package: each Debian and Ubuntu has one Python, or two."""
    program = shutil.which("apt-cache", path=environ.get("PATH"))
    return program is not None and _answer([program, "show", package], environ) is not None
