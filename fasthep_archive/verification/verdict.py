"""Verdicts: how well a replayed output agrees with the recorded one, and whether that is what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from fasthep_archive.digest import JSON
from fasthep_archive.environment.differences import Difference
from fasthep_archive.verification.compare import Comparison
from fasthep_archive.workflow.model import Policy

FORMAT = 1
"""Version of the JSON form, :file:`schemas/verification-1.json`."""


class Level(IntEnum):
    """The ladder, best first. An output is on the best rung that it reaches."""

    IDENTICAL = 0
    """The same bytes."""
    CONTENT = 1
    """The same type, names, shape and values in other bytes."""
    TOLERANCE = 2
    """The same structure, and numbers within the tolerance that the document gives; without one, nobody gets here."""
    DIFFERENT = 3
    MISSING = 4
    """Recorded and not replayed."""
    UNEXPECTED = 5
    """Replayed and not recorded."""

    @property
    def word(self) -> str:
        """Return the word in JSON: ``identical``, ``content``, ..."""
        return self.name.lower()


PHRASES: Mapping[Level, str] = {
    Level.IDENTICAL: "identical",
    Level.CONTENT: "same content",
    Level.TOLERANCE: "within tolerance",
    Level.DIFFERENT: "different",
    Level.MISSING: "missing",
    Level.UNEXPECTED: "unexpected",
}
"""How people read the levels, in tables and sentences."""

_DEMANDS: Mapping[str, Level] = {
    "identical": Level.IDENTICAL,
    "content": Level.CONTENT,
    "tolerance": Level.TOLERANCE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verdict on one output.

    :ivar level: the best level reached, whatever was asked for.
    :ivar required: what the document or the defaults ask for; ``ignore`` is reported and not judged.
    :ivar because: why it is not identical; none where it is.
    :ivar comparison: what was found; none for missing and unexpected outputs.
    """

    output: str
    level: Level
    required: Policy
    because: str | None = None
    comparison: Comparison | None = None

    @property
    def judged(self) -> bool:
        """Return whether the output counts."""
        return self.required.level != "ignore"

    @property
    def agrees(self) -> bool:
        """Return whether the output is as good as was asked for; true where nothing was."""
        return not self.judged or self.level <= _DEMANDS[self.required.level]

    def to_json(self) -> JSON:
        contrast = self.comparison.contrast if self.comparison else None
        return {
            "output": self.output,
            "level": self.level.word,
            "required": self.required.level,
            "agrees": self.agrees,
            "because": self.because,
            "details": contrast.to_json() if contrast else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The verdicts of one replay, and what is known about their cause.

    :ivar verdicts: in the order of the record; unexpected outputs last.
    :ivar differences: between the recorded and the present environment, most likely cause first.
    :ivar explanation: the most likely cause of what differs, in sentences; none where nothing does.
    """

    verdicts: tuple[Verdict, ...]
    differences: tuple[Difference, ...] = ()
    explanation: str | None = None

    @property
    def agrees(self) -> bool:
        """Return whether every output agrees. A report without verdicts has shown nothing and does not agree."""
        return bool(self.verdicts) and all(verdict.agrees for verdict in self.verdicts)

    @property
    def exit_status(self) -> int:
        """Return 0 if the outputs agree, 1 if they differ."""
        return 0 if self.agrees else 1

    @property
    def sentence(self) -> str:
        """Return the overall verdict in one line: ``12 of 12 outputs identical``."""
        return overall(self.verdicts)

    def to_json(self) -> JSON:
        """Return the form that :file:`schemas/verification-1.json` describes."""
        return {
            "format": FORMAT,
            "agrees": self.agrees,
            "sentence": self.sentence,
            "outputs": [verdict.to_json() for verdict in self.verdicts],
            "differences": [difference.to_json() for difference in self.differences],
            "explanation": self.explanation,
        }


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return the counts of ``verdicts`` in one line; outputs that do not agree are named, up to three a level."""
    if not verdicts:
        return "no outputs were compared"
    total, noun = len(verdicts), "output" if len(verdicts) == 1 else "outputs"
    counted = [verdict for verdict in verdicts if verdict.judged or verdict.level is Level.IDENTICAL]
    levels = Counter(verdict.level for verdict in counted)
    parts = [f"{levels[Level.IDENTICAL]} of {total} {noun} identical"]
    for level in list(Level)[1:]:
        if levels[level]:
            failed = [verdict.output for verdict in counted if verdict.level is level and not verdict.agrees]
            named = f" ({_names(failed)})" if failed else ""
            parts.append(f"{levels[level]} {'with the ' if level is Level.CONTENT else ''}{PHRASES[level]}{named}")
    if len(counted) < total:
        parts.append(f"{total - len(counted)} not judged")
    return ", ".join(parts)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
