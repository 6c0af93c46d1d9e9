"""Datasets in the form of fast-curator 0.8: ``datasets``, ``defaults``, ``import``, and prefixes of file names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, Location, UsageError, WorkflowError, nearest
from fasthep_archive.workflow import reading
from fasthep_archive.workflow.migration.emission import Notes
from fasthep_archive.workflow.values import Value, flatten

_NOT_META = frozenset({"name", "files", "nevents", "eventtype", "nfiles", "prefix", "tree", "group"})
"""Keys of a dataset that are not its own properties: what is left out or said elsewhere."""

_DEFAULT_TREE = "events"


def data(path: Path, prefix: str | None, notes: Notes) -> JSON:
    """Return the key ``data`` for the datasets in the file ``path`` and in those that it imports.

    :param prefix: name of the prefix to use; default: the first that a dataset offers.
    """
    datasets = [_dataset(entry, prefix, notes) for entry in _entries(path)]
    return cast("JSON", {"datasets": datasets})


def sources(path: Path) -> JSON:
    """Return the key ``sources``: the one tree that all datasets name.

    :raises WorkflowError: if datasets have different trees, which one stream can't have.
    """
    trees: dict[str, Location] = {}
    for entry in _entries(path):
        trees.setdefault(str(entry.properties.get("tree", _DEFAULT_TREE)), entry.where)
    if len(trees) > 1:
        (first, _), (second, where), *_ = trees.items()
        fault = Fault(
            f"datasets have different trees, {first!r} and {second!r}, and one stream reads one",
            where,
            "bring each group of datasets over by itself, as a workflow of its own",
        )
        raise WorkflowError([fault])
    return {"events": {"kind": "root_tree", "tree": next(iter(trees), _DEFAULT_TREE)}}


class _Entry:
    """A dataset with the defaults of its file filled in, and where it is written."""

    def __init__(self, properties: Mapping[str, JSON], where: Location) -> None:
        self.properties = properties
        self.where = where


def _entries(path: Path, defaults: Mapping[str, JSON] | None = None, above: tuple[Path, ...] = ()) -> Iterator[_Entry]:
    """Yield the datasets of a file, those of imported files first, as fast-curator does."""
    root, _ = reading.read(path, str(path))
    top = root.content if isinstance(root.content, Mapping) else {}
    if not {"datasets", "import"} & top.keys():
        raise WorkflowError([Fault(f"{path} has neither 'datasets' nor 'import'", root.place.where)])
    known = {**(defaults or {}), **cast("Mapping[str, JSON]", _plain(top.get("defaults")) or {})}
    for item in _items(top.get("import")):
        imported = Path(str(item.content).replace("{this_dir}", str(path.parent)))
        imported = imported if imported.is_absolute() else path.parent / imported
        if imported in (path, *above):
            raise WorkflowError([Fault(f"{imported} imports itself", item.place.where)])
        yield from _entries(imported, known, (path, *above))
    for item in _items(top.get("datasets")):
        written = _plain(item)
        if not isinstance(written, (str, Mapping)) or (isinstance(written, Mapping) and "name" not in written):
            raise WorkflowError([Fault("a dataset is a name, or a mapping with a name", item.place.where)])
        properties = {"name": written} if isinstance(written, str) else written
        yield _Entry({**known, **properties}, item.place.where)


def _items(value: Value | None) -> Sequence[Value]:
    content = value.content if value is not None else None
    return content if isinstance(content, Sequence) and not isinstance(content, str) else ()


def _plain(value: Value | None) -> JSON:
    return None if value is None else cast("JSON", flatten(value).data)


def _dataset(entry: _Entry, prefix: str | None, notes: Notes) -> JSON:
    properties = entry.properties
    files = properties.get("files")
    if not isinstance(files, Sequence) or isinstance(files, str) or not files:
        raise WorkflowError([Fault(f"dataset {properties['name']!r} has no list of files", entry.where)])
    chosen = _prefix(properties.get("prefix"), prefix, entry)
    names = [str(file).replace("{prefix}", chosen) for file in files]
    told: dict[str, JSON] = {"name": properties["name"], "eventtype": properties.get("eventtype", "mc")}
    if "group" in properties:
        told["group"] = properties["group"]
    if "nevents" in properties:
        told["nevents"] = properties["nevents"]
    if any("*" in name for name in names):
        notes.add("a file's name has a '*': list the files", entry.where)
    others = {key: value for key, value in properties.items() if key not in _NOT_META}
    return {**told, "files": cast("JSON", names), **others}


def _prefix(offered: JSON, wanted: str | None, entry: _Entry) -> str:
    """Return what stands for ``{prefix}``: a text, or one of a list of single-key mappings."""
    if offered is None or isinstance(offered, str):
        return offered or ""
    found: dict[str, str] = {}
    for item in offered if isinstance(offered, Sequence) else ():
        found |= {str(key): str(value) for key, value in item.items()} if isinstance(item, Mapping) else {}
    if not found:
        raise WorkflowError([Fault("a prefix is a text, or a list of single-key mappings", entry.where)])
    if wanted is None:
        return next(iter(found.values()))
    if wanted not in found:
        hint = nearest(wanted, found) or f"it has {', '.join(found)}"
        raise UsageError(f"dataset {entry.properties['name']!r} has no prefix {wanted!r}", hint=hint)
    return found[wanted]
