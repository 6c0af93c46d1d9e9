"""Baskets: the compressed pieces in which a ROOT file holds the branches of a TTree.

A basket is a TKey with a header of its own and one compressed payload: the values of consecutive entries, big-endian
and without gaps, then, for entries of variable length, mostly a table of where each one starts. Layout and
compression are ROOT's: TKey and TBasket streamers, ``core/zip/src/RZip.cxx``, ``core/lz4/src/ZipLZ4.cxx``.

Decompressing into a buffer that is used again, instead of into new memory, saves half of the time with ZSTD.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]

_KEY: Final = struct.Struct(">ihiIhh")
"""fNbytes, version, fObjlen, fDatime, fKeylen, fCycle."""
_BASKET: Final = struct.Struct(">Hiiiib")
"""Version, fBufferSize, fNevBufSize, fNevBuf, fLast, flag: the end of the key."""
_LONGEST_KEY: Final = 1024
"""More than any key has: three texts of at most 255 characters and 42 bytes."""
_BLOCK: Final = struct.Struct("<2sBHBHB")
"""Algorithm, method, compressed and uncompressed size, three bytes each."""


class DamagedBasket(Exception):
    """A basket is not what the file says it is."""


@dataclass(frozen=True, slots=True)
class Basket:
    """The content of a basket, valid until the next one is read.

    :ivar values: of all entries, as stored.
    :ivar starts: where each entry begins in ``values``, in bytes, and at last where they end; none if not stored.
    """

    values: Bytes
    starts: NDArray[np.int32] | None


class BasketFile:
    """A ROOT file from which baskets are read, one at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._packed = np.empty(1 << 20, np.uint8)
        self._unpacked = np.empty(1 << 21, np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def basket(self, seek: int, size: int) -> Basket:
        """Return the basket of ``size`` bytes at ``seek``.

        :raises DamagedBasket: if it is cut off, or its headers or checksums contradict each other.
        """
        packed = self._read(seek, size)
        key_length, unpacked_size, border = _header(packed)
        payload = packed[key_length:]
        content = payload if len(payload) == unpacked_size else self._unpack(payload, unpacked_size)
        if border == unpacked_size:
            return Basket(content, None)
        starts = content[border:].view(">i4")[1:] - np.int32(key_length)
        starts[-1] = border
        return Basket(content[:border], starts)

    def length(self, seek: int, size: int) -> int:
        """Return the length of the values in the basket at ``seek``, in bytes, without reading them."""
        return _header(self._read(seek, min(size, _LONGEST_KEY)), size)[2]

    def _read(self, seek: int, size: int) -> Bytes:
        if size > len(self._packed):
            self._packed = np.empty(size, np.uint8)
        packed = self._packed[:size]
        self._file.seek(seek)
        view, filled = packed.data, 0
        while filled < size:
            count = self._file.readinto(view[filled:])
            if not count:
                raise DamagedBasket("the file ends inside of it")
            filled += count
        return packed

    def _unpack(self, payload: Bytes, size: int) -> Bytes:
        if size > len(self._unpacked):
            self._unpacked = np.empty(size, np.uint8)
        unpacked = self._unpacked[:size]
        at = filled = 0
        while filled < size:
            if at + _BLOCK.size > len(payload):
                raise DamagedBasket("it is shorter than it should be")
            tag, _, packed_low, packed_high, unpacked_low, unpacked_high = _BLOCK.unpack_from(payload.data, at)
            at += _BLOCK.size
            packed_size, block_size = packed_low | packed_high << 16, unpacked_low | unpacked_high << 16
            block, target = payload[at : at + packed_size], unpacked[filled : filled + block_size]
            if len(block) != packed_size or len(target) != block_size or not block_size:
                raise DamagedBasket("the sizes of its compressed blocks are wrong")
            if tag not in _CODECS:
                raise DamagedBasket(f"unknown compression {tag!r}")
            try:
                written = _CODECS[tag](block, target)
            except Exception as error:  # each library has its own; they agree that the block is damaged
                raise DamagedBasket(f"it can't be decompressed: {error}") from error
            if written != block_size:
                raise DamagedBasket("a compressed block has another size than its header says")
            at += packed_size
            filled += block_size
        return unpacked


def _header(packed: Bytes, size: int | None = None) -> tuple[int, int, int]:
    """Return lengths of key, of the payload, and of the values at its beginning."""
    if len(packed) >= _KEY.size:
        length, _, unpacked_size, _, key_length, _ = _KEY.unpack_from(packed.data)
        if length == (size or len(packed)) and _KEY.size + _BASKET.size <= key_length <= len(packed):
            border = _BASKET.unpack_from(packed.data, key_length - _BASKET.size)[4] - key_length
            if border == unpacked_size or (0 <= border < unpacked_size and (unpacked_size - border) % 4 == 0):
                return key_length, unpacked_size, border
    raise DamagedBasket("its header is damaged")


def _zlib(block: Bytes, target: Bytes) -> int:
    return _copied(zlib.decompress(block.data, bufsize=len(target)), target)


def _lzma(block: Bytes, target: Bytes) -> int:
    return _copied(lzma.decompress(block.data), target)


def _copied(content: bytes, target: Bytes) -> int:
    if len(content) == len(target):
        target[:] = np.frombuffer(content, np.uint8)
    return len(content)


def _lz4(block: Bytes, target: Bytes) -> int:
    import cramjam
    import xxhash

    if xxhash.xxh64(block[8:].data).intdigest() != int.from_bytes(block[:8].tobytes(), "big"):
        raise DamagedBasket("its checksum is wrong")
    return int(cramjam.lz4.decompress_block_into(block[8:].data, target.data, output_len=len(target)))


def _zstd(block: Bytes, target: Bytes) -> int:
    import cramjam

    return int(cramjam.zstd.decompress_into(block.data, target.data))


_CODECS: Final[Mapping[bytes, Callable[[Bytes, Bytes], int]]] = {
    b"ZL": _zlib,
    b"XZ": _lzma,
    b"L4": _lz4,
    b"ZS": _zstd,
}
