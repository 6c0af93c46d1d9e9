"""Verdicts: how well a replayed output agrees with the recorded one, and whether that is what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias, get_args

from fasthep_archive.digest import JSON
from fasthep_archive.environment.differences import Difference
from fasthep_archive.environment.reading import Reader
from fasthep_archive.environment.snapshot import TOOL, Snapshot
from fasthep_archive.errors import DataError
from fasthep_archive.verification.contrast import Details
from fasthep_archive.verification.numbers import distance_at
from fasthep_archive.workflow.model import Policy, Strictness

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


Worth: TypeAlias = Literal["proof", "match"]
"""What an agreement shows. *proof*: everything behind the output is inside the numeric profile, which leaves no machine
a choice of bits, and its content is the recorded one. *match*: it agrees, and another machine might still differ."""

How: TypeAlias = Literal["as installed", "rebuilt from the lock"]
"""How an environment came to be where a replay ran: it was there, or it was made from what the bundle locks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verdict on one output.

    :ivar level: the best level reached, whatever was asked for.
    :ivar required: what the document or the defaults ask for; ``ignore`` is reported and not judged.
    :ivar because: why it is not identical; none where it is.
    :ivar contradiction: whether the record does not agree with itself, so that no comparison with it can be trusted.
    :ivar details: what differs inside; none where that was not needed or could not be seen.
    :ivar exact: as in :class:`fasthep_archive.verification.outputs.Output`.
    """

    output: str
    level: Level
    required: Policy
    because: str | None = None
    contradiction: bool = False
    details: Details | None = None
    exact: bool | None = None

    @property
    def judged(self) -> bool:
        """Return whether the output counts."""
        return self.required.level != "ignore"

    @property
    def agrees(self) -> bool:
        """Return whether the output is as good as was asked for; true where nothing was."""
        return not self.judged or self.level <= _DEMANDS[self.required.level]

    @property
    def worth(self) -> Worth | None:
        """Return what the agreement shows; none where there is none, or where exactness is not known."""
        if self.exact is None or not self.agrees or self.level > Level.TOLERANCE:
            return None
        return "proof" if self.exact and self.level <= Level.CONTENT else "match"

    def to_json(self) -> JSON:
        return {
            "output": self.output,
            "level": self.level.word,
            "required": self.required.level,
            "tolerance": _tolerance(self.required),
            "agrees": self.agrees,
            "exact": self.exact,
            "because": self.because,
            "contradiction": self.contradiction,
            "details": self.details.to_json() if self.details else None,
        }

    @classmethod
    def from_json(cls, reader: Reader) -> Verdict:
        """Return the verdict that was recorded; its policy names the output, not the pattern that matched it.

        :raises DataError: if the record is not one of :meth:`to_json`, or contradicts itself.
        """
        found = cls(
            output=reader.text("output"),
            level=Level[reader.choice("level", [level.word for level in Level]).upper()],
            required=_policy(reader),
            because=reader.optional_text("because"),
            contradiction=_flag(reader, "contradiction"),
            details=Details.from_json(reader.reader("details")) if _given(reader, "details") else None,
            exact=_flag(reader, "exact") if _given(reader, "exact") else None,
        )
        if found.agrees != _flag(reader, "agrees"):
            raise DataError(f"{reader.where}.agrees is {not found.agrees}, which its level and demand do not give")
        return found


def _tolerance(policy: Policy) -> JSON:
    if policy.level != "tolerance":
        return None
    return {"rtol": policy.rtol, "atol": policy.atol, "ulp": policy.ulp}


def _policy(reader: Reader) -> Policy:
    output, level = reader.text("output"), reader.choice("required", get_args(Strictness))
    if level != "tolerance":
        return Policy(outputs=output, level=level)
    limits = reader.reader("tolerance")
    rtol, atol = (distance_at(limits, name) for name in ("rtol", "atol"))
    return Policy(outputs=output, level=level, rtol=rtol, atol=atol, ulp=limits.integer("ulp"))


def _given(reader: Reader, key: str) -> bool:
    """Return whether anything but null is at ``key``."""
    if key not in reader.value:
        raise DataError(f"{reader.where}: {key!r} is missing")
    return reader.value[key] is not None


def _flag(reader: Reader, key: str) -> bool:
    value = reader.value.get(key)
    if not isinstance(value, bool):
        raise DataError(f"{reader.where}.{key} is {value!r}, not true or false")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class RanIn:
    """The environment in which a replay ran, as a reader recognises it.

    :ivar environment: how it came to be there.
    :ivar tool: version of this tool in it; none where that was not recorded. :ivar python: ``CPython 3.11.2``.
    :ivar processor: its maker's name, and its microarchitecture. :ivar system: name and version.
    """

    environment: How
    tool: str | None
    python: str
    processor: str
    system: str

    @classmethod
    def of(cls, environment: Snapshot, how: How) -> RanIn:
        """Return what is told of ``environment``."""
        cpu, system = environment.hardware.cpu, environment.hardware.system
        versions = {package.name: package.version for package in environment.packages}
        return cls(
            environment=how,
            tool=versions.get(TOOL),
            python=f"{environment.python.implementation} {environment.python.version}",
            processor=f"{cpu.model} ({cpu.microarchitecture})" if cpu.model else cpu.microarchitecture,
            system=system.distribution or f"{system.name} {system.kernel}",
        )

    def __str__(self) -> str:
        tool = f"{TOOL} {self.tool}" if self.tool else TOOL
        return f"{tool}, {self.python}, {self.processor}, {self.system}"

    def to_json(self) -> JSON:
        return {
            "environment": self.environment,
            "tool": self.tool,
            "python": self.python,
            "processor": self.processor,
            "system": self.system,
        }

    @classmethod
    def from_json(cls, reader: Reader) -> RanIn:
        """Return what was recorded.

        :raises DataError: if the record is not one of :meth:`to_json`.
        """
        return cls(
            environment=reader.choice("environment", get_args(How)),
            tool=reader.optional_text("tool"),
            python=reader.text("python"),
            processor=reader.text("processor"),
            system=reader.text("system"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The verdicts of one replay, and what is known about their cause.

    :ivar verdicts: in the order of the record; unexpected outputs last.
    :ivar differences: between the recorded and the present environment, most likely cause first.
    :ivar explanation: the most likely cause of what differs, in sentences; none where nothing does.
    :ivar ran_in: the environment in which the replay ran; none where that is not known.
    """

    verdicts: tuple[Verdict, ...]
    differences: tuple[Difference, ...] = ()
    explanation: str | None = None
    ran_in: RanIn | None = None

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
            "ran_in": self.ran_in.to_json() if self.ran_in else None,
        }

    @classmethod
    def from_json(cls, value: JSON) -> Report:
        """Return the report that was recorded as ``value``, such as that of a replay in another process.

        :raises DataError: naming the place, if ``value`` is not one of :meth:`to_json`, or contradicts itself.
        """
        reader = Reader.of(value, "report")
        reader.format(FORMAT)
        found = cls(
            verdicts=tuple(map(Verdict.from_json, reader.readers("outputs"))),
            differences=tuple(map(Difference.from_json, reader.readers("differences"))),
            explanation=reader.optional_text("explanation"),
            ran_in=RanIn.from_json(reader.reader("ran_in")) if _given(reader, "ran_in") else None,
        )
        if found.agrees != _flag(reader, "agrees"):
            raise DataError(f"report.agrees is {not found.agrees}, which its outputs do not give")
        return found


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
