"""Documents of other forms and versions, brought to the newest version of the language.

Two forms are known: the two files of fast-carpenter 0.23 (a sequence of stages and, in fast-curator's form, the
datasets), which become one document; and documents of older versions of this language, whose text is kept, comments
and all, with another version in it. What can't be said in the new form is listed, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive.errors import UsageError
from fasthep_archive.workflow import reading
from fasthep_archive.workflow.document import LANGUAGES
from fasthep_archive.workflow.migration import carpenter, curator, versions
from fasthep_archive.workflow.migration.emission import Notes, emitted


@dataclass(frozen=True, kw_only=True, slots=True)
class Migrated:
    """A document of the newest version, as YAML text.

    :ivar notes: what was left out, and what may mean something else than before; each names its place.
    """

    text: str
    notes: tuple[str, ...]


def migrate(
    path: Path,
    *,
    datasets: Path | None = None,
    prefix: str | None = None,
    wrong: Callable[[str], str | None],
) -> Migrated:
    """Return the document at ``path`` in the newest version of the language.

    :param datasets: of a fast-carpenter sequence, the file that lists its datasets.
    :param prefix: which of the prefixes that datasets offer is put before the names of their files; default: the first.
    :param wrong: says what is wrong with the text of a formula; none if nothing is.
    :raises WorkflowError: with all faults of files that can't be read as one of the known forms.
    """
    root, text = reading.read(path, str(path))
    if not carpenter.is_sequence(root):
        if datasets is not None:
            raise UsageError(f"{path} is no fast-carpenter sequence: it has its datasets in itself")
        return Migrated(text=versions.newest(path, root, text), notes=())
    notes = Notes(wrong)
    analysis = carpenter.analysis(path, root, text, notes)
    document = {
        "version": LANGUAGES[-1],
        "workflow": {"name": path.stem},
        "data": curator.data(datasets, prefix, notes) if datasets is not None else None,
        "sources": curator.sources(datasets) if datasets is not None else None,
    }
    if datasets is None:
        notes.add("there are no datasets: name the file that lists them with --datasets, or write data.datasets")
    head = (f"Migrated from the fast-carpenter sequence {path.name}.", *notes.found)
    return Migrated(text=emitted(document, analysis, head), notes=tuple(notes.found))
