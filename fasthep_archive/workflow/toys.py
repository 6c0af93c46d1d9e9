"""Datasets of toy events (``toy://dy``), as files whose names say everything that their events depend on.

What a dataset says of its toy events (``nevents``, ``seed``, ``weight``) goes before what the source says, and both
before FAST-HEP's defaults. Unlike there, a seed or weight of 0 is one. Where a document has no datasets, the source
itself is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast
from urllib.parse import quote, urlencode

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.addresses import scheme
from fasthep_archive.workflow.datasets import Dataset, declared_names, event_type
from fasthep_archive.workflow.draft import Draft, mapping, text
from fasthep_archive.workflow.values import DocumentPath

SCHEME = "toy"
KIND = "workshop.toy_source"
PROCESSES = ("data", "dy", "qcd", "ttbar")
EVENTS, SEED, WEIGHT = 1_000_000, 12345, 1.0
DATASET, PROCESS = "toy", "dy"
"""What is generated where nothing says otherwise, as in FAST-HEP."""


def addressed(draft: Draft, datasets: Iterable[Dataset], options: Mapping[str, JSON] | None) -> tuple[Dataset, ...]:
    """Return the datasets, with full addresses in the place of names like ``toy://dy``; other files stay.

    :param options: of the source of toy events; none if there is no such source, which is a fault if it is needed.
    """
    found = tuple(datasets)
    if options is not None and not declared_names(draft):
        entries = ((path, mapping(value)) for path, value in draft.entries("sources"))
        found = tuple(_whole_source(entry, path) for path, entry in entries if entry.get("kind") == KIND)[:1]
    return tuple(_addressed(draft, dataset, options) for dataset in found)


def _whole_source(entry: Mapping[str, JSON], path: DocumentPath) -> Dataset:
    """Return the dataset that a source of toy events is where the document has none."""
    name, process = (text(entry.get(key)) or default for key, default in (("dataset", DATASET), ("process", PROCESS)))
    said = text(entry.get("event_type")) or text(entry.get("eventtype"))
    return Dataset(
        name=name,
        files=(f"{SCHEME}://{process}",),
        nevents=None,
        eventtype=event_type(said or ("data" if process.lower() == "data" else "mc")),
        group=name,
        meta={},
        path=path,
    )


def _addressed(draft: Draft, dataset: Dataset, options: Mapping[str, JSON] | None) -> Dataset:
    files = tuple(
        _address(draft, dataset, name, options, (*dataset.path, "files", number)) if scheme(name) == SCHEME else name
        for number, name in enumerate(dataset.files)
    )
    return replace(dataset, files=files)


def _address(draft: Draft, dataset: Dataset, name: str, options: Mapping[str, JSON] | None, path: DocumentPath) -> str:
    """Return the address of toy events; the name as it is if it is one, and after a fault."""
    process, _, rest = name.partition("://")[2].partition("/")
    if process.lower() not in PROCESSES:
        known = f"known: {', '.join(f'{SCHEME}://{known}' for known in PROCESSES)}"
        draft.fault(path, f"there are no toy events called {name!r}", nearest(process.lower(), PROCESSES) or known)
        return name
    if dataset.eventtype not in ("data", "mc"):
        where = (*dataset.path, "eventtype")
        draft.fault(where, f"toy events are data or mc, not {dataset.eventtype!r}", "write eventtype: mc")
        return name
    if rest:  # it says everything already
        return name
    if options is None:
        hint = f"write sources: {{events: {{kind: {KIND}}}}}"
        draft.fault(path, f"toy events come from a source of kind {KIND}, and there is none", hint)
        return name
    numbers = _numbers(draft, dataset, options)
    said = {"dataset": dataset.name, "eventtype": dataset.eventtype, **numbers}
    return f"{SCHEME}://{process.lower()}/{quote(dataset.name, safe='')}.root?{urlencode(said, quote_via=quote)}"


def _numbers(draft: Draft, dataset: Dataset, options: Mapping[str, JSON]) -> dict[str, str]:
    inner = (dataset.meta.get(key) for key in ("meta", "metadata"))
    nested = {key: value for group in inner if isinstance(group, Mapping) for key, value in group.items()}
    known: dict[str, JSON] = {**options, **nested, **dataset.meta}
    if dataset.nevents is not None:
        known["nevents"] = dataset.nevents
    weight = known.get("weight")
    chosen: Mapping[str, tuple[JSON, int | float]] = {
        "nevents": (known.get("nevents"), EVENTS),
        "seed": (known.get("seed"), SEED),
        "weight": (known.get("event_weight") if weight is None else weight, WEIGHT),
    }
    return {name: _number(draft, dataset, name, value, default) for name, (value, default) in chosen.items()}


def _number(draft: Draft, dataset: Dataset, name: str, value: JSON, default: float) -> str:
    """Return a number as an address has it; the default where there is none, and after a fault."""
    if value is None:
        return repr(default)
    try:
        number = float(cast("float", value))
        if name == "weight":
            return repr(number)
        if number >= 0 and number == int(number):
            return repr(int(cast("int", value)))
    except (TypeError, ValueError, OverflowError):
        pass
    kind = "a number" if name == "weight" else "a whole number from 0 on"
    draft.fault(dataset.path, f"{name} of toy events must be {kind}, not {value!r}")
    return repr(default)
