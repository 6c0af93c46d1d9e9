"""Names of the workflow language that code stands behind: ours, and those of installed plug-ins.

A plug-in is any distribution with an entry point in one of :data:`GROUPS`. Nothing is imported before its name is
used. A name that two distributions provide is refused where it is used, naming both. What it computes is kept under
its provider, version and digest: that of what was installed, or of its code where that can change in its place.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib import import_module, metadata, util
from pathlib import Path

from fasthep_archive.errors import UsageError

GROUPS = {
    "operations": "fasthep_archive.operations",
    "observers": "fasthep_archive.observers",
    "sources": "fasthep_archive.sources",
    "writers": "fasthep_archive.sinks",
    "accessors": "fasthep_archive.accessors",
}
OURS = "fasthep-archive"
"""Who provides the names that are this package's."""

_OURS: Mapping[str, Mapping[str, str]] = {
    "accessors": {},
    "operations": {
        "archive.values": "fasthep_archive.operations.values:ArchiveValues",
        "cms.match_l1t_jets": "fasthep_archive.operations.match_jets:MatchL1TJets",
        "hep.align_schema": "fasthep_archive.operations.projection:AlignSchema",
        "hep.build_lepton_met_candidate": "fasthep_archive.operations.lepton_met:BuildLeptonMetCandidate",
        "hep.build_pairs": "fasthep_archive.operations.pairs:BuildPairs",
        "hep.build_recoil": "fasthep_archive.operations.recoil:BuildRecoil",
        "hep.choose": "fasthep_archive.operations.choose:Choose",
        "hep.clean": "fasthep_archive.operations.clean:Clean",
        "hep.define": "fasthep_archive.operations.define:Define",
        "hep.di_object_mass": "fasthep_archive.operations.mass:DiObjectMass",
        "hep.hist": "fasthep_archive.operations.histogram:Hist",
        "hep.merge_fields": "fasthep_archive.operations.joining:MergeFields",
        "hep.project_fields": "fasthep_archive.operations.projection:ProjectFields",
        "hep.render.comparison": "fasthep_archive.operations.render.comparison:ComparisonPlot",
        "hep.render.cutflow_csv": "fasthep_archive.operations.render.cutflow_csv:CutflowCSV",
        "hep.render.data_mc": "fasthep_archive.operations.render.data_mc:DataMC",
        "hep.render.heatmap2d": "fasthep_archive.operations.render.heatmap2d:Heatmap2D",
        "hep.render.hist1d": "fasthep_archive.operations.render.hist1d:Hist1D",
        "hep.render.project": "fasthep_archive.operations.render.project:Project",
        "hep.select_objects": "fasthep_archive.operations.select_objects:SelectObjects",
        "hep.selection.cutflow": "fasthep_archive.operations.cutflow:CutflowSelection",
        "hep.selection.flag": "fasthep_archive.operations.flag:SelectionFlag",
        "hep.weights.lookup_csv": "fasthep_archive.operations.weights:LookupTable",
        "hep.weights.pdf_envelope": "fasthep_archive.operations.weights:PdfEnvelope",
        "hep.zip_join": "fasthep_archive.operations.joining:ZipJoin",
        "root_histograms": "fasthep_archive.operations.writing_histograms:WriteHistograms",
        "run.command": "fasthep_archive.operations.command:RunCommand",
        "run.events": "fasthep_archive.operations.events:RunEvents",
        "run.python": "fasthep_archive.operations.python:RunPython",
        "workshop.tabular.explode": "fasthep_archive.operations.tabular:Explode",
        "workshop.tabular.filter": "fasthep_archive.operations.tabular:Filter",
        "workshop.tabular.project": "fasthep_archive.operations.tabular:Project",
    },
    "observers": {
        "hep.branches": "fasthep_archive.operations.snapshot:Branches",
        "hep.schema_snapshot": "fasthep_archive.operations.snapshot:SchemaSnapshot",
    },
    "sources": {
        "arrow": "fasthep_archive.data.arrow:open_arrow",
        "csv": "fasthep_archive.data.csv:open_csv",
        "feather": "fasthep_archive.data.arrow:open_arrow",
        "json": "fasthep_archive.data.json:open_json",
        "npz": "fasthep_archive.data.npz:open_npz",
        "parquet": "fasthep_archive.data.parquet:open_parquet",
        "root_tree": "fasthep_archive.data.root:open_tree",
        "sql": "fasthep_archive.data.snapshots:open_snapshot",
        "workshop.parquet": "fasthep_archive.data.parquet:open_parquet",
        "workshop.toy_source": "fasthep_archive.data.toy:open_generated",
    },
    "writers": {
        "arrow": "fasthep_archive.operations.writing:ARROW",
        "csv": "fasthep_archive.operations.writing:CSV",
        "npz": "fasthep_archive.operations.writing:NPZ",
        "parquet": "fasthep_archive.operations.writing:PARQUET",
        "root_histograms": "fasthep_archive.operations.writing_histograms:WriteHistograms",
        "root_tree": "fasthep_archive.operations.writing:ROOT_TREE",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provided:
    """A name, the object behind it (``module:object``), and who provides it.

    :ivar digest: of the list of the provider's installed files, with their digests; of an editable installation, or
        one whose files have no digests, of its code; empty for this package's names.
    :ivar living: the modules of such an installation, whose files can change without it being installed anew.
    :ivar rivals: others that provide the same name, with their versions; then the name can't be used.
    """

    kind: str
    name: str
    target: str
    provider: str
    version: str
    digest: str = ""
    living: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Return who provides it, as keys have it."""
        return f"{self.provider} {self.version} {self.digest}".strip()

    def load(self) -> object:
        """Import and return the object.

        :raises UsageError: if others provide the same name, there is no such object, or its code is not what it was
            when this process first looked: what is computed would be kept as if it were.
        """
        if self.rivals:
            several = ", ".join([f"{self.provider} {self.version}".rstrip(), *self.rivals])
            hint = f"uninstall one of them, or rename the entry point of {self.rivals[-1].partition(' ')[0]}"
            raise UsageError(f"{self.kind[:-1]} {self.name!r} is provided more than once: {several}", hint=hint)
        if self.living and _code_digest(self.living) != self.digest:
            message = f"the code of {self.provider}, which provides {self.name!r}, was changed after this process began"
            raise UsageError(message, hint="start again: Python would go on with what it has imported")
        module, _, attribute = self.target.partition(":")
        try:
            found: object = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            if self.provider == OURS:
                raise
            message = f"{self.kind[:-1]} {self.name!r} of {self.provider} {self.version} can't be loaded: {error}"
            raise UsageError(message, hint=f"it is {self.target}; install it anew, or tell who wrote it") from error
        return found


def is_ours(kind: str, name: str) -> bool:
    """Return whether ``name`` is one of this package's, whatever plug-ins are installed."""
    return name in _OURS[kind]


def ours(kind: str) -> tuple[str, ...]:
    """Return this package's own names of ``kind``."""
    return tuple(_OURS[kind])


def plugged(kind: str) -> tuple[str, ...]:
    """Return the names of ``kind`` that plug-ins provide and this package does not, sorted."""
    return tuple(sorted({found.name for found in _installed(tuple(sys.path))[kind]} - _OURS[kind].keys()))


def foreign(kind: str, name: str) -> Provided | None:
    """Return the plug-in's ``name`` of ``kind``; none if it is this package's, or nobody's."""
    return None if is_ours(kind, name) else provided(kind, version="").get(name)


def provided(kind: str, *, version: str) -> Mapping[str, Provided]:
    """Return everything of ``kind`` that can be named, ours (of ``version``) first.

    What several provide is there once, and can't be loaded.
    """
    found = {
        name: Provided(kind=kind, name=name, target=target, provider=OURS, version=version)
        for name, target in _OURS[kind].items()
    }
    for item in _installed(tuple(sys.path))[kind]:
        first = found.get(item.name)
        if first is None:
            found[item.name] = item
        else:
            found[item.name] = replace(first, rivals=(*first.rivals, f"{item.provider} {item.version}"))
    return found


@lru_cache(maxsize=16)
def _installed(_path: tuple[str, ...]) -> Mapping[str, tuple[Provided, ...]]:
    """Return what plug-ins provide of each kind, by name and provider; kept, since looking takes long."""
    entries = metadata.entry_points()
    return {
        kind: tuple(sorted(_of_kind(kind, entries.select(group=group)), key=_place)) for kind, group in GROUPS.items()
    }


def _of_kind(kind: str, entries: Iterable[metadata.EntryPoint]) -> Iterator[Provided]:
    for entry in entries:
        distribution = entry.dist
        installed = _installed_digest(distribution)
        living = () if installed else _modules(distribution, entry.value)
        yield Provided(
            kind=kind,
            name=entry.name,
            target=entry.value,
            provider=distribution.name if distribution else "an unknown distribution",
            version=distribution.version if distribution else "?",
            digest=installed or _code_digest(living),
            living=living,
        )


def _place(found: Provided) -> tuple[str, str]:
    return found.name, found.provider


def _installed_digest(distribution: metadata.Distribution | None) -> str:
    """Return the digest of RECORD, without byte code and the installer's notes; empty if that doesn't tell the code.

    An editable installation's RECORD (PEP 610: ``direct_url.json`` says so) lists no module of its own, and older forms
    of installations have none, or one without digests.
    """
    if distribution is None or _editable(distribution):
        return ""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    kept = sorted(line for line in lines if ".dist-info/" not in line and not line.startswith(".."))
    kept = [line for line in kept if "__pycache__" not in line]
    if not kept or any(line.endswith(",,") for line in kept):
        return ""
    return sha256("\n".join(kept).encode()).hexdigest()


def _editable(distribution: metadata.Distribution) -> bool:
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(found.get("dir_info", {}).get("editable", False))
    except (ValueError, AttributeError):
        return False


def _modules(distribution: metadata.Distribution | None, target: str) -> tuple[str, ...]:
    """Return the top-level modules of a distribution, as far as it says so: that of ``target``, and those beside it."""
    listed = (distribution.read_text("top_level.txt") if distribution else None) or ""
    return tuple(sorted({target.partition(":")[0].partition(".")[0], *listed.split()}))


def _code_digest(modules: tuple[str, ...]) -> str:
    """Return the digest of all files of top-level modules, by name; those that are not there are told apart."""
    found = sha256()
    for module in modules:
        for name, path in _files(module):
            found.update(f"{name} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _files(module: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a top-level module with their names in it, sorted. Nothing is imported."""
    try:
        spec = util.find_spec(module)
    except (ImportError, ValueError):
        return
    if spec is not None and spec.submodule_search_locations is not None:
        for folder in map(Path, spec.submodule_search_locations):
            inside = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
            yield from ((f"{module}/{path.relative_to(folder).as_posix()}", path) for path in inside)
    elif spec is not None and spec.origin is not None and Path(spec.origin).is_file():
        yield Path(spec.origin).name, Path(spec.origin)
