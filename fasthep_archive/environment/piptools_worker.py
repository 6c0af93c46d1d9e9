"""The process that asks package indexes through pip-tools: pins on standard input, answers on standard output, as JSON.

pip-tools reads pip's own configuration and lists what is offered (``PyPIRepository.find_all_candidates``), for all
platforms (``allow_all_wheels``), and hashes a file for which an index states no sha256. An index that doesn't answer
is found out first, with one short request, since pip itself tries five times and then goes on without a word.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment.artifacts import Outcome, Pin, belongs, settled
from fasthep_archive.environment.lock import Artifact

if TYPE_CHECKING:
    from pip._internal.models.candidate import InstallationCandidate
    from pip._internal.models.link import Link
    from piptools.repositories import PyPIRepository

_ARGUMENTS = ("--no-input", "--ignore-requires-python", "--no-binary", ":none:", "--only-binary", ":none:")
"""Ask no one for a password; list every file, whatever it is for and whatever the user prefers to install."""

_PROBED = "pip"
"""The project whose page is asked for to see whether an index answers at all; that it has none is an answer too."""

_PROBE_SECONDS = (5.0, 20.0)
"""Longest wait for a connection, and for the first byte of the answer."""

_THREADS = 8


def main() -> None:
    """Answer one task."""
    with _only_answers_on_standard_output() as answers:
        task = json.load(sys.stdin)
        pins = [Pin(name=name, version=version) for name, version in task["pins"]]
        json.dump({"answers": _answers(pins, task["python"])}, answers)


@contextmanager
def _only_answers_on_standard_output() -> Iterator[TextIO]:
    """Yield standard output, and send what pip writes there to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        yield answers


def _answers(pins: Sequence[Pin], python: str) -> list[JSON]:
    from piptools.repositories import PyPIRepository

    repository = PyPIRepository([*_ARGUMENTS], cache_dir="")
    sizes = _sizes()
    missing = _reachable_only(repository)
    with repository.allow_all_wheels(), ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda pin: _answer(repository, pin, python, missing, sizes), pins))


def _reachable_only(repository: PyPIRepository) -> Outcome:
    """Leave the places that answer, and return what it means when these don't have a version.

    A folder (``find-links``) is a place; where it is the only one (``no-index``), it is all there is to ask.
    """
    finder = repository.finder
    scope = finder.search_scope
    indexes = [] if scope.no_index else scope.index_urls
    pages = scope.get_index_urls_locations(_PROBED) if indexes else []
    reached = [url for url, page in zip(indexes, pages, strict=True) if _answers_at_all(page)]
    finder.search_scope = type(scope).create(scope.find_links, reached, no_index=not reached)
    if len(reached) == len(indexes) and (reached or scope.find_links):
        return "vanished"
    return "unknown" if reached else "unreachable"


def _answers_at_all(page: str) -> bool:
    """Return whether a folder or a server answers a request for ``page``; a server's failure is no answer."""
    from pip._internal.exceptions import PipError
    from pip._vendor.requests.exceptions import RequestException
    from piptools.repositories import PyPIRepository

    if urlsplit(page).scheme == "file":
        return True
    session = PyPIRepository(["--retries", "0", *_ARGUMENTS], cache_dir="").session
    try:
        with session.get(page, timeout=_PROBE_SECONDS, stream=True) as answer:
            return bool(answer.status_code < 500)
    except (RequestException, PipError):
        return False


def _sizes() -> Mapping[str, int]:
    """Return the sizes of files by address, filled as pip reads pages: they are there (PEP 700), and pip drops them."""
    from pip._internal.models.link import Link

    sizes: dict[str, int] = {}
    read = Link.from_json.__func__  # type: ignore[attr-defined]

    def remembering(kind: type[Link], file: dict[str, object], page_url: str) -> Link | None:
        link: Link | None = read(kind, file, page_url)
        size = file.get("size")
        if link is not None and isinstance(size, int):
            sizes[link.url_without_fragment] = size
        return link

    Link.from_json = classmethod(remembering)  # type: ignore[assignment, method-assign]
    return sizes


def _answer(
    repository: PyPIRepository, pin: Pin, python: str, missing: Outcome, sizes: Mapping[str, int]
) -> dict[str, JSON]:
    offered = [item for item in repository.find_all_candidates(pin.name) if str(item.version) == pin.version]
    wanted = [item for item in offered if belongs(item.link.filename, pin, python)]
    files = settled((_artifact(repository, item, sizes) for item in wanted), pin, python)
    reasons = [item.link.yanked_reason for item in offered if item.link.yanked_reason is not None]
    return {
        "outcome": "found" if offered else missing,
        "artifacts": [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in files],
        "yanked": reasons[0] if reasons else None,
        "lasting": missing == "vanished" and not any(map(_replaceable, wanted)),
    }


def _replaceable(candidate: InstallationCandidate) -> bool:
    """Return whether the file lies in a folder whose index, if there is one, doesn't say what bytes it has."""
    return candidate.link.is_file and _stated(candidate.link) is None


def _stated(link: Link) -> str | None:
    return link.hash if link.hash_name == "sha256" else None


def _artifact(repository: PyPIRepository, candidate: InstallationCandidate, sizes: Mapping[str, int]) -> Artifact:
    link = candidate.link
    sha256 = _stated(link) or repository._get_file_hash(link).partition(":")[2]  # as pip-tools itself hashes
    return Artifact(name=link.filename, sha256=Digest(sha256), size=sizes.get(link.url_without_fragment))


if __name__ == "__main__":
    main()
