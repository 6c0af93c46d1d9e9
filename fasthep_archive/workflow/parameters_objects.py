"""Canonical parameters of the operations that make objects of objects: defaults are filled in, nothing is rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]


def select_objects(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``collection``, ``output``, ``selection``, ``keep``, ``derived``, ``sort``, ``missing_fields``.

    ``sort: false | {by, order}``.
    """
    if not draft.sound(at):
        return {}
    return {
        "collection": params["collection"],
        "output": params["output"],
        "selection": _list(params.get("selection")),
        "keep": _list(params["keep"]),
        "derived": mapping(params.get("derived")),
        "sort": _sort(params.get("sort", {"by": "pt"}), "descending"),
        "missing_fields": params.get("missing_fields", "error"),
    }


def build_pairs(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``collections``, ``output``, ``selection: {pair, candidate}``, ``sort``, ``keep: {candidate, constituents}``."""
    if not draft.sound(at):
        return {}
    return {
        "collections": _list(params["collections"]),
        "output": params["output"],
        "selection": _lists(params.get("selection"), "pair", "candidate"),
        "sort": _sort(params.get("sort", False), "ascending"),
        "keep": _lists(params["keep"], "candidate", "constituents"),
    }


def clean(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``source``, ``clean_against``, ``output``, ``min_delta_r``, ``sort_by?``, ``sort_order``, ``fields?``.

    ``diagnostics: {removed_count: <name> | false, keep_removed}``.
    """
    if not draft.sound(at):
        return {}
    output = params.get("output", f"cleaned_{params['source']}")
    written = params.get("diagnostics")
    described = {"removed_count": False} if written is False else mapping(written)
    diagnostics = {"removed_count": f"nremoved_{output}", "keep_removed": False, **described}
    return {
        "source": params["source"],
        "clean_against": _list(params["clean_against"]),
        "output": output,
        "min_delta_r": _number(params.get("min_delta_r", 0.4)),
        **({"sort_by": params["sort_by"]} if "sort_by" in params else {}),
        "sort_order": params.get("sort_order", "descending"),
        "diagnostics": diagnostics,
        **({"fields": _list(params["fields"])} if "fields" in params else {}),
    }


def build_recoil(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``met``, ``visible``, ``output``, ``selection``, ``keep``."""
    if not draft.sound(at):
        return {}
    lists = {key: _list(params.get(key)) for key in ("visible", "selection", "keep")}
    return {"met": params["met"], "output": params["output"], **lists}


def build_lepton_met_candidate(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``lepton``, ``met``, ``output``, ``selection: {lepton, candidate}``, ``keep: {candidate, lepton}``."""
    if not draft.sound(at):
        return {}
    return {
        **{key: params[key] for key in ("lepton", "met", "output")},
        "selection": _lists(params.get("selection"), "lepton", "candidate"),
        "keep": _lists(params["keep"], "candidate", "lepton"),
    }


def match_l1t_jets(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``reco: {et, eta, phi}``, ``l1: {et, eta, phi}``, ``dr_max``."""
    if not draft.sound(at):
        return {}
    jets = {key: {field: mapping(params[key])[field] for field in ("et", "eta", "phi")} for key in ("reco", "l1")}
    return {**jets, "dr_max": _number(params.get("dr_max", 0.4))}


def _list(value: JSON) -> JSON:
    return list(sequence(value))


def _lists(value: JSON, *keys: str) -> JSON:
    """Return the lists with these names; what is left out is empty."""
    return {key: _list(mapping(value).get(key)) for key in keys}


def _sort(value: JSON, order: str) -> JSON:
    """Return ``{by, order}``, or false."""
    return False if value is False else {"order": order, **mapping(value)}


def _number(value: JSON) -> float:
    return float(cast("float", value))
