"""``hep.merge_fields`` and ``hep.zip_join``: several streams of the same events become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Fill, Product
from fasthep_archive.operations.stream import Lowering, Named, Scope, Stream

OnConflict = Literal["keep_first", "keep_last", "error"]

_SELECTED = (
    "do it before the selection; or select with filter: none, and cut on the flags <stage>.<group> or output_field"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeFields:
    """Gives the events the fields of all streams, which must have the same events: equal cuts, or none.

    A field that means the same in two streams is no conflict; of others ``on_conflict`` says which counts. The streams
    are in the order of ``from``.
    """

    on_conflict: OnConflict

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> MergeFields:
        """Return the operation of checked parameters."""
        return cls(on_conflict=cast("OnConflict", params["on_conflict"]))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Take the fields of one stream after the other."""
        _check_events(lowering, streams, path)
        (_, merged), *others = streams.items()
        for name, stream in others:
            merged = self._merged(lowering, merged, stream, name, path)
        return merged, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None

    def _merged(
        self, lowering: Lowering, merged: Stream, stream: Stream, name: str, path: tuple[str | int, ...]
    ) -> Stream:
        """Return ``merged`` with the fields of ``stream``, the input ``name``."""
        defined = dict(merged.defined)
        for field in dict.fromkeys([*merged.defined, *stream.defined]):
            if not _has(lowering, stream, field) or _same(merged, stream, field):
                continue
            if not _has(lowering, merged, field):
                defined[field] = stream.defined[field]
            elif self.on_conflict == "error":
                self._report(lowering, merged, stream, field, name, path)
                defined[field] = None
            elif self.on_conflict == "keep_last":
                defined.pop(field, None)  # the branch of that name, if the stream has not defined it
                defined |= {field: stream.defined[field]} if field in stream.defined else {}
        branches = None
        if merged.branches is not None and stream.branches is not None:
            branches = merged.branches | stream.branches
        uncertain = merged.uncertain or stream.uncertain
        return replace(merged, defined=defined, branches=branches, uncertain=uncertain)

    def _report(
        self, lowering: Lowering, merged: Stream, stream: Stream, field: str, name: str, path: tuple[str | int, ...]
    ) -> None:
        """Report two fields of one name, unless one of them has a fault of its own."""
        if any(field in known.defined and known.defined[field] is None for known in (merged, stream)):
            return
        hint = "rename one of them, or say on_conflict: keep_first or keep_last"
        message = f"field {field!r} of input {name!r} is not that of the inputs before"
        lowering.fault(message, (*path, "on_conflict"), hint=hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipJoin:
    """Gives the events the fields of all streams as ``<prefix>.<field>``, and no others.

    :ivar prefixes: the name of each input, and the prefix of its fields. The streams must have the same events.
    """

    prefixes: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ZipJoin:
        """Return the operation of checked parameters."""
        inputs = cast("Sequence[Mapping[str, str]]", params["inputs"])
        return cls(prefixes=tuple((entry["name"], entry["prefix"]) for entry in inputs))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Make a group of names of each stream."""
        _check_events(lowering, streams, path)
        groups: dict[str, Named | None] = {}
        for number, (name, prefix) in enumerate(self.prefixes):
            if name in streams:
                groups[prefix] = fields.group(lowering, streams[name])
            else:
                hint = f"its inputs are {', '.join(streams)}: write from: [{{node: ..., as: {name}}}]"
                lowering.fault(f"stage {stage!r} has no input {name!r}", (*path, "inputs", number, "name"), hint=hint)
                groups[prefix] = None
        first = next(iter(streams.values()))
        uncertain = any(stream.uncertain for stream in streams.values())
        return replace(fields.reduced_to(first, groups, ()), uncertain=uncertain), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None


def _check_events(lowering: Lowering, streams: Mapping[str, Stream], path: tuple[str | int, ...]) -> None:
    """Report streams that a selection has left different events of."""
    (first, before), *others = streams.items()
    for name, stream in others:
        if stream.mask != before.mask and not (stream.uncertain or before.uncertain):
            message = f"inputs {first!r} and {name!r} were selected differently: they do not have the same events"
            lowering.fault(message, path, hint=_SELECTED)
            return


def _has(lowering: Lowering, stream: Stream, name: str) -> bool:
    """Say whether the stream has a field called ``name``, defined or in the file."""
    return name in stream.defined or name in lowering.offered(stream)


def _same(one: Stream, other: Stream, name: str) -> bool:
    """Say whether ``name`` stands for the same in both: equal computations are one value."""
    if (name in one.defined) != (name in other.defined):
        return False
    mine, theirs = one.defined.get(name), other.defined.get(name)
    if isinstance(mine, Scope) or isinstance(theirs, Scope):
        return mine is theirs
    return mine == theirs
