"""``verify``, and bundles and finished runs opened for reading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.archive.surroundings import AnyPath, existing, usable_cpus
from fasthep_archive.context import NoProgress, Progress
from fasthep_archive.errors import UsageError

if TYPE_CHECKING:
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.bundle.verifier import Verification
    from fasthep_archive.data.view import Results as View


def verify(bundle: AnyPath, *, progress: Progress | None = None) -> Verification:
    """Return what is wrong with ``bundle``, if anything: every byte is read, and nothing from it runs.

    :raises UsageError: if it can't be read.
    """
    from fasthep_archive.bundle.verifier import verify as verify_file

    path = existing(bundle)
    shown = progress or NoProgress()
    shown.start(f"verifying {path.name}", path.stat().st_size, "bytes")
    try:
        return verify_file(path, progress=shown.advance, workers=usable_cpus())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None


def open_bundle(bundle: AnyPath, *, payload: bool = False, progress: Progress | None = None) -> Bundle:
    """Return the bundle, a context manager; ``.data["stage"]`` hands out its products.

    What the bundle says of itself is verified now, each file when it is read, or all of them now with ``payload``.

    :raises BundleError: if it is damaged; names everything that is wrong.
    """
    from fasthep_archive.bundle.reader import open_bundle as open_file

    return open_file(existing(bundle), payload=payload, progress=progress)


def open_run(directory: AnyPath) -> View:
    """Return the products of a finished run: ``open_run("out")["DiMuonMass"]`` is a ``hist.Hist``."""
    from fasthep_archive.data.view import of_directory

    return of_directory(Path(directory))
