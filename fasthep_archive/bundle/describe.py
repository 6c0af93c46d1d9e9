"""Says what a finished, staged run is: builds the :class:`Description` that graph, README and preview render."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fasthep_archive.bundle import layout
from fasthep_archive.bundle.description import Description, Engine, Fact, File, Input, Output, Package, Step, Usage
from fasthep_archive.bundle.media import media_type
from fasthep_archive.bundle.seal import Contents
from fasthep_archive.digest import Digest, canonical
from fasthep_archive.execution.record import Record
from fasthep_archive.workflow.departures import departures
from fasthep_archive.workflow.model import Stage

URL = "https://github.com/FAST-HEP/fasthep-archive"


def describe(contents: Contents, files: Sequence[File], *, identity: Digest) -> Description:
    """Return the description of a bundle.

    :param files: every file of it that is neither input nor output.
    """
    record, staged = contents.record, contents.staged
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
        code=tuple(_called(record)),
        departures=tuple(map(str, departures(workflow))),
        steps=tuple(_step(stage, record) for stage in workflow.stages),
        inputs=tuple(_inputs(contents)),
        outputs=tuple(_outputs(contents)),
        files=tuple(files),
        engine=Engine(name="fasthep-archive", version=record.version, url=URL),
        python=record.environment.python.version,
        packages=tuple(Package(name=item.name, version=item.version) for item in record.environment.packages),
        machine=tuple(_facts(record)),
        variables=dict(record.environment.variables.values),
        started=record.started,
        ended=record.ended,
        created=contents.created,
        usage=_usage(record),
        identity=identity,
    )


def _step(stage: Stage, record: Record) -> Step:
    needs = dict.fromkeys([*(edge.node for edge in (*stage.streams_from, *stage.products_from)), *stage.needs])
    return Step(
        id=stage.id,
        op=stage.op,
        needs=tuple(needs),
        parameters={name: canonical(value) for name, value in stage.params.items()},
        outputs=tuple(layout.output(item.name) for item in record.outputs if item.stage == stage.id),
        code=() if stage.code is None else tuple(layout.CODE + name for name in stage.code.files),
    )


def _called(record: Record) -> Iterable[str]:
    """Return the files of code that fields and functions of formulas call: any stage can use these, by their names."""
    codes = (code for label, code in record.workflow.codes.items() if not label.startswith("stage "))
    return sorted({layout.CODE + name for code in codes for name in code.files})


def _inputs(contents: Contents) -> Iterable[Input]:
    for item in contents.record.inputs:
        path = layout.input_member(item.name)
        yield Input(
            name=path.rsplit("/", 1)[-1],
            path=path,
            datasets=item.datasets,
            size=item.size,
            sha256=item.sha256,
            media_type=media_type(path),
            events=None if item.beside else item.events,
            urls=item.urls,
            embedded=path not in contents.left_out,
            origin=None if item.origin is None else str(item.origin),
        )


def _outputs(contents: Contents) -> Iterable[Output]:
    for item in contents.record.outputs:
        path = layout.output(item.name)
        yield Output(
            path=path,
            stage=item.stage,
            kind=item.kind,
            size=item.size,
            sha256=item.sha256,
            content_digest=item.content,
            media_type=media_type(item.name),
            embedded=path not in contents.left_out,
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
