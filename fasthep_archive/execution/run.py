"""Runs a plan: asks the store what is there, computes the rest, hands out the products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass

from fasthep_archive.context import Context
from fasthep_archive.digest import Digest
from fasthep_archive.errors import ArchiveError, TaskError
from fasthep_archive.execution.plan import Merge, Pass, Plan
from fasthep_archive.execution.scheduler import LOST_WORKERS, Failed, Task, execute, interruptible, process_pool
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.worker import Done, MergeTask, PassTask, decoded, warm
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
    """A stage that failed in a partition (none: in the merge), with the error."""

    stage: str
    partition: str | None
    error: BaseException | None

    def __str__(self) -> str:
        place = f" on {self.partition}" if self.partition else ""
        if isinstance(self.error, ArchiveError):
            why = self.error.message
        else:
            why = f"{type(self.error).__name__}: {self.error}" if self.error else "a task before it failed"
        return f"{'stages' if ', ' in self.stage else 'stage'} {self.stage} failed{place}: {why}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Products by stage in plan order, and what happened."""

    outputs: Mapping[str, tuple[Output, ...]]
    tasks: tuple[TaskDone, ...]
    failures: tuple[StageFailure, ...]

    def raise_failures(self) -> None:
        """Raise what failed, all of it, with the first original error as the cause."""
        if self.failures:
            texts = list(dict.fromkeys(map(str, self.failures)))
            more = [f"and {len(texts) - SHOWN} more, which the record lists"] if len(texts) > SHOWN else []
            text = "\n".join([*texts[:SHOWN], *more])
            hints = [error.hint for failure in self.failures if isinstance(error := failure.error, ArchiveError)]
            kept = "what was finished is kept; mend the cause and run again"
            raise TaskError(text, hint=next(filter(None, hints), kept)) from self.failures[0].error


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """A pass that is needed, and the stages whose parts the store lacks."""

    name: str
    step: Pass
    stages: tuple[str, ...]

    @property
    def events(self) -> int:
        return self.step.partition.stop - self.step.partition.start


def run_plan(plan: Plan, kinds: Mapping[str, str], store: Store, context: Context) -> Results:
    """Compute what the store lacks of ``plan``'s products.

    :param kinds: kind of each source (``root_tree``), by source id.
    """
    lacking = [merge for merge in plan.merges if merge.key not in store]
    absent = {key for key in {key for merge in lacking for _, key in merge.parts} if key not in store}
    jobs = _jobs(plan, absent)
    for job in {(id(job.step.variant), job.stages): job for job in jobs}.values():
        partition = job.step.partition
        warm(job.step.variant.work(job.stages), kinds[partition.source], partition, context.cache)
    tasks = [*_pass_tasks(jobs, kinds, store, context), *_merge_tasks(jobs, lacking, store, context)]
    finished: dict[str, Done] = {}
    failed = _execute(tasks, jobs, context, finished)
    outputs = {merge.stage: decoded(state) for merge in plan.merges if (state := store.get(merge.key)) is not None}
    return Results(
        outputs=outputs,
        tasks=tuple(_record(plan, finished)),
        failures=tuple(_failures(plan, finished, failed)),
    )


def _jobs(plan: Plan, absent: set[Digest]) -> list[_Job]:
    """Return the passes that compute an absent part. Equal parts (same file listed twice) are computed once."""
    jobs = []
    for step in plan.passes:
        stages = tuple(stage for stage, key in step.parts.items() if key in absent)
        absent.difference_update(step.parts[stage] for stage in stages)
        if stages:
            jobs.append(_Job(name=_pass_name(step), step=step, stages=stages))
    return jobs


def _pass_name(step: Pass) -> str:
    return f"pass over {step.partition} as {step.partition.source}"


def _merge_name(merge: Merge) -> str:
    return f"merge of {merge.stage}"


def _pass_tasks(jobs: Sequence[_Job], kinds: Mapping[str, str], store: Store, context: Context) -> Iterator[Task]:
    for job in jobs:
        call = PassTask(
            partition=job.step.partition,
            kind=kinds[job.step.partition.source],
            work=job.step.variant.work(job.stages),
            keys={stage: job.step.parts[stage] for stage in job.stages},
            store=store,
            cache=context.cache,
        )
        yield Task(name=job.name, call=call)


def _merge_tasks(jobs: Sequence[_Job], merges: Sequence[Merge], store: Store, context: Context) -> Iterator[Task]:
    makers = {job.step.parts[stage]: job.name for job in jobs for stage in job.stages}
    for merge in merges:
        needs = tuple(dict.fromkeys(makers[key] for _, key in merge.parts if key in makers))
        yield Task(name=_merge_name(merge), call=MergeTask(merge=merge, store=store, cache=context.cache), needs=needs)


def _execute(
    tasks: Sequence[Task], jobs: Sequence[_Job], context: Context, finished: dict[str, Done]
) -> Mapping[str, Failed]:
    """Run the tasks on as many workers as there is work for, and show how many events are done."""
    workers = max(1, min(context.workers, len(jobs)))
    events = {job.name: job.events for job in jobs}

    def heard(name: str, done: Done) -> None:
        finished[name] = done
        context.progress.advance(events.get(name, 0))

    if jobs:
        context.progress.start("run", sum(events.values()), "events")
    with interruptible():
        failed = execute(tasks, lambda: process_pool(workers), in_flight=2 * workers, finished=heard)
    context.progress.close()
    return failed


def _record(plan: Plan, finished: Mapping[str, Done]) -> Iterator[TaskDone]:
    """Yield all tasks in plan order, also those that the store had done before."""
    for step in plan.passes:
        name = _pass_name(step)
        yield TaskDone(name=name, stages=tuple(step.parts), done=finished.get(name))
    for merge in plan.merges:
        name = _merge_name(merge)
        yield TaskDone(name=name, stages=(merge.stage,), done=finished.get(name))


def _lost(error: BaseException | None) -> BaseException | None:
    """Return the error of a task whose worker was lost in words that help; any other error as it is."""
    if not isinstance(error, BrokenExecutor):
        return error
    return TaskError(
        f"its worker process died {LOST_WORKERS} times: it was killed, ran out of memory, or crashed",
        hint="with -j 1 and a smaller --chunk a run needs less memory; if that does not help, please report it",
    )


def _failures(plan: Plan, finished: Mapping[str, Done], failed: Mapping[str, Failed]) -> Iterator[StageFailure]:
    """Yield what failed: stages in passes first, then lost passes, then merges that failed by themselves."""
    reported: set[str] = set()
    for step in plan.passes:
        name, place = _pass_name(step), str(step.partition)
        errors: Mapping[str, BaseException | None] = finished[name].failures if name in finished else {}
        if name in failed:
            stages = ", ".join(step.parts)
            reported.update(step.parts)
            yield StageFailure(stage=stages, partition=place, error=_lost(failed[name].error))
        for stage, error in errors.items():
            reported.add(stage)
            yield StageFailure(stage=stage, partition=place, error=error)
    for merge in plan.merges:
        failure = failed.get(_merge_name(merge))
        if failure is not None and merge.stage not in reported:
            yield StageFailure(stage=merge.stage, partition=None, error=failure.error)
