"""``README.md`` of a bundle, for people who have the zip and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import Template
from typing import TypeVar

from fasthep_archive.bundle import identifiers
from fasthep_archive.bundle.description import Description
from fasthep_archive.bundle.licences import licence
from fasthep_archive.bundle.names import in_reading_order
from fasthep_archive.publish.citation import citation
from fasthep_archive.publish.markdown import escape, items, link, paragraphs, table
from fasthep_archive.workflow.model import Author
from fasthep_archive.workflow.resource import resource

_ROWS = 100
"""Rows that a table shows; the graph has the rest."""
_SHORT = 12
"""Digits of a shortened digest."""

Row = TypeVar("Row")


def render(description: Description) -> bytes:
    """Return ``README.md``: UTF-8, the same bytes for the same description."""
    template = Template(resource("templates", "README.md.in").read_text(encoding="utf-8"))
    text = template.substitute(
        title=escape(description.title),
        description=paragraphs(description.description),
        workflow=escape(description.workflow_name),
        version=f", version {escape(description.workflow_version)}" if description.workflow_version else "",
        identity=description.identity,
        checksums=_checksums(description),
        referenced=_referenced(description),
        requirement=f"{description.engine.name} {description.engine.version}",
        python=".".join(description.python.split(".")[:2]),
        outputs=_outputs(description),
        inputs=_inputs(description),
        stages=_stages(description),
        documents=", ".join(_member(path) for path in (description.main_document, *description.documents)),
        language=escape(description.language_version),
        environment=_environment(description),
        software=_software(description),
        authors=_authors(description.authors),
        related=_related(description),
        citation=escape(citation(description)),
        licence=_licence(description),
    )
    # what is absent leaves its blank lines behind
    return (re.sub(r"\n{3,}", "\n\n", text).strip() + "\n").encode()


def _member(path: str) -> str:
    return link(path.rpartition("/")[2], identifiers.member(path))


def _checksums(description: Description) -> str:
    payload = "" if all(file.embedded for file in description.inputs) else "--ignore-missing "
    return f"sha256sum {payload}-c manifest-sha256.txt\nsha256sum -c tagmanifest-sha256.txt"


def _referenced(description: Description) -> str:
    inputs = sum(not file.embedded for file in description.inputs)
    outputs = sum(not file.embedded for file in description.outputs)
    named = " and ".join(
        f"{number} of its {kind}" for kind, number in (("inputs", inputs), ("outputs", outputs)) if number
    )
    return f"The bundle references {named} and does not hold them." if named else ""


def _shown(rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """Return as many rows as a table shows, and the sentence that stands for the rest."""
    rest = len(rows) - _ROWS
    return rows[:_ROWS], f"\n\nand {rest} more, listed in `ro-crate-metadata.json`." if rest > 0 else ""


def _short(digest: str | None) -> str:
    return f"`{digest[:_SHORT]}`" if digest else ""


def _outputs(description: Description) -> str:
    if not description.outputs:
        return "None."
    shown, rest = _shown(description.outputs)
    rows = (
        [
            _member(file.path) if file.embedded else escape(file.path.rpartition("/")[2]),
            escape(file.stage),
            escape(file.kind),
            f"{file.size:,}",
            _short(file.sha256),
            _short(file.content_digest),
        ]
        for file in shown
    )
    return table(["File", "Stage", "Kind", "Bytes:", "Digest of bytes", "Digest of content"], rows) + rest


def _inputs(description: Description) -> str:
    if not description.inputs:
        return "None."
    shown, rest = _shown(description.inputs)
    rows = (
        [
            _member(file.path) if file.embedded else escape(file.name),
            escape(", ".join(file.datasets)),
            "" if file.events is None else f"{file.events:,}",
            f"{file.size:,}",
            _short(file.sha256),
        ]
        for file in shown
    )
    return table(["File", "Datasets", "Events:", "Bytes:", "Digest of bytes"], rows) + rest


def _stages(description: Description) -> str:
    shown, rest = _shown(description.steps)
    rows = ([escape(step.id), escape(step.op), escape(", ".join(step.needs))] for step in shown)
    return table(["Stage", "Operation", "After"], rows) + rest


def _environment(description: Description) -> str:
    facts = [("Python", description.python), ("Engine", f"{description.engine.name} {description.engine.version}")]
    facts += [
        (fact.name, f"{fact.value} {fact.unit.lower()}" if fact.unit else fact.value) for fact in description.machine
    ]
    facts += [(name, description.variables[name]) for name in sorted(description.variables)]
    return table(["Fact", "Value"], ([escape(name), escape(value)] for name, value in facts))


def _software(description: Description) -> str:
    packages = sorted(f"{package.name} {package.version}" for package in description.packages)
    return escape(", ".join(packages)) or "not recorded"


def _authors(authors: Iterable[Author]) -> str:
    return items(_author(author) for author in authors) or "The document that was packed names none."


def _author(author: Author) -> str:
    shown = in_reading_order(author.name)
    name = link(shown, author.orcid) if author.orcid else escape(shown)
    return f"{name}, {escape(author.affiliation)}" if author.affiliation else name


def _related(description: Description) -> str:
    lines = [f"{_work(work.identifier)} ({escape(work.relation)})" for work in description.related]
    return f"## Related works\n\n{items(lines)}" if lines else ""


def _work(identifier: str) -> str:
    address = identifiers.work(identifier)
    return link(identifier, address) if address else escape(identifier)


def _licence(description: Description) -> str:
    known = licence(description.license)
    name = link(known.name, known.url) if known.url else escape(known.name)
    return f"{name} (SPDX: {escape(known.spdx)})."
