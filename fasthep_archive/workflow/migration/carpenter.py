"""Stages in the form of fast-carpenter 0.23: a list of names and classes, and one section of arguments for each.

What each class means was read from its code; where the two languages differ, the formula that means the same is
written, or a note says what to look at. Weights apply to simulation only, as they did there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import cast

import yaml

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, Location, WorkflowError
from fasthep_archive.workflow import reading
from fasthep_archive.workflow.migration.emission import Commented, Notes
from fasthep_archive.workflow.values import Value, flatten

_Section = Mapping[str, JSON]
_Stage = Mapping[str, JSON]

_REDUCERS = frozenset({"sum", "prod", "any", "all", "count_nonzero", "max", "min", "argmin", "argmax", "counts"})
_FILLED = {"max": "fill_none(max(...), -inf)", "min": "fill_none(min(...), inf)"}
"""What awkward 0.x, which fast-carpenter used, gave for lists without values."""
_CONDITIONS = frozenset({"any", "all"})
_SIMPLE = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """One stage that is to be brought over: its arguments, and where they are written."""

    id: str
    section: _Section
    where: Location
    notes: Notes

    def note(self, text: str) -> None:
        """Note something about the stage."""
        self.notes.add(f"stage {self.id!r}: {text}", self.where)

    def formula(self, text: JSON) -> str:
        """Return an expression as a formula; note what it can't say, or says otherwise."""
        formula = str(text) if not isinstance(text, bool) else str(bool(text))
        wrong = self.notes.wrong(formula)
        if wrong is not None:
            self.note(f"{formula!r} is no formula here: {wrong}")
        if re.search(r"(?<!/)/(?!/)", formula):
            self.note(f"in {formula!r}, / gave whole numbers for whole numbers; here it does not: // would")
        if "%" in formula:
            self.note(f"in {formula!r}, % had the sign of its left side; here it has that of its right side")
        return formula


def is_sequence(root: Value) -> bool:
    """Say whether a document is a sequence of fast-carpenter: a list of stages at its top, and no analysis."""
    return isinstance(root.content, Mapping) and "stages" in root.content and "analysis" not in root.content


def analysis(path: Path, root: Value, text: str, notes: Notes) -> Sequence[Commented]:
    """Return the stages of a sequence, those of files that it imports in their place.

    :raises WorkflowError: with all faults of its form.
    """
    faults: list[Fault] = []
    found = [stage for asked in _asked(path, root, text, notes, faults) for stage in asked]
    if faults:
        raise WorkflowError(faults)
    return found


def _asked(
    path: Path, root: Value, text: str, notes: Notes, faults: list[Fault], above: tuple[Path, ...] = ()
) -> Iterator[Sequence[Commented]]:
    """Yield the stages that each entry of the list ``stages`` becomes."""
    top = cast("Mapping[str, Value]", root.content)
    listed = top["stages"].content
    comments = _comments(text, {name: place.line for name, place in root.keys.items()})
    loose = comments.pop("stages", ())
    for item in listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ():
        named = item.content
        if not isinstance(named, Mapping) or len(named) != 1:
            faults.append(Fault("a stage is a mapping of its name to its class", item.place.where))
            continue
        ((name, kind),) = named.items()
        if name == "IMPORT":
            yield from _imported(path, kind, notes, faults, above)
            continue
        section, where = top.get(name), root.keys.get(name, item.place.where)
        given = cast("JSON", flatten(section).data) if section is not None else {}
        if not isinstance(given, Mapping):
            faults.append(Fault(f"the section of stage {name!r} is no mapping of arguments", where))
            continue
        asked = _Asked(id=re.sub(r"[^\w-]", "_", name), section=given, where=where, notes=notes)
        brought, loose = _brought(asked, str(kind.content)), (*loose, *comments.pop(name, ()))
        yield _commented(brought, loose)
        loose = () if brought else loose
    for line in (*loose, *chain.from_iterable(comments.values())):
        notes.add(f"the comment {line!r} was left out", top["stages"].place.where)


