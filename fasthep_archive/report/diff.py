"""What differs between two bundles, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fasthep_archive.digest import JSON, canonical
from fasthep_archive.report.reasons import reasons
from fasthep_archive.report.terminal import (
    Screen,
    Table,
    coloured,
    differences,
    printable,
    sections,
    tabulated,
    wrapped,
)
from fasthep_archive.verification.diff import Diff, Label
from fasthep_archive.verification.documents import Change, Kind
from fasthep_archive.verification.verdict import Level, Verdict

_SIDES = ("A", "B")
_CUT = 60
"""Characters of a value that are shown; the JSON form has all of it."""

_MARKS: Mapping[bool, Mapping[Kind, str]] = {
    True: {"added": "+", "removed": "-", "changed": "≠", "renamed": "→"},
    False: {"added": "+", "removed": "-", "changed": "!=", "renamed": "->"},
}
_STYLES: Mapping[Kind, str] = {"added": "green", "removed": "red", "changed": "yellow", "renamed": ""}

_PHRASES: Mapping[Level, str] = {
    Level.CONTENT: "same content in other bytes",
    Level.TOLERANCE: "within tolerance",
    Level.DIFFERENT: "different",
    Level.MISSING: "only in A",
    Level.UNEXPECTED: "only in B",
}


def diff(found: Diff, screen: Screen) -> str:
    """Return which two were compared, whether they are the same, and what differs, most important first.

    Parts in which nothing differs are not mentioned.
    """
    return sections(
        coloured(wrapped([_sentence(found.sentence)], screen), "green" if found.same else "red", screen),
        "\n".join(_label(side, label) for side, label in zip(_SIDES, (found.a, found.b), strict=True)),
        _changes("Workflow", found.workflow, screen),
        _changes("Code of the analysis", (*found.code, *found.functions), screen),
        _changes("Inputs", found.inputs, screen),
        _changes("Engine", found.engine, screen),
        _outputs(found.outputs, screen),
        differences(found.environment, screen, sides=_SIDES),
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _label(side: str, label: Label) -> str:
    identity = f", identity {label.identity}" if label.identity else ""
    return f"{side}  {printable(label.name)}: {printable(label.title)}{identity}"


def _changes(title: str, changes: Sequence[Change], screen: Screen) -> str:
    if not changes:
        return ""
    table = Table(
        title=title,
        columns=("", "what", *_SIDES),
        rows=tuple((_MARKS[screen.unicode][item.kind], item.what, *_values(item)) for item in changes),
        styles=tuple(_STYLES[item.kind] for item in changes),
    )
    return tabulated(table, screen)


def _values(change: Change) -> tuple[str, str]:
    return (
        "-" if change.kind == "added" else _shown(change.a),
        "-" if change.kind == "removed" else _shown(change.b),
    )


def _shown(value: JSON) -> str:
    """Return a value in few characters: a stage by its operation, a text as it is, else JSON."""
    if isinstance(value, Mapping) and isinstance(value.get("op"), str):
        return str(value["op"])
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= _CUT else f"{text[: _CUT - 3]}..."


def _outputs(verdicts: Sequence[Verdict], screen: Screen) -> str:
    """Return a table of the outputs whose bytes differ, and what differs in them."""
    other = [verdict for verdict in verdicts if verdict.level is not Level.IDENTICAL]
    if not other:
        return ""
    table = Table(
        title=f"Outputs that differ, of {len(verdicts)}",
        columns=("output", "verdict"),
        rows=tuple((item.output, _PHRASES[item.level] + ("" if item.judged else " (not judged)")) for item in other),
        styles=tuple("dim" if not item.judged else "red" if item.level > Level.CONTENT else "" for item in other),
    )
    compared = [item for item in other if item.level < Level.MISSING]
    return sections(tabulated(table, screen), wrapped(reasons(compared), screen, indent="  "))
