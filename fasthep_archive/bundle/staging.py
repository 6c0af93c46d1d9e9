"""Lays out what a bundle carries before anything runs: documents and inputs, in the bundle's own layout.

``pack`` runs the workflow from here. What was not declared is not here, so a missing declaration fails on the
author's machine. Inputs are linked, not copied; their one copy is made into the zip.

A document is carried as its author wrote it, comments and all, except for the places of files: where it names a file of
this machine, or includes one, the copy has that file's place in the bundle. So the copy can be run from the unpacked
bundle, and tells nobody where the author keeps things. Addresses such as ``https://`` stay.
"""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from fasthep_archive.bundle import layout
from fasthep_archive.digest import JSON, canonical
from fasthep_archive.errors import DataError, writing
from fasthep_archive.workflow.addresses import is_remote
from fasthep_archive.workflow.model import Workflow, resolved
from fasthep_archive.workflow.reading import read
from fasthep_archive.workflow.values import DocumentPath, Place, Value, written


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """A document before it was copied.

    :ivar file: the author's file, as messages call it. :ivar member: the copy.
    :ivar text: what it says, with blanks for what the copy has otherwise.
    """

    file: str
    member: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """A staged tree.

    :ivar main: bundle name of the document as its author wrote it. :ivar documents: it, and by name what it
        includes.
    :ivar originals: the author's files of these.
    :ivar inputs: bundle name of each input file, by the name that the document uses.
    :ivar code: bundle names of the files of the analysis's own code.
    """

    root: Path
    main: str
    documents: tuple[str, ...]
    originals: tuple[Original, ...]
    inputs: Mapping[str, str]
    code: tuple[str, ...] = ()

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
    relative = {name: f"../{member.removeprefix(layout.PAYLOAD)}" for name, member in inputs.items()}
    originals = tuple(_copied(workflow, relative, root))
    code, texts = _staged_code(workflow, root)
    _write(root / layout.RESOLVED, (canonical(resolved(workflow, relative, _CODE)) + "\n").encode())
    main, *others = dict.fromkeys(original.member for original in originals)
    names = (main, *sorted(others))
    return Staged(root=root, main=main, documents=names, originals=(*originals, *texts), inputs=inputs, code=code)


_CODE = posixpath.relpath(layout.CODE, layout.WORKFLOW)
"""Where the code is, as seen from the documents."""


def _staged_code(workflow: Workflow, root: Path) -> tuple[tuple[str, ...], tuple[Original, ...]]:
    """Write the analysis's own code; return the members, and the author's files of those that are text."""
    folder = workflow.code
    if folder is None:
        return (), ()
    texts = []
    for name, content in folder.files.items():
        member = layout.member(layout.CODE + name)
        _write(root / member, content)
        if b"\0" not in content:
            text = content.decode(errors="replace")
            texts.append(Original(file=str(folder.root / name), member=member, text=text))
    return tuple(layout.CODE + name for name in folder.files), tuple(texts)


@dataclass(frozen=True, slots=True)
class _Mention:
    """A place where a document names a file: how the author calls it, and how the copy has to."""

    place: Place
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _Change:
    """Text that the copy has instead of the author's, from ``start`` to before ``end``."""

    start: int
    end: int
    text: str


def _copied(workflow: Workflow, relative: Mapping[str, str], root: Path) -> Iterator[Original]:
    """Write the copies of the documents, and yield the originals.

    :param relative: where a document has each input file, by the name that the author wrote.
    """
    document = workflow.document
    members = _document_names(document.files)
    named = _named_files(workflow, relative)
    for path in document.files:
        file, member = str(path), members[path.resolve()]
        value, text = read(path, file)
        if document.texts.get(file, text) != text:
            raise DataError(f"{file} changed while it was packed", hint="pack again when nothing writes to it")
        placed = (
            path == document.files[0]
            and workflow.code is not None
            and not isinstance(document.data.get("code"), Mapping)
        )
        mentions = [*named.get(file, ()), *_includes(value, path, members)]
        changes = _changes(mentions, text)
        mark = codecs.BOM_UTF8 if path.read_bytes().startswith(codecs.BOM_UTF8) else b""
        copy = _changed(text, changes)
        _write(root / member, mark + (_with_code(copy) if placed else copy).encode())
        blanks = [_Change(each.start, each.end, " " * (each.end - each.start)) for each in changes]
        yield Original(file=file, member=member, text=_changed(text, blanks))


