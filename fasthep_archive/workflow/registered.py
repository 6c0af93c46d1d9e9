"""Names that a document or profile registers for Python objects: functions of formulas, and what is ours too.

Nothing is imported. An entry that names what this package has anyway (``numpy:sin`` as ``sin``, FAST-HEP's own
operations) says nothing new; of constants the well-known ones have a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow import parameters_calls, schema
from fasthep_archive.workflow.code import Code, Coder
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
_WORDS = frozenset(word for words in _FUNCTIONS.values() for word in words.split())
_FASTHEP = ("fasthep_", "hepflow.")
"""How modules of FAST-HEP start."""
_LATER = "it is Python code, which this version of fasthep-archive does not call"


@dataclass(frozen=True, kw_only=True, slots=True)
class FormulaFunction:
    """A function of the analysis that formulas can call.

    :ivar target: ``module:function``. :ivar returns: type of its values.
    :ivar uses: the files of the code that it finds beside modules; none: all.
    :ivar code: of the function; none: there is none, or it has faults.
    """

    name: str
    target: str
    returns: Literal["float64", "int64", "bool"]
    uses: tuple[str, ...] | None = None
    code: Code | None = None
    path: DocumentPath = field(compare=False)


def read_functions(draft: Draft, coder: Coder) -> tuple[FormulaFunction, ...]:
    """Return the functions of the key ``registry`` that are not ours, by name; report those that are not there."""
    found = []
    for path, written in draft.entries("registry", "functions"):
        name, entry = str(path[-1]), mapping(written) if isinstance(written, Mapping) else {}
        target = str(entry.get("callable", written))
        if not draft.sound(path) or _is_ours(name, target):
            continue
        if name in _WORDS or not name.isidentifier():
            what = "is one of formulas already" if name in _WORDS else "is no name for formulas"
            other = target.partition(":")[2]
            hint = f"write {other}(...) in the formulas, and leave it out here" if other in _WORDS else None
            draft.fault(path, f"function {name!r} {what}", hint or "choose another name", key=True)
            continue
        at = (*path, "callable") if entry else path
        returns = cast("Literal['float64', 'int64', 'bool']", entry.get("returns", "float64"))
        code = coder.function(target, at, path) if coder.placed else None
        uses = parameters_calls.used(entry)
        found.append(FormulaFunction(name=name, target=target, returns=returns, uses=uses, code=code, path=path))
    return tuple(sorted(found, key=lambda item: item.name))


def resolved_functions(functions: Sequence[FormulaFunction]) -> Mapping[str, JSON]:
    """Return the functions as a document writes them, by name."""
    return {
        item.name: {
            "callable": item.target,
            "returns": item.returns,
            **({} if item.uses is None else {"code": list(item.uses)}),
        }
        for item in functions
    }


def read_registry(draft: Draft, *, own: bool = False) -> Mapping[str, JSON]:
    """Return the constants of the key ``registry`` by name; report what stands for code that is not called.

    :param own: whether it is that of the document itself, whose functions :func:`read_functions` returns.
    """
    for path, _ in draft.entries("registry"):
        section = str(path[-1])
        if section not in ("constants", "functions"):
            for entry, described in draft.entries(*path):
                _check_entry(draft, section, entry, mapping(described))
    for path, target in draft.entries("registry", "functions") if not own else ():
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
    if not _is_ours(name, target):
        hint = "functions of the analysis stand in the document itself: registry: {functions: ...}"
        draft.fault(path, f"function {name!r} is {target}: profiles can't register code", hint)


def _is_ours(name: str, target: str) -> bool:
    """Say whether a function is one that formulas have, under the same name."""
    module, _, attribute = target.partition(":")
    return attribute == name and name in _FUNCTIONS.get(module, "").split()


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
