"""Datasets that are results of queries (``sql://SOURCE``), and what a bundle says of where these came from.

The result of a query is kept as a Parquet file for each dataset (a *snapshot*), which is an ordinary input from then
on: databases move on. In a dataset, ``sql://events`` is the result of the query of the source ``events`` with that
dataset's parameters; its full name is ``sql://events/DATASET.parquet``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, quote, urlsplit

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.addresses import scheme
from fasthep_archive.workflow.datasets import Dataset
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.queries import Bound, Connect, Query, fact, is_ordered, names, query_of, variable
from fasthep_archive.workflow.values import DocumentPath

if TYPE_CHECKING:
    from fasthep_archive.workflow.streams import Source

SCHEME = "sql"
KIND = "sql"
_OWN = ("name", "eventtype", "group", "nevents")
"""Facts of every dataset that queries can have, beside its metadata."""
_LARGEST = 2**63


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a snapshot came from.

    :ivar query: as the document writes it. :ivar parameters: that were bound, by name.
    :ivar driver: distribution and version (``adbc-driver-sqlite 1.13.0``). :ivar server: likewise.
    :ivar rows: of the result. :ivar sha256: of the snapshot's bytes.
    """

    source: str
    dataset: str
    query: str
    parameters: Mapping[str, Bound]
    driver: str
    server: str
    rows: int
    sha256: Digest

    def to_json(self) -> Mapping[str, JSON]:
        """Return it as records and resolved documents have it."""
        return {
            "source": self.source,
            "dataset": self.dataset,
            "query": self.query,
            "parameters": dict(self.parameters),
            "driver": self.driver,
            "server": self.server,
            "rows": self.rows,
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Origin:
        """Return what :meth:`to_json` wrote.

        :raises KeyError: if something is missing.
        """
        return cls(
            source=str(value["source"]),
            dataset=str(value["dataset"]),
            query=str(value["query"]),
            parameters=cast("Mapping[str, Bound]", value["parameters"]),
            driver=str(value["driver"]),
            server=str(value["server"]),
            rows=int(cast("int", value["rows"])),
            sha256=Digest(str(value["sha256"])),
        )

    def __str__(self) -> str:
        bound = ", ".join(f"{name} = {value!r}" for name, value in self.parameters.items())
        asked = " ".join(self.query.split())
        return f"{self.server}, by {self.driver}: {asked}{f' with {bound}' if bound else ''}"


def address(source: str, dataset: str) -> str:
    """Return the full name of a snapshot.

    >>> address("events", "W jets")
    'sql://events/W%20jets.parquet'
    """
    return f"{SCHEME}://{quote(source, safe='')}/{quote(dataset, safe='')}.parquet"


def is_snapshot(name: str) -> bool:
    """Say whether a dataset's file is the result of a query.

    >>> is_snapshot("sql://events"), is_snapshot("events.parquet")
    (True, False)
    """
    return scheme(name) == SCHEME


def asked(draft: Draft, datasets: Iterable[Dataset], sources: Iterable[Source]) -> tuple[Dataset, ...]:
    """Return the datasets, with full names in the place of ``sql://SOURCE``; report what is wrong with queries."""
    found = queries(sources)
    for query in found.values():
        _check_connect(draft, query.connect, (*query.path, "connect"))
        _check_query(draft, query)
    return tuple(_named(draft, dataset, found) for dataset in datasets)


def asked_beside(draft: Draft, datasets: Iterable[Dataset], sources: Iterable[Source]) -> tuple[Source, ...]:
    """Return the sources, with full names in the place of ``sql://SOURCE`` among files of their own."""
    kept = tuple(sources)
    found = queries(kept)
    named = {dataset.name: dataset for dataset in datasets}
    return tuple(replace(source, files=_named_beside(draft, source, named, found)) for source in kept)


def _named_beside(
    draft: Draft, source: Source, datasets: Mapping[str, Dataset], found: Mapping[str, Query]
) -> Mapping[str, tuple[str, ...]]:
    return {
        dataset: tuple(
            _full(draft, datasets[dataset], name, found, (*source.path, "files", dataset, number))
            if is_snapshot(name) and dataset in datasets
            else name
            for number, name in enumerate(names)
        )
        for dataset, names in source.files.items()
    }


def queries(sources: Iterable[Source]) -> Mapping[str, Query]:
    """Return the queries of all sources that have one, by the source's id."""
    return {source.id: query_of(source.id, source.options, source.path) for source in sources if source.kind == KIND}


def bound(query: Query, dataset: Dataset) -> Mapping[str, Bound]:
    """Return the values that the parameters have for a dataset, in the order of the query.

    :raises KeyError: naming a fact that the dataset doesn't have.
    """
    known = facts(dataset)
    values = {}
    for name in names(query.text):
        wanted = fact(query.parameters[name])
        values[name] = cast("Bound", query.parameters[name] if wanted is None else known[wanted])
    return values


def facts(dataset: Dataset) -> Mapping[str, JSON]:
    """Return what queries can know of a dataset: its own facts before its metadata, nested ones last."""
    inner = (dataset.meta.get(key) for key in ("meta", "metadata"))
    nested = {key: value for group in inner if isinstance(group, Mapping) for key, value in group.items()}
    own: dict[str, JSON] = {key: getattr(dataset, key) for key in _OWN if getattr(dataset, key) is not None}
    return {**nested, **dataset.meta, **own}


def stated(sources: Iterable[Source]) -> tuple[Origin, ...]:
    """Return where the snapshots of a bundle came from, as its resolved document says."""
    entries = (entry for source in sources for entry in cast("Iterable[JSON]", source.options.get("snapshots") or ()))
    return tuple(Origin.from_json(cast("Mapping[str, JSON]", entry)) for entry in entries)


def stating(sources: Iterable[Source], origins: Iterable[Origin]) -> tuple[Source, ...]:
    """Return the sources with where their snapshots came from, for the resolved document of a bundle."""
    kept = tuple(origins)
    return tuple(
        replace(source, options={**source.options, "snapshots": own})
        if (own := [origin.to_json() for origin in kept if origin.source == source.id])
        else source
        for source in sources
    )


def _check_connect(draft: Draft, connect: Connect, path: DocumentPath) -> None:
    """Report credentials and what no variable is called; no value that may be secret is repeated."""
    for key in ("uri", "database", "user"):
        value = getattr(connect, key)
        if value is not None and value.startswith("env:") and variable(value) is None:
            draft.fault((*path, key), "'env:' is followed by the name of an environment variable", "write env:NAME")
    if connect.uri is not None and variable(connect.uri) is None and (wrong := _uri_fault(connect.uri)):
        draft.fault((*path, "uri"), *wrong)


def _uri_fault(uri: str) -> tuple[str, str] | None:
    """Return what is wrong with the address of a PostgreSQL server; see libpq-connect in its manual, section 34.1.1."""
    if scheme(uri) not in ("postgres", "postgresql"):
        return "this is no address of a PostgreSQL server", "write postgresql://HOST/DATABASE, or env:NAME"
    try:
        parts = urlsplit(uri)
        words = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        secret, user = parts.password is not None or any("passw" in name for name in words), parts.username
    except ValueError:
        return "this is no address of a PostgreSQL server", "write postgresql://HOST/DATABASE, or env:NAME"
    if secret:
        hint = "leave it out, and name an environment variable that has it: password: env:NAME"
        return "the address of the database comes with a password, which everybody can read", hint
    if user is not None:  # it looks like an e-mail address, which packing would refuse
        return "the address of the database comes with a user's name", "write it beside: user: NAME, or user: env:NAME"
    return None


def _check_query(draft: Draft, query: Query) -> None:
    """Report parameters that are not there or not used, and warn of a result without an order."""
    used = names(query.text)
    for name in used:
        if name not in query.parameters:
            hint = nearest(name, query.parameters) or f"write parameters: {{{name}: ...}}"
            draft.fault((*query.path, "query"), f"the query has :{name}, and there is no such parameter", hint)
    for name, value in query.parameters.items():
        place = (*query.path, "parameters", name)
        if name not in used:
            hint = f"write :{name} where the query needs it"
            draft.fault(place, f"the query has no :{name}", hint, key=True)
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            draft.fault(place, f"{value} is no 64-bit integer")
    if not is_ordered(query.text):
        message = f"the query of {query.source!r} has no ORDER BY: rows in another order are another file"
        draft.warn((*query.path, "query"), message)


def _named(draft: Draft, dataset: Dataset, found: Mapping[str, Query]) -> Dataset:
    files = tuple(
        _full(draft, dataset, name, found, (*dataset.path, "files", number)) if is_snapshot(name) else name
        for number, name in enumerate(dataset.files)
    )
    return replace(dataset, files=files)


def _full(draft: Draft, dataset: Dataset, name: str, found: Mapping[str, Query], path: DocumentPath) -> str:
    """Return the full name of a dataset's snapshot; after a fault, the name as it is."""
    source = name.partition("://")[2].partition("/")[0]
    query = found.get(source)
    if query is None and draft.raw("sources", source) is not None and not draft.conforms(("sources", source)):
        return name
    if query is None:
        example = f"sources: {{{source or 'events'}: {{kind: sql, connect: ..., query: ...}}}}"
        hint = nearest(source, found) or f"write {SCHEME}://ID of a source of kind sql: {example}"
        draft.fault(path, f"{name!r} is the result of a query, and no source of kind sql has that id", hint)
        return name
    if name not in (f"{SCHEME}://{source}", address(source, dataset.name)):
        draft.fault(path, f"{name!r} says more than the source", f"write {SCHEME}://{source}")
        return name
    known = facts(dataset)
    for parameter in names(query.text):
        wanted = fact(query.parameters.get(parameter))
        if wanted is not None and not isinstance(known.get(wanted), str | int | float):
            message = f"parameter {parameter!r} of the query is {wanted!r} of the dataset"
            lacks = f"dataset {dataset.name!r} has none" if known.get(wanted) is None else "that is no single value"
            draft.fault(dataset.path, f"{message}, and {lacks}", nearest(wanted, known) or f"write {wanted}: ...")
    return address(source, dataset.name)
