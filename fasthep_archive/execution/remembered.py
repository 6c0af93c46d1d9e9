"""What files of events were found to hold: entries, clusters and the types of columns that a plan has asked for.

Opening a file takes the library that reads it (0.3 s to import for ROOT) and its metadata (0.25 s for a NanoAOD tree).
A run whose results are all there needs neither: what a plan asked for is kept by the file's digest, as far as that is
known without reading the file (:mod:`fasthep_archive.execution.inputs`), and the file is opened when more is asked for.
Of kinds of sources that are not ours nothing is kept: who knows when a plug-in sees other things in a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, cast

from fasthep_archive import registry
from fasthep_archive.data.source import EventSource, Partners, Read, open_events, partners, remarks, settled
from fasthep_archive.digest import JSON, Digest, canonical, of_json
from fasthep_archive.execution.inputs import State, remembered_digest, state_of
from fasthep_archive.execution.keys import read_text
from fasthep_archive.files import private_directory, write_atomically
from fasthep_archive.formula.columns import ColumnType, DType, Structure

FOLDER = "looks"
"""Where it is kept, below the cache."""

Reads: TypeAlias = tuple[Read, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Learned:
    """What a look at a file has shown, with those beside it, and what they looked like from outside."""

    paths: tuple[Path, ...]
    reads: Reads
    states: tuple[State, ...]
    facts: Facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a file holds, read in one way.

    :ivar names: of all columns, in the order of the file. :ivar types: of those that were asked for.
    :ivar settled: how it is opened when that is known; see :func:`fasthep_archive.data.source.settled`.
    :ivar remarks: what of it is worth a warning; see :func:`fasthep_archive.data.source.remarks`.
    :ivar partners: see :func:`fasthep_archive.data.source.partners`.
    """

    entries: int
    clusters: tuple[int, ...]
    names: tuple[str, ...]
    types: Mapping[str, ColumnType]
    settled: Reads
    remarks: tuple[str, ...] = ()
    partners: Mapping[str, Partners] = field(default_factory=dict)

    def to_json(self) -> JSON:
        """Return the facts in the form that is kept."""
        return cast("JSON", asdict(self))

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Facts:
        """Return what :meth:`to_json` gave.

        :raises Exception: KeyError, TypeError or ValueError if it is something else.
        """
        types = cast("Mapping[str, Mapping[str, JSON]]", value["types"])
        return cls(
            entries=int(cast("int", value["entries"])),
            clusters=tuple(cast("list[int]", value["clusters"])),
            names=tuple(cast("list[str]", value["names"])),
            types={name: _type(found) for name, found in types.items()},
            settled=tuple(map(_read, cast("list[Mapping[str, JSON]]", value["settled"]))),
            remarks=tuple(map(str, cast("list[str]", value["remarks"]))),
            partners={name: Partners(*found) for name, found in _pairs(value["partners"]).items()},
        )


def _pairs(value: JSON) -> Mapping[str, tuple[int, int]]:
    return cast("Mapping[str, tuple[int, int]]", value)


def _read(value: Mapping[str, JSON]) -> Read:
    return Read(
        kind=str(value["kind"]),
        tree=str(value["tree"]),
        prefix=str(value["prefix"]),
        on=tuple(map(str, cast("list[str]", value["on"]))),
        on_mismatch=str(value["on_mismatch"]),
        place=int(cast("int", value["place"])),
        spread=bool(value["spread"]),
        options=cast("Mapping[str, JSON]", value["options"]),
        index=tuple(cast("list[int]", value["index"])),
    )


def _type(value: Mapping[str, JSON]) -> ColumnType:
    structure = cast("Mapping[str, JSON] | None", value["structure"])
    found = None if structure is None else Structure(str(structure["name"]), counted=bool(structure["counted"]))
    return ColumnType(cast("DType", value["dtype"]), found, bool(value["optional"]))


