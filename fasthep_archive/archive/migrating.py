"""``migrate``: from a document of another form or version to one of the newest version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.archive.surroundings import AnyPath
from fasthep_archive.errors import FormulaError, UsageError, writing

if TYPE_CHECKING:
    from fasthep_archive.workflow.migration import Migrated


def migrate(
    workflow: AnyPath, output: AnyPath | None = None, *, datasets: AnyPath | None = None, prefix: str | None = None
) -> Migrated:
    """Return the document at ``workflow`` in the newest version of the language, and what could not be brought over.

    :param output: a new file to write it to as well.
    :param datasets: of a fast-carpenter sequence, the file that lists its datasets.
    :param prefix: which of the prefixes that the datasets offer is put before the names of their files.
    :raises WorkflowError: with all faults of a document that can't be read.
    """
    from fasthep_archive.files import write_atomically
    from fasthep_archive.workflow import migration

    target = None if output is None else Path(output)
    if target is not None and target.exists():
        raise UsageError(f"{target} is there already", hint="name a new file")
    listed = None if datasets is None else Path(datasets)
    migrated = migration.migrate(Path(workflow), datasets=listed, prefix=prefix, wrong=_wrong)
    if target is not None:
        with writing(target):
            write_atomically(target, migrated.text.encode())
    return migrated


def _wrong(formula: str) -> str | None:
    """Return what is wrong with the text of a formula."""
    from fasthep_archive.formula.parse import parse

    try:
        parse(formula)
    except FormulaError as error:
        return error.message
    return None
