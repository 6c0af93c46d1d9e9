"""Event-level functions that are not ours, in a program: what is called, with what, and the columns that come back.

Code that is not ours runs in a process of its own, and what it returns are columns to the programs that use them. Their
names hold a digest of all that they depend on, so that equal calls are one, and the keys of what is computed with them
follow by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from fasthep_archive.digest import JSON, Digest, of_json
from fasthep_archive.formula.columns import ColumnType, Structure

if TYPE_CHECKING:
    from fasthep_archive.kernels.program import Program

Style: TypeAlias = Literal["events", "arguments", "values", "operation", "fasthep"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call of an event-level function that is not ours. Plain data that can travel to other processes.

    :ivar kind: ``python``: something that can be called, of the analysis's code or of an installed distribution.
    :ivar target: ``module:function``.
    :ivar shipped: digest of the files of its code, which are found by it where the call is made; empty: it has none.
    :ivar digest: of what the function's result depends on beside its arguments.
    :ivar arguments: names of the columns that it is called with, but for texts.
    :ivar texts: by the names of further columns, the branches of texts that they are.
    :ivar style: ``events``: it takes one array of records; ``arguments``: an array for each of the arguments, in their
        order; ``values``: the values alone, one after the other, of arguments with one structure; ``operation``: it is
        a class, made with the parameters, whose method ``run`` takes the array of records; ``fasthep``: as FAST-HEP
        calls its operations.
    :ivar returns: names and types of the columns that it returns; of a list, the structure says that it is one.
    :ivar like: of some of these, which are lists, the argument that has as many values in each event.
    :ivar takes: nodes whose products it can see.
    :ivar dataset: what it may know of the dataset; none: it does not ask.
    :ivar seed: what the seeds of its calls are made of; none: it does not ask for any.
    :ivar timeout: most seconds that a call may take; none: no limit. It can't change a result.
    :ivar caller: the stage or field that calls, for messages; nothing depends on it.
    """

    kind: str
    target: str
    shipped: Digest
    digest: Digest
    params: Mapping[str, JSON]
    arguments: tuple[str, ...]
    style: Style
    returns: tuple[tuple[str, ColumnType], ...]
    like: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    dataset: Mapping[str, JSON] | None = None
    seed: str | None = None
    timeout: float | None = None
    caller: str = field(default="", compare=False)

    def canonical(self) -> JSON:
        """Return everything that the columns depend on beside the arguments and the products that are taken."""
        return {
            "kind": self.kind,
            "target": self.target,
            "code": self.digest,
            "params": self.params,
            "arguments": list(self.arguments),
            "style": self.style,
            "returns": [[name, type_text(kind), self.like.get(name)] for name, kind in self.returns],
            "dataset": self.dataset,
            "seed": self.seed,
            **({"texts": dict(self.texts)} if self.texts else {}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class External:
    """A call in a program.

    :ivar program: computes the mask, if there is one, and then the arguments. Its columns may be those of others.
    :ivar masked: whether the first output of the program says which events the function sees.
    :ivar lists: by name, the structures of the lists that it returns like one of a file; others have their own.
    :ivar digest: of all that the columns depend on; part of their names.
    """

    call: Call
    program: Program
    masked: bool
    lists: Mapping[str, Structure]
    digest: Digest

    @classmethod
    def of(cls, call: Call, program: Program, *, masked: bool, lists: Mapping[str, Structure]) -> External:
        """Return the call with its arguments."""
        described: JSON = [call.canonical(), list(call.takes), program.canonical(), masked]
        return cls(call=call, program=program, masked=masked, lists=lists, digest=of_json(described))

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the names of the columns that it is called with, or that these are computed from."""
        return tuple(dict.fromkeys([*self.program.columns, *self.call.texts.values()]))

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Return the names of the columns that it returns, as programs know them, and their types."""
        return {self.column(name): self._type(name, kind) for name, kind in self.call.returns}

    def _type(self, name: str, kind: ColumnType) -> ColumnType:
        if kind.structure is None:
            return kind
        return replace(kind, structure=self.lists.get(name, Structure(self.column(name), counted=False)))

    def column(self, returned: str) -> str:
        """Return the name of the column that programs know what is returned as ``returned`` by."""
        return f"{returned} of {self.call.target} {self.digest}"


def type_text(kind: ColumnType) -> str:
    """Return the type of a column that a function returns as text: ``float64``, ``?int64``, ``list[bool]``.

    >>> type_text(ColumnType("float64", optional=True))
    '?float64'
    """
    inner = f"?{kind.dtype}" if kind.optional else kind.dtype
    return inner if kind.structure is None else f"list[{inner}]"


def needed(columns: Iterable[str], makers: Mapping[str, External]) -> tuple[External, ...]:
    """Return the calls that return ``columns``, and those that these need, each after what it needs.

    :param makers: by the name of a column, the call that returns it; other columns are read.
    """
    order: dict[Digest, External] = {}
    waiting = [(makers[name], False) for name in reversed(list(columns)) if name in makers]
    while waiting:
        external, done = waiting.pop()
        if done:
            order.setdefault(external.digest, external)
        elif external.digest not in order:
            waiting.append((external, True))
            below = reversed(external.program.columns)
            waiting.extend((makers[name], False) for name in below if name in makers)
    return tuple(order.values())


def read(columns: Iterable[str], externals: Iterable[External]) -> tuple[str, ...]:
    """Return the columns that have to be read: for programs that have ``columns``, and for the calls."""
    calls = tuple(externals)
    made = {name for external in calls for name in external.columns}
    wanted = dict.fromkeys([*columns, *(name for external in calls for name in external.reads)])
    return tuple(name for name in wanted if name not in made)
