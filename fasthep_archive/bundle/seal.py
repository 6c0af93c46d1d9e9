"""Turns a finished, staged run into the members of a bundle, step by step.

The order follows from what describes what: the payload first; ``bundle.json`` has the payload's digests; the texts for
people describe both; the crate graph describes all of these; BagIt's manifests come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.bundle import identity, layout, manifest
from fasthep_archive.bundle.container import Member, Written, needs_sidecar
from fasthep_archive.bundle.description import File, Role
from fasthep_archive.bundle.media import media_type
from fasthep_archive.bundle.program import program
from fasthep_archive.bundle.staging import Staged
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.execution.plan import PROFILE
from fasthep_archive.execution.record import RECORD, Record, text
from fasthep_archive.workflow.model import Policy

TOOL = "fasthep-archive"

_ROLES: Mapping[str, tuple[Role, str]] = {
    layout.RESOLVED: ("resolved", "The workflow with includes and defaults resolved: what ran"),
    layout.GRAPH: ("figure", "The stages of the workflow"),
    layout.SNAPSHOT: ("packages", "Interpreter, installed packages, hardware and variables"),
    layout.HARDWARE: ("hardware", "The machine that made the outputs"),
    layout.ENGINE: ("engine", "The program that ran the workflow, and its settings"),
    layout.RUN: ("record", "What happened: tasks, inputs, outputs, environment"),
    layout.README: ("readme", "What this bundle is, how to verify it and how to run it again"),
    layout.LICENSE: ("licence", "The terms of use"),
    layout.CITATION: ("citation", "How to cite this bundle"),
    layout.PREVIEW: ("preview", "What is in this bundle, as a web page"),
    layout.PROGRAM: ("program", "Verifies this bundle: python3 BUNDLE"),
    layout.SUMMARY: ("manifest", "Format, tool, inputs and outputs with their digests, identity"),
}
"""What each file that is neither document, input nor output is for."""


TEXTS = (layout.README, layout.LICENSE, layout.CITATION, layout.PREVIEW)
"""What people read; each describes all of them."""


def payload(staged: Staged, record: Record, directory: Path, graph: str) -> tuple[Member, ...]:
    """Return the members below ``data/``: documents, inputs, outputs, environment, record.

    :param directory: where the run left its outputs. :param graph: the picture of the stages.
    """
    documents = [_read(staged, name) for name in (*staged.documents, layout.RESOLVED)]
    inputs = {layout.input_member(item.name): item.sha256 for item in record.inputs}
    outputs = [
        Member(name=layout.output(item.name), source=directory / item.name, sha256=item.sha256)
        for item in record.outputs
    ]
    described = record.environment.to_json()
    engine: JSON = {"tool": TOOL, "version": record.version, "profile": PROFILE}
    return (
        *documents,
        *(Member(name=name, source=staged.path(name), sha256=sha256) for name, sha256 in inputs.items()),
        *outputs,
        _bytes(layout.GRAPH, graph.encode()),
        _bytes(layout.SNAPSHOT, text(described)),
        _bytes(layout.HARDWARE, text(record.environment.hardware.to_json())),
        _bytes(layout.ENGINE, text(engine)),
        Member(name=layout.RUN, source=(directory / RECORD).read_bytes()),
    )


def summary(staged: Staged, record: Record, policies: Mapping[str, Policy], created: datetime) -> identity.Summary:
    """Return what ``bundle.json`` says; ``policies`` holds the one of each output by its name."""
    inputs = tuple(
        identity.Input(
            name=layout.input_member(item.name).removeprefix(layout.INPUTS),
            datasets=item.datasets,
            size=item.size,
            sha256=item.sha256,
        )
        for item in record.inputs
    )
    outputs = tuple(
        identity.Output(
            name=item.name,
            kind=item.kind,
            stage=item.stage,
            size=item.size,
            sha256=item.sha256,
            content=item.content,
            policy=_judgement(policies[item.name]),
        )
        for item in record.outputs
    )
    return identity.Summary(
        tool=TOOL,
        version=record.version,
        language=record.workflow.language,
        title=record.workflow.archive.metadata.title,
        created=created,
        inputs=inputs,
        outputs=outputs,
        parts=_parts(staged, record, inputs, outputs),
    )


def files(members: Iterable[Member], staged: Staged) -> tuple[File, ...]:
    """Return descriptions of the members that are neither inputs nor outputs."""
    return tuple(
        _file(member, staged) for member in members if not member.name.startswith((layout.INPUTS, layout.OUTPUTS))
    )


def unwritten(name: str) -> File:
    """Return the description of a file that is written after what describes it."""
    role, what = _ROLES[name]
    return File(path=name, role=role, description=what, media_type=media_type(name))


def text_member(name: str, content: bytes) -> Member:
    """Return a member for a text that was just made."""
    return _bytes(name, content)


def write_sidecar(bundle: Path, written: Sequence[Written]) -> Path | None:
    """Write the verifier beside a bundle that is too large for Python to run; return its path, or none."""
    if not needs_sidecar(written):
        return None
    path = layout.sidecar(bundle)
    path.write_bytes(program())
    return path


def program_member() -> Member:
    """Return the verifier."""
    return _bytes(layout.PROGRAM, program())


def bag(members: Sequence[Member], identity_: Digest, version: str, created: datetime) -> tuple[Member, ...]:
    """Return BagIt's files for all other members."""
    sizes = [_size(member) for member in members if member.name.startswith(layout.PAYLOAD)]
    date = created.date().isoformat()
    info = manifest.info_text(sizes, identity=identity_, agent=f"{TOOL} {version}", date=date)
    here = {member.name: _digest(member) for member in members}
    paid = {name: sha256 for name, sha256 in here.items() if name.startswith(layout.PAYLOAD)}
    tags = [
        *(member for member in members if member.name not in paid),
        _bytes(layout.DECLARATION, manifest.DECLARATION_TEXT),
        _bytes(layout.BAG_INFO, info),
        _bytes(layout.MANIFEST, manifest.manifest_text(paid)),
    ]
    listed = _bytes(layout.TAG_MANIFEST, manifest.manifest_text({member.name: _digest(member) for member in tags}))
    return (*tags[-3:], listed)


