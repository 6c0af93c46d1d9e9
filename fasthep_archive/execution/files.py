"""The files of a workflow's datasets: where each is, or its copy, and what its bytes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution.copies import fetched_copies, generated_copy, present_copies
from fasthep_archive.execution.inputs import InputFile, disagreement, hashed, locate
from fasthep_archive.execution.settings import Digests, Settings
from fasthep_archive.execution.snapshots import Failed, Snapshot, snapshots
from fasthep_archive.workflow.addresses import is_remote
from fasthep_archive.workflow.model import Workflow
from fasthep_archive.workflow.snapshots import Origin, is_snapshot, stated

_UNREAD = Digest("")
"""Stands for the digest of a file where the plan is only looked at."""


class Files:
    """Finds the files when it is made, and reports those that are missing.

    :ivar paths: of each file that is here, by the name that the document gives it.
    :ivar warnings: of files that could not be looked at.
    """

    def __init__(self, workflow: Workflow, settings: Settings, report: Callable[[Fault], None]):
        self.warnings: list[str] = []
        self._workflow = workflow
        self._settings = settings
        self._report = report
        self._references = workflow.references
        self._stated = stated(workflow.sources)
        self._snapshots: Mapping[str, Snapshot | Failed] = {}
        if settings.fetching is not None:
            self._snapshots = snapshots(workflow, settings, settings.fetching)
        self.paths: Mapping[str, Path] = self._located()

    def inputs(self, digests: Digests) -> Mapping[str, InputFile]:
        """Return all files of the datasets by name, in the order of the document, with or without events."""
        known: Mapping[Path, Digest] = {}
        if digests != "none":
            remembered = digests == "remembered"
            cache, workers = self._settings.cache, self._settings.workers
            known = hashed(self.paths.values(), cache=cache, remembered=remembered, workers=workers)
        found = {}
        for name, path in self.paths.items():
            reference = self._references.get(name)
            urls, sha256 = reference.urls if reference else (), known.get(path, _UNREAD)
            found[name] = InputFile(
                name=name,
                path=path,
                size=path.stat().st_size,
                sha256=sha256,
                urls=urls,
                origin=self._origin(name, sha256),
            )
            wrong = disagreement(found[name], reference) if reference else None
            if wrong and reference:
                hint = "the bundle would refer to another file than the one that was analysed"
                self._fault(wrong[1], (*reference.path, wrong[0]), hint)
        return found

    def _located(self) -> dict[str, Path]:
        """Return where each file is that the document names, or its copy; report the missing ones."""
        copies = self._copies()
        found: dict[str, Path] = {}
        for place, name in self._workflow.named_files():
            try:
                path = self._place(name, copies)
            except DataError as error:
                self._fault(error.message, place, error.hint)
            else:
                if path is not None:
                    found[name] = path
        return found

    def _copies(self) -> Mapping[str, Path | DataError]:
        """Return the copies of remote files that are there, after fetching where that is wanted."""
        remote = [item for name, item in self._references.items() if is_remote(name)]
        if not remote:
            return {}
        if self._settings.fetching is None:
            return present_copies(remote, self._settings.cache)
        return fetched_copies(remote, self._settings.cache, self._settings.fetching)

    def _place(self, name: str, copies: Mapping[str, Path | DataError]) -> Path | None:
        """Return where a file, its copy or its snapshot is; none for one that has not to be here."""
        if is_snapshot(name):
            return self._snapshot(name)
        generated = generated_copy(name, self._settings.cache)
        if generated is not None:
            return generated
        if not is_remote(name):
            document = self._workflow.document.files[0]
            return locate(name, document=document, working_directory=self._settings.working_directory)
        copy = copies.get(name)
        if isinstance(copy, DataError):
            raise copy
        if copy is None and self._settings.digests != "none":
            raise DataError(f"{name} is not here, and was not to be fetched")
        if copy is None:
            self._warn(f"{name} was not looked at: it is checked when a run has fetched it")
        return copy

    def _snapshot(self, name: str) -> Path | None:
        """Return the snapshot of a query's result; none where the database was not to be asked, or can't answer."""
        found = self._snapshots.get(name)
        if isinstance(found, Snapshot):
            if not found.origin.rows:
                self._warn(f"{name} has no events: the query of {found.origin.source!r} gives no rows")
            return found.path
        if isinstance(found, Failed):
            self._fault(found.error.message, found.path, found.error.hint)
        elif self._settings.fetching is None:
            self._warn(f"{name} was not looked at: databases are asked when it is run or packed")
        return None

    def _origin(self, name: str, sha256: Digest) -> Origin | None:
        """Return the query that a file is the result of: of this run, or of the one that a bundle states."""
        found = self._snapshots.get(name)
        if isinstance(found, Snapshot):
            return found.origin
        owners = self._workflow.datasets_of(name)
        return next((item for item in self._stated if item.sha256 == sha256 and item.dataset in owners), None)

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _fault(self, message: str, path: tuple[str | int, ...], hint: str | None) -> None:
        self._report(Fault(message, self._workflow.document.where(path), hint))
