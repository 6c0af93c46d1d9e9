"""Entities of the crate graph that stand by themselves: people, licence, works, software, machine, files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from fasthep_archive.bundle import identifiers, names
from fasthep_archive.bundle.description import Description, Fact, Input, Output, Usage
from fasthep_archive.bundle.jsonld import ROOT, TERMS, Graph, Ref
from fasthep_archive.bundle.licences import licence, page
from fasthep_archive.bundle.media import FORMATS
from fasthep_archive.workflow.model import Author, Related

_QUDT = "https://qudt.org/vocab/unit/"


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile or format that something conforms to."""

    address: str
    name: str
    version: str


_PARAMETER_PROFILE = Profile(
    "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE", "Bioschemas FormalParameter", "1.0-RELEASE"
)

_RELATIONS = {
    "isbasedon": "isBasedOn",
    "isderivedfrom": "isBasedOn",
    "isnewversionof": "isBasedOn",
    "isversionof": "isBasedOn",
    "requires": "isBasedOn",
    "isidenticalto": "sameAs",
    "isvariantformof": "sameAs",
    "ispartof": "isPartOf",
    "isdescribedby": "subjectOf",
    "isdocumentedby": "subjectOf",
}
"""DataCite relation, in lower case, to the schema.org property that says it. Any other is a ``citation``."""

_USAGE = (
    ("wallTime", "wall_seconds", "SEC", "Wall-clock time"),
    ("cpuTime", "cpu_seconds", "SEC", "Processor time of all workers"),
    ("peakMemory", "peak_memory", "BYTE", "Largest resident memory"),
)
"""Term, field of :class:`Usage`, QUDT unit and meaning of each measured quantity."""


def authors(graph: Graph, declared: Iterable[Author]) -> tuple[Ref, ...]:
    """Add the authors with their affiliations; none declared gives one entity that says so."""
    people = tuple(_author(graph, number, author) for number, author in enumerate(declared, start=1))
    return people or (_not_stated(graph, "Author"),)


def _author(graph: Graph, number: int, author: Author) -> Ref:
    identifier = author.orcid or f"#author/{number}"
    group = names.is_group(author.name)
    return graph.add(
        identifier,
        "Organization" if group else "Person",
        name=author.name,
        description="Author of the analysis",
        # RO-Crate 1.1 recommends an address for an organisation, and an affiliation for a person who is an author
        url=_search(author.name) if group else None,
        affiliation=_affiliation(graph, author),
        contactPoint=_contact(graph, author),
    )


def _affiliation(graph: Graph, author: Author) -> Ref:
    name = author.affiliation or author.ror
    if name is None:
        return _not_stated(graph, "Affiliation")
    identifier = author.ror or f"#organization/{identifiers.segment(name)}"
    about = "Affiliation of an author"
    return graph.add(identifier, "Organization", name=name, description=about, url=author.ror or _search(name))


def _contact(graph: Graph, author: Author) -> Ref | None:
    if not author.email:
        return None
    return graph.add(
        f"mailto:{quote(author.email, safe='@')}",
        "ContactPoint",
        name=author.name,
        description="Address of an author, as declared",
        contactType="author",
        email=author.email,
    )


def publisher(graph: Graph) -> Ref:
    """Add the publisher. A bundle that no repository has taken in has none, and its entity says so."""
    return _not_stated(graph, "Publisher")


def _not_stated(graph: Graph, what: str) -> Ref:
    """Stand in for an agent that the profiles ask for and the document does not name."""
    graph.add(
        f"{TERMS}notStated",
        "DefinedTerm",
        name="not stated",
        description="Stands where metadata asks for something that nobody has declared.",
    )
    return graph.add(
        f"#{what.lower()}-not-stated",
        "Organization",
        name=f"{what} not stated",
        description=f"The document that was packed names no {what.lower()}.",
        url=f"{TERMS}notStated",
    )


def _search(name: str) -> str:
    """Return the address that finds an organisation by its name, for want of its identifier."""
    return f"https://ror.org/search?query={quote(name, safe='')}"


def licensed(graph: Graph, spdx: str) -> Ref:
    """Add the licence."""
    known = licence(spdx)
    return graph.add(
        page(spdx) or f"#licence/{identifiers.segment(spdx)}",
        "CreativeWork",
        name=known.name,
        description=f"SPDX licence {known.spdx}",
        identifier=known.spdx,
        url=known.url,
    )


def related(graph: Graph, works: Iterable[Related]) -> None:
    """Add the works that the bundle belongs to and link the root to each, by the property nearest its relation."""
    for work in works:
        address = identifiers.work(work.identifier) or f"#work/{identifiers.segment(work.identifier)}"
        entity = graph.add(
            address,
            "CreativeWork",
            name=work.identifier,
            identifier=work.identifier,
            description=f"Relation of the bundle to this work: {work.relation}",
        )
        graph.link(ROOT, **{_RELATIONS.get(work.relation.lower(), "citation"): entity})


def profile(graph: Graph, known: Profile) -> Ref:
    """Add a profile."""
    return graph.add(
        known.address, "CreativeWork", name=known.name, version=known.version, description=f"{known.name} profile"
    )


