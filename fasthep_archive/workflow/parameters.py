"""Parameters of operations in the one form that the rest of the program reads.

The language has short spellings (a cut that is only a formula, a group that is only a list, ``dataset_axis: true``).
Here they become the long ones, defaults are filled in, and what a schema can't say is checked. A
:class:`Draft` remembers where the parts of a rewritten value were written.

Of each operation the result has exactly the keys that its function below names; what is absent has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.workflow import (
    matrix,
    parameters_calls,
    parameters_columns,
    parameters_command,
    parameters_cutflow,
    parameters_objects,
    parameters_products,
    parameters_tabular,
    parameters_writing,
    plugins,
)
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.merging import part
from fasthep_archive.workflow.parameters_columns import formula_text
from fasthep_archive.workflow.parameters_cutflow import value
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]

_DTYPES = {"int": "int64", "float": "float64"}
"""Types that have two names."""


def canonical(op: str, at: DocumentPath, draft: Draft) -> Params:
    """Return the parameters at the path ``at`` in their long form; faults go to ``draft``.

    Parts that do not conform to the schema are left out; all other parts are checked.
    """
    params = draft.mapping(*at)
    plugins.checked("operations", op, params, at, draft)
    return _CANONICAL.get(op, _as_written)(params, at, draft)


def resolved_params(op: str, params: Params) -> JSON:
    """Return canonical parameters as a document of the newest version writes them.

    The order of the groups of a cutflow means something, and a JSON object has none, so they become a list.
    """
    if op != "hep.selection.cutflow":
        return params
    groups = cast("Mapping[str, Params]", params.get("selection", {}))
    return {**params, "selection": [{"name": name, **group} for name, group in groups.items()]}


def _as_written(params: Params, _at: DocumentPath, _draft: Draft) -> Params:
    """Return params whose form is that of the document already: those of renderers."""
    return params


def _define(_params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``variables: [{name, expr | reduce: {op, over}, dtype?}]``; what a matrix stands for is written out."""
    variables: list[JSON] = []
    moved: dict[DocumentPath, DocumentPath] = {}
    for path, entry in draft.entries(*at, "variables"):
        for concrete in matrix.expanded(part(entry, path), draft, typed=False):
            if "matrix" in mapping(entry) and draft.grafted(path, concrete, "variable") is None:
                break
            moved[(*at, "variables", len(variables))] = path
            variables.append(_variable(mapping(concrete.plain())))
    draft.moved |= {path: written for path, written in moved.items() if path != written}
    return {"variables": variables}


def _variable(entry: Params) -> Params:
    variable = {"name": entry["name"], **value(entry)}
    if "dtype" in entry:
        variable["dtype"] = _DTYPES.get(str(entry["dtype"]), entry["dtype"])
    return variable


def _mass(params: Params, _at: DocumentPath, _draft: Draft) -> Params:
    """``collection``, ``mask?``, ``out_var``."""
    collection = params.get("collection", "Muon")
    mask = {"mask": formula_text(params["mask"])} if "mask" in params else {}
    return {"collection": collection, **mask, "out_var": params.get("out_var", f"Di{collection}_Mass")}


def _hist(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``dataset_axis?``, an axis; ``axes: [{name, source, type, bins?, label?}]``; ``storage``, ``weight_expr?``.

    ``sample?``, a formula; ``variations?`` as :func:`parameters_products.hist_variations` says.
    """
    axes = [_axis(mapping(entry), path, draft) for path, entry in draft.entries(*at, "axes")]
    dataset_axis = _dataset_axis(params.get("dataset_axis"), (*at, "dataset_axis"), draft)
    if draft.raw(*at, "axes") == [] and not draft.raw(*at, "dataset_axis"):
        draft.fault((*at, "axes"), "a histogram needs an axis", "add an axis, or dataset_axis: true")
    varied = parameters_products.hist_variations(params.get("variations"), (*at, "variations"), draft)
    names = {axis["name"] for axis in dataset_axis.values()} | {axis["axis"] for axis in varied.values()}
    for path, _ in draft.entries(*at, "axes"):
        name = draft.get(*path, "name")
        if name in names:
            draft.fault((*path, "name"), f"two axes are named {name!r}", "axes need different names")
        names.add(name)
    weight = {"weight_expr": formula_text(params["weight_expr"])} if "weight_expr" in params else {}
    sample = {"sample": formula_text(params["sample"])} if "sample" in params else {}
    storage = _storage(params.get("storage"), [*weight, *varied], bool(sample), at, draft)
    if weight and varied:
        hint = "write it into each of variations.weights; FAST-HEP ignored weight_expr here"
        draft.fault((*at, "weight_expr"), "a histogram with variations has its weights there", hint, key=True)
    return {**dataset_axis, "axes": axes, "storage": storage, **weight, **varied, **sample}


_WEIGHTED = {"count": "weighted", "mean": "weighted_mean"}
"""The storages without weights, and with them."""


def _storage(storage: JSON, weights: Sequence[str], sample: bool, at: DocumentPath, draft: Draft) -> JSON:
    """Return the storage that is written, or what the histogram needs; report one that does not fit.

    :param weights: the keys that give weights.
    """
    plain = "mean" if sample else "count"
    if storage is None:
        return _WEIGHTED[plain] if weights else plain
    if storage not in (plain, _WEIGHTED[plain]):
        message = "a histogram with a sample holds its means" if sample else f"storage: {storage} needs a sample"
        hint = "leave it out" if sample else "write sample: the formula whose mean each bin shall have"
        draft.fault((*at, "storage"), message, hint)
        return storage
    for key in weights if storage == plain else ():
        hint = f"write storage: {_WEIGHTED[plain]}, or leave {key} out"
        hint += "; FAST-HEP ignored the weight here" * (key == "weight_expr" and not sample)
        noun = "a mean of equal samples" if sample else "a histogram that counts"
        draft.fault((*at, "storage"), f"{noun} has no use for {key}", hint)
    return storage


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


_CANONICAL: Mapping[str, Callable[[Params, DocumentPath, Draft], Params]] = {
    "archive.values": parameters_products.archive_values,
    "cms.match_l1t_jets": parameters_objects.match_l1t_jets,
    "hep.align_schema": parameters_columns.align_schema,
    "hep.build_lepton_met_candidate": parameters_objects.build_lepton_met_candidate,
    "hep.build_pairs": parameters_objects.build_pairs,
    "hep.build_recoil": parameters_objects.build_recoil,
    "hep.choose": parameters_columns.choose,
    "hep.clean": parameters_objects.clean,
    "hep.define": _define,
    "hep.di_object_mass": _mass,
    "hep.hist": _hist,
    "hep.merge_fields": parameters_columns.merge_fields,
    "hep.project_fields": parameters_columns.project_fields,
    "hep.select_objects": parameters_objects.select_objects,
    "hep.selection.cutflow": parameters_cutflow.cutflow,
    "hep.selection.flag": parameters_columns.selection_flag,
    "hep.weights.lookup_csv": parameters_products.lookup_csv,
    "hep.weights.pdf_envelope": parameters_columns.pdf_envelope,
    "hep.zip_join": parameters_columns.zip_join,
    "root_histograms": parameters_writing.root_histograms,
    "run.command": parameters_command.run_command,
    "run.events": parameters_calls.run_events,
    "run.python": parameters_calls.run_python,
    "workshop.tabular.explode": parameters_tabular.explode,
    "workshop.tabular.filter": parameters_tabular.table_filter,
    "workshop.tabular.project": parameters_tabular.project,
}
"""How the parameters of each operation are read."""
