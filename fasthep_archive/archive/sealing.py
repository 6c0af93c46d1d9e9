"""Sealing: from a finished, staged run to the file of a bundle. What ``pack`` and ``hydrate`` end with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.context import Progress
from fasthep_archive.digest import Digest
from fasthep_archive.files import Bytes

if TYPE_CHECKING:
    from fasthep_archive.bundle.container import Member
    from fasthep_archive.bundle.description import Description
    from fasthep_archive.bundle.identity import Output as BundledOutput
    from fasthep_archive.bundle.seal import Contents
    from fasthep_archive.execution.record import RecordedOutput
    from fasthep_archive.report.markup import Markup
    from fasthep_archive.verification.outputs import Output


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """A bundle that was written. ``sidecar`` is the verifier beside it where the bundle is too large to run itself."""

    path: Path
    size: int
    identity: Digest
    sidecar: Path | None


def sealed(
    contents: Contents, target: Path, *, examine: Callable[[Sequence[Member]], None], progress: Progress
) -> Sealed:
    """Write the bundle of a finished run.

    :param examine: raises if a member must not be published.
    """
    from fasthep_archive.bundle import container, crate, identity, layout, seal
    from fasthep_archive.bundle.describe import describe
    from fasthep_archive.report import graph
    from fasthep_archive.verification.policy import policy_of

    record = contents.record
    drawn = graph.svg(graph.of_workflow(record.workflow, products=record.products))
    asked = record.workflow.archive.verify
    policies = {item.name: policy_of(comparable(item, None), asked) for item in record.outputs}
    summary = seal.summary(contents, policies)
    members = [
        *seal.payload(contents, drawn),
        seal.text_member(layout.SUMMARY, identity.bundle_json(summary)),
        seal.program_member(),
    ]
    about = describe(contents, seal.files(members, contents), identity=summary.identity)
    members += _texts(about, contents, drawn)
    about = replace(about, files=seal.files(members, contents))
    members.append(seal.text_member(layout.CRATE, crate.graph(about)))
    examine(members)
    members += seal.bag(members, summary.identity, record.version, contents.created, contents.references)
    sidecar = seal.write_sidecar(target, container.write(members, target, progress=progress))
    return Sealed(path=target, size=target.stat().st_size, identity=summary.identity, sidecar=sidecar)


def _texts(about: Description, contents: Contents, drawn: Markup) -> list[Member]:
    """Return what people read in a bundle: README, licence, citation and the preview with its pictures."""
    from fasthep_archive.bundle import layout, seal
    from fasthep_archive.data.products import stored_as
    from fasthep_archive.publish import citation, license, readme  # noqa: A004 - it renders LICENSE
    from fasthep_archive.report import plots, preview

    record = contents.record
    datasets = {dataset.name: dataset.eventtype for dataset in record.workflow.datasets}
    products = ((item.name, stored_as(item.name)) for item in contents.held)
    shown = [name for name, form in products if form and form.read]
    outputs = {name: (contents.directory / name).read_bytes() for name in shown}
    pictures = {layout.output(name): found for name, found in plots.pictures(outputs, datasets=datasets).items()}
    about = replace(about, files=(*about.files, *map(seal.unwritten, seal.TEXTS)))
    return [
        seal.text_member(layout.README, readme.render(about)),
        seal.text_member(layout.LICENSE, license.render(about)),
        seal.text_member(layout.CITATION, citation.render(about)),
        seal.text_member(layout.PREVIEW, preview.preview(about, plots=pictures, graph_svg=drawn)),
    ]


def comparable(
    item: RecordedOutput | BundledOutput, read: Callable[[], Bytes] | None, *, exact: bool | None = None
) -> Output:
    """Return an output of a record or of a bundle as what verification compares.

    :param exact: whether all that leads to it is inside the numeric profile; none where that is not known.
    """
    from fasthep_archive.verification.outputs import Output, kind_named

    return Output(
        name=item.name,
        kind=kind_named(item.kind),
        stage=item.stage,
        sha256=item.sha256,
        content=item.content,
        exact=exact,
        read=read,
    )
