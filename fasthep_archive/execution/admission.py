"""What a worker on another machine must be like before it gets work, and what is found of it there.

A worker that computes with other packages, another Python or another version of this tool could leave other bytes under
the same key. So each is examined where it runs, and refused with the reasons.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

from fasthep_archive.environment.packages import Package
from fasthep_archive.errors import ArchiveError
from fasthep_archive.execution.version import code_digest
from fasthep_archive.files import private_directory
from fasthep_archive.kernels.selftest import refuse

SHOWN = 3
"""Packages that differ that are told of one worker."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a worker must have.

    :ivar python: implementation and minor version. :ivar packages: names and versions. :ivar code: see
        :func:`~fasthep_archive.execution.version.code_digest`.
    :ivar tokens: files of this run, in the store and in the cache: who sees them shares these directories.
    :ivar shared: whether workers must see them. If not, results travel with the tasks.
    :ivar cache: the directory of the caches.
    """

    python: str
    packages: tuple[tuple[str, str], ...]
    code: str
    tokens: tuple[Path, ...]
    shared: bool
    cache: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What was found of a worker: why it can't have work (empty: it can), and whether it shares the directories."""

    faults: tuple[str, ...]
    shares: bool


def terms_of(packages: Iterable[Package], left: tuple[Path, ...], cache: Path) -> Terms:
    """Return the terms that this process itself meets, before it is known whether workers share its directories."""
    return Terms(
        python=interpreter(),
        packages=tuple((package.name, package.version) for package in packages),
        code=code_digest(),
        tokens=left,
        shared=False,
        cache=cache,
    )


def interpreter() -> str:
    """Return the implementation and the minor version of this Python."""
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def tokens(*directories: Path) -> Iterator[tuple[Path, ...]]:
    """Leave a file in each directory, for workers to look for, and remove them afterwards."""
    left = []
    try:
        for directory in dict.fromkeys(directories):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=directory, prefix=".token-")
            os.close(handle)
            left.append(Path(name))
        yield tuple(left)
    finally:
        for path in left:
            path.unlink(missing_ok=True)


def examine(terms: Terms) -> Examined:
    """Return what this process, a worker, is like."""
    shares = all(token.is_file() for token in terms.tokens)
    faults = [*_interpreter(terms), *_packages(terms)]
    if terms.shared and not shares:
        faults.append(f"it does not see {terms.cache}, which the first workers share")
    return Examined(faults=tuple(faults or _arithmetic(terms, shares=shares)), shares=shares)


@lru_cache(maxsize=8)
def examined(terms: bytes) -> Examined:
    """Return the same of pickled terms, which are looked at once in a process."""
    return examine(pickle.loads(terms))  # noqa: S301 - of the process that gives this one its work


def caches(terms: Terms) -> Path:
    """Return the directory of this worker's caches: those of the run, or its own if it doesn't share them."""
    if terms.shared:
        return terms.cache
    user = os.getuid() if hasattr(os, "getuid") else 0
    return private_directory(Path(tempfile.gettempdir()) / f"fasthep-archive-{user}")


def _interpreter(terms: Terms) -> Iterator[str]:
    if interpreter() != terms.python:
        yield f"{interpreter()} runs there, {terms.python} here"
    if code_digest() != terms.code:
        yield f"the code of fasthep-archive is {code_digest()} there, {terms.code} here"


def _packages(terms: Terms) -> Iterator[str]:
    unlike = [text for name, version in terms.packages if (text := _unlike(name, version))]
    yield from unlike[:SHOWN]
    if len(unlike) > SHOWN:
        yield f"{len(unlike) - SHOWN} more packages differ"


def _unlike(name: str, version: str) -> str | None:
    try:
        found = Distribution.from_name(name).version
    except PackageNotFoundError:
        return f"{name} is not installed there"
    return None if found == version else f"{name} is {found} there, {version} here"


def _arithmetic(terms: Terms, *, shares: bool) -> tuple[str, ...]:
    """Return why it doesn't compute as the profile says."""
    try:
        refuse(terms.cache if shares else caches(terms))
    except ArchiveError as error:
        return (error.message,)
    return ()
