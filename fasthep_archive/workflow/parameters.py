"""Parameters of operations in the one form that the rest of the program reads.

The language has short spellings (a cut that is only a formula, a group that is only a list, ``dataset_axis: true``).
Here they become the long ones, defaults are filled in, and what a schema can't say is checked. A
:class:`Draft` remembers where the parts of a rewritten value were written.

Of each operation the result has exactly the keys that its function below names; what is absent has no value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]

_DTYPES = {"int": "int64", "float": "float64"}
"""Types that have two names."""


def canonical(op: str, at: DocumentPath, draft: Draft) -> Params:
    """Return the parameters at the path ``at`` in their long form; faults go to ``draft``.

    Parts that do not conform to the schema are left out; all other parts are checked.
    """
    return _CANONICAL[op](draft.mapping(*at), at, draft)


def resolved_params(op: str, params: Params) -> JSON:
    """Return canonical parameters as a document of the newest version writes them.

    The order of the groups of a cutflow means something, and a JSON object has none, so they become a list.
    """
    if op != "hep.selection.cutflow":
        return params
    groups = cast("Mapping[str, Params]", params["selection"])
    return {**params, "selection": [{"name": name, **group} for name, group in groups.items()]}


def _define(_params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``variables: [{name, expr | reduce: {op, over}, dtype?}]``."""
    return {"variables": [_variable(mapping(entry)) for _, entry in draft.entries(*at, "variables")]}


def _variable(entry: Params) -> Params:
    variable = {"name": entry["name"], **_value(entry)}
    if "dtype" in entry:
        variable["dtype"] = _DTYPES.get(str(entry["dtype"]), entry["dtype"])
    return variable


def _value(entry: Params) -> dict[str, JSON]:
    """Return the one of ``expr`` and ``reduce`` that is there."""
    if "reduce" not in entry:
        return {"expr": _formula(entry["expr"])}
    reduction = mapping(entry["reduce"])
    return {"reduce": {"op": reduction["op"], "over": _formula(reduction["over"])}}


def _formula(value: JSON) -> str:
    """Return the text of a formula, which may be written as a number."""
    return value if isinstance(value, str) else json.dumps(value)


def _mass(params: Params, _at: DocumentPath, _draft: Draft) -> Params:
    """``collection``, ``mask?``, ``out_var``."""
    collection = params.get("collection", "Muon")
    mask = {"mask": _formula(params["mask"])} if "mask" in params else {}
    return {"collection": collection, **mask, "out_var": params.get("out_var", f"Di{collection}_Mass")}


