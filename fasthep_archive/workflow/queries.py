"""Queries to databases: what a source of kind ``sql`` says, and what can be told of a query without a database.

A query is the database's own SQL, in which ``:name`` stands for a parameter. Parameters are bound, never pasted: the
database gets the query with numbered marks in their place, and the values beside it. Texts, quoted names, comments,
``$$`` quotes and casts (``::``) are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fasthep_archive.digest import JSON
from fasthep_archive.workflow.draft import mapping, text
from fasthep_archive.workflow.values import DocumentPath

Bound: TypeAlias = str | int | float | bool
"""The value of a parameter."""

FROM_ENVIRONMENT = "env:"
"""What a value begins with that stands for an environment variable: ``env:ANALYSIS_DB``."""

_TOKEN = re.compile(
    r"""
    (?<![\w])[eE]'(?:[^'\\]|\\.|'')*'       # a text with backslashes, of PostgreSQL
    | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
    | --[^\n]* | /\*.*?\*/
    | \$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$
    | ::
    | :(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)
_INNERMOST = re.compile(r"\([^()]*\)")
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Connect:
    """How a database is reached. Each value can stand for an environment variable, a password has to.

    :ivar driver: ``duckdb``, ``postgresql`` or ``sqlite``.
    :ivar uri: of a server. :ivar database: file of a database, relative to the document.
    """

    driver: str
    uri: str | None = None
    database: str | None = None
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What a source asks a database, once for each dataset.

    :ivar source: the source's id. :ivar parameters: by name, values or facts of datasets as the document writes them.
    :ivar path: of the source in the document.
    """

    source: str
    connect: Connect
    text: str
    parameters: Mapping[str, JSON]
    path: DocumentPath


def query_of(source: str, options: Mapping[str, JSON], path: DocumentPath) -> Query:
    """Return the query of a source of kind ``sql`` whose options the schema has seen."""
    connect = mapping(options["connect"])
    optional = {key: text(connect.get(key)) for key in ("uri", "database", "user", "password")}
    return Query(
        source=source,
        connect=Connect(driver=str(connect["driver"]), **optional),
        text=str(options["query"]),
        parameters=mapping(options.get("parameters")),
        path=path,
    )


def names(query: str) -> tuple[str, ...]:
    """Return the parameters of a query, in the order of their first appearance.

    >>> names("SELECT x::int FROM e WHERE s = :sample AND t = ':no' AND run > :run OR s = :sample")
    ('sample', 'run')
    """
    found = (match["name"] for match in _TOKEN.finditer(query))
    return tuple(dict.fromkeys(name for name in found if name))


def numbered(query: str, mark: str) -> str:
    """Return the query with numbered marks in the place of its parameters, for values in the order of :func:`names`.

    >>> numbered("SELECT x FROM e WHERE a = :low AND b = :high AND c = :low", "$")
    'SELECT x FROM e WHERE a = $1 AND b = $2 AND c = $1'
    """
    numbers = {name: number for number, name in enumerate(names(query), start=1)}
    return _TOKEN.sub(lambda match: f"{mark}{numbers[match['name']]}" if match["name"] else match[0], query)


def bare(query: str) -> str:
    """Return the query with question marks in the place of texts, quoted names and parameters, and without comments.

    Every character that is left is where it was.

    >>> bare("SELECT 'a;b' AS x; -- done")
    'SELECT ????? AS x;        '
    """
    return _TOKEN.sub(lambda match: (" " if match[0][:2] in ("--", "/*") else "?") * len(match[0]), query)


def is_ordered(query: str) -> bool:
    """Say whether a query orders its rows; an order inside of parentheses is not one of the result.

    >>> is_ordered("SELECT * FROM e ORDER BY n"), is_ordered("SELECT * FROM (SELECT * FROM e ORDER BY n)")
    (True, False)
    """
    plain, count = bare(query), 1
    while count:
        plain, count = _INNERMOST.subn(" ", plain)
    return _ORDER.search(plain) is not None


def variable(value: str) -> str | None:
    """Return the environment variable that a value stands for; none if it is the value itself.

    >>> variable("env:ANALYSIS_DB"), variable("events.db")
    ('ANALYSIS_DB', None)
    """
    name = value.removeprefix(FROM_ENVIRONMENT)
    return name if name != value and _VARIABLE.fullmatch(name) else None


def fact(value: JSON) -> str | None:
    """Return which fact of a dataset a parameter is (``{dataset: name}``); none if it is a value."""
    return str(value["dataset"]) if isinstance(value, Mapping) else None