@dataclass(kw_only=True, slots=True)
class Memory:
    """What is remembered below ``cache`` by this ``version`` of the tool; with ``trusted`` false, nothing is."""

    cache: Path
    version: str
    trusted: bool
    _learned: list[_Learned] = field(default_factory=list)

    def look(self, path: Path, reads: Reads, beside: Sequence[Path] = ()) -> Look:
        """Return what can be asked about the events of a file, with those beside it; a context manager.

        :raises DataError: when it is entered, if the files have to be opened, and can't be read so.
        """
        ours = self.trusted and all(registry.is_ours("sources", read.kind) for read in reads)
        paths = (path, *beside)
        known = [remembered_digest(path, cache=self.cache) for path in paths] if ours else [None]
        digests = [sha256 for sha256 in known if sha256 is not None]
        facts = self._kept(digests, reads) if len(digests) == len(known) else None
        return Look(paths, reads, facts, self._learned if ours else [])

    def keep(self, digests: Mapping[Path, Digest]) -> None:
        """Keep what was learned of files whose digests are known now."""
        for learned in self._learned:
            found = [digests.get(path) for path in learned.paths]
            known = [sha256 for sha256 in found if sha256]
            states = tuple(map(state_of, learned.paths))
            if len(known) == len(found) and states == learned.states:  # else it may have been another file
                place = self._place(known, learned.reads)
                write_atomically(place, canonical(learned.facts.to_json()).encode())
        self._learned.clear()

    def _kept(self, digests: Sequence[Digest], reads: Reads) -> Facts | None:
        try:
            return Facts.from_json(json.loads(self._place(digests, reads).read_bytes()))
        except (OSError, KeyError, TypeError, ValueError):  # not there, or not whole: it is made again
            return None

    def _place(self, digests: Sequence[Digest], reads: Reads) -> Path:
        key = of_json({"files": list(digests), "reads": [read_text(read) for read in reads], "version": self.version})
        return private_directory(self.cache / FOLDER) / key


class Look(AbstractContextManager["Look"]):
    """The part of an :class:`~fasthep_archive.data.source.EventSource` that a plan needs."""

    def __init__(self, paths: tuple[Path, ...], reads: Reads, facts: Facts | None, learned: list[_Learned]) -> None:
        self._paths = paths
        self._reads = reads
        self._facts = facts
        self._learned = learned
        self._asked = _Asked(self, {} if facts is None else facts.types)
        self._open = ExitStack()
        self._events: EventSource | None = None
        self._states: tuple[State, ...] = ()

    def __enter__(self) -> Self:
        if self._facts is None:
            self.events()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._states and error is None:
            types = dict(self._asked.known)
            facts = Facts(
                entries=self.entries,
                clusters=self.clusters(),
                names=self.names(),
                types=types,
                settled=self.settled(),
                remarks=self.remarks(),
                partners=self.partners(),
            )
            self._learned.append(_Learned(paths=self._paths, reads=self._reads, states=self._states, facts=facts))
        self._open.close()

    def events(self) -> EventSource:
        """Return the events themselves, from the files."""
        if self._events is None:
            self._states = tuple(map(state_of, self._paths))
            self._events = self._open.enter_context(open_events(self._paths[0], self._reads, self._paths[1:]))
        return self._events

    @property
    def entries(self) -> int:
        """Number of events, counted in the file."""
        return self._facts.entries if self._facts is not None else self.events().entries

    def clusters(self) -> tuple[int, ...]:
        """Return the entries where reading can start and stop."""
        return self._facts.clusters if self._facts is not None else self.events().clusters()

    def names(self) -> tuple[str, ...]:
        """Return the names of all columns."""
        return self._facts.names if self._facts is not None else tuple(self.events().types())

    def settled(self) -> Reads:
        """Return what is read of the file, with what was found out about it."""
        return self._facts.settled if self._facts is not None else settled(self.events(), self._reads)

    def remarks(self) -> tuple[str, ...]:
        """Return what of the file is worth a warning."""
        return self._facts.remarks if self._facts is not None else remarks(self.events())

    def partners(self) -> Mapping[str, Partners]:
        """Return how many events were found of sources that other files need too, by prefix."""
        return self._facts.partners if self._facts is not None else partners(self.events())

    def types(self) -> Mapping[str, ColumnType]:
        """Return the columns' types by name, as those of an event source."""
        return self._asked


class _Asked(Mapping[str, ColumnType]):
    """Types of columns; notes what is asked for, and asks the file for what is not known.

    :ivar known: types that were asked for, now or before.
    """

    def __init__(self, look: Look, known: Mapping[str, ColumnType]) -> None:
        self._look = look
        self._names: frozenset[str] | None = None
        self.known = dict(known)

    def __getitem__(self, name: str) -> ColumnType:
        if name not in self.known:
            self.known[name] = self._look.events().types()[name]
        return self.known[name]

    def __contains__(self, name: object) -> bool:
        if self._names is None:
            self._names = frozenset(self._look.names())
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._look.names())

    def __len__(self) -> int:
        return len(self._look.names())
