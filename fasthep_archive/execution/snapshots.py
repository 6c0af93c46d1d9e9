"""Snapshots of queries' results, kept in the cache by what they hold.

    cache/snapshots/<digest of the file>/DATASET.parquet

Each run asks again: an equal result is the same file, another one gets a place of its own, so that a run that reads
the old one is not disturbed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fasthep_archive.context import Progress
from fasthep_archive.data.sql import Access, Database, SqlError, Written, access, write_snapshot
from fasthep_archive.data.sql_drivers import connected
from fasthep_archive.errors import DataError, writing
from fasthep_archive.execution.inputs import locate
from fasthep_archive.execution.settings import Settings
from fasthep_archive.files import private_directory
from fasthep_archive.workflow.addresses import base_name
from fasthep_archive.workflow.model import Dataset, Workflow
from fasthep_archive.workflow.queries import Query
from fasthep_archive.workflow.snapshots import Origin, address, bound, queries
from fasthep_archive.workflow.values import DocumentPath


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The result of a query for a dataset: its file, and where it came from."""

    path: Path
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A query that gave no snapshot: why, and which part of the document is to be changed."""

    error: DataError
    path: DocumentPath


def snapshots(workflow: Workflow, settings: Settings, progress: Progress) -> Mapping[str, Snapshot | Failed]:
    """Return the snapshot of each dataset that is the result of a query, by its name there, or why there is none.

    What fails for all datasets of a source is told for the first.
    """
    found: dict[str, Snapshot | Failed] = {}
    for query in queries(workflow.sources).values():
        named = {name for _, name in workflow.named_files()}
        wanted = [each for each in workflow.datasets if address(query.source, each.name) in named]
        if wanted:
            found |= _of_source(query, wanted, workflow, settings, progress)
    if found:
        progress.close()
    return found


def _of_source(
    query: Query, datasets: list[Dataset], workflow: Workflow, settings: Settings, progress: Progress
) -> Mapping[str, Snapshot | Failed]:
    """Ask for all datasets over one connection."""
    found: dict[str, Snapshot | Failed] = {}
    with ExitStack() as stack:
        database: Database | None = None
        for dataset in datasets:
            name = address(query.source, dataset.name)
            progress.start(f"querying {query.source} for {dataset.name}", 0, "events")
            try:
                database = database or stack.enter_context(connected(_access(query, workflow, settings)))
                found[name] = _snapshot(database, query, dataset, settings.cache, progress)
            except DataError as error:
                found[name] = _failed(error, query, dataset)
                if not isinstance(error, SqlError) or error.lasting:
                    break
    return found


def _access(query: Query, workflow: Workflow, settings: Settings) -> Access:
    """Return how to reach the database of a query; a file is looked for as those of datasets are."""
    found = access(query.connect, settings.environ)
    if found.file is None:
        return found
    document = workflow.document.files[0]
    file = locate(str(found.file), document=document, working_directory=settings.working_directory)
    return replace(found, file=file)


def _snapshot(database: Database, query: Query, dataset: Dataset, cache: Path, progress: Progress) -> Snapshot:
    """Ask for one dataset, and keep the result."""
    values = bound(query, dataset)
    directory = private_directory(cache / "snapshots")
    with writing(directory):
        handle, name = tempfile.mkstemp(dir=directory, prefix=".new-", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        with database.batches(query.text, tuple(values.values())) as result:
            written = write_snapshot(result, temporary, progress.advance)
        path = directory / written.sha256[:32] / base_name(address(query.source, dataset.name))
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            if not path.is_file():
                os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Snapshot(path=path, origin=_origin(database, query, dataset, written))


def _origin(database: Database, query: Query, dataset: Dataset, written: Written) -> Origin:
    return Origin(
        source=query.source,
        dataset=dataset.name,
        query=query.text,
        parameters=bound(query, dataset),
        driver=database.driver,
        server=database.server,
        rows=written.rows,
        sha256=written.sha256,
    )


def _failed(error: DataError, query: Query, dataset: Dataset) -> Failed:
    """Return an error with the dataset that it concerns, and the part of the source."""
    if not isinstance(error, SqlError):
        return Failed(error=error, path=(*query.path, "connect", "database"))
    if error.part == "connect":
        return Failed(error=error, path=(*query.path, "connect"))
    message = f"dataset {dataset.name!r}: {error.message}"
    return Failed(error=DataError(message, hint=error.hint), path=(*query.path, "query"))
