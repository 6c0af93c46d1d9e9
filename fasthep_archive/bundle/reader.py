"""Opens bundles: nothing in one is believed before it was verified, and nothing gets out of the directory it is put in.

What a bundle says of itself is verified when it is opened; each file, when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from fasthep_archive.bundle import form, layout, source, verifier
from fasthep_archive.bundle.claims import local_path
from fasthep_archive.bundle.identity import Summary, read_summary
from fasthep_archive.bundle.strictjson import strict_json
from fasthep_archive.context import NoProgress, Progress
from fasthep_archive.data.view import LARGE, Results
from fasthep_archive.digest import JSON, Digest, of_bytes, of_stream
from fasthep_archive.errors import BundleError, UsageError, nearest
from fasthep_archive.files import Bytes, Stretch, opened

METADATA = form.LIMITS.metadata
"""Bytes that are read into memory unless a caller allows more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """Where the content of a member lies, for mapping it into memory. It was not verified."""

    path: Path
    offset: int
    size: int


def open_bundle(
    path: Path, *, payload: bool = False, limits: form.Limits = form.LIMITS, progress: Progress | None = None
) -> Bundle:
    """Return the bundle at ``path``, a zip file or the directory that one was unpacked to. A context manager.

    :param payload: whether the files below ``data/`` are verified now, and not only those that are read, as they are.
    :raises BundleError: if anything is wrong with it; names all that is.
    :raises UsageError: if there is no such file.
    """
    try:
        package = source.opened(path, limits)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        found = _examined(package, progress or NoProgress(), payload=payload, limits=limits)
    except BaseException:
        package.close()
        raise
    if not found.sound:
        package.close()
        raise damaged(path, found.problems)
    return Bundle(path, package, found)


def _examined(
    package: source.Zip | source.Tree, progress: Progress, *, payload: bool, limits: form.Limits
) -> verifier.Verification:
    if payload:
        total = sum(member.size for member in package.members.values())
        progress.start(f"verifying {package.path.name}", total, "bytes")
    advance = progress.advance if payload else lambda _: None
    return verifier.examine(package, payload=payload, progress=advance, limits=limits, workers=_workers())


def _workers() -> int:
    """Return how many members are hashed at a time, which can't change any result."""
    return min(os.cpu_count() or 1, 8)


def damaged(path: Path, problems: Sequence[form.Problem]) -> BundleError:
    """Return the error that names these problems."""
    return BundleError(f"{path} is damaged\n" + "\n".join(f"  {problem}" for problem in problems), hint=verifier.HINT)


