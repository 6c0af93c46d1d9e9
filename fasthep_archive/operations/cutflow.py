"""``hep.selection.cutflow``: named groups of cuts, counted one after the other, and the selection of events.

The cuts of a group are ANDed in order. Each group starts from all events of the stream, or from its ``parents``'
cuts. A cut can be made of cuts: ``all`` of them, or ``any``, nested to any depth. Each of these is counted too: a
member of ``all`` on the events that enter it and pass the members before, a member of ``any`` on all events that enter.

What is counted is, per *chain* of cuts that follow each other, how many consecutive ones each event passes: the number
that passes cut *i* is the number of events of depth > *i*, so one exact sum per depth gives every row. A group is a
chain, so are the members of ``all``; each member of ``any`` is one by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np

from fasthep_archive.data.products import Cutflow, CutflowRow
from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.program import Named, Value
from fasthep_archive.kernels.sums import WeightedSums
from fasthep_archive.operations import fields
from fasthep_archive.operations.protocol import Fill, Output, Part, Product, State, only
from fasthep_archive.operations.stream import Lowering, Stream

Filter = Literal["all", "any", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """One cut: a condition on the event, or the reduction ``reduce`` of conditions on its objects."""

    expr: str
    reduce: str | None
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """A cut made of others: ``all`` of them, one after the other, or ``any``."""

    of: Literal["all", "any"]
    members: tuple[Step, ...]
    label: str


Step: TypeAlias = "Cut | Combination"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A named sequence of cuts. ``parents`` are ids of cuts (``other[0]``) of groups before."""

    name: str
    cuts: tuple[Step, ...]
    parents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A cut as a row of the product.

    :ivar cut: its id: ``group[1]``, a member of it ``group[1][0]``. :ivar chain: number of its chain among those of all
        groups. :ivar place: how many cuts of the chain come before.
    """

    group: str
    cut: str
    label: str
    chain: int
    place: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowSelection:
    """Counts the groups and keeps the events that pass ``all`` or ``any`` of them, or every event (``none``).

    ``emit_flags`` defines ``<stage>.<group>``; ``output_field`` names one condition for the whole decision.
    """

    groups: tuple[Group, ...]
    weight_expr: str | None
    output_field: str | None
    filter: Filter
    emit_flags: bool

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> CutflowSelection:
        """Return the operation of checked parameters."""
        selection = cast("Mapping[str, Mapping[str, JSON]]", params["selection"])
        return cls(
            groups=tuple(_group(name, group) for name, group in selection.items()),
            weight_expr=cast("str | None", params.get("weight_expr")),
            output_field=cast("str | None", params.get("output_field")),
            filter=cast("Filter", params["filter"]),
            emit_flags=bool(params["emit_flags"]),
        )

    def lower(
        self, lowering: Lowering, streams: Mapping[str, Stream], stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the flags, narrow the stream, and count."""
        stream = only(streams)
        if self.output_field:
            fields.new(lowering, stream, self.output_field, (*path, "output_field"))
        passing = _Passing(lowering, stream)
        final = {group.name: passing.group(group, (*path, "selection", group.name)) for group in self.groups}
        weight = _weight(lowering, stream, self.weight_expr, (*path, "weight_expr"))
        after = self._after(lowering, stream, stage, final)
        depths = [passing.depth(chain) for group in self.groups for chain in _chains(group)]
        known = [depth for depth in depths if depth is not None]
        if len(known) < len(depths) or (self.weight_expr is not None and weight is None):
            return after, None
        counts = Counts(cuts=self._lengths(), weighted=weight is not None)
        return after, Fill(values=(*known, *([weight] if weight else [])), accumulation=counts)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the cutflow, with one set of rows per dataset."""
        return CutflowProduct(stage=stage, rows=self._rows(), cuts=self._lengths(), datasets=tuple(datasets))

    @property
    def cuts(self) -> Mapping[str, str]:
        """Return the ids of all cuts, in the order of the rows, and the group of each."""
        return {row.cut: row.group for row in self._rows()}

    def _lengths(self) -> tuple[int, ...]:
        """Return the number of cuts of each chain."""
        return tuple(len(chain.cuts) for group in self.groups for chain in _chains(group))

    def _rows(self) -> tuple[_Row, ...]:
        """Return the rows, in the order in which they are shown: a combination before its members."""
        chains = [(group, chain) for group in self.groups for chain in _chains(group)]
        places = {
            cut: (number, place) for number, (_, chain) in enumerate(chains) for place, cut in enumerate(chain.cuts)
        }
        return tuple(
            _Row(group=group.name, cut=cut, label=label, chain=places[cut][0], place=places[cut][1])
            for group in self.groups
            for cut, label in _labels(group.cuts, group.name)
        )

    def _after(self, lowering: Lowering, stream: Stream, stage: str, final: Mapping[str, Value | None]) -> Stream:
        """Return the stream with flags and the narrower mask."""
        decision = self._decision(lowering, final)
        if self.emit_flags:
            flags = {name: value for name, value in final.items() if value is not None}
            complete = len(flags) == len(final)
            stream = stream.defining(stage, cast("Named", flags) if complete else None)
        if self.output_field:
            stream = stream.defining(self.output_field, decision)
        return stream if self.filter == "none" or decision is None else replace(stream, mask=decision)

    def _decision(self, lowering: Lowering, final: Mapping[str, Value | None]) -> Value | None:
        """Return which events pass all groups, or any of them, as ``filter`` says (``none`` counts as all)."""
        decision: Value | None = None
        for value in final.values():
            if value is None:
                return None
            joined = "or" if self.filter == "any" else "and"
            decision = value if decision is None else lowering.builder.apply(joined, decision, value)
        return decision


def _group(name: str, group: Mapping[str, JSON]) -> Group:
    cuts = tuple(map(_step, cast("Sequence[Mapping[str, JSON]]", group["cuts"])))
    return Group(name=name, cuts=cuts, parents=tuple(cast("Sequence[str]", group["parents"])))


def _step(step: Mapping[str, JSON]) -> Step:
    of: Literal["all", "any"]
    for of in ("all", "any"):
        if of in step:
            members = tuple(map(_step, cast("Sequence[Mapping[str, JSON]]", step[of])))
            return Combination(of=of, members=members, label=str(step.get("label") or of.capitalize()))
    if "reduce" in step:
        reduction = cast("Mapping[str, str]", step["reduce"])
        label = str(step.get("label") or f"{reduction['op']}({reduction['over']})")
        return Cut(expr=reduction["over"], reduce=reduction["op"], label=label)
    return Cut(expr=str(step["expr"]), reduce=None, label=str(step.get("label") or step["expr"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chain:
    """The ids of cuts that follow each other, and of what comes in: a group's name, or its first cut's own id."""

    start: str
    cuts: tuple[str, ...]


def _chains(group: Group) -> Iterator[_Chain]:
    """Yield the chain of the group's cuts, then those of the combinations in it, from the outside in."""
    yield _Chain(start=group.name, cuts=_ids(group.cuts, group.name))
    yield from _inner_chains(group.cuts, group.name)


