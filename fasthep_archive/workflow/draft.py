"""A document on its way to a workflow: its parts that conform to the schema, and the faults of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault
from fasthep_archive.workflow import schema
from fasthep_archive.workflow.document import Document
from fasthep_archive.workflow.merging import Part
from fasthep_archive.workflow.schema import Problem
from fasthep_archive.workflow.values import DocumentPath, written

_LISTS = (("analysis", "stages", "*"), ("workflows", "*", "stages", "*"))
"""The lists of stages."""
_OF_STAGES = (
    ("params", "axes", "*"),
    ("params", "selection", "*"),
    ("params", "variables", "*"),
    ("params", "*"),
    ("render", "*"),
    ("write", "*"),
    ("inspect", "*"),
    ("*",),
)
_UNITS: tuple[tuple[str, ...], ...] = (
    *((*stages, *part) for stages in _LISTS for part in _OF_STAGES),
    ("workflows", "*"),
    ("analysis", "globals", "*"),
    ("archive", "allow", "*"),
    ("archive", "inputs", "*"),
    ("archive", "metadata", "authors", "*"),
    ("archive", "metadata", "related", "*"),
    ("archive", "metadata", "*"),
    ("archive", "verify", "*"),
    ("data", "datasets", "*"),
    ("datasets", "*"),
    ("execution", "*"),
    ("execution_hooks", "*"),
    ("fields", "*"),
    ("includes", "*"),
    ("joins", "*"),
    ("observers", "*"),
    ("outputs", "*"),
    ("registry", "*", "*"),
    ("registry", "*"),
    ("reports", "*"),
    ("sources", "*", "inspect"),
    ("sources", "*"),
    ("styles", "*"),
    ("systematics", "variations", "*"),
    ("systematics", "*"),
    ("use", "profiles", "*"),
)
"""Parts of a document that stand or fall by themselves, inner ones first."""

_LATER_HINT = "leave it out to check and run the rest"


class Draft:
    """Reads the conforming parts of a document and collects faults, of the schema first.

    :ivar faults: everything that is wrong with the document so far.
    :ivar moved: see :class:`Document`; filled by those who rewrite shorter spellings.
    :ivar warnings: what is allowed and has no effect, or another one than its author may think.
    """

    def __init__(
        self,
        document: Document,
        problems: Sequence[Problem] | None = None,
        moved: Mapping[DocumentPath, DocumentPath] | None = None,
    ) -> None:
        """Begin with ``document``, and what the schema has against it.

        :param problems: what is wrong with it, if that is known.
        :param moved: where values were written that stand elsewhere.
        """
        self.document = document
        self.moved: dict[DocumentPath, DocumentPath] = dict(moved or {})
        self.warnings: list[Fault] = []
        if problems is None:
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

    def warn(self, path: DocumentPath, message: str, hint: str | None = None, *, key: bool = False) -> None:
        """Note that the value at ``path``, or its key, is allowed and does not do what it seems to."""
        self.warnings.append(self.document.fault(written(path, self.moved), message, hint, key=key))

    def grafted(self, at: DocumentPath, value: Part, definition: str, *, complete: bool = True) -> Draft | None:
        """Return a draft of the same document with ``value`` at ``at``; none if the schema does not allow that.

        What the schema has against it is noted here. The draft has faults of its own: see :meth:`adopt`.

        :param definition: of the schema, that ``value`` has to conform to.
        :param complete: whether keys may not be missing.
        """
        origins = value.origins(at)

        def told_of(path: DocumentPath) -> DocumentPath:
            return written((*at, *path), origins) if path else value.path

        plain = value.plain()
        found = schema.problems(plain, self.document.language, definition, told_of)
        wrong = [self._told(problem) for problem in found if complete or problem.missing is None]
        if wrong:
            self.faults += wrong
            return None
        document = replace(self.document, data=cast("Mapping[str, JSON]", _with(self.document.data, at, plain)))
        return Draft(document, (), {**self.moved, **origins})

    def adopt(self, grafted: Draft, *, moved: bool = False) -> None:
        """Take over the faults of a grafted draft, and where its values were written if it describes the document."""
        self.faults += grafted.faults
        if moved:
            self.moved |= grafted.moved

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
        hint = problem.hint or (_LATER_HINT if problem.later else None)
        return self.document.fault(problem.path, problem.message, hint, key=problem.key)


def _with(data: JSON, path: DocumentPath, value: JSON) -> JSON:
    """Return ``data`` with ``value`` at ``path``."""
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        items = list(cast("Sequence[JSON]", data))
        items[step] = _with(items[step], tuple(rest), value)
        return items
    entries = cast("Mapping[str, JSON]", data)
    return {**entries, step: _with(entries.get(step), tuple(rest), value)}


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
