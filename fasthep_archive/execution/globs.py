"""Patterns in the place of files (``data/*.root``), since version 1.1 of the language: the files that they stand for.

A bundle's document names the files themselves: what a pattern stands for is decided once.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from fasthep_archive.errors import Fault
from fasthep_archive.workflow import addresses
from fasthep_archive.workflow.model import Listed, Workflow
from fasthep_archive.workflow.values import written


def expanded(workflow: Workflow, working_directory: Path, report: Callable[[Fault], None]) -> Workflow:
    """Return the workflow with files in the place of patterns, in the order of their names; report what matches none.

    A relative pattern is looked for beside the document, then in the working directory, as a file is. A file that is
    called like a pattern is meant by it. Below ``**`` are directories of any depth.
    """
    if workflow.language == "1.0" or not any(map(_is_pattern, _names(workflow))):
        return workflow
    places = (workflow.document.files[0].parent, working_directory)
    document = workflow.document
    moved = dict(document.moved)

    def files(listed: Listed) -> tuple[str, ...]:
        """Return all files of a list; note where each is written."""
        found = tuple(_expanded(listed, places, workflow, report))
        here = listed.path
        moved.update({(*here, new): written((*here, old), document.moved) for new, (_, old) in enumerate(found)})
        return tuple(name for name, _ in found)

    datasets = (
        replace(each, files=files(Listed(names=each.files, path=(*each.path, "files")))) for each in workflow.datasets
    )
    sources = (
        replace(
            each, files={item.name: files(each.listed(item)) for item in workflow.datasets if item.name in each.files}
        )
        for each in workflow.sources
    )
    changed = replace(workflow, datasets=tuple(datasets), sources=tuple(sources))
    return replace(changed, document=replace(document, moved=moved))


def _names(workflow: Workflow) -> Iterator[str]:
    return (name for _, name in workflow.named_files())


def _is_pattern(name: str) -> bool:
    return addresses.scheme(name) is None and glob.has_magic(name)


def _expanded(
    listed: Listed, places: tuple[Path, ...], workflow: Workflow, report: Callable[[Fault], None]
) -> Iterator[tuple[str, int]]:
    """Yield the names of files, each with the place of what it stands for in the document's list."""
    for number, name in enumerate(listed.names):
        found = _matching(name, places) if _is_pattern(name) else [name]
        if not found:
            looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
            hint = f"looked in {looked}" if not Path(name).is_absolute() else None
            where = workflow.document.where((*listed.path, number))
            report(Fault(f"no file is called like {name!r}", where, hint))
        yield from ((file, number) for file in found)


def _matching(pattern: str, places: tuple[Path, ...]) -> list[str]:
    for place in places:
        if (place / pattern).exists():
            return [pattern]
        found = glob.glob(pattern, root_dir=place, recursive=True)  # noqa: PTH207 - keeps names as they are written
        files = sorted(Path(name).as_posix() for name in found if (place / name).is_file())
        if files:
            return files
    return []
