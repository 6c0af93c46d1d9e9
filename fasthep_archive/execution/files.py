"""The files of a workflow's datasets: where each is, or its copy, and what its bytes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution.copies import fetched_copies, generated_copy, present_copies
from fasthep_archive.execution.inputs import InputFile, disagreement, hashed, locate
from fasthep_archive.execution.settings import Digests, Settings
from fasthep_archive.workflow.addresses import is_remote
from fasthep_archive.workflow.model import Workflow

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
            stated = self._references.get(name)
            urls, sha256 = stated.urls if stated else (), known.get(path, _UNREAD)
            found[name] = InputFile(name=name, path=path, size=path.stat().st_size, sha256=sha256, urls=urls)
            wrong = disagreement(found[name], stated) if stated else None
            if wrong and stated:
                hint = "the bundle would refer to another file than the one that was analysed"
                self._fault(wrong[1], (*stated.path, wrong[0]), hint)
        return found

    def _located(self) -> dict[str, Path]:
        """Return where each file of the datasets is, or its copy; report the missing ones."""
        copies = self._copies()
        found: dict[str, Path] = {}
        for dataset in self._workflow.datasets:
            for number, name in enumerate(dataset.files):
                try:
                    path = self._place(name, copies)
                except DataError as error:
                    self._fault(error.message, (*dataset.path, "files", number), error.hint)
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
        """Return where a file or its copy is; none for a remote file that has not to be here."""
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
        warning = f"{name} was not looked at: it is checked when a run has fetched it"
        if copy is None and warning not in self.warnings:
            self.warnings.append(warning)
        return copy

    def _fault(self, message: str, path: tuple[str | int, ...], hint: str | None) -> None:
        self._report(Fault(message, self._workflow.document.where(path), hint))
