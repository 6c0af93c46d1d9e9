"""The plug-ins that a bundle's workflow needs: which names of the language they provide, and which packages they are.

What the document names and is not this package's is looked up in the wheels that the bundle carries: those of
plug-ins are always among them. Nothing is imported, and nothing has to be installed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError

from fasthep_archive import registry
from fasthep_archive.bundle import layout
from fasthep_archive.bundle.reader import Bundle
from fasthep_archive.digest import JSON
from fasthep_archive.files import Bytes, opened
from fasthep_archive.report.terminal import Table

_LARGEST = 1 << 20
"""Bytes of a list of entry points that are read, at most."""


def needed(bundle: Bundle) -> Table:
    """Return a table of the plug-ins that the workflow of a bundle names; one without rows if it names none."""
    names = set(named(bundle.json(layout.RESOLVED)))
    asked = sorted((kind, name) for kind, name in names if not registry.is_ours(kind, name))
    wheels = bundle.names(layout.WHEELS) if asked else ()
    found: dict[tuple[str, str], str] = {}
    for wheel in wheels:
        package = " ".join(wheel.rpartition("/")[2].split("-")[:2])
        if wheel.endswith(".whl") and not package.startswith("fasthep_archive "):
            found |= dict.fromkeys(provided(bundle.stretch(wheel)), package)
    rows = tuple((_KINDS[kind], name, found.get((kind, name), "")) for kind, name in asked)
    return Table(title="Plug-ins that are needed", columns=("kind", "name", "package"), rows=rows)


_KINDS = {
    "accessors": "accessor",
    "observers": "observer",
    "operations": "operation",
    "sources": "source",
    "writers": "sink",
}


def named(document: JSON) -> Iterator[tuple[str, str]]:
    """Yield the names that a resolved document has plug-ins provide, or this package: kind and name."""
    top = _mapping(document)
    for source in _mapping(top.get("sources")).values():
        yield from _told("sources", [source], "kind")
        yield from _told("observers", _list(_mapping(source).get("inspect")), "kind")
    yield from _told("accessors", list(_mapping(top.get("fields")).values()), "accessor")
    for holder in (top.get("analysis"), *_mapping(top.get("workflows")).values()):
        stages = _list(_mapping(holder).get("stages"))
        yield from _told("operations", stages, "op")
        for stage in map(_mapping, stages):
            yield from _told("writers", _list(stage.get("write")), "kind")
            yield from _told("observers", _list(stage.get("inspect")), "kind")


def provided(wheel: Bytes) -> Iterator[tuple[str, str]]:
    """Yield what the plug-ins of a wheel provide: kind and name; nothing of a file that is no wheel."""
    try:
        with zipfile.ZipFile(opened(wheel)) as archive:
            listed = [item for item in archive.infolist() if item.filename.endswith(".dist-info/entry_points.txt")]
            texts = [archive.read(item).decode() for item in listed if item.file_size <= _LARGEST]
        points = _Points(delimiters=("=",), interpolation=None)
        points.read_string("".join(texts))
    except (zipfile.BadZipFile, ConfigError, ValueError):
        return
    for kind, group in registry.GROUPS.items():
        if points.has_section(group):
            yield from ((kind, name.strip('"')) for name in points.options(group))


class _Points(ConfigParser):
    """Entry points, whose names differ by case, too."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _told(kind: str, entries: Sequence[JSON], key: str) -> Iterator[tuple[str, str]]:
    found = (_mapping(entry).get(key) for entry in entries)
    yield from ((kind, name) for name in found if isinstance(name, str))


def _mapping(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, Mapping) else {}


def _list(value: JSON) -> Sequence[JSON]:
    return value if isinstance(value, list) else ()
