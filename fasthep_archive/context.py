"""What surrounds a run: where caches live, which time it is, how progress is shown.

Values only. They enter once, at :mod:`fasthep_archive.archive`, and travel down as an argument, so that no
lower room reads the clock, the environment or the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Where progress goes. Units are events for runs, each once however often it is read, and bytes elsewhere."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Begin a piece of work of ``total`` units; ends the piece before it."""

    def advance(self, amount: int) -> None:
        """Say that ``amount`` more units are done."""

    def message(self, text: str) -> None:
        """Tell the reader something without disturbing the bar."""

    def close(self) -> None:
        """End the display."""


class NoProgress:
    """Shows nothing."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Show nothing."""

    def advance(self, amount: int) -> None:
        """Show nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


PROCESSES = "processes"
"""The executor that is used where nothing else is said: worker processes on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The surroundings of one run of one verb."""

    cache: Path
    """Directory of this user's caches: compiled kernels, the store, digests of known files."""
    now: datetime
    """The time that is written wherever a time is written; UTC. ``SOURCE_DATE_EPOCH`` when that is set."""
    measured: bool
    """Whether durations, memory and the number of workers are recorded; not with ``SOURCE_DATE_EPOCH``."""
    workers: int
    """Number of worker processes."""
    progress: Progress
    executor: str = PROCESSES
    """What computes, as ``--executor`` says it: see :mod:`fasthep_archive.execution.executors`."""
