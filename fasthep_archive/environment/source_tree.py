"""Source trees: where a distribution that is installed from one has it, what belongs to it, what git says of it.

A tree is read, never written: git is asked without its optional locks, under which ``git status`` rewrites the index.
What is returned to be recorded (:class:`State`) has no path in it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fasthep_archive.errors import DataError

PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
"""Files of which the root of a source tree has one."""

_SKIPPED = re.compile(
    r"\.git|\.hg|\.svn|\.bzr|CVS|_darcs|\.jj"  # version control
    r"|__pycache__|\.(mypy|pytest|ruff)_cache|\.hypothesis|\.ipynb_checkpoints|\.tox|\.nox|node_modules"
    r"|\.eggs|.*\.egg-info|.*\.dist-info"
)
_BUILT = ("build", "dist")
_REPOSITORY = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What git says of a source tree.

    :ivar commit: the full hexadecimal name of the commit that is checked out; none where git knows of none.
    :ivar dirty: whether files differ from it or are not in it (ignored ones do not count); none without git.
    """

    commit: str | None
    dirty: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The files that a tree is built from.

    :ivar root: the directory that ``files`` are relative to: that of the repository, or the tree itself.
    :ivar inside: where the tree is below ``root``, with ``/``; empty for ``root`` itself.
    :ivar files: sorted, with ``/``. Links that lead to somewhere in ``root`` are among them, and those that lead to a
        file elsewhere, whose content counts; links to directories elsewhere (of data, most often) are not.
    :ivar history: what versions are made from: commit, nearest tag, branch; empty without git.
    """

    root: Path
    inside: str
    files: tuple[str, ...]
    history: str


def is_editable(distribution: Distribution) -> bool:
    """Return whether the distribution is used from its source tree (PEP 660, or a development ``.egg-info``)."""
    direct = _direct_url(distribution)
    if direct is not None:
        info = direct.get("dir_info")
        return isinstance(info, dict) and info.get("editable") is True
    # What installers write is missing, and what setuptools leaves in a source tree is there.
    installed = any(distribution.read_text(name) is not None for name in ("RECORD", "installed-files.txt"))
    return not installed and distribution.read_text("SOURCES.txt") is not None


def tree_of(distribution: Distribution) -> Path | None:
    """Return the directory that the distribution is used or was installed from; none if there is none now.

    What was installed from a directory without being editable may be older than what the directory holds now.
    """
    direct = _direct_url(distribution)
    if direct is not None:
        return _directory(direct)
    if not is_editable(distribution):
        return None
    site = Path(str(distribution.locate_file(""))).resolve()
    # setuptools keeps the .egg-info beside the packages: at the top, or in src/
    return next((tree for tree in (site, site.parent) if any((tree / name).is_file() for name in PROJECT)), None)


def state(tree: Path, *, environ: Mapping[str, str] | None = None) -> State:
    """Return what git says of ``tree``: nothing if git is missing, or no file of the tree is in a repository.

    :param environ: variables for git; those of this process unless told.
    """
    commit = _git(tree, "rev-parse", "--verify", "--quiet", "HEAD", environ=environ)
    if not _git(tree, "ls-files", "--cached", "--", ".", environ=environ):
        return State(commit=None, dirty=None)  # beside a repository's files, but not one of them
    changed = _git(tree, "status", "--porcelain", "--untracked-files=normal", "--", ".", environ=environ)
    name = (commit or "").strip()
    return State(commit=name if _COMMIT.fullmatch(name) else None, dirty=None if changed is None else bool(changed))


def state_of(distribution: Distribution, *, environ: Mapping[str, str] | None = None) -> State:
    """Return what is known of the commit that the distribution comes from.

    That is what the installer noted (``pip install git+https://...``, PEP 610), else the state of the tree that it is
    used from. What was installed from a directory by copying is of no known commit: the directory has gone on since.
    """
    info = (_direct_url(distribution) or {}).get("vcs_info")
    commit = info.get("commit_id") if isinstance(info, dict) else None
    if isinstance(commit, str) and _COMMIT.fullmatch(commit):
        return State(commit=commit, dirty=False)
    tree = tree_of(distribution) if is_editable(distribution) else None
    return State(commit=None, dirty=None) if tree is None else state(tree, environ=environ)


def sources(tree: Path, *, environ: Mapping[str, str] | None = None) -> Sources:
    """Return the files that ``tree`` is built from.

    In a git repository: what git tracks, of the whole repository (projects in a subdirectory refer to what is above),
    and what is in the tree, untracked and not ignored. Elsewhere: all but version control, virtual environments,
    caches and what builds leave.

    :raises DataError: if there is no such directory.
    """
    if not tree.is_dir():
        raise DataError(f"the source tree {tree} is not there", hint="install the package again from where it is now")
    tree = tree.resolve()
    tracked = _git(tree, "ls-files", "--cached", "--", ".", environ=environ)
    top = _git(tree, "rev-parse", "--show-toplevel", environ=environ)
    if not tracked or not top:
        return Sources(root=tree, inside="", files=tuple(sorted(_walked(tree, tree))), history="")
    root = Path(top.removesuffix("\n"))
    asked = (
        _git(root, "ls-files", "-z", "--cached", environ=environ),
        _git(tree, "ls-files", "-z", "--others", "--exclude-standard", "--full-name", environ=environ),
    )
    named = {name for answer in asked for name in (answer or "").split("\0") if name}
    return Sources(
        root=root,
        inside="/".join(tree.relative_to(root.resolve()).parts),
        files=tuple(sorted(_present(root, named, environ))),
        history=_history(root, environ),
    )


def clone_history(found: Sources, copy: Path, *, environ: Mapping[str, str] | None = None) -> None:
    """Give the empty directory ``copy`` the history of the sources' repository, without files, sharing its objects.

    Build backends ask git for the version and for the list of files; here they get the answers of the tree, and what
    they write goes to the copy. Without git nothing is done.
    """
    if not found.history:
        return
    cloned = _git(
        found.root,
        "clone",
        "--quiet",
        "--shared",
        "--no-checkout",
        "--template=",
        "--",
        ".",
        str(copy),
        environ=environ,
    )
    index = _git(found.root, "rev-parse", "--git-path", "index", environ=environ)
    if cloned is not None and index is not None:
        source = found.root / index.removesuffix("\n")
        if source.is_file():
            (copy / ".git" / "index").write_bytes(source.read_bytes())


def is_inner_link(path: Path, root: Path) -> bool:
    """Return whether ``path`` is a link that leads, by a relative path, to somewhere in ``root``."""
    return path.is_symlink() and not path.readlink().is_absolute() and path.resolve().is_relative_to(root.resolve())


def _present(root: Path, names: set[str], environ: Mapping[str, str] | None) -> Iterator[str]:
    """Yield those of ``names`` that are files or links; directories are repositories of their own, and are listed."""
    for name in names:
        path = root / name
        if path.is_file() or is_inner_link(path, root):
            yield name
        elif path.is_dir() and not path.is_symlink():
            inner = sources(path, environ=environ)
            below = f"{inner.inside}/" if inner.inside else ""
            for file in inner.files:
                if file.startswith(below):
                    yield f"{name.rstrip('/')}/{file.removeprefix(below)}"


def _walked(root: Path, directory: Path) -> Iterator[str]:
    """Yield the files below ``directory``, relative to ``root``, that no tool has left there."""
    with os.scandir(directory) as entries:
        for entry in entries:
            path = Path(entry.path)
            if _SKIPPED.fullmatch(entry.name) or entry.name.endswith((".pyc", ".pyo")):
                continue
            if entry.is_file() or is_inner_link(path, root):
                yield path.relative_to(root).as_posix()
            elif entry.is_dir(follow_symlinks=False) and not _left_by_tools(path, top=directory == root):
                yield from _walked(root, path)


def _left_by_tools(directory: Path, *, top: bool) -> bool:
    """Return whether ``directory`` is an environment, or one that builds write to (and not a package of that name)."""
    environment = (directory / "pyvenv.cfg").is_file() or (directory / "conda-meta").is_dir()
    return environment or (top and directory.name in _BUILT and not (directory / "__init__.py").is_file())


def _history(root: Path, environ: Mapping[str, str] | None) -> str:
    """Return commit, nearest tag and branch, on one line each."""
    asked = (
        ("rev-parse", "--verify", "--quiet", "HEAD"),
        ("describe", "--tags", "--long", "--always"),  # --dirty writes the index, optional locks or not
        ("symbolic-ref", "--quiet", "HEAD"),
    )
    return "\n".join((_git(root, *question, environ=environ) or "").strip() for question in asked)


def _direct_url(distribution: Distribution) -> dict[str, object] | None:
    """Return what ``direct_url.json`` says (PEP 610), or none if there is none that can be read."""
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _directory(direct: Mapping[str, object]) -> Path | None:
    """Return the directory that a ``direct_url.json`` names, if it does and there is one."""
    url = urlsplit(str(direct.get("url", "")))
    if url.scheme != "file" or "dir_info" not in direct:
        return None
    tree = Path(url2pathname(url.path), str(direct.get("subdirectory", "")))
    return tree if tree.is_dir() else None


def _git(directory: Path, *arguments: str, environ: Mapping[str, str] | None) -> str | None:
    """Return what git prints, or none if it is missing or refuses."""
    # A hook of git runs with variables that name its own repository.
    env = None if environ is None else {name: value for name, value in environ.items() if name not in _REPOSITORY}
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the program is the user's git
            ["git", "--no-optional-locks", "-C", str(directory), *arguments],  # noqa: S607
            env=env,
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
