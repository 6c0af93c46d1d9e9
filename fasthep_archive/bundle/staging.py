"""Lays out what a bundle carries before anything runs: documents and inputs, in the bundle's own layout.

``pack`` runs the workflow from here. What was not declared is not here, so a missing declaration fails on the
author's machine. Inputs are linked, not copied; their one copy is made into the zip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fasthep_archive.bundle import layout
from fasthep_archive.digest import canonical
from fasthep_archive.errors import writing
from fasthep_archive.workflow.model import Workflow, resolved


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """A staged tree.

    :ivar main: bundle name of the document as its author wrote it. :ivar documents: it and what it includes.
    :ivar inputs: bundle name of each input file, by the name that the document uses.
    """

    root: Path
    main: str
    documents: tuple[str, ...]
    inputs: Mapping[str, str]

    @property
    def resolved(self) -> Path:
        """Return the path of the resolved document, which is the one that runs."""
        return self.root / layout.RESOLVED

    def path(self, name: str) -> Path:
        """Return the path of a member."""
        return self.root / name


def stage(workflow: Workflow, located: Mapping[str, Path], root: Path) -> Staged:
    """Stage ``workflow`` below ``root``, an empty directory.

    :param located: where each input file is, by the name that the document uses.
    """
    inputs = {name: layout.INPUTS + member for name, member in _input_names(located).items()}
    for name, member in inputs.items():
        target = root / member
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(located[name].resolve())
    documents = _document_names(workflow.document.files)
    for path, member in documents.items():
        _write(root / member, path.read_bytes())
    relative = {name: f"../{member.removeprefix(layout.PAYLOAD)}" for name, member in inputs.items()}
    _write(root / layout.RESOLVED, (canonical(resolved(workflow, relative)) + "\n").encode())
    names = tuple(documents.values())
    return Staged(root=root, main=names[0], documents=names, inputs=inputs)


def _write(path: Path, content: bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _input_names(located: Mapping[str, Path]) -> Mapping[str, str]:
    """Return a member name for each file: its own name, made portable, and distinct for distinct files."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(path.resolve() for path in located.values()):
        names[path] = _distinct(_portable(path.name), taken)
    return {written: names[path.resolve()] for written, path in located.items()}


def _document_names(files: Iterable[Path]) -> Mapping[Path, str]:
    """Return a member name for each document: its place relative to the first one where that is below it."""
    paths = list(dict.fromkeys(path.resolve() for path in files))
    taken = {PurePosixPath(layout.RESOLVED).name.lower()}
    names = {}
    for path in paths:
        inside = path.is_relative_to(paths[0].parent)
        place = path.relative_to(paths[0].parent).as_posix() if inside else path.name
        names[path] = layout.WORKFLOW + _distinct("/".join(map(_portable, place.split("/"))), taken)
    return names


def _portable(name: str) -> str:
    """Return ``name`` with only letters, digits and ``._+-``, as all file systems and zip readers take it."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".") or "_"


def _distinct(name: str, taken: set[str]) -> str:
    """Return ``name``, with a number before its suffix if that name, in any case, is taken already."""
    stem, dot, suffix = name.partition(".")
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}{dot}{suffix}"
    taken.add(candidate.lower())
    return candidate
