"""What a bundle would run on somebody's machine: told before anybody agrees to it.

Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fasthep_archive.bundle.form import counted

SHOWN_LINES = 40
"""Lines that are shown; a script may have any number."""


def what_runs(document: object, code: Iterable[str]) -> list[str]:
    """Return what a resolved workflow document runs that is not this tool's, a line each.

    :param code: names of the files of code that the bundle carries.
    """
    files = len(list(code))
    found = [f"  {caller} calls {target}" for caller, target in calls(document)]
    found += [line for stage in _stages(document) for line in _script(stage)]
    own = f"{counted(files, 'file')} of its own code" if files else "no code of its own"
    first = f"It runs the packages of its environment, and has {own}. It can do whatever you can do on this machine."
    more = len(found) - SHOWN_LINES
    shown = [*found[:SHOWN_LINES], f"  and {counted(more, 'line')} more"] if more > 0 else found
    return [first, *shown]


def calls(document: object) -> list[tuple[str, str]]:
    """Return what calls functions in a resolved workflow document, and which: ``("field pt", "model:pt")``."""
    asked = [(f"stage {stage.get('id')}", _mapping(stage.get("params")).get("callable")) for stage in _stages(document)]
    fields = _mapping(_mapping(document).get("fields"))
    asked += [(f"field {name}", _mapping(fields[name]).get("callable")) for name in sorted(fields)]
    registered = _mapping(_mapping(document).get("registry"))
    for section in sorted(registered):
        for name, entry in sorted(_mapping(registered[section]).items()):
            target = entry.get("callable") if isinstance(entry, dict) else entry
            asked.append((f"registry.{section} {name}", target))
    return [(caller, target) for caller, target in asked if isinstance(target, str) and ":" in target]


def _stages(document: object) -> Iterator[Mapping[str, Any]]:
    """Yield the stages of a document, whatever else it is."""
    top = _mapping(document)
    holders = [top.get("analysis"), *_mapping(top.get("workflows")).values()]
    for holder in holders:
        stages = _mapping(holder).get("stages")
        for stage in stages if isinstance(stages, list) else ():
            yield _mapping(stage)


def _script(stage: Mapping[str, Any]) -> Iterator[str]:
    """Yield the script that a stage runs."""
    params, name = _mapping(stage.get("params")), stage.get("id")
    script = params.get("script")
    if isinstance(script, list):
        yield f"  stage {name} runs with {params.get('shell', 'sh')}:"
        for line in script:
            yield f"    {line}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
