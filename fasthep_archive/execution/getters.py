"""Fields of a stream that are computed where they are used: formulas, what functions return, accessors of plug-ins.

A field is lowered anew at each use; equal computations are one in the program. It sees the branches and the other
fields of its stream, without the prefix of a join, what is known of the dataset, and nothing that stages define.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fasthep_archive import registry
from fasthep_archive.errors import Fault, UsageError
from fasthep_archive.formula.columns import ColumnType
from fasthep_archive.kernels.external import Call
from fasthep_archive.operations.events import Returned, RunEvents
from fasthep_archive.operations.plugged import accessor
from fasthep_archive.operations.stream import Lowering, Named, Stream, Uncertain
from fasthep_archive.workflow.model import FieldAlias, Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Getter:
    """A field that is computed.

    :ivar prefix: of the source that it belongs to, in a join; what it names is below that. Empty: nothing is.
    """

    field: FieldAlias
    prefix: str


def with_getters(lowering: Lowering, getters: Mapping[str, Getter]) -> Lowering:
    """Return a lowering whose columns are these fields, too. The names of its columns have theirs already."""
    return replace(lowering, column=_Fields(lowering, getters, (), []).column) if getters else lowering


def functions(workflow: Workflow) -> Mapping[str, Call]:
    """Return the functions of formulas that are not ours by name: calls that lack their arguments."""
    return {
        item.name: Call(
            kind="python",
            target=item.target,
            shipped=item.code.shipped,
            digest=item.code.digest,
            params={},
            arguments=(),
            style="values",
            returns=((item.name, ColumnType(item.returns)),),
        )
        for item in workflow.functions
        if item.code is not None
    }


class _Fields:
    """Columns of a stream: fields that are computed, and others.

    :ivar above: the fields that are being computed, outermost first. :ivar told: the faults that were reported.
    """

    def __init__(
        self, lowering: Lowering, getters: Mapping[str, Getter], above: tuple[str, ...], told: list[Fault]
    ) -> None:
        self._lowering = lowering
        self._getters = getters
        self._above = above
        self._told = told

    def column(self, name: str) -> Named:
        """Return what the column ``name`` stands for.

        :raises Uncertain: after a fault of the field has been reported.
        """
        getter = self._getters.get(name)
        if getter is None:
            return self._lowering.column(name)
        if name in self._above:
            circle = " -> ".join([*self._above[self._above.index(name) :], name])
            self._inside(getter, name).fault(f"field {name!r} is computed from itself: {circle}", getter.field.path)
            raise Uncertain(name)
        found = self._computed(getter, self._inside(getter, name))
        if found is None:
            raise Uncertain(name)
        return found

    def _inside(self, getter: Getter, name: str) -> Lowering:
        """Return the lowering that a field is computed with."""
        inner = _Fields(self._lowering, self._getters, (*self._above, name), self._told)
        lowering = replace(self._lowering, column=inner.column, report=self._report)
        if not getter.prefix:
            return lowering
        prefix = f"{getter.prefix}."
        return replace(
            lowering,
            columns=_Columns(lowering.columns, prefix),
            column=lambda column: inner.column(prefix + column),
            text_column=lambda column: lowering.text_column(prefix + column),
            shift=replace(lowering.shift, replace=_Replaced(lowering.shift.replace, prefix)),
        )

    def _computed(self, getter: Getter, lowering: Lowering) -> Named | None:
        """Return a field; none after a fault."""
        item = getter.field
        if item.broken:
            return None
        if item.expr:
            return lowering.formula(item.expr, Stream(), (*item.path, "expr"))
        if item.accessor:
            provided = registry.foreign("accessors", item.accessor)
            assert provided is not None, "one that nobody provides is a fault of the document"
            try:
                operation = accessor(provided.load(), provided)
            except UsageError as error:
                lowering.fault(error.message, (*item.path, "accessor"), hint=error.hint)
                return None
        else:
            operation = _called(item)
        stream, _ = operation.lower(lowering, {"stream": Stream()}, item.alias, item.path)
        return stream.defined[operation.returns[0].name]

    def _report(self, fault: Fault) -> None:
        """Report a fault once, however often the field is used."""
        if fault not in self._told:
            self._told.append(fault)
            self._lowering.report(fault)


def _called(item: FieldAlias) -> RunEvents:
    """Return the function of the analysis that computes a field."""
    return RunEvents(
        callable=item.callable,
        columns=item.columns,
        returns=(Returned(name=item.alias, type=item.returns, like=item.like),),
        params={},
        seed=0,
        timeout=None,
        code=item.code,
    )


class _Columns(Mapping[str, object]):
    """The names of columns that begin with a prefix, without it."""

    def __init__(self, columns: Mapping[str, object], prefix: str) -> None:
        self._columns = columns
        self._prefix = prefix

    def __getitem__(self, name: str) -> object:
        return self._columns[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._prefix) for name in self._columns if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Replaced(Mapping[str, str]):
    """What a variation replaces below a prefix, without it; what it is replaced by has to be there too."""

    def __init__(self, names: Mapping[str, str], prefix: str) -> None:
        self._names = names
        self._prefix = prefix

    def __getitem__(self, name: str) -> str:
        new = self._names[self._prefix + name]
        if not new.startswith(self._prefix):
            raise KeyError(name)
        return new.removeprefix(self._prefix)

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._prefix) for name in self._names if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)
