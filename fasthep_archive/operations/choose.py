"""``hep.choose``: columns whose formula depends on which case an event is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.program import Builder, Value
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Fill, Product, only
from fasthep_archive.operations.stream import Lowering, Stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A condition on the event, and the formula of each column where it holds."""

    name: str
    when: str
    values: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choose:
    """Adds columns, each with the value that the event's case gives it, in the type that holds the values of all cases.

    An event that several cases match takes the first one, or is an error (``on_multiple``); one that no case matches
    takes ``default``, or is an error (``on_no_match``). Errors are found when the columns are computed, in events that
    selections have left.
    """

    cases: tuple[Case, ...]
    default: Mapping[str, str] | None
    on_multiple: Literal["error", "first"]

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> Choose:
        """Return the operation of checked parameters."""
        return cls(
            cases=tuple(map(_case, cast("Sequence[Mapping[str, JSON]]", params["cases"]))),
            default=cast("Mapping[str, str] | None", params.get("default")),
            on_multiple=cast("Literal['error', 'first']", params["on_multiple"]),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the columns."""
        stream = only(streams)
        cases = [self._condition(lowering, stream, number, path) for number in range(len(self.cases))]
        known = [case for case in cases if case is not None]
        which = self._which(lowering, stream, known, stage) if len(known) == len(cases) else None
        after = stream
        for output in self.cases[0].values:
            fields.new(lowering, stream, output, (*path, "cases", 0, "values", output))
            after = after.defining(output, self._value(lowering, stream, which, output, path))
        return after, None

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return none: the columns stay in the stream."""
        return None

    def _condition(self, lowering: Lowering, stream: Stream, number: int, path: tuple[str | int, ...]) -> Value | None:
        place = (*path, "cases", number, "when")
        return lowering.selection(lowering.formula(self.cases[number].when, stream, place), place)

    def _which(self, lowering: Lowering, stream: Stream, cases: Sequence[Value], stage: str) -> Value:
        """Return the position of the event's case, -1 where none matches; checked as the policies say."""
        build = lowering.builder
        names = ", ".join(case.name for case in self.cases)
        if self.on_multiple == "first":
            which = _first(build, cases)
        else:
            count = _sum(build, [build.cast(case, "int64") for case in cases])
            message = f"stage {stage!r}: event {{event}} matches several of its cases, {names}"
            alone = build.checked(_where_left(build, stream, count, 1), "one case", message)
            # with one match at most, the positions of the matches add up to the position of the match
            positions = [build.apply("multiply", case, build.constant(n)) for n, case in enumerate(cases)]
            which = build.apply("add", build.apply("subtract", alone, build.constant(1)), _sum(build, positions))
        if self.default is None:
            message = f"stage {stage!r}: event {{event}} matches none of its cases, {names}"
            which = build.checked(_where_left(build, stream, which, 0), "some case", message)
        return which

    def _value(
        self, lowering: Lowering, stream: Stream, which: Value | None, output: str, path: tuple[str | int, ...]
    ) -> Value | None:
        """Return the column ``output``."""
        sides = [
            self._side(lowering, stream, case.values[output], (*path, "cases", number, "values", output))
            for number, case in enumerate(self.cases)
        ]
        if self.default is not None:
            sides.append(self._side(lowering, stream, self.default[output], (*path, "default", output)))
        known = [side for side in sides if side is not None]
        if which is None or len(known) < len(sides):
            return None
        build, chosen = lowering.builder, known[-1]
        for number in reversed(range(len(self.cases) if self.default is not None else len(known) - 1)):
            chosen = build.apply("where", build.apply("equal", which, build.constant(number)), known[number], chosen)
        # a single case without default is chosen by no condition, and must not hide that the event may not match it
        return chosen if len(known) > 1 else build.apply("where", build.apply("equal", which, which), chosen, chosen)

    def _side(self, lowering: Lowering, stream: Stream, text: str, path: tuple[str | int, ...]) -> Value | None:
        """Return a value, which may be missing, per event; report a list."""
        value = lowering.formula(text, stream, path)
        if value is not None and value.structure is not None:
            message = "a choice is between values per event, but this formula has a list of values per event"
            lowering.fault(message, path, hint="reduce the list, for example leading(...), max(...) or sum(...)")
            return None
        return value


def _case(case: Mapping[str, JSON]) -> Case:
    return Case(name=str(case["name"]), when=str(case["when"]), values=cast("Mapping[str, str]", case["values"]))


def _sum(build: Builder, values: Sequence[Value]) -> Value:
    total = values[0]
    for value in values[1:]:
        total = build.apply("add", total, value)
    return total


def _first(build: Builder, cases: Sequence[Value]) -> Value:
    """Return the position of the first condition that holds, -1 if none does."""
    which = build.constant(-1)
    for number in reversed(range(len(cases))):
        which = build.apply("where", cases[number], build.constant(number), which)
    return which


def _where_left(build: Builder, stream: Stream, value: Value, otherwise: int) -> Value:
    """Return ``value``, with ``otherwise`` for events that cuts have taken out: these can't be errors."""
    return value if stream.mask is None else build.apply("where", stream.mask, value, build.constant(otherwise))
