"""Says what a finished, staged run is: builds the :class:`Description` that graph, README and preview render."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from fasthep_archive.bundle import layout
from fasthep_archive.bundle.description import Description, Engine, Fact, File, Input, Output, Package, Step, Usage
from fasthep_archive.bundle.media import media_type
from fasthep_archive.bundle.staging import Staged
from fasthep_archive.digest import Digest, canonical
from fasthep_archive.execution.record import Record
from fasthep_archive.workflow.model import Stage

URL = "https://github.com/FAST-HEP/fasthep-archive"


def describe(
    record: Record, staged: Staged, files: Sequence[File], *, created: datetime, identity: Digest
) -> Description:
    """Return the description of the run of ``record`` from the tree ``staged``.

    :param files: every other file of the bundle.
    """
    workflow = record.workflow
    metadata = workflow.archive.metadata
    return Description(
        title=metadata.title,
        description=metadata.description,
        authors=metadata.authors,
        license=metadata.license,
        keywords=metadata.keywords,
        related=metadata.related,
        workflow_name=workflow.name,
        workflow_version=workflow.version,
        language_version=workflow.language,
        main_document=staged.main,
        documents=staged.documents[1:],
        steps=tuple(_step(stage, record) for stage in workflow.stages),
        inputs=tuple(_inputs(record)),
        outputs=tuple(_outputs(record)),
        files=tuple(files),
        engine=Engine(name="fasthep-archive", version=record.version, url=URL),
        python=record.environment.python.version,
        packages=tuple(Package(name=item.name, version=item.version) for item in record.environment.packages),
        machine=tuple(_facts(record)),
        variables=dict(record.environment.variables.values),
        started=record.started,
        ended=record.ended,
        created=created,
        usage=_usage(record),
        identity=identity,
    )


def _step(stage: Stage, record: Record) -> Step:
    needs = dict.fromkeys([*(edge.node for edge in stage.streams_from), *stage.needs])
    return Step(
        id=stage.id,
        op=stage.op,
        needs=tuple(needs),
        parameters={name: canonical(value) for name, value in stage.params.items()},
        outputs=tuple(layout.output(item.name) for item in record.outputs if item.stage == stage.id),
    )


def _inputs(record: Record) -> Iterable[Input]:
    for item in record.inputs:
        path = layout.input_member(item.name)
        yield Input(
            name=path.rsplit("/", 1)[-1],
            path=path,
            datasets=item.datasets,
            size=item.size,
            sha256=item.sha256,
            media_type=media_type(path),
            events=item.events,
        )


def _outputs(record: Record) -> Iterable[Output]:
    for item in record.outputs:
        yield Output(
            path=layout.output(item.name),
            stage=item.stage,
            kind=item.kind,
            size=item.size,
            sha256=item.sha256,
            content_digest=item.content,
            media_type=media_type(item.name),
        )


def _facts(record: Record) -> Iterable[Fact]:
    """Yield what a reader wants to know first of the machine; all of it is in the hardware profile."""
    hardware = record.environment.hardware
    facts: Mapping[str, tuple[object, str | None]] = {
        "cpuModel": (hardware.cpu.model, None),
        "microarchitecture": (hardware.cpu.microarchitecture, None),
        "physicalCores": (hardware.cpu.cores, None),
        "logicalCores": (hardware.cpu.threads, None),
        "memoryTotal": (hardware.memory, "BYTE"),
    }
    for name, (value, unit) in facts.items():
        if value is not None:
            yield Fact(name=name, value=str(value), unit=unit)


def _usage(record: Record) -> Usage | None:
    if not record.measured:
        return None
    cpu = sum(task.done.cpu_seconds for task in record.tasks if task.done)
    return Usage(wall_seconds=record.seconds, cpu_seconds=cpu, peak_memory=record.peak_memory)
