"""What a plan depends on beside the document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from fasthep_archive.context import Progress

Digests: TypeAlias = Literal["none", "remembered", "read"]

CHUNK = 500_000
"""Events per partition, at most, where the file's clusters allow it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the plan depends on beside the document.

    :ivar chunk: events per partition.
    :ivar version: of this tool; part of every key.
    :ivar digests: where the digests of input files come from: ``none`` (the plan is only looked at), ``remembered``
        for files that look unchanged, or ``read`` from every byte.
    :ivar fetching: where the fetching of remote files is shown. None: nothing is fetched; of a file of which there is
        no copy yet, nothing is known, which is a warning, and a fault if digests are wanted. The same holds for
        databases, which are asked each time.
    :ivar environ: environment variables, for what a document says of databases.
    """

    chunk: int
    version: str
    cache: Path
    working_directory: Path
    digests: Digests
    workers: int
    fetching: Progress | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