def _inner_chains(steps: Sequence[Step], above: str) -> Iterator[_Chain]:
    for cut, step in zip(_ids(steps, above), steps, strict=True):
        if isinstance(step, Combination):
            members = _ids(step.members, cut)
            for chain in [members] if step.of == "all" else [(member,) for member in members]:
                yield _Chain(start=cut, cuts=chain)
            yield from _inner_chains(step.members, cut)


def _labels(steps: Sequence[Step], above: str) -> Iterator[tuple[str, str]]:
    """Yield id and label of each cut, members after their combination."""
    for cut, step in zip(_ids(steps, above), steps, strict=True):
        yield cut, step.label
        if isinstance(step, Combination):
            yield from _labels(step.members, cut)


def _ids(steps: Sequence[Step], above: str) -> tuple[str, ...]:
    return tuple(f"{above}[{number}]" for number in range(len(steps)))


class _Passing:
    """Which events enter and pass each cut, by its id; none after a fault. What enters a group is by its name."""

    def __init__(self, lowering: Lowering, stream: Stream):
        self._lowering = lowering
        self._stream = stream
        self._entering: dict[str, Value | None] = {}
        self._passing: dict[str, Value | None] = {}

    def group(self, group: Group, path: tuple[str | int, ...]) -> Value | None:
        """Return the events that pass the group, whose params are at ``path``."""
        build = self._lowering.builder
        entering: Value | None = self._stream.mask if self._stream.mask is not None else build.constant(True)
        for parent in group.parents:  # the model knows no parent that is not a cut of a group before
            entering = self._both(entering, self._passing[parent])
        self._entering[group.name] = entering
        return self._all(group.cuts, entering, group.name, (*path, "cuts"))

    def depth(self, chain: _Chain) -> Value | None:
        """Return how many cuts of a chain an event passes, or -1 for events that do not enter: the cell that it is in.

        None after a fault.
        """
        build = self._lowering.builder
        depth = build.constant(-1)
        for level in (self._entering[chain.start], *(self._passing[cut] for cut in chain.cuts)):
            if level is None:
                return None
            depth = build.apply("add", depth, level)
        return depth

    def _all(
        self, steps: Sequence[Step], entering: Value | None, above: str, path: tuple[str | int, ...]
    ) -> Value | None:
        for number, (cut, step) in enumerate(zip(_ids(steps, above), steps, strict=True)):
            entering = self._step(step, entering, cut, (*path, number))
        return entering

    def _any(
        self, steps: Sequence[Step], entering: Value | None, above: str, path: tuple[str | int, ...]
    ) -> Value | None:
        passing = [
            self._step(step, entering, cut, (*path, number))
            for number, (cut, step) in enumerate(zip(_ids(steps, above), steps, strict=True))
        ]
        known = [value for value in passing if value is not None]
        if len(known) < len(passing):
            return None
        return reduce(lambda one, other: self._lowering.builder.apply("or", one, other), known)

    def _step(self, step: Step, entering: Value | None, cut: str, path: tuple[str | int, ...]) -> Value | None:
        """Return the events that enter and pass the cut called ``cut``."""
        self._entering[cut] = entering
        if isinstance(step, Cut):
            value = self._both(entering, _condition(self._lowering, self._stream, step, path))
        else:
            inside = self._all if step.of == "all" else self._any
            value = inside(step.members, entering, cut, (*path, step.of))
        self._passing[cut] = value
        return value

    def _both(self, one: Value | None, other: Value | None) -> Value | None:
        return None if one is None or other is None else self._lowering.builder.apply("and", one, other)


