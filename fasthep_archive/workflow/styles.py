"""Styles: what renderers are told, by name, with inheritance.

``use`` names the style below, ``with`` (and every other key beside them) is laid over it, mapping by mapping. Both can
stand anywhere inside a style too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fasthep_archive.errors import of_known
from fasthep_archive.workflow import schema
from fasthep_archive.workflow.draft import Draft
from fasthep_archive.workflow.merging import Part, laid_over, part

RENDERER = "hep.render."


class Styles:
    """The styles of a document; reports names that lead nowhere or round in a circle."""

    def __init__(self, draft: Draft) -> None:
        written = draft.get("styles")
        self._draft = draft
        self._circles: set[frozenset[str]] = set()
        self._written = dict(written) if isinstance(written, Mapping) else {}
        self._unknown = frozenset(_keys(draft.raw("styles"))) - self._written.keys()

    def resolved(self, reference: Part) -> Part | None:
        """Return the style that ``reference``, a name or a style, means; none after a fault."""
        return self._resolved(reference, ())

    def check(self) -> None:
        """Report what is wrong with styles, used or not; one without ``op`` is only complete where it is used."""
        for name in self._written:
            if not self._draft.conforms(("styles", name)):
                continue
            path = ("styles", name)
            style = self._resolved(part(self._written[name], path), (name,))
            plain = None if style is None else style.plain()
            if style is not None and isinstance(plain, Mapping):
                definition = definition_of(plain.get("op"))
                if definition is not None and schema.defines(self._draft.document.language, definition):
                    self._draft.grafted(path, style, definition, complete=False)

    def _resolved(self, reference: Part, above: tuple[str, ...]) -> Part | None:
        content = reference.content
        if isinstance(content, str):
            return self._named(reference, content, above)
        if isinstance(content, Mapping):
            if "use" in content:
                return self._inherited(reference, content, above)
            items = {key: self._resolved_inside(item, above) for key, item in content.items()}
            return _whole(items, reference)
        self._draft.fault(reference.path, "a style must be the name of one, or a mapping", "write style: NAME")
        return None

    def _resolved_inside(self, item: Part, above: tuple[str, ...]) -> Part | None:
        """Return a part of a style, in which a text is only a text."""
        if isinstance(item.content, Mapping):
            return self._resolved(item, above)
        if isinstance(item.content, Sequence) and not isinstance(item.content, str):
            items = [self._resolved_inside(entry, above) for entry in item.content]
            sound = [entry for entry in items if entry is not None]
            return Part(sound, item.path) if len(sound) == len(items) else None
        return item

    def _named(self, reference: Part, name: str, above: tuple[str, ...]) -> Part | None:
        if name in above:
            circle = above[above.index(name) :]
            if frozenset(circle) not in self._circles:
                self._circles.add(frozenset(circle))
                drawn = " -> ".join([*circle, name])
                self._draft.fault(reference.path, f"styles use each other in a circle: {drawn}", "remove one 'use'")
            return None
        if name not in self._written:
            if name not in self._unknown:
                hint = of_known(name, sorted(self._written)) or "write styles: {NAME: {op: hep.render.hist1d}}"
                self._draft.fault(reference.path, f"there is no style {name!r}", hint)
            return None
        if not self._draft.conforms(("styles", name)):
            return None
        return self._resolved(part(self._written[name], ("styles", name)), (*above, name))

    def _inherited(self, reference: Part, content: Mapping[str, Part], above: tuple[str, ...]) -> Part | None:
        """Return what a mapping with ``use`` means: its other keys, and then ``with``, over the style that it names."""
        used = content["use"]
        if not isinstance(used.content, str) or not used.content.strip():
            self._draft.fault(used.path, "'use' must be the name of a style", of_known("", self._written))
            return None
        below = self._named(used, used.content, above)
        own = self._resolved(reference.without("use", "with"), above)
        over = content.get("with", Part({}, reference.path))
        if over.content is None:
            over = Part({}, over.path)
        if not isinstance(over.content, Mapping):
            self._draft.fault(over.path, "'with' must be a mapping", "write what is different from the style in 'use'")
            return None
        over_resolved = self._resolved(over, above)
        if below is None or own is None or over_resolved is None:
            return None
        return laid_over(laid_over(below, own), over_resolved)


def definition_of(op: object) -> str | None:
    """Return what the schema calls the options of a renderer; none for what is no renderer."""
    if not isinstance(op, str) or not op.startswith(RENDERER):
        return None
    return f"render_{op.removeprefix(RENDERER)}"


def _whole(items: Mapping[str, Part | None], reference: Part) -> Part | None:
    sound = {key: item for key, item in items.items() if item is not None}
    return Part(sound, reference.path) if len(sound) == len(items) else None


def _keys(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
