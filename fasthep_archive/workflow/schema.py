"""The shape of documents: JSON Schema, with messages for people.

``schemas/workflow-<version>.json`` is the public contract, for editors and other tools too. What it finds is told in
one line each, at the key or value that is wrong, with the nearest known name. Annotations in the schema that start
with ``x-`` carry the words (its ``$comment`` explains them), so that this module knows no key of the language.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

from fasthep_archive import registry
from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.resource import resource
from fasthep_archive.workflow.values import DocumentPath

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

NEWEST: Literal["1.1"] = "1.1"
"""The version of the language that has everything that others have."""
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "left out",
}
_OPEN: Mapping[str, tuple[str, str]] = {
    "operations": ("stage", "op"),
    "sources": ("source", "kind"),
    "writers": ("write_entry", "kind"),
}
"""Where names that plug-ins provide can stand, by their kind: part of the schema, and key."""
_YAML_1_1 = ("yes", "no", "on", "off")
"""Words that older YAML readers take for true and false."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that a document's schema does not allow.

    :ivar key: whether the last key of ``path`` is wrong, not its value.
    :ivar later: whether it belongs to the language and is only not carried out yet.
    :ivar stands_for: the known key that an unknown key seems to be; ``*`` if its hint explains missing ones too.
    :ivar missing: the key that is missing from the mapping at ``path``.
    """

    path: DocumentPath
    message: str
    hint: str | None = None
    key: bool = False
    later: bool = False
    stands_for: str | None = None
    missing: str | None = None


@cache
def schema(language: str) -> Mapping[str, JSON]:
    """Return the JSON Schema (draft 2020-12) of a version of the language."""
    text = resource("schemas", f"workflow-{language}.json").read_text(encoding="utf-8")
    return cast("Mapping[str, JSON]", json.loads(text))


def defines(language: str, definition: str) -> bool:
    """Say whether the schema of ``language`` has ``$defs/<definition>``."""
    return definition in cast("Mapping[str, JSON]", schema(language)["$defs"])


def definitions(language: str, prefix: str) -> tuple[str, ...]:
    """Return the names in ``$defs`` that start with ``prefix`` and are the parameters of an operation."""
    found = cast("Mapping[str, Mapping[str, JSON]]", schema(language)["$defs"])
    return tuple(name for name, rule in found.items() if name.startswith(prefix) and "op" in _keys_of(rule))


def listed(language: str, definition: str, key: str) -> tuple[str, ...]:
    """Return the words that ``key`` can have in ``$defs/<definition>``."""
    rule = cast("Mapping[str, Mapping[str, JSON]]", schema(language)["$defs"])[definition]
    return tuple(map(str, cast("Sequence[JSON]", cast("Mapping[str, JSON]", _keys_of(rule)[key])["enum"])))


def _keys_of(rule: Mapping[str, JSON]) -> Mapping[str, JSON]:
    return cast("Mapping[str, JSON]", rule.get("properties", {}))


def problems(
    data: JSON,
    language: str,
    definition: str | None = None,
    written: Callable[[DocumentPath], DocumentPath] = lambda path: path,
) -> tuple[Problem, ...]:
    """Return everything in ``data`` that the schema of ``language`` does not allow, each thing once.

    A key that is missing because it is misspelt is one thing: the unknown key.

    :param definition: the part of the schema to use, of ``$defs``; none: all of it, for a whole document.
    :param written: says where in the document a path of ``data`` was written, which is what messages speak of.
    """
    found = _problems(data, language, definition, written)
    if language != NEWEST and any(map(_of_unknown, found)) and (definition is None or defines(NEWEST, definition)):
        wrong = {problem.path for problem in _problems(data, NEWEST, definition, written)}
        newer = f"version {NEWEST} of the language has it: write version: {json.dumps(NEWEST)}"
        found = tuple(
            replace(problem, hint=newer) if _of_unknown(problem) and problem.path not in wrong else problem
            for problem in found
        )
    explained = {(problem.path[:-1], problem.stands_for) for problem in found}
    return tuple(
        problem
        for problem in found
        if not (problem.missing and {(problem.path, problem.missing), (problem.path, "*")} & explained)
    )


def _of_unknown(problem: Problem) -> bool:
    """Say whether a word is not known, and nothing says yet that another version knows it."""
    return problem.message.startswith("unknown ") and NEWEST not in (problem.hint or "")


def _problems(
    data: JSON, language: str, definition: str | None, written: Callable[[DocumentPath], DocumentPath]
) -> tuple[Problem, ...]:
    names = tuple(registry.plugged(kind) for kind in _OPEN)
    errors = _validator(language, definition, names).iter_errors(data)
    told = (_told(_violation(error, written)) for error in errors)
    return tuple(dict.fromkeys(problem for problems in told for problem in problems))


@cache
def _validator(language: str, definition: str | None, names: tuple[tuple[str, ...], ...]) -> Validator:
    from jsonschema import Draft202012Validator

    whole = _opened(language, names)
    part = whole if definition is None else {"$ref": f"#/$defs/{definition}", "$defs": whole["$defs"]}
    return Draft202012Validator(part)


@cache
def _opened(language: str, names: tuple[tuple[str, ...], ...]) -> Mapping[str, JSON]:
    """Return the schema of ``language`` with the names of installed plug-ins among those that are known."""
    whole = cast("dict[str, JSON]", json.loads(json.dumps(schema(language))))
    for (kind, (definition, key)), added in zip(_OPEN.items(), names, strict=True):
        for rule in _rules(cast("Mapping[str, JSON]", whole["$defs"])[definition], key):
            rule["enum"] = [*cast("Sequence[JSON]", rule["enum"]), *added]
            rule["x-looked"] = f"packages with an entry point in {registry.GROUPS[kind]}"
    return whole


def _rules(rule: JSON, key: str) -> Iterator[dict[str, JSON]]:
    """Yield what a part of a schema says of the words that ``key`` can be."""
    if isinstance(rule, dict):
        found = _keys_of(rule).get(key)
        if isinstance(found, dict) and "x-noun" in found and "enum" in found:
            yield found
        for inner in cast("Sequence[JSON]", rule.get("allOf", ())):
            yield from _rules(inner, key)


def spelled(path: DocumentPath) -> str:
    """Return ``path`` as text.

    >>> spelled(("analysis", "stages", 2, "params", "selection", "two muons"))
    "analysis.stages[2].params.selection['two muons']"
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text or "the document"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Violation:
    """A violated keyword of the schema: its argument, the value that violates it, and the schema around it."""

    keyword: str
    argument: JSON
    value: JSON
    path: DocumentPath
    rule: Mapping[str, JSON]
    of_key: bool

    @property
    def hint(self) -> str | None:
        return cast("str | None", self.rule.get("x-hint"))

    def problem(self, message: str, hint: str | None = None) -> Problem:
        return Problem(path=self.path, message=message, hint=hint or self.hint)


