"""A document on its way to a workflow: its parts that conform to the schema, and the faults of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault
from fasthep_archive.workflow import schema
from fasthep_archive.workflow.document import Document
from fasthep_archive.workflow.schema import Problem
from fasthep_archive.workflow.values import DocumentPath, written

_STAGE = ("analysis", "stages", "*")
_UNITS: tuple[tuple[str, ...], ...] = (
    (*_STAGE, "params", "axes", "*"),
    (*_STAGE, "params", "selection", "*"),
    (*_STAGE, "params", "variables", "*"),
    (*_STAGE, "params", "*"),
    (*_STAGE, "*"),
    ("analysis", "globals", "*"),
    ("archive", "allow", "*"),
    ("archive", "inputs", "*"),
    ("archive", "metadata", "authors", "*"),
    ("archive", "metadata", "related", "*"),
    ("archive", "metadata", "*"),
    ("archive", "verify", "*"),
    ("data", "datasets", "*"),
    ("datasets", "*"),
    ("fields", "*"),
    ("outputs", "*"),
    ("sources", "*"),
)
"""Parts of a document that stand or fall by themselves, inner ones first."""

_LATER_HINT = "leave it out to check and run the rest"


class Draft:
    """Reads the conforming parts of a document and collects faults, of the schema first.

    :ivar faults: everything that is wrong with the document so far.
    :ivar moved: see :class:`Document`; filled by those who rewrite shorter spellings.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.moved: dict[DocumentPath, DocumentPath] = {}
        problems = schema.problems(document.data, document.language)
        self.faults: list[Fault] = [self._told(problem) for problem in problems]
        spoiling = [problem for problem in problems if not _adds_only(problem)]
        self._faulty = frozenset(problem.path for problem in spoiling)
        self._dropped = frozenset(_unit(problem.path) for problem in spoiling if problem.path)
        self._misspelt = frozenset(
            (*problem.path[:-1], problem.stands_for) for problem in problems if problem.stands_for
        )

    def fault(self, path: DocumentPath, message: str, hint: str | None = None, *, key: bool = False) -> None:
        """Note that something is wrong with the value at ``path``, or with its key."""
        self.faults.append(self.document.fault(written(path, self.moved), message, hint, key=key))

    def repeated(self, path: DocumentPath, what: str, first: DocumentPath, *, key: bool = False) -> None:
        """Note that the value at ``path``, or its key, repeats the one at ``first``."""
        where = self.document.where(first)
        again = self.document.where_key(path) if key else self.document.where(path)
        hint = "its file is included twice" if again == where else f"the first is at {where}"
        self.fault(path, f"{what} is there twice", hint, key=key)

    def conforms(self, path: DocumentPath) -> bool:
        """Say whether the schema allows the part of the document at ``path``."""
        return not any(path[:length] in self._dropped for length in range(1, len(path) + 1))

    def sound(self, path: DocumentPath) -> bool:
        """Say whether the schema allows everything in the part of the document at ``path``."""
        return self.conforms(path) and not any(faulty[: len(path)] == path for faulty in self._faulty)

    def misspelt(self, path: DocumentPath) -> bool:
        """Say whether a reported unknown key seems to be meant for ``path``."""
        return path in self._misspelt

    def get(self, *path: str | int) -> JSON:
        """Return the value at ``path``; none if it is absent or does not conform."""
        return self.raw(*path) if self.conforms(path) else None

    def raw(self, *path: str | int) -> JSON:
        """Return the value at ``path`` whether it conforms or not; none if it is absent."""
        value: JSON = self.document.data
        for step in path:
            if isinstance(value, Mapping):
                value = value.get(str(step))
            elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(step, int):
                value = value[step]
            else:
                return None
        return value

    def mapping(self, *path: str | int) -> Mapping[str, JSON]:
        """Return the conforming entries of the mapping at ``path`` that are not empty."""
        return mapping({str(entry[-1]): value for entry, value in self.entries(*path)})

    def entries(self, *path: str | int) -> Iterator[tuple[DocumentPath, JSON]]:
        """Yield the conforming entries of the list or mapping at ``path``, with their paths."""
        holder = self.get(*path)
        steps: Sequence[str | int] = ()
        if isinstance(holder, Mapping):
            steps = list(holder)
        elif isinstance(holder, Sequence) and not isinstance(holder, str):
            steps = range(len(holder))
        for step in steps:
            if self.conforms((*path, step)):
                yield (*path, step), self.get(*path, step)

    def _told(self, problem: Problem) -> Fault:
        hint = _LATER_HINT if problem.later else problem.hint
        return self.document.fault(problem.path, problem.message, hint, key=problem.key)


def mapping(value: JSON) -> Mapping[str, JSON]:
    """Return a mapping that the schema has seen, without the keys that are left empty; none: an empty mapping."""
    return {key: item for key, item in cast("Mapping[str, JSON]", value or {}).items() if item is not None}


def sequence(value: JSON) -> Sequence[JSON]:
    """Return a list that the schema has seen, or a single value as a list of one; none: an empty list."""
    if value is None:
        return ()
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def text(value: JSON) -> str | None:
    """Return a text that the schema has seen, or none."""
    return None if value is None else str(value)


def _adds_only(problem: Problem) -> bool:
    """Say whether the problem is a key that adds something to its part, which can be checked without it."""
    return problem.later and problem.key and "params" not in problem.path


def _unit(path: DocumentPath) -> DocumentPath:
    """Return the part of the document that can't be used because of a problem at ``path``."""
    for pattern in _UNITS:
        head = path[: len(pattern)]
        if len(head) == len(pattern) and all(wanted in ("*", step) for wanted, step in zip(pattern, head, strict=True)):
            return head
    return path
