"""The environment of a bundle: the lock of what is installed, and the wheels that the bundle carries.

What an index offers is locked by the files there. Everything else is made into a wheel, which the bundle always
carries: what is used from a source tree, came from elsewhere, was changed since it was installed, has vanished from
the index or has no fitting wheel there. This tool and pip, which rebuild the environment, are always carried too;
the other wheels in a fat bundle only. Without an index, what isn't carried is *unresolved*: its version and the digest
of its installed files are all that is known of it.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fasthep_archive import digest
from fasthep_archive.context import Progress
from fasthep_archive.environment import artifacts, download, indexes, installation, platforms, wheels
from fasthep_archive.environment.artifacts import Answer, Pin
from fasthep_archive.environment.installation import Item
from fasthep_archive.environment.lock import Artifact, Lock, Locked, Status
from fasthep_archive.environment.snapshot import TOOL
from fasthep_archive.environment.source_tree import State
from fasthep_archive.errors import DataError, writing
from fasthep_archive.files import write_atomically

CARRIED = frozenset({TOOL, "pip"})
"""What every bundle carries, thin or fat."""

_ANOTHER = "is not what a package index has under this name and version"
_GONE = "is on no package index"
_UNFIT = "has no wheel for this Python and platform on a package index"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What ``pack`` puts into a bundle.

    :ivar wheels: the carried wheels, sorted by name.
    :ivar own: the paths in wheels, by the name of the wheel, of files that the author may have written, and that
        nobody else has published; ``None`` for all files of a wheel.
    :ivar notes: what the user must be told, a sentence each.
    """

    lock: Lock
    wheels: tuple[Path, ...]
    own: Mapping[str, tuple[str, ...] | None]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decision:
    """How one package is locked.

    :ivar answer: what an index offers, for status ``index``.
    :ivar why: why it is made into a wheel although an index could be asked, to follow its name in a sentence.
    """

    status: Status
    answer: Answer | None = None
    why: str | None = None


_Decisions: TypeAlias = "dict[Item, _Decision]"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """What was asked of :func:`prepare`, by the names of its parameters."""

    wheels: Path
    fat: bool
    platforms: tuple[str, ...]
    index: bool
    cache: Path
    environ: Mapping[str, str]
    progress: Progress
    plugins: frozenset[str]

    def carries(self, item: Item) -> bool:
        return self.fat or item.pin.name in CARRIED | self.plugins


def prepare(
    roots: Sequence[str],
    wheels: Path,
    *,
    fat: bool,
    platforms: Sequence[str] = (),
    index: bool,
    cache: Path,
    environ: Mapping[str, str],
    progress: Progress,
    plugins: Sequence[str] = (),
) -> Prepared:
    """Return the lock of the closure of ``roots``, and the wheels that a bundle carries, which are now in ``wheels``.

    :param roots: distributions: this tool, its plug-ins, what the analysis imports; extras in brackets.
    :param wheels: directory that wheels are written to; created if missing.
    :param fat: whether all wheels are carried.
    :param platforms: platforms besides this one that wheels are carried for.
    :param index: whether package indexes may be asked.
    :param cache: directory of what is remembered from one packing to the next.
    :param environ: the environment variables of this process, by which pip, uv and git are configured.
    :param plugins: those of the roots whose wheels every bundle carries.
    :raises DataError: naming all packages that can't be locked or carried.
    """
    task = _Task(
        wheels=wheels,
        fat=fat,
        platforms=tuple(platforms),
        index=index,
        cache=cache,
        environ=environ,
        progress=progress,
        plugins=frozenset(re.sub(r"[-_.]+", "-", name).lower() for name in plugins),
    )
    items = installation.items(roots, cache=cache, environ=environ, progress=progress)
    decisions = _decisions(items, _answers(items, task) if index else {}, task)
    try:
        carried = _downloaded(decisions, task)
    except DataError:
        if task.platforms or _reached(task):
            raise
        decisions, carried = _decisions(items, {}, task), {}  # all answers were remembered, see _answers
    made = _made(decisions, task)
    lock = _lock(decisions, made)
    _check_platforms(lock, task)
    paths = sorted({*carried.values(), *made.values()}, key=lambda path: path.name)
    return Prepared(
        lock=lock, wheels=tuple(paths), own=_own(decisions, made), notes=tuple(_notes(decisions, lock, task))
    )


