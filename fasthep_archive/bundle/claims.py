"""What ``bundle.json`` and ``ro-crate-metadata.json`` claim, held against each other and against the manifest.

Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from fasthep_archive.bundle.form import CRATE, counted, name_fault
from fasthep_archive.bundle.manifest import MANIFEST, SHA256, URL
from fasthep_archive.bundle.strictjson import json_digest

FORMAT = 1
"""The version of ``bundle.json``, and with it of the layout, the container and the rules for all files of a bundle."""
SUMMARY = "bundle.json"
RESOLVED = "data/workflow/workflow.resolved.json"
INPUTS, OUTPUTS, CODE = "data/inputs/", "data/outputs/", "data/code/"
CONTEXTS = ("https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context")
"""The JSON-LD contexts that a bundle may name. None is ever fetched."""
SCHEMES = frozenset(
    ("http", "https", "root", "roots", "xroot", "xroots", "davs", "mailto", "urn", "pkg", "doi", "ni", "swh", "arcp")
)
"""Schemes of the absolute identifiers that a bundle may use. None is ever followed."""

_LEVEL = re.compile("identical|content|tolerance|ignore")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", re.ASCII)
_HASH = re.compile(r"[a-z0-9]+:[0-9a-f]+")
_NAMES = "any name"
_DIGESTS = {_NAMES: SHA256}
_SHAPE: Mapping[str, Any] = {  # a type; a pattern for a string; [shape of each item]; {key: shape}; {_NAMES: shape}
    "format": int,
    "tool": {"name": str, "version": str},
    "language": str,
    "profile": str,
    "title": str,
    "created": _INSTANT,
    "inputs": [{"name": str, "datasets": [str], "size": int, "sha256": SHA256, "urls": [URL], "included": bool}],
    "outputs": [
        {
            "name": str,
            "kind": str,
            "stage": str,
            "size": int,
            "sha256": SHA256,
            "content": SHA256,
            "policy": {"level": _LEVEL, "rtol": float, "atol": float, "ulp": int},
            "included": bool,
        }
    ],
    "parts": {
        "workflow": SHA256,
        "code": _DIGESTS,
        "inputs": _DIGESTS,
        "outputs": _DIGESTS,
        "environment": [{"name": str, "version": str, "hashes": [_HASH]}],
        "schemas": {_NAMES: str},
        "profile": str,
    },
    "identity": SHA256,
}


def workflow_digest(document: object) -> str:
    """Return the digest of a resolved workflow document: what is computed, and how strictly it is judged.

    What else stands below ``archive`` is left out: titles, authors and addresses make no other analysis of it.
    """
    if not isinstance(document, dict) or not isinstance(document.get("archive"), dict):
        return json_digest(document)
    judged = {key: value for key, value in document["archive"].items() if key == "verify"}
    return json_digest({**document, "archive": judged})


def summary_faults(summary: object) -> Iterator[str]:
    """Yield what is wrong with the value of ``bundle.json`` by itself: its format, its shape, its identity."""
    version = summary.get("format") if isinstance(summary, dict) else None
    if isinstance(version, int) and version > FORMAT:
        yield f"has format {version}, and formats up to {FORMAT} are known here: use a newer fasthep-archive"
        return
    faults = list(_shape_faults(summary, _SHAPE, ""))
    yield from faults
    if faults or not isinstance(summary, dict):
        return
    if version != FORMAT:
        yield f"has format {version}, which never was one"
    try:
        datetime.fromisoformat(summary["created"])
    except ValueError as error:
        yield f"states a time of creation that is none: {error}"
    parts = summary["parts"]
    if summary["identity"] != json_digest(parts):
        yield f"states the identity {summary['identity']}, and its parts have {json_digest(parts)}"
    if parts["profile"] != summary["profile"]:
        yield f"states the profile {summary['profile']}, and its parts {parts['profile']}"
    yield from _part_faults(summary, "inputs", {item["name"]: item["sha256"] for item in summary["inputs"]}, set())
    ignored = {item["name"] for item in summary["outputs"] if item["policy"]["level"] == "ignore"}
    contents = {item["name"]: item["content"] for item in summary["outputs"]}
    yield from _part_faults(summary, "outputs", contents, ignored)


def _part_faults(summary: Mapping[str, Any], kind: str, digests: Mapping[str, str], free: set[str]) -> Iterator[str]:
    """Yield where the parts, from which identity follows, are not those listed; ``free`` need not be among them."""
    if len(digests) != len(summary[kind]):
        yield f"lists one of its {kind} twice"
    parts = summary["parts"][kind]
    for name in sorted({*digests, *parts}):
        if name not in parts:
            if name not in free:
                yield f"lists {name} among its {kind}, and not in parts.{kind}"
        elif digests.get(name) != parts[name]:
            yield f"has the digest {parts[name]} for {name} in parts.{kind}, and {digests.get(name, 'none')} in {kind}"


def _shape_faults(value: object, shape: Any, where: str) -> Iterator[str]:
    """Yield where ``value`` has not the shape."""
    if isinstance(shape, dict) and isinstance(value, dict):
        for key in sorted(value.keys() | shape.keys() - {_NAMES}):
            inner = f"{where}.{key}" if where else key
            if key not in value:
                yield f"lacks {inner}"
            elif key not in shape and _NAMES not in shape:
                yield f"has the unknown key {inner}"
            else:
                yield from _shape_faults(value[key], shape.get(_NAMES) or shape[key], inner)
    elif isinstance(shape, list) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _shape_faults(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, re.Pattern):
        if not isinstance(value, str) or not shape.fullmatch(value):
            yield f"has {_short(value)} for {where}, which is not of the form {shape.pattern}"
    elif not isinstance(shape, type) or not _is_a(value, shape):
        kind = shape.__name__ if isinstance(shape, type) else type(shape).__name__
        yield f"has {_short(value)} for {where or 'its value'}, which is not of type {kind}"


def _is_a(value: object, kind: type) -> bool:
    """Return whether a JSON value is of a type: booleans are no numbers, and no number is negative."""
    if kind is float and isinstance(value, float):
        return value >= 0
    if kind in (int, float):
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, kind)


def _short(value: object) -> str:
    return json.dumps(value)[:100]


def file_faults(summary: Mapping[str, Any], sizes: Mapping[str, int], manifest: Mapping[str, str]) -> Iterator[str]:
    """Yield where ``bundle.json``, right by itself, differs from the files.

    :param sizes: bytes of the files that are there or may be fetched, ``manifest`` their SHA-256.
    """
    for kind, folder in (("inputs", INPUTS), ("outputs", OUTPUTS)):
        stated = {folder + item["name"]: item for item in summary[kind]}
        yield from (f"lists {name} among its {kind}, which {name_fault(name)}" for name in stated if name_fault(name))
        for name in sorted({*stated, *(name for name in manifest if name.startswith(folder))}):
            item = stated.get(name)
            if item is None:
                yield f"does not list {name} among its {kind}"
            elif name not in manifest:
                if item["included"]:
                    yield f"says that {name} is included, and {MANIFEST} does not list it"
            elif item["sha256"] != manifest[name]:
                yield f"says that {name} has the SHA-256 {item['sha256']}, and {MANIFEST} says {manifest[name]}"
            elif item["size"] != sizes.get(name, item["size"]):
                yield f"says that {name} has {counted(item['size'])}, and it has {sizes[name]}"
    code = {name[len(CODE) :]: digest for name, digest in manifest.items() if name.startswith(CODE)}
    stated = summary["parts"]["code"]
    for name in sorted(code.keys() | stated.keys()):
        if code.get(name) != stated.get(name):
            yield f"has the digest {stated.get(name)} for {name} in parts.code, and {MANIFEST} has {code.get(name)}"


def crate_faults(
    crate: object, files: Iterable[str], sizes: Mapping[str, int], sha: Mapping[str, str]
) -> Iterator[str]:
    """Yield what is wrong with the RO-Crate metadata of a bundle.

    :param files: the names that it may refer to: what is there or may be fetched.
    :param sizes: bytes of the files where known, ``sha`` their SHA-256 where known.
    """
    if not isinstance(crate, dict) or crate.keys() != {"@context", "@graph"} or not isinstance(crate["@graph"], list):
        yield "is not an object of a @context and a @graph that is a list"
        return
    yield from _context_faults(crate["@context"])
    known = {"./", *files}
    known |= {name[: at + 1] for name in known for at, character in enumerate(name) if character == "/"}
    seen: set[str] = set()
    for entity in crate["@graph"]:
        identifier = entity.get("@id") if isinstance(entity, dict) else None
        if not isinstance(identifier, str):
            yield "has an entity without an @id"
            continue
        if identifier in seen:
            yield f"describes {identifier} twice"
        seen.add(identifier)
        yield from _entity_faults(entity, known, sizes, sha)
    yield from (f"does not describe {name}" for name in (CRATE, "./") if name not in seen)
    for identifier in sorted({*_references(crate["@graph"])} - seen):
        path, fault = local_path(identifier)
        if fault:
            yield fault
        elif path is not None or identifier.startswith("#"):
            yield f"refers to {identifier}, and does not describe it"


def local_path(identifier: str) -> tuple[str | None, str | None]:
    """Return the file or folder that an ``@id`` names, and what is wrong with the id; either may be none.

    >>> local_path("data/two%20muons.root"), local_path("https://cern.ch"), local_path("#step/select")
    (('data/two muons.root', None), (None, None), (None, None))
    >>> local_path("file:///etc/passwd")[1]
    "has the id file:///etc/passwd, and ids with 'file:' are refused"
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", identifier)
    if scheme:
        known = scheme.group(1).lower() in SCHEMES
        return None, None if known else f"has the id {identifier}, and ids with {scheme.group()!r} are refused"
    if identifier.startswith(("#", "_:")):
        return None, None
    try:
        path = unquote(re.split("[#?]", identifier)[0], errors="strict")
    except UnicodeDecodeError:
        return None, f"has the id {identifier}, which is not percent-encoded UTF-8"
    fault = None if path == "./" else name_fault(path[:-1] if path.endswith("/") else path)
    return path, f"has the id {identifier}, which {fault}" if fault else None


def _context_faults(context: object) -> Iterator[str]:
    for part in context if isinstance(context, list) else [context]:
        if not isinstance(part, dict):
            if part not in CONTEXTS:
                yield f"has the @context {_short(part)}, which is not one of {', '.join(CONTEXTS)}"
            continue
        for key, term in part.items():  # keywords, such as @base, would change what all ids mean
            if key.startswith("@") or not isinstance(term, str) or not URL.fullmatch(term):
                yield f"has {_short(key)}: {_short(term)} in its @context, which is not a term and its address"


def _entity_faults(
    entity: Mapping[str, Any], known: set[str], sizes: Mapping[str, int], sha: Mapping[str, str]
) -> Iterator[str]:
    path, fault = local_path(entity["@id"])
    if fault:
        yield fault
    elif path is not None and path not in known:
        yield f"describes {entity['@id']}, and the bundle has no such file"
    elif path is not None:
        for key, facts in (("sha256", sha), ("contentSize", sizes)):
            if key in entity and path in facts and entity[key] != str(facts[path]):
                yield f"says that the {key} of {path} is {entity[key]}, and it is {facts[path]}"


def _references(value: object) -> Iterator[str]:
    """Yield every ``@id`` in ``value``, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("@id"), str):
            yield value["@id"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
