"""The fields of a stream: what stages have defined and what the file offers, by name.

Constants (globals, ``dataset_name`` ...) are no fields: formulas see them, but no stage renames, drops or merges them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fasthep_archive.errors import DataError, FormulaError, nearest
from fasthep_archive.operations.stream import Lowering, Named, Scope, Stream, Uncertain

Path = tuple[str | int, ...]


def names(lowering: Lowering, stream: Stream) -> Iterator[str]:
    """Yield the names of the fields, definitions first; members of groups are not fields by themselves."""
    yield from dict.fromkeys([*stream.defined, *lowering.offered(stream)])


def has(lowering: Lowering, stream: Stream, name: str) -> bool:
    """Say whether there is a field, or a member of a group, called ``name``."""
    return name in stream.defined or name in lowering.offered(stream) or _group_of(stream.defined, name) is not None


def field(lowering: Lowering, stream: Stream, name: str, path: Path) -> Named | None:
    """Return what the field ``name`` stands for, or none after reporting at ``path`` that there is none.

    A branch of texts is no value, and is reported as such.
    """
    if not has(lowering, stream, name):
        if not stream.uncertain and None not in (stream.defined.get(head, name) for head in _heads(name)):
            hint = nearest(name, names(lowering, stream)) or "define it in a stage before this one"
            lowering.fault(f"the events have no field {name!r}", path, hint=hint)
        return None
    scope = lowering.scope(stream)
    try:
        if name in scope:
            return scope[name]
        holder = _group_of(scope, name)
        return None if holder is None else holder[name.rpartition(".")[2]]
    except Uncertain:
        return None
    except (DataError, FormulaError) as error:
        lowering.fault(error.message, path, hint=error.hint)
        return None


def new(lowering: Lowering, stream: Stream, name: str, path: Path) -> bool:
    """Say whether ``name`` is free for a new field; report at ``path`` that it would overwrite one."""
    if not has(lowering, stream, name):
        return True
    lowering.fault(f"{name!r} would overwrite a field that the events already have", path, hint="choose another name")
    return False


def group(lowering: Lowering, stream: Stream) -> Mapping[str, Named]:
    """Return all fields as a group of names; a branch becomes an input of the program by being named."""
    return Scope(stream, {}, lowering.column, lowering.offered(stream), lowering.shift.replace)


def reduced_to(stream: Stream, defined: Mapping[str, Named | None], branches: Iterable[str]) -> Stream:
    """Return the stream with these fields only: definitions, and branches under their own names."""
    return replace(stream, defined=dict(defined), branches=frozenset(branches))


def _heads(name: str) -> list[str]:
    """Return what a dotted name can be a member of, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:size]) for size in range(len(parts) - 1, 0, -1)]


def _group_of(names: Mapping[str, Named | None], name: str) -> Mapping[str, Named] | None:
    """Return the group that a dotted ``name`` is the last part of a member of, or none."""
    for head in _heads(name):
        found = names.get(head)
        *between, last = name.removeprefix(f"{head}.").split(".")
        for part in between:
            found = found.get(part) if isinstance(found, Mapping) and part in found else None
        if isinstance(found, Mapping) and last in found:
            return found
    return None
