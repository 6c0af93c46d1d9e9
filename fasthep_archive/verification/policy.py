"""Which policy holds for an output: the document's last one that matches, else the default of the output's kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from fasthep_archive.verification.compare import Comparison, compare
from fasthep_archive.verification.numbers import Tolerance
from fasthep_archive.verification.outputs import Kind, Output
from fasthep_archive.verification.verdict import Level, Report, Verdict
from fasthep_archive.workflow.model import Policy

Demand: TypeAlias = Literal["identical", "content", "tolerance", "ignore"]

DEFAULTS: Mapping[Kind, Demand] = {
    "histogram": "content",
    "cutflow": "content",
    "table": "content",
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
    found = {output.name: output for output in replayed}
    expected = {output.name for output in recorded}
    judged = [_verdict(output, found.get(output.name), policy_of(output, policies)) for output in recorded]
    unexpected = [
        Verdict(
            output=output.name,
            level=Level.UNEXPECTED,
            required=policy_of(output, policies),
            because="the replay made it and the record does not list it",
        )
        for output in replayed
        if output.name not in expected
    ]
    return Report(verdicts=(*judged, *unexpected))


def _verdict(recorded: Output, replayed: Output | None, policy: Policy) -> Verdict:
    if replayed is None:
        return Verdict(
            output=recorded.name,
            level=Level.MISSING,
            required=policy,
            because="it is recorded and the replay made none",
        )
    comparison = compare(recorded, replayed)
    level = reached(comparison, policy)
    return Verdict(
        output=recorded.name, level=level, required=policy, because=comparison.because, comparison=comparison
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
