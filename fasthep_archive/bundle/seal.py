"""Turns a finished, staged run into the members of a bundle, step by step.

The order follows from what describes what: the payload first; ``bundle.json`` has the payload's digests; the texts for
people describe both; the crate graph describes all of these; BagIt's manifests come last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.bundle import identity, layout, manifest
from fasthep_archive.bundle.claims import workflow_digest
from fasthep_archive.bundle.container import Member, Written, needs_sidecar
from fasthep_archive.bundle.description import File, Role
from fasthep_archive.bundle.media import media_type
from fasthep_archive.bundle.program import program
from fasthep_archive.bundle.staging import Staged
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment.lock import Lock
from fasthep_archive.execution.plan import PROFILE
from fasthep_archive.execution.record import Record, RecordedOutput, text
from fasthep_archive.workflow.model import Policy

TOOL = "fasthep-archive"

_DOCUMENT = "as its author wrote it, with the places of data files in this bundle"

_ROLES: Mapping[str, tuple[Role, str]] = {
    layout.RESOLVED: ("resolved", "The workflow with includes and defaults resolved: what ran"),
    layout.GRAPH: ("figure", "The stages of the workflow"),
    layout.SNAPSHOT: ("packages", "Interpreter, installed packages, hardware and variables"),
    layout.HARDWARE: ("hardware", "The machine that made the outputs"),
    layout.ENGINE: ("engine", "The program that ran the workflow, and its settings"),
    layout.LOCK: ("lock", "The installed packages with the hashes of their artifacts, locked (PEP 751)"),
    layout.REQUIREMENTS: ("packages", "The same lock as a requirements file with hashes, for pip"),
    layout.RUN: ("record", "What happened: tasks, inputs, outputs, environment"),
    layout.README: ("readme", "What this bundle is, how to verify it and how to run it again"),
    layout.LICENSE: ("licence", "The terms of use"),
    layout.CITATION: ("citation", "How to cite this bundle"),
    layout.PREVIEW: ("preview", "What is in this bundle, as a web page"),
    layout.PROGRAM: ("program", "Verifies this bundle, rebuilds its environment, runs it again: python3 BUNDLE"),
    layout.SUMMARY: ("manifest", "Format, tool, inputs and outputs with their digests, identity"),
}
"""What each file that is neither document, input nor output is for."""


TEXTS = (layout.README, layout.LICENSE, layout.CITATION, layout.PREVIEW)
"""What people read; each describes all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a bundle is made from.

    :ivar directory: where the run left its outputs. :ivar wheels: the wheels that are carried.
    :ivar left_out: members, inputs or outputs, that are referenced and not included.
    """

    staged: Staged
    record: Record
    directory: Path
    lock: Lock
    wheels: tuple[Path, ...]
    left_out: frozenset[str]
    created: datetime

    @property
    def held(self) -> tuple[RecordedOutput, ...]:
        """Return the outputs that are included."""
        return tuple(item for item in self.record.outputs if layout.output(item.name) not in self.left_out)

    @property
    def references(self) -> Mapping[str, tuple[manifest.Reference, Digest]]:
        """Return what may be fetched: the inputs that are left out and have an address, with their SHA-256."""
        found = {}
        for item in self.record.inputs:
            member = layout.input_member(item.name)
            if member in self.left_out and item.urls:
                found[member] = manifest.Reference(item.urls[0], item.size), item.sha256
        return found


def payload(contents: Contents, graph: str) -> tuple[Member, ...]:
    """Return the members below ``data/``: documents, inputs, outputs, environment, record.

    :param graph: the picture of the stages.
    """
    staged, record = contents.staged, contents.record
    inputs = {layout.input_member(item.name): item.sha256 for item in record.inputs}
    outputs = [
        Member(name=layout.output(item.name), source=contents.directory / item.name, sha256=item.sha256)
        for item in record.outputs
    ]
    engine: JSON = {"tool": TOOL, "version": record.version, "code": record.code, "profile": PROFILE}
    members = (
        *(_read(staged, name) for name in (*staged.documents, layout.RESOLVED, *staged.code)),
        *(Member(name=name, source=staged.path(name), sha256=sha256) for name, sha256 in inputs.items()),
        *outputs,
        _bytes(layout.GRAPH, graph.encode()),
        _bytes(layout.SNAPSHOT, text(record.environment.to_json())),
        _bytes(layout.HARDWARE, text(record.environment.hardware.to_json())),
        _bytes(layout.ENGINE, text(engine)),
        _bytes(layout.LOCK, contents.lock.pylock()),
        _bytes(layout.REQUIREMENTS, contents.lock.requirements()),
        *(_wheel(contents.lock, path) for path in contents.wheels),
        _bytes(layout.RUN, text(record.to_json())),
    )
    return tuple(member for member in members if member.name not in contents.left_out)


def summary(contents: Contents, policies: Mapping[str, Policy]) -> identity.Summary:
    """Return what ``bundle.json`` says; ``policies`` holds the one of each output by its name."""
    record = contents.record
    inputs = tuple(
        identity.Input(
            name=layout.input_member(item.name).removeprefix(layout.INPUTS),
            datasets=item.datasets,
            size=item.size,
            sha256=item.sha256,
            urls=item.urls,
            included=layout.input_member(item.name) not in contents.left_out,
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
            included=layout.output(item.name) not in contents.left_out,
        )
        for item in record.outputs
    )
    return identity.Summary(
        tool=TOOL,
        version=record.version,
        language=record.workflow.language,
        title=record.workflow.archive.metadata.title,
        created=contents.created,
        inputs=inputs,
        outputs=outputs,
        parts=_parts(contents, inputs, outputs),
    )


def files(members: Iterable[Member], contents: Contents) -> tuple[File, ...]:
    """Return descriptions of the members that are neither inputs nor outputs."""
    return tuple(
        _file(member, contents) for member in members if not member.name.startswith((layout.INPUTS, layout.OUTPUTS))
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


def bag(
    members: Sequence[Member],
    identity_: Digest,
    version: str,
    created: datetime,
    away: Mapping[str, tuple[manifest.Reference, Digest]],
) -> tuple[Member, ...]:
    """Return BagIt's files for all other members, and for what is ``away`` and may be fetched."""
    sizes = [_size(member) for member in members if member.name.startswith(layout.PAYLOAD)]
    sizes += [reference.size for reference, _ in away.values()]
    date = created.date().isoformat()
    info = manifest.info_text(sizes, identity=identity_, agent=f"{TOOL} {version}", date=date)
    here = {member.name: _digest(member) for member in members if member.name.startswith(layout.PAYLOAD)}
    paid = {**here, **{name: sha256 for name, (_, sha256) in away.items()}}
    fetch = manifest.fetch_text({name: reference for name, (reference, _) in away.items()})
    tags = [
        _bytes(layout.DECLARATION, manifest.DECLARATION_TEXT),
        _bytes(layout.BAG_INFO, info),
        _bytes(layout.MANIFEST, manifest.manifest_text(paid)),
        *([_bytes(layout.FETCH, fetch)] if away else []),
    ]
    others = [member for member in members if member.name not in paid]
    listed = manifest.manifest_text({member.name: _digest(member) for member in (*others, *tags)})
    return (*tags, _bytes(layout.TAG_MANIFEST, listed))


