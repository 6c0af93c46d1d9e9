"""What differs between two bundles or finished runs: all that makes an analysis the one that it is, and its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment.differences import Difference, Hashes, differences
from fasthep_archive.environment.snapshot import Snapshot
from fasthep_archive.verification.contrast import BUNDLES
from fasthep_archive.verification.documents import Change, compare_documents
from fasthep_archive.verification.outputs import Output
from fasthep_archive.verification.policy import judged
from fasthep_archive.verification.verdict import Level, Verdict
from fasthep_archive.workflow.model import Policy

FORMAT = 1
"""Version of the JSON form, :file:`schemas/diff-1.json`."""

LEVELS: Mapping[Level, str] = {
    Level.IDENTICAL: "identical",
    Level.CONTENT: "content",
    Level.TOLERANCE: "tolerance",
    Level.DIFFERENT: "different",
    Level.MISSING: "only in a",
    Level.UNEXPECTED: "only in b",
}
"""The ladder of verdicts in JSON, where neither side is the record of the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two: what a bundle says of itself, or what a run left.

    :ivar name: what the reader knows it by, such as its file's name.
    :ivar identity: none for a run, which has none.
    :ivar engine: what ran it, by name, most important first: tool, numeric profile, versions of language and schemas.
    :ivar document: the resolved workflow document. :ivar asked: which part of it was run; none: all.
    :ivar code: digests of the files of the analysis's code, by name. :ivar inputs: of the input files.
    :ivar outputs: with bytes where they are at hand; those that are not are compared by digest.
    :ivar policies: how strictly its outputs are compared; the defaults where none matches.
    :ivar environment: where it ran.
    :ivar functions: digests of what the modules of the code consist of, by name (``function fit in model.py``).
    :ivar hashes: of the artifacts of its locked packages.
    """

    name: str
    title: str
    identity: Digest | None
    engine: Mapping[str, str]
    document: JSON
    code: Mapping[str, Digest]
    inputs: Mapping[str, Digest]
    outputs: Sequence[Output]
    environment: Snapshot
    policies: Sequence[Policy] = ()
    hashes: Hashes = field(default_factory=dict)
    functions: Mapping[str, Digest] = field(default_factory=dict)
    asked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What a side is called."""

    name: str
    title: str
    identity: Digest | None

    def to_json(self) -> JSON:
        return {"name": self.name, "title": self.title, "identity": self.identity}


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """What differs, most important first.

    :ivar workflow: of the resolved documents, stages first.
    :ivar functions: what differs inside of modules that both have.
    :ivar outputs: a verdict for every output of both sides; *missing* are those of the first alone, *unexpected* those
        of the second. The policies are those of the first side.
    :ivar environment: ``recorded`` is the first side's, ``present`` the second's.
    """

    a: Label
    b: Label
    workflow: tuple[Change, ...]
    code: tuple[Change, ...]
    inputs: tuple[Change, ...]
    engine: tuple[Change, ...]
    outputs: tuple[Verdict, ...]
    environment: tuple[Difference, ...]
    functions: tuple[Change, ...] = ()

    @property
    def same(self) -> bool:
        """Return whether both are the same analysis: one identity, or nothing differs that would be part of one.

        Machine, variables and interpreter are no part of an identity, and neither are outputs that no policy judges.
        """
        if self.a.identity is not None and self.b.identity is not None:
            return self.a.identity == self.b.identity
        packages = any(item.kind == "package" for item in self.environment)
        return not (self.workflow or self.code or self.inputs or self.engine or self.changed_outputs or packages)

    @property
    def exit_status(self) -> int:
        """Return 0 if both are the same analysis, 1 if not."""
        return 0 if self.same else 1

    @property
    def changed_outputs(self) -> tuple[Verdict, ...]:
        """Return the verdicts on outputs that are judged and have not the same content."""
        return tuple(verdict for verdict in self.outputs if verdict.judged and verdict.level > Level.CONTENT)

    @property
    def sentence(self) -> str:
        """Return the whole in one line: ``not the same: 2 changes of the workflow, 1 of 10 outputs``."""
        if self.same:
            return "the same identity" if self.a.identity is not None and self.b.identity is not None else "the same"
        changed, total = len(self.changed_outputs), len(self.outputs)
        parts = (
            _counted(len(self.workflow), "change", "of the workflow"),
            _counted(len(self.code), "file", "of code"),
            _counted(len(self.inputs), "input"),
            _counted(len(self.engine), "fact", "about the engine"),
            f"{changed} of {_counted(total, 'output')}" if changed else "",
            _counted(len(self.environment), "difference", "of the environment"),
        )
        found = ", ".join(part for part in parts if part)
        return f"not the same: {found or 'the identities differ, and nothing that is compared here does'}"

    def to_json(self) -> JSON:
        """Return the form that :file:`schemas/diff-1.json` describes."""
        return {
            "format": FORMAT,
            "same": self.same,
            "sentence": self.sentence,
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "workflow": [change.to_json() for change in self.workflow],
            "code": [change.to_json() for change in (*self.code, *self.functions)],
            "inputs": [change.to_json() for change in self.inputs],
            "engine": [change.to_json() for change in self.engine],
            "outputs": [_output(verdict) for verdict in self.outputs],
            "environment": [_difference(item) for item in self.environment],
        }


