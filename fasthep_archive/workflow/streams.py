"""Where events come from and how they are named: sources, aliases of branches, layouts of columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.datasets import declared_names
from fasthep_archive.workflow.draft import Draft, mapping, sequence, text
from fasthep_archive.workflow.hanging import Observer
from fasthep_archive.workflow.observing import read_observers, resolved_observer
from fasthep_archive.workflow.values import DocumentPath

MissingBranches = Literal["error", "ignore"]

DEFAULT_STREAM = "events"
"""The stream of a document without the key ``sources``."""
_OPTIONS: Mapping[str, tuple[str, ...]] = {"workshop.toy_source": ("nevents", "seed", "weight", "event_weight")}
"""Options of each kind of source that are no fields of :class:`Source`."""
_MEANINGLESS = ("dataset", "event_type", "eventtype", "process")
"""Options of toy events that every dataset says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A stream of events read from files.

    :ivar id: of the stream; stages and aliases refer to it.
    :ivar kind: ``root_tree``, ``workshop.parquet`` or ``workshop.toy_source``.
    :ivar tree: name of the TTree or RNTuple; empty for kinds whose files hold one table.
    :ivar options: of the kind, beside what is named here.
    :ivar branches: branches that must be there beside those that stages name.
    :ivar missing_branches: what a missing one of ``branches`` means.
    :ivar start: first entry in each file; none: 0.
    :ivar stop: entry after the last in each file; none: the end.
    """

    id: str
    kind: str
    stream_type: Literal["event_stream"]
    tree: str
    options: Mapping[str, JSON] = field(default_factory=dict)
    branches: tuple[str, ...] | None
    missing_branches: MissingBranches
    start: int | None
    stop: int | None
    observers: tuple[Observer, ...] = ()
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinInput:
    """A source that is part of a join.

    :ivar prefix: its columns are called ``PREFIX.NAME``; empty: they keep their names.
    """

    source: str
    prefix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A stream in which the entries of several sources stand side by side; all must have as many."""

    id: str
    inputs: tuple[JoinInput, ...]
    observers: tuple[Observer, ...] = ()
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
    return _source_ids(draft) | _ids(draft.raw("joins"))


def _source_ids(draft: Draft) -> frozenset[str]:
    written = draft.raw("sources")
    return frozenset({DEFAULT_STREAM}) if written is None else _ids(written)


def _ids(written: JSON) -> frozenset[str]:
    return frozenset(written) if isinstance(written, Mapping) else frozenset()


def read_sources(draft: Draft) -> tuple[Source, ...]:
    """Return the sources without faults by id; one stream of ROOT trees if the document has no key ``sources``."""
    if draft.raw("sources") is None:
        return (_default_source(draft),)
    sources = []
    for path, entry in draft.entries("sources"):
        source = _source(str(path[-1]), mapping(entry), path, draft)
        if source.stop is not None and source.stop <= (source.start or 0):
            message = f"stop must be greater than start, but {source.stop} is not greater than {source.start or 0}"
            draft.fault((*path, "stop"), message)
        else:
            sources.append(source)
    return tuple(sorted(sources, key=lambda source: source.id))


def read_joins(draft: Draft) -> tuple[Join, ...]:
    """Return the joins without faults by id."""
    sources = _source_ids(draft)
    joins = []
    for path, value in draft.entries("joins"):
        if not draft.sound(path):
            continue
        before = len(draft.faults)
        join = Join(id=str(path[-1]), inputs=_join_inputs(mapping(value), path, draft), path=path)
        if join.id in sources:
            draft.fault(path, f"join {join.id!r} has the id of a source", "rename the join", key=True)
        _check_join(join, sources, draft)
        if len(draft.faults) == before:
            joins.append(join)
    return tuple(sorted(joins, key=lambda join: join.id))


def _join_inputs(entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> tuple[JoinInput, ...]:
    inputs = []
    for number, item in enumerate(sequence(entry["inputs"])):
        if isinstance(item, str):
            draft.moved[(*path, "inputs", number, "source")] = (*path, "inputs", number)
        described = {"source": item} if isinstance(item, str) else mapping(item)
        source = str(described["source"])
        inputs.append(JoinInput(source=source, prefix=str(described.get("prefix", source))))
    return tuple(inputs)


def _check_join(join: Join, sources: frozenset[str], draft: Draft) -> None:
    """Report inputs that are no sources, and two of one source or prefix."""
    for number, item in enumerate(join.inputs):
        place = (*join.path, "inputs", number, "source")
        if item.source not in sources:
            message = f"join {join.id!r} refers to the unknown source {item.source!r}"
            draft.fault(place, message, _known(item.source, sources))
        if item.source in [other.source for other in join.inputs[:number]]:
            draft.fault(place, f"join {join.id!r} has source {item.source!r} twice", "keep one of them")
        elif item.prefix in [other.prefix for other in join.inputs[:number]]:
            message = f"join {join.id!r} has prefix {item.prefix!r} twice"
            draft.fault(place, message, f"write {{source: {item.source}, prefix: ...}}")


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
    optional: dict[str, JSON] = {
        "tree": source.tree or None,
        "missing_branches": source.missing_branches if source.kind == "root_tree" else None,
        "columns" if source.kind == "workshop.parquet" else "branches": source.branches,
        "start": source.start,
        "stop": source.stop,
        "inspect": [resolved_observer(observer) for observer in source.observers] or None,
        **source.options,
    }
    return {
        "kind": source.kind,
        "stream_type": source.stream_type,
        **{
            key: list(value) if isinstance(value, tuple) else value
            for key, value in optional.items()
            if value is not None
        },
    }


def resolved_join(join: Join) -> JSON:
    """Return the join as a document writes it; what observes it stands elsewhere."""
    return {"kind": "zip", "inputs": [{"source": item.source, "prefix": item.prefix} for item in join.inputs]}


def _known(name: str, known: frozenset[str]) -> str:
    return nearest(name, known) or f"known are {', '.join(sorted(known))}"


def _source(name: str, entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> Source:
    kind = str(entry.get("kind", "root_tree"))
    columns = entry.get("columns" if kind == "workshop.parquet" else "branches")
    if kind == "workshop.parquet":
        draft.moved[(*path, "branches")] = (*path, "columns")
    for key in _MEANINGLESS if kind == "workshop.toy_source" and declared_names(draft) else ():
        if key in entry:
            draft.warn((*path, key), f"{key!r} has no effect: datasets say it of themselves", key=True)
    return Source(
        id=name,
        kind=kind,
        stream_type="event_stream",
        tree=str(entry.get("tree", "")),
        options={key: entry[key] for key in _OPTIONS.get(kind, ()) if key in entry},
        branches=None if columns is None else tuple(map(str, sequence(columns))),
        missing_branches=cast("MissingBranches", entry.get("missing_branches", "error")),
        start=_entry(entry.get("start")),
        stop=_entry(entry.get("stop")),
        observers=read_observers(draft, (*path, "inspect")),
        path=path,
    )


def _default_source(draft: Draft) -> Source:
    written = ("data", "defaults", "tree_primary")
    path = ("sources", DEFAULT_STREAM)
    draft.moved[(*path, "tree")] = written
    return _source(DEFAULT_STREAM, {"tree": text(draft.get(*written)) or "events"}, path, draft)


def _entry(value: JSON) -> int | None:
    return int(cast("int | float", value)) if value is not None else None
