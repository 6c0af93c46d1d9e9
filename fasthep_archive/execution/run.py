"""Runs a plan: asks the store what is there, computes the rest, hands out the products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from fasthep_archive.context import PROCESSES, Context
from fasthep_archive.digest import Digest
from fasthep_archive.environment.packages import Package
from fasthep_archive.errors import ArchiveError, CallError, TaskError
from fasthep_archive.execution.devices import ON_CPU, Choice, Devices
from fasthep_archive.execution.executors import Request, Workers, chosen
from fasthep_archive.execution.plan import Derived, Merge, Plan
from fasthep_archive.execution.scheduler import LOST_WORKERS, Failed, Task, execute, interruptible
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.todo import Job, Todo, to_do
from fasthep_archive.execution.worker import (
    DeriveTask,
    Done,
    MergeTask,
    MissingPart,
    Number,
    PassTask,
    code_of,
    warm,
)
from fasthep_archive.operations.child import end_children
from fasthep_archive.operations.protocol import Output

SHOWN = 10
"""Failures that are told; the record has all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskDone:
    """A task of the record: what it was, whether it was computed or cached, and what it took (none when cached)."""

    name: str
    stages: tuple[str, ...]
    done: Done | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFailure:
    """A stage that failed in a partition (none: after the passes), with the error."""

    stage: str
    partition: str | None
    error: BaseException | None

    def __str__(self) -> str:
        place = f" on {self.partition}" if self.partition else ""
        if isinstance(self.error, ArchiveError):
            why = self.error.message
        else:
            why = f"{type(self.error).__name__}: {self.error}" if self.error else "a task before it failed"
        named = f"{'stages' if ', ' in self.stage else 'stage'} {self.stage}"
        if isinstance(self.error, CallError) and self.error.caller not in ("", self.stage, named):
            return f"{self.error.caller} failed{place}, for {named}: {why}"
        return f"{named} failed{place}: {why}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """The files of each node in plan order, called as they are below the outputs directory, and what happened.

    The files lie in the store, as long as that is there.

    :ivar executor: name of what gave the tasks to workers.
    """

    outputs: Mapping[str, tuple[Output, ...]]
    tasks: tuple[TaskDone, ...]
    failures: tuple[StageFailure, ...]
    executor: str = PROCESSES

    def raise_failures(self) -> None:
        """Raise what failed, all of it, with the first original error as the cause."""
        if self.failures:
            texts = list(dict.fromkeys(map(str, self.failures)))
            more = [f"and {len(texts) - SHOWN} more, which the record lists"] if len(texts) > SHOWN else []
            text = "\n".join([*texts[:SHOWN], *more])
            hints = [error.hint for failure in self.failures if isinstance(error := failure.error, ArchiveError)]
            kept = "what was finished is kept; mend the cause and run again"
            raise TaskError(text, hint=next(filter(None, hints), kept)) from self.failures[0].error


def run_plan(
    plan: Plan, store: Store, context: Context, devices: Devices = ON_CPU, packages: Sequence[Package] = ()
) -> Results:
    """Compute what the store lacks of ``plan``'s products, on ``devices``: the CPU, if nothing else is said.

    :param packages: what workers on other machines must have.
    :raises TaskError: if a GPU was asked for and there is none.
    :raises LostExecutor: if what gives the tasks to workers is gone, or has no workers.
    """
    executor = chosen(context.executor)
    if not executor.kind.here:
        store = Store(store.root.absolute())
        devices = devices.elsewhere(executor.name)
    todo = to_do(plan, store)
    devices = devices.looked(context.cache) if todo.jobs else devices
    places = _places(plan, todo, devices)
    on_cpu = [job for job in todo.jobs if places[job.name].target is None]
    for job in {(id(job.step.variant), job.nodes): job for job in on_cpu}.values():
        warm(job.step.variant.work(job.nodes), job.step.partition, context.cache)
    finished: dict[str, Done] = {}
    ordinals = devices.ordinals if len(on_cpu) < len(todo.jobs) else ()
    tasks = list(_tasks(plan, todo, store, context, places))
    request = Request(
        argument=executor.argument,
        workers=_workers(tasks, context),
        context=context,
        store=store,
        packages=tuple(packages),
        ordinals=ordinals,
    )
    _shelve(plan, tasks, store)
    failed = _execute(tasks, todo.jobs, lambda: executor.kind.opens(request), context, finished) if tasks else {}
    return Results(
        outputs=dict(_outputs(plan, store)),
        tasks=tuple(_record(plan, todo, finished)),
        failures=tuple(_failures(plan, todo, finished, failed)),
        executor=executor.name,
    )


def _shelve(plan: Plan, tasks: Sequence[Task], store: Store) -> None:
    """Put the code that is not ours into the store, where workers find it: tasks travel without."""
    for key in dict.fromkeys(key for task in tasks for key in code_of(task.call)):
        if key not in store:
            store.put_files(key, (Output(name=name, held=content) for name, content in plan.code[key].items()))


def _workers(tasks: Sequence[Task], context: Context) -> int:
    """Return how many workers there is work for, at most as many as are wanted."""
    return max(1, min(context.workers, sum(not isinstance(task.call, MergeTask) for task in tasks)))


def _places(plan: Plan, todo: Todo, devices: Devices) -> Mapping[str, Choice]:
    """Return where each pass is computed, by its name."""
    stages = {node.node.id: node.stage for node in plan.nodes}
    return {job.name: devices.choose(stages.get(node, node) for node in job.nodes) for job in todo.jobs}


def _tasks(plan: Plan, todo: Todo, store: Store, context: Context, places: Mapping[str, Choice]) -> Iterator[Task]:
    for job in todo.jobs:
        variant = job.step.variant
        work = variant.work(job.nodes)
        taken = {name: variant.values[name] for name in work.named_scalars if name in variant.values}
        call = PassTask(
            partition=job.step.partition,
            work=work,
            keys={node: job.step.parts[node] for node in job.nodes},
            store=store,
            cache=context.cache,
            values={name: Number(key=plan.node(value.node).key, name=value.name) for name, value in taken.items()},
            taken={node: plan.node(node).key for node in work.takes},
            target=places[job.name].target,
            note=places[job.name].note,
        )
        yield Task(name=job.name, call=call, needs=job.needs)
    for merge in todo.merges:
        yield Task(
            name=merge.name, call=MergeTask(merge=merge, store=store, cache=context.cache), needs=todo.needs[merge.name]
        )
    for derived in todo.derived:
        keys = {name: plan.node(node).key for name, node in derived.inputs.items()}
        derive = DeriveTask(derived=derived, inputs=keys, store=store, cache=context.cache)
        yield Task(name=derived.name, call=derive, needs=todo.needs[derived.name])


def _shares(jobs: Iterable[Job]) -> Mapping[str, int]:
    """Return the events that each job stands for: a partition that several jobs read counts once, in equal shares."""
    readers: dict[tuple[str, str, int, int], list[Job]] = {}
    for job in jobs:
        part = job.step.partition
        readers.setdefault((part.dataset, part.file.name, part.start, part.stop), []).append(job)
    return {
        job.name: (number + 1) * job.events // len(alike) - number * job.events // len(alike)
        for alike in readers.values()
        for number, job in enumerate(alike)
    }


def _execute(
    tasks: Sequence[Task],
    jobs: Sequence[Job],
    opens: Callable[[], AbstractContextManager[Workers]],
    context: Context,
    finished: dict[str, Done],
) -> Mapping[str, Failed]:
    """Run the tasks on an executor's workers; show how many events are done."""
    events = _shares(jobs)
    told: set[str] = set()

    def heard(name: str, done: Done) -> None:
        finished[name] = done
        context.progress.advance(events.get(name, 0))
        for note in done.notes:
            if note not in told:
                context.progress.message(note)
            told.add(note)

    if jobs:
        context.progress.start("run", sum(events.values()), "events")
    with interruptible(), opens() as workers:
        try:
            failed = execute(tasks, workers.pool, in_flight=lambda: workers.in_flight, finished=heard)
        finally:
            end_children()
    context.progress.close()
    return failed


