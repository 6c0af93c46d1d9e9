"""Outputs as they are compared: a name, two digests, and bytes where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from fasthep_archive.digest import Digest
from fasthep_archive.files import Bytes

Kind: TypeAlias = Literal["histogram", "cutflow", "table", "columns", "value", "picture", "log", "file"]
"""What an output is. Decides how it is compared, and what is asked of it unless the document says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One output, recorded or replayed.

    :ivar name: of the file below the outputs directory, with ``/``; what recorded and replayed outputs are paired by.
    :ivar stage: id of the stage that made it; a policy may name it instead of the file.
    :ivar sha256: digest of the bytes, as recorded, or as computed from what was replayed.
    :ivar content: digest of the content; none where the kind has none but its bytes.
    :ivar exact: whether all that leads to it is inside the numeric profile, so that another machine must arrive at the
        same bits; none where that is not known.
    :ivar read: returns the bytes, or where they lie; none where they are not at hand (a thin bundle holds only digests
        of large outputs).
    """

    name: str
    kind: Kind
    sha256: Digest
    stage: str | None = None
    content: Digest | None = None
    exact: bool | None = None
    read: Callable[[], Bytes] | None = None


def kind_named(name: str) -> Kind:
    """Return the kind called ``name``; a kind that this version does not know is compared by its bytes."""
    return cast("Kind", name) if name in get_args(Kind) else "file"
