"""Which part of a plan is carried out: some of the document's workflows, some stages, or all that need no asking.

A stage with ``when: manual`` is carried out only when it is asked for, itself or through what is asked for; so is what
needs it: GitLab CI's ``manual``, for an unblinded region or a slow fit. ``always`` and ``on_failure`` make no sense for
physics: a product of failed stages is no result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from fasthep_archive.errors import UsageError, nearest
from fasthep_archive.execution.asked import Asked
from fasthep_archive.execution.plan import Plan
from fasthep_archive.workflow.model import Workflow


def selected(plan: Plan, workflow: Workflow, asked: Asked) -> Plan:
    """Return the part of ``plan`` that was asked for; what is needed for it and not of it is computed and not kept.

    :raises UsageError: for names that don't exist, and for stages that leave nothing.
    """
    known = {item.name: item.stages for item in workflow.workflows}
    _check(asked.workflows, known, "--workflow {}: the document has no workflow of that name", "its workflows")
    leaving = [*dict.fromkeys(node.stage for node in plan.nodes if node.kept)]
    chosen = tuple(name for name in known if not asked.workflows or name in asked.workflows)
    own = [stage for name in chosen for stage in known[name]] if asked.workflows else leaving
    offered = _with_needs(own, leaving, workflow)
    for option, names, known_there in (("only", asked.only, offered), ("with", asked.also, leaving)):
        _check(names, known_there, f"--{option} {{}}: no stage of that name leaves a product", "stages with products")
    at_once = _with_needs([stage for stage in own if _at_once(stage, workflow)], leaving, workflow)
    wanted = {*(asked.only or at_once), *workflow.needed(asked.also)}
    return replace(plan.only(wanted), workflows=chosen, asked=asked)


def _with_needs(stages: Iterable[str], leaving: Iterable[str], workflow: Workflow) -> tuple[str, ...]:
    """Return which of ``leaving`` are ``stages``, needed by these, or no stages: what is observed of a source."""
    elsewhere = {stage.id for stage in workflow.stages} - {*workflow.needed(stages)}
    return tuple(stage for stage in leaving if stage not in elsewhere)


def _at_once(stage: str, workflow: Workflow) -> bool:
    """Say whether a stage is carried out without being asked for; what is no stage (an observed source) is."""
    known = {item.id: item for item in workflow.stages}
    return stage not in known or all(known[other].when != "manual" for other in workflow.needed([stage]))


def _check(asked: Iterable[str], known: Collection[str], message: str, listed: str) -> None:
    for name in asked:
        if name not in known:
            hint = nearest(name, known) or f"{listed}: {', '.join(known) or 'none'}"
            raise UsageError(message.format(name), hint=hint)
