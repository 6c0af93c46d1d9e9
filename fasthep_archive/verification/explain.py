"""Why outputs differ, as far as that can be known: what changed, most likely cause first, and no claim beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fasthep_archive.environment.differences import Difference
from fasthep_archive.verification.contrast import distance
from fasthep_archive.verification.numbers import UNRELATED, Extent
from fasthep_archive.verification.verdict import Level, RanIn, Report, Verdict

_ROUNDING = 1e-9
"""Relative difference up to which numbers are called equal but for rounding: far above what libraries differ by in one
operation (1e-15), far below what one event more or less makes."""


def explained(
    report: Report, found: Sequence[Difference], *, inputs: Sequence[str] = (), ran_in: RanIn | None = None
) -> Report:
    """Return ``report`` with the environment, its differences, and the explanation of its verdicts.

    :param found: the environment's differences, most likely cause first.
    :param inputs: names of inputs whose digest is not the recorded one.
    :param ran_in: the environment in which the replay ran.
    """
    sentences = [explanation(report, found, inputs=inputs), _way_out(report, found, ran_in)]
    text = " ".join(sentence for sentence in sentences if sentence) or None
    return replace(report, differences=tuple(found), explanation=text, ran_in=ran_in)


def explanation(report: Report, found: Sequence[Difference], *, inputs: Sequence[str] = ()) -> str | None:
    """Return the most likely cause of what differs in ``report``; none where every judged output has its content."""
    different = [verdict for verdict in report.verdicts if verdict.judged and verdict.level > Level.CONTENT]
    doubtful = [verdict for verdict in different if verdict.contradiction]
    unclear = [verdict for verdict in different if not verdict.contradiction]
    sentences = []
    if doubtful:
        sentences.append(_changed_record(doubtful))
    if unclear:
        sentences += [*_extent(unclear), _cause(unclear, found, inputs)]
    return " ".join(sentences) or None


def _way_out(report: Report, found: Sequence[Difference], ran_in: RanIn | None) -> str | None:
    """Return how to tell whether packages are the cause; none where they can't be, or the lock's were used already."""
    suspected = any(difference.kind == "package" and difference.effect == "numerical" for difference in found)
    if report.agrees or not suspected or ran_in is None or ran_in.environment != "as installed":
        return None
    return "With --env locked it runs with the recorded packages, which shows whether they are."


def _changed_record(verdicts: Sequence[Verdict]) -> str:
    names = ", ".join(verdict.output for verdict in verdicts)
    return f"The record of {names} contradicts itself: it was changed after the run, and no environment explains that."


def _extents(verdicts: Sequence[Verdict]) -> list[Extent]:
    """Return how far the outputs are apart that differ in numbers and nothing else."""
    details = [verdict.details for verdict in verdicts if verdict.details and not verdict.details.structure]
    return [item.extent for item in details if item.extent and item.extent.different]


def _extent(verdicts: Sequence[Verdict]) -> list[str]:
    """Return how large the numerical differences are, and what that suggests."""
    found = _extents(verdicts)
    if not found:
        return []
    largest = max(found, key=lambda extent: (extent.ulps == UNRELATED, extent.relative))
    if largest.ulps == UNRELATED:
        return ["Numbers are NaN or infinite on one side only, which rounding alone does not do."]
    if largest.relative <= _ROUNDING:
        return [f"The numbers differ by as little as rounding does ({distance(largest)})."]
    size = f"The numbers differ by more than rounding alone ({distance(largest)})"
    return [f"{size}, which can still move an event across a cut or the edge of a bin."]


def _cause(verdicts: Sequence[Verdict], found: Sequence[Difference], inputs: Sequence[str]) -> str:
    if inputs:
        return f"The inputs are not the recorded ones ({', '.join(inputs)}), so other outputs are expected."
    causes = [difference for difference in found if difference.effect == "numerical"]
    if not _extents(verdicts):
        causes = [difference for difference in causes if difference.kind == "package"]
    if causes:
        others = f", the first of {len(causes)} differences that can change results" if len(causes) > 1 else ""
        return f"Most likely cause: {causes[0]}{others}. That it is the cause is not shown."
    start = (
        "Of what differs between the environments, nothing is known to cause this"
        if found
        else "The environments agree in all that is recorded"
    )
    return f"{start}: look for an undeclared input, randomness, or a result that depends on time or order."
