"""Workflows as frozen types: what a document means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, Location
from fasthep_archive.workflow.code import Code, CodeFolder, Coder, distributions, resolved_code
from fasthep_archive.workflow.datasets import (
    Dataset,
    declared_files,
    declared_names,
    read_datasets,
    resolved_dataset,
)
from fasthep_archive.workflow.document import LANGUAGES, Document, Language
from fasthep_archive.workflow.draft import Draft, text
from fasthep_archive.workflow.hanging import Observer, Render, Write
from fasthep_archive.workflow.hints import read_execution, read_hooks
from fasthep_archive.workflow.observing import observed, resolved_observer
from fasthep_archive.workflow.profiles import Profiles, read_profiles
from fasthep_archive.workflow.registered import FormulaFunction, read_functions, read_registry, resolved_functions
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
from fasthep_archive.workflow.snapshots import asked, asked_beside
from fasthep_archive.workflow.stages import Stage, SubWorkflow, read_stages, resolved_stage
from fasthep_archive.workflow.streams import (
    FieldAlias,
    Join,
    JoinInput,
    Layout,
    Listed,
    Source,
    read_fields,
    read_joins,
    read_layouts,
    read_primary,
    read_sources,
    resolved_field,
    resolved_join,
    resolved_layout,
    resolved_source,
    stream_ids,
)
from fasthep_archive.workflow.systematics import (
    Variation,
    check_event_types,
    include_nominal,
    read_variations,
    resolved_systematics,
)
from fasthep_archive.workflow.toys import KIND, addressed
from fasthep_archive.workflow.values import DocumentPath
from fasthep_archive.workflow.wiring import Edge

__all__ = [
    "ArchiveSettings",
    "Author",
    "Code",
    "CodeFolder",
    "Dataset",
    "Edge",
    "FieldAlias",
    "FormulaFunction",
    "Join",
    "JoinInput",
    "Layout",
    "Listed",
    "Metadata",
    "Observer",
    "Policy",
    "ReferencedInput",
    "Related",
    "Render",
    "Source",
    "Stage",
    "Strictness",
    "SubWorkflow",
    "Variation",
    "Workflow",
    "Write",
    "build",
    "resolved",
]


_Holder = TypeVar("_Holder", Stage, Source, Join)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """What a document says, with defaults filled in. Workflows are equal if they mean the same.

    Sources, joins, aliases and layouts are in the order of their names, datasets and stages in that of the document.

    :ivar name: ``workflow.name``, or the name of the document's file without suffix.
    :ivar version: the analysis's own version.
    :ivar language: version of the workflow language that the document is written in.
    :ivar primary_stream: the stream that the first stage reads; none if there are several and no stage needs one.
    :ivar constants: names for formulas; values are scalars or mappings of these.
    :ivar stages: of all workflows, each below all that it needs.
    :ivar workflows: by name; none: the document is one workflow.
    :ivar variations: in the order of the document.
    :ivar include_nominal: what the document says; the nominal result is there in any case.
    :ivar functions: of formulas, that are not ours, by name.
    :ivar code: the analysis's own code, as far as stages need it; none: they need none.
    :ivar broken: ids of stages and streams that have faults: what follows from these is not worth reporting.
    :ivar warnings: what the document says and has no effect, in the order of the files.
    :ivar document: where everything was written.
    """

    name: str
    version: str | None
    language: Language = field(compare=False)
    datasets: tuple[Dataset, ...]
    sources: tuple[Source, ...]
    joins: tuple[Join, ...] = ()
    primary_stream: str | None
    fields: tuple[FieldAlias, ...]
    outputs: tuple[Layout, ...]
    constants: Mapping[str, JSON]
    stages: tuple[Stage, ...]
    workflows: tuple[SubWorkflow, ...] = ()
    variations: tuple[Variation, ...] = ()
    include_nominal: bool = True
    functions: tuple[FormulaFunction, ...] = ()
    code: CodeFolder | None = None
    broken: frozenset[str]
    archive: ArchiveSettings
    warnings: tuple[Fault, ...] = field(compare=False, default=())
    document: Document = field(compare=False, repr=False)

    def stage(self, name: str) -> Stage:
        """Return the stage with the id ``name``.

        :raises KeyError: if there is none.
        """
        for stage in self.stages:
            if stage.id == name:
                return stage
        raise KeyError(name)

    def needed(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Return ``ids`` and all stages that these need, directly or not, in the order of the document."""
        wanted = set(ids)
        for stage in reversed(self.stages):  # all that a stage needs stands above it
            if stage.id in wanted:
                wanted.update(stage.needs, (edge.node for edge in (*stage.streams_from, *stage.products_from)))
        return tuple(stage.id for stage in self.stages if stage.id in wanted)

    @property
    def distributions(self) -> Mapping[str, tuple[str, ...]]:
        """Return the installed distributions that provide each module that the analysis's code imports."""
        return distributions(sorted({name for code in self.codes.values() for name in code.imports}))

    @property
    def codes(self) -> Mapping[str, Code]:
        """Return the analysis's code by what calls it: ``stage fit``, ``field pt``, ``function weight``."""
        called = {
            **{f"stage {stage.id}": stage.code for stage in self.stages},
            **{f"field {item.alias}": item.code for item in self.fields},
            **{f"function {item.name}": item.code for item in self.functions},
        }
        return {label: code for label, code in called.items() if code is not None}

    @property
    def references(self) -> Mapping[str, ReferencedInput]:
        """Return where others can have the files of the datasets, by the names that these give them."""
        return references(self.archive, (name for _, name in self.named_files()))

    def named_files(self) -> Iterator[tuple[DocumentPath, str]]:
        """Yield where the document names files of events, and their names: those of datasets, then those of sources."""
        lists = [Listed(names=dataset.files, path=(*dataset.path, "files")) for dataset in self.datasets]
        beside = [source for source in self.sources if source.files]
        lists += [source.listed(dataset) for source in beside for dataset in self.datasets]
        return (place for listed in lists for place in listed.places())

    def datasets_of(self, name: str) -> tuple[str, ...]:
        """Return the datasets that the file ``name`` belongs to, or stands beside files of."""
        beside = [source for source in self.sources if source.files]
        return tuple(
            dataset.name
            for dataset in self.datasets
            if name in dataset.files or any(name in source.listed(dataset).names for source in beside)
        )


