"""The sink ``root_tree``: the columns of a stream as ROOT files, one in all, per dataset, or per partition.

What has been computed is written as float64, int64 or bool. A branch of the input keeps its own type, also under an
alias or a name that a definition gives it. Events that cuts have taken out are not written. Lists of a TTree share the
counter that they shared in the input, if it is still what it was; other lists have counters of their own, ``nNAME``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, cast

import numpy as np

from fasthep_archive.data.trees import Branch, Compression, Format, TreeForm, fits, write_tree
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import keeping
from fasthep_archive.operations.keeping import Kept
from fasthep_archive.operations.protocol import Fill, Output, Part, Product, only
from fasthep_archive.operations.stream import Lowering, Named, Stream

When: TypeAlias = Literal["partition", "dataset", "final"]
Place: TypeAlias = tuple[str, int, int]
"""A partition: its dataset, the position of its file in that, and its own position in the file."""

FOLDER = "files"
"""Where written files lie, below the outputs directory."""
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^\.')
"""What names of datasets can have and names of files on some system can't."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteTree:
    """Writes columns of the stream.

    :ivar path: below :data:`FOLDER`, with the tokens ``{dataset}``, ``{part}``, ``{partition_id}`` and ``{node_id}``.
    :ivar keep: names of columns in the order in which they are written; none: all definitions so far, and all branches
        that anything is computed from.
    """

    path: str
    when: When
    keep: tuple[str, ...] | None
    form: TreeForm

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> WriteTree:
        """Return the sink of checked parameters."""
        keep = cast("Sequence[str] | None", params.get("keep"))
        return cls(
            path=str(params["path"]),
            when=cast("When", params["when"]),
            keep=None if keep is None else tuple(keep),
            form=TreeForm(
                tree=str(params["tree"]),
                format=cast("Format", params["format"]),
                compression=cast("Compression", params["compression"]),
                level=int(cast("int", params["compression_level"])),
            ),
        )

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
        unfit = next((name for name in columns if not fits(name)), None)
        if unfit is not None:
            hint = "keep it under another name: define one without / and control characters"
            lowering.fault(f"{unfit!r} can't be the name of a branch", path, hint=hint)
            return stream, None
        optional = [source.name for source in columns.values() if source.value is not None and source.value.optional]
        if optional and self.form.format == "ttree":
            hint = f"say what stands for a missing value, fill_none({optional[0]}, ...), or write format: rntuple"
            lowering.fault(f"a TTree can't hold {optional[0]!r}, whose values can be missing", path, hint=hint)
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
        read = dict.fromkeys([*lowering.builder.program(values).columns, *used]) if values else dict.fromkeys(used)
        branches = [name for name in lowering.offered(stream) if name in read and name not in stream.defined]
        return [(name, path) for name in (*branches, *stream.defined)]


def _values(named: Named | None) -> Iterator[Value]:
    """Yield the values of a name, which may be a group."""
    if isinstance(named, Value):
        yield named
    elif isinstance(named, Mapping):
        for member in named.values():
            yield from _values(member)


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFiles:
    """The files that a writer leaves.

    :ivar places: of the partitions, in plan order; needed where the names depend on them.
    """

    node: str
    writer: WriteTree
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
        form = self.writer.form
        return {
            "kind": "columns",
            "files": list(self.outputs),
            "places": [list(place) for place in self.places],
            "form": [form.tree, form.format, form.compression, form.level],
            "columns": None if self.writer.keep is None else list(self.writer.keep),
        }

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        """Return the files; those of datasets without any partition have the columns, and no events."""
        found = {
            name: self._written(name, group)
            for name, group in groupby(parts, lambda part: self._name((part.dataset, part.file, part.number)))
        }
        return tuple(Output(name=name, content=found.get(name) or self._empty(name)) for name in self.outputs)

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
        path = path if path.suffix else path.with_name(f"{path.name}.root")
        tokenless = not any(f"{{{token}}}" in self.writer.path for token in ("dataset", "part", "partition_id"))
        if tokenless and self.writer.when != "final":
            below = f"{dataset}{path.suffix}" if self.writer.when == "dataset" else f"{dataset}/{part}{path.suffix}"
            path = path.with_suffix("") / below
        name = str(path)
        for token, value in tokens.items():
            name = name.replace(f"{{{token}}}", value)
        return f"{FOLDER}/{name}"

    def _written(self, name: str, parts: Iterator[Part]) -> bytes:
        """Return the file with the columns of ``parts``."""
        first = next(parts)
        kept = keeping.described(first.state)
        branches = _branches(self.writer.form, kept)

        def columns() -> Iterator[Mapping[str, Column]]:
            for part in chain([first], parts):
                if keeping.described(part.state) != kept:
                    raise DataError(_unlike(name, first.dataset, kept, part.dataset, keeping.described(part.state)))
                yield keeping.columns(part.state)

        return write_tree(self.writer.form, branches, columns())

    def _empty(self, name: str) -> bytes:
        if self.writer.keep is None:
            hint = "list them: keep: [...]"
            raise DataError(f"no file has events, so nothing says what columns {name} has", hint=hint)
        branches = [Branch(name=column) for column in self.writer.keep]
        return write_tree(self.writer.form, branches, [{column: Column(np.zeros(0)) for column in self.writer.keep}])


def _branches(form: TreeForm, kept: Sequence[Kept]) -> list[Branch]:
    """Return how the columns are written. A branch that counts lists is written with these, not for itself."""
    names = {column.name for column in kept}
    counters: dict[str, str] = {}
    for column in kept:
        if column.lists is not None:
            counters[column.name] = column.counter or _free(f"n{column.name}", names)
    counting = set(counters.values()) if form.format == "ttree" else set()
    return [
        Branch(
            name=column.name,
            text=column.text,
            optional=column.optional,
            counter=counters.get(column.name, ""),
        )
        for column in kept
        if column.name not in counting
    ]


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"n{name}", taken)


def _unlike(name: str, one: str, columns: Sequence[Kept], other: str, others: Sequence[Kept]) -> str:
    """Return what keeps the events of two datasets out of one file."""
    mine, theirs = ({column.name: column for column in found} for found in (columns, others))
    apart = f"{name} can't hold events of both {one} and {other}"
    for column in {**mine, **theirs}:
        if column not in mine or column not in theirs:
            return (
                f"{apart}: only {one if column in mine else other} has a column {column!r}, so list columns with keep"
            )
        if mine[column] != theirs[column]:
            return f"{apart}: their columns {column!r} differ in type"
    return f"{apart}: their columns are in different orders"
