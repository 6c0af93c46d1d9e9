"""Columns that are kept: found among the names of a stream, collected in a pass, stored in the state of a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, FormulaError
from fasthep_archive.formula.columns import Array, Column, Structure, concatenated, selected, starts
from fasthep_archive.kernels.program import Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Accumulator, Fill, State
from fasthep_archive.operations.stream import Lowering, Named, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a column comes from: a value of the program, or a branch as it is in the file, or both (the same).

    :ivar value: none for branches of texts.
    """

    name: str
    value: Value | None
    branch: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A column that is kept.

    :ivar lists: number of the list structure, which several can share; none for one value per event.
    :ivar counter: the branch that counted the values of these lists in the input; empty if there is none.
    """

    name: str
    text: bool = False
    optional: bool = False
    lists: int | None = None
    counter: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeping:
    """Keeps columns of the events that are selected.

    :ivar branches: of each column, the branch that it is taken from; none: the next of the fill's values.
    :ivar masked: whether the first of the fill's values says which events are kept.
    :ivar rows: whether that has a list per event, and each of its values becomes a row.
    """

    columns: tuple[Kept, ...]
    branches: tuple[str | None, ...]
    masked: bool
    rows: bool

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(branch for branch in self.branches if branch is not None))

    def canonical(self) -> JSON:
        return {
            "keeps": "columns",
            "columns": [asdict(column) for column in self.columns],
            "branches": list(self.branches),
            "masked": self.masked,
            "rows": self.rows,
        }

    def start(self, cache: Path) -> Accumulator:
        return _Keeper(self)


def sources(lowering: Lowering, stream: Stream, name: str, path: tuple[str | int, ...]) -> tuple[Source, ...] | None:
    """Return the column called ``name``, or those of the group; none after reporting that there is none."""
    if name not in stream.defined and name in lowering.offered(stream):
        branch = lowering.text_column(lowering.scope(stream).meant(name))
        if branch is not None:
            return (Source(name=name, value=None, branch=branch),)
    try:
        found = fields.field(lowering, stream, name, path)
    except FormulaError as error:
        lowering.fault(error.message, path, hint=error.hint)
        return None
    return None if found is None else tuple(_of(lowering, name, found, rows=has_rows(stream)))


def has_rows(stream: Stream) -> bool:
    """Say whether rows are kept or dropped one by one, of which an event has any number."""
    return stream.mask is not None and stream.mask.structure is not None


def _of(lowering: Lowering, name: str, found: Named, *, rows: bool) -> Iterator[Source]:
    """Yield the columns of a value or of a group; texts that are the same for all events are no columns."""
    if isinstance(found, Value):
        program = lowering.builder.program((found,))
        made = program.instructions[program.outputs[0].content]
        if rows and made.operation == "broadcast":  # what a row has of its event
            made = program.instructions[made.arguments[0]]
        yield Source(name=name, value=found, branch=made.detail if made.operation == "column" else None)
    elif isinstance(found, Mapping):
        for member, inner in found.items():
            yield from _of(lowering, f"{name}.{member}", inner, rows=rows)


def kept(lowering: Lowering, stream: Stream, columns: Sequence[Source], path: tuple[str | int, ...]) -> Fill | None:
    """Return what keeps ``columns`` of the events that are still in; none after a fault."""
    mask, rows = stream.mask, has_rows(stream)
    values = [column.value for column in columns if column.branch is None and column.value is not None]
    masked = mask is not None or not values  # a program needs a result
    results = values if not masked else [mask if mask is not None else lowering.builder.constant(True), *values]
    if rows:
        try:
            results = list(lowering.builder.aligned(results))
        except FormulaError as error:
            lowering.fault(error.message, path, hint=error.hint)
            return None
    keeping = Keeping(
        columns=_described(lowering, columns, flat=rows),
        branches=tuple(column.branch for column in columns),
        masked=masked,
        rows=rows,
    )
    return Fill(values=tuple(results), accumulation=keeping)


def _described(lowering: Lowering, columns: Sequence[Source], *, flat: bool) -> tuple[Kept, ...]:
    numbers: dict[Structure, int] = {}
    own = {column.name: column.branch for column in columns}
    found = []
    for column in columns:
        structure = None if column.value is None or flat else column.value.structure
        counter = ""
        if structure is not None and structure.counted and not structure.name.startswith("["):
            counter = structure.name if structure.name in lowering.columns else f"n{structure.name}"
            if own.get(counter, counter) != counter:  # something else has this name
                counter = ""
        found.append(
            Kept(
                name=column.name,
                text=column.value is None,
                optional=column.value is not None and column.value.optional,
                lists=None if structure is None else numbers.setdefault(structure, len(numbers)),
                counter=counter,
            )
        )
    return tuple(found)


class _Keeper:
    """Keeps the columns of one partition."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._blocks: list[list[Column]] = []

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        computed = iter(values)
        mask = next(computed) if self._keeping.masked else None
        block = [next(computed) if branch is None else texts[branch] for branch in self._keeping.branches]
        self._blocks.append([self._chosen(column, mask) for column in block])

    def state(self) -> State:
        columns = [concatenated(blocks) for blocks in zip(*self._blocks, strict=True)]
        arrays: dict[str, Array] = {}
        for number, (column, kept) in enumerate(zip(columns, self._keeping.columns, strict=True)):
            arrays[f"{number}.content"] = column.content
            if kept.optional:
                present = np.ones(column.content.size, np.bool_) if column.valid is None else column.valid
                arrays[f"{number}.valid"] = present
            if kept.text:
                words = [word.encode() for word in column.words]
                arrays[f"{number}.words"] = np.frombuffer(b"".join(words), np.uint8)
                arrays[f"{number}.ends"] = starts(np.array([len(word) for word in words], np.int64))
            if kept.lists is not None and column.offsets is not None:
                known = arrays.setdefault(f"lists.{kept.lists}", column.offsets)
                if known is not column.offsets and not np.array_equal(known, column.offsets):
                    message = f"column {kept.name!r} has other numbers of values than those that share its counter"
                    raise DataError(message, hint="the counter in the file doesn't say how many values there are")
        header: JSON = {"columns": [asdict(column) for column in self._keeping.columns]}
        return State(header=header, arrays=arrays)

    def _chosen(self, column: Column, mask: Column | None) -> Column:
        """Return what is kept of a block: a copy, since blocks don't live longer than a call."""
        if mask is None:
            return Column(column.content.copy(), column.offsets, column.valid, column.words)
        events = cast("NDArray[np.bool_]", mask.content)
        if not self._keeping.rows:
            return selected(column, events)
        assert mask.offsets is not None
        if column.offsets is not None:
            if column.offsets is not mask.offsets and not np.array_equal(column.offsets, mask.offsets):
                hint = "explode columns of one list, or define one from the other"
                raise DataError("a column has other numbers of values than the rows that the events became", hint=hint)
            return selected(Column(column.content, None, column.valid, column.words), events)
        counts = np.diff(mask.offsets)
        valid = None if column.valid is None else np.repeat(column.valid, counts)
        return selected(Column(np.repeat(column.content, counts), None, valid, column.words), events)


def described(state: State) -> tuple[Kept, ...]:
    """Return what columns a part has."""
    header = cast("Mapping[str, Sequence[Mapping[str, JSON]]]", state.header)
    return tuple(
        Kept(
            name=str(column["name"]),
            text=bool(column["text"]),
            optional=bool(column["optional"]),
            lists=cast("int | None", column["lists"]),
            counter=str(column["counter"]),
        )
        for column in header["columns"]
    )


def columns(state: State) -> dict[str, Column]:
    """Return the columns of a part by name."""
    found = {}
    for number, kept in enumerate(described(state)):
        words: tuple[str, ...] = ()
        if kept.text:
            raw, ends = state.arrays[f"{number}.words"].tobytes(), state.arrays[f"{number}.ends"].tolist()
            words = tuple(raw[start:stop].decode() for start, stop in pairwise(ends))
        found[kept.name] = Column(
            state.arrays[f"{number}.content"],
            None if kept.lists is None else state.arrays[f"lists.{kept.lists}"],
            state.arrays.get(f"{number}.valid"),
            words,
        )
    return found
