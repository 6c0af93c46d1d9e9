"""Entries that stand for many: ``matrix`` gives axes of values, and ``{axis}`` in texts is filled in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from string import Formatter
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.draft import Draft, mapping
from fasthep_archive.workflow.merging import Part
from fasthep_archive.workflow.values import DocumentPath

MAX_ENTRIES = 10_000
"""Entries that one matrix may stand for."""

_FORMATTER = Formatter()


def expanded(entry: Part, draft: Draft, *, typed: bool) -> tuple[Part, ...]:
    """Return the entries that ``entry`` stands for, the last axis running fastest; none after a fault.

    :param entry: a mapping that conforms to the schema.
    :param typed: whether a text that is nothing but ``{axis}`` becomes the value itself; else it is a text.
    """
    content = cast("Mapping[str, Part]", entry.content)
    if "matrix" not in content or content["matrix"].content is None:
        return (entry.without("matrix"),)
    matrix = content["matrix"]
    axes = {name: values.plain() for name, values in cast("Mapping[str, Part]", matrix.content).items()}
    lists = {name: _values(values) for name, values in axes.items()}
    empty = next((name for name, values in lists.items() if not values), None)
    if empty is not None:
        draft.fault((*matrix.path, empty), f"axis {empty!r} of the matrix has no values")
        return ()
    if math.prod(map(len, lists.values())) > MAX_ENTRIES:
        draft.fault(matrix.path, f"the matrix stands for more than {MAX_ENTRIES} entries")
        return ()
    template = entry.without("matrix")
    faults = tuple(_faults(template, tuple(lists)))
    for path, message, hint in faults:
        draft.fault(path, message, hint)
    if faults:
        return ()
    combinations = (dict(zip(lists, values, strict=True)) for values in product(*lists.values()))
    return tuple(_filled(template, values, typed=typed) for values in combinations)


def _values(axis: JSON) -> list[JSON]:
    """Return the values of an axis: a list, or ``range: {start, stop, step}``."""
    if isinstance(axis, Mapping):
        bounds = cast("Mapping[str, int]", mapping(mapping(axis)["range"]))
        numbers = range(bounds.get("start", 0), bounds["stop"], bounds.get("step", 1))
        return list(numbers[: MAX_ENTRIES + 1])
    return list(cast("Sequence[JSON]", axis))


def _faults(template: Part, axes: Sequence[str]) -> Iterator[tuple[DocumentPath, str, str]]:
    """Yield what is wrong with the texts of a template: where, what, what to do."""
    content = template.content
    if isinstance(content, Mapping):
        for key, item in content.items():
            yield from _text_faults(key, item.path, axes)
            yield from _faults(item, axes)
    elif isinstance(content, str):
        yield from _text_faults(content, template.path, axes)
    elif isinstance(content, Sequence) and not isinstance(content, str):
        for item in content:
            yield from _faults(item, axes)


def _text_faults(text: str, path: DocumentPath, axes: Sequence[str]) -> Iterator[tuple[DocumentPath, str, str]]:
    try:
        fields = [field for field in _FORMATTER.parse(text) if field[1] is not None]
    except ValueError:
        yield path, f"{text!r} has a brace without its other half", "write {{ and }} for braces that stay"
        return
    for _, name, specification, conversion in fields:
        if specification or conversion or not str(name).isidentifier():
            yield path, f"{text!r} has braces around what is no name", "write {axis}, with the name of an axis alone"
        elif name not in axes:
            hint = nearest(str(name), axes) or f"the matrix has the axes {', '.join(axes)}"
            yield path, f"{text!r} refers to {name!r}, which is no axis of the matrix", hint


def _filled(template: Part, values: Mapping[str, JSON], *, typed: bool) -> Part:
    content = template.content
    if isinstance(content, Mapping):
        entries = {_text(key, values): _filled(item, values, typed=typed) for key, item in content.items()}
        return Part(entries, template.path)
    if isinstance(content, str):
        alone = next((name for name in values if content == f"{{{name}}}"), None)
        if typed and alone is not None:
            return Part(cast("bool | int | float | str | None", values[alone]), template.path)
        return Part(_text(content, values), template.path)
    if isinstance(content, Sequence) and not isinstance(content, str):
        return Part([_filled(item, values, typed=typed) for item in content], template.path)
    return template


def _text(text: str, values: Mapping[str, JSON]) -> str:
    return text.format(
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    )
