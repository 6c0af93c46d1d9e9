"""Makes the plan of a workflow: finds the files, looks into them, cuts partitions, makes nodes; reports every fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fasthep_archive.errors import Fault
from fasthep_archive.execution.files import Files
from fasthep_archive.execution.inputs import InputFile
from fasthep_archive.execution.looking import Looking, Opened
from fasthep_archive.execution.nodes import Draft, Nodes
from fasthep_archive.execution.outline import outlined
from fasthep_archive.execution.plan import Partition, Plan
from fasthep_archive.execution.remembered import Memory
from fasthep_archive.execution.settings import CHUNK, Digests, Settings
from fasthep_archive.operations.reading import AnyOperation
from fasthep_archive.workflow.model import Workflow

__all__ = ["CHUNK", "Digests", "Settings", "make_plan"]


def make_plan(
    workflow: Workflow, operations: Mapping[str, AnyOperation], settings: Settings
) -> tuple[Plan, tuple[Fault, ...]]:
    """Return the plan of ``workflow`` and all faults that the files show; with faults, the plan is incomplete.

    :param operations: the operation of each node, by node id; those of stages with faults of their own are absent.
    """
    faults: list[Fault] = []
    outline = outlined(workflow, operations, faults.append)
    files = Files(workflow, settings, faults.append)
    memory = Memory(cache=settings.cache, version=settings.version, trusted=settings.digests != "read")
    looking = Looking(outline, files.paths, memory, settings.chunk, faults.append)
    opened = tuple(looking.opened())
    hopeless = bool(faults) or any(looking.findings.faults())
    inputs = files.inputs("none" if hopeless else settings.digests)  # no digests for what can't be carried out
    memory.keep({file.path: file.sha256 for file in inputs.values()})
    drafts = tuple(_drafts(opened, inputs))
    nodes = Nodes(outline, drafts, settings.version, faults.append)
    nodes.make()
    plan = Plan(
        passes=tuple(draft.finished() for draft in drafts),
        nodes=tuple(nodes.made),
        inputs=tuple(inputs.values()),
        warnings=(*files.warnings, *looking.warnings, *dict.fromkeys(looking.findings.remarks())),
        code={code.shipped: code.files for code in workflow.codes.values() if code.shipped},
        unaffected={variation: tuple(left) for variation, left in nodes.unaffected.items()},
    )
    return plan, tuple(dict.fromkeys([*faults, *looking.findings.faults()]))


def _drafts(opened: Iterable[Opened], inputs: Mapping[str, InputFile]) -> Iterator[Draft]:
    """Yield the passes over what was opened, in the same order, without their parts."""
    for found in opened:
        for number, (start, stop) in enumerate(found.ranges):
            partition = Partition(
                stream=found.root.id,
                dataset=found.use.dataset.name,
                file=inputs[found.names[0]],
                reads=found.reads,
                beside=tuple(inputs[name] for name in found.names[1:]),
                start=start,
                stop=stop,
                position=found.position,
                number=number,
            )
            yield Draft(partition=partition, variant=found.variant, varied=found.use.varied)