def _violation(error: ValidationError, written: Callable[[DocumentPath], DocumentPath]) -> _Violation:
    of_key = "propertyNames" in error.absolute_schema_path
    path = written(tuple(error.absolute_path))
    return _Violation(
        keyword=str(error.validator),
        argument=cast("JSON", error.validator_value),
        value=cast("JSON", error.instance),
        path=(*path, *([str(error.instance)] if of_key else [])),
        rule=error.schema if isinstance(error.schema, Mapping) else {},
        of_key=of_key,
    )


def _told(violation: _Violation) -> Iterator[Problem]:
    """Tell a violation in words."""
    path, rule = violation.path, violation.rule
    if violation.of_key:
        message = f"key {path[-1]!r} in {spelled(path[:-1])} {_expected(rule)}"
        yield Problem(path=path, message=message, hint=violation.hint, key=True)
    elif "x-later" in rule and violation.keyword == "not":
        yield _later(path, repr(path[-1]), key=True)
    elif "x-fault" in rule:
        yield Problem(path=path, message=str(rule["x-fault"]), hint=violation.hint, key="x-key" in rule)
    else:
        yield from _TOLD.get(violation.keyword, _told_otherwise)(violation)


def _later(path: DocumentPath, what: str, *, key: bool, hint: str | None = None) -> Problem:
    message = f"{what} is part of the workflow language, but this version of fasthep-archive does not carry it out yet"
    return Problem(path=path, message=message, hint=hint, key=key, later=True)


def _unknown_keys(violation: _Violation) -> Iterator[Problem]:
    known = cast("Mapping[str, JSON]", violation.rule.get("properties", {}))
    hints = cast("Mapping[str, str]", violation.rule.get("x-hints", {}))
    strange = not cast("Mapping[str, JSON]", violation.value).keys() & known.keys()
    for key, value in cast("Mapping[str, JSON]", violation.value).items():
        if key in known:
            continue
        close = nearest(key, [*known, *hints])
        meant = next((name for name in hints if repr(name) in (close or "")), key)
        hint = hints.get(meant) or close
        if hint is None and any(bracket in key for bracket in "()[]"):
            hint = "a comma or colon ends an unquoted text inside {...}: quote the formula"
        message = f"unknown key {key!r} in {spelled(violation.path)}"
        quoted = "; a text with ': ' in it needs quotes" if strange and value is not None and close is None else ""
        hint = hint or f"known are {', '.join(sorted(known))}{quoted}"
        close_to = next((name for name in known if repr(name) in (close or "")), None)
        stands_for = "*" if key in hints or strange else close_to
        yield Problem(path=(*violation.path, key), message=message, hint=hint, key=True, stands_for=stands_for)


