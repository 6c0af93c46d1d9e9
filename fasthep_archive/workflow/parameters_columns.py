"""Canonical parameters of the operations that add, rename and merge columns.

Of each operation the result has exactly the keys that its function names; what is absent has no value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import WorkflowError
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.reading import read
from fasthep_archive.workflow.values import DocumentPath, flatten

Params = Mapping[str, JSON]

_COLUMN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_SCHEMA_KEYS = {"version", "fields"}
_DTYPES = ("bool", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def formula_text(value: JSON) -> str:
    """Return the text of a formula, which may be written as a number."""
    return value if isinstance(value, str) else json.dumps(value)


def project_fields(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``aliases``, ``include_existing``."""
    if not draft.sound(at):
        return {}
    return {"aliases": params["aliases"], "include_existing": params.get("include_existing", True)}


def merge_fields(params: Params, _at: DocumentPath, _draft: Draft) -> Params:
    """``on_conflict``."""
    return {"on_conflict": params.get("on_conflict", "keep_first")}


def zip_join(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``inputs: [{name, prefix}]``."""
    if not draft.sound(at):
        return {}
    inputs = [cast("Params", entry) for entry in sequence(params["inputs"])]
    for key in ("name", "prefix"):
        for number, entry in enumerate(inputs):
            if any(entry[key] == other[key] for other in inputs[:number]):
                draft.fault((*at, "inputs", number, key), f"{key} {entry[key]!r} is there twice")
    return {"inputs": [{"name": entry["name"], "prefix": entry["prefix"]} for entry in inputs]}


def selection_flag(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``selection: [formula]``, ``output``."""
    if not draft.sound(at):
        return {}
    if not isinstance(params["selection"], list | tuple):
        draft.moved[(*at, "selection", 0)] = (*at, "selection")
    output = params.get("output")
    if output is None:
        output = str(draft.raw(*at[:-1], "id"))
        if not _COLUMN.fullmatch(output):
            message = f"the id {output!r} is no name that formulas can use, and the flag is called by it"
            draft.fault((*at[:-1], "id"), message, "add output: name_of_the_column to the params")
    return {"selection": [formula_text(item) for item in sequence(params["selection"])], "output": output}


def choose(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``cases: [{name, when, values}]``, ``on_multiple``, ``on_no_match``, ``default?``, which on_no_match asks for."""
    if not draft.sound(at):
        return {}
    entries = [mapping(entry) for entry in sequence(params["cases"])]
    names = list(mapping(entries[0]["values"]))
    cases: list[JSON] = [
        {
            "name": str(entry.get("name", f"case[{number}]")),
            "when": formula_text(entry["when"]),
            "values": _choices(entry["values"], names, (*at, "cases", number, "values"), draft),
        }
        for number, entry in enumerate(entries)
    ]
    policies = {key: params.get(key, "error") for key in ("on_multiple", "on_no_match")}
    canonical: Params = {"cases": cases, **policies}
    if policies["on_no_match"] == "error":
        return canonical
    if "default" not in params:
        draft.fault((*at, "on_no_match"), "on_no_match: default needs a default", "add default: {column: formula}")
        return canonical
    return {**canonical, "default": _choices(params["default"], names, (*at, "default"), draft)}


def _choices(value: JSON, names: Sequence[str], at: DocumentPath, draft: Draft) -> Params:
    """Return formulas by column; report columns that are not those of the first case."""
    found = mapping(value)
    for name in found:
        if name not in names:
            hint = "all cases, and the default, give values to the same columns"
            draft.fault((*at, name), f"the first case has no value for {name!r}", hint, key=True)
    for name in names:
        if name not in found:
            draft.fault(at, f"a value for {name!r} is missing", "all cases give values to the same columns")
    return {name: formula_text(item) for name, item in found.items()}


def pdf_envelope(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``inputs``, ``outputs: {up?, down?}``."""
    if not draft.sound(at):
        return {}
    return {"inputs": params["inputs"], "outputs": mapping(params["outputs"])}


def align_schema(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``schema: {version, fields: {name: {source, dtype?}}}``, ``missing``, ``extra``, ``keep?``, ``drop?``."""
    if not draft.sound(at):
        return {}
    schema = draft.raw(*at, "schema")  # with the fields that are left empty
    if isinstance(schema, str):
        schema = _schema_file(schema, (*at, "schema"), draft)
    listed = {key: [str(item) for item in sequence(params[key])] for key in ("keep", "drop") if key in params}
    if len(listed) > 1:
        draft.fault((*at, "drop"), "'keep' and 'drop' exclude each other", "keep one of them", key=True)
    fields = cast("Mapping[str, JSON]", cast("Params", schema or {}).get("fields") or {})
    return {
        "schema": {"version": 1, "fields": {name: _field(name, entry) for name, entry in fields.items()}},
        "missing": params.get("missing", "error"),
        "extra": params.get("extra", "keep"),
        **listed,
    }


def _field(name: str, entry: JSON) -> Params:
    described = mapping(entry)
    return {"source": name, **described}


def beside(name: str, draft: Draft) -> Path:
    """Return the file that a document names relative to itself."""
    return (draft.document.files[0].parent if draft.document.files else Path()) / name


def _schema_file(name: str, at: DocumentPath, draft: Draft) -> JSON:
    """Return the schema in a YAML or JSON file, or none after a fault."""
    path = beside(name, draft)
    try:
        value, _ = read(path, name)
    except WorkflowError as error:
        draft.faults += [draft.document.fault(at, fault.message, fault.hint) for fault in error.faults]
        return None
    found = cast("Params", flatten(value).data)
    wrong = _schema_fault(found)
    if wrong is not None:
        draft.fault(at, f"{name} is no schema: {wrong}", "it has version: 1, fields: {name: {source: ..., dtype: ...}}")
        return None
    return found


def _schema_fault(schema: Params) -> str | None:
    """Return what is wrong with a schema from a file."""
    fields = schema.get("fields")
    unknown = sorted(schema.keys() - _SCHEMA_KEYS)
    if unknown:
        return f"unknown key {unknown[0]!r}"
    if schema.get("version", 1) != 1:
        return f"its version is {schema['version']!r}"
    if not isinstance(fields, Mapping) or not fields:
        return "it has no fields"
    return next(filter(None, (_field_fault(name, entry) for name, entry in fields.items())), None)


def _field_fault(name: str, entry: JSON) -> str | None:
    if not _COLUMN.fullmatch(name):
        return f"{name!r} is no name that formulas can use"
    if entry is not None and not (isinstance(entry, Mapping) and entry.keys() <= {"source", "dtype"}):
        return f"field {name!r} is not {{source: ..., dtype: ...}}"
    described = mapping(entry)
    if not isinstance(described.get("source", ""), str):
        return f"the source of field {name!r} is no name"
    if "dtype" in described and described["dtype"] not in _DTYPES:
        return f"field {name!r} has the unknown dtype {described['dtype']!r}"
    return None
