"""Canonical parameters of writers (``write`` of a stage): layouts merged in, defaults filled in, paths checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow.datasets import declared_names
from fasthep_archive.workflow.draft import Draft, sequence
from fasthep_archive.workflow.hanging import LIFECYCLE, When, Write
from fasthep_archive.workflow.streams import Layout
from fasthep_archive.workflow.values import DocumentPath

Params = Mapping[str, JSON]

TOKENS: Mapping[When, tuple[str, ...]] = {
    "partition": ("dataset", "part", "partition_id", "node_id"),
    "dataset": ("dataset", "node_id"),
    "final": ("node_id",),
}
"""What paths can have in braces, by when files are written."""
_LEVELS = {"zlib": 9, "lz4": 12, "zstd": 22, "none": 22}
"""The highest level of each compression."""
_TOKEN = re.compile(r"\{([^{}]*)\}")


def root_tree(entry: Params, at: DocumentPath, layouts: Mapping[str, Layout], draft: Draft) -> Write:
    """Return the writer at the path ``at``, with ``path, tree, keep?, format, compression, compression_level``.

    :param entry: what conforms to the schema. :param layouts: that ``use`` can name; what the entry says itself goes
        before what its layout says.
    """
    when = LIFECYCLE[str(entry.get("when") or "partition")]
    path = str(entry.get("path") or "")
    _check_path(path, when, (*at, "path"), draft)
    layout = _layout(entry.get("use"), layouts, (*at, "use"), draft)
    compression, level = str(entry.get("compression") or "zlib"), int(cast("int", entry.get("compression_level", 1)))
    if level > _LEVELS[compression]:
        message = f"levels of {compression} go up to {_LEVELS[compression]}, and this is {level}"
        draft.fault((*at, "compression_level"), message)
    params: dict[str, JSON] = {
        "path": path,
        "tree": entry.get("tree") or (layout.tree if layout else "events"),
        "format": entry.get("format") or "rntuple",
        "compression": compression,
        "compression_level": level,
    }
    if entry.get("keep") is not None:
        params["keep"] = sequence(entry["keep"])
    elif layout is not None:
        params["keep"] = list(layout.keep)
        draft.moved[(*at, "keep")] = (*layout.path, "keep")
    return Write(kind="root_tree", params=params, when=when, path=at)


def _layout(name: JSON, layouts: Mapping[str, Layout], at: DocumentPath, draft: Draft) -> Layout | None:
    if name is None:
        return None
    found = layouts.get(str(name))
    if found is None:
        known = f"known are {', '.join(layouts)}" if layouts else "write outputs: {NAME: {tree: ..., keep: [...]}}"
        draft.fault(at, f"there is no layout {name!r} among the outputs", nearest(str(name), layouts) or known)
    return found


def _check_path(path: str, when: When, at: DocumentPath, draft: Draft) -> None:
    """Report paths that lead elsewhere, and tokens that stand for nothing."""
    if path.startswith("/") or "\\" in path or ".." in PurePosixPath(path).parts or not PurePosixPath(path).name:
        hint = "write a path below the outputs' directory files/, such as skim.root"
        draft.fault(at, f"{path!r} is no path of a file below the outputs", hint)
    tokens = _TOKEN.findall(path)
    for token in tokens:
        if token not in TOKENS[when]:
            known = ", ".join(f"{{{name}}}" for name in TOKENS[when])
            other = token in TOKENS["partition"]
            what = f"files that are written with when: {when} have no" if other else "there is no token"
            draft.fault(at, f"{what} {{{token}}}", f"known here: {known}")
    if re.search(r"[{}]", _TOKEN.sub("", path)):
        draft.fault(at, f"a brace in {path!r} stands alone", "tokens are written {dataset}")
    several = len(declared_names(draft)) > 1
    if several and when == "partition" and "part" in tokens and not {"dataset", "partition_id"} & set(tokens):
        draft.fault(at, "all datasets have a part 0_0", "write {dataset}_{part}, or {partition_id}")


def resolved_write(write: Write) -> JSON:
    """Return the writer as a document of the newest version writes it."""
    return {"kind": write.kind, "when": write.when, **write.params}
