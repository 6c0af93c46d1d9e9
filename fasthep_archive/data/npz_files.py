"""NumPy archives (npz: a ZIP file of arrays) from columns: an array for each, and one of offsets for each with lists.

Column ``pt`` with lists is two arrays: ``pt`` has the values of all events, and those of event ``i`` are
``pt[pt_offsets[i]:pt_offsets[i + 1]]``. Texts are arrays of Unicode texts of one width, as NumPy has them, in which a
text can't end in a null character. Members are in the order of the columns, with one date, the earliest that ZIP has.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np

from fasthep_archive.data.forms import AS_FIRST, Branch, Columns, Types, Unfit, clusters, misnamed, missing, refuse
from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Array, Column, concatenated

NpzCompression: TypeAlias = Literal["none", "zlib"]

OFFSETS = "_offsets"
"""What the name of the offsets of a column's lists ends in."""
COUNTS = "_counts"
"""What that of their lengths ends in, which are read, and not written."""
_DATE = (1980, 1, 1, 0, 0, 0)
_METHODS: Mapping[NpzCompression, int] = {"none": zipfile.ZIP_STORED, "zlib": zipfile.ZIP_DEFLATED}
_STEP = 1 << 24
"""Bytes that are written at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NpzForm:
    """How an archive is written. :ivar level: of zlib, 0 to 9."""

    compression: NpzCompression = "zlib"
    level: int = 1

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> NpzForm:
        """Return the form of a writer's checked parameters."""
        return cls(
            compression=cast("NpzCompression", params["compression"]),
            level=int(cast("int", params.get("compression_level", 1))),
        )

    @property
    def suffix(self) -> str:
        return ".npz"

    def canonical(self) -> JSON:
        return ["npz", self.compression, self.level]

    def unfit(self, branches: Sequence[Branch]) -> Unfit | None:
        arrays = {name for branch in branches for name in (branch.name, *_offsets(branch))}
        for branch in branches:
            reason = _reserved(branch, arrays)
            if reason is not None:
                return Unfit(message=reason, hint="keep it under another name, or write kind: parquet")
        return misnamed(branches, "an array") or missing(branches, "an npz file", "kind: parquet")

    def write(self, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST) -> bytes:
        refuse(self.unfit(branches))
        pieces = list(clusters(branches, parts, types))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for branch in branches:
                column = concatenated([piece.pop(branch.name) for piece in pieces])
                if column.offsets is not None:
                    self._add(archive, f"{branch.name}{OFFSETS}", column.offsets)
                self._add(archive, branch.name, _texts(column) if branch.text else column.content)
        return target.getvalue()

    def _add(self, archive: zipfile.ZipFile, name: str, values: Array) -> None:
        member = zipfile.ZipInfo(f"{name}.npy", _DATE)
        member.compress_type = _METHODS[self.compression]
        member.create_system = 3
        member.external_attr = 0o644 << 16
        member._compresslevel = self.level  # type: ignore[attr-defined]  # public from Python 3.13 on
        plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        header = {"descr": plain.dtype.str, "fortran_order": False, "shape": plain.shape}
        with archive.open(member, "w", force_zip64=plain.nbytes >= 1 << 31) as file:
            np.lib.format.write_array_header_1_0(file, header)
            raw = plain.reshape(-1).view(np.uint8) if plain.size else np.zeros(0, np.uint8)
            for start in range(0, raw.size, _STEP):
                file.write(raw[start : start + _STEP].data)


def _offsets(branch: Branch) -> tuple[str, ...]:
    return (f"{branch.name}{OFFSETS}",) if branch.lists else ()


def _reserved(branch: Branch, arrays: Collection[str]) -> str | None:
    """Return why the ``npz`` source would take a column for something else; none if it would not."""
    if branch.name.endswith(OFFSETS) or (branch.lists and branch.name.endswith(COUNTS)):
        return f"{branch.name!r} is what an npz file calls where lists are"
    stem = "" if branch.lists else branch.name
    while stem:
        for lists in (f"{stem}{OFFSETS}", f"{stem}{COUNTS}"):
            if lists in arrays and lists != branch.name:
                return f"{branch.name!r} would be read as lists from an npz file with an array {lists!r}"
        stem = stem.rpartition("_")[0]
    return None


def _texts(column: Column) -> Array:
    words = np.array(column.words or ("",), np.str_)
    return words[column.content]
