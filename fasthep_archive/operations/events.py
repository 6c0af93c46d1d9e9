"""``run.events``: columns made by a function of the analysis, which gets the events that are still in.

The function runs in a process of its own (:mod:`fasthep_archive.operations.child`). What it returns is outside the
numeric profile, and so is all that is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from fasthep_archive.digest import JSON, of_json
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import ColumnType, DType, Structure
from fasthep_archive.kernels.external import Call, Style
from fasthep_archive.kernels.program import Named, Value
from fasthep_archive.operations import fields, keeping
from fasthep_archive.operations.looks import Asks, looked_at
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream
from fasthep_archive.workflow.code import Code

Path = tuple[str | int, ...]

OFFERED = ("events", "data", "params", "seed", "dataset")
"""What a function can ask for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned:
    """A column that is returned.

    :ivar type: ``float64``, ``int64`` or ``bool``; behind ``?`` if values can be missing; in ``list[...]``.
    :ivar like: of a list, the column that it has as many values as, in each event; empty: its own.
    """

    name: str
    type: str
    like: str = ""

    @property
    def kind(self) -> ColumnType:
        """Return the type as programs know it; the structure only says that it is a list."""
        listed = self.type.startswith("list[")
        inner = self.type.removeprefix("list[").removesuffix("]")
        structure = Structure("a list", counted=False) if listed else None
        return ColumnType(cast("DType", inner.removeprefix("?")), structure, inner.startswith("?"))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvents:
    """Calls a function with columns of the events that are still in, and adds the columns that it returns.

    :ivar timeout: most seconds for a block of events; none: no limit.
    :ivar style: how it is called; only one that is called with ``events`` can ask for more than its columns.
    :ivar selects: of the columns, the one that says which events stay in; empty: all do.
    """

    callable: str
    columns: tuple[str, ...]
    returns: tuple[Returned, ...]
    params: Mapping[str, JSON]
    seed: int
    timeout: float | None
    code: Code | None = None
    style: Style = "events"
    selects: str = ""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> RunEvents:
        """Return the operation of checked parameters."""
        returns = cast("Sequence[Mapping[str, str]]", params["returns"])
        return cls(
            callable=str(params["callable"]),
            columns=tuple(cast("Sequence[str]", params["columns"])),
            returns=tuple(Returned(name=r["name"], type=r["type"], like=r.get("like", "")) for r in returns),
            params=cast("Mapping[str, JSON]", params["params"]),
            seed=int(cast("int", params["seed"])),
            timeout=cast("float | None", params.get("timeout")),
        )

    def carrying(self, code: Code) -> RunEvents:
        """Return the operation with the code of its function."""
        return replace(self, code=code)

    @property
    def sees_products(self) -> bool:
        """Whether the function asks for ``data``."""
        if self.style != "events":
            return False
        try:
            return self.code is not None and looked_at(self.code.files, self.callable).asks("data")
        except DataError:
            return False

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: Path
    ) -> tuple[Stream, Fill | None]:
        """Return the stream with the columns."""
        stream = only(streams)
        texts = self._texts(lowering, stream)
        inputs = self._inputs(lowering, stream, path, texts)
        asks = self._asks(lowering, path)
        if keeping.has_rows(stream):
            hint = "call it before the events become rows"
            lowering.fault("a function is called with events, and these are rows", path, hint=hint)
        elif inputs is not None and asks is not None and self._like_lists(lowering, inputs, path):
            call = self._call(lowering, stage, tuple(inputs), texts, asks)
            found = lowering.builder.external(call, list(inputs.values()), stream.mask)
            for name, value in found.items():
                stream = stream.defining(name, value) if name != self.selects else _cut(lowering, stream, value)
            return stream, None
        for returned in self.returns:
            stream = stream.defining(returned.name, None)
        return stream, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: columns stay in the stream."""
        return None

    def _call(
        self, lowering: Lowering, stage: str, arguments: tuple[str, ...], texts: Mapping[str, str], asks: Asks
    ) -> Call:
        assert self.code is not None, "without code there has been a fault"
        asks = asks if self.style == "events" else Asks(names=frozenset())
        takes = (node for nodes in lowering.products.values() for node in nodes)
        return Call(
            kind="python",
            target=self.callable,
            shipped=self.code.shipped,
            digest=self.code.digest,
            params=self.params,
            arguments=arguments,
            style=self.style,
            returns=tuple((returned.name, returned.kind) for returned in self.returns),
            like={returned.name: returned.like for returned in self.returns if returned.like},
            texts=texts,
            takes=tuple(takes) if asks.asks("data") else (),
            dataset=lowering.dataset if asks.asks("dataset") else None,
            seed=of_json([self.seed, stage]) if asks.asks("seed") else None,
            timeout=self.timeout,
            caller=stage,
        )

    def _asks(self, lowering: Lowering, path: Path) -> Asks | None:
        """Return what the function asks for; none after reporting that it isn't there or asks for too much."""
        place = (*path, "callable")
        if self.code is None:
            lowering.fault(f"there is no code with {self.callable}", place, hint="write it into a module beside this")
            return None
        try:
            asks = looked_at(self.code.files, self.callable)
        except DataError as error:
            lowering.fault(error.message, place, hint=error.hint)
            return None
        for name in asks.needed:
            if name not in OFFERED:
                hint = f"it is called with those of these that it names: {', '.join(OFFERED)}"
                lowering.fault(f"{self.callable} asks for {name!r}, and there is none", place, hint=hint)
                return None
        return asks

    def _texts(self, lowering: Lowering, stream: Stream) -> Mapping[str, str]:
        """Return the branches of texts among the columns that the function sees, by the names of these."""
        offered = [name for name in self.columns if name not in stream.defined and name in lowering.offered(stream)]
        found = ((name, lowering.text_column(lowering.scope(stream).meant(name))) for name in offered)
        return {name: branch for name, branch in found if branch is not None}

    def _inputs(
        self, lowering: Lowering, stream: Stream, path: Path, texts: Mapping[str, str]
    ) -> dict[str, Value] | None:
        """Return the columns that the function sees but for texts; none after a fault.

        Members of groups have dotted names.
        """
        found: dict[str, Value] = {}
        sound = True
        for number, name in enumerate(self.columns):
            if name in texts:
                continue
            place = (*path, "columns", number)
            named = fields.field(lowering, stream, name, place)
            if named is None or not self._add(lowering, name, named, found):
                sound = False
                if named is not None:
                    hint = "leave it out, and let the function ask for dataset, which knows what is known of it"
                    lowering.fault(f"{name!r} is no column: it is the same text for all events", place, hint=hint)
        return found if sound else None

    def _add(self, lowering: Lowering, name: str, named: Named, found: dict[str, Value]) -> bool:
        """Add the values of a name, which may be a group; say whether all that is there are values."""
        if isinstance(named, Mapping):
            return all(self._add(lowering, f"{name}.{member}", inner, found) for member, inner in named.items())
        if isinstance(named, str):
            return False
        found[name] = named if isinstance(named, Value) else lowering.builder.constant(named)
        return True

    def _like_lists(self, lowering: Lowering, inputs: Mapping[str, Value], path: Path) -> bool:
        """Report what is to be like something that is no list."""
        for number, returned in enumerate(self.returns):
            if returned.like and (returned.like not in inputs or inputs[returned.like].structure is None):
                lists = [name for name, value in inputs.items() if value.structure is not None]
                hint = f"lists among its columns: {', '.join(lists) or 'none'}"
                message = f"{returned.name!r} is to be like {returned.like!r}, which is no list among its columns"
                lowering.fault(message, (*path, "returns", number, "like"), hint=hint)
                return False
        return True


def _cut(lowering: Lowering, stream: Stream, passed: Value) -> Stream:
    """Return the events of a stream for which ``passed`` holds."""
    return replace(stream, mask=passed if stream.mask is None else lowering.builder.apply("and", stream.mask, passed))
