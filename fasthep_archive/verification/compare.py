"""Comparison of one recorded output with the replayed one: bytes, then content, then what differs, by type."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from fasthep_archive import digest
from fasthep_archive.errors import DataError
from fasthep_archive.files import Bytes, opened, read_all
from fasthep_archive.verification.columns import compare_columns
from fasthep_archive.verification.contrast import REPLAY, Contrast, Words
from fasthep_archive.verification.cutflows import compare_cutflows
from fasthep_archive.verification.histograms import compare_histograms
from fasthep_archive.verification.outputs import Kind, Output
from fasthep_archive.verification.pictures import compare_png
from fasthep_archive.verification.root_files import compare_root
from fasthep_archive.verification.sheets import compare_csv
from fasthep_archive.verification.texts import compare_bytes, compare_text, first_byte
from fasthep_archive.verification.trees import compare_json

Comparator: TypeAlias = Callable[[Bytes, Bytes], Contrast]
"""Takes recorded and replayed bytes. Raises ValueError or DataError if they are not of its type."""


def _whole(comparator: Callable[[bytes, bytes], Contrast]) -> Comparator:
    """Return what compares files that fit in memory."""
    return lambda recorded, replayed: comparator(read_all(recorded), read_all(replayed))


_BY_KIND: Mapping[tuple[Kind, str], Comparator] = {
    ("histogram", ".json"): _whole(compare_histograms),
    ("cutflow", ".json"): _whole(compare_cutflows),
}
_BY_SUFFIX: Mapping[str, Comparator] = {
    ".arrow": compare_columns,
    ".csv": compare_csv,
    ".feather": compare_columns,
    ".npz": compare_columns,
    ".parquet": compare_columns,
    ".root": compare_root,
    ".json": _whole(compare_json),
    ".png": _whole(compare_png),
    ".txt": _whole(compare_text),
    ".log": _whole(compare_text),
    ".md": _whole(compare_text),
    ".tex": _whole(compare_text),
    ".svg": _whole(compare_text),
    ".yaml": _whole(compare_text),
    ".yml": _whole(compare_text),
    ".html": _whole(compare_text),
}
_UNREADABLE = (DataError, ValueError, RecursionError, struct.error, zlib.error)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What two outputs of one name have in common.

    :ivar contradiction: whether the record does not agree with itself, so that no comparison with it can be trusted.
    :ivar because: the most telling difference in a sentence; none where the bytes are the same.
    :ivar contrast: what differs inside; none where that was not needed or could not be seen.
    """

    same_bytes: bool
    same_content: bool
    contradiction: bool = False
    because: str | None = None
    contrast: Contrast | None = None


def compare(recorded: Output, replayed: Output, words: Words = REPLAY) -> Comparison:
    """Return how ``replayed`` compares with ``recorded``; ``words`` say what these are called.

    Digests decide as far as they go; bytes are read only where digests differ.
    """
    if recorded.sha256 == replayed.sha256:
        return _same_bytes(recorded, replayed, words)
    before, now = (output.read() if output.read else None for output in (recorded, replayed))
    found = None if before is None else digest.of_stream(opened(before))
    if before is not None and found is not None and found != recorded.sha256:
        return Comparison(
            same_bytes=False,
            same_content=False,
            contradiction=True,
            because=f"the record contradicts itself: sha256 {recorded.sha256[:12]}… is recorded, "
            f"and the recorded file has {found[:12]}…",
        )
    if before is None or now is None:
        return _digests_only(recorded, replayed, words)
    return _by_type(recorded, replayed, before, now, words)


def _same_bytes(recorded: Output, replayed: Output, words: Words) -> Comparison:
    """Return the comparison of equal bytes, whose contents can't differ unless the record was changed."""
    if recorded.content is None or replayed.content is None or recorded.content == replayed.content:
        return Comparison(same_bytes=True, same_content=True)
    return Comparison(
        same_bytes=True,
        same_content=False,
        contradiction=True,
        because="the record contradicts itself: the same bytes have the content digest "
        f"{recorded.content[:12]}… {words.one}, {replayed.content[:12]}… {words.other}",
    )


def _digests_only(recorded: Output, replayed: Output, words: Words) -> Comparison:
    if recorded.content is not None and recorded.content == replayed.content:
        return Comparison(same_bytes=False, same_content=True, because="the bytes differ, the content is the same")
    absent = words.one if recorded.read is None else words.other
    return Comparison(
        same_bytes=False,
        same_content=False,
        because=f"the digests differ, and what is {absent} is not at hand to say where",
    )


def _by_type(recorded: Output, replayed: Output, before: Bytes, now: Bytes, words: Words) -> Comparison:
    """Return the comparison of contents; content digests on both sides have the last word on whether they are equal."""
    if recorded.content is not None and recorded.content == replayed.content:
        return Comparison(same_bytes=False, same_content=True, because=f"same content; {first_byte(before, now)}")
    contrast = _contrast(recorded, before, now)
    if not contrast.same:
        return Comparison(same_bytes=False, same_content=False, because=contrast.said(words), contrast=contrast)
    if recorded.content is None or replayed.content is None:
        return Comparison(same_bytes=False, same_content=True, because=f"same content; {first_byte(before, now)}")
    return Comparison(
        same_bytes=False,
        same_content=False,
        because=f"the content digests differ, by something that no value shows (a type); {first_byte(before, now)}",
    )


def _contrast(output: Output, before: Bytes, now: Bytes) -> Contrast:
    suffix = PurePosixPath(output.name).suffix.lower()
    comparator = _BY_KIND.get((output.kind, suffix)) or _BY_SUFFIX.get(suffix, _whole(compare_bytes))
    try:
        return comparator(before, now)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Contrast(structure=(f"not comparable as {output.kind} ({reason}); {first_byte(before, now)}",))
