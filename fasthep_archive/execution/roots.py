"""The streams that files are read as: sources and joins, and which of them each stage reads.

Every file is partitioned once for each of these *roots* that a stage uses, never once more: a source that is only part
of a join is read with the join, and one that no stage uses isn't read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fasthep_archive import registry
from fasthep_archive.data.source import PROVIDER, Read
from fasthep_archive.errors import Fault, nearest
from fasthep_archive.execution.getters import Getter
from fasthep_archive.formula.columns import ColumnType
from fasthep_archive.workflow.model import Dataset, FieldAlias, Join, Listed, Source, Stage, Workflow
from fasthep_archive.workflow.snapshots import KIND

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """A branch that the document says a file has: its name in the stream, as it is written, of what, and where."""

    name: str
    branch: str
    tree: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """Files whose events stand side by side.

    :ivar names: of the files; the events of the stream are those of the first.
    :ivar paths: where the document has the names.
    :ivar reads: what is read of each.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    reads: tuple[Read, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    """A stream of events of files.

    :ivar reads: what is read of each file, side by side: one for a source, several for a join.
    :ivar sources: that it is read of, one for each of ``reads``.
    :ivar path: where it stands in the document. :ivar paths: where each of what is read stands.
    :ivar aliases: other names of branches. :ivar getters: fields that are computed, by their names in the stream.
    :ivar start: first entry of each file. :ivar stop: entry after the last one; none: the end.
    """

    id: str
    path: Path
    reads: tuple[Read, ...]
    sources: tuple[Source, ...]
    paths: tuple[Path, ...]
    aliases: Mapping[str, str]
    getters: Mapping[str, Getter]
    promises: tuple[Promise, ...]
    start: int
    stop: int | None

    def files(self, dataset: Dataset) -> Listed:
        """Return the files whose events it has."""
        return self.sources[0].listed(dataset)

    def beside(self, dataset: Dataset, position: int) -> Beside:
        """Return what stands beside one of its files: of each other source the file of that number, or all."""
        numbers: dict[str, int] = {}
        paths: list[Path] = []
        reads = []
        for read, source in zip(self.reads, self.sources, strict=True):
            listed = tuple(source.listed(dataset).places())
            for path, name in listed if read.spread else [listed[position]]:
                if name not in numbers:
                    numbers[name] = len(numbers)
                    paths.append(path)
                reads.append(replace(read, place=numbers[name]))
        return Beside(names=tuple(numbers), paths=tuple(paths), reads=tuple(reads))

    def lacking(self, types: Mapping[str, ColumnType], workflow: Workflow) -> Iterator[Fault]:
        """Yield the branches that the document says a file has and that it lacks, used or not."""
        for promise in self.promises:
            if promise.name not in types:
                what = f"{promise.tree} has no branch" if promise.tree else "there is no column"
                message = f"{what} {promise.branch!r}"
                yield Fault(message, workflow.document.where(promise.path), nearest(promise.branch, types))


def used_roots(workflow: Workflow, report: Callable[[Fault], None]) -> tuple[tuple[Root, ...], Mapping[str, str]]:
    """Return the roots that are read or observed, sources first, and the root of each stage that reads one, by its id.

    Stages whose streams come from different roots, and joins of different ranges of entries, are faults.
    """
    sources = {source.id: source for source in workflow.sources}
    joins = {join.id: join for join in workflow.joins}
    stages = dict(_stage_roots(workflow, {*sources, *joins}, report))
    used = {
        *stages.values(),
        *(source.id for source in workflow.sources if source.observers),
        *(join.id for join in workflow.joins if join.observers),
    }
    roots = [_of_source(source, workflow) for source in sources.values() if source.id in used]
    for join in joins.values():
        parts = [(item.prefix, sources[item.source]) for item in join.inputs if item.source in sources]
        whole = join.id in used and len(parts) == len(join.inputs)
        if whole and _same_range(join, parts, workflow, report) and _paired(join, parts, workflow, report):
            roots.append(_of_join(join, parts, workflow))
    return tuple(roots), {stage: root for stage, root in stages.items() if root in {found.id for found in roots}}


def _stage_roots(workflow: Workflow, known: set[str], report: Callable[[Fault], None]) -> Iterator[tuple[str, str]]:
    roots: dict[str, str] = {root: root for root in known}
    for stage in workflow.stages:
        found = list(dict.fromkeys(roots[edge.node] for edge in stage.streams_from if edge.node in roots))
        if len(found) > 1:
            report(_apart(stage, found, workflow))
        if len(found) == 1:
            roots[stage.id] = found[0]
            yield stage.id, found[0]


def _apart(stage: Stage, found: Sequence[str], workflow: Workflow) -> Fault:
    listed = " and ".join(map(repr, found))
    message = f"stage {stage.id!r} reads events of different streams, {listed}: nothing says which belong together"
    hint = f"join the streams: joins: {{both: {{kind: zip, inputs: [{', '.join(found)}]}}}}"
    return Fault(message, workflow.document.where(stage.path), hint)


def _same_range(
    join: Join, parts: Sequence[tuple[str, Source]], workflow: Workflow, report: Callable[[Fault], None]
) -> bool:
    ranges = [(source.start or 0, source.stop) for _, source in parts]
    if join.kind == "match":
        if all(found == (0, None) for found in ranges[1:]):
            return True
        message = f"join {join.id!r} matches all entries, but one of its further sources has 'start' or 'stop'"
        report(Fault(message, workflow.document.where(join.path), "only the first source of such a join can have them"))
        return False
    if len(set(ranges)) == 1:
        return True
    message = f"join {join.id!r} puts entries side by side, but its sources have different 'start' or 'stop'"
    report(Fault(message, workflow.document.where(join.path), "give all of them the same"))
    return False


def _paired(
    join: Join, parts: Sequence[tuple[str, Source]], workflow: Workflow, report: Callable[[Fault], None]
) -> bool:
    """Say whether each file of the first source has one of each other source beside it that is read file by file."""
    sound = True
    for dataset in workflow.datasets:
        first = parts[0][1].listed(dataset)
        for item, (_, source) in zip(join.inputs, parts, strict=True):
            listed = source.listed(dataset)
            if item.files == "all" or len(listed.names) == len(first.names):
                continue
            if first.names and listed.names:  # else that is told already
                counts = f"{parts[0][1].id!r} has {len(first.names)} and {source.id!r} has {len(listed.names)}"
                message = f"join {join.id!r} reads files of dataset {dataset.name!r} side by side, of which {counts}"
                hint = f"write {{source: {source.id}, files: all}} to find events in any of its files"
                hint = hint if join.kind == "match" else "give both as many, in the same order"
                report(Fault(message, workflow.document.where(listed.path), hint))
            sound = False
    return sound


def _of_source(source: Source, workflow: Workflow) -> Root:
    return Root(
        id=source.id,
        path=source.path,
        reads=(_read(source, ""),),
        sources=(source,),
        paths=(source.path,),
        aliases={alias.alias: alias.branch for alias in _aliases(workflow, source.id)},
        getters=_getters(workflow, source.id, ""),
        promises=tuple(_promises(source, "", workflow)),
        start=source.start or 0,
        stop=source.stop,
    )


def _of_join(join: Join, parts: Sequence[tuple[str, Source]], workflow: Workflow) -> Root:
    """Return the stream of a join, in which all that a source has is called ``PREFIX.NAME``."""
    aliases = {
        _prefixed(prefix, alias.alias): _prefixed(prefix, alias.branch)
        for prefix, source in parts
        for alias in _aliases(workflow, source.id)
    }
    own = {alias.alias: alias.branch for alias in _aliases(workflow, join.id)}
    getters = {name: found for prefix, source in parts for name, found in _getters(workflow, source.id, prefix).items()}
    first = parts[0][1]
    named = (
        Promise(name=alias.branch, branch=alias.branch, tree=f"join {join.id!r}", path=(*alias.path, "branch"))
        for alias in _aliases(workflow, join.id)
    )
    return Root(
        id=join.id,
        path=join.path,
        reads=tuple(
            replace(_read(source, item.prefix), on=join.on, on_mismatch=join.on_mismatch, spread=item.files == "all")
            if number and join.kind == "match"
            else _read(source, item.prefix)
            for number, (item, (_, source)) in enumerate(zip(join.inputs, parts, strict=True))
        ),
        sources=tuple(source for _, source in parts),
        paths=tuple(source.path for _, source in parts),
        aliases={**aliases, **own},
        getters={**getters, **_getters(workflow, join.id, "")},
        promises=(*(found for prefix, source in parts for found in _promises(source, prefix, workflow)), *named),
        start=first.start or 0,
        stop=first.stop,
    )


def _read(source: Source, prefix: str) -> Read:
    options = {} if source.kind == KIND else source.options  # a query decides what a snapshot is, not how it is read
    plugin = registry.foreign("sources", source.kind)
    provided = {} if plugin is None else {PROVIDER: plugin.identity}  # other versions of it may read other values
    return Read(kind=source.kind, tree=source.tree, prefix=prefix, options={**options, **provided})


def _aliases(workflow: Workflow, stream: str) -> Iterator[FieldAlias]:
    return (alias for alias in workflow.fields if alias.stream == stream and alias.branch)


def _getters(workflow: Workflow, stream: str, prefix: str) -> Mapping[str, Getter]:
    found = (item for item in workflow.fields if item.stream == stream and not item.branch)
    return {_prefixed(prefix, item.alias): Getter(field=item, prefix=prefix) for item in found}


def _prefixed(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _promises(source: Source, prefix: str, workflow: Workflow) -> Iterator[Promise]:
    places = [((*alias.path, "branch"), alias.branch) for alias in _aliases(workflow, source.id)]
    if source.missing_branches == "error":
        places += [((*source.path, "branches", number), branch) for number, branch in enumerate(source.branches or ())]
    for path, branch in places:
        tree = f"tree {source.tree!r}" if source.tree else ""
        yield Promise(name=_prefixed(prefix, branch), branch=branch, tree=tree, path=path)
