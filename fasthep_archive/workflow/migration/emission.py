"""YAML text for people: short lists and mappings on one line, comments where they stood."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Location

WIDTH = 110
"""Of comments, in characters."""
_SHORT = 88
"""What fits on one line, in characters of its Python form."""


@dataclass(slots=True)
class Notes:
    """Collects what could not be brought over, in the order in which it was met.

    :ivar wrong: says what is wrong with the text of a formula; none if nothing is.
    """

    wrong: Callable[[str], str | None]
    found: list[str] = field(default_factory=list)

    def add(self, text: str, where: Location | None = None) -> None:
        """Note ``text``, once, with the place that it is about."""
        told = f"{where}: {text}" if where else text
        if told not in self.found:
            self.found.append(told)


@dataclass(frozen=True, kw_only=True, slots=True)
class Commented:
    """A stage, and the lines of comment above it, without their marks."""

    stage: Mapping[str, JSON]
    comments: tuple[str, ...] = ()


def emitted(document: Mapping[str, JSON], stages: Sequence[Commented], head: Sequence[str]) -> str:
    """Return the YAML text of a document: its top-level keys, then its stages, below ``head`` as a comment."""
    lines = [line for text in head for line in _comment(text)]
    for key, value in document.items():
        if value is not None:
            lines += ["", *_keyed(key, value)]
    lines += ["", "analysis:", "  stages:"]
    for stage in stages:
        first, *others = _dumped(stage.stage)
        block = [*(f"# {text}".rstrip() for text in stage.comments), f"- {first}", *(f"  {line}" for line in others)]
        lines += [*(f"    {line}" for line in block), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False)


def _keyed(key: str, value: JSON) -> list[str]:
    first, *others = _dumped(value)
    return [f"{key}: {first}"] if not others else [f"{key}:", *(f"  {line}" for line in (first, *others))]


class _Dumper(yaml.SafeDumper):
    """Writes what fits on a line on one line, and everything else as a block."""

    def represent_mapping(self, tag: str, mapping: object, flow_style: bool | None = None) -> yaml.MappingNode:
        """Return a mapping, on one line if it is short."""
        return super().represent_mapping(tag, mapping, flow_style=_short(mapping))  # type: ignore[arg-type]

    def represent_sequence(self, tag: str, sequence: object, flow_style: bool | None = None) -> yaml.SequenceNode:
        """Return a list, on one line if it is short."""
        return super().represent_sequence(tag, sequence, flow_style=_short(sequence))  # type: ignore[arg-type]

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out: an anchor helps no reader."""
        return True


def _short(value: object) -> bool:
    return len(str(value)) <= _SHORT


def _dumped(value: JSON) -> list[str]:
    """Return ``value`` as lines."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=4 * WIDTH, allow_unicode=True)
    return text.removesuffix("...\n").splitlines()
