"""Observers ``hep.schema_snapshot`` and ``hep.branches``: the fields and the number of the events at a node.

Nothing is computed but the number of events, and no column is read for it unless a selection decides which are in.
Types are those that formulas see: narrower numbers are float64 and int64.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from fasthep_archive.data.strictjson import write_json
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, FormulaError
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Accumulator, Fill, Output, Part, Product, State, only
from fasthep_archive.operations.stream import Lowering, Named, Stream, Uncertain

_ABSENT = "absent"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaSnapshot:
    """Leaves fields, types and number of events per dataset behind, in the directory ``out`` below ``schema/``."""

    out: str | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> SchemaSnapshot:
        """Return the observer of checked parameters; ``schema``, the default of ``out``, is no directory of its own."""
        out = cast("str | None", params.get("out"))
        return cls(out=None if out == "schema" else out)

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Return the stream as it is, and what counts its events."""
        stream = only(streams)
        _check_name(lowering, self.out, (*path, "out"))
        return stream, _counting(lowering, stream)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the snapshot of the node called ``stage``: ``read.events``, ``stage.Select`` ..."""
        directory = "schema" if self.out is None else f"schema/{self.out}"
        return SnapshotProduct(node=stage, output=f"{directory}/{stage}.json", datasets=tuple(datasets), types=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Branches:
    """Leaves the names of the fields behind."""

    out: str | None

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Branches:
        """Return the observer of checked parameters."""
        return cls(out=cast("str | None", params.get("out")))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Return the stream as it is, and what counts its events."""
        stream = only(streams)
        _check_name(lowering, self.out, (*path, "out"))
        return stream, _counting(lowering, stream)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the list of the node called ``stage``."""
        output = f"schema/{self.out or f'{stage}.branches'}.json"
        return SnapshotProduct(node=stage, output=output, datasets=tuple(datasets), types=False)


def _check_name(lowering: Lowering, out: str | None, path: tuple[str | int, ...]) -> None:
    """Report a name that is none of a file or directory."""
    if out is not None and not _NAME.fullmatch(out):
        lowering.fault(f"{out!r} is no name of a file", path, hint="use letters, digits, _, . and -")


def _counting(lowering: Lowering, stream: Stream) -> Fill | None:
    """Return what counts the events of the stream; none where some of its fields can't be known."""
    if stream.uncertain or None in stream.defined.values():
        return None
    mask = stream.mask if stream.mask is not None else lowering.builder.constant(True)
    found = tuple(dict(_types(lowering, fields.group(lowering, stream))).items())
    return Fill(values=(mask,), accumulation=_Counting(fields=found))


def _types(lowering: Lowering, group: Mapping[str, Named], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a group and their types, members of groups by dotted names."""
    for name in group:
        text = lowering.text_column(name) if not prefix else None
        if text is not None:
            yield name, "string"
            continue
        try:
            value = group[name]
        except FormulaError:  # a branch of texts behind a prefix
            yield f"{prefix}{name}", "string"
        except DataError:
            yield f"{prefix}{name}", "unusable"
        except (KeyError, Uncertain):
            continue
        else:
            if isinstance(value, Mapping):
                yield from _types(lowering, value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", _type(value)


def _type(value: Value | str | bool | float) -> str:
    """Return a type as awkward writes it: ``var * ?float64``."""
    if not isinstance(value, Value):
        return {bool: "bool", int: "int64", float: "float64"}.get(type(value), "string")
    missing, listed = "?" if value.optional else "", "" if value.structure is None else "var * "
    return f"{listed}{missing}{value.dtype}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counting:
    """Counts events, and says what fields they have."""

    fields: tuple[tuple[str, str], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Return none: no texts are needed."""
        return ()

    def canonical(self) -> JSON:
        """Return the fields with their types, which are the result."""
        return {"adds": "events", "fields": [list(field) for field in self.fields]}

    def start(self, cache: Path) -> Accumulator:
        """Return an empty count."""
        return _Counter(self.fields)


class _Counter:
    def __init__(self, found: tuple[tuple[str, str], ...]):
        self._fields = found
        self._events = 0

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        self._events += int(np.count_nonzero(values[0].content))

    def state(self) -> State:
        return State(header=[list(field) for field in self._fields], arrays={"events": np.array([self._events])})


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotProduct:
    """What the events of a node have, per dataset.

    :ivar types: whether types and numbers of events are told; otherwise only the names of the fields.
    """

    node: str
    output: str
    datasets: tuple[str, ...]
    types: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the name of the one file."""
        return (self.output,)

    def canonical(self) -> JSON:
        """Return everything that the file depends on beside the counts."""
        return {"kind": "schema", "node": self.node, "datasets": list(self.datasets), "types": self.types}

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        """Return the file. Where files of a dataset differ, a field has all its types: ``float64 or int64``."""
        events = dict.fromkeys(self.datasets, 0)
        found: dict[str, list[Mapping[str, str]]] = {name: [] for name in self.datasets}
        for part in parts:
            events[part.dataset] += int(part.state.arrays["events"][0])
            kind = dict(cast("Sequence[tuple[str, str]]", part.state.header))
            if kind not in found[part.dataset]:
                found[part.dataset].append(kind)
        described = [self._described(name, events[name], found[name]) for name in self.datasets]
        content: JSON = {"schema_snapshot" if self.types else "branches": 1, "node": self.node, "datasets": described}
        return (Output(name=self.output, held=write_json(content)),)

    def _described(self, dataset: str, events: int, kinds: Sequence[Mapping[str, str]]) -> JSON:
        names = dict.fromkeys(name for kind in kinds for name in kind)
        if not self.types:
            return {"dataset": dataset, "n_fields": len(names), "fields": list(names)}
        types = {name: " or ".join(dict.fromkeys(kind.get(name, _ABSENT) for kind in kinds)) for name in names}
        return {"dataset": dataset, "entries": events, "fields": types}
