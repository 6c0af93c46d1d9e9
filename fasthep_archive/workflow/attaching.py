"""Reads what hangs on stages and streams: plots and tables, written files, observers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow import parameters_writing, schema
from fasthep_archive.workflow.draft import Draft, mapping
from fasthep_archive.workflow.hanging import LIFECYCLE, Render, Write
from fasthep_archive.workflow.merging import Part, part
from fasthep_archive.workflow.natures import leaves
from fasthep_archive.workflow.observing import check_output, entries
from fasthep_archive.workflow.parameters import canonical
from fasthep_archive.workflow.streams import Layout
from fasthep_archive.workflow.styles import Styles, definition_of
from fasthep_archive.workflow.values import DocumentPath

TABLES = frozenset({"hep.render.cutflow_csv"})
"""Renderers that write a table; all others draw."""


def read_renders(draft: Draft, stage: DocumentPath, op: str, styles: Styles) -> tuple[Render, ...]:
    """Return what is drawn of the stage at the path ``stage``; entries with faults are left out."""
    found = (_render(draft, path, stage, op, styles) for path in entries(draft, (*stage, "render")))
    return tuple(render for render in found if render is not None)


def read_writes(draft: Draft, stage: DocumentPath, layouts: Mapping[str, Layout]) -> tuple[Write, ...]:
    """Return what is written of the stage at the path ``stage``; entries with faults are left out."""
    own = _own_id(draft, stage)
    found = (read_write(draft, path, own, layouts) for path in entries(draft, (*stage, "write")))
    return tuple(write for write in found if write is not None)


def styled(draft: Draft, at: DocumentPath, style: Part, op: str | None) -> tuple[str, Mapping[str, JSON]] | None:
    """Return renderer and options of a resolved style as if it stood at ``at``; none after a fault.

    :param op: the renderer if the style does not have to say it.
    """
    content = cast("Mapping[str, Part]", style.content)
    named = content["op"].content if "op" in content else op
    definition = definition_of(named)
    if not isinstance(named, str) or definition is None:
        draft.fault(style.path, "a style must say how it is drawn with 'op'", "write op: hep.render.hist1d")
        return None
    if not schema.defines(draft.document.language, definition):
        place = content["op"].path if "op" in content else style.path
        draft.fault(place, f"unknown renderer {named!r}", nearest(named, _renderers(draft)) or _renderers_hint(draft))
        return None
    grafted = draft.grafted(at, style, definition)
    if grafted is None:
        return None
    params = canonical(named, at, grafted)
    draft.adopt(grafted, moved=True)
    return named, {key: value for key, value in params.items() if key != "op"}


def read_write(draft: Draft, at: DocumentPath, stage: str | None, layouts: Mapping[str, Layout]) -> Write | None:
    """Return the writer at ``at``; none after a fault.

    :param stage: whose events are written. :param layouts: that it can use.
    """
    if not draft.sound(at):
        return None
    entry = mapping(draft.get(*at))
    before = len(draft.faults)
    _check_from(draft, entry, at, stage, "writes the events of")
    write = parameters_writing.writer(entry, at, layouts, draft)
    return None if len(draft.faults) > before else write


def resolved_render(render: Render) -> JSON:
    """Return the render as a document writes it."""
    return {"style": {"op": render.op, **render.params}, "when": render.when, "out": render.out}


def _own_id(draft: Draft, stage: DocumentPath) -> str | None:
    found = draft.raw(*stage, "id")
    return found if isinstance(found, str) else None


def _render(draft: Draft, path: DocumentPath, stage: DocumentPath, op: str, styles: Styles) -> Render | None:
    if not draft.sound(path):
        return None
    entry = mapping(draft.get(*path))
    before = len(draft.faults)
    own = _own_id(draft, stage)
    _check_from(draft, entry, path, own, "draws what is left by")
    source = leaves(op)
    if source == "stream":
        hint = "a histogram (hep.hist) and a cutflow (hep.selection.cutflow) can be drawn"
        draft.fault(path, f"{op} leaves nothing that can be drawn", hint)
    if "overlays" in entry:
        draft.warn((*path, "overlays"), "'overlays' has no effect, here as in FAST-HEP", key=True)
    style = styles.resolved(part(entry["style"], (*path, "style")))
    out = entry.get("out")
    if out is not None:
        check_output(draft, str(out), (*path, "out"), "plots")
    found = None if style is None else styled(draft, path, style.without("out", "when"), None)
    if found is None or len(draft.faults) > before:
        return None
    return Render(
        op=found[0],
        params=found[1],
        when=LIFECYCLE[str(entry.get("when", "final"))],
        out=named_output(str(out or own), found[0]),
        source=source,
        path=path,
    )


def named_output(name: str, op: str) -> str:
    """Return the name of what a renderer makes, with a suffix."""
    if PurePosixPath(name).suffix:
        return name
    return f"{name}{'.csv' if op in TABLES else '.png'}"


def _check_from(draft: Draft, entry: Mapping[str, JSON], at: DocumentPath, stage: str | None, does: str) -> None:
    """Report ``from`` unless it names the stage itself."""
    source = entry.get("from")
    if source is not None and source != stage:
        hint = f"move this entry to stage {source!r}"
        draft.fault((*at, "from"), f"this {does} {source!r}, but stands at stage {stage!r}", hint)


def _renderers(draft: Draft) -> list[str]:
    return [f"hep.{name.replace('_', '.', 1)}" for name in schema.definitions(draft.document.language, "render_")]


def _renderers_hint(draft: Draft) -> str:
    return f"known are {', '.join(_renderers(draft))}"
