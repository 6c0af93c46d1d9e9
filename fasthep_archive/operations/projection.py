"""``hep.project_fields`` and ``hep.align_schema``: other names, types and choices of the fields that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.define import narrowed
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Named, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectFields:
    """Adds ``aliases`` (new name to field, which may be a member of a group, ``a.b``).

    Without ``include_existing`` nothing but the aliases is left. An alias never overwrites a field.
    """

    aliases: tuple[tuple[str, str], ...]
    include_existing: bool

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> ProjectFields:
        """Return the operation of checked parameters."""
        aliases = cast("Mapping[str, str]", params["aliases"])
        return cls(aliases=tuple(aliases.items()), include_existing=bool(params["include_existing"]))

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the aliases."""
        stream = only(streams)
        found: dict[str, Named | None] = {}
        for alias, name in self.aliases:
            place = (*path, "aliases", alias)
            found[alias] = fields.field(lowering, stream, name, place)
            if self.include_existing:
                fields.new(lowering, stream, alias, place)
        if not self.include_existing:
            return fields.reduced_to(stream, found, ()), None
        for alias, value in found.items():
            stream = stream.defining(alias, value)
        return stream, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A field of the schema: where it comes from, and its final cast, if any."""

    name: str
    source: str
    dtype: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignSchema:
    """Brings the fields to a schema: renamed and cast ones, and those that are kept as they are.

    All targets are made of the fields before the stage, so that two names can be swapped. ``keep`` and ``drop`` are
    names or patterns (``*``, ``?``, ``[...]``) of fields that are not targets; none of both is there with the other.

    :ivar missing_ignored: whether a target without its source is left out, which is an error otherwise.
    :ivar extra_kept: whether fields that are no targets stay, where ``keep`` does not say which.
    """

    targets: tuple[Target, ...]
    missing_ignored: bool
    extra_kept: bool
    keep: tuple[str, ...] | None
    drop: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> AlignSchema:
        """Return the operation of checked parameters."""
        schema = cast("Mapping[str, Mapping[str, Mapping[str, str]]]", params["schema"])
        keep = cast("Sequence[str] | None", params.get("keep"))
        return cls(
            targets=tuple(
                Target(name=name, source=entry["source"], dtype=entry.get("dtype"))
                for name, entry in schema["fields"].items()
            ),
            missing_ignored=params["missing"] == "ignore",
            extra_kept=params["extra"] == "keep",
            keep=None if keep is None else tuple(keep),
            drop=tuple(cast("Sequence[str]", params.get("drop") or ())),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the targets, and leave of the other fields what is to stay."""
        stream = only(streams)
        found: dict[str, Named | None] = {}
        for target in self.targets:
            if self.missing_ignored and not fields.has(lowering, stream, target.source) and not stream.uncertain:
                continue
            found[target.name] = self._value(target, lowering, stream, (*path, "schema", "fields", target.name))
        others = [name for name in fields.names(lowering, stream) if name not in found and self._stays(name)]
        kept = {name: stream.defined[name] for name in others if name in stream.defined}
        return fields.reduced_to(stream, {**kept, **found}, (name for name in others if name not in kept)), None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None

    def _stays(self, name: str) -> bool:
        """Say whether a field that is no target stays."""
        if self.keep is not None:
            return any(fnmatchcase(name, pattern) for pattern in self.keep)
        return self.extra_kept and not any(fnmatchcase(name, pattern) for pattern in self.drop)

    def _value(self, target: Target, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]) -> Named | None:
        place = (*path, "source")
        value = fields.field(lowering, stream, target.source, place)
        if value is None or target.dtype is None:
            return value
        if not isinstance(value, Value):
            lowering.fault(f"{target.source!r} is a group of names, which has no type", place, hint="name a member")
            return None
        return narrowed(lowering, stream, value, target.dtype, label=target.name)
