"""The crate graph of a bundle: ``ro-crate-metadata.json``.

RO-Crate 1.1, conforming to Process, Workflow and Provenance Run Crate 0.5
(https://www.researchobject.org/workflow-run-crate/profiles/) and Workflow RO-Crate 1.0. What its profiles ask for,
and where they contradict each other, is in reference/rocrate.md, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping

from fasthep_archive.bundle import entities, provenance
from fasthep_archive.bundle.description import Description, File, Role
from fasthep_archive.bundle.entities import Profile
from fasthep_archive.bundle.identifiers import member, segment
from fasthep_archive.bundle.jsonld import DESCRIPTOR, ROOT, SPECIFICATION, TERMS, Graph, Ref
from fasthep_archive.bundle.media import language
from fasthep_archive.bundle.provenance import Story

_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = (
    Profile("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    Profile("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    Profile("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    Profile(_WORKFLOW_CRATE, "Workflow RO-Crate", "1.0"),
)
_WORKFLOW_PROFILE = Profile(
    "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE",
    "Bioschemas ComputationalWorkflow",
    "1.0-RELEASE",
)
_LOCK_FORMAT = Profile(
    "https://packaging.python.org/en/latest/specifications/pylock-toml/", "pylock.toml lock file format", "1.0"
)

_TERMS = {
    "executedOn": "The machine on which an action was executed",
    "contentDigest": "SHA-256 of what a file says, whatever the file format, compression or writer",
    "eventCount": "Number of events in a file",
    "datasetName": "Name of a dataset that a file belongs to",
}
"""What no vocabulary has a term for (reference/rocrate.md, sections 2.3 and 4.4)."""

_TYPES: Mapping[Role, str | list[str]] = {"figure": ["File", "ImageObject"]}
"""Types of the files that are more than a File."""


def _types(file: File) -> str | list[str]:
    """Return the types of a file that is neither input nor output."""
    if file.role == "code" and language(file.path):
        return ["File", "SoftwareSourceCode"]
    return _TYPES.get(file.role, "File")


def graph(description: Description) -> bytes:
    """Return ``ro-crate-metadata.json``: UTF-8, the same bytes for the same description."""
    story = _begun(description)
    provenance.add(story)
    _add_root(story)
    return story.graph.serialised()


def _begun(description: Description) -> Story:
    """Return a story with its people, software and files, before anything has happened."""
    graph = Graph()
    graph.add(DESCRIPTOR.id, "CreativeWork")
    graph.add(ROOT.id, "Dataset")
    for name, meaning in _TERMS.items():
        graph.term(name, meaning)
    authors = entities.authors(graph, description.authors)
    engine = entities.engine(graph, description)
    main = next(file for file in description.files if file.path == description.main_document)
    workflow = _add_workflow(graph, description, main, authors=authors, engine=engine)
    files = {file.path: _add_file(graph, file, workflow) for file in description.files}
    seen = description.created.date().isoformat()
    datasets: dict[str, list[Ref]] = {}
    for file in description.inputs:
        reference = files[file.path] = entities.input_file(graph, file, seen=seen)
        for name in file.datasets or (file.name,):
            datasets.setdefault(name, []).append(reference)
    files |= {file.path: entities.output_file(graph, file) for file in description.outputs}
    return Story(
        graph=graph,
        description=description,
        authors=authors,
        workflow=workflow,
        engine=engine,
        files=files,
        datasets={name: tuple(references) for name, references in datasets.items()},
    )


def _add_workflow(graph: Graph, description: Description, main: File, *, authors: tuple[Ref, ...], engine: Ref) -> Ref:
    """Add the main document as the workflow that it defines."""
    language = graph.add(
        "#language",
        "ComputerLanguage",
        name="FAST-HEP workflow language",
        alternateName="FAST-HEP",
        description="YAML description of a chain of analysis stages",
        url="https://github.com/FAST-HEP/fasthep-flow",
        version=description.language_version,
    )
    return graph.part(
        member(main.path),
        ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        name=description.workflow_name,
        description=main.description,
        # A workflow in a bundle has no other address than its place in it.
        url=member(main.path),
        version=_workflow_version(description, main),
        programmingLanguage=language,
        runtimePlatform=f"Python {description.python}",
        softwareRequirements=engine,
        author=authors,
        creator=authors,
        license=entities.licensed(graph, description.license),
        dateCreated=description.created.date().isoformat(),
        conformsTo=entities.profile(graph, _WORKFLOW_PROFILE),
        encodingFormat=entities.encoding(graph, main.media_type),
        contentSize=_text(main.size),
        sha256=main.sha256,
    )


def _workflow_version(description: Description, main: File) -> str:
    """Return the version as declared; otherwise the document itself is its only version."""
    return description.workflow_version or f"sha256-{(main.sha256 or description.identity)[:12]}"


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _add_file(graph: Graph, file: File, workflow: Ref) -> Ref:
    """Add a file that is neither input nor output, with the links that follow from its role."""
    if file.role == "preview":
        # The preview is about the crate and no part of it (RO-Crate 1.1, "RO-Crate Website").
        formats = entities.encoding(graph, file.media_type)
        return graph.add(member(file.path), "CreativeWork", name="Preview", about=ROOT, encodingFormat=formats)
    reference = graph.part(
        member(file.path),
        _types(file),
        name=file.path.rpartition("/")[2],
        description=file.description,
        encodingFormat=entities.encoding(graph, file.media_type),
        contentSize=_text(file.size),
        sha256=file.sha256,
    )
    if file.role in ("readme", "manifest"):
        graph.link(reference, about=ROOT)
    if file.role == "code":
        _add_source(graph, file)
    if file.role in ("figure", "resolved", "document") and reference != workflow:
        graph.link(reference, about=workflow)
    if file.role == "figure":
        graph.link(workflow, image=reference)
    if file.role == "lock":
        graph.link(reference, conformsTo=entities.profile(graph, _LOCK_FORMAT))
        graph.link(workflow, buildInstructions=reference)
    return reference


def _add_source(graph: Graph, file: File) -> None:
    """Say of a file of the analysis's code that it is source code, if it is, and in which language."""
    known = language(file.path)
    if known is not None:
        written = graph.add(
            f"#language/{segment(known.name)}",
            "ComputerLanguage",
            name=known.name,
            description=f"The programming language {known.name}",
            url=known.page,
        )
        graph.link(
            Ref(member(file.path)),
            programmingLanguage=written,
            url=member(file.path),
            version=f"sha256-{(file.sha256 or '')[:12]}",
        )


def _add_root(story: Story) -> None:
    """Describe the bundle as a whole."""
    graph, description = story.graph, story.description
    identity = graph.add(
        "#identity",
        "PropertyValue",
        name="Identity of the bundle",
        description="The same for all bundles of one result, however they were packed",
        propertyID=f"{TERMS}identity",
        value=description.identity,
    )
    graph.link(
        ROOT,
        name=description.title,
        description=description.description or f"Archived run of the workflow {description.workflow_name}",
        identifier=identity,
        version=description.workflow_version,
        datePublished=description.created.date().isoformat(),
        license=entities.licensed(graph, description.license),
        author=story.authors,
        publisher=entities.publisher(graph),
        keywords=description.keywords,
        conformsTo=[entities.profile(graph, profile) for profile in _PROFILES],
        mainEntity=story.workflow,
    )
    entities.related(graph, description.related)
    workflow_crate = [Ref(f"https://w3id.org/ro/crate/{SPECIFICATION}"), Ref(_WORKFLOW_CRATE)]
    graph.link(DESCRIPTOR, conformsTo=workflow_crate, about=ROOT)
