"""Under which conditions each package of a closure is needed, from the conditions on the way to it.

A requirement may hold under a marker only (``colorama; sys_platform == "win32"``). A package is needed where one of
its parents is needed *and* the requirement's marker holds. Conditions are kept in disjunctive normal form, a set of
clauses, each a set of comparisons, so that equal ones are written once and a clause that another one implies falls
away. Grammar and order of evaluation of markers: "Dependency specifiers" of the packaging specifications (PEP 508).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TypeAlias

from fasthep_archive.environment import packages

if TYPE_CHECKING:
    from packaging.markers import Marker

_Clause: TypeAlias = "frozenset[str]"
_Condition: TypeAlias = "frozenset[_Clause]"
_Node: TypeAlias = "tuple[str, str]"
"""A distribution and one of its extras (``""``: the distribution itself)."""

_NEVER: _Condition = frozenset()
_ALWAYS: _Condition = frozenset({frozenset()})

_MOST_CLAUSES = 32
"""A condition of more clauses is taken as *always*: to install a package needlessly does no harm."""

_VALUE = r"""(?:"[^"]*"|'[^']*'|\w+)"""
_TOKEN = re.compile(
    rf"""\s*(?:(?P<sign>\(|\)|and\b|or\b)|(?P<comparison>{_VALUE}\s*(?:===|[<>=!~]=|[<>]|not\s+in\b|in\b)\s*{_VALUE}))"""
)
_EXTRA = re.compile(r"""extra(?!\w)|.*(?<!["'\w])extra$""")
"""A comparison of the variable ``extra``, on either side."""


def needed(roots: Sequence[str], names: Collection[str], *, path: Sequence[str] | None = None) -> dict[str, str | None]:
    """Return the marker under which each of ``names`` is needed by ``roots``; none where it always is.

    Requirements that don't hold here count too, when what they require is among ``names``: the marker says where a
    package is needed, not only why it was installed here.

    :param roots: names of distributions, always needed; extras in brackets are followed.
    :param names: normalised names, the closure of ``roots`` (:func:`packages.closure`).
    :param path: directories that are searched for distributions; ``sys.path`` unless told.
    """
    from packaging.requirements import Requirement

    conditions: dict[_Node, _Condition] = {}
    waiting: deque[_Node] = deque()

    def add(requirement: Requirement, condition: _Condition) -> None:
        name = packages.normalised(requirement.name)
        for node in [(name, extra) for extra in ("", *sorted(requirement.extras)) if name in names]:
            before = conditions.get(node, _NEVER)
            after = _absorbed(before | condition)
            if after != before:
                conditions[node] = after
                waiting.append(node)

    for root in roots:
        add(Requirement(root), _ALWAYS)
    while waiting:
        name, extra = waiting.popleft()
        distribution = packages.installed(name, path)
        for text in (distribution.requires if distribution else None) or ():
            requirement = Requirement(text)
            add(requirement, _both(conditions[name, extra], _condition(requirement.marker, extra)))
    return {name: _text(_absorbed(_any_of(conditions, name))) for name in sorted(names)}


def _any_of(conditions: dict[_Node, _Condition], name: str) -> _Condition:
    return frozenset(clause for node, condition in conditions.items() if node[0] == name for clause in condition)


def _condition(marker: Marker | None, extra: str) -> _Condition:
    """Return the marker's condition where ``extra`` is asked for; comparisons of ``extra`` are decided."""
    if marker is None:
        return _ALWAYS
    tokens = [match.groupdict() for match in _TOKEN.finditer(str(marker))]
    return _either(deque(token["sign"] or token["comparison"] for token in tokens), extra)


def _either(tokens: deque[str], extra: str) -> _Condition:
    """Read ``term or term ...``."""
    found = _all(tokens, extra)
    while tokens and tokens[0] == "or":
        tokens.popleft()
        found |= _all(tokens, extra)
    return _absorbed(found)


def _all(tokens: deque[str], extra: str) -> _Condition:
    """Read ``comparison and comparison ...``."""
    found = _one(tokens, extra)
    while tokens and tokens[0] == "and":
        tokens.popleft()
        found = _both(found, _one(tokens, extra))
    return found


def _one(tokens: deque[str], extra: str) -> _Condition:
    """Read one comparison, or alternatives in parentheses."""
    from packaging.markers import Marker

    comparison = tokens.popleft()
    if comparison == "(":
        found = _either(tokens, extra)
        tokens.popleft()
        return found
    if _EXTRA.match(comparison):
        return _ALWAYS if Marker(comparison).evaluate({"extra": extra}) else _NEVER
    return frozenset({frozenset({comparison})})


def _both(left: _Condition, right: _Condition) -> _Condition:
    return _absorbed(frozenset(one | other for one in left for other in right))


def _absorbed(condition: _Condition) -> _Condition:
    """Return the condition without the clauses that a shorter one implies (``a or a and b`` is ``a``)."""
    kept = frozenset(clause for clause in condition if not any(other < clause for other in condition))
    return kept if len(kept) <= _MOST_CLAUSES else _ALWAYS


def _text(condition: _Condition) -> str | None:
    """Return the marker of a condition, sorted; none for the one that always holds."""
    from packaging.markers import Marker

    if condition in (_ALWAYS, _NEVER):
        return None
    return str(Marker(" or ".join(sorted(" and ".join(sorted(clause)) for clause in condition))))
