"""Sinks of plug-ins: a class whose method ``write`` writes events to a path becomes a kind of writer.

::

    @dataclass
    class Numbers:
        separator: str = " "
        suffix = ".txt"

        def write(self, path, events):
            path.write_text(self.separator.join(map(str, events.x)))

Its fields are the options that documents can give. It gets the kept columns of all events of a file at once, as an
awkward array of records, with groups where names have dots.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from fasthep_archive.data.forms import AS_FIRST, Branch, Columns, Types, Unfit, clusters, refuse
from fasthep_archive.digest import JSON
from fasthep_archive.errors import ArchiveError, DataError, UsageError
from fasthep_archive.files import Stretch, pieces
from fasthep_archive.formula.columns import concatenated
from fasthep_archive.operations.called_events import records
from fasthep_archive.registry import Provided

_COMMON = frozenset({"keep", "path", "when"})
"""Parameters that every writer has; the others are options of the plug-in."""


class SinkPlugin(Protocol):
    """What the entry point of a sink names."""

    def write(self, path: Path, events: object) -> None:
        """Write the events, an awkward array of records, to the file ``path``, which is not there yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluggedForm:
    """A form of files that a plug-in writes; see :class:`fasthep_archive.data.forms.Form`."""

    provided: Provided
    options: Mapping[str, JSON]

    @classmethod
    def of(cls, provided: Provided, params: Mapping[str, JSON]) -> PluggedForm:
        """Return the form that the plug-in writes with the checked parameters of a writer.

        :raises UsageError: if it is no class with a method ``write``, or does not take its options.
        """
        form = cls(provided=provided, options={key: value for key, value in params.items() if key not in _COMMON})
        if not callable(getattr(form._sink(), "write", None)):
            hint = "def write(self, path, events): ..."
            raise UsageError(f"{form._whose} is no class with a method 'write'", hint=hint)
        return form

    @property
    def suffix(self) -> str:
        return str(getattr(self.provided.load(), "suffix", ""))

    def canonical(self) -> JSON:
        return ["plugin", self.provided.name, self.provided.identity, dict(self.options)]

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        for branch in branches:
            if branch.text:
                hint = f"list columns without it: keep: [...], or write {branch.name!r} with kind: parquet"
                return Unfit(message=f"plug-ins are not handed texts, and {branch.name!r} has some", hint=hint)
        return None

    def write(
        self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST
    ) -> None:
        refuse(self.unfit(branches))
        found = list(clusters(branches, parts, types))
        columns = {branch.name: concatenated([piece.pop(branch.name) for piece in found]) for branch in branches}
        events = records(columns, len(next(iter(columns.values()))))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"events{self.suffix}"
            try:
                self._sink().write(path, events)
                target.writelines(pieces(Stretch.whole(path)))
            except ArchiveError:
                raise
            except Exception as error:
                message = f"{self._whose} can't write: {type(error).__name__}: {error}"
                raise DataError(message, hint="this is code of a plug-in; tell who wrote it") from error

    @property
    def _whose(self) -> str:
        return f"sink {self.provided.name!r} of {self.provided.provider} {self.provided.version}"

    def _sink(self) -> SinkPlugin:
        """Return the plug-in's object, with its options."""
        found = self.provided.load()
        if not isinstance(found, type):
            raise UsageError(f"{self._whose} is no class", hint="class NAME: def write(self, path, events): ...")
        try:
            return cast("SinkPlugin", found(**self.options))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self._whose} does not take its options: {error}") from error
