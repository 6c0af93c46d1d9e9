"""Canonical parameters of ``hep.selection.cutflow``: groups of cuts, which nest in language version 1.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.parameters_columns import formula_text
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]

_COMBINED = {"all": "all", "any": "any", "All": "all", "Any": "any"}
"""How cuts are combined, as it can be written and as it is meant."""


def value(entry: Params) -> dict[str, JSON]:
    """Return the one of ``expr`` and ``reduce`` that is there."""
    if "reduce" not in entry:
        return {"expr": formula_text(entry["expr"])}
    reduction = mapping(entry["reduce"])
    return {"reduce": {"op": reduction["op"], "over": formula_text(reduction["over"])}}


def cutflow(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``selection: {group: {cuts: [{expr | reduce | all: [cut] | any: [cut], label?}], parents}}``, ``filter``, ...

    ``emit_flags``, ``weight_expr?`` and ``output_field?``. The order of the groups is that of the cutflow's rows.
    """
    groups: dict[str, Params] = {}
    for name, group, path in _groups((*at, "selection"), draft):
        by_key = path == (*at, "selection", name)
        if name in groups:
            draft.fault((*path, "name"), f"group {name!r} is there twice", "groups need different names")
        if name.lower() == "any":
            nests = draft.document.language != "1.0"
            cut = "the one cut {any: [...]}" if nests else "one cut with |"
            message = f"a group named {name!r} does not select any of its cuts: they are ANDed"
            hint = f"write {cut}, or two groups with filter: any"
            draft.fault(path if by_key else (*path, "name"), message, hint, key=by_key)
        groups.setdefault(name, _group(group, path, (*at, "selection", name), draft))
    if draft.sound((*at, "selection")):
        _check_parents(groups, (*at, "selection"), draft)
    weight = {"weight_expr": formula_text(params["weight_expr"])} if "weight_expr" in params else {}
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
    cuts = _cuts(steps, place, (*at, "cuts"), draft)
    return {"cuts": cuts, "parents": [str(parent) for parent in sequence(parents)]}


def _cuts(steps: JSON, written: DocumentPath, at: DocumentPath, draft: Draft) -> list[JSON]:
    """Return cuts in their long form, nested ones too.

    :param written: path of the list in the document. :param at: path of what is returned.
    """
    cuts: list[JSON] = []
    for number, step in enumerate(sequence(steps)):
        here, there = (*at, number), (*written, number)
        if isinstance(step, str):
            draft.moved[(*here, "expr")] = there
            cuts.append({"expr": step})
            continue
        entry = mapping(step)
        label = {"label": entry["label"]} if "label" in entry else {}
        combined = next((key for key in _COMBINED if key in entry), None)
        if combined is None:
            cuts.append({**value(entry), **label})
            continue
        means = _COMBINED[combined]
        draft.moved[(*here, means)] = (*there, combined)
        cuts.append({means: _cuts(entry[combined], (*there, combined), (*here, means), draft), **label})
    return cuts


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
