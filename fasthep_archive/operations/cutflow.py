"""``hep.selection.cutflow``: named groups of cuts, counted one after the other, and the selection of events.

The cuts of a group are ANDed in order. Each group starts from all events of the stream, or from its ``parents``'
cuts. What is counted is, per group, how many consecutive cuts each event passes: the number that passes cut *i* is the
number of events of depth > *i*, so one exact sum per depth gives every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from fasthep_archive.data.products import Cutflow, CutflowRow
from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Column
from fasthep_archive.kernels.program import Named, Value
from fasthep_archive.kernels.sums import WeightedSums
from fasthep_archive.operations.protocol import Accumulator, Fill, Output, Part, Product, State
from fasthep_archive.operations.stream import Lowering, Stream

Filter = Literal["all", "any", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """One cut: a condition on the event, or the reduction ``reduce`` of conditions on its objects."""

    expr: str
    reduce: str | None
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A named sequence of cuts. ``parents`` are ids of cuts (``other[0]``) of groups before."""

    name: str
    cuts: tuple[Cut, ...]
    parents: tuple[str, ...]


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
        self, lowering: Lowering, stream: Stream, stage: str, path: tuple[str | int, ...]
    ) -> tuple[Stream, Fill | None]:
        """Define the flags, narrow the stream, and count."""
        levels = self._levels(lowering, stream, path)
        weight = _weight(lowering, stream, self.weight_expr, (*path, "weight_expr"))
        after = self._after(lowering, stream, stage, levels)
        chains = [levels[group.name] for group in self.groups]
        if any(chain is None for chain in chains) or (self.weight_expr is not None and weight is None):
            return after, None
        depths = [_depth(lowering, chain) for chain in chains if chain is not None]
        counts = _Counts(cuts=tuple(len(group.cuts) for group in self.groups), weighted=weight is not None)
        return after, Fill(values=(*depths, *([weight] if weight else [])), accumulation=counts)

    def product(self, stage: str, datasets: Sequence[str]) -> Product | None:
        """Return the cutflow, with one set of rows per dataset."""
        rows = tuple((group.name, number, cut.label) for group in self.groups for number, cut in enumerate(group.cuts))
        cuts = tuple(len(group.cuts) for group in self.groups)
        return CutflowProduct(stage=stage, rows=rows, cuts=cuts, datasets=tuple(datasets))

    def _levels(
        self, lowering: Lowering, stream: Stream, path: tuple[str | int, ...]
    ) -> dict[str, tuple[Value, ...] | None]:
        """Return for each group the events before its first cut and after each cut; none for groups with faults."""
        everything = stream.mask if stream.mask is not None else lowering.builder.constant(True)
        passed: dict[str, Value | None] = {}
        levels: dict[str, tuple[Value, ...] | None] = {}
        for group in self.groups:
            chain: list[Value] | None = [everything]
            for parent in group.parents:
                before = passed[parent]  # the model knows no parent that is not a cut of a group before
                chain = None if chain is None or before is None else [lowering.builder.apply("and", chain[0], before)]
            for number, cut in enumerate(group.cuts):
                value = _condition(lowering, stream, cut, (*path, "selection", group.name, "cuts", number))
                chain = (
                    None
                    if chain is None or value is None
                    else [*chain, lowering.builder.apply("and", chain[-1], value)]
                )
                passed[f"{group.name}[{number}]"] = None if chain is None else chain[-1]
            levels[group.name] = None if chain is None else tuple(chain)
        return levels

    def _after(
        self, lowering: Lowering, stream: Stream, stage: str, levels: Mapping[str, tuple[Value, ...] | None]
    ) -> Stream:
        """Return the stream with flags and the narrower mask."""
        final = {name: None if chain is None else chain[-1] for name, chain in levels.items()}
        decision = self._decision(lowering, stream, final)
        if self.emit_flags:
            flags = {name: value for name, value in final.items() if value is not None}
            complete = len(flags) == len(final)
            stream = stream.defining(stage, cast("Named", flags) if complete else None)
        if self.output_field:
            stream = stream.defining(self.output_field, decision)
        return stream if self.filter == "none" or decision is None else replace(stream, mask=decision)

    def _decision(self, lowering: Lowering, stream: Stream, final: Mapping[str, Value | None]) -> Value | None:
        """Return which events pass all groups, or any of them, as ``filter`` says (``none`` counts as all)."""
        decision: Value | None = None
        for value in final.values():
            if value is None:
                return None
            joined = "or" if self.filter == "any" else "and"
            decision = value if decision is None else lowering.builder.apply(joined, decision, value)
        return decision


