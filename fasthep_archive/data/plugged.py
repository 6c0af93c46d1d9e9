"""Sources of plug-ins: a class whose method ``read`` returns the events of a file becomes a source of events.

::

    class Lines:
        def read(self, path, options):
            return awkward.Array({"x": [float(line) for line in path.open()]})

Its fields, if it is a dataclass, are the options that documents can give. What it returns is held in memory: a plug-in
for files that are larger than that provides a function like those of :data:`fasthep_archive.data.source.Opener`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from fasthep_archive.data.layouts import LazyTypes, column_of, sharing_offsets, type_of
from fasthep_archive.data.source import PROVIDER, EventSource, Opener, Read
from fasthep_archive.digest import JSON
from fasthep_archive.errors import ArchiveError, DataError
from fasthep_archive.formula.columns import Column, ColumnType
from fasthep_archive.registry import Provided

if TYPE_CHECKING:
    import awkward as ak

_WHOSE = "this is code of a plug-in: fasthep-archive plugins says whose"


class SourcePlugin(Protocol):
    """What the entry point of a source names, if it names a class."""

    def read(self, path: Path, options: Mapping[str, JSON]) -> object:
        """Return the events of a file: an awkward array of records, or a mapping of arrays of equal lengths."""


def opener(plugin: object, provided: Provided) -> Opener:
    """Return how the class or function ``plugin`` opens files as events.

    It refuses to read for a plan that was made with another version of it: results would be kept as if of that one.
    """

    def opened(path: Path, read: Read) -> AbstractContextManager[EventSource]:
        if read.options.get(PROVIDER, provided.identity) != provided.identity:
            whose = f"source {provided.name!r} of {provided.provider}"
            hint = "install the same on all machines, and start again"
            raise DataError(f"{whose} is not what it was when the run was planned", hint=hint)
        if not isinstance(plugin, type):
            return cast("Opener", plugin)(path, read)
        options = {key: value for key, value in read.options.items() if key != PROVIDER}
        return nullcontext(PluggedSource(plugin, path, options, read.kind))

    return opened


class PluggedSource:
    """The events that a plug-in reads of a file; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, plugin: type, path: Path, options: Mapping[str, JSON], kind: str) -> None:
        """Read the file.

        :raises DataError: if the plug-in fails, or returns anything but events.
        """
        self._where = f"{path} ({kind})"
        known = {item.name for item in fields(plugin)} if is_dataclass(plugin) else set()
        try:
            reader = cast("SourcePlugin", plugin(**{key: value for key, value in options.items() if key in known}))
            self._events = _records(reader.read(path, options), path, kind)
        except ArchiveError:
            raise
        except Exception as error:
            message = f"source {kind!r} can't read {path}: {type(error).__name__}: {error}"
            raise DataError(message, hint=_WHOSE) from error
        self._types = LazyTypes(dict.fromkeys(self._events.fields), self._type, str(path))

    @property
    def entries(self) -> int:
        return len(self._events)

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return 0 and the number of events: all are in memory."""
        return tuple(sorted({0, self.entries}))

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        import awkward as ak

        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        part = self._events[start:stop]
        found = {name: column_of(ak.to_packed(part[name]).layout, name) for name in names}
        return sharing_offsets(found, types)

    def _type(self, name: str) -> ColumnType:
        return type_of(self._events[name].layout.form, name)


def _records(found: object, path: Path, kind: str) -> ak.Array:
    """Return what a plug-in has read as an array of records, in memory and in order."""
    import awkward as ak

    array = _zipped(found, path, kind) if isinstance(found, Mapping) else found
    if not isinstance(array, ak.Array) or not ak.fields(array):
        hint = "read returns an awkward array of records, or a mapping of arrays"
        raise DataError(f"source {kind!r} returned {type(found).__name__}, and no events", hint=hint)
    return ak.to_packed(array)


def _zipped(found: Mapping[str, object], path: Path, kind: str) -> ak.Array:
    """Return arrays as one of records; raise if their lengths differ, which awkward would repeat single values for."""
    import awkward as ak

    arrays = {
        name: _zipped(values, path, kind) if isinstance(values, Mapping) else ak.Array(values)
        for name, values in found.items()
    }
    lengths: dict[int, str] = {}
    for name, array in arrays.items():
        lengths.setdefault(len(array), name)
    if len(lengths) > 1:
        (first, one), (second, other) = list(lengths.items())[:2]
        message = f"source {kind!r} gives {one!r} of {path} {first} events and {other!r} {second}"
        raise DataError(message, hint=f"read returns arrays of equal lengths; {_WHOSE}")
    return ak.zip(arrays, depth_limit=1) if arrays else None
