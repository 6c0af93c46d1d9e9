"""Says for every task of a plan whether the store has its result and, if not, what changed since the last run."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias, cast

from fasthep_archive.digest import JSON, Digest, canonical
from fasthep_archive.execution.ledger import Ledger, PassFacts, ledger_of
from fasthep_archive.execution.plan import Derived, Merge, Pass, Plan
from fasthep_archive.execution.todo import to_do
from fasthep_archive.workflow.model import Workflow

Status: TypeAlias = Literal["cached", "computed"]

_SHOWN = 40
"""Characters of a value that are shown."""
_REASONS = 3
"""Reasons of its parts that a merge has."""
_ABSENT = object()
_NEVER = "never computed"
_LOST = "its result is not in the store"


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """A task of a plan: whether its result is there, and why not."""

    task: str
    status: Status
    because: tuple[str, ...]


def explain(
    plan: Plan, workflow: Workflow, store: Container[Digest], before: Ledger | None, version: str
) -> tuple[Explained, ...]:
    """Return what a run of ``plan`` would compute, task by task in plan order, and why.

    :param before: what the last run of the workflow was made of; none if there was none.
    :param version: of this tool and its code, as in keys.
    """
    todo = to_do(plan, store)
    reasons = _Reasons(before, ledger_of(plan, workflow, version), workflow)
    wanted = {part.key for merge in plan.merges for part in merge.parts}
    made = {*(node.node.id for node in todo.merges), *(node.node.id for node in todo.derived)}
    told: list[Explained] = []
    first = {job.step.parts[node]: job.name for job in todo.jobs for node in job.nodes}
    for step in plan.passes:
        jobs = todo.of_pass(step)
        told.extend(_told(job.name, reasons.of_pass(step, job.nodes)) for job in jobs)
        if not jobs and any(key in wanted for key in step.parts.values()):
            same = dict.fromkeys(first[key] for key in step.parts.values() if key in first)
            because = (f"it is the same as {name}, which is computed" for name in same)
            told.append(Explained(task=step.name, status="cached", because=tuple(because)))
    for node in plan.nodes:
        if node.node.id in made:
            told.append(_told(node.name, reasons.of_node(node, plan)))
        else:
            told.append(Explained(task=node.name, status="cached", because=()))
    return tuple(told)


def _told(task: str, because: Iterable[str]) -> Explained:
    return Explained(task=task, status="computed", because=tuple(dict.fromkeys(because)) or (_LOST,))


class _Reasons:
    """What changed between the last run and this one."""

    def __init__(self, before: Ledger | None, now: Ledger, workflow: Workflow) -> None:
        self._before = before
        self._now = now
        self._workflow = workflow
        self._changes = {} if before is None else _stage_changes(before, now)
        self._around = [] if before is None else [*_around(before.document, now.document), *_called(before, now)]

    def of_pass(self, step: Pass, nodes: Sequence[str]) -> Iterator[str]:
        """Yield why the parts of ``nodes`` are computed in a pass."""
        if self._before is None:
            yield _NEVER
            return
        now = self._now.passes[step.name]
        then = self._before.passes.get(step.name)
        if then is None:
            yield self._new_pass(now)
            return
        if self._before.version != self._now.version:
            yield f"fasthep-archive {self._before.version} -> {self._now.version}"
        if then.sha256 != now.sha256:
            yield f"input {now.file} changed"
        yield from _beside(then, now)
        if then.reads != now.reads:
            yield f"what is read of {now.file}: {_short(then.reads)} -> {_short(now.reads)}"
        for node in nodes:
            yield from self._part(node, then.kind, now.kind, step)

    def of_node(self, node: Merge | Derived, plan: Plan) -> Iterator[str]:
        """Yield why a product is made."""
        if self._before is None or node.node.id not in self._before.nodes:
            yield _NEVER
            return
        then, now = self._before.nodes[node.node.id], self._now.nodes[node.node.id]
        if then.key == now.key:
            return
        if self._before.version != self._now.version:
            yield f"fasthep-archive {self._before.version} -> {self._now.version}"
        if then.how != now.how:
            yield from self._options([node.stage]) or [f"{node.stage} is made in another way"]
        if then.takes != now.takes:
            changed = [other for other in node.takes if self._changed(plan.node(other).node.id)]
            yield from (f"{other} changed" for other in changed)
            if isinstance(node, Merge):
                yield from self._parts(node, plan)

    def _parts(self, node: Merge, plan: Plan) -> Iterator[str]:
        """Yield why parts of a merge are others: what their passes say, as far as that is not too much."""
        keys = {part.key for part in node.parts}
        steps = (step for step in plan.passes if step.parts.get(node.node.id) in keys)
        found = dict.fromkeys(reason for step in steps for reason in self.of_pass(step, [node.node.id]))
        yield from list(found)[:_REASONS] or ["its parts changed"]
        if len(found) > _REASONS:
            yield f"and {len(found) - _REASONS} more changes of its parts"

    def _changed(self, node: str) -> bool:
        assert self._before is not None
        then = self._before.nodes.get(node)
        return then is None or then.key != self._now.nodes[node].key

    def _part(self, node: str, then: int, now: int, step: Pass) -> Iterator[str]:
        """Yield why what ``node`` adds up is another thing than in the last run."""
        assert self._before is not None
        stage = step.variant.by_node[node].node.stage
        added = self._before.kinds[then].get(node)
        if added is None:
            yield f"{stage}: {_NEVER}"
        elif added != self._now.kinds[now][node]:
            moved = [other for other in step.variant.by_node[node].values if self._moved(other)]
            changes = [*self._options(self._workflow.needed([stage])), *(f"the values of {it} changed" for it in moved)]
            yield from changes or self._around or [f"{stage} computes something else with the branches of this file"]

    def _moved(self, other: str) -> bool:
        node = other if other in self._now.nodes else other.rpartition("@")[0]
        return node in self._now.nodes and self._changed(node)

    def _options(self, stages: Iterable[str]) -> list[str]:
        return [change for stage in stages for change in self._changes.get(stage, ())]

    def _new_pass(self, now: PassFacts) -> str:
        assert self._before is not None
        same = [facts for facts in self._before.passes.values() if facts.file == now.file]
        if not same:
            return f"input {now.file} is new"
        return f"input {now.file} is cut into other partitions, or read for another dataset"


def _beside(then: PassFacts, now: PassFacts) -> Iterator[str]:
    """Yield what changed of the files that stand beside that of a pass."""
    for name, sha256 in now.beside.items():
        if name not in then.beside:
            yield f"input {name} stands beside {now.file} now"
        elif then.beside[name] != sha256:
            yield f"input {name}, which stands beside {now.file}, changed"
    for name in sorted(then.beside.keys() - now.beside.keys()):
        yield f"input {name} does not stand beside {now.file} any more"


def _stage_changes(before: Ledger, now: Ledger) -> Mapping[str, tuple[str, ...]]:
    """Return what changed in each stage: ``DiMuonMass: axes[0].bins.nbins 60 -> 80``."""
    then, here = _stages(before.document), _stages(now.document)
    found: dict[str, tuple[str, ...]] = {}
    for stage, entry in here.items():
        if stage not in then:
            found[stage] = (f"{stage} is new",)
        else:
            changed = (f"{stage}: {change}" for change in _differences(then[stage], entry, ""))
            found[stage] = (*changed, *_code_changes(before, now, f"stage {stage}", cast("Mapping[str, JSON]", entry)))
    return found


def _called(before: Ledger, now: Ledger) -> Iterator[str]:
    """Yield what changed in the code of fields and of functions of formulas."""
    registry = cast("Mapping[str, Mapping[str, JSON]]", now.document.get("registry") or {})
    entries = {"field": now.document.get("fields"), "function": registry.get("functions")}
    for kind, holder in entries.items():
        for name, entry in cast("Mapping[str, Mapping[str, JSON]]", holder or {}).items():
            yield from _code_changes(before, now, f"{kind} {name}", entry)


def _code_changes(before: Ledger, now: Ledger, label: str, entry: Mapping[str, JSON]) -> Iterator[str]:
    """Yield the parts of the code that ``label`` calls that are others than before: ``function fit in model.py``."""
    then, here = before.code.get(label, {}), now.code.get(label, {})
    carried = cast("Mapping[str, Sequence[str]]", now.document.get("code") or {}).get("files", ())
    any_of_them = () if "code" in entry else carried
    for part in sorted({*then, *here}):
        if then.get(part) == here.get(part):
            continue
        how = " is gone" if part not in here else " is new" if part not in then else ""
        may = f"; {label} may use all files of the code, as it has no 'code' of its own" if part in any_of_them else ""
        yield f"code of {label} changed: {part}{how}{may}"


def _stages(document: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Return the stages of a document by id, with their params one level up."""
    holders = [document.get("analysis"), *cast("Mapping[str, JSON]", document.get("workflows") or {}).values()]
    found = [cast("Mapping[str, Sequence[Mapping[str, JSON]]]", holder) for holder in holders if holder]
    return {
        str(stage["id"]): {
            **{key: value for key, value in stage.items() if key not in ("id", "params")},
            **cast("Mapping[str, JSON]", stage["params"]),
        }
        for holder in found
        for stage in holder.get("stages", ())
    }


