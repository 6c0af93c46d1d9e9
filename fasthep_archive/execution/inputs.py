"""Input files: where they are and what their bytes are.

A file's digest stands for its content in every key. ``run`` remembers digests by path, size, modification time and
inode, as Git's index does; ``pack`` and ``replay`` read every byte (``remembered=False``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from fasthep_archive import digest
from fasthep_archive.data.transfer import sums_of
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError
from fasthep_archive.files import private_directory, write_atomically
from fasthep_archive.workflow.addresses import local_path
from fasthep_archive.workflow.model import ReferencedInput
from fasthep_archive.workflow.snapshots import Origin

State: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """A file of a dataset.

    :ivar name: as the document writes it.
    :ivar path: of the file, or of the copy of a remote one.
    :ivar size: in bytes.
    :ivar urls: where others can have it, the best first; no part of any key.
    :ivar origin: the query that it is the result of; no part of any key.
    """

    name: str
    path: Path
    size: int
    sha256: Digest
    urls: tuple[str, ...] = ()
    origin: Origin | None = field(default=None, compare=False)


def locate(name: str, *, document: Path, working_directory: Path) -> Path:
    """Return the file of this machine that is called ``name``, a path or an address that starts with ``file://``.

    A relative name is looked for beside the document first, then, as FAST-HEP does, in the working directory.

    :raises DataError: if there is no such file.
    """
    written = Path(local_path(name))
    beside = [written] if written.is_absolute() else [document.parent / written, working_directory / written]
    places = tuple(dict.fromkeys(place.absolute() for place in beside))
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise DataError(f"no such file: {name}", hint=_instead(written, places))
    if not found.is_file():
        raise DataError(f"{name} is {'a directory' if found.is_dir() else 'no file'}", hint="list its files one by one")
    return found


_SCHEME = re.compile(r"(?:https?|roots?|xroot|davs?|file):")


def _instead(written: Path, places: Iterable[Path]) -> str:
    """Return what the user may have meant by a file that isn't there, or where it should be."""
    if any(sign in written.name for sign in "*?[{"):
        return "names are taken as they are written: list the files one by one"
    if written.parts and _SCHEME.fullmatch(written.parts[0]):
        return f"an address begins with {written.parts[0]}//"
    for place in places:
        siblings = place.parent.iterdir() if place.parent.is_dir() else ()
        by_stem = {path.stem: path.name for path in sorted(siblings)}
        close = get_close_matches(written.stem, by_stem, n=1, cutoff=0.6)
        if close:
            return f"did you mean {by_stem[close[0]]!r}?"
    return f"looked for {' and '.join(map(str, places))}"


def disagreement(file: InputFile, stated: ReferencedInput) -> tuple[str, str] | None:
    """Return which key of ``archive.inputs`` says something else of ``file`` than its bytes, and a message, or none.

    A digest that was not taken (an empty one) agrees with everything. Adler-32 is compared where nothing better is
    stated.
    """
    if stated.size not in (None, file.size):
        return "size", f"{file.name} has {file.size} bytes, and this says {stated.size}"
    if not file.sha256:
        return None
    if stated.sha256 not in (None, file.sha256):
        return "sha256", f"{file.name} has the SHA-256 {file.sha256}, and this says {stated.sha256}"
    if stated.sha256 is None and stated.adler32 is not None:
        adler32 = sums_of(file.path).fetched(file.path, "").adler32
        if adler32 != stated.adler32:
            return "adler32", f"{file.name} has the Adler-32 {adler32}, and this says {stated.adler32}"
    return None


def hashed(paths: Iterable[Path], *, cache: Path, remembered: bool, workers: int) -> Mapping[Path, Digest]:
    """Return the digest of each file, hashing several at a time.

    :raises DataError: if one can't be read.
    """
    known = private_directory(cache / "digests")
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        found = pool.map(lambda path: _digest(path, known, remembered=remembered), distinct)
        return dict(zip(distinct, found, strict=True))


def state_of(path: Path) -> State:
    """Return what a file looks like from outside: size, time of change in nanoseconds, number on its disk."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


def remembered_digest(path: Path, *, cache: Path) -> Digest | None:
    """Return the digest of a file that looks unchanged since it was taken; none if nothing is remembered of it."""
    return _remembered(path, cache / "digests")


def _digest(path: Path, known: Path, *, remembered: bool) -> Digest:
    found = _remembered(path, known) if remembered else None
    if found is not None:
        return found
    identity = list(state_of(path))
    try:
        found = digest.of_file(path)
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    write_atomically(_memory(path, known), digest.canonical([identity, found]).encode())
    return found


def _remembered(path: Path, known: Path) -> Digest | None:
    memory = _memory(path, known)
    try:
        identity, found = json.loads(memory.read_text())
    except OSError:
        return None
    except (ValueError, TypeError):
        memory.unlink(missing_ok=True)
        return None
    return Digest(found) if identity == list(state_of(path)) else None


def _memory(path: Path, known: Path) -> Path:
    return known / digest.of_bytes(str(path.resolve()).encode())