def _parts(contents: Contents, inputs: Sequence[identity.Input], outputs: Sequence[identity.Output]) -> identity.Parts:
    lock = contents.lock
    return identity.Parts(
        workflow=Digest(workflow_digest(json.loads(contents.staged.resolved.read_bytes()))),
        code={
            name.removeprefix(layout.CODE): digest.of_bytes(contents.staged.path(name).read_bytes())
            for name in contents.staged.code
        },
        inputs={item.name: item.sha256 for item in inputs},
        outputs={item.name: item.content for item in outputs if item.policy.level != "ignore"},
        environment=tuple(
            identity.Package(name=item.name, version=item.version, hashes=lock.hashes(item)) for item in lock.packages
        ),
        schemas={"workflow": contents.record.workflow.language, "bundle": "1", "environment": "1", "hardware": "1"},
        profile=PROFILE,
    )


def _judgement(policy: Policy) -> identity.Judgement:
    return identity.Judgement(level=policy.level, rtol=policy.rtol, atol=policy.atol, ulp=policy.ulp)


def _file(member: Member, contents: Contents) -> File:
    role, what = _ROLES.get(member.name, ("document", f"A workflow document {_DOCUMENT}"))
    if member.name == layout.LOCK:
        what += _unresolved(contents.lock)
    if member.name == contents.staged.main:
        what = f"The workflow {_DOCUMENT}"
    if member.name.startswith(layout.CODE):
        role, what = "code", "Code of the analysis"
    if member.name.startswith(layout.WHEELS):
        role, what = "wheel", "A distribution to install from"
    return File(
        path=member.name,
        role=role,
        description=what,
        media_type=media_type(member.name),
        size=_size(member),
        sha256=_digest(member),
    )


def _unresolved(lock: Lock) -> str:
    """Return what to say of packages that no index was asked for."""
    number = sum(package.status == "unresolved" for package in lock.packages)
    known = (
        "no package index could be asked, and only their versions and the digests of their installed files are known"
    )
    return f". {number} of {len(lock.packages)} packages are unresolved: {known}" if number else ""


def _wheel(lock: Lock, path: Path) -> Member:
    """Return the member of a carried wheel, which must have the digest that the lock states."""
    known = {artifact.name: artifact.sha256 for package in lock.packages for artifact in package.artifacts}
    return Member(name=layout.WHEELS + path.name, source=path, sha256=known[path.name])


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
