"""What a document says about its bundle: publication metadata, how strictly a replay is judged, where inputs are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import nearest
from fasthep_archive.workflow import addresses
from fasthep_archive.workflow.draft import Draft, mapping, sequence, text
from fasthep_archive.workflow.identifiers import is_work, orcid, ror
from fasthep_archive.workflow.values import DocumentPath

Strictness = Literal["identical", "content", "tolerance", "ignore"]

DEFAULT_LICENSE = "CC-BY-4.0"
"""What CERN Open Data, HEPData and Zenodo suggest for results: reuse with attribution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Author:
    """A person.

    :ivar orcid: address such as ``https://orcid.org/0000-0002-1825-0097``.
    :ivar affiliation: name of an organisation.
    :ivar ror: the organisation's address such as ``https://ror.org/01ggx4157``.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    ror: str | None = None
    email: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Related:
    """Another work, and what this bundle is to it in the words of DataCite (``isSupplementTo``).

    :ivar identifier: DOI, arXiv number or address, as it is written.
    """

    identifier: str
    relation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What a bundle says of itself.

    :ivar title: default: the workflow's name.
    :ivar description: default: empty.
    :ivar authors: in the order of the document; may be none.
    :ivar license: SPDX identifier; default :data:`DEFAULT_LICENSE`.
    """

    title: str
    description: str = ""
    authors: tuple[Author, ...] = ()
    license: str = DEFAULT_LICENSE
    keywords: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()
    path: DocumentPath = field(compare=False, default=("archive", "metadata"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How outputs are compared on replay.

    :ivar outputs: name of an output or id of a stage, or a pattern with ``*`` and ``?``; the last that matches holds.
    :ivar rtol: largest relative difference, for the level ``tolerance``; the bounds that are not given are 0.
    :ivar atol: largest absolute difference.
    :ivar ulp: largest distance in steps of float64.
    """

    outputs: str
    level: Strictness
    rtol: float = 0.0
    atol: float = 0.0
    ulp: int = 0
    path: DocumentPath = field(compare=False, repr=False, default=("archive", "verify"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferencedInput:
    """Where others can have an input file, and what is known of its bytes.

    :ivar file: as a dataset names it.
    :ivar urls: the best first; none of this machine, none with credentials.
    :ivar size: in bytes.
    :ivar adler32: 8 hexadecimal digits (RFC 1950), as grid storage states it.
    """

    file: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: Digest | None = None
    adler32: str | None = None
    path: DocumentPath = field(compare=False, repr=False, default=("archive", "inputs"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveSettings:
    """The key ``archive`` of a document.

    :ivar inputs: at most one for each file.
    :ivar allow: ids of what packing would refuse and the author has looked at.
    """

    metadata: Metadata
    verify: tuple[Policy, ...] = ()
    inputs: tuple[ReferencedInput, ...] = ()
    allow: tuple[str, ...] = ()


def read_settings(draft: Draft, workflow_name: str, files: Collection[str] | None) -> ArchiveSettings:
    """Return the settings, with defaults for what the document leaves out or what does not conform.

    :param files: of all datasets, as they are written; none if they are not known.
    """
    return ArchiveSettings(
        metadata=_metadata(draft, workflow_name),
        verify=_policies(draft),
        inputs=_inputs(draft, files),
        allow=tuple(str(value) for _, value in draft.entries("archive", "allow")),
    )


def references(settings: ArchiveSettings, files: Iterable[str]) -> Mapping[str, ReferencedInput]:
    """Return where each of ``files`` can be had, by name: from its own address first, then from those of the settings.

    Files that nobody else can have are left out.
    """
    stated = {item.file: item for item in settings.inputs}
    found = {}
    for file in files:
        item = stated.get(file, ReferencedInput(file=file, urls=()))
        own = (file,) if addresses.is_remote(file) else ()
        item = replace(item, urls=tuple(dict.fromkeys([*own, *item.urls])))
        if item.urls:
            found[file] = item
    return found


def resolved_settings(settings: ArchiveSettings, renamed: Mapping[str, str]) -> JSON:
    """Return the settings as a document writes them.

    :param renamed: names to write in the place of those of files; their own addresses are kept as references.
    """
    inputs = {**{item.file: item for item in settings.inputs}, **references(settings, renamed)}
    return {
        **_resolved_stances(settings),
        **({"inputs": [_resolved_input(item, renamed) for item in inputs.values()]} if inputs else {}),
        **({"allow": list(settings.allow)} if settings.allow else {}),
    }


def _resolved_input(item: ReferencedInput, renamed: Mapping[str, str]) -> JSON:
    known = _present(item, ("size", "sha256", "adler32"))
    return {"file": renamed.get(item.file, item.file), "urls": list(item.urls), **known}


def _resolved_stances(settings: ArchiveSettings) -> Mapping[str, JSON]:
    metadata = settings.metadata
    return {
        "metadata": {
            "title": metadata.title,
            **({"description": metadata.description} if metadata.description else {}),
            "authors": [
                _present(author, ("name", "orcid", "affiliation", "ror", "email")) for author in metadata.authors
            ],
            "license": metadata.license,
            "keywords": list(metadata.keywords),
            "related": [_present(related, ("identifier", "relation")) for related in metadata.related],
        },
        "verify": [{"outputs": policy.outputs, "level": _resolved_level(policy)} for policy in settings.verify],
    }


def _present(value: object, names: tuple[str, ...]) -> Mapping[str, JSON]:
    return {name: getattr(value, name) for name in names if getattr(value, name) is not None}


def _resolved_level(policy: Policy) -> JSON:
    if policy.level != "tolerance":
        return policy.level
    return {"tolerance": {"rtol": policy.rtol, "atol": policy.atol, "ulp": policy.ulp}}


def _metadata(draft: Draft, workflow_name: str) -> Metadata:
    at = ("archive", "metadata")
    entry = draft.mapping(*at)
    return Metadata(
        title=text(entry.get("title")) or workflow_name,
        description=text(entry.get("description")) or "",
        authors=tuple(_author(mapping(author), path, draft) for path, author in draft.entries(*at, "authors")),
        license=text(entry.get("license")) or DEFAULT_LICENSE,
        keywords=tuple(map(str, sequence(entry.get("keywords")))),
        related=tuple(_related(mapping(work), path, draft) for path, work in draft.entries(*at, "related")),
    )


def _author(entry: Mapping[str, JSON], at: DocumentPath, draft: Draft) -> Author:
    checked: dict[str, str | None] = {"orcid": None, "ror": None}
    for key, check, example in (("orcid", orcid, "0000-0002-1825-0097"), ("ror", ror, "https://ror.org/01ggx4157")):
        written = text(entry.get(key))
        checked[key] = check(written) if written is not None else None
        if written is not None and checked[key] is None:
            message = f"{written!r} is no valid {key.upper()} identifier"
            draft.fault((*at, key), message, f"it looks like {example}, and its check digits must fit: copy it again")
    return Author(
        name=str(entry["name"]),
        affiliation=text(entry.get("affiliation")),
        email=text(entry.get("email")),
        **checked,
    )


def _related(entry: Mapping[str, JSON], at: DocumentPath, draft: Draft) -> Related:
    identifier = str(entry["identifier"])
    if not is_work(identifier):
        hint = "write for example doi:10.1000/182, arXiv:2003.07868 or https://..."
        draft.fault((*at, "identifier"), f"{identifier!r} is no DOI, arXiv number or address", hint)
    return Related(identifier=identifier, relation=str(entry["relation"]))


def _policies(draft: Draft) -> tuple[Policy, ...]:
    policies: dict[str, Policy] = {}
    for path, value in draft.entries("archive", "verify"):
        policy = _policy(mapping(value), path)
        if policy.outputs in policies:
            hint = "keep one of them: the last entry that matches an output holds"
            draft.fault((*path, "outputs"), f"there are two levels for {policy.outputs!r}", hint)
        policies[policy.outputs] = policy
    return tuple(policies.values())


def _policy(entry: Mapping[str, JSON], path: DocumentPath) -> Policy:
    outputs, level = str(entry["outputs"]), entry["level"]
    if isinstance(level, str):
        return Policy(outputs=outputs, level=cast("Strictness", level), path=path)
    bounds = mapping(mapping(level)["tolerance"])
    rtol, atol = (float(cast("float", bounds.get(name, 0))) for name in ("rtol", "atol"))
    ulp = int(cast("float", bounds.get("ulp", 0)))
    return Policy(outputs=outputs, level="tolerance", rtol=rtol, atol=atol, ulp=ulp, path=path)


def _inputs(draft: Draft, files: Collection[str] | None) -> tuple[ReferencedInput, ...]:
    found: dict[str, ReferencedInput] = {}
    owners: dict[str, str] = {}
    for path, value in draft.entries("archive", "inputs"):
        item = _input(mapping(value), path)
        if item.file in found:
            hint = "write all its addresses in one list, the best first"
            draft.fault((*path, "file"), f"{item.file!r} is in archive.inputs twice", hint)
        elif files is not None and item.file not in files:
            hint = nearest(item.file, files) or "write the name as data.datasets has it"
            draft.fault((*path, "file"), f"no dataset has the file {item.file!r}", hint)
        for number, url in enumerate(item.urls):
            owner = owners.setdefault(url, item.file)
            wrong = addresses.fault(url, local=False)
            if wrong:
                draft.fault((*path, "urls", number), *wrong)
            elif owner != item.file:
                message = f"this is the address of {owner!r} too"
                draft.fault((*path, "urls", number), message, "keep it with one of them")
        found.setdefault(item.file, item)
    return tuple(found.values())


def _input(entry: Mapping[str, JSON], path: DocumentPath) -> ReferencedInput:
    size, sha256 = entry.get("size"), text(entry.get("sha256"))
    return ReferencedInput(
        file=str(entry["file"]),
        urls=tuple(map(str, sequence(entry["urls"]))),
        size=None if size is None else int(str(size)),
        sha256=None if sha256 is None else Digest(sha256),
        adler32=text(entry.get("adler32")),
        path=path,
    )
