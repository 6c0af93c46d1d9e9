"""Inputs that a bundle refers to without including them: found in a folder, or fetched from their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.context import Context
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    from fasthep_archive.bundle.identity import Input
    from fasthep_archive.bundle.reader import Bundle


def refuse_unobtainable(opened: Bundle, data: Path | None, *, fetch: bool) -> None:
    """Refuse a replay that will lack inputs before anything is done for it.

    :raises DataError: naming each input that is not included and can't be had in the ways that were named.
    """
    absent = [item for item in opened.summary.inputs if not item.included]
    unobtainable = [item for item in absent if data is None and not (fetch and item.urls)]
    if unobtainable:
        raise _unobtainable(unobtainable, fetch=fetch)


def provide(opened: Bundle, root: Path, data: Path | None, *, fetch: bool, context: Context) -> tuple[str, ...]:
    """Put the inputs that ``opened`` lacks where a bundle that has them has them below ``root``; return these members.

    :param data: a folder to look in first. :param fetch: whether the rest may be fetched.
    :raises DataError: naming each that can't be had, and why.
    """
    from fasthep_archive.bundle import layout
    from fasthep_archive.data.finding import Wanted, find

    absent = [item for item in opened.summary.inputs if not item.included]
    if not absent:
        return ()
    wanted = [Wanted(name=item.name, size=item.size, sha256=item.sha256) for item in absent]
    found = find(wanted, data, context.progress).paths if data is not None else {}
    for item in absent:
        target = root / layout.INPUTS / item.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if item.name in found:
            target.symlink_to(found[item.name].resolve())
    _fetch([item for item in absent if item.name not in found], root, fetch=fetch, context=context)
    return tuple(layout.INPUTS + item.name for item in absent)


def _fetch(items: Sequence[Input], root: Path, *, fetch: bool, context: Context) -> None:
    """Fetch inputs from their addresses."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.data.remote import Expected
    from fasthep_archive.data.remote import fetch as fetched

    unobtainable = [item for item in items if not (fetch and item.urls)]
    if unobtainable:
        raise _unobtainable(unobtainable, fetch=fetch)
    for item in items:
        context.progress.start(f"fetching {item.name}", item.size, "bytes")
        expected = Expected(size=item.size, sha256=item.sha256)
        try:
            fetched(item.urls, root / layout.INPUTS / item.name, expected=expected, progress=context.progress)
        except DataError as error:
            error.hint = f"{error.hint or 'try again later'}; or name a folder that has {item.name} with --data DIR"
            raise


def _unobtainable(items: Sequence[Input], *, fetch: bool) -> DataError:
    lines = []
    for item in items:
        at = ", ".join(item.urls) if item.urls else "no address is known"
        lines.append(f"  {item.name} ({item.size} bytes, SHA-256 {item.sha256}): {at}")
    ways = ["name a folder that has them with --data DIR"]
    if not fetch and any(item.urls for item in items):
        ways.append("say --fetch to fetch them from their addresses")
    listed = "\n".join(lines)
    return DataError(f"the bundle refers to these inputs without including them:\n{listed}", hint=", or ".join(ways))
