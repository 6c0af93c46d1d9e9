"""How to cite a bundle: ``CITATION.cff``, and one line for people.

Citation File Format 1.2.0 (https://doi.org/10.5281/zenodo.5171937). Every text is a double-quoted YAML scalar, so
no title or name can be taken for something else, by a reader of YAML 1.1 or of 1.2.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import yaml

from fasthep_archive.bundle import identifiers, names
from fasthep_archive.bundle.description import Description
from fasthep_archive.bundle.licences import page
from fasthep_archive.workflow.model import Author, Related

_VERSION = "1.2.0"
_MESSAGE = "If you use this bundle, please cite it as below."
_NOBODY = "Author not stated"
_EMAIL = re.compile(r"[\S]+@[\S]+\.[\S]{2,}")  # the schema's own pattern

Entry: TypeAlias = "str | Sequence[Entry] | Mapping[str, Entry]"


def render(description: Description) -> bytes:
    """Return ``CITATION.cff``: UTF-8, the same bytes for the same description."""
    return ("\n".join(_lines(_fields(description))) + "\n").encode()


def citation(description: Description) -> str:
    """Return the reference in one line: authors, year, title, version, kind and identity."""
    authors = "; ".join(_listed(author) for author in description.authors) or _NOBODY
    version = f", version {description.workflow_version}" if description.workflow_version else ""
    identity = f"sha256:{description.identity}"
    return f"{authors} ({description.created.year}): {description.title}{version}. Archived analysis, {identity}."


def _listed(author: Author) -> str:
    name = names.person(author.name)
    return f"{name.family}, {name.given}" if name else author.name


def _fields(description: Description) -> Mapping[str, Entry]:
    """Return what is known, in the order in which CITATION.cff files are written by hand."""
    fields: dict[str, Entry] = {
        "cff-version": _VERSION,
        "message": _MESSAGE,
        "type": "dataset",
        "title": description.title,
        "abstract": description.description,
        "authors": _distinct(_author(author) for author in description.authors) or [{"name": _NOBODY}],
        "version": description.workflow_version or "",
        "date-released": description.created.date().isoformat(),
        # the schema takes what the SPDX licence list has, and no references to other terms
        "license": description.license if page(description.license) else "",
        "keywords": _distinct(description.keywords),
        "identifiers": _identifiers(description),
    }
    return {name: value for name, value in fields.items() if value}


def _distinct(values: Iterable[Entry]) -> list[Entry]:
    """Return each value once: the schema asks for unique items."""
    kept: list[Entry] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


def _author(author: Author) -> Mapping[str, str]:
    name = names.person(author.name)
    contact = {
        "email": author.email if author.email and _EMAIL.fullmatch(author.email) else "",
        "orcid": author.orcid or "",
    }
    if name is None:
        parts = {"name": author.name}
    else:
        parts = {"family-names": name.family, "given-names": name.given, "affiliation": author.affiliation or ""}
    return {field: value for field, value in (parts | contact).items() if value}


def _identifiers(description: Description) -> list[Entry]:
    """Return the bundle's identity, and the DOIs and addresses of what is identical to it."""
    identity = {"type": "other", "value": f"sha256:{description.identity}", "description": "Identity of the bundle"}
    same = (_identifier(work) for work in description.related if work.relation.lower() == "isidenticalto")
    return _distinct([identity, *filter(None, same)])


def _identifier(work: Related) -> Mapping[str, str] | None:
    if bare := identifiers.doi(work.identifier):
        return {"type": "doi", "value": bare}
    address = identifiers.work(work.identifier)
    return {"type": "url", "value": address} if address else None


def _lines(fields: Mapping[str, Entry], indent: str = "") -> Iterable[str]:
    """Yield YAML in block style; the names of fields are ours and need no quotes."""
    for name, value in fields.items():
        if isinstance(value, str):
            yield f"{indent}{name}: {_quoted(value)}"
            continue
        yield f"{indent}{name}:"
        for item in value:
            if isinstance(item, Mapping):
                first, *rest = _lines(item, f"{indent}    ")
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
            else:
                yield f"{indent}  - {_quoted(str(item))}"


def _quoted(text: str) -> str:
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize)
    return quoted.rstrip("\n")
