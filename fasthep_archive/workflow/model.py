"""Workflows as frozen types: what a document means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, Location
from fasthep_archive.workflow.datasets import Dataset, declared_files, read_datasets, resolved_dataset
from fasthep_archive.workflow.document import LANGUAGES, Document, Language
from fasthep_archive.workflow.draft import Draft, text
from fasthep_archive.workflow.settings import (
    ArchiveSettings,
    Author,
    Metadata,
    Policy,
    ReferencedInput,
    Related,
    Strictness,
    read_settings,
    references,
    resolved_settings,
)
from fasthep_archive.workflow.stages import Edge, Stage, read_stages, resolved_stage
from fasthep_archive.workflow.streams import (
    FieldAlias,
    Layout,
    Source,
    read_fields,
    read_layouts,
    read_primary,
    read_sources,
    resolved_source,
    stream_ids,
)

__all__ = [
    "ArchiveSettings",
    "Author",
    "Dataset",
    "Edge",
    "FieldAlias",
    "Layout",
    "Metadata",
    "Policy",
    "ReferencedInput",
    "Related",
    "Source",
    "Stage",
    "Strictness",
    "Workflow",
    "build",
    "resolved",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """What a document says, with defaults filled in. Workflows are equal if they mean the same.

    Sources, aliases and layouts are in the order of their names, datasets and stages in that of the document.

    :ivar name: ``workflow.name``, or the name of the document's file without suffix.
    :ivar version: the analysis's own version.
    :ivar language: version of the workflow language that the document is written in.
    :ivar primary_stream: the stream that the first stage reads; none if there are several and no stage needs one.
    :ivar constants: names for formulas; values are scalars or mappings of these.
    :ivar broken: ids of stages and streams that have faults: what follows from these is not worth reporting.
    :ivar document: where everything was written.
    """

    name: str
    version: str | None
    language: Language = field(compare=False)
    datasets: tuple[Dataset, ...]
    sources: tuple[Source, ...]
    primary_stream: str | None
    fields: tuple[FieldAlias, ...]
    outputs: tuple[Layout, ...]
    constants: Mapping[str, JSON]
    stages: tuple[Stage, ...]
    broken: frozenset[str]
    archive: ArchiveSettings
    document: Document = field(compare=False, repr=False)

    @property
    def references(self) -> Mapping[str, ReferencedInput]:
        """Return where others can have the files of the datasets, by the names that these give them."""
        return references(self.archive, (file for dataset in self.datasets for file in dataset.files))


def build(document: Document) -> tuple[Workflow, tuple[Fault, ...]]:
    """Return the workflow that ``document`` means, and all its faults in the order of the files.

    What has faults of its own is left out or, for stages, empty and named in ``broken``; the rest can be used.
    """
    draft = Draft(document)
    streams = stream_ids(draft)
    sources = read_sources(draft)
    primary = read_primary(draft, streams)
    stages, broken = read_stages(draft, streams, primary)
    name = text(draft.get("workflow", "name")) or document.name
    workflow = Workflow(
        name=name,
        version=text(draft.get("workflow", "version")),
        language=document.language,
        datasets=read_datasets(draft),
        sources=sources,
        primary_stream=primary,
        fields=read_fields(draft, streams),
        outputs=read_layouts(draft),
        constants={str(path[-1]): value for path, value in draft.entries("analysis", "globals")},
        stages=stages,
        broken=broken | (streams - {source.id for source in sources}),
        archive=read_settings(draft, name, declared_files(draft)),
        document=replace(document, moved=draft.moved),
    )
    return workflow, tuple(sorted(dict.fromkeys(draft.faults), key=_place))


def resolved(workflow: Workflow, files: Mapping[str, str] | None = None) -> JSON:
    """Return the document of the newest version that means ``workflow``, without includes and with all defaults.

    Read back with :func:`fasthep_archive.workflow.document.from_json`, it builds an equal workflow. The order of keys
    means nothing in it.

    :param workflow: one that was built without faults.
    :param files: names to write in the place of the files that datasets name.
    """
    analysis: dict[str, JSON] = {"stages": [resolved_stage(stage) for stage in workflow.stages]}
    document: dict[str, JSON] = {
        "version": LANGUAGES[-1],
        "workflow": {"name": workflow.name} | ({"version": workflow.version} if workflow.version is not None else {}),
        "data": {"datasets": [resolved_dataset(dataset, files or {}) for dataset in workflow.datasets]},
        "sources": {source.id: resolved_source(source) for source in workflow.sources},
        "analysis": analysis,
        "archive": resolved_settings(workflow.archive, files or {}),
    }
    if workflow.constants:
        analysis["globals"] = workflow.constants
    if workflow.primary_stream is not None:
        document["primary_stream"] = workflow.primary_stream
    if workflow.fields:
        document["fields"] = {
            alias.alias: {"stream": alias.stream, "branch": alias.branch} for alias in workflow.fields
        }
    if workflow.outputs:
        document["outputs"] = {
            layout.name: {"tree": layout.tree, "keep": list(layout.keep)} for layout in workflow.outputs
        }
    return document


def _place(fault: Fault) -> tuple[bool, Location]:
    return fault.where is None, fault.where or Location("", 0, 0)
