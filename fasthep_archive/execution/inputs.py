"""Input files: where they are and what their bytes are.

A file's digest stands for its content in every key. ``run`` remembers digests by path, size, modification time and
inode, as Git's index does; ``pack`` and ``replay`` read every byte (``remembered=False``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.execution.store import write_atomically
from fasthep_archive.kernels.cache import private_directory


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """A file of a dataset.

    :ivar name: as the document writes it.
    :ivar size: in bytes.
    """

    name: str
    path: Path
    size: int
    sha256: Digest


def locate(name: str, *, document: Path, working_directory: Path) -> tuple[Path | None, tuple[Path, ...]]:
    """Return the file called ``name``, or none, and the places where it was looked for.

    A relative name is looked for beside the document first, then, as FAST-HEP does, in the working directory.
    """
    written = Path(name)
    beside = [written] if written.is_absolute() else [document.parent / written, working_directory / written]
    places = tuple(dict.fromkeys(place.absolute() for place in beside))
    return next((place for place in places if place.exists()), None), places


def digests(paths: Iterable[Path], *, cache: Path, remembered: bool, workers: int) -> Mapping[Path, Digest]:
    """Return the digest of each file, hashing several at a time."""
    known = private_directory(cache / "digests")
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        found = pool.map(lambda path: _digest(path, known, remembered=remembered), distinct)
        return dict(zip(distinct, found, strict=True))


def _digest(path: Path, known: Path, *, remembered: bool) -> Digest:
    memory = known / digest.of_bytes(str(path.resolve()).encode())
    state = path.stat()
    identity = [state.st_size, state.st_mtime_ns, state.st_ino]
    if remembered and memory.exists():
        try:
            remembered_identity, remembered_digest = json.loads(memory.read_text())
            if remembered_identity == identity:
                return Digest(remembered_digest)
        except (ValueError, TypeError):
            memory.unlink(missing_ok=True)
    found = digest.of_file(path)
    write_atomically(memory, digest.canonical([identity, found]).encode())
    return found
