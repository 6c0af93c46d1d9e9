"""What is installed here of a closure, as a lock needs to know it: files, origin, source tree, markers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import TypeVar

from fasthep_archive.context import Progress
from fasthep_archive.digest import Digest
from fasthep_archive.environment import closures, inspections, packages, source_tree
from fasthep_archive.environment.artifacts import Pin
from fasthep_archive.environment.packages import Package
from fasthep_archive.environment.source_tree import State
from fasthep_archive.errors import DataError

Thing = TypeVar("Thing")
Result = TypeVar("Result")

_UNKNOWN = State(commit=None, dirty=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One installed package of a closure.

    :ivar pin: its normalised name and version.
    :ivar marker: where it is needed; none: everywhere.
    :ivar files: digest of its installed files; none if it is used from a source tree, which has to be built first.
    :ivar tree: the source tree that it is used from; none for what is installed.
    :ivar state: what git says of the source tree that it is from.
    :ivar modified: paths in its wheel of files that were changed since they were installed.
    :ivar foreign: why it can't be what an index has, to follow the name in a sentence; none if it can.
    """

    pin: Pin
    distribution: Distribution
    needs: tuple[str, ...]
    marker: str | None
    files: Digest | None
    tree: Path | None
    state: State
    modified: tuple[str, ...]
    foreign: str | None

    def __str__(self) -> str:
        return f"{self.pin.name} {self.pin.version}"


def items(roots: Sequence[str], *, cache: Path, environ: Mapping[str, str], progress: Progress) -> tuple[Item, ...]:
    """Return the closure of ``roots``, sorted by name. Every installed file is read that may have changed since it was.

    :param cache: where it is remembered what was read.
    :param environ: variables for git.
    :raises DataError: naming all packages of which it can't be told what is installed.
    """
    closure = closures.remembered(roots, cache)
    conditions = closures.conditions(roots, closure, cache)
    progress.start("reading what is installed", len(closure), "packages")

    def read(package: Package) -> Item:
        found = _item(package, conditions[package.name], cache, environ)
        progress.advance(1)
        return found

    return tuple(for_each(closure, read))


def for_each(things: Iterable[Thing], work: Callable[[Thing], Result]) -> list[Result]:
    """Return what ``work`` returns for each of ``things``.

    :raises DataError: with all that went wrong, one a line, and the first hint.
    """
    done, wrong = [], []
    for thing in things:
        try:
            done.append(work(thing))
        except DataError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise DataError("\n".join(error.message for error in wrong), hint=wrong[0].hint) from wrong[0]
    return done


def _item(package: Package, marker: str | None, cache: Path, environ: Mapping[str, str]) -> Item:
    distribution = packages.installed(package.name)
    assert distribution is not None, "a closure holds what is installed"
    editable = package.origin == "editable"
    read = None if editable else inspections.remembered(distribution, package, cache)
    modified = read.modified if read else ()
    return Item(
        pin=Pin(name=package.name, version=_version(package)),
        distribution=distribution,
        needs=package.needs,
        marker=marker,
        files=read.files if read else None,
        tree=_tree(package, distribution) if editable else None,
        state=_UNKNOWN if package.origin == "index" else source_tree.state_of(distribution, environ=environ),
        modified=modified,
        foreign=_foreign(package, modified),
    )


def _version(package: Package) -> str:
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(package.version))
    except InvalidVersion as error:
        raise DataError(
            f"{package.name} has the version {package.version!r}, which is none that a lock can name (PEP 440)",
            hint=f"install a release: python -m pip install --upgrade {package.name}",
        ) from error


def _tree(package: Package, distribution: Distribution) -> Path:
    tree = source_tree.tree_of(distribution)
    if tree is None:
        raise DataError(
            f"{package.name} {package.version} is used from a source tree that isn't there",
            hint=f"install it again: python -m pip install --force-reinstall {package.name}",
        )
    return tree


def _foreign(package: Package, modified: Sequence[str]) -> str | None:
    if package.origin == "editable":
        return "is used from its source tree"
    if package.origin == "direct url":
        return "was not installed from a package index"
    if not modified:
        return None
    more = f" and {len(modified) - 1} more" if len(modified) > 1 else ""
    return f"was changed since it was installed ({modified[0]}{more})"
