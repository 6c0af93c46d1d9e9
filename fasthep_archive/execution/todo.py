"""What a run has to do: the tasks of a plan whose results are wanted and that the store lacks, and their order."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fasthep_archive.digest import Digest
from fasthep_archive.execution.plan import Derived, Merge, Pass, Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A pass that is needed, and the nodes whose parts the store lacks.

    A pass whose nodes take values that are not known yet is several jobs: one for what can begin at once, one for what
    takes values that follow from that, and so on. A file is read once for each of these levels, however many
    variations there are.

    :ivar needs: names of the tasks that must have finished before.
    """

    name: str
    step: Pass
    nodes: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def events(self) -> int:
        """Return the number of events to read."""
        return self.step.partition.stop - self.step.partition.start


@dataclass(frozen=True, kw_only=True, slots=True)
class Todo:
    """The tasks that are left, in plan order.

    :ivar needs: of merges and derivations, the names of the tasks that must have finished before, by task name.
    """

    jobs: tuple[Job, ...]
    merges: tuple[Merge, ...]
    derived: tuple[Derived, ...]
    needs: Mapping[str, tuple[str, ...]]
    _by_pass: dict[int, list[Job]] = field(default_factory=dict, compare=False, repr=False)

    def of_pass(self, step: Pass) -> Sequence[Job]:
        """Return the jobs of a pass."""
        if not self._by_pass:
            for job in self.jobs:
                self._by_pass.setdefault(id(job.step), []).append(job)
        return self._by_pass.get(id(step), ())


def to_do(plan: Plan, store: Container[Digest]) -> Todo:
    """Return what the store lacks of the products that the plan keeps, and of what these need."""
    lacking, absent = _lacking(plan, store)
    jobs = tuple(_jobs(plan, set(absent), lacking))
    makers = {job.step.parts[node]: job.name for job in jobs for node in job.nodes}
    merges = tuple(node for node in plan.merges if node.node.id in lacking)
    derived = tuple(node for node in plan.derived if node.node.id in lacking)
    needs = {
        merge.name: tuple(dict.fromkeys(makers[part.key] for part in merge.parts if part.key in makers))
        for merge in merges
    }
    for node in derived:
        needs[node.name] = tuple(dict.fromkeys(lacking[other].name for other in node.takes if other in lacking))
    return Todo(jobs=jobs, merges=merges, derived=derived, needs=needs)


def _lacking(plan: Plan, store: Container[Digest]) -> tuple[Mapping[str, Merge | Derived], frozenset[Digest]]:
    """Return the nodes that have to be made, by id, and the keys of the parts that have to be computed for them."""
    lacking: dict[str, Merge | Derived] = {}
    absent: set[Digest] = set()
    wanted: set[str] = set()
    for node in reversed(plan.nodes):
        if not (node.kept or node.node.id in wanted) or node.key in store:
            continue
        lacking[node.node.id] = node
        if isinstance(node, Derived):
            wanted.update(node.takes)
            continue
        missing = {part.key for part in node.parts if part.key in absent or part.key not in store}
        absent |= missing
        if missing:
            wanted.update(node.takes)
    return lacking, frozenset(absent)


def _jobs(plan: Plan, absent: set[Digest], lacking: Mapping[str, Merge | Derived]) -> Iterator[Job]:
    """Yield the passes that compute an absent part. Equal parts (same file listed twice) are computed once."""
    levels = _levels(plan, lacking)
    for step in plan.passes:
        nodes = [node for node, key in step.parts.items() if key in absent]
        once = {step.parts[node]: node for node in reversed(nodes)}
        absent.difference_update(once)
        groups: dict[int, list[str]] = {}
        before: dict[int, dict[str, None]] = {}
        for node in nodes:
            if once[step.parts[node]] == node:
                values = _before(plan, step, node, lacking)
                level = max((levels[value] + 1 for value in values), default=0)
                groups.setdefault(level, []).append(node)
                before.setdefault(level, {}).update(dict.fromkeys(values))
        for level, group in groups.items():
            waited = list(before[level])
            yield Job(
                name=_name(step, level, [lacking[node].stage for node in waited]),
                step=step,
                nodes=tuple(group),
                needs=tuple(lacking[node].name for node in waited),
            )


def _name(step: Pass, level: int, waited: Sequence[str]) -> str:
    """Return the name of a job: unique, since there is one for each level of a pass."""
    if not level:
        return step.name
    return f"{step.name} after {', '.join(dict.fromkeys(waited))}" + (f" ({level})" if level > 1 else "")


def _levels(plan: Plan, lacking: Mapping[str, Merge | Derived]) -> Mapping[str, int]:
    """Return for each node that has to be made how many passes over one partition come one after the other before."""
    levels: dict[str, int] = {}
    for node in plan.nodes:  # each comes after those that it takes
        if node.node.id in lacking:
            taken = [levels[name] for other in node.takes if (name := plan.node(other).node.id) in levels]
            waits = isinstance(node, Merge)  # for values, to fill its parts with
            levels[node.node.id] = max((level + waits for level in taken), default=0)
    return levels


def _before(plan: Plan, step: Pass, node: str, lacking: Mapping[str, Merge | Derived]) -> tuple[str, ...]:
    """Return the nodes that have to be made before the part of ``node`` can be computed."""
    fill = step.variant.by_node[node]
    real: Sequence[str] = [plan.node(value).node.id for value in fill.values]
    return tuple(dict.fromkeys(value for value in real if value in lacking))
