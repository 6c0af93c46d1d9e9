"""The datasets of a workflow: names of input files and what is known of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fasthep_archive.digest import JSON
from fasthep_archive.workflow import addresses
from fasthep_archive.workflow.draft import Draft, mapping, sequence, text
from fasthep_archive.workflow.schema import spelled
from fasthep_archive.workflow.values import DocumentPath

_KEYS = ("name", "files", "nevents", "eventtype", "group")
_METADATA = frozenset({"nfiles"})
"""Metadata that looks like a key of the language and is none: fast-curator writes it."""
_GENERATED = frozenset({"sql", "toy"})
"""Schemes of names that stand for no file: the events are generated, or a database has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Files that belong together.

    :ivar files: paths and addresses as they are written, at least one.
    :ivar nevents: number of events in all files as the document declares it; the files themselves are counted.
    :ivar eventtype: ``data``, ``mc``, or a word of the document's own.
    :ivar meta: every other key.
    :ivar path: where it stands in the document.
    """

    name: str
    files: tuple[str, ...]
    nevents: int | None
    eventtype: str
    group: str
    meta: Mapping[str, JSON]
    path: DocumentPath = field(compare=False)


def read_datasets(draft: Draft, *, required: bool = True) -> tuple[Dataset, ...]:
    """Return the datasets without faults in the order of the document, those of the top-level key first.

    :param required: whether a document without any is at fault.
    """
    default = text(draft.get("data", "defaults", "eventtype")) or "mc"
    first: dict[str, Dataset] = {}
    sound = []
    for key in (("datasets",), ("data", "datasets")):
        for path, value in draft.entries(*key):
            entry = mapping(value)
            dataset = _dataset({"name": path[-1], **entry}, default, path)
            faults = len(draft.faults)
            _check(draft, entry, dataset, first.setdefault(dataset.name, dataset))
            if len(draft.faults) == faults:
                sound.append(dataset)
    places: tuple[DocumentPath, ...] = (("datasets",), ("data",), ("data", "datasets"))
    if required and not any(draft.raw(*path) for path in places[::2]) and not any(map(draft.misspelt, places)):
        draft.fault(("data",), "there are no datasets", "write data: {datasets: [{name: ..., files: [...]}]}", key=True)
    return tuple(sound)


def declared_files(draft: Draft) -> frozenset[str] | None:
    """Return the files of all datasets, sound or not, and of sources beside; none if some can't be told."""
    places: tuple[DocumentPath, ...] = (("data", "datasets"), ("datasets",))
    written = draft.raw("sources")
    sources = written if isinstance(written, Mapping) else {}
    beside = [name for name, source in sources.items() if isinstance(source, Mapping) and source.get("files")]
    if not all(map(draft.sound, (*places, *(("sources", name) for name in beside)))):
        return None
    lists = [mapping(value)["files"] for place in places for _, value in draft.entries(*place)]
    lists += [names for name in beside for names in draft.mapping("sources", name, "files").values()]
    return frozenset(str(file) for names in lists for file in sequence(names))


def resolved_dataset(dataset: Dataset, files: Mapping[str, str]) -> JSON:
    """Return the dataset as a document writes it, with ``files`` in the place of the files that it names."""
    declared: dict[str, JSON] = {} if dataset.nevents is None else {"nevents": dataset.nevents}
    return {
        "name": dataset.name,
        "files": [files.get(file, file) for file in dataset.files],
        "eventtype": dataset.eventtype,
        "group": dataset.group,
        **declared,
        **dataset.meta,
    }


def declared_names(draft: Draft) -> frozenset[str]:
    """Return the names of all datasets, sound or not."""
    found = set()
    for holder in (draft.raw("datasets"), draft.raw("data", "datasets")):
        if isinstance(holder, Mapping):
            entries: list[tuple[JSON, JSON]] = list(holder.items())
        else:
            entries = [(None, entry) for entry in sequence(holder)]
        for key, entry in entries:
            name = entry.get("name", key) if isinstance(entry, Mapping) else key
            found.add(str(name))
    return frozenset(found)


def event_type(text: str) -> str:
    """Return an event type as it is meant: FAST-HEP compares data and mc in any case of letters."""
    return text.lower() if text.lower() in ("data", "mc") else text


def _dataset(entry: Mapping[str, JSON], default_eventtype: str, path: DocumentPath) -> Dataset:
    name, nevents = str(entry["name"]), entry.get("nevents")
    eventtype = text(entry.get("eventtype")) or default_eventtype
    return Dataset(
        name=name,
        files=tuple(map(str, sequence(entry["files"]))),
        nevents=None if nevents is None else int(str(nevents)),
        eventtype=event_type(eventtype),
        group=text(entry.get("group")) or name,
        meta={key: value for key, value in entry.items() if key not in _KEYS},
        path=path,
    )


def _check(draft: Draft, entry: Mapping[str, JSON], dataset: Dataset, first: Dataset) -> None:
    """Report a name that is there twice, addresses that can't be read, and metadata that must be misspelt keys.

    :param first: the first dataset of the same name.
    """
    path = dataset.path
    if first is not dataset:
        places = [(*each.path, "name") if draft.raw(*each.path, "name") else each.path for each in (dataset, first)]
        draft.repeated(places[0], f"dataset {dataset.name!r}", places[1], key=places[0] == path)
    for number, file in enumerate(dataset.files):
        scheme = addresses.scheme(file)
        if scheme is None or scheme in _GENERATED:
            continue
        place = (*path, "files", number)
        if wrong := addresses.fault(file, local=True):
            draft.fault(place, *wrong)
    for key in entry:
        if key in _KEYS or key in _METADATA:
            continue
        close = difflib.get_close_matches(re.sub(r"[_-]", "", key.lower()), _KEYS, n=1, cutoff=0.85)
        if close:
            message = f"key {key!r} in {spelled(path)} is none of the language, but looks like {close[0]!r}"
            draft.fault((*path, key), message, f"write {close[0]!r}; metadata of your own need other names", key=True)
