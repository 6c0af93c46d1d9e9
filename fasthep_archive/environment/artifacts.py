"""Which files a package index offers for exact versions: names, sha256, sizes.

Two finders stand behind one Protocol: uv, where it is installed, and pip-tools, which asks what uv doesn't know. Both
give the same set, by one rule (:func:`settled`): the source distribution, and every wheel that a Python of the lock's
minor version can install, on whatever platform. (uv leaves out wheels for older interpreters on its own; wheels for
other minor versions are of no use to a lock that requires this one.) Answers are remembered by version and
configuration of the indexes: a released file never changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment.lock import Artifact
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError
from fasthep_archive.files import write_atomically

if TYPE_CHECKING:
    from packaging.tags import Tag

_FORMAT = 1

Outcome: TypeAlias = Literal["found", "vanished", "unknown", "unreachable"]
"""A configured place has the version; none has it; those that answered don't have it, and another didn't answer; no
place answers at all."""

_INTERPRETER = re.compile(r"([a-z]+)3([0-9]*)")
"""The interpreters of a wheel's tag, for any Python 3: ``py3``, ``py38``, ``cp311``, ``pp311``, ``graalpy311``."""

_SDISTS = (".tar.gz", ".zip")
"""Forms of source distributions, the standard one (PEP 625) first."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Pin:
    """One exact version: normalised name, version as PEP 440 writes it."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is known about one pin.

    :ivar artifacts: sorted by name; may be none even of a version that was found.
    :ivar yanked: the reason for which the version was withdrawn (PEP 592; may be empty); none if it was not.
    :ivar lasting: whether it may be remembered: every configured place answered, and no file lies in a local folder
        where it may be replaced unnoticed.
    """

    outcome: Outcome
    artifacts: tuple[Artifact, ...] = ()
    yanked: str | None = None
    lasting: bool = True

    def to_json(self) -> JSON:
        """Return the remembered form of an answer that was found."""
        files: list[JSON] = [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in self.artifacts]
        return {"format": _FORMAT, "artifacts": files, "yanked": self.yanked}

    @classmethod
    def from_json(cls, value: JSON) -> Answer:
        """Return the answer that was remembered.

        :raises DataError: if ``value`` is not one of :meth:`to_json`.
        """
        reader = Reader.of(value, "artifacts")
        reader.format(_FORMAT)
        return cls(
            outcome="found",
            artifacts=tuple(artifact(item) for item in reader.readers("artifacts")),
            yanked=reader.optional_text("yanked"),
        )


class Finder(Protocol):
    """Something that asks package indexes."""

    def find(self, pins: Sequence[Pin]) -> Mapping[Pin, Answer]:
        """Return what was found out; a pin that another finder must be asked for is left out."""


def find(pins: Iterable[Pin], finders: Iterable[Finder], *, memory: Path) -> dict[Pin, Answer]:
    """Return an answer for each of ``pins``: the remembered one, or the first that a finder gives.

    :param memory: directory of remembered answers, of one configuration of indexes and one version of Python.
    """
    wanted = sorted(set(pins))
    known = {pin: answer for pin in wanted if (answer := _remembered(memory, pin))}
    for finder in finders:
        unknown = [pin for pin in wanted if pin not in known]
        found = finder.find(unknown) if unknown else {}
        for pin in found:
            if found[pin].outcome == "found" and found[pin].lasting:
                write_atomically(_place(memory, pin), digest.canonical(found[pin].to_json()).encode())
        known.update(found)
    return {pin: known.get(pin, Answer(outcome="unreachable")) for pin in wanted}


def _place(memory: Path, pin: Pin) -> Path:
    return memory / f"{digest.of_json([pin.name, pin.version])}.json"


def _remembered(memory: Path, pin: Pin) -> Answer | None:
    """Return the remembered answer; none where there is none, or one that can't be read."""
    try:
        return Answer.from_json(json.loads(_place(memory, pin).read_bytes()))
    except (OSError, ValueError, DataError):
        return None


def artifact(reader: Reader) -> Artifact:
    """Return the artifact of an object with ``name``, ``sha256`` and ``size``."""
    return Artifact(
        name=reader.text("name"), sha256=Digest(reader.text("sha256")), size=reader.optional_integer("size")
    )


def settled(files: Iterable[Artifact], pin: Pin, python: str) -> tuple[Artifact, ...]:
    """Return the files that a lock of ``pin`` for ``python`` (``3.11``) names, sorted by name.

    Of two files of one name the first counts, and of two source distributions the one in the standard form.
    """
    kept: dict[str, Artifact] = {}
    for file in files:
        if belongs(file.name, pin, python):
            kept.setdefault(file.name, file)
    sdists = sorted((name for name in kept if not name.endswith(".whl")), key=_preference)
    return tuple(sorted(file for name, file in kept.items() if name not in sdists[1:]))


def _preference(name: str) -> tuple[int, str]:
    return next(place for place, ending in enumerate(_SDISTS) if name.endswith(ending)), name


def belongs(name: str, pin: Pin, python: str) -> bool:
    """Return whether the file of that name is a source of ``pin``, or a wheel of it for ``python`` on some platform."""
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

    try:
        if not name.endswith(".whl"):
            project, version = parse_sdist_filename(name)
            return (project, str(version)) == (pin.name, pin.version)
        project, version, _, tags = parse_wheel_filename(name)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return False
    minor = int(python.partition(".")[2])
    return (project, str(version)) == (pin.name, pin.version) and any(_fits(tag, minor) for tag in tags)


def _fits(tag: Tag, minor: int) -> bool:
    """Return whether some interpreter of Python 3.``minor`` takes a wheel of that tag ("Platform compatibility tags").

    Wheels of pure Python and of the stable ABI go on working; others are for one minor version.
    """
    match = _INTERPRETER.fullmatch(tag.interpreter)
    if match is None:
        return False
    implementation, stated = match.groups()
    if not stated:
        return True
    lasts = implementation == "py" or tag.abi.startswith("abi3")
    return int(stated) <= minor if lasts else int(stated) == minor