def _python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


# --- deciding ------------------------------------------------------------------------------------------------------


def _answers(items: Iterable[Item], task: _Task) -> dict[Pin, Answer]:
    """Return what indexes say of everything that can be from one; nothing when none answers.

    What is remembered doesn't count then: a fat bundle could not have those files, and thin and fat ones must agree.
    """
    places = indexes.configured(task.environ)
    found = artifacts.find(
        [item.pin for item in items if item.foreign is None],
        places.finders(python=_python(), environ=task.environ),
        memory=places.memory(task.cache, _python()),
    )
    return {} if any(answer.outcome == "unreachable" for answer in found.values()) else found


def _reached(task: _Task) -> bool:
    """Return whether an index answers now."""
    *_, last = indexes.configured(task.environ).finders(python=_python(), environ=task.environ)
    pin = Pin(name="pip", version="0")
    return last.find([pin])[pin].outcome != "unreachable"


def _decisions(items: Iterable[Item], answers: Mapping[Pin, Answer], task: _Task) -> _Decisions:
    return {item: _decision(item, answers.get(item.pin), task) for item in items}


def _decision(item: Item, answer: Answer | None, task: _Task) -> _Decision:
    if item.foreign is not None:
        return _Decision(status="built", why=item.foreign)
    if answer is None or answer.outcome in ("unknown", "unreachable"):
        return _Decision(status="built" if task.carries(item) else "unresolved")
    if answer.outcome == "vanished":
        return _Decision(status="built", why=_GONE)
    decision = _Decision(status="index", answer=answer)
    if download.chosen(_locked(item, decision, None), platforms.here(_python())) is None:
        return _Decision(status="built", why=_UNFIT)
    return decision


# --- carrying ------------------------------------------------------------------------------------------------------


def _downloaded(decisions: _Decisions, task: _Task) -> dict[str, Path]:
    """Return the carried wheels that an index offers, by name; what turns out to be another is decided anew."""
    wanted = {
        item: _locked(item, decision, None)
        for item, decision in decisions.items()
        if decision.status == "index" and task.carries(item)
    }
    if not wanted:
        return {}
    kept = task.cache / "carried"
    with writing(kept):
        kept.mkdir(parents=True, exist_ok=True)
    paths = download.download(
        list(wanted.values()),
        task.wheels,
        python=_python(),
        platforms=task.platforms,
        environ=task.environ,
        progress=task.progress,
        wheels_from=kept,
    )
    carried = {path.name: path for path in paths}
    _keep((path for item, entry in wanted.items() if item.pin.name in CARRIED for path in _of(entry, carried)), kept)
    for item, entry in wanted.items():
        if item.pin.name in CARRIED and _another(item, entry, carried):
            decisions[item] = _Decision(status="built", why=_ANOTHER)
    return carried


def _of(entry: Locked, carried: Mapping[str, Path]) -> Iterator[Path]:
    return (carried[artifact.name] for artifact in entry.artifacts if artifact.name in carried)


def _keep(paths: Iterable[Path], directory: Path) -> None:
    """Keep copies of what every bundle carries, so that pip is not started for each of a thousand bundles."""
    for path in paths:
        copy = directory / path.name
        if not copy.is_file() or digest.of_file(copy) != digest.of_file(path):
            write_atomically(copy, path.read_bytes())


def _another(item: Item, entry: Locked, carried: dict[str, Path]) -> bool:
    """Return whether the index's wheel is not what is installed here, and drop it then.

    A stranger may have released something under this tool's name. Only what every bundle carries is looked at: thin
    and fat bundles must agree.
    """
    best = download.chosen(entry, platforms.here(_python()))
    if best is None or wheels.files_digest_of(carried[best.name]) == item.files:
        return False
    for artifact in entry.artifacts:
        if path := carried.pop(artifact.name, None):
            path.unlink()
    return True


def _made(decisions: _Decisions, task: _Task) -> dict[Item, Path]:
    """Return the wheels that are made here."""
    wanted = [item for item, decision in decisions.items() if decision.status == "built"]
    task.progress.start("making wheels", len(wanted), "wheels")
    kept = task.cache / "trees"

    def make(item: Item) -> Path:
        if item.tree is None:
            path = wheels.rebuilt(item.distribution, task.wheels, files=item.files, cache=kept)
        else:
            path = wheels.from_tree(item.tree, task.wheels, cache=kept, environ=task.environ, index=task.index)
        task.progress.advance(1)
        return path

    return dict(zip(wanted, installation.for_each(wanted, make), strict=True))