def encoding(graph: Graph, media_type: str) -> list[str | Ref]:
    """Return both forms of an encoding format, media type and defining page; the page only where one is known."""
    known = FORMATS.get(media_type)
    if known is None:
        return [media_type]
    page = graph.add(known.page, ["WebPage", "WebSite"], name=known.name, description=f"Definition of {known.name}")
    return [media_type, page]


def input_file(graph: Graph, file: Input, *, seen: str) -> Ref:
    """Add an input. One that the bundle does not hold goes by its address, or by its digest (RFC 6920).

    :param seen: date on which the addresses were recorded.
    """
    away = {} if file.embedded else {"alternateName": file.path, "contentUrl": file.urls, "sdDatePublished": seen}
    address = file.urls[0] if file.urls else identifiers.named(file.sha256)
    return graph.part(
        identifiers.member(file.path) if file.embedded else address,
        "File",
        name=file.name,
        description=_said_of(file),
        encodingFormat=encoding(graph, file.media_type),
        contentSize=str(file.size),
        sha256=file.sha256,
        eventCount=None if file.events is None else str(file.events),
        datasetName=file.datasets,
        **away,
    )


def _said_of(file: Input) -> str:
    """Return the description of an input: whether it is here, and the query that it is the result of."""
    told = "Input of the workflow" if file.embedded else "Input of the workflow, referenced and not included"
    return told if file.origin is None else f"{told}. Result of a query to {file.origin}"


def output_file(graph: Graph, file: Output) -> Ref:
    """Add an output with both of its digests. One that the bundle does not hold goes by its digest (RFC 6920)."""
    made = f"{file.kind.capitalize()} made by stage {file.stage}"
    return graph.part(
        identifiers.member(file.path) if file.embedded else identifiers.named(file.sha256),
        "File",
        name=file.path.rpartition("/")[2],
        description=made if file.embedded else f"{made}, referenced and not included",
        encodingFormat=encoding(graph, file.media_type),
        contentSize=str(file.size),
        sha256=file.sha256,
        contentDigest=file.content_digest,
        **({} if file.embedded else {"alternateName": file.path}),
    )


def engine(graph: Graph, description: Description) -> Ref:
    """Add the engine, and the interpreter and packages that it ran with as its requirements."""
    python = graph.add(
        f"pkg:generic/python@{quote(description.python, safe='')}",
        "SoftwareApplication",
        name="Python",
        description="The interpreter of the run",
        url="https://www.python.org/",
        version=description.python,
    )
    own = description.engine
    reference = graph.add(
        identifiers.package(own.name, own.version),
        "SoftwareApplication",
        name=own.name,
        description="Workflow engine and packager",
        url=own.url,
        version=own.version,
        softwareRequirements=python,
    )
    packages = [
        graph.add(
            identifiers.package(package.name, package.version),
            "SoftwareApplication",
            name=package.name,
            description="Installed while the workflow ran",
            url=identifiers.package(package.name, package.version),  # which index it came from, nobody can tell
            version=package.version,
        )
        for package in sorted(description.packages, key=lambda package: (package.name.lower(), package.version))
    ]
    graph.link(reference, softwareRequirements=[package for package in packages if package != reference])
    return reference


def machine(graph: Graph, facts: Iterable[Fact], profile: Iterable[Ref]) -> Ref | None:
    """Add the machine of the run with its facts; none when nothing is known about it."""
    properties = [
        graph.add(
            f"#machine/{identifiers.segment(fact.name)}",
            "PropertyValue",
            name=fact.name,
            description="Fact about the machine of the run",
            propertyID=f"{TERMS}{identifiers.segment(fact.name)}",
            value=fact.value,
            unitCode=f"{_QUDT}{fact.unit}" if fact.unit else None,
        )
        for fact in facts
    ]
    if not properties:
        return None
    about = "The machine on which the workflow ran"
    return graph.add(
        "#machine",
        "IndividualProduct",
        name="Machine of the run",
        description=about,
        additionalProperty=properties,
        subjectOf=profile,
    )


def usage(graph: Graph, action: str, measured: Usage | None) -> list[Ref]:
    """Add what an action consumed, as far as it was measured."""
    values = [(row, getattr(measured, row[1])) for row in _USAGE if measured is not None]
    return [
        graph.add(
            f"{action}/{term}",
            "PropertyValue",
            name=term,
            description=meaning,
            propertyID=f"{TERMS}{term}",
            unitCode=f"{_QUDT}{unit}",
            value=str(value),
        )
        for (term, _, unit, meaning), value in values
        if value is not None
    ]


def parameter(graph: Graph, identifier: str, kind: str, *, name: str, description: str, many: bool = False) -> Ref:
    """Add a formal parameter of the workflow or of a tool; ``kind`` is ``File`` or a type of values."""
    return graph.add(
        identifier,
        "FormalParameter",
        name=name,
        description=description,
        additionalType=kind,
        conformsTo=profile(graph, _PARAMETER_PROFILE),
        multipleValues="True" if many else None,
    )


def realise(graph: Graph, values: Iterable[Ref], formal: Ref) -> None:
    """Say, on both sides, that ``values`` are what a formal parameter stood for in this run."""
    for value in values:
        graph.link(value, exampleOfWork=formal)
        graph.link(formal, workExample=value)