def _group(name: str, group: Mapping[str, JSON]) -> Group:
    cuts = tuple(map(_cut, cast("Sequence[Mapping[str, JSON]]", group["cuts"])))
    return Group(name=name, cuts=cuts, parents=tuple(cast("Sequence[str]", group["parents"])))


def _cut(cut: Mapping[str, JSON]) -> Cut:
    if "reduce" in cut:
        reduction = cast("Mapping[str, str]", cut["reduce"])
        label = str(cut.get("label") or f"{reduction['op']}({reduction['over']})")
        return Cut(expr=reduction["over"], reduce=reduction["op"], label=label)
    return Cut(expr=str(cut["expr"]), reduce=None, label=str(cut.get("label") or cut["expr"]))


def _condition(lowering: Lowering, stream: Stream, cut: Cut, path: tuple[str | int, ...]) -> Value | None:
    place = (*path, "reduce", "over") if cut.reduce else (*path, "expr")
    value = lowering.formula(cut.expr, stream, place)
    if cut.reduce:
        value = lowering.reduced(cut.reduce, value, place)
    return lowering.selection(value, place)


def _weight(lowering: Lowering, stream: Stream, text: str | None, path: tuple[str | int, ...]) -> Value | None:
    if text is None:
        return None
    value = lowering.per_event(lowering.formula(text, stream, path), path, "a cutflow's weight")
    return None if value is None else lowering.builder.cast(value, "float64", label="weight_expr")


def _depth(lowering: Lowering, chain: Sequence[Value]) -> Value:
    """Return how many cuts an event passes, or -1 for events outside of the group: the cell that it counts in."""
    build = lowering.builder
    depth = build.constant(-1)
    for level in chain:
        depth = build.apply("add", depth, level)
    return depth


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """Per group, sums of weights by the number of passed cuts."""

    cuts: tuple[int, ...]
    weighted: bool

    @property
    def texts(self) -> tuple[str, ...]:
        return ()

    def canonical(self) -> JSON:
        return {"adds": "events by number of passed cuts", "cuts": list(self.cuts), "weighted": self.weighted}

    def start(self, cache: Path) -> Accumulator:
        return _Counter(self, cache)


class _Counter:
    """Adds up the depths of one partition."""

    def __init__(self, counts: _Counts, cache: Path):
        self._counts = counts
        self._sums = [WeightedSums(cuts + 1, cache=cache, weighted=counts.weighted) for cuts in counts.cuts]

    def add(self, values: Sequence[Column], texts: Mapping[str, Column]) -> None:
        weights = values[-1].content if self._counts.weighted else None
        for sums, depth in zip(self._sums, values, strict=False):
            sums.add(depth.content, weights)

    def state(self) -> State:
        states = {
            f"{group}.{name}": array for group, sums in enumerate(self._sums) for name, array in sums.state().items()
        }
        return State(header=None, arrays=states)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutflowProduct:
    """The cutflow of a stage: one row per dataset, group and cut."""

    stage: str
    rows: tuple[tuple[str, int, str], ...]
    cuts: tuple[int, ...]
    datasets: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        return (f"cutflows/{self.stage}.json", f"cutflows/{self.stage}.csv")

    def canonical(self) -> JSON:
        return {
            "kind": "cutflow",
            "stage": self.stage,
            "rows": [list(row) for row in self.rows],
            "datasets": list(self.datasets),
        }

    def merge(self, parts: Iterable[Part], cache: Path) -> tuple[Output, ...]:
        totals: dict[str, list[WeightedSums]] = {}
        weighted = False
        for part in parts:
            states = [_group_state(part.state, group) for group in range(len(self.cuts))]
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
            Output(name=self.outputs[0], content=cutflow.to_json()),
            Output(name=self.outputs[1], content=cutflow.to_csv()),
        )

    def _rows(self, dataset: str, totals: Sequence[WeightedSums] | None) -> Iterator[CutflowRow]:
        levels = None if totals is None else [_reversed_totals(sums) for sums in totals]
        groups = list(dict.fromkeys(group for group, _, _ in self.rows))
        for group, number, label in self.rows:
            level = None if levels is None else levels[groups.index(group)]
            before, after = (_Level(), _Level()) if level is None else (level[number], level[number + 1])
            yield CutflowRow(
                dataset=dataset,
                group=group,
                cut=f"{group}[{number}]",
                label=label,
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


def _group_state(state: State, group: int) -> Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    prefix = f"{group}."
    return {name.removeprefix(prefix): array for name, array in state.arrays.items() if name.startswith(prefix)}
