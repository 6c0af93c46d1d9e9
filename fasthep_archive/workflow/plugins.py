"""What a plug-in says of itself, as far as a document has to fit it: its parameters, and what it reads.

A plug-in is loaded where a document names it, and not before. Its parameters are the fields of a dataclass, or what a
mapping called ``schema`` describes (JSON Schema, draft 2020-12, of an object); of an operation of FAST-HEP, what its
function takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import cast

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.errors import UsageError, nearest
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.values import DocumentPath

_TYPES: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "float": (int, float),
    "int": (int,),
    "str": (str,),
}
"""What values of plain types can be in a document."""
_GIVEN = frozenset(("ctx", "self", "stream"))
"""What operations of FAST-HEP are called with besides their parameters."""
_WORDS: Mapping[str, str] = {"bool": "true or false", "float": "a number", "int": "a whole number", "str": "text"}


def checked(kind: str, name: str, params: Mapping[str, JSON], at: DocumentPath, draft: Draft) -> None:
    """Report parameters that the plug-in ``name`` does not have, lacks, or has of another type.

    :param params: without those that every plug-in of this kind has. :param at: where they stand.
    """
    found = loaded(kind, name, at, draft)
    if found is None:
        return
    described = getattr(found, "schema", None)
    if isinstance(described, Mapping):
        _by_schema(described, params, at, draft)
    elif is_dataclass(found) and isinstance(found, type):
        _by_fields(found, name, params, at, draft)
    elif isinstance(spec := getattr(found, "spec", None), Mapping) and spec.get("kind") == "transform":
        _by_signature(getattr(found, "impl", None) or getattr(found, "run", found), name, params, at, draft)


def loaded(kind: str, name: str, at: DocumentPath, draft: Draft) -> object | None:
    """Return the plug-in ``name``, or none: it is this package's, or what keeps it from being loaded was reported."""
    found = registry.provided(kind, version="").get(name)
    if found is None or (registry.is_ours(kind, name) and not found.rivals):
        return None
    try:
        return found.load()
    except UsageError as error:
        draft.fault(at, error.message, error.hint)
        return None


def _by_fields(plugin: type, name: str, params: Mapping[str, JSON], at: DocumentPath, draft: Draft) -> None:
    known = {item.name: item for item in fields(plugin) if item.init}
    for key, value in params.items():
        if key not in known:
            hint = nearest(key, known) or f"{name} has {', '.join(known) or 'no parameters'}"
            draft.fault((*at, key), f"unknown parameter {key!r} of {name}", hint, key=True)
            continue
        annotated = known[key].type
        declared = annotated if isinstance(annotated, str) else getattr(annotated, "__name__", "")
        wanted = _TYPES.get(declared)
        if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            draft.fault((*at, key), f"{key} of {name} must be {_WORDS[declared]}")
    for key, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and key not in params:
            draft.fault(at, f"missing parameter {key!r} of {name}")


def _by_signature(function: object, name: str, params: Mapping[str, JSON], at: DocumentPath, draft: Draft) -> None:
    """Check the parameters of an operation of FAST-HEP, which its function takes beside the stream and the context."""
    try:
        taken = inspect.signature(cast("Callable[..., object]", function)).parameters
    except (TypeError, ValueError):  # nothing to call, or made by C: it is told when it is called
        return
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {key: item for key, item in taken.items() if item.kind in named and key not in _GIVEN}
    free = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in taken.values())
    for key in params:
        if key not in known and not free:
            hint = nearest(key, known) or f"{name} has {', '.join(known) or 'no parameters'}"
            draft.fault((*at, key), f"unknown parameter {key!r} of {name}", hint, key=True)
    for key, item in known.items():
        if item.default is item.empty and key not in params:
            draft.fault(at, f"missing parameter {key!r} of {name}")


def _by_schema(described: Mapping[str, JSON], params: Mapping[str, JSON], at: DocumentPath, draft: Draft) -> None:
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(described).iter_errors(params):
        draft.fault((*at, *error.absolute_path), error.message)
