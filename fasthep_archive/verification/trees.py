"""Comparison of JSON, by path; numbers are paired, everything else must be equal.

Paths are written as JSONPath (RFC 9535): ``$.cuts[2].sumw``. The order of an object's keys is not content, that of a
list is. An integer and a float of the same value differ in content and are equal for every tolerance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias, TypeGuard

from fasthep_archive.digest import JSON
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding, shown
from fasthep_archive.verification.numbers import Numbers, double, same_number


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT: Final = _Absent()
_Node: TypeAlias = "JSON | _Absent"


def compare_json(recorded: bytes, replayed: bytes) -> Contrast:
    """Return what differs between two JSON texts.

    :raises ValueError: if one of them is not JSON in UTF-8.
    """
    return compare_values(json.loads(recorded), json.loads(replayed))


def compare_values(recorded: JSON, replayed: JSON) -> Contrast:
    """Return what differs between two JSON values."""
    structure: list[Finding] = []
    pairs: list[tuple[float, float]] = []
    findings: list[Finding] = []
    compared = 0
    for path, one, other in _leaves(recorded, replayed):
        if not _is_number(one) or not _is_number(other):
            if type(one) is not type(other) or one != other:
                structure.append(Finding(where=path, recorded=shown(one), replayed=shown(other)))
            continue
        compared += 1
        if not same_number(one, other):
            pairs.append((double(one), double(other)))
            if len(findings) < SHOWN:
                findings.append(Finding(where=path, recorded=repr(one), replayed=repr(other)))
    return Contrast(
        structure=tuple(structure),
        numbers=Numbers.of([one for one, _ in pairs], [other for _, other in pairs], compared=compared),
        findings=tuple(findings),
    )


def _is_number(value: _Node) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leaves(recorded: JSON, replayed: JSON) -> Iterator[tuple[str, _Node, _Node]]:
    """Yield path and values wherever not both are lists or both objects, in the order of the recorded value."""
    waiting: list[tuple[str, _Node, _Node]] = [("$", recorded, replayed)]
    while waiting:
        path, one, other = waiting.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            keys = [*one, *(key for key in other if key not in one)]
            children = [(_step(path, key), one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys]
        elif _is_list(one) and _is_list(other):
            length = max(len(one), len(other))
            children = [(f"{path}[{at}]", _item(one, at), _item(other, at)) for at in range(length)]
        else:
            yield path, one, other
            continue
        waiting.extend(reversed(children))


def _is_list(value: _Node) -> TypeGuard[Sequence[JSON]]:
    return isinstance(value, list | tuple)


def _item(values: Sequence[JSON], at: int) -> _Node:
    return values[at] if at < len(values) else _ABSENT


def _step(path: str, key: str) -> str:
    return f"{path}.{key}" if re.fullmatch(r"[A-Za-z_]\w*", key) else f"{path}[{json.dumps(key)}]"
