"""Files from elsewhere: fetched from the first address that has them, taken up where they were cut, and verified."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fasthep_archive.context import Progress
from fasthep_archive.data.servers import Dropped, Expected, Unavailable, Version, open_server
from fasthep_archive.data.transfer import Fetched, Mismatch, Part, difference, sums_of, transfer
from fasthep_archive.errors import DataError
from fasthep_archive.workflow import addresses

__all__ = ["PAUSES", "Expected", "Fetched", "Version", "fetch", "versions"]

PAUSES = (0.5, 1.0, 2.0)
"""Seconds to wait before each new try at an address whose connections end."""
_FURTHER = 1 << 16
"""Bytes by which a try must get further for the pauses to start over: a bad line is not given up while it brings."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    expected: Expected,
    progress: Progress,
    pauses: Sequence[float] = PAUSES,
) -> Fetched:
    """Fetch a file from the first of ``urls`` that has it as ``expected``, and put it at ``target``, whole.

    A dropped connection is taken up again, in this call or in a later one, if the server still has the same version.
    Digests that a server states are verified too. The display of ``progress`` is left open.

    :param urls: mirrors, the best first. :param target: is replaced if it is there. :param pauses: for tests.
    :raises DataError: if none has it: says for each why; for another file, both digests.
    """
    part, failed = Part(target=target), list[Unavailable]()
    with part.locked(progress) as waited:
        if waited and target.is_file():
            found = sums_of(target).fetched(target, urls[0])
            if difference(found, expected) is None:
                return found
        for number, url in enumerate(urls, 1):
            try:
                found = _persistent(url, part, expected, progress, pauses)
            except Unavailable as error:
                failed.append(error)
                if number < len(urls):
                    progress.message(f"{error.message}; trying {urls[number]}")
            else:
                part.finish()
                return found
    raise _nowhere(target.name, failed)


def versions(urls: Sequence[str]) -> Mapping[str, Version | DataError]:
    """Return which version of each file its server has, or why that can't be told; fetches nothing."""
    found: dict[str, Version | DataError] = {}
    for scheme in dict.fromkeys(map(addresses.scheme, urls)):
        alike = [url for url in urls if addresses.scheme(url) == scheme]
        try:
            with open_server(alike[0]) as server:
                found |= server.versions(alike)
        except Unavailable as error:
            found |= dict.fromkeys(alike, error)
    return found


def _persistent(url: str, part: Part, expected: Expected, progress: Progress, pauses: Sequence[float]) -> Fetched:
    """Fetch from one address; try again when the connection ends, or when bytes of an earlier time are at fault."""
    left, reached = iter(pauses), part.size
    with open_server(url) as server:
        while True:
            resumed = part.size > 0
            try:
                return transfer(server, url, part, expected, progress)
            except Mismatch:
                part.drop()
                if not resumed:
                    raise
            except Dropped:
                if part.size >= reached + _FURTHER:
                    left, reached = iter(pauses), part.size
                pause = next(left, None)
                if pause is None:
                    raise
                time.sleep(pause)


def _nowhere(name: str, failed: Sequence[Unavailable]) -> DataError:
    """Return the error for a file that no address has."""
    if len(failed) == 1:
        return failed[0]
    reasons = "".join(f"\n  {error.message}" for error in failed)
    hint = next((error.hint for error in failed if error.hint), "name an address where it can be had")
    return DataError(f"{name} can't be fetched from any of {len(failed)} addresses:{reasons}", hint=hint)
