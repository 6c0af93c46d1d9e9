"""``hydrate``: from a bundle that refers to its inputs and wheels to one that includes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.archive.absent import provide
from fasthep_archive.archive.checking import resolved
from fasthep_archive.archive.opening import open_bundle
from fasthep_archive.archive.sealing import Sealed, sealed
from fasthep_archive.archive.surroundings import AnyPath, bundle_target, existing, surroundings, workspace
from fasthep_archive.context import Context, Progress
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    from fasthep_archive.bundle.container import Member
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.bundle.seal import Contents
    from fasthep_archive.bundle.staging import Staged


@dataclass(frozen=True, kw_only=True, slots=True)
class Hydrated:
    """A bundle with everything included. ``gained``: the members that it has and the first one had not."""

    path: Path
    size: int
    identity: Digest
    sidecar: Path | None
    gained: tuple[str, ...]


def hydrate(
    bundle: AnyPath,
    target: AnyPath | None = None,
    *,
    wheels: AnyPath | None = None,
    data: AnyPath | None = None,
    index: bool = True,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Hydrated:
    """Write a bundle that includes what ``bundle`` refers to, every digest verified. Both have the same identity.

    :param target: by default ``NAME.fat.crate.zip`` beside ``bundle``.
    :param wheels: a folder that is searched for wheels, before a package index is asked.
    :param data: a folder that is searched for inputs, before their addresses are.
    :param index: whether a package index may be asked.
    :raises DataError: naming everything that can't be had; nothing is written then.
    """
    from fasthep_archive.bundle import layout

    context = surroundings(cache, None, progress)
    path = existing(bundle)
    goal = bundle_target(Path(target) if target is not None else _fat(path))
    with open_bundle(path, payload=True, progress=context.progress) as opened, workspace(goal.parent) as space:
        context.progress.close()
        thin = restored(opened, space / "staged")
        folder = None if data is None else Path(data)
        found = provide(opened, space / "staged", folder, fetch=True, context=context)
        added = _downloaded(thin, space / "wheels", None if wheels is None else Path(wheels), context, index=index)
        fat = replace(
            thin,
            wheels=tuple(sorted([*thin.wheels, *added], key=lambda wheel: wheel.name)),
            left_out=thin.left_out - {*found},
        )
        written = sealed(fat, goal, examine=_passed, progress=context.progress)
        gained = (*sorted(found), *(layout.WHEELS + wheel.name for wheel in added))
        return _hydrated(written, gained)


def _fat(bundle: Path) -> Path:
    """Return the name of a bundle with everything included.

    >>> _fat(Path("dimuon.crate.zip")).name
    'dimuon.fat.crate.zip'
    """
    from fasthep_archive.bundle.layout import SUFFIX

    return bundle.with_name(f"{bundle.name.removesuffix(SUFFIX)}.fat{SUFFIX}")


def restored(opened: Bundle, root: Path) -> Contents:
    """Unpack ``opened`` below ``root`` and return what it was made from."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.bundle.seal import Contents
    from fasthep_archive.environment.lock import Lock
    from fasthep_archive.execution.record import read_record
    from fasthep_archive.workflow.model import build

    opened.extract(opened.names(layout.PAYLOAD), root)
    workflow, _ = build(resolved(root / layout.RESOLVED))
    summary = opened.summary
    held = {layout.INPUTS + item.name for item in summary.inputs if item.included}
    held |= {layout.output(item.name) for item in summary.outputs if item.included}
    every = {*(layout.INPUTS + item.name for item in summary.inputs)}
    every |= {layout.output(item.name) for item in summary.outputs}
    return Contents(
        staged=_staged(opened, root),
        record=read_record(opened.json(layout.RUN), workflow),
        directory=root / layout.OUTPUTS,
        lock=Lock.of(opened.read(layout.LOCK)),
        wheels=tuple(root / name for name in opened.names(layout.WHEELS)),
        left_out=frozenset(every - held),
        created=summary.created,
    )


def _staged(opened: Bundle, root: Path) -> Staged:
    """Return the staged tree that ``root`` is once more."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.bundle.staging import Staged

    main = opened.main
    made = (layout.RESOLVED, layout.GRAPH, main)
    others = sorted(name for name in opened.names(layout.WORKFLOW) if name not in made)
    code = tuple(opened.names(layout.CODE))
    return Staged(root=root, main=main, documents=(main, *others), originals=(), inputs={}, code=code)


def _downloaded(
    thin: Contents, directory: Path, folder: Path | None, context: Context, *, index: bool
) -> tuple[Path, ...]:
    """Return the wheels that ``thin`` lacks, from ``folder`` or from the user's package index."""
    from fasthep_archive.environment.download import download

    held = {wheel.name for wheel in thin.wheels}
    lacking = [item for item in thin.lock.packages if not held & {artifact.name for artifact in item.artifacts}]
    unresolved = [f"{item.name} {item.version}" for item in lacking if item.status == "unresolved"]
    if unresolved:
        raise DataError(
            f"the lock has no hashes of {', '.join(unresolved)}: no index could be asked when the bundle was packed",
            hint="pack again where an index can be reached, or pack with --fat in the environment that has them",
        )
    directory.mkdir()
    return download(
        lacking,
        directory,
        python=thin.lock.python,
        platforms=(),
        environ=os.environ,
        progress=context.progress,
        wheels_from=folder,
        index=index,
    )


def _passed(_members: Sequence[Member]) -> None:
    """Let through what passed the gate when the bundle was packed."""


def _hydrated(written: Sealed, gained: Iterable[str]) -> Hydrated:
    return Hydrated(
        path=written.path,
        size=written.size,
        identity=written.identity,
        sidecar=written.sidecar,
        gained=tuple(gained),
    )
