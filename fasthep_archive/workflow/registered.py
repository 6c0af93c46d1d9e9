"""Names that a document or profile registers for Python objects: those that are ours too are taken, others refused.

Nothing is imported. An entry that names what this package has anyway (``numpy:sin`` as ``sin``, FAST-HEP's own
operations) says nothing new; of constants the well-known ones have a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow import schema
from fasthep_archive.workflow.draft import Draft, mapping
from fasthep_archive.workflow.values import DocumentPath

_CONSTANTS: Mapping[str, float] = {
    f"{module}:{name}": value
    for module in ("math", "numpy")
    for name, value in {"pi": math.pi, "e": math.e, "tau": math.tau}.items()
}
_FUNCTIONS: Mapping[str, str] = {
    "awkward": "all any argmax argmin count count_nonzero fill_none max mean min num pad_none prod sum where",
    "fasthep_carpenter.expr_helpers": "leading nth subleading",
    "math": (
        "acos acosh asin asinh atan atanh cbrt ceil cos cosh exp exp2 expm1 fabs floor hypot log log10 log1p log2 pow"
        " sin sinh sqrt tan tanh trunc"
    ),
    "numpy": (
        "abs arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil clip cos cosh exp exp2 expm1 fabs floor"
        " hypot isfinite isinf isnan log log10 log1p log2 maximum minimum power sign sin sinh sqrt tan tanh trunc where"
    ),
}
"""Functions of formulas that are those of these modules, under the same names."""
_FASTHEP = ("fasthep_", "hepflow.")
"""How modules of FAST-HEP start."""
_LATER = "it is Python code, which this version of fasthep-archive does not call"


def read_registry(draft: Draft) -> Mapping[str, JSON]:
    """Return the constants of the key ``registry`` by name; report what stands for code that is not called."""
    for path, _ in draft.entries("registry"):
        section = str(path[-1])
        if section not in ("constants", "functions"):
            for entry, described in draft.entries(*path):
                _check_entry(draft, section, entry, mapping(described))
    for path, target in draft.entries("registry", "functions"):
        _check_function(draft, path, str(target))
    constants: dict[str, JSON] = {}
    for path, target in draft.entries("registry", "constants"):
        if not isinstance(target, str):
            constants[str(path[-1])] = target
        elif target in _CONSTANTS:
            constants[str(path[-1])] = _CONSTANTS[target]
        else:
            hint = nearest(target, _CONSTANTS) or f"write its value: analysis: {{globals: {{{path[-1]}: ...}}}}"
            draft.fault(path, f"constant {path[-1]!r} is {target}: {_LATER}", hint)
    return constants


def _check_function(draft: Draft, path: DocumentPath, target: str) -> None:
    name = str(path[-1])
    module, _, attribute = target.partition(":")
    if attribute == name and name in _FUNCTIONS.get(module, "").split():
        return
    known = sorted({word for words in _FUNCTIONS.values() for word in words.split()})
    hint = "formulas have many functions: leave it out if it is one of them"
    if attribute in known and attribute != name:
        hint = f"write {attribute}(...) in the formulas, and leave it out here"
    draft.fault(path, f"function {name!r} is {target}: {_LATER}", hint)


def _check_entry(draft: Draft, section: str, path: DocumentPath, described: Mapping[str, JSON]) -> None:
    """Report an entry unless it names what FAST-HEP has and this package too."""
    name = str(path[-1])
    implementation = str(described.get("impl", described.get("path", described.get("merge", ""))))
    if implementation.startswith(_FASTHEP) and (section not in _KNOWN or name in _known(draft, section)):
        return
    close = nearest(name, _known(draft, section)) if section in _KNOWN else None
    message = f"registry.{section} {name!r} is {implementation or 'an object'}: {_LATER}"
    draft.fault(path, message, close or "leave it out to check and run the rest", key=True)


_KNOWN = ("observers", "sinks", "sources", "transforms")
"""Sections whose names a document uses."""


def _known(draft: Draft, section: str) -> frozenset[str]:
    """Return the names of a section that this package has."""
    language = draft.document.language
    if section == "sources":
        return frozenset(schema.listed(language, "source", "kind"))
    if section == "observers":
        return frozenset(registry.ours("observers"))
    sinks = {*registry.ours("writers"), *(op for op in registry.ours("operations") if op.startswith("hep.render."))}
    return frozenset(sinks if section == "sinks" else registry.ours("operations"))
