"""What an installed distribution consists of: the files that its wheel has, their digest, which were changed since.

An installer copies a wheel's files, adds some of its own, and lists all in ``RECORD`` (PyPA specification "Recording
installed projects"). Here that is undone: notes on the installation, byte code and the scripts that installers generate
from ``entry_points.txt`` are left out, and what was moved or rewritten is as :mod:`.wheel_layout` says.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import Distribution
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fasthep_archive.digest import Digest
from fasthep_archive.environment import legacy, source_tree
from fasthep_archive.environment.wheel_layout import (
    base64_of,
    content_digest,
    dist_info,
    generated_scripts,
    is_script,
    sha256_of,
    wheel_path,
)
from fasthep_archive.errors import DataError

_BATCH = 64
"""Files that a thread reads at a time: most are small, and handing them out one by one costs more than reading them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledFile:
    """A file of an installed distribution that its wheel has too.

    :ivar path: where the wheel has it; with ``/``.
    :ivar source: the file; or the bytes, where the wheel's file is made from others (metadata of ``.egg-info``).
    :ivar recorded: what ``RECORD`` says of its bytes, ``sha256=...``; empty where it says nothing.
    """

    path: str
    source: Path | bytes
    recorded: str

    @property
    def script(self) -> bool:
        """Whether installers write the path of an interpreter into it."""
        return is_script(self.path)

    def open(self) -> BinaryIO:
        """Return the open file.

        :raises OSError: if there is none.
        """
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def executable(self) -> bool:
        """Return whether it is meant to be run."""
        return self.script or (isinstance(self.source, Path) and bool(self.source.stat().st_mode & 0o111))


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspected:
    """What reading all files of a distribution once tells.

    :ivar files: see :func:`files_digest`.
    :ivar modified: see :func:`modified`.
    """

    files: Digest
    modified: tuple[str, ...]


def files_digest(distribution: Distribution) -> Digest:
    """Return the digest of the files that the distribution's wheel has: of their paths in it and their bytes.

    It is that of :func:`~fasthep_archive.environment.wheels.files_digest_of` of the wheel that was installed.

    :raises DataError: see :func:`inspected`.
    """
    return inspected(distribution).files


def modified(distribution: Distribution) -> tuple[str, ...]:
    """Return the paths in the wheel of files that are gone, or whose bytes aren't those that ``RECORD`` states; sorted.

    :raises DataError: see :func:`inspected`.
    """
    return inspected(distribution).modified


def inspected(distribution: Distribution) -> Inspected:
    """Return the digest of the distribution's files and which were modified; each file is read once.

    :raises DataError: if nothing says which files are the distribution's, if they are in a source tree that is still
        being edited, or if a file can't be read.
    """
    return read(files(distribution))


def read(found: Sequence[InstalledFile]) -> Inspected:
    """Return the digest of these files and which were modified; each is read once.

    :raises DataError: if one can't be read.
    """
    batches = [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
    with ThreadPoolExecutor(max_workers=min(8, len(batches))) as pool:
        read = list(chain.from_iterable(pool.map(lambda batch: [_read(file) for file in batch], batches)))
    return Inspected(
        files=content_digest(
            (file.path, sha256) for file, (sha256, _) in zip(found, read, strict=True) if sha256 is not None
        ),
        modified=tuple(file.path for file, (_, changed) in zip(found, read, strict=True) if changed),
    )


def files(distribution: Distribution) -> tuple[InstalledFile, ...]:
    """Return the files that the distribution's wheel has, sorted by their paths in it; none is read.

    :raises DataError: if nothing says which they are, or if they are in a source tree that is still being edited.
    """
    name = distribution.name
    if source_tree.is_editable(distribution):
        raise DataError(
            f"{name} is installed editable: what is installed is a pointer to its source tree",
            hint=f"build a wheel from the source tree, or install it there: python -m pip install {name}",
        )
    stem, found = _recorded(distribution) or _listed(distribution)
    if not found:
        raise DataError(
            f"nothing records which files belong to {name} {distribution.version}; it was not installed by pip or uv",
            hint=f"make a virtual environment and install it there: pip install {name}=={distribution.version}",
        )
    generated = generated_scripts(distribution)
    unique = {file.path: file for file in found if not file.script or PurePosixPath(file.path).name not in generated}
    wheel = f"{stem}.dist-info/WHEEL"
    if wheel not in unique:
        unique[wheel] = InstalledFile(path=wheel, source=legacy.wheel_metadata(unique), recorded="")
    return tuple(unique[path] for path in sorted(unique))


def _recorded(distribution: Distribution) -> tuple[str, tuple[InstalledFile, ...]] | None:
    """Return name and version as ``.dist-info`` spells them and the files of ``RECORD``; none if there is none."""
    rows = [row for row in csv.reader(io.StringIO(distribution.read_text("RECORD") or "")) if row]
    site = Path(str(distribution.locate_file("")))
    names = [relative(row[0], site) for row in rows]
    stem = next(filter(None, map(dist_info, names)), None)
    if stem is None:
        return None
    return stem, tuple(
        InstalledFile(path=path, source=site / name, recorded="".join(row[1:2]))
        for name, row in zip(names, rows, strict=True)
        if (path := wheel_path(name, stem)) is not None
    )


def _listed(distribution: Distribution) -> tuple[str, tuple[InstalledFile, ...]]:
    """Return name and version, and the files that old installers list, without what they wrote themselves."""
    stem = legacy.stem(distribution)
    named = ((wheel_path(name, stem), source) for name, source in legacy.files(distribution))
    return stem, tuple(
        InstalledFile(path=path, source=source, recorded="") for path, source in named if path is not None
    )


def relative(name: str, site: Path) -> str:
    """Return a path of ``RECORD``, which may be absolute, relative to the directory ``site``, with ``/``."""
    return (os.path.relpath(name, site) if Path(name).is_absolute() else name).replace("\\", "/")


def _read(file: InstalledFile) -> tuple[Digest | None, bool]:
    """Return the SHA-256 of the bytes as the wheel has them, none if the file is gone; and whether it was modified."""
    try:
        with file.open() as stream:
            sha256 = sha256_of(stream, script=file.script)
            stream.seek(0)
            return sha256, not _as_recorded(file, sha256, stream)
    except (FileNotFoundError, NotADirectoryError):
        return None, True
    except OSError as error:
        raise DataError(f"{file.source!r} can't be read: {error.strerror or error}") from error


def _as_recorded(file: InstalledFile, sha256: Digest, stream: BinaryIO) -> bool:
    """Return whether the bytes are those that ``RECORD`` states, before or after the interpreter's path was written."""
    algorithm, _, stated = file.recorded.partition("=")
    if not stated:
        return True
    if algorithm == "sha256" and stated.rstrip("=") == base64_of(bytes.fromhex(sha256)):
        return True
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        return True  # nothing here can tell
    if algorithm == "sha256" and not file.script:
        return False
    return stated.rstrip("=") == base64_of(hashlib.new(algorithm, stream.read()).digest())
