"""Finds files by their content below a folder: names may have changed since they were recorded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fasthep_archive import digest
from fasthep_archive.context import Progress
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A file that is looked for.

    :ivar name: as it was recorded; of a path, the last part counts.
    :ivar size: in bytes.
    """

    name: str
    size: int
    sha256: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What was found.

    :ivar paths: of the files that are there, by the names of those that were wanted.
    :ivar missing: why the others are not, by their names.
    """

    paths: Mapping[str, Path]
    missing: Mapping[str, str]

    def whole(self) -> Mapping[str, Path]:
        """Return the paths of all files that were wanted.

        :raises DataError: if one is missing; names all.
        """
        if self.missing:
            raise DataError("\n".join(self.missing.values()), hint="look into another folder, or fetch what is missing")
        return self.paths


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """A regular file below the folder; ``size`` in bytes."""

    path: Path
    size: int


def find(wanted: Sequence[Wanted], directory: Path, progress: Progress) -> Found:
    """Return where the files are below ``directory``: those of the recorded size are read until the digests fit.

    Links are not followed: what they lead to inside is found by itself, and what is outside is not looked at.

    :raises DataError: if there is no such folder.
    """
    if not directory.is_dir():
        raise DataError(f"there is no folder {directory}")
    files = tuple(_files(directory))
    sizes = {item.size for item in wanted}
    candidates = [file for file in files if file.size in sizes]
    progress.start(f"looking through {directory}", sum(file.size for file in candidates), "bytes")
    digests = _digests(wanted, candidates, progress)
    progress.close()
    places: dict[Digest, Path] = {}
    for path, sha256 in digests.items():
        places.setdefault(sha256, path)
    paths = {item.name: places[item.sha256] for item in wanted if item.sha256 in places}
    missing = {item.name: _why(item, directory, files, digests) for item in wanted if item.name not in paths}
    return Found(paths=paths, missing=missing)


def _files(directory: Path) -> Iterator[_Candidate]:
    """Yield all regular files, in the order of their names."""
    for place, folders, names in os.walk(directory, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            try:
                state = path.lstat()
            except OSError:
                continue  # it went away meanwhile
            if stat.S_ISREG(state.st_mode):
                yield _Candidate(path=path, size=state.st_size)


def _digests(wanted: Sequence[Wanted], candidates: Sequence[_Candidate], progress: Progress) -> Mapping[Path, Digest]:
    """Return the digests of as many candidates as needed, those with a recorded name first."""
    names = {_last(item.name) for item in wanted}
    lacking = {(item.size, item.sha256) for item in wanted}
    found: dict[Path, Digest] = {}
    for file in sorted(candidates, key=lambda file: file.path.name not in names):
        if any(size == file.size for size, _ in lacking):
            try:
                found[file.path] = digest.of_file(file.path)
            except OSError:
                continue  # not ours to read: as good as not there
            lacking.discard((file.size, found[file.path]))
        progress.advance(file.size)
    return found


def _why(item: Wanted, directory: Path, files: Sequence[_Candidate], digests: Mapping[Path, Digest]) -> str:
    """Return a line that says why a file was not found, with both digests of one that has its name."""
    for file in files:
        if file.path.name == _last(item.name):
            here = file.path.relative_to(directory)
            recorded = f"recorded: size {item.size}, SHA-256 {item.sha256}"
            other = digests.get(file.path) or _digest(file.path)
            return f"{here} is not the recorded {item.name}: size {file.size}, SHA-256 {other}; {recorded}"
    return f"{item.name} is not in {directory}, under any name (size {item.size}, SHA-256 {item.sha256})"


def _digest(path: Path) -> str:
    try:
        return digest.of_file(path)
    except OSError as error:
        return f"unknown ({error.strerror or error})"


def _last(name: str) -> str:
    return PurePosixPath(name).name
