"""Values that are put together of several parts of a document, each part of which knows where it was written.

A style inherits from another, a variation patches the parameters of a stage: mappings are merged key by key, everything
else is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fasthep_archive.digest import JSON
from fasthep_archive.workflow.values import DocumentPath

Content: TypeAlias = "bool | int | float | str | Sequence[Part] | Mapping[str, Part] | None"


@dataclass(frozen=True, slots=True)
class Part:
    """A value and where it was written."""

    content: Content
    path: DocumentPath

    def without(self, *keys: str) -> Part:
        """Return the mapping without ``keys``."""
        assert isinstance(self.content, Mapping)
        return Part({key: item for key, item in self.content.items() if key not in keys}, self.path)

    def plain(self) -> JSON:
        """Return the value alone."""
        if isinstance(self.content, Mapping):
            return {key: item.plain() for key, item in self.content.items()}
        if isinstance(self.content, Sequence) and not isinstance(self.content, str):
            return [item.plain() for item in self.content]
        return self.content

    def origins(self, at: DocumentPath) -> Mapping[DocumentPath, DocumentPath]:
        """Return where the values inside, the value itself excepted, were written, when it stands at ``at``."""
        return dict(self._origins(at))

    def _origins(self, at: DocumentPath) -> Iterator[tuple[DocumentPath, DocumentPath]]:
        steps: Sequence[tuple[str | int, Part]] = ()
        if isinstance(self.content, Mapping):
            steps = list(self.content.items())
        elif isinstance(self.content, Sequence) and not isinstance(self.content, str):
            steps = list(enumerate(self.content))
        for step, item in steps:
            yield (*at, step), item.path
            yield from item._origins((*at, step))


def part(value: JSON, path: DocumentPath) -> Part:
    """Return ``value``, all of which stands at ``path``."""
    if isinstance(value, Mapping):
        return Part({key: part(item, (*path, key)) for key, item in value.items()}, path)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Part([part(item, (*path, number)) for number, item in enumerate(value)], path)
    return Part(value, path)


def laid_over(below: Part, above: Part) -> Part:
    """Return ``above`` laid over ``below``."""
    lower, upper = below.content, above.content
    if not (isinstance(lower, Mapping) and isinstance(upper, Mapping)):
        return above
    merged = {key: laid_over(lower[key], item) if key in lower else item for key, item in upper.items()}
    return Part({**lower, **merged}, above.path)
