"""``diff``: what differs between two bundles."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fasthep_archive.archive.opening import open_bundle
from fasthep_archive.archive.sealing import comparable
from fasthep_archive.archive.surroundings import AnyPath

if TYPE_CHECKING:
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.verification.diff import Diff, Side


def diff(before: AnyPath, after: AnyPath) -> Diff:
    """Return what differs between two bundles, most important first.

    :raises BundleError: if one of them is damaged.
    """
    from fasthep_archive.verification.diff import compare_bundles

    with open_bundle(before) as a, open_bundle(after) as b:
        return compare_bundles(_side(a), _side(b))


def _side(opened: Bundle) -> Side:
    from fasthep_archive.bundle import layout
    from fasthep_archive.environment.snapshot import Snapshot
    from fasthep_archive.execution.record import asked_of
    from fasthep_archive.verification.diff import Side
    from fasthep_archive.workflow.code import functions
    from fasthep_archive.workflow.document import from_json
    from fasthep_archive.workflow.model import build

    summary, document = opened.summary, opened.json(layout.RESOLVED)
    workflow, _ = build(from_json(document, name=layout.RESOLVED))
    return Side(
        name=str(opened.path),
        title=summary.title,
        identity=summary.identity,
        engine={
            "tool": f"{summary.tool} {summary.version}",
            "numeric profile": summary.parts.profile,
            "workflow language": summary.language,
            **{f"schema {name}": version for name, version in summary.parts.schemas.items()},
        },
        document=document,
        asked=str(asked_of(opened.json(layout.RUN))),
        code=summary.parts.code,
        inputs=summary.parts.inputs,
        outputs=[
            comparable(item, partial(opened.stretch, layout.output(item.name)) if item.included else None)
            for item in summary.outputs
        ],
        environment=Snapshot.from_json(opened.json(layout.SNAPSHOT)),
        policies=workflow.archive.verify,
        hashes={package.name: package.hashes for package in summary.parts.environment},
        functions=functions({name: opened.read(layout.CODE + name) for name in summary.parts.code}),
    )
