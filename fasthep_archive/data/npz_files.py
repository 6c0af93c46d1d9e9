"""NumPy archives (npz: a ZIP file of arrays) from columns: an array for each, and one of offsets for each with lists.

Column ``pt`` with lists is two arrays: ``pt`` has the values of all events, and those of event ``i`` are
``pt[pt_offsets[i]:pt_offsets[i + 1]]``. Texts are arrays of Unicode texts of one width, as NumPy has them, in which a
text can't end in a null character. Members are in the order of the columns, with one date, the earliest that ZIP has.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np

from fasthep_archive.data.forms import AS_FIRST, Branch, Columns, Types, Unfit, clusters, misnamed, missing, refuse
from fasthep_archive.digest import JSON
from fasthep_archive.formula.columns import Array, Column

NpzCompression: TypeAlias = Literal["none", "zlib"]

OFFSETS = "_offsets"
"""What the name of the offsets of a column's lists ends in."""
COUNTS = "_counts"
"""What that of their lengths ends in, which are read, and not written."""
_DATE = (1980, 1, 1, 0, 0, 0)
_METHODS: Mapping[NpzCompression, int] = {"none": zipfile.ZIP_STORED, "zlib": zipfile.ZIP_DEFLATED}


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

    def write(
        self, target: BinaryIO, branches: Sequence[Branch], parts: Iterable[Columns], types: Types = AS_FIRST
    ) -> None:
        """Write the archive. An array is written after the one before: until then it waits in a temporary file."""
        refuse(self.unfit(branches))
        with ExitStack() as waiting, zipfile.ZipFile(target, "w") as archive:
            spools = {
                name: _Spool(waiting.enter_context(TemporaryFile(dir=_beside(target))))
                for branch in branches
                for name in (*_offsets(branch), branch.name)
            }
            for cluster in clusters(branches, parts, types):
                for branch in branches:
                    _spread(branch, cluster[branch.name], spools)
            for name, spool in spools.items():
                self._add(archive, name, spool)

    def _add(self, archive: zipfile.ZipFile, name: str, spool: _Spool) -> None:
        member = zipfile.ZipInfo(f"{name}.npy", _DATE)
        member.compress_type = _METHODS[self.compression]
        member.create_system = 3
        member.external_attr = 0o644 << 16
        member._compresslevel = self.level  # type: ignore[attr-defined]  # public from Python 3.13 on
        header = {"descr": spool.dtype.str, "fortran_order": False, "shape": (spool.size,)}
        with archive.open(member, "w", force_zip64=spool.nbytes >= 1 << 31) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for piece in spool.pieces():
                file.write(piece)


def _beside(file: BinaryIO) -> Path | None:
    """Return the directory of a file; none if it has no name."""
    name = getattr(file, "name", None)
    return Path(name).parent if isinstance(name, str) else None


class _Spool:
    """An array whose pieces lie in a file until all are known. Texts get the width of the longest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.dtype: np.dtype[Any] = np.dtype(np.bool_)
        self.size = 0
        self.last = 0
        self._file = file
        self._added: list[tuple[np.dtype[Any], int]] = []

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of the whole array."""
        return self.size * self.dtype.itemsize

    def add(self, values: Array) -> None:
        """Append values; all are of one type, but for the width of texts."""
        plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self.dtype = plain.dtype if not self._added else max(self.dtype, plain.dtype, key=lambda kind: kind.itemsize)
        self._added.append((plain.dtype, plain.size))
        self.size += plain.size
        if plain.size:
            self._file.write(plain.view(np.uint8).data)

    def pieces(self) -> Iterator[memoryview]:
        """Yield the bytes of the array."""
        self._file.seek(0)
        for dtype, size in self._added:
            raw = self._file.read(size * dtype.itemsize)
            if size:
                yield np.frombuffer(raw, dtype).astype(self.dtype, copy=False).view(np.uint8).data


def _spread(branch: Branch, column: Column, spools: Mapping[str, _Spool]) -> None:
    """Append the arrays of a column; offsets go on where those of the cluster before have ended."""
    if column.offsets is not None:
        offsets = spools[f"{branch.name}{OFFSETS}"]
        offsets.add((column.offsets if not offsets.size else column.offsets[1:]) + offsets.last)
        offsets.last += int(column.offsets[-1])
    spools[branch.name].add(_texts(column) if branch.text else column.content)


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
