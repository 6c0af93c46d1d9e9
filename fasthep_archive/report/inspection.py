"""What a bundle holds, for people and for programs: ``inspect``."""

from __future__ import annotations

from fasthep_archive.bundle import layout
from fasthep_archive.bundle.consent import calls
from fasthep_archive.bundle.reader import Bundle
from fasthep_archive.digest import JSON
from fasthep_archive.environment.snapshot import Snapshot
from fasthep_archive.execution.record import asked_of
from fasthep_archive.report.foreign import needed
from fasthep_archive.report.terminal import Contents, Table, count, size


def contents(bundle: Bundle) -> Contents:
    """Return title, facts and tables of a bundle."""
    summary = bundle.summary
    environment = Snapshot.from_json(bundle.json(layout.SNAPSHOT))
    hardware = environment.hardware
    asked = asked_of(bundle.json(layout.RUN))
    inputs = Table(
        title="Inputs",
        columns=("input", "datasets", "size", "sha256", ""),
        rows=tuple(
            (item.name, ", ".join(item.datasets), size(item.size), item.sha256[:16], _where(included=item.included))
            for item in summary.inputs
        ),
    )
    outputs = Table(
        title="Outputs",
        columns=("output", "stage", "size", "content", "required", ""),
        rows=tuple(
            (
                item.name,
                item.stage,
                size(item.size),
                item.content[:16],
                item.policy.level,
                _where(included=item.included),
            )
            for item in summary.outputs
        ),
    )
    facts = (
        ("identity", summary.identity),
        ("made by", f"{summary.tool} {summary.version}"),
        ("created", summary.created.isoformat()),
        ("language", summary.language),
        *([("asked for", str(asked))] if str(asked) else []),
        ("numeric profile", summary.parts.profile),
        ("python", environment.python.version),
        ("packages", count(len(environment.packages))),
        ("processor", hardware.cpu.model or hardware.cpu.microarchitecture),
        ("files", f"{count(len(bundle.names()))}, {size(sum(bundle.size(name) for name in bundle.names()))}"),
    )
    called = Table(
        title="Functions that are called",
        columns=("by", "function"),
        rows=tuple(calls(bundle.json(layout.RESOLVED))),
    )
    code = Table(
        title="Code of the analysis",
        columns=("file", "size", "sha256"),
        rows=tuple(
            (name, size(bundle.size(layout.CODE + name)), digest[:16])
            for name, digest in sorted(summary.parts.code.items())
        ),
    )
    kept = (table for table in (needed(bundle), called, code) if table.rows)
    return Contents(title=summary.title, facts=facts, tables=(inputs, *kept, outputs))


def described(bundle: Bundle) -> JSON:
    """Return ``bundle.json``, what was asked for, the environment, the plug-ins and the names of all members."""
    plugins = needed(bundle)
    return {
        "bundle": bundle.json(layout.SUMMARY),
        "asked": asked_of(bundle.json(layout.RUN)).to_json(),
        "environment": bundle.json(layout.SNAPSHOT),
        "plugins": [dict(zip(plugins.columns, row, strict=True)) for row in plugins.rows],
        "members": {name: bundle.size(name) for name in bundle.names()},
    }


def _where(*, included: bool) -> str:
    return "" if included else "not included"
