"""A document from its file and the files that it includes.

Included files come first, in the order in which they are named; the including file is laid over them: mappings are
merged key by key, lists concatenated, scalars replaced. This is FAST-HEP's rule, except that a list does not silently
replace a mapping or the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from fasthep_archive.errors import Fault, WorkflowError
from fasthep_archive.workflow.reading import read
from fasthep_archive.workflow.values import Scalar, Value

MAX_DEPTH = 50
MAX_FILES = 1000
"""Files that one document may include, each counted as often as it is included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """A document with its includes merged.

    :ivar files: the main file first, then the included ones as they were read, each once.
    :ivar texts: what each file holds, by the file's name in messages.
    """

    root: Value
    files: tuple[Path, ...]
    texts: Mapping[str, str]


def assemble(path: Path) -> Assembly:
    """Return the document in the file ``path``.

    :raises WorkflowError: if a file can't be read or is no YAML, or if includes are wrong.
    """
    assembler = _Assembler()
    root = assembler.load(path, ())
    if assembler.faults or root is None:
        raise WorkflowError(list(dict.fromkeys(assembler.faults)))
    return Assembly(root=root, files=tuple(dict.fromkeys(assembler.files)), texts=assembler.texts)


class _Assembler:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.files: list[Path] = []
        self.texts: dict[str, str] = {}

    def load(self, path: Path, above: tuple[Path, ...], named: Value | None = None) -> Value | None:
        """Return the merged document in ``path``, which the files ``above`` include; none after a fault.

        :param named: the entry of ``include`` that names the file.
        """
        try:
            value, text = read(path, str(path))
        except WorkflowError as error:
            self.faults += [fault if fault.where or not named else _not_found(fault, named) for fault in error.faults]
            return None
        self.files.append(path)
        self.texts[str(path)] = text
        assert isinstance(value.content, Mapping)
        merged: Value | None = None
        for entry in self._entries(value.content.get("include")):
            included = self._included(entry, path, (*above, path))
            merged = included if merged is None or included is None else self._laid_over(merged, included)
        own = _without_include(value)
        return own if merged is None else self._laid_over(merged, own)

    def _entries(self, include: Value | None) -> list[Value]:
        """Return the entries of the key ``include``."""
        if include is None or include.content is None:
            return []
        entries = list(include.content) if _is_list(include.content) else [include]
        wrong = [entry for entry in entries if not isinstance(entry.content, str) or not entry.content.strip()]
        self.faults += [
            Fault(
                "include must be the name of a file or a list of names",
                entry.place.where,
                "write include: [datasets.yaml]",
            )
            for entry in wrong
        ]
        return [entry for entry in entries if entry not in wrong]

    def _included(self, entry: Value, container: Path, above: tuple[Path, ...]) -> Value | None:
        path = container.parent / str(entry.content)
        resolved = [file.resolve() for file in above]
        if path.resolve() in resolved:
            circle = [*above[resolved.index(path.resolve()) :], path]
            drawn = " -> ".join(file.name for file in circle)
            self.faults.append(
                Fault(f"includes go round in a circle: {drawn}", entry.place.where, "remove one of them")
            )
            return None
        if len(above) > MAX_DEPTH:
            self.faults.append(Fault(f"includes are nested more than {MAX_DEPTH} deep", entry.place.where))
            return None
        if len(self.files) >= MAX_FILES:
            self.faults.append(Fault(f"more than {MAX_FILES} files are included", entry.place.where))
            return None
        return self.load(path, above, entry)

    def _laid_over(self, below: Value, above: Value) -> Value:
        """Return ``above`` laid over ``below``."""
        lower, upper = below.content, above.content
        if isinstance(lower, Mapping) and isinstance(upper, Mapping):
            content = {key: self._laid_over(lower[key], upper[key]) if key in lower else upper[key] for key in upper}
            return Value({**lower, **content}, above.place, keys={**below.keys, **above.keys})
        if _is_list(lower) and _is_list(upper):
            return Value([*lower, *upper], above.place)
        scalars = isinstance(lower, Scalar) and isinstance(upper, Scalar)
        if not scalars and lower is not None and upper is not None:
            message = f"this can't be merged with what stands at {below.place.where} in an included file"
            hint = "write both as mappings, both as lists, or both as single values"
            self.faults.append(Fault(message, above.place.where, hint))
        return above


def _is_list(content: object) -> TypeGuard[Sequence[Value]]:
    return isinstance(content, Sequence) and not isinstance(content, str)


def _not_found(fault: Fault, named: Value) -> Fault:
    return Fault(fault.message, named.place.where, "names are relative to the file that includes")


def _without_include(value: Value) -> Value:
    assert isinstance(value.content, Mapping)
    content = {key: item for key, item in value.content.items() if key != "include"}
    return Value(content, value.place, keys={key: where for key, where in value.keys.items() if key != "include"})