def _imported(
    path: Path, kind: Value, notes: Notes, faults: list[Fault], above: tuple[Path, ...]
) -> Iterator[Sequence[Commented]]:
    file = Path(str(kind.content).replace("{this_dir}", str(path.parent)))
    file = file if file.is_absolute() else path.parent / file
    if file in (path, *above):
        faults.append(Fault(f"{file} imports itself", kind.place.where))
        return
    root, text = reading.read(file, str(file))
    if is_sequence(root):
        yield from _asked(file, root, text, notes, faults, (path, *above))
    else:
        faults.append(Fault(f"{file} has no list 'stages'", kind.place.where))


def _comments(text: str, sections: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the comments of each section: on the lines directly above its name, and in it.

    What stands above the first section is of ``stages``.

    :param sections: the line on which each begins, counted from 1.
    """
    scalars = [(token.start_mark.index, token.end_mark.index) for token in yaml.scan(text) if _is_scalar(token)]
    place, found = 0, dict[int, tuple[str, bool]]()
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        for mark in re.finditer(r"(?:^|(?<=\s))#", line):
            if not any(start <= place + mark.start() < end for start, end in scalars):
                found[number] = (line[mark.end() :].rstrip().removeprefix(" "), not line[: mark.start()].strip())
                break
        place += len(line)
    begins = {line: name for name, line in sections.items()}
    owned: dict[str, list[str]] = {}
    for number, (comment, alone) in found.items():
        after = number
        while after in found and alone and found[after][1]:
            after += 1
        before = max((line for line in begins if line <= number), default=0)
        owner = begins[after] if after in begins and alone else begins.get(before, "stages")
        owned.setdefault(owner, []).append(comment)
    return {name: tuple(lines) for name, lines in owned.items()}


def _is_scalar(token: object) -> bool:
    return isinstance(token, yaml.ScalarToken)


def _commented(stages: Sequence[_Stage], comments: tuple[str, ...]) -> Sequence[Commented]:
    return [Commented(stage=stage, comments=comments if not number else ()) for number, stage in enumerate(stages)]


def _brought(asked: _Asked, kind: str) -> Sequence[_Stage]:
    """Return the stages that say what a stage of class ``kind`` does."""
    module, _, name = kind.rpartition(".")
    bring = _CLASSES.get(name) if module.split(".")[0] == _MODULES.get(name, "fast_carpenter") else None
    if bring is None:
        asked.note(f"{kind} has no counterpart and was left out")
        return []
    stages, known = bring(asked), _ARGUMENTS[name]
    for key in asked.section:
        if key not in known:
            asked.note(f"{name} takes no argument {key!r}, which was left out")
    return stages


# Definitions


def _define(asked: _Asked) -> Sequence[_Stage]:
    variables: list[JSON] = []
    for entry in _list(asked.section.get("variables")):
        for name, config in entry.items() if isinstance(entry, Mapping) else ():
            variables.append({"name": name, **_variable(config, asked)})
    return [{"id": asked.id, "op": "hep.define", "params": {"variables": variables}}]


def _variable(config: JSON, asked: _Asked) -> Mapping[str, JSON]:
    if not isinstance(config, Mapping):
        return {"expr": asked.formula(config)}
    formula = asked.formula(config.get("formula"))
    if config.get("mask"):
        formula = f"({formula})[{asked.formula(config['mask'])}]"
    if "reduce" not in config:
        return {"expr": formula}
    fill = config.get("fill_missing", float("nan"))
    return {"expr": _reduced(config["reduce"], formula, cast("bool | float", fill), asked)}


def _reduced(reducer: JSON, formula: str, fill: bool | float, asked: _Asked) -> str:
    """Return a reduction of lists; ``fill`` stands where a list is too short for its n-th value."""
    if isinstance(reducer, int) and not isinstance(reducer, bool):
        default = repr(fill) if isinstance(fill, bool) else repr(float(fill))
        return f"nth({formula}, {reducer}, default={default})"
    if reducer not in _REDUCERS:
        asked.note(f"the reduction {reducer!r} is unknown and was left as it is")
    if reducer in ("max", "min"):
        asked.note(f"{reducer} of an empty list is missing here, not an infinity: {_FILLED[reducer]} would say that")
    return f"{'count' if reducer == 'counts' else reducer}({formula})"


def _systematic_weights(asked: _Asked) -> Sequence[_Stage]:
    """Write all products of weights with one of them varied; they exist for simulation only."""
    weights = {
        name: {"nominal": weight} if isinstance(weight, str) else cast("Mapping[str, str]", weight)
        for name, weight in cast("Mapping[str, JSON]", asked.section.get("weights") or {}).items()
    }
    form = str(asked.section.get("out_format", "weight_{}"))
    nominal = {name: asked.formula(weight.get("nominal", "1.0")) for name, weight in weights.items()}
    products = {form.replace("{}", "nominal"): nominal}
    for name, weight in weights.items():
        for direction, formula in weight.items():
            if direction != "nominal":
                products[form.replace("{}", f"{name}_{direction}")] = nominal | {name: asked.formula(formula)}
    variables = [
        {"name": name, "expr": " * ".join(f"({factor})" for factor in factors.values())}
        for name, factors in products.items()
    ]
    params = cast("JSON", {"variables": variables})
    return [{"id": asked.id, "op": "hep.define", "applies_to": {"eventtype": "mc"}, "params": params}]


def _mass(asked: _Asked) -> Sequence[_Stage]:
    """Write the pair's mass: the stage of FAST's public tutorial from which ``hep.di_object_mass`` descends."""
    params = {key: value for key, value in asked.section.items() if key in _ARGUMENTS["DiObjectMass"]}
    return [{"id": asked.id, "op": "hep.di_object_mass", "params": params}]


# Selections


def _cutflow(asked: _Asked) -> Sequence[_Stage]:
    """Write the selection with its first weight, after a cutflow that selects nothing for each of the others."""
    cuts = _cuts(asked.section.get("selection"), asked)
    weights = _weights(asked.section.get("weights"), asked)
    stages = [
        _counted(f"{asked.id}_{name}", cuts, weight, {"filter": "none", "emit_flags": False})
        for name, weight in list(weights.items())[1:]
    ]
    return [*stages, _counted(asked.id, cuts, next(iter(weights.values()), None), {})]


def _counted(stage: str, cuts: Sequence[JSON], weight: str | None, more: _Section) -> _Stage:
    weighted = {"weight_expr": _simulation_only(weight)} if weight else {}
    params = cast("JSON", {"selection": {"selection": cuts}, **weighted, **more})
    return {"id": stage, "op": "hep.selection.cutflow", "params": params}


def _phase_space(asked: _Asked) -> Sequence[_Stage]:
    """Write the selection as a column, with all events kept."""
    (*others, last) = _cutflow(asked)
    name = str(asked.section.get("region_name", asked.id))
    params = {**cast("_Section", last["params"]), "filter": "none", "emit_flags": False, "output_field": name}
    return [*others, {**last, "params": params}]


def _cuts(selection: JSON, asked: _Asked) -> list[JSON]:
    """Return the cuts of the outermost level, all of which must hold."""
    if isinstance(selection, Mapping) and set(selection) == {"All"}:
        return [_cut(item, asked) for item in _list(selection["All"])]
    return [_cut(selection, asked)]


def _cut(cut: JSON, asked: _Asked) -> JSON:
    if not isinstance(cut, Mapping):
        return asked.formula(cut)
    if set(cut) in ({"All"}, {"Any"}):
        ((kind, inner),) = cut.items()
        return {kind: [_cut(item, asked) for item in _list(inner)]}
    if "formula" not in cut:
        asked.note(f"the cut {dict(cut)!r} was not understood and was left out")
        return "True"
    formula, reducer = asked.formula(cut["formula"]), cut.get("reduce")
    if reducer in _CONDITIONS:
        return {"reduce": {"op": reducer, "over": formula}}
    return _reduced(reducer, formula, False, asked)


def _weights(written: JSON, asked: _Asked) -> Mapping[str, str]:
    """Return weights by the names that outputs call them by."""
    if not written:
        return {}
    if isinstance(written, str):
        return {_identifier(written): asked.formula(written)}
    if isinstance(written, Mapping):
        return {_identifier(name): asked.formula(weight) for name, weight in written.items()}
    return {_identifier(str(weight)): asked.formula(weight) for weight in _list(written)}


def _simulation_only(weight: str) -> str:
    return f"1.0 if dataset_is_data else {weight}"


# Histograms


def _histograms(asked: _Asked) -> Sequence[_Stage]:
    """Write one histogram for each weight, or one that counts."""
    section = asked.section
    axes = [_axis(cast("_Section", entry), asked) for entry in _list(section.get("binning"))]
    dataset_axis = {"dataset_axis": True} if section.get("dataset_col", True) else {}
    if asked.section.get("file_format"):
        asked.note("file_format was left out: histograms have one form")
    weights = _weights(section.get("weights"), asked)
    stages: list[_Stage] = []
    for name, weight in weights.items() or [("", "")]:
        params: dict[str, JSON] = {**dataset_axis, "axes": cast("JSON", axes)}
        if weight:
            params["weight_expr"] = weight if section.get("weight_data") else _simulation_only(weight)
        stages.append(
            {"id": f"{asked.id}_{name}" if len(weights) > 1 else asked.id, "op": "hep.hist", "params": params}
        )
    return stages


def _axis(entry: _Section, asked: _Asked) -> Mapping[str, JSON]:
    source = asked.formula(entry.get("in"))
    axis: dict[str, JSON] = {"name": _identifier(str(entry.get("out", source))), "source": source}
    bins = entry.get("bins")
    if not isinstance(bins, Mapping):
        asked.note(f"{source!r} was binned by its values: type is int here; write category if they are texts")
        return {**axis, "type": "int"}
    for flow in ("underflow", "overflow"):
        if bins.get(flow, True) is not True:
            asked.note(f"{flow} of {source!r} is always kept")
    if "edges" in bins:
        asked.note(f"edges of {source!r} are float64 here, and were rounded to float32")
        return {**axis, "type": "variable", "bins": {"edges": bins["edges"]}}
    return {**axis, "type": "regular", "bins": {key: bins.get(key) for key in ("low", "high", "nbins")}}


def _identifier(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else re.sub(r"\W+", "_", text).strip("_") or "weight"


def _list(value: JSON) -> Sequence[JSON]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


_CLASSES: Mapping[str, Callable[[_Asked], Sequence[_Stage]]] = MappingProxyType(
    {
        "Define": _define,
        "DiObjectMass": _mass,
        "SystematicWeights": _systematic_weights,
        "CutFlow": _cutflow,
        "SelectPhaseSpace": _phase_space,
        "BinnedDataframe": _histograms,
    }
)
"""How each class is brought over, whatever module of fast-carpenter it is named from."""

_MODULES = MappingProxyType({"DiObjectMass": "cms_hep_tutorial"})
"""Packages of classes that are not fast-carpenter's own."""

_ARGUMENTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Define": frozenset({"variables"}),
        "DiObjectMass": frozenset({"collection", "mask", "out_var"}),
        "SystematicWeights": frozenset({"weights", "out_format", "extra_variations"}),
        "CutFlow": frozenset({"selection", "weights"}),
        "SelectPhaseSpace": frozenset({"selection", "weights", "region_name"}),
        "BinnedDataframe": frozenset(
            {"binning", "weights", "dataset_col", "weight_data", "pad_missing", "observed", "file_format"}
        ),
    }
)
"""What each class takes. ``pad_missing`` and ``observed`` are about empty bins, which histograms always have."""
