"""What a source may ask a database: one query, which reads.

A transaction that reads is no fence around everything: DuckDB's ``COPY`` writes files, SQLite's ``ATTACH`` makes them,
and of several statements some would go unseen. PostgreSQL itself takes nothing but one query for a cursor; what the
others get is looked at here before.
"""

from __future__ import annotations

import re

from fasthep_archive.data.sql import SqlError
from fasthep_archive.workflow.queries import bare

_WORD = re.compile(r"\w*")
_READING = ("SELECT", "VALUES", "WITH")
"""What queries of SQLite begin with: https://sqlite.org/lang_select.html."""
_HINT = "a source asks one query, which reads: SELECT ..., WITH ... SELECT or VALUES ..."


def single(query: str) -> str:
    """Return the one statement of a query, without semicolons and what stands behind them.

    :raises SqlError: if there are several, or none.

    >>> single("SELECT ';' AS x; -- done")
    "SELECT ';' AS x"
    """
    statement, _, rest = bare(query).partition(";")
    if not statement.strip():
        raise SqlError("the query is empty", part="query", hint=_HINT, lasting=True)
    if rest.strip("; \t\r\n"):
        raise SqlError("the query is several statements", part="query", hint=_HINT, lasting=True)
    return query[: len(statement)].strip()


def check_sqlite(statement: str) -> None:
    """Raise if a statement is no query of SQLite.

    :raises SqlError: naming what it begins with.
    """
    word = _WORD.match(bare(statement).strip())
    if word is not None and word[0].upper() not in _READING:
        raise _no_query(word[0] or statement[:1])


def check_duckdb(statement: str) -> None:
    """Raise if a statement is no query of DuckDB, as its own parser has it.

    :raises SqlError: naming what it is. :raises duckdb.Error: if it is none of SQL.
    """
    import duckdb

    with duckdb.connect(":memory:") as parser:
        kinds = [str(found.type.name) for found in parser.extract_statements(statement)]
    if kinds != ["SELECT"]:
        raise _no_query(", ".join(kinds))


def _no_query(what: str) -> SqlError:
    return SqlError(f"this is no query, but {what}", part="query", hint=_HINT, lasting=True)