def _missing_keys(violation: _Violation) -> Iterator[Problem]:
    for key in cast("Sequence[str]", violation.argument):
        if key not in cast("Mapping[str, JSON]", violation.value):
            message = f"missing key {key!r} in {spelled(violation.path)}"
            yield Problem(path=violation.path, message=message, hint=violation.hint, missing=key)


def _wrong_type(violation: _Violation) -> Iterator[Problem]:
    value = violation.value
    allowed = [violation.argument] if isinstance(violation.argument, str) else cast("list[str]", violation.argument)
    wanted = _either([_TYPES[kind] for kind in allowed if kind != "null"])
    hint = violation.hint
    if "boolean" in allowed and str(value).lower() in _YAML_1_1:
        hint = "write true or false: YAML 1.2 takes yes, no, on and off for text"
    elif "string" in allowed and isinstance(value, (bool, int, float)):
        hint = f'quote it: "{json.dumps(value)}"'
    yield violation.problem(f"{spelled(violation.path)} must be {wanted}, {_not(value)}", hint)


def _not_allowed(violation: _Violation) -> Iterator[Problem]:
    value, noun = violation.value, violation.rule.get("x-noun")
    later = cast("Mapping[str, str]", violation.rule.get("x-later", {}))
    instead = [hint for pattern, hint in later.items() if isinstance(value, str) and fnmatchcase(value, pattern)]
    if instead:
        yield _later(violation.path, f"{noun} {value!r}", key=False, hint=instead[0] or None)
        return
    allowed = list(dict.fromkeys(str(item) for item in cast("Sequence[JSON]", violation.argument) if item is not None))
    hint = None
    if isinstance(value, str):
        hint = cast("Mapping[str, str]", violation.rule.get("x-hints", {})).get(value) or nearest(value, allowed)
    if noun and isinstance(value, str):
        known = violation.hint or f"known are {', '.join(allowed)}"
        looked = violation.rule.get("x-looked")
        known = f"{known}; also looked for in {looked}" if looked else known
        yield violation.problem(f"unknown {noun} {value!r}", hint or known)
    else:
        yield violation.problem(f"{spelled(violation.path)} must be {_either(allowed)}, {_not(value)}", hint)


def _too_few(violation: _Violation) -> Iterator[Problem]:
    needed = f"needs at least {violation.argument} entries" if violation.value else "is empty"
    yield violation.problem(f"{spelled(violation.path)} {needed}")


def _repeated(violation: _Violation) -> Iterator[Problem]:
    items = cast("Sequence[JSON]", violation.value)
    for number, item in enumerate(items):
        if item in items[:number]:
            yield Problem(path=(*violation.path, number), message=f"{item!r} is in {spelled(violation.path)} twice")


def _told_otherwise(violation: _Violation) -> Iterator[Problem]:
    bound = _BOUNDS.get(violation.keyword)
    wanted = f"must be {bound} {violation.argument}" if bound else _expected(violation.rule)
    yield violation.problem(f"{spelled(violation.path)} {wanted}, {_not(violation.value)}")


def _expected(rule: Mapping[str, JSON]) -> str:
    return f"must be {rule.get('x-expected', 'something else')}"


def _not(value: JSON) -> str:
    """Return what a value is instead of what it should be."""
    if value is None:
        return "but it is empty"
    if isinstance(value, str):
        return f"not {value!r}" if value.strip() else "but it is empty"
    if isinstance(value, (bool, int, float)):
        return f"not {json.dumps(value)}"
    return "not a mapping" if isinstance(value, Mapping) else "not a list"


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


_BOUNDS = {"minimum": "at least", "maximum": "at most"}
_TOLD: Mapping[str, Callable[[_Violation], Iterator[Problem]]] = {
    "additionalProperties": _unknown_keys,
    "required": _missing_keys,
    "type": _wrong_type,
    "enum": _not_allowed,
    "minItems": _too_few,
    "minProperties": _too_few,
    "uniqueItems": _repeated,
}
"""How the violation of each keyword of JSON Schema is told."""
