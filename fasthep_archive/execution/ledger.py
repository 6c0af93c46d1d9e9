"""What the last run of a workflow was made of: small enough to keep, enough to say why a task is computed again.

A ledger lies beside the results: one for each document, and one for each name of a workflow, so that a document that
was copied is compared with what it came from. It has no key: a key is a digest and explains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from fasthep_archive.digest import JSON, Digest, canonical, of_bytes, of_json
from fasthep_archive.execution.keys import read_text
from fasthep_archive.execution.plan import Derived, Merge, Plan, Variant
from fasthep_archive.files import write_atomically
from fasthep_archive.workflow.model import Workflow, resolved

FORMAT = 2
_FOLDER = "ledgers"


@dataclass(frozen=True, kw_only=True, slots=True)
class PassFacts:
    """What one pass was made of: the file and what was read of it, the number of its kind, and the files beside it."""

    file: str
    sha256: Digest
    reads: str
    kind: int
    beside: Mapping[str, Digest] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """What one product was made of: a digest of how it is made, and the keys of parts or products, as one digest."""

    key: Digest
    how: Digest
    takes: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What a run was made of.

    :ivar version: of this tool and its code. :ivar document: resolved, in the newest version of the language.
    :ivar passes: by the name of the task. :ivar nodes: products, by node id.
    :ivar kinds: digests of what each node adds up, by node id, for each kind of partition.
    :ivar code: what code is made of, by what calls it (``stage fit``): digests of functions, modules and files.
    """

    version: str
    document: Mapping[str, JSON]
    passes: Mapping[str, PassFacts]
    kinds: tuple[Mapping[str, Digest], ...]
    nodes: Mapping[str, NodeFacts]
    code: Mapping[str, Mapping[str, Digest]] = field(default_factory=dict)


def ledger_of(plan: Plan, workflow: Workflow, version: str) -> Ledger:
    """Return what a run of ``plan`` is made of."""
    variants: dict[int, int] = {}
    kinds: list[Mapping[str, Digest]] = []
    passes = {}
    for step in plan.passes:
        if id(step.variant) not in variants:
            variants[id(step.variant)] = len(kinds)
            kinds.append(_adds(step.variant, plan))
        file = step.partition.file
        passes[step.name] = PassFacts(
            file=file.name,
            sha256=file.sha256,
            reads=canonical([read_text(read) for read in step.partition.reads]),
            kind=variants[id(step.variant)],
            beside={other.name: other.sha256 for other in step.partition.beside},
        )
    return Ledger(
        version=version,
        document=cast("Mapping[str, JSON]", resolved(workflow)),
        passes=passes,
        kinds=tuple(kinds),
        nodes={node.node.id: _facts(node, plan) for node in plan.nodes},
        code={label: code.parts for label, code in workflow.codes.items()},
    )


def read_ledger(root: Path, workflow: Workflow) -> Ledger | None:
    """Return the ledger of the last run of ``workflow``, or of another document of its name; none if there is neither.

    :param root: directory of the store.
    """
    return next(filter(None, map(_read, _paths(root, workflow))), None)


def _read(path: Path) -> Ledger | None:
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            return None
        return Ledger(
            version=content["version"],
            document=content["document"],
            passes={name: PassFacts(**facts) for name, facts in content["passes"].items()},
            kinds=tuple(content["kinds"]),
            nodes={name: NodeFacts(**facts) for name, facts in content["nodes"].items()},
            code=content.get("code", {}),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def write_ledger(root: Path, workflow: Workflow, ledger: Ledger) -> None:
    """Keep ``ledger`` for the next run of ``workflow``."""
    content: JSON = {
        "format": FORMAT,
        "version": ledger.version,
        "document": ledger.document,
        "passes": {name: asdict(facts) for name, facts in ledger.passes.items()},
        "kinds": list(ledger.kinds),
        "nodes": {name: asdict(facts) for name, facts in ledger.nodes.items()},
        "code": ledger.code,
    }
    for path in _paths(root, workflow):
        write_atomically(path, canonical(content).encode())


def _paths(root: Path, workflow: Workflow) -> Iterator[Path]:
    files = workflow.document.files
    for place in (*(str(file.resolve()) for file in files[:1]), f"name: {workflow.name}"):
        yield root / _FOLDER / f"{of_bytes(place.encode())[:32]}.json"


def _adds(variant: Variant, plan: Plan) -> Mapping[str, Digest]:
    """Return a digest of what each node of the plan adds up, with the values that it takes."""
    wanted = {node.node for node in plan.nodes}  # a kind of partition has the fills of all stages, asked for or not
    return {
        fill.node.id: of_json({"text": fill.adds, "values": [plan.node(node).key for node in fill.values]})
        for fill in variant.fills
        if fill.node in wanted
    }


def _facts(node: Merge | Derived, plan: Plan) -> NodeFacts:
    if isinstance(node, Merge):
        return NodeFacts(
            key=node.key,
            how=of_json(node.product.canonical()),
            takes=of_json([[part.dataset, part.key] for part in node.parts]),
        )
    takes: JSON = [[name, plan.node(other).key] for name, other in node.inputs.items()]
    return NodeFacts(key=node.key, how=of_json(node.derivation.canonical()), takes=of_json(takes))