def _named_files(workflow: Workflow, relative: Mapping[str, str]) -> Mapping[str, Sequence[_Mention]]:
    """Return where each document names input files of this machine."""
    document = workflow.document
    names: list[tuple[DocumentPath, str]] = list(workflow.named_files())
    names += [((*item.path, "file"), item.file) for item in workflow.archive.inputs]
    found: dict[str, list[_Mention]] = {}
    for path, name in names:
        at = written(path, document.moved)
        place = document.places.get(at)
        if place and name in relative and not is_remote(name):
            mention = _Mention(place, _as_written(document.data, at, name), relative[name])
            found.setdefault(place.where.file, []).append(mention)
    place = document.places.get(("code", "path"))
    if place is not None:
        mention = _Mention(place, _as_written(document.data, ("code", "path"), ""), _CODE if workflow.code else ".")
        found.setdefault(place.where.file, []).append(mention)
    return found


def _with_code(text: str) -> str:
    """Return a document that says where its code is: its author's was beside it."""
    if text.lstrip().startswith("{"):
        return text.replace("{", f'{{"code": {{"path": "{_CODE}"}}, ', 1)
    return f"{text.rstrip()}\n\ncode: {{path: {_CODE}}}\n"


def _as_written(data: JSON, path: DocumentPath, name: str) -> str:
    """Return how a document calls a file: names of toy events and of queries' results are longer in the workflow."""
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(str(step))
        elif isinstance(data, Sequence) and not isinstance(data, str) and isinstance(step, int):
            data = data[step]
    return data if isinstance(data, str) else name


def _includes(value: Value, path: Path, members: Mapping[Path, str]) -> Iterator[_Mention]:
    """Yield where the document ``value`` in the file ``path`` names another that lies elsewhere in the bundle."""
    top = value.content if isinstance(value.content, Mapping) else {}
    include = top.get("include")
    entries = include.content if include and not isinstance(include.content, str) else [include]
    for entry in entries if isinstance(entries, Sequence) else ():
        if isinstance(entry, Value) and isinstance(entry.content, str):
            target = members[(path.parent / entry.content).resolve()]
            new = posixpath.relpath(target, posixpath.dirname(members[path.resolve()]))
            if posixpath.normpath(entry.content) != new:
                yield _Mention(entry.place, entry.content, new)


_QUOTED = {"'": re.compile(r"(?:[^']|'')*"), '"': re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)}
"""What stands between the quotes of a text in YAML 1.2 (sections 7.3.1 and 7.3.2)."""


_ITEM = re.compile(r"-[ \t]+(?:&\S+[ \t]+)?(?:[\"']|\*\S+)?$")
"""What stands on the line before an entry of a list in block style (YAML 1.2, section 8.2.1), or is an alias there."""


def _changes(mentions: Iterable[_Mention], text: str) -> Sequence[_Change]:
    """Return what is changed in a file's ``text``: for a pattern, all files that it stands for become entries.

    So they do where an alias repeats the pattern, as that stands for the first of them now.
    """
    news: dict[tuple[int, int, str | None], dict[str, None]] = {}
    for each in mentions:
        news.setdefault((*_extent(each.place, each.old, text), each.place.quote), {})[each.new] = None
    changes = []
    for (start, end, quote), names in news.items():
        changes.append(_Change(start, end, f"{quote or ''}{_between(text, start)}{quote or ''}".join(names)))
        more = [f"{quote or ''}{name}{quote or ''}" for name in list(names)[1:]]
        aliases = _aliases(text, start - len(quote or "")) if more else ()
        changes += (_Change(end, end, "".join(_between(text, end) + name for name in more)) for end in aliases)
    return changes


def _between(text: str, index: int) -> str:
    """Return what separates the entry of a list that stands at ``index``, or ends there, from the next."""
    line = text[text.rfind("\n", 0, index) + 1 : index]
    item = _ITEM.search(line)
    return f"\n{' ' * item.start()}- " if item else ", "


def _aliases(text: str, start: int) -> Iterator[int]:
    """Yield where the aliases end of the value that starts at ``start``."""
    anchors: dict[str, int] = {}
    named: str | None = None
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken) and anchors.get(token.value) == start:
            yield token.end_mark.index
        if named is not None:
            anchors[named] = token.start_mark.index
        named = token.value if isinstance(token, yaml.AnchorToken) else None


def _extent(place: Place, value: str, text: str) -> tuple[int, int]:
    """Return where the scalar ``value`` at ``place`` starts and ends in the file's ``text``, without its quotes.

    Text without quotes may be folded over several lines; its visible characters are all there.
    """
    if place.quote:
        match = _QUOTED[place.quote].match(text, place.index)
        return place.index, match.end() if match else place.index
    left, end = sum(not character.isspace() for character in value), place.index
    while left:
        left -= not text[end].isspace()
        end += 1
    return place.index, end


def _changed(text: str, changes: Iterable[_Change]) -> str:
    """Return ``text`` with ``changes``; what an alias repeats is written, and changed, once."""
    parts, last = [], 0
    for change in sorted(set(changes), key=lambda change: change.start):
        parts += [text[last : change.start], change.text]
        last = change.end
    return "".join([*parts, text[last:]])


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
