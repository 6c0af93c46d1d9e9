"""Canonical parameters of the operations that call functions of the analysis.

Of each operation the result has exactly the keys that its function names; what is absent has no value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]

_TYPE = re.compile(r"(?P<type>\??(?:float64|int64|bool)|list\[\??(?:float64|int64|bool)\])(?: +like +(?P<like>\S+))?")
_NAMES = ("values", "histograms", "files")


def run_events(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``callable``, ``columns``, ``returns: [{name, type, like?}]``, ``params``, ``seed``, ``code?``, ``timeout?``."""
    if not draft.sound(at):
        return {}
    columns = listed_columns(params["columns"], at, draft)
    return {
        "callable": params["callable"],
        "columns": columns,
        "returns": returned(params["returns"], columns, (*at, "returns"), draft),
        **_common(params),
    }


def listed_columns(written: JSON, at: DocumentPath, draft: Draft) -> Sequence[str]:
    """Return the columns that a function sees, which stand at ``at`` under ``columns``; report what is there twice."""
    columns = [str(name) for name in sequence(written)]
    for number, name in enumerate(columns):
        if name in columns[:number]:
            draft.fault((*at, "columns", number), f"column {name!r} is there twice")
        inside = next((other for other in columns if name.startswith(f"{other}.")), None)
        if inside is not None:
            draft.fault((*at, "columns", number), f"{name!r} is a member of {inside!r}, which is there too")
    return columns


def returned(value: JSON, columns: Sequence[str], at: DocumentPath, draft: Draft) -> Sequence[JSON]:
    """Return the columns that are declared, ``{name, type, like?}``, in their order: a JSON object has none."""
    if isinstance(value, Mapping):
        entries = [(name, str(kind), (*at, name)) for name, kind in value.items()]
        for number, (_, _, path) in enumerate(entries):
            draft.moved[(*at, number)] = draft.moved[(*at, number, "like")] = path
    else:
        items = [mapping(item) for item in sequence(value)]
        likes = [f" like {item['like']}" if "like" in item else "" for item in items]
        entries = [
            (str(item["name"]), f"{item['type']}{like}", (*at, number))
            for number, (item, like) in enumerate(zip(items, likes, strict=True))
        ]
    found: list[JSON] = []
    for name, kind, path in entries:
        match = _TYPE.fullmatch(kind.strip())
        if match is None:
            hint = "write float64, int64 or bool, ?float64 where values can be missing, list[float64] for lists"
            draft.fault(path, f"{kind!r} is no type of a column", hint)
            continue
        like = match["like"]
        if like is not None and not match["type"].startswith("list["):
            draft.fault(path, f"{name!r} is no list, so it can't be like one", "write list[...]")
            continue
        if like is not None and not any(like == other or like.startswith(f"{other}.") for other in columns):
            hint = nearest(like, columns) or f"columns are {', '.join(columns)}"
            draft.fault(path, f"{name!r} is to be like {like!r}, which is not among the columns", hint)
        found.append({"name": name, "type": match["type"], **({} if like is None else {"like": like})})
    return found


def run_python(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``callable``, ``returns: {values, histograms, files, table}``, ``params``, ``seed``, ``code?``, ``timeout?``."""
    if not draft.sound(at):
        return {}
    returns = mapping(params["returns"])
    names: dict[str, list[str]] = {}
    seen: set[str] = {"table"} if returns.get("table") else set()
    for key in _NAMES:
        names[key] = [str(name) for name in sequence(returns.get(key) or ())]
        for number, name in enumerate(names[key]):
            if name in seen:
                draft.fault((*at, "returns", key, number), f"{name!r} is there twice", "give each its own name")
            seen.add(name)
    if not seen:
        draft.fault((*at, "returns"), "a stage that returns nothing leaves nothing", "write values: [a_number]")
    return {
        "callable": params["callable"],
        "returns": {**names, "table": bool(returns.get("table"))},
        **_common(params),
    }


def used(entry: Mapping[str, JSON]) -> tuple[str, ...] | None:
    """Return the files of the code that a function is said to use, under ``code``; none: nothing is said."""
    written = entry.get("code")
    return None if written is None else tuple(dict.fromkeys(str(name) for name in sequence(written)))


def _common(params: Params) -> Params:
    timeout, uses = params.get("timeout"), used(params)
    return {
        "params": mapping(params.get("params") or {}),
        "seed": params.get("seed") or 0,
        **({} if uses is None else {"code": list(uses)}),
        **({} if timeout is None else {"timeout": timeout}),
    }
