"""Where events come from and how they are named: sources, aliases of branches, layouts of columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.draft import Draft, mapping, sequence, text
from fasthep_archive.workflow.values import DocumentPath

MissingBranches = Literal["error", "ignore"]

DEFAULT_STREAM = "events"
"""The stream of a document without the key ``sources``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A stream of events read from files.

    :ivar id: of the stream; stages and aliases refer to it.
    :ivar tree: name of the TTree or RNTuple.
    :ivar branches: branches that must be there beside those that stages name.
    :ivar missing_branches: what a missing one of ``branches`` means.
    :ivar start: first entry in each file; none: 0.
    :ivar stop: entry after the last in each file; none: the end.
    """

    id: str
    kind: Literal["root_tree"]
    stream_type: Literal["event_stream"]
    tree: str
    branches: tuple[str, ...] | None
    missing_branches: MissingBranches
    start: int | None
    stop: int | None
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldAlias:
    """Another name for a branch of a stream."""

    alias: str
    stream: str
    branch: str
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Columns to keep, in order, and the tree to write them to; writers use it by its name."""

    name: str
    tree: str
    keep: tuple[str, ...]
    path: DocumentPath = field(compare=False)


def stream_ids(draft: Draft) -> frozenset[str]:
    """Return the ids of all streams that the document names, whether they conform or not."""
    written = draft.raw("sources")
    if written is None:
        return frozenset({DEFAULT_STREAM})
    return frozenset(written) if isinstance(written, Mapping) else frozenset()


def read_sources(draft: Draft) -> tuple[Source, ...]:
    """Return the sources without faults by id; one stream of ROOT trees if the document has no key ``sources``."""
    if draft.raw("sources") is None:
        return (_default_source(draft),)
    sources = []
    for path, entry in draft.entries("sources"):
        source = _source(str(path[-1]), mapping(entry), path)
        if source.stop is not None and source.stop <= (source.start or 0):
            message = f"stop must be greater than start, but {source.stop} is not greater than {source.start or 0}"
            draft.fault((*path, "stop"), message)
        else:
            sources.append(source)
    return tuple(sorted(sources, key=lambda source: source.id))


def read_primary(draft: Draft, known: frozenset[str]) -> str | None:
    """Return the primary stream: the one that the document names, or the only one."""
    named = text(draft.get("primary_stream"))
    if named is not None and known and named not in known:
        draft.fault(("primary_stream",), f"primary_stream refers to the unknown stream {named!r}", _known(named, known))
        return None
    return named or (next(iter(known)) if len(known) == 1 else None)


def read_fields(draft: Draft, known: frozenset[str]) -> tuple[FieldAlias, ...]:
    """Return the aliases without faults by name."""
    aliases = []
    for path, value in draft.entries("fields"):
        entry = mapping(value)
        alias = FieldAlias(alias=str(path[-1]), stream=str(entry["stream"]), branch=str(entry["branch"]), path=path)
        if known and alias.stream not in known:
            message = f"alias {alias.alias!r} refers to the unknown stream {alias.stream!r}"
            draft.fault((*path, "stream"), message, _known(alias.stream, known))
        else:
            aliases.append(alias)
    return tuple(sorted(aliases, key=lambda alias: alias.alias))


def read_layouts(draft: Draft) -> tuple[Layout, ...]:
    """Return the layouts of columns by name."""
    layouts = [
        Layout(name=str(path[-1]), tree=str(entry["tree"]), keep=tuple(map(str, sequence(entry["keep"]))), path=path)
        for path, value in draft.entries("outputs")
        for entry in [mapping(value)]
    ]
    return tuple(sorted(layouts, key=lambda layout: layout.name))


def resolved_source(source: Source) -> JSON:
    """Return the source as a document writes it."""
    optional: dict[str, JSON] = {"branches": source.branches, "start": source.start, "stop": source.stop}
    return {
        "kind": source.kind,
        "stream_type": source.stream_type,
        "tree": source.tree,
        "missing_branches": source.missing_branches,
        **{
            key: list(value) if isinstance(value, tuple) else value
            for key, value in optional.items()
            if value is not None
        },
    }


def _known(name: str, known: frozenset[str]) -> str:
    return nearest(name, known) or f"known are {', '.join(sorted(known))}"


def _source(name: str, entry: Mapping[str, JSON], path: DocumentPath) -> Source:
    branches = entry.get("branches")
    return Source(
        id=name,
        kind="root_tree",
        stream_type="event_stream",
        tree=str(entry["tree"]),
        branches=None if branches is None else tuple(map(str, sequence(branches))),
        missing_branches=cast("MissingBranches", entry.get("missing_branches", "error")),
        start=_entry(entry.get("start")),
        stop=_entry(entry.get("stop")),
        path=path,
    )


def _default_source(draft: Draft) -> Source:
    written = ("data", "defaults", "tree_primary")
    path = ("sources", DEFAULT_STREAM)
    draft.moved[(*path, "tree")] = written
    return _source(DEFAULT_STREAM, {"tree": text(draft.get(*written)) or "events"}, path)


def _entry(value: JSON) -> int | None:
    return int(cast("int | float", value)) if value is not None else None
