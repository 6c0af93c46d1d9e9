"""The verifier of bundles: holds every byte against what the bundle says of itself.

It changes nothing, fetches nothing and runs nothing of the bundle. It finds damage and mistakes, not malice: who can
write a bundle can write another verifier into it. For trust, compare the bundle's SHA-256 or its identity with one
that you know from elsewhere.
Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fasthep_archive.bundle.claims import (
    RESOLVED,
    SUMMARY,
    crate_faults,
    file_faults,
    summary_faults,
    workflow_digest,
)
from fasthep_archive.bundle.form import CRATE, LIMITS, Damage, Limits, Member, Problem, counted
from fasthep_archive.bundle.manifest import (
    BAG_INFO,
    DECLARATION,
    DECLARATION_TEXT,
    FETCH,
    MANIFEST,
    PAYLOAD,
    TAG_MANIFEST,
    Bag,
    bag_faults,
    identifier,
    parse_fetch,
    parse_info,
    parse_manifest,
)
from fasthep_archive.bundle.source import Tree, Zip, content, measure_all, opened
from fasthep_archive.bundle.strictjson import strict_json

PROGRAM = "__main__.py"
DAMAGED = 4
"""Exit status."""
MANY = 100
"""Problems that are told; further ones are counted."""
HINT = "get the bundle again from where it was published, and compare its SHA-256 with the one published there"
_REQUIRED = (CRATE, SUMMARY, PROGRAM, DECLARATION, BAG_INFO, MANIFEST, TAG_MANIFEST, RESOLVED)
_LISTED = ("input", "output")
_NOTHING: Mapping[str, Any] = {}
_Read = TypeVar("_Read")


class Verification(NamedTuple):
    """What was found. The bundle is sound when there are no problems."""

    problems: tuple[Problem, ...]
    members: Mapping[str, Member]
    bag: Bag
    referenced: tuple[str, ...]
    """Names of the files that the bundle refers to without holding them."""
    summary: Mapping[str, Any]
    """The value of ``bundle.json``; empty where something is wrong with it."""

    @property
    def sound(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.problems

    @property
    def size(self) -> int:
        """Return the bytes of all members together."""
        return sum(member.size for member in self.members.values())


def _ignore(_count: int) -> None:
    """Show no progress."""


def verify(
    path: str | os.PathLike[str],
    *,
    payload: bool = True,
    progress: Callable[[int], object] = _ignore,
    limits: Limits = LIMITS,
    workers: int = 2,
) -> Verification:
    """Return everything that is wrong with the bundle at ``path``, a zip file or a directory that it was unpacked to.

    :param payload: whether to read the files below ``data/``; the rest, which says what they must be, always is.
    :param progress: told how many bytes were read, by one thread at a time.
    :raises OSError: if there is no such file.
    """
    package = opened(Path(path), limits)
    try:
        return examine(package, payload=payload, progress=progress, limits=limits, workers=workers)
    finally:
        package.close()


def examine(
    package: Zip | Tree, *, payload: bool, progress: Callable[[int], object], limits: Limits, workers: int
) -> Verification:
    """Return what :func:`verify` does, of a bundle that is open already."""
    problems = list(package.problems)
    bag, summary = Bag({}, {}, {}, {}), _NOTHING
    if package.members or not problems:
        wanted = [member for name, member in package.members.items() if payload or not name.startswith(PAYLOAD)]
        digests = _digests(package, wanted, progress, workers, problems)
        bag = _bag(package, limits, problems)
        problems += bag_faults(bag, package.members, digests)
        problems += _missing(package, bag)
        summary = _summary(package, bag, limits, problems)
        _check_crate(package, bag, limits, problems)
    if len(problems) > MANY:
        problems[MANY:] = [Problem("file", f"{len(problems) - MANY} more problems")]
    referenced = tuple(sorted(bag.fetch.keys() - package.members.keys()))
    return Verification(tuple(problems), package.members, bag, referenced, summary)


def _digests(
    package: Zip | Tree,
    members: Sequence[Member],
    progress: Callable[[int], object],
    workers: int,
    problems: list[Problem],
) -> dict[str, str]:
    """Return the SHA-256 of the members that can be read."""
    digests = {}
    for member, found in measure_all(package, members, workers, progress):
        if isinstance(found, OSError):
            problems.append(Problem(member.name, f"can't be read: {found}"))
            continue
        crc, digests[member.name] = found
        if isinstance(package, Zip) and crc != member.crc:
            stated = f"has the CRC-32 {crc:08x}, and its headers say {member.crc:08x}"
            problems.append(Problem(member.name, f"{stated}: one of them is damaged"))
    return digests


def _missing(package: Zip | Tree, bag: Bag) -> Iterator[Problem]:
    for name in _REQUIRED:
        if name not in package.members and name not in bag.tags and name not in bag.payload:
            yield Problem(name, "is missing, and every bundle has it")


def _bag(package: Zip | Tree, limits: Limits, problems: list[Problem]) -> Bag:
    """Return what can be read of the tag files."""

    def read(name: str, parse: Callable[[bytes], dict[str, _Read]]) -> dict[str, _Read]:
        if name in package.members:
            try:
                return parse(content(package, name, limits.metadata))
            except Damage as damage:
                problems.append(damage.problem)
            except ValueError as error:
                problems.append(Problem(name, f"is not as BagIt has it: {error}"))
        return {}

    read(DECLARATION, _parse_declaration)
    manifests = read(MANIFEST, parse_manifest), read(TAG_MANIFEST, parse_manifest)
    return Bag(*manifests, read(FETCH, parse_fetch), read(BAG_INFO, parse_info))


def _parse_declaration(raw: bytes) -> dict[str, str]:
    if raw != DECLARATION_TEXT:
        raise ValueError("it does not declare BagIt 1.0 in UTF-8")
    return {}


def _summary(package: Zip | Tree, bag: Bag, limits: Limits, problems: list[Problem]) -> Mapping[str, Any]:
    """Return ``bundle.json`` if nothing is wrong with it by itself."""
    summary = _parsed(package, SUMMARY, limits, problems)
    faults = [Problem(SUMMARY, fault) for fault in summary_faults(summary)] if summary is not None else []
    if summary is None or faults:
        problems += faults
        return {}
    problems += [Problem(SUMMARY, fault) for fault in file_faults(summary, _sizes(package, bag), bag.payload)]
    stated = bag.info.get("External-Identifier")
    if bag.info and stated != identifier(summary["identity"]):
        problems.append(Problem(BAG_INFO, f"states the External-Identifier {stated}, which is another bundle's"))
    resolved = _parsed(package, RESOLVED, limits, problems)
    if resolved is not None and workflow_digest(resolved) != summary["parts"]["workflow"]:
        problems.append(Problem(RESOLVED, f"has the digest {workflow_digest(resolved)}, and {SUMMARY} has another one"))
    return dict(summary)


def _check_crate(package: Zip | Tree, bag: Bag, limits: Limits, problems: list[Problem]) -> None:
    crate = _parsed(package, CRATE, limits, problems)
    if crate is not None:
        names = {*package.members, *bag.fetch}
        known = {**bag.tags, **bag.payload}
        problems += [Problem(CRATE, fault) for fault in crate_faults(crate, names, _sizes(package, bag), known)]


def _sizes(package: Zip | Tree, bag: Bag) -> dict[str, int]:
    """Return the bytes of the files that are there or may be fetched."""
    sizes = {name: reference.size for name, reference in bag.fetch.items()}
    sizes.update((name, member.size) for name, member in package.members.items())
    return sizes


def _parsed(package: Zip | Tree, name: str, limits: Limits, problems: list[Problem]) -> Any:
    """Return the value of a JSON file, or none where it has none that can be trusted."""
    if name in package.members:
        try:
            return strict_json(content(package, name, limits.metadata), limits)
        except Damage as damage:
            problems.append(damage.problem)
        except ValueError as error:
            problems.append(Problem(name, f"is not strict JSON: {error}"))
    return None


def result(found: Verification, bundle: str) -> dict[str, Any]:
    """Return what was found as a JSON value."""
    return {
        "bundle": bundle,
        "sound": found.sound,
        "problems": [problem._asdict() for problem in found.problems],
        "members": len(found.members),
        "size": found.size,
        "referenced": list(found.referenced),
        "summary": dict(found.summary),
    }


def verdict(found: Verification, bundle: str, *, described: bool = False) -> str:
    """Return what was found in one line."""
    if not found.sound:
        return f"{bundle}: damaged, {counted(len(found.problems), 'problem')}"
    held = f"{len(found.members)} files of {found.size} bytes"
    absent = {kind: sum(not item["included"] for item in found.summary.get(f"{kind}s", ())) for kind in _LISTED}
    away = "".join(f"; {counted(number, kind)} not included" for kind, number in absent.items() if number)
    if described:
        return f"{held}{away}. The list is sound; the files below {PAYLOAD} were not read: 'verify' does"
    return f"{bundle}: sound, {held}{away}; identity {found.summary['identity']}"
