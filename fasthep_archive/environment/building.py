"""Builds source trees: what a build depends on, a copy of the tree, the PEP 517 front end ``build`` in a process."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import JSON
from fasthep_archive.environment import source_tree
from fasthep_archive.environment.source_tree import Sources
from fasthep_archive.errors import DataError

FORMAT = 1
"""Changes when the same tree shall be built anew."""

UNREACHABLE = re.compile(
    r"NewConnectionError|Failed to establish a new connection|NameResolutionError|Temporary failure in name resolution"
    r"|Network is unreachable|ProxyError|ConnectTimeoutError|after connection broken by|No route to host"
    r"|Could not fetch URL \S+ connection error"
)
"""What pip says when it reaches no index."""

_NOTHING_FOUND = re.compile(r"No matching distribution found|Could not find a version that satisfies")
_DEFAULT = ("setuptools>=40.8.0",)
_TAIL = 25  # lines of a build's output in a message

# The earliest time that a zip can hold, in seconds of Unix. Backends that make versions of dates take it, too.
_EARLIEST = "315532800"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A tree and how it is built.

    :ivar isolated: whether in an environment of its own, into which what the build requires is installed.
    :ivar key: digest of the tree's content and of what else a build depends on.
    """

    tree: Path
    sources: Sources
    isolated: bool
    key: str


def recipe(tree: Path, *, environ: Mapping[str, str]) -> Recipe:
    """Return how ``tree`` is built in this environment.

    :raises DataError: if it is no source tree of a Python project, or a file of it can't be read.
    """
    from packaging.tags import sys_tags

    found = source_tree.sources(tree, environ=environ)
    requirements = _requirements(tree)
    versions = [[requirement, _version(requirement)] for requirement in requirements]
    isolated = any(version is None for _, version in versions)
    parts: JSON = {
        "format": FORMAT,
        "files": _content(found),
        "inside": found.inside,
        "history": found.history,
        "python": str(next(sys_tags())),
        "requirements": requirements if isolated else versions,
        "isolated": isolated,
    }
    return Recipe(tree=tree, sources=found, isolated=isolated, key=digest.of_json(parts))


@contextmanager
def built(recipe: Recipe, *, environ: Mapping[str, str], index: bool) -> Iterator[Path]:
    """Build a copy of the tree and yield the wheel, which is gone afterwards.

    :param index: whether an index may be asked for what the build requires.
    :raises DataError: with the end of the build's output, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="fasthep-archive-") as name:
        place = Path(name).resolve()
        copy, out = place / "tree", place / "wheel"
        source_tree.clone_history(recipe.sources, copy, environ=environ)
        _copy(recipe.sources, copy)
        env = {**environ, "SOURCE_DATE_EPOCH": _EARLIEST, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        if not index:
            env["PIP_NO_INDEX"] = "1"
        isolated = recipe.isolated
        done = _run(copy / recipe.sources.inside, out, env, isolated=isolated)
        if done.returncode != 0 and not isolated and "Missing dependencies" in done.stdout:
            # Requirements that only the backend knows; asked for when it runs.
            done = _run(copy / recipe.sources.inside, out, env, isolated=True)
        wheels = sorted(out.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            raise _failure(recipe, done.stdout.replace(str(copy), "."), index=index)
        yield wheels[0]


def _run(tree: Path, out: Path, env: Mapping[str, str], *, isolated: bool) -> subprocess.CompletedProcess[str]:
    # -P: what lies in the working directory is not imported in place of the front end
    command = [sys.executable, "-P", "-m", "build", "--wheel", "--outdir", str(out), str(tree)]
    return subprocess.run(  # noqa: S603 - no shell; the tree is one that the user has installed
        command if isolated else [*command, "--no-isolation"],
        env=dict(env),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def _failure(recipe: Recipe, output: str, *, index: bool) -> DataError:
    tail = "\n".join(f"  {line}" for line in output.rstrip().splitlines()[-_TAIL:])
    message = f"no wheel can be built from the source tree {recipe.tree}:\n{tail}"
    needed = ", ".join(_requirements(recipe.tree))
    if UNREACHABLE.search(output) or (not index and _NOTHING_FOUND.search(output)):
        why = "no package index could be reached" if index else "no package index was to be asked"
        return DataError(
            f"{message}\n{why}, and the build requires what is not installed here: {needed}",
            hint=f"install that here, or try again with a network: pip install {needed.replace(', ', ' ')}",
        )
    return DataError(message, hint=f"see that 'python -m build --wheel {recipe.tree}' works, then try again")


def _requirements(tree: Path) -> list[str]:
    """Return what building ``tree`` requires: what its ``pyproject.toml`` says, or setuptools (PEP 518)."""
    from packaging.requirements import Requirement

    try:
        document = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
        declared = document.get("build-system", {}).get("requires", _DEFAULT)
        return sorted(str(Requirement(text)) for text in declared)
    except FileNotFoundError:
        if any((tree / name).is_file() for name in source_tree.PROJECT):
            return list(_DEFAULT)
        raise DataError(
            f"{tree} is no source tree that can be built: it has neither pyproject.toml nor setup.py",
            hint="install the package again from where its sources are now",
        ) from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{tree / 'pyproject.toml'} doesn't say how to build the project: {error}") from error


def _version(text: str) -> str | None:
    """Return the installed version that satisfies the requirement ``text``; none if there is none.

    It is empty where nothing is required here. What the version requires in turn is checked by the front end.
    """
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None
    return version if requirement.specifier.contains(version, prereleases=True) else None


def _content(found: Sources) -> JSON:
    """Return path, mode and digest of each file, and where links lead to."""

    def described(name: str) -> JSON:
        path = found.root / name
        if source_tree.is_inner_link(path, found.root):
            return [name, "link", path.readlink().as_posix()]
        return [name, "x" if path.stat().st_mode & 0o111 else "-", digest.of_file(path)]

    try:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(described, found.files))
    except OSError as error:
        raise DataError(f"{error.filename} can't be read: {error.strerror or error}") from error


def _copy(found: Sources, copy: Path) -> None:
    for name in found.files:
        source, destination = found.root / name, copy / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source_tree.is_inner_link(source, found.root):
            destination.symlink_to(source.readlink())
        else:
            shutil.copyfile(source, destination)
            shutil.copymode(source, destination)
