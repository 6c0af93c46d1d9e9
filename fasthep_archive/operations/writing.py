"""The sinks of events: the columns of a stream as files, one in all, per dataset, or per partition.

There is one writer, :class:`WriteColumns`; what it writes is its :class:`~fasthep_archive.data.forms.Form`: a ROOT tree
(:data:`ROOT_TREE`), :data:`PARQUET`, :data:`ARROW`, :data:`CSV` or :data:`NPZ`.

What has been computed is written as float64, int64 or bool. A branch of the input keeps its own type, also under an
alias or a name that a definition gives it; where it is wider in a later file, all are written with the wider type.
Events that cuts have taken out are not written. Lists of a TTree share the counter that they shared in the input, if it
is still what it was; other lists have counters of their own, ``nNAME``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np

from fasthep_archive.data.arrow_files import ArrowForm, ParquetForm
from fasthep_archive.data.csv_files import CsvForm
from fasthep_archive.data.forms import AS_FIRST, Branch, Form, Types, Wider, stored
from fasthep_archive.data.npz_files import NpzForm
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, writing
from fasthep_archive.files import Stretch, private_directory
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import keeping
from fasthep_archive.operations.keeping import Kept, Source
from fasthep_archive.operations.protocol import Fill, Output, Part, Product, only
from fasthep_archive.operations.stream import Lowering, Named, Stream

When: TypeAlias = Literal["partition", "dataset", "final"]
Place: TypeAlias = tuple[str, int, int]
"""A partition: its dataset, the position of its file in that, and its own position in the file."""

FOLDER = "files"
"""Where written files lie, below the outputs directory."""
_MADE = "children"
"""Where files lie while they are made, below the cache: what killed processes leave there is cleared away."""
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^\.')
"""What names of datasets can have and names of files on some system can't."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteColumns:
    """Writes columns of the stream.

    :ivar path: below :data:`FOLDER`, with the tokens ``{dataset}``, ``{part}``, ``{partition_id}`` and ``{node_id}``.
    :ivar keep: names of columns in the order in which they are written; none: all definitions so far, and all branches
        that anything is computed from.
    """

    path: str
    when: When
    keep: tuple[str, ...] | None
    form: Form

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Return the stream as it is, and what keeps its columns; none after a fault."""
        stream = only(streams)
        if self.keep is None and (stream.uncertain or None in stream.defined.values()):
            return stream, None
        listed = self._listed(lowering, stream, path)
        found = [keeping.sources(lowering, stream, name, place) for name, place in listed]
        if not found:
            lowering.fault("there is no column to write", path, hint="list columns: keep: [...]")
        if not found or None in found:
            return stream, None
        columns = {source.name: source for source in chain.from_iterable(item or () for item in found)}
        rows = keeping.has_rows(stream)
        unfit = self.form.unfit([_planned(source, rows=rows) for source in columns.values()])
        if unfit is not None:
            lowering.fault(unfit.message, path, hint=unfit.hint)
            return stream, None
        return stream, keeping.kept(lowering, stream, tuple(columns.values()), path)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the files of the writer called ``stage``; those of partitions are known once it has been placed."""
        return WrittenFiles(node=stage, writer=self, datasets=tuple(datasets))

    def _listed(
        self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]
    ) -> list[tuple[str, tuple[str | int, ...]]]:
        """Return the names of the columns, and where in the document they stand."""
        if self.keep is not None:
            return [(name, (*path, "keep", number)) for number, name in enumerate(self.keep)]
        used = [name for name in lowering.used() if name in lowering.offered(stream) and name not in stream.defined]
        values = [value for named in stream.defined.values() for value in _values(named)]
        values += [] if stream.mask is None else [stream.mask]
        columns = lowering.builder.read(lowering.builder.program(values).columns) if values else ()
        read = dict.fromkeys([*columns, *used])
        branches = [name for name in lowering.offered(stream) if name in read and name not in stream.defined]
        return [(name, path) for name in (*branches, *stream.defined)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sink:
    """A kind of writer: how its form is read from checked parameters."""

    form: Callable[[Mapping[str, JSON]], Form]

    def read(self, params: Mapping[str, JSON]) -> WriteColumns:
        """Return the writer of checked parameters."""
        keep = cast("Sequence[str] | None", params.get("keep"))
        return WriteColumns(
            path=str(params["path"]),
            when=cast("When", params["when"]),
            keep=None if keep is None else tuple(keep),
            form=self.form(params),
        )


ARROW = Sink(form=ArrowForm.read)
CSV = Sink(form=CsvForm.read)
NPZ = Sink(form=NpzForm.read)
PARQUET = Sink(form=ParquetForm.read)
ROOT_TREE = Sink(form=TreeForm.read)


def _planned(source: Source, *, rows: bool) -> Branch:
    """Return what is known of a column while planning; where lists became rows, it has no lists any more."""
    value = source.value
    return Branch(
        name=source.name,
        text=value is None,
        optional=value is not None and value.optional,
        lists=value is not None and value.structure is not None and not rows,
    )


def _values(named: Named | None) -> Iterator[Value]:
    """Yield the values of a name, which may be a group."""
    if isinstance(named, Value):
        yield named
    elif isinstance(named, Mapping):
        for member in named.values():
            yield from _values(member)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """What a file can hold beyond what its first part has: wider types, and columns whose values can be missing."""

    types: Types = field(default_factory=lambda: AS_FIRST)
    optional: frozenset[str] = frozenset()

    def kept(self, columns: Sequence[Kept]) -> tuple[Kept, ...]:
        """Return the columns of a part as the file has them."""
        return tuple(replace(column, optional=column.optional or column.name in self.optional) for column in columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFiles:
    """The files that a writer leaves.

    :ivar places: of the partitions, in plan order; needed where the names depend on them.
    """

    node: str
    writer: WriteColumns
    datasets: tuple[str, ...]
    stream: str = ""
    places: tuple[Place, ...] = ()

    def placed(self, stream: str, places: Sequence[Place]) -> WrittenFiles:
        """Return the files for these partitions of ``stream``.

        :raises DataError: if partitions of two datasets would be written to one file.
        """
        if self.writer.when != "partition":
            return self
        files = replace(self, stream=stream, places=tuple(places))
        owners: dict[str, str] = {}
        for place in places:
            name = files._name(place)
            if owners.setdefault(name, place[0]) != place[0]:
                message = f"{self.node} would write datasets {owners[name]!r} and {place[0]!r} to one file, {name}"
                raise DataError(message, hint="write {dataset} in the path")
        return files

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files."""
        return tuple(dict.fromkeys(map(self._name, self._places())))

    def canonical(self) -> JSON:
        return {
            "kind": "columns",
            "files": list(self.outputs),
            "places": [list(place) for place in self.places],
            "form": self.writer.form.canonical(),
            "columns": None if self.writer.keep is None else list(self.writer.keep),
        }

    def merge(self, parts: Iterable[Part], cache: Path) -> Iterator[Output]:
        """Yield the files one by one; those of datasets without any partition have the columns, and no events.

        Parts are gone through again, to find the types that hold all of their values, if a later one is of a wider
        type; an iterator can't be, and then this raises :class:`~fasthep_archive.data.forms.Wider`.
        """
        left = list(self.outputs)
        try:
            yield from self._files(parts, {}, left, cache)
        except Wider:
            if iter(parts) is parts:
                raise
            yield from self._files(parts, self._holding(parts), left, cache)
        yield from self._empties(left, cache)

    def _files(
        self, parts: Iterable[Part], held: Mapping[str, _Held], left: list[str], cache: Path
    ) -> Iterator[Output]:
        """Yield the files of these parts that are left, in their order, and take them away from those."""
        for name, group in self._grouped(parts):
            if name in left:
                yield from self._empties(left, cache, before=name)
                yield from self._file(name, cache, partial(self._write, name, group, held.get(name, _Held())))
                left.remove(name)

    def _empties(self, left: list[str], cache: Path, before: str | None = None) -> Iterator[Output]:
        """Yield the files without events, those that come before another one or all that are left."""
        while left and left[0] != before:
            yield from self._file(left[0], cache, partial(self._empty, left[0]))
            del left[0]

    def _file(self, name: str, cache: Path, write: Callable[[BinaryIO], None]) -> Iterator[Output]:
        """Yield a file that lies below ``cache`` meanwhile."""
        with writing(cache):
            folder = private_directory(cache / _MADE)
        with NamedTemporaryFile(dir=folder, prefix="file-") as target:
            write(cast("BinaryIO", target))
            target.flush()
            yield Output(name=name, held=Stretch.whole(Path(target.name)))

    def _grouped(self, parts: Iterable[Part]) -> Iterator[tuple[str, Iterator[Part]]]:
        """Yield the names of the files, and the parts of each."""
        return groupby(parts, lambda part: self._name((part.dataset, part.file, part.number)))

    def _holding(self, parts: Iterable[Part]) -> Mapping[str, _Held]:
        """Return what holds the values of all parts of each file."""
        found: dict[str, _Held] = {}
        for name, group in self._grouped(parts):
            types: dict[str, np.dtype[Any]] = {}
            optional: set[str] = set()
            for part in group:
                optional.update(column.name for column in keeping.described(part.state) if column.optional)
                for column, values in keeping.columns(part.state).items():
                    kind = stored(values.content.dtype)
                    types[column] = np.promote_types(types.get(column, kind), kind)  # which forms refuse if it rounds
            found[name] = _Held(types=types, optional=frozenset(optional))
        return found

    def _places(self) -> Iterable[Place]:
        """Return a partition of each file."""
        if self.writer.when == "partition":
            return self.places
        return [(dataset, 0, 0) for dataset in (self.datasets if self.writer.when == "dataset" else ("",))]

    def _name(self, place: Place) -> str:
        """Return the name of the file that a partition is written to."""
        dataset, part = _UNFIT.sub("_", place[0]), f"{place[1]}_{place[2]}"
        tokens = {
            "dataset": dataset,
            "part": part,
            "partition_id": f"{self.stream}__{dataset}__{part}",
            "node_id": self.node,
        }
        path = PurePosixPath(self.writer.path)
        path = path if path.suffix else path.with_name(f"{path.name}{self.writer.form.suffix}")
        tokenless = not any(f"{{{token}}}" in self.writer.path for token in ("dataset", "part", "partition_id"))
        if tokenless and self.writer.when != "final":
            below = f"{dataset}{path.suffix}" if self.writer.when == "dataset" else f"{dataset}/{part}{path.suffix}"
            path = path.with_suffix("") / below
        name = str(path)
        for token, value in tokens.items():
            name = name.replace(f"{{{token}}}", value)
        return f"{FOLDER}/{name}"

    def _write(self, name: str, parts: Iterator[Part], held: _Held, target: BinaryIO) -> None:
        """Write the file with the columns of ``parts``, one of which is in memory at a time."""
        first = next(parts)
        dataset, kept, waiting = first.dataset, held.kept(keeping.described(first.state)), [first]
        del first

        def columns() -> Iterator[Mapping[str, Column]]:
            for part in chain(_popped(waiting), parts):
                found = keeping.described(part.state)
                if held.kept(found) != kept:
                    raise _unlike(name, dataset, kept, part.dataset, found)
                yield keeping.columns(part.state)

        self.writer.form.write(target, _branches(self.writer.form, kept), columns(), held.types)

    def _empty(self, name: str, target: BinaryIO) -> None:
        if self.writer.keep is None:
            hint = "list them: keep: [...]"
            raise DataError(f"no file has events, so nothing says what columns {name} has", hint=hint)
        branches = [Branch(name=column) for column in self.writer.keep]
        self.writer.form.write(target, branches, [{column: Column(np.zeros(0)) for column in self.writer.keep}])


def _popped(parts: list[Part]) -> Iterator[Part]:
    """Yield what is in a list, and let go of it."""
    while parts:
        yield parts.pop(0)


def _branches(form: Form, kept: Sequence[Kept]) -> list[Branch]:
    """Return how the columns are written. A branch that counts lists is written with these, not for itself."""
    names = {column.name for column in kept}
    counters: dict[str, str] = {}
    for column in kept:
        if column.lists is not None:
            counters[column.name] = column.counter or _free(f"n{column.name}", names)
    counting = set(counters.values()) if isinstance(form, TreeForm) and form.format == "ttree" else set()
    return [
        Branch(
            name=column.name,
            text=column.text,
            optional=column.optional,
            lists=column.lists is not None,
            counter=counters.get(column.name, ""),
        )
        for column in kept
        if column.name not in counting
    ]


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"n{name}", taken)


def _unlike(name: str, one: str, columns: Sequence[Kept], other: str, others: Sequence[Kept]) -> DataError:
    """Return what keeps the events of two parts, of these datasets, out of one file."""
    mine, theirs = ({column.name: column for column in found} for found in (columns, others))
    apart = f"{name} can't hold events of both {one} and {other}"
    for column in {**mine, **theirs}:
        if column not in mine or column not in theirs:
            only = one if column in mine else other
            return DataError(f"{apart}: only {only} has a column {column!r}, so list columns with keep")
        if replace(mine[column], optional=theirs[column].optional) != theirs[column]:
            return DataError(f"{apart}: their columns {column!r} differ in type")
        if mine[column] != theirs[column]:
            return Wider(column, "always there", "missing for some events")
    return DataError(f"{apart}: their columns are in different orders")
