"""Where events come from and how they are named: sources, aliases of branches, layouts of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow import addresses, parameters_calls, plugins
from fasthep_archive.workflow.code import Code, Coder
from fasthep_archive.workflow.datasets import Dataset, declared_names
from fasthep_archive.workflow.draft import Draft, mapping, sequence, text
from fasthep_archive.workflow.hanging import Observer
from fasthep_archive.workflow.observing import read_observers, resolved_observer
from fasthep_archive.workflow.values import DocumentPath

MissingBranches = Literal["error", "ignore"]
JoinKind = Literal["zip", "match"]
Mismatch = Literal["error", "inner", "left"]
Beside = Literal["paired", "all"]
_MISMATCHES: Mapping[JoinKind, tuple[str, ...]] = {"zip": ("error", "warn"), "match": ("error", "inner", "left")}
"""What each kind of join can do about sources of different events; ``warn`` is an error as well."""

_FIELDS = ("branch", "expr", "callable", "accessor")
"""What a field can be."""
DEFAULT_STREAM = "events"
"""The stream of a document without the key ``sources``."""
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "csv": ("header", "delimiter", "quote", "comment", "skip", "missing", "schema"),
    "json": ("schema",),
    "sql": ("connect", "query", "parameters", "snapshots"),
    "workshop.toy_source": ("nevents", "seed", "weight", "event_weight"),
}
"""Options of each kind of source that are no fields of :class:`Source`."""
_TABLES = frozenset({"arrow", "csv", "feather", "json", "npz", "parquet", "workshop.parquet"})
"""Kinds of sources whose files have columns in one table, where others have branches of trees."""
_COMMON = frozenset(
    {"kind", "stream_type", "tree", "files", "branches", "missing_branches", "start", "stop", "inspect"}
)
"""Keys of sources that are no options of a plug-in."""
_MEANINGLESS = ("dataset", "event_type", "eventtype", "process")
"""Options of toy events that every dataset says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A stream of events read from files.

    :ivar id: of the stream; stages and aliases refer to it.
    :ivar kind: ``root_tree``, ``parquet``, ``csv`` ..., or that of a plug-in.
    :ivar tree: name of the TTree or RNTuple; empty for kinds whose files hold one table.
    :ivar files: by dataset, the files that it is in; empty: those of the datasets themselves.
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
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, JSON] = field(default_factory=dict)
    branches: tuple[str, ...] | None
    missing_branches: MissingBranches
    start: int | None
    stop: int | None
    observers: tuple[Observer, ...] = ()
    path: DocumentPath = field(compare=False)

    def listed(self, dataset: Dataset) -> Listed:
        """Return the files that it is in for ``dataset``."""
        if not self.files:
            return Listed(names=dataset.files, path=(*dataset.path, "files"))
        return Listed(names=self.files.get(dataset.name, ()), path=(*self.path, "files", dataset.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A list of files.

    :ivar names: as they are written. :ivar path: where the list stands in the document.
    """

    names: tuple[str, ...]
    path: DocumentPath

    def places(self) -> Iterator[tuple[DocumentPath, str]]:
        """Yield where each file is named, and its name."""
        return (((*self.path, number), name) for number, name in enumerate(self.names))


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinInput:
    """A source that is part of a join.

    :ivar prefix: its columns are called ``PREFIX.NAME``; empty: they keep their names.
    :ivar files: which of its files stand beside one of the first input: that of the same number, or all.
    """

    source: str
    prefix: str
    files: Beside = "paired"


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A stream in which the entries of several sources stand side by side.

    :ivar kind: ``zip``: entry by entry, all must have as many; ``match``: those of the same event.
    :ivar on: by which columns that is told. :ivar on_mismatch: what events mean that not all sources have.
    """

    id: str
    kind: JoinKind = "zip"
    on: tuple[str, ...] = ()
    on_mismatch: Mismatch = "error"
    inputs: tuple[JoinInput, ...]
    observers: tuple[Observer, ...] = ()
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldAlias:
    """A field of a stream beside its branches: another name for one, a formula, or what a function returns.

    :ivar branch: that it is another name for; empty for others. :ivar expr: the formula; empty for others.
    :ivar accessor: the plug-in that computes it; empty for others.
    :ivar callable: ``module:function``; empty for others. :ivar columns: that the function sees.
    :ivar returns: type of what it returns, ``float64``, ``list[bool]`` ...
    :ivar like: of a list, the column that it has as many values as; empty: its own.
    :ivar uses: the files of the code that the function finds beside modules; none: all.
    :ivar code: of the function; none: there is none, or it has faults. :ivar broken: whether these are reported.
    """

    alias: str
    stream: str
    branch: str = ""
    expr: str = ""
    accessor: str = ""
    callable: str = ""
    columns: tuple[str, ...] = ()
    returns: str = ""
    like: str = ""
    uses: tuple[str, ...] | None = None
    code: Code | None = None
    broken: bool = False
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Columns to keep, in order, and the tree to write them to, if any; writers use it by its name."""

    name: str
    tree: str | None
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
        join = _join(mapping(value), path, draft)
        if join.id in sources:
            draft.fault(path, f"join {join.id!r} has the id of a source", "rename the join", key=True)
        _check_join(join, sources, draft)
        if len(draft.faults) == before:
            joins.append(join)
    return tuple(sorted(joins, key=lambda join: join.id))


def _join(entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> Join:
    kind = cast("JoinKind", entry.get("kind", "zip"))
    written, allowed = str(entry.get("on_mismatch", "error")), _MISMATCHES[kind]
    if written not in allowed:
        hint = f"write {' or '.join(allowed)}"
        draft.fault((*path, "on_mismatch"), f"a join of kind {kind} can't do {written!r}", hint)
    return Join(
        id=str(path[-1]),
        kind=kind,
        on=tuple(map(str, sequence(entry.get("on")))),
        on_mismatch=cast("Mismatch", written) if kind == "match" else "error",
        inputs=_join_inputs(entry, path, draft),
        path=path,
    )


def _join_inputs(entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> tuple[JoinInput, ...]:
    inputs = []
    for number, item in enumerate(sequence(entry["inputs"])):
        if isinstance(item, str):
            draft.moved[(*path, "inputs", number, "source")] = (*path, "inputs", number)
        described = {"source": item} if isinstance(item, str) else mapping(item)
        source = str(described["source"])
        beside = cast("Beside", described.get("files", "paired"))
        inputs.append(JoinInput(source=source, prefix=str(described.get("prefix", source)), files=beside))
    return tuple(inputs)


def _check_join(join: Join, sources: frozenset[str], draft: Draft) -> None:
    """Report inputs that are no sources, two of one source or prefix, and what a kind of join can't do."""
    if join.kind == "zip" and join.on:
        hint = "write kind: match to find entries by their columns"
        draft.fault((*join.path, "on"), f"join {join.id!r} of kind zip has no use for 'on'", hint, key=True)
    if join.kind == "match" and not join.on:
        message = f"join {join.id!r} does not say by which columns events are matched"
        draft.fault(join.path, message, "write on: [run, luminosityBlock, event]")
    if join.kind == "match" and len(join.inputs) < 2:
        draft.fault((*join.path, "inputs"), f"join {join.id!r} has nothing to match its only source with")
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
        if item.files == "all" and (number == 0 or join.kind == "zip"):
            zipped = f"join {join.id!r} of kind zip puts entries of the same number side by side, file by file"
            message = zipped if join.kind == "zip" else f"the events of join {join.id!r} are those of its first input"
            hint = "write kind: match to find events in any file" if join.kind == "zip" else "say it of the others"
            draft.fault((*place[:-1], "files"), message, hint, key=True)


def read_primary(draft: Draft, known: frozenset[str]) -> str | None:
    """Return the primary stream: the one that the document names, or the only one."""
    named = text(draft.get("primary_stream"))
    if named is not None and known and named not in known:
        draft.fault(("primary_stream",), f"primary_stream refers to the unknown stream {named!r}", _known(named, known))
        return None
    return named or (next(iter(known)) if len(known) == 1 else None)


def read_fields(draft: Draft, known: frozenset[str], coder: Coder) -> tuple[FieldAlias, ...]:
    """Return the fields without faults by name."""
    found = []
    for path, value in draft.entries("fields"):
        if not draft.sound(path):
            continue
        alias = _field(mapping(value), path, draft, coder)
        if known and alias is not None and alias.stream not in known:
            what = "alias" if alias.branch else "field"
            message = f"{what} {alias.alias!r} refers to the unknown stream {alias.stream!r}"
            draft.fault((*path, "stream"), message, _known(alias.stream, known))
        elif alias is not None:
            found.append(alias)
    return tuple(sorted(found, key=lambda alias: alias.alias))


def _field(entry: Mapping[str, JSON], path: DocumentPath, draft: Draft, coder: Coder) -> FieldAlias | None:
    """Return a field; none after reporting that it is not one of the things that it can be."""
    name, stream = str(path[-1]), str(entry["stream"])
    kinds = [key for key in _FIELDS if key in entry]
    if len(kinds) != 1:
        written = f"has {' and '.join(kinds)}" if kinds else "says nothing but its stream"
        draft.fault(path, f"field {name!r} {written}", f"write one of: {', '.join(_FIELDS)}", key=True)
        return None
    called = {"columns", "returns"}
    if (wrong := sorted((called | {"code"}) & entry.keys())) and kinds != ["callable"]:
        draft.fault((*path, wrong[0]), f"{wrong[0]!r} belongs to a callable", "leave it out", key=True)
        return None
    if kinds != ["callable"]:
        said = {key: str(entry.get(key, "")) for key in ("branch", "expr", "accessor")}
        known = registry.plugged("accessors")
        if said["accessor"] and said["accessor"] not in known:
            looked = f"looked for in packages with an entry point in {registry.GROUPS['accessors']}"
            hint = nearest(said["accessor"], known) or looked
            draft.fault((*path, "accessor"), f"there is no accessor {said['accessor']!r}", hint)
            return None
        return FieldAlias(
            alias=name,
            stream=stream,
            branch=said["branch"],
            expr=said["expr"],
            accessor=said["accessor"],
            path=path,
        )
    if lacking := sorted(called - entry.keys()):
        hint = "write {callable: module:function, columns: [Muon_px], returns: float64}"
        draft.fault(path, f"field {name!r} lacks {' and '.join(lacking)}", hint, key=True)
        return None
    return _called(entry, name, path, draft, coder)


def _called(entry: Mapping[str, JSON], name: str, path: DocumentPath, draft: Draft, coder: Coder) -> FieldAlias | None:
    """Return a field that a function returns; none after a fault."""
    columns = parameters_calls.listed_columns(entry["columns"], path, draft)
    returned = parameters_calls.returned({name: entry["returns"]}, columns, (*path, "returns"), draft)
    for place in ((*path, "returns", name), (*path, "returns", 0), (*path, "returns", 0, "like")):
        draft.moved[place] = (*path, "returns")
    target = str(entry["callable"])
    code = coder.function(target, (*path, "callable"), path) if coder.placed else None
    if not returned:
        return None
    kind = cast("Mapping[str, str]", returned[0])
    return FieldAlias(
        alias=name,
        stream=str(entry["stream"]),
        callable=target,
        columns=tuple(columns),
        returns=kind["type"],
        like=kind.get("like", ""),
        uses=parameters_calls.used(entry),
        code=code,
        broken=coder.placed and code is None,
        path=path,
    )


def resolved_field(alias: FieldAlias) -> JSON:
    """Return the field as a document writes it."""
    if alias.branch:
        return {"stream": alias.stream, "branch": alias.branch}
    if alias.expr:
        return {"stream": alias.stream, "expr": alias.expr}
    if alias.accessor:
        return {"stream": alias.stream, "accessor": alias.accessor}
    returns = f"{alias.returns} like {alias.like}" if alias.like else alias.returns
    return {
        "stream": alias.stream,
        "callable": alias.callable,
        "columns": list(alias.columns),
        "returns": returns,
        **({} if alias.uses is None else {"code": list(alias.uses)}),
    }


def read_layouts(draft: Draft) -> tuple[Layout, ...]:
    """Return the layouts of columns by name."""
    layouts = [
        Layout(name=str(path[-1]), tree=tree, keep=tuple(map(str, sequence(entry["keep"]))), path=path)
        for path, value in draft.entries("outputs")
        for entry in [mapping(value)]
        for tree in [str(entry["tree"]) if "tree" in entry else None]
    ]
    return tuple(sorted(layouts, key=lambda layout: layout.name))


def resolved_layout(layout: Layout) -> JSON:
    """Return the layout as a document writes it."""
    return {**({} if layout.tree is None else {"tree": layout.tree}), "keep": list(layout.keep)}


def resolved_source(source: Source, files: Mapping[str, str]) -> JSON:
    """Return the source as a document writes it, with ``files`` in the place of the files that it names."""
    optional: dict[str, JSON] = {
        "tree": source.tree or None,
        "files": _renamed(source, files) or None,
        "missing_branches": source.missing_branches if source.kind == "root_tree" else None,
        "columns" if source.kind in _TABLES else "branches": source.branches,
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


def _renamed(source: Source, files: Mapping[str, str]) -> JSON:
    return {dataset: [files.get(name, name) for name in names] for dataset, names in source.files.items()}


def resolved_join(join: Join) -> JSON:
    """Return the join as a document writes it; what observes it stands elsewhere."""
    matched: dict[str, JSON] = {"on": list(join.on), "on_mismatch": join.on_mismatch} if join.kind == "match" else {}
    inputs: list[JSON] = [
        {"source": item.source, "prefix": item.prefix, **({"files": "all"} if item.files == "all" else {})}
        for item in join.inputs
    ]
    return {"kind": join.kind, **matched, "inputs": inputs}


def _known(name: str, known: frozenset[str]) -> str:
    return nearest(name, known) or f"known are {', '.join(sorted(known))}"


def _source(name: str, entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> Source:
    kind = str(entry.get("kind", "root_tree"))
    columns = entry.get("columns" if kind in _TABLES else "branches")
    if kind in _TABLES:
        draft.moved[(*path, "branches")] = (*path, "columns")
    for key in _MEANINGLESS if kind == "workshop.toy_source" and declared_names(draft) else ():
        if key in entry:
            draft.warn((*path, key), f"{key!r} has no effect: datasets say it of themselves", key=True)
    return Source(
        id=name,
        kind=kind,
        stream_type="event_stream",
        tree=str(entry.get("tree", "")),
        files=_files(name, mapping(entry.get("files")), path, draft),
        options=_options(kind, entry, path, draft),
        branches=None if columns is None else tuple(map(str, sequence(columns))),
        missing_branches=cast("MissingBranches", entry.get("missing_branches", "error")),
        start=_entry(entry.get("start")),
        stop=_entry(entry.get("stop")),
        observers=read_observers(draft, (*path, "inspect")),
        path=path,
    )


def _files(source: str, entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> Mapping[str, tuple[str, ...]]:
    """Return the files of a source by dataset; report unknown datasets, those without files, and bad addresses."""
    datasets = declared_names(draft)
    for dataset in entry.keys() - datasets if datasets else ():
        message = f"source {source!r} has files for the unknown dataset {dataset!r}"
        draft.fault((*path, "files", dataset), message, _known(dataset, datasets), key=True)
    if entry and (lacking := sorted(datasets - entry.keys())):
        message = f"source {source!r} has files of its own, but none for dataset {' and '.join(map(repr, lacking))}"
        draft.fault((*path, "files"), message, f"write files: {{{lacking[0]}: [...]}}", key=True)
    found = {dataset: tuple(map(str, sequence(names))) for dataset, names in entry.items()}
    for dataset, names in found.items():
        for number, name in enumerate(names):
            scheme = addresses.scheme(name)
            if scheme not in (None, "sql") and (wrong := addresses.fault(name, local=True)):
                draft.fault((*path, "files", dataset, number), *wrong)
    return found


def _options(kind: str, entry: Mapping[str, JSON], path: DocumentPath, draft: Draft) -> Mapping[str, JSON]:
    """Return the options of a kind beside what all sources have; those of a plug-in are what it says itself."""
    if registry.is_ours("sources", kind):
        plugins.checked("sources", kind, {}, (*path, "kind"), draft)  # which another may provide too
        return {key: entry[key] for key in _OPTIONS.get(kind, ()) if key in entry}
    options = {key: value for key, value in entry.items() if key not in _COMMON}
    plugins.checked("sources", kind, options, path, draft)
    return options


def _default_source(draft: Draft) -> Source:
    written = ("data", "defaults", "tree_primary")
    path = ("sources", DEFAULT_STREAM)
    draft.moved[(*path, "tree")] = written
    return _source(DEFAULT_STREAM, {"tree": text(draft.get(*written)) or "events"}, path, draft)


def _entry(value: JSON) -> int | None:
    return int(cast("int | float", value)) if value is not None else None
