"""The record of a run: what was read, done and left behind, where and by what; ``record/run.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.context import PROCESSES, Context
from fasthep_archive.data import content
from fasthep_archive.data.products import kind_of
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment.reading import Reader
from fasthep_archive.environment.snapshot import Snapshot
from fasthep_archive.execution.asked import Asked
from fasthep_archive.execution.inputs import InputFile
from fasthep_archive.execution.plan import PROFILE, Node, Partition, Plan
from fasthep_archive.execution.run import Results, TaskDone
from fasthep_archive.execution.worker import Done
from fasthep_archive.files import opened, write_atomically
from fasthep_archive.kernels import selftest
from fasthep_archive.operations.protocol import Output, Remarking
from fasthep_archive.workflow.departures import Departure, departures
from fasthep_archive.workflow.model import Workflow
from fasthep_archive.workflow.snapshots import Origin

FORMAT = 1
"""Version of the JSON form."""
RECORD = "record/run.json"
"""Where a run's record lies in its directory."""
REPORT = "record/replay.json"
"""Where a replay's report lies, beside the record of its run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedOutput:
    """A file that a run left behind, with both digests; ``kind`` as in :mod:`fasthep_archive.data.products`.

    :ivar variation: of which it is; none for what the document computes as it is written.
    """

    name: str
    stage: str
    kind: str
    size: int
    sha256: Digest
    content: Digest
    variation: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedInput:
    """A file that a run read.

    :ivar events: of it that were used. :ivar beside: whether it only stood beside files whose events were used.
    :ivar urls: where others can have it, the best first. :ivar origin: the query that it is the result of.
    :ivar schemas: types of its columns by stream, of files that don't say them (CSV, JSON): declared, or found in them.
    """

    name: str
    datasets: tuple[str, ...]
    size: int
    sha256: Digest
    events: int
    urls: tuple[str, ...] = ()
    origin: Origin | None = None
    schemas: Mapping[str, JSON] = field(default_factory=dict)
    beside: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What happened.

    :ivar version: of this tool. :ivar code: version and digest of the code that decides results; keys have it too.
    :ivar executor: name of what gave the tasks to workers; told like what was measured, as it can't change a result.
    :ivar selftest: digest of what the self-test tests; none in bundles from before there was one.
    :ivar kept: outputs of an earlier run that lie beside these, because only some were asked for.
    :ivar workflows: names of the document's workflows that were carried out; none where it is one.
    :ivar asked: which part of the document was asked for.
    :ivar unaffected: by variation, the stages that it leaves as they are: their products are not there again.
    """

    workflow: Workflow
    version: str
    code: str
    started: datetime
    ended: datetime
    seconds: float | None
    inputs: tuple[RecordedInput, ...]
    outputs: tuple[RecordedOutput, ...]
    tasks: tuple[TaskDone, ...]
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    environment: Snapshot
    measured: bool
    workers: int
    selftest: Digest | None = None
    executor: str = PROCESSES
    kept: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)
    unaffected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> JSON:
        """Return the record as JSON; what was measured is left out where the context says so."""
        described: dict[str, JSON] = {
            "format": FORMAT,
            "tool": {"name": "fasthep-archive", "version": self.version, "code": self.code},
            "workflow": {
                "name": self.workflow.name,
                "version": self.workflow.version,
                "language": self.workflow.language,
            },
            "profile": PROFILE,
            "started": self.started.isoformat(),
            "ended": self.ended.isoformat(),
            "inputs": [_input(item) for item in self.inputs],
            "outputs": [_output(item) for item in self.outputs],
            "tasks": [_task(task, measured=self.measured) for task in self.tasks],
            "warnings": list(self.warnings),
            "failures": list(self.failures),
            "kept": list(self.kept),
            "departures": [_departure(item) for item in departures(self.workflow)],
            "environment": self.environment.to_json(),
        }
        if self.selftest is not None:
            described["selftest"] = self.selftest
        if self.workflows:
            described["workflows"] = list(self.workflows)
        if self.asked != Asked():
            described["asked"] = self.asked.to_json()
        if self.unaffected:
            described["unaffected"] = {name: list(stages) for name, stages in self.unaffected.items()}
        if self.measured:
            described["measured"] = {
                "seconds": self.seconds,
                "workers": self.workers,
                "peak_memory": self.peak_memory,
                "executor": self.executor,
            }
        return described

    @property
    def products(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of the outputs of each stage that left any."""
        stages = dict.fromkeys(item.stage for item in self.outputs)
        return {stage: tuple(item.name for item in self.outputs if item.stage == stage) for stage in stages}

    @property
    def notes(self) -> tuple[str, ...]:
        """Return why tasks were not computed on the device that was asked for, each reason once."""
        return tuple(dict.fromkeys(note for task in self.tasks if task.done for note in task.done.notes))

    @property
    def peak_memory(self) -> int | None:
        """Return the largest memory of any worker, in bytes, or none when nothing was computed."""
        return max((task.done.peak_memory for task in self.tasks if task.done), default=None)


def make_record(
    workflow: Workflow,
    plan: Plan,
    results: Results,
    environment: Snapshot,
    context: Context,
    *,
    version: str,
    code: str,
    ended: datetime,
    seconds: float,
) -> Record:
    """Return the record of a finished run."""
    return Record(
        workflow=workflow,
        version=version,
        code=code,
        started=context.now,
        ended=ended,
        seconds=seconds if context.measured else None,
        inputs=recorded_inputs(workflow, plan),
        outputs=recorded_outputs(plan, results),
        tasks=results.tasks,
        warnings=(*plan.warnings, *remarks(plan, results)),
        failures=tuple(dict.fromkeys(map(str, results.failures))),
        environment=environment,
        measured=context.measured,
        workers=context.workers,
        selftest=selftest.tested(),
        executor=results.executor,
        workflows=plan.workflows,
        asked=plan.asked,
        unaffected={name: _stages(nodes, plan) for name, nodes in plan.unaffected.items()},
    )


def _stages(nodes: Iterable[str], plan: Plan) -> tuple[str, ...]:
    """Return the stages whose nodes are all among ``nodes``, of those whose files the plan keeps."""
    left = frozenset(nodes)
    kept = [node for node in plan.nodes if node.kept and node.node.variation is None]
    changed = {node.stage for node in kept if node.node.id not in left}
    return tuple(dict.fromkeys(node.stage for node in kept if node.stage not in changed))


def read_record(value: JSON, workflow: Workflow) -> Record:
    """Return the record that was written as ``value``, of a run of ``workflow``.

    :raises DataError: naming the place, if it is not one of :meth:`Record.to_json`.
    """
    reader = Reader.of(value, "record")
    reader.format(FORMAT)
    tool, measured = reader.reader("tool"), "measured" in reader.value
    figures = reader.reader("measured") if measured else None
    return Record(
        workflow=workflow,
        version=tool.text("version"),
        code=tool.text("code"),
        started=reader.time("started"),
        ended=reader.time("ended"),
        seconds=figures.number("seconds") if figures else None,
        inputs=tuple(map(_read_input, reader.readers("inputs"))),
        outputs=tuple(map(_read_output, reader.readers("outputs"))),
        tasks=tuple(map(_read_task, reader.readers("tasks"))),
        warnings=reader.texts("warnings"),
        failures=reader.texts("failures"),
        environment=Snapshot.from_json(reader.reader("environment").value),
        measured=measured,
        workers=figures.integer("workers") if figures else 0,
        executor=figures.text("executor") if figures and "executor" in figures.value else PROCESSES,
        selftest=Digest(reader.text("selftest")) if "selftest" in reader.value else None,
        kept=reader.texts("kept"),
        workflows=reader.texts("workflows") if "workflows" in reader.value else (),
        asked=asked_of(value),
        unaffected=_read_unaffected(reader.reader("unaffected")) if "unaffected" in reader.value else {},
    )


def asked_of(record: JSON) -> Asked:
    """Return which part of the document the run was asked for whose record was written as ``record``.

    :raises DataError: naming the place, if it does not say that as :meth:`Record.to_json` does.
    """
    found = Reader.of(record, "record").value
    return Asked.from_json(found["asked"]) if "asked" in found else Asked()


def _read_unaffected(reader: Reader) -> Mapping[str, tuple[str, ...]]:
    return {name: reader.texts(name) for name in reader.value}


def recorded_inputs(workflow: Workflow, plan: Plan) -> tuple[RecordedInput, ...]:
    """Return the input files in plan order, with the number of events that were used of each."""
    found = []
    partitions = [step.partition for step in plan.passes]
    beside = {file.name for partition in partitions for file in partition.beside}
    beside -= {partition.file.name for partition in partitions}
    for file in plan.inputs:
        ranges = {
            (partition.dataset, partition.start, partition.stop) for partition in partitions if partition.file == file
        }
        spans = {(start, stop) for _, start, stop in ranges}
        found.append(
            RecordedInput(
                name=file.name,
                datasets=workflow.datasets_of(file.name),
                size=file.size,
                sha256=file.sha256,
                events=sum(stop - start for start, stop in spans),
                urls=file.urls,
                origin=file.origin,
                schemas=_schemas(file, partitions),
                beside=file.name in beside,
            )
        )
    return tuple(found)


def _schemas(file: InputFile, partitions: Iterable[Partition]) -> Mapping[str, JSON]:
    """Return the types of the columns of a file that doesn't say them itself, by the stream that it was read as."""
    found = {partition.stream: partition for partition in partitions if file in partition.files}
    return {
        stream: one.options["schema"]
        for stream, partition in found.items()
        for one in partition.reads
        if "schema" in one.options and partition.files[one.place] == file
    }


def recorded_outputs(plan: Plan, results: Results) -> tuple[RecordedOutput, ...]:
    """Return all outputs in plan order, with both digests."""
    return tuple(
        _recorded_output(output, node.node) for node in plan.nodes for output in results.outputs.get(node.node.id, ())
    )


def remarks(plan: Plan, results: Results) -> tuple[str, ...]:
    """Return what the files of products say that their readers should know, in plan order, each once."""
    made = ((node.derivation, results.outputs.get(node.node.id, ())) for node in plan.derived)
    return tuple(
        dict.fromkeys(told for how, files in made if isinstance(how, Remarking) for told in how.remarks(files))
    )


def _recorded_output(output: Output, node: Node) -> RecordedOutput:
    called = output.name.removeprefix(node.prefix)  # a variation's files are of the same kinds
    return RecordedOutput(
        name=output.name,
        stage=node.stage,
        kind=kind_of(called),
        size=output.size,
        sha256=digest.of_stream(opened(output.held)),
        content=content.of_output(output.held, called),
        variation=node.variation,
    )


def write_run(directory: Path, record: Record, results: Results, *, replacing: bool) -> None:
    """Leave the products and the record of a run below ``directory``; each file whole or not at all, the record last.

    :param replacing: remove what an earlier run left there and this one did not make.
    """
    earlier = _recorded_names(directory) - {item.name for item in record.outputs}
    for outputs in results.outputs.values():
        for output in outputs:
            write_atomically(directory / output.name, output.held)
    kept = () if replacing else tuple(sorted(name for name in earlier if name != REPORT))
    write_text(directory / RECORD, replace(record, kept=kept).to_json())
    for name in earlier.difference(kept):
        (directory / name).unlink(missing_ok=True)


def _recorded_names(directory: Path) -> frozenset[str]:
    """Return the outputs that an earlier run's record lists and that lie below ``directory``, and a replay's report."""
    try:
        record = json.loads((directory / RECORD).read_bytes())
        names = {str(item["name"]) for item in record["outputs"]} | {str(name) for name in record["kept"]} | {REPORT}
    except (OSError, ValueError, LookupError, TypeError):
        return frozenset()
    root = directory.resolve()
    return frozenset(name for name in names if (root / name).resolve().is_relative_to(root))


def write_text(path: Path, value: JSON) -> None:
    """Write ``value`` as JSON for people, atomically."""
    write_atomically(path, text(value))


def text(value: JSON) -> bytes:
    """Return ``value`` as JSON for people: indented, keys sorted."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _departure(item: Departure) -> Mapping[str, JSON]:
    """Return where FAST-HEP 2026.10 would have given something else; follows from the workflow, so it isn't read."""
    return {"rule": item.rule, "stage": item.stage, "text": item.text}


def _input(item: RecordedInput) -> Mapping[str, JSON]:
    return {
        "name": item.name,
        "datasets": list(item.datasets),
        "size": item.size,
        "sha256": item.sha256,
        "events": item.events,
        "urls": list(item.urls),
        **({} if item.origin is None else {"origin": item.origin.to_json()}),
        **({"schemas": dict(item.schemas)} if item.schemas else {}),
        **({"beside": True} if item.beside else {}),
    }


def _output(item: RecordedOutput) -> Mapping[str, JSON]:
    return {
        "name": item.name,
        "stage": item.stage,
        "kind": item.kind,
        "size": item.size,
        "sha256": item.sha256,
        "content": item.content,
        **({} if item.variation is None else {"variation": item.variation}),
    }


def _task(task: TaskDone, *, measured: bool) -> Mapping[str, JSON]:
    described: dict[str, JSON] = {
        "name": task.name,
        "stages": list(task.stages),
        "status": "computed" if task.done else "cached",
    }
    if measured and task.done:
        described["seconds"] = round(task.done.seconds, 6)
        described["cpu_seconds"] = round(task.done.cpu_seconds, 6)
        described["peak_memory"] = task.done.peak_memory
        described["device"] = task.done.device
        if task.done.notes:
            described["notes"] = list(task.done.notes)
    return described


def _read_input(reader: Reader) -> RecordedInput:
    return RecordedInput(
        name=reader.text("name"),
        datasets=reader.texts("datasets"),
        size=reader.integer("size"),
        sha256=Digest(reader.text("sha256")),
        events=reader.integer("events"),
        urls=reader.texts("urls"),
        origin=_read_origin(reader.reader("origin")) if "origin" in reader.value else None,
        schemas=reader.reader("schemas").value if "schemas" in reader.value else {},
        beside="beside" in reader.value,
    )


def _read_origin(reader: Reader) -> Origin:
    parameters = reader.reader("parameters").value
    return Origin(
        source=reader.text("source"),
        dataset=reader.text("dataset"),
        query=reader.text("query"),
        parameters={name: value for name, value in parameters.items() if isinstance(value, str | int | float)},
        driver=reader.text("driver"),
        server=reader.text("server"),
        rows=reader.integer("rows"),
        sha256=Digest(reader.text("sha256")),
    )


def _read_output(reader: Reader) -> RecordedOutput:
    return RecordedOutput(
        name=reader.text("name"),
        stage=reader.text("stage"),
        kind=reader.text("kind"),
        size=reader.integer("size"),
        sha256=Digest(reader.text("sha256")),
        content=Digest(reader.text("content")),
        variation=reader.text("variation") if "variation" in reader.value else None,
    )


def _read_task(reader: Reader) -> TaskDone:
    """Return a task; what one took that was computed is nothing where that was not measured."""
    done = None
    if reader.choice("status", ("computed", "cached")) == "computed":
        measured = "seconds" in reader.value
        done = Done(
            seconds=reader.number("seconds") if measured else 0.0,
            cpu_seconds=reader.number("cpu_seconds") if measured else 0.0,
            peak_memory=reader.integer("peak_memory") if measured else 0,
            device=reader.text("device") if "device" in reader.value else "cpu",
            notes=reader.texts("notes") if "notes" in reader.value else (),
        )
    return TaskDone(name=reader.text("name"), stages=reader.texts("stages"), done=done)
