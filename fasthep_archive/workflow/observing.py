"""Observers, the names of what they leave, and entries of which there may be one or a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from fasthep_archive.digest import JSON
from fasthep_archive.errors import of_known
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.hanging import Observer
from fasthep_archive.workflow.values import DocumentPath


def read_observers(draft: Draft, at: DocumentPath) -> tuple[Observer, ...]:
    """Return the observers at the path ``at``, an entry or a list."""
    return tuple(_observer(draft, path) for path in entries(draft, at))


def observed(draft: Draft, known: Mapping[str, str], aliased: Mapping[str, str]) -> Mapping[str, tuple[Observer, ...]]:
    """Return the observers of the key ``observers`` by the node that they are at; report nodes that don't exist.

    :param known: what each node's id stands for, in words. :param aliased: nodes that are another one here.
    """
    found: dict[str, list[Observer]] = {}
    for path, value in draft.entries("observers"):
        if not draft.sound(path):
            continue
        observer = _observer(draft, path)
        places = draft.raw(*path, "at")
        single = isinstance(places, str)
        for number, named in enumerate(sequence(mapping(value).get("at"))):
            node = aliased.get(str(named), str(named))
            if node in known:
                placed = found.setdefault(node, [])
                if not any(other is observer for other in placed):  # join.X and project.X are one node here
                    placed.append(observer)
            else:
                place = (*path, "at") if single else (*path, "at", number)
                draft.fault(place, f"there is no node {node!r} to observe", _node_hint(node, known))
    return {node: tuple(observers) for node, observers in found.items()}


def _node_hint(node: str, known: Mapping[str, str]) -> str | None:
    if node.startswith("write."):
        return f"a written file is not observed: observe stage.{node.removeprefix('write.').rpartition('.')[0]}"
    for prefix in ("stage.", "read.", "join."):
        if prefix + node in known:
            return f"did you mean {prefix + node!r}?"
    return of_known(node, known)


def resolved_observer(observer: Observer) -> Mapping[str, JSON]:
    """Return the observer as a document writes it."""
    return {"kind": observer.kind, **observer.params}


def entries(draft: Draft, at: DocumentPath) -> Iterator[DocumentPath]:
    """Yield the paths of the conforming entries at ``at``, where a single one may stand for a list."""
    value = draft.get(*at)
    if isinstance(value, Mapping):
        yield at
    else:
        yield from (path for path, _ in draft.entries(*at))


def check_output(draft: Draft, name: str, at: DocumentPath, folder: str) -> None:
    """Report the name of an output that is no file below ``folder``."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.name:
        hint = f"it is relative to {folder}/ below the outputs, and can't leave it"
        draft.fault(at, f"{name!r} is no name for an output", hint)


def _observer(draft: Draft, path: DocumentPath) -> Observer:
    entry = mapping(draft.get(*path))
    kind, params = str(entry.get("kind")), dict[str, JSON]()
    if "out" in entry:
        check_output(draft, str(entry["out"]), (*path, "out"), "schema")
        params["out"] = entry["out"]
    if entry.get("mode") == "first_partition":
        draft.warn((*path, "mode"), "the snapshot is of all partitions, one file in all", key=True)
    if "path" in entry:
        draft.warn((*path, "path"), "'path' has no effect: what observers find stands in schema/", key=True)
    return Observer(kind=kind, params=params, path=path)
