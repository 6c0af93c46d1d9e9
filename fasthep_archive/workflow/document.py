"""Documents: plain data of a known version of the language, in which every value knows where it was written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, Location, UsageError, WorkflowError
from fasthep_archive.workflow import schema
from fasthep_archive.workflow.includes import assemble
from fasthep_archive.workflow.reading import MAX_DEPTH
from fasthep_archive.workflow.values import DocumentPath, Place, Plain, Value, flatten, within, written

Language = Literal["1.0", "1.1"]
LANGUAGES: tuple[Language, ...] = ("1.0", schema.NEWEST)
"""Versions of the workflow language that are known, oldest first.

The schema of a version that a release of this package has never changes again: tests hold its digest.
"""

_TEXTS: tuple[tuple[str, ...], ...] = (("version",), ("workflow", "version"))
"""Values that are texts even when they look like numbers: 1.10 is not 1.1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A workflow document with its includes merged.

    :ivar name: what the document is called when it does not say so itself: its file's name without suffix.
    :ivar data: plain JSON values; ``version`` is text, ``include`` is gone.
    :ivar files: the main file first, then the included ones as they were read; none for a document that is no file.
        That of a workflow has the profiles beside the document too.
    :ivar moved: where the value at a path was written, if a shorter spelling put it elsewhere.
    """

    name: str
    data: Mapping[str, JSON]
    language: Language
    files: tuple[Path, ...] = ()
    places: Mapping[DocumentPath, Place] = field(repr=False, default_factory=dict)
    keys: Mapping[DocumentPath, Location] = field(repr=False, default_factory=dict)
    texts: Mapping[str, str] = field(repr=False, default_factory=dict)
    moved: Mapping[DocumentPath, DocumentPath] = field(repr=False, default_factory=dict)

    def where(self, path: DocumentPath, offset: int = 0) -> Location:
        """Return where the value at ``path`` was written, or the innermost value around it that has a place.

        For texts this is the first character of the content, behind an opening quote and below the mark of a block.

        :param offset: position in the value's text, for formulas; found across folded lines and escapes too.
        """
        path = written(path, self.moved)
        for length in range(len(path), -1, -1):
            place = self.places.get(path[:length])
            if place is not None:
                break
        else:
            return Location(str(self.files[0]) if self.files else self.name, 1, 1)
        text = self._text(path) if length == len(path) and offset else None
        return within(place, text, offset, self.texts[place.where.file]) if text is not None else place.where

    def where_key(self, path: DocumentPath) -> Location:
        """Return where the last key of ``path`` was written, or else the place of its value."""
        return self.keys.get(written(path, self.moved)) or self.where(path)

    def fault(
        self, path: DocumentPath, message: str, hint: str | None = None, *, offset: int = 0, key: bool = False
    ) -> Fault:
        """Return a fault of the value at ``path``, or of its key."""
        return Fault(message, self.where_key(path) if key else self.where(path, offset), hint)

    def _text(self, path: DocumentPath) -> str | None:
        value: object = self.data
        for step in path:
            value = value[step]  # type: ignore[index] # a path with a place leads to a value
        return value if isinstance(value, str) else None


def load(path: Path, *, language: str | None = None) -> Document:
    """Return the document in the file ``path`` with its includes merged.

    :param language: read it as this version of the language, whatever it says.
    :raises WorkflowError: with all faults of YAML, of includes, or of the version.
    :raises UsageError: if ``language`` is unknown.
    """
    assembly = assemble(path)
    flat = flatten(assembly.root)
    data = cast("dict[str, Plain]", flat.data)
    for textual in _TEXTS:
        _keep_text(assembly.root, data, textual)
    known = _chosen(language) if language is not None else _language(data, assembly.root)
    data["version"] = known
    return Document(
        name=path.stem,
        data=data,
        language=known,
        files=assembly.files,
        places=flat.places,
        keys=flat.keys,
        texts=assembly.texts,
    )


def from_json(value: JSON, *, name: str) -> Document:
    """Return the document that ``value`` is, such as a resolved document of a bundle.

    :param name: what it is called where it has no name of its own, and in messages.
    :raises WorkflowError: if it is no mapping, its version is unknown, or it has values that YAML could not give.
    """
    if not isinstance(value, Mapping):
        raise WorkflowError([Fault(f"{name} is no workflow document: it must be a mapping of keys to values")])
    _check_bounds(value, name)
    version = value.get("version", "1.0")
    if version not in LANGUAGES:
        raise WorkflowError(
            [_unknown_version(str(version), Location(name, 1, 1), "a newer fasthep-archive may know it")]
        )
    return Document(name=name, data=value, language=version)


def _check_bounds(value: JSON, name: str) -> None:
    """Hold JSON to the bounds of documents in YAML, so that nothing else has to expect what lies beyond."""
    nested: list[tuple[JSON, int]] = [(value, 0)]
    while nested:
        item, depth = nested.pop()
        wrong = None
        if isinstance(item, float) and not math.isfinite(item):
            wrong = f"{item} is not a finite number"
        elif isinstance(item, int) and not -(2**63) <= item < 2**64:
            wrong = "an integer does not fit into 64 bits"
        elif depth > MAX_DEPTH:
            wrong = f"it is nested more than {MAX_DEPTH} deep"
        if wrong:
            raise WorkflowError([Fault(f"{name} is no workflow document: {wrong}")])
        if isinstance(item, Mapping):
            nested += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, Sequence) and not isinstance(item, str):
            nested += [(inner, depth + 1) for inner in item]


def _keep_text(root: Value, data: dict[str, Plain], path: tuple[str, ...]) -> None:
    """Put the number at ``path`` back into the text that was written."""
    value, holder = root, data
    for step in path[:-1]:
        if not isinstance(value.content, Mapping) or step not in value.content:
            return
        value, holder = value.content[step], cast("dict[str, Plain]", holder[step])
    entry = value.content.get(path[-1]) if isinstance(value.content, Mapping) else None
    if entry is not None and isinstance(entry.content, (int, float)):
        holder[path[-1]] = entry.text


def _chosen(language: str) -> Language:
    if language not in LANGUAGES:
        raise UsageError(f"unknown language version {language!r}", hint=f"known are {' and '.join(LANGUAGES)}")
    return language


def _language(data: Mapping[str, Plain], root: Value) -> Language:
    """Return the version that the document says; 1.0 when it says none, as in FAST-HEP."""
    version = data.get("version")
    if version is None:
        return "1.0"
    if version in LANGUAGES:
        return version
    assert isinstance(root.content, Mapping)
    where = root.content["version"].place.where
    if not isinstance(version, str):
        raise WorkflowError(
            [Fault("version must be the version of the workflow language", where, "write version: 1.0")]
        )
    found = schema.problems(cast("JSON", {**data, "version": "1.0"}), "1.0")
    # FAST-HEP never looked at the version, so any number may stand on a document of language 1.0.
    conforms = all(problem.later for problem in found)
    valid = "it is a valid document of version 1.0: read it as that with --language 1.0"
    hint = (
        valid if conforms else "a newer fasthep-archive may know it; with --language 1.0 it is checked as version 1.0"
    )
    raise WorkflowError([_unknown_version(version, where, hint)])


def _unknown_version(version: str, where: Location, hint: str) -> Fault:
    known = f"{LANGUAGES[0]} to {LANGUAGES[-1]}"
    return Fault(f"language version {version} is unknown: this version of fasthep-archive knows {known}", where, hint)
