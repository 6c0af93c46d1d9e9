"""The gate: nothing secret or private enters a bundle unless its author has said so.

Every text that enters is examined, whole: documents, code, what is written about the run, and text files among inputs
and outputs. Files that are not text, such as ROOT's, are not examined. This is done twice: before the run, so that a
fault is told at once, and before sealing::

    findings = gate.examine(gate.of_staged(staged), origin)           # before the run
    gate.refuse(findings, allowed)
    ...
    findings = gate.examine(gate.of_members(members, wheels=built), origin)    # before sealing
    gate.refuse(findings, allowed)
    notes = gate.unused(findings, allowed)
"""

from __future__ import annotations

import codecs
import io
import zipfile
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import BinaryIO

from fasthep_archive import digest
from fasthep_archive.bundle import layout, secrets, traces
from fasthep_archive.bundle.container import Member
from fasthep_archive.bundle.secrets import Hit, Page, Rule
from fasthep_archive.bundle.staging import Staged
from fasthep_archive.bundle.traces import Origin
from fasthep_archive.errors import Fault, Location, WorkflowError
from fasthep_archive.workflow.model import Workflow

__all__ = ["Finding", "Origin", "Text", "declared", "examine", "of_members", "of_staged", "opened", "refuse", "unused"]

SNIFFED = 8192
"""Bytes at the start of a file that tell whether it is text: then there is no zero byte among them, as in Git."""
BLOCK = 4 * 2**20
"""Bytes that are examined at a time; a block ends at the end of a line where there is one."""
MOST = 200
"""Findings that are shown."""

_WRITTEN_HERE = (layout.RESOLVED, layout.GRAPH, layout.ENVIRONMENT, layout.RECORD)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text that enters the bundle.

    :ivar file: what messages call it: the author's file, or the member.
    :ivar source: its content, or the file that has it.
    :ivar derived: whether this program wrote it; then what it has in common with others is told only of those.
    :ivar emails: addresses that this text may have, as it is there to publish them.
    """

    file: str
    source: str | bytes | Path
    derived: bool = False
    emails: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that should not enter a bundle unnoticed.

    :ivar rule: the rule's name. :ivar what: the same for people.
    :ivar shown: what was found; secrets without their middle.
    :ivar id: 12 hexadecimal digits, the same wherever the same thing is found.
    """

    rule: str
    what: str
    where: Location
    shown: str
    id: str
    derived: bool = False


def declared(workflow: Workflow) -> tuple[str, ...]:
    """Return the e-mail addresses that the document's metadata publish."""
    return tuple(author.email for author in workflow.archive.metadata.authors if author.email)


def of_staged(staged: Staged) -> tuple[Text, ...]:
    """Return the documents as their author wrote them, under the names of the author's files, and the resolved one."""
    documents = [Text(file=original.file, source=original.text) for original in staged.originals]
    return (*documents, Text(file=layout.RESOLVED, source=staged.resolved, derived=True))


def of_members(
    members: Iterable[Member], *, wheels: Mapping[str, Collection[str] | None] | None = None
) -> Iterator[Text]:
    """Yield those of ``members`` that are text, and the texts in wheels.

    The program that each bundle starts with is left out: it is the same in all.

    :param wheels: the members that are wheels made here, and the paths in them of what the author may have written;
        ``None`` for all that they have.
    """
    for member in members:
        if wheels and member.name in wheels:
            yield from _of_wheel(member, wheels[member.name])
        elif member.name != layout.PROGRAM and _is_text(member.source):
            derived = not member.name.startswith(layout.PAYLOAD) or member.name.startswith(_WRITTEN_HERE)
            yield Text(file=member.name, source=member.source, derived=derived)


def examine(texts: Iterable[Text], origin: Origin) -> tuple[Finding, ...]:
    """Return what is found in ``texts``, each thing once for each text, in the order of texts and lines."""
    rules = (*secrets.RULES, *traces.rules(origin))
    return tuple(finding for text in texts for finding in _examined(text, rules))


def opened(name: str, content: bytes) -> tuple[Finding, ...]:
    """Return the files that a script has opened and not declared, as the output ``name`` says with ``content``."""
    found = []
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        verb, _, path = line.partition(" ")
        if verb in _OPENED:
            id_ = digest.of_bytes(f"undeclared\n{verb} {path}".encode())[:12]
            where = Location(name, number, 1)
            shown = _printable(path)
            found.append(Finding(rule="undeclared", what=_OPENED[verb], where=where, shown=shown, id=id_))
    return tuple(found)


_OPENED = {
    "read": "a script has read a file that it does not declare",
    "wrote": "a script has written a file elsewhere",
}
_TAKE_OUT = "take it out: a bundle is for everybody to read. What may be published"
DECLARE = "nobody else has it: name it under inputs of the stage, or under code.files. What is the same everywhere"
"""What to do about files that scripts open."""