def _around(before: Mapping[str, JSON], now: Mapping[str, JSON]) -> Iterator[str]:
    """Yield what changed outside of the stages."""
    for key in ("data", "sources", "joins", "fields", "systematics"):
        yield from _differences(before.get(key, _ABSENT), now.get(key, _ABSENT), key)
    analyses = (cast("Mapping[str, JSON]", document.get("analysis") or {}) for document in (before, now))
    then, here = (analysis.get("globals", {}) for analysis in analyses)
    yield from _differences(then, here, "globals")


def _differences(before: object, now: object, path: str) -> Iterator[str]:
    """Yield each place where two JSON values differ, with both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _ABSENT), now.get(key, _ABSENT), inner)
    elif _is_list(before) and _is_list(now):
        pairs = zip_longest(cast("Sequence[JSON]", before), cast("Sequence[JSON]", now), fillvalue=_ABSENT)
        for number, (one, other) in enumerate(pairs):
            yield from _differences(one, other, f"{path}[{number}]")
    elif before is now:
        return
    elif before is _ABSENT:
        yield f"{path} {_short(now)} is new"
    elif now is _ABSENT:
        yield f"{path} {_short(before)} is gone"
    elif canonical(cast("JSON", before)) != canonical(cast("JSON", now)):
        yield f"{path} {_short(before)} -> {_short(now)}"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else canonical(cast("JSON", value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
