"""Comparison of PNG images by pixels: compression, filters, dates and the name of the program that drew are no content.

PNG (Portable Network Graphics, W3C Recommendation, third edition) is decoded here with the standard library alone, as
far as it needs to be: both images are unpacked, and the scanlines' filters undone only where the unpacked bytes differ.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.errors import DataError
from fasthep_archive.verification.contrast import SHOWN, Contrast, Finding
from fasthep_archive.verification.numbers import Numbers
from fasthep_archive.verification.texts import compare_bytes

Bytes: TypeAlias = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Mapping[int, int] = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Values per pixel of each colour type (table 11.1 of the recommendation)."""
_COLOUR_CHUNKS = (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP")
"""Chunks that change how the values are shown."""
_LARGEST = 2**26
"""Bytes of unpacked image above which nothing is unpacked."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An unpacked PNG: its header, its colour chunks, its scanlines with their filter bytes."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    chunks: tuple[tuple[bytes, bytes], ...]
    scanlines: bytes

    @property
    def stride(self) -> int:
        """Return the bytes of a scanline without its filter byte."""
        return (self.width * _CHANNELS[self.colour] * self.depth + 7) // 8

    @property
    def step(self) -> int:
        """Return the distance in bytes of a value and the one to its left that filters use."""
        return max(1, _CHANNELS[self.colour] * self.depth // 8)


def compare_png(recorded: bytes, replayed: bytes) -> Contrast:
    """Return which colour values differ.

    Interlaced images, and images of more than 64 MiB unpacked, are compared as bytes.

    :raises DataError: if one of them is not a sound PNG.
    """
    before, now = _unpacked(recorded), _unpacked(replayed)
    if before is None or now is None or before.interlaced or now.interlaced:
        return compare_bytes(recorded, replayed)
    shapes = [
        f"{image.width} x {image.height}, {_CHANNELS[image.colour]} x {image.depth} bit" for image in (before, now)
    ]
    if (before.width, before.height, before.depth, before.colour) != (now.width, now.height, now.depth, now.colour):
        return Contrast(
            structure=(Finding(where="the image", recorded=shapes[0], replayed=shapes[1]),), noun="colour value"
        )
    structure = () if before.chunks == now.chunks else ("the palettes or colour spaces differ",)
    if before.scanlines == now.scanlines:
        return Contrast(structure=structure, noun="colour value")
    return _pixels(before, _values(before), _values(now), structure)


def _pixels(image: _Image, before: NDArray[np.uint16], now: NDArray[np.uint16], structure: tuple[str, ...]) -> Contrast:
    different = np.nonzero(before != now)
    per_pixel = _CHANNELS[image.colour] if image.depth >= 8 else 1
    findings = tuple(
        Finding(
            where=f"row {row}, column {position // per_pixel}",
            recorded=str(before[row, position]),
            replayed=str(now[row, position]),
        )
        for row, position in zip(different[0][:SHOWN].tolist(), different[1][:SHOWN].tolist(), strict=True)
    )
    numbers = Numbers.of(before[different].astype(np.float64), now[different].astype(np.float64), compared=before.size)
    return Contrast(structure=structure, numbers=numbers, noun="colour value", findings=findings)


def _unpacked(content: bytes) -> _Image | None:
    """Return the image, or none if it is too large to unpack."""
    chunks = list(_chunks(content))
    try:
        width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    except (IndexError, struct.error):
        raise DataError("no IHDR chunk") from None
    if colour not in _CHANNELS or depth not in {1, 2, 4, 8, 16}:
        raise DataError("unknown colour type or depth")
    packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
    colours = tuple((kind, data) for kind, data in chunks if kind in _COLOUR_CHUNKS)
    image = _Image(width, height, depth, colour, interlace != 0, colours, b"")
    size = height * (image.stride + 1)
    if interlace or size > _LARGEST:
        return None
    try:
        scanlines = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise DataError(str(error)) from error
    if len(scanlines) != size:
        raise DataError("the image data have another size than the header says")
    return _Image(width, height, depth, colour, False, colours, scanlines)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not content.startswith(_SIGNATURE):
        raise DataError("no PNG signature")
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, content[at + 8 : at + 8 + length]
        at += 12 + length


def _values(image: _Image) -> NDArray[np.uint16]:
    """Return the colour values, one row per scanline; values of less than 8 bits stay packed in bytes."""
    lines = np.frombuffer(image.scanlines, np.uint8).reshape(image.height, image.stride + 1)
    decoded = np.empty((image.height, image.stride), np.uint8)
    above = np.zeros(image.stride, np.uint8)
    for row, line in enumerate(lines):
        above = decoded[row] = _unfiltered(int(line[0]), line[1:], above, image.step)
    return decoded.view(">u2").astype(np.uint16) if image.depth == 16 else decoded.astype(np.uint16)


def _unfiltered(kind: int, line: Bytes, above: Bytes, step: int) -> Bytes:
    """Return a scanline with its filter undone (clause 9.2 of the recommendation); arithmetic is modulo 256."""
    if kind == 0:
        return line
    if kind == 1:
        padded = np.zeros(-(-len(line) // step) * step, np.uint8)
        padded[: len(line)] = line
        return np.cumsum(padded.reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)[: len(line)]
    if kind == 2:
        return line + above
    if kind in {3, 4}:
        return _predicted(kind, line, above, step)
    raise DataError(f"unknown filter {kind}")


def _predicted(kind: int, line: Bytes, above: Bytes, step: int) -> Bytes:
    """Undo the filters *average* (3) and *Paeth* (4), whose predictions need the value just decoded to the left."""
    values, up = [0] * step + line.tolist(), [0] * step + above.tolist()
    for at in range(step, len(values)):
        left, over, corner = values[at - step], up[at], up[at - step]
        if kind == 3:
            guess = (left + over) // 2
        else:
            estimate = left + over - corner
            guess = min((left, over, corner), key=lambda value: abs(estimate - value))
        values[at] = (values[at] + guess) & 255
    return np.array(values[step:], np.uint8)
