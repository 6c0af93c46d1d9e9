"""Where FAST-HEP 2026.10 would have given something else for a workflow: the rules A to K of the reference, section 5.

Only what can be told from the document is said. G (a weight that a counting histogram ignores) is a fault here, H
depends on the files, I and J are no results.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fasthep_archive.digest import JSON
from fasthep_archive.workflow.addresses import scheme
from fasthep_archive.workflow.model import Dataset, Stage, Workflow
from fasthep_archive.workflow.toys import SCHEME

_FORMULAS = frozenset({"expr", "mask", "over", "variable", "weight_expr", "when"})
"""Keys of parameters whose values are formulas."""
_HOLDERS = frozenset({"candidate", "default", "derived", "lepton", "pair", "selection", "values", "weights"})
"""Keys of lists or mappings of formulas."""
_NAME = re.compile(r"[^\W\d]\w*")
_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, kw_only=True, slots=True)
class Departure:
    """A result that FAST-HEP 2026.10 computes differently, or not at all.

    :ivar rule: its letter in the reference. :ivar stage: that it shows at; none: at all. :ivar text: one sentence.
    """

    rule: str
    stage: str | None
    text: str

    def __str__(self) -> str:
        """Return the sentence with its rule and its stage."""
        place = "" if self.stage is None else f"{self.stage}: "
        return f"rule {self.rule}: {place}{self.text}"


def departures(workflow: Workflow) -> tuple[Departure, ...]:
    """Return the departures of ``workflow``, which has no faults, by rule and then in the order of the document."""
    found = [departure for rule in _RULES for departure in rule(workflow)]
    return tuple(dict.fromkeys(found))


def _cutflows(workflow: Workflow) -> Iterator[Departure]:
    for stage in workflow.stages:
        datasets = _datasets(stage, workflow)
        if stage.op == "hep.selection.cutflow" and len(datasets) > 1:
            names = _listed(dataset.name for dataset in datasets)
            text = (
                f"FAST-HEP's local backend adds {names} up to one row 'default' or loses some; here each has its rows"
            )
            yield Departure(rule="A", stage=stage.id, text=text)


def _sources(workflow: Workflow) -> Iterator[Departure]:
    number = len(workflow.sources)
    if number > 1:
        text = f"FAST-HEP reads every file once for each of the {number} sources and counts all events {number} times"
        yield Departure(rule="B", stage=None, text=f"{text}; here they count once")


def _applicability(workflow: Workflow) -> Iterator[Departure]:
    for variation in workflow.variations:
        spared = [dataset.name for dataset in workflow.datasets if not variation.applies(dataset)]
        if variation.mode == "plan" and spared:
            text = f"FAST-HEP applies variation {variation.name!r} to {_listed(spared)} as well, against its applies_to"
            yield Departure(rule="C", stage=None, text=text)


def _numbers_of_events(workflow: Workflow) -> Iterator[Departure]:
    for dataset in workflow.datasets:
        if any(scheme(file) == SCHEME for file in dataset.files):
            text = f"with --chunk-size, FAST-HEP generates all toy events of {dataset.name} anew for each chunk"
            yield Departure(rule="D", stage=None, text=text)
        elif dataset.nevents is not None and len(dataset.files) > 1:
            text = (
                f"FAST-HEP reads the first {dataset.nevents} events of each of the {len(dataset.files)} files of"
                f" {dataset.name}, and no more; here all are read"
            )
            yield Departure(rule="D", stage=None, text=text)


def _logic(workflow: Workflow) -> Iterator[Departure]:
    for stage in workflow.stages:
        words = dict.fromkeys(word for formula in _formulas(stage.params) for word in _logical(formula))
        if words:
            text = f"FAST-HEP can't evaluate {_listed(words)} of columns; here they work event by event"
            yield Departure(rule="E", stage=stage.id, text=text)


def _drawn(workflow: Workflow) -> Iterator[Departure]:
    for stage in workflow.stages:
        number = len(_datasets(stage, workflow))
        if number > 1 and any(render.when == "dataset" for render in stage.renders):
            text = f"FAST-HEP stops at a plot for each of {number} datasets (Duplicate artifact reference)"
            yield Departure(rule="F", stage=stage.id, text=text)


def _replaced(workflow: Workflow) -> Iterator[Departure]:
    for stage in workflow.stages:
        used = {name for formula in _left_alone(stage) for name in _NAME.findall(_TEXT.sub("", formula))}
        for variation in workflow.variations:
            names = [name for name in variation.replace if name in used]
            if names and variation.mode == "plan":
                text = (
                    f"FAST-HEP leaves {_listed(names)} nominal in the cuts and reducers of this stage"
                    f" in variation {variation.name!r}; here they vary"
                )
                yield Departure(rule="K", stage=stage.id, text=text)


_RULES = (_cutflows, _sources, _applicability, _numbers_of_events, _logic, _drawn, _replaced)


def _datasets(stage: Stage, workflow: Workflow) -> Sequence[Dataset]:
    return [dataset for dataset in workflow.datasets if stage.applies_to in (None, dataset.eventtype)]


def _formulas(params: JSON, *, among: bool = False) -> Iterator[str]:
    """Yield the formulas in canonical parameters.

    :param among: whether a text that is found here is one.
    """
    if isinstance(params, Mapping):
        for key, item in params.items():
            yield from _formulas(item, among=key in _FORMULAS or key in _HOLDERS or (among and not _is_plain(key)))
    elif isinstance(params, str):
        if among:
            yield params
    elif isinstance(params, Sequence):
        for item in params:
            yield from _formulas(item, among=among)


def _is_plain(key: str) -> bool:
    """Say whether what stands at a key is text, wherever it is."""
    return key in ("label", "name", "op", "parents")


def _left_alone(stage: Stage) -> Iterator[str]:
    """Yield the formulas in which FAST-HEP replaces no name."""
    params = {key: item for key, item in stage.params.items() if key not in ("weight_expr", "axes")}
    if isinstance(params.get("selection"), Sequence):
        del params["selection"]
    variables = params.pop("variables", ())
    yield from _formulas(params)
    for variable in variables if isinstance(variables, Sequence) else ():
        if isinstance(variable, Mapping) and isinstance(variable.get("reduce"), Mapping):
            yield from _formulas(variable["reduce"])


def _logical(formula: str) -> Iterator[str]:
    """Yield the words and signs of a formula that FAST-HEP can only apply to single values."""
    bare = _TEXT.sub("''", formula)
    yield from (sign for sign in ("&&", "||") if sign in bare)
    try:
        tree = ast.parse(bare.replace("&&", " & ").replace("||", " | ").strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.BoolOp):
            yield "and" if isinstance(node.op, ast.And) else "or"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield "not"
        elif isinstance(node, ast.Compare) and len(node.ops) > 1:
            yield "chained comparisons"


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