class Bundle:
    """A verified bundle. ``summary`` is what ``bundle.json`` says; names are those of the members."""

    def __init__(self, path: Path, package: source.Zip | source.Tree, verification: verifier.Verification) -> None:
        self.path = path
        self.verification = verification
        self.summary: Summary = read_summary(verification.summary)
        self._package = package
        self._digests: Mapping[str, str] = {**verification.bag.tags, **verification.bag.payload}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._package.close()

    @property
    def package(self) -> source.Zip | source.Tree:
        """Return the container, for what reads members by itself."""
        return self._package

    @property
    def main(self) -> str:
        """Return the name of the workflow document that was packed.

        :raises BundleError: if the crate names none that is there.
        """
        graph = cast("Mapping[str, Any]", self.json(layout.CRATE))["@graph"]
        entities = {entity["@id"]: entity for entity in graph}
        named = entities["./"].get("mainEntity")
        path = local_path(str(named["@id"]))[0] if isinstance(named, Mapping) else None
        if path is None or path not in self._package.members:
            raise damaged(self.path, [form.Problem(layout.CRATE, "names no workflow document as its main entity")])
        return path

    @property
    def referenced(self) -> tuple[str, ...]:
        """Return the names of the files that belong to the bundle without being in it."""
        return self.verification.referenced

    @property
    def data(self) -> Results:
        """Return the products by stage, each read and verified when it is asked for: ``data["DiMuonMass"]``."""
        return Results(_Outputs(self))

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the names of all members, or of those below ``folder``, in the order of the container."""
        return tuple(form.order(name for name in self._package.members if name.startswith(folder)))

    def size(self, name: str) -> int:
        """Return the bytes of a member."""
        return self._member(name).size

    def sha256(self, name: str) -> Digest | None:
        """Return the SHA-256 that the manifests state for a file; none for the tag manifest itself."""
        digest = self._digests.get(name)
        return Digest(digest) if digest else None

    def read(self, name: str, *, limit: int = METADATA) -> bytes:
        """Return the content of a member, verified.

        :raises BundleError: if there is no such member, it has more than ``limit`` bytes, or it is damaged.
        """
        self._member(name)
        try:
            content = source.content(self._package, name, limit)
        except form.Damage as damage:
            raise damaged(self.path, [damage.problem]) from damage
        self._check(name, of_bytes(content))
        return content

    def json(self, name: str, *, limit: int = METADATA) -> JSON:
        """Return the value of a JSON file, verified and read strictly.

        :raises BundleError: as :meth:`read` does, and if it is not strict JSON.
        """
        try:
            return cast("JSON", strict_json(self.read(name, limit=limit)))
        except ValueError as error:
            raise damaged(self.path, [form.Problem(name, f"is not strict JSON: {error}")]) from error

    def locate(self, name: str) -> Located:
        """Return where the content of a member lies: members are stored, so it can be mapped."""
        member = self._member(name)
        path, offset = self._package.locate(name)
        return Located(path=path, offset=offset, size=member.size)

    def stretch(self, name: str) -> Stretch:
        """Return where the content of a member lies, which can be larger than the memory; verified.

        :raises BundleError: if there is no such member, or it is damaged.
        """
        located = self.locate(name)
        found = Stretch(path=located.path, start=located.offset, size=located.size)
        self._check(name, of_stream(opened(found)))
        return found

    def extract(self, names: Iterable[str], directory: Path, *, progress: Progress | None = None) -> tuple[Path, ...]:
        """Write members to files of the same names below ``directory``, verified, and return the files.

        What is there already is not replaced, and no symbolic link is followed. A file that turns out to be damaged
        is removed again.

        :raises BundleError: if there is no such member, or it is damaged.
        :raises UsageError: if a file is in the way or can't be written.
        """
        members = [self._member(name) for name in names]
        shown = progress or NoProgress()
        shown.start(f"unpacking {self.path.name}", sum(member.size for member in members), "bytes")
        return tuple(self._extract(member, directory, shown) for member in members)

    def _extract(self, member: form.Member, directory: Path, progress: Progress) -> Path:
        try:
            return source.extract(
                self._package, member.name, directory, self._digests.get(member.name), progress.advance
            )
        except form.Damage as damage:
            raise damaged(self.path, [damage.problem]) from damage
        except OSError as error:
            target = directory / member.name
            raise UsageError(f"{target} can't be written: {error.strerror or error}") from error

    def _check(self, name: str, sha256: str) -> None:
        stated = self._digests.get(name, sha256)
        if sha256 != stated:
            problem = form.Problem(name, f"has the SHA-256 {sha256}, and the manifest says {stated}")
            raise damaged(self.path, [problem])

    def _member(self, name: str) -> form.Member:
        member = self._package.members.get(name)
        if member is None:
            away = "is referenced by the bundle, not included" if name in self.referenced else "is not in the bundle"
            raise BundleError(f"{name} {away} {self.path}", hint=nearest(name, self._package.members))
        return member


class _Outputs:
    """The outputs that a bundle includes, by their names below ``data/outputs/``."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self._bundle.summary.outputs if item.included)

    def read(self, name: str) -> Bytes:
        member = layout.output(name)
        large = self._bundle.locate(member).size > LARGE
        return self._bundle.stretch(member) if large else self._bundle.read(member)
