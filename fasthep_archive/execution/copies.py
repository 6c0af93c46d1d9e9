"""Local copies of remote input files, kept in the cache for as long as the server has the same version.

Files of generated events are made there once.

    cache/inputs/<digest of the address>/known.json             version and digest of the newest copy
    cache/inputs/<digest of the address>/<of the version>/NAME  the copy

A new version gets a place of its own, so that a run that reads the old one is not disturbed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.context import Progress
from fasthep_archive.data import toy
from fasthep_archive.data.remote import Expected, Version, fetch, versions
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import DataError
from fasthep_archive.files import private_directory, write_atomically
from fasthep_archive.workflow.addresses import base_name
from fasthep_archive.workflow.model import ReferencedInput


@dataclass(frozen=True, kw_only=True, slots=True)
class _Copy:
    """The newest copy of a remote file."""

    path: Path
    version: Version
    sha256: Digest

    def serves(self, wanted: ReferencedInput) -> bool:
        """Say whether it can be the wanted file, as far as its digest is known."""
        return wanted.sha256 in (None, self.sha256)


def generated_copy(name: str, cache: Path) -> Path | None:
    """Return the file of the generated events called ``name``, made if need be; none if that is another file.

    :raises DataError: if no such events can be generated.
    """
    if not toy.is_generated(name):
        return None
    return toy.generated(toy.toy_of(name), private_directory(cache / "generated"))


def present_copies(wanted: Sequence[ReferencedInput], cache: Path) -> Mapping[str, Path]:
    """Return the newest copies of those files that have one, by name, without asking any server."""
    copies = {item.file: _newest(item, cache) for item in wanted}
    return {item.file: copy.path for item in wanted if (copy := copies[item.file]) and copy.serves(item)}


def fetched_copies(
    wanted: Sequence[ReferencedInput], cache: Path, progress: Progress
) -> Mapping[str, Path | DataError]:
    """Return a copy of each file by name, fetched where there is none of the present version; or why there is none.

    A file whose digest the document states is not asked for again. Where a server can't be asked, the copy that is
    here is used, with a message.
    """
    private_directory(cache / "inputs")
    copies = {item.file: _newest(item, cache) for item in wanted}
    unsure = [item for item in wanted if not _proven(copies[item.file], item)]
    answers = versions([item.urls[0] for item in unsure]) if unsure else {}
    found: dict[str, Path | DataError] = {}
    for item in wanted:
        copy, answer = copies[item.file], answers.get(item.urls[0])
        if copy and (answer is None or _current(copy, item, answer, progress)):
            found[item.file] = copy.path
        else:
            found[item.file] = _fetched(item, answer, cache, progress)
    if unsure:
        progress.close()
    return found


def _proven(copy: _Copy | None, wanted: ReferencedInput) -> bool:
    return copy is not None and wanted.sha256 == copy.sha256


def _current(copy: _Copy, wanted: ReferencedInput, answer: Version | DataError, progress: Progress) -> bool:
    """Say whether a copy is to be used after what the server says of the file."""
    if not copy.serves(wanted):
        return False
    if isinstance(answer, DataError):
        if len(wanted.urls) == 1:
            progress.message(f"{answer.message}; using the copy that was fetched before")
        return len(wanted.urls) == 1
    return answer.telling and answer == copy.version


def _fetched(
    wanted: ReferencedInput, answer: Version | DataError | None, cache: Path, progress: Progress
) -> Path | DataError:
    version = answer if isinstance(answer, Version) else Version()
    directory = _directory(wanted, cache)
    target = directory / digest.of_json(asdict(version))[:16] / base_name(wanted.file)
    expected = Expected(size=wanted.size, sha256=wanted.sha256, adler32=wanted.adler32)
    try:
        file = fetch(wanted.urls, target, expected=expected, progress=progress)
    except DataError as error:
        return error
    if not version.telling and wanted.sha256 is None:
        again = f"nothing says when {wanted.file} changes, so each run fetches it again"
        progress.message(f"{again}; its SHA-256 in archive.inputs would spare that: {file.sha256}")
    place = f"{target.parent.name}/{target.name}"
    known: JSON = {"version": asdict(version), "sha256": file.sha256, "size": file.size, "path": place}
    write_atomically(directory / "known.json", digest.canonical(known).encode())
    return target


def _directory(wanted: ReferencedInput, cache: Path) -> Path:
    return cache / "inputs" / digest.of_bytes(wanted.file.encode())[:32]


def _newest(wanted: ReferencedInput, cache: Path) -> _Copy | None:
    """Return the newest copy of a file if it is still whole."""
    directory = _directory(wanted, cache)
    try:
        known = json.loads((directory / "known.json").read_bytes())
        path = directory / str(known["path"])
        if path.stat().st_size != known["size"]:
            return None
        return _Copy(path=path, version=Version(**known["version"]), sha256=Digest(str(known["sha256"])))
    except (OSError, ValueError, LookupError, TypeError):
        return None
