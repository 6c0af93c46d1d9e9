"""Systematic variations: the same stages with a few things changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import of_known
from fasthep_archive.workflow import matrix
from fasthep_archive.workflow.datasets import Dataset, event_type
from fasthep_archive.workflow.draft import Draft, mapping, sequence, text
from fasthep_archive.workflow.merging import Part, laid_over, part
from fasthep_archive.workflow.natures import nature
from fasthep_archive.workflow.parameters import canonical, resolved_params
from fasthep_archive.workflow.parameters_columns import formula_text
from fasthep_archive.workflow.stages import Stage
from fasthep_archive.workflow.values import DocumentPath

NOMINAL = "nominal"
"""What stands beside the variations; no variation can be called so."""

_AT = ("systematics", "variations")
_INLINE = ("anchor", "stage", "patch", "params", "stop_before", "export")
_PLAN = ("weight", "replace", "datasets")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """One variation; what an axis of ``matrix`` stood for is filled in.

    :ivar mode: ``plan``: all stages once more; ``inline``: the stages from ``anchor`` up to those of ``stop_before``.
    :ivar eventtypes: of the datasets that it applies to; none: all. :ivar datasets: their names; none: all.
    :ivar requires: columns and ``stage.ID`` that must exist.
    :ivar multiply: formulas that every weight is multiplied with.
    :ivar replace: by name, the name that is used in its place.
    :ivar dataset_replace: by dataset, the one whose files stand in for its own.
    :ivar patch: the params of the anchor in this variation, in the form of :class:`Stage`; empty for mode ``plan``.
    :ivar export: by new name in the main stream, the name in the variation.
    """

    name: str
    mode: Literal["plan", "inline"]
    group: str | None
    direction: str | None
    eventtypes: tuple[str, ...] | None
    datasets: tuple[str, ...] | None
    requires: tuple[str, ...]
    multiply: tuple[str, ...]
    replace: Mapping[str, str]
    dataset_replace: Mapping[str, str]
    anchor: str | None
    patch: Mapping[str, JSON]
    stop_before: tuple[str, ...]
    export: Mapping[str, str]
    metadata: Mapping[str, JSON]
    path: DocumentPath = field(compare=False)

    def applies(self, dataset: Dataset) -> bool:
        """Say whether the variation changes anything for ``dataset``."""
        return (self.eventtypes is None or dataset.eventtype in self.eventtypes) and (
            self.datasets is None or dataset.name in self.datasets
        )


def read_variations(
    draft: Draft, stages: Sequence[Stage], broken: frozenset[str], datasets: frozenset[str]
) -> tuple[Variation, ...]:
    """Return the variations without faults in the order of the document.

    :param broken: stages that have faults. :param datasets: names of all datasets, sound or not.
    """
    reader = _Reader(draft, stages, broken, datasets)
    found = {variation.name: variation for variation in reader.variations()}
    return tuple(found.values())


def include_nominal(draft: Draft) -> bool:
    """Return ``systematics.include_nominal``, which is recorded; the nominal result is there in any case."""
    return draft.get("systematics", "include_nominal") is True


def resolved_systematics(variations: Sequence[Variation], stages: Sequence[Stage], *, nominal: bool) -> JSON:
    """Return the key ``systematics`` as a document of the newest version writes it."""
    known = {stage.id: stage for stage in stages}
    return {"include_nominal": nominal, "variations": [_resolved(variation, known) for variation in variations]}


def check_event_types(
    draft: Draft, variations: Iterable[Variation], stages: Iterable[Stage], eventtypes: Collection[str]
) -> None:
    """Report event types of no dataset: what is for these alone would vanish without a word.

    :param eventtypes: of the datasets; ``data`` and ``mc`` may be named whether there are any or not.
    """
    places = [(eventtype, (*item.path, "applies_to")) for item in variations for eventtype in item.eventtypes or ()]
    for stage in stages:
        applied = mapping(mapping(stage.params.get("variations")).get("apply_to"))
        if "eventtype" in applied:
            place = (*stage.path, "params", "variations", "apply_to", "eventtype")
            places.append((str(applied["eventtype"]), place))
    known = sorted({"data", "mc", *eventtypes})
    for eventtype, place in places:
        if eventtype not in known:
            draft.fault(place, f"no dataset has the event type {eventtype!r}", of_known(eventtype, known))


class _Reader:
    """Reads variations and checks them against the rest of the document."""

    def __init__(self, draft: Draft, stages: Sequence[Stage], broken: frozenset[str], datasets: frozenset[str]) -> None:
        self._draft = draft
        self._stages = {stage.id: stage for stage in stages}
        self._broken = broken
        self._datasets = datasets

    def variations(self) -> Iterator[Variation]:
        """Yield the variations that have no faults."""
        names: dict[str, DocumentPath] = {}
        for path, entry in self._draft.entries(*_AT):
            if not self._draft.sound(path):
                continue
            for concrete in matrix.expanded(part(entry, path), self._draft, typed=True):
                before = len(self._draft.faults)
                if self._draft.grafted(path, concrete, "variation") is None:
                    continue
                found = self._variation(concrete, path)
                self._check_name(found.name, path, names)
                if len(self._draft.faults) == before:
                    yield found

    def _check_name(self, name: str, path: DocumentPath, names: dict[str, DocumentPath]) -> None:
        if name.lower() == NOMINAL:
            self._draft.fault((*path, "name"), "a variation can't be called 'nominal'", "that is what is not varied")
        first = names.get(name.lower())
        names[name.lower()] = path
        if first is None:
            return
        if first == path:
            message, hint = f"the matrix makes two variations {name!r}", "write its axes into the name: {axis}"
            self._draft.fault((*path, "name"), message, hint)
        else:
            self._draft.repeated((*path, "name"), f"variation {name!r}", (*first, "name"))

    def _variation(self, concrete: Part, path: DocumentPath) -> Variation:
        entry = mapping(concrete.plain())
        mode = cast("Literal['plan', 'inline']", entry.get("mode", "plan"))
        self._check_mode(entry, mode, path)
        eventtypes, datasets = self._applicability(entry, path)
        multiply = mapping(entry.get("weight")).get("multiply")
        anchor = text(entry.get("anchor", entry.get("stage")))
        self._check_anchor(entry, anchor, mode, path)
        return Variation(
            name=str(entry["name"]),
            mode=mode,
            group=text(entry.get("group")),
            direction=text(entry.get("direction")),
            eventtypes=eventtypes,
            datasets=datasets,
            requires=tuple(map(str, sequence(entry.get("requires")))),
            multiply=tuple(formula_text(item) for item in sequence(multiply)),
            replace=_texts(entry.get("replace")),
            dataset_replace=self._swaps(entry, path),
            anchor=anchor,
            patch=self._patched(concrete, anchor) if mode == "inline" else {},
            stop_before=tuple(map(str, sequence(entry.get("stop_before")))),
            export=_texts(_fields(entry.get("export"))),
            metadata=mapping(entry.get("metadata")),
            path=path,
        )

    def _check_mode(self, entry: Mapping[str, JSON], mode: str, path: DocumentPath) -> None:
        """Report keys of the other mode, and variations that change nothing."""
        own, other = (_INLINE, _PLAN) if mode == "inline" else (_PLAN, _INLINE)
        for key in other:
            if key in entry:
                hint = "write mode: inline" if mode == "plan" else "variations of mode plan have it"
                self._draft.fault((*path, key), f"{key!r} has no effect in mode {mode}", hint, key=True)
        if mode == "inline":
            if "anchor" not in entry and "stage" not in entry:
                hint = "the stage that is varied: anchor: STAGE"
                self._draft.fault(path, "a variation of mode inline needs an anchor", hint)
            if not mapping(_fields(entry.get("export"))):
                self._draft.warn(
                    path, "the variation exports nothing, so nothing can use it", "add export: {new: name}"
                )
        elif not any(mapping(entry.get(key)) for key in own):
            self._draft.warn(path, "the variation changes nothing", "add weight: {multiply: ...} or replace: {a: b}")

    def _applicability(
        self, entry: Mapping[str, JSON], path: DocumentPath
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """Return event types and names of datasets that it applies to."""
        condition = entry.get("applies_to")
        if isinstance(condition, str):
            return (event_type(condition),), None
        wanted = mapping(condition)
        datasets = [str(name) for name in sequence(wanted.get("datasets"))]
        for number, name in enumerate(datasets):
            place = () if isinstance(wanted["datasets"], str) else (number,)
            self._check_dataset(name, (*path, "applies_to", "datasets", *place))
        if "eventtype" in wanted and "eventtypes" in wanted:
            message = "'eventtype' and 'eventtypes' mean the same"
            self._draft.fault((*path, "applies_to", "eventtype"), message, "keep one of them", key=True)
        written = wanted.get("eventtypes", wanted.get("eventtype"))
        eventtypes = tuple(event_type(str(item)) for item in sequence(written))
        return eventtypes or None, tuple(datasets) or None

    def _swaps(self, entry: Mapping[str, JSON], path: DocumentPath) -> Mapping[str, str]:
        swaps = _texts(mapping(entry.get("datasets")).get("replace"))
        for name, other in swaps.items():
            self._check_dataset(name, (*path, "datasets", "replace", name), key=True)
            self._check_dataset(other, (*path, "datasets", "replace", name))
        return swaps

    def _check_dataset(self, name: str, path: DocumentPath, *, key: bool = False) -> None:
        if name not in self._datasets:
            self._draft.fault(path, f"there is no dataset {name!r}", of_known(name, sorted(self._datasets)), key=key)

    def _check_anchor(self, entry: Mapping[str, JSON], anchor: str | None, mode: str, path: DocumentPath) -> None:
        """Report stages that are not there, and those between which no events flow."""
        if mode == "plan":
            return
        at = (*path, "stop_before")
        single = isinstance(entry.get("stop_before"), str)
        names = enumerate(map(str, sequence(entry.get("stop_before"))))
        stops = [(at if single else (*at, number), name) for number, name in names]
        for place, name in [((*path, "stage" if "stage" in entry else "anchor"), anchor), *stops]:
            if name is not None and name not in self._stages:
                self._draft.fault(place, f"there is no stage {name!r}", of_known(name, self._stages))
        if anchor is None or anchor not in self._stages:
            return
        if nature(self._stages[anchor].op).reads == "products":
            message = f"stage {anchor!r} reads no events, so it can't be varied in between"
            self._draft.fault((*path, "anchor"), message, "write mode: plan, or another anchor")
        for place, stop in stops:
            if stop in self._stages and anchor not in self._above(stop):
                message = f"stage {stop!r} does not read what stage {anchor!r} hands on"
                self._draft.fault(place, message, "name a stage between which and the anchor events flow")

    def _above(self, stage: str) -> frozenset[str]:
        """Return the stages whose events a stage reads, directly or not."""
        found: set[str] = set()
        waiting = [edge.node for edge in self._stages[stage].streams_from]
        while waiting:
            node = waiting.pop()
            if node in self._stages and node not in found:
                found.add(node)
                waiting += [edge.node for edge in self._stages[node].streams_from]
        return frozenset(found)

    def _patched(self, concrete: Part, anchor: str | None) -> Mapping[str, JSON]:
        """Return the params of the anchor with the patch laid over them."""
        stage = self._stages.get(anchor or "")
        if stage is None or stage.id in self._broken:
            return {}
        at = (*stage.path, "params")
        merged = laid_over(part(self._draft.raw(*at) or {}, at), _patch(concrete))
        whole = {"id": part(stage.id, stage.path), "op": part(stage.op, stage.path), "params": merged}
        grafted = self._draft.grafted(stage.path, Part(whole, stage.path), "stage")
        if grafted is None:
            return {}
        params = canonical(stage.op, at, grafted)
        self._draft.adopt(grafted)
        return params


def _patch(concrete: Part) -> Part:
    """Return what is laid over the params of the anchor: ``params``, ``patch``, or ``patch: {params: ...}``."""
    content = cast("Mapping[str, Part]", concrete.content)
    patch = content.get("patch") or content.get("params")
    if patch is None or patch.content is None:
        return Part({}, concrete.path)
    inner = patch.content
    if "patch" in content and isinstance(inner, Mapping) and set(inner) == {"params"}:
        return inner["params"]
    return patch


def _fields(export: JSON) -> JSON:
    return export["fields"] if isinstance(export, Mapping) and isinstance(export.get("fields"), Mapping) else export


def _texts(value: JSON) -> Mapping[str, str]:
    return {key: str(item) for key, item in mapping(value).items()}


def _resolved(variation: Variation, stages: Mapping[str, Stage]) -> JSON:
    applies = {"eventtypes": variation.eventtypes, "datasets": variation.datasets}
    entry: dict[str, JSON] = {
        "group": variation.group,
        "direction": variation.direction,
        "applies_to": {key: list(names) for key, names in applies.items() if names is not None},
        "requires": list(variation.requires),
        "weight": {"multiply": list(variation.multiply)} if variation.multiply else {},
        "replace": variation.replace,
        "datasets": {"replace": variation.dataset_replace} if variation.dataset_replace else {},
        "stop_before": list(variation.stop_before),
        "export": variation.export,
        "metadata": variation.metadata,
    }
    if variation.mode == "inline":
        stage = stages[str(variation.anchor)]
        params, patched = (resolved_params(stage.op, params) for params in (stage.params, variation.patch))
        entry |= {"anchor": stage.id, "patch": {"params": _difference(params, patched)}}
    return {
        "name": variation.name,
        "mode": variation.mode,
        **{key: value for key, value in entry.items() if value not in (None, {}, [])},
    }


def _difference(below: JSON, wanted: JSON) -> JSON:
    """Return what gives ``wanted`` when it is laid over ``below``; a key that is not wanted becomes empty."""
    if not (isinstance(below, Mapping) and isinstance(wanted, Mapping)):
        return wanted
    changed = {
        key: _difference(below[key], value) if key in below else value
        for key, value in wanted.items()
        if key not in below or below[key] != value
    }
    return {**changed, **dict.fromkeys(key for key in below if key not in wanted)}
