"""Documents of older versions of our language: the text stays as it is, but for the version that it names."""

from __future__ import annotations

from pathlib import Path

from fasthep_archive.errors import WorkflowError
from fasthep_archive.workflow.document import LANGUAGES, load
from fasthep_archive.workflow.model import build
from fasthep_archive.workflow.values import Value

NEWEST = LANGUAGES[-1]


def newest(path: Path, root: Value, text: str) -> str:
    """Return the text of the document at ``path`` as one of the newest version.

    Every version so far includes the one before, so that only the version has to change.

    :raises WorkflowError: if the document has faults; what is wrong can't be brought over.
    """
    written = root.content.get("version") if isinstance(root.content, dict) else None
    known = written is None or str(written.text) in LANGUAGES
    _, faults = build(load(path, language=None if known else LANGUAGES[0]))
    if faults:
        raise WorkflowError(faults)
    if written is None:
        return f"version: {NEWEST}\n{text}"
    start = written.place.index
    return text[:start] + NEWEST + text[start + len(written.text) :]