def _hist(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``dataset_axis?: {name, source, type, bins?, label?}``, ``axes``, ``storage``, ``weight_expr?``."""
    axes = [_axis(mapping(entry), path, draft) for path, entry in draft.entries(*at, "axes")]
    dataset_axis = _dataset_axis(params.get("dataset_axis"), (*at, "dataset_axis"), draft)
    if draft.raw(*at, "axes") == [] and not draft.raw(*at, "dataset_axis"):
        draft.fault((*at, "axes"), "a histogram needs an axis", "add an axis, or dataset_axis: true")
    names = {axis["name"] for axis in dataset_axis.values()}
    for path, _ in draft.entries(*at, "axes"):
        name = draft.get(*path, "name")
        if name in names:
            draft.fault((*path, "name"), f"two axes are named {name!r}", "axes need different names")
        names.add(name)
    weight = {"weight_expr": _formula(params["weight_expr"])} if "weight_expr" in params else {}
    storage = params.get("storage", "weighted" if weight else "count")
    if storage == "count" and weight:
        hint = "write storage: weighted, or leave weight_expr out; FAST-HEP ignored the weight here"
        draft.fault((*at, "storage"), "a histogram that counts has no use for weight_expr", hint)
    return {**dataset_axis, "axes": axes, "storage": storage, **weight}


def _dataset_axis(value: JSON, at: DocumentPath, draft: Draft) -> dict[str, Params]:
    """Return the key ``dataset_axis`` with its axis, or nothing."""
    if value is None or value is False:
        return {}
    entry: Params = {"name": "dataset"} if value is True else mapping(value)
    return {"dataset_axis": _axis({"source": "dataset_name", "type": "category", **entry}, at, draft)}


def _axis(axis: Params, at: DocumentPath, draft: Draft) -> Params:
    bins = axis.get("bins")
    kept = {key: value for key, value in axis.items() if key != "bins"}
    if bins is None:
        return kept
    match axis["type"]:
        case "regular":
            return {**kept, "bins": _regular(mapping(bins), (*at, "bins"), draft)}
        case "variable":
            return {**kept, "bins": {"edges": _edges(bins, (*at, "bins"), draft)}}
        case "category":
            return {**kept, "bins": _different([str(item) for item in sequence(bins)], (*at, "bins"), draft)}
        case _:
            numbers = [int(cast("float", item)) for item in sequence(bins)]
            return {**kept, "bins": _different(numbers, (*at, "bins"), draft)}


def _regular(bins: Params, at: DocumentPath, draft: Draft) -> Params:
    low, high = float(cast("float", bins["low"])), float(cast("float", bins["high"]))
    if not low < high:
        draft.fault((*at, "high"), f"high must be greater than low, but {high} is not greater than {low}")
    return {"low": low, "high": high, "nbins": int(cast("float", bins["nbins"]))}


def _edges(bins: JSON, at: DocumentPath, draft: Draft) -> list[float]:
    if isinstance(bins, Mapping):
        bins = bins["edges"]
        at = (*at, "edges")
    else:
        draft.moved[(*at, "edges")] = at
    edges = [float(cast("float", edge)) for edge in sequence(bins)]
    for number, (below, above) in enumerate(pairwise(edges), start=1):
        if not below < above:
            draft.fault((*at, number), f"edges must increase, but {above} follows {below}")
    return edges


def _different(items: Sequence[JSON], at: DocumentPath, draft: Draft) -> Sequence[JSON]:
    for number, item in enumerate(items):
        if item in items[:number]:
            draft.fault((*at, number), f"bin {item!r} is there twice")
    return items


def _cutflow(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``selection: {group: {cuts: [{expr | reduce, label?}], parents}}``, ``filter``, ``emit_flags``, ...

    ``weight_expr?`` and ``output_field?``. The order of the groups is that of the cutflow's rows.
    """
    groups: dict[str, Params] = {}
    for name, group, path in _groups((*at, "selection"), draft):
        by_key = path == (*at, "selection", name)
        if name in groups:
            draft.fault((*path, "name"), f"group {name!r} is there twice", "groups need different names")
        if name.lower() == "any":
            hint = "write one cut with |, or two groups with filter: any"
            place = path if by_key else (*path, "name")
            draft.fault(
                place, f"a group named {name!r} does not select any of its cuts: they are ANDed", hint, key=by_key
            )
        groups.setdefault(name, _group(group, path, (*at, "selection", name), draft))
    if draft.sound((*at, "selection")):
        _check_parents(groups, (*at, "selection"), draft)
    weight = {"weight_expr": _formula(params["weight_expr"])} if "weight_expr" in params else {}
    output = {"output_field": params["output_field"]} if "output_field" in params else {}
    chosen = {"filter": params.get("filter", "all"), "emit_flags": params.get("emit_flags", True)}
    return {"selection": groups, **weight, **output, **chosen}


def _groups(at: DocumentPath, draft: Draft) -> Iterator[tuple[str, JSON, DocumentPath]]:
    """Yield name, content and path of each group, of a mapping or a list of groups."""
    for path, value in draft.entries(*at):
        if isinstance(path[-1], str):
            yield path[-1], value, path
        else:
            group = mapping(value)
            name = str(group["name"])
            draft.moved.setdefault((*at, name), path)
            yield name, {key: item for key, item in group.items() if key != "name"}, path


def _group(group: JSON, written: DocumentPath, at: DocumentPath, draft: Draft) -> Params:
    """Return the group as ``{cuts, parents}``.

    :param written: path of what the document has.
    :param at: path of what is returned.
    """
    described = mapping(group) if isinstance(group, Mapping) else {"cuts": group}
    for spellings in (("cuts", "steps"), ("parents", "from", "parent")):
        found = [key for key in spellings if key in described]
        if len(found) > 1:
            draft.fault(
                (*written, found[1]), f"{' and '.join(map(repr, found))} mean the same", "keep one of them", key=True
            )
        if found and (found[0] != spellings[0] or written != at):
            draft.moved[(*at, spellings[0])] = (*written, found[0])
    steps = next((described[key] for key in ("cuts", "steps") if key in described), ())
    parents = next((described[key] for key in ("parents", "from", "parent") if key in described), ())
    if not isinstance(group, Mapping):
        draft.moved[(*at, "cuts")] = written
    place = draft.moved.get((*at, "cuts"), (*written, "cuts"))
    cuts: list[JSON] = []
    for number, step in enumerate(sequence(steps)):
        if isinstance(step, str):
            draft.moved[(*at, "cuts", number, "expr")] = (*place, number)
            cuts.append({"expr": step})
        else:
            entry = mapping(step)
            cuts.append({**_value(entry), **({"label": entry["label"]} if "label" in entry else {})})
    return {"cuts": cuts, "parents": [str(parent) for parent in sequence(parents)]}


def _check_parents(groups: Mapping[str, Params], at: DocumentPath, draft: Draft) -> None:
    """Report parents that are no cut of a group above."""
    above: list[str] = []
    lasts: dict[str, str] = {}
    for name, group in groups.items():
        for number, parent in enumerate(cast("Sequence[str]", group["parents"])):
            if parent in above:
                continue
            hint = f"write {lasts[parent]!r}, its last cut" if parent in lasts else nearest(parent, above)
            message = f"parent {parent!r} of group {name!r} is no cut of a group above"
            draft.fault((*at, name, "parents", number), message, hint or "a parent is a cut such as 'Base[0]'")
        cuts = [f"{name}[{number}]" for number in range(len(cast("Sequence[JSON]", group["cuts"])))]
        above += cuts
        if cuts:
            lasts[name] = cuts[-1]


_CANONICAL: Mapping[str, Callable[[Params, DocumentPath, Draft], Params]] = {
    "hep.define": _define,
    "hep.di_object_mass": _mass,
    "hep.hist": _hist,
    "hep.selection.cutflow": _cutflow,
}
"""How the parameters of each operation are read."""