def _outputs(plan: Plan, store: Store) -> Iterator[tuple[str, tuple[Output, ...]]]:
    """Yield the files of each node that are kept and that were made."""
    for node in plan.nodes:
        files = store.files(node.key) if node.kept else None
        if files is not None:
            prefix = node.node.prefix
            yield node.node.id, tuple(replace(item, name=f"{prefix}{item.name}") for item in files)


def _record(plan: Plan, todo: Todo, finished: Mapping[str, Done]) -> Iterator[TaskDone]:
    """Yield all tasks in plan order, also those that the store had done before."""
    stages = {node.node.id: node.stage for node in plan.nodes}
    wanted = {part.key for merge in plan.merges for part in merge.parts}
    for step in plan.passes:
        needed = tuple(node for node, key in step.parts.items() if key in wanted)
        jobs = [(job.name, job.nodes) for job in todo.of_pass(step)] or [(step.name, needed)]
        for name, nodes in jobs if needed else ():
            named = dict.fromkeys(stages.get(node, node) for node in nodes)
            yield TaskDone(name=name, stages=tuple(named), done=finished.get(name))
    for node in plan.nodes:
        yield TaskDone(name=node.name, stages=(node.stage,), done=finished.get(node.name))


def _lost(error: BaseException | None) -> BaseException | None:
    """Return the error of a task whose worker was lost in words that help; any other error as it is."""
    if not isinstance(error, BrokenExecutor):
        return error
    return TaskError(
        f"its worker process died {LOST_WORKERS} times: it was killed, ran out of memory, or crashed",
        hint="with -j 1 and a smaller --chunk a run needs less memory; if that does not help, please report it",
    )


def _failures(
    plan: Plan, todo: Todo, finished: Mapping[str, Done], failed: Mapping[str, Failed]
) -> Iterator[StageFailure]:
    """Yield what failed: stages in passes first, then lost passes, then what failed by itself after the passes.

    What could not start because something before it failed is not told again.
    """
    labels = {node.node.id: node.node.label for node in plan.nodes}
    reported: set[Digest] = set()
    for job in todo.jobs:
        place = str(job.step.partition)
        errors: Mapping[str, BaseException | None] = finished[job.name].failures if job.name in finished else {}
        if job.name in failed:
            reported.update(job.step.parts[node] for node in job.nodes)
            named = ", ".join(dict.fromkeys(labels.get(node, node) for node in job.nodes))
            error = failed[job.name].error
            yield from () if error is None else [StageFailure(stage=named, partition=place, error=_lost(error))]
        for node, error in errors.items():
            reported.add(job.step.parts[node])
            yield StageFailure(stage=labels.get(node, node), partition=place, error=error)
    for merge in todo.merges:
        if not any(part.key in reported for part in merge.parts):
            yield from _after(merge, failed)
    for derived in todo.derived:
        yield from _after(derived, failed)


def _after(node: Merge | Derived, failed: Mapping[str, Failed]) -> Iterator[StageFailure]:
    """Yield the failure of a task after the passes, unless only something before it failed."""
    error = failed[node.name].error if node.name in failed else None
    if error is not None:
        gone = TaskError("a result that it takes has gone from the store", hint="run again, and prune the cache later")
        error = gone if isinstance(error, MissingPart) else _lost(error)
        yield StageFailure(stage=node.node.label, partition=None, error=error)
