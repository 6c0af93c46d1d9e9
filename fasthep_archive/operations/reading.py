"""Turns the stages of a workflow into operations, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from fasthep_archive import registry
from fasthep_archive.operations.protocol import Operation
from fasthep_archive.workflow.model import Workflow


def inside_profile(workflow: Workflow) -> bool:
    """Return whether all stages compute inside the numeric profile: ours do, and of plug-ins that is not known."""
    return all(registry.is_ours("operations", stage.op) for stage in workflow.stages)


def operations(workflow: Workflow, *, version: str) -> Mapping[str, Operation]:
    """Return the operation of each stage that conforms to the schema, by stage id."""
    provided = registry.provided("operations", version=version)
    return {
        stage.id: cast("type[Operation]", provided[stage.op].load()).read(stage.params)
        for stage in workflow.stages
        if stage.id not in workflow.broken and stage.op in provided
    }
