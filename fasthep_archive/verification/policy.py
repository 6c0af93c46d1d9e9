"""Which policy holds for an output: the document's last one that matches, else the default of the output's kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from fasthep_archive.verification.compare import Comparison, compare
from fasthep_archive.verification.contrast import REPLAY, Words
from fasthep_archive.verification.numbers import Tolerance
from fasthep_archive.verification.outputs import Kind, Output
from fasthep_archive.verification.verdict import Level, Report, Verdict
from fasthep_archive.workflow.model import Policy

Demand: TypeAlias = Literal["identical", "content", "tolerance", "ignore"]

DEFAULTS: Mapping[Kind, Demand] = {
    "histogram": "content",
    "cutflow": "content",
    "table": "content",
    "columns": "content",
    "value": "content",
    "file": "content",
    "picture": "ignore",
    "log": "ignore",
}
"""What is asked of each kind of output where the document says nothing."""


def policy_of(output: Output, policies: Sequence[Policy]) -> Policy:
    """Return the policy that holds for ``output``.

    A policy's pattern (``*``, ``?``, ``[...]``, case matters) is matched against the name of the file and the id of the
    stage that made it. Of several that match, the last one holds, as in a list of rules that go from the general to the
    particular; it replaces the others whole.
    """
    for policy in reversed(policies):
        if fnmatchcase(output.name, policy.outputs) or (output.stage and fnmatchcase(output.stage, policy.outputs)):
            return policy
    return Policy(outputs=output.name, level=DEFAULTS[output.kind])


def verdicts(recorded: Sequence[Output], replayed: Sequence[Output], policies: Sequence[Policy]) -> Report:
    """Return a verdict for every output, in the order of ``recorded``, those that were not recorded last.

    :param recorded: outputs with distinct names; only those that the replay was asked for.
    """
    return Report(verdicts=judged(recorded, replayed, policies))


def judged(
    recorded: Sequence[Output], replayed: Sequence[Output], policies: Sequence[Policy], words: Words = REPLAY
) -> tuple[Verdict, ...]:
    """Return a verdict for every output of one side, then one for each that only the other has, in their orders.

    :param words: what the sides are called.
    """
    found = {output.name: output for output in replayed}
    expected = {output.name for output in recorded}
    paired = [_verdict(output, found.get(output.name), policy_of(output, policies), words) for output in recorded]
    unexpected = [
        _alone(output, Level.UNEXPECTED, policy_of(output, policies), f"it is {words.other} and not {words.one}")
        for output in replayed
        if output.name not in expected
    ]
    return (*paired, *unexpected)


def _alone(output: Output, level: Level, policy: Policy, because: str) -> Verdict:
    return Verdict(output=output.name, level=level, required=policy, because=because, exact=output.exact)


def _verdict(recorded: Output, replayed: Output | None, policy: Policy, words: Words) -> Verdict:
    if replayed is None:
        return _alone(recorded, Level.MISSING, policy, f"it is {words.one} and not {words.other}")
    comparison = compare(recorded, replayed, words)
    return Verdict(
        output=recorded.name,
        level=reached(comparison, policy),
        required=policy,
        because=comparison.because,
        contradiction=comparison.contradiction,
        details=comparison.contrast.details(words) if comparison.contrast else None,
        exact=replayed.exact,
    )


def reached(comparison: Comparison, policy: Policy) -> Level:
    """Return the best level that a comparison reaches; *within tolerance* only where ``policy`` gives one."""
    if comparison.contradiction:
        return Level.DIFFERENT
    if comparison.same_bytes:
        return Level.IDENTICAL
    if comparison.same_content:
        return Level.CONTENT
    contrast = comparison.contrast
    if policy.level == "tolerance" and contrast and not contrast.structure and contrast.numbers:
        tolerance = Tolerance(rtol=policy.rtol, atol=policy.atol, ulp=policy.ulp)
        return Level.TOLERANCE if contrast.numbers.within(tolerance) else Level.DIFFERENT
    return Level.DIFFERENT
