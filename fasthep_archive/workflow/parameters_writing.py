"""Canonical parameters of writers (``write`` of a stage): layouts merged in, defaults filled in, paths checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest
from fasthep_archive.workflow import plugins
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What a kind of writer has beside path and columns.

    :ivar levels: the highest level of each compression, the default one first; 0: it has no levels.
    :ivar suffixes: of its files; others that mean nothing here are left to the author.
    :ivar treed: whether there is a tree, of some format. :ivar products: whether it writes products, not events.
    """

    levels: Mapping[str, int]
    suffixes: tuple[str, ...] = ()
    treed: bool = False
    products: bool = False

    @property
    def default(self) -> str:
        return next(iter(self.levels))


_KINDS: Mapping[str, _Kind] = {
    "arrow": _Kind(levels={"zstd": 22, "lz4": 0, "none": 0}, suffixes=(".arrow", ".feather")),
    "csv": _Kind(levels={}, suffixes=(".csv",)),
    "npz": _Kind(levels={"zlib": 9, "none": 0}, suffixes=(".npz",)),
    "parquet": _Kind(levels={"zstd": 22, "zlib": 9, "lz4": 0, "none": 0, "snappy": 0}, suffixes=(".parquet",)),
    "root_histograms": _Kind(levels={"zlib": 9, "lz4": 12, "none": 22, "zstd": 22}, suffixes=(".root",), products=True),
    "root_tree": _Kind(levels={"zlib": 9, "lz4": 12, "zstd": 22, "none": 22}, suffixes=(".root",), treed=True),
}
_PLUGGED = _Kind(levels={})
"""What the writers of plug-ins have: nothing but what they say themselves."""
_COMMON = frozenset({"kind", "keep", "path", "use", "when"})
"""Keys of writers that are no options of a plug-in."""
_TOKEN = re.compile(r"\{([^{}]*)\}")


def writer(entry: Params, at: DocumentPath, layouts: Mapping[str, Layout], draft: Draft) -> Write:
    """Return the writer at the path ``at``: ``path, keep?`` and, by kind, tree, format, compression and its level.

    :param entry: what conforms to the schema. :param layouts: that ``use`` can name; what the entry says itself goes
        before what its layout says.
    """
    kind = str(entry.get("kind") or "root_tree")
    known = _KINDS.get(kind, _PLUGGED)
    products = known.products
    when = LIFECYCLE[str(entry.get("when") or ("final" if products else "partition"))]
    path = str(entry.get("path") or "")
    _check_path(path, "final" if products else when, (*at, "path"), draft)
    _check_suffix(path, kind, (*at, "path"), draft)
    layout = _layout(entry.get("use"), layouts, (*at, "use"), draft)
    params: dict[str, JSON] = {"path": path}
    if known.treed:
        params["tree"] = entry.get("tree") or _tree(layout, (*at, "use"), draft)
        params["format"] = entry.get("format") or "rntuple"
    params |= _compression(known, entry, at, draft)
    if entry.get("keep") is not None:
        params["keep"] = sequence(entry["keep"])
    elif layout is not None:
        params["keep"] = list(layout.keep)
        draft.moved[(*at, "keep")] = (*layout.path, "keep")
    if kind not in _KINDS:
        options = {key: value for key, value in entry.items() if key not in _COMMON}
        plugins.checked("writers", kind, options, at, draft)
        params |= options
    return Write(kind=kind, params=params, when=when, path=at)


def root_histograms(entry: Params, at: DocumentPath, draft: Draft) -> Params:
    """Return the parameters of a stage that writes histograms: ``path, compression, compression_level``."""
    return writer({**entry, "kind": "root_histograms"}, at, {}, draft).params


def _compression(kind: _Kind, entry: Params, at: DocumentPath, draft: Draft) -> Params:
    """Return compression and level, where a kind has any."""
    if not kind.levels:
        return {}
    compression = str(entry.get("compression") or kind.default)
    highest, written = kind.levels[compression], entry.get("compression_level")
    level = 1 if written is None else int(cast("int", written))
    if written is not None and not highest:
        draft.fault((*at, "compression_level"), f"{compression} has no levels here", "leave compression_level out")
    elif highest and level > highest:
        message = f"levels of {compression} go up to {highest}, and this is {level}"
        draft.fault((*at, "compression_level"), message)
    return {"compression": compression, **({"compression_level": level} if highest else {})}


def _layout(name: JSON, layouts: Mapping[str, Layout], at: DocumentPath, draft: Draft) -> Layout | None:
    if name is None:
        return None
    found = layouts.get(str(name))
    if found is None and draft.raw("outputs", str(name)) is None:  # else it has a fault of its own
        known = f"known are {', '.join(layouts)}" if layouts else "write outputs: {NAME: {keep: [...]}}"
        draft.fault(at, f"there is no layout {name!r} among the outputs", nearest(str(name), layouts) or known)
    return found


def _tree(layout: Layout | None, at: DocumentPath, draft: Draft) -> str:
    """Return the tree that a layout says; report that it says none."""
    if layout is not None and layout.tree is None:
        message = f"the layout {layout.name!r} names no tree, and a ROOT file has one"
        draft.fault(at, message, "write tree: events, here or in the layout")
    return (layout.tree if layout else None) or "events"


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


def _check_suffix(path: str, kind: str, at: DocumentPath, draft: Draft) -> None:
    """Report the suffix of another kind of writer's files: whoever opens the file goes by it."""
    suffix = PurePosixPath(path).suffix
    others = [name for name, other in _KINDS.items() if suffix in other.suffixes]
    if others and kind in _KINDS and kind not in others:
        hint = f"leave it out, or write kind: {' or '.join(others)}"
        draft.fault(at, f"{suffix} is the suffix of other files than those of {kind}", hint)


def resolved_write(write: Write) -> JSON:
    """Return the writer as a document of the newest version writes it."""
    return {"kind": write.kind, "when": write.when, **write.params}
