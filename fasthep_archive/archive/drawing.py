"""``graph``: a workflow as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from fasthep_archive.archive.checking import checked, document
from fasthep_archive.archive.surroundings import AnyPath, chosen_store, surroundings
from fasthep_archive.context import NoProgress
from fasthep_archive.errors import UsageError, writing

Picture: TypeAlias = Literal["svg", "mmd", "dot"]

FORMS: tuple[Picture, ...] = ("svg", "mmd", "dot")
"""Forms of pictures, by the suffix of their file: SVG, Mermaid, DOT of Graphviz."""


def graph(
    workflow: AnyPath,
    output: AnyPath | None = None,
    *,
    form: Picture | None = None,
    language: str | None = None,
    cache: AnyPath | None = None,
) -> str:
    """Return the graph of a workflow: its sources, stages, branches and products, and which of these are there already.

    :param output: a file to write it to as well, whose suffix says in which form.
    :param form: of the picture; by default that of the file, or Mermaid.
    :raises UsageError: for a file whose suffix is none of :data:`FORMS`.
    """
    from fasthep_archive.report import graph as report
    from fasthep_archive.workflow.addresses import is_remote

    target = None if output is None else Path(output)
    chosen = form or _form(target)
    context = surroundings(cache, None, NoProgress())
    read = document(workflow, language)
    found = checked(read, context, "none", None, fetching=False)
    if not any(is_remote(name) for _, name in found.workflow.named_files()):
        found = checked(read, context, "remembered", None, fetching=False)  # keys, to look for in the store
    products: dict[str, tuple[str, ...]] = {}
    for node in found.plan.nodes:
        products[node.stage] = (*products.get(node.stage, ()), *node.outputs)
    with chosen_store(context, reuse=True) as store:
        cached = {node.stage for node in found.plan.nodes if node.key in store}
        cached -= {node.stage for node in found.plan.nodes if node.key not in store}
    drawn = report.of_workflow(found.workflow, products=products, cached=cached)
    text = {"svg": report.svg, "mmd": report.mermaid, "dot": report.dot}[chosen](drawn)
    if target is not None:
        with writing(target):
            target.write_text(str(text), encoding="utf-8")
    return str(text)


def _form(target: Path | None) -> Picture:
    """Return the form that a file's suffix asks for."""
    if target is None:
        return "mmd"
    for form in FORMS:
        if target.suffix == f".{form}":
            return form
    raise UsageError(
        f"{target}: no picture has this suffix", hint="name a file .svg, .mmd (Mermaid) or .dot (Graphviz)"
    )
