"""What differs between two resolved workflow documents: which stage, which parameter.

The comparison is structural. What has an ``id`` or a ``name`` (stages, datasets, variables, axes) is paired by it, so
that nothing moves because something was inserted before it; other lists are aligned as texts are. Numbers are told
apart by type, as in the digest of a document: ``1`` is not ``1.0``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

from fasthep_archive.digest import JSON, canonical

Kind: TypeAlias = Literal["added", "removed", "changed", "renamed"]

_NAMES = ("id", "name", "file")
"""Keys by which the items of a list are known."""
_STAGES = "stages"
_STAGE = "stage "


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that is not on both sides as it is on one.

    :ivar what: what it is: ``stage Mass, params.axes[mass].bins.nbins``, the name of a file.
    :ivar a: what the first side has; null for what was added. :ivar b: what the second has; null for what was removed.
        Both names for what was renamed.
    """

    what: str
    kind: Kind
    a: JSON = None
    b: JSON = None

    def to_json(self) -> JSON:
        return {"what": self.what, "kind": self.kind, "a": self.a, "b": self.b}


def compare_documents(a: JSON, b: JSON) -> tuple[Change, ...]:
    """Return what differs between two resolved documents: the stages first, in their order, then the rest."""
    stages = [_at(document, "analysis", "stages") for document in (a, b)]
    rest = [_without_stages(document) for document in (a, b)]
    return (*_lists(_STAGES, _list(stages[0]), _list(stages[1])), *_values("", *rest))


def _at(value: JSON, *keys: str) -> JSON:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _list(value: JSON) -> Sequence[JSON]:
    return value if isinstance(value, list | tuple) else []


def _without_stages(document: JSON) -> JSON:
    analysis = _at(document, "analysis")
    if not isinstance(document, Mapping) or not isinstance(analysis, Mapping):
        return document
    return {**document, "analysis": {key: value for key, value in analysis.items() if key != "stages"}}


def _values(path: str, a: JSON, b: JSON) -> Iterator[Change]:
    """Yield what differs below ``path``."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from _entry(_step(path, key), key, a, b)
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple):
        yield from _lists(path, a, b)
    elif canonical(a) != canonical(b):
        yield Change(what=path or "the document", kind="changed", a=a, b=b)


def _entry(path: str, key: str, a: Mapping[str, JSON], b: Mapping[str, JSON]) -> Iterator[Change]:
    """Yield what differs in the entry ``key`` of two mappings, which is called ``path``."""
    if key in a and key in b:
        yield from _values(path, a[key], b[key])
    else:
        yield Change(what=path, kind="removed" if key in a else "added", a=a.get(key), b=b.get(key))


def _step(path: str, key: str) -> str:
    """Return the place of ``key``; a stage is named in words, and the way inside it begins behind them."""
    separator = "" if not path else ", " if path.startswith(_STAGE) and ", " not in path else "."
    return f"{path}{separator}{key}"


def _lists(path: str, a: Sequence[JSON], b: Sequence[JSON]) -> Iterator[Change]:
    names, others = _names(a), _names(b)
    if names is None or others is None:
        yield from _aligned(path, a, b)
        return
    before, now = dict(zip(names, a, strict=True)), dict(zip(others, b, strict=True))
    for name in (*before, *(name for name in now if name not in before)):
        yield from _entry(f"{_STAGE}{name}" if path == _STAGES else f"{path}[{name}]", name, before, now)
    kept, moved = ([name for name in known if name in before and name in now] for known in (before, now))
    if kept != moved:
        yield Change(what=f"the order of {path}", kind="changed", a=kept, b=moved)


def _names(items: Sequence[JSON]) -> list[str] | None:
    """Return the names of the items; none where not all have one, or two share one."""
    for key in _NAMES:
        found = [item.get(key) for item in items if isinstance(item, Mapping)]
        names = [name for name in found if isinstance(name, str)]
        if len(names) == len(items) == len(set(names)):
            return names
    return None


def _aligned(path: str, a: Sequence[JSON], b: Sequence[JSON]) -> Iterator[Change]:
    """Compare lists whose items have no names: what is equal on both sides stays paired."""
    before, now = ([canonical(item) for item in items] for items in (a, b))
    for tag, start, stop, begin, end in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        paired = min(stop - start, end - begin)
        for offset in range(paired):
            yield from _values(f"{path}[{start + offset}]", a[start + offset], b[begin + offset])
        for index in range(start + paired, stop):
            yield Change(what=f"{path}[{index}]", kind="removed", a=a[index])
        for index in range(begin + paired, end):
            yield Change(what=f"{path}[{index}]", kind="added", b=b[index])
