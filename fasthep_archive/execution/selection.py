"""Which part of a plan is carried out: some of the document's workflows, some stages, or all that need no asking.

A stage with ``when: manual`` is carried out only when it is asked for, itself or through what is asked for; so is what
needs it: GitLab CI's ``manual``, for an unblinded region or a slow fit. ``always`` and ``on_failure`` make no sense for
physics: a product of failed stages is no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fasthep_archive.errors import UsageError, nearest
from fasthep_archive.execution.plan import Plan
from fasthep_archive.workflow.model import Workflow


def selected(plan: Plan, workflow: Workflow, *, workflows: Sequence[str] = (), stages: Sequence[str] = ()) -> Plan:
    """Return the part of ``plan`` that was asked for.

    :param workflows: names of the document's workflows: the products of their stages and of all that these need. By
        default all are carried out.
    :param stages: ids of stages: their products alone; what they need is computed and not kept.
    :raises UsageError: for names that don't exist, and for stages that leave nothing.
    """
    known = {item.name: item.stages for item in workflow.workflows}
    _check(workflows, known, "--workflow {}: the document has no workflow of that name", "its workflows")
    leaving = dict.fromkeys(node.stage for node in plan.nodes if node.kept)
    _check(stages, leaving, "--only {}: no stage of that name leaves a product", "stages with products")
    chosen = tuple(name for name in known if not workflows or name in workflows)
    if workflows:
        own = [stage for name in workflows for stage in known[name]]
        known_stages = {stage.id for stage in workflow.stages}
        observed = [stage for stage in leaving if stage not in known_stages]
        plan = plan.only([*workflow.needed([stage for stage in own if _at_once(stage, workflow)]), *observed])
    elif not stages:
        plan = plan.only(stage for stage in leaving if _at_once(stage, workflow))
    if stages:
        plan = plan.only(stages)
    return replace(plan, workflows=chosen)


def _at_once(stage: str, workflow: Workflow) -> bool:
    """Say whether a stage is carried out without being asked for; what is no stage (an observed source) is."""
    known = {item.id: item for item in workflow.stages}
    return stage not in known or all(known[other].when != "manual" for other in workflow.needed([stage]))


def _check(asked: Iterable[str], known: Mapping[str, object], message: str, listed: str) -> None:
    for name in asked:
        if name not in known:
            hint = nearest(name, known) or f"{listed}: {', '.join(known) or 'none'}"
            raise UsageError(message.format(name), hint=hint)