def _own(decisions: _Decisions, made: Mapping[Item, Path]) -> dict[str, tuple[str, ...] | None]:
    """Return what the author may have written of the wheels that were made here.

    What came from an index was published there, even where it can't be asked now.
    """
    foreign = (item for item, decision in decisions.items() if item.foreign is not None or decision.why == _GONE)
    return {made[item].name: item.modified or None for item in foreign if item in made and item.pin.name not in CARRIED}


def _check_platforms(lock: Lock, task: _Task) -> None:
    """Refuse to carry wheels for another platform when one that is made here fits only this one."""
    unfit = [
        f"{package.name} {package.version} is made into a wheel here, and that doesn't fit {target.name}"
        for target in (platforms.there(name, _python()) for name in task.platforms)
        for package in lock.packages
        if package.status == "built" and target.needs(package.marker) and download.chosen(package, target) is None
    ]
    if unfit:
        raise DataError("\n".join(unfit), hint="leave out the platform, or install a release that has wheels for it")


# --- locking -------------------------------------------------------------------------------------------------------


def _lock(decisions: _Decisions, made: Mapping[Item, Path]) -> Lock:
    return Lock(
        python=_python(),
        implementation=sys.implementation.name,
        platform=sysconfig.get_platform(),
        packages=tuple(_locked(item, decision, made.get(item)) for item, decision in decisions.items()),
    )


def _locked(item: Item, decision: _Decision, wheel: Path | None) -> Locked:
    """Return the lock's entry; ``wheel`` is what was made of the package, if something was."""
    state = item.state if decision.status == "built" else State(commit=None, dirty=None)
    built = () if wheel is None else (_artifact(wheel),)
    files = item.files
    if files is None:
        assert wheel is not None, "a source tree is always built"
        files = wheels.files_digest_of(wheel)
    return Locked(
        name=item.pin.name,
        version=item.pin.version if item.tree is None or wheel is None else _version(wheel),
        marker=item.marker,
        requires_python=_requires_python(item),
        needs=item.needs,
        artifacts=decision.answer.artifacts if decision.answer else built,
        status=decision.status,
        files=files,
        commit=state.commit,
        dirty=state.dirty,
    )


def _artifact(wheel: Path) -> Artifact:
    return Artifact(name=wheel.name, sha256=digest.of_file(wheel), size=wheel.stat().st_size)


def _version(wheel: Path) -> str:
    """Return the version of a wheel that was built from a tree, which may be newer than its installation."""
    from packaging.utils import parse_wheel_filename

    return str(parse_wheel_filename(wheel.name)[1])


def _requires_python(item: Item) -> str | None:
    """Return which versions of Python the installed metadata ask for; none if they say nothing that can be read."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    stated = item.distribution.metadata.get_all("Requires-Python") or []
    try:
        return str(SpecifierSet(",".join(stated))) or None
    except InvalidSpecifier:
        return None


# --- telling -------------------------------------------------------------------------------------------------------


def _notes(decisions: _Decisions, lock: Lock, task: _Task) -> Iterator[str]:
    """Yield what the user must be told."""
    asked = "no package index could be reached" if task.index else "no package index was asked"
    unresolved = [item for item, decision in decisions.items() if decision.status == "unresolved"]
    rebuilt = [item for item, decision in decisions.items() if decision.status == "built" and decision.why is None]
    if unresolved:
        yield (
            f"{asked}: {len(unresolved)} packages are recorded with their versions and the digests of their installed "
            "files only, and rebuilding the environment will need an index that has them"
        )
    if rebuilt:
        yield f"{asked}: wheels were made from the installed files of {', '.join(map(str, rebuilt))}"
    for item, decision in decisions.items():
        if decision.why is not None:
            yield f"{item} {decision.why}; a wheel of it was made and is carried"
        if decision.answer is not None and decision.answer.yanked is not None:
            why = decision.answer.yanked or "no reason is given"
            yield f"{item} was withdrawn from the package index by its authors: {why}"
    for package in lock.packages:
        if package.dirty:
            at = f"commit {package.commit[:12]}" if package.commit else "any commit"
            yield f"{package.name} {package.version} has changes that are not in {at}"