def build(document: Document) -> tuple[Workflow, tuple[Fault, ...]]:
    """Return the workflow that ``document`` means, and all its faults in the order of the files.

    What has faults of its own is left out or, for stages, empty and named in ``broken``; the rest can be used.
    """
    draft = Draft(document)
    profiles = read_profiles(draft)
    read_execution(draft)
    read_hooks(draft)
    _refuse_reports(draft)
    streams = stream_ids(draft)
    sources, joins = read_sources(draft), read_joins(draft)
    primary = read_primary(draft, streams)
    layouts = read_layouts(draft)
    coder = Coder(draft)
    stages = read_stages(draft, streams, primary, {layout.name: layout for layout in layouts}, coder)
    observers = observed(draft, *_nodes(stages.all, streams, joins))
    if not (stages.all or observers or any(source.observers for source in sources)):
        _refuse_nothing(draft)
    name = text(draft.get("workflow", "name")) or document.name
    variations = read_variations(draft, stages.all, stages.broken, declared_names(draft))
    toys = next((source.options for source in sources if source.kind == KIND), None)
    datasets = asked(draft, addressed(draft, read_datasets(draft, required=toys is None), toys), sources)
    sources = asked_beside(draft, datasets, sources)
    workflow = Workflow(
        name=name,
        version=text(draft.get("workflow", "version")),
        language=document.language,
        datasets=datasets,
        sources=tuple(_observed(source, f"read.{source.id}", observers) for source in sources),
        joins=tuple(_observed(join, f"join.{join.id}", observers) for join in joins),
        primary_stream=primary,
        fields=read_fields(draft, streams, coder),
        outputs=layouts,
        constants={**profiles.constants, **read_registry(draft, own=True), **_globals(draft)},
        stages=tuple(_observed(stage, f"stage.{stage.id}", observers) for stage in stages.all),
        workflows=stages.workflows,
        variations=variations,
        include_nominal=include_nominal(draft) or not variations,
        functions=read_functions(draft, coder),
        code=coder.folder,
        broken=stages.broken | (streams - {source.id for source in sources} - {join.id for join in joins}),
        archive=read_settings(draft, name, declared_files(draft)),
        warnings=tuple(sorted(dict.fromkeys(draft.warnings), key=_place)),
        document=_with_profiles(document, profiles, draft.moved),
    )
    check_event_types(draft, variations, stages.all, {dataset.eventtype for dataset in workflow.datasets})
    return workflow, tuple(sorted(dict.fromkeys(draft.faults), key=_place))


