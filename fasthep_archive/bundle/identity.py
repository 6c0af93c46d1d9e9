"""Which bundle it is: ``bundle.json``, its digests of all parts, and the identity that follows from them.

The identity is the SHA-256 of the canonical JSON of :class:`Parts`. Thin and fat twins share it, and so do bundles
that were packed twice: times, titles, machines, the container and whether a file is included are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fasthep_archive import digest
from fasthep_archive.bundle.claims import FORMAT, SUMMARY, summary_faults
from fasthep_archive.bundle.strictjson import strict_json
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import BundleError


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Package:
    """An installed distribution; ``hashes`` are of its artifacts, as ``sha256:…``, where the lock knows them."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Everything that makes an analysis the one that it is."""

    workflow: Digest
    """Of the canonical JSON of the resolved workflow document."""
    code: Mapping[str, Digest]
    """SHA-256 of the files below ``data/code/``, by their names below it."""
    inputs: Mapping[str, Digest]
    """SHA-256 of the input files, by their names below ``data/inputs/``."""
    outputs: Mapping[str, Digest]
    """Digests of the contents of the outputs, by their names below ``data/outputs/``; without those that a policy
    tells to ignore, which may be left out."""
    environment: tuple[Package, ...]
    schemas: Mapping[str, str]
    """Versions of the schemas, such as ``{"workflow": "1.0"}``."""
    profile: str
    """The numeric profile, such as ``exact-1``."""

    def to_json(self) -> dict[str, JSON]:
        """Return the parts as JSON; the order of packages and hashes has no meaning, so they are sorted."""
        return {
            "workflow": self.workflow,
            "code": dict(self.code),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "environment": [
                {"name": package.name, "version": package.version, "hashes": sorted(package.hashes)}
                for package in sorted(self.environment)
            ],
            "schemas": dict(self.schemas),
            "profile": self.profile,
        }


def identity(parts: Parts) -> Digest:
    """Return the identity of every bundle with these parts."""
    return digest.of_json(parts.to_json())


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input file; it is ``data/inputs/NAME`` where the bundle includes it."""

    name: str
    datasets: tuple[str, ...]
    size: int
    sha256: Digest
    urls: tuple[str, ...] = ()
    included: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """How strictly a replay compares an output: ``identical``, ``content``, ``tolerance`` or ``ignore``."""

    level: str
    rtol: float = 0.0
    atol: float = 0.0
    ulp: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One output; it is ``data/outputs/NAME`` where the bundle includes it. ``sha256`` is of its bytes."""

    name: str
    kind: str
    stage: str
    size: int
    sha256: Digest
    content: Digest
    policy: Judgement
    included: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What ``bundle.json`` says."""

    tool: str
    version: str
    """Of the tool."""
    language: str
    title: str
    created: datetime
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    parts: Parts

    @property
    def identity(self) -> Digest:
        """Return the identity of the bundle."""
        return identity(self.parts)


def bundle_json(summary: Summary) -> bytes:
    """Return ``bundle.json``: UTF-8, the same bytes for the same summary."""
    value: dict[str, JSON] = {
        "format": FORMAT,
        "tool": {"name": summary.tool, "version": summary.version},
        "language": summary.language,
        "profile": summary.parts.profile,
        "title": summary.title,
        "created": summary.created.astimezone(UTC).isoformat(timespec="seconds"),
        "identity": summary.identity,
        "inputs": [_input(item) for item in summary.inputs],
        "outputs": [_output(item) for item in summary.outputs],
        "parts": json.loads(digest.canonical(summary.parts.to_json())),
    }
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_bundle_json(raw: bytes) -> Summary:
    """Return what ``bundle.json`` says.

    :raises BundleError: if it is not strict JSON of the schema ``bundle-1.json``, of a later format, or if its
        identity is not that of its parts; names all that is wrong.
    """
    try:
        value = strict_json(raw)
    except ValueError as error:
        raise BundleError(f"{SUMMARY} is not strict JSON: {error}") from error
    faults = list(summary_faults(value))
    if faults:
        raise BundleError("\n".join(f"{SUMMARY} {fault}" for fault in faults))
    return read_summary(value)


def read_summary(value: Mapping[str, Any]) -> Summary:
    """Return the summary for a value of ``bundle.json`` in which nothing is wrong."""
    parts = {name: value["parts"][name] for name in ("workflow", "code", "inputs", "outputs", "schemas", "profile")}
    packages = ({**item, "hashes": tuple(item["hashes"])} for item in value["parts"]["environment"])
    inputs = ({**item, "datasets": tuple(item["datasets"]), "urls": tuple(item["urls"])} for item in value["inputs"])
    outputs = ({**item, "policy": Judgement(**item["policy"])} for item in value["outputs"])
    return Summary(
        tool=value["tool"]["name"],
        version=value["tool"]["version"],
        language=value["language"],
        title=value["title"],
        created=datetime.fromisoformat(value["created"]),
        inputs=tuple(Input(**item) for item in inputs),
        outputs=tuple(Output(**item) for item in outputs),
        parts=Parts(**parts, environment=tuple(Package(**item) for item in packages)),
    )


def _input(item: Input) -> JSON:
    return {
        "name": item.name,
        "datasets": item.datasets,
        "size": item.size,
        "sha256": item.sha256,
        "urls": item.urls,
        "included": item.included,
    }


def _output(item: Output) -> JSON:
    policy = item.policy
    judged: dict[str, JSON] = {"level": policy.level, "rtol": policy.rtol, "atol": policy.atol, "ulp": policy.ulp}
    return {
        "name": item.name,
        "kind": item.kind,
        "stage": item.stage,
        "size": item.size,
        "sha256": item.sha256,
        "content": item.content,
        "policy": judged,
        "included": item.included,
    }
