"""What a repository will ask for that a document does not say yet.

Advice, not errors: a bundle packs, verifies and replays without any of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from fasthep_archive.errors import Fault
from fasthep_archive.workflow.model import Author, Metadata

_EXAMPLE = "add archive: {metadata: {%s}} to the document"


def readiness(metadata: Metadata) -> tuple[Fault, ...]:
    """Return what Zenodo, HEPData, WorkflowHub or a journal would want and ``metadata`` lacks, most wanted first."""
    return tuple(_missing(metadata))


def _missing(metadata: Metadata) -> Iterable[Fault]:
    if not metadata.authors:
        entry = 'authors: [{name: "Given Family", orcid: 0000-0000-0000-0000, affiliation: "Institute"}]'
        yield Fault("archive.metadata.authors is missing: the bundle names no author", hint=_EXAMPLE % entry)
    if not metadata.description:
        entry = 'description: "What was measured, and how"'
        yield Fault("archive.metadata.description is missing: repositories show it first", hint=_EXAMPLE % entry)
    if not metadata.keywords:
        yield Fault(
            "archive.metadata.keywords is missing: they are how bundles are found",
            hint=_EXAMPLE % "keywords: [dimuon, CMS open data]",
        )
    for author in metadata.authors:
        yield from _missing_of(author)


def _missing_of(author: Author) -> Iterable[Fault]:
    who = f"archive.metadata.authors: {author.name!r}"
    if not author.orcid:
        yield Fault(f"{who} has no orcid", hint="an ORCID iD tells people of one name apart: https://orcid.org")
    if not author.affiliation:
        yield Fault(f"{who} has no affiliation", hint="give the institute's name, and its ROR id as ror")
    elif not author.ror:
        yield Fault(f"{who} has an affiliation without ror", hint="look the institute up at https://ror.org/search")