def resolved(workflow: Workflow, files: Mapping[str, str] | None = None, code: str | None = None) -> JSON:
    """Return the document of the newest version that means ``workflow``, without includes and with all defaults.

    Read back with :func:`fasthep_archive.workflow.document.from_json`, it builds an equal workflow. The order of keys
    means nothing in it.

    :param workflow: one that was built without faults.
    :param files: names to write in the place of the files that datasets name.
    :param code: the directory to write in the place of that of the analysis's code.
    """
    named = {"name": workflow.name} | ({"version": workflow.version} if workflow.version is not None else {})
    document: dict[str, JSON] = {
        "version": LANGUAGES[-1],
        "workflow": named,
        "data": {"datasets": [resolved_dataset(dataset, files or {}) for dataset in workflow.datasets]},
        "sources": {source.id: resolved_source(source, files or {}) for source in workflow.sources},
        "archive": resolved_settings(workflow.archive, files or {}),
        "code": resolved_code(workflow.code, code),
        "joins": {join.id: resolved_join(join) for join in workflow.joins},
        "primary_stream": workflow.primary_stream,
        "fields": {alias.alias: resolved_field(alias) for alias in workflow.fields},
        "registry": {"functions": functions} if (functions := resolved_functions(workflow.functions)) else None,
        "outputs": {layout.name: resolved_layout(layout) for layout in workflow.outputs},
        "observers": [
            {**resolved_observer(observer), "at": [f"join.{join.id}"]}
            for join in workflow.joins
            for observer in join.observers
        ],
        "analysis": _resolved_analysis(workflow),
        "workflows": {item.name: _resolved_workflow(item, workflow) for item in workflow.workflows},
    }
    if workflow.variations:
        document["systematics"] = resolved_systematics(
            workflow.variations, workflow.stages, nominal=workflow.include_nominal
        )
    return {key: value for key, value in document.items() if value not in (None, {}, [])}


def _resolved_analysis(workflow: Workflow) -> JSON:
    elsewhere = {stage for item in workflow.workflows for stage in item.stages}
    shared = [resolved_stage(stage) for stage in workflow.stages if stage.id not in elsewhere]
    return {
        **({"globals": workflow.constants} if workflow.constants else {}),
        **({"stages": shared} if shared or not workflow.workflows else {}),
    }


def _resolved_workflow(item: SubWorkflow, workflow: Workflow) -> JSON:
    described = {} if item.description is None else {"description": item.description}
    return {**described, "stages": [resolved_stage(workflow.stage(stage)) for stage in item.stages]}


def _nodes(
    stages: Sequence[Stage], streams: frozenset[str], joins: Sequence[Join]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the nodes that can be observed, by id, and ids of FAST-HEP that mean one of these."""
    joined = {join.id for join in joins}
    kinds = {stream: "join" if stream in joined else "read" for stream in sorted(streams)}
    known = {f"{kind}.{stream}": stream for stream, kind in kinds.items()}
    known |= {f"stage.{stage.id}": stage.id for stage in stages}
    return known, {f"project.{stream}": f"{kind}.{stream}" for stream, kind in kinds.items()}


def _refuse_nothing(draft: Draft) -> None:
    """Report that there are no stages: nothing would be left behind."""
    place = ("analysis", "stages")
    written = draft.raw(*place)
    if draft.sound(place) and isinstance(written, Sequence) and not written:
        draft.fault(place, "analysis.stages is empty")
    elif not draft.faults:  # a key 'workflows' that is left empty stands for none
        draft.fault(("workflows",), "the document has no stages", "write analysis: {stages: [...]}")


def _observed(holder: _Holder, node: str, observers: Mapping[str, tuple[Observer, ...]]) -> _Holder:
    """Return a stage or stream with the observers that the key ``observers`` places there."""
    return replace(holder, observers=(*holder.observers, *observers.get(node, ())))


def _globals(draft: Draft) -> Mapping[str, JSON]:
    return {str(path[-1]): value for path, value in draft.entries("analysis", "globals")}


def _with_profiles(document: Document, profiles: Profiles, moved: Mapping[DocumentPath, DocumentPath]) -> Document:
    """Return the document with the files of its profiles, and with where values were written."""
    texts = {str(file): content for file, content in profiles.texts.items()}
    files = tuple(dict.fromkeys([*document.files, *profiles.texts]))
    return replace(document, moved=moved, files=files, texts={**document.texts, **texts})


def _refuse_reports(draft: Draft) -> None:
    reports = draft.get("reports")
    for number, entry in enumerate(reports if isinstance(reports, Sequence) else ()):
        path: DocumentPath = ("reports", number)
        name = entry.get("id", number) if isinstance(entry, Mapping) else number
        message = f"report {name!r} is part of the workflow language, but this version of fasthep-archive makes none"
        hint = "the record and the bundle's page have what it says: leave it out to check and run the rest"
        draft.fault(path, message, hint)


def _place(fault: Fault) -> tuple[bool, Location]:
    return fault.where is None, fault.where or Location("", 0, 0)
