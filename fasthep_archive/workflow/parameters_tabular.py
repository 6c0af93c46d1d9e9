"""Canonical parameters of the operations ``workshop.tabular.*``."""

from __future__ import annotations

from collections.abc import Mapping

from fasthep_archive.digest import JSON
from fasthep_archive.workflow.draft import Draft, sequence
from fasthep_archive.workflow.parameters_columns import formula_text
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]


def explode(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``fields``, ``keep_fields``."""
    fields, kept = sequence(params.get("fields")), sequence(params.get("keep_fields"))
    for number, name in enumerate(kept):
        if name in fields:
            draft.fault((*at, "keep_fields", number), f"{name!r} is among the fields that are exploded already")
    return {"fields": fields, "keep_fields": kept}


def table_filter(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``expr``."""
    return {"expr": formula_text(params["expr"])} if draft.sound(at) else {}


def project(params: Params, _at: DocumentPath, _draft: Draft) -> Params:
    """``fields``."""
    return {"fields": sequence(params.get("fields"))}
