"""Canonical parameters of tables that are looked up, of a histogram's variations, and of values made of products.

A table is read here, when the document is, and its numbers become part of the parameters: of the resolved document, of
the keys of what is computed with them, and of a bundle, in which the file itself is not needed any more.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest, of_known
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.parameters_columns import beside, formula_text
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]

MAX_ROWS = 1000
"""Rows of a table: each is an instruction of the compiled program."""
_MAX_BYTES = 1 << 20
_KINDS = ("yield", "integral", "expr")


def lookup_csv(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``path``, ``variable``, ``bins: {lower, upper}``, ``values``, ``outputs``, ``table: {column: [number]}``."""
    if not draft.sound(at):
        return {}
    values, outputs = mapping(params["values"]), mapping(params["outputs"])
    for label in outputs:
        if label not in values:
            message = f"{label!r} is not among the values"
            draft.fault((*at, "outputs", label), message, of_known(label, values), key=True)
    bins = _bins(mapping(params.get("bins")))
    needed = list(dict.fromkeys([*bins.values(), *(str(column) for column in values.values())]))
    table = mapping(params.get("table")) or _table(str(params["path"]), needed, (*at, "path"), draft)
    if table is not None:
        _check_bins(table, bins, at, draft)
    return {
        "path": PurePath(str(params["path"])).name,
        "variable": formula_text(params["variable"]),
        "bins": bins,
        "values": values,
        "outputs": outputs,
        "table": table,
    }


def _bins(bins: Params) -> Mapping[str, str]:
    """Return the columns with the lower and the upper edges, as FAST-HEP finds them."""
    lower, upper = bins.get("lower", bins.get("min")), bins.get("upper", bins.get("max"))
    if lower is not None and upper is not None:
        return {"lower": str(lower), "upper": str(upper)}
    column = bins.get("column", "pt")
    return {"lower": f"{column}_min", "upper": f"{column}_max"}


def _table(name: str, needed: Sequence[str], at: DocumentPath, draft: Draft) -> Mapping[str, JSON] | None:
    """Return the needed columns of a CSV file with a header, or none after a fault."""
    try:
        content = beside(name, draft).read_bytes()
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except OSError as error:
        draft.fault(at, f"can't read {name}: {error.strerror or error}", "tables are relative to the document")
        return None
    except (UnicodeDecodeError, csv.Error) as error:
        draft.fault(at, f"{name} is no CSV file: {error}")
        return None
    header, *lines = [row for row in rows if row] or [[]]
    missing = [column for column in needed if column not in header]
    if missing:
        hint = nearest(missing[0], header) or f"its columns are {', '.join(header)}"
        draft.fault(at, f"{name} has no column {missing[0]!r}", hint)
        return None
    if not 0 < len(lines) <= MAX_ROWS or len(content) > _MAX_BYTES:
        draft.fault(at, f"{name} has {len(lines)} rows, and a table has 1 to {MAX_ROWS}")
        return None
    return _numbers(name, header, lines, needed, at, draft)


def _numbers(
    name: str,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    needed: Sequence[str],
    at: DocumentPath,
    draft: Draft,
) -> Mapping[str, JSON] | None:
    found: dict[str, list[float]] = {column: [] for column in needed}
    for number, line in enumerate(lines, start=2):
        for column in needed:
            place = header.index(column)
            text = line[place].strip() if place < len(line) else ""
            value = _number(text)
            if value is None:
                draft.fault(at, f"{name}, row {number}: {column} is {text!r}, not a finite number")
                return None
            found[column].append(value)
    return cast("Mapping[str, JSON]", found)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _check_bins(table: Params, bins: Mapping[str, str], at: DocumentPath, draft: Draft) -> None:
    """Report columns of different lengths, and rows whose bin holds nothing."""
    columns = cast("Mapping[str, Sequence[float]]", table)
    sizes = {len(column) for column in columns.values()}
    if len(sizes) > 1 or any(column not in columns for column in bins.values()):
        draft.fault((*at, "table"), "the table needs columns of one length, those of the bins among them")
        return
    for number, (low, high) in enumerate(zip(columns[bins["lower"]], columns[bins["upper"]], strict=True), start=2):
        if not low < high:
            draft.fault((*at, "path"), f"row {number}: the bin from {low} to {high} holds nothing")
            return


def hist_variations(value: JSON, at: DocumentPath, draft: Draft) -> dict[str, Params]:
    """Return the key ``variations: {axis, weights: [{name, expr}], apply_to?}`` of a histogram, or nothing."""
    if value is None or not draft.sound(at):
        return {}
    params = mapping(value)
    weights: list[JSON] = []
    for number, (path, name, text) in enumerate(_weights(params["weights"], (*at, "weights"))):
        draft.moved[(*at, "weights", number, "expr")] = path
        if any(cast("Params", known)["name"] == name for known in weights):
            draft.fault(path, f"weight {name!r} is there twice")
        weights.append({"name": name, "expr": formula_text(text)})
    apply_to = {"apply_to": params["apply_to"]} if "apply_to" in params else {}
    if apply_to and not any(cast("Params", weight)["name"] == "nominal" for weight in weights):
        message = "datasets that the variations are not for fill 'nominal', which is not among the weights"
        draft.fault((*at, "apply_to"), message, "add weights: {nominal: ...}")
    return {"variations": {"axis": params.get("axis", "variation"), "weights": weights, **apply_to}}


def _weights(value: JSON, at: DocumentPath) -> list[tuple[DocumentPath, str, JSON]]:
    """Return place, name and formula of each weight, of a mapping or a list."""
    if isinstance(value, Mapping):
        return [((*at, name), name, text) for name, text in value.items() if text is not None]
    entries = enumerate(mapping(entry) for entry in sequence(value))
    return [((*at, number, "expr"), str(entry["name"]), entry["expr"]) for number, entry in entries]


def archive_values(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``values: [{name, yield | integral | expr}]``, ``non_finite``.

    ``yield: {of, dataset?, group?, cut?, what}`` with a list of datasets; ``integral: {of, select}``.
    """
    if not draft.sound(at):
        return {}
    values: list[JSON] = []
    names: set[str] = set()
    for number, item in enumerate(sequence(params["values"])):
        entry, place = mapping(item), (*at, "values", number)
        kinds = [kind for kind in _KINDS if kind in entry]
        name = str(entry["name"])
        if len(kinds) != 1:
            message = f"value {name!r} needs one of {', '.join(_KINDS)}, and has {' and '.join(kinds) or 'none'}"
            draft.fault(place, message)
            continue
        if name in names:
            draft.fault((*place, "name"), f"value {name!r} is there twice")
        names.add(name)
        values.append({"name": name, **_VALUE[kinds[0]](entry[kinds[0]], (*place, kinds[0]), draft)})
    return {"values": values, "non_finite": params.get("non_finite", "error")}


def _yield(value: JSON, at: DocumentPath, draft: Draft) -> Params:
    params = dict(mapping(value))
    if "dataset" in params:
        if isinstance(params["dataset"], str):
            draft.moved[(*at, "dataset", 0)] = (*at, "dataset")
        params["dataset"] = list(sequence(params["dataset"]))
    return {"yield": {**params, "what": params.get("what", "sumw")}}


def _integral(value: JSON, _at: DocumentPath, _draft: Draft) -> Params:
    params = mapping(value)
    return {"integral": {"of": params["of"], "select": mapping(params.get("select"))}}


def _expr(value: JSON, _at: DocumentPath, _draft: Draft) -> Params:
    return {"expr": formula_text(value)}


_VALUE = {"yield": _yield, "integral": _integral, "expr": _expr}
