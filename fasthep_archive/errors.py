"""Every error that a user can cause, in one tree; a bug is any other exception.

    ArchiveError                 exit status 2 unless a subclass says otherwise
     ├─ UsageError               an argument of the command line or of the Python API is wrong
     ├─ WorkflowError            the document is wrong: carries every fault that was found
     ├─ FormulaError             one formula is wrong; knows the column inside the formula
     ├─ DataError                an input or a product can't be read, or is not what it claims to be
     ├─ RebuildError             the environment that a bundle locks can't be built here
     ├─ TaskError          (3)   a task failed: names the stage, the partition and the file
     │   └─ CallError            code of the analysis did; knows the stage that calls it
     └─ BundleError        (4)   the bundle is damaged, hostile or not trusted

A message says what is wrong and where; ``hint`` says what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a text file; ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def shifted(self, columns: int) -> Location:
        """Return the location ``columns`` characters to the right on the same line."""
        return Location(self.file, self.line, self.column + columns)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a document: what, where, and what to do."""

    message: str
    where: Location | None = None
    hint: str | None = None

    def __str__(self) -> str:
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line}\n  hint: {self.hint}" if self.hint else line


class ArchiveError(Exception):
    """An error that the user can mend. ``str(error)`` is the whole message, hint included."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with the hint (``BaseException`` would drop keyword arguments)."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[ArchiveError], args: tuple[object, ...], state: dict[str, object]) -> ArchiveError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(ArchiveError):
    """An argument is wrong."""


class WorkflowError(ArchiveError):
    """The document has faults; all that were found, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.where is None, fault.where or Location("", 0, 0))))
        super().__init__("\n".join(map(str, self.faults)))


class FormulaError(ArchiveError):
    """A formula is wrong; ``column`` counts characters from 0 inside the formula's text."""

    def __init__(self, message: str, *, column: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.column = column


class DataError(ArchiveError):
    """A file, branch, product or output can't be used as it is."""


class RebuildError(ArchiveError):
    """The environment that a bundle locks can't be built on this machine; nothing was run."""


class TaskError(ArchiveError):
    """A task failed while it ran."""

    exit_status = 3


class CallError(TaskError):
    """Code that is not ours failed in a pass for a stage that needs it; ``caller`` is what calls it."""

    def __init__(self, message: str, *, caller: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.caller = caller


class BundleError(ArchiveError):
    """The bundle is damaged, hostile, or the user has not agreed to run it."""

    exit_status = 4


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Turn what the operating system has against writing ``path`` into an error that says so.

    :raises DataError: when the disk is full, the place is read-only, or not this user's.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"{path} can't be written: {why}", hint="make room there, or name another place") from error


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return a hint with the known name that ``name`` resembles most, or none.

    >>> nearest("Muon_Ptt", ["Muon_Pt", "Jet_Pt"])
    "did you mean 'Muon_Pt'?"
    """
    names = sorted(set(known))
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    ]
    return f"did you mean {close[0]!r}?" if close else None


def of_known(name: str, known: Iterable[str]) -> str | None:
    """Return a hint for a name that is none of ``known``: the one that it resembles most, or all; none of none.

    >>> of_known("ttbar", ["data", "dy"])
    'known are data, dy'
    """
    names = tuple(dict.fromkeys(known))
    return nearest(name, names) or (f"known are {', '.join(names)}" if names else None)