def _condition(lowering: Lowering, stream: Stream, cut: Cut, path: tuple[str | int, ...]) -> Value | None:
    place = (*path, "reduce", "over") if cut.reduce else (*path, "expr")
    value = lowering.formula(cut.expr, stream, place)
    if cut.reduce:
        value = lowering.reduced(cut.reduce, value, place)
    return lowering.selection(value, place)


def _weight(lowering: Lowering, stream: Stream, text: str | None, path: tuple[str | int, ...]) -> Value | None:
    value = lowering.per_event(lowering.weight(text, stream, path), path, "a cutflow's weight")
    return None if value is None else lowering.builder.cast(value, "float64", label="weight_expr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Per chain, sums of weights by the number of passed cuts."""

    cuts: tuple[int, ...]
    weighted: bool

    @property
    def texts(self) -> tuple[str, ...]:
        return ()

    def canonical(self) -> JSON:
        return {"adds": "events by number of passed cuts", "cuts": list(self.cuts), "weighted": self.weighted}

    def start(self, cache: Path) -> Counter:
        return Counter(self, cache)


class Counter:
    """Adds up the depths of one partition.

    :ivar sums: of each chain, one per number of passed cuts.
    """

    def __init__(self, counts: Counts, cache: Path):
        self._counts = counts
        self.sums = [WeightedSums(cuts + 1, cache=cache, weighted=counts.weighted) for cuts in counts.cuts]

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        weights = values[-1].content if self._counts.weighted else None
        for sums, depth in zip(self.sums, values, strict=False):
            sums.add(depth.content, weights)

    def state(self) -> State:
        states = {
            f"{chain}.{name}": array for chain, sums in enumerate(self.sums) for name, array in sums.state().items()
        }
        return State(header=None, arrays=states)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowProduct:
    """The cutflow of a stage: one row per dataset, group and cut."""

    stage: str
    rows: tuple[_Row, ...]
    cuts: tuple[int, ...]
    datasets: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        return (f"cutflows/{self.stage}.json", f"cutflows/{self.stage}.csv")

    def canonical(self) -> JSON:
        return {
            "kind": "cutflow",
            "stage": self.stage,
            "rows": [[row.group, row.cut, row.label, row.chain, row.place] for row in self.rows],
            "datasets": list(self.datasets),
        }

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        totals: dict[str, list[WeightedSums]] = {}
        weighted = False
        for part in parts:
            states = [_chain_state(part.state, chain) for chain in range(len(self.cuts))]
            found = [WeightedSums.from_state(state, cache=cache) for state in states]
            weighted = weighted or any(sums.weighted for sums in found)
            if part.dataset not in totals:
                totals[part.dataset] = found
            else:
                for total, sums in zip(totals[part.dataset], found, strict=True):
                    total.merge(sums)
        rows = tuple(row for dataset in self.datasets for row in self._rows(dataset, totals.get(dataset)))
        cutflow = Cutflow(name=self.stage, rows=rows)
        return (
            Output(name=self.outputs[0], held=cutflow.to_json()),
            Output(name=self.outputs[1], held=cutflow.to_csv()),
        )

    def _rows(self, dataset: str, totals: Sequence[WeightedSums] | None) -> Iterator[CutflowRow]:
        levels = None if totals is None else [_reversed_totals(sums) for sums in totals]
        for row in self.rows:
            level = None if levels is None else levels[row.chain]
            before, after = (_Level(), _Level()) if level is None else (level[row.place], level[row.place + 1])
            yield CutflowRow(
                dataset=dataset,
                group=row.group,
                cut=row.cut,
                label=row.label,
                events_in=before.events,
                events_out=after.events,
                sumw_in=before.sumw,
                sumw_out=after.sumw,
                sumw2_in=before.sumw2,
                sumw2_out=after.sumw2,
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """What passes a cut."""

    events: int = 0
    sumw: float = 0.0
    sumw2: float = 0.0


def _reversed_totals(sums: WeightedSums) -> list[_Level]:
    """Return what passes at least n cuts, for n from 0: the exact sums over all greater depths, each rounded once."""
    cumulative = sums.cumulative_from_last()
    return [
        _Level(events=int(events), sumw=float(sumw), sumw2=float(sumw2))
        for events, sumw, sumw2 in zip(cumulative.counts, cumulative.sumw(), cumulative.sumw2(), strict=True)
    ]


def _chain_state(state: State, chain: int) -> Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    prefix = f"{chain}."
    return {name.removeprefix(prefix): array for name, array in state.arrays.items() if name.startswith(prefix)}
