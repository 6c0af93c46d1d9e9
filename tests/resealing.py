"""Changes a bundle and seals it anew, so that all its digests agree: nobody but a replay can tell."""

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fasthep_archive.bundle import container, layout, manifest, seal
from fasthep_archive.bundle.claims import workflow_digest
from fasthep_archive.bundle.identity import Input, Output, Summary, bundle_json, read_bundle_json
from fasthep_archive.context import NoProgress
from fasthep_archive.data import content
from fasthep_archive.digest import Digest, of_bytes

_TELLING = (layout.RUN, layout.README, layout.LICENSE, layout.CITATION, layout.PREVIEW)
"""What quotes digests of the payload, or the identity."""
_BAG = (layout.DECLARATION, layout.BAG_INFO, layout.MANIFEST, layout.TAG_MANIFEST)


def resealed(
    bundle: Path,
    target: Path,
    *,
    files: Mapping[str, bytes] | None = None,
    contents: Mapping[str, Digest] | None = None,
) -> Path:
    """Write ``bundle`` to ``target`` with other ``files`` (by member) or recorded ``contents`` (by output)."""
    changed = dict(files or {})
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    before = read_bundle_json(members[layout.SUMMARY])
    swaps = {of_bytes(members[name]): of_bytes(raw) for name, raw in changed.items()}
    members |= changed
    after = _summary(before, changed, contents or {}, members[layout.RESOLVED])
    swaps |= {one.content: other.content for one, other in zip(before.outputs, after.outputs, strict=True)}
    swaps |= {before.identity: after.identity, _urn(before): _urn(after)}
    rewritten = {name: _swapped(members[name], swaps) for name in _TELLING} | {layout.SUMMARY: bundle_json(after)}
    swaps |= {of_bytes(members[name]): of_bytes(raw) for name, raw in rewritten.items()}
    members |= rewritten
    members[layout.CRATE] = _crate(_swapped(members[layout.CRATE], swaps), members)
    kept = [seal.text_member(name, raw) for name, raw in members.items() if name not in _BAG]
    bag = seal.bag(kept, after.identity, after.version, after.created, {})
    container.write([*kept, *bag], target, progress=NoProgress())
    return target


def _summary(before: Summary, changed: Mapping[str, bytes], contents: Mapping[str, Digest], resolved: bytes) -> Summary:
    """Return what ``bundle.json`` says of the changed bundle."""
    inputs = tuple(_input(item, changed.get(layout.INPUTS + item.name)) for item in before.inputs)
    outputs = tuple(_output(item, changed.get(layout.output(item.name)), contents) for item in before.outputs)
    parts = replace(
        before.parts,
        workflow=Digest(workflow_digest(json.loads(resolved))),
        inputs={item.name: item.sha256 for item in inputs},
        outputs={item.name: item.content for item in outputs if item.policy.level != "ignore"},
        code={name: _of(changed.get(layout.CODE + name), digest) for name, digest in before.parts.code.items()},
    )
    return replace(before, inputs=inputs, outputs=outputs, parts=parts)


def _of(raw: bytes | None, before: Digest) -> Digest:
    return before if raw is None else of_bytes(raw)


def _input(item: Input, raw: bytes | None) -> Input:
    return item if raw is None else replace(item, size=len(raw), sha256=of_bytes(raw))


def _output(item: Output, raw: bytes | None, contents: Mapping[str, Digest]) -> Output:
    if raw is not None:
        item = replace(item, size=len(raw), sha256=of_bytes(raw), content=content.of_output(raw, item.name))
    return replace(item, content=contents.get(item.name, item.content))


def _urn(summary: Summary) -> str:
    return manifest.identifier(summary.identity)


def _swapped(raw: bytes, swaps: Mapping[str, str]) -> bytes:
    """Return ``raw`` with each digest in the place of the one that it takes."""
    known = {one.encode(): other.encode() for one, other in swaps.items() if one != other}
    return re.sub(b"|".join(known), lambda found: known[found[0]], raw) if known else raw


def _crate(raw: bytes, members: Mapping[str, bytes]) -> bytes:
    """Return the crate's metadata with the sizes of its files as they are."""
    crate = json.loads(raw)
    for entity in crate["@graph"]:
        if "contentSize" in entity and entity["@id"] in members:
            entity["contentSize"] = str(len(members[entity["@id"]]))
    return (json.dumps(crate, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