def refuse(findings: Iterable[Finding], allowed: Collection[str] = (), *, advice: str = _TAKE_OUT) -> None:
    """Refuse to go on if anything was found whose id is not ``allowed``.

    :param advice: what to do about it, before the words "is allowed by its id".
    :raises WorkflowError: with all of it.
    """
    left = [finding for finding in findings if finding.id not in allowed]
    written = {finding.id for finding in left if not finding.derived}
    told = [finding for finding in left if not finding.derived or finding.id not in written]
    if not told:
        return
    faults = [Fault(f"{found.what}: {found.shown} [{found.id}]", found.where) for found in told[:MOST]]
    if len(told) > MOST:
        faults.append(Fault(f"and {len(told) - MOST} more"))
    error = WorkflowError(faults)
    error.hint = (
        f"{advice} is allowed by the id in brackets, with "
        f'--allow {told[0].id}, or with archive: {{allow: ["{told[0].id}"]}} in the document'
    )
    raise error


def unused(findings: Iterable[Finding], allowed: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each id that is allowed and that nothing has, which may be misspelt or out of date."""
    found = {finding.id for finding in findings}
    return tuple(f"{id_} is allowed, and nothing that was found has this id" for id_ in allowed if id_ not in found)


def _of_wheel(member: Member, paths: Collection[str] | None) -> Iterator[Text]:
    source = io.BytesIO(member.source) if isinstance(member.source, bytes) else member.source
    with zipfile.ZipFile(source) as wheel:
        for name in sorted(wheel.namelist() if paths is None else {*wheel.namelist()}.intersection(paths)):
            content = wheel.read(name)
            if not name.endswith("/") and _is_text(content):
                metadata = name.endswith(".dist-info/METADATA")
                yield Text(file=f"{member.name}/{name}", source=content, emails=_published(content) if metadata else ())


def _published(metadata: bytes) -> tuple[str, ...]:
    """Return the addresses of a package's authors, which its metadata are there to publish."""
    headers = HeaderParser().parsestr(metadata.decode(errors="replace"))
    fields = [value for name in ("Author-email", "Maintainer-email") for value in headers.get_all(name, [])]
    return tuple(part.strip("<>, ") for field in fields for part in str(field).split() if "@" in part)


def _is_text(source: bytes | Path) -> bool:
    if isinstance(source, Path):
        with source.open("rb") as file:
            head = file.read(SNIFFED)
    else:
        head = source[:SNIFFED]
    return _marked(head) is not None or b"\0" not in head


def _marked(head: bytes) -> str | None:
    """Return the encoding that a byte order mark tells."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _examined(text: Text, rules: Sequence[Rule]) -> Iterator[Finding]:
    told = set()
    line, column = 1, 1
    for block in _blocks(text.source):
        index = 0
        for rule, hit in _found(Page.of(block), rules):
            line, column = _moved(block, index, hit.start, line, column)
            index = hit.start
            matched = block[hit.start : hit.end]
            id_ = digest.of_bytes(f"{rule.name}\0{matched}".encode(errors="replace"))[:12]
            if id_ not in told and matched not in text.emails:
                told.add(id_)
                where = Location(text.file, line, column)
                yield Finding(
                    rule=rule.name,
                    what=rule.what,
                    where=where,
                    shown=_printable(hit.shown),
                    id=id_,
                    derived=text.derived,
                )
        line, column = _moved(block, index, len(block), line, column)


def _moved(block: str, start: int, end: int, line: int, column: int) -> tuple[int, int]:
    """Return line and column of ``end``, from those of ``start``."""
    lines = block.count("\n", start, end)
    return line + lines, end - block.rfind("\n", start, end) if lines else column + end - start


def _found(page: Page, rules: Sequence[Rule]) -> list[tuple[Rule, Hit]]:
    """Return what ``rules`` find in the order of the text; of hits that overlap, that of the first rule."""
    kept: list[tuple[int, int, Rule, Hit]] = []
    for rule in rules:
        fresh = []
        for hit in rule.hits(page):
            position = bisect_left(kept, hit.end, key=lambda item: item[0])
            if position == 0 or kept[position - 1][1] <= hit.start:
                fresh.append((hit.start, hit.end, rule, hit))
        kept = sorted([*kept, *_apart(fresh)], key=lambda item: item[0])
    return [(rule, hit) for _, _, rule, hit in kept]


def _apart(hits: list[tuple[int, int, Rule, Hit]]) -> Iterator[tuple[int, int, Rule, Hit]]:
    """Yield the hits of one rule without those that begin inside of another."""
    last = 0
    for item in sorted(hits, key=lambda item: item[:2]):
        if item[0] >= last:
            last = item[1]
            yield item


def _blocks(source: str | bytes | Path) -> Iterator[str]:
    """Yield a text in pieces that end at line breaks, or at a comma or blank in very long lines."""
    if isinstance(source, str):
        yield source
        return
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield from _decoded(file)


def _decoded(file: BinaryIO) -> Iterator[str]:
    first = file.read(BLOCK)
    decoder = codecs.getincrementaldecoder(_marked(first) or "utf-8")(errors="replace")
    rest = decoder.decode(first)
    while piece := file.read(BLOCK):
        end = next((end for end in (rest.rfind(sign) + 1 for sign in "\n, ") if end), len(rest))
        yield rest[:end]
        rest = rest[end:] + decoder.decode(piece)
    yield rest + decoder.decode(b"", final=True)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