def compare_bundles(a: Side, b: Side) -> Diff:
    """Return what differs between two bundles or runs.

    Bytes of outputs are read only where their digests differ on both sides.
    """
    return Diff(
        a=Label(name=a.name, title=a.title, identity=a.identity),
        b=Label(name=b.name, title=b.title, identity=b.identity),
        workflow=(*compare_documents(a.document, b.document), *_facts(_asked(a), _asked(b))),
        code=tuple(_files(a.code, b.code)),
        inputs=tuple(_files(a.inputs, b.inputs)),
        engine=tuple(_facts(a.engine, b.engine)),
        outputs=judged(a.outputs, b.outputs, a.policies, BUNDLES),
        environment=differences(a.environment, b.environment, hashes=(a.hashes, b.hashes)),
        functions=tuple(_inside(a, b)),
    )


def _asked(side: Side) -> Mapping[str, str]:
    return {"asked for": side.asked} if side.asked else {}


def _inside(a: Side, b: Side) -> Iterator[Change]:
    """Yield what differs inside of modules that both sides have; what merely moved to another line does not."""
    both = {name for name in a.code.keys() & b.code.keys() if a.code[name] != b.code[name]}
    then, now = (
        {name: digest for name, digest in side.functions.items() if name.rpartition(" in ")[2] in both}
        for side in (a, b)
    )
    yield from _facts(then, now)


def _counted(number: int, noun: str, of: str = "") -> str:
    """Return ``2 changes of the workflow``; nothing for none."""
    plural = "" if number == 1 else "s"
    return f"{number} {noun}{plural} {of}".rstrip() if number else ""


def _files(a: Mapping[str, Digest], b: Mapping[str, Digest]) -> Iterator[Change]:
    """Yield the files that differ by name; one that only changed its name is *renamed*, not removed and added."""
    lost, gained = ({name: one[name] for name in sorted(one.keys() - other.keys())} for one, other in ((a, b), (b, a)))
    for name, digest in lost.items():
        new = next((other for other, same in gained.items() if same == digest), None)
        if new is None:
            yield Change(what=name, kind="removed", a=digest)
        else:
            del gained[new]
            yield Change(what=name, kind="renamed", a=name, b=new)
    for name in sorted(a.keys() & b.keys()):
        if a[name] != b[name]:
            yield Change(what=name, kind="changed", a=a[name], b=b[name])
    for name, digest in gained.items():
        yield Change(what=name, kind="added", b=digest)


def _facts(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    for name in (*a, *(name for name in b if name not in a)):
        if name not in b:
            yield Change(what=name, kind="removed", a=a[name])
        elif name not in a:
            yield Change(what=name, kind="added", b=b[name])
        elif a[name] != b[name]:
            yield Change(what=name, kind="changed", a=a[name], b=b[name])


def _output(verdict: Verdict) -> JSON:
    return {
        "output": verdict.output,
        "level": LEVELS[verdict.level],
        "required": verdict.required.level,
        "because": verdict.because,
        "details": verdict.details.to_json(BUNDLES) if verdict.details else None,
    }


def _difference(item: Difference) -> JSON:
    return {
        "kind": item.kind,
        "name": item.name,
        "a": item.recorded,
        "b": item.present,
        "effect": item.effect,
        "needed_by": list(item.needed_by),
        "chain": list(item.chain),
    }
