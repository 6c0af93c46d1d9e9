"""What hangs on a stage or stream: files that are drawn or written of it, and observers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fasthep_archive.digest import JSON
from fasthep_archive.workflow.values import DocumentPath

When: TypeAlias = Literal["final", "dataset", "partition"]
"""Whether a file is made of all events, or one for each dataset or partition."""

LIFECYCLE: Mapping[str, When] = {
    "final": "final",
    "dataset": "dataset",
    "partition": "partition",
    "run_end": "final",
    "dataset_end": "dataset",
    "partition_end": "partition",
}
"""How FAST-HEP spells them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Render:
    """A plot or table that is drawn of what a stage leaves.

    :ivar op: the renderer.
    :ivar params: of the renderer, what its style inherits included; without ``op``.
    :ivar out: name of the file, with suffix.
    :ivar source: which of the stage's outputs is drawn.
    """

    op: str
    params: Mapping[str, JSON]
    when: When
    out: str
    source: Literal["hist", "cutflow", "stream"]
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """A file that is written of the events after a stage.

    :ivar kind: of file.
    :ivar params: of the writer, what the layout in ``use`` says included, with all defaults.
    """

    kind: str
    params: Mapping[str, JSON]
    when: When
    path: DocumentPath = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Something that looks at a stream without changing it."""

    kind: str
    params: Mapping[str, JSON]
    path: DocumentPath = field(compare=False)
