"""Functions that are not ours, in a pass: what stands for them in keys, and the columns that they return.

A function gets the events that are still in, in blocks of :data:`EVENTS` entries of the partition, so that memory is
bounded and the number of workers can't matter. It is to treat events one by one: nobody promises it which others it
sees together with one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.digest import JSON, Digest, of_json
from fasthep_archive.errors import CallError, TaskError
from fasthep_archive.execution.plan import Partition
from fasthep_archive.formula.columns import Array, Column, ColumnType, concatenated, selected, sliced, starts
from fasthep_archive.kernels.compile import Kernel
from fasthep_archive.kernels.external import Call, External, type_text
from fasthep_archive.kernels.program import Program
from fasthep_archive.operations.child import Guest, child, seed_of
from fasthep_archive.operations.messages import Columns, Message, columns
from fasthep_archive.operations.naming import by_need, need_of
from fasthep_archive.operations.protocol import Output

EVENTS = 1 << 16
"""Entries of a partition whose events a function is called with at a time, at most."""

_NUMPY: Mapping[str, type] = {"float64": np.float64, "int64": np.int64, "bool": np.bool_}


def anonymous(
    text: Mapping[str, JSON], externals: Sequence[External], nodes: Sequence[str], renamed: Callable[[Program], Program]
) -> Mapping[str, JSON]:
    """Return the canonical text of what is added up, with the calls that it needs.

    :param externals: each after those that it needs. :param nodes: those whose products are taken.
    :param renamed: puts numbers in place of nodes in a program.
    """
    names: dict[str, str] = {}
    calls: list[JSON] = []
    for external in externals:
        described: JSON = {
            "call": external.call.canonical(),
            "takes": [[need_of(node), nodes.index(node)] for node in external.call.takes],
            "program": renamed(external.program).canonical(),
            "masked": external.masked,
        }
        calls.append(_renamed(described, names))
        names[external.digest] = of_json(calls[-1])
    return {**cast("Mapping[str, JSON]", _renamed(text, names)), "calls": calls}


def _renamed(value: JSON, names: Mapping[str, str]) -> JSON:
    """Return a JSON value with digests replaced in all its texts."""
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, Mapping):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_renamed(item, names) for item in value]
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What functions find beside their columns: products, by node the key of its files, and their code.

    :ivar read: returns the files of a node. :ivar code: returns the files of code of a digest, by name.
    """

    keys: Mapping[str, Digest] = field(default_factory=dict)
    read: Callable[[str], tuple[Output, ...]] = field(default=lambda _node: ())
    code: Callable[[Digest], Mapping[str, bytes]] = field(default=lambda _digest: {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls:
    """Calls functions for the events of one partition.

    :ivar compiled: returns the kernel of a program.
    """

    partition: Partition
    scalars: Mapping[str, bool | int | float]
    taken: Taken
    cache: Path
    compiled: Callable[[Program], Kernel]

    def columns(self, external: External, known: Mapping[str, Column], events: int) -> Mapping[str, Column]:
        """Return the columns that a function returns for the events of the partition, by their names in programs.

        :param known: the columns that it reads.
        :raises TaskError: if the function fails, or returns anything but what is declared.
        """
        pieces = [
            self._block(external, sliced({name: known[name] for name in external.reads}, start, stop), start, stop)
            for start in range(0, events, EVENTS)
            for stop in (min(start + EVENTS, events),)
        ]
        return {
            external.column(name): concatenated([piece[name] for piece in pieces]) if pieces else empty(kind)
            for name, kind in external.call.returns
        }

    def _block(self, external: External, block: Mapping[str, Column], start: int, stop: int) -> dict[str, Column]:
        """Return what the function returns for entries ``start`` to ``stop``."""
        mask, arguments = self._arguments(external, block, start, stop)
        seen = {name: column if mask is None else selected(column, mask) for name, column in arguments.items()}
        count = stop - start if mask is None else int(np.count_nonzero(mask))
        if not count:
            empties = {name: empty(kind) for name, kind in external.call.returns}
            return self._scattered(external, empties, mask, arguments, stop - start)
        made = self._asked(external, seen, count, self.partition.start + start)
        return self._scattered(external, made, mask, arguments, stop - start)

    def _arguments(
        self, external: External, block: Mapping[str, Column], start: int, stop: int
    ) -> tuple[NDArray[np.bool_] | None, Mapping[str, Column]]:
        """Return which events are handed over, and all columns of the block; a branch needs no kernel."""
        program = external.program
        numbers, rest = computed(program)
        results: Sequence[Column] = ()
        if rest is not None:
            first = self.partition.start + start
            columns = {name: block[name] for name in rest.columns}
            results = self.compiled(rest)(columns, self.scalars, stop - start, first_event=first)
        made = dict(zip(numbers, results, strict=True))
        found = [made.get(number) or _direct(program, number, block) for number in range(len(program.outputs))]
        mask = cast("NDArray[np.bool_]", found.pop(0).content) if external.masked else None
        texts = {name: block[branch] for name, branch in external.call.texts.items()}
        return mask, {**dict(zip(external.call.arguments, found, strict=True)), **texts}

    def _asked(self, external: External, seen: Mapping[str, Column], events: int, first: int) -> dict[str, Column]:
        call, sent = external.call, Columns.of(seen)
        request: dict[str, JSON] = {
            "do": "events",
            "target": call.target,
            "style": call.style,
            "params": call.params,
            "events": events,
            "columns": sent.described,
            "returns": [[name, type_text(kind), call.like.get(name)] for name, kind in call.returns],
            "dataset": call.dataset,
            "seed": None if call.seed is None else seed_of(call.seed, self.partition.file.sha256, first),
            "needs": by_need(call.takes),
        }
        guest = Guest(
            kind=call.kind,
            target=call.target,
            digest=call.digest,
            shipped=call.shipped,
            files=lambda: self.taken.code(call.shipped),
            products={node: self.taken.keys[node] for node in call.takes},
            read=self.taken.read,
        )
        try:
            answer = child(guest, self.cache).ask(Message(request, sent.arrays), call.timeout)
        except TaskError as error:  # a pass knows what is made of the columns, not where they come from
            raise CallError(error.message, caller=_caller(call), hint=error.hint) from error
        found = columns(answer.header["columns"], answer.arrays)
        for name, kind in call.returns:
            if name not in found or not _fits(found[name], kind, events):
                message = f"{call.target}: what came back for {name!r} is not what was declared"
                raise CallError(message, caller=_caller(call))
        return found

    def _scattered(
        self,
        external: External,
        made: Mapping[str, Column],
        mask: NDArray[np.bool_] | None,
        arguments: Mapping[str, Column],
        events: int,
    ) -> dict[str, Column]:
        """Return columns for all events: what was returned, and nothing for those that were not handed over."""
        if mask is None:
            return dict(made)
        like = external.call.like
        return {
            name: _spread(column, mask, arguments[like[name]].offsets if name in like else None, events)
            for name, column in made.items()
        }


def _caller(call: Call) -> str:
    """Return how messages name who calls; plug-ins are called by fields, too."""
    return f"stage {call.caller}" if call.caller and call.style == "events" else call.caller


def empty(kind: ColumnType) -> Column:
    """Return a column of no events."""
    content: Array = np.zeros(0, _NUMPY[kind.dtype])
    offsets = None if kind.structure is None else np.zeros(1, np.int64)
    return Column(content, offsets, np.zeros(0, np.bool_) if kind.optional else None)


def computed(program: Program) -> tuple[Sequence[int], Program | None]:
    """Return which outputs of a program are no columns as they are, and the program of these, if there are any."""
    kinds = (program.instructions[output.content].operation for output in program.outputs)
    numbers = [number for number, kind in enumerate(kinds) if kind != "column"]
    return numbers, program.only(numbers) if numbers else None


def _direct(program: Program, number: int, block: Mapping[str, Column]) -> Column:
    """Return an output that is a column as it is, as the type that formulas see."""
    output = program.outputs[number]
    made = program.instructions[output.content]
    column = block[made.detail]
    content: Array = column.content.astype(_NUMPY[made.dtype], copy=False)
    return Column(content, column.offsets, column.valid if output.valid is not None else None)


def _fits(column: Column, kind: ColumnType, events: int) -> bool:
    """Say whether a column has the declared type, and a value or a list for each event."""
    if column.content.dtype != _NUMPY[kind.dtype] or (kind.structure is None) != (column.offsets is None):
        return False
    if (column.valid is not None) != kind.optional:
        return False
    if column.valid is not None and (column.valid.dtype != np.bool_ or column.valid.size != column.content.size):
        return False
    if column.offsets is None:
        return column.content.size == events
    lists = column.offsets
    return bool(
        lists.dtype == np.int64
        and lists.size == events + 1
        and lists[0] == 0
        and lists[-1] == column.content.size
        and (np.diff(lists) >= 0).all()
    )


def _spread(column: Column, mask: NDArray[np.bool_], like: NDArray[np.int64] | None, events: int) -> Column:
    """Return the values of the events for which ``mask`` holds among those of all events.

    :param like: offsets of the lists of all events; without them, those of the others are empty.
    """
    if column.offsets is None:
        return Column(_placed(column.content, mask), None, _validity(column, mask))
    if like is not None:
        kept = np.repeat(mask, np.diff(like))
        offsets = like.copy()  # which may be a kernel's, to be used again
        return Column(_placed(column.content, kept), offsets, _validity(column, kept))
    counts = np.zeros(events, np.int64)
    counts[mask] = np.diff(column.offsets)
    return Column(column.content, starts(counts), column.valid)


def _validity(column: Column, kept: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return None if column.valid is None else cast("NDArray[np.bool_]", _placed(column.valid, kept))


def _placed(values: Array, kept: NDArray[np.bool_]) -> Array:
    """Return ``values`` where ``kept`` is true, and zeros elsewhere."""
    found = np.zeros(kept.size, values.dtype)
    found[kept] = values
    return found
