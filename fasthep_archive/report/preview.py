"""``ro-crate-preview.html``: one page that shows a bundle in any browser, on any screen and on paper.

Self-contained: no script, no font, no picture from elsewhere, and a Content-Security-Policy that forbids all of these.
Everything that a person wrote passes through :func:`fasthep_archive.report.markup.escaped`; only addresses that start
with ``http://`` or ``https://`` and members of the bundle become links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from string import Template
from typing import TypeVar

from fasthep_archive.bundle import identifiers
from fasthep_archive.bundle.description import Description, Fact, Input, Output, Step
from fasthep_archive.bundle.licences import licence
from fasthep_archive.bundle.names import in_reading_order
from fasthep_archive.report.markup import NOTHING, Markup, element, escaped, joined
from fasthep_archive.report.terminal import count, duration, size
from fasthep_archive.workflow.model import Author, Related
from fasthep_archive.workflow.resource import resource

_ROWS = 1000
"""Rows that a table shows; the graph has the rest."""
_PICTURES = 120
"""Pictures that the page shows."""
_WIDE = re.compile(r'<svg [^>]*?\bwidth="([0-9.]+)"')
"""Pictures wider than a column get the whole page; our own writer puts the width first."""

_FACTS: Mapping[str, str] = {
    "cpuModel": "Processor",
    "microarchitecture": "Microarchitecture",
    "physicalCores": "Cores",
    "logicalCores": "Threads",
    "memoryTotal": "Memory",
    "gpuModel": "GPU",
}
"""Facts about the machine as people call them; others have their words put apart."""

Row = TypeVar("Row")


def preview(description: Description, *, plots: Mapping[str, Markup], graph_svg: Markup) -> bytes:
    """Return the page: UTF-8, the same bytes for the same arguments.

    :param plots: pictures of outputs as SVG, by the bundle path of the output, in the order to show.
    :param graph_svg: the workflow's graph as SVG.
    """
    template = Template(resource("templates", "ro-crate-preview.html").read_text(encoding="utf-8"))
    pictures = _pictures(description, plots)
    parts: Mapping[str, Markup] = {
        "generator": escaped(f"{description.engine.name} {description.engine.version}"),
        "title": escaped(description.title),
        "authors": _authors(description.authors),
        "description": _paragraphs(description.description),
        "workflow": escaped(" ".join(filter(None, (description.workflow_name, description.workflow_version)))),
        "created": escaped(_time(description.created)),
        "licence": _licence(description),
        "keywords": _keywords(description.keywords),
        "related": _related(description.related),
        "contents": _contents(pictures=bool(pictures), files=bool(description.files)),
        "checksums": _checksums(description),
        "referenced": _referenced(description),
        "requirement": escaped(f"{description.engine.name} {description.engine.version}"),
        "python": escaped(".".join(description.python.split(".")[:2])),
        "identity": escaped(description.identity),
        "pictures": pictures,
        "outputs": _outputs(description.outputs),
        "graph": element("div", graph_svg, class_="paper graph"),
        "stages": joined(*map(_stage, description.steps)) or escaped("None."),
        "documents": joined(_documents(description), _departures(description)),
        "inputs": _inputs(description.inputs),
        "environment": _environment(description),
        "packages": _packages(description),
        "files": _files(description),
        "footer": _footer(description),
    }
    return template.substitute(parts).encode()


def link(text: str, address: str | None) -> Markup:
    """Return a link to a web page, or the text alone where ``address`` is none or anything but http or https."""
    if address is None or not re.match(r"https?://[^/\s]", address, re.IGNORECASE):
        return escaped(text)
    return element("a", escaped(text), href=address, rel="noopener noreferrer")


def _member(path: str, text: str | None = None) -> Markup:
    """Return a link to a member of the bundle: percent-encoded, so that no name becomes an address of another kind."""
    return element("a", escaped(text or path), href=f"./{identifiers.member(path)}")


def _authors(authors: Sequence[Author]) -> Markup:
    if not authors:
        return element("span", escaped("No author is named."))
    people = []
    for author in authors:
        name = link(in_reading_order(author.name), author.orcid)
        place = joined(escaped(", "), link(author.affiliation, author.ror)) if author.affiliation else NOTHING
        people.append(joined(name, element("span", place)) if place else name)
    return Markup("; ".join(people))


def _paragraphs(text: str) -> Markup:
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return joined(*(element("p", escaped(part)) for part in parts if part))


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _licence(description: Description) -> Markup:
    known = licence(description.license)
    return joined(link(known.name, known.url), escaped(f" ({known.spdx})" if known.spdx != known.name else ""))


def _keywords(keywords: Sequence[str]) -> Markup:
    tags = [element("span", escaped(keyword), class_="tag") for keyword in keywords]
    return element("p", *tags, style="margin-top:14px") if tags else NOTHING


def _related(works: Sequence[Related]) -> Markup:
    if not works:
        return NOTHING
    items = [
        element("li", element("b", escaped(_words(work.relation).capitalize())), _work(work.identifier))
        for work in works
    ]
    return element("ul", *items, class_="facts")


def _work(identifier: str) -> Markup:
    return link(identifier, identifiers.work(identifier))


def _contents(*, pictures: bool, files: bool) -> Markup:
    sections = {
        "replay": "Verify and replay",
        **({"results": "Results"} if pictures else {}),
        "outputs": "Outputs",
        "workflow": "Workflow",
        "inputs": "Inputs",
        "environment": "Environment",
        **({"files": "Files"} if files else {}),
    }
    return joined(*(element("a", escaped(name), href=f"#{anchor}") for anchor, name in sections.items()))


def _checksums(description: Description) -> Markup:
    missing = "" if all(file.embedded for file in description.inputs) else "--ignore-missing "
    return escaped(
        "unzip BUNDLE.crate.zip -d bundle && cd bundle\n"
        f"sha256sum {missing}-c manifest-sha256.txt\n"
        "sha256sum -c tagmanifest-sha256.txt"
    )


def _referenced(description: Description) -> Markup:
    missing = sum(not file.embedded for file in description.inputs)
    sentence = f"The bundle references {count(missing)} of its inputs by digest and does not hold them."
    return element("p", escaped(sentence), class_="note") if missing else NOTHING


def _pictures(description: Description, plots: Mapping[str, Markup]) -> Markup:
    """Return the section of pictures; nothing without any."""
    outputs = {output.path: output for output in description.outputs}
    figures = [_figure(outputs[path], svg) for path, svg in list(plots.items())[:_PICTURES] if path in outputs]
    if not figures:
        return NOTHING
    heading = element("h2", escaped("Results"), id="results")
    rest = len(plots) - _PICTURES
    note = (
        element("p", escaped(f"and {count(rest)} more, without pictures here."), class_="note") if rest > 0 else NOTHING
    )
    return joined(heading, element("div", *figures, class_="pictures"), note)


def _figure(output: Output, svg: Markup) -> Markup:
    width = _WIDE.match(svg)
    shape = "wide" if width and float(width[1]) > 600 else None
    digest = element("div", element("b", escaped("sha256")), escaped(output.sha256), class_="digest")
    caption = element("figcaption", _member(output.path), digest)
    return element("figure", element("h3", escaped(output.stage)), svg, caption, class_=shape)


def _outputs(outputs: Sequence[Output]) -> Markup:
    return _table(("File, stage", "Bytes:", "Digests"), outputs, _output_cells)


def _output_cells(output: Output) -> Iterator[Markup]:
    maker = element("div", escaped(f"{output.kind} of {output.stage}"), class_="note")
    name = _member(output.path) if output.embedded else escaped(output.path)
    yield element("td", name, maker, class_="name")
    yield _number(count(output.size))
    yield _digests({"sha256": output.sha256, "content": output.content_digest})


def _inputs(inputs: Sequence[Input]) -> Markup:
    return _table(("File, datasets", "Events:", "Size:", "Digest"), inputs, _input_cells)


def _input_cells(file: Input) -> Iterator[Markup]:
    name = _member(file.path, file.name) if file.embedded else escaped(file.name)
    places = [joined(element("br"), link(url, url)) for url in file.urls]
    datasets = element("div", escaped(", ".join(file.datasets)), class_="note") if file.datasets else NOTHING
    yield element("td", name, *places, datasets, class_="name")
    yield _number("" if file.events is None else count(file.events))
    yield _number(size(file.size))
    yield _digests({"sha256": file.sha256})


def _stage(step: Step) -> Markup:
    """Return a stage that opens when it is clicked: what it needs, what it is told, what it leaves."""
    facts = {"after": ", ".join(step.needs), "status": "" if step.status == "completed" else step.status}
    lines = [f"{name}: {value}" for name, value in facts.items() if value]
    lines += [f"{name}: {value}" for name, value in step.parameters.items()]
    summary = element("summary", element("b", escaped(step.id)), element("code", escaped(step.op)))
    about = element("p", escaped(step.description), class_="note") if step.description else NOTHING
    leaves = [joined(escaped(" "), _member(path)) for path in step.outputs]
    outputs = element("p", escaped("leaves"), *leaves, class_="note") if leaves else NOTHING
    return element("details", summary, about, element("pre", escaped("\n".join(lines)), class_="wrap"), outputs)


def _documents(description: Description) -> Markup:
    paths = (description.main_document, *description.documents)
    links = [joined(escaped(", " if position else ""), _member(path)) for position, path in enumerate(paths)]
    return joined(escaped(f"Written in FAST-HEP's workflow language, version {description.language_version}: "), *links)


def _departures(description: Description) -> Markup:
    """Return where FAST-HEP would have given something else, to be opened with a click."""
    if not description.departures:
        return NOTHING
    number = len(description.departures)
    title = f"Differs from FAST-HEP 2026.10 in {count(number)} place{'' if number == 1 else 's'}"
    items = [element("li", escaped(text)) for text in description.departures]
    return element("details", element("summary", escaped(title)), element("ul", *items))


def _environment(description: Description) -> Markup:
    facts = [("Engine", f"{description.engine.name} {description.engine.version}"), ("Python", description.python)]
    facts += [(_FACTS.get(fact.name) or _words(fact.name), _fact(fact)) for fact in description.machine]
    facts += [("Run", f"{_time(description.started)} to {_time(description.ended)}")]
    usage = description.usage
    if usage and usage.wall_seconds is not None:
        facts.append(("Time", duration(usage.wall_seconds)))
    if usage and usage.cpu_seconds is not None:
        facts.append(("CPU time", duration(usage.cpu_seconds)))
    if usage and usage.peak_memory is not None:
        facts.append(("Peak memory", size(usage.peak_memory)))
    items = [element("li", element("b", escaped(name)), escaped(value)) for name, value in facts]
    variables = [f"{name}={description.variables[name]}" for name in sorted(description.variables)]
    shown = element("pre", escaped("\n".join(variables)), class_="wrap") if variables else NOTHING
    return joined(element("ul", *items, class_="facts", style="margin:0 0 12px"), shown)


def _fact(fact: Fact) -> str:
    if fact.unit == "BYTE" and fact.value.isdecimal():
        return size(int(fact.value))
    return f"{fact.value} {fact.unit.lower()}" if fact.unit else fact.value


def _packages(description: Description) -> Markup:
    items = [
        element("li", escaped(f"{package.name} "), element("span", escaped(package.version)))
        for package in sorted(description.packages, key=lambda package: (package.name.lower(), package.version))
    ]
    return joined(*items) or element("li", escaped("The installed packages were not recorded."))


def _files(description: Description) -> Markup:
    if not description.files:
        return NOTHING
    rows = [
        element("tr", element("td", _member(file.path), class_="name"), element("td", escaped(file.description)))
        for file in description.files
    ]
    heading = element("h2", escaped("Files"), id="files")
    return joined(heading, element("div", element("table", element("tbody", *rows)), class_="scroll"))


def _footer(description: Description) -> Markup:
    engine = link(f"{description.engine.name} {description.engine.version}", description.engine.url)
    warning = (
        ". This page describes the bundle and proves nothing: whoever can change the bundle can change the page."
        " Verify the bundle, and compare its identity with one that you have from elsewhere. Programs read "
    )
    return joined(escaped("Made by "), engine, escaped(warning), _member("ro-crate-metadata.json"), escaped("."))


def _table(header: Sequence[str], rows: Sequence[Row], cells: Callable[[Row], Iterable[Markup]]) -> Markup:
    """Return a table; a column whose name ends in a colon is set to the right."""
    if not rows:
        return element("p", escaped("None."), class_="note")
    names = [
        element("th", escaped(name.rstrip(":")), class_="number" if name.endswith(":") else None) for name in header
    ]
    body = [element("tr", *cells(row)) for row in rows[:_ROWS]]
    table = element("table", element("thead", element("tr", *names)), element("tbody", *body))
    rest = len(rows) - _ROWS
    note = f"and {count(rest)} more, listed in ro-crate-metadata.json."
    more = element("p", escaped(note), class_="note") if rest > 0 else NOTHING
    return joined(element("div", table, class_="scroll"), more)


def _number(text: str) -> Markup:
    return element("td", escaped(text) or escaped(" "), class_="number")


def _digests(digests: Mapping[str, str | None]) -> Markup:
    """Return a cell of digests; a lone one needs no name."""
    known = [(name, digest) for name, digest in digests.items() if digest]
    label = len(known) > 1
    lines = [
        element("div", element("b", escaped(name)) if label else NOTHING, escaped(digest), class_="digest")
        for name, digest in known
    ]
    return element("td", *lines)


def _words(name: str) -> str:
    """Return a term in camel case as words.

    >>> _words("isSupplementTo")
    'is supplement to'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