def _parts(
    staged: Staged, record: Record, inputs: Sequence[identity.Input], outputs: Sequence[identity.Output]
) -> identity.Parts:
    return identity.Parts(
        workflow=digest.of_bytes(staged.resolved.read_bytes().rstrip(b"\n")),
        code={},
        inputs={item.name: item.sha256 for item in inputs},
        outputs={item.name: item.content for item in outputs if item.policy.level != "ignore"},
        environment=tuple(
            identity.Package(name=item.name, version=item.version) for item in record.environment.packages
        ),
        schemas={"workflow": record.workflow.language, "bundle": "1", "environment": "1", "hardware": "1"},
        profile=PROFILE,
    )


def _judgement(policy: Policy) -> identity.Judgement:
    return identity.Judgement(level=policy.level, rtol=policy.rtol, atol=policy.atol, ulp=policy.ulp)


def _file(member: Member, staged: Staged) -> File:
    role, what = _ROLES.get(member.name, ("document", "A workflow document as its author wrote it"))
    if member.name == staged.main:
        what = "The workflow as its author wrote it"
    return File(
        path=member.name,
        role=role,
        description=what,
        media_type=media_type(member.name),
        size=_size(member),
        sha256=_digest(member),
    )


def _read(staged: Staged, name: str) -> Member:
    return _bytes(name, staged.path(name).read_bytes())


def _bytes(name: str, content: bytes) -> Member:
    return Member(name=name, source=content, sha256=digest.of_bytes(content))


def _size(member: Member) -> int:
    return len(member.source) if isinstance(member.source, bytes) else member.source.stat().st_size


def _digest(member: Member) -> Digest:
    if member.sha256 is not None:
        return member.sha256
    assert isinstance(member.source, bytes)
    return digest.of_bytes(member.source)
