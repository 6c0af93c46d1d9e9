"""What there is to say about a finished, staged run, as plain values.

The crate graph, ``README.md``, ``CITATION.cff`` and the preview are four renderings of one
:class:`Description`; none of them looks anywhere else. Paths are those of the bundle: relative, POSIX, as
the zip names its members. Times are aware. Whatever order a tuple has is the order in which it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from fasthep_archive.digest import Digest
from fasthep_archive.workflow.model import Author, Related

Status: TypeAlias = Literal["completed", "failed", "skipped"]
"""How a step ended. ``skipped``: it never ran, so no action stands for it in the graph."""

Role: TypeAlias = Literal[
    "readme",  # README.md
    "licence",  # LICENSE
    "citation",  # CITATION.cff
    "preview",  # ro-crate-preview.html: described, but no part of the data
    "program",  # __main__.py
    "manifest",  # bundle.json and BagIt's files
    "document",  # workflow documents as written
    "resolved",  # the resolved workflow document
    "figure",  # a picture of the workflow's graph
    "code",  # the analysis's own modules and scripts
    "lock",  # pylock.toml
    "packages",  # the installed packages, when they are a file of their own
    "hardware",  # the machine's profile
    "engine",  # settings of the engine
    "wheel",  # distributions to install from
    "record",  # what happened
    "log",  # what was printed
    "other",
]
"""What a file is for. Decides its types and links in the graph and its place in the README."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a step or the whole run consumed; none where it was not measured."""

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    """Bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One stage of the workflow and its run."""

    id: str
    op: str
    description: str = ""
    needs: tuple[str, ...] = ()
    """Ids of the steps whose events it reads or that must come before it; none: it reads the inputs.
    Ids of streams may be among them and count as inputs."""
    parameters: Mapping[str, str]
    """Name to the JSON text of the value, in the order to show."""
    outputs: tuple[str, ...] = ()
    """Bundle paths; each is an :class:`Output`. None: it hands events on and keeps nothing."""
    started: datetime | None = None
    ended: datetime | None = None
    """None: stages that share a pass have no times of their own; the run's stand in the graph."""
    usage: Usage | None = None
    status: Status = "completed"
    code: tuple[str, ...] = ()
    """Bundle paths of the analysis's code that it calls; each is one of the description's ``files``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One file that was read."""

    name: str
    path: str
    """Bundle path; where a replay puts the file when the bundle does not hold it."""
    datasets: tuple[str, ...] = ()
    size: int
    sha256: Digest
    media_type: str
    events: int | None = None
    urls: tuple[str, ...] = ()
    """Where else it can be had, best first."""
    embedded: bool = True
    """Whether the bundle holds it."""
    origin: str | None = None
    """What it is the result of, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One product in its stored form."""

    path: str
    stage: str
    kind: str
    """``histogram``, ``cutflow``, ``table`` ..."""
    size: int
    sha256: Digest
    content_digest: Digest | None = None
    """Digest of the content, whatever the file format; none for what is compared by bytes alone."""
    media_type: str
    embedded: bool = True
    """Whether the bundle holds it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """Any other file of the bundle."""

    path: str
    role: Role
    description: str
    media_type: str
    size: int | None = None
    sha256: Digest | None = None
    """Size and digest are none for files that are written after the graph (the digest of the graph is in them)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """An installed distribution, by its name on PyPI."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """The program that ran the workflow."""

    name: str
    version: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One fact about the machine, such as ``Fact(name="memoryTotal", value="137438953472", unit="BYTE")``."""

    name: str
    value: str
    unit: str | None = None
    """QUDT unit (https://qudt.org/vocab/unit/), such as ``BYTE`` or ``HZ``; none for counts and texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A finished, staged run."""

    title: str
    description: str = ""
    authors: tuple[Author, ...] = ()
    license: str
    """SPDX identifier."""
    keywords: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()

    workflow_name: str
    workflow_version: str | None = None
    language_version: str
    main_document: str
    """Bundle path of the document that was packed; one of ``files``."""
    documents: tuple[str, ...] = ()
    """Bundle paths of the documents that it includes; each is one of ``files``."""

    code: tuple[str, ...] = ()
    """Bundle paths of the code that fields and functions of formulas call; each is one of ``files``."""
    departures: tuple[str, ...] = ()
    """Where FAST-HEP 2026.10 would have given something else, a sentence each."""

    steps: tuple[Step, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    files: tuple[File, ...]

    engine: Engine
    python: str
    """Version of the interpreter, such as ``3.11.9``."""
    packages: tuple[Package, ...]
    machine: tuple[Fact, ...]
    variables: Mapping[str, str]
    """Recorded environment variables."""

    started: datetime
    ended: datetime
    created: datetime
    """When the bundle was made; its date is the date of publication. All three are equal under SOURCE_DATE_EPOCH."""
    usage: Usage | None = None
    identity: Digest
    """Identity of the bundle (DESIGN section 8)."""
